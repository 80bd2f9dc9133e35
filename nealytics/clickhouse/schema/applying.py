"""Creates the table, brings an existing one up to date, and shortens retention once a person has agreed."""

import asyncio
import logging
import random
from dataclasses import dataclass

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.error_codes import RACE_CODES
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.schema.checks import check_fit, check_single, check_version
from nealytics.clickhouse.schema.cluster import apply_to_cluster
from nealytics.clickhouse.schema.definition import DDL_SETTINGS, create_statements, ddl_settings, on_cluster
from nealytics.clickhouse.schema.inspection import (
    check_addresses,
    local_tables,
    read_table,
    read_version,
    read_written_table,
)
from nealytics.clickhouse.schema.planning import plan, retention_step
from nealytics.clickhouse.schema.retention import Retention, configured, decide, together, ttl_expression
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

log = logging.getLogger("nealytics.clickhouse")

_ATTEMPTS_MAX = 6
_RETRY_DELAY_S = 0.25


async def apply(client: ClickHouseClient, config: ClickHouseConfig) -> list[str]:
    """Creates what is missing and brings an existing table up to date. Returns what it did and what cannot be
    changed, in words; nothing if the table is up to date.

    No statement runs before version, engine, keys and types are checked; a refused table stays as it is. No
    statement deletes an event. Raises `ClickHouseError`, `NealyticsError`.
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
                "schema: another worker or node is changing the table (%s); checking again",
                error.name or error.code,
            )
            await asyncio.sleep(_RETRY_DELAY_S * (attempt + random.random()))
    raise AssertionError("unreachable")


async def _apply_once(client: ClickHouseClient, config: ClickHouseConfig, done: list[str]) -> list[str]:
    """Appends each step to `done`; returns the remarks."""
    if len(config.urls) > 1:
        await check_addresses(client)  # so that the rest is read where the table is
    check_version(await read_version(client))
    if config.cluster:
        return await apply_to_cluster(client, config, done)
    create_database, create_table = create_statements(config.database, config.retention_days)
    table = await read_table(client, config.database)
    if table is not None:
        check_single(table, config)
        check_fit(table, table_name(config.database))
        table = await read_written_table(client, config)
    if table is None and len(config.urls) > 1:
        raise ConfigError(
            f"schema: there is no table {table_name(config.database)} at any of the {len(config.urls)} "
            "addresses of clickhouse.url, and a replicated one is not created without clickhouse.cluster; "
            "set that, or create it by hand (docs/scaling.md)"
        )
    if table is None:
        # Checked first: a user who may not create a database can still use an existing one.
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
                f"schema: {table_name(config.database)} was created but is not visible; "
                "grant clickhouse.user SHOW on it"
            )
    steps, remarks = plan(table, config.database, config.retention_days)
    for what, sql in steps:
        await client.command(sql, settings=DDL_SETTINGS)
        done.append(what)
    return remarks


@dataclass(frozen=True)
class Shortening:
    """What would be deleted now. Events that are still in a node's log are not counted."""

    kept_days: float | None  # as the table is
    days: float
    events: int
    tenants: int
    oldest: str
    newest: str


async def what_shortening_deletes(client: ClickHouseClient, config: ClickHouseConfig) -> Shortening | None:
    """None if the table keeps events no longer than configured. Raises `NealyticsError` if its TTL was
    written by hand."""
    found = await _retentions(client, config)
    by_hand = together(found).by_hand
    if by_hand:
        name = table_name(config.database, LOCAL_TABLE if config.cluster else TABLE)
        _, sql = retention_step(name, None, configured(config.retention_days))
        raise NealyticsError(
            f"schema: the TTL of {name} ({by_hand}) was written by hand, so it must be changed by hand; to "
            f"let clickhouse.retention_days set it, run: {sql}"
        )
    decision = decide(found, config.retention_days, shorten=True)
    if not decision.deletes or decision.days is None:
        return None
    # One row for each event, as reads count them, also before copies are merged.
    answer = await client.command(
        "SELECT count(), uniqExact(project_id, tenant_id), min(timestamp), max(timestamp) "
        f"FROM {table_name(config.database)} WHERE {ttl_expression(decision.days)} <= now() "
        "FORMAT TabSeparated",
        settings={"final": 1, "do_not_merge_across_partitions_select_final": 1},
    )
    events, tenants, oldest, newest = answer.rstrip("\n").split("\t")
    return Shortening(together(found).days, decision.days, int(events), int(tenants), oldest, newest)


async def shorten(client: ClickHouseClient, config: ClickHouseConfig, asked: Shortening) -> str:
    """Returns what it did. ClickHouse deletes whole parts, each once all of its events are too old."""
    name = table_name(config.database, LOCAL_TABLE if config.cluster else TABLE) + on_cluster(config.cluster)
    what, sql = retention_step(name, asked.kept_days, asked.days)
    await client.command(sql, settings=ddl_settings(config))
    return what


async def _retentions(client: ClickHouseClient, config: ClickHouseConfig) -> list[Retention]:
    if config.cluster:
        return [table.retention for _, table in await local_tables(client, config)]
    table = await read_table(client, config.database)
    return [table.retention] if table else []
