"""Opens a log directory: checks the file system, takes the lock, recovers, begins a segment."""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from nealytics.config import WalConfig
from nealytics.errors import LogError, LogFull, LogLocked
from nealytics.wal import cursor, recovery, reserve
from nealytics.wal.cursor import Stored
from nealytics.wal.files import File, Files, make_directory
from nealytics.wal.recovery import Recovered
from nealytics.wal.writer import Writer

logger = logging.getLogger("nealytics.wal")

_LOCK_POLL_S = 0.1
# A successful fdatasync proves little on these: the bytes are on another machine, in memory, or in a layer
# that is thrown away.
FILESYSTEMS_REFUSED = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "overlay", "aufs", "tmpfs", "ramfs")
)


class Started(NamedTuple):
    lock: File
    recovered: Recovered
    writer: Writer


async def start(
    files: Files,
    directory: Path,
    config: WalConfig,
    *,
    segment_bytes_max: int,
    clock_ms: Callable[[], int],
    executor: Executor,
) -> Started:
    """Raises `LogLocked`, `LogDamaged` or `LogError`, as `Log.open` does. I/O runs in `executor`."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(executor, _prepare, files, directory, config)
    lock = await _take_lock(files, directory, config.lock_timeout_s)
    try:
        recovered, writer = await loop.run_in_executor(
            executor, _recover, files, directory, segment_bytes_max, clock_ms
        )
    except BaseException:
        lock.close()
        raise
    return Started(lock, recovered, writer)


def _prepare(files: Files, directory: Path, config: WalConfig) -> None:
    """Makes the directory, for its owner only, on a file system that keeps what it has synced."""
    try:
        make_directory(files, directory)
        files.restrict(directory)
    except OSError as error:
        raise LogError(
            f"wal: cannot use the directory {directory}: {error}; fix it, or set wal.directory"
        ) from error
    filesystem = files.filesystem(directory)
    if filesystem in FILESYSTEMS_REFUSED and not config.allow_any_filesystem:
        raise LogError(
            f"wal: {directory} is on {filesystem}, which can lose synced data; set wal.directory to "
            "a local disk (in a container: a volume), or wal.allow_any_filesystem = true if losing events is "
            "acceptable"
        )


async def _take_lock(files: Files, directory: Path, timeout_s: float) -> File:
    path = directory / "LOCK"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    is_logged = False
    while (lock := _try_lock(files, path)) is None:
        holder = _holder(files, path)
        if loop.time() >= deadline:
            raise LogLocked(
                f"wal: {directory} is locked by {holder} and was not released within {timeout_s:g} s; stop "
                "that process, or give this one a wal.directory of its own"
            )
        if not is_logged:
            logger.warning(
                "wal: waiting up to %g s for %s, which %s has locked", timeout_s, directory, holder
            )
            is_logged = True
        await asyncio.sleep(min(_LOCK_POLL_S, timeout_s))
    try:
        lock.truncate(0)
        lock.append(f"{os.getpid()}\n".encode())
    except OSError:
        pass  # the pid is a courtesy; the lock is held
    return lock


def _try_lock(files: Files, path: Path) -> File | None:
    try:
        return files.try_lock(path)
    except OSError as error:
        raise LogError(f"wal: cannot lock {path}: {error}; give this user write permission") from error


def _holder(files: Files, path: Path) -> str:
    try:
        file = files.open(path)
    except OSError:
        return "another process"
    try:
        pid = file.read(0, 20).strip()
    finally:
        file.close()
    return f"process {pid.decode()}" if pid.isdigit() else "another process"


def _recover(
    files: Files, directory: Path, segment_bytes_max: int, clock_ms: Callable[[], int]
) -> tuple[Recovered, Writer]:
    try:
        recovered, writer = _recover_once(files, directory, segment_bytes_max, clock_ms)
    except LogFull:
        # A start must work on a full disk: only a running node sends the log to ClickHouse, and that makes
        # room.
        logger.warning("wal: %s: the disk is full; deleting committed segments and the reserve", directory)
        recovery.release_committed(files, directory)
        reserve.release(files, directory)
        return _recover_once(files, directory, segment_bytes_max, clock_ms)
    reserve.restore(files, directory)
    return recovered, writer


def _recover_once(
    files: Files, directory: Path, segment_bytes_max: int, clock_ms: Callable[[], int]
) -> tuple[Recovered, Writer]:
    recovered = recovery.recover(files, directory, clock_ms)
    # Stored again even if it is unchanged, and before the first segment of a new log: a cursor that was
    # renamed but whose directory could not be synced is visible now and gone after a power loss.
    cursor.store(
        files, directory, Stored(recovered.log_id, recovered.cursor, durable_lsn=recovered.next_lsn - 1)
    )
    writer = Writer(
        files,
        directory,
        recovered.log_id,
        next_lsn=recovered.next_lsn,
        previous_first_lsn=recovered.previous_first_lsn,
        previous_crc=recovered.previous_crc,
        segment_bytes_max=segment_bytes_max,
        clock_ms=clock_ms,
        cursor_lsn=recovered.cursor.done_lsn,
    )
    return recovered, writer
