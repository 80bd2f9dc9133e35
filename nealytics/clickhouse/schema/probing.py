"""Checks that a table stores events exactly once; changes nothing."""

import logging
from dataclasses import replace
from typing import NamedTuple

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, NotAReplica
from nealytics.clickhouse.schema.checks import (
    check_columns,
    check_distributed,
    check_fit,
    check_kept,
    check_replicated,
    check_single,
    check_types,
    check_version,
    setting_warnings,
)
from nealytics.clickhouse.schema.definition import DEDUPLICATION_WINDOW_S, REPLICATED_WINDOW_S, VERSION_MIN
from nealytics.clickhouse.schema.reading import Table, local_tables, read_table, read_version
from nealytics.clickhouse.schema.retention import Retention, together
from nealytics.clickhouse.sql import LOCAL_TABLE, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

log = logging.getLogger("nealytics.clickhouse")


class Probed(NamedTuple):
    retention: Retention  # how long events are kept
    warnings: list[str]  # what works and should be changed


async def probe(client: ClickHouseClient, config: ClickHouseConfig) -> Probed:
    """Checks that events can be kept exactly once there: version, settings, table, columns.

    Changes nothing. Raises `NealyticsError` with the fix in its message.
    """
    # First, so that what follows is asked where the table is.
    await check_addresses(client)
    version = await read_version(client)
    check_version(version)
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
    if config.cluster:
        return await _probe_cluster(client, config, table)
    check_single(table, config)
    check_fit(table, name)
    check_columns(table, name)
    check_kept(table, name, config.retention_days)
    return Probed(table.retention, setting_warnings(table, name))


async def check_addresses(client: ClickHouseClient) -> None:
    """Whether the addresses are replicas of one table: otherwise a batch that moves would be stored twice.
    One that cannot say so now is asked before its first use."""
    for address in client.addresses.all:
        try:
            await client.verify(address)
        except NotAReplica as error:
            raise ConfigError(f"schema: {error.message}") from error
        except ClickHouseError as error:
            if not error.of_the_address:
                raise
            # Nobody there is no news: a node may start together with all of its ClickHouse.
            level = logging.WARNING if error.code else logging.INFO
            log.log(level, "schema: an address of clickhouse.url is not used for now: %s", error)


async def _probe_cluster(client: ClickHouseClient, config: ClickHouseConfig, distributed: Table) -> Probed:
    """The Distributed table here, and the local one on every host that answers."""
    warnings: list[str] = []
    name = table_name(config.database)
    check_distributed(distributed, name)
    check_columns(distributed, name)
    check_types(distributed, name)
    local = await read_table(client, config.database, LOCAL_TABLE)
    hosts = await local_tables(client, config)
    if local is None or not hosts:
        raise NealyticsError(
            f"schema: there is no table {table_name(config.database, LOCAL_TABLE)} where this node asks; run "
            "`nealytics schema apply`, and name only members of the cluster in clickhouse.url"
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
                "repeated later than that is stored twice (answers stay right); run `nealytics schema apply`"
            )
        warnings += setting_warnings(table, place)
    return Probed(together([table.retention for _, table in hosts]), warnings)
