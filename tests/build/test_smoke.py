"""The smoke test of a release: it passes with a good program, and a bad one does not get through."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import program
from tests.engine import needs_engine

ROOT = Path(__file__).parents[2]


def smoke(*artefacts: object) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "smoke.sh"), *map(str, artefacts)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "WAIT_S": "30"})


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """The program that the end-to-end tests try, as one file."""
    return script(tmp_path / "nealytics-9.9.9" / "nealytics", f'exec {shlex.join(program())} "$@"')


@needs_engine
@pytest.mark.e2e
@pytest.mark.slow
def test_a_good_program_passes_as_tarball_and_as_a_file(good: Path, tmp_path: Path):
    tarball = tmp_path / "embedded.tar.gz"
    subprocess.run(["tar", "-czf", tarball, "-C", tmp_path, good.parent.name], check=True)
    done = smoke(tarball, good)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "smoke: passed"
    assert "server: 202, read back, stopped, started, read back" in done.stdout


@needs_engine
@pytest.mark.e2e
def test_a_program_that_does_not_stop_as_it_should_fails(good: Path, tmp_path: Path):
    rough = script(tmp_path / "rough", f'{good} "$@" & trap "kill $!; wait; exit 3" TERM; wait')
    done = smoke(rough)
    assert done.returncode == 1
    assert "after SIGTERM it ended with status 3" in done.stderr


@pytest.mark.e2e
def test_a_program_that_does_not_serve_fails_with_its_last_words(good: Path, tmp_path: Path):
    broken = script(
        tmp_path / "broken", f'[ "$1" != serve ] || {{ echo no library >&2; exit 1; }}\nexec {good} "$@"'
    )
    done = smoke(broken)
    assert done.returncode == 1
    assert "the node ended before: nealytics health" in done.stderr
    assert "no library" in done.stderr


@pytest.mark.parametrize(
    ("name", "why"),
    [("nothing", "is not a .tar.gz, a directory or a program"), ("", "no program named nealytics")],
)
def test_what_holds_no_program_fails(name: str, why: str, tmp_path: Path):
    done = smoke(tmp_path / name)
    assert done.returncode == 1
    assert why in done.stderr
