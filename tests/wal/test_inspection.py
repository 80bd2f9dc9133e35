import os
from pathlib import Path

import pytest

from nealytics.errors import LogError
from nealytics.wal import OS_FILES, CursorState, Range, inspection, quarantine
from nealytics.wal.segment import HEADER_BYTES
from tests.wal.logs import advance_cursor, opened, segments, snapshot, write


def damage(directory: Path) -> list[str]:
    return [finding.message for finding in inspection.verify(OS_FILES, directory) if finding.damage]


def remarks(directory: Path) -> list[str]:
    return [finding.message for finding in inspection.verify(OS_FILES, directory) if not finding.damage]


async def test_a_running_log_is_summed_up_without_touching_it(tmp_path: Path):
    async with opened(tmp_path, segment_bytes_max=700, clock_ms=lambda: 5000) as log:
        for _ in range(5):
            await log.append([bytes(300), bytes(200)], 1)
        await log.store_cursor(CursorState(8, (Range(3, 4), Range(6, 6))))
        before = snapshot(tmp_path)
        summary = inspection.inspect(OS_FILES, tmp_path)
        assert snapshot(tmp_path) == before
        assert summary == inspection.Summary(
            directory=str(tmp_path),
            log_id=str(log.log_id),
            segments=5,
            bytes=log.bytes_used,
            first_lsn=1,
            last_lsn=10,
            cursor_lsn=2,
            next_lsn=8,
            outstanding=(Range(3, 4), Range(6, 6)),
            waiting=log.waiting,
            oldest_waiting_ms=5000,
            problems=(),
        )
        assert list(inspection.verify(OS_FILES, tmp_path)) == []


async def test_an_empty_log_has_nothing_waiting(tmp_path: Path):
    await write(tmp_path, [])
    summary = inspection.inspect(OS_FILES, tmp_path)
    assert (summary.first_lsn, summary.last_lsn, summary.waiting, summary.oldest_waiting_ms) == (
        None,
        0,
        0,
        None,
    )
    assert damage(tmp_path) == []


async def test_an_unfinished_write_is_a_remark(tmp_path: Path):
    await write(tmp_path, [[b"a"]])
    last = segments(tmp_path)[-1]
    size = last.stat().st_size
    os.truncate(last, size - 1)
    assert damage(tmp_path) == []
    (remark,) = remarks(tmp_path)
    assert (
        f"{last.name}: byte {size - 52}: the last 51 bytes are an incomplete frame; rows up to 1 are complete"
        in remark
    )
    assert "which was never acknowledged. Otherwise the file was truncated or damaged" in remark


async def test_damage_is_found_in_every_segment_with_file_and_offset(tmp_path: Path):
    await write(tmp_path, [[bytes(500)]] * 5, segment_bytes_max=700)
    for path in segments(tmp_path)[:4]:
        data = bytearray(path.read_bytes())
        data[300] ^= 1
        path.write_bytes(data)
    found = damage(tmp_path)
    for path, message in zip(segments(tmp_path), found, strict=False):
        assert f"{path.name}: byte {HEADER_BYTES}: the rows from" in message
    assert len(found) == 4


async def test_a_missing_segment_is_damage_unless_it_was_committed(tmp_path: Path):
    async with opened(tmp_path, segment_bytes_max=700) as log:
        for _ in range(6):
            await log.append([bytes(500)], 1)
        await advance_cursor(log, 3)
    paths = segments(tmp_path)
    paths[1].unlink()
    assert damage(tmp_path) == []
    paths[4].unlink()
    (message,) = damage(tmp_path)
    assert f"{paths[4].name}, is missing" in message


async def test_a_cursor_that_cannot_be_read_or_is_too_far_is_damage(tmp_path: Path):
    async with opened(tmp_path) as log:
        await log.append([b"a"], 1)
        await log.append([b"b"], 1)
        await advance_cursor(log, 2)
    (last,) = segments(tmp_path)
    whole = last.read_bytes()
    last.write_bytes(whole[:130])
    (message,) = damage(tmp_path)
    assert "cursor: the log had rows up to 2, but now ends with row 1" in message
    assert inspection.inspect(OS_FILES, tmp_path).problems == (message,)
    last.write_bytes(whole)
    (tmp_path / "cursor").write_bytes(b"?")
    (message,) = damage(tmp_path)
    assert "cursor: byte 0" in message
    (tmp_path / "cursor").unlink()
    (message,) = damage(tmp_path)
    assert "cursor is missing" in message


async def test_logs_are_found_below_their_root_in_order(tmp_path: Path):
    for name in ("10", "2", "0"):
        await write(tmp_path / name, [])
    (tmp_path / "dead-letter").mkdir()
    (tmp_path / "7").mkdir()
    assert [path.name for path in inspection.find_logs(tmp_path)] == ["0", "2", "10"]
    assert inspection.find_logs(tmp_path / "2") == [tmp_path / "2"]
    quarantined = quarantine.quarantine_log(OS_FILES, tmp_path / "2")
    await write(tmp_path / "2", [[b"a"]])
    assert "2" in {path.name for path in inspection.find_logs(tmp_path)}
    found = inspection.find_logs(tmp_path, quarantined=True)
    assert [path.name for path in found] == ["0", "2", quarantined.name, "10"]
    with pytest.raises(LogError, match="is not a directory"):
        inspection.find_logs(tmp_path / "nowhere")
