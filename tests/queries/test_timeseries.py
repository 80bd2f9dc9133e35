import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.filters import Field, Filter
from nealytics.queries.params import Arguments, Limit
from nealytics.queries.timeseries import INTERVALS, PARAMETERS, Params, build_sql, parse

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(limit_max=5_000), NOW_MS, PARAMETERS))


def test_the_defaults_are_hours_of_the_last_day_up_to_the_maximum():
    params = parsed()
    assert (params.interval, params.zone, params.group_by, params.fill) == ("hour", None, None, None)
    assert (params.selection.from_ms, params.selection.to_ms) == (NOW_MS - DAY_MS, NOW_MS)
    assert params.limit == Limit(5_000, given=False)
    assert parsed(interval="", groupBy=" ", eventType="  ", limit="", tz=" ", fill="") == params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval", "quarter"),
        ("interval", "second"),
        ("interval", "HOUR"),
        ("interval", " hour"),
        ("groupBy", "timestamp"),
        ("groupBy", "project_id"),
        ("groupBy", "EVENT_TYPE"),
        ("groupBy", "event_type, item_id"),
        ("groupBy", "meta:"),
        ("tz", "Europe/berlin"),
        ("tz", "+02:00"),
        ("tz", "../../etc/passwd"),
        ("tz", "Europe/Berlin'"),
        ("fill", "yes"),
        ("eventType", "x" * 257),
    ],
)
def test_what_is_not_offered_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed(**{name: value})
    assert (refused.value.status, refused.value.field) == (400, name)


def test_without_a_group_there_is_one_row_for_each_bucket():
    sql, bound = build_sql(parsed())
    assert " GROUP BY bucket_ms ORDER BY bucket_ms, other, series, tenant LIMIT {" in sql
    # One more than may be shown tells whether something is missing.
    assert list(bound.values()) == [NOW_MS - DAY_MS, NOW_MS, 5_001]


@pytest.mark.parametrize("group_by", ["event_type", "item_id", "tenant_id"])
def test_with_a_group_there_is_one_row_for_each_bucket_and_value(group_by: str):
    sql, _ = build_sql(parsed(groupBy=group_by))
    assert group_by in sql.partition(" AS series")[0]
    assert " ORDER BY bucket_ms, other, series, tenant LIMIT {" in sql


@pytest.mark.parametrize(("group_by", "key"), [("session_id", "session_key"), ("user_id", "user_key")])
def test_sessions_and_users_of_different_tenants_are_distinct(group_by: str, key: str):
    assert f" GROUP BY bucket_ms, {key} ORDER BY " in build_sql(parsed(groupBy=group_by)).sql


def test_a_metadata_key_and_an_event_type_are_bound():
    params = parsed(eventType="purchase", groupBy="meta:cart.it's")
    assert params.group_by == Field("meta", ("cart", "it's"))
    assert params.selection.filters == (Filter(Field("event_type"), "eq", "purchase"),)
    sql, bound = build_sql(params)
    assert not any(text in sql for text in ("purchase", "cart", "it's"))
    assert {"purchase", "cart", "it's"} <= set(bound.values())


def test_to_fill_means_every_interval_that_the_range_touches():
    params = parsed(fill="true", interval="day", **{"from": "2024-03-30T12:00:00Z", "to": "2024-04-01"})
    assert params.fill == tuple(1_711_756_800_000 + n * DAY_MS for n in range(3))
    berlin = parsed(
        fill="1", interval="day", tz="Europe/Berlin", **{"from": "2024-03-30", "to": "2024-04-01"}
    )
    assert berlin.fill == (1_711_753_200_000, 1_711_839_600_000, 1_711_922_400_000)


def test_nothing_is_filled_after_now():
    today = NOW_MS // DAY_MS * DAY_MS
    params = parsed(fill="true", interval="day", **{"from": "2024-06-14", "to": "2024-07-31"})
    assert params.fill == (today - DAY_MS, today)
    assert params.selection.to_ms > NOW_MS + 40 * DAY_MS
    for interval in INTERVALS:
        assert parsed(fill="true", interval=interval, **{"from": "2024-07-20", "to": "2024-07-21"}).fill == ()


def test_what_is_to_be_filled_is_read_completely():
    _, bound = build_sql(parsed(fill="true", limit="3"))
    assert list(bound.values())[-1] == 5_001


def test_more_points_than_an_answer_may_have_are_not_filled():
    range_ = {"from": "2024-06-01", "to": "2024-06-04T11:19:59.999Z"}
    assert len(parsed(fill="true", interval="minute", **range_).fill or ()) == 5_000
    for to in ("2024-06-04T11:20:00Z", "2024-06-14", "9999-12-31"):
        with pytest.raises(Refused) as refused:
            parsed(fill="true", interval="minute", **{"from": "2024-06-01", "to": to})
        assert (refused.value.status, refused.value.field) == (400, "fill")
        assert "more than 5000 points" in refused.value.message


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("top", {"top": "5"}),
        ("top", {"top": "0", "groupBy": "event_type"}),
        ("top", {"top": "101", "groupBy": "event_type"}),
        ("other", {"other": "true", "groupBy": "event_type"}),
    ],
)
def test_top_and_other_need_what_they_select_from(field: str, query: dict[str, str]):
    with pytest.raises(Refused) as refused:
        parsed(**query)
    assert (refused.value.status, refused.value.field) == (400, field)
