"""Usage: what a node counted is right after it was killed, over HTTP and on the command line."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.node import Node, program, token
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]


def event(tenant: str, number: int) -> dict[str, object]:
    return {"projectId": "shop", "tenantId": tenant, "sessionId": f"s{number}", "eventType": "view"}


def admin(project_id: str = "shop") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(project_id, None, scope='admin')}"}


def counted(node: Node) -> dict[str, tuple[int, int]]:
    status, body = node.request("GET", "/api/v1/admin/usage?by=total", headers=admin())
    assert status == 200, body
    return {
        line["tenantId"]: (line.get("events", 0), line.get("queries", 0))
        for line in json.loads(body)["usage"]
    }


def test_usage_is_counted_once_whatever_is_killed(tmp_path: Path):
    with Node(tmp_path, workers=2) as node:
        node.wait_ready()
        sent = {"acme": 0, "globex": 0}
        for round_of in range(6):
            for tenant, size in (("acme", 50), ("globex", 7)):
                assert node.post("batch", [event(tenant, number) for number in range(size)])[0] == 202
                sent[tenant] += size
            if round_of % 2:
                node.kill()
                node.start()
                node.wait_ready()
        node.wait_until(
            lambda: {name: events for name, (events, _) in counted(node).items()} == sent,
            "all events are counted",
        )
        for _ in range(3):
            node.read("/api/v1/analytics/summary", tenant_id="acme")
        node.wait_until(lambda: counted(node)["acme"][1] == 3, "the queries are counted")

        # Another project's token, a read token, and what cannot be read.
        path = "/api/v1/admin/usage"
        assert json.loads(node.request("GET", path, headers=admin("other"))[1])["usage"] == []
        assert node.request("GET", f"{path}?project=shop", headers=admin("other"))[0] == 403
        assert node.request("GET", f"{path}?project=shop", headers=admin("*"))[0] == 200
        read = {"Authorization": f"Bearer {token('shop', 'acme')}"}
        assert node.request("GET", path, headers=read)[0] == 403
        for query in (
            "from=yesterday",
            "to=2026-13-01",
            "from=2026-02-01&to=2026-01-01",
            "from=2020-01-01",
            "by=week",
        ):
            status, body = node.request("GET", f"{path}?{query}", headers=admin())
            assert (status, json.loads(body)["code"]) == (400, "invalid_parameter"), query
        assert node.stop() == 0
        shown = subprocess.run(
            [*program(), "usage", "--by", "total", "--config", str(node.config)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    lines = [line.split() for line in shown.splitlines()]
    assert [line[:3] for line in lines if line[:1] == ["shop"]] == [
        ["shop", "acme", "300"],
        ["shop", "globex", "42"],
    ]
