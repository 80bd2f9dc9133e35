import re

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments
from nealytics.queries.paths import PARAMETERS, Params, build_sql, parse

NOW_MS = 1_718_447_400_123


def parsed(*pairs: tuple[str, str], event: str = "view") -> Params:
    query = MultiDict([("event", event), *pairs])
    return parse(Arguments(query, QueryConfig(), NOW_MS, PARAMETERS))


def test_the_defaults_are_three_events_that_follow_in_the_session():
    params = parsed()
    assert (params.event, params.direction, params.depth, params.by) == ("view", "next", 3, "session")
    assert (params.limit.count, params.limit.given) == (50, False)


@pytest.mark.parametrize("event", ["", " \t"])
def test_without_an_event_there_is_nothing_to_start_from(event: str):
    with pytest.raises(Refused, match="event is missing") as refused:
        parsed(event=event)
    assert (refused.value.status, refused.value.field) == (400, "event")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("event", "another"),
        ("depth", "0"),
        ("depth", "6"),
        ("depth", "two"),
        ("direction", "back"),
        ("direction", "Next"),
        ("by", "device"),
        ("limit", "1.5"),
        ("to", "tomorrow"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed((name, value))
    assert (refused.value.status, refused.value.code, refused.value.field) == (400, "invalid_parameter", name)
    assert refused.value.detail


@pytest.mark.parametrize("depth", range(1, 6))
def test_a_path_is_as_deep_as_asked_for(depth: int):
    sql = build_sql(parsed(("depth", str(depth)))).sql
    assert f"arrayShiftLeft(types, {depth})" in sql
    assert f"arrayShiftLeft(types, {depth + 1})" not in sql


def test_nothing_that_a_client_sends_is_in_the_sql():
    hostile = "it's {p0:String} \\ ` \" ; --"
    query = build_sql(parsed(("filter", f"meta:a:eq:{hostile}"), event=hostile))
    assert "it's" not in query.sql
    assert set(re.findall(r"\{(\w+):", query.sql)) == set(query.params)
