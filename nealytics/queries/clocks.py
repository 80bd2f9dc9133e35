"""What clocks show in a time zone, from Python's time zone database.

A local time is in milliseconds since 1970, as if the clock that shows it were in UTC.
"""

import calendar
from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec

from nealytics.timestamps import DAY_MS

Day = TypeVar("Day", bound=date)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ALWAYS_MS = -(10**14)  # 400 years before 1900, so before all events

# A bucket that `from` cuts starts at most a month before it.
_LOOK_BACK_MS = 33 * DAY_MS


class Clocks(msgspec.Struct, frozen=True):
    """The offsets of a zone to UTC: `offset[k]` is valid from `since[k]` up to the next change."""

    since: tuple[int, ...]
    offset: tuple[int, ...]

    @property
    def shown_since(self) -> tuple[int, ...]:
        """The local time from which on `offset[k]` is the first one to show it, or to skip it."""
        changes = zip(self.since[1:], self.offset, strict=False)  # each with the offset that it ends
        return (_ALWAYS_MS, *(since + offset for since, offset in changes))

    def shown(self, ms: int) -> int:
        return ms + self.offset[bisect_right(self.since, ms) - 1]

    def first_shown(self, local_ms: int) -> int:
        """The first time at which clocks show `local_ms`; if they skip it, the time of the change."""
        k = bisect_right(self.shown_since, local_ms) - 1
        return max(local_ms - self.offset[k], self.since[k])

    def last_shown(self, local_ms: int) -> int:
        """The last time at which clocks show `local_ms`; if they skip it, the time of the change."""
        times = [local_ms - offset for offset in self.offset if self._shows(local_ms, offset)]
        return max(times, default=self.first_shown(local_ms))

    def skips(self, local_ms: int) -> bool:
        return not any(self._shows(local_ms, offset) for offset in self.offset)

    def _shows(self, local_ms: int, offset: int) -> bool:
        return self.shown(local_ms - offset) == local_ms


def clocks_of(zone: str | None, from_ms: int, to_ms: int) -> Clocks:
    """The clocks for a range and the buckets that it cuts."""
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


# 600 zones, 40 decades. A client that uses all of them makes a worker search each zone once (0.1 s of CPU per
# zone) and keep the result, about 20 MB.
@lru_cache(maxsize=24_000)
def _changes(zone: str, decade: int) -> tuple[tuple[int, int], ...]:
    """The times of ten years (in UTC) at which the offset changes, each with the new offset."""
    clock = ZoneInfo(zone)
    changes = []
    ms, end_ms = _start_of_year(10 * decade) - 1, _start_of_year(10 * decade + 10) - 1
    offset = _offset_ms(clock, ms)
    # No zone changes twice within one step: the minimum in the database is 95 hours (Freetown, 1939), and a
    # week from 1965 on (Boa Vista, 2000).
    step_ms = 6 * DAY_MS if decade >= 197 else 2 * DAY_MS
    while ms < end_ms:
        next_ms = min(ms + step_ms, end_ms)
        next_offset = _offset_ms(clock, next_ms)
        if next_offset != offset:
            changes.append((_time_of_change(clock, ms, next_ms), next_offset))
        ms, offset = next_ms, next_offset
    return tuple(changes)


def _time_of_change(clock: ZoneInfo, before_ms: int, after_ms: int) -> int:
    offset = _offset_ms(clock, after_ms)
    while after_ms - before_ms > 1:
        middle_ms = (before_ms + after_ms) // 2
        if _offset_ms(clock, middle_ms) == offset:
            after_ms = middle_ms
        else:
            before_ms = middle_ms
    return after_ms


def _offset_ms(clock: ZoneInfo, ms: int) -> int:
    offset = (EPOCH + timedelta(milliseconds=ms)).astimezone(clock).utcoffset()
    assert offset is not None
    return offset // _MILLISECOND


def _year_of(ms: int) -> int:
    return (EPOCH + timedelta(milliseconds=ms)).year


def _start_of_year(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // _MILLISECOND


def months_before(day: Day, months: int) -> Day:
    """The same date in an earlier month, or its last one. A time of day stays."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return day.replace(year=year, month=month + 1, day=min(day.day, calendar.monthrange(year, month + 1)[1]))
