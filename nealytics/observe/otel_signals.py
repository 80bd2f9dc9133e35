"""Switches OpenTelemetry's signals on. A signal without an address is off.

The SDK is imported here, inside of two functions, so that a node without these variables does not load it.
Errors in the variables are logged, and the signal is off: a node accepts events without being observed.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from nealytics.errors import ConfigError
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel import Tracing
from nealytics.observe.otel_settings import Receiver, Signal, receiver_of
from nealytics.shared import NodeMemory

if TYPE_CHECKING:
    from nealytics.observe.otlp_metrics import MetricsExport

log = logging.getLogger("nealytics.otlp")

T = TypeVar("T")


def start_tracing(metrics: Metrics, *, port: int, worker: int) -> Tracing | None:
    """The spans of one worker; None if they are off."""

    def start(receiver: Receiver) -> Tracing:
        from nealytics.observe import otlp
        from nealytics.observe.otlp_delivery import resource

        return otlp.Tracing(receiver, resource(port, worker), metrics)

    return _start("traces", start)


def start_metrics(memory: NodeMemory, *, port: int) -> "MetricsExport | None":
    """The node's metrics, sent from now on by a thread of this process; None if they are off.

    To be called when the memory is new, because its counters start from then.
    """

    def start(receiver: Receiver) -> "MetricsExport":
        from nealytics.observe import otlp_metrics
        from nealytics.observe.otlp_delivery import resource

        return otlp_metrics.MetricsExport(receiver, resource(port), Metrics(memory))

    return _start("metrics", start)


def _start(signal: Signal, start: Callable[[Receiver], T]) -> T | None:
    try:
        receiver = receiver_of(signal)
        if receiver is None:
            return None
        started = start(receiver)
    except Exception as error:
        # Any error: a node accepts events without being observed.
        log.error("%s; no %s are sent", error if isinstance(error, ConfigError) else repr(error), signal)
        return None
    log.info("otlp: %s are sent to %s", signal, receiver.shown)
    return started
