"""What aiohttp costs on its own: reads the body, answers 202, does nothing with it."""

import asyncio
import socket

from aiohttp import web


async def serve(listener: socket.socket) -> None:
    """Runs until the process ends."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202)

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/api/v1/telemetry/track", handle)
    app.router.add_post("/api/v1/telemetry/batch", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.Event().wait()
