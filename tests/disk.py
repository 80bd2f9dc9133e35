"""A disk of a test's own: an ext4 in a file, which can be small, and can lose its power. Needs root."""

import contextlib
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until

EXT4_IOC_SHUTDOWN = 0x8004587D
LOGFLUSH, NOLOGFLUSH = 1, 2  # of ext4.h: whether the journal still reaches the disk


@functools.cache
def why_no_disk() -> str:
    if os.geteuid() != 0:
        return "only root can mount a disk of its own and cut its power"
    if shutil.which("mkfs.ext4") is None:
        return "mkfs.ext4 is not installed"
    with tempfile.TemporaryDirectory() as directory:
        try:
            with mounted(Path(directory), 64 * 1024**2) as disk:
                disk.cut_power(NOLOGFLUSH)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"no ext4 can be mounted and shut down here: {getattr(error, 'stderr', '') or error}"
    return ""


class Disk:
    def __init__(self, directory: Path, size: int) -> None:
        self.image, self.path = directory / "disk.ext4", directory / "disk"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(size)
        _run("mkfs.ext4", "-q", "-F", str(self.image))

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.path))

    def unmount(self) -> None:
        # The kernel may need a moment after the last process has ended.
        until(lambda: _run("umount", str(self.path)), errors=(subprocess.CalledProcessError,))

    def cut_power(self, flags: int) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", flags))
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def mounted(directory: Path, size: int) -> Iterator[Disk]:
    disk = Disk(directory, size)
    disk.mount()
    try:
        yield disk
    finally:
        if disk.path.is_mount():
            # Lazily, because a test that failed may have left a file open.
            subprocess.run(["umount", "-l", str(disk.path)], check=True)


def _run(*command: str) -> object:
    return subprocess.run(command, check=True, capture_output=True, text=True)


needs_disk = pytest.mark.skipif(bool(why_no_disk()), reason=why_no_disk())
