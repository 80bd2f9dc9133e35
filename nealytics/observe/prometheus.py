"""The metrics as text for Prometheus; the format is prometheus_client's."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from nealytics.observe.metrics import SPECS, Metrics, Spec

CONTENT_TYPE = CONTENT_TYPE_LATEST


def text(metrics: Metrics) -> bytes:
    return generate_latest(_Collector(metrics))


class _Collector:
    """What prometheus_client reads metrics from."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for spec in SPECS:
            yield self._histogram(spec) if spec.kind == "histogram" else self._numbers(spec)

    def _numbers(self, spec: Spec) -> Metric:
        family: CounterMetricFamily | GaugeMetricFamily
        labels = [spec.label] if spec.label else []
        if spec.kind == "counter":
            family = CounterMetricFamily(spec.name.removesuffix("_total"), spec.help, labels=labels)
        else:
            family = GaugeMetricFamily(spec.name, spec.help, labels=labels)
        for value in spec.values or ("",):
            family.add_metric([value] if spec.label else [], self._metrics.value(spec.name, value))
        return family

    def _histogram(self, spec: Spec) -> Metric:
        counts, total = self._metrics.histogram(spec.name)
        bounds = [*(str(float(bound)) for bound in spec.buckets), "+Inf"]
        family = HistogramMetricFamily(spec.name, spec.help)
        family.add_metric([], list(zip(bounds, accumulate(counts), strict=True)), sum_value=total)
        return family
