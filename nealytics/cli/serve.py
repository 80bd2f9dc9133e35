"""`nealytics serve`, and the two commands by which it starts its own processes."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from pathlib import Path

import click
import uvloop

from nealytics.cli.options import config_option, load_serving, set_up_log
from nealytics.config import Config, config_from_json
from nealytics.errors import ConfigError, LogBroken, LogFull, NealyticsError
from nealytics.observe import log as observe_log
from nealytics.process import (
    EXIT_UNUSABLE,
    die_with_parent,
    give_back_pages,
    is_compiled,
    name_process,
    without_authorities,
)
from nealytics.scheduling import prefer_latency

log = logging.getLogger("nealytics.serve")


@click.command()
@config_option
def serve(config_path: Path | None) -> None:
    """Run Nealytics: accept events, write them to ClickHouse, answer queries.

    Runs in the foreground and logs to stderr: text on a terminal, JSON lines elsewhere. Starts
    `server.workers` worker processes and, if clickhouse.url is "embedded", the embedded ClickHouse. Restarts
    processes that die.

    SIGHUP makes it read the file again: keys, rate limits, retention rules and CORS take effect at once, and
    the log names other settings that changed. A file with a mistake changes nothing.

    SIGTERM or Ctrl-C stops it: it answers the requests in flight and drains the log to ClickHouse, within
    server.shutdown_timeout_s. Remaining events are sent after the next start. A second signal ends it at once
    and loses nothing either.

    Settings come from nealytics.toml and the environment; `nealytics init` writes a first file.
    """
    gc.disable()  # until the children are there, which collect for themselves
    from nealytics.supervisor import Supervisor

    # What ends a start is a log line too: a collector must not miss the one that matters.
    observe_log.setup()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it can reload
    try:
        loaded = load_serving(config_path)
        set_up_log(loaded.config)
        for note in loaded.notes:
            log.warning("%s", note)
        supervisor = Supervisor(loaded.config, read_again=lambda: load_serving(config_path))
        supervisor.open()
        supervisor.fork(_load, _run)
        gc.enable()
        if is_compiled():
            give_back_pages(str(Path("/proc/self/exe").resolve()))
        with asyncio.Runner() as runner:
            status = runner.run(supervisor.run())
    except ConfigError as error:
        for problem in error.problems:
            log.critical("%s", problem)
        status = 1
    sys.exit(status)


def _load(command: str) -> None:
    """Imports what a process of the node needs."""
    if command == "embedded-child":
        import nealytics.clickhouse.embedded_child
    else:
        with without_authorities():  # a worker's clients have TLS contexts of their own
            import nealytics.server  # noqa: F401


def _run(arguments: list[str]) -> None:
    name, *options = arguments
    (embedded_child if name == "embedded-child" else worker).main(options)


@click.command(hidden=True)
@click.option("--index", type=int, required=True)
@click.option("--listen-fd", type=int, required=True)
@click.option("--memory-fd", type=int, required=True)
@click.option("--config-fd", type=int, required=True)
@click.option("--access-fd", type=int)
@click.option("--parent-fd", type=int, required=True)
def worker(
    index: int, listen_fd: int, memory_fd: int, config_fd: int, access_fd: int | None, parent_fd: int
) -> None:
    """One worker; `serve` starts it."""
    gc.disable()  # until all that lives as long as the process is there: `Worker.run`
    name_process(f"worker {index}")
    prefer_latency()
    _load("worker")
    from nealytics.clickhouse.embedded import Access, contents_of, last_line_of
    from nealytics.server import Worker
    from nealytics.shared import NodeMemory

    parent = socket.socket(fileno=parent_fd)
    die_with_parent(parent)
    # Ctrl-C reaches the whole foreground group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Until the worker can reload: a reload before that is in the configuration that it reads now, or the
    # supervisor repeats the signal.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    access = None if access_fd is None else Access.from_json(contents_of(access_fd))

    def read_again() -> Config:
        again = config_from_json(last_line_of(config_fd))
        set_up_log(again, access.secrets if access is not None else (), worker=index)
        return again

    config = read_again()
    memory = NodeMemory.attach(memory_fd, config.server.workers, index)
    listener = socket.socket(fileno=listen_fd)

    async def live() -> int:
        return await Worker(config, index, listener, memory, parent, access, read_again).run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            status = runner.run(live())
    except NealyticsError as error:
        log.critical("%s", error)
        # A failing or full disk may be better at the next start; nothing else is.
        status = 1 if isinstance(error, LogBroken | LogFull) else EXIT_UNUSABLE
    sys.exit(status)


@click.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def embedded_child(arguments: tuple[str, ...]) -> None:
    """The embedded ClickHouse; `serve` starts it."""
    gc.enable()
    name_process("embedded-child")
    from nealytics.clickhouse.embedded_child import main

    sys.exit(main(list(arguments)))
