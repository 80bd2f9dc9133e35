"""The whole product as processes: start, answer, restart, drain, stop."""

import concurrent.futures
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

from nealytics.clickhouse.embedded import read_access
from tests.e2e.node import KEY, Node, descendants, program

pytestmark = [pytest.mark.e2e, pytest.mark.engine]


@pytest.fixture(params=[1, 2], ids=["one_worker", "two_workers"])
def workers(request: pytest.FixtureRequest) -> int:
    """Two workers pass the same tests as one."""
    return int(request.param)


def event(session_id: str = "s-1", **fields: object) -> dict[str, object]:
    return {"projectId": "shop", "tenantId": "acme", "sessionId": session_id, "eventType": "view", **fields}


def identified(session_id: str, number: int) -> dict[str, object]:
    return event(session_id, eventId=str(uuid.UUID(int=number + 1)), timestamp=1_700_000_000_000 + number)


def session_counts(node: Node) -> dict[str, int]:
    answer = node.read("/api/v1/analytics/sessions?from=2020-01-01T00:00:00Z&limit=10000")
    return {session["sessionId"]: session["eventCount"] for session in answer["sessions"]}


def send_until_told_to_stop(port: int) -> int:
    """A client that keeps its connection: how many answers it got until one said `Connection: close`.

    A reset, or an end without an answer, is an error.
    """
    body = json.dumps(event()).encode()
    headers = {"X-Project-Key": KEY}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    connection.auto_open = 0
    for answers in range(1, 1_000_000):
        connection.request("POST", "/api/v1/telemetry/track", body, headers)
        answer = connection.getresponse()
        assert answer.status == 202
        answer.read()
        if answer.will_close:
            return answers
        time.sleep(0.01)
    raise AssertionError("the server did not stop")


def test_stop_breaks_no_request_of_clients_that_keep_their_connections(tmp_path: Path, workers: int):
    with Node(tmp_path, workers=workers, clickhouse="http://127.0.0.1:1") as node:
        node.wait_ready("/ready/ingest")
        with concurrent.futures.ThreadPoolExecutor(8) as clients:
            sending = [clients.submit(send_until_told_to_stop, node.port) for _ in range(8)]
            node.wait_until(lambda: node.metric("nealytics_events_ingested_total") >= 80, "all are sending")
            assert node.stop() == 0
            assert sum(done.result() for done in sending) >= 80


def test_events_come_back_after_a_stop_and_a_start(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers)
    with node:
        node.wait_ready()
        assert node.post("track", event("by-track")) == (202, b"")
        assert (
            node.request(
                "POST", f"/api/v1/telemetry/beacon?k={KEY}", json.dumps([event("by-beacon")] * 2).encode()
            )[0]
            == 204
        )
        status, body = node.post("batch", [event("by-batch"), {"projectId": "shop"}], query="?wait=true")
        answer = json.loads(body)
        assert (status, answer["accepted"], answer["rejected"], answer["committed"]) == (200, 1, 1, True)
        expected = {"by-track": 1, "by-beacon": 2, "by-batch": 1}
        node.wait_until(lambda: session_counts(node) == expected, "all events are readable")
        assert node.stop() == 0
        node.start()
        node.wait_ready()
        assert session_counts(node) == expected
        assert node.stop() == 0


def test_acknowledged_events_outlive_a_kill_of_everything(tmp_path: Path, workers: int):
    """Flushing is far off, so at the kill the events are nowhere but in the log."""
    node = Node(tmp_path, workers=workers, settings="commit.flush_interval_s = 3600")
    with node:
        node.wait_ready()
        for number in range(20):
            assert node.post("track", identified("kept", number))[0] == 202
        node.kill()
        node.start()
        node.wait_ready("/ready/ingest")
        node.wait_until(lambda: node.metric("nealytics_queue_depth_current") == 20, "the log has them all")
        node.kill()
    again = Node(tmp_path, workers=workers)
    with again:
        again.wait_ready()
        again.wait_until(lambda: session_counts(again) == {"kept": 20}, "the events are readable")


def test_ingest_goes_on_while_the_engine_is_dead(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers)
    with node:
        node.wait_ready()
        sent = 0
        for _ in range(3):
            node.wait_until(lambda: node.kill_one("embedded-child"), "there is an engine to be killed")
            for _ in range(10):
                assert node.post("track", identified("through", sent))[0] == 202
                sent += 1
            time.sleep(0.3)
        node.wait_until(lambda: session_counts(node) == {"through": sent}, "the log has drained")


def test_a_killed_worker_comes_back_and_its_log_drains(tmp_path: Path):
    node = Node(tmp_path, workers=2)
    with node:
        node.wait_ready()
        sent = 0
        for round_ in range(4):
            for _ in range(10):
                # A connection that the dying worker had accepted is reset; its event was not acknowledged.
                try:
                    if node.post("track", identified("survivors", sent))[0] == 202:
                        sent += 1
                except (OSError, http.client.HTTPException):
                    continue
            # A worker that is killed before it is up has not counted its start.
            node.wait_until(lambda starts=2 + round_: starts_of(node) == starts, "its start is counted")
            node.wait_until(lambda index=round_: node.kill_one("worker", index), "there is one to be killed")
        node.wait_until(lambda: starts_of(node) == 6, "both workers are back")
        node.wait_until(lambda: session_counts(node).get("survivors", 0) >= sent, "the logs have drained")
        assert len(node.pids("worker")) == 2


class KeepsConnection(threading.Thread):
    """A client that sends until `stop` is set, and connects again after a failure."""

    def __init__(self, port: int, stop: threading.Event) -> None:
        super().__init__()
        self.answers = self.failures = 0
        self.unexpected: list[int] = []
        self._stop_ = stop
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()
        self.local_port = int(self._connection.sock.getsockname()[1])

    def run(self) -> None:
        while not self._stop_.is_set():
            try:
                self._connection.request(
                    "POST", "/api/v1/telemetry/track", json.dumps(event()), {"X-Project-Key": KEY}
                )
                answer = self._connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.failures += 1
                self._connection.close()
                continue
            self.answers += 1
            if answer.status != 202:
                self.unexpected.append(answer.status)
            time.sleep(0.005)
        self._connection.close()


def owners(node: Node, port: int) -> dict[int, int]:
    """The port of each client's end of a connection → the worker that has accepted it."""
    inodes = {}
    for pid in node.pids("worker"):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes[os.readlink(fd)] = pid
            except FileNotFoundError:
                continue  # closed meanwhile
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, *rest = line.split()
        owner = inodes.get(f"socket:[{rest[6]}]")
        if owner is not None and int(local.split(":")[1], 16) == port:
            found[int(remote.split(":")[1], 16)] = owner
    return found


def test_a_killed_worker_costs_no_request_of_the_others(tmp_path: Path):
    stop = threading.Event()
    node = Node(tmp_path, workers=2)
    with node:
        node.wait_ready()
        clients = [KeepsConnection(node.port, stop) for _ in range(16)]
        owner: dict[int, int] = {}

        def all_are_accepted() -> bool:
            owner.update(owners(node, node.port))
            return all(client.local_port in owner for client in clients)

        node.wait_until(all_are_accepted, "a worker has accepted each connection")
        victim = owner[clients[0].local_port]
        theirs = [client for client in clients if owner[client.local_port] == victim]
        others = [client for client in clients if owner[client.local_port] != victim]
        assert others, "the kernel gave all connections to one worker"
        for client in clients:
            client.start()
        try:
            node.wait_until(lambda: all(client.answers > 10 for client in clients), "all have answers")
            os.kill(victim, signal.SIGKILL)
            node.wait_until(lambda: starts_of(node) == 3, "the worker is back")
            before = {client: client.answers for client in clients}
            node.wait_until(
                lambda: all(client.answers > before[client] + 10 for client in clients), "all go on"
            )
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert [client.unexpected for client in clients] == [[]] * len(clients)
        assert [client.failures for client in others] == [0] * len(others)
        # Their connection was reset, once; the next one waits for the worker, or is the other one's.
        assert [client.failures for client in theirs] == [1] * len(theirs)


def starts_of(node: Node) -> float:
    return node.metric("nealytics_worker_starts_total")


def test_fewer_workers_drain_the_logs_of_those_that_are_gone(tmp_path: Path):
    many = Node(tmp_path, workers=3, settings="commit.flush_interval_s = 3600")
    with many:
        many.wait_ready()
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: many.post("track", identified("adopted", n))[0], range(120)))
        assert answers == [202] * 120
        assert len(list((tmp_path / "data" / "wal").glob("[0-9]*"))) == 3
        many.kill()
    one = Node(tmp_path, workers=1)
    with one:
        one.wait_ready()
        one.wait_until(lambda: session_counts(one) == {"adopted": 120}, "worker 0 has drained the three logs")
        one.wait_drained()


def test_an_engine_that_dies_is_started_again_on_the_same_port(tmp_path: Path):
    with Node(tmp_path) as node:
        node.wait_ready()
        supervisor = node.process
        (engine,) = node.pids("embedded-child")
        before = read_access(tmp_path / "data")
        os.kill(engine, signal.SIGKILL)
        node.wait_until(
            lambda: node.pids("embedded-child") not in ([], [engine]), "the engine is started again"
        )
        node.wait_ready()
        assert node.process is supervisor
        assert read_access(tmp_path / "data") == before
        status, _ = node.post("batch?wait=true", [event()])
        assert status == 200
        assert node.stop() == 0


def test_nothing_outlives_the_supervisor(tmp_path: Path):
    """`kill` fails if a process is still there a minute after the supervisor was SIGKILLed."""
    node = Node(tmp_path, workers=2)
    with node:
        node.wait_ready()
        assert node.process is not None
        supervisor = node.process.pid
        node.wait_until(lambda: len(descendants(supervisor)) == 3, "two workers and the engine run")
        node.kill()


def test_a_stop_answers_what_is_in_flight_and_leaves_an_empty_log(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers, settings="commit.flush_interval_s = 3600")
    with node:
        node.wait_ready()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            pending = [pool.submit(node.post, "track", identified("last", n)) for n in range(50)]
            acknowledged = sum(future.result()[0] == 202 for future in pending)
        assert acknowledged == 50
        assert node.stop() == 0
        assert "did not stop within" not in node.log_path.read_text(), "no worker had to be killed"
        inspected = subprocess.run(
            [*program(), "wal", "inspect", "--json", "--config", str(node.config)],
            capture_output=True,
            text=True,
            check=True,
        )
        logs = [json.loads(line) for line in inspected.stdout.splitlines()]
        assert [log["waiting"] for log in logs] == [0] * workers
        assert sum(log["last_lsn"] for log in logs) == 50


def test_a_retried_event_with_id_and_timestamp_is_counted_once(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers)
    with node:
        node.wait_ready()
        for _ in range(5):
            # Waited for, so that each lands in a batch, and so in a part, of its own.
            assert node.post("batch", [identified("once", 7)], query="?wait=true")[0] in (200, 202)
        assert session_counts(node) == {"once": 1}


def test_another_tenants_token_sees_nothing(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers)
    with node:
        node.wait_ready()
        assert node.post("batch", [event("mine")])[0] == 202
        node.wait_until(lambda: session_counts(node) == {"mine": 1}, "the event is readable")
        assert node.read("/api/v1/telemetry/timeline", tenant_id="other")["events"] == []
        assert node.read("/api/v1/telemetry/timeline", project_id="other")["events"] == []


def test_a_log_of_the_csharp_engine_is_taken_over(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers)
    wal = tmp_path / "data" / "wal"
    wal.mkdir(parents=True, mode=0o700)
    lines = [
        json.dumps(
            {
                **event("inherited"),
                "eventId": str(uuid.UUID(int=n + 1)),
                "metadataJson": "{}",
                "timestamp": f"2024-06-15T10:30:{n:02}.1234567Z",
            }
        )
        for n in range(30)
    ]
    (wal / "telemetry_wal.replay").write_text("\n".join(lines[:10]) + "\n")
    (wal / "telemetry_wal.log").write_text("\n".join(lines[10:]) + "\n")
    with node:
        node.wait_ready()
        node.wait_until(lambda: session_counts(node) == {"inherited": 30}, "the old log is readable")
        assert not (wal / "telemetry_wal.log").exists()
        assert (wal / "telemetry_wal.log.imported").exists()
        assert (wal / "telemetry_wal.replay.imported").exists()


def test_secrets_are_in_no_log_line(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers, settings='observe.log_level = "debug"')
    with node:
        node.wait_ready()
        node.post("track", event())
        node.request(
            "POST",
            f"/api/v1/telemetry/beacon?k={KEY}",
            gzip.compress(json.dumps([event()]).encode()),
            {"Content-Encoding": "gzip"},
        )
        for line in (
            f"GET /x?k={KEY} HTTP/9.9\r\n\r\n",
            f"POST /{'x' * 9000}?k={KEY} HTTP/1.1\r\n\r\n",
            f"GARBAGE k={KEY}\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", node.port)) as sock:
                sock.sendall(line.encode())
                sock.recv(1000)
        node.stop()
    text = node.log_path.read_text()
    assert "nealytics" in text
    assert KEY not in text
    assert "end-to-end-test-key" not in text
    for line in text.splitlines():
        json.loads(line)


def test_a_second_signal_ends_a_stop_that_takes_too_long(tmp_path: Path, workers: int):
    node = Node(tmp_path, workers=workers)
    with node:
        node.wait_ready()
        assert node.process is not None
        # A worker that cannot answer: stopped, it ignores SIGTERM.
        os.kill(node.pids("worker")[0], signal.SIGSTOP)
        node.process.send_signal(signal.SIGTERM)
        # Two signals that wait at once are one.
        node.wait_until(lambda: "serve: stopping" in node.log_path.read_text(), "the first is heard")
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(60) == 0
        node.process = None
        assert "second SIGTERM" in node.log_path.read_text()
        assert "did not stop within" not in node.log_path.read_text(), "nobody waited for it"


def test_systemd_hears_that_the_node_is_ready_alive_and_stopping(tmp_path: Path, workers: int):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        heard: list[bytes] = []

        def listen() -> None:
            """All the time, as systemd does: the kernel keeps ten messages, and who sends more waits."""
            while message := systemd.recv(1000):
                heard.append(message)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        node = Node(
            tmp_path,
            workers=workers,
            environ={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"},
        )
        with node:
            node.wait_until(lambda: heard, "it says something")
            assert b"READY=1" in heard[0]
            assert node.request("GET", "/health")[0] == 200
            node.wait_until(lambda: len(heard) >= 3, "its watchdog is fed")
            assert heard[1:3] == [b"WATCHDOG=1"] * 2
            assert node.stop() == 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(tmp_path / "notify"))
        listener.join(60)
        assert not listener.is_alive()
        assert b"STOPPING=1" in heard
