"""A data directory that belongs to another user: every command says whose it is, and none a traceback.

As root the rights to go past modes are given up first, in the command's own process; that is what another
user's process is like. The interpreter may lie where only root can read it, so it cannot be one outright.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nealytics.directories import why_unusable

_PR_CAPBSET_DROP = 24
_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH, _CAP_FOWNER = 0, 1, 2, 3
NOBODY = 65534


def _without_rights() -> None:
    """Between fork and exec: what root may after an exec is bounded by this set."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH, _CAP_FOWNER):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "wal" / "0").mkdir(parents=True)
    (data / "wal" / "dead-letter").mkdir()
    (data / "clickhouse").mkdir()
    path = tmp_path / "nealytics.toml"
    path.write_text(
        f'[server]\ndata_dir = "{data}"\nlisten = "127.0.0.1:0"\n[clickhouse]\nurl = "embedded"\n'
        f'[auth]\njwt_key = "{"x" * 40}"\napi_keys = [{{key = "{"k" * 40}"}}]\n'
    )
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
        data.chmod(0o700)
    else:
        data.chmod(0)
    return path


@pytest.fixture(autouse=True)
def _removable(tmp_path: Path):
    yield
    if (tmp_path / "data").exists():
        (tmp_path / "data").chmod(0o700)


def run(config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "nealytics", *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=_without_rights,
    )


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "doctor",
        "wal inspect",
        "wal verify",
        "wal inspect {data}/wal",
        "wal verify {data}/wal/0",
        "dead-letter list",
        "dead-letter retry",
        "export",
        "export {out}",
        "schema apply",
    ],
)
def test_a_data_directory_of_another_user_is_told_as_that(config: Path, tmp_path: Path, command: str):
    data = tmp_path / "data"
    done = run(config, *command.format(data=data, out=tmp_path / "out.ndjson").split())
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "report it" not in said
    assert f"{data}, which" in said
    assert "cannot enter" in said or "cannot read and write in" in said
    assert not (tmp_path / "out.ndjson").exists()


def test_a_log_directory_of_another_user_is_told_as_that(config: Path, tmp_path: Path):
    log = tmp_path / "log"
    log.mkdir()
    config.write_text(
        config.read_text().replace('"embedded"', '"http://127.0.0.1:1"') + f'[wal]\ndirectory = "{log}/wal"\n'
    )
    if os.geteuid() == 0:
        os.chown(log, NOBODY, NOBODY)
    log.chmod(0o500)
    done = run(config, "serve")
    log.chmod(0o700)
    assert done.returncode == 1
    assert "wal.directory" in done.stderr
    assert f"{log}, which" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_in_the_place_of_the_data_directory_is_told_as_that(tmp_path: Path):
    (tmp_path / "data").write_text("")
    assert why_unusable(tmp_path / "data" / "wal") == f"{tmp_path}/data is not a directory"
    config = tmp_path / "nealytics.toml"
    config.write_text(
        f'[server]\ndata_dir = "{tmp_path}/data"\n'
        f'[auth]\njwt_key = "{"x" * 40}"\napi_keys = [{{key = "{"k" * 40}"}}]\n'
    )
    config.chmod(0o600)
    for command in ("serve", "wal inspect", "dead-letter list"):
        done = run(config, *command.split())
        assert done.returncode in (0, 1)
        assert "Traceback" not in done.stderr + done.stdout
    assert f"{tmp_path}/data is not a directory" in run(config, "serve").stderr


def test_a_directory_that_can_be_made_is_usable(tmp_path: Path):
    assert why_unusable(tmp_path) is None
    assert why_unusable(tmp_path / "new" / "and" / "deeper") is None
