"""The table: how it is created, brought up to date, and checked at start.

    definition.py   columns, keys, settings; the statements that create the table
    retention.py    what a TTL means, and whether it may be changed (pure)
    checks.py       what a table must be, and what is said of one that is not (pure)
    reading.py      the table that is there, as ClickHouse describes it
    planning.py     what brings it up to date (pure): the part to read first
    applying.py     does that
    shortening.py   makes retention shorter, once a person has agreed
    migration.py    copies the events of a table that is unfit into a new one
    probing.py      checks that the table stores events exactly once; changes nothing

`apply` may be run by several workers and nodes at the same time, and again and again: it looks at what is
there, does what is missing, and when another was faster, looks again. It never drops or rewrites events.
"""

from nealytics.clickhouse.schema.applying import apply
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    INDEXES,
    PARTITION_KEY,
    SHARDING_KEY,
    SORTING_KEY,
    create_statements,
)
from nealytics.clickhouse.schema.planning import Plan, plan, plan_cluster, wanted_settings
from nealytics.clickhouse.schema.probing import probe
from nealytics.clickhouse.schema.reading import Table, read_retention, read_table
from nealytics.clickhouse.schema.retention import Retention, configured, decide, difference, for_days
from nealytics.clickhouse.schema.shortening import Shortening, shorten, what_shortening_deletes

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
