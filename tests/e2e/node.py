"""A whole Nealytics node as processes, for tests that start, ask, kill and restart it as a person would.

The program under test is `python -m nealytics`, or what TEST_EXECUTABLE names (a compiled executable).
"""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jwt

from nealytics.bench.processes import to_toml
from tests.ports import free_port as free_port  # others have it from here
from tests.waiting import until

JWT_KEY = "end-to-end-test-key-of-more-than-32-bytes"
KEY = "end-to-end-key"


def program() -> list[str]:
    named = os.environ.get("TEST_EXECUTABLE")
    return shlex.split(named) if named else [sys.executable, "-m", "nealytics"]


class Node:
    """One node in `directory`; its data stays there across stops and kills."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        clickhouse: str = "embedded",
        settings: str = "",
        environ: dict[str, str] | None = None,
        open_files: int = 0,
    ) -> None:
        self.open_files = open_files  # the limit for each of its processes; 0 = as it is here
        self.environ = {**os.environ, **(environ or {})}
        self.directory = directory
        self.workers = workers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = directory / "nealytics.toml"
        self.log_path = directory / "nealytics.log"
        self.process: subprocess.Popen[bytes] | None = None
        tables: dict[str, dict[str, object]] = {
            "server": {
                "listen": f"127.0.0.1:{self.port}",
                "workers": workers,
                "data_dir": str(directory / "data"),
            },
            "auth": {"api_keys": [{"key": KEY}], "jwt_key": JWT_KEY},
            "ingest": {"rate_limit_requests": 0},
            "wal": {"allow_any_filesystem": True, "free_bytes_min": 1024 * 1024},
            "commit": {"flush_interval_s": 0.2, "backoff_max_ms": 500},
            "clickhouse": {"url": clickhouse, "retention_days": 0},
            "observe": {"prometheus": True},
        }
        for line in filter(None, (line.strip() for line in settings.splitlines())):
            name, value = line.split("=", 1)
            table, key = name.strip().split(".")
            tables.setdefault(table, {})
            tables[table][key] = json.loads(value)
        self.config.touch(mode=0o600)
        self.config.write_text("".join(f"[{name}]\n{to_toml(table)}\n" for name, table in tables.items()))

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # Processes

    def start(self) -> None:
        assert self.process is None, "already running"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._limited(), *program(), "serve", "--config", str(self.config)],
                stderr=log,
                stdout=log,
                env=self.environ,
            )

    def _limited(self) -> list[str]:
        return ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.open_files)] if self.open_files else []

    def stop(self, timeout_s: float = 90.0) -> int:
        """SIGTERM, as systemd does; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout_s)
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL to the supervisor; waits until all its processes are gone."""
        if self.process is None:
            return
        # It is stopped while they are counted: one that it started meanwhile would be missed, and until
        # that one notices that it is an orphan, it holds the port that the next start wants.
        self.process.send_signal(signal.SIGSTOP)
        pid = self.process.pid
        until(lambda: _state(pid) in {"T", "Z", "X"}, "SIGSTOP takes effect", pause=lambda: time.sleep(0.001))
        family = [self.process.pid, *descendants(self.process.pid)]
        self.process.kill()
        self.process.wait(60)
        self.process = None
        until(lambda: not any(map(_alive, family)), "the supervisor's processes end with it")

    def pids(self, role: str) -> list[int]:
        """Processes of a role: `worker` or `embedded-child`."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if _name(pid).startswith(role)]

    def kill_one(self, role: str, index: int = 0) -> bool:
        """SIGKILL to one process of a role; False if there is none at the moment."""
        pids = self.pids(role)
        if not pids:
            return False
        try:
            os.kill(pids[index % len(pids)], signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    # Requests

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def post(self, route: str, events: object, *, query: str = "") -> tuple[int, bytes]:
        return self.request(
            "POST",
            f"/api/v1/telemetry/{route}{query}",
            json.dumps(events).encode(),
            {"X-Project-Key": KEY, "Content-Type": "application/json"},
        )

    def read(self, path: str, *, project_id: str = "shop", tenant_id: str = "acme") -> Any:
        status, body = self.request(
            "GET", path, headers={"Authorization": f"Bearer {token(project_id, tenant_id)}"}
        )
        assert status == 200, (status, body)
        return json.loads(body)

    def metric(self, name: str) -> float:
        status, body = self.request("GET", "/metrics")
        assert status == 200, (status, body)
        return sum(
            float(line.rpartition(" ")[2])
            for line in body.decode().splitlines()
            if line.split("{")[0].split(" ")[0] == name
        )

    # Waiting

    def wait_ready(self, path: str = "/ready", timeout_s: float = 90.0) -> None:
        """With `/ready`, until every worker is: of another one's log nobody would know yet how much waits."""

        def is_ready() -> bool:
            if self.request("GET", path, timeout_s=5)[0] != 200:
                return False
            return path != "/ready" or self.workers == 1 or self.metric("nealytics_ready") == 1

        self.wait_until(is_ready, f"{path} is 200", timeout_s)

    def wait_drained(self, timeout_s: float = 120.0) -> None:
        self.wait_until(
            lambda: self.metric("nealytics_queue_depth_current") == 0, "the log is drained", timeout_s
        )

    def wait_until(self, condition: Any, what: str, timeout_s: float = 90.0) -> None:
        def pause() -> None:
            assert self.process is not None, "not running"
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.log_tail()}"
            time.sleep(0.05)

        # A worker that dies may leave half an answer.
        errors = (OSError, http.client.HTTPException, AssertionError)
        until(condition, what, timeout_s=timeout_s, pause=pause, errors=errors, more=self.log_tail)

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def token(project_id: str, tenant_id: str | None, life_s: float = 3600, **others: object) -> str:
    """Without a tenant, of the whole project."""
    whose = {"scope": "project"} if tenant_id is None else {"tenant_id": tenant_id}
    claims = {"project_id": project_id, **whose, "exp": int(time.time() + life_s), **others}
    return jwt.encode(claims, JWT_KEY, algorithm="HS256")


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def _alive(pid: int) -> bool:
    return _state(pid) not in {"Z", "X"}


def _state(pid: int) -> str:
    """As in proc(5); X if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""
