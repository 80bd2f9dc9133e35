"""Committed rows that are still on disk: what `wal.keep_hours` keeps.

Reads the files of a log without its lock, while a node uses it or after. A segment that the node deletes
meanwhile is a gap, as is one that cannot be read; the rows after it are read.
"""

from pathlib import Path

from nealytics.errors import LogDamaged, LogError
from nealytics.wal import cursor, quarantine, recovery, salvage
from nealytics.wal.cursor import CursorState, InvalidCursor, Range
from nealytics.wal.files import OS_FILES, Files
from nealytics.wal.reader import Reader, Rows
from nealytics.wal.segment import Segment, index_of


class Gap(LogError):
    """Rows from `first` to `last` cannot be read; the message says why."""

    def __init__(self, first: int, last: int, why: str) -> None:
        super().__init__(why)
        self.first = first
        self.last = last


class Kept:
    """The committed rows of one log, as its files are now. Not for two threads at once."""

    def __init__(self, directory: Path, files: Files = OS_FILES) -> None:
        """Raises `LogError` without a cursor that can be read: nobody knows then what is committed."""
        self.directory = directory
        try:
            # Before the segments: rows that it counts as committed are then in them, or were deleted.
            stored = cursor.load(files, directory)
        except InvalidCursor as error:
            raise LogError(
                f"wal: {directory / cursor.NAME}: {error}; start the node, which rebuilds it"
            ) from error
        if stored is None:
            raise LogError(f"wal: {directory / cursor.NAME} is missing; start the node, which rebuilds it")
        self.log_id = str(stored.log_id)
        self.state: CursorState = stored.state
        self._segments: list[Segment] = recovery.load_segments(files, directory, files.names(directory))[0]
        self._reader = Reader(files)

    @property
    def first_lsn(self) -> int:
        """Of the oldest row on disk. Those before it were committed and deleted."""
        return self._segments[0].first_lsn if self._segments else self.state.next_lsn

    @property
    def last_lsn(self) -> int:
        """The last row that is committed and on disk; below `first_lsn` if there is none."""
        ranges = self.ranges(1)
        return ranges[-1].last if ranges else self.first_lsn - 1

    def ranges(self, first_lsn: int) -> list[Range]:
        """The committed rows from `first_lsn` on, without those that are outstanding."""
        found, lsn = [], max(first_lsn, self.first_lsn)
        for first, last in (*self.state.outstanding, Range(self.state.next_lsn, self.state.next_lsn)):
            if lsn < first:
                found.append(Range(lsn, first - 1))
            lsn = max(lsn, last + 1)
        return found

    def read(self, first_lsn: int, last_lsn: int, *, rows_max: int, bytes_max: int) -> Rows:
        """Rows from `first_lsn` on, at most up to `last_lsn`, as `Reader.read`. Raises `Gap`."""
        rows_max = min(rows_max, last_lsn - first_lsn + 1)
        try:
            return self._reader.read(self._segments, self.state.next_lsn - 1, first_lsn, rows_max, bytes_max)
        except (LogDamaged, OSError) as error:
            at = index_of(self._segments, first_lsn)
            end = self._segments[at + 1].first_lsn - 1 if at + 1 < len(self._segments) else last_lsn
            why = (
                f"wal: {self._segments[at].path} was deleted meanwhile, to make room"
                if isinstance(error, FileNotFoundError)
                else str(error)
            )
            raise Gap(first_lsn, min(end, last_lsn), why) from error

    def close(self) -> None:
        self._reader.close()


class KeptInQuarantine(Kept):
    """The committed rows of a damaged log that can be read."""

    def __init__(self, directory: Path, files: Files = OS_FILES) -> None:
        """Reads all of it. Raises `LogError`."""
        self.directory = directory
        found = salvage.search(files, directory, all_rows=True)
        try:
            stored = cursor.load(files, directory)
        except (InvalidCursor, OSError):
            stored = None
        self.log_id = str(found.log_id)
        # Rows that a node is about to send itself are compared too if the cursor is lost: they count once.
        self.state = CursorState(found.end_lsn + 1) if stored is None else stored.state
        self._segments = [stretch.segment for stretch in found.stretches]
        self._readable = [stretch.rows for stretch in found.stretches]
        self._reader = Reader(files)

    def ranges(self, first_lsn: int) -> list[Range]:
        return salvage.common(super().ranges(first_lsn), self._readable)


def kept_of(directory: Path, files: Files = OS_FILES) -> Kept:
    """Raises `LogError`, and `OSError` if there is no such directory."""
    if quarantine.is_quarantined(directory):
        return KeptInQuarantine(directory, files)
    return Kept(directory, files)
