"""`/api/v1/admin/erasures`: erase events of a tenant or a user, and what became of it.

    POST erasures        {"tenant": "acme", "user": "u-1", "before": "2026-11-01", "now": true}
    GET  erasures        the jobs of the project, the newest first
    GET  erasures/<id>   one job

From the answer to POST on (202, with the job) no read of any node shows the events.
"""

import asyncio
import time
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import hdrs, web

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import AdminScope
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.config import ClickHouseConfig
from nealytics.erasure.announcements import Announcements
from nealytics.erasure.jobs import Job
from nealytics.erasure.requests import Receipt, new_job, receipt, request
from nealytics.erasure.store import Jobs
from nealytics.errors import Refused
from nealytics.http.admin import PREFIX, add_admin_route, body_of, json_response, one_project, project_of
from nealytics.queries.invalid import invalid
from nealytics.queries.time_bounds import timestamp_ms

NAME = "erasures"
BODY_BYTES_MAX = 16 * 1024
JOBS_MAX = 1_000


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    tenant: str = ""
    user: str | None = None
    before: str | None = None
    now: bool = False
    project: str | None = None


class ErasureAdmin:
    def __init__(
        self, client: ClickHouseClient, config: ClickHouseConfig, data_dir: Path, jobs: Jobs
    ) -> None:
        self._announcements = Announcements(client, config)
        self._data_dir = data_dir
        self._jobs = jobs

    def add_to(self, app: web.Application, verifier: TokenVerifier) -> None:
        add_admin_route(app, verifier, "POST", NAME, self._erase)
        add_admin_route(app, verifier, "GET", NAME, self._list)
        add_admin_route(app, verifier, "GET", f"{NAME}/{{id}}", self._show)

    async def _erase(self, http: web.Request, scope: AdminScope) -> web.Response:
        asked = await _asked(http)
        project_id = one_project(scope, asked.project or http.query.get("project"))
        if not asked.tenant:
            raise invalid("tenant", "tenant is missing", "Name the tenant whose events are erased.")
        if asked.user == "":
            raise invalid("user", "user is empty", "Name a user, or leave it out to erase the whole tenant.")
        now_ms = _now_ms()
        job = new_job(
            project_id,
            asked.tenant,
            asked.user,
            before_ms=now_ms if asked.before is None else timestamp_ms("before", asked.before, "before"),
            now=asked.now,
            requested_by=scope.subject or f"an admin token of project {scope.project_id or '*'}",
            now_ms=now_ms,
        )
        try:
            await request(self._announcements, self._jobs, job)
        except ClickHouseError as error:
            if error.name != "ACCESS_DENIED":
                raise
            raise Refused(
                503,
                "erasures_not_permitted",
                "ClickHouse does not let this node store erasures; nothing is erased",
                detail="Grant clickhouse.user CREATE TABLE, INSERT and SELECT on the table erasures, and "
                "ALTER DELETE on that of the events.",
            ) from error
        response = json_response(await self._receipt(job), 202)
        response.headers[hdrs.LOCATION] = f"{PREFIX}{NAME}/{job.id}"
        return response

    async def _list(self, http: web.Request, scope: AdminScope) -> dict[str, list[Receipt]]:
        project_id = project_of(scope, http.query.get("project"))
        jobs = [job for job in self._jobs.all().values() if project_id in (None, job.erasure.project_id)]
        return {"erasures": [await self._receipt(job) for job in jobs[: -JOBS_MAX - 1 : -1]]}

    async def _show(self, http: web.Request, scope: AdminScope) -> Receipt:
        job = self._jobs.all().get(http.match_info["id"])
        # A job of another project looks like one that does not exist.
        if job is None or not scope.permits(job.erasure.project_id):
            raise Refused(
                404, "not_found", "there is no such erasure", detail=f"GET {PREFIX}{NAME} lists all."
            )
        return await self._receipt(job)

    async def _receipt(self, job: Job) -> Receipt:
        return await asyncio.to_thread(partial(receipt, self._data_dir, job, _now_ms()))


async def _asked(http: web.Request) -> Asked:
    return await body_of(
        http,
        Asked,
        BODY_BYTES_MAX,
        problem="the body is no erasure",
        advice=' Write {"tenant": "…"}; user, before and now are optional.',
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
