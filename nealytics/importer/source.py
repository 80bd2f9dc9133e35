"""From a file to lines: decompresses gzip and Zstandard, in constant memory, and counts lines.

Offsets count decompressed bytes. `line_ends` is counted where bytes come in, `lines` where lines go out: the
import compares the two, so a line that gets lost in between is noticed.
"""

import io
import os
import stat
import zlib
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from nealytics.compression import zstd
from nealytics.errors import NealyticsError

# Above the largest body that a server takes by default, so no acceptable event is cut.
RECORD_BYTES_MAX = 4 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_BUFFER_BYTES = 64 * 1024
# Small files are read in small pieces, so that a progress bar has something to show.
_PIECE_BYTES_MIN, _PIECE_BYTES_MAX, _PIECES = 512, 64 * 1024, 256
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PARQUET_MAGIC = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
# What may stand before the first value of a JSON text.
_JSON_SPACE = b" \t\r\n"


class SourceError(NealyticsError):
    """The file cannot be read, or not any further."""


class Line(NamedTuple):
    raw: bytes  # with its end; only the beginning of a line above the limit
    whole: bool
    length: int  # of the whole line
    quotes: int = 0  # in the whole line, if it is above the limit


def open_source(path: str, record_bytes_max: int = RECORD_BYTES_MAX) -> "Source":
    """`-` is standard input."""
    if path == "-":
        return Source(io.FileIO(0, closefd=False), "standard input", record_bytes_max)
    try:
        file = io.FileIO(path)
    except OSError as error:
        raise SourceError(f"import: cannot open {path}: {error.strerror or error}") from None
    is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    reopen = (lambda: open_source(path, record_bytes_max)) if is_regular else None
    return Source(file, path, record_bytes_max, reopen)


class Source:
    """An opened file or standard input, line by line or in pieces. Raises `SourceError` when the bytes cannot
    be decompressed, or end in the middle of a compressed stream."""

    def __init__(
        self,
        file: io.FileIO,
        name: str,
        record_bytes_max: int = RECORD_BYTES_MAX,
        reopen: "Callable[[], Source] | None" = None,
    ) -> None:
        self.name = name
        self.reopen = reopen  # opens the file once more, from its start; None if it can be read only once
        self.offset = 0  # after the last line or piece that was returned
        self.lines = 0  # returned or skipped
        self.record_bytes_max = record_bytes_max
        self._file = file
        info = os.fstat(file.fileno())
        self.size = info.st_size if stat.S_ISREG(info.st_mode) else None  # on disk, so compressed if it is
        self._unpacked = _Unpacked(file, name, self.size)
        self._stream = io.BufferedReader(self._unpacked, _BUFFER_BYTES)
        start = self._stream.peek()
        if start.startswith(_PARQUET_MAGIC):
            raise SourceError(f"import: {name} is Parquet, which can only be read from a file; give its name")
        if start.startswith(_UTF16_BOMS):
            raise SourceError(
                f"import: {name} is UTF-16, which is not supported; convert it (iconv -f UTF-16 -t UTF-8)"
            )
        if start.startswith(_BOM):
            self.offset = len(self._stream.read(len(_BOM)))
        self._ahead: deque[Line] = deque()

    @property
    def line_ends(self) -> int:
        """Lines that came in, counted before anything reads lines; including a last one without its end."""
        return self._unpacked.newlines + (self._unpacked.last_byte not in (b"", b"\n"))

    def position(self, offset: int) -> int:
        """How many bytes of `size` the text up to `offset` took. Ask in ascending order of offsets."""
        return self._unpacked.packed_at(offset) if self.size is not None else offset

    def begins_with_array(self) -> bool:
        return self._stream.peek().lstrip(_JSON_SPACE).startswith(b"[")

    def head(self) -> bytes:
        """The first two lines, which identify the file. Call it before `line`."""
        while len(self._ahead) < 2:
            self._ahead.append(self._read_line())
        return b"\n".join(line.raw.rstrip(b"\r\n") for line in self._ahead)

    def line(self) -> Line:
        """The next line; an empty one at the end of the file."""
        line = self._ahead.popleft() if self._ahead else self._read_line()
        self.offset += line.length
        self.lines += line.length > 0
        return line

    def piece(self) -> bytes:
        """Some more bytes, for a format without lines; none at the end of the file."""
        piece = self._stream.read1(_CHUNK_BYTES)
        self.offset += len(piece)
        return piece

    def skip_lines(self, offset: int) -> None:
        """Reads on to the line that begins at `offset`."""
        while self.offset < offset:
            if not self.line().length:
                raise self._shorter(offset)

    def skip_bytes(self, offset: int) -> None:
        while self.offset < offset:
            skipped = len(self._stream.read1(min(offset - self.offset, _CHUNK_BYTES)))
            if not skipped:
                raise self._shorter(offset)
            self.offset += skipped

    def close(self) -> None:
        self._file.close()

    def _shorter(self, offset: int) -> SourceError:
        return SourceError(
            f"import: {self.name} ends at byte {self.offset:,}, but an earlier run read up to {offset:,};"
            " it is another file, or it was truncated; use --restart to send everything again"
        )

    def _read_line(self) -> Line:
        most = self.record_bytes_max
        raw = self._stream.readline(most)
        if len(raw) < most or raw.endswith(b"\n"):
            return Line(raw, True, len(raw))
        length, quotes = len(raw), raw.count(b'"')
        piece = raw
        while piece and not piece.endswith(b"\n"):
            piece = self._stream.readline(_CHUNK_BYTES)
            length += len(piece)
            quotes += piece.count(b'"')
        return Line(raw[:_CHUNK_BYTES], False, length, quotes)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Unpacked(io.RawIOBase):
    """The decompressed bytes of a file. Remembers how many compressed bytes they took."""

    def __init__(self, file: io.FileIO, name: str, size: int | None) -> None:
        self.newlines = 0
        self.last_byte = b""
        self._file = file
        self._name = name
        self._piece_bytes = (
            _PIECE_BYTES_MAX
            if size is None
            else min(_PIECE_BYTES_MAX, max(_PIECE_BYTES_MIN, size // _PIECES))
        )
        self._begun = False
        self._packing: str | None = None
        self._decompressor: _Decompressor | None = None
        self._packed = b""  # read from the file, and not decompressed yet
        self._maybe_more = False  # in the decompressor
        self._read = 0  # of the file
        self._given = 0
        # (decompressed bytes up to here, compressed bytes), in ascending order.
        self._marks: deque[tuple[int, int]] = deque()
        self._packed_at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        try:
            if not self._begun:
                self._begin()
            found = self._next(len(buffer))
        except (EOFError, zlib.error, zstd.ZstdError, OSError) as error:
            what = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            raise SourceError(
                f"import: {self._name} cannot be read past byte {self._given:,}: {what}"
            ) from error
        buffer[: len(found)] = found
        self.newlines += found.count(b"\n")
        self.last_byte = found[-1:] or self.last_byte
        self._given += len(found)
        self._marks.append((self._given, self._read - len(self._packed)))
        return len(found)

    def packed_at(self, offset: int) -> int:
        if self._packing is None:
            self._marks.clear()
            return offset
        while self._marks and self._marks[0][0] <= offset:
            self._packed_at = self._marks.popleft()[1]
        return self._packed_at

    def _begin(self) -> None:
        self._begun = True
        while len(self._packed) < len(_ZSTD_MAGIC) and self._more():
            pass
        if self._packed.startswith(_GZIP_MAGIC):
            self._packing = "gzip"
        elif self._packed.startswith(_ZSTD_MAGIC):
            self._packing = "zstd"

    def _more(self) -> bool:
        piece = self._file.read(self._piece_bytes) or b""
        self._read += len(piece)
        self._packed += piece
        return bool(piece)

    def _next(self, most: int) -> bytes:
        if self._packing is None:
            if not self._packed:
                self._more()
            found, self._packed = self._packed[:most], self._packed[most:]
            return found
        while True:
            if self._decompressor is None:
                # A file may contain several streams, one after the other; tar and tapes pad with zeros.
                while not (rest := self._packed.lstrip(b"\0")):
                    self._packed = b""
                    if not self._more():
                        return b""
                self._packed = rest
                while len(self._packed) < len(_ZSTD_MAGIC) and self._more():
                    pass
                self._decompressor = _decompressor(self._packed)
            if not self._packed and not self._maybe_more and not self._more():
                raise EOFError(f"the {self._packing} stream is truncated; the file is incomplete")
            found = self._unpack(self._decompressor, most)
            if found:
                return found

    def _unpack(self, decompressor: _Decompressor, most: int) -> bytes:
        found = decompressor.decompress(self._packed, most)
        # zlib returns the bytes that it did not use, zstd keeps them.
        self._packed = cast(bytes, getattr(decompressor, "unconsumed_tail", b""))
        self._maybe_more = len(found) == most
        if decompressor.eof:
            self._packed = decompressor.unused_data
            self._maybe_more = False
            self._decompressor = None
        return found


def _decompressor(start: bytes) -> _Decompressor:
    if start.startswith(_GZIP_MAGIC):
        return cast(_Decompressor, zlib.decompressobj(16 + zlib.MAX_WBITS))
    if start.startswith(_ZSTD_MAGIC) or _is_skippable(start):
        return cast(_Decompressor, zstd.ZstdDecompressor())
    raise zlib.error("other data follows the compressed data")


def _is_skippable(start: bytes) -> bool:
    """A Zstandard frame without content, as parallel compressors write them."""
    return start[1:4] == b"\x2a\x4d\x18" and start[:1] >= b"\x50" and start[:1] <= b"\x5f"
