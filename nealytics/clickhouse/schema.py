"""The table: how it is created, brought up to date, and checked at start.

`clickhouse-init.sql` holds the same statements with the reason for each choice; a test keeps the two equal.
On a cluster (`clickhouse.cluster`) two tables stand for the one: `global_events_local` holds each shard's
events, replicated, and `global_events` is the Distributed table over them, which all reads and inserts name.
`clickhouse-init-cluster.sql` holds those.

`apply` may be run by several workers and nodes at the same time, and again and again: it looks at what is
there, does what is missing, and when another was faster, looks again. It never drops or rewrites events.
`plan` decides what is to be done, without doing it; that is the part to read first.
"""

import asyncio
import logging
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from nealytics.clickhouse import addresses, errors
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, NotAReplica
from nealytics.clickhouse.rowbinary import INSERT_COLUMNS, ROW_FORMAT
from nealytics.clickhouse.sql import identifier, quoted
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

log = logging.getLogger("nealytics.clickhouse")

TABLE = addresses.TABLE
# On a cluster: what each shard has. The Distributed table has the name that everything else knows.
LOCAL_TABLE = "global_events_local"


class Column(NamedTuple):
    name: str
    definition: str  # as in CREATE TABLE
    type: str  # as ClickHouse shows it
    # What the rows have that were there before the column. Without it they get the default, which ClickHouse
    # computes anew at every read.
    before: str = ""


class Index(NamedTuple):
    name: str
    definition: str  # as in CREATE TABLE


COLUMNS = (
    Column("event_id", "UUID", "UUID"),
    Column("project_id", "LowCardinality(String)", "LowCardinality(String)"),
    Column("tenant_id", "String", "String"),
    Column("session_id", "String", "String"),
    Column("user_id", "Nullable(String)", "Nullable(String)"),
    Column("event_type", "LowCardinality(String)", "LowCardinality(String)"),
    Column("item_id", "Nullable(String)", "Nullable(String)"),
    Column("metadata_json", "String CODEC(ZSTD(1))", "String"),
    Column("timestamp", "DateTime64(3, 'UTC')", "DateTime64(3, 'UTC')"),
    Column("received_at", "DateTime64(3, 'UTC') DEFAULT timestamp", "DateTime64(3, 'UTC')"),
    Column(
        "inserted_at", "DateTime64(3, 'UTC') DEFAULT now64(3)", "DateTime64(3, 'UTC')", before="timestamp"
    ),
)
INDEXES = (
    Index("inserted_at_minmax", "inserted_at TYPE minmax GRANULARITY 1"),
    Index("session_id_bloom", "session_id TYPE bloom_filter(0.01) GRANULARITY 1"),
    Index("user_id_bloom", "user_id TYPE bloom_filter(0.01) GRANULARITY 1"),
)
SORTING_KEY = "project_id, tenant_id, event_type, timestamp, event_id"
PARTITION_KEY = "toYYYYMM(timestamp)"

# Only for new tables: neither can be changed later without rewriting all parts.
_CREATION_SETTINGS = {"index_granularity": 8192}
# Also for tables that exist.
_SETTINGS = {"ttl_only_drop_parts": 1, "fsync_after_insert": 1, "fsync_part_directory": 1}
DEDUPLICATION_WINDOW = 10_000
_WINDOW = "non_replicated_deduplication_window"
_REPLICATED_WINDOW = "replicated_deduplication_window"
_REPLICATED_WINDOW_S = "replicated_deduplication_window_seconds"
# ClickHouse's default is an hour, and a node may be cut off for a weekend.
DEDUPLICATION_WINDOW_S = 7 * 86_400
# By tenant and never at random: copies of an event must meet in one shard, for `final` works within a shard.
SHARDING_KEY = "cityHash64(project_id, tenant_id)"
# Without {uuid}, so that a replica that is added later finds the others.
_REPLICA = "'/clickhouse/tables/{database}/{table}/{shard}', '{replica}'"

# Below it, an insert could be answered with status 200 and an exception header; we look at that header, but
# nothing here is tested with anything as old.
VERSION_MIN = (24, 8)

# Another worker or node is doing the same: the thing exists by now, or its metadata is locked or has changed.
_RACE_CODES = frozenset(
    {15, 44, errors.TABLE_ALREADY_EXISTS, errors.DATABASE_ALREADY_EXISTS, 159, 253, 473, 517, 524, 999}
)
_ATTEMPTS_MAX = 6
_RETRY_DELAY_S = 0.25
_WRITTEN_LOOK_S = 0.5

_HOSTS_THAT_ANSWER = {"skip_unavailable_shards": 1}


@dataclass(frozen=True)
class Table:
    """A table as ClickHouse describes it."""

    engine: str
    sorting_key: str
    partition_key: str
    engine_full: str  # ENGINE clause with everything after it: TTL and SETTINGS too
    columns: dict[str, str]  # name → type
    defaults: dict[str, str] = field(default_factory=dict)  # name → expression, of the columns that have one
    indexes: frozenset[str] = frozenset()  # names of those that skip granules
    # Columns that are being written for old rows, or were and still have the default of before (`Column`);
    # and whether that has ended.
    written: dict[str, bool] = field(default_factory=dict)

    @property
    def replicated(self) -> bool:
        return self.engine.startswith(("Replicated", "Shared"))

    @property
    def ttl(self) -> str:
        found = re.search(r" TTL (.+?)(?: SETTINGS |$)", self.engine_full, re.DOTALL)
        return found[1].strip() if found else ""

    def setting(self, name: str) -> str | None:
        """Its value, None if the table does not set it."""
        _, _, settings = self.engine_full.partition(" SETTINGS ")
        found = re.search(rf"(?:^|,\s*){re.escape(name)} = ([^,]+)", settings)
        return found[1].strip().strip("'") if found else None


class Plan(NamedTuple):
    steps: list[tuple[str, str]]  # what it does, and the statement
    remarks: list[str]  # what differs and stays as it is


def create_statements(database: str, retention_days: int, cluster: str = "") -> list[str]:
    """The statements that make database and table where there are none; on all hosts of `cluster`, if any."""
    columns = ",\n".join(
        [
            *(f"    {column.name} {column.definition}" for column in COLUMNS),
            *(f"    INDEX {index.name} {index.definition}" for index in INDEXES),
        ]
    )
    windows = (
        {_REPLICATED_WINDOW: DEDUPLICATION_WINDOW, _REPLICATED_WINDOW_S: DEDUPLICATION_WINDOW_S}
        if cluster
        else {_WINDOW: DEDUPLICATION_WINDOW}
    )
    settings = {
        "index_granularity": _CREATION_SETTINGS["index_granularity"],
        "ttl_only_drop_parts": _SETTINGS["ttl_only_drop_parts"],
        **windows,
        "fsync_after_insert": _SETTINGS["fsync_after_insert"],
        "fsync_part_directory": _SETTINGS["fsync_part_directory"],
    }
    ttl = [f"TTL {_ttl(retention_days)} DELETE"] if retention_days else []
    on = on_cluster(cluster)
    local = table_name(database, LOCAL_TABLE if cluster else TABLE)
    table = [
        f"CREATE TABLE IF NOT EXISTS {local}{on}\n(\n{columns}\n)",
        f"ENGINE = ReplicatedReplacingMergeTree({_REPLICA})" if cluster else "ENGINE = ReplacingMergeTree",
        f"PARTITION BY {PARTITION_KEY}",
        f"ORDER BY ({SORTING_KEY})",
        *ttl,
        "SETTINGS " + ", ".join(f"{name} = {value}" for name, value in settings.items()),
    ]
    statements = [f"CREATE DATABASE IF NOT EXISTS {identifier(database)}{on}", "\n".join(table)]
    if cluster:
        statements.append(
            f"CREATE TABLE IF NOT EXISTS {table_name(database)}{on} AS {local}\n"
            f"ENGINE = Distributed({quoted(cluster)}, {identifier(database)}, {LOCAL_TABLE}, {SHARDING_KEY})"
        )
    return statements


def on_cluster(cluster: str) -> str:
    return f" ON CLUSTER {quoted(cluster)}" if cluster else ""


def insert_sql(database: str, row_format: int) -> str:
    """The INSERT that takes rows of `row_format`, one after the other."""
    if row_format not in INSERT_COLUMNS:
        raise NealyticsError(
            f"schema: rows of format {row_format} are not known to this release; "
            "a newer one wrote them into the log: start that one"
        )
    columns = ", ".join(INSERT_COLUMNS[row_format])
    return f"INSERT INTO {table_name(database)} ({columns}) FORMAT RowBinary"


def plan(table: Table, database: str, retention_days: int, cluster: str = "") -> Plan:
    """What brings an existing table up to date, such as one that the C# engine made; the local one of
    `cluster`, if any."""
    name = table_name(database, LOCAL_TABLE if cluster else TABLE) + on_cluster(cluster)
    steps: list[tuple[str, str]] = []
    remarks: list[str] = []
    for before, column in zip((None, *COLUMNS), COLUMNS, strict=False):
        found = table.columns.get(column.name)
        if found is None:
            after = f" AFTER {before.name}" if before else " FIRST"
            definition = f"{column.type} DEFAULT {column.before}" if column.before else column.definition
            sql = f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column.name} {definition}{after}"
            steps.append((f"added column {column.name}", sql))
        elif found != column.type:
            remarks.append(f"column {column.name} is {found}, not {column.type}; left as it is")
        if column.before and (found is None or table.defaults.get(column.name) == column.before):
            steps += _write_before(name, column, is_written=table.written.get(column.name, False))
    for index in INDEXES:
        if index.name not in table.indexes:
            sql = f"ALTER TABLE {name} ADD INDEX IF NOT EXISTS {index.name} {index.definition}"
            steps.append((f"added index {index.name}", sql))
            # In the background; until then a query reads more than it has to.
            sql = f"ALTER TABLE {name} MATERIALIZE INDEX {index.name}"
            steps.append((f"index {index.name} is being built for the events that are there", sql))
    for setting, value in wanted_settings(table).items():
        sql = f"ALTER TABLE {name} MODIFY SETTING {setting} = {value}"
        steps.append((f"set {setting} = {value} (was {table.setting(setting) or 'not set'})", sql))
    _plan_ttl(table, name, retention_days, steps, remarks)
    if not table.engine.endswith("ReplacingMergeTree"):
        remarks.append(
            f"the engine is {table.engine}, not ReplacingMergeTree, and cannot be changed; {_remake(name)}"
        )
    if _plain(table.sorting_key) != _plain(SORTING_KEY):
        remarks.append(
            f"the sorting key is ({table.sorting_key}), not ({SORTING_KEY}), and cannot be changed; "
            f"{_remake(name)}"
        )
    if _plain(table.partition_key) != _plain(PARTITION_KEY):
        remarks.append(
            f"the table is partitioned by {table.partition_key or 'nothing'}, not by {PARTITION_KEY}, which "
            "cannot be changed; it works, but old events leave part by part instead of month by month. "
            f"To change it, {_remake(name)}"
        )
    return Plan(steps, remarks)


def _write_before(name: str, column: Column, *, is_written: bool) -> list[tuple[str, str]]:
    """Writes down a column that was added with what its old rows have for a default, and gives it its own."""
    write = (
        f"wrote {column.name} = {column.before} for the events that are there",
        f"ALTER TABLE {name} MATERIALIZE COLUMN {column.name} SETTINGS mutations_sync = 2",
    )
    give = (
        f"{column.name} of new events is {column.definition.rpartition(' DEFAULT ')[2]}",
        f"ALTER TABLE {name} MODIFY COLUMN {column.name} {column.definition}",
    )
    return [give] if is_written else [write, give]


def wanted_settings(table: Table) -> dict[str, int]:
    """The settings that `table` lacks. A larger deduplication window than ours is somebody's choice and
    stays."""
    wanted = {name: value for name, value in _SETTINGS.items() if table.setting(name) != str(value)}
    window = _window_of(table)
    if window < DEDUPLICATION_WINDOW:
        wanted[_REPLICATED_WINDOW if table.replicated else _WINDOW] = DEDUPLICATION_WINDOW
    if table.replicated and int(table.setting(_REPLICATED_WINDOW_S) or 0) < DEDUPLICATION_WINDOW_S:
        wanted[_REPLICATED_WINDOW_S] = DEDUPLICATION_WINDOW_S
    return wanted


async def apply(client: ClickHouseClient, config: ClickHouseConfig) -> list[str]:
    """Creates what is missing and brings up to date what is there. Returns what was done and what cannot be
    changed, in words; nothing if all was well. Raises `ClickHouseError`."""
    done: list[str] = []
    for attempt in range(_ATTEMPTS_MAX):
        try:
            return done + await _apply_once(client, config, done)
        except ClickHouseUnavailable:
            raise
        except ClickHouseError as error:
            if error.code not in _RACE_CODES or attempt == _ATTEMPTS_MAX - 1:
                raise
            log.info("schema: another worker or node is at it (%s); looking again", error.name or error.code)
            await asyncio.sleep(_RETRY_DELAY_S * (attempt + random.random()))
    raise AssertionError("unreachable")


async def probe(client: ClickHouseClient, config: ClickHouseConfig) -> None:
    """Checks that events can be kept exactly once there: version, settings, table, columns.

    Changes nothing. Raises `NealyticsError` with the fix in its message.
    """
    # First, so that what follows is asked where the table is.
    await _check_addresses(client)
    version = (await client.command("SELECT version() FORMAT TabSeparatedRaw")).strip()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < VERSION_MIN:
        log.warning(
            "clickhouse: version %s is older than %d.%d, the oldest this program is tested with",
            version,
            *VERSION_MIN,
        )
    unknown = await client.learn_settings()
    if config.cluster and "distributed_foreground_insert" in unknown:
        raise ConfigError(
            f"clickhouse: version {version} does not know distributed_foreground_insert, so it would "
            f"confirm what no shard has; a cluster needs {'.'.join(map(str, VERSION_MIN))} or newer"
        )
    name = table_name(config.database)
    table = await read_table(client, config.database)
    if table is None:
        raise NealyticsError(f"schema: there is no table {name}; run `nealytics schema apply`")
    if config.cluster or table.engine == "Distributed":
        await _probe_cluster(client, config, table)
        return
    if len(config.urls) > 1 and not table.replicated:
        raise ConfigError(
            f"schema: {name} is {table.engine} and clickhouse.url has {len(config.urls)} addresses: they "
            "share neither events nor tokens, so a batch that moves would be stored twice, and each would "
            "know a part of the events; write one address, or replicate the table (docs/scaling.md)"
        )
    _check_columns(table, name)
    _check_storage(table, name, config.retention_days)


async def _check_addresses(client: ClickHouseClient) -> None:
    """Whether the addresses are replicas of one table: otherwise a batch that moves would be stored twice.
    One that cannot say so now is asked before its first use."""
    for address in client.addresses.all:
        try:
            await client.meet(address)
        except NotAReplica as error:
            raise ConfigError(f"schema: {error.message}") from error
        except ClickHouseError as error:
            if not error.of_the_address:
                raise
            # Nobody there is no news: a node may start together with all of its ClickHouse.
            level = logging.WARNING if error.code else logging.INFO
            log.log(level, "schema: an address of clickhouse.url is not used for now: %s", error)


async def _probe_cluster(client: ClickHouseClient, config: ClickHouseConfig, distributed: Table) -> None:
    """The Distributed table here, and the local one on every host that answers."""
    name = table_name(config.database)
    if not config.cluster:
        raise ConfigError(
            f"schema: {name} is a Distributed table and clickhouse.cluster is not set, so an insert would be "
            "confirmed before a shard has it; set clickhouse.cluster to the name of its cluster"
        )
    _check_distributed(distributed, name)
    _check_columns(distributed, name)
    local = await read_table(client, config.database, LOCAL_TABLE)
    hosts = await _local_tables(client, config)
    if local is None or not hosts:
        raise NealyticsError(
            f"schema: there is no table {table_name(config.database, LOCAL_TABLE)} where this node asks; run "
            "`nealytics schema apply`, and name only members of the cluster in clickhouse.url"
        )
    _check_columns(local, table_name(config.database, LOCAL_TABLE))
    for host, table in hosts:
        place = f"{table_name(config.database, LOCAL_TABLE)} on {host}"
        if not table.replicated:
            raise ConfigError(
                f"schema: {place} is {table.engine} and not replicated; create it from "
                "clickhouse-init-cluster.sql and INSERT INTO it SELECT from this one"
            )
        _check_storage(replace(table, defaults=local.defaults), place, config.retention_days)
        seconds = int(table.setting(_REPLICATED_WINDOW_S) or 0)
        if seconds < DEDUPLICATION_WINDOW_S:
            log.warning(
                "schema: %s has %s = %s: a batch that is repeated later than that is stored twice (answers "
                "stay right); run `nealytics schema apply`",
                place,
                _REPLICATED_WINDOW_S,
                seconds or "its default",
            )


def _check_distributed(table: Table, name: str) -> None:
    if table.engine != "Distributed":
        raise ConfigError(
            f"schema: {name} is {table.engine}, and with clickhouse.cluster it must be the Distributed table "
            "over the shards; RENAME it, run `nealytics schema apply`, and INSERT INTO it SELECT from the "
            "old one, or set clickhouse.database to another name (docs/scaling.md)"
        )
    described = table.engine_full.replace(" ", "")
    if f"'{LOCAL_TABLE}'" not in described or SHARDING_KEY.replace(" ", "") not in described:
        raise ConfigError(
            f"schema: {name} is {table.engine_full}, and must be over {LOCAL_TABLE} by {SHARDING_KEY}: "
            "copies of an event in two shards would be counted twice; DROP TABLE it (it holds no events) and "
            "run `nealytics schema apply`; move the events that lie in the wrong shard"
        )


def _check_columns(table: Table, name: str) -> None:
    missing = [
        column for columns in INSERT_COLUMNS.values() for column in columns if column not in table.columns
    ]
    if missing:
        raise NealyticsError(
            f"schema: {name} has no column {', '.join(dict.fromkeys(missing))}; run `nealytics schema apply`"
        )
    unfinished = _unfinished(table.defaults)
    if unfinished:
        raise NealyticsError(
            f"schema: {name} is being migrated: {', '.join(unfinished)} is not written for old events yet; "
            "wait, or run `nealytics schema apply` again if that was interrupted"
        )
    # Rows travel without their types, so a column of another one would swallow parts of its neighbours.
    misread = [
        f"{column.name} is {table.columns[column.name]}, not {column.type}"
        for column in COLUMNS
        if column.name in INSERT_COLUMNS[ROW_FORMAT]
        and _on_the_wire(table.columns[column.name]) != _on_the_wire(column.type)
    ]
    if misread:
        raise ConfigError(
            f"schema: in {name}, {', '.join(misread)}, so rows would be misread; "
            "ALTER TABLE … MODIFY COLUMN, or set clickhouse.database to another name"
        )


def _check_storage(table: Table, name: str, retention_days: int) -> None:
    """Whether what is in `table` stays, once."""
    # Copies of an event are alike in these and in nothing else that is stored.
    identity = set(_plain(SORTING_KEY).split(","))
    if (
        not table.engine.endswith("ReplacingMergeTree")
        or set(_plain(table.sorting_key).split(",")) != identity
    ):
        raise ConfigError(
            f"schema: {name} is {table.engine} ordered by ({table.sorting_key}), not by ({SORTING_KEY}): a "
            "repeated event would be counted twice, or another's would take its place; "
            f"{_remake(name)}, or set clickhouse.database to another name"
        )
    if (
        others := {column.name for column in COLUMNS}
        & set(re.findall(r"\w+", table.partition_key)) - identity
    ):
        raise ConfigError(
            f"schema: {name} is partitioned by {table.partition_key}, so a repeated event with another "
            f"{', '.join(sorted(others))} would be counted twice; {_remake(name)}, or set "
            "clickhouse.database to another name"
        )
    if _window_of(table) <= 0:
        window = _REPLICATED_WINDOW if table.replicated else _WINDOW
        raise NealyticsError(
            f"schema: {name} has {window} = 0, so a repeated insert would not be noticed; "
            "run `nealytics schema apply`, or "
            f"ALTER TABLE {name} MODIFY SETTING {window} = {DEDUPLICATION_WINDOW}"
        )
    _check_ttl(table, name, retention_days)
    for setting in ("fsync_after_insert", "fsync_part_directory"):
        if table.setting(setting) != "1":
            log.warning(
                "schema: %s has %s = %s: a power cut at ClickHouse can lose what it has confirmed; "
                "run `nealytics schema apply`",
                name,
                setting,
                table.setting(setting) or "0",
            )


async def read_table(client: ClickHouseClient, database: str, name: str = TABLE) -> Table | None:
    """The table as it is, None if there is none."""
    of_table = "FROM system.tables WHERE database = {database:String} AND name = {table:String}"
    params = {"database": database, "table": name}
    # Not through `query`: that one names a database, which may not exist yet.
    text = await client.command(
        f"SELECT engine, sorting_key, partition_key, engine_full {of_table} FORMAT TabSeparated", params
    )
    if not text:
        return None
    engine, sorting_key, partition_key, engine_full = (
        _unescaped(value) for value in text.rstrip("\n").split("\t")
    )
    text = await client.command(
        "SELECT name, type, default_expression FROM system.columns "
        "WHERE database = {database:String} AND table = {table:String} ORDER BY position FORMAT TabSeparated",
        params,
    )
    rows = [[_unescaped(value) for value in line.split("\t")] for line in text.splitlines()]
    text = await client.command(
        "SELECT name FROM system.data_skipping_indices "
        "WHERE database = {database:String} AND table = {table:String} FORMAT TabSeparated",
        params,
    )
    defaults = {column: default for column, _, default in rows if default}
    written = {}
    for column in _unfinished(defaults):
        done = await client.command(
            "SELECT min(is_done) FROM system.mutations"
            " WHERE database = {database:String} AND table = {table:String}"
            " AND position(command, {command:String}) > 0 HAVING count() > 0 FORMAT TabSeparated",
            {**params, "command": f"MATERIALIZE COLUMN {column}"},
        )
        if done:
            written[column] = done.strip() == "1"
    return Table(
        engine,
        sorting_key,
        partition_key,
        engine_full,
        columns={column: type_ for column, type_, _ in rows},
        defaults=defaults,
        indexes=frozenset(_unescaped(line) for line in text.splitlines()),
        written=written,
    )


def _unfinished(defaults: Mapping[str, str]) -> list[str]:
    """The columns that are perhaps not written for all rows that were there before them."""
    return [column.name for column in COLUMNS if column.before and defaults.get(column.name) == column.before]


async def _when_written(
    client: ClickHouseClient, config: ClickHouseConfig, name: str = TABLE
) -> Table | None:
    """The table, once what an earlier try began to write for its rows is written.

    That may take longer than any request, and ClickHouse goes on with it when nobody waits. Beginning again
    instead would write everything again, and never end. Raises `NealyticsError` after a while.
    """
    for _ in range(max(1, int(config.insert_timeout_s / _WRITTEN_LOOK_S))):
        table = await read_table(client, config.database, name)
        if table is None or all(table.written.values()):
            return table
        await asyncio.sleep(_WRITTEN_LOOK_S)
    raise NealyticsError(
        f"schema: {table_name(config.database)} is being migrated: ClickHouse writes a column for the "
        "events that are there, and system.mutations says how far it is; wait, and look again"
    )


async def _apply_once(client: ClickHouseClient, config: ClickHouseConfig, done: list[str]) -> list[str]:
    """Appends to `done` what it does, step by step; returns the remarks."""
    if config.cluster:
        return await _apply_to_cluster(client, config, done)
    create_database, create_table = create_statements(config.database, config.retention_days)
    if len(config.urls) > 1:
        await _check_addresses(client)  # so that what follows is asked where the table is
    table = await _when_written(client, config)
    if table is None and len(config.urls) > 1:
        raise ConfigError(
            f"schema: there is no table {table_name(config.database)} at any of the {len(config.urls)} "
            "addresses of clickhouse.url, and a replicated one is not made without clickhouse.cluster; set "
            "that, or create it by hand (docs/scaling.md)"
        )
    if table is None:
        # Looked up first: a user who may not create a database can still use one that is there.
        exists = await client.command(
            "SELECT count() FROM system.databases WHERE name = {database:String} FORMAT TabSeparated",
            {"database": config.database},
        )
        if exists.strip() == "0":
            await client.command(create_database)
            done.append(f"created database {config.database}")
        await client.command(create_table)
        done.append(f"created table {config.database}.{TABLE}")
        table = await read_table(client, config.database)
        if table is None:
            raise NealyticsError(
                f"schema: {table_name(config.database)} was created and cannot be seen; "
                "grant clickhouse.user SHOW on it"
            )
    steps, remarks = plan(table, config.database, config.retention_days)
    for what, sql in steps:
        await client.command(sql)
        done.append(what)
    return remarks


async def _apply_to_cluster(client: ClickHouseClient, config: ClickHouseConfig, done: list[str]) -> list[str]:
    """The same on every host of the cluster. If there is something to do, each must be up; if all that answer
    have everything, a host that is down keeps nobody from starting."""
    # A little less than we wait, so that "this host has not answered" is ClickHouse's answer.
    settings = {"distributed_ddl_task_timeout": max(1, int(config.insert_timeout_s) - 5)}
    distributed = await read_table(client, config.database)
    if distributed is not None:
        _check_distributed(distributed, table_name(config.database))
    if not await _is_everywhere(client, config):
        for sql in create_statements(config.database, config.retention_days, config.cluster):
            await client.command(sql, settings=settings)
        tables = f"{config.database}.{TABLE} and {config.database}.{LOCAL_TABLE}"
        done.append(f"created {tables} on the hosts of cluster {config.cluster} that lacked them")
    # Again, as they were made just now: here, or by another node since the first look.
    distributed = await read_table(client, config.database)
    local = await _when_written(client, config, LOCAL_TABLE)
    if distributed is None or local is None:
        raise NealyticsError(
            f"schema: the tables were created on cluster {config.cluster} and cannot be seen where this node "
            "asks; name only members of the cluster in clickhouse.url, and grant clickhouse.user SHOW"
        )
    steps, remarks = plan_cluster(
        local,
        [table for _, table in await _local_tables(client, config)],
        distributed,
        config,
    )
    for what, sql in steps:
        await client.command(sql, settings=settings)
        done.append(what)
    return remarks


def plan_cluster(local: Table, everywhere: list[Table], distributed: Table, config: ClickHouseConfig) -> Plan:
    """What brings the tables of a cluster up to date. Settings are each host's own, so those of all hosts
    (`everywhere`) are looked at; columns and indexes travel with the replication."""
    steps: dict[str, str] = {}
    remarks: dict[str, None] = {}
    for table in (local, *everywhere):
        of_host = replace(local, engine=table.engine, engine_full=table.engine_full)
        planned = plan(of_host, config.database, config.retention_days, config.cluster)
        for what, sql in planned.steps:
            steps.setdefault(sql, what)
        remarks |= dict.fromkeys(planned.remarks)
    # Last: what can be inserted through it must have a place in every shard.
    name = table_name(config.database) + on_cluster(config.cluster)
    for before, column in zip((None, *COLUMNS), COLUMNS, strict=False):
        if column.name not in distributed.columns:
            after = f" AFTER {before.name}" if before else " FIRST"
            definition = column.definition.partition(" CODEC")[0]  # it stores nothing
            sql = f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column.name} {definition}{after}"
            steps[sql] = f"added column {column.name} to the Distributed table"
    return Plan([(what, sql) for sql, what in steps.items()], list(remarks))


async def _is_everywhere(client: ClickHouseClient, config: ClickHouseConfig) -> bool:
    """Whether every host that answers has both tables."""
    cluster = quoted(config.cluster)
    answer = await client.command(
        f"SELECT (SELECT count() FROM clusterAllReplicas({cluster}, system.one)), "
        f"(SELECT count() FROM clusterAllReplicas({cluster}, system.tables) "
        "WHERE database = {database:String} AND name IN ({table:String}, {local:String})) "
        "FORMAT TabSeparated",
        {"database": config.database, "table": TABLE, "local": LOCAL_TABLE},
        settings=_HOSTS_THAT_ANSWER,
    )
    hosts, tables = answer.split()
    return int(tables) == 2 * int(hosts)


async def _local_tables(client: ClickHouseClient, config: ClickHouseConfig) -> list[tuple[str, Table]]:
    """Host → its local table without the columns. A host that is down is left out."""
    text = await client.command(
        "SELECT hostName(), engine, sorting_key, partition_key, engine_full "
        f"FROM clusterAllReplicas({quoted(config.cluster)}, system.tables) "
        "WHERE database = {database:String} AND name = {table:String} FORMAT TabSeparated",
        {"database": config.database, "table": LOCAL_TABLE},
        settings=_HOSTS_THAT_ANSWER,
    )
    found = []
    for line in text.splitlines():
        host, engine, sorting_key, partition_key, engine_full = map(_unescaped, line.split("\t"))
        found.append((host, Table(engine, sorting_key, partition_key, engine_full, columns={})))
    return found


def _plan_ttl(
    table: Table, name: str, retention_days: int, steps: list[tuple[str, str]], remarks: list[str]
) -> None:
    days = _days_of(table.ttl)
    if days is None:
        remarks.append(
            f"the TTL is {table.ttl}, written by hand; left as it is, "
            "and clickhouse.retention_days has no effect"
        )
    elif days != retention_days:
        if retention_days:
            sql = f"ALTER TABLE {name} MODIFY TTL {_ttl(retention_days)} DELETE"
        else:
            sql = f"ALTER TABLE {name} REMOVE TTL"
        steps.append((f"events are kept {_for(retention_days)} (were kept {_for(days)})", sql))


def _check_ttl(table: Table, name: str, retention_days: int) -> None:
    """What is accepted must be kept. Also the start of one worker may be faster than another's `apply`."""
    days = _days_of(table.ttl)
    if days is None:
        log.warning(
            "schema: the TTL of %s is %s, written by hand: an event that it has expired is accepted and then "
            "deleted, unless clickhouse.retention_days is no longer than that",
            name,
            table.ttl,
        )
    elif days and not 0 < retention_days <= days:
        raise NealyticsError(
            f"schema: {name} deletes events after {days} days, but clickhouse.retention_days keeps them "
            f"{_for(retention_days)}, so accepted events would be deleted; run `nealytics schema apply`, "
            f"or set clickhouse.retention_days = {days}"
        )


def _on_the_wire(type_: str) -> str:
    """Types that are the same in RowBinary are the same here."""
    found = re.fullmatch(r"LowCardinality\((.+)\)", type_)
    return re.sub(r"^DateTime64\((\d+), '[^']*'\)$", r"DateTime64(\1)", found[1] if found else type_)


def _for(days: int) -> str:
    return f"{days} days" if days else "for ever"


def _ttl(retention_days: int) -> str:
    return f"toDateTime(timestamp) + INTERVAL {retention_days} DAY"


def _days_of(ttl: str) -> int | None:
    """The days of a TTL of our own making; 0 without TTL, None for any other."""
    if not ttl:
        return 0
    found = re.fullmatch(
        r"toDateTime\(timestamp\) \+ (?:toIntervalDay\((\d+)\)|INTERVAL (\d+) DAY)(?: DELETE)?", ttl
    )
    return int(found[1] or found[2]) if found else None


def _window_of(table: Table) -> int:
    if table.replicated:
        return int(
            table.setting(_REPLICATED_WINDOW) or DEDUPLICATION_WINDOW
        )  # ClickHouse's default is the same
    return int(table.setting(_WINDOW) or 0)


def table_name(database: str, table: str = TABLE) -> str:
    return f"{identifier(database)}.{table}"


def _remake(name: str) -> str:
    return f"create a new table from clickhouse-init.sql and INSERT INTO it SELECT from {name}"


def _plain(key: str) -> str:
    return key.replace(" ", "").strip("()") if key.startswith("(") else key.replace(" ", "")


def _unescaped(value: str) -> str:
    """A value of TabSeparated."""
    return re.sub(
        r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}.get(found[1], found[1]), value
    )
