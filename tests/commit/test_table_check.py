"""Whether a table can be the one that received a log's rows; e2e/test_recovery.py has the whole check."""

import msgspec
import pytest

from nealytics.clickhouse.table_state import TableState
from nealytics.commit.reconcile import Sample
from nealytics.commit.table_check import judge
from nealytics.wal.mark import Mark

TABLE = TableState("uuid-1", 1_000, ("old part on host",))
KNOWN = Mark("log-1", "uuid-1", "12-34", broken=("old part on host",))
FINE = Sample(1_000, 0)


def test_the_table_and_the_directory_that_the_log_knows_are_sound():
    assert judge(KNOWN, TABLE, "12-34", FINE) is None


def test_a_log_without_a_mark_is_sound_if_the_table_has_its_newest_rows():
    """So it is after an upgrade, and in a new log."""
    assert judge(None, TABLE, "12-34", FINE) is None
    assert judge(None, TABLE, "12-34", Sample(0, 0)) is None
    assert judge(None, TABLE, "12-34", Sample(10, 10)) is not None


@pytest.mark.parametrize(
    ("known", "table", "place", "newest", "words", "is_copy"),
    [
        (KNOWN, TABLE, "56-78", FINE, "was copied", True),
        (KNOWN, TABLE._replace(identity="uuid-2"), "12-34", FINE, "not the one that received", False),
        (KNOWN, TABLE._replace(broken=("new part on host",)), "12-34", FINE, "new part on host", False),
        (KNOWN, TABLE, "12-34", Sample(1_000, 1), "1 of its newest 1000", False),
    ],
)
def test_each_sign_is_named(
    known: Mark, table: TableState, place: str, newest: Sample, words: str, is_copy: bool
):
    found = judge(known, table, place, newest)
    assert found is not None
    assert words in found.reason
    assert found.is_copy is is_copy


def test_a_broken_part_that_was_dropped_is_no_sign():
    assert judge(KNOWN, TABLE._replace(broken=()), "12-34", FINE) is None


def test_a_suspicion_stays_until_a_comparison_is_complete():
    """Meanwhile new rows reach the table, so its newest rows prove nothing."""
    suspected = msgspec.structs.replace(KNOWN, suspected="it was emptied")
    found = judge(suspected, TABLE, "12-34", FINE)
    assert found is not None
    assert (found.reason, found.is_copy) == ("it was emptied", False)
