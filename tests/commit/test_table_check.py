"""Whether a table can be the one that received a log's rows; e2e/test_recovery.py has the real engine."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nealytics.cli.wal_reconcile import coarse, record
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.table_state import TableState
from nealytics.commit.reconcile import BATCH_ROWS_MAX, Sample
from nealytics.commit.table_check import TableCheck, judge
from nealytics.wal import Range, mark
from nealytics.wal.mark import Mark
from tests.commit.station import WAL, Station, clickhouse_config
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.rows import TIMESTAMP_MS, number

TABLE = TableState("uuid-1", 1_000, ("old part on host",))
KNOWN = Mark("log-1", "uuid-1", "12-34", broken=("old part on host",))
FINE = Sample(1_000, 0)


def test_the_table_and_the_directory_that_the_log_knows_are_sound():
    assert judge(KNOWN, TABLE, "12-34", FINE) is None


def test_a_log_without_a_mark_is_sound_if_the_table_has_its_newest_rows():
    """So it is after an upgrade, and in a new log."""
    assert judge(None, TABLE, "12-34", FINE) is None
    assert judge(None, TABLE, "12-34", Sample(0, 0)) is None
    assert judge(None, TABLE, "12-34", Sample(10, 10)) is not None


@pytest.mark.parametrize(
    ("known", "table", "place", "newest", "words", "is_copy"),
    [
        (KNOWN, TABLE, "56-78", FINE, "was copied", True),
        (KNOWN, TABLE._replace(identity="uuid-2"), "12-34", FINE, "not the one that received", False),
        (KNOWN, TABLE._replace(broken=("new part on host",)), "12-34", FINE, "new part on host", False),
        (KNOWN, TABLE, "12-34", Sample(1_000, 1), "1 of its newest 1000", False),
    ],
)
def test_each_sign_is_named(
    known: Mark, table: TableState, place: str, newest: Sample, words: str, is_copy: bool
):
    found = judge(known, table, place, newest)
    assert found is not None
    assert words in found.reason
    assert found.is_copy is is_copy


def test_a_broken_part_that_was_dropped_is_no_sign():
    assert judge(KNOWN, TABLE._replace(broken=()), "12-34", FINE) is None


def test_a_suspicion_stays_until_a_comparison_is_complete():
    """Meanwhile new rows reach the table, so its newest rows prove nothing."""
    suspected = msgspec.structs.replace(KNOWN, suspected="it was emptied")
    found = judge(suspected, TABLE, "12-34", FINE)
    assert found is not None
    assert (found.reason, found.is_copy) == ("it was emptied", False)


ROWS = 2 * BATCH_ROWS_MAX + 500
KEEP = msgspec.structs.replace(WAL, keep_hours=10, keep_bytes=2**30)


class Server:
    """What the fake says of itself."""

    def __init__(self, fake: FakeClickHouse) -> None:
        self.fake = fake
        self.identity = "uuid-1"
        self.started_s = 1_000
        self.deleted_s = 0
        fake.answers = {
            "SELECT multiIf(engine": lambda statement: f"{self.identity}\n",
            "uptime()": lambda statement: f"{self.started_s}\n",
            "system.mutations": lambda statement: f"{self.deleted_s}\n",
            **fake.answers,
        }

    @property
    def stored(self) -> list[int]:
        return sorted(map(number, self.fake.rows))

    @property
    def questions(self) -> int:
        return sum("SELECT DISTINCT project_id" in one for one in self.fake.commands)


def check_of(station: Station, **more: Any) -> TableCheck:
    return TableCheck(
        station.log,
        station.client,
        clickhouse_config(),
        station.dead_letter,
        station.metrics,
        clock_ms=lambda: TIMESTAMP_MS,
        **more,
    )


@asynccontextmanager
async def confirmed(directory: Path) -> AsyncIterator[tuple[Server, TableCheck]]:
    """A log whose rows are all in a table that it knows."""
    async with FakeClickHouse() as fake, Station(directory, fake, wal=KEEP) as station:
        server = Server(fake)
        await station.append_numbers(1, ROWS)
        station.start()
        await station.drained()
        check = check_of(station)
        await check.check()
        yield server, check


async def interrupted(server: Server, check: TableCheck) -> None:
    """Begins to fill another, empty table, and fails after the first batch."""
    server.identity = "uuid-2"
    server.fake.rows.clear()
    server.fake.faults.extend([None, faults.error(241)])
    with pytest.raises(ClickHouseError):
        await check.check()
    assert len(server.stored) == BATCH_ROWS_MAX


async def test_an_interrupted_comparison_continues(tmp_path: Path):
    async with confirmed(tmp_path) as (server, check):
        await interrupted(server, check)
        await check.check()
        assert server.stored == list(range(1, ROWS + 1))
        assert len(server.fake.rows) == ROWS


@pytest.mark.parametrize("is_other", [True, False])
async def test_a_table_that_is_lost_during_the_comparison_gets_all_rows(tmp_path: Path, is_other: bool):
    """Another table, or the same one in a ClickHouse that was started again without its rows."""
    async with confirmed(tmp_path) as (server, check):
        await interrupted(server, check)
        server.fake.rows.clear()
        if is_other:
            server.identity = "uuid-3"
        else:
            server.started_s += 60
        await check.check()
        assert server.stored == list(range(1, ROWS + 1))


async def test_after_a_comparison_that_a_command_completed_the_next_one_begins_anew(tmp_path: Path):
    async with confirmed(tmp_path) as (server, check):
        lost = list(server.fake.rows)
        await interrupted(server, check)
        server.fake.rows[:] = lost
        known = mark.load(tmp_path / "0")
        assert known is not None
        mark.store(tmp_path / "0", msgspec.structs.replace(known, table="uuid-2", suspected=""))
        await check.check()
        server.fake.rows.clear()
        server.started_s += 60
        await check.check()
        assert server.stored == list(range(1, ROWS + 1))


async def test_rows_that_wait_for_a_decision_are_not_compared_at_each_check(tmp_path: Path):
    """ClickHouse's start is computed from two clocks in whole seconds, so it varies by one."""
    async with confirmed(tmp_path) as (server, check):
        server.fake.rows.clear()
        server.deleted_s = TIMESTAMP_MS // 1000 + 3600
        server.started_s += 60
        await check.check()
        assert "--accept" in check.warnings()[0]
        asked = server.questions
        for started_s in (1_061, 1_060, 1_061):
            server.started_s = started_s
            await check.check()
        assert server.questions == asked
        assert server.stored == []


async def test_only_what_was_accepted_stays_deleted(tmp_path: Path):
    """What the table loses later comes back."""
    async with confirmed(tmp_path) as (server, check):
        known = mark.load(tmp_path / "0")
        assert known is not None
        accepted = (Range(5, 7), Range(ROWS - 1, ROWS))
        mark.store(tmp_path / "0", msgspec.structs.replace(known, accepted=accepted))
        server.fake.rows[:] = [
            row for row in server.fake.rows if number(row) not in (5, 6, 7, ROWS - 1, ROWS)
        ]
        server.started_s += 60
        await check.check()
        assert check.warnings() == []
        assert len(server.stored) == ROWS - 5
        server.fake.rows.clear()
        server.started_s += 60
        await check.check()
        assert server.stored == [*range(1, 5), *range(8, ROWS - 1)]


async def test_if_the_mark_cannot_be_read_all_rows_are_compared(tmp_path: Path):
    """The newest rows may be there, and older ones not: the mark may have said so."""
    async with confirmed(tmp_path) as (server, check):
        (tmp_path / "0" / mark.NAME).write_bytes(b"{")
        del server.fake.rows[: ROWS // 2]
        await check.check()
        assert server.stored == list(range(1, ROWS + 1))
        known = mark.load(tmp_path / "0")
        assert known is not None
        assert (known.suspected, check.warnings()) == ("", [])


def test_very_many_ranges_are_joined_where_the_fewest_rows_are_between_them():
    ranges = [Range(1, 2), Range(4, 9), Range(20, 21), Range(25, 30)]
    assert coarse(ranges, 4) == ranges
    assert coarse(ranges, 3) == [Range(1, 9), Range(20, 21), Range(25, 30)]
    assert coarse(ranges, 2) == [Range(1, 9), Range(20, 30)]


def test_a_command_on_a_copy_leaves_it_recognisable(tmp_path: Path):
    """The node that starts on it must say what only the original may have."""
    mark.store(tmp_path, KNOWN)
    record(tmp_path, KNOWN.log_id, TABLE, ())
    known = mark.load(tmp_path)
    found = judge(known, TABLE, mark.place_of(tmp_path), FINE)
    assert found is not None
    assert found.is_copy


async def test_on_a_copy_of_a_log_all_erasures_begin_again(tmp_path: Path):
    async with confirmed(tmp_path / "first"):
        pass
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    async with FakeClickHouse() as fake, Station(tmp_path / "copy", fake, wal=KEEP) as station:
        begun: list[bool] = []
        Server(fake)
        check = check_of(station, erase_again=lambda: begun.append(True))
        await check.check()
        assert begun == [True]
