"""What there is: the table as ClickHouse describes it, here and on the hosts of a cluster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    LOCAL_TABLE,
    REPLICATED_WINDOW,
    TABLE,
    WINDOW,
)
from nealytics.clickhouse.sql import quoted
from nealytics.config import ClickHouseConfig

HOSTS_THAT_ANSWER = {"skip_unavailable_shards": 1}


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
    # Columns that are being written for old rows, or were and still have the default of before (`Column`);
    # and whether that has ended.
    written: dict[str, bool] = field(default_factory=dict)

    @property
    def replicated(self) -> bool:
        return self.engine.startswith(("Replicated", "Shared"))

    @property
    def ttl(self) -> str:
        found = re.search(r" TTL (.+?)(?: SETTINGS |$)", self.engine_full, re.DOTALL)
        return found[1].strip() if found else ""

    def setting(self, name: str) -> str | None:
        """Its value, None if the table does not set it."""
        _, _, settings = self.engine_full.partition(" SETTINGS ")
        found = re.search(rf"(?:^|,\s*){re.escape(name)} = ([^,]+)", settings)
        return found[1].strip().strip("'") if found else None


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
        found.append((host, Table(engine, sorting_key, partition_key, engine_full, columns={})))
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
