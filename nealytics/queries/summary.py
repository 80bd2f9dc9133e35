"""`GET /api/v1/analytics/summary`: figures of a range. `ENDPOINT` declares parameters and semantics."""

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from nealytics.queries.comparison import NAMES, compare_of, compared_selection
from nealytics.queries.endpoint import (
    COUNT,
    EXAMPLE_SCOPE,
    Endpoint,
    Number,
    Ranged,
    of_range,
    of_scope,
    of_times,
    value_of,
)
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.measures import MEASURE, Measure, Values, columns, measures_of, shown_measures
from nealytics.queries.params import SELECTION, Arguments
from nealytics.queries.scoped import Events, Query
from nealytics.queries.time_bounds import TIMESTAMP_MS_MIN

PARAMETERS = (
    *SELECTION,
    MEASURE,
    compare_of(
        "The range of `previous`: of the same length just before, the same dates a month or a year before, or"
        " any range as `<from>..<to>`.",
        NAMES[0],
    ),
)

# The hash by which `uniqExact` tells texts apart, too. Groups of hashes take 0.7 of the processor time and
# less than half of the memory of groups of names: RESULTS.md, "The largest tenant".
_SESSION_HASH = "reinterpretAsUInt128(sipHash128(session_key))"


class Params(msgspec.Struct, frozen=True, kw_only=True):
    zone: str | None = None
    selection: Selection
    compare: str
    compared: Selection
    measures: tuple[Measure, ...] = ()


class Figures(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    from_: str = msgspec.field(name="from")
    to: str
    value: Number
    count: int
    events: Annotated[int, COUNT]
    sessions: int
    users: int
    events_per_session: float
    avg_session_duration_seconds: float
    median_session_duration_seconds: float
    bounce_share: float
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any


class Summary(Ranged, kw_only=True):
    """The figures of the range and of the compared range."""

    compare: str
    # The fields of `Figures`, repeated because a struct has only one base.
    value: Number
    count: int
    events: Annotated[int, COUNT]
    sessions: int
    users: int
    events_per_session: float
    avg_session_duration_seconds: float
    median_session_duration_seconds: float
    bounce_share: float
    measures: tuple[str, ...] = ()
    values: tuple[Decimal | None, ...] = ()
    previous: Figures


def parse(arguments: Arguments) -> Params:
    selection, zone = arguments.selection(), arguments.zone()
    found = compared_selection(arguments, selection, NAMES[0])
    assert found is not None, "it has a default"
    compare, compared = found
    return Params(
        zone=zone,
        selection=selection,
        compare=compare,
        compared=compared,
        measures=measures_of(arguments),
    )


def build_sql(params: Params) -> Query:
    """A row for each of the two ranges that has events. Each is read separately, because they may be far
    apart or overlap."""
    bind = Bind()
    current = _range_sql(1, params.selection, bind)
    return Query(f"{current} UNION ALL {_range_sql(0, params.compared, bind)}", bind.values)


def measured_sql(params: Params) -> Query:
    """Rows `[is current, measured, left_out]`, likewise. A query of its own: the other one groups by session,
    this one by nothing."""
    bind = Bind()
    ranges = (
        f"SELECT {is_current}, {columns(params.measures, bind)}"
        f" FROM events WHERE {_within(selection).where(bind)} HAVING count() > 0"
        for is_current, selection in ((1, params.selection), (0, params.compared))
    )
    return Query(" UNION ALL ".join(ranges), bind.values)


def _within(selection: Selection) -> Selection:
    # There are no times, and no events, before 1900.
    return msgspec.structs.replace(selection, from_ms=max(selection.from_ms, TIMESTAMP_MS_MIN))


def _range_sql(is_current: int, selection: Selection, bind: Bind) -> str:
    sessions = (
        "SELECT count() AS event_count,"
        " toUnixTimestamp64Milli(max(timestamp)) - toUnixTimestamp64Milli(min(timestamp)) AS duration_ms,"
        " groupUniqArray(user_key) AS user_keys"
        f" FROM events WHERE {_within(selection).where(bind)} GROUP BY {_SESSION_HASH}"
    )
    return (
        f"SELECT {is_current}, sum(event_count), count(), uniqExactArray(user_keys), sum(duration_ms),"
        " quantileExactInclusive(0.5)(duration_ms), countIf(event_count = 1)"
        f" FROM ({sessions}) HAVING count() > 0"
    )


async def run(events: Events, params: Params) -> Summary:
    found = {int(row[0]): row[1:] for row in await events.rows(build_sql(params))}
    measured = await events.rows(measured_sql(params)) if params.measures else []
    measured_of = {int(row[0]): row[1:] for row in measured}
    values = Values(params.measures)
    current, previous = (
        _figures(selection, found.get(side), values.of(*measured_of.get(side, ([], []))))
        for side, selection in ((1, params.selection), (0, params.compared))
    )
    return Summary(
        **of_scope(events),
        warnings=values.warnings,
        **{**msgspec.structs.asdict(current), **of_range(params.selection)},
        compare=params.compare,
        measures=shown_measures(params.measures),
        previous=previous,
    )


def _figures(selection: Selection, row: list[Any] | None, values: tuple[Decimal | None, ...]) -> Figures:
    events, sessions, users, duration_ms, median_ms, bounces = row or [0] * 6
    divisor = int(sessions) or 1
    return Figures(
        **of_times(selection),
        value=value_of(int(events), values),
        count=int(events),
        events=int(events),
        sessions=int(sessions),
        users=int(users),
        events_per_session=int(events) / divisor,
        avg_session_duration_seconds=int(duration_ms) / divisor / 1000,
        median_session_duration_seconds=float(median_ms) / 1000,
        bounce_share=int(bounces) / divisor,
        values=values,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/summary",
    summary="Figures of a range, compared with another range",
    description="""
        Returns the figures of a time range and of the range that it is compared with.

        - `count` of events, `sessions`, `users`: their numbers; events without a user count for no user.
        - `eventsPerSession`, `avgSessionDurationSeconds`, `medianSessionDurationSeconds`: a session lasts
          from its first to its last event in the range. The median of an even number of values is the mean
          of the two in the middle.
        - `bounceShare`: the share of sessions with exactly one event.

        All figures per session are 0 without sessions. A session that spans both ranges counts in each,
        with its part.

        With `measure`, both ranges also have the `values` of the measures.

        `previous` contains the compared range and its figures. `compare` selects it:

        - `previous`: the same length, up to one millisecond before `from`. Whole days of `tz` are compared
          with as many whole days.
        - `previous_month`, `previous_year`: the same dates and times of day, a month or a year earlier. If
          a month does not have a date, its last day is used. Whole months are compared with whole months.
        - `<from>..<to>`: this range, such as `2026-01-01..2026-01-31`.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Summary,
    example=Summary(
        **EXAMPLE_SCOPE,
        from_="2026-06-08T00:00:00Z",
        to="2026-06-14T23:59:59.999Z",
        tz="UTC",
        compare="previous",
        value=9_870,
        count=9_870,
        events=9_870,
        sessions=420,
        users=211,
        events_per_session=23.5,
        avg_session_duration_seconds=302.25,
        median_session_duration_seconds=184.5,
        bounce_share=0.25,
        previous=Figures(
            from_="2026-06-01T00:00:00Z",
            to="2026-06-07T23:59:59.999Z",
            value=8_000,
            count=8_000,
            events=8_000,
            sessions=400,
            users=190,
            events_per_session=20.0,
            avg_session_duration_seconds=290.75,
            median_session_duration_seconds=171.0,
            bounce_share=0.3,
        ),
    ),
)
