"""What a tracker says about itself is counted, in whatever form it comes."""

import pytest

from nealytics.ingest.tracker_reports import TrackerReport, clock, report
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
    ("sent_at", "dropped", "expected"),
    [
        ("1781000000000", "", TrackerReport(1_781_000_000_000, 0)),
        ("1781000000000", "12", TrackerReport(1_781_000_000_000, 12)),
        ("1781000000000", "-1", TrackerReport(1_781_000_000_000, 0)),
        ("1781000000000", "9999999", TrackerReport(1_781_000_000_000, 0)),
        ("", "12", None),
        ("now", "12", None),
        ("٣", "12", None),
        ("9" * 16, "12", None),
    ],
)
def test_only_what_a_tracker_writes_is_a_report(sent_at: str, dropped: str, expected: TrackerReport | None):
    assert report(sent_at, dropped) == expected


def test_a_report_is_counted():
    metrics = Metrics.private()
    TrackerReport(1_000 * HOUR, 7).note(metrics, 998 * HOUR)
    assert metrics.value("nealytics_tracker_requests_total", "ahead_hour") == 1
    assert metrics.value("nealytics_tracker_requests_total", "right") == 0
    assert metrics.value("nealytics_tracker_events_dropped_total") == 7
