"""The client that everything in Nealytics uses to reach ClickHouse, over its HTTP interface.

    endpoint.py    where ClickHouse is, and as which user
    settings.py    what a request carries beside its SQL (pure)
    failover.py    which of several addresses a request goes to (pure)
    transport.py   one request to one address

It promises:
  - `insert` returns only once ClickHouse has accepted the rows
  - a batch is sent with the same bytes and the same settings at every attempt, whatever a server profile says
  - every failure is a `ClickHouseError`; without a complete answer it is a `ClickHouseUnavailable`
  - parameters reach the query unchanged, whatever characters they contain
  - with several addresses, replicas of one shard, a request goes to the first available one. An insert that
    fails there moves to the next with its bytes and its token, which replicas share; never to a server that
    is not a replica of the first

It leaves to others: when to retry an insert (`commit`), and the SQL (`queries`, `schema`).
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from nealytics.clickhouse.endpoint import Endpoint, endpoint_of
from nealytics.clickhouse.error_codes import UNKNOWN_SETTING, UNKNOWN_TABLE
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, NotAReplica, error_of
from nealytics.clickhouse.failover import IDENTITY, Address, Addresses
from nealytics.clickhouse.settings import (
    Param,
    Setting,
    bound,
    checkable,
    insert_settings,
    known_settings_sql,
    read_settings,
    time_limit,
    unknown_settings,
)
from nealytics.clickhouse.sql import TABLE
from nealytics.clickhouse.transport import Transport
from nealytics.compression import compress
from nealytics.config import ClickHouseConfig
from nealytics.observe import request_id

__all__ = ["ClickHouseClient", "Endpoint", "Param", "Served", "Setting", "endpoint_of"]

log = logging.getLogger("nealytics.clickhouse")

# We wait a little longer than `max_execution_time`, so that "it took too long" is ClickHouse's answer and not
# ours: a client can act on it.
_ANSWER_GRACE_S = 2.0

# An address that hangs is sent a small query when its cool-down ends, and must not block a batch for all of
# `insert_timeout_s` each time.
VERIFY_TIMEOUT_S = 10.0

# `/ready` waits for 2 s in all, and one silent address must leave time for the next.
_PING_OF_SEVERAL_S = 0.8

# A larger body is compressed in a thread.
_IN_THREAD_BYTES_MIN = 64 * 1024


class Served(NamedTuple):
    """The address that served a request, and whether another failed before, perhaps having served it."""

    address: Address
    moved: bool


class ClickHouseClient:
    """Close it when done; many tasks may use it at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        config: ClickHouseConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        transport: Transport | None = None,
        reads: Mapping[str, Setting] | None = None,  # in place of the usual settings of reads
    ) -> None:
        self.endpoint = endpoint
        self.addresses = Addresses(endpoint.urls, clock)
        self.damaged: dict[str, str] = {}  # parts that cannot be read, and why (`clickhouse.damage`)
        self._config = config
        self._transport = transport or Transport(endpoint, config)
        # Compressing what stays on the machine costs time and saves nothing.
        self._compression = "none" if endpoint.embedded else config.compression
        self._insert_settings = insert_settings(config, replicas=bool(config.cluster or endpoint.others))
        self._read_settings = read_settings(config) if reads is None else dict(reads)

    def __repr__(self) -> str:
        return f"ClickHouseClient({self.endpoint!r})"

    async def insert(self, sql: str, body: bytes, *, token: str) -> Served:
        """Sends `body` as the data of the INSERT `sql`; returns once ClickHouse has accepted it.

        `token` names the batch: ClickHouse inserts nothing twice under a token, so a failed call may be
        repeated with the same arguments. But the success of a repetition does not prove that the rows are in
        the table: `commit.delivery`. Raises `ClickHouseError`.
        """
        headers = {}
        if self._compression != "none":
            headers["Content-Encoding"] = self._compression
            body = await _compressed(body, self._compression)

        async def send(address: Address) -> None:
            settings = _known(self._insert_settings, address)
            answer = await self._transport.request(
                address.url,
                {"query": sql, **settings, "insert_deduplication_token": token},
                body,
                headers=headers,
                timeout_s=self._config.insert_timeout_s,
            )
            if answer:  # older servers put an error that came late into a 200's body
                raise error_of(200, None, answer)

        return await self._at_one_that_serves(send)

    async def query(
        self,
        sql: str,
        params: Mapping[str, Param] | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        at: Address | None = None,
        received: Callable[[int], None] | None = None,
        read: Callable[[int], None] | None = None,
    ) -> list[list[Any]]:
        """The rows of a SELECT that has no FORMAT clause. `{name:Type}` in it stands for `params["name"]`.

        Read-only; each event once; NaN is None. With `at`, only that address is used. `received` gets the
        size of each piece; what it raises ends the read. `read` gets the number of rows that were read."""
        address = at or self.addresses.reading
        parameters = {
            **_scope(self.endpoint, "JSONCompact"),
            **_known(self._read_settings, address),
            **(settings or {}),
            **bound(params or {}),
        }
        async with self._using(address):
            return await self._transport.rows(
                address.url,
                parameters,
                sql.encode(),
                timeout_s=self._config.query_timeout_s + _ANSWER_GRACE_S,
                received=received,
                read=read,
            )

    @asynccontextmanager
    async def stream(
        self,
        sql: str,
        params: Mapping[str, Param] | None = None,
        *,
        output_format: str,
        settings: Mapping[str, Setting] | None = None,
        timeout_s: float | None = None,
        read: Callable[[int], None] | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer to a SELECT in pieces, as bytes of `output_format`; read-only, as with `query`.

        The query has ended when the context is entered: its errors are raised there, never among the pieces,
        and `read` gets the number of rows that it read. ClickHouse stores the answer, so a slow reader blocks
        no query and fills no memory here. The loop raises `ClickHouseUnavailable` if part of it is missing.
        """
        timeout_s = timeout_s or self._config.query_timeout_s
        address = self.addresses.reading
        parameters = {
            **_scope(self.endpoint, output_format),
            **_known(self._read_settings, address),
            **time_limit(timeout_s),
            # It buffers hundreds of megabytes of wide rows, and is no faster where an answer goes to a disk.
            "output_format_parallel_formatting": 0,
            **(settings or {}),
            **bound(params or {}),
        }
        async with self._using(address):
            response = await self._transport.stream(
                address.url, parameters, sql.encode(), silence_s=timeout_s + _ANSWER_GRACE_S
            )
        async with response:
            yield self._transport.pieces_of(address.url, response, read)

    async def command(
        self,
        sql: str,
        params: Mapping[str, Param] | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        at: Address | None = None,
        timeout_s: float | None = None,
    ) -> str:
        """Runs a statement that is not a read, such as DDL, once; returns its answer as text, tab-separated.

        Sent without a database, since the statement may create it. With `at`, only that address is used, for
        at most `timeout_s` or `VERIFY_TIMEOUT_S`, and the result has no influence on which address is used
        next: a replica that answers a small query may accept no inserts.
        """
        parameters = {"wait_end_of_query": 1, **(settings or {}), **bound(params or {})}
        if at is None:
            address = self.addresses.best()
            timeout_s = timeout_s or self._config.insert_timeout_s
            async with self._using(address):
                return await self._transport.request(
                    address.url, parameters, sql.encode(), timeout_s=timeout_s
                )
        timeout_s = timeout_s or min(VERIFY_TIMEOUT_S, self._config.insert_timeout_s)
        return await self._transport.request(at.url, parameters, sql.encode(), timeout_s=timeout_s)

    async def ping(self) -> None:
        """Returns if ClickHouse accepts requests, at one address at least. Tells nothing about the user or
        the table."""
        most_s = _PING_OF_SEVERAL_S if self.endpoint.others else math.inf
        timeout_s = min(self._config.connect_timeout_s, most_s)
        await self._at_one_that_serves(
            lambda address: self._transport.ping(address.url, timeout_s=timeout_s), is_ping=True
        )

    async def learn_settings(self) -> frozenset[str]:
        """Finds the settings that this server does not know, and leaves them out from now on.

        The answer depends on the server's version only, so every worker and every attempt gets the same set.
        Returns the names that are left out. Each of several addresses is asked before the first insert there.
        """
        address = self.addresses.best()
        async with self._using(address):
            await self._learn(address, self._config.insert_timeout_s)
        return address.unknown

    async def verify(self, address: Address) -> None:
        """Checks that an address leads to a replica of the table that the other addresses have.

        Call it before inserting or reading there; it asks the server again only after a failure. On a server
        with another table, a batch that moves would be stored twice, and each server would show a part of the
        events. Raises `NotAReplica`, a `ClickHouseError` of `UNKNOWN_TABLE`, or any other.
        """
        if self.addresses.is_verified(address):
            return
        within_s = min(VERIFY_TIMEOUT_S, self._config.insert_timeout_s)
        async with self._using(address, ends_cool_down=False):
            await self._learn(address, within_s)
            parameters: dict[str, Setting] = {"wait_end_of_query": 1}
            parameters |= bound({"database": self.endpoint.database, "table": TABLE})
            identity = await self._transport.request(
                address.url, parameters, IDENTITY.encode(), timeout_s=within_s
            )
            if not identity:
                where = self.endpoint.where(address.url)
                raise ClickHouseError(UNKNOWN_TABLE, f"{where} has no table {self.endpoint.database}.{TABLE}")
            if (first := self.addresses.verified(address, identity)) is not None:
                raise _not_a_replica(self.endpoint, address, first)

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> "ClickHouseClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _at_one_that_serves(
        self, send: Callable[[Address], Awaitable[None]], *, is_ping: bool = False
    ) -> Served:
        """Sends a request to the best address, and after failures to each other one that is left."""
        address, tried = self.addresses.best(), list[Address]()
        while True:
            tried.append(address)
            try:
                if not is_ping:
                    await self.verify(address)
                # A replica that accepts no inserts still answers pings.
                async with self._using(address, ends_cool_down=not is_ping):
                    await send(address)
                return Served(address, moved=len(tried) > 1)
            except ClickHouseError as error:
                if (following := self.addresses.after(error, tried)) is None:
                    error.url, error.moved = address.url, len(tried) > 1
                    raise
                address = following

    @asynccontextmanager
    async def _using(self, address: Address, *, ends_cool_down: bool = True) -> AsyncIterator[None]:
        """Records whether the requests within succeed at that address."""
        try:
            yield
        except ClickHouseError as error:
            if error.of_the_address and (following := self.addresses.failed(address)) is not None:
                log.warning("%s; continuing with %s", error, self.endpoint.where(following.url))
            if error.code == UNKNOWN_SETTING:
                # The server may have been replaced by an older one. The next attempt omits the setting.
                try:
                    await self._learn(address, self._config.insert_timeout_s)
                except ClickHouseError as unread:
                    log.warning(
                        "clickhouse: the server rejected a setting, and system.settings cannot be read: %s",
                        unread,
                    )
            raise
        if ends_cool_down:
            self.addresses.served(address)

    async def _learn(self, address: Address, timeout_s: float) -> None:
        names = checkable(self._insert_settings | self._read_settings)
        sql = known_settings_sql(names).encode()
        answer = await self._transport.request(
            address.url, {"wait_end_of_query": 1}, sql, timeout_s=timeout_s
        )
        try:
            unknown = unknown_settings(names, answer)
        except ValueError as error:
            raise ClickHouseUnavailable(str(error)) from error
        if unknown != address.unknown:
            names = sorted(unknown)
            log.warning("clickhouse: this server does not know %s; requests leave it out", ", ".join(names))
        address.unknown = unknown


def _not_a_replica(endpoint: Endpoint, address: Address, first: Address) -> NotAReplica:
    return NotAReplica(
        f"{endpoint.where(address.url)}: {endpoint.database}.{TABLE} is not a replica of the one at "
        f"{endpoint.where(first.url)}, so a batch retried there would be stored twice; list only replicas of "
        "one shard in clickhouse.url, or members of one cluster"
    )


async def _compressed(body: bytes, how: str) -> bytes:
    if len(body) < _IN_THREAD_BYTES_MIN:
        return compress(body, how, 1)
    return await asyncio.to_thread(compress, body, how, 1)


def _scope(endpoint: Endpoint, output_format: str) -> dict[str, Setting]:
    # The comment finds a request's queries in `system.query_log` and `system.processes`. Not `query_id`: a
    # request may have several queries, and a client may send the same id twice.
    request = request_id.current()
    return {
        "database": endpoint.database,
        "default_format": output_format,
        **({"log_comment": request} if request else {}),
    }


def _known(settings: Mapping[str, Setting], address: Address) -> dict[str, Setting]:
    return {name: value for name, value in settings.items() if name not in address.unknown}
