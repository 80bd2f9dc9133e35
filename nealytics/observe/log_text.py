"""A line of the log for a person at a terminal; `log` has the same line as JSON.

    2026-11-22T14:35:07.123Z WARNING  commit: 812 rows moved to dead-letter  worker=0 lsn=40960

A client controls parts of some messages. What could move the cursor or look like another line is escaped.
"""

import json

# SGR parameters. Time and names are dim, so that the message stands out.
_DIM = "2"
_LEVELS = {"debug": _DIM, "warning": "33", "error": "31", "critical": "1;31"}
_LEVEL_CHARS = max(map(len, _LEVELS))
_OWN = "nealytics"
_BLOCKS = ("exception", "stack")


def text_of(line: dict[str, object], *, colours: bool) -> str:
    """One line, and an indented block for a traceback. `line` has the fields of the JSON."""

    def styled(text: str, parameters: str) -> str:
        return f"\x1b[{parameters}m{text}\x1b[0m" if colours and parameters else text

    level = str(line["level"])
    text = " ".join(
        (
            styled(str(line["ts"]), _DIM),
            styled(level.upper().ljust(_LEVEL_CHARS), _LEVELS.get(level, "")),
            _printable(str(line["message"])),
        )
    )
    fields = " ".join(
        styled(f"{_printable(name)}=", _DIM) + _value(value)
        for name, value in line.items()
        if name not in ("ts", "level", "message", *_BLOCKS) and not (name == "logger" and _is_own(value))
    )
    blocks = [f"    {_printable(row)}" for name in _BLOCKS for row in str(line.get(name, "")).splitlines()]
    return "\n".join([f"{text}  {fields}" if fields else text, *blocks])


def _is_own(logger: object) -> bool:
    """Our messages begin with their part."""
    return str(logger).partition(".")[0] == _OWN


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and (not text or any(c in ' "=' for c in text)):
        text = json.dumps(text, ensure_ascii=False)
    return _printable(text)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
