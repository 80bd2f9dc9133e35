from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.queries.filters import Selection
from nealytics.queries.heatmap import ENDPOINT, Params, build_sql, parse
from nealytics.queries.params import Arguments

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(), NOW_MS, ENDPOINT.parameters))


def test_the_default_is_28_days_with_today_by_utc():
    from_ms = NOW_MS // DAY_MS * DAY_MS - 27 * DAY_MS
    assert parsed() == Params(zone=None, selection=Selection(from_ms=from_ms, to_ms=NOW_MS))


def test_users_of_different_tenants_are_distinct():
    assert "uniqExact(user_key)" in build_sql(parsed()).sql


def test_the_zone_is_bound_as_its_offsets():
    sql, bound = build_sql(parsed(tz="Asia/Kolkata"))
    assert "Kolkata" not in sql
    assert 19_800_000 in bound.values()
