"""What `nealytics wal reconcile` does."""

import time
from collections.abc import Sequence
from itertools import pairwise
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
from nealytics.erasure.known import jobs_of
from nealytics.erasure.store import Jobs
from nealytics.expiry.promise import expired_by_rules
from nealytics.wal import Range, mark
from nealytics.wal.kept import Kept, kept_of
from nealytics.wal.mark import Mark

# A node reads the mark every 10 s. More ranges, of events that were deleted here and there, are joined.
ACCEPTED_MAX = 10_000


async def reconcile(config: Config, logs: list[Path], options: Options, *, as_json: bool) -> bool:
    """Whether the table has all that the logs still have."""
    complete = True
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.probe(client, config.clickhouse)
        table = await read_state(client, config.clickhouse)
        has_erased = bool(Jobs(config.server.data_dir).all())
        for directory in logs:
            result = await _one(config, client, table, directory, options)
            complete &= result.complete
            click.echo(msgspec.json.encode(result) if as_json else _described(result, options, has_erased))
    return complete


async def _one(
    config: Config, client: ClickHouseClient, table: TableState, directory: Path, options: Options
) -> Result:
    known = mark.load(directory)
    accepted = known.accepted if known and not options.include_deleted else ()
    kept, result, _ = await _compare(config, client, table, directory, options, accepted)
    if options.send and result.complete:
        record(directory, kept.log_id, table, accepted)
    return result


async def _compare(
    config: Config,
    client: ClickHouseClient,
    table: TableState,
    directory: Path,
    options: Options,
    accepted: Sequence[Range],
) -> tuple[Kept, Result, list[Range]]:
    """Also the rows that were missing."""
    kept = kept_of(directory)
    now_ms = time.time_ns() // 1_000_000
    jobs = await jobs_of(client, config)
    try:
        resending = await resending_of(
            client,
            config.clickhouse,
            DeadLetter(directory.parent / DIRECTORY),
            kept.log_id,
            now_ms=now_ms,
            drops=[expired_by_rules(config.server.data_dir, now_ms)],
            erased=lambda columns: jobs.tombstones().covers_columns(columns),
            accepted=accepted,
        )
        result = begin(kept)
        work = Reconciliation(client, config.clickhouse.database, table.identity, resending, options)
        await work.run(kept, result)
    finally:
        kept.close()
    return kept, result, work.missing


async def accept(config: Config, logs: list[Path]) -> None:
    """Records which events the table lacks, and that it should."""
    options = Options(send=False, include_deleted=True)
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.probe(client, config.clickhouse)
        table = await read_state(client, config.clickhouse)
        for directory in logs:
            kept, result, missing = await _compare(config, client, table, directory, options, ())
            record(directory, kept.log_id, table, coarse(missing, ACCEPTED_MAX))
            click.echo(f"{directory}: {result.missing:,} events that the table lacks stay deleted")
            for problem in result.problems:
                click.echo(f"  {problem}")


def coarse(ranges: Sequence[Range], most: int) -> Sequence[Range]:
    """At most so many ranges: those with the fewest rows between them become one."""
    if len(ranges) <= most:
        return ranges
    gaps = sorted(after.first - before.last for before, after in pairwise(ranges))
    joined_at_most = gaps[len(ranges) - most - 1]
    found = [ranges[0]]
    for rows in ranges[1:]:
        if rows.first - found[-1].last <= joined_at_most:
            found[-1] = Range(found[-1].first, rows.last)
        else:
            found.append(rows)
    return found


def record(directory: Path, log_id: str, table: TableState, accepted: Sequence[Range]) -> None:
    """The log's mark of a table that has been compared."""
    known = mark.load(directory)
    # That of a copy is for the node that starts on it: it says what only the original may have.
    place = known.place if known and known.place else mark.place_of(directory)
    mark.store(directory, Mark(log_id, table.identity, place, table.broken, tuple(accepted)))


def _described(result: Result, options: Options, has_erased: bool) -> str:
    lines = [f"{result.directory}: {result}"]
    if result.first_lsn > 1:
        why = "; an erasure, which removes whole segments, may be the reason" if has_erased else ""
        lines.append(
            f"  not compared: its first {result.first_lsn - 1:,} events, which the log no longer has{why}"
        )
    lines += [f"  {problem}" for problem in result.problems]
    if result.complete:
        lines.append("  complete: the table has all that the log has kept")
    elif not options.send and not result.unreadable:
        lines.append("  incomplete: run it without --check to send what is missing")
    else:
        lines.append(f"  incomplete: {what_to_do(result)}")
    return "\n".join(lines)
