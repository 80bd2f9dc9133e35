"""`GET /api/v1/telemetry/timeline`: a tenant's events, newest first.

    limit      default 100
    before     ISO 8601; only events strictly older
    filters    as everywhere (`filters.py`)

Events of the same millisecond are ordered by `eventId`, so that the same question has the same answer.
"""

from typing import Any

import msgspec

from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import Bind, Filter, instant
from nealytics.queries.instants import iso_utc
from nealytics.queries.params import FILTERS, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query

PARAMETERS = (
    limit_of("events"),
    Parameter(name="before", kind="instant", description="Only events strictly older than this instant."),
    *FILTERS,
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    limit: Limit
    before_ms: int | None = None
    filters: tuple[Filter, ...] = ()


class TimelineEvent(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    event_id: str
    session_id: str
    user_id: str | None = None
    event_type: str
    item_id: str | None = None
    metadata_json: str
    timestamp: str


class Timeline(Answer, kw_only=True):
    events: list[TimelineEvent]


def parse(arguments: Arguments) -> Params:
    before_ms = arguments.instant("before", round_up=True)
    arguments.until(before_ms)
    return Params(limit=arguments.limit(), before_ms=before_ms, filters=arguments.filters())


def build_sql(params: Params) -> Query:
    bind = Bind()
    where = [filter_.sql(bind) for filter_ in params.filters]
    if params.before_ms is not None:
        where.append(f"timestamp < {instant(params.before_ms, bind)}")
    return Query(
        "SELECT event_id, session_id, user_id, event_type, item_id, metadata_json,"
        f" toUnixTimestamp64Milli(timestamp) FROM events WHERE {' AND '.join(where) or 1}"
        f" ORDER BY timestamp DESC, event_id DESC LIMIT {bind(params.limit.count)}",
        bind.values,
    )


async def run(events: Events, params: Params) -> Timeline:
    return Timeline(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        events=[_event(row) for row in await events.rows(build_sql(params))],
    )


def _event(row: list[Any]) -> TimelineEvent:
    event_id, session_id, user_id, event_type, item_id, metadata_json, timestamp_ms = row
    return TimelineEvent(
        event_id=event_id,
        session_id=session_id,
        user_id=user_id,
        event_type=event_type,
        item_id=item_id,
        metadata_json=metadata_json,
        timestamp=iso_utc(int(timestamp_ms)),
    )


ENDPOINT = Endpoint(
    path="/api/v1/telemetry/timeline",
    summary="Events, newest first",
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Timeline,
    example=Timeline(
        project_id="my-app",
        tenant_id="tenant-1",
        events=[
            TimelineEvent(
                event_id="0190163d-8694-739b-aea5-966c26f8ad91",
                session_id="abc-123",
                user_id="ada",
                event_type="purchase",
                item_id="/shop",
                metadata_json='{"plan":"pro"}',
                timestamp="2026-06-15T10:30:00.123Z",
            )
        ],
    ),
)
