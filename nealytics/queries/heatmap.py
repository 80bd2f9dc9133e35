"""`GET /api/v1/analytics/heatmap`: events per hour of the week. `ENDPOINT` declares it."""

from decimal import Decimal

import msgspec

from nealytics.queries.endpoint import EXAMPLE_SCOPE, Answer, Endpoint, of_range, of_scope
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.measures import MEASURE, Measure, Values, columns, measures_of, shown_measures
from nealytics.queries.params import SELECTION, Arguments
from nealytics.queries.ranges import hour_of_week
from nealytics.queries.scoped import Events, Query

HOURS = 7 * 24


class Params(msgspec.Struct, frozen=True, kw_only=True):
    zone: str | None = None
    selection: Selection
    measures: tuple[Measure, ...] = ()


class Cell(msgspec.Struct, omit_defaults=True, kw_only=True):
    weekday: int  # 1 is Monday, 7 Sunday
    hour: int
    count: int
    users: int
    values: tuple[Decimal | None, ...] = ()  # of the measures, if there are any


class Heatmap(Answer, kw_only=True):
    from_: str = msgspec.field(name="from")
    to: str
    tz: str | None = None
    measures: tuple[str, ...] = ()
    total_count: int
    cells: list[Cell]


def parse(arguments: Arguments) -> Params:
    return Params(zone=arguments.zone(), selection=arguments.selection(), measures=measures_of(arguments))


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
        cells.append(
            Cell(
                weekday=number // 24 + 1,
                hour=number % 24,
                count=int(count),
                users=int(users),
                values=values.of(measured, left_out),
            )
        )
    return Heatmap(
        **of_scope(events),
        warnings=values.warnings,
        **of_range(params.selection),
        tz=params.zone,
        measures=shown_measures(params.measures),
        total_count=sum(cell.count for cell in cells),
        cells=cells,
    )


ENDPOINT = Endpoint(
    path="/api/v1/analytics/heatmap",
    summary="Events per hour of the week",
    description="""
        Returns the number of events and of distinct users for each hour of the week.

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
        from_="2026-05-31T22:00:00Z",
        to="2026-06-07T21:59:59.999Z",
        tz="Europe/Berlin",
        total_count=28,
        cells=[Cell(weekday=1, hour=14, count=28, users=19)],
    ),
)
