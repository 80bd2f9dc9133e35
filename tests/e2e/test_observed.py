"""What an operator sees of a whole node: its log, and its metrics while processes come and go."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import Node, free_port, program, token
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e]

TIMELINE = "/api/v1/telemetry/timeline"
EVENT = {"projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view"}


def lines(node: Node) -> list[dict[str, Any]]:
    """Whole ones: the last may be being written."""
    return [json.loads(line) for line in node.log_path.read_text().split("\n")[:-1]]


def alone(tmp_path: Path, **options: Any) -> Node:
    """A node whose ClickHouse is down."""
    return Node(tmp_path, clickhouse=f"http://127.0.0.1:{free_port()}", **options)


def test_what_a_user_reports_is_found_in_the_log(tmp_path: Path):
    with alone(tmp_path, workers=2) as node:
        node.wait_ready("/ready/ingest")
        bearer = {"Authorization": f"Bearer {token('shop', 'acme')}"}
        for headers in (bearer, {**bearer, "X-Request-Id": "from-the-proxy:7"}):
            status, body = node.request("GET", TIMELINE, headers=headers)
            assert status == 503
            request = json.loads(body)["requestId"]
            (line,) = [line for line in lines(node) if line.get("request_id") == request]
            assert line["worker"] in (0, 1)
            assert TIMELINE in line["message"]
            assert "127.0.0.1" in line["error"]  # where nobody answers
        assert request == "from-the-proxy:7"
        assert all("request_id" not in line for line in lines(node) if "worker" not in line)


@needs_engine
@pytest.mark.engine
@pytest.mark.parametrize(
    ("environ", "least"),
    [
        ({"NEALYTICS_LOG_LEVEL": "error"}, {"error", "critical"}),
        ({"Logging__LogLevel__Default": "None"}, {"critical"}),
    ],
)
def test_the_level_holds_for_every_process(tmp_path: Path, environ: dict[str, str], least: set[str]):
    node = Node(tmp_path, environ=environ)
    with node:
        node.wait_ready()
        assert node.post("track", EVENT)[0] == 202
        assert node.kill_one("worker")  # the supervisor says this as an error
        node.wait_until(lambda: node.metric("nealytics_worker_starts_total") == 2, "it is started again")
        node.wait_ready()
        node.stop()
    levels = {line["level"] for line in lines(node)}
    assert levels == ({"error"} if "error" in least else set())


@needs_engine
@pytest.mark.engine
def test_by_default_every_process_has_something_to_say_and_no_request_has(tmp_path: Path):
    """So the test above can fail."""
    node = Node(tmp_path)
    with node:
        node.wait_ready()
        assert node.post("track", EVENT)[0] == 202
        node.stop()
    info = [line for line in lines(node) if line["level"] == "info"]
    loggers = {line["logger"] for line in info}
    assert {"nealytics.supervisor", "nealytics.server"} <= loggers
    assert any("engine" in logger or "embedded" in logger for logger in loggers)
    assert all("request_id" not in line for line in lines(node))


def test_on_debug_each_request_has_a_line(tmp_path: Path):
    with alone(tmp_path, environ={"Logging__LogLevel__Default": "Debug"}) as node:
        node.wait_ready("/ready/ingest")
        for _ in range(30):
            assert node.post("track", EVENT)[0] == 202

        def found() -> list[dict[str, Any]]:
            return [line for line in lines(node) if "/telemetry/track: 202" in line["message"]]

        # The line is written after the answer.
        node.wait_until(lambda: len(found()) >= 30, "each has its line")
        assert len(found()) == len({line["request_id"] for line in found()}) == 30


def test_a_level_that_does_not_exist_ends_the_start_with_what_to_write(tmp_path: Path):
    node = alone(tmp_path)
    done = subprocess.run(
        [*program(), "serve", "--config", str(node.config)],
        env={**os.environ, "NEALYTICS_LOG_LEVEL": "chatty"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert line["message"] == (
        'config: observe.log_level is "chatty" (from NEALYTICS_LOG_LEVEL); '
        'write one of "critical", "debug", "error", "info", "warning"'
    )


@needs_engine
@pytest.mark.engine
def test_metrics_are_the_node_s_while_workers_are_killed_and_stopped(tmp_path: Path):
    node = Node(tmp_path, workers=2)

    def becomes(name: str, value: float) -> None:
        """Asked over and over, because a stopped worker answers nobody."""
        node.wait_until(lambda: asked(name, timeout_s=1) == value, f"{name} is {value:g}")

    def asked(name: str, timeout_s: float = 30.0) -> float:
        status, body = node.request("GET", "/metrics", timeout_s=timeout_s)
        assert status == 200
        return float(
            next(line for line in body.decode().splitlines() if line.startswith(name + " ")).split()[1]
        )

    with node:
        node.wait_ready()
        becomes("nealytics_ready", 1)
        assert node.metric("nealytics_wal_bytes_max") == 10 * 1024**3
        for _ in range(20):
            assert node.post("track", EVENT)[0] == 202
        becomes("nealytics_events_ingested_total", 20)
        for index in range(2):
            starts = asked("nealytics_worker_starts_total")
            assert node.kill_one("worker", index)
            becomes("nealytics_worker_starts_total", starts + 1)
            becomes("nealytics_ready", 1)
            assert asked("nealytics_events_ingested_total") == 20
        pid = node.pids("worker")[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            becomes("nealytics_ready", 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        becomes("nealytics_ready", 1)
