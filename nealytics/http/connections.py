"""The server side of a connection: what aiohttp leaves open, closed.

aiohttp waits for ever for a head, accepts any number of connections, and answers broken requests in plain
text. This does the same work with limits:

    head            complete within `header_timeout_s` of its first byte or of the connection; else 408,
                    also where its first bytes came together with the request before
    body            `ingest.body` reads it, with its own limits; `head_s` tells what the head has used up
    idle            closed `keepalive_timeout_s` after an answer
    connections     `connections_max` per worker; one more gets 503 and is closed
    answer          cut off if the client reads it at less than `answer_bytes_per_s_min`, measured over
                    `body_idle_timeout_s`
    broken request  400 as JSON, close; also without a version, or with more chunk framing than body
    CONNECT         405 as JSON, close
    Expect          417 as JSON, if it is another than 100-continue
    stop            every answer says `Connection: close`; nothing that was sent to us is reset

An idle connection is closed gently, at its timeout and at a stop: FIN first, then a second in which it is
still read. Closing at once with a request in flight would reset the connection.

Heads and answers are watched by one sweep over all connections, not by a timer each: 20,000 idle connections
cost 5 ms every second, and a busy one nothing.
"""

import asyncio
import logging
import select
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from aiohttp import HttpVersion10, StreamReader, hdrs, web
from aiohttp.http_exceptions import BadStatusLine, HttpProcessingError
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import _ErrInfo

from nealytics.config import Config, ServerConfig
from nealytics.http.responses import (
    ErrorBody,
    ReadyAnswer,
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

# A request that nobody sent. Only a parser that holds no part of another request takes it as it is.
_PROBE_PATH = "/.nealytics-probe"
_PROBE = f"GET {_PROBE_PATH} HTTP/1.1\r\nHost: .\r\n\r\n".encode()

# What the framing of a chunked body may take beside the body: so much for each of its bytes (the smallest
# chunk has 5), and so much for extensions and trailers. llhttp reads extensions of any length.
_FRAMING_PER_BYTE = 16
_FRAMING_MAX = 16 * 1024

# After our FIN: how long the client may take to close its side.
_LINGER_S = 1.0
# At a stop: how long an idle connection may bring one more request, so that a client which keeps its
# connections learns of the stop by an answer with `Connection: close` instead of losing a request to our FIN.
_LAST_REQUEST_S = 1.0
_STOP_CHECK_S = 0.05
_TURNS_TO_ACCEPT = 5
# What has no answer yet after this part of the time for a stop gets 503; the rest is for the answer to leave.
_GIVE_UP_AFTER = 0.8


# POST routes that need neither the router nor a chain of middlewares: path → what to do. Both together cost
# 5 µs, a seventh of aiohttp's work on a small request.
DIRECT_POSTS: web.AppKey[dict[str, Handler]] = web.AppKey("direct_posts", dict)


class Connection(web.RequestHandler):
    """One client connection."""

    __slots__ = (
        "_body",
        "_framed",
        "_head_heard",
        "_head_since",
        "_head_unsure",
        "_is_answered",
        "_is_broken",
        "_out",
        "_server",
        "_taken",
        "_unread_since",
        "head_s",
        "on_lost",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._server = cast(_Server, self._manager)
        self._head_since = 0.0  # when the head that is being received began; 0 = none is
        self._head_heard = False
        self._head_unsure = False  # whether bytes of the next head came together with the last request
        self._body: StreamReader | None = None  # of the latest request, until it is complete
        self._is_answered = (
            False  # whether that request has its answer, and the rest is only read to be dropped
        )
        self._framed = 0  # bytes that came since the head, if that body comes in chunks
        self._is_broken = False  # whether it is unknown where the next request begins
        # aiohttp's `transport` is gone as soon as it is closed, its answers unread perhaps for ever.
        self._out: asyncio.Transport | None = None
        self._unread_since = 0.0  # when answers began to wait for the client; 0 = none does
        self._taken = 0  # the bytes that it had taken then
        self.head_s = 0.0  # what the head of the latest request took
        self.on_lost: Callable[[], None] | None = None  # for a handler that waits for something else

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.is_full:
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
            "this worker has reached server.connections_max",
            "Try again later.",
            request_id.new(),
        )
        log.warning(
            "http: a connection is refused: %s", error.message, extra={"request_id": error.request_id}
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
        if self._body is not None:
            self._look_at_body(len(data))
        if self._request_count != requests:
            self.head_s = self._loop.time() - self._head_since if self._head_since else 0.0
            self._head_since = 0.0
            self._head_heard = False
            self._head_unsure = True
            if self._messages:
                body = self._messages[-1][1]
                if not body.is_eof():
                    self._body = body
                    self._is_answered = False
                    self._framed = 0
        elif waits_for_request and data:
            if self._head_unsure:
                self._head_unsure = False
                self._head_since = 0.0
            self._head_heard = True
            if not self._head_since:
                self._head_since = self._loop.time()

    def _look_at_body(self, received: int) -> None:
        """Ends a body that will never be complete: its handler would wait for it until it times out."""
        body = self._body
        assert body is not None
        problem = None
        if body.is_eof():
            self._body = None
        elif self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._messages.pop()  # one answer is enough
            problem = "its chunks are malformed"
        else:
            self._framed += received
            framing = self._framed - body.total_bytes
            if framing > _FRAMING_MAX + _FRAMING_PER_BYTE * body.total_bytes:
                problem = "its chunk extensions or trailers are too long"
        if problem is not None:
            self._body = None
            self._is_broken = True
            self._close = True  # aiohttp then ignores what comes
            if not self._is_answered:
                body.set_exception(web.RequestPayloadError(problem))
                return
            body.feed_eof()
            if not self._request_in_progress:
                self.close_gently(self._lingering_time)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def _process_keepalive(self) -> None:
        self._keepalive_handle = None
        # If it is no longer idle, the next head has begun, and it has a time of its own.
        if not self._is_idle:
            return
        if self._loop.time() < self._next_keepalive_close_time:
            super()._process_keepalive()
        else:
            self.close_gently()

    @property
    def _is_idle(self) -> bool:
        """Whether it waits for a request of which no byte has come."""
        return self._waiter is not None and not self._waiter.done() and not self._head_heard

    def close_gently(self, linger_s: float = _LINGER_S) -> None:
        """FIN; what still comes is read and dropped, until the client closes or the time is over."""
        transport = self.transport
        self._force_close = True  # aiohttp then ignores what comes
        if self._waiter is not None:
            self._waiter.cancel()
        if transport is None or transport.is_closing():
            return
        transport.write_eof()
        self._loop.call_later(linger_s, transport.close)

    def close_if_idle(self) -> None:
        if self._is_idle:
            self.close_gently()

    def give_up(self) -> None:
        """Ends the handler of a request whose answer has not begun; the middleware then answers 503."""
        request, task = self._current_request, self._task_handler
        if request is not None and task is not None and not request.writer.output_size:
            # This task waits for the handler's, which is what ends; it goes on, and sends the answer.
            task.cancel()
            task.uncancel()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._body is not None and request.content is self._body:
            self._is_answered = True
        # Behind a `Connection: close` nothing more is answered, so requests that are here already come first.
        if self._is_broken or (self._server.is_stopping and not self._messages):
            if isinstance(resp, ReadyAnswer):
                resp = resp.plain()
            if not resp.prepared:
                resp.force_close()
        finished = super().finish_response(request, resp, start_time)
        return self._then_close(finished) if self._is_broken else finished

    async def _then_close(
        self, finished: Coroutine[Any, Any, tuple[web.StreamResponse, bool]]
    ) -> tuple[web.StreamResponse, bool]:
        result = await finished
        # A client that is still sending would be reset, and the answer lost, if this closed at once.
        self.close_gently(self._lingering_time)
        return result

    def close_if_head_is_late(self, oldest: float) -> None:
        if self._head_unsure and not self._head_since and self._is_idle:
            self._head_since = self._loop.time()
        if 0.0 < self._head_since < oldest:
            self._head_since = 0.0
            if self._head_unsure:
                self._head_unsure = False
                if not self._head_has_begun():
                    return
                self._head_heard = True
            # To one who never began, silence is the better answer: a browser opens connections in advance.
            if self._head_heard and self.transport is not None:
                error = ErrorBody(
                    "request_timeout",
                    "the headers of the request did not arrive in time",
                    "Send them without a pause.",
                    request_id.new(),
                )
                self.transport.write(raw_error("408 Request Timeout", error))
            self.close_gently()

    def _head_has_begun(self) -> bool:
        """Whether an idle connection's parser holds a part of the next request, which it does not tell.

        If it does, it is of no use any more afterwards.
        """
        if self._parser is None or self._upgraded:
            return False
        try:
            messages, _, _ = self._parser.feed_data(_PROBE)
        except HttpProcessingError:
            return True
        for _ in messages:
            self._parser.message_consumed()
        return [message.path for message, _ in messages] != [_PROBE_PATH]

    def cut_off_if_unread(self, now: float, oldest: float, bytes_per_s_min: int) -> None:
        """A client that asks and hardly reads would keep its connection, and the answers, for ever."""
        out = self._out
        if out is None or not out.get_write_buffer_size():
            # The kernel has all that there is, and nothing is held for it.
            self._unread_since = 0.0
            return
        if not self._unread_since:
            self._unread_since, self._taken = now, _taken_bytes(out)
        elif self._unread_since < oldest:
            taken = _taken_bytes(out)
            if taken - self._taken < max(1.0, bytes_per_s_min * (now - self._unread_since)):
                out.abort()
            self._unread_since, self._taken = now, taken

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What could not be parsed, and what went wrong around the middleware."""
        self._is_broken = True
        if not request_id.current():
            request_id.begin(None)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
            response = error_response(
                500,
                "internal_error",
                "the server failed to process the request",
                "The server's log has the cause; retry.",
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

    async def refuse(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        """400 for what the parser lets pass."""
        request_id.begin(None)
        request._version = HttpVersion10  # for the answer
        return self.handle_error(request, 400, error)

    async def refuse_tunnel(self, request: web.BaseRequest) -> web.StreamResponse:
        """Whatever follows a CONNECT is not HTTP, so the connection ends."""
        self._is_broken = True
        request_id.begin(request.headers.get(request_id.HEADER))
        response = error_response(
            405,
            "method_not_allowed",
            "this is not a proxy",
            "Use GET or POST.",
            headers={hdrs.ALLOW: "GET, POST"},
        )
        response.headers.update(answer_headers())
        return response


def _taken_bytes(transport: asyncio.Transport) -> int:
    """How many bytes the peer has acknowledged since it connected. What waits in the kernel is not among
    them: for its megabytes a slow line may need longer than any patience."""
    try:
        sock = transport.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    except OSError:
        return 0  # it was closed in this moment
    return int.from_bytes(info[_BYTES_ACKED:], sys.byteorder)


# Where tcpi_bytes_acked is in Linux's struct tcp_info, since 4.1.
_BYTES_ACKED = 120


class _Server(web.Server):
    """Makes `Connection`s, and knows when there are enough."""

    def __init__(self, app: web.Application, app_server: web.Server, config: ServerConfig) -> None:
        handle = app_server.request_handler
        direct_posts = app.get(DIRECT_POSTS, {})
        paths = frozenset(resource.canonical for resource in app.router.resources())
        prefix = config.path_prefix.lower()

        def dispatch(request: web.Request) -> Awaitable[web.StreamResponse]:
            method = request.method
            if request._version.major < 1:  # `version` would be kept, and be that of the answer
                connection = cast(Connection, request.protocol)
                return connection.refuse(request, BadStatusLine("the request line has no version"))
            if method == hdrs.METH_CONNECT:
                return cast(Connection, request.protocol).refuse_tunnel(request)
            path = request.rel_url.path_safe  # what the router looks at: %2F is no slash
            if path not in paths:
                # The C# engine took its paths in any case and with a slash at the end.
                path = path.lower().removesuffix("/").removeprefix(prefix)
                if path in paths:
                    request = request.clone(rel_url=request.rel_url.with_path(path, keep_query=True))
            if hdrs.EXPECT in request.headers:
                return _expecting(handle, request)
            return direct_posts.get(path, handle)(request) if method == "POST" else handle(request)

        super().__init__(
            cast(Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], dispatch),
            request_factory=app_server.request_factory,
        )
        self.is_stopping = False
        self._connections_max = config.connections_max
        self._options = {
            "access_log": None,
            "auto_decompress": False,  # ingest.decompression has a cap and more encodings
            "keepalive_timeout": config.keepalive_timeout_s,
            # A read may filter by an item id of 2,048 characters, percent-encoded; a token may have 16 KB.
            "max_line_size": 64 * 1024,
            "max_field_size": 17 * 1024,
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
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, *listeners: socket.socket) -> None:
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._server = _Server(self._runner.app, self._runner.server, self._config)
        self._sockets = list(listeners)
        for sock in listeners:
            self._listeners.append(await loop.create_server(self._server, sock=sock, backlog=_BACKLOG))
        self._sweep_connections()

    async def stop(self, timeout_s: float) -> None:
        """No new connections, an answer for every request, and after `timeout_s` at the latest the end.

        Requests that wait for something far off are refused by who lets them wait, and streams are ended by
        who sends them (`app.on_shutdown`). What has no answer when most of the time is over gets 503.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._server is not None:
            self._server.is_stopping = True
        # Connections that the kernel has accepted for us would be reset. uvloop takes one of them in each
        # turn; asyncio makes a task of each, which needs some turns more.
        for _ in range(_BACKLOG):
            if not self._has_waiting_connections():
                break
            await asyncio.sleep(0)
        for _ in range(_TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()
        self._sockets = []
        await self._runner.shutdown()
        if self._server is not None:
            await self._let_go(started, timeout_s)
            # aiohttp would take 0 for no limit.
            await self._server.shutdown(_STOP_CHECK_S)
        if self._sweep is not None:
            self._sweep.cancel()
        await self._runner.cleanup()

    def _has_waiting_connections(self) -> bool:
        poller = select.poll()
        for sock in self._sockets:
            poller.register(sock.fileno(), select.POLLIN)
        return bool(poller.poll(0))

    async def _let_go(self, started: float, timeout_s: float) -> None:
        """Returns when no connection is left, or when the time is up."""
        assert self._server is not None
        loop = asyncio.get_running_loop()
        close_idle_at = started + min(_LAST_REQUEST_S, timeout_s / 4)
        give_up_at = started + timeout_s * _GIVE_UP_AFTER
        while (connections := cast(list[Connection], self._server.connections)) and (
            now := loop.time()
        ) < started + timeout_s:
            for connection in connections:
                if now >= close_idle_at:
                    connection.close_if_idle()
                if now >= give_up_at:
                    connection.give_up()
            await asyncio.sleep(_STOP_CHECK_S)

    def _sweep_connections(self) -> None:
        assert self._server is not None
        loop = asyncio.get_running_loop()
        now = loop.time()
        oldest_head = now - self._config.header_timeout_s
        oldest_unread = now - self._config.body_idle_timeout_s
        for connection in cast(list[Connection], self._server.connections):
            connection.close_if_head_is_late(oldest_head)
            connection.cut_off_if_unread(now, oldest_unread, self._config.answer_bytes_per_s_min)
        delay_s = min(_SWEEP_S_MAX, self._config.header_timeout_s / 4, self._config.body_idle_timeout_s / 4)
        self._sweep = loop.call_later(delay_s, self._sweep_connections)
