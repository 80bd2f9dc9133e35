"""What is known of an open log: its segments, and which rows are appended, durable, committed, deleted.

Bookkeeping only: no I/O, no clock, no waiting. `Log` is a `LogState` with a disk.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from nealytics.errors import LogBroken
from nealytics.wal import retention
from nealytics.wal.cursor import CursorState
from nealytics.wal.segment import Segment
from nealytics.wal.writer import Append


class LogState:
    """LSNs begin at 1 and have no gaps. Always `deleted ≤ cursor ≤ durable ≤ appended`."""

    def __init__(
        self, directory: Path, log_id: UUID, segments: list[Segment], durable_lsn: int, cursor: CursorState
    ) -> None:
        """`segments` are ascending. The last one is active: rows are appended to it."""
        self.directory = directory
        self.log_id = log_id
        self.appended_lsn = self.durable_lsn = durable_lsn
        self.cursor = cursor
        self.oldest_waiting_ms: int | None = None  # when the oldest row that is not committed was written
        self.broken: LogBroken | None = None  # the first failed write or sync
        self.closed = False
        # Called with each group, in any thread. What it returns is called in the loop with the group's last
        # LSN, in order, once the group is durable.
        self.on_durable: Callable[[Sequence[Append]], Callable[[int], None]] | None = None
        self._segments = segments
        # A sum that is kept up to date, because it is needed for every group.
        self._older_bytes = sum(segment.bytes for segment in segments[:-1])
        self.check()

    @property
    def cursor_lsn(self) -> int:
        """The row up to which everything is committed."""
        return self.cursor.done_lsn

    @property
    def deleted_lsn(self) -> int:
        return self._segments[0].first_lsn - 1

    @property
    def waiting(self) -> int:
        """Rows that are durable and not committed."""
        return self.durable_lsn - (self.cursor.next_lsn - 1) + self.cursor.uncommitted

    @property
    def active(self) -> Segment:
        return self._segments[-1]

    @property
    def bytes_used(self) -> int:
        """Size of all segments, including committed ones that are kept."""
        return self._older_bytes + self.active.bytes

    @property
    def is_active_committed(self) -> bool:
        """Whether the active segment has rows and all of them are committed."""
        return self.active.first_lsn <= self.durable_lsn == self.cursor_lsn

    @property
    def reclaimable_bytes(self) -> int:
        """What deleting everything that is committed would free."""
        older = sum(segment.bytes for segment in self.committed())
        return older + (self.active.bytes if self.is_active_committed else 0)

    def committed(self) -> list[Segment]:
        """The segments that may be deleted, oldest first."""
        return retention.committed(self._segments, self.cursor_lsn)

    def began(self, active: Segment) -> None:
        """`active` is the active segment from now on."""
        if active is not self.active:
            self._older_bytes += self.active.bytes
            self._segments.append(active)

    def forget(self, deleted: list[Segment]) -> None:
        """`deleted`, the oldest segments, are about to be deleted: nothing is read from them any more."""
        assert deleted == self._segments[: len(deleted)]
        del self._segments[: len(deleted)]
        self._older_bytes -= sum(segment.bytes for segment in deleted)
        self.check()

    def check_cursor(self, state: CursorState) -> None:
        """Raises `ValueError` for a cursor that goes back, or beyond the durable rows."""
        if problem := state.problem():
            raise ValueError(f"impossible cursor: {problem}")
        if not self.cursor_lsn <= state.done_lsn or not state.next_lsn - 1 <= self.durable_lsn:
            raise ValueError(
                f"cursor {state.done_lsn}..{state.next_lsn} does not lie between {self.cursor_lsn} and "
                f"{self.durable_lsn}"
            )

    def refusal(self) -> LogBroken | None:
        """Why the log does nothing any more; None while it works."""
        if self.broken is not None:
            return LogBroken(*self.broken.args)
        return LogBroken(f"wal: {self.directory} is closed") if self.closed else None

    def check(self) -> None:
        assert self.deleted_lsn <= self.cursor_lsn <= self.durable_lsn <= self.appended_lsn, (
            self.deleted_lsn, self.cursor_lsn, self.durable_lsn, self.appended_lsn,
        )  # fmt: skip
