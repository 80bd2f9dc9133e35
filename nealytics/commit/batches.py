"""Reads batches out of a log; the next one while the last one is sent.

A batch is read ahead only if a full one is waiting; a smaller one would miss rows that arrive meanwhile. Only
memory knows of it: its range becomes an intent right before it is sent. So a crash forgets it, and the order
of intents and the bytes of a range are the same as without reading ahead. At most one batch is read ahead.
"""

import asyncio
from typing import NamedTuple

from nealytics.commit.delivery import insert_token
from nealytics.commit.erased import Erased
from nealytics.commit.gather import Gathering, rows_within_partitions
from nealytics.errors import LogDamaged, NealyticsError
from nealytics.wal import CursorState, Log, QuarantinedLog, Range, Rows

# More than any intent has: a batch has at least one row, and a row may have any length.
_INTENT_BYTES_MAX = 2**40


class Batch(NamedTuple):
    """`rows` are those of `whole` that are sent; the others are erased."""

    whole: Range
    rows: Rows
    token: str
    bytes_read: int  # with the erased ones

    @property
    def erased(self) -> int:
        return self.whole.last - self.whole.first + 1 - self.rows.count


class Batches:
    """The batches of one log."""

    def __init__(
        self, log: Log | QuarantinedLog, gathering: Gathering, erased: Erased, *, partitions_max: int
    ) -> None:
        self._log = log
        self._log_id = str(log.log_id)
        self._gathering = gathering
        self._erased = erased
        self._partitions_max = partitions_max
        # The first row of the batch that is read ahead, and what was erased when it was begun.
        self._ahead: tuple[int, object, asyncio.Task[Batch | None]] | None = None

    async def new(self, first: int) -> Batch:
        """The rows from `first` on, which are in no batch yet. Raises `LogDamaged`."""
        if self._ahead is not None:
            ahead_first, known, task = self._ahead
            batch = await task if ahead_first == first and known is self._erased.known else None
            self.forget()
            if batch is not None and known is self._erased.known:
                return batch
        return await self._read_new(first)

    async def outstanding(self, intent: Range) -> Batch:
        """All rows of a stored intent, even if a batch may have fewer today. Raises `LogDamaged`."""
        self.forget()
        count = intent.last - intent.first + 1
        rows = await self._log.read(intent.first, rows_max=count, bytes_max=_INTENT_BYTES_MAX)
        if rows.count < count:
            # A part of it would be another batch, beside what an earlier attempt may have stored.
            raise LogDamaged(f"commit: expected {count} rows from {intent.first} on, but read {rows!r}")
        return await self._batch(intent, rows)

    def read_ahead(self, state: CursorState) -> None:
        """Begins to read the batch after all that are in `state`, if a full one is waiting."""
        if self._ahead is None and self._gathering.is_full(state):
            task = asyncio.create_task(self._try_to_read(state.next_lsn))
            self._ahead = (state.next_lsn, self._erased.known, task)

    def forget(self) -> None:
        """Gives up what was read ahead."""
        if self._ahead is not None:
            self._ahead[2].cancel()
            self._ahead = None

    async def _try_to_read(self, first: int) -> Batch | None:
        try:
            return await self._read_new(first)
        except NealyticsError:
            return None  # `new` reads again, and reports it

    async def _read_new(self, first: int) -> Batch:
        gathering = self._gathering
        rows = await self._log.read(
            first, rows_max=gathering.catch_up_rows_max, bytes_max=gathering.bytes_max
        )
        # In a thread: 10 to 20 ms for 100,000 rows.
        count = await asyncio.to_thread(rows_within_partitions, rows, self._partitions_max)
        last = first + count - 1
        if count < rows.count:
            rows = rows.slice(first, last)
        return await self._batch(Range(first, last), rows)

    async def _batch(self, whole: Range, rows: Rows) -> Batch:
        bytes_read = len(rows.payload)
        rows = await self._erased.without(rows)
        # In a thread: 32 MiB take 20 ms, which would delay every request.
        token = await asyncio.to_thread(insert_token, self._log_id, whole.first, whole.last, rows.payload)
        return Batch(whole, rows, token, bytes_read)
