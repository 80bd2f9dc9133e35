"""Writes that must succeed before anything else is sent: retried for as long as the disk refuses them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nealytics.commit.backoff import Backoff
from nealytics.commit.problem import Problem
from nealytics.wal import Log, QuarantinedLog

T = TypeVar("T")


class Persistence:
    """Reports a disk that stores nothing as the committer's `Problem`, and clears it afterwards."""

    def __init__(self, log: Log | QuarantinedLog, problem: Problem, backoff: Backoff) -> None:
        self._log = log
        self._problem = problem
        self._backoff = backoff

    async def until_stored(
        self, write: Callable[[], Awaitable[T]], retryable: tuple[type[Exception], ...]
    ) -> T:
        """What `write` returns, once it raises none of the `retryable` errors."""
        failures = 0
        while True:
            try:
                result = await write()
            except retryable as error:
                failures += 1
                self._problem.report(
                    f"cannot store the state of the batch on disk, so nothing is sent: {error}"
                )
                await asyncio.sleep(self._backoff.pause_s(failures))
            else:
                if failures:
                    self._problem.clear(self._log.waiting)
                return result
