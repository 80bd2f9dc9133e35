"""What a request carries beside its SQL: settings, and parameters bound to the query. Pure.

An insert sends the same settings at every attempt, and a read the same settings at every server: what a
server profile says must not change how a batch is cut into blocks, or what a query answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from nealytics.config import ClickHouseConfig

Param = str | int | float | Sequence[str] | Sequence[int]
Setting = str | int

# Sent with every insert. Deduplication works by block, so a retry must be cut into blocks exactly as the
# first attempt was. The sizes are ClickHouse's defaults, pinned because a server profile may have changed
# them between two attempts. A batch is smaller, so it is one block, and a block is inserted whole or not at
# all.
INSERT_SETTINGS: dict[str, Setting] = {
    "async_insert": 0,
    "max_insert_block_size": 1_048_449,
    "min_insert_block_size_rows": 1_048_449,
    "min_insert_block_size_bytes": 268_402_944,
    "input_format_parallel_parsing": 0,
    "max_insert_threads": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # A batch may contain many months; refusing it for that would look like endless overload.
    "max_partitions_per_insert_block": 0,
    # "break" in a profile ends an insert that takes too long as if its rows ended there, with success.
    "timeout_overflow_mode": "throw",
    "wait_end_of_query": 1,
}

# Added where there are replicas. clickhouse-init-cluster.sql has the reasons.
_REPLICATED_INSERT_SETTINGS: dict[str, Setting] = {
    "distributed_foreground_insert": 1,
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",  # replaces insert_deduplicate since 26.2
    "insert_quorum_parallel": 1,
}

# Sent with every read.
READ_SETTINGS: dict[str, Setting] = {
    "readonly": 2,  # 1 would forbid the settings of this very request
    "final": 1,  # an event that was inserted twice is returned once, before any merge
    # Copies of an event carry the same timestamp, so they are in the same partition; comparing partitions
    # only costs time.
    "do_not_merge_across_partitions_select_final": 1,
    # With `final`, an index must not skip a granule that contains a copy of a matching event. Where copies
    # may differ in the indexed column, `queries.filters.where` ensures that, at a lower cost than
    # ClickHouse's exact mode, which reads nearly everything again.
    "use_skip_indexes_if_final": 1,
    "use_skip_indexes_if_final_exact_mode": 0,
    # An error after the first rows would otherwise arrive as a short answer with status 200.
    "wait_end_of_query": 1,
    # Stop the query when the client has gone.
    "cancel_http_readonly_queries_on_client_close": 1,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_denormals": 0,
    # ClickHouse's defaults, pinned because other values in a server profile change the answer of the same
    # SQL: cut off, stale, or with NULLs that the data does not have.
    "limit": 0,
    "offset": 0,
    "use_query_cache": 0,
    "transform_null_in": 0,
    "aggregate_functions_null_for_empty": 0,
    "enable_global_with_statement": 1,
}

# An answer is never cut off at a limit: it is an error.
NO_PARTIAL_ANSWER: dict[str, Setting] = {
    "read_overflow_mode": "throw",
    "result_overflow_mode": "throw",
    "timeout_overflow_mode": "throw",
    "group_by_overflow_mode": "throw",
    "sort_overflow_mode": "throw",
    "distinct_overflow_mode": "throw",
    "join_overflow_mode": "throw",
    "set_overflow_mode": "throw",
}

# Of the SQL of a read. Each user whose erasure waits is some 85 bytes of it.
SQL_BYTES_MAX = 64 * 1024 * 1024

# Added to every read of a cluster.
_CLUSTER_READ_SETTINGS: dict[str, Setting] = {
    # A shard that is down must cause an error; skipped, as a server profile may say, it causes wrong numbers.
    "skip_unavailable_shards": 0,
    # A subquery over all shards within another one runs once, for all of them. By default it is refused.
    "distributed_product_mode": "global",
    "distributed_group_by_no_merge": 0,
}

# Parameters of the HTTP interface itself. Every server knows them, though system.settings does not list them.
_INTERFACE_PARAMETERS = frozenset({"wait_end_of_query"})


def insert_settings(config: ClickHouseConfig, *, replicas: bool) -> dict[str, Setting]:
    if not replicas:
        return dict(INSERT_SETTINGS)
    return {
        **INSERT_SETTINGS,
        **_REPLICATED_INSERT_SETTINGS,
        "insert_quorum": config.insert_quorum or "auto",
        # 80 % of our own timeout: then the reason is ClickHouse's answer.
        "insert_quorum_timeout": max(1, int(config.insert_timeout_s * 800)),
    }


def read_settings(config: ClickHouseConfig) -> dict[str, Setting]:
    return {
        **READ_SETTINGS,
        **time_limit(config.query_timeout_s),
        **(_CLUSTER_READ_SETTINGS if config.cluster else {}),
    }


def time_limit(seconds: float) -> dict[str, Setting]:
    """Makes the server give up when we do, so it does not work for a client that has gone."""
    return {"max_execution_time": max(1, int(seconds))}


def checkable(names: Iterable[str]) -> list[str]:
    """Those of `names` that `system.settings` lists on a server that knows them."""
    return sorted(set(names) - _INTERFACE_PARAMETERS)


def known_settings_sql(names: Iterable[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"SELECT name FROM system.settings WHERE name IN ({listed}) FORMAT JSONCompact"


class _Answer(msgspec.Struct):
    data: list[list[Any]]


def unknown_settings(names: Iterable[str], answer: str) -> frozenset[str]:
    """Those of `names` that the server does not know, by its `answer` to `known_settings_sql`.

    Raises `ValueError` if the answer cannot be true.
    """
    try:
        known = {name for (name,) in msgspec.json.decode(answer, type=_Answer).data}
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"system.settings cannot be read: {error}") from error
    if not known:
        # No server is like that. Without its settings an insert might be split or queued in any way.
        raise ValueError("system.settings shows none of our settings")
    return frozenset(names) - known


def bound(params: Mapping[str, Param]) -> dict[str, str]:
    """`params` as the HTTP interface takes them; the SQL refers to each as `{name:Type}`."""
    return {f"param_{name}": escaped(value) for name, value in params.items()}


def escaped(value: Param) -> str:
    """A parameter's value as ClickHouse reads it from `param_<name>`.

    ClickHouse unescapes it (`a\\b` would become a, backspace), and a tab or a line feed would end the value.
    A sequence is written as an array of numbers or of quoted strings; quotes within the strings are escaped
    too.
    """
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return "[" + ",".join(map(_escaped_item, value)) + "]"


def _escaped_item(item: str | int) -> str:
    return f"'{item.translate(_QUOTED_ESCAPES)}'" if isinstance(item, str) else str(item)


_ESCAPES = str.maketrans(
    {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0", "\b": r"\b", "\f": r"\f"}
)
_QUOTED_ESCAPES = {**_ESCAPES, ord("'"): r"\'"}
