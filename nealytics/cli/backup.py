"""`nealytics backup` and `nealytics restore`, for the embedded engine.

A backup is a directory:

    table/          ClickHouse's BACKUP of the database
    wal/<worker>/   the log of each worker: what had not reached ClickHouse yet
    wal/dead-letter/
    manifest.json   written last; without it the backup is not complete

The logs are copied before the table. What reaches ClickHouse between the two is in both, with one identity.
"""

import asyncio
import os
import shutil
import time
from pathlib import Path

import click
import msgspec

from nealytics import __version__
from nealytics.backup.register import Recorded, record
from nealytics.cli.options import config_option
from nealytics.clickhouse import backup as table
from nealytics.clickhouse.backup import Counts
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.embedded import engine_dir, read_access, running_engine
from nealytics.clickhouse.endpoint import embedded_endpoint, endpoint_of
from nealytics.commit.dead_letter import DIRECTORY
from nealytics.config import Config, load
from nealytics.directories import make_private
from nealytics.errors import NealyticsError
from nealytics.wal import OS_FILES, inspection
from nealytics.wal.cut import cut
from nealytics.wal.files import publish

MANIFEST = "manifest.json"
_DAY_MS = 86_400_000


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    version: int
    made_by: str
    began_ms: int
    database: str
    at_least: Counts  # events in the table before its backup began,
    at_most: Counts  # and after it ended
    waiting: dict[str, int]  # events in each log that had not reached the table


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
              help="An earlier backup: only what it lacks is written, and a restore needs both.")  # fmt: skip
@click.option("--keep-days", type=click.IntRange(min=1), metavar="DAYS",
              help="How long you will keep the backup: what the register of backups says.")  # fmt: skip
@config_option
def backup(target: Path, base: Path | None, keep_days: int | None, config_path: Path | None) -> None:
    """Back up the embedded ClickHouse and the logs to the new directory TARGET.

    The node may run or not. TARGET must be on this machine and writable for the user of the node; the engine
    writes it. A backup has manifest.json when it is complete. Restore it with `nealytics restore`.

    \b
    Exit status: 0 complete and verified; 1 not.
    """
    config = _embedded(load(config_path), "backup")
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise NealyticsError(f"backup: {target} is not empty; name a new directory")
    began_ms = time.time_ns() // 1_000_000
    entry = Recorded(
        id=_identity(began_ms),
        target=str(target),
        began_ms=began_ms,
        keep_until_ms=began_ms + keep_days * _DAY_MS if keep_days else None,
        based_on=_identity(_manifest(base).began_ms) if base else None,
    )
    record(config.server.data_dir, entry)
    try:
        asyncio.run(_backup(config, target, base.absolute() if base else None, began_ms))
    except OSError as error:
        raise NealyticsError(
            f"backup: {target} cannot be written: {error}; the backup is not complete"
        ) from error


async def _backup(config: Config, target: Path, base: Path | None, began_ms: int) -> None:
    make_private(target)
    waiting = await asyncio.to_thread(_cut_logs, config, target / "wal")
    async with running_engine(config):
        access = read_access(config.server.data_dir)
        assert access is not None
        endpoint = embedded_endpoint(access, config.clickhouse.database, "backup", access.backup)
        async with ClickHouseClient(endpoint, config.clickhouse) as client:
            database = config.clickhouse.database
            at_least = await table.counts(client, database)
            based_on = base / "table" if base else None
            await table.backup(client, database, target / "table", based_on, _report)
            at_most = await table.counts(client, database)
    problems = await asyncio.to_thread(_problems, target)
    if problems:
        raise NealyticsError("\n".join(f"backup: {problem}" for problem in problems))
    await asyncio.to_thread(_sync, target)
    manifest = Manifest(1, __version__, began_ms, database, at_least, at_most, waiting)
    publish(OS_FILES, target / MANIFEST, msgspec.json.encode(manifest) + b"\n").close()
    _report(
        f"{target} is complete: {_total(at_least):,} events in the table, {sum(waiting.values()):,} in logs"
    )


def _cut_logs(config: Config, target: Path) -> dict[str, int]:
    root, waiting = config.wal.directory, {}
    make_private(target)
    for log in inspection.find_logs(root) if root.is_dir() else []:
        waiting[log.name] = cut(OS_FILES, log, target / log.name)
        _report(f"log {log.name}: {waiting[log.name]:,} events that wait")
    if (root / DIRECTORY).is_dir():
        shutil.copytree(root / DIRECTORY, target / DIRECTORY)
    return waiting


def _problems(directory: Path) -> list[str]:
    found = table.verify(directory / "table")
    for log in inspection.find_logs(directory / "wal"):
        found += [finding.message for finding in inspection.verify(OS_FILES, log) if finding.damage]
    return found


def _sync(directory: Path) -> None:
    for parent, _, names in os.walk(directory):
        for path in (*(Path(parent, name) for name in names), Path(parent)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@config_option
def restore(source: Path, config_path: Path | None) -> None:
    """Restore the backup in the directory SOURCE into this node, which must be stopped and empty.

    Verifies the backup first, and compares the number of events of each project and month afterwards. Events
    that waited in the logs are sent when the node starts.

    \b
    Exit status: 0 restored, and the counts agree; 1 not.
    """
    config = _embedded(load(config_path), "restore")
    source = source.absolute()
    manifest = _manifest(source)
    for directory in (engine_dir(config.server.data_dir), config.wal.directory):
        if directory.exists() and any(directory.iterdir()):
            raise NealyticsError(
                f"restore: {directory} is not empty; stop the node, move the directory away, and try again"
            )
    if manifest.database != config.clickhouse.database:
        raise NealyticsError(
            f'restore: the backup has the database "{manifest.database}", and clickhouse.database is '
            f'"{config.clickhouse.database}"; set it to the same'
        )
    if problems := _problems(source):
        raise NealyticsError("\n".join(f"restore: {problem}" for problem in problems))
    asyncio.run(_restore(config, source, manifest))


async def _restore(config: Config, source: Path, manifest: Manifest) -> None:
    database = config.clickhouse.database
    async with running_engine(config, operator=True):
        client = ClickHouseClient(endpoint_of(config), config.clickhouse)
        async with client:
            await table.restore(client, database, source / "table", _report)
            restored = await table.counts(client, database)
    await asyncio.to_thread(_restore_logs, config.wal.directory, source / "wal")
    if wrong := _differences(restored, manifest):
        raise NealyticsError("\n".join(f"restore: {line}" for line in wrong))
    _report(f"{_total(restored):,} events are restored, and the counts of each project and month agree")
    if waiting := sum(manifest.waiting.values()):
        _report(f"{waiting:,} events wait in the logs, and are sent when the node starts")


def _restore_logs(root: Path, source: Path) -> None:
    make_private(root)
    shutil.copytree(source, root, dirs_exist_ok=True)
    _sync(root)


def _differences(restored: Counts, manifest: Manifest) -> list[str]:
    """Projects and months with fewer events than before the backup, or more than after it."""
    wrong = []
    for project_id in sorted({*restored, *manifest.at_most, *manifest.at_least}):
        found, least, most = (
            counts.get(project_id, {}) for counts in (restored, manifest.at_least, manifest.at_most)
        )
        for month in sorted({*found, *least, *most}):
            low, events, high = least.get(month, 0), found.get(month, 0), most.get(month, 0)
            if not low <= events <= high:
                wrong.append(
                    f"project {project_id}, month {month}: {events} events, expected {low} to {high}"
                )
    return wrong


def _manifest(directory: Path) -> Manifest:
    try:
        return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(
            f"backup: {directory / MANIFEST} cannot be read ({error}); the directory is no complete backup"
        ) from error


def _embedded(config: Config, part: str) -> Config:
    if config.clickhouse.url != "embedded":
        raise NealyticsError(
            f'{part}: clickhouse.url is "{config.clickhouse.url}", a server; use its own BACKUP, as '
            "docs/backup.md shows"
        )
    return config


def _identity(began_ms: int) -> str:
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(began_ms // 1000))}.{began_ms % 1000:03}Z"


def _total(counts: Counts) -> int:
    return sum(sum(months.values()) for months in counts.values())


def _report(line: str) -> None:
    click.echo(f"backup: {line}", err=True)
