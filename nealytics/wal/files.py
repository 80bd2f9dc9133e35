"""Every file operation of the log, behind the protocol `Files`.

A test can make the third fdatasync fail, and a simulated disk can run the production code and lose what was
never synced. The production implementation is a thin layer over the system calls: it retries nothing, hides
nothing, and raises the `OSError` of the call. In `publish` and `make_directory` the *order* of the calls
matters; they are written once, here.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from nealytics.directories import sync_directory
from nealytics.errors import LogBroken, LogFull

# The disk is full, or the quota is used up. What is stored already is not affected.
NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
# What a read fails with if the disk, or the checksums of the file system, cannot deliver the bytes.
UNREADABLE = frozenset((errno.EIO, errno.EBADMSG, errno.EUCLEAN))

_NO_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE))
_TEMPORARY = ".tmp"


class Readable(Protocol):
    """A file that is only read."""

    def read(self, offset: int, length: int) -> bytes: ...

    def close(self) -> None: ...


class File(Protocol):
    """One open file."""

    @property
    def descriptor(self) -> int | None:
        """Of a file of the system, for `appender`; None if only these methods may be used."""

    def append(self, data: bytes) -> int:
        """Writes at the end; returns how many bytes were written, which may be fewer."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def size(self) -> int: ...

    def truncate(self, length: int) -> None: ...

    def preallocate(self, length: int) -> None:
        """Claims disk space, so that releasing it later makes room."""

    def sync(self) -> None:
        """fdatasync. After an error the state of the file on disk is unknown for good."""

    def close(self) -> None: ...


class Files(Protocol):
    """What the log needs of a file system."""

    def exists(self, path: Path) -> bool: ...

    def mkdir(self, path: Path) -> None:
        """Makes one directory, for its owner only."""

    def restrict(self, path: Path) -> None:
        """Takes a directory's permissions away from everyone but its owner."""

    def names(self, directory: Path) -> list[str]: ...

    def create(self, path: Path) -> File:
        """Opens an empty file for appending, mode 0600; one that was there is emptied."""

    def open(self, path: Path) -> File:
        """Opens for reading."""

    def rename(self, source: Path, target: Path) -> None: ...

    def link(self, source: Path, target: Path) -> None:
        """A second name for the same file; `FileExistsError` if `target` exists."""

    def unlink(self, path: Path) -> None: ...

    def sync_directory(self, path: Path) -> None:
        """Makes the names in a directory durable."""

    def try_lock(self, path: Path) -> File | None:
        """Takes an exclusive lock that ends with the process or `close`; None if another process has it."""

    def free_bytes(self, path: Path) -> int:
        """What this user may still write on the file system of `path`."""

    def filesystem(self, path: Path) -> str:
        """Its type as the kernel names it ("ext4"); empty if unknown."""


class _OsFile:
    def __init__(self, path: Path, flags: int) -> None:
        self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)

    @property
    def descriptor(self) -> int:
        return self._fd

    def append(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def read(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        # The kernel returns at most 2 GiB at a time and may return less; only an empty result is the end.
        while 0 < len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def truncate(self, length: int) -> None:
        os.ftruncate(self._fd, length)

    def preallocate(self, length: int) -> None:
        os.posix_fallocate(self._fd, 0, length)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def lock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        os.close(self._fd)


class OsFiles:
    """The real thing."""

    def exists(self, path: Path) -> bool:
        return path.exists()

    def mkdir(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def restrict(self, path: Path) -> None:
        path.chmod(0o700)

    def names(self, directory: Path) -> list[str]:
        return os.listdir(directory)

    def create(self, path: Path) -> File:
        # O_APPEND: after a truncate, the next write starts at the new end and leaves no hole.
        return _OsFile(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC)

    def open(self, path: Path) -> File:
        return _OsFile(path, os.O_RDONLY)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        os.link(source, target)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def sync_directory(self, path: Path) -> None:
        sync_directory(path)

    def try_lock(self, path: Path) -> File | None:
        # Root locks a log of another user to salvage it, and a link must not make it create a file elsewhere.
        file = _OsFile(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
        try:
            file.lock()
        except BlockingIOError:
            file.close()
            return None
        return file

    def free_bytes(self, path: Path) -> int:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def filesystem(self, path: Path) -> str:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
        return filesystem_of(path.resolve(), mounts)


OS_FILES: Files = OsFiles()


def filesystem_of(path: Path, mounts: str) -> str:
    """The file system type that `mounts` (the text of /proc/self/mountinfo) gives for an absolute `path`."""
    best, found = -1, ""
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not source:
            continue
        # The kernel writes space, tab, newline and backslash of a mount point as \ooo.
        point = Path(fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape"))
        # ">=": of two mounts on one point, the later line hides the earlier.
        if len(point.parts) >= best and path.is_relative_to(point):
            best, found = len(point.parts), source.split(" ")[0]
    return found


def make_directory(files: Files, path: Path) -> None:
    """Makes `path` and the parents it lacks; their names are durable on return."""
    missing = []
    while not files.exists(path):
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            files.mkdir(directory)
        except FileExistsError:
            pass  # workers that start together make the directory they share; each syncs it
        files.sync_directory(directory.parent)


def write_whole(file: File, data: bytes) -> None:
    """Appends all of `data`, or raises. The caller truncates what a short write has left."""
    # The kernel writes less if the disk, a quota or a limit ends inside the data.
    if (taken := file.append(data)) != len(data):
        raise OSError(errno.ENOSPC, f"only {taken} of {len(data)} bytes were written")


def publish(files: Files, path: Path, data: bytes) -> File:
    """Puts a file with `data` at `path`, all or nothing, durable on return; an older file is replaced.

    Returns it open for appending. Raises `LogFull` if there is no room (nothing has changed then) and
    `LogBroken` if anything else fails: whether the disk has the old or the new file is then unknown.
    """
    return publish_chunks(files, path, (data,))


def publish_chunks(files: Files, path: Path, chunks: Iterable[bytes]) -> File:
    """`publish`, without all of the data in memory at once."""
    temporary = path.with_name(path.name + _TEMPORARY)
    file: File | None = None
    try:
        file = files.create(temporary)
        for chunk in chunks:
            write_whole(file, chunk)
        _sync(file, path)
        files.rename(temporary, path)
    except OSError as error:
        if file is not None:
            file.close()
        _discard(files, temporary)
        if error.errno in NO_ROOM:
            raise LogFull(f"wal: no room for {path}: {error.strerror}; free some disk space") from error
        if file is None and error.errno in _NO_DESCRIPTORS:
            # Nothing was written yet, and connections that close release descriptors.
            raise LogFull(
                f"wal: {path} cannot be created: {error.strerror}; raise the limit (ulimit -n)"
            ) from error
        raise LogBroken(f"wal: writing {path} failed: {error}; restart to recover") from error
    except LogBroken:
        assert file is not None
        file.close()
        raise
    try:
        # The directory too: a new file's name is not durable until its directory is.
        files.sync_directory(path.parent)
    except OSError as error:
        file.close()
        raise LogBroken(
            f"wal: syncing the directory {path.parent} failed: {error}; restart to recover"
        ) from error
    return file


def is_temporary(name: str) -> bool:
    """Whether `name` is that of a `publish` that was interrupted."""
    return name.endswith(_TEMPORARY)


def _sync(file: File, path: Path) -> None:
    try:
        file.sync()
    except OSError as error:
        # ENOSPC too: a failed sync is never retried, because the kernel may have dropped the pages.
        raise LogBroken(f"wal: fdatasync of {path} failed: {error}; restart to recover") from error


def _discard(files: Files, path: Path) -> None:
    try:
        files.unlink(path)
    except OSError:
        pass  # a leftover is removed at the next start
