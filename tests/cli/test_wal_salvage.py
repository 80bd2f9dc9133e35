"""`nealytics wal salvage`: a log with damage, or what is left of one, becomes a new log or NDJSON."""

import asyncio
import json
from pathlib import Path

from click.testing import CliRunner, Result

from nealytics.cli.wal import wal
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.event import decode_event
from nealytics.wal import OS_FILES
from tests.fakes.rows import number, row
from tests.wal.logs import advance_cursor, opened, read_all, segments

COUNT = 60


def salvage(*arguments: object) -> Result:
    return CliRunner().invoke(wal, ["salvage", *map(str, arguments)])


def make_log(directory: Path, committed: int = 0) -> Path:
    async def fill() -> None:
        async with opened(directory, segment_bytes_max=1024) as log:
            for first in range(1, COUNT + 1, 5):
                await log.append([row(n) for n in range(first, first + 5)], ROW_FORMAT)
            if committed:
                await advance_cursor(log, committed)

    asyncio.run(fill())
    assert len(segments(directory)) > 3
    return directory


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def numbers(directory: Path) -> list[int]:
    async def read() -> list[int]:
        async with opened(directory) as log:
            return [number(row) for row in await read_all(log)]

    return asyncio.run(read())


def test_a_damaged_log_becomes_a_new_log_and_stays_as_it_is(tmp_path: Path):
    log = make_log(tmp_path / "0")
    damaged = segments(log)[1]
    flip(damaged, 300)
    before = {path.name: path.read_bytes() for path in log.iterdir()}
    result = salvage(log, "--to", tmp_path / "new")
    assert result.exit_code == 1
    assert {path.name: path.read_bytes() for path in log.iterdir()} == before
    found = numbers(tmp_path / "new")
    assert found == sorted(found)
    assert len(found) == COUNT - 5
    assert f"in {damaged.name} bytes" in result.stderr
    assert f"{COUNT - 5} events that were not committed can be read, 5 cannot" in result.stderr


def test_without_a_target_it_only_reports(tmp_path: Path):
    log = make_log(tmp_path / "0")
    segments(log)[2].unlink()
    result = salvage(log)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "in a missing segment" in result.stderr


def test_what_is_left_of_a_node_becomes_events_that_the_import_reads(tmp_path: Path):
    log = make_log(tmp_path / "0", committed=7)
    for name in ("cursor", "LOCK"):
        (log / name).unlink()
    result = salvage(log, "--ndjson", "-", "--all")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == COUNT
    assert json.loads(lines[0])["timestamp"] == "2030-01-15T12:00:00Z"
    sent = decode_event(lines[0].encode())
    assert (sent.project_id, sent.event_type) == ("shop", "page_view")


def test_committed_events_are_left_out_unless_all_are_asked_for(tmp_path: Path):
    log = make_log(tmp_path / "0", committed=7)
    assert salvage(log, "--to", tmp_path / "rest").exit_code == 0
    assert numbers(tmp_path / "rest") == list(range(8, COUNT + 1))
    assert salvage(log, "--all", "--to", tmp_path / "all").exit_code == 0
    assert numbers(tmp_path / "all") == list(range(1, COUNT + 1))


def test_a_log_that_is_in_use_and_a_target_that_is_not_empty_are_refused(tmp_path: Path):
    log = make_log(tmp_path / "0")
    lock = OS_FILES.try_lock(log / "LOCK")
    assert lock is not None
    result = salvage(log)
    assert "is in use; stop the node" in str(result.exception)
    lock.close()
    result = salvage(log, "--to", log)
    assert "is not empty" in str(result.exception)
    # A node still has the lock of a log in quarantine that was moved, and writes nothing to it.
    moved = log.rename(tmp_path / "moved")
    lock = OS_FILES.try_lock(moved / "LOCK")
    assert lock is not None
    (moved / "damage.json").write_text('{"log_id": "x", "unreadable": []}')
    assert salvage(moved).exit_code == 0
    lock.close()
    (tmp_path / "nothing").mkdir()
    assert "contains no log" in str(salvage(tmp_path / "nothing").exception)
