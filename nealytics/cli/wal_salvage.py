"""What `nealytics wal salvage` does."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import click
import msgspec

from nealytics.clickhouse.rowbinary import decode_row
from nealytics.config import WalConfig
from nealytics.errors import NealyticsError
from nealytics.timestamps import iso_utc
from nealytics.wal import OS_FILES, Log, Rows, quarantine, salvage
from nealytics.wal.files import Files
from nealytics.wal.reader import Reader
from nealytics.wal.salvage import Found

# Column of the table → field of the event as it is sent.
_FIELDS = {
    "event_id": "eventId",
    "project_id": "projectId",
    "tenant_id": "tenantId",
    "session_id": "sessionId",
    "user_id": "userId",
    "event_type": "eventType",
    "item_id": "itemId",
    "metadata_json": "metadataJson",
    "timestamp": "timestamp",
}


def run(directory: Path, *, to: Path | None, ndjson: BinaryIO | None, all_rows: bool) -> bool:
    """Whether everything could be read."""
    with _locked(OS_FILES, directory):
        found = salvage.search(OS_FILES, directory, all_rows=all_rows)
        unreadable = {gap.first_lsn: gap for gap in (*_reported_before(directory), *found.unreadable)}
        if to is not None:
            asyncio.run(_to_log(found, to))
        refused = 0 if ndjson is None else _to_ndjson(found, ndjson)
    for _, gap in sorted(unreadable.items()):
        click.echo(f"unreadable: {gap}", err=True)
    readable = sum(last - first + 1 for first, last in found.batches) - refused
    lost = sum(gap.events for gap in unreadable.values()) + refused
    which = "events" if all_rows else "events that were not committed"
    click.echo(f"{directory}: {readable} {which} can be read, {lost} cannot", err=True)
    return not lost


def _reported_before(directory: Path) -> tuple[salvage.Unreadable, ...]:
    """What the node found when it quarantined the log."""
    try:
        return quarantine.read_report(directory).unreadable
    except (OSError, msgspec.MsgspecError):
        return ()


@contextlib.contextmanager
def _locked(files: Files, directory: Path) -> Iterator[None]:
    """Nobody writes to the log meanwhile. Leaves a directory without LOCK, or a read-only one, as it is.

    Nobody appends to a log in quarantine, which a node may still drain, also after it was moved."""
    path = directory / "LOCK"
    lock = None
    if files.exists(path) and not quarantine.is_quarantined(directory):
        try:
            lock = files.try_lock(path)
        except OSError:
            yield
            return
        if lock is None:
            raise NealyticsError(
                f"wal: {directory} is in use; stop the node, which itself sends what can be read"
            )
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _batches(found: Found) -> Iterator[Rows]:
    reader = Reader(OS_FILES)
    parts = [stretch.segment for stretch in found.stretches]
    try:
        for first, last in found.batches:
            yield reader.read(parts, found.end_lsn, first, last - first + 1, 2**40)
    finally:
        reader.close()


async def _to_log(found: Found, target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        raise NealyticsError(f"wal: {target} is not empty; give --to a directory that does not exist")
    # What is left of a log is written whatever its size; the source stays, so any file system will do.
    config = WalConfig(allow_any_filesystem=True, free_bytes_min=0, bytes_max=2**62)
    log = await Log.open(target, config)
    try:
        for rows in _batches(found):
            await log.append(list(rows), rows.row_format)
    finally:
        await log.close()


def _to_ndjson(found: Found, target: BinaryIO) -> int:
    """How many rows are not of a format that this release knows."""
    refused = 0
    encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
    for rows in _batches(found):
        for lsn, row in enumerate(rows, rows.first_lsn):
            try:
                target.write(encode(event_of(row, rows.row_format)) + b"\n")
            except (ValueError, OverflowError) as error:
                refused += 1
                click.echo(f"unreadable: LSN {lsn}: {error}", err=True)
    return refused


def event_of(row: bytes, row_format: int) -> dict[str, str]:
    """The event as `nealytics import` reads it. Raises `ValueError` if the bytes are no row."""
    columns = decode_row(row, row_format)
    return {
        field: _text(columns[column]) for column, field in _FIELDS.items() if columns.get(column) is not None
    }


def _text(value: object) -> str:
    match value:
        case UUID():
            return str(value)
        case int():
            return iso_utc(value)
        case _:
            return str(value)
