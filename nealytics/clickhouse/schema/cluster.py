"""The tables of a cluster: the Distributed table on this server, and the local one on every host."""

from dataclasses import replace
from typing import NamedTuple

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.checks import (
    check_columns,
    check_distributed,
    check_fit,
    check_kept,
    check_replicated,
    check_types,
    setting_warnings,
)
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW_S,
    REPLICATED_WINDOW_S,
    create_statements,
    ddl_settings,
    on_cluster,
)
from nealytics.clickhouse.schema.inspection import (
    is_everywhere,
    local_tables,
    read_table,
    read_written_table,
)
from nealytics.clickhouse.schema.planning import Plan, plan
from nealytics.clickhouse.schema.retention import FOREVER, Retention, configured, decide, together
from nealytics.clickhouse.schema.table import Table
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import NealyticsError


class Probed(NamedTuple):
    retention: Retention  # how long events are kept
    warnings: list[str]  # what works and should be changed


async def probe_cluster(client: ClickHouseClient, config: ClickHouseConfig, distributed: Table) -> Probed:
    """As `probe`: the Distributed table here, and the local one on every host that answers."""
    warnings: list[str] = []
    name = table_name(config.database)
    check_distributed(distributed, name)
    check_columns(distributed, name)
    check_types(distributed, name)
    local = await read_table(client, config.database, LOCAL_TABLE)
    hosts = await local_tables(client, config)
    if local is None or not hosts:
        raise NealyticsError(
            f"schema: there is no table {table_name(config.database, LOCAL_TABLE)} on the server of this "
            "node; run `nealytics schema apply`, and name only members of the cluster in clickhouse.url"
        )
    check_columns(local, table_name(config.database, LOCAL_TABLE))
    check_types(local, table_name(config.database, LOCAL_TABLE))
    for host, table in hosts:
        place = f"{table_name(config.database, LOCAL_TABLE)} on {host}"
        check_replicated(table, place)
        check_fit(table, place)
        check_kept(replace(table, defaults=local.defaults), place, config.retention_days)
        seconds = int(table.setting(REPLICATED_WINDOW_S) or 0)
        if seconds < DEDUPLICATION_WINDOW_S:
            warnings.append(
                f"schema: {place} has {REPLICATED_WINDOW_S} = {seconds or 'its default'}: a batch that is "
                "retried later than that is stored twice (answers stay correct); run `nealytics schema apply`"
            )
        warnings += setting_warnings(table, place)
    return Probed(together([table.retention for _, table in hosts]), warnings)


async def apply_to_cluster(client: ClickHouseClient, config: ClickHouseConfig, done: list[str]) -> list[str]:
    """As `apply`, on every host of the cluster. Changes need all hosts; if all that answer are up to date, a
    host that is down does not keep a node from starting. Appends to `done`; returns the remarks."""
    settings = ddl_settings(config)
    distributed = await read_table(client, config.database)
    if distributed is not None:
        check_distributed(distributed, table_name(config.database))
    hosts = await local_tables(client, config)
    for host, table in hosts:
        place = f"{table_name(config.database, LOCAL_TABLE)} on {host}"
        check_replicated(table, place)
        check_fit(table, place)
    if not await is_everywhere(client, config):
        days = _days_of_new_tables([table.retention for _, table in hosts], config.retention_days)
        for sql in create_statements(config.database, days, config.cluster):
            await client.command(sql, settings=settings)
        tables = f"{config.database}.{TABLE} and {config.database}.{LOCAL_TABLE}"
        done.append(f"created {tables} on the hosts of cluster {config.cluster} that lacked them")
    # Read again: they were created just now, here or by another node.
    distributed = await read_table(client, config.database)
    local = await read_written_table(client, config, LOCAL_TABLE)
    if distributed is None or local is None:
        raise NealyticsError(
            f"schema: the tables were created on cluster {config.cluster} but are not visible to this node; "
            "list only members of the cluster in clickhouse.url, and grant clickhouse.user SHOW"
        )
    steps, remarks = plan_cluster(
        local,
        [table for _, table in await local_tables(client, config)],
        distributed,
        config,
    )
    for what, sql in steps:
        await client.command(sql, settings=settings)
        done.append(what)
    return remarks


def plan_cluster(local: Table, everywhere: list[Table], distributed: Table, config: ClickHouseConfig) -> Plan:
    """What brings the tables of a cluster up to date (pure). Each host has its own settings, so those of all
    hosts (`everywhere`) are compared; columns and indexes are replicated."""
    steps: dict[str, str] = {}
    remarks: dict[str, None] = {}
    retention = decide([table.retention for table in (local, *everywhere)], config.retention_days)
    for table in (local, *everywhere):
        of_host = replace(
            local, engine=table.engine, engine_full=table.engine_full, by_hand_days=table.by_hand_days
        )
        planned = plan(of_host, config.database, config.retention_days, config.cluster, retention)
        for what, sql in planned.steps:
            steps.setdefault(sql, what)
        remarks |= dict.fromkeys(planned.remarks)
    # Last: what is inserted through the Distributed table needs a column in every shard.
    name = table_name(config.database) + on_cluster(config.cluster)
    for before, column in zip((None, *COLUMNS), COLUMNS, strict=False):
        if column.name not in distributed.columns:
            after = f" AFTER {before.name}" if before else " FIRST"
            definition = column.definition.partition(" CODEC")[0]  # the Distributed table stores nothing
            sql = f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column.name} {definition}{after}"
            steps[sql] = f"added column {column.name} to the Distributed table"
    return Plan([(what, sql) for sql, what in steps.items()], list(remarks))


def _days_of_new_tables(found: list[Retention], retention_days: int) -> int:
    """A table on an added host keeps events at least as long as the others, and a replica must have the same
    TTL."""
    longest = max([configured(retention_days), *(FOREVER if one.days is None else one.days for one in found)])
    return 0 if longest == FOREVER else int(longest)
