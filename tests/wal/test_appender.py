"""Small groups are appended by a thread of C, others by Python; the log must not differ."""

import asyncio
import errno
import os
import resource
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

import pytest

from nealytics.errors import LogBroken, LogFull
from nealytics.wal.appender import Appended, Appender
from nealytics.wal.files import OS_FILES
from nealytics.wal.writer import SMALL_BYTES, Append, Group, Writer
from tests.fakes.faulty_files import FaultyFiles
from tests.wal.logs import opened, read_all, segments

pytestmark = pytest.mark.skipif(
    find_spec("_nealytics_appender") is None,
    reason="not compiled: no C compiler, or Python's headers are missing",
)


def group(*appends: tuple[list[bytes], int]) -> Group:
    made = Group()
    for rows, row_format in appends:
        made.add(Append(rows, row_format, sum(map(len, rows))))
    return made


GROUPS = [
    group(([b"one"], 1)),
    group(([b"two", b""], 1), ([b"three"], 2), ([b"four" * 1000], 2)),
    group(([bytes([n]) * n for n in range(200)], 1), ([b"five"], 1)),
]


@pytest.fixture
async def appender():
    made = Appender()
    yield made
    made.close()


def writer(directory: Path, files=OS_FILES) -> Writer:
    directory.mkdir()
    return Writer(
        files,
        directory,
        UUID(int=7),
        next_lsn=1,
        previous_first_lsn=0,
        previous_crc=0,
        segment_bytes_max=1 << 20,
        clock_ms=lambda: 1_700_000_000_000,
        cursor_lsn=0,
    )


async def test_both_write_the_same_bytes(tmp_path: Path, appender: Appender):
    ours, reference = writer(tmp_path / "ours"), writer(tmp_path / "reference")
    for each in GROUPS:
        frames = ours.small_frames(each)
        assert frames is not None
        written = ours.appended(frames, await appender.append(frames.descriptor, frames.data))
        assert written.last_lsn == reference.write(each, 0).last_lsn
        assert written.sync_seconds > 0
        assert ours.active.bytes == reference.active.bytes
    assert ours.active.path.read_bytes() == reference.active.path.read_bytes()
    assert ours.active.path.stat().st_size == ours.active.bytes


@pytest.mark.parametrize("failed", [errno.ENOSPC, errno.EDQUOT])
def test_without_room_the_group_is_cut_off_and_the_next_one_may_try(tmp_path: Path, failed: int):
    log = writer(tmp_path / "log")
    before = log.active.path.read_bytes()
    frames = log.small_frames(GROUPS[1])
    assert frames is not None
    os.write(frames.descriptor, frames.data[:50])
    with pytest.raises(LogFull, match="no room for"):
        log.appended(frames, Appended(failed, 0, 0.0))
    assert log.active.path.read_bytes() == before
    assert log.small_frames(GROUPS[1]) == frames


@pytest.mark.parametrize(
    "ended", [Appended(errno.EIO, 0, 0.0), Appended(0, errno.EIO, 0.1), Appended(0, errno.ENOSPC, 0)]
)
def test_an_error_of_the_disk_or_of_a_sync_breaks_the_log(tmp_path: Path, ended: Appended):
    log = writer(tmp_path / "log")
    frames = log.small_frames(GROUPS[0])
    assert frames is not None
    with pytest.raises(LogBroken, match="restart to recover"):
        log.appended(frames, ended)


def test_groups_that_python_has_to_write(tmp_path: Path):
    log = writer(tmp_path / "log")
    large = group(([bytes(SMALL_BYTES + 1)], 1))
    assert log.small_frames(large) is None
    log.write(large, 0)
    assert log.small_frames(GROUPS[0]) is not None
    log.write(large, 0)  # the segment is full now
    half = group(([bytes(SMALL_BYTES)], 1))
    assert log.small_frames(half) is None
    faulty = writer(tmp_path / "faulty", FaultyFiles())
    assert faulty.small_frames(GROUPS[0]) is None


async def test_it_reports_the_errors_of_the_system(tmp_path: Path, appender: Appender):
    full = os.open("/dev/full", os.O_WRONLY)
    assert await appender.append(full, b"x") == Appended(errno.ENOSPC, 0, 0.0)
    os.close(full)
    assert await appender.append(full, b"x") == Appended(errno.EBADF, 0, 0.0)
    reading, writing = os.pipe()  # takes bytes, but cannot sync them
    ended = await appender.append(writing, b"x")
    assert (ended.write_error, ended.sync_error) == (0, errno.EINVAL)
    os.close(reading)
    os.close(writing)


async def test_a_write_that_takes_only_a_part_finds_the_disk_full(tmp_path: Path, appender: Appender):
    file = OS_FILES.create(tmp_path / "file")
    assert file.descriptor is not None
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        ended = await appender.append(file.descriptor, bytes(1_500))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ended == Appended(errno.ENOSPC, 0, 0.0)
    assert file.size() == 1_000
    file.close()


async def test_the_event_loop_goes_on_while_it_writes(appender: Appender):
    reading, writing = os.pipe()
    data = os.urandom(1 << 20)  # more than a pipe holds
    appending = appender.append(writing, data)
    with pytest.raises(RuntimeError):
        appender._thread.append(writing, b"another")
    got = b""
    while len(got) < len(data):
        assert not appending.done()
        await asyncio.sleep(0)
        got += os.read(reading, 1 << 16)
    assert (await appending).write_error == 0
    assert got == data
    os.close(reading)
    os.close(writing)


async def test_close_waits_for_an_append(tmp_path: Path):
    made = Appender()
    path = tmp_path / "file"
    file = OS_FILES.create(path)
    assert file.descriptor is not None
    data = os.urandom(8 << 20)
    made.append(file.descriptor, data).cancel()
    made.close()
    assert path.read_bytes() == data
    with pytest.raises(RuntimeError):
        made._thread.append(file.descriptor, data)
    file.close()


async def test_a_log_uses_it_and_reads_all_rows_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls = 0
    append = Appender.append

    def counted(self, descriptor, data):
        nonlocal calls
        calls += 1
        return append(self, descriptor, data)

    monkeypatch.setattr(Appender, "append", counted)
    rows = [[os.urandom(n) for n in (10, 100, 200_000)] for _ in range(40)]  # several segments
    async with opened(tmp_path / "log", segment_bytes_max=2 << 20) as log:
        await asyncio.gather(*(log.append(some, 1) for some in rows))
        for some in rows:
            await log.append(some, 1)
        assert await read_all(log) == [row for some in rows for row in some] * 2
    assert calls >= len(rows) - 5  # not those that begin a segment, nor the large groups
    assert len(segments(tmp_path / "log")) > 3
    async with opened(tmp_path / "log") as log:
        assert await read_all(log) == [row for some in rows for row in some] * 2
