"""From lines to rows, one reader for each format. Each row has its end and its number of lines.

A row that cannot be read (bytes that are not text, a line longer than any body, a CSV row of another width)
has a `problem`; the rows after it are read normally. Only if the start of the next row is unknown, it is a
`SourceError`: an unclosed quote, an invalid array.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from nealytics.importer.csv_record import Record
from nealytics.importer.source import Line, Source, SourceError
from nealytics.queries import export_end

Format = Literal["ndjson", "csv", "json"]

# Of a quoted CSV field. A long e-mail or a stack trace has some hundred; an unclosed quote extends to the
# next one.
QUOTED_LINES_MAX = 1_000

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Row(NamedTuple):
    number: int  # 1 = the first; neither a header nor blank lines count
    end: int  # offset after it
    raw: bytes  # as in the file, without the end of its line
    # Column → text, or JSON name → the value's own bytes, which reach the server as they are. Empty with a
    # problem.
    fields: Mapping[str, str | msgspec.Raw]
    problem: str | None = None
    lines: int = 1


class Counts:
    """What a reader has found, beside the rows that it has returned."""

    def __init__(self) -> None:
        self.records = 0  # rows, and blank lines
        self.blank = 0
        self.other_lines = 0  # a header, and what a resumed run skips
        # The row before the last end record of an export; None before the first end record of a resumed run,
        # which cannot know where that export began.
        self.ended_at: int | None = 0
        self.ends = 0

    def end(self, events: int, number: int, source: Source) -> None:
        """An export's end record, after row `number`: it is not an event, and has the number of events
        before."""
        began, self.ended_at = self.ended_at, number
        self.blank += 1
        self.ends += 1
        if began is not None and number - began != events:
            raise SourceError(
                f"import: {source.name}, line {source.lines}: the export ends here and had {events:,} events,"
                f" but {number - began:,} are before this line; some were lost, or added. Export it again"
            )


class _LineRows:
    """Rows that each begin on a new line."""

    def __init__(self, source: Source) -> None:
        self.head = source.head()
        self.counts = Counts()
        self._source = source
        self._number = 0

    def resume(self, number: int, offset: int) -> None:
        """Continues after row `number`, which ended at byte `offset`."""
        self._source.skip_lines(offset)
        self.counts.other_lines = self._source.lines
        self._number = number
        self.counts.ended_at = None

    @property
    def last_number(self) -> int:
        return self._number

    def check(self) -> str | None:
        """An error if lines got lost, or None."""
        source = self._source
        if source.lines != source.line_ends:
            return f"{source.line_ends:,} lines came in, but {source.lines:,} were read"
        return None


class NdjsonRows(_LineRows):
    """One JSON object per line; blank lines are skipped."""

    columns = None  # each row names its own

    def __iter__(self) -> Iterator[Row]:
        source = self._source
        counts = self.counts
        while (line := source.line()).length:
            counts.records += 1
            raw = line.raw.rstrip(b"\r\n")
            if not raw.strip():
                counts.blank += 1
                continue
            if (events := export_end.events_of_line(raw)) is not None:
                counts.end(events, self._number, source)
                continue
            self._number += 1
            if line.whole:
                fields, problem = _object(raw)
            else:
                fields, problem = {}, _too_long(line, source)
            yield Row(self._number, source.offset, raw, fields, problem)


class CsvRows(_LineRows):
    """Records after a header line (RFC 4180): quoted fields may contain delimiters, quotes and line ends.
    With `columns` there is no header line."""

    def __init__(
        self,
        source: Source,
        delimiter: str,
        encoding: str,
        *,
        columns: tuple[str, ...] | None = None,
        quoted_lines_max: int = QUOTED_LINES_MAX,
    ) -> None:
        super().__init__(source)
        self.encoding = encoding
        self._delimiter = delimiter
        self._quoted_lines_max = quoted_lines_max
        if columns is None:
            columns = self._header()
        self.columns = columns
        if not any(columns):
            raise SourceError(
                f"import: {source.name}: a CSV needs a header line that names its columns; if it has none,"
                " name them with --columns"
            )
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise SourceError(
                f"import: {source.name}: the column {twice!r} is named twice; rename one in the header line"
            )

    def __iter__(self) -> Iterator[Row]:
        source = self._source
        counts = self.counts
        columns = self.columns
        while (line := source.line()).length:
            raw = line.raw
            if raw in (b"\n", b"\r\n", b"\r"):
                counts.records += 1
                counts.blank += 1
                continue
            values, problem, raws = self._record(line)
            if len(raws) > 1:
                raw = b"".join(raws)
            counts.records += 1
            if values and (events := export_end.events_of_values(columns, values)) is not None:
                counts.end(events, self._number, source)
                continue
            self._number += 1
            if problem is None and len(values) != len(columns):
                problem = f"{len(values)} values, but {len(columns)} columns are named"
                if len(raws) > 1:
                    first = source.lines - len(raws) + 1
                    problem += f"; a quoted field spans lines {first} to {source.lines}"
            if (
                problem is None
                and not raw.isascii()
                and any(not value.isascii() and _undecoded(value) for value in values)
            ):
                problem = f"not valid {self.encoding} text; name the file's encoding with --encoding"
            fields = {} if problem else dict(zip(columns, values, strict=True))
            yield Row(self._number, source.offset, raw.rstrip(b"\r\n"), fields, problem, max(1, len(raws)))

    def _header(self) -> tuple[str, ...]:
        source = self._source
        line = source.line()
        if not line.length:
            raise SourceError(f"import: {source.name} is empty; a CSV needs a header line, or --columns")
        if b"\r" in line.raw.rstrip(b"\r\n"):
            raise SourceError(
                f"import: {source.name}: its lines end with a carriage return only; convert it"
                " (tr '\\r' '\\n')"
            )
        values, problem, raws = self._record(line)
        if problem is not None:
            raise SourceError(f"import: {source.name}: the header line cannot be read: {problem}")
        self.counts.other_lines = max(1, len(raws))
        return tuple(value.strip() for value in values)

    def _record(self, line: Line) -> tuple[list[str], str | None, list[bytes]]:
        """The record that begins with `line`: its values, its problem, and its lines."""
        if not line.whole:
            problem = _too_long(line, self._source)
            if line.quotes % 2:
                raise SourceError(
                    f"import: {self._source.name}, line {self._source.lines}: {problem}; its last quote is"
                    " not closed, so the start of the next row is unknown"
                )
            return [], problem, []
        # Invalid bytes become surrogates, so that the record's lines stay together; the row is then rejected.
        text = line.raw.decode(self.encoding, "surrogateescape")
        if '"' not in text:
            text = text.rstrip("\r\n")
            if "\r" in text:
                return [], "it contains a carriage return; quote the field", []
            return text.split(self._delimiter), None, []
        record = Record(self._delimiter)
        raws = [line.raw]
        size = line.length
        first = self._source.lines
        while not record.feed(text):
            following = self._source.line()
            size += following.length
            opened = first + record.open_line
            within = self._source.lines - opened + (following.length > 0)
            if not following.length:
                raise self._unclosed(record, opened, "the file ends before it is closed")
            if within > self._quoted_lines_max:
                raise self._unclosed(
                    record,
                    opened,
                    f"it is not closed within {self._quoted_lines_max:,} lines",
                    "; if the text is that long, raise --quoted-lines",
                )
            if size > self._source.record_bytes_max:
                raise self._unclosed(
                    record,
                    opened,
                    f"it is not closed within {self._source.record_bytes_max:,} bytes",
                    "; if the text is that long, raise --record-bytes",
                )
            raws.append(following.raw)
            text = following.raw.decode(self.encoding, "surrogateescape")
        if record.broken:
            raise self._unclosed(
                record,
                first + record.open_line,
                f"in line {self._source.lines}, text follows the next quote",
                '; a quote within a quoted text is written as ""',
            )
        return record.values, record.problem, raws

    def _unclosed(self, record: Record, opened: int, why: str, hint: str = "") -> SourceError:
        columns = getattr(self, "columns", ())
        field = record.open_field
        name = f"column {columns[field]}" if field < len(columns) else f"field {field + 1}"
        return SourceError(
            f"import: {self._source.name}, line {opened}: a quote opens in {name}, and {why};"
            f" close or double it{hint}"
        )


class JsonRows:
    """The elements of one JSON array of any length."""

    columns = None

    def __init__(self, source: Source) -> None:
        self.counts = Counts()
        self._source = source
        self._buffer = b""
        self._at = 0  # in the buffer
        self._base = source.offset  # of the buffer's first byte
        self._number = 0
        self._commas = 0
        self._line = 1
        self._first: deque[Row] = deque()
        self._expect(b"[")
        self._ended = self._peek_byte() == b"]"
        self._resumed = 0
        self._rows = self._elements()
        self._damage: SourceError | None = None
        # As with lines, the first two rows identify the file.
        try:
            while len(self._first) < 2 and (row := next(self._rows, None)) is not None:
                self._first.append(row)
        except SourceError as error:
            self._damage = error
        self.head = b"\n".join(row.raw for row in self._first)

    def resume(self, number: int, offset: int) -> None:
        """Continues after row `number`, which ended at byte `offset`."""
        if self._first and self._first[-1].number >= number:
            while self._first and self._first[0].number <= number:
                self._first.popleft()
        else:
            self._first.clear()
            position = self._base + self._at
            if offset < self._base + len(self._buffer):
                self._line += self._buffer.count(b"\n", self._at, offset - self._base)
                self._at = offset - self._base
            elif offset > position:
                self._source.skip_bytes(offset)
                self._buffer, self._at, self._base = b"", 0, offset
            self._number = number
            self._commas = number - 1
            self._ended = False
            self._behind_element()
        self._resumed = number

    def __iter__(self) -> Iterator[Row]:
        while self._first:
            self.counts.records += 1
            yield self._first.popleft()
        if self._damage is not None:
            raise self._damage
        for row in self._rows:
            self.counts.records += 1
            yield row

    @property
    def last_number(self) -> int:
        return self._number

    def check(self) -> str | None:
        """An error unless there is one element more than commas."""
        elements = self._commas + 1 if self._number else 0
        if elements != self._resumed + self.counts.records:
            return f"{elements:,} elements were read, but {self._resumed + self.counts.records:,} became rows"
        return None

    def _elements(self) -> Iterator[Row]:
        while not self._ended:
            raw = self._element()
            self._number += 1
            fields, problem = _object(raw)
            # An array is not counted by lines.
            row = Row(self._number, self._base + self._at, raw, fields, problem, lines=0)
            self._behind_element()
            yield row

    def _behind_element(self) -> None:
        found = self._peek_byte()
        if found == b",":
            self._at += 1
            self._commas += 1
            if self._peek_byte() in (b"]", b""):
                raise self._error("a comma without an element after it")
        elif found == b"]":
            self._at += 1
            self._ended = True
            if self._peek_byte():
                raise self._error("text after the end of the array")
        elif not found:
            raise self._error("the array has no end; the file is incomplete")
        else:
            raise self._error("an element is followed by neither a comma nor the end of the array")

    def _element(self) -> bytes:
        """The next value's bytes, not decoded."""
        depth = 0
        at = 0  # relative to `self._at`, which moves when more is read
        while True:
            for found in _TOKEN.finditer(self._buffer, self._at + at):
                token = found[0]
                if token == b'"':  # a text that continues in the next piece
                    at = found.start() - self._at
                    break
                if token in (b"{", b"["):
                    depth += 1
                elif depth == 0 and token in (b",", b"]", b"}"):
                    return self._taken(found.start())  # a number or a word ends where something else begins
                elif token in (b"}", b"]"):
                    depth -= 1
                    if depth == 0:
                        return self._taken(found.end())
                at = found.end() - self._at
            else:
                at = len(self._buffer) - self._at
            if len(self._buffer) - self._at > self._source.record_bytes_max:
                raise self._error(
                    f"an element is longer than {self._source.record_bytes_max:,} bytes; is a quote or a"
                    " bracket missing? If not, raise --record-bytes"
                )
            if not self._more():
                raise self._error("the array has no end; the file is incomplete")

    def _taken(self, stop: int) -> bytes:
        raw = self._buffer[self._at : stop].rstrip(_SPACE)
        if not raw:
            raise self._error("an element is missing before a comma")
        self._line += raw.count(b"\n")
        self._at += len(raw)
        return raw

    def _expect(self, byte: bytes) -> None:
        if self._peek_byte() != byte:
            raise self._error("a JSON array of events begins with [")
        self._at += 1

    def _peek_byte(self) -> bytes:
        """The next byte that is not white space; empty at the end."""
        while True:
            found = _NOT_SPACE.search(self._buffer, self._at)
            self._line += self._buffer.count(b"\n", self._at, found.start() if found else len(self._buffer))
            if found:
                self._at = found.start()
                return found[0]
            self._at = len(self._buffer)
            if not self._more():
                return b""

    def _more(self) -> bool:
        """Reads more, and drops what is before the current position."""
        piece = self._source.piece()
        self._base += self._at
        self._buffer = self._buffer[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _error(self, what: str) -> SourceError:
        return SourceError(f"import: {self._source.name}, line {self._line}: {what}")


Rows = NdjsonRows | CsvRows | JsonRows

_SPACE = b" \t\r\n"
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
# A text is one token, so that brackets in it do not count; a single quote begins an incomplete one.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)


def _object(raw: bytes) -> tuple[dict[str, msgspec.Raw], str | None]:
    try:
        return _decode_object(raw), None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {}, f"not a JSON object: {error}"


def _too_long(line: Line, source: Source) -> str:
    return (
        f"the line has {line.length:,} bytes, at most {source.record_bytes_max:,} are read; --record-bytes"
        " raises that"
    )


def _undecoded(value: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in value)
