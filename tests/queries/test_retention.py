import re

import pytest
from multidict import MultiDict

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.queries.params import Arguments
from nealytics.queries.retention import PARAMETERS, Params, build_sql, parse

NOW_MS = 1_718_447_400_123  # a Saturday


def parsed(*pairs: tuple[str, str], limit_max: int = 10_000) -> Params:
    return parse(Arguments(MultiDict(pairs), QueryConfig(limit_max=limit_max), NOW_MS, PARAMETERS))


def test_the_defaults_are_weeks_of_users_and_any_event():
    params = parsed()
    assert (params.interval, params.by, params.periods, params.tz) == ("week", "user", 11, None)
    assert (params.cohort_event, params.return_event) == (None, None)
    # Eight weeks, up to the one that began on the Monday before now.
    assert len(params.starts_ms) == 8
    assert params.starts_ms[-1] == 1_717_977_600_000
    assert parsed(("interval", ""), ("periods", " "), ("cohortEvent", " ")) == params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("interval", "hour"),
        ("interval", "Week"),
        ("by", "device"),
        ("periods", "61"),
        ("periods", "-1"),
        ("periods", "1.5"),
        ("periods", "many"),
        ("tz", "Mars/Olympus"),
        ("tz", "+02:00"),
        ("cohortEvent", "x" * 257),
        ("returnEvent", "\udcff"),
        ("from", "2025-01-01"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str):
    with pytest.raises(Refused) as refused:
        parsed((name, value))
    assert (refused.value.status, refused.value.code, refused.value.field) == (400, "invalid_parameter", name)
    assert refused.value.detail


@pytest.mark.parametrize("periods", [0, 60])
def test_periods_are_none_to_sixty(periods: int):
    assert parsed(("periods", str(periods))).periods == periods


def test_a_range_of_more_intervals_than_an_answer_may_have_is_refused():
    span = [("from", "2024-01-01"), ("to", "2024-01-11"), ("interval", "day")]
    assert len(parsed(*span, limit_max=11).starts_ms) == 11
    with pytest.raises(Refused, match="more than 10 days") as refused:
        parsed(*span, limit_max=10)
    assert (refused.value.status, refused.value.field) == (400, "interval")


def test_who_came_before_the_range_is_known():
    """A first event is one of all that are stored, so the query looks back beyond `from`."""
    query = build_sql(parsed(("cohortEvent", "signup")))
    assert min(value for value in query.params.values() if isinstance(value, int)) < 0


def test_nothing_that_a_client_sends_is_in_the_sql():
    hostile = "it's {p0:String} \\ ` \" ; --"
    query = build_sql(parsed(("cohortEvent", hostile), ("returnEvent", hostile), ("tz", "Europe/Berlin")))
    assert "it's" not in query.sql
    assert "Berlin" not in query.sql
    assert set(re.findall(r"\{(\w+):", query.sql)) == set(query.params)


@pytest.mark.parametrize(("returns", "closed"), [("on", True), ("on_or_after", True), ("unbounded", False)])
def test_an_answer_that_later_returns_change_is_not_kept(returns: str, closed: bool):
    query = MultiDict([("returns", returns), ("to", "2024-06-01")])
    arguments = Arguments(query, QueryConfig(), NOW_MS, PARAMETERS)
    parse(arguments)
    assert arguments.closed == closed
