"""Rate limits of an ingest request: per key or token subject, and per client address."""

import asyncio
from collections.abc import Callable

from nealytics.auth.grant import Grant
from nealytics.auth.token_rate import Permit, use
from nealytics.config import IngestConfig
from nealytics.errors import Refused
from nealytics.ingest.networks import Networks
from nealytics.ingest.ratelimit import AddressRate, RateLimiter, SubjectRate
from nealytics.shared import NodeMemory

# In place of the grant, until the key is found in the body.
NOBODY = Grant(-2, kind="browser", digest=b"nobody")


class Permits:
    """Takes the permits of a request, or raises `Refused` (429).

    Of an API key, which may have a queue; or of the subject of a token. If the sender is public, also of the
    client's address.
    """

    def __init__(self, config: IngestConfig, memory: NodeMemory, networks: Networks) -> None:
        self._keys = RateLimiter(config, memory)
        self._subjects = SubjectRate(config, memory)
        self._addresses = AddressRate(config, memory)
        self._networks = networks
        # As `take_at_once` for an API key whose requests from one address are not limited.
        self.take_of_key = self._keys.take_at_once

    def replace(self, config: IngestConfig) -> None:
        """From now on, these limits apply."""
        for limit in (self._keys, self._subjects, self._addresses):
            limit.replace(config)

    def stop(self) -> None:
        """Refuses (503) the requests that are queued."""
        self._keys.stop()

    def network_of(self, grant: Grant, peer: str, header: Callable[[str], str | None]) -> str:
        """The network of a public sender; empty if it does not count. `header` as for `Networks.of`."""
        return self._networks.of(peer, header) if grant.is_public else ""

    def take(self, grant: Grant, network: str) -> asyncio.Future[None] | None:
        """As `RateLimiter.take`."""
        permit = self._in_tables(grant, network)
        if isinstance(permit, Refused):
            raise permit
        use(permit)
        return None if grant.subject else self._keys.take(grant.index)

    def require_of_address(self, network: str) -> None:
        """Raises `Refused` (429) if an address has sent many bodies without a valid key."""
        if isinstance(refused := self._in_tables(NOBODY, network), Refused):
            raise refused

    def take_of_address(self, network: str, number: int) -> None:
        """Counts work for a body without a valid key."""
        for _ in range(number):
            if isinstance(permit := self._in_tables(NOBODY, network), Refused):
                return
            use(permit)

    def at_once(self, grant: Grant, network: str) -> Permit | None:
        """The permits of a request that need not wait, for `take_at_once`; None if there are none."""
        if not (grant.subject or self._keys.has_permit(grant.index)):
            return None
        permit = self._in_tables(grant, network)
        return None if isinstance(permit, Refused) else permit

    def take_at_once(self, grant: Grant, permit: Permit) -> bool:
        """Takes what `at_once` has just found; False if it is gone."""
        if not (grant.subject or self._keys.take_at_once(grant.index)):
            return False
        use(permit)
        return True

    def _in_tables(self, grant: Grant, network: str) -> Permit | Refused:
        # All are found before one is taken, so a request without a permit takes none.
        permit: Permit = []
        if network:
            refused = self._addresses.find(_whose(grant), network, permit)
            if refused is not None:
                return refused
        if grant.subject:
            refused = self._subjects.find(grant, permit)
            if refused is not None:
                return refused
        return permit


def _whose(grant: Grant) -> str:
    """Whose requests from one address count together: those with a browser's key, or with any token of a
    project."""
    return f"token {grant.project}" if grant.subject else str(grant.index)
