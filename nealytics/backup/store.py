"""Where a backup is, and a backup in a directory of this machine.

A `Store` is one backup, or the place of several. ClickHouse writes and reads the table's part itself, at the
location that `located` gives; the rest goes through the store.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from nealytics.clickhouse.embedded import run_dir
from nealytics.clickhouse.embedded_config import BACKUP_DISK, BACKUP_LINKS
from nealytics.directories import make_durable, make_private
from nealytics.wal.files import OS_FILES, publish

_SCRATCH = "backup-tmp-"
_CHUNK_BYTES = 1024 * 1024


class Store(Protocol):
    def __str__(self) -> str:
        """As a person names it."""

    def at(self, path: str) -> "Store":
        """The store at a relative path, such as "name" or "../name"."""

    def path_to(self, other: "Store") -> str | None:
        """The relative path from this one to another; None if there is none."""

    async def sizes(self) -> dict[str, int]:
        """Every file's name and size; empty if nothing is there."""

    async def names(self) -> list[str]:
        """The stores directly below this one."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Raises `FileNotFoundError` if there is no such file."""

    async def write(self, name: str, data: bytes) -> None:
        """Durable on return."""

    def collecting(self, data_dir: Path) -> contextlib.AbstractAsyncContextManager[Path]:
        """A directory whose files are in the store, durable, when the context ends. `data_dir` has room
        for what must be kept there meanwhile."""

    def fetched(self, names: list[str], data_dir: Path) -> contextlib.AbstractAsyncContextManager[Path]:
        """A directory with these files of the store, to read only."""

    async def sync(self) -> None:
        """Makes what ClickHouse wrote durable."""

    async def delete(self) -> None:
        """The manifest first: what is left by a crash is not complete."""

    def located(self, data_dir: Path) -> contextlib.AbstractContextManager[str]:
        """Where the engine of `data_dir` finds the store, as a path of a disk in SQL."""


class DirectoryStore:
    def __init__(self, path: Path, name: str = "") -> None:
        """`name` is what people are told, if `path` is only where a stream is meanwhile."""
        self.path = path.absolute()
        self._name = name or str(self.path)

    def __str__(self) -> str:
        return self._name

    def at(self, path: str) -> "DirectoryStore":
        return DirectoryStore(Path(os.path.normpath(self.path / path)))

    def path_to(self, other: Store) -> str | None:
        return os.path.relpath(other.path, self.path) if isinstance(other, DirectoryStore) else None

    async def sizes(self) -> dict[str, int]:
        return {
            str(PurePosixPath(path.relative_to(self.path))): path.stat().st_size
            for path in self.path.rglob("*")
            if path.is_file()
        }

    async def names(self) -> list[str]:
        return (
            sorted(path.name for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else []
        )

    async def read(self, name: str) -> AsyncIterator[bytes]:
        with (self.path / name).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    async def write(self, name: str, data: bytes) -> None:
        publish(OS_FILES, self.path / name, data).close()

    @contextlib.asynccontextmanager
    async def collecting(self, data_dir: Path) -> AsyncIterator[Path]:
        make_durable(self.path)
        yield self.path

    @contextlib.asynccontextmanager
    async def fetched(self, names: list[str], data_dir: Path) -> AsyncIterator[Path]:
        yield self.path

    async def sync(self) -> None:
        sync_tree(self.path)

    async def delete(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.path / "manifest.json").unlink()
        shutil.rmtree(self.path)

    @contextlib.contextmanager
    def located(self, data_dir: Path) -> Iterator[str]:
        # The engine may write to a disk that is this directory of links, and nowhere else.
        name = secrets.token_hex(8)
        link = run_dir(data_dir) / BACKUP_LINKS / name
        link.symlink_to(self.path)
        try:
            yield f"Disk('{BACKUP_DISK}', '{name}/table/')"
        finally:
            link.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch(data_dir: Path) -> Iterator[Path]:
    """A directory for what a command keeps on the node's disk meanwhile. Removes those of killed commands."""
    make_private(data_dir)
    for path in data_dir.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError), _locked(path):
            shutil.rmtree(path)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=_SCRATCH) as directory, _locked(Path(directory)):
        yield Path(directory)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Raises `OSError` if another process has it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def sync_tree(top: Path) -> None:
    """Makes a file, or a directory with all that is in it, durable."""
    for path in (*top.rglob("*"), top):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
