"""A file of a saved query: its head of comments, and its SQL. Pure.

    -- title: Revenue by day
    -- description: What was sold, per local day and currency.
    -- param: from DateTime64 = -30d -- Start of the range.
    -- param: to DateTime64 = now -- End of the range.
    -- param: tz Zone = UTC -- Time zone of the days.
    -- param: top UInt8(1..50) = 10 -- How many currencies.
    -- param: plan Choice(all, pro, free) = all
    -- cache: 60s
    -- limits: rows 5000, time 5s, memory 500MB, read 100000000
    -- who: project, named
    -- projects: my-app, shop
    SELECT …

The name of the file is the name of the query; `-- name:` may repeat it. A line that is indented after `--`
continues the line before it. Other comments are for people.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from nealytics.auth.scope import Scope
from nealytics.errors import NealyticsError
from nealytics.queries.segments import UNIT_MS

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
# Of a file; larger ones are no SQL that a person maintains.
BYTES_MAX: Final = 64 * 1024
PARAMETERS_MAX: Final = 30
CHOICES_MAX: Final = 100
CACHE_S_MAX: Final = 86_400
# Parameters of every route, and names that the engine binds itself.
_RESERVED: Final = re.compile(r"format|access_token|endpoint|query|project_id|tenant_id|token_[0-9]+")

_INTEGERS: Final = {
    f"{sign}Int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
_DATETIME64: Final = ("DateTime64", "DateTime64(3)", "DateTime64(3,'UTC')")
# The types that a head may give, and those in which the SQL may write the placeholder.
TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "String": ("String",),
    "Choice": ("String",),
    "Zone": ("String",),
    "Bool": ("Bool",),
    **{name: (name,) for name in _INTEGERS},
    "Float32": ("Float32",),
    "Float64": ("Float64",),
    "Date": ("Date",),
    "DateTime": ("DateTime", "DateTime('UTC')"),
    "DateTime64": _DATETIME64,
    "UUID": ("UUID",),
    "Array(String)": ("Array(String)",),
    "Array(Int64)": ("Array(Int64)",),
    "Array(UInt64)": ("Array(UInt64)",),
}

_LINE = re.compile(r"--(?: ?([a-z]+):\s*(.*)|(.*))")
_CONTINUED = re.compile(r" {3,}(\S.*)")
_PARAM = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_]{0,47})\s+(?P<type>[A-Za-z0-9]+)(?:\((?P<inner>[^()]*)\))?"
    r"(?:\s*=\s*(?P<default>.*?))?(?:\s+--\s*(?P<description>.*))?"
)
_RANGE = re.compile(r"(-?[0-9]+)\.\.(-?[0-9]+)")
_DURATION = re.compile(r"([0-9]{1,6})\s*([smh])")
_MEMORY = re.compile(r"([0-9]{1,6})\s*(MB|GB)")
_COUNT = re.compile(r"[0-9]{1,15}")
_KEYS: Final = ("name", "title", "description", "param", "cache", "limits", "who", "projects")
_WHO: Final = ("everyone", "project", "named")


class BrokenQuery(NealyticsError):
    """A file that is no saved query; the message says why, without the file's name."""


class Input(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A declared parameter."""

    name: str
    type: str  # of `TYPES`
    description: str = ""
    default: str | None = None  # as in a query string; None = required
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one run may use; None = as other reads."""

    rows: int | None = None
    time_s: int | None = None
    memory_bytes: int | None = None
    read_rows: int | None = None


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    sql: str
    first_line: int = 1  # of the SQL, in its file
    description: str = ""
    inputs: tuple[Input, ...] = ()
    cache_s: int = 0
    limits: Limits = Limits()
    project_only: bool = False  # only tokens that read all tenants of a project
    named_only: bool = False  # only tokens whose claim `endpoints` names the query
    projects: tuple[str, ...] = ()  # only tokens of these; empty = of all

    @property
    def is_public(self) -> bool:
        """Whether every token may run it, so that anybody may read its name and its parameters."""
        return not (self.project_only or self.named_only or self.projects)

    def refuses(self, scope: Scope) -> str:
        """Why a token of `scope` may not run it; empty if it may. `endpoints` is checked elsewhere."""
        if self.project_only and scope.tenant_id is not None:
            return "it is for tokens that read all tenants of a project"
        if self.named_only and scope.endpoints is None:
            return "it is for tokens whose endpoints claim names it"
        if self.projects and scope.project_id not in self.projects:
            return "it is for other projects"
        return ""


def parse(name: str, text: str) -> Declared:
    """The query of the file `name`. Raises `BrokenQuery`."""
    if not NAME.fullmatch(name):
        raise BrokenQuery(
            f"the name {name!r} cannot be used; write small letters, digits and _, beginning with a letter"
        )
    fields, sql = _split(text)
    single = {key: values[-1] for key, values in fields.items() if key != "param"}
    for key, values in fields.items():
        if key != "param" and len(values) > 1:
            raise BrokenQuery(f"-- {key}: is given {len(values)} times; give it once")
    if single.get("name", name) != name:
        raise BrokenQuery(f"-- name: is {single['name']!r}, and the file is {name}.sql; make them equal")
    if not single.get("title"):
        raise BrokenQuery("-- title: is missing; write what the query answers")
    if not sql.strip():
        raise BrokenQuery("there is no SQL after the head; write a SELECT from events")
    who = _who(single.get("who", "everyone"))
    return Declared(
        name=name,
        title=single["title"],
        description=single.get("description", ""),
        sql=sql,
        first_line=len(text.splitlines()) - len(sql.splitlines()) + 1,
        inputs=_inputs(fields.get("param", [])),
        cache_s=_cache(single.get("cache", "none")),
        limits=_limits(single.get("limits", "")),
        project_only="project" in who,
        named_only="named" in who,
        projects=tuple(_list(single.get("projects", ""))),
    )


def _split(text: str) -> tuple[dict[str, list[str]], str]:
    """The values of each key of the head, and the rest of the file."""
    fields: dict[str, list[str]] = {}
    current: list[str] | None = None
    lines = text.splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith("--")):
        line = lines.pop(0).rstrip()
        if (found := _LINE.fullmatch(line)) is None:
            current = None
        elif found[1]:
            if found[1] not in _KEYS:
                raise BrokenQuery(f"-- {found[1]}: is unknown; write one of {', '.join(_KEYS)}")
            current = fields.setdefault(found[1], [])
            current.append(found[2])
        elif current and (more := _CONTINUED.fullmatch(found[3])):
            current[-1] += f" {more[1]}"
        else:
            current = None
    return fields, "\n".join(lines)


def _inputs(lines: list[str]) -> tuple[Input, ...]:
    inputs = tuple(map(_input, lines))
    names = [one.name.lower() for one in inputs]  # names of parameters have no case
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise BrokenQuery(f"the parameter {name} is declared twice; remove one")
    if len(inputs) > PARAMETERS_MAX:
        raise BrokenQuery(f"{len(inputs)} parameters are declared; declare at most {PARAMETERS_MAX}")
    for one in inputs:
        if one.type == "Zone" and one.name != "tz":
            raise BrokenQuery(f"the parameter {one.name} is a Zone; name it tz, as in all other routes")
    return inputs


def _input(line: str) -> Input:
    found = _PARAM.fullmatch(line.strip())
    if found is None:
        raise BrokenQuery(f"-- param: {line} cannot be read; write -- param: name Type = default -- text")
    name, kind, inner = found["name"], found["type"], found["inner"]
    if _RESERVED.fullmatch(name.lower()):
        raise BrokenQuery(f"the parameter {name} has a reserved name; choose another")
    if kind == "Array" and inner is not None:
        kind, inner = f"Array({inner.strip()})", None
    if kind not in TYPES:
        raise BrokenQuery(f"the parameter {name} has the type {kind}; write one of {', '.join(TYPES)}")
    more: dict[str, Any] = {}
    if kind == "Choice":
        more["choices"] = tuple(_list(inner or ""))
        if not 1 <= len(more["choices"]) <= CHOICES_MAX:
            raise BrokenQuery(
                f"the parameter {name} has {len(more['choices'])} choices; write Choice(a, b), at most "
                f"{CHOICES_MAX}"
            )
    elif kind in _INTEGERS:
        more["minimum"], more["maximum"] = _bounds(name, kind, inner)
    elif inner is not None:
        raise BrokenQuery(f"the parameter {name} has the type {kind}({inner}); write {kind}")
    return Input(
        name=name,
        type=kind,
        description=found["description"] or "",
        default=found["default"],
        **more,
    )


def _bounds(name: str, kind: str, inner: str | None) -> tuple[int, int]:
    least, most = _INTEGERS[kind]
    if inner is None:
        return least, most
    found = _RANGE.fullmatch(inner.strip())
    if found is None or not least <= int(found[1]) <= int(found[2]) <= most:
        raise BrokenQuery(
            f"the parameter {name} has the bounds ({inner}); write {kind}(1..100), within {least}..{most}"
        )
    return int(found[1]), int(found[2])


def _cache(text: str) -> int:
    if text == "none":
        return 0
    seconds = _seconds("cache", text)
    if seconds > CACHE_S_MAX:
        raise BrokenQuery(f"-- cache: {text} is more than a day; write at most 24h")
    return seconds


def _seconds(key: str, text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise BrokenQuery(f"-- {key}: {text} is not a duration; write it like 60s, 5m or 1h")
    return int(found[1]) * UNIT_MS[found[2]] // 1000


def _limits(text: str) -> Limits:
    found: dict[str, int] = {}
    for item in _list(text):
        key, _, value = item.partition(" ")
        value = value.strip()
        if key in ("rows", "read") and _COUNT.fullmatch(value) and int(value):
            found["rows" if key == "rows" else "read_rows"] = int(value)
        elif key == "time":
            found["time_s"] = _seconds("limits", value)
        elif key == "memory" and (size := _MEMORY.fullmatch(value)) and int(size[1]):
            found["memory_bytes"] = int(size[1]) * 1000 ** (2 if size[2] == "MB" else 3)
        else:
            raise BrokenQuery(
                f"-- limits: {item} cannot be read; write rows 5000, time 5s, memory 500MB, read 100000000"
            )
    return Limits(**found)


def _who(text: str) -> list[str]:
    words = _list(text)
    if not words or not set(words) <= set(_WHO) or ("everyone" in words and len(words) > 1):
        raise BrokenQuery(f"-- who: {text} cannot be read; write everyone, project, named, or project, named")
    return words


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
