"""`rps`: what a token may ask in a second, of all workers together."""

import pytest

from nealytics.auth.scope import Scope
from nealytics.auth.token_rate import TokenRate
from nealytics.errors import Refused
from nealytics.shared import TOKEN_SLOTS, NodeMemory


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def node(clock: Clock, workers: int = 1) -> list[TokenRate]:
    first = NodeMemory.create(workers, 1)
    memories = [first, *(NodeMemory.attach(first.fd, workers, worker) for worker in range(1, workers))]
    return [TokenRate(memory, clock) for memory in memories]


def token(rps: float | None, key: str = "ada") -> Scope:
    return Scope("my-app", "tenant-1", rps=rps, key=key)


def taken(rate: TokenRate, scope: Scope, tries: int) -> int:
    """How many of so many requests are let through."""
    passed = 0
    for _ in range(tries):
        try:
            rate.take(scope)
        except Refused:
            continue
        passed += 1
    return passed


def test_a_token_without_rps_is_not_bounded(clock):
    (rate,) = node(clock)
    assert taken(rate, token(None), 1_000) == 1_000


@pytest.mark.parametrize(("rps", "permits"), [(1, 1), (5, 5), (2.5, 2), (1.99, 1), (1_000_000, 2_000)])
def test_a_token_gets_its_requests_in_every_second_and_no_more(clock, rps, permits):
    (rate,) = node(clock)
    for _ in range(3):
        assert taken(rate, token(rps), 2_000) == permits
        clock.now += 1


def test_less_than_one_in_a_second_is_one_in_as_many_seconds_as_it_takes(clock):
    (rate,) = node(clock)
    clock.now = 1_000.0
    assert taken(rate, token(0.25), 10) == 1
    clock.now = 1_003.9
    assert taken(rate, token(0.25), 10) == 0
    clock.now = 1_004.0
    assert taken(rate, token(0.25), 10) == 1


def test_the_slowest_rate_is_once_in_an_hour(clock):
    (rate,) = node(clock)
    slowest = token(5e-324)
    assert taken(rate, slowest, 10) == 1
    clock.now += 3_600
    assert taken(rate, slowest, 10) == 1


def test_the_refusal_says_when_to_come_back(clock):
    (rate,) = node(clock)
    rate.take(token(1))
    with pytest.raises(Refused) as caught:
        rate.take(token(1))
    refused = caught.value
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert refused.headers == {
        "Retry-After": "1",
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "1",
    }
    clock.now = 1_000.0
    rate.take(token(0.1))
    clock.now = 1_003.25
    with pytest.raises(Refused) as caught:
        rate.take(token(0.1))
    assert caught.value.headers["Retry-After"] == "7"


def test_the_workers_of_a_node_count_together(clock):
    workers = node(clock, workers=4)
    assert sum(taken(rate, token(10), 5) for rate in workers) == 10
    assert sum(taken(rate, token(10), 5) for rate in workers) == 0
    clock.now += 1
    assert sum(taken(rate, token(10), 1) for rate in workers) == 4


def test_subjects_are_counted_apart(clock):
    (rate,) = node(clock)
    assert taken(rate, token(2, "ada"), 5) == 2
    assert taken(rate, token(2, "eve"), 5) == 2


def test_two_tokens_of_a_subject_count_together_each_up_to_its_own_rate(clock):
    (rate,) = node(clock)
    assert taken(rate, token(3), 10) == 3
    assert taken(rate, token(5), 10) == 2
    assert taken(rate, token(3), 10) == 0


def test_tokens_of_a_subject_with_longer_windows_do_not_end_those_of_others(clock):
    (rate,) = node(clock)
    clock.now = 1_000.0
    assert taken(rate, token(0.1), 5) == 1
    for _ in range(10):  # the last of these seconds ends when the ten do
        assert taken(rate, token(2), 5) == 2
        assert taken(rate, token(0.1), 5) == 0
        clock.now += 1


def test_a_thousand_subjects_in_one_second_all_get_their_own(clock):
    (rate,) = node(clock)
    scopes = [token(2, f"subject {i}") for i in range(1_000)]
    assert [taken(rate, scope, 3) for scope in scopes] == [2] * 1_000
    assert [taken(rate, scope, 3) for scope in scopes] == [0] * 1_000


def test_the_table_serves_new_subjects_for_ever(clock):
    (rate,) = node(clock)
    for second in range(20):
        scopes = [token(1, f"{second} {i}") for i in range(TOKEN_SLOTS // 4)]
        assert sum(taken(rate, scope, 2) for scope in scopes) == TOKEN_SLOTS // 4
        clock.now += 1


def test_more_subjects_than_there_is_room_for_are_served_and_forget_only_a_little(clock):
    (rate,) = node(clock)
    for i in range(3 * TOKEN_SLOTS):
        rate.take(token(1, f"subject {i}"))
    busy = token(5, "busy")
    assert taken(rate, busy, 20) == 5
    for i in range(TOKEN_SLOTS):
        rate.take(token(1, f"other {i}"))
    assert taken(rate, busy, 20) == 0
