"""`nealytics wal`: looking into the write-ahead logs from outside."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
import msgspec

from nealytics.cli.options import config_option
from nealytics.config import load
from nealytics.directories import act_as_owner
from nealytics.errors import NealyticsError
from nealytics.wal import OS_FILES, inspection
from nealytics.wal.inspection import Summary

Command = TypeVar("Command", bound=Callable[..., Any])


def _directory_argument(command: Command) -> Command:
    return click.argument(
        "directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
    )(command)


@click.group()
def wal() -> None:
    """Inspect the write-ahead log.

    Each worker has its own log, in wal.directory/<worker>. These commands take no lock and change no row of a
    log. They work with a running server and without one.
    """


@wal.command()
@_directory_argument
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per log and line, for scripts.")
def inspect(directory: Path | None, config_path: Path | None, as_json: bool) -> None:
    """Show the content of each log and how much of it is committed.

    DIRECTORY is one log or a directory of logs. Default: wal.directory of the configuration. Damaged logs
    that a node quarantined (<worker>.damaged.<log id>) are shown too.

    \b
    rows         first and last row on disk
    committed    all rows up to this one are in ClickHouse, or dead-lettered
    outstanding  rows of batches that were started and not finished
    waiting      rows on disk that are not committed, and the age of the oldest
    """
    for log in _logs(directory, config_path, quarantined=True):
        summary = inspection.inspect(OS_FILES, log)
        if as_json:
            click.echo(msgspec.json.encode(summary))
        else:
            click.echo(_described(summary, time.time()))


@wal.command()
@_directory_argument
@config_option
def verify(directory: Path | None, config_path: Path | None) -> None:
    """Read every byte of the logs and check it.

    DIRECTORY is one log or a directory of logs. Default: wal.directory of the configuration. Damaged logs
    that a node quarantined are read too, so exit status 1 stays until somebody deletes them.

    Prints file and byte of any damage, and exits with 1 if there is any. An incomplete frame at the end of a
    log is a note, not damage: a crash during a write leaves such bytes, and the log has no proof
    that they were synced. The command repairs nothing.
    """
    damaged = False
    for log in _logs(directory, config_path, quarantined=True):
        damaged_here = False
        for finding in inspection.verify(OS_FILES, log):
            damaged_here |= finding.damage
            click.echo(f"{'damage' if finding.damage else 'note'}: {finding.message}")
        click.echo(f"{log}: {'damaged' if damaged_here else 'fine'}")
        damaged |= damaged_here
    sys.exit(1 if damaged else 0)


@wal.command()
@_directory_argument
@config_option
@click.option("--check", is_flag=True, help="Only compare: send nothing.")
@click.option(
    "--include-deleted",
    is_flag=True,
    help="Also send events that arrived before a statement last deleted events from the table.",
)
@click.option(
    "--accept",
    "accepted",
    is_flag=True,
    help="Send nothing: events that the table lacks now were deleted on purpose. Ends the node's warning.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per log and line, for scripts.")
def reconcile(
    directory: Path | None,
    config_path: Path | None,
    check: bool,
    include_deleted: bool,
    accepted: bool,
    as_json: bool,
) -> None:
    """Send events again that ClickHouse confirmed and the table lacks.

    DIRECTORY is one log or a directory of logs. Default: wal.directory of the configuration.

    Compares the committed events that each log still has (wal.keep_hours, wal.keep_bytes) with the table,
    by identity, and sends what is missing; of a quarantined log, what can be read. Each is counted once,
    also if you run this twice. A node does the same by itself when it finds that the table is not the one
    that received its events, or is older.

    Not sent: events older than the table's retention, dead-lettered events, and events that arrived before a
    statement deleted events from the table, which may be among them (--include-deleted).

    Reads the files of the logs, so it works with a running server and without one. If the embedded engine
    does not run, the command starts it temporarily. Exit status: 0 if the table has all that the logs have,
    else 1.
    """
    from nealytics.cli import wal_reconcile as command
    from nealytics.commit.reconcile import Options

    if accepted and (check or include_deleted):
        raise click.UsageError("--accept sends nothing; give it alone")
    logs = _logs(directory, config_path, quarantined=True)
    if not logs:
        return
    config = load(config_path)
    if not check:
        act_as_owner("wal reconcile", config.server.data_dir, config.wal.directory, *logs)
    if accepted:
        asyncio.run(command.accept(config, logs))
        return
    options = Options(send=not check, include_deleted=include_deleted)
    if not asyncio.run(command.reconcile(config, logs, options, as_json=as_json)):
        sys.exit(1)


@wal.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the events to a new log in this directory, which must not exist or be empty.",
)
@click.option("--ndjson", type=click.File("wb"), help="Write the events to this file; - is standard output.")
@click.option("--all", "all_rows", is_flag=True, help="Also the events that ClickHouse has confirmed.")
def salvage(directory: Path, to: Path | None, ndjson: BinaryIO | None, *, all_rows: bool) -> None:
    """Take out of a damaged log what can be read, and report the rest.

    DIRECTORY is one log: damaged, with missing files, quarantined by a node (<worker>.damaged.<log id>), or
    of a node that is gone. It is not changed. Without --to and --ndjson the command only reports: file,
    bytes, LSNs, number and time of the events that cannot be read.

    A running node does the same by itself for its own logs; the command refuses a log that a process uses,
    but for one in quarantine, to which nobody writes.

    To send a log made with --to, rename it to a number in wal.directory that is not below server.workers, and
    restart the node. To send an NDJSON file, run `nealytics import`. Events that ClickHouse already has are
    counted once.

    Exit status: 0 if every event could be read, 1 if not.
    """
    from nealytics.cli import wal_salvage

    if to is not None:
        act_as_owner("wal salvage", next(filter(os.path.exists, (to, *to.parents))))
    try:
        complete = wal_salvage.run(directory, to=to, ndjson=ndjson, all_rows=all_rows)
    except PermissionError as error:
        raise NealyticsError(
            f"wal: {error.filename}: {error.strerror}; with --to, the owner of the directory that gets the "
            "new log must be able to read DIRECTORY, also if root runs the command"
        ) from error
    if not complete:
        sys.exit(1)


def _logs(directory: Path | None, config_path: Path | None, *, quarantined: bool = False) -> list[Path]:
    root = directory or load(config_path).wal.directory
    if directory is None and not root.exists():
        click.echo(f"{root} does not exist, so no server has run yet", err=True)
        return []
    logs = inspection.find_logs(root, quarantined=quarantined)
    if not logs:
        click.echo(f"{root} contains no log", err=True)
    return logs


def _described(summary: Summary, now: float) -> str:
    rows = (
        f"{summary.first_lsn}-{summary.last_lsn}"
        if summary.first_lsn
        else f"none (the last was {summary.last_lsn})"
    )
    outstanding = ", ".join(f"{first}-{last}" for first, last in summary.outstanding)
    waiting = "unknown" if summary.waiting is None else str(summary.waiting)
    if summary.oldest_waiting_ms is not None:
        waiting += f", the oldest for {_duration(now - summary.oldest_waiting_ms / 1000)}"
    segments = f"{summary.segments} segment{'s' * (summary.segments != 1)}"
    lines = [
        summary.directory,
        f"  id           {summary.log_id or 'unknown'}",
        f"  size         {summary.bytes:,} bytes in {segments}",
        f"  rows         {rows}",
        f"  committed    {'unknown' if summary.cursor_lsn is None else f'up to {summary.cursor_lsn}'}",
        f"  outstanding  {outstanding or 'none'}",
        f"  waiting      {waiting}",
        *(f"  problem      {problem}" for problem in summary.problems),
    ]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    seconds = max(0, int(seconds))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if n]
    return " ".join(parts[:2]) or "less than a second"
