"""The bytes of a request body, within limits of size and time.

aiohttp reads without such limits. Here a body has a largest size, a longest pause and a deadline.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from aiohttp import HttpVersion11, hdrs, web

from nealytics.config import IngestConfig, ServerConfig
from nealytics.errors import Refused
from nealytics.ingest.connection import connection_of
from nealytics.ingest.decompression import BODY_SETTING, check_encoding, decompress, too_large
from nealytics.ingest.slices import Slices
from nealytics.pace import Pace

# Joining more than this takes milliseconds, mostly for fresh memory. Joining releases the interpreter's lock.
_JOINED_HERE_BYTES_MAX = 4 * 1024 * 1024
_PIECE_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b\x08"
# The chunks of a client may have one byte each, and joining them takes 0.7 µs each.
_CHUNKED_READ_BYTES = 4 * 1024


class BodyReader:
    """Reads bodies; raises `Refused` (400, 408, 413, 415), or `ConnectionError` if the client has left.

    With `finds_gzip`, whether a body is gzip is decided by its first bytes, not by the head.
    """

    def __init__(
        self,
        ingest: IngestConfig,
        server: ServerConfig,
        slices: Slices,
        *,
        bytes_max: int = 0,
        setting: str = BODY_SETTING,
        finds_gzip: bool = False,
    ) -> None:
        self._slices = slices
        self._bytes_max = bytes_max or ingest.body_bytes_max
        self._setting = setting
        self._finds_gzip = finds_gzip
        self._decompression = ingest.decompression
        self._idle_s = server.body_idle_timeout_s
        self._request_s = server.request_timeout_s

    def check_head(self, request: web.BaseRequest) -> str:
        """Checks the head before a byte of the body is read. Returns the Content-Encoding."""
        headers = request.headers
        if (length := request.content_length) is not None and length > self._bytes_max:
            raise too_large(self._bytes_max, self._setting)
        if hdrs.CONTENT_ENCODING not in headers:
            return ""
        encoding = ",".join(headers.getall(hdrs.CONTENT_ENCODING))
        check_encoding(encoding, allowed=self._decompression)
        return encoding

    def encoding_of(self, body: bytes, said: str) -> str:
        """The Content-Encoding of a body whose head says `said`."""
        if not self._finds_gzip:
            return said
        if body.startswith(_GZIP_MAGIC):
            check_encoding("gzip", allowed=self._decompression)
            return "gzip"
        return "" if said.strip().lower() in ("gzip", "x-gzip") else said

    async def receive(self, request: web.BaseRequest) -> bytes:
        """The whole body, as it was sent."""
        content = request.content
        # Nearly always the whole body arrived with the head: no task switch, no timer.
        has_arrived = content.is_eof() and (
            content.total_bytes <= _CHUNKED_READ_BYTES or request.content_length is not None
        )
        body = content.read_nowait() if has_arrived else await self._receive(request)
        if len(body) > self._bytes_max:
            raise too_large(self._bytes_max, self._setting)
        return body

    async def decompress(self, body: bytes, encoding: str, pay: Callable[[int], Awaitable[None]]) -> bytes:
        """`body` without its Content-Encoding. After each slice of the work, `pay` is awaited with the number
        of bytes so far."""
        pieces: list[bytes] = []
        await self._slices.run(
            _collect(decompress(body, encoding, self._bytes_max, self._setting), pieces), pay
        )
        return await join(pieces)

    async def _receive(self, request: web.BaseRequest) -> bytes:
        expects = request.headers.get(hdrs.EXPECT, "").lower()
        if expects == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # it is not a part of the answer
        now = asyncio.get_running_loop().time
        connection = connection_of(request)
        # The head has used up some of the request's time.
        end = now() + self._request_s - (connection.head_s if connection is not None else 0.0)
        content = request.content
        # Gathered, because a client may send single bytes; in pieces, because a large body would be copied.
        read_bytes = _PIECE_BYTES if request.content_length is not None else _CHUNKED_READ_BYTES
        pace = Pace()
        pieces: list[bytes] = []
        piece = bytearray()
        size = 0
        try:
            while True:
                async with asyncio.timeout_at(min(end, now() + self._idle_s)):
                    chunk = await content.read(read_bytes)
                piece += chunk
                if not chunk or len(piece) >= _PIECE_BYTES:
                    pieces.append(bytes(piece))
                    piece.clear()
                if not chunk:
                    return await join(pieces)
                await pace.rest()
                size += len(chunk)
                if size > self._bytes_max:
                    raise too_large(self._bytes_max, self._setting)
        except TimeoutError:
            raise Refused(
                408,
                "request_timeout",
                f"the body arrived too slowly: {size} bytes in {self._spent_s(end, now()):.1f} s",
                detail=f"A pause may last {self._idle_s:g} s, and the whole request {self._request_s:g} s.",
                headers={hdrs.CONNECTION: "close"},
            ) from None
        except web.RequestPayloadError as error:
            raise Refused(
                400,
                "bad_request",
                "the body is not valid HTTP",
                detail="Its chunks are malformed, or it ended too early. Nothing was stored.",
                headers={hdrs.CONNECTION: "close"},
            ) from error

    def _spent_s(self, end: float, now: float) -> float:
        return self._request_s - (end - now)


def _collect(decoded: Iterator[bytes], pieces: list[bytes]) -> Iterator[int]:
    """Appends decoded bytes to `pieces`; yields their number so far."""
    size = 0
    for piece in decoded:
        pieces.append(piece)
        size += len(piece)
        yield size


async def join(pieces: list[bytes]) -> bytes:
    if len(pieces) == 1:
        return pieces[0]
    if sum(map(len, pieces)) <= _JOINED_HERE_BYTES_MAX:
        return b"".join(pieces)
    return await asyncio.to_thread(b"".join, pieces)
