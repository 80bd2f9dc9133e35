import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.active import Params, build_sql, parse
from nealytics.queries.params import Arguments

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(limit_max=5_000), NOW_MS))


def test_the_defaults_are_exact_users_a_day_up_to_the_maximum():
    assert parsed() == Params(
        interval="day", by="user", mode="exact", from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS, limit=5_000
    )
    assert parsed(interval="", by=" ", mode="", limit="") == parsed()


@pytest.mark.parametrize(
    ("query", "sql"),
    [
        ({}, "uniqExact(nullIf(user_id, ''))"),
        ({"by": "user", "mode": "approx"}, " uniq(nullIf(user_id, ''))"),
        ({"by": "session", "mode": "exact"}, "uniqExact(session_id)"),
        ({"by": "session", "mode": "approx"}, " uniq(session_id)"),
        ({"interval": "day"}, "toStartOfDay(timestamp, 'UTC')"),
        ({"interval": "month"}, "toStartOfMonth(timestamp, 'UTC')"),
    ],
)
def test_each_choice_has_its_sql(query: dict[str, str], sql: str):
    assert sql in build_sql(parsed(**query)).sql


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval", "week"),
        ("interval", "hour"),
        ("interval", "Day"),
        ("by", "device"),
        ("by", "user_id"),
        ("mode", "estimate"),
        ("mode", "uniqExact"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed(**{name: value})
    assert (refused.value.status, refused.value.field) == (400, name)


def test_the_oldest_bucket_comes_first_and_every_value_is_bound():
    sql, bound = build_sql(parsed(limit="7"))
    assert sql.endswith(" GROUP BY bucket_ms ORDER BY bucket_ms LIMIT {limit:UInt32}")
    assert bound == {"from_ms": NOW_MS - DAY_MS, "to_ms": NOW_MS, "limit": 7}
