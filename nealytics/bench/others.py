"""`bench compare` without another program: ingest beside what else could take an event on this machine.

Each server that is installed gets the same event, in alternating rounds, on loopback and on the same disk. A
durable one answers after it has synced its data. nginx and an empty aiohttp handler store nothing: they bound
what a server of their kind can reach. The generators are each server's usual ones: `wrk`, `pgbench`,
`redis-benchmark`. They share the cores with the server, so its processor time is the fairer figure.
"""

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from nealytics.bench import processes
from nealytics.bench.load import KEY, MARK, request_template
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError, Product

EVENTS_PER_BATCH = 1_000
_START_TIMEOUT_S = 30.0
_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
# PostgreSQL refuses to run as root.
_USER = "nobody"

_WRK_SCRIPT = """
wrk.method = "POST"
wrk.body = io.open("%s", "rb"):read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Project-Key"] = "%s"
function done(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  local p50, p99 = latency:percentile(50) / 1000, latency:percentile(99) / 1000
  local report = '\\n{"requests":%%d,"seconds":%%f,"errors":%%d,"p50_ms":%%f,"p99_ms":%%f}\\n'
  io.write(string.format(report, summary.requests, summary.duration / 1e6, errors, p50, p99))
end
"""
_NGINX = """
daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 202; }} }}
}}
"""
_CREATE = """CREATE TABLE events (event_id uuid DEFAULT gen_random_uuid() PRIMARY KEY, project_id text,
tenant_id text, session_id text, user_id text, event_type text, item_id text, metadata jsonb,
"timestamp" timestamptz DEFAULT now())"""
_INSERT = """INSERT INTO events (project_id, tenant_id, session_id, user_id, event_type, item_id, metadata)
VALUES ('bench', 'tenant-0', 'session-000000', 'user-00000', 'page_view', '/products/0',
'{"referrer":"https://example.org/search","plan":"pro","position":0}')"""


class Driven(msgspec.Struct):
    """One round, as its generator reports it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int = 0


class Server(NamedTuple):
    """`drive` is one round of load; `pid` is the process that is the parent of all others of the server."""

    name: str
    durable: bool
    events: int  # of each request
    pid: int
    drive: Callable[[], Driven]


class OtherResult(msgspec.Struct, kw_only=True):
    """Medians of the rounds."""

    name: str
    durable: bool
    requests_per_second: float
    events_per_second: float
    processor_us: float  # of all processes of the server, for each event
    p50_ms: float
    p99_ms: float
    requests: int  # of all rounds


class OthersReport(msgspec.Struct, kw_only=True):
    machine: Machine
    connections: int
    missing: list[str]  # not installed
    results: list[OtherResult]
    acknowledged: int  # events of ours
    found: int  # in the log after the node was killed and started again


def others(
    *, rounds: int, seconds: float, connections: int, directory: Path | None, say: Say
) -> OthersReport:
    if shutil.which("wrk") is None:
        raise BenchError("bench: compare needs wrk; on Debian: apt-get install wrk")
    measured: dict[Server, list[tuple[Driven, float]]] = {}
    with processes.workplace(directory, say) as (made, machine):
        with ExitStack() as running:
            servers, missing = _started(running, made, connections, seconds)
            for number in range(rounds):
                for server in servers:
                    before = processes.tree_processor_seconds(server.pid)
                    driven = server.drive()
                    used = processes.tree_processor_seconds(server.pid) - before
                    if driven.errors or not driven.requests:
                        raise BenchError(
                            f"bench: {server.name}: {driven.requests} answers, {driven.errors} errors"
                        )
                    measured.setdefault(server, []).append((driven, used))
                    say(_line(_result(server, [(driven, used)]), f"{number + 1} "))
        results = [_result(server, each) for server, each in measured.items()]
        acknowledged = sum(
            result.requests * server.events
            for server, result in zip(measured, results, strict=True)
            if server.name.startswith("durable")
        )
        with processes.product(made / "node", clickhouse=False) as node:
            found = int(node.metric("nealytics_queue_depth_current"))
    say("")
    for result in results:
        say(_line(result))
    for name in missing:
        say(f"{name}: not installed")
    say(
        f"{acknowledged:,} events were answered 202, {found:,} are in the log after a SIGKILL and a new start"
    )
    if found < acknowledged:
        raise BenchError(f"bench: {acknowledged - found} acknowledged events are lost")
    return OthersReport(
        machine=machine,
        connections=connections,
        missing=missing,
        results=results,
        acknowledged=acknowledged,
        found=found,
    )


def _started(
    running: ExitStack, root: Path, connections: int, seconds: float
) -> tuple[list[Server], list[str]]:
    """The servers that are installed, and the names of the others."""
    event, batch = root / "event.json", root / "batch.json"
    for path, route, events in ((event, "track", 1), (batch, "batch", EVENTS_PER_BATCH)):
        request = request_template(route, events, 0)  # type: ignore[arg-type]
        body = msgspec.json.decode(request.replace(MARK, b"00000000").partition(b"\r\n\r\n")[2])
        for sent in body if isinstance(body, list) else [body]:
            del sent["eventId"]  # each request brings new events
        path.write_bytes(msgspec.json.encode(body))

    def wrk(port: int, path: str, body: Path, number: int) -> Callable[[], Driven]:
        script = root / f"{body.name}.lua"
        script.write_text(_WRK_SCRIPT % (body, KEY))
        options = ["-t1", f"-c{number}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script)]
        return lambda: _wrk([*options, f"http://127.0.0.1:{port}{path}"])

    servers, missing = [], []
    node = running.enter_context(_killed(root / "node"))
    track, batches = "/api/v1/telemetry/track", "/api/v1/telemetry/batch"
    servers.append(Server("durable track", True, 1, node.pid, wrk(node.port, track, event, connections)))
    servers.append(
        Server("durable batch of 1,000", True, EVENTS_PER_BATCH, node.pid, wrk(node.port, batches, batch, 4))
    )
    port, pid = running.enter_context(processes.baseline())
    servers.append(Server("empty aiohttp handler", False, 1, pid, wrk(port, track, event, connections)))
    if nginx := shutil.which("nginx"):
        port, pid = running.enter_context(_nginx(nginx, root / "nginx"))
        servers.append(Server("nginx, return 202", False, 1, pid, wrk(port, "/", event, connections)))
    else:
        missing.append("nginx")
    if _POSTGRES and (pgbench := shutil.which("pgbench")):
        port, pid = running.enter_context(_postgres(_POSTGRES[0], root / "postgres"))
        drive = _pgbench(pgbench, root / "postgres", port, connections, seconds)
        servers.append(Server("PostgreSQL, INSERT of one row", True, 1, pid, drive))
    else:
        missing.append("PostgreSQL")
    if (redis := shutil.which("redis-server")) and (benchmark := shutil.which("redis-benchmark")):
        port, pid = running.enter_context(_redis(redis, root / "redis"))
        drive = _redis_benchmark(benchmark, port, event.read_text(), connections, seconds)
        servers.append(Server("Redis, XADD, appendfsync always", True, 1, pid, drive))
    else:
        missing.append("Redis")
    return servers, missing


@contextmanager
def _killed(directory: Path) -> Iterator[Product]:
    """A node without ClickHouse that ends by SIGKILL."""
    with processes.product(directory, clickhouse=False) as node:
        yield node
        node.kill()


def _wrk(options: list[str]) -> Driven:
    done = subprocess.run(["wrk", *options], capture_output=True, text=True, check=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Driven)


@contextmanager
def _child(command: list[str], directory: Path, port: int) -> Iterator[tuple[int, int]]:
    """Port and pid of a server that accepts connections."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not processes.accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(
                    f"bench: {command[0]} did not start:\n{(directory / 'log').read_text()[-2000:]}"
                )
            time.sleep(0.02)
        yield port, process.pid
    finally:
        processes.end(process)


@contextmanager
def _nginx(program: str, root: Path) -> Iterator[tuple[int, int]]:
    root.mkdir()
    port = processes.free_port()
    (root / "nginx.conf").write_text(_NGINX.format(root=root, port=port))
    with _child([program, "-e", str(root / "error.log"), "-c", str(root / "nginx.conf")], root, port) as made:
        yield made


@contextmanager
def _postgres(programs: Path, root: Path) -> Iterator[tuple[int, int]]:
    """With its defaults, which sync each commit; without TCP's local socket directory of the system."""
    root.mkdir()
    as_user = []
    if os.geteuid() == 0:
        # It keeps root's way into directories above its own.
        rights = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        as_user = ["setpriv", f"--reuid={_USER}", "--regid=nogroup", "--clear-groups", *rights, "--"]
        shutil.chown(root, _USER)
    data, port = root / "data", processes.free_port()
    subprocess.run(
        [*as_user, programs / "initdb", "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C"],
        check=True,
        capture_output=True,
    )
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    command = [*as_user, str(programs / "postgres"), "-D", str(data), *options, "-c", "max_connections=300"]
    with _child(command, root, port) as made:
        subprocess.run(
            [
                "psql",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "bench",
                "-d",
                "postgres",
                "-c",
                _CREATE,
            ],
            check=True,
            capture_output=True,
        )
        yield made


def _pgbench(program: str, root: Path, port: int, connections: int, seconds: float) -> Callable[[], Driven]:
    script = root / "insert.sql"
    script.write_text(_INSERT.replace("\n", " ") + ";\n")
    logs = root / "latencies"
    logs.mkdir()
    where = ["-h", "127.0.0.1", "-p", str(port), "-U", "bench", "-d", "postgres"]
    options = ["-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T", str(max(1, round(seconds)))]

    def drive() -> Driven:
        for old in logs.iterdir():
            old.unlink()
        command = [program, *where, *options, "-f", str(script), "-l", f"--log-prefix={logs}/log"]
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        took = time.monotonic() - began
        # client, transaction, microseconds, …
        times = sorted(int(line.split()[2]) for log in logs.iterdir() for line in log.open())
        return Driven(len(times), took, times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000)

    return drive


@contextmanager
def _redis(program: str, root: Path) -> Iterator[tuple[int, int]]:
    root.mkdir()
    port = processes.free_port()
    options = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir", str(root)]
    with _child([program, "--port", str(port), "--bind", "127.0.0.1", *options], root, port) as made:
        yield made


def _redis_benchmark(
    program: str, port: int, event: str, connections: int, seconds: float
) -> Callable[[], Driven]:
    def run(requests: int) -> list[float]:
        """Requests per second; of the latencies in ms, the mean, minimum, p50, p95, p99, and maximum."""
        options = ["-h", "127.0.0.1", "-p", str(port), "-c", str(connections), "-n", str(requests), "--csv"]
        command = [program, *options, "XADD", "events", "*", "event", event]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        # The first column is the command, with quotes that are not escaped.
        return [float(value.strip('"')) for value in done.stdout.splitlines()[-1].rsplit(",", 7)[1:]]

    def drive() -> Driven:
        wanted = round(run(2_000)[0] * seconds)  # it takes a number, not a time
        began = time.monotonic()
        _, _, _, p50_ms, _, p99_ms, _ = run(wanted)
        return Driven(wanted + 2_000, time.monotonic() - began, p50_ms, p99_ms)

    return drive


def _result(server: Server, rounds: list[tuple[Driven, float]]) -> OtherResult:
    per_second = statistics.median(driven.requests / driven.seconds for driven, _ in rounds)
    return OtherResult(
        name=server.name,
        durable=server.durable,
        requests_per_second=per_second,
        events_per_second=per_second * server.events,
        processor_us=statistics.median(
            used / driven.requests / server.events * 1e6 for driven, used in rounds
        ),
        p50_ms=statistics.median(driven.p50_ms for driven, _ in rounds),
        p99_ms=statistics.median(driven.p99_ms for driven, _ in rounds),
        requests=sum(driven.requests for driven, _ in rounds),
    )


def _line(result: OtherResult, prefix: str = "") -> str:
    kind = "on disk" if result.durable else "nothing stored"
    return (
        f"{prefix}{result.name:<32} {kind:<15} {result.events_per_second:>10,.0f} events/s"
        f"   {result.processor_us:7.2f} µs of processor an event"
        f"   p50 {result.p50_ms:6.2f} ms   p99 {result.p99_ms:6.2f} ms"
    )
