"""The writing end: one group at a time, write, fdatasync, and only then the next.

Synchronous; the flusher gathers the groups. Strictly serial, so that recovery can tell an unfinished write
from damage (see the package docstring).
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from nealytics.errors import LogBroken, LogFull
from nealytics.wal import frame, segment
from nealytics.wal.appender import Appended
from nealytics.wal.files import NO_ROOM, File, Files, write_whole
from nealytics.wal.segment import Segment, SegmentHeader


class Append(NamedTuple):
    """The arguments of one call of `Log.append`."""

    rows: Sequence[bytes]
    row_format: int
    payload_bytes: int


class Group:
    """Appends that share one fdatasync."""

    __slots__ = ("appends", "payload_bytes", "row_count")

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.payload_bytes = 0
        self.row_count = 0

    def add(self, append: Append) -> None:
        self.appends.append(append)
        self.payload_bytes += append.payload_bytes
        self.row_count += len(append.rows)

    @property
    def bytes_max(self) -> int:
        """At most how many bytes its frames will have."""
        frames = (
            len(self.appends)  # as if each append had frames of its own
            + self.payload_bytes // frame.FRAME_PAYLOAD_BYTES_MAX * 2
            + self.row_count // frame.FRAME_ROWS_MAX
        )
        return self.payload_bytes + self.row_count * frame.LENGTH_BYTES + frames * frame.HEADER_BYTES


class Written(NamedTuple):
    last_lsn: int
    sync_seconds: float


class Frames(NamedTuple):
    """A small group as it is appended to the active segment, by another than the `Writer`."""

    descriptor: int
    data: bytes
    last_lsn: int
    last_crc: int


# Encoding so much, and counting its rows, takes the event loop 1 to 4 ms. Larger groups are for a thread.
SMALL_BYTES = 512 * 1024


class Writer:
    """Appends groups to the active segment, and begins the next segment when that is full.

    `write` writes a group. Or an `Appender` appends its `small_frames`, and `appended` gets the result. They
    and `mark` return after the fdatasync that covers the rows. `LogFull` means that nothing of the group was
    kept and the next one may try; after `LogBroken` the writer must not be used again: the kernel may have
    dropped the pages, so a second fdatasync would prove nothing.
    """

    def __init__(
        self,
        files: Files,
        directory: Path,
        log_id: UUID,
        *,
        next_lsn: int,
        previous_first_lsn: int,
        previous_crc: int,
        segment_bytes_max: int,
        clock_ms: Callable[[], int],
        cursor_lsn: int,
    ) -> None:
        self._files = files
        self._directory = directory
        self._log_id = log_id
        self._next_lsn = next_lsn
        self._last_crc = previous_crc
        self._segment_bytes_max = segment_bytes_max
        self._clock_ms = clock_ms
        # A process appends only to files that it created, so every start begins a segment.
        self.active, self._file = self._create(previous_first_lsn, cursor_lsn)

    @property
    def has_rows(self) -> bool:
        """Whether the active segment holds any."""
        return self._next_lsn > self.active.first_lsn

    def write(self, group: Group, cursor_lsn: int) -> Written:
        """Makes all rows of the group durable, in order. `cursor_lsn` goes into the header of a new
        segment.
        """
        if self._needs_segment(group):
            self.rotate(cursor_lsn)
        now_ms = self._clock_ms()
        lsn = self._next_lsn
        last_crc = self._last_crc
        start = self.active.bytes
        length = 0
        try:
            for row_format, rows in _frames(group):
                data = self._encode(rows, row_format, lsn, now_ms)
                write_whole(self._file, data)
                lsn += len(rows)
                length += len(data)
                last_crc = frame.header_crc(data)
        except OSError as error:
            raise self._cut_back(start, error) from error
        sync_seconds = self._sync()
        self.active.bytes = start + length
        self._next_lsn, self._last_crc = lsn, last_crc
        return Written(lsn - 1, sync_seconds)

    def small_frames(self, group: Group) -> Frames | None:
        """None if the group is for `write`: it is large, needs a segment, or the file is not the system's."""
        descriptor = self._file.descriptor
        if group.payload_bytes > SMALL_BYTES or descriptor is None or self._needs_segment(group):
            return None
        now_ms = self._clock_ms()
        lsn = self._next_lsn
        frames = []
        for row_format, rows in _frames(group):
            frames.append(self._encode(rows, row_format, lsn, now_ms))
            lsn += len(rows)
        return Frames(descriptor, b"".join(frames), lsn - 1, frame.header_crc(frames[-1]))

    def appended(self, frames: Frames, ended: Appended) -> Written:
        """`small_frames` of the active segment were appended, or not. Raises as `write`."""
        if ended.write_error:
            error = OSError(ended.write_error, os.strerror(ended.write_error))
            raise self._cut_back(self.active.bytes, error) from error
        if ended.sync_error:
            raise self._not_synced(OSError(ended.sync_error, os.strerror(ended.sync_error)))
        self.active.bytes += len(frames.data)
        self._next_lsn, self._last_crc = frames.last_lsn + 1, frames.last_crc
        return Written(frames.last_lsn, ended.sync_seconds)

    def mark(self) -> None:
        """Writes a frame without rows: after it, damage to the last frame cannot look like an unfinished
        write.
        """
        data = self._encode((), 0, self._next_lsn, self._clock_ms())
        try:
            write_whole(self._file, data)
        except OSError as error:
            raise self._cut_back(self.active.bytes, error) from error
        self._sync()
        self.active.bytes += len(data)

    def rotate(self, cursor_lsn: int) -> None:
        """Begins a new segment. The old one is complete: its last group was synced before."""
        old = self._file
        self.active, self._file = self._create(self.active.first_lsn, cursor_lsn)
        old.close()

    def close(self) -> None:
        self._file.close()

    def _needs_segment(self, group: Group) -> bool:
        return self.has_rows and self.active.bytes + group.bytes_max > self._segment_bytes_max

    def _create(self, previous_first_lsn: int, cursor_lsn: int) -> tuple[Segment, File]:
        header = SegmentHeader(
            previous_crc=self._last_crc,
            log_id=self._log_id,
            first_lsn=self._next_lsn,
            previous_first_lsn=previous_first_lsn,
            cursor_lsn=cursor_lsn,
            created_ms=self._clock_ms(),
        )
        return segment.create(self._files, self._directory, header)

    def _encode(self, rows: Sequence[bytes], row_format: int, first_lsn: int, now_ms: int) -> bytes:
        return frame.encode(
            rows,
            row_format=row_format,
            first_lsn=first_lsn,
            synced_offset=self.active.bytes,
            appended_ms=now_ms,
            seed=self.active.seed,
        )

    def _sync(self) -> float:
        started = time.perf_counter()
        try:
            self._file.sync()
        except OSError as error:
            raise self._not_synced(error) from error
        return time.perf_counter() - started

    def _not_synced(self, error: OSError) -> LogBroken:
        return LogBroken(f"wal: fdatasync of {self.active.path} failed: {error}; restart to recover")

    def _cut_back(self, start: int, error: OSError) -> LogFull | LogBroken:
        """After a failed write: truncates the file to the start of the group, or breaks the log."""
        path = self.active.path
        if error.errno not in NO_ROOM:
            return LogBroken(f"wal: writing {path} failed: {error}; restart to recover")
        try:
            self._file.truncate(start)
        except OSError as failure:
            return LogBroken(f"wal: cannot truncate {path} to byte {start}: {failure}; restart to recover")
        return LogFull(f"wal: no room for {path} ({error.strerror}); free some disk space")


def _frames(group: Group) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Cuts a group into frames: one row format each, within the limits unless a single row is longer."""
    appends = group.appends
    if _fits(group.row_count, group.payload_bytes) and len({append.row_format for append in appends}) == 1:
        yield appends[0].row_format, [row for append in appends for row in append.rows]
        return
    rows: list[bytes] = []
    payload_bytes = 0
    row_format = appends[0].row_format
    for append in appends:
        same = append.row_format == row_format
        if same and _fits(len(rows) + len(append.rows), payload_bytes + append.payload_bytes):
            rows.extend(append.rows)
            payload_bytes += append.payload_bytes
            continue
        for row in append.rows:
            if rows and not (
                append.row_format == row_format and _fits(len(rows) + 1, payload_bytes + len(row))
            ):
                yield row_format, rows
                rows, payload_bytes = [], 0
            row_format = append.row_format
            rows.append(row)
            payload_bytes += len(row)
    yield row_format, rows


def _fits(rows: int, payload_bytes: int) -> bool:
    return rows <= frame.FRAME_ROWS_MAX and payload_bytes <= frame.FRAME_PAYLOAD_BYTES_MAX
