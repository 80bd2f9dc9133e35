"""The launcher that makes one file of the server: tried with a shell script in the place of the program."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where scripts/compile.sh has what the release is built with.
PYTHON = ROOT / ".venv-build" / "bin" / "python"
OWN = f"nealytics-{os.geteuid()}"

SCRIPT = """#!/bin/sh
echo "pid=$$ umask=$(umask) arguments=$*"
[ -z "$WAIT" ] || exec sleep "$WAIT"
"""


def pack(folder: Path, file: Path, script: str = SCRIPT) -> Path:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.relative_to(ROOT)} is not there; scripts/compile.sh makes it")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "data").write_bytes(b"x" * 1000)
    (folder / "chdb").mkdir()
    (folder / "chdb" / "engine.so").write_bytes(b"not for the server")
    program = folder / "nealytics"
    program.write_text(script)
    program.chmod(0o755)
    subprocess.run([PYTHON, ROOT / "build" / "single_file.py", folder, file], check=True)
    return file


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("packed") / "nealytics")


def start(single: Path, place: Path, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [single, *arguments], env={"NEALYTICS_UNPACK_DIR": str(place), "PATH": os.environ["PATH"], **environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def refused(single: Path, place: Path) -> str:
    process = start(single, place)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    return err


def versions(place: Path) -> list[Path]:
    return list((place / OWN).iterdir())


def test_it_becomes_the_program_itself(single: Path, tmp_path: Path):
    """No parent that a SIGKILL could hit in its place; the umask is the caller's."""
    before = os.umask(0o027)
    try:
        process = start(single, tmp_path, "serve", "--config", "x y")
    finally:
        os.umask(before)
    out, _ = process.communicate(timeout=20)
    assert out == f"pid={process.pid} umask=0027 arguments=serve --config x y\n"


def test_it_unpacks_once_and_what_it_unpacked_is_for_this_user_alone(single: Path, tmp_path: Path):
    start(single, tmp_path).communicate(timeout=20)
    (version,) = versions(tmp_path)
    first = {path: path.stat() for path in [version, *version.rglob("*")]}
    assert all(status.st_mode & 0o077 == 0 for status in first.values())
    assert (version / "deep" / "er" / "data").read_bytes() == b"x" * 1000
    assert not (version / "chdb").exists()
    start(single, tmp_path).communicate(timeout=20)
    assert {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in first} == {
        path: (status.st_ino, status.st_ctime_ns) for path, status in first.items()
    }


def test_many_first_starts_at_once_all_run(single: Path, tmp_path: Path):
    started = [start(single, tmp_path, str(number)) for number in range(20)]
    for number, process in enumerate(started):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert f"pid={process.pid} " in out
        assert out.endswith(f"arguments={number}\n")
    assert len(versions(tmp_path)) == 1


def test_another_version_removes_what_no_program_runs(single: Path, tmp_path: Path):
    running = start(single, tmp_path / ".", WAIT="60")
    try:
        assert running.stdout is not None
        running.stdout.readline()
        (first,) = versions(tmp_path)
        second = pack(tmp_path / "second", tmp_path / "two", SCRIPT + "# second\n")
        start(second, tmp_path).communicate(timeout=20)
        assert first in versions(tmp_path)
        assert len(versions(tmp_path)) == 2
    finally:
        running.kill()
        running.communicate()
    third = pack(tmp_path / "third", tmp_path / "three", SCRIPT + "# third\n")
    start(third, tmp_path).communicate(timeout=20)
    assert first not in versions(tmp_path)
    assert len(versions(tmp_path)) == 1


def test_a_start_that_was_killed_while_unpacking_leaves_nothing_for_long(single: Path, tmp_path: Path):
    left = tmp_path / OWN / ".new-abcdef"
    (left / "deep").mkdir(parents=True)
    (tmp_path / OWN).chmod(0o700)
    start(single, tmp_path).communicate(timeout=20)
    assert not left.exists()


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_what_lost_a_file_is_unpacked_again(single: Path, tmp_path: Path, damage: str):
    start(single, tmp_path).communicate(timeout=20)
    (version,) = versions(tmp_path)
    data = version / "deep" / "er" / "data"
    if damage == "missing":
        data.unlink()
    else:
        data.chmod(0o600)
        data.write_bytes(b"x" * 999)
    processes = [start(single, tmp_path, str(number)) for number in range(8)]
    for number, process in enumerate(processes):
        assert f"arguments={number}" in process.communicate(timeout=20)[0]
    assert data.read_bytes() == b"x" * 1000
    assert versions(tmp_path) == [version]


def test_a_missing_file_of_a_running_program_is_reported(single: Path, tmp_path: Path):
    running = start(single, tmp_path, WAIT="20")
    try:
        assert running.stdout is not None
        running.stdout.readline()
        (version,) = versions(tmp_path)
        (version / "deep" / "er" / "data").unlink()
        message = refused(single, tmp_path)
        assert f"{version} has lost files, and a program runs from it; stop that, then start again" in message
    finally:
        running.kill()
        running.communicate()


def test_a_link_in_its_place_is_refused(single: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / OWN).symlink_to(tmp_path / "elsewhere")
    message = refused(single, tmp_path)
    assert f"{tmp_path / OWN}: is not a directory" in message
    assert "set NEALYTICS_UNPACK_DIR to a directory in which this user may write and execute" in message
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_directory_that_others_may_write_to_is_refused(single: Path, tmp_path: Path):
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN).chmod(0o777)
    assert "belongs to another user, or others may write to it" in refused(single, tmp_path)


def test_a_place_whose_parent_others_may_rename_in_is_refused(single: Path, tmp_path: Path):
    tmp_path.chmod(0o777)
    assert f"{tmp_path}: others may write to it" in refused(single, tmp_path)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o1777)
    assert start(single, tmp_path).wait(20) == 0


def test_a_place_that_is_not_there_is_not_made(single: Path, tmp_path: Path):
    assert f"{tmp_path / 'missing'}: No such file or directory" in refused(single, tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_may_be_a_link_to_a_larger_disk(single: Path, tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".cache").symlink_to(tmp_path / "disk")
    environ = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    subprocess.run([single], env=environ, check=True, capture_output=True)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["nealytics"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_place_whose_parent_is_another_user_s_is_refused(single: Path, tmp_path: Path):
    place = tmp_path / "cache"
    place.mkdir(mode=0o755)
    os.chown(place, 12345, 12345)
    assert f"{place}: belongs to another user, who may replace what is in it" in refused(single, place)


def test_what_is_not_a_version_of_ours_is_left_alone(single: Path, tmp_path: Path):
    other = tmp_path / OWN / "of-another-program"
    other.mkdir(parents=True)
    (tmp_path / OWN).chmod(0o700)
    start(single, tmp_path).communicate(timeout=20)
    assert other.exists()


def test_a_noexec_place_is_reported(single: Path, tmp_path: Path):
    process = subprocess.run(
        [
            "unshare", "--mount", "--map-root-user", "sh", "-c",
            f"mount -t tmpfs -o noexec none {tmp_path} || exit 77; exec {single}",
        ],
        env={"NEALYTICS_UNPACK_DIR": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True, text=True,
    )  # fmt: skip
    if (
        process.returncode == 77
        or "unshare failed" in process.stderr
        or "Operation not perm" in process.stderr
    ):
        pytest.skip("this machine allows no mount in a user namespace")
    assert process.returncode == 1
    assert "noexec" in process.stderr
    assert "set NEALYTICS_UNPACK_DIR" in process.stderr


def test_without_any_variable_it_finds_a_place_and_a_full_one_is_passed_over(single: Path, tmp_path: Path):
    cache = tmp_path / "cache"
    cache.mkdir()
    environ = {"PATH": os.environ["PATH"], "CACHE_DIRECTORY": "/proc", "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run([single], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in cache.iterdir()] == ["nealytics"]


def test_a_home_of_somebody_else_is_no_place(single: Path, tmp_path: Path):
    """`sudo` keeps HOME: root must not run what a user can replace."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a directory away")
    os.chown(tmp_path, 12345, 12345)
    done = subprocess.run(
        [single], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, capture_output=True
    )
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())
    os.chown(tmp_path, 0, 0)


def test_a_damaged_file_says_so(single: Path, tmp_path: Path):
    damaged = tmp_path / "damaged"
    content = bytearray(single.read_bytes())
    # zstd's magic, which a reader has as a constant too; the payload's is followed by its header.
    at = max(content.rfind(b"\x28\xb5\x2f\xfd"), 0) + 60
    content[at] ^= 0xFF
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    assert "this file is damaged" in refused(damaged, tmp_path)
    assert versions(tmp_path) == []
