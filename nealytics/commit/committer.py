"""The committer: takes rows out of the log and puts each into ClickHouse exactly once.

    log ──read──▶ batch ──store intent──▶ insert, again and again ──▶ settled ──store cursor──▶ log

It owns which rows go together, under which token, how often and how fast they are tried, and which are put
aside. It leaves the bytes to `wal`, the request to `clickhouse.client`, and says through `problem` why
nothing moves.

What it promises
  - A range of rows is durable in the cursor (an *intent*) before its first try, and is sent as it was stored
    at every try: same rows, same bytes, same token, same settings, also after a crash and under another
    configuration. So ClickHouse's deduplication recognises a batch whose answer was lost. What it recognises
    it may nevertheless have lost in a crash: the rows of a range that was tried before are looked for in the
    table before it is settled (`commit.delivery`).
  - No row is skipped. A row leaves the log's `outstanding` ranges only after ClickHouse answered that it has
    it, or after its file in the dead letter is durable.
  - Cancelling `run` at any point leaves the log in a state from which another committer goes on.
  - At most one batch is in memory.

The way of a batch
  1. What to send next: a range that is outstanding, or else a new batch. It is cut when `batch_rows_max` rows
     or about `batch_bytes_max` bytes wait, when the oldest is `flush_interval_s` old, or on `flush_soon`; it
     holds at most that many rows and bytes, one row format, and timestamps of at most `batch_partitions_max`
     months. The same write of the cursor settles the batch before and stores the intent of this one, when
     rows are waiting.
  2. An error that may pass (everything but a short list of codes) is retried for ever with full-jitter
     backoff. After `retries_before_alert` failures that is a `problem`: a critical line in the log, and
     `/ready` is 503.
  3. An error that means bad content is a *refusal*. A range of several rows is cut in halves: the halves
     become durable intents first, and the whole is never sent again. So k bad rows among n cost about
     2·k·log2(n) inserts. A single row that is refused becomes a *suspect*.
  4. A row is put aside when it is refused alone, for a second time, and another row was accepted between the
     two; the refusal of the range from which it was cut counts as the first. So a suspect is tried again as
     soon as anything is accepted, and its bad neighbours do not convict it. A suspect that is alone waits for
     a later row, does not hold it up, and is meanwhile tried again at the pace of the backoff.
  5. If everything is refused, the table is wrong and not the rows: nothing is put aside. Refusals without an
     acceptance between them, beyond what it takes to isolate one row, are paced by the backoff, and `problem`
     has ClickHouse's words. The search takes turns (a new batch, the first piece, the largest piece, the
     oldest suspect), so one acceptable row is found wherever it is: the first piece soon isolates a row among
     bad ones that are spread thin, the largest finds the good stretch behind a long bad one, and a new batch
     what was sent after the fault was mended. The cursor, written whole each time with 16 bytes for each
     range, grows at the pace of the backoff only.
  6. Damage in the log (`LogDamaged`, which includes a disk that cannot be read) stops step 1 there: it is a
     problem for a person. Ingest goes on, since what it appends is whole; the read is tried again slowly,
     because a bad cable or memory chip may give the right bytes (they carry a checksum) the next time. A
     *full* disk is waited for. A broken log ends `run`: the process must restart.
"""

import asyncio
import hashlib
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import date, timedelta
from functools import lru_cache, partial
from struct import Struct
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.backoff import next_delay_ms
from nealytics.commit.dead_letter import DeadLetter, DeadRow
from nealytics.commit.delivery import Unconfirmed, deliver
from nealytics.config import CommitConfig
from nealytics.errors import LogBroken, LogDamaged, LogFull, NealyticsError
from nealytics.observe import otel
from nealytics.observe.metrics import Metrics
from nealytics.wal import CursorState, Log, Range, Rows

if TYPE_CHECKING:
    from nealytics.observe.otlp import Tracing

T = TypeVar("T")

log = logging.getLogger("nealytics.commit")

# A batch must stay one block of ClickHouse's, whatever is configured: one block is taken whole or not at all,
# and it is what the token stands for. Both are below the block sizes that the client pins.
BLOCK_ROWS_MAX = 1_000_000
BLOCK_BYTES_MAX = 192 * 1024**2

# More than any intent has: a batch holds one row at least, however long that is.
_INTENT_BYTES_MAX = 2**40

# After so many refusals in a row the largest piece is tried instead of the first.
_LARGEST_EVERY = 4
# Waiting bytes cannot be waited for, only looked at; this often while a batch gathers.
_LOOK_S = 0.25
# How many LSNs put aside are remembered for `wait_committed`, which is asked about the last seconds.
_PUT_ASIDE_REMEMBERED = 10_000

_DAY_MS = 86_400_000
# ClickHouse's DateTime64 ends here: 1900-01-01 and 2299-12-31, in days from 1970. It clamps what lies beyond.
_DAY_MIN, _DAY_MAX = -25_567, 120_529
# A row ends with its timestamp and received_at, both Int64 milliseconds (clickhouse/rowbinary.py).
_ROW_TIMES = Struct("<qq")


def insert_token(log_id: UUID | str, first_lsn: int, last_lsn: int, body: bytes) -> str:
    """What ClickHouse's deduplication knows a batch by.

    It names the rows, not the time: the same batch sent again is the same insert. It names the bytes too:
    another body under a token once used would be dropped with a success answer.
    """
    return f"{log_id}:{first_lsn}-{last_lsn}:{hashlib.sha256(body).hexdigest()[:32]}"


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


class Committer:
    """Drains one log into ClickHouse. Run `run` as one task; the other methods may be called meanwhile.

    `problem` is None while all is well, else the sentence that `/ready` shows with its 503.
    """

    problem: str | None = None

    def __init__(
        self,
        log: Log,
        client: ClickHouseClient,
        dead_letter: DeadLetter,
        config: CommitConfig,
        *,
        database: str,
        metrics: Metrics,
        tracing: "Tracing | None" = None,
        random: Callable[[], float] = random.random,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._log = log
        self._client = client
        self._dead_letter = dead_letter
        self._config = config
        self._database = database
        self._metrics = metrics
        self._tracing = tracing
        self._random = random
        self._clock_ms = clock_ms

        self._rows_max = min(config.batch_rows_max, BLOCK_ROWS_MAX)
        self._bytes_max = min(config.batch_bytes_max, BLOCK_BYTES_MAX)
        # Isolating one row takes a refusal and a sibling's per level; what goes beyond is paced.
        self._refusals_unpaced_max = 2 * self._rows_max.bit_length() + 2

        # What is settled and intended. The log's cursor says the same, or less: an acceptance may not be
        # stored yet.
        self._state: CursorState = log.cursor
        # Ranges that may have been sent, here or by the committer before.
        self._tried: set[Range] = set(self._state.outstanding)

        self._acceptances = 0
        # Of each range that was refused, or cut from one that was: the acceptances there had been by then.
        self._refused_at: dict[Range, int] = {}
        # Single rows that were refused alone, the longest untried first.
        self._suspects: dict[Range, ClickHouseError] = {}
        # Since the last acceptance: refusals of ranges not tried before, and pauses made because of refusals.
        self._refusals = 0
        self._pauses = 0

        self._flush = asyncio.Event()
        self._flush_lsn = 0
        self._first_waiting: tuple[int, float] = (0, 0.0)  # the next LSN to cut, and when it was seen to wait
        self._bytes_cut = log.bytes_used  # the log's size up to where it was cut into batches, about
        self._put_aside: deque[int] = deque(maxlen=_PUT_ASIDE_REMEMBERED)
        # Set, and replaced by a new one, whenever rows are settled or become suspects, or the cursor is
        # stored.
        self._moved = asyncio.Event()

    # For the rest of the process

    async def run(self) -> None:
        """Commits for ever. Cancel it to stop: a batch in flight is abandoned, its intent is durable.

        Returns if the log is broken. Whoever opened the log has been told, and must end the process.
        """
        try:
            while True:
                rows = await self._next()
                error = await self._insert(rows)
                if error is None:
                    self._accepted(rows)
                else:
                    await self._refused(rows, error)
        except LogBroken as error:
            self._alert(str(error))

    def flush_soon(self) -> None:
        """What is in the log now is not kept waiting for more."""
        self._flush_lsn = self._log.appended_lsn
        self._flush.set()

    async def wait_committed(self, first_lsn: int, last_lsn: int, timeout_s: float) -> bool:
        """True once ClickHouse has the rows; False if it has not in time, or if one of them was put aside."""
        settled = await self._until(lambda: self._is_settled(first_lsn, last_lsn), timeout_s)
        return settled and not any(first_lsn <= lsn <= last_lsn for lsn in self._put_aside)

    async def drain(self, timeout_s: float) -> bool:
        """For a graceful stop, after the last append and while `run` goes on: True once every durable row is
        settled and the log's cursor says so.

        False when the time is up, or earlier if all that is left are suspects, which nothing can settle any
        more.
        """
        self.flush_soon()
        last_lsn = self._log.durable_lsn
        await self._until(
            lambda: self._log.cursor_lsn >= last_lsn or self._only_suspects_up_to(last_lsn), timeout_s
        )
        return self._log.cursor_lsn >= last_lsn

    # What to send next

    async def _next(self) -> Rows:
        while True:
            for suspect in self._suspects:
                if self._refused_at[suspect] < self._acceptances:
                    return await self._outstanding(suspect)
            pieces = [piece for piece in self._state.outstanding if piece not in self._suspects]

            if self._refusals > self._refusals_unpaced_max:
                await self._pause()
                if rows := await self._next_in_turn(pieces):
                    return rows
            elif pieces:
                return await self._outstanding(_largest(pieces) if self._largest_is_next() else pieces[0])
            elif self._is_due():
                return await self._new_batch()
            else:
                await self._store(self._state)
                if self._suspects:
                    # Tried again although nothing says that the answer will be another: the table may be
                    # mended.
                    if not await self._wait_until_due(self._next_pause_s()):
                        return await self._outstanding(next(iter(self._suspects)))
                else:
                    await self._wait_until_due(None)

    async def _next_in_turn(self, pieces: list[Range]) -> Rows | None:
        """While everything is refused: each kind of work in turn, so a good row is found wherever it is."""
        turns: list[Callable[[], Awaitable[Rows]]] = []
        if self._is_due():
            turns.append(self._new_batch)
        if pieces:
            turns.append(partial(self._outstanding, pieces[0]))
            turns.append(partial(self._outstanding, _largest(pieces)))
        if self._suspects:
            turns.append(partial(self._outstanding, next(iter(self._suspects))))
        return await turns[(self._pauses - 1) % len(turns)]() if turns else None

    def _largest_is_next(self) -> bool:
        return self._refusals % _LARGEST_EVERY == _LARGEST_EVERY - 1

    async def _outstanding(self, intent: Range) -> Rows:
        """The rows of a stored intent, all of them, whatever a batch may hold today."""
        await self._store(self._state)
        rows_max = intent.last - intent.first + 1
        return await self._read(intent.first, rows_max, _INTENT_BYTES_MAX, rows_min=rows_max)

    async def _new_batch(self) -> Rows:
        first = self._state.next_lsn
        rows = await self._read(first, self._rows_max, self._bytes_max)
        last = first + rows_within_partitions(rows, self._config.batch_partitions_max) - 1
        rows = rows.slice(first, last) if last < rows.last_lsn else rows
        await self._store(CursorState(last + 1, (*self._state.outstanding, Range(first, last))))
        if last == self._log.durable_lsn:
            self._bytes_cut = self._log.bytes_used
        else:
            # Without the frames around the rows: it falls behind, until a batch takes all there is.
            self._bytes_cut += len(rows.payload)
        return rows

    async def _read(self, first: int, rows_max: int, bytes_max: int, *, rows_min: int = 1) -> Rows:
        failed = False
        while True:
            try:
                rows = await self._log.read(first, rows_max=rows_max, bytes_max=bytes_max)
                if rows.count < rows_min:
                    # Sent in part, it would be another batch, next to what an earlier try may have stored.
                    raise LogDamaged(f"commit: {rows_min} rows from {first} on read back as {rows!r}")
            except LogDamaged as error:
                failed = True
                self._alert(f"rows from {first} on cannot be read and are not sent: {error}")
                await self._store(self._state)
                await asyncio.sleep(self._config.backoff_max_ms / 1000)
            else:
                if failed:
                    self._recovered()
                return rows

    # When rows are due

    def _is_due(self) -> bool:
        """Whether enough rows wait for a batch, or one for long enough."""
        first = self._state.next_lsn
        waiting = self._log.durable_lsn - first + 1
        if waiting <= 0:
            return False
        return (
            waiting >= self._rows_max
            or first <= self._flush_lsn
            # About: segments that were deleted meanwhile make this come late, and then the age brings it.
            or self._log.bytes_used - self._bytes_cut >= self._bytes_max
            or self._due_in_s() <= 0
        )

    def _due_in_s(self) -> float:
        """Until the oldest row that is in no batch yet is `flush_interval_s` old."""
        now = time.monotonic()
        first = self._state.next_lsn
        if self._first_waiting[0] != first:
            if self._state != self._log.cursor:
                # What the log calls its oldest may be settled. Asked again when the cursor is stored.
                return self._config.flush_interval_s
            # How long it waits already, if nothing older does: a slow batch must not make it wait again.
            waits_since_ms = None if self._state.outstanding else self._log.oldest_waiting_ms
            age_s = 0.0 if waits_since_ms is None else max(0.0, (self._clock_ms() - waits_since_ms) / 1000)
            self._first_waiting = (first, now - age_s)
        return self._first_waiting[1] + self._config.flush_interval_s - now

    async def _wait_until_due(self, timeout_s: float | None) -> bool:
        """True once a batch is due, False if `timeout_s` passes first."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._log.wait_for(self._state.next_lsn)
                while not self._is_due():
                    await self._wait_for_rows_or_flush(min(_LOOK_S, self._due_in_s()))
                return True
        except TimeoutError:
            return False

    async def _wait_for_rows_or_flush(self, timeout_s: float) -> None:
        self._flush.clear()
        waits = {
            asyncio.ensure_future(self._flush.wait()),
            asyncio.ensure_future(self._log.wait_for(self._state.next_lsn + self._rows_max - 1)),
        }
        try:
            done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()

    # Sending

    async def _insert(self, rows: Rows) -> ClickHouseError | None:
        """Sends `rows` until ClickHouse has them (None) or says that their content is bad (the error)."""
        # In a thread: 32 MiB take 20 ms, which every request would wait.
        token = await asyncio.to_thread(
            insert_token, self._log.log_id, rows.first_lsn, rows.last_lsn, rows.payload
        )
        tracing = self._tracing
        with (
            nullcontext()
            if tracing is None
            else tracing.flush(rows=rows.count, bytes=len(rows.payload), token=token)
        ):
            return await self._insert_as(token, rows)

    async def _insert_as(self, token: str, rows: Rows) -> ClickHouseError | None:
        started = time.monotonic()
        failures = unconfirmed = 0
        whole = Range(rows.first_lsn, rows.last_lsn)
        while True:
            otel.note("nealytics.attempts", failures + 1)
            try:
                tried = whole in self._tried or whole.first <= self._log.forgotten_lsn
                self._tried.add(whole)
                await deliver(
                    self._client,
                    self._database,
                    rows.payload,
                    rows,
                    rows.row_format,
                    token=token,
                    tried=tried,
                    may_ask=unconfirmed < self._config.retries_before_alert,
                )
                break
            except Unconfirmed as error:
                unconfirmed += 1
                otel.record(error)
                failure: Exception = error
            except NealyticsError as error:
                otel.record(error)
                if isinstance(error, ClickHouseError) and error.bad_content:
                    otel.fail("bad_content")
                    return error
                failure = error
            except Exception as error:
                # Whatever it is: the rows are safe in the log, and the answer is to say it and try again.
                log.exception("commit: batch %d-%d: unexpected error", rows.first_lsn, rows.last_lsn)
                otel.record(error)
                failure = error
            failures += 1
            self._metrics.insert_retries.add()
            if failures >= self._config.retries_before_alert:
                self._alert(
                    f"batch {rows.first_lsn}-{rows.last_lsn} was not taken in {failures} tries: {failure}; "
                    "events are safe in the log and are sent as soon as clickhouse takes them"
                )
            else:
                log.warning(
                    "commit: batch %d-%d: try %d failed: %s", rows.first_lsn, rows.last_lsn, failures, failure
                )
            await asyncio.sleep(next_delay_ms(failures, self._config.backoff_max_ms, self._random) / 1000)
        self._metrics.write_seconds.observe(time.monotonic() - started)
        return None

    def _accepted(self, rows: Rows) -> None:
        """ClickHouse has the rows. The cursor says so with its next write, made before any waiting."""
        self._recovered()
        self._acceptances += 1
        self._refusals = self._pauses = 0
        self._metrics.batches_committed.add()
        self._metrics.events_committed.add(rows.count)
        self._settle(Range(rows.first_lsn, rows.last_lsn))

    async def _refused(self, rows: Rows, error: ClickHouseError) -> None:
        tried = Range(rows.first_lsn, rows.last_lsn)
        if rows.count > 1:
            self._refusals += 1
            await self._halve(tried, error)
        elif self._refused_at.get(tried, self._acceptances) < self._acceptances:
            await self._put_row_aside(tried, rows, error)
        else:
            self._suspect(tried, error)
        if self._pauses >= self._config.retries_before_alert:
            self._alert(
                f"clickhouse refuses every row (code {error.code} {error.name}): {error.message}; "
                f"is the table wrong? {self._log.waiting} rows wait; none is put aside before one is accepted"
            )

    async def _halve(self, whole: Range, error: ClickHouseError) -> None:
        middle = (whole.first + whole.last) // 2
        halves = (Range(whole.first, middle), Range(middle + 1, whole.last))
        if whole not in self._refused_at:
            log.warning(
                "commit: batch %d-%d was refused and is halved until the bad rows are found: %s",
                whole.first,
                whole.last,
                error,
            )
        outstanding = tuple(
            piece
            for intent in self._state.outstanding
            for piece in (halves if intent == whole else (intent,))
        )
        await self._store(CursorState(self._state.next_lsn, outstanding))
        self._tried.discard(whole)
        self._refused_at.pop(whole, None)
        for half in halves:
            self._refused_at[half] = self._acceptances

    def _suspect(self, row: Range, error: ClickHouseError) -> None:
        if row not in self._suspects:
            self._refusals += 1
            log.info(
                "commit: row %d was refused alone and waits until another is accepted: %s", row.first, error
            )
        self._suspects.pop(row, None)  # to the end of the queue
        self._suspects[row] = error
        self._refused_at[row] = self._acceptances
        self._notify()

    async def _put_row_aside(self, row: Range, rows: Rows, error: ClickHouseError) -> None:
        dead = DeadRow.of(
            str(self._log.log_id), row.first, rows.row_format, rows.payload, error, self._clock_ms()
        )
        # Also tried again after a failed sync: it is a new file each time, and the row is still in the log.
        path = await self._persist(
            lambda: asyncio.to_thread(self._dead_letter.put, dead), (LogFull, LogBroken, OSError)
        )
        log.error(
            "commit: row %d was refused for its content (code %d %s) and moved to %s; look at it with "
            "`nealytics dead-letter list`: %s",
            row.first,
            error.code,
            error.name,
            path,
            error.message,
            extra={"lsn": row.first, "code": error.code},
        )
        self._metrics.dead_letter_events.add()
        self._put_aside.append(row.first)
        self._settle(row)

    # State

    def _settle(self, settled: Range) -> None:
        self._state = CursorState(
            self._state.next_lsn, tuple(intent for intent in self._state.outstanding if intent != settled)
        )
        self._tried.discard(settled)
        self._suspects.pop(settled, None)
        self._refused_at.pop(settled, None)
        self._notify()

    async def _store(self, state: CursorState) -> None:
        """Makes `state` the durable one, and then ours."""
        if state != self._log.cursor:
            await self._persist(lambda: self._log.store_cursor(state), (LogFull,))
        self._state = state
        self._notify()

    async def _persist(self, write: Callable[[], Awaitable[T]], may_pass: tuple[type[Exception], ...]) -> T:
        """What `write` returns, once the disk takes it."""
        failures = 0
        while True:
            try:
                result = await write()
            except may_pass as error:
                failures += 1
                self._alert(f"the disk does not take what must be noted, so nothing more is sent: {error}")
                await asyncio.sleep(next_delay_ms(failures, self._config.backoff_max_ms, self._random) / 1000)
            else:
                if failures:
                    self._recovered()
                return result

    def _is_settled(self, first_lsn: int, last_lsn: int) -> bool:
        return last_lsn < self._state.next_lsn and not any(
            first <= last_lsn and first_lsn <= last for first, last in self._state.outstanding
        )

    def _only_suspects_up_to(self, last_lsn: int) -> bool:
        outstanding = self._state.outstanding
        return (
            bool(outstanding)
            and last_lsn < self._state.next_lsn
            and self._state == self._log.cursor
            and all(
                intent in self._suspects and self._refused_at[intent] == self._acceptances
                for intent in outstanding
            )
        )

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not done():
                    await self._moved.wait()
        except TimeoutError:
            pass
        return done()

    # Pace and alarm

    def _next_pause_s(self) -> float:
        self._pauses += 1
        return next_delay_ms(self._pauses, self._config.backoff_max_ms, self._random) / 1000

    async def _pause(self) -> None:
        await self._store(self._state)
        await asyncio.sleep(self._next_pause_s())

    def _alert(self, problem: str) -> None:
        """Critical, but said once: until something is accepted it is the same trouble."""
        if self.problem is None:
            log.critical("commit: %s", problem)
        self.problem = problem

    def _recovered(self) -> None:
        if self.problem is not None:
            log.warning(
                "commit: it goes on, %d rows wait; the problem was: %s", self._log.waiting, self.problem
            )
            self.problem = None


def _largest(pieces: list[Range]) -> Range:
    """The first of the largest."""
    return max(pieces, key=lambda piece: piece.last - piece.first)
