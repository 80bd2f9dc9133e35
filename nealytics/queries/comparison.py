"""The time range that a range is compared with.

    compare = previous | previous_month | previous_year | <from>..<to>, which may be relative to now

Ranges of whole local days are moved by the calendar of `tz`, and remain whole days if the clocks change in
between:

    previous         as many days, ending the day before `from`
    previous_month   the same dates a month before; a missing date becomes the month's last. Whole months
    previous_year    become whole months: February is compared with all 31 days of January

Any other range is moved with its times of day: `previous` has the same length and ends a millisecond before
`from`; the others move both ends by the calendar, and keep the length if the end would otherwise be before
the start (31 March 06:00 is moved to the same day as 30 March 12:00).
"""

from datetime import timedelta

import msgspec

from nealytics.queries.clocks import EPOCH, clocks_of, months_before
from nealytics.queries.filters import Selection
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.params import Arguments, Parameter
from nealytics.queries.ranges import days_of
from nealytics.queries.relative import is_relative, resolved
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN, timestamp_ms, timestamp_of
from nealytics.timestamps import DAY_MS, iso_utc

_MONTHS = {"previous_month": 1, "previous_year": 12}
NAMES = ("previous", *_MONTHS)
SEPARATOR = ".."


def compare_of(description: str, default: str | None = None) -> Parameter:
    """The parameter `compare`."""
    return Parameter(
        name="compare",
        kind="comparison",
        choices=NAMES,
        default=default,
        description=description,
        example="previous_month",
    )


def compared_selection(
    arguments: Arguments, selection: Selection, default: str | None = None
) -> tuple[str, Selection] | None:
    """What `compare` says, or `default`, and the same selection of that range. Raises `Refused` (400)."""
    text = arguments.text("compare") or default
    if text is None:
        return None
    text = text.strip()
    begin, separator, end = text.partition(SEPARATOR)
    ends = begin.strip(), end.strip()
    if separator:
        at = arguments.now_ms, selection.zone
        begin, end = resolved(ends[0], "from", *at), resolved(ends[1], "to", *at)
    from_ms, to_ms = compared_range(
        f"{begin}{separator}{end}", selection.from_ms, selection.to_ms, selection.zone
    )
    if any(map(is_relative, ends)):
        arguments.until_ms = None  # the range moves with the clock
    elif arguments.closed:
        arguments.until_ms = max(selection.to_ms, to_ms)
    return text, msgspec.structs.replace(selection, from_ms=from_ms, to_ms=to_ms)


def compared_range(compare: str, from_ms: int, to_ms: int, zone: str | None) -> tuple[int, int]:
    """Both ends inclusive. Raises `Refused` (400) if `compare` is none of the above."""
    if compare == "previous":
        return _previous(from_ms, to_ms, zone)
    if compare in _MONTHS:
        return _months_before(_MONTHS[compare], from_ms, to_ms, zone)
    begin, separator, end = compare.partition(SEPARATOR)
    if not separator:
        raise invalid(
            "compare",
            f"compare is {shown(compare)}",
            f"Write one of {', '.join(NAMES)}, or a range as <from>..<to>.",
        )
    compared_ms = timestamp_ms("compare", begin, "from", zone), timestamp_ms("compare", end, "to", zone)
    if compared_ms[0] > compared_ms[1]:
        begin, end = map(iso_utc, compared_ms)
        raise invalid("compare", f"compare begins ({begin}) later than it ends ({end})", "Swap the two.")
    return compared_ms


def _previous(from_ms: int, to_ms: int, zone: str | None) -> tuple[int, int]:
    before_ms = 2 * from_ms - to_ms - 1
    if _is_of_whole_days(from_ms, to_ms, zone):
        days = days_of(zone, max(TIMESTAMP_MS_MIN, before_ms) - 3 * DAY_MS, to_ms)
        first, last = days.number(from_ms), days.number(to_ms)
        before_ms = days.start(2 * first - last - 1)
    return before_ms, from_ms - 1


def _months_before(months: int, from_ms: int, to_ms: int, zone: str | None) -> tuple[int, int]:
    clocks = clocks_of(zone, from_ms, to_ms)
    begin, end = clocks.shown(from_ms), clocks.shown(to_ms)
    moved_end = _moved(end, months)
    if _is_of_whole_days(from_ms, to_ms, zone) and _is_first(begin) and _is_first(end + 1):
        moved_end = _moved(end + 1, months) - 1
    before_ms = timestamp_of(_moved(begin, months), "from", zone)
    until_ms = timestamp_of(moved_end, "to", zone)
    return before_ms, until_ms if until_ms >= before_ms else before_ms + to_ms - from_ms


def _is_of_whole_days(from_ms: int, to_ms: int, zone: str | None) -> bool:
    clocks = clocks_of(zone, from_ms, to_ms)
    begin = clocks.shown(from_ms) // DAY_MS * DAY_MS
    end = clocks.shown(to_ms) // DAY_MS * DAY_MS + DAY_MS - 1
    return from_ms == timestamp_of(begin, "from", zone) and to_ms == timestamp_of(end, "to", zone)


def _is_first(local_ms: int) -> bool:
    """Whether it is the first day of a month."""
    return (EPOCH + timedelta(milliseconds=local_ms)).day == 1


def _moved(local_ms: int, months: int) -> int:
    """The same time on the same day of an earlier month, or on its last day."""
    moved = months_before(EPOCH + timedelta(milliseconds=local_ms), months)
    return (moved - EPOCH) // timedelta(milliseconds=1)
