"""The connection of one stream: what is queued for its client, and how it is sent."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from aiohttp import web

from nealytics.http.live_window import Window, size_of
from nealytics.http.streaming import break_off
from nealytics.http.unread import Charge
from nealytics.queries.live import New

BACKLOG_BYTES_MAX = 2 * 1024 * 1024

_HEARTBEAT = b": alive\n\n"
_EXPIRED = b'event: end\ndata: {"code":"token_expired","message":"come back with a new token"}\n\n'

# Why a stream ends.
LEFT, SLOW, EXPIRED, STOPPING = "left", "slow", "expired", "stopping"


class Backlog:
    """Events that one client has yet to receive, and why its stream ends."""

    def __init__(self, charge: Charge) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.is_following = False  # everything was sent, and it waits for its hub
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
        # One batch is always accepted: it may be large by itself.
        if self._batches and self._bytes > BACKLOG_BYTES_MAX:
            self.end(SLOW)
        if self.ended.done():
            return
        if not self._charge.try_add(size):
            self.end(SLOW)
            return
        self._batches.append(batch)
        self._bytes += size
        self.is_following = False
        self._filled.set()

    def hold(self, size: int) -> None:
        """From now on, what is being sent has this size."""
        self._charge.give_back(self._sending)
        self._sending = 0
        if self._charge.try_add(size):
            self._sending = size
        else:
            self.end(SLOW)

    async def next(self) -> list[New]:
        """The next batch to send. The previous one was sent."""
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
        """Does `work`, but no longer than the stream lasts."""
        task = asyncio.ensure_future(work)
        try:
            await _first_of(task, self.ended)
            if task.done():
                task.result()
        finally:
            task.cancel()


async def send(
    request: web.Request,
    response: web.StreamResponse,
    messages: AsyncGenerator[bytes],
    backlog: Backlog,
    *,
    heartbeat_s: float,
    window: Window,
) -> None:
    """Sends `messages`, and a heartbeat after each pause, until the stream ends.

    Raises what `messages` raises, and `ConnectionError`.
    """
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
                    # Everything up to there was sent, so a stream that resumes has less to read.
                    message += b"id: %d\n\n" % window.position_ms
            await backlog.unless_ended(response.write(message))
        await _end(request, response, backlog.ended.result())
    finally:
        if following is not None:
            following.cancel()
            await asyncio.wait({following})
        await messages.aclose()


async def _end(request: web.Request, response: web.StreamResponse, why: str) -> None:
    if why in (LEFT, SLOW) or not _is_read(request):
        break_off(request)
        return
    if why == EXPIRED:
        await response.write(_EXPIRED)
    response.force_close()
    await response.write_eof()


def detect_dead_peer(request: web.Request, heartbeat_s: float) -> None:
    """Makes the kernel report a connection as lost after some unacknowledged heartbeats, instead of after a
    quarter of an hour. A client that lost power or its network sends no FIN."""
    sock = request.transport.get_extra_info("socket") if request.transport is not None else None
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(3_000 * heartbeat_s))


def _is_read(request: web.Request) -> bool:
    """Whether the client reads. Otherwise an end would wait behind unread messages."""
    transport = request.transport
    return transport is not None and not request.protocol.writing_paused


async def _first_of(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)


async def _next(messages: AsyncGenerator[bytes]) -> bytes:
    return await anext(messages)
