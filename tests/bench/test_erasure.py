"""`bench erasure` end to end: the tenant's rows are gone, and no client was refused meanwhile."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, needs_engine]


def test_it_measures_before_and_during_the_erasure_of_every_row(tmp_path: Path):
    small = ["--events", "10000", "--rounds", "2", "--seconds", "0.5"]
    command = [*program(), "bench", "erasure", *small, "--json", "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["rows_erased"] == 10_000
    for phase in ("before", "during"):
        assert report[phase]["track_p99_ms"] >= report[phase]["track_p50_ms"] > 0
        assert report[phase]["reads"] > 0
