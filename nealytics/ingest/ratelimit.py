"""Requests per key and window, per subject of a token, and per client address, for the whole node. A large
request counts as several.

Fixed windows: `requests` permits in each, shared by all workers through `NodeMemory`. A request without a
permit waits in this worker's queue, first come first served, for the next window; if the queue is full, it
gets 429. Windows use the monotonic clock, which all processes of a machine share and which is never set back.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from nealytics.auth.grant import Grant
from nealytics.auth.token_rate import Permit, find_permit, over_rate, rate_refusal, window_of
from nealytics.config import IngestConfig
from nealytics.errors import Refused, stopping
from nealytics.shared import NodeMemory

# What one permit allows. A request costs one, and one more for each further 1,000 events or each further
# 512 KiB after decompression, whichever is more: both take about 3 ms of the worker.
PERMIT_EVENTS = 1_000
PERMIT_BYTES = 512 * 1024


class RateLimiter:
    """`take` a permit of a key, at once or from a queue slot."""

    def __init__(
        self, config: IngestConfig, memory: NodeMemory, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._set(config)
        self._memory = memory
        self._clock = clock
        # One queue per key that ever had to wait: bounded by the number of keys.
        self._queues: dict[int, deque[asyncio.Future[None]]] = {}
        self._tick: asyncio.TimerHandle | None = None
        self._stopping = False

    def replace(self, config: IngestConfig) -> None:
        """From now on, these limits apply, also to requests that are queued."""
        self._set(config)
        if self._tick is not None:
            self._tick.cancel()
            self._next_window()

    def _set(self, config: IngestConfig) -> None:
        self._requests = config.rate_limit_requests
        self._window_s = config.rate_limit_window_s
        self._queue_max = config.rate_limit_queue_max

    def stop(self) -> None:
        """Refuses (503) requests that wait, and later ones that would: the next window may be long after."""
        self._stopping = True
        if self._tick is not None:
            self._tick.cancel()
        for queue in self._queues.values():
            for slot in list(queue):
                if not slot.done():
                    slot.set_exception(stopping())

    def take(self, key: int) -> asyncio.Future[None] | None:
        """None: proceed. A future: wait for it; a waiter that gives up cancels it or sets an exception.

        Raises `Refused`: 429 if the queue is full, 503 during a stop.
        """
        if self.take_at_once(key):
            return None
        if self._stopping:
            raise stopping()
        memory = self._memory
        queue = self._queues.get(key)
        queued = memory.rate_queued(key)
        if queued >= self._queue_max:
            raise self._refusal(queued)
        if queue is None:
            queue = self._queues[key] = deque()
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(slot)
        memory.rate_queue_add(key, 1)
        slot.add_done_callback(lambda slot: self._leave(key, slot))
        self._wait_for_next_window()
        return slot

    def has_permit(self, key: int) -> bool:
        """Whether a request could proceed without waiting."""
        if not self._requests:
            return True
        window = int(self._clock() / self._window_s)
        return not self._queues.get(key) and self._memory.rate_used(key, window) < self._requests

    def take_at_once(self, key: int) -> bool:
        """Takes a permit, if there is one and nobody waits for it."""
        if not self._requests:
            return True
        window = int(self._clock() / self._window_s)
        if self._queues.get(key) or self._memory.rate_used(key, window) >= self._requests:
            return False
        self._memory.rate_use(key, window)
        return True

    def _leave(self, key: int, slot: asyncio.Future[None]) -> None:
        self._memory.rate_queue_add(key, -1)
        if slot.cancelled() or slot.exception() is not None:
            try:
                self._queues[key].remove(slot)
            except ValueError:
                pass  # it got its permit at the same time

    def _wait_for_next_window(self) -> None:
        if self._tick is None:
            now = self._clock()
            delay_s = self._window_s - now % self._window_s
            self._tick = asyncio.get_running_loop().call_later(delay_s, self._next_window)

    def _next_window(self) -> None:
        self._tick = None
        memory = self._memory
        window = int(self._clock() / self._window_s)
        waiting = False
        for key, queue in self._queues.items():
            while queue and (not self._requests or memory.rate_used(key, window) < self._requests):
                slot = queue.popleft()
                if not slot.done():
                    memory.rate_use(key, window)
                    slot.set_result(None)
            waiting = waiting or bool(queue)
        if waiting:
            self._wait_for_next_window()

    def _refusal(self, queued: int) -> Refused:
        reset_s = self._window_s - self._clock() % self._window_s
        return rate_refusal(
            f"more than {self._requests} requests in {self._window_s:g} s with this key, "
            f"and {queued} more are queued",
            "Send events in batches, wait for Retry-After, or raise ingest.rate_limit_requests. "
            f"{PERMIT_EVENTS} events or {PERMIT_BYTES // 1024} KiB each count as one request.",
            self._requests,
            reset_s,
            # Queued requests have the permits of the next windows.
            retry_s=reset_s + queued // self._requests * self._window_s,
        )


class SubjectRate:
    """Permits per subject of ingest tokens, for the whole node: as many as a key has, but no more than the
    tokens' own `rps`.

    Not queued and bounded in memory, as in `AddressRate`.
    """

    def __init__(
        self, config: IngestConfig, memory: NodeMemory, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.replace(config)
        self._table = memory.subjects
        self._clock = clock

    def replace(self, config: IngestConfig) -> None:
        """From now on, these limits apply."""
        self._configured = (config.rate_limit_window_s, config.rate_limit_requests)

    def find(self, grant: Grant, permit: Permit) -> Refused | None:
        """Adds what a request needs, not taken; or returns why there is none (429)."""
        configured_s, requests = self._configured
        limits = {configured_s: requests} if requests else {}
        if grant.rps is not None:
            window_s, permits = window_of(grant.rps)
            # One count for windows of one length: each request counts once.
            limits[window_s] = min(permits, limits.get(window_s, permits))
        now = self._clock()
        for window_s, permits in limits.items():
            # With the length: a long and a short window may end at the same time.
            who = f"{window_s} {grant.subject}"
            reset_s = find_permit(self._table, who, window_s, permits, now, permit)
            if reset_s is not None:
                return over_rate(permits, window_s, reset_s, _OF_SUBJECT)
        return None


_OF_SUBJECT = (
    "Send events in batches and wait for Retry-After. The limit is the rps claim of the token, or "
    "ingest.rate_limit_requests for each subject."
)


class AddressRate:
    """Permits per client address and browser key, or project of a token, beside the key's or token's own; for
    the whole node.

    Requests are not queued: without a permit they get 429. Bounded in memory: if more addresses than the
    table has slots send within one window, those with the fewest requests are forgotten; the key's limit
    still holds.
    """

    def __init__(
        self, config: IngestConfig, memory: NodeMemory, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.replace(config)
        self._table = memory.addresses
        self._clock = clock

    def replace(self, config: IngestConfig) -> None:
        """From now on, these limits apply."""
        self._requests = config.rate_limit_requests_per_address
        self._window_s = config.rate_limit_window_s

    def find(self, whose: str, network: str, permit: Permit) -> Refused | None:
        """As `SubjectRate.find`."""
        if not self._requests:
            return None
        who, now = f"{whose} {network}", self._clock()
        reset_s = find_permit(self._table, who, self._window_s, self._requests, now, permit)
        if reset_s is None:
            return None
        return rate_refusal(
            f"more than {self._requests} requests in {self._window_s:g} s from your address",
            "Send events in batches and wait for Retry-After. For the operator: "
            "ingest.rate_limit_requests_per_address, and server.trusted_proxies behind a proxy.",
            self._requests,
            reset_s,
        )
