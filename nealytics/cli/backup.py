"""`nealytics backup` and `nealytics restore`, for the embedded engine."""

import asyncio
import contextlib
import re
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path

import click

from nealytics.backup import register, rotation, run
from nealytics.backup.manifest import identity, total
from nealytics.backup.register import Recorded
from nealytics.backup.rotation import DAY_MS
from nealytics.backup.s3 import PREFIX, Bucket, S3Store
from nealytics.backup.store import DirectoryStore, Store, scratch
from nealytics.cli.options import config_option
from nealytics.config import Config, load
from nealytics.erasure.store import Jobs
from nealytics.errors import NealyticsError

STREAM = "-"
_STREAM_NAME = "standard output"
_PLACE = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")


@click.command()
@click.argument("target")
@click.option("--base", metavar="BACKUP",
              help="An earlier backup: only what it lacks is written, and a restore needs both.")  # fmt: skip
@click.option("--keep-days", type=click.IntRange(min=1), metavar="DAYS",
              help="How long it is kept, for the register of backups and for --rotate.")  # fmt: skip
@click.option("--rotate", is_flag=True,
              help="Make a backup in TARGET, named by its time, and delete expired ones.")  # fmt: skip
@click.option("--full-days", type=click.IntRange(min=0), default=7, show_default=True, metavar="DAYS",
              help="With --rotate: the age up to which a whole backup is the base of others.")  # fmt: skip
@config_option
def backup(
    target: str,
    base: str | None,
    keep_days: int | None,
    rotate: bool,
    full_days: int,
    config_path: Path | None,
) -> None:
    """Back up the embedded ClickHouse and the logs to TARGET, while the node runs or is stopped.

    TARGET is a new directory of this machine; s3:NAME, a new place in the bucket of the [backup] table; or -,
    a tar archive on standard output, for which the disk of the node must have room as well. Progress goes to
    standard error. A backup is complete when it has manifest.json. Restore it with `nealytics restore`.

    --rotate deletes backups that are older than --keep-days, but only after it made a new one, never the
    newest, and never one that a younger one is based on.

    \b
    Exit status: 0 complete, verified, and expired backups are deleted; 1 not.
    """
    config = _embedded(load(config_path), "backup")
    if rotate and (keep_days is None or base or target == STREAM):
        raise NealyticsError(
            "backup: --rotate needs --keep-days and a directory or s3:NAME, and chooses the base itself"
        )
    if target == STREAM and base:
        raise NealyticsError("backup: a backup on standard output is always whole; omit --base")
    began_ms = time.time_ns() // 1_000_000
    if rotate:
        assert keep_days is not None
        _run(_rotate(config, target, keep_days, full_days, began_ms))
    elif target == STREAM:
        _run(_stream(config, keep_days, began_ms))
    else:
        _run(_back_up(config, target, base, keep_days, began_ms))


async def _back_up(
    config: Config, target: str, base: str | None, keep_days: int | None, began_ms: int
) -> None:
    async with opened(config, target) as store, opened(config, base or target) as earlier:
        if base and store.path_to(earlier) is None:
            raise NealyticsError(
                f"backup: {target} and {base} must both be directories, or both in the bucket"
            )
        if await store.sizes():
            raise NealyticsError(f"backup: {store} is not empty; name a new one")
        until_ms = began_ms + keep_days * DAY_MS if keep_days else None
        await _make(config, store, earlier if base else None, str(store), began_ms, until_ms)


async def _rotate(config: Config, place: str, keep_days: int, full_days: int, began_ms: int) -> None:
    async with opened(config, place) as parent:
        base = await _base(parent, began_ms, full_days)
        until_ms = rotation.keep_until_ms(began_ms, keep_days, full_days, full=base is None)
        target = parent.at(identity(began_ms))
        await _make(config, target, base, str(target), began_ms, until_ms)
        found = await run.backups_in(parent, strict=True)
        # What is based on a backup of this place, and is not in it: the register still has it.
        elsewhere = [
            entry
            for entry in register.recorded(config.server.data_dir)
            if entry.target != str(parent.at(entry.id))
        ]
        needed = [entry.based_on for entry in elsewhere if entry.based_on is not None]
        for old in rotation.expired(found, began_ms, keep_days, needed):
            await parent.at(old.name).delete()
            register.remove(config.server.data_dir, old.name)
            report(f"{parent.at(old.name)} is deleted")


async def _base(parent: Store, now_ms: int, full_days: int) -> Store | None:
    """None: the next backup of the rotation is a whole one."""
    found = rotation.base_for(await run.backups_in(parent, strict=False), now_ms, full_days)
    if found is None:
        return None
    base = parent.at(found.name)
    try:
        await run.read_base(base)
    except NealyticsError as error:
        report(f"this backup is a whole one, because {base} cannot be its base: {error}")
        return None
    return base


async def _stream(config: Config, keep_days: int | None, began_ms: int) -> None:
    if sys.stdout.isatty():
        raise NealyticsError("backup: standard output is a terminal; redirect it to a file or a program")
    with scratch(config.server.data_dir) as directory:
        store = DirectoryStore(directory / identity(began_ms))
        until_ms = began_ms + keep_days * DAY_MS if keep_days else None
        await _make(config, store, None, _STREAM_NAME, began_ms, until_ms)
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            archive.add(store.path, arcname=".")
        sys.stdout.buffer.flush()


async def _make(
    config: Config, target: Store, base: Store | None, name: str, began_ms: int, until_ms: int | None
) -> None:
    based_on = await run.prepare(config, target, base)
    entry = Recorded(identity(began_ms), name, began_ms, until_ms, based_on.id if based_on else None)
    register.record(config.server.data_dir, entry)
    made = await run.make(config, target, base, based_on, began_ms, report)
    events, waiting = total(made.at_least), sum(made.waiting.values())
    report(f"{name} is complete: {events:,} events in the table, {waiting:,} in logs")


@click.command()
@click.argument("source")
@config_option
def restore(source: str, config_path: Path | None) -> None:
    """Restore the backup SOURCE into this node, which must be stopped and empty.

    SOURCE is what `nealytics backup` wrote: a directory, s3:NAME, or - for a tar archive on standard input.
    The backup is verified first, and the number of events of each project and month is compared afterwards.
    Events that waited in the logs are sent when the node starts.

    \b
    Exit status: 0 restored, and the counts agree; 1 not.
    """
    config = _embedded(load(config_path), "restore")
    _run(_restore_stream(config) if source == STREAM else _restore(config, source))


async def _restore(config: Config, source: str) -> None:
    async with opened(config, source) as store:
        await run.restore(config, store, report, Jobs(config.server.data_dir).begin_again)


async def _restore_stream(config: Config) -> None:
    with scratch(config.server.data_dir) as directory:
        try:
            with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
                archive.extractall(directory, filter="data")
        except tarfile.TarError as error:
            raise NealyticsError(f"restore: standard input is no whole tar archive: {error}") from error
        await run.restore(config, DirectoryStore(directory), report, Jobs(config.server.data_dir).begin_again)


@contextlib.asynccontextmanager
async def opened(config: Config, name: str) -> AsyncIterator[Store]:
    """A directory, or s3:NAME in the bucket of the configuration."""
    if not name.startswith(PREFIX):
        yield DirectoryStore(Path(name))
        return
    if not config.backup.s3_url:
        raise NealyticsError(
            f"backup: {name} needs backup.s3_url, the address of the bucket; set it and restart"
        )
    if not _PLACE.fullmatch(name.removeprefix(PREFIX)):
        raise NealyticsError(
            f'backup: "{name}" is no place in the bucket; write {PREFIX}NAME, of letters, digits, and any of '
            '"-_.~/"'
        )
    bucket = Bucket(config.backup)
    try:
        yield S3Store(bucket, name.removeprefix(PREFIX))
    finally:
        await bucket.close()


def _run(work: Coroutine[None, None, None]) -> None:
    try:
        asyncio.run(work)
    except OSError as error:
        raise NealyticsError(f"backup: failed: {error}") from error


def _embedded(config: Config, part: str) -> Config:
    if config.clickhouse.url != "embedded":
        raise NealyticsError(
            f'{part}: clickhouse.url is "{config.clickhouse.url}", a server; use its own BACKUP, as '
            "docs/backup.md shows"
        )
    return config


def report(line: str) -> None:
    click.echo(f"backup: {line}", err=True)
