"""Erasures with two nodes on one ClickHouse server: from the answer on, neither shows the events."""

import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.node import Node, descendants, token
from tests.e2e.test_backup_server import execute
from tests.e2e.test_erasure import TIMELINE, admin, erase, event, send, users, wait_state
from tests.engine import RunningEngine, needs_engine, start_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

TABLE = "nealytics_core.global_events"


class Place(NamedTuple):
    server: RunningEngine
    first: Node
    second: Node


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("nodes")
    with start_engine(root / "server") as server:
        settings = f"""
            clickhouse.user = "{server.user}"
            clickhouse.password = "{server.password}"
        """
        nodes = []
        for name in ("first", "second"):
            (root / name).mkdir()
            nodes.append(Node(root / name, clickhouse=server.url, settings=settings))
        with nodes[0], nodes[1]:
            for node in nodes:
                node.wait_ready()
            yield Place(server, *nodes)


def signal_all(node: Node, number: int) -> None:
    assert node.process is not None
    for pid in (node.process.pid, *descendants(node.process.pid)):
        os.kill(pid, number)


def count(place: Place, tenant: str) -> int:
    """Copies included, as raw SQL shows them."""
    sql = f"SELECT count() FROM {TABLE} WHERE tenant_id = '{tenant}' SETTINGS final = 0"
    return int(execute(place.server, sql))


def test_the_other_node_hides_the_events_from_the_answer_on(place: Place):
    send(place.first, *(event(n, "u-1", tenant="t1") for n in range(10)))
    assert users(place.second, "t1") == ["u-1"] * 10
    erase(place.first, tenant="t1")
    assert users(place.second, "t1") == []
    assert users(place.first, "t1") == []


def test_a_node_that_stood_still_shows_nothing_that_was_erased_meanwhile(place: Place):
    send(place.first, *(event(n, "u-1", tenant="t2") for n in range(10)))
    assert users(place.second, "t2") == ["u-1"] * 10
    signal_all(place.second, signal.SIGSTOP)
    try:
        erase(place.first, tenant="t2")
    finally:
        signal_all(place.second, signal.SIGCONT)
    headers = {"Authorization": f"Bearer {token('shop', 't2')}"}
    for _ in range(100):
        status, body = place.second.request("GET", TIMELINE, headers=headers)
        # Until it has read the list it refuses, in the words for a ClickHouse that does not answer.
        assert status == 503 or b'"events":[]' in body, body
        if status == 200:
            break
    place.second.wait_until(lambda: users(place.second, "t2") == [], "it answers again")


def test_what_waits_in_the_log_of_a_node_that_is_down_never_reaches_the_table(place: Place):
    """It was cut into a batch and perhaps sent, before the node was killed."""
    signal_all(place.second, signal.SIGSTOP)
    assert place.server.process is not None
    place.server.process.send_signal(signal.SIGSTOP)
    signal_all(place.second, signal.SIGCONT)
    status, body = place.second.post("batch", [event(n, "u-1", tenant="t3") for n in range(10)])
    assert status == 202, body
    place.second.kill()
    place.server.process.send_signal(signal.SIGCONT)
    place.first.wait_until(
        lambda: place.first.request("GET", "/ready")[0] == 200, "the first node answers again"
    )
    send(place.first, event(20, "u-1", tenant="t3"))
    id = erase(place.first, tenant="t3", now=True)
    wait_state(place.first, id, "removing")
    place.second.start()
    place.second.wait_ready()
    place.second.wait_drained()
    assert count(place, "t3") == 0
    assert place.second.metric("nealytics_events_erased_total") == 10


def test_a_table_of_a_server_that_was_restored_is_erased_again(place: Place):
    """By a backup that is older than the erasure, as docs/backup.md restores it."""
    send(place.first, event(1, "u-1", tenant="t4"), event(2, "u-2", tenant="kept"))
    place.first.wait_drained()
    execute(place.server, "BACKUP DATABASE nealytics_core TO Disk('backups', 'before/')")
    id = erase(place.first, tenant="t4", now=True)
    wait_state(place.first, id, "removing")
    assert count(place, "t4") == 0
    for node in (place.first, place.second):
        assert node.stop() == 0
    execute(place.server, "DROP DATABASE nealytics_core SYNC")
    execute(place.server, "RESTORE DATABASE nealytics_core FROM Disk('backups', 'before/')")
    assert count(place, "t4") == 1
    for node in (place.first, place.second):
        node.start()
        node.wait_ready()
        assert users(node, "t4") == []
        assert users(node, "kept") == ["u-2"]
    place.first.wait_until(lambda: count(place, "t4") == 0, "the rows are deleted again")
    receipt = admin(place.first, "GET", f"/{id}")[1]
    assert (receipt["eventsFound"], receipt["rowsErased"]) == (1, 1)
