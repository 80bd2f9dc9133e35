"""An erasure, its job, and when it runs. Pure."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from nealytics.clickhouse.rowbinary import owner_key
from nealytics.clickhouse.sql import quoted
from nealytics.timestamps import DAY_MS

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
            owner = owner_key(self.project_id, self.tenant_id).hex()
            user = f"SHA256(concat(unhex({literal(owner)}), ifNull(user_id, '')))"
            conditions.append("ifNull(user_id, '') != ''")
            conditions.append(f"lower(hex({user})) = {literal(self.user_hash)}")
        return f"({' AND '.join(conditions)})"


def hash_of(project_id: str, tenant_id: str, user_id: str) -> str:
    """Names a user without saying who it is; of another tenant, the same user has another hash."""
    return hashlib.sha256(owner_key(project_id, tenant_id) + user_id.encode()).hexdigest()


class Job(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An erasure, and how far this node is with it."""

    erasure: Erasure
    user_id: str | None = None  # until it is done, on the node that got the request
    state: State = "pending"
    table: str = ""  # the identity of the table that has no such row any more
    events_found: int | None = None  # in the table, as reads count them
    rows_erased: int = 0  # from the table's parts, copies included
    dead_letters_erased: int = 0
    imported_lines_erased: int = 0  # lines of files that a C# engine left
    problem: str | None = None  # why it does not go on
    erased_at_ms: int | None = None  # when the table's parts had no such row any more
    removed_at_ms: int | None = None  # when the replaced parts were gone from the disk

    @property
    def id(self) -> str:
        return self.erasure.id

    def condition(self, literal: Callable[[str], str] = quoted, number: Callable[[int], str] = str) -> str:
        return self.erasure.condition(self.user_id, literal, number)


def due(jobs: Iterable[Job], now_ms: int) -> list[Job]:
    """The jobs whose rows are deleted now: all of them in one mutation, at most once a day unless one must
    not wait."""
    jobs = list(jobs)
    running = [job for job in jobs if job.state == "running"]
    if running:
        return running  # as after a restart
    pending = [job for job in jobs if job.state == "pending"]
    last_ms = max((job.erased_at_ms for job in jobs if job.erased_at_ms is not None), default=0)
    if now_ms - last_ms >= DAY_MS or any(job.erasure.now for job in pending):
        return pending
    return []
