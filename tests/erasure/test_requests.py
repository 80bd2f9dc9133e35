"""The receipt: which backups still have the events, and until when."""

from pathlib import Path

import msgspec
import pytest

from nealytics.backup.register import NAME, Recorded, record
from nealytics.erasure.jobs import Job, oldest_received_ms
from nealytics.erasure.requests import receipt
from nealytics.timestamps import DAY_MS
from tests.erasure.erasures import erasure


def test_backups_that_began_before_the_rows_were_gone_are_listed(tmp_path: Path):
    record(tmp_path, Recorded(id="a", target="/backup/a", began_ms=1_000, keep_until_ms=86_400_000))
    record(tmp_path, Recorded(id="b", target="s3://b", began_ms=2_000))
    record(tmp_path, Recorded(id="c", target="/backup/c", began_ms=3_001))
    # Complete before the first event was received.
    record(tmp_path, Recorded(id="0", target="/backup/0", began_ms=800, ended_ms=900))
    job = Job(erasure=erasure(), state="done", oldest_received_ms=950, erased_at_ms=3_000)
    found = receipt(tmp_path, job, 9_000).backups
    assert [msgspec.to_builtins(one) for one in found] == [
        {"id": "a", "target": "/backup/a", "keepUntil": "1970-01-02T00:00:00Z"},
        {"id": "b", "target": "s3://b"},
    ]
    waiting = msgspec.structs.replace(job, state="pending", erased_at_ms=None)
    assert [one.id for one in receipt(tmp_path, waiting, 9_000).backups] == ["a", "b", "c"]
    unknown = msgspec.structs.replace(waiting, oldest_received_ms=None)
    assert [one.id for one in receipt(tmp_path, unknown, 9_000).backups] == ["0", "a", "b", "c"]


def test_a_stream_is_known_by_its_label(tmp_path: Path):
    record(tmp_path, Recorded(id="a", target="standard output", began_ms=1_000, label="tape 7"))
    (found,) = receipt(tmp_path, Job(erasure=erasure()), 9_000).backups
    assert msgspec.to_builtins(found) == {"id": "a", "target": "standard output", "label": "tape 7"}


@pytest.mark.parametrize(
    ("in_table_ms", "first_day", "expected"),
    [
        (5 * DAY_MS + 7, 5, 5 * DAY_MS + 7),
        # Events of that day expired since: a backup may have them.
        (5 * DAY_MS + 7, 3, 3 * DAY_MS),
        (None, 3, 3 * DAY_MS),
        # A table that is older than the counts.
        (5 * DAY_MS + 7, 6, 5 * DAY_MS + 7),
        (5 * DAY_MS + 7, None, 5 * DAY_MS + 7),
        (None, None, 9 * DAY_MS),
    ],
)
def test_no_event_was_received_before_the_first_day_of_the_tenant(
    in_table_ms: int | None, first_day: int | None, expected: int
):
    assert oldest_received_ms(in_table_ms, first_day, 9 * DAY_MS) == expected


def test_a_register_that_cannot_be_read_is_a_problem_and_no_empty_list(tmp_path: Path):
    (tmp_path / NAME).write_text("{")
    shown = receipt(tmp_path, Job(erasure=erasure()), 9_000)
    assert shown.problem is not None
    assert NAME in shown.problem
