"""An erasure, its job, and when it runs. Pure."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from nealytics.clickhouse.rowbinary import owner_key
from nealytics.clickhouse.sql import quoted
from nealytics.timestamps import DAY_MS

# Earlier than any event.
_NEVER_MS = -(10**15)

State = Literal["pending", "running", "removing", "done"]


class Erasure(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Whose events, before which time. Never changes, and is kept for ever."""

    id: str
    project_id: str
    tenant_id: str
    user_hash: str | None = None  # `hash_of` the user; None: all events of the tenant
    before_ms: int
    requested_at_ms: int
    requested_by: str
    now: bool = False  # without waiting for the mutation of the day

    def covers_user(self, user_id: str | None) -> bool:
        return self.user_hash is None or (
            bool(user_id) and self.user_hash == hash_of(self.project_id, self.tenant_id, str(user_id))
        )

    def condition(
        self,
        user_id: str | None = None,
        literal: Callable[[str], str] = quoted,
        number: Callable[[int], str] = str,
    ) -> str:
        """SQL that is true for the rows that are erased, and never NULL. Comparing with `user_id`, if it is
        known, is faster than with its hash. `literal` and `number` give the SQL of a value."""
        conditions = [
            f"project_id = {literal(self.project_id)}",
            f"tenant_id = {literal(self.tenant_id)}",
            f"timestamp < fromUnixTimestamp64Milli({number(self.before_ms)}, 'UTC')",
        ]
        if self.user_hash is not None and user_id is not None:
            conditions.append(f"ifNull(user_id, '') = {literal(user_id)}")
        elif self.user_hash is not None:
            conditions.append("ifNull(user_id, '') != ''")
            conditions.append(f"{self.sql_hash(literal)} = {literal(self.user_hash)}")
        return f"({' AND '.join(conditions)})"

    def sql_hash(self, literal: Callable[[str], str] = quoted) -> str:
        """SQL for `hash_of` the user of a row of the tenant."""
        owner = literal(owner_key(self.project_id, self.tenant_id).hex())
        return f"lower(hex(SHA256(concat(unhex({owner}), ifNull(user_id, '')))))"


def hash_of(project_id: str, tenant_id: str, user_id: str) -> str:
    """Names a user without saying who it is; of another tenant, the same user has another hash."""
    return hashlib.sha256(owner_key(project_id, tenant_id) + user_id.encode()).hexdigest()


class Job(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An erasure, and how far this node is with it."""

    erasure: Erasure
    user_id: str | None = None  # until it is done, on the node that got the request
    state: State = "pending"
    table: str = ""  # the tables, by UUID, one of each server, that have no such row any more
    events_found: int | None = None  # in the table, as reads count them
    oldest_received_ms: int | None = None  # no event was received earlier; None: not known yet
    rows_erased: int = 0  # from the table's parts, copies included
    dead_letters_erased: int = 0
    imported_lines_erased: int = 0  # lines of files that a C# engine left
    problem: str | None = None  # why it does not go on
    erased_at_ms: int | None = None  # when the table's parts had no such row any more
    removed_at_ms: int | None = None  # when the replaced parts were gone from the disk

    @property
    def id(self) -> str:
        return self.erasure.id

    def is_of_other(self, tables: Iterable[str]) -> bool:
        """Whether its rows were deleted, but not from all of these tables."""
        return self.state in ("removing", "done") and not set(tables) <= set(self.table.split(","))

    def condition(self, literal: Callable[[str], str] = quoted, number: Callable[[int], str] = str) -> str:
        return self.erasure.condition(self.user_id, literal, number)


def hiding(
    jobs: Iterable[Job], literal: Callable[[str], str] = quoted, number: Callable[[int], str] = str
) -> list[str]:
    """As few conditions as possible, one of which is true for each row that is erased; see `condition`.

    Users of a tenant share one, so that it does not matter how many erasures wait: a row is hashed once.
    """
    found: list[str] = []
    users: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        if job.erasure.user_hash is None:
            found.append(job.condition(literal, number))
        else:
            users.setdefault((job.erasure.project_id, job.erasure.tenant_id), []).append(job)
    for several in users.values():
        found.append(
            several[0].condition(literal, number)
            if len(several) == 1
            else _of_users(several, literal, number)
        )
    return found


def _of_users(jobs: list[Job], literal: Callable[[str], str], number: Callable[[int], str]) -> str:
    """Of one tenant. Hashes and times are ours and not bound: parameters are sent in the URL, which has less
    room."""
    before: dict[str, int] = {}
    for job in jobs:
        user_hash = str(job.erasure.user_hash)
        before[user_hash] = max(before.get(user_hash, job.erasure.before_ms), job.erasure.before_ms)
    one = jobs[0].erasure
    whole = msgspec.structs.replace(one, user_hash=None, before_ms=max(before.values()))
    hashes, times = ", ".join(map(quoted, before)), ", ".join(map(str, before.values()))
    return (
        f"({whole.condition(None, literal, number)} AND ifNull(user_id, '') != '' AND "
        f"toUnixTimestamp64Milli(timestamp) < transform({one.sql_hash(literal)}, [{hashes}], "
        f"CAST([{times}], 'Array(Int64)'), toInt64({_NEVER_MS})))"
    )


def oldest_received_ms(in_table_ms: int | None, first_day: int | None, now_ms: int) -> int:
    """The time before which no event can have been received. `first_day` is the first one with events of the
    tenant, also of such that retention has deleted since; on that day itself, the table decides."""
    found_ms = now_ms if in_table_ms is None else in_table_ms
    if first_day is None or (in_table_ms is not None and in_table_ms // DAY_MS == first_day):
        return found_ms
    return min(found_ms, first_day * DAY_MS)


def due(jobs: Iterable[Job], now_ms: int) -> list[Job]:
    """The jobs whose rows are deleted now: all of them in one mutation, at most once a day unless one must
    not wait."""
    jobs = list(jobs)
    running = [job for job in jobs if job.state == "running"]
    if running:
        return running  # as after a restart
    pending = [job for job in jobs if job.state == "pending"]
    # One that found no rows rewrote nothing.
    last_ms = max((job.erased_at_ms for job in jobs if job.erased_at_ms and job.rows_erased), default=0)
    if now_ms - last_ms >= DAY_MS or any(job.erasure.now for job in pending):
        return pending
    return []
