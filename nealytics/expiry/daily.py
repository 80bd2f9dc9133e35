"""The deletion of expired events in a node: one worker does it, once a day."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.config import ClickHouseConfig, RetentionRule
from nealytics.errors import NealyticsError
from nealytics.expiry import run
from nealytics.observe.metrics import Metrics

log = logging.getLogger("nealytics.retention")

CHECK_INTERVAL_S = 60.0


class Daily:
    """`run` never ends: a failure is logged, and the next attempt follows a minute later."""

    def __init__(
        self,
        client: ClickHouseClient,
        config: ClickHouseConfig,
        data_dir: Path,
        rules: Sequence[RetentionRule],
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._config = config
        self._data_dir = data_dir
        self._rules = rules
        self._waiting = metrics.retention_rules_waiting
        self._changed = asyncio.Event()
        self._reported: list[str] = []
        self._error = ""

    def replace(self, rules: Sequence[RetentionRule]) -> None:
        self._rules = rules
        self._changed.set()

    async def waiting(self) -> list[str]:
        """The rules that wait for a person. Any process of the node may ask. Raises `NealyticsError`."""
        return [f"retention: {text}" for text in await run.waiting(self._data_dir, self._rules)]

    async def run(self) -> None:
        self._changed.set()
        while True:
            rules = self._rules
            try:
                # Only when a configuration takes effect: `nealytics retention apply` may already have been
                # run for the next one.
                if self._changed.is_set():
                    self._changed.clear()
                    await run.observe(self._data_dir, rules)
                self._report(await run.waiting(self._data_dir, rules))
                await run.run_if_due(self._client, self._config, self._data_dir, rules)
                self._error = ""
            except ClickHouseUnavailable as error:
                log.debug("retention: cannot ask ClickHouse now: %s", error)
            except NealyticsError as error:
                if str(error) != self._error:
                    self._error = str(error)
                    log.error("retention: expired events were not deleted: %s", error)
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _report(self, waiting: list[str]) -> None:
        self._waiting.set(len(waiting))
        if waiting != self._reported:
            for text in waiting:
                log.warning("retention: %s", text)
            if not waiting:
                log.info("retention: no rule waits any more: all were applied, or changed")
            self._reported = waiting
