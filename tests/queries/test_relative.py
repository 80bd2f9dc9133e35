from datetime import UTC, datetime

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import FROM, TO, TZ, Arguments
from nealytics.queries.relative import is_relative, resolved
from nealytics.queries.time_bounds import Bound
from nealytics.timestamps import iso_utc


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOW = ms("2024-03-31T22:30:00.250Z")  # a Sunday; in Berlin it is Monday, 1 April


def texts(text: str, zone: str | None = None, now_ms: int = NOW) -> tuple[str, str]:
    bounds: tuple[Bound, Bound] = ("from", "to")
    first, last = (resolved(text, bound, now_ms, zone) for bound in bounds)
    return first, last


@pytest.mark.parametrize(
    ("text", "zone", "first", "last"),
    [
        ("today", None, "2024-03-31", "2024-03-31"),
        ("today", "Europe/Berlin", "2024-04-01", "2024-04-01"),
        ("yesterday", "Europe/Berlin", "2024-03-31", "2024-03-31"),
        ("this_week", None, "2024-03-25", "2024-03-31"),
        ("this_week", "Europe/Berlin", "2024-04-01", "2024-04-07"),
        ("last_week", None, "2024-03-18", "2024-03-24"),
        ("this_month", None, "2024-03-01", "2024-03-31"),
        ("this_month", "Europe/Berlin", "2024-04-01", "2024-04-30"),
        ("last_month", None, "2024-02-01", "2024-02-29"),
        ("this_year", None, "2024-01-01", "2024-12-31"),
        ("last_year", None, "2023-01-01", "2023-12-31"),
        ("-0d", None, "2024-03-31", "2024-03-31"),
        ("-7d", None, "2024-03-24", "2024-03-24"),
        ("-7d", "Europe/Berlin", "2024-03-25", "2024-03-25"),
        ("-2w", None, "2024-03-17", "2024-03-17"),
        ("-1mo", None, "2024-02-29", "2024-02-29"),
        ("-13mo", None, "2023-02-28", "2023-02-28"),
        ("-1y", None, "2023-03-31", "2023-03-31"),
        ("-30m", "Europe/Berlin", "2024-03-31T22:00:00.25Z", "2024-03-31T22:00:00.25Z"),
        # The clocks of Berlin were set forward in between.
        ("-24h", "Europe/Berlin", "2024-03-30T22:30:00.25Z", "2024-03-30T22:30:00.25Z"),
        ("now", None, "2024-03-31T22:30:00.25Z", "2024-03-31T22:30:00.25Z"),
        ("2024-01-01", None, "2024-01-01", "2024-01-01"),
    ],
)
def test_a_relative_time_is_a_date_or_a_time(text: str, zone: str | None, first: str, last: str):
    assert texts(text, zone) == (first, last)


@pytest.mark.parametrize(
    "text", ["-7", "7d", "-7D", "-d", "--7d", "-12345d", "this_day", "TODAY", "+7d", "-1.5d", ""]
)
def test_another_text_is_not_relative(text: str):
    assert not is_relative(text)


@pytest.mark.parametrize("text", ["-999999m", "-99999h", "-9999d", "-999w", "-999mo", "-99y"])
def test_the_earliest_relative_times_are_after_1900(text: str):
    assert texts(text)[0] > "1900-01-02"


def arguments(**query: str) -> Arguments:
    return Arguments(MultiDict(query), QueryConfig(), NOW, (FROM, TO, TZ))


def range_of(**query: str) -> tuple[str, str]:
    first, last = arguments(**query).range_ms()
    return iso_utc(first), iso_utc(last)


def test_days_are_those_of_the_time_zone():
    # The day on which the clocks were set forward has 23 hours.
    assert range_of(**{"from": "yesterday", "to": "yesterday"}, tz="Europe/Berlin") == (
        "2024-03-30T23:00:00Z",
        "2024-03-31T21:59:59.999Z",
    )
    assert range_of(**{"from": "-7d"}) == ("2024-03-24T00:00:00Z", "2024-03-31T22:30:00.25Z")
    assert range_of(**{"from": "last_month", "to": "last_month"}) == (
        "2024-02-01T00:00:00Z",
        "2024-02-29T23:59:59.999Z",
    )


def test_a_day_as_the_end_has_a_whole_day_before_it_by_default():
    assert range_of(to="yesterday") == ("2024-03-30T00:00:00Z", "2024-03-30T23:59:59.999Z")


def test_an_answer_about_a_relative_range_is_not_closed():
    for query in (
        {"from": "-7d", "to": "-1d"},
        {"from": "2024-01-01", "to": "-1d"},
        {"from": "-7d", "to": "2024-03-30"},
    ):
        asked = arguments(**query)
        asked.range_ms()
        assert not asked.closed
    asked = arguments(**{"from": "2024-01-01", "to": "2024-03-30"})
    asked.range_ms()
    assert asked.closed


def test_what_is_neither_is_refused():
    with pytest.raises(Refused) as error:
        arguments(**{"from": "last_decade"}).range_ms()
    assert error.value.field == "from"


def test_utc_is_the_default():
    assert datetime.fromtimestamp(NOW / 1000, UTC).date().isoformat() == texts("today")[0]
