"""When queued rows are due as a batch, and how many of them one batch takes.

A batch is due when `batch_rows_max` rows or about `batch_bytes_max` bytes are waiting, when the oldest row is
`flush_interval_s` old, or on `flush_soon`. It takes all that is waiting, up to `catch_up_rows_max` rows and
`batch_bytes_max` bytes: while an insert runs more rows arrive, so batches grow with the backlog. It is cut so
that its timestamps are of at most `batch_partitions_max` months, the table's partitions: each one that an
INSERT touches costs a part.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
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
# The upper five bytes of the timestamp: spans of 4.7 hours.
_SPAN_BITS = 24
_SPAN_FROM, _SPAN_TO = 13, 8


class Gathering:
    """The rows of one log that are in no batch yet. `state` is always the committer's current one."""

    def __init__(
        self, log: Log | QuarantinedLog, config: CommitConfig, *, clock_ms: Callable[[], int]
    ) -> None:
        self.rows_max = min(config.batch_rows_max, BLOCK_ROWS_MAX)
        self.catch_up_rows_max = min(config.rows_at_once_max, BLOCK_ROWS_MAX)
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
        waiting = self._waiting(state)
        return waiting > 0 and (
            waiting >= self.rows_max
            or state.next_lsn <= self._flush_lsn
            or self._bytes_are_due()
            or self._due_in_s(state) <= 0
        )

    def is_full(self, state: CursorState) -> bool:
        """Whether as many rows as one batch may have are waiting."""
        waiting = self._waiting(state)
        return waiting >= self.catch_up_rows_max or (waiting > 0 and self._bytes_are_due())

    def _waiting(self, state: CursorState) -> int:
        return self._log.durable_lsn - state.next_lsn + 1

    def _bytes_are_due(self) -> bool:
        # Approximate: after a segment was deleted this is late, and then the age makes the batch due.
        return self._log.bytes_used - self._bytes_cut >= self.bytes_max

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

    def cut(self, last_lsn: int, payload_bytes: int) -> None:
        """Rows up to `last_lsn` are in a batch now."""
        if last_lsn == self._log.durable_lsn:
            self._bytes_cut = self._log.bytes_used
        else:
            # Without the frames around the rows: too low, until a batch takes all rows.
            self._bytes_cut += payload_bytes

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
    payload, count = rows.payload, 0
    # Usually all of them. Their spans of time tell that in half the time that it takes to look at each.
    if _months_of_spans({payload[end - _SPAN_FROM : end - _SPAN_TO] for end in rows.ends}) <= partitions_max:
        return rows.count
    months: set[int] = set()
    day: int | None = None
    # Most rows are of the day of the row before.
    for end in rows.ends:
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


def _months_of_spans(spans: Iterable[bytes]) -> int:
    """How many months these spans touch."""
    months: set[int] = set()
    for span in spans:
        first_ms = int.from_bytes(span, "little", signed=True) << _SPAN_BITS
        months.add(_month_of(first_ms // _DAY_MS))
        months.add(_month_of((first_ms + (1 << _SPAN_BITS) - 1) // _DAY_MS))
    return len(months)


@lru_cache(maxsize=4096)
def _month_of(day: int) -> int:
    """The month, counted from year 0, of a day counted from 1970: the table's partition."""
    partition = date(1970, 1, 1) + timedelta(days=min(max(day, _DAY_MIN), _DAY_MAX))
    return partition.year * 12 + partition.month
