"""The bookkeeping of a log, without a log."""

import pytest

from nealytics.errors import LogBroken
from nealytics.wal.cursor import CursorState, Range
from tests.wal.segments import segment, state


def test_waiting_counts_what_is_durable_and_not_committed():
    log = state(segment(1, 100), durable_lsn=20, cursor_lsn=0)
    assert log.waiting == 20
    log.cursor = CursorState(13, (Range(3, 5), Range(8, 8)))
    assert (log.cursor_lsn, log.waiting) == (2, 8 + 3 + 1)


def test_a_new_segment_and_a_deletion_keep_the_size_right():
    first, second = segment(1, 100), segment(11, 80)
    log = state(first, durable_lsn=10, cursor_lsn=10)
    first.bytes = 140
    log.began(first)
    assert (log.active, log.bytes_used) == (first, 140)
    log.began(second)
    assert (log.active, log.bytes_used) == (second, 220)
    log.forget([first])
    assert (log.deleted_lsn, log.bytes_used) == (10, 80)


def test_only_the_oldest_segments_can_be_forgotten():
    first, second, active = segment(1, 100), segment(11, 100), segment(21, 100)
    log = state(first, second, active, durable_lsn=25, cursor_lsn=20)
    with pytest.raises(AssertionError):
        log.forget([second])


def test_forgetting_a_row_that_is_not_committed_is_a_mistake():
    first, active = segment(1, 100), segment(11, 100)
    with pytest.raises(AssertionError):
        state(first, active, durable_lsn=15, cursor_lsn=9).forget([first])


def test_the_active_segment_is_committed_with_its_last_row():
    log = state(segment(1, 100), segment(11, 70), durable_lsn=12, cursor_lsn=11)
    assert not log.is_active_committed
    assert log.reclaimable_bytes == 100
    log.cursor = CursorState(13)
    assert log.is_active_committed
    assert log.reclaimable_bytes == 170


def test_an_active_segment_without_rows_is_not_committed():
    assert not state(segment(1, 100), segment(11, 70), durable_lsn=10, cursor_lsn=10).is_active_committed


@pytest.mark.parametrize(
    ("cursor", "problem"),
    [
        (CursorState(5), "cursor 4..5 does not lie between 5 and 10"),
        (CursorState(12), "cursor 11..12 does not lie between 5 and 10"),
        (CursorState(8, (Range(4, 5),)), "does not lie between"),
        (CursorState(8, (Range(7, 6),)), "impossible cursor"),
    ],
)
def test_a_cursor_neither_goes_back_nor_beyond_the_durable_rows(cursor: CursorState, problem: str):
    with pytest.raises(ValueError, match=problem):
        state(segment(1, 100), durable_lsn=10, cursor_lsn=5).check_cursor(cursor)


def test_a_broken_log_says_why_and_a_closed_one_that_it_is_closed():
    log = state(segment(1, 100), durable_lsn=10, cursor_lsn=5)
    assert log.refusal() is None
    log.closed = True
    assert str(log.refusal()) == "wal: wal is closed"
    log.broken = LogBroken("wal: fdatasync failed")
    assert str(log.refusal()) == "wal: fdatasync failed"
    assert log.refusal() is not log.broken, "each caller gets an error of its own"
