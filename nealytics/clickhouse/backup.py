"""The table's part of a backup: ClickHouse's own BACKUP and RESTORE, and the counts that are compared.

`backup` and `restore` return when ClickHouse is done; `verify` reads what it wrote.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.sql import identifier, quoted, table_name
from nealytics.errors import NealyticsError

_POLL_S = 0.2
_FILE = re.compile(r"File\('(.*)/'\)")

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
    client: ClickHouseClient, database: str, target: Path, base: Path | None, report: Report
) -> None:
    """Writes the database to `target`; with `base`, an earlier backup, only what is not in that one."""
    settings = f" SETTINGS base_backup = {_file(base)}" if base else ""
    sql = f"BACKUP DATABASE {identifier(database)} TO {_file(target)}{settings} ASYNC"
    await _run(client, sql, report, "BACKUP_CREATED")


async def restore(client: ClickHouseClient, database: str, source: Path, report: Report) -> None:
    sql = f"RESTORE DATABASE {identifier(database)} FROM {_file(source)} ASYNC"
    await _run(client, sql, report, "RESTORED")


async def _run(client: ClickHouseClient, sql: str, report: Report, done: str) -> None:
    identity = (await client.command(sql)).split("\t")[0]
    asked = f"SELECT status, error, bytes_read, total_size FROM system.backups WHERE id = {quoted(identity)}"
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
        report(f"table: {work.bytes_done:,} of {work.bytes_all:,} bytes")
        await asyncio.sleep(_POLL_S)


def verify(directory: Path) -> list[str]:
    """What is wrong with a backup of ClickHouse, and with those it is based on: files that are missing or
    have another size."""
    description = directory / ".backup"
    try:
        tree = ElementTree.fromstring(description.read_bytes())
    except (OSError, ElementTree.ParseError) as error:
        return [f"{description} cannot be read: {error}"]
    problems = []
    for entry in tree.iterfind("contents/file"):
        size = int(entry.findtext("size", "0"))
        if entry.findtext("use_base"):
            size -= int(entry.findtext("base_size", str(size)))  # that part of it is in the base
        if not size:
            continue
        path = directory / entry.findtext("data_file", entry.findtext("name", ""))
        try:
            found = path.stat().st_size
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        if found != size:
            problems.append(f"{path} has {found} bytes, not {size}")
    if base := _FILE.fullmatch(tree.findtext("base_backup", "")):
        problems += verify(Path(base[1]))
    return problems


def _file(path: Path) -> str:
    return f"File({quoted(f'{path}/')})"
