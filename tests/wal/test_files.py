import errno
import os
import stat
from pathlib import Path

import pytest

from nealytics.errors import LogBroken, LogFull
from nealytics.wal.files import OS_FILES, filesystem_of, is_temporary, make_directory, publish
from tests.fakes.faulty_files import FaultyFiles

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /tmp rw - tmpfs tmpfs rw
31 22 0:27 / /mnt/with\\040space rw - nfs4 server:/x rw
32 30 254:0 /x /tmp/disk rw - xfs /dev/vdb rw
33 22 0:30 / /var rw - tmpfs tmpfs rw
34 22 0:31 / /var rw - btrfs /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "filesystem"),
    [
        ("/srv/wal", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/wal", "tmpfs"),
        ("/tmp/disk/wal", "xfs"),
        ("/tmpfoo", "ext4"),
        ("/mnt/with space/wal", "nfs4"),
        ("/var/wal", "btrfs"),
    ],
)
def test_file_system_is_that_of_the_innermost_and_latest_mount(path: str, filesystem: str):
    assert filesystem_of(Path(path), MOUNTS) == filesystem


def test_published_file_is_synced_before_it_gets_its_name_and_the_name_is_synced_after(tmp_path: Path):
    files = FaultyFiles()
    publish(files, tmp_path / "x", b"data").close()
    assert [call for call, _ in files.calls] == ["create", "append", "sync", "rename", "sync_directory"]
    assert (tmp_path / "x").read_bytes() == b"data"
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600


@pytest.mark.parametrize("operation", ["create", "append", "rename"])
def test_without_room_publish_leaves_the_old_file_and_no_rubbish(tmp_path: Path, operation: str):
    (tmp_path / "x").write_bytes(b"old")
    files = FaultyFiles()
    files.fail(operation, errno.ENOSPC)
    with pytest.raises(LogFull, match="free some disk space"):
        publish(files, tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_short_write_is_no_success(tmp_path: Path):
    with pytest.raises(LogFull, match="only 3 of 5 bytes"):
        publish(FaultyFiles(room=3), tmp_path / "x", b"12345")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("operation", ["sync", "sync_directory"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_failed_sync_breaks_whatever_its_error_is_and_is_not_tried_again(
    tmp_path: Path, operation: str, error: int
):
    files = FaultyFiles()
    files.fail(operation, error)
    with pytest.raises(LogBroken):
        publish(files, tmp_path / "x", b"data")
    assert files.count(operation) == 1


def test_out_of_descriptors_is_not_broken(tmp_path: Path):
    files = FaultyFiles()
    files.fail("create", errno.EMFILE)
    with pytest.raises(LogFull, match="ulimit"):
        publish(files, tmp_path / "x", b"data")


def test_new_directories_are_private_and_their_names_durable(tmp_path: Path):
    files = FaultyFiles()
    make_directory(files, tmp_path / "a" / "b")
    assert files.calls == [
        ("mkdir", "a"),
        ("sync_directory", tmp_path.name),
        ("mkdir", "b"),
        ("sync_directory", "a"),
    ]
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_lock_is_exclusive_until_it_is_closed(tmp_path: Path):
    lock = OS_FILES.try_lock(tmp_path / "LOCK")
    assert lock is not None
    assert OS_FILES.try_lock(tmp_path / "LOCK") is None
    lock.close()
    again = OS_FILES.try_lock(tmp_path / "LOCK")
    assert again is not None
    again.close()


def test_leftovers_are_known_by_their_name():
    assert is_temporary("cursor.tmp")
    assert not is_temporary("cursor")
