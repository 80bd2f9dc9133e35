"""`GET /api/v1/analytics/top`: most frequent values. `ENDPOINT` declares parameters and semantics."""

from typing import Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import FILTER_CHARS_MAX, Bind, Field, Selection
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query
from nealytics.timestamps import iso_utc

PARAMETERS = (
    Parameter(
        name="dimension",
        kind="field",
        choices=DIMENSIONS,
        default="event_type",
        chars_max=FILTER_CHARS_MAX,  # any key that a filter can name
        description="What is counted: one of these, or `meta:<path>`, a value of the metadata.",
    ),
    *SELECTION,
    limit_of("items", 20),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    dimension: Field
    selection: Selection
    limit: Limit


class Item(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    key: str
    tenant_id: str | None = None  # of a session or user, if the token opens the whole project
    count: int
    share: float
    users: int


class Top(Answer, kw_only=True):
    dimension: str
    from_: str = msgspec.field(name="from")
    to: str
    items: list[Item]


def parse(arguments: Arguments) -> Params:
    dimension = arguments.field("dimension")
    assert dimension is not None, "dimension has a default"
    return Params(dimension=dimension, selection=arguments.selection(), limit=arguments.limit())


def build_sql(params: Params) -> Query:
    bind = Bind()
    key = params.dimension.sql(bind)
    group = OF_A_TENANT.get(params.dimension.name, "key")
    each = (
        f"SELECT {'key' if group == 'key' else 'any(key)'} AS shown, any(tenant_id) AS tenant,"
        " count() AS event_count, uniqExact(user_key) AS users"
        f" FROM (SELECT {key} AS key, tenant_id, user_key, session_key FROM events"
        f" WHERE {params.selection.where(bind)}) WHERE key IS NOT NULL GROUP BY {group}"
    )
    return Query(
        f"SELECT shown, tenant, event_count, users, sum(event_count) OVER () AS total FROM ({each})"
        f" ORDER BY event_count DESC, shown, tenant LIMIT {bind(params.limit.count)}",
        bind.values,
    )


async def run(events: Events, params: Params) -> Top:
    by_tenant = events.scope.tenant_id is None and params.dimension.name in OF_A_TENANT
    return Top(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        dimension=str(params.dimension),
        from_=iso_utc(params.selection.from_ms),
        to=iso_utc(params.selection.to_ms),
        items=[_item(row, by_tenant) async for row in paced(await events.rows(build_sql(params)))],
    )


def _item(row: list[Any], by_tenant: bool) -> Item:
    key, tenant_id, event_count, users, total = row
    return Item(
        key=key,
        tenant_id=tenant_id if by_tenant else None,
        count=int(event_count),
        share=int(event_count) / int(total),
        users=int(users),
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/top",
    summary="Most frequent values of a field",
    description="""
        Returns the most frequent values of a field or of a metadata key in a time range.

        `count` is the number of events with this value, `share` their share of all events that have a
        value, including values beyond `limit`, and `users` the number of distinct users. Events without a
        value are left out. Items with equal counts are ordered by `key`.

        With a token of the whole project, sessions and users belong to a tenant: their items have the
        `tenantId`.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Top,
    example=Top(
        project_id="my-app",
        tenant_id="tenant-1",
        dimension="event_type",
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        items=[Item(key="purchase", count=28, share=0.07, users=19)],
    ),
)
