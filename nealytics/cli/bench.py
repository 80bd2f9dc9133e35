"""`nealytics bench`: measures this machine with the real product, on temporary data."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
import uvloop

from nealytics.bench import answers as answers_bench
from nealytics.bench import baseline as baseline_app
from nealytics.bench import damage as damage_bench
from nealytics.bench import hostile as hostile_bodies
from nealytics.bench import load as load_generator
from nealytics.bench import merges as merges_bench
from nealytics.bench import page as page_bench
from nealytics.bench import read as read_bench
from nealytics.bench import read_server as read_server_app
from nealytics.bench import runs
from nealytics.bench.load import Route
from nealytics.bench.machine import Say
from nealytics.config import config_from_json
from nealytics.process import die_with_parent
from nealytics.queries import ENDPOINTS

Command = TypeVar("Command", bound=Callable[..., Any])


def _shared(command: Command) -> Command:
    for option in (
        click.option(
            "--directory",
            type=click.Path(file_okay=False, exists=True, path_type=Path),
            help="Directory for temporary data, on the disk to measure; /tmp may be in memory.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document, nothing else."),
    ):
        command = option(command)
    return command


_rounds = click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
_seconds = click.option(
    "--seconds", type=click.FloatRange(0.5, 60), default=5.0, show_default=True, help="Duration of a round."
)
_workers = click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)


@click.group()
def bench() -> None:
    """Measure this machine. Starts all servers on loopback with temporary data, and removes the data.

    Compare ratios between machines, not events per second. Stop other programs first."""


@bench.command()
@_rounds
@_seconds
@_workers
@click.option("--connections", type=click.IntRange(1, 1_000), default=64, show_default=True)
@click.option("--without-clickhouse", is_flag=True, help="Do not drain the log meanwhile.")
@_shared
def track(
    rounds: int,
    seconds: float,
    workers: int,
    connections: int,
    without_clickhouse: bool,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Durable `track` against an empty aiohttp handler, alternately: one event per request.

    The empty handler reads the body and answers 202, on the same event loop (uvloop) in a separate process.
    Nealytics also checks the key, parses the event, and answers after the fdatasync."""
    report = runs.track(
        rounds=rounds,
        seconds=seconds,
        connections=connections,
        workers=workers,
        clickhouse=not without_clickhouse,
        directory=directory,
        say=_say(as_json),
    )
    _show(report, as_json)


@bench.command()
@_rounds
@_seconds
@_workers
@click.option("--connections", type=click.IntRange(1, 1_000), default=4, show_default=True)
@click.option(
    "--events", type=click.IntRange(1, 2_000), default=1_000, show_default=True, help="Per request."
)
@_shared
def batch(
    rounds: int,
    seconds: float,
    workers: int,
    connections: int,
    events: int,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Durable `batch`, while the log drains into the embedded engine."""
    report = runs.batch(
        rounds=rounds,
        seconds=seconds,
        connections=connections,
        events=events,
        workers=workers,
        directory=directory,
        say=_say(as_json),
    )
    _show(report, as_json)


@bench.command()
@click.option(
    "--executable",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    required=True,
    help="The other program, e.g. the compiled one.",
)
@_rounds
@_seconds
@_shared
def compare(executable: Path, rounds: int, seconds: float, directory: Path | None, as_json: bool) -> None:
    """Another program against this one, alternately: `track` and `batch`, without ClickHouse."""
    report = runs.compare(
        executable=executable, rounds=rounds, seconds=seconds, directory=directory, say=_say(as_json)
    )
    _show(report, as_json)


@bench.command()
@click.option(
    "--only",
    type=click.Choice(hostile_bodies.NAMES),
    metavar="KIND",
    multiple=True,
    help="This kind of body only; repeatable. An unknown kind lists them all.",
)
@click.option("--connections", type=click.IntRange(1, 32), default=4, show_default=True)
@click.option("--mib", type=click.IntRange(1, 128), default=1, show_default=True, help="Size of a body.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 30),
    default=2.0,
    show_default=True,
    help="Duration for each kind of body.",
)
@click.option(
    "--executable",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="Another program than this one, e.g. an older one.",
)
@_shared
def hostile(
    only: tuple[str, ...],
    connections: int,
    mib: int,
    seconds: float,
    executable: Path | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """The cost of hostile bodies for another client: its `track`, alone and beside each kind of body.

    The bodies are the worst known of their kind; several connections send them repeatedly."""
    report = runs.hostile(
        names=only or hostile_bodies.NAMES,
        connections=connections,
        seconds=seconds,
        mib=mib,
        program=executable,
        directory=directory,
        say=_say(as_json),
    )
    _show(report, as_json)


@bench.command()
@click.option("--events", type=click.IntRange(1_000, 20_000_000), default=1_000_000, show_default=True)
@click.option("--limit-mb", type=click.IntRange(1), default=150, show_default=True)
@_shared
def memory(events: int, limit_mb: int, directory: Path | None, as_json: bool) -> None:
    """Memory of a worker with many queued events and no ClickHouse, and of a worker that drains them.

    Exits with 1 above the limit.
    """
    report = runs.memory(events=events, limit_mb=limit_mb, directory=directory, say=_say(as_json))
    _show(report, as_json)
    if not report.within_limit:
        raise SystemExit(1)


@bench.command()
@click.option("--events", type=click.IntRange(1_000, 1_000_000_000), default=10_000_000, show_default=True)
@click.option("--tenants", type=click.IntRange(1, 99), default=20, show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="Number of times that each query runs, each way.",
)
@click.option(
    "--only",
    type=click.Choice([endpoint.name for endpoint in ENDPOINTS]),
    metavar="NAME",
    multiple=True,
    help="This endpoint only, e.g. timeline; repeatable.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Store the generated events here, and reuse existing ones.",
)
@_shared
def read(
    events: int,
    tenants: int,
    rounds: int,
    only: tuple[str, ...],
    data: Path | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Each read endpoint against the same SQL sent directly to the engine, alternately.

    Generates events for 91 days (10 million need 0.6 GB and a minute), starts the embedded engine and the
    read API, and runs the queries of a dashboard: for a large, a median and a small tenant, and for 24 hours,
    7 and 30 days. The ratio is the overhead of the read API."""
    report = asyncio.run(
        read_bench.read(
            events_count=events,
            tenants=tenants,
            rounds=rounds,
            only=only,
            data=data,
            directory=directory,
            say=_say(as_json),
        )
    )
    _show(report, as_json)


@bench.command()
@click.option("--events", type=click.IntRange(1_000, 1_000_000_000), default=10_000_000, show_default=True)
@click.option(
    "--tenants",
    type=click.IntRange(1, 99),
    default=20,
    show_default=True,
    help="That share the events; with 1, one tenant has them all.",
)
@click.option("--rounds", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the generated events here, and use them if they are there already; those of `bench read`.",
)
@_shared
def page(
    events: int, tenants: int, rounds: int, data: Path | None, directory: Path | None, as_json: bool
) -> None:
    """The one request of the tenant's page for 30 days: cold, warm, and each of its questions alone.

    Cold is a new engine and a new read API, and nothing of the engine's files in memory."""
    report = asyncio.run(
        page_bench.page(
            events_count=events,
            tenants=tenants,
            rounds=rounds,
            data=data,
            directory=directory,
            say=_say(as_json),
        )
    )
    _show(report, as_json)


@bench.command()
@click.option("--rounds", type=click.IntRange(1, 100), default=7, show_default=True)
@_shared
def merges(rounds: int, directory: Path | None, as_json: bool) -> None:
    """The cost of syncing merged parts in the embedded engine, alternately with and without sync."""
    report = asyncio.run(merges_bench.merges(rounds=rounds, directory=directory, say=_say(as_json)))
    _show(report, as_json)


@bench.command("damage")
@click.option(
    "--settings",
    "variants",
    multiple=True,
    metavar="SETTINGS",
    help="Of the table, as in MODIFY SETTING; repeatable. The first is what the others are compared with; "
    '"" is the table as it is made.',
)
@click.option("--events", type=click.IntRange(20_000, 10_000_000), default=300_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option(
    "--positions",
    type=click.IntRange(1, 20),
    default=2,
    show_default=True,
    help="Blocks that are damaged, the largest first.",
)
@_shared
def damage_(
    variants: tuple[str, ...],
    events: int,
    rounds: int,
    positions: int,
    directory: Path | None,
    as_json: bool,
) -> None:
    """How long a read of a damaged part waits for its answer, and what smaller blocks cost.

    Without --settings, ClickHouse's own blocks (up to 1 MiB) are compared with those of the table."""
    report = asyncio.run(
        damage_bench.damage(
            variants=variants or damage_bench.VARIANTS,
            count=events,
            rounds=rounds,
            positions=positions,
            directory=directory,
            say=_say(as_json),
        )
    )
    _show(report, as_json)


@bench.command("answers")
@click.option(
    "--executable",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="Another program as the node, e.g. an older one.",
)
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 60),
    default=3.0,
    show_default=True,
    help="Duration of `track` beside each query.",
)
@_shared
def answers_(
    executable: Path | None, rounds: int, seconds: float, directory: Path | None, as_json: bool
) -> None:
    """Large answers and slow readers: the longest step of the event loop, and the latency of `track`.

    Answers have up to 110 MB. Two clients request them continuously, and twelve do not read them."""
    report = answers_bench.answers(
        seconds=seconds, rounds=rounds, program=executable, directory=directory, say=_say(as_json)
    )
    _show(report, as_json)


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
@click.option("--route", type=click.Choice(["track", "batch"]), required=True)
@click.option("--port", type=int, required=True)
@click.option("--connections", type=int, required=True)
@click.option("--events", type=int, required=True)
@click.option("--warmup", type=float, required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--requests-max", type=int, required=True)
@click.option("--first-number", type=int, required=True)
def load(
    route: Route,
    port: int,
    connections: int,
    events: int,
    warmup: float,
    seconds: float,
    requests_max: int,
    first_number: int,
) -> None:
    """The load generator; the other commands start it."""
    die_with_parent()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(
            load_generator.run(
                route,
                port,
                connections=connections,
                events=events,
                warmup_s=warmup,
                seconds=seconds,
                requests_max=requests_max,
                first_number=first_number,
            )
        )
    click.echo(msgspec.json.encode(result), nl=False)


def _say(as_json: bool) -> Say:
    def say(line: str) -> None:
        if not as_json:
            click.echo(line)

    return say


def _show(report: msgspec.Struct, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
