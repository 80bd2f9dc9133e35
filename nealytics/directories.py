"""Directories of events or secrets: private, durable, and of one owner.

A command that root runs must leave no file that the node, as another user, cannot read or replace. So what
root makes here belongs to the owner of the directory that it is in.
"""

import contextlib
import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from nealytics.errors import NealyticsError


def make_private(path: Path) -> None:
    """Makes `path` and the parents it lacks, each with mode 0700.

    `Path.mkdir(mode, parents=True)` gives its mode to the last one only. What is there already keeps the mode
    that its owner gave it. Raises `OSError`.
    """
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process of the node came first
            make_directory(directory)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def make_durable(path: Path) -> None:
    """`make_private`, durable on return."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    make_private(path)
    for directory in missing:
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Makes the names in `path` durable: a new or renamed file is not durable until its directory is.

    Raises `OSError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Makes one directory, mode 0700. Raises `OSError`."""
    with _parent(path) as parent:
        os.mkdir(path.name, 0o700, dir_fd=parent)
        if os.geteuid() == 0:
            made = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                _give(made, parent)
            finally:
                os.close(made)


def open_file(path: Path, flags: int) -> int:
    """`os.open` of a file to write to; a new one has mode 0600. Raises `OSError`."""
    flags |= os.O_CLOEXEC
    if os.geteuid() != 0:
        return os.open(path, flags, 0o600)
    # The owner of the directory must not make root write elsewhere.
    with _parent(path) as parent:
        file = os.open(path.name, flags | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        _give(file, parent)
        return file


@contextlib.contextmanager
def _parent(path: Path) -> Iterator[int]:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _give(descriptor: int, directory: int) -> None:
    owner, status = os.fstat(directory), os.fstat(descriptor)
    # A file with another name may be one of root's that is somewhere else.
    if status.st_uid == 0 != owner.st_uid and (status.st_nlink == 1 or stat.S_ISDIR(status.st_mode)):
        # A root without the right to do it, as in a container, may be the user of the node.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_tree(top: Path, owned: Path) -> None:
    """Gives all that is in `top` and belongs to root to the owner of `owned`. Nothing unless root calls it.
    Raises `OSError`."""
    owner = owned.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for _, directories, files, directory in os.fwalk(top):
        for name in (".", *directories, *files):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid == 0:
                    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=directory, follow_symlinks=False)


def require_owner(part: str, path: Path, *, root: bool = True) -> None:
    """Raises `NealyticsError` unless this process runs as the owner of `path`, or, with `root`, as root."""
    try:
        owner = path.stat().st_uid
    except FileNotFoundError:
        return
    caller = os.geteuid()
    if caller == owner or (root and caller == 0):
        return
    name = _user(owner)
    raise NealyticsError(
        f"{part}: {path} belongs to {name}, and this process runs as {_user(caller)}; run it as {name}: "
        f"sudo -u '{name}' nealytics {part} … (docs/install.md has it for systemd)"
    )


def _user(id: int) -> str:
    """As sudo and ps know it."""
    try:
        return pwd.getpwuid(id).pw_name
    except KeyError:
        return f"#{id}"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time holds the lock of this directory; others wait for it. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
