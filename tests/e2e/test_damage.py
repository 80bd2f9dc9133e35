"""What ClickHouse stored is damaged on its disk: a byte flips, a file is cut."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nealytics.bench.damage import flip, largest_blocks
from tests.e2e.node import Node, program, token
from tests.engine import needs_engine, start_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

JANUARY, MARCH = "2026-01", "2026-03"
EVENTS = 200


def events(month: str, count: int = EVENTS) -> list[dict[str, object]]:
    return [
        {
            "projectId": "shop", "tenantId": "acme", "sessionId": f"s-{number}", "eventType": "view",
            "timestamp": f"{month}-05T10:00:{number % 60:02}Z", "metadataJson": os.urandom(50).hex(),
        }
        for number in range(count)
    ]  # fmt: skip


def sessions_of(node: Node, month: str) -> tuple[int, dict[str, Any]]:
    status, body = node.request(
        "GET",
        f"/api/v1/analytics/sessions?from={month}-01T00:00:00Z&to={month}-28T00:00:00Z&limit=1000",
        headers={"Authorization": f"Bearer {token('shop', 'acme')}"},
    )
    return status, json.loads(body)


def parts_of(node: Node, month: str) -> list[Path]:
    return list((node.directory / "data/clickhouse/store").glob(f"*/*/{month.replace('-', '')}_*"))


def part_of(node: Node, month: str) -> Path:
    """The directory of the only part of a month."""
    (part,) = parts_of(node, month)
    return part


def filled(node: Node) -> None:
    node.wait_ready()
    for month in (JANUARY, MARCH):
        assert node.post("batch?wait=true", events(month))[0] == 200
        status, answer = sessions_of(node, month)
        assert (status, len(answer["sessions"])) == (200, EVENTS)


def damage_of(node: Node) -> list[str]:
    status, body = node.request("GET", "/ready")
    assert status == 200
    found: list[str] = json.loads(body).get("damage", [])
    return found


def asked(node: Node, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(), *command, "--config", str(node.config)], capture_output=True, text=True, timeout=120
    )


def test_a_flipped_byte_is_named_and_other_events_are_still_answered(tmp_path: Path):
    with Node(tmp_path) as node:
        filled(node)
        part = part_of(node, JANUARY)
        data = part / "data.bin"
        with data.open("r+b") as file:
            file.seek(data.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x55]))
        for _ in range(2):
            status, answer = timeline_of(node, JANUARY)
            assert (status, answer["code"]) == (500, "data_damaged"), answer
            assert part.name in str(answer["message"])
        status, answer = timeline_of(node, MARCH)
        assert status == 200, answer
        node.wait_until(lambda: node.metric("nealytics_damaged_parts") == 1, "the metric counts it")
        (said,) = damage_of(node)
        assert part.name in said
        assert part.name in node.log_path.read_text()
        done = asked(node, "status")
        assert done.returncode == 1
        assert f"DAMAGED: {said}" in done.stdout


def test_the_first_read_of_a_large_damaged_block_says_so_and_does_not_time_out(tmp_path: Path):
    """ClickHouse flips every bit of a block to explain its checksum. In a block of 130 KB, which is what
    8,192 ids are by its defaults, that takes longer than a read may."""
    with Node(tmp_path, settings="clickhouse.query_timeout_s = 5") as node:
        node.wait_ready()
        for _ in range(10):
            assert node.post("batch?wait=true", events(JANUARY, 1_000))[0] == 200
        assert node.stop() == 0
        with start_engine(node.directory) as engine:
            merged = engine.request("POST", "/", "OPTIMIZE TABLE nealytics_core.global_events FINAL")
            assert merged.status == 200, merged.text
        node.start()
        node.wait_ready()
        # The merged one; those that it replaced are kept for a while.
        part = max(parts_of(node, JANUARY), key=lambda path: int(path.name.split("_")[3]))
        (block,) = largest_blocks(part, 1)
        flip(block.file, block.offset + block.bytes // 2)
        query = f"from={JANUARY}-01T00:00:00Z&to={JANUARY}-28T00:00:00Z"
        status, body = node.request(
            "GET",
            f"/api/v1/telemetry/export?format=ndjson&{query}",
            headers={"Authorization": f"Bearer {token('shop', 'acme')}"},
        )
        assert status == 500, body
        answer = json.loads(body)
        assert (answer["code"], part.name in answer["message"]) == ("data_damaged", True), answer


def test_every_worker_reports_the_damage_that_one_of_them_met(tmp_path: Path):
    with Node(tmp_path, workers=2) as node:
        filled(node)
        part = part_of(node, JANUARY)
        (block,) = largest_blocks(part, 1)
        flip(block.file, block.offset + block.bytes // 2)
        status, answer = timeline_of(node, JANUARY)
        assert (status, answer["code"]) == (500, "data_damaged"), answer
        # `/ready` is answered by either worker, over a connection of its own each time.
        node.wait_until(
            lambda: all(part.name in "".join(damage_of(node)) for _ in range(12)), "both workers report it"
        )


def timeline_of(node: Node, month: str) -> tuple[int, dict[str, Any]]:
    status, body = node.request(
        "GET",
        f"/api/v1/telemetry/timeline?after={month}-01T00:00:00Z&before={month}-28T00:00:00Z&limit=1000",
        headers={"Authorization": f"Bearer {token('shop', 'acme')}"},
    )
    return status, json.loads(body)


def test_a_part_that_is_found_cut_at_a_start_is_named_and_counted(tmp_path: Path):
    with Node(tmp_path) as node:
        filled(node)
        assert node.stop() == 0
        part = part_of(node, JANUARY)
        os.truncate(part / "data.bin", 100)
        node.start()
        node.wait_ready()
        node.wait_until(lambda: node.metric("nealytics_damaged_parts") == 1, "the metric counts it")
        (said,) = damage_of(node)
        assert part.name in said
        assert "broken-on-start" in said
        assert asked(node, "status").returncode == 1
        done = asked(node, "doctor")
        assert done.returncode == 1
        assert part.name in done.stdout
