"""A client that leaves asks for nothing any more."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from nealytics.http import reads
from nealytics.http.reads import while_connected


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "LEFT_CHECK_S", 0.01)


def request() -> Any:
    return SimpleNamespace(transport=object())


async def test_an_answer_is_passed_on():
    async def work() -> int:
        await asyncio.sleep(0.03)
        return 7

    assert await while_connected(request(), work()) == 7


async def test_an_error_is_passed_on():
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_connected(request(), work())


async def test_the_query_of_a_client_that_left_is_ended():
    ended = asyncio.Event()
    asked = request()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    running = asyncio.create_task(while_connected(asked, work()))
    await asyncio.sleep(0.03)
    assert not running.done()
    asked.transport = None
    with pytest.raises(ConnectionResetError):
        await running
    await asyncio.wait_for(ended.wait(), 30)


async def test_a_server_that_stops_ends_the_query_too():
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    running = asyncio.create_task(while_connected(request(), work()))
    await asyncio.sleep(0.03)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(ended.wait(), 30)
