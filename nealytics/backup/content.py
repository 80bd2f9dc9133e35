"""The part of a backup that is not the table: logs, dead letters, and files of the data directory."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from nealytics.backup import register
from nealytics.backup.store import sync_tree
from nealytics.config import Config
from nealytics.directories import make_durable, make_private
from nealytics.wal import OS_FILES, inspection
from nealytics.wal.cut import cut

LOGS = "wal"
STATE = "state"

# Of the data directory. The engine's directory is in the backup as the table; the rest is made again.
_STATE = ("usage", "erasures", "retention.json", "retention-run.json", register.NAME)

Report = Callable[[str], None]


def collect(config: Config, target: Path, report: Report) -> dict[str, int]:
    """Copies all of it below `target`; the number of events in each log that wait for ClickHouse.

    Of a log, only those. Everything else in the directory of logs is copied as it is: dead letters, logs that
    were quarantined because they are damaged, and what a C# engine left.
    """
    # Before the logs: usage is counted up to a position of each log, which the copy must not lack.
    make_private(target / STATE)
    for name in _STATE:
        path = config.server.data_dir / name
        if path.is_dir():
            shutil.copytree(path, target / STATE / name, copy_function=_copy)
        elif path.exists():
            shutil.copy2(path, target / STATE / name)
    root, waiting = config.wal.directory, {}
    make_private(target / LOGS)
    if root.is_dir():
        # Before the logs as well: a node imports these files of a C# engine into its logs, then renames them.
        for path in sorted(root.glob("telemetry_wal.*")):
            _copy(path, target / LOGS / path.name)
        logs = inspection.find_logs(root)
        for log in logs:
            waiting[log.name] = cut(OS_FILES, log, target / LOGS / log.name)
            report(f"log {log.name}: {waiting[log.name]:,} events waiting")
        for path in sorted(root.iterdir()):
            if path.is_dir() and path not in logs:
                shutil.copytree(path, target / LOGS / path.name, copy_function=_copy)
    return waiting


def _copy(source: str | Path, target: str | Path) -> None:
    """A file that the node deletes or replaces meanwhile is one that it needs no more."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        pass


def put_back(config: Config, source: Path) -> None:
    """Durable on return. What the data directory still has is newer than the backup, and stays.

    Of the data directory, only what a backup has of it: the directory has also what a node runs and trusts.
    """
    make_durable(config.server.data_dir)
    for name in _STATE:
        _put_back(source / STATE / name, config.server.data_dir / name)
    make_durable(config.wal.directory)
    for path in (source / LOGS).glob("*"):
        _put_back(path, config.wal.directory / path.name)


def _put_back(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, copy_function=_copy_missing)
    elif source.exists():
        _copy_missing(source, target)
    else:
        return
    sync_tree(target)
    OS_FILES.sync_directory(target.parent)


def _copy_missing(source: str | Path, target: str | Path) -> None:
    if not os.path.lexists(target):
        shutil.copy2(source, target)


def damage(directory: Path) -> list[str]:
    """What cannot be read of the logs in a backup. Those in quarantine are damaged, and known to be."""
    root = directory / LOGS
    return [
        finding.message
        for log in inspection.find_logs(root)
        for finding in inspection.verify(OS_FILES, log)
        if finding.damage
    ]
