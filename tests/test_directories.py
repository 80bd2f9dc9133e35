"""Whoever makes a directory first, no other user can look into it."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nealytics.cli import main
from nealytics.config import WalConfig
from nealytics.directories import make_durable, make_private
from nealytics.observe.metrics import Metrics
from nealytics.wal.log import Log
from tests.e2e.node import Node
from tests.engine import needs_engine, start_engine


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
