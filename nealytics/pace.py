"""Long work on the event loop, cut into slices.

One process takes events and answers reads in one loop. So what takes long, and needs Python, pauses between
slices of a few milliseconds and lets all others run; a thread would not help, since encoding and decoding
JSON do not release the interpreter's lock.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")

# Of a slice. Several reads may take turns, a slice each, before a request gets its own.
SLICE_S = 0.003
# JSON that is encoded or decoded in one call: about a millisecond.
SLICE_BYTES = 64 * 1024


class Pace:
    """Knows when a slice is over."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = perf_counter()

    async def rest(self) -> None:
        """Lets others run if this has run for a slice. Call it between steps."""
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
