"""Queries new events of one scope with one set of filters, for all streams that ask for the same.

The hubs of a worker take one page at a time, in rotation, and pause as long as the page took. So a hub with a
long backlog does not delay the others, and all of them together use at most half of the time of one query.
"""

import asyncio
import contextvars
import logging
import math
import time

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.config import QueryConfig
from nealytics.errors import NealyticsError
from nealytics.http.live_stream import Backlog
from nealytics.http.live_window import Window
from nealytics.http.reads import Reads, refusal
from nealytics.queries import live
from nealytics.queries.filters import Condition
from nealytics.queries.scoped import Events

log = logging.getLogger("nealytics.http.live")

RETRY_MAX_S = 5.0


class Hub:
    """Begins with a query whose events it does not deliver: they are not new."""

    def __init__(
        self,
        reads: Reads,
        config: QueryConfig,
        events: Events,
        filters: tuple[Condition, ...],
        clock: "ServerClock",
        query_slot: asyncio.Lock,
    ) -> None:
        self.events = events
        self.streams: set[Backlog] = set()
        self.window = Window(round(config.live_overlap_s * 1000))
        self.problem: Exception | None = None  # of the latest query
        self._reads = reads
        self._poll_s = config.live_poll_s
        self._filters = filters
        self._clock = clock
        self._query_slot = query_slot
        self._has_started = asyncio.Event()
        self._has_finished = asyncio.Event()
        self._has_succeeded = asyncio.Event()
        # With an empty context: the first stream's request id does not belong to it.
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def started(self) -> None:
        """Returns when the first query has its first page, or has failed."""
        await self._has_started.wait()

    async def finished(self) -> None:
        """Returns when the first query has all pages, or has failed."""
        await self._has_finished.wait()

    async def succeeded(self) -> None:
        """Returns when a query has all pages."""
        await self._has_succeeded.wait()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        failures = 0
        while True:
            async with self._query_slot:
                started = time.monotonic()
                self.problem = await self._attempt(is_first=not failures)
                self._has_started.set()
                await asyncio.sleep(min(time.monotonic() - started, self._poll_s))
            failures = failures + 1 if self.problem is not None else 0
            if self.problem is None:
                if self.window.after is not None:
                    continue
                self._has_succeeded.set()
            self._has_finished.set()
            await asyncio.sleep(max(self._poll_s, retry_s(failures)))

    async def _attempt(self, *, is_first: bool) -> Exception | None:
        """Queries one page; returns the error for clients if that fails. Logs the first failure."""
        try:
            await self._query()
        except NealyticsError as error:
            if is_first:
                log.warning("live: %s; the streams stay open and retry", error)
            return refusal(error)
        except Exception as error:
            # Whatever it is, the streams stay open, and the next query may succeed.
            log.exception("live: cannot read new events")
            return error
        return None

    async def _query(self) -> None:
        window = self.window
        await self._reads.fence.prove()
        try:
            if window.after is None:
                # Before the events: what was visible at this time must be among them.
                window.begin(await self._clock.now_ms())
            page = await live.page_of(self.events, self._filters, window.since_ms, window.after)
        except ClickHouseError as error:
            self._reads.fence.doubt(error)
            raise
        new = window.add(page)
        if new and self._has_succeeded.is_set():
            for stream in self.streams:
                stream.put(new)


class ServerClock:
    """ClickHouse's clock, which `inserted_at` is taken from. Read once for all hubs, so it may be late by
    `good_for_s` and is never early."""

    def __init__(self, client: ClickHouseClient, good_for_s: float) -> None:
        self._client = client
        self._good_for_s = good_for_s
        self._read_at = -math.inf
        self._now_ms = 0

    async def now_ms(self) -> int:
        """Raises `ClickHouseError`."""
        read_at = time.monotonic()
        if read_at - self._read_at > self._good_for_s:
            ((now_ms,),) = await self._client.query("SELECT toUnixTimestamp64Milli(now64(3))")
            self._now_ms, self._read_at = int(now_ms), read_at
        return self._now_ms


def retry_s(failures: int) -> float:
    return min(RETRY_MAX_S, 0.25 * 2**failures) if failures else 0.0
