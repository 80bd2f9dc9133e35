"""The benchmarks end to end, at their smallest: they start, measure, tell, and leave nothing."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import program

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]


def bench(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*program(), "bench", *arguments, "--directory", str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_track_prints_the_ratio_and_removes_its_data(tmp_path: Path):
    done = bench(tmp_path, "track", "--rounds", "1", "--seconds", "0.5", "--without-clickhouse")
    assert done.returncode == 0, done.stderr
    assert "durable track / empty aiohttp handler = " in done.stdout
    assert "p50" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.engine
def test_batch_counts_what_clickhouse_has(tmp_path: Path):
    done = bench(tmp_path, "batch", "--rounds", "1", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (result,) = report["rounds"]
    assert result["errors"] == {}
    # The warm-up is committed too.
    assert report["committed"] >= result["events"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.engine
def test_memory_is_that_of_a_worker_with_work_waiting(tmp_path: Path):
    done = bench(tmp_path, "memory", "--events", "20000", "--limit-mb", "1", "--json")
    assert done.returncode == 1, "1 MB is exceeded by any Python"
    report = json.loads(done.stdout)
    assert report["waiting"] >= 20_000
    assert report["rss_max_kb"] > 10_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.engine
def test_drain_compares_with_a_bulk_load_and_with_track_alone(tmp_path: Path):
    done = bench(tmp_path, "drain", "--events", "300000", "--rounds", "1", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"] >= 150_000
    assert len(report["drains"]) == len(report["bulk_per_s"]) == 1
    assert 0.01 < report["ratio"] < 10
    assert len(report["beside"]) == len(report["alone"]) > 0
    assert list(tmp_path.iterdir()) == []


def test_workers_compares_the_processor_time_of_a_request(tmp_path: Path):
    done = bench(tmp_path, "workers", "--rounds", "1", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["scales"]) == 1
    assert 0.2 < report["scale"] < 20
    assert list(tmp_path.iterdir()) == []


def test_compare_tells_what_another_program_is_worth_beside_this_one(tmp_path: Path):
    itself = tmp_path / "program"
    itself.write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    itself.chmod(0o755)
    data = tmp_path / "data"
    data.mkdir()
    done = bench(data, "compare", "--executable", str(itself), "--rounds", "2", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["track"]) == len(report["batch"]) == 2
    # It is the same program. Wide, since nothing is said here of how busy the machine is.
    assert 0.05 < report["track_ratio"] < 20
    assert 0.05 < report["batch_ratio"] < 20
    assert len(report["track_work"]) == len(report["batch_work"]) == 2
    assert 0.05 < report["track_work_ratio"] < 20
    assert 0.05 < report["batch_work_ratio"] < 20
    assert list(data.iterdir()) == []


def test_hostile_measures_a_client_alone_and_beside_each_kind_of_body(tmp_path: Path):
    kinds = ("numbers for events", "zstd bomb")
    only = [argument for kind in kinds for argument in ("--only", kind)]
    done = bench(tmp_path, "hostile", *only, "--connections", "1", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["alone"]["requests"] > 0
    assert [result["name"] for result in report["hostile"]] == list(kinds)
    for result in report["hostile"]:
        assert result["client"]["requests"] > 0
        assert result["answers"] > 0
    assert list(tmp_path.iterdir()) == []
