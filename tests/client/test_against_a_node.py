"""The client and a real node, with a proxy between them that does what networks do.

Each test runs with the blocking client and with that of asyncio.
"""

import asyncio
import http.client
import inspect
import json
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nealytics.client import (
    AsyncClient,
    AsyncReader,
    Client,
    Event,
    IncompleteExport,
    Reader,
    ReadError,
    RejectedError,
    SendError,
    mint_token,
)
from tests.e2e.node import JWT_KEY, KEY, Node, free_port
from tests.engine import needs_engine
from tests.fakes.batch_server import KEY as FAKE_KEY
from tests.fakes.batch_server import BatchServer
from tests.fakes.certificates import make_certificate
from tests.fakes.faulty_proxy import (
    Answer,
    Exchange,
    FaultyProxy,
    drops,
    fails,
    loses_the_answer,
)

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

PROJECT = "shop"


class OnALoop:
    """The client of asyncio, called as if it blocked."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            given = found(*args, **kwargs)
            if inspect.isasyncgen(given):
                return self._each(given)
            if inspect.isawaitable(given):
                return self._runner.run(_awaited(given))
            return OnALoop(given, self._runner)

        return called

    def _each(self, generator: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._runner.run(_awaited(anext(generator)))
            except StopAsyncIteration:
                return

    def __enter__(self) -> "OnALoop":
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._target.__aexit__(*error))


async def _awaited(given: Any) -> Any:
    return await given


Connect = Callable[..., Any]


@pytest.fixture(params=["blocking", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Iterator[tuple[Connect, Connect]]:
    """How to make a client, and how to make a reader."""
    if request.param == "blocking":
        yield Client, Reader
        return
    with asyncio.Runner() as runner:
        yield (
            lambda *args, **kwargs: OnALoop(AsyncClient(*args, **kwargs), runner),
            lambda *args, **kwargs: OnALoop(AsyncReader(*args, **kwargs), runner),
        )


@pytest.fixture
def connect(kind: tuple[Connect, Connect]) -> Connect:
    return lambda url, key=KEY, **options: kind[0](url, key, **{"project_id": PROJECT, **options})


@pytest.fixture
def read(kind: tuple[Connect, Connect]) -> Connect:
    return lambda url, token, **options: kind[1](url, token, **options)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        node.wait_ready()
        yield node


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    return request.node.name


def token_of(tenant: str) -> str:
    return mint_token(PROJECT, tenant, key=JWT_KEY)


def count(node: Node, tenant: str) -> int:
    """What the node has of a tenant, once everything that it took can be read."""
    node.wait_drained()
    with Reader(node.url, token_of(tenant)) as reader:
        events: int = reader.get("summary")["events"]
        return events


def make(tenant: str, number: int = 1, **fields: Any) -> list[Event]:
    own: dict[str, Any] = {
        "project_id": PROJECT, "tenant_id": tenant, "session_id": "s", "event_type": "view", **fields
    }  # fmt: skip
    return [Event(**own) for _ in range(number)]


def track(client: Any, times: int, tenant: str = "acme") -> None:
    for _ in range(times):
        client.track("view", tenant_id=tenant, session_id="s")


# Sending


def test_what_was_tracked_is_read_with_a_minted_token(
    node: Node, tenant: str, connect: Connect, read: Connect
):
    with connect(node.url) as client:
        event = client.track(
            "invoice_paid", tenant_id=tenant, session_id="s-1", user_id="ada", item_id="/x",
            metadata={"total": 12.5, "name": "Ü\u2028"}, wait=True,
        )  # fmt: skip
    with read(node.url, token_of(tenant)) as reader:
        (found,) = reader.get("timeline", limit=5)["events"]
        assert reader.get("summary", from_="2026-01-01")["events"] == 1
        assert reader.query({"all": {"endpoint": "summary"}})["all"]["events"] == 1
    assert found["eventId"] == str(event.event_id)
    assert (found["userId"], found["itemId"]) == ("ada", "/x")
    assert json.loads(found["metadataJson"]) == {"total": 12.5, "name": "Ü\u2028"}


def test_an_error_of_the_server_is_tried_again_and_counts_once(node: Node, tenant: str, connect: Connect):
    with FaultyProxy(node.port, fails(500, b"oops")) as proxy, connect(proxy.url) as client:
        client.track("view", tenant_id=tenant, session_id="s")
    assert len(proxy.bodies) == 2
    assert proxy.bodies[0] == proxy.bodies[1]
    assert count(node, tenant) == 1


def test_an_answer_that_gets_lost_counts_once(node: Node, tenant: str, connect: Connect):
    faults = (loses_the_answer, drops, lambda exchange: exchange.answer_a_part(exchange.forward(), 10))
    with FaultyProxy(node.port, *faults) as proxy, connect(proxy.url) as client:
        assert client.send(make(tenant, 50)).accepted == 50
    assert len(proxy.bodies) == 4
    assert count(node, tenant) == 50


def test_a_server_that_does_not_answer_in_time_is_asked_again(node: Node, tenant: str, connect: Connect):
    answered = threading.Event()

    def answers_late(exchange: Exchange) -> None:
        answer = exchange.forward()
        answered.wait(60)
        exchange.answer(answer)

    with FaultyProxy(node.port, answers_late) as proxy, connect(proxy.url, timeout_s=0.5) as client:
        client.track("view", tenant_id=tenant, session_id="s")
        answered.set()
    assert count(node, tenant) == 1


def test_a_node_that_asks_to_come_back_later_is_obeyed(tmp_path: Path, connect: Connect):
    """Its own limit: two requests a second, and nobody may queue."""
    settings = """
        ingest.rate_limit_requests = 2
        ingest.rate_limit_window_s = 1
        ingest.rate_limit_queue_max = 0
        auth.api_keys = [{"key": "end-to-end-key"}, {"key": "bound-key", "project": "other"}]
    """
    nowhere = f"http://127.0.0.1:{free_port()}"
    with Node(tmp_path, clickhouse=nowhere, settings=settings) as node:
        node.wait_ready("/ready/ingest")
        with FaultyProxy(node.port) as proxy, connect(proxy.url) as client:
            for _ in range(5):
                client.track("view", tenant_id="acme", session_id="s")
        node.wait_until(lambda: node.metric("nealytics_queue_depth_current") == 5, "five are in the log")
        assert len(proxy.bodies) > 5
        with connect(node.url, give_up_after_s=0) as impatient, pytest.raises(SendError) as caught:
            track(impatient, 20)
        with connect(node.url, "bound-key") as bound, pytest.raises(RejectedError) as forbidden:
            track(bound, 1)
    assert (caught.value.status, caught.value.code) == (429, "rate_limited")
    assert caught.value.retry_after_s > 0
    assert len(caught.value.events) == 1
    (rejection,) = forbidden.value.rejections
    assert (rejection.field, rejection.message) == (
        "projectId",
        'projectId is "shop", which this key must not write',
    )


def test_a_node_killed_between_its_disk_and_its_answer_counts_once(tmp_path: Path, connect: Connect):
    """A request that waits is on disk and not answered while ClickHouse cannot be reached. Killed then, the
    node starts again with a ClickHouse, the log still has the events, and the client sends them once more."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with Node(tmp_path, clickhouse=nowhere, settings="ingest.wait_timeout_s = 120") as node:
        node.wait_ready("/ready/ingest")
        events = make("acme", 20)
        with connect(node.url, give_up_after_s=300) as client, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(client.send, events, wait=True)
            node.wait_until(lambda: node.metric("nealytics_queue_depth_current") == 20, "it is on disk")
            assert not sending.done()
            node.kill()
            node.config.write_text(node.config.read_text().replace(nowhere, "embedded"))
            node.start()
            assert sending.result(300) == (20, True)
        assert count(node, "acme") == 20


def test_a_poisoned_event_is_named_and_the_others_are_counted(node: Node, tenant: str, connect: Connect):
    events = make(tenant, 10)
    (events[3],) = make(tenant, event_type="x" * 300)
    (events[7],) = make(tenant, session_id="")
    with connect(node.url) as client, pytest.raises(RejectedError) as caught:
        client.send(events)
    assert [(r.index, r.event, r.field) for r in caught.value.rejections] == [
        (3, events[3], "eventType"),
        (7, events[7], "sessionId"),
    ]
    assert "eventType has 300 characters, at most 256" in caught.value.rejections[0].message
    assert caught.value.accepted == 8
    assert count(node, tenant) == 8


def test_all_of_a_thousand_poisoned_events_are_named(node: Node, tenant: str, connect: Connect):
    events = [*make(tenant, 1_000, session_id=""), *make(tenant, 3)]
    with connect(node.url) as client, pytest.raises(RejectedError) as caught:
        client.send(events)
    assert [r.index for r in caught.value.rejections] == list(range(1_000))
    assert count(node, tenant) == 3


def test_more_than_a_request_may_hold_is_sent_in_several(node: Node, tenant: str, connect: Connect):
    events = make(tenant, 12, metadata={"text": "ü" * 60_000})
    with FaultyProxy(node.port) as proxy, connect(proxy.url) as client:
        assert client.send(events, wait=True) == (12, True)
    assert len(proxy.bodies) == 3
    assert {headers["Content-Encoding"] for headers in proxy.headers} == {"gzip"}
    assert count(node, tenant) == 12


def test_a_batch_is_sent_at_its_end_and_names_what_was_refused(node: Node, tenant: str, connect: Connect):
    with FaultyProxy(node.port) as proxy, connect(proxy.url) as client:
        with client.batch() as batch:
            for _ in range(30):
                batch.track("view", tenant_id=tenant, session_id="s")
            assert proxy.bodies == []
        assert len(proxy.bodies) == 1

        def refused() -> None:
            with client.batch() as batch:
                batch.track("", tenant_id=tenant, session_id="s")
                batch.track("view", tenant_id=tenant, session_id="s")

        def failed() -> None:
            with client.batch() as batch:
                batch.track("view", tenant_id=tenant, session_id="s")
                _ = 1 / 0

        with pytest.raises(RejectedError) as rejected:
            refused()
        with pytest.raises(ZeroDivisionError):
            failed()
    assert [r.index for r in rejected.value.rejections] == [0]
    assert count(node, tenant) == 32


def test_an_unreachable_node_gives_the_events_back_and_they_count_once(
    node: Node, tenant: str, connect: Connect
):
    nowhere = f"http://127.0.0.1:{free_port()}"
    with (
        connect(nowhere, give_up_after_s=0.5) as client,
        pytest.raises(SendError, match="3 events are not confirmed") as caught,
    ):
        client.send(make(tenant, 3))
    assert caught.value.status == 0
    with connect(node.url) as client:
        for _ in range(2):
            client.send([Event.from_json(event.to_json()) for event in caught.value.events])
    assert count(node, tenant) == 3


def test_a_wrong_key_is_reported_at_once(node: Node, tenant: str, connect: Connect):
    for events in (make(tenant), make(tenant, 100, metadata={"text": "x" * 4_000})):
        with (
            FaultyProxy(node.port) as proxy,
            connect(proxy.url, "wrong-key") as client,
            pytest.raises(SendError) as caught,
        ):
            client.send(events)
        assert (caught.value.status, caught.value.code) == (401, "unauthorized")
        assert caught.value.events == events
        assert len(proxy.bodies) == 1
        assert "wrong-key" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\r\nX-Other: 1", "schlüssel"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(connect: Connect, key: str):
    with pytest.raises(ValueError, match="key is empty or contains an invalid character") as caught:
        connect("http://127.0.0.1", key)
    assert not key or key not in str(caught.value)


def test_an_untrusted_certificate_is_reported_at_once(tmp_path: Path, connect: Connect):
    certificate = make_certificate(tmp_path)
    with BatchServer(tls=certificate) as server:
        url = f"https://localhost:{server.port}"
        with (
            connect(url, FAKE_KEY) as client,
            pytest.raises(SendError, match="its certificate is not trusted"),
        ):
            client.send(make("acme"))
        trusted = ssl.create_default_context(cafile=str(certificate))
        with connect(url, FAKE_KEY, ssl_context=trusted) as client:
            assert client.send(make("acme", 2)).accepted == 2


def test_connections_are_kept_and_one_that_the_server_closed_is_not_used(
    node: Node, tenant: str, connect: Connect
):
    closes: Any = lambda exchange: (exchange.answer(exchange.forward()), exchange.drop())  # noqa: E731
    with FaultyProxy(node.port) as proxy, connect(proxy.url) as client:
        for _ in range(10):
            client.track("view", tenant_id=tenant, session_id="s")
        assert proxy.connections == 1
        proxy.faults.append(closes)
        for _ in range(10):
            client.track("view", tenant_id=tenant, session_id="s")
        assert len(proxy.bodies) == 20
    assert count(node, tenant) == 20


def test_a_closed_client_says_so(node: Node, connect: Connect):
    client = connect(node.url)
    with client:
        pass
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.send(make("acme"))


# Reading


def test_pages_go_through_all_events(node: Node, tenant: str, connect: Connect, read: Connect):
    events = make(tenant, 25)
    with connect(node.url) as client:
        client.send(events, wait=True)
    with read(node.url, token_of(tenant)) as reader:
        pages = list(reader.pages("timeline", limit=10))
    assert [len(page["events"]) for page in pages] == [10, 10, 5]
    assert {e["eventId"] for page in pages for e in page["events"]} == {str(e.event_id) for e in events}


def test_an_export_is_all_events(node: Node, tenant: str, connect: Connect, read: Connect):
    events = make(tenant, 1_500, metadata={"text": "line\nend"})
    with connect(node.url) as client:
        client.send(events, wait=True)
    with read(node.url, lambda: token_of(tenant)) as reader:
        found = list(reader.export())
        nothing = list(reader.export(event_type="nothing"))
    assert {event.event_id for event in found} == {event.event_id for event in events}
    assert found[0].metadata == {"text": "line\nend"}
    assert nothing == []


def _cut(whole: Answer, size: int) -> Answer:
    """As a proxy does that makes a complete answer of what it got."""
    return whole._replace(body=whole.body[:size])


@pytest.mark.parametrize("broken", ["as if it were whole", "in the middle of it"])
def test_a_cut_export_is_an_error(node: Node, tenant: str, connect: Connect, read: Connect, broken: str):
    with connect(node.url) as client:
        client.send(make(tenant, 500), wait=True)

    def plainly(exchange: Exchange) -> Answer:
        whole = exchange.forward()
        assert whole.body.count(b"\n") == 501
        return whole

    def cuts(exchange: Exchange) -> None:
        whole = plainly(exchange)
        at = whole.body.rindex(b"\n", 0, len(whole.body) // 2) + 1
        if broken == "as if it were whole":
            exchange.answer(_cut(whole, at))
        else:
            exchange.answer_a_part(whole, at)

    def asks_for_it_as_it_is(exchange: Exchange) -> None:
        del exchange.request_headers["Accept-Encoding"]
        cuts(exchange)

    proxy = FaultyProxy(node.port, asks_for_it_as_it_is)
    with proxy, read(proxy.url, token_of(tenant)) as reader, pytest.raises(IncompleteExport) as caught:
        list(reader.export())
    assert 0 < caught.value.events < 500


def test_a_cut_export_that_is_compressed_is_an_error(
    node: Node, tenant: str, connect: Connect, read: Connect
):
    with connect(node.url) as client:
        client.send(make(tenant, 500), wait=True)

    def cuts(exchange: Exchange) -> None:
        whole = exchange.forward()
        assert whole.headers["Content-Encoding"] == "gzip"
        exchange.answer(_cut(whole, len(whole.body) - 20))

    with (
        FaultyProxy(node.port, cuts) as proxy,
        read(proxy.url, token_of(tenant)) as reader,
        pytest.raises(IncompleteExport),
    ):
        list(reader.export())


def test_a_rejected_token_is_reported_and_a_function_is_asked_for_another(
    node: Node, tenant: str, read: Connect
):
    given: list[str] = []

    def give() -> str:
        given.append("not.a.token" if not given else token_of(tenant))
        return given[-1]

    with read(node.url, give) as reader:
        assert reader.get("summary")["events"] == 0
        assert reader.get("summary")["events"] == 0
        assert len(given) == 2
        with pytest.raises(ReadError) as bad:
            reader.get("timeseries", interval="fortnight")
        with pytest.raises(ReadError) as export:
            list(reader.export(from_="last_decade"))
    assert (bad.value.status, bad.value.field) == (400, "interval")
    assert (export.value.status, export.value.field) == (400, "from")
    with read(node.url, "not.a.token") as reader, pytest.raises(ReadError) as unknown:
        reader.get("summary")
    assert unknown.value.status == 401


# Each in its own way


def test_a_connection_over_tls_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """TLS records after the handshake do not look like the end of an idle connection."""
    connect = http.client.HTTPSConnection.connect
    connections: list[object] = []

    def counted(connection: http.client.HTTPSConnection) -> None:
        connections.append(connection)
        connect(connection)

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", counted)
    certificate = make_certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=str(certificate))
    with BatchServer(tls=certificate) as server:
        url = f"https://localhost:{server.port}"
        with Client(url, FAKE_KEY, project_id=PROJECT, ssl_context=trusted) as client:
            track(client, 10)
    assert len(connections) == 1


def test_threads_share_a_client(node: Node, tenant: str):
    with Client(node.url, KEY, project_id=PROJECT) as client, ThreadPoolExecutor(16) as pool:
        tracked = list(
            pool.map(lambda n: client.track("view", tenant_id=tenant, session_id=str(n)).event_id, range(400))
        )
    assert len(set(tracked)) == 400
    assert count(node, tenant) == 400


def test_a_client_goes_on_in_forked_processes(node: Node, tenant: str):
    """As under gunicorn, which loads the application and forks."""
    script = """
        import os, sys
        from nealytics.client import Client
        client = Client(sys.argv[1], sys.argv[2], project_id="shop")
        client.track("view", tenant_id=sys.argv[3], session_id="s")
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                for _ in range(10):
                    client.track("view", tenant_id=sys.argv[3], session_id="s")
                os._exit(0)
            children.append(pid)
        for _ in range(10):
            client.track("view", tenant_id=sys.argv[3], session_id="s")
        sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), node.url, KEY, tenant], check=True, timeout=120
    )
    assert count(node, tenant) == 51


async def test_tasks_share_a_client(node: Node, tenant: str):
    async with AsyncClient(node.url, KEY, project_id=PROJECT) as client:
        await asyncio.gather(*(client.track("view", tenant_id=tenant, session_id=str(n)) for n in range(200)))
    assert await asyncio.to_thread(count, node, tenant) == 200


async def test_a_cancelled_call_can_be_repeated_and_counts_once(node: Node, tenant: str):
    arrived, go_on = threading.Event(), threading.Event()

    def holds_the_answer(exchange: Exchange) -> None:
        answer = exchange.forward()
        arrived.set()
        go_on.wait(60)
        exchange.answer(answer)

    events = make(tenant, 5)
    with FaultyProxy(node.port, holds_the_answer) as proxy:
        async with AsyncClient(proxy.url, KEY) as client:
            sending = asyncio.create_task(client.send(events))
            await asyncio.to_thread(arrived.wait, 60)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            go_on.set()
            assert (await client.send(events)).accepted == 5
    assert await asyncio.to_thread(count, node, tenant) == 5


def test_a_client_of_asyncio_says_that_it_belongs_to_another_loop(node: Node, tenant: str):
    client = AsyncClient(node.url, KEY, project_id=PROJECT)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(client.send(make(tenant)))
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run(client.send(make(tenant)))
        first.run(client.close())


async def test_a_token_may_come_from_a_coroutine(node: Node, tenant: str):
    async def give() -> str:
        await asyncio.sleep(0)
        return token_of(tenant)

    async with AsyncReader(node.url, give) as reader:
        assert (await reader.get("summary"))["events"] == 0


def test_an_address_may_be_one_of_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                heads.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        heads: list[bytes] = []
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        with Client(f"http://[::1]:{port}", "a-key") as client, pytest.raises(SendError, match="404"):
            client.send(make("acme"))
        thread.join(30)
    assert f"Host: [::1]:{port}\r\n".encode() in heads[0]


def test_a_server_that_answers_before_it_has_the_body_is_heard():
    """And closes: what is still being sent breaks, and its answer counts all the same."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                body = b'{"code": "unauthorized", "message": "the API key is unknown"}'
                connection.sendall(
                    b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        with (
            Client(f"http://127.0.0.1:{port}", "a-key", compress=False) as client,
            pytest.raises(SendError) as caught,
        ):
            client.send(make("acme", 900, metadata={"text": "x" * 400}))
        thread.join(30)
    assert caught.value.code == "unauthorized"
