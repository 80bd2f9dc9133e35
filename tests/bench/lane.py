"""Processor time of the event loop for a `track`, without sockets and disk: the product's own code.

    python -m tests.bench.lane [--connections 64] [--rounds 7]

The bytes of each connection go to the real application, as in tests/http/doors.py, and the log keeps nothing.
"""

import asyncio
import gc
import json
import statistics
import time

import click
import uvloop

from tests.fakes.worker import ANY, event
from tests.http.doors import Door

REQUESTS = 20_000  # of a round
EVENT = event(userId="user-42", itemId="sku-1", metadata={"path": "/pricing", "plan": "pro"})


class _Nowhere(asyncio.Transport):
    """Counts the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers += 1

    def is_closing(self) -> bool:
        return False


class _Nothing(list[bytes]):
    def __iadd__(self, rows: object) -> "_Nothing":  # type: ignore[misc, override]
        return self


async def measured(connections: int, rounds: int) -> list[float]:
    """µs a request, of each round."""
    door = await Door(lane=True, rate_limit_requests=10**9).open()
    door.log.rows = _Nothing()
    body = json.dumps(EVENT).encode()
    head = f"POST /api/v1/telemetry/track HTTP/1.1\r\nHost: x\r\nX-Project-Key: {ANY}\r\n"
    data = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    clients = []
    for _ in range(connections):
        protocol, transport = door.server(), _Nowhere()
        protocol.connection_made(transport)
        clients.append((protocol, transport))

    async def once() -> None:
        before = clients[-1][1].answers
        for protocol, _ in clients:
            protocol.data_received(data)
        for _ in range(100):
            if clients[-1][1].answers > before:
                return
            await asyncio.sleep(0)
        raise AssertionError("no answer")

    for _ in range(20):
        await once()
    gc.collect()
    gc.freeze()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(REQUESTS // connections):
            await once()
        times.append((time.process_time() - began) / (REQUESTS // connections * connections) * 1e6)
    await door.close()
    return times


@click.command()
@click.option("--connections", type=click.IntRange(1, 1_000), default=64, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 100), default=7, show_default=True)
def main(connections: int, rounds: int) -> None:
    times = uvloop.run(measured(connections, rounds))
    click.echo(f"{statistics.median(times):.2f} µs of processor a track (best {min(times):.2f})")


if __name__ == "__main__":
    main()
