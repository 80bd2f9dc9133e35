"""What every read endpoint means, calculated over a list in plain Python.

    answer("funnel", events, {"step": ["view", "purchase"], "by": "session"}, project_wide=False, now_ms=…)

gives what the endpoint of that name has to answer to that query string, without `projectId`, `tenantId` and
`warnings`. It shares no code with the product and is as slow as it likes: each calculation says what is meant
in the fewest words, so a difference between the two is a question about the meaning, and then about a bug.

`events` are those that the token opens, each once, as `in_time` puts them. The queries are taken to be valid.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from functools import cache
from operator import eq, le
from statistics import median
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

DEFAULT_RANGE_HOURS = 24

Query = dict[str, Any]  # name → its value, or a list of them


class Event(NamedTuple):
    event_id: UUID
    tenant_id: str
    session_id: str
    user_id: str | None
    event_type: str
    item_id: str | None
    metadata: dict[str, Any]
    at: int  # milliseconds since 1970


def clickhouse_order(event_id: UUID) -> tuple[int, int]:
    """ClickHouse compares the second half of a UUID first, both halves as unsigned numbers."""
    return event_id.int & (1 << 64) - 1, event_id.int >> 64


def in_time(events: Iterable[Event]) -> list[Event]:
    """Oldest first; what happened in the same millisecond by its id."""
    return sorted(events, key=lambda event: (event.at, clickhouse_order(event.event_id)))


def who(event: Event, by: str) -> Hashable | None:
    """Whom an event counts for. The sessions and users of two tenants are different, whatever their names."""
    name = event.session_id if by == "session" else event.user_id
    return (event.tenant_id, name) if name else None


def histories(events: Iterable[Event], by: str) -> dict[Hashable, list[Event]]:
    """Each entity's events, in time as `events` are. Those that count for nobody are left out."""
    found: dict[Hashable, list[Event]] = defaultdict(list)
    for event in events:
        entity = who(event, by)
        if entity is not None:
            found[entity].append(event)
    return found


# The question


class Question:
    """A query string, and the events that it is asked about."""

    def __init__(self, events: list[Event], query: Query, project_wide: bool, now_ms: int) -> None:
        self.query = query
        self.project_wide = project_wide
        self.now = now_ms
        self.values: Callable[[list[Event]], Any] | None = None  # of the measures, for events that count
        self.to = ending(query["to"], query.get("tz")) if "to" in query else now_ms
        self.from_ = (self.to + ("to" in query and is_date(query["to"]))) - DEFAULT_RANGE_HOURS * 3_600_000
        if "from" in query:
            self.from_ = instant(query["from"], query.get("tz"))
        # The events that match the filters, of all times.
        filters = self.filters()
        self.matching = [event for event in events if all(matches(event, filter_) for filter_ in filters)]

    def begins_before(self, calendar: "Calendar", intervals: int) -> None:
        """Another default of `from`: so many intervals, with that of the end."""
        if "from" not in self.query:
            start = calendar.start(min(self.to, self.now))
            for _ in range(intervals - 1):
                start = calendar.start(ms(start) - 1)
            self.from_ = ms(start)

    def one(self, name: str, default: Any = None) -> Any:
        return self.query.get(name, default)

    def several(self, name: str) -> list[str]:
        value = self.query.get(name, [])
        return value if isinstance(value, list) else [value]

    def limit(self, default: int) -> int:
        return int(self.one("limit", default))

    def filters(self) -> list[str]:
        sugar = {
            "eventType": "event_type",
            "sessionId": "session_id",
            "userId": "user_id",
            "itemId": "item_id",
        }
        filters = self.several("filter") + [
            f"{field}:eq:{self.query[name]}" for name, field in sugar.items() if name in self.query
        ]
        if "metaKey" in self.query and "metaValue" in self.query:
            filters.append(f"meta:{self.query['metaKey']}:eq:{self.query['metaValue']}")
        return filters

    def within(self, from_ms: int, to_ms: int) -> list[Event]:
        """The matching events of a range, both ends included, oldest first."""
        first = bisect_left(self.matching, from_ms, key=lambda event: event.at)
        return self.matching[first : bisect_right(self.matching, to_ms, key=lambda event: event.at)]

    @property
    def in_range(self) -> list[Event]:
        return self.within(self.from_, self.to)

    def calendar(self, interval: str) -> "Calendar":
        return Calendar(interval, self.one("tz"))

    def marked(self, calendar: "Calendar", start: datetime, from_ms: int | None = None) -> dict[str, bool]:
        """Whether a point is of less than its interval, which the range or the present cuts."""
        end = min(self.to, self.now)
        first = self.from_ if from_ms is None else from_ms
        whole = first <= ms(start) and ms(calendar.next(calendar.start(ms(start)))) <= end + 1
        return {} if whole else {"partial": True}

    def zone_shown(self) -> dict[str, str]:
        return {"tz": self.query["tz"]} if "tz" in self.query else {}

    def range_shown(self) -> dict[str, str]:
        return {"from": iso(self.from_), "to": iso(self.to)}


def instant(text: str, tz: Any = None) -> int:
    """Of a local time that comes twice, the first."""
    return at_clock(datetime.fromisoformat(text), tz, fold=0)


def ending(text: str, tz: Any = None) -> int:
    """What `to` means: a date is all of it, and of a local time that comes twice it is the second."""
    moment = datetime.fromisoformat(text)
    return at_clock(moment + timedelta(days=1, milliseconds=-1) if is_date(text) else moment, tz, fold=1)


def is_date(text: str) -> bool:
    return len(text) == len("2026-06-15")


def at_clock(moment: datetime, tz: Any, fold: int) -> int:
    """When a clock shows a time. One that skips it goes from just before to just after it."""
    if moment.tzinfo is not None:
        return ms(moment)
    zone = ZoneInfo(tz or "UTC")
    found = ms(moment.replace(tzinfo=zone, fold=fold))
    if moment_of(found).astimezone(zone).replace(tzinfo=None) == moment:
        return found
    around = range(found - 26 * 3_600_000, found + 26 * 3_600_000, 60_000)
    after = next(at for at in around if moment_of(at).astimezone(zone).replace(tzinfo=None) > moment)
    return after - fold


def ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def moment_of(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)


def iso(at: int) -> str:
    text = moment_of(at).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{at % 1000:03}".rstrip("0") if at % 1000 else "") + "Z"


# Filters


def value_of(event: Event, field: str) -> str | None:
    """A field's text; None if the event has none."""
    if field.startswith("meta:"):
        return text_of(at_path(event.metadata, keys_of(field.removeprefix("meta:"))))
    return str(event.event_id) if field == "event_id" else getattr(event, field) or None


class Group(NamedTuple):
    """A value that events are grouped by; of users and sessions also the tenant, if there are several.

    A user or session is one of a tenant: the same name in another is somebody else.
    """

    value: str | None
    tenant_id: str | None

    def shown(self, name: str) -> dict[str, str]:
        shown = {name: self.value, "tenantId": self.tenant_id}
        return {key: text for key, text in shown.items() if text is not None}

    @property
    def order(self) -> tuple[bool, str, str]:
        """Those without a value come last."""
        return self.value is None, self.value or "", self.tenant_id or ""


def group_of(event: Event, field: str, project_wide: bool) -> Group:
    value = value_of(event, field)
    several = project_wide and field in ("user_id", "session_id") and value is not None
    return Group(value, event.tenant_id if several else None)


NO_GROUP = Group(None, None)


def at_path(value: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def text_of(value: Any) -> str | None:
    """A metadata value as filters, groups and `top` see it: strings as they are, others as their JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(shortest(value), ensure_ascii=False, separators=(",", ":"))


def shortest(value: Any) -> Any:
    """JSON as JavaScript writes it: there 56.0 is 56."""
    if isinstance(value, list):
        return [shortest(item) for item in value]
    if isinstance(value, dict):
        return {key: shortest(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parts_of(text: str, separator: str) -> list[str]:
    """`text` cut at its separators; a backslash takes the meaning from what follows it."""
    parts = [""]
    for escaped, plain in re.findall(r"\\(.)|(.)", text, re.DOTALL):
        if plain == separator:
            parts.append("")
        else:
            parts[-1] += escaped or plain
    return parts


@cache
def keys_of(path: str) -> tuple[str, ...]:
    return tuple(parts_of(path, "."))


@cache
def listed(text: str) -> frozenset[str]:
    return frozenset(parts_of(text, ","))


def matches(event: Event, text: str) -> bool:
    if text.startswith("not:"):
        return not matches(event, text.removeprefix("not:"))
    field, op, wanted = split_filter(text)
    if field == "timestamp":
        return event.at > instant(wanted) if op == "gt" else event.at < instant(wanted)
    value = value_of(event, field)
    if op == "exists":
        return (value is not None) == (wanted != "false")
    if value is None:
        return op == "ne"
    match op:
        case "eq":
            return value == wanted
        case "ne":
            return value != wanted
        case "in":
            return value in listed(wanted)
        case "contains":
            return wanted in value
        case "starts":
            return value.startswith(wanted)
    raw = at_path(event.metadata, keys_of(field.removeprefix("meta:")))
    try:
        number = float(value)
    except ValueError:
        return False
    if isinstance(raw, bool | list | dict):
        return False
    return number > float(wanted) if op == "gt" else number < float(wanted)


@cache
def split_filter(text: str) -> tuple[str, str, str]:
    field, op, wanted = re.fullmatch(
        r"((?:meta:(?:\\.|[^:\\])*)|[a-z_]+):([a-z]+):?(.*)", text, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    return field, op, wanted


# Buckets


class Calendar:
    """Local minutes, hours, days, weeks (from Monday) or months of a time zone; without one those of UTC."""

    def __init__(self, interval: str, tz: str | None = None) -> None:
        self.interval = interval
        self.named = tz is not None
        self.zone: tzinfo = ZoneInfo(tz) if tz else UTC

    def start(self, at: int) -> datetime:
        """The start of the interval that holds the instant."""
        if self.interval == "minute":
            return moment_of(at).astimezone(self.zone).replace(second=0, microsecond=0)
        # Clocks are set by full quarters of an hour, at full quarters.
        return start_of_quarter(self.interval, self.zone, at // 900_000)

    def next(self, start: datetime) -> datetime:
        if self.interval in ("minute", "hour"):
            width = timedelta(minutes=1 if self.interval == "minute" else 60)
            return (start.astimezone(UTC) + width).astimezone(self.zone)
        # Wall time: the next local midnight, any number of hours later.
        days = {"day": 1, "week": 7, "month": 32}[self.interval]
        later = start + timedelta(days=days)
        return later.replace(day=1) if self.interval == "month" else later

    def all(self, from_ms: int, to_ms: int) -> list[datetime]:
        """The starts of all intervals, from that of the one instant to that of the other."""
        if to_ms < from_ms:
            return []
        starts = [self.start(from_ms)]
        while (following := self.next(starts[-1])).astimezone(UTC) <= moment_of(to_ms):
            starts.append(following)
        return starts

    def shown(self, start: datetime) -> str:
        # By way of UTC: where the clocks skip midnight, the day starts when they do.
        return absolute(start).astimezone(self.zone).isoformat() if self.named else iso(ms(start))


@cache
def start_of_quarter(interval: str, zone: tzinfo, quarter: int) -> datetime:
    """The start of the hour, day, week or month that holds a quarter of an hour."""
    local = moment_of(quarter * 900_000).astimezone(zone)
    if interval == "hour":
        return local.replace(minute=0, second=0, microsecond=0)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if interval == "week":
        midnight -= timedelta(days=midnight.weekday())
    return midnight.replace(day=1) if interval == "month" else midnight


def absolute(start: datetime) -> datetime:
    """An instant that can be compared: local times of two offsets compare by their wall clock."""
    return start.astimezone(UTC)


# The endpoints


def timeline(q: Question) -> dict[str, Any]:
    """Newest first. Only the presence of `nextCursor` is predicted, because its content is opaque."""
    after, before = q.one("after"), q.one("before")
    found = [
        event
        for event in reversed(q.matching)
        if (before is None or event.at < instant(before)) and (after is None or event.at > instant(after))
    ]
    limit = q.limit(100)
    shown = [shown_event(event, q.project_wide) for event in found[:limit]]
    return {"events": shown, **({"nextCursor": ...} if len(found) > limit else {})}


def shown_event(event: Event, project_wide: bool) -> dict[str, Any]:
    shown = {
        "eventId": str(event.event_id),
        "tenantId": event.tenant_id if project_wide else None,
        "sessionId": event.session_id,
        "userId": event.user_id,
        "eventType": event.event_type,
        "itemId": event.item_id,
        "metadataJson": json.dumps(event.metadata),
        "timestamp": iso(event.at),
    }
    return {name: value for name, value in shown.items() if value is not None}


def timeseries(q: Question) -> dict[str, Any]:
    interval, group_by = q.one("interval", "hour"), q.one("groupBy")
    calendar = q.calendar(interval)
    counts = Counter(
        (
            absolute(calendar.start(event.at)),
            group_of(event, group_by, q.project_wide) if group_by else NO_GROUP,
        )
        for event in q.in_range
    )
    if q.one("fill") == "true":
        groups = {group for _, group in counts} if group_by else {NO_GROUP}
        for start in calendar.all(q.from_, min(q.to, q.now)):
            for group in groups:
                counts.setdefault((absolute(start), group), 0)
    points = sorted(counts.items(), key=lambda point: (point[0][0], point[0][1].order))
    points = points[: q.limit(10**9)]
    return {
        "interval": interval,
        **q.zone_shown(),
        **q.range_shown(),
        "totalCount": sum(count for _, count in points),
        "points": [
            {
                "bucket": calendar.shown(start),
                **q.marked(calendar, start),
                **group.shown("series"),
                "count": count,
            }
            for (start, group), count in points
        ],
    }


def sessions(q: Question) -> dict[str, Any]:
    every: list[dict[str, Any]] = [
        {
            **({"tenantId": history[0].tenant_id} if q.project_wide else {}),
            "sessionId": history[0].session_id,
            "firstSeen": history[0].at,
            "lastSeen": history[-1].at,
            "durationSeconds": (history[-1].at - history[0].at) / 1000,
            "eventCount": len(history),
        }
        for history in histories(q.in_range, "session").values()
    ]
    order = q.one("order", "-start")
    column = {"start": "firstSeen", "duration": "durationSeconds", "events": "eventCount"}[order.strip("-")]
    every.sort(key=lambda session: (session["sessionId"], session.get("tenantId", "")))
    every.sort(key=lambda session: session[column], reverse=order.startswith("-"))  # keeps the order of ties
    page = every[: q.limit(100)]
    durations = [session["durationSeconds"] for session in page]
    all_durations = [session["durationSeconds"] for session in every]
    return {
        "uniqueSessionCount": len(page),
        "totalEventCount": sum(session["eventCount"] for session in page),
        "avgDurationSeconds": mean(durations),
        "totals": {
            "sessions": len(every),
            "events": sum(session["eventCount"] for session in every),
            "avgDurationSeconds": mean(all_durations),
            "medianDurationSeconds": median(all_durations or [0.0]),
        },
        "sessions": [
            {**session, "firstSeen": iso(session["firstSeen"]), "lastSeen": iso(session["lastSeen"])}
            for session in page
        ],
    }


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def active(q: Question) -> dict[str, Any]:
    interval, by = q.one("interval", "day"), q.one("by", "user")
    calendar, days = q.calendar(interval), q.calendar("day")

    def actives(events: Iterable[Event], of: Calendar) -> dict[datetime, set[Hashable]]:
        found: dict[datetime, set[Hashable]] = defaultdict(set)
        for event in events:
            found[absolute(of.start(event.at))] |= {who(event, by)} - {None}
        return found

    found = actives(q.in_range, calendar)
    points: list[dict[str, Any]] = []
    if "rolling" in q.query:
        window = int(q.one("rolling"))
        first_day = days.start(q.from_) - timedelta(days=window + 3)
        of_day = actives(q.within(ms(first_day), q.to), days)
        # The days that the calendar has: a date that the clocks skip is the next one's start over again.
        every = sorted({absolute(day) for day in days.all(ms(first_day), q.to)})
        for day in sorted({absolute(day) for day in days.all(q.from_, q.to)}):
            if ms(day) > q.now and not found.get(day):
                continue  # has not come, and nobody's clock is so far ahead
            looked_at = every[: every.index(day) + 1][-window:]
            rolling = len(set[Hashable]().union(*(of_day.get(start, set()) for start in looked_at)))
            count = len(found.get(absolute(day), set()))
            points.append(
                {
                    "bucket": calendar.shown(day),
                    **q.marked(calendar, day),
                    "activeCount": count,
                    "rollingCount": rolling,
                    "stickiness": share(count, rolling),
                }
            )
    else:
        of_day = actives(q.in_range, days) if q.one("stickiness") == "true" else {}
        latest = {absolute(calendar.start(event.at)): event.at for event in q.in_range}
        for start in sorted(found):
            point = {
                "bucket": calendar.shown(start),
                **q.marked(calendar, start),
                "activeCount": len(found[start]),
            }
            if q.one("stickiness") == "true":
                within = [
                    absolute(day)
                    for day in days.all(q.from_, min(q.to, max(q.now, latest[start])))
                    if absolute(calendar.start(ms(day))) == start
                ]
                daily = sum(len(of_day.get(day, set())) for day in within) / len(within)
                point["stickiness"] = share(daily, len(found[start]))
            points.append(point)
    return {
        "interval": interval,
        **q.zone_shown(),
        "by": by,
        "mode": q.one("mode", "exact"),
        **({"rolling": int(q.one("rolling"))} if "rolling" in q.query else {}),
        **q.range_shown(),
        "points": points[: q.limit(10**9)],
    }


def top(q: Question) -> dict[str, Any]:
    dimension = q.one("dimension", "event_type")
    grouped = [
        (group, event)
        for event in q.in_range
        if (group := group_of(event, dimension, q.project_wide)).value is not None
    ]
    counts = Counter(group for group, _ in grouped)
    users: dict[Group, set[Hashable]] = defaultdict(set)
    for group, event in grouped:
        users[group] |= {who(event, "user")} - {None}
    return {
        "dimension": dimension,
        **q.range_shown(),
        "items": [
            {
                **group.shown("key"),
                "count": count,
                "share": count / len(grouped),
                "users": len(users[group]),
            }
            for group, count in most_frequent(counts, q.limit(20))
        ],
    }


def most_frequent(counts: Counter[Any], limit: int) -> list[tuple[Any, int]]:
    """Most frequent first; of equals the smaller key first. Texts compare by code points, as bytes do."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def summary(q: Question) -> dict[str, Any]:
    def of(from_ms: int, to_ms: int) -> dict[str, Any]:
        events = q.within(from_ms, to_ms)
        visits = list(histories(events, "session").values())
        durations = [(visit[-1].at - visit[0].at) / 1000 for visit in visits]
        return {
            "from": iso(from_ms),
            "to": iso(to_ms),
            "events": len(events),
            "sessions": len(visits),
            "users": len({who(event, "user") for event in events} - {None}),
            "eventsPerSession": share(len(events), len(visits)),
            "avgSessionDurationSeconds": mean(durations),
            "medianSessionDurationSeconds": median(durations or [0.0]),
            "bounceShare": share(sum(len(visit) == 1 for visit in visits), len(visits)),
        }

    return {
        "compare": q.one("compare", "previous"),
        **q.zone_shown(),
        **of(q.from_, q.to),
        "previous": of(*compared(q)),
    }


def compared(q: Question) -> tuple[int, int]:
    """The range that the range is compared with."""
    compare, tz = q.one("compare", "previous"), q.one("tz")
    if ".." in compare:
        begin, _, end = compare.partition("..")
        return instant(begin, tz), ending(end, tz)
    zone = ZoneInfo(tz or "UTC")
    first, last = (moment_of(at).astimezone(zone).replace(tzinfo=None) for at in (q.from_, q.to))
    of_days = q.from_ == instant(str(first.date()), tz) and q.to == ending(str(last.date()), tz)
    if compare == "previous":
        if not of_days:
            return 2 * q.from_ - q.to - 1, q.from_ - 1
        days = q.calendar("day")
        count = len({absolute(day) for day in days.all(q.from_, q.to)})
        before = sorted({absolute(day) for day in days.all(q.from_ - (count + 3) * 86_400_000, q.from_ - 1)})
        return ms(before[-count]), q.from_ - 1
    months = 12 if compare == "previous_year" else 1
    midnight = last + timedelta(milliseconds=1)
    if of_days and first.day == midnight.day == 1:
        end = months_before(midnight, months) - timedelta(milliseconds=1)
    else:
        end = months_before(last, months)
    begin_ms, end_ms = at_clock(months_before(first, months), tz, 0), at_clock(end, tz, 1)
    return begin_ms, end_ms if begin_ms <= end_ms else begin_ms + q.to - q.from_


def months_before(moment: datetime, months: int) -> datetime:
    """The same day of an earlier month, or the last that it has."""
    there = moment.replace(day=1)
    for _ in range(months):
        there = (there - timedelta(days=1)).replace(day=1)
    following = (there + timedelta(days=32)).replace(day=1)
    return there.replace(day=min(moment.day, (following - timedelta(days=1)).day))


class Step(NamedTuple):
    event_type: str
    filters: list[str]
    order: str = "sequence"
    excluded: tuple[str, ...] = ()

    def is_met_by(self, event: Event) -> bool:
        return event.event_type == self.event_type and all(matches(event, text) for text in self.filters)


def funnel(q: Question) -> dict[str, Any]:
    steps = steps_of(q)
    window, by, breakdown = q.one("window", "1d"), q.one("by", "user"), q.one("breakdown")
    window_ms = int(window[:-1]) * {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[window[-1]]
    # Of each history the starts and how far each leads.
    each = [sequences(history, steps, window_ms) for history in histories(q.in_range, by).values()]

    def among(is_start: Callable[[Event], bool]) -> list[dict[str, Any]]:
        """The funnel of the sequences that begin with such an event."""
        found = (furthest(chain for start, chain in of_one if is_start(start)) for of_one in each)
        return funnel_steps(steps, [chain for chain in found if chain], q.values)

    answer = {
        "by": by,
        "windowSeconds": window_ms // 1000,
        **q.range_shown(),
        "steps": among(lambda start: True),
    }
    if breakdown is not None:
        chains: dict[Group, list[list[Event]]] = defaultdict(list)
        for of_one in each:
            of_group = defaultdict(list)
            for start, chain in of_one:
                of_group[group_of(start, breakdown, q.project_wide)].append(chain)
            for group, found_of_group in of_group.items():
                chains[group].append(furthest(found_of_group))
        found = [(group, funnel_steps(steps, of, q.values)) for group, of in chains.items()]
        found.sort(key=lambda group: (-group[1][0]["count"], group[0].order))
        answer["breakdown"] = breakdown
        answer["groups"] = [{**group.shown("key"), "steps": of} for group, of in found[: q.limit(20)]]
    if "interval" in q.query:
        calendar = q.calendar(q.query["interval"])
        answer["interval"] = q.query["interval"]
        is_in = le if q.one("cumulative") else eq
        answer["trend"] = [
            {
                "time": calendar.shown(start),
                **q.marked(calendar, start),
                "steps": among(lambda event: is_in(ms(calendar.start(event.at)), ms(start))),  # noqa: B023
            }
            for start in calendar.all(q.from_, q.to)
        ]
        of_interval = [point["steps"] for point in answer["trend"]]
        if q.one("cumulative"):
            for step in (step for of_one in of_interval for step in of_one):
                step.pop("medianSecondsFromPrevious", None)
        if length := int(q.one("average", 0)):
            for number, point in enumerate(answer["trend"], 1):
                counts = [
                    (of_one[-1]["count"], of_one[0]["count"])
                    for of_one in of_interval[max(0, number - length) : number]
                ]
                shares = [Fraction(*count) for count in counts if count[1]]
                if shares:
                    point["average"] = float(sum(shares) / len(shares))
    return answer


def steps_of(q: Question) -> list[Step]:
    event_types = q.several("step")
    orders = ["sequence", *[q.one("order", "sequence")] * (len(event_types) - 1)]
    for text in q.several("stepOrder"):
        number, _, order = text.partition(":")
        orders[int(number) - 1] = order
    excluded: list[list[str]] = [[] for _ in event_types]
    for text in q.several("exclude"):
        number, _, event_type = text.partition(":") if text[0].isdigit() else ("", "", text)
        for place in [int(number) - 1] if number else range(1, len(event_types)):
            excluded[place].append(event_type)
    filters: list[list[str]] = [[] for _ in event_types]
    for text in q.several("stepFilter"):
        number, _, filter_ = text.partition(":")
        filters[int(number) - 1].append(filter_)
    return [
        Step(event_type, filters[n], orders[n], tuple(excluded[n]))
        for n, event_type in enumerate(event_types)
    ]


def blocks_of(steps: list[Step]) -> list[list[Step]]:
    """The steps in order, those of any order together."""
    blocks: list[list[Step]] = []
    for step in steps:
        if step.order == "any":
            blocks[-1].append(step)
        else:
            blocks.append([step])
    return blocks


def sequences(history: list[Event], steps: list[Step], window_ms: int) -> list[tuple[Event, list[Event]]]:
    """Each start and its sequence. Starts of the same millisecond are in the order of the steps."""
    firsts = blocks_of(steps)[0]
    starts = [event for step in firsts for event in history if step.is_met_by(event)]
    starts.sort(key=lambda event: event.at)
    return [(start, events_from(start, history, steps, window_ms)) for start in starts]


def furthest(found: Iterable[list[Event]]) -> list[Event]:
    """The sequence that reaches furthest, and of those the earliest; empty without one."""
    return max(found, key=len, default=[])  # `max` gives the first of equals


def events_from(start: Event, history: list[Event], steps: list[Step], window_ms: int) -> list[Event]:
    """From one start, each step as early as it can be, and all within the window."""
    first, *blocks = blocks_of(steps)
    taken = [start]
    others = [step for step in first if step.event_type != start.event_type]
    if len(first) > 1:
        found = earliest_of_each(others, history, start.at)
        taken += found
        if len(found) < len(others):
            blocks = []
    for block in blocks:
        last = max(event.at for event in taken)
        if len(block) > 1:
            found = earliest_of_each(block, history, last)
        else:
            used = [event.at for event in taken if event.event_type == block[0].event_type]
            found = [event for event in [next_event(block[0], history, last, used)] if event]
        taken += found
        if len(found) < len(block):
            break
    return sorted((event for event in taken if event.at <= start.at + window_ms), key=lambda event: event.at)


def earliest_of_each(block: list[Step], history: list[Event], since: int) -> list[Event]:
    found = (
        next((event for event in history if event.at >= since and step.is_met_by(event)), None)
        for step in block
    )
    return [event for event in found if event]


def next_event(step: Step, history: list[Event], last: int, used: list[int]) -> Event | None:
    """Not earlier than the step before, later than what an earlier step of the same event type has used, and
    without an event between the two that must not be there."""
    events = [
        event
        for event in history
        if step.is_met_by(event) and event.at >= last and all(event.at > at for at in used)
    ]
    if not events:
        return None
    between = [event for event in history if last < event.at < events[0].at]
    if step.order == "strict" and between:
        return None
    return None if any(event.event_type in step.excluded for event in between) else events[0]


def funnel_steps(
    steps: list[Step], chains: list[list[Event]], values: Callable[[list[Event]], Any] | None
) -> list[dict[str, Any]]:
    shown = []
    count = [sum(len(chain) > k for chain in chains) for k in range(len(steps))]
    for k, step in enumerate(steps):
        point: dict[str, Any] = {
            "step": k + 1,
            "eventType": step.event_type,
            "count": count[k],
            "conversion": share(count[k], count[0]),
            "conversionFromPrevious": share(count[k], count[max(k - 1, 0)]),
        }
        if k and count[k]:
            taken = [chain[k].at - chain[k - 1].at for chain in chains if len(chain) > k]
            point["medianSecondsFromPrevious"] = median(taken) / 1000
        if values is not None:
            point["values"] = values([chain[k] for chain in chains if len(chain) > k])
        shown.append(point)
    return shown


def retention(q: Question) -> dict[str, Any]:
    interval, by = q.one("interval", "week"), q.one("by", "user")
    cohort_event, return_event = q.one("cohortEvent"), q.one("returnEvent")
    calendar = q.calendar(interval)
    q.begins_before(calendar, 8)
    periods = int(q.one("periods", 11))
    shown = [absolute(start) for start in calendar.all(q.from_, q.to)]
    begun = sum(ms(start) <= q.now for start in shown)
    returns = q.one("returns", "on")
    until = max(q.to, q.now) if returns == "unbounded" else q.to
    size: Counter[datetime] = Counter()
    returned: Counter[tuple[datetime, int]] = Counter()
    for history in histories((event for event in q.matching if event.at <= until), by).values():
        first = next((e for e in history if cohort_event in (None, e.event_type) and e.at <= q.to), None)
        if first is None or absolute(calendar.start(first.at)) not in shown:
            continue
        cohort = absolute(calendar.start(first.at))
        size[cohort] += 1
        came = {
            len(shown) if event.at > q.to else shown.index(absolute(calendar.start(event.at)))
            for event in history
            if return_event in (None, event.event_type) and event.at >= first.at
        }
        for number in came if returns == "on" else range(shown.index(cohort), max(came, default=-1) + 1):
            returned[cohort, number - shown.index(cohort)] += 1

    def last_period(cohort: datetime) -> int:
        """Up to now, or until somebody came whose clock is ahead."""
        came = [n for of, n in returned if of == cohort and returned[of, n]]
        return max(begun - 1 - shown.index(cohort), *came, 0)

    return {
        "interval": interval,
        **q.zone_shown(),
        "by": by,
        **({"cohortEvent": cohort_event} if cohort_event else {}),
        **({"returnEvent": return_event} if return_event else {}),
        **({"returns": returns} if returns != "on" else {}),
        **q.range_shown(),
        "cohorts": [
            {
                "cohort": calendar.shown(cohort),
                "size": size[cohort],
                "periods": [
                    {
                        "period": n,
                        **q.marked(calendar, start, ms(shown[0])),
                        "count": returned[cohort, n],
                        "share": returned[cohort, n] / size[cohort],
                    }
                    for n, start in enumerate(shown[shown.index(cohort) :][: periods + 1])
                    if n <= last_period(cohort)
                ],
            }
            for cohort in sorted(size)
        ],
    }


def paths(q: Question) -> dict[str, Any]:
    start, by, depth = q.one("event"), q.one("by", "session"), int(q.one("depth", 3))
    direction = q.one("direction", "next")
    starts = 0
    counts: Counter[tuple[str, ...]] = Counter()
    for history in histories(q.in_range, by).values():
        types = [event.event_type for event in history]
        for i, event_type in enumerate(types):
            if event_type != start:
                continue
            starts += 1
            path = types[i + 1 : i + 1 + depth] if direction == "next" else types[:i][::-1][:depth]
            counts.update(tuple(path[:length]) for length in range(1, len(path) + 1))
    shown = []
    for length in range(1, depth + 1):
        of_length = Counter({path: count for path, count in counts.items() if len(path) == length})
        shown += most_frequent(of_length, q.limit(50))
    return {
        "event": start,
        "direction": direction,
        "depth": depth,
        "by": by,
        **q.range_shown(),
        "starts": starts,
        "paths": [{"events": list(path), "count": count, "share": count / starts} for path, count in shown],
    }


def heatmap(q: Question) -> dict[str, Any]:
    zone = ZoneInfo(q.one("tz") or "UTC")
    q.begins_before(q.calendar("day"), 28)
    cells: dict[tuple[int, int], list[Event]] = {
        (weekday, hour): [] for weekday in range(1, 8) for hour in range(24)
    }
    for event in q.in_range:
        shown = moment_of(event.at).astimezone(zone)
        cells[shown.isoweekday(), shown.hour].append(event)
    return {
        **q.zone_shown(),
        **q.range_shown(),
        "totalCount": len(q.in_range),
        "cells": [
            {
                "weekday": weekday,
                "hour": hour,
                "count": len(events),
                "users": len({who(event, "user") for event in events} - {None}),
            }
            for (weekday, hour), events in cells.items()
        ],
    }


def properties(q: Question) -> dict[str, Any]:
    under, only = q.one("under", ""), q.one("key")
    texts: dict[str, Counter[str]] = defaultdict(Counter)
    for event in q.in_range:
        if only is not None:
            path = only.removeprefix("meta:")
            found = {path: at_path(event.metadata, keys_of(path))}
        else:
            inside = at_path(event.metadata, keys_of(under)) if under else event.metadata
            prefix = f"{under}." if under else ""
            names = inside if isinstance(inside, dict) else {}
            found = {prefix + re.sub(r"([.:\\])", r"\\\1", name): value for name, value in names.items()}
        for path, value in found.items():
            text = text_of(value)
            if text is not None:
                texts[f"meta:{path}"][text] += 1
    keys = most_frequent(Counter({key: counts.total() for key, counts in texts.items()}), q.limit(20))
    return {
        **q.range_shown(),
        "keys": [
            {
                "key": key,
                "events": events,
                "distinctValues": len(texts[key]),
                "values": [
                    {"value": value, "count": count, "share": count / events}
                    for value, count in most_frequent(texts[key], int(q.one("values", 10)))
                ],
            }
            for key, events in keys
        ],
    }


def export(events: Iterable[Event], query: Query) -> list[dict[str, Any]]:
    """Every event of the range, oldest first, each with the tenant it is of."""
    return [shown_event(event, True) for event in Question(list(events), query, True, 0).in_range]


ENDPOINTS: dict[str, Callable[[Question], dict[str, Any]]] = {
    calculation.__name__: calculation
    for calculation in (
        timeline,
        timeseries,
        sessions,
        active,
        top,
        summary,
        funnel,
        retention,
        paths,
        heatmap,
        properties,
    )
}


def answer(
    name: str,
    events: Iterable[Event],
    query: Query,
    *,
    project_wide: bool,
    now_ms: int,
    values: Callable[[list[Event]], Any] | None = None,
) -> dict[str, Any]:
    question = Question(list(events), query, project_wide, now_ms)
    question.values = values
    return ENDPOINTS[name](question)
