"""The one client: ClickHouse's HTTP interface over TCP or a unix socket.

It promises:
  - `insert` returns only if ClickHouse took the rows: status 200 with a header of ClickHouse's own, no
    exception header, an empty body
  - the same batch is sent with the same bytes and the same settings at every try, whatever a server profile
    says
  - every failure is a `ClickHouseError`; one without a complete answer is a `ClickHouseUnavailable`
  - parameters reach the query as they were given, whatever characters they hold
  - with several addresses, replicas of one shard, a request goes to the first that is well (`addresses`). An
    insert that fails there moves to the next one with its bytes and its token, by which the replicas know it;
    never to one that is no replica of the first

It leaves to others: when to try an insert again (`commit`), and what SQL to send (`queries`, `schema`).
"""

import asyncio
import gzip
import logging
import re
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from yarl import URL

from nealytics.clickhouse.addresses import IDENTITY, TABLE, Address, Addresses
from nealytics.clickhouse.answer import rows_of
from nealytics.clickhouse.embedded import socket_path
from nealytics.clickhouse.errors import (
    UNKNOWN_SETTING,
    UNKNOWN_TABLE,
    ClickHouseError,
    ClickHouseUnavailable,
    NotAReplica,
    error_of,
)
from nealytics.config import ClickHouseConfig, Config
from nealytics.observe import request_id
from nealytics.tls import why_not

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

log = logging.getLogger("nealytics.clickhouse")

Param = str | int | float | Sequence[str] | Sequence[int]
Setting = str | int
T = TypeVar("T")

# Sent with every insert, so that a retry is cut into blocks exactly as the first try was: deduplication works
# by block. The sizes are ClickHouse's own defaults, pinned because a server profile may have changed them
# between two tries. A batch stays below them, so it is one block, and one block is taken whole or not at all.
INSERT_SETTINGS: dict[str, Setting] = {
    "async_insert": 0,
    "max_insert_block_size": 1_048_449,
    "min_insert_block_size_rows": 1_048_449,
    "min_insert_block_size_bytes": 268_402_944,
    "input_format_parallel_parsing": 0,
    "max_insert_threads": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # A batch may touch many months; refusing it for that would look like overload for ever.
    "max_partitions_per_insert_block": 0,
    # "break" in a profile ends an insert that takes too long as if its rows ended there, with success.
    "timeout_overflow_mode": "throw",
    "wait_end_of_query": 1,
}

# Sent with every read.
READ_SETTINGS: dict[str, Setting] = {
    "readonly": 2,  # 1 would forbid the settings of this very request
    "final": 1,  # an event that was inserted twice is shown once, before any merge
    # Copies of an event carry the same timestamp, so they are in the same partition; looking across costs
    # time.
    "do_not_merge_across_partitions_select_final": 1,
    # With `final`, an index may leave out no granule in which a copy of a matching event lies. Where copies
    # may differ in the indexed column, `queries.filters.where` sees to that, for less than ClickHouse's exact
    # mode, which reads nearly all again.
    "use_skip_indexes_if_final": 1,
    "use_skip_indexes_if_final_exact_mode": 0,
    # An error after the first rows would otherwise arrive as a short answer with status 200.
    "wait_end_of_query": 1,
    # Whoever asked has left; the embedded engine does so by itself.
    "cancel_http_readonly_queries_on_client_close": 1,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_denormals": 0,
    # ClickHouse's own defaults, pinned because with others in a server profile the same SQL has another
    # answer: cut off, of some time ago, or with NULLs where there are none.
    "limit": 0,
    "offset": 0,
    "use_query_cache": 0,
    "transform_null_in": 0,
    "aggregate_functions_null_for_empty": 0,
    "enable_global_with_statement": 1,
}

# Sent with every insert where there are replicas. clickhouse-init-cluster.sql has the reasons;
# `insert_quorum` and its timeout come from the configuration.
REPLICATED_INSERT_SETTINGS: dict[str, Setting] = {
    "distributed_foreground_insert": 1,
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",  # since 26.2 it says what insert_deduplicate said
    "insert_quorum_parallel": 1,
}

# Sent with every read of a cluster.
CLUSTER_READ_SETTINGS: dict[str, Setting] = {
    # A shard that is down makes an error. Left out, as a server profile may have it, it makes wrong numbers.
    "skip_unavailable_shards": 0,
    # A subquery over all shards within one over all shards is asked once, for all of them. By default it is
    # refused.
    "distributed_product_mode": "global",
    "distributed_group_by_no_merge": 0,
}

# Parameters of the HTTP interface itself. They are not in system.settings, yet every server knows them.
_INTERFACE_PARAMETERS = frozenset({"wait_end_of_query", "insert_deduplication_token"})

# We wait a little longer than `max_execution_time`, so that "it took too long" is ClickHouse's answer and not
# ours: that one a client can do something about.
_ANSWER_GRACE_S = 2.0

# Of several addresses, one that hangs is asked a small question when its cool-down ends, and must not block
# a batch for all of `insert_timeout_s` each time.
VERIFY_TIMEOUT_S = 10.0

# `/ready` waits for 2 s in all.
_PING_OF_SEVERAL_S = 0.8

# Text in the URL is limited (`http_max_uri_size`, 1 MiB); SQL travels in the body, only values are in the
# URL.
_COMPRESS_BYTES_MIN = 64 * 1024
_ERROR_BYTES_MAX = 64 * 1024

# How a request fails that gets no complete answer.
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)

_EXCEPTION_CODE = "X-ClickHouse-Exception-Code"
# Every version marks its answers: X-ClickHouse-Query-Id, -Summary, -Server-Display-Name.
_MARK = "x-clickhouse-"
# The native port answers a request in HTTP with this text, since 2017 at least.
_NATIVE_PORT = re.compile(r"is for clickhouse-client program\.?\s+You must use port (\d{1,5}) for HTTP")
# What tells the end of an answer from a connection that broke; HTTP/1.0 needs neither.
_END = frozenset({"content-length", "transfer-encoding"})


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where ClickHouse is and who we are there."""

    url: str
    others: tuple[str, ...] = ()  # used when `url` is not available: replicas of the same shard
    unix_socket: str | None = None
    user: str = "default"
    password: str = ""
    database: str = "nealytics_core"

    def __repr__(self) -> str:
        return f"Endpoint({self._where}, user={self.user!r}, database={self.database!r})"

    def __str__(self) -> str:
        """For people. Without the password, also one that is in the address."""
        return f"{self._where} (user {self.user}, database {self.database})"

    @property
    def _where(self) -> str:
        urls = ", ".join(map(_without_credentials, (self.url, *self.others)))
        return f"unix:{self.unix_socket}" if self.unix_socket else urls


def endpoint_of(config: Config) -> Endpoint:
    """The server that the configuration names, or the embedded engine's socket."""
    clickhouse = config.clickhouse
    if clickhouse.url == "embedded":
        return Endpoint(
            # The host is never looked up; it only fills the Host header.
            url="http://embedded",
            unix_socket=str(socket_path(config.server.data_dir)),
            database=clickhouse.database,
        )
    first, *others = (url.rstrip("/") for url in clickhouse.urls)
    return Endpoint(
        url=first,
        others=tuple(others),
        user=clickhouse.user,
        password=clickhouse.password,
        database=clickhouse.database,
    )


class Served(NamedTuple):
    """Which address did what was asked, and whether another failed before, perhaps having done it."""

    address: Address
    moved: bool


class ClickHouseClient:
    """A pool of connections to one endpoint. Close it when done; its methods may be used by many tasks at
    once."""

    def __init__(
        self,
        endpoint: Endpoint,
        config: ClickHouseConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self.addresses = Addresses((endpoint.url, *endpoint.others), clock)
        # Parts of the table that cannot be read, and why, as far as is known (`clickhouse.damage`).
        self.damaged: dict[str, str] = {}
        self._reading: Address | None = None  # where reads stay; see `read_at`
        self._first: Address | None = None  # the first that was verified,
        self._identity = ""  # and what the others must have; see `verify`
        self._config = config
        self._session: aiohttp.ClientSession | None = None
        # Compressing what never leaves the machine costs time and saves nothing.
        self._compression = "none" if endpoint.unix_socket else config.compression
        self._insert_settings = dict(INSERT_SETTINGS)
        self._read_settings = {
            **READ_SETTINGS,
            # So that the server gives up when we do, instead of working on for nobody.
            "max_execution_time": max(1, int(config.query_timeout_s)),
        }
        if config.cluster or endpoint.others:
            self._insert_settings |= {
                **REPLICATED_INSERT_SETTINGS,
                "insert_quorum": config.insert_quorum or "auto",
                "insert_quorum_timeout": max(1, int(config.insert_timeout_s * 800)),  # of its 1,000 ms
            }
        if config.cluster:
            self._read_settings |= CLUSTER_READ_SETTINGS

    def __repr__(self) -> str:
        return f"ClickHouseClient({self.endpoint!r})"

    async def insert(self, sql: str, body: bytes, *, token: str) -> Served:
        """Sends `body` as the data of the INSERT `sql`; returns once ClickHouse has it, and says where.

        `token` names the batch: what was already taken under it is not taken again. So a call that failed may
        be repeated with the same arguments, and must not be made with others. But the success of a repetition
        does not prove that the rows are there: `commit.delivery`. Raises `ClickHouseError`.
        """
        headers = {}
        if self._compression != "none":
            headers["Content-Encoding"] = self._compression
            body = await _compressed(body, self._compression)

        async def send(address: Address) -> None:
            settings = self._known(self._insert_settings, address)
            answer = await self._request(
                address,
                {"query": sql, **settings, "insert_deduplication_token": token},
                body,
                headers=headers,
                timeout_s=self._config.insert_timeout_s,
            )
            if answer:
                # Success has nothing to say. Older servers put an error that came late into a 200's body.
                raise error_of(200, None, answer.decode("utf-8", "replace"))

        return await self._at_one_that_serves(send)

    async def query(
        self,
        sql: str,
        params: Mapping[str, Param] | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        at: Address | None = None,
        received: Callable[[int], None] | None = None,
    ) -> list[list[Any]]:
        """The rows of a SELECT that has no FORMAT clause. `{name:Type}` in it takes `params["name"]`.

        Read-only, and never shows an event twice. 64-bit integers are ints; NaN is None. `at` asks there and
        nowhere else. `received` gets the number of bytes of each piece; what it raises ends the read.
        """
        address = at or self.read_address()
        sent: dict[str, Setting] = {
            **self._known(self._read_settings, address),
            **self._log_comment(),
            **(settings or {}),
        }
        parameters = {
            "database": self.endpoint.database,
            "default_format": "JSONCompact",
            **sent,
            **_bound(params or {}),
        }
        body = sql.encode()
        with self._watching(address):
            return await _again_if_idle_too_long(lambda: self._rows(address, parameters, body, received))

    @asynccontextmanager
    async def stream(
        self,
        sql: str,
        params: Mapping[str, Param] | None = None,
        *,
        output_format: str,
        settings: Mapping[str, Setting] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer to a SELECT in pieces, in the bytes of `output_format`; read-only, as with `query`.

        The query has ended when the context is entered: whatever goes wrong with it is raised there, and its
        text is never among the pieces. ClickHouse keeps the answer, on disk if it is large, so a slow reader
        blocks no query and nothing gathers here. Raises `ClickHouseUnavailable` in the loop if not all of
        it arrives.
        """
        timeout_s = timeout_s or self._config.query_timeout_s
        address = self.read_address()
        parameters = {
            "database": self.endpoint.database,
            "default_format": output_format,
            **self._known(self._read_settings, address),
            **self._log_comment(),
            "max_execution_time": max(1, int(timeout_s)),
            # It buffers blocks to format them side by side, hundreds of megabytes of wide rows; and it is no
            # faster where the answer is written to a disk.
            "output_format_parallel_formatting": 0,
            **(settings or {}),
            **_bound(params or {}),
        }
        # How long the reader takes is its own business; only ClickHouse's silence counts.
        within = aiohttp.ClientTimeout(
            total=None, sock_connect=self._config.connect_timeout_s, sock_read=timeout_s + _ANSWER_GRACE_S
        )
        body = sql.encode()
        with self._watching(address):
            response = await _again_if_idle_too_long(
                lambda: self._begin(address, parameters, body, within=within)
            )
        async with response:
            if not _END.intersection(name.lower() for name in response.headers):
                raise ClickHouseUnavailable(
                    f"{self._where(address)}: the answer says neither its length nor where it ends, so "
                    "half of it would look like all of it; speak HTTP/1.1 to ClickHouse on the proxies on "
                    "the way"
                )
            yield self._pieces(address, response)

    async def command(
        self,
        sql: str,
        params: Mapping[str, Param] | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        at: Address | None = None,
        timeout_s: float | None = None,
    ) -> str:
        """Runs a statement that is not a read, such as DDL, once; what it answers as text, tab-separated.

        Sent without a database, since it may be the statement that creates it. With `at` it is sent there and
        nowhere else, for at most `timeout_s` or `VERIFY_TIMEOUT_S`, and has no influence on which address is
        used: a replica that answers a small question may accept no inserts.
        """
        parameters = {"wait_end_of_query": 1, **(settings or {}), **_bound(params or {})}
        if at is not None:
            within_s = timeout_s or min(VERIFY_TIMEOUT_S, self._config.insert_timeout_s)
            return await self._command_at(at, parameters, sql, within_s)
        address = self.addresses.best()
        with self._watching(address):
            return await self._command_at(address, parameters, sql, timeout_s)

    async def ping(self) -> None:
        """Returns if ClickHouse takes requests, at one address at least. Says nothing about the user or the
        table."""
        await self._at_one_that_serves(self._ping_at, is_ping=True)

    async def _ping_at(self, address: Address) -> None:
        session = self._open()
        try:
            async with session.get(
                f"{address.url}/ping",
                timeout=self._timeout(self._ping_timeout_s()),
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(address, error) from error
        if response.status != 200:
            raise self._refusal(address, response.status, None, body)

    def _ping_timeout_s(self) -> float:
        # Of several, one that is silent must leave the time to ask the next one.
        most = _PING_OF_SEVERAL_S if self.endpoint.others else self._config.connect_timeout_s
        return min(self._config.connect_timeout_s, most)

    async def learn_settings(self) -> frozenset[str]:
        """Finds out which of our settings this server does not know, and leaves those out from now on.

        The answer depends on the server's version only, so every worker and every try comes to the same set.
        Returns the names that are left out. Each of several addresses is asked before the first insert there.
        """
        address = self.addresses.best()
        with self._watching(address):
            return await self._learn(address)

    async def _learn(self, address: Address, timeout_s: float | None = None) -> frozenset[str]:
        ours = sorted((self._insert_settings.keys() | self._read_settings.keys()) - _INTERFACE_PARAMETERS)
        listed = ", ".join(f"'{name}'" for name in ours)
        sql = f"SELECT name FROM system.settings WHERE name IN ({listed}) FORMAT JSONCompact"
        answer = await self._command_at(address, {"wait_end_of_query": 1}, sql, timeout_s)
        try:
            known = {name for (name,) in msgspec.json.decode(answer, type=_Answer).data}
        except (msgspec.MsgspecError, ValueError) as error:
            raise ClickHouseUnavailable(f"system.settings cannot be read: {error}") from error
        if not known:
            # No server is like that. Without its settings an insert might be cut and queued in any way.
            raise ClickHouseUnavailable("system.settings shows none of our settings")
        unknown = frozenset(ours) - known
        if unknown != address.unknown:
            log.warning(
                "clickhouse: this server does not know %s; requests do not set it", ", ".join(sorted(unknown))
            )
        address.unknown = unknown
        return unknown

    async def verify(self, address: Address) -> None:
        """Makes sure that one of several addresses leads to a replica of the table that the others have.

        To be called before something is inserted or read there; it asks again only after a failure.
        Elsewhere a batch that moves would be stored twice, and each place would show a part of the events.
        Raises `NotAReplica`, a `ClickHouseError` of `UNKNOWN_TABLE`, or any other.
        """
        if len(self.addresses.all) == 1 or (address.identity and address.identity == self._identity):
            return
        within_s = min(VERIFY_TIMEOUT_S, self._config.insert_timeout_s)
        with self._watching(address, ends_cool_down=False):
            await self._learn(address, within_s)
            parameters = _bound({"database": self.endpoint.database, "table": TABLE})
            parameters["wait_end_of_query"] = "1"
            identity = await self._command_at(address, parameters, IDENTITY, within_s)
            name = f"{self.endpoint.database}.{TABLE}"
            if not identity:
                raise ClickHouseError(UNKNOWN_TABLE, f"{self._where(address)} has no table {name}")
            if self._first is None or self._first is address:
                # It may have changed, where somebody made the table anew; then the others are asked again.
                self._first, self._identity = address, identity
            if identity != self._identity:
                raise NotAReplica(
                    f"{self._where(address)}: {name} is no replica of the one at {self._where(self._first)}, "
                    "so a batch that moves would be stored twice; name replicas of one shard in "
                    "clickhouse.url, or members of a cluster"
                )
        address.identity = identity

    def read_at(self, address: Address) -> None:
        """From now on all reads go there, until this is called again: to where somebody has made sure that
        reading is safe (`queries.scoped.Fence`)."""
        self._reading = address

    def read_address(self) -> Address:
        """Where the next read goes."""
        return self._reading or self.addresses.best()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> "ClickHouseClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Requests

    async def _at_one_that_serves(
        self, send: Callable[[Address], Awaitable[None]], *, is_ping: bool = False
    ) -> Served:
        """Does it at the best address, and if that fails, at each other one that is left."""
        tried: list[Address] = []
        while True:
            address = self.addresses.best()
            tried.append(address)
            try:
                if not is_ping:
                    await self.verify(address)
                # A replica that takes no insert answers pings all the same.
                with self._watching(address, ends_cool_down=not is_ping):
                    await send(address)
                return Served(address, moved=len(tried) > 1)
            except ClickHouseError as error:
                if not error.of_the_address or self.addresses.best() in tried:
                    raise

    @contextmanager
    def _watching(self, address: Address, *, ends_cool_down: bool = True) -> Iterator[None]:
        """Remembers whether what is done within it succeeds there."""
        try:
            yield
        except ClickHouseError as error:
            if error.of_the_address:
                self._failed(address, error)
            raise
        if ends_cool_down:
            self.addresses.served(address)

    def _failed(self, address: Address, error: ClickHouseError) -> None:
        before = self.addresses.best()
        self.addresses.failed(address)
        after = self.addresses.best()
        if before is address and after is not address and not self.addresses.is_cooling(after):
            log.warning("%s; continuing with %s", error, self._where(after))

    async def _rows(
        self,
        address: Address,
        parameters: Mapping[str, Setting],
        body: bytes,
        received: Callable[[int], None] | None,
    ) -> list[list[Any]]:
        within = self._timeout(self._config.query_timeout_s + _ANSWER_GRACE_S)
        response = await self._begin(address, parameters, body, within=within)
        async with response:
            pieces = self._pieces(address, response)
            try:
                return await rows_of(pieces if received is None else _told(pieces, received))
            except ValueError as error:  # msgspec's are, too
                raise ClickHouseUnavailable(f"{self._where(address)}: {error}") from error

    async def _command_at(
        self, address: Address, parameters: Mapping[str, Setting], sql: str, timeout_s: float | None = None
    ) -> str:
        answer = await self._request(
            address, parameters, sql.encode(), timeout_s=timeout_s or self._config.insert_timeout_s
        )
        return answer.decode("utf-8", "replace")

    async def _pieces(self, address: Address, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in response.content.iter_any():
                yield piece
        except _BROKEN as error:
            raise self._unavailable(address, error) from error

    async def _request(
        self,
        address: Address,
        parameters: Mapping[str, Setting],
        body: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        within = self._timeout(timeout_s)
        response = await self._begin(address, parameters, body, within=within, headers=headers)
        try:
            async with response:
                return await response.read()
        except _BROKEN as error:
            raise self._unavailable(address, error) from error

    async def _begin(
        self,
        address: Address,
        parameters: Mapping[str, Setting],
        body: bytes,
        *,
        within: aiohttp.ClientTimeout,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer of a request that succeeded, its body still to be read; the caller closes it."""
        # Encoded here: yarl would take some characters of a value for syntax.
        url = URL(f"{address.url}/?{urlencode(parameters)}", encoded=True)
        try:
            response = await self._open().post(
                # A redirect is not followed: it would drop the body, and take the password elsewhere.
                url,
                data=body,
                headers=headers,
                timeout=within,
                allow_redirects=False,
            )
            code = response.headers.get(_EXCEPTION_CODE)
            if response.status == 200 and code is None:
                if not any(name.lower().startswith(_MARK) for name in response.headers):
                    response.close()
                    # The empty 200 of a maintenance page would otherwise look like a finished insert.
                    raise ClickHouseUnavailable(
                        f"{self._where(address)}: HTTP 200, but no {_MARK}* header: this is not ClickHouse; "
                        "check clickhouse.url and the proxies in between"
                    )
                return response
            async with response:
                message = await response.content.read(_ERROR_BYTES_MAX)
        except _BROKEN as error:
            raise self._unavailable(address, error) from error
        refused = self._refusal(address, response.status, code, message)
        if refused.code == UNKNOWN_SETTING:
            await self._notice_unknown_settings(address)
        raise refused

    async def _notice_unknown_settings(self, address: Address) -> None:
        """After a refused setting: the server was perhaps replaced by an older one. The next try goes
        without."""
        try:
            await self._learn(address)
        except ClickHouseError as error:
            log.warning("clickhouse: a setting was refused, and system.settings cannot be read: %s", error)

    def _log_comment(self) -> dict[str, Setting]:
        """So a request's queries are found in `system.query_log`; the embedded engine keeps none. Not as
        `query_id`: a request may have several queries, and a client may send the same id twice."""
        request = request_id.current()
        return {"log_comment": request} if request and not self.endpoint.unix_socket else {}

    @staticmethod
    def _known(settings: Mapping[str, Setting], address: Address) -> dict[str, Setting]:
        return {name: value for name, value in settings.items() if name not in address.unknown}

    def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the loop that runs when it is made.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                headers=self._headers(),
                # Our own cookie, proxy and redirect handling is: none.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=True,
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        limit = self._config.connections_max
        if self.endpoint.unix_socket:
            return aiohttp.UnixConnector(self.endpoint.unix_socket, limit=limit)
        tls: ssl.SSLContext | bool = True
        if any(address.url.startswith("https://") for address in self.addresses.all):
            tls = ssl.create_default_context(cafile=self._config.ca_file or None)
        return aiohttp.TCPConnector(limit=limit, ssl=tls)

    def _headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": "nealytics",
            "Accept-Encoding": "identity",
            "X-ClickHouse-User": self.endpoint.user,
        }
        if self.endpoint.password:
            headers["X-ClickHouse-Key"] = self.endpoint.password
        return headers

    def _timeout(self, total_s: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total_s, sock_connect=self._config.connect_timeout_s)

    def _unavailable(self, address: Address, error: BaseException) -> ClickHouseUnavailable:
        if isinstance(error, TimeoutError):
            what = "no complete answer in time"
        elif (why := why_not(error)) is not None:
            what = f"{why}; clickhouse.ca_file names the authority to trust"
        else:
            # aiohttp speaks of TLS also where there is none.
            what = str(error).replace(" ssl:default", "") or type(error).__name__
        return ClickHouseUnavailable(f"{self._where(address)}: {what}")

    def _refusal(self, address: Address, status: int, code: str | None, message: bytes) -> ClickHouseError:
        text = message.decode("utf-8", "replace")
        native = _NATIVE_PORT.search(text)
        if code is not None or native is None:
            return error_of(status, code, text)
        http_port = native[1]
        meant = urlsplit(address.url)
        host = f"[{meant.hostname}]" if ":" in (meant.hostname or "") else meant.hostname
        return ClickHouseUnavailable(
            f"{self._where(address)} is ClickHouse's native port, and this engine speaks HTTP; "
            f'ClickHouse says that its HTTP port is {http_port}: write clickhouse.url = "http://{host}:{http_port}"'
            + (", or the address of its HTTPS port" if meant.scheme == "https" else "")
        )

    def _where(self, address: Address) -> str:
        return self.endpoint.unix_socket or _without_credentials(address.url)


class _Answer(msgspec.Struct):
    data: list[list[Any]]


async def _told(pieces: AsyncIterator[bytes], received: Callable[[int], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        received(len(piece))
        yield piece


async def _again_if_idle_too_long(read: Callable[[], Awaitable[T]]) -> T:
    """Does a read once more if it failed like one over a connection that the server had closed while it was
    idle. A read has no effect, and the pool has thrown the dead connection away."""
    try:
        return await read()
    except ClickHouseUnavailable as error:
        if not isinstance(error.__cause__, aiohttp.ServerDisconnectedError | ConnectionError):
            raise
    return await read()


def escaped(value: Param) -> str:
    """A parameter's value as ClickHouse reads it from `param_<name>`.

    It unescapes what it gets there (`a\\b` would become a, backspace), and a tab or a line feed would end the
    value. A sequence is written as an array, of numbers as they are or of quoted strings, inside which quotes
    are escaped in addition.
    """
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return "[" + ",".join(map(_escaped_item, value)) + "]"


def _escaped_item(item: str | int) -> str:
    return f"'{item.translate(_QUOTED_ESCAPES)}'" if isinstance(item, str) else str(item)


_ESCAPES = str.maketrans(
    {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": r"\0", "\b": r"\b", "\f": r"\f"}
)
_QUOTED_ESCAPES = {**_ESCAPES, ord("'"): r"\'"}


def _bound(params: Mapping[str, Param]) -> dict[str, str]:
    return {f"param_{name}": escaped(value) for name, value in params.items()}


async def _compressed(body: bytes, how: str) -> bytes:
    if len(body) < _COMPRESS_BYTES_MIN:
        return _compress(body, how)
    return await asyncio.get_running_loop().run_in_executor(None, _compress, body, how)


def _compress(body: bytes, how: str) -> bytes:
    # No time stamp in the gzip header: a retry sends the same bytes.
    return gzip.compress(body, compresslevel=1, mtime=0) if how == "gzip" else zstd.compress(body, level=1)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
