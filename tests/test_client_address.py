"""Whose address counts, and that nobody can choose it."""

import time

import pytest

from nealytics.client_address import ClientAddresses, network_key, network_of, parse_address

TRUSTED = ("10.0.0.0/8", "192.0.2.7", "2001:db8:aaaa::/48")
CLIENT = "203.0.113.9"


def client(
    peer: str, *values: str, trusted: tuple[str, ...] = TRUSTED, header: str = "X-Forwarded-For"
) -> str:
    return ClientAddresses(trusted, header).of(peer, lambda: list(values))


@pytest.mark.parametrize(
    ("peer", "values", "address"),
    [
        # Nobody in between, or nobody who is trusted
        (CLIENT, [], CLIENT),
        (CLIENT, ["198.51.100.1"], CLIENT),
        (CLIENT, ["10.0.0.1"], CLIENT),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        # One proxy
        ("10.0.0.1", [CLIENT], CLIENT),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:10.0.0.1", [CLIENT], CLIENT),
        ("2001:db8:aaaa::1", ["2001:db8::5"], "2001:db8::5"),
        # Several
        ("10.0.0.1", [f"{CLIENT}, 10.0.0.2"], CLIENT),
        ("10.0.0.1", [f"{CLIENT}, 192.0.2.7,10.9.9.9"], CLIENT),
        ("10.0.0.1", [CLIENT, "10.0.0.2"], CLIENT),
        ("10.0.0.1", [f"{CLIENT}, 192.0.2.8, 10.0.0.2"], "192.0.2.8"),
        # Only proxies: the one furthest away
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # The client writes what it likes; the proxy appends the truth
        ("10.0.0.1", [f"198.51.100.1, {CLIENT}"], CLIENT),
        ("10.0.0.1", [f"10.0.0.5, 10.0.0.6, {CLIENT}"], CLIENT),
        ("10.0.0.1", ["198.51.100.1", CLIENT], CLIENT),
        ("10.0.0.1", [f"{'1.1.1.1,' * 1_000}{CLIENT}"], CLIENT),
        ("10.0.0.1", [f'"198.51.100.1, {CLIENT}'], CLIENT),
        # An entry that is none ends the walk
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [f"{CLIENT},"], "10.0.0.1"),
        ("10.0.0.1", ["x" * 10_000], "10.0.0.1"),
        # Ports, brackets, zones
        ("10.0.0.1", [f"{CLIENT}:51234"], CLIENT),
        ("10.0.0.1", ["[2001:db8::5]:51234"], "2001:db8::5"),
        ("10.0.0.1", ["2001:DB8:0::5"], "2001:db8::5"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", [f"::ffff:{CLIENT}"], CLIENT),
        # A peer that has no address
        ("", [CLIENT], ""),
    ],
)
def test_first_address_from_the_right_that_is_not_trusted_is_the_client(peer, values, address):
    assert client(peer, *values) == address


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ([f"for={CLIENT}"], CLIENT),
        ([f"For={CLIENT};proto=https;by=10.0.0.1"], CLIENT),
        ([f"proto=https; for={CLIENT}"], CLIENT),
        ([f'for="{CLIENT}:80"'], CLIENT),
        (['for="[2001:db8::5]:4711"'], "2001:db8::5"),
        ([f'for=198.51.100.1, for="{CLIENT}"'], CLIENT),
        ([f"for={CLIENT}, for=10.0.0.2"], CLIENT),
        ([f"for={CLIENT}", "for=10.0.0.2"], CLIENT),
        # What a client leaves open does not swallow what the proxy appends
        ([f'for="198.51.100.1, for={CLIENT}'], CLIENT),
        ([f'for=198.51.100.1;x="a\\", for={CLIENT}'], CLIENT),
        ([f'for="198.51.100.1;for=198.51.100.2, for={CLIENT}'], CLIENT),
        ([f"for={CLIENT}, for=unknown"], "10.0.0.1"),
        ([f"for={CLIENT}, for=_hidden"], "10.0.0.1"),
        ([f"for={CLIENT}, proto=https"], "10.0.0.1"),
        (["xfor=198.51.100.1"], "10.0.0.1"),
        ([CLIENT], "10.0.0.1"),
    ],
)
def test_forwarded_header_is_read_from_the_right_too(values, address):
    assert client("10.0.0.1", *values, header="Forwarded") == address


def test_without_trusted_proxies_the_header_is_not_even_read():
    def values() -> list[str]:
        raise AssertionError("it was read")

    assert ClientAddresses().of("10.0.0.1", values) == "10.0.0.1"
    assert ClientAddresses(TRUSTED).of(CLIENT, values) == CLIENT


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4:", "1.2.3.4:x", "[::1", "[::1]x", "::1]", "a:b", "²"],
)
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ("", ""),
    ],
)
def test_ipv6_addresses_of_one_network_count_together(address, key):
    assert network_key(address) == key


def test_network_may_be_an_address_or_have_host_bits():
    assert str(network_of("10.1.2.3/8")) == "10.0.0.0/8"
    assert str(network_of("192.0.2.7")) == "192.0.2.7/32"
    assert str(network_of("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    for text in ("", "x", "10.0.0.0/33", "example.com"):
        with pytest.raises(ValueError, match=r".*"):
            network_of(text)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
@pytest.mark.parametrize("value", ["for=" + " " * 16_000 + '!"', "10.0.0.1, for=10.0.0.1, " * 700])
def test_long_header_takes_no_time(header, value):
    """A proxy that passes on what clients write must not let them occupy a worker: this took 3 s."""
    began = time.thread_time()
    assert client("10.0.0.1", *[value] * 50, header=header) == "10.0.0.1"
    assert time.thread_time() - began < 0.5
