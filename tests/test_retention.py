"""Which rule counts for an event, and which changes of rules keep less."""

from math import inf

import pytest

from nealytics.config import RetentionRule
from nealytics.retention import Rules, expired_rule, promise, shortened

DAY = 86_400_000


def rule(days: int, project: str = "p", tenant: str = "", event_type: str = "") -> RetentionRule:
    return RetentionRule(project=project, tenant=tenant, event_type=event_type, days=days)


ALL_FOUR = Rules([rule(40), rule(30, event_type="e"), rule(20, tenant="t"), rule(10, "p", "t", "e")])


@pytest.mark.parametrize(
    ("event", "days"),
    [
        (("p", "t", "e"), 10),
        (("p", "t", "other"), 20),
        (("p", "other", "e"), 30),
        (("p", "other", "other"), 40),
        (("q", "t", "e"), inf),
    ],
)
def test_the_most_specific_rule_counts(event: tuple[str, str, str], days: float):
    assert ALL_FOUR.days(*event) == days


def test_a_tenants_rule_precedes_one_of_an_event_type():
    rules = Rules([rule(5, event_type="e"), rule(50, tenant="t")])
    assert rules.days("p", "t", "e") == 50


def test_days_of_0_are_an_exception_to_a_wider_rule():
    rules = Rules([rule(30), rule(0, tenant="t")])
    assert rules.days("p", "t", "e") == inf
    assert expired_rule(rules, "p", "t", "e", 1000 * DAY) is None


def test_an_event_is_kept_up_to_the_last_millisecond():
    assert expired_rule(ALL_FOUR, "p", "t", "e", 10 * DAY) is None
    assert expired_rule(ALL_FOUR, "p", "t", "e", 10 * DAY + 1) == ALL_FOUR.all[3]


def test_a_first_rule_keeps_less_than_no_rule():
    assert shortened([Rules()], Rules([rule(30)])) == [(rule(30), inf)]


def test_a_longer_rule_keeps_no_event_for_less():
    assert shortened([Rules([rule(30)])], Rules([rule(31)])) == []


def test_a_removed_exception_keeps_less():
    """What is left is the wider rule, although no rule became shorter."""
    before = Rules([rule(30), rule(0, tenant="t")])
    assert shortened([before], Rules([rule(30)])) == [(rule(30, tenant="t"), inf)]


def test_a_rule_for_a_combination_is_seen_where_two_rules_cross():
    before = Rules([rule(10, event_type="e")])
    after = Rules([rule(10, event_type="e"), rule(5, tenant="t")])
    assert shortened([before], after) == [(rule(5, tenant="t"), inf), (rule(5, "p", "t", "e"), 10)]


def test_longer_rules_replace_what_was_promised():
    after = Rules([rule(60)])
    assert promise([Rules([rule(30)])], after) == [after]


def test_shorter_rules_are_added_once_and_wait():
    before, after = Rules([rule(30)]), Rules([rule(10)])
    promised = promise([before], after)
    assert promised == [before, after]
    assert promise(promised, Rules([rule(10)])) == promised


def test_a_rule_that_was_longer_for_a_while_does_not_become_shorter_unasked():
    """One change lengthens `a` and shortens `b`; a second one takes both back."""
    first = Rules([rule(30, "a"), rule(30, "b")])
    mixed = Rules([rule(90, "a"), rule(10, "b")])
    promised = promise(promise([first], mixed), Rules(first.all))
    assert shortened(promised, first) == [(rule(30, "a"), 90)]
