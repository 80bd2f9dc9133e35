"""Finds everything that can still be read in a damaged log. Changes nothing.

After bytes that are no valid frame, it searches for the next place where a frame begins: magic, a header
whose checksum is right (it starts from the CRC of the segment's header, so no event can contain one), and an
LSN that is not lower than expected. A frame whose header is right and whose body is not has a known length
and known rows, so exactly these are unreadable. Sectors that the disk refuses to read count as bytes that
are no frame. A damaged header of a segment hides no frame: it is enough that its checksum, or what it
covers, is as it was written.

What is unreadable is described by its neighbours: the LSNs between them, and when they were written.
"""

import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from nealytics.errors import LogDamaged, LogError, LogForeign
from nealytics.wal import cursor, recovery, segment
from nealytics.wal.cursor import CursorState, InvalidCursor, Range, Stored
from nealytics.wal.files import File, Files
from nealytics.wal.frame import FrameHeader
from nealytics.wal.reader import SegmentReader
from nealytics.wal.segment import HEADER_BYTES, Segment, SegmentHeader

# A stretch of readable frames is one batch, so it is ended here: some 40,000 events.
_STRETCH_BYTES_MAX = 8 * 1024 * 1024
_STRETCH_ROWS_MAX = 100_000
_SECTOR_BYTES = 4096


class Place(msgspec.Struct, frozen=True):
    """Bytes of a file that are no valid frame. All of a missing file: 0 bytes."""

    file: str
    first_byte: int
    bytes: int


class Unreadable(msgspec.Struct, frozen=True):
    """Rows that were not committed and cannot be read."""

    first_lsn: int
    last_lsn: int
    events: int  # without those of them that are committed
    places: tuple[Place, ...]  # none: the segment is missing
    after_ms: int | None  # when the last readable row before them was written
    before_ms: int | None  # the first one behind them

    def __str__(self) -> str:
        where = ", ".join(
            f"{place.file} bytes {place.first_byte}-{place.first_byte + place.bytes - 1}"
            for place in self.places
        )
        return (
            f"{self.events} events (LSN {self.first_lsn}-{self.last_lsn}) in {where or 'a missing segment'}, "
            f"written between {_time(self.after_ms)} and {_time(self.before_ms)}"
        )


class Stretch(NamedTuple):
    """Consecutive readable rows of one format, in one file."""

    rows: Range
    row_format: int
    segment: Segment  # the bytes of the file from the first of their frames to the last


class Found(NamedTuple):
    """What a damaged log holds."""

    log_id: UUID
    stretches: list[Stretch]  # ascending
    state: CursorState  # what is committed
    unreadable: list[Unreadable]
    end_lsn: int  # the last row that the log is known to have had

    @property
    def uncommitted(self) -> list[Range]:
        """Rows, readable or not, ascending; those that may have been sent as one batch are one range."""
        waiting = Range(self.state.next_lsn, self.end_lsn)
        return [*self.state.outstanding, *([waiting] if waiting.last >= waiting.first else [])]

    @property
    def batches(self) -> list[Range]:
        """The readable rows that are not committed, as the batches to be sent."""
        return batches([stretch.rows for stretch in self.stretches], self.uncommitted, self.state.next_lsn)


def search(files: Files, directory: Path, *, all_rows: bool = False) -> Found:
    """Reads a log whatever its state. `all_rows`: as if no row were committed.

    Raises `LogForeign` for files of a newer release or of several logs, `LogError` if there is no log.
    """
    segments, stored = _load_all(files, directory)
    if not segments and stored is None:
        raise LogError(f"wal: {directory} contains no log; give the directory with the *.wal files")
    if all_rows:
        state = CursorState(segments[0].first_lsn if segments else 1)
    else:
        state = stored.state if stored is not None else recovery.rebuilt(segments, 1)
    scan = _Scan(files, state.done_lsn + 1)
    for at, found in enumerate(segments):
        following = segments[at + 1].first_lsn if at + 1 < len(segments) else None
        if following is None or following > scan.expected_lsn:
            scan.read(found)
    if stored is not None:
        scan.known_lsn = max(scan.known_lsn, stored.durable_lsn, stored.state.next_lsn - 1)
    scan.end()
    all_found = Found(_id_of(directory, segments, stored), scan.stretches, state, [], scan.known_lsn)
    for gap in scan.gaps:
        missing = Range(gap.first_lsn, gap.last_lsn)
        if events := sum(last - first + 1 for first, last in common([missing], all_found.uncommitted)):
            all_found.unreadable.append(msgspec.structs.replace(gap, events=events))
    return all_found


def log_id(files: Files, directory: Path) -> UUID:
    """Raises as `search` does."""
    return _id_of(directory, *_load_all(files, directory))


def batches(readable: Sequence[Range], uncommitted: Sequence[Range], next_lsn: int) -> list[Range]:
    """`uncommitted` without what cannot be read.

    A range below `next_lsn` is a batch that may have been sent. It stays one if it can be read as a whole, so
    that ClickHouse recognises it; all other rows are cut where a readable range ends.
    """
    found = []
    for rows in uncommitted:
        parts = common([rows], readable)
        is_whole = sum(last - first + 1 for first, last in parts) == rows.last - rows.first + 1
        found += [rows] if is_whole and rows.last < next_lsn else parts
    return found


def common(some: Sequence[Range], others: Sequence[Range]) -> list[Range]:
    """The rows that are in both; both are ascending."""
    return [
        Range(max(one.first, other.first), min(one.last, other.last))
        for one in some
        for other in others
        if one.first <= other.last and other.first <= one.last
    ]


class _Scan:
    """Reads segments in their order and notes what is readable, and what is not."""

    def __init__(self, files: Files, first_lsn: int) -> None:
        self.stretches: list[Stretch] = []
        self.gaps: list[Unreadable] = []
        self.expected_lsn = first_lsn  # of the next row that is wanted
        self.known_lsn = first_lsn - 1  # the last row that is known to have been written
        self._files = files
        self._places: list[Place] = []  # since the last readable frame
        self._after_ms: int | None = None  # when that was written

    def read(self, found: Segment) -> None:
        self.known_lsn = max(self.known_lsn, found.first_lsn - 1)
        if found.bytes < HEADER_BYTES:
            if found.bytes:
                self._places.append(Place(found.path.name, 0, found.bytes))
            return
        for offset, end, header in frames(self._files, found):
            if header is None:
                self._places.append(Place(found.path.name, offset, end - offset))
                continue
            self._readable_from(header.first_lsn, header.appended_ms)
            if not header.is_marker and header.last_lsn >= self.expected_lsn:
                self._add(found, offset, end, header)

    def end(self) -> None:
        """After the last segment: what is known to have been written and was not found cannot be read."""
        self._gap(self.known_lsn + 1, None)

    def _readable_from(self, lsn: int, written_ms: int) -> None:
        self._gap(lsn, written_ms)
        self._after_ms = written_ms
        self._places = []

    def _gap(self, until_lsn: int, before_ms: int | None) -> None:
        if until_lsn > self.expected_lsn:
            last_lsn = until_lsn - 1
            count = until_lsn - self.expected_lsn
            self.gaps.append(
                Unreadable(self.expected_lsn, last_lsn, count, tuple(self._places), self._after_ms, before_ms)
            )
            self.expected_lsn = until_lsn
            self.known_lsn = max(self.known_lsn, last_lsn)

    def _add(self, found: Segment, offset: int, end: int, header: FrameHeader) -> None:
        last = self.stretches[-1] if self.stretches else None
        first_lsn = header.first_lsn
        if (
            last is not None
            and last.segment.path == found.path
            and last.segment.bytes == offset
            and last.rows.last + 1 == first_lsn
            and last.row_format == header.row_format
            and end - last.segment.start <= _STRETCH_BYTES_MAX
            and header.last_lsn - last.rows.first < _STRETCH_ROWS_MAX
        ):
            last.segment.bytes = end
            self.stretches[-1] = last._replace(rows=Range(last.rows.first, header.last_lsn))
        else:
            part = Segment(
                found.path, found.header._replace(first_lsn=first_lsn), found.seed, bytes=end, start=offset
            )
            self.stretches.append(Stretch(Range(first_lsn, header.last_lsn), header.row_format, part))
        self.expected_lsn = header.last_lsn + 1
        self.known_lsn = max(self.known_lsn, header.last_lsn)


def frames(files: Files, found: Segment) -> Iterator[tuple[int, int, FrameHeader | None]]:
    """All bytes of a segment behind its header: from where to where, and the header of a valid frame."""
    reader = SegmentReader(files, found, _Sectors(files.open(found.path)))
    offset, size = HEADER_BYTES, found.bytes
    try:
        while offset < size:
            header = reader.header(offset, size)
            if header is not None:
                end = offset + header.frame_bytes
                yield offset, end, header if reader.body(offset, header, size) is not None else None
            else:
                end = next((at for at, _ in reader.headers(offset + 1, size)), size)
                yield offset, end, None
            offset = end
    finally:
        reader.close()


class _Sectors:
    """A file of which some sectors cannot be read: they read as zeros, which no checksum accepts."""

    def __init__(self, file: File) -> None:
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self._file.read(offset, length)
        except OSError:
            return b"".join(
                self._sector(at, min(_SECTOR_BYTES, offset + length - at))
                for at in range(offset, offset + length, _SECTOR_BYTES)
            )

    def _sector(self, offset: int, length: int) -> bytes:
        try:
            return self._file.read(offset, length)
        except OSError:
            return bytes(min(length, max(0, self._file.size() - offset)))

    def close(self) -> None:
        self._file.close()


def _load_all(files: Files, directory: Path) -> tuple[list[Segment], Stored | None]:
    names = sorted(name for name in files.names(directory) if segment.first_lsn_of(name) is not None)
    try:
        stored = cursor.load(files, directory)
    except (InvalidCursor, OSError):
        stored = None
    return [_load(files, directory / name) for name in names], stored


def _id_of(directory: Path, segments: Sequence[Segment], stored: Stored | None) -> UUID:
    known = [found for found in segments if found.header.log_id.int]
    # Without any readable header the frames cannot tell; a new id only means that no token is known.
    return recovery.common_id(directory, known, stored)


def _load(files: Files, path: Path) -> Segment:
    """The segment at `path`, even if its header is damaged: without a log id then."""
    try:
        if (found := segment.load(files, path)) is not None:
            return found
    except LogForeign:
        raise
    except (LogDamaged, OSError):
        pass
    file = _Sectors(files.open(path))
    try:
        data = file.read(0, HEADER_BYTES)
    finally:
        file.close()
    size = _size_of(files, path)
    first_lsn = segment.first_lsn_of(path.name)
    assert first_lsn is not None
    header = SegmentHeader(0, UUID(int=0), first_lsn, 0, 0, 0)
    stored_crc, real_crc = int.from_bytes(data[-4:], "little"), zlib.crc32(data[:-4])
    found = Segment(path, header, seed=stored_crc, bytes=size)
    if any(frame_header is not None for _, _, frame_header in frames(files, found)):
        return found
    return Segment(path, header, seed=real_crc, bytes=size)


def _size_of(files: Files, path: Path) -> int:
    file = files.open(path)
    try:
        return file.size()
    finally:
        file.close()


def _time(ms: int | None) -> str:
    if ms is None:
        return "an unknown time"
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(sep=" ", timespec="seconds")
