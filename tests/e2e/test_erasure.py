"""Erasures at a node: what reads show, what the disk has, what comes back, and what a crash does."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.e2e.node import JWT_KEY, KEY, Node, program
from tests.engine import ask_engine, needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

CANARY = "canary-4711-of-an-erased-person"
TIMELINE = "/api/v1/telemetry/timeline?from=2000-01-01&limit=1000"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node"), workers=2) as node:
        node.wait_ready()
        quick_parts(node)
        yield node


@pytest.fixture
def new_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Without erasures: those of other tests remove whole segments of the log when they get to it."""
    with Node(tmp_path_factory.mktemp("new"), workers=2) as node:
        node.wait_ready()
        quick_parts(node)
        yield node


def quick_parts(node: Node) -> None:
    """Replaced parts go within seconds, instead of eight minutes. The engine reads it at its start, and the
    node would set it back."""
    settings = "old_parts_lifetime = 1, cleanup_delay_period = 1, cleanup_delay_period_random_add = 0"
    sql = f"ALTER TABLE nealytics_core.global_events MODIFY SETTING {settings}, max_cleanup_delay_period = 1"
    assert ask_engine(node.directory / "data", sql).status == 200
    assert node.stop() == 0
    node.config.write_text(
        node.config.read_text().replace("[clickhouse]\n", "[clickhouse]\napply_schema = false\n")
    )
    node.start()
    node.wait_ready()


def event(number: int, user: str, *, tenant: str = "acme", minutes_ago: int = 5) -> dict[str, Any]:
    return {
        "projectId": "shop",
        "tenantId": tenant,
        "sessionId": f"s-{user}",
        "userId": user,
        "eventType": "view",
        "eventId": f"00000000-0000-4000-8000-{number:012}",
        "timestamp": 1_000 * (int(time.time()) // 1_000 * 1_000 - 60 * minutes_ago),
        "metadataJson": json.dumps({"n": number, "note": user}),
    }


def send(node: Node, *events: dict[str, Any]) -> None:
    status, body = node.post("batch?wait=true", list(events))
    assert status in (200, 202), body


def admin(
    node: Node, method: str, path: str = "", body: object = None, project: str = "shop"
) -> tuple[int, Any]:
    claims = {
        "project_id": project,
        "scope": "admin",
        "sub": "dpo@example.com",
        "exp": int(time.time()) + 600,
    }
    status, answer = node.request(
        method,
        f"/api/v1/admin/erasures{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {jwt.encode(claims, JWT_KEY)}"},
    )
    return status, json.loads(answer)


def erase(node: Node, **body: Any) -> str:
    status, receipt = admin(node, "POST", body=body)
    assert status == 202, receipt
    assert receipt["state"] == "pending"
    assert receipt["requestedBy"] == "dpo@example.com"
    return str(receipt["id"])


def wait_state(node: Node, id: str, *states: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def reached() -> bool:
        found.clear()
        found.update(admin(node, "GET", f"/{id}")[1])
        return found["state"] in states

    node.wait_until(reached, f"the erasure is {states}")
    return found


def users(node: Node, tenant: str = "acme") -> list[str]:
    return sorted(one["userId"] for one in node.read(TIMELINE, tenant_id=tenant)["events"])


def files_with(directory: Path, text: str) -> list[str]:
    found = subprocess.run(
        ["grep", "-rlaF", text, str(directory)], capture_output=True, text=True, check=False
    )
    return found.stdout.splitlines()


def test_a_user_is_hidden_at_once_removed_from_the_disk_and_does_not_come_back(node: Node):
    theirs = [event(n, CANARY) for n in range(20)]
    others = [event(n, "u-2") for n in range(20, 25)]
    send(node, *theirs, *others)
    assert len(users(node)) == 25
    data = node.directory / "data"
    assert files_with(data, CANARY)

    id = erase(node, tenant="acme", user=CANARY, now=True)
    for _ in range(20):  # of either worker
        assert users(node) == ["u-2"] * 5
    receipt = wait_state(node, id, "done")
    assert receipt["eventsFound"] == 20
    assert receipt["rowsErased"] >= 20
    assert receipt["removedAt"] >= receipt["erasedAt"] >= receipt["requestedAt"]
    assert receipt["backups"] == []
    assert "userId" not in receipt
    assert users(node) == ["u-2"] * 5
    assert files_with(node.directory, CANARY) == []

    before = node.metric("nealytics_events_erased_total")
    send(node, *theirs, event(40, "u-3"))
    assert users(node) == ["u-2"] * 5 + ["u-3"]
    assert node.metric("nealytics_events_erased_total") - before == 20
    assert files_with(node.directory, CANARY) == []
    # A later event of the same user is accepted.
    send(node, event(41, CANARY, minutes_ago=-60))
    assert CANARY in users(node)


def test_a_tenant_is_erased_everywhere_although_every_process_is_killed_on_the_way(node: Node):
    secret = "canary-of-a-whole-tenant"
    theirs = [
        event(100 + n, f"u-{n}", tenant="gone") | {"metadataJson": json.dumps({"note": secret})}
        for n in range(50)
    ]
    send(node, *theirs)
    assert len(users(node, "gone")) == 50
    id = erase(node, tenant="gone", now=True)
    node.kill()
    node.start()
    node.wait_ready()
    assert users(node, "gone") == []
    wait_state(node, id, "running", "removing", "done")
    node.kill()
    node.start()
    node.wait_ready()
    # A client that never got its answer sends everything again, and some of it waits in the log.
    send(node, *theirs)
    assert users(node, "gone") == []
    receipt = wait_state(node, id, "done")
    assert receipt["rowsErased"] >= 50
    assert users(node, "gone") == []
    assert files_with(node.directory, secret) == []


def test_a_request_is_checked_and_a_token_sees_its_own_project_only(node: Node):
    assert admin(node, "POST", body={"user": "u-1"})[1]["field"] == "tenant"
    assert admin(node, "POST", body={"tenant": "acme", "user": ""})[1]["field"] == "user"
    assert admin(node, "POST", body={"tenant": "acme", "before": "soon"})[1]["field"] == "before"
    assert admin(node, "POST", body={"tenant": "acme", "usr": "u-1"})[0] == 400
    assert admin(node, "POST", body={"tenant": "acme", "project": "other"})[0] == 403
    id = erase(node, tenant="nobody")
    assert admin(node, "GET", f"/{id}")[0] == 200
    assert admin(node, "GET", f"/{id}", project="other")[0] == 404
    assert id in [one["id"] for one in admin(node, "GET")[1]["erasures"]]
    assert admin(node, "GET", project="other")[1] == {"erasures": []}


def run(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(), *arguments, "--config", str(node.config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_erases_at_a_running_node(node: Node):
    send(node, event(200, "u-9", tenant="shop-2"), event(201, "u-8", tenant="shop-2"))
    chosen = ("erase", "--project", "shop", "--tenant", "shop-2", "--user", "u-9")
    refused = run(node, *chosen)
    assert refused.returncode == 1
    assert "this erases 1 event of user u-9 of tenant shop-2 in project shop" in refused.stdout
    assert "add --yes" in refused.stderr
    assert users(node, "shop-2") == ["u-8", "u-9"]
    erased = run(node, *chosen, "--yes")
    assert erased.returncode == 0, erased.stderr
    assert users(node, "shop-2") == ["u-8"]
    id = erased.stdout.splitlines()[1].split()[0]
    assert "project shop, tenant shop-2, user u-9" in run(node, "erasures", id).stdout
    assert json.loads(run(node, "erasures", "--json").stdout)["erasures"][0]["id"] == id


def salvage(directory: Path, option: str, target: Path) -> None:
    command = [*program(), "wal", "salvage", str(directory), "--all", option, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_file_a_dead_letter_or_a_comparison_brings_back_stays_erased(new_node: Node, tmp_path: Path):
    node = new_node
    theirs = [event(300 + n, "u-5", tenant="again") for n in range(5)]
    others = [event(310 + n, "u-6", tenant="again") for n in range(5)]
    send(node, *theirs, *others)
    exported = tmp_path / "events.ndjson"
    chosen = ("--project", "shop", "--tenant", "again")
    assert run(node, "export", str(exported), *chosen).returncode == 0
    wal = tmp_path / "wal"
    assert run(node, "wal", "reconcile", "--check").returncode == 0
    shutil.copytree(node.directory / "data" / "wal", wal)  # as an older copy of the machine has it
    id = erase(node, tenant="again", user="u-5", now=True)
    wait_state(node, id, "removing", "done")

    imported = run(node, "import", str(exported), "--key", KEY)
    assert imported.returncode == 0, imported.stderr
    compared = run(node, "wal", "reconcile", str(wal))
    assert "5 erased" in compared.stdout
    assert compared.returncode == 0, compared.stdout + compared.stderr
    # What an older copy of the log has comes back as NDJSON and as a log that the node drains.
    before = node.metric("nealytics_events_erased_total")
    for directory in wal.glob("[0-9]"):
        salvaged = tmp_path / f"{directory.name}.ndjson"
        salvage(directory, "--ndjson", salvaged)
        if salvaged.exists():
            done = run(node, "import", str(salvaged), "--key", KEY)
            assert done.returncode == 0, done.stderr
        adopted = node.directory / f"data/wal/{7 + int(directory.name)}"
        salvage(directory, "--to", adopted)
    assert node.metric("nealytics_events_erased_total") - before >= 5
    assert node.stop() == 0
    node.start()
    node.wait_ready()
    node.wait_until(lambda: node.metric("nealytics_events_erased_total") >= 5, "the logs are drained")
    node.wait_drained()
    again = tmp_path / "again.ndjson"
    assert run(node, "export", str(again), *chosen).returncode == 0
    assert [json.loads(line)["userId"] for line in again.read_text().splitlines()] == ["u-6"] * 5
    assert users(node, "again") == ["u-6"] * 5
    counted = ask_engine(
        node.directory / "data",
        "SELECT count() FROM nealytics_core.global_events WHERE tenant_id = 'again' AND user_id = 'u-5'",
    )
    assert counted.body.strip() == b"0"
