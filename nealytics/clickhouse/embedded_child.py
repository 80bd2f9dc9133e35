"""The embedded engine's process: ClickHouse's own server inside the chDB library.

Run as the hidden subcommand `embedded-child` by the supervisor, or by a command for its own duration. The
library is clickhouse-local, which opens ClickHouse's servers when a statement tells it to. This process
writes the configuration, makes one call that never returns, and watches it from threads.

What it promises:
  - it opens a directory only when no other engine has it, and waits for one that is ending
  - it says that it is ready when the server answers, and that it is alive as long as the server does
  - it may be killed at any moment; what an insert was answered for is there afterwards
  - it ends with its parent; on SIGTERM it lets what runs finish, for a while
"""

import argparse
import contextlib
import ctypes
import fcntl
import http.client
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import ModuleType

from nealytics.clickhouse import embedded_config
from nealytics.clickhouse.embedded import (
    LOOPBACK,
    Access,
    bind_ports,
    contents_of,
    engine_dir,
    free_bytes,
    last_line_of,
    no_room_for_engine,
    run_dir,
    write_access,
)
from nealytics.clickhouse.sql import quoted
from nealytics.config import Config, config_from_json, secrets_of
from nealytics.directories import make_private
from nealytics.errors import ConfigError, NealyticsError
from nealytics.observe import log as observe_log
from nealytics.process import ALIVE, EXIT_UNUSABLE, HEARTBEAT_S, READY, die_with_parent, is_compiled

log = logging.getLogger("nealytics.engine")

LOCK_TIMEOUT_S = 30.0
_LOCK_RETRY_S = 0.1
_PING_RETRY_S = 0.005
_TIMEOUT_S = 10.0
# From the moment at which the tables are loaded; it takes milliseconds.
FIRST_ANSWER_S = 30.0
# Less than the 15 s that the supervisor allows.
STOP_TIMEOUT_S = 10.0
_STOP_RETRY_S = 0.02

_RUNNING = "SELECT count() FROM system.processes WHERE user NOT IN ('', 'default', 'control')"

_FREE_CHECK_S = 0.1
# With so much more free than is needed, no disk is full within a second.
_FREE_CHECK_FAR_S = 1.0
_FAR_BYTES = 8 * 1024**3
# A smaller answer is given as long as there is any room: a node asks such questions to become ready at all.
_SMALL_ANSWER_BYTES = 8 * 1024**2
_END_LARGE_ANSWERS = (
    "KILL QUERY WHERE query_kind = 'Select' AND user IN ('reader', 'writer', 'operator', 'nealytics') "
    f"AND ProfileEvents['WriteBufferFromFileDescriptorWriteBytes'] > {_SMALL_ANSWER_BYTES} ASYNC"
)

# Left in `tmp` by an engine that was killed.
_LEFT_BEHIND = ("clickhouse-embedded-*", "nealytics-*", "tmp*")

# Sleeps for three years, in a process that restarts more often. Nobody reads its progress, which is updated
# every 0.1 s by default.
_FOR_EVER = (
    "SELECT sleepEachRow(1) FROM numbers(100000000) SETTINGS max_block_size = 1, "
    "function_sleep_max_microseconds_per_block = 0, interactive_delay = 60000000 FORMAT Null"
)

_LIBRARY = "_chdb.abi3.so"
_MADV_DONTNEED = 4


def main(argv: list[str] | None = None) -> int:
    """The subcommand. `--config-fd` and `--access-fd` are open files with the configuration and the users'
    passwords, as JSON."""
    parser = argparse.ArgumentParser(
        prog="nealytics embedded-child", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--access-fd", type=int, required=True)
    parser.add_argument("--parent-fd", type=int, required=True)
    arguments = parser.parse_args(argv)
    config = config_from_json(last_line_of(arguments.config_fd))
    access = Access.from_json(contents_of(arguments.access_fd))
    hidden = [*secrets_of(config), *access.secrets]
    observe_log.setup(config.observe.log_level, config.observe.log_format, secrets=hidden)
    parent = socket.socket(fileno=arguments.parent_fd)
    die_with_parent(parent)
    try:
        EngineProcess(config, access, parent).run()
    except NealyticsError as error:
        log.critical("%s", error)
        return EXIT_UNUSABLE if isinstance(error, ConfigError) else 1
    return 1


class EngineProcess:
    """One engine, from its lock to its end. `run` returns only by an exception."""

    def __init__(self, config: Config, access: Access, parent: socket.socket) -> None:
        self._config = config
        self._access = access
        self._parent = parent
        self._directory = engine_dir(config.server.data_dir)
        self._run_directory = run_dir(config.server.data_dir)
        self._control_password = secrets.token_urlsafe(32)
        self._backup_password = secrets.token_urlsafe(32)
        self._free_bytes_min = embedded_config.FREE_SHARE_MIN * config.wal.free_bytes_min
        self._started = time.monotonic()
        self._loaded = threading.Event()  # the tables; the server starts next
        self._serving = threading.Event()

    def run(self) -> None:
        # The main thread is about to be in the library for ever, so a handler of ours would never run. Python
        # still writes the signal's number to the socket at once. Ctrl-C reaches the whole foreground group,
        # and the parent alone decides what it means.
        told, tell = socket.socketpair()
        tell.setblocking(False)
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(tell.detach())
        self._start_thread(lambda: self._stop_when_told(told))
        self._start_thread(self._beat)
        if problem := no_room_for_engine(self._config.server.data_dir):
            raise NealyticsError(problem)
        # The library ends the process without a message if it cannot listen.
        bind_ports(self._config.clickhouse, self._access.port)[0].close()
        self._prepare()
        library = _load_library()
        os.chdir(self._run_directory)
        self._start_thread(self._announce)
        self._start_thread(self._guard_disk)
        try:
            library.query(self._statements(), "TabSeparated", path=str(self._directory))
        except RuntimeError as error:
            raise NealyticsError(f"engine: {self._directory} cannot be opened: {error}") from error
        raise NealyticsError("engine: ClickHouse ended by itself")

    def _prepare(self) -> None:
        try:
            make_private(self._directory)
            self._lock = lock_directory(self._directory)
            _refuse_beside_another_program(self._directory)
            scratch = self._directory / "tmp"
            make_private(scratch)
            _clear(scratch)
            shutil.rmtree(self._run_directory, ignore_errors=True)
            make_private(self._run_directory / embedded_config.BACKUP_LINKS)
            self._write_configuration()
            os.mkfifo(self._start_pipe, 0o600)
        except OSError as error:
            raise NealyticsError(
                f"engine: {self._directory} cannot be written: {error.strerror or error}; set "
                "server.data_dir or its owner"
            ) from error
        # config.xml names the variable, so that no file has the key.
        os.environ[embedded_config.S3_SECRET] = self._config.backup.s3_secret_access_key
        # The library makes a directory there when it is loaded; /tmp may be memory, or read-only.
        os.environ["TMPDIR"] = str(scratch)

    def _write_configuration(self) -> None:
        clickhouse, memory = self._config.clickhouse, embedded_config.memory_bytes()
        files = {
            "config.xml": embedded_config.server_xml(
                clickhouse, self._access, self._directory, memory=memory, backup=self._config.backup
            ),
            "users.xml": embedded_config.users_xml(
                clickhouse,
                self._config.query,
                self._access,
                control=self._control_password,
                backup=self._backup_password,
                memory=memory,
            ),
            # For `nealytics backup`; no other process of the node has it.
            embedded_config.BACKUP_PASSWORD: self._backup_password,
        }
        for name, text in files.items():
            path = self._run_directory / name
            path.touch(0o600)
            path.write_text(text)

    @property
    def _start_pipe(self) -> Path:
        return self._run_directory / "start"

    def _statements(self) -> str:
        native = "SYSTEM START LISTEN TCP; " if self._config.clickhouse.embedded_native_port else ""
        # The tables are loaded when the first statement runs, and it waits until `_announce` has opened and
        # closed the pipe.
        wait = f"SELECT file({quoted(str(self._start_pipe))}) FORMAT Null; "
        return f"{wait}SYSTEM START LISTEN HTTP; {native}{_FOR_EVER}"

    # Threads

    @staticmethod
    def _start_thread(target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            except BaseException as error:
                # The main thread, in the library, would go on without it.
                log.critical("%s", error, exc_info=not isinstance(error, NealyticsError))
                logging.shutdown()
                os._exit(1)

        threading.Thread(target=run, daemon=True).start()

    def _announce(self) -> None:
        """Lets the server start when the tables are loaded, and says so when it answers."""
        pipe = os.open(self._start_pipe, os.O_WRONLY)
        # clickhouse-local lets every user read any file with the function file(), whatever the user's rights
        # are. The function needs the current directory, so this process has none from here on.
        nowhere = self._run_directory / "nowhere"
        nowhere.mkdir()
        os.chdir(nowhere)
        nowhere.rmdir()
        self._start_pipe.unlink()
        self._loaded.set()
        os.close(pipe)
        deadline = time.monotonic() + FIRST_ANSWER_S
        connection = self._connection()
        while not self._answers(connection):
            if time.monotonic() > deadline:
                raise NealyticsError(
                    f"engine: ClickHouse does not answer on port {self._access.port} {FIRST_ANSWER_S:.0f} s "
                    "after its tables were loaded; it is started again"
                )
            time.sleep(_PING_RETRY_S)
        write_access(self._config.server.data_dir, self._access)
        self._serving.set()
        self._parent.send(READY)
        address = self._config.clickhouse.embedded_listen
        log.info(
            "engine: ClickHouse answers on port %d%s after %.2f s",
            self._access.port,
            f" of loopback and on {address}" if address else " of loopback",
            time.monotonic() - self._started,
        )
        unmap_unused(_LIBRARY)

    def _beat(self) -> None:
        """Writes a sign of life every second: while the tables are loaded, and then whenever the server has
        answered."""
        self._parent.setblocking(False)
        connection = self._connection()
        while True:
            if not self._loaded.is_set() or self._answers(connection):
                try:
                    self._parent.send(ALIVE)
                except OSError:
                    pass  # a full buffer means that the parent is behind; `die_with_parent` sees its end
            time.sleep(HEARTBEAT_S)

    def _guard_disk(self) -> None:
        """Ends queries that fill the disk with their answers, before they use what the log needs."""
        far = False
        while True:
            time.sleep(_FREE_CHECK_FAR_S if far else _FREE_CHECK_S)
            spare = free_bytes(self._directory) - self._free_bytes_min
            far = spare > _FAR_BYTES
            if spare >= 0 or not self._serving.is_set():
                continue
            try:
                ended = self._control(self._connection(), _END_LARGE_ANSWERS)
            except (OSError, http.client.HTTPException) as error:
                log.warning("engine: cannot end queries with large answers: %r", error)
                continue
            if ended:
                log.warning(
                    "engine: the disk has less free than %d times wal.free_bytes_min, so %d queries with "
                    "large answers were ended; free disk space",
                    embedded_config.FREE_SHARE_MIN,
                    ended.count(b"\n"),
                )

    @staticmethod
    def _answers(connection: http.client.HTTPConnection) -> bool:
        try:
            connection.request("GET", "/ping")
            response = connection.getresponse()
            response.read()
            return response.status == 200
        except (OSError, http.client.HTTPException):
            connection.close()  # the next request opens it again
            return False

    def _stop_when_told(self, told: socket.socket) -> None:
        told.recv(1)
        log.info("engine: stopping; statements that run have %.0f s to finish", STOP_TIMEOUT_S)
        if self._serving.is_set():
            try:
                self._drain()
            except (OSError, http.client.HTTPException) as error:
                log.warning("engine: cannot see what still runs: %r", error)
        log.info("engine: stopped")
        logging.shutdown()
        # The library has no orderly end: closing it aborts the process. The tables survive a kill, so they
        # survive this.
        os._exit(0)

    def _drain(self) -> None:
        """Returns when no statement runs, or the time is over."""
        deadline = time.monotonic() + STOP_TIMEOUT_S
        connection = self._connection()
        while self._control(connection, _RUNNING) != b"0\n":
            if time.monotonic() > deadline:
                log.warning("engine: a statement is still running; stopped without waiting for it")
                return
            time.sleep(_STOP_RETRY_S)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(LOOPBACK, self._access.port, timeout=_TIMEOUT_S)

    def _control(self, connection: http.client.HTTPConnection, sql: str) -> bytes:
        headers = {"X-ClickHouse-User": "control", "X-ClickHouse-Key": self._control_password}
        connection.request("POST", "/", sql, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise http.client.HTTPException(answer.decode("utf-8", "replace"))
        return answer


def _load_library() -> ModuleType:
    """The library alone: its Python package would import pandas and pyarrow."""
    package = importlib.util.find_spec("chdb")
    if package is None or not package.submodule_search_locations:
        remedy = (
            "take the release whose name ends in -embedded"
            if is_compiled()
            else 'install it with `pip install "nealytics[embedded]"`'
        )
        raise ConfigError(
            f'engine: clickhouse.url is "embedded", but the engine is not installed; {remedy}, or set '
            "clickhouse.url to a server"
        )
    path = Path(package.submodule_search_locations[0]) / _LIBRARY
    spec = importlib.util.spec_from_file_location("_chdb", path)
    assert spec is not None
    assert spec.loader is not None
    try:
        library = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(library)
    except ImportError as error:
        raise ConfigError(f"engine: {path} cannot be loaded: {error}; reinstall chdb-core") from error
    return library


def unmap_unused(library: str) -> None:
    """Unmaps the library's code and constants, whose pages were read from its file and never changed.

    Its start touches 200 MB of them, and later work a small part. The kernel keeps them in its page cache and
    maps a page again when it is used. They no longer count as memory of this process.
    """
    libc = ctypes.CDLL(None)
    bounds = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            is_library = rest[-1].endswith(f"/{library}") and rest[0] in ("r-xp", "r--p")
            bounds = first if is_library else ""
        elif bounds and first == "Anonymous:" and rest[0] == "0":  # a changed page would be lost
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def lock_directory(directory: Path) -> int:
    """Our own lock on the directory, held for life. The library has one too, but can only fail on it, not
    wait."""
    lock = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    said = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise NealyticsError(
                    f"engine: {directory} is still in use by another engine after {LOCK_TIMEOUT_S:.0f} s; "
                    "stop the other node, or give this one its own server.data_dir"
                ) from None
        if not said:
            said = True
            log.warning(
                "engine: another engine has %s open; waiting up to %.0f s for it to end",
                directory,
                LOCK_TIMEOUT_S,
            )
        time.sleep(_LOCK_RETRY_S)


def _refuse_beside_another_program(directory: Path) -> None:
    """ClickHouse locks this file, and so does clickhouse-local or a chDB session in the same directory."""
    with contextlib.suppress(FileNotFoundError), (directory / "status").open("rb") as status:
        try:
            fcntl.flock(status, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NealyticsError(
                f"engine: another program has {directory} open; end it, or give this node its own "
                "server.data_dir"
            ) from None


def _clear(scratch: Path) -> None:
    """Removes what an engine that was killed left there."""
    for left_behind in chain.from_iterable(scratch.glob(pattern) for pattern in _LEFT_BEHIND):
        if left_behind.is_dir():
            shutil.rmtree(left_behind)
        else:
            left_behind.unlink()


if __name__ == "__main__":
    sys.exit(main())
