"""Every answer names its request, every error says the name, and the log has it."""

import asyncio
import json
import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from nealytics.clickhouse.client import ClickHouseClient, Endpoint
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import AuthConfig, ClickHouseConfig, Config, ServerConfig
from nealytics.errors import LogBroken, LogFull
from nealytics.http import app as app_module
from nealytics.observe import log as observe_log
from nealytics.observe.log import REPEATS_MAX
from tests.fakes.log import RefusingLog
from tests.fakes.worker import ANY, BATCH, BEACON, TRACK, event, serving
from tests.http.reader import JWT_KEY, TIMELINE, Reader, reader_of

OWN = re.compile("[0-9a-f]{20}")
MINE = {"X-Request-Id": "checkout-7f"}
BODY = json.dumps(event()).encode()
HEAD = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\nX-Request-Id: checkout-7f\r\n".encode()


class Log:
    """The log as an operator sees it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def begin(self, level: str = "info") -> None:
        observe_log.setup(level)

    def lines(self) -> list[dict[str, Any]]:
        """What was written since the last call."""
        return [json.loads(line) for line in self._capsys.readouterr().err.splitlines()]

    def of_requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "request_id" in line]


@pytest.fixture
def log(capsys) -> Iterator[Log]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    yield Log(capsys)
    root.handlers[:], sys.excepthook, threading.excepthook = before[0], before[2], before[3]
    root.setLevel(before[1])
    logging.captureWarnings(False)


@pytest.fixture
def failing_route(monkeypatch):
    async def fails(_request: web.Request) -> web.Response:
        raise ValueError("the reason")

    build = app_module.build_app

    def with_route(*args, **kwargs):
        app = build(*args, **kwargs)
        app.router.add_get("/api/v1/fails", fails)
        return app

    monkeypatch.setattr("tests.fakes.worker.build_app", with_route)


def head_and_body(answer: bytes) -> tuple[str, dict[str, Any]]:
    """The id of a raw answer's head, and its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.findall(rb"^x-request-id: (\S+)\r?$", head, re.MULTILINE | re.IGNORECASE)
    assert len(found) == 1, head
    return found[0].decode(), json.loads(body) if body else {}


# Answers


async def test_every_answer_has_an_id_of_its_own(failing_route):
    async with serving() as worker:
        answers = [
            await worker.post(TRACK, event()),
            await worker.post(TRACK, event()),
            await worker.post(TRACK, event(), headers={"Origin": "https://shop.example"}),
            await worker.post(BEACON, [event()]),
            await worker.post(BATCH, [event()]),
            await worker.get("/api/v1/fails"),
            await worker.get("/nothing"),
        ]
        assert [answer.status for answer in answers] == [202, 202, 202, 204, 202, 500, 404]
        ids = [answer.headers["X-Request-Id"] for answer in answers]
        assert all(OWN.fullmatch(name) for name in ids)
        assert len(set(ids)) == len(ids)


async def test_the_client_s_id_comes_back():
    async with serving() as worker:
        for path, body in ((TRACK, event()), (BEACON, [event()]), (BATCH, [event()])):
            answer = await worker.post(path, body, headers=MINE)
            assert answer.headers.getall("X-Request-Id") == ["checkout-7f"]
            assert (await worker.post(path, body)).headers["X-Request-Id"] != "checkout-7f"


async def test_an_id_that_could_break_a_log_is_replaced():
    async with serving() as worker:
        for given in ('a"b', "a b", "x" * 200, "é"):
            answer = await worker.post(TRACK, event(), headers={"X-Request-Id": given})
            assert OWN.fullmatch(answer.headers["X-Request-Id"])


async def test_requests_on_one_connection_do_not_share_an_id():
    async with serving() as worker:
        one = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        other = one.replace(b"X-Request-Id: checkout-7f\r\n", b"")
        last = other.replace(b"Host: x", b"Host: x\r\nConnection: close")
        answer = await worker.raw(one + other + one + last)
        first, second, third, fourth = re.findall(rb"(?i)x-request-id: (\S+)", answer)
        assert (first, third) == (b"checkout-7f", b"checkout-7f")
        assert len({first, second, fourth}) == 3


async def test_every_error_says_the_id_of_its_answer(failing_route):
    async with serving(rate_limit_requests=6, rate_limit_window_s=60, rate_limit_queue_max=0) as worker:
        answers = [
            await worker.get("/api/v1/fails"),
            await worker.get("/nothing"),
            await worker.get(TRACK),
            await worker.post(TRACK, {}),
            await worker.post(TRACK, b"[", headers={"Content-Encoding": "zip"}),
            await worker.post(TRACK, b"x" * 2_000_000),
            await worker.post(BATCH, [{}]),
            await worker.post(TRACK, event(), key="wrong"),
            await worker.post(TRACK, {}, headers={"Origin": "https://shop.example"}),
            await worker.post(TRACK, event()),
            await worker.post(TRACK, event()),
        ]
        statuses = [500, 404, 405, 400, 415, 413, 400, 401, 400, 202, 429]
        assert [answer.status for answer in answers] == statuses
        for answer in answers:
            if answer.status != 202:
                assert answer.json["requestId"] == answer.headers["X-Request-Id"]
        refused = await worker.post(BATCH, [], headers=MINE, key="wrong")
        assert refused.json["requestId"] == "checkout-7f"


async def test_a_batch_that_is_taken_is_no_error_and_says_no_id():
    async with serving() as worker:
        assert (await worker.post(BATCH, [event(), {}])).json.keys() == {"accepted", "rejected", "errors"}


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"not http at all\r\n\r\n", 400),
        (b"GET /x" + b"y" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (HEAD + b"Expect: tea\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 417),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nConnection: close\r\n\r\n", 417),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nZ\r\n", 400),
        (HEAD[:20], 408),
    ],
    ids=["no HTTP", "long line", "Expect", "Expect of a GET", "broken chunk", "half a head"],
)
async def test_what_is_refused_before_any_handler_has_an_id_too(request_bytes, status):
    async with serving(server=ServerConfig(header_timeout_s=0.3)) as worker:
        answer = await worker.raw(request_bytes)
        assert int(answer.split()[1]) == status
        name, body = head_and_body(answer)
        assert body["requestId"] == name
        assert body["detail"]
        assert b"X-Content-Type-Options: nosniff" in answer
        # Nothing of an invalid request is trusted, so neither is its id.
        assert (name == "checkout-7f") == (status == 417 and b"checkout-7f" in request_bytes)


async def test_the_refusal_of_a_connection_has_an_id_that_the_log_has(log):
    log.begin()
    async with serving(server=ServerConfig(connections_max=1, keepalive_timeout_s=5)) as worker:
        await worker.post(TRACK, event())
        name, body = head_and_body(await worker.raw(b""))
        assert body["code"] == "too_many_connections"
        assert body["requestId"] == name
    (line,) = [line for line in log.lines() if line["level"] == "warning"]
    assert line["request_id"] == name


# The log


async def test_a_failure_is_found_in_the_log_by_the_id_that_its_client_has(failing_route, log):
    log.begin()
    async with serving() as worker:
        answer = await worker.get("/api/v1/fails")
        await worker.get("/api/v1/fails", headers=MINE)
    found = log.of_requests()
    assert [line["request_id"] for line in found] == [answer.json["requestId"], "checkout-7f"]
    assert all("ValueError: the reason" in line["exception"] for line in found)


@pytest.mark.parametrize("error", [LogFull("the disk is full"), LogBroken("fdatasync failed")])
async def test_a_refusal_that_is_our_fault_is_in_the_log_with_its_cause(log, error):
    log.begin()
    async with serving(log=RefusingLog(error)) as worker:
        answer = await worker.post(TRACK, event(), headers=MINE, params={"k": "a-key-that-is-secret"})
        assert answer.status == 503
    (line,) = log.of_requests()
    assert line["request_id"] == "checkout-7f"
    assert answer.json["code"] in line["message"]
    assert TRACK in line["message"]
    assert line["error"] == str(error)
    assert "a-key-that-is-secret" not in json.dumps(line)


async def test_what_the_client_did_wrong_is_not_logged(log):
    log.begin()
    async with serving() as worker:
        await worker.post(TRACK, {})
        await worker.post(TRACK, event(), key="wrong")
        await worker.get("/nothing")
    assert log.of_requests() == []


async def test_a_flood_of_one_failure_is_cut_and_hides_no_other(log):
    log.begin()
    async with serving(log=RefusingLog(LogFull("full"))) as worker:
        for _ in range(REPEATS_MAX + 10):
            await worker.post(TRACK, event())
        worker_log = log.lines()
    assert sum("log_full" in line["message"] for line in worker_log) == REPEATS_MAX
    async with serving(log=RefusingLog(LogBroken("broken"))) as worker:
        await worker.post(TRACK, event())
        assert sum("log_broken" in line["message"] for line in log.lines()) == 1


async def test_each_request_has_a_line_at_level_debug_and_none_above_it(log):
    log.begin()
    async with serving() as worker:
        await worker.post(TRACK, event(), headers=MINE)
    assert log.of_requests() == []
    log.begin("debug")
    async with serving() as worker:
        for _ in range(REPEATS_MAX + 5):
            await worker.post(TRACK, event(), headers=MINE, params={"k": "a-key-that-is-secret"})
        await worker.get("/nothing")
    found = [line for line in log.lines() if line["logger"] == "nealytics.http"]
    assert len(found) == REPEATS_MAX + 6
    assert re.fullmatch(rf"http: POST {TRACK}: 202 in \d+\.\d ms", found[0]["message"])
    assert found[0]["request_id"] == "checkout-7f"
    assert "http: GET /nothing: 404" in found[-1]["message"]
    assert "a-key-that-is-secret" not in json.dumps(found)


async def test_a_line_outside_of_a_request_has_no_id(log):
    log.begin()
    async with serving() as worker:
        await worker.post(TRACK, event())
        logging.getLogger("nealytics.commit").warning("commit: of many requests")
    assert ["request_id" in line for line in log.lines() if line["logger"] == "nealytics.commit"] == [False]


# Reads


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ClickHouseUnavailable("http://failing: connection refused"), 503),
        (ClickHouseError(62, "syntax error"), 500),
    ],
)
async def test_what_clickhouse_says_is_in_the_log_under_the_request_s_id(log, error, status):
    log.begin()
    async with reader_of(error) as reader:
        got, body, headers = await reader.get(TIMELINE)
    assert got == status
    assert body["requestId"] == headers["X-Request-Id"]
    (line,) = [line for line in log.lines() if line.get("request_id") == body["requestId"]]
    assert str(error) in json.dumps(line)


class Recorder:
    """An address that answers every query with no rows, and remembers its parameters."""

    def __init__(self) -> None:
        self.queries: list[Any] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        return web.json_response({"data": []}, headers={"X-ClickHouse-Query-Id": "q"})


async def test_a_read_query_carries_the_id_as_its_log_comment():
    recorder = Recorder()
    app = web.Application()
    app.router.add_post("/", recorder.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = Config(auth=AuthConfig(jwt_key=JWT_KEY), clickhouse=ClickHouseConfig(url=url))
    try:
        async with ClickHouseClient(Endpoint(url=url), config.clickhouse) as client:
            async with Reader(client, config) as reader:
                # It does not refuse the canary, so it is the only query.
                status, body, _ = await reader.get(TIMELINE)
                assert (status, body["code"]) == (503, "scope_not_proven")
            await asyncio.create_task(client.query("SELECT 1"))
    finally:
        await runner.cleanup()
    of_the_request, of_nobody = recorder.queries
    assert of_the_request["log_comment"] == body["requestId"]
    assert "log_comment" not in of_nobody
