"""Spans over OTLP, by OpenTelemetry's SDK. Imported only when tracing is switched on.

    a worker   spans ── a queue of 2,048 ── a thread of the SDK ──▶ /v1/traces

Only that thread waits for the receiver. A receiver that is down, slow or refuses costs one line in the log
per minute, and the spans are lost. A stop waits `STOP_S`.

Everything is made by its constructor: a compiled program has no entry points to look names up in.

Attributes: `db.*`, `http.*` and `error.type` are OpenTelemetry's; `neavents.*` are those of the C# engine,
which dashboards read, and that list is closed; every other attribute is `nealytics.*` (decision 0010).
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from multidict import istr
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from nealytics import __version__
from nealytics.observe import otel
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel_settings import STOP_S, Receiver
from nealytics.observe.otlp_delivery import Delivery, bounded, quiet

# The name of the C# engine's ActivitySource.
SPANS_SCOPE = "Nealytics.Engine.Core"

TRACEPARENT, TRACESTATE = istr("traceparent"), istr("tracestate")

_NO_PARENT = Context()


class Span:
    """A sampled span; implements `otel.RequestSpan`."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def note(self, name: str, value: str | int) -> None:
        # A lone surrogate, which the JSON of a token may have, would fail the whole export.
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
    """The spans of one process, sent in the background; implements `otel.Tracing`."""

    def __init__(self, receiver: Receiver, resource: Resource, metrics: Metrics) -> None:
        quiet()
        self._exporter = _SpanExporter(receiver, metrics)
        self._queue = _Queue(self._exporter, receiver)
        # Its sampler is OTEL_TRACES_SAMPLER; by default the parent's decision, or else always.
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
            # On a node that samples few requests, nearly all end here. The SDK would make a span for each,
            # which takes three times as long.
            parent = _NO_PARENT
            trace_id = RandomIdGenerator.generate_trace_id(self._ids)
            if self._sampler.should_sample(parent, trace_id, name, SpanKind.SERVER).decision is Decision.DROP:
                return None
            self._ids.decided = trace_id
        span = self._tracer.start_span(name, parent, SpanKind.SERVER)
        return Span(span) if span.is_recording() else None

    @contextmanager
    def flush(self, **attributes: str | int) -> Iterator[None]:
        """Around the insert of one batch. A separate trace, because it has events of many requests."""
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

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Sends what is queued, as far as the time allows."""
        bounded(self._queue.shutdown, self._exporter.shutdown, timeout_s)
        self._exporter.close()


class _Ids(RandomIdGenerator):
    """Gives a span the trace id that the sampler has decided about."""

    decided = 0

    def generate_trace_id(self) -> int:
        trace_id, self.decided = self.decided or super().generate_trace_id(), 0
        return trace_id


class _Queue(BatchSpanProcessor):
    """The SDK's queue (OTEL_BSP_MAX_QUEUE_SIZE). Counts spans that do not fit; the SDK would log each."""

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
    """The SDK's exporter, with counters: spans that entered the queue (the loop's thread), left it (the
    export's thread), and were lost."""

    def __init__(self, receiver: Receiver, metrics: Metrics) -> None:
        self._delivery = Delivery("traces", receiver)
        self._exporter = OTLPSpanExporter(
            receiver.endpoint, timeout=receiver.timeout_s, session=self._delivery.session
        )
        self._metrics = metrics
        self.entered = 0
        self.overflowed = 0
        self._left = 0
        self._overflow_counted = 0
        # Lost spans are counted by the export's thread, and at a stop by the loop's.
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
                    self._delivery.report(delivered, f"{lost} spans were dropped")
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
