"""The address of the client behind proxies. Pure.

Anybody can write a header, so only the part that a trusted proxy wrote counts. Each proxy appends the address
of its client. So the list is read from the right: the address of the connection; if that is a trusted proxy,
the last entry; if that is one too, the entry before it, and so on. The first untrusted address is the
client's. An entry that is not an address (`unknown`, an obfuscated name) ends the search at the proxy that
wrote it.

Only one header is read, because a proxy forwards the other one as the client sent it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Longer than any address with brackets, zone and port.
_NODE_CHARS_MAX = 96
# Possessive: the blanks that a client sent are scanned once.
_FOR = re.compile(r'(?:^|;)\s*+for\s*+=\s*+("[^"]*+"|[^;,\s"]*+)\s*+(?:;|$)', re.IGNORECASE)
# What proxies wrote is at the end. A request may have megabytes of these headers.
_LIST_CHARS_MAX = 4_096
_KNOWN_PEERS_MAX = 4_096


class ClientAddresses:
    """`of` a request, by `server.trusted_proxies` and `server.forwarded_header`.

    Raises `ValueError` for what is no address and no network; `config.check` refuses it before.
    """

    def __init__(self, trusted_proxies: Iterable[str] = (), header: str = "X-Forwarded-For") -> None:
        self._trusted = tuple(network_of(text) for text in trusted_proxies)
        self.header = header
        self._entries: Callable[[str], Iterator[str]] = (
            _forwarded if header.lower() == "forwarded" else _from_the_right
        )
        # The same few proxies, and clients with several requests.
        self._peer = lru_cache(_KNOWN_PEERS_MAX)(self._look_at)

    @property
    def trusts_any(self) -> bool:
        return bool(self._trusted)

    def of(self, peer: str, values: Callable[[], list[str]]) -> str:
        """The client's address in its usual form; `peer` as it is if that is none (a unix socket's).

        `values` are those of the header, in the order of the request; they are asked for only if `peer` is a
        trusted proxy.
        """
        address, is_trusted, text = self._peer(peer)
        if not is_trusted:
            return text
        # A proxy may add its entry to the list or as a header of its own behind it.
        for entry in self._entries(",".join(values())[-_LIST_CHARS_MAX:]):
            found = parse_address(entry)
            if found is None:
                break
            address = found
            if not self._trusts(found):
                break
        return str(address)

    def of_request(self, request: "web.BaseRequest") -> str:
        return self.of(request.remote or "", lambda: request.headers.getall(self.header, []))

    def _look_at(self, peer: str) -> tuple[Address | None, bool, str]:
        address = parse_address(peer)
        if address is None:
            return None, False, peer
        return address, self._trusts(address), str(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def network_of(text: str) -> Network:
    """An address or a network ("10.0.0.0/8"). Raises `ValueError`."""
    network = ip_network(text.strip(), strict=False)
    if isinstance(network, IPv6Network) and (mapped := network.network_address.ipv4_mapped) is not None:
        return ip_network((mapped, max(0, network.prefixlen - 96)), strict=False)
    return network


def parse_address(text: str) -> Address | None:
    """The address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, each perhaps in quotes;
    None for anything else. An IPv4 address in IPv6's clothes is an IPv4 address; a zone is left out."""
    text = text.strip(" \t")
    if len(text) > _NODE_CHARS_MAX:
        return None
    if text[:1] == text[-1:] == '"':
        text = text[1:-1]
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or (port and not _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(":" + port):
            return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


@lru_cache(_KNOWN_PEERS_MAX)
def network_key(address: str) -> str:
    """What a limit counts together: an IPv4 address, or an IPv6 network of 64 bits, which is what one
    customer of a provider has at the least."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return address if parsed is None else str(parsed)


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and (text[1:].isdigit() or text[1:].startswith("_"))


def _from_the_right(text: str) -> Iterator[str]:
    """The entries between commas, the last one first. A comma in quotes does not count; quotes are matched
    from the right, too, so what a client left open does not swallow what a proxy appended."""
    end = len(text)
    in_quotes = False
    for at in range(end - 1, -1, -1):
        if text[at] == '"':
            in_quotes = not in_quotes
        elif text[at] == "," and not in_quotes:
            yield text[at + 1 : end]
            end = at
    yield text[:end]


def _forwarded(text: str) -> Iterator[str]:
    """The `for` of each element of a Forwarded header (RFC 7239), the last one first."""
    for element in _from_the_right(text):
        found = _FOR.search(element)
        yield found[1] if found else ""
