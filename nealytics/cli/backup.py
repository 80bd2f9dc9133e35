"""`nealytics backup` and `nealytics restore`, for the embedded engine."""

import asyncio
import contextlib
import re
import shutil
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from nealytics.backup import register, rotation, run
from nealytics.backup.manifest import identity, total
from nealytics.backup.register import Recorded
from nealytics.backup.rotation import DAY_MS
from nealytics.backup.s3 import PREFIX, Bucket, S3Store
from nealytics.backup.store import DirectoryStore, Store, scratch
from nealytics.cli.options import config_option, load_as_owner
from nealytics.config import Config, load
from nealytics.directories import act_as_owner
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
@click.option("--label", metavar="TEXT",
              help="What you call it, for the register of backups and the receipts of erasures.")  # fmt: skip
@click.option("--rotate", is_flag=True,
              help="Make a backup in TARGET, named by its time, and delete expired ones.")  # fmt: skip
@click.option("--full-days", type=click.IntRange(min=0), default=7, show_default=True, metavar="DAYS",
              help="With --rotate: the age up to which a whole backup is the base of others.")  # fmt: skip
@config_option
def backup(
    target: str,
    base: str | None,
    keep_days: int | None,
    label: str | None,
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
    config = _embedded(load_as_owner("backup", config_path), "backup")
    if rotate and (keep_days is None or base or target == STREAM):
        raise NealyticsError(
            "backup: --rotate needs --keep-days and a directory or s3:NAME, and chooses the base itself"
        )
    if target == STREAM and base:
        raise NealyticsError("backup: a backup on standard output is always whole; omit --base")
    began_ms = time.time_ns() // 1_000_000
    if rotate:
        assert keep_days is not None
        entry = Recorded(identity(began_ms), "", began_ms, label=label)
        _run(_rotate(config, target, keep_days, full_days, entry))
        return
    until_ms = began_ms + keep_days * DAY_MS if keep_days else None
    entry = Recorded(identity(began_ms), _STREAM_NAME, began_ms, until_ms, label=label)
    _run(_stream(config, entry) if target == STREAM else _back_up(config, target, base, entry))


async def _back_up(config: Config, target: str, base: str | None, entry: Recorded) -> None:
    async with opened(config, target) as store, opened(config, base or target) as earlier:
        if base and store.path_to(earlier) is None:
            raise NealyticsError(
                f"backup: {target} and {base} must both be directories, or both in the bucket"
            )
        if await store.sizes():
            raise NealyticsError(f"backup: {store} is not empty; name a new one")
        entry = msgspec.structs.replace(entry, target=str(store))
        await _make(config, store, earlier if base else None, entry)


async def _rotate(config: Config, place: str, keep_days: int, full_days: int, entry: Recorded) -> None:
    began_ms = entry.began_ms
    async with opened(config, place) as parent:
        base = await _base(config, parent, began_ms, full_days)
        until_ms = rotation.keep_until_ms(began_ms, keep_days, full_days, full=base is None)
        target = parent.at(entry.id)
        entry = msgspec.structs.replace(entry, target=str(target), keep_until_ms=until_ms)
        await _make(config, target, base, entry)
        found = await run.backups_in(parent, strict=True)
        # What is based on a backup of this place, and has no manifest in it: it is elsewhere, or another
        # command is writing it. The register has it.
        here = {str(parent.at(backup.name)) for backup in found if backup.complete}
        others = [one for one in register.recorded(config.server.data_dir) if one.target not in here]
        needed = [one.based_on for one in others if one.based_on is not None]
        for old in rotation.expired(found, began_ms, keep_days, needed):
            await parent.at(old.name).delete()
            register.remove(config.server.data_dir, old.name)
            report(f"{parent.at(old.name)} is deleted")


async def _base(config: Config, parent: Store, now_ms: int, full_days: int) -> Store | None:
    """None: the next backup of the rotation is a whole one."""
    found = rotation.base_for(await run.backups_in(parent, strict=False), now_ms, full_days)
    if found is None:
        return None
    base = parent.at(found.name)
    try:
        _compare_base(config, await run.read_base(base))
    except NealyticsError as error:
        report(f"this backup is a whole one, because {base} cannot be its base: {error}")
        return None
    return base


def _compare_base(config: Config, base: run.Base) -> None:
    """Raises `NealyticsError` if its manifest is not the one that this node wrote."""
    for entry in register.recorded(config.server.data_dir):
        known, found = entry.manifest_sha256, base.written
        if entry.id == found.manifest.id and known is not None and known != found.sha256:
            raise NealyticsError(
                f"backup: the manifest of {base.store} has changed since that backup was made; use another "
                "base, or none"
            )


async def _stream(config: Config, entry: Recorded) -> None:
    if sys.stdout.isatty():
        raise NealyticsError("backup: standard output is a terminal; redirect it to a file or a program")
    with scratch(config.server.data_dir) as directory:
        store = DirectoryStore(directory / entry.id, _STREAM_NAME)
        await _make(config, store, None, entry)
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            archive.add(store.path, arcname=".")
        sys.stdout.buffer.flush()


async def _make(config: Config, target: Store, base: Store | None, entry: Recorded) -> None:
    based_on = await run.prepare(config, target, base)
    if based_on is not None:
        _compare_base(config, based_on)
        entry = msgspec.structs.replace(entry, based_on=based_on.written.manifest.id)
    register.record(config.server.data_dir, entry)
    written = await run.make(config, target, based_on, entry.began_ms, report)
    register.change(config.server.data_dir, entry.id, **written.noted(time.time_ns() // 1_000_000))
    made = written.manifest
    events, waiting = total(made.at_least), sum(made.waiting.values())
    report(
        f"{entry.name} is complete: backup {entry.id}, {events:,} events in the table, {waiting:,} in logs"
    )


@click.command()
@click.argument("source")
@config_option
def restore(source: str, config_path: Path | None) -> None:
    """Restore the backup SOURCE into this node, which must be stopped and empty.

    SOURCE is what `nealytics backup` wrote: a directory, s3:NAME, a tar archive, or - for one on standard
    input.
    The backup is verified first, and the number of events of each project and month is compared afterwards.
    Events that waited in the logs are sent when the node starts.

    \b
    Exit status: 0 restored, and the counts agree; 1 not.
    """
    config = _embedded(load(config_path), "restore")
    with contextlib.ExitStack() as stack:
        stream = sys.stdin.buffer if source == STREAM else None
        if stream is None and (path := archive(source)) is not None:
            stream = stack.enter_context(path.open("rb"))
        # Opened before: root's file need not be readable for the user of the node.
        act_as_owner("restore", config.server.data_dir, config.wal.directory)
        work = (
            _restore(config, source)
            if stream is None
            else _restore_stream(config, stream, "standard input" if source == STREAM else source)
        )
        try:
            _run(work)
        except NealyticsError as error:
            raise NealyticsError("\n".join(map(_of_restore, str(error).splitlines()))) from error


def archive(source: str) -> Path | None:
    """The file of a backup that is a tar archive."""
    return Path(source) if not source.startswith(PREFIX) and Path(source).is_file() else None


async def _restore(config: Config, source: str) -> None:
    async with opened(config, source) as store:
        await run.restore(config, store, _report_restore, Jobs(config.server.data_dir).begin_again)


async def _restore_stream(config: Config, stream: BinaryIO, name: str) -> None:
    with scratch(config.server.data_dir) as directory:
        try:
            with tarfile.open(fileobj=stream, mode="r|*") as packed:
                _unpack(packed, directory, name)
        except (tarfile.TarError, EOFError) as error:
            raise NealyticsError(f"restore: {name} is not a whole tar archive: {error}") from error
        store = DirectoryStore(directory, name)
        await run.restore(config, store, _report_restore, Jobs(config.server.data_dir).begin_again)


def _unpack(packed: tarfile.TarFile, directory: Path, name: str) -> None:
    """Writes the files of a backup below `directory`; a backup has nothing else. Not by `extractall`, whose
    filter the first versions of Python 3.11 do not have."""
    for member in packed:
        path = directory / member.name
        content = packed.extractfile(member) if member.isreg() else None
        if ".." in path.parts or not path.is_relative_to(directory) or not (content or member.isdir()):
            raise NealyticsError(
                f"restore: {name} contains {member.name!r}, so `nealytics backup` has not written it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        if content:
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)


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
            f'backup: "{name}" is not a place in the bucket; write {PREFIX}NAME, of letters, digits, and any '
            'of "-_.~/"'
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
        whose = "; the user of the node needs the right, also if root runs the command"
        denied = whose if isinstance(error, PermissionError) else ""
        raise NealyticsError(f"backup: failed: {error}{denied}") from error


def _embedded(config: Config, part: str) -> Config:
    if config.clickhouse.url != "embedded":
        raise NealyticsError(
            f'{part}: clickhouse.url is "{config.clickhouse.url}", a server; use its own BACKUP, as '
            "docs/backup.md shows"
        )
    return config


def report(line: str) -> None:
    click.echo(f"backup: {line}", err=True)


def _report_restore(line: str) -> None:
    click.echo(_of_restore(line), err=True)


def _of_restore(line: str) -> str:
    """The line with the name of this command; the parts that it shares with `backup` say theirs, or none."""
    return f"restore: {line.removeprefix('backup: ').removeprefix('restore: ')}"
