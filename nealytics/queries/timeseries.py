"""`GET /api/v1/analytics/timeseries`: events per interval. `ENDPOINT` declares parameters and semantics."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.comparison import compare_of, compared_selection
from nealytics.queries.dimensions import DIMENSIONS, OF_A_TENANT
from nealytics.queries.endpoint import (
    EXAMPLE_SCOPE,
    KEY,
    TIME,
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
from nealytics.queries.measures import (
    MEASURE,
    Measure,
    Values,
    columns,
    cumulative,
    measures_of,
    shown_measures,
    states,
)
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, Warn, limit_of
from nealytics.queries.ranges import bucket_ms, cut_by, local_text, too_many_points
from nealytics.queries.scoped import Events, Query
from nealytics.queries.series import (
    Comparison,
    average_of,
    averaged,
    comparison_of,
    cumulative_of,
    filled_by,
    is_cumulative,
)

TOP_MAX = 100
INTERVALS = ("minute", "hour", "day", "week", "month")

PARAMETERS = (
    Parameter(
        name="interval",
        kind="choice",
        choices=INTERVALS,
        default="hour",
        description="Width of a bucket. Weeks start on Monday.",
    ),
    *SELECTION,
    MEASURE,
    Parameter(
        name="groupBy",
        kind="field",
        choices=DIMENSIONS,
        chars_max=FILTER_CHARS_MAX,  # any key that a filter can name
        description="One point per interval and value of this field, which is its `series`: a column, or"
        " `meta:<path>` for a value of the metadata.",
    ),
    Parameter(
        name="top",
        kind="integer",
        minimum=1,
        maximum=TOP_MAX,
        description="Only the series with the most events in the whole range, or with the greatest first"
        " `measure`: so many of them. Events without a value are none of them. It needs `groupBy`.",
    ),
    Parameter(
        name="other",
        kind="flag",
        description="With `top`: all other events are one more series, whose points have `other`.",
    ),
    Parameter(
        name="fill",
        kind="flag",
        description="Return every interval of the range, with 0 where there are no events; with `groupBy` for"
        " every series that occurs in the range.",
    ),
    cumulative_of(
        "Each point is about all events of its series from the start of the range up to the end of its"
        " interval."
    ),
    average_of(
        "Each point has the `average` of its `value` and those of the intervals before it in the range, this"
        " many in all. It implies `fill`."
    ),
    compare_of(
        "The answer also has the points of this range, as in `summary`, as `previous`."
        " Default: no comparison."
    ),
    limit_of("points", None),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    zone: str | None = None
    selection: Selection
    measures: tuple[Measure, ...] = ()
    group_by: Field | None = None
    top: int | None = None
    other: bool = False
    ranked: Selection  # the range of which the `top` are the greatest
    # The starts of all intervals of the range up to now, if each is to have a point.
    fill: tuple[int, ...] | None = None
    cumulative: bool = False
    average: int | None = None
    comparison: Comparison | None = None
    limit: Limit
    points_max: int
    now_ms: int


class Point(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    time: str
    bucket: Annotated[str, TIME]
    partial: bool = False
    key: str | None = None  # absent for events without one
    series: Annotated[str, KEY] | None = None
    other: bool = False  # of all series that are not among the `top`
    tenant_id: str | None = None  # of a session or user, if the token opens the whole project
    value: Number
    count: int
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any
    average: Decimal | None = None  # if it was asked for; absent if no value is in it
    compared_to: str | None = None  # of `previous`: the interval of the range that stands beside it


class Previous(msgspec.Struct, rename="camel", kw_only=True):
    """The points of the compared range."""

    from_: str = msgspec.field(name="from")
    to: str
    total_count: int
    points: list[Point]


class TimeSeries(Ranged, kw_only=True):
    interval: str
    measures: tuple[str, ...] = ()
    total_count: int
    points: list[Point]
    previous: Previous | None = None  # with a comparison


def parse(arguments: Arguments) -> Params:
    interval, selection = arguments.choice("interval"), arguments.selection()
    average = arguments.integer("average")
    filled = "fill" if arguments.flag("fill") else None if average is None else "average"
    compared = compared_selection(arguments, selection)
    return Params(
        interval=interval,
        zone=arguments.zone(),
        selection=selection,
        measures=measures_of(arguments),
        **_grouped(arguments),
        ranked=selection,
        fill=filled_by(filled, arguments, interval, selection),
        cumulative=is_cumulative(arguments, average=average),
        average=average,
        comparison=comparison_of(arguments, interval, selection, compared[1]) if compared else None,
        limit=arguments.limit(),
        points_max=arguments.config.limit_max,
        now_ms=arguments.now_ms,
    )


def _grouped(arguments: Arguments) -> Any:
    group_by, top = arguments.field("groupBy"), arguments.integer("top")
    other = arguments.flag("other")
    if top is not None and group_by is None:
        raise invalid("top", "top is given without groupBy", "Add groupBy=…, or leave out top.")
    if other and top is None:
        raise invalid("other", "other is given without top", "Add top=…, or leave out other.")
    return {"group_by": group_by, "top": top, "other": other}


def build_sql(params: Params) -> Query:
    """Rows `[bucket, count, series, tenant_id, other, measured, left_out]`. Without a group there is no
    series. The tenant is that of the series, or empty if series do not belong to tenants."""
    bind = Bind()
    selection = params.selection
    bucket = bucket_ms(params.interval, params.zone, bind, selection.from_ms, selection.to_ms)
    conditions, series, tenant, other, group = [selection.where(bind)], "NULL", "''", "0", "bucket_ms"
    if params.group_by is not None:
        series, of_a_tenant = params.group_by.sql(bind), OF_A_TENANT.get(params.group_by.name)
        key = of_a_tenant or series
        if params.top is not None:
            is_top = f"ifNull({key} IN ({_top_sql(params, params.top, key, bind)}), 0)"
            if params.other:
                key, series, other = (
                    f"if({is_top}, {key}, NULL)",
                    f"if({is_top}, {series}, NULL)",
                    f"NOT {is_top}",
                )
            else:
                conditions.append(is_top)
        # Events without a user are one series for all tenants.
        tenant = f"if({key} IS NULL, '', any(tenant_id))" if of_a_tenant else tenant
        series, other = f"any({series})", f"any({other})"
        group = f"bucket_ms, {key}"
    # To be filled, the rows must be complete: a series that is cut off would be missing everywhere.
    rows_max = params.limit.count if params.fill is None else params.points_max
    what = (
        f"{bucket} AS bucket_ms, count() AS event_count, {series} AS series, {tenant} AS tenant,"
        f" {other} AS other"
    )
    grouped = f"FROM events WHERE {' AND '.join(conditions)} GROUP BY {group}"
    if params.cumulative:
        rows = _cumulative_sql(f"SELECT {what}{states(params.measures, bind)} {grouped}", params.measures)
    else:
        rows = f"SELECT {what}, {columns(params.measures, bind)} {grouped}"
    return Query(f"{rows} ORDER BY bucket_ms, other, series, tenant LIMIT {bind(rows_max + 1)}", bind.values)


def _cumulative_sql(rows: str, measures: tuple[Measure, ...]) -> str:
    window = (
        "(PARTITION BY series, tenant, other ORDER BY bucket_ms"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    )
    return (
        f"SELECT bucket_ms, sum(event_count) OVER {window} AS events_so_far, series, tenant, other,"
        f" {cumulative(measures, window)}, left_out FROM ({rows})"
    )


def _top_sql(params: Params, top: int, key: str, bind: Bind) -> str:
    """The keys of the greatest series; of equal ones, the first by key."""
    value = params.measures[0].sql(bind) if params.measures else "count()"
    return (
        f"SELECT {key} AS top_key FROM events WHERE {params.ranked.where(bind)} AND top_key IS NOT NULL"
        f" GROUP BY top_key ORDER BY {value} DESC, top_key LIMIT {bind(top)}"
    )


async def run(events: Events, params: Params) -> TimeSeries:
    values = Values(params.measures)
    points, warnings = await _points(events, params, values)
    previous = None
    if params.comparison is not None:
        compared = _compared(params, params.comparison)
        before, more = await _points(events, compared, values)
        warnings += more
        previous = Previous(
            **of_times(compared.selection), total_count=_total(before, compared), points=before
        )
    return TimeSeries(
        **of_scope(events),
        warnings=warnings + values.warnings,
        **of_range(params.selection),
        interval=params.interval,
        measures=shown_measures(params.measures),
        total_count=_total(points, params),
        points=points,
        previous=previous,
    )


def _compared(params: Params, comparison: Comparison) -> Params:
    """The same question about the compared range, with the same series."""
    fill = None if params.fill is None else tuple(comparison.starts)
    return msgspec.structs.replace(params, selection=comparison.selection, fill=fill)


async def _points(events: Events, params: Params, values: Values) -> tuple[list[Point], list[Warn]]:
    rows = await events.rows(build_sql(params))
    if params.fill is not None:
        rows = _filled(rows, params.fill, params)
    warnings = params.limit.cut(rows, "points")
    by_tenant = events.scope.tenant_id is None and params.group_by is not None
    selection, comparison = params.selection, params.comparison
    is_cut = cut_by(params.interval, params.zone, selection.from_ms, min(selection.to_ms, params.now_ms))
    points = []
    async for row in paced(rows):
        point = _point(row, params.zone, by_tenant, is_cut(int(row[0])), values)
        if comparison is not None and selection is comparison.selection:
            point.compared_to = comparison.text(int(row[0]), params.zone)
        points.append(point)
    if params.average is not None:
        _average(points, params.average)
    return points, warnings


def _average(points: list[Point], length: int) -> None:
    series: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        series.setdefault((point.key, point.tenant_id, point.other), []).append(point)
    for of_one in series.values():
        averaged(of_one, [point.value for point in of_one], length)


def _total(points: list[Point], params: Params) -> int:
    if not params.cumulative:
        return sum(point.count for point in points)
    # The last point of each series has all of its events.
    return sum({(point.key, point.tenant_id, point.other): point.count for point in points}.values())


def _filled(rows: list[list[Any]], starts: tuple[int, ...], params: Params) -> list[list[Any]]:
    """Rows for all intervals up to now and all series, in the order of `rows`, and those of later
    intervals."""
    found = {(row[0], *row[2:5]): row for row in rows}
    if params.group_by is None:
        every_series: list[tuple[Any, ...]] = [(None, "", 0)]
    else:
        every_series = sorted({tuple(row[2:5]) for row in rows}, key=_as_clickhouse_orders)
    if len(rows) > params.points_max or len(starts) * len(every_series) > params.points_max:
        raise too_many_points("fill" if params.average is None else "average", params.points_max)
    filled = []
    last: dict[tuple[Any, ...], list[Any]] = {series: [0, 0, *series, [], []] for series in every_series}
    for start in starts:
        for series in every_series:
            row = found.get((start, *series), [start, 0, *series, [], []])
            if params.cumulative and (start, *series) not in found:
                row = [start, *last[series][1:-1], []]
            last[series] = row
            filled.append(row)
    return filled + [row for row in rows if not starts or row[0] > starts[-1]]


def _as_clickhouse_orders(row: tuple[Any, ...]) -> tuple[Any, ...]:
    series, tenant, other = row
    return other, series is None, (series or "").encode(), tenant.encode()


def _point(row: list[Any], zone: str | None, by_tenant: bool, partial: bool, values: Values) -> Point:
    bucket_ms, event_count, series, tenant_id, other, measured, left_out = row
    time, count, numbers = local_text(int(bucket_ms), zone), int(event_count), values.of(measured, left_out)
    return Point(
        time=time,
        bucket=time,
        partial=partial,
        key=series,
        series=series,
        other=bool(other),
        tenant_id=(tenant_id or None) if by_tenant else None,
        value=value_of(count, numbers),
        count=count,
        values=numbers,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/timeseries",
    summary="Number of events per interval",
    description="""
        Returns the number of events in each interval of a range, oldest first.

        `time` is the start of the interval (with `tz`, a local time with its offset), and `count` the
        number of events. The first interval counts from `from`, the last one up to `to`. A point is
        `partial` if its interval is cut off by the range or not over. When the clocks change, a day has 23
        or 25 hours, and an hour that occurs twice is two intervals.

        With `groupBy`, each interval has one point per value, as `key`. Events without a value are the
        last point of the interval, without `key`. With a token of the whole project, sessions and users
        belong to a tenant: their points have the `tenantId`.

        `top=5` returns only the five greatest series of the whole range, and `other=true` the sum of all
        others, including events without a value, as one more point of the interval, which has `other`.

        With `measure`, each point also has the `values` of the measures: revenue per day is
        `interval=day&measure=sum(meta:amount)[event_type:eq:purchase]`.

        With `cumulative`, a point is about all events of its series from the start of the range on: its
        `count` is their number, and users count once. With `average=7`, a point also has the `average` of
        its `value` and those of the six intervals before it; at the start of the range, of those there are.

        With `compare`, `previous` has the points of the compared range. `comparedTo` of each is the `time`
        of the interval beside it: the one of the same number, or of the same local time for minutes and
        hours. With `top`, both have the series that are the greatest of the range.

        An interval without events has no point, unless you set `fill`. `totalCount` is the sum of the
        returned points.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    counted_as="buckets_returned",
    answer=TimeSeries,
    example=TimeSeries(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        tz="UTC",
        interval="day",
        total_count=28,
        points=[
            Point(
                time="2026-06-01T00:00:00Z",
                bucket="2026-06-01T00:00:00Z",
                key="purchase",
                series="purchase",
                value=28,
                count=28,
            )
        ],
    ),
)
