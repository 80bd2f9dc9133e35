"""Turns are handed out one at a time, fairly between scopes, and never lost."""

import asyncio
import random
from collections import Counter

import pytest

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.http.gate import QueryGate


def gate_of(concurrency_max: int = 1, queue_max: int = 100, queue_timeout_s: float = 10.0) -> QueryGate:
    return QueryGate(
        QueryConfig(concurrency_max=concurrency_max, queue_max=queue_max, queue_timeout_s=queue_timeout_s)
    )


class Query:
    """A query that runs from its turn until it is told to end."""

    def __init__(self, gate: QueryGate, key: str = "a", order: list["Query"] | None = None) -> None:
        self.key = key
        self.running = False
        self._end = asyncio.Event()
        self._order = order
        self.task = asyncio.create_task(self._run(gate))

    async def _run(self, gate: QueryGate) -> None:
        async with gate.turn(self.key):
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
        await settled()


async def settled() -> None:
    """Lets everything happen that can happen without waiting."""
    for _ in range(10):
        await asyncio.sleep(0)


async def started(gate: QueryGate, *keys: str) -> list[Query]:
    """Queries that came one after the other."""
    queries = []
    for key in keys:
        queries.append(Query(gate, key))
        await settled()
    return queries


async def ended(*queries: Query) -> None:
    for query in queries:
        if not query.task.done():
            await query.end()


async def all_turns_are_free(gate: QueryGate, concurrency_max: int) -> bool:
    """Whether exactly as many queries as may run get a turn at once."""
    queries = await started(gate, *("z" for _ in range(concurrency_max + 1)))
    running = sum(query.running for query in queries)
    await ended(*queries)
    return running == concurrency_max


async def test_as_many_run_at_once_as_may_and_the_others_wait():
    gate = gate_of(3)
    queries = await started(gate, *"abcde")
    assert [query.running for query in queries] == [True, True, True, False, False]
    await queries[1].end()
    assert [query.running for query in queries] == [True, False, True, True, False]
    await ended(*queries)
    assert await all_turns_are_free(gate, 3)


async def test_within_a_scope_the_first_who_came_is_the_first_who_runs():
    gate = gate_of()
    queries = await started(gate, *"aaaa")
    for k, query in enumerate(queries):
        assert [other.running for other in queries] == [k == n for n in range(4)]
        await query.end()


async def test_a_tenant_with_many_queries_makes_itself_wait_and_not_the_others():
    """Twenty of `a` are waiting when `b` and `c` ask once each: they are next but one and next but two."""
    gate = gate_of()
    order: list[Query] = []
    queries = []
    for key in ("a" * 21) + "bc":
        queries.append(Query(gate, key, order))
        await settled()
    while not all(query.task.done() for query in queries):
        await next(query for query in queries if query.running).end()
    assert "".join(query.key for query in order[:5]) == "aabca"
    assert len(order) == 23


async def test_scopes_that_wait_take_turns():
    gate = gate_of()
    order: list[Query] = []
    queries = []
    for key in "x" + "aaaabbbcc":
        queries.append(Query(gate, key, order))
        await settled()
    while not all(query.task.done() for query in queries):
        await next(query for query in queries if query.running).end()
    assert "".join(query.key for query in order) == "xabcabcaba"


async def test_who_waits_too_long_is_told_to_come_back():
    gate = gate_of(queue_timeout_s=0.05)
    (running,) = await started(gate, "a")
    with pytest.raises(Refused) as refused:
        async with gate.turn("b"):
            pytest.fail("got a turn that was not free")
    assert (refused.value.status, refused.value.code) == (503, "queries_busy")
    assert int((refused.value.headers or {})["Retry-After"]) >= 1
    await running.end()
    assert await all_turns_are_free(gate, 1)


async def test_a_full_queue_refuses_at_once_and_takes_more_when_it_moved():
    gate = gate_of(queue_max=2)
    queries = await started(gate, *"abc")
    with pytest.raises(Refused) as refused:
        async with gate.turn("d"):
            pytest.fail("got a turn that was not free")
    assert (refused.value.status, refused.value.code) == (503, "queries_busy")
    await queries[0].end()
    queries += await started(gate, "e")
    assert [query.running for query in queries] == [False, True, False, False]
    await ended(*queries)
    assert await all_turns_are_free(gate, 1)


async def test_a_pile_that_fills_the_queue_does_not_keep_the_others_out():
    """`a` has filled it; `b` and `c` come in, each for the last of `a`, until the queues are as long."""
    gate = gate_of(queue_max=4)
    running, *pile = await started(gate, *"aaaaa")
    others = await started(gate, *"bcb")
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
    assert await all_turns_are_free(gate, 1)


async def test_who_is_turned_away_and_leaves_at_that_moment_takes_no_turn_along():
    gate = gate_of(queue_max=2)
    running, first, last = await started(gate, *"aaa")
    newcomer = Query(gate, "b")
    await asyncio.sleep(0)
    last.task.cancel()
    await settled()
    assert last.task.cancelled()
    assert not newcomer.running
    await running.end()
    await ended(first, newcomer)
    assert await all_turns_are_free(gate, 1)


async def test_however_many_leave_at_once_the_next_gets_the_turn():
    gate = gate_of(queue_max=5_000)
    (running,) = await started(gate, "a")
    waiting = [Query(gate, "a") for _ in range(3_000)]
    await settled()
    for query in waiting[:-1]:
        query.task.cancel()
    running._end.set()
    await settled()
    assert waiting[-1].running
    await waiting[-1].end()
    assert await all_turns_are_free(gate, 1)


async def test_without_a_queue_only_what_can_run_is_taken():
    gate = gate_of(queue_max=0)
    (running,) = await started(gate, "a")
    with pytest.raises(Refused):
        async with gate.turn("b"):
            pytest.fail("got a turn that was not free")
    await running.end()
    assert await all_turns_are_free(gate_of(), 1)
    async with gate.turn("b"):
        pass


async def test_who_leaves_the_queue_does_not_get_a_turn():
    gate = gate_of()
    first, second, third = await started(gate, *"aaa")
    second.task.cancel()
    await settled()
    assert second.task.cancelled()
    await first.end()
    assert third.running
    await third.end()
    assert await all_turns_are_free(gate, 1)


async def test_a_turn_given_to_one_who_leaves_in_that_moment_goes_to_the_next():
    """Between being woken and running a waiter may be cancelled; the turn it had been given is not lost."""
    gate = gate_of()
    first, second, third = await started(gate, *"abc")
    first._end.set()
    await asyncio.sleep(0)  # `first` ends and hands its turn to `second`, which has not run yet
    second.task.cancel()
    await settled()
    assert second.task.cancelled()
    assert third.running
    await third.end()
    assert await all_turns_are_free(gate, 1)


async def test_a_turn_that_finds_a_waiter_already_gone_is_passed_on_once():
    """One that was cancelled and has not noticed yet is passed over; when it notices, there is nothing that
    it could hand on."""
    gate = gate_of()
    first, second, third, fourth = await started(gate, *"abcd")
    first._end.set()
    second.task.cancel()
    await settled()
    assert (third.running, fourth.running) == (True, False)
    await ended(third, fourth)
    assert await all_turns_are_free(gate, 1)


async def test_a_query_that_fails_hands_on_its_turn():
    gate = gate_of()
    waiting: list[Query] = []

    async def fail() -> None:
        async with gate.turn("a"):
            waiting.extend(await started(gate, "b"))
            raise ValueError("the query failed")

    with pytest.raises(ValueError, match="the query failed"):
        await fail()
    await settled()
    assert waiting[0].running
    await ended(*waiting)


@pytest.mark.parametrize("seed", range(8))
async def test_no_turn_is_lost_or_doubled_whatever_happens(seed: int):
    """Queries come, end, fail, give up and are cancelled in any order, at any moment between two steps."""
    chance = random.Random(seed)
    concurrency_max = chance.randint(1, 4)
    gate = gate_of(concurrency_max, queue_max=8, queue_timeout_s=0.02)
    queries: list[Query] = []
    outcomes: Counter[str] = Counter()
    for _ in range(400):
        what = chance.random()
        alive = [query for query in queries if not query.task.done()]
        if what < 0.45 or not alive:
            queries.append(Query(gate, chance.choice("abc")))
        elif what < 0.75:
            chance.choice(alive)._end.set()
        elif what < 0.95:
            chance.choice(alive).task.cancel()
        else:
            await asyncio.sleep(0.03)  # whoever waits now has waited too long
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
    assert await all_turns_are_free(gate, concurrency_max)
    assert (gate._queued, len(gate._waiting)) == (0, 0)
