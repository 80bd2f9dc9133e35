"""Serves `GET /api/v1/telemetry/export`. `queries.export` decides what is in an export, and its slices.

A worker buffers at most `_BUFFER_BYTES` of an export. NDJSON and CSV are one query per slice; each is queued
like other reads, and sent when it is complete. So a slow client blocks no query, and a client that
disconnects wastes at most one slice. A slice that exceeds the limits of a query is halved, and a slice that
fails temporarily is retried, before the export fails.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any

from aiohttp import hdrs, web

from nealytics.auth.scope import Scope
from nealytics.compression import Compressor
from nealytics.config import QueryConfig
from nealytics.errors import NealyticsError, Refused
from nealytics.http import accept
from nealytics.http.app import Cors
from nealytics.http.reads import Reads, while_connected
from nealytics.http.streaming import Places, head_of, require_http_1_1, send_stream
from nealytics.queries import export, export_end
from nealytics.queries.export import STREAM, Params
from nealytics.queries.scoped import Events
from nealytics.timestamps import iso_utc

log = logging.getLogger("nealytics.http.export")

# Of one export: bytes from ClickHouse, compressed bytes, and bytes that the client has not read.
_BUFFER_BYTES = 1024 * 1024

_ENCODINGS = ("zstd", "gzip")
_CHARSET = {"csv": "; charset=utf-8"}


class Exports:
    """The handler, and the limit of concurrent exports."""

    def __init__(self, reads: Reads, config: QueryConfig, cors: Cors) -> None:
        self._reads = reads
        self._cors = cors
        self._parquet_timeout_s = config.parquet_timeout_s
        self.places = Places("exports", config.exports_max, config.exports_per_token)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        scope = await self._reads.scope_of(request, STREAM)
        arguments = self._reads.arguments_of(request, STREAM, scope)
        params = export.parse(arguments, _preferred_type(request))
        events = self._reads.events_of(scope)
        require_http_1_1(request)
        headers: dict[str, str] = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{_filename(params)}"'}
        packed = None if params.format == "parquet" else _encoding_for(request)
        if packed is not None:
            headers[hdrs.CONTENT_ENCODING] = packed
        content_type = export.CONTENT_TYPES[params.format] + _CHARSET.get(params.format, "")
        with_trailer = params.format in export_end.FORMATS and (
            params.end or export_end.asked_for(request.headers)
        )
        if with_trailer:
            headers[hdrs.TRAILER] = export_end.TRAILER
        response = head_of(request, self._cors, content_type, headers, arguments.warnings)
        if request.method == hdrs.METH_HEAD:
            return web.Response(headers=response.headers)
        with self.places.one(scope), self._reads.charge(scope) as charge:
            charge.add(_BUFFER_BYTES)
            sent = _Export(self._reads, scope, events, params, self._parquet_timeout_s)
            pieces = sent.pieces()
            if packed is not None:
                pieces = _packed(pieces, packed)
            self._reads.usage.query(scope.project_id, scope.tenant_id, 0)
            end = (lambda: _trailer(sent)) if with_trailer else None
            sending = send_stream(request, response, pieces, self._reads.broken_off, "export", end)
            return await while_connected(request, sending)


class _Export:
    """One running export."""

    def __init__(
        self, reads: Reads, scope: Scope, events: Events, params: Params, parquet_timeout_s: float
    ) -> None:
        self._reads = reads
        self._scope = scope
        self._events = events
        self._params = params
        self._parquet_timeout_s = parquet_timeout_s
        self._begun = False
        self.counter = export_end.Counter(params.format)

    def pieces(self) -> AsyncGenerator[bytes]:
        """The file. Raises `Refused`."""
        return self._parquet() if self._params.format == "parquet" else self._text()

    async def _text(self) -> AsyncGenerator[bytes]:
        head = export.CSV_HEADER if self._params.format == "csv" else b""
        parts = export.parts(self._events, self._params, self._ask, _too_large)
        async with aclosing(parts):
            async for _, pieces in parts:
                async for piece in pieces:
                    self._begun = True
                    self.counter.feed(piece)
                    yield head + piece
                    head = b""
        if self._params.end:
            head += export_end.record(self._params.format, self.counter.events, len(export.FIELDS))
        if head:
            yield head

    async def _parquet(self) -> AsyncGenerator[bytes]:
        def stream() -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
            return self._events.stream(
                export.parquet_sql(self._params),
                export.OUTPUT_FORMATS["parquet"],
                export.PARQUET_SETTINGS,
                self._parquet_timeout_s,
            )

        async with AsyncExitStack() as stack:
            # Without a query slot, which it would occupy for minutes. `Places` limits its number.
            pieces = await self._reads.ask(lambda: stack.enter_async_context(stream()))
            async for piece in pieces:
                yield piece

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """Asks in a query slot. After the first bytes were sent, temporary failures are retried."""
        for delay_s in export.RETRY_DELAYS_S:
            try:
                async with self._reads.slot(self._scope):
                    return await self._reads.ask(question)
            except Refused as refused:
                if refused.status != 503 or not self._begun:
                    raise
                log.warning("export: %s; retrying in %.0f s", refused.__cause__ or refused, delay_s)
                await asyncio.sleep(delay_s)
        async with self._reads.slot(self._scope):
            return await self._reads.ask(question)


def _trailer(sent: _Export) -> str:
    return f"{export_end.TRAILER}: {sent.counter.events}"


async def _packed(pieces: AsyncGenerator[bytes], name: str) -> AsyncGenerator[bytes]:
    compressor = Compressor(name)
    async with aclosing(pieces):
        async for piece in pieces:
            # In a thread: the loop also serves ingest.
            if data := await asyncio.to_thread(compressor.compress, piece):
                yield data
    yield await asyncio.to_thread(compressor.end)


def _too_large(error: NealyticsError) -> bool:
    return isinstance(error, Refused) and error.code == "query_too_large"


def _preferred_type(request: web.Request) -> str | None:
    header = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    return accept.preferred_type(header, export.CONTENT_TYPES.values())


def _encoding_for(request: web.Request) -> str | None:
    asked = accept.weights(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))
    best = max(_ENCODINGS, key=lambda name: asked.get(name, 0.0))  # the first of equal ones
    return best if asked.get(best) else None


def _filename(params: Params) -> str:
    ends = (iso_utc(ms) for ms in (params.selection.from_ms, params.selection.to_ms))
    return f"events-{'-'.join(end.translate(_NOT_IN_A_NAME) for end in ends)}.{params.format}"


_NOT_IN_A_NAME = str.maketrans("", "", "-:.")
