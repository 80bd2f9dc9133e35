"""`bench compare` beside the other servers that this machine has."""

import json
import shutil
from pathlib import Path

import pytest

from tests.bench.test_runs import bench

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt-get install wrk"),
]


def test_each_installed_server_is_measured_and_no_acknowledged_event_is_lost(tmp_path: Path):
    done = bench(tmp_path, "compare", "--rounds", "1", "--seconds", "1", "--connections", "8", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["found"] >= report["acknowledged"] > 0
    names = [result["name"] for result in report["results"]]
    assert names[:3] == ["durable track", "durable batch of 1,000", "empty aiohttp handler"]
    for program in ("nginx", "PostgreSQL", "Redis"):
        assert any(name.startswith(program) for name in names) != (program in report["missing"])
    for result in report["results"]:
        assert result["requests"] > 0
        assert 0 < result["p50_ms"] <= result["p99_ms"]
        assert result["processor_us"] > 0
    assert list(tmp_path.iterdir()) == []
