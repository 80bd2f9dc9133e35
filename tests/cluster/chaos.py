"""Random kills and stops of ClickHouse nodes and workers while clients send events; an independent count."""

import http.client
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.cluster.servers import NODES, SHARDS, Cluster
from tests.e2e.node import Node

TENANTS = 40
MONTHS_MS = (
    1_701_000_000_000,
    1_704_000_000_000,
    1_707_000_000_000,
)  # November to February, so four partitions
_BATCH = 100


class Clients:
    """One for each node, where it sends batches. Without a 202 it sends the same events to the next node."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._ended = threading.Event()
        self.acknowledged: list[str] = []

    @contextmanager
    def sending(self) -> Iterator[None]:
        with ThreadPoolExecutor() as pool:
            clients = [pool.submit(self._send, index) for index in range(len(self._nodes))]
            try:
                yield
            finally:
                self._ended.set()
            for client in clients:
                client.result()

    def _send(self, index: int) -> None:
        number = 0
        while not self._ended.is_set():
            events = [_event(uuid.uuid4(), number + n) for n in range(_BATCH)]
            number += _BATCH
            for attempt in range(600):
                node = self._nodes[(index + attempt) % len(self._nodes)]
                if _accepted(node, events):
                    break
                time.sleep(0.1)
            else:
                raise AssertionError("no node accepts events")
            self.acknowledged += [str(event["eventId"]) for event in events]
            time.sleep(0.1)


def _event(event_id: uuid.UUID, number: int) -> dict[str, object]:
    return {
        "projectId": "shop",
        "tenantId": f"t{number % TENANTS}",
        "sessionId": f"s{number % 7}",
        "eventType": "view",
        "eventId": str(event_id),
        "timestamp": MONTHS_MS[number % 3] + number,
    }


def _accepted(node: Node, events: list[dict[str, object]]) -> bool:
    try:
        return node.post("batch", events)[0] == 202
    except (OSError, http.client.HTTPException):
        return False


def torment(cluster: Cluster, nodes: list[Node], seconds: float, rng: random.Random) -> Counter[str]:
    """Kills and stops for so long; what is down or stopped at its end stays so."""
    done: Counter[str] = Counter()
    until = time.monotonic() + seconds
    undo: dict[str, float] = {}  # a node that is down or stopped, and until when
    while (now := time.monotonic()) < until:
        for name in [name for name, due in undo.items() if due <= now]:
            del undo[name]
            if name in cluster.stopped:
                cluster.resume(name)
            else:
                cluster.start(name)
        name = rng.choice(NODES)
        what = rng.choices(["kill", "stop", "kill a worker"], weights=[5, 5, 1])[0]
        if what == "kill a worker":
            done[what] += rng.choice(nodes).kill_one("worker", rng.randrange(4))
        elif name not in undo:
            cluster.kill(name) if what == "kill" else cluster.stop(name)
            # Up to longer than a session of ZooKeeper, 6 s, which a stopped node then has lost.
            undo[name] = time.monotonic() + rng.choice([0.1, 1, 3, 9]) * rng.random()
            done[what] += 1
        time.sleep(rng.uniform(0.1, 1.5))
    return done


def stored(cluster: Cluster, database: str) -> Counter[str]:
    """How often each event is in the tables of the shards, by the rows of both replicas, which must agree."""
    counted: Counter[str] = Counter()
    for replicas in SHARDS.values():
        of_shard = []
        for name in replicas:
            cluster.ask(name, f"SYSTEM SYNC REPLICA {database}.global_events_local")
            sql = f"SELECT toString(event_id), count() FROM {database}.global_events_local GROUP BY event_id"
            of_shard.append(Counter({str(id): int(str(n)) for id, n in cluster.rows(name, sql)}))
        assert of_shard[0] == of_shard[1], f"{replicas[0]} and {replicas[1]} have different events"
        counted += of_shard[0]
    return counted
