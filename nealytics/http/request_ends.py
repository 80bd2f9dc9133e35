"""Whether aiohttp's parser stands between two requests, judged from what it was given and what it made of it.

Pure. It counts: a request has ended if the bytes since the last end are its head and its body, and no more.
If the count does not say so (a chunked body, several requests at a time), nothing is known about the rest of
the connection, and the fast lane takes none of it.
"""

from typing import Protocol

# aiohttp refuses a head long before. What follows a request that it refused is dropped there, and must not be
# kept here.
_HEAD_BYTES_MAX = 128 * 1024


class Body(Protocol):
    total_bytes: int

    def is_eof(self) -> bool: ...


class RequestEnds:
    __slots__ = ("_body", "_bytes", "_head", "_head_bytes", "_is_lost", "is_between")

    def __init__(self) -> None:
        self.is_between = True
        self._is_lost = False
        self._start()

    def _start(self) -> None:
        self._bytes = 0
        self._head = bytearray()
        self._head_bytes = 0  # 0 until its end has arrived
        self._body: Body | None = None

    def fed(self, data: bytes, bodies: list[Body]) -> None:
        """The parser got `data`, and began requests with these bodies."""
        if self._is_lost or (self.is_between and not data):
            return
        self.is_between = False
        self._bytes += len(data)
        if not self._head_bytes:
            searched = max(0, len(self._head) - 3)
            self._head += data
            self._head_bytes = self._head.find(b"\r\n\r\n", searched) + 4
            if self._head_bytes < 4:
                self._head_bytes = 0
                self._is_lost = len(self._head) > _HEAD_BYTES_MAX
            if self._head_bytes or self._is_lost:
                self._head.clear()
        if bodies:
            if self._body is not None or len(bodies) > 1:
                self._is_lost = True
                return
            self._body = bodies[0]
        body = self._body
        if body is not None and body.is_eof() and self._bytes == self._head_bytes + body.total_bytes:
            self._start()
            self.is_between = True
