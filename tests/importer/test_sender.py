"""How long an import waits for a server that cannot take its events. Its pauses take no time."""

import math

import aiohttp
import pytest
from aiohttp import web

from nealytics.importer.sender import Event, Sender, SendError
from tests.client.steps import Clock
from tests.fakes.batch_server import KEY, BatchServer

EVENTS = [Event(1, b'{"eventId":"1","eventType":"view"}')]


async def send(server: BatchServer, clock: Clock, give_up_after_s: float) -> None:
    async def sleep(seconds: float) -> None:
        clock.pause(seconds)

    async with aiohttp.ClientSession() as session:
        sender = Sender(
            session,
            server.url,
            KEY,
            compression="none",
            give_up_after_s=give_up_after_s,
            on_retry=lambda why, pause_s: None,
            clock=clock,
            rand=lambda: 1.0,
            sleep=sleep,
        )
        assert await sender.send(EVENTS) == []


def refusing(times: int, retry_after: str) -> BatchServer:
    server = BatchServer()
    server.mood = lambda number, events: (
        web.Response(status=503, headers={"Retry-After": retry_after}) if number <= times else None
    )
    return server


async def test_a_pause_that_ends_after_the_time_to_give_up_is_waited_and_one_attempt_follows():
    clock = Clock()
    with refusing(1, "60") as server:
        await send(server, clock, 30)
        assert list(server.events) == ["1"]
    assert clock.pauses == [60.25]


async def test_it_says_how_long_it_really_tried():
    clock = Clock()
    with refusing(9, "60") as server, pytest.raises(SendError, match=r"import: gave up after 60 s: .* 503"):
        await send(server, clock, 30)
    assert clock.pauses == [60.25]


async def test_a_server_that_asks_for_days_is_asked_again_after_five_minutes():
    clock = Clock()
    with refusing(1, "864000") as server:
        await send(server, clock, math.inf)
        assert list(server.events) == ["1"]
    assert clock.pauses == [300.25]
