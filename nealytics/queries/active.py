"""`GET /api/v1/analytics/active`: active users or sessions. `ENDPOINT` declares parameters and semantics."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from nealytics.pace import paced
from nealytics.queries import endpoint
from nealytics.queries.comparison import compare_of, compared_selection
from nealytics.queries.endpoint import (
    EXAMPLE_SCOPE,
    TIME,
    Endpoint,
    Number,
    Ranged,
    of_range,
    of_scope,
    of_times,
    value_of,
)
from nealytics.queries.filters import Bind, Selection, sql_time
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
from nealytics.queries.params import KEY_OF, SELECTION, Arguments, Limit, Parameter, Warn, by_of, limit_of
from nealytics.queries.ranges import (
    Days,
    bucket_ms,
    cut_by,
    days_of,
    each_start,
    local_text,
    starts,
)
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
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN
from nealytics.timestamps import DAY_MS

INTERVALS = ("day", "week", "month")
ROLLING_DAYS_MAX = 90

_SO_FAR = "(ORDER BY bucket_ms ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
_LONGER_THAN_ANY_MS = 33 * DAY_MS  # from the start of any bucket into the next one
# A day is up to 26 hours long, and one of 90 may be a date that the clocks skip.
_MARGIN_DAYS = 33

# Choice → its SQL. Neither function counts NULL.
COUNT = {"exact": "uniqExact", "approx": "uniq"}

PARAMETERS = (
    Parameter(
        name="interval",
        kind="choice",
        choices=INTERVALS,
        default="day",
        description="Width of a bucket. Weeks start on Monday.",
    ),
    by_of("user"),
    Parameter(
        name="mode",
        kind="choice",
        choices=tuple(COUNT),
        default="exact",
        description="How users or sessions are counted: exactly, or estimated with less memory (`approx`).",
    ),
    Parameter(
        name="rolling",
        kind="integer",
        minimum=1,
        maximum=ROLLING_DAYS_MAX,
        description="With `interval=day`: every day has a point, with `rollingCount`, the number active in"
        " this many days up to and including it, and `stickiness`, `count` divided by that.",
        example="28",
    ),
    Parameter(
        name="stickiness",
        kind="flag",
        description="With `interval=week` or `month`: each point has the average daily `count`"
        " divided by its own (DAU/WAU, DAU/MAU).",
    ),
    cumulative_of(
        "Each point counts the users or sessions active from the start of the range up to the end of its"
        " interval, each of them once; its measures are about the same events."
    ),
    average_of(
        "Every interval has a point, with the `average` of its `value` and those of the intervals before it"
        " in the range, this many in all."
    ),
    *SELECTION,
    MEASURE,
    compare_of(
        "The answer also has the points of this range, as in `summary`, as `previous`."
        " Default: no comparison."
    ),
    limit_of("points", None),
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    zone: str | None = None
    by: str
    mode: str
    rolling: int | None = None
    # The starts of all intervals of the range up to now, if each is to have a point.
    starts: tuple[int, ...] | None = None
    stickiness: bool = False
    cumulative: bool = False
    average: int | None = None
    selection: Selection
    measures: tuple[Measure, ...] = ()
    comparison: Comparison | None = None
    limit: Limit
    now_ms: int

    @property
    def end_ms(self) -> int:
        """The end of the range, or now if that is earlier."""
        return min(self.selection.to_ms, self.now_ms)

    @property
    def days(self) -> Days:
        """All days that the query reads."""
        before_ms = ((self.rolling or 0) + _MARGIN_DAYS) * DAY_MS
        return days_of(self.zone, self.selection.from_ms - before_ms, self.selection.to_ms)


class Point(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    time: str
    bucket: Annotated[str, TIME]
    partial: bool = False
    value: Number
    count: int  # of active users or sessions
    active_count: Annotated[int, endpoint.COUNT]
    rolling_count: int | None = None
    stickiness: float | None = None
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any
    average: Decimal | None = None  # if it was asked for; absent if no value is in it
    compared_to: str | None = None  # of `previous`: the interval of the range that stands beside it


class Previous(msgspec.Struct, kw_only=True):
    """The points of the compared range."""

    from_: str = msgspec.field(name="from")
    to: str
    points: list[Point]


class Active(Ranged, kw_only=True):
    interval: str
    by: str
    mode: str
    rolling: int | None = None
    measures: tuple[str, ...] = ()
    points: list[Point]
    previous: Previous | None = None  # with a comparison


def parse(arguments: Arguments) -> Params:
    interval = arguments.choice("interval")
    zone = arguments.zone()
    selection = arguments.selection()
    rolling = arguments.integer("rolling")
    stickiness = arguments.flag("stickiness")
    average = arguments.integer("average")
    filled = "rolling" if rolling is not None else None if average is None else "average"
    if rolling is not None and interval != "day":
        raise invalid(
            "rolling", f"rolling needs interval=day, and interval is {interval}", "Write interval=day."
        )
    if rolling is None and stickiness and interval == "day":
        raise invalid(
            "stickiness",
            "stickiness of a day is not defined",
            "Write interval=week or month, or rolling=<days>.",
        )
    compared = compared_selection(arguments, selection)
    return Params(
        interval=interval,
        zone=zone,
        by=arguments.choice("by"),
        mode=arguments.choice("mode"),
        rolling=rolling,
        starts=filled_by(filled, arguments, interval, selection),
        stickiness=stickiness,
        cumulative=is_cumulative(arguments, average=average, rolling=rolling, stickiness=stickiness),
        average=average,
        selection=selection,
        measures=measures_of(arguments),
        comparison=comparison_of(arguments, interval, selection, compared[1]) if compared else None,
        limit=arguments.limit(),
        now_ms=arguments.now_ms,
    )


def build_sql(params: Params) -> Query:
    """Rows `[bucket, active]`, with `stickiness` `[bucket, active, sum of the days' actives, last day]`."""
    bind = Bind()
    selection, count, key = params.selection, COUNT[params.mode], KEY_OF[params.by]
    range_ms = selection.from_ms, selection.to_ms
    bucket = bucket_ms(params.interval, params.zone, bind, *range_ms)
    where = selection.where(bind)
    group = " GROUP BY bucket_ms"
    if params.cumulative:
        select = (
            f"SELECT bucket_ms, {count}Merge(who) OVER {_SO_FAR} AS active_count FROM (SELECT {bucket} AS"
            f" bucket_ms, {count}State({key}) AS who FROM events WHERE {where}{group})"
        )
        group = ""
    elif not params.stickiness:
        select = f"SELECT {bucket} AS bucket_ms, {count}({key}) AS active_count FROM events WHERE {where}"
    else:
        day = params.days.sql(bind)
        select = (
            f"SELECT bucket_ms, {count}Merge(who) AS active_count, sum(finalizeAggregation(who)) AS of_days,"
            " max(day) AS last_day"
            f" FROM (SELECT {bucket} AS bucket_ms, {day} AS day, {count}State({key}) AS who FROM events"
            f" WHERE {where} GROUP BY bucket_ms, day)"
        )
    return Query(f"{select}{group} ORDER BY bucket_ms LIMIT {bind(params.limit.count + 1)}", bind.values)


def measured_sql(params: Params) -> Query:
    """Rows `[bucket, measured, left_out]`. A query of its own: the other ones group by user or session."""
    bind = Bind()
    selection = params.selection
    bucket = bucket_ms(params.interval, params.zone, bind, selection.from_ms, selection.to_ms)
    what = (states if params.cumulative else columns)(params.measures, bind).removeprefix(", ")
    rows = (
        f"SELECT {bucket} AS bucket_ms, {what} FROM events WHERE {selection.where(bind)} GROUP BY bucket_ms"
    )
    if params.cumulative:
        rows = f"SELECT bucket_ms, {cumulative(params.measures, _SO_FAR)}, left_out FROM ({rows})"
    return Query(rows, bind.values)


def build_rolling_sql(params: Params, rolling: int) -> Query:
    """Rows `[day, rolling, active]`: the numbers of those active in the `rolling` days that end with the day
    of that number, and on the day itself within the range. A missing day has 0 for both."""
    bind = Bind()
    selection, key, days = params.selection, KEY_OF[params.by], params.days
    since_ms = max(TIMESTAMP_MS_MIN, days.start(days.number(selection.from_ms) - rolling + 1))
    widened = Selection(from_ms=since_ms, to_ms=selection.to_ms, filters=selection.filters)
    day = f"toInt32({days.sql(bind)})"
    within = f"timestamp >= {sql_time(selection.from_ms, bind)}"
    where = widened.where(bind)
    build = _rolling_exact if params.mode == "exact" else _rolling_approx
    return Query(build(day, key, within, where, rolling), bind.values)


def _rolling_exact(day: str, key: str, within: str, where: str, rolling: int) -> str:
    # A user counts from an active day up to the next one, or until `rolling` days have passed. So each active
    # day is one arrival and one leave, whatever the length of the window; the sum of all changes up to a day
    # is its count, and a day without a change has that of the previous day.
    arrivals = "arrayMap(d -> (d, 1, 0), days)"
    leaves = f"arrayMap((d, following) -> (least(d + {rolling}, following), -1, 0), days, days_after)"
    here = "arrayMap(d -> (d, 0, 1), arrayFilter(d -> d >= first_within, days))"
    return (
        "SELECT day, sum(sum(change)) OVER (ORDER BY day) AS rolling_count, sum(is_here) AS active_count"
        " FROM (SELECT step.1 AS day, step.2 AS change, step.3 AS is_here"
        f" FROM (SELECT arrayJoin(arrayConcat({arrivals}, {leaves}, {here})) AS step"
        " FROM (SELECT days, first_within, arrayPushBack(arrayPopFront(days), 1000000) AS days_after"
        # By the hash that uniqExact uses: 4 million users fit into 2 GiB, but not as texts.
        f" FROM (SELECT arraySort(groupUniqArray({day})) AS days,"
        f" min(if({within}, {day}, 1000000)) AS first_within"
        f" FROM events WHERE {where} AND {key} IS NOT NULL GROUP BY sipHash128({key})))))"
        " GROUP BY day ORDER BY day WITH FILL INTERPOLATE (rolling_count)"
    )


def _rolling_approx(day: str, key: str, within: str, where: str, rolling: int) -> str:
    # Two windows of n days make one of 2n, or, if they overlap, one of any shorter length: to merge the same
    # day's estimate twice changes nothing. So 90 days take 7 merges of two instead of one of 90.
    windows = (
        f"SELECT {day} AS day, uniqState({key}) AS who, uniqIf({key}, {within}) AS active_count"
        f" FROM events WHERE {where} GROUP BY day"
    )
    length = 1
    while length < rolling:
        further = min(length, rolling - length)
        windows = (
            "SELECT toInt32(day + after) AS day, uniqMergeState(who) AS who, sumIf(active_count, after = 0)"
            f" AS active_count FROM ({windows}) ARRAY JOIN [0, {further}] AS after GROUP BY day"
        )
        length += further
    return f"SELECT day, finalizeAggregation(who) AS rolling_count, active_count FROM ({windows})"


async def run(events: Events, params: Params) -> Active:
    values = Values(params.measures)
    points, warnings = await _points(events, params, values)
    previous = None
    if params.comparison is not None:
        starts_ms = None if params.starts is None else params.comparison.starts
        compared = msgspec.structs.replace(params, selection=params.comparison.selection, starts=starts_ms)
        before, more = await _points(events, compared, values)
        warnings += more
        previous = Previous(**of_times(compared.selection), points=before)
    return Active(
        **of_scope(events),
        warnings=warnings + values.warnings,
        **of_range(params.selection),
        interval=params.interval,
        by=params.by,
        mode=params.mode,
        rolling=params.rolling,
        measures=shown_measures(params.measures),
        points=points,
        previous=previous,
    )


async def _points(events: Events, params: Params, values: Values) -> tuple[list[Point], list[Warn]]:
    if params.rolling is not None:
        rows = await events.rows(build_rolling_sql(params, params.rolling))
        rows = _of_every_day(rows, params)
    else:
        rows = await events.rows(build_sql(params))
        if params.starts is not None:
            rows = _filled(rows, params.starts)
    warnings = params.limit.cut(rows, "points")
    found = await events.rows(measured_sql(params)) if params.measures else []
    measured = {int(start): row for start, *row in found}
    days, comparison = params.days, params.comparison
    is_cut = cut_by(params.interval, params.zone, params.selection.from_ms, params.end_ms)
    points = []
    async for row in paced(rows):
        start = int(row[0])
        point = _point(row, params, days, is_cut(start))
        point.values = values.of(*measured.get(start, ([], [])))
        point.value = value_of(point.count, point.values)
        if comparison is not None and params.selection is comparison.selection:
            point.compared_to = comparison.text(start, params.zone)
        points.append(point)
    if params.average is not None:
        averaged(points, [point.value for point in points], params.average)
    return points, warnings


def _filled(rows: list[list[Any]], starts: tuple[int, ...]) -> list[list[Any]]:
    """Rows for all intervals up to now, and those of later intervals."""
    found = {int(row[0]): row for row in rows}
    later = [row for start, row in found.items() if not starts or start > starts[-1]]
    return [found.get(start, [start, 0]) for start in starts] + later


def _of_every_day(rows: list[list[Any]], params: Params) -> list[list[Any]]:
    """`[bucket, active, rolling]` for every day of the range up to now, and for later days with activity."""
    counts = {int(day): (active_count, rolling_count) for day, rolling_count, active_count in rows}
    days = params.days
    every = [days.number(start) for start in params.starts or ()]
    last = every[-1] if every else days.number(params.selection.from_ms) - 1
    later = sorted(day for day, (active_count, _) in counts.items() if day > last and int(active_count))
    return [[days.start(day), *counts.get(day, (0, 0))] for day in [*every, *later]]


def _point(row: list[Any], params: Params, days: Days, partial: bool) -> Point:
    start, active_count, *more = map(int, row)
    time = local_text(start, params.zone)
    point = Point(
        time=time,
        bucket=time,
        partial=partial,
        value=active_count,
        count=active_count,
        active_count=active_count,
    )
    if params.rolling is not None:
        point.rolling_count = more[0]
        point.stickiness = active_count / more[0] if more[0] else 0.0
    elif params.stickiness:
        point.stickiness = 0.0
        if active_count:
            of_days, last_day = more
            per_day = of_days / _days_within(start, params, days.start(last_day))
            point.stickiness = per_day / active_count
    return point


def _days_within(start: int, params: Params, last_day_ms: int) -> int:
    """The number of the bucket's days within the range, up to now or to the last day that has events."""
    from_ms, to_ms = max(start, params.selection.from_ms), max(params.end_ms, last_day_ms)
    after = each_start(params.interval, start, start + _LONGER_THAN_ANY_MS, params.zone)
    following = next(other for other in after if other > start)
    # Clocks that are set back across midnight show the bucket's last day again after its end.
    days = starts("day", from_ms, min(to_ms, following + DAY_MS), params.zone)
    return sum(start <= day < following for day in days)


ENDPOINT = Endpoint(
    path="/api/v1/analytics/active",
    summary="Number of active users or sessions",
    description="""
        Returns the number of active users or sessions in each interval of a range, oldest first.

        Only events in the range count, also if the range contains only a part of an interval. Events
        without a user count for no user: a day with only such events has a point with 0, and a day without
        events has no point. A user active on two days counts on both, so the sum of the days is not
        the count of the month. A point is `partial` if its interval is cut off by the range or not over.

        With `rolling=N`, every day of the range up to today has a point. `rollingCount` is the number of
        distinct users or sessions in the N days that end with this day, including days before `from`.
        `stickiness` is `count / rollingCount`.

        With `stickiness=true`, a week or month has the average `count` of its days (those in the
        range and not in the future, days without events included) divided by its own `count`: DAU/WAU
        and DAU/MAU. Both are 0 if nobody was active.

        With `cumulative`, a point counts the users or sessions of the range up to the end of its interval,
        each once, and its measures are about the same events. With `average=7`, every interval has a point,
        with the `average` of its `value` and those of the six intervals before it; at the start of the
        range, of those there are.

        With `measure`, each point also has the `values` of the measures over all events of its interval in
        the range, also those without a user; with `rolling`, over those of the day itself.

        With `compare`, `previous` has the points of the compared range. `comparedTo` of each is the `time`
        of the interval of the same number in the range.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    counted_as="buckets_returned",
    answer=Active,
    example=Active(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-01T23:59:59.999Z",
        tz="UTC",
        interval="day",
        by="user",
        mode="exact",
        rolling=28,
        points=[
            Point(
                time="2026-06-01T00:00:00Z",
                bucket="2026-06-01T00:00:00Z",
                value=7,
                count=7,
                active_count=7,
                rolling_count=28,
                stickiness=0.25,
            )
        ],
    ),
)
