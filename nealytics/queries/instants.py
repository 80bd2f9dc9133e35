"""Instants: milliseconds since 1970, UTC, from here to ClickHouse and back.

No text format, session time zone or server profile comes between.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

from nealytics import timestamps
from nealytics.queries.clocks import clocks_of
from nealytics.queries.invalid import invalid, shown
from nealytics.timestamps import DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# What DateTime64(3) can hold: 1900 to 2299. An instant outside means "before" or "after everything".
INSTANT_MS_MIN = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
INSTANT_MS_MAX = (datetime(2300, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND - 1

# What an instant is the end of: `from` and `to` belong to their range, `before` and `after` do not.
Bound = Literal["from", "to", "before", "after"]
_ROUNDED_UP = frozenset({"from", "before"})
_LATER = frozenset({"to", "before"})


def instant_ms(name: str, text: str, bound: Bound, zone: str | None = None) -> int:
    """The instant of a date or time (`timestamps`); without a zone of its own it is in `zone`, or in UTC.
    Raises `Refused` in the name of `name`.

    A date alone is its first millisecond, as `to` its last.
    """
    try:
        said = timestamps.parse(text.strip())
    except ValueError:
        raise invalid(
            name,
            f"{name} is {shown(text)}, which is not an ISO 8601 date or time",
            "Write it like 2024-06-15T10:30:00.123Z; a + in a query string is written %2B.",
        ) from None
    local_ms = said.local_ms
    if said.is_date and bound == "to":
        local_ms += DAY_MS - 1
    elif said.finer and bound in _ROUNDED_UP:
        # Stored times are whole milliseconds. A finer one is rounded to the side that keeps comparisons true.
        local_ms += 1
    if said.offset_ms is not None:
        return _within(local_ms - said.offset_ms)
    return instant_of(local_ms, bound, zone)


def instant_of(local_ms: int, bound: Bound, zone: str | None) -> int:
    """The instant at which the clocks of `zone` show a local time (as in `clocks`).

    Of a time that they show twice, `to` and `before` are the later, `from` and `after` the earlier: so a
    range has everything that happened between what it names. Of a time that they skip, `from` and `before`
    are the first instant after the gap, `to` and `after` the last before it: what is read is what the clocks
    showed within the range.
    """
    if zone is None or not INSTANT_MS_MIN <= local_ms <= INSTANT_MS_MAX:
        return _within(local_ms)
    clocks = clocks_of(zone, local_ms - DAY_MS, local_ms + DAY_MS)
    if clocks.skips(local_ms):
        return _within(clocks.first_shown(local_ms) - (bound not in _ROUNDED_UP))
    return _within(clocks.last_shown(local_ms) if bound in _LATER else clocks.first_shown(local_ms))


def is_date(text: str | None) -> bool:
    """Of an accepted timestamp: whether it is a date without a time."""
    return text is not None and timestamps.parse(text.strip()).is_date


def _within(ms: int) -> int:
    return max(INSTANT_MS_MIN, min(ms, INSTANT_MS_MAX))
