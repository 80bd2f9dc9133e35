"""What a start does to a log that is in order. (What it does to one that is not: test_known_damage.py.)"""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from nealytics.errors import LogBroken, LogDamaged, LogFull
from nealytics.wal import CursorState, Log, Range
from nealytics.wal.segment import name_of
from tests.fakes.faulty_files import FaultyFiles
from tests.wal.logs import advance_cursor, opened, read_all, segments, wal_config, write


async def test_no_process_appends_to_a_file_that_another_one_made(tmp_path: Path):
    await write(tmp_path, [[b"a"]])
    before = {path.name: path.stat().st_size for path in segments(tmp_path)}
    async with opened(tmp_path) as log:
        await log.append([b"b"], 1)
        names = [path.name for path in segments(tmp_path)]
        assert names == [name_of(1), name_of(2)]
        assert segments(tmp_path)[0].stat().st_size == before[name_of(1)]


async def test_an_unclean_last_segment_is_copied_even_if_it_reads_well(tmp_path: Path):
    """After a failed fdatasync the page cache shows bytes that the disk does not have, and a second fdatasync
    of the same file would report success. A copy is new bytes."""
    async with opened(tmp_path / "running") as log:
        await log.append([b"a"], 1)
        shutil.copytree(tmp_path / "running", tmp_path / "log")
    (last,) = segments(tmp_path / "log")
    inode = last.stat().st_ino
    files = FaultyFiles()
    async with opened(tmp_path / "log", files) as log:
        assert await read_all(log) == [b"a"]
    assert last.stat().st_ino != inode
    copying = [call for call in files.calls if call[1].startswith(name_of(1)) or call[0] == "sync_directory"]
    copying = [call for call in copying if call[0] not in ("open", "read")]
    assert copying[:5] == [
        ("create", name_of(1) + ".tmp"),
        ("append", name_of(1) + ".tmp"),
        ("sync", name_of(1) + ".tmp"),
        ("rename", name_of(1)),
        ("sync_directory", "log"),
    ]


async def test_a_segment_that_was_closed_well_is_not_copied(tmp_path: Path):
    await write(tmp_path, [[b"a"]])
    inode = segments(tmp_path)[0].stat().st_ino
    async with opened(tmp_path):
        pass
    assert segments(tmp_path)[0].stat().st_ino == inode


async def test_starts_without_rows_leave_no_segments_behind(tmp_path: Path):
    for _ in range(3):
        await write(tmp_path, [])
    assert [path.name for path in segments(tmp_path)] == [name_of(1)]
    await write(tmp_path, [[b"a", b"b"]])
    for _ in range(3):
        await write(tmp_path, [])
    assert [path.name for path in segments(tmp_path)] == [name_of(1), name_of(3)]
    async with opened(tmp_path) as log:
        assert await read_all(log) == [b"a", b"b"]


async def test_log_id_and_lsns_live_as_long_as_the_log(tmp_path: Path):
    ids = set()
    for i in range(3):
        async with opened(tmp_path, segment_bytes_max=500) as log:
            ids.add(log.log_id)
            for k in range(3):
                assert await log.append([bytes(300)], 1) == 3 * i + k + 1
            await advance_cursor(log, log.durable_lsn)
    assert len(ids) == 1


async def test_the_cursor_is_stored_again_at_every_start(tmp_path: Path):
    """If its name was never synced, it is there for us and gone after a power cut."""
    await write(tmp_path, [[b"a"]])
    files = FaultyFiles()
    async with opened(tmp_path, files):
        pass
    calls = [call for call in files.calls if call[0] in ("sync", "rename", "sync_directory")]
    assert calls[:3] == [("sync", "cursor.tmp"), ("rename", "cursor"), ("sync_directory", tmp_path.name)]


async def test_a_new_log_has_a_cursor_before_it_has_a_segment(tmp_path: Path):
    """So segments without a cursor are always worth an alarm."""
    files = FaultyFiles()
    async with opened(tmp_path, files):
        pass
    assert [name for call, name in files.calls if call == "rename"] == ["cursor", name_of(1)]


async def test_only_headers_and_the_last_segment_are_read(tmp_path: Path):
    await write(tmp_path, [[bytes(500)]] * 5, segment_bytes_max=700)
    names = [path.name for path in segments(tmp_path)]
    files = FaultyFiles()
    log = await Log.open(tmp_path, wal_config(), files=files)
    await log.close()
    reads = [name for call, name in files.calls if call == "read"]
    # The first one is also asked how old its first row is: that is the oldest that waits.
    assert [reads.count(name) for name in names] == [2, 1, 1, 1, 2]


async def test_leftovers_of_unfinished_files_are_removed(tmp_path: Path):
    await write(tmp_path, [[b"a"]])
    (tmp_path / "cursor.tmp").write_bytes(b"half")
    (tmp_path / "00000000000000000009.wal.tmp").write_bytes(b"half")
    async with opened(tmp_path) as log:
        assert await read_all(log) == [b"a"]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


async def test_other_peoples_files_are_left_alone(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "telemetry_wal.log").write_text("{}")
    await write(tmp_path, [[b"a"]])
    await write(tmp_path, [[b"b"]])
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "telemetry_wal.log").read_text() == "{}"


@pytest.mark.parametrize(
    "operation", ["create", "append", "sync", "rename", "sync_directory", "read", "open"]
)
async def test_a_start_that_fails_anywhere_loses_nothing_and_gives_the_lock_back(
    tmp_path: Path, operation: str
):
    async with opened(tmp_path / "running", segment_bytes_max=800) as log:
        for i in range(3):
            await log.append([b"%d" % i * 300], 1)
        await advance_cursor(log, 1)
        await log.append(
            [b"3" * 300], 1
        )  # in the last segment, which has row 3 already: no cursor knows of it
        shutil.copytree(tmp_path / "running", tmp_path / "log")
    last = segments(tmp_path / "log")[-1]
    os.truncate(last, last.stat().st_size - 1)
    for error in (errno.EIO, errno.ENOSPC):
        for after in range(20):
            directory = tmp_path / f"{error}-{after}"
            shutil.copytree(tmp_path / "log", directory)
            files = FaultyFiles()
            files.fail(operation, error, after=after, times=1000)
            try:
                await (await Log.open(directory, wal_config(), files=files)).close()
            except (LogBroken, LogFull):
                pass
            except LogDamaged:
                # The next start quarantines it; this disk has recovered.
                assert (operation in ("read", "open"), error) == (True, errno.EIO)
            async with opened(directory) as log:
                assert await read_all(log, first_lsn=2) == [b"1" * 300, b"2" * 300], after
                assert log.cursor_lsn == 1
            shutil.rmtree(directory)


async def test_a_backlog_is_read_while_rows_arrive(tmp_path: Path):
    await write(tmp_path, [[b"%d" % i] for i in range(200)], segment_bytes_max=3000)
    async with opened(tmp_path, segment_bytes_max=3000) as log:

        async def arrive() -> None:
            for i in range(200, 300):
                await log.append([b"%d" % i], 1)

        arriving = asyncio.ensure_future(arrive())
        rows = await read_all(log, rows_max=7)
        await arriving
        rows += await read_all(log, first_lsn=len(rows) + 1)
        assert rows == [b"%d" % i for i in range(300)]


async def test_few_torn_files_are_kept_also_if_no_start_ever_wrote_a_row(tmp_path: Path):
    for _ in range(6):
        await write(tmp_path, [])
        with segments(tmp_path)[-1].open("ab") as file:
            file.write(b"the beginning of a frame")
    await write(tmp_path, [])
    assert len(list(tmp_path.glob("*.torn"))) == 3


class SmallDisk(FaultyFiles):
    def free_bytes(self, path: Path) -> int:
        assert self.room is not None
        return self.room


async def test_appends_leave_room_for_the_cursor_where_a_start_gave_the_reserve_back(tmp_path: Path):
    """Else the disk stays full for ever: without an intent nothing is sent, and nothing is deleted."""
    files = SmallDisk(room=2_000_000)
    await write(tmp_path, [[b"a"] * 5], files=files)
    (tmp_path / "reserve").unlink()
    files.room = 100_000
    async with opened(tmp_path, files) as log:
        for size in (10_000, 100, 1):
            await append_until_full(log, size)
        await log.store_cursor(CursorState(6, (Range(1, 5),)))


async def append_until_full(log: Log, size: int) -> None:
    try:
        while True:
            await log.append([bytes(size)], 1)
    except LogFull:
        pass
