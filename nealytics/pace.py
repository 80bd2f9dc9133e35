"""Long work on the event loop, in slices.

One process accepts events and answers reads in one loop. So long work in Python pauses between slices of a
few milliseconds and lets other tasks run. A thread would not help: encoding and decoding JSON do not release
the interpreter's lock.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

# The length of a slice. A request may wait for one slice of each read that is running.
SLICE_S = 0.003
# JSON that is encoded or decoded in one call: about a millisecond.
SLICE_BYTES = 64 * 1024


class Pace:
    """Measures slices."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = perf_counter()

    async def rest(self) -> None:
        """Lets other tasks run if this one has run for a slice. Call it between steps."""
        if perf_counter() - self._began >= SLICE_S:
            await asyncio.sleep(0)
            self._began = perf_counter()


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, with pauses: `[make(item) async for item in paced(items)]`."""
    began = perf_counter()
    for item in items:
        yield item
        if perf_counter() - began >= SLICE_S:
            await asyncio.sleep(0)
            began = perf_counter()
