"""`GET /api/v1/telemetry/timeline`: events, newest first, page by page.

`ENDPOINT` declares parameters and semantics. A cursor contains the sort key of the last event of its page, so
pages neither repeat nor skip an event, even if many share a millisecond. ClickHouse computes where
`query.page_bytes_max` ends a page, so that events beyond it are never sent here.
"""

import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from nealytics.clickhouse.error_codes import MEMORY_LIMIT_EXCEEDED
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.pace import paced
from nealytics.queries.cursors import CHARS_MAX, cursor_of, position_of
from nealytics.queries.endpoint import EXAMPLE_SCOPE, Answer, Endpoint, of_scope
from nealytics.queries.event_text import BOTH, IS_OBJECT, OBJECT, TEXT, metadata_of
from nealytics.queries.filters import Bind, Condition, sql_time, where
from nealytics.queries.params import FILTERS, TZ, Arguments, Limit, Parameter, Warn, limit_of
from nealytics.queries.scoped import Events, Query
from nealytics.queries.segments import Within
from nealytics.queries.time_bounds import TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN
from nealytics.queries.windows import Window, windows
from nealytics.timestamps import iso_utc

# A UUID, an event type and a tenant of 256 characters of four bytes each, in base64.

PARAMETERS = (
    limit_of("events"),
    Parameter(name="before", kind="timestamp", description="Only events strictly older than this timestamp."),
    Parameter(name="after", kind="timestamp", description="Only events strictly newer than this timestamp."),
    Parameter(
        name="cursor",
        kind="cursor",
        chars_max=CHARS_MAX,
        description="The `nextCursor` of the previous page. Send the same `before`, `after` and filters with"
        " it.",
    ),
    TZ,
    *FILTERS,
    metadata_of(BOTH),
)

# The order of a timeline. The last two matter only for equal timestamps and ids: an `eventId` of another type
# or tenant is another event. All are columns of the table's sorting key.
ORDER = ("timestamp", "event_id", "event_type", "tenant_id")


class Position(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An event's position in the order; the content of a cursor."""

    version: Literal[1]
    timestamp_ms: Annotated[int, msgspec.Meta(ge=TIMESTAMP_MS_MIN, le=TIMESTAMP_MS_MAX)]
    event_id: uuid.UUID
    event_type: str
    tenant_id: str


class Params(msgspec.Struct, frozen=True, kw_only=True):
    now_ms: int
    limit: Limit
    bytes_max: int = 8 * 1024 * 1024
    before_ms: int | None = None
    after_ms: int | None = None
    position: Position | None = None
    filters: tuple[Condition, ...] = ()
    metadata: str = BOTH


class TimelineEvent(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    event_id: str
    tenant_id: str | None = None  # absent if the token is of one tenant
    session_id: str
    user_id: str | None = None
    event_type: str
    item_id: str | None = None
    metadata_json: str | None = None  # absent if only the object was asked for
    metadata: dict[str, Any] | None = None  # absent if the text is no object, or only that was asked for
    timestamp: str


class Timeline(Answer, kw_only=True):
    events: list[TimelineEvent]
    next_cursor: str | None = None  # absent on the last page


def parse(arguments: Arguments) -> Params:
    arguments.zone()  # an invalid one is refused, even if it has no effect
    before_ms = arguments.timestamp("before")
    cursor = arguments.text("cursor")
    position = None if cursor is None else position_of(cursor, Position, "a timeline")
    ends_ms = [before_ms] if before_ms is not None else []
    if position is not None:
        ends_ms.append(position.timestamp_ms)
    arguments.until_ms = min(ends_ms, default=None)
    return Params(
        now_ms=arguments.now_ms,
        limit=arguments.limit(),
        bytes_max=arguments.config.page_bytes_max,
        before_ms=before_ms,
        after_ms=arguments.timestamp("after"),
        position=position,
        filters=arguments.filters(Within(None, arguments.now_ms)),
        metadata=arguments.choice("metadata"),
    )


def build_sql(params: Params, window: Window, rows_max: int, bytes_max: int) -> Query:
    """The newest `rows_max` events within `window`, up to and including the one that makes them larger than
    `bytes_max`. Each row has its size, and the number of rows without that limit."""
    bind = Bind()
    conditions = window.conditions(bind)
    if params.before_ms is not None:
        conditions.append(f"timestamp < {sql_time(params.before_ms, bind)}")
    if params.after_ms is not None:
        conditions.append(f"timestamp > {sql_time(params.after_ms, bind)}")
    if params.position is not None:
        conditions += _older_than(params.position, bind)
    order = ", ".join(f"{column} DESC" for column in ORDER)
    columns = "event_id, tenant_id, session_id, user_id, event_type, item_id, metadata_json"
    newest = (
        f"SELECT {columns}, timestamp FROM events WHERE {where(conditions, params.filters, bind)}"
        f" ORDER BY {order} LIMIT {bind(rows_max)}"
    )
    measured = (
        f"SELECT *, {_SIZE} AS size, count() OVER () AS found,"
        f" sum(size) OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newer_bytes"
        f" FROM ({newest})"
    )
    return Query(
        f"SELECT {columns}, {IS_OBJECT}, toUnixTimestamp64Milli(timestamp), size, found FROM ({measured})"
        f" WHERE newer_bytes < {bind(max(bytes_max, 1))} ORDER BY {order}",
        bind.values,
    )


# The approximate size of an event in the answer: the metadata, other long fields, the rest. The metadata
# counts once, as the text, although there is also the object: a page has as many events with it as without.
_SIZE = (
    "length(toJSONString(metadata_json)) + length(session_id)"
    " + length(ifNull(user_id, '')) + length(ifNull(item_id, '')) + 256"
)


def _older_than(position: Position, bind: Bind) -> list[str]:
    at = sql_time(position.timestamp_ms, bind)
    values = f"{at}, toUUID({bind(str(position.event_id))}), {bind(position.event_type)}"
    return [
        # Implied by the next condition, but in a form for which ClickHouse uses its indexes.
        f"timestamp <= {at}",
        f"({', '.join(ORDER)}) < ({values}, {bind(position.tenant_id)})",
    ]


async def run(events: Events, params: Params) -> Timeline:
    page, more = await _page(events, params)
    of_project = events.scope.tenant_id is None
    return Timeline(
        **of_scope(events),
        warnings=[_SHORT] if more and len(page) < params.limit.count else [],
        events=[_event(row, of_project, params.metadata) async for row in paced(page)],
        next_cursor=cursor_of(_position_of_row(page[-1])) if more else None,
    )


async def _page(events: Events, params: Params) -> tuple[list[list[Any]], bool]:
    """The rows of a page, and whether more rows follow."""
    # One event more than the limit tells whether there is a next page.
    wanted = params.limit.count + 1
    page: list[list[Any]] = []
    size = 0
    rows_max = _STEP_ROWS
    asked = params
    windows_left = _windows(params)
    window = next(windows_left, None)
    while window is not None:
        is_full = size >= params.bytes_max
        most = 1 if is_full else min(wanted - len(page), rows_max)
        try:
            rows = await events.rows(build_sql(asked, window, most, params.bytes_max - size))
        except ClickHouseError as error:
            if error.code != MEMORY_LIMIT_EXCEEDED or most == 1:
                raise
            rows_max = most // 4 + 1
            continue
        if is_full and rows:
            return page, True
        page += rows
        size += sum(int(row[-2]) for row in rows)
        if len(page) >= wanted:
            return page[:-1], True
        if rows and int(rows[-1][-1]) > len(rows):
            return page, True
        if len(rows) < most:
            window = next(windows_left, None)
            continue
        asked = msgspec.structs.replace(params, position=_position_of_row(page[-1]))
        # Enough to fill the page twice, if they have the size of the previous ones.
        rows_max = max(rows_max, 2 * (params.bytes_max - size) * len(page) // size)
    return page, False


# ClickHouse sorts and measures the rows of a page in memory. So a large page is read in steps, and in smaller
# ones if memory does not suffice.
_STEP_ROWS = 1_001

_SHORT = Warn(
    "truncated", "the page ended early, at query.page_bytes_max; follow nextCursor for the rest", "limit"
)


def _windows(params: Params) -> Iterator[Window]:
    newest_ms = params.now_ms
    if params.before_ms is not None:
        newest_ms = min(newest_ms, params.before_ms)
    if params.position is not None:
        newest_ms = min(newest_ms, params.position.timestamp_ms)
    oldest_ms = TIMESTAMP_MS_MIN if params.after_ms is None else params.after_ms
    return windows(newest_ms, oldest_ms, params.filters)


def _event(row: list[Any], of_project: bool, metadata: str) -> TimelineEvent:
    event_id, tenant_id, session_id, user_id, event_type, item_id, metadata_json, *further = row
    is_object, timestamp_ms, *_ = further
    as_object = metadata != TEXT and bool(int(is_object))
    return TimelineEvent(
        event_id=event_id,
        tenant_id=tenant_id if of_project else None,
        session_id=session_id,
        user_id=user_id,
        event_type=event_type,
        item_id=item_id,
        metadata_json=None if as_object and metadata == OBJECT else metadata_json,
        metadata=_as_it_is(metadata_json) if as_object else None,
        timestamp=iso_utc(int(timestamp_ms)),
    )


def _as_it_is(metadata_json: str) -> Any:
    """The JSON as it was sent, in one line. It is not parsed here: ClickHouse has done that."""
    return msgspec.Raw(metadata_json.replace("\n", " ").replace("\r", " ").encode())


def _position_of_row(row: list[Any]) -> Position:
    event_id, tenant_id, _, _, event_type, _, _, _, timestamp_ms, *_ = row
    return Position(1, int(timestamp_ms), uuid.UUID(event_id), event_type, tenant_id)


ENDPOINT = Endpoint(
    path="/api/v1/telemetry/timeline",
    summary="Events, newest first",
    description="""
        Returns events in pages, newest first.

        Follow `nextCursor` to read all pages: it is present exactly if there are more events. Send
        `before`, `after` and the filters again with it. A client that follows it gets every event that
        existed at the start once, even while new events arrive. A page ends early after the event with
        which it exceeds `query.page_bytes_max` bytes, in which metadata counts once, as a text.

        `metadataJson` is the metadata as a text, as it was sent. If it is an object, `metadata` is the same
        as JSON. `metadata=text` and `metadata=object` leave out the other one.

        Events of the same millisecond are ordered by `eventId`, in ClickHouse's order of UUIDs. With a
        token of the whole project, each event has its `tenantId`.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Timeline,
    example=Timeline(
        **EXAMPLE_SCOPE,
        events=[
            TimelineEvent(
                event_id="0190163d-8694-739b-aea5-966c26f8ad91",
                session_id="abc-123",
                user_id="ada",
                event_type="purchase",
                item_id="/shop",
                metadata_json='{"plan":"pro"}',
                metadata={"plan": "pro"},
                timestamp="2026-06-15T10:30:00.123Z",
            )
        ],
        next_cursor="lQHPAAABnsrUvLvEEAGQFj2GlHObrqWWbCb4rZGocHVyY2hhc2WodGVuYW50LTE",
    ),
)
