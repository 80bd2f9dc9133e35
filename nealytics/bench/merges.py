"""`bench merges`: the cost of syncing merged parts, in the embedded engine.

Two tables differ only in the settings of merges (decision 0012). Each round inserts the same parts into both,
with merges stopped, and times one merge of all parts in each table, alternately.
"""

import statistics
import time
from pathlib import Path

import msgspec

from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import engine, workplace
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema import create_statements
from nealytics.clickhouse.sql import TABLE

# (parts, rows of each): recent inserts, and parts that were merged before.
SHAPES = ((10, 1_000), (10, 10_000), (6, 50_000))
_SYNCED, _UNSYNCED = "synced", "unsynced"
_WITHOUT = "min_rows_to_fsync_after_merge = 0, min_compressed_bytes_to_fsync_after_merge = 0"


class Merge(msgspec.Struct, kw_only=True):
    parts: int
    rows_of_each: int
    synced_ms: float  # medians
    unsynced_ms: float
    ratio: float  # synced ÷ unsynced: median of the pairs


class MergesReport(msgspec.Struct, kw_only=True):
    machine: Machine
    rounds: int
    merges: list[Merge]


async def merges(*, rounds: int, directory: Path | None, say: Say) -> MergesReport:
    with workplace(directory, say) as (root, machine):
        measured = []
        async with engine(root) as client:
            await _create(client)
            for parts, rows in SHAPES:
                measured.append(await _measure(client, parts, rows, rounds))
                say(_line(measured[-1]))
        return MergesReport(machine=machine, rounds=rounds, merges=measured)


async def _create(client: ClickHouseClient) -> None:
    for database in (_SYNCED, _UNSYNCED):
        for sql in create_statements(database, 0):
            await client.command(sql)
        await client.command(f"SYSTEM STOP MERGES {database}.{TABLE}")
    await client.command(f"ALTER TABLE {_UNSYNCED}.{TABLE} MODIFY SETTING {_WITHOUT}")


async def _measure(client: ClickHouseClient, parts: int, rows: int, rounds: int) -> Merge:
    took: dict[str, list[float]] = {_SYNCED: [], _UNSYNCED: []}
    for number in range(rounds):
        order = (_SYNCED, _UNSYNCED) if number % 2 == 0 else (_UNSYNCED, _SYNCED)
        for database in order:
            await client.command(f"TRUNCATE TABLE {database}.{TABLE}")
            for part in range(parts):
                await client.command(_insert(database, part, rows))
        for database in order:
            await client.command(f"SYSTEM START MERGES {database}.{TABLE}")
            began = time.perf_counter()
            await client.command(f"OPTIMIZE TABLE {database}.{TABLE} FINAL")
            took[database].append((time.perf_counter() - began) * 1000)
            await client.command(f"SYSTEM STOP MERGES {database}.{TABLE}")
    pairs = zip(took[_SYNCED], took[_UNSYNCED], strict=True)
    return Merge(
        parts=parts,
        rows_of_each=rows,
        synced_ms=round(statistics.median(took[_SYNCED]), 1),
        unsynced_ms=round(statistics.median(took[_UNSYNCED]), 1),
        ratio=round(statistics.median(synced / unsynced for synced, unsynced in pairs), 2),
    )


def _insert(database: str, part: int, rows: int) -> str:
    """The same part has the same rows in each table. The rows of all parts interleave, as tenants' events
    do."""
    return (
        f"INSERT INTO {database}.{TABLE} "
        "(event_id, project_id, tenant_id, session_id, user_id, event_type, metadata_json, timestamp) "
        f"SELECT reinterpretAsUUID(sipHash128(number, {part})), 'shop', "
        "concat('tenant-', toString(sipHash64(number) % 20)), concat('session-', toString(number % 5000)), "
        "concat('user-', toString(number % 900)), 'page_view', "
        'concat(\'{"page":"/products/\', hex(sipHash64(number, 1)), \'","price":\', '
        "toString(number % 9973), '}'), "
        f"toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number * 7 + {part} "
        f"FROM numbers({rows})"
    )


def _line(merge: Merge) -> str:
    return (
        f"{merge.parts} parts of {merge.rows_of_each:,} rows: synced {merge.synced_ms:,.1f} ms, not synced "
        f"{merge.unsynced_ms:,.1f} ms, ratio {merge.ratio:.2f}"
    )
