"""Makes, verifies and restores one backup."""

import asyncio
import contextlib
import hashlib
import lzma
import os
import re
import tarfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import msgspec

from nealytics import __version__
from nealytics.backup import content, manifest, register
from nealytics.backup.manifest import Counts, File, Incomplete, Manifest, Written
from nealytics.backup.rotation import Found
from nealytics.backup.store import DirectoryStore, Store
from nealytics.clickhouse import backup as table
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.embedded import engine_dir, free_bytes, read_access, run_dir, running_engine
from nealytics.clickhouse.embedded_config import BACKUP_PASSWORD, FREE_SHARE_MIN
from nealytics.clickhouse.endpoint import Endpoint, embedded_endpoint, endpoint_of
from nealytics.config import ClickHouseConfig, Config
from nealytics.errors import NealyticsError

Report = Callable[[str], None]

_TIMEOUT_S = 86_400.0
_READS_AT_ONCE = 4
_TABLE = "table/"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z")


class Base(NamedTuple):
    """The backup that another one is based on, as it was before that one began."""

    store: Store
    written: Written


async def prepare(config: Config, target: Store, base: Store | None) -> Base | None:
    """The base. Raises `NealyticsError` if there can be no backup; nothing is written yet."""
    if problem := no_room(config, target, whole=base is None):
        raise NealyticsError(problem)
    if base is None:
        return None
    return await read_base(base)


async def read_base(base: Store) -> Base:
    """Raises `NealyticsError` if no backup can be based on it. Compares the sizes of its files, not their
    contents, which `verify` reads."""
    written = await read_manifest(base)
    found = written.manifest
    if found.base is not None:
        raise NealyticsError(
            f"backup: {base} is based on another backup itself; name a whole one as the base"
        )
    problems = manifest.resized(found.files, await base.sizes())
    _raise([f"backup: {base}/{problem}; use another base, or none" for problem in problems])
    return Base(base, written)


async def make(config: Config, target: Store, base: Base | None, began_ms: int, report: Report) -> Written:
    """Writes a backup to the empty `target`, verified and durable on return. `base` is from `prepare`.

    Raises `NealyticsError` or `OSError`; the backup is not complete then.
    """
    async with target.collecting(config.server.data_dir) as directory:
        waiting = await asyncio.to_thread(content.collect, config, directory, report)
        _raise(await asyncio.to_thread(content.damage, directory))
    at_least, at_most = await _back_up_table(config, target, base and base.store, report)
    sizes = await target.sizes()
    description = await _whole(target.read(f"{_TABLE}.backup"))
    written = {name.removeprefix(_TABLE): size for name, size in sizes.items() if name.startswith(_TABLE)}
    _raise([f"{target}/{_TABLE}{problem}" for problem in manifest.missing(description, written)])
    await target.sync()
    report("reading the backup back")
    found = Manifest(
        id=manifest.identity(began_ms),
        made_by=__version__,
        began_ms=began_ms,
        ended_ms=time.time_ns() // 1_000_000,
        database=config.clickhouse.database,
        base=None if base is None else target.path_to(base.store),
        based_on=None if base is None else base.written.manifest.id,
        base_sha256=None if base is None else base.written.sha256,
        at_least=at_least,
        at_most=at_most,
        waiting=waiting,
        files=await _checksums(target, sizes),
    )
    data = manifest.encode(found)
    await target.write(manifest.NAME, data)
    return Written(found, hashlib.sha256(data).hexdigest())


async def _back_up_table(
    config: Config, target: Store, base: Store | None, report: Report
) -> tuple[Counts, Counts]:
    """The counts before and after ClickHouse's BACKUP."""
    data_dir, database = config.server.data_dir, config.clickhouse.database
    async with running_engine(config), ClickHouseClient(_backup_user(config), patient(config)) as client:
        at_least = await table.counts(client, database)
        with target.located(data_dir) as location, _located(base, data_dir) as earlier:
            await table.backup(client, database, location, earlier, report)
        return at_least, await table.counts(client, database)


def _located(base: Store | None, data_dir: Path) -> contextlib.AbstractContextManager[str | None]:
    return contextlib.nullcontext() if base is None else base.located(data_dir)


def no_room(config: Config, target: Store, *, whole: bool) -> str | None:
    """Why the disk of the target is too small for a backup that is not based on another one."""
    if not isinstance(target, DirectoryStore) or not whole:
        return None
    data = engine_dir(config.server.data_dir)
    needed = _used_bytes(data)
    free = free_bytes(target.path)
    shared = os.stat(_existing(target.path)).st_dev == os.stat(_existing(data)).st_dev
    # Where the node's own data is, the node must not run out of space because of a backup.
    spare = FREE_SHARE_MIN * config.wal.free_bytes_min if shared else 0
    if free - needed >= spare:
        return None
    return (
        f"backup: {target} has {free:,} bytes free, and a whole backup needs up to {needed:,}"
        + (f", and the node {spare:,} (wal.free_bytes_min)" if spare else "")
        + "; use another disk or a bucket, or --base"
    )


def _used_bytes(directory: Path) -> int:
    used = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # a part that was merged meanwhile
                used += os.lstat(os.path.join(parent, name)).st_size
    return used


def _existing(path: Path) -> Path:
    return next(found for found in (path, *path.parents) if found.exists())


async def verify(target: Store, report: Report) -> tuple[Written, list[str]]:
    """The manifest, and what is wrong with a backup and with the one that it is based on: files that are
    missing or changed.

    Reads all of it. Raises `NealyticsError` if it is not complete.
    """
    written = await read_manifest(target)
    found = written.manifest
    sizes = await target.sizes()
    report(f"reading {target}: {sum(file.size for file in found.files.values()):,} bytes")
    present = await _checksums(target, found.files.keys() & sizes.keys())
    problems = [f"{target}/{problem}" for problem in manifest.changed(found.files, present)]
    if found.base is not None:
        problems += await _verify_base(found, target, target.at(found.base), report)
    return written, problems


async def _verify_base(found: Manifest, target: Store, base: Store, report: Report) -> list[str]:
    try:
        earlier, digest = await read_manifest(base)
    except Incomplete:
        return [
            f"{target} is based on backup {found.based_on}, which is not at {base}, or not complete: restore "
            "is impossible without it; move it back, or use another backup"
        ]
    if earlier.id != found.based_on or digest != (found.base_sha256 or digest):
        if earlier.id == found.based_on:
            return [
                f"the manifest of {base} has changed since {target} was made: its SHA-256 is {digest[:16]}…, "
                f"and was {(found.base_sha256 or '')[:16]}…; use another backup"
            ]
        return [f"{base} is backup {earlier.id}, and {target} is based on {found.based_on}"]
    return (await verify(base, report))[1]


def verify_archive(archive: BinaryIO, name: str) -> tuple[Written, list[str]]:
    """As `verify`, of a tar archive, which is read once from its beginning to its end. Stores nothing.

    Raises `NealyticsError`, also if `archive` is not a whole archive.
    """
    description, found = None, {}
    try:
        with tarfile.open(fileobj=archive, mode="r|*") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                path = os.path.normpath(member.name)
                if path == manifest.NAME:
                    description = file.read()
                    continue
                digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
                found[path] = File(member.size, digest.hexdigest())
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise NealyticsError(f"backup: {name} is not a whole tar archive: {error}") from error
    if description is None:
        raise Incomplete(f"backup: {name} has no {manifest.NAME}; it is not a complete backup")
    expected = manifest.decode(description, name)
    problems = [f"{name}/{problem}" for problem in manifest.changed(expected.files, found)]
    if expected.base is not None:
        problems.append(f"{name} is based on another backup: unpack both side by side, and verify that")
    return Written(expected, hashlib.sha256(description).hexdigest()), problems


async def restore(config: Config, source: Store, report: Report, erase_again: Callable[[], None]) -> None:
    """Restores a backup into an empty node. Raises `NealyticsError`.

    `erase_again` begins all erasures again: the table and the logs may have what they erased.
    """
    found = (await read_manifest(source)).manifest
    data_dir, database = config.server.data_dir, config.clickhouse.database
    for directory in (engine_dir(data_dir), config.wal.directory):
        if directory.exists() and any(directory.iterdir()):
            raise NealyticsError(
                f"restore: {directory} is not empty; stop the node, move the directory away, and try again"
            )
    if found.database != database:
        raise NealyticsError(
            f'restore: the backup has the database "{found.database}", and clickhouse.database is '
            f'"{database}"; set it to the same'
        )
    written, problems = await verify(source, report)
    _raise(problems)
    base = None if found.base is None else source.at(found.base)
    async with running_engine(config, operator=True):
        client = ClickHouseClient(endpoint_of(config), patient(config))
        async with client:
            with source.located(data_dir) as location, _located(base, data_dir) as earlier:
                await table.restore(client, database, location, earlier, report)
            restored = await table.counts(client, database)
    others = [name for name in found.files if not name.startswith(_TABLE)]
    async with source.fetched(others, data_dir) as directory:
        await asyncio.to_thread(content.put_back, config, directory)
    # The register that is in the backup was written while the backup began.
    noted = written.noted(time.time_ns() // 1_000_000)
    await asyncio.to_thread(partial(register.change, data_dir, found.id, **noted))
    await asyncio.to_thread(erase_again)
    _raise([f"restore: {line}" for line in manifest.differences(restored, found)])
    report(
        f"{manifest.total(restored):,} events are restored, and the counts of each project and month agree"
    )
    if waiting := sum(found.waiting.values()):
        report(f"{waiting:,} events wait in the logs, and are sent when the node starts")


async def backups_in(place: Store, *, strict: bool) -> list[Found]:
    """The backups that a rotation made there; nothing else that is there.

    `strict` raises `NealyticsError` if a manifest is there and cannot be read: the backup may be complete, so
    nothing may be deleted. Otherwise such a backup counts as incomplete, and is no base.
    """
    found = []
    for name in await place.names():
        if not _NAME.fullmatch(name):
            continue
        began = datetime.strptime(name, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
        made = None
        try:
            made = (await read_manifest(place.at(name))).manifest
        except Incomplete:
            pass
        except NealyticsError:
            if strict:
                raise
        base = PurePosixPath(made.base).name if made is not None and made.base is not None else None
        found.append(Found(name, round(began.timestamp() * 1000), made is not None, base))
    return found


async def read_manifest(store: Store) -> Written:
    """Raises `Incomplete` if there is none, and `NealyticsError` if it cannot be read."""
    try:
        data = await _whole(store.read(manifest.NAME))
    except FileNotFoundError as error:
        if isinstance(store, DirectoryStore) and not store.path.exists():
            raise Incomplete(
                f"backup: {store} does not exist; name the directory that `nealytics backup` wrote"
            ) from error
        raise Incomplete(f"backup: {store} has no {manifest.NAME}; it is not a complete backup") from error
    except OSError as error:
        raise NealyticsError(
            f"backup: {store}/{manifest.NAME} cannot be read: {error.strerror}; check the disk"
        ) from error
    return Written(manifest.decode(data, str(store)), hashlib.sha256(data).hexdigest())


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def _checksums(store: Store, names: Collection[str]) -> dict[str, File]:
    slots = asyncio.Semaphore(_READS_AT_ONCE)

    async def checksum(name: str) -> tuple[str, File]:
        digest, size = hashlib.sha256(), 0
        async with slots:
            async for chunk in store.read(name):
                digest.update(chunk)
                size += len(chunk)
        return name, File(size, digest.hexdigest())

    return dict(await asyncio.gather(*map(checksum, sorted(names))))


def _backup_user(config: Config) -> Endpoint:
    access = read_access(config.server.data_dir)
    path = run_dir(config.server.data_dir) / BACKUP_PASSWORD
    try:
        password = path.read_text()
    except OSError as error:
        raise NealyticsError(
            f"backup: {path} cannot be read: {error.strerror}; run the command as the user of the node"
        ) from error
    assert access is not None
    return embedded_endpoint(access, config.clickhouse.database, "backup", password)


def patient(config: Config) -> ClickHouseConfig:
    """Counting all events takes as long as it takes, whatever a read of the node may take."""
    return msgspec.structs.replace(config.clickhouse, query_timeout_s=_TIMEOUT_S)


def _raise(problems: list[str]) -> None:
    if problems:
        raise NealyticsError("\n".join(problems))
