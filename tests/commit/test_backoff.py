import pytest

from nealytics.commit.backoff import BASE_MS, next_delay_ms


def test_the_bound_doubles_up_to_the_maximum():
    bounds = [next_delay_ms(attempt, 3_000, lambda: 1.0) for attempt in range(1, 6)]
    assert bounds == [BASE_MS, 2 * BASE_MS, 4 * BASE_MS, 3_000, 3_000]


@pytest.mark.parametrize("attempt", [31, 1_000, 10**9])
def test_it_stays_at_the_maximum_for_ever(attempt):
    assert next_delay_ms(attempt, 30_000, lambda: 0.5) == 15_000


def test_jitter_is_full_so_the_pause_may_be_nothing():
    assert next_delay_ms(10, 30_000, lambda: 0.0) == 0


def test_an_attempt_below_one_counts_as_the_first():
    assert next_delay_ms(0, 30_000, lambda: 1.0) == BASE_MS


def test_the_maximum_may_be_below_the_first_bound():
    assert next_delay_ms(1, 20, lambda: 1.0) == 20


def test_pauses_differ_without_being_told_to():
    assert len({next_delay_ms(5, 30_000) for _ in range(20)}) > 10
