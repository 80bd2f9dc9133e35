"""The span of the current operation, for code that does not know whether tracing is switched on.

Nothing of OpenTelemetry's SDK is imported here. Without tracing, and in a request that is not sampled, adding
to the span costs one access to a context variable.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol


class Span(Protocol):
    """What the program may add to a span; `otlp.Span` implements it."""

    ids: dict[str, str]  # trace_id and span_id, as a log line has them

    def note(self, name: str, value: str | int) -> None: ...

    def record(self, error: BaseException) -> None:
        """Adds an error, including one that was recovered from. Only its kind and code: its text may quote
        an event, and is in the log line with the same trace id."""
        ...

    def fail(self, kind: str) -> None: ...


class RequestSpan(Span, Protocol):
    def end(self) -> None: ...


class Tracing(Protocol):
    """Makes the spans of one process; `otlp.Tracing` implements it."""

    def begin(self, name: str, headers: Mapping[str, str]) -> RequestSpan | None:
        """The span of a request, continuing the client's trace; None if it is not sampled. End it."""

    def flush(self, **attributes: str | int) -> AbstractContextManager[None]:
        """Around the insert of one batch."""

    def stop(self) -> None:
        """Sends what is queued, as far as the time allows."""


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
