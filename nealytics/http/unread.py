"""Limits the memory of answers that clients have not read yet.

A worker has one budget for all of them, `query.unread_bytes_max`: rows from ClickHouse, encoded bytes that
are not sent yet, messages queued for live streams, and the buffers of exports. An answer that exceeds the
rest of the budget is refused (503), so any number of slow clients uses a bounded amount of memory. Beyond its
first answer, one scope may use half of the budget, so that one tenant's clients leave room for others.

The last bytes of an answer are in the kernel's buffer, which has its own limit and is not counted here.
"""

from collections import Counter
from collections.abc import Hashable

from nealytics.errors import Refused

RETRY_AFTER_S = 2


class Unread:
    """The budget of one worker."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self._of: Counter[Hashable] = Counter()

    def charge(self, key: Hashable) -> "Charge":
        """The charge of one answer to the scope `key`."""
        return Charge(self, key)

    def _has_room(self, charge: "Charge", size: int) -> bool:
        if self.bytes + size > self.bytes_max:
            return False
        of_key = self._of[charge.key]
        is_first = of_key == charge.bytes
        return is_first or of_key + size <= self.bytes_max // 2

    def _move(self, charge: "Charge", size: int) -> None:
        self.bytes += size
        charge.bytes += size
        self._of[charge.key] += size
        if not self._of[charge.key]:
            del self._of[charge.key]


class Charge:
    """The part of the budget that one answer uses. The end of the `with` releases all of it."""

    __slots__ = ("_unread", "bytes", "key")

    def __init__(self, unread: Unread, key: Hashable) -> None:
        self._unread = unread
        self.key = key
        self.bytes = 0

    def __enter__(self) -> "Charge":
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back(self.bytes)

    def add(self, size: int) -> None:
        """Raises `Refused`: 503 if other answers use the rest, 422 if the answer alone exceeds the budget."""
        if self.try_add(size):
            return
        most = self._unread.bytes_max
        if self.bytes + size > most:
            raise Refused(
                422,
                "result_too_large",
                f"the answer has more than {most} bytes",
                detail="Narrow the time range, add a filter, or use a smaller limit. The limit is "
                "query.unread_bytes_max.",
            )
        raise Refused(
            503,
            "answers_busy",
            f"answers that clients have not read yet use {self._unread.bytes} of {most} bytes",
            detail="Read the answers that you requested, or retry later. Ingest is not affected.",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )

    def try_add(self, size: int) -> bool:
        if not self._unread._has_room(self, size):
            return False
        self._unread._move(self, size)
        return True

    def give_back(self, size: int) -> None:
        self._unread._move(self, -size)
