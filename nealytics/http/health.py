"""The routes for orchestrators, load balancers and Prometheus.

They need no authentication, so their answers contain no secret and no data of an event: a value that
ClickHouse quotes when it refuses an event is in the log only. /metrics names the largest tenants, unless
`observe.tenants_max` is 0.

    /health         200 while the process answers; otherwise restart it. Depends on nothing else
    /ready          200 if everything works, else 503; the JSON names the parts and the reason
    /ready/ingest   200 if the log can accept events, else 503; also while ClickHouse is down
    /metrics        Prometheus' text format for the whole node, if `observe.prometheus` is on

`/ready` of a worker covers its own log, committer and connection to ClickHouse. The metric `nealytics_ready`
covers all workers.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from nealytics.clickhouse.client import ClickHouseClient, Setting
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.sql import TABLE
from nealytics.errors import NealyticsError
from nealytics.observe.metrics import Metrics

# Any number of probes cause one query a second, and no probe waits for ClickHouse longer than this. After a
# failure the next query is sooner, so that `/ready` notices a ClickHouse that has started.
PING_CACHE_S = 1.0
PROBLEM_CACHE_S = 0.1
PING_TIMEOUT_S = 2.0
RETRY_AFTER_S = 2

# A ready worker reports every 3 s; after 10 s without a report it counts as not ready. One that is not ready
# checks again every second.
READY_S = 3.0
NOT_READY_S = 1.0
READY_LEASE_S = 10.0

# A server answers a ping even without our table, our user's rights, or a readable disk. One value of any
# event is the cheapest query of the table; `final` would read more.
_ASK_TABLE = f"SELECT project_id FROM {TABLE} LIMIT 1"
_CHEAPLY: dict[str, Setting] = {"final": 0, "log_queries": 0, "max_threads": 1}

# The closing quote may be missing: a long message is truncated.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*(?:'|\\?$)", re.DOTALL)


class LogState(Protocol):
    """The part of `wal.log.Log` that is used here."""

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
        """Why events do not reach ClickHouse now, as a sentence; None if they do."""


class Part(msgspec.Struct, omit_defaults=True, kw_only=True):
    ok: bool
    problem: str | None = None
    # With several addresses: the one in use, and those that failed recently and are not used.
    address: str | None = None
    unavailable: list[str] | None = None


class Readiness(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    status: str
    clickhouse: Part
    committer: Part
    log: Part
    waiting_events: int
    oldest_waiting_seconds: float
    pid: int  # of `nealytics serve`, which SIGHUP makes read its files again
    # Problems that stop nothing, but that an operator should know.
    warnings: list[str] = []
    # Stored events that cannot be read. This takes no node out of service: all nodes of that ClickHouse have
    # the same damage, and everything else works.
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
    tenants: Callable[[], bytes] = bytes,
    warnings: Callable[[], list[str]] = list,
    damage: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> None:
    """`tenants` returns the metrics of the largest ones; it reads files."""
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
                pid=os.getppid(),  # a worker is a child of the supervisor, and ends with it
                warnings=warnings(),
                damage=list(damage),
            ),
            ok,
        )

    async def ready_ingest(_request: web.Request) -> web.Response:
        part = _part(log_problem(log))
        return _answer(IngestReadiness(status=_status(part.ok), log=part), part.ok)

    app.router.add_get("/health", health)
    app.router.add_get("/ready", ready)
    app.router.add_get("/ready/ingest", ready_ingest)
    if prometheus:
        app.router.add_get("/metrics", _metrics_route(metrics, tenants))


def _metrics_route(metrics: Metrics, tenants: Callable[[], bytes]) -> Handler:
    async def show(_request: web.Request) -> web.Response:
        # Loaded here because its library loads an HTTP server of its own, which would delay a start by 20 ms.
        from nealytics.observe.prometheus import CONTENT_TYPE, text

        body = text(metrics) + await asyncio.to_thread(tenants)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    return show


async def keep_ready_gauge(
    log: LogState, committer: HasProblem, client: ClickHouseClient, metrics: Metrics
) -> None:
    """Keeps the metric `nealytics_ready` up to date with this worker's `/ready`. Runs until cancelled."""
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
    """Whether the table answers; at most one query a second, or ten while there is a problem."""

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
        """None if the table answers, else the reason."""
        # With the lock, concurrent probes share one query.
        async with self._lock:
            cache_s = self._cache_s if self._problem is None else min(self._cache_s, PROBLEM_CACHE_S)
            if self._asked is None or self._monotonic() - self._asked >= cache_s:
                self._problem = await self._ask()
                self._asked = self._monotonic()
            return self._problem

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.ping()  # moves away from an address that is down
                await self._client.query(_ASK_TABLE, settings=_CHEAPLY)
        except TimeoutError:
            return f"ClickHouse did not answer within {self._timeout_s:g} s"
        except NealyticsError as error:
            # A damaged part is reported in `damage`, and is no reason to leave service.
            if not (isinstance(error, ClickHouseError) and error.damaged_part):
                return str(error)
        return None


def log_problem(log: LogState) -> str | None:
    """Why the log accepts no events; None if it does."""
    if log.broken is not None:
        return str(log.broken)
    if log.full:
        if log.disk_full:
            return "the disk of the log is full, or has less free than wal.free_bytes_min; free some space"
        return "the log is full (wal.bytes_max); it accepts events again when ClickHouse has stored some"
    return None


def _without_values(problem: str | None) -> str | None:
    """ClickHouse quotes values of a refused row; this route must not show a tenant's data."""
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
