"""Committed rows that are still on disk, read without the log's lock."""

from pathlib import Path

import pytest

from nealytics.errors import LogError
from nealytics.wal import CursorState, Range
from nealytics.wal.kept import Gap, Kept, kept_of
from tests.wal.logs import advance_cursor, opened, segments


async def test_committed_rows_are_read_while_the_log_is_open(tmp_path: Path):
    async with opened(tmp_path, keep_hours=10) as log:
        await log.append([b"a", b"b", b"c", b"d"], 1)
        await advance_cursor(log, 3)
        kept = Kept(tmp_path)
        assert (kept.first_lsn, kept.last_lsn, kept.ranges(1)) == (1, 3, [Range(1, 3)])
        assert list(kept.read(1, 3, rows_max=10, bytes_max=1_000)) == [b"a", b"b", b"c"]
        kept.close()


async def test_outstanding_rows_are_the_committer_s(tmp_path: Path):
    async with opened(tmp_path, keep_hours=10) as log:
        await log.append([b"x"] * 9, 1)
        await log.store_cursor(CursorState(9, (Range(3, 4), Range(7, 7))))
        kept = Kept(tmp_path)
        assert kept.ranges(2) == [Range(2, 2), Range(5, 6), Range(8, 8)]
        assert kept.last_lsn == 8
        kept.close()


async def test_a_new_log_has_none(tmp_path: Path):
    async with opened(tmp_path):
        kept = Kept(tmp_path)
        assert (kept.ranges(1), kept.last_lsn) == ([], 0)
        kept.close()


async def test_a_damaged_or_deleted_segment_is_a_gap_and_the_next_one_is_read(tmp_path: Path):
    async with opened(tmp_path, segment_bytes_max=1_000, keep_hours=10) as log:
        for _ in range(6):
            await log.append([b"x" * 400], 1)
        await advance_cursor(log, 6)
        kept = Kept(tmp_path)
        first, second, third = segments(tmp_path)[:3]
        first.unlink()
        data = bytearray(second.read_bytes())
        data[-5] ^= 1
        second.write_bytes(data)
        with pytest.raises(Gap, match="deleted meanwhile") as gap:
            kept.read(1, 6, rows_max=10, bytes_max=10_000)
        with pytest.raises(Gap, match="checksum") as damaged:
            kept.read(gap.value.last + 1, 6, rows_max=10, bytes_max=10_000)
        after = kept.read(damaged.value.last + 1, 6, rows_max=1, bytes_max=10_000)
        assert after.first_lsn == int(third.name.removesuffix(".wal"))
        kept.close()


async def test_of_a_damaged_log_the_committed_rows_that_can_be_read_are_kept(tmp_path: Path):
    """Also behind the damage in the same segment, and without the log's lock."""
    directory = tmp_path / "0"
    async with opened(directory, keep_hours=10) as log:
        for number in range(6):
            await log.append([b"%d" % number * 400], 1)
        await log.store_cursor(CursorState(7, (Range(5, 5),)))
    (path,) = [path for path in segments(directory) if path.stat().st_size > 1_000]
    data = bytearray(path.read_bytes())
    data[data.index(b"2" * 400)] ^= 1
    path.write_bytes(data)
    moved = directory.rename(tmp_path / "0.damaged.x")
    kept = kept_of(moved)
    assert kept.ranges(1) == [Range(1, 2), Range(4, 4), Range(6, 6)]
    assert kept.ranges(2) == [Range(2, 2), Range(4, 4), Range(6, 6)]
    assert (kept.first_lsn, kept.last_lsn) == (1, 6)
    assert list(kept.read(4, 4, rows_max=10, bytes_max=10_000)) == [b"3" * 400]
    kept.close()
    (moved / "cursor").unlink()
    kept = kept_of(moved)
    assert [(rows.first, rows.last) for rows in kept.ranges(1)] == [(1, 2), (4, 6)]
    kept.close()


def test_without_a_cursor_nobody_knows_what_is_committed(tmp_path: Path):
    with pytest.raises(LogError, match="start the node"):
        Kept(tmp_path)
