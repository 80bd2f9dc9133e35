"""The cursor: which of the log's rows are committed, in one small file that is replaced as a whole.

    cursor = | magic "NealCur\\n" 8 | version u32 | count u32 | log id 16 | next_lsn u64 | durable_lsn u64
             | count × (first u64, last u64) | crc u32 |

A row is *committed* when ClickHouse or the dead letter has it. `durable_lsn` is the last row that was durable
when the cursor was stored: a log that ends before it has lost rows, even if its files are complete.
Version 1 has no `durable_lsn`.
"""

import struct
import zlib
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from nealytics.errors import LogForeign
from nealytics.wal.files import Files, publish

NAME = "cursor"

_MAGIC = b"NealCur\n"
_VERSION = 2
_HEAD = struct.Struct("<8sI")
_FIELDS = {1: struct.Struct("<8sII16sQ"), 2: struct.Struct("<8sII16sQQ")}
_RANGE = struct.Struct("<QQ")
_CRC = struct.Struct("<I")


class Range(NamedTuple):
    """LSNs from `first` to `last`, both included."""

    first: int
    last: int


def extend(ranges: list[Range], lsn: int) -> None:
    """Adds a row behind all others to ascending ranges."""
    if ranges and ranges[-1].last == lsn - 1:
        ranges[-1] = ranges[-1]._replace(last=lsn)
    else:
        ranges.append(Range(lsn, lsn))


class CursorState(msgspec.Struct, frozen=True):
    """Which rows are committed.

    `outstanding` are the intents that were stored and are not committed: ascending, disjoint, all below
    `next_lsn`. Every other row below `next_lsn` is committed.
    """

    next_lsn: int
    outstanding: tuple[Range, ...] = ()

    @property
    def done_lsn(self) -> int:
        """The row up to which everything is committed."""
        return (self.outstanding[0].first if self.outstanding else self.next_lsn) - 1

    @property
    def uncommitted(self) -> int:
        """Rows below `next_lsn` that are not committed."""
        return sum(last - first + 1 for first, last in self.outstanding)

    def problem(self) -> str:
        """Why this state is impossible; empty if it is not."""
        lsn = 0
        for first, last in self.outstanding:
            if not lsn < first <= last:
                return f"range {first}-{last} is empty or not behind row {lsn}"
            lsn = last
        return "" if lsn < self.next_lsn else f"row {lsn} is not below next_lsn {self.next_lsn}"


class Stored(NamedTuple):
    """What the file holds."""

    log_id: UUID
    state: CursorState
    durable_lsn: int


class InvalidCursor(Exception):
    """The file exists but is not as `store` wrote it."""


def store(files: Files, directory: Path, stored: Stored) -> None:
    """Replaces the cursor; durable on return. Raises as `publish` does."""
    ranges = stored.state.outstanding
    fields = _FIELDS[_VERSION].pack(
        _MAGIC, _VERSION, len(ranges), stored.log_id.bytes, stored.state.next_lsn, stored.durable_lsn
    )
    data = b"".join((fields, *(_RANGE.pack(first, last) for first, last in ranges)))
    publish(files, directory / NAME, data + _CRC.pack(zlib.crc32(data))).close()


def load(files: Files, directory: Path) -> Stored | None:
    """What was stored; None if there is no cursor.

    Raises `InvalidCursor`, or `LogForeign` for a newer version.
    """
    try:
        file = files.open(directory / NAME)
    except FileNotFoundError:
        return None
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    if len(data) < _FIELDS[1].size + _CRC.size or data[:8] != _MAGIC:
        raise InvalidCursor(f"its {len(data)} bytes are not a cursor")
    if _CRC.unpack(data[-_CRC.size :])[0] != zlib.crc32(data[: -_CRC.size]):
        raise InvalidCursor("checksum mismatch")
    _, version = _HEAD.unpack_from(data)
    if version not in _FIELDS:
        # Its checksum is right, so it is not damaged: rebuilding would discard what a newer release stored.
        raise LogForeign(
            f"wal: {directory / NAME}: byte 8: version {version} is not known to this release, which reads "
            f"up to {_VERSION}; if a newer release wrote it, start that one"
        )
    fields = _FIELDS[version]
    if len(data) < fields.size + _CRC.size:
        raise InvalidCursor(f"{len(data)} bytes are too few for version {version}")
    _, _, count, log_id, next_lsn, *durable = fields.unpack_from(data)
    if len(data) != fields.size + count * _RANGE.size + _CRC.size:
        raise InvalidCursor(f"{count} ranges in {len(data)} bytes")
    ranges = _RANGE.iter_unpack(data[fields.size : -_CRC.size])
    state = CursorState(next_lsn, tuple(Range(first, last) for first, last in ranges))
    if problem := state.problem():
        raise InvalidCursor(problem)
    return Stored(UUID(bytes=log_id), state, max(next_lsn - 1, *durable) if durable else next_lsn - 1)
