"""What the table is: columns, indexes, keys, settings, and the statements that create it. Pure.

`clickhouse-init.sql` contains the same statements with the reason for each choice; a test keeps the two
equal. On a cluster (`clickhouse.cluster`) there are two tables: `global_events_local` stores each shard's
events, replicated, and `global_events` is the Distributed table over them, which all reads and inserts name.
`clickhouse-init-cluster.sql` contains those.
"""

from typing import NamedTuple

from nealytics.clickhouse.schema.retention import ttl_expression
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, identifier, quoted, table_name
from nealytics.config import ClickHouseConfig


class Column(NamedTuple):
    name: str
    definition: str  # as in CREATE TABLE
    type: str  # as ClickHouse shows it
    # The value of rows older than the column. Without it they get the default, which ClickHouse computes
    # again at every read.
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

# Sent with each statement that changes a table. The default, pinned: without it a power loss can lose the
# file that describes the table, and then all its events are unreachable.
DDL_SETTINGS = {"fsync_metadata": 1}
# Only for new tables: neither can be changed later without rewriting all parts.
_CREATION_SETTINGS = {"index_granularity": 8192}
# Also for tables that exist.
SETTINGS = {"ttl_only_drop_parts": 1}
# Also for tables that exist: without any one of them, a power loss at ClickHouse destroys events that it has
# confirmed. Decision 0012 lists every setting that was considered.
DURABILITY_SETTINGS = {
    "fsync_after_insert": 1,
    "fsync_part_directory": 1,
    "min_rows_to_fsync_after_merge": 1,
    "min_compressed_bytes_to_fsync_after_merge": 1,
    "old_parts_lifetime": 480,
    "always_use_copy_instead_of_hardlinks": 0,
}
# For replicated tables: a fetched part is written like a merged one.
REPLICATED_DURABILITY_SETTINGS = {"min_compressed_bytes_to_fsync_after_fetch": 1}
# Also for tables that exist: they bound how long a read of a damaged part waits for its error. ClickHouse
# flips every bit of a compressed block to explain a wrong checksum, and compact parts ignore the size of
# blocks. Decision 0022.
DAMAGE_SETTINGS = {"max_compress_block_size": 16_384, "min_bytes_for_wide_part": 131_072}
# A larger, or smaller, value of these is a stronger promise; of all others any other value is wrong.
LARGER_IS_BETTER = frozenset({"old_parts_lifetime"})
# With the smallest meaningful value: 0 of the first means the value of the server's profile.
SMALLER_IS_BETTER = {"max_compress_block_size": 1, "min_bytes_for_wide_part": 0}
DEDUPLICATION_WINDOW = 10_000
WINDOW = "non_replicated_deduplication_window"
REPLICATED_WINDOW = "replicated_deduplication_window"
REPLICATED_WINDOW_S = "replicated_deduplication_window_seconds"
# ClickHouse's default is an hour, and a node may be cut off for a weekend.
DEDUPLICATION_WINDOW_S = 7 * 86_400
# By tenant, never random: all copies of an event must be in one shard, because `final` works within a shard.
SHARDING_KEY = "cityHash64(project_id, tenant_id)"
# The erasures of all nodes (`nealytics.erasure`). Rows are only added.
ERASURES = "erasures"
# Without {uuid}, so that a replica added later finds the others.
_REPLICA = "'/clickhouse/tables/{database}/{table}/{shard}', '{replica}'"

# An older server could answer a failed insert with status 200 and an exception header. We check that header,
# but nothing here is tested with such old versions.
VERSION_MIN = (24, 8)


def create_statements(database: str, retention_days: int, cluster: str = "") -> list[str]:
    """The statements that create database and table if they are missing; with `cluster`, on all its hosts."""
    columns = ",\n".join(
        [
            *(f"    {column.name} {column.definition}" for column in COLUMNS),
            *(f"    INDEX {index.name} {index.definition}" for index in INDEXES),
        ]
    )
    windows = (
        {REPLICATED_WINDOW: DEDUPLICATION_WINDOW, REPLICATED_WINDOW_S: DEDUPLICATION_WINDOW_S}
        if cluster
        else {WINDOW: DEDUPLICATION_WINDOW}
    )
    settings = {
        "index_granularity": _CREATION_SETTINGS["index_granularity"],
        "ttl_only_drop_parts": SETTINGS["ttl_only_drop_parts"],
        **windows,
        **DURABILITY_SETTINGS,
        **(REPLICATED_DURABILITY_SETTINGS if cluster else {}),
        **DAMAGE_SETTINGS,
    }
    ttl = [f"TTL {ttl_expression(retention_days)} DELETE"] if retention_days else []
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


def create_erasures(database: str, cluster: str = "") -> str:
    """The statement that creates the table of erasures; the first erasure runs it. All hosts of a cluster
    have the same rows, whatever their shard."""
    settings = {name: DURABILITY_SETTINGS[name] for name in ("fsync_after_insert", "fsync_part_directory")}
    engine = "ReplacingMergeTree"
    if cluster:
        engine = "ReplicatedReplacingMergeTree('/clickhouse/tables/{database}/{table}', '{shard}-{replica}')"
    return (
        f"CREATE TABLE IF NOT EXISTS {table_name(database, ERASURES)}{on_cluster(cluster)}\n"
        "(\n    id String,\n    erasure String\n)\n"
        f"ENGINE = {engine}\nORDER BY id\n"
        "SETTINGS " + ", ".join(f"{name} = {value}" for name, value in settings.items())
    )


def ddl_settings(config: ClickHouseConfig) -> dict[str, int]:
    if not config.cluster:
        return DDL_SETTINGS
    # A little less than our own timeout, so that ClickHouse's answer names the host that is down.
    return {**DDL_SETTINGS, "distributed_ddl_task_timeout": max(1, int(config.insert_timeout_s) - 5)}


def on_cluster(cluster: str) -> str:
    return f" ON CLUSTER {quoted(cluster)}" if cluster else ""


def plain_key(key: str) -> str:
    return key.replace(" ", "").strip("()") if key.startswith("(") else key.replace(" ", "")
