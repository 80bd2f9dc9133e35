import json
from pathlib import Path

import pytest

from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.dead_letter import DeadLetter, DeadLetterUnreadable, DeadRow
from nealytics.errors import LogBroken, LogFull
from nealytics.wal.files import OsFiles
from tests.fakes.rows import TIMESTAMP_MS, row

LOG_ID = "8f2c1b5e-0000-4000-8000-000000000000"
ERROR = ClickHouseError(33, "Cannot read all data. (CANNOT_READ_ALL_DATA)", status=400)


def dead(lsn: int, data: bytes | None = None) -> DeadRow:
    return DeadRow.of(LOG_ID, lsn, 1, row(lsn) if data is None else data, ERROR, TIMESTAMP_MS)


def test_a_row_comes_back_byte_for_byte(tmp_path: Path):
    letter = DeadLetter(tmp_path / "wal" / "dead-letter")
    letter.put(dead(7))
    assert letter.read(f"{LOG_ID}-7") == dead(7)
    assert letter.read(f"{LOG_ID}-7").row == row(7)


def test_the_file_can_be_read_by_people(tmp_path: Path):
    path = DeadLetter(tmp_path).put(dead(7))
    shown = json.loads(path.read_text())
    assert shown["code"] == 33
    assert shown["name"] == "CANNOT_READ_ALL_DATA"
    assert shown["putAsideAt"] == "2030-01-15T12:00:00.000+00:00"
    assert shown["event"]["event_id"] == "00000000-0000-0000-0000-000000000007"
    assert shown["event"]["timestamp"] == TIMESTAMP_MS


def test_bytes_that_are_no_row_are_kept_all_the_same(tmp_path: Path):
    letter = DeadLetter(tmp_path)
    letter.put(dead(7, b"\xff\xff"))
    assert letter.read(f"{LOG_ID}-7").row == b"\xff\xff"
    assert letter.read(f"{LOG_ID}-7").event is None


def test_only_the_owner_may_read(tmp_path: Path):
    path = DeadLetter(tmp_path / "dead-letter").put(dead(7))
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_ids_are_in_order_of_lsn_and_unfinished_files_are_none(tmp_path: Path):
    letter = DeadLetter(tmp_path)
    assert letter.ids() == []
    for lsn in (10, 9, 100):
        letter.put(dead(lsn))
    (tmp_path / f"{LOG_ID}-5.json.tmp").write_text("{")
    assert letter.ids() == [f"{LOG_ID}-{lsn}" for lsn in (9, 10, 100)]


def test_the_same_row_dead_lettered_twice_is_one_file(tmp_path: Path):
    letter = DeadLetter(tmp_path)
    letter.put(dead(7))
    letter.put(dead(7))
    assert len(letter.ids()) == 1


def test_another_row_of_the_same_number_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    letter = DeadLetter(tmp_path)
    before = letter.put(dead(7)).read_bytes()
    letter.put(dead(7, row(107)))
    assert letter.read(f"{LOG_ID}-7").row == row(107)
    assert letter.ids() == [f"{LOG_ID}-7"]
    (kept,) = (path for path in tmp_path.iterdir() if path.suffix != ".json")
    assert kept.read_bytes() == before
    assert str(kept) in caplog.text


def test_a_removed_row_is_gone(tmp_path: Path):
    letter = DeadLetter(tmp_path)
    letter.put(dead(7))
    letter.remove(f"{LOG_ID}-7")
    assert letter.ids() == []
    with pytest.raises(DeadLetterUnreadable, match="cannot open"):
        letter.read(f"{LOG_ID}-7")


@pytest.mark.parametrize("text", ["", "{}", '{"logId": 1}', "\xff"])
def test_an_edited_file_is_refused_by_name(tmp_path: Path, text: str):
    letter = DeadLetter(tmp_path)
    path = letter.put(dead(7))
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DeadLetterUnreadable, match=r"cannot read .*-7\.json"):
        letter.read(f"{LOG_ID}-7")


def test_a_renamed_file_is_refused_because_its_token_would_be_another_rows(tmp_path: Path):
    letter = DeadLetter(tmp_path)
    letter.put(dead(7)).rename(tmp_path / f"{LOG_ID}-8.json")
    with pytest.raises(DeadLetterUnreadable, match="contains row"):
        letter.read(f"{LOG_ID}-8")


@pytest.mark.parametrize("id", ["../../etc/passwd", "/etc/passwd", "a/b"])
def test_an_id_is_a_name_not_a_path(tmp_path: Path, id: str):
    with pytest.raises(DeadLetterUnreadable):
        DeadLetter(tmp_path).read(id)


class FailingFiles(OsFiles):
    """Fails where it is told to; notes what was synced."""

    def __init__(self, errno: int = 0) -> None:
        self.errno = errno
        self.calls: list[str] = []

    def create(self, path):
        if self.errno:
            raise OSError(self.errno, "scripted")
        self.calls.append(f"create {path.name}")
        return super().create(path)

    def rename(self, source, target):
        self.calls.append(f"rename {target.name}")
        super().rename(source, target)

    def sync_directory(self, path):
        self.calls.append(f"sync {path.name}")
        super().sync_directory(path)


def test_file_name_and_directory_are_durable_on_return(tmp_path: Path):
    files = FailingFiles()
    DeadLetter(tmp_path / "dead-letter", files=files).put(dead(7))
    assert files.calls == [
        f"sync {tmp_path.name}",
        f"create {LOG_ID}-7.json.tmp",
        f"rename {LOG_ID}-7.json",
        "sync dead-letter",
    ]


@pytest.mark.parametrize(("errno", "error"), [(28, LogFull), (5, LogBroken)])
def test_a_disk_that_fails_is_said_and_leaves_nothing(tmp_path: Path, errno: int, error: type[Exception]):
    letter = DeadLetter(tmp_path, files=FailingFiles(errno))
    with pytest.raises(error):
        letter.put(dead(7))
    assert letter.ids() == []
