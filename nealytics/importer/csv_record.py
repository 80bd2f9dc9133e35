"""One CSV record (RFC 4180), from its lines.

It is stricter than Python's `csv` module, which reads `"a"b` as `ab`, and an unclosed quote as the rest of
the file: text after a closing quote is an error, and the caller learns at which line a quote is open.
"""


class Record:
    """Call `feed` until it is complete. Then `values` are its fields, or `problem` says what is wrong.

    A quote in a field that does not begin with one is text, as in `27" screen`.
    """

    __slots__ = (
        "_delimiter",
        "_lines",
        "_open",
        "broken",
        "open_field",
        "open_line",
        "problem",
        "values",
    )

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._lines = 0
        self._open: list[str] | None = None  # pieces of the quoted field that has not ended yet
        self.values: list[str] = []
        self.problem: str | None = None
        # Where the last quoted field opened: its number and its line, both from 0.
        self.open_field = 0
        self.open_line = 0
        # A quoted field of several lines has ended, but text follows its closing quote: either a quote is
        # missing in an earlier line, or one in the text is not doubled. Which one is unknown.
        self.broken = False

    def feed(self, line: str) -> bool:
        """Adds the next line, with its end. True if the record is complete."""
        delimiter = self._delimiter
        number = self._lines
        self._lines += 1
        end = len(line.rstrip("\r\n"))
        at = 0
        while True:
            if self._open is None:
                if not line.startswith('"', at):
                    stop = line.find(delimiter, at, end)
                    self.values.append(line[at : end if stop < 0 else stop])
                    if stop < 0:
                        return True
                    at = stop + 1
                    continue
                self._open = []
                self.open_field, self.open_line = len(self.values), number
                at += 1
            at = self._rest_of_quoted(line, at)
            if at < 0:
                return False
            self.values.append("".join(self._open))
            self._open = None
            if at < end and line[at] != delimiter:
                self.problem = self.problem or (
                    f"text follows the closing quote of field {self.open_field + 1}, at column {at + 1}"
                    ' (a quote within a quoted text is written as "")'
                )
                self.broken = self.broken or self.open_line < number
                at = line.find(delimiter, at, end)
                if at < 0:
                    return True
            if at >= end:
                return True
            at += 1

    def _rest_of_quoted(self, line: str, at: int) -> int:
        """Adds text to the open field. Returns the position after its closing quote, or -1 without one."""
        pieces = self._open
        assert pieces is not None
        while True:
            quote = line.find('"', at)
            if quote < 0:
                pieces.append(line[at:])
                return -1
            pieces.append(line[at:quote])
            if not line.startswith('"', quote + 1):
                return quote + 1
            pieces.append('"')
            at = quote + 2
