"""Times in query strings, as milliseconds since 1970 (UTC).

Times go to ClickHouse and come back in this form, so no text format, session time zone or server profile
matters.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

from nealytics import timestamps
from nealytics.queries.clocks import clocks_of
from nealytics.queries.invalid import invalid, shown
from nealytics.timestamps import DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# The range of DateTime64(3): 1900 to 2299. A time outside means "before" or "after everything".
TIMESTAMP_MS_MIN = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
TIMESTAMP_MS_MAX = (datetime(2300, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND - 1

# The kind of a bound: `from` and `to` belong to their range, `before` and `after` do not.
Bound = Literal["from", "to", "before", "after"]
_ROUNDED_UP = frozenset({"from", "before"})
_LATER = frozenset({"to", "before"})


def timestamp_ms(name: str, text: str, bound: Bound, zone: str | None = None) -> int:
    """The time of a text (`timestamps`), which is in `zone`, or UTC, unless it names a zone itself.

    A date alone is its first millisecond; as `to`, its last. Raises `Refused` for the field `name`.
    """
    try:
        said = timestamps.parse(text.strip())
    except ValueError:
        raise invalid(
            name,
            f"{name} is {shown(text)}, which is not an ISO 8601 date or time",
            "Write it like 2024-06-15T10:30:00.123Z; a + in a query string is written %2B. from, to, before"
            " and after may also be relative: -7d, -24h, today, this_week, last_month.",
        ) from None
    local_ms = said.local_ms
    if said.is_date and bound == "to":
        local_ms += DAY_MS - 1
    elif said.finer and bound in _ROUNDED_UP:
        # Stored times are whole milliseconds. A finer one is rounded so that comparisons stay true.
        local_ms += 1
    if said.offset_ms is not None:
        return _within(local_ms - said.offset_ms)
    return timestamp_of(local_ms, bound, zone)


def timestamp_of(local_ms: int, bound: Bound, zone: str | None) -> int:
    """The time at which clocks in `zone` show a local time (as in `clocks`).

    If they show it twice, `to` and `before` mean the later, `from` and `after` the earlier time, so a range
    includes everything between its ends. If they skip it, `from` and `before` mean the first millisecond
    after the gap, `to` and `after` the last one before it: a range is what the clocks showed within it.
    """
    if zone is None or not TIMESTAMP_MS_MIN <= local_ms <= TIMESTAMP_MS_MAX:
        return _within(local_ms)
    clocks = clocks_of(zone, local_ms - DAY_MS, local_ms + DAY_MS)
    if clocks.skips(local_ms):
        return _within(clocks.first_shown(local_ms) - (bound not in _ROUNDED_UP))
    return _within(clocks.last_shown(local_ms) if bound in _LATER else clocks.first_shown(local_ms))


def is_date(text: str | None) -> bool:
    """Whether an accepted timestamp is a date without a time."""
    return text is not None and timestamps.parse(text.strip()).is_date


def _within(ms: int) -> int:
    return max(TIMESTAMP_MS_MIN, min(ms, TIMESTAMP_MS_MAX))
