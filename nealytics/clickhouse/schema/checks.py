"""What a table must be, and the message for one that is not. Pure.

`check_fit` covers what no statement can change. It runs before the first statement, so a refused table stays
as it was.
"""

import re

from nealytics.clickhouse.rowbinary import INSERT_COLUMNS, ROW_FORMAT
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DAMAGE_SETTINGS,
    DEDUPLICATION_WINDOW,
    DURABILITY_SETTINGS,
    LARGER_IS_BETTER,
    REPLICATED_DURABILITY_SETTINGS,
    REPLICATED_WINDOW,
    SHARDING_KEY,
    SMALLER_IS_BETTER,
    SORTING_KEY,
    VERSION_MIN,
    WINDOW,
    plain_key,
)
from nealytics.clickhouse.schema.retention import configured, for_days
from nealytics.clickhouse.schema.table import Table, unfinished_columns, window_of
from nealytics.clickhouse.sql import LOCAL_TABLE, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError


def check_version(version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < VERSION_MIN:
        raise ConfigError(
            f"clickhouse: the server has version {version}, and {'.'.join(map(str, VERSION_MIN))} or newer "
            "is needed: an older one may confirm an insert that it did not store. Upgrade ClickHouse; events "
            "stay in the log until then"
        )


def check_single(table: Table, config: ClickHouseConfig) -> None:
    """Checks that a node without `clickhouse.cluster` can use the table. Raises `ConfigError`."""
    name = table_name(config.database)
    if table.engine == "Distributed":
        raise ConfigError(
            f"schema: {name} is a Distributed table and clickhouse.cluster is not set, so an insert would be "
            "confirmed before a shard has its rows; set clickhouse.cluster to the name of its cluster"
        )
    if len(config.urls) > 1 and not table.replicated:
        raise ConfigError(
            f"schema: {name} is {table.engine} and clickhouse.url has {len(config.urls)} addresses: they "
            "share neither events nor tokens, so a batch that moves would be stored twice, and each would "
            "have a part of the events; write one address, or replicate the table (docs/scaling.md)"
        )


def check_distributed(table: Table, name: str) -> None:
    if table.engine != "Distributed":
        raise ConfigError(
            f"schema: {name} is {table.engine}, but with clickhouse.cluster it must be a Distributed table "
            "over the shards; RENAME it, run `nealytics schema apply`, and INSERT INTO the new table SELECT "
            "from the old one, or set clickhouse.database to another name (docs/scaling.md)"
        )
    described = table.engine_full.replace(" ", "")
    if f"'{LOCAL_TABLE}'" not in described or SHARDING_KEY.replace(" ", "") not in described:
        raise ConfigError(
            f"schema: {name} is {table.engine_full}, but it must distribute {LOCAL_TABLE} by {SHARDING_KEY}: "
            "copies of an event in two shards would be counted twice; DROP TABLE it (it stores no events), "
            "run `nealytics schema apply`, and move the events that are in the wrong shard"
        )


def check_replicated(table: Table, place: str) -> None:
    if not table.replicated:
        raise ConfigError(
            f"schema: {place} is {table.engine}, which is not replicated; create a replicated table from "
            "clickhouse-init-cluster.sql and INSERT INTO it SELECT from this one"
        )


def check_fit(table: Table, name: str) -> None:
    """Checks that the table can store each event once: engine, keys and types, which `schema apply` cannot
    change. Raises `ConfigError`.
    """
    # Copies of an event are equal in these columns and may differ in all others.
    identity = set(plain_key(SORTING_KEY).split(","))
    if (
        not table.engine.endswith("ReplacingMergeTree")
        or set(plain_key(table.sorting_key).split(",")) != identity
    ):
        raise ConfigError(
            f"schema: {name} is {table.engine} ordered by ({table.sorting_key}), not by ({SORTING_KEY}): a "
            "repeated event would be counted twice, or one event would replace another; "
            f"{remake(name)}, or set clickhouse.database to another name"
        )
    if (
        others := {column.name for column in COLUMNS}
        & set(re.findall(r"\w+", table.partition_key)) - identity
    ):
        raise ConfigError(
            f"schema: {name} is partitioned by {table.partition_key}, so a repeated event with another "
            f"{', '.join(sorted(others))} would be counted twice; {remake(name)}, or set "
            "clickhouse.database to another name"
        )
    check_types(table, name)


def check_types(table: Table, name: str) -> None:
    # Rows are sent without types, so a column of another type would consume bytes of its neighbours.
    misread = [
        f"{column.name} is {table.columns[column.name]}, not {column.type}"
        for column in COLUMNS
        if column.name in table.columns
        and column.name in INSERT_COLUMNS[ROW_FORMAT]
        and _on_the_wire(table.columns[column.name]) != _on_the_wire(column.type)
    ]
    if misread:
        raise ConfigError(
            f"schema: in {name}, {', '.join(misread)}, so rows would be misread; "
            "ALTER TABLE … MODIFY COLUMN, or set clickhouse.database to another name"
        )


def check_columns(table: Table, name: str) -> None:
    missing = [
        column for columns in INSERT_COLUMNS.values() for column in columns if column not in table.columns
    ]
    if missing:
        raise NealyticsError(
            f"schema: {name} has no column {', '.join(dict.fromkeys(missing))}; run `nealytics schema apply`"
        )
    unfinished = unfinished_columns(table.defaults)
    if unfinished:
        raise NealyticsError(
            f"schema: {name} is being migrated: {', '.join(unfinished)} is not yet written for old events; "
            "wait, or run `nealytics schema apply` again if it was interrupted"
        )


def check_kept(table: Table, name: str, retention_days: int) -> None:
    """Checks that events in `table` stay, and stay unique."""
    if window_of(table) <= 0:
        window = REPLICATED_WINDOW if table.replicated else WINDOW
        raise NealyticsError(
            f"schema: {name} has {window} = 0, so a repeated insert would be stored twice; "
            "run `nealytics schema apply`, or "
            f"ALTER TABLE {name} MODIFY SETTING {window} = {DEDUPLICATION_WINDOW}"
        )
    _check_retention(table, name, retention_days)


def unsynced(table: Table) -> dict[str, int]:
    """The required values of settings without which a power loss at ClickHouse destroys events in `table`.

    A setting that the table does not set counts as missing: a server's configuration may change the default.
    """
    return _missing(table, DURABILITY_SETTINGS | (REPLICATED_DURABILITY_SETTINGS if table.replicated else {}))


def slow_when_damaged(table: Table) -> dict[str, int]:
    """The required values of settings without which a read of a damaged part waits long for its error."""
    return _missing(table, DAMAGE_SETTINGS)


def _missing(table: Table, needed: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in needed.items() if not _holds(name, table.setting(name), value)}


def _holds(name: str, found: str | None, needed: int) -> bool:
    if found is None or not found.isdigit():
        return False
    if name in SMALLER_IS_BETTER:
        return SMALLER_IS_BETTER[name] <= int(found) <= needed
    return int(found) >= needed if name in LARGER_IS_BETTER else int(found) == needed


def setting_warnings(table: Table, name: str) -> list[str]:
    """One warning for each promise that the table's settings do not give."""
    without = (
        (unsynced(table), "a power loss at ClickHouse can destroy events that it has confirmed"),
        (slow_when_damaged(table), "a read of a damaged part can wait a minute for its error"),
    )
    warnings = []
    for missing, what in without:
        if missing:
            settings = ", ".join(f"{setting} = {value}" for setting, value in missing.items())
            warnings.append(f"schema: {name} does not set {settings}: {what}; run `nealytics schema apply`")
    return warnings


def _check_retention(table: Table, name: str, retention_days: int) -> None:
    """Accepted events must be kept, and until the table is checked, events are accepted as configured.

    A worker may also start before another worker's `apply` has ended.
    """
    kept = table.retention
    wanted = configured(retention_days)
    if not kept.by_hand and kept.days is not None and kept.days < wanted:
        raise NealyticsError(
            f"schema: {name} deletes events after {for_days(kept.days)}, but clickhouse.retention_days keeps "
            f"them {for_days(wanted)}, so accepted events would be deleted too early; run `nealytics schema "
            f"apply`, or set clickhouse.retention_days = {kept.days:g}"
        )


def _on_the_wire(type_: str) -> str:
    """Makes types equal that are the same in RowBinary."""
    found = re.fullmatch(r"LowCardinality\((.+)\)", type_)
    return re.sub(r"^DateTime64\((\d+), '[^']*'\)$", r"DateTime64(\1)", found[1] if found else type_)


def remake(name: str) -> str:
    """How to move the events into a table that is fit.

    Without `retention_days = 0`, the new table's TTL would delete older events while they are copied.
    """
    old = f"{name}_old"
    columns = ", ".join(column.name for column in COLUMNS if column.name != "inserted_at")
    return (
        "`nealytics schema migrate` copies its events into a new table and keeps this one. By hand: set "
        f"clickhouse.retention_days = 0, RENAME TABLE {name} TO {old}, run `nealytics schema apply`, "
        f"INSERT INTO {name} ({columns}, inserted_at) SELECT {columns}, timestamp FROM {old} (for a column "
        "that the old table lacks: NULL, or timestamp)"
    )
