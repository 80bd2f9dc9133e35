"""The real embedded engine as a process, for any test that needs a ClickHouse.

    with start_engine(tmp_path) as engine:
        client = ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse)

It is the program's own child process, on a unix socket, started without supervisor and command line.
"""

import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.embedded import socket_path
from nealytics.config import ClickHouseConfig, Config, ServerConfig, config_to_json
from tests.ports import free_port as free_port  # others have it from here


def engine_is_installed() -> bool:
    return importlib.util.find_spec("chdb") is not None


needs_engine = pytest.mark.skipif(not engine_is_installed(), reason="chdb-core is not installed")


@dataclass
class RunningEngine:
    """An engine in a directory. It can be killed and started again; the data stays."""

    config: Config
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    parent: socket.socket | None = None
    command: list[str] = field(
        default_factory=lambda: [sys.executable, "-m", "nealytics.clickhouse.embedded_child"]
    )

    @property
    def socket_path(self) -> Path:
        return socket_path(self.config.server.data_dir)

    def start(self, *, wait: bool = True) -> None:
        ours, theirs = socket.socketpair()
        config_fd = os.memfd_create("config", 0)
        os.write(config_fd, config_to_json(self.config))
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, f"--config-fd={config_fd}", f"--parent-fd={theirs.fileno()}"],
                pass_fds=(config_fd, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        theirs.close()
        os.close(config_fd)
        self.parent = ours
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = 90.0) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if self.request("GET", "/ping").body == b"Ok.\n":
                    return
            except OSError:
                pass
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the engine did not start:\n{self.log_path.read_text()}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """Ends it and returns its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout_s)
        self.process = None
        if self.parent is not None:
            self.parent.close()
            self.parent = None
        return status

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def request(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> "Reply":
        """One raw request over the unix socket."""
        return request(UnixConnection(str(self.socket_path)), method, target, body, headers)

    def __enter__(self) -> "RunningEngine":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.kill()


def start_engine(directory: Path, **clickhouse: Any) -> RunningEngine:
    """An engine whose data is in `directory`; start it with `with`. `clickhouse` are keys of
    `[clickhouse]`."""
    config = Config(
        server=ServerConfig(data_dir=directory / "data"),
        clickhouse=ClickHouseConfig(url="embedded", **clickhouse),
    )
    config.server.data_dir.mkdir(parents=True, exist_ok=True)
    return RunningEngine(config, directory / "engine.log")


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def code(self) -> str | None:
        return self.headers.get("X-ClickHouse-Exception-Code")

    @property
    def text(self) -> str:
        return self.body.decode()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("embedded", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


def request(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()
