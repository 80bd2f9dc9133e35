"""Which range a range is compared with, in local time."""

from datetime import UTC, date, datetime, timedelta

import pytest

from nealytics.errors import Refused
from nealytics.queries.comparison import compared_range
from nealytics.queries.time_bounds import timestamp_ms
from tests.queries.clocks import EPOCH, TRICKY, ms_of, shown


def range_of(begin: str, end: str, zone: str | None = None) -> tuple[int, int]:
    return timestamp_ms("from", begin, "from", zone), timestamp_ms("to", end, "to", zone)


def compared(compare: str, begin: str, end: str, zone: str | None = None) -> tuple[int, int]:
    return compared_range(compare, *range_of(begin, end, zone), zone)


@pytest.mark.parametrize(
    ("compare", "range_", "expected"),
    [
        ("previous", ("2026-11-01", "2026-11-30"), ("2026-10-02", "2026-10-31")),
        ("previous", ("2026-06-08", "2026-06-14"), ("2026-06-01", "2026-06-07")),
        ("previous", ("2026-03-29", "2026-03-29"), ("2026-03-28", "2026-03-28")),
        ("previous", ("2026-10-25", "2026-10-26"), ("2026-10-23", "2026-10-24")),
        # The same dates of the month before.
        ("previous_month", ("2026-11-03", "2026-11-09"), ("2026-10-03", "2026-10-09")),
        ("previous_month", ("2026-01-15", "2026-01-15"), ("2025-12-15", "2025-12-15")),
        # What the month does not have is its last day.
        ("previous_month", ("2026-03-31", "2026-03-31"), ("2026-02-28", "2026-02-28")),
        ("previous_month", ("2024-03-29", "2024-03-31"), ("2024-02-29", "2024-02-29")),
        ("previous_month", ("2026-03-15", "2026-03-31"), ("2026-02-15", "2026-02-28")),
        ("previous_month", ("2026-05-31", "2026-06-01"), ("2026-04-30", "2026-05-01")),
        # Whole months with whole months.
        ("previous_month", ("2026-11-01", "2026-11-30"), ("2026-10-01", "2026-10-31")),
        ("previous_month", ("2026-02-01", "2026-02-28"), ("2026-01-01", "2026-01-31")),
        ("previous_month", ("2026-03-01", "2026-03-31"), ("2026-02-01", "2026-02-28")),
        ("previous_month", ("2026-01-01", "2026-03-31"), ("2025-12-01", "2026-02-28")),
        ("previous_month", ("2026-11-01", "2026-11-29"), ("2026-10-01", "2026-10-29")),
        ("previous_month", ("2026-11-02", "2026-11-30"), ("2026-10-02", "2026-10-30")),
        # A year.
        ("previous_year", ("2026-06-01", "2026-06-30"), ("2025-06-01", "2025-06-30")),
        ("previous_year", ("2024-02-29", "2024-02-29"), ("2023-02-28", "2023-02-28")),
        ("previous_year", ("2024-02-29", "2024-03-01"), ("2023-02-28", "2023-03-01")),
        ("previous_year", ("2024-02-01", "2024-02-29"), ("2023-02-01", "2023-02-28")),
        ("previous_year", ("2025-02-01", "2025-02-28"), ("2024-02-01", "2024-02-29")),
        ("previous_year", ("2025-02-28", "2025-02-28"), ("2024-02-28", "2024-02-28")),
        ("previous_year", ("2024-01-01", "2024-12-31"), ("2023-01-01", "2023-12-31")),
        # One's own.
        ("2026-01-01..2026-01-31", ("2026-11-01", "2026-11-30"), ("2026-01-01", "2026-01-31")),
        ("2026-12-01..2026-12-01", ("2026-11-01", "2026-11-30"), ("2026-12-01", "2026-12-01")),
    ],
)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/Santiago", "Africa/Cairo", "Asia/Beirut"])
def test_whole_local_days_are_compared_with_whole_local_days(
    compare: str, range_: tuple[str, str], expected: tuple[str, str], zone: str | None
):
    assert compared(compare, *range_, zone) == range_of(*expected, zone)


def test_a_november_in_berlin_is_compared_with_a_range_that_begins_at_midnight():
    """720 hours before 1 November 00:00 it was 2 October 01:00: the clocks were set back in between."""
    begin, end = compared("previous", "2026-11-01", "2026-11-30", "Europe/Berlin")
    assert shown(begin, "Europe/Berlin").isoformat() == "2026-10-02T00:00:00+02:00"
    assert shown(end, "Europe/Berlin").isoformat() == "2026-10-31T23:59:59.999000+01:00"


@pytest.mark.parametrize(("zone", "day"), TRICKY)
def test_as_many_days_that_there_were(zone: str, day: str):
    """Days are those that the calendar of the zone shows; a date that was skipped is none."""
    middle = date.fromisoformat(day)
    for first, last in ((-1, 5), (1, 1), (0, 3), (2, 33)):
        begin, end = (str(middle + timedelta(days=n)) for n in (first, last))
        range_ = range_of(begin, end, zone)
        previous = compared_range("previous", *range_, zone)
        assert previous[1] == range_[0] - 1
        # Clocks that are set back across midnight show the date before `from` once more.
        asked = [day for day in dates(*range_, zone) if begin <= str(day) <= end]
        first_date = shown(previous[0], zone).date()
        assert len([day for day in dates(*previous, zone) if day >= first_date]) == len(asked)
        assert shown(previous[0] - 1, zone).date() < first_date


def dates(first: int, last: int, zone: str) -> set[date]:
    return {shown(ms, zone).date() for ms in (*range(first, last, 600_000), last)}


def at(text: str) -> int:
    return ms_of(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("compare", "range_", "expected"),
    [
        # As long to the millisecond: these twelve hours of a clock are 13.
        (
            "previous",
            ("2026-10-25T00:00", "2026-10-25T11:59:59.999"),
            ("2026-10-24T11:00:00+02:00", "2026-10-24T23:59:59.999+02:00"),
        ),
        # With the same times of day.
        (
            "previous_month",
            ("2026-11-01", "2026-11-20T14:23"),
            ("2026-10-01T00:00+02:00", "2026-10-20T14:23+02:00"),
        ),
        (
            "previous_month",
            ("2026-03-01", "2026-03-31T14:23"),
            ("2026-02-01T00:00+01:00", "2026-02-28T14:23+01:00"),
        ),
        (
            "previous_year",
            ("2024-02-01", "2024-02-29T12:00"),
            ("2023-02-01T00:00+01:00", "2023-02-28T12:00+01:00"),
        ),
        # Both ends are moved onto 28 February, the later one to an earlier time: the length is kept.
        (
            "previous_month",
            ("2026-03-30T12:00", "2026-03-31T06:00"),
            ("2026-02-28T12:00+01:00", "2026-03-01T06:00+01:00"),
        ),
        # Times that the clocks show twice, or not at all.
        (
            "previous_month",
            ("2026-11-25T02:30", "2026-11-25T02:45"),
            ("2026-10-25T02:30+02:00", "2026-10-25T02:45+01:00"),
        ),
        (
            "previous_month",
            ("2026-04-29T02:30", "2026-04-29T05:00"),
            ("2026-03-29T03:00+02:00", "2026-03-29T05:00+02:00"),
        ),
        (
            "2026-01-01T10:00..2026-01-01T12:00Z",
            ("2026-11-01", "2026-11-30"),
            ("2026-01-01T09:00Z", "2026-01-01T12:00Z"),
        ),
    ],
)
def test_other_ranges_are_moved_with_their_times_of_day(
    compare: str, range_: tuple[str, str], expected: tuple[str, str]
):
    begin, end = expected
    assert compared(compare, *range_, "Europe/Berlin") == (at(begin), at(end))


def test_what_never_came_is_no_reason_to_turn_a_range_around():
    """15 minutes in April are moved into the hour that March does not have."""
    begin, end = compared("previous_month", "2026-04-29T02:15", "2026-04-29T02:30", "Europe/Berlin")
    assert (end - begin) == 15 * 60_000
    assert shown(begin, "Europe/Berlin").isoformat() == "2026-03-29T03:00:00+02:00"


@pytest.mark.parametrize(
    "compare",
    [
        "last",
        "Previous",
        "previous_week",
        "2026-01-01",
        "2026-01-01..",
        "..2026-01-01",
        "..",
        "2026-01-01...2026-01-31",
        "2026-01-31..2026-01-01",
        "2026-01-01..2026-01-31..2026-02-01",
        "yesterday..today",
    ],
)
def test_any_other_comparison_is_refused_by_name(compare: str):
    with pytest.raises(Refused) as refused:
        compared(compare, "2026-06-01", "2026-06-30")
    assert (refused.value.status, refused.value.field) == (400, "compare")
    assert refused.value.detail


def test_nothing_is_earlier_than_1900_and_no_range_too_long():
    first, last = compared("previous_year", "0001-01-01", "9999-12-31", "Europe/Berlin")
    assert first == ms_of(datetime(1900, 1, 1, tzinfo=UTC))
    assert EPOCH + timedelta(milliseconds=last) < datetime(2299, 1, 2, tzinfo=UTC)
    assert compared("previous", "0001-01-01", "9999-12-31")[1] == first - 1


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_the_range_before_all_stored_times_ends_where_they_begin(zone: str | None):
    begin, end = range_of("1900-01-01", "2299-12-31", zone)
    before, until = compared_range("previous", begin, end, zone)
    assert until == begin - 1
    # To a day: Berlin's first hour of 1900 is in 1899, where there are neither events nor clocks.
    assert abs(before - (2 * begin - end - 1)) < 86_400_000
