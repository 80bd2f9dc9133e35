"""Comparing a log with the table; e2e/test_recovery.py has it with the real engine."""

import math
from pathlib import Path

import pytest

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.reconcile import Options, Reconciliation, Result, Sample, begin, sample
from nealytics.commit.resend import Resending
from nealytics.wal import Range
from nealytics.wal.kept import Kept
from tests.commit.station import WAL, Station, clickhouse_config
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.rows import TIMESTAMP_MS, number, row

KEEP = WAL.__class__(allow_any_filesystem=True, free_bytes_min=0, keep_hours=10)


async def filled(directory: Path, fake: FakeClickHouse, count: int = 20) -> Path:
    """A log whose rows 1 … `count` are committed; their directory."""
    async with Station(directory, fake, wal=KEEP) as station:
        await station.append_numbers(1, count)
        station.start()
        await station.drained(timeout_s=30)
    return directory / "0"


async def reconciled(
    directory: Path,
    fake: FakeClickHouse,
    options: Options | None = None,
    resending: Resending | None = None,
    result: Result | None = None,
) -> Result:
    options = options or Options()
    kept = Kept(directory)
    result = result or begin(kept)
    resending = resending or Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf)
    try:
        async with ClickHouseClient(fake.endpoint, clickhouse_config()) as client:
            await Reconciliation(client, "nealytics_core", "table-1", resending, options).run(kept, result)
    finally:
        kept.close()
    return result


def stored(fake: FakeClickHouse) -> list[int]:
    return sorted(map(number, fake.rows))


async def test_missing_rows_are_sent_once_and_nothing_else_is(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows[:] = [one for one in fake.rows if number(one) % 3]
        result = await reconciled(directory, fake)
        assert (result.compared, result.missing, result.sent, result.complete) == (20, 6, 6, True)
        assert stored(fake) == list(range(1, 21))
        again = await reconciled(directory, fake)
        assert (again.missing, again.sent) == (0, 0)


async def test_a_comparison_sends_nothing_if_it_only_compares(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows.clear()
        result = await reconciled(directory, fake, Options(send=False))
        assert (result.missing, result.sent, result.complete) == (20, 0, False)
        assert fake.rows == []


async def test_an_insert_whose_answer_was_lost_is_repeated_and_stored_once(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows.clear()
        fake.faults.append(faults.lost_answer())
        kept = Kept(directory)
        result = begin(kept)
        kept.close()
        with pytest.raises(ClickHouseError):
            await reconciled(directory, fake, result=result)
        await reconciled(directory, fake, result=result)
        assert stored(fake) == list(range(1, 21))
        assert (result.compared, result.complete) == (20, True)


async def test_a_killed_clickhouse_that_knows_the_token_and_not_the_rows_gets_them(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows.clear()
        fake.faults.append(faults.killed_after_token())
        with pytest.raises(ClickHouseError):
            await reconciled(directory, fake)
        await reconciled(directory, fake)
        assert stored(fake) == list(range(1, 21))


async def test_rows_that_clickhouse_refuses_are_counted_and_the_others_are_sent(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows.clear()
        fake.refuse = lambda one: 469 if number(one) in (3, 17) else None
        result = await reconciled(directory, fake)
        assert (result.refused, result.sent, result.complete) == (2, 18, False)
        assert stored(fake) == [n for n in range(1, 21) if n not in (3, 17)]


async def test_a_table_that_refuses_every_row_ends_the_comparison(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake, 200)
        fake.rows.clear()
        fake.refuse = lambda one: 469
        with pytest.raises(ClickHouseError, match="469"):
            await reconciled(directory, fake)


async def test_rows_in_doubt_are_sent_only_if_asked_for(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows.clear()
        resending = Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf, deleted_ms=TIMESTAMP_MS)
        result = await reconciled(directory, fake, resending=resending)
        assert (result.doubtful, result.sent, result.complete) == (20, 0, False)
        result = await reconciled(directory, fake, Options(include_deleted=True), resending)
        assert (result.doubtful, result.sent, result.complete) == (0, 20, True)


async def test_the_newest_rows_are_asked_for_in_one_query(tmp_path: Path):
    async with FakeClickHouse() as fake:
        directory = await filled(tmp_path, fake)
        fake.rows[:] = [one for one in fake.rows if number(one) <= 15]
        kept = Kept(directory)
        fake.commands.clear()
        async with ClickHouseClient(fake.endpoint, clickhouse_config()) as client:
            found = []
            for accepted, last in (((), 20), ((), 15), ([Range(1, 17)], 20), ([Range(1, 20)], 20)):
                resending = Resending(now_ms=TIMESTAMP_MS, kept_days=math.inf, accepted=accepted)
                found.append(await sample(kept, client, "nealytics_core", resending, last_lsn=last))
        kept.close()
        assert found == [Sample(20, 5), Sample(15, 0), Sample(3, 3), Sample(0, 0)]
        assert len([one for one in fake.commands if "DISTINCT" in one]) == 3


async def test_segments_that_were_deleted_are_reported_as_not_compared(tmp_path: Path):
    """Kept segments go first when new events need their room."""
    async with FakeClickHouse() as fake:
        small = WAL.__class__(
            allow_any_filesystem=True,
            free_bytes_min=0,
            keep_hours=10,
            bytes_max=400_000,
            segment_bytes_max=65_536,
        )
        async with Station(tmp_path, fake, wal=small) as station:
            station.start()
            for first in range(0, 3_000, 100):
                await station.append(*(row(n, filler=200) for n in range(first, first + 100)))
                await station.drained(timeout_s=30)
            assert station.log.deleted_lsn > 0
            gone = station.log.deleted_lsn
        fake.rows.clear()
        result = await reconciled(tmp_path / "0", fake)
        assert result.first_lsn == gone + 1
        assert result.sent == 3_000 - gone
