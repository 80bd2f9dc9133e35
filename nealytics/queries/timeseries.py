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

from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.instants import iso_utc
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.ranges import bucket_ms
from nealytics.queries.scoped import Events, Query

INTERVALS = ("minute", "hour", "day")

# What `groupBy` may be → its SQL. The C# engine stored an empty item id as a text; it counts as none.
SERIES = {"event_type": "event_type", "item_id": "nullIf(item_id, '')", "session_id": "session_id"}

PARAMETERS = (
    Parameter(
        name="interval", kind="choice", choices=INTERVALS, default="hour", description="Width of a bucket."
    ),
    *SELECTION,
    Parameter(
        name="groupBy",
        kind="choice",
        choices=tuple(SERIES),
        description="One point per interval and value of this, with the value as `series`.",
    ),
    limit_of("points", None),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    selection: Selection
    group_by: str | None = None
    limit: Limit


class Point(msgspec.Struct, omit_defaults=True, kw_only=True):
    bucket: str
    series: str | None = None
    count: int


class TimeSeries(Answer, kw_only=True):
    interval: str
    from_: str = msgspec.field(name="from")
    to: str
    total_count: int
    points: list[Point]


def parse(arguments: Arguments) -> Params:
    return Params(
        interval=arguments.chosen("interval"),
        selection=arguments.selection(),
        group_by=arguments.choice("groupBy"),
        limit=arguments.limit(),
    )


def build_sql(params: Params) -> Query:
    bind = Bind()
    selection = params.selection
    bucket = bucket_ms(params.interval, None, bind, selection.from_ms, selection.to_ms)
    select = f"{bucket} AS bucket_ms, count() AS event_count"
    group = "bucket_ms"
    where = params.selection.where(bind)
    if params.group_by is not None:
        select += f", {SERIES[params.group_by]} AS series"
        group += ", series"
    return Query(
        f"SELECT {select} FROM events WHERE {where} GROUP BY {group} ORDER BY {group}"
        f" LIMIT {bind(params.limit.count + 1)}",
        bind.values,
    )


async def run(events: Events, params: Params) -> TimeSeries:
    found = await events.rows(build_sql(params))
    warnings = params.limit.cut(found, "points")
    points = [_point(row) for row in found]
    return TimeSeries(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        warnings=warnings,
        interval=params.interval,
        from_=iso_utc(params.selection.from_ms),
        to=iso_utc(params.selection.to_ms),
        total_count=sum(point.count for point in points),
        points=points,
    )


def _point(row: list[Any]) -> Point:
    bucket_ms, event_count, *series = row
    return Point(bucket=iso_utc(int(bucket_ms)), series=series[0] if series else None, count=int(event_count))


ENDPOINT = Endpoint(
    path="/api/v1/analytics/timeseries",
    summary="How many events there were in each interval",
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=TimeSeries,
    example=TimeSeries(
        project_id="my-app",
        tenant_id="tenant-1",
        interval="day",
        from_="2026-06-01T00:00:00Z",
        to="2026-06-08T00:00:00Z",
        total_count=28,
        points=[Point(bucket="2026-06-01T00:00:00Z", series="purchase", count=28)],
    ),
)
