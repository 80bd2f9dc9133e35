"""Large answers: encoded in slices, and sent as fast as the client reads.

No step blocks the event loop for more than some milliseconds, whatever the size of the answer. Bytes that
are not sent yet are charged to the worker's budget until the kernel has them (`unread`).
"""

import hashlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from aiohttp import hdrs, web

from nealytics.http.unread import Charge
from nealytics.pace import SLICE_BYTES, Pace

# Elements of a list that are encoded at a time. Few, because the next ones may be far larger.
_ELEMENTS_MAX = 64
# Placeholder of a list. JSON never contains NUL, and msgspec inserts a Raw unchanged.
_GAP = b"\0"

# Decimals are numbers, with all their digits.
encoder = msgspec.json.Encoder(decimal_format="number")


class Body:
    """An encoded answer, in pieces."""

    def __init__(self, pieces: deque[bytes], tag: str) -> None:
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.tag = tag  # an ETag


async def encoded(answer: msgspec.Struct, charge: Charge) -> Body:
    """The same bytes as of `encoder`. Their size is added to `charge`, which may refuse."""
    lists: dict[str, list[Any]] = {
        name: value
        for name in answer.__struct_fields__
        if isinstance(value := getattr(answer, name), list) and value
    }
    gaps = dict.fromkeys(lists, msgspec.Raw(_GAP))
    first, *others = encoder.encode(msgspec.structs.replace(answer, **gaps)).split(_GAP)
    pieces: deque[bytes] = deque()
    digest = hashlib.blake2b(digest_size=16)
    gathered = bytearray(first)

    def put() -> None:
        charge.add(len(gathered))
        digest.update(gathered)
        pieces.append(bytes(gathered))
        gathered.clear()

    for elements, after in zip(lists.values(), others, strict=True):
        gathered += b"["
        async for piece in _elements(elements):
            gathered += piece
            if len(gathered) >= SLICE_BYTES:
                put()
        gathered += b"]" + after
    put()
    return Body(pieces, f'"{digest.hexdigest()}"')


async def _elements(elements: Sequence[Any]) -> AsyncIterator[bytes]:
    pace = Pace()
    at, count = 0, 1
    while at < len(elements):
        some = encoder.encode(elements[at : at + count])
        yield some[1:-1] if at == 0 else b"," + some[1:-1]
        at += count
        count = max(1, min(_ELEMENTS_MAX, 2 * count, count * SLICE_BYTES // len(some)))
        await pace.rest()


async def send(request: web.Request, response: web.StreamResponse, body: Body, charge: Charge) -> None:
    """Sends the whole body; `response` has its headers. Returns when the kernel has the last byte. Raises
    `ConnectionError` if the client disconnects."""
    response.content_length = body.size
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return
    await send_pieces(request, response, body.pieces, charge)
    await response.write_eof()


async def send_pieces(
    request: web.Request, response: web.StreamResponse, pieces: deque[bytes], charge: Charge
) -> None:
    """Sends a part of an answer after its head. Returns when the kernel has the last byte. Raises
    `ConnectionError` if the client disconnects."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client disconnected")
    # With this, `drain` waits until the kernel has every byte of the answer.
    transport.set_write_buffer_limits(high=0)
    pace = Pace()
    while pieces:
        piece = pieces.popleft()
        await response.write(piece)
        await request.writer.drain()
        charge.give_back(len(piece))
        await pace.rest()
    transport.set_write_buffer_limits()
