"""`GET /api/v1/analytics/sessions`: sessions and their totals. `ENDPOINT` declares it."""

from typing import Annotated, Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.cursors import cursor_of
from nealytics.queries.endpoint import COUNT, EXAMPLE_SCOPE, Endpoint, Ranged, of_range, of_scope
from nealytics.queries.filters import Bind, Field, Filter, Selection
from nealytics.queries.pages import CURSOR, Page, Place, page_of
from nealytics.queries.params import SELECTION, Arguments, Limit, Parameter, limit_of
from nealytics.queries.scoped import Events, Query
from nealytics.timestamps import iso_utc

# Choice → its SQL.
ORDERS = {
    "start": "first_seen_ms",
    "-start": "first_seen_ms DESC",
    "duration": "duration_ms",
    "-duration": "duration_ms DESC",
    "events": "event_count",
    "-events": "event_count DESC",
}

PARAMETERS = (
    *SELECTION,
    Parameter(
        name="order",
        kind="choice",
        choices=tuple(ORDERS),
        default="-start",
        description="Order of the sessions; `-` means descending.",
    ),
    limit_of("sessions"),
    CURSOR,
)


# By name; a session with more event types is rarely a visit.
EVENT_TYPES_MAX = 20
# Parameters are part of the URL, where ClickHouse accepts 128 KiB each, percent-encoded: three characters for
# a byte. Between two ids are three.
_IDS_BYTES_MAX = 32_768
_NOTHING: list[Any] = [None, None, None, []]  # if a session was erased between the two queries


class Params(msgspec.Struct, frozen=True, kw_only=True):
    selection: Selection
    order: str
    limit: Limit
    page: Page = Page("sessions")


class Session(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    session_id: str
    tenant_id: str | None = None  # absent if the token is of one tenant
    first_seen: str
    last_seen: str
    duration_seconds: float
    count: int  # of events
    event_count: Annotated[int, COUNT]
    user_id: str | None = None  # the first one of the session
    entry_item_id: str | None = None  # the first item, and the last
    exit_item_id: str | None = None
    event_types: list[str]


class Totals(msgspec.Struct, rename="camel", kw_only=True):
    """Of all sessions in the range."""

    sessions: int
    count: int  # of events
    events: Annotated[int, COUNT]
    avg_duration_seconds: float
    median_duration_seconds: float


class Sessions(Ranged, kw_only=True):
    unique_session_count: int
    total_event_count: int
    avg_duration_seconds: float
    totals: Totals
    sessions: list[Session]
    next_cursor: str | None = None  # absent on the last page


def parse(arguments: Arguments) -> Params:
    page = page_of(arguments, "sessions")
    return Params(
        selection=page.of(arguments.selection()),
        order=arguments.choice("order"),
        limit=arguments.limit(),
        page=page,
    )


def build_sql(params: Params) -> Query:
    """A row for each session of the page, followed by the totals of all sessions.

    One statement reads the events once, and page and totals are consistent.
    """
    bind = Bind()
    return Query(_page_sql(params, bind), bind.values)


def _page_sql(params: Params, bind: Bind) -> str:
    each = (
        "SELECT any(session_id) AS id, any(tenant_id) AS tenant,"
        " toUnixTimestamp64Milli(min(timestamp)) AS first_seen_ms,"
        " toUnixTimestamp64Milli(max(timestamp)) AS last_seen_ms,"
        " last_seen_ms - first_seen_ms AS duration_ms, count() AS event_count"
        f" FROM events WHERE {params.selection.where(bind)} GROUP BY session_key"
    )
    of_all = (
        "SELECT *, count() OVER () AS session_total, sum(event_count) OVER () AS event_total,"
        " sum(duration_ms) OVER () AS duration_total_ms,"
        f" quantileExactInclusive(0.5)(duration_ms) OVER () AS duration_median_ms FROM ({each})"
    )
    return params.page.sql(
        of_all,
        "id, tenant, first_seen_ms, last_seen_ms, event_count, session_total, event_total,"
        " duration_total_ms, duration_median_ms",
        [ORDERS[params.order], "id", "tenant"],
        params.limit.count,
        bind,
    )


def details_sql(params: Params, rows: list[list[Any]]) -> Query:
    """Rows `[id, tenant, user, entry, exit, event types]` of the sessions of a page, in any order."""
    bind = Bind()
    ids = tuple(dict.fromkeys(row[0] for row in rows))
    where = params.selection.where(bind)
    if sum(len(id_.encode()) + 3 for id_ in ids) <= _IDS_BYTES_MAX:
        # With the index of sessions.
        listed = (*params.selection.filters, Filter(Field("session_id"), "in", ids))
        where = msgspec.structs.replace(params.selection, filters=listed).where(bind)
    else:
        where += f" AND (session_id, tenant_id) IN (SELECT id, tenant FROM ({_page_sql(params, bind)}))"
    # In the order of the timeline. The first of all is that of the smallest.
    at = "(timestamp, event_id, event_type)"
    return Query(
        "SELECT any(session_id), any(tenant_id),"
        f" argMinIf(toNullable(user_id), {at}, user_id != ''),"
        f" argMinIf(toNullable(item_id), {at}, item_id != ''),"
        f" argMaxIf(toNullable(item_id), {at}, item_id != ''),"
        f" arraySlice(arraySort(groupUniqArray(toString(event_type))), 1, {EVENT_TYPES_MAX})"
        f" FROM events WHERE {where} GROUP BY session_key",
        bind.values,
    )


async def run(events: Events, params: Params) -> Sessions:
    rows = await events.rows(build_sql(params))
    next_cursor = params.page.next_cursor(rows, params.limit.count, params.selection)
    found = await events.rows(details_sql(params, rows)) if rows else []
    details = {(row[0], row[1]): row[2:] async for row in paced(found)}
    of_project = events.scope.tenant_id is None
    sessions = [
        _session(row, details.get((row[0], row[1]), _NOTHING), of_project) async for row in paced(rows)
    ]
    count = len(sessions)
    # Whole milliseconds, as in the totals: a sum of fractions of seconds would differ.
    duration_ms = sum([int(row[3]) - int(row[2]) async for row in paced(rows)])
    return Sessions(
        **of_scope(events),
        **of_range(params.selection),
        unique_session_count=count,
        total_event_count=sum(session.event_count for session in sessions),
        avg_duration_seconds=duration_ms / count / 1000 if count else 0.0,
        totals=_totals(rows[0][5:9] if rows else [0, 0, 0, 0]),
        sessions=sessions,
        next_cursor=next_cursor,
    )


def _session(row: list[Any], details: list[Any], of_project: bool) -> Session:
    session_id, tenant_id, first_seen_ms, last_seen_ms, event_count, *_ = row
    first_seen_ms, last_seen_ms = int(first_seen_ms), int(last_seen_ms)
    user_id, entry_item, exit_item, event_types = details
    return Session(
        session_id=session_id,
        tenant_id=tenant_id if of_project else None,
        first_seen=iso_utc(first_seen_ms),
        last_seen=iso_utc(last_seen_ms),
        duration_seconds=(last_seen_ms - first_seen_ms) / 1000,
        count=int(event_count),
        event_count=int(event_count),
        user_id=user_id or None,
        entry_item_id=entry_item or None,
        exit_item_id=exit_item or None,
        event_types=event_types,
    )


def _totals(row: list[Any]) -> Totals:
    sessions, events, duration_ms, median_ms = row
    return Totals(
        sessions=int(sessions),
        count=int(events),
        events=int(events),
        avg_duration_seconds=int(duration_ms) / int(sessions) / 1000 if sessions else 0.0,
        median_duration_seconds=float(median_ms) / 1000,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/sessions",
    summary="Sessions and their totals",
    description="""
        Returns the sessions in a time range, and the totals of all sessions.

        A session is all events with the same `sessionId`. Only events in the range that match the filters
        count. The duration is the time between the first and the last of them. Sessions with equal values
        are ordered by `sessionId`.

        `userId` is the first user of its events, `entryItemId` and `exitItemId` are the first and the last
        item; each is absent if there is none. `eventTypes` are up to 20 of its event types, by name.

        `nextCursor` is present exactly if there are more sessions. Send it as `cursor`, with the other
        parameters as before, for the next page. It keeps the range of the first page and continues after
        its last session, wherever that is now: events that arrive in between may move a session across it.

        `uniqueSessionCount`, `totalEventCount` and `avgDurationSeconds` refer to the returned sessions;
        `totals` refer to all sessions in the range, including those beyond `limit`. The median of an even
        number of values is the mean of the two in the middle. With a token of the whole project, each
        session has its `tenantId`.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    counted_as="sessions_returned",
    answer=Sessions,
    example=Sessions(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-30T23:59:59.999Z",
        tz="UTC",
        unique_session_count=1,
        total_event_count=28,
        avg_duration_seconds=930.5,
        totals=Totals(
            sessions=412,
            count=9_870,
            events=9_870,
            avg_duration_seconds=302.25,
            median_duration_seconds=184.5,
        ),
        sessions=[
            Session(
                session_id="abc-123",
                first_seen="2026-06-15T10:30:00Z",
                last_seen="2026-06-15T10:45:30.5Z",
                duration_seconds=930.5,
                count=28,
                event_count=28,
                user_id="ada",
                entry_item_id="/home",
                exit_item_id="/shop",
                event_types=["page_view", "purchase"],
            )
        ],
        next_cursor=cursor_of(
            Place(1, "sessions", 1_780_272_000_000, 1_782_863_999_999, 1, "abc-123", "tenant-1")
        ),
    ),
)
