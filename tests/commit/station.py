"""A log on disk, a FakeClickHouse, and a committer between them that can be crashed and started again."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.commit.dead_letter import DeadLetter
from nealytics.commit.erased import Erased
from nealytics.commit.loop import Committer
from nealytics.config import ClickHouseConfig, CommitConfig, WalConfig
from nealytics.erasure.jobs import Erasure
from nealytics.errors import NealyticsError
from nealytics.observe.metrics import Metrics
from nealytics.observe.otlp import Tracing
from nealytics.wal import Log
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.rows import number, row
from tests.waiting import until_async

WAL = WalConfig(allow_any_filesystem=True, free_bytes_min=0, keep_hours=0, keep_bytes=0)
# As in production but for the waiting.
FAST = CommitConfig(flush_interval_s=0.01, backoff_max_ms=2, retries_before_alert=5, catch_up_rows_max=0)


def clickhouse_config(**changes: Any) -> ClickHouseConfig:
    settings = {"url": "http://set-by-endpoint", "insert_timeout_s": 0.5, "connect_timeout_s": 0.5}
    return ClickHouseConfig(**{**settings, **changes})


class Station:
    """`async with` it. What is on disk and in the fake outlives `crash` and `start`."""

    def __init__(self, directory: Path, fake: FakeClickHouse, *, wal: WalConfig = WAL, **commit: Any) -> None:
        self.directory = directory
        self.fake = fake
        self.wal = wal
        self.commit = msgspec.structs.replace(FAST, **commit)
        self.metrics = Metrics.private()
        self.dead_letter = DeadLetter(directory / "dead-letter")
        self.random: Callable[[], float] = random.random
        self.clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.erasures: dict[str, Erasure] = {}
        self.unknown: NealyticsError | None = None  # why it is not known what was erased
        self.tracing: Tracing | None = None  # before `open`
        self.make_client: Callable[[], ClickHouseClient] = self._client_of_the_fake
        self.log: Log
        self.client: ClickHouseClient
        self.committer: Committer
        self.task: asyncio.Task[None]

    async def __aenter__(self) -> "Station":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """The log and a committer that does not run yet."""
        self.log = await Log.open(self.directory / "0", self.wal, metrics=self.metrics)
        self.client = self.make_client()
        self.committer = Committer(
            self.log,
            self.client,
            self.dead_letter,
            self.commit,
            database="nealytics_core",
            metrics=self.metrics,
            tracing=self.tracing,
            random=self.random,
            clock_ms=self.clock_ms,
            erased=Erased(self._known),
        )
        self.task = asyncio.create_task(asyncio.sleep(0))

    async def _known(self) -> dict[str, Erasure]:
        if self.unknown is not None:
            raise self.unknown
        return self.erasures

    def _client_of_the_fake(self) -> ClickHouseClient:
        return ClickHouseClient(self.fake.endpoint, clickhouse_config())

    def start(self) -> None:
        self.task = asyncio.create_task(self.committer.run())

    async def stop(self) -> None:
        """Cancels the committer where it is."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def close(self) -> None:
        await self.stop()
        await self.client.close()
        await self.log.close()

    async def crash(self, **commit: Any) -> None:
        """Ends the committer where it is and opens the log again, perhaps with another configuration."""
        await self.close()
        self.commit = msgspec.structs.replace(self.commit, **commit)
        await self.open()

    async def append(self, *rows: bytes, row_format: int = ROW_FORMAT) -> int:
        return await self.log.append(rows, row_format)

    async def append_numbers(self, first: int, last: int) -> None:
        await self.append(*(row(n) for n in range(first, last + 1)))

    async def until(self, done: Callable[[], bool], timeout_s: float = 90.0) -> None:
        """Waits for `done`, or raises what ended the committer."""

        async def pause() -> None:
            if self.task.done() and not self.task.cancelled() and (error := self.task.exception()):
                raise error
            await asyncio.sleep(0.001)

        await until_async(
            done, timeout_s=timeout_s, pause=pause, more=lambda: f"problem: {self.committer.problem}"
        )

    async def drained(self, timeout_s: float = 90.0) -> None:
        """Waits until the stored cursor says that nothing is left."""
        await self.until(lambda: self.log.waiting == 0, timeout_s)

    @property
    def stored(self) -> list[int]:
        """The numbers of the rows in the table, in the order in which they came, copies included."""
        return [number(r) for r in self.fake.rows]

    @property
    def dead(self) -> list[int]:
        return [number(self.dead_letter.read(id).row) for id in self.dead_letter.ids()]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last LSN of every INSERT that arrived, out of its token."""
        found = []
        for token in self.fake.tokens:
            first, last = token.split(":")[1].split("-")
            found.append((int(first), int(last)))
        return found


def refusing(*numbers: int, code: int = 27) -> Callable[[bytes], int | None]:
    """For `FakeClickHouse.refuse`: rows with these numbers are bad."""
    bad = set(numbers)
    return lambda r: code if number(r) in bad else None
