"""Creates the table where there is none, and brings up to date what is there."""

import asyncio
import logging
import random

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.error_codes import RACE_CODES
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.schema.checks import (
    check_distributed,
    check_fit,
    check_replicated,
    check_single,
    check_version,
)
from nealytics.clickhouse.schema.definition import DDL_SETTINGS, create_statements, ddl_settings
from nealytics.clickhouse.schema.planning import plan, plan_cluster
from nealytics.clickhouse.schema.probing import check_addresses
from nealytics.clickhouse.schema.reading import Table, is_everywhere, local_tables, read_table, read_version
from nealytics.clickhouse.schema.retention import FOREVER, Retention, configured
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

log = logging.getLogger("nealytics.clickhouse")

_ATTEMPTS_MAX = 6
_RETRY_DELAY_S = 0.25
_WRITTEN_LOOK_S = 0.5


async def apply(client: ClickHouseClient, config: ClickHouseConfig) -> list[str]:
    """Creates what is missing and brings up to date what is there. Returns what was done and what cannot be
    changed, in words; nothing if all was well.

    No statement runs before version, engine, keys and types were found fit; a table that is refused stays as
    it is. Nothing that is done deletes an event. Raises `ClickHouseError`, `NealyticsError`.
    """
    done: list[str] = []
    for attempt in range(_ATTEMPTS_MAX):
        try:
            return done + await _apply_once(client, config, done)
        except ClickHouseUnavailable:
            raise
        except ClickHouseError as error:
            if error.code not in RACE_CODES or attempt == _ATTEMPTS_MAX - 1:
                raise
            log.info(
                "schema: another worker or node changes the table (%s); checking again",
                error.name or error.code,
            )
            await asyncio.sleep(_RETRY_DELAY_S * (attempt + random.random()))
    raise AssertionError("unreachable")


async def _apply_once(client: ClickHouseClient, config: ClickHouseConfig, done: list[str]) -> list[str]:
    """Appends to `done` what it does, step by step; returns the remarks."""
    if len(config.urls) > 1:
        await check_addresses(client)  # so that what follows is asked where the table is
    check_version(await read_version(client))
    if config.cluster:
        return await _apply_to_cluster(client, config, done)
    create_database, create_table = create_statements(config.database, config.retention_days)
    table = await read_table(client, config.database)
    if table is not None:
        check_single(table, config)
        check_fit(table, table_name(config.database))
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
            await client.command(create_database, settings=DDL_SETTINGS)
            done.append(f"created database {config.database}")
        await client.command(create_table, settings=DDL_SETTINGS)
        done.append(f"created table {config.database}.{TABLE}")
        table = await read_table(client, config.database)
        if table is None:
            raise NealyticsError(
                f"schema: {table_name(config.database)} was created and cannot be seen; "
                "grant clickhouse.user SHOW on it"
            )
    steps, remarks = plan(table, config.database, config.retention_days)
    for what, sql in steps:
        await client.command(sql, settings=DDL_SETTINGS)
        done.append(what)
    return remarks


async def _apply_to_cluster(client: ClickHouseClient, config: ClickHouseConfig, done: list[str]) -> list[str]:
    """The same on every host of the cluster. If there is something to do, each must be up; if all that answer
    have everything, a host that is down keeps nobody from starting."""
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
        [table for _, table in await local_tables(client, config)],
        distributed,
        config,
    )
    for what, sql in steps:
        await client.command(sql, settings=settings)
        done.append(what)
    return remarks


def _days_of_new_tables(found: list[Retention], retention_days: int) -> int:
    """A table on a host that is added keeps no less than those of the others, and a replica must have their
    TTL."""
    longest = max([configured(retention_days), *(FOREVER if one.days is None else one.days for one in found)])
    return 0 if longest == FOREVER else int(longest)


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
