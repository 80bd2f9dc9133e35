"""Logs: one JSON object a line on stderr (text on a terminal: `log_text`), and no secret in any of them.

    {"ts": "2026-11-22T14:35:07.123Z", "level": "info", "logger": "nealytics.commit", "message": "…", …}

`extra={...}` fields are added to the line; so are `request_id` while a request is served, and `trace_id` and
`span_id` if it is traced. Every text is cleaned, including those of libraries: credentials are recognized by
their place (`?k=`, `Authorization:`, `password=` …) and the configured ones by their value. Bytes of a client
that are not HTTP are not logged, because no pattern finds half a key in half a line.
A repeated message is limited to a few per window, with a count of those left out.
"""

import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

from nealytics.observe import otel, request_id
from nealytics.observe.log_text import text_of

MASK = "***"

# A shorter value would also mask words that are no secret ("default").
SECRET_CHARS_MIN = 8
MESSAGE_CHARS_MAX = 32_768

REPEATS_MAX = 20
REPEAT_WINDOW_S = 10.0

# Fields that `logging` adds to a record; all others are from `extra`.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_SECRET_FIELD = re.compile(
    r"(?i)password|passwd|secret|authorization|project[-_]key|api[-_]?key|jwt_key|token$|^k$"
)

# Clients control some messages, so each pattern must run in linear time: none begins with something that may
# be long.
_CREDENTIALS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ in a URL
    (re.compile(r"://[^\s/@'\"]+@"), f"://{MASK}@"),
    # A header, as text or as the repr of a pair: `X-Project-Key: v`, `(b'X-Project-Key', b'v')`, `'…': '…'`.
    # Quoted: up to the quote. Bare: up to the end of its line, which in a repr is a written-out \r or \n.
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|x-project-key|x-clickhouse-key|cookie)\b"
            r"(['\"]?\s*[:=,]\s*)"
            r"(?:b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\"|(?:(?!\\r|\\n)[^\r\n])+)"
        ),
        rf"\1\2{MASK}",
    ),
    # Credentials have a digit, a capital or padding in them; "basic settings" have not.
    (re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*(?-i:[A-Z0-9=]))[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {MASK}"),
    # A token on its own: two base64 parts of a JSON object, and the signature.
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)?"), MASK),
    # The key of an ingest request's query, its name or its = perhaps percent-encoded, up to the next
    # parameter or white space. Rather too much than too little: a quote inside a key would end it too early.
    (re.compile(r"(?i)((?:[?&;]|%3f|%26|\\x3f|\\x26)(?:k|%[46]b)(?:=|%3d))(?:(?!%26)[^\s&])*"), rf"\1{MASK}"),
    # name=value and name: value, of ours and of a connection string.
    (
        re.compile(
            r"(?i)(password|passwd|pwd|secret|jwt_key(?:_previous)?|JwtSymmetricKey|AllowedProjectKeys|key_sha256)"
            r"(['\"]?\s*[:=]\s*)"
            r"(?:b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\"|[^\s;&,)}\]]+)"
        ),
        rf"\1\2{MASK}",
    ),
)


def setup(
    level: str = "info", log_format: str = "auto", *, secrets: Iterable[str] = (), **fields: object
) -> None:
    """Makes this process log as described above, from `level` on. `secrets` are masked everywhere; `fields`
    (a worker's number) are in every line. May be called again."""
    handler = _StderrHandler()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if log_format == "text" or (log_format == "auto" and is_terminal):
        # https://no-color.org
        colours = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        handler.setFormatter(TextFormatter(secrets, fields, colours=colours))
    else:
        handler.setFormatter(JsonFormatter(secrets, fields))
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The access log has one line per request; it is off, and a reverse proxy writes a better one.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # Its messages on debug level are about selectors and tasks, which do not help an operator.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def clean(text: str) -> str:
    """The text without credentials that are recognized by their place."""
    for pattern, replacement in _CREDENTIALS:
        text = pattern.sub(replacement, text)
    return text


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def __init__(self, secrets: Iterable[str] = (), fields: dict[str, object] | None = None) -> None:
        super().__init__()
        self._secrets = _any_of(secrets)
        self._fields = fields or {}

    def format(self, record: logging.LogRecord) -> str:
        # ASCII: a lone surrogate in a message must not stop the log.
        return json.dumps(self.fields_of(record), ensure_ascii=True)

    def fields_of(self, record: logging.LogRecord) -> dict[str, object]:
        """The line, without secrets."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "ts": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(_message_of(record)),
            **self._fields,
        }
        if request := request_id.current():
            line["request_id"] = self._clean(request)
        if span := otel.current():
            line |= span.ids
        for name, value in vars(record).items():
            if name not in _RECORD_FIELDS and name not in line:
                line[name] = self._clean_value(name, value)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = self._clean(_exception_text(record.exc_info[1]))
        if record.stack_info:
            line["stack"] = self._clean(record.stack_info)
        return line

    def _clean(self, text: str) -> str:
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        if len(text) > MESSAGE_CHARS_MAX:
            text = text[:MESSAGE_CHARS_MAX] + "…"
        return clean(text)

    def _clean_value(self, name: str, value: object) -> object:
        if value is None or isinstance(value, bool | int):
            return value
        if _SECRET_FIELD.search(name):
            return MASK
        if isinstance(value, float):
            return value if value - value == 0 else repr(value)  # NaN and infinity are not JSON
        if isinstance(value, dict):
            return {self._clean(str(key)): self._clean_value(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean_value("", item) for item in value]
        try:
            return self._clean(str(value))
        except Exception:  # whatever a foreign __str__ raises: a log line must not fail
            return f"<unprintable {type(value).__name__}>"


class TextFormatter(JsonFormatter):
    """The same fields for a person."""

    def __init__(
        self, secrets: Iterable[str] = (), fields: dict[str, object] | None = None, *, colours: bool
    ) -> None:
        super().__init__(secrets, fields)
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        return text_of(self.fields_of(record), colours=self._colours)


class RepeatFilter(logging.Filter):
    """Passes `REPEATS_MAX` records with the same message in each window, and counts the rest.

    "The same" is the message before its arguments, from one logger. The first record after the window has
    `suppressed`, the number left out. Critical records and those on level debug always pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, int, str], list[float]] = {}  # → [start of the window, passed, left out]

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL or record.levelno <= logging.DEBUG:
            return True
        now = self._clock()
        if len(self._seen) > 1_000:  # messages without arguments, each different: forget those of old windows
            self._seen = {k: v for k, v in self._seen.items() if now - v[0] < REPEAT_WINDOW_S}
        seen = self._seen.setdefault((record.name, record.levelno, str(record.msg)), [now, 0, 0])
        if now - seen[0] >= REPEAT_WINDOW_S:
            if seen[2]:
                record.suppressed = int(seen[2])
            seen[:] = [now, 0, 0]
        if seen[1] >= REPEATS_MAX:
            seen[2] += 1
            return False
        seen[1] += 1
        return True


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to stderr. A line that fails is lost silently: `logging` would print its raw arguments, with
    secrets."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # wrong arguments to a message must not lose it
        return f"{record.msg} (its arguments do not match)"


def _exception_text(error: BaseException) -> str:
    if any(_holds_raw_request(cause) for cause in _causes(error)):
        return f"{type(error).__name__} (what the client sent is not logged)"
    return "".join(traceback.format_exception(error)).rstrip()


def _holds_raw_request(error: BaseException) -> bool:
    """aiohttp's errors on a malformed request quote it: `Got more than 8190 bytes … b'GET /t?k=…`."""
    return any(kind.__module__ == "aiohttp.http_exceptions" for kind in type(error).__mro__)


def _causes(error: BaseException) -> list[BaseException]:
    """`error` and everything that led to it."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or any(cause is known for known in found):
            continue
        found.append(cause)
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
    return found


def _any_of(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Each secret as it is, as a URL writes it, and as `repr` and JSON write it."""
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) >= SECRET_CHARS_MIN:
            forms |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
            forms |= {
                repr(secret)[1:-1],
                repr(secret.encode("utf-8", "surrogatepass"))[2:-1],
                json.dumps(secret)[1:-1],
            }
    if not forms:
        return None
    # The longest first: a secret that begins with another one is masked completely.
    return re.compile(
        "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)), re.IGNORECASE
    )


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    logging.getLogger("nealytics").critical(
        "nealytics: unexpected error; please report it", exc_info=(kind, error, trace)
    )
