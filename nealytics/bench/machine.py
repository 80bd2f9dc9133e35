"""The machine that a benchmark runs on: the context of its numbers."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

_SYNCS = 50

Say = Callable[[str], None]


class Machine(msgspec.Struct, kw_only=True):
    cpus: int
    python: str
    filesystem: str
    sync_ms: float  # one 4 KiB write and fdatasync, median


def machine_at(directory: Path) -> Machine:
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        filesystem=_filesystem(directory),
        sync_ms=_sync_ms(directory),
    )


def introduce(machine: Machine, say: Say) -> None:
    say(
        f"{machine.cpus} cores, Python {machine.python}, data on {machine.filesystem}"
        f" (4 KiB write and fdatasync: {machine.sync_ms:.2f} ms)"
    )


def _sync_ms(directory: Path) -> float:
    """The cost of durability here, without our code."""
    path = directory / "sync"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    times = []
    try:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.write(fd, b"." * 4096)
            os.fdatasync(fd)
            times.append(time.perf_counter() - began)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(times) * 1000


def _filesystem(directory: Path) -> str:
    """Its type, from the nearest mount point above `directory`."""
    best, kind = "", "unknown"
    resolved = str(directory.resolve())
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, found, *_ = line.split()
        if (resolved == point or resolved.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, found
    return kind
