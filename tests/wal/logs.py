"""Logs for tests: opened with small settings, written, read back whole."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nealytics.config import WalConfig
from nealytics.wal import OS_FILES, CursorState, Files, Log
from nealytics.wal.segment import first_lsn_of

SETTINGS: dict[str, Any] = {
    "free_bytes_min": 0,
    "lock_timeout_s": 0.0,
    "allow_any_filesystem": True,
}


def wal_config(**settings: Any) -> WalConfig:
    return WalConfig(**{**SETTINGS, **settings})


@asynccontextmanager
async def opened(directory: Path, files: Files = OS_FILES, **settings: Any) -> AsyncIterator[Log]:
    options = {name: settings.pop(name) for name in ("clock_ms", "metrics", "on_broken") if name in settings}
    log = await Log.open(directory, wal_config(**settings), files=files, **options)
    try:
        yield log
    finally:
        await log.close()


async def read_all(
    log: Log, first_lsn: int = 1, rows_max: int = 1000, bytes_max: int = 1 << 20
) -> list[bytes]:
    """The rows from `first_lsn` on, batch by batch, as the committer reads them."""
    rows: list[bytes] = []
    while (lsn := first_lsn + len(rows)) <= log.durable_lsn:
        batch = await log.read(lsn, rows_max=rows_max, bytes_max=bytes_max)
        assert batch.first_lsn == lsn
        rows += list(batch)
    return rows


async def write(directory: Path, groups: Sequence[Sequence[bytes]], **settings: Any) -> None:
    """A log with one frame per group, closed well."""
    async with opened(directory, **settings) as log:
        for group in groups:
            await log.append(group, 1)


async def advance_cursor(log: Log, lsn: int) -> None:
    await log.store_cursor(CursorState(lsn + 1))


def segments(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if first_lsn_of(path.name) is not None)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}
