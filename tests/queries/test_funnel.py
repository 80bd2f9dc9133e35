import re

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.filters import Field, Filter
from nealytics.queries.funnel import PARAMETERS, Params, Step, build_sql, parse
from nealytics.queries.params import Arguments

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(*pairs: tuple[str, str], steps: str | list[str] = "ab") -> Params:
    query = MultiDict([*(("step", step) for step in steps), *pairs])
    return parse(Arguments(query, QueryConfig(), NOW_MS, PARAMETERS))


def test_the_defaults_are_users_within_a_day():
    params = parsed()
    assert params.steps == (Step(event_type="a"), Step(event_type="b"))
    assert (params.by, params.window_ms, params.breakdown) == ("user", DAY_MS, None)
    assert (params.limit.count, params.limit.given) == (20, False)
    assert (params.selection.from_ms, params.selection.to_ms) == (NOW_MS - DAY_MS, NOW_MS)


@pytest.mark.parametrize(("steps", "times"), [("", "0 times"), ("a", "once"), ("abcdefghijk", "11 times")])
def test_a_funnel_has_two_to_ten_steps(steps: str, times: str):
    with pytest.raises(Refused, match=f"given {times}") as refused:
        parsed(steps=steps)
    assert (refused.value.status, refused.value.field) == (400, "step")
    assert "2 to 10" in (refused.value.detail or "")


def test_a_filter_belongs_to_the_step_whose_number_it_has():
    params = parsed(
        ("stepFilter", "2:meta:plan:eq:a:b"), ("stepFilter", "02:item_id:exists:"), ("filter", "user_id:ne:x")
    )
    assert params.steps[0].filters == ()
    assert params.steps[1].filters == (
        Filter(Field("meta", ("plan",)), "eq", "a:b"),
        Filter(Field("item_id"), "exists", 1),
    )
    assert params.selection.filters == (Filter(Field("user_id"), "ne", "x"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stepFilter", "0:item_id:eq:x"),
        ("stepFilter", "3:item_id:eq:x"),
        ("stepFilter", "-1:item_id:eq:x"),
        ("stepFilter", "99999:item_id:eq:x"),
        ("stepFilter", "²:item_id:eq:x"),
        ("stepFilter", "item_id:eq:x"),
        ("stepFilter", "1"),
        ("stepFilter", "1:"),
        ("stepFilter", "1:item_id"),
        ("stepFilter", "1:price:eq:x"),
        ("stepFilter", "1:meta:price:gt:much"),
        ("stepFilter", "1:item_id:eq:" + "x" * 5_000),
        ("stepFilter", "1:item_id:eq:\udcff"),
        ("window", "0s"),
        ("window", "91d"),
        ("window", "999999999d"),
        ("window", "1w"),
        ("window", "60"),
        ("window", "-1h"),
        ("by", "device"),
        ("breakdown", "metadata_json"),
        ("breakdown", "meta:"),
        ("breakdown", "1, sleep(3)"),
        ("step", "x" * 257),
        ("limit", "many"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed((name, value))
    assert (refused.value.status, refused.value.code, refused.value.field) == (400, "invalid_parameter", name)
    assert refused.value.detail


def test_more_step_filters_than_anyone_needs_are_refused():
    with pytest.raises(Refused, match="21 times") as refused:
        parsed(*[("stepFilter", "1:item_id:eq:x")] * 21)
    assert refused.value.field == "stepFilter"


@pytest.mark.parametrize("window", ["1s", "90d", "2160h"])
def test_a_window_is_a_second_to_ninety_days(window: str):
    assert parsed(("window", window)).window_ms in (1_000, 90 * DAY_MS)


def test_nothing_that_a_client_sends_is_in_the_sql():
    hostile = "it's {p0:String} \\ ` \" ; --"
    query = build_sql(
        parsed(
            ("stepFilter", f"1:item_id:eq:{hostile}"), ("breakdown", "meta:" + hostile), steps=[hostile] * 10
        )
    )
    assert hostile not in query.sql
    assert "it's" not in query.sql
    assert set(re.findall(r"\{(\w+):", query.sql)) == set(query.params)


@pytest.mark.parametrize("steps", ["ab", "aabbaabbaa", "abcdefghij", "abababababa"[:10], "abcabcabca"])
def test_the_sql_grows_with_the_steps_and_not_with_their_combinations(steps: str):
    assert len(build_sql(parsed(steps=steps)).sql) < 12_000
