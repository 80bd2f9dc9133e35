"""The register of backups."""

import threading
from pathlib import Path

import pytest

from nealytics.backup.register import NAME, Recorded, record, recorded, remove
from nealytics.errors import NealyticsError


def entry(number: int, **more: object) -> Recorded:
    return Recorded(f"b{number}", f"/backup/{number}", number, **more)  # type: ignore[arg-type]


def test_backups_are_listed_by_age_until_they_are_removed(tmp_path: Path):
    assert recorded(tmp_path) == []
    second = entry(2, keep_until_ms=9, based_on="b1")
    record(tmp_path, second)
    record(tmp_path, entry(1))
    assert recorded(tmp_path) == [entry(1), second]
    assert remove(tmp_path, "b1")
    assert not remove(tmp_path, "b1")
    assert recorded(tmp_path) == [second]


def test_a_backup_that_is_recorded_again_replaces_its_entry(tmp_path: Path):
    record(tmp_path, entry(1))
    record(tmp_path, entry(1, keep_until_ms=5))
    assert recorded(tmp_path) == [entry(1, keep_until_ms=5)]


def test_commands_that_run_at_the_same_time_keep_each_others_entries(tmp_path: Path):
    threads = [threading.Thread(target=record, args=(tmp_path, entry(number))) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorded(tmp_path) == [entry(number) for number in range(20)]


def test_a_register_that_cannot_be_read_is_an_error_and_not_an_empty_list(tmp_path: Path):
    (tmp_path / NAME).write_text("[{]")
    with pytest.raises(NealyticsError, match=r"backups\.json cannot be read"):
        recorded(tmp_path)
    with pytest.raises(NealyticsError):
        record(tmp_path, entry(1))
    assert (tmp_path / NAME).read_text() == "[{]"
