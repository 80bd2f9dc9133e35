"""Appends in groups: everything that arrives while one group is written becomes the next one.

One task of the event loop. It asks `Space` what to do, has a thread write and sync (that of an `Appender` for
small groups), then tells the callers of the group. A group is written as soon as the disk is free: a single
append waits for nothing, and the longer the disk takes, the larger the groups.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nealytics.errors import LogBroken, LogError, LogFull
from nealytics.observe.metrics import Metrics
from nealytics.wal.appender import compiled_appender
from nealytics.wal.frame import ROW_BYTES_MAX
from nealytics.wal.segment import Segment
from nealytics.wal.space import BeginSegment, Delete, Refuse, Space, Write
from nealytics.wal.state import LogState
from nealytics.wal.writer import Append, Group, Writer, Written

T = TypeVar("T")
# Called in the event loop with the LSN of the last row, or with the error if none was kept.
Done = Callable[[int, LogError | None], None]

logger = logging.getLogger("nealytics.wal")


class _Group(Group):
    """With what tells the callers."""

    __slots__ = ("done", "ended")

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Done] = []
        self.ended = asyncio.Event()  # durable, or refused

    def finish(self, before_lsn: int) -> None:
        """The rows are durable, from the one after `before_lsn` on."""
        lsn = before_lsn
        for done, append in zip(self.done, self.appends, strict=True):
            lsn += len(append.rows)
            _tell(done, lsn, None)

    def fail(self, error: LogError) -> None:
        for done in self.done:
            _tell(done, 0, error)
        self.ended.set()


class Flusher:
    """Makes appended rows durable, one group at a time.

    `delete`, `on_new_segment` and `on_broken` are what `Log` does about segments that go, a segment that
    was begun, and a write or sync that failed.
    """

    def __init__(
        self,
        state: LogState,
        writer: Writer,
        space: Space,
        metrics: Metrics,
        clock_ms: Callable[[], int],
        *,
        pending_bytes_max: int,
        idle_s: float,
        delete: Callable[[list[Segment]], Awaitable[None]],
        on_new_segment: Callable[[], Awaitable[None]],
        on_broken: Callable[[LogBroken], None],
    ) -> None:
        self._state = state
        self._writer = writer
        self._space = space
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._pending_bytes_max = pending_bytes_max
        self._idle_s = idle_s
        self._delete = delete
        self._on_new_segment = on_new_segment
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._threads = _Threads(state, writer)
        self._pending = _Group()
        self._writing = _Group()
        self._rotations: list[asyncio.Future[None]] = []
        self._wake: asyncio.Future[None] | None = None
        self._waiters = _Waiters()
        self._task = self._loop.create_task(self._run(), name="wal flusher")

    def append(self, rows: Sequence[bytes], row_format: int, done: Done) -> None:
        """`done` is called once the rows are durable, or at once if they cannot be kept."""
        payload_bytes = len(rows[0]) if len(rows) == 1 else sum(map(len, rows))
        pending = self._pending
        if (refusal := self._state.refusal()) is not None:
            done(0, refusal)
            return
        if payload_bytes + pending.payload_bytes > self._pending_bytes_max and pending.appends:
            done(0, LogFull(f"wal: {pending.payload_bytes} bytes are queued to be written; retry later"))
            return
        if payload_bytes > ROW_BYTES_MAX and max(map(len, rows)) > ROW_BYTES_MAX:
            raise ValueError(f"a row has more than {ROW_BYTES_MAX} bytes")
        if not rows:
            raise ValueError("no rows to append")
        pending.add(Append(rows, row_format, payload_bytes))
        pending.done.append(done)
        if self._wake is not None:
            self._wake_up()

    async def wait_for(self, lsn: int | None) -> None:
        """As `Log.wait_for`."""
        if lsn is None:
            for group in (self._writing, self._pending):
                if group.appends:
                    await group.ended.wait()
        elif self._state.durable_lsn >= lsn:
            return
        if (refusal := self._state.refusal()) is not None:
            raise refusal
        if lsn is not None:
            await self._waiters.wait_for(lsn)

    async def rotate(self) -> None:
        """Begins a new segment unless the active one has no rows. Raises `LogFull`, `LogBroken`."""
        if (refusal := self._state.refusal()) is not None:
            raise refusal
        future: asyncio.Future[None] = self._loop.create_future()
        self._rotations.append(future)
        self._wake_up()
        await future

    async def finish(self) -> None:
        """Returns when nothing is pending any more, after `state.closed` was set."""
        self._wake_up()
        await self._task

    async def close(self) -> None:
        """To be called after `finish`. Fails the waiters: no further row becomes durable."""
        if (refusal := self._state.refusal()) is not None:
            self._waiters.fail(refusal)
        await self._threads.close()
        self._writer.close()

    def fail(self, error: LogBroken) -> None:
        """The log is broken: fails everything that waits, and ends the task."""
        self._pending.fail(error)
        self._pending = _Group()
        self._waiters.fail(error)
        for future in self._rotations:
            fail(future, error)
        self._rotations = []
        self._wake_up()

    async def _run(self) -> None:
        state = self._state
        unmarked = False
        try:
            while state.broken is None:
                if self._rotations:
                    await self._rotate()
                if self._pending.appends:
                    self._writing, self._pending = self._pending, _Group()
                    unmarked = await self._flush(self._writing) or unmarked
                    self._writing.ended.set()
                    continue
                if not state.closed:
                    await self._sleep(self._idle_s if unmarked else None)
                if unmarked and not self._pending.appends and state.broken is None:
                    unmarked = False
                    # Without room, damage to the last group looks like an unfinished write for now.
                    with contextlib.suppress(LogFull):
                        await self._threads.run(self._writer.mark)
                elif state.closed and not self._pending.appends:
                    return
        except LogBroken as error:
            self._writing.fail(error)
            self._on_broken(error)
        except Exception as error:
            # Whether the group is durable is unknown, and its callers must not wait for ever.
            logger.exception("wal: %s: the flusher failed", state.directory)
            broken = LogBroken(f"wal: {state.directory}: the flusher failed: {error!r}; restart to recover")
            self._writing.fail(broken)
            self._on_broken(broken)

    async def _flush(self, group: _Group) -> bool:
        """Makes a group durable and tells its callers; False if there was no room."""
        needed = group.bytes_max
        active = self._writer.active
        try:
            await self._make_room(needed)
            try:
                await self._write(group)
            except LogFull:
                if not (committed := self._state.committed()):
                    raise
                await self._delete(committed)
                await self._write(group)
        except LogFull as error:
            self._space.refused(needed)
            group.fail(error)
            return False
        self._space.written()
        if self._writer.active is not active:
            await self._on_new_segment()
        return True

    async def _make_room(self, needed: int) -> None:
        """Raises `LogFull` if `needed` bytes do not fit, even without committed segments."""
        while True:
            match self._space.next_step(needed):
                case Write():
                    return
                case BeginSegment():
                    await self._threads.run(lambda: self._writer.rotate(self._state.cursor_lsn))
                case Delete(segments):
                    await self._delete(segments)
                case Refuse(reason):
                    raise LogFull(reason)

    async def _write(self, group: _Group) -> None:
        state = self._state
        before_lsn = state.durable_lsn
        state.appended_lsn = before_lsn + group.row_count
        appended_ms = self._clock_ms()
        try:
            written, durable = await self._threads.store(group)
        except LogFull:
            state.appended_lsn = before_lsn
            self._space.disk_was_full()
            raise
        assert written.last_lsn == state.appended_lsn
        state.durable_lsn = written.last_lsn
        state.check()
        if state.cursor_lsn == before_lsn:
            state.oldest_waiting_ms = appended_ms
        # At once, so that the gauge never says "drained" with an acknowledged event in the log. The server
        # sets it to `waiting` every second, which is what brings it down.
        self._metrics.queue_depth.add(state.durable_lsn - before_lsn)
        if durable is not None:
            durable(written.last_lsn)
        group.finish(before_lsn)
        self._waiters.wake(written.last_lsn)
        self._metrics.fsync_seconds.observe(written.sync_seconds)
        self._metrics.group_events.observe(written.last_lsn - before_lsn)

    async def _rotate(self) -> None:
        waiting, self._rotations = self._rotations, []
        try:
            if self._writer.has_rows:
                await self._threads.run(lambda: self._writer.rotate(self._state.cursor_lsn))
                await self._on_new_segment()
        except LogFull as error:
            for future in waiting:
                fail(future, error)
        except BaseException:
            self._rotations = waiting  # the log is broken: `fail` has them
            raise
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _sleep(self, timeout_s: float | None) -> None:
        wake = self._wake = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._wake_up) if timeout_s is not None else None
        await wake
        if timer is not None:
            timer.cancel()

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None


class _Threads:
    """The threads that use the disk, never both at a time: one of C for small groups, and one of Python."""

    def __init__(self, state: LogState, writer: Writer) -> None:
        self._state = state
        self._writer = writer
        self._python = ThreadPoolExecutor(1, "wal-write")
        self._appender = compiled_appender()

    async def store(self, group: _Group) -> tuple[Written, Callable[[int], None] | None]:
        """Writes and syncs a group, and has it counted by `on_durable`."""
        writer, on_durable, cursor_lsn = self._writer, self._state.on_durable, self._state.cursor_lsn

        def count() -> Callable[[int], None] | None:
            return None if on_durable is None else on_durable(group.appends)

        appender = self._appender
        frames = writer.small_frames(group) if appender is not None else None
        if appender is None or frames is None:
            return await self.run(lambda: (writer.write(group, cursor_lsn), count()))
        appending = appender.append(frames.descriptor, frames.data)
        counted = count()
        ended = await appending
        if ended.write_error:  # the file is truncated
            return await self.run(lambda: (writer.appended(frames, ended), counted))
        return writer.appended(frames, ended), counted

    async def run(self, work: Callable[[], T]) -> T:
        """Calls it in the thread of Python."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._python, work)
        finally:
            self._state.began(self._writer.active)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._python.shutdown)
        if self._appender is not None:
            self._appender.close()


class _Waiters:
    """Tasks that wait for a row to become durable."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def wait_for(self, lsn: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Cancelled waiters are removed here: the committer waits with a timeout several times a second.
        self._waiting = [waiter for waiter in self._waiting if not waiter[1].done()]
        self._waiting.append((lsn, future))
        await future

    def wake(self, durable_lsn: int) -> None:
        if not self._waiting:
            return
        waiting = []
        for lsn, future in self._waiting:
            if future.done():
                continue  # cancelled
            if lsn > durable_lsn:
                waiting.append((lsn, future))
            else:
                future.set_result(None)
        self._waiting = waiting

    def fail(self, error: LogBroken) -> None:
        for _, future in self._waiting:
            fail(future, error)
        self._waiting = []


def _tell(done: Done, lsn: int, error: LogError | None) -> None:
    try:
        done(lsn, error)
    except Exception:
        # The edge: the rows are as durable as was to be said, and the other callers must hear it.
        logger.exception("wal: what waited for row %d failed", lsn)


def future_of(
    append: Callable[[Sequence[bytes], int, Done], None], rows: Sequence[bytes], row_format: int
) -> "asyncio.Future[int]":
    """Appends, and returns a future of the last LSN."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def done(lsn: int, error: LogError | None) -> None:
        if error is not None:
            fail(future, error)
        elif not future.done():
            future.set_result(lsn)

    append(rows, row_format, done)
    return future


def fail(future: "asyncio.Future[T]", error: LogError) -> None:
    if not future.done():
        # One error each: an exception that many tasks raise would collect all of their tracebacks.
        future.set_exception(type(error)(*error.args))
        retrieve(future)


def retrieve(future: "asyncio.Future[T]") -> None:
    """Marks a failure as seen, so that asyncio does not warn about one whose caller has left."""
    if not future.cancelled():
        future.exception()
