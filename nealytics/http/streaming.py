"""The routes whose answers are sent while they come: `telemetry/export` and `telemetry/live`.

What the two share is here: how many there may be at once, a head that is complete before the first byte, and
how an answer is broken off. Once the head is out there is no status left to tell a failure by. So a failure
resets the connection, and the answer lacks its end, which a client of HTTP/1.1 reports unless a proxy hides
it (`queries.export_end`); nothing that looks like data is ever sent instead.
"""

import logging
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import cast

import msgspec
from aiohttp import hdrs, web
from aiohttp.http import StreamWriter

from nealytics.auth.scope import Scope
from nealytics.errors import NealyticsError, Refused
from nealytics.http.app import Cors
from nealytics.http.responses import answer_headers
from nealytics.queries.params import Warn

log = logging.getLogger("nealytics.http.streaming")

RETRY_AFTER_S = 5
WARNINGS = "Nealytics-Warnings"


class Places:
    """Limits the concurrent answers of a kind, per worker and per token."""

    def __init__(self, what: str, most: int, most_per_token: int) -> None:
        self._what = what
        self._most = most
        self._most_per_token = most_per_token
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def one(self, scope: Scope) -> Iterator[None]:
        """Holds a place inside the block. Raises `Refused` if there is none."""
        key = scope.key or f"{scope.project_id}\0{scope.tenant_id}"
        if self._taken[key] >= self._most_per_token:
            raise Refused(
                429,
                "too_many_streams",
                f"this token has {self._taken[key]} open {self._what}, which is its maximum",
                detail="Close one of them, or retry later.",
                headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
            )
        if self.taken >= self._most:
            raise Refused(
                503,
                "streams_busy",
                f"this worker has {self.taken} open {self._what}, which is its maximum",
                detail="Retry later.",
                headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
            )
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]


def head_of(
    request: web.Request, cors: Cors, content_type: str, headers: Mapping[str, str], warnings: list[Warn]
) -> web.StreamResponse:
    """An answer to write to, with all headers: the middleware, which adds them to others, sees this one only
    after it was sent."""
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: content_type,
            hdrs.CACHE_CONTROL: "no-store",  # one tenant's data
            "X-Accel-Buffering": "no",  # nginx would buffer it, also on disk
            **answer_headers(),
            **headers,
        }
    )
    if warnings:
        # Headers are ASCII; JSON escapes all other characters.
        text = msgspec.json.encode(warnings).decode().encode("ascii", "backslashreplace").decode()
        response.headers[WARNINGS] = text
    cors.apply(request, response)
    return response


def require_http_1_1(request: web.Request) -> None:
    """HTTP/1.0 ends an answer by closing the connection, so a truncated one would look complete."""
    if request.version < (1, 1):
        raise Refused(
            505,
            "http_1_1_needed",
            "HTTP/1.0 cannot distinguish the end of this answer from a broken connection",
            detail="Use HTTP/1.1. In nginx: proxy_http_version 1.1;",
        )


def break_off(request: web.Request) -> None:
    """Ends the connection so that the answer does not look complete."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # Reset, not FIN: some proxies treat FIN as the end of the answer.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def send_stream(
    request: web.Request,
    response: web.StreamResponse,
    pieces: AsyncGenerator[bytes],
    broken_off: Callable[[Exception], None],
    what: str,
    trailer: Callable[[], str] | None = None,
) -> web.StreamResponse:
    """Sends a file whose first piece decides whether there is one: until then, a failure has a status.

    `broken_off` is called with a later failure. `what` is its name in the log. `trailer` is a header line
    that follows the last piece.
    """
    async with aclosing(pieces):
        piece = await anext(pieces, b"")
        await response.prepare(request)
        try:
            while piece:
                await response.write(piece)
                piece = await anext(pieces, b"")
            if trailer is not None:
                await _write_trailer(request, trailer())
            await response.write_eof()
        except ConnectionError:
            break_off(request)  # the client disconnected, or does not read
        except NealyticsError as error:
            break_off(request)
            broken_off(error)
            log.warning("%s: aborted: %s", what, error.__cause__ or error)
        except Exception as error:
            # An edge: after any error, a partial answer must not look complete.
            break_off(request)
            broken_off(error)
            log.exception("%s: aborted", what)
        except BaseException:
            break_off(request)
            raise
    return response


async def _write_trailer(request: web.Request, line: str) -> None:
    """Ends a chunked answer. aiohttp has no trailers; with `chunked` off it writes no end of its own."""
    writer = cast(StreamWriter, request.writer)
    writer.chunked = False
    await writer.write(f"0\r\n{line}\r\n\r\n".encode())
