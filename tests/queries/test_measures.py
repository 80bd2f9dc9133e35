import re

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.http.openapi_schemas import parameter_schema
from nealytics.queries.conditions import Conditions
from nealytics.queries.filters import Bind, Field, Filter
from nealytics.queries.measures import MEASURE, MEASURES_MAX, Measure, Values, measures_of, parse_measure
from nealytics.queries.params import Arguments
from nealytics.queries.segments import Within

PATTERN = parameter_schema(MEASURE)["items"]["pattern"]

VALID = {
    "p50(meta:a)": Measure("p50(meta:a)", "p50", Field("meta", ("a",))),
    "count": Measure("count", "count"),
    "users": Measure("users", "users"),
    "sum(meta:amount)": Measure("sum(meta:amount)", "sum", Field("meta", ("amount",))),
    r"p95(meta:cart.a\)b.c\.d)": Measure(
        r"p95(meta:cart.a\)b.c\.d)", "p95", Field("meta", ("cart", "a)b", "c.d"))
    ),
    "distinct(item_id)": Measure("distinct(item_id)", "distinct", Field("item_id")),
    "distinct(meta:a:b[c)": Measure("distinct(meta:a:b[c)", "distinct", Field("meta", ("a:b[c",))),
    r"rate(sign up \(new\))": Measure(r"rate(sign up \(new\))", "rate", "sign up (new)"),
    r"session_rate(a\\)": Measure(r"session_rate(a\\)", "session_rate", "a\\"),
    "count[item_id:eq:]x]]": Measure(
        "count[item_id:eq:]x]]", "count", None, Filter(Field("item_id"), "eq", "]x]")
    ),
    "max(meta:n)[meta:a(b:gt:1.5]": Measure(
        "max(meta:n)[meta:a(b:gt:1.5]",
        "max",
        Field("meta", ("n",)),
        Filter(Field("meta", ("a(b",)), "gt", 1.5),
    ),
}

INVALID = [
    "",
    "counts",
    "COUNT",
    "count()",
    "count(event_type)",
    "users(x)",
    "sum",
    "sum()",
    "sum(amount)",
    "sum(item_id)",
    "sum(meta:)",
    "sum(meta:a..b)",
    "sum(meta:a",
    "sum(meta:a))",
    "sum(meta:a\\)",
    "sum (meta:a)",
    "p55(meta:a)",
    "distinct",
    "distinct(timestamp)",
    "distinct(colour)",
    "rate",
    "rate()",
    "rate(a)b",
    "count[]",
    "count[event_type:eq:a",
    "count[event_type]",
    "count[event_type:like:a]",
    "count[colour:eq:a]",
    "count][event_type:eq:a]",
    "sum(meta:a)[timestamp:eq:2024-06-15]",
]


def arguments(*measures: str) -> Arguments:
    return Arguments(MultiDict([("measure", measure) for measure in measures]), QueryConfig(), 0, (MEASURE,))


@pytest.mark.parametrize("text", VALID)
def test_a_measure_is_parsed_and_described(text: str):
    assert parse_measure(text, Conditions()) == VALID[text]
    assert re.search(PATTERN, text)


def test_a_condition_can_be_a_segment():
    text = "users[not_did(buy, >=2, 30d)[meta:plan:eq:pro]]"
    measure = parse_measure(text, Conditions(Within(0, 1)))
    assert measure.sql(Bind()).count("SELECT user_key FROM events") == 1
    assert re.search(PATTERN, text)


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_measure_is_a_400_that_names_the_field_and_says_what_to_write(text: str):
    with pytest.raises(Refused) as error:
        parse_measure(text, Conditions())
    assert (error.value.status, error.value.field) == (400, "measure")
    assert error.value.detail
    assert not re.search(PATTERN, text)


@pytest.mark.parametrize(
    ("text", "meant"),
    {
        "sum(amount)": "meta:amount",
        "avg(metadata.amount)": "meta:amount",
        "mean(meta:amount)": "avg",
        "distinct(itemId)": "item_id",
    }.items(),
)
def test_a_measure_that_is_nearly_right_is_answered_with_what_was_meant(text: str, meant: str):
    with pytest.raises(Refused) as error:
        parse_measure(text, Conditions())
    assert error.value.detail.startswith(f"Did you mean {meant}? Write ")


def test_a_measure_has_at_most_4096_characters():
    with pytest.raises(Refused, match="4106 characters"):
        measures_of(arguments("sum(meta:" + "a" * 4096 + ")"))


def test_at_most_five_measures():
    assert len(measures_of(arguments(*["count"] * MEASURES_MAX))) == MEASURES_MAX
    with pytest.raises(Refused, match="given 6 times"):
        measures_of(arguments(*["count"] * 6))


def test_blank_measures_are_absent():
    assert measures_of(arguments("", " ")) == ()


@pytest.mark.parametrize("text", VALID)
def test_no_text_of_a_client_is_in_the_sql(text: str):
    bind = Bind()
    measure = parse_measure(text, Conditions())
    sql = measure.sql(bind) + measure.left_out_sql(bind)
    for word in ("amount", "cart", "sign up", "a:b", "]x]"):
        assert word not in sql


def test_a_condition_limits_each_aggregate():
    bind = Bind()
    assert (
        parse_measure("rate(buy)[item_id:eq:/]", Conditions()).sql(bind).count("uniqExactIf(user_key, ") == 2
    )
    assert set(bind.values.values()) == {"buy", "/"}


def test_a_row_without_measures_has_the_values_of_no_events():
    measures = measures_of(arguments("count", "sum(meta:a)", "avg(meta:a)", "rate(x)", "distinct(item_id)"))
    values = Values(measures)
    assert [*values.of([], [])] == [0, 0, None, None, 0]
    assert values.warnings == []


def test_what_is_left_out_is_added_up():
    values = Values(measures_of(arguments("count", "sum(meta:a)")))
    values.of(["1", "0.10"], [0, 2])
    values.of(["1", None], [0, "3"])
    (warning,) = values.warnings
    assert warning.message.startswith("5 values of meta:a are not numbers")
    assert warning.field == "measure"
