"""The move to a server and the restore of a backup, as docs/scaling.md and docs/backup.md describe them."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import Node, program
from tests.engine import needs_engine, start_engine

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]


def block(section: str, language: str) -> str:
    """The first code block of that language in a section, without its indentation."""
    text = DOCUMENT.read_text().partition(f"# {section}\n")[2]
    (found,) = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)[:1]
    return re.sub("^   ", "", found, flags=re.MULTILINE)


def event(number: int, session_id: str) -> dict[str, Any]:
    return {
        "projectId": "shop", "tenantId": "acme", "sessionId": session_id, "eventType": "view",
        # Over two years of months.
        "timestamp": 1_640_000_000_000 + number * 86_400_000,
    }  # fmt: skip


def counts(node: Node) -> dict[str, int]:
    answer = node.read("/api/v1/analytics/sessions?from=2020-01-01T00:00:00Z&limit=10")
    return {session["sessionId"]: session["eventCount"] for session in answer["sessions"]}


def fill(node: Node) -> None:
    node.wait_ready()
    assert node.post("batch", [event(n, "old") for n in range(800)])[0] == 202
    node.wait_drained()
    assert node.stop() == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_events_of_the_embedded_engine_come_along_to_a_server_once(tmp_path: Path):
    """The server is another engine here, since that has a server's HTTP interface."""
    home = tmp_path / "node"
    home.mkdir()
    node = Node(home)
    server = start_engine(tmp_path / "server", retention_days=0)
    with node, server:
        fill(node)
        (home / "old").mkdir()
        shutil.move(home / "data" / "clickhouse", home / "old")
        settings = f'url = "{server.url}"\nuser = "{server.user}"\npassword = "{server.password}"'
        node.config.write_text(node.config.read_text().replace('url = "embedded"', settings))
        node.start()
        node.wait_ready()
        assert node.post("batch", [event(800, "new")], query="?wait=true")[0] == 200
        assert counts(node) == {"new": 1}

        script = block("From the embedded engine to a server", "sh")
        for told, here in {
            "DATA_DIR=old": f"DATA_DIR={home}/old",
            "nealytics export": f"{shlex.join(program())} export --config {node.config}",
            "http://clickhouse:8123": server.url,
        }.items():
            assert script.count(told) == 1
            script = script.replace(told, here)
        environment = {**os.environ, "USER": server.user, "PASSWORD": server.password}
        for _ in range(2):  # repeating it is harmless
            done = subprocess.run(
                ["bash", "-euc", script], env=environment, check=True, capture_output=True, text=True
            )
            assert "export: 800 events of 1 project" in done.stderr
            assert counts(node) == {"new": 1, "old": 800}
        assert node.stop() == 0


def test_a_copied_engine_opens_at_another_place(tmp_path: Path):
    home = tmp_path / "node"
    home.mkdir()
    node = Node(home)
    with node:
        fill(node)
        data = home / "data" / "clickhouse"
        subprocess.run(["cp", "-a", data, tmp_path / "backup"], check=True)
        shutil.rmtree(data)
        subprocess.run(["cp", "-a", tmp_path / "backup", data], check=True)
        node.start()
        node.wait_ready()
        assert counts(node) == {"old": 800}
        assert node.stop() == 0
