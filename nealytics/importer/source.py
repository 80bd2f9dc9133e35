"""From bytes to rows. Reads forward, in constant memory, and knows at which byte each row ends.

Offsets count decompressed bytes. A row that cannot be read (a quote that is never closed, bytes that are not
text, a line longer than any body may be) is a row with a `problem`; the rows after it are read as if nothing
had happened.
"""

import csv
import gzip
import io
import os
import stat
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Literal, NamedTuple, cast

import msgspec

from nealytics.errors import NealyticsError

# Above the largest body that a server takes by default, so no acceptable event is cut.
LINE_BYTES_MAX = 4 * 1024 * 1024
# Of a CSV record, which may span lines: what an unclosed quote can swallow before it is noticed.
FIELD_CHARS_MAX = 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_BOM = b"\xef\xbb\xbf"

Format = Literal["ndjson", "csv"]


class SourceError(NealyticsError):
    """The file as a whole cannot be read, or not any further."""


class Line(NamedTuple):
    raw: bytes  # with its end; only the beginning of a line above the limit
    whole: bool
    length: int  # of the whole line


class Source:
    """An opened file or standard input, gzip transparent, line by line.

    `head` is what tells this file from others: its first two lines. Raises `SourceError` when the bytes
    cannot be unpacked, or end in the middle of it.
    """

    def __init__(self, file: io.FileIO, name: str) -> None:
        self.name = name
        self.offset = 0  # behind the last line handed out
        self._file = file
        info = os.fstat(file.fileno())
        self.size = info.st_size if stat.S_ISREG(info.st_mode) else None  # on disk, so compressed if it is
        buffered = io.BufferedReader(file, _CHUNK_BYTES)
        self._stream: BinaryIO = buffered
        start = buffered.peek(4)
        if start.startswith(_PARQUET_MAGIC):
            raise SourceError(f"import: {name} is Parquet, which is not read; export as NDJSON or CSV")
        if start.startswith(_GZIP_MAGIC):
            self._stream = cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
        self._ahead = deque((self._read_line(), self._read_line()))
        self.head = b"\n".join(line.raw.rstrip(b"\r\n") for line in self._ahead).removeprefix(_BOM)

    @classmethod
    def open(cls, path: str) -> "Source":
        """`-` is standard input."""
        if path == "-":
            return cls(io.FileIO(0, closefd=False), "standard input")
        try:
            return cls(io.FileIO(path), path)
        except OSError as error:
            raise SourceError(f"import: cannot open {path}: {error.strerror or error}") from None

    def position(self) -> int:
        """How much of `size` has been read, for a progress bar."""
        return self._file.tell() if self.size is not None else self.offset

    def line(self) -> Line:
        """The next line; an empty one at the end of the file."""
        line = self._ahead.popleft() if self._ahead else self._read_line()
        if self.offset == 0 and line.raw.startswith(_BOM):
            line = line._replace(raw=line.raw.removeprefix(_BOM))
        self.offset += line.length
        return line

    def skip_to(self, offset: int) -> None:
        """Reads on to the line that begins at `offset`. What is skipped is unpacked and goes nowhere."""
        while self.offset < offset:
            if not self.line().length:
                raise SourceError(
                    f"import: {self.name} ends at byte {self.offset}, and an earlier run read up to {offset};"
                    " it is another file, or it was cut; --restart begins anew"
                )

    def close(self) -> None:
        self._file.close()

    def _read_line(self) -> Line:
        try:
            raw = self._stream.readline(LINE_BYTES_MAX)
            if len(raw) < LINE_BYTES_MAX or raw.endswith(b"\n"):
                return Line(raw, True, len(raw))
            length = len(raw)
            piece = raw
            while piece and not piece.endswith(b"\n"):
                piece = self._stream.readline(_CHUNK_BYTES)
                length += len(piece)
            return Line(raw[:_CHUNK_BYTES], False, length)
        except (EOFError, zlib.error, OSError) as error:
            raise SourceError(
                f"import: {self.name} cannot be read past byte {self.offset}: {error};"
                " the rows before it were sent; mend the file and run again"
            ) from error


class Row(NamedTuple):
    number: int  # 1 = the first; neither a header nor blank lines count
    end: int  # offset behind it
    raw: bytes  # as it stands in the file, without the end of its line
    # Column → text, or JSON name → the value's own bytes, which reach the server as they are. Empty with a
    # problem.
    fields: Mapping[str, str | msgspec.Raw]
    problem: str | None = None


class NdjsonRows:
    """One JSON object per line; blank lines are nothing."""

    columns = None  # each row names its own

    def __init__(self, source: Source) -> None:
        self._source = source
        self._number = 0

    def resume(self, number: int, offset: int) -> None:
        """Goes on behind row `number`, which ended at byte `offset`."""
        self._source.skip_to(offset)
        self._number = number

    def __iter__(self) -> Iterator[Row]:
        source = self._source
        decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        while (line := source.line()).length:
            raw = line.raw.rstrip(b"\r\n")
            if not raw.strip():
                continue
            self._number += 1
            fields: dict[str, msgspec.Raw] = {}
            problem = None if line.whole else _too_long(line)
            if problem is None:
                try:
                    fields = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    problem = f"not a JSON object: {error}"
            yield Row(self._number, source.offset, raw, fields, problem)


class CsvRows:
    """Records under a header line, as RFC 4180 has them: quoted fields may hold delimiters, quotes and line
    ends.
    """

    def __init__(self, source: Source, delimiter: str, encoding: str) -> None:
        self._source = source
        self._number = 0
        self._lines = _CsvLines(source, encoding)
        csv.field_size_limit(FIELD_CHARS_MAX)
        self._records = csv.reader(self._lines, delimiter=delimiter)
        try:
            header = next(self._records, [])
        except (csv.Error, _LineTooLong) as error:
            raise SourceError(f"import: {source.name}: the header line cannot be read: {error}") from error
        self.columns = tuple(name.strip() for name in header)
        if not any(self.columns):
            raise SourceError(f"import: {source.name}: a CSV needs a header line that names its columns")
        if len(set(self.columns)) < len(self.columns):
            twice = next(name for name in self.columns if self.columns.count(name) > 1)
            raise SourceError(f"import: {source.name}: the header names the column {twice!r} twice")

    def resume(self, number: int, offset: int) -> None:
        self._source.skip_to(offset)
        self._number = number

    def __iter__(self) -> Iterator[Row]:
        lines = self._lines
        columns = self.columns
        while True:
            lines.raw.clear()
            values: list[str] = []
            problem = None
            try:
                values = next(self._records)
            except StopIteration:
                return
            except (csv.Error, _LineTooLong) as error:
                problem = f"not a CSV record: {error}"
            raw = b"".join(lines.raw).rstrip(b"\r\n")
            if not values and problem is None:
                continue
            self._number += 1
            if problem is None and len(values) != len(columns):
                problem = f"{len(values)} values, but the header names {len(columns)} columns"
            if problem is None and any(not value.isascii() and _undecoded(value) for value in values):
                problem = f"not valid {lines.encoding} text; name the file's encoding with --encoding"
            fields = {} if problem else dict(zip(columns, values, strict=True))
            yield Row(self._number, self._source.offset, raw, fields, problem)


class _LineTooLong(Exception):
    pass


class _CsvLines:
    """The lines as csv.reader wants them, and the bytes of those it has taken for the current record."""

    def __init__(self, source: Source, encoding: str) -> None:
        self._source = source
        self.encoding = encoding
        self.raw: list[bytes] = []

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        line = self._source.line()
        if not line.length:
            raise StopIteration
        self.raw.append(line.raw)
        if not line.whole:
            raise _LineTooLong(_too_long(line))
        # What is not text becomes surrogates, so that the record's lines stay together; the row is refused
        # for it.
        return line.raw.decode(self.encoding, "surrogateescape")


def _too_long(line: Line) -> str:
    return f"the line has {line.length} bytes, at most {LINE_BYTES_MAX} are read"


def _undecoded(value: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in value)
