"""`nealytics engine`: ClickHouse alone, with all rights."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import Node, program
from tests.engine import needs_engine


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def run(node: Node, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*program(), "engine", "--config", str(node.config), *command],
        capture_output=True,
        text=True,
        check=False,
    )


ASK = """
import os, urllib.request
request = urllib.request.Request(os.environ["CLICKHOUSE_URL"], b"CREATE DATABASE other")
request.add_header("X-ClickHouse-User", os.environ["CLICKHOUSE_USER"])
request.add_header("X-ClickHouse-Key", os.environ["CLICKHOUSE_PASSWORD"])
urllib.request.urlopen(request)
"""


@pytest.mark.engine
@pytest.mark.e2e
@needs_engine
def test_a_command_reaches_the_engine_with_all_rights(node: Node):
    done = run(node, "python3", "-c", ASK)
    assert (done.returncode, done.stderr) == (0, "")
    assert run(node, "sh", "-c", "exit 3").returncode == 3
    done = run(node, "/no/such/command")
    assert (done.returncode, "engine: /no/such/command cannot be run" in done.stderr) == (1, True)


@pytest.mark.engine
@pytest.mark.e2e
@needs_engine
def test_without_a_command_it_runs_until_it_is_told_to_stop(node: Node):
    process = subprocess.Popen(
        [*program(), "engine", "--config", str(node.config)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    names = [process.stdout.readline().partition("=")[0] for _ in range(3)]
    assert names == ["CLICKHOUSE_URL", "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.engine
@pytest.mark.e2e
@needs_engine
def test_sigterm_ends_the_command_and_the_engine(node: Node):
    command = [*program(), "engine", "--config", str(node.config)]
    process = subprocess.Popen([*command, "sh", "-c", "echo $$; exec sleep 600"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert not Path(f"/proc/{pid}").exists()


def test_a_server_has_clients_of_its_own(tmp_path: Path):
    done = run(Node(tmp_path, clickhouse="http://ch:8123"))
    assert done.returncode == 1
    assert 'engine: clickhouse.url is "http://ch:8123", a server' in done.stderr
