from typing import Any

from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.queries.instants import INSTANT_MS_MIN
from nealytics.queries.params import Arguments
from nealytics.queries.summary import ENDPOINT, Figures, Params, Summary, build_sql, parse

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: Any) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(), NOW_MS, ENDPOINT.parameters))


def test_the_range_before_is_as_long_and_ends_a_millisecond_before():
    params = parsed()
    first, last = params.selection.from_ms, params.selection.to_ms
    assert (first, last) == (NOW_MS - DAY_MS, NOW_MS)
    assert (first - 1) - params.previous_from_ms == last - first
    instant = parsed(**{"from": "2024-06-01", "to": "2024-06-01"})
    assert instant.previous_from_ms == instant.selection.from_ms - 1


def test_both_ranges_are_read_at_once_and_no_instant_is_before_1900():
    _, bound = build_sql(parsed())
    assert NOW_MS - 2 * DAY_MS - 1 in bound.values()
    _, bound = build_sql(parsed(**{"from": "1901-01-01"}))
    assert min(value for value in bound.values() if isinstance(value, int)) == INSTANT_MS_MIN


def test_the_range_and_the_one_before_it_have_the_same_figures():
    own = {name: kind for name, kind in Summary.__annotations__.items() if name != "previous"}
    assert own == Figures.__annotations__
