"""Slots are assigned fairly between scopes and are never lost."""

import asyncio
import random
from collections import Counter

import pytest

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.http.slots import QuerySlots


def slots_of(concurrency_max: int = 1, queue_max: int = 100, queue_timeout_s: float = 10.0) -> QuerySlots:
    return QuerySlots(
        QueryConfig(concurrency_max=concurrency_max, queue_max=queue_max, queue_timeout_s=queue_timeout_s)
    )


class Query:
    """A query that holds its slot until it is told to end."""

    def __init__(self, slots: QuerySlots, key: str = "a", order: list["Query"] | None = None) -> None:
        self.key = key
        self.running = False
        self._end = asyncio.Event()
        self._order = order
        self.task = asyncio.create_task(self._run(slots))

    async def _run(self, slots: QuerySlots) -> None:
        async with slots.slot(self.key):
            self.running = True
            if self._order is not None:
                self._order.append(self)
            try:
                await self._end.wait()
            finally:
                self.running = False

    async def end(self) -> None:
        self._end.set()
        await self.task
        await run_ready()


async def run_ready() -> None:
    """Runs everything that can run without waiting."""
    for _ in range(10):
        await asyncio.sleep(0)


async def started(slots: QuerySlots, *keys: str) -> list[Query]:
    """Queries that arrive one after the other."""
    queries = []
    for key in keys:
        queries.append(Query(slots, key))
        await run_ready()
    return queries


async def ended(*queries: Query) -> None:
    for query in queries:
        if not query.task.done():
            await query.end()


async def all_slots_are_free(slots: QuerySlots, concurrency_max: int) -> bool:
    """Whether exactly `concurrency_max` queries get a slot at once."""
    queries = await started(slots, *("z" for _ in range(concurrency_max + 1)))
    running = sum(query.running for query in queries)
    await ended(*queries)
    return running == concurrency_max


async def test_at_most_concurrency_max_queries_run_and_the_others_are_queued():
    slots = slots_of(3)
    queries = await started(slots, *"abcde")
    assert [query.running for query in queries] == [True, True, True, False, False]
    await queries[1].end()
    assert [query.running for query in queries] == [True, False, True, True, False]
    await ended(*queries)
    assert await all_slots_are_free(slots, 3)


async def test_within_a_scope_queries_run_in_the_order_of_arrival():
    slots = slots_of()
    queries = await started(slots, *"aaaa")
    for k, query in enumerate(queries):
        assert [other.running for other in queries] == [k == n for n in range(4)]
        await query.end()


async def test_a_tenant_with_many_queries_delays_only_its_own():
    """Twenty of `a` are queued when `b` and `c` arrive: they run second and third."""
    slots = slots_of()
    order: list[Query] = []
    queries = []
    for key in ("a" * 21) + "bc":
        queries.append(Query(slots, key, order))
        await run_ready()
    while not all(query.task.done() for query in queries):
        await next(query for query in queries if query.running).end()
    assert "".join(query.key for query in order[:5]) == "aabca"
    assert len(order) == 23


async def test_queued_scopes_are_served_in_rotation():
    slots = slots_of()
    order: list[Query] = []
    queries = []
    for key in "x" + "aaaabbbcc":
        queries.append(Query(slots, key, order))
        await run_ready()
    while not all(query.task.done() for query in queries):
        await next(query for query in queries if query.running).end()
    assert "".join(query.key for query in order) == "xabcabcaba"


async def test_a_query_that_is_queued_too_long_is_refused_with_retry_after():
    slots = slots_of(queue_timeout_s=0.05)
    (running,) = await started(slots, "a")
    with pytest.raises(Refused) as refused:
        async with slots.slot("b"):
            pytest.fail("got a turn that was not free")
    assert (refused.value.status, refused.value.code) == (503, "queries_busy")
    assert int((refused.value.headers or {})["Retry-After"]) >= 1
    await running.end()
    assert await all_slots_are_free(slots, 1)


async def test_a_full_queue_refuses_at_once_and_accepts_again_when_it_moved():
    slots = slots_of(queue_max=2)
    queries = await started(slots, *"abc")
    with pytest.raises(Refused) as refused:
        async with slots.slot("d"):
            pytest.fail("got a turn that was not free")
    assert (refused.value.status, refused.value.code) == (503, "queries_busy")
    await queries[0].end()
    queries += await started(slots, "e")
    assert [query.running for query in queries] == [False, True, False, False]
    await ended(*queries)
    assert await all_slots_are_free(slots, 1)


async def test_one_scope_cannot_fill_the_queue_for_the_others():
    """`a` has filled it; `b` and `c` each replace the last of `a`, until the queues are equally long."""
    slots = slots_of(queue_max=4)
    running, *pile = await started(slots, *"aaaaa")
    others = await started(slots, *"bcb")
    assert [query.task.done() for query in pile] == [False, False, True, True]
    for query in (*pile[2:], others[2]):
        with pytest.raises(Refused) as refused:
            await query.task
        assert (refused.value.status, refused.value.code) == (503, "queries_busy")
    await running.end()
    order = []
    while waiting := [query for query in (*pile[:2], *others[:2]) if not query.task.done()]:
        (now,) = (query for query in waiting if query.running)
        order.append(now.key)
        await now.end()
    assert order == ["a", "b", "c", "a"]
    assert await all_slots_are_free(slots, 1)


async def test_a_refused_query_that_is_cancelled_at_once_loses_no_slot():
    slots = slots_of(queue_max=2)
    running, first, last = await started(slots, *"aaa")
    newcomer = Query(slots, "b")
    await asyncio.sleep(0)
    last.task.cancel()
    await run_ready()
    assert last.task.cancelled()
    assert not newcomer.running
    await running.end()
    await ended(first, newcomer)
    assert await all_slots_are_free(slots, 1)


async def test_the_next_query_gets_the_slot_after_thousands_are_cancelled_at_once():
    slots = slots_of(queue_max=5_000)
    (running,) = await started(slots, "a")
    waiting = [Query(slots, "a") for _ in range(3_000)]
    await run_ready()
    for query in waiting[:-1]:
        query.task.cancel()
    running._end.set()
    await run_ready()
    assert waiting[-1].running
    await waiting[-1].end()
    assert await all_slots_are_free(slots, 1)


async def test_without_a_queue_only_queries_that_can_run_are_accepted():
    slots = slots_of(queue_max=0)
    (running,) = await started(slots, "a")
    with pytest.raises(Refused):
        async with slots.slot("b"):
            pytest.fail("got a turn that was not free")
    await running.end()
    assert await all_slots_are_free(slots_of(), 1)
    async with slots.slot("b"):
        pass


async def test_a_query_that_left_the_queue_gets_no_slot():
    slots = slots_of()
    first, second, third = await started(slots, *"aaa")
    second.task.cancel()
    await run_ready()
    assert second.task.cancelled()
    await first.end()
    assert third.running
    await third.end()
    assert await all_slots_are_free(slots, 1)


async def test_the_slot_of_a_waiter_that_is_cancelled_in_that_moment_goes_to_the_next():
    """A waiter may be cancelled between being woken and running; its slot is not lost."""
    slots = slots_of()
    first, second, third = await started(slots, *"abc")
    first._end.set()
    await asyncio.sleep(0)  # `first` ends and passes its slot to `second`, which has not run yet
    second.task.cancel()
    await run_ready()
    assert second.task.cancelled()
    assert third.running
    await third.end()
    assert await all_slots_are_free(slots, 1)


async def test_a_slot_for_a_cancelled_waiter_is_passed_on_once():
    """A cancelled waiter that has not run since is skipped; when it runs, it has no slot to pass on."""
    slots = slots_of()
    first, second, third, fourth = await started(slots, *"abcd")
    first._end.set()
    second.task.cancel()
    await run_ready()
    assert (third.running, fourth.running) == (True, False)
    await ended(third, fourth)
    assert await all_slots_are_free(slots, 1)


async def test_a_query_that_fails_passes_on_its_slot():
    slots = slots_of()
    waiting: list[Query] = []

    async def fail() -> None:
        async with slots.slot("a"):
            waiting.extend(await started(slots, "b"))
            raise ValueError("the query failed")

    with pytest.raises(ValueError, match="the query failed"):
        await fail()
    await run_ready()
    assert waiting[0].running
    await ended(*waiting)


@pytest.mark.parametrize("seed", range(8))
async def test_no_slot_is_lost_or_doubled_in_any_order_of_events(seed: int):
    """Queries arrive, end, fail, time out and are cancelled in any order, between any two steps."""
    chance = random.Random(seed)
    concurrency_max = chance.randint(1, 4)
    slots = slots_of(concurrency_max, queue_max=8, queue_timeout_s=0.02)
    queries: list[Query] = []
    outcomes: Counter[str] = Counter()
    for _ in range(400):
        what = chance.random()
        alive = [query for query in queries if not query.task.done()]
        if what < 0.45 or not alive:
            queries.append(Query(slots, chance.choice("abc")))
        elif what < 0.75:
            chance.choice(alive)._end.set()
        elif what < 0.95:
            chance.choice(alive).task.cancel()
        else:
            await asyncio.sleep(0.03)  # every queued query times out
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        assert sum(query.running for query in queries) <= concurrency_max
    for query in queries:
        query._end.set()
    for query in queries:
        try:
            await query.task
            outcomes["ran"] += 1
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1
        except Refused as refused:
            outcomes[refused.message.split(" ")[0]] += 1
    assert min(outcomes["ran"], outcomes["cancelled"]) > 10, outcomes
    assert await all_slots_are_free(slots, concurrency_max)
    assert (slots._queued, len(slots._waiting)) == (0, 0)
