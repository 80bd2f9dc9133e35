from datetime import UTC, datetime

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments, iso_utc

NOW_MS = 1_718_447_400_123  # 2024-06-15T10:30:00.123Z
CONFIG = QueryConfig(limit_max=1_000, default_range_hours=24)
HOUR_MS = 3_600_000


def arguments(*pairs: tuple[str, str], config: QueryConfig = CONFIG) -> Arguments:
    return Arguments(MultiDict(pairs), config, NOW_MS)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1", 1),
        ("50", 50),
        ("0", 1),
        ("-5", 1),
        ("+7", 7),
        (" 7 ", 7),
        ("007", 7),
        ("999999", 1_000),
        ("9" * 200, 1_000),
        ("-" + "9" * 200, 1),
        ("", 100),
        ("  ", 100),
    ],
)
def test_a_limit_is_brought_between_one_and_the_maximum(text: str, limit: int):
    assert arguments(("limit", text)).limit() == limit


def test_the_default_limit_does_not_exceed_the_maximum():
    assert arguments(config=QueryConfig(limit_max=10)).limit() == 10


def test_a_limit_without_a_default_is_the_maximum():
    assert arguments().limit(default=None) == 1_000
    assert arguments(("limit", "7")).limit(default=None) == 7


@pytest.mark.parametrize("text", ["ten", "1.5", "1e3", "1_000", "٣", "0x10", "1;2", "9" * 300])
def test_a_limit_that_is_no_integer_is_refused_by_name(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("limit", text)).limit()
    assert (refused.value.status, refused.value.code, refused.value.field) == (
        400,
        "invalid_parameter",
        "limit",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-06-15T10:30:00Z", "2024-06-15T10:30:00"),
        ("2024-06-15T10:30:00.123Z", "2024-06-15T10:30:00.123"),
        ("2024-06-15T10:30:00", "2024-06-15T10:30:00"),
        ("2024-06-15 10:30:00", "2024-06-15T10:30:00"),
        ("2024-06-15T12:30:00+02:00", "2024-06-15T10:30:00"),
        ("2024-06-15T10:30:00.1230000Z", "2024-06-15T10:30:00.123"),
        ("2024-06-15", "2024-06-15T00:00:00"),
        ("20240615T103000Z", "2024-06-15T10:30:00"),
    ],
)
def test_an_instant_is_read_as_iso_8601_and_as_utc_without_a_zone(text: str, expected: str):
    assert arguments(("before", text)).instant("before", round_up=True) == ms(expected)


def test_a_finer_instant_is_rounded_to_the_side_that_keeps_the_comparison_true():
    """An event at .123 is older than .1235, and not within "until .1229"."""
    finer = arguments(("t", "2024-06-15T10:30:00.1235Z"))
    assert finer.instant("t", round_up=True) == ms("2024-06-15T10:30:00.124")
    assert finer.instant("t", round_up=False) == ms("2024-06-15T10:30:00.123")


def test_an_instant_outside_of_what_clickhouse_can_hold_means_before_or_after_everything():
    assert arguments(("t", "0001-01-01")).instant("t", round_up=True) == ms("1900-01-01T00:00:00")
    assert arguments(("t", "9999-12-31")).instant("t", round_up=True) == ms("2299-12-31T00:00:00")


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "1718447400123",
        "2024-13-01",
        "2024-06-15T25:00:00Z",
        "now",
        "0001-01-01T00:00:00+23:00'",
        "06/15/2024",
        "\x00",
    ],
)
def test_an_instant_that_cannot_be_parsed_is_refused_by_name(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("before", text)).instant("before", round_up=True)
    assert (refused.value.status, refused.value.field) == (400, "before")
    assert refused.value.detail


def test_an_instant_whose_zone_leaves_the_calendar_is_no_crash():
    assert arguments(("t", "0001-01-01T00:00:00+23:59")).instant("t", round_up=True) == ms(
        "1900-01-01T00:00:00"
    )


def test_the_range_is_by_default_the_last_hours():
    assert arguments().range_ms() == (NOW_MS - 24 * HOUR_MS, NOW_MS)


def test_a_range_that_only_says_where_it_ends_is_as_long_as_the_default():
    to_ms = ms("2024-01-02T00:00:00")
    assert arguments(("to", "2024-01-02")).range_ms() == (to_ms - 24 * HOUR_MS, to_ms)


def test_a_range_that_ends_in_the_future_still_starts_the_default_hours_ago():
    assert arguments(("to", "2024-06-16")).range_ms() == (NOW_MS - 24 * HOUR_MS, ms("2024-06-16T00:00:00"))


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(Refused) as refused:
        arguments(("from", "2024-06-02"), ("to", "2024-06-01")).range_ms()
    assert (refused.value.status, refused.value.field) == (400, "from")
    assert "2024-06-02T00:00:00Z" in refused.value.message


def test_a_range_of_one_instant_is_a_range():
    assert arguments(("from", "2024-06-01"), ("to", "2024-06-01")).range_ms()[0] == ms("2024-06-01T00:00:00")


def test_a_text_is_taken_as_sent_and_blank_counts_as_absent():
    assert arguments(("eventType", " café '\\\t{x} ")).text("eventType") == " café '\\\t{x} "
    assert arguments(("eventType", " \t")).text("eventType") is None
    assert arguments().text("eventType") is None


def test_a_text_longer_than_any_stored_value_is_refused():
    assert arguments(("eventType", "x" * 256)).text("eventType") == "x" * 256
    with pytest.raises(Refused, match="257 characters, at most 256") as refused:
        arguments(("eventType", "x" * 257)).text("eventType")
    assert refused.value.field == "eventType"


def test_an_argument_given_twice_is_refused_rather_than_guessed():
    with pytest.raises(Refused) as refused:
        arguments(("sessionId", "a"), ("sessionId", "b")).text("sessionId")
    assert (refused.value.status, refused.value.field) == (400, "sessionId")


def test_a_text_with_a_lone_surrogate_is_refused():
    with pytest.raises(Refused, match="UTF-8"):
        arguments(("eventType", "\udcff")).text("eventType")


def test_a_choice_is_one_of_those_offered_or_none():
    assert arguments(("by", "user")).choice("by", ["user", "session"]) == "user"
    assert arguments(("by", " ")).choice("by", ["user", "session"]) is None
    assert arguments().choice("by", ["user", "session"]) is None


@pytest.mark.parametrize("text", ["User", "user ", "use", "user,session", "'", "x" * 300])
def test_any_other_choice_is_refused_by_name(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("by", text)).choice("by", ["user", "session"])
    assert (refused.value.status, refused.value.code, refused.value.field) == (400, "invalid_parameter", "by")


def test_a_refused_choice_says_what_is_offered():
    with pytest.raises(Refused, match="'device'") as refused:
        arguments(("by", "device")).choice("by", ["user", "session"])
    assert refused.value.detail == "Write one of user, session."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2024-06-15T10:30:00.123", "2024-06-15T10:30:00.123Z"),
        ("2024-06-15T10:30:00.120", "2024-06-15T10:30:00.12Z"),
        ("2024-06-15T10:30:00.100", "2024-06-15T10:30:00.1Z"),
        ("2024-06-15T10:30:00.001", "2024-06-15T10:30:00.001Z"),
        ("2024-06-15T10:30:00", "2024-06-15T10:30:00Z"),
        ("2024-06-15T10:00:00", "2024-06-15T10:00:00Z"),
        ("1969-12-31T23:59:59.999", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_written_as_the_c_sharp_engine_wrote_them(text: str, shown: str):
    assert iso_utc(ms(text)) == shown
    assert datetime.fromisoformat(shown) == datetime.fromisoformat(text).replace(tzinfo=UTC)
