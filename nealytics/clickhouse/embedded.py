"""The embedded engine as its neighbours see it: where its socket is, and how to have one running.

The engine itself, in the child process, is `embedded_child`. A node has one; its supervisor starts it. A
command that needs ClickHouse while no node runs starts one for the duration.
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from nealytics.config import Config, config_to_json
from nealytics.directories import make_private
from nealytics.errors import NealyticsError
from nealytics.process import self_command

log = logging.getLogger("nealytics.engine")

# The kernel's sun_path has 108 bytes, the last one a NUL.
_SOCKET_PATH_BYTES_MAX = 107
START_TIMEOUT_S = 60.0
MIB = 1024**2
# Its own files are 1 MB at first. The rest is for an insert of the largest batch (32 MiB) and a merge of it.
FREE_BYTES_MIN = 64 * MIB
STOP_TIMEOUT_S = 15.0


def engine_dir(data_dir: Path) -> Path:
    """Where chDB keeps its tables."""
    return data_dir.absolute() / "clickhouse"


def free_bytes(directory: Path) -> int:
    """What a user without privileges may still write there; or above it, where it is not made yet."""
    while not directory.exists():
        directory = directory.parent
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def no_room_for_engine(data_dir: Path) -> str | None:
    """Why the disk has too little room for the engine to start and to work; None if it has enough.

    To be asked first: an engine that finds no room fails in many ways, and names none of them as this.
    """
    free = free_bytes(data_dir.absolute())
    if free >= FREE_BYTES_MIN:
        return None
    return (
        f"engine: {data_dir} has {free / MIB:.1f} MiB of disk space free, and the embedded ClickHouse needs "
        f"{FREE_BYTES_MIN // MIB} MiB to start; free some, or set server.data_dir to another disk"
    )


def sync_metadata(data_dir: Path) -> None:
    """Makes durable what the engine's directories contain: databases, tables, and the files that describe
    them.

    The engine syncs such a file and not the directory that it renames it into. Where a file system does not
    order the two, a power loss leaves the parts of a table that nothing describes. Blocks.
    """
    top = engine_dir(data_dir)
    directories = [top, top / "metadata", top / "store"]
    directories += [*top.glob("metadata/*/"), *top.glob("store/*/"), *top.glob("store/*/*/")]
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):  # of a table that was dropped meanwhile
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def socket_path(data_dir: Path) -> Path:
    """The engine's unix socket: in the data directory, or, where that path is too long for a socket, in a
    directory under /tmp that only this user can enter. The same for every process of the node."""
    path = data_dir.absolute() / "clickhouse.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        return path
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    return Path(f"/tmp/nealytics-{os.getuid()}-{name}") / "clickhouse.sock"


def prepare_socket_directory(path: Path) -> None:
    """Makes the directory of the socket, and refuses one that another user could have put there."""
    make_private(path.parent)
    if path.parent.parent == Path("/tmp"):
        about = path.parent.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
            raise NealyticsError(
                f"engine: {path.parent} is not a directory that only user {os.getuid()} can enter; remove it "
                "or choose a shorter server.data_dir, so that the socket fits there"
            )


@contextlib.asynccontextmanager
async def running_engine(config: Config) -> AsyncIterator[None]:
    """Within it, the ClickHouse of `config` can be reached.

    For a server there is nothing to do. An embedded engine that runs is used; otherwise one is started, and
    stopped at the end. Raises `NealyticsError` if it does not start.
    """
    if config.clickhouse.url != "embedded":
        yield
        return
    path = socket_path(config.server.data_dir)
    if await answers(path):
        yield
        return
    ours, theirs = socket.socketpair()
    config_fd = os.memfd_create("nealytics-config", 0)
    try:
        # Whoever runs a command wants to hear of the engine only if something is wrong.
        quiet = msgspec.structs.replace(
            config, observe=msgspec.structs.replace(config.observe, log_level="warning")
        )
        os.write(config_fd, config_to_json(quiet))
        executable, argv = self_command(
            "embedded-child", f"--config-fd={config_fd}", f"--parent-fd={theirs.fileno()}"
        )
        process = await asyncio.create_subprocess_exec(
            *argv,
            executable=executable,
            pass_fds=(config_fd, theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            # Of its own, because ClickHouse's SYSTEM SHUTDOWN and SYSTEM KILL signal the whole group.
            start_new_session=True,
        )
    finally:
        theirs.close()
        os.close(config_fd)
    try:
        await _wait_until_it_answers(process, path)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        ours.close()


async def _wait_until_it_answers(process: asyncio.subprocess.Process, path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not await answers(path):
        if process.returncode is not None:
            raise NealyticsError(
                f"engine: the embedded ClickHouse did not start (exit status {process.returncode}); "
                "its own message above says why"
            )
        if time.monotonic() > deadline:
            raise NealyticsError(
                f"engine: the embedded ClickHouse does not answer on {path} after {START_TIMEOUT_S:.0f} s"
            )
        await asyncio.sleep(0.05)


async def answers(path: Path) -> bool:
    """Whether an engine takes requests on this socket."""
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    try:
        writer.write(b"GET /ping HTTP/1.1\r\nHost: embedded\r\nConnection: close\r\n\r\n")
        status_line = await asyncio.wait_for(reader.readline(), 5.0)
        return b" 200 " in status_line
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
