"""An HTTP proxy in front of a real node that does to requests and answers what networks do.

`faults` are used up one a request, and what comes after them is passed on as it is. `has_faults` decides
which requests have any.
"""

import contextlib
import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_OF_ONE_CONNECTION = {"connection", "content-length", "transfer-encoding", "trailer", "date", "server"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Exchange:
    """One request, which may be passed on."""

    def __init__(self, proxy: "FaultyProxy", handler: "_Handler", body: bytes) -> None:
        self.proxy = proxy
        self.body = body
        self.request_headers = dict(handler.headers.items())
        for name in ("Host", "Connection"):
            self.request_headers.pop(name, None)
        self._handler = handler

    def forward(self) -> Answer:
        handler = self._handler
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream_port, timeout=60)
        try:
            connection.request(handler.command, handler.path, self.body or None, self.request_headers)
            response = connection.getresponse()
            kept = {
                k: v
                for k, v in response.headers.items()
                if k.lower()
                not in ("connection", "content-length", "transfer-encoding", "trailer", "date", "server")
            }
            return Answer(response.status, kept, response.read())
        finally:
            connection.close()

    def answer(self, answer: Answer) -> None:
        self._head(answer, len(answer.body))
        self._handler.wfile.write(answer.body)

    def answer_a_part(self, answer: Answer, size: int) -> None:
        """The length of the whole, and then only `size` bytes."""
        self._head(answer, len(answer.body))
        self._handler.wfile.write(answer.body[:size])
        self.drop()

    def drop(self) -> None:
        """Closes the connection."""
        self._handler.close_connection = True

    def _head(self, answer: Answer, length: int) -> None:
        handler = self._handler
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()


Fault = Callable[[Exchange], None]


class FaultyProxy:
    def __init__(
        self,
        upstream_port: int,
        *faults: Fault,
        has_faults: Callable[[str, str], bool] = lambda method, path: True,
    ) -> None:
        self.upstream_port = upstream_port
        self._has_faults = has_faults
        self.faults = list(faults)
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.proxy = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FaultyProxy":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def next_fault(self, method: str, path: str) -> Fault:
        with self._lock:
            return self.faults.pop(0) if self.faults and self._has_faults(method, path) else pass_on


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self._proxy.connections += 1

    @property
    def _proxy(self) -> FaultyProxy:
        proxy: FaultyProxy = self.server.proxy  # type: ignore[attr-defined]
        return proxy

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._proxy.bodies.append(body)
        self._proxy.headers.append(dict(self.headers))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has left
            self._proxy.next_fault(self.command, self.path)(Exchange(self._proxy, self, body))

    do_GET = do_POST = do_OPTIONS = _handle

    def log_message(self, *_: Any) -> None:
        pass


def pass_on(exchange: Exchange) -> None:
    try:
        answer = exchange.forward()
    except OSError:
        exchange.answer(Answer(502, {}, b"bad gateway"))
        return
    exchange.answer(answer)


def fails(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answers by itself; the node does not see the request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.answer(Answer(status, named, body))


def loses_the_answer(exchange: Exchange) -> None:
    """The node has the request; nobody hears of it."""
    exchange.forward()
    exchange.drop()


def drops(exchange: Exchange) -> None:
    exchange.drop()
