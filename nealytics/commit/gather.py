"""When queued rows are due as a batch, and how many of them one batch takes.

A batch is due when it has `batch_rows_max` rows or about `batch_bytes_max` bytes, when its oldest row is
`flush_interval_s` old, or on `flush_soon`. It is cut so that its timestamps are of at most
`batch_partitions_max` months, the table's partitions: each one that an INSERT touches costs a part.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from struct import Struct

from nealytics.config import CommitConfig
from nealytics.wal import CursorState, Log, QuarantinedLog, Rows

# A batch must be one block of ClickHouse, whatever the configuration: a block is stored as a whole or not at
# all, and the token stands for one. Both are below the block sizes that the client pins.
BLOCK_ROWS_MAX = 1_000_000
BLOCK_BYTES_MAX = 192 * 1024**2

# The log notifies about rows and not about bytes, so bytes are polled, this often, while a batch gathers.
_POLL_S = 0.25

_DAY_MS = 86_400_000
# ClickHouse's DateTime64 ends here: 1900-01-01 and 2299-12-31, in days from 1970. It clamps what lies beyond.
_DAY_MIN, _DAY_MAX = -25_567, 120_529
# A row ends with its timestamp and received_at, both Int64 milliseconds (clickhouse/rowbinary.py).
_ROW_TIMES = Struct("<qq")


class Gathering:
    """The rows of one log that are in no batch yet. `state` is always the committer's current one."""

    def __init__(
        self, log: Log | QuarantinedLog, config: CommitConfig, *, clock_ms: Callable[[], int]
    ) -> None:
        self.rows_max = min(config.batch_rows_max, BLOCK_ROWS_MAX)
        self.bytes_max = min(config.batch_bytes_max, BLOCK_BYTES_MAX)
        self._log = log
        self._flush_interval_s = config.flush_interval_s
        self._clock_ms = clock_ms
        self._flush = asyncio.Event()
        self._flush_lsn = 0
        # The next LSN to cut, whether older rows are outstanding, and since when the row is queued.
        self._oldest: tuple[int, bool, float] = (0, False, 0.0)
        self._bytes_cut = log.bytes_used  # the log's size up to where it was cut into batches, about

    def flush_soon(self) -> None:
        """Makes a batch due for what is in the log now."""
        self._flush_lsn = self._log.appended_lsn
        self._flush.set()

    def is_due(self, state: CursorState) -> bool:
        first = state.next_lsn
        waiting = self._log.durable_lsn - first + 1
        if waiting <= 0:
            return False
        return (
            waiting >= self.rows_max
            or first <= self._flush_lsn
            # Approximate: after a segment was deleted this is late, and then the age makes the batch due.
            or self._log.bytes_used - self._bytes_cut >= self.bytes_max
            or self._due_in_s(state) <= 0
        )

    async def wait_until_due(self, state: CursorState, timeout_s: float | None) -> bool:
        """True once a batch is due, False if `timeout_s` passes first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._log.wait_for(state.next_lsn)
                while not self.is_due(state):
                    await self._wait_for_rows_or_flush(state, min(_POLL_S, self._due_in_s(state)))
                return True
        except TimeoutError:
            return False

    def cut(self, rows: Rows) -> None:
        """`rows` are in a batch now."""
        if rows.last_lsn == self._log.durable_lsn:
            self._bytes_cut = self._log.bytes_used
        else:
            # Without the frames around the rows: too low, until a batch takes all rows.
            self._bytes_cut += len(rows.payload)

    def _due_in_s(self, state: CursorState) -> float:
        """Until the oldest row that is in no batch yet is `flush_interval_s` old."""
        now = time.monotonic()
        older = bool(state.outstanding)
        if self._oldest[:2] != (state.next_lsn, older):
            if state != self._log.cursor:
                # The log's oldest row may be acknowledged. Read again when the cursor is stored.
                return self._flush_interval_s
            # Its age counts if nothing older is outstanding: a slow batch must not restart its wait.
            since_ms = None if older else self._log.oldest_waiting_ms
            age_s = 0.0 if since_ms is None else max(0.0, (self._clock_ms() - since_ms) / 1000)
            self._oldest = (state.next_lsn, older, now - age_s)
        return self._oldest[2] + self._flush_interval_s - now

    async def _wait_for_rows_or_flush(self, state: CursorState, timeout_s: float) -> None:
        self._flush.clear()
        waits = {
            asyncio.ensure_future(self._flush.wait()),
            asyncio.ensure_future(self._log.wait_for(state.next_lsn + self.rows_max - 1)),
        }
        try:
            done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()


def rows_within_partitions(rows: Rows, partitions_max: int) -> int:
    """How many of the first rows have timestamps of at most `partitions_max` months; at least one."""
    payload, end, count = rows.payload, 0, 0
    months: set[int] = set()
    day = -1
    # 1.5 ms per 10,000 rows; most rows are of the day of the row before.
    for length in rows.lengths:
        end += length
        timestamp_ms, _ = _ROW_TIMES.unpack_from(payload, end - _ROW_TIMES.size)
        if timestamp_ms // _DAY_MS != day:
            day = timestamp_ms // _DAY_MS
            month = _month_of(day)
            if month not in months:
                if len(months) >= partitions_max and count:
                    break
                months.add(month)
        count += 1
    return count


@lru_cache(maxsize=4096)
def _month_of(day: int) -> int:
    """The month, counted from year 0, of a day counted from 1970: the table's partition."""
    partition = date(1970, 1, 1) + timedelta(days=min(max(day, _DAY_MIN), _DAY_MAX))
    return partition.year * 12 + partition.month
