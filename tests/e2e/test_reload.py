"""SIGHUP at a node with two workers: what takes effect, and that no request is refused meanwhile."""

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.node import KEY, Node, token
from tests.engine import needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

SECOND = "second-end-to-end-key"
TRACK = "/api/v1/telemetry/track"
EVENT = {"projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node"), workers=2) as node:
        node.wait_ready()
        yield node


@pytest.fixture
def original(node: Node) -> Iterator[str]:
    """The configuration file, which is in effect again afterwards."""
    text = node.config.read_text()
    yield text
    node.config.write_text(text)
    reload(node)


def logged(node: Node) -> list[str]:
    lines = [
        line
        for line in node.log_path.read_text().splitlines()
        if '"logger":"nealytics.supervisor"' in line.replace(": ", ":")
    ]
    messages = [json.loads(line)["message"] for line in lines]
    return [message for message in messages if message.startswith("reload: ")]


def reload(node: Node) -> list[str]:
    """Returns what the node says about it, once it is over."""
    assert node.process is not None
    before = len(logged(node))
    node.process.send_signal(signal.SIGHUP)
    node.wait_until(lambda: any("effect: " in line for line in logged(node)[before:]), "the reload is logged")
    return logged(node)[before:]


def track(node: Node, key: str, **more: object) -> tuple[int, bytes]:
    """On a connection of its own, so that each worker is asked."""
    return node.request(
        "POST",
        TRACK,
        json.dumps(EVENT | more).encode(),
        {"X-Project-Key": key, "Content-Type": "application/json"},
    )


def statuses(node: Node, key: str, **more: object) -> set[int]:
    return {track(node, key, **more)[0] for _ in range(20)}


class Load:
    """Requests on connections that stay open, until the end of the `with`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stop = threading.Event()
        self.answers: list[int] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(4)]

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._node.port, timeout=30)
        headers = {"X-Project-Key": KEY, "Content-Type": "application/json"}
        while not self._stop.is_set():
            connection.request("POST", TRACK, json.dumps(EVENT), headers)
            answer = connection.getresponse()
            answer.read()
            self.answers.append(answer.status)
        connection.close()

    def wait_for_more(self, answers: int) -> None:
        wanted = len(self.answers) + answers
        self._node.wait_until(lambda: len(self.answers) >= wanted, "more requests are answered")

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)


def with_second_key(text: str) -> str:
    return text.replace(f'{{key = "{KEY}"}}', f'{{key = "{KEY}"}}, {{key = "{SECOND}"}}')


def test_no_request_is_refused_while_keys_and_limits_change(node: Node, original: str):
    changed = with_second_key(original)
    assert changed != original
    with Load(node) as load:
        for number in range(4):
            text = changed if number % 2 == 0 else original
            node.config.write_text(
                text.replace("rate_limit_requests = 0", f"rate_limit_requests = {10**6 + number}")
            )
            reload(node)
            load.wait_for_more(20)
    assert set(load.answers) == {202}
    assert len(load.answers) > 80


def test_a_new_key_is_accepted_by_every_worker_and_a_removed_one_by_none(node: Node, original: str):
    assert statuses(node, SECOND) == {401}
    node.config.write_text(with_second_key(original))
    assert reload(node)[-1] == "reload: in effect: auth.api_keys"
    assert statuses(node, SECOND) == {202}
    assert statuses(node, KEY) == {202}
    node.config.write_text(original)
    reload(node)
    assert statuses(node, SECOND) == {401}


def test_a_broken_file_keeps_the_old_configuration_and_says_why(node: Node, original: str):
    at = node.metric("nealytics_config_last_reload_success_timestamp_seconds")
    node.config.write_text(original.replace("[auth]", "[auth]\nno_such_key = 1\n"))
    (line,) = reload(node)
    assert "the old configuration stays in effect: config: unknown key auth.no_such_key" in line
    assert statuses(node, KEY) == {202}
    node.wait_until(lambda: node.metric("nealytics_config_last_reload_successful") == 0, "the metric is 0")
    assert node.metric("nealytics_config_last_reload_success_timestamp_seconds") == at
    node.config.write_text(original)
    reload(node)
    node.wait_until(lambda: node.metric("nealytics_config_last_reload_successful") == 1, "the metric is 1")
    assert node.metric("nealytics_config_last_reload_success_timestamp_seconds") > at


def test_a_setting_that_needs_a_restart_is_named(node: Node, original: str):
    node.config.write_text(original.replace("workers = 2", "workers = 3"))
    found = reload(node)
    assert found[0] == "reload: these changed and take effect at the next start only: server.workers"
    assert len(node.pids("worker")) == 2


def test_retention_and_cors_take_effect(node: Node, original: str):
    old = time.time_ns() // 1_000_000 - 10 * 86_400_000
    assert statuses(node, KEY, timestamp=old) == {202}
    rules = '[[retention]]\nproject = "shop"\ndays = 3\n'
    node.config.write_text(
        original.replace("[server]", '[server]\ncors_allowed_origins = ["https://a.example"]') + rules
    )
    reload(node)
    assert statuses(node, KEY, timestamp=old) == {400}
    _, body = track(node, KEY, timestamp=old)
    assert '[[retention]] project = "shop", days = 3' in json.loads(body)["message"]
    connection = http.client.HTTPConnection("127.0.0.1", node.port)
    connection.request("POST", TRACK, "", {"Origin": "https://b.example"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, None)
    node.wait_until(
        lambda: "this rule deletes nothing until you run" in node.log_path.read_text(),
        "the node says that the rule waits",
    )


def test_a_worker_that_starts_after_a_reload_has_the_new_configuration(node: Node, original: str):
    node.config.write_text(with_second_key(original))
    reload(node)
    before = set(node.pids("worker"))
    for index in range(len(before)):
        node.kill_one("worker", index)
    node.wait_until(
        lambda: len(set(node.pids("worker")) - before) == 2 and statuses(node, SECOND) == {202},
        "both workers are new and have the key",
    )


def test_saved_segments_are_replaced_and_a_mistake_in_one_changes_nothing(node: Node, original: str):
    def asked() -> set[int]:
        bearer = {"Authorization": f"Bearer {token('shop', 'acme')}"}
        path = "/api/v1/telemetry/timeline?filter=segment(lookers)"
        return {node.request("GET", path, headers=bearer)[0] for _ in range(20)}

    assert asked() == {400}
    saved = '[[segment]]\nproject = "shop"\nname = "lookers"\nfilter = ["{}"]\n'
    node.config.write_text(original + saved.format("did(view, 30d)"))
    assert any("segment" in line for line in reload(node))
    assert asked() == {200}
    node.config.write_text(original + saved.format("did(view, 30 days)"))
    (found,) = reload(node)
    assert found.startswith("reload: the old configuration stays in effect: config: segment[0] is")
    assert asked() == {200}
