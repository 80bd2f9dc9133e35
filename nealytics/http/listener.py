"""Serves an application on sockets that are listening already, and stops without losing an answer."""

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadStatusLine
from aiohttp.typedefs import Handler

from nealytics.config import Config, ServerConfig
from nealytics.http.connections import Connection
from nealytics.http.fast_lane import FastLane
from nealytics.http.responses import answer_headers, http_exception_response
from nealytics.observe import request_id

_BACKLOG = 4096
_SWEEP_S_MAX = 1.0
# At a stop: how long an idle connection may send one more request, so that a client which keeps its
# connections learns of the stop by an answer with `Connection: close` instead of losing a request to our FIN.
_LAST_REQUEST_S = 1.0
_STOP_CHECK_S = 0.05
_ROUNDS_TO_ACCEPT = 5
# Requests without an answer after this part of the time for a stop get 503; the rest of the time is for the
# answer to leave.
_GIVE_UP_AFTER = 0.8


# POST routes that need neither the router nor the middlewares: path → what to do. Both together cost 5 µs, a
# seventh of aiohttp's work on a small request.
DIRECT_POSTS: web.AppKey[dict[str, Handler]] = web.AppKey("direct_posts", dict)
# What small ingest requests take, if they take it.
FAST_LANE: web.AppKey[FastLane] = web.AppKey("fast_lane", FastLane)


class Server(web.Server):
    """Makes `Connection`s, up to `connections_max`."""

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
            path = request.rel_url.path_safe  # what the router matches: %2F is no slash
            if path not in paths:
                # The C# engine accepted its paths in any case and with a slash at the end.
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
        self.lane = app.get(FAST_LANE)
        self._connections_max = config.connections_max
        self._options = {
            "access_log": None,
            "auto_decompress": False,  # ingest.decompression has a cap and more encodings
            "keepalive_timeout": config.keepalive_timeout_s,
            # A read may filter by an item id of 2,048 characters, percent-encoded; a token may have 16 KB.
            "max_line_size": 64 * 1024,
            "max_field_size": 17 * 1024,
            # How long the rest of a body is read and dropped after an answer that was sent before it arrived.
            "lingering_time": min(10.0, config.body_idle_timeout_s),
        }

    @property
    def is_full(self) -> bool:
        return 0 < self._connections_max <= len(self._connections)

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._options)


async def _expecting(handle: Handler, request: web.Request) -> web.StreamResponse:
    """aiohttp checks `Expect` before any middleware, and refuses in plain text."""
    try:
        return await handle(request)
    except web.HTTPExpectationFailed as error:
        request_id.begin(request.headers.get(request_id.HEADER))
        response = http_exception_response(error, request.path)
        response.headers.update(answer_headers())
        return response


class HttpServer:
    """`start`, then `stop`."""

    def __init__(self, app: web.Application, config: Config) -> None:
        self._config = config.server
        self._runner = web.AppRunner(app, handle_signals=False)
        self._server: Server | None = None
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._sweep: asyncio.TimerHandle | None = None

    async def start(self, *listeners: socket.socket) -> None:
        await self._runner.setup()
        assert self._runner.server is not None
        loop = asyncio.get_running_loop()
        self._server = Server(self._runner.app, self._runner.server, self._config)
        self._sockets = list(listeners)
        for sock in listeners:
            self._listeners.append(await loop.create_server(self._server, sock=sock, backlog=_BACKLOG))
        self._sweep_connections()

    async def stop(self, timeout_s: float) -> None:
        """Accepts no more connections, answers every request, and returns after `timeout_s` at the latest.

        `app.on_shutdown` refuses requests in queues and ends streams. Requests without an answer when most of
        the time is over get 503.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        if self._server is not None:
            self._server.is_stopping = True
        # Connections that the kernel has accepted would be reset. uvloop accepts one of them in each round of
        # the loop; asyncio makes a task of each, which needs some more rounds.
        for _ in range(_BACKLOG):
            if not self._has_waiting_connections():
                break
            await asyncio.sleep(0)
        for _ in range(_ROUNDS_TO_ACCEPT):
            await asyncio.sleep(0)
        for listener in self._listeners:
            listener.close()
        self._sockets = []
        await self._runner.shutdown()
        if self._server is not None:
            await self._wait_for_connections(started, timeout_s)
            # aiohttp takes 0 as no limit.
            await self._server.shutdown(_STOP_CHECK_S)
        if self._sweep is not None:
            self._sweep.cancel()
        await self._runner.cleanup()

    def _has_waiting_connections(self) -> bool:
        poller = select.poll()
        for sock in self._sockets:
            poller.register(sock.fileno(), select.POLLIN)
        return bool(poller.poll(0))

    async def _wait_for_connections(self, started: float, timeout_s: float) -> None:
        """Returns when no connection is left, or when the time is up."""
        assert self._server is not None
        loop = asyncio.get_running_loop()
        close_idle_at = started + min(_LAST_REQUEST_S, timeout_s / 4)
        give_up_at = started + timeout_s * _GIVE_UP_AFTER
        while (connections := cast(list[Connection], self._server.connections)) and (
            now := loop.time()
        ) < started + timeout_s:
            for connection in connections:
                if now >= close_idle_at and connection.is_idle:
                    connection.close_gently()
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
            connection.close_if_head_is_late(now, oldest_head)
            connection.cut_off_if_unread(now, oldest_unread, self._config.answer_bytes_per_s_min)
        delay_s = min(_SWEEP_S_MAX, self._config.header_timeout_s / 4, self._config.body_idle_timeout_s / 4)
        self._sweep = loop.call_later(delay_s, self._sweep_connections)
