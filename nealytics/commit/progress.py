"""Wakes the tasks that wait for a committer to make progress."""

import asyncio
from collections.abc import Callable


class Progress:
    """`notify` after each change; `until` checks its condition again each time."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """True once `done()` is, False after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not done():
                    await self._changed.wait()
        except TimeoutError:
            pass
        return done()
