"""`GET /api/v1/telemetry/export`: all events of a range as a file, without a limit.

`STREAM` declares parameters and semantics. A cheap count finds the times of the events. Then each time slice
with a bounded number of events is a query of its own, complete before its first byte is sent, so no query
takes long and no answer accumulates in memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from nealytics.clickhouse.client import Param, Setting
from nealytics.clickhouse.rowbinary import INSERT_COLUMNS, ROW_FORMAT
from nealytics.errors import NealyticsError
from nealytics.queries import event_text
from nealytics.queries.endpoint import Stream
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.invalid import invalid
from nealytics.queries.params import SELECTION, Arguments, Parameter
from nealytics.queries.scoped import Events, Query

CONTENT_TYPES: Final = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}
# ClickHouse's names. Our SQL makes the lines of NDJSON, so nothing is left to escape. "native" is for
# `nealytics export` only: the columns of an INSERT, as they are stored.
OUTPUT_FORMATS: Final = {"ndjson": "TabSeparatedRaw", "csv": "CSV", "parquet": "Parquet", "native": "Native"}

_DICTIONARIES: Final = ("project_id", "event_type")

FIELDS: Final = tuple(event_text.FIELDS)
CSV_HEADER: Final = (",".join(f'"{name}"' for name in FIELDS) + "\r\n").encode()

# Events of one slice. Each query reads whole granules, at least one per event type and part, which is
# wasteful for a small slice; a large one has a later first byte and needs more memory to sort. 100,000 events
# of 300 bytes take 0.5 s and 30 MB.
SLICE_EVENTS_MAX = 100_000
# The pauses before retries once an export has begun: half a minute together, enough for a restart of
# ClickHouse.
RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
# Intervals of one count. One that contains too much is counted again in 1,000 finer intervals.
BUCKETS_MAX = 1_000
# A slice that is too large is halved; a millisecond is divided into up to this many shares, by a hash of ids.
_SHARES_MAX = 4_096

# A count may be too high, never too low: it includes copies of events, which is much cheaper.
COUNT_SETTINGS: Final[dict[str, Setting]] = {"final": 0}
SETTINGS: Final[dict[str, Setting]] = {
    **event_text.SETTINGS,
    # The text of a block is in memory several times while it is made: 60,000 events of 8 KB were too much for
    # one query with the default of 65,409, and took 15 s in halves of halves. With this, they take 3 s.
    "max_block_size": 8_192,
}
PARQUET_SETTINGS: Final[dict[str, Setting]] = {
    **SETTINGS,
    "output_format_parquet_string_as_string": 1,
    "output_format_parquet_compression_method": "zstd",
    # A row group is in memory.
    "output_format_parquet_row_group_size": 100_000,
}

STREAM = Stream(
    path="/api/v1/telemetry/export",
    summary="All events of a range as a file",
    description="""
        Sends all events of a range as a file. The number of events is unlimited.

        - NDJSON: each line is an event in the format of the timeline, with `projectId` and `tenantId`. The
          ingest routes accept the same format, and `nealytics import` restores the same events. With
          `metadata=object`, a line has `metadata` as an object.
        - CSV: the same names in the first line; lines end with CRLF, and every text is quoted (RFC 4180).
          An absent user or item is empty and unquoted. Values are not changed, so a spreadsheet interprets
          one that begins with `=`, `+`, `-` or `@` as a formula: import the columns as text.
        - Parquet: the same columns; `timestamp` is a time (milliseconds, UTC), an absent user or item is
          NULL, and the rows have no order. NDJSON and CSV are ordered by time, with no order within a
          millisecond.

        Every event that was committed before the export began is included exactly once. An event that is
        committed while it runs may be included. The first byte of NDJSON and CSV is sent at once, that of
        Parquet when the file is complete.

        If an export fails while it runs, the connection is cut. Detecting that needs HTTP/1.1 (in nginx,
        `proxy_http_version 1.1`), and not every proxy forwards it: Caddy 2.6 makes a complete answer of it.
        With `end=true`, NDJSON and CSV end with a record that confirms completeness and has the number of
        events; the same number is in the trailer `Nealytics-Events`. Parquet has a footer, and compressed
        files end with a checksum.
    """,
    parameters=(
        Parameter(
            name="format",
            kind="choice",
            choices=tuple(CONTENT_TYPES),
            description="Format of the file. Default: what the header Accept prefers, else ndjson.",
        ),
        Parameter(
            name="end",
            kind="flag",
            description="Add a last record that marks the export as complete and has the number of events."
            " Parquet ignores it: its footer does that.",
        ),
        *SELECTION,
        event_text.metadata_of(event_text.TEXT),
    ),
    content_types=tuple(CONTENT_TYPES.values()),
    must_end=True,
    example='{"eventId":"0190163d-8694-739b-aea5-966c26f8ad91","projectId":"my-app","tenantId":"tenant-1",'
    '"sessionId":"abc-123","userId":"ada","eventType":"purchase","itemId":"/shop",'
    '"metadataJson":"{\\"plan\\":\\"pro\\"}","timestamp":"2026-06-15T10:30:00.123Z"}\n',
)


class Params(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    selection: Selection
    end: bool = False
    metadata: str = event_text.TEXT  # of NDJSON; other formats have nothing else


class Slice(NamedTuple):
    """The events of a time range, both ends inclusive; or one share of them, if a millisecond has too
    many."""

    from_ms: int
    to_ms: int
    share: int = 0
    shares: int = 1

    def halves(self) -> "tuple[Slice, Slice] | None":
        """Two slices that are together this one; None if it cannot be halved."""
        if self.from_ms < self.to_ms:
            middle = (self.from_ms + self.to_ms) // 2
            return Slice(self.from_ms, middle), Slice(middle + 1, self.to_ms)
        if self.shares >= _SHARES_MAX:
            return None
        twice = self.shares * 2
        return (
            Slice(self.from_ms, self.to_ms, self.share, twice),
            Slice(self.from_ms, self.to_ms, self.share + self.shares, twice),
        )


def parse(arguments: Arguments, accepted: str | None) -> Params:
    """`accepted` is the content type that the header Accept prefers."""
    preferred = next((name for name, kind in CONTENT_TYPES.items() if kind == accepted), "ndjson")
    form, metadata = arguments.choice("format") or preferred, arguments.choice("metadata")
    if metadata != event_text.TEXT and form != "ndjson":
        raise invalid(
            "metadata",
            f"metadata is {metadata}, and {form} has it as text only",
            "Write metadata=text, or choose format=ndjson.",
        )
    return Params(format=form, selection=arguments.selection(), end=arguments.flag("end"), metadata=metadata)


def count_sql(params: Params, from_ms: int, to_ms: int, width_ms: int) -> Query:
    """The number of events in each interval of `width_ms` that has any."""
    bind = Bind()
    where = _within(params, Slice(from_ms, to_ms), bind)
    bucket = f"intDiv(toUnixTimestamp64Milli(timestamp) - {bind(from_ms)}, {bind(width_ms)})"
    return Query(f"SELECT {bucket} AS bucket, count() FROM events WHERE {where} GROUP BY bucket", bind.values)


def slice_sql(params: Params, part: Slice) -> Query:
    match params.format:
        case "ndjson":
            select = event_text.json_sql(FIELDS, params.metadata)
        case "csv":
            select = event_text.columns_sql(FIELDS)
        case _:
            # Without dictionaries, so that `clickhouse.native` can count the rows. An INSERT takes both.
            select = ", ".join(
                f"CAST(events.{name}, 'String') AS {name}" if name in _DICTIONARIES else name
                for name in INSERT_COLUMNS[ROW_FORMAT]
            )
    where, values = _of_slice(params, part)
    return Query(f"SELECT {select} FROM events WHERE {where} ORDER BY events.timestamp", values)


def slice_count_sql(params: Params, part: Slice) -> Query:
    """The number of events in the slice."""
    where, values = _of_slice(params, part)
    return Query(f"SELECT count() FROM events WHERE {where}", values)


def extent_sql() -> Query:
    """The times of the first and the last event in milliseconds, and whether there is any."""
    first, last = (f"toUnixTimestamp64Milli({which}(timestamp))" for which in ("min", "max"))
    return Query(f"SELECT {first}, {last}, count() > 0 FROM events", {})


def parquet_sql(params: Params) -> Query:
    bind = Bind()
    where = params.selection.where(bind)
    columns = event_text.columns_sql(FIELDS, {"timestamp": "events.timestamp"})
    return Query(f"SELECT {columns} FROM events WHERE {where}", bind.values)


Counted = list[tuple[int, int]]  # (number of the interval, events in it), in order of time


async def counted(events: Events, params: Params, from_ms: int, to_ms: int, width_ms: int) -> Counted:
    """Raises `ClickHouseError`."""
    rows = await events.rows(count_sql(params, from_ms, to_ms, width_ms), COUNT_SETTINGS)
    return sorted((int(bucket), int(count)) for bucket, count in rows)


# Runs a query when a slot is free, with retries.
Ask = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def parts(
    events: Events, params: Params, ask: Ask, too_large: Callable[[NealyticsError], bool]
) -> AsyncGenerator[tuple[Slice, AsyncIterator[bytes]]]:
    """An export slice by slice: its bytes, to be read before the next slice. CSV lacks its header.

    `too_large` tells whether an error of `ask` may not occur for a smaller slice. Raises every other error,
    and that of a slice that cannot be halved.
    """

    async def count(from_ms: int, to_ms: int, width_ms: int) -> Counted | None:
        try:
            found: Counted = await ask(lambda: counted(events, params, from_ms, to_ms, width_ms))
        except NealyticsError as error:
            if too_large(error) and from_ms < to_ms:
                return None
            raise
        return found

    def answer(part: Slice, stack: AsyncExitStack) -> Awaitable[AsyncIterator[bytes]]:
        stream = events.stream(slice_sql(params, part), OUTPUT_FORMATS[params.format], SETTINGS)
        return stack.enter_async_context(stream)

    async for part in slices(count, params.selection.from_ms, params.selection.to_ms):
        waiting = [part]
        while waiting:
            part = waiting.pop()
            async with AsyncExitStack() as stack:
                try:
                    pieces = await ask(partial(answer, part, stack))
                except NealyticsError as error:
                    halves = part.halves() if too_large(error) else None
                    if halves is None:
                        raise
                    waiting += reversed(halves)
                    continue
                yield part, pieces


async def slices(
    count: Callable[[int, int, int], Awaitable[Counted | None]], from_ms: int, to_ms: int
) -> AsyncIterator[Slice]:
    """Divides a range into slices of at most `SLICE_EVENTS_MAX` events, in order of time, without empty ones.

    `count(from_ms, to_ms, width_ms)` returns None if that was too much for one query.
    """
    width_ms = -(-(to_ms - from_ms + 1) // BUCKETS_MAX)
    first_ms = last_ms = gathered = 0
    found = await count(from_ms, to_ms, width_ms)
    if found is None:
        for half in Slice(from_ms, to_ms).halves() or ():
            async for finer in slices(count, half.from_ms, half.to_ms):
                yield finer
        return
    for bucket, events in found:
        start_ms = from_ms + bucket * width_ms
        end_ms = min(start_ms + width_ms - 1, to_ms)
        if gathered and gathered + events > SLICE_EVENTS_MAX:
            yield Slice(first_ms, last_ms)
            gathered = 0
        if events <= SLICE_EVENTS_MAX:
            if not gathered:
                first_ms = start_ms
            last_ms = end_ms
            gathered += events
        elif width_ms > 1:
            async for finer in slices(count, start_ms, end_ms):
                yield finer
        else:
            shares = -(-events // SLICE_EVENTS_MAX)
            for share in range(shares):
                yield Slice(start_ms, end_ms, share, shares)
    if gathered:
        yield Slice(first_ms, last_ms)


def _of_slice(params: Params, part: Slice) -> tuple[str, dict[str, Param]]:
    bind = Bind()
    where = _within(params, part, bind)
    if part.shares > 1:
        where += f" AND cityHash64(event_id) % {part.shares} = {part.share}"
    return where, bind.values


def _within(params: Params, part: Slice, bind: Bind) -> str:
    return msgspec.structs.replace(params.selection, from_ms=part.from_ms, to_ms=part.to_ms).where(bind)
