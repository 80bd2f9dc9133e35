"""The memory that the node's processes share: each writes its own block, all read the sum."""

import os
import signal
from collections.abc import Callable

import pytest

from nealytics.shared import METRIC_SLOTS_MAX, NodeMemory


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
    return [first, *(NodeMemory.attach(first.fd, workers, keys, worker) for worker in range(1, workers))]


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
    for memory in memories:
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
