"""One real engine for all tests of this package; each test has a database of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.config import ClickHouseConfig
from tests.engine import RunningEngine, engine_is_installed, start_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    if not engine_is_installed():
        pytest.skip("chdb-core is not installed")
    with start_engine(tmp_path_factory.mktemp("engine")) as running:
        assert running.request("POST", "/", "CREATE DATABASE tests").status == 200
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def config(engine: RunningEngine) -> ClickHouseConfig:
    """The engine's, with a database that no other test uses and that does not exist yet."""
    return msgspec.structs.replace(engine.config.clickhouse, database=f"test_{next(_numbers)}")


@pytest.fixture
async def client(engine: RunningEngine, config: ClickHouseConfig) -> AsyncIterator[ClickHouseClient]:
    endpoint = msgspec.structs.replace(engine.endpoint, database=config.database)
    async with ClickHouseClient(endpoint, config) as client:
        yield client


@pytest.fixture
async def database(client: ClickHouseClient, config: ClickHouseConfig) -> AsyncIterator[str]:
    """That database, created."""
    await client.command(f"CREATE DATABASE {config.database}")
    yield config.database
    await client.command(f"DROP DATABASE IF EXISTS {config.database}")
