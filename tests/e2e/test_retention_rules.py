"""`[[retention]]` rules at a node: what it refuses, shows, and deletes once they are applied."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from tests.e2e.node import JWT_KEY, Node, program
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

RULE = '[[retention]]\nproject = "shop"\ndays = {}\n'


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        node.wait_ready()
        yield node


def of_days_ago(days: int, project: str = "shop") -> dict[str, Any]:
    return {
        "projectId": project,
        "tenantId": "acme",
        "sessionId": "s",
        "eventType": "view",
        "timestamp": time.time_ns() // 1_000_000 - days * 86_400_000 - 60_000,
    }


def run(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(), "retention", *arguments, "--config", str(node.config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def ask(node: Node, project_id: str, query: str = "", **claims: object) -> tuple[int, Any]:
    token = jwt.encode(
        {"project_id": project_id, "scope": "admin", "exp": int(time.time()) + 600} | claims, JWT_KEY
    )
    status, body = node.request(
        "GET", f"/api/v1/admin/retention{query}", headers={"Authorization": f"Bearer {token}"}
    )
    return status, json.loads(body)


def stored(node: Node) -> int:
    return len(node.read("/api/v1/telemetry/timeline?from=2000-01-01")["events"])


def test_a_rule_refuses_old_events_waits_and_deletes_once_it_is_applied(node: Node):
    status, body = node.post("batch?wait=true", [of_days_ago(days) for days in (1, 5, 40)])
    assert status == 200, body
    node.config.write_text(node.config.read_text() + RULE.format(30))
    assert node.stop() == 0
    node.start()
    node.wait_ready()
    waits = '[[retention]] project = "shop", days = 30: this rule deletes nothing until you run '
    node.wait_until(
        lambda: waits in node.log_path.read_text().replace('\\"', '"'), "the node says that it waits"
    )
    assert node.metric("nealytics_retention_rules_waiting") == 1

    def warned() -> str:
        return " ".join(json.loads(node.request("GET", "/ready")[1]).get("warnings", ()))

    node.wait_until(lambda: f"retention: {waits}" in warned(), "/ready says so too")

    status, body = node.post("track", of_days_ago(31))
    assert status == 400
    assert (
        '[[retention]] project = "shop", days = 30 keeps such events for 30 days'
        in json.loads(body)["message"]
    )

    shown = run(node, "show")
    assert shown.returncode == 0, shown.stderr
    assert "project shop: 30 days; keeps 3 events since " in shown.stdout
    assert "the next run deletes 0 events; after `nealytics retention apply` 1 events since " in shown.stdout
    status, answer = ask(node, "shop")
    assert status == 200
    (rule,) = answer["rules"]
    assert (rule["kept"]["events"], rule["nextRun"]["events"], rule["afterApply"]["events"]) == (3, 0, 1)
    assert waits in answer["waiting"][0]

    refused = run(node, "apply")
    assert (refused.returncode, stored(node)) == (1, 3)
    assert "no terminal to ask for confirmation" in refused.stderr
    applied = run(node, "apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.splitlines()[-1] == "applied; 1 events deleted"
    assert stored(node) == 2
    assert ask(node, "shop")[1]["waiting"] == []


def test_an_admin_token_of_another_project_sees_no_rule_of_this_one(node: Node):
    assert ask(node, "other")[1]["rules"] == []
    assert ask(node, "other", "?project=shop")[0] == 403
    assert ask(node, "shop", scope="project")[0] == 403


def test_the_rules_of_a_stopped_node_can_be_shown(node: Node):
    assert node.stop() == 0
    try:
        shown = run(node, "show", "--json")
        assert shown.returncode == 0, shown.stderr
        (rule,) = json.loads(shown.stdout)["rules"]
        assert rule["project"] == "shop"
    finally:
        node.start()
        node.wait_ready()
