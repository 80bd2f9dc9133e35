"""The rows of an answer in the format JSONCompact, decoded while they arrive.

ClickHouse writes each row on one line and escapes line feeds within texts. So a large answer is decoded slice
by slice: it does not block the event loop, and is never in memory twice, as bytes and as rows. An answer with
another layout is decoded as a whole.

JSONCompact is an object that ends with the number of its rows, so a truncated answer never looks complete. In
a format of plain lines it would, if a proxy truncated it at the end of a line.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import msgspec

from nealytics.pace import SLICE_BYTES, Pace

_BEGIN = b'"data":\n\t[\n'
_END = b"\n\t]"
# Names and types of the columns precede the rows; an answer without rows by then has another layout.
_HEAD_BYTES_MAX = 1024 * 1024

_SUMMARY = "X-ClickHouse-Summary"

_rows = msgspec.json.Decoder(list[list[Any]])


class _Statistics(msgspec.Struct, frozen=True):
    rows_read: int = 0


class _Document(msgspec.Struct):
    data: list[list[Any]]
    rows: int | None = None
    statistics: _Statistics = _Statistics()


class Answer(NamedTuple):
    rows: list[list[Any]]
    rows_read: int  # by ClickHouse, for the query


class _Summary(msgspec.Struct, frozen=True):
    read_rows: str | int = 0


def rows_read(headers: Mapping[str, str]) -> int:
    """By ClickHouse, for an answer that it sent after the query had ended (`wait_end_of_query`).

    0 if a proxy removed the header.
    """
    return int(msgspec.json.decode(headers.get(_SUMMARY, "{}"), type=_Summary).read_rows)


class Truncated(ValueError):
    """The answer is not complete."""


async def rows_of(pieces: AsyncIterator[bytes]) -> Answer:
    """Raises `ValueError` if `pieces` are not a complete answer, and whatever reading them raises."""
    pace = Pace()
    head = bytearray()
    begin = -1
    async for piece in pieces:
        head += piece
        if SLICE_BYTES < len(head) < _HEAD_BYTES_MAX + len(piece) and (begin := head.find(_BEGIN)) >= 0:
            break
    if begin < 0:
        document = msgspec.json.decode(head, type=_Document)
        return Answer(document.data, document.statistics.rows_read)
    begin += len(_BEGIN)
    waiting = head[begin:]
    del head[begin:]
    rows: list[list[Any]] = []
    end = -1
    looked = 0  # bytes of `waiting` in which no line ends after the first slice
    while end < 0:
        while end < 0 and (cut := _cut(waiting, looked)) >= 0:
            lines = waiting[:cut]
            end = lines.find(_END)
            if end < 0:
                # The line feed stays: it may be the first byte of `_END`.
                del waiting[:cut]
                looked = 0
                rows += _decoded(lines)
                await pace.rest()
        if end >= 0:
            break
        looked = len(waiting)
        piece = await anext(pieces, b"")
        if not piece:
            end = waiting.find(_END)
            break
        waiting += piece
    if end < 0:
        raise Truncated("the answer ends in the middle of its rows")
    tail = waiting[end:]
    rows += _decoded(waiting[:end])
    async for piece in pieces:
        tail += piece
    document = msgspec.json.decode(head + tail, type=_Document)
    counted = document.rows
    if counted is not None and counted != len(rows):
        raise Truncated(f"the answer has {len(rows)} rows but announces {counted}")
    return Answer(rows, document.statistics.rows_read)


def _cut(waiting: bytearray, looked: int) -> int:
    """The end of a line, about a slice from the start; -1 if that much has not arrived yet."""
    if len(waiting) < SLICE_BYTES:
        return -1
    cut = waiting.rfind(b"\n", 1, SLICE_BYTES)
    return cut if cut > 0 else waiting.find(b"\n", max(SLICE_BYTES, looked))


def _decoded(lines: bytearray) -> list[list[Any]]:
    return _rows.decode(b"[" + lines.strip(b",\n") + b"]")
