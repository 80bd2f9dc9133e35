"""`nealytics erase` and `nealytics erasures`: what POST and GET /api/v1/admin/erasures do, by a person at the
machine."""

import asyncio
import getpass
import sys
import time
from pathlib import Path

import click
import msgspec

from nealytics.cli.options import config_option, confirm, folded, load_as_owner
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.config import Config, load
from nealytics.erasure.announcements import Announcements
from nealytics.erasure.jobs import Job
from nealytics.erasure.requests import Receipt, new_job, receipt, request
from nealytics.erasure.store import Jobs
from nealytics.erasure.table import ErasureTable
from nealytics.errors import Refused
from nealytics.queries.time_bounds import timestamp_ms


def _before(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else timestamp_ms("--before", value, "before")
    except Refused as refused:
        raise click.BadParameter(f"{refused.message}. {refused.detail}") from None


def _not_empty(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value == "":
        raise click.BadParameter("it is empty; leave the option out, or name one")
    return value


@click.command()
@click.option("--project", required=True, callback=_not_empty, metavar="ID")
@click.option("--tenant", required=True, callback=_not_empty, metavar="ID")
@click.option(
    "--user",
    callback=_not_empty,
    metavar="ID",
    help="Only the events of this user. Default: the whole tenant.",
)
@click.option(
    "--before",
    "before_ms",
    callback=_before,
    metavar="ISO8601",
    help="Only events with an earlier timestamp. Default: now.",
)
@click.option(
    "--now", is_flag=True, help="Delete the rows at once, instead of with the other erasures of the day."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation, for scripts.")
@config_option
def erase(
    project: str, tenant: str, user: str | None, before_ms: int | None, now: bool, yes: bool,
    config_path: Path | None,
) -> None:  # fmt: skip
    """Erase the events of a tenant or a user, for good.

    Prints how many there are and asks. Once it ends, no read of any node shows them, and they do not come
    back: a retry, an import or a restored log brings nothing that is erased. The rows are deleted from the
    table and from the logs within a day; `nealytics erasures` shows how far that is. Backups keep them.

    The command writes to ClickHouse and to server.data_dir, so run it as root or as the user of the node; the
    node may run or not. The node removes the rows when it runs. If the embedded engine does not run, the
    command starts it temporarily.
    """
    caller = getpass.getuser()  # before root becomes another user
    config = load_as_owner("erase", config_path)
    now_ms = time.time_ns() // 1_000_000
    job = new_job(
        project,
        tenant,
        user,
        before_ms=now_ms if before_ms is None else before_ms,
        now=now,
        requested_by=f"{caller} (nealytics erase)",
        now_ms=now_ms,
    )
    asyncio.run(_erase(config, job, yes=yes))
    click.echo(_described(receipt(config.server.data_dir, job, now_ms)))


async def _erase(config: Config, job: Job, *, yes: bool) -> None:
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.probe(client, config.clickhouse)
        table = ErasureTable(client, config.clickhouse)
        events = await table.count(job.condition())
        user = "" if job.user_id is None else f"user {job.user_id} of "
        click.echo(
            f"this erases {events:,} event{'s' * (events != 1)} of {user}tenant {job.erasure.tenant_id}"
            f" in project {job.erasure.project_id}, and those that still wait in the log"
        )
        if not events:
            click.echo("no event in the table matches: are project, tenant and user right?")
        if not yes:
            confirm(
                "erase", "Erase the events?", "nothing was erased; add --yes to erase them without asking"
            )
        await request(Announcements(client, config.clickhouse), Jobs(config.server.data_dir), job)


@click.command()
@click.argument("id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as GET /api/v1/admin/erasures.")
@config_option
def erasures(id: str | None, as_json: bool, config_path: Path | None) -> None:
    """List the erasures, or show the receipt of the one with this ID.

    Reads the files of this node in server.data_dir, also while the node is stopped.
    """
    config = load(config_path)
    jobs = Jobs(config.server.data_dir).all()
    if id is not None and id not in jobs:
        raise click.BadParameter("there is no such erasure; run `nealytics erasures`", param_hint="ID")
    shown = list(jobs.values())[::-1] if id is None else [jobs[id]]
    now_ms = time.time_ns() // 1_000_000
    receipts = [receipt(config.server.data_dir, job, now_ms) for job in shown]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"erasures": receipts})))
        return
    if not receipts:
        click.echo("There are no erasures.")
    for one in receipts:
        click.echo(_described(one))


def _described(receipt: Receipt) -> str:
    whose = f"project {receipt.project_id}, tenant {receipt.tenant_id}"
    if receipt.user_hash:
        whose += f", user {receipt.user_id or f'with the hash {receipt.user_hash[:16]}…'}"
    lines = [f"{receipt.id}  {receipt.state}: {whose}, before {receipt.before}"]
    lines.append(f"    requested {receipt.requested_at} by {receipt.requested_by}")
    if receipt.events_found is not None:
        lines.append(
            f"    {receipt.events_found:,} events found, {receipt.rows_erased:,} rows erased, "
            f"{receipt.dead_letters_erased:,} dead letters, {receipt.imported_lines_erased:,} lines of a C# "
            "engine's files"
        )
    if receipt.removed_at:
        lines.append(f"    removed from the disk {receipt.removed_at}")
    for backup in receipt.backups:
        until = f"until {backup.keep_until}" if backup.keep_until else "until you delete it"
        where = f"{backup.target}, {backup.label}" if backup.label else backup.target
        lines.append(f"    backup {backup.id} ({where}) contains or may contain the events, {until}")
    if receipt.problem:
        lines.append(folded("    ", f"waits: {receipt.problem}", sys.stdout))
    return "\n".join(lines)
