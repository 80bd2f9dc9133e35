"""Saved queries of a running node: the files of docs/saved-queries.md, a reload, and the commands."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nealytics.demo import _metadata
from nealytics.erasure.jobs import Erasure, Job
from nealytics.erasure.store import Jobs
from tests.docs_commands import ROOT
from tests.e2e.node import Node, program, token
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

QUICKSTART = ROOT / "scripts/quickstart.sh"
PAGE = ROOT / "docs/saved-queries.md"
NAMES = ("revenue_by_day", "repeat_purchases", "tenants_by_activity")
NOW = datetime.now(UTC)


def examples() -> dict[str, str]:
    found = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("node")
    settings = f"saved_queries.directory = {json.dumps(str(directory / 'queries'))}"
    with Node(directory, workers=2, settings=settings) as node:
        node.wait_ready()
        events = [
            {
                "projectId": "shop",
                "tenantId": tenant,
                "sessionId": "s",
                "userId": user,
                "eventType": "purchase",
                "timestamp": (NOW - timedelta(days=days)).isoformat(),
                "metadata": {"amount": amount, "plan": plan},
            }
            for tenant, user, days, amount, plan in (
                ("acme", "ada", 3, 19.99, "pro"),
                ("acme", "ada", 1, 0.01, "pro"),
                ("acme", "bob", 1, "5", "free"),  # a number as text
                ("globex", "eve", 1, 1000, "pro"),
            )
        ]
        sent = re.search(r"metadata='(.*amount.*)'", QUICKSTART.read_text())
        assert sent is not None
        paid = _metadata("payment", {"plan": "team"})
        events += [
            {**events[0], "projectId": project, "eventType": kind, "metadata": json.loads(text)}
            for project, kind, text in (("quick", "purchase", sent[1]), ("demo", "payment", paid))
        ]
        assert node.post("batch", events)[0] == 202
        node.wait_drained()
        yield node


def queries(node: Node) -> Path:
    return node.directory / "queries"


def reload(node: Node) -> None:
    """Both workers have read the files again afterwards."""
    assert node.process is not None
    before = node.log_path.read_text().count("reload: in effect")
    pid = json.loads(node.request("GET", "/ready")[1])["pid"]
    assert pid == node.process.pid
    os.kill(pid, signal.SIGHUP)
    node.wait_until(
        lambda: node.log_path.read_text().count("reload: in effect") > before, "the reload is logged"
    )


def command(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(), *arguments, "--config", str(node.config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_examples_of_the_page_are_routes_after_a_reload(node: Node):
    path = "/api/v1/queries/revenue_by_day"
    status, body = node.request("GET", path, headers={"Authorization": f"Bearer {token('shop', 'acme')}"})
    assert (status, json.loads(body)["code"]) == (404, "unknown_query")
    assert "no saved queries; a relative saved_queries.directory" in command(node, "query", "check").stdout
    queries(node).mkdir()
    for name, text in examples().items():
        (queries(node) / f"{name}.sql").write_text(text)
    reload(node)
    for _ in range(10):  # each worker is asked
        rows = node.read(f"{path}?from=-7d")["rows"]
        assert sum(row["revenue"] for row in rows) == pytest.approx(25)
        assert [row["plan"] for row in rows] == ["pro", "free", "pro"]
    assert node.read(f"{path}?plan=free")["rows"][0]["revenue"] == 5
    for project, plan, revenue in (("quick", "pro", 29), ("demo", "team", 49)):
        (row,) = node.read(path, project_id=project)["rows"]
        assert (row["plan"], row["revenue"], row["purchases"]) == (plan, revenue, 1)
    assert node.read("/api/v1/queries/repeat_purchases")["rows"][-1]["repeated"] <= 1
    listed = [one["name"] for one in node.read("/api/v1/queries")["queries"]]
    assert listed == ["repeat_purchases", "revenue_by_day"]  # the third is for tokens of the project
    status, body = node.request(
        "GET",
        "/api/v1/queries/tenants_by_activity",
        headers={"Authorization": f"Bearer {token('shop', None)}"},
    )
    assert [row["tenant_id"] for row in json.loads(body)["rows"]] == ["acme", "globex"]
    status, body = node.request("GET", "/openapi.json")
    assert path in json.loads(body)["paths"]


def test_a_broken_file_stops_nothing_and_is_reported(node: Node):
    (queries(node) / "broken.sql").write_text("-- title: Broken\nSELECT * FROM system.users")
    reload(node)
    assert node.read("/api/v1/queries/revenue_by_day")["rows"]
    status, body = node.request("GET", "/ready")
    assert status == 200
    assert json.loads(body)["warnings"] == [
        "saved queries: broken.sql cannot be used; the log has the reason"
    ]
    assert "system.users is not visible to a saved query" in node.log_path.read_text()
    checked = command(node, "query", "check")
    assert checked.returncode == 1
    assert "broken.sql: the table system.users is not visible" in checked.stdout
    assert "pass  revenue_by_day: Revenue by day" in checked.stdout
    found = command(node, "doctor", "--json").stdout.splitlines()
    about = [one for one in map(json.loads, found) if one["check"] == "saved queries"]
    assert [one["level"] for one in about] == ["pass", "warn"]
    (queries(node) / "broken.sql").unlink()
    reload(node)
    assert "warnings" not in json.loads(node.request("GET", "/ready")[1])


def test_a_query_is_run_and_checked_on_the_command_line(node: Node):
    page = PAGE.read_text()
    checked = command(node, "query", "check", "revenue_by_day")
    assert checked.returncode == 0
    assert checked.stdout.strip() in page
    whose = ("--project", "shop", "--tenant", "acme")
    ran = command(node, "query", "run", "revenue_by_day", *whose, "from=-7d", "plan=pro")
    assert ran.stdout.splitlines()[0].split() == ["day", "plan", "revenue", "purchases"]
    assert ran.stdout.splitlines()[-1] == "2 rows"
    ran = command(node, "query", "run", "revenue_by_day", *whose, "--format", "csv", "plan=free")
    assert ran.stdout.splitlines()[1].endswith('"free",5,1')
    ran = command(node, "query", "run", "revenue_by_day", *whose, "plan=gold")
    assert ran.returncode == 1
    assert "plan is 'gold'. Write one of all, free, pro." in ran.stderr
    ran = command(node, "query", "run", "revenue_by_day", *whose, "pln=pro")
    assert "warning: 'pln' is not a parameter and is ignored; did you mean plan?" in ran.stderr
    ran = command(node, "query", "run", "nothing", *whose)
    assert "nothing.sql does not exist" in ran.stderr


def test_the_engine_may_restart_and_the_node_may_be_down(node: Node):
    assert node.kill_one("embedded-child")
    node.wait_until(lambda: node.read("/api/v1/queries/revenue_by_day")["rows"], "the engine is back")
    assert node.stop() == 0
    # Of another table: the node begins it again, as its own user. The command must write no file.
    erasure = Erasure(
        id="1", project_id="shop", tenant_id="acme", before_ms=2**42, requested_at_ms=0, requested_by=""
    )
    Jobs(node.directory / "data").put(Job(erasure=erasure, state="done", table="another"))
    written = {path: path.stat().st_mtime_ns for path in (node.directory / "data/erasures").iterdir()}
    ran = command(node, "query", "run", "tenants_by_activity", "--project", "shop", "--project-wide")
    assert "globex" in ran.stdout, ran.stderr
    assert {path: path.stat().st_mtime_ns for path in (node.directory / "data/erasures").iterdir()} == written
