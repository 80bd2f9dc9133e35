"""A batch whose sending is interrupted keeps its events for the next flush."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from nealytics.client import AsyncClient, Client, RejectedError
from nealytics.client.exchange import Request
from nealytics.client.sending import BYTES_MAX, Gathered, Sending
from tests.client.steps import Clock, Node, event, patience, run
from tests.fakes.batch_server import KEY, BatchServer


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer() as server:
        yield server


def names(server: BatchServer) -> list[Any]:
    return [one["itemId"] for one in server.events.values()]


def test_a_flush_that_is_abandoned_keeps_events_sizes_and_places():
    sending = Sending("http://node", "a-key", patience(Clock()), codec=None)
    gathered, node = Gathered(), Node()
    gathered.add(event())
    run(gathered.flush(sending), node)
    for n in range(999):
        assert not gathered.add(event("bad" if n == 5 else "view"))
    steps = gathered.flush(sending)
    assert isinstance(next(steps), Request)
    steps.close()
    assert gathered.add(event())  # the thousandth: the others are still there
    run(gathered.flush(sending), node)
    assert [len(request) for request in node.requests] == [1, 1_000]
    with pytest.raises(RejectedError) as caught:
        gathered.finish()
    assert [r.index for r in caught.value.rejections] == [6]
    assert caught.value.accepted == 1_000


def test_an_abandoned_flush_keeps_the_count_of_bytes():
    sending = Sending("http://node", "a-key", patience(Clock()), codec=None)
    gathered = Gathered()
    large = event(metadata={"text": "x" * (BYTES_MAX - 2_000)})
    assert not gathered.add(large)
    steps = gathered.flush(sending)
    next(steps)
    steps.close()
    assert gathered.add(event(metadata={"text": "x" * 2_000}))


def test_ctrl_c_while_a_batch_is_sent_loses_no_event(server: BatchServer):
    main = threading.get_ident()
    interrupted = threading.Event()

    def interrupts(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        if number > 1:
            return None
        signal.pthread_kill(main, signal.SIGUSR1)
        interrupted.wait(30)
        return web.Response(status=503)

    server.mood = interrupts
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with Client(server.url, KEY, project_id="shop") as client, client.batch() as batch:
            for n in range(3):
                batch.add(event(item_id=str(n)))
            with pytest.raises(KeyboardInterrupt):
                batch.flush()
            interrupted.set()
            batch.add(event(item_id="3"))
    finally:
        interrupted.set()
        signal.signal(signal.SIGUSR1, before)
    assert names(server) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_a_cancelled_flush_of_a_batch_loses_no_event(server: BatchServer, how: str):
    arrived, left = threading.Event(), threading.Event()

    def hangs(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        if number > 1:
            return None
        arrived.set()
        left.wait(30)
        return web.Response(status=503)

    server.mood = hangs
    try:
        async with AsyncClient(server.url, KEY, project_id="shop") as client, client.batch() as batch:
            for n in range(3):
                await batch.add(event(item_id=str(n)))
            if how == "cancelled":
                flush = asyncio.create_task(batch.flush())
                await asyncio.to_thread(arrived.wait, 30)
                flush.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await flush
            else:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(batch.flush(), 0.2)
            left.set()
            await batch.add(event(item_id="3"))
    finally:
        left.set()
    assert names(server) == ["0", "1", "2", "3"]
