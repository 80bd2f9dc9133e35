"""A damaged log is quarantined: its directory is renamed, a new log takes the events, and what can be read of
the old one is still sent.

    wal/0                        the new log
    wal/0.damaged.<log id>       the old one, whole; only a person deletes it
        damage.json              what cannot be read (`salvage.Unreadable`), written before anything is sent
        cursor                   moves while the readable rows are sent
        cursor.found             as it was when the damage was found

`QuarantinedLog` is what the committer drains. Every readable row that was not committed is in an outstanding
range from the start, and no range has a row that cannot be read. So a start after a crash continues with the
same ranges and tokens, and the committer verifies each against the table: nothing is sent twice.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from nealytics.errors import LogBroken, LogDamaged, LogError, LogLocked
from nealytics.wal import cursor, recovery, salvage
from nealytics.wal.cursor import CursorState, Range, Stored
from nealytics.wal.files import OS_FILES, File, Files, publish
from nealytics.wal.flusher import retrieve
from nealytics.wal.reader import Reader, Rows
from nealytics.wal.salvage import Found, Unreadable
from nealytics.wal.state import LogState

logger = logging.getLogger("nealytics.wal")

REPORT = "damage.json"
_NAME = re.compile(r"(\d+)\.damaged\.\S+")

# How many of the first of these rows may be in one batch.
Cut = Callable[[Rows], int]


class Report(msgspec.Struct, frozen=True):
    """The content of `damage.json`."""

    log_id: str
    unreadable: tuple[Unreadable, ...]

    @property
    def events(self) -> int:
        return sum(gap.events for gap in self.unreadable)


def find(root: Path) -> list[tuple[int, Path]]:
    """The logs that were quarantined under `wal.directory`, and the worker of each."""
    found = [(int(match[1]), path) for path in root.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((worker, path) for worker, path in found if path.is_dir())


def is_quarantined(directory: Path) -> bool:
    """Also one that was moved elsewhere since."""
    return _NAME.fullmatch(directory.name) is not None or (directory / REPORT).exists()


def mark(files: Files, directory: Path, why: str) -> None:
    """The next start quarantines the log in `directory`; durable on return."""
    publish(files, directory / recovery.FOUND_DAMAGED, f"{why}\n".encode()).close()


def quarantine_log(files: Files, directory: Path) -> Path:
    """Renames the directory of a damaged log that no process has open; durable on return.

    Raises `LogLocked` if one has, `LogForeign` if a person must decide, and `LogError` if it fails.
    """
    try:
        lock = files.try_lock(directory / "LOCK")
        if lock is None:
            raise LogLocked(f"wal: {directory} is damaged, and another process has it; stop that process")
        try:
            found = salvage.log_id(files, directory)
            target = _free(files, directory.with_name(f"{directory.name}.damaged.{found}"))
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                files.link(directory / cursor.NAME, directory / "cursor.found")
            files.sync_directory(directory)
            files.rename(directory, target)
            files.sync_directory(directory.parent)
        finally:
            lock.close()
    except OSError as error:
        raise LogError(
            f"wal: cannot quarantine the damaged log {directory}: {error}; check the disk"
        ) from error
    return target


def _free(files: Files, path: Path) -> Path:
    number = 2
    free = path
    while files.exists(free):
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return free


class _Opened(NamedTuple):
    lock: File
    found: Found
    report: Report
    batches: list[Range]


class QuarantinedLog(LogState):
    """A log that was quarantined, as the committer reads it. Takes no rows and deletes nothing."""

    full = disk_full = False
    keep_all = True  # nothing here is ever deleted

    def __init__(self, directory: Path, files: Files, opened: _Opened) -> None:
        found = opened.found
        end_lsn = found.end_lsn
        state = CursorState(end_lsn + 1, tuple(opened.batches))
        parts = [stretch.segment for stretch in found.stretches]
        super().__init__(directory, found.log_id, parts, end_lsn, state)
        self.report = opened.report
        self.forgotten_lsn = end_lsn  # every row may have been sent
        self._files = files
        self._lock = opened.lock
        self._reader = Reader(files)
        self._loop = asyncio.get_running_loop()
        self._io = asyncio.Lock()

    @classmethod
    async def open(cls, directory: Path, cut: Cut, *, files: Files = OS_FILES) -> "QuarantinedLog":
        """Reads all of the log, and makes the report durable.

        Raises `LogLocked`, `LogForeign` or `LogError`.
        """
        opened = await asyncio.to_thread(_open, files, directory, cut)
        log = cls(directory, files, opened)
        await log._find_oldest()
        return log

    @property
    def bytes_used(self) -> int:
        """Not part of `wal.bytes_max`: nothing is appended here, and nothing makes room."""
        return 0

    @property
    def deleted_lsn(self) -> int:
        return 0

    async def wait_for(self, lsn: int) -> None:
        """As `Log.wait_for`; no row beyond the last one comes."""
        if lsn > self.durable_lsn:
            await self._loop.create_future()

    async def read(self, first_lsn: int, *, rows_max: int, bytes_max: int) -> Rows:
        """As `Log.read`."""
        read = partial(self._reader.read, tuple(self._segments), self.durable_lsn, first_lsn)
        async with self._io:
            try:
                return await asyncio.to_thread(read, rows_max, bytes_max)
            except (OSError, IndexError) as error:
                raise LogDamaged(f"wal: {self.directory}: row {first_lsn} cannot be read: {error}") from error

    async def store_cursor(self, state: CursorState) -> None:
        """As `Log.store_cursor`."""
        storing = self._loop.create_task(self._store(state))
        storing.add_done_callback(retrieve)
        await asyncio.shield(storing)

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            async with self._io:
                self._reader.close()
                self._lock.close()

    async def _store(self, state: CursorState) -> None:
        self.check_cursor(state)
        async with self._io:
            if self.closed:
                raise LogBroken(f"wal: {self.directory} is closed")
            stored = Stored(self.log_id, state, self.durable_lsn)
            await asyncio.to_thread(cursor.store, self._files, self.directory, stored)
            self.cursor = state
        await self._find_oldest()

    async def _find_oldest(self) -> None:
        if not self.cursor.outstanding:
            self.oldest_waiting_ms = None
            return
        first = self.cursor.outstanding[0].first
        async with self._io:
            with contextlib.suppress(LogDamaged, OSError, IndexError):
                rows = await asyncio.to_thread(
                    self._reader.read, tuple(self._segments), self.durable_lsn, first, 1, 1
                )
                self.oldest_waiting_ms = rows.appended_ms


def _open(files: Files, directory: Path, cut: Cut) -> _Opened:
    try:
        lock = files.try_lock(directory / "LOCK")
        if lock is None:
            raise LogLocked(f"wal: {directory} is locked by another process; stop that process")
        try:
            found = salvage.search(files, directory)
            report = _report(files, directory, found)
            batches = _batches(files, found, cut)
            state = CursorState(found.end_lsn + 1, tuple(batches))
            if state != found.state:
                # Before anything is sent: the ranges of all attempts are the same.
                cursor.store(files, directory, Stored(found.log_id, state, found.end_lsn))
        except BaseException:
            lock.close()
            raise
    except OSError as error:
        raise LogError(f"wal: cannot read the damaged log {directory}: {error}; check the disk") from error
    return _Opened(lock, found, report, batches)


def _report(files: Files, directory: Path, found: Found) -> Report:
    """What an earlier start found (rows that are not in the cursor any more), and what is new."""
    try:
        known = read_report(directory).unreadable
    except (OSError, msgspec.DecodeError):
        known = ()
    report = Report(str(found.log_id), (*known, *found.unreadable))
    if found.unreadable or not files.exists(directory / REPORT):
        data = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
        publish(files, directory / REPORT, data).close()
    return report


def described(report: Report | None) -> str:
    """For people."""
    if report is None:
        return "this log is damaged, and its readable events are being collected"
    if not report.unreadable:
        return "this log was damaged, and all of its events can be read; delete it once none is queued"
    first = "; ".join(map(str, report.unreadable[:3]))
    more = f"; and {len(report.unreadable) - 3} more in {REPORT}" if len(report.unreadable) > 3 else ""
    return f"{report.events} events of this damaged log cannot be read: {first}{more}"


def read_report(directory: Path) -> Report:
    """Raises `OSError` or `msgspec.DecodeError`."""
    return msgspec.json.decode((directory / REPORT).read_bytes(), type=Report)


def _batches(files: Files, found: Found, cut: Cut) -> list[Range]:
    """The readable rows as ranges that are one batch each; those of a stored intent stay as they are."""
    intents = set(found.state.outstanding)
    reader = Reader(files)
    parts = tuple(stretch.segment for stretch in found.stretches)
    batches = []
    try:
        for rows in found.batches:
            first = rows.first
            while rows not in intents and first <= rows.last:
                some = reader.read(parts, found.end_lsn, first, rows.last - first + 1, 2**40)
                last = first + cut(some) - 1
                batches.append(Range(first, last))
                first = last + 1
            if rows in intents:
                batches.append(rows)
    finally:
        reader.close()
    return batches
