"""A table as it is found, in ClickHouse's own description. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from nealytics.clickhouse.schema.definition import COLUMNS, DEDUPLICATION_WINDOW, REPLICATED_WINDOW, WINDOW
from nealytics.clickhouse.schema.retention import Retention, retention_of


@dataclass(frozen=True)
class Table:
    engine: str
    sorting_key: str
    partition_key: str
    engine_full: str  # ENGINE clause with everything after it: TTL and SETTINGS too
    columns: dict[str, str]  # name → type
    defaults: dict[str, str] = field(default_factory=dict)  # name → expression, of the columns that have one
    indexes: frozenset[str] = frozenset()  # names of those that skip granules
    # Columns that are being written for existing rows, or were written and still have the previous default
    # (`Column`); and whether writing has ended.
    written: dict[str, bool] = field(default_factory=dict)
    by_hand_days: float | None = None  # what a TTL written by hand certainly keeps, if known

    @property
    def retention(self) -> Retention:
        return retention_of(self.ttl, self.by_hand_days)

    @property
    def replicated(self) -> bool:
        return self.engine.startswith(("Replicated", "Shared"))

    @property
    def ttl(self) -> str:
        return ttl_in(self.engine_full)

    def setting(self, name: str) -> str | None:
        """Its value; None if the table does not set it."""
        _, _, settings = self.engine_full.partition(" SETTINGS ")
        found = re.search(rf"(?:^|,\s*){re.escape(name)} = ([^,]+)", settings)
        return found[1].strip().strip("'") if found else None


def ttl_in(engine_full: str) -> str:
    found = re.search(r" TTL (.+?)(?: SETTINGS |$)", engine_full, re.DOTALL)
    return found[1].strip() if found else ""


def unfinished_columns(defaults: Mapping[str, str]) -> list[str]:
    """The columns that may not be written yet for rows older than the column."""
    return [column.name for column in COLUMNS if column.before and defaults.get(column.name) == column.before]


def window_of(table: Table) -> int:
    if table.replicated:
        # ClickHouse's default is the same.
        return int(table.setting(REPLICATED_WINDOW) or DEDUPLICATION_WINDOW)
    return int(table.setting(WINDOW) or 0)
