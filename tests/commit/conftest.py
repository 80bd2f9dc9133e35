from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.commit.station import Station
from tests.fakes.clickhouse import FakeClickHouse


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeClickHouse]:
    async with FakeClickHouse() as server:
        yield server


@pytest.fixture
async def make(tmp_path: Path, fake: FakeClickHouse) -> AsyncIterator[Callable[..., Any]]:
    """Makes opened stations, each closed at the end; the committer is started by the test."""
    async with AsyncExitStack() as stack:

        async def make(**commit: Any) -> Station:
            return await stack.enter_async_context(Station(tmp_path / "wal", fake, **commit))

        yield make
