"""The only way into the log: events are on disk when `admit` returns."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from nealytics.clickhouse.rowbinary import ROW_FORMAT, count_owners, encode_row, received_ms
from nealytics.config import IngestConfig, RetentionRule
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import LogError, LogFull, Refused
from nealytics.event import Event, Limits
from nealytics.observe.metrics import Metrics
from nealytics.quotas import Quotas
from nealytics.retention import Rules

# A full log drains as fast as ClickHouse accepts events; a broken one works again after a restart.
FULL_RETRY_AFTER_S = 10
BROKEN_RETRY_AFTER_S = 2
# Comparing so many rows with tombstones takes 7 to 17 ms.
SLICE_ROWS = 10_000


# Called with the LSN of the last row once all are durable, or with the error.
Done = Callable[[int, LogError | None], None]


class Appends(Protocol):
    """What admission needs of `wal.log.Log`."""

    def append(self, rows: Sequence[bytes], row_format: int) -> asyncio.Future[int]: ...
    def append_with(self, rows: Sequence[bytes], row_format: int, done: Done) -> None: ...


class NotAdmitted(Refused):
    """The log accepted none of these `events`."""

    events = 0


class LsnRange(NamedTuple):
    """Empty, with `last` below `first`, if erasures cover all of the events."""

    first: int
    last: int


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Admission:
    """Appends events to the log.

    Callers freeze events with `limits` and `now_ms`, so that all routes apply the same limits. An event may
    be as old as the table's retention; until that is known, the configured retention applies.
    """

    def __init__(
        self,
        log: Appends,
        metrics: Metrics,
        config: IngestConfig,
        retention_days: float,
        rules: Sequence[RetentionRule] = (),
        quotas: Quotas | None = None,
        clock_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._log = log
        self._ingested = metrics.events_ingested
        self._erased = metrics.events_erased
        self._tombstones = Tombstones(())
        self.erases = False  # whether there is anything that `is_erased`
        # Appends the rows that are gathered for `append_with`. The fast lane sets it.
        self.append_gathered: Callable[[], None] = lambda: None
        self._config = config
        self._days = retention_days
        self._quotas = quotas
        self.rule(rules)
        self.now_ms = clock_ms

    def keep(self, days: float) -> None:
        """From now on, accepts events up to this age; infinity is any age."""
        # `Limits` reads 0 as any age; here it is a table that deletes at once.
        self._days = days or 1 / 86_400_000
        self._apply()

    def rule(self, rules: Sequence[RetentionRule]) -> None:
        """From now on, refuses events that these rules do not keep."""
        self._rules = Rules(rules)
        self._apply()

    def _apply(self) -> None:
        self.limits = Limits.of(self._config, self._days, self._rules, self._quotas)

    def erase(self, tombstones: Tombstones) -> None:
        """From now on, nothing that these cover is appended, although it is accepted."""
        # `LogCleaning` looks for covered rows only among those that were appended before.
        self.append_gathered()
        self._tombstones = tombstones
        self.erases = bool(tombstones)

    async def admit(self, events: Sequence[Event], received_ms: int) -> LsnRange:
        """Returns once all of `events` (at least one) are on disk; they have these LSNs.

        Cancelling this does not undo the append. Raises `NotAdmitted` (503).
        """
        return await self.admit_rows(encode_rows(events, received_ms))

    async def admit_rows(self, rows: Sequence[bytes]) -> LsnRange:
        """`admit` for events that are encoded already, by `encode_rows`."""
        if self._tombstones:
            rows = await self._without_erased(rows)
            if not rows:
                return LsnRange(1, 0)
        try:
            last = await self._log.append(rows, ROW_FORMAT)
        except (LogError, ValueError) as error:
            await self.give_back(rows)
            raise not_admitted(error, len(rows)) from error
        self.admitted(len(rows))
        return LsnRange(last - len(rows) + 1, last)

    async def _without_erased(self, rows: Sequence[bytes]) -> Sequence[bytes]:
        tombstones, kept = None, rows
        while tombstones is not self._tombstones:  # others may be adopted meanwhile
            tombstones, before, kept = self._tombstones, kept, []
            for start in range(0, len(before), SLICE_ROWS):
                if start:
                    await asyncio.sleep(0)  # other requests
                some = before[start : start + SLICE_ROWS]
                of_some = list(tombstones.kept(some, ROW_FORMAT))
                if len(of_some) < len(some):
                    self.give_back_at_once(some, but=of_some)
                kept += of_some
        self._erased.add(len(rows) - len(kept))
        return kept

    async def give_back(self, rows: Sequence[bytes]) -> None:
        """Gives back what the events of these rows took of quotas: they will not be stored."""
        for start in range(0, len(rows), SLICE_ROWS):
            if start:
                await asyncio.sleep(0)  # other requests
            self.give_back_at_once(rows[start : start + SLICE_ROWS])

    def give_back_at_once(self, rows: Sequence[bytes], but: Sequence[bytes] = ()) -> None:
        """`give_back` for at most `SLICE_ROWS`, without those in `but`."""
        quotas = self._quotas
        if quotas is None or not quotas.projects or not rows:
            return
        owners = count_owners(rows)
        owners.subtract(count_owners(but))
        for owner, number in owners.items():
            quotas.events.give_back(owner, number, received_ms(rows[0]))

    def append_with(self, rows: Sequence[bytes], done: Done) -> None:
        """As `Log.append_with`, of rows that no erasure covers (see `is_erased`). The caller says how it
        ended: with `admitted`, or with `not_admitted`."""
        self._log.append_with(rows, ROW_FORMAT, done)

    def is_erased(self, rows: Sequence[bytes]) -> bool:
        """Whether an erasure covers any of these rows, at most `SLICE_ROWS`."""
        tombstones = self._tombstones
        return bool(tombstones) and any(tombstones.covers(row, ROW_FORMAT) for row in rows)

    def admitted(self, events: int) -> None:
        """Counts events that are on disk."""
        self._ingested.add(events)


def encode_rows(events: Sequence[Event], received_ms: int) -> list[bytes]:
    """The rows for `Admission.admit_rows`."""
    return [encode_row(event, received_ms) for event in events]


def not_admitted(error: BaseException, events: int) -> NotAdmitted:
    """The answer to a request whose append failed with this error."""
    if isinstance(error, LogFull):
        refused = NotAdmitted(
            503,
            "log_full",
            "the log has no room for this request; nothing was stored",
            detail="Retry later with the same eventId and timestamp.",
            headers={"Retry-After": str(FULL_RETRY_AFTER_S)},
        )
    elif isinstance(error, LogError):
        refused = NotAdmitted(
            503,
            "log_broken",
            "the log failed, so this request may or may not have been stored",
            detail="Retry with the same eventId and timestamp; the event is then counted once.",
            headers={"Retry-After": str(BROKEN_RETRY_AFTER_S)},
        )
    else:
        # Possible only if body_bytes_max is larger than the longest row of the log.
        refused = NotAdmitted(413, "body_too_large", "an event is too large for the log", detail=str(error))
    refused.events = events
    return refused
