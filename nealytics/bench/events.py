"""The events of `bench read` and `bench page`: 91 days of several tenants, equal in every run on every
machine.

The engine computes them from numbers. Event n belongs to a session, the session to a user (or to none) and to
a tenant, all by hashes of n; the k-th tenant has 1/k of the events of the first. Time increases with n, with
more events by day than by night, so consecutive numbers are a time span of all tenants, like a real insert.

The parts on disk are those of a table that was written for months, and always the same, because no merge runs
by chance: a month consists of a half, a quarter, an eighth … of its events, each one a merged part, and of a
few recent inserts. 2 % of its rows are stored twice, in separate parts, like a batch that is retried after
its token expired. So `final` does the work that it does in production.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import NamedTuple

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema import create_statements
from nealytics.clickhouse.sql import TABLE, identifier

PROJECT = "bench"

# Whole months, each a partition. The clock of the measured server is fixed at the end.
MONTHS = tuple(datetime(2026, month, 1, tzinfo=UTC) for month in (4, 5, 6))
START = MONTHS[0]
END = datetime(2026, 7, 1, tzinfo=UTC)

# Lets the last session end before END.
_LAST_SESSION = timedelta(minutes=20)

# A half, a quarter, … of a month are merged parts, until one would be smaller than this share of all events;
# the rest are inserts that are not merged yet.
_MERGED_SHARE_MIN = 1 / 256
_FRESH_INSERTS = 4

# This share of each month's rows is inserted a second time, in this number of inserts.
_REPEATED_SHARE = 0.02
_REPEATED_INSERTS = 3

# Rows of one block while generating: a part consists of a few blocks, and memory stays bounded.
_BLOCK_ROWS = 250_000

# Hundredths of all events.
_EVENT_TYPES = {
    "page_view": 38,
    "click": 20,
    "product_view": 13,
    "search": 8,
    "scroll": 6,
    "add_to_cart": 5,
    "cart": 3,
    "shipping_details": 2,
    "payment_details": 2,
    "purchase": 1,
    "login": 1,
    "signup": 1,
}


_COLUMNS = (
    "event_id",
    "project_id",
    "tenant_id",
    "session_id",
    "user_id",
    "event_type",
    "item_id",
    "metadata_json",
    "timestamp",
    "received_at",
    "inserted_at",
)
_INSERT_SETTINGS: dict[str, str | int] = {
    "max_block_size": _BLOCK_ROWS,
    "min_insert_block_size_rows": _BLOCK_ROWS,
    "min_insert_block_size_bytes": 0,
    "max_partitions_per_insert_block": 0,
}


class Piece(NamedTuple):
    """Events `first` to `first + rows - 1`, as one insert."""

    first: int
    rows: int
    merged: bool  # written by a merge, not by the insert


def tenant(rank: int) -> str:
    """The name of the `rank`-th largest tenant, from 1."""
    return f"tenant-{rank:02d}"


def pieces(events: int) -> Iterator[Piece]:
    """The inserts that fill the table with `events` events, oldest first."""
    bounds = [round(events * ((month - START) / (END - START))) for month in (*MONTHS, END)]
    for first, end in pairwise(bounds):
        at = first
        while (share := (end - at) // 2) > events * _MERGED_SHARE_MIN:
            yield Piece(at, share, merged=True)
            at += share
        for number in range(_FRESH_INSERTS):
            count = (end - at) // (_FRESH_INSERTS - number)
            yield Piece(at, count, merged=False)
            at += count
        # The last one repeats the newest events; the others are anywhere in the month.
        count = round((end - first) * _REPEATED_SHARE / _REPEATED_INSERTS)
        for number in range(1, _REPEATED_INSERTS + 1):
            yield Piece(first + (end - first) * number // _REPEATED_INSERTS - count, count, merged=False)


def select_sql(piece: Piece, events: int, tenants: int) -> str:
    """The rows of `piece`, out of `events` events of `tenants` tenants, in the order of `_COLUMNS`."""
    first_of = "intDiv(number, 16) * 16"
    types = ", ".join(f"'{name}'" for name, share in _EVENT_TYPES.items() for _ in range(share))
    span_ms = (END - START - _LAST_SESSION) // timedelta(milliseconds=1)
    weights = [1 / rank for rank in range(1, tenants + 1)]
    bounds = [round(1_000_000 * before / sum(weights)) for before in accumulate(weights[:-1], initial=0)]
    ranks = list(range(1, tenants + 1))
    day = 86_400_000
    return f"""
WITH
    -- Sixteen events in a row are two sessions, of 1 to 8 and of 8 to 15 events.
    {first_of} AS block,
    1 + sipHash64(block, 1) % 8 AS cut,
    number - block < cut AS early,
    if(early, block, block + cut) AS session,
    number - session AS place,
    sipHash64(session, 2) AS session_hash,
    sipHash64(number, 3) AS event_hash,
    -- From 0 to 1, even for each n. Its square makes a few users and items frequent.
    session_hash % 1000000 AS tenant_draw,
    transform(roundDown(tenant_draw, {bounds}), {bounds}, {ranks}) AS tenant_rank,
    (sipHash64(session, 4) % 1000000) / 1000000 AS user_draw,
    (sipHash64(number, 5) % 1000000) / 1000000 AS item_draw,
    -- Even over the range, then moved: within a day from 0.4 to 1.6 times the mean.
    session / {events} * {span_ms} AS even_ms,
    toInt64({_ms(START)} + even_ms + 0.6 * {day} / (2 * pi()) * sin(2 * pi() * even_ms / {day})) AS start_ms,
    start_ms + place * 30000 + event_hash % 30000 AS at_ms,
    bitOr(bitOr(bitShiftLeft(toUInt64(at_ms), 16), 0x7000), bitAnd(sipHash64(number, 6), 0xFFF)) AS id_high,
    bitOr(bitAnd(sipHash64(number, 7), 0x3FFFFFFFFFFFFFFF), 0x8000000000000000) AS id_low
SELECT
    reinterpretAsUUID(bitOr(toUInt128(id_high), bitShiftLeft(toUInt128(id_low), 64))) AS event_id,
    '{PROJECT}' AS project_id,
    concat('tenant-', if(tenant_rank < 10, '0', ''), toString(tenant_rank)) AS tenant_id,
    'session-' || lower(hex(session_hash)) AS session_id,
    if(sipHash64(session, 8) % 10 < 3, NULL,
        'user-' || toString(toUInt32(user_draw * user_draw * (50 + {events} / 40 / tenant_rank)))) AS user_id,
    [{types}][1 + sipHash64(number, 9) % 100] AS event_type,
    if(sipHash64(number, 10) % 4 = 0, NULL,
        '/products/' || toString(toUInt32(item_draw * item_draw * 2000))) AS item_id,
    concat(
        '{{"plan":"', ['free', 'free', 'free', 'pro', 'pro', 'team'][1 + session_hash % 6],
        '","device":"', ['mobile', 'desktop', 'tablet'][1 + intDiv(session_hash, 7) % 3],
        '","country":"', ['DE', 'US', 'FR', 'IN', 'BR', 'JP', 'GB', 'AT'][1 + intDiv(session_hash, 31) % 8],
        '","referrer":"https://example.org/search?q=', lower(hex(sipHash64(session, 11))),
        '","position":', toString(place),
        ',"cart":{{"items":', toString(event_hash % 7), ',"total":', toString(event_hash % 20000 / 100),
        '}}}}') AS metadata_json,
    fromUnixTimestamp64Milli(at_ms, 'UTC') AS timestamp,
    fromUnixTimestamp64Milli(at_ms + 2000, 'UTC') AS received_at,
    fromUnixTimestamp64Milli(at_ms + 5000, 'UTC') AS inserted_at
FROM numbers({piece.first}, {piece.rows})"""


def fingerprint(events: int, tenants: int) -> str:
    """Identifies a set of events; a release that generates or stores them differently has another one."""
    made_of = [
        create_statements("", retention_days=0),
        [select_sql(piece, events, tenants) for piece in pieces(events)],
    ]
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]


async def generate(client: ClickHouseClient, database: str, events: int, tenants: int) -> None:
    """Truncates and fills the table of `database`, and stops its merges."""
    table, workshop = f"{identifier(database)}.{TABLE}", f"{identifier(database)}.bench_workshop"
    await freeze(client, database)
    await client.command(f"TRUNCATE TABLE {table}")
    await client.command(f"DROP TABLE IF EXISTS {workshop} SYNC")
    for piece in pieces(events):
        if piece.merged:
            # In a separate table, so that exactly these rows become one part, which is then moved.
            await client.command(f"CREATE TABLE {workshop} AS {table}")
            await insert(client, workshop, select_sql(piece, events, tenants))
            await client.command(f"OPTIMIZE TABLE {workshop} FINAL")
            partitions = await client.command(
                f"SELECT DISTINCT _partition_id FROM {workshop} FORMAT TabSeparated"
            )
            for partition in partitions.split():
                await client.command(
                    f"ALTER TABLE {workshop} MOVE PARTITION ID '{partition}' TO TABLE {table}"
                )
            await client.command(f"DROP TABLE {workshop} SYNC")
        else:
            await insert(client, table, select_sql(piece, events, tenants))


async def insert(client: ClickHouseClient, table: str, select: str) -> None:
    await client.command(f"INSERT INTO {table} ({', '.join(_COLUMNS)}) {select}", settings=_INSERT_SETTINGS)


async def freeze(client: ClickHouseClient, database: str) -> None:
    """Stops merges, so the parts stay as they are while the engine runs."""
    await client.command(f"SYSTEM STOP MERGES {identifier(database)}.{TABLE}")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
