"""Which segments may be deleted, without a disk."""

import pytest

from nealytics.config import WalConfig
from nealytics.wal.retention import committed, expired, note_committed
from tests.wal.segments import segment

HOUR_MS = 3_600_000
PLENTY = 1 << 60  # free bytes


def test_a_segment_is_committed_once_its_last_row_is():
    segments = [segment(1, 100), segment(11, 100), segment(21, 100)]
    assert committed(segments, 9) == []
    assert committed(segments, 10) == segments[:1]
    assert committed(segments, 19) == segments[:1]
    assert committed(segments, 20) == segments[:2]


def test_the_last_segment_is_never_deleted():
    segments = [segment(1, 100), segment(11, 100)]
    assert committed(segments, 1_000) == segments[:1]
    assert committed(segments[1:], 1_000) == []


def test_keep_hours_counts_from_the_commit():
    config = WalConfig(keep_hours=1, keep_bytes=1_000)
    old, new = segment(1, 100, committed_ms=0), segment(11, 100, committed_ms=1)
    assert expired([old, new], HOUR_MS - 1, config, PLENTY) == []
    assert expired([old, new], HOUR_MS, config, PLENTY) == [old]
    assert expired([old, new], HOUR_MS + 1, config, PLENTY) == [old, new]


def test_beyond_keep_bytes_the_oldest_go_first_whatever_their_age():
    config = WalConfig(keep_hours=1, keep_bytes=250)
    segments = [segment(1 + 10 * i, 100, committed_ms=0) for i in range(4)]
    assert expired(segments, 1, config, PLENTY) == segments[:2]


def test_a_younger_segment_protects_those_after_it():
    """Only the oldest may go: a hole among the segments would look like damage."""
    config = WalConfig(keep_hours=1, keep_bytes=1_000)
    segments = [segment(1, 100, committed_ms=5 * HOUR_MS), segment(11, 100, committed_ms=0)]
    assert expired(segments, 5 * HOUR_MS, config, PLENTY) == []


def test_a_segment_keeps_the_time_of_its_first_commit():
    old, new = segment(1, 100, committed_ms=5), segment(11, 100)
    note_committed([old, new], 9)
    assert (old.committed_ms, new.committed_ms) == (5, 9)


@pytest.mark.parametrize("keep_bytes", [0, 1_000])
def test_a_segment_without_a_time_of_commit_is_kept_while_there_is_room(keep_bytes: int):
    config = WalConfig(keep_hours=0, keep_bytes=keep_bytes)
    kept = segment(1, 100)
    assert expired([kept], HOUR_MS, config, PLENTY) == ([] if keep_bytes else [kept])


def test_kept_segments_use_an_eighth_of_the_free_disk_space():
    config = WalConfig(keep_hours=1, keep_bytes=1_000)
    segments = [segment(1 + 10 * i, 100, committed_ms=0) for i in range(4)]
    assert expired(segments, 1, config, 8 * 400 - 400) == []
    assert expired(segments, 1, config, 8 * 250 - 400) == segments[:2]
