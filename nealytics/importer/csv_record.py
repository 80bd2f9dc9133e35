"""One CSV record as RFC 4180 has it, from its lines.

Stricter than the `csv` module of Python, which reads `"a"b` as `ab` and a quote that is never closed as the
rest of the file: what does not follow a closing quote properly is an error, and the caller hears at which
line a quote is still open.
"""


class Record:
    """`feed` it lines until it is complete. Then `values` are its fields, or `problem` says what is wrong.

    A quote within a field that does not begin with one is text, as in `27" screen`.
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
        # A quoted field over several lines ended, but text follows its closing quote: either a quote is
        # missing in an earlier line, or one within the text is not doubled. Nobody can tell which.
        self.broken = False

    def feed(self, line: str) -> bool:
        """Takes the next line, with its end. True once the record is complete."""
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
        """Takes what belongs to the open field; the place behind its closing quote, -1 if there is none."""
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
