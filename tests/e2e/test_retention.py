"""What a node does to the TTL, and what it accepts, where table and configuration differ."""

import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nealytics.clickhouse.schema import create_statements
from tests.e2e.node import Node, program
from tests.engine import RunningEngine, needs_engine, start_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

DAY_MS = 86_400_000
TABLE = "nealytics_core.global_events"


def of_days_ago(days: float, session: str = "s") -> dict[str, Any]:
    timestamp = time.time_ns() // 1_000_000 - int(days * DAY_MS)
    return {
        "projectId": "shop", "tenantId": "acme", "sessionId": session, "eventType": "view",
        "timestamp": timestamp,
    }  # fmt: skip


class Server:
    """A ClickHouse for several nodes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.engine = start_engine(directory)

    def settings(self, retention_days: int) -> str:
        return (
            f'clickhouse.retention_days = {retention_days}\nclickhouse.user = "{self.engine.user}"\n'
            f'clickhouse.password = "{self.engine.password}"\n'
        )

    def node(self, directory: Path, retention_days: int) -> Node:
        directory.mkdir(exist_ok=True)
        return Node(directory, clickhouse=self.engine.url, settings=self.settings(retention_days))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, RunningEngine]]:
    server = Server(tmp_path / "clickhouse")
    with server.engine:
        yield server, server.engine


def say(engine: RunningEngine, sql: str) -> str:
    answer = engine.request("POST", "/", sql.encode())
    assert answer.status == 200, answer.text
    return answer.text.strip()


def create(engine: RunningEngine, retention_days: int, *ages: float) -> None:
    for sql in create_statements("nealytics_core", retention_days):
        say(engine, sql)
    if ages:
        say(
            engine,
            f"INSERT INTO {TABLE} (event_id, project_id, tenant_id, session_id, event_type, timestamp) "
            f"SELECT generateUUIDv4(), 'shop', 'acme', toString(d), 'view', now64(3) - toIntervalDay(d) "
            f"FROM (SELECT arrayJoin({list(ages)}) AS d)",
        )


def stored(engine: RunningEngine) -> int:
    return int(say(engine, f"SELECT count() FROM {TABLE} FINAL"))


def warnings(node: Node) -> list[str]:
    status, body = node.request("GET", "/ready")
    assert status == 200, body
    found: list[str] = json.loads(body).get("warnings", [])
    return found


def schema(node: Node, *arguments: str, stdin: int | None = subprocess.DEVNULL) -> tuple[int, str]:
    done = subprocess.run(
        [*program(), "schema", *arguments, "--config", str(node.config)],
        capture_output=True,
        text=True,
        stdin=stdin,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_second_node_with_the_default_file_deletes_nothing_and_accepts_what_the_table_keeps(
    tmp_path: Path, server: tuple[Server, RunningEngine]
):
    """A node with 90 days changed the TTL of a table that kept for ever: all older events were deleted."""
    clickhouse, engine = server
    create(engine, 0, 1, 200, 4000)
    with clickhouse.node(tmp_path / "second", 90) as node:
        node.wait_ready()
        (warning,) = warnings(node)
        assert "keeps events for ever, longer than clickhouse.retention_days = 90" in warning
        assert node.metric("nealytics_retention_differs") == 1
        assert f"schema: {warning}" in node.log_path.read_text()
        assert node.post("batch", [of_days_ago(300)], query="?wait=true")[0] in (200, 202)
        assert stored(engine) == 4
        say(engine, f"OPTIMIZE TABLE {TABLE} FINAL")
        assert stored(engine) == 4


def test_a_running_node_notices_a_shorter_ttl_and_rejects_what_would_be_deleted(
    tmp_path: Path, server: tuple[Server, RunningEngine]
):
    clickhouse, engine = server
    create(engine, 90)
    other = clickhouse.node(tmp_path / "other", 30)
    with clickhouse.node(tmp_path / "first", 90) as node:
        node.wait_ready()
        assert warnings(node) == []
        assert node.metric("nealytics_retention_differs") == 0
        assert node.post("batch", [of_days_ago(60)], query="?wait=true")[0] in (200, 202)

        status, output = schema(other, "apply", "--shorten-retention", "--yes")

        assert status == 0, output
        node.wait_until(lambda: warnings(node), "it notices")
        assert "keeps events 30 days, shorter than clickhouse.retention_days = 90" in warnings(node)[0]
        assert node.metric("nealytics_retention_differs") == 1
        status, body = node.post("track", of_days_ago(60))
        assert status == 400
        assert json.loads(body)["code"] == "outside_time_window"
        assert node.post("track", of_days_ago(29))[0] == 202
        # And that it was made longer again: by its own restart, too.
        node.stop()
        node.start()
        node.wait_ready()
        assert warnings(node) == []
        assert node.post("track", of_days_ago(60))[0] == 202
        assert "toIntervalDay(90)" in say(engine, f"SHOW CREATE TABLE {TABLE}")


def test_a_ttl_written_by_hand_is_what_a_node_goes_by(tmp_path: Path, server: tuple[Server, RunningEngine]):
    clickhouse, engine = server
    create(engine, 0)
    say(engine, f"ALTER TABLE {TABLE} MODIFY TTL timestamp + INTERVAL 1 MONTH DELETE WHERE tenant_id = 'x'")
    with clickhouse.node(tmp_path / "node", 90) as node:
        node.wait_ready()
        assert "keeps events 28 days: its TTL timestamp + toIntervalMonth(1)" in warnings(node)[0]
        assert node.post("track", of_days_ago(27))[0] == 202
        assert node.post("track", of_days_ago(29))[0] == 400
        assert "toIntervalMonth(1)" in say(engine, f"SHOW CREATE TABLE {TABLE}")


@pytest.mark.parametrize("answer", ["y", "n"])
def test_shortening_says_what_it_deletes_and_asks(
    tmp_path: Path, server: tuple[Server, RunningEngine], answer: str
):
    clickhouse, engine = server
    create(engine, 0, 1, 29, 31, 200, 200)
    node = clickhouse.node(tmp_path / "node", 30)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        status, output = schema(node, "apply", "--shorten-retention", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "this deletes 3 events of 1 tenant, from 20" in output
    kept = "toIntervalDay(30)" not in say(engine, f"SHOW CREATE TABLE {TABLE}")
    if answer == "n":
        assert status == 1
        assert kept
        assert stored(engine) == 5
    else:
        assert status == 0, output
        assert "events are kept 30 days (were kept for ever)" in output
        assert not kept


def test_shortening_without_a_terminal_needs_yes(tmp_path: Path, server: tuple[Server, RunningEngine]):
    clickhouse, engine = server
    create(engine, 0, 1, 200)
    node = clickhouse.node(tmp_path / "node", 90)
    status, output = schema(node, "apply", "--shorten-retention")
    assert status == 1
    assert "this deletes 1 event of 1 tenant, from" in output
    assert "this is not changed" not in output, "that is the advice to do what is being done"
    assert "add --yes" in output
    status, output = schema(node, "apply")
    assert status == 0
    assert "the table keeps events for ever, longer than clickhouse.retention_days = 90" in output
    assert stored(engine) == 2
    status, output = schema(node, "apply", "--shorten-retention", "--yes")
    assert status == 0, output
    say(engine, f"OPTIMIZE TABLE {TABLE} FINAL")
    assert stored(engine) == 1
    status, output = schema(node, "apply", "--shorten-retention")
    assert status == 0
    assert "nothing to shorten" in output


def test_shortening_leaves_a_ttl_written_by_hand(tmp_path: Path, server: tuple[Server, RunningEngine]):
    clickhouse, engine = server
    create(engine, 0, 1, 200)
    say(engine, f"ALTER TABLE {TABLE} MODIFY TTL timestamp + INTERVAL 1 YEAR")
    node = clickhouse.node(tmp_path / "node", 30)
    status, output = schema(node, "apply", "--shorten-retention", "--yes")
    assert status == 1
    assert "was written by hand, so it must be changed by hand" in output
    assert "MODIFY TTL toDateTime(timestamp) + INTERVAL 30 DAY DELETE" in output
    assert stored(engine) == 2


def test_an_unfit_table_is_left_untouched_by_serve(tmp_path: Path, server: tuple[Server, RunningEngine]):
    """5,000 events became 2,000 within 14 s, and only then was the table refused."""
    clickhouse, engine = server
    say(engine, "CREATE DATABASE nealytics_core")
    say(
        engine,
        f"CREATE TABLE {TABLE} (event_id UUID, project_id LowCardinality(String), tenant_id String, "
        "session_id String, event_type LowCardinality(String), item_id Nullable(String), "
        "metadata_json String CODEC(ZSTD(1)), timestamp DateTime64(3, 'UTC')) ENGINE = MergeTree() "
        "ORDER BY (project_id, tenant_id, event_type, timestamp) SETTINGS index_granularity = 8192",
    )
    say(
        engine,
        f"INSERT INTO {TABLE} (event_id, timestamp) "
        "SELECT generateUUIDv4(), now64(3) - toIntervalHour(number) FROM numbers(5000)",
    )
    before = say(engine, f"SHOW CREATE TABLE {TABLE}")
    with clickhouse.node(tmp_path / "node", 90) as node:
        node.wait_until(
            lambda: "`nealytics schema migrate`" in node.request("GET", "/ready")[1].decode(), "refused"
        )
        status, output = schema(node, "apply")
        assert status == 1
        assert "RENAME TABLE" in output
    assert say(engine, f"SHOW CREATE TABLE {TABLE}") == before
    assert say(engine, "SELECT count() FROM system.mutations") == "0"
    assert say(engine, f"SELECT count() FROM {TABLE}") == "5000"


def test_a_log_of_the_csharp_engine_is_taken_over_as_the_table_keeps_it(
    tmp_path: Path, server: tuple[Server, RunningEngine]
):
    """What is refused there is refused for good, and the default file says 90 days."""
    clickhouse, engine = server
    create(engine, 0)
    node = clickhouse.node(tmp_path / "node", 90)
    wal = node.directory / "data" / "wal"
    wal.mkdir(parents=True, mode=0o700)
    lines = [{**of_days_ago(days), "eventId": str(UUID(int=days)), "metadataJson": "{}"} for days in (1, 500)]
    for line in lines:
        line["timestamp"] = f"{datetime.fromtimestamp(line['timestamp'] / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    (wal / "telemetry_wal.log").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with node:
        node.wait_until(lambda: stored(engine) == 2, "both are in the table")
        assert not (wal / "telemetry_wal.log.rejected").exists()
