"""Permits per window, a queue in order of arrival, and 429 when it is full."""

import asyncio
from typing import Any

import pytest

from nealytics.auth.grant import Grant
from nealytics.auth.token_rate import Permit, use
from nealytics.config import IngestConfig
from nealytics.errors import Refused
from nealytics.ingest.ratelimit import AddressRate, RateLimiter, SubjectRate
from nealytics.shared import ADDRESS_SLOTS, NodeMemory

WINDOW_S = 0.2


class Clock:
    """Stands at the beginning of a window until told otherwise."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def next_window(self) -> None:
        self.now += WINDOW_S


def limiter(
    requests: int, queue: int, memory: NodeMemory | None = None
) -> tuple[RateLimiter, Clock, NodeMemory]:
    memory = memory or NodeMemory.create(workers=1, keys=2)
    clock = Clock()
    config = IngestConfig(
        rate_limit_requests=requests,
        rate_limit_window_s=WINDOW_S,  # type: ignore[arg-type]  # shorter than users can have it
        rate_limit_queue_max=queue,
    )
    return RateLimiter(config, memory, clock), clock, memory


async def tick() -> None:
    await asyncio.sleep(WINDOW_S * 1.3)


async def test_permits_are_given_at_once_until_the_window_has_none():
    limits, _, memory = limiter(requests=3, queue=0)
    assert [limits.take(0) for _ in range(3)] == [None, None, None]
    with pytest.raises(Refused) as caught:
        limits.take(0)
    assert (caught.value.status, caught.value.code) == (429, "rate_limited")
    assert caught.value.headers == {
        "Retry-After": "1",
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "1",
    }
    assert limits.take(1) is None  # another key has its own
    assert memory.rate_queued(0) == 0


async def test_limit_of_zero_is_unlimited():
    limits, _, _ = limiter(requests=0, queue=0)
    assert all(limits.take(0) is None for _ in range(10_000))


async def test_queue_is_served_in_order_of_arrival_with_the_permits_of_each_window():
    limits, clock, memory = limiter(requests=2, queue=5)
    assert limits.take(0) is limits.take(0) is None
    turns = [limits.take(0) for _ in range(5)]
    assert memory.rate_queued(0) == 5
    with pytest.raises(Refused) as caught:
        limits.take(0)
    assert caught.value.headers["Retry-After"] == "1"
    for served in (2, 4, 5):
        clock.next_window()
        await tick()
        assert [turn is not None and turn.done() for turn in turns] == [i < served for i in range(5)]
    assert memory.rate_queued(0) == 0


async def test_newcomer_does_not_overtake_the_queue():
    limits, clock, _ = limiter(requests=1, queue=5)
    limits.take(0)
    first = limits.take(0)
    clock.next_window()  # a permit is there now, but somebody waits for it
    second = limits.take(0)
    assert first is not None
    assert second is not None
    await tick()
    assert (first.done(), second.done()) == (True, False)


async def test_retry_after_counts_the_windows_that_belong_to_the_queue():
    config = IngestConfig(rate_limit_requests=2, rate_limit_window_s=10, rate_limit_queue_max=4)
    limits = RateLimiter(config, NodeMemory.create(1, 1), lambda: 1_003.0)
    for _ in range(6):
        limits.take(0)
    with pytest.raises(Refused) as caught:
        limits.take(0)
    assert caught.value.headers["RateLimit-Reset"] == "7"
    assert caught.value.headers["Retry-After"] == "27"


@pytest.mark.parametrize("how", ["cancel", "fail"])
async def test_waiter_that_gives_up_leaves_the_queue(how):
    limits, clock, memory = limiter(requests=1, queue=2)
    limits.take(0)
    leaves, stays = limits.take(0), limits.take(0)
    assert leaves is not None
    assert stays is not None
    if how == "cancel":
        leaves.cancel()
    else:
        leaves.set_exception(ConnectionResetError())
        leaves.exception()
    await asyncio.sleep(0)
    assert memory.rate_queued(0) == 1
    replacement = limits.take(0)
    clock.next_window()
    await tick()
    assert replacement is not None
    assert (stays.done(), replacement.done()) == (True, False)


async def test_limit_is_the_nodes_not_the_workers():
    first = NodeMemory.create(workers=2, keys=1)
    second = NodeMemory.attach(first.fd, workers=2, worker=1)
    one, _, _ = limiter(requests=4, queue=1, memory=first)
    other, _, _ = limiter(requests=4, queue=1, memory=second)
    assert [one.take(0), other.take(0), one.take(0), other.take(0)] == [None] * 4
    waits = one.take(0)
    assert waits is not None
    with pytest.raises(Refused):
        other.take(0)  # the one place in the node's queue is taken
    waits.cancel()
    await asyncio.sleep(0)
    assert other.take(0) is not None


# Per subject of a token


@pytest.mark.parametrize(
    ("rps", "requests", "window_s", "permits"),
    [
        (10, 100, 1, 10),
        (100, 10, 1, 10),
        (10, 0, 1, 10),
        (10, 100, 10, 10),
        (0.1, 100, 10, 1),
        (None, 7, 1, 7),
    ],
)
def test_a_subject_has_all_permits_of_its_lower_limit(rps, requests, window_s, permits):
    """Also if both limits have windows of one length."""
    config = IngestConfig(rate_limit_requests=requests, rate_limit_window_s=window_s)
    rate = SubjectRate(config, NodeMemory.create(workers=1, keys=1), Clock())
    grant = Grant(-1, "shop", "acme", "token", subject="ada", rps=rps)
    taken = 0
    permit: list[Any] = []
    while rate.find(grant, permit := []) is None:
        use(permit)
        taken += 1
    assert taken == permits


# Per client address


class Addresses(AddressRate):
    def take(self, whose: str, network: str) -> None:
        permit: Permit = []
        refused = self.find(whose, network, permit)
        if refused is not None:
            raise refused
        use(permit)


def addresses(requests: int, memory: NodeMemory | None = None, window_s: int = 10) -> tuple[Addresses, Clock]:
    config = IngestConfig(rate_limit_requests_per_address=requests, rate_limit_window_s=window_s)
    clock = Clock()
    return Addresses(config, memory or NodeMemory.create(workers=1, keys=1), clock), clock


def test_address_has_permits_of_its_own_with_each_key():
    rate, _ = addresses(requests=2)
    for _ in range(2):
        rate.take("0", "192.0.2.1")
    with pytest.raises(Refused) as caught:
        rate.take("0", "192.0.2.1")
    assert (caught.value.status, caught.value.code) == (429, "rate_limited")
    assert caught.value.headers == {
        "Retry-After": "10",
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "10",
    }
    rate.take("0", "192.0.2.2")
    rate.take("1", "192.0.2.1")


def test_address_has_new_permits_in_the_next_window():
    rate, clock = addresses(requests=1)
    rate.take("0", "192.0.2.1")
    clock.now += 9.9
    with pytest.raises(Refused) as caught:
        rate.take("0", "192.0.2.1")
    assert caught.value.headers["Retry-After"] == "1"
    clock.now += 0.1
    rate.take("0", "192.0.2.1")


def test_address_limit_of_zero_is_unlimited():
    rate, _ = addresses(requests=0)
    for _ in range(1_000):
        rate.take("0", "192.0.2.1")


def test_address_limit_is_the_nodes_not_the_workers():
    first = NodeMemory.create(workers=2, keys=1)
    second = NodeMemory.attach(first.fd, workers=2, worker=1)
    one, _ = addresses(requests=2, memory=first)
    other, _ = addresses(requests=2, memory=second)
    one.take("0", "192.0.2.1")
    other.take("0", "192.0.2.1")
    for rate in (one, other):
        with pytest.raises(Refused):
            rate.take("0", "192.0.2.1")


def test_more_addresses_than_there_is_room_for_leave_the_busiest_limited():
    """Memory is bounded: what is forgotten first is who has sent the least."""
    rate, _ = addresses(requests=5)
    for _ in range(5):
        rate.take("0", "192.0.2.1")
    for i in range(2 * ADDRESS_SLOTS):
        rate.take("0", f"2001:db8:{i:x}::")
    with pytest.raises(Refused):
        rate.take("0", "192.0.2.1")


async def test_a_queued_request_gets_its_permit_when_the_limit_is_removed():
    """Without a limit no window would ever be waited for."""
    limiter = RateLimiter(
        IngestConfig(rate_limit_requests=1, rate_limit_window_s=86_400), NodeMemory.create(1, 1)
    )
    assert limiter.take(0) is None
    slot = limiter.take(0)
    assert slot is not None
    limiter.replace(IngestConfig(rate_limit_requests=0))
    await slot
    assert limiter.take(0) is None


async def test_a_queued_request_gets_its_permit_when_the_limit_is_raised():
    limiter = RateLimiter(
        IngestConfig(rate_limit_requests=1, rate_limit_window_s=86_400), NodeMemory.create(1, 1)
    )
    assert limiter.take(0) is None
    slot = limiter.take(0)
    assert slot is not None
    limiter.replace(IngestConfig(rate_limit_requests=2, rate_limit_window_s=86_400))
    await slot
    assert limiter.take(0) is not None
    limiter.stop()
