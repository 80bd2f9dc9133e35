"""Reads the table that is there, on this server and on the hosts of a cluster. Changes nothing."""

import asyncio
import logging
import re

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, NotAReplica
from nealytics.clickhouse.schema.retention import (
    FOREVER,
    Retention,
    days_of,
    deleting_expressions,
    retention_of,
    together,
)
from nealytics.clickhouse.schema.table import Table, ttl_in, unfinished_columns
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, quoted, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

log = logging.getLogger("nealytics.clickhouse")

_WRITTEN_CHECK_S = 0.5

HOSTS_THAT_ANSWER = {"skip_unavailable_shards": 1}

# A TTL written by hand is evaluated for each full hour of 5 years, and for the millisecond before it, because
# months and years differ in length: the shortest time that an event stays is what it certainly keeps.
_TIMES = (
    "SELECT arrayJoin([-1, 0]) + number * 3600000 AS ms, "
    "CAST(fromUnixTimestamp64Milli(ms), 'DateTime64(3, \\'UTC\\')') AS {column} "
    "FROM numbers(24, 43824)"
)


async def check_addresses(client: ClickHouseClient) -> None:
    """Checks that the addresses are replicas of one table; otherwise a batch that moves would be stored
    twice. One that does not answer now is verified before its first use."""
    for address in client.addresses.all:
        try:
            await client.verify(address)
        except NotAReplica as error:
            raise ConfigError(f"schema: {error.message}") from error
        except ClickHouseError as error:
            if not error.of_the_address:
                raise
            # An address that is down is no warning: a node may start together with its ClickHouse.
            level = logging.WARNING if error.code else logging.INFO
            log.log(level, "schema: not using an address of clickhouse.url until it answers: %s", error)


async def read_version(client: ClickHouseClient) -> str:
    return (await client.command("SELECT version() FORMAT TabSeparatedRaw")).strip()


async def read_table(client: ClickHouseClient, database: str, name: str = TABLE) -> Table | None:
    """The table; None if there is none."""
    of_table = "FROM system.tables WHERE database = {database:String} AND name = {table:String}"
    params = {"database": database, "table": name}
    # Not by `query`, which names a database: it may not exist yet.
    text = await client.command(
        f"SELECT engine, sorting_key, partition_key, engine_full {of_table} FORMAT TabSeparated", params
    )
    if not text:
        return None
    engine, sorting_key, partition_key, engine_full = (
        _unescaped(value) for value in text.rstrip("\n").split("\t")
    )
    text = await client.command(
        "SELECT name, type, default_expression FROM system.columns "
        "WHERE database = {database:String} AND table = {table:String} ORDER BY position FORMAT TabSeparated",
        params,
    )
    rows = [[_unescaped(value) for value in line.split("\t")] for line in text.splitlines()]
    text = await client.command(
        "SELECT name FROM system.data_skipping_indices "
        "WHERE database = {database:String} AND table = {table:String} FORMAT TabSeparated",
        params,
    )
    defaults = {column: default for column, _, default in rows if default}
    written = {}
    for column in unfinished_columns(defaults):
        done = await client.command(
            "SELECT min(is_done) FROM system.mutations"
            " WHERE database = {database:String} AND table = {table:String}"
            " AND position(command, {command:String}) > 0 HAVING count() > 0 FORMAT TabSeparated",
            {**params, "command": f"MATERIALIZE COLUMN {column}"},
        )
        if done:
            written[column] = done.strip() == "1"
    return Table(
        engine,
        sorting_key,
        partition_key,
        engine_full,
        by_hand_days=await _by_hand_days(client, ttl_in(engine_full)),
        columns={column: type_ for column, type_, _ in rows},
        defaults=defaults,
        indexes=frozenset(_unescaped(line) for line in text.splitlines()),
        written=written,
    )


async def read_written_table(
    client: ClickHouseClient, config: ClickHouseConfig, name: str = TABLE
) -> Table | None:
    """The table, once a column that an earlier attempt began to write for existing rows is written.

    That may take longer than any request, and ClickHouse continues without a client. Starting again instead
    would write everything again, and never end. Raises `NealyticsError` after `insert_timeout_s`.
    """
    for _ in range(max(1, int(config.insert_timeout_s / _WRITTEN_CHECK_S))):
        table = await read_table(client, config.database, name)
        if table is None or all(table.written.values()):
            return table
        await asyncio.sleep(_WRITTEN_CHECK_S)
    raise NealyticsError(
        f"schema: {table_name(config.database)} is being migrated: ClickHouse writes a column for the "
        "existing events; system.mutations shows the progress; wait, and try again"
    )


async def local_tables(client: ClickHouseClient, config: ClickHouseConfig) -> list[tuple[str, Table]]:
    """Host → its local table, without the columns. Skips a host that is down."""
    text = await client.command(
        "SELECT hostName(), engine, sorting_key, partition_key, engine_full "
        f"FROM clusterAllReplicas({quoted(config.cluster)}, system.tables) "
        "WHERE database = {database:String} AND name = {table:String} FORMAT TabSeparated",
        {"database": config.database, "table": LOCAL_TABLE},
        settings=HOSTS_THAT_ANSWER,
    )
    found = []
    for line in text.splitlines():
        host, engine, sorting_key, partition_key, engine_full = map(_unescaped, line.split("\t"))
        days = await _by_hand_days(client, ttl_in(engine_full))
        table = Table(engine, sorting_key, partition_key, engine_full, columns={}, by_hand_days=days)
        found.append((host, table))
    return found


async def is_everywhere(client: ClickHouseClient, config: ClickHouseConfig) -> bool:
    """Whether every host that answers has both tables."""
    cluster = quoted(config.cluster)
    answer = await client.command(
        f"SELECT (SELECT count() FROM clusterAllReplicas({cluster}, system.one)), "
        f"(SELECT count() FROM clusterAllReplicas({cluster}, system.tables) "
        "WHERE database = {database:String} AND name IN ({table:String}, {local:String})) "
        "FORMAT TabSeparated",
        {"database": config.database, "table": TABLE, "local": LOCAL_TABLE},
        settings=HOSTS_THAT_ANSWER,
    )
    hosts, tables = answer.split()
    return int(tables) == 2 * int(hosts)


async def read_retention(client: ClickHouseClient, config: ClickHouseConfig) -> Retention | None:
    """How long the table keeps events, on all hosts that answer; None if there is no table."""
    if config.cluster:
        found = [table.retention for _, table in await local_tables(client, config)]
        return together(found) if found else None
    text = await client.command(
        "SELECT engine_full FROM system.tables "
        "WHERE database = {database:String} AND name = {table:String} FORMAT TabSeparated",
        {"database": config.database, "table": TABLE},
    )
    if not text:
        return None
    ttl = ttl_in(_unescaped(text.rstrip("\n")))
    return retention_of(ttl, await _by_hand_days(client, ttl))


async def _by_hand_days(client: ClickHouseClient, ttl: str) -> float | None:
    """How long a TTL written by hand certainly keeps each event, evaluated by ClickHouse itself.

    None if the TTL is ours, or depends on more than one of the event's times.
    """
    if not ttl or days_of(ttl) is not None:
        return None
    kept = FOREVER
    for expression in deleting_expressions(ttl):
        column = "timestamp" if re.search(r"\btimestamp\b", expression) else "received_at"
        # Of an event that has just arrived, where both of our times are equal.
        expression = re.sub(r"\binserted_at\b", "received_at", expression)
        times = _TIMES.format(column=column)
        sql = (
            f"SELECT min(toUnixTimestamp64Milli(toDateTime64({expression}, 3, 'UTC')) - ms) FROM ({times}) "
            "FORMAT TabSeparated"
        )
        try:
            days = int(await client.command(sql)) / 86_400_000
        except ClickHouseUnavailable:
            raise
        except (ClickHouseError, ValueError):
            return None  # names another column, or is not an expression
        if column == "timestamp" or days <= 0:
            kept = min(kept, max(days, 0.0))
    return kept


def _unescaped(value: str) -> str:
    """A value of TabSeparated."""
    return re.sub(
        r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}.get(found[1], found[1]), value
    )
