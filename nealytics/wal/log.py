"""The log of one worker, as the rest of the program sees it: append, read, move the cursor.

`Log` lives in one event loop and does its I/O in two threads: the flusher's writes groups, the other one
reads, stores the cursor and deletes. What it knows (`LogState`) changes in the loop only. Decisions are in
`state`, `space` and `retention`; nothing is deleted anywhere but here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from nealytics.config import WalConfig
from nealytics.errors import LogBroken, LogDamaged, LogError, LogFull
from nealytics.observe.metrics import Metrics
from nealytics.wal import cursor, reserve, retention
from nealytics.wal.cursor import CursorState, Stored
from nealytics.wal.files import OS_FILES, Files
from nealytics.wal.flusher import Flusher, future_of, retrieve
from nealytics.wal.reader import Reader, Rows
from nealytics.wal.segment import Segment, first_lsn_of
from nealytics.wal.space import Space
from nealytics.wal.start import Started, start
from nealytics.wal.state import LogState

logger = logging.getLogger("nealytics.wal")

# What may be queued for the next group while one is written. More only moves the queue from the clients into
# our memory.
PENDING_BYTES_MAX = 64 * 1024 * 1024
# After this long without an append, a marker proves that the last group was synced. Not at once: under load
# the next group proves the same, for free.
IDLE_S = 0.1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Log(LogState):
    """Rows in, LSNs out; rows back in the order of their LSNs; a cursor that says which are committed.

    Make one with `open`. After a write or sync that failed, `broken` is set for good and `on_broken` is
    called once: the process must end, because only a fresh start can find out what the disk holds.
    """

    def __init__(
        self,
        directory: Path,
        config: WalConfig,
        files: Files,
        metrics: Metrics,
        bytes_max: int,
        clock_ms: Callable[[], int],
        on_broken: Callable[[LogBroken], None] | None,
        reading: ThreadPoolExecutor,
        started: Started,
    ) -> None:
        recovered, writer = started.recovered, started.writer
        super().__init__(
            directory,
            recovered.log_id,
            [*recovered.segments, writer.active],
            recovered.next_lsn - 1,
            recovered.cursor,
        )
        # After the cursor was lost: rows up to here may have been sent.
        self.forgotten_lsn = self.durable_lsn if recovered.rebuilt else 0
        # While the rows are compared with the table, committed segments are deleted for room only.
        self.keep_all = False
        self._config = config
        self._files = files
        self._clock_ms = clock_ms
        self._on_broken = on_broken or partial(logger.critical, "%s")
        self._lock = started.lock
        self._loop = asyncio.get_running_loop()
        self._reading = reading
        self._reader = Reader(files)
        self._oldest_reader = Reader(files)  # its place is the cursor's, which the other one has long passed
        self._cursor_lock = asyncio.Lock()
        self._recorded_lsn = self.durable_lsn  # `durable_lsn` in the stored cursor
        self._space = Space(
            self,
            config,
            bytes_max=bytes_max,
            free_bytes=partial(files.free_bytes, directory),
            clock=self._loop.time,
        )
        retention.note_committed(self.committed(), clock_ms())
        self._flusher = Flusher(
            self,
            writer,
            self._space,
            metrics,
            clock_ms,
            pending_bytes_max=PENDING_BYTES_MAX,
            idle_s=IDLE_S,
            delete=self._delete,
            on_new_segment=self._record_durable,
            on_broken=self._break,
        )
        # As `append`, but calls its last argument where that resolves a future: 1.4 µs less for each append.
        self.append_with = self._flusher.append

    @classmethod
    async def open(
        cls,
        directory: Path,
        config: WalConfig,
        *,
        files: Files = OS_FILES,
        metrics: Metrics | None = None,
        bytes_max: int | None = None,
        clock_ms: Callable[[], int] = _now_ms,
        on_broken: Callable[[LogBroken], None] | None = None,
    ) -> "Log":
        """Makes or recovers the log in `directory`, and holds its lock until `close`.

        Raises `LogLocked` if another process keeps the lock for `lock_timeout_s`, `LogDamaged` for what a
        crash cannot explain, `LogError` for a file system whose fdatasync proves nothing.
        """
        metrics = metrics or Metrics.private()
        bytes_max = config.bytes_max if bytes_max is None else bytes_max
        # Space is freed a segment at a time: with few large segments, a small log would be full although all
        # of its rows are committed.
        segment_bytes_max = min(config.segment_bytes_max, bytes_max // 4)
        reading = ThreadPoolExecutor(1, "wal-read")
        started: Started | None = None
        try:
            started = await start(
                files,
                directory,
                config,
                segment_bytes_max=segment_bytes_max,
                clock_ms=clock_ms,
                executor=reading,
            )
            log = cls(directory, config, files, metrics, bytes_max, clock_ms, on_broken, reading, started)
        except BaseException:
            reading.shutdown()
            if started is not None:
                started.lock.close()
            raise
        metrics.torn_tails.add(started.recovered.torn_tails)
        log.oldest_waiting_ms = await log._find_oldest()
        count = len(log._segments)
        logger.info(
            "wal: %s: log %s, %d segment%s, rows up to %d, %d of them queued",
            directory, log.log_id, count, "s" * (count != 1), log.durable_lsn, log.waiting,
        )  # fmt: skip
        return log

    @property
    def full(self) -> bool:
        """Whether an append like the last refused one would be refused again; without one, a small append."""
        return self._space.full

    @property
    def disk_full(self) -> bool:
        """Whether the disk makes the log `full`, not `wal.bytes_max`."""
        return self._space.disk_full

    def append(self, rows: Sequence[bytes], row_format: int) -> asyncio.Future[int]:
        """The LSN of the last of `rows`, once all of them are durable; they get consecutive LSNs.

        Fails with `LogFull` (nothing was kept; try again later) or `LogBroken`. The future may be cancelled
        or dropped: the rows stay in their group, and the writer does not notice.
        """
        return future_of(self.append_with, rows, row_format)

    async def wait_for(self, lsn: int | None = None) -> None:
        """Returns when row `lsn`, by default each that was appended, is durable. Raises `LogBroken`."""
        await self._flusher.wait_for(lsn)

    async def read(self, first_lsn: int, *, rows_max: int, bytes_max: int) -> Rows:
        """Durable rows from `first_lsn` on: at least one, of one format, in memory that depends on the
        bounds only.

        One row may be longer than `bytes_max`. Raises `LogDamaged` if they do not read back as they were
        written.
        """
        if self.closed and (refusal := self.refusal()) is not None:
            raise refusal
        read = partial(self._reader.read, tuple(self._segments), self.durable_lsn)
        try:
            return await self._loop.run_in_executor(self._reading, read, first_lsn, rows_max, bytes_max)
        except OSError as error:
            raise LogDamaged(
                f"wal: {self.directory}: reading row {first_lsn} failed: {error}; check the disk"
            ) from error

    async def store_cursor(self, state: CursorState) -> None:
        """Returns when `state` is durable and segments that nobody needs any more are deleted.

        Raises `LogFull` if not even the reserve makes room (the stored cursor stays as it was), `LogBroken`
        if the write or sync failed, `ValueError` for a state that goes back or beyond the durable rows.
        """

        async def store() -> None:
            async with self._cursor_lock:
                if (refusal := self.refusal()) is not None:
                    raise refusal
                self.check_cursor(state)
                await self._write_cursor(state, _store_with_reserve)
                self.cursor = state
                retention.note_committed(self.committed(), self._clock_ms())
                self.check()
                self.oldest_waiting_ms = await self._find_oldest()
                if not self.keep_all:
                    free = self._files.free_bytes(self.directory)
                    now_ms = self._clock_ms()
                    await self._delete(retention.expired(self.committed(), now_ms, self._config, free))

        # Shielded: if a committer that is cancelled stopped this, the cursor in memory and the one on disk
        # could differ.
        storing = self._loop.create_task(store())
        storing.add_done_callback(retrieve)
        await asyncio.shield(storing)

    async def purge(self, last_lsn: int) -> bool:
        """Deletes the committed segments with rows up to `last_lsn`, and the copies of torn ones, durably;
        False while such a row is left. Raises `LogFull`, `LogBroken`, `OSError`."""
        if self.active.first_lsn <= last_lsn:
            await self._flusher.rotate()
        async with self._cursor_lock:
            if (refusal := self.refusal()) is not None:
                raise refusal
            if self.keep_all:
                return False
            await self._delete([one for one in self.committed() if one.first_lsn <= last_lsn])
            rest = self._files, self.directory, self._segments[0].first_lsn
            await self._loop.run_in_executor(self._reading, _unlink_rest, *rest)
        return self.deleted_lsn >= last_lsn

    async def close(self) -> None:
        """Makes appended rows durable, records that on disk, and releases the directory."""
        if self.closed:
            return
        self.closed = True
        await self._flusher.finish()
        await self._record_durable()
        await self._flusher.close()
        await self._loop.run_in_executor(None, self._reading.shutdown)
        self._reader.close()
        self._oldest_reader.close()
        self._lock.close()

    async def _record_durable(self) -> None:
        """Tells the next start how far the log reaches, so that it misses a file that was lost or cut."""
        async with self._cursor_lock:
            if self.broken is None and self.durable_lsn > self._recorded_lsn:
                # Without room the next start knows less, and the reserve stays for what needs it. An error
                # of the disk was reported by `_break`.
                with contextlib.suppress(LogError):
                    await self._write_cursor(self.cursor, cursor.store)

    async def _write_cursor(self, state: CursorState, store: Callable[[Files, Path, Stored], None]) -> None:
        stored = Stored(self.log_id, state, self.durable_lsn)
        try:
            await self._loop.run_in_executor(self._reading, store, self._files, self.directory, stored)
        except LogBroken as error:
            self._break(error)
            raise
        self._recorded_lsn = stored.durable_lsn

    async def _find_oldest(self) -> int | None:
        """When the oldest row that is not committed was written."""
        lsn = self.cursor_lsn + 1
        if lsn > self.durable_lsn:
            return None
        find = partial(self._oldest_reader.appended_ms, tuple(self._segments), lsn)
        try:
            return await self._loop.run_in_executor(self._reading, find)
        except (LogDamaged, OSError):
            return self.oldest_waiting_ms  # only a figure for people; the reader of the rows gets the error

    async def _delete(self, segments: list[Segment]) -> None:
        """Deletes the oldest segments, which are committed."""
        if segments:
            self.forget(segments)
            await self._loop.run_in_executor(self._reading, _unlink, self._files, segments)
            self._space.deleted()

    def _break(self, error: LogBroken) -> None:
        if self.broken is not None:
            return
        self.broken = error
        self._flusher.fail(error)
        self._on_broken(error)


def _store_with_reserve(files: Files, directory: Path, stored: Stored) -> None:
    try:
        cursor.store(files, directory, stored)
    except LogFull:
        if not reserve.release(files, directory):
            raise
        logger.warning("wal: %s: the disk is full; using the reserve for the cursor", directory)
        cursor.store(files, directory, stored)
    else:
        reserve.restore(files, directory)


def _unlink(files: Files, segments: Sequence[Segment]) -> None:
    for segment in segments:
        try:
            files.unlink(segment.path)
        except OSError as error:
            logger.warning("wal: cannot delete the committed segment %s: %s", segment.path, error)


def _unlink_rest(files: Files, directory: Path, first_lsn: int) -> None:
    """Copies of torn segments, and segments older than `first_lsn` that could not be deleted before."""
    for name in files.names(directory):
        number = first_lsn_of(name)
        if name.endswith(".torn") or (number is not None and number < first_lsn):
            files.unlink(directory / name)
    files.sync_directory(directory)
