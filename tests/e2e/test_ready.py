"""What a node answers to `/ready` when nothing fails and nothing moves either."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import Node
from tests.fakes.clickhouse import FakeClickHouse, stall

pytestmark = pytest.mark.e2e


async def test_a_node_is_not_ready_while_an_insert_hangs_and_takes_events_meanwhile(tmp_path: Path):
    async with FakeClickHouse() as fake:
        node = Node(tmp_path, clickhouse=fake.url, settings="commit.age_before_alert_s = 0.3")
        node.start()
        try:
            await asyncio.to_thread(node.wait_ready)
            fake.faults.append(stall(3600, applied=False))
            event = {"projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view"}
            assert (await asyncio.to_thread(node.post, "track", event))[0] == 202
            answer: dict[str, Any] = {}

            def says_why() -> bool:
                status, body = node.request("GET", "/ready")
                answer.update(json.loads(body))
                return status == 503

            await asyncio.to_thread(node.wait_until, says_why, "/ready is 503")
            assert answer["clickhouse"] == {"ok": True}
            assert "the oldest event in the log is" in answer["committer"]["problem"]
            assert answer["log"] == {"ok": True}
            assert (await asyncio.to_thread(node.request, "GET", "/ready/ingest"))[0] == 200
            assert (await asyncio.to_thread(node.post, "track", event))[0] == 202
        finally:
            await asyncio.to_thread(node.kill)


async def test_answers_that_nobody_understands_end_no_worker(tmp_path: Path):
    """A proxy's page with status 200, for instance, in the place of what the watchers ask for."""
    async with FakeClickHouse() as fake:
        fake.answers["FROM system.errors"] = lambda statement: "<html>"
        node = Node(tmp_path, clickhouse=fake.url)
        node.start()
        try:
            await asyncio.to_thread(node.wait_ready)
            said = "damage: cannot be monitored, because ClickHouse refuses the query: invalid literal"
            await asyncio.to_thread(node.wait_until, lambda: said in node.log_path.read_text(), said)
            assert node.metric("nealytics_worker_starts_total") == 1
        finally:
            await asyncio.to_thread(node.kill)
