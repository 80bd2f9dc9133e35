"""A damaged log moves out of the way, and its readable rows are outstanding until they are committed."""

import shutil
import zlib
from pathlib import Path

import pytest

from nealytics.errors import LogDamaged, LogForeign, LogLocked
from nealytics.wal import OS_FILES, CursorState, Log, Range, Rows, cursor, quarantine
from nealytics.wal.cursor import Stored
from nealytics.wal.quarantine import QuarantinedLog, quarantine_log
from tests.wal.logs import advance_cursor, opened, segments, wal_config, write

ROWS = [b"row-%d" % n * 9 for n in range(1, 61)]
GROUPS = [ROWS[at : at + 4] for at in range(0, 60, 4)]


def whole(rows: Rows) -> int:
    return rows.count


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture
async def damaged(tmp_path: Path) -> Path:
    """A log of 60 rows, 10 of them committed, with a damaged frame in its second segment."""
    directory = tmp_path / "0"
    async with opened(directory, segment_bytes_max=900) as log:
        for group in GROUPS:
            await log.append(group, 1)
        await advance_cursor(log, 10)
    assert len(segments(directory)) > 3
    flip(segments(directory)[1], 300)
    return directory


async def drained(log: QuarantinedLog) -> dict[int, bytes]:
    """What a committer reads and commits."""
    rows: dict[int, bytes] = {}
    while log.cursor.outstanding:
        first, last = log.cursor.outstanding[0]
        read = await log.read(first, rows_max=last - first + 1, bytes_max=1 << 40)
        assert (read.first_lsn, read.last_lsn) == (first, last)
        rows |= dict(enumerate(read, first))
        await log.store_cursor(CursorState(log.cursor.next_lsn, log.cursor.outstanding[1:]))
    return rows


async def test_the_directory_moves_whole_and_a_new_log_begins(damaged: Path):
    before = {path.name: path.read_bytes() for path in damaged.iterdir()}
    target = quarantine_log(OS_FILES, damaged)
    after = {path.name: path.read_bytes() for path in target.iterdir()}
    assert {**before, "cursor.found": before["cursor"]} == after
    assert quarantine.find(damaged.parent) == [(0, target)]
    async with opened(damaged) as log:
        assert await log.append([b"new"], 1) == 1
        assert str(log.log_id) not in target.name


async def test_every_readable_row_that_was_not_committed_is_read_once(damaged: Path):
    target = quarantine_log(OS_FILES, damaged)
    log = await QuarantinedLog.open(target, whole)
    (gap,) = log.report.unreadable
    lost = range(gap.first_lsn, gap.last_lsn + 1)
    assert log.waiting == 50 - len(lost)
    rows = await drained(log)
    assert rows == {lsn: ROWS[lsn - 1] for lsn in range(11, 61) if lsn not in lost}
    assert (log.waiting, log.oldest_waiting_ms) == (0, None)
    await log.close()


async def test_after_a_crash_the_rest_is_outstanding_in_the_same_ranges_and_the_report_is_kept(damaged: Path):
    target = quarantine_log(OS_FILES, damaged)
    log = await QuarantinedLog.open(target, whole)
    report, ranges = log.report, log.cursor.outstanding
    assert len(ranges) > 2
    await log.store_cursor(CursorState(log.cursor.next_lsn, ranges[1:]))
    await log.close()
    log = await QuarantinedLog.open(target, whole)
    assert log.cursor.outstanding == ranges[1:]
    assert log.report == report == quarantine.read_report(target)
    await drained(log)
    await log.close()
    log = await QuarantinedLog.open(target, whole)
    assert (log.waiting, log.report) == (0, report)
    await log.close()


async def test_a_batch_that_may_have_been_sent_keeps_its_range_and_others_are_cut(damaged: Path):
    stored = cursor.load(OS_FILES, damaged)
    assert stored is not None
    state = CursorState(45, (Range(41, 44),))
    cursor.store(OS_FILES, damaged, Stored(stored.log_id, state, stored.durable_lsn))
    log = await QuarantinedLog.open(quarantine_log(OS_FILES, damaged), lambda _: 3)
    assert log.cursor.outstanding[:2] == (Range(41, 44), Range(45, 47))
    assert all(last - first < 3 for first, last in log.cursor.outstanding[1:])
    await log.close()


async def test_a_log_that_is_open_stays_where_it_is(damaged: Path):
    lock = OS_FILES.try_lock(damaged / "LOCK")
    assert lock is not None
    with pytest.raises(LogLocked):
        quarantine_log(OS_FILES, damaged)
    lock.close()
    target = quarantine_log(OS_FILES, damaged)
    log = await QuarantinedLog.open(target, whole)
    with pytest.raises(LogLocked):
        await QuarantinedLog.open(target, whole)
    await log.close()


async def test_a_log_of_a_newer_release_stays_where_it_is(damaged: Path):
    path = damaged / "cursor"
    data = bytearray(path.read_bytes())
    data[8] = 9

    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(LogForeign):
        quarantine_log(OS_FILES, damaged)
    assert damaged.is_dir()


async def test_a_mark_makes_the_next_start_refuse_a_log_that_looks_well(tmp_path: Path):
    directory = tmp_path / "0"
    await write(directory, GROUPS)
    quarantine.mark(OS_FILES, directory, "row 7 cannot be read")
    with pytest.raises(LogDamaged, match="a reader found damage"):
        await Log.open(directory, wal_config())
    quarantine_log(OS_FILES, directory)
    async with opened(directory) as log:
        assert log.durable_lsn == 0


async def test_a_second_damaged_log_of_the_same_id_gets_a_name_of_its_own(damaged: Path):

    copy = damaged.with_name("copy")
    shutil.copytree(damaged, copy)
    first = quarantine_log(OS_FILES, damaged)
    copy.rename(damaged)
    second = quarantine_log(OS_FILES, damaged)
    assert second.name == f"{first.name}-2"
    assert quarantine.find(damaged.parent) == [(0, first), (0, second)]


def test_a_report_is_one_sentence_whatever_was_found():
    assert "being collected" in quarantine.described(None)
    assert "all of its events can be read" in quarantine.described(quarantine.Report("id", ()))
