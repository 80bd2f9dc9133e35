"""The largest tenants at /metrics: a bounded number, and the same ones in every worker.

They are the tenants with the most events on the last `PAST_DAYS` days that have ended, so the labels change
at midnight (UTC) only. Tenants of today get the places that are left.

Values are the sums of the month, from the files of all workers. So they never decrease from one scrape to the
next, whichever worker answers, except to 0 at the beginning of a month, which Prometheus takes for a restart.
"""

import heapq
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nealytics.usage.counts import Used, month_days, now_ms, today
from nealytics.usage.node import NodeUsage, Totals

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily

PAST_DAYS = 7
LABELS = ("project_id", "tenant_id")

# Name → its number in `Used`, and what it is.
FAMILIES = {
    "nealytics_tenant_events_total": ("events", "Accepted events of one of the largest tenants."),
    "nealytics_tenant_bytes_total": ("bytes", "Bytes of these events in the log."),
    "nealytics_tenant_queries_total": ("queries", "Queries of one of the largest tenants."),
    "nealytics_tenant_rows_read_total": ("rows_read", "Rows that these queries read."),
}


def largest(past: Totals, now: Totals, number: int) -> list[tuple[str, str]]:
    """The tenants with the most events in `past`, then those that only `now` has."""

    def rank(owner: tuple[str, str]) -> tuple[int, int, tuple[str, str]]:
        # By the number of digits only, in base 2: otherwise tenants would change places all day.
        return -past.get(owner, _NONE).events, -now.get(owner, _NONE).events.bit_length(), owner

    owners = {owner for owner in (*past, *now) if owner[1]}
    return heapq.nsmallest(number, owners, key=rank)


_NONE = Used()


class LargestTenants:
    """At most `tenants_max` of the node whose files are in `root`."""

    def __init__(self, root: Path, tenants_max: int, clock_ms: Callable[[], int] = now_ms) -> None:
        self._node = NodeUsage(root)
        self._tenants_max = tenants_max
        self._clock_ms = clock_ms
        self._lock = threading.Lock()

    def text(self) -> bytes:
        """In Prometheus' format. Reads files; any thread may call it."""
        if not self._tenants_max:
            return b""
        from prometheus_client import generate_latest  # not at the start: see `http.health`

        with self._lock:
            return generate_latest(self)

    def collect(self) -> "Iterator[CounterMetricFamily]":
        from prometheus_client.core import CounterMetricFamily

        day = today(self._clock_ms())
        now = self._node.totals(range(day, day + 1))
        chosen = largest(self._node.totals(range(day - PAST_DAYS, day)), now, self._tenants_max)
        month = self._node.totals(month_days(day))
        for name, (field, what) in FAMILIES.items():
            family = CounterMetricFamily(name.removesuffix("_total"), what, labels=LABELS)
            for owner in chosen:
                family.add_metric(owner, getattr(month.get(owner, _NONE), field))
            yield family
