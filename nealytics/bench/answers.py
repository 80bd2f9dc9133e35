"""`bench answers`: the cost of large answers and slow readers for other clients.

Two measures of each question:

    step    processor time of the longest step of the event loop while it is answered, in this process, on
            asyncio's own loop, whose steps can be observed. A step cannot be interrupted
    p99     latency of another client's `track` at a whole node, while two clients repeat the question

And the growth of the worker's memory with twelve clients that send a request and do not read the answer.
"""

import asyncio
import contextlib
import http.client
import itertools
import os
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import mint
from nealytics.bench import processes
from nealytics.bench.load import Load, Result
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError, Product
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.clickhouse.sql import table_name
from nealytics.config import AuthConfig, ClickHouseConfig, Config, ServerConfig
from nealytics.http.app import Cors, HttpServer, answering
from nealytics.http.reads import Reads, add_read_routes
from nealytics.http.streams import add_stream_routes
from nealytics.observe.metrics import Metrics

_PROJECT = "bench"
_KIB = 1024
_ASKERS = 2
_SLOW_READERS = 12
_CONNECTIONS = 2
_TIMEOUT_S = 120.0

# Tenant → events, their metadata in SQL. "old" ones exceed the limit, as an earlier version accepted them.
_EVENTS = {
    "old": (110, "concat('{\"k\":\"', toString(number), repeat('x', 1000000), '\"}')"),
    "largest": (110, f"concat('{{\"k\":\"', toString(number), repeat('x', {256 * _KIB - 100}), '\"}}')"),
    "escaped": (110, f"repeat('\\x01', {256 * _KIB})"),
    "small": (30_000, "concat('{\"k\":\"value of ', toString(number), '\"}')"),
}
_TELEMETRY, _ANALYTICS = "/api/v1/telemetry/", "/api/v1/analytics/"
_QUESTIONS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("old", f"{_TELEMETRY}timeline", {"limit": "110"}),
    ("largest", f"{_TELEMETRY}timeline", {"limit": "110"}),
    ("escaped", f"{_TELEMETRY}timeline", {"limit": "110"}),
    ("small", f"{_TELEMETRY}timeline", {"limit": "10000"}),
    ("largest", f"{_ANALYTICS}top", {"dimension": "meta:k", "limit": "10000"}),
    ("small", f"{_ANALYTICS}top", {"dimension": "meta:k", "limit": "10000"}),
    ("small", f"{_ANALYTICS}sessions", {"limit": "10000"}),
    ("small", f"{_ANALYTICS}timeseries", {"groupBy": "meta:k", "interval": "minute", "limit": "10000"}),
    ("largest", f"{_TELEMETRY}export", {}),
    ("small", f"{_TELEMETRY}export", {"format": "csv"}),
)


class Asked(msgspec.Struct, kw_only=True):
    """One question."""

    tenant: str
    route: str
    query: dict[str, str]
    bytes: int
    step_ms: float  # processor time, the least of the rounds
    track_p50_ms: float
    track_p99_ms: float
    track_max_ms: float
    answers: int  # while `track` was measured


class SlowReaders(msgspec.Struct, kw_only=True):
    clients: int
    refused: int  # with 503
    grown_mb: float
    track_p99_ms: float


class AnswersReport(msgspec.Struct, kw_only=True):
    machine: Machine
    alone_p50_ms: float
    alone_p99_ms: float
    questions: list[Asked]
    slow_readers: SlowReaders


def answers(
    *, seconds: float, rounds: int, program: Path | None, directory: Path | None, say: Say
) -> AnswersReport:
    """`program`: another program as the node. The steps are always measured in this one."""
    with processes.workplace(directory, say) as (made, machine):
        node_directory = made / "node"
        config = Config(
            server=ServerConfig(data_dir=node_directory / "data"),
            auth=AuthConfig(jwt_key=os.urandom(32).hex()),
            clickhouse=ClickHouseConfig(),
        )
        config.server.data_dir.mkdir(parents=True)
        steps = asyncio.run(_steps(config, rounds))
        with processes.product(node_directory, clickhouse=True, program=program) as node:
            key = tomllib.loads((node_directory / "nealytics.toml").read_text())["auth"]["jwt_key"]
            numbers = itertools.count(1)

            def track() -> Result:
                load = Load.of_round(
                    "track", connections=_CONNECTIONS, seconds=seconds, number=next(numbers), warmup_s=0.5
                )
                return processes.load(node.port, load)

            alone = track()
            say(f"track alone: p50 {alone.p50_ms:.1f} ms, p99 {alone.p99_ms:.1f}, max {alone.max_ms:.1f} ms")
            say(f"{'':<58} {'MB':>6} {'step ms':>8} {'track p50':>9} {'p99':>8} {'max ms':>8} {'answers':>7}")
            asked = []
            for question, step in zip(_QUESTIONS, steps, strict=True):
                asked.append(_asked(node, key, question, step, track))
                say(_line(asked[-1]))
            slow = _slow_readers(node, key, track)
            say(
                f"{slow.clients} clients that do not read: {slow.refused} refused, the worker grew by"
                f" {slow.grown_mb:.0f} MB, track p99 {slow.track_p99_ms:.1f} ms"
            )
    return AnswersReport(
        machine=machine,
        alone_p50_ms=alone.p50_ms,
        alone_p99_ms=alone.p99_ms,
        questions=asked,
        slow_readers=slow,
    )


def _asked(
    node: Product,
    key: str,
    question: tuple[str, str, dict[str, str]],
    step: tuple[int, float],
    track: Callable[[], Result],
) -> Asked:
    tenant, path, query = question
    size, step_s = step
    with _asking(node, _token(key, tenant), path, query) as sizes:
        result = track()
    return Asked(
        tenant=tenant,
        route=path.rpartition("/")[2],
        query=query,
        bytes=size,
        step_ms=step_s * 1000,
        track_p50_ms=result.p50_ms,
        track_p99_ms=result.p99_ms,
        track_max_ms=result.max_ms,
        answers=len(sizes),
    )


async def _steps(config: Config, rounds: int) -> list[tuple[int, float]]:
    """Creates the events. Of each question: the size of the answer and the longest step."""
    async with (
        running_engine(config, operator=True),
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
    ):
        await schema.apply(client, config.clickhouse)
        for tenant, (count, metadata) in _EVENTS.items():
            await client.command(
                f"INSERT INTO {table_name(config.clickhouse.database)} (event_id, project_id, tenant_id,"
                " session_id, user_id, event_type, item_id, metadata_json, timestamp)"
                f" SELECT generateUUIDv4(number), '{_PROJECT}', '{tenant}', concat('s', toString(number)),"
                f" 'u', concat('type-', toString(number % 7)), '/page', {metadata},"
                f" now64(3) - toIntervalMillisecond(number * 50) FROM numbers({count})",
                settings={"max_partitions_per_insert_block": 0, "max_block_size": 1_000},
            )
        reads = Reads(config, client=client, verifier=TokenVerifier(config.auth), metrics=Metrics.private())
        app = web.Application(middlewares=[answering(Cors(()))])
        add_read_routes(app, reads)
        add_stream_routes(app, reads, config)
        await client.learn_settings()
        server = HttpServer(app, config)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        await server.start(listener)
        found = []
        for tenant, path, query in _QUESTIONS:
            token = _token(config.auth.jwt_key, tenant)
            size = await asyncio.to_thread(_ask, port, token, path, query)
            longest = []
            for _ in range(rounds):
                with _watched() as step:
                    await asyncio.to_thread(_ask, port, token, path, query)
                longest.append(step[0])
            found.append((size, min(longest)))
        await server.stop(1.0)
    return found


@contextlib.contextmanager
def _watched() -> Iterator[list[float]]:
    """The processor time of the longest step so far."""
    longest = [0.0]
    real = asyncio.Handle._run

    def run(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        try:
            real(handle)
        finally:
            longest[0] = max(longest[0], time.thread_time() - began)

    asyncio.Handle._run = run  # type: ignore[assignment, method-assign]
    try:
        yield longest
    finally:
        asyncio.Handle._run = real  # type: ignore[method-assign]


def _token(key: str, tenant: str) -> str:
    return mint(key, _PROJECT, tenant, 3_600, time.time())


def _ask(port: int, token: str, path: str, query: dict[str, str]) -> int:
    """The bytes of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        if response.status != 200:
            raise BenchError(f"bench: {path} was answered {response.status}: {response.read()[:300]!r}")
        size = 0
        while piece := response.read(_KIB * _KIB):
            size += len(piece)
        return size
    finally:
        connection.close()


@contextlib.contextmanager
def _asking(node: Product, token: str, path: str, query: dict[str, str]) -> Iterator[list[int]]:
    """Two clients repeat the question until the context ends; gives the sizes of the answers."""
    sizes: list[int] = []
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            try:
                sizes.append(_ask(node.port, token, path, query))
            except (BenchError, OSError):
                stopping.wait(0.05)  # refused for now: more exports than a token may have

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(_ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield sizes
    finally:
        stopping.set()
        for thread in threads:
            thread.join(_TIMEOUT_S)


def _slow_readers(node: Product, key: str, track: Callable[[], Result]) -> SlowReaders:
    (worker,) = node.worker_pids()
    before_kb, _ = processes.memory_kb(worker)
    refused = 0
    with contextlib.ExitStack() as stack:
        for number in range(_SLOW_READERS):
            tenant = ("old", "largest", "escaped")[number % 3]
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * _KIB)
            sock.settimeout(_TIMEOUT_S)
            sock.connect(("127.0.0.1", node.port))
            sock.sendall(
                f"GET {_TELEMETRY}timeline?limit=110 HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {_token(key, tenant)}\r\n\r\n".encode()
            )
            refused += b" 503 " in sock.recv(200).split(b"\r\n")[0]
        after_kb, _ = processes.memory_kb(worker)
        result = track()
    return SlowReaders(
        clients=_SLOW_READERS,
        refused=refused,
        grown_mb=(after_kb - before_kb) / 1024,
        track_p99_ms=result.p99_ms,
    )


def _line(asked: Asked) -> str:
    name = f"{asked.route} {urlencode(asked.query)} ({asked.tenant})"
    return (
        f"{name:<58} {asked.bytes / 1e6:>6.1f} {asked.step_ms:>8.1f} {asked.track_p50_ms:>9.1f}"
        f" {asked.track_p99_ms:>8.1f} {asked.track_max_ms:>8.1f} {asked.answers:>7}"
    )
