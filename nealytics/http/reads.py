"""The read routes: token → scope, query string → parameters, one query, one JSON answer.

Every endpoint of `queries.ENDPOINTS` is served by the same few lines, so authentication, scope, metrics and
the translation of ClickHouse's troubles are the same for all:

    no or bad token, no claims          401 / 403 / 400 (auth.jwt)
    an argument that makes no sense     400 invalid_parameter, with the field
    ClickHouse cannot be reached        503 clickhouse_unavailable, Retry-After
    the query hit one of its limits     422 query_too_large, with what to narrow
    anything else                       500, told in our log and not to the client
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from nealytics.auth.jwt import TokenVerifier
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import Config, QueryConfig
from nealytics.errors import Refused
from nealytics.observe.metrics import Metrics
from nealytics.queries import ENDPOINTS
from nealytics.queries.params import Arguments
from nealytics.queries.scoped import Endpoint, Events

log = logging.getLogger("nealytics.http.reads")

RETRY_AFTER_S = 2

# The query was too much for what ClickHouse may spend on one: asking again the same way will not help.
# 158 rows, 159 time, 160 estimated time, 191 set size, 241 memory, 307 bytes, 396 size of the answer.
LIMIT_CODES = frozenset({158, 159, 160, 191, 241, 307, 396})

# It is busy, away, or not set up (yet): asking again later can help. 201 quota, 202 too many queries at once,
# 209 and 210 its network, 60 and 81 no table or database yet, 192 to 194 and 516 our user or password.
LATER_CODES = frozenset({60, 81, 192, 193, 194, 201, 202, 209, 210, 516})


def add_read_routes(
    app: web.Application,
    *,
    client: ClickHouseClient,
    verifier: TokenVerifier,
    config: Config,
    metrics: Metrics,
    clock: Callable[[], float] = time.time,
) -> None:
    for endpoint in ENDPOINTS:
        handler = _handler(
            endpoint, client, verifier, config.clickhouse.database, config.query, metrics, clock
        )
        app.router.add_get(endpoint.path, handler)


def _handler(
    endpoint: Endpoint[Any],
    client: ClickHouseClient,
    verifier: TokenVerifier,
    database: str,
    config: QueryConfig,
    metrics: Metrics,
    clock: Callable[[], float],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        scope = verifier.scope_of(request.headers.get("Authorization"))
        query = CIMultiDict(request.query)  # to the C# engine the names of parameters had no case
        params = endpoint.parse(Arguments(query, config, int(clock() * 1000)))
        started = time.perf_counter()
        try:
            answer = await endpoint.run(Events(client, database, scope), params)
        except ClickHouseError as error:
            raise _refusal(error) from error
        finally:
            metrics.read_seconds.observe(time.perf_counter() - started)
        metrics.read_queries.add()
        return web.Response(
            body=msgspec.json.encode(answer),
            content_type="application/json",
            # One tenant's data: no cache between us and the client may keep it.
            headers={"Cache-Control": "no-store"},
        )

    return handle


def _refusal(error: ClickHouseError) -> Exception:
    """What the client is told; `error` itself if that is nothing but "our fault"."""
    if error.code in LIMIT_CODES:
        return Refused(
            422,
            "query_too_large",
            "the query needs more than ClickHouse may spend on one",
            detail="Narrow the time range, add a filter (eventType, sessionId), or ask for a smaller limit.",
        )
    if isinstance(error, ClickHouseUnavailable) or error.code in LATER_CODES:
        log.warning("reads: ClickHouse is not available", extra={"error": str(error)})
        return Refused(
            503,
            "clickhouse_unavailable",
            "the event store is not available at the moment",
            detail="Ask again later. Events are taken meanwhile and lose nothing.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    return error
