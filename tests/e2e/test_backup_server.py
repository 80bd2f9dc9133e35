"""The recipe of docs/backup.md for a ClickHouse server: its statements, as they stand there."""

import re
from pathlib import Path

import pytest

from tests.e2e.node import Node
from tests.e2e.test_backup import Load
from tests.engine import RunningEngine, needs_engine, start_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

DOCUMENT = Path(__file__).parents[2] / "docs" / "backup.md"


def statements() -> list[str]:
    blocks = re.findall(r"^```sql\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return [sql for block in blocks for sql in filter(None, map(str.strip, block.split(";")))]


def execute(server: RunningEngine, sql: str) -> str:
    reply = server.request("POST", "/", sql)
    assert reply.status == 200, reply.text
    return reply.text


def sessions(server: RunningEngine) -> list[int]:
    found = execute(server, "SELECT session_id FROM nealytics_core.global_events FINAL").split()
    return sorted(int(session.removeprefix("s-")) for session in found)


def test_the_recipe_for_a_server_restores_everything_that_was_acknowledged(tmp_path: Path):
    """Under load, with the database gone afterwards: what came after the backup comes from the log."""
    whole, more, drop, restore = statements()
    server, load = start_engine(tmp_path / "server"), Load()
    (tmp_path / "node").mkdir()
    with server:
        settings = f"""
            clickhouse.user = "{server.user}"
            clickhouse.password = "{server.password}"
        """
        with Node(tmp_path / "node", clickhouse=server.url, settings=settings) as node:
            node.wait_ready()
            with load.running(node):
                assert "BACKUP_CREATED" in execute(server, whole)
                before = len(sessions(server))
                assert before > 0
                assert "BACKUP_CREATED" in execute(server, more)
                late = len(load.acknowledged)
                node.wait_until(lambda: len(load.acknowledged) > late, "events come after the backup")
            node.wait_drained()
            assert node.stop() == 0
            execute(server, drop)
            assert "RESTORED" in execute(server, restore)
            assert len(sessions(server)) >= before
            node.start()
            node.wait_ready()
            node.wait_until(lambda: len(sessions(server)) >= len(load.acknowledged), "the log was compared")
            assert sessions(server) == sorted(load.acknowledged)
