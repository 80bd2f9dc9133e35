"""The first process: starts the others, restarts them, and stops them.

`nealytics serve` runs here. It opens the listening sockets, creates the node's shared memory, and
starts one embedded-engine child (if `clickhouse.url` is "embedded") and `server.workers` workers.
It handles neither events nor ClickHouse, so it has little reason to fail.

The first process of each child is a copy of this one (`fork`), which has all modules loaded: a node starts in
half the time, and workers share memory. A child that ended is started from the program's file.

Promises:
  - it restarts a process that ends, with an increasing delay, for ever; it kills a worker that hangs
  - the listening sockets stay open when a worker dies, so connections queued for it survive
  - everything ends when it ends, even by SIGKILL: each child has a death signal (PR_SET_PDEATHSIG) and
    one end of a socket pair, whose other end closes with this process
  - SIGHUP reloads the configuration (`Reloads`); no event is refused for it
  - SIGTERM and SIGINT stop workers first (they answer, flush and drain), then the engine; a second kills
  - it ends with status 0 only after such a signal. Each child has its own session, so a signal that it sends
    to its process group reaches no other process

Each child reports over its socket pair: `ready` once, then a byte a second while its event loop runs.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from nealytics import __version__, notify
from nealytics.clickhouse.embedded import Access, append_line, memory_file, reserve_ports
from nealytics.config import Config, Loaded, config_to_json, reloaded, split_listen
from nealytics.errors import ConfigError
from nealytics.observe import otel_signals
from nealytics.observe.metrics import Metrics
from nealytics.process import (
    EXIT_UNUSABLE,
    HEARTBEAT_S,
    READY,
    RELOADED,
    Forked,
    fork,
    open_files_problem,
    raise_open_files_limit,
    self_command,
)
from nealytics.shared import SPARE_KEYS, NodeMemory

log = logging.getLogger("nealytics.supervisor")

# An event loop that is silent for this long hangs: the slowest step of a worker on its loop takes
# milliseconds.
SILENCE_MAX_S = 60.0
SECOND_LOOK_S = 5 * HEARTBEAT_S
HEALTHY_AFTER_S = 30.0
RESTART_DELAY_MIN_S = 0.1
RESTART_DELAY_MAX_S = 10.0
ENGINE_STOP_TIMEOUT_S = 15.0
RELOAD_TIMEOUT_S = 30.0
LISTEN_BACKLOG = 4096


@dataclass
class Child:
    """One process to keep running."""

    name: str
    arguments: Callable[
        [int], list[str]
    ]  # its command line, given the descriptor of its end of the socket pair
    descriptors: tuple[int, ...]
    process: asyncio.subprocess.Process | Forked | None = None
    copied: tuple[Forked, socket.socket] | None = None  # its first process, and our end of the socket pair
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = 0.0
    was_ready: bool = False
    started_at: float = 0.0
    reloaded: asyncio.Event = field(default_factory=asyncio.Event)
    ending: signal.Signals | None = None  # the signal that stops it for good


class Supervisor:
    """Runs the node until a signal stops it. `run` returns the exit status."""

    def __init__(
        self,
        config: Config,
        silence_max_s: float = SILENCE_MAX_S,
        read_again: Callable[[], Loaded] | None = None,
    ) -> None:
        """`read_again` reads the configuration for a reload."""
        self._config = config
        self._read_again = read_again or (lambda: Loaded(config, (), {}))
        self._silence_max_s = silence_max_s
        self._stopping = asyncio.Event()
        self._killing = False
        self._failed: str | None = None
        self._children: list[Child] = []
        self._reserved = contextlib.ExitStack()  # keeps the engine's ports while the engine restarts

    def open(self) -> None:
        """Opens the sockets and the shared memory. Raises `ConfigError`."""
        config = self._config
        raise_open_files_limit()
        if (problem := open_files_problem(config.server.connections_max)) is not None:
            log.warning("serve: %s", problem)
        self._sockets = open_listeners(config.server.listen, config.server.workers)
        self._memory = NodeMemory.create(config.server.workers, len(config.auth.api_keys) + SPARE_KEYS)
        # As this process read it, so that every child has the same, also when the file changes later.
        self._config_fd = config_fd = memory_file(config_to_json(config) + b"\n")
        access_fd: int | None = None
        if config.clickhouse.url == "embedded":
            self._reserved, port = reserve_ports(config.clickhouse)
            access_fd = memory_file(Access.create(port).to_json())
        self._workers = [
            _worker(i, sock, self._memory.fd, config_fd, access_fd) for i, sock in enumerate(self._sockets)
        ]
        self._engine = [] if access_fd is None else [_engine(config_fd, access_fd)]
        self._children = self._engine + self._workers
        host, self._port = self._sockets[0].getsockname()[:2]
        log.info(
            "serve: nealytics %s starts %d worker(s) on %s port %d, clickhouse %s",
            __version__, len(self._workers), host, self._port, _shown_url(config.clickhouse.url),
        )  # fmt: skip
        if not config.server.data_dir.exists():
            # A node in the wrong directory would otherwise look like one that lost its events.
            log.info(
                "serve: creates server.data_dir %s; if this node has run before, correct the path",
                config.server.data_dir.absolute(),
            )

    def fork(self, load: Callable[[str], None], main: Callable[[list[str]], object]) -> None:
        """Starts the first process of each child as a copy of this process. Call it before `run`.

        `load` imports what the subcommand of this name needs, and `main` runs it with its arguments.
        """
        for child in self._children:
            try:
                _fork(child, load, main)
            except OSError as error:
                log.error("serve: cannot fork %s: %s; starting it from the file", child.name, error)

    async def run(self) -> int:
        """Calls `open`, unless that was done."""
        config = self._config
        if not self._children:
            self.open()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal, number)
        engine, workers, sockets = self._engine, self._workers, self._sockets
        keepers = {child.name: asyncio.create_task(self._keep_running(child)) for child in self._children}
        for keeper in keepers.values():
            keeper.add_done_callback(self._on_keeper_end)
        self._reloads = Reloads(config, self._config_fd, self._memory, workers, self._read_again)
        announcer = asyncio.create_task(self._announce(workers))
        metrics = otel_signals.start_metrics(self._memory, port=self._port)
        try:
            await self._stopping.wait()
            notify.notify("STOPPING=1")
            log.info(
                "serve: stopping; workers have %.0f s to answer, flush and drain",
                config.server.shutdown_timeout_s,
            )
            # From here on, new connections are refused; accepted ones belong to the workers.
            for sock in sockets:
                sock.close()
            await self._stop(workers, keepers, config.server.shutdown_timeout_s + 5.0)
            if metrics is not None:
                await asyncio.to_thread(metrics.stop)  # after the last batch, so that it is included
            await self._stop(engine, keepers, ENGINE_STOP_TIMEOUT_S)
        finally:
            announcer.cancel()
            self._reloads.stop()
            for keeper in keepers.values():
                keeper.cancel()
            for child in self._children:
                _end(child, signal.SIGKILL)
            self._reserved.close()
        if self._failed:
            log.critical("serve: %s", self._failed)
            return 1
        log.info("serve: stopped")
        return 0

    def _on_stop_signal(self, number: int) -> None:
        if self._stopping.is_set():
            self._killing = True
            log.warning(
                "serve: second %s; killing all processes now. Acknowledged events stay in the log",
                signal.Signals(number).name,
            )
            for child in self._children:
                _end(child, signal.SIGKILL)
        self._stopping.set()

    def _on_keeper_end(self, keeper: asyncio.Task[None]) -> None:
        """Stops the node if the task of a child fails: without it, nothing would restart that child."""
        if (
            not keeper.cancelled()
            and (error := keeper.exception()) is not None
            and not self._stopping.is_set()
        ):
            self._failed = f"unexpected error: {error!r}"
            self._stopping.set()

    async def _keep_running(self, child: Child) -> None:
        delay_s = RESTART_DELAY_MIN_S
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                status = await self._run_once(child)
            except (OSError, RuntimeError) as error:
                # No descriptor, memory, process or thread is available; retry later.
                log.error("serve: cannot start %s: %s", child.name, error)
                status = 1
            if self._stopping.is_set():
                return
            if status == EXIT_UNUSABLE and not child.was_ready:
                self._failed = f"{child.name} cannot start; its message above says why"
                self._stopping.set()
                return
            if time.monotonic() - started > HEALTHY_AFTER_S:
                delay_s = RESTART_DELAY_MIN_S
            log.error("serve: %s ended (%s); restarting it in %.1f s", child.name, _how(status), delay_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            delay_s = min(delay_s * 2, RESTART_DELAY_MAX_S)

    async def _run_once(self, child: Child) -> int:
        """Starts the child and listens to it. Returns its exit status; negative: the signal that ended it."""
        process, ours = child.copied or await _execute(child)
        child.process, child.copied = process, None
        with ours:
            ours.setblocking(False)
            child.heard_at = time.monotonic()
            if child.ending is not None:
                _signal(child, child.ending)
            listener = asyncio.create_task(self._listen(child, ours))
            try:
                return await process.wait()
            finally:
                listener.cancel()
                child.ready.clear()

    async def _listen(self, child: Child, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        patience_s = self._silence_max_s
        while True:
            try:
                data = await asyncio.wait_for(loop.sock_recv(channel, 4096), patience_s)
            except TimeoutError:
                if patience_s > SECOND_LOOK_S:
                    # This process itself may have stalled, for example on a paused machine.
                    patience_s = SECOND_LOOK_S
                    continue
                log.error(
                    "serve: %s has not reported for %.0f s; killing it", child.name, self._silence_max_s
                )
                _signal(child, signal.SIGKILL)
                return
            except OSError:
                return
            if not data:
                return
            patience_s = self._silence_max_s
            child.heard_at = time.monotonic()
            if READY in data:
                child.ready.set()
                child.was_ready = True
                self._reloads.on_ready(child)
            if RELOADED in data:
                child.reloaded.set()

    async def _announce(self, workers: list[Child]) -> None:
        """Reports READY=1 when every worker listens, then serves systemd's watchdog while all report."""
        for child in workers:
            await child.ready.wait()
        notify.notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={len(workers)} worker(s) accept events")
        log.info("serve: ready, %d worker(s) accept events", len(workers))
        interval_s = notify.watchdog_interval_s()
        while interval_s is not None:
            # The supervisor restarts dead workers; systemd's watchdog detects only a supervisor that hangs.
            notify.notify("WATCHDOG=1")
            await asyncio.sleep(interval_s)

    async def _stop(
        self, children: list[Child], keepers: dict[str, asyncio.Task[None]], timeout_s: float
    ) -> None:
        for child in children:
            _end(child, signal.SIGKILL if self._killing else signal.SIGTERM)
        tasks = [keepers[child.name] for child in children]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        if late:
            names = ", ".join(child.name for child in children if keepers[child.name] in late)
            log.error(
                "serve: %s did not stop within %.0f s; killing it. Acknowledged events stay in the log",
                names,
                timeout_s,
            )
            for child in children:
                _end(child, signal.SIGKILL)
            await asyncio.wait(late, timeout=5.0)


def _fork(child: Child, load: Callable[[str], None], main: Callable[[list[str]], object]) -> None:
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            arguments = child.arguments(theirs.fileno())
            load(arguments[0])
            child.started_at = time.monotonic()
            process = fork(partial(main, arguments), {*child.descriptors, theirs.fileno()})
    except BaseException:
        ours.close()
        raise
    child.copied = process, ours


async def _execute(child: Child) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Starts a process of this child, and returns our end of its socket pair."""
    child.started_at = time.monotonic()
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            executable, argv = self_command(*child.arguments(theirs.fileno()))
            process = await asyncio.create_subprocess_exec(
                *argv,
                executable=executable,
                pass_fds=(*child.descriptors, theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                # Of its own: a signal that a child sends to its group must reach nobody else.
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    return process, ours


class Reloads:
    """Reads the configuration again at each SIGHUP and passes it to the workers.

    A configuration with a mistake changes nothing. Workers that start later get the last one that was right.
    """

    def __init__(
        self,
        config: Config,
        config_fd: int,
        memory: NodeMemory,
        workers: list[Child],
        read_again: Callable[[], Loaded],
    ) -> None:
        self._config = config
        self._config_fd = config_fd
        self._places = memory.keys
        self._metrics = Metrics(memory)
        self._workers = workers
        self._read_again = read_again
        self._appended_at = 0.0
        self._asked = asyncio.Event()
        self._end(True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._task.cancel()

    def on_ready(self, child: Child) -> None:
        """A worker that started before a reload, and was not ready for its signal, gets it now."""
        if child.started_at <= self._appended_at:
            _signal(child, signal.SIGHUP)
        else:
            child.reloaded.set()  # it has read the last configuration

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            # Before that, READY=1 would tell systemd that the start has succeeded. A worker that is down
            # later delays no reload: it reads the configuration at its next start.
            for child in self._workers:
                if not child.was_ready:
                    await child.ready.wait()
            notify.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            self._end(await self._reload())
            notify.notify("READY=1")

    async def _reload(self) -> bool:
        """Whether all workers use the new configuration."""
        try:
            wanted, notes, _ = await asyncio.to_thread(self._read_again)
        except ConfigError as error:
            for problem in error.problems:
                log.error("reload: the old configuration stays in effect: %s", problem)
            return False
        for note in notes:
            log.warning("reload: %s", note)
        config, changed, restart = reloaded(self._config, wanted, self._places)
        if restart:
            log.warning(
                "reload: these changed and take effect at the next start only: %s", ", ".join(restart)
            )
        self._config = config
        append_line(self._config_fd, config_to_json(config))
        self._appended_at = time.monotonic()
        ready = [child for child in self._workers if child.ready.is_set()]
        for child in ready:
            child.reloaded.clear()
            _signal(child, signal.SIGHUP)
        late = [child.name for child in ready if not await _is_set_within(child.reloaded, RELOAD_TIMEOUT_S)]
        if late:
            log.error("reload: %s did not report within %.0f s", ", ".join(late), RELOAD_TIMEOUT_S)
        else:
            log.info(
                "reload: in effect: %s",
                ", ".join(changed) or "no setting; saved queries are read again",
            )
        return not late

    def _end(self, success: bool) -> None:
        self._metrics.reload_successful.set(float(success))
        if success:
            self._metrics.reload_at.set(time.time())


async def _is_set_within(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False


def open_listeners(listen: str, workers: int) -> list[socket.socket]:
    """One listening socket per worker, all on the same address.

    With several, the kernel spreads connections over them (SO_REUSEPORT). A port that another
    process uses is still an error: the first bind does not share it. Raises `ConfigError`.
    """
    host, port = split_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if workers > 1:
            with _listener(family, host, port, shared=False) as probe:
                port = probe.getsockname()[1]
        sockets = [_listener(family, host, port, shared=workers > 1)]
        port = sockets[0].getsockname()[1]
        sockets += [_listener(family, host, port, shared=True) for _ in range(workers - 1)]
    except OSError as error:
        raise ConfigError(
            f"config: server.listen is {listen!r}, and listening there failed: {error.strerror or error}; "
            "stop the process that uses the port, or choose another address"
        ) from error
    for sock in sockets:
        sock.listen(LISTEN_BACKLOG)
    return sockets


def _listener(family: socket.AddressFamily, host: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _worker(index: int, sock: socket.socket, memory_fd: int, config_fd: int, access_fd: int | None) -> Child:
    return Child(
        f"worker {index}",
        _worker_arguments(index, sock.fileno(), memory_fd, config_fd, access_fd),
        (sock.fileno(), memory_fd, config_fd, *([] if access_fd is None else [access_fd])),
    )


def _engine(config_fd: int, access_fd: int) -> Child:
    return Child("engine", _engine_arguments(config_fd, access_fd), (config_fd, access_fd))


def _worker_arguments(
    index: int, listen_fd: int, memory_fd: int, config_fd: int, access_fd: int | None
) -> Callable[[int], list[str]]:
    access = [] if access_fd is None else [f"--access-fd={access_fd}"]
    return lambda parent_fd: [
        "worker", f"--index={index}", f"--listen-fd={listen_fd}", f"--memory-fd={memory_fd}",
        f"--config-fd={config_fd}", *access, f"--parent-fd={parent_fd}",
    ]  # fmt: skip


def _engine_arguments(config_fd: int, access_fd: int) -> Callable[[int], list[str]]:
    return lambda parent_fd: [
        "embedded-child", f"--config-fd={config_fd}", f"--access-fd={access_fd}", f"--parent-fd={parent_fd}",
    ]  # fmt: skip


def _signal(child: Child, number: signal.Signals) -> None:
    if child.process is not None and child.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)


def _end(child: Child, number: signal.Signals) -> None:
    """Also signals a process that is still starting."""
    child.ending = number
    _signal(child, number)


def _how(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def _shown_url(url: str) -> str:
    return url.rpartition("@")[2]
