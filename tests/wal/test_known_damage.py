"""A museum of damage: what a disk, a crash or a person can do to a log, and what a start makes of it.

Two outcomes only. What a crash explains is cut or ignored, and every row that was acknowledged is there.
Anything else is refused with file and offset, and nothing on disk has changed. No row is skipped silently.
"""

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nealytics.errors import LogDamaged
from nealytics.observe.metrics import Metrics
from nealytics.wal import OS_FILES, CursorState, Log, Range, cursor, frame, quarantine, segment
from nealytics.wal.quarantine import QuarantinedLog
from tests.fakes.faulty_files import FaultyFiles
from tests.waiting import until_async
from tests.wal.logs import advance_cursor, opened, read_all, segments, snapshot, wal_config, write

ROWS = [b"row-%d" % i * (i % 5 + 1) for i in range(12)]
GROUPS = [ROWS[0:3], ROWS[3:4], ROWS[4:9], ROWS[9:12]]


def cut(path: Path, length: int) -> None:
    os.truncate(path, length)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def frame_offsets(path: Path) -> list[int]:
    """Where the frames of a segment begin, markers included, and where the last whole one ends."""
    data = path.read_bytes()
    seed = int.from_bytes(data[segment.HEADER_BYTES - 4 : segment.HEADER_BYTES], "little")
    offsets = [segment.HEADER_BYTES]
    while (header := frame.parse_header(data[offsets[-1] :], seed)) is not None:
        offsets.append(offsets[-1] + header.frame_bytes)
    return offsets


async def refused(directory: Path, match: str) -> None:
    """A start refuses the log, says where, and leaves everything as it found it."""
    before = snapshot(directory)
    with pytest.raises(LogDamaged, match=match) as raised:
        await Log.open(directory, wal_config())
    assert re.search(r"\.wal: byte \d+|cursor: |rows (up to|from) \d+", str(raised.value))
    after = snapshot(directory)
    # A lock is not a change: it holds the pid of whoever had it last.
    assert {**after, "LOCK": b""} == {**before, "LOCK": b""}


async def crashed(directory: Path, groups: list[list[bytes]], **settings: Any) -> None:
    """A log as a killed process leaves it: no marker at the end."""
    copy = directory.with_name(directory.name + "-running")
    async with opened(copy, **settings) as log:
        for group in groups:
            await log.append(group, 1)
        shutil.copytree(copy, directory)
    shutil.rmtree(copy)


# The end of the last segment


async def test_a_last_segment_cut_anywhere_keeps_all_whole_frames(tmp_path: Path):
    await crashed(tmp_path / "log", GROUPS)
    (original,) = segments(tmp_path / "log")
    offsets = frame_offsets(original)
    pristine = tmp_path / "pristine"
    (tmp_path / "log").rename(pristine)
    for length in range(original_size := (pristine / original.name).stat().st_size):
        directory = tmp_path / "log"
        shutil.copytree(pristine, directory)
        cut(directory / original.name, length)
        whole = max(0, sum(offset <= length for offset in offsets) - 1)
        metrics = Metrics.private()
        async with opened(directory, metrics=metrics) as log:
            expected = [row for group in GROUPS[:whole] for row in group]
            assert await read_all(log) == expected, length
            assert await log.append([b"next"], 1) == len(expected) + 1
        torn = [path for path in directory.iterdir() if path.name.endswith(".torn")]
        assert len(torn) == (length not in offsets)
        assert metrics.value("nealytics_wal_torn_tails_total") == len(torn)
        for path in torn:
            assert path.read_bytes() == (pristine / original.name).read_bytes()[:length]
        async with opened(directory) as log:
            assert await read_all(log) == [*expected, b"next"]
        shutil.rmtree(directory)
    assert original_size > 400


@pytest.mark.parametrize(
    "rubbish", [bytes(300), b"\xff" * 300, frame.MAGIC * 75], ids=["zeros", "ones", "magic"]
)
async def test_rubbish_behind_the_last_frame_is_cut_and_kept_aside(
    tmp_path: Path, rubbish: bytes, caplog: pytest.LogCaptureFixture
):
    await crashed(tmp_path / "log", GROUPS)
    (last,) = segments(tmp_path / "log")
    size = last.stat().st_size
    with last.open("ab") as file:
        file.write(rubbish)
    async with opened(tmp_path / "log") as log:
        assert await read_all(log) == ROWS
    assert f"byte {size}: the last 300 bytes are an incomplete frame; rows up to 12 are" in caplog.text
    assert (
        "Otherwise the file was truncated or damaged, and acknowledged events may be missing" in caplog.text
    )
    assert last.stat().st_size == size


async def test_a_torn_group_of_several_frames_is_torn_even_if_a_later_frame_of_it_is_whole(tmp_path: Path):
    """One write, one fdatasync: the disk may have taken the group's pages in any order."""
    big = [bytes(3_000_000), b"x" * 3_000_000]
    await crashed(tmp_path / "log", [[b"acknowledged"], big])
    (last,) = segments(tmp_path / "log")
    _, first_of_group, second_of_group, _ = frame_offsets(last)
    flip(last, (first_of_group + second_of_group) // 2)
    async with opened(tmp_path / "log") as log:
        assert await read_all(log) == [b"acknowledged"]


async def test_an_event_that_looks_like_a_frame_does_not_pass_for_one(tmp_path: Path):
    """Else a client could turn an ordinary torn tail into damage, and keep the server from starting."""
    forged = frame.encode(
        [b"forged"], row_format=1, first_lsn=99, synced_offset=1 << 40, appended_ms=0, seed=0
    )
    await crashed(tmp_path / "log", [[b"good"], [forged * 3]])
    (last,) = segments(tmp_path / "log")
    cut(last, last.stat().st_size - 1)
    async with opened(tmp_path / "log") as log:
        assert await read_all(log) == [b"good"]


async def test_old_torn_files_do_not_pile_up(tmp_path: Path):
    for _ in range(6):
        await write(tmp_path, [[b"x"]])
        cut(segments(tmp_path)[-1], segments(tmp_path)[-1].stat().st_size - 1)
    await write(tmp_path, [[b"x"]])
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".torn")]) == 3


# Damage


async def test_a_flipped_bit_in_any_frame_but_the_last_is_refused(tmp_path: Path):
    await crashed(tmp_path / "log", GROUPS)
    (last,) = segments(tmp_path / "log")
    *_, last_frame, _ = frame_offsets(last)
    pristine = last.read_bytes()
    for offset in range(last_frame):
        flip(last, offset, offset % 8)
        await refused(tmp_path / "log", rf"{last.name}: byte \d+")
        last.write_bytes(pristine)


async def test_a_flipped_bit_in_any_frame_is_refused_once_a_marker_follows(tmp_path: Path):
    await write(tmp_path, GROUPS)
    (last,) = segments(tmp_path)
    *_, marker, _ = frame_offsets(last)
    pristine = last.read_bytes()
    for offset in range(segment.HEADER_BYTES, marker):
        flip(last, offset, offset % 8)
        await refused(tmp_path, rf"{last.name}: byte \d+: row \d+ was expected, but there is no valid frame")
        last.write_bytes(pristine)


async def test_damage_is_refused_even_if_the_frame_that_proves_it_is_torn_itself(tmp_path: Path):
    await crashed(tmp_path / "log", GROUPS)
    (last,) = segments(tmp_path / "log")
    cut(last, last.stat().st_size - 1)
    flip(last, frame_offsets(last)[1] + 60)
    await refused(tmp_path / "log", r"byte \d+: row 4 was expected")


async def test_a_damaged_marker_between_groups_does_not_hide_the_group_behind_it(tmp_path: Path):
    """The frame behind it begins with the very row that is next; only `synced_offset` tells that this is no
    unfinished group."""
    files = FaultyFiles()
    async with opened(tmp_path, files) as log:
        await log.append([b"a"], 1)
        synced = files.count("sync")
        await until_async(lambda: files.count("sync") > synced)  # the marker of an idle log
        await log.append([b"b"], 1)
        running = snapshot(tmp_path)
    (last,) = segments(tmp_path)
    last.write_bytes(running[last.name])
    _, marker, group, _ = frame_offsets(last)
    assert group - marker == frame.HEADER_BYTES
    flip(last, marker + 10)
    await refused(tmp_path, rf"byte {marker}: row 2 was expected")


async def test_damage_in_an_older_segment_does_not_stop_a_start_and_is_refused_when_it_is_read(
    tmp_path: Path,
):
    await write(tmp_path, [[bytes([i]) * 500] for i in range(6)], segment_bytes_max=700)
    third = segments(tmp_path)[2]
    flip(third, 300)
    async with opened(tmp_path) as log:
        assert log.durable_lsn == 6
        assert list(await log.read(1, rows_max=2, bytes_max=10_000)) == [b"\0" * 500, b"\1" * 500]
        with pytest.raises(LogDamaged, match=rf"{third.name}: byte {segment.HEADER_BYTES}: .* row 3"):
            await log.read(3, rows_max=10, bytes_max=10_000)
        with pytest.raises(LogDamaged):
            await log.read(1, rows_max=10, bytes_max=10_000)
        assert list(await log.read(4, rows_max=1, bytes_max=10_000)) == [b"\3" * 500]
        assert await log.append([b"new"], 1) == 7


async def test_an_older_segment_that_was_cut_is_refused_when_it_is_read(tmp_path: Path):
    await write(tmp_path, [[b"a"], [b"b"], [bytes(900)], [b"c"]], segment_bytes_max=1000)
    first = segments(tmp_path)[0]
    cut(first, frame_offsets(first)[1])
    async with opened(tmp_path) as log:
        with pytest.raises(LogDamaged, match=r"no valid frame, but row 2 was written there"):
            await read_all(log)


async def test_a_missing_segment_is_refused(tmp_path: Path):
    await write(tmp_path, [[bytes(500)]] * 5, segment_bytes_max=700)
    names = [path.name for path in segments(tmp_path)]
    segments(tmp_path)[2].unlink()
    await refused(tmp_path, rf"{names[3]}: byte 0: the segment before it, {names[2]}, is missing")


async def test_a_missing_first_segment_is_refused(tmp_path: Path):
    await write(tmp_path, [[bytes(500)]] * 3, segment_bytes_max=700)
    segments(tmp_path)[0].unlink()
    await refused(tmp_path, r"the first segment begins with row 2, but rows from 1 on are not committed")


async def test_a_missing_last_segment_is_refused_if_the_cursor_knows_of_it(tmp_path: Path):
    async with opened(tmp_path, segment_bytes_max=700) as log:
        for _ in range(3):
            await log.append([bytes(500)], 1)
        await log.store_cursor(CursorState(4, (Range(1, 3),)))
    segments(tmp_path)[-1].unlink()
    await refused(tmp_path, r"cursor: the log had rows up to 3, but now ends with row 2")


@pytest.mark.parametrize("rows", [3, 4])
async def test_a_last_segment_that_is_missing_or_cut_is_refused_although_clickhouse_took_nothing(
    tmp_path: Path, rows: int
):
    """The cursor says how far the log reached when a segment was begun, and when it was closed."""
    groups = [[bytes(200)]] * rows  # two in a segment
    await write(tmp_path / "cut", groups, segment_bytes_max=600)
    last = segments(tmp_path / "cut")[-1]
    cut(last, frame_offsets(last)[rows - 3])
    await refused(
        tmp_path / "cut", rf"cursor: the log had rows up to {rows}, but now ends with row {rows - 1}"
    )
    await write(tmp_path / "missing", groups, segment_bytes_max=600)
    segments(tmp_path / "missing")[-1].unlink()
    await refused(tmp_path / "missing", rf"cursor: the log had rows up to {rows}, but now ends with row 2")


async def test_a_segment_that_goes_missing_under_a_killed_process_is_refused(tmp_path: Path):
    running = tmp_path / "running"
    async with opened(running, segment_bytes_max=600) as log:
        for _ in range(3):
            await log.append([bytes(200)], 1)
        await until_async(
            lambda: (stored := cursor.load(OS_FILES, running)) is not None and stored.durable_lsn == 3
        )
        shutil.copytree(running, tmp_path / "log")
    segments(tmp_path / "log")[-1].unlink()
    await refused(tmp_path / "log", r"cursor: the log had rows up to 3, but now ends with row 2")


async def test_all_segments_missing_is_refused(tmp_path: Path):
    async with opened(tmp_path) as log:
        await log.append([b"x"], 1)
        await advance_cursor(log, 1)
    segments(tmp_path)[0].unlink()
    await refused(tmp_path, r"the log had rows up to 1, but no segment is left")


async def test_committed_segments_may_be_missing_in_any_order(tmp_path: Path):
    """Unlinks are not synced: after a power cut, an older segment may be back while a newer one is gone."""
    async with opened(tmp_path, segment_bytes_max=700) as log:
        for _ in range(6):
            await log.append([bytes(500)], 1)
        await advance_cursor(log, 4)
    segments(tmp_path)[1].unlink()
    segments(tmp_path)[2].unlink()
    async with opened(tmp_path) as log:
        assert (log.cursor_lsn, log.durable_lsn) == (4, 6)
        assert len(await read_all(log, first_lsn=5)) == 2


async def test_segments_of_two_logs_are_refused(tmp_path: Path):
    await write(tmp_path / "a", [[bytes(500)]] * 3, segment_bytes_max=700)
    await write(tmp_path / "b", [[bytes(500)]] * 3, segment_bytes_max=700)
    name = segments(tmp_path / "a")[1].name
    shutil.copy(tmp_path / "b" / name, tmp_path / "a" / name)
    await refused(tmp_path / "a", r"a directory has one log")


async def test_a_cursor_of_another_log_is_refused(tmp_path: Path):
    await write(tmp_path / "a", [[b"x"]])
    await write(tmp_path / "b", [[b"x"]])
    shutil.copy(tmp_path / "b" / "cursor", tmp_path / "a" / "cursor")
    await refused(tmp_path / "a", r"belongs to log")


async def test_a_frame_copied_over_another_one_is_refused(tmp_path: Path):
    """Its checksums are right; its LSN is not."""
    await write(tmp_path, [[b"a"], [b"b"], [b"c"]])
    (last,) = segments(tmp_path)
    first, second, third, *_ = frame_offsets(last)
    data = last.read_bytes()
    last.write_bytes(data[:second] + data[first:second] + data[third:])
    await refused(tmp_path, rf"byte {second}: the frame begins with row 1, but row 2 was expected")


async def test_a_header_cut_short_is_refused_unless_it_is_the_last(tmp_path: Path):
    await write(tmp_path, [[bytes(500)]] * 3, segment_bytes_max=700)
    cut(segments(tmp_path)[1], 30)
    await refused(tmp_path, r"byte 0: the segment's header is truncated")


async def test_a_last_segment_without_a_header_is_renamed_if_no_row_is_missing_before_it(tmp_path: Path):
    await write(tmp_path, [[bytes(500)]] * 2, segment_bytes_max=700)
    first, second = segments(tmp_path)
    (tmp_path / segment.name_of(3)).write_bytes(first.read_bytes()[:30])  # a process died while it made this
    async with opened(tmp_path) as log:
        assert log.durable_lsn == 2
        assert len(await read_all(log)) == 2
    second_frame = frame_offsets(second)[0]
    cut(segments(tmp_path)[-1], 30)
    cut(second, second_frame + 5)
    await refused(
        tmp_path, r"the segment's header is truncated, and the rows before it, from 2 on, are missing"
    )


# The cursor


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: flip(path, 20), lambda path: cut(path, 9)])
async def test_a_lost_cursor_is_rebuilt_loudly_and_not_below_the_cursor_in_a_segment(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
):
    async with opened(tmp_path, segment_bytes_max=700) as log:
        for _ in range(4):
            await log.append([bytes(500)], 1)
        await advance_cursor(log, 3)
        await log.append([bytes(500)], 1)  # begins a segment, and its header says 3
        await advance_cursor(log, 4)
        log_id = log.log_id
    (tmp_path / "cursor").rename(tmp_path / "cursor.before")
    shutil.copy(tmp_path / "cursor.before", tmp_path / "cursor")
    damage(tmp_path / "cursor")
    damaged = (tmp_path / "cursor").read_bytes() if (tmp_path / "cursor").exists() else None
    async with opened(tmp_path) as log:
        assert log.log_id == log_id
        assert (log.cursor_lsn, log.durable_lsn) == (3, 5)
    (record,) = [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    assert "rows from 4 on are sent to ClickHouse again" in record.getMessage()
    kept = [path.read_bytes() for path in tmp_path.iterdir() if path.name.endswith(".damaged")]
    assert kept == ([damaged] if damaged is not None else [])
    async with opened(tmp_path) as log:
        assert log.cursor_lsn == 3
    assert len([record for record in caplog.records if record.levelno >= logging.CRITICAL]) == 1


# A disk that refuses to read


@pytest.mark.parametrize("error", [errno.EIO, errno.EUCLEAN, errno.EBADMSG])
async def test_a_last_segment_that_the_disk_cannot_read_is_damage_and_the_rest_is_salvaged(
    tmp_path: Path, error: int
):
    """Not a failed start: the next one would fail in the same way."""
    directory = tmp_path / "0"
    rows = [b"%d" % number * 500 for number in range(4)]
    async with opened(directory, segment_bytes_max=700) as log:
        for row in rows:
            await log.append([row], 1)
    last = segments(directory)[-1]
    files = FaultyFiles()
    files.fail("read", error, name=last.name, times=10**9)
    before = snapshot(directory)
    with pytest.raises(LogDamaged, match=f"{last.name} cannot be read"):
        await Log.open(directory, wal_config(), files=files)
    assert snapshot(directory) == before
    target = quarantine.quarantine_log(files, directory)
    found = await QuarantinedLog.open(target, lambda rows: rows.count, files=files)
    read = [
        row
        for first, last_lsn in found.cursor.outstanding
        for row in await found.read(first, rows_max=last_lsn - first + 1, bytes_max=1 << 30)
    ]
    await found.close()
    assert read == rows[:3]
    assert [(gap.first_lsn, gap.last_lsn) for gap in found.report.unreadable] == [(4, 4)]


async def test_a_cursor_that_the_disk_cannot_read_is_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with opened(tmp_path, segment_bytes_max=700) as log:
        for _ in range(4):
            await log.append([bytes(500)], 1)
        await advance_cursor(log, 3)
        await log.append([bytes(500)], 1)
    files = FaultyFiles()
    files.fail("read", errno.EIO, name="cursor", times=10**9)
    log = await Log.open(tmp_path, wal_config(), files=files)
    assert (log.cursor_lsn, log.durable_lsn) == (3, 5)
    await log.close()
    assert "the cursor cannot be used (it cannot be read" in caplog.text
    async with opened(tmp_path) as log:
        assert log.cursor_lsn == 3


async def test_a_new_log_that_died_early_is_simply_new(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with opened(tmp_path) as log:
        log_id = log.log_id
    segments(tmp_path)[0].unlink()
    async with opened(tmp_path) as log:
        assert (log.log_id, log.durable_lsn) == (log_id, 0)
    cut(segments(tmp_path)[0], 0)
    (tmp_path / "cursor").unlink()
    async with opened(tmp_path) as log:
        assert log.durable_lsn == 0
    assert not [record for record in caplog.records if record.levelno >= logging.CRITICAL]
