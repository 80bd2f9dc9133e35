"""Compares the committed rows that a log still has with the table, and sends what is missing, once.

The table is asked for the identities of each batch. What it does not have is sent under a token that names
the rows and the table, so repeating an interrupted reconciliation repeats the insert; and as after any retry,
`delivery` then verifies that the rows are there. `resend` decides which rows may come back at all.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import received_ms
from nealytics.clickhouse.table_state import last_deletion_ms
from nealytics.commit.dead_letter import DeadLetter
from nealytics.commit.delivery import deliver, insert_token, missing_rows
from nealytics.commit.resend import ERASED, Drop, Resending
from nealytics.config import ClickHouseConfig
from nealytics.wal import Range, Rows
from nealytics.wal.cursor import extend
from nealytics.wal.kept import Gap, Kept

log = logging.getLogger("nealytics.commit")

# Small enough to be read and decoded without a client noticing, and one query for the table.
BATCH_ROWS_MAX = 1_000
BATCH_BYTES_MAX = 4 * 1024 * 1024
# So many refusals without one row that is accepted mean that the table is wrong, not the rows.
_REFUSALS_MAX = 32


class Result(msgspec.Struct, rename="camel"):
    """What was found in one log so far. It may be continued after an error: `next_lsn` is where."""

    directory: str
    log_id: str
    first_lsn: int  # of the rows compared
    next_lsn: int
    compared: int = 0
    missing: int = 0  # of those that the table should have
    sent: int = 0
    not_needed: int = 0  # expired, or dead-lettered
    erased: int = 0  # an erasure covers them, so they were not sent
    doubtful: int = 0  # missing, and perhaps deleted on purpose: not sent
    refused: int = 0  # by ClickHouse, for their content
    unreadable: int = 0
    oldest_received_ms: int | None = None  # when the first row compared arrived
    newest_received_ms: int | None = None
    problems: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether the table has all that the log still has, and should have."""
        return self.missing == self.sent and not self.unreadable

    def __str__(self) -> str:
        parts = [f"{self.compared:,} events compared", f"{self.missing:,} missing", f"{self.sent:,} sent"]
        for count, what in (
            (self.not_needed, "expired or dead-lettered"),
            (self.erased, "erased"),
            (self.doubtful, "not sent because events were deleted after they arrived"),
            (self.refused, "refused by clickhouse"),
            (self.unreadable, "unreadable in the log"),
        ):
            if count:
                parts.append(f"{count:,} {what}")
        return f"log {self.log_id}: {', '.join(parts)}"


class Options(NamedTuple):
    send: bool = True  # False: only compare
    include_deleted: bool = False  # also rows that a statement may have deleted


def begin(kept: Kept) -> Result:
    return Result(str(kept.directory), kept.log_id, first_lsn=kept.first_lsn, next_lsn=kept.first_lsn)


class Reconciliation:
    """One table, and what decides about rows that are missing from it. `missing` are those that were found,
    ascending."""

    def __init__(
        self, client: ClickHouseClient, database: str, table: str, resending: Resending, options: Options
    ) -> None:
        """`table` is its identity."""
        self._client = client
        self._database = database
        self._table = table
        self._resending = resending
        self._options = options
        self.missing: list[Range] = []

    async def run(self, kept: Kept, result: Result, sent: Callable[[int], None] = lambda rows: None) -> None:
        """Compares what `kept` has from `result.next_lsn` on, and records in `result` what it found.

        `sent` gets the number of rows of each insert. Raises `ClickHouseError` or `Unconfirmed`; then call it
        again with the same `result`.
        """
        for first, last in kept.ranges(result.next_lsn):
            result.next_lsn = first
            while result.next_lsn <= last:
                await self._batch(kept, Range(result.next_lsn, last), result, sent)

    async def _batch(self, kept: Kept, within: Range, result: Result, sent: Callable[[int], None]) -> None:
        try:
            rows = await asyncio.to_thread(
                kept.read, within.first, within.last, rows_max=BATCH_ROWS_MAX, bytes_max=BATCH_BYTES_MAX
            )
        except Gap as gap:
            result.unreadable += gap.last - gap.first + 1
            result.problems.append(f"rows {gap.first}-{gap.last} cannot be compared: {gap}")
            result.next_lsn = gap.last + 1
            return
        wanted, erased = await asyncio.to_thread(self._wanted, rows)
        missing = []
        if wanted:
            address = self._client.addresses.best()
            missing = await missing_rows(self._client, address, self._database, wanted, rows.row_format)
        sending = missing
        if not self._options.include_deleted:
            sending = [row for row in missing if not self._resending.doubt(row)]
        refused = 0
        if sending and self._options.send:
            body = b"".join(sending)
            token = insert_token(kept.log_id, rows.first_lsn, rows.last_lsn, body)
            refused = await self._send(sending, rows.row_format, f"{token}:{self._table}", result)
            result.sent += len(sending) - refused
            sent(len(sending) - refused)
        # After the last await: a batch that failed is counted when it is repeated.
        result.compared += rows.count
        result.not_needed += rows.count - len(wanted) - erased
        result.erased += erased
        result.missing += len(missing)
        self._note(missing, rows)
        result.doubtful += len(missing) - len(sending)
        result.refused += refused
        if result.oldest_received_ms is None:
            result.oldest_received_ms = rows.appended_ms
        result.newest_received_ms = received_ms(rows.row(rows.last_lsn))
        result.next_lsn = rows.last_lsn + 1

    def _note(self, missing: list[bytes], rows: Rows) -> None:
        absent = set(missing)
        for lsn, row in enumerate(rows, rows.first_lsn) if absent else ():
            if row in absent:
                extend(self.missing, lsn)

    def _wanted(self, rows: Rows) -> tuple[list[bytes], int]:
        """Those that the table should have, and how many are erased."""
        wanted, erased = [], 0
        for lsn, row in enumerate(rows, rows.first_lsn):
            if not (why := self._resending.refusal(lsn, row, rows.row_format)):
                wanted.append(row)
            erased += why == ERASED
        return wanted, erased

    async def _send(self, rows: list[bytes], row_format: int, token: str, result: Result) -> int:
        """Returns how many of `rows` ClickHouse refuses for their content, found by halving."""
        refused = refusals = accepted = 0
        pieces = [(0, len(rows))]
        while pieces:
            start, end = pieces.pop()
            piece = rows[start:end]
            try:
                delivered = await deliver(
                    self._client,
                    self._database,
                    b"".join(piece),
                    piece,
                    row_format,
                    token=token if len(piece) == len(rows) else f"{token}:{start}-{end}",
                    tried=True,
                )
                accepted += delivered.accepted
            except ClickHouseError as error:
                refusals += 1
                if not error.bad_content or (refusals > _REFUSALS_MAX and not accepted):
                    raise
                if len(piece) == 1:
                    refused += 1
                    result.problems[:] = [*result.problems[:9], f"clickhouse refused an event: {error}"]
                else:
                    middle = (start + end) // 2
                    pieces += [(middle, end), (start, middle)]
        return refused


async def resending_of(
    client: ClickHouseClient,
    config: ClickHouseConfig,
    dead_letter: DeadLetter,
    log_id: str,
    *,
    now_ms: int,
    drops: Sequence[Drop] = (),
    erased: Drop | None = None,
    accepted: Sequence[Range] = (),
) -> Resending:
    """What the table and the dead letter say about rows that must not come back. Raises `ClickHouseError`."""
    kept = await schema.read_retention(client, config)
    days = None if kept is None else kept.days
    dead = await asyncio.to_thread(dead_letter.ids)
    return Resending(
        now_ms=now_ms,
        kept_days=schema.configured(config.retention_days) if days is None else days,
        dead_lsns=frozenset(_lsns_of(dead, log_id)),
        deleted_ms=await last_deletion_ms(client, config),
        drops=drops,
        erased=erased,
        accepted=accepted,
    )


def _lsns_of(ids: list[str], log_id: str) -> Iterator[int]:
    for id in ids:
        owner, _, lsn = id.rpartition("-")
        if owner == log_id and lsn.isdecimal():
            yield int(lsn)


class Sample(NamedTuple):
    """The newest committed rows of a log, and how many of them the table does not have."""

    rows: int
    missing: int


async def sample(
    kept: Kept,
    client: ClickHouseClient,
    database: str,
    resending: Resending,
    *,
    last_lsn: int,
) -> Sample:
    """Asks the table for the newest rows up to there, in one query. Raises as `Reconciliation.run`."""
    ranges = [(first, min(last, last_lsn)) for first, last in kept.ranges(1) if first <= last_lsn]
    if not ranges:
        return Sample(0, 0)
    first, last = ranges[-1]
    start = max(first, last - BATCH_ROWS_MAX + 1)
    try:
        rows = await asyncio.to_thread(
            kept.read, start, last, rows_max=BATCH_ROWS_MAX, bytes_max=BATCH_BYTES_MAX
        )
    except Gap:
        return Sample(0, 0)  # recovery and `nealytics wal verify` report it
    wanted = [
        row
        for lsn, row in enumerate(rows, rows.first_lsn)
        if not resending.refusal(lsn, row, rows.row_format)
    ]
    if not wanted:
        return Sample(0, 0)
    address = client.addresses.best()
    missing = await missing_rows(client, address, database, wanted, rows.row_format)
    return Sample(len(wanted), len(missing))
