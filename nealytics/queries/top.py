"""`GET /api/v1/analytics/top`: a tenant's most frequent event types or items in a range of time.

    dimension    event_type or item_id; default event_type
    from, to     ISO 8601, inclusive; default the last `query.default_range_hours`
    limit        default 20

Events without an item are no item. Equal counts are ordered by key, so that the same question has the same
answer.
"""

from typing import Any

import msgspec

from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.instants import iso_utc
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query

# What may be asked → its column.
DIMENSIONS = {"event_type": "event_type", "item_id": "item_id"}

PARAMETERS = (
    Parameter(
        name="dimension",
        kind="choice",
        choices=tuple(DIMENSIONS),
        default="event_type",
        description="What is counted.",
    ),
    *SELECTION,
    limit_of("items", 20),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    dimension: str
    selection: Selection
    limit: Limit


class Item(msgspec.Struct, kw_only=True):
    key: str
    count: int


class Top(Answer, kw_only=True):
    dimension: str
    from_: str = msgspec.field(name="from")
    to: str
    items: list[Item]


def parse(arguments: Arguments) -> Params:
    return Params(
        dimension=arguments.chosen("dimension"),
        selection=arguments.selection(),
        limit=arguments.limit(),
    )


def build_sql(params: Params) -> Query:
    column = DIMENSIONS[params.dimension]
    bind = Bind()
    return Query(
        # Leaves out NULL, and the empty item ids that the C# engine stored as a text.
        f"SELECT {column} AS key, count() AS event_count FROM events"
        f" WHERE {params.selection.where(bind)} AND {column} != ''"
        f" GROUP BY key ORDER BY event_count DESC, key LIMIT {bind(params.limit.count)}",
        bind.values,
    )


async def run(events: Events, params: Params) -> Top:
    return Top(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        dimension=params.dimension,
        from_=iso_utc(params.selection.from_ms),
        to=iso_utc(params.selection.to_ms),
        items=[_item(row) for row in await events.rows(build_sql(params))],
    )


def _item(row: list[Any]) -> Item:
    key, event_count = row
    return Item(key=key, count=int(event_count))


ENDPOINT = Endpoint(
    path="/api/v1/analytics/top",
    summary="The most frequent event types or items",
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Top,
    example=Top(
        project_id="my-app",
        tenant_id="tenant-1",
        dimension="event_type",
        from_="2026-06-01T00:00:00Z",
        to="2026-06-08T00:00:00Z",
        items=[Item(key="purchase", count=28)],
    ),
)
