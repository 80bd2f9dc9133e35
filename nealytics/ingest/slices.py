"""Long work in short slices, so that no request delays the others.

A worker has one event loop. Work whose length a client decides is written as a generator that yields after
each short step; `Slices.run` advances it for at most `SLICE_S` at a time and lets the loop serve other
requests in between. Only one slice of a worker runs per round of the loop, first come first served, so a
hundred long bodies delay another client no more than one does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

# A request needs three or four rounds of the loop, so beside the longest bodies it takes 10 to 20 ms.
# A step is shorter than this or, where a single event is very long, at most about three times as long.
SLICE_S = 0.004
# After a slice that was not the last. The thread that syncs the log needs the interpreter briefly, and a loop
# that never waits releases it every 5 ms only.
PAUSE_S = 0.001


class Slices:
    """Runs one slice at a time on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()

    async def run(self, steps: Iterator[int], pay: Callable[[int], Awaitable[None]]) -> None:
        """Advances `steps` to their end, slice by slice.

        `pay` is awaited after each slice with the last value that was yielded; other work does not wait for
        it. An error of either ends the work.
        """
        clock = self._clock
        cost = 0
        more = True
        while more:
            await self._lock.acquire()
            try:
                end = clock() + SLICE_S
                for step in steps:
                    cost = step
                    if clock() >= end:
                        break
                else:
                    more = False
            finally:
                # Not at once: another body that is ready in this round of the loop continues in the next.
                asyncio.get_running_loop().call_later(PAUSE_S if more else 0, self._lock.release)
            await pay(cost)
