"""What clocks show, and the buckets that follow from it: a second calculation for tests to compare with.

It asks `zoneinfo` what a clock shows at an instant and searches for the first that shows it; nothing here
knows of offsets, transitions or arithmetic of local time.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
# A zone, and a day about which its clocks do something.
TRICKY = [
    ("Europe/Berlin", "2024-03-31"),
    ("Europe/Berlin", "2024-10-27"),
    ("Europe/Berlin", "2200-03-30"),  # by rule: no table goes that far
    ("Europe/Dublin", "2024-10-27"),  # summer is its standard time
    ("Europe/Dublin", "1916-10-01"),  # off by 25 minutes and 21 seconds
    ("Europe/Amsterdam", "1937-07-01"),
    ("America/New_York", "2024-11-03"),
    ("America/New_York", "2024-03-10"),
    ("America/St_Johns", "2009-03-08"),
    ("America/St_Johns", "2009-11-01"),  # 00:01 → 23:01: the date is shown, taken back and shown again
    ("America/Sao_Paulo", "2018-11-04"),  # no midnight
    ("America/Sao_Paulo", "2018-02-18"),  # 24:00 → 23:00
    ("America/Havana", "2024-03-10"),
    ("America/Havana", "2024-11-03"),
    ("America/Asuncion", "2023-10-01"),
    ("America/Toronto", "1919-03-31"),  # 23:30 → 00:30
    ("America/Scoresbysund", "2024-03-31"),
    ("America/Caracas", "2007-12-09"),  # half an hour
    ("Asia/Beirut", "2024-03-31"),
    ("Asia/Beirut", "2024-10-27"),
    ("Africa/Cairo", "2024-04-26"),
    ("Africa/Cairo", "2024-11-01"),
    ("Africa/Casablanca", "2024-03-10"),  # around Ramadan
    ("Africa/Monrovia", "1972-01-07"),  # 44 minutes and 30 seconds
    ("Africa/Freetown", "1939-09-03"),  # for four days
    ("Asia/Kolkata", "2024-03-31"),
    ("Asia/Kathmandu", "1986-01-01"),  # from 5:30 to 5:45
    ("Asia/Pyongyang", "2015-08-15"),
    ("Asia/Gaza", "2053-03-29"),
    ("Australia/Lord_Howe", "2024-04-07"),  # half an hour of summer
    ("Australia/Lord_Howe", "2024-10-06"),
    ("Pacific/Chatham", "2024-04-07"),
    ("Pacific/Apia", "2011-12-30"),  # a day that never was
    ("Pacific/Kwajalein", "1993-08-21"),
    ("Antarctica/Troll", "2024-03-31"),
    ("UTC", "2024-03-31"),
]

# The last hour of these days comes twice.
LONG_DAYS = [
    ("Africa/Cairo", "2026-10-29"),
    ("America/Santiago", "2026-04-04"),
    ("Asia/Beirut", "2026-10-24"),
    ("America/Nuuk", "2026-10-24"),
    ("America/Sao_Paulo", "2018-02-17"),
    ("America/Havana", "2026-11-01"),  # the first hour
    ("Europe/Berlin", "2026-10-25"),
    ("Australia/Lord_Howe", "2026-04-05"),
]
# Their first hour does not come, or another one.
SHORT_DAYS = [
    ("Africa/Cairo", "2026-04-24"),
    ("America/Santiago", "2026-09-06"),
    ("Asia/Beirut", "2026-03-29"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Nuuk", "2026-03-28"),
    ("Europe/Berlin", "2026-03-29"),
    ("Australia/Lord_Howe", "2026-10-04"),
]


def ms_of(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def midnight(day: str) -> int:
    return ms_of(datetime.fromisoformat(day).replace(tzinfo=UTC))


def shown(ms: int, zone: str | None) -> datetime:
    """What a clock shows at an instant."""
    return (EPOCH + timedelta(milliseconds=ms)).astimezone(ZoneInfo(zone) if zone else UTC)


def first_date(interval: str, day: date) -> date:
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def start_of(interval: str, ms: int, zone: str | None) -> int:
    """The start of the bucket of an instant."""
    if interval in ("minute", "hour"):
        key = hour_shown(interval, ms, zone)
        if (zone, key) not in _starts_of_hours:
            # Of the instants before it the first that is shown in the same hour with the same offset.
            start = first(lambda at: hour_shown(interval, at, zone) == key, ms - HOUR_MS, ms)
            _starts_of_hours[zone, key] = start
        return _starts_of_hours[zone, key]
    return start_of_dates(first_date(interval, shown(ms, zone).date()), zone)


_starts_of_hours: dict[object, int] = {}


def hour_shown(interval: str, ms: int, zone: str | None) -> tuple[object, ...]:
    local = shown(ms, zone)
    minute = local.minute if interval == "minute" else None
    return interval, local.date(), local.hour, minute, local.utcoffset()


@cache
def start_of_dates(day: date, zone: str | None) -> int:
    """When a clock first shows the date, or a later one if it skips it."""
    midnight = ms_of(datetime.combine(day, time(), ZoneInfo(zone) if zone else UTC))
    if shown(midnight, zone).replace(tzinfo=None) == datetime.combine(day, time()):
        return midnight
    return first(lambda at: shown(at, zone).date() >= day, midnight - 26 * HOUR_MS, midnight + 26 * HOUR_MS)


def first(holds: Callable[[int], bool], before: int, after: int) -> int:
    """The first instant after `before` for which something holds that holds from there up to `after`."""
    assert holds(after)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if holds(middle) else (middle, after)
    return after
