"""Moving averages against their definition, and which intervals stand beside each other."""

import random
from decimal import Decimal

import pytest

from nealytics.queries.ranges import starts
from nealytics.queries.series import moving_averages, pairs
from nealytics.queries.time_bounds import timestamp_ms
from nealytics.timestamps import DAY_MS
from tests.queries.clocks import midnight


@pytest.mark.parametrize("seed", range(20))
def test_an_average_is_that_of_the_values_up_to_it(seed: int):
    chance = random.Random(seed)
    values = [chance.choice([None, 0, 7, Decimal("0.1"), Decimal("-3.25"), 10**20]) for _ in range(60)]
    length = chance.randint(2, 20)
    for number, average in enumerate(moving_averages(values, length)):
        found = [value for value in values[max(0, number - length + 1) : number + 1] if value is not None]
        assert average == (Decimal(sum(found)) / len(found) if found else None)


def test_large_values_leave_nothing_behind():
    """A sum of doubles would: 10^20 + 0.1 - 10^20 is 0."""
    assert moving_averages([10**40, Decimal("0.1"), Decimal("0.3")], 2)[-1] == Decimal("0.2")


def test_no_value_has_no_average():
    assert moving_averages([None, None, 4, None, None, None], 3) == [None, None, 4, 4, 4, None]
    assert moving_averages([], 7) == []


def test_days_stand_beside_each_other_by_their_number():
    first = midnight("2024-03-01")
    march = starts("day", first, first + 31 * DAY_MS - 1)
    february = starts("day", first - 29 * DAY_MS, first - 1)
    assert list(pairs("day", march, february, None)) == list(zip(february, march[:29], strict=True))
    assert [before for before, _ in pairs("day", february, march, None)] == march[:29]


@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), ("2024-10-27", 25)])
def test_hours_stand_beside_each_other_by_the_clock(day: str, hours: int):
    """Also behind the hour that clocks skip, and without one for the hour that they repeat."""
    zone = "Europe/Berlin"
    changed, usual = (
        starts("hour", timestamp_ms("", on, "from", zone), timestamp_ms("", on, "to", zone), zone)
        for on in (day, "2024-06-01")
    )
    assert (len(changed), len(usual)) == (hours, 24)
    found = list(pairs("hour", usual, changed, zone))
    assert len(found) == min(hours, 24)
    assert len({before for before, _ in found}) == len({now for _, now in found}) == len(found)
