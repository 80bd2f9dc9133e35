"""`bench retention` end to end: only lightweight deletes leave expired rows in the files."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, needs_engine]


def test_each_way_deletes_the_same_events_and_partitions_multiply_parts(tmp_path: Path):
    command = [*program(), "bench", "retention", "--events", "20000", "--json", "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    left = {way["name"].split()[0]: way["rows_left"] for way in report["ways"]}
    assert left["mutation"] == left["TTL"] == 0
    assert left["lightweight"] > 0
    by_month, by_project = (insert["parts"] for insert in report["inserts"])
    assert by_project > 10 * by_month
