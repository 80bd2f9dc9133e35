"""Whoever makes a directory first, no other user can look into it."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nealytics.cli import main
from nealytics.config import WalConfig
from nealytics.directories import give_tree, make_durable, make_private, open_file, require_owner
from nealytics.errors import NealyticsError
from nealytics.observe.metrics import Metrics
from nealytics.wal.files import OS_FILES, publish
from nealytics.wal.log import Log
from tests.e2e.node import Node
from tests.engine import needs_engine, start_engine
from tests.other_user import NODE


@pytest.fixture(autouse=True)
def no_umask() -> Any:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    """Of the directories below `root`."""
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode)
        for path in root.rglob("*")
        if path.is_dir()
    }


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@needs_root
def test_what_root_makes_belongs_to_the_owner_of_its_directory(tmp_path: Path):
    os.chown(tmp_path, NODE, NODE)
    make_private(tmp_path / "a" / "b")
    for name in ("file", "file"):  # made, and opened again
        os.close(open_file(tmp_path / "a" / name, os.O_WRONLY | os.O_CREAT))
    OS_FILES.create(tmp_path / "a" / "created").close()
    lock = OS_FILES.try_lock(tmp_path / "a" / "LOCK")
    assert lock is not None
    lock.close()
    publish(OS_FILES, tmp_path / "a" / "b" / "published", b"x").close()
    made = sorted(tmp_path.rglob("*"))
    assert len(made) == 6
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(NODE, NODE)}


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_root_that_may_not_give_files_away_keeps_them(tmp_path: Path):
    """A node in a container without capabilities, whose volume belongs to another user."""
    os.chown(tmp_path, NODE, NODE)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from nealytics.directories import give_tree, make_private, open_file\n"
        "top = Path(sys.argv[1]); make_private(top / 'a')\n"
        "os.close(open_file(top / 'file', os.O_WRONLY | os.O_CREAT)); give_tree(top, top)\n"
    )
    command = [
        "setpriv",
        "--bounding-set=-chown",
        "--inh-caps=-chown",
        sys.executable,
        "-c",
        code,
        str(tmp_path),
    ]
    subprocess.run(command, check=True)
    assert {path.name: path.stat().st_uid for path in tmp_path.iterdir()} == {"a": 0, "file": 0}


@needs_root
def test_the_owner_of_a_directory_gets_no_file_of_root_by_a_link(tmp_path: Path):
    secret, theirs = tmp_path / "secret", tmp_path / "theirs"
    secret.write_text("root's")
    theirs.mkdir()
    (theirs / "symbolic").symlink_to(secret)
    (theirs / "hard").hardlink_to(secret)
    os.chown(theirs, NODE, NODE)
    with pytest.raises(OSError, match="symbolic links"):
        open_file(theirs / "symbolic", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.close(open_file(theirs / "hard", os.O_WRONLY | os.O_CREAT))
    assert (secret.stat().st_uid, secret.read_text()) == (0, "root's")


@needs_root
def test_a_tree_that_root_wrote_is_given_to_the_owner_of_the_data(tmp_path: Path):
    os.chown(tmp_path, NODE, NODE)
    (tmp_path / "engine" / "store").mkdir(parents=True)
    (tmp_path / "engine" / "store" / "part").write_text("")
    (tmp_path / "engine" / "link").symlink_to(tmp_path / "engine" / "store")
    (tmp_path / "other").write_text("")
    os.chown(tmp_path / "other", 1, 1)
    give_tree(tmp_path / "engine", tmp_path)
    assert {path.lstat().st_uid for path in (tmp_path / "engine").rglob("*")} == {NODE}
    assert (tmp_path / "other").stat().st_uid == 1


def test_a_command_of_another_user_names_owner_caller_and_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    require_owner("erase", tmp_path)
    require_owner("erase", tmp_path / "missing")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 4_000_001)
    message = r"erase: .* belongs to \S+, and this process runs as #\d+; .*: sudo -u '\S+' nealytics erase"
    with pytest.raises(NealyticsError, match=message):
        require_owner("erase", tmp_path)


@needs_root
def test_root_may_do_all_but_what_the_engine_of_the_node_writes(tmp_path: Path):
    os.chown(tmp_path, NODE, NODE)
    require_owner("erase", tmp_path)
    with pytest.raises(NealyticsError, match="this process runs as root"):
        require_owner("backup", tmp_path, root=False)
    config = tmp_path / "nealytics.toml"
    config.write_text(f'[server]\ndata_dir = "{tmp_path}"\n[clickhouse]\nurl = "embedded"\n')
    result = CliRunner().invoke(main, ["backup", str(tmp_path / "b"), "--config", str(config)])
    assert "runs as root" in result.output


def test_every_parent_that_is_made_is_private_and_what_is_there_is_left_alone(tmp_path: Path):
    (tmp_path / "shared").mkdir(mode=0o755)
    make_private(tmp_path / "shared" / "a" / "b")
    assert modes(tmp_path) == {"shared": 0o755, "shared/a": 0o700, "shared/a/b": 0o700}
    make_private(tmp_path / "shared" / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_private(tmp_path / "file")


def test_every_name_of_a_durable_directory_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    make_durable(tmp_path / "a" / "b")
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "a")]
    assert modes(tmp_path) == {"a": 0o700, "a/b": 0o700}
    make_durable(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_data_made_by_the_doctor_is_private(tmp_path: Path):
    assert "has mode" not in doctor_on(tmp_path)
    assert modes(tmp_path) == {"deep": 0o700, "deep/data": 0o700, "deep/data/wal": 0o700}


def doctor_on(tmp_path: Path) -> str:
    config = tmp_path / "nealytics.toml"
    config.write_text(
        f'[server]\ndata_dir = "{tmp_path}/deep/data"\n[clickhouse]\nurl = "http://127.0.0.1:1"\n'
        '[auth]\napi_keys = [{key = "k"}]\njwt_key = "a-key-of-the-test-that-has-more-than-32-bytes"\n'
    )
    return CliRunner().invoke(main, ["doctor", "--config", str(config)]).output


def test_the_doctor_says_that_others_can_enter(tmp_path: Path):
    (tmp_path / "deep" / "data").mkdir(parents=True)
    (tmp_path / "deep" / "data").chmod(0o755)
    output = " ".join(doctor_on(tmp_path).split())
    assert f"{tmp_path}/deep/data has mode 0755, so every user can enter it; run chmod 700" in output


def test_the_directory_made_by_init_is_private(tmp_path: Path):
    done = CliRunner().invoke(main, ["init", "--config", str(tmp_path / "etc" / "nealytics.toml")])
    assert done.exit_code == 0, done.output
    assert modes(tmp_path) == {"etc": 0o700}


async def test_data_made_by_a_log_is_private(tmp_path: Path):
    config = WalConfig(allow_any_filesystem=True, free_bytes_min=0)
    log = await Log.open(tmp_path / "data" / "wal" / "0", config, metrics=Metrics.private())
    await log.close()
    assert modes(tmp_path) == {"data": 0o700, "data/wal": 0o700, "data/wal/0": 0o700}


@needs_engine
@pytest.mark.engine
def test_data_made_by_the_engine_is_private(tmp_path: Path):
    engine = start_engine(tmp_path)
    (tmp_path / "data").rmdir()
    with engine:
        found = modes(tmp_path)
        assert {name: found[name] for name in ("data", "data/clickhouse")} == dict.fromkeys(
            ("data", "data/clickhouse"), 0o700
        )


@needs_engine
@pytest.mark.engine
@pytest.mark.e2e
def test_data_made_by_serve_is_private(tmp_path: Path):
    data = tmp_path / "a" / "data"
    with Node(tmp_path, settings=f'server.data_dir = "{data}"') as node:
        node.wait_ready()
        found = modes(tmp_path)
        ours = ("a", "a/data", "a/data/wal", "a/data/wal/0", "a/data/clickhouse")
        assert {name: found[name] for name in ours} == dict.fromkeys(ours, 0o700)
