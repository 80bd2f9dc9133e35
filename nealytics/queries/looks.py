"""The time window scanned for a page: the newest day first, then the month before it, then everything older.

A table is ordered by event type before time, so the newest events of a tenant lie all over it, and `final`
reads whatever a query may touch. A page nearly always lies within a day, which is a fraction of that. The
looks follow each other without gap and without overlap. Copies of an event carry one timestamp, so they are
in the same look; what the looks find one after the other is what one query over all of them would find.

Measured on 10 million events: `nealytics/bench/RESULTS.md`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from nealytics.queries.filters import Bind, Filter, instant

_DAY_MS = 86_400_000

# From the newest instant asked for. A look that does not fill the page costs a query of 10 ms or so, hence
# few of them, and far apart.
_REACHES_MS = (_DAY_MS, 31 * _DAY_MS)

# A value of these has few events, which do not fill a page however far one looks.
_RARE = frozenset({"session_id", "user_id", "event_id"})


class Look(NamedTuple):
    """A stretch of time: from `from_ms` on, before `before_ms`; None is without bound."""

    from_ms: int | None = None
    before_ms: int | None = None

    def conditions(self, bind: Bind) -> list[str]:
        conditions = []
        if self.from_ms is not None:
            conditions.append(f"timestamp >= {instant(self.from_ms, bind)}")
        if self.before_ms is not None:
            conditions.append(f"timestamp < {instant(self.before_ms, bind)}")
        return conditions


def looks(newest_ms: int, oldest_ms: int, filters: tuple[Filter, ...]) -> Iterator[Look]:
    """Newest first; together they are all of time.

    Events may be newer than `newest_ms` and older than `oldest_ms`: it is where they are expected.
    """
    before_ms = None
    if not any(filter_.op == "eq" and filter_.field.name in _RARE for filter_ in filters):
        for reach_ms in _REACHES_MS:
            from_ms = newest_ms - reach_ms
            if from_ms <= oldest_ms:
                break
            yield Look(from_ms, before_ms)
            before_ms = from_ms
    yield Look(None, before_ms)
