"""Ingest continues while fifty heavy queries run.

The bounds are generous: they distinguish an ingest that stalls from one that shares its machine. What the
query queue promises is tested by `tests/http/test_slots.py`.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.node import KEY, Node, token

pytestmark = [pytest.mark.e2e, pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)]

READERS = 50
CLIENTS = 4  # that send events, each as soon as its last one is taken
PHASE_S = 6.0
STORED = 120_000
QUESTIONS = 8
HOUR_MS = 3_600_000

ALL = "from=2020-01-01T00:00:00Z"
HEAVY = [
    f"/api/v1/analytics/retention?{ALL}&by=session&interval=week",
    f"/api/v1/analytics/funnel?{ALL}&step=view&step=cart&step=buy&by=session&window=90d&breakdown=meta:plan",
    f"/api/v1/analytics/paths?{ALL}&event=view&depth=5&by=user",
    f"/api/v1/analytics/top?{ALL}&dimension=meta:plan&filter=meta:plan:ne:free",
    f"/api/v1/analytics/active?{ALL}&rolling=90&by=session",
    f"/api/v1/analytics/properties?{ALL}&values=100",
]


def history(now_ms: int) -> Iterator[bytes]:
    """Batches of the events of 20 days, in many sessions."""
    chance = random.Random(1)
    for first in range(0, STORED, 5_000):
        yield json.dumps(
            [
                {
                    "projectId": "shop",
                    "tenantId": "acme",
                    "sessionId": f"s{number % 9_000}",
                    "userId": f"u{number % 4_000}",
                    "eventType": chance.choice(["view", "view", "view", "cart", "buy"]),
                    "metadata": {"plan": chance.choice(["free", "pro", "max"]), "n": number},
                    "timestamp": now_ms - chance.randrange(20 * 24 * HOUR_MS),
                }
                for number in range(first, min(first + 5_000, STORED))
            ]
        ).encode()


class Sent:
    """What the clients that send events have seen."""

    def __init__(self) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.seconds: list[float] = []

    @property
    def count(self) -> int:
        return sum(self.statuses.values())

    @property
    def p99_s(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    def __str__(self) -> str:
        return (
            f"{dict(self.statuses)}, p99 {self.p99_s * 1000:.0f} ms, worst {max(self.seconds) * 1000:.0f} ms"
        )


async def send_events(session: aiohttp.ClientSession, seconds: float) -> Sent:
    """`CLIENTS` send one event after the other, each in a request of its own."""
    sent = Sent()
    until = time.monotonic() + seconds

    async def client(number: int) -> None:
        body = {"projectId": "shop", "tenantId": "live", "sessionId": f"c{number}", "eventType": "tick"}
        while (started := time.monotonic()) < until:
            try:
                async with session.post(
                    "/api/v1/telemetry/track", json=body, headers={"X-Project-Key": KEY}
                ) as response:
                    await response.read()
                    sent.statuses[response.status] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                sent.statuses[type(error).__name__] += 1
            sent.seconds.append(time.monotonic() - started)

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return sent


@asynccontextmanager
async def readers(session: aiohttp.ClientSession, statuses: Counter[Any]) -> AsyncIterator[None]:
    """`READERS` of one tenant who ask heavy questions as long as the context lasts."""
    headers = {"Authorization": f"Bearer {token('shop', 'acme')}"}

    async def reader(number: int) -> None:
        while True:
            # No range is asked for twice, so nothing can be answered from what is known already.
            path = f"{HEAVY[number % len(HEAVY)]}&filter=meta:n:gt:{random.randrange(50)}"
            async with session.get(path, headers=headers) as response:
                body = await response.read()
                statuses[response.status, json.loads(body).get("code", "")] += 1

    tasks = [asyncio.create_task(reader(number)) for number in range(READERS)]
    try:
        yield
    finally:
        failed = [task.exception() for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert failed == []


async def with_node(tmp_path: Path, work: Callable[[Node, aiohttp.ClientSession], Awaitable[None]]) -> None:
    node = Node(tmp_path, settings="ingest.body_bytes_max = 4000000")
    with node:
        await asyncio.to_thread(node.wait_ready)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(node.url, connector=connector) as session:
            for batch in history(int(time.time() * 1000)):
                async with session.post(
                    "/api/v1/telemetry/batch", data=batch, headers={"X-Project-Key": KEY}
                ) as response:
                    assert response.status in (200, 202), await response.text()
            await asyncio.to_thread(node.wait_drained)
            await work(node, session)


async def test_fifty_heavy_queries_at_once_do_not_stop_ingest(tmp_path: Path):
    async def work(node: Node, session: aiohttp.ClientSession) -> None:
        alone = await send_events(session, PHASE_S)
        statuses: Counter[Any] = Counter()
        async with readers(session, statuses):
            await asyncio.sleep(1)
            beside = await send_events(session, PHASE_S)
            async with asyncio.timeout(100):
                while statuses[200, ""] < 4:  # noqa: ASYNC110 - a count has no event
                    await asyncio.sleep(0.05)
        print(f"alone {alone}\nbeside {READERS} readers {beside}\nreads {dict(statuses)}")
        assert set(alone.statuses) == set(beside.statuses) == {202}, "an event was not taken"
        assert beside.count > alone.count / 20
        # Less than half the time that the queries were there; a machine may stall on its own, too.
        assert beside.p99_s < 20 * alone.p99_s + PHASE_S / 2
        # The queries really ran, and none that was started was broken off for being one of many.
        assert set(statuses) <= {(200, ""), (503, "queries_busy")}, statuses
        # Each event that was taken is there once.
        await asyncio.to_thread(node.wait_drained)
        answer = await asyncio.to_thread(node.read, f"/api/v1/analytics/summary?{ALL}", tenant_id="live")
        assert answer["events"] == alone.count + beside.count

    await with_node(tmp_path, work)


async def test_another_tenant_is_answered_while_one_asks_fifty_times_at_once(tmp_path: Path):
    """Its turn comes after at most one of theirs, whatever they have waiting."""

    async def work(node: Node, session: aiohttp.ClientSession) -> None:
        headers = {"Authorization": f"Bearer {token('shop', 'other')}"}
        statuses: Counter[Any] = Counter()
        async with readers(session, statuses):
            await asyncio.sleep(1)
            before = statuses[200, ""]
            for _ in range(QUESTIONS):
                async with session.get(f"/api/v1/analytics/summary?{ALL}", headers=headers) as response:
                    assert response.status == 200, await response.text()
            theirs = statuses[200, ""] - before  # who is refused asks again at once, and passes nobody
        # Behind all who were there already, each question would have let pass nearly fifty.
        assert theirs < QUESTIONS * READERS / 2, f"{QUESTIONS} questions waited for {theirs} of theirs"

    await with_node(tmp_path, work)
