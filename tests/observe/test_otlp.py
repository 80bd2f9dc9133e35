"""Spans and metrics as a receiver gets them, and what a receiver can do to us."""

import json
import logging
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict
from opentelemetry.sdk.trace.export import SpanExportResult

from nealytics.clickhouse.errors import ClickHouseError
from nealytics.observe import otel, otlp
from nealytics.observe.log import JsonFormatter
from nealytics.observe.metrics import SPECS, Metrics
from nealytics.observe.otel_settings import Receiver
from nealytics.observe.otlp_delivery import resource
from nealytics.observe.otlp_metrics import MetricsExport
from nealytics.shared import NodeMemory
from tests.commit.station import Station
from tests.e2e.node import free_port
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.otlp import FakeReceiver, receiving
from tests.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
ASKED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1,other=2"}
LOST = "nealytics_spans_lost_total"


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    with receiving() as receiver:
        yield receiver


def to(
    endpoint: str, *, timeout_s: float = 30.0, interval_s: float = 60.0, queue_max: int = 2_048
) -> Receiver:
    return Receiver(endpoint, timeout_s, interval_s, queue_max, batch_max=min(512, queue_max))


@contextmanager
def tracing_to(
    url: str,
    metrics: Metrics | None = None,
    queue_max: int = 2_048,
    timeout_s: float = 30.0,
    stop_s: float = 30.0,
) -> Iterator[otlp.Tracing]:
    """At its end everything has been sent, if the receiver takes it."""
    where = to(f"{url}/v1/traces", queue_max=queue_max, timeout_s=timeout_s)
    tracing = otlp.Tracing(where, resource(5000, 1), metrics or Metrics.private())
    try:
        yield tracing
    finally:
        tracing.stop(stop_s)


@pytest.fixture
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans are sent by `send`, and by nothing that a slow machine could do earlier or later."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")


def send(tracing: otlp.Tracing) -> None:
    """Returns when it has been tried."""
    assert tracing._queue.force_flush()


def of_request(tracing: otlp.Tracing, **headers: str) -> otlp.Span | None:
    return tracing.begin("IngestHttpRequest", CIMultiDict(headers))


def test_a_span_goes_on_with_the_trace_of_its_traceparent(receiver: FakeReceiver):
    with tracing_to(receiver.url) as tracing:
        span = of_request(tracing, **ASKED)
        assert span is not None
        span.end()
    [arrived] = receiver.spans
    assert (arrived.trace_id, arrived.parent_id) == (TRACE, PARENT)
    assert arrived.trace_state == "vendor=1,other=2"
    assert span.ids == {"trace_id": TRACE, "span_id": arrived.span_id}
    assert arrived.scope == "Nealytics.Engine.Core"
    assert arrived.resource["service.name"] == "nealytics"
    assert arrived.resource["service.instance.id"].endswith(":5000")
    assert arrived.resource["nealytics.worker"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": ""},
        {"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"},
        {"traceparent": f"00-{TRACE}-0000000000000000-01"},
        {"traceparent": f"ff-{TRACE}-{PARENT}-01"},
        {"traceparent": "x" * 100_000},
        {"traceparent": "\udcff\udcfe", "tracestate": "\udcff=\udcfe"},
    ],
)
def test_without_a_usable_traceparent_a_trace_begins_here(receiver: FakeReceiver, headers: dict[str, str]):
    with tracing_to(receiver.url) as tracing:
        span = of_request(tracing, **headers)
        assert span is not None
        span.end()
    [arrived] = receiver.spans
    assert arrived.parent_id == ""
    assert arrived.trace_id not in (TRACE, "0" * 32)


def test_a_tracestate_of_any_bytes_costs_no_span(receiver: FakeReceiver):
    with tracing_to(receiver.url) as tracing:
        for state in ("\udcff=\udcfe", "a=1," * 600, "=", "a=\x00", "a=1,a=2"):
            span = of_request(tracing, traceparent=ASKED["traceparent"], tracestate=state)
            assert span is not None
            span.end()
    assert len(receiver.spans) == 5


def test_what_the_client_does_not_sample_is_not_sampled(receiver: FakeReceiver):
    """The sampler of the standard when none is named: the parent's decision."""
    with tracing_to(receiver.url) as tracing:
        assert of_request(tracing, traceparent=f"00-{TRACE}-{PARENT}-00") is None


@pytest.mark.parametrize(
    ("sampler", "argument", "sampled", "with_sampled_parent"),
    [
        ("always_off", "", 0, 0),
        ("traceidratio", "0", 0, 0),
        ("parentbased_traceidratio", "0", 0, 500),
        ("parentbased_always_off", "", 0, 500),
        ("always_on", "", 500, 500),
    ],
)
def test_the_sampler_is_configurable(
    monkeypatch: pytest.MonkeyPatch,
    receiver: FakeReceiver,
    sampler: str,
    argument: str,
    sampled: int,
    with_sampled_parent: int,
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with tracing_to(receiver.url) as tracing:
        assert sum(of_request(tracing) is not None for _ in range(500)) == sampled
        assert sum(of_request(tracing, **ASKED) is not None for _ in range(500)) == with_sampled_parent


def test_a_ratio_samples_about_so_many(monkeypatch: pytest.MonkeyPatch, receiver: FakeReceiver):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    with tracing_to(receiver.url) as tracing:
        sampled = 0
        for _ in range(10_000):
            if span := of_request(tracing):
                sampled += 1
                span.end()
        for _ in range(1_000):
            with tracing.flush(rows=1):
                pass
    # 1,000 ± 30 and 100 ± 9 are one standard deviation.
    assert 800 < sampled < 1_200
    flushes = len(receiver.named("BatchProcessor.Flush"))
    assert 50 < flushes < 150
    # Whoever else sees these traces decides alike, as the decision is in the id.
    ids = {span.trace_id for span in receiver.spans}
    assert len(ids) == sampled + flushes
    assert all(int(trace_id[16:], 16) < 0.1 * 2**64 for trace_id in ids)


def test_a_batch_s_span_has_its_figures_and_the_kind_of_what_went_wrong(receiver: FakeReceiver):
    error = ClickHouseError(27, "Cannot parse input: expected ',' before: 'jane@example.com'")
    with tracing_to(receiver.url) as tracing, tracing.flush(rows=3, bytes=99, token="log:1-3:ab"):
        otel.note("nealytics.attempts", 2)
        otel.record(error)
    [span] = receiver.spans
    assert span.name == "BatchProcessor.Flush"
    assert span.attributes == {
        "db.system": "clickhouse",
        "db.operation": "insert",
        "nealytics.rows": 3,
        "nealytics.bytes": 99,
        "nealytics.token": "log:1-3:ab",
        "nealytics.attempts": 2,
    }
    assert span.events == [("exception", {"exception.type": "ClickHouseError", "exception.code": "27"})]
    assert b"jane" not in span.raw
    assert not span.failed, "the next try took it"


async def test_a_batch_that_is_tried_again_has_its_tries_in_its_span(tmp_path: Path, receiver: FakeReceiver):
    async with FakeClickHouse() as fake:
        fake.faults += [faults.error(241), faults.lost_answer()]
        with tracing_to(receiver.url) as tracing:
            station = Station(tmp_path / "wal", fake)
            station.tracing = tracing
            async with station:
                await station.append_numbers(1, 20)
                station.start()
                await station.drained()
    [span] = receiver.spans
    assert span.attributes["nealytics.rows"] == 20
    assert span.attributes["nealytics.attempts"] == 3
    assert span.attributes["nealytics.token"] == fake.inserts[0].token
    assert span.attributes["nealytics.bytes"] == len(fake.inserts[0].body)
    assert [attributes.get("exception.type") for _, attributes in span.events] == [
        "ClickHouseError",
        "ClickHouseUnavailable",
    ]
    assert not span.failed


async def test_a_batch_that_is_refused_for_its_content_has_failed(tmp_path: Path, receiver: FakeReceiver):
    async with FakeClickHouse() as fake:
        fake.faults.append(faults.error(27))
        with tracing_to(receiver.url) as tracing:
            station = Station(tmp_path / "wal", fake)
            station.tracing = tracing
            async with station:
                await station.append_numbers(1, 2)
                station.start()
                await station.drained()
    whole, *halves = receiver.spans
    assert whole.failed
    assert whole.attributes["error.type"] == "bad_content"
    assert [(span.failed, span.attributes["nealytics.rows"]) for span in halves] == [(False, 1)] * 2


def test_what_ends_a_batch_is_the_status_of_its_span(receiver: FakeReceiver):
    with tracing_to(receiver.url) as tracing, pytest.raises(KeyError), tracing.flush(rows=1):
        raise KeyError("jane@example.com")
    [span] = receiver.spans
    assert span.failed
    assert span.attributes["error.type"] == "KeyError"
    assert b"jane" not in span.raw


def test_half_a_character_in_a_token_s_claim_costs_no_span(receiver: FakeReceiver):
    with tracing_to(receiver.url) as tracing:
        span = of_request(tracing)
        assert span is not None
        span.note("neavents.project_id", "shop\ud800")
        span.end()
    assert receiver.spans[0].attributes["neavents.project_id"] == "shop?"


def test_a_log_line_within_a_span_has_its_ids_and_none_outside(receiver: FakeReceiver):
    record = logging.makeLogRecord({"msg": "hello"})
    with tracing_to(receiver.url) as tracing:
        span = of_request(tracing, **ASKED)
        assert span is not None
        with otel.within(span):
            line = json.loads(JsonFormatter().format(record))
        span.end()
    assert (line["trace_id"], line["span_id"]) == (TRACE, receiver.spans[0].span_id)
    assert "trace_id" not in json.loads(JsonFormatter().format(record))


def test_headers_and_compression_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, receiver: FakeReceiver
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,x-scope=shop")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with tracing_to(receiver.url) as tracing:
        span = of_request(tracing)
        assert span is not None
        span.end()
    assert len(receiver.spans) == 1
    assert receiver.headers[0]["authorization"] == "Bearer abc"
    assert receiver.headers[0]["x-scope"] == "shop"
    assert receiver.headers[0]["content-encoding"] == "gzip"


def test_the_resource_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment=prod")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    attributes = resource(5000).attributes
    assert attributes["service.name"] == "shop"
    assert attributes["deployment.environment"] == "prod"


# A receiver that does not behave


def finish_spans(tracing: otlp.Tracing, count: int) -> None:
    for _ in range(count):
        span = of_request(tracing)
        assert span is not None
        span.end()


@pytest.mark.usefixtures("only_when_told")
@pytest.mark.parametrize("status", [307, 400, 401, 404, 500, 503])
def test_spans_that_a_receiver_refuses_are_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture, receiver: FakeReceiver, status: int
):
    metrics = Metrics.private()
    receiver.answers = status
    # 503 is asked again, as long as this allows.
    with tracing_to(receiver.url, metrics, timeout_s=5.0) as tracing:
        finish_spans(tracing, 3)
        send(tracing)
        assert metrics.value(LOST) == 3
        finish_spans(tracing, 2)
        send(tracing)
        assert metrics.value(LOST) == 5
        [line] = caplog.records
        assert line.getMessage().startswith(
            f"otlp: cannot send traces to {receiver.url}/v1/traces: it answered {status} "
        )
        assert line.getMessage().endswith("; 3 spans were dropped")
        receiver.answers = 200
        finish_spans(tracing, 4)
        send(tracing)
        assert len(receiver.spans) == 4
    assert metrics.value(LOST) == 5
    assert caplog.messages[1:] == [
        f"otlp: sending traces to {receiver.url}/v1/traces works again, after 2 failures"
    ]


@pytest.mark.usefixtures("only_when_told")
def test_a_receiver_that_comes_and_goes_is_no_flood_in_the_log(
    caplog: pytest.LogCaptureFixture, receiver: FakeReceiver
):
    with tracing_to(receiver.url) as tracing:
        for come in range(1, 11):
            receiver.answers = 500 if come % 2 else 200
            finish_spans(tracing, 1)
            send(tracing)
            assert receiver.requests == come
    assert len(caplog.records) == 2


def test_a_queue_that_is_full_takes_no_more_and_logs_nothing_for_each(
    caplog: pytest.LogCaptureFixture, receiver: FakeReceiver
):
    metrics = Metrics.private()
    receiver.delay_s = 300.0
    with tracing_to(receiver.url, metrics, queue_max=512, timeout_s=300.0, stop_s=1.0) as tracing:
        # The time of the processor, whatever else the machine does.
        started = time.thread_time()
        finish_spans(tracing, 3_000)
        # The SDK's own makes a log record for each, and takes seconds.
        assert time.thread_time() - started < 2.0
        assert caplog.records == []
    assert metrics.value(LOST) == 3_000, "512 were being sent when the time was up"


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("http://me:secret-word@127.0.0.1:{port}/v1/traces?key=secret-word", "Connection refused"),
        ("http://me:secret-word@{long}:{port}/v1/traces", "LocationParseError"),
        ("http://me:secret-word@%zz:{port}/v1/traces", "otlp: cannot send traces to"),
    ],
)
def test_no_log_line_has_a_password_or_a_key_of_the_endpoint(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, endpoint: str, told: str
):
    """Not in our lines, and not in those of the SDK, were they heard."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    metrics = Metrics.private()
    where = to(endpoint.format(port=free_port(), long="a" * 64 + ".example"), timeout_s=0.2)
    tracing = otlp.Tracing(where, resource(1), metrics)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "opentelemetry.exporter")
    caplog.set_level(logging.DEBUG, "opentelemetry.sdk._shared_internal")
    finish_spans(tracing, 1)
    until(lambda: told in caplog.text)
    tracing.stop()
    assert metrics.value(LOST) == 1
    assert "secret-word" not in caplog.text
    for record in caplog.records:
        assert "secret-word" not in JsonFormatter().format(record)


def test_no_line_of_the_connection_has_the_key_of_the_endpoint(
    caplog: pytest.LogCaptureFixture, receiver: FakeReceiver
):
    """urllib3 logs each request on level debug, which is that of the whole process."""
    caplog.set_level(logging.DEBUG)
    receiver.answers = 404  # it does not know such a path
    where = to(f"{receiver.url}/v1/traces?key=secret-word")
    tracing = otlp.Tracing(where, resource(1), Metrics.private())
    finish_spans(tracing, 1)
    tracing.stop()
    assert receiver.requests == 1
    assert "secret-word" not in caplog.text


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of an authority that nobody knows: key and certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is needed to make a certificate")
    directory = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture
def tls_receiver(certificate: tuple[Path, Path]) -> Iterator[FakeReceiver]:
    receiver = FakeReceiver()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate[1], certificate[0])
    receiver._server.socket = context.wrap_socket(receiver._server.socket, server_side=True)
    receiver.url = f"https://localhost:{receiver.port}"
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.mark.parametrize("said_by", ["SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"])
def test_the_authorities_are_the_machine_s_or_the_named_one(
    monkeypatch: pytest.MonkeyPatch, tls_receiver: FakeReceiver, certificate: tuple[Path, Path], said_by: str
):
    """The machine's are where OpenSSL looks, which its variable tells, and not in a package of Python's."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    if said_by != "SSL_CERT_FILE":
        monkeypatch.setenv("CURL_CA_BUNDLE", "/no/such/file")  # `requests` would heed it instead
    monkeypatch.setenv(said_by, str(certificate[1]))
    with tracing_to(tls_receiver.url) as tracing:
        finish_spans(tracing, 1)
    assert len(tls_receiver.spans) == 1


def test_a_receiver_that_no_authority_vouches_for_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tls_receiver: FakeReceiver
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    metrics = Metrics.private()
    with tracing_to(tls_receiver.url, metrics, timeout_s=3.0) as tracing:
        finish_spans(tracing, 1)
        until(lambda: "certificate verify failed" in caplog.text)
    assert metrics.value(LOST) == 1
    assert tls_receiver.requests == 0


@pytest.mark.parametrize("how", ["nobody listens", "it never answers", "it says: later"])
def test_a_stop_does_not_wait_for_a_receiver(receiver: FakeReceiver, how: str):
    url = receiver.url
    if how == "nobody listens":
        url = f"http://127.0.0.1:{free_port()}"
    elif how == "it never answers":
        receiver.delay_s = 30.0
    else:
        receiver.answers = 503
    metrics = Metrics.private()
    tracing = otlp.Tracing(to(f"{url}/v1/traces", timeout_s=60.0), resource(1), metrics)
    export = MetricsExport(to(f"{url}/v1/metrics", timeout_s=60.0), resource(1), metrics)
    finish_spans(tracing, 10)
    started = time.monotonic()
    tracing.stop(0.3)
    export.stop(0.3)
    # And not half a minute each.
    assert time.monotonic() - started < 20
    assert metrics.value(LOST) == 10


def test_what_is_given_up_in_the_moment_in_which_it_fails_is_lost_once(receiver: FakeReceiver):
    metrics = Metrics.private()
    exporter = otlp._SpanExporter(to(f"{receiver.url}/v1/traces"), metrics)
    exporter._exporter = SimpleNamespace(export=lambda spans: SpanExportResult.FAILURE)  # type: ignore[assignment]
    exporter.entered = 3

    class Spans(list[Any]):
        """While they are counted, the stop's patience ends."""

        stop: threading.Thread | None = None

        def __len__(self) -> int:
            if self.stop is None:
                self.stop = threading.Thread(target=exporter.close)
                self.stop.start()
                self.stop.join(0.2)
            return super().__len__()

    spans = Spans([None] * 3)
    exporter.export(spans)
    assert spans.stop is not None
    spans.stop.join()
    assert metrics.value(LOST) == 3


# Metrics


def test_an_export_says_what_the_metrics_say(receiver: FakeReceiver):
    """Every one of the table, of two workers together."""
    memory = NodeMemory.create(2, 1)
    first, second = (Metrics(NodeMemory.attach(memory.fd, 2, worker)) for worker in range(2))
    first.events_ingested.add(3)
    second.events_ingested.add(4)
    second.refused.add(5, "rate_limited")
    first.oldest_age_seconds.set(1.5)
    second.oldest_age_seconds.set(2.5)
    for seconds in (0.001, 0.02, 0.02, 100.0):
        second.write_seconds.observe(seconds)
    before_ns = time.time_ns()
    where = to(f"{receiver.url}/v1/metrics")
    MetricsExport(where, resource(5000), Metrics(memory)).stop()
    [export] = receiver.exports
    assert export.scope == "Nealytics.Engine.Metrics"
    assert "nealytics.worker" not in export.resource
    assert set(export.points) == {spec.name for spec in SPECS}
    for spec in SPECS:
        points = export.points[spec.name]
        kind = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}[spec.kind]
        assert {point.kind for point in points.values()} == {kind}
        assert all(point.cumulative for point in points.values())
        assert all(point.monotonic is (spec.kind == "counter") for point in points.values())
        if spec.kind != "gauge":
            assert all(before_ns <= point.start_ns <= point.time_ns for point in points.values())
        if spec.kind != "histogram":
            assert {dict(labels).get(spec.label, ""): point.value for labels, point in points.items()} == {
                value: first.value(spec.name, value) for value in spec.values or ("",)
            }
    assert export.value("nealytics_events_ingested_total") == 7
    assert export.value("nealytics_events_refused_total", reason="rate_limited") == 5
    assert export.value("nealytics_wal_oldest_unacknowledged_age_seconds") == 2.5
    write = export.points["nealytics_storage_write_duration_seconds"][()]
    assert write.bounds == next(
        s.buckets for s in SPECS if s.name == "nealytics_storage_write_duration_seconds"
    )
    assert write.buckets == (1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert (write.value, write.unit) == (4, "s")
    assert write.sum == pytest.approx(100.041)


def test_exports_go_on_after_a_receiver_was_away(caplog: pytest.LogCaptureFixture, receiver: FakeReceiver):
    metrics = Metrics.private()
    receiver.answers = 500
    where = to(f"{receiver.url}/v1/metrics", interval_s=0.02)
    export = MetricsExport(where, resource(1), metrics)
    until(lambda: receiver.requests >= 3)
    metrics.events_ingested.add(9)
    receiver.answers = 200
    # The first to arrive may have been collected before the events were counted.
    until(lambda: any(export.value("nealytics_events_ingested_total") == 9 for export in receiver.exports))
    export.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "the next export sends them again" in caplog.messages[0]
    assert "sending metrics to" in caplog.messages[1]


def test_the_port_of_grpc_is_recognised_in_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The C# engine spoke gRPC by default, so its address is the first thing that is tried."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    metrics = Metrics.private()
    # Nobody listens there in a test.
    where = to("http://127.0.0.1:4317/v1/traces", timeout_s=0.2, queue_max=10)
    tracing = otlp.Tracing(where, resource(1), metrics)
    finish_spans(tracing, 1)
    until(lambda: metrics.value(LOST) == 1)
    until(lambda: caplog.messages)
    tracing.stop(0.2)
    assert "4317 is the gRPC port, try 4318" in caplog.messages[0]
    assert "Connection refused" in caplog.messages[0]


def test_no_thread_is_left_behind_by_a_stop(receiver: FakeReceiver):
    before = threading.active_count()
    with tracing_to(receiver.url) as tracing:
        finish_spans(tracing, 1)
    until(lambda: threading.active_count() <= before + 1)  # the receiver may have one for our connection
