import re

import pytest

from nealytics.importer import times


@pytest.mark.parametrize(
    ("text", "unit", "sent"),
    [
        ("1718447400123", None, 1718447400123),
        ("20240615", None, "20240615"),
        ("1718447400", None, "1718447400"),
        ("1718447400", "s", 1718447400000),
        ("1718447400.1239", "s", 1718447400123),
        ("-0.0001", "s", -1),
        ("1718447400123", "ms", 1718447400123),
        ("1718447400123.9", "ms", 1718447400123),
        ("5", "ms", 5),
        ("1718447400123456", "us", 1718447400123),
        ("1718447400123456789", "ns", 1718447400123),
        ("2024-03-13 10:21:14.123456 UTC", None, "2024-03-13 10:21:14.123456Z"),
        ("2024-03-13 10:21:14 GMT", None, "2024-03-13 10:21:14Z"),
        (" 2024-03-13T10:21:14+01:00 ", None, "2024-03-13T10:21:14+01:00"),
        ("2024-03-13T10:21:14Z", "s", "2024-03-13T10:21:14Z"),
        ("yesterday", None, "yesterday"),
        # Python reads no number of more than 4,300 digits.
        ("9" * 5_000, "ms", "9" * 5_000),
        ("1." + "9" * 5_000, "s", "1." + "9" * 5_000),
        ("\u0661" * 13, "ms", "\u0661" * 13),  # Arabic digits
    ],
)
def test_a_time_is_brought_into_the_server_s_form(text: str, unit: times.Unit | None, sent: str | int):
    assert times.normalized(text, unit) == sent


@pytest.mark.parametrize(
    ("text", "shift_ms"),
    [("812d", 812 * 86_400_000), ("-3h", -10_800_000), ("+90min", 5_400_000), ("7ms", 7)],
)
def test_a_shift_is_read_and_shown(text: str, shift_ms: int):
    assert times.parse_shift(text) == shift_ms
    assert times.parse_shift(times.shown_shift(shift_ms)) == shift_ms


@pytest.mark.parametrize("text", ["", "812", "d", "1.5d", "3 weeks"])
def test_a_shift_that_is_no_amount_is_refused(text: str):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        times.parse_shift(text)


def test_the_shift_to_a_goal_is_whole_days_and_never_beyond_it():
    day = 86_400_000
    goal = 1_000 * day + 5
    for newest in (0, 5, 6, 999 * day + 6, 1_000 * day, goal, goal + 1, 1_002 * day):
        shift = times.whole_days_to(newest, goal)
        assert shift % day == 0
        assert goal - day < newest + shift <= goal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, 5),
        ("2024-03-13t10:21:14z", 1710325274000),
        ("2024-03-13", 1710288000000),
        ("2024-03-13T10.5", None),
        ("yesterday", None),
    ],
)
def test_a_time_is_the_one_that_the_server_reads(value: str | int, expected: int | None):
    assert times.moment_ms(value) == expected
