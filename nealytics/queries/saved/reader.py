"""ClickHouse, as the user of saved queries: the first fence and the canary.

    at load            the user has its rights, its settings and its row policy, at each address
    before each query  no row outside of the scope is visible (`_probe`)

What ClickHouse says about a query that fails may quote rows, so it goes to the operator's log only.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final

import msgspec

from nealytics.auth.scope import Scope
from nealytics.clickhouse import saved_reader
from nealytics.clickhouse.client import ClickHouseClient, Endpoint, Param, Setting
from nealytics.clickhouse.damage import damaged
from nealytics.clickhouse.error_codes import Kind, kind_of
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.failover import Address
from nealytics.clickhouse.sql import TABLE, quoted, table_name
from nealytics.config import ClickHouseConfig
from nealytics.errors import Refused
from nealytics.queries.saved import tree
from nealytics.queries.saved.head import TYPES, BrokenQuery, Declared, Limits
from nealytics.queries.scoped import Events, Fence, FenceDown, Query

log = logging.getLogger("nealytics.queries.saved")

# No event has these, because an identifier has at least one character.
_CANARY: Final = Scope(project_id="", tenant_id="")
_ADVICE: Final = "run the statements of `nealytics schema print --reader` again"
_READS: Final[dict[str, Setting]] = {"wait_end_of_query": 1}
# After the fence is proven, the cause of these is the statement. 1001: the engine has no current directory.
_OF_THE_SQL: Final = ("UNKNOWN_TABLE", "UNKNOWN_DATABASE", "ACCESS_DENIED", "READONLY", "STD_EXCEPTION")
# Answers as JSON have decimals as texts, because a JSON number would be read as a double.
_DECIMALS_AS_TEXT: Final[dict[str, Setting]] = {"output_format_json_quote_decimals": 1}


class Column(msgspec.Struct, frozen=True):
    """A column of an answer; `type` is ClickHouse's."""

    name: str
    type: str


class Checked(msgspec.Struct, frozen=True):
    """A query that passed all checks, as it is sent."""

    sql: str
    columns: tuple[Column, ...]


class SavedFence(Fence):
    """Verifies the user, at each address before the first query there. Raises `FenceDown`."""

    def __init__(self, client: ClickHouseClient, database: str, key: str) -> None:
        super().__init__(client, database)
        self._key = key

    async def _prove_on(self, table: str, address: Address) -> None:
        client, user = self._client, self._client.endpoint.user
        name = f"{self._database}.{table}"
        grants = [row[0].replace("`", "") for row in await client.query("SHOW GRANTS", at=address)]
        if grants != [f"GRANT SELECT ON {name} TO {user}"]:
            raise FenceDown(
                f"saved queries: the ClickHouse user {user} must have the right SELECT on {name} and no "
                f"other, and it has: {'; '.join(grants) or 'none'}; {_ADVICE}"
            )
        wanted = saved_reader.settings()
        asked = ", ".join(f"toString(getSetting({quoted(setting)}))" for setting in wanted)
        (found,) = await client.query(f"SELECT {asked}", at=address)
        for (setting, value), has in zip(wanted.items(), found, strict=True):
            if _normal(has) != _normal(value):
                raise FenceDown(
                    f"saved queries: the ClickHouse user {user} must have {setting} = {value}, and it has "
                    f"{has}; {_ADVICE}"
                )
        for key in ("", self._key[::-1]):
            if not await self._is_refused(table, key, address):
                raise FenceDown(
                    f"saved queries: {name} has no row policy for the ClickHouse user {user}, so it would "
                    f"show all tenants; {_ADVICE}"
                )
        if await self._is_refused(table, self._key, address):
            raise FenceDown(
                f"saved queries: the row policy of the ClickHouse user {user} was made for another password; "
                f"{_ADVICE}"
            )

    async def _is_refused(self, table: str, key: str, address: Address) -> bool:
        """Whether the policy refuses a scope that is signed with `key`. Needs no data."""
        comment = saved_reader.signed(key, _CANARY.project_id, _CANARY.tenant_id) if key else ""
        sql = f"SELECT count() FROM {table_name(self._database, table)}"
        try:
            await self._client.query(sql, settings={"log_comment": comment}, at=address)
        except ClickHouseError as error:
            if saved_reader.is_without_scope(error):
                return True
            raise
        return False


def _normal(value: object) -> str:
    """Servers show a flag as 1 or as true."""
    return {"true": "1", "false": "0"}.get(str(value), str(value))


class SavedReader:
    """Checks and runs saved queries. `client` is one of `client_of`."""

    def __init__(self, client: ClickHouseClient, database: str) -> None:
        self._client = client
        self._database = database
        self._key = saved_reader.scope_key(client.endpoint.password)
        self.fence = SavedFence(client, database, self._key)

    def events(self, scope: Scope, **more: Any) -> Events:
        """What the queries of a scope see, with further arguments of `Events`."""
        return Events(self._client, self._database, scope, **more)

    async def rows(
        self, events: Events, name: str, query: Query, limits: Limits, columns: tuple[Column, ...]
    ) -> list[list[Any]]:
        """The rows of a checked query. Raises `ClickHouseError`, `FenceDown`, or `Refused`."""
        settings = {**self._settings(events.scope, limits), **_DECIMALS_AS_TEXT}
        try:
            await self._proven(events.scope)
            await self._refuse_damaged(events, query)
            # Last, because what is erased is known for some seconds only.
            sql, params = events.scoped(query)
            rows = await self._client.query(
                sql, params, settings=settings, received=events.received, read=events.count_read
            )
        except ClickHouseError as error:
            raise self._failure(name, error) from error
        decimals = [index for index, column in enumerate(columns) if "Decimal(" in column.type[:17]]
        for row in rows if decimals else ():
            for index in decimals:
                row[index] = None if row[index] is None else Decimal(row[index])
        return rows

    @asynccontextmanager
    async def stream(
        self, events: Events, name: str, query: Query, limits: Limits, output_format: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer in pieces of `output_format`; the query has ended when the context is entered."""
        try:
            await self._proven(events.scope)
            await self._refuse_damaged(events, query)
            sql, params = events.scoped(query)  # last, as in `rows`
            stream = self._client.stream(
                sql,
                params,
                output_format=output_format,
                settings=self._settings(events.scope, limits),
                read=events.count_read,
            )
            pieces = await stream.__aenter__()
        except ClickHouseError as error:
            raise self._failure(name, error) from error
        try:
            yield pieces
        finally:
            await stream.__aexit__(None, None, None)

    async def close(self) -> None:
        await self._client.close()

    async def check(self, declared: Declared, values: Mapping[str, Param]) -> Checked:
        """Raises `BrokenQuery`, or `ClickHouseError` or `FenceDown` if nothing can be checked now."""
        await self.fence.prove()
        try:
            return await self._check(declared, values)
        except ClickHouseError as error:
            self.fence.doubt(error)
            if kind_of(error.code) in (Kind.LATER, Kind.DAMAGED) and error.name not in _OF_THE_SQL:
                raise
            raise BrokenQuery(f"ClickHouse refuses it: {_short(error)}") from error

    async def _check(self, declared: Declared, values: Mapping[str, Param]) -> Checked:
        # Lines before it for those of the head: ClickHouse then names the line of the file.
        statement = "\n" * (declared.first_line - 1) + declared.sql
        ((canonical,),) = await self._client.query(
            "SELECT formatQuery({statement:String})", {"statement": statement}
        )
        first = canonical.lstrip("( \n").split(None, 1)[0]
        if first not in ("SELECT", "WITH"):
            raise BrokenQuery(f"the SQL begins with {first}; write a SELECT from {tree.EVENTS}")
        types = {one.name: TYPES[one.type] for one in declared.inputs}
        _refuse(tree.text_problem(canonical, types))
        # Also the columns of the answer are those of a subquery, in which FORMAT and OUTFILE are no grammar.
        sql = f"SELECT * FROM (\n{canonical}\n)"
        settings = self._settings(_CANARY, Limits())  # a limit of rows would be one of the lines below
        lines = await self._client.query(f"EXPLAIN AST {sql}", values, settings=settings)
        _refuse(tree.syntax_problem(line for (line,) in lines))
        scoped, params = self.events(_CANARY).scoped(Query(sql, values))
        lines = await self._client.query(f"EXPLAIN QUERY TREE {scoped}", params, settings=settings)
        _refuse(tree.resolved_problem((line for (line,) in lines), self._database))
        described = await self._client.query(f"DESCRIBE TABLE ({scoped})", params, settings=settings)
        columns = tuple(Column(name, type) for name, type, *_ in described)
        names = [column.name for column in columns]
        if len(set(names)) < len(names):
            name = next(name for name in names if names.count(name) > 1)
            raise BrokenQuery(f"two columns have the name {name}; write AS with another name")
        await self._probe(_CANARY)
        await self._client.query(scoped, params, settings=self._settings(_CANARY, declared.limits))
        return Checked(sql, columns)

    async def _proven(self, scope: Scope) -> None:
        await self.fence.prove()
        await self._probe(scope)

    async def _refuse_damaged(self, events: Events, query: Query) -> None:
        """As `Events` does, whose setting this user cannot send."""
        if not (parts := events.damaged):
            return
        sql, params = events.scoped(query, parts)
        settings = self._settings(events.scope, Limits())
        rows = await self._client.query(f"EXPLAIN ESTIMATE {sql}", params, settings=settings)
        if any(marks for *_, marks in rows):
            raise damaged(parts)

    async def _probe(self, scope: Scope) -> None:
        """Raises `FenceDown` if the user sees a row outside of `scope`. The table's key answers it."""
        condition, params = "project_id = {project_id:String}", {"project_id": scope.project_id}
        if scope.tenant_id is not None:
            condition += " AND tenant_id = {tenant_id:String}"
            params["tenant_id"] = scope.tenant_id
        try:
            found = await self._client.query(
                f"SELECT 1 FROM {table_name(self._database)} WHERE NOT ({condition}) LIMIT 1",
                params,
                settings=self._settings(scope, Limits()),
            )
        except ClickHouseError as error:
            if saved_reader.is_without_scope(error):
                raise FenceDown(
                    "saved queries: ClickHouse refuses the scope of a query, because the row policy was made "
                    f"for another password; {_ADVICE}"
                ) from error
            raise
        if found:
            raise FenceDown(
                f"saved queries: the ClickHouse user {self._client.endpoint.user} sees events of other "
                f"tenants in {self._database}.{TABLE}, so no saved query is run; {_ADVICE}"
            )

    def _settings(self, scope: Scope, limits: Limits) -> dict[str, Setting]:
        found: dict[str, Setting | None] = {
            "max_result_rows": limits.rows,
            "max_execution_time": limits.time_s,
            "max_memory_usage": limits.memory_bytes,
            "max_rows_to_read": limits.read_rows,
            "log_comment": saved_reader.signed(self._key, scope.project_id, scope.tenant_id),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _failure(self, name: str, error: ClickHouseError) -> Exception:
        """What the caller raises: an error that the client may act on, or one that says nothing.

        The message may quote a value of a parameter or an event, so nothing but the code decides.
        """
        self.fence.doubt(error)
        kind = kind_of(error.code)
        if kind is Kind.LIMIT and not error.of_the_address:
            return Refused(
                422,
                "query_too_large",
                f"the saved query {name} exceeds its limits or those of the server",
                detail="Choose parameters that need fewer events, such as a shorter time range.",
            )
        if kind in (Kind.LIMIT, Kind.LATER, Kind.DAMAGED):
            error.damaged_part = ""
            return error
        log.error("saved query %s failed: %s", name, error)
        return Refused(
            500,
            "query_failed",
            f"the saved query {name} failed",
            detail="The server's log has the cause. Other values of its parameters may succeed.",
        )


def client_of(endpoint: Endpoint, config: ClickHouseConfig) -> ClickHouseClient:
    """A client whose reads send only what the user may change; the rest is in its profile."""
    return ClickHouseClient(endpoint, config, reads=_READS)


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise BrokenQuery(problem)


def _short(error: ClickHouseError) -> str:
    """What ClickHouse says, without its code, its version and the whole statement."""
    text = error.message.partition("DB::Exception: ")[2] or error.message
    for end in (": In scope ", ". In scope ", ". Expected one of", ": While ", " (version "):
        text = text.partition(end)[0]
    return text.strip(" :.")[:300]
