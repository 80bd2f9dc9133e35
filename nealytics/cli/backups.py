"""`nealytics backups`: the backups of this node that exist, and whether one is intact."""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from nealytics.backup import register, run
from nealytics.backup.manifest import Written
from nealytics.backup.register import Recorded
from nealytics.cli.backup import STREAM, archive, opened, report
from nealytics.cli.options import config_option, load_as_owner
from nealytics.config import Config, load
from nealytics.directories import act_as_owner
from nealytics.errors import NealyticsError


@click.group()
def backups() -> None:
    """List, verify and forget backups.

    Works with a running node and without one.
    """


@backups.command("list")
@config_option
def list_backups(config_path: Path | None) -> None:
    """List the register of backups.

    \b
    KIND     whole, incremental, or not complete: it failed or runs,
             and its target may have events
    BASE     the backup without which an incremental one cannot be restored
    VERIFIED when all of it was last read and found intact,
             by `backup` or `backups verify`

    Reads the register only: `backups verify` finds out whether a backup is still where it was.
    """
    now_ms = time.time_ns() // 1_000_000
    entries = register.recorded(load(config_path).server.data_dir)
    if not entries:
        click.echo("There are no backups of this node in the register.")
        return
    rows = [_HEADER, *(_row(entry, entries, now_ms) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


_HEADER = ("ID", "AGE", "SIZE", "KIND", "BASE", "VERIFIED", "KEPT", "TARGET")


def _row(entry: Recorded, entries: Sequence[Recorded], now_ms: int) -> tuple[str, ...]:
    base = next((one for one in entries if one.id == entry.based_on), None)
    if entry.based_on is None:
        kind, based_on = "whole", "-"
    else:
        kind = "incremental"
        based_on = entry.based_on if base is not None and not _is_gone(base) else f"{entry.based_on} DELETED"
    if entry.ended_ms is None:
        kind = "not complete"
    return (
        entry.id,
        _span(now_ms - entry.began_ms),
        "-" if entry.bytes is None else _size(entry.bytes),
        kind,
        based_on,
        "-" if entry.verified_ms is None else f"{_span(now_ms - entry.verified_ms)} ago",
        "until deleted" if entry.keep_until_ms is None else f"until {_date(entry.keep_until_ms)}",
        f"{entry.name}{' (GONE)' if _is_gone(entry) else ''}",
    )


def _is_gone(entry: Recorded) -> bool:
    """Whether a directory of this machine is not there any more; of a bucket or a stream nobody knows."""
    return entry.target.startswith("/") and not Path(entry.target).exists()


def _span(ms: int) -> str:
    for unit_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= 2 * unit_ms:
            return f"{ms // unit_ms} {unit}"
    return f"{max(0, ms) // 1000} s"


def _size(count: int) -> str:
    for exponent, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**exponent:
            return f"{count / 1000**exponent:.1f} {unit}"
    return f"{count} B"


@backups.command()
@click.argument("source")
@config_option
def verify(source: str, config_path: Path | None) -> None:
    """Read all of the backup SOURCE, and of the one that it is based on, and compare each file's SHA-256.

    SOURCE is a directory, s3:NAME, a tar archive, or - for one on standard input.

    \b
    Exit status: 0 intact; 1 not.
    """
    config = load(config_path)
    name = "standard input" if source == STREAM else source
    if source == STREAM:
        found, problems = run.verify_archive(sys.stdin.buffer, name)
    elif (path := archive(source)) is not None:
        with path.open("rb") as file:
            found, problems = run.verify_archive(file, name)
    else:
        found, problems = asyncio.run(_verify(config, source))
    if problems:
        raise NealyticsError("\n".join(f"backup: {problem}" for problem in problems))
    report(f"{name} is intact: backup {found.manifest.id}")
    try:
        act_as_owner("backups", config.server.data_dir)
        noted = found.noted(time.time_ns() // 1_000_000)
        register.change(config.server.data_dir, found.manifest.id, **noted)
    except (OSError, NealyticsError) as error:  # of another user, for example
        report(f"that is not noted in the register: {error}")


async def _verify(config: Config, source: str) -> tuple[Written, list[str]]:
    async with opened(config, source) as store:
        return await run.verify(store, report)


@backups.command()
@click.argument("identity", metavar="ID")
@config_option
def forget(identity: str, config_path: Path | None) -> None:
    """Remove the backup ID from the register, after you deleted it. Deletes no backup."""
    data_dir = load_as_owner("backups", config_path).server.data_dir
    entries = register.recorded(data_dir)
    if not register.remove(data_dir, identity):
        raise NealyticsError(
            f"backup: the register has no backup {identity}; `nealytics backups list` shows all"
        )
    (entry,) = (entry for entry in entries if entry.id == identity)
    click.echo(f"backup {identity} ({entry.name}) is no longer in the register; no file was deleted")
    if not _is_gone(entry):
        click.echo("receipts of erasures do not name it any more: delete it, if it still exists")
    for other in entries:
        if other.based_on == identity:
            click.echo(f"backup {other.id} is based on it, and cannot be restored without it")


def _date(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_ms // 1000))
