"""The C# engine's configuration file: the section `TelemetryEngine` of `appsettings.json`.

Read as .NET reads it: JSON with comments, trailing commas and a byte order mark; names without case, nested
or with colons; every value a text. `appsettings.<environment>.json` beside it overrides it; the environment
is DOTNET_ENVIRONMENT or ASPNETCORE_ENVIRONMENT, by default Production.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path("appsettings.json")
SECTION = "TelemetryEngine"
LOG_LEVEL = "logging:loglevel:default"

# Other settings that say where a .NET program listens.
_LISTENING = ("urls", "http_ports", "https_ports", "kestrel:")

_STRING = r'"(?:[^"\\]|\\.)*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)


class Setting(NamedTuple):
    name: str  # as it is written, "TelemetryEngine:MaxQueryLimit"
    text: str


class Settings(NamedTuple):
    options: dict[str, Setting]  # of the section, by the option's name in lower case
    log_level: Setting | None
    listening: str  # a setting that says where to listen, which is not read; empty = none
    has_section: bool


def environment_file(path: Path, environ: Mapping[str, str]) -> Path:
    """The file that overrides this one."""
    # With a WebApplicationBuilder, the first of the two counts.
    name = environ.get("DOTNET_ENVIRONMENT") or environ.get("ASPNETCORE_ENVIRONMENT") or "Production"
    return path.with_name(f"{path.stem}.{name.replace('/', '_')}{path.suffix}")


def parse(content: bytes) -> Settings:
    """Raises `ValueError` with what is wrong and where, and never with a value: it may be a secret."""
    document = _document(content)
    flat: dict[str, Setting] = {}
    for path, text in _flattened(document, ()):
        name = ":".join(path)
        if name.lower() in flat:
            raise ValueError(f"has {_shown(name)} twice; names have no case")
        flat[name.lower()] = Setting(name, text)
    prefix = SECTION.lower() + ":"
    options: dict[str, Setting] = {}
    for key, setting in flat.items():
        if not key.startswith(prefix):
            continue
        option, colon, index = key[len(prefix) :].partition(":")
        if colon and not index.isdigit():
            raise ValueError(f"has {_shown(setting.name)}, and no option of that engine has parts of its own")
        if not colon:
            options[option] = setting
        elif option in options:
            # A list, which stands for its entries between commas.
            before = options[option]
            options[option] = before._replace(text=f"{before.text},{setting.text}")
        else:
            options[option] = setting._replace(name=setting.name.rpartition(":")[0])
    return Settings(
        options,
        flat.get(LOG_LEVEL),
        next((setting.name for key, setting in flat.items() if key.startswith(_LISTENING)), ""),
        any(name.partition(":")[0].lower() == SECTION.lower() for name in document),
    )


def _document(content: bytes) -> dict[str, Any]:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except ValueError:
        raise ValueError("is not UTF-8 text") from None
    text = _COMMENT.sub(_blank_unless_string, text)
    text = _TRAILING_COMMA.sub(_blank_unless_string, text)
    try:
        document = json.loads(
            text,
            parse_int=str,
            parse_float=str,
            parse_constant=_no_constant,
            object_pairs_hook=_Pairs,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON (at line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("is not valid JSON (nested too deep)") from None
    if not isinstance(document, _Pairs):
        raise ValueError("is not an object in JSON")
    return document


class _Pairs(dict[str, Any]):
    """A JSON object that keeps repeated names, which are an error to .NET and here."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _flattened(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, _Pairs):
        for name, inner in value.pairs:
            yield from _flattened(inner, (*path, name))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _flattened(inner, (*path, str(i)))
    elif isinstance(value, bool):
        yield path, "true" if value else "false"
    elif value is not None:  # null is the same as absent
        yield path, value


def _blank_unless_string(match: re.Match[str]) -> str:
    # As many blanks, so that a later error names the right place.
    return match[0] if match[0].startswith('"') else re.sub(r"[^\r\n]", " ", match[0])


def _no_constant(name: str) -> Any:
    raise ValueError(f"is not valid JSON ({name} is not a number)")


def _shown(name: str) -> str:
    return name if len(name) <= 100 else name[:99] + "…"
