"""Which rows of a log a batch leaves out: those that an erasure covers.

An erasure applies to every attempt that begins once this process knows of it. So a batch may lose rows
between two attempts, and then has another token. That is safe: a batch that may have been sent before is
verified against the table (`delivery`), row by row. If ClickHouse had stored the first attempt, raw SQL shows
its other rows twice until a merge; reads do not.

A row that is left out is within the batch's range, so the cursor acknowledges it with the others.
"""

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Mapping

from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.wal import Rows

# The erasures by id, the same object while none is added. Raises `NealyticsError` while it is not known which
# there are.
Known = Callable[[], Awaitable[Mapping[str, Erasure]]]


async def _none() -> Mapping[str, Erasure]:
    return {}


class Erased:
    """The erasures that the batches of one log leave out."""

    def __init__(self, known: Known = _none) -> None:
        self._known = known
        self._erasures: Mapping[str, Erasure] = {}
        self._tombstones = Tombstones(())

    @property
    def known(self) -> object:
        """Another object whenever `without` leaves out other rows."""
        return self._tombstones

    async def without(self, rows: Rows) -> Rows:
        """`rows` without those that are covered by what was known at the last call of `is_current`."""
        return await asyncio.to_thread(_without, rows, self._tombstones) if self._tombstones else rows

    async def is_current(self) -> bool:
        """Whether the rows that `without` returned last may be sent now. Raises as `known` does."""
        erasures = await self._known()
        if erasures is self._erasures or erasures.keys() == self._erasures.keys():
            return True
        self._erasures, self._tombstones = erasures, Tombstones(erasures.values())
        return False


def _without(rows: Rows, tombstones: Tombstones) -> Rows:
    kept = list(tombstones.kept(rows, rows.row_format))
    if len(kept) == rows.count:
        return rows
    lengths = array("I", map(len, kept))
    return Rows(rows.row_format, rows.first_lsn, lengths, b"".join(kept), rows.appended_ms, rows.last_lsn)
