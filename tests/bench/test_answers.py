"""`bench answers` end to end: every question is measured, and nothing is left."""

import json
import subprocess
from pathlib import Path

import pytest

from nealytics.bench.answers import _QUESTIONS
from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600), needs_engine]


def test_each_question_has_a_longest_step_and_the_latency_of_others(tmp_path: Path):
    command = [*program(), "bench", "answers", "--seconds", "0.5", "--rounds", "1", "--json"]
    done = subprocess.run(
        [*command, "--directory", str(tmp_path)], capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(row["tenant"], row["query"]) for row in report["questions"]] == [
        (tenant, query) for tenant, _, query in _QUESTIONS
    ]
    for row in report["questions"]:
        assert row["bytes"] > 500_000, row
        assert row["step_ms"] > 0, row
        assert row["track_max_ms"] >= row["track_p99_ms"] > 0, row
    assert report["slow_readers"]["clients"] == 12
    assert list(tmp_path.iterdir()) == []
