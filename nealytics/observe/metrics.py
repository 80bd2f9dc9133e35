"""All metrics of a node, summed over its workers.

The table below is the whole list; docs/monitor.md repeats it, and a test compares the two. Values are in
`NodeMemory`, so `/metrics` of any worker answers for the node, and the restart of a worker resets nothing.
`observe.prometheus` writes them as text, and is loaded with the first request for it.
"""

import time
from dataclasses import dataclass
from typing import Literal

from nealytics.shared import METRIC_SLOTS_MAX, NodeMemory

# Why an event or a request was not accepted. A closed list: it is a label, and the `code` of the answer.
REFUSED_REASONS = (
    "invalid_json",
    "invalid_event",
    "outside_time_window",
    "unauthorized",
    "forbidden",
    "invalid_claim",
    "keys_unavailable",
    "rate_limited",
    "quota_exceeded",
    "body_too_large",
    "unsupported_encoding",
    "bad_request",
    "invalid_parameter",
    "request_timeout",
    "log_full",
    "log_broken",
    "stopping",
)

# The clock of a tracker, compared with the node's: at least so far ahead or behind.
CLOCKS = ("right", "ahead_minute", "ahead_hour", "ahead_day", "behind_minute", "behind_hour", "behind_day")

# Why a read request had no answer, or an incomplete one: the `code` of its error, or "broken_off" if the head
# had been sent.
READ_FAILURE_REASONS = (
    "invalid_parameter",
    "invalid_claim",
    "bad_request",
    "body_too_large",
    "unauthorized",
    "forbidden",
    "rate_limited",
    "quota_exceeded",
    "result_too_large",
    "query_too_large",
    "http_1_1_needed",
    "too_many_streams",
    "streams_busy",
    "queries_busy",
    "answers_busy",
    "clickhouse_unavailable",
    "scope_not_proven",
    "data_damaged",
    "keys_unavailable",
    "unknown_query",
    "query_failed",
    "queries_unavailable",
    "stopping",
    "internal_error",
    "broken_off",
)

# From a page-cache write to a stalled disk; fsync on a laptop SSD is near the third bucket.
_FSYNC_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_WRITE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_READ_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Spec:
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    label: str = ""
    values: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    # How the gauges of several workers are combined. A lease is the time of its end: 1 while all are valid.
    across: Literal["sum", "max", "lease"] = "sum"


# The first six names are those of the C# engine: its dashboards and alerts keep working.
SPECS = (
    Spec("nealytics_events_ingested_total", "counter", "Events accepted: on disk and acknowledged."),
    Spec("nealytics_batches_committed_total", "counter", "Batches that ClickHouse accepted."),
    Spec("nealytics_read_queries_total", "counter", "Read queries executed."),
    Spec(
        "nealytics_storage_write_duration_seconds",
        "histogram",
        "Time to commit one batch to ClickHouse, including retries.",
        buckets=_WRITE_BUCKETS,
    ),
    Spec(
        "nealytics_query_read_duration_seconds", "histogram", "Time of one read query.", buckets=_READ_BUCKETS
    ),
    Spec("nealytics_queue_depth_current", "gauge", "Events in the log that are not yet in ClickHouse."),
    Spec("nealytics_events_committed_total", "counter", "Events that ClickHouse accepted."),
    Spec(
        "nealytics_events_erased_total",
        "counter",
        "Events that were dropped because an erasure covers them: waiting ones, and those that came back.",
    ),
    Spec(
        "nealytics_events_refused_total",
        "counter",
        "Events refused, with the reason. A request that is refused before its body is read counts as one.",
        label="reason",
        values=REFUSED_REASONS,
    ),
    Spec(
        "nealytics_tracker_requests_total",
        "counter",
        "Requests of trackers (/t.js), with how far their clocks are ahead or behind, at least.",
        label="clock",
        values=CLOCKS,
    ),
    Spec(
        "nealytics_dead_letter_events_total",
        "counter",
        "Events that ClickHouse refused for their content, dead-lettered. Alert on any increase.",
    ),
    Spec(
        "nealytics_rejected_events_dropped_total",
        "counter",
        "Rejected events that were dropped: for newer ones, for their age, or because the disk took none.",
    ),
    Spec("nealytics_insert_retries_total", "counter", "Inserts that failed and were retried."),
    Spec(
        "nealytics_read_failures_total",
        "counter",
        "Read requests that were refused, failed, or were cut off.",
        label="reason",
        values=READ_FAILURE_REASONS,
    ),
    Spec("nealytics_wal_bytes", "gauge", "Size of the log on disk, kept segments included."),
    Spec("nealytics_wal_bytes_max", "gauge", "Size at which the log accepts no more events."),
    Spec(
        "nealytics_wal_oldest_unacknowledged_age_seconds",
        "gauge",
        "Age of the oldest event in the log that is not yet in ClickHouse; 0 if there is none.",
        across="max",
    ),
    Spec(
        "nealytics_wal_fsync_seconds",
        "histogram",
        "Time of one fdatasync of the log.",
        buckets=_FSYNC_BUCKETS,
    ),
    Spec(
        "nealytics_wal_group_events",
        "histogram",
        "Events that shared one fdatasync.",
        buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 10000),
    ),
    Spec("nealytics_wal_torn_tails_total", "counter", "Incomplete last frames removed at a start."),
    Spec(
        "nealytics_wal_damaged_logs",
        "gauge",
        "Damaged logs that were quarantined and that nobody has deleted yet.",
    ),
    Spec(
        "nealytics_wal_unreadable_events",
        "gauge",
        "Events in damaged logs that were quarantined, which cannot be read.",
    ),
    Spec("nealytics_worker_starts_total", "counter", "Worker starts, including restarts."),
    Spec(
        "nealytics_ready",
        "gauge",
        "1 while every worker runs and would answer 200 to /ready, else 0.",
        across="lease",
    ),
    Spec(
        "nealytics_damaged_parts",
        "gauge",
        "Known damaged parts of the table in ClickHouse.",
        across="max",
    ),
    Spec(
        "nealytics_table_incomplete",
        "gauge",
        "1 while the table may lack events that ClickHouse confirmed, else 0.",
        across="max",
    ),
    Spec(
        "nealytics_events_resent_total",
        "counter",
        "Events of the log's kept segments that were missing from the table and were sent again.",
    ),
    Spec(
        "nealytics_retention_differs",
        "gauge",
        "1 if the table's retention differs from clickhouse.retention_days, else 0.",
        across="max",
    ),
    Spec(
        "nealytics_retention_rules_waiting",
        "gauge",
        "Rules of [[retention]] that keep less than before and wait for `nealytics retention apply`.",
        across="max",
    ),
    Spec(
        "nealytics_quota_used_ratio",
        "gauge",
        "Used part of the [[quota]] that is used most: 1 is all of it, 0 is no quota.",
        across="max",
    ),
    Spec(
        "nealytics_config_last_reload_successful",
        "gauge",
        "1 if the configuration of the last reload (SIGHUP), or of the start, is in effect, else 0.",
    ),
    Spec(
        "nealytics_config_last_reload_success_timestamp_seconds",
        "gauge",
        "Time of the last successful reload, or of the start, in epoch seconds.",
    ),
    Spec(
        "nealytics_jwks_age_seconds",
        "gauge",
        "Time since an issuer's keys were last fetched, or since the start; the maximum of all issuers.",
        across="max",
    ),
    Spec(
        "nealytics_spans_lost_total",
        "counter",
        "Sampled spans that were not delivered: the queue was full, or the OTLP receiver refused them.",
    ),
)


class _Number:
    """One slot of this worker."""

    def __init__(self, memory: NodeMemory, slot: int) -> None:
        self._slots = memory.metrics
        self._slot = slot

    def add(self, amount: float = 1) -> None:
        self._slots[self._slot] += amount

    def set(self, value: float) -> None:
        self._slots[self._slot] = value


class _Lease:
    """Valid for a limited time unless renewed, so the lease of a process that dies or hangs expires."""

    def __init__(self, memory: NodeMemory, slot: int) -> None:
        self._slots = memory.metrics
        self._slot = slot

    def renew(self, seconds: float) -> None:
        # The monotonic clock, which all processes of a machine share.
        self._slots[self._slot] = time.monotonic() + seconds

    def end(self) -> None:
        self._slots[self._slot] = 0.0


class _Labelled:
    """One slot per value of a closed label."""

    def __init__(self, memory: NodeMemory, slot: int, values: tuple[str, ...]) -> None:
        self._slots = memory.metrics
        self._slot_of = {value: slot + i for i, value in enumerate(values)}

    def add(self, amount: float, value: str) -> None:
        self._slots[self._slot_of[value]] += amount


class _Histogram:
    """Buckets (each its own count, made cumulative when shown), then the sum."""

    def __init__(self, memory: NodeMemory, slot: int, buckets: tuple[float, ...]) -> None:
        self._slots = memory.metrics
        self._slot = slot
        self._buckets = buckets
        self._sum = slot + len(buckets) + 1

    def observe(self, value: float) -> None:
        slots = self._slots
        slot = self._slot
        for bound in self._buckets:
            if value <= bound:
                break
            slot += 1
        slots[slot] += 1
        slots[self._sum] += value


class Metrics:
    """This worker's instruments, and the values of the node."""

    def __init__(self, memory: NodeMemory) -> None:
        self._memory = memory
        self._first: dict[str, int] = {}
        slot = 0
        for spec in SPECS:
            self._first[spec.name] = slot
            slot += len(spec.buckets) + 2 if spec.kind == "histogram" else max(1, len(spec.values))
        assert slot <= METRIC_SLOTS_MAX, slot

        self.events_ingested = self._number("nealytics_events_ingested_total")
        self.batches_committed = self._number("nealytics_batches_committed_total")
        self.read_queries = self._number("nealytics_read_queries_total")
        self.write_seconds = self._histogram("nealytics_storage_write_duration_seconds")
        self.read_seconds = self._histogram("nealytics_query_read_duration_seconds")
        self.queue_depth = self._number("nealytics_queue_depth_current")
        self.events_committed = self._number("nealytics_events_committed_total")
        self.events_erased = self._number("nealytics_events_erased_total")
        self.refused = _Labelled(memory, self._first["nealytics_events_refused_total"], REFUSED_REASONS)
        self.tracker_requests = _Labelled(memory, self._first["nealytics_tracker_requests_total"], CLOCKS)
        self.dead_letter_events = self._number("nealytics_dead_letter_events_total")
        self.rejected_dropped = self._number("nealytics_rejected_events_dropped_total")
        self.insert_retries = self._number("nealytics_insert_retries_total")
        self.read_failures = _Labelled(
            memory, self._first["nealytics_read_failures_total"], READ_FAILURE_REASONS
        )
        self.wal_bytes = self._number("nealytics_wal_bytes")
        self.wal_bytes_max = self._number("nealytics_wal_bytes_max")
        self.oldest_age_seconds = self._number("nealytics_wal_oldest_unacknowledged_age_seconds")
        self.fsync_seconds = self._histogram("nealytics_wal_fsync_seconds")
        self.group_events = self._histogram("nealytics_wal_group_events")
        self.torn_tails = self._number("nealytics_wal_torn_tails_total")
        self.damaged_logs = self._number("nealytics_wal_damaged_logs")
        self.unreadable_events = self._number("nealytics_wal_unreadable_events")
        self.worker_starts = self._number("nealytics_worker_starts_total")
        self.ready = _Lease(memory, self._first["nealytics_ready"])
        self.damaged_parts = self._number("nealytics_damaged_parts")
        self.table_incomplete = self._number("nealytics_table_incomplete")
        self.events_resent = self._number("nealytics_events_resent_total")
        self.retention_differs = self._number("nealytics_retention_differs")
        self.retention_rules_waiting = self._number("nealytics_retention_rules_waiting")
        self.quota_used_ratio = self._number("nealytics_quota_used_ratio")
        # Of the supervisor alone, which writes no others.
        self.reload_successful = self._number("nealytics_config_last_reload_successful")
        self.reload_at = self._number("nealytics_config_last_reload_success_timestamp_seconds")
        self.jwks_age_seconds = self._number("nealytics_jwks_age_seconds")
        self.spans_lost = self._number("nealytics_spans_lost_total")

    @classmethod
    def private(cls) -> "Metrics":
        """Instruments of a process that is not part of a node: a test, a command, a benchmark."""
        return cls(NodeMemory.create(workers=1, keys=1))

    def value(self, name: str, label_value: str = "") -> float:
        """The node's value of a counter or gauge."""
        spec = next(s for s in SPECS if s.name == name)
        slot = self._first[name] + (spec.values.index(label_value) if spec.values else 0)
        match spec.across:
            case "max":
                return self._memory.metric_max(slot)
            case "lease":
                return float(self._memory.metric_min(slot) > time.monotonic())
            case _:
                return self._memory.metric_sum(slot)

    def histogram(self, name: str) -> tuple[list[float], float]:
        """The node's count in each bucket, the one beyond the last bound included, and the sum."""
        spec = next(s for s in SPECS if s.name == name)
        first, end = self._first[name], self._first[name] + len(spec.buckets) + 1
        counts = [self._memory.metric_sum(slot) for slot in range(first, end)]
        return counts, self._memory.metric_sum(end)

    def _number(self, name: str) -> _Number:
        return _Number(self._memory, self._first[name])

    def _histogram(self, name: str) -> _Histogram:
        spec = next(s for s in SPECS if s.name == name)
        return _Histogram(self._memory, self._first[name], spec.buckets)
