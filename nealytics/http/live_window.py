"""Which events are new. Decisions only: no clock, no I/O.

Inserts do not become visible in the order of `inserted_at`. So each query goes back to `since_ms`, some
seconds before the previous one, and events that were found before are recognized by their keys.
"""

from nealytics.queries import live
from nealytics.queries.live import New

# Keys that are remembered. Beyond it an event may be repeated, which a stream allows.
SEEN_MAX = 100_000


class Window:
    """What the queries of one hub have covered, in milliseconds of ClickHouse's clock."""

    def __init__(self, overlap_ms: int) -> None:
        self.overlap_ms = overlap_ms
        self.since_ms = 0  # everything inserted up to here was seen
        self.position_ms = 0  # everything that was visible at this time was seen
        self.after: New | None = None  # the last event so far of a query that needs several pages
        self._begun_ms = 0
        self._seen: dict[bytes, int] = {}  # key → at_ms, oldest first

    def begin(self, now_ms: int) -> None:
        """A query begins. It must be sent after ClickHouse's clock showed `now_ms`."""
        self._begun_ms = now_ms
        if not self.since_ms:
            self.since_ms = now_ms - self.overlap_ms

    def add(self, page: live.Page) -> list[New]:
        """The new events of a page that starts after `after`."""
        new = unseen(page.events, self._seen)
        if not page.is_last:
            self.after = page.events[-1]
            return new
        self.after = None
        self.position_ms = max(self.position_ms, self._begun_ms)
        self.since_ms = max(self.since_ms, self._begun_ms - self.overlap_ms)
        # The other events are outside of every later query.
        self._seen = {key: at_ms for key, at_ms in self._seen.items() if at_ms > self.since_ms}
        return new


class Resumption:
    """What a stream reads for itself after an interruption, beside what its hub finds."""

    def __init__(self, window: Window, last_ms: int) -> None:
        """`last_ms` is the id of the last message before the interruption."""
        self._window = window
        # From here on the hub delivers what it finds.
        self._hub_since_ms = window.since_ms
        last_ms = min(last_ms, window.position_ms)
        first_ms = window.position_ms - live.RESUME_MS_MAX
        self.gap = (last_ms, first_ms) if last_ms < first_ms else None  # what is left out
        self.since_ms = max(last_ms, first_ms) - window.overlap_ms
        self._shown: dict[bytes, int] = {}

    def add(self, events: list[New]) -> list[New]:
        """Of a page of missed events, those that were not shown."""
        return unseen(events, self._shown)

    def finish(self) -> None:
        """Everything missed was read. What the hub cannot find is forgotten."""
        self._shown = {key: at_ms for key, at_ms in self._shown.items() if at_ms > self._hub_since_ms}

    def without_shown(self, batch: list[New], *, is_latest: bool) -> list[New]:
        """What is new of a batch of the hub. `is_latest` says that the stream has read all it was handed."""
        if not self._shown:
            return batch
        new = [event for event in batch if event.key not in self._shown]
        if is_latest and self._window.since_ms > max(self._shown.values()):
            self._shown = {}
        return new


def unseen(found: list[New], seen: dict[bytes, int]) -> list[New]:
    """Those that are not in `seen` (key → latest `at_ms`), and adds them to it. `seen` is bounded, so an
    event that was seen long ago may count as unseen."""
    new = []
    for event in found:
        before = seen.get(event.key)
        if before is None:
            new.append(event)
        if before is None or before < event.at_ms:
            seen[event.key] = event.at_ms
    if len(seen) > SEEN_MAX:
        for key in list(seen)[: len(seen) - SEEN_MAX // 2]:
            del seen[key]
    return new


def size_of(events: list[New]) -> int:
    return sum(len(event.data) for event in events)
