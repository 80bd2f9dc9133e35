"""`GET /api/v1/telemetry/live`: new events as they are committed, as Server-Sent Events.

`STREAM` declares parameters and semantics. Inserts do not become visible in the order of their times, so
each query includes the last `query.live_overlap_s` again; a connection sends an event a second time only if
it was inserted again.
"""

import re
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec

from nealytics.auth.scope import Scope
from nealytics.clickhouse.client import Setting
from nealytics.queries import event_text
from nealytics.queries.endpoint import Stream
from nealytics.queries.filters import Bind, Condition, sql_time
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.params import FILTERS, Arguments, Parameter
from nealytics.queries.scoped import Events, Query
from nealytics.queries.segments import Within
from nealytics.timestamps import iso_utc

TOKEN_CHARS_MAX = 8 * 1024

# Of one query; a long gap is read in several.
PAGE_EVENTS_MAX = 1_000
PAGE_BYTES_MAX = 1024 * 1024

# After a longer interruption, a stream resumes here. The table is ordered by the events' own times, so
# reading more by the time of insertion would be slow.
RESUME_MS_MAX = 24 * 3_600_000

CONTENT_TYPE = "text/event-stream"

# The hub recognizes copies in memory. Without `final`, the cost depends on new events and not on stored ones:
# 13 instead of 36 to 390 ms on 8 million events. That also needs the index on `inserted_at` (schema.py).
SETTINGS: Final[dict[str, Setting]] = {"final": 0, **event_text.SETTINGS}

# The identity of an event, as in the table's sorting key.
_KEY = "hex(sipHash128(tenant_id, event_type, timestamp, event_id))"
_EVENT_ID = "[0-9]{1,15}"

STREAM = Stream(
    path="/api/v1/telemetry/live",
    summary="New events as they are committed",
    description="""
        Sends new events as Server-Sent Events, as soon as they are committed.

        Each event is a message: `data` is the event in the format of the timeline, and `id` the time at
        which it was committed. The stream shows the events that are committed after it began, whatever
        their own timestamps are. From time to time it sends an `id` without data, or a comment as a
        heartbeat.

        Delivery is at least once. A stream that resumes with the last `id` may repeat the events of the
        last `query.live_overlap_s` seconds, and misses none. After an interruption of more than 24 hours, a
        message of type `gap` names the time range of the missing events; the export contains them
        (`filter=inserted_at:…`). To count events, use `eventId`. An event whose insert takes longer than
        `query.live_overlap_s` to become visible is not shown.

        The stream ends when the token expires, with a message of type `end` and the data `{"code":
        "token_expired", …}`. It also ends when the worker stops or the client does not read; resume it
        then. While ClickHouse is down, the stream stays open.

        A browser's EventSource cannot send headers. Prefer an implementation based on fetch, which can send
        Authorization. Otherwise send the token as `access_token`. Proxies log URLs and browsers store them,
        so use tokens with a short lifetime and few rights (the claims `endpoints` and `filters`).
    """,
    parameters=(
        Parameter(
            name="lastEventId",
            kind="text",
            pattern=_EVENT_ID,
            description="Resume after the message with this `id`. The header Last-Event-ID, which an"
            " EventSource sends by itself, has precedence.",
            example="1781519400123",
        ),
        Parameter(
            name="access_token",
            kind="text",
            chars_max=TOKEN_CHARS_MAX,
            description="The token, for a browser's EventSource, which cannot send the header Authorization."
            " Give it a short life: URLs end up in the logs of proxies.",
        ),
        *FILTERS,
    ),
    content_types=(CONTENT_TYPE,),
    must_end=False,
    example='retry: 2000\nid: 1781519400000\n\nid: 1781519400123\ndata: {"eventId":'
    '"0190163d-8694-739b-aea5-966c26f8ad91","sessionId":"abc-123","userId":"ada","eventType":"purchase",'
    '"itemId":"/shop","metadataJson":"{\\"plan\\":\\"pro\\"}","timestamp":"2026-06-15T10:30:00.123Z",'
    '"metadata":{"plan":"pro"}}\n\n',
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    filters: tuple[Condition, ...]
    last_ms: int | None = None  # the `id` after which to resume


class New(NamedTuple):
    """An event that was committed. `key` is the same for all copies of it."""

    at_ms: int  # inserted_at
    key: bytes
    data: bytes  # JSON in one line

    @property
    def message(self) -> bytes:
        return b"id: %d\ndata: %b\n\n" % (self.at_ms, self.data)


class Page(NamedTuple):
    events: list[New]  # in the order of `at_ms` and `key`
    is_last: bool


def parse(arguments: Arguments, last_event_id: str) -> Params:
    """`last_event_id` is the header."""
    given = last_event_id.strip() or (arguments.text("lastEventId") or "").strip()
    if given and not re.fullmatch(_EVENT_ID, given):
        raise invalid(
            "lastEventId",
            f"lastEventId is {shown(given)}, which is not the id of a message",
            "Send the id of the last message that you received; without one, the stream begins now.",
        )
    return Params(filters=arguments.filters(Within()), last_ms=int(given) if given else None)


def gap_message(from_ms: int, to_ms: int) -> bytes:
    """Says that events committed in between are missing."""
    data = msgspec.json.encode({"code": "gap", "from": iso_utc(from_ms), "to": iso_utc(to_ms)})
    return b"event: gap\ndata: %b\n\n" % data


def page_sql(scope: Scope, filters: tuple[Condition, ...], since_ms: int, after: New | None) -> Query:
    """The events inserted later than `since_ms`, and after `after` in the order of a page."""
    bind = Bind()
    where = [filter_.sql(bind) for filter_ in filters]
    if after is None:
        where.append(f"inserted_at > {sql_time(since_ms, bind)}")
    else:
        # In this form, ClickHouse uses the index.
        at = sql_time(after.at_ms, bind)
        where.append(f"inserted_at >= {at} AND (inserted_at > {at} OR key > {bind(after.key.decode())})")
    known = {"projectId", "tenantId"} if scope.tenant_id is not None else {"projectId"}
    names = tuple(name for name in event_text.FIELDS if name not in known)
    return Query(
        f"SELECT toUnixTimestamp64Milli(inserted_at), {_KEY} AS key,"
        f" {event_text.json_sql(names, event_text.BOTH)} FROM events"
        f" WHERE {' AND '.join(where)} ORDER BY inserted_at, key LIMIT {PAGE_EVENTS_MAX}",
        bind.values,
    )


async def page_of(
    events: Events, filters: tuple[Condition, ...], since_ms: int, after: New | None = None
) -> Page:
    """At most `PAGE_EVENTS_MAX` events or a little more than `PAGE_BYTES_MAX`. Raises `ClickHouseError`."""
    found: list[New] = []
    size = 0
    query = page_sql(events.scope, filters, since_ms, after)
    async with events.stream(query, "TabSeparatedRaw", SETTINGS) as pieces:
        async for line in _lines(pieces):
            # The JSON contains no tab and no line feed, because they are escaped.
            at_ms, key, data = line.split(b"\t", 2)
            found.append(New(int(at_ms), key, data))
            size += len(data)
            if size >= PAGE_BYTES_MAX:
                return Page(found, False)
    return Page(found, len(found) < PAGE_EVENTS_MAX)


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
