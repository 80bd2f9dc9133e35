"""The embedded engine as its neighbours see it: how to reach it, and how to have one running.

The engine itself, in the child process, is `embedded_child`. A node has one; its supervisor chooses its port
and passwords and starts it. A command that needs ClickHouse while no node runs starts one for the duration.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from nealytics.clickhouse.saved_reader import scope_key
from nealytics.config import ClickHouseConfig, Config, config_to_json, split_listen
from nealytics.config.tables import Secret
from nealytics.directories import refuse_root, sync_directory
from nealytics.errors import ConfigError, NealyticsError
from nealytics.process import self_command

log = logging.getLogger("nealytics.engine")

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0
MIB = 1024**2
# Its own files are 1 MB at first. The rest is for an insert of the largest batch (32 MiB) and a merge of it.
FREE_BYTES_MIN = 64 * MIB
STOP_TIMEOUT_S = 15.0


def engine_dir(data_dir: Path) -> Path:
    """Where the engine keeps its tables."""
    return data_dir.absolute() / "clickhouse"


def run_dir(data_dir: Path) -> Path:
    """What a running engine was told: its configuration, made again at each start."""
    return engine_dir(data_dir) / "run"


def free_bytes(directory: Path) -> int:
    """Disk space that a user without privileges may still use there, or above if it does not exist yet."""
    while not directory.exists():
        directory = directory.parent
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def no_room_for_engine(data_dir: Path) -> str | None:
    """Why the disk has too little room for the engine to start and to work; None if it has enough.

    Ask this first: an engine without disk space fails in many ways, and no message of it says why.
    """
    free = free_bytes(data_dir.absolute())
    if free >= FREE_BYTES_MIN:
        return None
    return (
        f"engine: {data_dir} has {free / MIB:.1f} MiB of disk space free, and the embedded ClickHouse needs "
        f"{FREE_BYTES_MIN // MIB} MiB to start; free some, or set server.data_dir to another disk"
    )


def sync_metadata(data_dir: Path) -> None:
    """Makes the contents of the engine's directories durable: databases, tables, and the files that describe
    them.

    The engine syncs such a file and not the directory that it renames it into. Where a file system does not
    order the two, a power loss leaves the parts of a table that nothing describes. Blocks.
    """
    top = engine_dir(data_dir)
    directories = [top, top / "metadata", top / "store"]
    directories += [*top.glob("metadata/*/"), *top.glob("store/*/"), *top.glob("store/*/*/")]
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):  # of a table that was dropped meanwhile
            sync_directory(directory)


class Access(msgspec.Struct, frozen=True):
    """How to reach an engine: its port on loopback, and the passwords of the users that it has for us."""

    port: int
    writer: Secret
    reader: Secret
    saved: Secret = ""  # of saved queries
    operator: Secret = ""  # all rights; only in an engine that a command starts for itself

    @classmethod
    def create(cls, port: int, *, operator: bool = False) -> "Access":
        """With new passwords."""
        writer, reader, saved, all_rights = (secrets.token_urlsafe(32) for _ in range(4))
        return cls(port, writer, reader, saved, all_rights if operator else "")

    @classmethod
    def from_json(cls, data: bytes) -> "Access":
        return msgspec.json.decode(data, type=cls)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @property
    def secrets(self) -> list[str]:
        found = [secret for secret in (self.writer, self.reader, self.saved, self.operator) if secret]
        return [*found, scope_key(self.saved)]

    def __repr__(self) -> str:
        return f"Access(port={self.port})"

    @property
    def user(self) -> tuple[str, str]:
        """Name and password of the user with the most rights."""
        return ("operator", self.operator) if self.operator else ("writer", self.writer)


def loopback_is_enough(config: ClickHouseConfig) -> bool:
    return not config.embedded_listen


def listen_hosts(config: ClickHouseConfig) -> list[str]:
    """The addresses of the engine: loopback for the node, and the one for people's tools.

    Raises `ConfigError` if a host name has no address.
    """
    if loopback_is_enough(config):
        return [LOOPBACK]
    address = _address_of(split_listen(config.embedded_listen)[0])
    return [address] if address in ("0.0.0.0", "::", LOOPBACK) else [LOOPBACK, address]


def _address_of(host: str) -> str:
    """An address as it is, of a name one address: the engine takes one for each name."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return host
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise ConfigError(
            f'config: clickhouse.embedded_listen names the host "{host}", which has no address: '
            f"{error.strerror}; write an address of this machine"
        ) from error
    return min(found, key=lambda address: (":" in address, address))  # the node itself speaks IPv4


def reserve_ports(config: ClickHouseConfig) -> tuple[contextlib.ExitStack, int]:
    """The HTTP port for an engine, and sockets that keep all its ports from other users' programs until they
    are closed. Raises `ConfigError` if a program has one.

    Such a program would be sent the writer's password, and could answer an insert that it threw away.
    """
    port = 0 if loopback_is_enough(config) else split_listen(config.embedded_listen)[1]
    # Once without sharing, which fails beside any other program, also one of our own user.
    bind_ports(config, port, socket.SO_REUSEADDR)[0].close()
    return bind_ports(config, port, socket.SO_REUSEPORT)


def bind_ports(
    config: ClickHouseConfig, port: int, sharing: int = socket.SO_REUSEPORT
) -> tuple[contextlib.ExitStack, int]:
    """Sockets on all that an engine binds, none of which listens, and the HTTP port: a free one for 0.

    With SO_REUSEPORT the engine binds the same beside them, again after each restart, and the kernel refuses
    the programs of other users. Raises `ConfigError` if something cannot be bound.
    """
    with contextlib.ExitStack() as held:
        for host in listen_hosts(config):
            sock = _bound(host, port, sharing, "clickhouse.embedded_listen")
            held.enter_context(sock)
            port = sock.getsockname()[1]
            if native := config.embedded_native_port:
                held.enter_context(_bound(host, native, sharing, "clickhouse.embedded_native_port"))
        return held.pop_all(), port


def _bound(host: str, port: int, sharing: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, sharing, 1)
        if host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # as ClickHouse: IPv4 as well
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"config: {key} makes the embedded ClickHouse listen on {host} port {port}, and that failed: "
            f"{error.strerror or error}; stop the process that uses the port, or choose another"
        ) from error
    return sock


def access_path(data_dir: Path) -> Path:
    """Where a running engine leaves its access for commands."""
    return engine_dir(data_dir) / "access.json"


def write_access(data_dir: Path, access: Access) -> None:
    path = access_path(data_dir)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(0o600)
    unfinished.write_bytes(access.to_json())
    unfinished.replace(path)


def read_access(data_dir: Path) -> Access | None:
    """The access of the engine that was started last; None if there was none. It may have ended since."""
    try:
        return Access.from_json(access_path(data_dir).read_bytes())
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None
    except OSError as error:
        raise NealyticsError(
            f"engine: {access_path(data_dir)} cannot be read: {error.strerror}; run the command as the user "
            "of the node"
        ) from error


@contextlib.asynccontextmanager
async def running_engine(config: Config, *, operator: bool = False) -> AsyncIterator[None]:
    """Within it, the ClickHouse of `config` can be reached.

    For a server there is nothing to do. An embedded engine that runs is used; otherwise one is started, and
    stopped at the end. With `operator` one is started that has a user with all rights, so the node must be
    stopped. Raises `NealyticsError` if it does not start, or if root would start it in another user's
    directory.
    """
    if config.clickhouse.url != "embedded":
        yield
        return
    data_dir = config.server.data_dir
    if not operator and (running := read_access(data_dir)) is not None and await answers(running):
        yield
        return
    refuse_root("engine", data_dir, engine_dir(data_dir))
    alone = msgspec.structs.replace(
        config,
        # A command wants to hear of the engine only if something is wrong, and nobody else is to reach it.
        observe=msgspec.structs.replace(config.observe, log_level="warning"),
        clickhouse=msgspec.structs.replace(config.clickhouse, embedded_listen="", embedded_native_port=0),
    )
    reserved, port = reserve_ports(alone.clickhouse)
    access = Access.create(port, operator=operator)
    ours, theirs = socket.socketpair()
    config_fd, access_fd = memory_file(config_to_json(alone)), memory_file(access.to_json())
    try:
        executable, argv = self_command(
            "embedded-child",
            f"--config-fd={config_fd}",
            f"--access-fd={access_fd}",
            f"--parent-fd={theirs.fileno()}",
        )
        process = await asyncio.create_subprocess_exec(
            *argv,
            executable=executable,
            pass_fds=(config_fd, access_fd, theirs.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            # Of its own, so that Ctrl-C, which reaches the whole group, does not reach it.
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        reserved.close()
        raise
    finally:
        theirs.close()
        os.close(config_fd)
        os.close(access_fd)
    try:
        await _wait_until_it_answers(process, data_dir, access)
        yield
    finally:
        await _stop(process)
        ours.close()
        reserved.close()


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _wait_until_it_answers(process: asyncio.subprocess.Process, data_dir: Path, access: Access) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    # It writes its access once it answers.
    while read_access(data_dir) != access:
        if process.returncode is not None:
            raise NealyticsError(
                f"engine: the embedded ClickHouse did not start (exit status {process.returncode}); "
                "its own message above says why"
            )
        if time.monotonic() > deadline:
            raise NealyticsError(
                f"engine: the embedded ClickHouse does not answer on port {access.port} after "
                f"{START_TIMEOUT_S:.0f} s"
            )
        await asyncio.sleep(0.02)


async def answers(access: Access) -> bool:
    """Whether the engine of this access takes requests. Another program may have its port by now."""
    user, password = access.user
    head = (
        f"GET /?query=SELECT%201 HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n"
        f"X-ClickHouse-User: {user}\r\nX-ClickHouse-Key: {password}\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, access.port)
    except OSError:
        return False
    try:
        writer.write(head.encode())
        status_line = await asyncio.wait_for(reader.readline(), 5.0)
        return b" 200 " in status_line
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


def memory_file(data: bytes) -> int:
    """A descriptor of a file in memory, for what holds secrets and is not for a command line."""
    fd = os.memfd_create("nealytics", 0)
    os.write(fd, data)
    return fd


def append_line(fd: int, line: bytes) -> None:
    """Appends to a memory file whose content is lines. A reader takes the last complete one."""
    os.pwrite(fd, line + b"\n", os.fstat(fd).st_size)


def last_line_of(fd: int) -> bytes:
    lines = contents_of(fd).split(b"\n")
    # What follows the last newline is being written, or there is only one line, without a newline.
    return lines[-2] if len(lines) > 1 else lines[0]


def contents_of(fd: int) -> bytes:
    """What the parent put into a memory file; read by position, since all children share the offset."""
    return os.pread(fd, os.fstat(fd).st_size, 0)
