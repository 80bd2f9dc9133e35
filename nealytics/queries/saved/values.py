"""From a query string to the values of a saved query's parameters. Pure.

Values are bound as ClickHouse's parameters, never written into the SQL. A parameter that is absent has its
default, which is read in the same way.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from nealytics.clickhouse.client import Param
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.params import TZ, Arguments, Kind, Parameter, zones
from nealytics.queries.relative import resolved
from nealytics.queries.saved.head import Input
from nealytics.queries.time_bounds import Bound, is_date, timestamp_ms
from nealytics.query_string import is_true
from nealytics.timestamps import iso_utc

# Values of a parameter that is a list.
VALUES_MAX: Final = 100
TEXT_CHARS_MAX: Final = 2_048

_KINDS: Final[dict[str, Kind]] = {
    "Choice": "choice",
    "Zone": "zone",
    "Bool": "flag",
    "Date": "timestamp",
    "DateTime": "timestamp",
    "DateTime64": "timestamp",
}
_TIMES: Final = ("Date", "DateTime", "DateTime64")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_BOUNDS: Final[dict[str, Bound]] = {"from": "from", "to": "to", "before": "before", "after": "after"}
_DATETIME_MS_MAX: Final = (2**32 - 1) * 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parameter_of(one: Input) -> Parameter:
    """The declaration as that of any other route, for `Arguments` and OpenAPI. Raises `Refused` for a default
    that is no integer."""
    repeatable = one.type.startswith("Array(")
    kind: Kind = "integer" if one.minimum is not None else _KINDS.get(one.type, "text")
    return Parameter(
        name=one.name,
        kind=kind,
        description=one.description or (TZ.description if one.type == "Zone" else f"A value of {one.type}."),
        choices=one.choices,
        # Of other kinds, the default is a text that the server reads, such as `-30d`.
        default=_default_of(one, kind),
        minimum=one.minimum,
        maximum=one.maximum,
        chars_max=TEXT_CHARS_MAX,
        repeatable=repeatable,
        count_max=VALUES_MAX if repeatable else None,
        required=one.default is None,
        example=one.default if kind == "timestamp" else None,
    )


def _default_of(one: Input, kind: Kind) -> str | int | None:
    if one.default is None or kind in ("flag", "timestamp", "zone"):
        return None
    if one.minimum is None or one.maximum is None:
        return one.default
    return _integer(one.name, one.default, one.minimum, one.maximum)


def values_of(inputs: tuple[Input, ...], arguments: Arguments) -> dict[str, Param]:
    """Raises `Refused` (400), with the parameter's name and what to write."""
    values = unordered_values_of(inputs, arguments)
    types = {one.name: one.type for one in inputs}
    # As in all other routes. Times of one type are texts of one form.
    if types.get("from") in _TIMES and types["from"] == types.get("to"):
        begin, end = str(values["from"]), str(values["to"])
        if begin > end:
            raise invalid("from", f"from ({begin}) is later than to ({end})", "Swap the two.")
    return values


def unordered_values_of(inputs: tuple[Input, ...], arguments: Arguments) -> dict[str, Param]:
    """As `values_of`, and `from` may be later than `to`, as a sample beside a default may be."""
    zone = next((_zone(one, arguments) for one in inputs if one.type == "Zone"), None)
    return {one.name: _value_of(one, arguments, zone) for one in inputs}


def _zone(one: Input, arguments: Arguments) -> str:
    text = (arguments.text(one.name) or one.default or "").strip()
    if text not in zones():
        raise invalid(
            one.name,
            f"{one.name} is {shown(text)}, which is not a time zone",
            "Write an IANA name, such as Europe/Berlin.",
        )
    return text


def _value_of(one: Input, arguments: Arguments, zone: str | None) -> Param:
    if one.type == "Zone":
        return zone or "UTC"
    if one.type.startswith("Array("):
        return _list(one, arguments)
    text = arguments.text(one.name)
    if text is None:
        text = one.default or ""
    return value(one, text, arguments.now_ms, zone)


def _list(one: Input, arguments: Arguments) -> list[str] | list[int]:
    texts = arguments.texts(one.name)
    if not texts and one.default is not None:
        texts = [part.strip() for part in one.default.split(",") if part.strip()]
    elif not texts:
        raise invalid(
            one.name, f"{one.name} is missing", f"Give it once for each value. {one.description}".strip()
        )
    if one.type == "Array(String)":
        return texts
    least, most = (0, 2**64 - 1) if one.type == "Array(UInt64)" else (-(2**63), 2**63 - 1)
    return [_integer(one.name, text, least, most) for text in texts]


def value(one: Input, text: str, now_ms: int, zone: str | None) -> Param:
    """One value, by its declared type."""
    if one.minimum is not None and one.maximum is not None:
        return _integer(one.name, text, one.minimum, one.maximum)
    return _READ.get(one.type, _text)(one, text, now_ms, zone)


def _text(one: Input, text: str, now_ms: int, zone: str | None) -> str:
    return text


def _choice(one: Input, text: str, now_ms: int, zone: str | None) -> str:
    if text not in one.choices:
        raise invalid(one.name, f"{one.name} is {shown(text)}", f"Write one of {', '.join(one.choices)}.")
    return text


def _flag(one: Input, text: str, now_ms: int, zone: str | None) -> bool:
    return is_true(one.name, text)


def _integer(name: str, text: str, least: int, most: int) -> int:
    if not _INTEGER.fullmatch(text.strip()) or not least <= int(text) <= most:
        raise invalid(name, f"{name} is {shown(text)}", f"Write an integer from {least} to {most}.")
    return int(text)


def _float(one: Input, text: str, now_ms: int, zone: str | None) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in text:
        raise invalid(one.name, f"{one.name} is {shown(text)}", "Write a number, such as 1.5.")
    return number


def _uuid(one: Input, text: str, now_ms: int, zone: str | None) -> str:
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise invalid(
            one.name,
            f"{one.name} is {shown(text)}",
            "Write a UUID, such as 0190163d-8694-739b-aea5-966c26f8ad91.",
        ) from None


def _time(one: Input, text: str, now_ms: int, zone: str | None) -> str:
    bound = _BOUNDS.get(one.name, "from")
    ms = timestamp_ms(one.name, resolved(text.strip(), bound, now_ms, zone), bound, zone)
    if one.type == "DateTime":
        if not 0 <= ms <= _DATETIME_MS_MAX:
            raise invalid(one.name, f"{one.name} is {iso_utc(ms)}", "Write a time from 1970 to 2105.")
        return _written(ms)[:19]
    return _written(ms)


def _date(one: Input, text: str, now_ms: int, zone: str | None) -> str:
    text = resolved(text.strip(), _BOUNDS.get(one.name, "from"), now_ms, zone)
    timestamp_ms(one.name, text, "from", None)  # refuses what is no time
    if not is_date(text) or not "1970-01-01" <= text <= "2149-06-06":
        raise invalid(
            one.name,
            f"{one.name} is {shown(text)}, which is not a date from 1970 to 2149",
            "Write it like 2026-06-15.",
        )
    return text


def _written(ms: int) -> str:
    """As ClickHouse reads a time. The user's `session_timezone` is UTC."""
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")


_READ: Final[dict[str, Callable[[Input, str, int, str | None], Param]]] = {
    "Choice": _choice,
    "Bool": _flag,
    "Float32": _float,
    "Float64": _float,
    "UUID": _uuid,
    "Date": _date,
    "DateTime": _time,
    "DateTime64": _time,
}

_SAMPLES: Final = {
    "String": "x",
    "Bool": "true",
    "Float32": "1",
    "Float64": "1",
    "Date": "2026-01-01",
    "DateTime": "2026-01-01",
    "DateTime64": "2026-01-01",
    "UUID": "00000000-0000-0000-0000-000000000001",
    "Zone": "UTC",
}


def sample_of(one: Input) -> str:
    """A value for the check at load, of a parameter without a default."""
    if one.choices:
        return one.choices[0]
    if one.minimum is not None and one.maximum is not None:
        return str(max(one.minimum, min(1, one.maximum)))
    return _SAMPLES.get(one.type, "1")
