"""`nealytics backup` and `nealytics restore` with a real node."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from nealytics.backup.register import recorded
from tests.e2e.node import Node, program
from tests.engine import ask_engine, needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]


def run(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*program(), *arguments, "--config", str(node.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def send(node: Node, first: int, count: int) -> list[int]:
    events = [
        {"projectId": "shop", "tenantId": "acme", "sessionId": f"s-{number}", "eventType": "view"}
        for number in range(first, first + count)
    ]
    status, _ = node.post("batch", events)
    return list(range(first, first + count)) if status == 202 else []


def stored(node: Node) -> list[int]:
    sql = "SELECT session_id FROM nealytics_core.global_events FINAL FORMAT TabSeparated"
    answer = ask_engine(node.directory / "data", sql)
    assert answer.status == 200, answer.text
    return sorted(int(line.removeprefix("s-")) for line in answer.text.splitlines())


def destroy(node: Node) -> None:
    node.kill()
    shutil.rmtree(node.directory / "data")


def test_a_backup_under_load_loses_nothing_up_to_its_beginning_and_doubles_nothing(tmp_path: Path):
    """Events that were acknowledged before the backup began are there after the restore, each once."""
    acknowledged: list[int] = []
    ended = threading.Event()
    with Node(tmp_path, workers=2) as node:
        node.wait_ready()

        def load() -> None:
            first = 0
            while not ended.is_set():
                acknowledged.extend(send(node, first, 50))
                first += 50

        sender = threading.Thread(target=load)
        sender.start()
        try:
            node.wait_until(lambda: len(acknowledged) > 1000, "events were accepted")
            for number, more in enumerate(([], ["--base", str(tmp_path / "backup0")])):
                before = list(acknowledged)
                made = run(node, "backup", str(tmp_path / f"backup{number}"), *more)
                assert made.returncode == 0, made.stderr
        finally:
            ended.set()
            sender.join()
        sent = set(acknowledged)
        first, second = recorded(tmp_path / "data")
        assert [first.target, second.target] == [str(tmp_path / f"backup{number}") for number in (0, 1)]
        assert second.based_on == first.id
        destroy(node)
        restored = run(node, "restore", str(tmp_path / "backup1"))
        assert restored.returncode == 0, restored.stderr
        node.start()
        node.wait_ready()
        node.wait_drained()
        found = stored(node)
        assert set(before) <= set(found)
        # Rows whose answer was still in flight when the log was cut may be there as well.
        assert max(found) <= max(sent) + 50
        assert len(found) == len(set(found))
        assert json.loads(node.request("GET", "/ready")[1]).get("warnings", []) == []
        refused = run(node, "restore", str(tmp_path / "backup1"))
        assert refused.returncode == 1
        assert "is not empty" in refused.stderr


def test_a_backup_that_is_damaged_or_not_complete_is_refused(tmp_path: Path):
    with Node(tmp_path) as node:
        node.wait_ready()
        assert send(node, 0, 100)
        node.wait_drained()
        made = run(node, "backup", str(tmp_path / "backup"))
        assert made.returncode == 0, made.stderr
        again = run(node, "backup", str(tmp_path / "backup"))
        assert again.returncode == 1
        assert "is not empty" in again.stderr
        destroy(node)
        largest = max((tmp_path / "backup/table").rglob("*.bin"), key=lambda path: path.stat().st_size)
        whole = largest.read_bytes()
        largest.write_bytes(whole[:-1])
        damaged = run(node, "restore", str(tmp_path / "backup"))
        assert damaged.returncode == 1
        assert largest.name in damaged.stderr
        largest.write_bytes(whole)
        (tmp_path / "backup/manifest.json").rename(tmp_path / "manifest")
        incomplete = run(node, "restore", str(tmp_path / "backup"))
        assert incomplete.returncode == 1
        assert "no complete backup" in incomplete.stderr
