"""Carries out the erasures of a node: worker 0 runs it. Each step may be repeated after a crash.

A pending job waits until no log has its rows, except in batches that are acknowledged: what a mutation does
not find must not reach the table later. All pending jobs share one mutation.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.commit.dead_letter import DIRECTORY as DEAD_LETTER
from nealytics.commit.rejected import DIRECTORY as REJECTED
from nealytics.config import Config
from nealytics.erasure import leftovers, rejects
from nealytics.erasure.announcements import Announcements
from nealytics.erasure.jobs import Job, due, hiding, oldest_received_ms
from nealytics.erasure.known import begin_again_if_replaced
from nealytics.erasure.store import Jobs
from nealytics.erasure.table import ErasureTable
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import LogError, NealyticsError
from nealytics.usage.store import DIRECTORY as USAGE
from nealytics.usage.store import first_day
from nealytics.wal import inspection, quarantine

log = logging.getLogger("nealytics.erasure")

POLL_S = 1.0
# Until it is noticed that the table was replaced, or that ClickHouse lacks an erasure.
LOOK_INTERVAL_S = 10.0
# An older part may be attached to the same table: then nothing tells but the rows themselves.
SEARCH_INTERVAL_S = 86_400.0
# A job that waits longer says what it waits for.
PATIENCE_MS = 60_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Erasing:
    """Run `run` as one task of one process of the node."""

    def __init__(
        self, client: ClickHouseClient, config: Config, jobs: Jobs, clock_ms: Callable[[], int] = _now_ms
    ) -> None:
        self._table = ErasureTable(client, config.clickhouse)
        self._list = Announcements(client, config.clickhouse)
        self._jobs = jobs
        self._root = config.wal.directory
        self._usage = config.server.data_dir / USAGE
        self._clock_ms = clock_ms
        self._looked_at = self._searched_at = float("-inf")
        self._compared: frozenset[str] = frozenset()
        self._reported = ""

    async def run(self) -> None:
        while True:
            try:
                now = time.monotonic()
                if now - self._looked_at >= LOOK_INTERVAL_S:
                    await self.look()
                    self._looked_at = now
                if now - self._searched_at >= SEARCH_INTERVAL_S:
                    await self.search()
                    self._searched_at = now
                await self.step()
                self._reported = ""
            except ClickHouseUnavailable as error:
                log.debug("erasure: cannot ask ClickHouse now: %s", error)
            except (NealyticsError, OSError) as error:
                if str(error) != self._reported:
                    self._reported = str(error)
                    log.error("erasure: events were not erased yet: %s", error)
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Begins jobs again if the table was replaced, and exchanges erasures that ClickHouse or this node
        lacks."""
        known = dict(self._jobs.all())
        if known:
            self._compared = await begin_again_if_replaced(self._table, self._jobs, self._compared)
        self._list.forget_version()
        announced = {erasure.id: erasure for erasure in await self._list.announced() or ()}
        for id in announced.keys() - known.keys():
            await asyncio.to_thread(partial(self._jobs.put, Job(erasure=announced[id]), only_new=True))
        for id in known.keys() - announced.keys():
            await self._list.announce(known[id].erasure)

    async def search(self) -> None:
        """Begins the jobs again that are done and whose events are in the table."""
        done = [job for job in self._jobs.all().values() if job.state == "done"]
        if not done or not await self._table.count(" OR ".join(hiding(done)), copies=True):
            return
        for job in done:
            if await self._table.count(job.condition(), copies=True):
                log.warning("erasure: %s: the table has the events again; erasing them", job.id)
                await asyncio.to_thread(self._jobs.forget_cleaned, job.id)
                await self._change(job, state="pending", table="", erased_at_ms=None, removed_at_ms=None)

    async def step(self) -> None:
        """Does what can be done now. Raises `NealyticsError`, `OSError`."""
        jobs = list(self._jobs.all().values())
        ready = [job for job in jobs if job.state != "pending" or await self._is_cleaned(job)]
        for job in jobs:
            if job.state == "removing":
                await self._finish(job)
        if not (running := due(ready, self._clock_ms())):
            return
        try:
            for job in running:
                if job.state == "pending":
                    await self._start(job)
            await self._delete([job for job in self._jobs.all().values() if job.state == "running"])
        except ClickHouseUnavailable as error:
            for job in running:
                await self._change(job, problem=f"ClickHouse does not answer: {error}")
            raise

    async def _is_cleaned(self, job: Job) -> bool:
        """Whether no log of this node has rows of the job."""
        waits = await asyncio.to_thread(self._waits_for, job)
        if waits and self._clock_ms() - job.erasure.requested_at_ms > PATIENCE_MS:
            await self._change(job, problem=waits)
        return not waits

    def _waits_for(self, job: Job) -> str:
        root = self._root
        logs = [path for path in inspection.find_logs(root) if not self._jobs.is_cleaned(job.id, path.name)]
        if logs:
            return (
                f"the log {logs[0]} has events that wait for ClickHouse, or is being compared with the "
                "table: see `nealytics status`"
            )
        for _, path in quarantine.find(root):
            if leftovers.may_have(path, job.erasure):
                return f"the damaged log {path} has events of the tenant; delete it when none is queued"
        return ""

    async def _start(self, job: Job) -> None:
        """Counts what is found, and removes it from the files beside the logs."""
        tombstones = Tombstones([job.erasure])
        dead = await asyncio.to_thread(leftovers.erase_dead_letters, self._root / DEAD_LETTER, tombstones)
        rejected = await asyncio.to_thread(rejects.erase_rejected, self._root / REJECTED, job.erasure)
        lines = await asyncio.to_thread(leftovers.erase_imported, self._root, job.erasure)
        counts = {
            "dead_letters_erased": job.dead_letters_erased + dead.removed + rejected.removed,
            "imported_lines_erased": job.imported_lines_erased + lines.removed,
        }
        if problems := [*dead.problems, *rejected.problems, *lines.problems]:
            await self._change(job, problem="; ".join(problems), **counts)
            return
        oldest_ms = 0 if counts["imported_lines_erased"] else await self._oldest_received_ms(job)
        if job.oldest_received_ms is not None:
            oldest_ms = min(oldest_ms, job.oldest_received_ms)
        found = await self._table.count(job.condition())
        # What began again found its events the first time.
        found = max(found, job.events_found or 0)
        await self._change(
            job,
            state="running",
            problem=None,
            events_found=found,
            oldest_received_ms=oldest_ms,
            **counts,
        )

    async def _oldest_received_ms(self, job: Job) -> int:
        """Which backups may have the events depends on it, so 0 if it is not known."""
        in_table_ms = await self._table.oldest_received_ms(job.condition())
        erasure = job.erasure
        try:
            day = await asyncio.to_thread(first_day, self._usage, erasure.project_id, erasure.tenant_id)
        except NealyticsError as error:
            log.warning("erasure: %s: all backups may have the events: %s", job.id, error)
            return 0
        return oldest_received_ms(in_table_ms, day, self._clock_ms())

    async def _delete(self, jobs: Sequence[Job]) -> None:
        """Starts a mutation if the table has rows of these jobs and no mutation runs."""
        if (failure := await self._table.unfinished()) is not None:
            for job in jobs:
                await self._change(
                    job, problem=f"ClickHouse cannot delete the rows: {failure}" if failure else None
                )
            return
        conditions = []
        for job in jobs:
            if keys := await self._table.other_copies(job.erasure):
                conditions.append(self._table.copies_of(job.erasure, keys))
        if not conditions:
            for job in jobs:
                if rows := await self._table.count(job.erasure.condition(), copies=True):
                    await self._change(job, rows_erased=max(job.rows_erased, rows))
                    conditions.append(job.erasure.condition())
        if conditions:
            await self._table.delete(conditions)
            return
        table = ",".join(sorted(await self._table.identity()))
        for job in jobs:
            await self._change(
                job, state="removing", problem=None, table=table, erased_at_ms=self._clock_ms()
            )

    async def _finish(self, job: Job) -> None:
        """Done when the replaced parts are gone, which ClickHouse keeps for `old_parts_lifetime`."""
        assert job.erased_at_ms is not None
        if old := await self._table.old_parts(self._clock_ms() - job.erased_at_ms):
            problem = (
                f"ClickHouse still has replaced parts, which may have the events: {', '.join(old[:5])}"
                f"{f' and {len(old) - 5} others' if len(old) > 5 else ''}; it removes each when the setting "
                "old_parts_lifetime of the table has passed (by default 8 minutes) and no query reads it"
            )
            await self._change(job, problem=problem)
            return
        if detached := await self._table.detached_parts():
            listed = ", ".join(detached[:5])
            problem = f"the detached parts {listed} may have the events; delete them (DROP DETACHED PART)"
            await self._change(job, problem=problem)
            return
        # An insert that another node had begun may have ended after the deletion.
        if await self._table.count(job.condition(), copies=True):
            await self._change(job, state="running")
            return
        # An event that a worker was rejecting when the files were searched.
        late = await asyncio.to_thread(rejects.erase_rejected, self._root / REJECTED, job.erasure)
        if late.problems:
            await self._change(job, problem="; ".join(late.problems))
            return
        await self._change(job, dead_letters_erased=job.dead_letters_erased + late.removed)
        await self._change(job, state="done", user_id=None, problem=None, removed_at_ms=self._clock_ms())
        await asyncio.to_thread(self._jobs.forget_cleaned, job.id)
        log.info("erasure: %s is done: %d rows were removed", job.id, job.rows_erased)

    async def _change(self, job: Job, **changes: object) -> None:
        job = self._jobs.all().get(job.id, job)
        changed = msgspec.structs.replace(job, **changes)
        if changed != job:
            await self._put(changed)

    async def _put(self, job: Job) -> None:
        try:
            await asyncio.to_thread(self._jobs.put, job)
        except LogError as error:
            raise NealyticsError(f"erasure: the job {job.id} cannot be stored: {error}") from error
