"""The application: ingest routes, and one middleware around every route.

Handlers raise `Refused`, which becomes JSON here. Every answer, including aiohttp's own, has the same
security headers and the id of the request (`observe.request_id`). Routes under /api/ and /openapi.json have
CORS.

An answer with status 500 or above has a line in the log; a flood is limited. Other answers are counted in the
metrics, and logged at level debug only: at 10,000 requests a second an access log would cost more than all
other work, and the proxy in front can write one.

`build_app` creates the application with the ingest routes; `add_read_routes` and `add_health_routes` add
theirs; `HttpServer` serves it.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, MutableMapping
from functools import partial
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from nealytics.auth.writers import Writers
from nealytics.client_address import ClientAddresses
from nealytics.commit.rejected import RejectedEvents
from nealytics.config import Config
from nealytics.errors import Refused, stopping
from nealytics.http.compat import INTAKE, PREFIXES, without_key
from nealytics.http.fast_lane import FastLane
from nealytics.http.listener import DIRECT_POSTS, FAST_LANE, HttpServer
from nealytics.http.responses import (
    ANSWER_HEADERS,
    ReadyAnswer,
    answer_headers,
    error_response,
    http_exception_response,
    refused_response,
)
from nealytics.http.spans import begin_small, traced
from nealytics.ingest.admission import Admission
from nealytics.ingest.at_once import AtOnce, Head
from nealytics.ingest.handlers import Commits, Ingest, expect, uncancel
from nealytics.ingest.intake import Intake
from nealytics.ingest.networks import Networks
from nealytics.ingest.permits import Permits
from nealytics.observe import otel, request_id
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel import Tracing
from nealytics.shared import NodeMemory

__all__ = ["HttpServer", "build_app"]

log = logging.getLogger("nealytics.http")

# Applies the settings of a reload that the application uses.
RELOAD = web.AppKey[Callable[[Config], None]]("reload")

API = ("/api/", "/openapi.json", *PREFIXES)  # routes that pages call


def build_app(
    config: Config,
    *,
    writers: Writers,
    admission: Admission,
    committer: Commits,
    memory: NodeMemory,
    metrics: Metrics,
    tracing: Tracing | None = None,
    rejected: RejectedEvents | None = None,
) -> web.Application:
    """`rejected` keeps what the ingest routes reject; None if it is not kept."""
    addresses = ClientAddresses(config.server.trusted_proxies, config.server.forwarded_header)
    cors = Cors(config.server.cors_allowed_origins)
    answer = answering(cors, addresses)
    if tracing is not None:
        answer = traced(answer, tracing)
    app = web.Application(middlewares=[answer])
    permits = Permits(config.ingest, memory, Networks(addresses))
    intake = Intake(permits, admission, metrics)
    ingest = Ingest(
        config,
        writers=writers,
        intake=intake,
        rejected=rejected,
        committer=committer,
        accepted=_ready(HTTPStatus.ACCEPTED),
        no_content=_ready(HTTPStatus.NO_CONTENT),
    )
    direct: dict[str, Handler] = {}
    for path, handler in ingest.routes().items():
        app.router.add_post(path, handler, expect_handler=expect)
        direct[path] = partial(answer, handler=handler)
    app[INTAKE] = intake
    app.on_shutdown.append(ingest.stop)
    app[DIRECT_POSTS] = direct
    # On level debug every request has a line in the log, which only the middleware writes.
    if config.server.fast_lane and not log.isEnabledFor(logging.DEBUG):
        app[FAST_LANE] = FastLane(
            AtOnce(writers, permits, admission, metrics, config.ingest, keeps_rejected=rejected is not None),
            admission,
            metrics,
            allow_origin=cors.allow,
            refuse=_refusing(cors, addresses),
            begin_span=begin_small(tracing) if tracing is not None else None,
        )

    def reload(config: Config) -> None:
        writers.keys.replace(config.auth.api_keys)
        permits.replace(config.ingest)
        cors.replace(config.server.cors_allowed_origins)
        if FAST_LANE in app:
            app[FAST_LANE].forget()

    app[RELOAD] = reload
    return app


class Cors:
    """The origins that may call.

    sendBeacon always sends credentials, and with credentials a browser accepts only the exact origin, never
    `*`. That is safe here: no route reads cookies, so a page needs a key or a token.
    """

    def __init__(self, allowed_origins: tuple[str, ...]) -> None:
        self.replace(allowed_origins)

    def replace(self, allowed_origins: tuple[str, ...]) -> None:
        self._allowed = frozenset(origin.rstrip("/") for origin in allowed_origins)

    def apply(self, request: web.Request, response: web.StreamResponse) -> None:
        self.allow(request.headers.get(hdrs.ORIGIN), response.headers)

    def allow(self, origin: str | None, headers: MutableMapping[str, str]) -> None:
        """Adds the headers for a page of this origin; None if the request has none."""
        others = [name for name in headers.get(hdrs.VARY, "").split(", ") if name not in ("", hdrs.ORIGIN)]
        headers[hdrs.VARY] = ", ".join([hdrs.ORIGIN, *others])
        if origin is not None and (not self._allowed or origin in self._allowed):
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def is_preflight(self, request: web.Request) -> bool:
        return (
            request.method == hdrs.METH_OPTIONS
            and hdrs.ORIGIN in request.headers
            and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        )

    def preflight(self, request: web.Request) -> web.Response:
        response = web.Response(status=204)
        self.apply(request, response)
        if hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in response.headers:
            # Allow any header: monitoring scripts add theirs to every request of a page, and a header that is
            # not allowed blocks the request. Only the key or the token decides what a request may do.
            asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
            if _HEADER_NAMES.fullmatch(asked):
                response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
            response.headers[hdrs.VARY] += f", {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}"
            response.headers.update(_PREFLIGHT_HEADERS)
        return response


# Headers that a page may read, besides those that it always may (Cache-Control, Content-Type, …). With Date a
# page knows when its token expires, even if its own clock is wrong.
_EXPOSED = (
    f"Date, Retry-After, {request_id.HEADER}, ETag, Nealytics-Warnings, Content-Disposition, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)

# Names of headers, as browsers list them. The limit of a header also limits this.
_HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(?: *, *[\w!#$%&'*+.^`|~-]+)*", re.ASCII)

_PREFLIGHT_HEADERS = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
    hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
}


def _ready(status: HTTPStatus) -> ReadyAnswer:
    return ReadyAnswer(status, {**ANSWER_HEADERS, hdrs.VARY: hdrs.ORIGIN})


def answering(cors: Cors, clients: ClientAddresses | None = None) -> Middleware:
    """The middleware around every handler. `clients` finds the address of a client behind a proxy."""
    addresses = clients or ClientAddresses()

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        request_id.begin(request.headers.get(request_id.HEADER))
        is_api = f"{request.path}/".startswith(API)  # /e, and not /embed
        response: web.StreamResponse
        try:
            response = await handler(request)
            if isinstance(response, ReadyAnswer):
                if ReadyAnswer.suits(request):
                    return response
                response = response.plain()
        except Refused as refused:
            if refused.status >= 500:
                _log_refusal(
                    request.method, without_key(request.path), refused, addresses.of_request(request)
                )
                otel.fail(refused.code)
                otel.record(refused.__cause__ or refused)
            else:
                otel.note("error.type", refused.code)
            response = refused_response(refused)
        except web.HTTPException as error:
            # aiohttp answers OPTIONS of an existing route with 405, so a preflight arrives here.
            if is_api and error.status == 405 and cors.is_preflight(request):
                response = cors.preflight(request)
            else:
                routes = (resource.canonical for resource in request.app.router.resources())
                response = http_exception_response(error, request.path, routes)
        except asyncio.CancelledError:
            # A stop has run out of time, or closes the connection.
            if request.writer.output_size or request.transport is None:
                raise
            uncancel()
            response = refused_response(stopping())
        except Exception as error:
            # The edge: after any error, the client gets an answer and the worker continues.
            if isinstance(error, ConnectionError) and request.transport is None:
                return web.Response(status=499)  # the client disconnected; nobody reads this
            client = addresses.of_request(request)
            path = without_key(request.path)
            log.exception("http: %s %s failed", request.method, path, extra={"client": client})
            otel.fail(type(error).__name__)
            otel.record(error)
            response = error_response(
                500,
                "internal_error",
                "the server failed to process the request",
                "The server's log has the cause. Retry.",
            )
        for name, value in answer_headers().items():
            response.headers.setdefault(name, value)  # pages set their own
        if is_api:
            cors.apply(request, response)
        return response

    return _logging_each(answer, addresses) if log.isEnabledFor(logging.DEBUG) else answer


def _refusing(cors: Cors, addresses: ClientAddresses) -> Callable[[Head, Refused, str], web.Response]:
    """Answers requests of the fast lane that the log did not take, as the middleware does."""

    def refuse(head: Head, refused: Refused, peer: str) -> web.Response:
        request_id.begin(head.headers.get(request_id.HEADER.lower()))
        if refused.status >= 500:
            forwarded = head.headers.get(addresses.header.lower())
            client = addresses.of(peer, lambda: [] if forwarded is None else [forwarded])
            _log_refusal(hdrs.METH_POST, head.path, refused, client)
        response = refused_response(refused)
        response.headers.update(answer_headers())
        cors.allow(head.headers.get("origin"), response.headers)
        return response

    return refuse


def _log_refusal(method: str, path: str, refused: Refused, client: str) -> None:
    # The message contains the code, so that a flood of one reason does not suppress another.
    log.warning(
        f"http: %s %s: {refused.code}, %s",
        method,
        path,
        refused.message,
        extra={"client": client} | ({"error": str(refused.__cause__)} if refused.__cause__ else {}),
    )


def _logging_each(answer: Middleware, addresses: ClientAddresses) -> Middleware:
    @web.middleware
    async def logged(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        response = await answer(request, handler)
        took_ms = (time.perf_counter() - started) * 1000
        # Without the query, which may contain a key.
        log.debug(
            "http: %s %s: %d in %.1f ms",
            request.method,
            without_key(request.path),
            response.status,
            took_ms,
            extra={"client": addresses.of_request(request)},
        )
        return response

    return logged
