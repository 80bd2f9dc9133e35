"""The real embedded engine as a process, for any test that needs a ClickHouse.

    with start_engine(tmp_path) as engine:
        client = ClickHouseClient(engine.endpoint, engine.config.clickhouse)

It is the program's own child process, started without supervisor and command line, with a user that has all
rights. `ask_engine` asks the engine of a running node, as the user that its workers write with.
"""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.embedded import Access, access_path, memory_file, read_access, reserve_ports
from nealytics.clickhouse.endpoint import Endpoint, embedded_endpoint
from nealytics.config import ClickHouseConfig, Config, ServerConfig, config_to_json
from tests.ports import free_port as free_port  # others have it from here
from tests.waiting import until, while_running


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

    def __post_init__(self) -> None:
        # Held for life, so that the port is the same after each restart.
        self.reserved, port = reserve_ports(self.config.clickhouse)
        self.access = Access.create(port, operator=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.access.port}"

    @property
    def endpoint(self) -> Endpoint:
        return embedded_endpoint(self.access, self.config.clickhouse.database, self.user, self.password)

    @property
    def user(self) -> str:
        return self.access.user[0]

    @property
    def password(self) -> str:
        return self.access.user[1]

    def start(self, *, wait: bool = True) -> None:
        ours, theirs = socket.socketpair()
        config_fd = memory_file(config_to_json(self.config))
        access_fd = memory_file(self.access.to_json())
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.command,
                    f"--config-fd={config_fd}",
                    f"--access-fd={access_fd}",
                    f"--parent-fd={theirs.fileno()}",
                ],
                pass_fds=(config_fd, access_fd, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        os.close(access_fd)
        theirs.close()
        os.close(config_fd)
        self.parent = ours
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = 90.0) -> None:
        assert self.process is not None
        until(
            lambda: read_access(self.config.server.data_dir) == self.access and self._answers(),
            "the engine answers",
            timeout_s=timeout_s,
            pause=while_running(self.process, self.log_path),
            more=self.log_path.read_text,
        )

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/ping").body == b"Ok.\n"
        except OSError:
            return False

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
        """One raw request, as the user with all rights."""
        return engine_request(self.access, method, target, body, headers)

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


_LIBRARY = """
import sys
sys.modules.update(pandas=None, pyarrow=None)
from chdb import session
with session.Session() as library:
    sys.stdout.buffer.write(library.query(sys.argv[1], "JSONCompact").bytes())
"""


def query_library(sql: str) -> list[list[Any]]:
    """What the library answers in a process of its own. Unlike an engine's users it reads files."""
    command = [sys.executable, "-c", _LIBRARY, sql]
    rows: list[list[Any]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[
        "data"
    ]
    return rows


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


def ask_engine(data_dir: Path, sql: str | bytes) -> "Reply":
    """What the running engine of a data directory answers."""
    access = read_access(data_dir)
    assert access is not None, access_path(data_dir)
    return engine_request(access, "POST", "/", sql)


def engine_request(
    access: Access, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
) -> "Reply":
    user, password = access.user
    credentials = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    connection = http.client.HTTPConnection("127.0.0.1", access.port, timeout=60)
    return request(connection, method, target, body, {**credentials, **(headers or {})})


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
