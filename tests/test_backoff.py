import pytest

from nealytics.backoff import delay_s


def test_the_bound_doubles_up_to_the_maximum():
    assert [delay_s(failures, 0.5, 3, lambda: 1.0) for failures in range(1, 6)] == [0.5, 1, 2, 3, 3]


@pytest.mark.parametrize("failures", [31, 1_000, 10**9])
def test_it_stays_at_the_maximum_for_ever(failures: int):
    assert delay_s(failures, 0.5, 30, lambda: 0.5) == 15


def test_jitter_is_full_so_the_pause_may_be_nothing():
    assert delay_s(10, 0.5, 30, lambda: 0.0) == 0


def test_a_number_of_failures_below_one_counts_as_the_first():
    assert delay_s(0, 0.5, 30, lambda: 1.0) == 0.5


def test_the_maximum_may_be_below_the_first_bound():
    assert delay_s(1, 0.5, 0.02, lambda: 1.0) == 0.02


def test_pauses_differ_by_default():
    assert len({delay_s(5, 0.5, 30) for _ in range(20)}) > 10
