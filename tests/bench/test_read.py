"""`bench read` end to end, on few events: generates, asks all both ways, keeps what it is told to."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nealytics.bench.events import tenant
from nealytics.bench.questions import questions
from nealytics.queries import ENDPOINTS, top
from nealytics.queries.endpoint import Endpoint
from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600), needs_engine]

EVENTS = ["--events", "20000", "--tenants", "3"]


def bench_read(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*program(), "bench", "read", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_each_endpoint_is_measured_beside_its_own_sql_and_nothing_is_left(tmp_path: Path):
    done = bench_read(*EVENTS, "--rank", "1", "--rounds", "1", "--json", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"] == 20_000
    assert_measured(report, ENDPOINTS, [1])
    assert report["disk_bytes"] > 20_000
    assert min(report["engine_rss_kb_max"], report["api_rss_kb_max"]) > 10_000
    assert list(tmp_path.iterdir()) == []


def assert_measured(report: Any, endpoints: tuple[Endpoint[Any], ...], ranks: list[int]) -> None:
    """Each question of the endpoints, of each of the tenants with these ranks."""
    asked = [(row["endpoint"], row["query"], row["range"], row["tenant"]) for row in report["questions"]]
    names = {endpoint.name for endpoint in endpoints}
    assert asked == [one[:4] for one in questions(ENDPOINTS, ranks, {}) if one.endpoint in names]
    for row in report["questions"]:
        assert row["queries"] >= 1, row
        assert row["answer_bytes"] > 50, row
        assert row["timing"]["requests"] == 1, row
        assert min(row["timing"].values()) > 0, row
    assert set(report["endpoints"]) == names
    asked_of = {name: set(timings) for name, timings in report["endpoints_of"].items()}
    assert asked_of == dict.fromkeys(map(tenant, ranks), names)
    assert set(report["events_of"]) == {*map(tenant, ranks)}


def test_data_that_is_kept_is_not_generated_again(tmp_path: Path):
    kept = [*EVENTS, "--rounds", "1", "--only", "top", "--data", str(tmp_path / "kept")]
    first = bench_read(*kept)
    assert first.returncode == 0, first.stderr
    assert "generating 20,000 events of 3 tenants" in first.stdout
    assert "each endpoint over all its questions" in first.stdout
    second = bench_read(*kept, "--rank", "1", "--rank", "3", "--json")
    assert second.returncode == 0, second.stderr
    report = json.loads(second.stdout)
    assert report["generated_seconds"] is None
    assert_measured(report, (top.ENDPOINT,), [1, 3])
    assert report["events_of"]["tenant-01"] > report["events_of"]["tenant-03"] > 3_000
    other = bench_read("--events", "20000", "--tenants", "4", "--data", str(tmp_path / "kept"))
    assert other.returncode != 0
    assert "holds 20,000 events of 3 tenants" in other.stderr
    assert "name another directory" in other.stderr
