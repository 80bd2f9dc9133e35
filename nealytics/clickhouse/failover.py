"""Which of several addresses a request goes to: replicas of one shard, in order of preference. Pure.

The first address that is not cooling down is used. A failed address cools down, for longer each time it fails
again soon after, so one that comes and goes does not disturb every batch. While all of them cool down, they
are tried in rotation, so the first that recovers is used at once.

Any ClickHouse may answer at an address. An insert that moves to a server with another table would be stored
twice, so `IDENTITY` tells replicas of one table from other tables before an address is used.
"""

import time
from collections.abc import Callable, Collection

from nealytics.clickhouse.errors import ClickHouseError

# Gives the same text at all replicas of a table, and no row where there is no table. Replicas of a shard
# share the path in Keeper. Of a Distributed table, the cluster is enough. A table that is not replicated has
# no equal.
IDENTITY = (
    "SELECT multiIf(engine = 'Distributed', engine_full, startsWith(engine, 'Replicated'), "
    "(SELECT any(zookeeper_path) FROM system.replicas "
    "WHERE database = {database:String} AND table = {table:String}), toString(uuid)) "
    "FROM system.tables WHERE database = {database:String} AND name = {table:String} FORMAT TabSeparated"
)

COOL_DOWN_S = 10.0
COOL_DOWN_MAX_S = 300.0


class Address:
    """One address and what is known about the server there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.unknown: frozenset[str] = frozenset()  # settings that this server does not know
        self.identity = ""  # of its table; empty until verified
        self.until = 0.0  # end of its cool-down
        self.pause_s = 0.0  # length of its last cool-down
        self.failed_as = 0  # number of its last failure, counted over all addresses

    def __repr__(self) -> str:
        return f"Address({self.url})"


class Addresses:
    """The state of all addresses of one client, and the decisions about them."""

    def __init__(self, urls: tuple[str, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self.all = tuple(map(Address, urls))
        self._clock = clock
        self._failures = 0
        self._reading: Address | None = None
        self._first: Address | None = None  # the first that was verified;
        self._identity = ""  # the others must have its identity

    def at(self, url: str) -> Address:
        return next(address for address in self.all if address.url == url)

    def best(self) -> Address:
        """The address of the next request."""
        now = self._clock()
        return next(
            (address for address in self.all if address.until <= now),
            min(self.all, key=lambda address: address.failed_as),
        )

    def after(self, error: ClickHouseError, tried: Collection[Address]) -> Address | None:
        """The address to repeat a failed request at; None if the request fails with `error`."""
        if not error.of_the_address:
            return None
        best = self.best()
        return None if best in tried else best

    def read_at(self, address: Address) -> None:
        """Sends all reads there from now on. Call it once reading there is verified to be safe
        (`queries.scoped.Fence`)."""
        self._reading = address

    @property
    def reading(self) -> Address:
        """The address of the next read."""
        return self._reading or self.best()

    def served(self, address: Address) -> None:
        address.until = min(address.until, self._clock())

    def failed(self, address: Address) -> Address | None:
        """Returns the address that takes over, if another one does because of this failure."""
        before = self.best()
        now = self._clock()
        self._failures += 1
        address.failed_as = self._failures
        address.identity = ""  # another server may be there when it recovers
        if now >= address.until:  # otherwise another of several concurrent requests reported the same failure
            soon = address.pause_s > 0 and now < address.until + address.pause_s
            address.pause_s = min(2 * address.pause_s, COOL_DOWN_MAX_S) if soon else COOL_DOWN_S
            address.until = now + address.pause_s
        after = self.best()
        took_over = before is address and after is not address and not self.is_cooling(after)
        return after if took_over else None

    def is_cooling(self, address: Address) -> bool:
        return address.until > self._clock()

    def cooling(self) -> list[Address]:
        return [address for address in self.all if self.is_cooling(address)]

    def is_verified(self, address: Address) -> bool:
        """Whether it needs no verification before use. A single address never does."""
        return len(self.all) == 1 or bool(address.identity and address.identity == self._identity)

    def verified(self, address: Address, identity: str) -> Address | None:
        """Records what the server there answered to `IDENTITY`. Returns the address whose table it does not
        share, None if it is a replica."""
        if self._first is None or self._first is address:
            # Its table may have been created anew; then the others are verified again.
            self._first, self._identity = address, identity
        if identity != self._identity:
            return self._first
        address.identity = identity
        return None
