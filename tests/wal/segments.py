"""Segments that exist only as bookkeeping."""

from pathlib import Path
from uuid import UUID

from nealytics.wal.cursor import CursorState
from nealytics.wal.segment import Segment, SegmentHeader, name_of
from nealytics.wal.state import LogState

LOG_ID = UUID(int=7)


def segment(first_lsn: int, size: int, committed_ms: int | None = None) -> Segment:
    header = SegmentHeader(0, LOG_ID, first_lsn, 0, 0, 0)
    return Segment(Path(name_of(first_lsn)), header, seed=0, bytes=size, committed_ms=committed_ms)


def state(*segments: Segment, durable_lsn: int, cursor_lsn: int) -> LogState:
    return LogState(Path("wal"), LOG_ID, list(segments), durable_lsn, CursorState(cursor_lsn + 1))
