"""Copies the events of a table that cannot store each of them once into a table that can.

    global_events            the old table, in use
    global_events_migrating  the new table, as `schema print` shows it, but without TTL, so that no copied
                             event is deleted
    slices of time           copies the events of each slice that the new table lacks, then counts them
    EXCHANGE TABLES          swaps the two names, atomically
    again                    copies what arrived in the old table meanwhile
    RENAME                   the old table becomes global_events_before_migration

The tables are the only state, so the process may be killed anywhere and started again: it copies what the new
table lacks. An event that is copied twice is one event there (`SORTING_KEY`). No statement deletes anything.
An event with a nil id or without one gets an id computed from its content.
"""

import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.checks import check_types, check_version
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DDL_SETTINGS,
    PARTITION_KEY,
    SORTING_KEY,
    create_statements,
    plain_key,
)
from nealytics.clickhouse.schema.inspection import read_table, read_version
from nealytics.clickhouse.schema.retention import FOREVER, for_days
from nealytics.clickhouse.schema.table import Table
from nealytics.clickhouse.sql import TABLE, identifier, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

STAGING = f"{TABLE}_migrating"
KEPT = f"{TABLE}_before_migration"

# ClickHouse keeps the identities of a slice's rows in memory: about 50 bytes each.
SLICE_ROWS = 2_000_000
_HOUR_MS = 3_600_000

_IDENTITY = ("project_id", "tenant_id", "event_type", "timestamp", "event_id")
# The value for an event from a table without the column.
_ABSENT = {
    "user_id": "NULL",
    "item_id": "NULL",
    "metadata_json": "'{}'",
    "received_at": "timestamp",
    "inserted_at": "timestamp",
}
_NIL = "toUUID('00000000-0000-0000-0000-000000000000')"


class Slice(NamedTuple):
    """Events from `first_ms` to before `end_ms`."""

    first_ms: int
    end_ms: int
    rows: int


class Counts(NamedTuple):
    rows: int
    events: int  # rows without repetitions
    differing: int  # repetitions with other content
    missing: int  # rows whose event the new table lacks


def slices(rows_of_hours: Iterable[tuple[int, int]], rows_max: int) -> list[Slice]:
    """(hour since 1970, its rows), in order → slices of at most `rows_max` rows; an hour is not cut."""
    found: list[Slice] = []
    for hour, rows in rows_of_hours:
        first_ms = hour * _HOUR_MS
        if found and found[-1].rows + rows <= rows_max:
            found[-1] = Slice(found[-1].first_ms, first_ms + _HOUR_MS, found[-1].rows + rows)
        else:
            found.append(Slice(first_ms, first_ms + _HOUR_MS, rows))
    return found


def is_current(table: Table) -> bool:
    """Whether it has the engine and keys of a new table."""
    return (
        table.engine == "ReplacingMergeTree"
        and plain_key(table.sorting_key) == plain_key(SORTING_KEY)
        and plain_key(table.partition_key) == plain_key(PARTITION_KEY)
    )


def expressions(columns: dict[str, str], extra: Sequence[str]) -> dict[str, str]:
    """Column of the new table → its SQL over the old table, which has `columns` (name → type)."""
    made = {}
    content = f"toString(tuple({', '.join(map(identifier, columns))}))"
    hashed = f"reinterpretAsUUID(sipHash128({content}))"
    for column in COLUMNS:
        name = column.name
        if name == "event_id":
            made[name] = f"if(event_id = {_NIL}, {hashed}, event_id)" if name in columns else hashed
        elif name not in columns:
            if name not in _ABSENT:
                raise ConfigError(
                    f"schema: the old table has no column {name}; only tables of the C# engine and of "
                    "Nealytics can be migrated"
                )
            made[name] = _ABSENT[name]
        else:
            made[name] = identifier(name)
    return made | {name: identifier(name) for name in extra}


class Migration:
    """`run` yields what it does, in words."""

    def __init__(
        self, client: ClickHouseClient, config: ClickHouseConfig, *, slice_rows: int = SLICE_ROWS
    ) -> None:
        self._client = client
        self._config = config
        self._slice_rows = slice_rows
        self._database = config.database
        self._new = table_name(config.database)  # until it has that name: STAGING
        self._old = table_name(config.database, STAGING)
        self._made: dict[str, str] = {}

    async def run(self) -> AsyncIterator[str]:
        """Raises `NealyticsError`; another run continues where this one ended."""
        old_name, new_name = table_name(self._database), table_name(self._database, STAGING)
        check_version(await read_version(self._client))
        table = await read_table(self._client, self._database)
        if table is None:
            raise NealyticsError(f"schema: {old_name} does not exist, so there is nothing to migrate")
        staged = await read_table(self._client, self._database, STAGING)
        if is_current(table):
            if staged is None or is_current(staged):
                yield f"{self._database}.{TABLE} already has the current layout; there is nothing to migrate"
                return
            # An earlier run ended after the exchange.
            old, self._old, self._new = staged, new_name, old_name
        else:
            self._refuse(table)
            old, self._old, self._new = table, old_name, new_name
            if staged is not None and not is_current(staged):
                raise NealyticsError(
                    f"schema: {new_name} exists and was not created by a migration; RENAME it, and run "
                    "`nealytics schema migrate` again"
                )
        extra = await self._extra_columns(old)
        for name in [name for name, kind, _ in extra if kind not in ("", "DEFAULT")]:
            yield f"column {name} is computed and was not copied; add it to the new table if you need it"
        copied = [(name, type_) for name, kind, type_ in extra if kind in ("", "DEFAULT")]
        self._made = expressions(old.columns, [name for name, _ in copied])
        if self._old == old_name:
            await self._check_room()
            _, create = create_statements(self._database, 0)
            await self._ddl(create.replace(old_name, new_name, 1))
            for name, type_ in copied:
                await self._ddl(f"ALTER TABLE {new_name} ADD COLUMN IF NOT EXISTS {identifier(name)} {type_}")
            before = await self._rows(self._old)
            yield f"{self._database}.{TABLE} ({old.engine}) has {before:,} rows"
            async for line in self._copy():
                yield line
            # Our exchange would undo that of another migration.
            await self._check_exchanged(False)
            await self._ddl(f"EXCHANGE TABLES {old_name} AND {new_name}")
            await self._check_exchanged(True)
            self._old, self._new = new_name, old_name
            yield f"{self._database}.{TABLE} is the new table now"
        # Events that arrived in the old table since its slices were copied.
        async for line in self._copy(again=True):
            yield line
        kept = await self._free_name()
        await self._ddl(f"RENAME TABLE {self._old} TO {table_name(self._database, kept)}")
        yield f"the old table is kept as {self._database}.{kept}; nothing was deleted from it"
        if old.retention.days != FOREVER:
            keeps = for_days(old.retention.days) if old.retention.days is not None else old.ttl
            yield (
                f"the old table's TTL ({keeps}) was not copied: the new table keeps events for ever; "
                "`nealytics schema apply --shorten-retention` changes that"
            )

    def _refuse(self, table: Table) -> None:
        if self._config.cluster or table.engine == "Distributed" or table.replicated:
            raise ConfigError(
                f"schema: {table_name(self._database)} is {table.engine}, and only a table on a single "
                "server can be migrated; create new tables in another database (docs/scaling.md) and INSERT "
                "INTO them SELECT from this one"
            )
        if not table.engine.endswith("MergeTree"):
            raise ConfigError(
                f"schema: {table_name(self._database)} is {table.engine}; only a MergeTree can be migrated"
            )
        check_types(table, table_name(self._database))

    async def _check_exchanged(self, expected: bool) -> None:
        table = await read_table(self._client, self._database)
        if table is None or is_current(table) is not expected:
            raise NealyticsError(
                "schema: another migration ran at the same time; nothing is lost. Run "
                "`nealytics schema migrate` again when it has ended"
            )

    async def _copy(self, *, again: bool = False) -> AsyncIterator[str]:
        """Copies every event that the new table lacks; yields the counts.

        During the second copy (`again`), other events may arrive in the new table.
        """
        hours = await self._client.command(
            "SELECT toInt64(floor(toUnixTimestamp64Milli(timestamp) / 3600000)) AS hour, count() "
            f"FROM {self._old} GROUP BY hour ORDER BY hour FORMAT TabSeparated"
        )
        found = [(int(hour), int(rows)) for hour, rows in (line.split("\t") for line in hours.splitlines())]
        total = Counts(0, 0, 0, 0)
        done = 0
        for one in slices(found, self._slice_rows):
            counts = await self._compare(one)
            if counts.missing:
                await self._insert(one)
                after = await self._compare(one)
                if after.missing:
                    raise NealyticsError(
                        f"schema: {after.missing:,} events of {_when(one)} are not in {self._new} after they "
                        "were copied; run `nealytics schema migrate` again"
                    )
                counts = after._replace(missing=counts.missing)
            total = Counts(*(a + b for a, b in zip(total, counts, strict=True)))
            done += one.rows
            if counts.missing or not again:
                yield f"{_when(one)}: {counts.missing:,} of {counts.rows:,} rows copied, {done:,} so far"
        if again:
            yield f"compared once more: {total.missing:,} rows had been added to the old table"
            return
        in_new = int(
            await self._client.command(
                f"SELECT count() FROM {self._new} FORMAT TabSeparated", settings={"final": 1}
            )
        )
        yield f"{total.rows:,} rows are {total.events:,} events; the new table has {in_new:,} events"
        if in_new < total.events:
            raise NealyticsError(
                "schema: events are missing from the new table; run `nealytics schema migrate` again"
            )
        if total.rows > total.events:
            yield (
                f"{total.rows - total.events:,} rows repeat an event (project, tenant, type, time and id), "
                f"{total.differing:,} of them with different content; the new table has each event once"
            )

    async def _compare(self, one: Slice) -> Counts:
        identity = _hash(self._made)
        content = f"sipHash128(toString(tuple({', '.join(self._made.values())})))"
        there = _hash({name: name for name in _IDENTITY})
        answer = await self._client.command(
            f"SELECT count(), uniqExact(i), uniqExact(i, c) - uniqExact(i), "
            f"countIf(i NOT IN (SELECT {there} FROM {self._new} WHERE {_within(one)})) "
            f"FROM (SELECT {identity} AS i, {content} AS c FROM {self._old} WHERE {_within(one)}) "
            "FORMAT TabSeparated"
        )
        return Counts(*map(int, answer.split()))

    async def _insert(self, one: Slice) -> None:
        columns = ", ".join(map(identifier, self._made))
        there = _hash({name: name for name in _IDENTITY})
        await self._client.command(
            f"INSERT INTO {self._new} ({columns}) SELECT {', '.join(self._made.values())} FROM {self._old} "
            f"WHERE {_within(one)} "
            f"AND {_hash(self._made)} NOT IN (SELECT {there} FROM {self._new} WHERE {_within(one)})",
            settings={
                # A new token: after a kill, ClickHouse may know the token of an insert whose rows it lacks.
                "insert_deduplication_token": uuid.uuid4().hex,
                "max_partitions_per_insert_block": 0,
                "final": 0,
            },
        )

    async def _ddl(self, sql: str) -> None:
        await self._client.command(sql, settings=DDL_SETTINGS)

    async def _rows(self, table: str) -> int:
        return int(await self._client.command(f"SELECT count() FROM {table} FORMAT TabSeparated"))

    async def _extra_columns(self, old: Table) -> list[tuple[str, str, str]]:
        """Name, kind and type of the columns that are not ours."""
        text = await self._client.command(
            "SELECT name, default_kind, type FROM system.columns "
            "WHERE database = {database:String} AND table = {table:String} ORDER BY position "
            "FORMAT TabSeparatedRaw",
            {"database": self._database, "table": self._old.rpartition(".")[2]},
        )
        ours = {column.name for column in COLUMNS}
        rows = [line.split("\t") for line in text.splitlines()]
        return [(name, kind, type_) for name, kind, type_ in rows if name not in ours]

    async def _check_room(self) -> None:
        """Checks that the disk has room for the events twice, and that the database can exchange names."""
        answer = await self._client.command(
            "SELECT any(engine), (SELECT sum(total_bytes) FROM system.tables "
            "WHERE database = {database:String} AND name = {old:String}), "
            "(SELECT sum(total_bytes) FROM system.tables "
            "WHERE database = {database:String} AND name = {new:String}), "
            "(SELECT max(unreserved_space) FROM system.disks) FROM system.databases "
            "WHERE name = {database:String} FORMAT TabSeparated",
            {"database": self._database, "old": TABLE, "new": STAGING},
        )
        engine, *sizes = answer.rstrip("\n").split("\t")
        old, new, free = (int(size) if size.isdigit() else 0 for size in sizes)
        if engine != "Atomic":
            raise ConfigError(
                f"schema: database {self._database} is {engine}, and only an Atomic database can exchange "
                "two tables; set clickhouse.database to a new name and INSERT INTO its table SELECT from "
                "this one"
            )
        if old - new > free:
            raise NealyticsError(
                f"schema: the events take {old / 1e9:.1f} GB and will be copied, but ClickHouse's disk has "
                f"only {free / 1e9:.1f} GB free; free some disk space"
            )

    async def _free_name(self) -> str:
        text = await self._client.command(
            "SELECT name FROM system.tables WHERE database = {database:String} FORMAT TabSeparatedRaw",
            {"database": self._database},
        )
        taken = set(text.splitlines())
        name, number = KEPT, 2
        while name in taken:
            name, number = f"{KEPT}_{number}", number + 1
        return name


def _hash(made: dict[str, str]) -> str:
    """SQL for 16 bytes that identify an event, from the expressions of a table."""
    texts = [
        # Independent of the column's time zone.
        f"toUnixTimestamp64Milli({made[name]})" if name == "timestamp" else f"toString({made[name]})"
        for name in _IDENTITY
    ]
    return f"sipHash128({', '.join(texts)})"


def _within(one: Slice) -> str:
    first, end = (f"fromUnixTimestamp64Milli(toInt64({ms}), 'UTC')" for ms in (one.first_ms, one.end_ms))
    return f"timestamp >= {first} AND timestamp < {end}"


def _when(one: Slice) -> str:
    def text(ms: int) -> str:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).strftime("%Y-%m-%d %H:%M")

    return f"{text(one.first_ms)} to {text(one.end_ms)}"
