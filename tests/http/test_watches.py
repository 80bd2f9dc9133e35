"""Which clients are too slow, without a clock or a socket."""

import pytest

from nealytics.http.watches import HeadWatch, UnreadWatch, framing_problem


def test_a_client_that_connects_and_sends_nothing_is_late_and_was_not_heard():
    head = HeadWatch()
    head.connected(10.0)
    assert not head.is_late(10.0)
    assert head.is_late(10.1)
    assert not head.is_heard


def test_a_late_head_is_reported_once():
    head = HeadWatch()
    head.connected(10.0)
    assert head.is_late(11.0)
    assert not head.is_late(99.0)


def test_the_time_of_a_head_runs_from_its_first_byte():
    head = HeadWatch()
    head.connected(10.0)
    head.completed(11.0)
    head.received(20.0)
    head.received(24.0)
    assert head.is_heard
    assert not head.is_late(20.0)
    assert head.completed(25.0) == 5.0
    assert not head.is_heard


def test_the_first_head_includes_the_time_from_the_connection_on():
    head = HeadWatch()
    head.connected(10.0)
    head.received(13.0)
    assert head.completed(14.0) == 4.0


def test_an_idle_connection_whose_parser_may_hold_bytes_is_late_until_it_was_probed():
    head = HeadWatch()
    head.connected(10.0)
    head.completed(11.0)
    head.idle(12.0)
    head.idle(13.0)
    assert head.is_late(12.5)
    assert head.is_unsure
    head.probed(has_begun=False)
    head.idle(14.0)
    assert not head.is_late(99.0), "nothing is awaited until a byte arrives"


def test_bytes_that_arrived_with_the_previous_request_count_as_heard():
    head = HeadWatch()
    head.completed(11.0)
    head.idle(12.0)
    assert head.is_late(13.0)
    head.probed(has_begun=True)
    assert head.is_heard


def test_new_bytes_show_that_the_previous_request_brought_none():
    head = HeadWatch()
    head.completed(11.0)
    head.idle(12.0)
    head.received(20.0)
    assert (head.is_unsure, head.is_heard) == (False, True)
    assert not head.is_late(19.0)
    assert head.is_late(21.0)


def test_a_client_that_reads_at_the_rate_is_not_too_slow_and_a_byte_less_is():
    for acknowledged, is_too_slow in ((1_000, False), (999, True)):
        unread = UnreadWatch()
        assert not unread.is_too_slow(10.0, 0, 100), "the first call begins to measure"
        assert unread.is_too_slow(20.0, acknowledged, 100) == is_too_slow


def test_a_client_that_reads_nothing_is_too_slow_at_any_rate():
    unread = UnreadWatch()
    assert not unread.is_too_slow(10.0, 500, 0)
    assert unread.is_too_slow(20.0, 500, 0)


def test_the_rate_is_measured_over_a_period_and_again_after_everything_was_sent():
    unread = UnreadWatch()
    assert unread.is_due(5.0)
    unread.is_too_slow(10.0, 0, 100)
    assert not unread.is_due(10.0)
    assert unread.is_due(10.1)
    unread.all_sent()
    assert not unread.is_too_slow(20.0, 0, 100), "a new period begins"


@pytest.mark.parametrize(("body_bytes", "framing"), [(0, 16_384), (1, 16_400), (1_000, 32_384)])
def test_the_framing_of_a_chunked_body_is_bounded(body_bytes: int, framing: int):
    assert framing_problem(body_bytes + framing, body_bytes) == ""
    assert "too long" in framing_problem(body_bytes + framing + 1, body_bytes)
