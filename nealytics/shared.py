"""Memory that all processes of one node share: metrics, and what rate limits count.

One anonymous file (memfd). The supervisor creates it and passes its descriptor to every worker, so it
outlives the restart of a worker and ends with the node. It has a block of the same size for each worker. A
worker writes its own block only and reads the sum of all. So there are no locks; a value may be a few
operations old and is never torn (aligned 8-byte stores).

    a worker's block = metrics: METRIC_SLOTS_MAX × float64, rate limits: keys × (window, used, queued) int64,
                       tokens, client addresses, then subjects that write: a table of slots × (fingerprint,
                       end of its window, used) int64 each
"""

import functools
import hashlib
import mmap
import os

# Room for every series in observe/metrics.py (about 110 today), histograms' buckets included.
METRIC_SLOTS_MAX = 512
# Each configured API key has its own slot. Tokens, addresses and subjects are not known beforehand, so they
# have hash tables, with entries for one window only: 96, 384 and 384 KiB for each worker.
TOKEN_SLOTS = 4_096
ADDRESS_SLOTS = 16_384
SUBJECT_SLOTS = 16_384
PROBES = 8

# Beside the keys that are configured at the start: keys that a reload adds. 6 KiB for each worker.
SPARE_KEYS = 256

_RATE_FIELDS = 3
_TABLE_FIELDS = 3
_SLOT = 8


class NodeMemory:
    """This worker's slots, and the sums over all workers.

    `create` makes it (the supervisor), `attach` maps it (a worker, with the same number of workers).
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
        subjects: list[memoryview[int]] = []
        for w in range(workers):
            start = w * block * _SLOT
            rates = start + METRIC_SLOTS_MAX * _SLOT
            tables = rates + keys * _RATE_FIELDS * _SLOT
            second = tables + TOKEN_SLOTS * _TABLE_FIELDS * _SLOT
            third = second + ADDRESS_SLOTS * _TABLE_FIELDS * _SLOT
            self._metrics.append(whole[start:rates].cast("d"))
            self._rates.append(whole[rates:tables].cast("q"))
            tokens.append(whole[tables:second].cast("q"))
            addresses.append(whole[second:third].cast("q"))
            subjects.append(whole[third : start + block * _SLOT].cast("q"))
        self.metrics = self._metrics[worker]
        self._rate = self._rates[worker]
        self.tokens = CountTable(tokens, worker)
        self.addresses = CountTable(addresses, worker)
        self.subjects = CountTable(subjects, worker)

    @classmethod
    def create(cls, workers: int, keys: int) -> "NodeMemory":
        fd = os.memfd_create("nealytics-node")
        os.ftruncate(fd, workers * _block_slots(keys) * _SLOT)
        return cls(fd, workers, keys, worker=0)

    @classmethod
    def attach(cls, fd: int, workers: int, worker: int) -> "NodeMemory":
        slots = os.fstat(fd).st_size // workers // _SLOT
        return cls(fd, workers, (slots - _block_slots(0)) // _RATE_FIELDS, worker)

    def metric_sum(self, slot: int) -> float:
        return sum(block[slot] for block in self._metrics)

    def metric_max(self, slot: int) -> float:
        return max(block[slot] for block in self._metrics)

    def metric_min(self, slot: int) -> float:
        return min(block[slot] for block in self._metrics)

    # Rate limits. The count of a worker belongs to one window, and counts of older windows are ignored, so no
    # worker resets the slots of another. Two workers may use the last permit in the same microsecond, so a
    # window may exceed its limit by at most workers - 1 requests.

    def rate_used(self, key: int, window: int) -> int:
        """Permits of `window` that all workers together have used for `key`."""
        i = key * _RATE_FIELDS
        used = 0
        for block in self._rates:
            if block[i] == window:
                used += block[i + 1]
        return used

    def rate_use(self, key: int, window: int) -> None:
        i = key * _RATE_FIELDS
        mine = self._rate
        if mine[i] == window:
            mine[i + 1] += 1
        else:
            # The count before the window: another worker never sees the new window with the old count.
            mine[i + 1] = 1
            mine[i] = window

    def rate_queued(self, key: int) -> int:
        """Requests that wait for a permit of `key` in all workers."""
        i = key * _RATE_FIELDS + 2
        return sum(block[i] for block in self._rates)

    def rate_queue_add(self, key: int, delta: int) -> None:
        self._rate[key * _RATE_FIELDS + 2] += delta

    def forget_queue(self) -> None:
        """A worker that starts has no queued requests; a killed predecessor may have left a number here."""
        for key in range(self.keys):
            self._rate[key * _RATE_FIELDS + 2] = 0


class CountTable:
    """Permits of tokens, addresses or subjects, by fingerprint (not 0) and end of the window.

    The rules are those of `NodeMemory`. A slot whose window has ended is free, so the table is never cleaned,
    and every slot that may have a fingerprint is checked.
    """

    def __init__(self, blocks: "list[memoryview[int]]", worker: int) -> None:
        self._blocks = blocks
        self._mine = blocks[worker]
        self._slots = len(self._mine) // _TABLE_FIELDS

    def used(self, fingerprint: int, ends: int) -> int:
        """Permits of the window until `ends` that all workers together have used."""
        return self.find(fingerprint, ends)[0]

    def find(self, fingerprint: int, ends: int) -> tuple[int, int]:
        """As `used`; and where this worker counts them, for `use`: -1 if nowhere yet."""
        first = fingerprint % self._slots * _TABLE_FIELDS
        used, place = 0, -1
        for block in self._blocks:
            # Most entries are in the first of their slots.
            if block[first] == fingerprint and block[first + 1] == ends:
                used += block[first + 2]
                place = first if block is self._mine else place
                continue
            entries = self._entries(block, first)
            if fingerprint not in entries:
                continue
            for at in _PLACES:
                if entries[at] == fingerprint and entries[at + 1] == ends:
                    used += entries[at + 2]
                    if block is self._mine:
                        place = (first + at) % len(block)
                    break
        return used, place

    def use(self, fingerprint: int, ends: int, now: float, place: int = -1) -> None:
        """Counts a permit. `place` is what `find` has just said, if it was called."""
        mine = self._mine
        if place < 0:
            _, place = self.find(fingerprint, ends)
        if place >= 0:
            mine[place + 2] += 1
            return
        first = fingerprint % self._slots * _TABLE_FIELDS
        entries = self._entries(mine, first)
        free = [at for at in _PLACES if entries[at + 1] <= now]
        # No free slot: thousands in one window. Replaces the entry with the fewest permits.
        at = free[0] if free else min(_PLACES, key=lambda at: entries[at + 2])
        place = (first + at) % len(mine)
        # The end of the window last: until then, no other worker reads the old count as the new entry's.
        mine[place + 1] = 0
        mine[place] = fingerprint
        mine[place + 2] = 1
        mine[place + 1] = ends

    def _entries(self, block: "memoryview[int]", first: int) -> list[int]:
        """The slots in which a fingerprint may be. One copy takes a tenth of the time of 24 reads."""
        end = first + PROBES * _TABLE_FIELDS
        entries = block[first:end].tolist()
        return entries if end <= len(block) else entries + block[: end - len(block)].tolist()


_PLACES = range(0, PROBES * _TABLE_FIELDS, _TABLE_FIELDS)


@functools.lru_cache(4_096)
def fingerprint(text: str) -> int:
    """The fingerprint of a table's entry: not 0, which marks an empty slot; 63 bits, as slots are signed."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _block_slots(keys: int) -> int:
    return (
        METRIC_SLOTS_MAX + keys * _RATE_FIELDS + (TOKEN_SLOTS + ADDRESS_SLOTS + SUBJECT_SLOTS) * _TABLE_FIELDS
    )
