"""The node's metrics over OTLP, by OpenTelemetry's SDK. Imported only when metrics are switched on.

    the supervisor   the node's shared memory ── a thread, once a minute ──▶ /v1/metrics

One process sends them: the supervisor, which outlives all workers. They are read from the shared memory and
handed to the SDK's exporter, under the names of `/metrics`. A failed export loses nothing, because the values
are cumulative.
"""

import logging
import threading
import time
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
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
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from nealytics import __version__
from nealytics.observe.metrics import SPECS, Metrics, Spec
from nealytics.observe.otel_settings import STOP_S, Receiver
from nealytics.observe.otlp_delivery import Delivery, bounded, quiet

log = logging.getLogger("nealytics.otlp")

# The name of the C# engine's Meter.
METRICS_SCOPE = "Nealytics.Engine.Metrics"


class MetricsExport:
    """The node's metrics, sent at an interval and once more at the stop."""

    def __init__(self, receiver: Receiver, resource: Resource, metrics: Metrics) -> None:
        quiet()
        self._metrics = metrics
        self._resource = resource
        self._since_ns = time.time_ns()
        self._interval_s = receiver.interval_s
        self._delivery = Delivery("metrics", receiver)
        self._exporter = OTLPMetricExporter(
            receiver.endpoint, timeout=receiver.timeout_s, session=self._delivery.session
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Sends the last values, as far as the time allows."""
        self._stopping.set()
        bounded(self._thread.join, self._exporter.shutdown, timeout_s)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._export()
        self._export()

    def _export(self) -> None:
        try:
            data = metrics_data(self._metrics, self._resource, self._since_ns, time.time_ns())
            result = self._exporter.export(data)
        except Exception:
            # Any error: the next export may succeed.
            log.exception("otlp: cannot send metrics")
        else:
            self._delivery.report(result is MetricExportResult.SUCCESS, "the next export sends them again")


def metrics_data(metrics: Metrics, resource: Resource, since_ns: int, now_ns: int) -> MetricsData:
    """The values of `/metrics` in OpenTelemetry's structures."""

    def point(spec: Spec, value: str) -> NumberDataPoint:
        labels = {spec.label: value} if spec.label else {}
        return NumberDataPoint(labels, since_ns, now_ns, metrics.value(spec.name, value))

    def data(spec: Spec) -> Sum | Gauge | Histogram:
        if spec.kind == "histogram":
            counts, total = metrics.histogram(spec.name)
            whole = [int(count) for count in counts]
            # Unset: the shared memory has no minimum and maximum.
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
    """In UCUM. Receivers that add units to names find them in these names already."""
    if name.endswith("_seconds"):
        return "s"
    return "By" if "_bytes" in name else ""
