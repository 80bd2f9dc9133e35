"""scripts/arm64.sh takes a machine of its own and many minutes; what can be known before, it says at once."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "arm64.sh"


def run(tmp_path: Path, *present: str, machine: str = "x86_64", user: int = 0) -> str:
    """What it says on a machine of which only this is known."""
    tools = tmp_path / "tools"
    tools.mkdir()
    fakes = {"uname": f"echo {machine}", "id": f"echo {user}", **dict.fromkeys(present, "exit 1")}
    for name, body in fakes.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    for name in ("bash", "dirname", "realpath", "env"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        [SCRIPT, tmp_path / "root"], capture_output=True, text=True, env={**os.environ, "PATH": str(tools)}
    )
    assert done.returncode == 1
    assert not (tmp_path / "root").exists()
    return done.stderr


def test_what_is_missing_is_named_with_how_to_get_it(tmp_path: Path):
    said = run(tmp_path, "debootstrap", "ccache")
    assert "missing: qemu-aarch64-static update-binfmts aarch64-linux-gnu-g++;" in said
    assert "apt-get install debootstrap qemu-user-static" in said


@pytest.mark.parametrize(
    ("machine", "user", "why"), [("aarch64", 0, "builds natively"), ("x86_64", 1000, "needs root")]
)
def test_where_it_cannot_or_need_not_run_it_says_so(machine: str, user: int, why: str, tmp_path: Path):
    assert why in run(tmp_path, machine=machine, user=user)
