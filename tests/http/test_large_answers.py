"""Answers of any size, and clients that read them slowly, do not harm others: no step of the event loop is
long, and memory has a bound."""

import asyncio
import contextlib
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import QueryConfig
from tests.engine import RunningEngine
from tests.http.reader import (
    NOW,
    SESSIONS,
    TIMELINE,
    TIMESERIES,
    TOP,
    Reader,
    event,
    on_the_engine,
    token_of,
)
from tests.waiting import until_async

pytestmark = on_the_engine

KIB = 1024
MIB = 1024 * KIB
EXPORT = "/api/v1/telemetry/export"


async def fill(reader: Reader, count: int, *, tenant: str, metadata: str, every_ms: int = 20) -> None:
    await reader.clickhouse.command(
        "INSERT INTO nealytics_core.global_events (event_id, project_id, tenant_id, session_id, user_id,"
        f" event_type, item_id, metadata_json, timestamp) SELECT generateUUIDv4(number), 'shop', '{tenant}',"
        f" concat('session-', toString(number)), 'u', concat('t', toString(number % 7)), '/p', {metadata},"
        f" fromUnixTimestamp64Milli(toInt64({round(NOW.timestamp() * 1000)} - number * {every_ms}))"
        f" FROM numbers({count})",
        settings={"max_partitions_per_insert_block": 0, "max_block_size": 1_000},
    )


class Steps:
    """The processor time of the loop's longest step. No step can be interrupted, so it is how long all others
    wait at least."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.longest = ""


@contextlib.contextmanager
def measured_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    steps = Steps()
    real = asyncio.Handle._run

    def run(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        try:
            real(handle)
        finally:
            if (took_s := time.thread_time() - began) > steps.longest_s:
                steps.longest_s, steps.longest = took_s, repr(handle)

    # The collector of garbage sees what a node has, and not all that the tests before have left.
    gc.collect()
    gc.freeze()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", run)
            yield steps
    finally:
        gc.unfreeze()


@pytest.fixture
async def wide(reader: Reader, engine: RunningEngine) -> AsyncIterator[Reader]:
    """With the largest limits that fit the default budget."""
    config = msgspec.structs.replace(reader.config, query=QueryConfig(limit_max=10_000))
    async with (
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
        Reader(client, config) as wide,
    ):
        yield wide


# In a test's process a step also has the test's own client; alone, the longest is a third of this.
STEP_S = 0.020


@pytest.mark.parametrize(
    ("path", "tenant", "query"),
    [
        (TIMELINE, "large", {"limit": "100"}),
        (TIMELINE, "escaped", {"limit": "100"}),
        (TIMELINE, "many", {"limit": "10000"}),
        (SESSIONS, "many", {"limit": "10000"}),
        (TOP, "large", {"dimension": "meta:k", "limit": "10000"}),
        (TOP, "many", {"dimension": "meta:k", "limit": "10000"}),
        (TIMESERIES, "many", {"groupBy": "meta:k", "limit": "10000", "interval": "minute"}),
        (TIMESERIES, "many", {"interval": "minute", "fill": "true", "limit": "10000", "from": "2024-06-09"}),
        (EXPORT, "large", {}),
        (EXPORT, "many", {"format": "csv"}),
        (EXPORT, "many", {"format": "parquet"}),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "&".join(value) or "all",
)
async def test_no_step_of_a_large_answer_is_long(
    wide: Reader, monkeypatch: pytest.MonkeyPatch, path: str, tenant: str, query: dict[str, str]
):
    if tenant == "many":
        metadata = "concat('{\"k\":\"value of ', toString(number), '\"}')"
        await fill(wide, 20_000, tenant=tenant, metadata=metadata)
    elif tenant == "large":
        metadata = f"concat('{{\"k\":\"', toString(number), repeat('x', {256 * KIB - 100}), '\"}}')"
        await fill(wide, 110, tenant=tenant, metadata=metadata)
    else:
        await fill(wide, 110, tenant=tenant, metadata=f"repeat('\\x01', {256 * KIB})")

    async def ask() -> int:
        async with wide.open(path, tenant_id=tenant, **({"from": "2024-06-01"} | query)) as answer:
            assert answer.status == 200, await answer.text()
            size = 0
            # Not read as a whole: that would be a long step of the client's.
            async for piece in answer.content.iter_any():
                size += len(piece)
            return size

    size = await ask()
    assert size > 400_000
    longest = []
    for _ in range(3):
        with measured_steps(monkeypatch) as steps:
            assert await ask() == size
        longest.append((steps.longest_s, steps.longest))
    # The least: what comes from outside comes to one of them, what is ours to all.
    assert min(longest)[0] < STEP_S, longest


async def test_the_measure_of_steps_sees_a_long_one(monkeypatch: pytest.MonkeyPatch):
    with measured_steps(monkeypatch) as steps:
        await asyncio.sleep(0)
        end = time.thread_time() + 0.03
        while time.thread_time() < end:
            pass
        await asyncio.sleep(0)
    assert steps.longest_s >= 0.03


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture
async def tight(reader: Reader) -> AsyncIterator[Reader]:
    """A budget of three pages and a half."""
    query = QueryConfig(limit_max=1_000, unread_bytes_max=28 * MIB, cache_s=0)
    server = msgspec.structs.replace(reader.config.server, body_idle_timeout_s=60.0)
    config = msgspec.structs.replace(reader.config, query=query, server=server)
    async with (
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
        Reader(client, config) as tight,
    ):
        yield tight


async def test_slow_readers_use_at_most_the_budget_and_others_get_503(tight: Reader):
    metadata = f"concat('{{\"k\":\"', toString(number), repeat('x', {256 * KIB - 100}), '\"}}')"
    for tenant in ("one", "two", "three"):
        await fill(tight, 110, tenant=tenant, metadata=metadata)
    # With both forms of the metadata, an answer is twice as large.
    asked = {"tenant_id": "one", "limit": "100", "metadata": "text"}
    await tight.answer(TIMELINE, **asked)
    before = rss_bytes()
    loop = asyncio.get_running_loop()
    slow: list[socket.socket] = []
    statuses = []
    try:
        for number in range(24):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
            sock.setblocking(False)
            slow.append(sock)
            await loop.sock_connect(sock, ("127.0.0.1", int(tight.url.rpartition(":")[2])))
            signed = token_of("shop", ("one", "two", "three")[number % 3])
            first = f"GET {TIMELINE}?limit=100&metadata=text HTTP/1.1"
            head = f"{first}\r\nHost: x\r\nAuthorization: Bearer {signed}\r\n\r\n"
            await loop.sock_sendall(sock, head.encode())
            statuses.append(int((await loop.sock_recv(sock, 300)).split()[1]))
            assert tight.unread.bytes <= 28 * MIB
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 2
        # What they hold is in the budget; beside it there are a page that is being made, and this test.
        assert rss_bytes() - before < 28 * MIB + 64 * MIB, "24 pages of 8 MiB would be 192"
        status, body, headers = await tight.get(TIMELINE, **asked)
        assert (status, body["code"]) == (503, "answers_busy")
        assert int(headers["Retry-After"]) >= 1
    finally:
        for sock in slow:
            sock.close()
    await until_async(lambda: not tight.unread.bytes, "what clients that left had not read is given back")
    assert len(await tight.timeline(tenant_id="one", limit="100")) > 12


async def test_an_export_and_a_stream_need_room_in_the_budget_too(tight: Reader):
    await tight.store(event(NOW - timedelta(hours=1)))
    with tight.unread.charge("somebody") as charge:
        charge.add(28 * MIB - 10)
        for path in (EXPORT, "/api/v1/telemetry/live"):
            async with tight.open(path) as answer:
                assert (answer.status, json.loads(await answer.read())["code"]) == (503, "answers_busy")
    async with tight.open(EXPORT) as answer:
        assert answer.status == 200
        assert (await answer.read()).count(b"\n") == 1
    assert tight.unread.bytes == 0


async def test_head_has_the_length_and_leaves_the_connection_usable(reader: Reader):
    await reader.store(*(event(NOW - timedelta(seconds=n)) for n in range(5)))
    async with reader.open(TIMELINE) as answer:
        length = len(await answer.read())
        assert answer.headers["Content-Length"] == str(length)
        assert "Transfer-Encoding" not in answer.headers
    host, port = reader.url.removeprefix("http://").split(":")
    incoming, outgoing = await asyncio.open_connection(host, int(port))
    signed = token_of("shop", "acme")
    for method, body in (("HEAD", 0), ("GET", length)):
        outgoing.write(
            f"{method} {TIMELINE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {signed}\r\n\r\n".encode()
        )
        head = await incoming.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert f"Content-Length: {length}\r\n".encode() in head
        assert len(await incoming.readexactly(body)) == body
    outgoing.close()
