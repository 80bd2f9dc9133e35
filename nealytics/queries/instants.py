"""Instants: milliseconds since 1970, UTC, from here to ClickHouse and back.

No text format, session time zone or server profile comes between.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo

from nealytics.queries.invalid import invalid, shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# What DateTime64(3) can hold: 1900 to 2299. An instant outside means "before" or "after everything".
INSTANT_MS_MIN = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
INSTANT_MS_MAX = (datetime(2300, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND - 1


# A fraction whose digits behind the sixth are not all 0.
_FINER = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")


def instant_ms(name: str, text: str, *, round_up: bool, zone: tzinfo = UTC) -> int:
    """The instant of an ISO 8601 date or time; without a zone of its own it is in `zone`, where a time that
    the clocks show twice is the first of the two. Raises `Refused` in the name of `name`.

    Stored times are whole milliseconds. A finer instant is rounded to the side that keeps comparisons with
    them true: up for "earlier than" and "from", down for "later than" and "until".
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        since = moment - _EPOCH
        # Python leaves off what is finer than a microsecond; .NET writes seven digits.
        if round_up and _FINER.search(text):
            since += timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise invalid(
            name,
            f"{name} is {shown(text)} and not an ISO 8601 date or time",
            "Write it like 2024-06-15T10:30:00.123Z; a + in a query string is written %2B.",
        ) from None
    ms = -(-since // _MILLISECOND) if round_up else since // _MILLISECOND
    return max(INSTANT_MS_MIN, min(ms, INSTANT_MS_MAX))


def iso_utc(ms: int) -> str:
    """`2024-06-15T10:30:00.12Z`: trailing zeros of the fraction left out, and with them the point.

    That is how the C# engine's serializer writes a UTC time; every ISO 8601 parser reads it.
    """
    text = (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    return text[:23].rstrip("0").rstrip(".") + "Z"
