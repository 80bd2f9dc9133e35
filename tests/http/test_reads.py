"""The read routes as a tenant's page calls them, over the real engine."""

import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web

from nealytics.auth.jwt import TokenVerifier, mint
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.event import Event
from nealytics.http.app import Cors, HttpServer, answering
from nealytics.http.reads import add_read_routes
from nealytics.observe.metrics import Metrics
from tests.engine import RunningEngine, needs_engine, start_engine

JWT_KEY = "a-key-of-the-test-that-has-more-than-32-bytes"
NOW = datetime(2024, 6, 15, 12, 0, tzinfo=UTC)
TIMELINE = "/api/v1/telemetry/timeline"
SESSIONS = "/api/v1/analytics/sessions"

# What has broken other people's escaping.
HOSTILE = [
    "'",
    '"',
    "\\",
    "\\'",
    "' OR 1=1 --",
    "a\tb",
    "a\nb\r\n",
    "{project_id:String}",
    "{{}}",
    "%",
    "%27",
    "%61cme",
    "+",
    "a&tenant_id=acme#",
    "\\N",
    "NULL",
    "`",
    "[1,2]",
    "\x01\x7f",
    "café 漢字 🙂",
    "\u202e\ufeff",
    "; DROP TABLE nealytics_core.global_events",
]


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def event(
    at: datetime = NOW,
    *,
    project_id: str = "shop",
    tenant_id: str = "acme",
    session_id: str = "s1",
    user_id: str | None = None,
    event_type: str = "view",
    item_id: str | None = None,
    metadata: object = None,
    event_id: UUID | None = None,
) -> Event:
    return Event(
        event_id=(event_id or uuid4()).int,
        project_id=project_id,
        tenant_id=tenant_id,
        session_id=session_id,
        user_id=user_id,
        event_type=event_type,
        item_id=item_id,
        metadata_json=json.dumps(metadata or {}).encode(),
        timestamp_ms=ms(at),
    )


class Reader:
    """A tenant's page, and the table behind it."""

    def __init__(self, client: ClickHouseClient, config: Config) -> None:
        self.clickhouse = client
        self.metrics = Metrics.private()
        self.config = config
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Reader":
        app = web.Application(middlewares=[answering(Cors(()))])
        add_read_routes(
            app,
            client=self.clickhouse,
            verifier=TokenVerifier(self.config.auth),
            config=self.config,
            metrics=self.metrics,
            clock=NOW.timestamp,
        )
        # The product's own server, with its limits.
        self._server = HttpServer(app, self.config)
        listener = socket.create_server(("127.0.0.1", 0))
        await self._server.start(listener)
        self._http = aiohttp.ClientSession(f"http://127.0.0.1:{listener.getsockname()[1]}")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()
        await self._server.stop(1)

    async def store(self, *events: Event, token: str = "") -> None:
        sql = schema.insert_sql(self.config.clickhouse.database, ROW_FORMAT)
        body = b"".join(encode_row(event, event.timestamp_ms) for event in events)
        await self.clickhouse.insert(sql, body, token=token or str(uuid4()))

    async def get(
        self, path: str, *, project_id: str = "shop", tenant_id: str = "acme", **query: str
    ) -> tuple[int, dict[str, Any], Any]:
        assert self._http is not None
        token = mint(JWT_KEY, project_id, tenant_id, 3600, int(time.time()))
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.get(path, params=query, headers=headers) as response:
            return response.status, await response.json(), response.headers

    async def timeline(self, **query: str) -> list[dict[str, Any]]:
        status, body, _ = await self.get(TIMELINE, **query)
        assert status == 200, body
        return body["events"]

    async def sessions(self, **query: str) -> dict[str, Any]:
        status, body, _ = await self.get(SESSIONS, **query)
        assert status == 200, body
        return body


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("reads"), retention_days=0) as engine:
        yield engine


@pytest.fixture
async def reader(engine: RunningEngine) -> AsyncIterator[Reader]:
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=QueryConfig(limit_max=1_000),
    )
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.apply(client, config.clickhouse)
        await client.command("TRUNCATE TABLE nealytics_core.global_events")
        # What a test stores stays as stored: a merge would hide duplicates that a read must hide itself.
        await client.command("SYSTEM STOP MERGES nealytics_core.global_events")
        async with Reader(client, config) as reader:
            yield reader


on_the_engine = [needs_engine, pytest.mark.engine]


class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_an_event_comes_back_as_it_was_sent(self, reader: Reader):
        sent = event(
            NOW + timedelta(milliseconds=120),
            user_id="ada",
            item_id="/shop?x=1&y=%20",
            metadata={"plan": "pro", "n": [1, 2.5, None]},
        )
        await reader.store(sent)
        status, body, headers = await reader.get(TIMELINE)
        assert status == 200
        assert body == {
            "projectId": "shop",
            "tenantId": "acme",
            "events": [
                {
                    "eventId": str(UUID(int=sent.event_id)),
                    "sessionId": "s1",
                    "userId": "ada",
                    "eventType": "view",
                    "itemId": "/shop?x=1&y=%20",
                    "metadataJson": '{"plan": "pro", "n": [1, 2.5, null]}',
                    "timestamp": "2024-06-15T12:00:00.12Z",
                }
            ],
        }
        assert headers["Content-Type"].startswith("application/json")
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"

    async def test_fields_that_an_event_does_not_have_are_left_out(self, reader: Reader):
        await reader.store(event())
        (found,) = await reader.timeline()
        assert set(found) == {"eventId", "sessionId", "eventType", "metadataJson", "timestamp"}

    async def test_a_timeline_is_newest_first_and_as_long_as_asked_for(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(seconds=n % 50), session_id=f"s{n}") for n in range(150)))
        everything = await reader.timeline(limit="1000")
        assert len(everything) == 150
        assert [e["timestamp"] for e in everything] == sorted(
            (e["timestamp"] for e in everything), reverse=True
        )
        assert await reader.timeline() == everything[:100]
        assert await reader.timeline(limit="7") == everything[:7]
        assert await reader.timeline(limit="0") == everything[:1]
        assert await reader.timeline(limit="-3") == everything[:1]

    async def test_before_is_strict_to_the_millisecond(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(milliseconds=n), session_id=f"s{n}") for n in range(3)))
        assert [e["sessionId"] for e in await reader.timeline(before="2024-06-15T12:00:00.001Z")] == ["s0"]
        assert [e["sessionId"] for e in await reader.timeline(before="2024-06-15T12:00:00.0015Z")] == [
            "s1",
            "s0",
        ]
        assert [e["sessionId"] for e in await reader.timeline(before="2024-06-15T14:00:00.001+02:00")] == [
            "s0"
        ]
        assert await reader.timeline(before="0001-01-01") == []
        assert len(await reader.timeline(before="9999-12-31T23:59:59Z")) == 3

    async def test_pages_follow_each_other_by_the_last_timestamp(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(seconds=n), session_id=f"s{n}") for n in range(25)))
        seen: list[str] = []
        page = await reader.timeline(limit="10")
        while page:
            seen += [e["sessionId"] for e in page]
            page = await reader.timeline(limit="10", before=page[-1]["timestamp"])
        assert seen == [f"s{n}" for n in reversed(range(25))]

    async def test_filters_are_exact_and_hold_together(self, reader: Reader):
        await reader.store(
            event(session_id="a", event_type="view", item_id="/1", metadata={"plan": "pro"}),
            event(session_id="b", event_type="view", item_id="/2", metadata={"plan": "free"}),
            event(session_id="c", event_type="view_all", metadata={"plan": 5}),
        )

        async def found(**query: str) -> set[str]:
            return {e["sessionId"] for e in await reader.timeline(**query)}

        assert await found(eventType="view") == {"a", "b"}
        assert await found(sessionId="c") == {"c"}
        assert await found(itemId="/1") == {"a"}
        assert await found(eventType="view", itemId="/2") == {"b"}
        assert await found(metaKey="plan", metaValue="pro") == {"a"}
        # As the C# engine: half of the pair filters nothing.
        assert await found(metaKey="plan") == {"a", "b", "c"}
        assert await found(metaValue="pro") == {"a", "b", "c"}
        assert await found(eventType="  ") == {"a", "b", "c"}
        assert await found(eventType="nothing") == set()

    async def test_sessions_are_summed_up(self, reader: Reader):
        await reader.store(
            event(NOW - timedelta(hours=2), session_id="long"),
            event(NOW - timedelta(hours=1, milliseconds=500), session_id="long"),
            event(NOW - timedelta(minutes=30), session_id="one"),
            event(NOW - timedelta(hours=24), session_id="edge"),
            event(NOW - timedelta(hours=24, milliseconds=1), session_id="too old"),
            event(NOW + timedelta(milliseconds=1), session_id="too new"),
        )
        assert await reader.sessions() == {
            "projectId": "shop",
            "tenantId": "acme",
            "uniqueSessionCount": 3,
            "totalEventCount": 4,
            "avgDurationSeconds": pytest.approx(3599.5 / 3),
            "sessions": [
                {
                    "sessionId": "one",
                    "firstSeen": "2024-06-15T11:30:00Z",
                    "lastSeen": "2024-06-15T11:30:00Z",
                    "durationSeconds": 0.0,
                    "eventCount": 1,
                },
                {
                    "sessionId": "long",
                    "firstSeen": "2024-06-15T10:00:00Z",
                    "lastSeen": "2024-06-15T10:59:59.5Z",
                    "durationSeconds": 3599.5,
                    "eventCount": 2,
                },
                {
                    "sessionId": "edge",
                    "firstSeen": "2024-06-14T12:00:00Z",
                    "lastSeen": "2024-06-14T12:00:00Z",
                    "durationSeconds": 0.0,
                    "eventCount": 1,
                },
            ],
        }

    async def test_sessions_within_a_range_and_a_limit(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(days=n), session_id=f"s{n}") for n in range(10)))
        answer = await reader.sessions(**{"from": "2024-06-17T12:00:00Z", "to": "2024-06-20T12:00:00Z"})
        assert [s["sessionId"] for s in answer["sessions"]] == ["s5", "s4", "s3", "s2"]
        answer = await reader.sessions(**{"from": "2024-06-01", "to": "2024-07-01", "limit": "3"})
        assert (answer["uniqueSessionCount"], answer["totalEventCount"]) == (3, 3)
        assert (await reader.sessions(**{"from": "2030-01-01", "to": "2030-01-02"}))["sessions"] == []

    async def test_no_session_is_no_division_by_zero(self, reader: Reader):
        answer = await reader.sessions()
        assert (answer["uniqueSessionCount"], answer["totalEventCount"], answer["avgDurationSeconds"]) == (
            0,
            0,
            0.0,
        )

    async def test_an_event_that_is_stored_twice_is_shown_once_before_any_merge(self, reader: Reader):
        """The same rows under two tokens, as when the deduplication window has passed."""
        events = [event(NOW - timedelta(seconds=n), session_id=f"s{n % 3}") for n in range(30)]
        await reader.store(*events, token="first")
        await reader.store(*events, token="second")
        raw = await reader.clickhouse.command("SELECT count() FROM nealytics_core.global_events")
        assert raw.strip() == "60"
        assert len(await reader.timeline(limit="1000")) == 30
        answer = await reader.sessions()
        assert (answer["uniqueSessionCount"], answer["totalEventCount"]) == (3, 30)
        assert [s["eventCount"] for s in answer["sessions"]] == [10, 10, 10]

    async def test_an_event_that_is_stored_twice_across_months_is_shown_once_in_each(self, reader: Reader):
        events = [event(datetime(2024, month, 1, tzinfo=UTC)) for month in range(1, 13)]
        await reader.store(*events)
        await reader.store(*reversed(events))
        assert len(await reader.timeline()) == 12

    async def test_another_tenant_or_project_is_never_seen(self, reader: Reader):
        await reader.store(
            event(session_id="mine"),
            event(session_id="other tenant", tenant_id="globex"),
            event(session_id="other project", project_id="blog"),
        )
        assert [e["sessionId"] for e in await reader.timeline()] == ["mine"]
        assert [s["sessionId"] for s in (await reader.sessions())["sessions"]] == ["mine"]
        assert await reader.timeline(tenant_id="nobody") == []

    async def test_parameters_cannot_name_another_scope(self, reader: Reader):
        await reader.store(event(tenant_id="globex"))
        for name in ("tenant_id", "tenantId", "project_id", "projectId", "param_tenant_id"):
            status, body, _ = await reader.get(f"{TIMELINE}?{name}=globex")
            assert (status, body["events"]) == (200, [])

    @pytest.mark.parametrize(
        "value", [*HOSTILE, "x" * 256, "'" * 256, "é" * 256], ids=lambda value: repr(value)[:24]
    )
    async def test_a_hostile_text_is_a_text_everywhere(self, reader: Reader, value: str):
        """As claim and as filter it finds exactly the events that hold it, and no others."""
        mine = event(
            project_id=value,
            tenant_id=value,
            session_id=value,
            event_type=value,
            item_id=value,
            metadata={value: value},
        )
        await reader.store(
            mine,
            event(session_id="foreign"),
            event(project_id=value, tenant_id="acme", session_id="foreign"),
            event(project_id="shop", tenant_id=value, session_id="foreign"),
        )
        scope = {"project_id": value, "tenant_id": value}
        for query in (
            {},
            {"eventType": value},
            {"sessionId": value},
            {"itemId": value},
            {"metaKey": value, "metaValue": value},
        ):
            (found,) = await reader.timeline(**scope, **query)
            assert found["sessionId"] == value, query
        answer = await reader.sessions(**scope)
        assert (answer["projectId"], answer["tenantId"]) == (value, value)
        assert [s["sessionId"] for s in answer["sessions"]] == [value]
        # In another scope the same text as a filter finds nothing of it.
        for name in ("eventType", "sessionId", "itemId"):
            assert [e["sessionId"] for e in await reader.timeline(**{name: value})] == []

    async def test_a_text_of_ten_kilobytes_is_refused_and_no_fault(self, reader: Reader):
        for name in ("eventType", "sessionId", "itemId", "metaKey", "metaValue", "limit", "before"):
            status, body, _ = await reader.get(TIMELINE, **{name: "x" * 10_240})
            assert (status, body["field"]) == (400, name)
        status, body, _ = await reader.get(TIMELINE, tenant_id="'" * 5_000)
        assert (status, body["field"]) == (400, "tenant_id")
        status, _, _ = await reader.get(TIMELINE, tenant_id="'" * 10_240)
        assert status in (400, 401)

    async def test_a_nul_finds_nothing_and_is_no_fault(self, reader: Reader):
        """No event has one: ingest refuses it."""
        await reader.store(event())
        for name in ("eventType", "sessionId", "itemId"):
            assert await reader.timeline(**{name: "\0"}) == []
            assert await reader.timeline(**{name: "view\0"}) == []
        assert await reader.timeline(metaKey="\0", metaValue="\0") == []
        status, _, _ = await reader.get(TIMELINE, tenant_id="acme\0")
        assert status == 400

    async def test_an_item_id_may_be_as_long_as_a_url(self, reader: Reader):
        url = "https://example.org/" + "🙂" * 2_028
        assert len(url) == 2_048
        await reader.store(event(item_id=url))
        (found,) = await reader.timeline(itemId=url)
        assert found["itemId"] == url
        status, body, _ = await reader.get(TIMELINE, itemId=url + "x")
        assert (status, body["field"]) == (400, "itemId")

    async def test_a_query_above_clickhouse_s_limits_says_what_to_narrow(self, reader: Reader):
        await reader.store(*(event(session_id=f"s{n}") for n in range(100)))
        reader.clickhouse._read_settings["max_rows_to_read"] = 10
        status, body, _ = await reader.get(TIMELINE)
        assert (status, body["code"]) == (422, "query_too_large")
        assert "Narrow" in body["detail"]

    async def test_what_is_asked_is_counted(self, reader: Reader):
        await reader.timeline()
        await reader.sessions()
        await reader.get(TIMELINE, limit="ten")
        assert reader.metrics.value("nealytics_read_queries_total") == 2
        assert b"nealytics_query_read_duration_seconds_count 2.0" in reader.metrics.text()


class FailingClient:
    """Answers every query with one error."""

    def __init__(self, error: ClickHouseError) -> None:
        self.error = error

    async def query(self, *_: object) -> list[list[Any]]:
        raise self.error


def reader_of(error: ClickHouseError) -> Reader:
    config = Config(auth=AuthConfig(jwt_key=JWT_KEY))
    return Reader(FailingClient(error), config)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [TIMELINE, SESSIONS])
async def test_without_a_good_token_nothing_is_asked(path: str):
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        assert reader._http is not None
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-Project-Key": "key"}):
            async with reader._http.get(path, headers=headers) as response:
                assert response.status == 401
                assert set(await response.json()) >= {"code", "message", "detail"}


async def test_arguments_that_make_no_sense_are_refused_by_name():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        for path, query, field in [
            (TIMELINE, {"limit": "ten"}, "limit"),
            (TIMELINE, {"before": "yesterday"}, "before"),
            (SESSIONS, {"limit": "1.5"}, "limit"),
            (SESSIONS, {"from": "x"}, "from"),
            (SESSIONS, {"to": "2024-02-30"}, "to"),
            (SESSIONS, {"from": "2024-06-02", "to": "2024-06-01"}, "from"),
            (TIMELINE + "?limit=1&limit=2", {}, "limit"),
        ]:
            status, body, _ = await reader.get(path, **query)
            assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)
            assert body["message"]
            assert body["detail"]


async def test_bytes_that_are_no_text_are_no_fault_of_ours():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        status, _, _ = await reader.get(TIMELINE + "?eventType=%FF%FE&limit=x")
        assert status == 400


@pytest.mark.parametrize(
    "error",
    [
        ClickHouseUnavailable("connection refused"),
        ClickHouseError(202, "too many queries", status=500),
        ClickHouseError(60, "no such table", status=404),
    ],
)
async def test_while_clickhouse_is_away_the_client_is_told_to_come_back(error: ClickHouseError):
    async with reader_of(error) as reader:
        status, body, headers = await reader.get(TIMELINE)
        assert (status, body["code"]) == (503, "clickhouse_unavailable")
        assert int(headers["Retry-After"]) >= 1
        assert headers["Content-Type"].startswith("application/json")
        assert reader.metrics.value("nealytics_read_queries_total") == 0


@pytest.mark.parametrize("code", [158, 159, 160, 241, 307, 396])
async def test_a_limit_of_clickhouse_is_not_an_outage(code: int):
    async with reader_of(ClickHouseError(code, "too much", status=500)) as reader:
        status, body, _ = await reader.get(SESSIONS)
        assert (status, body["code"]) == (422, "query_too_large")


async def test_what_clickhouse_says_of_itself_stays_inside():
    async with reader_of(ClickHouseError(47, "secret_column does not exist", status=400)) as reader:
        status, body, _ = await reader.get(TIMELINE)
        assert status == 500
        assert "secret_column" not in json.dumps(body)
