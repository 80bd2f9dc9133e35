"""The receipt: which backups still have the events, and until when."""

from pathlib import Path

import msgspec

from nealytics.backup.register import NAME, Recorded, record
from nealytics.erasure.jobs import Job
from nealytics.erasure.requests import receipt
from tests.erasure.erasures import erasure


def test_backups_that_began_before_the_rows_were_gone_are_listed(tmp_path: Path):
    record(tmp_path, Recorded(id="a", target="/backup/a", began_ms=1_000, keep_until_ms=86_400_000))
    record(tmp_path, Recorded(id="b", target="s3://b", began_ms=2_000))
    record(tmp_path, Recorded(id="c", target="/backup/c", began_ms=3_001))
    job = Job(erasure=erasure(), state="done", removed_at_ms=3_000)
    found = receipt(tmp_path, job, 9_000).backups
    assert [msgspec.to_builtins(one) for one in found] == [
        {"id": "a", "target": "/backup/a", "keepUntil": "1970-01-02T00:00:00Z"},
        {"id": "b", "target": "s3://b"},
    ]
    waiting = msgspec.structs.replace(job, state="pending", removed_at_ms=None)
    assert [one.id for one in receipt(tmp_path, waiting, 9_000).backups] == ["a", "b", "c"]


def test_a_register_that_cannot_be_read_is_a_problem_and_no_empty_list(tmp_path: Path):
    (tmp_path / NAME).write_text("{")
    shown = receipt(tmp_path, Job(erasure=erasure()), 9_000)
    assert shown.problem is not None
    assert NAME in shown.problem
