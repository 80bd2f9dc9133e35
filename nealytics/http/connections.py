"""The server side of a connection: the limits that aiohttp does not have.

aiohttp waits for ever for a head, accepts any number of connections, and answers broken requests in plain
text. This class adds limits:

    head            complete within `header_timeout_s` of its first byte or of the connection; else 408.
                    The first bytes may arrive together with the previous request
    body            `ingest.body` reads it, with its own limits; `head_s` is what the head has used up
    idle            closed `keepalive_timeout_s` after an answer
    connections     `connections_max` per worker; one more gets 503 and is closed
    answer          cut off if the client reads it at less than `answer_bytes_per_s_min`, measured over
                    `body_idle_timeout_s`
    broken request  400 as JSON, close; also without a version, or with more chunk framing than body
    CONNECT         405 as JSON, close
    Expect          417 as JSON, except for 100-continue
    stop            every answer says `Connection: close`; no connection with unread data is reset

An idle connection is closed gently, at its timeout and at a stop: FIN first, then a second in which it is
still read. Closing at once with a request in flight would reset the connection.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, cast

from aiohttp import HttpVersion10, StreamReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpParser
from aiohttp.web_protocol import _ErrInfo

from nealytics.http.laned import LanedConnection
from nealytics.http.responses import ErrorBody, ReadyAnswer, answer_headers, error_response, raw_error
from nealytics.http.watches import UnreadWatch, framing_problem
from nealytics.observe import request_id

log = logging.getLogger("nealytics.http")

# How long a client that is refused has to read the answer.
_REFUSED_S = 1.0
_BUSY_RETRY_AFTER_S = 5

# A request of our own. A parser that holds a part of another request does not parse it as it is.
_PROBE_PATH = "/.nealytics-probe"
_PROBE = f"GET {_PROBE_PATH} HTTP/1.1\r\nHost: .\r\n\r\n".encode()

# After our FIN: how long the client may take to close its side.
_LINGER_S = 1.0


class Connection(LanedConnection):
    """One client connection."""

    __slots__ = (
        "_body",
        "_framed",
        "_is_answered",
        "_is_broken",
        "_out",
        "_unread",
        "head_s",
        "on_lost",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._body: StreamReader | None = None  # of the latest request, until it is complete
        self._is_answered = False  # whether that request has its answer, and its rest is read and dropped
        self._framed = 0  # bytes since the head, if that body is chunked
        self._is_broken = False  # whether it is unknown where the next request begins
        # aiohttp forgets its `transport` on close, which may still hold unread answers.
        self._out: asyncio.Transport | None = None
        self._unread = UnreadWatch()
        self.head_s = 0.0  # what the head of the latest request took
        self.on_lost: Callable[[], None] | None = None  # `ingest.connection.when_lost` sets it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._server.is_full:
            self._manager = None  # so aiohttp ignores what this connection still does
            self._force_close = True
            _refuse_connection(self._loop, cast(asyncio.Transport, transport))
            return
        self._out = cast(asyncio.Transport, transport)
        self._head.connected(self._loop.time())
        super().connection_made(transport)

    def feed(self, data: bytes) -> None:
        waits_for_request = self._waiter is not None
        requests = self._request_count
        super().feed(data)
        if self._body is not None:
            self._check_body(self._body, len(data))
        if self._request_count != requests:
            self.head_s = self._head.completed(self._loop.time())
            if self._messages:
                body = self._messages[-1][1]
                if not body.is_eof():
                    self._body = body
                    self._is_answered = False
                    self._framed = 0
        elif waits_for_request and data:
            self._head.received(self._loop.time())

    def _check_body(self, body: StreamReader, received: int) -> None:
        """Ends a body that will never be complete: its handler would wait for it until it times out."""
        if body.is_eof():
            self._body = None
            return
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._messages.pop()  # one answer is enough
            problem = "its chunks are malformed"
        else:
            self._framed += received
            problem = framing_problem(self._framed, body.total_bytes)
        if not problem:
            return
        self._body = None
        self._is_broken = True
        self._close = True  # aiohttp then ignores what arrives
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
        # If it is no longer idle, the next head has begun, which has its own limit.
        if not self.is_idle:
            return
        if self._loop.time() < self._next_keepalive_close_time:
            super()._process_keepalive()
        else:
            self.close_gently()

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request and no byte of one has arrived."""
        if self._lane is not None and self._lane.is_busy:
            return False
        return self._waiter is not None and not self._waiter.done() and not self._head.is_heard

    def close_gently(self, linger_s: float = _LINGER_S) -> None:
        """Sends FIN; what still arrives is read and dropped, until the client closes or the time is over."""
        transport = self.transport
        self._force_close = True  # aiohttp then ignores what arrives
        if self._waiter is not None:
            self._waiter.cancel()
        if transport is None or transport.is_closing():
            return
        transport.write_eof()
        self._loop.call_later(linger_s, transport.close)

    def give_up(self) -> None:
        """Ends the handler of a request whose answer has not begun; the middleware then answers 503."""
        if self._lane is not None:
            self._lane.give_up()
        request, task = self._current_request, self._task_handler
        if request is not None and task is not None and not request.writer.output_size:
            # Only the handler's task ends: this one waits for it, and then sends the answer.
            task.cancel()
            task.uncancel()

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        if self._body is not None and request.content is self._body:
            self._is_answered = True
        # After a `Connection: close` nothing more is answered, so requests that have arrived come first.
        if self._is_broken or (self._server.is_stopping and not self._messages):
            if isinstance(resp, ReadyAnswer):
                resp = resp.plain()
            if not resp.prepared:
                resp.force_close()
        finished = super().finish_response(request, resp, start_time)
        if not self._is_broken:
            return finished

        async def then_close() -> tuple[web.StreamResponse, bool]:
            result = await finished
            # A client that is still sending would be reset, and the answer lost, if this closed at once.
            self.close_gently(self._lingering_time)
            return result

        return then_close()

    def close_if_head_is_late(self, now: float, oldest: float) -> None:
        head = self._head
        if self.is_idle:
            head.idle(now)
        if not head.is_late(oldest):
            return
        if head.is_unsure:
            has_begun = self._parser is not None and not self._upgraded and _holds_head(self._parser)
            head.probed(has_begun=has_begun)
            if not has_begun:
                return
        # No answer to a client that has sent nothing: browsers open connections in advance.
        if head.is_heard and self.transport is not None:
            error = ErrorBody(
                "request_timeout",
                "the headers of the request did not arrive in time",
                "Send them without a pause.",
                request_id.new(),
            )
            self.transport.write(raw_error("408 Request Timeout", error))
        self.close_gently()

    def cut_off_if_unread(self, now: float, oldest: float, bytes_per_s_min: int) -> None:
        """A client that hardly reads would keep its connection, and the answers, for ever."""
        out = self._out
        if out is None or not out.get_write_buffer_size():
            self._unread.all_sent()
        elif self._unread.is_due(oldest) and self._unread.is_too_slow(
            now, _acknowledged_bytes(out), bytes_per_s_min
        ):
            out.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that cannot be parsed, or that failed outside of the middleware."""
        self._is_broken = True
        if not request_id.current():
            request_id.begin(None)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has already begun")
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
            response = error_response(
                500,
                "internal_error",
                "the server failed to process the request",
                "The server's log has the cause. Retry.",
            )
        else:
            # Without the error's text, which may quote the request line and so a key.
            log.info("http: a request from %s is not valid HTTP: %s", request.remote, type(exc).__name__)
            response = error_response(
                status, "bad_request", "the request is not valid HTTP", f"{type(exc).__name__}: see RFC 9112."
            )
        response.headers.update(answer_headers())
        response.force_close()
        return response

    async def refuse(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        """400 for a request that the parser accepts."""
        request_id.begin(None)
        request._version = HttpVersion10  # for the answer
        return self.handle_error(request, 400, error)

    async def refuse_tunnel(self, request: web.BaseRequest) -> web.StreamResponse:
        """What follows a CONNECT is not HTTP, so the connection ends."""
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


def _refuse_connection(loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
    error = ErrorBody(
        "too_many_connections",
        "this worker has reached server.connections_max",
        "Retry later.",
        request_id.new(),
    )
    log.warning("http: connection refused: %s", error.message, extra={"request_id": error.request_id})
    transport.write(raw_error("503 Service Unavailable", error, {"Retry-After": str(_BUSY_RETRY_AFTER_S)}))
    # Closing at once, with a request unread, would reset the connection and discard the answer.
    if transport.can_write_eof():
        transport.write_eof()
    loop.call_later(_REFUSED_S, transport.close)


def _holds_head(parser: HttpParser[Any]) -> bool:
    """Whether `parser` holds a part of a request. If it does, it is unusable afterwards."""
    try:
        messages, _, _ = parser.feed_data(_PROBE)
    except HttpProcessingError:
        return True
    for _ in messages:
        parser.message_consumed()
    return [message.path for message, _ in messages] != [_PROBE_PATH]


def _acknowledged_bytes(transport: asyncio.Transport) -> int:
    """How many bytes the peer has acknowledged since it connected. Bytes in the kernel's buffer do not count:
    a slow connection may need long for these megabytes."""
    try:
        sock = transport.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
    except OSError:
        return 0  # it has just been closed
    return int.from_bytes(info[_BYTES_ACKED:], sys.byteorder)


# Where tcpi_bytes_acked is in Linux's struct tcp_info, since 4.1.
_BYTES_ACKED = 120
