"""`nealytics dead-letter`: the events that ClickHouse refused for their content."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from nealytics.cli.options import config_option, folded
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.dead_letter import DIRECTORY, DeadLetter, DeadLetterUnreadable, DeadRow
from nealytics.commit.delivery import deliver, insert_token
from nealytics.config import Config, load
from nealytics.erasure.known import jobs_of

# Enough for what ClickHouse says before it lists the row's values.
_REASON_CHARS_MAX = 300


@click.group()
def dead_letter() -> None:
    """List or retry the events that ClickHouse refused for their content.

    An event is dead-lettered when ClickHouse refuses it alone and accepts others. A retry would not help, and
    the event must not block the others. It is stored as a file in <wal.directory>/dead-letter, with
    ClickHouse's reason, until a retry succeeds or you delete the file.

    Each of these events was acknowledged with 202, so its client has no reason to send it again. Usual causes
    are a constraint or a materialized view on the table, or a column whose type was changed.
    """


@dead_letter.command("list")
@config_option
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per event and line, whole, for scripts."
)
def list_(config_path: Path | None, as_json: bool) -> None:
    """List the dead-lettered events with the reasons.

    Only reads files, so it works with a running server and without one. `retry` accepts the printed ids.
    """
    directory = _dead_letter(load(config_path))
    found = 0
    for dead in _all(directory):
        found += 1
        if as_json:
            click.echo(msgspec.json.encode({"id": dead.id, **msgspec.to_builtins(dead)}))
        else:
            click.echo(_described(dead))
    if not found and not as_json:
        click.echo(f"{directory.directory} contains no events.")


@dead_letter.command()
@config_option
@click.argument("ids", nargs=-1, metavar="[ID]...")
def retry(config_path: Path | None, ids: tuple[str, ...]) -> None:
    """Insert dead-lettered events again, after you have fixed the cause: those with the given IDs, or all.

    An event that ClickHouse accepts leaves the dead letter. An event that it still refuses stays, and the
    exit status is 1. Each event keeps its token and its identity, so it is counted once, also if you retry it
    twice.

    A server may run meanwhile. If the embedded engine does not run, the command starts it temporarily.
    """
    config = load(config_path)
    directory = _dead_letter(config)
    held = directory.ids()
    if unknown := sorted(set(ids) - set(held)):
        raise click.BadParameter(
            f"{unknown[0]} is not in the dead letter; run `nealytics dead-letter list` to see the IDs",
            param_hint="ID",
        )
    wanted = list(dict.fromkeys(ids)) or held
    if not wanted:
        click.echo(f"{directory.directory} contains no events.")
        return
    taken, erased, kept = asyncio.run(_retry(config, directory, wanted))
    what = f", {erased} deleted because an erasure covers them" if erased else ""
    click.echo(f"{taken} inserted{what}, {kept} still in the dead letter")
    if kept:
        sys.exit(1)


async def _retry(config: Config, directory: DeadLetter, ids: list[str]) -> tuple[int, int, int]:
    """How many ClickHouse took, how many are erased, and how many are kept. Stops with the error when it
    cannot be asked."""
    taken = erased = kept = 0
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.probe(client, config.clickhouse)
        jobs = await jobs_of(client, config)
        for id in ids:
            try:
                dead = directory.read(id)
                if jobs.tombstones().covers(dead.row, dead.row_format):
                    click.echo(f"{id}: deleted instead, because an erasure covers it", err=True)
                    directory.remove(id)
                    erased += 1
                    continue
                # The token that the committer gave to this row alone: a retry of a retry is the same insert.
                await deliver(
                    client,
                    config.clickhouse.database,
                    dead.row,
                    [dead.row],
                    dead.row_format,
                    token=insert_token(dead.log_id, dead.lsn, dead.lsn, dead.row),
                    tried=True,
                )
            except DeadLetterUnreadable as error:
                click.echo(str(error), err=True)
                kept += 1
            except ClickHouseError as error:
                if not error.bad_content:
                    raise
                click.echo(f"{id}: {error}", err=True)
                kept += 1
            else:
                directory.remove(id)
                taken += 1
    return taken, erased, kept


def _dead_letter(config: Config) -> DeadLetter:
    return DeadLetter(config.wal.directory / DIRECTORY)


def _all(directory: DeadLetter) -> Iterator[DeadRow]:
    """All that can be read; at the end, exit code 1 if something could not."""
    unreadable = False
    for id in directory.ids():
        try:
            yield directory.read(id)
        except DeadLetterUnreadable as error:
            unreadable = True
            click.echo(str(error), err=True)
    if unreadable:
        sys.exit(1)


def _described(dead: DeadRow) -> str:
    event = dead.event or {}
    what = "/".join(str(event.get(column, "?")) for column in ("project_id", "tenant_id", "event_type"))
    reason = " ".join(dead.reason.split())
    if len(reason) > _REASON_CHARS_MAX:
        reason = reason[:_REASON_CHARS_MAX] + "…"
    return (
        f"{dead.id}  {dead.put_aside_at}  {what}  {len(dead.row)} bytes\n{folded('    ', reason, sys.stdout)}"
    )
