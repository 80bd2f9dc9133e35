"""One file of the log: a header, then frames. Drawn in the package docstring."""

import re
import struct
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from nealytics.errors import LogDamaged, LogForeign
from nealytics.wal.files import File, Files, publish

VERSION = 1
_VERSION_MAX = 1000  # a larger number is damage, not the version of another release
MAGIC = b"NealLog\n"

_FIELDS = struct.Struct("<8sII16sQQQQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
_NAME = re.compile(r"(\d{20})\.wal")


class SegmentHeader(NamedTuple):
    previous_crc: int  # of the last frame with rows before this segment; 0 if there was none
    log_id: UUID
    first_lsn: int  # of the first row, once there is one
    previous_first_lsn: int  # names the segment before this one; 0 if there was none
    cursor_lsn: int  # everything up to here was committed when the segment was made
    created_ms: int

    def encode(self) -> bytes:
        fields = _FIELDS.pack(
            MAGIC,
            VERSION,
            self.previous_crc,
            self.log_id.bytes,
            self.first_lsn,
            self.previous_first_lsn,
            self.cursor_lsn,
            self.created_ms,
        )
        return fields + _CRC.pack(zlib.crc32(fields))


@dataclass(slots=True, eq=False)
class Segment:
    """What is known about one file without reading it."""

    path: Path
    header: SegmentHeader
    seed: int  # of the CRCs of its frames: the CRC of its header
    bytes: int  # durable length; bytes after it are not written completely
    start: int = (
        HEADER_BYTES  # where its first frame begins; elsewhere for a readable stretch of a damaged file
    )
    committed_ms: int | None = None  # since when this process has known all of its rows to be committed

    @property
    def first_lsn(self) -> int:
        return self.header.first_lsn


def name_of(first_lsn: int) -> str:
    return f"{first_lsn:020d}.wal"


def first_lsn_of(name: str) -> int | None:
    """The LSN in a segment's name, or None if it is another kind of file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def create(files: Files, directory: Path, header: SegmentHeader) -> tuple[Segment, File]:
    """Creates a segment without frames; durable on return, including its name.

    Through a temporary name, so a file called `.wal` always has its whole header. Raises as `publish` does.
    """
    path = directory / name_of(header.first_lsn)
    data = header.encode()
    file = publish(files, path, data)
    return Segment(path, header, seed=_crc_of(data), bytes=len(data)), file


def load(files: Files, path: Path) -> Segment | None:
    """Reads the header of the segment at `path`; None if the file is too short to hold one."""
    file = files.open(path)
    try:
        data = file.read(0, HEADER_BYTES)
        size = file.size()
    finally:
        file.close()
    if len(data) < HEADER_BYTES:
        return None
    magic, version, *rest = _FIELDS.unpack_from(data)
    if magic != MAGIC:
        raise LogDamaged(f"wal: {path}: byte 0: not the header of a segment; {WHAT_TO_DO}")
    if VERSION < version <= _VERSION_MAX and _crc_as_this_version(data) != _crc_of(data):
        raise LogForeign(
            f"wal: {path}: byte 8: format version {version} is not known to this release, which reads "
            f"{VERSION}; if a newer release wrote it, start that one"
        )
    if zlib.crc32(data[: _FIELDS.size]) != _crc_of(data):
        raise LogDamaged(f"wal: {path}: byte 0: checksum mismatch in the segment's header; {WHAT_TO_DO}")
    previous_crc, log_id, first_lsn, previous_first_lsn, cursor_lsn, created_ms = rest
    header = SegmentHeader(
        previous_crc, UUID(bytes=log_id), first_lsn, previous_first_lsn, cursor_lsn, created_ms
    )
    if first_lsn != first_lsn_of(path.name):
        raise LogDamaged(
            f"wal: {path}: byte 0: the header says its first row is {first_lsn}; rename it to "
            f"{name_of(first_lsn)}"
        )
    return Segment(path, header, seed=_crc_of(data), bytes=size)


def index_of(segments: Sequence[Segment], lsn: int) -> int:
    """Which of `segments` (ascending) holds row `lsn`, unless it is too new for any; -1 if it is too old."""
    return bisect_right(segments, lsn, key=lambda segment: segment.first_lsn) - 1


# Ends every message about damage. Nothing is repaired in place: the file stays as evidence.
WHAT_TO_DO = (
    "a node quarantines such a log and sends the rest of it ('nealytics status' shows it); without a node, "
    "'nealytics wal salvage' reads the rest"
)


def _crc_as_this_version(data: bytes) -> int:
    """A damaged version is no version of another release: with the right one, the checksum is right."""
    return zlib.crc32(data[:8] + VERSION.to_bytes(4, "little") + data[12 : _FIELDS.size])


def _crc_of(data: bytes) -> int:
    crc: int = _CRC.unpack_from(data, _FIELDS.size)[0]
    return crc
