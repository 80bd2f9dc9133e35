"""aiohttp's connection with the fast lane in front of it; `connections` adds the limits."""

from typing import Any, Protocol, cast

from aiohttp import web

from nealytics.http.fast_lane import Client, FastLane, Lane
from nealytics.http.watches import HeadWatch
from nealytics.observe.otel import RequestSpan


class Server(Protocol):
    """What a connection knows of `listener.Server`."""

    is_stopping: bool
    lane: FastLane | None

    @property
    def is_full(self) -> bool: ...


class LanedConnection(web.RequestHandler):
    """A `fast_lane.Client`, but for `close_gently`. Subclasses override `feed`, not `data_received`."""

    __slots__ = ("_head", "_lane", "_server", "span")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._server = cast(Server, self._manager)
        self._head = HeadWatch()
        self._lane = Lane(cast(Client, self), self._server.lane) if self._server.lane is not None else None
        self.span: RequestSpan | None = None

    def data_received(self, data: bytes) -> None:
        if self._lane is None or not self._lane.received(data):
            self.feed(data)

    def feed(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._lane is not None:
            began = self._request_count - requests
            self._lane.ends.fed(data, [body for _, body in list(self._messages)[-began:]] if began else [])

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._lane is not None:
            self._lane.lost()

    @property
    def is_free(self) -> bool:
        if self._messages or self._request_in_progress or self._force_close or self._close or self._upgraded:
            return False
        waiter = self._waiter
        # Before its first request, aiohttp's task may not have run yet.
        return not waiter.done() if waiter is not None else not self._request_count

    @property
    def is_stopping(self) -> bool:
        return self._server.is_stopping

    @property
    def address(self) -> str:
        """As aiohttp's `request.remote`; empty for a unix socket."""
        peer = self.peername
        return str(peer[0]) if isinstance(peer, list | tuple) else str(peer or "")

    def request_taken(self) -> None:
        self._head.taken()

    def request_answered(self) -> None:
        """The connection is kept as long as after an answer of aiohttp."""
        close_at = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_at
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)
