"""When a batch is due, by the age of its oldest row."""

from types import SimpleNamespace
from typing import Any

from nealytics.commit.gather import Gathering
from nealytics.config import CommitConfig
from nealytics.wal import CursorState, Range

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
