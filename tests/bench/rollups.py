"""What a rollup could win at most: the questions of a large tenant's page, from its events and from cells.

    python -m tests.bench.rollups --data DIR [--events 100000000] [--tenants 1000] [--rounds 7]

A cell is what happened to one tenant in one hour of UTC; whole hours are the least that most time zones need.
The cells are made once from the events as `final` shows them and merged into one part, so the figures leave
out what keeping them exact would cost: finding the cells that each batch touches, computing them again, and
reading the events of cells that have changed since. Both answers are compared. The events are those of
`bench read`, and the directory can be shared with it.
"""

import asyncio
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import click

from nealytics.bench import events
from nealytics.bench.machine import introduce, machine_at
from nealytics.bench.read import config_of, engine_with_events
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.settings import READ_SETTINGS
from nealytics.clickhouse.sql import TABLE, quoted

DATABASE = "bench_rollups"
DAYS = 30


_USERS = "uniqExactStateIf(assumeNotNull(user_id), isNotNull(user_id)) AS users"
_SUMMARY = (
    "SELECT sum(n), count(), uniqExactArray(users), sum(ms), quantileExactInclusive(0.5)(ms), countIf(n = 1)"
)


class Rollup(NamedTuple):
    name: str
    order: str
    select: str  # without FROM


class Question(NamedTuple):
    name: str
    of_events: str
    of_cells: str


ROLLUPS = (
    Rollup(
        "of_types",
        "hour, event_type",
        f"toStartOfHour(timestamp) AS hour, event_type, count() AS count, {_USERS}",
    ),
    Rollup(
        "of_users",
        "hour",
        f"toStartOfHour(timestamp) AS hour, {_USERS}",
    ),
    Rollup(
        "of_items",
        "item, hour",
        f"toStartOfHour(timestamp) AS hour, ifNull(item_id, '') AS item, count() AS count, {_USERS}",
    ),
    Rollup(
        "of_sessions",
        "hour, session_id",
        "toStartOfHour(timestamp) AS hour, session_id, count() AS count, min(timestamp) AS first,"
        " max(timestamp) AS last, groupUniqArray(user_id) AS users",
    ),
)
QUESTIONS = (
    Question(
        "timeseries by day",
        "SELECT toStartOfDay(timestamp) AS day, count() FROM {events} GROUP BY day ORDER BY day",
        "SELECT toStartOfDay(hour) AS day, sum(count) FROM {of_types} GROUP BY day ORDER BY day",
    ),
    Question(
        "top event_type, with users",
        "SELECT event_type, count() AS n, uniqExact(user_id) FROM {events} GROUP BY 1 ORDER BY n DESC, 1",
        "SELECT event_type, sum(count) AS n, uniqExactMerge(users) FROM {of_types}"
        " GROUP BY 1 ORDER BY n DESC, 1",
    ),
    Question(
        "top item_id, with users",
        "SELECT assumeNotNull(item_id) AS item, count() AS n, uniqExact(user_id) FROM {events}"
        " WHERE item_id IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10",
        "SELECT item, sum(count) AS n, uniqExactMerge(users) FROM {of_items}"
        " WHERE item != '' GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10",
    ),
    Question(
        "active users by day",
        "SELECT toStartOfDay(timestamp) AS day, uniqExact(user_id) FROM {events} GROUP BY day ORDER BY day",
        "SELECT toStartOfDay(hour) AS day, uniqExactMerge(users) FROM {of_users} GROUP BY day ORDER BY day",
    ),
    Question(
        "summary",
        f"{_SUMMARY} FROM (SELECT count() AS n, groupUniqArray(user_id) AS users,"
        " toUnixTimestamp64Milli(max(timestamp)) - toUnixTimestamp64Milli(min(timestamp)) AS ms"
        " FROM {events} GROUP BY reinterpretAsUInt128(sipHash128(session_id)))",
        f"{_SUMMARY} FROM (SELECT sum(count) AS n, groupUniqArrayArray(of_sessions.users) AS users,"
        " toUnixTimestamp64Milli(max(last)) - toUnixTimestamp64Milli(min(first)) AS ms FROM {of_sessions}"
        " GROUP BY session_id)",
    ),
)


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--events", "count", type=int, default=100_000_000, show_default=True)
@click.option("--tenants", type=int, default=1_000, show_default=True)
@click.option("--rounds", type=int, default=7, show_default=True)
def main(data: Path, count: int, tenants: int, rounds: int) -> None:
    data.mkdir(parents=True, exist_ok=True)
    introduce(machine_at(data), click.echo)
    asyncio.run(_measure(data, count, tenants, rounds))


async def _measure(data: Path, count: int, tenants: int, rounds: int) -> None:
    config = config_of(data)
    async with (
        engine_with_events(config, data, count, tenants, click.echo),
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
    ):
        start_s = round(events.END.timestamp()) - DAYS * 86_400
        source = (
            f"(SELECT * FROM {config.clickhouse.database}.{TABLE} WHERE project_id = {quoted(events.PROJECT)}"
            f" AND tenant_id = {quoted(events.tenant(1))} AND timestamp >= toDateTime64({start_s}, 3, 'UTC'))"
        )
        tables = {"events": source}
        await client.command(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
        await client.command(f"CREATE DATABASE {DATABASE}")
        for rollup in ROLLUPS:
            tables[rollup.name] = f"{DATABASE}.{rollup.name}"
            await _make(client, rollup, source)
        for question in QUESTIONS:
            await _compare(client, question, tables, rounds)
        await client.command(f"DROP DATABASE {DATABASE} SYNC")


async def _make(client: ClickHouseClient, rollup: Rollup, source: str) -> None:
    name = f"{DATABASE}.{rollup.name}"
    began = time.monotonic()
    await client.command(
        f"CREATE TABLE {name} ENGINE = MergeTree ORDER BY ({rollup.order}) AS"
        f" SELECT {rollup.select} FROM {source} GROUP BY {rollup.order}",
        settings={"final": 1, "do_not_merge_across_partitions_select_final": 1},
    )
    await client.command(f"OPTIMIZE TABLE {name} FINAL")
    took_s = time.monotonic() - began
    ((rows, size),) = await client.query(
        "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active"
        f" AND database = {quoted(DATABASE)} AND table = {quoted(rollup.name)}"
    )
    click.echo(f"{rollup.name:<12} {int(rows):>10,} cells {int(size) / 1e6:>8.1f} MB, made in {took_s:.1f} s")


async def _compare(client: ClickHouseClient, question: Question, tables: dict[str, str], rounds: int) -> None:
    times: dict[str, list[float]] = {question.of_events: [], question.of_cells: []}
    answers = set()
    for _ in range(rounds + 1):
        for template, taken in times.items():
            began = time.monotonic()
            answer = await client.command(
                template.format(**tables) + " FORMAT TabSeparated", settings=dict(READ_SETTINGS)
            )
            taken.append(time.monotonic() - began)
            answers.add(answer)
    raw_s, cells_s = (statistics.median(taken[1:]) for taken in times.values())
    equal = "equal answers" if len(answers) == 1 else f"DIFFERENT ANSWERS: {answers}"
    click.echo(
        f"{question.name:<28} events {1000 * raw_s:>8.0f} ms  cells {1000 * cells_s:>7.0f} ms"
        f"  ÷ {raw_s / cells_s:>6.1f}  {equal}"
    )


if __name__ == "__main__":
    main()
