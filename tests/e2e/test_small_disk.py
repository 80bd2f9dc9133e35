"""A node whose disk has little room: the first start says what is missing, and goes on once it is there."""

import json
from pathlib import Path

import pytest

from nealytics.clickhouse.embedded import FREE_BYTES_MIN, free_bytes
from tests.disk import mounted, needs_disk
from tests.e2e.node import Node
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine, needs_disk]

MIB = 1024**2
EVENT = {"projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view"}


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb") as file:
        for _ in range((free_bytes(disk) - leave) // MIB):
            file.write(bytes(MIB))
    return filler


def test_a_first_start_without_room_for_the_engine_says_so_and_goes_on_once_there_is(tmp_path: Path):
    with mounted(tmp_path, 512 * MIB) as disk:
        filler = fill(disk.path, leave=FREE_BYTES_MIN // 2)
        with Node(tmp_path, settings=f'server.data_dir = "{disk.path}/data"') as node:

            def problem() -> str:
                status, body = node.request("GET", "/ready")
                assert status == 503
                return str(json.loads(body)["committer"].get("problem"))

            node.wait_until(lambda: "MiB of disk space free" in problem(), "/ready names the disk")
            assert f"needs {FREE_BYTES_MIN // MIB} MiB to start" in problem()
            filler.unlink()
            node.wait_ready()
            assert node.post("batch?wait=true", [EVENT])[0] == 200
            assert node.stop() == 0


def test_a_node_is_ready_on_a_disk_with_less_than_a_gigabyte(tmp_path: Path):
    """With wal.free_bytes_min at its default."""
    with mounted(tmp_path, 900 * MIB) as disk:
        settings = f'server.data_dir = "{disk.path}/data"\nwal.free_bytes_min = {512 * MIB}'
        with Node(tmp_path, settings=settings) as node:
            node.wait_ready()
            assert node.post("batch?wait=true", [EVENT])[0] == 200
            assert len(node.read("/api/v1/analytics/sessions")["sessions"]) == 1
            assert node.stop() == 0
