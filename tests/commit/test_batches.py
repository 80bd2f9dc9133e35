"""Reading ahead: the next batch is read while the last one is sent. What is sent is the same as without."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.client import ClickHouseClient, Served
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.commit.batches import Batches
from nealytics.commit.erased import Erased
from nealytics.commit.gather import Gathering
from nealytics.config import CommitConfig
from nealytics.erasure.jobs import Erasure
from nealytics.errors import LogDamaged
from nealytics.wal import CursorState, Log, Range, Rows
from tests.commit.station import WAL, clickhouse_config
from tests.fakes.rows import TIMESTAMP_MS, number, row

CONFIG = CommitConfig(batch_rows_max=10, catch_up_rows_max=0)
SENDING = CursorState(11, (Range(1, 10),))  # the first batch is being sent
GONE = Erasure(
    id="e1",
    project_id="shop",
    tenant_id="gone",
    user_hash=None,
    before_ms=TIMESTAMP_MS + 1,
    requested_at_ms=1,
    requested_by="a test",
)


class Reading:
    """A log of 25 rows, and its batches. Every third row is of the tenant "gone"."""

    def __init__(self, log: Log) -> None:
        self.began: list[int] = []  # the first row of each read of the log
        self.damage: LogDamaged | None = None
        self.erasures: dict[str, Erasure] = {}
        self.erased = Erased(self._known)
        gathering = Gathering(log, CONFIG, clock_ms=lambda: 0)
        self.batches = Batches(log, gathering, self.erased, partitions_max=12)
        self._read = log.read
        log.read = self.read  # type: ignore[method-assign]

    async def read(self, first_lsn: int, *, rows_max: int, bytes_max: int) -> Rows:
        self.began.append(first_lsn)
        if self.damage is not None:
            raise self.damage
        return await self._read(first_lsn, rows_max=rows_max, bytes_max=bytes_max)

    async def _known(self) -> dict[str, Erasure]:
        return self.erasures


@pytest.fixture
async def reading(tmp_path: Path) -> AsyncIterator[Reading]:
    log = await Log.open(tmp_path / "0", WAL)
    await log.append([row(n, tenant_id="gone" if n % 3 == 0 else "acme") for n in range(1, 26)], ROW_FORMAT)
    yield Reading(log)
    await log.close()


async def test_a_full_batch_is_read_ahead_once_and_is_the_one_that_would_be_read_later(reading: Reading):
    reading.batches.read_ahead(SENDING)
    reading.batches.read_ahead(SENDING)
    ahead = await reading.batches.new(11)
    assert reading.began == [11]
    later = await reading.batches.new(11)
    assert reading.began == [11, 11]
    assert (ahead.whole, ahead.token, ahead.rows.payload) == (later.whole, later.token, later.rows.payload)
    assert ahead.whole == Range(11, 20)


async def test_a_batch_that_is_not_full_is_read_when_it_is_sent(reading: Reading):
    reading.batches.read_ahead(CursorState(21, (Range(11, 20),)))
    await asyncio.sleep(0)
    assert reading.began == []
    assert (await reading.batches.new(21)).whole == Range(21, 25)


async def test_a_batch_that_begins_elsewhere_is_read_anew(reading: Reading):
    reading.batches.read_ahead(SENDING)
    assert (await reading.batches.new(15)).whole == Range(15, 24)


async def test_an_outstanding_range_takes_the_place_of_what_was_read_ahead(reading: Reading):
    reading.batches.read_ahead(SENDING)
    assert (await reading.batches.outstanding(Range(1, 5))).whole == Range(1, 5)
    reading.began.clear()
    await reading.batches.new(11)
    assert reading.began == [11]


async def test_rows_that_are_erased_after_they_were_read_ahead_are_left_out(reading: Reading):
    reading.batches.read_ahead(SENDING)
    assert reading.batches._ahead is not None
    await asyncio.wait([reading.batches._ahead[2]])
    reading.erasures = {GONE.id: GONE}
    assert not await reading.erased.is_current()
    batch = await reading.batches.new(11)
    assert reading.began == [11, 11]
    assert [number(r) for r in batch.rows] == [n for n in range(11, 21) if n % 3]
    assert (batch.whole, batch.erased) == (Range(11, 20), 3)


async def test_damage_that_was_met_while_reading_ahead_is_reported_when_the_batch_is_due(reading: Reading):
    reading.damage = LogDamaged("a bad block")
    reading.batches.read_ahead(SENDING)
    with pytest.raises(LogDamaged, match="a bad block"):
        await reading.batches.new(11)
    reading.damage = None
    assert (await reading.batches.new(11)).whole == Range(11, 20)


async def test_an_intent_of_which_rows_are_missing_is_damage(reading: Reading):
    with pytest.raises(LogDamaged, match="expected 11 rows from 20 on, but read"):
        await reading.batches.outstanding(Range(20, 30))


class Held(ClickHouseClient):
    """Sends no insert before `gate` is set."""

    gate: asyncio.Event

    async def insert(self, sql: str, body: bytes, *, token: str) -> Served:
        await self.gate.wait()
        return await super().insert(sql, body, token=token)


def hold(station: Any) -> asyncio.Event:
    gate = asyncio.Event()

    def make() -> ClickHouseClient:
        client = Held(station.fake.endpoint, clickhouse_config())
        client.gate = gate
        return client

    station.make_client = make
    return gate


async def test_the_committer_reads_ahead_while_it_sends(make, fake):
    station = await make(batch_rows_max=10)
    gate = hold(station)
    await station.crash()
    began: list[int] = []
    read = station.log.read

    async def spy(first_lsn: int, **bounds: int) -> Rows:
        began.append(first_lsn)
        return await read(first_lsn, **bounds)

    station.log.read = spy
    await station.append_numbers(1, 25)
    station.start()
    await station.until(lambda: 11 in began)
    assert station.stored == []
    assert station.log.cursor == CursorState(11, (Range(1, 10),))  # no intent of the next one yet
    gate.set()
    await station.drained()
    assert station.stored == list(range(1, 26))
    assert began == [1, 11, 21]


async def test_a_batch_takes_what_has_arrived_while_the_last_one_was_sent(make, fake):
    station = await make(batch_rows_max=10, catch_up_rows_max=100)
    gate = hold(station)
    await station.crash()
    await station.append_numbers(1, 10)
    station.start()
    await station.until(lambda: station.log.cursor.next_lsn == 11)
    await station.append_numbers(11, 40)
    gate.set()
    await station.drained()
    assert station.ranges == [(1, 10), (11, 40)]


async def test_a_backlog_is_sent_in_batches_of_catch_up_rows_max(make, fake):
    station = await make(batch_rows_max=10, catch_up_rows_max=100)
    await station.append_numbers(1, 250)
    station.start()
    await station.drained()
    assert station.ranges == [(1, 100), (101, 200), (201, 250)]


async def test_a_backlog_of_long_rows_is_bounded_by_bytes(make, fake):
    station = await make(batch_rows_max=10, catch_up_rows_max=100, batch_bytes_max=5_000)
    await station.append(*(row(n, filler=900) for n in range(1, 31)))
    station.start()
    await station.drained()
    assert len(station.stored) == 30
    assert all(len(insert.body) <= 5_000 for insert in fake.inserts)
