"""The time windows scanned for a page: the newest day, then the month before it, then everything older.

The table is ordered by event type before time, so the newest events of a tenant are spread over it, and
`final` reads everything that a query may touch. Nearly every page is within a day, a fraction of that. The
windows have no gap and no overlap. Copies of an event have the same timestamp and so the same window; the
windows together return what one query over all of time would.

Measured on 10 million events: `nealytics/bench/RESULTS.md`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from nealytics.queries.filters import Bind, Condition, Filter, sql_time

_DAY_MS = 86_400_000

# Before the newest time of the page. A window that does not fill the page costs a query of about 10 ms, so
# there are few of them, of very different lengths.
_REACHES_MS = (_DAY_MS, 31 * _DAY_MS)

# A value of these has few events: no window would fill a page.
_RARE = frozenset({"session_id", "user_id", "event_id"})


class Window(NamedTuple):
    """The time from `from_ms` on and before `before_ms`; None is without bound."""

    from_ms: int | None = None
    before_ms: int | None = None

    def conditions(self, bind: Bind) -> list[str]:
        conditions = []
        if self.from_ms is not None:
            conditions.append(f"timestamp >= {sql_time(self.from_ms, bind)}")
        if self.before_ms is not None:
            conditions.append(f"timestamp < {sql_time(self.before_ms, bind)}")
        return conditions


def windows(newest_ms: int, oldest_ms: int, filters: tuple[Condition, ...]) -> Iterator[Window]:
    """Newest first; together they are all of time.

    Events are expected between `newest_ms` and `oldest_ms`, and may be outside.
    """
    before_ms = None
    if not any(map(_is_rare, filters)):
        for reach_ms in _REACHES_MS:
            from_ms = newest_ms - reach_ms
            if from_ms <= oldest_ms:
                break
            yield Window(from_ms, before_ms)
            before_ms = from_ms
    yield Window(None, before_ms)


def _is_rare(condition: Condition) -> bool:
    return isinstance(condition, Filter) and condition.op == "eq" and condition.field.name in _RARE
