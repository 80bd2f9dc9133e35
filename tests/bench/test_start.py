"""`bench start` end to end."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, needs_engine]


def test_each_program_is_started_twice_a_round_and_observed_while_idle(tmp_path: Path):
    itself = tmp_path / "program"
    itself.write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    itself.chmod(0o755)
    data = tmp_path / "data"
    data.mkdir()
    options = ["--rounds", "1", "--seconds", "0.5", "--json", "--directory", str(data)]
    done = subprocess.run(
        [*program(), "bench", "start", "--executable", str(itself), *options],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [result["program"] for result in results] == [str(itself), "this program"]
    for result in results:
        assert [start["empty"] for start in result["starts"]] == [True, False]
        assert all(0 < start["health_s"] <= start["ready_s"] for start in result["starts"])
        (idle,) = result["idle"]
        # Supervisor, worker and engine, which share pages.
        assert 100 < idle["pss_mb"] < idle["rss_mb"] < 1000
        assert idle["switches_per_second"] > 0
    assert list(data.iterdir()) == []
