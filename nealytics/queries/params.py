"""From a query string to typed values.

An argument that is absent, empty or blank has its default. An invalid one is refused with 400, its name and
what to write instead; nothing is guessed. What is valid and not done as requested (a limit above the maximum,
an unknown parameter) is reported in the answer's `warnings`.
"""

import difflib
import re
from collections.abc import Callable, Collection
from functools import cache
from itertools import islice
from typing import Any, Literal
from zoneinfo import available_timezones

import msgspec
from multidict import CIMultiDict, MultiMapping

from nealytics.auth.claims import FILTERS_MAX
from nealytics.config import QueryConfig
from nealytics.config.tables import LIMIT_DEFAULT
from nealytics.errors import Refused
from nealytics.event import is_text
from nealytics.queries.conditions import ANY_MAX, GROUPS_MAX, Conditions
from nealytics.queries.filters import (
    FILTER_CHARS_MAX,
    META,
    OPS,
    Condition,
    Field,
    Filter,
    Selection,
    did_you_mean,
    parse_field,
)
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.relative import is_relative, resolved
from nealytics.queries.segments import UNIT_MS, Saved, Within
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN, Bound, is_date, timestamp_ms
from nealytics.query_string import is_true, not_utf8
from nealytics.timestamps import iso_utc

TEXT_CHARS_MAX = 256
ITEM_ID_CHARS_MAX = 2_048  # item ids may be URLs
_UNKNOWN_LISTED_MAX = 10

# Names in other APIs → names here; the first that an endpoint has is suggested.
_NAMES_ELSEWHERE = {
    **dict.fromkeys(("start", "since", "startdate", "start_date", "date_from"), ("from", "after")),
    **dict.fromkeys(("end", "until", "enddate", "end_date", "date_to"), ("to", "before")),
    "from": ("after",),
    "to": ("before",),
    "after": ("from",),
    "before": ("to",),
    **dict.fromkeys(("timezone", "time_zone", "zone"), ("tz",)),
    **dict.fromkeys(("offset", "page", "skip", "next"), ("cursor",)),
    **dict.fromkeys(("count", "size", "per_page", "pagesize", "top"), ("limit",)),
    **dict.fromkeys(("sort", "orderby", "order_by"), ("order",)),
    **dict.fromkeys(("group_by", "segment"), ("groupBy", "breakdown", "dimension")),
}

# A range that ended this long ago is closed: a client may cache its answer. Only for a while, because late or
# imported events may still arrive.
CLOSED_AFTER_MS = 60_000

_INTEGER = re.compile(r"[+-]?[0-9]+")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_MS_PER_HOUR = 3_600_000

Kind = Literal[
    "text",
    "integer",
    "timestamp",
    "comparison",
    "choice",
    "flag",
    "duration",
    "field",
    "path",
    "filter",
    "measure",
    "zone",
    "cursor",
]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a route.

    `choices` are a closed set; a "field" may also be `meta:<path>`. `pattern` must match the whole "text".
    """

    name: str
    kind: Kind
    description: str
    choices: tuple[str, ...] = ()
    default: str | int | None = None
    minimum: int | None = None
    maximum: int | None = None  # of a "path" its keys
    pattern: str | None = None
    chars_max: int = TEXT_CHARS_MAX
    repeatable: bool = False
    required: bool = False
    count_min: int | None = None  # how often a repeatable one must be given
    count_max: int | None = None
    example: str | None = None


class Warn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was requested and answered otherwise. `code` is stable, for programs."""

    code: str
    message: str
    field: str | None = None


class Limit(msgspec.Struct, frozen=True):
    """The maximum number of entries in an answer, and whether the client gave it."""

    count: int
    given: bool

    def first(self, found: list[list[Any]], of: str, which: str) -> list[Warn]:
        """Cuts `found`, which was read up to `count + 1`, to `count`, and says so."""
        if len(found) <= self.count:
            return []
        del found[self.count :]
        return [
            Warn("truncated", f"there are more than {self.count} {of}; only the {which} are listed", "limit")
        ]

    def cut(self, found: list[list[Any]], of: str) -> list[Warn]:
        """As `first`, for an answer that looks complete: it is refused (422) if the client gave no limit."""
        if len(found) > self.count and not self.given:
            raise Refused(
                422,
                "result_too_large",
                f"the answer has more than {self.count} {of}",
                detail="Narrow the time range, choose a larger interval, add a filter, or set a limit to get"
                " the first ones.",
            )
        return self.first(found, of, "first")


# Parameters that many endpoints share

FROM = Parameter(
    name="from",
    kind="timestamp",
    description="Start of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or"
    " a relative one, such as `-7d`, `-24h`, `today`, `this_month`, `last_month`. Default:"
    " `query.default_range_hours` before `to`.",
    example="2026-06-01",
)
TO = Parameter(
    name="to",
    kind="timestamp",
    description="End of the range, inclusive: an ISO 8601 date or time, in `tz` unless it names a zone; or a"
    " relative one. A date alone includes that whole day, as do `-1d` and `yesterday`; `last_month` includes"
    " that whole month. Default: now.",
    example="2026-06-07",
)
FILTER = Parameter(
    name="filter",
    kind="filter",
    repeatable=True,
    description="A condition `<field>:<op>:<value>`; only events that match all conditions count. Fields: "
    "`event_type`, `session_id`, `user_id`, `item_id`, `event_id`, `tenant_id`, `timestamp`, `received_at`,"
    " `inserted_at`, `meta:<path>`. "
    f"Operations: {', '.join(f'`{op}`' for op in OPS)}. `not:` in front keeps the other events. Or a"
    " segment of users: `did(<event type>, >=2, 30d)`, `not_did(…)`, `first_seen(30d)`, `segment(<name>)`;"
    " with `session_` in front, of sessions.",
    example="meta:plan:eq:pro",
)
ANY = Parameter(
    name="any",
    kind="filter",
    repeatable=True,
    count_max=ANY_MAX,
    chars_max=FILTER_CHARS_MAX + len("10:"),
    description="A condition as in `filter`; events that match at least one of these count. A number in front"
    f" makes groups, of which each must have a match: `any=2:<condition>`, 1 to {GROUPS_MAX}; default 1.",
    example="event_type:eq:purchase&event_type:eq:refund",
)
_SUGAR = (
    Parameter(name="eventType", kind="text", description="Same as `filter=event_type:eq:…`."),
    Parameter(name="sessionId", kind="text", description="Same as `filter=session_id:eq:…`."),
    Parameter(name="userId", kind="text", description="Same as `filter=user_id:eq:…`."),
    Parameter(
        name="itemId",
        kind="text",
        chars_max=ITEM_ID_CHARS_MAX,
        description="Same as `filter=item_id:eq:…`.",
    ),
    Parameter(
        name="metaKey",
        kind="text",
        description="Only events whose metadata has the value `metaValue` under this key. Without `metaValue`"
        " it is ignored.",
    ),
    Parameter(name="metaValue", kind="text", description="The value for `metaKey`; ignored without it."),
)
_SUGAR_FIELDS = {
    "eventType": "event_type",
    "sessionId": "session_id",
    "userId": "user_id",
    "itemId": "item_id",
}
FILTERS = (FILTER, ANY, *_SUGAR)
TZ = Parameter(
    name="tz",
    kind="zone",
    description="IANA time zone, such as `Europe/Berlin`. Times without a zone are in it; days, weeks and"
    " hours are those of its calendar; buckets have its offset. Default: UTC.",
    example="Europe/Berlin",
)
SELECTION = (FROM, TO, TZ, *FILTERS)


def limit_of(what: str, default: int | None = LIMIT_DEFAULT) -> Parameter:
    """The parameter `limit`. Without a `default` it is `query.limit_max`."""
    text = "`query.limit_max`" if default is None else str(default)
    return Parameter(
        name="limit",
        kind="integer",
        default=default,
        description=f"Maximum number of {what}; default {text}. A value below 1 becomes 1, a value above"
        " `query.limit_max` becomes that, with a warning.",
    )


def by_of(default: str) -> Parameter:
    return Parameter(
        name="by",
        kind="choice",
        choices=("user", "session"),
        default=default,
        description="Whether users or sessions are counted. Events without a user count for no user.",
    )


KEY_OF = {"user": "user_key", "session": "session_key"}  # a choice of `by` → its column of `events`


class Arguments:
    """The query string of one request, read by the parameters that its endpoint declares.

    Each method raises `Refused` (400, code "invalid_parameter", with the field's name), and `KeyError` for a
    parameter that is not declared. `warnings` is for the answer.
    """

    def __init__(
        self,
        query: MultiMapping[str],
        config: QueryConfig,
        now_ms: int,
        parameters: tuple[Parameter, ...],
    ) -> None:
        self._query = CIMultiDict(query)  # to the C# engine the names of parameters had no case
        self.config = config
        self._declared = {parameter.name: parameter for parameter in parameters}
        self.now_ms = now_ms
        self.saved: Saved = {}  # segments of the token's project
        self.conditions = Conditions()  # of the whole question, once `filters` has read some
        self.until_ms: int | None = None  # the end that the client gave; it decides whether this is `closed`
        self.warnings = _unknown_names(self._query, self._declared)

    @property
    def closed(self) -> bool:
        """Whether the query is about a past that the client named, so that its answer rarely changes."""
        return self.until_ms is not None and self.until_ms < self.now_ms - CLOSED_AFTER_MS

    def text(self, name: str) -> str | None:
        """The argument as sent, or None if it is absent or blank."""
        declared = self._declared[name]
        values = self._query.getall(name, [])
        if len(values) > 1:
            raise invalid(name, f"{name} is given {len(values)} times", "Give it once.")
        if not values or not values[0].strip():
            if declared.required:
                raise invalid(name, f"{name} is missing", declared.description)
            return None
        return _checked(declared, values[0])

    def texts(self, name: str) -> list[str]:
        """All values of a repeatable parameter in order, without blank ones."""
        declared = self._declared[name]
        found = [_checked(declared, value) for value in self._query.getall(name, []) if value.strip()]
        if declared.count_max is not None and len(found) > declared.count_max:
            least = f"{declared.count_min} to" if declared.count_min else "at most"
            raise invalid(name, f"{name} is given {len(found)} times", f"Give {least} {declared.count_max}.")
        return found

    def choice(self, name: str) -> str:
        """One of the declared choices, exactly as declared; by default the declared default, or ""."""
        declared = self._declared[name]
        text = self.text(name)
        if text is None:
            return "" if declared.default is None else str(declared.default)
        if text not in declared.choices:
            raise invalid(name, f"{name} is {shown(text)}", f"Write one of {', '.join(declared.choices)}.")
        return text

    def field(self, name: str) -> Field | None:
        """One of the declared columns or `meta:<path>`; or the declared default."""
        declared = self._declared[name]
        text = self.text(name)
        if text is None:
            return None if declared.default is None else Field(str(declared.default))
        if text not in declared.choices and not text.startswith(META):
            how = f"Write one of {', '.join(declared.choices)}, or meta:<path>."
            meant = did_you_mean(text, declared.choices)
            raise invalid(name, f"{name} is {shown(text)}", f"{meant}{how}")
        return parse_field(name, text)

    def flag(self, name: str) -> bool:
        return is_true(name, self.text(name) or "")

    def integer(self, name: str) -> int | None:
        """A whole number within the declared bounds; or the declared default."""
        declared = self._declared[name]
        text = self.text(name)
        if text is None:
            return None if declared.default is None else int(declared.default)
        value = _integer(name, text)
        if (declared.minimum is not None and value < declared.minimum) or (
            declared.maximum is not None and value > declared.maximum
        ):
            raise invalid(
                name, f"{name} is {shown(text)}", f"Write {declared.minimum} to {declared.maximum}."
            )
        return value

    def limit(self) -> Limit:
        """From 1 to the configured maximum. Any other number is corrected, with a warning."""
        maximum = self.config.limit_max
        text = self.text("limit")
        if text is None:
            default = self._declared["limit"].default
            return Limit(maximum if default is None else min(int(default), maximum), given=False)
        asked = _integer("limit", text)
        count = max(1, min(asked, maximum))
        if count != asked:
            self.warnings.append(Warn("limit_clamped", f"limit is {shown(text)}; {count} is used", "limit"))
        return Limit(count, given=True)

    def duration_ms(self, name: str) -> int:
        """`90s`, `30m`, `2h`, `7d`; or the declared default. The declared bounds are milliseconds."""
        declared = self._declared[name]
        text = (self.text(name) or str(declared.default)).strip()
        parts = _DURATION.fullmatch(text)
        if parts is None:
            raise invalid(
                name, f"{name} is {shown(text)}, which is not a duration", "Write it like 90s, 30m, 2h or 7d."
            )
        ms = int(parts[1]) * UNIT_MS[parts[2]]
        if ms < (declared.minimum or 0) or (declared.maximum is not None and ms > declared.maximum):
            raise invalid(name, f"{name} is {shown(text)}", declared.description)
        return ms

    def timestamp(self, name: Bound) -> int | None:
        """Milliseconds since 1970 of an ISO 8601 date or time, in `tz` unless it names a zone, or of a time
        relative to now."""
        text = self.text(name)
        if text is None:
            return None
        zone = self.zone()
        return timestamp_ms(name, resolved(text.strip(), name, self.now_ms, zone), name, zone)

    def range_ms(self, begin: Callable[[int], int] | None = None) -> tuple[int, int]:
        """`from` and `to`, both inclusive; by default the configured number of hours up to now.

        With only `to`, in the past, the range is that many hours up to `to`, or up to the end of its day, if
        `to` is a date. `begin` is another default of `from`: it gets the end of the range, up to now.
        """
        zone = self.zone()  # an invalid one is refused, even if it has no effect
        from_ms = self.timestamp("from")
        to_ms = self.timestamp("to")
        from_text, to_text = (self.text(name) or "" for name in ("from", "to"))
        # Without `from`, the range of the same URL moves only if `to` is in the future; or with the clock.
        moves = is_relative(from_text.strip()) or is_relative(to_text.strip())
        self.until_ms = None if moves else to_ms
        if from_ms is None and begin is not None:
            from_ms = max(TIMESTAMP_MS_MIN, begin(self.now_ms if to_ms is None else min(to_ms, self.now_ms)))
        elif from_ms is None:
            end_ms = self.now_ms if to_ms is None else min(to_ms, self.now_ms)
            if to_ms == end_ms and is_date(resolved(to_text.strip(), "to", self.now_ms, zone)):
                end_ms += 1  # so that 24 hours are exactly the day
            from_ms = max(TIMESTAMP_MS_MIN, end_ms - self.config.default_range_hours * _MS_PER_HOUR)
        if to_ms is None:
            to_ms = self.now_ms
        if from_ms > to_ms:
            detail = "Without to, the range ends now." if self.text("to") is None else "Swap the two."
            if from_ms == to_ms + 1:
                # A time that the clocks skip, or less than a millisecond.
                detail += " There is no millisecond between them"
                detail += (
                    "." if zone is None else f", for example because the clocks of {zone} skip this time."
                )
            raise invalid("from", f"from ({iso_utc(from_ms)}) is later than to ({iso_utc(to_ms)})", detail)
        return from_ms, to_ms

    def filters(self, within: Within) -> tuple[Condition, ...]:
        """`filter`, `any`, and the short forms of `filter`. Segments are about `within`."""
        # From a JSON body a value may also be a tree.
        values: list[Any] = self._query.getall("filter", [])
        values = [value for value in values if not isinstance(value, str) or value.strip()]
        if len(values) > FILTERS_MAX:
            raise invalid("filter", f"filter is given {len(values)} times", f"Give at most {FILTERS_MAX}.")
        self.conditions = Conditions(within, self.saved, self.now_ms)
        filters = [self.conditions.of_tree("filter", value) for value in values]
        filters += self.conditions.of_groups("any", self.texts("any"))
        for name, column in _SUGAR_FIELDS.items():
            text = self.text(name)
            if text is not None:
                filters.append(Filter(Field(column), "eq", text))
        meta_key, meta_value = self.text("metaKey"), self.text("metaValue")
        if meta_key is not None and meta_value is not None:
            filters.append(Filter(Field("meta", (meta_key,)), "eq", meta_value))
        elif meta_key is not None or meta_value is not None:
            alone, other = ("metaKey", "metaValue") if meta_key is not None else ("metaValue", "metaKey")
            self.warnings.append(Warn("ignored", f"{alone} has no effect without {other}", alone))
        return tuple(filters)

    def selection(self, begin: Callable[[int], int] | None = None) -> Selection:
        """The range and the filters. `begin` is as of `range_ms`."""
        from_ms, to_ms = self.range_ms(begin)
        filters = self.filters(Within(from_ms, to_ms))
        return Selection(from_ms=from_ms, to_ms=to_ms, filters=filters, zone=self.zone())

    def zone(self, name: str = "tz") -> str | None:
        """A name of the IANA time zone database."""
        text = self.text(name)
        if text is not None and text not in zones():
            raise invalid(
                name,
                f"{name} is {shown(text)}, which is not a time zone",
                "Write an IANA name, such as Europe/Berlin.",
            )
        return text


@cache
def zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _checked(declared: Parameter, value: str) -> str:
    name = declared.name
    if len(value) > declared.chars_max:
        raise invalid(
            name,
            f"{name} has {len(value)} characters, at most {declared.chars_max} are accepted",
            "Longer values are not supported.",
        )
    if not is_text(value):
        raise not_utf8(name)
    return value


def _integer(name: str, text: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise invalid(name, f"{name} is {shown(text)}, which is not an integer", f"Write it like {name}=100.")
    return int(text)


def _unknown_names(query: CIMultiDict[str], declared: Collection[str]) -> list[Warn]:
    known = {name.lower(): name for name in declared}
    unknown = dict.fromkeys(name for name in query if name.lower() not in known)
    warnings = []
    for name in islice(unknown, _UNKNOWN_LISTED_MAX):  # to compare thousands takes a second
        meant = [here for here in _NAMES_ELSEWHERE.get(name.lower(), ()) if here in declared]
        meant += (known[close] for close in difflib.get_close_matches(name.lower()[:64], known, 1))
        hint = f"; did you mean {meant[0]}?" if meant else ""
        warnings.append(Warn("unknown_parameter", f"{shown(name)} is not a parameter and is ignored{hint}"))
    return warnings
