"""Timestamps as text: the formats accepted in events, query parameters and on the command line, and the one
written.

All of RFC 3339, and of ISO 8601 the forms of `PATTERN`:

    date        2026-06-15 or 20260615; the week date 2026-W25-1 or 2026W251
    separator   T, t or one space
    time        10:30:00 or 103000; seconds, or minutes and seconds, may be left out; 24:00:00 is midnight
                at the end of the day
    fraction    of seconds, any number of digits, after a point or a comma
    zone        Z, z, +02:00, +0200 or +02, also with seconds (+00:53:28); or none

Second 60 is accepted where a leap second can be, at 23:59:60 UTC. It becomes the last millisecond of that
minute, so the event keeps its day and its order. Not accepted: a week without a day, a fraction of an hour or
a minute, and text before or after the timestamp.

The caller decides what a timestamp without a zone means, and how a fraction finer than a millisecond is
rounded.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

DAY_MS = 86_400_000
_MINUTE_MS = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_LOCAL = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# The Gregorian calendar repeats after 400 years. RFC 3339 has a year 0; `datetime.date` does not.
_CYCLE_YEARS, _CYCLE_DAYS = 400, 146_097

_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_WEEK = "W(?:0[1-9]|[1-4][0-9]|5[0-3])"
_HOUR, _SIXTY = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
_SECOND = f"(?:{_SIXTY}|60)(?:[.,][0-9]+)?"
_DATE = f"[0-9]{{4}}(?:-{_MONTH}-{_DAY}|{_MONTH}{_DAY}|-{_WEEK}-[1-7]|{_WEEK}[1-7])"
_MIDNIGHT = "24(?::00(?::00(?:[.,]0+)?)?|00(?:00(?:[.,]0+)?)?)?"
_TIME = f"(?:{_HOUR}(?::{_SIXTY}(?::{_SECOND})?|{_SIXTY}(?:{_SECOND})?)?|{_MIDNIGHT})"
_ZONE = f"(?:[Zz]|[+-]{_HOUR}(?::{_SIXTY}(?::{_SIXTY})?|{_SIXTY}(?:{_SIXTY})?)?)"

# Every accepted timestamp matches. A match is refused if the month has no such day, the year no such week, or
# if second 60 does not end a day in UTC. Without anchors.
PATTERN = f"{_DATE}(?:[Tt ]{_TIME}{_ZONE}?)?"

_PARTS = re.compile(f"(?P<date>{_DATE})(?:[Tt ](?P<time>{_TIME})(?P<zone>{_ZONE})?)?")

# Most timestamps. For these, `datetime.fromisoformat` and `parse` agree; for others, `fromisoformat` reads
# 10.5 hours as 10 hours and half a second, and accepts any character as the separator.
_USUAL = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:[0-5]\d)?", re.ASCII
).fullmatch


class Timestamp(NamedTuple):
    """The parts of a timestamp. `local_ms` is the time at which a clock in UTC shows the same."""

    local_ms: int
    finer: bool  # a part of a millisecond was cut off
    offset_ms: int | None  # to UTC; None without a zone
    is_date: bool  # without a time


def parse(text: str) -> Timestamp:
    """Raises `ValueError` for what is not an accepted timestamp."""
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise ValueError("not a timestamp")
    local_ms = _day_of(parts["date"].replace("-", "")) * DAY_MS
    if parts["time"] is None:
        return Timestamp(local_ms, False, None, True)
    digits, _, fraction = parts["time"].replace(":", "").replace(",", ".").partition(".")
    offset_ms = _offset_of(parts["zone"])
    hour, minute, second = int(digits[:2]), int(digits[2:4] or 0), int(digits[4:] or 0)
    local_ms += (hour * 60 + minute) * _MINUTE_MS
    if second == 60:
        if (local_ms + _MINUTE_MS - (offset_ms or 0)) % DAY_MS:
            raise ValueError("a second 60 is the last of a day in UTC")
        return Timestamp(local_ms + _MINUTE_MS - 1, False, offset_ms, False)
    local_ms += second * 1000 + int(fraction[:3].ljust(3, "0"))
    return Timestamp(local_ms, bool(fraction[3:].strip("0")), offset_ms, False)


def epoch_ms(text: str) -> int:
    """Milliseconds since 1970; UTC without a zone; finer than milliseconds is cut off (downwards).

    Raises `ValueError`.
    """
    # 2026-06-15T10:30:00.123Z, as JavaScript writes it, or without the fraction: 0.5 µs; by the pattern 0.9,
    # by `parse` 5. `fromisoformat` refuses other text with these marks.
    length = len(text)
    if (
        ((length == 24 and text[19] == ".") or (length == 20 and text[16] == ":"))
        and text[10] == "T"
        and text[-1] == "Z"
    ) or _USUAL(text):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass  # a second 60, the year 0
        else:
            since = moment - (_EPOCH if moment.tzinfo is not None else _EPOCH_LOCAL)
            return since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000
    timestamp = parse(text)
    return timestamp.local_ms - (timestamp.offset_ms or 0)


def iso_utc(ms: int) -> str:
    """Milliseconds since 1970 as `2024-06-15T10:30:00.12Z`, without trailing zeros of the fraction.

    The C# engine's serializer writes UTC times like this. Raises `OverflowError` outside of the calendar.
    """
    text = (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
    return text[:23].rstrip("0").rstrip(".") + "Z"


def _day_of(text: str) -> int:
    """The number of days from 1970 to `20260615` or `2026W251`."""
    year, cycle_days = int(text[:4]), 0
    if not year:
        year, cycle_days = _CYCLE_YEARS, _CYCLE_DAYS
    if text[4] == "W":
        day = date.fromisocalendar(year, int(text[5:7]), int(text[7]))
    else:
        day = date(year, int(text[4:6]), int(text[6:8]))
    return day.toordinal() - _EPOCH_DAY - cycle_days


def _offset_of(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600 + int(digits[2:4] or 0) * 60 + int(digits[4:] or 0)
    return (-seconds if zone[0] == "-" else seconds) * 1000
