"""Limits how many queries run at the same time, and schedules the queued ones.

Queries share ClickHouse's processors with inserts and, if it is embedded, with the workers. So a worker runs
a limited number of queries, and the others wait here, at no cost. Each scope has its own queue. The queues
are served in rotation: many heavy queries of one tenant delay that tenant only. The total number of queued
queries is bounded. At the bound, the longest queue drops its last query, so that one tenant cannot fill it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from nealytics.config import QueryConfig
from nealytics.errors import Refused

RETRY_AFTER_S = 2


class QuerySlots:
    """Runs at most `query.concurrency_max` queries at a time."""

    def __init__(self, config: QueryConfig) -> None:
        self._free = config.concurrency_max
        self._queue_max = config.queue_max
        self._queue_timeout_s = config.queue_timeout_s
        # The scopes with queued queries, the next one to be served first.
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._queued = 0

    @asynccontextmanager
    async def slot(self, key: Hashable) -> AsyncIterator[None]:
        """Holds a slot for one query of scope `key` inside the block.

        Raises `Refused` (503, "queries_busy") if the queue is full or moves too slowly.
        """
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(key)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, key: Hashable) -> None:
        if self._queued >= self._queue_max:
            self._make_room(key)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(mine)
        self._queued += 1
        try:
            async with asyncio.timeout(self._queue_timeout_s):
                await mine
        except TimeoutError:
            self._leave(key, mine)
            raise busy(f"the query was queued for {self._queue_timeout_s:g} s") from None
        except BaseException:
            self._leave(key, mine)
            raise

    def _make_room(self, key: Hashable) -> None:
        """Refuses the last query of the longest queue. Raises `Refused` if that is the queue of `key`."""
        refused = busy(f"{self._queued} queries are already queued")
        longest = max(self._waiting.values(), key=len, default=deque())
        if len(longest) <= len(self._waiting.get(key, ())) + 1:
            raise refused
        last = longest.pop()
        self._queued -= 1
        if not last.done():
            last.set_exception(refused)

    def _leave(self, key: Hashable, mine: "asyncio.Future[None]") -> None:
        """Removes a waiter that gave up from its queue, or passes on the slot that it got meanwhile."""
        queue = self._waiting.get(key)
        if queue is not None and mine in queue:
            queue.remove(mine)
            self._queued -= 1
            if not queue:
                del self._waiting[key]
        elif not mine.cancelled() and mine.exception() is None:
            self._hand_on()  # a cancelled or refused waiter never had a slot

    def _hand_on(self) -> None:
        """Gives a free slot to the first waiter of the next scope."""
        while self._waiting:
            key, queue = self._waiting.popitem(last=False)
            first = queue.popleft()
            self._queued -= 1
            if queue:
                self._waiting[key] = queue  # behind the others
            if not first.cancelled():
                first.set_result(None)
                return
        self._free += 1


def busy(why: str) -> Refused:
    """The refusal of a query that was queued for too long, or that the queue has no room for."""
    return Refused(
        503,
        "queries_busy",
        why,
        detail="Retry later, or send fewer queries at a time. Ingest is not affected.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
