"""How `bench read` asks: a connection that ends never ends the benchmark without a message."""

import http.client
import socket
import threading
from collections.abc import Callable

import pytest

from nealytics.bench.processes import BenchError
from nealytics.bench.read import request

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def connected(*connections: Callable[[socket.socket], None]) -> http.client.HTTPConnection:
    """A connection to a server that serves so many connections, one after the other, and then closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for serve_one in connections:
                accepted, _ = listener.accept()
                with accepted:
                    serve_one(accepted)

    threading.Thread(target=serve, daemon=True).start()
    return http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=10)


def answers_once(accepted: socket.socket) -> None:
    accepted.recv(65_536)
    accepted.sendall(_OK)


def hangs_up(accepted: socket.socket) -> None:
    accepted.recv(65_536)


def test_a_connection_that_was_closed_while_idle_is_opened_again():
    connection = connected(answers_once, answers_once)
    assert request(connection, "GET", "/") == b"ok"
    assert request(connection, "GET", "/") == b"ok"


@pytest.mark.parametrize(
    "error", [BrokenPipeError, ConnectionResetError, ConnectionRefusedError, TimeoutError]
)
def test_no_error_of_a_socket_is_left_to_click_which_ends_silently_on_a_broken_pipe(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
):
    connection = http.client.HTTPConnection("127.0.0.1", 8123)

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(connection, "request", fails)
    with pytest.raises(BenchError, match=rf"port 8123 did not answer /asked: {error.__name__}.*dmesg"):
        request(connection, "GET", "/asked")


def test_a_server_that_ends_in_the_middle_is_named():
    connection = connected(hangs_up, hangs_up)
    with pytest.raises(BenchError, match="did not answer /asked"):
        request(connection, "GET", "/asked")
