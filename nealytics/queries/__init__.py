"""The read side: queries about the events of one scope.

One file per endpoint: its `PARAMETERS`, `parse` (query string → `Params`, or `Refused`), `build_sql` (pure),
the structs of its answer, and `ENDPOINT`, which binds them to a path. A new endpoint is one such file and one
line in `ENDPOINTS`; authentication, scope, limits, error answers, CORS, metrics and `/openapi.json` are
shared.

    query string ─ parse ─ Params ─ build_sql ─ Query ─┐
    token ─ auth.jwt ─ Scope ──────────────── Events ──┴─ ClickHouse ─ rows ─ answer

What is true of every endpoint, because it is done in one place:
  - it reads the relation `events`, which `scoped.Events` defines as the rows of one project and one tenant
    (`scoped.py`; no other file names the table)
  - a client's values are bound parameters (`filters.Bind`), never part of the SQL text; it chooses a column
  or
    a function by a name of a closed set (`Arguments.choice`), and the SQL is ours
  - duplicates are never seen: the client sends `final = 1` with every query (`clickhouse/settings.py`)
"""

from typing import Any

from nealytics.queries import (
    active,
    export,
    funnel,
    heatmap,
    live,
    paths,
    properties,
    retention,
    sessions,
    summary,
    timeline,
    timeseries,
    top,
)
from nealytics.queries.endpoint import Endpoint, Stream

ENDPOINTS: tuple[Endpoint[Any], ...] = (
    timeline.ENDPOINT,
    sessions.ENDPOINT,
    timeseries.ENDPOINT,
    active.ENDPOINT,
    top.ENDPOINT,
    summary.ENDPOINT,
    properties.ENDPOINT,
    funnel.ENDPOINT,
    retention.ENDPOINT,
    paths.ENDPOINT,
    heatmap.ENDPOINT,
)

# Routes with answers of unknown length. `http` serves each in its own way.
STREAMS: tuple[Stream, ...] = (live.STREAM, export.STREAM)
