"""Checks that a table keeps events exactly once; changes nothing."""

import logging
import re
from dataclasses import replace

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, NotAReplica
from nealytics.clickhouse.rowbinary import INSERT_COLUMNS, ROW_FORMAT
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    DEDUPLICATION_WINDOW_S,
    LOCAL_TABLE,
    REPLICATED_WINDOW,
    REPLICATED_WINDOW_S,
    SHARDING_KEY,
    SORTING_KEY,
    VERSION_MIN,
    WINDOW,
    days_of,
    for_days,
    plain_key,
    table_name,
)
from nealytics.clickhouse.schema.planning import remake
from nealytics.clickhouse.schema.reading import Table, local_tables, read_table, unfinished_columns, window_of
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

log = logging.getLogger("nealytics.clickhouse")


async def probe(client: ClickHouseClient, config: ClickHouseConfig) -> None:
    """Checks that events can be kept exactly once there: version, settings, table, columns.

    Changes nothing. Raises `NealyticsError` with the fix in its message.
    """
    # First, so that what follows is asked where the table is.
    await check_addresses(client)
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


async def check_addresses(client: ClickHouseClient) -> None:
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
    check_distributed(distributed, name)
    _check_columns(distributed, name)
    local = await read_table(client, config.database, LOCAL_TABLE)
    hosts = await local_tables(client, config)
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
        seconds = int(table.setting(REPLICATED_WINDOW_S) or 0)
        if seconds < DEDUPLICATION_WINDOW_S:
            log.warning(
                "schema: %s has %s = %s: a batch that is repeated later than that is stored twice (answers "
                "stay right); run `nealytics schema apply`",
                place,
                REPLICATED_WINDOW_S,
                seconds or "its default",
            )


def check_distributed(table: Table, name: str) -> None:
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
    unfinished = unfinished_columns(table.defaults)
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
    identity = set(plain_key(SORTING_KEY).split(","))
    if (
        not table.engine.endswith("ReplacingMergeTree")
        or set(plain_key(table.sorting_key).split(",")) != identity
    ):
        raise ConfigError(
            f"schema: {name} is {table.engine} ordered by ({table.sorting_key}), not by ({SORTING_KEY}): a "
            "repeated event would be counted twice, or another's would take its place; "
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
    if window_of(table) <= 0:
        window = REPLICATED_WINDOW if table.replicated else WINDOW
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


def _check_ttl(table: Table, name: str, retention_days: int) -> None:
    """What is accepted must be kept. Also the start of one worker may be faster than another's `apply`."""
    days = days_of(table.ttl)
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
            f"{for_days(retention_days)}, so accepted events would be deleted; run `nealytics schema apply`, "
            f"or set clickhouse.retention_days = {days}"
        )


def _on_the_wire(type_: str) -> str:
    """Types that are the same in RowBinary are the same here."""
    found = re.fullmatch(r"LowCardinality\((.+)\)", type_)
    return re.sub(r"^DateTime64\((\d+), '[^']*'\)$", r"DateTime64(\1)", found[1] if found else type_)
