"""The committer: takes rows out of the log and puts each into ClickHouse exactly once.

    log ──read──▶ batch ──store intent──▶ insert, with retries ──▶ acknowledged ──store cursor──▶ log

This module does what `plan` decides: it reads the log, stores the cursor and writes the dead letter.

What it promises
  - A range of rows is durable in the cursor (an *intent*) before its first attempt, and every attempt
    sends it as it was stored: same rows, same bytes, same token, same settings, also after a crash and
    under another configuration. So ClickHouse's deduplication recognises a batch whose answer was lost.
    The exception are rows that were erased in between (`erased`).
    ClickHouse may know the token and have lost the rows in a crash, so a retry is verified against the
    table (`delivery`).
  - No row is skipped. A row leaves the log's `outstanding` ranges only after ClickHouse answered that it
    has it, after its file in the dead letter is durable, or because an erasure covers it (`erased`).
  - Cancelling `run` at any point leaves the log in a state from which another committer can continue.
  - At most two batches are in memory: the one that is sent, and the next one (`batches`).

The same write of the cursor acknowledges the previous batch and stores the intent of the next one, if rows
are waiting. While every row is refused the cursor, written whole each time with 16 bytes for each range,
grows at the pace of the backoff only.

Damage in the log (`LogDamaged`, which includes a disk that cannot be read) stops reading there. The read is
retried: a bad cable or memory chip may deliver the right bytes, which have a checksum, the next time. If it
keeps failing, `on_damaged` is called: the owner quarantines the log and begins a new one. After a *full* disk
the write is retried. A broken log ends `run`: the process must restart.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.backoff import Backoff
from nealytics.commit.batches import Batch, Batches
from nealytics.commit.dead_letter import DeadLetter, DeadRow
from nealytics.commit.delivery import Refused
from nealytics.commit.erased import Erased
from nealytics.commit.gather import Gathering
from nealytics.commit.persist import Persistence
from nealytics.commit.plan import Keep, MoveToDeadLetter, Pause, Plan, Send, SendNew, Split, Wait
from nealytics.commit.problem import Problem
from nealytics.commit.progress import Progress
from nealytics.commit.sender import OUTDATED, STORED_BEFORE, Sender
from nealytics.config import CommitConfig
from nealytics.errors import LogBroken, LogDamaged, LogFull
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel import Tracing
from nealytics.wal import CursorState, Log, QuarantinedLog, Range, Rows
from nealytics.wal.cursor import extend

log = logging.getLogger("nealytics.commit")

# Reads of the same rows that fail before the log counts as damaged.
_READS_MAX = 3


class Committer:
    """Drains one log into ClickHouse. Run `run` as one task; the other methods may be called at any time."""

    def __init__(
        self,
        log: Log | QuarantinedLog,
        client: ClickHouseClient,
        dead_letter: DeadLetter,
        config: CommitConfig,
        *,
        database: str,
        metrics: Metrics,
        tracing: Tracing | None = None,
        on_damaged: Callable[[LogDamaged], None] | None = None,
        erased: Erased | None = None,
        random: Callable[[], float] = random.random,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._log = log
        self._dead_letter = dead_letter
        self._config = config
        self._metrics = metrics
        self._on_damaged = on_damaged
        self._clock_ms = clock_ms
        self._problem = Problem()
        self._backoff = Backoff(config.backoff_max_ms, random)
        self._persistence = Persistence(log, self._problem, self._backoff)
        # Notified whenever rows are acknowledged or become suspects, or the cursor is stored.
        self._progress = Progress()
        self._erased = erased or Erased()
        self._gathering = Gathering(log, config, clock_ms=clock_ms)
        self._batches = Batches(
            log, self._gathering, self._erased, partitions_max=config.batch_partitions_max
        )
        self._plan = Plan(log.cursor, rows_max=self._gathering.catch_up_rows_max)
        self._sender = Sender(
            client,
            database,
            config,
            problem=self._problem,
            metrics=metrics,
            tracing=tracing,
            backoff=self._backoff,
        )

    @property
    def problem(self) -> str | None:
        """None while all is well, else the sentence that `/ready` shows with its 503."""
        return self._problem.text

    async def run(self) -> None:
        """Commits for ever. Cancel it to stop: a batch in flight is abandoned, its intent is durable.

        Returns if the log is broken. The log notifies its owner, which must end the process.
        """
        try:
            while True:
                await self._commit(await self._next())  # no variable: it would keep the last batch
        except LogBroken as error:
            self._problem.report(str(error))
        finally:
            self._batches.forget()

    def flush_soon(self) -> None:
        """Makes a batch due for what is in the log now."""
        self._gathering.flush_soon()

    async def wait_committed(self, first_lsn: int, last_lsn: int, timeout_s: float) -> bool:
        """True once ClickHouse has the rows; False after `timeout_s`, or if one went to the dead letter."""
        done = await self._progress.until(lambda: self._plan.is_acknowledged(first_lsn, last_lsn), timeout_s)
        return done and not self._plan.was_dead_lettered(first_lsn, last_lsn)

    async def drain(self, timeout_s: float) -> bool:
        """For a graceful stop, after the last append and while `run` is running: True once every durable row
        is acknowledged and the log's cursor says so.

        False after `timeout_s`, or earlier if only suspects are left, about which only later events could
        decide.
        """
        log, plan = self._log, self._plan
        self.flush_soon()
        last_lsn = log.durable_lsn

        def has_only_suspects() -> bool:
            return plan.state == log.cursor and plan.has_only_suspects_up_to(last_lsn)

        await self._progress.until(lambda: log.cursor_lsn >= last_lsn or has_only_suspects(), timeout_s)
        return log.cursor_lsn >= last_lsn

    # What to send

    async def _next(self) -> Batch:
        while True:
            match self._plan.next(is_due=self._gathering.is_due(self._plan.state)):
                case Send(rows):
                    return await self._outstanding(rows)
                case SendNew():
                    return await self._new_batch()
                case Pause(number):
                    await self._store(self._plan.state)
                    await asyncio.sleep(self._backoff.pause_s(number))
                case Wait(suspect, number):
                    await self._store(self._plan.state)
                    timeout_s = None if suspect is None else self._backoff.pause_s(number)
                    is_due = await self._gathering.wait_until_due(self._plan.state, timeout_s)
                    if not is_due and suspect is not None:
                        return await self._outstanding(suspect)

    async def _outstanding(self, intent: Range) -> Batch:
        await self._store(self._plan.state)
        return await self._until_read(intent.first, lambda: self._batches.outstanding(intent))

    async def _new_batch(self) -> Batch:
        first = self._plan.state.next_lsn
        batch = await self._until_read(first, lambda: self._batches.new(first))
        await self._store(self._plan.with_batch(*batch.whole))
        self._gathering.cut(batch.whole.last, batch.bytes_read)
        return batch

    async def _until_read(self, first: int, read: Callable[[], Awaitable[Batch]]) -> Batch:
        failures = 0
        while True:
            try:
                batch = await read()
            except LogDamaged as error:
                failures += 1
                self._problem.report(f"cannot read rows from {first} on, so they are not sent: {error}")
                await self._store(self._plan.state)
                if failures % _READS_MAX == 0 and self._on_damaged is not None:
                    self._on_damaged(error)
                await asyncio.sleep(self._config.backoff_max_ms / 1000)
            else:
                if failures:
                    self._problem.clear(self._log.waiting)
                return batch

    # What follows from the answer

    async def _commit(self, batch: Batch) -> None:
        whole, rows = batch.whole, batch.rows
        if not rows.count:
            self._acknowledge(batch)
            return

        def begin() -> bool:
            # After the cursor was lost, these rows may have been sent in any range.
            return self._plan.begin(whole) or whole.first <= self._log.forgotten_lsn

        if self._plan.state.outstanding == (whole,):
            # If it is accepted, as usual, a new batch is next.
            self._batches.read_ahead(self._plan.state)
        outcome = await self._sender.send(rows, batch.token, begin, self._erased.is_current)
        if isinstance(outcome, ClickHouseError):
            await self._refused(whole, rows, outcome)
            return
        if outcome == OUTDATED:
            return  # the range is still outstanding, and is read again
        if outcome == STORED_BEFORE:
            self._acknowledge(batch)
            return
        # The next write of the cursor records it, before anything waits.
        self._problem.clear(self._log.waiting)
        self._metrics.batches_committed.add()
        self._metrics.events_committed.add(rows.count)
        self._metrics.events_erased.add(batch.erased)
        self._plan.accepted(whole)
        self._progress.notify()

    def _acknowledge(self, batch: Batch) -> None:
        """Acknowledges a batch without an answer that says that the table accepts rows."""
        self._metrics.events_committed.add(batch.rows.count)
        self._metrics.events_erased.add(batch.erased)
        self._plan.acknowledged(batch.whole)
        state = self._plan.state
        if not state.outstanding and state.next_lsn > self._log.durable_lsn:
            self._problem.clear(0)  # whatever it was, no row waits for its end
        self._progress.notify()

    async def _refused(self, whole: Range, rows: Rows, error: ClickHouseError) -> None:
        missing: tuple[Range, ...] = ()
        if isinstance(error, Refused):
            missing = await asyncio.to_thread(_ranges_of, error.missing, rows)
        match self._plan.refused(whole, missing):
            case Split(state, pieces, is_first):
                if is_first:
                    log.warning(
                        "commit: clickhouse refused batch %d-%d; splitting it to find the bad rows: %s",
                        whole.first,
                        whole.last,
                        error,
                    )
                await self._store(state)
                self._plan.split(whole, pieces)
                if missing:
                    lacking = sum(last - first + 1 for first, last in pieces)
                    self._metrics.events_committed.add(rows.count - lacking)
            case MoveToDeadLetter():
                await self._move_to_dead_letter(whole, rows, error)
            case Keep(is_first):
                if is_first:
                    log.info(
                        "commit: clickhouse refused row %d alone; keeping it until it accepts another: %s",
                        whole.first,
                        error,
                    )
                self._progress.notify()
        if self._plan.refuses_all(self._config.retries_before_alert):
            self._problem.report(
                f"clickhouse refuses every row (code {error.code} {error.name}): {error.message}; check the "
                f"table. {self._log.waiting} rows are queued; none is dead-lettered until one is accepted"
            )

    async def _move_to_dead_letter(self, row: Range, rows: Rows, error: ClickHouseError) -> None:
        dead = DeadRow.of(
            str(self._log.log_id), row.first, rows.row_format, rows.payload, error, self._clock_ms()
        )
        # Also retried after a failed sync: it is a new file each time, and the row is still in the log.
        path = await self._persistence.until_stored(
            lambda: asyncio.to_thread(self._dead_letter.put, dead), (LogFull, LogBroken, OSError)
        )
        log.error(
            "commit: clickhouse refused the content of row %d (code %d %s), so it was moved to %s; show it "
            "with `nealytics dead-letter list`: %s",
            row.first,
            error.code,
            error.name,
            path,
            error.message,
            extra={"lsn": row.first, "code": error.code},
        )
        self._metrics.dead_letter_events.add()
        self._plan.dead_lettered(row)
        self._progress.notify()

    async def _store(self, state: CursorState) -> None:
        """Makes `state` the durable one, and then the plan's."""
        if state != self._log.cursor:
            await self._persistence.until_stored(lambda: self._log.store_cursor(state), (LogFull,))
        self._plan.state = state
        self._progress.notify()


def _ranges_of(some: list[bytes], rows: Rows) -> tuple[Range, ...]:
    """Where `some` of `rows` are in the log. Empty if they are all of them, or if that cannot be said because
    erased rows were left out."""
    if len(some) == rows.count or rows.count != rows.last_lsn - rows.first_lsn + 1:
        return ()
    wanted, found = set(some), list[Range]()
    for lsn, row in enumerate(rows, rows.first_lsn):
        if row in wanted:
            extend(found, lsn)
    return tuple(found)
