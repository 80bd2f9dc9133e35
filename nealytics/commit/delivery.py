"""Verifies a retry: its token prevents a duplicate, and may also prevent the rows from being stored at all.

ClickHouse records the token of a batch *before* the part with the rows becomes visible (`MergeTreeSink`:
`addPart`, then the rename, then the commit). An engine that is killed between the two has the token and not
the rows, and answers every retry with success. A batch has a part for each month that it touches, so some of
its rows may be missing. So if a batch may have been sent before, success is no proof: a query finds out which
of its rows the table has, and the missing ones are sent under a new token.

The result of the query may be out of date with replicas, or while an earlier request, whose answer was lost,
is still running. Then a row is stored twice: reads show it once (identity and `final`), raw SQL twice until a
merge. That is why the old token is sent first: nearly always ClickHouse has the rows, and nothing is missing.

A refusal proves as little: the table may have changed since an earlier attempt, which may have stored the
rows. Parts of the batch would be sent under other tokens, and be stored again. So the same query runs after a
refusal, once: waiting for replicas with every bad row would take longer than duplicates in raw SQL matter.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from nealytics.clickhouse.client import ClickHouseClient, Setting
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.failover import Address
from nealytics.clickhouse.rowbinary import decode_row, insert_sql
from nealytics.clickhouse.sql import quoted, table_name
from nealytics.errors import NealyticsError
from nealytics.wal import Rows

log = logging.getLogger("nealytics.commit")

# A query for so many rows has 40 to 150 KB and takes some milliseconds.
_ROWS_PER_QUERY = 1_000
# A replica may know the token before it has fetched the rows. Pauses between queries for them, in seconds.
_LAG_S = (0.5, 1.0, 2.0, 4.0)

# In spite of a profile's settings; and without `final`, which reads more than needed.
_ALL_OR_ERROR: dict[str, Setting] = {
    "final": 0,
    "max_result_rows": 2 * _ROWS_PER_QUERY,
    **{
        f"{what}_overflow_mode": "throw"
        for what in ("read", "result", "timeout", "distinct", "set", "group_by", "sort")
    },
}


class Delivered(NamedTuple):
    """How it came that the table has each row of a batch."""

    sent_again: int = 0  # rows that had to be sent under another token
    accepted: bool = True  # False: it is refused now, but an earlier attempt has stored all its rows


_Identity = tuple[str, str, str, int, str]  # project, tenant, event type, epoch ms, event id


class Unconfirmed(NealyticsError):
    """The query for the rows that the table has failed. Says nothing about their content."""


class Refused(ClickHouseError):
    """ClickHouse refuses the content of a batch. `missing` are its rows that no earlier attempt stored."""

    def __init__(self, error: ClickHouseError, missing: list[bytes]) -> None:
        super().__init__(error.code, error.message, status=error.status, name=error.name)
        self.missing = missing


def insert_token(log_id: UUID | str, first_lsn: int, last_lsn: int, body: bytes) -> str:
    """What ClickHouse's deduplication knows a batch by.

    It names the rows, not the time: the same batch sent again is the same insert. It names the bytes too:
    another body under a token once used would be dropped with a success answer.
    """
    return f"{log_id}:{first_lsn}-{last_lsn}:{hashlib.sha256(body).hexdigest()[:32]}"


async def deliver(
    client: ClickHouseClient,
    database: str,
    body: bytes,
    rows: Rows | list[bytes],
    row_format: int,
    *,
    token: str,
    tried: bool,
    may_ask: bool = True,
) -> Delivered:
    """Sends `body` under `token`; returns once the table has each of its `rows`. `tried`: whether the same
    may have been sent before, by this process or an earlier one.

    Raises `ClickHouseError` as `ClickHouseClient.insert` does, or `Unconfirmed`; then the call may be
    repeated. The user needs the right to SELECT. If the query keeps failing, `may_ask` False sends all rows
    under another token instead: raw SQL may show them twice until a merge, reads do not, and the log is not
    blocked.

    If ClickHouse refuses the content of rows that may have been sent before, the error is `Refused`, or none
    if the table has all of them, which is not `accepted`; without `may_ask` it is any `ClickHouseError`, as
    for rows that are new.
    """
    sql = insert_sql(database, row_format)
    try:
        address, moved = await client.insert(sql, body, token=token)
        if not tried and not moved:
            return Delivered()
        tried = True
        return Delivered(
            await _complete(client, address, database, sql, rows, row_format, token=token, may_ask=may_ask)
        )
    except ClickHouseError as error:
        if not (error.bad_content and may_ask and (tried or error.moved)):
            raise
        # No other address: it may not be verified that it has the same table.
        address = client.addresses.at(error.url)
        missing = await _missing(client, address, database, rows, row_format)
        if stored := len(rows) - len(missing):
            log.warning(
                "commit: clickhouse refuses batch %s, but the table has %d of its %d rows from an earlier "
                "attempt: %s",
                token,
                stored,
                len(rows),
                error,
            )
        if missing:
            raise Refused(error, missing) from error
        return Delivered(accepted=False)


async def _complete(
    client: ClickHouseClient,
    address: Address,
    database: str,
    sql: str,
    rows: Rows | list[bytes],
    row_format: int,
    *,
    token: str,
    may_ask: bool,
) -> int:
    """Sends those of `rows` again that are not in the table although ClickHouse knows their token."""
    if not may_ask:
        missing = list(rows)
        why = "the table could not be queried to verify the batch"
    else:
        missing = await missing_rows(client, address, database, rows, row_format)
        why = "rows are missing from the table: ClickHouse was killed, or they were deleted"
    if missing:
        again = await asyncio.to_thread(b"".join, missing)
        # Random, so that it was never used; and once more after a failover, because the failed address may
        # have recorded this token, too.
        while (await client.insert(sql, again, token=f"{token}:{secrets.token_hex(8)}")).moved:
            pass
        log.warning(
            "commit: clickhouse reports batch %s as already stored, but %s; sending %d rows again",
            token,
            why,
            len(missing),
        )
    return len(missing)


async def missing_rows(
    client: ClickHouseClient, address: Address, database: str, rows: Iterable[bytes], row_format: int
) -> list[bytes]:
    """Those of `rows` whose event the table does not have. Raises `Unconfirmed`."""
    missing = await _missing(client, address, database, rows, row_format)
    for seconds in () if client.endpoint.embedded else _LAG_S:
        if not missing:
            break
        await asyncio.sleep(seconds)
        missing = await _missing(client, address, database, missing, row_format)
    return missing


async def _missing(
    client: ClickHouseClient, address: Address, database: str, rows: Iterable[bytes], row_format: int
) -> list[bytes]:
    """As `missing_rows`, at once: a replica may have the rows a little later."""
    missing: list[bytes] = []
    waiting = iter(rows)
    while True:
        # In a thread, and no more at once: 1,000 rows are 5 ms of Python.
        some = await asyncio.to_thread(lambda: list(islice(waiting, _ROWS_PER_QUERY)))
        if not some:
            return missing
        identities, sql = await asyncio.to_thread(_question, database, some, row_format)
        settings = {**_ALL_OR_ERROR, "max_query_size": len(sql.encode()) + 1024}
        try:
            answer = await client.query(sql, settings=settings, at=address)
        except ClickHouseError as error:
            raise Unconfirmed(f"the query for the rows that the table has failed: {error}") from error
        stored = {tuple(row) for row in answer}
        missing += (row for row, identity in zip(some, identities, strict=True) if identity not in stored)


def _question(database: str, rows: list[bytes], row_format: int) -> tuple[list[_Identity], str]:
    """The identity of each row, and the SELECT of those that are in the table.

    The tuple is the sorting key, so ClickHouse reads only the granules of these rows; the range names their
    months. The identities are arrays, one for each column: a Distributed table needs eight times as long to
    analyze 1,000 tuples with a function call for each timestamp.
    """
    identities = [_identity(row, row_format) for row in rows]
    project_ids, tenant_ids, event_types, times, event_ids = zip(*identities, strict=True)
    columns = (
        *(f"[{', '.join(map(quoted, texts))}]" for texts in (project_ids, tenant_ids, event_types)),
        f"CAST([{', '.join(map(str, times))}], 'Array(Int64)')",
        f"[{', '.join(map(quoted, event_ids))}]",
    )
    sql = (
        "SELECT DISTINCT project_id, tenant_id, event_type, "
        "toUnixTimestamp64Milli(timestamp), toString(event_id) "
        f"FROM {table_name(database)} "
        f"WHERE timestamp >= fromUnixTimestamp64Milli({min(times)}) "
        f"AND timestamp <= fromUnixTimestamp64Milli({max(times)}) "
        "AND (project_id, tenant_id, event_type, timestamp, event_id) IN ("
        "SELECT wanted.1, wanted.2, wanted.3, fromUnixTimestamp64Milli(wanted.4), toUUID(wanted.5) "
        f"FROM (SELECT arrayJoin(arrayZip({', '.join(columns)})) AS wanted))"
    )
    return identities, sql


def _identity(row: bytes, row_format: int) -> _Identity:
    values = decode_row(row, row_format)
    return (
        str(values["project_id"]),
        str(values["tenant_id"]),
        str(values["event_type"]),
        int(str(values["timestamp"])),
        str(values["event_id"]),
    )
