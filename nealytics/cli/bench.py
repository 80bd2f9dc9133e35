"""`nealytics bench`: measures this machine with the real product, on temporary data.

Each command takes its options, passes them under the same names to a function of `nealytics.bench`, and
prints the report that the function returns.
"""

import asyncio
import functools
import inspect
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from nealytics.bench import answers as answers_bench
from nealytics.bench import baseline as baseline_app
from nealytics.bench import damage as damage_bench
from nealytics.bench import drain as drain_bench
from nealytics.bench import erasure as erasure_bench
from nealytics.bench import hostile as hostile_bodies
from nealytics.bench import load as load_generator
from nealytics.bench import merges as merges_bench
from nealytics.bench import others as others_bench
from nealytics.bench import page as page_bench
from nealytics.bench import parse as parse_bench
from nealytics.bench import read as read_bench
from nealytics.bench import read_server as read_server_app
from nealytics.bench import retention as retention_bench
from nealytics.bench import runs
from nealytics.bench import start as start_bench
from nealytics.bench.load import Load
from nealytics.config import config_from_json
from nealytics.process import die_with_parent
from nealytics.queries import ENDPOINTS


def _measurement(function: Callable[..., Any]) -> Callable[..., None]:
    """Makes a function that returns a report into one that prints it; adds --directory and --json."""

    @click.option(
        "--directory",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="Directory for temporary data, on the disk to measure; /tmp may be in memory.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else.")
    @functools.wraps(function)
    def command(*, as_json: bool, **options: Any) -> None:
        report = function(say=_silent if as_json else click.echo, **options)
        if inspect.iscoroutine(report):
            report = asyncio.run(report)
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
        if not getattr(report, "within_limit", True):
            raise SystemExit(1)

    return command


def _silent(line: str) -> None:
    pass


def _rounds(most: int, default: int) -> Callable[..., Any]:
    return click.option("--rounds", type=click.IntRange(1, most), default=default, show_default=True)


def _seconds(default: float, what: str = "Duration of a round.") -> Callable[..., Any]:
    return click.option(
        "--seconds", type=click.FloatRange(0.5, 600), default=default, show_default=True, help=what
    )


def _connections(default: int) -> Callable[..., Any]:
    return click.option("--connections", type=click.IntRange(1, 1_000), default=default, show_default=True)


def _executable(name: str, what: str) -> Callable[..., Any]:
    return click.option(
        "--executable",
        name,
        type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
        help=what,
    )


_workers = click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)


def _generated(function: Callable[..., Any]) -> Callable[..., Any]:
    """The generated events that `read` and `page` share."""
    for option in (
        click.option(
            "--data",
            type=click.Path(file_okay=False, path_type=Path),
            help="Store the generated events here, and reuse existing ones.",
        ),
        click.option(
            "--tenants",
            type=click.IntRange(1, 10_000),
            default=20,
            show_default=True,
            help="Number of tenants that share the events.",
        ),
        click.option(
            "--events",
            "events_count",
            type=click.IntRange(1_000, 1_000_000_000),
            default=10_000_000,
            show_default=True,
        ),
    ):
        function = option(function)
    return function


@click.group()
def bench() -> None:
    """Measure this machine. Starts all servers on loopback with temporary data, and removes the data.

    Compare ratios between machines, not events per second. Stop other programs first."""


@bench.command()
@_rounds(20, 3)
@_seconds(5.0)
@_workers
@_connections(64)
@click.option("--without-clickhouse", is_flag=True, help="Do not drain the log meanwhile.")
@_measurement
def track(**options: Any) -> msgspec.Struct:
    """Durable `track` against an empty aiohttp handler, alternately: one event per request.

    The empty handler reads the body and answers 202, on the same event loop (uvloop) in a separate process.
    Nealytics also checks the key, parses the event, and answers after the fdatasync."""
    return runs.track(**options)


@bench.command()
@_rounds(20, 3)
@_seconds(5.0)
@_workers
@_connections(4)
@click.option(
    "--events", type=click.IntRange(1, 2_000), default=1_000, show_default=True, help="Per request."
)
@_measurement
def batch(**options: Any) -> msgspec.Struct:
    """Durable `batch`, while the log drains into the embedded engine."""
    return runs.batch(**options)


@bench.command()
@_executable("executable", "Another program of this kind, e.g. the compiled one.")
@_rounds(20, 3)
@_seconds(5.0)
@click.option("--connections", type=click.IntRange(1, 256), default=64, show_default=True)
@_measurement
def compare(executable: Path | None, connections: int, **options: Any) -> msgspec.Struct:
    """`track` and `batch` beside other servers, alternately, without ClickHouse: an empty aiohttp handler
    and, if installed, nginx, PostgreSQL and Redis, which sync each write. Needs wrk.

    With --executable: another program of this kind beside this one.
    """
    if executable is not None:
        return runs.compare(executable=executable, **options)
    return others_bench.others(connections=connections, **options)


@bench.command()
@_rounds(20, 5)
@_seconds(4.0)
@_connections(64)
@_measurement
def tokens(**options: Any) -> msgspec.Struct:
    """`track` with an ingest token against the same with an API key, alternately, without ClickHouse."""
    return runs.tokens(**options)


@bench.command("workers")
@_rounds(100, 5)
@_seconds(4.0)
@_connections(64)
@click.option("--workers", type=click.IntRange(2, 64), default=2, show_default=True)
@_measurement
def workers_(**options: Any) -> msgspec.Struct:
    """Processor time of `track` with one worker and with several; each has so many connections."""
    return runs.workers(**options)


@bench.command()
@click.option(
    "--only",
    "names",
    type=click.Choice(hostile_bodies.NAMES),
    metavar="KIND",
    multiple=True,
    help="This kind of body only; repeatable. An unknown kind lists them all.",
)
@_connections(4)
@click.option("--mib", type=click.IntRange(1, 128), default=1, show_default=True, help="Size of a body.")
@_seconds(2.0, "Duration for each kind of body.")
@_executable("program", "Another program than this one, e.g. an older one.")
@_measurement
def hostile(**options: Any) -> msgspec.Struct:
    """The cost of hostile bodies for another client: its `track`, alone and beside each kind of body.

    The bodies are the worst known of their kind; several connections send them repeatedly."""
    return runs.hostile(**options)


@bench.command()
@click.option("--events", type=click.IntRange(1_000, 20_000_000), default=1_000_000, show_default=True)
@click.option("--limit-mb", type=click.IntRange(1), default=150, show_default=True)
@_measurement
def memory(**options: Any) -> msgspec.Struct:
    """Memory of a worker with many queued events and no ClickHouse, and of a worker that drains them.

    Exits with 1 above the limit.
    """
    return runs.memory(**options)


@bench.command("drain")
@click.option("--events", type=click.IntRange(10_000, 20_000_000), default=2_000_000, show_default=True)
@_rounds(20, 3)
@_seconds(3.0, "Duration of a round of track.")
@_executable("program", "Another program than this one, e.g. an older one.")
@_measurement
async def drain(**options: Any) -> msgspec.Struct:
    """The drain of a full log beside a bulk load of the same events, and `track` while a log drains.

    The bulk load inserts 500,000 events in one request. Needs some 600 MB of disk for a million events."""
    return await drain_bench.drain(**options)


@bench.command("start")
@click.option(
    "--executable",
    "others",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    multiple=True,
    help="Another program to measure in the same rounds, e.g. an older or the compiled one; repeatable.",
)
@_rounds(100, 5)
@_seconds(10.0, "How long each idle node is observed.")
@_measurement
def start_(**options: Any) -> msgspec.Struct:
    """Time from the start of a node to /health and /ready, and its memory and processor use while idle.

    Each round starts a node in an empty directory, stops it, and starts it again."""
    return start_bench.start(**options)


@bench.command()
@_generated
@_rounds(10_000, 20)
@click.option(
    "--only",
    type=click.Choice([endpoint.name for endpoint in ENDPOINTS]),
    metavar="NAME",
    multiple=True,
    help="This endpoint only, e.g. timeline; repeatable.",
)
@click.option(
    "--rank",
    "ranks",
    type=click.IntRange(1, 10_000),
    multiple=True,
    help="Ask for the tenant with this rank by number of events, 1 for the largest; repeatable. Default: a"
    " large, a median and a small tenant.",
)
@_measurement
async def read(**options: Any) -> msgspec.Struct:
    """Each read endpoint against the same SQL sent directly to the engine, alternately.

    Generates events for 91 days (10 million need 0.6 GB and a minute), starts the embedded engine and the
    read API, and runs the queries of a dashboard for some tenants, and for 24 hours, 7 and 30 days. The k-th
    tenant has 1/k of the events of the first. The ratio is the overhead of the read API."""
    return await read_bench.read(**options)


@bench.command()
@_generated
@_rounds(1_000, 20)
@_measurement
async def page(**options: Any) -> msgspec.Struct:
    """The one request of the tenant's page for 30 days: cold, warm, and each of its questions alone.

    Cold is a new engine and a new read API, and nothing of the engine's files in memory."""
    return await page_bench.page(**options)


@bench.command()
@_rounds(100, 7)
@_measurement
async def merges(**options: Any) -> msgspec.Struct:
    """The cost of syncing merged parts in the embedded engine, alternately with and without sync."""
    return await merges_bench.merges(**options)


@bench.command()
@_rounds(100, 7)
@_measurement
def parse(**options: Any) -> msgspec.Struct:
    """From JSON to rows, without sockets and log: the compiled reader against Python."""
    return parse_bench.parse(**options)


@bench.command("retention")
@click.option("--events", type=click.IntRange(20_000, 100_000_000), default=2_000_000, show_default=True)
@_measurement
async def retention(**options: Any) -> msgspec.Struct:
    """The cost of deleting expired events: a mutation, a lightweight DELETE, a TTL, or partitions."""
    return await retention_bench.retention(**options)


@bench.command("erasure")
@click.option("--events", type=click.IntRange(10_000, 100_000_000), default=2_000_000, show_default=True)
@_rounds(100, 5)
@_seconds(4.0)
@_measurement
async def erasure(**options: Any) -> msgspec.Struct:
    """The cost of erasing a tenant with so many events, for ingest and reads meanwhile."""
    return await erasure_bench.erasure(**options)


@bench.command("damage")
@click.option(
    "--settings",
    "variants",
    multiple=True,
    metavar="SETTINGS",
    help="Settings of the table, as in MODIFY SETTING; repeatable. The others are compared with the first; "
    '"" is the table as it is created.',
)
@click.option(
    "--events", "count", type=click.IntRange(20_000, 10_000_000), default=300_000, show_default=True
)
@_rounds(20, 3)
@click.option(
    "--positions",
    type=click.IntRange(1, 20),
    default=2,
    show_default=True,
    help="Blocks that are damaged, the largest first.",
)
@_measurement
async def damage_(**options: Any) -> msgspec.Struct:
    """How long a read of a damaged part waits for its answer, and the cost of smaller blocks.

    Without --settings, ClickHouse's own blocks (up to 1 MiB) are compared with those of the table."""
    return await damage_bench.damage(**options)


@bench.command("answers")
@_executable("program", "Another program as the node, e.g. an older one.")
@_rounds(20, 3)
@_seconds(3.0, "Duration of `track` beside each query.")
@_measurement
def answers_(**options: Any) -> msgspec.Struct:
    """Large answers and slow readers: the longest step of the event loop, and the latency of `track`.

    Answers have up to 110 MB. Two clients request them continuously, and twelve do not read them."""
    return answers_bench.answers(**options)


@bench.command(hidden=True)
@click.option("--listen-fd", type=int, required=True)
@click.option("--config-fd", type=int, required=True)
def read_server(listen_fd: int, config_fd: int) -> None:
    """The read API over the generated events; `bench read` starts it."""
    die_with_parent()
    config = config_from_json(os.pread(config_fd, os.fstat(config_fd).st_size, 0))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(read_server_app.serve(config, socket.socket(fileno=listen_fd)))


@bench.command(hidden=True)
@click.option("--listen-fd", type=int, required=True)
def baseline(listen_fd: int) -> None:
    """The empty handler; the other commands start it."""
    die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(baseline_app.serve(socket.socket(fileno=listen_fd)))


@bench.command(hidden=True)
@click.option("--port", type=int, required=True)
@click.option("--load", "wanted", required=True)
def load(port: int, wanted: str) -> None:
    """The load generator; the other commands start it with a `Load` in JSON."""
    die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(load_generator.run(msgspec.json.decode(wanted, type=Load), port))
    click.echo(msgspec.json.encode(result), nl=False)
