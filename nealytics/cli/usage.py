"""`nealytics usage`: what each project and tenant used, and of which quota, from the files of this node."""

import time
from pathlib import Path
from typing import cast

import click
import msgspec

from nealytics.cli.options import config_option, print_aligned
from nealytics.config import load
from nealytics.usage.counts import day_number, month_days, today
from nealytics.usage.report import By, QuotaRow, Row, Selection, report
from nealytics.usage.store import DIRECTORY


def _day(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else day_number(value)
    except ValueError:
        raise click.BadParameter(f'"{value}" is not a date; write e.g. 2026-11-30') from None


@click.command()
@click.option("--project", metavar="ID", help="Only this project.")
@click.option("--tenant", metavar="ID", help="Only this tenant.")
@click.option(
    "--from", "first", callback=_day, metavar="DATE", help="First day, UTC. Default: first of the month."
)
@click.option("--to", "last", callback=_day, metavar="DATE", help="Last day. Default: today.")
@click.option(
    "--by",
    type=click.Choice(["day", "month", "total"]),
    default="total",
    show_default=True,
    help="Period of a line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /api/v1/admin/usage.")
@config_option
def usage(
    project: str | None, tenant: str | None, first: int | None, last: int | None, by: str, as_json: bool,
    config_path: Path | None,
) -> None:  # fmt: skip
    """Show what each project and tenant used: events, bytes, queries, rows read; and how much of each
    [[quota]] is used now.

    Reads the files of this node in server.data_dir, also while the node is stopped. A running node stores its
    counts every 5 seconds.
    """
    config = load(config_path)
    now_ms = time.time_ns() // 1_000_000
    end = today(now_ms) if last is None else last
    start = month_days(end).start if first is None else first
    if start > end:
        raise click.UsageError("--from is after --to.")
    found = report(
        config.server.data_dir / DIRECTORY, range(start, end + 1), Selection(project, tenant), cast("By", by),
        config.quota, now_ms,
    )  # fmt: skip
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    if found.usage:
        click.echo(f"From {found.first} to {found.last}, UTC:\n")
        print_aligned(*_usage_cells(found.usage, by))
    else:
        click.echo(f"Nothing was used from {found.first} to {found.last}.")
    if found.quotas:
        click.echo("\nQuotas, now:\n")
        print_aligned(*_quota_cells(found.quotas))


def _usage_cells(rows: list[Row], by: str) -> tuple[list[list[str]], range]:
    """The cells of a table, and the columns of it that are texts."""
    head = ["period", "project", "tenant", "events", "MB", "queries", "rows read"]
    cells = [head] + [
        [
            row.period, row.project_id, row.tenant_id or "(all)", f"{row.events:,}",
            f"{row.bytes / 1e6:,.1f}", f"{row.queries:,}", f"{row.rows_read:,}",
        ]
        for row in rows
    ]  # fmt: skip
    if by == "total":
        return [line[1:] for line in cells], range(2)
    return cells, range(3)


def _quota_cells(rows: list[QuotaRow]) -> tuple[list[list[str]], range]:
    head = ["project", "tenant", "quota", "used", "limit", "used %", "resets at"]
    return [head] + [
        [
            row.project_id, row.tenant_id or "(all)", row.quota, f"{row.used:,}", f"{row.limit:,}",
            f"{row.percent:.1f}", row.resets_at,
        ]
        for row in rows
    ], range(3)  # fmt: skip
