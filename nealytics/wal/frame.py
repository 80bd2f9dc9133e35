"""One frame: the rows of one group commit (or a part of them), checked by CRC. Drawn in the package
docstring.

Pure: bytes in, bytes out. The CRC of the segment's header is the seed of every CRC in it. So a frame that
belongs to another segment or another log is not valid here, and a client cannot forge a frame inside an
event: it would have to guess the log's id.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from typing import NamedTuple

# A frame is split at these, so that a reader needs little memory. One row may be longer than the first.
FRAME_PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
FRAME_ROWS_MAX = 65_536
# Nothing longer is ever written, so a header that claims more is wrong even with a valid CRC.
ROW_BYTES_MAX = 64 * 1024 * 1024

MAGIC = b"NfrM"
# A frame without rows: everything before it in the file was synced before it was written.
MARKER = 1

_FIELDS = struct.Struct("<4sIIIQQQII")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
LENGTH_BYTES = 4

assert sys.byteorder == "little", (
    "the length table is written as the machine has it; the format is little-endian"
)
assert array("I").itemsize == LENGTH_BYTES


class FrameHeader(NamedTuple):
    flags: int
    row_format: int
    row_count: int
    first_lsn: int
    synced_offset: int  # the file was durable up to here when the frame was written
    appended_ms: int
    payload_bytes: int
    body_crc: int
    crc: int  # of the header, and so of the frame

    @property
    def last_lsn(self) -> int:
        return self.first_lsn + self.row_count - 1

    @property
    def body_bytes(self) -> int:
        return self.row_count * LENGTH_BYTES + self.payload_bytes

    @property
    def frame_bytes(self) -> int:
        return HEADER_BYTES + self.body_bytes

    @property
    def is_marker(self) -> bool:
        return bool(self.flags & MARKER)


def encode(
    rows: Sequence[bytes],
    *,
    row_format: int,
    first_lsn: int,
    synced_offset: int,
    appended_ms: int,
    seed: int,
) -> bytes:
    """The frame of `rows`; of none, a marker."""
    body = b"".join((array("I", map(len, rows)), *rows))
    fields = _FIELDS.pack(
        MAGIC,
        0 if rows else MARKER,
        row_format,
        len(rows),
        first_lsn,
        synced_offset,
        appended_ms,
        len(body) - len(rows) * LENGTH_BYTES,
        zlib.crc32(body, seed),
    )
    return b"".join((fields, _CRC.pack(zlib.crc32(fields, seed)), body))


def parse_header(data: bytes | memoryview, seed: int) -> FrameHeader | None:
    """The header at the start of `data`, or None if these bytes are not one that was written with `seed`."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return None
    (crc,) = _CRC.unpack_from(data, _FIELDS.size)
    if zlib.crc32(data[: _FIELDS.size], seed) != crc:
        return None
    header = FrameHeader._make((*_FIELDS.unpack_from(data)[1:], crc))
    if header.payload_bytes > ROW_BYTES_MAX or header.row_count > FRAME_ROWS_MAX:
        return None
    return header


def body_is_valid(header: FrameHeader, body: bytes | memoryview, seed: int) -> bool:
    return len(body) == header.body_bytes and zlib.crc32(body, seed) == header.body_crc


def row_lengths(header: FrameHeader, body: memoryview) -> "array[int]":
    lengths = array("I")
    lengths.frombytes(body[: header.row_count * LENGTH_BYTES])
    return lengths


def payload(header: FrameHeader, body: memoryview) -> memoryview:
    return body[header.row_count * LENGTH_BYTES :]


def header_crc(frame: bytes) -> int:
    """The CRC of a whole frame that was just encoded: its header's, which covers the body's."""
    crc: int = _CRC.unpack_from(frame, _FIELDS.size)[0]
    return crc
