import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.failover import Addresses
from nealytics.errors import LogBroken
from nealytics.http import health
from nealytics.http.app import Cors, answering
from nealytics.http.health import PROBLEM_CACHE_S, CachedPing, add_health_routes, keep_ready_gauge
from nealytics.observe.metrics import Metrics
from tests.engine import RunningEngine, needs_engine
from tests.waiting import until_async

NOW_S = 1_718_447_400.0


class StillLog:
    waiting = 0
    oldest_waiting_ms: int | None = None
    broken: LogBroken | None = None
    full = False
    disk_full = False


class StillCommitter:
    problem: str | None = None


class Pinged:
    """A ClickHouse that answers, refuses or hangs."""

    def __init__(self) -> None:
        self.addresses = Addresses(("http://a:8123",))
        self.pings = 0
        self.error: Exception | None = None
        self.read_error: Exception | None = None
        self.hangs = False

    async def ping(self) -> None:
        self.pings += 1
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.sleep(3600)
        if self.error is not None:
            raise self.error

    async def query(self, sql: str, *, settings: Mapping[str, object]) -> list[list[object]]:
        if self.read_error is not None:
            raise self.read_error
        return []


class Probe:
    def __init__(self) -> None:
        self.log = StillLog()
        self.committer = StillCommitter()
        self.clickhouse = Pinged()
        self.metrics = Metrics.private()

    async def get(self, path: str, *, prometheus: bool = False) -> tuple[int, Any, Any]:
        app = web.Application(middlewares=[answering(Cors(()))])
        add_health_routes(
            app,
            log=self.log,
            committer=self.committer,
            client=self.clickhouse,  # type: ignore[arg-type]
            metrics=self.metrics,
            prometheus=prometheus,
            clock=lambda: NOW_S,
        )
        async with TestClient(TestServer(app)) as client:
            response = await client.get(path)
            return response.status, await response.read(), response.headers


@pytest.fixture
def probe() -> Probe:
    return Probe()


async def test_health_asks_nobody(probe: Probe):
    probe.clickhouse.hangs = True
    probe.log.broken = LogBroken("wal: it broke")
    status, body, headers = await probe.get("/health")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert probe.clickhouse.pings == 0


async def test_ready_shows_its_parts(probe: Probe):
    probe.log.waiting = 7
    probe.log.oldest_waiting_ms = int(NOW_S * 1000) - 2_500
    status, body, _ = await probe.get("/ready")
    assert status == 200
    assert json.loads(body) == {
        "status": "ready",
        "clickhouse": {"ok": True},
        "committer": {"ok": True},
        "log": {"ok": True},
        "waitingEvents": 7,
        "oldestWaitingSeconds": 2.5,
        "pid": os.getppid(),
    }


async def test_not_ready_while_clickhouse_is_away_but_events_are_taken(probe: Probe):
    probe.clickhouse.error = ClickHouseUnavailable("connection refused")
    status, body, headers = await probe.get("/ready")
    assert status == 503
    assert headers["Retry-After"].isdecimal()
    answer = json.loads(body)
    assert answer["status"] == "not ready"
    assert answer["clickhouse"] == {"ok": False, "problem": "clickhouse: connection refused"}
    assert answer["log"] == {"ok": True}
    assert (await probe.get("/ready/ingest"))[0] == 200


async def test_not_ready_while_the_committer_has_a_problem(probe: Probe):
    probe.committer.problem = "commit: 6 tries failed, code 60"
    status, body, _ = await probe.get("/ready")
    assert status == 503
    assert json.loads(body)["committer"] == {"ok": False, "problem": "commit: 6 tries failed, code 60"}
    assert (await probe.get("/ready/ingest"))[0] == 200


@pytest.mark.parametrize("end", ["'", "", "\\"])
async def test_ready_shows_no_value_of_an_event(probe: Probe, end: str):
    probe.committer.problem = f"clickhouse: code 469: Column values: a = 'x', tenant_id = 'it\\'s acme{end}"
    _, body, _ = await probe.get("/ready")
    told = json.loads(body)["committer"]["problem"]
    assert told == "clickhouse: code 469: Column values: a = '…', tenant_id = '…'"


@pytest.mark.parametrize("what", ["full", "broken"])
async def test_no_events_are_to_be_sent_to_a_log_that_is_full_or_broken(probe: Probe, what: str):
    if what == "full":
        probe.log.full = True
    else:
        probe.log.broken = LogBroken("wal: fdatasync failed: EIO")
    for path in ("/ready", "/ready/ingest"):
        status, body, headers = await probe.get(path)
        assert status == 503
        assert "Retry-After" in headers
        assert json.loads(body)["log"]["problem"]


async def test_ready_says_whether_the_log_or_its_disk_is_full(probe: Probe):
    probe.log.full = True
    assert "wal.bytes_max" in json.loads((await probe.get("/ready"))[1])["log"]["problem"]
    probe.log.disk_full = True
    problem = json.loads((await probe.get("/ready"))[1])["log"]["problem"]
    assert "the disk of the log is full, or has less free than wal.free_bytes_min" in problem


async def test_metrics_are_shown_only_if_configured(probe: Probe):
    probe.metrics.events_ingested.add(3)
    assert (await probe.get("/metrics"))[0] == 404
    status, body, headers = await probe.get("/metrics", prometheus=True)
    assert status == 200
    assert b"nealytics_events_ingested_total 3.0" in body
    assert headers["Content-Type"].startswith("text/plain; version=")


async def test_a_damaged_part_takes_no_node_out_of_service(probe: Probe):
    """The probe reads a value, and may be the one that finds the damage."""
    probe.clickhouse.read_error = ClickHouseError(
        40, "Code: 40. DB::Exception: Checksum doesn't match: While reading part 202601_1_7_2: While ex"
    )
    assert (await probe.get("/ready"))[0] == 200
    probe.clickhouse.read_error = ClickHouseError(497, "Code: 497. DB::Exception: Not enough privileges.")
    assert (await probe.get("/ready"))[0] == 503


async def test_many_probes_ask_clickhouse_once_a_second():
    clickhouse = Pinged()
    now = 100.0
    ping = CachedPing(clickhouse, monotonic=lambda: now)  # type: ignore[arg-type]
    assert await asyncio.gather(*(ping.problem() for _ in range(50))) == [None] * 50
    assert clickhouse.pings == 1
    clickhouse.error = ClickHouseUnavailable("gone")
    now += 0.9
    assert await ping.problem() is None
    now += 0.2
    assert await ping.problem() == "clickhouse: gone"
    assert clickhouse.pings == 2


async def test_a_clickhouse_that_has_started_is_noticed_sooner():
    clickhouse = Pinged()
    now = 100.0
    ping = CachedPing(clickhouse, monotonic=lambda: now)  # type: ignore[arg-type]
    clickhouse.error = ClickHouseUnavailable("starting")
    assert await asyncio.gather(*(ping.problem() for _ in range(50))) == ["clickhouse: starting"] * 50
    assert clickhouse.pings == 1
    clickhouse.error = None
    now += 2 * PROBLEM_CACHE_S
    assert await ping.problem() is None


@needs_engine
@pytest.mark.engine
async def test_clickhouse_is_ok_only_once_its_table_answers(engine: RunningEngine):
    """The server answers a ping without it."""
    settings = msgspec.structs.replace(engine.config.clickhouse, database="ready_or_not")
    config = msgspec.structs.replace(engine.config, clickhouse=settings)
    async with ClickHouseClient(endpoint_of(config), settings) as client:

        async def problem() -> str | None:
            return await CachedPing(client, timeout_s=30).problem()

        await client.ping()
        assert "ready_or_not" in str(await problem())
        await schema.apply(client, settings)
        assert await problem() is None
        await client.command("DETACH TABLE ready_or_not.global_events")
        assert "global_events" in str(await problem())
        await client.command("ATTACH TABLE ready_or_not.global_events")
        assert await problem() is None


async def test_a_clickhouse_that_hangs_holds_up_no_probe():
    clickhouse = Pinged()
    clickhouse.hangs = True
    ping = CachedPing(clickhouse, timeout_s=0.05)  # type: ignore[arg-type]
    problems = await asyncio.wait_for(asyncio.gather(*(ping.problem() for _ in range(20))), 30)
    assert set(problems) == {"ClickHouse did not answer within 0.05 s"}
    assert clickhouse.pings == 1


async def test_a_probe_that_hangs_up_does_not_spoil_it_for_the_others():
    clickhouse = Pinged()
    clickhouse.hangs = True
    ping = CachedPing(clickhouse, timeout_s=0.1)  # type: ignore[arg-type]
    first = asyncio.create_task(ping.problem())
    await asyncio.sleep(0.01)
    first.cancel()
    assert await asyncio.wait_for(ping.problem(), 30) is not None


async def test_ready_shows_which_of_several_addresses_is_used():
    probe = Probe()
    probe.clickhouse.addresses = Addresses(("http://a:8123", "http://b:8123"))
    _, body, _ = await probe.get("/ready")
    assert json.loads(body)["clickhouse"] == {"ok": True, "address": "http://a:8123"}
    probe.clickhouse.addresses.failed(probe.clickhouse.addresses.all[0])
    _, body, _ = await probe.get("/ready")
    assert json.loads(body)["clickhouse"] == {
        "ok": True,
        "address": "http://b:8123",
        "unavailable": ["http://a:8123"],
    }


# The metric of the node


@contextlib.asynccontextmanager
async def gauge(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(health, "READY_S", 0.01)
    monkeypatch.setattr(health, "NOT_READY_S", 0.01)
    clickhouse: Any = probe.clickhouse
    task = asyncio.create_task(keep_ready_gauge(probe.log, probe.committer, clickhouse, probe.metrics))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until_ready_is(probe: Probe, value: float) -> None:
    await until_async(lambda: probe.metrics.value("nealytics_ready") == value)


@pytest.mark.parametrize("part", ["clickhouse", "committer", "broken", "full"])
async def test_the_gauge_follows_every_part_of_ready(part: str, monkeypatch: pytest.MonkeyPatch):
    probe = Probe()
    async with gauge(probe, monkeypatch):
        await until_ready_is(probe, 1)
        match part:
            case "clickhouse":
                probe.clickhouse.error = ClickHouseUnavailable("gone")
            case "committer":
                probe.committer.problem = "the table is wrong"
            case "broken":
                probe.log.broken = LogBroken("disk")
            case "full":
                probe.log.full = True
        await until_ready_is(probe, 0)
        probe.clickhouse.error, probe.committer.problem = None, None
        probe.log.broken, probe.log.full = None, False
        await until_ready_is(probe, 1)
    assert probe.metrics.value("nealytics_ready") == 0  # it stops, so it is not ready


async def test_a_ready_worker_reports_it_in_the_metrics_too():
    probe = Probe()
    assert (await probe.get("/ready"))[0] == 200
    assert probe.metrics.value("nealytics_ready") == 1
    assert health.READY_LEASE_S > health.READY_S + health.PING_TIMEOUT_S
