"""What a process may rely on: that it knows every erasure that was answered, by any node.

Nodes that share a ClickHouse agree by a *lease*. Each process reads the list of erasures every second. A list
that was asked for less than `LEASE_S` ago is current, and a request for an erasure is answered only
`ANSWER_AFTER_S` after all servers have it. So whoever uses a current list knows of each erasure that was
answered before. Without one, no read is run and no batch is sent, until ClickHouse has answered again.

The engine of a node alone has nobody to agree with: there a list is current once the table was compared with
the one from which the events were erased.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial

from nealytics.auth.scope import Scope
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.error_codes import ACCESS_DENIED
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import ClickHouseConfig, Config
from nealytics.erasure.announcements import Announcements
from nealytics.erasure.jobs import Erasure, Job, hiding
from nealytics.erasure.store import Jobs
from nealytics.erasure.table import ErasureTable
from nealytics.errors import ErasuresUnreadable, LogError, NealyticsError

log = logging.getLogger("nealytics.erasure")

REFRESH_S = 1.0
LEASE_S = 5.0
# Clocks of two machines run at slightly different speeds.
ANSWER_AFTER_S = LEASE_S + 0.5


def _now_s() -> float:
    # Unlike the monotonic clock, it goes on while the machine sleeps.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Known:
    """Run `run` as one task of each process."""

    def __init__(
        self,
        client: ClickHouseClient,
        config: ClickHouseConfig,
        jobs: Jobs,
        clock: Callable[[], float] = _now_s,
    ) -> None:
        self._jobs = jobs
        self._list = Announcements(client, config)
        self._table = ErasureTable(client, config)
        self._clock = clock
        self._until = -math.inf
        self._is_compared = False
        self._refreshing = asyncio.Lock()
        self._failure: NealyticsError = ClickHouseUnavailable("did not answer yet which events were erased")

    async def run(self) -> None:
        reported = ""
        while True:
            try:
                await self.refresh()
                reported = ""
            except ClickHouseUnavailable as error:
                log.debug("erasure: cannot read the list of erasures now: %s", error)
            except NealyticsError as error:
                if str(error) != reported:
                    reported = str(error)
                    log.error("erasure: cannot read the list of erasures, so reads are refused: %s", error)
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Raises `NealyticsError`; then what was known stays current for the rest of its time."""
        async with self._refreshing:
            began = self._clock()
            try:
                if self._list.is_shared:
                    await self._learn()
                # Before the first read. Later, `Erasing` does it, and no read waits for it.
                if not self._is_compared and self._jobs.all():
                    await begin_again_if_replaced(self._table, self._jobs, frozenset())
                self._is_compared = True
            except NealyticsError as error:
                self._failure = error
                raise
            self._until = began + LEASE_S if self._list.is_shared else math.inf

    def hidden(self, scope: Scope) -> list[Job]:
        """For each read; as `Jobs.hidden`. Raises `ErasuresUnreadable`, or `ClickHouseUnavailable` if that is
        the cause."""
        if not self._is_current:
            about = f"it is not known which events other nodes erased in the last {LEASE_S:g} s"
            if isinstance(self._failure, ClickHouseUnavailable):
                raise ClickHouseUnavailable(f"{about}: {self._failure.message}")
            raise ErasuresUnreadable(f"erasure: {about}: {self._failure}")
        return self._jobs.hidden(scope)

    async def current(self) -> Mapping[str, Erasure]:
        """For each attempt to send rows; by id. While none is added, the same object.

        Raises `NealyticsError`, but not for a missing right: that would stop a node whose user is allowed
        nothing but to insert and to read events. Its reads are refused.
        """
        if not self._is_current:
            try:
                await self.refresh()
            except ClickHouseError as error:
                if error.code != ACCESS_DENIED:
                    raise
        return self._jobs.erasures()

    @property
    def _is_current(self) -> bool:
        return self._clock() < self._until or not (self._list.is_shared or self._jobs.all())

    async def _learn(self) -> None:
        try:
            announced = await self._list.announced()
            known = self._jobs.all()
            for erasure in announced or ():
                if erasure.id not in known:
                    await asyncio.to_thread(partial(self._jobs.put, Job(erasure=erasure), only_new=True))
        except BaseException as error:  # also cancelled
            # The list is known once all of it is stored.
            self._list.forget_version()
            if isinstance(error, LogError):
                raise NealyticsError(f"erasure: the list cannot be stored: {error}") from error
            raise


async def begin_again_if_replaced(
    table: ErasureTable, jobs: Jobs, compared: frozenset[str]
) -> frozenset[str]:
    """A restored or copied table may have what was erased from the former one: then all jobs that are over
    begin again, and hide the events at once. `compared` is what it returned before: tables without events of
    such a job. Raises `NealyticsError`."""
    tables = await table.identity()
    if not tables or tables <= compared:
        return compared
    over = [job for job in jobs.all().values() if job.is_of_other(tables)]
    if over and await table.count(" OR ".join(hiding(over)), copies=True):
        log.warning("erasure: the table was replaced and has erased events; erasing them again")
        await asyncio.to_thread(jobs.begin_again, tables)
    return tables


async def jobs_of(client: ClickHouseClient, config: Config) -> Jobs:
    """The jobs, for a command: also those of a ClickHouse server that this node does not know yet. Writes
    nothing, because the command may run as another user than the node. Raises `NealyticsError`."""
    jobs = Jobs(config.server.data_dir)
    shared = Announcements(client, config.clickhouse)
    if shared.is_shared:
        jobs.also(await shared.announced() or ())
    return jobs
