"""Processes of one program: how it starts itself again, and how a child ends when its parent does.

A child gets one end of a socket pair. Over it, the child says that it is ready and, once a second, that its
loop still turns; when it reads end-of-file there, its parent is gone.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import sys
import threading

READY = b"R"
ALIVE = b"."
HEARTBEAT_S = 1.0

# The exit status of a child whom a restart cannot help: bad configuration, a damaged log, a locked directory.
EXIT_UNUSABLE = 78  # EX_CONFIG of sysexits.h

# The log, ClickHouse, the loop, the program itself.
_FILES_BESIDE_CONNECTIONS = 200

_PR_SET_PDEATHSIG = 1

# Where distributions keep the authorities that they trust: Debian and Alpine, RHEL, SUSE, others.
AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def raise_open_files_limit() -> None:
    """To the most that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files_problem(connections_max: int) -> str | None:
    """Why a worker cannot have as many connections as it may; None if it can."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + _FILES_BESIDE_CONNECTIONS
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return None
    return (
        f"at most {hard} open files per process, but server.connections_max is {connections_max}; "
        f"raise it to {wanted} (LimitNOFILE of the unit, ulimit -n) or lower connections_max"
    )


def is_compiled() -> bool:
    """Whether this is the executable, which has no Python that one could install into."""
    return "__compiled__" in globals()


def self_command(*args: str) -> tuple[str, list[str]]:
    """The executable and the argv that run this program again with `args`.

    Through /proc/self/exe, so that it is the same program also after its file was replaced by an upgrade. In
    a compiled program `sys.executable` is not a Python, so there the program is run by its own name.
    """
    if is_compiled():
        return "/proc/self/exe", [sys.argv[0], *args]
    return "/proc/self/exe", [sys.executable, "-m", "nealytics", *args]


def find_authorities(places: tuple[str, ...] = AUTHORITIES) -> None:
    """From now on TLS trusts the authorities of this machine, in a compiled program, too.

    Its OpenSSL looks where the distribution has them on which it was compiled, and that is another place than
    here. Who set one of OpenSSL's variables is heeded. Call it before the first use of TLS.
    """
    if not is_compiled() or "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        return
    for place in places:
        if os.path.exists(place):
            os.environ["SSL_CERT_FILE"] = place
            return


def die_with_parent(channel: socket.socket | None = None) -> None:
    """From now on this process ends when its parent does, SIGKILL included.

    Twice, because each way has a gap: the death signal misses a parent that died before this call, and
    end-of-file on `channel` needs a thread of ours to be scheduled.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if channel is not None:
        threading.Thread(
            target=_end_at_end_of_file, args=(channel.fileno(),), name="parent-watch", daemon=True
        ).start()


def _end_at_end_of_file(fd: int) -> None:
    # A duplicate: the descriptor's number must not come to mean another file while this thread waits on it.
    # Blocking by poll, since the loop may have made the shared file description non-blocking.
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
    # Not sys.exit: this is not the main thread, and there is nobody left to report to.
    os._exit(1)


def _poller(fd: int) -> "select.poll":
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return poller


async def beat(channel: socket.socket) -> None:
    """Writes a sign of life every second, for as long as this loop turns. Runs until it is cancelled."""
    channel.setblocking(False)
    while True:
        try:
            channel.send(ALIVE)
        except OSError:
            pass  # a full buffer means that the parent is behind; end-of-file is the other thread's business
        await asyncio.sleep(HEARTBEAT_S)
