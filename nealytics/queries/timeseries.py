"""`GET /api/v1/analytics/timeseries`: how many events a tenant had in each interval of a range, oldest first.

    interval     minute, hour or day; default hour
    from, to     ISO 8601, inclusive; default the last `query.default_range_hours`
    eventType    exact
    groupBy      event_type, item_id or session_id; then there is one point per interval and value
    limit        of points; default the maximum

An interval without events has no point. With `groupBy=item_id`, events without an item are the last point of
their interval, one without `series`. The total is over the points returned, not over those that `limit` cut
off.
"""

from typing import Any

import msgspec

from nealytics.queries.params import Arguments, iso_utc
from nealytics.queries.ranges import IN_RANGE, bucket_ms
from nealytics.queries.scoped import Endpoint, Events, Param, Query

INTERVALS = ("minute", "hour", "day")

# What `groupBy` may be → its SQL. The C# engine stored an empty item id as a text; it counts as none.
SERIES = {"event_type": "event_type", "item_id": "nullIf(item_id, '')", "session_id": "session_id"}


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    from_ms: int
    to_ms: int
    event_type: str | None = None
    group_by: str | None = None
    limit: int


class Point(msgspec.Struct, omit_defaults=True, kw_only=True):
    bucket: str
    series: str | None = None
    count: int


class TimeSeries(msgspec.Struct, rename="camel", kw_only=True):
    project_id: str
    tenant_id: str
    interval: str
    from_: str = msgspec.field(name="from")
    to: str
    total_count: int
    points: list[Point]


def parse(arguments: Arguments) -> Params:
    from_ms, to_ms = arguments.range_ms()
    return Params(
        interval=arguments.choice("interval", INTERVALS) or "hour",
        from_ms=from_ms,
        to_ms=to_ms,
        event_type=arguments.text("eventType"),
        group_by=arguments.choice("groupBy", SERIES),
        limit=arguments.limit(default=None),
    )


def build_sql(params: Params) -> Query:
    select = f"{bucket_ms(params.interval)} AS bucket_ms, count() AS event_count"
    group = "bucket_ms"
    where = IN_RANGE
    bound: dict[str, Param] = {"from_ms": params.from_ms, "to_ms": params.to_ms, "limit": params.limit}
    if params.group_by is not None:
        select += f", {SERIES[params.group_by]} AS series"
        group += ", series"
    if params.event_type is not None:
        where += " AND event_type = {event_type:String}"
        bound["event_type"] = params.event_type
    return Query(
        f"SELECT {select} FROM events WHERE {where} GROUP BY {group} ORDER BY {group} LIMIT {{limit:UInt32}}",
        bound,
    )


async def run(events: Events, params: Params) -> TimeSeries:
    points = [_point(row) for row in await events.rows(build_sql(params))]
    return TimeSeries(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        interval=params.interval,
        from_=iso_utc(params.from_ms),
        to=iso_utc(params.to_ms),
        total_count=sum(point.count for point in points),
        points=points,
    )


def _point(row: list[Any]) -> Point:
    bucket_ms, event_count, *series = row
    return Point(bucket=iso_utc(int(bucket_ms)), series=series[0] if series else None, count=int(event_count))


ENDPOINT = Endpoint("/api/v1/analytics/timeseries", parse, run)
