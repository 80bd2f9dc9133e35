"""`GET /api/v1/analytics/top`: a tenant's most frequent event types or items in a range of time.

    dimension    event_type or item_id; default event_type
    from, to     ISO 8601, inclusive; default the last `query.default_range_hours`
    limit        default 20

Events without an item are no item. Equal counts are ordered by key, so that the same question has the same
answer.
"""

from typing import Any

import msgspec

from nealytics.queries.params import Arguments, iso_utc
from nealytics.queries.ranges import IN_RANGE
from nealytics.queries.scoped import Endpoint, Events, Query

# What may be asked → its column.
DIMENSIONS = {"event_type": "event_type", "item_id": "item_id"}

LIMIT_DEFAULT = 20


class Params(msgspec.Struct, frozen=True, kw_only=True):
    dimension: str
    from_ms: int
    to_ms: int
    limit: int


class Item(msgspec.Struct, kw_only=True):
    key: str
    count: int


class Top(msgspec.Struct, rename="camel", kw_only=True):
    project_id: str
    tenant_id: str
    dimension: str
    from_: str = msgspec.field(name="from")
    to: str
    items: list[Item]


def parse(arguments: Arguments) -> Params:
    from_ms, to_ms = arguments.range_ms()
    return Params(
        dimension=arguments.choice("dimension", DIMENSIONS) or "event_type",
        from_ms=from_ms,
        to_ms=to_ms,
        limit=arguments.limit(LIMIT_DEFAULT),
    )


def build_sql(params: Params) -> Query:
    column = DIMENSIONS[params.dimension]
    return Query(
        # Leaves out NULL, and the empty item ids that the C# engine stored as a text.
        f"SELECT {column} AS key, count() AS event_count FROM events WHERE {IN_RANGE} AND {column} != ''"
        " GROUP BY key ORDER BY event_count DESC, key LIMIT {limit:UInt32}",
        {"from_ms": params.from_ms, "to_ms": params.to_ms, "limit": params.limit},
    )


async def run(events: Events, params: Params) -> Top:
    return Top(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        dimension=params.dimension,
        from_=iso_utc(params.from_ms),
        to=iso_utc(params.to_ms),
        items=[_item(row) for row in await events.rows(build_sql(params))],
    )


def _item(row: list[Any]) -> Item:
    key, event_count = row
    return Item(key=key, count=int(event_count))


ENDPOINT = Endpoint("/api/v1/analytics/top", parse, run)
