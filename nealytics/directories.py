"""Directories of events or secrets: private, and durable."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def make_private(path: Path) -> None:
    """Makes `path` and the parents it lacks, each with mode 0700.

    `Path.mkdir(mode, parents=True)` gives its mode to the last one only. What is there already keeps the mode
    that its owner gave it. Raises `OSError`.
    """
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process of the node came first
            directory.mkdir(mode=0o700)
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


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time holds the lock of this directory; others wait for it. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
