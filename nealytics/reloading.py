"""A worker changes to a new configuration, without ending a connection or refusing an event.

The supervisor has read and checked it, and appended it to the memory file that the worker was started with.
It then sends SIGHUP, and the worker reports `RELOADED`.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.config import Config
from nealytics.expiry.daily import Daily
from nealytics.http.app import RELOAD
from nealytics.http.reads import Reads
from nealytics.http.retention import RetentionAdmin
from nealytics.ingest.admission import Admission
from nealytics.process import RELOADED
from nealytics.queries.saved.catalog import Catalog
from nealytics.usage.meter import Meter

log = logging.getLogger("nealytics.reload")


class Reloading:
    """`begin` first: until then SIGHUP is ignored. `run` never ends."""

    def __init__(
        self,
        config: Config,
        read_again: Callable[[], Config],
        parent: socket.socket,
        app: web.Application,
        admission: Admission,
        verifier: TokenVerifier,
        daily: Daily,
        retention: RetentionAdmin,
        meter: Meter,
        saved: Catalog,
        reads: Reads,
    ) -> None:
        self._config = config
        self._read_again = read_again
        self._parent = parent
        self._app = app
        self._admission = admission
        self._verifier = verifier
        self._daily = daily
        self._retention = retention
        self._meter = meter
        self._saved = saved
        self._reads = reads
        self._asked = asyncio.Event()

    async def begin(self) -> None:
        """Also applies what was changed since this worker started."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        await self._apply(self._read_again())

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._apply(self._read_again())
                await self._saved.reload()  # its files may differ though the configuration is the same
            except Exception:
                # The supervisor has checked it, so this is a defect; events must be accepted all the same.
                log.exception("reload: this worker keeps the old configuration")
                continue
            self._parent.send(RELOADED)

    async def _apply(self, config: Config) -> None:
        before, self._config = self._config, config
        if config == before:
            return
        self._app[RELOAD](config)
        self._admission.rule(config.retention)
        self._daily.replace(config.retention)
        self._retention.rules = config.retention
        self._reads.segments.replace(config.segment)
        await self._meter.limit(config.quota)
        if _tokens_of(config) != _tokens_of(before):
            await self._verifier.replace(config.auth)


def _tokens_of(config: Config) -> dict[str, object]:
    """The settings of `auth` that are about tokens."""
    auth = config.auth
    return {name: getattr(auth, name) for name in auth.__struct_fields__ if name != "api_keys"}
