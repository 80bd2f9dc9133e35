"""Metrics: the node's numbers, whichever worker is asked, in a text that Prometheus understands."""

import os
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nealytics.observe.metrics import (
    CLOCKS,
    READ_FAILURE_REASONS,
    REFUSED_REASONS,
    SPECS,
    Metrics,
)
from nealytics.observe.prometheus import text
from nealytics.shared import METRIC_SLOTS_MAX, NodeMemory


def of_node(workers: int) -> list[Metrics]:
    memory = NodeMemory.create(workers, keys=1)
    return [Metrics(NodeMemory.attach(memory.fd, workers, worker)) for worker in range(workers)]


def samples(metrics: Metrics) -> dict[str, float]:
    """`name{label="value"}` → value, as Prometheus' own parser reads them."""
    found = {}
    for family in text_string_to_metric_families(text(metrics).decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sample.labels.items())
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_the_names_of_the_csharp_engine_are_there():
    """Its dashboards and alerts keep working."""
    names = {spec.name: spec.kind for spec in SPECS}
    assert names["nealytics_events_ingested_total"] == "counter"
    assert names["nealytics_batches_committed_total"] == "counter"
    assert names["nealytics_read_queries_total"] == "counter"
    assert names["nealytics_storage_write_duration_seconds"] == "histogram"
    assert names["nealytics_query_read_duration_seconds"] == "histogram"
    assert names["nealytics_queue_depth_current"] == "gauge"


def test_every_number_is_shown_from_the_start_with_its_name_as_it_is():
    """A counter that appears with its first increase hides that increase from `rate()`."""
    shown = samples(Metrics.private())
    for spec in SPECS:
        if spec.kind == "histogram":
            assert shown[spec.name + "_count"] == shown[spec.name + "_sum"] == 0
        elif spec.values:
            for value in spec.values:
                assert shown[f'{spec.name}{{{spec.label}="{value}"}}'] == 0
        else:
            assert shown[spec.name] == 0


def test_every_number_has_a_help_text_and_a_name_of_its_own():
    assert len({spec.name for spec in SPECS}) == len(SPECS)
    assert all(spec.help.endswith(".") for spec in SPECS)


def test_counters_of_two_processes_are_summed_by_either():
    first, second = of_node(2)
    first.events_ingested.add(3)
    pid = os.fork()
    if pid == 0:
        second.events_ingested.add()
        second.refused.add(4, "rate_limited")
        second.fsync_seconds.observe(0.002)
        os._exit(0)
    os.waitpid(pid, 0)
    for metrics in (first, second):
        shown = samples(metrics)
        assert shown["nealytics_events_ingested_total"] == 4
        assert shown['nealytics_events_refused_total{reason="rate_limited"}'] == 4
        assert shown['nealytics_events_refused_total{reason="forbidden"}'] == 0
        assert shown["nealytics_wal_fsync_seconds_count"] == 1


def test_a_gauge_is_what_it_was_set_to_last_summed_over_workers():
    first, second = of_node(2)
    first.queue_depth.set(5)
    first.queue_depth.set(2)
    second.queue_depth.set(10)
    assert first.value("nealytics_queue_depth_current") == 12


def test_the_age_of_the_oldest_event_is_the_oldest_workers():
    first, second = of_node(2)
    first.oldest_age_seconds.set(5)
    second.oldest_age_seconds.set(40)
    assert samples(first)["nealytics_wal_oldest_unacknowledged_age_seconds"] == 40


def test_a_node_is_ready_while_every_worker_says_so_and_goes_on_saying_it(monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    first, second = of_node(2)
    assert samples(first)["nealytics_ready"] == 0
    first.ready.renew(10)
    assert samples(first)["nealytics_ready"] == 0  # the other one has not started
    second.ready.renew(10)
    assert samples(first)["nealytics_ready"] == samples(second)["nealytics_ready"] == 1
    second.ready.end()
    assert samples(first)["nealytics_ready"] == 0
    second.ready.renew(10)
    now[0] += 9
    first.ready.renew(10)
    assert samples(first)["nealytics_ready"] == 1
    now[0] += 2  # the second one was killed, or hangs
    assert samples(first)["nealytics_ready"] == 0


def test_the_oldest_keys_are_the_node_s():
    first, second = of_node(2)
    first.jwks_age_seconds.set(5)
    second.jwks_age_seconds.set(400)
    assert first.value("nealytics_jwks_age_seconds") == 400


def test_the_log_of_a_node_may_have_what_those_of_its_workers_may():
    first, second = of_node(2)
    first.wal_bytes_max.set(5)
    second.wal_bytes_max.set(5)
    assert second.value("nealytics_wal_bytes_max") == 10


def test_a_worker_that_is_restarted_goes_on_counting():
    memory = NodeMemory.create(1, keys=1)
    Metrics(memory).events_committed.add(7)
    Metrics(NodeMemory.attach(memory.fd, 1, 0)).events_committed.add(1)
    assert Metrics(memory).value("nealytics_events_committed_total") == 8


def test_a_histogram_counts_cumulatively_and_a_value_on_a_bound_is_below_it():
    metrics = Metrics.private()
    for value in (0.0001, 0.0005, 0.0006, 4.9, 100.0):
        metrics.fsync_seconds.observe(value)
    shown = samples(metrics)
    assert shown['nealytics_wal_fsync_seconds_bucket{le="0.0005"}'] == 2
    assert shown['nealytics_wal_fsync_seconds_bucket{le="0.001"}'] == 3
    assert shown['nealytics_wal_fsync_seconds_bucket{le="1.0"}'] == 3
    assert shown['nealytics_wal_fsync_seconds_bucket{le="5.0"}'] == 4
    assert shown['nealytics_wal_fsync_seconds_bucket{le="+Inf"}'] == 5
    assert shown["nealytics_wal_fsync_seconds_count"] == 5
    assert shown["nealytics_wal_fsync_seconds_sum"] == pytest.approx(104.9012)


def test_no_number_writes_into_anothers_slot():
    """Each instrument is moved once, by a different amount; every other number stays 0."""
    instruments = [name for name, value in vars(Metrics.private()).items() if not name.startswith("_")]
    assert len(instruments) == len(SPECS)
    for name in instruments:
        metrics = Metrics.private()
        instrument = getattr(metrics, name)
        if name == "refused":
            instrument.add(1, REFUSED_REASONS[-1])
        elif name == "read_failures":
            instrument.add(1, READ_FAILURE_REASONS[-1])
        elif name == "tracker_requests":
            instrument.add(1, CLOCKS[-1])
        elif name == "ready":
            instrument.renew(60)
        elif hasattr(instrument, "observe"):
            instrument.observe(10**9)
        else:
            instrument.set(1)
        moved = {key.split("{")[0] for key, value in samples(metrics).items() if value}
        stems = {key.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for key in moved}
        assert len(stems) == 1, (name, moved)


def test_a_reason_that_is_not_on_the_list_is_an_error():
    """The list is closed: a new label value out of a request would be a new series each time."""
    with pytest.raises(KeyError):
        Metrics.private().refused.add(1, "because")
    with pytest.raises(KeyError):
        Metrics.private().read_failures.add(1, "because")


def test_there_is_room_for_more_numbers_in_the_shared_memory():
    used = sum(len(s.buckets) + 2 if s.kind == "histogram" else max(1, len(s.values)) for s in SPECS)
    assert used <= METRIC_SLOTS_MAX // 2
