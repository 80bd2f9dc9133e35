"""The grammar of one comparison, and its SQL. `conditions` combines them.

    filter = <field>:<op>:<value>
    field  = event_type | session_id | user_id | item_id | event_id | tenant_id
           | timestamp | received_at | inserted_at | meta:<path>
    path   = key{.key}                     in a key, \\ stands before . : and \\ that belong to it
    op     = eq | ne | in | contains | starts | matches | gt | lt | exists
    value  = any text; of `in` a comma-separated list, where \\, is a comma and \\\\ a backslash;
             of `matches` a regular expression (`patterns`); of `exists` true (also when empty) or false

A field is compared as text; a metadata value that is not a string as its JSON text without spaces (`true`,
`[1,2]`), with numbers in their shortest form: `1.50` and `1e2` are compared as `1.5` and `100`. `gt` and `lt`
compare metadata as numbers (doubles), where only numbers and strings that contain one match, and times as
times; times have no other operation but `exists`. If an object has a key twice, the first one counts. An
event id may have any form that ingest accepts. An absent value (NULL, an empty user or item, a missing key, a
JSON null) matches `ne` and `exists:false` only.

A value reaches ClickHouse only through `Bind`, as a parameter. A field or operation is one of a closed set,
and its SQL is ours.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from nealytics.clickhouse.client import Param
from nealytics.event import is_text
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.patterns import check_pattern
from nealytics.queries.time_bounds import timestamp_ms

FILTER_CHARS_MAX = 4_096
PATH_KEYS_MAX = 8
LIST_VALUES_MAX = 100

META = "meta:"
# An absent user or item is NULL; the C# engine stored an empty text, which also means absent.
# The functions around session and user hide them from their indexes: see `where`.
COLUMNS: Final = {
    "event_type": "event_type",
    "session_id": "identity(session_id)",
    "user_id": "nullIf(user_id, '')",
    "item_id": "nullIf(item_id, '')",
    "tenant_id": "tenant_id",
    "event_id": "toString(event_id)",
    "timestamp": "timestamp",
    "received_at": "received_at",
    # Copies of an event differ in it, and it has an index, too.
    "inserted_at": "identity(inserted_at)",
}
OPS: Final = ("eq", "ne", "in", "contains", "starts", "matches", "gt", "lt", "exists")
TIMES = frozenset({"timestamp", "received_at", "inserted_at"})
_NEVER_ABSENT = frozenset({"event_type", "session_id", "tenant_id", "event_id"}) | TIMES
OPS_OF_TIMES = ("gt", "lt")
_INDEXED = frozenset({"session_id", "user_id"})

# Equal for copies of an event, because it is part of the table's sorting key. Ten minutes instead of the
# timestamp, so that a user with a million events makes no list of a million; a tenant rarely fills a granule
# in that time.
_WHEREABOUTS = "tenant_id, event_type, intDiv(toUnixTimestamp64Milli(timestamp), 600000)"


class Bind:
    """Collects the values of one query. Called with a value, it returns its placeholder."""

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
        """Its text, NULL if an event has none; for a time the time."""
        if self.path:
            keys = ", ".join(bind(key) for key in self.path)
            return f"JSONExtract(metadata_json, {keys}, 'Nullable(String)')"
        return COLUMNS[self.name]


class Condition(msgspec.Struct, frozen=True):
    """What an event must match."""

    def sql(self, bind: Bind) -> str:
        """A condition that is 0 or 1, never NULL."""
        raise NotImplementedError

    def indexed_sql(self, bind: Bind) -> str | None:
        """The condition in a form that can use an index; None if there is no index for it."""
        return None


class Filter(Condition, frozen=True):
    """One comparison. `value` already has the type that `op` compares with."""

    field: Field
    op: str
    value: Param = ""

    def sql(self, bind: Bind) -> str:
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
            case "matches":
                return self._or_absent(f"match({text}, {bind(self.value)})")
        compare = ">" if self.op == "gt" else "<"
        if self.field.path:
            number = f"toFloat64OrNull({text})"
            return f"ifNull(isFinite({number}) AND {number} {compare} {bind(self.value)}, 0)"  # "inf" is none
        return f"{text} {compare} fromUnixTimestamp64Milli({bind(self.value)}, 'UTC')"

    def indexed_sql(self, bind: Bind) -> str | None:
        if self.field.name not in _INDEXED or self.op not in ("eq", "in"):
            return None
        values = (self.value,) if isinstance(self.value, str) else self.value
        assert isinstance(values, tuple)
        if "" in values:  # means absent
            return None
        return f"{self.field.name} {'IN' if self.op == 'in' else '='} {bind(self.value)}"

    def _or_absent(self, condition: str) -> str:
        # ClickHouse uses its index only for a bare condition.
        return f"({condition})" if self.field.never_absent else f"ifNull({condition}, 0)"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The events that a query is about: a time range, both ends inclusive, and conditions."""

    from_ms: int
    to_ms: int
    filters: tuple[Condition, ...] = ()
    zone: str | None = None  # of the answer's times

    def where(self, bind: Bind) -> str:
        """The condition for a WHERE."""
        range_ = [
            f"timestamp >= {sql_time(self.from_ms, bind)}",
            f"timestamp <= {sql_time(self.to_ms, bind)}",
        ]
        return where(range_, self.filters, bind)


def where(conditions: list[str], filters: Iterable[Condition], bind: Bind, source: str = "events") -> str:
    """`conditions` and all of `filters`, for a WHERE on `source`.

    Copies of an event may differ in session and user; `final` keeps the last inserted one. An index on these
    must not select what `final` reads, or a replaced copy would be returned if the last one does not match.
    So the index only selects times; everything at these times is read, and the last copy decides.
    """
    filters = tuple(filters)
    indexed = [sql for filter_ in filters if (sql := filter_.indexed_sql(bind)) is not None]
    found = [*conditions]
    if indexed:
        there = " AND ".join([*conditions, *indexed])
        found.append(f"({_WHEREABOUTS}) IN (SELECT {_WHEREABOUTS} FROM {source} WHERE {there})")
    return " AND ".join([*found, *(filter_.sql(bind) for filter_ in filters)]) or "1"


def sql_time(ms: int, bind: Bind) -> str:
    return f"fromUnixTimestamp64Milli({bind(ms)}, 'UTC')"


def check_text(name: str, text: str) -> None:
    """Raises `Refused` (400) for a text that is too long, or is not one."""
    if len(text) > FILTER_CHARS_MAX:
        raise invalid(
            name,
            f"{name} has {len(text)} characters, at most {FILTER_CHARS_MAX} are accepted",
            "Longer values are not supported.",
        )
    if not is_text(text):
        raise invalid(name, f"{name} is not valid UTF-8", "Percent-encode the UTF-8 bytes of the text.")


def parse_filter(name: str, text: str) -> Filter:
    """Raises `Refused` (400) for the field `name`."""
    check_text(name, text)
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
    """`event_type`, `meta:plan`, `meta:cart.total`. Raises `Refused` (400) for the field `name`."""
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
            f"{did_you_mean(text, COLUMNS)}Write one of {', '.join(COLUMNS)}, or meta:<path>.",
        )
    return Field(text)


def did_you_mean(text: str, columns: Iterable[str]) -> str:
    """A question before what to write in place of `text`, which is no field; empty if nothing is near."""
    if key := _KEY.fullmatch(text):
        meant = [f"{META}{key['path'] or '<path>'}"]
    else:
        columns = tuple(columns)
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text[:64]).lower()  # eventType is the parameter's name
        meant = difflib.get_close_matches(snake, columns, 1)
        if not meant and _WORD.fullmatch(text):
            meant = [f"{META}{text}"]
    return f"Did you mean {meant[0]}? " if meant else ""


_KEY = re.compile(r"(?:metadata|meta|properties)(?:[.:](?P<path>[\w.]{1,64}))?")
_WORD = re.compile(r"[^\W\d][\w.]{0,63}")
_META_HEAD = re.compile(r"meta:(?:\\.|[^:\\])*", re.DOTALL)
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def _split_field(text: str) -> tuple[str, str]:
    """The field, and the text after its colon."""
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
        return Filter(field, op, timestamp_ms(name, value, "before" if op == "lt" else "after"))
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
    if op == "matches":
        check_pattern(name, value)
    elif field.name == "event_id" and op in ("eq", "ne"):
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
            "contains, starts and matches accept a part of one.",
        ) from None


def _escaped_key(key: str) -> str:
    return re.sub(r"[.:\\]", lambda found: "\\" + found.group(), key)


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators. A backslash escapes a character; empty if the text ends in a backslash.

    Not a regular expression: it would backtrack on a text that ends in a backslash.
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
