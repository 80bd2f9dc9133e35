"""Processes of one program: how it forks, how it starts itself again, and how a child ends with its parent.

A child gets one end of a socket pair. On it, the child reports that it is ready and, once a second, that its
event loop runs. End-of-file means that the parent has ended.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import mmap
import os
import re
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NoReturn

READY = b"R"
RELOADED = b"L"
ALIVE = b"."
HEARTBEAT_S = 1.0

# The exit status of a child that a restart cannot help: bad configuration, a damaged log, a locked directory.
EXIT_UNUSABLE = 78  # EX_CONFIG of sysexits.h

# Files of the log, connections to ClickHouse, the event loop, the program itself.
_FILES_BESIDE_CONNECTIONS = 200

_PR_SET_PDEATHSIG = 1

# The first line of a mapping in /proc/PID/smaps: addresses, permissions, the file.
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(.*)")

# Files of trusted certificate authorities: Debian and Alpine, RHEL, SUSE, others.
AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def raise_open_files_limit() -> None:
    """Raises the limit to its hard maximum."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files_problem(connections_max: int) -> str | None:
    """Why a worker cannot open `connections_max` connections; None if it can."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + _FILES_BESIDE_CONNECTIONS
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return None
    return (
        f"at most {hard} open files per process, but server.connections_max is {connections_max}; "
        f"raise it to {wanted} (LimitNOFILE of the unit, ulimit -n) or lower connections_max"
    )


def is_compiled() -> bool:
    """Whether this is the compiled executable, which has no Python to install packages into."""
    return "__compiled__" in globals()


def data_directory(path: str) -> Path:
    """A directory of files that are not code, by its path in the package. A compiled program has it beside
    the executable, under its last name."""
    if is_compiled():
        return Path("/proc/self/exe").resolve().parent / Path(path).name
    return Path(__file__).parent / path


def self_command(*args: str) -> tuple[str, list[str]]:
    """The executable and the argv that run this program again with `args`.

    /proc/self/exe is the same program even after an upgrade has replaced its file. In a compiled program,
    `sys.executable` is not Python, so the program runs by its own name.
    """
    if is_compiled():
        return "/proc/self/exe", [sys.argv[0], *args]
    return "/proc/self/exe", [sys.executable, "-m", "nealytics", *args]


def find_authorities(places: tuple[str, ...] = AUTHORITIES) -> None:
    """Makes TLS trust the certificate authorities of this machine, also in a compiled program.

    Its OpenSSL searches the paths of the distribution on which it was compiled, which may differ from this
    one. OpenSSL's environment variables have priority. Call it before the first use of TLS.
    """
    if not is_compiled() or "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        return
    for place in places:
        if os.path.exists(place):
            os.environ["SSL_CERT_FILE"] = place
            return


def give_back_pages(program: str) -> None:
    """Takes the pages of a mapped file out of the memory of this process, where they are as in the file.

    A compiled program holds the bytecode of its modules, which is read once, when they are loaded. What is
    needed again comes from the page cache.
    """
    try:
        mappings = Path("/proc/self/smaps").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return  # some kernels and sandboxes have no such file
    libc = ctypes.CDLL(None)
    start = length = 0
    for line in mappings:
        if mapping := _MAPPING.match(line):
            start = int(mapping[1], 16)
            length = int(mapping[2], 16) - start if mapping[4] == program and "w" not in mapping[3] else 0
        # Relocated pages can be read only, too, and are not as in the file.
        elif length and line.split() == ["Anonymous:", "0", "kB"]:
            # Fails for memory that is locked, which stays where it is.
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)


class Forked:
    """A process that is a copy of this one, as `asyncio.subprocess.Process` shows others."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Returns the exit status; negative: the signal that ended it."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()

        def wait() -> None:
            _, status = os.waitpid(self.pid, 0)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._ended, ended, os.waitstatus_to_exitcode(status))

        # As asyncio does for others. A daemon: a process that cannot be killed must not keep this one.
        threading.Thread(target=wait, name=f"wait-{self.pid}", daemon=True).start()
        return await ended

    def _ended(self, ended: "asyncio.Future[int]", status: int) -> None:
        self.returncode = status
        if not ended.cancelled():
            ended.set_result(status)


def fork(main: Callable[[], object], descriptors: Collection[int]) -> Forked:
    """Runs `main` in a copy of this process, with these open files and the standard ones.

    A copy has all modules at once, and shares their memory. Only a process without threads and without a
    running event loop can be copied. The copy has its own session, as its parent's other children, and never
    returns from here.
    """
    assert threading.active_count() == 1
    gc.freeze()  # a collection would write to every page of the copy
    if pid := os.fork():
        return Forked(pid)
    _run_copy(main, descriptors)


def _run_copy(main: Callable[[], object], descriptors: Collection[int]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        # Otherwise the end of one child, or of the parent, would not be seen by the others. The objects that
        # have these files stay referenced by the frames below, so none of them closes a number again.
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in descriptors:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        # As in a process of its own: one line of the log, without secrets.
        sys.excepthook(*sys.exc_info())
    finally:
        # Not sys.exit, which would run what the parent has left to do.
        try:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # closed when the program was started
                    stream.flush()
        finally:
            os._exit(status)


def name_process(name: str) -> None:
    """Shows `name`, of up to 15 characters, in `top` and `ps -o comm`."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


@contextlib.contextmanager
def without_authorities() -> Iterator[None]:
    """Within it, new TLS contexts read no certificate authorities, which takes 30 ms for each.

    aiohttp makes two when it is imported, for clients without a TLS context of their own.
    """
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before


def die_with_parent(channel: socket.socket | None = None) -> None:
    """Makes this process end with its parent, even after SIGKILL.

    It uses two ways, because each has a gap: the death signal misses a parent that died before this call, and
    end-of-file on `channel` needs a thread that is scheduled.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if channel is not None:
        threading.Thread(
            target=_end_at_end_of_file, args=(channel.fileno(),), name="parent-watch", daemon=True
        ).start()


def _end_at_end_of_file(fd: int) -> None:
    # Use a duplicate: the number of the original may be reused for another file while this thread waits. Wait
    # with poll, because the loop may have made the shared file description non-blocking.
    watched = socket.socket(fileno=os.dup(fd))
    poller = _poller(watched.fileno())
    while True:
        poller.poll()
        try:
            if watched.recv(4096) == b"":
                break
        except BlockingIOError:
            continue
        except OSError:
            break
    # Not sys.exit: this is not the main thread, and the parent is gone.
    os._exit(1)


def _poller(fd: int) -> "select.poll":
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return poller


async def beat(channel: socket.socket) -> None:
    """Writes a heartbeat every second while the event loop runs. Runs until it is cancelled."""
    channel.setblocking(False)
    while True:
        try:
            channel.send(ALIVE)
        except OSError:
            pass  # the parent reads slowly; the other thread handles end-of-file
        await asyncio.sleep(HEARTBEAT_S)
