"""Finds out whether the table can be the one that received the acknowledged rows of a log; if not, sends the
rows that the log still has and the table does not.

Nothing is recorded for a batch. The log has a mark (`wal.mark`): the identity of the table, and of the
directory itself. At a start, and after a start of ClickHouse, one query asks the table for the newest rows
that it confirmed. While rows are compared, the log deletes no segment but for room. Decision 0029.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.table_state import START_TOLERANCE_S, TableState, read_state
from nealytics.commit.dead_letter import DeadLetter
from nealytics.commit.reconcile import (
    Options,
    Reconciliation,
    Result,
    Sample,
    begin,
    resending_of,
    sample,
)
from nealytics.commit.resend import Drop, Resending
from nealytics.config import ClickHouseConfig
from nealytics.errors import LogError
from nealytics.observe.metrics import Metrics
from nealytics.wal import Log, QuarantinedLog, Range, mark
from nealytics.wal.kept import Kept, kept_of
from nealytics.wal.mark import Mark

log = logging.getLogger("nealytics.commit")


class Suspicion(NamedTuple):
    """Why the table may lack rows that ClickHouse confirmed."""

    reason: str
    is_copy: bool = False  # of a directory whose original may have accepted more
    is_other_table: bool = False


def judge(known: Mark | None, table: TableState, place: str, newest: Sample) -> Suspicion | None:
    """None if the table has what it confirmed. Pure."""
    if known is not None:
        if known.suspected:
            return Suspicion(
                known.suspected,
                is_copy=known.place not in ("", place),
                is_other_table=known.table != table.identity,
            )
        if known.place != place:
            return Suspicion(
                "its directory was copied, moved to another file system, or restored", is_copy=True
            )
        if known.table != table.identity:
            return Suspicion("the table is not the one that received its events", is_other_table=True)
        if broken := sorted(set(table.broken) - set(known.broken)):
            return Suspicion(f"clickhouse detached damaged parts: {', '.join(broken)}")
    if newest.missing:
        return Suspicion(
            f"{newest.missing} of its newest {newest.rows} events that clickhouse confirmed are not in the "
            "table, which is empty, older than the log, or not complete",
            is_other_table=newest.missing == newest.rows,
        )
    return None


class TableCheck:
    """The check of one log. Call `check` at intervals; it returns once there is nothing left to do."""

    def __init__(
        self,
        wal: Log | QuarantinedLog,
        client: ClickHouseClient,
        config: ClickHouseConfig,
        dead_letter: DeadLetter,
        metrics: Metrics,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        drops: Callable[[], Sequence[Drop]] = tuple,
        erased: Drop | None = None,
        erase_again: Callable[[], None] = lambda: None,
    ) -> None:
        """`drops`, asked for each comparison, and `erased`, are those of `resending_of`. `erase_again` is
        called if the log is a copy: it may have what was erased since. All of them in a thread."""
        self._wal = wal
        self._client = client
        self._config = config
        self._dead_letter = dead_letter
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._drops = drops
        self._erased = erased
        self._erase_again = erase_again
        self._warning = ""  # while rows may be missing
        self.is_incomplete = False  # rows may be missing
        self._limits = ""  # what no comparison can find; stays until the next start
        self._started_s: int | None = None  # of the ClickHouse that was asked for the newest rows
        self._delivered_lsn = wal.cursor_lsn  # at the last check: rows that this ClickHouse confirmed
        self._mark: Mark | None = None
        self._result: Result | None = None  # of a comparison that is not finished
        self._against: TableState | None = None  # the table that it began with
        self._left: TableState | None = (
            None  # compared, and rows are missing that only a person can decide on
        )
        wal.keep_all = True

    def warnings(self) -> list[str]:
        """For `/ready`, at any time."""
        return [*filter(None, (self._warning, self._limits))]

    async def check(self) -> None:
        """Raises `ClickHouseError` or `Unconfirmed`; then call it again later."""
        try:
            await self._check()
        except ClickHouseUnavailable:
            raise
        except ClickHouseError:
            # A missing right must not fill the disk.
            self._wal.keep_all = self._result is not None
            raise
        except (LogError, OSError) as error:
            warning = f"reconcile: log {self._wal.directory} cannot be compared with the table: {error}"
            if warning != self._warning:
                log.error("%s", warning)
            self._warning = warning

    async def _check(self) -> None:
        known = mark.load(self._wal.directory)
        is_changed, self._mark = known != self._mark, known
        table = await read_state(self._client, self._config)
        if not table.identity or (self._is_left(table) and not is_changed):
            return
        delivered_lsn = self._wal.cursor_lsn
        place = mark.place_of(self._wal.directory)
        is_restarted = self._started_s is None or abs(table.started_s - self._started_s) > START_TOLERANCE_S
        # Without a reason to ask for rows, a check is three small queries and no file.
        if is_restarted or is_changed or self._left or judge(known, table, place, Sample(0, 0)):
            kept = await asyncio.to_thread(kept_of, self._wal.directory)
            try:
                newest = await self._sample(kept, known)
                if (suspicion := judge(known, table, place, newest)) is None:
                    self._is_sound(known, table, place, kept)
                else:
                    await self._compare(suspicion, table, place, kept, known)
            finally:
                kept.close()
        self._started_s, self._delivered_lsn = table.started_s, delivered_lsn

    def _is_left(self, table: TableState) -> bool:
        left = self._left
        return left is not None and left.is_same_run(table) and left.broken == table.broken

    async def _sample(self, kept: Kept, known: Mark | None) -> Sample:
        """Of the newest rows, and of those that were the newest at the last check: if ClickHouse was replaced
        by an older one since, it may have the former and lack the latter."""
        resending = await self._resending(kept, known.accepted if known else ())
        found = Sample(0, 0)
        for last_lsn in {self._delivered_lsn, kept.last_lsn}:
            found = max(
                found,
                await sample(
                    kept,
                    self._client,
                    self._config.database,
                    resending,
                    last_lsn=last_lsn,
                ),
                key=lambda one: one.missing,
            )
        return found

    def _is_sound(self, known: Mark | None, table: TableState, place: str, kept: Kept) -> None:
        self._result = None  # a command may have completed what was interrupted here
        if known is None or set(table.broken) != set(known.broken):
            accepted = known.accepted if known else ()
            self._store(Mark(kept.log_id, table.identity, place, table.broken, accepted))
        self._left = None
        self._done()

    async def _compare(
        self, suspicion: Suspicion, table: TableState, place: str, kept: Kept, known: Mark | None
    ) -> None:
        accepted = known.accepted if known and known.table == table.identity else ()
        if self._result is None or self._against is None or not self._against.is_same_run(table):
            if suspicion.is_copy:
                await asyncio.to_thread(self._erase_again)
            # What was already sent may be lost with the table, or in a ClickHouse that was killed.
            self._begin(suspicion, kept, known)
            self._against = table
        result = self._result
        assert result is not None
        resending = await self._resending(kept, accepted)
        reconciliation = Reconciliation(
            self._client, self._config.database, table.identity, resending, Options()
        )
        await reconciliation.run(kept, result, self._metrics.events_resent.add)
        self._result = None
        self._metrics.events_erased.add(result.erased)
        about = f"reconcile: log {self._wal.directory}: {suspicion.reason}. {result}"
        if not result.complete:
            self._left = table
            self._warning = f"{about}. Not all is in the table; {what_to_do(result)}{_copy(suspicion)}"
            log.error("%s", self._warning)
            return
        self._left = None
        self._store(Mark(kept.log_id, table.identity, place, table.broken, accepted))
        limits = f"{_copy(suspicion)}{_not_covered(suspicion, result)}"
        log.warning("%s. The table has all that the log has%s", about, limits)
        if limits:
            self._limits = about + limits
        self._done()

    def _begin(self, suspicion: Suspicion, kept: Kept, known: Mark | None) -> None:
        self._wal.keep_all = True
        self.is_incomplete = True
        self._metrics.table_incomplete.set(1)
        self._warning = (
            f"reconcile: log {self._wal.directory}: {suspicion.reason}. Comparing the events that the log "
            "has kept with the table, and sending what is missing; answers may be incomplete until then"
            f"{_copy(suspicion)}"
        )
        log.warning("%s", self._warning)
        # Before the first row is sent: the newest rows may soon be in the table, and older ones not.
        before = known or Mark(kept.log_id, table="", place="")
        self._store(msgspec.structs.replace(before, suspected=suspicion.reason))
        self._result = begin(kept)

    def _done(self) -> None:
        self._warning = ""
        self._wal.keep_all = False
        self.is_incomplete = False

    def _store(self, new: Mark) -> None:
        mark.store(self._wal.directory, new)
        self._mark = new

    async def _resending(self, kept: Kept, accepted: Sequence[Range]) -> Resending:
        drops = await asyncio.to_thread(self._drops)
        return await resending_of(
            self._client,
            self._config,
            self._dead_letter,
            kept.log_id,
            now_ms=self._clock_ms(),
            drops=drops,
            erased=self._erased,
            accepted=accepted,
        )


def what_to_do(result: Result) -> str:
    """The command for what a comparison left."""
    if result.doubtful:
        return (
            "if the events were deleted on purpose, run `nealytics wal reconcile --accept`, else `nealytics "
            "wal reconcile --include-deleted`"
        )
    if result.refused:
        return f"fix the table, then run `nealytics wal reconcile`: {result.problems[-1]}"
    return f"run `nealytics wal verify`, and restore a backup for the rest: {'; '.join(result.problems[:3])}"


def _copy(suspicion: Suspicion) -> str:
    if not suspicion.is_copy:
        return ""
    return (
        ". If this is a copy, events that the original accepted after the copy was made are only there: stop "
        "one of the two, and if the original is gone, ask the senders to send that time again"
    )


def _not_covered(suspicion: Suspicion, result: Result) -> str:
    gone = result.first_lsn - 1
    if suspicion.is_copy or not gone:
        return ""
    since = result.oldest_received_ms
    when = (
        ""
        if since is None
        else f", which arrived before {datetime.fromtimestamp(since / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    return (
        f". The log no longer has its first {gone:,} events{when}; for those that the table lacks, restore a "
        "backup"
    )
