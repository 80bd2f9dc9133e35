"""Whether bytes fit into the log, and what makes room, without a disk or a clock."""

import pytest

from nealytics.config import WalConfig
from nealytics.wal.cursor import CursorState
from nealytics.wal.reserve import RESERVE_BYTES
from nealytics.wal.space import BeginSegment, Delete, Refuse, Space, Write
from nealytics.wal.state import LogState
from tests.wal.segments import segment, state


class Machine:
    """The clock and the disk of one `Space`."""

    def __init__(self, log: LogState, *, bytes_max: int = 10_000, free: int = 1 << 40, free_min: int = 0):
        self.now = 100.0
        self.free = free
        self.measured = 0
        self.space = Space(
            log,
            WalConfig(free_bytes_min=free_min),
            bytes_max=bytes_max,
            free_bytes=self.measure,
            clock=lambda: self.now,
        )

    def measure(self) -> int:
        self.measured += 1
        return self.free


def test_bytes_max_is_the_last_byte_that_fits():
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    space = Machine(log, bytes_max=3_000).space
    assert space.next_step(2_000) == Write()
    refused = space.next_step(2_001)
    assert isinstance(refused, Refuse)
    assert "has 1000 of at most 3000 bytes, and 10 rows are queued for ClickHouse" in refused.reason


def test_committed_segments_go_before_anything_is_refused():
    old, active = segment(1, 1_000), segment(11, 1_000)
    log = state(old, active, durable_lsn=15, cursor_lsn=10)
    space = Machine(log, bytes_max=3_000).space
    assert space.next_step(1_000) == Write()
    assert space.next_step(1_001) == Delete([old])
    log.forget([old])
    assert space.next_step(1_001) == Write()


def test_uncommitted_rows_are_never_given_up():
    log = state(segment(1, 1_000), segment(11, 1_000), durable_lsn=15, cursor_lsn=9)
    assert isinstance(Machine(log, bytes_max=2_000).space.next_step(1), Refuse)


def test_an_active_segment_that_is_committed_is_replaced_and_then_deleted():
    active = segment(1, 1_000)
    log = state(active, durable_lsn=10, cursor_lsn=10)
    space = Machine(log, bytes_max=1_500).space
    assert space.next_step(1_000) == BeginSegment()
    log.began(segment(11, 80))
    assert space.next_step(1_000) == Delete([active])
    log.forget([active])
    assert space.next_step(1_000) == Write()


def test_an_active_segment_without_rows_is_not_replaced():
    """Otherwise a group larger than the log would begin segments for ever."""
    log = state(segment(1, 80), durable_lsn=0, cursor_lsn=0)
    assert isinstance(Machine(log, bytes_max=500).space.next_step(1_000), Refuse)


def test_an_append_leaves_room_for_the_copy_that_a_start_makes_and_for_the_cursor():
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    just_enough = (1_000 + 50 + RESERVE_BYTES) + 50
    assert Machine(log, free=just_enough).space.next_step(50) == Write()
    refused = Machine(log, free=just_enough - 1).space.next_step(50)
    assert isinstance(refused, Refuse)
    assert f"a restart needs {1_050 + RESERVE_BYTES}" in refused.reason


def test_free_bytes_min_holds():
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    assert Machine(log, free=5_000_050, free_min=5_000_000).space.next_step(50) == Write()
    assert isinstance(Machine(log, free=5_000_049, free_min=5_000_000).space.next_step(50), Refuse)


def test_the_disk_is_measured_once_a_second_and_what_is_written_meanwhile_is_subtracted():
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    machine = Machine(log, free=5_000_100, free_min=5_000_000)
    assert machine.space.next_step(60) == Write()
    assert isinstance(machine.space.next_step(60), Refuse)
    machine.now += 0.9
    assert isinstance(machine.space.next_step(60), Refuse)
    assert machine.measured == 1
    machine.now += 0.1
    assert machine.space.next_step(60) == Write()
    assert machine.measured == 2


def test_the_disk_is_measured_again_after_a_deletion():
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    machine = Machine(log, free=5_000_000, free_min=5_000_000)
    assert isinstance(machine.space.next_step(1), Refuse)
    machine.free += 1
    machine.space.deleted()
    assert machine.space.next_step(1) == Write()


def test_full_asks_about_the_last_refused_append_and_counts_what_could_be_deleted():
    old, active = segment(1, 1_000), segment(11, 1_000)
    log = state(old, active, durable_lsn=15, cursor_lsn=0)
    space = Machine(log, bytes_max=8_000).space
    assert not space.full
    space.refused(7_000)
    assert space.full
    assert not space.disk_full
    log.cursor = CursorState(11)
    assert not space.full, "the first segment can be deleted"
    space.written()
    assert not space.full


def test_a_log_too_small_for_a_small_append_is_full_before_anything_was_refused():
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    assert Machine(log, bytes_max=5_000).space.full


@pytest.mark.parametrize("free", [0, 1 << 40])
def test_after_a_failed_write_the_disk_counts_as_full_for_a_second(free: int):
    log = state(segment(1, 1_000), durable_lsn=10, cursor_lsn=0)
    machine = Machine(log, free=free)
    machine.space.disk_was_full()
    assert machine.space.full
    assert machine.space.disk_full
    machine.now += 1.0
    assert machine.space.full == (free == 0)
