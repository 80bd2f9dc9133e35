"""What the embedded engine's HTTP interface must know about a statement before it runs it.

Which format does the answer have? Does it bring data, and where does that begin? Is it one statement? A
ClickHouse server asks its parser; chDB does not hand out its own, so this reads the tokens, no more.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

SYNTAX_ERROR = 62
INTO_OUTFILE_NOT_ALLOWED = 358
NOT_IMPLEMENTED = 48

# A read that begins with this belongs to an insert, and waits for no other read.
COMMIT_MARK = "/* commit */"

_SELECTS = frozenset({"SELECT", "WITH", "FROM", "("})
_READS = _SELECTS | {"SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK"}
_WITH_RESULT = _READS | {"KILL"}

# ClickHouse's Lexer.cpp: comments, quoted things, here-documents, words, and single characters for the rest.
_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[!\x20][^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<text> '(?:[^'\\]|\\.|'')*' )
  | (?P<name> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<here> (?P<tag>\$\w*\$) .*? (?P=tag) )
  | (?P<word> [A-Za-z_][A-Za-z0-9_$]* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Statement(NamedTuple):
    sql: bytes  # without the FORMAT clause and the data, if it is an INSERT that brings data
    verb: str  # its first word, in capitals
    output_format: str | None = None  # of its FORMAT clause
    input_format: str | None = None  # of the data that it brings
    data_start: int = 0  # where in the given text that data begins
    format_start: int | None = None  # where the FORMAT clause of a statement with a result is

    @property
    def has_result(self) -> bool:
        """Whether it answers with rows. The others answer with nothing, and so have no format."""
        return self.verb in _WITH_RESULT

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing, so that nobody misses it if the client goes away."""
        return self.verb in _READS

    @property
    def is_select(self) -> bool:
        return self.verb in _SELECTS


class Unacceptable(Exception):
    """A statement that the HTTP interface does not take. `code` is ClickHouse's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Token(NamedTuple):
    kind: str
    text: bytes
    start: int
    end: int

    @property
    def word(self) -> bytes:
        """In capitals, if it is a word; else the text of it."""
        return self.text.upper() if self.kind == "word" else self.text

    @property
    def is_name(self) -> bool:
        return self.kind in ("word", "name")

    @property
    def name(self) -> str:
        return self.text.strip(b'`"').decode()


def statement_of(text: bytes, default_input_format: str | None = None) -> Statement:
    """Reads `text`, which is one statement, or the beginning of an INSERT and of its data.

    Raises `Unacceptable` for several statements and for those that read or write the server's own files.
    """
    tokens = _tokens(text)
    first = next(tokens, None)
    if first is None:
        raise Unacceptable(SYNTAX_ERROR, "Syntax error: the query is empty. Expected one of: Query")
    verb = first.text.decode("utf-8", "replace").upper()
    if verb == "INSERT":
        return _insert(text, tokens, default_input_format)
    clause = _format_clause(tokens, depth=1 if verb == "(" else 0)
    if clause is None:
        return Statement(text, verb)
    return Statement(text, verb, output_format=clause.name, format_start=clause.start)


def _tokens(text: bytes) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "tag":
            kind = "here"
        if kind != "skip":
            yield _Token(kind, match.group(), match.start(), match.end())


class _Clause(NamedTuple):
    name: str  # of the format
    start: int  # where its FORMAT begins
    end: int  # where its name ends


def _format_clause(tokens: Iterator[_Token], depth: int = 0) -> _Clause | None:
    """The last FORMAT clause at the outermost level. Looks through all tokens, also for what is refused."""
    found: _Clause | None = None
    before = _Token("", b"", 0, 0)
    ended = False
    for token in tokens:
        if ended and token.text != b";":
            raise Unacceptable(
                SYNTAX_ERROR,
                f"Syntax error (Multi-statements are not allowed): failed at position {token.start + 1}",
            )
        if found is not None and before.end == found.end and token.word not in (b"SETTINGS", b";"):
            found = None  # no clause, as in SELECT format FROM t: a clause has nothing but SETTINGS after it
        if token.text in (b"(", b"["):
            depth += 1
        elif token.text in (b")", b"]"):
            depth -= 1
        elif depth <= 0:
            if token.text == b";":
                ended = True
            elif token.is_name and before.word == b"FORMAT":
                found = _Clause(token.name, before.start, token.end)
            elif token.word == b"OUTFILE" and before.word == b"INTO":
                raise Unacceptable(INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
        before = token
    return found


def _insert(text: bytes, tokens: Iterator[_Token], default_format: str | None) -> Statement:
    token = _after_target(tokens)
    depth = 0
    end = len(text)
    while token is not None:
        if token.text == b"(":
            depth += 1
        elif token.text == b")":
            depth -= 1
        elif depth == 0:
            if token.word == b"VALUES":
                sql = text[: token.start]
                return Statement(sql, "INSERT", input_format="Values", data_start=token.end)
            if token.word == b"FORMAT":
                name = next(tokens, None)
                if name is None or not name.is_name:
                    raise Unacceptable(
                        SYNTAX_ERROR,
                        f"Syntax error: failed at position {token.end + 1}: the name of a format is missing",
                    )
                data_start = _data_start(text, name.end)
                return Statement(text[: token.start], "INSERT", input_format=name.name, data_start=data_start)
            if token.word in (b"SELECT", b"WITH"):
                _format_clause(tokens)
                return Statement(text, "INSERT")
            if token.word == b"INFILE":
                raise Unacceptable(NOT_IMPLEMENTED, "FROM INFILE is for command-line clients; send the data")
            if token.text == b";":
                end = token.start
        token = next(tokens, None)
    # Neither FORMAT nor VALUES: the data is in the default format.
    return Statement(text[:end], "INSERT", input_format=default_format or "Values", data_start=len(text))


def _after_target(tokens: Iterator[_Token]) -> _Token | None:
    """The token after `[INTO] [TABLE] [FUNCTION] name[.name]`: a table may be called `values`."""
    token = next(tokens, None)
    for noise in (b"INTO", b"TABLE", b"FUNCTION"):
        if token is not None and token.word == noise:
            token = next(tokens, None)
    token = next(tokens, None)
    while token is not None and token.text == b".":
        next(tokens, None)
        token = next(tokens, None)
    return token


def _data_start(text: bytes, position: int) -> int:
    """Data begins after blanks and one line end, as in ClickHouse's parser. A binary format may begin with
    any byte, so no more than that is skipped."""
    match = _BEFORE_DATA.match(text, position)
    return match.end() if match else position


_BEFORE_DATA = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?")
