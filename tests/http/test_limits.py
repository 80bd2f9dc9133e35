"""What one query may spend, on the real engine: beyond it the answer is 422, and never less than all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import AuthConfig, Config, QueryConfig
from tests.engine import RunningEngine, needs_engine
from tests.http.questions import BY_NAME, QUESTIONS, pairs_of, stories
from tests.http.reader import JWT_KEY, SESSIONS, TIMELINE, Reader

pytestmark = [needs_engine, pytest.mark.engine]

SCOPES = [("shop", "acme"), ("shop", "globex")]


@asynccontextmanager
async def limited(engine: RunningEngine, **limits: Any) -> AsyncIterator[Reader]:
    """The same table, read with other limits."""
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=QueryConfig(**limits),
    )
    async with (
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
        Reader(client, config) as reader,
    ):
        yield reader


@pytest.mark.parametrize(
    "limits",
    [{"rows_read_max": 10}, {"memory_bytes_max": 1}, {"result_rows_max": 3}, {"result_bytes_max": 100}],
    ids=str,
)
async def test_the_error_of_a_query_beyond_a_limit_says_what_to_narrow(
    reader: Reader, engine: RunningEngine, limits: dict[str, int]
):
    await reader.store_twice(*stories(SCOPES))
    async with limited(engine, **limits) as page:
        for path in (TIMELINE, SESSIONS):
            status, body, _ = await page.get(path)
            assert (status, body["code"]) == (422, "query_too_large")
            assert "Narrow the time range" in body["detail"]
            assert "events" not in body


async def test_the_error_of_a_slow_query_says_the_same(reader: Reader, engine: RunningEngine):
    await reader.store_twice(*stories(SCOPES))
    async with limited(engine) as page:
        page.clickhouse._read_settings["max_execution_time"] = "0.000001"
        status, body, _ = await page.get(SESSIONS)
        assert (status, body["code"]) == (422, "query_too_large")


@pytest.mark.parametrize(
    "limits",
    [
        *({"rows_read_max": rows} for rows in (1, 30, 60)),
        *({"result_rows_max": rows} for rows in (1, 2, 5, 10)),
        *({"result_bytes_max": size} for size in (50, 200, 600)),
        *({"memory_bytes_max": size} for size in (10_000, 100_000)),
    ],
    ids=str,
)
async def test_what_a_limit_would_cut_is_never_answered(
    reader: Reader, engine: RunningEngine, limits: dict[str, int]
):
    """Whatever the limit stops half-way: the answer is the whole one, or none."""
    await reader.store_twice(*stories(SCOPES))
    statuses = set()
    async with limited(engine) as unlimited, limited(engine, **limits) as page:
        for name, query in QUESTIONS:
            path, asked = BY_NAME[name].path, pairs_of(query)
            arguments: Any = {key: asked.getall(key) for key in asked}
            whole = await unlimited.answer(path, **arguments)
            status, body, _ = await page.get(path, **arguments)
            statuses.add(status)
            if status == 200:
                assert body == whole, (name, query)
            else:
                assert (status, body["code"]) == (422, "query_too_large"), (name, query)
    assert 422 in statuses, "the limit stopped nothing; it must be smaller to test anything"


async def test_points_that_were_not_asked_to_be_limited_are_not_cut_in_silence(
    reader: Reader, engine: RunningEngine
):
    await reader.store_twice(*stories(SCOPES))
    path = BY_NAME["timeseries"].path
    async with limited(engine, limit_max=4) as page:
        status, body, _ = await page.get(path, groupBy="session_id")
        assert (status, body["code"]) == (422, "result_too_large")
        # Who names the limit gets the first ones, and is told that there are more.
        answer = await page.answer(path, groupBy="session_id", limit="3")
        assert len(answer["points"]) == 3
        assert [warning["code"] for warning in answer["warnings"]] == ["truncated"]
        answer = await page.answer(path, groupBy="session_id", limit="9")
        assert len(answer["points"]) == 4
        assert [warning["code"] for warning in answer["warnings"]] == ["limit_clamped", "truncated"]


PROFILE: dict[str, str | int] = {
    "limit": 1,
    "offset": 1,
    "use_query_cache": 1,
    "transform_null_in": 1,
    "aggregate_functions_null_for_empty": 1,
    "enable_global_with_statement": 0,
    "group_by_overflow_mode": "any",
    "result_overflow_mode": "break",
    "join_use_nulls": 1,
    "prefer_column_name_to_alias": 1,
    "session_timezone": "Asia/Tokyo",
    "count_distinct_implementation": "uniq",
}


async def test_what_a_server_profile_sets_changes_no_answer(reader: Reader):
    """A setting of the request goes before that of the profile, which here stands in front of it."""
    await reader.store_twice(*stories(SCOPES))
    of_request = reader.clickhouse._read_settings
    for name, query in QUESTIONS:
        asked = pairs_of(query)
        arguments: Any = {key: asked.getall(key) for key in asked}
        reader.clickhouse._read_settings = of_request
        expected = await reader.get(BY_NAME[name].path, **arguments)
        reader.clickhouse._read_settings = {**PROFILE, **of_request}
        assert (await reader.get(BY_NAME[name].path, **arguments))[:2] == expected[:2], (name, query)
        assert expected[0] == 200
