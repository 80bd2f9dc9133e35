"""Times of files in the server's format: the unit of a number, and the shift of all times."""

import re
from typing import Literal

from nealytics.errors import NealyticsError
from nealytics.timestamps import DAY_MS, epoch_ms, iso_utc

Unit = Literal["s", "ms", "us", "ns"]

# Seconds read as milliseconds are in this month: 1,000,000,000 to 2,678,399,999 seconds are 2001 to 2054.
JANUARY_1970_MS = range(0, 31 * DAY_MS)

# Without --time-unit. Fewer digits may be a date (20240615) or seconds; 12 are milliseconds from 1973 on.
_EPOCH_MS_DIGITS_MIN = 12
# More digits are not a time in any unit, and Python refuses to parse thousands of them.
_NUMBER = re.compile(r"(-?)([0-9]{1,30})(?:\.([0-9]{0,30}))?")
_DECIMALS: dict[Unit, int] = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # decimals, if it were in seconds
_ISO_ENDS = frozenset("0123456789Z")
_ZONE_NAME = re.compile(r"\s*(?:UTC|GMT|Etc/UTC)$")
_SHIFT = re.compile(r"([+-]?\d+)(d|h|min|s|ms)")
_SHIFT_UNITS = {"d": DAY_MS, "h": 3_600_000, "min": 60_000, "s": 1_000, "ms": 1}


def normalized(text: str, unit: Unit | None) -> str | int:
    """The text of a timestamp as it is sent: milliseconds since 1970, or ISO 8601.

    `unit` is that of numbers; with None, long numbers are milliseconds, and short ones remain texts, because
    they may be dates. Any other text only loses the name of its zone.
    """
    if text[4:5] == "-" and text[-1] in _ISO_ENDS:
        return text  # 2024-…: nearly all texts, in a third of the time
    text = text.strip()
    number = _NUMBER.fullmatch(text)
    if number and (unit is not None or (number[3] is None and len(number[2]) >= _EPOCH_MS_DIGITS_MIN)):
        return _epoch_ms(number, unit or "ms")
    return _ZONE_NAME.sub("Z", text)


def number_ms(text: str, unit: Unit | None) -> int | None:
    """Milliseconds since 1970 of a number, rounded down, as the server does."""
    number = _NUMBER.fullmatch(text)
    return _epoch_ms(number, unit or "ms") if number else None


def moment_ms(value: str | int) -> int | None:
    """Milliseconds since 1970; None if the server would not accept it either."""
    if isinstance(value, int):
        return value
    try:
        return epoch_ms(value)
    except ValueError:
        return None


def parse_shift(text: str) -> int:
    """`812d`, `-3h`: in milliseconds. Raises `ValueError`."""
    match = _SHIFT.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(match[1]) * _SHIFT_UNITS[match[2]]


def shown_shift(shift_ms: int) -> str:
    """The shortest text that `parse_shift` reads as that."""
    for name, unit in _SHIFT_UNITS.items():
        if shift_ms % unit == 0:
            return f"{shift_ms // unit}{name}"
    raise AssertionError("a millisecond divides everything")


def whole_days_to(newest_ms: int, goal_ms: int) -> int:
    """The shift that moves `newest_ms` into the day before `goal_ms` and keeps the time of day."""
    return (goal_ms - newest_ms) // DAY_MS * DAY_MS


def iso(moment_ms: int) -> str:
    """The second, for messages."""
    try:
        return iso_utc(moment_ms // 1000 * 1000)
    except OverflowError:
        raise NealyticsError(f"import: {moment_ms} ms is outside of the calendar") from None


def _epoch_ms(number: "re.Match[str]", unit: Unit) -> int:
    sign, whole, part = number[1], number[2], number[3] or ""
    digits = len(part)
    # All digits as one integer, without a float.
    value = int(sign + whole + part)
    exponent = 3 - _DECIMALS[unit] - digits
    scaled: int = value * 10**exponent if exponent >= 0 else value // 10**-exponent
    return scaled
