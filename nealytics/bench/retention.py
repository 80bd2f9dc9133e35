"""`bench retention`: ways to delete a project's expired events from parts that mix projects (decision 0032).

Each way gets the same table: 20 projects over 90 days, merged to one part a month, and one project without
its events of more than 31 days. Then a day passes: the events between 30 and 31 days go. The last figures are
of a table that is partitioned by project as well: what an insert of one batch costs there.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import engine, workplace
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema import PARTITION_KEY, create_statements
from nealytics.clickhouse.sql import TABLE
from nealytics.config import RetentionRule
from nealytics.expiry.statements import delete_statement, expired
from nealytics.retention import Rules

PROJECTS = 20
DAYS = 90
RULE_DAYS = 30
BATCH_ROWS = 10_000
_DATABASE = "bench"
_TABLE = f"{_DATABASE}.{TABLE}"
_WHOSE = "project_id = 'project-0'"


class Way(msgspec.Struct, kw_only=True):
    name: str
    ms: float
    written_mb: float
    rows_left: int  # expired rows that are still in the parts, whether reads show them or not


class Insert(msgspec.Struct, kw_only=True):
    partitioned_by: str
    ms: float
    parts: int


class RetentionReport(msgspec.Struct, kw_only=True):
    machine: Machine
    events: int
    table_mb: float
    ways: list[Way]
    inserts: list[Insert]


async def retention(*, events: int, directory: Path | None, say: Say) -> RetentionReport:
    with workplace(directory, say) as (root, machine):
        async with engine(root) as client:
            now_ms = int(time.time() * 1000)
            table_mb, ways = 0.0, []
            for name, delete in _ways(client, now_ms).items():
                table_mb = await _fill(client, events, now_ms)
                ways.append(await _measure(client, name, delete, now_ms))
                say(_way_line(ways[-1]))
            inserts = [
                await _insert(client, key) for key in (PARTITION_KEY, f"(project_id, {PARTITION_KEY})")
            ]
            for insert in inserts:
                say(_insert_line(insert))
        return RetentionReport(machine=machine, events=events, table_mb=table_mb, ways=ways, inserts=inserts)


def _ways(client: ClickHouseClient, now_ms: int) -> dict[str, Callable[[], Awaitable[object]]]:
    ttl = f"toDateTime(timestamp) + INTERVAL {RULE_DAYS} DAY DELETE WHERE {_WHOSE}"

    async def by_ttl() -> None:
        # Otherwise ClickHouse drops a part only once all of its events are expired.
        await client.command(f"ALTER TABLE {_TABLE} MODIFY SETTING ttl_only_drop_parts = 0")
        # ClickHouse applies a TTL when it merges; here the merge of each part is asked for.
        await client.command(
            f"ALTER TABLE {_TABLE} MODIFY TTL {ttl}", settings={"materialize_ttl_after_modify": 0}
        )
        await client.command(f"OPTIMIZE TABLE {_TABLE} FINAL")

    return {
        "mutation (ALTER TABLE … DELETE)": lambda: client.command(
            _delete(now_ms, RULE_DAYS), settings={"mutations_sync": 1}
        ),
        "lightweight DELETE": lambda: client.command(
            f"DELETE FROM {_TABLE} WHERE {_condition(now_ms, RULE_DAYS)}",
            settings={"lightweight_deletes_sync": 1},
        ),
        "TTL … DELETE WHERE": by_ttl,
    }


async def _fill(client: ClickHouseClient, events: int, now_ms: int) -> float:
    """Returns the size of the table in MB."""
    await client.command(f"DROP DATABASE IF EXISTS {_DATABASE} SYNC")
    for sql in create_statements(_DATABASE, 0):
        await client.command(sql)
    await client.command(_rows(events, now_ms))
    await client.command(_delete(now_ms, RULE_DAYS + 1), settings={"mutations_sync": 1})
    await client.command(f"OPTIMIZE TABLE {_TABLE} FINAL")
    size = await client.command(
        f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{_DATABASE}'"
    )
    return round(int(size) / 1e6, 1)


async def _measure(
    client: ClickHouseClient, name: str, delete: Callable[[], Awaitable[object]], now_ms: int
) -> Way:
    before = await _written(client)
    began = time.perf_counter()
    await delete()
    ms = (time.perf_counter() - began) * 1000
    written = await _written(client) - before
    left = await client.command(
        f"SELECT count() FROM {_TABLE} WHERE {_condition(now_ms, RULE_DAYS)}",
        settings={"apply_deleted_mask": 0},
    )
    return Way(name=name, ms=round(ms, 1), written_mb=round(written / 1e6, 1), rows_left=int(left))


async def _insert(client: ClickHouseClient, key: str) -> Insert:
    await client.command(f"DROP DATABASE IF EXISTS {_DATABASE} SYNC")
    for sql in create_statements(_DATABASE, 0):
        await client.command(sql.replace(f"PARTITION BY {PARTITION_KEY}", f"PARTITION BY {key}"))
    await client.command(f"SYSTEM STOP MERGES {_TABLE}")
    began = time.perf_counter()
    await client.command(_rows(BATCH_ROWS, int(time.time() * 1000)))
    ms = (time.perf_counter() - began) * 1000
    parts = await client.command(
        f"SELECT count() FROM system.parts WHERE active AND database = '{_DATABASE}'"
    )
    return Insert(partitioned_by=key, ms=round(ms, 1), parts=int(parts))


async def _written(client: ClickHouseClient) -> int:
    answer = await client.command(
        "SELECT sum(value) FROM system.events WHERE event = 'WriteBufferFromFileDescriptorWriteBytes'"
    )
    return int(answer)


def _condition(now_ms: int, days: int) -> str:
    found = expired([Rules([RetentionRule(project="project-0", days=days)])], now_ms)
    assert found is not None
    return found


def _delete(now_ms: int, days: int) -> str:
    return delete_statement(_DATABASE, "", _condition(now_ms, days))


def _rows(events: int, now_ms: int) -> str:
    """The events of all projects interleave, as they arrive."""
    step_ms = DAYS * 86_400_000 / events
    return (
        f"INSERT INTO {_TABLE} "
        "(event_id, project_id, tenant_id, session_id, user_id, event_type, metadata_json, timestamp) "
        f"SELECT reinterpretAsUUID(sipHash128(number)), concat('project-', toString(number % {PROJECTS})), "
        "concat('tenant-', toString(sipHash64(number) % 50)), concat('session-', toString(number % 5000)), "
        "concat('user-', toString(number % 900)), 'page_view', "
        "concat('{\"page\":\"/products/', hex(sipHash64(number, 1)), '\"}'), "
        f"fromUnixTimestamp64Milli({now_ms} - toInt64(number * {step_ms}), 'UTC') "
        f"FROM numbers({events})"
    )


def _way_line(way: Way) -> str:
    return (
        f"{way.name}: {way.ms:,.0f} ms, {way.written_mb:,.1f} MB written, {way.rows_left:,} expired rows left"
    )


def _insert_line(insert: Insert) -> str:
    return (
        f"a batch of {BATCH_ROWS:,}, partitioned by {insert.partitioned_by}: {insert.ms:,.0f} ms, "
        f"{insert.parts} parts"
    )
