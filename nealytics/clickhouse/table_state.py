"""What tells whether a table can be the one that received our rows: its identity, and what happened to it."""

from typing import NamedTuple

from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.damage import broken_names, everywhere
from nealytics.clickhouse.failover import IDENTITY
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE
from nealytics.config import ClickHouseConfig

# The start is computed from two clocks in whole seconds.
START_TOLERANCE_S = 5

# Of a person. Deletions by `[[retention]]` rules and by erasures have a mark: the rules and the tombstones
# themselves say what was deleted.
RETENTION_MARK = "nealytics retention"
ERASURE_MARK = "nealytics erasure"
_DELETION = (
    "(command LIKE '%DELETE WHERE%' OR command LIKE '%_row_exists%') "
    f"AND command NOT LIKE '%{RETENTION_MARK}%' AND command NOT LIKE '%{ERASURE_MARK}%'"
)


class TableState(NamedTuple):
    identity: str  # of a single table its UUID: a new or restored table has another. Empty without a table
    started_s: int  # when this ClickHouse was started, epoch
    broken: tuple[str, ...]  # parts that ClickHouse detached

    def is_same_run(self, other: "TableState") -> bool:
        """The same table, and ClickHouse was not started again: it still has what it confirmed."""
        started = abs(self.started_s - other.started_s) <= START_TOLERANCE_S
        return self.identity == other.identity and started


async def read_state(client: ClickHouseClient, config: ClickHouseConfig) -> TableState:
    """Three small queries of system tables. Raises `ClickHouseError`."""
    params = {"database": config.database, "table": TABLE}
    identity = (await client.command(IDENTITY, params)).strip()
    started = await client.command("SELECT toUnixTimestamp(now()) - uptime() FORMAT TabSeparated")
    return TableState(identity, int(started), tuple(await broken_names(client, config)))


async def last_deletion_ms(client: ClickHouseClient, config: ClickHouseConfig) -> int:
    """When a person's statement last deleted rows, as epoch milliseconds; 0 if ClickHouse remembers none.

    It does not remember TRUNCATE and DROP PARTITION. Raises `ClickHouseError`.
    """
    found = await everywhere(
        client,
        config,
        "mutations",
        "toUnixTimestamp(max(create_time))",
        f"database = {{database:String}} AND table IN ('{TABLE}', '{LOCAL_TABLE}') AND {_DELETION}",
    )
    return 1000 * max((int(seconds) for (seconds,) in found), default=0)
