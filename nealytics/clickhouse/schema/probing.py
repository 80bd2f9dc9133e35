"""Checks that a table stores events exactly once; changes nothing."""

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.checks import (
    check_columns,
    check_fit,
    check_kept,
    check_single,
    check_version,
    setting_warnings,
)
from nealytics.clickhouse.schema.cluster import Probed, probe_cluster
from nealytics.clickhouse.schema.definition import VERSION_MIN
from nealytics.clickhouse.schema.inspection import check_addresses, read_table, read_version
from nealytics.clickhouse.sql import table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError


async def probe(client: ClickHouseClient, config: ClickHouseConfig) -> Probed:
    """Checks version, settings, table and columns. Raises `NealyticsError` with the fix in its message."""
    # First, so that the rest is read where the table is.
    await check_addresses(client)
    version = await read_version(client)
    check_version(version)
    unknown = await client.learn_settings()
    if config.cluster and "distributed_foreground_insert" in unknown:
        raise ConfigError(
            f"clickhouse: version {version} does not know distributed_foreground_insert, so it could "
            f"confirm an insert that no shard has; a cluster needs {'.'.join(map(str, VERSION_MIN))} or newer"
        )
    name = table_name(config.database)
    table = await read_table(client, config.database)
    if table is None:
        raise NealyticsError(f"schema: there is no table {name}; run `nealytics schema apply`")
    if config.cluster:
        return await probe_cluster(client, config, table)
    check_single(table, config)
    check_fit(table, name)
    check_columns(table, name)
    check_kept(table, name, config.retention_days)
    return Probed(table.retention, setting_warnings(table, name))
