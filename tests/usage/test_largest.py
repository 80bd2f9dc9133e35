"""The metrics of the largest tenants: bounded, stable, and never decreasing within a month."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from nealytics.timestamps import DAY_MS
from nealytics.usage.counts import Line, Used
from nealytics.usage.largest import FAMILIES, LargestTenants, largest
from tests.usage.test_counts import NOON
from tests.usage.test_node import DAY, put


def shown(text: bytes) -> dict[str, dict[str, float]]:
    """Metric → tenant → value."""
    return {
        f"{family.name}_total": {
            f"{sample.labels['project_id']}/{sample.labels['tenant_id']}": sample.value
            for sample in family.samples
        }
        for family in text_string_to_metric_families(text.decode())
    }


def test_days_that_have_ended_decide_and_today_fills_places_that_are_left():
    past = {("p", "a"): Used(5), ("p", "b"): Used(9), ("p", "c"): Used(7), ("p", ""): Used(queries=99)}
    now = {("p", "new"): Used(10_000), ("p", "a"): Used(1_000), ("q", "new"): Used(3)}
    assert largest(past, now, 2) == [("p", "b"), ("p", "c")]
    assert largest(past, now, 4) == [("p", "b"), ("p", "c"), ("p", "a"), ("p", "new")]
    assert len(largest(past, now, 20)) == 5
    assert largest({}, {}, 20) == []


def test_the_labels_stay_while_the_day_goes_on():
    past = {("p", f"t{number}"): Used(100 - number) for number in range(10)}
    chosen = largest(past, {}, 5)
    for number in range(10):
        assert largest(past, {("p", f"t{number}"): Used(10**6)}, 5) == chosen


def test_values_are_those_of_the_month_of_all_workers(tmp_path: Path):
    put(
        tmp_path / "0",
        {DAY: [Line("p", "a", Used(5, 50, 2, 20)), Line("p", 'é"\n', Used(1))]},
        {DAY - 1: [Line("p", "a", Used(7, 70))]},
    )
    put(tmp_path / "1", {DAY: [Line("p", "a", Used(1, 10, 1, 10))]}, {})
    now_ms = NOON
    tenants = LargestTenants(tmp_path, 2, lambda: now_ms)
    found = shown(tenants.text())
    assert set(found) == set(FAMILIES)
    assert found["nealytics_tenant_events_total"] == {"p/a": 13, 'p/é"\n': 1}
    assert found["nealytics_tenant_bytes_total"]["p/a"] == 130
    assert found["nealytics_tenant_queries_total"]["p/a"] == 3
    assert found["nealytics_tenant_rows_read_total"]["p/a"] == 30
    # 30 November has ended: the month begins with 0, and the labels stay.
    now_ms = NOON + DAY_MS
    assert shown(tenants.text())["nealytics_tenant_events_total"] == {"p/a": 0, 'p/é"\n': 0}


def test_the_number_is_bounded_and_0_is_none(tmp_path: Path):
    put(tmp_path / "0", {DAY: [Line("p", f"t{number}", Used(1)) for number in range(50)]}, {})
    counts = [
        len(shown(LargestTenants(tmp_path, number, lambda: NOON).text())["nealytics_tenant_events_total"])
        for number in (1, 20, 50, 100)
    ]
    assert counts == [1, 20, 50, 50]
    assert LargestTenants(tmp_path, 0, lambda: NOON).text() == b""
