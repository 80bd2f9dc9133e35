"""A worker without a committer: the real HTTP server, admission and log, on a loopback port."""

import asyncio
import contextlib
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import mint
from nealytics.auth.writers import Writers
from nealytics.clickhouse.rowbinary import decode_row
from nealytics.commit.rejected import RejectedEvents
from nealytics.config import (
    ApiKey,
    AuthConfig,
    Config,
    IngestConfig,
    ServerConfig,
    WalConfig,
)
from nealytics.http.app import HttpServer, build_app
from nealytics.ingest.admission import Admission, Appends
from nealytics.observe.metrics import Metrics
from nealytics.quotas import Quotas
from nealytics.shared import NodeMemory
from nealytics.wal.log import Log

ANY = "any-key"
BOUND = "bound-key"  # to project "shop"
TENANT = "tenant-key"  # to project "shop" and tenant "t1"
KEYS = (
    ApiKey(key=ANY),
    ApiKey(key=BOUND, project="shop", kind="browser"),
    ApiKey(key=TENANT, project="shop", tenant="t1"),
)
JWT_KEY = "a-key-of-the-tests-that-has-more-than-32-bytes"

TRACK = "/api/v1/telemetry/track"
BEACON = "/api/v1/telemetry/beacon"
BATCH = "/api/v1/telemetry/batch"


# Whether `serving` has the fast lane.
FAST_LANE = True


def event(**fields: Any) -> dict[str, Any]:
    return {"projectId": "shop", "tenantId": "t1", "sessionId": "s", "eventType": "view"} | fields


def ingest_token(tenant_id: str = "t1", expires_s: float = 86_400, **claims: Any) -> str:
    return mint(JWT_KEY, "shop", tenant_id, expires_s, time.time(), claims=claims, ingest=True)


class FakeCommitter:
    """Commits when told to."""

    def __init__(self) -> None:
        self.flushes = 0
        self.waited_for: list[tuple[int, int]] = []
        self.commits = True

    def flush_soon(self) -> None:
        self.flushes += 1

    async def wait_committed(self, first_lsn: int, last_lsn: int, timeout_s: float) -> bool:
        self.waited_for.append((first_lsn, last_lsn))
        if not self.commits:
            await asyncio.sleep(timeout_s)
        return self.commits


class FakeWorker:
    """`client` speaks HTTP to it, `raw` bytes; `rows` is what its log holds."""

    def __init__(self, port: int, log: Log, metrics: Metrics, committer: FakeCommitter) -> None:
        self.port = port
        self.log = log
        self.metrics = metrics
        self.committer = committer
        self.memory: NodeMemory
        self.directory: Path  # of the log and the dead letter
        self.server: HttpServer
        self.client: aiohttp.ClientSession

    async def rows(self) -> list[dict[str, Any]]:
        if not self.log.durable_lsn:
            return []
        rows = await self.log.read(1, rows_max=100_000, bytes_max=1 << 30)
        return [decode_row(rows.row(lsn), rows.row_format) for lsn in range(1, rows.last_lsn + 1)]

    def refused(self, reason: str) -> int:
        return int(self.metrics.value("nealytics_events_refused_total", reason))

    @property
    def ingested(self) -> int:
        return int(self.metrics.value("nealytics_events_ingested_total"))

    async def post(self, path: str, body: object, *, key: str | None = ANY, **options: Any) -> "Answer":
        """`key` goes into the header, for the beacon into the query."""
        data = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | options.pop("headers", {})
        params = dict(options.pop("params", {}))
        if key is not None and path == BEACON:
            params["k"] = key
        elif key is not None:
            headers["X-Project-Key"] = key
        async with self.client.post(path, data=data, headers=headers, params=params, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> "Answer":
        async with self.client.get(path, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def raw(self, data: bytes, *, timeout_s: float = 30.0) -> bytes:
        """Sends bytes and returns all that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), timeout_s)
        finally:
            writer.close()


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str | None]:
        body = self.json
        assert body["message"], body
        assert body["detail"], body
        return self.status, body["code"], body.get("field")


def config(**tables: Any) -> Config:
    given = Config(auth=AuthConfig(api_keys=KEYS, jwt_key=JWT_KEY), server=ServerConfig(header_timeout_s=1.0))
    return msgspec.structs.replace(given, **tables)


@contextlib.asynccontextmanager
async def serving(
    *,
    log: Appends | None = None,
    retention_days: int = 90,
    server: ServerConfig | None = None,
    quotas: Quotas | None = None,
    add_routes: Callable[[web.Application, Config], None] = lambda app, config: None,
    **ingest: Any,
) -> AsyncIterator[FakeWorker]:
    """With `keep_rejected`, rejected events are in `FakeWorker.directory`."""
    settings = config(ingest=IngestConfig(**ingest), **({"server": server} if server else {}))
    settings = msgspec.structs.replace(
        settings, server=msgspec.structs.replace(settings.server, fast_lane=FAST_LANE)
    )
    memory = NodeMemory.create(workers=1, keys=len(KEYS))
    metrics = Metrics(memory)
    with tempfile.TemporaryDirectory() as directory:
        rejected = RejectedEvents(
            Path(directory) / "rejected", 0, bytes_max=1 << 30, days_max=30, metrics=metrics
        )
        wal = await Log.open(
            Path(directory) / "0", WalConfig(allow_any_filesystem=True, free_bytes_min=0), metrics=metrics
        )
        committer = FakeCommitter()
        app = build_app(
            settings,
            writers=Writers(ApiKeys(KEYS), TokenVerifier(settings.auth)),
            admission=Admission(log or wal, metrics, settings.ingest, retention_days, quotas=quotas),
            committer=committer,
            memory=memory,
            metrics=metrics,
            rejected=rejected if settings.ingest.keep_rejected else None,
        )
        add_routes(app, settings)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        worker = FakeWorker(listener.getsockname()[1], wal, metrics, committer)
        worker.memory = memory
        worker.directory = Path(directory)
        worker.server = HttpServer(app, settings)
        await worker.server.start(listener)
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{worker.port}") as worker.client:
                yield worker
        finally:
            await worker.server.stop(1.0)
            await wal.close()
