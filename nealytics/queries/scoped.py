"""Whose events a query sees. The only file that names the table.

An endpoint's SQL selects from `events`, which is defined here and nowhere else:

    WITH events AS (SELECT *, … AS session_key, … AS user_key FROM <table>
                    WHERE project_id = … AND tenant_id = … AND <not erased> AND <the token's own filters>)
    <the endpoint's SQL>

So an endpoint cannot forget the scope, neither in a subquery nor in a join: there is nothing else to read.
ClickHouse pushes the endpoint's own conditions down into the relation and reads only the columns that are
used: the plan (indexes, lazily read columns, `final`) is that of one query with all conditions.

Beside the columns of the table, `events` has the session and the user that an event counts for:

    session_key    String             the session; across tenants, sessions of the same name are different
    user_key       Nullable(String)   the user, likewise; NULL if the event has none

The fence: every query is sent with `additional_table_filters`, with which ClickHouse itself leaves out all
other rows, whatever the SQL says. It is the second protection, not the first, because it has no effect,
without an error, if the table has another name; so a reader verifies it first (`Fence`) and reads nothing
until then. It is sent for two names, that of the table and that of its local table on each shard of a
cluster; on a cluster both are verified.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from nealytics.auth.scope import Scope
from nealytics.clickhouse.client import ClickHouseClient, Param, Setting
from nealytics.clickhouse.damage import damaged
from nealytics.clickhouse.error_codes import UNKNOWN_IDENTIFIER
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.failover import Address
from nealytics.clickhouse.settings import NO_PARTIAL_ANSWER, SQL_BYTES_MAX
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, quoted, table_name
from nealytics.config import QueryConfig
from nealytics.erasure.jobs import Job, hiding
from nealytics.errors import NealyticsError
from nealytics.queries.filters import Bind, Condition, where

_CANARY = "nealytics_fence_canary"
# On a cluster, the first is a Distributed table and the second the local one of a shard.
_TABLES = (TABLE, LOCAL_TABLE)


class Query(NamedTuple):
    """SQL over the relation `events`, and the values of its `{name:Type}` placeholders."""

    sql: str
    params: Mapping[str, Param]


class FenceDown(NealyticsError):
    """ClickHouse ignores `additional_table_filters`, so no query may run."""


# The erasures of a scope whose rows may still be in the table, at the moment of a query.
Hidden = Callable[[Scope], Sequence[Job]]


class Events:
    """The events of one scope: all that the queries of one request can see."""

    def __init__(
        self,
        client: ClickHouseClient,
        database: str,
        scope: Scope,
        *,
        token_filters: Sequence[Condition] = (),
        limits: Mapping[str, Setting] | None = None,
        received: Callable[[int], None] | None = None,
        hidden: Hidden = lambda scope: (),
    ) -> None:
        """`received` is called with the number of bytes that arrive for `rows`."""
        self._hidden = hidden
        self._client = client
        self.received = received
        self._database = database
        self._token_filters = token_filters
        self._fence = fence(database, scope)
        self._settings: dict[str, Setting] = {
            "max_query_size": SQL_BYTES_MAX,
            **(limits or {}),
            **self._fence,
        }
        self.scope = scope
        self.rows_read = 0  # by ClickHouse, for all of `rows`

    async def rows(self, query: Query, settings: Mapping[str, Setting] | None = None) -> list[list[Any]]:
        """Runs `query` within the scope. Raises `ClickHouseError`."""
        await self._refuse_damaged(query)
        sql, params = self.scoped(query)  # last, because what is erased is known for some seconds only
        return await self._client.query(
            sql, params, settings=self._with(settings), received=self.received, read=self.count_read
        )

    def count_read(self, rows: int) -> None:
        self.rows_read += rows

    @asynccontextmanager
    async def stream(
        self,
        query: Query,
        output_format: str,
        settings: Mapping[str, Setting] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Runs `query` within the scope; its answer in pieces (`ClickHouseClient.stream`)."""
        await self._refuse_damaged(query)
        sql, params = self.scoped(query)
        async with self._client.stream(
            sql, params, output_format=output_format, settings=self._with(settings), timeout_s=timeout_s
        ) as pieces:
            yield pieces

    async def _refuse_damaged(self, query: Query) -> None:
        """Raises `ClickHouseError` at once for a query that would read a part with known damage.

        ClickHouse itself may take half a minute to find a flipped bit. The estimate reads only the index.
        """
        parts = self.damaged
        if not parts:
            return
        sql, params = self.scoped(query)
        listed = ", ".join(map(quoted, parts))
        only = _table_filter(self._database, f"{_condition(self.scope)} AND _part IN ({listed})")
        rows = await self._client.query(
            f"EXPLAIN ESTIMATE {sql}", params, settings={**self._settings, **only}
        )
        if any(marks for *_, marks in rows):
            raise damaged(parts)

    def _with(self, settings: Mapping[str, Setting] | None) -> Mapping[str, Setting]:
        """A query may have other limits, but no other fence."""
        return {**self._settings, **settings, **self._fence} if settings else self._settings

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The limits and the fence, which every query of this scope is sent with."""
        return self._settings

    @property
    def damaged(self) -> dict[str, str]:
        """The known damaged parts of the table."""
        return dict(self._client.damaged)

    def scoped(self, query: Query, parts: Collection[str] = ()) -> tuple[str, dict[str, Param]]:
        """The SQL and the parameters that are sent; with `parts`, of events in these parts of the table."""
        bind = Bind("token_")
        erased = self._hidden(self.scope)
        events = relation(self._database, self.scope, self._token_filters, bind, erased, parts)
        # The scope comes last, so that no endpoint can set other values for these names.
        params = {**query.params, **bind.values, "project_id": self.scope.project_id}
        if self.scope.tenant_id is not None:
            params["tenant_id"] = self.scope.tenant_id
        return events + query.sql, params


def relation(
    database: str,
    scope: Scope,
    token_filters: Sequence[Condition] = (),
    bind: Bind | None = None,
    erased: Sequence[Job] = (),
    parts: Collection[str] = (),
) -> str:
    """The WITH clause that defines `events`; `bind` takes the values of `token_filters` and `erased`.

    An event is left out if the copy that `final` shows is erased: WHERE applies after `final`, so no older
    copy appears instead.
    """
    table = table_name(database)
    bind = bind or Bind()
    conditions = ["project_id = {project_id:String}"]
    if scope.tenant_id is not None:
        conditions.append("tenant_id = {tenant_id:String}")
        session_key, user_key = "session_id", "nullIf(user_id, '')"
    else:
        # With the tenant's length in front, different pairs have different texts.
        tenant = "toString(length(tenant_id)), ':', tenant_id"
        session_key = f"concat({tenant}, session_id)"
        user_key = f"concat({tenant}, nullIf(user_id, ''))"
    conditions += [f"NOT {condition}" for condition in hiding(erased, bind, bind)]
    if parts:
        conditions.append(f"_part IN ({', '.join(map(quoted, parts))})")
    return (
        f"WITH events AS (SELECT *, {session_key} AS session_key, {user_key} AS user_key"
        f" FROM {table} WHERE {where(conditions, token_filters, bind, table)}) "
    )


async def projects(client: ClickHouseClient, database: str) -> list[str]:
    """All projects that have events, without a scope. Raises `ClickHouseError`, and `NealyticsError` for a
    project that no scope can name: its id is not UTF-8, which the C# engine did not check."""
    table = table_name(database)
    rows = await client.query(
        f"SELECT DISTINCT toString(project_id) AS id, isValidUTF8(id), hex(id) FROM {table} ORDER BY id"
    )
    for _, is_text, as_hex in rows:
        if not is_text:
            raise NealyticsError(
                f"reads: {table} has events whose project_id is not UTF-8 (hex {as_hex}); "
                "export them by SQL, or choose another project with --project"
            )
    return [id for id, _, _ in rows]


def fence(database: str, scope: Scope) -> dict[str, Setting]:
    """The setting with which ClickHouse leaves out every row outside of `scope`."""
    return _table_filter(database, _condition(scope))


def _condition(scope: Scope) -> str:
    condition = f"project_id = {quoted(scope.project_id)}"
    if scope.tenant_id is not None:
        condition += f" AND tenant_id = {quoted(scope.tenant_id)}"
    return condition


def _table_filter(database: str, condition: str) -> dict[str, Setting]:
    # A filter for a missing table has no effect; a shard without a filter would be open.
    return _filter_on(_TABLES, database, condition)


def _filter_on(tables: Sequence[str], database: str, condition: str) -> dict[str, Setting]:
    filters = (f"{quoted(f'{database}.{table}')}: {quoted(condition)}" for table in tables)
    return {"additional_table_filters": "{" + ", ".join(filters) + "}"}


class Fence:
    """Verifies that ClickHouse applies the fence, before the first query.

    Each address is verified for itself, and reads stay at a verified one: only `prove` changes it.
    """

    def __init__(self, client: ClickHouseClient, database: str, *, sharded: bool = False) -> None:
        self._client = client
        self._database = database
        self._tables = _TABLES if sharded else _TABLES[:1]
        self._proven: set[Address] = set()
        self._proving = asyncio.Lock()

    async def prove(self) -> None:
        """Returns once it is verified at the first address that answers. Raises `FenceDown`, or
        `ClickHouseError` if none does.

        It needs no data: ClickHouse must refuse a filter on a column that does not exist.
        """
        addresses = self._client.addresses
        tried: list[Address] = []
        while True:
            address = addresses.best()
            tried.append(address)
            try:
                await self._client.verify(address)
                await self._prove(address)
            except ClickHouseError as error:
                # An address that is still down when its cool-down ends must not fail a read.
                if addresses.after(error, tried) is None:
                    raise
            else:
                addresses.read_at(address)
                return

    async def _prove(self, address: Address) -> None:
        if address in self._proven:
            return
        async with self._proving:
            if address not in self._proven:  # by a task that had the lock before
                for table in self._tables:
                    await self._prove_on(table, address)
                self._proven.add(address)

    async def _prove_on(self, table: str, address: Address) -> None:
        sql = relation(self._database, Scope("canary", "canary")) + "SELECT count() FROM events"
        params = {"project_id": "canary", "tenant_id": "canary"}
        settings = _filter_on([table], self._database, _CANARY)
        try:
            await self._client.query(sql, params, settings=settings, at=address)
        except ClickHouseError as error:
            if error.code != UNKNOWN_IDENTIFIER:
                raise
        else:
            raise FenceDown(
                f"reads: ClickHouse ignores additional_table_filters on {self._database}.{table}; "
                "no query is run until it applies them. Is the table a view, or a Distributed table?"
            )

    def doubt(self, error: ClickHouseError) -> None:
        """Call it after an error: if another server may answer from now on, verify again."""
        if error.of_the_address:
            self._proven.clear()


def limit_settings(config: QueryConfig) -> dict[str, Setting]:
    """The limits of one query. ClickHouse refuses to exceed them; it never returns a partial answer."""
    return {
        "max_rows_to_read": config.rows_read_max,
        "max_memory_usage": config.memory_bytes_max,
        "max_result_rows": config.result_rows_max,
        "max_result_bytes": config.result_bytes_max,
        **NO_PARTIAL_ANSWER,
    }
