"""The table's name, and names and values as they stand in SQL."""

# The table that every read and insert names.
TABLE = "global_events"
# On a cluster, TABLE is a Distributed table over this one, which each shard has.
LOCAL_TABLE = "global_events_local"


def table_name(database: str, table: str = TABLE) -> str:
    return f"{identifier(database)}.{table}"


def quoted(value: str) -> str:
    """`value` as a string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
