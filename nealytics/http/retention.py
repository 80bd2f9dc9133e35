"""`GET /api/v1/admin/retention`: what the rules keep, and what the next run deletes."""

from pathlib import Path

from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import AdminScope
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.config import ClickHouseConfig, RetentionRule
from nealytics.expiry import run
from nealytics.http.admin import add_admin_route, project_of


class RetentionAdmin:
    """`rules` are those of the configuration in effect."""

    def __init__(
        self,
        client: ClickHouseClient,
        config: ClickHouseConfig,
        data_dir: Path,
        rules: tuple[RetentionRule, ...],
    ) -> None:
        self._client = client
        self._config = config
        self._data_dir = data_dir
        self.rules = rules

    def add_to(self, app: web.Application, verifier: TokenVerifier) -> None:
        add_admin_route(app, verifier, "GET", "retention", self._show)

    async def _show(self, request: web.Request, scope: AdminScope) -> run.RetentionState:
        project = project_of(scope, request.query.get("project"))
        return await run.state(self._client, self._config, self._data_dir, self.rules, project)
