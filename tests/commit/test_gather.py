"""When a batch is due, by the age of its oldest row, and where it is cut."""

import struct
from array import array
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nealytics.commit.gather import Gathering, _month_of, rows_within_partitions
from nealytics.config import CommitConfig
from nealytics.wal import CursorState, Range, Rows
from tests.fakes.rows import MONTH_MS, TIMESTAMP_MS

INTERVAL_S = 600


def gathering(log: Any, now_ms: int) -> Gathering:
    return Gathering(log, CommitConfig(flush_interval_s=INTERVAL_S), clock_ms=lambda: now_ms)


def a_log(cursor: CursorState, *, durable_lsn: int) -> Any:
    return SimpleNamespace(
        durable_lsn=durable_lsn, appended_lsn=durable_lsn, bytes_used=0, cursor=cursor, oldest_waiting_ms=0
    )


def test_the_age_counts_once_nothing_older_is_outstanding():
    """Whatever was asked while a batch was outstanding, when the log's oldest row was a row of that batch."""
    outstanding, acknowledged = CursorState(3, (Range(1, 2),)), CursorState(3, ())
    log = a_log(outstanding, durable_lsn=4)
    rows = gathering(log, now_ms=INTERVAL_S * 1000 + 1)
    assert not rows.is_due(outstanding)
    assert not rows.is_due(acknowledged)  # not stored: the log's oldest row may be an acknowledged one
    log.cursor = acknowledged
    assert rows.is_due(acknowledged)


def test_young_rows_are_gathered_after_a_batch_that_was_outstanding():
    outstanding, acknowledged = CursorState(3, (Range(1, 2),)), CursorState(3, ())
    log = a_log(outstanding, durable_lsn=4)
    rows = gathering(log, now_ms=1000)
    assert not rows.is_due(outstanding)
    log.cursor = acknowledged
    assert not rows.is_due(acknowledged)


MONTHS = [TIMESTAMP_MS + n * MONTH_MS for n in range(-3, 4)]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(MONTHS),
            st.integers(-(2**55), 2**55),
            st.integers(-5, 5).map(lambda ms: 1_696_118_400_000 + ms),  # around the first of October 2023
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_a_batch_is_cut_before_the_row_that_would_be_of_one_month_too_many(times: list[int], months_max: int):
    encoded = [b"x" * (n % 3) + struct.pack("<qq", ms, 0) for n, ms in enumerate(times)]
    rows = Rows(1, 1, array("I", map(len, encoded)), b"".join(encoded), 0)
    months = [_month_of(ms // 86_400_000) for ms in times]
    count = rows_within_partitions(rows, months_max)
    assert len(set(months[:count])) <= months_max
    assert count == len(times) or len(set(months[: count + 1])) > months_max
