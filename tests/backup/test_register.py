"""The register of backups."""

import threading
from pathlib import Path

import pytest

from nealytics.backup.register import NAME, Recorded, change, record, recorded, remove
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


def test_an_entry_is_changed_and_one_that_is_not_there_makes_no_file(tmp_path: Path):
    change(tmp_path, "b1", verified_ms=7)
    assert not (tmp_path / NAME).exists()
    record(tmp_path, entry(1))
    record(tmp_path, entry(2))
    change(tmp_path, "b1", verified_ms=7)
    assert recorded(tmp_path) == [entry(1, verified_ms=7), entry(2)]


@pytest.mark.parametrize(
    ("ended_ms", "oldest_ms", "gone_ms", "may"),
    [(20, 15, 30, True), (20, 21, 30, False), (20, 20, 30, True), (None, 21, 30, True), (20, 5, 9, False)],
)
def test_a_backup_may_have_what_was_stored_while_it_was_made(
    ended_ms: int | None, oldest_ms: int, gone_ms: int, may: bool
):
    assert entry(10, ended_ms=ended_ms).may_have(oldest_ms, gone_ms) == may


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
