"""The admin routes in an application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nealytics.auth.scope import AdminScope
from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.http.admin import PREFIX, add_admin_route, one_project
from nealytics.http.app import Cors, answering
from tests.auth.test_admin import ADMIN
from tests.auth.test_jwt import signed, verifier


@asynccontextmanager
async def serving() -> AsyncIterator[TestClient[Any, Any]]:
    async def show(request: web.Request, scope: AdminScope) -> object:
        return {"project": one_project(scope, request.query.get("project"))}

    async def ask(request: web.Request, scope: AdminScope) -> object:
        raise ClickHouseUnavailable("no answer")

    app = web.Application(middlewares=[answering(Cors(()))])
    add_admin_route(app, verifier(), "GET", "show", show)
    add_admin_route(app, verifier(), "GET", "ask", ask)
    async with TestClient(TestServer(app)) as client:
        yield client


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed({**ADMIN, **claims})}"}


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        (bearer(), "", 200),
        (bearer(), "?project=my-app", 200),
        (bearer(), "?project=other", 403),
        (bearer(project_id="*"), "?project=other", 200),
        (bearer(project_id="*"), "", 400),
        (bearer(scope="project"), "", 403),
        (bearer(scope="", tenant_id="acme"), "", 403),
        ({}, "", 401),
    ],
)
async def test_a_token_administers_its_project(headers: dict[str, str], query: str, status: int):
    async with serving() as client:
        answer = await client.get(f"{PREFIX}show{query}", headers=headers)
        assert answer.status == status
        if status == 200:
            assert answer.headers["Cache-Control"] == "no-store"


async def test_without_clickhouse_the_client_learns_to_retry():
    async with serving() as client:
        answer = await client.get(f"{PREFIX}ask", headers=bearer())
        assert (answer.status, (await answer.json())["code"]) == (503, "clickhouse_unavailable")
        assert "Retry-After" in answer.headers
