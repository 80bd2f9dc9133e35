"""OpenTelemetry: whether it is switched on, and the span of what is being done.

The variables are OpenTelemetry's own (`OTEL_EXPORTER_OTLP_ENDPOINT` and its relatives); a signal without an
address is off. Nothing of its SDK is imported here: `observe.otlp` does that, and is imported by the two
functions that switch a signal on. So a node without such a variable loads nothing of it, and its requests
pay for nothing but a look at a context variable where a span would be told more.

What is wrong with these variables is said in the log, and the signal is off: being watched must not be a
condition for taking events.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from nealytics.errors import ConfigError
from nealytics.shared import NodeMemory

if TYPE_CHECKING:
    from nealytics.observe.metrics import Metrics
    from nealytics.observe.otlp import MetricsExport, Tracing

log = logging.getLogger("nealytics.otlp")

PROTOCOL = "http/protobuf"
TIMEOUT_MS = 10_000
INTERVAL_MS = 60_000
QUEUE_MAX = 2_048
BATCH_MAX = 512
# A stop waits this long for what is still to be sent, whatever the receiver does.
STOP_S = 2.0

# 24 days in milliseconds. Of some longer times a thread of the SDK would die.
NUMBER_MAX = 2**31 - 1

SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
COMPRESSIONS = ("none", "gzip", "deflate")

# What the SDK takes for a header: the characters of a name in HTTP, and visible ones without " , ; and \.
_HEADER = re.compile(r"[!#-'*+.\-0-9A-Z^-z|~]+[ \t]*=[ -!#-+\--:<-\[\]-~]*").fullmatch

T = TypeVar("T")


class Span(Protocol):
    """What is asked of a span outside of `observe.otlp`."""

    ids: dict[str, str]  # trace_id and span_id, as they stand in a log line

    def note(self, name: str, value: str | int) -> None: ...

    def record(self, error: BaseException) -> None:
        """That it happened, also where it did not end what the span is about. Its kind and code, not its
        words: these may quote an event, and are in the log line that has the same trace id."""
        ...

    def fail(self, kind: str) -> None: ...


_current: ContextVar[Span | None] = ContextVar("span", default=None)

current = _current.get  # None also in a request that is not sampled


def note(name: str, value: str | int) -> None:
    """Adds an attribute to the current span, if there is one."""
    if (span := _current.get()) is not None:
        span.note(name, value)


def record(error: BaseException) -> None:
    if (span := _current.get()) is not None:
        span.record(error)


def fail(kind: str) -> None:
    """Marks the operation of the current span as failed."""
    if (span := _current.get()) is not None:
        span.fail(kind)


@contextmanager
def within(span: Span) -> Iterator[None]:
    """Inside, `current()` is `span`, and every log line has its ids."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


@dataclass(frozen=True)
class Receiver:
    """Where one signal goes."""

    endpoint: str
    timeout_s: float
    interval_s: float  # between two exports of metrics
    queue_max: int  # spans that wait
    batch_max: int  # spans that are sent together

    @property
    def shown(self) -> str:
        """The endpoint for people: a password may be before its host, and a key behind its path."""
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{(parts.netloc + parts.path).rpartition('@')[2]}"


def receiver_of(
    signal: Literal["traces", "metrics"], environ: Mapping[str, str] = os.environ
) -> Receiver | None:
    """What the environment says about one signal; None if it is off. Raises `ConfigError`."""
    exporter = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return None

    def setting(name: str) -> tuple[str, str]:
        """The variable that decides, and its value: that of the signal goes before the common one."""
        own, shared = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
        variable = own if environ.get(own, "").strip() else shared
        return variable, environ.get(variable, "").strip()

    variable, endpoint = setting("ENDPOINT")
    if not endpoint:
        return None
    if not _is_url(endpoint):
        shown = "***" if "?" in endpoint else endpoint.rpartition("@")[2]  # no password, no key
        raise ConfigError(f'otlp: {variable} is "{shown}"; write an address such as "http://collector:4318"')
    if variable == "OTEL_EXPORTER_OTLP_ENDPOINT":
        base, mark, query = endpoint.partition("?")
        endpoint = f"{base.rstrip('/')}/v1/{signal}{mark}{query}"
    if exporter != "otlp":
        raise ConfigError(
            f'otlp: OTEL_{signal.upper()}_EXPORTER is "{exporter}", but there is only "otlp" (and "none")'
        )
    variable, protocol = setting("PROTOCOL")
    if protocol not in ("", PROTOCOL):
        raise ConfigError(
            f'otlp: {variable} is "{protocol}", but only {PROTOCOL} is spoken, which receivers take at port '
            f"4318; set it to {PROTOCOL}, or remove it, and let the endpoint name that port"
        )
    _check_headers(*setting("HEADERS"))
    variable, compression = setting("COMPRESSION")
    if compression and compression.lower() not in COMPRESSIONS:
        raise ConfigError(f'otlp: {variable} is "{compression}"; write one of {", ".join(COMPRESSIONS)}')
    for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"):
        variable, file = setting(name)
        # As the SDK takes it, spaces included.
        if file and not os.access(environ[variable], os.R_OK):
            raise ConfigError(f'otlp: {variable} is "{environ[variable]}", which cannot be read')
    if signal == "traces":
        _check_sampler(environ.get("OTEL_TRACES_SAMPLER", ""), environ.get("OTEL_TRACES_SAMPLER_ARG", ""))

    def common(variable: str, default: int) -> int:
        return _number(variable, environ.get(variable, ""), default)

    queue_max = common("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_MAX)
    return Receiver(
        endpoint,
        # Milliseconds, says the standard; OpenTelemetry's SDK for Python would take this one as seconds.
        timeout_s=_number(*setting("TIMEOUT"), TIMEOUT_MS) / 1000,
        interval_s=common("OTEL_METRIC_EXPORT_INTERVAL", INTERVAL_MS) / 1000,
        queue_max=queue_max,
        batch_max=min(common("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_MAX), queue_max),
    )


def start_tracing(metrics: "Metrics", *, port: int, worker: int) -> "Tracing | None":
    """The spans of one worker; None if they are off."""

    def start(receiver: Receiver) -> "Tracing":
        from nealytics.observe import otlp

        return otlp.Tracing(receiver, otlp.resource(port, worker), metrics)

    return _start("traces", start)


def start_metrics(memory: NodeMemory, *, port: int) -> "MetricsExport | None":
    """The node's metrics, sent from now on by a thread of this process; None if they are off.

    To be called when the memory is new: that is the moment from which its counters count.
    """

    def start(receiver: Receiver) -> "MetricsExport":
        from nealytics.observe import otlp
        from nealytics.observe.metrics import Metrics

        return otlp.MetricsExport(receiver, otlp.resource(port), Metrics(memory))

    return _start("metrics", start)


def _start(signal: Literal["traces", "metrics"], start: Callable[[Receiver], T]) -> T | None:
    try:
        receiver = receiver_of(signal)
        if receiver is None:
            return None
        started = start(receiver)
    except Exception as error:
        # Whatever it is: events are taken all the same.
        log.error("%s; no %s are sent", error if isinstance(error, ConfigError) else repr(error), signal)
        return None
    log.info("otlp: %s are sent to %s", signal, receiver.shown)
    return started


def _check_headers(variable: str, text: str) -> None:
    """The SDK would log what it does not understand. Here only its place is told, as it may be secret."""
    for place, header in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        sent = unquote(header)
        if not (_HEADER(header) and sent.isascii() and sent.isprintable()):
            raise ConfigError(
                f"otlp: {variable} has no name=value in place {place}; write name=value,name=value, with "
                "special characters as in a URL (%20)"
            )


def _check_sampler(sampler: str, argument: str) -> None:
    """The SDK would trace every request instead, which halves what a node can take."""
    if sampler and sampler.lower() not in SAMPLERS:
        raise ConfigError(f'otlp: OTEL_TRACES_SAMPLER is "{sampler}"; write one of {", ".join(SAMPLERS)}')
    if sampler.lower().endswith("traceidratio") and argument:
        try:
            fits = 0 <= float(argument) <= 1
        except ValueError:
            fits = False
        if not fits:
            raise ConfigError(
                f'otlp: OTEL_TRACES_SAMPLER_ARG is "{argument}"; write a share of all traces from 0 to 1, as '
                "0.01"
            )


def _number(variable: str, text: str, default: int) -> int:
    text = text.strip()
    if not text:
        return default
    # Its length first: Python refuses to make a number of thousands of digits.
    if not (text.isdecimal() and len(text) <= len(str(NUMBER_MAX)) and 0 < int(text) <= NUMBER_MAX):
        raise ConfigError(
            f'otlp: {variable} is "{text}"; write a whole number from 1 to {NUMBER_MAX}, as {default}'
        )
    return int(text)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return fits and text.isprintable() and " " not in text
    except ValueError:  # no number where the port is, or half a bracket
        return False
