"""The filter grammar, and how what a client chooses gets into SQL.

    filter = <field>:<op>:<value>
    field  = event_type | session_id | user_id | item_id | event_id | tenant_id
           | timestamp | received_at | inserted_at | meta:<path>
    path   = key{.key}                     in a key, \\ stands before . : and \\ that belong to it
    op     = eq | ne | in | contains | starts | gt | lt | exists
    value  = any text; of `in` a comma-separated list, where \\, is a comma and \\\\ a backslash;
             of `exists` true (also when empty) or false

A field compares by its text; a metadata value that is not a string by its JSON text without spaces (`true`,
`[1,2]`), where a number has its shortest form: what was sent as `1.50` or `1e2` compares as `1.5` and `100`.
`gt` and `lt` compare metadata as numbers (as doubles), where only numbers and strings that hold one can
match, and times as instants; times have no other comparison but `exists`. Of a key that an object has twice
the first counts. An event id may be written in any form that ingest takes. What is absent (NULL, an empty
user or item, a missing key, a JSON null) matches `ne` and `exists:false` and nothing else.

A value reaches ClickHouse only through `Bind`, as a parameter; a field or operation is one of a closed set,
and its SQL is ours.
"""

import re
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from nealytics.clickhouse.client import Param
from nealytics.event import is_text
from nealytics.queries.instants import instant_ms
from nealytics.queries.invalid import invalid, shown

FILTER_CHARS_MAX = 4_096
PATH_KEYS_MAX = 8
LIST_VALUES_MAX = 100

META = "meta:"
# An absent user or item is NULL; the C# engine stored an empty text, which is none either.
# By what stands around them, session and user are hidden from their indexes: see `where`.
COLUMNS: Final = {
    "event_type": "event_type",
    "session_id": "identity(session_id)",
    "user_id": "nullIf(user_id, '')",
    "item_id": "nullIf(item_id, '')",
    "tenant_id": "tenant_id",
    "event_id": "toString(event_id)",
    "timestamp": "timestamp",
    "received_at": "received_at",
    # Copies of an event differ in it, and it has an index.
    "inserted_at": "identity(inserted_at)",
}
OPS: Final = ("eq", "ne", "in", "contains", "starts", "gt", "lt", "exists")
TIMES = frozenset({"timestamp", "received_at", "inserted_at"})
_NEVER_ABSENT = frozenset({"event_type", "session_id", "tenant_id", "event_id"}) | TIMES
OPS_OF_TIMES = ("gt", "lt")
_INDEXED = frozenset({"session_id", "user_id"})

# In this copies of an event are alike: it is of the table's sorting key. Ten minutes, and not the instant, so
# that a user of a million events makes no list of a million; a tenant seldom fills a granule in that time.
_WHEREABOUTS = "tenant_id, event_type, intDiv(toUnixTimestamp64Milli(timestamp), 600000)"


class Bind:
    """Gathers the values of one query. Called with a value, it gives the placeholder to write instead."""

    def __init__(self, prefix: str = "p") -> None:
        self._prefix = prefix
        self.values: dict[str, Param] = {}

    def __call__(self, value: Param) -> str:
        name = f"{self._prefix}{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{_type_of(value)}}}"


def _type_of(value: Param) -> str:
    if isinstance(value, str):
        return "String"
    if isinstance(value, int):
        return "Int64"
    if isinstance(value, float):
        return "Float64"
    return "Array(Int64)" if value and isinstance(value[0], int) else "Array(String)"


class Field(msgspec.Struct, frozen=True):
    """A column, or, with `path`, a value inside the metadata."""

    name: str
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return META + ".".join(map(_escaped_key, self.path)) if self.path else self.name

    @property
    def never_absent(self) -> bool:
        return self.name in _NEVER_ABSENT

    def sql(self, bind: Bind) -> str:
        """Its text, NULL where an event has none; of a time the time."""
        if self.path:
            keys = ", ".join(bind(key) for key in self.path)
            return f"JSONExtract(metadata_json, {keys}, 'Nullable(String)')"
        return COLUMNS[self.name]


class Filter(msgspec.Struct, frozen=True):
    """One condition that an event must match. `value` is what `op` compares with, already in its type."""

    field: Field
    op: str
    value: Param = ""

    def sql(self, bind: Bind) -> str:
        """A condition that is 0 or 1, never NULL."""
        text = self.field.sql(bind)
        match self.op:
            case "exists":
                return f"{text} IS {'NOT ' if self.value else ''}NULL"
            case "ne":
                return f"NOT {self._or_absent(f'{text} = {bind(self.value)}')}"
            case "eq":
                return self._or_absent(f"{text} = {bind(self.value)}")
            case "in":
                return self._or_absent(f"{text} IN {bind(self.value)}")
            case "contains":
                return self._or_absent(f"position({text}, {bind(self.value)}) > 0")
            case "starts":
                return self._or_absent(f"startsWith({text}, {bind(self.value)})")
        compare = ">" if self.op == "gt" else "<"
        if self.field.path:
            number = f"toFloat64OrNull({text})"
            return f"ifNull(isFinite({number}) AND {number} {compare} {bind(self.value)}, 0)"  # "inf" is none
        return f"{text} {compare} fromUnixTimestamp64Milli({bind(self.value)}, 'UTC')"

    def indexed_sql(self, bind: Bind) -> str | None:
        """The condition in the form for which there is an index, None if there is none for it."""
        if self.field.name not in _INDEXED or self.op not in ("eq", "in"):
            return None
        values = (self.value,) if isinstance(self.value, str) else self.value
        assert isinstance(values, tuple)
        if "" in values:  # which is no user
            return None
        return f"{self.field.name} {'IN' if self.op == 'in' else '='} {bind(self.value)}"

    def _or_absent(self, condition: str) -> str:
        # ClickHouse finds rows by its index only where a condition stands bare.
        return f"({condition})" if self.field.never_absent else f"ifNull({condition}, 0)"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which events a question is about: a range of time, both ends included, and conditions."""

    from_ms: int
    to_ms: int
    filters: tuple[Filter, ...] = ()

    def where(self, bind: Bind) -> str:
        """The condition of a WHERE."""
        range_ = [
            f"timestamp >= {instant(self.from_ms, bind)}",
            f"timestamp <= {instant(self.to_ms, bind)}",
        ]
        return where(range_, self.filters, bind)


def where(conditions: list[str], filters: Iterable[Filter], bind: Bind, source: str = "events") -> str:
    """`conditions` and all of `filters`, for a WHERE on `source`.

    Copies of an event may differ in session and user; `final` keeps the last that was inserted. An index on
    these must not choose what `final` sees, or a copy that was replaced would be shown where the last one is
    not found. So it only tells when such events were; what was then is read, and the last copy decides.
    """
    filters = tuple(filters)
    indexed = [sql for filter_ in filters if (sql := filter_.indexed_sql(bind)) is not None]
    found = [*conditions]
    if indexed:
        there = " AND ".join([*conditions, *indexed])
        found.append(f"({_WHEREABOUTS}) IN (SELECT {_WHEREABOUTS} FROM {source} WHERE {there})")
    return " AND ".join([*found, *(filter_.sql(bind) for filter_ in filters)]) or "1"


def instant(ms: int, bind: Bind) -> str:
    return f"fromUnixTimestamp64Milli({bind(ms)}, 'UTC')"


def parse_filter(name: str, text: str) -> Filter:
    """A filter as it is written. Raises `Refused` (400) in the name of `name`."""
    if len(text) > FILTER_CHARS_MAX:
        raise invalid(
            name,
            f"{name} has {len(text)} characters, at most {FILTER_CHARS_MAX} are accepted",
            "Longer values are not supported.",
        )
    if not is_text(text):
        raise invalid(name, f"{name} is not valid UTF-8", "Percent-encode the UTF-8 bytes of the text.")
    head, rest = _split_field(text)
    field = parse_field(name, head)
    op, colon, value = rest.partition(":")
    if op not in OPS or not (colon or op == "exists"):
        problem = (
            f"{shown(op)} is not an operation" if op and op not in OPS else "it has no operation or no value"
        )
        raise invalid(
            name,
            f"{name} is {shown(text)}: {problem}",
            f"Write <field>:<op>:<value> with one of {', '.join(OPS)}.",
        )
    return _typed(name, field, op, value)


def parse_field(name: str, text: str) -> Field:
    """`event_type`, `meta:plan`, `meta:cart.total`. Raises `Refused` (400) in the name of `name`."""
    if text.startswith(META):
        keys = tuple(_split(text[len(META) :], "."))
        if not keys or not all(keys) or len(keys) > PATH_KEYS_MAX:
            raise invalid(
                name,
                f"{name} has the metadata path {shown(text)}",
                f"Write meta:<key> or meta:<key>.<key>, at most {PATH_KEYS_MAX} keys, none of them empty.",
            )
        return Field("meta", keys)
    if text not in COLUMNS:
        raise invalid(
            name,
            f"{name} has the unknown field {shown(text)}",
            f"Write one of {', '.join(COLUMNS)}, or meta:<path>.",
        )
    return Field(text)


_META_HEAD = re.compile(r"meta:(?:\\.|[^:\\])*", re.DOTALL)
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def _split_field(text: str) -> tuple[str, str]:
    """The field and what follows its colon."""
    meta = _META_HEAD.match(text)
    if meta is not None:
        return meta.group(), text[meta.end() + 1 :]
    head, _, rest = text.partition(":")
    return head, rest


def _typed(name: str, field: Field, op: str, value: str) -> Filter:
    if op == "exists":
        if value not in ("", "true", "false"):
            raise invalid(name, f"{name} is {field}:exists:{shown(value)}", "Write true or false.")
        return Filter(field, op, int(value != "false"))
    if field.name in TIMES:
        if op not in OPS_OF_TIMES:
            raise invalid(name, f"{name} is {field}:{op}", f"Write {field}:gt:… or {field}:lt:….")
        return Filter(field, op, instant_ms(name, value, "before" if op == "lt" else "after"))
    if op in ("gt", "lt"):
        if not field.path:
            raise invalid(
                name,
                f"{name} is {field}:{op}, and {field} is a string",
                f"gt and lt compare {', '.join(sorted(TIMES))} and meta:<path>.",
            )
        if not NUMBER.fullmatch(value):
            raise invalid(
                name,
                f"{name} compares with {shown(value)}, which is not a number",
                "Write it like 10 or 9.5.",
            )
        return Filter(field, op, float(value))
    if op == "in":
        values = _split(value, ",")
        if not values:
            raise invalid(
                name,
                f"{name} lists {shown(value)}, which ends in a backslash",
                "Write \\\\ for a backslash and \\, for a comma in a value.",
            )
        if len(values) > LIST_VALUES_MAX:
            raise invalid(
                name,
                f"{name} lists {len(values)} values, at most {LIST_VALUES_MAX} are accepted",
                "Split it into several requests.",
            )
        return Filter(
            field, op, tuple(_same_id(name, each) if field.name == "event_id" else each for each in values)
        )
    if field.name == "event_id" and op in ("eq", "ne"):
        value = _same_id(name, value)
    return Filter(field, op, value)


def _same_id(name: str, text: str) -> str:
    """An event id as ClickHouse writes it."""
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise invalid(
            name,
            f"{name} compares event_id with {shown(text)}, which is not a UUID",
            "contains and starts accept a part of one.",
        ) from None


def _escaped_key(key: str) -> str:
    return re.sub(r"[.:\\]", lambda found: "\\" + found.group(), key)


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators, each character after a backslash taken as it is; none if that is missing.

    Not by a regular expression: where a text ends in a backslash, it would try each way to read it.
    """
    parts, chars = [""], iter(text)
    for char in chars:
        if char == separator:
            parts.append("")
            continue
        if char == "\\":
            char = next(chars, "")
            if not char:
                return []
        parts[-1] += char
    return parts
