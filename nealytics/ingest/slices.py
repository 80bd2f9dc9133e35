"""Long work in short slices, so that no request delays the others.

A worker has one event loop. Work whose length a client decides is written as a generator that yields after
each short step; `Slices.run` advances it for at most `SLICE_S` at a time and lets the loop serve everybody
else in between. All such work of a worker takes turns: one slice per round of the loop, first come first
served, so a hundred long bodies cost another client no more than one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

# A request passes through the loop three or four times, so under the longest bodies it takes 10 to 20 ms.
# A step is shorter than this or, where a single event is very long, at most about three times as long.
SLICE_S = 0.004


class Slices:
    """Turns on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()

    async def run(self, steps: Iterator[int], pay: Callable[[int], Awaitable[None]]) -> None:
        """Advances `steps` to their end, slice by slice.

        `pay` is awaited after each slice with what the last step yielded; nobody else waits for it. Whatever
        either raises ends the work.
        """
        clock = self._clock
        cost = 0
        more = True
        while more:
            async with self._turn():
                end = clock() + SLICE_S
                for step in steps:
                    cost = step
                    if clock() >= end:
                        break
                else:
                    more = False
            await pay(cost)
            if more:
                await asyncio.sleep(0)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        await self._lock.acquire()
        try:
            yield
        finally:
            # In the next round of the loop: another body that is ready in this one waits until then.
            asyncio.get_running_loop().call_soon(self._lock.release)
