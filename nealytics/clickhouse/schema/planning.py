"""What brings an existing table up to date: the statements, in order. Pure."""

from typing import NamedTuple

from nealytics.clickhouse.schema.checks import remake, slow_when_damaged, unsynced
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    DEDUPLICATION_WINDOW_S,
    INDEXES,
    PARTITION_KEY,
    REPLICATED_WINDOW,
    REPLICATED_WINDOW_S,
    SETTINGS,
    SORTING_KEY,
    WINDOW,
    Column,
    on_cluster,
    plain_key,
)
from nealytics.clickhouse.schema.retention import FOREVER, Decision, decide, for_days, ttl_expression
from nealytics.clickhouse.schema.table import Table, window_of
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, table_name


class Plan(NamedTuple):
    steps: list[tuple[str, str]]  # in words, and the statement
    remarks: list[str]  # differences that stay


def plan(
    table: Table,
    database: str,
    retention_days: int,
    cluster: str = "",
    retention: Decision | None = None,
) -> Plan:
    """What brings an existing table up to date, such as one that the C# engine created. With `cluster`, the
    local table; `retention` is then the decision for all hosts.

    Nothing in it loses an event or a value: no TTL is shortened, and no column changes its type.
    """
    name = table_name(database, LOCAL_TABLE if cluster else TABLE) + on_cluster(cluster)
    steps: list[tuple[str, str]] = []
    remarks: list[str] = []
    # First, because the other steps write parts, and the settings decide whether ClickHouse syncs them.
    for setting, value in wanted_settings(table).items():
        sql = f"ALTER TABLE {name} MODIFY SETTING {setting} = {value}"
        steps.append((f"set {setting} = {value} (was {table.setting(setting) or 'not set'})", sql))
    # Second, because the other steps may take hours: meanwhile the old TTL deletes, and another node may
    # decide to keep events longer than this one has.
    if retention is None:
        retention = decide([table.retention], retention_days)
    if retention.days is not None:
        steps.append(retention_step(name, table.retention.days, retention.days))
    if retention.remark:
        remarks.append(retention.remark)
    for before, column in zip((None, *COLUMNS), COLUMNS, strict=False):
        found = table.columns.get(column.name)
        if found is None:
            after = f" AFTER {before.name}" if before else " FIRST"
            definition = f"{column.type} DEFAULT {column.before}" if column.before else column.definition
            sql = f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column.name} {definition}{after}"
            steps.append((f"added column {column.name}", sql))
        elif found != column.type:
            remarks.append(f"column {column.name} is {found}, not {column.type}; not changed")
        # Only if the column has our type: MODIFY COLUMN would cut the values of another one.
        is_ours = found is None or (found == column.type and table.defaults.get(column.name) == column.before)
        if column.before and is_ours:
            steps += _write_before(name, column, is_written=table.written.get(column.name, False))
    for index in INDEXES:
        if index.name not in table.indexes:
            sql = f"ALTER TABLE {name} ADD INDEX IF NOT EXISTS {index.name} {index.definition}"
            steps.append((f"added index {index.name}", sql))
            # In the background; until then queries read more than necessary.
            sql = f"ALTER TABLE {name} MATERIALIZE INDEX {index.name}"
            steps.append((f"index {index.name} is being built for the existing events", sql))
    if plain_key(table.sorting_key) != plain_key(SORTING_KEY):
        remarks.append(
            f"the sorting key is ({table.sorting_key}), not ({SORTING_KEY}), and cannot be changed; "
            f"{remake(name)}"
        )
    if plain_key(table.partition_key) != plain_key(PARTITION_KEY):
        remarks.append(
            f"the table is partitioned by {table.partition_key or 'nothing'}, not by {PARTITION_KEY}, which "
            "cannot be changed; the table works, but old events are deleted by part instead of by month. "
            f"To change it, {remake(name)}"
        )
    return Plan(steps, remarks)


def retention_step(name: str, before: float | None, days: float) -> tuple[str, str]:
    """`name` is the table's name, followed by ON CLUSTER on a cluster."""
    if days == FOREVER:
        sql = f"ALTER TABLE {name} REMOVE TTL"
    else:
        sql = f"ALTER TABLE {name} MODIFY TTL {ttl_expression(days)} DELETE"
    was = "" if before is None else f" (were kept {for_days(before)})"
    return f"events are kept {for_days(days)}{was}", sql


def wanted_settings(table: Table) -> dict[str, int]:
    """The settings that `table` lacks. A deduplication window larger than ours is a person's choice and
    stays."""
    wanted = unsynced(table) | slow_when_damaged(table)
    wanted |= {name: value for name, value in SETTINGS.items() if table.setting(name) != str(value)}
    if table.retention.by_hand:
        # A TTL written by hand may rely on deleting single events instead of whole parts.
        wanted.pop("ttl_only_drop_parts", None)
    window = window_of(table)
    if window < DEDUPLICATION_WINDOW:
        wanted[REPLICATED_WINDOW if table.replicated else WINDOW] = DEDUPLICATION_WINDOW
    if table.replicated and int(table.setting(REPLICATED_WINDOW_S) or 0) < DEDUPLICATION_WINDOW_S:
        wanted[REPLICATED_WINDOW_S] = DEDUPLICATION_WINDOW_S
    return wanted


def _write_before(name: str, column: Column, *, is_written: bool) -> list[tuple[str, str]]:
    """Writes the values of existing rows, until then the default of a new column, and sets its real
    default."""
    write = (
        f"wrote {column.name} = {column.before} for the existing events",
        f"ALTER TABLE {name} MATERIALIZE COLUMN {column.name} SETTINGS mutations_sync = 2",
    )
    give = (
        f"{column.name} of new events is {column.definition.rpartition(' DEFAULT ')[2]}",
        f"ALTER TABLE {name} MODIFY COLUMN {column.name} {column.definition}",
    )
    return [give] if is_written else [write, give]
