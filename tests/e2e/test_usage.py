"""Usage: what a node counted is right after it was killed, over HTTP and on the command line."""

import json
import signal
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
        node.wait_until(
            lambda: node.metric("nealytics_tenant_events_total") == sum(sent.values()),
            "the tenants' metrics have them",
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


QUOTAS = """
[[quota]]
project = "shop"
events_per_month = 100

[[quota]]
project = "shop"
tenant = "acme"
events_per_month = 5
queries_per_day = 2
"""


def quotas(node: Node) -> dict[tuple[str, str], tuple[int, int]]:
    status, body = node.request("GET", "/api/v1/admin/usage", headers=admin())
    assert status == 200, body
    return {
        (line["tenantId"], line["quota"]): (line["used"], line["limit"])
        for line in json.loads(body)["quotas"]
    }


def reload(node: Node) -> None:
    assert node.process is not None
    before = node.log_path.read_text().count("in effect")
    node.process.send_signal(signal.SIGHUP)
    node.wait_until(lambda: node.log_path.read_text().count("in effect") > before, "the reload is logged")


def test_quotas_hold_across_workers_restarts_and_reloads(tmp_path: Path):
    with Node(tmp_path, workers=2) as node:
        original = node.config.read_text()
        node.wait_ready()
        for _ in range(5):
            assert node.post("track", event("acme", 1))[0] == 202
        node.config.write_text(QUOTAS + original)
        reload(node)
        used = ("acme", "events_per_month")
        node.wait_until(lambda: quotas(node).get(used) == (5, 5), "what was used before counts")

        # Each request has a connection of its own, so both workers are asked.
        def refused() -> bool:
            return {node.post("track", event("acme", number))[0] for number in range(12)} == {429}

        node.wait_until(refused, "both workers refuse")
        status, body = node.post("batch", [event("acme", 1), event("globex", 2)])
        answer = json.loads(body)
        assert (status, answer["accepted"], [one["index"] for one in answer["errors"]]) == (202, 1, [0])
        node.wait_until(lambda: node.metric("nealytics_quota_used_ratio") >= 1, "the metric shows it")

        def asked() -> int:
            headers = {"Authorization": f"Bearer {token('shop', 'acme')}"}
            return node.request("GET", "/api/v1/analytics/summary", headers=headers)[0]

        assert asked() == 200
        node.wait_until(lambda: asked() == 429, "the quota of queries is used up")
        node.read("/api/v1/analytics/summary", tenant_id="globex")

        node.kill()
        node.start()
        node.wait_ready()
        node.wait_until(refused, "both workers refuse after a kill")
        shown = subprocess.run(
            [*program(), "usage", "--config", str(node.config)], capture_output=True, text=True, check=True
        ).stdout
        _, _, table = shown.partition("Quotas, now:")
        rows = [line.split()[1:6] for line in table.splitlines() if line.startswith("shop")]
        # A worker that had not read the other's file yet may have accepted some more.
        assert rows[0][:2] == ["acme", "events_per_month"]
        assert int(rows[0][2]) >= 5
        assert ["(all)", "events_per_month"] in [row[:2] for row in rows]

        node.config.write_text(original)
        reload(node)
        assert {node.post("track", event("acme", number))[0] for number in range(12)} == {202}
        assert asked() == 200
