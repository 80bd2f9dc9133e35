"""Asking a node how it is, from the command line."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nealytics.cli import main
from tests.fakes.batch_server import BatchServer
from tests.fakes.certificates import make_certificate

READY = {
    "status": "ready",
    "clickhouse": {"ok": True},
    "committer": {"ok": True},
    "log": {"ok": True},
    "waitingEvents": 1234,
    "oldestWaitingSeconds": 0.25,
    "pid": 4321,
}
METRICS = b"""\
# TYPE nealytics_events_ingested_total counter
nealytics_events_ingested_total 12345.0
# TYPE nealytics_events_refused_total counter
nealytics_events_refused_total{reason="invalid_event"} 3.0
nealytics_events_refused_total{reason="unauthorized"} 4.0
# TYPE nealytics_wal_bytes gauge
nealytics_wal_bytes 1e+06
"""


READY_GAUGE = b"# TYPE nealytics_ready gauge\nnealytics_ready %d\n"


class StubNode:
    """Answers as a node would, with what a test puts here."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {
            "/health": (200, b'{"status":"ok"}'),
            "/ready": (200, json.dumps(READY).encode()),
            "/metrics": (200, METRICS),
        }
        answers = self.answers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answers.get(self.path, (404, b"{}"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def node() -> Iterator[StubNode]:
    node = StubNode()
    threading.Thread(target=node.server.serve_forever, daemon=True).start()
    yield node
    node.server.shutdown()
    node.server.server_close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_node_that_answers_is_healthy(node: StubNode):
    assert run("health", "--url", node.url).exit_code == 0


def test_a_node_is_found_by_its_configuration(node: StubNode, tmp_path: Path):
    port = node.server.server_address[1]
    (tmp_path / "nealytics.toml").write_text(f'[server]\nlisten = "0.0.0.0:{port}"\n')
    result = run("health", "--config", str(tmp_path / "nealytics.toml"))
    assert (result.exit_code, result.output) == (0, "ok\n")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_any_other_answer_is_not_healthy(node: StubNode, status: int):
    node.answers["/health"] = (status, b"")
    result = run("health", "--url", node.url)
    assert result.exit_code == 1
    assert str(status) in result.output


def test_a_node_that_is_not_there_is_not_healthy():
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert run("health", "--url", url).exit_code == 1
        result = run("status", "--url", url)
    assert result.exit_code == 2
    assert f"{url} does not answer: Connection refused; start the node" in result.output


def test_status_is_a_table_of_parts_and_figures(node: StubNode):
    result = run("status", "--url", node.url)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert lines[0] == f"{node.url}: ready"
    assert "pid 4321" in lines
    assert "events queued 1,234" in lines
    assert "events accepted 12,345" in lines
    assert "events refused 7" in lines, "all reasons together"
    assert "clickhouse ok" in lines


def test_status_says_what_does_not_work_and_fails(node: StubNode):
    broken = {**READY, "status": "not ready", "clickhouse": {"ok": False, "problem": "no way there"}}
    node.answers["/ready"] = (503, json.dumps(broken).encode())
    result = run("status", "--url", node.url)
    assert result.exit_code == 1
    assert "NOT OK: no way there" in result.output


def test_the_first_line_names_damage_and_warnings_beside_the_state(node: StubNode):
    found = {**READY, "damage": ["a part"], "warnings": ["one", "two"]}
    node.answers["/ready"] = (200, json.dumps(found).encode())
    first = run("status", "--url", node.url).output.splitlines()[0]
    assert first == f"{node.url}: ready, DAMAGED stored events (1), 2 warnings"


def test_status_shows_what_ready_warns_of(node: StubNode):
    warned = {**READY, "warnings": ["the table keeps events for ever"]}
    node.answers["/ready"] = (200, json.dumps(warned).encode())
    result = run("status", "--url", node.url)
    assert result.exit_code == 0
    assert "the table keeps events for ever" in result.output


def test_without_metrics_status_says_how_to_get_them(node: StubNode):
    del node.answers["/metrics"]
    result = run("status", "--url", node.url)
    assert result.exit_code == 0
    assert "observe.prometheus = true" in result.output


def test_a_worker_that_does_not_answer_itself_is_reported_too(node: StubNode):
    """The one that answers is well; the node is not."""
    node.answers["/metrics"] = (200, METRICS + READY_GAUGE % 1)
    result = run("status", "--url", node.url)
    assert result.exit_code == 0
    assert [line.split() for line in result.output.splitlines() if "workers" in line] == [
        ["all", "workers", "ok"]
    ]
    node.answers["/metrics"] = (200, METRICS + READY_GAUGE % 0)
    result = run("status", "--url", node.url)
    assert result.exit_code == 1
    assert "all workers" in result.output
    assert "NOT OK: one is not running" in result.output
    assert json.loads(run("status", "--json", "--url", node.url).output)["workers"]["ok"] is False


def test_status_as_json_has_everything(node: StubNode):
    report = json.loads(run("status", "--json", "--url", node.url).output)
    assert report["waitingEvents"] == 1234
    assert report["metrics"]["nealytics_events_refused_total"] == 7


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"[1]", b'{"code":"not_found"}', b'{"status":"ok","waitingEvents":null}']
)
def test_another_program_that_answers_is_recognized(node: StubNode, body: bytes):
    node.answers["/ready"] = (200, body)
    result = run("status", "--url", node.url)
    assert result.exit_code == 1
    assert "is it a Nealytics node?" in result.output


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe", b"a{b= 1\n"])
def test_an_answer_without_metrics_is_reported(node: StubNode, body: bytes):
    """A proxy may answer a path that it keeps inside with a page of its own, and status 200."""
    node.answers["/metrics"] = (200, body)
    result = run("status", "--url", node.url)
    assert result.exit_code == 1
    assert "answered without metrics" in result.output


@pytest.mark.parametrize("url", ["localhost:5000", "ftp://x", "http://", "http://h:p", "http://[::1"])
def test_an_address_that_is_none_says_what_to_write(url: str):
    assert "write e.g. http://localhost:5000" in run("health", "--url", url).output


def test_an_untrusted_certificate_is_reported_as_such(tmp_path: Path):
    with BatchServer(tls=make_certificate(tmp_path)) as server:
        result = CliRunner().invoke(main, ["status", "--url", f"https://localhost:{server.port}"])
    assert result.exit_code == 2
    assert "its certificate is not trusted: self-signed certificate; set SSL_CERT_FILE" in result.output
