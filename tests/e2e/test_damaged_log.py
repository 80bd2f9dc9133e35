"""A byte of the log flips under a real node: what can be read arrives, and the node works on."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.node import Node
from tests.e2e.test_damage import asked
from tests.engine import needs_engine
from tests.wal.logs import segments

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

BATCHES, BATCH = 40, 1000


def events(prefix: str, count: int) -> list[dict[str, object]]:
    return [
        {
            "projectId": "shop", "tenantId": "acme", "sessionId": f"{prefix}-{number}", "eventType": "view",
            "timestamp": f"2026-01-05T10:{number // 60 % 60:02}:{number % 60:02}Z",
        }
        for number in range(count)
    ]  # fmt: skip


def counted(node: Node) -> int:
    answer = node.read("/api/v1/analytics/summary?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z")
    return int(answer["events"])


def flip_in_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def filled_without_clickhouse(directory: Path) -> None:
    """A log that nothing was sent of, as after a night without ClickHouse."""
    with Node(directory, clickhouse="http://127.0.0.1:9") as node:
        node.wait_ready("/ready/ingest")
        for batch in range(BATCHES):
            assert node.post("batch", events(f"b{batch}", BATCH))[0] == 202
        node.stop()


def test_damage_at_rest_costs_one_frame_and_the_rest_arrives(tmp_path: Path):
    filled_without_clickhouse(tmp_path)
    (path,) = [path for path in segments(tmp_path / "data/wal/0") if path.stat().st_size > 10_000]
    flip_in_the_middle(path)
    with Node(tmp_path) as node:
        node.wait_ready()
        assert node.post("batch?wait=true", events("new", 100))[0] == 200
        node.wait_until(lambda: node.metric("nealytics_wal_unreadable_events") > 0, "the damage is counted")
        node.wait_drained()
        lost = int(node.metric("nealytics_wal_unreadable_events"))
        assert 0 < lost <= 10 * BATCH
        assert counted(node) == BATCHES * BATCH + 100 - lost
        assert node.metric("nealytics_wal_damaged_logs") == 1
        (quarantined,) = (tmp_path / "data/wal").glob("0.damaged.*")
        report = json.loads((quarantined / "damage.json").read_bytes())
        assert sum(gap["events"] for gap in report["unreadable"]) == lost
        assert path.name in {place["file"] for gap in report["unreadable"] for place in gap["places"]}
        shown = asked(node, "status")
        assert shown.returncode == 1
        assert f"{lost} events of this damaged log cannot be read" in " ".join(shown.stdout.split())
        assert path.name in shown.stdout

        # A second start sends nothing again, and still reports.
        committed = node.metric("nealytics_events_committed_total")
        assert committed == BATCHES * BATCH + 100 - lost
        node.stop()
        node.start()
        node.wait_ready()
        node.wait_until(lambda: node.metric("nealytics_wal_unreadable_events") == lost, "it is still known")
        assert counted(node) == BATCHES * BATCH + 100 - lost
        assert node.metric("nealytics_events_committed_total") == 0

        # The table is lost: what can be read of the quarantined log is compared with the new one.
        node.stop()
        shutil.rmtree(tmp_path / "data/clickhouse")
        node.start()
        node.wait_ready()
        node.wait_until(lambda: counted(node) == BATCHES * BATCH + 100 - lost, "both logs were compared")

        # A person decides.
        quarantined.rename(tmp_path / "given-up")
        node.wait_until(lambda: node.metric("nealytics_wal_damaged_logs") == 0, "the alert ends")
        assert asked(node, "status").returncode == 0


def test_damage_that_a_running_worker_finds_moves_its_log_to_quarantine_and_stops_no_other(tmp_path: Path):
    """A start reads the last segment only, so damage in another one is found by the reader."""
    settings = "wal.segment_bytes_max = 262144"
    with Node(tmp_path, clickhouse="http://127.0.0.1:9", settings=settings, workers=2) as node:
        node.wait_ready("/ready/ingest")
        for batch in range(BATCHES):
            assert node.post("batch", events(f"b{batch}", BATCH))[0] == 202
        node.stop()
    logs = {index: segments(tmp_path / f"data/wal/{index}") for index in (0, 1)}
    worker = max(logs, key=lambda index: len(logs[index]))
    assert len(logs[worker]) > 3
    flip_in_the_middle(logs[worker][1])
    with Node(tmp_path, settings=settings, workers=2) as node:
        node.wait_until(lambda: node.metric("nealytics_wal_unreadable_events") > 0, "the damage is counted")
        node.wait_ready()
        assert node.metric("nealytics_worker_starts_total") == 3
        assert node.post("batch?wait=true", events("new", 100))[0] == 200
        node.wait_drained()
        lost = int(node.metric("nealytics_wal_unreadable_events"))
        assert 0 < lost <= 10 * BATCH
        assert counted(node) == BATCHES * BATCH + 100 - lost
        (quarantined,) = (tmp_path / "data/wal").glob("*.damaged.*")
        assert quarantined.name.startswith(f"{worker}.damaged.")
        assert node.metric("nealytics_wal_damaged_logs") == 1
        # Nothing was sent twice, although the worker had sent a part before it found the damage.
        rows = node.metric("nealytics_events_committed_total")
        assert rows == BATCHES * BATCH + 100 - lost
