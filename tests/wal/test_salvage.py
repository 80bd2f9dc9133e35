"""Whatever byte is damaged: every other frame is found, and the report names what is missing."""

import os
import random
from pathlib import Path

import pytest

from nealytics.errors import LogForeign
from nealytics.wal import OS_FILES, CursorState, Range, cursor, segment
from nealytics.wal.cursor import Stored
from nealytics.wal.frame import FrameHeader
from nealytics.wal.reader import Reader
from nealytics.wal.salvage import Found, batches, frames, search
from tests.wal.logs import segments, write

GROUPS = [[b"row-%d-%d" % (group, n) * (n + 1) for n in range(group % 4 + 1)] for group in range(24)]
ROWS = [row for group in GROUPS for row in group]


def rows_of(found: Found) -> dict[int, bytes]:
    """The readable rows that are not committed, by LSN; each is read once."""
    reader = Reader(OS_FILES)
    parts = [stretch.segment for stretch in found.stretches]
    rows: dict[int, bytes] = {}
    for first, last in found.batches:
        read = reader.read(parts, found.end_lsn, first, last - first + 1, 1 << 40)
        assert (read.first_lsn, read.last_lsn) == (first, last)
        for lsn, row in enumerate(read, first):
            assert lsn not in rows
            rows[lsn] = row
    reader.close()
    return rows


def frames_of(directory: Path) -> list[tuple[int, int, FrameHeader | None]]:
    loaded = [segment.load(OS_FILES, path) for path in segments(directory)]
    return [part for found in loaded if found is not None for part in frames(OS_FILES, found)]


def missing(found: Found) -> list[int]:
    return [lsn for gap in found.unreadable for lsn in range(gap.first_lsn, gap.last_lsn + 1)]


def check(directory: Path, context: object = "") -> Found:
    """Every row is as it was written, or in the report."""
    found = search(OS_FILES, directory)
    rows = rows_of(found)
    assert all(row == ROWS[lsn - 1] for lsn, row in rows.items()), context
    assert sorted([*rows, *missing(found)]) == list(range(1, len(ROWS) + 1)), context
    assert sum(gap.events for gap in found.unreadable) == len(missing(found)), context
    return found


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    await write(tmp_path / "0", GROUPS, segment_bytes_max=700)
    assert len(segments(tmp_path / "0")) > 3
    return tmp_path / "0"


async def test_a_flipped_byte_anywhere_costs_at_most_the_frame_that_has_it(log: Path):
    seeded = random.Random(12)
    for path in segments(log):
        original = path.read_bytes()
        for offset in seeded.sample(range(len(original)), 120):
            data = bytearray(original)
            data[offset] ^= 1 << seeded.randrange(8)
            path.write_bytes(data)
            found = check(log, (path.name, offset))
            assert len(missing(found)) <= max(map(len, GROUPS))
            if offset < segment.HEADER_BYTES:
                assert not found.unreadable
            for gap in found.unreadable:
                assert any(
                    place.file == path.name and place.first_byte <= offset < place.first_byte + place.bytes
                    for place in gap.places
                )
        path.write_bytes(original)
    assert not check(log).unreadable


async def test_damage_at_several_places_is_reported_place_by_place(log: Path):
    seeded = random.Random(3)
    for _ in range(40):
        originals = {path: path.read_bytes() for path in segments(log)}
        for path, original in originals.items():
            data = bytearray(original)
            at = seeded.randrange(len(data))
            data[at : at + 90] = seeded.randbytes(min(90, len(data) - at))
            path.write_bytes(data)
        check(log)
        for path, original in originals.items():
            path.write_bytes(original)


async def test_the_report_has_the_times_of_the_neighbours(tmp_path: Path):
    times = iter(range(1_000, 1_000_000, 1_000))
    await write(tmp_path / "0", GROUPS, clock_ms=lambda: next(times))
    (path,) = [path for path in segments(tmp_path / "0") if path.stat().st_size > 500]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (gap,) = check(tmp_path / "0").unreadable
    headers = [header for _, _, header in frames_of(tmp_path / "0") if header is not None]
    assert gap.after_ms == max(header.appended_ms for header in headers if header.first_lsn < gap.first_lsn)
    assert gap.before_ms == min(header.appended_ms for header in headers if header.first_lsn > gap.first_lsn)
    assert path.name in str(gap)
    assert f"LSN {gap.first_lsn}-{gap.last_lsn}" in str(gap)


async def test_a_missing_segment_is_a_gap_of_known_size(log: Path):
    paths = segments(log)
    first, following = (segment.first_lsn_of(path.name) for path in paths[1:3])
    assert first is not None
    assert following is not None
    paths[1].unlink()
    found = check(log)
    assert missing(found) == list(range(first, following))
    assert found.unreadable[0].places == ()


async def test_a_file_that_was_cut_or_emptied_is_a_gap_of_known_size(log: Path):
    paths = segments(log)
    for length in (0, 30, 100, 400):
        os.truncate(paths[2], length)
        assert check(log).unreadable


async def test_a_lost_end_is_known_by_the_cursor(log: Path):
    with_rows = [path for path in segments(log) if path.stat().st_size > 300]
    last = segment.first_lsn_of(with_rows[-1].name)
    assert last is not None
    for path in segments(log):
        if path.name >= with_rows[-1].name:
            path.unlink()
    assert missing(check(log)) == list(range(last, len(ROWS) + 1))


async def test_committed_rows_are_neither_sent_nor_missed(log: Path):
    stored = cursor.load(OS_FILES, log)
    assert stored is not None
    state = CursorState(41, (Range(11, 20), Range(31, 35)))
    cursor.store(OS_FILES, log, Stored(stored.log_id, state, stored.durable_lsn))
    for path in segments(log)[:1]:
        path.unlink()
    found = search(OS_FILES, log)
    waiting = [*range(11, 21), *range(31, 36), *range(41, len(ROWS) + 1)]
    rows = rows_of(found)
    lost = sum(gap.events for gap in found.unreadable)
    assert set(rows) <= set(waiting)
    assert len(rows) + lost == len(waiting)


async def test_a_damaged_version_is_not_taken_for_a_newer_release(log: Path):
    path = segments(log)[1]
    data = bytearray(path.read_bytes())
    data[8] ^= 2
    path.write_bytes(data)
    assert not check(log).unreadable
    data[8:12] = (9).to_bytes(4, "little")
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogForeign):
        search(OS_FILES, log)


def test_a_batch_that_may_have_been_sent_stays_one_if_all_of_it_can_be_read():
    readable = [Range(1, 10), Range(11, 20), Range(25, 40)]
    assert batches(readable, [Range(5, 15), Range(18, 30), Range(31, 50)], 31) == [
        Range(5, 15), Range(18, 20), Range(25, 30), Range(31, 40),
    ]  # fmt: skip
