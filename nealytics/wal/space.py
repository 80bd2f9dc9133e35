"""Whether more bytes fit into the log, and what makes room if they do not.

Decisions only: the clock and the disk's free bytes are arguments. The flusher does what `next_step` returns
and asks again.
"""

from collections.abc import Callable
from typing import NamedTuple

from nealytics.config import WalConfig
from nealytics.wal.reserve import RESERVE_BYTES
from nealytics.wal.segment import Segment
from nealytics.wal.state import LogState

# Measuring free bytes costs a system call, and a disk fills over many of these intervals.
MEASURE_EVERY_S = 1.0
# Before anything was refused, a log is full if it has no room for this.
SMALL_APPEND_BYTES = 4096


class Write(NamedTuple):
    """The bytes fit: write them."""


class BeginSegment(NamedTuple):
    """Begin a new segment: every row of the active one is committed, so it can be deleted then.

    Otherwise a log with a small limit could stay full of rows that nobody needs.
    """


class Delete(NamedTuple):
    """Delete these segments. They are committed and were kept for reconciliation only."""

    segments: list[Segment]


class Refuse(NamedTuple):
    """Nothing more can be deleted."""

    reason: str


class Space:
    """The space that one log may use: `bytes_max`, and what its disk has left."""

    def __init__(
        self,
        state: LogState,
        config: WalConfig,
        *,
        bytes_max: int,
        free_bytes: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._free_bytes_min = config.free_bytes_min
        self._bytes_max = bytes_max
        self._measure = free_bytes
        self._clock = clock
        self._free_bytes = 0
        self._measured_at = float("-inf")
        self._refused_bytes = 0  # of the last group if there was no room for it; 0 = there was
        self._disk_full_until = 0.0

    def next_step(self, needed: int) -> Write | BeginSegment | Delete | Refuse:
        """What to do next, to write `needed` bytes."""
        shortage = self._shortage(needed)
        if not shortage:
            self._free_bytes -= needed  # until it is measured again
            return Write()
        if self._state.is_active_committed:
            return BeginSegment()
        if committed := self._state.committed():
            return Delete(committed)
        return Refuse(shortage)

    # What happened

    def deleted(self) -> None:
        self._measured_at = float("-inf")

    def disk_was_full(self) -> None:
        """A write failed although the disk seemed to have room."""
        self._disk_full_until = self._clock() + MEASURE_EVERY_S

    def refused(self, needed: int) -> None:
        self._refused_bytes = needed

    def written(self) -> None:
        self._refused_bytes = 0
        self._disk_full_until = 0.0

    # Questions

    @property
    def full(self) -> bool:
        """Whether an append like the last refused one would be refused again; without one, a small append."""
        if self._clock() < self._disk_full_until:
            return True
        return bool(self._shortage(self._needed, self._state.reclaimable_bytes))

    @property
    def disk_full(self) -> bool:
        """Whether the disk makes the log `full`, not `bytes_max`."""
        state = self._state
        return self.full and state.bytes_used - state.reclaimable_bytes + self._needed <= self._bytes_max

    @property
    def _needed(self) -> int:
        return self._refused_bytes or SMALL_APPEND_BYTES

    def _shortage(self, needed: int, reclaimable: int = 0) -> str:
        """Why `needed` more bytes do not fit; empty if they do."""
        state = self._state
        used = state.bytes_used - reclaimable
        if used + needed > self._bytes_max:
            return (
                f"wal: {state.directory} has {used} of at most {self._bytes_max} bytes, and {state.waiting} "
                "rows are queued for ClickHouse; check ClickHouse, or raise wal.bytes_max"
            )
        now = self._clock()
        if now - self._measured_at >= MEASURE_EVERY_S:
            self._free_bytes = self._measure()
            self._measured_at = now
        # A start copies the last segment, and the cursor has to move: appends that used that room too would
        # leave a log that could never be drained.
        restart = state.active.bytes + needed + RESERVE_BYTES
        if self._free_bytes + reclaimable - needed < max(self._free_bytes_min, restart):
            return (
                f"wal: the disk of {state.directory} has {self._free_bytes} bytes free; wal.free_bytes_min "
                f"keeps {self._free_bytes_min} and a restart needs {restart}; free some disk space"
            )
        return ""
