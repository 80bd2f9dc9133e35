"""A connection without a socket: bytes go straight to the protocol, and what it writes is kept."""

import asyncio
from typing import Any


class FakeTransport(asyncio.Transport):
    """The server's side. `sent` is what the client would have read; `receive` what it sends."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._unread: list[bytes] = []
        self._is_paused = False
        self.sent = b""
        self.writes = 0
        self.is_half_closed = False
        self.is_lost = False
        self._is_closing = False
        protocol.connection_made(self)

    def receive(self, data: bytes) -> None:
        self._unread.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self._unread and not self._is_paused and not self._is_closing:
            self._protocol.data_received(self._unread.pop(0))

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        # As a real one: later, not while the protocol is at work.
        self._is_paused = False
        self._loop.call_soon(self._deliver)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closing, "written after close"
        self.sent += data
        self.writes += 1

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.is_half_closed = True

    def can_write_eof(self) -> bool:
        return True

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self.lose)

    def abort(self) -> None:
        self.close()

    def lose(self) -> None:
        """The client disconnects."""
        if not self.is_lost:
            self.is_lost = self._is_closing = True
            self._protocol.connection_lost(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0
