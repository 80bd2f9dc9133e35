"""The table: how it is created, brought up to date, and checked at start.

    definition.py   columns, keys, settings; the statements that create the table
    reading.py      the table that is there, as ClickHouse describes it
    planning.py     what brings it up to date (pure): the part to read first
    applying.py     does that
    probing.py      checks that the table keeps events exactly once; changes nothing

`apply` may be run by several workers and nodes at the same time, and again and again: it looks at what is
there, does what is missing, and when another was faster, looks again. It never drops or rewrites events.
"""

from nealytics.clickhouse.schema.applying import apply
from nealytics.clickhouse.schema.definition import (
    COLUMNS,
    DEDUPLICATION_WINDOW,
    INDEXES,
    LOCAL_TABLE,
    PARTITION_KEY,
    SORTING_KEY,
    TABLE,
    create_statements,
    insert_sql,
    table_name,
)
from nealytics.clickhouse.schema.planning import Plan, plan, plan_cluster, wanted_settings
from nealytics.clickhouse.schema.probing import probe
from nealytics.clickhouse.schema.reading import Table, read_table

__all__ = [
    "COLUMNS",
    "DEDUPLICATION_WINDOW",
    "INDEXES",
    "LOCAL_TABLE",
    "PARTITION_KEY",
    "SORTING_KEY",
    "TABLE",
    "Plan",
    "Table",
    "apply",
    "create_statements",
    "insert_sql",
    "plan",
    "plan_cluster",
    "probe",
    "read_table",
    "table_name",
    "wanted_settings",
]
