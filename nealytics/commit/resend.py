"""Which rows of a log may be sent to the table again. Pure.

This is the one place that decides it, for `reconcile` and for whatever else brings old rows back: a row that
is missing from the table may be missing because it should be.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter

from nealytics.clickhouse.rowbinary import decode_row, received_ms, timestamp_ms

DAY_MS = 86_400_000
# ClickHouse's clock and ours differ a little.
_SKEW_MS = 60_000

EXPIRED = "expired"  # the table's TTL deletes it
DEAD_LETTERED = "dead-lettered"  # it waits for a person
DROPPED = "dropped"  # a `Drop` says so
ERASED = "erased"
ACCEPTED = "accepted"  # a person said that it was deleted on purpose
DELETED = "deleted"  # perhaps: rows were deleted by a statement after it arrived

# Whether a row, by its columns, must not come back.
Drop = Callable[[Mapping[str, object]], bool]


class Resending:
    """What is known about rows that must not come back."""

    def __init__(
        self,
        *,
        now_ms: int,
        kept_days: float,
        dead_lsns: Collection[int] = (),
        deleted_ms: int = 0,
        drops: Sequence[Drop] = (),
        erased: Drop | None = None,
        accepted: Sequence[tuple[int, int]] = (),
    ) -> None:
        """`kept_days`: the table's retention. `deleted_ms`: when a statement last deleted rows of the table;
        0 = never, or to be ignored. `erased` is asked for each row anew. `accepted`: first and last
        LSNs, ascending."""
        self._oldest_ms = now_ms - kept_days * DAY_MS
        self._dead_lsns = dead_lsns
        self._received_min_ms = deleted_ms + _SKEW_MS if deleted_ms else 0
        self._drops = drops
        self._erased = erased
        self._accepted = accepted

    def refusal(self, lsn: int, row: bytes, row_format: int) -> str:
        """Why the table need not have the row; empty if it must."""
        if timestamp_ms(row) <= self._oldest_ms:
            return EXPIRED
        if lsn in self._dead_lsns:
            return DEAD_LETTERED
        at = bisect_right(self._accepted, lsn, key=itemgetter(0)) - 1
        if at >= 0 and lsn <= self._accepted[at][1]:
            return ACCEPTED
        if self._drops or self._erased:
            columns = decode_row(row, row_format)
            if self._erased is not None and self._erased(columns):
                return ERASED
            if any(drop(columns) for drop in self._drops):
                return DROPPED
        return ""

    def doubt(self, row: bytes) -> str:
        """Why a row that is missing from the table may have been deleted on purpose; empty if it was not."""
        return DELETED if received_ms(row) <= self._received_min_ms else ""
