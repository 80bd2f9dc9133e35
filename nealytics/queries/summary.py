"""`GET /api/v1/analytics/summary`: a range of time in a few figures, beside the range before it.

    from, to    ISO 8601, inclusive; default the last `query.default_range_hours`
    filters     as everywhere (`filters.py`)

    events, sessions, users       how many; an anonymous event is no user's
    eventsPerSession              0 without sessions, as the four below
    avgSessionDurationSeconds     a session lasts from its first to its last event within the range
    medianSessionDurationSeconds  of an even number the mean of the middle two
    bounceShare                   sessions of exactly one event among all sessions, from 0 to 1

`previous` has the same figures of the range that is as long and ends one millisecond before `from`. The two
share nothing: a session that goes on from one into the other is a session of each, with its part.
"""

from typing import Any

import msgspec

from nealytics.queries.endpoint import Answer, Endpoint
from nealytics.queries.filters import Bind, Selection, instant
from nealytics.queries.instants import INSTANT_MS_MIN, iso_utc
from nealytics.queries.params import SELECTION, Arguments
from nealytics.queries.scoped import Events, Query


class Params(msgspec.Struct, frozen=True, kw_only=True):
    selection: Selection

    @property
    def previous_from_ms(self) -> int:
        return 2 * self.selection.from_ms - self.selection.to_ms - 1


class Figures(msgspec.Struct, rename="camel", kw_only=True):
    from_: str = msgspec.field(name="from")
    to: str
    events: int
    sessions: int
    users: int
    events_per_session: float
    avg_session_duration_seconds: float
    median_session_duration_seconds: float
    bounce_share: float


class Summary(Answer, kw_only=True):
    """The figures of the range, and those of the range before."""

    # Those of `Figures`: a struct has one base, hence the repetition.
    from_: str = msgspec.field(name="from")
    to: str
    events: int
    sessions: int
    users: int
    events_per_session: float
    avg_session_duration_seconds: float
    median_session_duration_seconds: float
    bounce_share: float
    previous: Figures


def parse(arguments: Arguments) -> Params:
    return Params(selection=arguments.selection())


def build_sql(params: Params) -> Query:
    """A row for each of the two ranges that has events."""
    bind = Bind()
    selection = params.selection
    # Before 1900 there is no instant, and no event.
    both = msgspec.structs.replace(selection, from_ms=max(params.previous_from_ms, INSTANT_MS_MIN))
    sessions = (
        f"SELECT timestamp >= {instant(selection.from_ms, bind)} AS is_current, count() AS event_count,"
        " toUnixTimestamp64Milli(max(timestamp)) - toUnixTimestamp64Milli(min(timestamp)) AS duration_ms,"
        " groupUniqArray(user_key) AS user_keys"
        f" FROM events WHERE {both.where(bind)} GROUP BY is_current, session_key"
    )
    return Query(
        "SELECT is_current, sum(event_count), count(), uniqExactArray(user_keys), sum(duration_ms),"
        " quantileExactInclusive(0.5)(duration_ms), countIf(event_count = 1)"
        f" FROM ({sessions}) GROUP BY is_current",
        bind.values,
    )


async def run(events: Events, params: Params) -> Summary:
    selection = params.selection
    found = {int(row[0]): row[1:] for row in await events.rows(build_sql(params))}
    current = _figures(selection.from_ms, selection.to_ms, found.get(1))
    return Summary(
        project_id=events.scope.project_id,
        tenant_id=events.scope.tenant_id,
        **msgspec.structs.asdict(current),
        previous=_figures(params.previous_from_ms, selection.from_ms - 1, found.get(0)),
    )


def _figures(from_ms: int, to_ms: int, row: list[Any] | None) -> Figures:
    events, sessions, users, duration_ms, median_ms, bounces = row or [0] * 6
    divisor = int(sessions) or 1
    return Figures(
        from_=iso_utc(from_ms),
        to=iso_utc(to_ms),
        events=int(events),
        sessions=int(sessions),
        users=int(users),
        events_per_session=int(events) / divisor,
        avg_session_duration_seconds=int(duration_ms) / divisor / 1000,
        median_session_duration_seconds=float(median_ms) / 1000,
        bounce_share=int(bounces) / divisor,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/summary",
    summary="A range of time in a few figures, beside the range before it",
    parameters=SELECTION,
    parse=parse,
    run=run,
    answer=Summary,
    example=Summary(
        project_id="my-app",
        tenant_id="tenant-1",
        from_="2026-06-08T00:00:00Z",
        to="2026-06-14T23:59:59.999Z",
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
