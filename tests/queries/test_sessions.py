import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.filters import Selection
from nealytics.queries.params import Arguments, Limit
from nealytics.queries.sessions import ENDPOINT, Params, build_sql, parse

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(), NOW_MS, ENDPOINT.parameters))


def test_the_defaults_are_a_hundred_sessions_of_the_last_day_the_latest_first():
    assert parsed() == Params(
        selection=Selection(from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS),
        order="-start",
        limit=Limit(100, given=False),
    )
    assert parsed(order=" ", limit="") == parsed()


@pytest.mark.parametrize("order", ["START", "--start", "+start", "end", "events desc", "-", "first_seen_ms"])
def test_an_order_that_is_not_offered_is_refused_by_name(order: str):
    with pytest.raises(Refused) as refused:
        parsed(order=order)
    assert (refused.value.status, refused.value.field) == (400, "order")


@pytest.mark.parametrize("order", ["start", "-start", "duration", "-duration", "events", "-events"])
def test_every_order_ends_ties_by_name(order: str):
    sql, _ = build_sql(parsed(order=order))
    assert sql.count(" ORDER BY ") == 1
    assert ", id, tenant LIMIT {" in sql.partition(" ORDER BY ")[2]
