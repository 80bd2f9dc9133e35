"""The second fence, alone: ClickHouse itself leaves out the rows of others when the first wall is gone.

Here the relation `events` has lost its WHERE. Each endpoint must answer as if it had it, because with every
query goes `additional_table_filters`. That the check can fail is part of it: with that setting taken away as
well, every one of these questions shows somebody else's rows.
"""

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, Param, endpoint_of
from nealytics.clickhouse.transport import Transport
from nealytics.config import AuthConfig, Config
from nealytics.queries import ENDPOINTS, STREAMS, export, live
from nealytics.queries.endpoint import Endpoint
from nealytics.queries.export import Slice
from nealytics.queries.filters import parse_filter
from nealytics.queries.params import Arguments
from nealytics.queries.scoped import Events, Query, limit_settings
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.http.questions import BY_NAME, QUESTIONS, pairs_of, stories
from tests.http.reader import JWT_KEY, NOW, SESSIONS, TIMELINE, Reader, event, ms

pytestmark = [needs_engine, pytest.mark.engine]

SCOPES = {
    "a tenant": Scope("shop", "acme"),
    "a tenant with a hostile name": Scope("shop", "ac'me\\"),
    "a project": Scope("shop", None),
    "a token with filters": Scope("shop", "acme", filters=("event_type:ne:look",)),
}
OTHERS = [("shop", "globex"), ("blog", "acme"), ("shop", "acme'"), ("shop'", "ac'me\\")]


class WithoutWhere(Events):
    """Its relation names the table and nothing else."""

    def scoped(self, query: Query, parts: Collection[str] = ()) -> tuple[str, dict[str, Param]]:
        sql, params = super().scoped(query, parts)
        head, where, rest = sql.partition(" WHERE project_id = {project_id:String}")
        assert where
        condition = re.match(r"( AND tenant_id = \{tenant_id:String\})?", rest)
        assert condition is not None
        rest = rest[condition.end() :]
        # The token's own filters are no part of the scope; the fence says nothing of them.
        return f"{head} WHERE 1{rest}", params


class Unfenced(WithoutWhere):
    """And its queries go without the fence."""

    def _with(self, settings: Mapping[str, Any] | None) -> Mapping[str, Any]:
        sent = super()._with(settings)
        assert "additional_table_filters" in sent
        return {key: value for key, value in sent.items() if key != "additional_table_filters"}


async def store_everybody_s(reader: Reader) -> None:
    mine = [(scope.project_id, scope.tenant_id or "acme") for scope in SCOPES.values()]
    await reader.store_twice(*stories(list(dict.fromkeys([*mine, *OTHERS]))))


def events_of(reader: Reader, kind: type[Events], scope: Scope) -> Events:
    return kind(
        reader.clickhouse,
        reader.config.clickhouse.database,
        scope,
        token_filters=[parse_filter("filters", text) for text in scope.filters],
        limits=limit_settings(reader.config.query),
    )


async def answer(
    reader: Reader, kind: type[Events], scope: Scope, endpoint: Endpoint[Any], query: str
) -> dict[str, Any]:
    arguments = Arguments(pairs_of(query), reader.config.query, ms(NOW), endpoint.parameters)
    found = await endpoint.run(events_of(reader, kind, scope), endpoint.parse(arguments))
    return msgspec.json.decode(msgspec.json.encode(found))


async def exported(reader: Reader, kind: type[Events], scope: Scope, output_format: str) -> list[Any]:
    """What an export asks: how many there are, and what they are. Parquet's question, answered as text."""
    arguments = Arguments(MultiDict(), reader.config.query, ms(NOW), export.STREAM.parameters)
    params = msgspec.structs.replace(export.parse(arguments, None), format=output_format)
    events = events_of(reader, kind, scope)
    range_ = (params.selection.from_ms, params.selection.to_ms)
    part = (
        export.parquet_sql(params) if output_format == "parquet" else export.slice_sql(params, Slice(*range_))
    )
    lines = b""
    async with events.stream(part, "TabSeparatedRaw", export.SETTINGS) as pieces:
        async for piece in pieces:
            lines += piece
    return [await export.counted(events, params, *range_, 3_600_000), sorted(lines.splitlines())]


async def streamed(reader: Reader, kind: type[Events], scope: Scope) -> list[Any]:
    """What a live stream asks, from the first page to the last."""
    events, found = events_of(reader, kind, scope), []
    page = await live.page_of(events, (), 0)
    while True:
        found += page.events
        if page.is_last:
            return sorted(event.data for event in found)
        page = await live.page_of(events, (), 0, found[-1])


class TestWithoutTheWhere:
    @pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
    async def test_every_endpoint_answers_the_same_behind_the_fence_alone(self, reader: Reader, scope: Scope):
        await store_everybody_s(reader)
        for name, query in QUESTIONS:
            expected = await answer(reader, Events, scope, BY_NAME[name], query)
            assert await answer(reader, WithoutWhere, scope, BY_NAME[name], query) == expected, (name, query)
            # The same question without the fence has another answer: there was something to keep out.
            open_to_all = await answer(reader, Unfenced, scope, BY_NAME[name], query)
            assert open_to_all != expected, (name, query)

    @pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
    async def test_every_stream_shows_the_same_behind_the_fence_alone(self, reader: Reader, scope: Scope):
        await store_everybody_s(reader)
        for output_format in export.CONTENT_TYPES:
            expected = await exported(reader, Events, scope, output_format)
            assert await exported(reader, WithoutWhere, scope, output_format) == expected, output_format
            assert await exported(reader, Unfenced, scope, output_format) != expected, output_format
        expected = await streamed(reader, Events, scope)
        assert expected
        assert await streamed(reader, WithoutWhere, scope) == expected
        assert await streamed(reader, Unfenced, scope) != expected

    def test_no_endpoint_is_forgotten(self):
        assert {stream.name for stream in STREAMS} == {"export", "live"}
        assert {name for name, _ in QUESTIONS} == set(BY_NAME)


class Watched(Transport):
    """Remembers the SQL of each request; `without_fence` removes the fence, as a server does that does not
    know the setting."""

    def __init__(self, config: Config, *, without_fence: bool = False) -> None:
        super().__init__(endpoint_of(config), config.clickhouse)
        self.without_fence = without_fence
        self.asked: list[str] = []

    async def begin(
        self, url: str, parameters: Mapping[str, Any], body: bytes, **how: Any
    ) -> aiohttp.ClientResponse:
        self.asked.append(body.decode(errors="replace"))
        if self.without_fence:
            parameters = {k: v for k, v in parameters.items() if k != "additional_table_filters"}
        return await super().begin(url, parameters, body, **how)

    @property
    def proofs(self) -> int:
        return sum(sql.endswith("SELECT count() FROM events") for sql in self.asked)


@asynccontextmanager
async def watched(
    engine: RunningEngine, *, without_fence: bool = False, database: str = "nealytics_core"
) -> AsyncIterator[tuple[Reader, Watched]]:
    config = Config(
        server=engine.config.server,
        clickhouse=msgspec.structs.replace(engine.config.clickhouse, database=database),
        auth=AuthConfig(jwt_key=JWT_KEY),
    )
    transport = Watched(config, without_fence=without_fence)
    async with (
        ClickHouseClient(endpoint_of(config), config.clickhouse, transport=transport) as client,
        Reader(client, config) as reader,
    ):
        yield reader, transport


class TestTheProof:
    async def test_the_fence_is_proven_once_before_the_first_query(
        self, reader: Reader, engine: RunningEngine
    ):
        await reader.store_twice(event())
        async with watched(engine) as (page, watch):
            assert len(await page.timeline()) == 1
            assert watch.proofs == 1
            assert watch.asked[0].endswith("SELECT count() FROM events")
            await page.sessions()
            assert watch.proofs == 1

    async def test_where_the_fence_is_not_heeded_nothing_is_read(self, reader: Reader, engine: RunningEngine):
        await reader.store_twice(event())
        async with watched(engine, without_fence=True) as (page, watch):
            for endpoint in ENDPOINTS:
                query: dict[str, Any] = {
                    p.name: (p.example or "").split("&") for p in endpoint.parameters if p.required
                }
                status, body, headers = await page.get(endpoint.path, **query)
                assert (status, body["code"]) == (503, "scope_not_proven")
                assert int(headers["Retry-After"]) > 0
                assert "events" not in body
            for stream in STREAMS:
                status, body, _ = await page.get(stream.path)
                assert (status, body["code"]) == (503, "scope_not_proven")
            # It was tried every time, and nothing else was asked.
            assert watch.proofs == len(watch.asked) == len(ENDPOINTS) + len(STREAMS)
            watch.without_fence = False
            assert len(await page.timeline()) == 1

    @pytest.mark.parametrize(
        "stand_in",
        [
            "VIEW shown.global_events AS SELECT * FROM nealytics_core.global_events",
            "TABLE shown.global_events ENGINE = Merge('nealytics_core', '^global_events$')",
            "TABLE shown.global_events AS remote('127.0.0.1', nealytics_core.global_events)",
        ],
        ids=["view", "merge", "remote"],
    )
    async def test_the_fence_holds_for_what_stands_in_for_the_table(
        self, reader: Reader, engine: RunningEngine, stand_in: str
    ):
        """It goes by the table's name; so it is asked of each kind of table that only points at another."""
        await store_everybody_s(reader)
        await reader.clickhouse.command("DROP DATABASE IF EXISTS shown")
        await reader.clickhouse.command("CREATE DATABASE shown")
        await reader.clickhouse.command(f"CREATE {stand_in}")
        async with watched(engine, database="shown") as (page, watch):
            scope, timeline = Scope("shop", "acme"), BY_NAME["timeline"]
            expected = await answer(reader, Events, scope, timeline, "")
            assert await answer(page, WithoutWhere, scope, timeline, "") == expected
            assert await answer(page, Unfenced, scope, timeline, "") != expected
            assert (await page.as_sent(TIMELINE))["events"] == expected["events"]
            assert watch.proofs == 1

    async def test_after_clickhouse_was_away_the_fence_is_proven_anew(self, tmp_path: Path):
        with start_engine(tmp_path, retention_days=0) as engine:
            async with watched(engine) as (page, watch):
                await schema.apply(page.clickhouse, engine.config.clickhouse)
                await page.store_twice(event())
                assert len(await page.timeline()) == 1
                proofs = watch.proofs
                engine.kill()
                status, body, _ = await page.get(SESSIONS)
                assert (status, body["code"]) == (503, "clickhouse_unavailable")
                # Another server may answer from now on, one that knows nothing of fences.
                engine.start()
                watch.without_fence = True
                status, body, _ = await page.get(SESSIONS)
                assert (status, body["code"]) == (503, "scope_not_proven")
                watch.without_fence = False
                assert len(await page.timeline()) == 1
                assert watch.proofs > proofs
