"""Removes erased rows from the logs of one worker.

A segment cannot lose single rows, so segments that have such a row are deleted, with all older ones, once
their rows are committed. What is deleted cannot be compared with the table any more: so a log waits until a
comparison that runs has ended.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from nealytics.commit.loop import Committer
from nealytics.erasure.jobs import Job
from nealytics.erasure.store import Jobs
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import LogBroken, NealyticsError
from nealytics.wal import Log, QuarantinedLog
from nealytics.wal.kept import Gap, Kept

log = logging.getLogger("nealytics.erasure")

POLL_S = 1.0
_READ_ROWS_MAX = 50_000
_READ_BYTES_MAX = 8 * 1024 * 1024


class LogCleaning:
    """Run `run` as one task."""

    def __init__(
        self,
        jobs: Jobs,
        logs: Callable[[], Sequence[tuple[Log | QuarantinedLog, Committer]]],
        adopt: Callable[[Tombstones], None],
    ) -> None:
        """`adopt` gets the tombstones whenever they change; afterwards no such row is appended."""
        self._jobs = jobs
        self._logs = logs
        self._adopt = adopt
        self._adopted: Tombstones | None = None
        # For each job and log: rows up to here may have been admitted before the erasure was adopted.
        self._seen_lsns: dict[tuple[str, Path], int] = {}
        self._reported = ""

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except LogBroken:
                return  # the process ends
            except (NealyticsError, OSError) as error:
                if str(error) != self._reported:
                    self._reported = str(error)
                    log.error("%s", error)
            await asyncio.sleep(POLL_S)

    async def step(self) -> None:
        """Does what can be done now. Raises `NealyticsError`."""
        jobs = list(self._jobs.all().values())
        tombstones = self._jobs.tombstones()  # of these jobs, and perhaps of newer ones
        if tombstones is not self._adopted:
            self._adopt(tombstones)
            self._adopted = tombstones
        for job in jobs:
            if job.state == "pending":
                for wal, committer in self._logs():
                    if isinstance(wal, Log) and not self._jobs.is_cleaned(job.id, wal.directory.name):
                        await self._clean(job, wal, committer)

    async def _clean(self, job: Job, wal: Log, committer: Committer) -> None:
        key = job.id, wal.directory
        if key not in self._seen_lsns:
            await wal.wait_for()  # what was admitted before
            self._seen_lsns[key] = wal.durable_lsn
        seen_lsn = self._seen_lsns[key]
        if wal.cursor_lsn < seen_lsn:
            committer.flush_soon()
            return
        if wal.keep_all:
            return
        tombstones = Tombstones([job.erasure])
        last_lsn = await asyncio.to_thread(last_covered, wal.directory, seen_lsn, tombstones)
        if await wal.purge(last_lsn):
            await asyncio.to_thread(self._jobs.set_cleaned, job.id, wal.directory.name)


def last_covered(directory: Path, last_lsn: int, tombstones: Tombstones) -> int:
    """The last row up to `last_lsn` in the log that is covered, or that cannot be read; 0 if none is."""
    kept = Kept(directory)
    found = 0
    try:
        lsn = kept.first_lsn
        while lsn <= last_lsn:
            try:
                rows = kept.read(lsn, last_lsn, rows_max=_READ_ROWS_MAX, bytes_max=_READ_BYTES_MAX)
            except Gap as gap:
                found, lsn = gap.last, gap.last + 1
                continue
            for row_lsn, row in enumerate(rows, rows.first_lsn):
                if tombstones.covers(row, rows.row_format):
                    found = row_lsn
            lsn = rows.last_lsn + 1
    finally:
        kept.close()
    return found
