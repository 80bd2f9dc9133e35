"""What orchestrators, load balancers and Prometheus ask. No authentication; no secrets in any answer, and
nothing of an event: what ClickHouse quotes when it refuses one is in the log only.

    /health         200 while the process answers: restart it if not. Asks nobody
    /ready          200 if everything works, else 503; the parts and the reason are in the JSON either way
    /ready/ingest   200 if the log can take events, else 503. ClickHouse may be down meanwhile
    /metrics        Prometheus' text format, if `observe.prometheus` is on; the numbers are the node's

`/ready` of a worker is about that worker: its log, its committer, its way to ClickHouse. The metric
`nealytics_ready` is about all of them.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from nealytics.clickhouse.client import ClickHouseClient, Setting
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.sql import TABLE
from nealytics.errors import NealyticsError
from nealytics.observe.metrics import Metrics

# However many probes ask, ClickHouse is asked once a second, and no probe waits for it longer than this.
PING_CACHE_S = 1.0
PING_TIMEOUT_S = 2.0
RETRY_AFTER_S = 2

# Who is ready says so every 3 s, and who is silent for 10 s is not. Who is not looks again every second.
READY_S = 3.0
NOT_READY_S = 1.0
READY_LEASE_S = 10.0

# A server answers a ping also without our table, our user's rights, or a disk that can be read. One value of
# any event is what the table needs least for; `final` would look at more.
_ASK_TABLE = f"SELECT project_id FROM {TABLE} LIMIT 1"
_CHEAPLY: dict[str, Setting] = {"final": 0, "log_queries": 0, "max_threads": 1}

# The end may be missing: a long message is cut.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*(?:'|\\?$)", re.DOTALL)


class LogState(Protocol):
    """What is asked of `wal.log.Log` here."""

    @property
    def waiting(self) -> int: ...
    @property
    def oldest_waiting_ms(self) -> int | None: ...
    @property
    def broken(self) -> Exception | None: ...
    @property
    def full(self) -> bool: ...
    @property
    def disk_full(self) -> bool: ...


class HasProblem(Protocol):
    @property
    def problem(self) -> str | None:
        """Why events do not reach ClickHouse at the moment, as a sentence; None if they do."""


class Part(msgspec.Struct, omit_defaults=True, kw_only=True):
    ok: bool
    problem: str | None = None
    # With several addresses: the one in use, and those that failed and are left alone for a while.
    address: str | None = None
    unavailable: list[str] | None = None


class Readiness(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    status: str
    clickhouse: Part
    committer: Part
    log: Part
    waiting_events: int
    oldest_waiting_seconds: float
    # What stops nothing and a person should know.
    warnings: list[str] = []
    # Events that were stored and cannot be read. It stops nothing else, and all nodes of a ClickHouse see it,
    # so it takes none out of service.
    damage: list[str] = []


class IngestReadiness(msgspec.Struct, rename="camel", kw_only=True):
    status: str
    log: Part


def add_health_routes(
    app: web.Application,
    *,
    log: LogState,
    committer: HasProblem,
    client: ClickHouseClient,
    metrics: Metrics,
    prometheus: bool,
    warnings: Sequence[str] = (),
    damage: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> None:
    ping = CachedPing(client)

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def ready(_request: web.Request) -> web.Response:
        parts = (
            _clickhouse_part(client, await ping.problem()),
            _part(_without_values(committer.problem)),
            _part(log_problem(log)),
        )
        ok = all(part.ok for part in parts)
        if ok:
            metrics.ready.renew(READY_LEASE_S)
        oldest_ms = log.oldest_waiting_ms
        oldest_s = 0.0 if oldest_ms is None else max(0.0, clock() - oldest_ms / 1000)
        clickhouse, commit, wal = parts
        return _answer(
            Readiness(
                status=_status(ok),
                clickhouse=clickhouse,
                committer=commit,
                log=wal,
                waiting_events=log.waiting,
                oldest_waiting_seconds=round(oldest_s, 3),
                warnings=list(warnings),
                damage=list(damage),
            ),
            ok,
        )

    async def ready_ingest(_request: web.Request) -> web.Response:
        part = _part(log_problem(log))
        return _answer(IngestReadiness(status=_status(part.ok), log=part), part.ok)

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/ready/ingest", ready_ingest)
    if prometheus:
        app.router.add_get("/metrics", show_metrics)


async def keep_ready_gauge(
    log: LogState, committer: HasProblem, client: ClickHouseClient, metrics: Metrics
) -> None:
    """Says to the whole node, for ever, whether this worker would answer 200 to `/ready`."""
    ping = CachedPing(client)
    try:
        while True:
            if await ping.problem() or committer.problem or log_problem(log):
                metrics.ready.end()
                await asyncio.sleep(NOT_READY_S)
            else:
                metrics.ready.renew(READY_LEASE_S)
                await asyncio.sleep(READY_S)
    finally:
        metrics.ready.end()


class CachedPing:
    """Whether the table answers: asked once, told to everybody who wants to know within a second."""

    def __init__(
        self,
        client: ClickHouseClient,
        *,
        cache_s: float = PING_CACHE_S,
        timeout_s: float = PING_TIMEOUT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._cache_s = cache_s
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._asked: float | None = None
        self._problem: str | None = None
        self._lock = asyncio.Lock()

    async def problem(self) -> str | None:
        """None if it answers, else the sentence that says why not."""
        # The lock makes one question of many probes that come at once.
        async with self._lock:
            if self._asked is None or self._monotonic() - self._asked >= self._cache_s:
                self._problem = await self._ask()
                self._asked = self._monotonic()
            return self._problem

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.ping()  # which leaves an address that is down
                await self._client.query(_ASK_TABLE, settings=_CHEAPLY)
        except TimeoutError:
            return f"ClickHouse did not answer within {self._timeout_s:g} s"
        except NealyticsError as error:
            # Of a damaged part the table says so itself, and `damage` has it: no reason to leave service.
            if not (isinstance(error, ClickHouseError) and error.damaged_part):
                return str(error)
        return None


def log_problem(log: LogState) -> str | None:
    """Why the log takes no events; None if it does."""
    if log.broken is not None:
        return str(log.broken)
    if log.full:
        if log.disk_full:
            return "the disk of the log has less than wal.free_bytes_min free; free some disk space"
        return "the log is full (wal.bytes_max); it accepts events again when ClickHouse has stored some"
    return None


def _without_values(problem: str | None) -> str | None:
    """ClickHouse names a refused row's values in quotes, and a tenant's are nobody's business here."""
    return problem and _QUOTED.sub("'…'", problem)


def _part(problem: str | None) -> Part:
    return Part(ok=problem is None, problem=problem)


def _clickhouse_part(client: ClickHouseClient, problem: str | None) -> Part:
    part = _part(problem)
    if len(client.addresses.all) > 1:
        part.unavailable = [address.url for address in client.addresses.cooling()] or None
        part.address = client.addresses.best().url if part.ok else None
    return part


def _status(ok: bool) -> str:
    return "ready" if ok else "not ready"


def _answer(body: msgspec.Struct, ok: bool) -> web.Response:
    return web.Response(
        status=200 if ok else 503,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers={} if ok else {"Retry-After": str(RETRY_AFTER_S)},
    )
