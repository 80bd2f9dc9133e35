"""`GET /api/v1/analytics/top`: most frequent values. `ENDPOINT` declares parameters and semantics."""

from typing import Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.comparison import NAMES, compared_range
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.endpoint import EXAMPLE_SCOPE, Answer, Endpoint, of_range, of_scope
from nealytics.queries.filters import FILTER_CHARS_MAX, Bind, Field, Selection
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN

# Choice → its column.
ORDERS = {"-count": "events", "-users": "users", "-sessions": "sessions"}
_COUNTS = tuple(ORDERS.values())

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
    Parameter(
        name="order",
        kind="choice",
        choices=tuple(ORDERS),
        default="-count",
        description="What the items are ordered by, the greatest first. `-sessions` implies `sessions=true`.",
    ),
    Parameter(
        name="sessions",
        kind="flag",
        description="Whether each item has its number of sessions.",
    ),
    Parameter(
        name="compare",
        kind="comparison",
        choices=NAMES,
        description="Each item also has its numbers in this range, as in `summary`. Default: no comparison.",
        example="previous_month",
    ),
    limit_of("items", 20),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    dimension: Field
    selection: Selection
    order: str = "-count"
    sessions: bool = False
    compared: Selection | None = None
    limit: Limit


class Counts(msgspec.Struct, omit_defaults=True, kw_only=True):
    count: int
    users: int
    sessions: int | None = None  # if they were asked for


class Range(msgspec.Struct, kw_only=True):
    from_: str = msgspec.field(name="from")
    to: str


class Item(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    key: str
    tenant_id: str | None = None  # of a session or user, if the token opens the whole project
    count: int
    share: float
    users: int
    sessions: int | None = None  # if they were asked for
    previous: Counts | None = None  # with a comparison


class Top(Answer, kw_only=True):
    dimension: str
    from_: str = msgspec.field(name="from")
    to: str
    previous: Range | None = None  # with a comparison
    items: list[Item]


def parse(arguments: Arguments) -> Params:
    dimension = arguments.field("dimension")
    assert dimension is not None, "dimension has a default"
    selection, order = arguments.selection(), arguments.choice("order")
    return Params(
        dimension=dimension,
        selection=selection,
        order=order,
        sessions=arguments.flag("sessions") or order == "-sessions",
        compared=_compared(arguments, selection),
        limit=arguments.limit(),
    )


def _compared(arguments: Arguments, selection: Selection) -> Selection | None:
    compare = arguments.text("compare")
    if compare is None:
        return None
    from_ms, to_ms = compared_range(compare.strip(), selection.from_ms, selection.to_ms, arguments.zone())
    if arguments.closed:
        arguments.until_ms = max(selection.to_ms, to_ms)
    return msgspec.structs.replace(selection, from_ms=from_ms, to_ms=to_ms)


def build_sql(params: Params) -> Query:
    """A row for each item: what it is, its counts, those of the compared range, and the sum of all events."""
    bind = Bind()
    now, before = (", ".join(f"{prefix}_{name}" for name in _COUNTS) for prefix in ("now", "before"))
    if params.compared is None:
        zeros = ", ".join(f"0 AS before_{name}" for name in _COUNTS)
        each = f"SELECT item, tenant, {now}, {zeros} FROM ({_range_sql(params, params.selection, bind)})"
    else:
        each = _both_sql(params, params.compared, bind)
    order = ", ".join(f"{prefix}_{ORDERS[params.order]} DESC" for prefix in ("now", "before"))
    return Query(
        f"SELECT item, tenant, {now}, {before}, sum(now_events) OVER () AS total FROM ({each})"
        f" ORDER BY {order}, item, tenant LIMIT {bind(params.limit.count)}",
        bind.values,
    )


def _both_sql(params: Params, compared: Selection, bind: Bind) -> str:
    """Each range is read by itself, for they may be far apart or overlap. What occurs in one of them only has
    zeros for the other."""
    sides = (
        f"SELECT {is_now} AS is_now, * FROM ({_range_sql(params, selection, bind)})"
        for is_now, selection in ((1, params.selection), (0, compared))
    )
    counts = ", ".join(
        f"sumIf(now_{name}, is_now = {is_now}) AS {prefix}_{name}"
        for is_now, prefix in ((1, "of_now"), (0, "before"))
        for name in _COUNTS
    )
    both = " UNION ALL ".join(sides)
    merged = f"SELECT any(item) AS item, any(tenant) AS tenant, {counts} FROM ({both}) GROUP BY id"
    renamed = ", ".join(f"of_now_{name} AS now_{name}, before_{name}" for name in _COUNTS)
    return f"SELECT item, tenant, {renamed} FROM ({merged})"


def _range_sql(params: Params, selection: Selection, bind: Bind) -> str:
    # There are no times, and no events, before 1900.
    within = msgspec.structs.replace(selection, from_ms=max(selection.from_ms, TIMESTAMP_MS_MIN))
    key = params.dimension.sql(bind)
    group = OF_A_TENANT.get(params.dimension.name, "key")
    return (
        f"SELECT {group} AS id, {'key' if group == 'key' else 'any(key)'} AS item, any(tenant_id) AS tenant,"
        " count() AS now_events, uniqExact(user_key) AS now_users,"
        f" {'uniqExact(session_key)' if params.sessions else '0'} AS now_sessions"
        f" FROM (SELECT {key} AS key, tenant_id, user_key, session_key FROM events"
        f" WHERE {within.where(bind)}) WHERE key IS NOT NULL GROUP BY {group}"
    )


async def run(events: Events, params: Params) -> Top:
    by_tenant = events.scope.tenant_id is None and params.dimension.name in OF_A_TENANT
    return Top(
        **of_scope(events),
        dimension=str(params.dimension),
        **of_range(params.selection),
        previous=_range(params.compared),
        items=[_item(row, params, by_tenant) async for row in paced(await events.rows(build_sql(params)))],
    )


def _range(compared: Selection | None) -> Range | None:
    return Range(**of_range(compared)) if compared else None


def _item(row: list[Any], params: Params, by_tenant: bool) -> Item:
    key, tenant_id, *counts, total = row
    now, before = (_counts(counts[:3], params.sessions), _counts(counts[3:], params.sessions))
    return Item(
        key=key,
        tenant_id=tenant_id if by_tenant else None,
        count=now.count,
        share=now.count / (int(total) or 1),
        users=now.users,
        sessions=now.sessions,
        previous=before if params.compared else None,
    )


def _counts(row: list[Any], sessions: bool) -> Counts:
    return Counts(count=int(row[0]), users=int(row[1]), sessions=int(row[2]) if sessions else None)


ENDPOINT = Endpoint(
    path="/api/v1/analytics/top",
    summary="Most frequent values of a field",
    description="""
        Returns the most frequent values of a field or of a metadata key in a time range.

        `count` is the number of events with this value, `share` their share of all events that have a
        value, including values beyond `limit`, and `users` the number of distinct users. Events without a
        value are left out. With `sessions=true`, `sessions` is the number of distinct sessions. Items are
        ordered by `count`, or as `order` says; equal ones by `key`.

        With `compare`, `previous` of each item has its numbers in the compared range, and `previous` beside
        `items` that range. Values that occur only there are items with a `count` of 0.

        With a token of the whole project, sessions and users belong to a tenant: their items have the
        `tenantId`.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Top,
    example=Top(
        **EXAMPLE_SCOPE,
        dimension="event_type",
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        items=[Item(key="purchase", count=28, share=0.07, users=19)],
    ),
)
