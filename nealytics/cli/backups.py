"""`nealytics backups`: the backups of this node that exist, and whether one is intact."""

import asyncio
import time
from pathlib import Path

import click

from nealytics.backup import register, run
from nealytics.cli.backup import opened, report
from nealytics.cli.options import config_option
from nealytics.config import Config, load
from nealytics.errors import NealyticsError


@click.group()
def backups() -> None:
    """List, verify and forget backups.

    Works with a running node and without one.
    """


@backups.command("list")
@config_option
def list_backups(config_path: Path | None) -> None:
    """List the register of backups: id, kept until, target, and the backup that it is based on.

    A backup that failed is listed too, because its target may have events.
    """
    for entry in register.recorded(load(config_path).server.data_dir):
        until = "until deleted" if entry.keep_until_ms is None else f"until {_date(entry.keep_until_ms)}"
        base = f" (based on {entry.based_on})" if entry.based_on else ""
        click.echo(f"{entry.id}  {until}  {entry.target}{base}")


@backups.command()
@click.argument("source")
@config_option
def verify(source: str, config_path: Path | None) -> None:
    """Read all of the backup SOURCE, and of the one that it is based on, and compare each file's SHA-256.

    \b
    Exit status: 0 intact; 1 not.
    """
    problems = asyncio.run(_verify(load(config_path), source))
    if problems:
        raise NealyticsError("\n".join(f"backup: {problem}" for problem in problems))
    report(f"{source} is intact")


async def _verify(config: Config, source: str) -> list[str]:
    async with opened(config, source) as store:
        return await run.verify(store, report)


@backups.command()
@click.argument("identity", metavar="ID")
@config_option
def forget(identity: str, config_path: Path | None) -> None:
    """Remove the backup ID from the register, after you deleted it. Deletes no backup."""
    if not register.remove(load(config_path).server.data_dir, identity):
        raise NealyticsError(
            f"backup: the register has no backup {identity}; `nealytics backups list` shows all"
        )


def _date(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_ms // 1000))
