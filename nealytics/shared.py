"""Memory that all processes of one node share: rate-limit and metric slots.

One anonymous file (memfd), made by the supervisor and handed to every worker by descriptor, so it
outlives a worker's restart and ends with the node. It holds one equal block per worker. A worker
writes only its own block and sums over all; so there are no locks, and what a reader sees may be a
few operations old, never torn (aligned 8-byte stores).

    a worker's block = metrics: METRIC_SLOTS_MAX × float64, rate limits: keys × (window, used, queued) int64
"""

import mmap
import os

# Room for every series in observe/metrics.py (about 90 today), histograms' buckets included.
METRIC_SLOTS_MAX = 512
_RATE_FIELDS = 3
_SLOT = 8


class NodeMemory:
    """This worker's slots, and the sums over all workers.

    `create` makes it (the supervisor), `attach` maps it (a worker, with the same shape).
    Raises `OSError` if the kernel gives no memory.
    """

    def __init__(self, fd: int, workers: int, keys: int, worker: int) -> None:
        self.fd = fd
        self.workers = workers
        self.keys = keys
        self.worker = worker
        block = METRIC_SLOTS_MAX + keys * _RATE_FIELDS
        self._map = mmap.mmap(fd, workers * block * _SLOT)
        whole = memoryview(self._map)
        self._metrics: list[memoryview[float]] = []
        self._rates: list[memoryview[int]] = []
        for w in range(workers):
            start = w * block * _SLOT
            split = start + METRIC_SLOTS_MAX * _SLOT
            self._metrics.append(whole[start:split].cast("d"))
            self._rates.append(whole[split : (w + 1) * block * _SLOT].cast("q"))
        self.metrics = self._metrics[worker]
        self._rate = self._rates[worker]

    @classmethod
    def create(cls, workers: int, keys: int) -> "NodeMemory":
        fd = os.memfd_create("nealytics-node")
        os.ftruncate(fd, workers * (METRIC_SLOTS_MAX + keys * _RATE_FIELDS) * _SLOT)
        return cls(fd, workers, keys, worker=0)

    @classmethod
    def attach(cls, fd: int, workers: int, keys: int, worker: int) -> "NodeMemory":
        return cls(fd, workers, keys, worker)

    def metric_sum(self, slot: int) -> float:
        return sum(block[slot] for block in self._metrics)

    def metric_max(self, slot: int) -> float:
        return max(block[slot] for block in self._metrics)

    # Rate limits. A worker's count belongs to one window; a count of an older window is worth nothing,
    # so no one has to reset another worker's slots. Two workers may take the last permit in the same
    # microsecond: a window can be overrun by at most workers - 1 requests.

    def rate_used(self, key: int, window: int) -> int:
        """Permits of `window` that all workers together have given for `key`."""
        i = key * _RATE_FIELDS
        return sum(block[i + 1] for block in self._rates if block[i] == window)

    def rate_use(self, key: int, window: int) -> None:
        i = key * _RATE_FIELDS
        mine = self._rate
        if mine[i] == window:
            mine[i + 1] += 1
        else:
            # Count first, window second: another worker never sees the new window with the old count.
            mine[i + 1] = 1
            mine[i] = window

    def rate_queued(self, key: int) -> int:
        """Requests that wait for a permit of `key` in all workers."""
        i = key * _RATE_FIELDS + 2
        return sum(block[i] for block in self._rates)

    def rate_queue_add(self, key: int, delta: int) -> None:
        self._rate[key * _RATE_FIELDS + 2] += delta

    def forget_queue(self) -> None:
        """A worker that starts has no requests waiting, whatever its killed predecessor left here."""
        for key in range(self.keys):
            self._rate[key * _RATE_FIELDS + 2] = 0
