"""Pages of a sorted list that is calculated anew for each page: `top` and `sessions`.

A cursor has the range of the first page, so that `now` and relative times mean the same on every page, and
the last row of its page. The next page begins after that row, wherever the order has it then; if it is gone,
at the same place as it would have without the change.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from nealytics.queries.cursors import CHARS_MAX, cursor_of, position_of
from nealytics.queries.filters import Bind, Selection
from nealytics.queries.params import Arguments, Parameter
from nealytics.queries.time_bounds import TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN

CURSOR: Final = Parameter(
    name="cursor",
    kind="cursor",
    chars_max=CHARS_MAX,
    description="The `nextCursor` of the previous page. Send the other parameters again with it; the range is"
    " that of the first page.",
)

_Time = Annotated[int, msgspec.Meta(ge=TIMESTAMP_MS_MIN, le=TIMESTAMP_MS_MAX)]


class Place(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The last row of a page: its name and its tenant, and how many rows end with it."""

    version: Literal[1]
    route: str
    from_ms: _Time
    to_ms: _Time
    rows: Annotated[int, msgspec.Meta(ge=1, lt=1 << 48)]
    name: str
    tenant_id: str


class Page(msgspec.Struct, frozen=True):
    """Which page of a route is asked for: the one after `after`, or the first."""

    route: str
    after: Place | None = None

    def of(self, selection: Selection) -> Selection:
        """The selection, with the range of the first page."""
        if self.after is None:
            return selection
        return msgspec.structs.replace(selection, from_ms=self.after.from_ms, to_ms=self.after.to_ms)

    def sql(self, rows: str, columns: str, order: Sequence[str], count: int, bind: Bind) -> str:
        """SELECTs the columns of the page and the number of each row in the order; one row more than
        `count`. The last two of `order` are the name and the tenant of a row."""
        by, limit = ", ".join(order), bind(count + 1)
        if self.after is None:
            return f"SELECT {columns}, 0 AS nth FROM ({rows}) ORDER BY {by} LIMIT {limit}"
        name, tenant = order[-2:]
        is_last = f"{name} = {bind(self.after.name)} AND {tenant} = {bind(self.after.tenant_id)}"
        numbered = f"SELECT *, row_number() OVER (ORDER BY {by}) AS nth FROM ({rows})"
        found = f"SELECT *, maxIf(nth, {is_last}) OVER () AS last FROM ({numbered})"
        return (
            f"SELECT {columns}, nth FROM ({found})"
            f" WHERE nth > if(last = 0, {bind(self.after.rows)}, last) ORDER BY nth LIMIT {limit}"
        )

    def next_cursor(self, found: list[list[Any]], count: int, selection: Selection) -> str | None:
        """Cuts the rows of `sql` to `count`. A row begins with its name and its tenant, and ends with its
        number. None if there are no more."""
        if len(found) <= count:
            return None
        del found[count:]
        name, tenant_id, *_, row = found[-1]
        rows = int(row) or count
        return cursor_of(Place(1, self.route, selection.from_ms, selection.to_ms, rows, name, tenant_id))


def page_of(arguments: Arguments, route: str) -> Page:
    """Raises `Refused` (400) for a cursor of another route."""
    cursor = arguments.text(CURSOR.name)
    if cursor is None:
        return Page(route)
    return Page(route, position_of(cursor, Place, route, lambda place: place.route == route))
