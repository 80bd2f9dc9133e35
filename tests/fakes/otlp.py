"""FakeReceiver: what an OpenTelemetry collector is to us. A real HTTP server that decodes real protobuf.

    receiver.spans          every span that arrived, as a `Span`
    receiver.exports        every export of metrics that arrived: name → what it says, by its labels
    receiver.answers        the status of what comes; 200, or whatever it is set to
    receiver.delay_s        how long it thinks about each answer
    receiver.requests       how many came, whatever the answer was

It takes what is refused for not arrived, as a collector does.
"""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    trace_state: str
    kind: int
    failed: bool
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    scope: str
    resource: dict[str, Any]
    raw: bytes


@dataclass(frozen=True)
class Point:
    kind: str  # "sum", "gauge", "histogram"
    value: float  # of a histogram: its count
    sum: float
    buckets: tuple[int, ...]
    bounds: tuple[float, ...]
    start_ns: int
    time_ns: int
    unit: str
    cumulative: bool
    monotonic: bool


@dataclass(frozen=True)
class Export:
    at: float
    resource: dict[str, Any]
    scope: str
    points: dict[str, dict[Labels, Point]]

    def value(self, name: str, **labels: str) -> float:
        return self.points[name][tuple(sorted(labels.items()))].value


class FakeReceiver:
    def __init__(self, port: int = 0) -> None:
        self.spans: list[Span] = []
        self.exports: list[Export] = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self.answers = 200
        self.delay_s = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def environ(self, **more: str) -> dict[str, str]:
        """What a node needs to be told; exports come ten times a second."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **more,
        }

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, body: bytes) -> bytes:
        if path == "/v1/traces":
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
            return ExportTraceServiceResponse().SerializeToString()
        if path == "/v1/metrics":
            self.exports += _exports(ExportMetricsServiceRequest.FromString(body))
            return ExportMetricsServiceResponse().SerializeToString()
        raise AssertionError(path)


@contextmanager
def receiving(port: int = 0) -> Iterator[FakeReceiver]:
    receiver = FakeReceiver(port)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def _handler(receiver: FakeReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            receiver.requests += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.headers["Content-Type"] == "application/x-protobuf"
            time.sleep(receiver.delay_s)
            answer = receiver.take(self.path, body) if receiver.answers == 200 else b"not now"
            self.send_response(receiver.answers)
            self.send_header("Location", "/elsewhere")  # counts with a 3xx only
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        Span(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            trace_state=span.trace_state,
            kind=span.kind,
            failed=span.status.code == 2,
            attributes=_values(span.attributes),
            events=[(event.name, _values(event.attributes)) for event in span.events],
            scope=group.scope.name,
            resource=_values(whole.resource.attributes),
            raw=span.SerializeToString(),
        )
        for whole in request.resource_spans
        for group in whole.scope_spans
        for span in group.spans
    ]


def _exports(request: ExportMetricsServiceRequest) -> list[Export]:
    return [
        Export(
            at=time.time(),
            resource=_values(whole.resource.attributes),
            scope=group.scope.name,
            points={metric.name: _points(metric) for metric in group.metrics},
        )
        for whole in request.resource_metrics
        for group in whole.scope_metrics
    ]


def _points(metric: Any) -> dict[Labels, Point]:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    found = {}
    for point in data.data_points:
        histogram = kind == "histogram"
        labels = tuple(sorted((key, str(value)) for key, value in _values(point.attributes).items()))
        assert labels not in found, f"{metric.name}{labels} comes twice in one export"
        found[labels] = Point(
            kind=kind,
            value=point.count if histogram else getattr(point, point.WhichOneof("value")),
            sum=point.sum if histogram else 0.0,
            buckets=tuple(point.bucket_counts) if histogram else (),
            bounds=tuple(point.explicit_bounds) if histogram else (),
            start_ns=point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            unit=metric.unit,
            cumulative=kind == "gauge" or data.aggregation_temporality == 2,
            monotonic=kind == "sum" and data.is_monotonic,
        )
    return found


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
