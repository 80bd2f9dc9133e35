"""Which of several addresses is used: replicas of one shard, in the order of preference.

The first that is not cooling down. An address that failed is left alone for a while, longer each time it
fails again soon after, so one that comes and goes does not take every batch with it. When all have
failed they are tried in turns: whichever comes back first is noticed at once.

What may answer at an address can be any ClickHouse: `IDENTITY` tells replicas of one table from strangers.
"""

import time
from collections.abc import Callable

# The table that all requests name.
TABLE = "global_events"
# The same text at replicas of one table, and no row where there is none. The path in Keeper is the shard's;
# of a Distributed table the cluster is enough. What is not replicated is like nothing but itself.
IDENTITY = (
    "SELECT multiIf(engine = 'Distributed', engine_full, startsWith(engine, 'Replicated'), "
    "(SELECT any(zookeeper_path) FROM system.replicas "
    "WHERE database = {database:String} AND table = {table:String}), toString(uuid)) "
    "FROM system.tables WHERE database = {database:String} AND name = {table:String} FORMAT TabSeparated"
)

COOL_DOWN_S = 10.0
COOL_DOWN_MAX_S = 300.0


class Address:
    """One of them, and what is known about it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.unknown: frozenset[str] = frozenset()  # settings that this server does not know
        self.identity = ""  # of its table, once it was asked; see `ClickHouseClient.verify`
        self.until = 0.0  # cools down until then
        self.pause_s = 0.0  # its last cool-down
        self.failed_as = 0  # the how-manieth failure of all addresses its last one was

    def __repr__(self) -> str:
        return f"Address({self.url})"


class Addresses:
    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self.all = tuple(map(Address, urls))
        self._clock = clock
        self._failures = 0

    def best(self) -> Address:
        """Where the next request goes."""
        now = self._clock()
        return next(
            (address for address in self.all if address.until <= now),
            min(self.all, key=lambda address: address.failed_as),
        )

    def served(self, address: Address) -> None:
        address.until = min(address.until, self._clock())

    def failed(self, address: Address) -> None:
        now = self._clock()
        self._failures += 1
        address.failed_as = self._failures
        address.identity = ""  # another server may be there when it comes back
        if now < address.until:
            return  # one of several concurrent requests with the same failure
        soon = address.pause_s > 0 and now < address.until + address.pause_s
        address.pause_s = min(2 * address.pause_s, COOL_DOWN_MAX_S) if soon else COOL_DOWN_S
        address.until = now + address.pause_s

    def is_cooling(self, address: Address) -> bool:
        return address.until > self._clock()

    def cooling(self) -> list[Address]:
        now = self._clock()
        return [address for address in self.all if address.until > now]
