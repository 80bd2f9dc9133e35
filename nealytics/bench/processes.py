"""The processes of a benchmark: started with temporary data, and always ended."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import msgspec

from nealytics.bench.load import BROWSER_KEY, JWT_KEY, KEY, Load, Result
from nealytics.bench.machine import Machine, Say, introduce, machine_at
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.config import ClickHouseConfig, Config, ServerConfig, config_to_json
from nealytics.errors import NealyticsError
from nealytics.process import self_command

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_RETRY_S = 0.01


class BenchError(NealyticsError):
    """The benchmark could not be run."""


class Product:
    """A running node with its own configuration, log and engine."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, directory: Path, began: float) -> None:
        """`began`: `time.monotonic()` before the process was started."""
        self._process = process
        self._began = began
        self.port = port
        self.directory = directory

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to every process of the node; returns when they have ended."""
        for pid in self.all_pids():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        status, text = self.get("/metrics")
        if status != 200:  # no value is not the value 0
            raise BenchError(f"bench: /metrics does not answer (HTTP {status}):\n{self._log_tail()}")
        return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))

    def wait_until_answers(self, path: str) -> float:
        """Waits for the answer 200. Returns the seconds since the process was started."""
        while self.get(path)[0] != 200:
            if self._process.poll() is not None or time.monotonic() - self._began > _START_TIMEOUT_S:
                raise BenchError(f"bench: the server did not start:\n{self._log_tail()}")
            time.sleep(_RETRY_S)
        return time.monotonic() - self._began

    def all_pids(self) -> list[int]:
        """The supervisor and its children."""
        return [self._process.pid, *children(self._process.pid)]

    def worker_pids(self) -> list[int]:
        return [pid for pid in children(self._process.pid) if _name(pid).startswith("worker")]

    def _log_tail(self) -> str:
        return "\n".join((self.directory / "log").read_text(errors="replace").splitlines()[-20:])


@contextmanager
def scratch(directory: Path | None) -> Iterator[Path]:
    """A directory for all files, removed at the end."""
    made = Path(tempfile.mkdtemp(prefix="nealytics-bench-", dir=directory))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def workplace(
    directory: Path | None, say: Say, *, data: Path | None = None
) -> Iterator[tuple[Path, Machine]]:
    """The directory that a benchmark writes to, and the machine, which it reports to `say`. The directory is
    `data`, which is kept, or else a `scratch` in `directory`."""
    with scratch(directory) if data is None else contextlib.nullcontext(data) as made:
        made.mkdir(parents=True, exist_ok=True)
        machine = machine_at(made)
        introduce(machine, say)
        yield made, machine


@contextmanager
def product(
    directory: Path,
    *,
    clickhouse: bool,
    workers: int = 1,
    program: Path | None = None,
    ingest: Mapping[str, object] | None = None,
) -> Iterator[Product]:
    """A node that is ready for events, and with the embedded engine also for reads. The arguments are those
    of `launched`."""
    with launched(
        directory, clickhouse=clickhouse, workers=workers, program=program, ingest=ingest
    ) as running:
        running.wait_until_answers("/ready" if clickhouse else "/ready/ingest")
        yield running


@contextmanager
def launched(
    directory: Path,
    *,
    clickhouse: bool,
    workers: int = 1,
    program: Path | None = None,
    ingest: Mapping[str, object] | None = None,
) -> Iterator[Product]:
    """A node whose process has just been started. It continues with the data in `directory`. `program`:
    another program than this one. `ingest`: its settings; by default no rate limit."""
    directory.mkdir(exist_ok=True)
    port = free_port()
    config = directory / "nealytics.toml"
    tables: dict[str, dict[str, object]] = {
        "server": {
            "listen": f"127.0.0.1:{port}",
            "workers": workers,
            "data_dir": str(directory / "data"),
            "shutdown_timeout_s": 2.0,  # nobody needs the queued events
        },
        "auth": {
            "api_keys": [{"key": KEY}, {"key": BROWSER_KEY, "project": "bench", "kind": "browser"}],
            "jwt_key": JWT_KEY,
        },
        "ingest": dict(ingest or {"rate_limit_requests": 0}),
        "wal": {"allow_any_filesystem": True, "free_bytes_min": 1024 * 1024},
        # Without an engine: an address where no server answers.
        "clickhouse": {"url": "embedded" if clickhouse else f"http://127.0.0.1:{free_port()}"},
        "observe": {"prometheus": True, "log_level": "warning"},
    }
    config.write_text("".join(f"[{name}]\n{to_toml(table)}\n" for name, table in tables.items()))
    config.chmod(0o600)
    executable, argv = self_command("serve", "--config", str(config))
    if program is not None:
        executable, argv = str(program), [str(program), "serve", "--config", str(config)]
    # The benchmark does not use the settings of this shell.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("NEALYTICS_", "Telemetry"))
    }
    began = time.monotonic()
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(argv, executable=executable, stdout=log, stderr=log, env=environment)
    try:
        yield Product(process, port, directory, began)
    finally:
        end(process)


@contextmanager
def baseline() -> Iterator[tuple[int, int]]:
    """The port and the process of an empty aiohttp application."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    fd = listener.fileno()
    executable, argv = self_command("bench", "baseline", "--listen-fd", str(fd))
    process = subprocess.Popen(argv, executable=executable, pass_fds=(fd,))
    port = int(listener.getsockname()[1])
    listener.close()
    try:
        yield port, process.pid
    finally:
        end(process)


@contextlib.asynccontextmanager
async def engine(root: Path) -> AsyncIterator[ClickHouseClient]:
    """A client with all rights of an embedded engine whose data is in `root`, without a node."""
    config = Config(
        server=ServerConfig(data_dir=root),
        clickhouse=ClickHouseConfig(url="embedded", retention_days=0, insert_timeout_s=3_600),
    )
    async with (
        running_engine(config, operator=True),
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
    ):
        yield client


@contextmanager
def read_server(config: Config, directory: Path) -> Iterator[tuple[int, int]]:
    """Port and process of the read API, which runs by itself; the engine of `config` already runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    config_fd = os.memfd_create("config", 0)
    os.write(config_fd, config_to_json(config))
    fds = (listener.fileno(), config_fd)
    executable, argv = self_command(
        "bench", "read-server", "--listen-fd", str(fds[0]), "--config-fd", str(fds[1])
    )
    with (directory / "read-server.log").open("wb") as log:
        process = subprocess.Popen(argv, executable=executable, pass_fds=fds, stdout=log, stderr=log)
    port = int(listener.getsockname()[1])
    listener.close()
    os.close(config_fd)
    try:
        yield port, process.pid
    finally:
        end(process)


def load(port: int, load: Load) -> Result:
    """One round of load from a separate process."""
    executable, argv = self_command(
        "bench", "load", "--port", str(port), "--load", msgspec.json.encode(load).decode()
    )
    process = subprocess.Popen(argv, executable=executable, stdout=subprocess.PIPE)
    try:
        out, _ = process.communicate(timeout=load.warmup_s + load.seconds + 30)
    finally:
        end(process)
    if process.returncode != 0:
        raise BenchError(f"bench: the load generator ended with {process.returncode}")
    return msgspec.json.decode(out, type=Result)


def checked_load(name: str, port: int, wanted: Load) -> Result:
    """As `load`. Raises `BenchError` unless every answer was 202: a rate of refused requests is no result."""
    result = load(port, wanted)
    if result.errors or not result.requests:
        raise BenchError(
            f"bench: {name}: {result.requests} requests were answered 202, others: {result.errors}"
        )
    return result


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def memory_kb(pid: int) -> tuple[int, int]:
    """The resident size: current and peak."""
    values = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        values[name] = rest
    return int(values["VmRSS"].split()[0]), int(values["VmHWM"].split()[0])


def proportional_kb(pid: int) -> int:
    """The resident size, in which a page counts by the share of this process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def voluntary_switches(pid: int) -> int:
    """How often the threads of this process have begun to wait."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    lines = chain.from_iterable(text.splitlines() for text in texts)
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def processor_seconds(pid: int) -> float:
    """The processor time of the process since its start, user and system."""
    return sum(_ticks(pid)[:2]) / os.sysconf("SC_CLK_TCK")


def tree_processor_seconds(pid: int) -> float:
    """As `processor_seconds`, with all processes that it has started, also those that have ended."""
    while True:
        own = sum(_ticks(pid)) / os.sysconf("SC_CLK_TCK")
        # A child that ends meanwhile is counted by its parent from then on.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return own + sum(map(tree_processor_seconds, children(pid)))


def _ticks(pid: int) -> list[int]:
    """User and system time of the process, and of its children that have ended; see proc(5)."""
    # After the name, which may contain spaces and parentheses.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return list(map(int, fields[11:15]))


def accepts(port: int) -> bool:
    """Whether a server accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and after a timeout SIGKILL. Child processes of a node end with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)
    if process.poll() is None:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def to_toml(table: dict[str, object]) -> str:
    """The lines of one table; the standard library reads TOML but does not write it."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in table.items())


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(value)
