"""That the load generator counts what a server answered, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from nealytics.auth.api_keys import ApiKeys
from nealytics.bench import load
from nealytics.bench.load import Load, Result, request_template
from nealytics.config import ApiKey, IngestConfig
from nealytics.event import Limits
from nealytics.ingest.parser import Parsed, parse_batch, parse_event

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/api/v1/telemetry/{route}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


async def run(port: int, **changes: Any) -> Result:
    arguments: dict[str, Any] = {
        "connections": 4,
        "events": 1,
        "warmup_s": 0.0,
        "seconds": 0.3,
        "requests_max": 1_000_000,
        "first_number": 0,
        **changes,
    }
    return await load.run(Load(route="track" if arguments["events"] == 1 else "batch", **arguments), port)


async def test_answers_are_counted_and_timed():
    handled = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal handled
        await request.read()
        await asyncio.sleep(0.01)
        handled += 1
        return web.Response(status=202)

    async with serving(handle) as port:
        result = await run(port)
    assert result.errors == {}
    # Not those in flight at the end, or answered while others were still connecting.
    assert handled / 2 <= result.requests <= handled
    assert result.events == result.requests
    assert 10 <= result.p50_ms <= result.p99_ms < 60_000
    assert 0.3 <= result.seconds < 60


async def test_every_request_has_its_own_event_ids():
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.extend(event["eventId"] for event in await request.json())
        return web.json_response({"accepted": 3, "rejected": 0, "errors": []}, status=202)

    async with serving(handle) as port:
        result = await run(port, seconds=100, requests_max=100, events=3, first_number=7)
    assert len(seen) == len(set(seen)) >= result.events > 0
    assert seen[0].startswith("00000008-")


async def test_refusals_and_lost_connections_are_errors_and_no_throughput():
    count = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        if count == 40:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=202 if count % 2 else 503)

    async with serving(handle) as port:
        result = await run(port, seconds=100, requests_max=200)
    assert result.errors["503"] >= result.requests - 40
    assert result.errors["lost"] == 1


async def test_an_answer_may_come_in_pieces():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            for piece in (b"HTTP/1.1 2", b"02 Accepted\r\nContent-", b"Length: 4\r\n\r\nab", b"cd"):
                writer.write(piece)
                await asyncio.sleep(0.001)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        result = await run(server.sockets[0].getsockname()[1], seconds=100, requests_max=50)
    finally:
        server.close()
    assert result.requests > 10
    assert result.errors == {}


async def test_it_ends_with_the_number_of_requests_too():
    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202)

    async with serving(handle) as port:
        result = await run(port, seconds=100, requests_max=10)
    assert result.errors == {}
    assert result.seconds < 100


def test_the_requests_are_ones_that_the_product_accepts():
    limits = Limits.of(IngestConfig(), 90)
    now_ms = int(time.time() * 1000) + 1_000
    grant = ApiKeys((ApiKey(key=load.KEY),)).find(load.KEY)
    assert grant is not None
    head, _, body = request_template("track", 1, 80).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert parse_event(body.replace(b"@@@@@@@@", b"00000001"), now_ms, limits, grant)
    head, _, body = request_template("batch", 5, 80).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    body = body.replace(b"@@@@@@@@", b"00000001")
    steps = parse_batch(body, Parsed(), now_ms, limits, grant, lines=False)
    assert sum(map(len, steps)) == 5
