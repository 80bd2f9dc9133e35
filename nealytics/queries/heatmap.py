"""`GET /api/v1/analytics/heatmap`: events per hour of the week. `ENDPOINT` declares it."""

from decimal import Decimal

import msgspec

from nealytics.queries.endpoint import EXAMPLE_SCOPE, Endpoint, Number, Ranged, of_range, of_scope, value_of
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.measures import MEASURE, Measure, Values, columns, measures_of, shown_measures
from nealytics.queries.params import SELECTION, Arguments
from nealytics.queries.ranges import hour_of_week, starts
from nealytics.queries.scoped import Events, Query
from nealytics.timestamps import DAY_MS

HOURS = 7 * 24
DAYS_DEFAULT = 28


class Params(msgspec.Struct, frozen=True, kw_only=True):
    zone: str | None = None
    selection: Selection
    measures: tuple[Measure, ...] = ()


class Cell(msgspec.Struct, omit_defaults=True, kw_only=True):
    weekday: int  # 1 is Monday, 7 Sunday
    hour: int
    value: Number
    count: int
    users: int
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any


class Heatmap(Ranged, kw_only=True):
    measures: tuple[str, ...] = ()
    total_count: int
    cells: list[Cell]


def parse(arguments: Arguments) -> Params:
    zone = arguments.zone()
    selection = arguments.selection(lambda end_ms: begin(end_ms, zone))
    return Params(zone=zone, selection=selection, measures=measures_of(arguments))


def begin(end_ms: int, zone: str | None) -> int:
    """The start of the default range, which has so many whole days with that of its end."""
    return starts("day", end_ms - (DAYS_DEFAULT + 2) * DAY_MS, end_ms, zone)[-DAYS_DEFAULT]


def build_sql(params: Params) -> Query:
    """Rows `[hour of the week, count, users, measured, left_out]`, of the hours that have events."""
    bind = Bind()
    selection = params.selection
    hour = hour_of_week(params.zone, bind, selection.from_ms, selection.to_ms)
    return Query(
        f"SELECT {hour} AS hour_of_week, count(), uniqExact(user_key),"
        f" {columns(params.measures, bind)} FROM events WHERE {selection.where(bind)} GROUP BY hour_of_week",
        bind.values,
    )


async def run(events: Events, params: Params) -> Heatmap:
    found = {int(hour): row for hour, *row in await events.rows(build_sql(params))}
    values, cells = Values(params.measures), []
    for number in range(HOURS):
        count, users, measured, left_out = found.get(number, (0, 0, [], []))
        numbers = values.of(measured, left_out)
        cells.append(
            Cell(
                weekday=number // 24 + 1,
                hour=number % 24,
                value=value_of(int(count), numbers),
                count=int(count),
                users=int(users),
                values=numbers,
            )
        )
    return Heatmap(
        **of_scope(events),
        warnings=values.warnings,
        **of_range(params.selection),
        measures=shown_measures(params.measures),
        total_count=sum(cell.count for cell in cells),
        cells=cells,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/heatmap",
    summary="Events per hour of the week",
    description="""
        Returns the number of events and of distinct users for each hour of the week. Without `from`, the
        range has the 28 local days up to that of its end.

        There are always 168 cells, from Monday (`weekday` 1) 0:00 to Sunday (7) 23:00. Each cell covers all
        such hours of the range. An hour is an hour of the local clock: one that occurs twice when the
        clocks change is a single cell.

        With `measure`, each cell also has the `values` of the measures.
    """,
    parameters=(*SELECTION, MEASURE),
    parse=parse,
    run=run,
    answer=Heatmap,
    example=Heatmap(
        **EXAMPLE_SCOPE,
        from_="2026-06-01T00:00:00+02:00",
        to="2026-06-07T23:59:59.999+02:00",
        tz="Europe/Berlin",
        total_count=28,
        cells=[Cell(weekday=1, hour=14, value=28, count=28, users=19)],
    ),
)
