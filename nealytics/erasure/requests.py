"""A request for an erasure, and the receipt that answers it."""

import asyncio
import logging
import secrets
from pathlib import Path

import msgspec

from nealytics.backup.register import recorded
from nealytics.erasure.announcements import Announcements
from nealytics.erasure.jobs import Erasure, Job, State, hash_of
from nealytics.erasure.known import ANSWER_AFTER_S
from nealytics.erasure.store import Jobs
from nealytics.errors import NealyticsError
from nealytics.timestamps import iso_utc

log = logging.getLogger("nealytics.erasure")


class BackupCopy(msgspec.Struct, rename="camel", omit_defaults=True):
    """A backup that contains or may contain the events, and until when; without a time, until a person
    deletes it."""

    id: str
    target: str
    keep_until: str | None = None
    label: str | None = None


class Receipt(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    id: str
    state: State
    project_id: str
    tenant_id: str
    user_id: str | None = None  # until the job is done, where it was requested
    user_hash: str | None = None
    before: str
    now: bool = False
    requested_at: str
    requested_by: str
    events_found: int | None = None
    rows_erased: int
    dead_letters_erased: int
    imported_lines_erased: int
    erased_at: str | None = None
    removed_at: str | None = None
    problem: str | None = None
    backups: list[BackupCopy]


def new_job(
    project_id: str,
    tenant_id: str,
    user_id: str | None,
    *,
    before_ms: int,
    now: bool,
    requested_by: str,
    now_ms: int,
) -> Job:
    erasure = Erasure(
        id=secrets.token_hex(8),
        project_id=project_id,
        tenant_id=tenant_id,
        user_hash=None if user_id is None else hash_of(project_id, tenant_id, user_id),
        before_ms=before_ms,
        requested_at_ms=now_ms,
        requested_by=requested_by,
        now=now,
    )
    return Job(erasure=erasure, user_id=user_id)


async def request(announcements: Announcements, jobs: Jobs, job: Job) -> None:
    """On return the erasure is durable, and no read of any node shows the events.

    Raises `ClickHouseError`: the events may be erased nevertheless, if a server got the request. `LogFull` or
    `LogBroken` if the disk fails: then the node learns of the erasure from ClickHouse.
    """
    await announcements.announce(job.erasure)
    await asyncio.to_thread(jobs.put, job)
    if announcements.is_shared:
        # By then each other node knows of it, or refuses reads.
        await asyncio.sleep(ANSWER_AFTER_S)
    erasure = job.erasure
    log.info(
        "erasure: %s of %s in project %s, tenant %s, was requested by %s",
        erasure.id, "all users" if erasure.user_hash is None else "a user", erasure.project_id,
        erasure.tenant_id, erasure.requested_by or "an unnamed subject",
    )  # fmt: skip


def receipt(data_dir: Path, job: Job, now_ms: int) -> Receipt:
    erasure = job.erasure
    problem = job.problem
    copies: list[BackupCopy] = []
    try:
        gone_ms = job.erased_at_ms or now_ms
        for backup in recorded(data_dir):
            if backup.may_have(job.oldest_received_ms or 0, gone_ms):
                until = None if backup.keep_until_ms is None else iso_utc(backup.keep_until_ms)
                copies.append(BackupCopy(backup.id, backup.target, until, backup.label))
    except NealyticsError as error:
        problem = problem or str(error)
    return Receipt(
        id=job.id,
        state=job.state,
        project_id=erasure.project_id,
        tenant_id=erasure.tenant_id,
        user_id=job.user_id,
        user_hash=erasure.user_hash,
        before=iso_utc(erasure.before_ms),
        now=erasure.now,
        requested_at=iso_utc(erasure.requested_at_ms),
        requested_by=erasure.requested_by,
        events_found=job.events_found,
        rows_erased=job.rows_erased,
        dead_letters_erased=job.dead_letters_erased,
        imported_lines_erased=job.imported_lines_erased,
        erased_at=None if job.erased_at_ms is None else iso_utc(job.erased_at_ms),
        removed_at=None if job.removed_at_ms is None else iso_utc(job.removed_at_ms),
        problem=problem,
        backups=copies,
    )
