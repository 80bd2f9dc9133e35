"""The memory that the node's processes share: each writes its own block, all read the sum."""

import os
import signal
from collections.abc import Callable

import pytest

from nealytics.shared import METRIC_SLOTS_MAX, PROBES, TOKEN_SLOTS, NodeMemory


def in_another_process(action: Callable[[], None]) -> None:
    """Runs `action` in a forked child and waits for it."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def node(workers: int = 2, keys: int = 2) -> list[NodeMemory]:
    """The memory as each worker of a node sees it."""
    first = NodeMemory.create(workers, keys)
    return [first, *(NodeMemory.attach(first.fd, workers, worker) for worker in range(1, workers))]


def test_a_number_of_one_process_is_seen_by_another_and_outlives_it():
    (first, second) = node()

    def work() -> None:
        second.metrics[7] += 5
        second.rate_use(1, window=100)

    first.metrics[7] += 2
    in_another_process(work)
    assert first.metric_sum(7) == second.metric_sum(7) == 7
    assert first.metric_max(7) == 5
    assert first.rate_used(1, window=100) == 1


def test_a_killed_process_leaves_its_numbers_and_no_lock():
    (first, second) = node()

    def work() -> None:
        second.metrics[0] = 9
        second.rate_queue_add(0, 3)
        os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        work()
    os.waitpid(pid, 0)
    assert first.metric_sum(0) == 9
    assert first.rate_queued(0) == 3
    # Its successor starts with nobody waiting, whatever the dead one counted.
    second.forget_queue()
    assert first.rate_queued(0) == 0
    first.metrics[0] += 1
    assert first.metric_sum(0) == 10


def test_workers_write_to_blocks_of_their_own():
    memories = node(workers=3, keys=5)
    for worker, memory in enumerate(memories):
        for slot in (0, METRIC_SLOTS_MAX - 1):
            memory.metrics[slot] = 10**worker
        for key in range(5):
            memory.rate_use(key, window=1)
            memory.rate_queue_add(key, worker)
        # The first and the last place of the table; from the last on, the search goes on at the first.
        for fingerprint in (TOKEN_SLOTS, 2 * TOKEN_SLOTS - 1):
            memory.tokens.use(fingerprint, ends=9, now=8)
    for memory in memories:
        assert [memory.tokens.used(slot, ends=9) for slot in (TOKEN_SLOTS, 2 * TOKEN_SLOTS - 1)] == [3, 3]
        assert memory.metric_sum(0) == memory.metric_sum(METRIC_SLOTS_MAX - 1) == 111
        assert [memory.rate_used(key, window=1) for key in range(5)] == [3] * 5
        assert [memory.rate_queued(key) for key in range(5)] == [3] * 5


def test_a_slot_beyond_the_block_is_an_error_and_not_a_neighbours():
    (first, _) = node()
    with pytest.raises(IndexError):
        first.metrics[METRIC_SLOTS_MAX] = 1


def test_permits_of_an_older_window_count_for_nothing():
    (first, second) = node()
    for _ in range(3):
        first.rate_use(0, window=41)
    second.rate_use(0, window=42)
    assert first.rate_used(0, window=41) == 3
    assert first.rate_used(0, window=42) == 1
    first.rate_use(0, window=42)
    assert second.rate_used(0, window=41) == 0
    assert second.rate_used(0, window=42) == 2


def test_keys_do_not_share_permits():
    (first, _) = node()
    first.rate_use(0, window=1)
    assert first.rate_used(1, window=1) == 0


def test_two_processes_that_give_permits_at_once_lose_none():
    (first, second) = node()

    def work() -> None:
        for _ in range(20_000):
            second.rate_use(0, window=1)
            second.metrics[3] += 1

    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    for _ in range(20_000):
        first.rate_use(0, window=1)
        first.metrics[3] += 1
    os.waitpid(pid, 0)
    assert first.rate_used(0, window=1) == 40_000
    assert first.metric_sum(3) == 40_000


def test_new_memory_is_empty():
    (first, _) = node()
    assert sum(first.metrics) == 0
    assert first.rate_used(0, window=0) == 0
    assert first.rate_queued(0) == 0
    assert first.tokens.used(1, ends=1) == 0


def same_place(count: int) -> list[int]:
    """Fingerprints that all begin to look for their slot at the same one."""
    return [5 + i * TOKEN_SLOTS for i in range(1, count + 1)]


def test_permits_of_a_token_are_those_of_its_window():
    (first, second) = node()
    for _ in range(3):
        first.tokens.use(7, ends=10, now=9)
    second.tokens.use(7, ends=11, now=10)
    assert first.tokens.used(7, ends=10) == 3
    assert first.tokens.used(7, ends=11) == 1
    assert first.tokens.used(8, ends=10) == 0


def test_tokens_that_look_for_the_same_slot_are_counted_apart():
    (first, second) = node()
    tokens = same_place(PROBES)
    for uses, token in enumerate(tokens, start=1):
        for _ in range(uses):
            first.tokens.use(token, ends=10, now=9)
            second.tokens.use(token, ends=10, now=9)
    assert [first.tokens.used(token, ends=10) for token in tokens] == [2, 4, 6, 8, 10, 12, 14, 16]


def test_the_slot_of_an_ended_window_is_taken_before_that_of_a_token_in_use():
    (first, _) = node()
    *old, one, two = same_place(PROBES + 2)
    for token in old:
        for _ in range(5):
            first.tokens.use(token, ends=10, now=9)
    first.tokens.use(one, ends=11, now=10)
    first.tokens.use(two, ends=11, now=10)
    assert (first.tokens.used(one, ends=11), first.tokens.used(two, ends=11)) == (1, 1)


def test_where_all_slots_are_in_use_the_token_with_the_least_permits_forgets_them():
    (first, _) = node()
    *tokens, newcomer = same_place(PROBES + 1)
    for token in tokens:
        first.tokens.use(token, ends=10, now=9)
    for token in tokens[1:]:
        first.tokens.use(token, ends=10, now=9)
    first.tokens.use(newcomer, ends=10, now=9)
    assert first.tokens.used(newcomer, ends=10) == 1
    assert [first.tokens.used(token, ends=10) for token in tokens] == [0] + [2] * (PROBES - 1)


def test_a_token_s_permits_of_a_killed_process_count_until_their_window_ends():
    (first, second) = node()
    in_another_process(lambda: second.tokens.use(7, ends=10, now=9))
    assert first.tokens.used(7, ends=10) == 1
