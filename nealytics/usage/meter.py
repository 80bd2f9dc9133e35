"""Counts what one worker does, and keeps its files.

The log calls `rows_durable` for each group in the thread that wrote it, and what that returns in the event
loop, in the order of the LSNs. `recover` counts the rows that became durable after the files were last
stored. `Meter.run` stores them while anything changes. What takes long for many tenants is done in threads.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from nealytics.config import QuotaRule
from nealytics.errors import LogError, NealyticsError, Refused
from nealytics.quotas import Owner, Quotas
from nealytics.timestamps import DAY_MS
from nealytics.usage import store
from nealytics.usage.counts import Counts, Used, day_number, day_of, now_ms, today
from nealytics.usage.node import NodeUsage, used_of
from nealytics.usage.store import Position
from nealytics.wal import Log
from nealytics.wal.writer import Append

log = logging.getLogger("nealytics.usage")

INTERVAL_S = 5.0
# A day is complete when no row of it can arrive any more; a group takes seconds at most.
_COMPLETE_AFTER_MS = 600_000
# A group with more tenants is left to the thread that stores the counts.
_TENANTS_MAX = 1_000
_READ_ROWS_MAX = 10_000
_READ_BYTES_MAX = 8 * 1024 * 1024


class Queries:
    """Counts nothing: for readers that are not part of a node."""

    def check(self, project_id: str, tenant_id: str | None) -> None:
        """Raises `Refused` (429) if the quota of queries is used up."""

    def query(self, project_id: str, tenant_id: str | None, rows_read: int) -> None:
        """Counts a query that was answered. Without a tenant it was about the whole project."""


class Meter(Queries):
    """The counts of one worker, in `directory`, and what they leave of the quotas.

    `quota_share` is the used part of the quota that is used most, of all workers together.
    """

    def __init__(
        self,
        directory: Path,
        clock_ms: Callable[[], int] = now_ms,
        quotas: Sequence[QuotaRule] = (),
    ) -> None:
        self._directory = directory
        self._node = NodeUsage(directory.parent)
        self.quotas = Quotas(quotas)
        self.quota_share = 0.0
        self.now_ms = clock_ms
        current = _load(directory)
        self._position = current.position
        # Those of the files. After the recovery, only `_write` uses them.
        self.counts = Counts(self._counted_before)
        # What was counted since they were last stored.
        self._new = Counts()
        self._large: list[Counts] = []
        # Days that were opened again: the position up to which their files have the events.
        self._counted_up_to: dict[int, Position] = {}
        for text, lines in current.days.items():
            self.counts.put(day_number(text), lines)
        self._changed = False
        self._storing = asyncio.Lock()
        self._recovered = False
        self._last_lsn = 0  # of the rows that became durable since the start

    async def recover(self, wal: Log, last_lsn: int) -> None:
        """Counts the rows of `wal` up to `last_lsn` that the files do not have yet. Until it returns, the
        files stay as they are, because they have one position."""
        known = self._position.lsn if self._position.log_id == str(wal.log_id) else 0
        lsn = max(known + 1, wal.deleted_lsn + 1)
        if lsn > known + 1 and known:
            log.warning(
                "usage: log %s no longer has rows %d-%d, which were not counted",
                wal.directory,
                known + 1,
                lsn - 1,
            )
        while lsn <= last_lsn:
            rows_max = min(_READ_ROWS_MAX, last_lsn - lsn + 1)
            try:
                rows = await wal.read(lsn, rows_max=rows_max, bytes_max=_READ_BYTES_MAX)
            except LogError as error:
                log.error("usage: rows %d-%d are not counted: %s", lsn, last_lsn, error)
                break
            self._count_again(str(wal.log_id), list(rows), lsn)
            lsn = rows.last_lsn + 1
        # Rows were appended meanwhile.
        self._position = Position(str(wal.log_id), max(last_lsn, self._last_lsn))
        self._recovered = self._changed = True

    def rows_durable(self, appends: Sequence[Append]) -> Callable[[int], None]:
        """Sums up a group, in any thread. What it returns counts the group up to its last LSN."""
        group = Counts()
        if len({day_of(append.rows[0]) for append in appends}) == 1:
            # At once: a call costs 2 µs, and a group often has thirty requests of one row.
            group.add_rows([row for append in appends for row in append.rows])
        else:
            for rows, *_ in appends:
                group.add_rows(rows)
        projects = self.quotas.projects
        stored = [
            ((line.project_id, line.tenant_id), line.used.events, day * DAY_MS)
            for day in (group.days if projects else ())
            for line in group.lines(day)
            if line.project_id in projects
        ]
        return partial(self._count, group, deque(stored))

    def _count(self, group: Counts, stored: deque[tuple[Owner, int, int]], last_lsn: int) -> None:
        if len(group) <= _TENANTS_MAX:
            self._new.add(group)
        else:
            self._large.append(group)
        self._end_taking(stored)
        self._last_lsn = last_lsn
        if self._recovered:
            self._position = Position(self._position.log_id, last_lsn)
        self._changed = True

    def _end_taking(self, stored: deque[tuple[Owner, int, int]]) -> None:
        """In steps. Between them, quotas may count tenants of a large group twice, until the next refresh."""
        for _ in range(min(len(stored), _TENANTS_MAX)):
            self.quotas.events.stored(*stored.popleft())
        if stored:
            asyncio.get_running_loop().call_soon(self._end_taking, stored)

    def query(self, project_id: str, tenant_id: str | None, rows_read: int) -> None:
        now_ms = self.now_ms()
        self._new.add_query(project_id, tenant_id or "", rows_read, today(now_ms))
        self.quotas.queries.take(project_id, tenant_id or "", now_ms)
        self.quotas.queries.stored((project_id, tenant_id or ""), 1, now_ms)
        self._changed = True

    def check(self, project_id: str, tenant_id: str | None) -> None:
        now_ms = self.now_ms()
        spent = self.quotas.queries.take(project_id, tenant_id or "", now_ms, number=0)
        if spent is not None:
            raise Refused(
                429,
                "quota_exceeded",
                spent.message,
                detail=spent.detail,
                headers={"Retry-After": str(spent.retry_after_s(now_ms))},
            )

    def _count_again(self, log_id: str, rows: Sequence[bytes], first_lsn: int) -> None:
        """Counts rows that `current.json` does not have, but perhaps the files of their days."""
        new = []
        for lsn, row in enumerate(rows, first_lsn):
            self.counts.day(day_of(row))
            known = self._counted_up_to.get(day_of(row))
            if known is None or known.log_id != log_id or lsn > known.lsn:
                new.append(row)
        if new:
            self.counts.add_rows(new)

    def _counted_before(self, day: int) -> Iterable[tuple[str, str, Used]]:
        """What the file of a day has. One that has ended is opened again if its events are counted again, or
        if the clock was set back."""
        try:
            ended = store.load_day(self._directory, day)
        except NealyticsError as error:
            path = store.path_of(self._directory, day)
            _put_aside(path, error, "usage of that day has only what is counted from now on")
            return ()
        self._counted_up_to[day] = ended.position
        return ended.lines

    async def run(self, wal: Log, last_lsn: int) -> None:
        """`recover`, then stores the counts while they change, for ever."""
        await self.recover(wal, last_lsn)
        while True:
            await self.refresh()
            await asyncio.sleep(INTERVAL_S)

    async def limit(self, rules: Sequence[QuotaRule]) -> None:
        """From now on, these quotas apply."""
        self.quotas.replace(rules)
        await self.refresh()

    async def refresh(self) -> None:
        """Stores the counts, and reads what all workers used of the quotas."""
        self.quotas.mark()
        if await self.store() and self.quotas.rules:
            now_ms = self.now_ms()
            used = await asyncio.to_thread(used_of, self.quotas, self._node, now_ms)
            self.quotas.counted(*used, now_ms)
        self.quota_share = await asyncio.to_thread(self.quotas.largest_share)

    async def store(self) -> bool:
        """Durable on return, or logged, and False: a full disk must not stop the worker."""
        # Shielded: only one thread may use the counts.
        return await asyncio.shield(asyncio.create_task(self._store()))

    async def _store(self) -> bool:
        async with self._storing:
            if not (self._changed and self._recovered):
                return True
            self._changed = False
            new = [self._new, *self._large]
            self._new, self._large = Counts(), []
            try:
                await asyncio.to_thread(self._write, new, self._position)
            except (NealyticsError, OSError) as error:
                self._changed = True
                log.warning("usage: cannot store what was used: %s", error)
                return False
            return True

    def _write(self, new: Iterable[Counts], position: Position) -> None:
        """Adds `new` to the counts, which then have the rows up to `position`, and stores them."""
        counts = self.counts
        for one in new:
            counts.add(one)
        now = today(self.now_ms() - _COMPLETE_AFTER_MS)
        ended = [day for day in counts.days if day < now]
        store.store(self._directory, position, {day: counts.encode(day) for day in counts.days}, ended)
        for day in ended:
            counts.forget(day)
            self._counted_up_to.pop(day, None)


async def count_rest(directory: Path, wal: Log) -> None:
    """Counts what the ended worker of `wal` did not, for a log that nobody appends to."""
    meter = Meter(directory)
    await meter.recover(wal, wal.durable_lsn)
    await meter.store()


def _load(directory: Path) -> store.Current:
    try:
        return store.load(directory)
    except NealyticsError as error:
        _put_aside(directory / store.CURRENT, error, "the rows in the log are counted again")
        return store.Current(Position(), {})


def _put_aside(path: Path, error: NealyticsError, effect: str) -> None:
    """Keeps a file that cannot be read for a person. It must stop neither the worker nor its log."""
    kept = path.with_name(f"{path.name}.unreadable")
    try:
        path.rename(kept)
    except OSError as failure:
        log.error("%s; it cannot be renamed to %s, so it will be replaced: %s", error, kept.name, failure)
    else:
        log.error("%s; it is now %s, and %s", error, kept.name, effect)
