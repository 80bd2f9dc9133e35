"""Makes retention shorter, which deletes events: what would go, and the statement that lets it go.

Only `nealytics schema apply --shorten-retention` does that, after a person has said yes.
"""

from dataclasses import dataclass

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.definition import ddl_settings, on_cluster
from nealytics.clickhouse.schema.planning import retention_step
from nealytics.clickhouse.schema.reading import local_tables, read_table
from nealytics.clickhouse.schema.retention import Retention, configured, decide, together, ttl_expression
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import NealyticsError


@dataclass(frozen=True)
class Shortening:
    """What it would delete now. Events that wait in a node's log are not in it."""

    kept_days: float | None  # as it is
    days: float
    events: int
    tenants: int
    oldest: str
    newest: str


async def what_shortening_deletes(client: ClickHouseClient, config: ClickHouseConfig) -> Shortening | None:
    """None if the table does not keep longer than the configuration says. Raises `NealyticsError` if its TTL
    was written by hand."""
    found = await _found(client, config)
    by_hand = together(found).by_hand
    if by_hand:
        name = table_name(config.database, LOCAL_TABLE if config.cluster else TABLE)
        _, sql = retention_step(name, None, configured(config.retention_days))
        raise NealyticsError(
            f"schema: the TTL of {name} is {by_hand}, written by hand, and is changed by hand only; to leave "
            f"it to clickhouse.retention_days: {sql}"
        )
    decision = decide(found, config.retention_days, shorten=True)
    if not decision.deletes or decision.days is None:
        return None
    # One row for each event, as readers count them, before copies were merged too.
    answer = await client.command(
        "SELECT count(), uniqExact(project_id, tenant_id), min(timestamp), max(timestamp) "
        f"FROM {table_name(config.database)} WHERE {ttl_expression(decision.days)} <= now() "
        "FORMAT TabSeparated",
        settings={"final": 1, "do_not_merge_across_partitions_select_final": 1},
    )
    events, tenants, oldest, newest = answer.rstrip("\n").split("\t")
    return Shortening(together(found).days, decision.days, int(events), int(tenants), oldest, newest)


async def shorten(client: ClickHouseClient, config: ClickHouseConfig, asked: Shortening) -> str:
    """Does it, and says so. ClickHouse deletes part by part, each when all of its events are too old."""
    name = table_name(config.database, LOCAL_TABLE if config.cluster else TABLE) + on_cluster(config.cluster)
    what, sql = retention_step(name, asked.kept_days, asked.days)
    await client.command(sql, settings=ddl_settings(config))
    return what


async def _found(client: ClickHouseClient, config: ClickHouseConfig) -> list[Retention]:
    if config.cluster:
        return [table.retention for _, table in await local_tables(client, config)]
    table = await read_table(client, config.database)
    return [table.retention] if table else []
