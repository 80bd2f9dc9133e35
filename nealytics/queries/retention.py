"""`GET /api/v1/analytics/retention`: users who come back. `ENDPOINT` declares parameters and semantics."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.endpoint import COUNT, EXAMPLE_SCOPE, TIME, Endpoint, Ranged, of_range, of_scope
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.params import KEY_OF, SELECTION, Arguments, Parameter, by_of
from nealytics.queries.ranges import EVENT_MS, at_most, bucket_ms, cut_by, local_text, starts
from nealytics.queries.scoped import Events, Query
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN
from nealytics.timestamps import DAY_MS

PERIODS_MAX = 60
INTERVALS_DEFAULT = 8
_MONTH_MS = 31 * DAY_MS

RETURNS = ("on", "on_or_after", "unbounded")

PARAMETERS = (
    Parameter(
        name="interval",
        kind="choice",
        choices=("day", "week", "month"),
        default="week",
        description="Length of a cohort and of a period. Weeks start on Monday.",
    ),
    by_of("user"),
    Parameter(
        name="cohortEvent",
        kind="text",
        description="Event type that puts a user into a cohort. Default: any event.",
        example="signup",
    ),
    Parameter(
        name="returnEvent",
        kind="text",
        description="Event type that counts as a return. Default: any event.",
        example="purchase",
    ),
    Parameter(
        name="returns",
        kind="choice",
        choices=RETURNS,
        default="on",
        description="Which returns count for a period: those in it (`on`), in it or any later one up to `to`"
        " (`on_or_after`), or in it or at any time after (`unbounded`).",
    ),
    Parameter(
        name="periods",
        kind="integer",
        default=11,
        minimum=0,
        maximum=PERIODS_MAX,
        description=f"Number of periods after the first, 0 to {PERIODS_MAX}; default 11.",
    ),
    *SELECTION,
)

# Later than every event; its negative is earlier.
_NEVER_MS = 1 << 50


class Params(msgspec.Struct, frozen=True, kw_only=True):
    interval: str
    by: str
    cohort_event: str | None = None
    return_event: str | None = None
    returns: str
    periods: int
    tz: str | None = None
    selection: Selection
    starts_ms: tuple[int, ...]  # of the intervals of the range
    now_ms: int


class Period(msgspec.Struct, omit_defaults=True, kw_only=True):
    period: int  # 0 is the cohort's own interval
    partial: bool = False
    value: int
    count: int
    share: float


class Cohort(msgspec.Struct, kw_only=True):
    time: str
    cohort: Annotated[str, TIME]
    value: int
    count: int  # of users or sessions
    size: Annotated[int, COUNT]
    periods: list[Period]


class Retention(Ranged, kw_only=True):
    interval: str
    by: str
    cohort_event: str | None = None
    return_event: str | None = None
    returns: str | None = None  # if other than "on"
    cohorts: list[Cohort]


def parse(arguments: Arguments) -> Params:
    interval, tz = arguments.choice("interval"), arguments.zone()
    selection = arguments.selection(lambda end_ms: _begin(interval, tz, end_ms))
    returns = arguments.choice("returns")
    if returns == "unbounded":
        arguments.until_ms = None  # later returns change the answer
    return Params(
        interval=interval,
        by=arguments.choice("by"),
        cohort_event=arguments.text("cohortEvent"),
        return_event=arguments.text("returnEvent"),
        returns=returns,
        periods=arguments.integer("periods") or 0,
        tz=tz,
        selection=selection,
        starts_ms=at_most(arguments.config.limit_max, interval, selection),
        now_ms=arguments.now_ms,
    )


def _begin(interval: str, tz: str | None, end_ms: int) -> int:
    """The start of the default range, which has so many intervals with that of its end."""
    return starts(interval, end_ms - (INTERVALS_DEFAULT + 1) * _MONTH_MS, end_ms, tz)[-INTERVALS_DEFAULT]


def build_sql(params: Params) -> Query:
    """A row for each cohort: its start, its size, the starts of the intervals with returns, and the number of
    users who returned in each."""
    bind = Bind()
    # One row per user and active interval, so that memory does not depend on the number of events.
    intervals = _intervals(params, bind)
    entities = (
        "SELECT argMin(bucket, first_ms) AS cohort, min(first_ms) AS joined_ms,"
        " groupArray(bucket) AS buckets, groupArray(last_ms) AS lasts"
        f" FROM ({intervals}) GROUP BY entity"
        f" HAVING joined_ms < {_NEVER_MS} AND cohort >= {bind(params.starts_ms[0])}"
    )
    came = "arrayFilter((bucket, last_ms) -> last_ms >= joined_ms, buckets, lasts)"
    if params.returns != "on":
        came = f"arraySlice(arrayReverseSort({came}), 1, 1)"  # the last one is also on or after all others
    return Query(
        "SELECT cohort, count(), (sumMap(came, arrayWithConstant(length(came), 1)) AS counts).1, counts.2"
        f" FROM (SELECT cohort, {came} AS came FROM ({entities})) GROUP BY cohort ORDER BY cohort",
        bind.values,
    )


def _intervals(params: Params, bind: Bind) -> str:
    """For each entity and interval of the range, one for all earlier time, and if returns are unbounded one
    for all later: its first cohort event in it, and its last return event."""
    since_ms = params.starts_ms[0]
    ever = msgspec.structs.replace(params.selection, from_ms=TIMESTAMP_MS_MIN)
    in_range = f"{EVENT_MS} >= {bind(since_ms)}"
    bucket = bucket_ms(params.interval, params.tz, bind, since_ms, ever.to_ms)
    begins, returns = (
        "1" if event_type is None else f"event_type = {bind(event_type)}"
        for event_type in (params.cohort_event, params.return_event)
    )
    if params.returns == "unbounded":
        later = f"{EVENT_MS} > {bind(ever.to_ms)}"
        bucket, begins = f"if({later}, {_NEVER_MS}, {bucket})", f"({begins} AND NOT {later})"
        ever = msgspec.structs.replace(ever, to_ms=max(ever.to_ms, params.now_ms))
    entity = KEY_OF[params.by]
    return (
        f"SELECT {entity} AS entity, if({in_range}, {bucket}, {-_NEVER_MS}) AS bucket,"
        f" min(if({begins}, {EVENT_MS}, {_NEVER_MS})) AS first_ms,"
        f" max(if({returns}, {EVENT_MS}, {-_NEVER_MS})) AS last_ms"
        f" FROM events WHERE {ever.where(bind)} AND ({begins} OR ({returns} AND {in_range}))"
        f" AND {entity} IS NOT NULL GROUP BY entity, bucket"
    )


async def run(events: Events, params: Params) -> Retention:
    found = await events.rows(build_sql(params))
    number = {start_ms: index for index, start_ms in enumerate((*params.starts_ms, _NEVER_MS))}
    end_ms = min(params.selection.to_ms, params.now_ms)
    is_cut = cut_by(params.interval, params.tz, params.starts_ms[0], end_ms)
    return Retention(
        **of_scope(events),
        **of_range(params.selection),
        interval=params.interval,
        by=params.by,
        cohort_event=params.cohort_event,
        return_event=params.return_event,
        returns=None if params.returns == "on" else params.returns,
        cohorts=[_cohort(row, number, params, is_cut) async for row in paced(found)],
    )


def _cohort(row: list[Any], number: dict[int, int], params: Params, is_cut: Callable[[int], bool]) -> Cohort:
    start_ms, size, buckets, counts = row
    first = number[int(start_ms)]
    # A bucket before the range is a date that the clocks showed again when they were set back at midnight.
    came = {
        number[int(bucket)] - first: int(count)
        for bucket, count in zip(buckets, counts, strict=True)
        if int(bucket) in number
    }
    # Periods after now are omitted, unless they have returns.
    now = bisect_right(params.starts_ms, params.now_ms) - 1
    last = min(params.periods, len(params.starts_ms) - 1 - first)
    shown = min(last, max(now - first, *came, 0)) + 1
    if params.returns != "on":
        came = {period: sum(count for at, count in came.items() if at >= period) for period in range(shown)}
    time, count = local_text(int(start_ms), params.tz), int(size)
    return Cohort(
        time=time,
        cohort=time,
        value=count,
        count=count,
        size=count,
        periods=[
            Period(
                period=period,
                partial=is_cut(params.starts_ms[first + period]),
                value=came.get(period, 0),
                count=came.get(period, 0),
                share=came.get(period, 0) / count,
            )
            for period in range(shown)
        ],
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/retention",
    summary="How many users come back",
    description="""
        Returns how many of the users who were new in an interval came back in each later interval.

        A user belongs to the cohort of the interval of their first `cohortEvent` ever: among all stored
        events up to `to` that match the filters, not only those since `from`. The range selects the
        cohorts: those whose interval overlaps it. Without `from`, it has eight intervals, the last of
        them that of its end. Empty cohorts are left out.

        `period` n is the n-th calendar interval after the cohort's own. Its `count` is the number of users
        of the cohort with a `returnEvent` in it, up to `to` and not before their first `cohortEvent`;
        `share` is their share of the cohort's `count`. The last period is the interval of `to`, or the
        current one; it is `partial` if that interval is cut off or not over.

        With `returns=on_or_after`, `count` is the number of those who came back in the period or a later one
        (rolling retention), up to `to`; with `unbounded`, returns after `to` count too.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Retention,
    example=Retention(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-14T23:59:59.999Z",
        tz="UTC",
        interval="week",
        by="user",
        cohort_event="signup",
        cohorts=[
            Cohort(
                time="2026-06-01T00:00:00Z",
                cohort="2026-06-01T00:00:00Z",
                value=40,
                count=40,
                size=40,
                periods=[
                    Period(period=0, value=40, count=40, share=1.0),
                    Period(period=1, value=10, count=10, share=0.25),
                ],
            ),
            Cohort(
                time="2026-06-08T00:00:00Z",
                cohort="2026-06-08T00:00:00Z",
                value=8,
                count=8,
                size=8,
                periods=[Period(period=0, value=8, count=8, share=1.0)],
            ),
        ],
    ),
)
