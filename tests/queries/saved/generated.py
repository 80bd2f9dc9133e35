"""Generated SQL that tries to see more than its tenant: joins, subqueries, unions, and known escapes."""

import os
import random

CASES = int(os.environ.get("NEALYTICS_FUZZ", "200"))

_COLUMNS = ("tenant_id", "project_id", "session_id", "user_id", "event_type", "item_id", "metadata_json")
_CONDITIONS = (
    "1",
    "tenant_id = 'globex'",
    "tenant_id != 'acme'",
    "project_id IN ('shop', 'other')",
    "tenant_id = 'globex' OR 1",
    "NOT (tenant_id = 'acme')",
    "session_id LIKE '%globex%' OR session_id LIKE '%other%'",
    "tenant_id IN (SELECT tenant_id FROM events)",
    "tenant_id NOT IN (SELECT tenant_id FROM events WHERE project_id = 'other')",
    "length(tenant_id) > 0 AND event_type != ''",
    "EXISTS (SELECT 1 FROM events WHERE tenant_id = 'globex')",
    "tenant_id IN global_events",
    "tenant_id = getSetting('log_comment')",
)
_SOURCES = (
    "events",
    "events",
    "events",
    "nealytics_core.global_events",
    "global_events",
    "merge('nealytics_core', '.*')",
    "view(SELECT * FROM nealytics_core.global_events)",
    "loop(nealytics_core.global_events)",
    "remote('127.0.0.1', nealytics_core.global_events)",
    "mergeTreeIndex('nealytics_core', 'global_events')",
    "system.tables",
)
_ENDINGS = (
    *[""] * 8,
    " SETTINGS additional_table_filters = {}",
    " SETTINGS log_comment = '*.*.*'",
    " SETTINGS final = 0, readonly = 0",
    " FORMAT Native",
    " -- tenant_id",
    " /* SETTINGS */",
    "; SELECT * FROM events",
)
_AGGREGATES = (
    "count()",
    "groupUniqArray({})",
    "any({})",
    "argMax({}, timestamp)",
    "max({})",
    "topK(3)({})",
    "groupArrayIf({}, tenant_id != 'acme')",
    "arrayStringConcat(groupArray(assumeNotNull({})), ',')",
)


def statement(rng: random.Random) -> str:
    return _select(rng, 2, 1) + rng.choice(_ENDINGS)


def _select(rng: random.Random, depth: int, columns: int) -> str:
    kind = rng.random()
    if depth and kind < 0.12:
        both = rng.choice(("UNION ALL", "UNION DISTINCT", "EXCEPT", "INTERSECT"))
        return f"{_select(rng, depth - 1, columns)} {both} {_select(rng, depth - 1, columns)}"
    if depth and kind < 0.24:
        return f"WITH x AS ({_select(rng, depth - 1, columns)}) SELECT * FROM x"
    if depth and kind < 0.34:
        name = rng.choice(("e", "events", "global_events"))
        return f"SELECT * FROM ({_select(rng, depth - 1, columns)}) AS {name}"
    if kind < 0.46:
        on = rng.choice(("a.tenant_id != b.tenant_id", "a.project_id = b.project_id", "1 = 1"))
        join = rng.choice(("LEFT JOIN", "FULL JOIN", "INNER JOIN", "RIGHT JOIN"))
        value = f"toString(b.{rng.choice(_COLUMNS)})"
        return f"SELECT groupUniqArray({value}) AS c FROM events AS a {join} events AS b ON {on}"
    if kind < 0.54:
        inner = f"SELECT max({rng.choice(_COLUMNS)}) FROM events AS i WHERE i.tenant_id != o.tenant_id"
        return f"SELECT toString(({inner})) AS c FROM events AS o"
    column = rng.choice(_COLUMNS)
    value = rng.choice(_AGGREGATES).format(column) if rng.random() < 0.5 else column
    condition = " AND ".join(f"({rng.choice(_CONDITIONS)})" for _ in range(rng.randint(1, 2)))
    clause = rng.choice(("WHERE", "PREWHERE", "WHERE"))
    return f"SELECT toString({value}) AS c FROM {rng.choice(_SOURCES)} {clause} {condition}"
