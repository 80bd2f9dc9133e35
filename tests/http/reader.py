"""A tenant's page for tests of the read routes: the product's own routes and server over a ClickHouse.

The fixtures `engine` and `reader` of `conftest.py` put the real engine behind it.
"""

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import jwt
import pytest
from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.embedded import read_access
from nealytics.clickhouse.endpoint import saved_endpoint
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.failover import Address, Addresses
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row, insert_sql
from nealytics.config import AuthConfig, Config
from nealytics.erasure.jobs import Job
from nealytics.event import Event
from nealytics.http.app import Cors, HttpServer, answering
from nealytics.http.openapi import add_openapi_route
from nealytics.http.query import add_query_route
from nealytics.http.reads import Reads, add_read_routes
from nealytics.http.saved import add_saved_routes
from nealytics.http.spans import traced
from nealytics.http.streams import add_stream_routes
from nealytics.observe.metrics import Metrics
from nealytics.queries.saved.catalog import Catalog
from tests.engine import needs_engine
from tests.http.names import by_old_names

JWT_KEY = "a-key-of-the-test-that-has-more-than-32-bytes"
NOW = datetime(2024, 6, 15, 12, 0, tzinfo=UTC)
TIMELINE = "/api/v1/telemetry/timeline"
SESSIONS = "/api/v1/analytics/sessions"
TIMESERIES = "/api/v1/analytics/timeseries"
ACTIVE = "/api/v1/analytics/active"
TOP = "/api/v1/analytics/top"
SUMMARY = "/api/v1/analytics/summary"
PROPERTIES = "/api/v1/analytics/properties"

on_the_engine = [needs_engine, pytest.mark.engine]


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


def token_of(project_id: str, tenant_id: str | None, claims: dict[str, Any] | None = None) -> str:
    """A token as a platform signs it, with further claims if they are given."""
    whose = {"tenant_id": tenant_id} if tenant_id is not None else {"scope": "project"}
    signed = {"project_id": project_id, **whose, "exp": int(time.time()) + 3600, **(claims or {})}
    return jwt.encode(signed, JWT_KEY, algorithm="HS256")


class Reader:
    """A tenant's page, and the table behind it."""

    def __init__(self, client: ClickHouseClient, config: Config, tracing: Any = None) -> None:
        self.clickhouse = client
        self._tracing = tracing
        self.metrics = Metrics.private()
        self.config = config
        self.erased: list[Job] = []
        self.later = timedelta()  # how far its clock is beyond NOW
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Reader":
        answer = answering(Cors(()))
        app = web.Application(middlewares=[traced(answer, self._tracing) if self._tracing else answer])
        access = read_access(self.config.server.data_dir)
        self.saved = Catalog(self.config, saved_endpoint(self.config, access))
        reads = Reads(
            self.config,
            client=self.clickhouse,
            verifier=TokenVerifier(self.config.auth),
            metrics=self.metrics,
            clock=lambda: (NOW + self.later).timestamp(),
            hidden=lambda scope: self.erased,
            saved=lambda: self.saved.queries.values(),
        )
        self.unread = reads.unread
        add_saved_routes(app, reads, self.saved)
        add_openapi_route(app, self.config, lambda: self.saved.queries.values())
        add_read_routes(app, reads)
        add_query_route(app, reads)
        add_stream_routes(app, reads, self.config)
        # The product's own server, with its limits.
        self._server = HttpServer(app, self.config)
        listener = socket.create_server(("127.0.0.1", 0))
        await self._server.start(listener)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._http = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._http is not None
        await self._http.close()
        await self._server.stop(1)
        await self.saved.close()

    async def store(self, *events: Event, token: str = "") -> None:
        sql = insert_sql(self.config.clickhouse.database, ROW_FORMAT)
        body = b"".join(encode_row(event, event.timestamp_ms) for event in events)
        await self.clickhouse.insert(sql, body, token=token or str(uuid4()))

    async def store_twice(self, *events: Event) -> None:
        """Under two tokens, as when the deduplication window has passed: the table has each row twice."""
        await self.store(*events)
        await self.store(*events)

    async def get(
        self,
        path: str,
        *,
        project_id: str = "shop",
        tenant_id: str | None = "acme",
        claims: Any = None,
        **query: str | list[str],
    ) -> tuple[int, dict[str, Any], Any]:
        """Asks with a token of that tenant; with `tenant_id=None` with one of the whole project. The answer
        has the deprecated names (`names`)."""
        assert self._http is not None
        headers = {"Authorization": f"Bearer {token_of(project_id, tenant_id, claims)}"}
        async with self._http.get(path, params=query, headers=headers) as response:
            body = await response.json()
            return response.status, by_old_names(path, body, query.get("tz")), response.headers

    async def post(
        self,
        path: str,
        body: object,
        *,
        tenant_id: str | None = "acme",
        claims: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, Any]:
        """Asks by a body; bytes go as they are."""
        assert self._http is not None
        token = {"Authorization": f"Bearer {token_of('shop', tenant_id, claims)}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._http.post(path, data=data, headers={**token, **(headers or {})}) as response:
            text = await response.read()
            return response.status, json.loads(text) if text else None, response.headers

    def sending(self, path: str, body: object, *, headers: dict[str, str]) -> Any:
        """As `open`, of a body."""
        assert self._http is not None
        token = {"Authorization": f"Bearer {token_of('shop', 'acme', None)}"}
        return self._http.post(path, data=json.dumps(body).encode(), headers={**token, **headers})

    def open(
        self,
        path: str,
        *,
        project_id: str = "shop",
        tenant_id: str | None = "acme",
        claims: Any = None,
        headers: Any = None,
        **query: str | list[str],
    ) -> Any:
        """An answer to be read as it comes: `async with reader.open(…) as answer`."""
        assert self._http is not None
        token = {"Authorization": f"Bearer {token_of(project_id, tenant_id, claims)}"}
        return self._http.get(path, params=query, headers={**token, **(headers or {})})

    async def as_sent(self, path: str, **query: Any) -> dict[str, Any]:
        """The answer with all its names."""
        async with self.open(path, **query) as response:
            body: dict[str, Any] = await response.json()
            assert response.status == 200, body
            return body

    async def timeline(self, **query: Any) -> list[dict[str, Any]]:
        status, body, _ = await self.get(TIMELINE, **query)
        assert status == 200, body
        return body["events"]

    async def sessions(self, **query: Any) -> dict[str, Any]:
        status, body, _ = await self.get(SESSIONS, **query)
        assert status == 200, body
        return body

    async def answer(self, path: str, **query: Any) -> dict[str, Any]:
        status, body, _ = await self.get(path, **query)
        assert status == 200, body
        return body


class FailingClient:
    """Answers every query with one error."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.damaged: dict[str, str] = {}
        self.addresses = Addresses(("http://failing",))

    async def verify(self, address: Address) -> None:
        pass

    async def query(self, *_: object, at: Address | None = None, **__: object) -> list[list[Any]]:
        raise self.error


class DyingClient(FailingClient):
    """Its two addresses prove the fence; a query fails with the error at those that are `down`."""

    def __init__(self, error: ClickHouseError, down: set[str]) -> None:
        super().__init__(error)
        self.addresses = Addresses(("http://a", "http://b"))
        self.error: ClickHouseError = error
        self.down = down
        self.asked: list[str] = []

    async def query(self, *_: object, at: Address | None = None, **__: object) -> list[list[Any]]:
        if at is not None:
            raise ClickHouseError(47, "unknown identifier: the filter of the proof")
        address = self.addresses.reading
        self.asked.append(address.url)
        if address.url not in self.down:
            return []
        if self.error.of_the_address:
            self.addresses.failed(address)
        raise self.error


def reader_of(error: Exception, tracing: Any = None) -> Reader:
    config = Config(auth=AuthConfig(jwt_key=JWT_KEY))
    return Reader(FailingClient(error), config, tracing)  # type: ignore[arg-type]


def reader_over(client: FailingClient) -> Reader:
    return Reader(client, Config(auth=AuthConfig(jwt_key=JWT_KEY)))  # type: ignore[arg-type]
