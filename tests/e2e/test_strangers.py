"""What others left, or what answers where ClickHouse should be: none of it may keep a node from taking
events."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.node import Node
from tests.fakes.clickhouse import FakeClickHouse

pytestmark = pytest.mark.e2e

EVENT = {"projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view"}


async def test_answers_that_make_no_sense_are_waited_out(tmp_path: Path):
    async with FakeClickHouse() as fake:
        sensible = fake.answers["FROM system.tables"]
        tries: list[str] = []

        def senseless(statement: str) -> str:
            tries.append(statement)
            return "no table, but a page"

        fake.answers["FROM system.tables"] = senseless
        with Node(tmp_path, clickhouse=fake.url) as node:
            await asyncio.to_thread(node.wait_ready, "/ready/ingest")
            await asyncio.to_thread(node.wait_until, lambda: len(tries) >= 3, "it goes on trying")
            assert (await asyncio.to_thread(node.post, "track", EVENT))[0] == 202
            status, body = await asyncio.to_thread(node.request, "GET", "/ready")
            assert (status, json.loads(body)["committer"]["ok"]) == (503, False)
            assert await asyncio.to_thread(node.metric, "nealytics_worker_starts_total") == 1
            fake.answers["FROM system.tables"] = sensible
            await asyncio.to_thread(node.wait_ready)
            await asyncio.to_thread(node.wait_until, lambda: len(fake.rows) == 1, "the event is stored")


async def test_a_log_without_a_worker_that_cannot_be_read_is_quarantined_and_shows_in_ready(tmp_path: Path):
    orphan = tmp_path / "data" / "wal" / "7"
    orphan.mkdir(parents=True)
    (orphan / "00000000000000000001.wal").write_bytes(b"x" * 200)
    async with FakeClickHouse() as fake:
        with Node(tmp_path, clickhouse=fake.url) as node:
            await asyncio.to_thread(node.wait_ready, "/ready/ingest")
            assert (await asyncio.to_thread(node.post, "track", EVENT))[0] == 202

            def told() -> bool:
                damage = json.loads(node.request("GET", "/ready")[1]).get("damage", [])
                return any("7.damaged." in line for line in damage)

            await asyncio.to_thread(node.wait_until, told, "/ready says it")
            await asyncio.to_thread(node.wait_until, lambda: len(fake.rows) == 1, "the event is stored")
