"""The read routes: token → scope, query string → parameters, query slot, one question, one JSON answer.

The same code serves every endpoint of `queries.ENDPOINTS`, so authentication, scope, limits, caching, metrics
and the translation of ClickHouse's errors are the same for all:

    missing or invalid token or claim   401 / 403 / 400 (auth.jwt)
    the token permits other endpoints   403
    the token exceeds its rate          429 rate_limited
    the quota of queries is used up     429 quota_exceeded, Retry-After
    an invalid parameter                400 invalid_parameter, with the field
    too many queued queries             503 queries_busy, Retry-After
    too many unread answers             503 answers_busy, Retry-After
    ClickHouse cannot be reached        503 clickhouse_unavailable, Retry-After
    ClickHouse does not isolate tenants 503 scope_not_proven
    a part of the table is damaged      500 data_damaged, with the part
    the query hit one of its limits     422 query_too_large, with what to narrow
    any other error                     500, with the cause in our log only
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import Scope
from nealytics.auth.token_rate import TokenRate
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.error_codes import CANNOT_COMPILE_REGEXP, Kind
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.config import Config
from nealytics.errors import ErasuresUnreadable, NealyticsError, Refused
from nealytics.http.app import Cors
from nealytics.http.responses import answer_headers, names_tag
from nealytics.http.sending import Body, encoded, send
from nealytics.http.slots import QuerySlots
from nealytics.http.unread import Charge, Unread
from nealytics.observe import otel
from nealytics.observe.metrics import Metrics
from nealytics.queries import ENDPOINTS
from nealytics.queries.conditions import parse_condition
from nealytics.queries.endpoint import Endpoint, Route
from nealytics.queries.params import Arguments, Warn
from nealytics.queries.scoped import Events, Fence, FenceDown, Hidden, limit_settings
from nealytics.queries.segments import SavedSegments
from nealytics.query_string import check_utf8
from nealytics.usage.meter import Queries

log = logging.getLogger("nealytics.http.reads")

RETRY_AFTER_S = 2
LEFT_CHECK_S = 0.5  # interval at which a running query checks that its client is still connected

T = TypeVar("T")
P = TypeVar("P")


_INCOMPLETE = Warn(
    "incomplete",
    "the table may lack events, so the answer may be incomplete; /ready says why",
)


class Reads:
    """The steps that all read routes share."""

    def __init__(
        self,
        config: Config,
        *,
        client: ClickHouseClient,
        verifier: TokenVerifier,
        metrics: Metrics,
        rate: TokenRate | None = None,
        usage: Queries | None = None,
        hidden: Hidden = lambda scope: (),
        saved: Callable[[], Collection[Endpoint[Any]]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`saved` are the saved queries at the moment."""
        self.config = config.query
        self.saved = saved
        self.client = client
        self.fence = Fence(client, config.clickhouse.database, sharded=bool(config.clickhouse.cluster))
        self._database = config.clickhouse.database
        self._verifier = verifier
        self._rate = rate
        self._hidden = hidden
        self.usage = usage or Queries()
        self._metrics = metrics
        self._clock = clock
        self._slots = QuerySlots(config.query)
        self._limits = limit_settings(config.query)
        self.cors = Cors(config.server.cors_allowed_origins)
        self.unread = Unread(config.query.unread_bytes_max)
        self.segments = SavedSegments(config.segment)

    async def scope_of(
        self, request: web.Request, route: Route | None = None, authorization: str | None = None
    ) -> Scope:
        """The scope of the request's token, checked for `route` if given. Raises `Refused`.

        `authorization` replaces the header for clients that cannot send one.
        """
        header = request.headers.get(hdrs.AUTHORIZATION, authorization)
        scope = await self._verifier.resolve(header)
        otel.note("neavents.project_id", scope.project_id)
        if scope.tenant_id is not None:
            otel.note("neavents.tenant_id", scope.tenant_id)
        if route is not None:
            check_route(scope, route)
        if self._rate is not None:
            self._rate.take(scope)
        self.usage.check(scope.project_id, scope.tenant_id)
        return scope

    def arguments_of(self, request: web.Request, route: Route, scope: Scope | None = None) -> Arguments:
        """Raises `Refused` (400) for a query string that is not UTF-8."""
        check_utf8(request.rel_url.raw_query_string)
        return self.arguments(request.query, route, scope)

    def arguments(self, query: MultiMapping[Any], route: Route, scope: Scope | None = None) -> Arguments:
        found = Arguments(query, self.config, int(self._clock() * 1000), route.parameters)
        if scope is not None:
            found.saved = self.segments.of(scope.project_id)
        return found

    def charge(self, scope: Scope) -> Charge:
        return self.unread.charge((scope.project_id, scope.tenant_id))

    def events_of(self, scope: Scope, received: Callable[[int], None] | None = None) -> Events:
        """Raises `Refused` if the token's own filters are invalid."""
        return Events(
            self.client,
            self._database,
            scope,
            token_filters=[_token_filter(text) for text in scope.filters],
            limits=self._limits,
            received=received,
            hidden=self._hidden,
        )

    async def answer(
        self,
        request: web.Request,
        endpoint: Endpoint[Any],
        scope: Scope,
        arguments: Arguments,
        vary: str = hdrs.AUTHORIZATION,
    ) -> web.StreamResponse:
        """`vary` are the request headers on which the answer depends."""
        params = parsed(endpoint, arguments)
        with self.charge(scope) as charge:
            work = self.body_of(scope, endpoint, arguments, params, charge)
            body = await while_connected(request, work)
            return await self.respond(request, body, keep_s(endpoint, arguments), charge, vary)

    async def body_of(
        self, scope: Scope, endpoint: Endpoint[P], arguments: Arguments, params: P, charge: Charge
    ) -> Body:
        """The answer to one question, after it got a query slot. Raises `Refused`."""
        rows = Rows(charge)
        events = self.events_of(scope, rows.add)

        async def question() -> Any:
            rows.give_back()  # those of an address that failed in the middle of its answer
            return await endpoint.run(events, params)

        try:
            async with self.slot(scope):
                answer = await self.ask(question)
            self.usage.query(scope.project_id, scope.tenant_id, events.rows_read)
            if (records := answer.records) is not None:
                otel.note(f"neavents.{endpoint.counted_as}", records)
            answer.warnings = [
                *arguments.warnings,
                *answer.warnings,
                *([_INCOMPLETE] * is_incomplete(self._metrics)),
            ]
            return await encoded(answer, charge)
        finally:
            rows.give_back()  # also after a failure: other questions of the request continue

    def counted(self, handler: Handler) -> Handler:
        """Wraps the handler of a read route, and counts its failures by reason."""

        async def counted(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Refused as refused:
                self.failed(refused.code)
                raise
            except web.HTTPException as error:
                if error.status >= 400:
                    self.failed("bad_request" if error.status < 500 else "internal_error")
                raise
            except ConnectionError:
                raise  # the client disconnected
            except asyncio.CancelledError:
                # Only a stop cancels a handler.
                self.failed("broken_off" if request.writer.output_size else "stopping")
                raise
            except Exception:
                self.failed("internal_error")
                raise

        return counted

    def failed(self, reason: str) -> None:
        self._metrics.read_failures.add(1, reason)

    def broken_off(self, error: Exception) -> None:
        """Counts an answer that failed after its head was sent, so that its status is 200."""
        self.failed("broken_off")
        otel.fail("broken_off")
        otel.record(error.__cause__ or error)

    def slot(self, scope: Scope) -> AbstractAsyncContextManager[None]:
        """Holds a query slot inside the block. Raises `Refused` (503) if too many queries are queued."""
        return self._slots.slot((scope.project_id, scope.tenant_id))

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """Runs a query after the fence is proven, and counts it. Raises `Refused`."""
        started = time.perf_counter()
        try:
            answer = await self._moving(question)
        except (ClickHouseError, FenceDown, ErasuresUnreadable) as error:
            if isinstance(error, ClickHouseError):
                self.fence.doubt(error)
                if error.damaged_part:
                    self.client.damaged.setdefault(error.damaged_part, f"{error.name} (code {error.code})")
            raise refusal(error) from error
        finally:
            self._metrics.read_seconds.observe(time.perf_counter() - started)
        self._metrics.read_queries.add()
        return answer

    async def _moving(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """Asks once more at another address if the one that was asked is down: a read has no effect."""
        await self.fence.prove()
        asked = self.client.addresses.reading
        try:
            return await question()
        except ClickHouseError as error:
            if self.client.addresses.after(error, [asked]) is None:
                raise
            self.fence.doubt(error)
        await self.fence.prove()
        return await question()

    async def respond(
        self,
        request: web.Request,
        body: Body,
        keep_s: int,
        charge: Charge,
        vary: str = hdrs.AUTHORIZATION,
    ) -> web.StreamResponse:
        # One tenant's data: only the requesting client may cache it.
        keep_s = 0 if is_incomplete(self._metrics) else keep_s
        headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
        if keep_s:
            headers = {
                hdrs.CACHE_CONTROL: f"private, max-age={keep_s}",
                hdrs.ETAG: body.tag,
                hdrs.VARY: vary,
            }
            if names_tag(request.headers.get(hdrs.IF_NONE_MATCH, ""), body.tag):
                return web.Response(status=304, headers=headers)
        # Add all headers here: the middleware sees this response only after it was sent.
        headers[hdrs.CONTENT_TYPE] = "application/json"
        response = web.StreamResponse(headers=headers | answer_headers())
        self.cors.apply(request, response)
        await send(request, response, body, charge)
        return response


def add_read_routes(app: web.Application, reads: Reads) -> None:
    for endpoint in ENDPOINTS:
        app.router.add_get(endpoint.path, reads.counted(partial(_answer, reads, endpoint)))


async def _answer(reads: Reads, endpoint: Endpoint[Any], request: web.Request) -> web.StreamResponse:
    scope = await reads.scope_of(request, endpoint)
    return await reads.answer(request, endpoint, scope, reads.arguments_of(request, endpoint, scope))


def keep_s(endpoint: Endpoint[Any], arguments: Arguments) -> int:
    """How long a client may keep an answer."""
    if endpoint.cache_s is not None:
        return endpoint.cache_s
    return arguments.config.cache_s if arguments.closed else 0


class Rows:
    """The part of a charge that the rows of one question use until they are encoded."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._bytes = 0

    def add(self, count: int) -> None:
        self._charge.add(count)
        self._bytes += count

    def give_back(self) -> None:
        self._charge.give_back(self._bytes)
        self._bytes = 0


def is_incomplete(metrics: Metrics) -> bool:
    """Whether the table may lack events that ClickHouse confirmed (`commit.table_check`)."""
    return metrics.value("nealytics_table_incomplete") > 0


def check_route(scope: Scope, route: Route) -> None:
    """Raises `Refused` if the token does not permit the route."""
    if scope.endpoints is not None and route.name not in scope.endpoints:
        raise Refused(
            403,
            "forbidden",
            f"the token does not permit {route.name}",
            detail=f"Its endpoints claim permits {', '.join(sorted(scope.endpoints)) or 'nothing'}.",
            field="endpoints",
        )
    if why := route.refuses(scope):
        raise Refused(
            403, "forbidden", f"the token does not permit {route.name}", detail=f"{why[0].upper()}{why[1:]}."
        )


def parsed(endpoint: Endpoint[P], arguments: Arguments) -> P:
    """Raises `Refused`, which also names unknown parameters: one of them may be a misspelt required one."""
    try:
        return endpoint.parse(arguments)
    except Refused as refused:
        ignored = [warning.message for warning in arguments.warnings if warning.code == "unknown_parameter"]
        sentences = (text if text.endswith("?") else f"{text}." for text in ignored)
        refused.detail = " ".join([refused.detail, *sentences])
        raise


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects: a closed page needs no answer.

    Raises `ConnectionResetError` then. `work` has ended when this returns or raises.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=LEFT_CHECK_S)
            if request.transport is None and not task.done():
                raise ConnectionResetError("the client disconnected")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            # Wait for its end: it must release its part of the charge before the charge ends.
            await asyncio.gather(task, return_exceptions=True)


def _token_filter(text: str) -> Any:
    try:
        return parse_condition("filters", text)
    except Refused as refused:
        raise Refused(
            400, "invalid_claim", f"the token's {refused.message}", detail=refused.detail, field="filters"
        ) from None


def refusal(error: NealyticsError) -> Exception:
    """The refusal for the client, or `error` itself if the client cannot act on it (500)."""
    if isinstance(error, FenceDown | ErasuresUnreadable):
        log.critical("%s", error)
        problem = (
            "the event store does not isolate tenants"
            if isinstance(error, FenceDown)
            else "it is not known which events are erased"
        )
        return Refused(
            503,
            "scope_not_proven",
            f"{problem}, so no query is run",
            detail="The server's log has the cause.",
            headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
        )
    if not isinstance(error, ClickHouseError):
        return error
    if error.kind is Kind.DAMAGED:
        part = f"part {error.damaged_part}" if error.damaged_part else "a part"
        log.critical("%s", error)
        return Refused(
            500,
            "data_damaged",
            f"stored events are damaged: {part} of the table cannot be read",
            detail="Do not retry; an operator must restore the part. Queries that need only "
            "other parts are answered.",
        )
    if error.kind is Kind.LIMIT:
        return Refused(
            422,
            "query_too_large",
            "the query exceeds the server's limits",
            detail="Narrow the time range, add a filter (eventType, sessionId), or use a smaller limit.",
        )
    if error.code == CANNOT_COMPILE_REGEXP:
        return Refused(
            400,
            "invalid_parameter",
            "ClickHouse cannot read the regular expression",
            detail="Write one of RE2 (https://github.com/google/re2/wiki/Syntax), or a simpler one.",
            field="filter",
        )
    if error.kind is Kind.LATER:
        return Refused(
            503,
            "clickhouse_unavailable",
            "the event store is temporarily unavailable",
            detail="Retry later. Ingest is not affected.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    return error
