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

from nealytics.queries.params import Arguments, iso_utc
from nealytics.queries.ranges import IN_RANGE, bucket_ms
from nealytics.queries.scoped import Endpoint, Events, Query

INTERVALS = ("day", "month")

# What may be asked → its SQL. The C# engine stored an empty user id as a text; it counts as none. NULL is not
# counted by either function.
WHO = {"user": "nullIf(user_id, '')", "session": "session_id"}
COUNT = {"exact": "uniqExact", "approx": "uniq"}


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    by: str
    mode: str
    from_ms: int
    to_ms: int
    limit: int


class Point(msgspec.Struct, rename="camel", kw_only=True):
    bucket: str
    active_count: int


class Active(msgspec.Struct, rename="camel", kw_only=True):
    project_id: str
    tenant_id: str
    interval: str
    by: str
    mode: str
    from_: str = msgspec.field(name="from")
    to: str
    points: list[Point]


def parse(arguments: Arguments) -> Params:
    from_ms, to_ms = arguments.range_ms()
    return Params(
        interval=arguments.choice("interval", INTERVALS) or "day",
        by=arguments.choice("by", WHO) or "user",
        mode=arguments.choice("mode", COUNT) or "exact",
        from_ms=from_ms,
        to_ms=to_ms,
        limit=arguments.limit(default=None),
    )


def build_sql(params: Params) -> Query:
    return Query(
        f"SELECT {bucket_ms(params.interval)} AS bucket_ms,"
        f" {COUNT[params.mode]}({WHO[params.by]}) AS active_count"
        f" FROM events WHERE {IN_RANGE}"
        " GROUP BY bucket_ms ORDER BY bucket_ms LIMIT {limit:UInt32}",
        {"from_ms": params.from_ms, "to_ms": params.to_ms, "limit": params.limit},
    )


async def run(events: Events, params: Params) -> Active:
    return Active(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        interval=params.interval,
        by=params.by,
        mode=params.mode,
        from_=iso_utc(params.from_ms),
        to=iso_utc(params.to_ms),
        points=[_point(row) for row in await events.rows(build_sql(params))],
    )


def _point(row: list[Any]) -> Point:
    bucket_ms, active_count = row
    return Point(bucket=iso_utc(int(bucket_ms)), active_count=int(active_count))


ENDPOINT = Endpoint("/api/v1/analytics/active", parse, run)
