"""`GET /api/v1/analytics/paths`: what follows an event. `ENDPOINT` declares parameters and semantics."""

from itertools import groupby
from typing import Any

import msgspec

from nealytics.pace import paced
from nealytics.queries.endpoint import EXAMPLE_SCOPE, Endpoint, Ranged, of_range, of_scope
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.params import (
    KEY_OF,
    SELECTION,
    Arguments,
    Limit,
    Parameter,
    Warn,
    by_of,
    limit_of,
)
from nealytics.queries.scoped import Events, Query

DEPTH_MAX = 5

PARAMETERS = (
    Parameter(
        name="event",
        kind="text",
        required=True,
        description="The event type to start from.",
        example="product_view",
    ),
    Parameter(
        name="direction",
        kind="choice",
        choices=("next", "previous"),
        default="next",
        description="Whether the events after the start are followed, or those before it.",
    ),
    Parameter(
        name="depth",
        kind="integer",
        default=3,
        minimum=1,
        maximum=DEPTH_MAX,
        description=f"Maximum number of events in a path, 1 to {DEPTH_MAX}; default 3.",
    ),
    by_of("session"),
    *SELECTION,
    limit_of("paths of each length", 50),
)

# Entities per block.
_BLOCK_ROWS = 1024


class Params(msgspec.Struct, frozen=True, kw_only=True):
    event: str
    direction: str
    depth: int
    by: str
    selection: Selection
    limit: Limit


class Path(msgspec.Struct, kw_only=True):
    events: list[str]  # event types, the nearest to the start first
    value: int
    count: int
    share: float


class Paths(Ranged, kw_only=True):
    event: str
    direction: str
    depth: int
    by: str
    starts: int
    paths: list[Path]


def parse(arguments: Arguments) -> Params:
    event, depth = arguments.text("event"), arguments.integer("depth")
    assert event is not None, "it is required"
    assert depth is not None, "it has a default"
    return Params(
        event=event,
        direction=arguments.choice("direction"),
        depth=depth,
        by=arguments.choice("by"),
        selection=arguments.selection(),
        limit=arguments.limit(),
    )


def build_sql(params: Params) -> Query:
    """Rows `[path, count]`, shortest paths first: the first row is the empty path, which all starts have. Of
    each length, one more than the limit."""
    bind = Bind()
    # Whole paths are counted before they are split into prefixes: there are far fewer of them than starts.
    whole = f"SELECT whole, count() AS starts FROM ({_starts(params, bind)}) GROUP BY whole"
    beginnings = "arrayMap(events -> arraySlice(whole, 1, events), range(length(whole) + 1))"
    paths = f"SELECT arrayJoin({beginnings}) AS path, starts FROM ({whole})"
    return Query(
        f"SELECT path, sum(starts) AS found FROM ({paths})"
        " GROUP BY path ORDER BY length(path), found DESC, path"
        f" LIMIT {bind(params.limit.count + 1)} BY length(path)",
        bind.values,
    )


def _starts(params: Params, bind: Bind) -> str:
    """A row for each start, with its whole path."""
    event, where, entity = bind(params.event), params.selection.where(bind), KEY_OF[params.by]
    # In the table's order, also within a millisecond.
    in_order = "arraySort(groupArray(tuple(timestamp, event_id, toString(event_type))))"
    if params.direction == "previous":
        in_order = f"arrayReverse({in_order})"
    sequences = (
        f"SELECT {in_order}.3 AS types FROM events WHERE {where}"
        # Only entities with a start: a set of names instead of all their events. An index on them must not
        # select what `final` reads, see `filters.where`.
        f" AND identity({entity}) IN (SELECT {entity} FROM events WHERE {where} AND event_type = {event})"
        f" GROUP BY {entity} SETTINGS max_block_size = {_BLOCK_ROWS}"
    )
    # Parallel to each event are those after it: the sequence itself, shifted.
    names = ", ".join(f"n{distance}" for distance in range(1, params.depth + 1))
    shifted = ", ".join(f"arrayShiftLeft(types, {distance})" for distance in range(1, params.depth + 1))
    following = f"(at, {names}) -> arraySlice([{names}], 1, length(types) - at)"
    return (
        f"SELECT arrayJoin(arrayFilter((path, type) -> type = {event},"
        f" arrayMap({following}, arrayEnumerate(types), {shifted}), types)) AS whole FROM ({sequences})"
    )


async def run(events: Events, params: Params) -> Paths:
    found = await events.rows(build_sql(params))
    starts = int(found.pop(0)[1]) if found else 0
    shown, warnings = _cut(found, params.limit)
    return Paths(
        **of_scope(events),
        warnings=warnings,
        **of_range(params.selection),
        event=params.event,
        direction=params.direction,
        depth=params.depth,
        by=params.by,
        starts=starts,
        paths=[
            Path(events=path, value=int(count), count=int(count), share=int(count) / starts)
            async for path, count in paced(shown)
        ],
    )


def _cut(found: list[Any], limit: Limit) -> tuple[list[Any], list[Warn]]:
    """The paths of each length up to the limit. The query is for the most frequent ones, so that is no
    error."""
    shown: list[Any] = []
    for _, of_length in groupby(found, key=lambda row: len(row[0])):
        shown += list(of_length)[: limit.count]
    if len(shown) == len(found):
        return shown, []
    text = f"there are more than {limit.count} paths of one length; only the most frequent are listed"
    return shown, [Warn("truncated", text, "limit")]


ENDPOINT = Endpoint(
    path="/api/v1/analytics/paths",
    summary="Events after or before an event",
    description="""
        Returns the events that follow an event, or precede it, and how often.

        Every event of the type `event` in the range is a start, and `starts` is their number. The path of a
        start is the next `depth` events of the same session or user, ordered by time (with `previous`, the
        events before it, nearest first). Filters apply first: events that do not match are skipped.

        `paths` counts every prefix of these paths: `add_to_cart`, `purchase` counts for `["add_to_cart"]`
        and for `["add_to_cart", "purchase"]`. `share` is the share of the starts. Paths are ordered by
        length, then by frequency, then by event types.
    """,
    parameters=PARAMETERS,
    parse=parse,
    run=run,
    answer=Paths,
    example=Paths(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00Z",
        to="2026-06-07T23:59:59.999Z",
        tz="UTC",
        event="product_view",
        direction="next",
        depth=2,
        by="session",
        starts=200,
        paths=[
            Path(events=["add_to_cart"], value=80, count=80, share=0.4),
            Path(events=["search"], value=20, count=20, share=0.1),
            Path(events=["add_to_cart", "purchase"], value=50, count=50, share=0.25),
        ],
    ),
)
