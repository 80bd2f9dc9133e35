"""Local times at the ends of a range, against a second calculation (`clocks.py`)."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest

from nealytics.queries.time_bounds import Bound, timestamp_ms, timestamp_of
from tests.queries.clocks import EPOCH, LONG_DAYS, SHORT_DAYS, TRICKY, midnight, ms_of, shown


def utc(text: str) -> int:
    return ms_of(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("zone", "text", "earlier", "later"),
    [
        ("Africa/Cairo", "2026-10-29T23:59:59.999", "2026-10-29T20:59:59.999Z", "2026-10-29T21:59:59.999Z"),
        (
            "America/Santiago",
            "2026-04-04T23:30",
            "2026-04-05T02:30:00Z",
            "2026-04-05T03:30:00Z",
        ),
        ("Asia/Beirut", "2026-10-24T23:59:59.999", "2026-10-24T20:59:59.999Z", "2026-10-24T21:59:59.999Z"),
        ("America/Nuuk", "2026-10-24T23:00", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"),
        ("Australia/Lord_Howe", "2026-04-05T01:15", "2026-04-04T14:15:00Z", "2026-04-04T14:15:00Z"),
    ],
)
def test_of_a_time_that_comes_twice_to_and_before_are_the_later(
    zone: str, text: str, earlier: str, later: str
):
    bounds: list[tuple[Any, str]] = [("from", earlier), ("after", earlier), ("to", later), ("before", later)]
    for bound, expected in bounds:
        assert timestamp_ms(bound, text, bound, zone) == utc(expected), bound


@pytest.mark.parametrize(
    ("zone", "text", "change"),
    [
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00:00Z"),
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30:00Z"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z"),
        ("America/Nuuk", "2026-03-28T23:00", "2026-03-29T01:00:00Z"),
    ],
)
def test_a_time_that_never_comes_is_the_first_after_the_gap_or_the_last_before_it(
    zone: str, text: str, change: str
):
    text = text if "T" in text else f"{text}T00:00"
    bounds: list[tuple[Any, int]] = [("from", 0), ("before", 0), ("to", -1), ("after", -1)]
    for bound, expected in bounds:
        assert timestamp_ms(bound, text, bound, zone) == utc(change) + expected, bound


@pytest.mark.parametrize(("zone", "day"), [*LONG_DAYS, *SHORT_DAYS, *TRICKY])
def test_every_instant_belongs_to_the_day_that_its_clock_shows(zone: str, day: str):
    """Days as `from=day&to=day` leave out nothing, and only share what the clocks show of both."""
    dates = [f"{datetime.fromisoformat(day) + timedelta(days=n):%Y-%m-%d}" for n in range(-2, 3)]
    ranges = [(timestamp_ms("from", d, "from", zone), timestamp_ms("to", d, "to", zone)) for d in dates]
    for minutes in range(-24 * 60, 24 * 60, 7):
        ms = midnight(day) + minutes * 60_000
        own = f"{shown(ms, zone):%Y-%m-%d}"
        first, last = ranges[dates.index(own)]
        assert first <= ms <= last, shown(ms, zone)
    for date, (first, last) in zip(dates, ranges, strict=True):
        if first > last:  # a date that the clocks skip
            assert shown(first, zone).date() > datetime.fromisoformat(date).date()
            continue
        assert f"{shown(first, zone):%Y-%m-%d}" == f"{shown(last, zone):%Y-%m-%d}" == date
        assert shown(last + 1, zone).date() > datetime.fromisoformat(date).date()
        assert timestamp_ms("to", f"{date}T23:59:59.999", "to", zone) == last


@pytest.mark.parametrize(("zone", "day"), [*LONG_DAYS, *SHORT_DAYS, *TRICKY])
def test_local_times_are_those_of_a_clock(zone: str, day: str):
    """Every instant about the day whose clock shows the time is tried, minute by minute."""
    minutes = [midnight(day) + n * 60_000 for n in range(-40 * 60, 40 * 60)]
    clock = [(ms, shown(ms, zone).replace(tzinfo=None)) for ms in minutes]
    showing: dict[datetime, list[int]] = {}
    for ms, local in clock:
        showing.setdefault(local, []).append(ms)
    if clock[0][1].second or clock[-1][1].second:
        return  # such a clock is some seconds off
    chance = random.Random(zone + day)
    for _ in range(100):
        local_ms = midnight(day) + chance.randrange(-24 * 60, 24 * 60) * 60_000
        local = (EPOCH + timedelta(milliseconds=local_ms)).replace(tzinfo=None)
        instants = showing.get(local, [])
        after_gap = min(ms for ms, later in clock if later > local)
        for bound in get_args(Bound):
            found = timestamp_of(local_ms, bound, zone)
            if instants:
                assert found == (max if bound in ("to", "before") else min)(instants)
            else:
                assert found == (after_gap if bound in ("from", "before") else after_gap - 1)


def test_an_offset_of_its_own_goes_before_the_zone():
    assert timestamp_ms("to", "2026-10-25T02:30:00+02:00", "to", "Europe/Berlin") == utc(
        "2026-10-25T00:30:00Z"
    )
    assert timestamp_ms("from", "2026-10-25T02:30:00+01:00", "from", "Europe/Berlin") == utc(
        "2026-10-25T01:30:00Z"
    )


def test_a_year_0_and_a_year_9999_are_before_and_after_everything_in_any_zone():
    for zone in (None, "Pacific/Apia", "Asia/Manila"):
        assert timestamp_ms("from", "0000-01-01", "from", zone) == ms_of(datetime(1900, 1, 1, tzinfo=UTC))
        assert timestamp_ms("to", "9999-12-31", "to", zone) == ms_of(datetime(2300, 1, 1, tzinfo=UTC)) - 1


def test_zones_agree_with_the_standard_library_where_a_time_is_unambiguous():
    chance = random.Random(5)
    for _ in range(500):
        zone = chance.choice(["Europe/Dublin", "America/Nuuk", "Australia/Lord_Howe", "Africa/Casablanca"])
        local = datetime(1901, 1, 1) + timedelta(minutes=chance.randrange(390 * 365 * 1440))
        early, late = (ms_of(local.replace(tzinfo=ZoneInfo(zone), fold=fold)) for fold in (0, 1))
        if early == late:
            for bound in get_args(Bound):
                local_ms = ms_of(local.replace(tzinfo=UTC))
                assert timestamp_of(local_ms, bound, zone) == early
