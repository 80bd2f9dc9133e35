"""Raw bytes against the server: slow clients, too many, broken requests, and an orderly end."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import socket
import sys
import termios
import time
from collections.abc import Iterator

import pytest
import uvloop

from nealytics.config import ServerConfig
from tests.fakes import worker as fake_worker
from tests.fakes.worker import ANY, BATCH, TRACK, FakeWorker, event, serving
from tests.waiting import until, until_async

BODY = json.dumps(event()).encode()
HEAD = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\n".encode()
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
REFUSED = WHOLE.replace(ANY.encode(), b"wrong")

FAST = ServerConfig(
    header_timeout_s=0.4, body_idle_timeout_s=0.5, request_timeout_s=1.0, keepalive_timeout_s=0.6
)


# One limit is short and the others as they are by default, 5 s and more, so it is this one that is seen.
HEAD_LIMIT = ServerConfig(header_timeout_s=0.4)
REQUEST_LIMIT = ServerConfig(request_timeout_s=1.0)
KEPT_LIMIT = ServerConfig(keepalive_timeout_s=0.6)
# On a machine that is busy with something else a limit comes late. Without one, none of these would ever end.
SOON_S = 90.0


@pytest.fixture(scope="module", params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def event_loop_policy(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoopPolicy]:
    """Workers run on uvloop, which accepts, closes and half-closes otherwise than asyncio does. There the
    fast lane is on, here it is off, so that both are held to the same."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_worker, "FAST_LANE", request.param is uvloop.EventLoopPolicy)
        yield policy


async def connect(worker: FakeWorker) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", worker.port)


async def seconds_until_closed(reader: asyncio.StreamReader) -> tuple[float, bytes]:
    started = time.monotonic()
    try:
        answer = await asyncio.wait_for(reader.read(), SOON_S)
    except ConnectionResetError:
        answer = b""
    return time.monotonic() - started, answer


def body_of(answer: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"X-Content-Type-Options: nosniff" in head
    assert b"Content-Type: application/json" in head
    return json.loads(body)


# S1: slow clients


async def test_connection_that_says_nothing_is_closed_in_silence():
    async with serving(server=HEAD_LIMIT) as worker:
        started = time.monotonic()
        reader, _ = await connect(worker)
        _, answer = await seconds_until_closed(reader)
        assert answer == b""
        assert 0.3 < time.monotonic() - started < SOON_S


@pytest.mark.parametrize("part", [b"P", b"POST / HTTP/1.1\r\nHost: x", WHOLE[: len(HEAD)]])
async def test_half_a_head_is_answered_408(part):
    async with serving(server=HEAD_LIMIT) as worker:
        reader, writer = await connect(worker)
        writer.write(part)
        took, answer = await seconds_until_closed(reader)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert body_of(answer)["code"] == "request_timeout"
        assert took < SOON_S


async def test_head_that_comes_byte_by_byte_is_cut_off_all_the_same():
    async with serving(server=HEAD_LIMIT) as worker:
        reader, writer = await connect(worker)
        dripping = asyncio.create_task(drip(writer, HEAD))
        took, answer = await seconds_until_closed(reader)
        dripping.cancel()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert took < SOON_S


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.1)


async def test_second_head_on_a_kept_connection_has_the_same_time():
    async with serving(server=HEAD_LIMIT) as worker:
        reader, writer = await connect(worker)
        writer.write(WHOLE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202")
        await asyncio.sleep(0.2)
        writer.write(b"POST ")
        took, answer = await seconds_until_closed(reader)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert took < SOON_S


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize("whole", [WHOLE, HEAD + CHUNKED, WHOLE * 3], ids=["length", "chunked", "pipelined"])
@pytest.mark.parametrize("half", [b"P", b"POST / HTTP/1.1\r\nHost: x", HEAD, b"\r\n\r\nGET /a"])
async def test_half_a_head_behind_a_whole_request_has_the_same_time(whole, half):
    async with serving(server=HEAD_LIMIT) as worker:
        answer = await worker.raw(whole + half)
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
        assert statuses == [b"202"] * whole.count(b"POST") + [b"408"]
        assert worker.ingested == whole.count(b"POST")


@pytest.mark.parametrize("whole", [WHOLE, HEAD + CHUNKED, WHOLE * 3 + b"\r\n"])
async def test_idle_connection_stays_open_beyond_the_time_for_a_head_and_serves(whole):
    async with serving(server=HEAD_LIMIT) as worker:
        reader, writer = await connect(worker)
        for _ in range(2):
            writer.write(whole)
            await heads(reader, whole.count(b"POST"))
            await asyncio.sleep(1.2)
        writer.write(WHOLE[:50])
        await asyncio.sleep(0.05)
        writer.write(WHOLE[50:])
        (head,) = await heads(reader, 1)
        assert head.startswith(b"HTTP/1.1 202 ")


async def test_idle_kept_connection_is_closed_after_its_own_time():
    async with serving(server=KEPT_LIMIT) as worker:
        reader, writer = await connect(worker)
        started = time.monotonic()
        writer.write(WHOLE)
        await reader.readuntil(b"\r\n\r\n")
        _, answer = await seconds_until_closed(reader)
        assert answer == b""
        assert 0.45 < time.monotonic() - started < SOON_S


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_stalled_body_is_answered_408(framing):
    async with serving(server=FAST) as worker:
        reader, writer = await connect(worker)
        if framing == "length":
            writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        else:
            writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"}"), SOON_S)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in answer
        assert body_of(answer)["code"] == "request_timeout"
        assert worker.refused("request_timeout") == 1


async def test_body_that_comes_byte_by_byte_is_cut_off_at_the_whole_requests_time():
    async with serving(server=REQUEST_LIMIT) as worker:
        reader, writer = await connect(worker)
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        dripping = asyncio.create_task(drip(writer, bytes(1000)))
        started = time.monotonic()
        answer = await asyncio.wait_for(reader.readuntil(b"}"), SOON_S)
        dripping.cancel()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.8 < time.monotonic() - started < SOON_S


async def test_slow_but_steady_request_within_its_time_is_served():
    patient = ServerConfig(header_timeout_s=SOON_S, body_idle_timeout_s=SOON_S, request_timeout_s=2 * SOON_S)
    async with serving(server=patient) as worker:
        reader, writer = await connect(worker)
        for at in range(0, len(WHOLE), len(WHOLE) // 4 + 1):
            writer.write(WHOLE[at : at + len(WHOLE) // 4 + 1])
            await asyncio.sleep(0.08)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202")


@contextlib.contextmanager
def small_window(worker: FakeWorker) -> Iterator[socket.socket]:
    """A connection whose client takes little more than it has read, and whose kernels keep little.

    Without a bound the server's kernel alone takes 4 MB of answers. Meanwhile the client's one, which has no
    room, drops what the server acknowledges together with answers, so the requests stop coming as well: the
    server may then never have more answers than its kernel takes.
    """
    for listener in worker.server._sockets:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        sock.connect(("127.0.0.1", worker.port))
        sock.setblocking(False)
        yield sock


async def test_client_that_asks_and_does_not_read_is_cut_off(caplog):
    async def ask(sock: socket.socket) -> None:
        while True:
            await asyncio.get_running_loop().sock_sendall(sock, REFUSED * 100)

    async with serving(server=FAST) as worker:
        with small_window(worker) as sock, pytest.raises(ConnectionError):
            await asyncio.wait_for(ask(sock), SOON_S)
        assert (await worker.post(TRACK, event())).status == 202
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_client_that_reads_slowly_but_steadily_gets_all_answers():
    loop = asyncio.get_running_loop()
    last = REFUSED.replace(b"Host: x", b"Host: x\r\nConnection: close")
    # A stall of the machine must not look like a client that does not read, so use a longer limit.
    async with serving(server=ServerConfig(body_idle_timeout_s=2.0)) as worker:
        with small_window(worker) as sock:
            asking = asyncio.create_task(loop.sock_sendall(sock, REFUSED * 9_999 + last))
            answers = bytearray()
            started = time.monotonic()
            while piece := await asyncio.wait_for(loop.sock_recv(sock, 64 * 1024), SOON_S):
                answers += piece
                await asyncio.sleep(0.08 if time.monotonic() - started < 4 else 0)
            await asking
            assert answers.count(b"HTTP/1.1 401 ") == 10_000


@pytest.mark.parametrize(("piece", "every_s"), [(1, 0.05), (48 * 1024, 0.25)])
async def test_client_that_reads_below_the_minimum_rate_is_cut_off(piece: int, every_s: float):
    """A byte now and then, or some 200 kB/s where five times that is asked for."""
    loop = asyncio.get_running_loop()

    async def ask(sock: socket.socket) -> None:
        while True:
            await loop.sock_sendall(sock, REFUSED * 100)

    async def drip(sock: socket.socket) -> None:
        while True:
            await loop.sock_recv(sock, piece)
            await asyncio.sleep(every_s)

    config = ServerConfig(body_idle_timeout_s=2.0, answer_bytes_per_s_min=1_000_000)
    async with serving(server=config) as worker:
        with small_window(worker) as sock:
            reading = asyncio.create_task(drip(sock))
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(ask(sock), 3 * SOON_S)
            reading.cancel()
        assert (await worker.post(TRACK, event())).status == 202


async def test_without_a_minimum_rate_any_progress_keeps_the_connection():
    loop = asyncio.get_running_loop()
    last = REFUSED.replace(b"Host: x", b"Host: x\r\nConnection: close")
    config = ServerConfig(body_idle_timeout_s=2.0, answer_bytes_per_s_min=0)
    async with serving(server=config) as worker:
        with small_window(worker) as sock:
            asking = asyncio.create_task(loop.sock_sendall(sock, REFUSED * 9_999 + last))
            answers = bytearray()
            started = time.monotonic()
            while piece := await asyncio.wait_for(loop.sock_recv(sock, 64 * 1024), SOON_S):
                answers += piece
                await asyncio.sleep(0.25 if time.monotonic() - started < 5 else 0)
            await asking
            assert answers.count(b"HTTP/1.1 401 ") == 10_000


async def test_good_clients_are_served_among_five_hundred_stalled_ones():
    async with serving() as worker:
        stalled = [await connect(worker) for _ in range(500)]
        for i, (_, writer) in enumerate(stalled):
            writer.write(HEAD + (b"Content-Length: 100\r\n\r\n" if i % 2 else b""))
        answers = await asyncio.gather(*(worker.post(TRACK, event()) for _ in range(50)))
        assert {answer.status for answer in answers} == {202}
        for _, writer in stalled:
            writer.close()


# too many


async def test_a_connection_beyond_the_limit_gets_503_and_is_closed():
    async with serving(server=ServerConfig(connections_max=2, keepalive_timeout_s=5)) as worker:
        kept = [await connect(worker) for _ in range(2)]
        for reader, writer in kept:
            writer.write(WHOLE)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202")
        answer = await worker.raw(WHOLE)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert body_of(answer)["code"] == "too_many_connections"
        kept[0][1].close()

        # Its place is free as soon as the worker has noticed.
        async def is_served() -> bool:
            reader, writer = await connect(worker)
            writer.write(WHOLE)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return head.startswith(b"HTTP/1.1 202")

        await until_async(is_served, timeout_s=SOON_S)


# S2, S5: broken and hostile requests


def post(*headers: bytes, body: bytes = b"", line: bytes = b"POST %s HTTP/1.1" % TRACK.encode()) -> bytes:
    return b"\r\n".join([line, b"Host: x", b"X-Project-Key: " + ANY.encode(), *headers, b"", b""]) + body


SMUGGLING = {
    "CL and TE": post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "two CL": post(b"Content-Length: 4", b"Content-Length: 5", body=b"{}xxx"),
    "CL list": post(b"Content-Length: 4, 4", body=b"{}xx"),
    "CL plus": post(b"Content-Length: +2", body=b"{}"),
    "CL hex": post(b"Content-Length: 0x2", body=b"{}"),
    "CL underscore": post(b"Content-Length: 1_0", body=b"{}xxxxxxxx"),
    "CL negative": post(b"Content-Length: -2", body=b"{}"),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "TE in HTTP/1.0": post(
        b"Transfer-Encoding: chunked", line=b"POST %s HTTP/1.0" % TRACK.encode(), body=b"0\r\n\r\n"
    ),
    "folded header": post(b"X-A: b\r\n c", b"Content-Length: 2", body=b"{}"),
    "space before colon": post(b"Content-Length : 2", body=b"{}"),
    "bare LF": post(b"Content-Length: 2", body=b"{}").replace(b"\r\n", b"\n"),
    "bare CR": post(b"X-A: b\rContent-Length: 2", body=b"{}"),
    "NUL in header": post(b"X-A: b\0c", b"Content-Length: 2", body=b"{}"),
    "NUL in chunk extension": post(b"Transfer-Encoding: chunked", body=b"2;a=\0\r\n{}\r\n0\r\n\r\n"),
    "chunk size with sign": post(b"Transfer-Encoding: chunked", body=b"+2\r\n{}\r\n0\r\n\r\n"),
    "chunk without CRLF": post(b"Transfer-Encoding: chunked", body=b"2\r\n{}0\r\n\r\n"),
    "chunk size overflow": post(b"Transfer-Encoding: chunked", body=b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "no name": post(b": x", b"Content-Length: 2", body=b"{}"),
    "no method": b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /health\r\nHost: x\r\n\r\n",
    "no version, with a body": post(b"Content-Length: 2", body=b"{}", line=b"POST %s" % TRACK.encode()),
    "HTTP/0.9": b"GET /health HTTP/0.9\r\nHost: x\r\n\r\n",
    "chunk extension of 1 MB": post(
        b"Transfer-Encoding: chunked", body=b"2;a=" + b"x" * 1_000_000 + b"\r\n{}\r\n"
    ),
    "trailer of 1 MB": post(
        b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\nA: " + b"x" * 1_000_000 + b"\r\n\r\n"
    ),
    "trailers without end": post(
        b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n" + b"A: x\r\n" * 100_000
    ),
    "HTTP/9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "TLS hello": bytes.fromhex("160301020001fc0303") + bytes(200),
    "2,000 headers": post(*(b"X-%d: y" % i for i in range(2_000))),
    "header beyond 17 KiB": post(b"X-A: " + b"y" * 18_000),
    "URL beyond 64 KiB": b"GET /?k=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"y" * 70_000),
}


@pytest.mark.parametrize("name", SMUGGLING)
async def test_broken_request_is_400_and_the_connection_closes(name):
    async with serving() as worker:
        answer = await worker.raw(SMUGGLING[name] + WHOLE)
        first, _, _ = answer.partition(b"\r\n")
        assert b" 400 " in first, answer
        assert answer.count(b"HTTP/1.") == 1, "the request behind it must not be served"
        assert body_of(answer)["code"] == "bad_request"
        assert not await worker.rows()


BROKEN_BODIES = {
    "no chunk size": b"zz\r\n",
    "chunk without CRLF": b"5\r\nabcdeXX",
    "bad trailer": b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
    "chunk extension of 1 MB": b"2;a=" + b"x" * 1_000_000 + b"\r\n{}\r\n",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
@pytest.mark.parametrize(("head", "status"), [(HEAD, b"400"), (HEAD.replace(ANY.encode(), b"wrong"), b"401")])
async def test_body_that_breaks_later_is_answered_at_once_and_without_an_error_of_ours(
    name, head, status, caplog
):
    """Not when the handler's patience ends: with the limits as they are by default, that is 10 s later."""
    patient = ServerConfig(body_idle_timeout_s=3_600, request_timeout_s=3_600)
    async with serving(server=patient) as worker:
        reader, writer = await connect(worker)
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        if status == b"401":
            assert (await reader.readuntil(b"}")).split()[1] == status
        else:
            await until_async(lambda: is_reading(worker))
        writer.write(BROKEN_BODIES[name])
        rest = await asyncio.wait_for(reader.read(), SOON_S)
        if status == b"400":
            assert rest.split()[1] == status
            assert body_of(rest)["code"] == "bad_request"
        else:
            assert rest == b""
        assert not await worker.rows()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_small_chunks_with_short_extensions_are_served():
    async with serving() as worker:
        reader, writer = await connect(worker)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        long = json.dumps(event(metadata={"text": "x" * 20_000})).encode()
        for at in range(0, len(long), 500):
            writer.write(b"".join(b"1;n=%d\r\n%c\r\n" % (at % 9, byte) for byte in long[at : at + 500]))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON_S)).split()[1] == b"202"


@pytest.mark.parametrize("target", [b"example.com:443", TRACK.encode(), b"x"])
async def test_connect_is_405_and_closes(target):
    async with serving() as worker:
        request = b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        for answer in (await worker.raw(request), await worker.raw(request + WHOLE)):
            assert answer.startswith(b"HTTP/1.1 405 ")
            assert b"Allow: GET, POST" in answer
            assert b"Connection: close" in answer
            assert answer.count(b"HTTP/1.") == 1
            assert body_of(answer)["code"] == "method_not_allowed"
        assert not await worker.rows()


async def test_request_without_host_is_served_or_refused_but_never_confuses_the_next():
    async with serving() as worker:
        without = WHOLE.replace(b"Host: x\r\n", b"")
        reader, writer = await connect(worker)
        writer.write(without + WHOLE)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON_S)
        assert answer.split()[1] in (b"202", b"400")
        writer.close()


async def test_pipelined_requests_are_answered_in_order():
    async with serving() as worker:
        bad = HEAD + b"Content-Length: 2\r\n\r\n{}"
        last = WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close")
        answer = await worker.raw((WHOLE + bad) * 100 + last)
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
        assert statuses == [b"202", b"400"] * 100 + [b"202"]
        assert worker.ingested == 101


async def test_expect_continue_is_answered_after_the_head_is_accepted_and_not_before():
    async with serving() as worker:
        reader, writer = await connect(worker)
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
        for head, status in (
            (HEAD.replace(ANY.encode(), b"wrong"), b"401"),
            (HEAD + b"Content-Encoding: zip\r\n", b"415"),
        ):
            reader, writer = await connect(worker)
            writer.write(head + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == status
            writer.close()
        answer = await worker.raw(HEAD + b"Expect: tea\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 417")


async def test_expect_of_http_1_0_means_nothing():
    async with serving() as worker:
        reader, writer = await connect(worker)
        head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
        writer.write(head + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        await asyncio.sleep(0.05)
        writer.write(BODY)
        assert (await reader.read()).split()[1] == b"202"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (TRACK, 202),
        (TRACK + "/", 202),
        ("/API/v1/Telemetry/Track", 202),
        (TRACK.replace("track", "tr%61ck"), 202),
        ("http://elsewhere" + TRACK + "/", 202),
        (TRACK + "//", 404),
        (TRACK.replace("/track", "%2ftrack"), 404),
        ("/" + TRACK, 404),
    ],
)
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["direct", "router"])
async def test_paths_are_those_of_the_csharp_engine_on_the_short_way_and_on_the_long(path, status, expect):
    async with serving() as worker:
        line = f"POST {path}?K={ANY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        answer = await worker.raw(line + expect + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.split()[1] == str(status).encode()
        assert len(await worker.rows()) == (status == 202)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/shop/analytics" + TRACK, 202),
        ("/Shop/Analytics" + TRACK.upper() + "/", 202),
        (TRACK, 202),
        ("/shop/analyticsX" + TRACK, 404),
        ("/shop" + TRACK, 404),
        ("/shop/analytics/shop/analytics" + TRACK, 404),
        ("/shop/analytics", 404),
    ],
)
@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"], ids=["direct", "router"])
async def test_paths_may_begin_with_the_prefix_of_a_proxy(path, status, expect):
    async with serving(server=ServerConfig(path_prefix="/shop/analytics")) as worker:
        line = f"POST {path}?k={ANY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
        answer = await worker.raw(line + expect + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
        answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.split()[1] == str(status).encode()
        assert len(await worker.rows()) == (status == 202)


async def test_a_page_may_call_a_path_with_the_prefix():
    async with serving(server=ServerConfig(path_prefix="/shop")) as worker:
        headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        async with worker.client.options("/shop" + TRACK, headers=headers) as preflight:
            assert preflight.status == 204
        answer = await worker.post("/shop" + TRACK, b"{", headers=headers)
        assert answer.status == 400
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


async def test_http_1_0_gets_an_answer_and_a_closed_connection():
    async with serving() as worker:
        answer = await worker.raw(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert answer.split()[1] == b"202"


async def test_keys_in_broken_urls_are_not_logged(caplog):
    """S11: aiohttp's own error log quotes the request line."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiohttp").setLevel(logging.DEBUG)
    secret = b"canary-0123456789"
    async with serving() as worker:
        for request in (
            b"GET /t?k=" + secret + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
            b"GET /t?k=" + secret + b" HTTP/9\r\n\r\n",
            b"GE\0T /t?k=" + secret + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /t?k=" + secret + b" HTTP/1.1\r\nBad Header\r\n\r\n",
            b"POST /t?k="
            + secret
            + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            answer = await worker.raw(request + b"\r\n")
            assert b" 400 " in answer
            assert secret not in answer
        await worker.get(TRACK, params={"k": secret.decode()})
        await worker.post(TRACK, b"{}", key=None, params={"k": secret.decode()})
    assert "canary" not in caplog.text


# the end


async def heads(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    return [await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON_S) for _ in range(count)]


async def test_stop_refuses_requests_queued_for_the_rate_limit_at_once():
    """The window may end after the worker has, and a 503 with Retry-After is what clients try again after."""
    async with serving(rate_limit_requests=1, rate_limit_window_s=3_600, rate_limit_queue_max=9) as worker:
        assert (await worker.post(TRACK, event())).status == 202
        waiting = [asyncio.create_task(worker.post(TRACK, event())) for _ in range(3)]
        await until_async(lambda: worker.memory.rate_queued(0) == 3)
        await worker.server.stop(SOON_S)
        for answer in await asyncio.gather(*waiting):
            assert answer.error == (503, "stopping", None)
            assert int(answer.headers["Retry-After"]) >= 1
            assert answer.headers["Connection"] == "close"
        assert worker.memory.rate_queued(0) == 0
        assert worker.refused("stopping") == 3
        with pytest.raises(ConnectionRefusedError):
            await connect(worker)


async def test_request_on_a_kept_connection_during_a_stop_is_answered_with_connection_close():
    """So that a client which keeps a pool learns of the stop by an answer and not by a lost request."""
    async with serving() as worker:
        reader, writer = await connect(worker)
        writer.write(WHOLE)
        (first,) = await heads(reader, 1)
        assert b"Connection: close" not in first
        stopping = asyncio.create_task(worker.server.stop(SOON_S))
        await until_async(lambda: not worker.server._listeners[0].is_serving())
        writer.write(WHOLE)
        (second,) = await heads(reader, 1)
        assert second.startswith(b"HTTP/1.1 202 ")
        assert b"Connection: close" in second
        assert await reader.read() == b""
        await stopping
        assert worker.ingested == 2


def is_reading(worker: FakeWorker) -> bool:
    """Whether a request has begun and is not whole."""
    assert worker.server._server is not None
    return any(connection._current_request for connection in worker.server._server.connections)


def waiting_to_be_accepted(listener: socket.socket) -> int:
    """`tcpi_unacked`, which of a listening socket is the length of its queue."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return int.from_bytes(info[24:28], sys.byteorder)


def bytes_on_the_way(sock: socket.socket) -> int:
    """What the other side's kernel does not have yet."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


async def received(sock: socket.socket) -> bytes:
    """All until the other side closes."""
    pieces = []
    while piece := await asyncio.get_running_loop().sock_recv(sock, 65_536):
        pieces.append(piece)
    return b"".join(pieces)


async def test_stop_answers_what_the_kernel_holds_already():
    """Requests sent, and connections made, before the worker looks again."""
    async with serving() as worker:
        kept = [await connect(worker) for _ in range(20)]
        for reader, writer in kept:
            writer.write(WHOLE)
            await heads(reader, 1)
        for _, writer in kept:
            os.write(writer.get_extra_info("socket").fileno(), WHOLE + WHOLE)
        fresh = []
        for _ in range(20):
            sock = socket.create_connection(("127.0.0.1", worker.port))
            sock.sendall(WHOLE)
            sock.setblocking(False)
            fresh.append(sock)
        # On a busy machine the kernel delivers loopback's packets late; a stop that comes before them closes
        # the listener, and a reset is right. No turn of the loop in between: the worker must not accept.
        sent = [writer.get_extra_info("socket") for _, writer in kept] + fresh
        (listener,) = worker.server._sockets
        until(lambda: waiting_to_be_accepted(listener) >= len(fresh) and not any(map(bytes_on_the_way, sent)))
        await worker.server.stop(SOON_S)
        for reader, _ in kept:
            first, second = await heads(reader, 2)
            assert first.startswith(b"HTTP/1.1 202 ")
            assert second.startswith(b"HTTP/1.1 202 ")
            assert b"Connection: close" in second
            assert await reader.read() == b""
        for sock in fresh:
            with sock:
                answer = await asyncio.wait_for(received(sock), SOON_S)
                assert answer.startswith(b"HTTP/1.1 202 ")
                assert b"Connection: close" in answer
        assert worker.ingested == 80


@pytest.mark.parametrize("why", ["stop", "keep-alive timeout"])
async def test_request_that_crosses_our_end_of_an_idle_connection_gets_no_reset(why):
    async with serving(server=KEPT_LIMIT if why != "stop" else None) as worker:
        reader, writer = await connect(worker)
        writer.write(WHOLE)
        await heads(reader, 1)
        stopping = asyncio.create_task(worker.server.stop(SOON_S)) if why == "stop" else None
        assert await asyncio.wait_for(reader.read(), SOON_S) == b""  # FIN
        # A client that has not seen it yet sends; a reset would come back.
        for _ in range(3):
            writer.write(WHOLE)
            await writer.drain()
            await asyncio.sleep(0.02)
        sock = writer.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        writer.close()
        await writer.wait_closed()
        if stopping is not None:
            await asyncio.wait_for(stopping, SOON_S)


async def test_stop_gives_503_to_what_takes_too_long():
    async with serving() as worker:
        reader, writer = await connect(worker)
        writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
        await until_async(lambda: is_reading(worker))
        await worker.server.stop(0.5)
        answer = await asyncio.wait_for(reader.read(), SOON_S)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        assert b"Connection: close" in answer
        assert body_of(answer)["code"] == "stopping"
        assert worker.refused("stopping") == 1


async def test_stop_does_not_call_events_on_disk_refused():
    """`wait=true` asks for more than the disk, and there is no time for that; repeating them would count them
    twice if the client gave them no eventId."""
    async with serving(wait_timeout_s=3_600) as worker:
        worker.committer.commits = False
        waiting = asyncio.create_task(worker.post(BATCH + "?wait=true", [event()]))
        await until_async(lambda: bool(worker.committer.waited_for))
        await worker.server.stop(0.5)
        answer = await waiting
        assert answer.status == 202
        assert answer.json == {"accepted": 1, "rejected": 0, "errors": [], "committed": False}
        assert answer.headers["Connection"] == "close"


# clients that leave


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize(
    "part",
    [
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        WHOLE[: len(HEAD)],
        WHOLE,
    ],
)
async def test_client_that_leaves_in_the_middle_is_no_error_of_ours(how, part, caplog):
    async with serving() as worker:
        for _ in range(5):
            _, writer = await connect(worker)
            writer.write(part)
            await asyncio.sleep(0.01)
            writer.transport.abort() if how == "abort" else writer.close()
        await asyncio.sleep(0.1)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        assert worker.refused("request_timeout") == 0
        assert (await worker.post(TRACK, event())).status == 202
