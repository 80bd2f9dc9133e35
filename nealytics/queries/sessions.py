"""`GET /api/v1/analytics/sessions`: what each session of a tenant did in a range of time, latest start first.

    from, to    ISO 8601, inclusive; default the last `query.default_range_hours`
    limit       default 100

A session is what carries one `sessionId`; only its events within the range count. The summary is over the
sessions returned, not over those that `limit` cut off.
"""

from typing import Any

import msgspec

from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.instants import iso_utc
from nealytics.queries.params import SELECTION, Arguments, Limit, limit_of
from nealytics.queries.scoped import Events, Query

PARAMETERS = (*SELECTION, limit_of("sessions"))


class Params(msgspec.Struct, frozen=True, kw_only=True):
    selection: Selection
    limit: Limit


class Session(msgspec.Struct, rename="camel", kw_only=True):
    session_id: str
    first_seen: str
    last_seen: str
    duration_seconds: float
    event_count: int


class Sessions(Answer, kw_only=True):
    unique_session_count: int
    total_event_count: int
    avg_duration_seconds: float
    sessions: list[Session]


def parse(arguments: Arguments) -> Params:
    return Params(selection=arguments.selection(), limit=arguments.limit())


def build_sql(params: Params) -> Query:
    bind = Bind()
    return Query(
        "SELECT session_id, toUnixTimestamp64Milli(min(timestamp)) AS first_seen_ms,"
        " toUnixTimestamp64Milli(max(timestamp)) AS last_seen_ms, count() AS event_count"
        f" FROM events WHERE {params.selection.where(bind)}"
        " GROUP BY session_id"
        f" ORDER BY first_seen_ms DESC, session_id LIMIT {bind(params.limit.count)}",
        bind.values,
    )


async def run(events: Events, params: Params) -> Sessions:
    sessions = [_session(row) for row in await events.rows(build_sql(params))]
    count = len(sessions)
    return Sessions(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        unique_session_count=count,
        total_event_count=sum(session.event_count for session in sessions),
        avg_duration_seconds=sum(session.duration_seconds for session in sessions) / count if count else 0.0,
        sessions=sessions,
    )


def _session(row: list[Any]) -> Session:
    session_id, first_seen_ms, last_seen_ms, event_count = row
    first_seen_ms, last_seen_ms = int(first_seen_ms), int(last_seen_ms)
    return Session(
        session_id=session_id,
        first_seen=iso_utc(first_seen_ms),
        last_seen=iso_utc(last_seen_ms),
        duration_seconds=(last_seen_ms - first_seen_ms) / 1000,
        event_count=int(event_count),
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/sessions",
    summary="What each session did",
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Sessions,
    example=Sessions(
        project_id="my-app",
        tenant_id="tenant-1",
        unique_session_count=1,
        total_event_count=28,
        avg_duration_seconds=930.5,
        sessions=[
            Session(
                session_id="abc-123",
                first_seen="2026-06-15T10:30:00Z",
                last_seen="2026-06-15T10:45:30.5Z",
                duration_seconds=930.5,
                event_count=28,
            )
        ],
    ),
)
