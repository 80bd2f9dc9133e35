"""One HTTP request to one address of ClickHouse.

It promises:
  - an answer counts as success only with status 200, a header of ClickHouse's own, and no exception header
  - every failure is a `ClickHouseError`; without a complete answer it is a `ClickHouseUnavailable`

It knows neither other addresses nor retries of inserts. A read over a connection that the server closed while
it was idle is sent once more: a read has no effect.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from nealytics.clickhouse.answer import rows_of, rows_read
from nealytics.clickhouse.endpoint import Endpoint
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, error_of
from nealytics.clickhouse.settings import Setting
from nealytics.config import ClickHouseConfig
from nealytics.tls import why_not

_ERROR_BYTES_MAX = 64 * 1024
_PIECE_BYTES = 256 * 1024
# What a request without a complete answer raises.
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
_EXCEPTION_CODE = "X-ClickHouse-Exception-Code"
# Every version marks its answers: X-ClickHouse-Query-Id, -Summary, -Server-Display-Name.
_MARK = "x-clickhouse-"
# The native port answers an HTTP request with this text, since 2017 at least.
_NATIVE_PORT = re.compile(r"is for clickhouse-client program\.?\s+You must use port (\d{1,5}) for HTTP")
# One of these tells the end of an answer from a broken connection; HTTP/1.0 requires neither.
_END = frozenset({"content-length", "transfer-encoding"})


class _InPieces(Payload):
    """A body that is written in pieces. If a large one is written at once, or as a file, it is copied as a
    whole, in the event loop."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/octet-stream")
        self._body = body
        self._size = len(body)

    async def write(self, writer: AbstractStreamWriter) -> None:
        whole = memoryview(self._body)
        for start in range(0, len(whole), _PIECE_BYTES):
            await writer.write(whole[start : start + _PIECE_BYTES])
            await asyncio.sleep(0)  # other requests: on loopback, megabytes fit into the socket's buffers

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)


class Transport:
    """A pool of connections. Close it when done; many tasks may use it at once."""

    def __init__(self, endpoint: Endpoint, config: ClickHouseConfig) -> None:
        self._endpoint = endpoint
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def begin(
        self,
        url: str,
        parameters: Mapping[str, Setting],
        body: bytes,
        *,
        within: aiohttp.ClientTimeout,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """The response of a request that succeeded, its body still unread; the caller closes it."""
        # Encoded here: yarl would read some characters of a value as syntax.
        target = URL(f"{url}/?{urlencode(parameters)}", encoded=True)
        try:
            # A redirect is not followed: that would drop the body and send the password elsewhere.
            response = await self._open().post(
                target,
                data=_InPieces(body) if len(body) > _PIECE_BYTES else body,
                headers=headers,
                timeout=within,
                allow_redirects=False,
            )
            code = response.headers.get(_EXCEPTION_CODE)
            if response.status == 200 and code is None:
                if any(name.lower().startswith(_MARK) for name in response.headers):
                    return response
                response.close()
                # The empty 200 of a maintenance page would otherwise look like a finished insert.
                raise ClickHouseUnavailable(
                    f"{self._endpoint.where(url)}: HTTP 200 without a {_MARK}* header, so this is not "
                    "ClickHouse; check clickhouse.url and the proxies in between"
                )
            async with response:
                message = await response.content.read(_ERROR_BYTES_MAX)
        except _BROKEN as error:
            raise self._unavailable(url, error) from error
        raise self._refusal(url, response.status, code, message)

    async def request(
        self,
        url: str,
        parameters: Mapping[str, Setting],
        body: bytes,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The complete answer. The request is sent once."""
        within = self._timeout(timeout_s)
        response = await self.begin(url, parameters, body, within=within, headers=headers)
        try:
            async with response:
                answer = await response.read()
        except _BROKEN as error:
            raise self._unavailable(url, error) from error
        return answer.decode("utf-8", "replace")

    async def rows(
        self,
        url: str,
        parameters: Mapping[str, Setting],
        body: bytes,
        *,
        timeout_s: float,
        received: Callable[[int], None] | None = None,
        read: Callable[[int], None] | None = None,
    ) -> list[list[Any]]:
        """The rows of a read in JSONCompact. `received` gets the size of each piece; what it raises ends the
        read."""

        within = self._timeout(timeout_s)
        async with await self._begin_read(url, parameters, body, within) as response:
            pieces = self._pieces(url, response)
            try:
                rows, rows_read = await rows_of(pieces if received is None else _counted(pieces, received))
            except ValueError as error:  # msgspec's are, too
                raise ClickHouseUnavailable(f"{self._endpoint.where(url)}: {error}") from error
        if read is not None:
            read(rows_read)
        return rows

    async def stream(
        self, url: str, parameters: Mapping[str, Setting], body: bytes, *, silence_s: float
    ) -> aiohttp.ClientResponse:
        """The response of a read, for `pieces_of`; the caller closes it.

        Only ClickHouse's silence is limited; the reader may take any time.
        """
        within = aiohttp.ClientTimeout(
            total=None, sock_connect=self._config.connect_timeout_s, sock_read=silence_s
        )
        return await self._begin_read(url, parameters, body, within)

    def pieces_of(
        self, url: str, response: aiohttp.ClientResponse, read: Callable[[int], None] | None = None
    ) -> AsyncIterator[bytes]:
        """`read` gets the number of rows that the query read.

        Raises `ClickHouseUnavailable` if the end of the answer cannot be recognised. That is not a failure
        of the address: what is in between is the same for the others."""
        if not _END.intersection(name.lower() for name in response.headers):
            raise ClickHouseUnavailable(
                f"{self._endpoint.where(url)}: the answer has neither a length nor an end mark, so a "
                "truncated one would look complete; configure the proxies in between to use HTTP/1.1"
            )
        if read is not None:
            read(rows_read(response.headers))
        return self._pieces(url, response)

    async def ping(self, url: str, *, timeout_s: float) -> None:
        try:
            async with self._open().get(
                f"{url}/ping", timeout=self._timeout(timeout_s), allow_redirects=False
            ) as response:
                body = await response.read()
        except _BROKEN as error:
            raise self._unavailable(url, error) from error
        if response.status != 200:
            raise self._refusal(url, response.status, None, body)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _begin_read(
        self, url: str, parameters: Mapping[str, Setting], body: bytes, within: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Sends it once more if it failed like one over a connection that the server had closed while it was
        idle. The pool has dropped that connection by then."""
        try:
            return await self.begin(url, parameters, body, within=within)
        except ClickHouseUnavailable as error:
            if not isinstance(error.__cause__, aiohttp.ServerDisconnectedError | ConnectionError):
                raise
        return await self.begin(url, parameters, body, within=within)

    async def _pieces(self, url: str, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in response.content.iter_any():
                yield piece
        except _BROKEN as error:
            raise self._unavailable(url, error) from error

    def _open(self) -> aiohttp.ClientSession:
        # Not in __init__: a session belongs to the loop that runs when it is made.
        if self._session is None:
            headers = {
                "User-Agent": "nealytics",
                "Accept-Encoding": "identity",
                "X-ClickHouse-User": self._endpoint.user,
            }
            if self._endpoint.password:
                headers["X-ClickHouse-Key"] = self._endpoint.password
            self._session = aiohttp.ClientSession(
                connector=self._connector(), headers=headers, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        limit = self._config.connections_max
        tls: ssl.SSLContext | bool = True
        if any(url.startswith("https://") for url in self._endpoint.urls):
            tls = ssl.create_default_context(cafile=self._config.ca_file or None)
        return aiohttp.TCPConnector(limit=limit, ssl=tls)

    def _timeout(self, total_s: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total_s, sock_connect=self._config.connect_timeout_s)

    def _unavailable(self, url: str, error: BaseException) -> ClickHouseUnavailable:
        if isinstance(error, TimeoutError):
            what = "no complete answer within the time limit"
        elif (why := why_not(error)) is not None:
            what = f"{why}; set clickhouse.ca_file to the authority that issued it"
        else:
            # aiohttp mentions TLS also where there is none.
            what = str(error).replace(" ssl:default", "") or type(error).__name__
        return ClickHouseUnavailable(f"{self._endpoint.where(url)}: {what}")

    def _refusal(self, url: str, status: int, code: str | None, message: bytes) -> ClickHouseError:
        text = message.decode("utf-8", "replace")
        native = _NATIVE_PORT.search(text)
        if code is not None or native is None:
            return error_of(status, code, text)
        meant = urlsplit(url)
        host = f"[{meant.hostname}]" if ":" in (meant.hostname or "") else meant.hostname
        return ClickHouseUnavailable(
            f"{self._endpoint.where(url)} is ClickHouse's native port, and Nealytics uses HTTP; ClickHouse "
            f'reports {native[1]} as its HTTP port: set clickhouse.url = "http://{host}:{native[1]}"'
            + (", or the address of its HTTPS port" if meant.scheme == "https" else "")
        )


async def _counted(pieces: AsyncIterator[bytes], received: Callable[[int], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        received(len(piece))
        yield piece
