"""`GET /api/v1/analytics/active`: how many users or sessions of a tenant were active, by day or month,
oldest first.

    interval    day or month; default day
    by          user or session; default user
    mode        exact, or approx: an estimate with less memory; default exact
    from, to    ISO 8601, inclusive; default the last `query.default_range_hours`
    limit       of points; default the maximum

Only events within the range count, also in a month that the range cuts. An event without a user is no user:
a day that has only such events has a point that says 0, a day without events has no point. Who is active on
two days is counted on both, so the days do not add up to the month.
"""

from typing import Any

import msgspec

from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.instants import iso_utc
from nealytics.queries.params import KEY_OF, SELECTION, Arguments, Limit, Parameter, by_of, limit_of
from nealytics.queries.ranges import bucket_ms
from nealytics.queries.scoped import Events, Query

INTERVALS = ("day", "month")

# What may be asked → its SQL. NULL is not counted by either function.
COUNT = {"exact": "uniqExact", "approx": "uniq"}

PARAMETERS = (
    Parameter(
        name="interval", kind="choice", choices=INTERVALS, default="day", description="Width of a bucket."
    ),
    by_of("user"),
    Parameter(
        name="mode",
        kind="choice",
        choices=tuple(COUNT),
        default="exact",
        description="`approx` is an estimate that needs less memory.",
    ),
    *SELECTION,
    limit_of("points", None),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    by: str
    mode: str
    selection: Selection
    limit: Limit


class Point(msgspec.Struct, rename="camel", kw_only=True):
    bucket: str
    active_count: int


class Active(Answer, kw_only=True):
    interval: str
    by: str
    mode: str
    from_: str = msgspec.field(name="from")
    to: str
    points: list[Point]


def parse(arguments: Arguments) -> Params:
    return Params(
        interval=arguments.chosen("interval"),
        by=arguments.chosen("by"),
        mode=arguments.chosen("mode"),
        selection=arguments.selection(),
        limit=arguments.limit(),
    )


def build_sql(params: Params) -> Query:
    bind = Bind()
    selection = params.selection
    bucket = bucket_ms(params.interval, None, bind, selection.from_ms, selection.to_ms)
    return Query(
        f"SELECT {bucket} AS bucket_ms,"
        f" {COUNT[params.mode]}({KEY_OF[params.by]}) AS active_count"
        f" FROM events WHERE {params.selection.where(bind)}"
        f" GROUP BY bucket_ms ORDER BY bucket_ms LIMIT {bind(params.limit.count + 1)}",
        bind.values,
    )


async def run(events: Events, params: Params) -> Active:
    found = await events.rows(build_sql(params))
    warnings = params.limit.cut(found, "points")
    return Active(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        warnings=warnings,
        interval=params.interval,
        by=params.by,
        mode=params.mode,
        from_=iso_utc(params.selection.from_ms),
        to=iso_utc(params.selection.to_ms),
        points=[_point(row) for row in found],
    )


def _point(row: list[Any]) -> Point:
    bucket_ms, active_count = row
    return Point(bucket=iso_utc(int(bucket_ms)), active_count=int(active_count))


ENDPOINT = Endpoint(
    path="/api/v1/analytics/active",
    summary="How many users or sessions were active",
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Active,
    example=Active(
        project_id="my-app",
        tenant_id="tenant-1",
        interval="day",
        by="user",
        mode="exact",
        from_="2026-06-01T00:00:00Z",
        to="2026-06-08T00:00:00Z",
        points=[Point(bucket="2026-06-01T00:00:00Z", active_count=7)],
    ),
)
