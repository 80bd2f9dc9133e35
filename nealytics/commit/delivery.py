"""A batch sent again: its token keeps ClickHouse from storing it twice, and must not keep it from storing it.

ClickHouse writes down that it knows a batch's token *before* the part with the rows becomes visible
(`MergeTreeSink`: `addPart`, then the rename, then the commit). An engine that is killed between the two
starts again with the token and without the rows, and says of every repetition that it has them. A batch has a
part in each month that it touches, so it may be some of its rows. Hence, for whatever may have been sent
before, success is no proof: the table is asked which of the batch's rows it has, and those that it has not
are sent alone, under a token that was never used.

The answer may be behind, where replicas are, or while an earlier request, whose answer was lost, still works.
Then a row is stored twice: reads show it once (identity and `final`), raw SQL does until a merge. That is why
the old token goes first: nearly always it settles the matter and nothing is missing.
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from itertools import islice

from nealytics.clickhouse.addresses import TABLE, Address
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.rowbinary import decode_row
from nealytics.clickhouse.schema import insert_sql
from nealytics.clickhouse.sql import identifier, quoted

log = logging.getLogger("nealytics.commit")

# A query for so many rows has 40 to 150 KB and takes some milliseconds.
_ROWS_PER_QUERY = 1_000
# A replica may say that it knows the token before it has fetched the rows. So long it is given, in seconds.
_LAG_S = (0.5, 1.0, 2.0, 4.0)

_Identity = tuple[str, str, str, int, str]  # project, tenant, event type, epoch ms, event id


async def deliver(
    client: ClickHouseClient,
    database: str,
    body: bytes,
    rows: Iterable[bytes],
    row_format: int,
    *,
    token: str,
    tried: bool,
) -> int:
    """Sends `body` under `token`; returns once the table has each of its `rows`. `tried`: whether the same
    may have been sent before, by whomever.

    How many had to be sent under another token is returned; 0 is usual. Raises `ClickHouseError` as
    `ClickHouseClient.insert` does; then nothing is known, and the call may be repeated. The user needs the
    right to SELECT.
    """
    sql = insert_sql(database, row_format)
    address, moved = await client.insert(sql, body, token=token)
    if not tried and not moved:
        return 0
    missing = await _missing(client, address, database, rows, row_format)
    for seconds in _LAG_S if client.replicated else ():
        if not missing:
            break
        await asyncio.sleep(seconds)
        missing = await _missing(client, address, database, missing, row_format)
    if missing:
        # Random, so it needs no memory of what was used: if this fails the table is asked again.
        again = await asyncio.to_thread(b"".join, missing)
        await client.insert(sql, again, token=f"{token}:{secrets.token_hex(8)}")
        log.warning(
            "commit: clickhouse knew the token %s, but %d of its rows were not in the table; they were sent "
            "again. It was probably killed while it inserted them",
            token, len(missing),
        )  # fmt: skip
    return len(missing)


async def _missing(
    client: ClickHouseClient, address: Address, database: str, rows: Iterable[bytes], row_format: int
) -> list[bytes]:
    """Those of `rows` whose event the table does not have, whoever stored it."""
    missing: list[bytes] = []
    waiting = iter(rows)
    while True:
        # In a thread, and no more at once: 1,000 rows are 5 ms of Python.
        some = await asyncio.to_thread(lambda: list(islice(waiting, _ROWS_PER_QUERY)))
        if not some:
            return missing
        identities, sql = await asyncio.to_thread(_question, database, some, row_format)
        answer = await client.query(
            sql, settings={"final": 0, "max_query_size": len(sql.encode()) + 1024}, at=address
        )
        stored = {tuple(row) for row in answer}
        missing += (row for row, identity in zip(some, identities, strict=True) if identity not in stored)


def _question(database: str, rows: list[bytes], row_format: int) -> tuple[list[_Identity], str]:
    """The identity of each row, and the SELECT of those that are in the table.

    The conditions are on columns of the sorting key and on the month, so it reads little of a large table. It
    may find more than was asked for: an id of these rows under a type or time of another.
    """
    identities = [_identity(row, row_format) for row in rows]
    streams = sorted({identity[:3] for identity in identities})
    times = [identity[3] for identity in identities]
    sql = (
        "SELECT DISTINCT project_id, tenant_id, event_type, toUnixTimestamp64Milli(timestamp), "
        f"toString(event_id) FROM {identifier(database)}.{TABLE} "
        f"WHERE (project_id, tenant_id, event_type) IN ({', '.join(map(_tuple, streams))}) "
        f"AND timestamp >= fromUnixTimestamp64Milli({min(times)}) "
        f"AND timestamp <= fromUnixTimestamp64Milli({max(times)}) "
        f"AND event_id IN ({', '.join(quoted(identity[4]) for identity in identities)})"
    )
    return identities, sql


def _tuple(values: tuple[str, ...]) -> str:
    return f"({', '.join(map(quoted, values))})"


def _identity(row: bytes, row_format: int) -> _Identity:
    values = decode_row(row, row_format)
    return (
        str(values["project_id"]),
        str(values["tenant_id"]),
        str(values["event_type"]),
        int(str(values["timestamp"])),
        str(values["event_id"]),
    )
