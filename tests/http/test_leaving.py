"""A client that leaves asks for nothing any more."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from nealytics.errors import Refused
from nealytics.http import reads
from nealytics.http.reads import Rows, while_connected
from nealytics.http.unread import Unread


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


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "server stops"])
async def test_the_budget_for_unread_answers_is_whole_after_a_read_was_cancelled(leaves: bool):
    """The read gives back its share when it ends; given back twice, the budget would stay below zero."""
    unread = Unread(100)
    asked = request()
    reading = asyncio.Event()

    async def handler() -> None:
        with unread.charge("acme") as charge:

            async def work() -> None:
                rows = Rows(charge)
                try:
                    rows.add(60)
                    reading.set()
                    await asyncio.sleep(60)
                finally:
                    rows.give_back()

            await while_connected(asked, work())

    running = asyncio.create_task(handler())
    await reading.wait()
    if leaves:
        asked.transport = None
    else:
        running.cancel()
    with pytest.raises(ConnectionResetError if leaves else asyncio.CancelledError):
        await running
    await asyncio.sleep(0)  # a cancelled task would end here
    assert unread.bytes == 0


def test_rows_that_the_budget_refuses_are_not_given_back():
    unread = Unread(100)
    with unread.charge("acme") as charge:
        rows = Rows(charge)
        rows.add(60)
        with pytest.raises(Refused):
            rows.add(41)
        assert unread.bytes == 60
        rows.give_back()
        assert unread.bytes == 0
    assert unread.bytes == 0
