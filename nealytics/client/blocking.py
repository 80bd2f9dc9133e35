"""The client for code that blocks: threads of a web server, jobs, scripts."""

import contextlib
import gzip
import http.client
import os
import selectors
import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, Unpack, cast
from urllib.parse import urlsplit

from nealytics.client.common import ClientBase, ReaderBase, TransportBase
from nealytics.client.events import Event, Fields, StoredEvent
from nealytics.client.exchange import Lost, Pause, Request, Response, Steps, TokenWanted, checked_secret
from nealytics.client.reading import ExportLines, Queries
from nealytics.client.sending import Gathered, Sent, encode

T = TypeVar("T")
# Idle connections that are kept. More may be in use; these are closed afterwards.
_IDLE_MAX = 16
_PIECE_BYTES = 64 * 1024
# Errors of a connection or an answer. `zlib` and `EOFError`: a compressed body that was cut.
_BROKEN = (OSError, http.client.HTTPException, EOFError, zlib.error)


class _Idle(NamedTuple):
    pid: int
    connection: http.client.HTTPConnection


class _Transport(TransportBase):
    """A connection is used by one thread at a time, and kept for the next one."""

    def __init__(self, url: str, ssl_context: ssl.SSLContext | None, token: object = "") -> None:
        super().__init__(url, ssl_context, token)
        parts = urlsplit(self.url)
        self._host = parts.hostname or ""
        self._prefix = parts.path
        self._tls = parts.scheme == "https"
        # Always given: http.client mistakes the end of an IPv6 address for a port.
        self._port = parts.port or (443 if self._tls else 80)
        # Its `append` and `pop` are atomic, so there is no lock that a fork could copy while it is held.
        self._idle: deque[_Idle] = deque()

    def run(self, steps: Steps[T]) -> T:
        self._check_open()
        outcome: Response | Lost | str | None = None
        try:
            while True:
                step = steps.send(outcome)
                if isinstance(step, Request):
                    outcome = self._ask(step)
                elif isinstance(step, TokenWanted):
                    outcome = self._give_token(step.fresh)
                else:
                    assert isinstance(step, Pause)
                    outcome = None
                    time.sleep(step.seconds)
        except StopIteration as done:
            return cast(T, done.value)
        finally:
            steps.close()  # at once, not when it is garbage: `Gathered.flush` then restores its events

    def close(self) -> None:
        self._closed = True
        while (connection := self._pop()) is not None:
            connection.close()

    def _give_token(self, fresh: bool) -> str:
        if callable(self._token_source) and (fresh or not self._token):
            self._token = self._token_source()
        return checked_secret("token", self._token)

    def _ask(self, request: Request) -> Response | Lost:
        connection = self._connection(request.timeout_s)
        is_kept = False
        try:
            response = self._exchange(connection, request)
            if request.stream and response.status == 200:
                is_kept = True
                return Response(200, b"", stream=_Stream(connection, response))
            body = response.read()
            if not (response.will_close or self._closed) and len(self._idle) < _IDLE_MAX:
                is_kept = True
                self._idle.append(_Idle(os.getpid(), connection))
            headers = response.headers
            return Response(response.status, body, headers["Retry-After"], headers["Location"])
        except ssl.SSLCertVerificationError as error:
            return Lost(f"its certificate is not trusted: {error.verify_message}", final=True)
        except http.client.IncompleteRead as error:
            return Lost(f"the answer was cut off after {len(error.partial)} bytes")
        except _BROKEN as error:
            return Lost(str(error) or type(error).__name__)
        finally:
            if not is_kept:
                connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        path = self._prefix + request.path
        try:
            connection.request(request.method, path, request.body or None, dict(request.headers))
        except (BrokenPipeError, ConnectionResetError):
            # A server may answer before it has the whole body, a 401 or a 413, and close.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return connection.getresponse()
            raise
        return connection.getresponse()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        while (kept := self._pop()) is not None:
            if not _is_stale(kept.sock):
                kept.timeout = timeout_s
                kept.sock.settimeout(timeout_s)
                return kept
            kept.close()
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=self._ssl_context
        )

    def _pop(self) -> http.client.HTTPConnection | None:
        while True:
            try:
                # The most recent one: unused ones age, and the server closes them.
                idle = self._idle.pop()
            except IndexError:
                return None
            if idle.pid == os.getpid():
                return idle.connection
            idle.connection.close()  # this process's copy; the parent keeps using its own


def _is_stale(sock: socket.socket | None) -> bool:
    """Whether an idle connection has something to read, which can only be its end."""
    if sock is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


class _Stream:
    """The body of an answer while it arrives. Its connection is closed at the end of the `with`."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        packed = response.headers.get("Content-Encoding", "").lower() == "gzip"
        self._body: Any = gzip.GzipFile(fileobj=response) if packed else response

    def read(self, size: int) -> bytes:
        """Some bytes; empty at the end."""
        piece: bytes = self._body.read1(size)
        return piece

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()


class _Closable:
    _transport: _Transport

    def close(self) -> None:
        """Closes the connections. There is nothing to flush: what was tracked is sent."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client(_Closable, ClientBase[_Transport]):
    """Sends events to one node, or to several behind one address. Threads may share it.

    `track` and `send` return once the server has answered 202: the events are on its disk and will be counted
    exactly once. Temporary failures (no connection, no answer, 408, 429, 5xx) are retried for
    `give_up_after_s`, with the same ids; an answer may take `timeout_s`. After that they raise `SendError`,
    which has the events. Connections are kept, also across forks.
    """

    _transport_type = _Transport

    def track(self, event_type: str, *, wait: bool = False, **fields: Unpack[Fields]) -> Event:
        """Sends one event, and returns it once it is accepted.

        With `wait` also once it can be read, or after the server's `ingest.wait_timeout_s`. Raises
        `SendError` or `RejectedError`.
        """
        event = self._event(event_type, fields)
        self.send([event], wait=wait)
        return event

    def send(self, events: Iterable[Event], *, wait: bool = False) -> Sent:
        """Sends many events, in as many requests as the server's limits need.

        Raises `SendError` with those that are not confirmed, or, once all others are accepted,
        `RejectedError` with those that the server refuses.
        """
        return self._transport.run(self._sending.steps([encode(event) for event in events], wait=wait))

    def batch(self) -> "Batch":
        """Gathers events and sends them together: `with client.batch() as batch: batch.track(...)`."""
        return Batch(self)


class Batch:
    """Events that are sent together, whenever there are 1,000 or 512 KiB of them, and at the end.

    They are confirmed when the `with` ends without an exception. Any method may raise `SendError`, which has
    all events that are not confirmed; `RejectedError` is raised at the end. For one thread.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._gathered = Gathered()

    def track(self, event_type: str, **fields: Unpack[Fields]) -> Event:
        event = self._client._event(event_type, fields)
        self.add(event)
        return event

    def add(self, event: Event) -> None:
        if self._gathered.add(event):
            self.flush()

    def flush(self) -> None:
        """Sends the gathered events."""
        self._client._transport.run(self._gathered.flush(self._client._sending))

    def __enter__(self) -> "Batch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.flush()  # also after an exception: the tracked events have happened
        self._gathered.finish(error)


class Reader(_Closable, ReaderBase[_Transport, str | Callable[[], str]]):
    """Reads what a token opens. Threads may share it.

    `token` is a token, or a function that returns one: it is called before the first request, and again when
    the node answers 401. Raises `ReadError` without an answer.
    """

    _transport_type = _Transport

    def get(self, endpoint: str, **params: Any) -> dict[str, Any]:
        """The answer of a route, by the last word of its path: `get("summary", from_="2026-06-01")`.

        Parameters are named as in docs/reading.md, or in Python's way: `group_by`, `from_`. A list is a
        parameter given several times.
        """
        return self._transport.run(self._reading.get(endpoint, params))

    def query(self, queries: Queries, **shared: Any) -> dict[str, Any]:
        """Up to 30 queries at once: their answers by name. A failed one is `{"error": …}`."""
        return self._transport.run(self._reading.query(queries, shared))

    def pages(self, endpoint: str = "timeline", **params: Any) -> Iterator[dict[str, Any]]:
        """All pages, until there is no `nextCursor`."""
        following: Mapping[str, Any] | None = params
        while following is not None:
            answer, following = self._transport.run(self._reading.page(endpoint, following))
            yield answer

    def export(self, **params: Any) -> Iterator[StoredEvent]:
        """All events of a range, in order of time.

        Raises `IncompleteExport` if the end record is missing or has another number of events, so a loop that
        ends without an error has had all of them.
        """
        response = self._transport.run(self._reading.export(params))
        lines = ExportLines()
        with cast(_Stream, response.stream) as stream:
            while True:
                try:
                    piece = stream.read(_PIECE_BYTES)
                except _BROKEN as error:
                    raise lines.broken(str(error) or type(error).__name__) from error
                if not piece:
                    break
                yield from lines.feed(piece)
        lines.finish()
