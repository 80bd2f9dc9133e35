"""Values of a saved query's parameters: typed, bound, and refused with what to write."""

from typing import Any

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments
from nealytics.queries.saved.head import Input, parse
from nealytics.queries.saved.values import parameter_of, sample_of, values_of

NOW_MS = 1_718_452_800_000  # 2024-06-15T12:00:00Z


def values(head: str, *given: tuple[str, str]) -> dict[str, Any]:
    inputs: tuple[Input, ...] = parse("it", f"-- title: It\n{head}\nSELECT 1").inputs
    parameters = tuple(map(parameter_of, inputs))
    return values_of(inputs, Arguments(MultiDict(given), QueryConfig(), NOW_MS, parameters))


def test_a_time_is_in_the_zone_of_tz_and_may_be_relative():
    head = (
        "-- param: from DateTime64 = -7d\n-- param: to DateTime64 = today\n-- param: tz Zone = Europe/Berlin"
    )
    assert values(head) == {
        "from": "2024-06-07 22:00:00.000",
        "to": "2024-06-15 21:59:59.999",
        "tz": "Europe/Berlin",
    }
    assert values(head, ("from", "2024-06-01"), ("tz", "UTC"))["from"] == "2024-06-01 00:00:00.000"


@pytest.mark.parametrize("kind", ["Date", "DateTime", "DateTime64"])
def test_a_range_that_begins_after_its_end_is_refused(kind: str):
    head = f"-- param: from {kind}\n-- param: to {kind} = yesterday"
    assert values(head, ("from", "2024-06-14"))
    with pytest.raises(Refused) as refused:
        values(head, ("from", "2024-06-15"))
    assert (refused.value.status, refused.value.field) == (400, "from")
    assert "is later than to" in refused.value.message


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("String", "it's \\ {x}", "it's \\ {x}"),
        ("UInt8", "255", 255),
        ("Int64", "-9223372036854775808", -(2**63)),
        ("Float64", "1.5e3", 1500.0),
        ("Bool", "1", True),
        ("Date", "2024-02-29", "2024-02-29"),
        ("Date", "yesterday", "2024-06-14"),
        ("DateTime", "2024-06-15T10:30:00Z", "2024-06-15 10:30:00"),
        (
            "UUID",
            "0190163D8694739BAEA5966C26F8AD91",
            "0190163d-8694-739b-aea5-966c26f8ad91",
        ),
        ("Choice(a, b)", "b", "b"),
        ("Array(String)", "x", ["x"]),
        ("Array(Int64)", "-1", [-1]),
    ],
)
def test_a_value_has_the_type_of_its_parameter(kind: str, text: str, value: object):
    assert values(f"-- param: x {kind}", ("x", text)) == {"x": value}


@pytest.mark.parametrize(
    ("kind", "text", "advice"),
    [
        ("UInt8", "256", "from 0 to 255"),
        ("UInt8(1..50)", "0", "from 1 to 50"),
        ("UInt8", "1; DROP TABLE x", "from 0 to 255"),
        ("Int64", "9223372036854775808", "from -9223372036854775808"),
        ("Float64", "nan", "number"),
        ("Float64", "inf", "number"),
        ("Float64", "1_0", "number"),
        ("Bool", "yes", "true or false"),
        ("Date", "2024-02-30", "2024-06-15T10:30"),
        ("Date", "now", "like 2026-06-15"),
        ("DateTime64", "then", "relative"),
        ("DateTime", "1969-12-31", "from 1970"),
        ("UUID", "x", "UUID"),
        ("Choice(a, b)", "c", "one of a, b"),
        ("Array(UInt64)", "-1", "from 0"),
        ("String", "x" * 2049, "not supported"),
        ("String", "", "A value of String"),
        ("Array(String)", "", "once for each value"),
    ],
)
def test_a_wrong_value_is_a_400_with_field_and_advice(kind: str, text: str, advice: str):
    with pytest.raises(Refused) as refused:
        values(f"-- param: x {kind}", ("x", text))
    assert (refused.value.status, refused.value.field) == (400, "x")
    assert advice in f"{refused.value.message} {refused.value.detail}"


def test_a_wrong_time_zone_and_too_many_values_are_refused():
    with pytest.raises(Refused, match="not a time zone"):
        values("-- param: tz Zone = UTC", ("tz", "Mars"))
    with pytest.raises(Refused, match="101 times"):
        values("-- param: x Array(String)", *[("x", "a")] * 101)


def test_a_parameter_without_default_has_a_sample_of_its_type():
    kinds = [
        "String",
        "UInt8(5..9)",
        "Int8(-9..-5)",
        "Float32",
        "Bool",
        "Date",
        "DateTime64",
        "UUID",
        "Choice(a)",
    ]
    head = "\n".join(f"-- param: p{number} {kind}" for number, kind in enumerate(kinds))
    inputs = parse("it", f"-- title: It\n{head}\nSELECT 1").inputs
    assert [sample_of(one) for one in inputs][:3] == ["x", "5", "-5"]
    assert len(values(head, *((one.name, sample_of(one)) for one in inputs))) == len(kinds)
