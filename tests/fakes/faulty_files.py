"""The real file system, with a record of what was asked of it and faults where a test wants them."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from nealytics.wal.files import OS_FILES, File, Files


class FaultyFiles:
    """`OS_FILES` behind a list of calls, planned errors and, if `room` is set, a disk that can fill up.

    `calls` are pairs of operation and file name, in order: ("sync", "cursor.tmp"). A rename or link is called
    by its target.
    """

    def __init__(self, room: int | None = None) -> None:
        self.calls: list[tuple[str, str]] = []
        self.room = room  # bytes the disk still takes
        self.free = 1 << 40  # what free_bytes says
        self.fs = "ext4"
        self._faults: list[_Fault] = []
        self.before: Callable[[str, str], None] = lambda operation, name: None

    def fail(
        self, operation: str, error: int = errno.EIO, *, name: str = "", after: int = 0, times: int = 1
    ) -> None:
        """Lets `times` calls of `operation` on files named like `name` fail, after the first `after`."""
        self._faults.append(_Fault(operation, error, name, after, times))

    def heal(self) -> None:
        self._faults.clear()

    def count(self, operation: str, name: str = "") -> int:
        return sum(1 for op, target in self.calls if op == operation and name in target)

    def _call(self, operation: str, path: Path) -> None:
        self.before(operation, path.name)
        self.calls.append((operation, path.name))
        for fault in self._faults:
            if fault.strikes(operation, path.name):
                raise OSError(fault.error, os.strerror(fault.error), str(path))

    def _size(self, path: Path) -> int:
        return path.stat().st_size if path.exists() else 0

    def _give_back(self, size: int) -> None:
        if self.room is not None:
            self.room += size

    def exists(self, path: Path) -> bool:
        return OS_FILES.exists(path)

    def mkdir(self, path: Path) -> None:
        self._call("mkdir", path)
        OS_FILES.mkdir(path)

    def restrict(self, path: Path) -> None:
        OS_FILES.restrict(path)

    def names(self, directory: Path) -> list[str]:
        return OS_FILES.names(directory)

    def create(self, path: Path) -> File:
        self._call("create", path)
        self._give_back(self._size(path))
        return _FaultyFile(self, path, OS_FILES.create(path))

    def open(self, path: Path) -> File:
        self._call("open", path)
        return _FaultyFile(self, path, OS_FILES.open(path))

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename", target)
        self._give_back(self._size(target))
        OS_FILES.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self._call("link", target)
        OS_FILES.link(source, target)

    def unlink(self, path: Path) -> None:
        self._call("unlink", path)
        size = self._size(path)
        OS_FILES.unlink(path)
        self._give_back(size)

    def sync_directory(self, path: Path) -> None:
        self._call("sync_directory", path)
        OS_FILES.sync_directory(path)

    def try_lock(self, path: Path) -> File | None:
        return OS_FILES.try_lock(path)

    def free_bytes(self, path: Path) -> int:
        return self.free

    def filesystem(self, path: Path) -> str:
        return self.fs


class _Fault:
    def __init__(self, operation: str, error: int, name: str, after: int, times: int) -> None:
        self.operation = operation
        self.error = error
        self.name = name
        self.after = after
        self.times = times

    def strikes(self, operation: str, name: str) -> bool:
        if operation != self.operation or self.name not in name or self.times == 0:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


class _FaultyFile:
    def __init__(self, files: FaultyFiles, path: Path, file: File) -> None:
        self._files = files
        self._path = path
        self._file = file

    @property
    def descriptor(self) -> None:
        return None  # each call is made here

    def append(self, data: bytes) -> int:
        self._files._call("append", self._path)
        room = self._files.room
        if room is None:
            return self._file.append(data)
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        taken = self._file.append(data[:room])  # a disk that ends inside the data takes what fits
        self._files.room = room - taken
        return taken

    def read(self, offset: int, length: int) -> bytes:
        self._files._call("read", self._path)
        return self._file.read(offset, length)

    def size(self) -> int:
        return self._file.size()

    def truncate(self, length: int) -> None:
        self._files._call("truncate", self._path)
        size = self._file.size()
        self._file.truncate(length)
        self._files._give_back(size - length)

    def preallocate(self, length: int) -> None:
        self._files._call("preallocate", self._path)
        room = self._files.room
        if room is not None:
            if room < length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            self._files.room = room - length
        self._file.preallocate(length)

    def sync(self) -> None:
        self._files._call("sync", self._path)
        self._file.sync()

    def close(self) -> None:
        self._file.close()


_: Files = FaultyFiles()
