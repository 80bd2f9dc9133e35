"""The real engine behind a tenant's page: one per module, its table empty for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import AuthConfig, Config, QueryConfig, SavedQueriesConfig, SegmentRule
from tests.engine import RunningEngine, start_engine
from tests.http.reader import JWT_KEY, Reader


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("reads"), retention_days=0) as engine:
        yield engine


@pytest.fixture
def segments() -> tuple[SegmentRule, ...]:
    """The saved segments of the configuration; a module may have its own."""
    return ()


@pytest.fixture
def saved_files() -> dict[str, str]:
    """The files of saved queries, by name; a module may have its own."""
    return {}


@pytest.fixture
async def reader(
    engine: RunningEngine, segments: tuple[SegmentRule, ...], saved_files: dict[str, str], tmp_path: Path
) -> AsyncIterator[Reader]:
    for name, text in saved_files.items():
        (tmp_path / f"{name}.sql").write_text(text)
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=QueryConfig(limit_max=1_000),
        segment=segments,
        saved_queries=SavedQueriesConfig(directory=tmp_path),
    )
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.apply(client, config.clickhouse)
        await client.command("TRUNCATE TABLE nealytics_core.global_events")
        # What a test stores stays as stored: a merge would hide duplicates that a read must hide itself.
        await client.command("SYSTEM STOP MERGES nealytics_core.global_events")
        async with Reader(client, config) as reader:
            if saved_files:
                await reader.saved.load()
            yield reader
