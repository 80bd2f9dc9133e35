"""Whose events a query sees. The only file that names the table.

An endpoint's SQL selects from `events`. What that is, is said here and nowhere else:

    WITH events AS (SELECT * FROM <table> WHERE project_id = … AND tenant_id = …) <the endpoint's SQL>

So an endpoint cannot forget the scope, neither in a subquery nor in a join: there is nothing else to read.
ClickHouse pushes the endpoint's own conditions down into the relation and reads only the columns it uses: the
plan (indexes, lazily read columns, `final`) is that of the query with all conditions written side by side.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from nealytics.auth.scope import Scope
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.sql import identifier
from nealytics.queries.params import Arguments

P = TypeVar("P")

Param = str | int | float | list[str]


class Query(NamedTuple):
    """SQL over the relation `events`, and the values of its `{name:Type}` placeholders."""

    sql: str
    params: Mapping[str, Param]


class Events:
    """The events of one tenant: all that a query of one request can see."""

    def __init__(self, client: ClickHouseClient, database: str, scope: Scope) -> None:
        self._client = client
        self._database = database
        self.scope = scope

    async def rows(self, query: Query) -> list[list[Any]]:
        """Runs `query` within the scope. Raises `ClickHouseError`."""
        # The scope comes last, so that no endpoint can put another value under these names.
        params = {**query.params, "project_id": self.scope.project_id, "tenant_id": self.scope.tenant_id}
        return await self._client.query(scoped_sql(self._database, query.sql), params)


@dataclass(frozen=True)
class Endpoint(Generic[P]):
    """One read route: how its query string is understood, and how it is answered."""

    path: str
    parse: Callable[[Arguments], P]
    run: Callable[[Events, P], Awaitable[msgspec.Struct]]


def scoped_sql(database: str, sql: str) -> str:
    table = f"{identifier(database)}.global_events"
    where = "project_id = {project_id:String} AND tenant_id = {tenant_id:String}"
    return f"WITH events AS (SELECT * FROM {table} WHERE {where}) {sql}"
