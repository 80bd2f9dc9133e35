"""Reads rows back in constant memory; verifies a frame before it returns one of its rows.

Synchronous: `Log.read` runs it in a thread. `SegmentReader` reads one file, `Reader` all of them.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import accumulate

from nealytics.errors import LogDamaged
from nealytics.wal import frame
from nealytics.wal.files import Files, Readable
from nealytics.wal.frame import FrameHeader
from nealytics.wal.segment import WHAT_TO_DO, Segment, index_of

# One system call per this much, not two per frame: a frame of one row has some 250 bytes.
_CHUNK_BYTES = 256 * 1024
# A sequential reader remembers an offset this often, so that going back (a retried batch) does not read the
# segment from its start.
_MARK_BYTES = 256 * 1024


class Rows:
    """Consecutive rows of one format, as read back; perhaps without some that were erased. Never changes."""

    __slots__ = ("_ends", "appended_ms", "count", "first_lsn", "last_lsn", "lengths", "payload", "row_format")

    def __init__(
        self,
        row_format: int,
        first_lsn: int,
        lengths: "array[int]",
        payload: bytes,
        appended_ms: int,
        last_lsn: int | None = None,
    ) -> None:
        """With `last_lsn`, rows between it and `first_lsn` may have been left out."""
        self.row_format = row_format
        self.first_lsn = first_lsn
        self.count = len(lengths)
        self.lengths = lengths  # of each row, in bytes
        self.payload = payload  # the rows, one after the other
        self.appended_ms = appended_ms  # when the frame of the first row was written
        self.last_lsn = first_lsn + self.count - 1 if last_lsn is None else last_lsn
        self._ends: array[int] | None = None

    @property
    def ends(self) -> "array[int]":
        """Where in `payload` each row ends."""
        if self._ends is None:
            self._ends = array("Q", accumulate(self.lengths))
        return self._ends

    def row(self, lsn: int) -> bytes:
        i = self._index(lsn)
        ends = self.ends
        return self.payload[ends[i - 1] if i else 0 : ends[i]]

    def slice(self, first_lsn: int, last_lsn: int) -> "Rows":
        first, last = self._index(first_lsn), self._index(last_lsn)
        ends = self.ends
        return Rows(
            self.row_format,
            first_lsn,
            self.lengths[first : last + 1],
            self.payload[ends[first - 1] if first else 0 : ends[last]],
            self.appended_ms,
        )

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for end in self.ends:
            yield self.payload[start:end]
            start = end

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"Rows({self.first_lsn}-{self.last_lsn}, format {self.row_format}, {len(self.payload)} bytes)"

    def _index(self, lsn: int) -> int:
        if not self.first_lsn <= lsn < self.first_lsn + self.count == self.last_lsn + 1:
            raise IndexError(f"row {lsn} is not in {self!r}")
        return lsn - self.first_lsn


class SegmentReader:
    """The frames of one open file, through a buffer. None means "no valid frame here"; the caller decides
    what that means."""

    def __init__(self, files: Files, segment: Segment, file: "Readable | None" = None) -> None:
        """`file`: instead of opening the segment's path."""
        self.segment = segment
        self._file: Readable = file or files.open(segment.path)
        self._buffer = b""
        self._buffer_offset = 0

    def header(self, offset: int, end: int) -> FrameHeader | None:
        """The header at `offset`; None if it is not valid or its frame would not end at or before `end`."""
        data = self._bytes(offset, frame.HEADER_BYTES, end)
        header = frame.parse_header(data, self.segment.seed)
        return None if header is None or header.frame_bytes > end - offset else header

    def body(self, offset: int, header: FrameHeader, end: int) -> memoryview | None:
        """The body of the frame at `offset`; None if its checksum is wrong."""
        body = self._bytes(offset + frame.HEADER_BYTES, header.body_bytes, end)
        return body if frame.body_is_valid(header, body, self.segment.seed) else None

    def later_header(self, offset: int, end: int) -> tuple[int, FrameHeader] | None:
        """The first valid header after `offset`, at any place, that proves that `offset` had been synced."""
        later = self.headers(offset + 1, end)
        return next((found for found in later if found[1].synced_offset > offset), None)

    def headers(self, position: int, end: int) -> Iterator[tuple[int, FrameHeader]]:
        """Every valid header from `position` on, at any place, and where it is."""
        while end - position >= frame.HEADER_BYTES:
            data = self._file.read(position, min(_CHUNK_BYTES, end - position))
            at = data.find(frame.MAGIC)
            while at >= 0:
                header = frame.parse_header(
                    self._bytes(position + at, frame.HEADER_BYTES, end), self.segment.seed
                )
                if header is not None:
                    yield position + at, header
                at = data.find(frame.MAGIC, at + 1)
            # A magic may be split between two chunks.
            position += max(1, len(data) - len(frame.MAGIC) + 1)

    def close(self) -> None:
        self._file.close()

    def _bytes(self, offset: int, length: int, end: int) -> memoryview:
        length = min(length, end - offset)
        start = offset - self._buffer_offset
        if start < 0 or start + length > len(self._buffer):
            self._buffer = self._file.read(offset, min(max(length, _CHUNK_BYTES), end - offset))
            self._buffer_offset = offset
            start = 0
        return memoryview(self._buffer)[start : start + length]


class Reader:
    """Reads durable rows in order of LSN; a call that continues where the last one ended seeks nothing.

    Not for two threads at once. `segments` and `durable_lsn` are arguments: they change between calls.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: SegmentReader | None = None
        self._marks: list[tuple[int, int]] = []  # (LSN, offset) of some frames of the open segment, ascending

    def read(
        self, segments: Sequence[Segment], durable_lsn: int, first_lsn: int, rows_max: int, bytes_max: int
    ) -> Rows:
        """At least one row, at most `rows_max` and (unless it is a single row) `bytes_max`; of one format.

        Raises `LogDamaged` instead of skipping or returning a row that is not as it was written.
        """
        if not 1 <= first_lsn <= durable_lsn:
            raise IndexError(f"row {first_lsn} is not durable; rows up to {durable_lsn} are")
        lengths: array[int] = array("I")
        # Not a list of parts that is joined at the end: that needs the memory twice, and other threads wait.
        payload = BytesIO()
        row_format, appended_ms, bytes_left = -1, 0, bytes_max
        lsn = first_lsn
        at = index_of(segments, lsn)
        if at < 0:
            raise IndexError(f"row {lsn} was committed and deleted")
        while lsn <= durable_lsn and at < len(segments):
            segment = segments[at]
            last_lsn = segments[at + 1].first_lsn - 1 if at + 1 < len(segments) else durable_lsn
            end = segment.bytes
            offset, header = self._seek(segment, lsn, end)
            reader = self._open
            assert reader is not None
            while True:
                if row_format not in (-1, header.row_format):
                    return Rows(row_format, first_lsn, lengths, payload.getvalue(), appended_ms)
                body = reader.body(offset, header, end)
                if body is None:
                    raise _damaged(segment, offset, header.first_lsn, "checksum mismatch")
                if row_format == -1:
                    row_format, appended_ms = header.row_format, header.appended_ms
                taken, part = _take(
                    header, body, lsn, rows_max - len(lengths), bytes_left, at_least_one=not lengths
                )
                payload.write(part)
                lengths += taken
                bytes_left -= len(part)
                lsn += len(taken)
                if lsn <= header.last_lsn or len(lengths) >= rows_max or bytes_left <= 0:
                    return Rows(row_format, first_lsn, lengths, payload.getvalue(), appended_ms)
                if lsn > last_lsn:
                    break
                offset, header = self._next(segment, offset + header.frame_bytes, lsn, end)
            at += 1
        return Rows(row_format, first_lsn, lengths, payload.getvalue(), appended_ms)

    def appended_ms(self, segments: Sequence[Segment], lsn: int) -> int:
        """When the frame that holds row `lsn` was written. Only headers are read."""
        at = index_of(segments, lsn)
        if at < 0:
            raise IndexError(f"row {lsn} was committed and deleted")
        return self._seek(segments[at], lsn, segments[at].bytes)[1].appended_ms

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _seek(self, segment: Segment, lsn: int, end: int) -> tuple[int, FrameHeader]:
        """Where the frame that holds `lsn` begins, and its header."""
        # By identity: an empty segment is replaced by a new file of the same name.
        if self._open is None or self._open.segment is not segment:
            self.close()
            self._open = SegmentReader(self._files, segment)
            self._marks = [(segment.first_lsn, segment.start)]
        marked = max(0, bisect_right(self._marks, lsn, key=lambda mark: mark[0]) - 1)
        expected, offset = self._marks[marked]
        offset, header = self._next(segment, offset, expected, end)
        while header.last_lsn < lsn:
            offset, header = self._next(segment, offset + header.frame_bytes, header.last_lsn + 1, end)
        return offset, header

    def _next(self, segment: Segment, offset: int, expected_lsn: int, end: int) -> tuple[int, FrameHeader]:
        """The first frame with rows at or after `offset`, which must begin with `expected_lsn`."""
        assert self._open is not None
        while True:
            header = self._open.header(offset, end)
            if header is None:
                raise _damaged(segment, offset, expected_lsn, "there is no valid frame")
            if header.first_lsn != expected_lsn:
                raise _damaged(segment, offset, expected_lsn, f"the frame begins with row {header.first_lsn}")
            if not header.is_marker:
                break
            offset += header.frame_bytes
        if offset - self._marks[-1][1] >= _MARK_BYTES:
            self._marks.append((expected_lsn, offset))
        return offset, header


def _take(
    header: FrameHeader, body: memoryview, lsn: int, rows_max: int, bytes_max: int, *, at_least_one: bool
) -> tuple["array[int]", memoryview]:
    """The rows of a frame from `lsn` on that fit: their lengths and their bytes."""
    lengths = frame.row_lengths(header, body)
    payload = frame.payload(header, body)
    skipped = lsn - header.first_lsn
    if skipped == 0 and len(lengths) <= rows_max and len(payload) <= bytes_max:
        return lengths, payload
    start = sum(lengths[:skipped])
    lengths = lengths[skipped : skipped + rows_max]
    ends = list(accumulate(lengths))
    fitting = bisect_right(ends, bytes_max)
    if at_least_one:
        fitting = max(1, fitting)
    return lengths[:fitting], payload[start : start + (ends[fitting - 1] if fitting else 0)]


def _damaged(segment: Segment, offset: int, lsn: int, what: str) -> LogDamaged:
    return LogDamaged(
        f"wal: {segment.path}: byte {offset}: {what}, but row {lsn} was written there; {WHAT_TO_DO}"
    )
