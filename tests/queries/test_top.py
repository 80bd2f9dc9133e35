import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.filters import Field, Selection
from nealytics.queries.params import Arguments, Limit
from nealytics.queries.top import ENDPOINT, Params, build_sql, parse

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000
LAST_DAY = Selection(from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS)


def parsed(limit_max: int = 5_000, **query: str) -> Params:
    config = QueryConfig(limit_max=limit_max)
    return parse(Arguments(MultiDict(query), config, NOW_MS, ENDPOINT.parameters))


def test_the_defaults_are_twenty_event_types_of_the_last_day():
    assert parsed() == Params(dimension=Field("event_type"), selection=LAST_DAY, limit=Limit(20, given=False))
    assert parsed(dimension="", limit=" ") == parsed()


def test_sessions_are_counted_where_they_are_asked_for_or_ordered_by():
    assert not parsed().sessions
    assert parsed(sessions="true").sessions
    assert parsed(order="-sessions").sessions
    assert "session_key)" not in build_sql(parsed(order="-users")).sql


def test_the_compared_range_has_the_same_filters():
    compared = parsed(compare="previous", eventType="view").compared
    assert compared == Selection(
        from_ms=NOW_MS - 2 * DAY_MS - 1,
        to_ms=NOW_MS - DAY_MS - 1,
        filters=parsed(eventType="view").selection.filters,
    )


@pytest.mark.parametrize(
    ("name", "value"), [("order", "count"), ("order", "-key"), ("compare", "before"), ("sessions", "maybe")]
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed(**{name: value})  # type: ignore[arg-type]  # texts, as they come in a URL
    assert (refused.value.status, refused.value.field) == (400, name)


def test_twenty_are_no_more_than_the_maximum():
    assert parsed(limit_max=5).limit.count == 5
    assert parsed(limit="999999").limit.count == 5_000


@pytest.mark.parametrize(
    "value", ["event_id", "timestamp", "EVENT_TYPE", "event_type--", "1", "meta:", "meta:a..b", "plan"]
)
def test_what_is_not_offered_is_refused_by_name(value: str):
    with pytest.raises(Refused) as refused:
        parsed(dimension=value)
    assert (refused.value.status, refused.value.field) == (400, "dimension")


def test_any_key_that_a_filter_can_name_can_be_a_dimension():
    key = "k" * 512
    assert parsed(dimension=f"meta:{key}").dimension == Field("meta", (key,))


def test_a_key_of_the_metadata_is_bound():
    sql, bound = build_sql(parsed(dimension="meta:it's.{p0:String}"))
    assert "it's" not in sql
    assert {"it's", "{p0:String}"} <= set(bound.values())


@pytest.mark.parametrize(("dimension", "key"), [("user_id", "user_key"), ("session_id", "session_key")])
def test_users_and_sessions_of_different_tenants_are_distinct(dimension: str, key: str):
    assert f"GROUP BY {key})" in build_sql(parsed(dimension=dimension)).sql


@pytest.mark.parametrize("dimension", ["event_type", "item_id", "tenant_id", "meta:plan"])
def test_anything_else_is_the_same_thing_in_every_tenant(dimension: str):
    assert "GROUP BY key)" in build_sql(parsed(dimension=dimension)).sql
