"""Writes that are retried while the disk refuses them, without a disk and without waiting."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from nealytics.commit.backoff import FIRST_S, Backoff
from nealytics.commit.persist import Persistence
from nealytics.commit.problem import Problem
from nealytics.commit.progress import Progress
from nealytics.errors import LogBroken, LogFull
from nealytics.wal import Log

LOG = cast(Log, SimpleNamespace(waiting=7))


class Disk:
    """Raises each of `errors` once."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.writes = 0

    async def write(self) -> str:
        self.writes += 1
        if self.errors:
            raise self.errors.pop(0)
        return "stored"


def persistence(problem: Problem) -> Persistence:
    return Persistence(LOG, problem, Backoff(30_000, lambda: 0.0))


async def test_a_write_is_retried_until_the_disk_accepts_it_and_the_problem_is_cleared():
    problem = Problem()
    disk = Disk(LogFull("no room"), LogFull("still no room"))
    assert await persistence(problem).until_stored(disk.write, (LogFull,)) == "stored"
    assert (disk.writes, problem.text) == (3, None)


async def test_while_it_is_retried_the_problem_names_the_error():
    problem = Problem()
    disk = Disk(LogFull("no room"), LogBroken("gone"))
    with pytest.raises(LogBroken):
        await persistence(problem).until_stored(disk.write, (LogFull,))
    assert "no room" in str(problem.text)


async def test_a_write_that_succeeds_at_once_leaves_the_problem_of_another_part():
    problem = Problem()
    problem.report("clickhouse refuses every row")
    await persistence(problem).until_stored(Disk().write, (LogFull,))
    assert problem.text == "clickhouse refuses every row"


async def test_an_error_that_is_not_retryable_is_raised_at_once():
    disk = Disk(LogBroken("gone"))
    with pytest.raises(LogBroken):
        await persistence(Problem()).until_stored(disk.write, (LogFull,))
    assert disk.writes == 1


def test_a_pause_is_in_seconds():
    assert Backoff(30_000, lambda: 1.0).pause_s(1) == FIRST_S


async def test_progress_ends_once_a_change_makes_the_condition_true():
    progress = Progress()
    changes = 0
    task = asyncio.ensure_future(progress.until(lambda: changes == 3, 60.0))
    for _ in range(3):
        await asyncio.sleep(0)
        assert not task.done()
        changes += 1
        progress.notify()
    assert await task


async def test_progress_returns_false_at_its_timeout():
    assert not await Progress().until(lambda: False, 0.0)
