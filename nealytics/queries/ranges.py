"""Buckets of time: the minutes, hours, days, weeks and months that a range is cut into, in any time zone.

A bucket is known by the instant at which it starts, in milliseconds since 1970.

    day, week, month    all instants at which the local calendar shows one of its dates; weeks are Monday to
                        Sunday. It starts when the calendar first does: at midnight, or where the clocks skip
                        midnight, when they do. A date that the clocks skip altogether is no bucket.
    minute, hour        starts at the local clock's full minute or hour, and whenever the offset to UTC
                        changes. So the hour that the clocks show twice in autumn is two buckets.

What the clocks show is taken from Python's time zone database alone: a query carries the instants within its
range at which the offset changes, and computes with them. ClickHouse has a database of its own, which may be
another version, and functions that differ from the above where midnight is skipped or an offset is no full
hour. It costs about as much as `toStartOfDay`: 10 million rows took 0.11 to 0.21 s, with `toStartOfDay` 0.13.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec

from nealytics.errors import Refused
from nealytics.queries.filters import Bind
from nealytics.queries.instants import iso_utc
from nealytics.queries.invalid import invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

DAY_MS = 86_400_000
_WIDTH_MS = {"minute": 60_000, "hour": 3_600_000, "day": DAY_MS, "week": 7 * DAY_MS}
_OF_THE_CLOCK = frozenset({"minute", "hour"})

# The Monday from which days and weeks are counted. Every event is later, so divisions round down everywhere.
_MONDAY_MS = (datetime(1899, 1, 2, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_ALWAYS_MS = -(10**13)  # 1653: before every event

# A bucket that `from` cuts starts before it, a month at most.
_LOOK_BACK_MS = 33 * DAY_MS

EVENT_MS = "toUnixTimestamp64Milli(timestamp)"


def starts(interval: str, from_ms: int, to_ms: int, zone: str | None = None) -> list[int]:
    """The start of every bucket that holds an instant of the range, ascending. The first may lie before
    `from_ms`."""
    return list(each_start(interval, from_ms, to_ms, zone))


def each_start(interval: str, from_ms: int, to_ms: int, zone: str | None = None) -> Iterator[int]:
    """`starts`, one after the other: a long range has more minutes than anybody wants."""
    clocks = clocks_of(zone, from_ms, to_ms)
    if interval in _OF_THE_CLOCK:
        return _starts_of_the_clock(clocks, _WIDTH_MS[interval], from_ms, to_ms)
    return _starts_of_the_calendar(clocks, interval, from_ms, to_ms)


def starts_at_most(
    maximum: int, name: str, interval: str, from_ms: int, to_ms: int, zone: str | None = None
) -> tuple[int, ...]:
    """`starts`, each of which is to become a point. Raises `Refused` in the name of `name` for too many."""
    found = tuple(islice(each_start(interval, from_ms, to_ms, zone), maximum + 1))
    if len(found) > maximum:
        raise too_many_points(name, maximum)
    return found


def too_many_points(name: str, maximum: int) -> Refused:
    return invalid(
        name,
        f"with {name} the answer has more than {maximum} points",
        f"Narrow the time range, choose a larger interval, add a filter, or leave out {name}.",
    )


def bucket_ms(
    interval: str, zone: str | None, bind: Bind, from_ms: int, to_ms: int, *, of: str = EVENT_MS
) -> str:
    """SQL for the start of the bucket that an event lies in, or the instant `of` (milliseconds, in SQL).

    It is right for instants within the range that is given, and need not be outside of it.
    """
    clocks = clocks_of(zone, from_ms, to_ms)
    floor = _floor_sql(interval, _local_sql(clocks, bind, of))
    if len(clocks.since) == 1:
        return f"{floor} - {bind(clocks.offset[0])}" if clocks.offset[0] else floor
    since = bind(clocks.since)
    if interval in _OF_THE_CLOCK:
        offset = _looked_up(of, since, bind(clocks.offset))
        return f"greatest({floor} - {offset}, roundDown({of}, {since}))"
    shown_since = bind(clocks.shown_since)
    offset = _looked_up(floor, shown_since, bind(clocks.offset))
    return f"greatest({floor} - {offset}, {_looked_up(floor, shown_since, since)})"


def day_number(zone: str | None, bind: Bind, from_ms: int, to_ms: int) -> str:
    """SQL for the local date of an event as a number: that of the next date is greater by one."""
    return f"intDiv({_since_monday(_local_sql(clocks_of(zone, from_ms, to_ms), bind, EVENT_MS))}, {DAY_MS})"


def number_of_day(start_ms: int, zone: str | None) -> int:
    """What `day_number` gives for the events of the day that starts at `start_ms`."""
    return (clocks_of(zone, start_ms, start_ms).shown(start_ms) - _MONDAY_MS) // DAY_MS


def start_of_day(number: int, zone: str | None) -> int:
    """The start of the day that `day_number` numbers; of a date that is skipped, when it is."""
    local_ms = number * DAY_MS + _MONDAY_MS
    return clocks_of(zone, local_ms - DAY_MS, local_ms + DAY_MS).first_shown(local_ms)


def bucket_text(ms: int, zone: str | None) -> str:
    """`2024-03-31T00:00:00+02:00`; without a zone as every instant, `2024-03-30T22:00:00Z`."""
    if zone is None:
        return iso_utc(ms)
    return (_EPOCH + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone)).isoformat()


# What clocks show


class Clocks(msgspec.Struct, frozen=True):
    """The offsets of a zone to UTC: `offset[k]` holds from the instant `since[k]` up to the next.

    What a clock shows ("local") is written as the instant at which a clock in UTC shows the same.
    """

    since: tuple[int, ...]
    offset: tuple[int, ...]

    @property
    def shown_since(self) -> tuple[int, ...]:
        """From which local time on `offset[k]` is the first that shows it, or skips it."""
        changes = zip(self.since[1:], self.offset, strict=False)  # each with the offset that it ends
        return (_ALWAYS_MS, *(since + offset for since, offset in changes))

    def shown(self, ms: int) -> int:
        return ms + self.offset[bisect_right(self.since, ms) - 1]

    def first_shown(self, local_ms: int) -> int:
        """The first instant at which clocks show `local_ms`; if they skip it, when they do."""
        k = bisect_right(self.shown_since, local_ms) - 1
        return max(local_ms - self.offset[k], self.since[k])


def clocks_of(zone: str | None, from_ms: int, to_ms: int) -> Clocks:
    """The clocks that show the times of a range, and of the buckets that it cuts."""
    if zone is None:
        return Clocks((_ALWAYS_MS,), (0,))
    from_ms -= _LOOK_BACK_MS
    changes = [
        change
        for decade in range(_year_of(from_ms) // 10, _year_of(to_ms) // 10 + 1)
        for change in _changes(zone, decade)
        if from_ms < change[0] <= to_ms
    ]
    return Clocks(
        (_ALWAYS_MS, *(since for since, _ in changes)),
        (_offset_ms(ZoneInfo(zone), from_ms), *(offset for _, offset in changes)),
    )


# 600 zones, 40 decades: who asks for all of them makes a worker look for the changes once (0.1 s a zone, in
# which it does nothing else) and remember them in some 20 MB.
@lru_cache(maxsize=24_000)
def _changes(zone: str, decade: int) -> tuple[tuple[int, int], ...]:
    """The instants of ten years (in UTC) at which the offset changes, each with the offset from then on."""
    clock = ZoneInfo(zone)
    changes = []
    ms, end_ms = _start_of_year(10 * decade) - 1, _start_of_year(10 * decade + 10) - 1
    offset = _offset_ms(clock, ms)
    # No zone changes twice within one step: 95 hours (Freetown, 1939) are the least in the database, and from
    # 1965 on a week (Boa Vista, 2000).
    step_ms = 6 * DAY_MS if decade >= 197 else 2 * DAY_MS
    while ms < end_ms:
        next_ms = min(ms + step_ms, end_ms)
        next_offset = _offset_ms(clock, next_ms)
        if next_offset != offset:
            changes.append((_instant_of_change(clock, ms, next_ms), next_offset))
        ms, offset = next_ms, next_offset
    return tuple(changes)


def _instant_of_change(clock: ZoneInfo, before_ms: int, after_ms: int) -> int:
    offset = _offset_ms(clock, after_ms)
    while after_ms - before_ms > 1:
        middle_ms = (before_ms + after_ms) // 2
        if _offset_ms(clock, middle_ms) == offset:
            after_ms = middle_ms
        else:
            before_ms = middle_ms
    return after_ms


def _offset_ms(clock: ZoneInfo, ms: int) -> int:
    offset = (_EPOCH + timedelta(milliseconds=ms)).astimezone(clock).utcoffset()
    assert offset is not None
    return offset // _MILLISECOND


def _year_of(ms: int) -> int:
    return (_EPOCH + timedelta(milliseconds=ms)).year


def _start_of_year(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND


# Rounding down: once in Python, once in SQL


def _starts_of_the_clock(clocks: Clocks, width_ms: int, from_ms: int, to_ms: int) -> Iterator[int]:
    ends = (*clocks.since[1:], to_ms + 1)
    for since, offset, end in zip(clocks.since, clocks.offset, ends, strict=True):
        first, last = max(since, from_ms), min(end - 1, to_ms)
        if first <= last:
            start = (first + offset) // width_ms * width_ms - offset
            yield max(start, since)
            yield from range(start + width_ms, last + 1, width_ms)


def _starts_of_the_calendar(clocks: Clocks, interval: str, from_ms: int, to_ms: int) -> Iterator[int]:
    # Clocks that are set back across midnight show a date again, so the range may reach beyond what they
    # show at its ends.
    shown = [clocks.shown(from_ms), clocks.shown(to_ms)]
    for since in clocks.since[1:]:
        if from_ms < since <= to_ms:
            shown += [clocks.shown(since - 1), clocks.shown(since)]
    local_ms, last_ms = _floor(interval, min(shown)), max(shown)
    while local_ms <= last_ms:
        next_ms = _next(interval, local_ms)
        start = clocks.first_shown(local_ms)
        if start < clocks.first_shown(next_ms):
            yield start
        local_ms = next_ms


def _floor(interval: str, local_ms: int) -> int:
    width_ms = _WIDTH_MS.get(interval, DAY_MS)
    floor = (local_ms - _MONDAY_MS) // width_ms * width_ms + _MONDAY_MS
    if interval == "month":
        floor -= ((_EPOCH + timedelta(milliseconds=local_ms)).day - 1) * DAY_MS
    return floor


def _next(interval: str, floor_ms: int) -> int:
    if interval == "month":
        return _floor("month", floor_ms + 31 * DAY_MS)
    return floor_ms + _WIDTH_MS[interval]


def _floor_sql(interval: str, local_ms: str) -> str:
    width_ms = _WIDTH_MS[interval] if interval != "month" else DAY_MS
    floor = f"(intDiv({_since_monday(local_ms)}, {width_ms}) * {width_ms} - {-_MONDAY_MS})"
    if interval != "month":
        return floor
    return f"({floor} - (toDayOfMonth(fromUnixTimestamp64Milli({local_ms}, 'UTC')) - 1) * {DAY_MS})"


def _since_monday(local_ms: str) -> str:
    return f"{local_ms} + {-_MONDAY_MS}"


def _local_sql(clocks: Clocks, bind: Bind, ms: str) -> str:
    """What a clock shows at the instant `ms`."""
    if len(clocks.since) == 1:
        return f"({ms} + {bind(clocks.offset[0])})" if clocks.offset[0] else ms
    return f"({ms} + {_looked_up(ms, bind(clocks.since), bind(clocks.offset))})"


def _looked_up(value: str, keys: str, values: str) -> str:
    """Of the ascending `keys` the greatest that is not above `value`, and what stands in `values` for it."""
    return f"transform(roundDown({value}, {keys}), {keys}, {values}, toInt64(0))"
