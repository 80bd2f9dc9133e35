import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments
from nealytics.queries.timeseries import Params, build_sql, parse

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(limit_max=5_000), NOW_MS))


def test_the_defaults_are_hours_of_the_last_day_up_to_the_maximum():
    assert parsed() == Params(interval="hour", from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS, limit=5_000)
    assert parsed(interval="", groupBy=" ", eventType="  ", limit="") == parsed()


@pytest.mark.parametrize("interval", ["minute", "hour", "day"])
def test_each_interval_has_buckets_of_its_own(interval: str):
    assert f"toStartOf{interval.title()}(timestamp, 'UTC')" in build_sql(parsed(interval=interval)).sql


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval", "week"),
        ("interval", "month"),
        ("interval", "HOUR"),
        ("interval", " hour"),
        ("groupBy", "user_id"),
        ("groupBy", "timestamp"),
        ("groupBy", "EVENT_TYPE"),
        ("groupBy", "event_type, item_id"),
        ("eventType", "x" * 257),
    ],
)
def test_what_is_not_offered_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed(**{name: value})
    assert (refused.value.status, refused.value.field) == (400, name)


def test_without_a_group_there_is_one_row_for_each_bucket():
    sql, bound = build_sql(parsed())
    assert "series" not in sql
    assert sql.endswith(" GROUP BY bucket_ms ORDER BY bucket_ms LIMIT {limit:UInt32}")
    assert bound == {"from_ms": NOW_MS - DAY_MS, "to_ms": NOW_MS, "limit": 5_000}


@pytest.mark.parametrize("group_by", ["event_type", "item_id", "session_id"])
def test_with_a_group_there_is_one_row_for_each_bucket_and_value(group_by: str):
    sql, _ = build_sql(parsed(groupBy=group_by))
    assert group_by in sql.partition(" AS series FROM ")[0]
    assert sql.endswith(" GROUP BY bucket_ms, series ORDER BY bucket_ms, series LIMIT {limit:UInt32}")


def test_an_event_type_is_a_bound_condition():
    sql, bound = build_sql(parsed(eventType="purchase", groupBy="item_id"))
    assert " AND event_type = {event_type:String} GROUP BY" in sql
    assert bound["event_type"] == "purchase"
