"""Which segments of a log are deleted for an erasure, and when."""

from pathlib import Path

import pytest

from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.erasure import logs
from nealytics.erasure.jobs import Erasure, Job
from nealytics.erasure.logs import LogCleaning, last_covered
from nealytics.erasure.store import Jobs
from nealytics.erasure.tombstones import Tombstones
from tests.commit.station import Station
from tests.erasure.erasures import erasure
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.faulty_files import FaultyFiles
from tests.fakes.rows import row
from tests.wal.logs import advance_cursor, opened, segments

GONE = erasure(tenant_id="gone")


async def test_the_last_row_that_is_covered_is_found(tmp_path: Path):
    async with opened(tmp_path / "0") as log:
        for n in range(1, 31):
            await log.append([row(n, tenant_id="gone" if n in (3, 20) else "acme", filler=50_000)], 1)
        await advance_cursor(log, 30)
        assert last_covered(log.directory, 30, Tombstones([GONE])) == 20
        assert last_covered(log.directory, 19, Tombstones([GONE])) == 3
        assert last_covered(log.directory, 2, Tombstones([GONE])) == 0
        assert last_covered(log.directory, 30, Tombstones([erasure(tenant_id="nobody")])) == 0


async def test_rows_that_cannot_be_read_count_as_covered(tmp_path: Path):
    async with opened(tmp_path / "0") as log:
        await log.append([row(1), row(2)], 1)
        await advance_cursor(log, 2)
        path = segments(log.directory)[0]
        data = bytearray(path.read_bytes())
        data[200] ^= 1
        path.write_bytes(data)
        assert last_covered(log.directory, 2, Tombstones([GONE])) == 2


class Cleaned:
    """A station whose log a `LogCleaning` cleans, one step at a time."""

    def __init__(self, station: Station, data_dir: Path) -> None:
        self.station = station
        self.jobs = Jobs(data_dir)
        self.adopted: list[Tombstones] = []
        self.cleaning = LogCleaning(
            self.jobs, lambda: [(station.log, station.committer)], self.adopted.append
        )

    def erase(self, one: Erasure) -> None:
        self.jobs.put(Job(erasure=one))
        self.station.erasures = dict(self.jobs.erasures())

    @property
    def is_clean(self) -> bool:
        return self.jobs.is_cleaned("e1", "0")


@pytest.fixture
async def cleaned(tmp_path: Path):
    async with FakeClickHouse() as fake, Station(tmp_path / "wal", fake) as station:
        yield Cleaned(station, tmp_path)


async def test_a_log_is_clean_once_its_rows_are_acknowledged_and_their_segments_deleted(cleaned: Cleaned):
    station = cleaned.station
    station.log.keep_all = False
    await station.append(row(1), row(2, tenant_id="gone"))
    cleaned.erase(GONE)
    await cleaned.cleaning.step()
    assert len(cleaned.adopted) == 1
    assert not cleaned.is_clean  # the rows wait
    station.start()
    await station.drained()
    await cleaned.cleaning.step()
    assert cleaned.is_clean
    assert station.log.deleted_lsn == 2
    assert station.stored == [1]
    await cleaned.cleaning.step()
    assert len(cleaned.adopted) == 1


async def test_a_log_that_is_compared_with_the_table_keeps_its_segments(cleaned: Cleaned):
    station = cleaned.station
    await station.append(row(1, tenant_id="gone"))
    station.start()
    await station.drained()
    cleaned.erase(GONE)
    station.log.keep_all = True
    await cleaned.cleaning.step()
    assert not cleaned.is_clean
    station.log.keep_all = False
    await cleaned.cleaning.step()
    assert cleaned.is_clean


async def test_segments_without_such_rows_stay_for_reconcile(cleaned: Cleaned):
    station = cleaned.station
    await station.append(row(1), row(2))
    station.start()
    await station.drained()
    cleaned.erase(GONE)
    await cleaned.cleaning.step()
    assert cleaned.is_clean
    assert station.log.deleted_lsn == 0


async def test_rows_that_are_being_written_when_an_erasure_is_adopted_are_removed(cleaned: Cleaned):
    station = cleaned.station
    station.log.keep_all = False
    # Admitted before; the first is cancelled as when its client disconnects.
    station.log.append([row(1, tenant_id="gone")], ROW_FORMAT).cancel()
    station.log.append([row(2, tenant_id="gone")], ROW_FORMAT)
    cleaned.erase(GONE)
    await cleaned.cleaning.step()
    assert not cleaned.is_clean
    station.start()
    await station.drained()
    await cleaned.cleaning.step()
    assert cleaned.is_clean
    assert station.stored == []
    assert not any(b"gone" in path.read_bytes() for path in segments(station.log.directory))


async def test_a_comparison_that_begins_while_the_rows_are_searched_keeps_the_segments(
    cleaned: Cleaned, monkeypatch: pytest.MonkeyPatch
):
    station = cleaned.station
    await station.append(row(1, tenant_id="gone"))
    station.start()
    await station.drained()
    cleaned.erase(GONE)
    station.log.keep_all = False

    def begin(directory: Path, last_lsn: int, tombstones: Tombstones) -> int:
        station.log.keep_all = True
        return last_covered(directory, last_lsn, tombstones)

    monkeypatch.setattr(logs, "last_covered", begin)
    await cleaned.cleaning.step()
    assert not cleaned.is_clean
    assert station.log.deleted_lsn == 0


async def test_a_segment_that_cannot_be_deleted_is_tried_again(tmp_path: Path):
    files = FaultyFiles()
    async with opened(tmp_path, files, keep_hours=0, keep_bytes=0) as log:
        log.keep_all = True
        await log.append([row(1, tenant_id="gone")], ROW_FORMAT)
        await advance_cursor(log, 1)
        log.keep_all = False
        (segment,) = segments(tmp_path)

        def refuse(operation: str, name: str) -> None:
            if operation == "unlink" and name == segment.name:
                raise OSError(30, "Read-only file system")

        files.before = refuse
        with pytest.raises(OSError, match="Read-only"):
            await log.purge(1)
        assert segment.exists()
        files.before = lambda operation, name: None
        assert await log.purge(1)
        assert not segment.exists()
