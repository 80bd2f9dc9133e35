"""The client for asyncio. It needs aiohttp, which is loaded with the first request."""

import asyncio
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

from nealytics.client.common import ClientBase, ReaderBase, TransportBase
from nealytics.client.events import Event, Fields, StoredEvent
from nealytics.client.exchange import Lost, Pause, Request, Response, Steps, TokenWanted, checked_secret
from nealytics.client.reading import ExportLines, Queries
from nealytics.client.sending import Gathered, Sent, encode

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]


class _Transport(TransportBase):
    def __init__(self, url: str, ssl_context: ssl.SSLContext | None, token: object = "") -> None:
        super().__init__(url, ssl_context, token)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, steps: Steps[T]) -> T:
        self._check_open()
        outcome: Response | Lost | str | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Request):
                    outcome = await self._ask(step)
                elif isinstance(step, TokenWanted):
                    outcome = await self._give_token(step.fresh)
                else:
                    assert isinstance(step, Pause)
                    outcome = None
                    await asyncio.sleep(step.seconds)
        except StopIteration as done:
            return cast(T, done.value)
        finally:
            steps.close()  # at once, not when it is garbage: `Gathered.flush` then restores its events

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _give_token(self, fresh: bool) -> str:
        if callable(self._token_source) and (fresh or not self._token):
            given = self._token_source()
            self._token = await given if inspect.isawaitable(given) else given
        return checked_secret("token", self._token)

    async def _ask(self, request: Request) -> Response | Lost:
        import aiohttp
        from yarl import URL

        loop = asyncio.get_running_loop()
        if self._session is None:
            self._loop = loop
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        if self._loop is not loop:
            raise RuntimeError("the client belongs to another event loop; make one in each")
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=request.timeout_s, sock_read=request.timeout_s
        )
        try:
            response = await self._session.request(
                request.method,
                URL(self.url + request.path, encoded=True),
                data=request.body or None,
                headers=request.headers,
                timeout=timeout,
                ssl=self._ssl_context or True,
                allow_redirects=False,
            )
            if request.stream and response.status == 200:
                return Response(200, b"", stream=response)
            async with response:
                headers = response.headers
                return Response(
                    response.status,
                    await response.read(),
                    headers.get("Retry-After"),
                    headers.get("Location"),
                )
        except aiohttp.ClientConnectorCertificateError as error:
            return Lost(f"its certificate is not trusted: {error.certificate_error}", final=True)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Lost(str(error) or type(error).__name__)


class _Closable:
    _transport: _Transport

    async def close(self) -> None:
        """Closes the connections. There is nothing to flush: what was tracked is sent."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncClient(_Closable, ClientBase[_Transport]):
    """`Client` for asyncio. Use it within one event loop, and close it there.

    After a cancelled call it is unknown whether the server has the events. To be able to retry, make them
    first: `event = Event(...)`, then `await client.send([event])` as often as needed.
    """

    _transport_type = _Transport

    async def track(self, event_type: str, *, wait: bool = False, **fields: Unpack[Fields]) -> Event:
        """As `Client.track`."""
        event = self._event(event_type, fields)
        await self.send([event], wait=wait)
        return event

    async def send(self, events: Iterable[Event], *, wait: bool = False) -> Sent:
        """As `Client.send`."""
        return await self._transport.run(self._sending.steps([encode(event) for event in events], wait=wait))

    def batch(self) -> "AsyncBatch":
        """As `Client.batch`: `async with client.batch() as batch: await batch.track(...)`."""
        return AsyncBatch(self)


class AsyncBatch:
    """As `Batch`. For one task."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._gathered = Gathered()

    async def track(self, event_type: str, **fields: Unpack[Fields]) -> Event:
        event = self._client._event(event_type, fields)
        await self.add(event)
        return event

    async def add(self, event: Event) -> None:
        if self._gathered.add(event):
            await self.flush()

    async def flush(self) -> None:
        """Sends the gathered events."""
        await self._client._transport.run(self._gathered.flush(self._client._sending))

    async def __aenter__(self) -> "AsyncBatch":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.flush()  # also after an exception: the tracked events have happened
        self._gathered.finish(error)


class AsyncReader(_Closable, ReaderBase[_Transport, TokenSource]):
    """As `Reader`. The function that returns a token may be `async`."""

    _transport_type = _Transport

    async def get(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """As `Reader.get`."""
        return await self._transport.run(self._reading.get(endpoint, params))

    async def query(self, queries: Queries, **shared: Any) -> dict[str, Any]:
        """As `Reader.query`."""
        return await self._transport.run(self._reading.query(queries, shared))

    async def pages(self, endpoint: str = "timeline", **params: Any) -> AsyncIterator[dict[str, Any]]:
        """As `Reader.pages`."""
        following: Mapping[str, Any] | None = params
        while following is not None:
            answer, following = await self._transport.run(self._reading.page(endpoint, following))
            yield answer

    async def export(self, **params: Any) -> AsyncIterator[StoredEvent]:
        """As `Reader.export`."""
        import aiohttp

        response = await self._transport.run(self._reading.export(params))
        stream = cast("aiohttp.ClientResponse", response.stream)
        lines = ExportLines()
        try:
            while True:
                try:
                    piece = await stream.content.readany()
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    raise lines.broken(str(error) or type(error).__name__) from error
                if not piece:
                    break
                for event in lines.feed(piece):
                    yield event
        finally:
            stream.close()
        lines.finish()
