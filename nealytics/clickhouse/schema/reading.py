"""What there is: the table as ClickHouse describes it, here and on the hosts of a cluster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.schema.definition import COLUMNS, DEDUPLICATION_WINDOW, REPLICATED_WINDOW, WINDOW
from nealytics.clickhouse.schema.retention import (
    FOREVER,
    Retention,
    days_of,
    deleting_expressions,
    retention_of,
    together,
)
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, quoted
from nealytics.config import ClickHouseConfig

HOSTS_THAT_ANSWER = {"skip_unavailable_shards": 1}

# A TTL written by hand is computed for each full hour of 5 years, and for the millisecond before it: the
# shortest time that it leaves an event is what it keeps for certain; months and years differ in length.
_TIMES = (
    "SELECT arrayJoin([-1, 0]) + number * 3600000 AS ms, "
    "CAST(fromUnixTimestamp64Milli(ms), 'DateTime64(3, \\'UTC\\')') AS {column} "
    "FROM numbers(24, 43824)"
)


@dataclass(frozen=True)
class Table:
    """A table as ClickHouse describes it."""

    engine: str
    sorting_key: str
    partition_key: str
    engine_full: str  # ENGINE clause with everything after it: TTL and SETTINGS too
    columns: dict[str, str]  # name → type
    defaults: dict[str, str] = field(default_factory=dict)  # name → expression, of the columns that have one
    indexes: frozenset[str] = frozenset()  # names of those that skip granules
    # Columns that are being written for old rows, or were and still have the previous default (`Column`);
    # and whether that has ended.
    written: dict[str, bool] = field(default_factory=dict)
    by_hand_days: float | None = None  # what a TTL written by hand keeps for certain, if that can be told

    @property
    def retention(self) -> Retention:
        return retention_of(self.ttl, self.by_hand_days)

    @property
    def replicated(self) -> bool:
        return self.engine.startswith(("Replicated", "Shared"))

    @property
    def ttl(self) -> str:
        return _ttl_in(self.engine_full)

    def setting(self, name: str) -> str | None:
        """Its value, None if the table does not set it."""
        _, _, settings = self.engine_full.partition(" SETTINGS ")
        found = re.search(rf"(?:^|,\s*){re.escape(name)} = ([^,]+)", settings)
        return found[1].strip().strip("'") if found else None


async def read_version(client: ClickHouseClient) -> str:
    return (await client.command("SELECT version() FORMAT TabSeparatedRaw")).strip()


async def read_table(client: ClickHouseClient, database: str, name: str = TABLE) -> Table | None:
    """The table as it is, None if there is none."""
    of_table = "FROM system.tables WHERE database = {database:String} AND name = {table:String}"
    params = {"database": database, "table": name}
    # Not through `query`: that one names a database, which may not exist yet.
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
        by_hand_days=await _by_hand_days(client, _ttl_in(engine_full)),
        columns={column: type_ for column, type_, _ in rows},
        defaults=defaults,
        indexes=frozenset(_unescaped(line) for line in text.splitlines()),
        written=written,
    )


async def local_tables(client: ClickHouseClient, config: ClickHouseConfig) -> list[tuple[str, Table]]:
    """Host → its local table without the columns. A host that is down is left out."""
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
        days = await _by_hand_days(client, _ttl_in(engine_full))
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
    """What the table keeps, on all hosts that answer; None if there is no table."""
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
    ttl = _ttl_in(_unescaped(text.rstrip("\n")))
    return retention_of(ttl, await _by_hand_days(client, ttl))


async def _by_hand_days(client: ClickHouseClient, ttl: str) -> float | None:
    """How long a TTL that is not ours keeps each event for certain, asked of ClickHouse itself.

    None if it is ours, or if that depends on more than one of the event's times.
    """
    if not ttl or days_of(ttl) is not None:
        return None
    kept = FOREVER
    for expression in deleting_expressions(ttl):
        column = "timestamp" if re.search(r"\btimestamp\b", expression) else "received_at"
        # An event that has come in just now: then both times of ours are the same.
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
            return None  # it names another column, or is no expression
        if column == "timestamp" or days <= 0:
            kept = min(kept, max(days, 0.0))
    return kept


def _ttl_in(engine_full: str) -> str:
    found = re.search(r" TTL (.+?)(?: SETTINGS |$)", engine_full, re.DOTALL)
    return found[1].strip() if found else ""


def unfinished_columns(defaults: Mapping[str, str]) -> list[str]:
    """The columns that are perhaps not written for all rows that were there before them."""
    return [column.name for column in COLUMNS if column.before and defaults.get(column.name) == column.before]


def window_of(table: Table) -> int:
    if table.replicated:
        return int(
            table.setting(REPLICATED_WINDOW) or DEDUPLICATION_WINDOW
        )  # ClickHouse's default is the same
    return int(table.setting(WINDOW) or 0)


def _unescaped(value: str) -> str:
    """A value of TabSeparated."""
    return re.sub(
        r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}.get(found[1], found[1]), value
    )
