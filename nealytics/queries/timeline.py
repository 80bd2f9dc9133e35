"""`GET /api/v1/telemetry/timeline`: a tenant's events, newest first.

    limit                    default 100
    before                   ISO 8601; only events strictly older: the last timestamp of the page before
    eventType, sessionId, itemId
                             exact
    metaKey and metaValue    events whose metadata has that text under that key (both, or neither counts)

Events of the same millisecond are ordered by `eventId`, so that the same question has the same answer.
"""

from typing import Any

import msgspec

from nealytics.queries.params import ITEM_ID_CHARS_MAX, Arguments, iso_utc
from nealytics.queries.scoped import Endpoint, Events, Param, Query


class Params(msgspec.Struct, frozen=True, kw_only=True):
    limit: int
    before_ms: int | None = None
    event_type: str | None = None
    session_id: str | None = None
    item_id: str | None = None
    meta_key: str | None = None
    meta_value: str | None = None


class TimelineEvent(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    event_id: str
    session_id: str
    user_id: str | None = None
    event_type: str
    item_id: str | None = None
    metadata_json: str
    timestamp: str


class Timeline(msgspec.Struct, rename="camel", kw_only=True):
    project_id: str
    tenant_id: str
    events: list[TimelineEvent]


def parse(arguments: Arguments) -> Params:
    meta_key = arguments.text("metaKey")
    meta_value = arguments.text("metaValue")
    if meta_key is None or meta_value is None:
        meta_key = meta_value = None
    return Params(
        limit=arguments.limit(),
        before_ms=arguments.instant("before", round_up=True),
        event_type=arguments.text("eventType"),
        session_id=arguments.text("sessionId"),
        item_id=arguments.text("itemId", ITEM_ID_CHARS_MAX),
        meta_key=meta_key,
        meta_value=meta_value,
    )


def build_sql(params: Params) -> Query:
    where: list[str] = []
    bound: dict[str, Param] = {"limit": params.limit}
    if params.before_ms is not None:
        where.append("timestamp < fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC')")
        bound["before_ms"] = params.before_ms
    for column, value in (
        ("event_type", params.event_type),
        ("session_id", params.session_id),
        ("item_id", params.item_id),
    ):
        if value is not None:
            where.append(f"{column} = {{{column}:String}}")
            bound[column] = value
    if params.meta_key is not None and params.meta_value is not None:
        where.append("JSONExtractString(metadata_json, {meta_key:String}) = {meta_value:String}")
        bound |= {"meta_key": params.meta_key, "meta_value": params.meta_value}
    return Query(
        "SELECT event_id, session_id, user_id, event_type, item_id, metadata_json,"
        " toUnixTimestamp64Milli(timestamp)"
        " FROM events"
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + " ORDER BY timestamp DESC, event_id DESC LIMIT {limit:UInt32}",
        bound,
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


ENDPOINT = Endpoint("/api/v1/telemetry/timeline", parse, run)
