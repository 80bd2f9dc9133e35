"""Which segments may be deleted. Decisions only: no I/O, no clock.

A segment may go once all of its rows are committed, and never while it is the active one. Committed segments
are kept for `wal.keep_hours`, up to `wal.keep_bytes` and a part of the disk, so that rows can be compared
with the table later.
"""

from collections.abc import Sequence
from itertools import pairwise

from nealytics.config import WalConfig
from nealytics.wal.segment import Segment

# Of the disk space that is free or used by kept segments, they may use one part in so many: the rest is for
# new events and for ClickHouse.
DISK_PARTS = 8


def committed(segments: Sequence[Segment], done_lsn: int) -> list[Segment]:
    """The segments, oldest first, whose rows are all at or below `done_lsn`; never the last one.

    `segments` are ascending and without gaps, so a segment ends where the next one begins.
    """
    return [old for old, following in pairwise(segments) if following.first_lsn - 1 <= done_lsn]


def note_committed(segments: Sequence[Segment], now_ms: int) -> None:
    """Starts the retention of committed segments that are new to this process."""
    for segment in segments:
        if segment.committed_ms is None:
            segment.committed_ms = now_ms


def expired(segments: Sequence[Segment], now_ms: int, config: WalConfig, free_bytes: int) -> list[Segment]:
    """Of committed segments, the oldest ones that need not be kept any more. `free_bytes`: of the disk."""
    kept_bytes = sum(segment.bytes for segment in segments)
    kept_bytes_max = min(config.keep_bytes, (free_bytes + kept_bytes) // DISK_PARTS)
    expired_ms = now_ms - config.keep_hours * 3_600_000
    found = []
    for segment in segments:
        # Without the time of its commit, a segment is new here and stays until it has one.
        is_recent = segment.committed_ms is None or segment.committed_ms > expired_ms
        if kept_bytes <= kept_bytes_max and is_recent:
            break
        found.append(segment)
        kept_bytes -= segment.bytes
    return found
