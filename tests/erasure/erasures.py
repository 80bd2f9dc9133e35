"""Erasures for tests."""

from nealytics.erasure.jobs import Erasure, Job, State, hash_of
from tests.fakes.rows import TIMESTAMP_MS


def erasure(
    id: str = "e1",
    *,
    project_id: str = "shop",
    tenant_id: str = "acme",
    user_id: str | None = None,
    before_ms: int = TIMESTAMP_MS + 1,
    requested_at_ms: int = 1,
    now: bool = False,
) -> Erasure:
    return Erasure(
        id=id,
        project_id=project_id,
        tenant_id=tenant_id,
        user_hash=None if user_id is None else hash_of(project_id, tenant_id, user_id),
        before_ms=before_ms,
        requested_at_ms=requested_at_ms,
        requested_by="a test",
        now=now,
    )


def job(
    id: str,
    state: State = "pending",
    *,
    erased_at_ms: int | None = None,
    rows_erased: int = 0,
    now: bool = False,
) -> Job:
    return Job(erasure=erasure(id, now=now), state=state, erased_at_ms=erased_at_ms, rows_erased=rows_erased)
