"""Which address a request goes to, decided without a socket or a clock of its own."""

import pytest

from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.failover import COOL_DOWN_MAX_S, COOL_DOWN_S, Addresses


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def addresses_of(*urls: str) -> tuple[Addresses, Clock]:
    clock = Clock()
    return Addresses(urls, clock), clock


def test_the_first_address_is_preferred_and_unused_while_it_cools_down():
    addresses, clock = addresses_of("a", "b", "c")
    a, b, c = addresses.all
    assert addresses.best() is a
    addresses.failed(a)
    assert addresses.best() is b
    addresses.failed(b)
    assert addresses.best() is c
    clock.now = COOL_DOWN_S
    assert addresses.best() is a


def test_an_address_that_comes_and_goes_cools_down_for_longer_each_time():
    addresses, clock = addresses_of("a", "b")
    a, _ = addresses.all
    pauses = []
    for _ in range(8):
        addresses.failed(a)
        addresses.failed(a)  # a second request that was in flight
        pauses.append(a.until - clock.now)
        clock.now = a.until
        addresses.served(a)
    assert pauses == [10, 20, 40, 80, 160, COOL_DOWN_MAX_S, COOL_DOWN_MAX_S, COOL_DOWN_MAX_S]
    clock.now += 2 * COOL_DOWN_MAX_S
    addresses.failed(a)
    assert a.until - clock.now == COOL_DOWN_S, "it worked for long enough"


def test_while_all_are_down_they_alternate_and_the_first_that_serves_is_used():
    addresses, clock = addresses_of("a", "b")
    a, b = addresses.all
    order = []
    for _ in range(4):
        clock.now += 0.1
        order.append(addresses.best())
        addresses.failed(order[-1])
    assert order == [a, b, a, b]
    addresses.served(b)
    assert addresses.best() is b
    assert addresses.cooling() == [a]


def test_a_failure_returns_the_address_that_takes_over_and_only_once():
    """So a log line says it once, and not for each of many concurrent requests."""
    addresses, _ = addresses_of("a", "b")
    a, b = addresses.all
    assert addresses.failed(a) is b
    assert addresses.failed(a) is None
    assert addresses.failed(b) is None, "a has not recovered"


def test_a_single_address_has_no_successor():
    addresses, _ = addresses_of("a")
    (a,) = addresses.all
    assert addresses.failed(a) is None
    assert addresses.after(ClickHouseUnavailable("refused"), [a]) is None
    assert addresses.best() is a


def test_a_request_moves_to_each_address_once():
    addresses, _ = addresses_of("a", "b", "c")
    tried = [addresses.best()]
    error = ClickHouseUnavailable("refused")
    addresses.failed(tried[-1])
    while (following := addresses.after(error, tried)) is not None:
        tried.append(following)
        addresses.failed(following)
    assert tried == list(addresses.all)


def test_a_refusal_that_every_replica_would_repeat_moves_nothing():
    addresses, _ = addresses_of("a", "b")
    a, _ = addresses.all
    assert addresses.after(ClickHouseError(27, "cannot parse input"), [a]) is None


def test_reads_stay_where_reading_was_verified():
    addresses, _ = addresses_of("a", "b")
    a, b = addresses.all
    assert addresses.reading is a
    addresses.read_at(b)
    addresses.failed(b)
    assert addresses.reading is b, "only the fence moves reads"


def test_all_addresses_must_have_the_table_of_the_first_one_verified():
    addresses, _ = addresses_of("a", "b", "c")
    a, b, c = addresses.all
    assert addresses.verified(b, "/tables/events/1") is None
    assert addresses.verified(a, "/tables/events/1") is None
    assert addresses.verified(c, "/tables/events/2") is b
    assert [addresses.is_verified(address) for address in (a, b, c)] == [True, True, False]


def test_after_a_failure_an_address_is_verified_again():
    addresses, _ = addresses_of("a", "b")
    a, _ = addresses.all
    addresses.verified(a, "one")
    addresses.failed(a)
    assert not addresses.is_verified(a)


def test_when_the_first_has_a_new_table_the_others_are_verified_again():
    addresses, _ = addresses_of("a", "b")
    a, b = addresses.all
    addresses.verified(a, "old")
    addresses.verified(b, "old")
    assert addresses.verified(a, "new") is None
    assert (addresses.is_verified(a), addresses.is_verified(b)) == (True, False)
    assert addresses.verified(b, "old") is a


@pytest.mark.parametrize("identity", ["", "any"])
def test_a_single_address_needs_no_verification(identity: str):
    addresses, _ = addresses_of("a")
    addresses.all[0].identity = identity
    assert addresses.is_verified(addresses.all[0])
