"""Segments: conditions on what an event's user or session did, or when it was first seen.

    segment = [who] did(<event type>[, <count>][, <time>])        did it that often within the time
            | [who] not_did(<event type>[, <count>][, <time>])    did not
            | [who] first_seen([<event type>][, <time>])          its first event, or the first of a type,
                                                                  is within the time
            | segment(<name>)                                     a saved one, see `Saved`
    who     = session_                     the event's session; without it, its user
    count   = >=2 | >2 | =2 | <=2 | <2     without it >=1; none at all is also less than 2
    time    = 90s | 30m | 12h | 30d        up to the end of the range; without it, the range

A filter in brackets after `)` limits the events that count: `did(purchase, 30d)[meta:plan:eq:pro]`. In an
event type, `\\` stands before `,`, `)` and `\\`, and makes text of what would be a count or a time, also of
`payment >= 2`: without it, a comma is missing there.

All of the token's events within the time decide: neither the other filters of the question nor its route
limit them. The SQL selects from `events` like every other, so erased events, other tenants and what the
token's own filters hide do not count. An event without a user matches no segment of users.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from nealytics.config import SegmentRule
from nealytics.queries.filters import Bind, Condition, sql_time
from nealytics.queries.invalid import invalid, shown

DAY_MS: Final = 86_400_000
# The events of a year, for each segment; `first_seen` looks at all earlier ones besides.
TIME_MS_MAX: Final = 366 * DAY_MS
# A live stream evaluates its filters every second.
LIVE_TIME_MS_MAX: Final = 7 * DAY_MS
COUNT_MAX: Final = 1_000_000

UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
KINDS: Final = ("did", "not_did", "first_seen")
SESSION: Final = "session_"
SAVED: Final = "segment"

_KEYS = {"": "user_key", SESSION: "session_key"}
_SYNTAX = re.compile(
    rf"(?P<who>{SESSION})?(?P<kind>{'|'.join(KINDS)}|{SAVED})\((?P<of>(?:\\.|[^)\\])*)\)"
    r"(?:\[(?P<condition>.*)\])?",
    re.DOTALL,
)
_IS_SEGMENT = re.compile(rf"(?:{SESSION})?(?:{'|'.join(KINDS)}|{SAVED})\(")
_PART = re.compile(r"(?:\\.|[^,\\])*", re.DOTALL)
_COUNT = re.compile(r"(>=|<=|=|>|<)\s*(0|[1-9][0-9]{0,6})")
_NO_COMMA = re.compile(
    r"(?P<of>[^\\<>=]*[^\\<>=\s])\s*(?P<sign>[<>=]+)\s*(?P<number>[0-9]+)\s*(?P<rest>.*)", re.DOTALL
)
_TIME = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_HOW = (
    "Write did(<event type>, >=2, 30d), not_did(<event type>, 30d), first_seen(30d), one of these after"
    " session_, or segment(<name>)."
)


Saved = Mapping[str, SegmentRule]  # the saved segments of one project, by name


class SavedSegments:
    """Those of all projects. A reload replaces them."""

    def __init__(self, rules: Sequence[SegmentRule]) -> None:
        self.replace(rules)

    def replace(self, rules: Sequence[SegmentRule]) -> None:
        self._of_project: dict[str, dict[str, SegmentRule]] = {}
        for rule in rules:
            self._of_project.setdefault(rule.project, {})[rule.name] = rule

    def of(self, project_id: str) -> Saved:
        return self._of_project.get(project_id, {})


class Within(NamedTuple):
    """The times that a question is about. None of both: a stream, whose end is always now."""

    from_ms: int | None = None
    to_ms: int | None = None


class Segment(Condition, frozen=True, kw_only=True):
    """The events whose user or session is among its members, or (`inside` is false) is another one.

    Without `until_ms`, the time ends when the query runs. Such a query runs without `final`.
    """

    key: str
    inside: bool = True
    event_type: str | None = None
    condition: Condition | None = None
    compare: str | None = None  # with `count`; None for those whose first event is in the time
    count: int = 1
    since_ms: int = 0
    until_ms: int | None = None
    time_ms: int = 0

    def sql(self, bind: Bind) -> str:
        # An index on the column must not select what `final` reads, see `filters.where`.
        among = f"identity({self.key}) {'IN' if self.inside else 'NOT IN'} ({self._members(bind)})"
        return f"({self.key} IS NOT NULL AND {among})"

    def _members(self, bind: Bind) -> str:
        conditions = [] if self.event_type is None else [f"event_type = {bind(self.event_type)}"]
        if self.condition is not None:
            conditions.append(self.condition.sql(bind))
        if self.until_ms is None:
            return self._members_now(conditions, bind)
        conditions += [f"timestamp <= {sql_time(self.until_ms, bind)}", f"{self.key} IS NOT NULL"]
        since = f"timestamp >= {sql_time(self.since_ms, bind)}"
        if self.compare is None:
            having = f"min({since})"  # of all its events
        else:
            having = f"count() {self.compare} {bind(self.count)}"
            conditions.append(since)
        selected = f"SELECT {self.key} FROM events WHERE {' AND '.join(conditions)}"
        return f"{selected} GROUP BY {self.key} HAVING {having}"

    def _members_now(self, conditions: list[str], bind: Bind) -> str:
        """Of each event only the last copy, as `final` chooses it."""
        matching = " AND ".join(conditions) or "1"
        copies = (
            f"SELECT argMax(tuple({self.key}, {matching}), inserted_at) AS newest FROM events"
            f" WHERE timestamp > now64(3, 'UTC') - toIntervalMillisecond({bind(self.time_ms)})"
            " AND timestamp <= now64(3, 'UTC') GROUP BY tenant_id, event_type, timestamp, event_id"
        )
        return (
            f"SELECT newest.1 AS member FROM ({copies}) WHERE newest.2 AND member IS NOT NULL"
            f" GROUP BY member HAVING count() {self.compare} {bind(self.count)}"
        )


def is_segment(text: str) -> bool:
    return _IS_SEGMENT.match(text) is not None


def parse_segment(
    name: str,
    text: str,
    within: Within,
    now_ms: int,
    condition_of: Callable[[str], Condition],
    saved_of: Callable[[str], Condition],
) -> Condition:
    """`condition_of` reads the filter in brackets, `saved_of` finds a saved segment by its name. Raises
    `Refused` (400) for the field `name`."""
    parts = _SYNTAX.fullmatch(text)
    if parts is None:
        raise invalid(name, f"{name} is {shown(text)}", _HOW)
    who, kind, condition = parts["who"] or "", parts["kind"], parts["condition"]
    if kind == SAVED:
        if who or condition is not None or not parts["of"]:
            raise invalid(name, f"{name} is {shown(text)}", _HOW)
        return saved_of(_plain(parts["of"]))
    event_type, count, time_ms = _arguments(name, text, parts["of"])
    if kind == "first_seen" and count is not None:
        raise invalid(name, f"{name} is {shown(text)}, and first_seen has no count", _HOW)
    if kind != "first_seen" and event_type is None:
        raise invalid(name, f"{name} is {shown(text)}, and {kind} needs an event type", _HOW)
    since_ms, until_ms, time_ms = _time(name, text, time_ms, within, now_ms)
    if until_ms is None and kind == "first_seen":
        raise invalid(
            name,
            f"{name} is {shown(text)}, and a live stream has no first_seen",
            "It would read all events every second. Use did or not_did.",
        )
    if kind != "first_seen":
        _refuse_without_comma(name, parts)
    compare, inside, number = _compared(name, text, count) if kind != "first_seen" else (None, True, 1)
    return Segment(
        key=_KEYS[who],
        inside=inside != (kind == "not_did"),
        event_type=event_type,
        condition=None if condition is None else condition_of(condition),
        compare=compare,
        count=number,
        since_ms=since_ms,
        until_ms=until_ms,
        time_ms=time_ms,
    )


def _arguments(name: str, text: str, of: str) -> tuple[str | None, tuple[str, int] | None, int | None]:
    """The event type, the count and the time in milliseconds, each None if it is not given."""
    event_type, count, time_ms = None, None, None
    parts = _parts(of)
    for place, part in enumerate(parts):
        if (counted := _COUNT.fullmatch(part)) and count is None and place:
            count = counted[1], int(counted[2])
        elif (timed := _TIME.fullmatch(part)) and time_ms is None:
            time_ms = int(timed[1]) * UNIT_MS[timed[2]]
        elif part and not place:
            event_type = _plain(part)
        elif part or len(parts) > 1:
            raise invalid(name, f"{name} is {shown(text)}: {shown(part)} is neither a count nor a time", _HOW)
    return event_type, count, time_ms


def _refuse_without_comma(name: str, parts: re.Match[str]) -> None:
    """`did(payment >= 2)` would be an event type that nobody has."""
    first, *more = _parts(parts["of"])
    found = _NO_COMMA.fullmatch(first)
    if found is None:
        return
    written = found["sign"]
    sign = {"==": "=", "=>": ">=", "=<": "<="}.get(written, written)
    arguments = [found["of"], f"{sign}{found['number']}", *filter(None, [found["rest"]]), *more]
    raise invalid(
        name,
        f"{name} is {shown(parts.string)}: a comma is missing after the event type",
        f"Write {parts['who'] or ''}{parts['kind']}({', '.join(arguments)})."
        f" If {written} is part of the event type, write \\ before it.",
    )


def _time(
    name: str, text: str, time_ms: int | None, within: Within, now_ms: int
) -> tuple[int, int | None, int]:
    """The first and the last millisecond, and how many there are. None is the moment of the query."""
    from_ms, until_ms = within
    most_ms = LIVE_TIME_MS_MAX if until_ms is None else TIME_MS_MAX
    since_ms = 0
    if time_ms is None:
        if from_ms is None or until_ms is None:
            raise invalid(
                name,
                f"{name} is {shown(text)}, and this route has no range",
                "Add the time, such as did(purchase, 7d).",
            )
        since_ms, time_ms = from_ms, until_ms - from_ms + 1
    elif until_ms is not None:
        until_ms = min(until_ms, now_ms)
        since_ms = until_ms - time_ms + 1
    if not 0 < time_ms <= most_ms:
        raise invalid(
            name,
            f"{name} is {shown(text)}, a segment over {time_ms / DAY_MS:.4g} days",
            f"Write a time from 1s to {most_ms // DAY_MS}d, such as did(purchase, 7d)"
            + ("." if until_ms is None else ", or narrow the range if it has none."),
        )
    return since_ms, until_ms, time_ms


def _compared(name: str, text: str, count: tuple[str, int] | None) -> tuple[str, bool, int]:
    """How to compare the counts of those who did it at all, and whether these are the members or the others:
    someone without any event did it less than once."""
    compare, number = count or (">=", 1)
    if number > COUNT_MAX or (compare, number) in ((">=", 0), ("<", 0)):
        raise invalid(
            name,
            f"{name} counts {compare}{number}",
            f"Write a count that some reach and some do not, up to {COUNT_MAX}, such as >=2.",
        )
    if compare in ("<", "<="):
        return {"<": ">=", "<=": ">"}[compare], False, number
    return (">", False, 0) if (compare, number) == ("=", 0) else (compare, True, number)


def _parts(text: str) -> list[str]:
    """The texts between unescaped commas, with their escapes and without the spaces around them."""
    parts, at = [], 0
    while at <= len(text):
        found = _PART.match(text, at)
        assert found is not None, "it matches the empty text"
        part = found.group().strip()
        # An escaped space at the end belongs to the text.
        parts.append(part + " " if re.fullmatch(r"(?:\\.|[^\\])*\\", part, re.DOTALL) else part)
        at = found.end() + 1
    return parts


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
