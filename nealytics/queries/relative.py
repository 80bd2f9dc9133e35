"""Times relative to now, as the text of a date or a time.

    now                       this millisecond
    -<n>m | -<n>h             that many minutes or hours before now
    -<n>d | -<n>w | -<n>mo | -<n>y
                              the local day that many days, weeks, months or years before today
    today | yesterday         that local day
    this_week | last_week     from Monday to Sunday
    this_month | last_month | this_year | last_year

A day is a date, so as `from` it means its beginning, and as `to` its end. A longer period begins on its first
day and ends on its last. If a month does not have a day, its last one is used.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from nealytics.queries.clocks import months_before
from nealytics.queries.time_bounds import Bound
from nealytics.timestamps import iso_utc

PERIODS: Final = (
    "today",
    "yesterday",
    "this_week",
    "last_week",
    "this_month",
    "last_month",
    "this_year",
    "last_year",
)
# The greatest numbers are those for which the result is later than 1900.
_COUNTED = "[0-9]{1,6}m|[0-9]{1,5}h|[0-9]{1,4}d|[0-9]{1,3}(?:w|mo)|[0-9]{1,2}y"
PATTERN: Final = f"now|{'|'.join(PERIODS)}|-(?:{_COUNTED})"

_RELATIVE = re.compile(PATTERN)
_AGO = re.compile("-([0-9]+)([a-z]+)")
_UNIT_MS = {"m": 60_000, "h": 3_600_000}


def is_relative(text: str) -> bool:
    return _RELATIVE.fullmatch(text) is not None


def resolved(text: str, bound: Bound, now_ms: int, zone: str | None) -> str:
    """An ISO 8601 date or time; a text that is not relative is returned as it is."""
    if not is_relative(text):
        return text
    if text == "now":
        return iso_utc(now_ms)
    today = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(zone) if zone else UTC).date()
    ago = _AGO.fullmatch(text)
    if ago is None:
        first, last = _period(text, today)
        return (last if bound == "to" else first).isoformat()
    count, unit = int(ago[1]), ago[2]
    if unit in _UNIT_MS:
        return iso_utc(now_ms - count * _UNIT_MS[unit])
    if unit in ("d", "w"):
        return (today - timedelta(days=count * (7 if unit == "w" else 1))).isoformat()
    return months_before(today, count * (12 if unit == "y" else 1)).isoformat()


def _period(name: str, today: date) -> tuple[date, date]:
    """Its first and its last day."""
    day = timedelta(days=1)
    which, _, unit = name.partition("_")
    if not unit:
        one = today if name == "today" else today - day
        return one, one
    if unit == "week":
        monday = today - today.weekday() * day - (7 * day if which == "last" else 0 * day)
        return monday, monday + 6 * day
    months = 12 if unit == "year" else 1
    first = today.replace(day=1, month=1) if unit == "year" else today.replace(day=1)
    if which == "last":
        first = months_before(first, months)
    return first, months_before(first, -months) - day
