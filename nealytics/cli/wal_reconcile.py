"""What `nealytics wal reconcile` does."""

import time
from pathlib import Path

import click
import msgspec

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.clickhouse.table_state import TableState, read_state
from nealytics.commit.dead_letter import DIRECTORY, DeadLetter
from nealytics.commit.reconcile import Options, Reconciliation, Result, begin, resending_of
from nealytics.commit.table_check import what_to_do
from nealytics.config import Config
from nealytics.erasure.store import Jobs
from nealytics.expiry.promise import expired_by_rules
from nealytics.wal import mark
from nealytics.wal.kept import Kept
from nealytics.wal.mark import Mark


async def reconcile(config: Config, logs: list[Path], options: Options, *, as_json: bool) -> bool:
    """Whether the table has all that the logs still have."""
    complete = True
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.probe(client, config.clickhouse)
        table = await read_state(client, config.clickhouse)
        for directory in logs:
            result = await _one(config, client, table, directory, options)
            complete &= result.complete
            click.echo(msgspec.json.encode(result) if as_json else _described(result, options))
    return complete


async def _one(
    config: Config, client: ClickHouseClient, table: TableState, directory: Path, options: Options
) -> Result:
    kept = Kept(directory)
    now_ms = time.time_ns() // 1_000_000
    try:
        resending = await resending_of(
            client,
            config.clickhouse,
            DeadLetter(directory.parent / DIRECTORY),
            kept.log_id,
            now_ms=now_ms,
            drops=[
                expired_by_rules(config.server.data_dir, now_ms),
                Jobs(config.server.data_dir).tombstones().covers_columns,
            ],
        )
        known = mark.load(directory)
        accepted = known.accepted_lsn if known and not options.include_deleted else 0
        options = options._replace(after_lsn=accepted)
        result = begin(kept, options)
        work = Reconciliation(client, config.clickhouse.database, table.identity, resending, options)
        await work.run(kept, result)
    finally:
        kept.close()
    if options.send and result.complete:
        _store(directory, kept, table, accepted)
    return result


async def accept(config: Config, logs: list[Path]) -> None:
    """Records that the table is as it should be."""
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.probe(client, config.clickhouse)
        table = await read_state(client, config.clickhouse)
    for directory in logs:
        kept = Kept(directory)
        kept.close()
        _store(directory, kept, table, kept.last_lsn)
        click.echo(f"{directory}: events up to row {kept.last_lsn} that the table lacks stay deleted")


def _store(directory: Path, kept: Kept, table: TableState, accepted_lsn: int) -> None:
    known = mark.load(directory)
    # That of a copy is for the node that starts on it: it says what only the original may have.
    place = known.place if known and known.place else mark.place_of(directory)
    mark.store(directory, Mark(kept.log_id, table.identity, place, table.broken, accepted_lsn))


def _described(result: Result, options: Options) -> str:
    lines = [f"{result.directory}: {result}"]
    if result.first_lsn > 1:
        lines.append(
            f"  not compared: its first {result.first_lsn - 1:,} events, which the log no longer has"
        )
    lines += [f"  {problem}" for problem in result.problems]
    if result.complete:
        lines.append("  complete: the table has all that the log has kept")
    elif not options.send and not result.unreadable:
        lines.append("  incomplete: run it without --check to send what is missing")
    else:
        lines.append(f"  incomplete: {what_to_do(result)}")
    return "\n".join(lines)
