"""The network of a client, which the limit per address counts. Reports a proxy that nobody trusts, once."""

import logging
from collections.abc import Callable

from nealytics.client_address import ClientAddresses, network_key

log = logging.getLogger("nealytics.ingest")


class Networks:
    def __init__(self, addresses: ClientAddresses) -> None:
        self._addresses = addresses
        self._header = addresses.header.lower()
        self._warned = False

    def of(self, peer: str, header: Callable[[str], str | None]) -> str:
        """Of the client behind `peer`. `header` looks one up, by its name in lower case."""
        forwarded = header(self._header)
        addresses = self._addresses
        if not (self._warned or addresses.trusts_any) and forwarded is not None:
            self._warned = True
            log.warning(
                "ingest: %s sends %s and is not in server.trusted_proxies, so all its clients share "
                "the limit of one address; if it is a proxy, add it",
                peer,
                addresses.header,
            )
        return network_key(addresses.of(peer, lambda: [] if forwarded is None else [forwarded]))
