"""Four ClickHouse nodes with ZooKeeper, two shards of two replicas: processes that a test may kill and stop.

They come from a file outside of the repository (`CLUSTER_PY`): clickhouse-local of the chDB wheel, with a
patch of its memory that adds the server between replicas. `why_not` says what is missing for that.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

from tests.waiting import until

CLUSTER_PY = Path(
    os.environ.get("TEST_CLUSTER_PY", Path(__file__).parents[3] / "shared" / "cluster" / "cluster.py")
)
# The cluster of all four in their configuration. The macro {cluster} is `main`, which is the first shard.
CLUSTER = "two"
SHARDS = {"01": ("r1", "r2"), "02": ("r3", "r4")}
NODES = tuple(name for replicas in SHARDS.values() for name in replicas)

_ZOOKEEPER_PORT = 7600
# Debian's packages of ZooKeeper, unpacked once: they are 20 MB.
_ZOOKEEPER = Path(sys.prefix) / "tools" / "zookeeper"


def load(path: Path = CLUSTER_PY) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def why_not() -> str:
    """What keeps a cluster from running on this machine; empty if nothing does."""
    if not CLUSTER_PY.exists():
        return (
            f"there is no {CLUSTER_PY}, which is not part of the repository; set TEST_CLUSTER_PY to its path"
        )
    for tool, for_what in (("java", "ZooKeeper runs in it"), ("gcc", "it compiles the patch of the engine")):
        if shutil.which(tool) is None:
            return f"{tool} is not installed; {for_what}"
    if importlib.util.find_spec("chdb") is None:
        return "chdb-core is not installed"
    cluster = load()
    found = hashlib.sha256(cluster.library().read_bytes()).hexdigest()
    if found != cluster.SHA256:
        return f"{cluster.library()} has SHA-256 {found}, and the patch is for {cluster.SHA256}"
    ports = [("127.0.0.1", _ZOOKEEPER_PORT)] + [
        (host, port)
        for _, http, tcp, _ in cluster.NODES.values()
        for host in ("127.0.0.1", "127.0.0.2")
        for port in (http, tcp)
    ]
    for host, port in ports:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except OSError as error:
                return (
                    f"{host}:{port} cannot be used ({error.strerror}), and the ports of the cluster are fixed"
                )
    return ""


class Cluster:
    """The nodes, by name. Use it with `with`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.module = load()
        self.pids: dict[str, int] = {}
        self.stopped: set[str] = set()  # by SIGSTOP

    def __enter__(self) -> "Cluster":
        self.root.mkdir(parents=True, exist_ok=True)
        if _ZOOKEEPER.is_dir():
            (self.root / "zk").symlink_to(_ZOOKEEPER)
        self.module.prepare(self.root)
        if not _ZOOKEEPER.is_dir():
            _ZOOKEEPER.parent.mkdir(exist_ok=True)
            new = shutil.move(self.root / "zk", _ZOOKEEPER.with_name(f"zookeeper.{os.getpid()}"))
            os.rename(new, _ZOOKEEPER)
            (self.root / "zk").symlink_to(_ZOOKEEPER)
        self._driver = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.driver", str(CLUSTER_PY), str(self.root)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        try:
            self.start("zookeeper")
            self.wait_until(_zookeeper_answers, "ZooKeeper answers")
            for name in NODES:
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._driver.stdin is not None
        self._driver.stdin.close()
        self._driver.wait(60)

    # Processes

    def start(self, name: str) -> None:
        """Starts it, and waits until it answers."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(name + "\n")
        answer = self._driver.stdout.readline()
        assert answer, f"{name} does not start; see {self.root / name}.log"
        self.pids[name] = int(answer)

    def kill(self, name: str) -> None:
        """SIGKILL; `start` starts it again."""
        os.kill(self.pids.pop(name), signal.SIGKILL)
        self.stopped.discard(name)

    def stop(self, name: str) -> None:
        """SIGSTOP: its connections stay open and nobody answers."""
        os.kill(self.pids[name], signal.SIGSTOP)
        self.stopped.add(name)

    def resume(self, name: str) -> None:
        os.kill(self.pids[name], signal.SIGCONT)
        self.stopped.discard(name)

    def repair(self) -> None:
        """All nodes run and answer, with tables that can be written."""
        for name in tuple(self.stopped):
            self.resume(name)
        for name in NODES:
            if name not in self.pids:
                self.start(name)
        self.wait_writable()

    def wait_writable(self, names: Iterable[str] = NODES) -> None:
        sql = "SELECT countIf(is_readonly) FROM system.replicas"
        self.wait_until(lambda: all(self.ask(name, sql) == "0" for name in names), "no table is read-only")

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
        until(condition, what, timeout_s=timeout_s, errors=(OSError, Refused))

    # Requests

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.module.NODES[name][1]}"

    def urls(self, *names: str) -> str:
        """`clickhouse.url`, in the order of preference."""
        return ",".join(map(self.url, names or NODES))

    def ask(self, name: str, sql: str, timeout_s: float = 60.0, **settings: Any) -> str:
        """The answer of one node, without its last line feed. Raises `Refused`, `OSError`."""
        url = f"{self.url(name)}/?{urlencode({'wait_end_of_query': 1, **settings})}"
        try:
            with urllib.request.urlopen(url, sql.encode(), timeout=timeout_s) as answer:
                return str(answer.read().decode()).removesuffix("\n")
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode()) from error

    def everywhere(self, sql: str, names: Iterable[str] = NODES) -> None:
        for name in names:
            self.ask(name, sql)

    def rows(self, name: str, sql: str) -> list[list[object]]:
        answer: list[list[object]] = json.loads(self.ask(name, sql + " FORMAT JSONCompact"))["data"]
        return answer


def _zookeeper_answers() -> bool:
    with socket.create_connection(("127.0.0.1", _ZOOKEEPER_PORT), timeout=5) as sock:
        sock.sendall(b"ruok")
        return sock.recv(4) == b"imok"


class Refused(Exception):
    """ClickHouse's error."""
