"""The routes of `queries.STREAMS`. Each has its own module here, and they share `streaming`."""

from aiohttp import web

from nealytics.config import Config
from nealytics.http.app import Cors
from nealytics.http.export import Exports
from nealytics.http.live import Live
from nealytics.http.reads import Reads
from nealytics.queries import export, live


def add_stream_routes(app: web.Application, reads: Reads, config: Config) -> None:
    cors = Cors(config.server.cors_allowed_origins)
    exports = Exports(reads, config.query, cors)
    streams = Live(reads, config.query, cors)
    app.router.add_get(export.STREAM.path, reads.counted(exports.handle))
    app.router.add_get(live.STREAM.path, reads.counted(streams.handle))
    app.on_shutdown.append(streams.stop)
