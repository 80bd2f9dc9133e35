"""Serves `GET /api/v1/telemetry/live`; what a stream promises is in `queries.live`.

    stream   one client: its head, its messages, its end
    hub      asks ClickHouse every `query.live_poll_s` for one scope and one set of filters, and hands each
             new event to all streams that want the same. It lives as long as it has one

A hub looks back `query.live_overlap_s` at each question and remembers what it has seen in that time. It
starts by looking without showing: what is there already is not new. After a failure it asks again from where
it was.

A stream that is resumed joins its hub first and then reads for itself what it has missed, so there is no gap
between the two; what comes from both is shown once.

Bounds: streams per token and per worker; messages that wait for a client that does not read them
(`BACKLOG_BYTES_MAX`, and the worker's budget for all answers; then it is cut off and resumes); keys that are
remembered (`SEEN_MAX`, beyond it an event may be repeated); how far back a stream is resumed
(`live.RESUME_MS_MAX`, beyond it a message says what is left out); and the hubs' questions together, which
take half of one query's time at most.
"""

import asyncio
import contextvars
import logging
import math
import random
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from nealytics.auth.scope import Scope
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.config import QueryConfig
from nealytics.errors import NealyticsError, Refused, stopping
from nealytics.http.app import Cors
from nealytics.http.gate import busy
from nealytics.http.reads import Reads, refusal
from nealytics.http.streaming import Places, break_off, head_of
from nealytics.http.unread import Charge
from nealytics.queries import live
from nealytics.queries.filters import Filter
from nealytics.queries.live import STREAM, New
from nealytics.queries.scoped import Events

log = logging.getLogger("nealytics.http.live")

BACKLOG_BYTES_MAX = 2 * 1024 * 1024
SEEN_MAX = 100_000
# Of one stream, beside its messages: what aiohttp and asyncio may hold before they wait for the client.
_BUFFER_BYTES = 64 * 1024
RETRY_MAX_S = 5.0
# A client waits so long before it comes back; not all of them in the same second.
_COME_BACK_MS = (1_000, 3_000)

_HEARTBEAT = b": alive\n\n"
_EXPIRED = b'event: end\ndata: {"code":"token_expired","message":"come back with a new token"}\n\n'

# Why a stream ends.
_LEFT, _SLOW, _EXPIRY, _STOPPING = "left", "slow", "expired", "stopping"


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
        self._moment = Moment(reads.client, config.live_overlap_s / 2)
        self._asking = asyncio.Lock()
        self._streams: set[Backlog] = set()
        self._stopping = False
        self.places = Places("live streams", config.live_streams_max, config.live_streams_per_token)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        arguments = self._reads.arguments_of(request, STREAM)
        token = (arguments.text("access_token") or "").strip()
        scope = await self._reads.scope_of(request, STREAM, f"Bearer {token}" if token else None)
        params = live.parse(arguments, request.headers.get("Last-Event-ID", ""))
        events = self._reads.events_of(scope)
        if self._stopping:
            raise stopping()
        response = head_of(request, self._cors, live.CONTENT_TYPE, {}, arguments.warnings)
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=response.headers)
        with self.places.one(scope), self._reads.charge(scope) as charge:
            charge.add(_BUFFER_BYTES)
            return await self._serve(request, response, scope, events, params, charge)

    async def stop(self, _app: web.Application | None = None) -> None:
        self._stopping = True
        for stream in self._streams:
            stream.end(_STOPPING)
        await asyncio.gather(*(hub.stop() for hub in list(self._hubs.values())))

    async def _serve(
        self,
        request: web.Request,
        response: web.StreamResponse,
        scope: Scope,
        events: Events,
        params: live.Params,
        charge: Charge,
    ) -> web.StreamResponse:
        hub = self._hub_of(scope, events, params.filters)
        backlog = Backlog(charge)
        hub.streams.add(backlog)
        self._streams.add(backlog)
        expiry = self._when_expired(scope, backlog)
        # `Connection` of http.connections; elsewhere, leaving is noticed at the next message.
        request.protocol.on_lost = lambda: backlog.end(_LEFT)  # type: ignore[attr-defined]
        try:
            if params.last_ms is None:
                # A resumed one may wait for ClickHouse: a browser that is refused does not come back.
                try:
                    async with asyncio.timeout(self._config.queue_timeout_s):
                        await backlog.unless_ended(hub.first_turn())
                    await backlog.unless_ended(hub.first_look())
                except TimeoutError:
                    raise busy(f"the stream waited {self._config.queue_timeout_s:g} s to begin") from None
                if hub.problem is not None and not backlog.ended.done():
                    raise hub.problem
            await response.prepare(request)
            _give_up_on_the_dead(request, self._config.live_heartbeat_s)
            messages = self._messages(hub, backlog, scope, params)
            await self._send(request, response, messages, hub, backlog)
        finally:
            request.protocol.on_lost = None  # type: ignore[attr-defined]
            if expiry is not None:
                expiry.cancel()
            self._streams.discard(backlog)
            hub.streams.discard(backlog)
            if not hub.streams:
                self._hubs = {key: other for key, other in self._hubs.items() if other is not hub}
                await hub.stop()
        return response

    def _hub_of(self, scope: Scope, events: Events, filters: tuple[Filter, ...]) -> "Hub":
        key = (scope.project_id, scope.tenant_id, scope.filters, filters)
        hub = self._hubs.get(key)
        if hub is None:
            hub = Hub(self._reads, self._config, events, filters, self._moment, self._asking)
            self._hubs[key] = hub
        return hub

    def _when_expired(self, scope: Scope, backlog: "Backlog") -> asyncio.TimerHandle | None:
        if math.isinf(scope.expires_at_s):
            return None
        left_s = max(0.0, scope.expires_at_s - self._clock())
        return asyncio.get_running_loop().call_later(left_s, backlog.end, _EXPIRY)

    async def _messages(
        self, hub: "Hub", backlog: "Backlog", scope: Scope, params: live.Params
    ) -> AsyncGenerator[bytes]:
        """What a client is sent, apart from heartbeats."""
        yield b"retry: %d\n" % random.randint(*_COME_BACK_MS)
        shown: dict[bytes, int] = {}
        if params.last_ms is None:
            yield b"id: %d\n\n" % hub.position_ms
        else:
            yield b"\n"
            await hub.first_look(until_it_succeeds=True)
            # From here on the hub hands out what it had not seen. What is read here too is shown once.
            seen_ms = hub.since_ms
            last_ms = min(params.last_ms, hub.position_ms)
            first_ms = hub.position_ms - live.RESUME_MS_MAX
            if last_ms < first_ms:
                yield live.gap_message(last_ms, first_ms)
                last_ms = first_ms
            async for page in self._missed(hub, scope, params.filters, last_ms - hub.overlap_ms):
                if new := unseen(page, shown):
                    backlog.hold(size_of(new))
                    yield b"".join([event.message for event in new])
            shown = {key: at_ms for key, at_ms in shown.items() if at_ms > seen_ms}
        while True:
            batch = await backlog.next()
            if shown:
                batch = [event for event in batch if event.key not in shown]
                if backlog.is_empty and hub.since_ms > max(shown.values()):
                    shown = {}
            if batch:
                yield b"".join([event.message for event in batch])

    async def _missed(
        self, hub: "Hub", scope: Scope, filters: tuple[Filter, ...], since_ms: int
    ) -> AsyncGenerator[list[New]]:
        """What is stored already. While ClickHouse is down, it waits."""
        after: New | None = None
        failures = 0
        while True:
            try:
                async with self._reads.turn(scope):
                    page: live.Page = await self._reads.ask(
                        partial(live.page_of, hub.events, filters, since_ms, after)
                    )
            except Refused as refused:
                if refused.status != 503:
                    raise
                failures += 1
                await asyncio.sleep(_retry_s(failures))
                continue
            failures = 0
            if page.events:
                after = page.events[-1]
                yield page.events
            if page.is_last:
                return

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        messages: AsyncGenerator[bytes],
        hub: "Hub",
        backlog: "Backlog",
    ) -> None:
        heartbeat_s = self._config.live_heartbeat_s
        following: asyncio.Task[bytes] | None = None
        try:
            while not backlog.ended.done():
                following = following or asyncio.ensure_future(_next(messages))
                await _first_of(following, backlog.ended, timeout_s=heartbeat_s)
                if backlog.ended.done():
                    break
                if following.done():
                    message = following.result()
                    following = None
                else:
                    message = _HEARTBEAT
                    if backlog.is_following:
                        # Everything up to there was sent; so a resumed stream has less to look through.
                        message += b"id: %d\n\n" % hub.position_ms
                await backlog.unless_ended(response.write(message))
            if backlog.ended.result() in (_LEFT, _SLOW) or not _is_read(request):
                break_off(request)
                return
            if backlog.ended.result() == _EXPIRY:
                await response.write(_EXPIRED)
            response.force_close()
            await response.write_eof()
        except ConnectionError:
            break_off(request)
        except NealyticsError as error:
            break_off(request)
            self._reads.broken_off(error)
            log.warning("live: a stream ends: %s", error.__cause__ or error)
        except Exception as error:
            # The edge: an error text must not get among the messages.
            break_off(request)
            self._reads.broken_off(error)
            log.exception("live: a stream ends")
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait({following})
            await messages.aclose()


class Backlog:
    """What one stream's client has yet to be sent, and whether the stream is to end."""

    def __init__(self, charge: Charge) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.is_following = False  # waits for its hub, having sent all that it was handed
        self._batches: deque[list[New]] = deque()
        self._bytes = 0
        self._sending = 0
        self._charge = charge
        self._filled = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._batches

    def end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)

    def put(self, batch: list[New]) -> None:
        size = size_of(batch)
        # One batch is always taken: it may be large by itself.
        if self._batches and self._bytes > BACKLOG_BYTES_MAX:
            self.end(_SLOW)
        if self.ended.done():
            return
        if not self._charge.try_add(size):
            self.end(_SLOW)
            return
        self._batches.append(batch)
        self._bytes += size
        self.is_following = False
        self._filled.set()

    def hold(self, size: int) -> None:
        """From now on what is being sent has this size."""
        self._charge.give_back(self._sending)
        self._sending = 0
        if self._charge.try_add(size):
            self._sending = size
        else:
            self.end(_SLOW)

    async def next(self) -> list[New]:
        """What is to be sent next; what was before, was sent."""
        self.hold(0)
        while not self._batches:
            self._filled.clear()
            self.is_following = True
            await self._filled.wait()
        batch = self._batches.popleft()
        self._sending = size_of(batch)
        self._bytes -= self._sending
        return batch

    async def unless_ended(self, work: Coroutine[Any, Any, None]) -> None:
        """Does `work` as long as the stream lasts."""
        task = asyncio.ensure_future(work)
        try:
            await _first_of(task, self.ended)
            if task.done():
                task.result()
        finally:
            task.cancel()


class Hub:
    """Asks for one scope and one set of filters, for all of its streams."""

    def __init__(
        self,
        reads: Reads,
        config: QueryConfig,
        events: Events,
        filters: tuple[Filter, ...],
        moment: "Moment",
        asking: asyncio.Lock,
    ) -> None:
        self.events = events
        self.streams: set[Backlog] = set()
        self.overlap_ms = round(config.live_overlap_s * 1000)
        # By ClickHouse's clock: everything inserted up to `since_ms` was seen, and all that was visible at
        # `position_ms`.
        self.since_ms = 0
        self.position_ms = 0
        self.problem: Exception | None = None  # of the latest question
        self._reads = reads
        self._poll_s = config.live_poll_s
        self._filters = filters
        self._moment = moment
        self._asking = asking
        self._seen: dict[bytes, int] = {}  # key → at_ms, oldest first
        # Of a question that needs several pages: the last event so far, and the moment when it began.
        self._after: New | None = None
        self._asked_ms = 0
        self._had_a_turn = asyncio.Event()
        self._looked = asyncio.Event()
        self._succeeded = asyncio.Event()
        # Not in the context of the request that happens to be the first.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def first_turn(self) -> None:
        await self._had_a_turn.wait()

    async def first_look(self, *, until_it_succeeds: bool = False) -> None:
        await (self._succeeded if until_it_succeeds else self._looked).wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        failures = 0
        while True:
            # One page in each turn: who has a lot to catch up with does not keep the others waiting.
            async with self._asking:
                started = time.monotonic()
                self.problem = await self._attempt(first=not failures)
                self._had_a_turn.set()
                # Whoever asks next, leaves ClickHouse as much time as this took.
                await asyncio.sleep(min(time.monotonic() - started, self._poll_s))
            failures = failures + 1 if self.problem is not None else 0
            if self.problem is None:
                if self._after is not None:
                    continue
                self._succeeded.set()
            self._looked.set()
            await asyncio.sleep(max(self._poll_s, _retry_s(failures)))

    async def _attempt(self, *, first: bool) -> Exception | None:
        """Asks for one page; what a client would be told if it failed. Only the `first` failure is news."""
        try:
            await self._ask()
        except NealyticsError as error:
            if first:
                log.warning("live: %s; the streams wait", error)
            return refusal(error)
        except Exception as error:
            # The edge: the streams stay, whatever it is, and the next question may succeed.
            log.exception("live: new events cannot be read")
            return error
        return None

    async def _ask(self) -> None:
        await self._reads.fence.prove()
        try:
            if self._after is None:
                # Before the events: what is true of this moment must be true of them.
                self._asked_ms = await self._moment.now_ms()
            if not self.since_ms:
                self.since_ms = self._asked_ms - self.overlap_ms
            page = await live.page_of(self.events, self._filters, self.since_ms, self._after)
        except ClickHouseError as error:
            self._reads.fence.doubt(error)
            raise
        self._hand_out(page.events)
        if not page.is_last:
            self._after = page.events[-1]
            return
        self._after = None
        self.position_ms = max(self.position_ms, self._asked_ms)
        self.since_ms = max(self.since_ms, self._asked_ms - self.overlap_ms)
        # No question will find the others again.
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms > self.since_ms}

    def _hand_out(self, found: list[New]) -> None:
        new = unseen(found, self._seen)
        if new and self._succeeded.is_set():
            for stream in self.streams:
                stream.put(new)


class Moment:
    """ClickHouse's clock, by which `inserted_at` is. Asked once for all hubs and a while, so never ahead."""

    def __init__(self, client: ClickHouseClient, good_for_s: float) -> None:
        self._client = client
        self._good_for_s = good_for_s
        self._asked_at = -math.inf
        self._now_ms = 0

    async def now_ms(self) -> int:
        """What it showed at most `good_for_s` ago. Raises `ClickHouseError`."""
        asked_at = time.monotonic()
        if asked_at - self._asked_at > self._good_for_s:
            ((now_ms,),) = await self._client.query("SELECT toUnixTimestamp64Milli(now64(3))")
            self._now_ms, self._asked_at = int(now_ms), asked_at
        return self._now_ms


def unseen(found: list[New], seen: dict[bytes, int]) -> list[New]:
    """Those that are not in `seen` (key → latest `at_ms`), which then has them. It is bounded, so what was
    seen long ago may count as unseen."""
    new = []
    for event in found:
        before = seen.get(event.key)
        if before is None:
            new.append(event)
        if before is None or before < event.at_ms:
            seen[event.key] = event.at_ms
    if len(seen) > SEEN_MAX:
        for key in list(seen)[: len(seen) - SEEN_MAX // 2]:
            del seen[key]
    return new


def size_of(events: list[New]) -> int:
    return sum(len(event.data) for event in events)


def _retry_s(failures: int) -> float:
    return min(RETRY_MAX_S, 0.25 * 2**failures) if failures else 0.0


async def _first_of(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def _next(messages: AsyncGenerator[bytes]) -> bytes:
    return await anext(messages)


def _is_read(request: web.Request) -> bool:
    """Whether the client takes what it is sent; an end would otherwise wait behind what it does not."""
    transport = request.transport
    return transport is not None and not request.protocol.writing_paused


def _give_up_on_the_dead(request: web.Request, heartbeat_s: float) -> None:
    """A client whose machine or line is gone sends no end. Its heartbeats stay unconfirmed; after some of
    them the kernel reports the connection as lost, instead of after a quarter of an hour."""
    sock = request.transport.get_extra_info("socket") if request.transport is not None else None
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(3_000 * heartbeat_s))
