"""Which `[[quota]]` limits a tenant, what was used of it, and whether anything is left. Pure.

A quota limits the events that are accepted in a month, and the queries in a day, both in UTC. Each of the two
limits is found on its own; the most specific quota that has it counts:

    project, tenant         this tenant
    project, tenant = "*"   each tenant of the project, with a count of its own
    project                 all tenants of the project together

A limit of 0 is an exception to a wider quota: unlimited.

A worker counts what it takes on top of what all workers had used when their files were last read. So within a
worker a limit is exact, and workers together exceed it by what the others took since then. What is taken
becomes used when it is stored, or is given back.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from nealytics.config import QuotaRule
from nealytics.timestamps import DAY_MS

EACH = "*"

Kind = Literal["events_per_month", "queries_per_day"]
# What was used: by project, then by tenant. The tenant "" is all of the project, also what has no tenant.
Sums = dict[str, dict[str, int]]
Owner = tuple[str, str]  # project and tenant


class Period(NamedTuple):
    """A month or a day, in UTC."""

    begins_ms: int
    ends_ms: int
    name: str  # as people read it

    @property
    def ends(self) -> str:
        return f"{datetime.fromtimestamp(self.ends_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"

    @classmethod
    def of(cls, kind: Kind, now_ms: int) -> "Period":
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if kind == "queries_per_day":
            begins_ms = int(midnight.timestamp()) * 1000
            return cls(begins_ms, begins_ms + DAY_MS, f"{midnight:%Y-%m-%d}")
        first = midnight.replace(day=1)
        following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        return cls(int(first.timestamp()) * 1000, int(following.timestamp()) * 1000, f"{first:%Y-%m}")


class Share(NamedTuple):
    """What was used of one limit. An empty tenant: all tenants of the project together."""

    kind: Kind
    project_id: str
    tenant_id: str
    limit: int
    used: int
    period: Period

    @property
    def message(self) -> str:
        whose = f"tenant {self.tenant_id!r} of " if self.tenant_id else ""
        what = "events" if self.kind == "events_per_month" else "queries"
        return (
            f"{whose}project {self.project_id!r} has used {self.used:,} of its {self.limit:,} {what} of "
            f"{self.period.name}"
        )

    @property
    def detail(self) -> str:
        return f"The count begins again at {self.period.ends}. The operator sets {self.kind} in [[quota]]."

    def retry_after_s(self, now_ms: int) -> int:
        return max(1, -(-(self.period.ends_ms - now_ms) // 1000))


class Allowance:
    """The limits of one kind, and what was used of them in the current period."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
        self._limits: dict[str, dict[str, int]] = {}
        self._period = Period(0, 0, "")
        # Used is the sum of these four. What was stored is not added to what the files had: with 200,000
        # tenants, that would hold the event loop for 30 ms.
        self._counted: Sums = {}  # what the files had when they were read
        self._marked: Sums = {}  # stored since then, and before the last `mark`
        self._stored: Sums = {}  # since the last `mark`
        self._taken: Sums = {}  # neither stored nor given back yet

    def replace(self, rules: Iterable[QuotaRule]) -> None:
        """From now on, these limits apply, to what was used before too."""
        limits: dict[str, dict[str, int]] = {}
        for rule in rules:
            limit = getattr(rule, self.kind)
            if limit >= 0:
                limits.setdefault(rule.project, {})[rule.tenant] = limit
        self._limits = limits
        self._counted = self._complete(self._counted)
        self._marked = self._complete(self._marked)
        self._stored = self._complete(self._stored)
        self._taken = self._complete(self._taken)

    def take(self, project_id: str, tenant_id: str, now_ms: int, number: int = 1) -> Share | None:
        """Takes one, and returns None; or takes nothing, and returns what is used up. With a `number` of 0 it
        only says whether one is left."""
        limits = self._limits.get(project_id)
        if limits is None:
            return None
        period = self._period
        if not period.begins_ms <= now_ms < period.ends_ms:
            self._begin(now_ms)
        counted_as, limit = _find(limits, tenant_id)
        if limit:
            used = self._used(project_id, counted_as)
            if used >= limit:
                return Share(self.kind, project_id, counted_as, limit, used, self._period)
        if number:
            _add(self._taken[project_id], tenant_id, number)
        return None

    def _used(self, project_id: str, tenant_id: str) -> int:
        return (
            self._counted[project_id].get(tenant_id, 0)
            + self._marked[project_id].get(tenant_id, 0)
            + self._stored[project_id].get(tenant_id, 0)
            + self._taken[project_id].get(tenant_id, 0)
        )

    def stored(self, owner: Owner, number: int, at_ms: int) -> None:
        """So many were stored, that were received at `at_ms`: they are no longer only taken."""
        project_id, tenant_id = owner
        if self._lower(project_id, tenant_id, number, at_ms):
            _add(self._stored[project_id], tenant_id, number)

    def give_back(self, owner: Owner, number: int, at_ms: int) -> None:
        """So many that were taken at `at_ms` will not be stored."""
        self._lower(*owner, number, at_ms)

    def _lower(self, project_id: str, tenant_id: str, number: int, at_ms: int) -> bool:
        """False if there is no limit, or another period has begun. What was taken before there was a limit is
        not known: nothing goes below 0."""
        taken = self._taken.get(project_id)
        if taken is None or not self._period.begins_ms <= at_ms < self._period.ends_ms:
            return False
        for key in ("", tenant_id) if tenant_id else ("",):
            left = taken.pop(key, 0) - number
            if left > 0:
                taken[key] = left
        return True

    def mark(self) -> None:
        """What was stored until now will be in what `counted` says next."""
        for project_id, stored in self._stored.items():
            # Usually there is nothing: otherwise the files could not be read since the mark before.
            if before := self._marked[project_id]:
                for tenant_id, number in stored.items():
                    before[tenant_id] = before.get(tenant_id, 0) + number
            else:
                self._marked[project_id] = stored
        self._stored = self._complete({})

    def counted(self, sums: Sums, now_ms: int) -> None:
        """What all workers had stored, at the time of the last `mark`, in the period of `now_ms`."""
        if not self._period.begins_ms <= now_ms < self._period.ends_ms:
            self._begin(now_ms)
        self._counted, self._marked = self._complete(sums), self._complete({})

    def shares(self) -> Iterator[Share]:
        """What was used of each limit; of a quota for each tenant, those tenants that used anything."""
        for project_id, limits in self._limits.items():
            for tenant_id, limit in limits.items():
                tenants: Iterable[str] = (tenant_id,)
                if tenant_id == EACH:
                    known = (self._counted, self._marked, self._stored)
                    used_any = set().union(*(sums[project_id] for sums in known))
                    tenants = sorted(used_any - limits.keys() - {""})
                for tenant in tenants if limit else ():
                    used = self._used(project_id, tenant)
                    yield Share(self.kind, project_id, tenant, limit, used, self._period)

    def largest_share(self) -> float:
        """As the largest of `shares`, used ÷ limit, in any thread: without an object for each tenant, and
        without a step that takes long for many."""
        largest = 0.0
        for project_id, limits in self._limits.items():
            for tenant_id, limit in limits.items():
                tenants: list[str] = [tenant_id]
                if tenant_id == EACH:
                    known = (self._counted, self._marked, self._stored)
                    tenants = [name for sums in known for name in list(sums[project_id])]
                for tenant in tenants if limit else ():
                    if tenant_id != EACH or (tenant and tenant not in limits):
                        largest = max(largest, self._used(project_id, tenant) / limit)
        return largest

    def _complete(self, sums: Sums) -> Sums:
        return {project_id: sums.get(project_id, {}) for project_id in self._limits}

    def _begin(self, now_ms: int) -> None:
        self._period = Period.of(self.kind, now_ms)
        self._counted, self._marked = self._complete({}), self._complete({})
        self._stored = self._complete({})
        self._taken = self._complete({})


def _find(limits: dict[str, int], tenant_id: str) -> tuple[str, int]:
    """The tenant whose count the limit has, and the limit."""
    if tenant_id in limits:
        return tenant_id, limits[tenant_id]
    if tenant_id and EACH in limits:
        return tenant_id, limits[EACH]
    return "", limits.get("", 0)


def _add(numbers: dict[str, int], tenant_id: str, number: int) -> None:
    """To the tenant and to all of the project."""
    numbers[""] = numbers.get("", 0) + number
    if tenant_id:
        numbers[tenant_id] = numbers.get(tenant_id, 0) + number


class Quotas:
    """All quotas of a node, as one of its workers sees them."""

    def __init__(self, rules: Sequence[QuotaRule] = ()) -> None:
        self.events = Allowance("events_per_month")
        self.queries = Allowance("queries_per_day")
        self.replace(rules)

    def replace(self, rules: Sequence[QuotaRule]) -> None:
        """From now on, these quotas apply."""
        self.rules = tuple(rules)
        self.projects = frozenset(rule.project for rule in rules)
        self.events.replace(rules)
        self.queries.replace(rules)

    def mark(self) -> None:
        self.events.mark()
        self.queries.mark()

    def counted(self, events: Sums, queries: Sums, now_ms: int) -> None:
        """What all workers had used at the last `mark`: events of the month, queries of the day."""
        self.events.counted(events, now_ms)
        self.queries.counted(queries, now_ms)

    def shares(self) -> list[Share]:
        """What was used of each limit."""
        return [*self.events.shares(), *self.queries.shares()]

    def largest_share(self) -> float:
        """Of the limit that is used most: 1 is all of it. 0 without a limit."""
        return max(self.events.largest_share(), self.queries.largest_share())
