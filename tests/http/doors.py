"""The two ways of a request into the log, with and without the fast lane, and what can be compared of them.

No sockets and no disk: the bytes of a client go to a real connection of the real application, and the log
keeps rows in memory. Times do not differ, because the clock is fixed.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web

from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.writers import Writers
from nealytics.clickhouse.rowbinary import decode_row
from nealytics.config import IngestConfig, ServerConfig
from nealytics.errors import LogError
from nealytics.http import fast_lane
from nealytics.http.app import build_app
from nealytics.http.listener import Server
from nealytics.ingest.admission import Admission, Done
from nealytics.observe.metrics import REFUSED_REASONS, Metrics
from nealytics.observe.otel import Tracing
from nealytics.quotas import Quotas
from nealytics.shared import NodeMemory
from tests.fakes.transport import FakeTransport
from tests.fakes.worker import KEYS, FakeCommitter, config

NOW_MS = 1_900_000_000_000
# Between two chunks: until nothing happens any more.
WHEN_QUIET = -1
_QUIET_ROUNDS = 12
_OWN_ID = re.compile(rb"\b[0-9a-f]{20}\b")


class Answer(NamedTuple):
    status: str
    headers: dict[str, str]
    body: bytes


class Outcome(NamedTuple):
    """What a client and an operator see of some requests."""

    answers: list[Answer]
    is_closed: bool
    rows: list[dict[str, object]]
    metrics: dict[str, float]


class MemoryLog:
    """Appends that arrive together are durable together, some rounds of the loop later."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.error: LogError | None = None
        self.is_stalled = False
        self._group: list[tuple[Done, int]] = []

    def append(self, rows: Sequence[bytes], row_format: int) -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()

        def done(lsn: int, error: LogError | None) -> None:
            if error is not None:
                future.set_exception(type(error)(*error.args))
            elif not future.done():
                future.set_result(lsn)

        self.append_with(rows, row_format, done)
        return future

    def append_with(self, rows: Sequence[bytes], row_format: int, done: Done) -> None:
        if self.error is not None:
            done(0, self.error)
            return
        self.rows += rows
        if not self._group:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, loop.call_soon, self.release)
        self._group.append((done, len(self.rows)))

    def release(self) -> None:
        if self.is_stalled:
            return
        group, self._group = self._group, []
        for done, lsn in group:
            done(lsn, None)

    @property
    def is_busy(self) -> bool:
        return bool(self._group) and not self.is_stalled


class Door:
    """An application, with the fast lane or without."""

    def __init__(
        self, *, lane: bool, tracing: Tracing | None = None, quotas: Quotas | None = None, **ingest: Any
    ) -> None:
        self.settings = config(
            ingest=IngestConfig(**ingest),
            server=ServerConfig(fast_lane=lane, cors_allowed_origins=("https://shop.example",)),
        )
        memory = NodeMemory.create(workers=1, keys=len(KEYS))
        self.metrics = Metrics(memory)
        self.log = MemoryLog()
        self.admission = Admission(
            self.log, self.metrics, self.settings.ingest, 90, quotas=quotas, clock_ms=lambda: NOW_MS
        )
        self.app = build_app(
            self.settings,
            writers=Writers(ApiKeys(KEYS), TokenVerifier(self.settings.auth)),
            admission=self.admission,
            committer=FakeCommitter(),
            memory=memory,
            metrics=self.metrics,
            tracing=tracing,
        )
        self.app.router.add_get("/here", _here)
        self._runner = web.AppRunner(self.app, handle_signals=False)
        self.server: Server

    async def open(self) -> "Door":
        await self._runner.setup()
        assert self._runner.server is not None
        self.server = Server(self._runner.app, self._runner.server, self.settings.server)
        return self

    async def close(self) -> None:
        await self._runner.cleanup()

    def connect(self) -> FakeTransport:
        return FakeTransport(self.server())

    async def quiet(self, transport: FakeTransport) -> None:
        """Returns when nothing happens any more."""
        rounds = 0
        seen = (-1, -1, False)
        while rounds < _QUIET_ROUNDS or self._is_busy(transport):
            await asyncio.sleep(0 if not _is_expecting(transport) else fast_lane.HOLD_S / 4)
            now = (len(transport.sent), len(self.log.rows), transport.is_closing())
            rounds = rounds + 1 if now == seen else 0
            seen = now

    def _is_busy(self, transport: FakeTransport) -> bool:
        if transport.is_lost or self.log.is_stalled:
            return False
        request = transport.get_protocol()._current_request
        has_body = request is not None and request.content.is_eof()
        return self.log.is_busy or has_body or _is_expecting(transport)

    async def exchange(self, chunks: Sequence[bytes], *, between: int = 0) -> Outcome:
        """Sends the chunks, with so many rounds of the loop between them."""
        rows = len(self.log.rows)
        metrics = self._counts()
        transport = self.connect()
        for chunk in chunks:
            if transport.is_closing():
                break
            transport.receive(chunk)
            for _ in range(between):
                await asyncio.sleep(0)
            if between == WHEN_QUIET:
                await self.quiet(transport)
        await self.quiet(transport)
        outcome = Outcome(
            answers_of(transport.sent),
            transport.is_closing() or transport.is_half_closed,
            [comparable(row) for row in self.log.rows[rows:]],
            {name: value - metrics[name] for name, value in self._counts().items() if value != metrics[name]},
        )
        transport.lose()
        await asyncio.sleep(0)
        return outcome

    def _counts(self) -> dict[str, float]:
        counts = {
            reason: self.metrics.value("nealytics_events_refused_total", reason) for reason in REFUSED_REASONS
        }
        return counts | {"ingested": self.metrics.value("nealytics_events_ingested_total")}


async def _here(_: web.Request) -> web.Response:
    return web.Response(text="here")


def _is_expecting(transport: FakeTransport) -> bool:
    lane = transport.get_protocol()._lane
    return lane is not None and lane._timer is not None and not transport.is_lost


def comparable(row: bytes) -> dict[str, object]:
    values = decode_row(row, 1)
    event_id: Any = values["event_id"]
    if event_id.version == 7 and event_id.int >> 80 == NOW_MS:
        values["event_id"] = "made here"
    return values


def answers_of(sent: bytes) -> list[Answer]:
    found = []
    while sent:
        head, end, sent = sent.partition(b"\r\n\r\n")
        assert end, head
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert len(headers) == len(lines), head
        body, sent = _split(sent, int(headers.get("Content-Length", 0)))
        if "Date" in headers:
            headers["Date"] = "now"
        own = headers.get("X-Request-Id", "").encode()
        if _OWN_ID.fullmatch(own):
            headers["X-Request-Id"] = "made here"
            body = body.replace(own, b"made here")
            headers["Content-Length"] = str(len(body)) if "Content-Length" in headers else ""
        found.append(Answer(status, headers, body))
    return found


def _split(data: bytes, at: int) -> tuple[bytes, bytes]:
    assert len(data) >= at
    return data[:at], data[at:]
