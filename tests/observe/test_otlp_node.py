"""A whole node that is watched by OpenTelemetry, or is not: real processes, real OTLP."""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.node import KEY, Node, free_port, token
from tests.fakes.otlp import Export, FakeReceiver, receiving

pytestmark = [pytest.mark.e2e]

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    with receiving() as receiver:
        yield receiver


def event(**fields: object) -> dict[str, object]:
    return {
        "projectId": "shop",
        "tenantId": "acme",
        "sessionId": "secret-session",
        "eventType": "view",
        **fields,
    }


def post(node: Node, path: str, events: object, headers: dict[str, str]) -> int:
    return node.request(
        "POST", f"/api/v1/telemetry/{path}", json.dumps(events).encode(), {"X-Project-Key": KEY, **headers}
    )[0]


def samples(node: Node) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What `/metrics` says: sample's name → labels → value."""
    status, text = node.request("GET", "/metrics")
    assert status == 200
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def differences(export: Export, shown: dict[str, dict[tuple[tuple[str, str], ...], float]]) -> list[str]:
    """Where an export and `/metrics` do not say the same. Not what a clock moves."""
    wrong = []
    names = set()
    for name, points in export.points.items():
        for labels, point in points.items():
            if point.kind != "histogram":
                names.add(name)
                said = shown[name][labels]
                if said != point.value:
                    wrong.append(f"{name}{labels}: {point.value}, and /metrics has {said}")
                continue
            names |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
            total = 0
            for bound, count in zip([*map(str, point.bounds), "+Inf"], point.buckets, strict=True):
                total += count
                if shown[f"{name}_bucket"][(("le", bound),)] != total:
                    wrong.append(f"{name} up to {bound}: {total}")
            if (point.value, point.sum) != (shown[f"{name}_count"][()], shown[f"{name}_sum"][()]):
                wrong.append(f"{name}: {point}")
    return wrong + [f"{name} is not exported" for name in set(shown) - names]


@pytest.mark.engine
def test_everything_of_two_workers_arrives_once(tmp_path: Path, receiver: FakeReceiver):
    with Node(tmp_path, workers=2, environ=receiver.environ()) as node:
        node.wait_ready()
        for _ in range(10):  # each on a connection of its own, so both workers get some
            assert post(node, "track", event(), TRACEPARENT) == 202
        assert post(node, f"beacon?k={KEY}", [event(), event()], TRACEPARENT) == 204
        assert post(node, "batch?wait=true", [event()] * 3, TRACEPARENT) == 200
        assert post(node, "track", event(), TRACEPARENT | {"X-Project-Key": "wrong"}) == 401
        assert node.request(
            "GET",
            "/api/v1/analytics/top?filter=eventType:eq:secret-filter",
            headers={"Authorization": f"Bearer {token('shop', 'acme')}", **TRACEPARENT},
        )[0] in (200, 400)
        assert (
            node.request(
                "GET",
                "/api/v1/telemetry/timeline?sessionId=secret-session",
                headers={"Authorization": f"Bearer {token('shop', 'acme')}", **TRACEPARENT},
            )[0]
            == 200
        )
        node.wait_drained()
        node.wait_until(lambda: len(receiver.named("IngestHttpRequest")) >= 12, "the spans arrive")
        # Those of a worker that is killed would be lost.
        for name in ("BeaconIngest", "GetProjectTimelineQuery.Execute", "GetTopEventsQuery.Execute"):
            node.wait_until(lambda name=name: receiver.named(name), f"the span of {name} arrives")
        node.wait_until(
            lambda: sum(s.attributes["nealytics.rows"] for s in receiver.named("BatchProcessor.Flush")) >= 15,
            "the batches' spans arrive",
        )
        node.wait_until(lambda: not differences(receiver.exports[-1], samples(node)), "both say the same")
        assert {span.resource["nealytics.worker"] for span in receiver.spans} == {0, 1}

        # A worker's death takes nothing back, and its start sends nothing twice.
        before = receiver.exports[-1]
        assert node.kill_one("worker", 0)
        node.wait_until(
            lambda: receiver.exports[-1].value("nealytics_worker_starts_total") == 3, "the worker is back"
        )
        assert receiver.exports[-1].value("nealytics_events_ingested_total") == 15
        starts = {e.points["nealytics_events_ingested_total"][()].start_ns for e in receiver.exports}
        assert len(starts) == 1
        assert abs(starts.pop() / 1e9 - before.at) < 120
        node.wait_ready()
        assert post(node, "track", event(), {}) == 202
        assert node.stop() == 0

    # The last export comes after the last batch.
    last = receiver.exports[-1]
    assert last.value("nealytics_events_ingested_total") == 16
    assert last.value("nealytics_events_committed_total") == 16
    assert last.value("nealytics_events_refused_total", reason="unauthorized") == 1
    assert last.value("nealytics_ready") == 0
    assert last.value("nealytics_spans_lost_total") == 0
    assert sorted(e.points["nealytics_events_ingested_total"][()].time_ns for e in receiver.exports) == [
        e.points["nealytics_events_ingested_total"][()].time_ns for e in receiver.exports
    ], "one sender"

    ingest = receiver.named("IngestHttpRequest")
    assert len(ingest) == 13
    assert {(span.trace_id, span.parent_id) for span in ingest[:12] if span.parent_id} == {(TRACE, PARENT)}
    assert [
        s.attributes["error.type"] for s in ingest if s.attributes["http.response.status_code"] == 401
    ] == ["unauthorized"]
    [beacon] = receiver.named("BeaconIngest")
    assert (beacon.trace_id, beacon.attributes["neavents.beacon_events"]) == (TRACE, 2)
    [timeline] = receiver.named("GetProjectTimelineQuery.Execute")
    assert timeline.trace_id == TRACE
    assert timeline.attributes["nealytics.endpoint"] == "timeline"
    assert timeline.attributes["http.response.status_code"] == 200
    assert timeline.attributes["neavents.project_id"] == "shop"
    assert timeline.attributes["neavents.tenant_id"] == "acme"
    assert [span.trace_id for span in receiver.named("GetTopEventsQuery.Execute")] == [TRACE]
    flushes = receiver.named("BatchProcessor.Flush")
    assert sum(span.attributes["nealytics.rows"] for span in flushes) == 16
    assert {span.attributes["nealytics.attempts"] for span in flushes} == {1}
    assert all(
        re.fullmatch(r"[0-9a-f-]{36}:\d+-\d+:[0-9a-f]{32}", s.attributes["nealytics.token"]) for s in flushes
    )
    assert not any(span.parent_id for span in flushes)
    assert not any(span.failed for span in receiver.spans)
    # The key, the query and what is in an event are nobody's business there.
    for secret in (KEY.encode(), b"secret-session", b"secret-filter", b"wrong"):
        assert not any(secret in span.raw for span in receiver.spans)


@pytest.mark.engine
def test_an_error_is_found_from_the_trace_to_the_log_line(tmp_path: Path, receiver: FakeReceiver):
    """ClickHouse is down: the read's span has the status and the kind, the log has the message."""
    with Node(tmp_path, clickhouse=f"http://127.0.0.1:{free_port()}", environ=receiver.environ()) as node:
        node.wait_ready("/ready/ingest")
        headers = {"Authorization": f"Bearer {token('shop', 'acme')}", **TRACEPARENT}
        assert node.request("GET", "/api/v1/analytics/top", headers=headers)[0] == 503
        node.wait_until(lambda: receiver.named("GetTopEventsQuery.Execute"), "the span arrives")
        node.kill()
    [span] = receiver.named("GetTopEventsQuery.Execute")
    assert span.failed
    assert span.attributes["error.type"] == "clickhouse_unavailable"
    assert [name for name, _ in span.events] == ["exception"]
    lines = [json.loads(line) for line in node.log_path.read_text().splitlines() if line.startswith("{")]
    [line] = [line for line in lines if line.get("trace_id") == TRACE]
    assert line["span_id"] == span.span_id
    assert line["request_id"] == span.attributes["nealytics.request_id"]
    assert "clickhouse_unavailable" in line["message"]


@pytest.mark.parametrize("how", ["nobody listens", "it never answers", "it refuses"])
def test_a_receiver_of_no_use_delays_no_event_and_no_stop(tmp_path: Path, receiver: FakeReceiver, how: str):
    environ = receiver.environ(OTEL_EXPORTER_OTLP_TIMEOUT="500")
    if how == "nobody listens":
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://user:secret-word@127.0.0.1:{free_port()}"
    elif how == "it never answers":
        receiver.delay_s = 60.0
    else:
        receiver.answers = 500
    with Node(
        tmp_path,
        clickhouse=f"http://127.0.0.1:{free_port()}",
        environ=environ,
        settings="server.shutdown_timeout_s = 1.0",
    ) as node:
        node.wait_ready("/ready/ingest")
        took = []
        for _ in range(200):
            started = time.monotonic()
            assert post(node, "track", event(), {}) == 202
            took.append(time.monotonic() - started)
        # One that waited for its span's receiver would take half a second. Some may on a busy machine.
        assert statistics.median(took) < 0.3
        started = time.monotonic()
        assert node.stop() == 0
        # The drain has half of the second; then 2 s for the worker's spans and 2 s for the metrics. The
        # receiver has a minute for each answer.
        assert time.monotonic() - started < 30
    log = node.log_path.read_text()
    assert "secret-word" not in log
    assert "unexpected error" not in log
    assert log.count("cannot send traces to") == 1
    assert log.count("cannot send metrics to") == 1


def test_an_unsupported_protocol_is_logged_and_events_are_accepted(tmp_path: Path, receiver: FakeReceiver):
    environ = receiver.environ(OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_UNHEARD_OF="1")
    with Node(tmp_path, clickhouse=f"http://127.0.0.1:{free_port()}", environ=environ) as node:
        node.wait_ready("/ready/ingest")
        assert post(node, "track", event(), {}) == 202
        log = node.log_path.read_text()
        node.kill()
    assert 'OTEL_EXPORTER_OTLP_PROTOCOL is \\"grpc\\", but only http/protobuf is supported' in log
    assert "OTEL_UNHEARD_OF" not in log
    assert receiver.requests == 0


def loaded_by(node: Node) -> dict[str, bool]:
    """Process → whether protobuf's native code is mapped into it. Whoever imports the exporter has it."""
    assert node.process is not None
    pids = {"supervisor": node.process.pid} | {f"worker {pid}": pid for pid in node.pids("worker")}
    return {name: "_message" in Path(f"/proc/{pid}/maps").read_text() for name, pid in pids.items()}


def test_nothing_of_it_is_loaded_without_an_endpoint(tmp_path: Path, receiver: FakeReceiver):
    off = {name: "" for name in os.environ if name.startswith("OTEL_")}
    nowhere = f"http://127.0.0.1:{free_port()}"
    for directory, environ, expected in (
        ("off", off, False),
        ("disabled", receiver.environ(OTEL_SDK_DISABLED="true"), False),
        ("on", receiver.environ(), True),
    ):
        (tmp_path / directory).mkdir()
        with Node(tmp_path / directory, workers=2, clickhouse=nowhere, environ=environ) as node:
            node.wait_ready("/ready/ingest")
            assert post(node, "track", event(), TRACEPARENT) == 202
            node.wait_until(
                lambda node=node, expected=expected: list(loaded_by(node).values()) == [expected] * 3,
                f"all three processes have it {directory}",
            )
            node.kill()


def test_no_module_of_it_is_imported_by_what_a_node_imports():
    """Each one by name, in a process that has done everything up to the look at the variables."""
    code = """
import sys
import nealytics.cli, nealytics.server, nealytics.supervisor
from nealytics.observe.otel_signals import start_metrics, start_tracing
from nealytics.observe.metrics import Metrics
from nealytics.shared import NodeMemory
assert start_tracing(Metrics.private(), port=1, worker=0) is None
assert start_metrics(NodeMemory.create(1, 1), port=1) is None
theirs = ("opentelemetry", "google", "requests", "urllib3")
print([name for name in sys.modules if name.split(".")[0] in theirs])
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True
    )
    assert done.stdout.strip() == "[]"
