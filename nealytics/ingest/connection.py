"""What a handler may know and ask of its client's connection. `http.connections.Connection` implements it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from aiohttp import web


@runtime_checkable
class ClientConnection(Protocol):
    head_s: float  # how long the head of the latest request took to arrive
    on_lost: Callable[[], None] | None  # called when the client disconnects


def connection_of(request: web.BaseRequest) -> ClientConnection | None:
    """None on a server of aiohttp's own, which knows neither."""
    protocol = request.protocol
    return protocol if isinstance(protocol, ClientConnection) else None


@contextmanager
def when_lost(request: web.BaseRequest, leave: Callable[[], None]) -> Iterator[None]:
    """Inside, `leave` is called once the client has disconnected."""
    connection = connection_of(request)
    if connection is None:
        yield
        return
    if request.transport is None:
        leave()
    connection.on_lost = leave
    try:
        yield
    finally:
        connection.on_lost = None
