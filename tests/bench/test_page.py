"""`bench page` end to end, on few events."""

import json
import subprocess
from pathlib import Path

import pytest

from nealytics.bench.page import QUESTIONS
from tests.e2e.node import program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(600), needs_engine]


def bench_page(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*program(), "bench", "page", "--events", "20000", "--rounds", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


def test_the_page_is_measured_for_tenants_and_for_their_owner(tmp_path: Path):
    done = bench_page("--tenants", "3", "--json", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [page["whose"] for page in report["pages"]] == ["tenant-01", "tenant-02", "all tenants"]
    events = [page["events"] for page in report["pages"]]
    assert events[2] > events[0] > events[1] > 0
    for page in report["pages"]:
        assert set(page["alone"]) == set(QUESTIONS)
        for times in (page["cold"], page["warm"], page["first"], *page["alone"].values()):
            assert times["requests"] == 1
            assert 0 < times["least_ms"] <= times["median_ms"] <= times["most_ms"]
    assert list(tmp_path.iterdir()) == []


def test_one_tenant_may_have_all_events_and_they_are_kept(tmp_path: Path):
    kept = ["--tenants", "1", "--data", str(tmp_path / "kept")]
    first = bench_page(*kept)
    assert first.returncode == 0, first.stderr
    assert "generating 20,000 events of 1 tenants" in first.stdout
    assert "page, cold" in first.stdout
    assert "generating" not in bench_page(*kept).stdout
