"""Only the read API and the pages, over a running engine, in a separate process.

It uses the product's routes, server and client. Three differences from a node: it accepts no events, its
clock is fixed at the end of the generated events, and `SENT_PATH` returns what it sent to ClickHouse.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.bench.events import END
from nealytics.clickhouse.client import ClickHouseClient, Endpoint, endpoint_of
from nealytics.clickhouse.transport import Transport
from nealytics.config import ClickHouseConfig, Config
from nealytics.http.app import Cors, HttpServer, answering
from nealytics.http.pages import add_page_routes
from nealytics.http.query import add_query_route
from nealytics.http.reads import Reads, add_read_routes
from nealytics.observe.metrics import Metrics

SENT_PATH = "/sent"
_SENT_MAX = 100


class RecordingTransport(Transport):
    """Remembers its last requests: the parameters and the body of each."""

    def __init__(self, endpoint: Endpoint, config: ClickHouseConfig) -> None:
        super().__init__(endpoint, config)
        self.sent: deque[tuple[dict[str, Any], str]] = deque(maxlen=_SENT_MAX)

    async def begin(
        self, url: str, parameters: Mapping[str, Any], body: bytes, **options: Any
    ) -> aiohttp.ClientResponse:
        self.sent.append((dict(parameters), body.decode()))
        return await super().begin(url, parameters, body, **options)


async def serve(config: Config, listener: socket.socket) -> None:
    """Runs until the process ends."""
    endpoint = endpoint_of(config)
    transport = RecordingTransport(endpoint, config.clickhouse)
    async with ClickHouseClient(endpoint, config.clickhouse, transport=transport) as client:
        app = web.Application(middlewares=[answering(Cors(()))])
        reads = Reads(
            config,
            client=client,
            verifier=TokenVerifier(config.auth),
            metrics=Metrics.private(),
            clock=END.timestamp,
        )
        add_read_routes(app, reads)
        add_query_route(app, reads)
        add_page_routes(app, config.web)

        async def sent(_: web.Request) -> web.Response:
            """The requests since the last call."""
            answer = web.json_response(list(transport.sent))
            transport.sent.clear()
            return answer

        app.router.add_get(SENT_PATH, sent)
        await client.learn_settings()
        await HttpServer(app, config).start(listener)
        await asyncio.Event().wait()
