"""The load generator: as many requests as the server answers, over a number of connections.

A closed loop: a connection sends its next request once the last one is answered, so the latency is that of a
fully busy server. It uses raw protocols on the event loop; otherwise it would measure a client library."""

import asyncio
import time
from array import array
from typing import Literal, cast

import msgspec

from nealytics.timestamps import iso_utc

KEY = "bench-key"
BROWSER_KEY = "bench-browser-key"
JWT_KEY = "bench-jwt-key-of-more-than-32-bytes"
Route = Literal["track", "batch"]

# Every request has its own event ids: 8 digits of the request's number replace these.
MARK = b"@@@@@@@@"


# More than any machine answers in a round.
REQUESTS_MAX: dict[Route, int] = {"track": 2_000_000, "batch": 20_000}


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one round sends."""

    route: Route
    connections: int
    seconds: float
    events: int = 1  # of a request
    warmup_s: float = 1.0  # not counted
    requests_max: int = REQUESTS_MAX["track"]
    first_number: int = 0
    credential: str = f"X-Project-Key: {KEY}"  # the header

    @classmethod
    def of_round(
        cls,
        route: Route,
        *,
        connections: int,
        seconds: float,
        events: int = 1,
        number: int = 0,
        warmup_s: float = 1.0,
        credential: str = f"X-Project-Key: {KEY}",
    ) -> "Load":
        """Round `number` of requests to `route`. Rounds with other numbers share no event id with it."""
        return cls(
            route=route,
            connections=connections,
            seconds=seconds,
            events=events,
            warmup_s=warmup_s,
            requests_max=REQUESTS_MAX[route],
            first_number=number * REQUESTS_MAX[route],
            credential=credential,
        )


class Result(msgspec.Struct, kw_only=True):
    """The result of one round."""

    requests: int
    events: int
    errors: dict[str, int]  # status, or "lost" for a connection that ended → count
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float = 0.0

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds


def request_template(
    route: Route, events: int, port: int, credential: str = f"X-Project-Key: {KEY}"
) -> bytes:
    """One request with `events` events and `MARK` in place of its number."""
    now = iso_utc(time.time_ns() // 1_000_000)
    rows = [
        {
            "eventId": f"{MARK.decode()}-0000-8000-8000-{n:012x}",
            "timestamp": now,
            "projectId": "bench",
            "tenantId": f"tenant-{n % 10}",
            "sessionId": f"session-{n % 100:06d}",
            "userId": f"user-{n % 50:05d}",
            "eventType": ("page_view", "click", "purchase")[n % 3],
            "itemId": f"/products/{n % 200}",
            "metadata": {"referrer": "https://example.org/search", "plan": "pro", "position": n % 20},
        }
        for n in range(events)
    ]
    body = msgspec.json.encode(rows if route == "batch" else rows[0])
    head = (
        f"POST /api/v1/telemetry/{route} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"{credential}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Round:
    """The state that the connections share."""

    def __init__(self, template: bytes, first_number: int, requests_max: int) -> None:
        self._template = template
        self._number = first_number
        self._requests_left = requests_max
        self.running = True
        self.counting = False
        self.latencies = array("d")
        self.errors: dict[str, int] = {}
        self.connections = 0
        self.finished = asyncio.Event()  # every connection has ended: no requests or no time left

    def next_request(self) -> bytes | None:
        if not self.running or self._requests_left == 0:
            return None
        self._requests_left -= 1
        self._number += 1
        return self._template.replace(MARK, b"%08x" % (self._number & 0xFFFFFFFF))

    def answered(self, status: bytes, seconds: float) -> None:
        if not self.counting:
            return
        if status == b"202":
            self.latencies.append(seconds)
        else:
            self.failed(status.decode("ascii", "replace"))

    def failed(self, what: str) -> None:
        self.errors[what] = self.errors.get(what, 0) + 1


class _Connection(asyncio.Protocol):
    def __init__(self, shared: _Round) -> None:
        self._round = shared
        self._received = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._finished = False
        self._round.connections += 1
        self._send()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0 or len(received) < head_end + 4 + _content_length(received[:head_end]):
            self._received = received
            return
        self._received = b""
        self._round.answered(received[9:12], time.perf_counter() - self._sent_at)
        self._send()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._round.running and not self._finished:
            self._round.failed("lost")
        self._round.connections -= 1
        if not self._round.connections:
            self._round.finished.set()

    def _send(self) -> None:
        request = self._round.next_request()
        if request is None:
            self._finished = True
            self._transport.abort()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def run(load: Load, port: int) -> Result:
    """One round; requests of the warm-up are not counted."""
    template = request_template(load.route, load.events, port, load.credential)
    shared = _Round(template, load.first_number, load.requests_max)
    loop = asyncio.get_running_loop()
    for _ in range(load.connections):
        await loop.create_connection(lambda: _Connection(shared), "127.0.0.1", port)
    await asyncio.sleep(load.warmup_s)
    began = time.perf_counter()
    shared.counting = True
    try:
        await asyncio.wait_for(shared.finished.wait(), load.seconds)
    except TimeoutError:
        pass
    shared.counting = shared.running = False
    took = time.perf_counter() - began
    ordered = sorted(shared.latencies)
    return Result(
        requests=len(ordered),
        events=len(ordered) * load.events,
        errors=shared.errors,
        seconds=took,
        p50_ms=quantile(ordered, 0.5) * 1000,
        p99_ms=quantile(ordered, 0.99) * 1000,
        max_ms=max(ordered, default=0.0) * 1000,
    )


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
