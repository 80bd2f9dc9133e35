"""`GET /api/v1/analytics/top`: most frequent values. `ENDPOINT` declares parameters and semantics."""

from decimal import Decimal
from typing import Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.comparison import compare_of, compared_selection
from nealytics.queries.cursors import cursor_of
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.endpoint import (
    EXAMPLE_SCOPE,
    Endpoint,
    Number,
    Ranged,
    of_range,
    of_scope,
    of_times,
    value_of,
)
from nealytics.queries.filters import FILTER_CHARS_MAX, Bind, Field, Selection
from nealytics.queries.invalid import invalid
from nealytics.queries.measures import MEASURE, Measure, Values, columns, measures_of, shown_measures
from nealytics.queries.pages import CURSOR, Page, Place, page_of
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN

# Choice → its column.
ORDERS = {"-count": "events", "-users": "users", "-sessions": "sessions", "-value": "value"}
_COUNTS = ("events", "users", "sessions")
_MEASURED = ("value", "measured", "left_out")  # `value` is the first measure, as a number to order by

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
    MEASURE,
    Parameter(
        name="order",
        kind="choice",
        choices=tuple(ORDERS),
        description="What the items are ordered by, the greatest first. `-sessions` implies `sessions=true`."
        " `-value` is the first `measure`. Default: `-value` with a `measure`, else `-count`.",
    ),
    Parameter(
        name="sessions",
        kind="flag",
        description="Whether each item has its number of sessions.",
    ),
    Parameter(
        name="other",
        kind="flag",
        description="Whether the first page ends with an item of all values that are not on it, which has"
        " `other`.",
    ),
    compare_of("Each item also has its numbers in this range, as in `summary`. Default: no comparison."),
    limit_of("items", 20),
    CURSOR,
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    dimension: Field
    selection: Selection
    measures: tuple[Measure, ...] = ()
    order: str = "-count"
    sessions: bool = False
    other: bool = False
    compared: Selection | None = None
    limit: Limit
    page: Page = Page("top")


class Counts(msgspec.Struct, omit_defaults=True, kw_only=True):
    value: Number
    count: int
    users: int
    sessions: int | None = None  # if they were asked for
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any


class Range(msgspec.Struct, kw_only=True):
    from_: str = msgspec.field(name="from")
    to: str


class Item(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    key: str | None = None  # absent for the other values
    other: bool = False  # of all values that are not on the page
    tenant_id: str | None = None  # of a session or user, if the token opens the whole project
    value: Number
    count: int
    share: float
    users: int
    sessions: int | None = None  # if they were asked for
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any
    previous: Counts | None = None  # with a comparison


class Top(Ranged, kw_only=True):
    dimension: str
    previous: Range | None = None  # with a comparison
    measures: tuple[str, ...] = ()
    items: list[Item]
    next_cursor: str | None = None  # absent on the last page


def parse(arguments: Arguments) -> Params:
    dimension = arguments.field("dimension")
    assert dimension is not None, "dimension has a default"
    page = page_of(arguments, "top")
    selection, measures = page.of(arguments.selection()), measures_of(arguments)
    compared = compared_selection(arguments, selection)
    order = arguments.choice("order") or ("-value" if measures else "-count")
    if order == "-value" and not measures:
        raise invalid("order", "order is -value without a measure", "Add measure=…, or choose another order.")
    return Params(
        dimension=dimension,
        selection=selection,
        measures=measures,
        order=order,
        sessions=arguments.flag("sessions") or order == "-sessions",
        other=arguments.flag("other"),
        compared=compared[1] if compared else None,
        limit=arguments.limit(),
        page=page,
    )


def build_sql(params: Params) -> Query:
    """A row for each item: what it is, its figures, those of the compared range, and what `share` is a
    part of. The figures are the counts, and the columns `measured` and `left_out` of the measures."""
    bind = Bind()
    now, before = (_names(prefix) for prefix in ("now", "before"))
    total = "toString(sum(now_value) OVER ())" if _of_value(params) else "sum(now_events) OVER ()"
    shown = ", ".join(name for name in (*now, *before) if not name.endswith("_value"))
    return Query(
        params.page.sql(
            f"SELECT *, {total} AS total FROM ({_each_sql(params, bind)})",
            f"item, tenant, {shown}, total",
            _order(params),
            params.limit.count,
            bind,
        ),
        bind.values,
    )


def _build_other_sql(params: Params) -> Query:
    """The figures of all values that are not on the first page, and those of the compared range if there is
    one. Only the events tell them: users of several items count once."""
    bind = Bind()
    listed = (
        f"SELECT id FROM ({_each_sql(params, bind)})"
        f" ORDER BY {', '.join(_order(params))} LIMIT {bind(params.limit.count)}"
    )
    shown = ", ".join(name for name in _names("now") if not name.endswith("_value"))
    selections = (selection for selection in (params.selection, params.compared) if selection is not None)
    sides = (
        f"SELECT {place} AS place, {shown}"
        f" FROM ({_figures_sql(params, selection, bind, '', f'{_group(params)} NOT IN ({listed})')})"
        for place, selection in enumerate(selections)
    )
    return Query(f"SELECT * FROM ({' UNION ALL '.join(sides)}) ORDER BY place", bind.values)


def _order(params: Params) -> list[str]:
    figures = [f"{prefix}_{ORDERS[params.order]} DESC NULLS LAST" for prefix in ("now", "before")]
    return [*figures, "item", "tenant"]


def _each_sql(params: Params, bind: Bind) -> str:
    if params.compared is not None:
        return _both_sql(params, params.compared, bind)
    nothing = (*(f"0 AS before_{name}" for name in (*_COUNTS, "value")), "[] AS before_measured")
    return (
        f"SELECT id, item, tenant, {', '.join(_names('now'))}, {', '.join(nothing)}, [] AS before_left_out"
        f" FROM ({_range_sql(params, params.selection, bind)})"
    )


def _names(prefix: str) -> list[str]:
    return [f"{prefix}_{name}" for name in (*_COUNTS, *_MEASURED)]


def _both_sql(params: Params, compared: Selection, bind: Bind) -> str:
    """Each range is read by itself, for they may be far apart or overlap. What occurs in one of them only has
    zeros, and no measures, for the other."""
    sides = (
        f"SELECT {is_now} AS is_now, * FROM ({_range_sql(params, selection, bind)})"
        for is_now, selection in ((1, params.selection), (0, compared))
    )
    # A side has one row for an id.
    figures = ", ".join(
        f"{'sumIf' if name in _COUNTS else 'anyIf'}(now_{name}, is_now = {is_now}) AS {prefix}_{name}"
        for is_now, prefix in ((1, "of_now"), (0, "before"))
        for name in (*_COUNTS, *_MEASURED)
    )
    both = " UNION ALL ".join(sides)
    merged = f"SELECT id, any(item) AS item, any(tenant) AS tenant, {figures} FROM ({both}) GROUP BY id"
    renamed = ", ".join(f"of_{name} AS {name}" for name in _names("now"))
    return f"SELECT id, item, tenant, {renamed}, {', '.join(_names('before'))} FROM ({merged})"


def _range_sql(params: Params, selection: Selection, bind: Bind) -> str:
    group = _group(params)
    what = f"{group} AS id, {'key' if group == 'key' else 'any(key)'} AS item, any(tenant_id) AS tenant, "
    return f"{_figures_sql(params, selection, bind, what, '1')} GROUP BY {group}"


def _group(params: Params) -> str:
    """The column of `events` with a value for each item."""
    return OF_A_TENANT.get(params.dimension.name, "key")


def _figures_sql(params: Params, selection: Selection, bind: Bind, what: str, condition: str) -> str:
    # There are no times, and no events, before 1900.
    within = msgspec.structs.replace(selection, from_ms=max(selection.from_ms, TIMESTAMP_MS_MIN))
    key = params.dimension.sql(bind)
    value = params.measures[0].sql(bind) if params.measures else "0"
    return (
        f"SELECT {what}count() AS now_events, uniqExact(user_key) AS now_users,"
        f" {'uniqExact(session_key)' if params.sessions else '0'} AS now_sessions,"
        f" {value} AS now_value, {columns(params.measures, bind, 'now_')}"
        f" FROM (SELECT *, {key} AS key FROM events WHERE {within.where(bind)})"
        f" WHERE key IS NOT NULL AND {condition}"
    )


async def run(events: Events, params: Params) -> Top:
    by_tenant = events.scope.tenant_id is None and params.dimension.name in OF_A_TENANT
    values = Values(params.measures)
    rows = await events.rows(build_sql(params))
    next_cursor = params.page.next_cursor(rows, params.limit.count, params.selection)
    items = [_item(row, params, by_tenant, values) async for row in paced(rows)]
    if params.other and next_cursor is not None and params.page.after is None:
        items.append(await _other(events, params, values, rows[0][-2]))
    return Top(
        **of_scope(events),
        warnings=values.warnings,
        **of_range(params.selection),
        dimension=str(params.dimension),
        previous=_range(params.compared),
        measures=shown_measures(params.measures),
        items=items,
        next_cursor=next_cursor,
    )


def _range(compared: Selection | None) -> Range | None:
    return Range(**of_times(compared)) if compared else None


def _item(row: list[Any], params: Params, by_tenant: bool, values: Values) -> Item:
    key, tenant_id, *figures, total, _ = row
    now, before = (_counts(side, params.sessions, values) for side in (figures[:5], figures[5:]))
    return Item(
        key=key,
        tenant_id=tenant_id if by_tenant else None,
        **msgspec.structs.asdict(now),
        share=_share(now, total, params),
        previous=before if params.compared else None,
    )


def _share(counts: Counts, total: Any, params: Params) -> float:
    part = counts.values[0] if _of_value(params) else counts.count
    assert part is not None, "an additive measure has a value"
    return float(part) / float(total) if float(total) else 0.0


def _of_value(params: Params) -> bool:
    """Whether `share` is of the first measure."""
    return bool(params.measures) and params.measures[0].additive


async def _other(events: Events, params: Params, values: Values, total: Any) -> Item:
    rows = await events.rows(_build_other_sql(params))
    now, *before = (_counts(figures, params.sessions, values) for _, *figures in rows)
    return Item(
        other=True,
        **msgspec.structs.asdict(now),
        share=_share(now, total, params),
        previous=before[0] if before else None,
    )


def _counts(side: list[Any], sessions: bool, values: Values) -> Counts:
    count, users, session_count, measured, left_out = side
    numbers = values.of(measured, left_out)
    return Counts(
        value=value_of(int(count), numbers),
        count=int(count),
        users=int(users),
        sessions=int(session_count) if sessions else None,
        values=numbers,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/top",
    summary="Most frequent values of a field",
    description="""
        Returns the most frequent values of a field or of a metadata key in a time range.

        `count` is the number of events with this value, `share` their share of all events that have a
        value, including values beyond `limit`, and `users` the number of distinct users. Events without a
        value are left out. With `sessions=true`, `sessions` is the number of distinct sessions. Items are
        ordered by `count`, or as `order` says; equal ones by `key`.

        With `measure`, each item also has the `values` of the measures, and is ordered by the first one
        unless `order` says otherwise. Items for which it is null come last. If the first one is a `count` or
        a `sum`, `share` is the item's share of its sum over all values; negative numbers may make it
        negative or greater than 1. Other measures do not add up: `share` remains the share of the events.

        With `compare`, `previous` of each item has its numbers in the compared range, and `previous` beside
        `items` that range. Values that occur only there are items with a `count` of 0.

        With `other=true`, the last item of the first page has `other` and no `key`: all values that are not
        on the page, whose users, sessions and measures are counted of their events. There is one exactly if
        there are more pages, and the `limit` does not count it.

        `nextCursor` is present exactly if there are more items. Send it as `cursor`, with the other
        parameters as before, for the next page. It keeps the range of the first page and continues after
        the last item, wherever that is now: events that arrive in between may move an item across it.

        With a token of the whole project, sessions and users belong to a tenant: their items have the
        `tenantId`.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Top,
    example=Top(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        tz="UTC",
        dimension="event_type",
        items=[Item(key="purchase", value=28, count=28, share=0.07, users=19)],
        next_cursor=cursor_of(
            Place(1, "top", 1_780_272_000_000, 1_780_876_799_999, 1, "purchase", "tenant-1")
        ),
    ),
)
