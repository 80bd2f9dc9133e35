"""One span for each ingest or read request, with the names of the C# engine.

The span includes the whole answer, so it has the status, and all log lines have its id. A live stream has no
span: it is open for hours, and a span is sent when it ends. Health routes have none either.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from nealytics.compat import posthog, segment
from nealytics.ingest.handlers import BATCH, BEACON, TRACK
from nealytics.observe import otel, request_id
from nealytics.observe.otel import RequestSpan, Tracing
from nealytics.queries import ENDPOINTS, export

# Names of the C# engine that differ from the endpoint's.
_QUERIES = {
    "timeline": "ProjectTimeline",
    "sessions": "SessionAnalytics",
    "timeseries": "EventTimeSeries",
    "active": "ActiveUsers",
    "top": "TopEvents",
}

READS = {
    route.path: (f"Get{_QUERIES.get(route.name, route.name.title())}Query.Execute", route.name)
    for route in (*ENDPOINTS, export.STREAM)
}
INGEST = {
    **dict.fromkeys((TRACK, BATCH, *segment.ROUTES, *posthog.ROUTES), "IngestHttpRequest"),
    BEACON: "BeaconIngest",
}


@runtime_checkable
class BeganSpan(Protocol):
    """A connection whose lane may have begun the span of the next request."""

    span: RequestSpan | None


def traced(answer: Middleware, tracing: Tracing) -> Middleware:
    """Wraps the middleware `answer` in a span, for the routes that have one."""

    @web.middleware
    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        path, method = request.path, request.method
        endpoint = ""
        if method == hdrs.METH_POST and path in INGEST:
            name = INGEST[path]
        elif method == hdrs.METH_GET and path in READS:
            name, endpoint = READS[path]
        else:
            return await answer(request, handler)
        span = _begun(request) or tracing.begin(name, request.headers)
        if span is None:
            return await answer(request, handler)
        span.note("http.request.method", method)
        span.note("http.route", path)
        if endpoint:
            span.note("nealytics.endpoint", endpoint)
            span.note("db.system", "clickhouse")
            span.note("db.operation", "select")
        try:
            with otel.within(span):
                response = await answer(request, handler)
            span.note("http.response.status_code", response.status)
            return response
        except (asyncio.CancelledError, ConnectionError) as error:
            # The client disconnected, which is not our error.
            span.note("error.type", type(error).__name__)
            raise
        finally:
            span.note("nealytics.request_id", request_id.current())
            span.end()

    return traced


def begin_small(tracing: Tracing) -> Callable[[str, Mapping[str, str]], RequestSpan | None]:
    """Begins the span of a request in the fast lane; None if it is not sampled. `traced` continues it."""

    def begin(path: str, headers: Mapping[str, str]) -> RequestSpan | None:
        return tracing.begin(INGEST[path], headers)

    return begin


def _begun(request: web.BaseRequest) -> RequestSpan | None:
    """The span that the fast lane began for this request."""
    connection = request.protocol
    if not isinstance(connection, BeganSpan):
        return None
    span, connection.span = connection.span, None
    return span
