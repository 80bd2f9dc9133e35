"""Serves `GET /api/v1/telemetry/live`; what a stream promises is in `queries.live`.

    live_stream   one client: queued messages, heartbeats, the end
    live_hub      queries ClickHouse every `query.live_poll_s` for one scope and one set of filters, and puts
                  each new event into all streams that ask for the same. It lives as long as it has one
    live_window   which events are new

A stream that resumes joins its hub first and then reads what it has missed, so there is no gap between the
two; an event that both find is sent once.

Bounds: streams per token and per worker; messages queued for a client that does not read them
(`BACKLOG_BYTES_MAX`, and the worker's budget for all answers; then the stream is cut off and resumes); keys
that are remembered (`SEEN_MAX`); how far back a stream resumes (`live.RESUME_MS_MAX`, beyond it a message
says what is left out).
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial

from aiohttp import hdrs, web

from nealytics.auth.scope import Scope
from nealytics.config import QueryConfig
from nealytics.errors import NealyticsError, Refused, stopping
from nealytics.http.app import Cors
from nealytics.http.live_hub import Hub, ServerClock, retry_s
from nealytics.http.live_stream import EXPIRED, LEFT, STOPPING, Backlog, detect_dead_peer, send
from nealytics.http.live_window import Resumption, size_of
from nealytics.http.reads import Reads
from nealytics.http.slots import busy
from nealytics.http.streaming import Places, break_off, head_of
from nealytics.ingest.connection import when_lost
from nealytics.queries import live
from nealytics.queries.filters import Condition
from nealytics.queries.live import STREAM, New
from nealytics.queries.scoped import Events

log = logging.getLogger("nealytics.http.live")

# Of one stream, beside its messages: what aiohttp and asyncio may hold before they wait for the client.
_BUFFER_BYTES = 64 * 1024
# How long a client waits before it reconnects: not all of them in the same second.
_RECONNECT_MS = (1_000, 3_000)


class Live:
    """The handler, and all hubs of this worker. `stop` ends every stream at once."""

    def __init__(
        self, reads: Reads, config: QueryConfig, cors: Cors, clock: Callable[[], float] = time.time
    ) -> None:
        self._reads = reads
        self._config = config
        self._cors = cors
        self._clock = clock
        self._hubs: dict[object, Hub] = {}
        self._server_clock = ServerClock(reads.client, config.live_overlap_s / 2)
        self._query_slot = asyncio.Lock()
        self._streams: set[Backlog] = set()
        self._stopping = False
        self.places = Places("live streams", config.live_streams_max, config.live_streams_per_token)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        arguments = self._reads.arguments_of(request, STREAM)
        token = (arguments.text("access_token") or "").strip()
        scope = await self._reads.scope_of(request, STREAM, f"Bearer {token}" if token else None)
        arguments.saved = self._reads.segments.of(scope.project_id)
        params = live.parse(arguments, request.headers.get("Last-Event-ID", ""))
        events = self._reads.events_of(scope)
        if self._stopping:
            raise stopping()
        response = head_of(request, self._cors, live.CONTENT_TYPE, {}, arguments.warnings)
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=response.headers)
        with self.places.one(scope), self._reads.charge(scope) as charge:
            charge.add(_BUFFER_BYTES)
            backlog = Backlog(charge)
            async with self._joined(scope, events, params.filters, backlog) as hub:
                with self._until_expired(scope, backlog), when_lost(request, lambda: backlog.end(LEFT)):
                    return await self._serve(request, response, scope, params, hub, backlog)

    async def stop(self, _app: web.Application | None = None) -> None:
        self._stopping = True
        for stream in self._streams:
            stream.end(STOPPING)
        await asyncio.gather(*(hub.stop() for hub in list(self._hubs.values())))

    @contextlib.asynccontextmanager
    async def _joined(
        self, scope: Scope, events: Events, filters: tuple[Condition, ...], backlog: Backlog
    ) -> AsyncGenerator[Hub]:
        """The hub of this scope and these filters, which puts new events into `backlog`."""
        key = (scope.project_id, scope.tenant_id, scope.filters, filters)
        hub = self._hubs.get(key)
        if hub is None:
            hub = Hub(self._reads, self._config, events, filters, self._server_clock, self._query_slot)
            self._hubs[key] = hub
        hub.streams.add(backlog)
        self._streams.add(backlog)
        try:
            yield hub
        finally:
            self._streams.discard(backlog)
            hub.streams.discard(backlog)
            if not hub.streams:
                self._hubs = {key: other for key, other in self._hubs.items() if other is not hub}
                await hub.stop()

    @contextlib.contextmanager
    def _until_expired(self, scope: Scope, backlog: Backlog) -> Iterator[None]:
        """Ends the stream when its token expires."""
        if math.isinf(scope.expires_at_s):
            yield
            return
        left_s = max(0.0, scope.expires_at_s - self._clock())
        timer = asyncio.get_running_loop().call_later(left_s, backlog.end, EXPIRED)
        try:
            yield
        finally:
            timer.cancel()

    async def _serve(
        self,
        request: web.Request,
        response: web.StreamResponse,
        scope: Scope,
        params: live.Params,
        hub: Hub,
        backlog: Backlog,
    ) -> web.StreamResponse:
        # A stream that resumes waits for ClickHouse instead: a browser that is refused does not come back.
        if params.last_ms is None:
            try:
                async with asyncio.timeout(self._config.queue_timeout_s):
                    await backlog.unless_ended(hub.started())
                await backlog.unless_ended(hub.finished())
            except TimeoutError:
                raise busy(f"the stream was queued for {self._config.queue_timeout_s:g} s") from None
            if hub.problem is not None and not backlog.ended.done():
                raise hub.problem
        await response.prepare(request)
        heartbeat_s = self._config.live_heartbeat_s
        detect_dead_peer(request, heartbeat_s)
        messages = self._messages(hub, backlog, scope, params)
        try:
            await send(request, response, messages, backlog, heartbeat_s=heartbeat_s, window=hub.window)
        except ConnectionError:
            break_off(request)
        except NealyticsError as error:
            break_off(request)
            self._reads.broken_off(error)
            log.warning("live: a stream ended: %s", error.__cause__ or error)
        except Exception as error:
            # The answer has begun, so no error can be sent, and it must not look complete.
            break_off(request)
            self._reads.broken_off(error)
            log.exception("live: a stream ended")
        return response

    async def _messages(
        self, hub: Hub, backlog: Backlog, scope: Scope, params: live.Params
    ) -> AsyncGenerator[bytes]:
        """What a client is sent, apart from heartbeats."""
        yield b"retry: %d\n" % random.randint(*_RECONNECT_MS)
        resumption: Resumption | None = None
        if params.last_ms is None:
            yield b"id: %d\n\n" % hub.window.position_ms
        else:
            yield b"\n"
            await hub.succeeded()
            resumption = Resumption(hub.window, params.last_ms)
            if resumption.gap is not None:
                yield live.gap_message(*resumption.gap)
            async for page in self._missed(hub, scope, params.filters, resumption.since_ms):
                if new := resumption.add(page):
                    backlog.hold(size_of(new))
                    yield _message(new)
            resumption.finish()
        while True:
            batch = await backlog.next()
            if resumption is not None:
                batch = resumption.without_shown(batch, is_latest=backlog.is_empty)
            if batch:
                yield _message(batch)

    async def _missed(
        self, hub: Hub, scope: Scope, filters: tuple[Condition, ...], since_ms: int
    ) -> AsyncGenerator[list[New]]:
        """Pages of events that were stored after `since_ms`. Retries while ClickHouse is down."""
        after: New | None = None
        failures = 0
        while True:
            try:
                async with self._reads.slot(scope):
                    page: live.Page = await self._reads.ask(
                        partial(live.page_of, hub.events, filters, since_ms, after)
                    )
            except Refused as refused:
                if refused.status != 503:
                    raise
                failures += 1
                await asyncio.sleep(retry_s(failures))
                continue
            failures = 0
            if page.events:
                after = page.events[-1]
                yield page.events
            if page.is_last:
                return


def _message(events: list[New]) -> bytes:
    return b"".join([event.message for event in events])
