"""Whether a TTL is changed: every TTL that may be found, every setting, every command."""

import math

import pytest

from nealytics.clickhouse.schema.retention import (
    FOREVER,
    Decision,
    Retention,
    decide,
    deleting_expressions,
    difference,
    retention_of,
    together,
)

OURS = "toDateTime(timestamp) + toIntervalDay({})"
BY_HAND = "timestamp + toIntervalYear(1)"

NONE = retention_of("", None)
BY_HAND_90 = retention_of(BY_HAND, 365.0)
UNKNOWN = retention_of(BY_HAND, None)


def ours(days: int) -> Retention:
    return retention_of(OURS.format(days), None)


LEFT = Decision()


def set_to(days: float) -> Decision:
    return Decision(days)


def deletes(days: float) -> Decision:
    return Decision(days, deletes=True)


# What is found, what the file says, what a start and `schema apply` do, what --shorten-retention does.
# "longer" and "by hand": not changed, with a remark.
TABLE = [
    (NONE, 0, LEFT, LEFT),
    (NONE, 90, "longer", deletes(90)),
    (ours(30), 0, set_to(FOREVER), set_to(FOREVER)),
    (ours(30), 90, set_to(90), set_to(90)),
    (ours(90), 90, LEFT, LEFT),
    (ours(365), 90, "longer", deletes(90)),
    (BY_HAND_90, 0, "by hand", "by hand"),
    (BY_HAND_90, 90, "by hand", "by hand"),
    (BY_HAND_90, 365, "by hand", "by hand"),
    (UNKNOWN, 0, "by hand", "by hand"),
    (UNKNOWN, 90, "by hand", "by hand"),
]


@pytest.mark.parametrize(("found", "retention_days", "start", "shorten"), TABLE)
@pytest.mark.parametrize("command", ["start or apply", "apply --shorten-retention"])
def test_only_a_command_that_says_so_makes_retention_shorter(
    found: Retention, retention_days: int, start: Decision | str, shorten: Decision | str, command: str
):
    asked = command == "apply --shorten-retention"
    decision = decide([found], retention_days, shorten=asked)
    expected = shorten if asked else start
    if isinstance(expected, str):
        assert (decision.days, decision.deletes) == (None, False)
        assert ("longer than" if expected == "longer" else "written by hand") in decision.remark
    else:
        assert decision == expected
    if decision.deletes:
        assert asked
    # Whatever it is: what is not marked as deleting keeps no event for a shorter time than before.
    if decision.days is not None and not decision.deletes:
        assert found.days is not None
        assert decision.days >= found.days


@pytest.mark.parametrize(
    ("found", "retention_days", "days", "remark"),
    [
        ([ours(30), ours(30)], 90, 90, ""),
        # The statement is one for all hosts.
        ([ours(30), ours(365)], 90, 365, "longer than"),
        ([ours(30), NONE], 90, FOREVER, "longer than"),
        ([ours(120), ours(365)], 90, None, "longer than"),
        ([ours(30), BY_HAND_90], 90, None, "written by hand"),
    ],
)
def test_of_several_shards_none_is_shortened(
    found: list[Retention], retention_days: int, days: float | None, remark: str
):
    decision = decide(found, retention_days)
    assert (decision.days, decision.deletes) == (days, False)
    assert remark in decision.remark
    assert bool(remark) == bool(decision.remark)


def test_several_shards_keep_what_the_one_with_the_least_keeps():
    assert together([ours(30), NONE]) == Retention(30)
    assert together([NONE, NONE]) == Retention(math.inf)
    assert together([ours(30), UNKNOWN]) == Retention(None, BY_HAND)
    assert together([ours(30), BY_HAND_90]) == Retention(30, BY_HAND)


@pytest.mark.parametrize(
    ("found", "retention_days", "said"),
    [
        (NONE, 0, []),
        (ours(90), 90, []),
        (BY_HAND_90, 365, []),
        (NONE, 90, ["db.t keeps events for ever, longer than clickhouse.retention_days = 90", "= 0, or run"]),
        (ours(365), 90, ["keeps events 365 days", "= 90;", "= 365", "--shorten-retention"]),
        (ours(30), 90, ["keeps events 30 days, shorter than", "refused", "= 30"]),
        (ours(30), 0, ["keeps events 30 days, shorter than", "keep them for ever"]),
        (BY_HAND_90, 90, ["365 days: its TTL", BY_HAND, "overrides clickhouse.retention_days = 90"]),
        (UNKNOWN, 90, [BY_HAND, "accepted as clickhouse.retention_days = 90 says"]),
    ],
)
def test_a_difference_is_reported_with_both_figures(found: Retention, retention_days: int, said: list[str]):
    text = difference(found, retention_days, "db.t")
    assert bool(text) == bool(said)
    for part in said:
        assert part in text


def test_a_ttl_by_hand_that_deletes_nothing_refuses_nothing():
    assert "refused" in difference(BY_HAND_90, 90, "db.t")
    assert "refused" not in difference(retention_of("timestamp TO DISK 'cold'", FOREVER), 90, "db.t")


@pytest.mark.parametrize(
    ("ttl", "expressions"),
    [
        (BY_HAND, [BY_HAND]),
        ("a + 1 WHERE x = 'TO DISK , (', f(b, c) DELETE WHERE y", ["a + 1", "f(b, c)"]),
        ("a TO VOLUME 'cold', b TO DISK 'd', c RECOMPRESS CODEC(ZSTD(3)), d", ["d"]),
        ("a GROUP BY b, c SET d = max(d)", ["a GROUP BY b", "c SET d = max(d)"]),
    ],
)
def test_the_times_at_which_a_ttl_deletes_are_found(ttl: str, expressions: list[str]):
    assert deleting_expressions(ttl) == expressions
