"""What a tracker says about itself is counted, in whatever form it comes."""

import pytest

from nealytics.auth.grant import Grant
from nealytics.errors import Refused
from nealytics.ingest.tracker_reports import TrackerReport, clock, report, require_owner
from nealytics.observe.metrics import CLOCKS, Metrics

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("ahead_ms", "expected"),
    [
        (0, "right"),
        (MINUTE - 1, "right"),
        (1 - MINUTE, "right"),
        (MINUTE, "ahead_minute"),
        (HOUR - 1, "ahead_minute"),
        (HOUR, "ahead_hour"),
        (DAY, "ahead_day"),
        (10**14, "ahead_day"),
        (-MINUTE, "behind_minute"),
        (-HOUR, "behind_hour"),
        (-(10**14), "behind_day"),
    ],
)
def test_a_clock_is_as_wrong_as_the_largest_unit_says(ahead_ms: int, expected: str):
    assert clock(ahead_ms) == expected
    assert expected in CLOCKS


@pytest.mark.parametrize(
    ("sent_at", "expected"),
    [
        ("1781000000000", TrackerReport(1_781_000_000_000)),
        ("", None),
        ("now", None),
        ("٣", None),
        ("9" * 16, None),
    ],
)
def test_only_what_a_tracker_writes_is_a_report(sent_at: str, expected: TrackerReport | None):
    assert report(sent_at) == expected


def test_a_report_is_counted():
    metrics = Metrics.private()
    TrackerReport(1_000 * HOUR).note(metrics, 998 * HOUR)
    assert metrics.value("nealytics_tracker_requests_total", "ahead_hour") == 1
    assert metrics.value("nealytics_tracker_requests_total", "right") == 0


BOUND = Grant(-1, "p", "t", "token", user="ada")
UNBOUND = Grant(-1, "p", "t", "token")


@pytest.mark.parametrize(
    ("query", "grant"),
    [
        ({}, BOUND),
        ({"tenant": "t", "user": "ada"}, BOUND),
        ({"tenant": "t", "user": "bob"}, UNBOUND),
        ({"tenant": "t", "user": ""}, UNBOUND),
        ({"tenant": "other", "user": "bob"}, Grant(0, "p", "t", "browser")),
    ],
)
def test_events_are_taken_with_a_token_of_their_tenant_and_user(query: dict[str, str], grant: Grant):
    require_owner(query, grant)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"tenant": "t", "user": "bob"}, "user"),
        ({"tenant": "t", "user": ""}, "user"),
        ({"tenant": "other", "user": "ada"}, "tenant"),
        ({"tenant": "", "user": "ada"}, "tenant"),
    ],
)
def test_events_of_another_tenant_or_user_than_the_token_s_are_refused(query: dict[str, str], field: str):
    with pytest.raises(Refused) as refused:
        require_owner(query, BOUND)
    assert (refused.value.status, refused.value.field) == (403, field)
