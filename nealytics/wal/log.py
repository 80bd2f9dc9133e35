"""The log of one worker, as the rest of the program sees it: append, read, move the cursor.

`Log` lives in one event loop and does its I/O in two threads: one writes groups, the other reads, stores
the cursor and deletes. What it knows (segments, LSNs, cursor) changes in the loop only.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from nealytics.config import WalConfig
from nealytics.errors import LogBroken, LogDamaged, LogError, LogFull, LogLocked
from nealytics.observe.metrics import Metrics
from nealytics.wal import cursor, recovery
from nealytics.wal.cursor import CursorState, Stored
from nealytics.wal.files import OS_FILES, File, Files, make_directory
from nealytics.wal.frame import ROW_BYTES_MAX
from nealytics.wal.reader import Reader, Rows
from nealytics.wal.recovery import Recovered
from nealytics.wal.segment import Segment
from nealytics.wal.writer import Append, Writer, bytes_needed

T = TypeVar("T")

logger = logging.getLogger("nealytics.wal")

# What may wait for its group, beside the group that is being written. More only moves the queue from the
# clients into our memory.
PENDING_BYTES_MAX = 64 * 1024 * 1024
# After this long without an append, a marker says that the last group was synced. Not at once: under load the
# next group says the same, for free.
IDLE_S = 0.1
# A disk that fills up does so over many of these; asking costs a system call.
_FREE_BYTES_EVERY_S = 1.0
_LOCK_POLL_S = 0.1
# What `full` is judged by before anything was refused: a log that could not take this takes no events.
_SMALL_APPEND_BYTES = 4096
# With this released, a full disk still has room for cursors and a segment's header.
_RESERVE = "reserve"
_RESERVE_BYTES = 256 * 1024
# fdatasync of these says little: the bytes are on another machine, in memory, or in a layer that is thrown
# away.
FILESYSTEMS_REFUSED = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "overlay", "aufs", "tmpfs", "ramfs")
)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Group:
    """Appends that share one fdatasync, and who waits for them."""

    __slots__ = ("appends", "futures", "payload_bytes")

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.futures: list[asyncio.Future[int]] = []
        self.payload_bytes = 0

    def fail(self, error: LogError) -> None:
        for future in self.futures:
            _fail(future, error)


class Log:
    """Rows in, LSNs out; rows back in the order of their LSNs; a cursor that says which are committed.

    Make one with `open`. LSNs begin at 1 and have no gaps. Always `deleted ≤ cursor ≤ durable ≤ appended`.
    After a write or sync that failed, `broken` is set for good and `on_broken` is called once: the process
    must end, because only a fresh start can find out what the disk holds.
    """

    def __init__(
        self,
        directory: Path,
        config: WalConfig,
        files: Files,
        metrics: Metrics,
        bytes_max: int,
        clock_ms: Callable[[], int],
        lock: File,
        reading: ThreadPoolExecutor,
        recovered: Recovered,
        writer: Writer,
    ) -> None:
        self.directory = directory
        self.log_id: UUID = recovered.log_id
        self.appended_lsn = self.durable_lsn = recovered.next_lsn - 1
        self.cursor: CursorState = recovered.cursor
        # Rows up to here may have been sent, also those that the cursor does not know of: it was lost.
        self.forgotten_lsn = self.durable_lsn if recovered.rebuilt else 0
        self.oldest_waiting_ms: int | None = None
        self.broken: LogBroken | None = None
        self.on_broken: Callable[[LogBroken], None] | None = None

        self._config = config
        self._files = files
        self._metrics = metrics
        self._bytes_max = bytes_max
        self._clock_ms = clock_ms
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._reading = reading
        self._writing = ThreadPoolExecutor(1, "wal-write")

        self._writer = writer
        self._segments: list[Segment] = [*recovered.segments, writer.active]
        self._older_bytes = sum(segment.bytes for segment in recovered.segments)
        self._reader = Reader(files)
        self._oldest_reader = Reader(files)  # its place is the cursor's, which the other one has long passed

        self._pending = _Group()
        self._wake: asyncio.Future[None] | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._closed = False
        self._refused_bytes = 0  # of the last group there was no room for; 0 = there was room
        self._no_room_until = 0.0
        self._free_bytes = 0
        self._free_bytes_at = float("-inf")
        self._cursor_lock = asyncio.Lock()
        self._recorded_lsn = self.durable_lsn  # what the stored cursor says was durable
        self._note_committed()
        self._check()
        self._flusher = self._loop.create_task(self._flush_for_ever(), name="wal flusher")

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
        loop = asyncio.get_running_loop()
        lock: File | None = None
        try:
            await loop.run_in_executor(reading, _prepare, files, directory, config)
            lock = await _take_lock(files, directory, config.lock_timeout_s)
            recovered, writer = await loop.run_in_executor(
                reading, _start, files, directory, segment_bytes_max, clock_ms
            )
            log = cls(
                directory, config, files, metrics, bytes_max, clock_ms, lock, reading, recovered, writer
            )
        except BaseException:
            reading.shutdown()
            if lock is not None:
                lock.close()
            raise
        log.on_broken = on_broken
        metrics.torn_tails.add(recovered.torn_tails)
        log.oldest_waiting_ms = await log._find_oldest()
        logger.info(
            "wal: %s: log %s, %d segments, rows up to %d, %d of them waiting",
            directory, log.log_id, len(log._segments), log.durable_lsn, log.waiting,
        )  # fmt: skip
        return log

    # State

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
    def bytes_used(self) -> int:
        """Size of all segments, those included that are kept after they were committed."""
        return self._older_bytes + self._writer.active.bytes

    @property
    def full(self) -> bool:
        """Whether an append like the last refused one would be refused again; without one, a small append."""
        if self._loop.time() < self._no_room_until:
            return True
        needed = self._refused_bytes or _SMALL_APPEND_BYTES
        return bool(self._shortage(needed, self._reclaimable_bytes()))

    @property
    def disk_full(self) -> bool:
        """Whether it is the disk that makes the log `full`, and not `wal.bytes_max`."""
        needed = self._refused_bytes or _SMALL_APPEND_BYTES
        return self.full and self.bytes_used - self._reclaimable_bytes() + needed <= self._bytes_max

    # Writing

    def append(self, rows: Sequence[bytes], row_format: int) -> asyncio.Future[int]:
        """The LSN of the last of `rows`, once all of them are durable; they get consecutive LSNs.

        Fails with `LogFull` (nothing was kept; try again later) or `LogBroken`. The future may be cancelled
        or dropped: the rows are in their group, and nothing reaches the writer.
        """
        future = self._loop.create_future()
        # 2 µs per call with one row: that is the whole cost of an event in the loop until its group is done.
        payload_bytes = len(rows[0]) if len(rows) == 1 else sum(map(len, rows))
        pending = self._pending
        if self.broken is not None or self._closed:
            _fail(future, self._refusal())
            return future
        if payload_bytes + pending.payload_bytes > PENDING_BYTES_MAX and pending.futures:
            _fail(
                future,
                LogFull(f"wal: {pending.payload_bytes} bytes are queued to be written; retry later"),
            )
            return future
        if payload_bytes > ROW_BYTES_MAX and max(map(len, rows)) > ROW_BYTES_MAX:
            raise ValueError(f"a row has more than {ROW_BYTES_MAX} bytes")
        if not rows:
            raise ValueError("no rows to append")
        pending.appends.append(Append(rows, row_format, payload_bytes))
        pending.futures.append(future)
        pending.payload_bytes += payload_bytes
        if self._wake is not None:
            self._wake_flusher()
        return future

    async def wait_for(self, lsn: int) -> None:
        """Returns when row `lsn` is durable. Raises `LogBroken` if that cannot happen any more."""
        if self.durable_lsn >= lsn:
            return
        if self.broken is not None or self._closed:
            raise self._refusal()
        future: asyncio.Future[None] = self._loop.create_future()
        # Those who gave up leave here: the committer looks again several times a second.
        self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
        self._waiters.append((lsn, future))
        await future

    async def close(self) -> None:
        """Makes what was appended durable, says so on disk, and releases the directory."""
        if self._closed:
            return
        self._closed = True
        self._wake_flusher()
        await self._flusher
        await self._record_durable()
        for _, future in self._waiters:
            _fail(future, self._refusal())
        for thread in (self._writing, self._reading):
            await self._loop.run_in_executor(None, thread.shutdown)
        self._writer.close()
        self._reader.close()
        self._oldest_reader.close()
        self._lock.close()

    # Reading

    async def read(self, first_lsn: int, *, rows_max: int, bytes_max: int) -> Rows:
        """Durable rows from `first_lsn` on: at least one, of one format, in memory that depends on the
        bounds only.

        One row may be longer than `bytes_max`. Raises `LogDamaged` if they do not read back as they were
        written.
        """
        if self._closed:
            raise self._refusal()
        segments, durable_lsn = tuple(self._segments), self.durable_lsn
        return await self._in_reading_thread(
            lambda: self._read(segments, durable_lsn, first_lsn, rows_max, bytes_max)
        )

    def _read(
        self, segments: tuple[Segment, ...], durable_lsn: int, first_lsn: int, rows_max: int, bytes_max: int
    ) -> Rows:
        try:
            return self._reader.read(segments, durable_lsn, first_lsn, rows_max, bytes_max)
        except OSError as error:
            raise LogDamaged(
                f"wal: {self.directory}: reading row {first_lsn} failed: {error}; check the disk"
            ) from error

    # Settling

    async def store_cursor(self, state: CursorState) -> None:
        """Returns when `state` is durable and segments that nobody needs any more are deleted.

        Raises `LogFull` if not even the reserve makes room (the stored cursor stays as it was), `LogBroken`
        if the write or sync failed, `ValueError` for a state that goes back or beyond the durable rows.
        """
        # Shielded: a committer that is cancelled must not leave us with another cursor in memory than on
        # disk.
        storing = self._loop.create_task(self._store_cursor(state))
        storing.add_done_callback(_retrieve)
        await asyncio.shield(storing)

    async def _store_cursor(self, state: CursorState) -> None:
        async with self._cursor_lock:
            if self.broken is not None or self._closed:
                raise self._refusal()
            if problem := state.problem():
                raise ValueError(f"impossible cursor: {problem}")
            if not self.cursor_lsn <= state.done_lsn or not state.next_lsn - 1 <= self.durable_lsn:
                raise ValueError(
                    f"cursor {state.done_lsn}..{state.next_lsn} does not lie between {self.cursor_lsn} and "
                    f"{self.durable_lsn}"
                )
            await self._replace_cursor(state, self._write_cursor_with_reserve)
            self.cursor = state
            self._note_committed()
            self._check()
            self.oldest_waiting_ms = await self._find_oldest()
            await self._delete(self._expired())

    async def _replace_cursor(self, state: CursorState, write: Callable[[Stored], None]) -> None:
        stored = Stored(self.log_id, state, self.durable_lsn)
        try:
            await self._in_reading_thread(lambda: write(stored))
        except LogBroken as error:
            self._break(error)
            raise
        self._recorded_lsn = stored.durable_lsn

    async def _record_durable(self) -> None:
        """Tells the next start how far the log reaches, so that it misses a file that has gone or was cut."""
        async with self._cursor_lock:
            if self.broken is None and self.durable_lsn > self._recorded_lsn:
                # Without room the next start knows less, and the reserve stays for what needs it. An error
                # of the disk was reported by `_break`.
                with contextlib.suppress(LogError):
                    await self._replace_cursor(self.cursor, self._write_cursor)

    def _write_cursor(self, stored: Stored) -> None:
        cursor.store(self._files, self.directory, stored)

    def _write_cursor_with_reserve(self, stored: Stored) -> None:
        reserve = self.directory / _RESERVE
        try:
            self._write_cursor(stored)
        except LogFull:
            if not self._files.exists(reserve):
                raise
            logger.warning("wal: %s: the disk is full; the reserve is used for the cursor", self.directory)
            self._files.unlink(reserve)
            self._write_cursor(stored)
            return
        if not self._files.exists(reserve):
            _make_reserve(self._files, self.directory)

    async def _find_oldest(self) -> int | None:
        lsn = self.cursor_lsn + 1
        if lsn > self.durable_lsn:
            return None
        segments = tuple(self._segments)
        try:
            return await self._in_reading_thread(lambda: self._oldest_reader.appended_ms(segments, lsn))
        except (LogDamaged, OSError):
            return self.oldest_waiting_ms  # only a number for people; whoever reads the rows gets the error

    # Deletion. Only here, and only whole segments, committed ones, never the active one.

    def _committed(self) -> list[Segment]:
        done = self.cursor_lsn
        segments = self._segments
        return [old for old, following in pairwise(segments) if following.first_lsn - 1 <= done]

    def _note_committed(self) -> None:
        now = self._clock_ms()
        for segment in self._committed():
            if segment.committed_ms is None:
                segment.committed_ms = now

    def _expired(self) -> list[Segment]:
        """Committed segments that keep_hours and keep_bytes do not ask to keep, oldest first."""
        committed = self._committed()
        kept_bytes = sum(segment.bytes for segment in committed)
        expired_ms = self._clock_ms() - self._config.keep_hours * 3_600_000
        expired = []
        for segment in committed:
            assert segment.committed_ms is not None
            if kept_bytes <= self._config.keep_bytes and segment.committed_ms > expired_ms:
                break
            expired.append(segment)
            kept_bytes -= segment.bytes
        return expired

    async def _delete(self, segments: list[Segment]) -> None:
        if not segments:
            return
        # Always the oldest ones, and out of the list before the unlink: nobody looks for them any more.
        assert segments == self._segments[: len(segments)]
        del self._segments[: len(segments)]
        self._older_bytes -= sum(segment.bytes for segment in segments)
        self._check()
        self._free_bytes_at = float("-inf")
        await self._in_reading_thread(lambda: self._unlink(segments))

    def _unlink(self, segments: list[Segment]) -> None:
        for segment in segments:
            try:
                self._files.unlink(segment.path)
            except OSError as error:
                logger.warning("wal: %s is committed but could not be deleted: %s", segment.path, error)

    # Room

    def _shortage(self, needed: int, reclaimable: int = 0) -> str:
        """Why `needed` more bytes cannot be taken; empty if they can."""
        used = self.bytes_used - reclaimable
        if used + needed > self._bytes_max:
            return (
                f"wal: {self.directory} holds {used} of at most {self._bytes_max} bytes and {self.waiting} "
                "rows wait for ClickHouse; see why they wait, or raise wal.bytes_max"
            )
        now = self._loop.time()
        if now - self._free_bytes_at >= _FREE_BYTES_EVERY_S:
            self._free_bytes = self._files.free_bytes(self.directory)
            self._free_bytes_at = now
        # A start copies the last segment, and the cursor has to move: appends that took that room too would
        # leave a log that nothing could ever empty.
        restart = self._writer.active.bytes + needed + _RESERVE_BYTES
        if self._free_bytes + reclaimable - needed < max(self._config.free_bytes_min, restart):
            return (
                f"wal: the disk of {self.directory} has {self._free_bytes} bytes free; wal.free_bytes_min "
                f"keeps {self._config.free_bytes_min} and a restart needs {restart}; free some disk space"
            )
        return ""

    def _reclaimable_bytes(self) -> int:
        older = sum(segment.bytes for segment in self._committed())
        return older + (self._writer.active.bytes if self._active_is_committed() else 0)

    def _active_is_committed(self) -> bool:
        return self._writer.has_rows and self.cursor_lsn == self.durable_lsn

    async def _make_room(self, needed: int) -> None:
        """Gives up what is only kept for reconciliation; raises `LogFull` if that is not enough."""
        if not self._shortage(needed):
            self._free_bytes -= needed  # until it is asked again
            return
        if self._active_is_committed():
            # Otherwise a log whose limit is small could stay full of rows that nobody waits for.
            await self._in_writing_thread(lambda: self._writer.rotate(self.cursor_lsn))
        self._note_committed()
        await self._delete(self._committed())
        if shortage := self._shortage(needed):
            self._refused_bytes = needed
            raise LogFull(shortage)

    # The flusher: everything that is pending becomes one group; one group at a time.

    async def _flush_for_ever(self) -> None:
        unmarked = False
        group = _Group()
        try:
            while self.broken is None:
                if self._pending.futures:
                    group, self._pending = self._pending, _Group()
                    unmarked = await self._flush(group) or unmarked
                    continue
                if not self._closed:
                    await self._sleep(IDLE_S if unmarked else None)
                if unmarked and not self._pending.futures and self.broken is None:
                    unmarked = False
                    await self._mark()
                elif self._closed and not self._pending.futures:
                    return
        except LogBroken as error:
            group.fail(error)
            self._break(error)
        except Exception as error:
            # Whatever it is, the group's fate is unknown and nobody else would tell its waiters.
            logger.exception("wal: %s: the flusher failed", self.directory)
            broken = LogBroken(f"wal: {self.directory}: the flusher failed: {error!r}; restart to recover")
            group.fail(broken)
            self._break(broken)

    async def _flush(self, group: _Group) -> bool:
        """Makes a group durable and tells its waiters; False if there was no room."""
        needed = bytes_needed(group.appends)
        active = self._writer.active
        try:
            await self._make_room(needed)
            try:
                await self._write(group)
            except LogFull:
                if not (kept := self._committed()):
                    raise
                await self._delete(kept)
                await self._write(group)
        except LogFull as error:
            self._refused_bytes = needed
            group.fail(error)
            return False
        self._refused_bytes = 0
        self._no_room_until = 0.0
        if self._writer.active is not active:
            await self._record_durable()
        return True

    async def _write(self, group: _Group) -> None:
        cursor_lsn, before_lsn = self.cursor_lsn, self.durable_lsn
        self.appended_lsn = before_lsn + sum(len(append.rows) for append in group.appends)
        appended_ms = self._clock_ms()
        try:
            written = await self._in_writing_thread(lambda: self._writer.write(group.appends, cursor_lsn))
        except LogFull:
            self.appended_lsn = before_lsn
            self._no_room_until = self._loop.time() + _FREE_BYTES_EVERY_S
            raise
        assert written.last_lsn == self.appended_lsn
        self.durable_lsn = written.last_lsn
        self._check()
        if self.cursor_lsn == before_lsn:
            self.oldest_waiting_ms = appended_ms
        # At once, so that the gauge never says "drained" with an acknowledged event in the log. The server
        # sets it to `waiting` now and then, which is what brings it down.
        self._metrics.queue_depth.add(self.durable_lsn - before_lsn)
        lsn = before_lsn
        for future, append in zip(group.futures, group.appends, strict=True):
            lsn += len(append.rows)
            if not future.done():
                future.set_result(lsn)
        if self._waiters:
            self._wake_waiters()
        metrics = self._metrics
        metrics.fsync_seconds.observe(written.sync_seconds)
        metrics.group_events.observe(lsn - before_lsn)

    async def _mark(self) -> None:
        try:
            await self._in_writing_thread(self._writer.mark)
        except LogFull:
            pass  # it only narrows what damage could pass for an unfinished write; the next one does too

    async def _sleep(self, timeout_s: float | None) -> None:
        wake = self._wake = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._wake_flusher) if timeout_s is not None else None
        await wake
        if timer is not None:
            timer.cancel()

    def _wake_flusher(self) -> None:
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    def _wake_waiters(self) -> None:
        waiting = []
        for lsn, future in self._waiters:
            if future.done():
                continue  # cancelled: whoever waited has gone
            if lsn > self.durable_lsn:
                waiting.append((lsn, future))
            else:
                future.set_result(None)
        self._waiters = waiting

    def _break(self, error: LogBroken) -> None:
        if self.broken is not None:
            return
        self.broken = error
        self._pending.fail(error)
        self._pending = _Group()
        for _, future in self._waiters:
            _fail(future, error)
        self._waiters = []
        self._wake_flusher()
        if self.on_broken is None:
            logger.critical("%s", error)
        else:
            self.on_broken(error)

    # Threads

    async def _in_reading_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._reading, work)

    async def _in_writing_thread(self, work: Callable[[], T]) -> T:
        try:
            return await self._loop.run_in_executor(self._writing, work)
        finally:
            active = self._writer.active
            if active is not self._segments[-1]:
                self._older_bytes += self._segments[-1].bytes
                self._segments.append(active)

    def _refusal(self) -> LogBroken:
        return LogBroken(str(self.broken) if self.broken is not None else f"wal: {self.directory} is closed")

    def _check(self) -> None:
        assert self.deleted_lsn <= self.cursor_lsn <= self.durable_lsn <= self.appended_lsn, (
            self.deleted_lsn, self.cursor_lsn, self.durable_lsn, self.appended_lsn,
        )  # fmt: skip


def _fail(future: "asyncio.Future[T]", error: LogError) -> None:
    if not future.done():
        # One error each: an exception that many tasks raise would collect all of their tracebacks.
        future.set_exception(type(error)(*error.args))
        _retrieve(future)


def _retrieve(future: "asyncio.Future[T]") -> None:
    """Marks a failure as seen: that whoever waited has gone is not worth asyncio's warning."""
    if not future.cancelled():
        future.exception()


def _prepare(files: Files, directory: Path, config: WalConfig) -> None:
    """Makes the directory, for its owner only, on a file system that keeps what it has synced."""
    try:
        make_directory(files, directory)
        files.restrict(directory)
    except OSError as error:
        raise LogError(
            f"wal: the directory {directory} cannot be used: {error}; set wal.directory"
        ) from error
    filesystem = files.filesystem(directory)
    if filesystem in FILESYSTEMS_REFUSED and not config.allow_any_filesystem:
        raise LogError(
            f"wal: {directory} is on {filesystem}, which may lose what it has acknowledged; set "
            "wal.directory to a local disk (in a container: a volume), or wal.allow_any_filesystem = true if "
            "losing events is fine"
        )


async def _take_lock(files: Files, directory: Path, timeout_s: float) -> File:
    path = directory / "LOCK"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    said = False
    while (lock := _try_lock(files, path)) is None:
        holder = _holder(files, path)
        if loop.time() >= deadline:
            raise LogLocked(
                f"wal: {directory} is locked by {holder} and was not released within {timeout_s:g} s; stop "
                "that process, or give this one a wal.directory of its own"
            )
        if not said:
            logger.warning(
                "wal: waiting up to %g s for %s, which %s has locked", timeout_s, directory, holder
            )
            said = True
        await asyncio.sleep(min(_LOCK_POLL_S, timeout_s))
    try:
        lock.truncate(0)
        lock.append(f"{os.getpid()}\n".encode())
    except OSError:
        pass  # the pid is a courtesy; the lock is held
    return lock


def _try_lock(files: Files, path: Path) -> File | None:
    try:
        return files.try_lock(path)
    except OSError as error:
        raise LogError(f"wal: {path} cannot be locked: {error}; let this user write there") from error


def _holder(files: Files, path: Path) -> str:
    try:
        file = files.open(path)
    except OSError:
        return "another process"
    try:
        pid = file.read(0, 20).strip()
    finally:
        file.close()
    return f"process {pid.decode()}" if pid.isdigit() else "another process"


def _start(
    files: Files, directory: Path, segment_bytes_max: int, clock_ms: Callable[[], int]
) -> tuple[Recovered, Writer]:
    try:
        recovered, writer = _start_once(files, directory, segment_bytes_max, clock_ms)
    except LogFull:
        # A start must work on a full disk: sending to ClickHouse what is in the log is what makes room.
        logger.warning("wal: %s: the disk is full; committed segments and the reserve are deleted", directory)
        recovery.release_committed(files, directory)
        if files.exists(directory / _RESERVE):
            files.unlink(directory / _RESERVE)
        return _start_once(files, directory, segment_bytes_max, clock_ms)
    if not files.exists(directory / _RESERVE):
        _make_reserve(files, directory)
    return recovered, writer


def _start_once(
    files: Files, directory: Path, segment_bytes_max: int, clock_ms: Callable[[], int]
) -> tuple[Recovered, Writer]:
    recovered = recovery.recover(files, directory, clock_ms)
    # Stored again even if it is fine, and before the first segment of a new log: a cursor that was renamed
    # but whose directory could not be synced is there for us and gone after a power cut.
    cursor.store(
        files, directory, Stored(recovered.log_id, recovered.cursor, durable_lsn=recovered.next_lsn - 1)
    )
    writer = Writer(
        files,
        directory,
        recovered.log_id,
        next_lsn=recovered.next_lsn,
        previous_first_lsn=recovered.previous_first_lsn,
        previous_crc=recovered.previous_crc,
        segment_bytes_max=segment_bytes_max,
        clock_ms=clock_ms,
        cursor_lsn=recovered.cursor.done_lsn,
    )
    return recovered, writer


def _make_reserve(files: Files, directory: Path) -> None:
    path = directory / _RESERVE
    try:
        file = files.create(path)
        try:
            file.preallocate(_RESERVE_BYTES)
        finally:
            file.close()
    except OSError as error:
        logger.debug("wal: %s: no room for the reserve yet: %s", directory, error)
        try:
            files.unlink(path)
        except OSError:
            pass  # it is too small now; the next start makes it again
