"""`bench read` end to end, on few events: generates, asks all both ways, keeps what it is told to."""

import json
import subprocess
from pathlib import Path

import pytest

from nealytics.bench.questions import questions
from nealytics.queries import ENDPOINTS
from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600), needs_engine]

EVENTS = ["--events", "20000", "--tenants", "3"]


def bench_read(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*program(), "bench", "read", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_each_endpoint_is_measured_beside_its_own_sql_and_nothing_is_left(tmp_path: Path):
    ranks = ["--rank", "1", "--rank", "3"]
    done = bench_read(*EVENTS, *ranks, "--rounds", "1", "--json", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"] == 20_000
    asked = [(row["endpoint"], row["query"], row["range"], row["tenant"]) for row in report["questions"]]
    assert asked == [question[:4] for question in questions(ENDPOINTS, [1, 3], {})]
    for row in report["questions"]:
        assert row["queries"] >= 1, row
        assert row["answer_bytes"] > 50, row
        assert row["timing"]["requests"] == 1, row
        assert min(row["timing"].values()) > 0, row
    assert set(report["endpoints"]) == {endpoint.name for endpoint in ENDPOINTS}
    assert report["events_of"]["tenant-01"] > report["events_of"]["tenant-03"] > 3_000
    assert {name: set(timings) for name, timings in report["endpoints_of"].items()} == {
        name: set(report["endpoints"]) for name in report["events_of"]
    }
    assert report["disk_bytes"] > 20_000
    assert min(report["engine_rss_kb_max"], report["api_rss_kb_max"]) > 10_000
    assert list(tmp_path.iterdir()) == []


def test_data_that_is_kept_is_not_generated_again(tmp_path: Path):
    kept = [*EVENTS, "--rounds", "1", "--only", "top", "--data", str(tmp_path / "kept")]
    first = bench_read(*kept)
    assert first.returncode == 0, first.stderr
    assert "generating 20,000 events of 3 tenants" in first.stdout
    assert "each endpoint over all its questions" in first.stdout
    second = bench_read(*kept, "--rank", "2", "--json")
    assert second.returncode == 0, second.stderr
    report = json.loads(second.stdout)
    assert report["generated_seconds"] is None
    assert set(report["events_of"]) == {"tenant-02"}
    assert set(report["endpoints"]) == {"top"}
    other = bench_read("--events", "20000", "--tenants", "4", "--data", str(tmp_path / "kept"))
    assert other.returncode != 0
    assert "holds 20,000 events of 3 tenants" in other.stderr
    assert "name another directory" in other.stderr
