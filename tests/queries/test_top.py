import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments
from nealytics.queries.top import Params, build_sql, parse

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(limit_max: int = 5_000, **query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(limit_max=limit_max), NOW_MS))


def test_the_defaults_are_twenty_event_types_of_the_last_day():
    assert parsed() == Params(dimension="event_type", from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS, limit=20)
    assert parsed(dimension="", limit=" ") == parsed()


def test_twenty_are_no_more_than_the_maximum():
    assert parsed(limit_max=5).limit == 5
    assert parsed(limit="999999").limit == 5_000


@pytest.mark.parametrize("value", ["session_id", "user_id", "EVENT_TYPE", "event_type--", "1"])
def test_what_is_not_offered_is_refused_by_name(value: str):
    with pytest.raises(Refused) as refused:
        parsed(dimension=value)
    assert (refused.value.status, refused.value.field) == (400, "dimension")


@pytest.mark.parametrize("dimension", ["event_type", "item_id"])
def test_the_most_frequent_comes_first_and_every_value_is_bound(dimension: str):
    sql, bound = build_sql(parsed(dimension=dimension))
    assert sql.startswith(f"SELECT {dimension} AS key, count() AS event_count FROM events WHERE ")
    assert sql.endswith(
        f" AND {dimension} != '' GROUP BY key ORDER BY event_count DESC, key LIMIT {{limit:UInt32}}"
    )
    assert bound == {"from_ms": NOW_MS - DAY_MS, "to_ms": NOW_MS, "limit": 20}
