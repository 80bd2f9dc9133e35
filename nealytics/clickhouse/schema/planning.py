"""What brings a table that is there up to date, decided without doing it."""

from dataclasses import replace
from typing import NamedTuple

from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    DEDUPLICATION_WINDOW_S,
    INDEXES,
    LOCAL_TABLE,
    PARTITION_KEY,
    REPLICATED_WINDOW,
    REPLICATED_WINDOW_S,
    SETTINGS,
    SORTING_KEY,
    TABLE,
    WINDOW,
    Column,
    days_of,
    for_days,
    on_cluster,
    plain_key,
    table_name,
    ttl_expression,
)
from nealytics.clickhouse.schema.reading import Table, window_of
from nealytics.config import ClickHouseConfig


class Plan(NamedTuple):
    steps: list[tuple[str, str]]  # what it does, and the statement
    remarks: list[str]  # what differs and stays as it is


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
            f"the engine is {table.engine}, not ReplacingMergeTree, and cannot be changed; {remake(name)}"
        )
    if plain_key(table.sorting_key) != plain_key(SORTING_KEY):
        remarks.append(
            f"the sorting key is ({table.sorting_key}), not ({SORTING_KEY}), and cannot be changed; "
            f"{remake(name)}"
        )
    if plain_key(table.partition_key) != plain_key(PARTITION_KEY):
        remarks.append(
            f"the table is partitioned by {table.partition_key or 'nothing'}, not by {PARTITION_KEY}, which "
            "cannot be changed; it works, but old events leave part by part instead of month by month. "
            f"To change it, {remake(name)}"
        )
    return Plan(steps, remarks)


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


def wanted_settings(table: Table) -> dict[str, int]:
    """The settings that `table` lacks. A larger deduplication window than ours is somebody's choice and
    stays."""
    wanted = {name: value for name, value in SETTINGS.items() if table.setting(name) != str(value)}
    window = window_of(table)
    if window < DEDUPLICATION_WINDOW:
        wanted[REPLICATED_WINDOW if table.replicated else WINDOW] = DEDUPLICATION_WINDOW
    if table.replicated and int(table.setting(REPLICATED_WINDOW_S) or 0) < DEDUPLICATION_WINDOW_S:
        wanted[REPLICATED_WINDOW_S] = DEDUPLICATION_WINDOW_S
    return wanted


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


def _plan_ttl(
    table: Table, name: str, retention_days: int, steps: list[tuple[str, str]], remarks: list[str]
) -> None:
    days = days_of(table.ttl)
    if days is None:
        remarks.append(
            f"the TTL is {table.ttl}, written by hand; left as it is, "
            "and clickhouse.retention_days has no effect"
        )
    elif days != retention_days:
        if retention_days:
            sql = f"ALTER TABLE {name} MODIFY TTL {ttl_expression(retention_days)} DELETE"
        else:
            sql = f"ALTER TABLE {name} REMOVE TTL"
        steps.append((f"events are kept {for_days(retention_days)} (were kept {for_days(days)})", sql))


def remake(name: str) -> str:
    return f"create a new table from clickhouse-init.sql and INSERT INTO it SELECT from {name}"
