from datetime import UTC, datetime

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.filters import Field, Filter
from nealytics.queries.params import SELECTION, TZ, Arguments, Limit, Parameter, Warn, by_of, limit_of
from nealytics.queries.segments import Within
from nealytics.timestamps import iso_utc

NOW_MS = 1_718_447_400_123  # 2024-06-15T10:30:00.123Z
CONFIG = QueryConfig(limit_max=1_000, default_range_hours=24)
HOUR_MS = 3_600_000


DECLARED = (
    *SELECTION,
    TZ,
    limit_of("events"),
    by_of("user"),
    Parameter(name="before", kind="timestamp", description=""),
    Parameter(name="fill", kind="flag", description=""),
    Parameter(name="depth", kind="integer", default=3, minimum=1, maximum=5, description=""),
    Parameter(name="step", kind="text", repeatable=True, description=""),
    Parameter(name="event", kind="text", required=True, description="The event type it starts from."),
    Parameter(
        name="window",
        kind="duration",
        default="1d",
        minimum=1_000,
        maximum=90 * 24 * HOUR_MS,
        description="1s to 90d.",
    ),
    Parameter(name="dimension", kind="field", choices=("event_type", "user_id"), description=""),
)


def arguments(
    *pairs: tuple[str, str], config: QueryConfig = CONFIG, declared: tuple[Parameter, ...] = DECLARED
) -> Arguments:
    return Arguments(MultiDict(pairs), config, NOW_MS, declared)


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
    assert arguments(("limit", text)).limit().count == limit


@pytest.mark.parametrize(("text", "count"), [("0", 1), ("-5", 1), ("1001", 1_000)])
def test_a_limit_that_is_corrected_says_so(text: str, count: int):
    asked = arguments(("limit", text))
    asked.limit()
    (warning,) = asked.warnings
    assert (warning.code, warning.field) == ("limit_clamped", "limit")
    assert text in warning.message
    assert str(count) in warning.message


def test_a_limit_within_bounds_says_nothing():
    asked = arguments(("limit", "1000"))
    assert asked.limit() == Limit(1_000, given=True)
    assert arguments().limit() == Limit(100, given=False)
    assert asked.warnings == []


def test_rows_beyond_a_limit_that_was_asked_for_are_cut_with_a_warning():
    found: list[list[object]] = [[1], [2], [3]]
    (warning,) = Limit(2, given=True).cut(found, "points")
    assert found == [[1], [2]]
    assert warning.code == "truncated"


def test_rows_beyond_a_limit_that_nobody_named_are_refused():
    with pytest.raises(Refused, match="more than 2 points") as refused:
        Limit(2, given=False).cut([[1], [2], [3]], "points")
    assert (refused.value.status, refused.value.code) == (422, "result_too_large")


def test_rows_up_to_the_limit_stay_as_they_are():
    found: list[list[object]] = [[1], [2]]
    assert Limit(2, given=False).cut(found, "points") == []
    assert found == [[1], [2]]


def test_the_default_limit_does_not_exceed_the_maximum():
    assert arguments(config=QueryConfig(limit_max=10)).limit().count == 10


def test_a_limit_without_a_default_is_the_maximum():
    assert arguments(declared=(limit_of("points", None),)).limit() == Limit(1_000, given=False)
    assert arguments(("limit", "7"), declared=(limit_of("points", None),)).limit() == Limit(7, given=True)


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
    assert arguments(("before", text)).timestamp("before") == ms(expected)


def test_a_finer_instant_is_rounded_to_the_side_that_keeps_the_comparison_true():
    """An event at .123 is older than .1235, and not within "until .1229"."""
    finer = "2024-06-15T10:30:00.1235Z"
    asked = arguments(("before", finer), ("from", "2024-06-15T10:30:00.1225Z"), ("to", finer))
    assert asked.timestamp("before") == ms("2024-06-15T10:30:00.124")
    assert asked.range_ms() == (ms("2024-06-15T10:30:00.123"), ms("2024-06-15T10:30:00.123"))


def test_an_instant_outside_of_what_clickhouse_can_hold_means_before_or_after_everything():
    assert arguments(("before", "0001-01-01")).timestamp("before") == ms("1900-01-01T00:00:00")
    assert arguments(("before", "9999-12-31")).timestamp("before") == ms("2299-12-31T23:59:59.999")


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        "1718447400123",
        "2024-13-01",
        "2024-06-15T25:00:00Z",
        "tomorrow",
        "0001-01-01T00:00:00+23:00'",
        "06/15/2024",
        "\x00",
    ],
)
def test_an_instant_that_cannot_be_parsed_is_refused_by_name(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("before", text)).timestamp("before")
    assert (refused.value.status, refused.value.field) == (400, "before")
    assert refused.value.detail


def test_an_instant_whose_zone_leaves_the_calendar_is_no_crash():
    assert arguments(("before", "0001-01-01T00:00:00+23:59")).timestamp("before") == ms("1900-01-01T00:00:00")


def test_the_range_is_by_default_the_last_hours():
    assert arguments().range_ms() == (NOW_MS - 24 * HOUR_MS, NOW_MS)


def test_a_range_that_only_says_where_it_ends_is_as_long_as_the_default():
    to_ms = ms("2024-01-02T10:00:00")
    assert arguments(("to", "2024-01-02T10:00Z")).range_ms() == (to_ms - 24 * HOUR_MS, to_ms)


def test_a_date_alone_as_the_end_is_its_last_millisecond():
    day = ms("2024-06-01T00:00:00"), ms("2024-06-01T23:59:59.999")
    assert arguments(("from", "2024-06-01"), ("to", "2024-06-01")).range_ms() == day
    assert arguments(("from", "20240601"), ("to", "20240601")).range_ms() == day
    in_berlin = arguments(("from", "2024-06-01"), ("to", "2024-06-30"), ("tz", "Europe/Berlin"))
    assert in_berlin.range_ms() == (ms("2024-05-31T22:00:00"), ms("2024-06-30T21:59:59.999"))
    last = arguments(("to", "9999-12-31"))
    assert last.range_ms()[1] == ms("2299-12-31T23:59:59.999")


def test_a_day_that_is_only_named_as_the_end_is_asked_for_whole():
    day = ms("2024-01-02T00:00:00"), ms("2024-01-02T23:59:59.999")
    assert arguments(("to", "2024-01-02")).range_ms() == day


def test_a_range_that_ends_in_the_future_still_starts_the_default_hours_ago():
    end_ms = ms("2024-06-16T23:59:59.999")
    assert arguments(("to", "2024-06-16")).range_ms() == (NOW_MS - 24 * HOUR_MS, end_ms)


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(Refused) as refused:
        arguments(("from", "2024-06-02"), ("to", "2024-06-01")).range_ms()
    assert (refused.value.status, refused.value.field) == (400, "from")
    assert "2024-06-02T00:00:00Z" in refused.value.message


def test_a_range_of_one_instant_is_a_range():
    at = "2024-06-01T10:00:00Z"
    assert arguments(("from", at), ("to", at)).range_ms() == (ms(at[:-1]), ms(at[:-1]))


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


def test_a_choice_is_one_of_those_offered_or_the_default():
    assert arguments(("by", "session")).choice("by") == "session"
    assert arguments(("by", " ")).choice("by") == "user"
    assert arguments().choice("by") == "user"


@pytest.mark.parametrize("text", ["User", "user ", "use", "user,session", "'", "x" * 300])
def test_any_other_choice_is_refused_by_name(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("by", text)).choice("by")
    assert (refused.value.status, refused.value.code, refused.value.field) == (400, "invalid_parameter", "by")


def test_a_refused_choice_says_what_is_offered():
    with pytest.raises(Refused, match="'device'") as refused:
        arguments(("by", "device")).choice("by")
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


def test_what_is_not_declared_cannot_be_read():
    with pytest.raises(KeyError):
        arguments(("sql", "1")).text("sql")


def test_an_unknown_parameter_is_reported_with_the_nearest_one():
    (warning,) = arguments(("eventtyp", "view")).warnings
    assert warning == Warn(
        "unknown_parameter",
        "'eventtyp' is not a parameter and is ignored; did you mean eventType?",
    )


def test_names_have_no_case():
    asked = arguments(("EVENTTYPE", "view"))
    assert asked.text("eventType") == "view"
    assert asked.warnings == []


def test_a_flood_of_unknown_names_makes_a_short_answer():
    assert len(arguments(*((f"x{n}" * 300, "1") for n in range(500))).warnings) == 10


def test_a_required_argument_that_is_missing_says_what_it_is():
    with pytest.raises(Refused, match="event is missing") as refused:
        arguments(("event", " ")).text("event")
    assert refused.value.detail == "The event type it starts from."


def test_a_repeatable_text_keeps_its_order():
    assert arguments(("step", "b"), ("step", ""), ("step", "a")).texts("step") == ["b", "a"]
    with pytest.raises(Refused):
        arguments(("step", "a"), ("step", "x" * 257)).texts("step")


@pytest.mark.parametrize(("text", "value"), [("", 3), ("1", 1), (" 5 ", 5)])
def test_an_integer_is_within_its_bounds(text: str, value: int):
    assert arguments(("depth", text)).integer("depth") == value


@pytest.mark.parametrize("text", ["0", "6", "-1", "1.0", "three"])
def test_an_integer_outside_of_its_bounds_is_refused_and_not_corrected(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("depth", text)).integer("depth")
    assert refused.value.field == "depth"


@pytest.mark.parametrize(
    ("text", "flag"),
    [("true", True), ("TRUE", True), ("1", True), ("false", False), ("0", False), ("", False)],
)
def test_a_flag_is_true_or_false(text: str, flag: bool):
    assert arguments(("fill", text)).flag("fill") is flag


def test_any_other_flag_is_refused():
    with pytest.raises(Refused):
        arguments(("fill", "yes")).flag("fill")


@pytest.mark.parametrize(
    ("text", "ms"), [("", 86_400_000), ("90s", 90_000), ("30m", 1_800_000), ("90d", 7_776_000_000)]
)
def test_a_duration_has_a_unit(text: str, ms: int):
    assert arguments(("window", text)).duration_ms("window") == ms


@pytest.mark.parametrize("text", ["30", "0s", "91d", "1.5h", "-1d", "1w", "999999999999d", "1h30m"])
def test_a_duration_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(Refused) as refused:
        arguments(("window", text)).duration_ms("window")
    assert refused.value.field == "window"


def test_a_dimension_is_a_declared_column_or_metadata():
    assert arguments(("dimension", "user_id")).field("dimension") == Field("user_id")
    assert arguments(("dimension", "meta:a.b")).field("dimension") == Field("meta", ("a", "b"))
    assert arguments().field("dimension") is None
    for text in ("session_id", "timestamp", "metadata_json", "1", "meta:"):
        with pytest.raises(Refused) as refused:
            arguments(("dimension", text)).field("dimension")
        assert refused.value.field == "dimension"


def test_a_zone_is_a_name_of_the_iana_database():
    assert arguments(("tz", "Europe/Berlin")).zone() == "Europe/Berlin"
    assert arguments().zone() is None
    for text in ("Berlin", "UTC'", "../etc/passwd", "+02:00"):
        with pytest.raises(Refused) as refused:
            arguments(("tz", text)).zone()
        assert refused.value.field == "tz"


def test_single_purpose_parameters_are_filters():
    assert arguments(
        ("filter", "meta:plan:ne:free"),
        ("eventType", "view"),
        ("sessionId", "s"),
        ("userId", "u"),
        ("itemId", "i" * 2_048),
        ("metaKey", "a.b"),
        ("metaValue", "1"),
    ).filters(Within()) == (
        Filter(Field("meta", ("plan",)), "ne", "free"),
        Filter(Field("event_type"), "eq", "view"),
        Filter(Field("session_id"), "eq", "s"),
        Filter(Field("user_id"), "eq", "u"),
        Filter(Field("item_id"), "eq", "i" * 2_048),
        Filter(Field("meta", ("a.b",)), "eq", "1"),
    )


def test_a_metadata_key_without_a_value_filters_nothing_and_says_so():
    for alone in ("metaKey", "metaValue"):
        asked = arguments((alone, "plan"))
        assert asked.filters(Within()) == ()
        assert [(warning.code, warning.field) for warning in asked.warnings] == [("ignored", alone)]


def test_more_filters_than_anybody_needs_are_refused():
    with pytest.raises(Refused) as refused:
        arguments(*[("filter", "event_type:eq:a")] * 21).filters(Within())
    assert refused.value.field == "filter"


@pytest.mark.parametrize(
    ("pairs", "closed"),
    [
        ([], False),
        ([("from", "2024-06-01")], False),
        ([("from", "2024-06-01"), ("to", "2024-06-02")], True),
        ([("to", "2024-06-02")], True),
        ([("to", "2024-06-15T10:29:00.124Z")], False),
        ([("to", "2024-06-16")], False),
    ],
)
def test_a_range_is_closed_when_its_named_end_is_a_minute_past(pairs: list[tuple[str, str]], closed: bool):
    asked = arguments(*pairs)
    asked.range_ms()
    assert asked.closed is closed


def test_an_instant_without_a_zone_of_its_own_is_in_the_zone_that_was_asked_for():
    asked = arguments(("tz", "Europe/Berlin"), ("from", "2024-06-01"), ("to", "2024-06-30T23:59:59.999"))
    assert asked.range_ms() == (ms("2024-05-31T22:00:00"), ms("2024-06-30T21:59:59.999"))
    asked = arguments(("tz", "Europe/Berlin"), ("before", "2024-06-01T00:00:00Z"))
    assert asked.timestamp("before") == ms("2024-06-01T00:00:00")


def test_a_range_within_a_time_that_the_clocks_skip_is_refused_and_says_so():
    asked = arguments(("tz", "Pacific/Apia"), ("from", "2011-12-30"), ("to", "2011-12-30"))
    with pytest.raises(Refused) as refused:
        asked.range_ms()
    assert refused.value.detail == (
        "Swap the two. There is no millisecond between them, for example because the clocks of"
        " Pacific/Apia skip this time."
    )


@pytest.mark.parametrize(
    ("pairs", "detail"),
    [
        ([("from", "2024-06-16")], "Without to, the range ends now."),
        ([("from", "2024-06-03"), ("to", "2024-06-01")], "Swap the two."),
        (
            [("from", "2024-06-01T10:00:00.0001"), ("to", "2024-06-01T10:00:00.0002")],
            "Swap the two. There is no millisecond between them.",
        ),
    ],
)
def test_a_range_that_ends_before_it_begins_is_refused_with_what_to_do(
    pairs: list[tuple[str, str]], detail: str
):
    with pytest.raises(Refused) as refused:
        arguments(*pairs).range_ms()
    assert (refused.value.field, refused.value.detail) == ("from", detail)


def test_a_zone_that_makes_no_sense_is_refused_also_where_it_decides_nothing():
    with pytest.raises(Refused) as refused:
        arguments(("tz", "Mars/Olympus")).range_ms()
    assert refused.value.field == "tz"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("start", "from"), ("until", "to"), ("timezone", "tz"), ("per_page", "limit"), ("sort", None)],
)
def test_what_other_apis_call_it_is_understood_as_a_question(name: str, meant: str | None):
    (warning,) = arguments((name, "1")).warnings
    assert (f"did you mean {meant}?" in warning.message) is (meant is not None)
