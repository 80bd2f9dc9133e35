"""Memory that all processes of one node share: metrics, and what rate limits count.

One anonymous file (memfd), made by the supervisor and handed to every worker by descriptor, so it
outlives a worker's restart and ends with the node. It holds one equal block per worker. A worker
writes only its own block and sums over all; so there are no locks, and what a reader sees may be a
few operations old, never torn (aligned 8-byte stores).

    a worker's block = metrics: METRIC_SLOTS_MAX × float64, rate limits: keys × (window, used, queued) int64,
                       tokens, then client addresses: a table of slots × (fingerprint, end of its window,
                       used) int64 each
"""

import hashlib
import mmap
import os

# Room for every series in observe/metrics.py (about 110 today), histograms' buckets included.
METRIC_SLOTS_MAX = 512
# API keys are configured and each has its place; tokens and addresses are not known beforehand, so theirs are
# hash tables. Only those seen within their window take room: 96 KiB and 384 KiB for each worker.
TOKEN_SLOTS = 4_096
ADDRESS_SLOTS = 16_384
PROBES = 8

_RATE_FIELDS = 3
_TABLE_FIELDS = 3
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
        block = _block_slots(keys)
        self._map = mmap.mmap(fd, workers * block * _SLOT)
        whole = memoryview(self._map)
        self._metrics: list[memoryview[float]] = []
        self._rates: list[memoryview[int]] = []
        tokens: list[memoryview[int]] = []
        addresses: list[memoryview[int]] = []
        for w in range(workers):
            start = w * block * _SLOT
            rates = start + METRIC_SLOTS_MAX * _SLOT
            tables = rates + keys * _RATE_FIELDS * _SLOT
            second = tables + TOKEN_SLOTS * _TABLE_FIELDS * _SLOT
            self._metrics.append(whole[start:rates].cast("d"))
            self._rates.append(whole[rates:tables].cast("q"))
            tokens.append(whole[tables:second].cast("q"))
            addresses.append(whole[second : start + block * _SLOT].cast("q"))
        self.metrics = self._metrics[worker]
        self._rate = self._rates[worker]
        self.tokens = CountTable(tokens, worker)
        self.addresses = CountTable(addresses, worker)

    @classmethod
    def create(cls, workers: int, keys: int) -> "NodeMemory":
        fd = os.memfd_create("nealytics-node")
        os.ftruncate(fd, workers * _block_slots(keys) * _SLOT)
        return cls(fd, workers, keys, worker=0)

    @classmethod
    def attach(cls, fd: int, workers: int, keys: int, worker: int) -> "NodeMemory":
        return cls(fd, workers, keys, worker)

    def metric_sum(self, slot: int) -> float:
        return sum(block[slot] for block in self._metrics)

    def metric_max(self, slot: int) -> float:
        return max(block[slot] for block in self._metrics)

    def metric_min(self, slot: int) -> float:
        return min(block[slot] for block in self._metrics)

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


class CountTable:
    """Permits of what is not known beforehand, by fingerprint (not 0) and the end of the window that is
    counted.

    The same rules as above, in a table. A slot whose window has ended is free for anyone, so the table is
    never cleaned, and every place where a fingerprint may be is checked.
    """

    def __init__(self, blocks: "list[memoryview[int]]", worker: int) -> None:
        self._blocks = blocks
        self._mine = blocks[worker]
        self._slots = len(self._mine) // _TABLE_FIELDS

    def used(self, fingerprint: int, ends: int) -> int:
        """Permits of the window that ends then, that all workers together have given."""
        used = 0
        for i in self._places(fingerprint):
            for block in self._blocks:
                if block[i] == fingerprint and block[i + 1] == ends:
                    used += block[i + 2]
        return used

    def use(self, fingerprint: int, ends: int, now: float) -> None:
        mine = self._mine
        place = least = -1
        for i in self._places(fingerprint):
            if mine[i] == fingerprint and mine[i + 1] == ends:
                mine[i + 2] += 1
                return
            if mine[i + 1] <= now:
                if place < 0:
                    place = i
            elif least < 0 or mine[i + 2] < mine[least + 2]:
                least = i
        # All taken: thousands in one window. Who has used the least is forgotten.
        if place < 0:
            place = least
        # The end of the window last: until then no other worker takes the count for that of the newcomer.
        mine[place + 1] = 0
        mine[place] = fingerprint
        mine[place + 2] = 1
        mine[place + 1] = ends

    def _places(self, fingerprint: int) -> list[int]:
        """Where in a block this fingerprint may stand."""
        slots = self._slots
        return [(fingerprint + probe) % slots * _TABLE_FIELDS for probe in range(PROBES)]


def fingerprint(text: str) -> int:
    """Of a table's entry: not 0, which marks an empty slot; 63 bits, for the slots are signed."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _block_slots(keys: int) -> int:
    return METRIC_SLOTS_MAX + keys * _RATE_FIELDS + (TOKEN_SLOTS + ADDRESS_SLOTS) * _TABLE_FIELDS
