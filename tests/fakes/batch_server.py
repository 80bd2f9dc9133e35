"""A batch route as the wire contract has it, in a thread of its own, that remembers what it was sent."""

import asyncio
import gzip
import json
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KEY = "a-key"
ERRORS_NAMED_MAX = 100

# Given the number of the request (1 is the first) and its events: an answer, or None for the honest one.
Mood = Callable[[int, list[dict[str, Any]]], web.Response | None]


class BatchServer:
    """Accepts events by id. Refuses those whose `eventType` is "bad"; with 400 if there is no other."""

    def __init__(self, tls: Path | None = None) -> None:
        self._tls = tls  # certificate and key in one file
        self.port = 0
        self.events: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []  # every id as it arrived, repetitions included
        self.requests = 0
        self.sizes: list[int] = []
        self.encodings: set[str | None] = set()
        self.mood: Mood = lambda number, events: None
        self.named_max = ERRORS_NAMED_MAX
        self.url = ""

    def __enter__(self) -> "BatchServer":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # Decompression is ours: the test looks at what was sent.
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/api/v1/telemetry/batch", self._batch)
        runner = web.AppRunner(app, auto_decompress=False)
        await runner.setup()
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _batch(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Project-Key") != KEY:
            return web.json_response(
                {"code": "unauthorized", "message": "unknown key", "detail": ""}, status=401
            )
        body = await request.read()
        encoding = request.headers.get("Content-Encoding")
        self.encodings.add(encoding)
        if encoding == "zstd":
            body = zstd.decompress(body)
        elif encoding == "gzip":
            body = gzip.decompress(body)
        self.sizes.append(len(body))
        events: list[dict[str, Any]] = json.loads(body)
        self.requests += 1
        answer = self.mood(self.requests, events)
        return answer if answer is not None else self.take(events)

    def take(self, events: list[dict[str, Any]]) -> web.Response:
        errors = []
        for index, event in enumerate(events):
            if event.get("eventType") == "bad":
                errors.append({"index": index, "field": "eventType", "error": "eventType is bad"})
            else:
                self.events[event["eventId"]] = event
                self.order.append(event["eventId"])
        answer = {
            "accepted": len(events) - len(errors),
            "rejected": len(errors),
            "errors": errors[: self.named_max],
        }
        if len(errors) == len(events):
            return web.json_response({"code": "invalid_event", "message": "no event", **answer}, status=400)
        return web.json_response(answer, status=202)
