"""The committer against the real engine: what is refused there is refused with the codes we take for bad
content.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from tests.commit.station import Station
from tests.engine import needs_engine, start_engine
from tests.fakes.rows import row

pytestmark = [needs_engine, pytest.mark.engine]


class Engine:
    """Stands where a FakeClickHouse stands in `Station`."""

    def __init__(self, directory: Path) -> None:
        self.running = start_engine(directory, retention_days=0)
        self.endpoint = endpoint_of(self.running.config)
        self.url, self.unix_socket = self.endpoint.url, self.endpoint.unix_socket
        self.client = ClickHouseClient(self.endpoint, self.running.config.clickhouse)

    async def numbers(self) -> list[int]:
        """Of all rows in the table, copies included."""
        found = await self.client.query("SELECT event_id FROM global_events", settings={"final": 0})
        return sorted(UUID(event_id).int for (event_id,) in found)

    async def alter(self, what: str) -> None:
        await self.client.command(f"ALTER TABLE nealytics_core.global_events {what}")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(tmp_path)
    with engine.running:
        await schema.apply(engine.client, engine.running.config.clickhouse)
        yield engine
        await engine.client.close()


@pytest.fixture
async def station(tmp_path: Path, engine: Any) -> AsyncIterator[Station]:
    async with Station(tmp_path / "wal", engine, batch_rows_max=64) as station:
        yield station


async def test_a_constraint_puts_only_the_rows_that_break_it_aside(engine, station):
    await engine.alter("ADD CONSTRAINT short CHECK length(metadata_json) < 100")
    await station.append(*(row(n, filler=200 if n in (5, 64) else 0) for n in range(1, 101)))
    station.start()
    await station.settled(timeout_s=30)
    assert await engine.numbers() == [n for n in range(1, 101) if n not in (5, 64)]
    assert station.dead == [5, 64]
    assert {station.dead_letter.read(id).code for id in station.dead_letter.ids()} == {469}


async def test_a_table_that_refuses_every_row_is_waited_for(engine, station):
    await engine.alter("ADD CONSTRAINT never CHECK 0")
    await station.append_numbers(1, 100)
    station.start()
    await station.until(lambda: station.committer.problem is not None, timeout_s=30)
    assert "469" in station.committer.problem
    await engine.alter("DROP CONSTRAINT never")
    await station.settled(timeout_s=30)
    assert await engine.numbers() == list(range(1, 101))
    assert station.dead == []


async def test_a_dropped_table_is_waited_for(engine, station):
    await engine.client.command("DROP TABLE nealytics_core.global_events SYNC")
    await station.append_numbers(1, 100)
    station.start()
    await station.until(lambda: station.committer.problem is not None, timeout_s=30)
    await schema.apply(engine.client, engine.running.config.clickhouse)
    await station.settled(timeout_s=30)
    assert await engine.numbers() == list(range(1, 101))


async def test_a_killed_engine_costs_waiting_and_nothing_else(engine, station):
    station.start()
    for start in range(1, 200, 20):
        if start == 101:
            engine.running.kill()
        await station.append_numbers(start, start + 19)
    await station.until(lambda: station.committer.problem is not None, timeout_s=30)
    engine.running.start()
    await station.settled(timeout_s=60)
    assert await engine.numbers() == list(range(1, 201))
