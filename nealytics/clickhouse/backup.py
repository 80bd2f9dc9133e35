"""The table's part of a backup: ClickHouse's own BACKUP and RESTORE, and the counts that are compared.

`backup` and `restore` return when ClickHouse is done.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.sql import identifier, quoted, table_name
from nealytics.errors import NealyticsError

_POLL_S = 0.2
_REPORT_S = 5.0

Counts = dict[str, dict[str, int]]  # project → month → events, each counted once
Report = Callable[[str], None]


class _Work(msgspec.Struct, array_like=True):
    status: str
    error: str
    bytes_done: int
    bytes_all: int


async def counts(client: ClickHouseClient, database: str) -> Counts:
    rows = await client.query(
        f"SELECT project_id, toString(toYYYYMM(timestamp)), count() FROM {table_name(database)} "
        "GROUP BY 1, 2 ORDER BY 1, 2"
    )
    found: Counts = {}
    for project_id, month, events in rows:
        found.setdefault(project_id, {})[month] = events
    return found


async def backup(
    client: ClickHouseClient, database: str, target: str, base: str | None, report: Report
) -> None:
    """Writes the database to `target`, a location in SQL; with `base`, only what that backup lacks."""
    settings = f" SETTINGS base_backup = {base}" if base else ""
    sql = f"BACKUP DATABASE {identifier(database)} TO {target}{settings} ASYNC"
    await _run(client, sql, report, "BACKUP_CREATED")


async def restore(
    client: ClickHouseClient, database: str, source: str, base: str | None, report: Report
) -> None:
    """`base`: where the backup is now that `source` is based on."""
    settings = f" SETTINGS base_backup = {base}" if base else ""
    sql = f"RESTORE DATABASE {identifier(database)} FROM {source}{settings} ASYNC"
    await _run(client, sql, report, "RESTORED")


async def _run(client: ClickHouseClient, sql: str, report: Report, done: str) -> None:
    identity = (await client.command(sql)).split("\t")[0]
    asked = f"SELECT status, error, bytes_read, total_size FROM system.backups WHERE id = {quoted(identity)}"
    next_report = time.monotonic() + _REPORT_S
    while True:
        # Without a database, which a restore has yet to create.
        answer = await client.command(f"{asked} FORMAT JSONCompactEachRow")
        if not answer:
            raise NealyticsError("backup: ClickHouse restarted meanwhile; run the command again")
        work = msgspec.json.decode(answer, type=_Work, strict=False)
        if work.status == done:
            report(f"table: {work.bytes_all:,} bytes")
            return
        if work.error:
            raise NealyticsError(f"backup: ClickHouse refused: {work.error.split(', Stack trace')[0]}")
        if time.monotonic() >= next_report:
            next_report += _REPORT_S
            report(f"table: {work.bytes_done:,} of {work.bytes_all:,} bytes")
        await asyncio.sleep(_POLL_S)
