"""OTLP: spans and metrics, over HTTP, by OpenTelemetry's SDK. Imported only when a signal is switched on.

    a worker        spans ── a queue of 2,048 ── a thread of the SDK ──▶ /v1/traces
    the supervisor  the node's shared memory ── a thread, once a minute ──▶ /v1/metrics

Metrics are the node's, so one process sends them: the supervisor, which outlives all workers and is the last
to end. They are read from the shared memory when they are sent and handed to the SDK's exporter, under the
names that `/metrics` has.

Nothing here waits for the receiver but these threads. One that is down, slow or refuses costs a line in the
log, once a minute; what cannot be sent is lost, spans for good, metrics until the next export, since they are
cumulative. A stop waits `otel.STOP_S`.

Everything is made by its constructor and nothing is found by its name: in a compiled program there are no
entry points to look into.
"""

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from multidict import istr
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nealytics import __version__
from nealytics.observe import otel
from nealytics.observe.metrics import SPECS, Metrics, Spec
from nealytics.observe.otel import Receiver

log = logging.getLogger("nealytics.otlp")

# Those of the C# engine's ActivitySource and Meter.
SPANS_SCOPE = "Nealytics.Engine.Core"
METRICS_SCOPE = "Nealytics.Engine.Metrics"

SAY_AGAIN_S = 60.0

TRACEPARENT, TRACESTATE = istr("traceparent"), istr("tracestate")

_NO_PARENT = Context()


def resource(port: int, worker: int | None = None) -> Resource:
    """Who sends. OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME go before what is said here."""
    host = socket.gethostname()
    return Resource(
        {
            "service.name": "nealytics",
            "service.version": __version__,
            "service.instance.id": f"{host}:{port}",
            "host.name": host,
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": sdk_version,
            **({} if worker is None else {"nealytics.worker": worker}),
        }
    ).merge(OTELResourceDetector().detect())


# Spans


class Span:
    """A sampled span: what the rest of the program may do with it (`otel.Span`)."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def note(self, name: str, value: str | int) -> None:
        # A lone surrogate, which a token's JSON can have, would cost a whole export.
        self._span.set_attribute(
            name, value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        )

    def record(self, error: BaseException) -> None:
        code = getattr(error, "code", None)
        self._span.add_event(
            "exception",
            {"exception.type": type(error).__qualname__}
            | ({} if code is None else {"exception.code": str(code)}),
        )

    def fail(self, kind: str) -> None:
        self.note("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class Tracing:
    """The spans of one process: begun here, sent in the background."""

    def __init__(self, receiver: Receiver, resource: Resource, metrics: Metrics) -> None:
        _quiet()
        self._exporter = _SpanExporter(receiver, metrics)
        self._queue = _Queue(self._exporter, receiver)
        # Its sampler is what OTEL_TRACES_SAMPLER says; without it, the parent's decision, or else always.
        self._ids = _Ids()
        provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._sampler = provider.sampler
        provider.add_span_processor(self._queue)
        self._tracer = provider.get_tracer(SPANS_SCOPE, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, name: str, headers: Mapping[str, str]) -> Span | None:
        """The span of a request, continuing the client's trace; None if it is not sampled. End it."""
        if TRACEPARENT in headers:
            carrier = {str(key): headers[key] for key in (TRACEPARENT, TRACESTATE) if key in headers}
            parent = self._propagator.extract(carrier, _NO_PARENT)
        else:
            # Nearly all requests end here on a node that samples few. The SDK would make a span of each,
            # and that takes three times as long.
            parent = _NO_PARENT
            trace_id = RandomIdGenerator.generate_trace_id(self._ids)
            if self._sampler.should_sample(parent, trace_id, name, SpanKind.SERVER).decision is Decision.DROP:
                return None
            self._ids.decided = trace_id
        span = self._tracer.start_span(name, parent, SpanKind.SERVER)
        return Span(span) if span.is_recording() else None

    @contextmanager
    def flush(self, **attributes: str | int) -> Iterator[None]:
        """Around the insert of one batch. A trace of its own: events of many requests are in it."""
        made = self._tracer.start_span("BatchProcessor.Flush", _NO_PARENT, SpanKind.CLIENT)
        if not made.is_recording():
            yield
            return
        span = Span(made)
        span.note("db.system", "clickhouse")
        span.note("db.operation", "insert")
        for name, value in attributes.items():
            span.note(f"nealytics.{name}", value)
        try:
            with otel.within(span):
                yield
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.end()

    def stop(self, timeout_s: float = otel.STOP_S) -> None:
        """Sends what is left, as far as the time allows."""
        _bounded(self._queue.shutdown, self._exporter.shutdown, timeout_s)
        self._exporter.close()


class _Ids(RandomIdGenerator):
    """Gives a span the trace id for which the sampler has decided already."""

    decided = 0

    def generate_trace_id(self) -> int:
        given, self.decided = self.decided or super().generate_trace_id(), 0
        return given


class _Queue(BatchSpanProcessor):
    """The SDK's, bounded (OTEL_BSP_MAX_QUEUE_SIZE). What finds it full is counted; the SDK would log each."""

    def __init__(self, exporter: "_SpanExporter", receiver: Receiver) -> None:
        super().__init__(
            exporter, max_queue_size=receiver.queue_max, max_export_batch_size=receiver.batch_max
        )
        self._counts = exporter
        self._spans_max = receiver.queue_max

    def on_end(self, span: ReadableSpan) -> None:
        counts = self._counts
        if counts.waiting >= self._spans_max:
            counts.overflowed += 1
            return
        counts.entered += 1
        super().on_end(span)


class _SpanExporter(SpanExporter):
    """The SDK's, counted: what entered the queue (by the loop's thread), what left it (by that of the
    exports), and what was lost."""

    def __init__(self, receiver: Receiver, metrics: Metrics) -> None:
        self._delivery = _Delivery("traces", receiver)
        self._exporter = OTLPSpanExporter(
            receiver.endpoint, timeout=receiver.timeout_s, session=self._delivery.session
        )
        self._metrics = metrics
        self.entered = 0
        self.overflowed = 0
        self._left = 0
        self._overflow_counted = 0
        # What is lost is counted by that thread, and at a stop by the one that gives up on it.
        self._counting = threading.Lock()
        self._closed = False

    @property
    def waiting(self) -> int:
        return self.entered - self._left

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._counting:
                if not self._closed:
                    self._left += len(spans)
                    delivered = result is SpanExportResult.SUCCESS
                    lost = self._count_lost(0 if delivered else len(spans))
                    self._delivery.told(delivered, f"{lost} spans are lost")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's, without hints

    def close(self) -> None:
        """Spans that are still queued or being sent count as lost, and nothing more is logged about them."""
        with self._counting:
            self._closed = True
            self._count_lost(self.waiting)

    def _count_lost(self, spans: int) -> int:
        overflow = self.overflowed - self._overflow_counted
        self._overflow_counted += overflow
        self._metrics.spans_lost.add(spans + overflow)
        return spans + overflow


# Metrics


class MetricsExport:
    """The node's metrics, sent at an interval and once more at the stop."""

    def __init__(self, receiver: Receiver, resource: Resource, metrics: Metrics) -> None:
        _quiet()
        self._metrics = metrics
        self._resource = resource
        self._since_ns = time.time_ns()
        self._interval_s = receiver.interval_s
        self._delivery = _Delivery("metrics", receiver)
        self._exporter = OTLPMetricExporter(
            receiver.endpoint, timeout=receiver.timeout_s, session=self._delivery.session
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = otel.STOP_S) -> None:
        """Sends the last values, as far as the time allows."""
        self._stopping.set()
        _bounded(self._thread.join, self._exporter.shutdown, timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._export()
        self._export()

    def _export(self) -> None:
        try:
            data = metrics_data(self._metrics, self._resource, self._since_ns, time.time_ns())
            result = self._exporter.export(data)
        except Exception:
            # The thread goes on, whatever the exporter comes up with.
            log.exception("otlp: metrics could not be sent")
        else:
            self._delivery.told(result is MetricExportResult.SUCCESS, "the next export has them again")


def metrics_data(metrics: Metrics, resource: Resource, since_ns: int, now_ns: int) -> MetricsData:
    """What `/metrics` says at this moment, in OpenTelemetry's terms."""

    def point(spec: Spec, value: str) -> NumberDataPoint:
        labels = {spec.label: value} if spec.label else {}
        return NumberDataPoint(labels, since_ns, now_ns, metrics.value(spec.name, value))

    def data(spec: Spec) -> Sum | Gauge | Histogram:
        if spec.kind == "histogram":
            counts, total = metrics.histogram(spec.name)
            whole = [int(count) for count in counts]
            # Unset: the memory knows no smallest and largest value.
            unknown: Any = None
            histogram = HistogramDataPoint(
                {}, since_ns, now_ns, sum(whole), total, whole, spec.buckets, unknown, unknown
            )
            return Histogram([histogram], AggregationTemporality.CUMULATIVE)
        points = [point(spec, value) for value in spec.values or ("",)]
        if spec.kind == "counter":
            return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        return Gauge(points)

    found = [Metric(spec.name, spec.help, _unit(spec.name), data(spec)) for spec in SPECS]
    scope = ScopeMetrics(InstrumentationScope(METRICS_SCOPE, __version__), found, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _unit(name: str) -> str:
    """In UCUM. Receivers that put units into names find that Prometheus' names have them already."""
    if name.endswith("_seconds"):
        return "s"
    return "By" if "_bytes" in name else ""


# What the receiver does to us


class _Delivery:
    """Says in the log that a signal does not arrive, at most once a minute, and then that it does again."""

    def __init__(self, signal: str, receiver: Receiver) -> None:
        self.session = _Session()
        self._signal = signal
        self._endpoint = receiver.shown
        self._failures = 0
        self._said = False
        self._say_at = 0.0

    def told(self, delivered: bool, consequence: str) -> None:
        if delivered:
            if self._said:
                log.warning(
                    "otlp: %s reach %s again, after %d failures", self._signal, self._endpoint, self._failures
                )
                self._failures, self._said = 0, False
            return
        self._failures += 1
        now = time.monotonic()
        if now >= self._say_at:
            self._say_at = now + SAY_AGAIN_S
            self._said = True
            grpc = "; 4317 is the port of gRPC, try 4318" if ":4317/" in self._endpoint else ""
            log.warning(
                "otlp: %s do not reach %s, %s: %s%s",
                self._signal,
                self._endpoint,
                consequence,
                self.session.outcome,
                grpc,
            )


class _Session(requests.Session):
    """Remembers how the last try ended. The SDK says so only in its log, and of some tries not at all."""

    outcome = "nothing was sent"

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            response = super().request(*args, **options)
        except Exception as error:
            # Its words may quote the endpoint, and so a password. No one gets to see them, the SDK neither,
            # which tries again after errors of the connection and after no others.
            self.outcome = _why(error)
            passing = isinstance(error, requests.ConnectionError | requests.Timeout)
            kind = requests.ConnectionError if passing else requests.RequestException
            raise kind(self.outcome) from None
        reason = http.client.responses.get(response.status_code, "")  # ours; the receiver's can be anything
        self.outcome = f"it answers {response.status_code} {reason}"
        if response.is_redirect:
            # The SDK takes it for a success.
            raise requests.TooManyRedirects(self.outcome)
        return response

    def merge_environment_settings(self, *args: Any, **options: Any) -> Any:
        """The authorities: those of OTEL_EXPORTER_OTLP_CERTIFICATE, or else those that this machine trusts,
        as for every other connection of a node. `requests` would bring its own, and lets CURL_CA_BUNDLE go
        before what was said for OTLP."""
        settings = super().merge_environment_settings(*args, **options)
        if self.verify is not True:
            settings["verify"] = self.verify
        elif settings["verify"] is True:
            places = ssl.get_default_verify_paths()
            settings["verify"] = places.cafile or places.capath or True
        return settings


def _why(error: BaseException) -> str:
    """What kind of error it is, and what the operating system or TLS says about it: never the error's own
    words, as an endpoint can be in these."""
    kind = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException) and cause.strerror:
            return f"{kind}: {cause.strerror}"
        kind_of_cause = type(cause).__name__
        cause = cause.__cause__ or cause.__context__
    return kind if kind == kind_of_cause else f"{kind}: {kind_of_cause}"


def _quiet() -> None:
    """The SDK logs each try that fails, each span that finds the queue full, each bad header of a client, and
    headers of ours with their values; urllib3, on level debug, each request with its query. `_Delivery` and a
    metric say what is to be said."""
    for name in ("exporter", "sdk._shared_internal", "trace", "util"):
        logging.getLogger(f"opentelemetry.{name}").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)


def _bounded(work: Callable[[], object], abort: Callable[[], object], timeout_s: float) -> None:
    """`work` in a thread that does not keep the process alive; after the time, `abort` ends its tries."""
    thread = threading.Thread(target=work, name="otlp-stop", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        abort()
