"""What is calculated from the points of a series: moving averages, and which intervals stand beside each
other in a comparison."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from typing import Final, Protocol

import msgspec

from nealytics.queries.endpoint import Number
from nealytics.queries.filters import Selection
from nealytics.queries.invalid import invalid
from nealytics.queries.params import Arguments, Parameter
from nealytics.queries.ranges import local_text, starts_at_most
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN

_OF_THE_CLOCK: Final = frozenset({"minute", "hour"})
AVERAGED_MAX = 366
# Sums of 10^16 numbers of a measure are exact.
_DIGITS = 100


def cumulative_of(description: str) -> Parameter:
    """The parameter `cumulative`."""
    return Parameter(name="cumulative", kind="flag", description=description)


def average_of(description: str) -> Parameter:
    """The parameter `average`."""
    return Parameter(
        name="average",
        kind="integer",
        minimum=2,
        maximum=AVERAGED_MAX,
        description=description,
        example="7",
    )


def is_cumulative(arguments: Arguments, **excluded: object) -> bool:
    """Raises `Refused` (400) if one of the parameters that it excludes is given with it."""
    if not arguments.flag("cumulative"):
        return False
    for name, value in excluded.items():
        if value:
            raise invalid(name, f"{name} is given with cumulative", "Leave out one of the two.")
    return True


def filled_by(
    name: str | None, arguments: Arguments, interval: str, selection: Selection
) -> tuple[int, ...] | None:
    """The starts of all intervals of the range up to now, if the parameter `name` gives each of them a point;
    None without a name. Raises `Refused` (400) for `name` if there are too many."""
    if name is None:
        return None
    end_ms = min(selection.to_ms, arguments.now_ms)
    most = arguments.config.limit_max
    return starts_at_most(most, name, interval, selection.from_ms, end_ms, selection.zone)


class Averaged(Protocol):
    """A point of a series."""

    average: Decimal | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The range that a series is compared with. `starts` are those of its intervals, and `beside` has for
    each the start of the one of the range that stands beside it, if there is one."""

    selection: Selection
    starts: tuple[int, ...]
    beside: dict[int, int]

    def text(self, start_ms: int, zone: str | None) -> str | None:
        """The interval beside the one with this start."""
        found = self.beside.get(start_ms)
        return None if found is None else local_text(found, zone)


def comparison_of(
    arguments: Arguments,
    interval: str,
    selection: Selection,
    compared: Selection,
    *,
    with_future: bool = False,
) -> Comparison:
    """Of the intervals up to now, or of all. Raises `Refused` (400) if the ranges have too many."""
    # There are no times, and no events, before 1900.
    compared = msgspec.structs.replace(
        compared,
        from_ms=max(compared.from_ms, TIMESTAMP_MS_MIN),
        to_ms=max(compared.to_ms, TIMESTAMP_MS_MIN),
    )
    now, before = (
        starts_at_most(
            arguments.config.limit_max,
            "compare",
            interval,
            one.from_ms,
            one.to_ms if with_future else min(one.to_ms, arguments.now_ms),
            one.zone,
        )
        for one in (selection, compared)
    )
    beside = dict(pairs(interval, now, before, selection.zone))
    return Comparison(selection=compared, starts=before, beside=beside)


def pairs(
    interval: str, now: Sequence[int], before: Sequence[int], zone: str | None
) -> Iterable[tuple[int, int]]:
    """Intervals of a compared range, each with the one of the range beside it: the one of the same number; of
    minutes and hours, the one that clocks show at the same time of the day of the same number. If the clocks
    show it once on one of the days and twice on the other, the second has none."""
    if interval not in _OF_THE_CLOCK:
        return zip(before, now, strict=False)
    beside = dict(zip(_shown(now, zone), now, strict=True))
    return [
        (start, beside[name])
        for name, start in zip(_shown(before, zone), before, strict=True)
        if name in beside
    ]


def _shown(starts: Sequence[int], zone: str | None) -> list[tuple[int, str, int]]:
    """Of each start the number of its day, the time of day, and whether clocks showed that before."""
    days: dict[str, int] = {}
    times: dict[tuple[int, str], int] = {}
    found = []
    for start in starts:
        text = local_text(start, zone)
        day = days.setdefault(text[:10], len(days))
        time = text[11:16]
        again = times[day, time] = times.get((day, time), -1) + 1
        found.append((day, time, again))
    return found


def averaged(points: Sequence[Averaged], values: Sequence[Number], length: int) -> None:
    """Gives each point its moving average; `values` are those of the points."""
    for point, found in zip(points, moving_averages(values, length), strict=True):
        point.average = found


def moving_averages(values: Sequence[Number], length: int) -> list[Decimal | None]:
    """Of each value and those before it, at most `length` in all. An absent value is left out; the average of
    none is absent."""
    found: list[Decimal | None] = []
    total, count = Decimal(0), 0
    with localcontext() as exact:
        exact.prec = _DIGITS
        for number, value in enumerate(values):
            gone = values[number - length] if number >= length else None
            total += (value or 0) - (gone or 0)
            count += (value is not None) - (gone is not None)
            found.append(total / count if count else None)
    return [None if average is None else +average for average in found]  # with the usual 28 digits
