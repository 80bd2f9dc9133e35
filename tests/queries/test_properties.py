import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.filters import FILTER_CHARS_MAX, OPS, Field, Selection, parse_filter
from nealytics.queries.params import Arguments, Limit
from nealytics.queries.properties import (
    ENDPOINT,
    KEY_CHARS_MAX,
    UNDER_CHARS_MAX,
    VALUE_CHARS_MAX,
    Params,
    build_sql,
    parse,
)

NOW_MS = 1_718_447_400_123
DAY_MS = 86_400_000


def parsed(**query: str) -> Params:
    return parse(Arguments(MultiDict(query), QueryConfig(), NOW_MS, ENDPOINT.parameters))


def test_the_defaults_are_twenty_keys_of_the_last_day_with_ten_values_each():
    assert parsed() == Params(
        limit=Limit(20, given=False),
        values=10,
        selection=Selection(from_ms=NOW_MS - DAY_MS, to_ms=NOW_MS),
    )
    assert parsed(under=" ", key="", values=" ") == parsed()


@pytest.mark.parametrize("name", ["under", "key"])
def test_a_path_is_written_as_in_a_filter_with_or_without_its_prefix(name: str):
    for text in ("cart.it\\.em", "meta:cart.it\\.em"):
        assert getattr(parsed(**{name: text}), name) == ("cart", "it.em")
    assert getattr(parsed(**{name: "meta\\:x"}), name) == ("meta:x",)


def test_what_a_client_names_is_bound():
    for query in ({"under": "it's"}, {"key": "it's"}, {"under": "it's", "key": "{p0:String}"}):
        sql, bound = build_sql(parsed(**query))
        assert "it's" not in sql
        assert set(query.values()) <= set(bound.values())


def test_the_longest_that_is_listed_still_makes_a_filter():
    """Also where every character of the path has to be escaped, and with the longest operation."""
    path = (":" * UNDER_CHARS_MAX, ":" * KEY_CHARS_MAX)
    longest = max(OPS, key=len)
    text = f"{Field('meta', path)}:{longest}:{'v' * VALUE_CHARS_MAX}"
    assert len(text) <= FILTER_CHARS_MAX
    assert parse_filter("filter", text).field.path == path


def test_nothing_is_asked_for_that_is_too_deep_for_a_filter():
    assert parsed(under="a.b.c.d.e.f.g").under == tuple("abcdefg")
    assert parsed(key="a.b.c.d.e.f.g.h").key == tuple("abcdefgh")
    with pytest.raises(Refused, match="8 keys deep") as refused:
        parsed(under="a.b.c.d.e.f.g.h")
    assert refused.value.field == "under"
