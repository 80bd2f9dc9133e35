"""No body holds the event loop for long, whatever is in it."""

import asyncio
import gc
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nealytics.bench import hostile
from nealytics.bench.hostile import Hostile
from nealytics.config import ServerConfig
from tests.fakes.worker import ANY, serving

MIB = 1 << 20
# What is promised. The longest steps take about half of it on an idle machine.
STEP_S_MAX = 0.020
# A busy neighbour on the same core makes a step look longer; it does not do so several times in a row.
ATTEMPTS = 4


class Steps:
    """The processor time of the longest step of this thread's event loop."""

    longest_s = 0.0


@contextmanager
def measured() -> Iterator[Steps]:
    """Every callback and every step of a task passes through `Handle._run`."""
    steps = Steps()
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        steps.longest_s = max(steps.longest_s, time.thread_time() - began)

    asyncio.Handle._run = timed  # type: ignore[assignment, method-assign]
    gc.collect()
    gc.freeze()
    try:
        yield steps
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]
        gc.unfreeze()


def send(port: int, request: bytes) -> bytes:
    """The status of the answer; in a thread, so that only the server's part is measured."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        return connection.recv(4096)[9:12]


def request_of(sent: Hostile) -> bytes:
    head = [
        f"POST /api/v1/telemetry/{sent.route} HTTP/1.1",
        "Host: x",
        f"X-Project-Key: {ANY}",
        f"Content-Type: {sent.content_type}",
        f"Content-Length: {len(sent.body)}",
    ]
    if sent.encoding:
        head.append(f"Content-Encoding: {sent.encoding}")
    return ("\r\n".join(head) + "\r\n\r\n").encode() + sent.body


async def longest_step_s(request: bytes, bytes_max: int) -> tuple[float, bytes]:
    """The shortest of several attempts, and the status."""
    attempts: list[float] = []
    server = ServerConfig(request_timeout_s=600, body_idle_timeout_s=600)
    async with serving(body_bytes_max=bytes_max, rate_limit_requests=0, server=server) as worker:
        for _ in range(ATTEMPTS):
            with measured() as steps:
                status = await asyncio.to_thread(send, worker.port, request)
            attempts.append(steps.longest_s)
            if steps.longest_s < STEP_S_MAX:
                break
    return min(attempts), status


@pytest.mark.parametrize("mib", [1, pytest.param(32, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", hostile.NAMES)
async def test_no_body_holds_the_event_loop_for_20_ms(name, mib):
    sent = hostile.make(name, mib * MIB)
    longest_s, status = await longest_step_s(request_of(sent), mib * MIB)
    print(
        f"{name:<36} {mib:>2} MiB  {len(sent.body):>9,} bytes  {status.decode()}  {longest_s * 1000:6.1f} ms"
    )
    assert status in {b"202", b"400", b"413"}
    assert longest_s < STEP_S_MAX


async def test_body_of_single_byte_chunks_does_not_hold_the_event_loop_for_20_ms():
    head = f"POST /api/v1/telemetry/batch HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\n"
    body = b"1\r\n \r\n" * 200_000 + b"0\r\n\r\n"
    request = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body
    longest_s, status = await longest_step_s(request, MIB)
    print(f"chunks of one byte {longest_s * 1000:6.1f} ms")
    assert status == b"400"
    assert longest_s < STEP_S_MAX
