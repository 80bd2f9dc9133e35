"""The server side of a connection: what aiohttp leaves open, closed.

aiohttp waits for ever for a head, accepts any number of connections, and answers broken requests in plain
text. This does the same work with limits:

    head            complete within `header_timeout_s` of its first byte or of the connection; else 408
    body            `ingest.body` reads it, with its own limits; `head_s` tells what the head has used up
    idle            closed `keepalive_timeout_s` after an answer
    connections     `connections_max` per worker; one more gets 503 and is closed
    answer          cut off if the client reads nothing of it for `body_idle_timeout_s`
    broken request  400 as JSON, close
    Expect          417 as JSON, if it is another than 100-continue

Heads and answers are watched by one sweep over all connections, not by a timer each: 20,000 idle connections
cost 5 ms every second, and a busy one nothing.
"""

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from nealytics.config import Config, ServerConfig
from nealytics.http.responses import (
    ErrorBody,
    answer_headers,
    error_response,
    http_exception_response,
    raw_error,
)
from nealytics.observe import request_id

log = logging.getLogger("nealytics.http")

_BACKLOG = 4096
_SWEEP_S_MAX = 1.0
# How long one that is turned away may take to read why.
_TURNED_AWAY_S = 1.0
_BUSY_RETRY_AFTER_S = 5


# POST routes that need neither the router nor a chain of middlewares: path → what to do. Both together cost
# 5 µs, a seventh of aiohttp's work on a small request.
DIRECT_POSTS: web.AppKey[dict[str, Handler]] = web.AppKey("direct_posts", dict)


class Connection(web.RequestHandler):
    """One client connection."""

    __slots__ = ("_head_heard", "_head_since", "_out", "_unread", "_unread_since", "head_s", "on_lost")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_since = 0.0  # when the head that is being received began; 0 = none is
        self._head_heard = False
        # aiohttp's `transport` is gone as soon as it is closed, its answers unread perhaps for ever.
        self._out: asyncio.Transport | None = None
        self._unread = 0  # bytes of answers that the client had not taken when last looked at
        self._unread_since = 0.0
        self.head_s = 0.0  # what the head of the latest request took
        self.on_lost: Callable[[], None] | None = None  # for a handler that waits for something else

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server = cast(_Server, self._manager)
        if server.is_full:
            self._turn_away(cast(asyncio.Transport, transport))
            return
        self._out = cast(asyncio.Transport, transport)
        # Who connects must say something soon.
        self._head_since = self._loop.time()
        super().connection_made(transport)

    def _turn_away(self, transport: asyncio.Transport) -> None:
        self._manager = None  # so aiohttp ignores what this connection still does
        self._force_close = True
        error = ErrorBody(
            "too_many_connections",
            "this worker has all the connections it may have",
            "Try again later.",
            request_id.new(),
        )
        log.warning(
            "http: a connection is turned away: %s", error.message, extra={"request_id": error.request_id}
        )
        transport.write(
            raw_error("503 Service Unavailable", error, {"Retry-After": str(_BUSY_RETRY_AFTER_S)})
        )
        # Closing at once, with a request unread, would reset the connection and take the answer with it.
        if transport.can_write_eof():
            transport.write_eof()
        self._loop.call_later(_TURNED_AWAY_S, transport.close)

    def data_received(self, data: bytes) -> None:
        waits_for_request = self._waiter is not None
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self.head_s = self._loop.time() - self._head_since if self._head_since else 0.0
            self._head_since = 0.0
            self._head_heard = False
        elif waits_for_request and data:
            self._head_heard = True
            if not self._head_since:
                self._head_since = self._loop.time()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def _process_keepalive(self) -> None:
        if self._head_heard:
            # No longer idle: the next head has begun, and it has a time of its own.
            self._keepalive_handle = None
        else:
            super()._process_keepalive()

    def close_if_head_is_late(self, oldest: float) -> None:
        if 0.0 < self._head_since < oldest:
            self._head_since = 0.0
            # To one who never began, silence is the better answer: a browser opens connections in advance.
            if self._head_heard and self.transport is not None:
                error = ErrorBody(
                    "request_timeout",
                    "the head of the request did not arrive in time",
                    "Send it at once.",
                    request_id.new(),
                )
                self.transport.write(raw_error("408 Request Timeout", error))
            self.force_close()

    def cut_off_if_unread(self, now: float, oldest: float) -> None:
        """A client that asks and does not read would keep its connection, and the answers, for ever."""
        unread = _unread_bytes(self._out) if self._out is not None else 0
        if not self._unread or unread < self._unread:
            self._unread_since = now
        elif self._unread_since < oldest:
            cast(asyncio.Transport, self._out).abort()
        self._unread = unread

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What could not be parsed, and what went wrong around the middleware."""
        if not request_id.current():
            request_id.begin(None)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
            response = error_response(
                500, "internal_error", "something went wrong here", "It is in the server's log; try again."
            )
        else:
            # Not its text: that may quote the request line, and so a key.
            log.info("http: a request from %s is not valid HTTP: %s", request.remote, type(exc).__name__)
            response = error_response(
                status, "bad_request", "the request is not valid HTTP", f"{type(exc).__name__}: see RFC 9112."
            )
        response.headers.update(answer_headers())
        response.force_close()
        return response


def _unread_bytes(transport: asyncio.Transport) -> int:
    """What the peer has not acknowledged: ours, and the kernel's megabytes, for which a slow line may need
    longer than any patience. 0 if none waits here: then the kernel has all, and nothing is held for it."""
    ours = transport.get_write_buffer_size()
    if not ours:
        return 0
    try:
        sock = transport.get_extra_info("socket")
        (kernels,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except OSError:
        kernels = 0  # it was closed in this moment
    return ours + int(kernels)


class _Server(web.Server):
    """Makes `Connection`s, and knows when there are enough."""

    def __init__(self, app: web.Application, app_server: web.Server, config: ServerConfig) -> None:
        handle = app_server.request_handler
        direct_posts = app.get(DIRECT_POSTS, {})
        paths = frozenset(resource.canonical for resource in app.router.resources())

        def dispatch(request: web.Request) -> Awaitable[web.StreamResponse]:
            path = request.rel_url.path_safe  # what the router looks at: %2F is no slash
            if path not in paths:
                # The C# engine took its paths in any case and with a slash at the end.
                path = path.lower().removesuffix("/")
                if path in paths:
                    request = request.clone(rel_url=request.rel_url.with_path(path, keep_query=True))
            if hdrs.EXPECT in request.headers:
                return _expecting(handle, request)
            if request.method == "POST":
                return direct_posts.get(path, handle)(request)
            return handle(request)

        super().__init__(
            cast(Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], dispatch),
            request_factory=app_server.request_factory,
        )
        self._connections_max = config.connections_max
        self._options = {
            "access_log": None,
            "auto_decompress": False,  # ingest.decompression has a cap and more encodings
            "keepalive_timeout": config.keepalive_timeout_s,
            # A read may filter by an item id of 2,048 characters, percent-encoded; a token may have 8 KB.
            "max_line_size": 64 * 1024,
            "max_field_size": 16 * 1024,
            # How long the rest of a body is read and dropped after an answer that did not wait for it.
            "lingering_time": min(10.0, config.body_idle_timeout_s),
        }

    @property
    def is_full(self) -> bool:
        return 0 < self._connections_max <= len(self._connections)

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._options)


async def _expecting(handle: Handler, request: web.Request) -> web.StreamResponse:
    """aiohttp looks at `Expect` before it asks any middleware, and refuses in plain text."""
    try:
        return await handle(request)
    except web.HTTPExpectationFailed as error:
        request_id.begin(request.headers.get(request_id.HEADER))
        response = http_exception_response(error, request.path)
        response.headers.update(answer_headers())
        return response


class HttpServer:
    """Serves an application on sockets that listen already."""

    def __init__(self, app: web.Application, config: Config) -> None:
        self._config = config.server
        self._runner = web.AppRunner(app, handle_signals=False)
        self._server: _Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, *listeners: socket.socket) -> None:
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._server = _Server(self._runner.app, self._runner.server, self._config)
        for sock in listeners:
            self._listeners.append(await loop.create_server(self._server, sock=sock, backlog=_BACKLOG))
        self._sweep_connections()

    async def stop(self, timeout_s: float) -> None:
        """No new connections; idle ones are closed, requests under way are answered, and what is not done
        after `timeout_s` is cut off."""
        for listener in self._listeners:
            listener.close()
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.pre_shutdown()
            # Answers that would not end by themselves are ended by who gives them (`app.on_shutdown`).
            await self._runner.shutdown()
            await self._server.shutdown(timeout_s)
        await self._runner.cleanup()

    def _sweep_connections(self) -> None:
        assert self._server is not None
        loop = asyncio.get_running_loop()
        now = loop.time()
        oldest_head = now - self._config.header_timeout_s
        oldest_unread = now - self._config.body_idle_timeout_s
        for connection in cast(list[Connection], self._server.connections):
            connection.close_if_head_is_late(oldest_head)
            connection.cut_off_if_unread(now, oldest_unread)
        delay_s = min(_SWEEP_S_MAX, self._config.header_timeout_s / 4, self._config.body_idle_timeout_s / 4)
        self._sweep = loop.call_later(delay_s, self._sweep_connections)
