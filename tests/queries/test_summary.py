from typing import Any

from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.queries.endpoint import Ranged
from nealytics.queries.params import Arguments
from nealytics.queries.summary import ENDPOINT, Figures, Params, Summary, build_sql, parse
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: Any) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(), NOW_MS, ENDPOINT.parameters))


def test_the_range_before_is_as_long_and_ends_a_millisecond_before():
    params = parsed()
    first, last = params.selection.from_ms, params.selection.to_ms
    assert (first, last) == (NOW_MS - DAY_MS, NOW_MS)
    assert (params.compared.from_ms, params.compared.to_ms) == (first - DAY_MS - 1, first - 1)
    at = parsed(**{"from": "2024-06-01T10:00Z", "to": "2024-06-01T10:00Z"})
    assert at.compared.from_ms == at.compared.to_ms == at.selection.from_ms - 1


def test_both_ranges_have_the_filters():
    params = parsed(eventType="view", compare="previous_year")
    assert params.compared.filters == params.selection.filters != ()


def test_an_answer_about_a_range_that_goes_on_is_not_kept():
    def closed(compare: str) -> bool:
        query = MultiDict({"from": "2024-01-01", "to": "2024-01-31", "compare": compare})
        arguments = Arguments(query, QueryConfig(), NOW_MS, ENDPOINT.parameters)
        parse(arguments)
        return arguments.closed

    assert closed("previous_year")
    assert closed("2024-02-01..2024-02-29")
    assert not closed("2024-06-01..2024-06-30")


def test_both_ranges_are_read_at_once_and_no_instant_is_before_1900():
    _, bound = build_sql(parsed())
    assert NOW_MS - 2 * DAY_MS - 1 in bound.values()
    _, bound = build_sql(parsed(**{"from": "1901-01-01"}))
    assert min(value for value in bound.values() if isinstance(value, int)) == TIMESTAMP_MS_MIN


def test_the_range_and_the_one_before_it_have_the_same_figures():
    own = {
        name: kind
        for name, kind in (Ranged.__annotations__ | Summary.__annotations__).items()
        if name not in ("tz", "compare", "measures", "previous")
    }
    assert own == Figures.__annotations__
