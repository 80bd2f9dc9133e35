"""The table: how it is created, updated, and checked at start.

Pure:
    definition.py   columns, keys, settings; the statements that create the table
    table.py        a table as it is found
    retention.py    what a TTL means, and whether it may be changed
    checks.py       what a table must be, and the message for one that is not
    planning.py     what brings a table up to date
With I/O:
    inspection.py   reads the table that is there
    probing.py      checks that the table stores events exactly once; changes nothing
    applying.py     creates and updates the table; shortens retention once a person has agreed
    cluster.py      the same on a cluster
    migration.py    copies the events of an unfit table into a new one

Several workers and nodes may run `apply` at the same time and repeatedly: it reads what is there, does what
is missing, and if another was faster, reads again. It never drops or rewrites events.
"""

from nealytics.clickhouse.schema.applying import Shortening, apply, shorten, what_shortening_deletes
from nealytics.clickhouse.schema.cluster import plan_cluster
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    INDEXES,
    PARTITION_KEY,
    SHARDING_KEY,
    SORTING_KEY,
    create_statements,
)
from nealytics.clickhouse.schema.inspection import read_retention, read_table
from nealytics.clickhouse.schema.planning import Plan, plan, wanted_settings
from nealytics.clickhouse.schema.probing import probe
from nealytics.clickhouse.schema.retention import Retention, configured, decide, difference, for_days
from nealytics.clickhouse.schema.table import Table

__all__ = [
    "COLUMNS",
    "DEDUPLICATION_WINDOW",
    "INDEXES",
    "PARTITION_KEY",
    "SHARDING_KEY",
    "SORTING_KEY",
    "Plan",
    "Retention",
    "Shortening",
    "Table",
    "apply",
    "configured",
    "create_statements",
    "decide",
    "difference",
    "for_days",
    "plan",
    "plan_cluster",
    "probe",
    "read_retention",
    "read_table",
    "shorten",
    "wanted_settings",
    "what_shortening_deletes",
]
