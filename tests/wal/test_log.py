"""The log as the rest of the program sees it."""

import asyncio
import errno
import logging
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from nealytics.errors import LogBroken, LogError, LogFull, LogLocked
from nealytics.observe.metrics import Metrics
from nealytics.observe.prometheus import text
from nealytics.wal import OS_FILES, CursorState, Log, Range, cursor
from nealytics.wal.log import IDLE_S
from nealytics.wal.reader import Rows
from tests.fakes.faulty_files import FaultyFiles
from tests.waiting import until_async
from tests.wal.logs import advance_cursor, opened, read_all, segments, snapshot, wal_config

# Appending


async def test_append_answers_with_the_last_lsn_and_rows_read_back_in_order(tmp_path: Path):
    async with opened(tmp_path) as log:
        assert (log.durable_lsn, log.cursor_lsn, log.waiting) == (0, 0, 0)
        assert await log.append([b"a"], 1) == 1
        assert await log.append([b"b", b"", b"d"], 1) == 4
        assert await read_all(log) == [b"a", b"b", b"", b"d"]
        assert log.waiting == 4


async def test_a_start_logs_what_the_log_has(tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    async with opened(tmp_path) as log:
        await log.append([b"a"], 1)
    assert ", 1 segment, rows up to 0, 0 of them queued" in caplog.text


async def test_a_callback_hears_what_a_future_would_in_the_same_order(tmp_path: Path):
    async with opened(tmp_path) as log:
        heard: list[tuple[int, LogError | None]] = []

        def done(lsn: int, error: LogError | None) -> None:
            heard.append((lsn, error))
            assert log.durable_lsn >= lsn

        log.append_with([b"a"], 1, done)
        log.append_with([b"b", b"c"], 1, done)
        assert heard == []
        assert await log.append([b"d"], 1) == 4
        assert heard == [(1, None), (3, None)]
    log.append_with([b"e"], 1, done)
    lsn, error = heard[-1]
    assert (lsn, type(error)) == (0, LogBroken)


async def test_a_callback_that_fails_costs_no_other_its_answer(tmp_path: Path, caplog):
    async with opened(tmp_path) as log:

        def fails(lsn: int, error: LogError | None) -> None:
            raise ZeroDivisionError

        log.append_with([b"a"], 1, fails)
        assert await log.append([b"b"], 1) == 2
        assert await log.append([b"c"], 1) == 3
        assert "wal: what waited for row 1 failed" in caplog.text


async def test_appends_of_one_moment_share_a_sync_and_keep_their_order(tmp_path: Path):
    files = FaultyFiles()
    metrics = Metrics.private()
    async with opened(tmp_path, files, metrics=metrics) as log:
        before = files.count("sync", ".wal")
        lsns = await asyncio.gather(*(log.append([b"%d" % i], 1) for i in range(500)))
        assert lsns == list(range(1, 501))
        assert files.count("sync", ".wal") == before + 1
        assert await read_all(log) == [b"%d" % i for i in range(500)]
    assert b"nealytics_wal_group_events_sum 500.0" in text(metrics)
    assert b"nealytics_wal_fsync_seconds_count 1.0" in text(metrics)


async def test_an_acknowledged_row_is_in_the_queue_depth(tmp_path: Path):
    """No scrape between the answer and the next look of the server takes the log for drained."""
    metrics = Metrics.private()
    async with opened(tmp_path, metrics=metrics) as log:
        for rows in (1, 2, 3):
            before = metrics.value("nealytics_queue_depth_current")
            await log.append([b"x"] * rows, 1)
            assert metrics.value("nealytics_queue_depth_current") == before + rows


async def test_nobody_is_answered_before_the_sync_of_his_group_and_the_next_group_is_written_after_it(
    tmp_path: Path,
):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        answered: list[int] = []
        answered_at_sync: list[int] = []
        files.before = lambda call, name: answered_at_sync.append(len(answered)) if call == "sync" else None
        start = len(files.calls)

        async def client(i: int) -> None:
            for _ in range(5):
                answered.append(await log.append([b"%d" % i], 1))

        await asyncio.gather(*(client(i) for i in range(8)))
        calls = [call for call, _ in files.calls[start:]]
        assert calls == ["append", "sync"] * (len(calls) // 2)
        assert answered_at_sync[0] == 0
        assert sorted(answered) == list(range(1, 41))


async def test_a_group_of_one_waits_for_no_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loop = asyncio.get_running_loop()

    def never(when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return asyncio.TimerHandle(when, callback, args, loop, context)

    async with opened(tmp_path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_at", never)
            for number in range(10):
                assert await log.append([b"x"], 1) == number + 1


async def test_a_client_that_gives_up_changes_nothing(tmp_path: Path):
    async with opened(tmp_path) as log:
        waiting = asyncio.ensure_future(asyncio.wait_for(log.append([b"a"], 1), timeout=0))
        dropped = log.append([b"b"], 1)
        dropped.cancel()
        kept = log.append([b"c"], 1)
        with pytest.raises(TimeoutError):
            await waiting
        assert await kept in (2, 3)
        assert (await read_all(log))[-2:] == [b"b", b"c"]
        await advance_cursor(log, log.durable_lsn)
        assert log.waiting == 0


async def test_an_abandoned_failure_makes_no_noise(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with opened(tmp_path, bytes_max=1000) as log:
        log.append([b"x" * 2000], 1)
        await asyncio.sleep(0.05)
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_large_appends_become_several_frames_and_one_answer(tmp_path: Path):
    rows = [bytes([i]) * 1_000_000 for i in range(10)]
    async with opened(tmp_path) as log:
        assert await log.append(rows, 1) == 10
        assert await read_all(log, bytes_max=2_500_000) == rows
    async with opened(tmp_path) as log:
        assert await log.append([b""] * 70_000, 1) == 70_010
        assert await read_all(log, first_lsn=11, rows_max=100_000) == [b""] * 70_000


async def test_formats_may_change_from_row_to_row(tmp_path: Path):
    async with opened(tmp_path) as log:
        for i in range(6):
            log.append([b"%d" % i], 1 + i // 2 % 2)
        await log.wait_for(6)
        found: list[Rows] = []
        while (lsn := sum(map(len, found)) + 1) <= 6:
            found.append(await log.read(lsn, rows_max=10, bytes_max=100))
        assert [(rows.row_format, rows.count) for rows in found] == [(1, 2), (2, 2), (1, 2)]


async def test_appending_nothing_or_something_enormous_is_a_mistake(tmp_path: Path):
    async with opened(tmp_path) as log:
        with pytest.raises(ValueError, match="no rows"):
            log.append([], 1)
        with pytest.raises(ValueError, match="more than"):
            log.append([bytes(64 * 1024 * 1024 + 1)], 1)


async def test_what_may_wait_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nealytics.wal.log.PENDING_BYTES_MAX", 10_000)
    async with opened(tmp_path) as log:
        answers = await asyncio.gather(
            *(log.append([bytes(1000)], 1) for _ in range(20)), return_exceptions=True
        )
        assert [answer for answer in answers if not isinstance(answer, LogFull)] == list(range(1, 11))
        # A single append that is larger than the bound still gets through.
        assert await log.append([bytes(1000)] * 20, 1) == 30


async def test_wait_for_returns_when_the_row_is_durable(tmp_path: Path):
    async with opened(tmp_path) as log:
        waiting = asyncio.ensure_future(log.wait_for(2))
        await log.append([b"a"], 1)
        assert not waiting.done()
        await log.append([b"b"], 1)
        await asyncio.wait_for(waiting, 60)
        await log.wait_for(1)


async def test_close_writes_what_is_pending_and_then_refuses(tmp_path: Path):
    log = await Log.open(tmp_path, wal_config())
    last = log.append([b"last"], 1)
    never = asyncio.ensure_future(log.wait_for(9))
    await asyncio.sleep(0)
    await log.close()
    await log.close()
    assert await last == 1
    for refused in (
        log.append([b"x"], 1),
        never,
        log.read(1, rows_max=1, bytes_max=1),
        log.store_cursor(CursorState(2)),
    ):
        with pytest.raises(LogBroken, match="is closed"):
            await refused
    async with opened(tmp_path) as again:
        assert await read_all(again) == [b"last"]


async def test_an_idle_log_says_that_its_last_group_was_synced(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"], 1)
        before = files.count("sync")
        await until_async(lambda: files.count("sync") > before)
        await asyncio.sleep(1.5 * IDLE_S)
        assert files.count("sync") == before + 1, "one marker, and only one"
    assert files.count("sync") == before + 2, "and none at close when nothing came after it: only the cursor"


# Reading


async def test_batches_are_cut_by_rows_bytes_and_durability(tmp_path: Path):
    async with opened(tmp_path) as log:
        await log.append([b"aa", b"bbb", b"c"], 1)
        await log.append([b"dddd", b"e"], 1)
        assert list(await log.read(1, rows_max=2, bytes_max=100)) == [b"aa", b"bbb"]
        assert list(await log.read(2, rows_max=3, bytes_max=100)) == [b"bbb", b"c", b"dddd"]
        assert list(await log.read(1, rows_max=9, bytes_max=6)) == [b"aa", b"bbb", b"c"]
        assert list(await log.read(1, rows_max=9, bytes_max=9)) == [b"aa", b"bbb", b"c"]
        assert list(await log.read(4, rows_max=9, bytes_max=1)) == [b"dddd"], "one row is always given"
        assert list(await log.read(5, rows_max=9, bytes_max=100)) == [b"e"]
        with pytest.raises(IndexError):
            await log.read(6, rows_max=9, bytes_max=100)


async def test_rows_can_be_cut_and_picked(tmp_path: Path):
    async with opened(tmp_path, clock_ms=lambda: 777) as log:
        await log.append([b"aa", b"", b"ccc"], 5)
        rows = await log.read(1, rows_max=9, bytes_max=100)
        assert (rows.first_lsn, rows.last_lsn, rows.count, rows.row_format, rows.appended_ms) == (
            1,
            3,
            3,
            5,
            777,
        )
        assert [rows.row(lsn) for lsn in (1, 2, 3)] == [b"aa", b"", b"ccc"]
        part = rows.slice(2, 3)
        assert (part.first_lsn, part.last_lsn, list(part), part.payload) == (2, 3, [b"", b"ccc"], b"ccc")
        with pytest.raises(IndexError):
            rows.row(4)
        with pytest.raises(IndexError):
            part.slice(1, 2)


async def test_reading_goes_back_across_segments(tmp_path: Path):
    async with opened(tmp_path, segment_bytes_max=1000) as log:
        for i in range(50):
            await log.append([b"%03d" % i * 20], 1)
        assert len(segments(tmp_path)) > 3
        for first in (50, 1, 25, 26, 24, 49):
            assert list(await log.read(first, rows_max=1, bytes_max=100)) == [b"%03d" % (first - 1) * 20]
        assert len(await log.read(1, rows_max=50, bytes_max=100_000)) == 50


# Full and broken


async def test_a_full_disk_refuses_the_group_and_goes_on_when_there_is_room_again(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"before"], 1)
        size = os.path.getsize(segments(tmp_path)[0])
        files.room = 100
        answers = await asyncio.gather(
            *(log.append([bytes(90)], 1) for _ in range(3)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [LogFull] * 3
        assert answers[0] is not answers[1], "an exception that is raised twice collects tracebacks"
        assert os.path.getsize(segments(tmp_path)[0]) == size, "cut back to where the group began"
        assert log.full
        assert log.disk_full
        assert (log.appended_lsn, log.durable_lsn, log.broken) == (1, 1, None)
        files.room = None
        assert await log.append([b"after"], 1) == 2
    async with opened(tmp_path) as log:
        assert await read_all(log) == [b"before", b"after"]


async def test_a_group_of_several_frames_is_refused_as_a_whole(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        files.room = 6_000_000
        with pytest.raises(LogFull):
            await log.append([bytes(3_000_000)] * 3, 1)
        files.room = None
        assert await log.append([b"after"], 1) == 1
        assert await read_all(log) == [b"after"]


async def test_a_disk_that_cannot_be_cut_back_breaks_the_log(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        files.room = 10
        files.fail("truncate")
        with pytest.raises(LogBroken, match="cannot truncate"):
            await log.append([b"x"], 1)
        assert log.broken is not None


@pytest.mark.parametrize("operation", ["append", "sync"])
async def test_an_error_of_the_disk_fails_the_whole_group_and_all_that_follows(
    tmp_path: Path, operation: str
):
    files = FaultyFiles()
    broken: list[LogBroken] = []
    async with opened(tmp_path, files, on_broken=broken.append) as log:
        await log.append([b"good"], 1)
        files.fail(operation, errno.EIO, name=".wal")
        before = files.count(operation)
        waiting = asyncio.ensure_future(log.wait_for(2))
        answers = await asyncio.gather(*(log.append([b"bad"], 1) for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [LogBroken] * 5
        assert files.count(operation) == before + 1, "never retried"
        assert len(broken) == 1
        assert log.broken is broken[0]
        with pytest.raises(LogBroken, match="restart to recover"):
            await log.append([b"later"], 1)
        with pytest.raises(LogBroken):
            await waiting
        with pytest.raises(LogBroken):
            await log.store_cursor(CursorState(2))
        assert await read_all(log) == [b"good"], "what was durable can still be read"
    async with opened(tmp_path) as log:
        assert (await read_all(log))[0] == b"good"


@pytest.mark.parametrize("operation", ["sync", "sync_directory"])
async def test_a_cursor_that_cannot_be_synced_breaks_the_log(tmp_path: Path, operation: str):
    files = FaultyFiles()
    broken: list[LogBroken] = []
    async with opened(tmp_path, files, on_broken=broken.append) as log:
        await log.append([b"x"], 1)
        files.fail(operation, name="cursor" if operation == "sync" else "")
        with pytest.raises(LogBroken):
            await advance_cursor(log, 1)
        assert log.cursor_lsn == 0
        assert len(broken) == 1
        with pytest.raises(LogBroken):
            await log.append([b"x"], 1)


async def test_a_new_segment_whose_name_cannot_be_synced_breaks_the_log(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files, segment_bytes_max=300) as log:
        await log.append([bytes(200)], 1)
        files.fail("sync_directory")
        with pytest.raises(LogBroken, match="syncing the directory"):
            await log.append([bytes(200)], 1)


async def test_a_new_segment_without_room_is_only_full(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files, segment_bytes_max=300) as log:
        await log.append([bytes(200)], 1)
        files.fail("append", errno.ENOSPC, name=".tmp")
        with pytest.raises(LogFull):
            await log.append([bytes(200)], 1)
        assert await log.append([bytes(200)], 1) == 2


async def test_a_log_on_a_full_disk_is_full_before_anything_was_refused(tmp_path: Path):
    async with opened(tmp_path) as log:
        assert not log.full
        assert not log.disk_full
    free = shutil.disk_usage(tmp_path).free
    async with opened(tmp_path, free_bytes_min=free + (1 << 40)) as log:
        assert log.full
        assert log.disk_full


async def test_the_cursor_does_not_vouch_for_rows_that_are_not_synced_yet(tmp_path: Path):
    """Else a crash before the sync would look like damage, and the log would not open again."""
    files = FaultyFiles()
    syncing, go_on = threading.Event(), threading.Event()
    async with opened(tmp_path, files) as log:
        await log.append([b"durable"], 1)

        def hold(operation: str, name: str) -> None:
            if operation == "sync" and ".wal" in name and log.appended_lsn == 2:
                syncing.set()
                assert go_on.wait(60)

        files.before = hold
        try:
            unsynced = log.append([b"unsynced"], 1)
            await until_async(syncing.is_set)
            await advance_cursor(log, 1)
            stored = cursor.load(OS_FILES, tmp_path)
        finally:
            go_on.set()
        assert stored is not None
        assert (log.appended_lsn, stored.durable_lsn) == (2, 1)
        await unsynced


async def test_bytes_max_holds_and_the_message_says_what_to_raise(tmp_path: Path):
    async with opened(tmp_path, bytes_max=10_000) as log:
        while log.bytes_used <= 9_000:
            await log.append([bytes(500)], 1)
        with pytest.raises(
            LogFull, match=r"at most 10000 bytes, and \d+ rows are queued .* raise wal\.bytes_max"
        ):
            await log.append([bytes(1000)], 1)
        assert log.bytes_used <= 10_000
        assert log.full
        assert not log.disk_full
        held = log.durable_lsn
        await advance_cursor(log, held)
        assert not log.full, "the next append may use the room of committed rows"
        for _ in range(50):
            await log.append([bytes(500)], 1)
            await advance_cursor(log, log.durable_lsn)
        assert log.bytes_used <= 10_000


async def test_a_small_committed_log_accepts_a_group_of_nearly_its_size(tmp_path: Path):
    """Its active segment is given up for that; else it would be full for ever, of rows nobody waits for."""
    async with opened(tmp_path, bytes_max=10_000, segment_bytes_max=100_000) as log:
        for _ in range(5):
            await log.append([bytes(9_000)], 1)
            await advance_cursor(log, log.durable_lsn)


async def test_free_bytes_min_holds_and_the_message_names_it(tmp_path: Path):
    files = FaultyFiles()
    files.free = 2_000_000
    async with opened(tmp_path, files, free_bytes_min=1_000_000) as log:
        await log.append([bytes(1000)], 1)
        with pytest.raises(LogFull, match=r"wal\.free_bytes_min keeps 1000000"):
            await log.append([bytes(1_500_000)], 1)
        assert await log.append([bytes(1000)], 1) == 2


async def test_kept_segments_are_given_up_before_an_append_is_refused(tmp_path: Path):
    async with opened(tmp_path, bytes_max=20_000, segment_bytes_max=1000, keep_hours=10) as log:
        for i in range(200):
            assert await log.append([bytes(500)], 1) == i + 1
            await advance_cursor(log, i + 1)
        assert log.bytes_used <= 20_000


async def test_kept_segments_make_room_on_a_full_disk(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files, segment_bytes_max=1000, keep_hours=10) as log:
        for _ in range(10):
            await log.append([bytes(500)], 1)
        await advance_cursor(log, 10)
        files.room = 0
        assert await log.append([bytes(500)], 1) == 11


# Settling and deleting


async def test_cursor_counts_committed_rows(tmp_path: Path):
    async with opened(tmp_path) as log:
        await log.append([b"x"] * 10, 1)
        state = CursorState(9, (Range(3, 4), Range(6, 6)))
        await log.store_cursor(state)
        assert log.cursor == state
        assert (log.cursor_lsn, log.waiting) == (2, 2 + 2 + 1)
    async with opened(tmp_path) as log:
        assert log.cursor == state
        assert (log.durable_lsn, log.cursor_lsn, log.waiting) == (10, 2, 5)
        await log.store_cursor(CursorState(11))
        assert log.waiting == 0


async def test_cursor_goes_neither_back_nor_beyond_what_is_durable(tmp_path: Path):
    async with opened(tmp_path) as log:
        await log.append([b"x"] * 10, 1)
        await advance_cursor(log, 5)
        for state in (
            CursorState(5),
            CursorState(12),
            CursorState(8, (Range(5, 6),)),
            CursorState(9, (Range(7, 6),)),
        ):
            with pytest.raises(ValueError, match="cursor"):
                await log.store_cursor(state)
        # An intent may be withdrawn, though: no row of it was committed.
        await log.store_cursor(CursorState(9, (Range(6, 8),)))
        await log.store_cursor(CursorState(7, (Range(6, 6),)))


async def test_store_cursor_is_finished_even_if_its_caller_is_cancelled(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"] * 10, 1)
        under_way, go_on = threading.Event(), threading.Event()

        def hold(call: str, name: str) -> None:
            if (call, name) == ("rename", "cursor"):
                under_way.set()
                go_on.wait(60)

        files.before = hold
        storing = asyncio.ensure_future(advance_cursor(log, 5))
        await until_async(under_way.is_set)
        storing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storing
        assert log.cursor_lsn == 0
        go_on.set()
        await until_async(lambda: log.cursor_lsn == 5)  # in memory as on disk
        await advance_cursor(log, 6)


async def test_segments_go_after_the_cursor_is_durable_oldest_first_and_never_the_active_one(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files, segment_bytes_max=1000, keep_hours=0) as log:
        for _ in range(10):
            await log.append([bytes(500)], 1)
        names = [path.name for path in segments(tmp_path)]
        assert len(names) == 10
        start = len(files.calls)
        await advance_cursor(log, 4)
        calls = [call for call in files.calls[start:] if call[0] in ("rename", "sync_directory", "unlink")]
        # Before them may be the cursor that the last new segment caused.
        assert calls[-6:] == [
            ("rename", "cursor"),
            ("sync_directory", tmp_path.name),
            *(("unlink", name) for name in names[:4]),
        ]
        assert log.deleted_lsn == 4
        await advance_cursor(log, 10)
        assert [path.name for path in segments(tmp_path)] == names[-1:]
        assert await read_all(log, first_lsn=10) == [bytes(500)]
        with pytest.raises(IndexError, match="deleted"):
            await log.read(9, rows_max=1, bytes_max=1)


async def test_committed_segments_are_kept_for_keep_hours_and_within_keep_bytes(tmp_path: Path):
    now = 1_000_000
    async with opened(
        tmp_path, segment_bytes_max=1000, keep_hours=1, keep_bytes=3_000, clock_ms=lambda: now
    ) as log:
        for _ in range(10):
            await log.append([bytes(500)], 1)
        await advance_cursor(log, 3)
        assert len(segments(tmp_path)) == 10
        now += 1_800_000
        await advance_cursor(log, 9)
        kept = [path.stat().st_size for path in segments(tmp_path)[:-1]]
        assert 2_000 < sum(kept) <= 3_000
        now += 3_600_000
        await advance_cursor(log, 10)
        assert len(segments(tmp_path)) == 1


async def test_the_reserve_lets_the_cursor_move_on_a_full_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"] * 10, 1)
        assert (tmp_path / "reserve").exists()
        files.room = 0
        await advance_cursor(log, 1)
        assert not (tmp_path / "reserve").exists()
        assert "using the reserve" in caplog.text
        for lsn in range(2, 10):
            await advance_cursor(log, lsn)
        files.room = 1 << 30
        await advance_cursor(log, 10)
        assert (tmp_path / "reserve").exists()


async def test_a_stop_on_a_full_disk_leaves_the_reserve_to_the_next_start(tmp_path: Path):
    """How far the log reaches is worth a cursor, but not the room without which a start is impossible."""
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"] * 10, 1)
        files.room = 0
    assert (tmp_path / "reserve").exists()
    async with opened(tmp_path, FaultyFiles(room=0)) as log:
        assert await read_all(log) == [b"x"] * 10


async def test_a_cursor_that_cannot_be_synced_at_a_stop_breaks_the_log_and_lets_go_of_it(tmp_path: Path):
    files = FaultyFiles()
    broken: list[LogBroken] = []
    log = await Log.open(tmp_path, wal_config(), files=files, on_broken=broken.append)
    await log.append([b"x"] * 10, 1)
    files.fail("sync", name="cursor")
    await log.close()
    assert len(broken) == 1
    async with opened(tmp_path, lock_timeout_s=0) as log:
        assert await read_all(log) == [b"x"] * 10


async def test_a_cursor_without_any_room_stays_as_it_was(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"] * 10, 1)
        (tmp_path / "reserve").unlink()
        files.room = 0
        with pytest.raises(LogFull):
            await advance_cursor(log, 1)
        assert (log.cursor_lsn, log.broken) == (0, None)
        files.room = None
        await advance_cursor(log, 1)
    async with opened(tmp_path) as log:
        assert log.cursor_lsn == 1


async def test_a_start_works_on_a_full_disk(tmp_path: Path):
    """Otherwise nothing would send the rows to ClickHouse that fill it."""
    async with opened(tmp_path) as log:
        await log.append([b"x"] * 10, 1)
    files = FaultyFiles(room=0)
    async with opened(tmp_path, files) as log:
        assert await read_all(log) == [b"x"] * 10
        await advance_cursor(log, 5)


async def test_age_is_that_of_the_first_uncommitted_row(tmp_path: Path):
    now = 1000
    async with opened(tmp_path, clock_ms=lambda: now) as log:
        assert log.oldest_waiting_ms is None
        for _ in range(3):
            now += 1000
            await log.append([b"x", b"y"], 1)
        assert log.oldest_waiting_ms == 2000
        await advance_cursor(log, 3)
        assert log.oldest_waiting_ms == 3000
        await advance_cursor(log, 6)
        assert log.oldest_waiting_ms is None
        now = 9000
        await log.append([b"z"], 1)
        assert log.oldest_waiting_ms == 9000
    now = 99_000
    async with opened(tmp_path, clock_ms=lambda: now) as log:
        assert log.oldest_waiting_ms == 9000


# The directory


async def test_directory_and_files_are_their_owners_only(tmp_path: Path):
    directory = tmp_path / "wal" / "0"
    async with opened(directory) as log:
        await log.append([b"x"], 1)
        await advance_cursor(log, 1)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        assert set(modes.values()) == {0o600}
        assert set(modes) == {"00000000000000000001.wal", "cursor", "reserve", "LOCK"}


async def test_a_second_log_in_the_same_directory_is_refused_and_changes_nothing(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"], 1)
        synced = files.count("sync")
        await until_async(lambda: files.count("sync") > synced)  # the marker of the idle log
        before = snapshot(tmp_path)
        with pytest.raises(
            LogLocked, match=rf"is locked by process {os.getpid()} and was not released within 0 s"
        ):
            await Log.open(tmp_path, wal_config())
        assert snapshot(tmp_path) == before


async def test_a_start_waits_for_the_lock_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = await Log.open(tmp_path, wal_config())
    with caplog.at_level(logging.WARNING):
        second = asyncio.ensure_future(Log.open(tmp_path, wal_config(lock_timeout_s=60)))
        await until_async(lambda: bool(caplog.records))
        await asyncio.sleep(0.3)  # for several more tries
    await first.close()
    await (await asyncio.wait_for(second, 60)).close()
    waiting = [record for record in caplog.records if "waiting up to 60 s" in record.message]
    assert len(waiting) == 1
    assert f"process {os.getpid()}" in waiting[0].message


async def test_the_lock_of_a_killed_process_is_free(tmp_path: Path):
    script = f"""
import asyncio
from pathlib import Path
from nealytics.wal import Log
from tests.wal.logs import wal_config
async def main():
    await Log.open(Path({str(tmp_path)!r}), wal_config())
    print("locked", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    child = subprocess.Popen(  # noqa: ASYNC220  (a line from it is all we wait for)
        [sys.executable, "-c", script], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        with pytest.raises(LogLocked, match=rf"process {child.pid}"):
            await Log.open(tmp_path, wal_config())
    finally:
        child.kill()
        child.communicate()
    async with opened(tmp_path):
        pass


@pytest.mark.parametrize("filesystem", ["nfs4", "overlay", "tmpfs"])
async def test_file_systems_that_forget_are_refused_unless_allowed(tmp_path: Path, filesystem: str):
    files = FaultyFiles()
    files.fs = filesystem
    with pytest.raises(LogError, match=rf"is on {filesystem}, .* wal\.allow_any_filesystem = true"):
        await Log.open(tmp_path / "log", wal_config(allow_any_filesystem=False), files=files)
    async with opened(tmp_path / "log", files):
        pass


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match=r"cannot use the directory .*file/wal: .* set wal\.directory"):
        await Log.open(tmp_path / "file" / "wal", wal_config())


async def test_after_a_failed_sync_of_the_cursor_nothing_more_is_synced(tmp_path: Path):
    """R5: not even the marker that an idle log writes."""
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"row"], 1)
        files.fail("sync", name="cursor")
        with pytest.raises(LogBroken):
            await advance_cursor(log, 1)
        syncs = files.count("sync")
        await asyncio.sleep(2 * IDLE_S)
        assert files.count("sync") == syncs


# Purging


async def test_a_purge_deletes_committed_segments_up_to_a_row_and_no_other(tmp_path: Path):
    async with opened(tmp_path, segment_bytes_max=65_536, keep_hours=24) as log:
        for _ in range(6):
            await log.append([b"x" * 30_000], 1)
        await advance_cursor(log, 6)
        assert log.deleted_lsn == 0
        assert await log.purge(3)
        assert log.deleted_lsn == 4  # its segment has two rows
        assert await read_all(log, 5) == [b"x" * 30_000] * 2
        assert await log.append([b"y"], 1) == 7


async def test_a_purge_ends_the_active_segment_and_waits_for_the_cursor(tmp_path: Path):
    async with opened(tmp_path, keep_hours=24) as log:
        await log.append([b"secret"], 1)
        assert not await log.purge(1)
        await log.append([b"later"], 1)
        assert await read_all(log) == [b"secret", b"later"]
        await advance_cursor(log, 1)
        assert await log.purge(1)
        assert await read_all(log, 2) == [b"later"]
        assert not any(b"secret" in data for data in snapshot(tmp_path).values())
    async with opened(tmp_path) as log:
        assert (log.deleted_lsn, log.cursor_lsn, log.durable_lsn) == (1, 1, 2)


async def test_a_purge_deletes_the_copies_of_torn_segments(tmp_path: Path):
    async with opened(tmp_path) as log:
        (tmp_path / "00000000000000000001.wal.1.torn").write_bytes(b"secret")
        assert await log.purge(0)
        assert not any(b"secret" in data for data in snapshot(tmp_path).values())


async def test_a_purge_that_finds_no_room_changes_nothing(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"x"], 1)
        await advance_cursor(log, 1)
        files.fail("create", errno.ENOSPC)
        with pytest.raises(LogFull):
            await log.purge(1)
        assert await read_all(log) == [b"x"]
        assert await log.purge(1)


async def test_a_purge_of_a_broken_log_fails(tmp_path: Path):
    files = FaultyFiles()
    broken: list[LogBroken] = []
    async with opened(tmp_path, files, on_broken=broken.append) as log:
        await log.append([b"x"], 1)
        await advance_cursor(log, 1)
        files.fail("create", errno.EIO)
        with pytest.raises(LogBroken):
            await log.purge(1)
        assert len(broken) == 1
