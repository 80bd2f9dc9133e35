import msgspec
import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.active import PARAMETERS, Params, build_rolling_sql, build_sql, parse
from nealytics.queries.params import Arguments, Limit

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(limit_max=5_000), NOW_MS, PARAMETERS))


def test_the_defaults_are_exact_users_by_day():
    params = parsed()
    assert (params.interval, params.by, params.mode, params.zone) == ("day", "user", "exact", None)
    assert (params.selection.from_ms, params.selection.to_ms) == (NOW_MS - DAY_MS, NOW_MS)
    assert (params.rolling, params.stickiness) == (None, False)
    assert params.limit == Limit(5_000, given=False)


@pytest.mark.parametrize(
    ("query", "sql"),
    [
        ({"by": "user"}, "uniqExact(user_key)"),
        ({"by": "session"}, "uniqExact(session_key)"),
        ({"mode": "approx"}, "uniq(user_key)"),
        ({"mode": "approx", "by": "session"}, "uniq(session_key)"),
        ({"cumulative": "true"}, "uniqExactMerge(who) OVER ("),
        ({"cumulative": "true", "mode": "approx"}, "uniqMerge(who) OVER ("),
        ({"stickiness": "true", "interval": "week"}, "uniqExactState(user_key)"),
        ({"stickiness": "true", "interval": "month", "mode": "approx"}, "uniqState(user_key)"),
    ],
)
def test_each_choice_has_its_sql(query: dict[str, str], sql: str):
    assert sql in build_sql(parsed(**query)).sql


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"interval": "hour"}, "interval"),
        ({"interval": "Day"}, "interval"),
        ({"by": "device"}, "by"),
        ({"by": "user_id"}, "by"),
        ({"mode": "estimate"}, "mode"),
        ({"mode": "uniqExact"}, "mode"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"rolling": "0"}, "rolling"),
        ({"rolling": "91"}, "rolling"),
        ({"rolling": "7d"}, "rolling"),
        ({"rolling": "7", "interval": "week"}, "rolling"),
        ({"stickiness": "maybe", "interval": "week"}, "stickiness"),
        ({"stickiness": "true"}, "stickiness"),
        ({"rolling": "7", "from": "2000-01-01", "to": "2024-01-01"}, "rolling"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(query: dict[str, str], field: str):
    with pytest.raises(Refused) as refused:
        parsed(**query)
    assert (refused.value.status, refused.value.field) == (400, field)


def test_the_oldest_bucket_comes_first_and_every_value_is_bound():
    sql, bound = build_sql(parsed(limit="7"))
    assert " GROUP BY bucket_ms ORDER BY bucket_ms LIMIT {" in sql
    assert list(bound.values()) == [NOW_MS - DAY_MS, NOW_MS, 8]


@pytest.mark.parametrize("mode", ["exact", "approx"])
def test_rolling_days_look_back_before_the_range(mode: str):
    params = parsed(rolling="28", mode=mode, **{"from": "2024-06-10T12:00:00Z", "to": "2024-06-12"})
    assert params.starts is not None
    assert [(day - params.starts[0]) // DAY_MS for day in params.starts] == [0, 1, 2]
    assert params.rolling == 28
    _, bound = build_rolling_sql(params, 28)
    assert min(ms for ms in bound.values() if isinstance(ms, int) and ms > 10**9) == (
        params.starts[0] - 27 * DAY_MS
    )


def test_rolling_days_may_be_asked_for_with_their_stickiness():
    assert msgspec.structs.replace(parsed(rolling="7"), stickiness=True) == parsed(
        rolling="7", stickiness="1"
    )
