"""What a log knows of its table, and of the directory that it is in."""

import shutil
from pathlib import Path

from nealytics.wal import Range, mark
from nealytics.wal.mark import Mark
from tests.wal.logs import opened

MARK = Mark("log-1", "uuid-1", "1-2", ("part on host",), (Range(3, 7),), "it was emptied")


def test_a_mark_is_read_as_it_was_stored(tmp_path: Path):
    mark.store(tmp_path, MARK)
    assert mark.load(tmp_path) == MARK


def test_a_mark_that_cannot_be_read_knows_nothing_and_says_why(tmp_path: Path):
    assert mark.load(tmp_path) is None
    path = tmp_path / mark.NAME
    path.write_bytes(b"{")
    broken = mark.load(tmp_path)
    path.unlink()
    path.mkdir()
    unreadable = mark.load(tmp_path)
    for found, why in ((broken, "truncated"), (unreadable, "directory")):
        assert found is not None
        assert (found.table, found.place, found.accepted) == ("", "", ())
        assert str(path) in found.suspected
        assert why in found.suspected


async def test_a_copied_directory_is_another_place_and_a_renamed_one_is_not(tmp_path: Path):
    original, copy, renamed = tmp_path / "0", tmp_path / "copy", tmp_path / "renamed"
    async with opened(original) as log:
        await log.append([b"a"], 1)
    place = mark.place_of(original)
    async with opened(original):
        assert mark.place_of(original) == place
    shutil.copytree(original, copy)
    assert mark.place_of(copy) != place
    original.rename(renamed)
    assert mark.place_of(renamed) == place
