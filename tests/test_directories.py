"""Whoever makes a directory first, no other user can look into it."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nealytics.cli import main
from nealytics.config import WalConfig
from nealytics.directories import act_as_owner, make_durable, make_private, refuse_root
from nealytics.errors import NealyticsError
from nealytics.observe.metrics import Metrics
from nealytics.wal.files import OS_FILES
from nealytics.wal.log import Log
from tests.e2e.node import Node
from tests.engine import needs_engine, start_engine
from tests.other_user import NODE, in_a_process, needs_root


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


@needs_root
def test_root_becomes_the_owner_of_the_directories_for_good(node_directory: Path):
    (node_directory / "wal").mkdir(mode=0o700)
    os.chown(node_directory / "wal", NODE, NODE)

    def work() -> None:
        act_as_owner("erase", node_directory, node_directory / "wal", node_directory / "missing")
        assert os.getresuid() == (NODE,) * 3
        assert 0 not in (*os.getresgid(), *os.getgroups())
        assert os.environ["HOME"] != "/root"
        with pytest.raises(PermissionError):
            os.setuid(0)
        make_private(node_directory / "a" / "b")
        OS_FILES.create(node_directory / "wal" / "created").close()

    assert in_a_process(work) == ""
    made = sorted(node_directory.rglob("*"))
    assert len(made) == 4
    assert {path.stat().st_uid for path in made} == {NODE}


@needs_root
def test_root_stays_root_if_the_directories_are_its_own_or_not_there(tmp_path: Path):
    act_as_owner("erase", tmp_path, tmp_path / "missing")
    act_as_owner("erase", tmp_path / "missing")
    refuse_root("engine", tmp_path)
    refuse_root("engine", tmp_path / "missing")
    assert os.getresuid() == (0, 0, 0)


@needs_root
def test_root_names_what_the_owner_cannot_use(node_directory: Path):
    (node_directory / "own").mkdir(mode=0o755)
    said = in_a_process(lambda: act_as_owner("erase", node_directory, node_directory / "own"))
    assert f"so root acts as that user, who cannot use {node_directory / 'own'}; run the command as" in said
    hidden = node_directory / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "program").touch()
    said = in_a_process(lambda: act_as_owner("erase", node_directory), [str(hidden / "program")])
    assert f"who cannot use {hidden / 'program'};" in said
    # As /var/lib/private of systemd.
    (hidden / "data").mkdir()
    os.chown(hidden / "data", NODE, NODE)
    (node_directory / "data").symlink_to(hidden / "data")
    said = in_a_process(lambda: act_as_owner("erase", node_directory / "data"))
    assert re.search(r"who cannot use \S+/data; run the command as \S+ sudo -u '\S+' nealytics", said)


@needs_root
def test_directories_of_two_users_are_refused_and_both_are_named(node_directory: Path):
    (node_directory / "wal").mkdir()
    os.chown(node_directory / "wal", 4_000_001, 0)
    with pytest.raises(
        NealyticsError, match=rf"{node_directory} belongs to \S+, .*/wal belongs to #4000001; give"
    ):
        act_as_owner("erase", node_directory, node_directory / "wal")


@needs_root
def test_without_a_name_the_owner_has_the_group_of_its_directory_and_never_that_of_root(node_directory: Path):
    for group, expected in ((4_000_002, 4_000_002), (0, 4_000_001)):
        os.chown(node_directory, 4_000_001, group)

        def work(expected: int = expected) -> None:
            act_as_owner("erase", node_directory)
            assert (os.getresgid(), os.getgroups()) == ((expected,) * 3, [])

        assert in_a_process(work) == ""


def test_a_command_of_another_user_names_owner_caller_and_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if os.geteuid() == 0:
        os.chown(tmp_path, NODE, NODE)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_001)
    message = r"erase: .* belongs to \S+, and this process runs as #4000001; .*: sudo -u '\S+' nealytics …"
    with pytest.raises(NealyticsError, match=message):
        act_as_owner("erase", tmp_path)


@needs_root
def test_a_volume_of_root_is_the_nodes_if_its_group_may_write_there(node_directory: Path):
    """As Kubernetes gives it to a pod with fsGroup."""
    os.chown(node_directory, 0, NODE)

    def work() -> None:
        os.setgroups([])
        os.setresgid(NODE, NODE, NODE)
        os.setresuid(NODE, NODE, NODE)
        act_as_owner("erase", node_directory)

    node_directory.chmod(0o2770)
    assert in_a_process(work) == ""
    node_directory.chmod(0o2750)
    assert "belongs to root, and this process runs as" in in_a_process(work)


@needs_root
def test_commands_of_root_write_as_the_node(node_directory: Path):
    """The configuration and the archive are such as only root may read."""
    config, archive, shut = (
        node_directory / "nealytics.toml",
        node_directory / "backup.tar",
        node_directory / "shut",
    )
    config.write_text(f'[server]\ndata_dir = "{node_directory}"\n[clickhouse]\nurl = "embedded"\n')
    archive.write_bytes(b"x")
    shut.mkdir(mode=0o700)
    for path in (config, archive):
        path.chmod(0o600)

    def of(*arguments: str) -> str:
        def work() -> None:
            result = CliRunner().invoke(main, [*arguments, "--config", str(config)])
            raise NealyticsError(f"{os.getresuid()[0]} {result.output} {result.exception}")

        return in_a_process(work)

    assert of("dead-letter", "drop", "--all").startswith(f"{NODE} 0 dropped")
    said = of("restore", str(archive))
    assert (said.startswith(f"{NODE} restore: {archive} is not a whole tar archive"), said) == (True, said)
    said = of("backup", str(shut / "b"))
    assert f"Permission denied: '{shut / 'b'}'; the user of the node needs the right" in said
    assert of("backups", "forget", "b").startswith(f"{NODE} backup: the register has no backup b")
    ours = {config, archive, shut}
    assert {path.lstat().st_uid for path in node_directory.rglob("*") if path not in ours} <= {NODE}


@needs_root
def test_a_salvaged_log_belongs_to_the_owner_of_its_directory_who_reads_the_old_one(node_directory: Path):
    shut = node_directory / "shut"
    shut.mkdir(mode=0o700)

    def work() -> None:
        arguments = ["wal", "salvage", str(shut), "--to", str(node_directory / "new" / "log")]
        raise NealyticsError(CliRunner().invoke(main, arguments).output)

    assert "must be able to read DIRECTORY, also if root runs the command" in in_a_process(work)
    assert list(node_directory.iterdir()) == [shut]


def test_a_lock_that_is_a_link_is_not_taken(tmp_path: Path):
    """Root takes the lock of a log that belongs to another user."""
    (tmp_path / "LOCK").symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic links"):
        OS_FILES.try_lock(tmp_path / "LOCK")
    assert not (tmp_path / "made").exists()


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


def test_the_doctor_makes_no_directory(tmp_path: Path):
    """One that root makes would not be the node's."""
    assert f"pass  disk           {tmp_path} (" in doctor_on(tmp_path)
    assert modes(tmp_path) == {}


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
