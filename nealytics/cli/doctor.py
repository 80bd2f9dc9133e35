"""`nealytics doctor`: whether this machine, this configuration and this ClickHouse suit each other."""

import asyncio
import ctypes
import logging
import os
import shutil
import stat
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from nealytics.auth import jwks
from nealytics.auth.jwt import TokenVerifier
from nealytics.cli.options import config_option, folded, load_serving
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.damage import broken_parts
from nealytics.clickhouse.embedded import no_room_for_engine, read_access, running_engine
from nealytics.clickhouse.endpoint import saved_endpoint
from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.clickhouse.sql import TABLE
from nealytics.config import Config
from nealytics.errors import ConfigError, NealyticsError
from nealytics.process import open_files_problem
from nealytics.queries.saved import catalog
from nealytics.wal import OS_FILES, quarantine
from nealytics.wal.start import FILESYSTEMS_REFUSED

# A group of events is acknowledged after one fdatasync, so this is what a client waits for at least.
FSYNC_SLOW_MS = 20.0
FSYNC_TRIES = 20
CLOCK_DIFFERENCE_MAX_S = 1.0
GIB = 1024**3
EMBEDDED_MEMORY_BYTES_MIN = 1 * GIB

_ADJTIMEX_UNSYNCHRONIZED = 5  # TIME_ERROR of adjtimex(2)


class Finding(NamedTuple):
    """One line of the doctor's: `level` is pass, warn or fail; `text` says what was found and what to do."""

    check: str
    level: str
    text: str


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object per check and line, for scripts.")
def doctor(config_path: Path | None, as_json: bool) -> None:
    """Check configuration, disk, clock, limits and ClickHouse, and say how to fix problems.

    The only change is a file of a few kilobytes in the log directory, which the command removes. A node may
    run meanwhile; if the embedded engine does not run, the command starts it temporarily. Exit status 1 if a
    check fails; 0 if there are only warnings.
    """
    failed = False
    for finding in findings(config_path):
        failed |= finding.level == "fail"
        if as_json:
            click.echo(msgspec.json.encode(finding._asdict()))
        else:
            click.echo(folded(f"{finding.level:<5} {finding.check:<14} ", finding.text, sys.stdout))
    sys.exit(1 if failed else 0)


def findings(config_path: Path | None) -> Iterator[Finding]:
    try:
        loaded = load_serving(config_path)
    except ConfigError as error:
        for problem in error.problems:
            yield Finding("configuration", "fail", problem)
        return
    # Which one: somebody who forgot --config would otherwise be told about another node, or none.
    sources = ", ".join(sorted(set(loaded.sources.values()))) or "no source, so every setting has its default"
    yield Finding("configuration", "pass", f"valid, read from {sources}")
    config = loaded.config
    for note in loaded.notes:
        yield Finding("configuration", "warn", note)
    yield from disk(config)
    yield from quarantined(config)
    yield clock()
    yield from limits(config)
    yield from asyncio.run(_issuers(config))
    yield from asyncio.run(_clickhouse(config))
    yield from asyncio.run(_saved_queries(config))


def disk(config: Config) -> Iterator[Finding]:
    """The place of the log: whether it can be written, has room, keeps what it syncs, and how fast."""
    directory = config.wal.directory
    try:
        # One that is not there yet is made by the node: another user's would not be the node's.
        directory = next(filter(os.path.exists, (directory, *directory.parents)))
        took_ms = _fsync_ms(directory)
    except OSError as error:
        yield Finding(
            "disk",
            "fail",
            f"cannot write to {directory}: {error.strerror}; change its owner, or wal.directory",
        )
        return
    yield from privacy(config)
    filesystem = OS_FILES.filesystem(directory)
    if filesystem in FILESYSTEMS_REFUSED and not config.wal.allow_any_filesystem:
        yield Finding(
            "disk",
            "fail",
            f"{directory} is on {filesystem}, which can lose synced data; set wal.directory to "
            "a local disk (in a container: a volume)",
        )
    free = shutil.disk_usage(directory).free
    wanted = config.wal.free_bytes_min
    if free <= wanted:
        yield Finding(
            "disk",
            "fail",
            f"{directory} has {_size(free)} free, and the node refuses events below {_size(wanted)} "
            "(wal.free_bytes_min); free some disk space",
        )
    elif free < wanted + config.wal.bytes_max:
        yield Finding(
            "disk",
            "warn",
            f"{directory} has {_size(free)} free, so the log cannot grow to wal.bytes_max "
            f"({_size(config.wal.bytes_max)}); free some disk space, or lower wal.bytes_max",
        )
    else:
        yield Finding("disk", "pass", f"{directory} ({filesystem}) has {_size(free)} free")
    if config.clickhouse.url == "embedded" and (problem := no_room_for_engine(config.server.data_dir)):
        yield Finding("disk", "fail", problem)
    if took_ms > FSYNC_SLOW_MS:
        yield Finding(
            "fsync",
            "warn",
            f"{took_ms:.1f} ms (median), and every acknowledgement waits for one; put wal.directory on a "
            "local SSD",
        )
    else:
        yield Finding("fsync", "pass", f"{took_ms:.2f} ms (median of {FSYNC_TRIES})")


def privacy(config: Config) -> Iterator[Finding]:
    """Whether other users can look into the directories of events. Nealytics makes them with mode 0700."""
    for directory in sorted({config.server.data_dir, config.wal.directory}):
        if directory.is_dir() and (mode := stat.S_IMODE(directory.stat().st_mode)) & 0o007:
            yield Finding(
                "disk",
                "warn",
                f"{directory} has mode {mode:04o}, so every user can enter it; run chmod 700",
            )


def quarantined(config: Config) -> Iterator[Finding]:
    """Damaged logs that a node left for a person."""
    root = config.wal.directory
    for _, path in quarantine.find(root) if root.is_dir() else ():
        try:
            report = quarantine.read_report(path)
        except (OSError, msgspec.MsgspecError):
            report = None
        yield Finding("stored events", "fail", f"{path}: {quarantine.described(report)}")


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / 1024**2:.0f} MiB"


def _fsync_ms(directory: Path) -> float:
    path = directory / f".doctor-{os.getpid()}"
    took = []
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    try:
        for _ in range(FSYNC_TRIES):
            os.write(fd, bytes(4096))
            started = time.perf_counter()
            os.fdatasync(fd)
            took.append((time.perf_counter() - started) * 1000)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(took)


def clock() -> Finding:
    """Whether the kernel knows its clock to be kept right by a time server."""
    buffer = ctypes.create_string_buffer(512)  # struct timex; its size differs between machines
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    if state == _ADJTIMEX_UNSYNCHRONIZED:
        return Finding(
            "clock",
            "warn",
            "not synchronized, and events without a timestamp get the time of this clock; run a time service "
            "(chrony, systemd-timesyncd)",
        )
    if state < 0:
        return Finding("clock", "warn", f"its state cannot be read: {os.strerror(ctypes.get_errno())}")
    return Finding("clock", "pass", "synchronized")


def limits(config: Config) -> Iterator[Finding]:
    problem = open_files_problem(config.server.connections_max)
    if problem is not None:
        yield Finding("open files", "warn", problem)
    else:
        yield Finding("open files", "pass", "enough for server.connections_max")
    if config.clickhouse.url == "embedded":
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        text = f"{total / GIB:.1f} GiB, of which the embedded engine may use half"
        if total < EMBEDDED_MEMORY_BYTES_MIN:
            yield Finding(
                "memory", "warn", f"{text}; that is too little for large queries: use a ClickHouse server"
            )
        else:
            yield Finding("memory", "pass", text)


async def _issuers(config: Config) -> list[Finding]:
    """Whether the keys of each issuer can be fetched, and which there are."""
    found = []
    # The finding says what it logs.
    logging.getLogger(jwks.__name__).addHandler(logging.NullHandler())
    verifier = TokenVerifier(config.auth)
    try:
        for issuer in (verifier.issuers.own, *verifier.issuers.others):
            if issuer.jwks is None:
                continue
            await issuer.jwks.look_again()
            level = "fail" if not issuer.jwks.available else "pass" if issuer.jwks.keys else "warn"
            said = issuer.jwks.said.removeprefix("auth: ")
            found.append(Finding("issuer", level, f"{issuer.name or issuer.setting}: {said}"))
    finally:
        await verifier.close()
    return found


async def _clickhouse(config: Config) -> list[Finding]:
    found = []
    name = f"{config.clickhouse.database}.{TABLE}"
    try:
        async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            await client.ping()  # which leaves an address that is down; a node does, too
            started = time.time()
            answer = await client.command(
                "SELECT version(), toUnixTimestamp64Milli(now64(3)) FORMAT TabSeparatedRaw"
            )
            version, now_ms = answer.split()
            found.append(Finding("clickhouse", "pass", f"version {version} at {client.endpoint}"))
            # It answered at some moment between these two.
            apart_s = max(started - int(now_ms) / 1000, int(now_ms) / 1000 - time.time(), 0.0)
            if apart_s > CLOCK_DIFFERENCE_MAX_S:
                text = f"ClickHouse's clock differs by {apart_s:.1f} s; synchronize both clocks"
                found.append(Finding("clock", "warn", text))
            unknown = await client.learn_settings()
            if unknown:
                text = f"this version does not know {', '.join(sorted(unknown))}; requests leave it out"
                found.append(Finding("settings", "warn", text))
            else:
                found.append(Finding("settings", "pass", "this version knows all of them"))
            if await schema.read_table(client, config.clickhouse.database) is None and (
                config.clickhouse.apply_schema
            ):
                found.append(Finding("schema", "pass", f"{name} does not exist yet; serve creates it"))
            else:
                kept, warnings = await schema.probe(client, config.clickhouse)
                found += await _addresses(client)
                found.append(Finding("schema", "pass", f"{name} stores events exactly once"))
                found += [Finding("schema", "warn", warning) for warning in warnings]
                damage = await broken_parts(client, config.clickhouse)
                found += [Finding("stored events", "fail", text) for text in damage]
                difference = schema.difference(kept, config.clickhouse.retention_days, name)
                text = difference or f"{name} keeps events for clickhouse.retention_days"
                found.append(Finding("retention", "warn" if difference else "pass", text))
    except NealyticsError as error:
        check = "clickhouse" if not found else "schema"
        text = str(error).removeprefix("clickhouse: ")
        if isinstance(error, ClickHouseUnavailable) and config.clickhouse.url != "embedded":
            text += "; start ClickHouse, or correct clickhouse.url"
        found.append(Finding(check, "fail", text))
    return found


async def _saved_queries(config: Config) -> list[Finding]:
    """Whether each file can be run; nothing if there is no directory of them."""
    directory = config.saved_queries.directory
    if not directory.is_dir():
        return []
    # The findings say what it logs.
    logging.getLogger(catalog.__name__).addHandler(logging.NullHandler())
    logging.getLogger(catalog.__name__).propagate = False
    try:
        async with running_engine(config):
            saved = catalog.Catalog(config, saved_endpoint(config, read_access(config.server.data_dir)))
            await saved.load()
            await saved.close()
    except NealyticsError as error:
        return [Finding("saved queries", "warn", f"cannot be checked: {error}")]
    if saved.off is not None:
        return [Finding("saved queries", "warn", saved.off)]
    found = [
        Finding("saved queries", "warn", f"{directory / file}: {why}") for file, why in saved.problems.items()
    ]
    if saved.queries or not found:
        names = ", ".join(one.declared.name for one in saved.queries.values())
        found.insert(
            0, Finding("saved queries", "pass", f"{len(saved.queries)} can be run: {names or 'none'}")
        )
    return found


async def _addresses(client: ClickHouseClient) -> list[Finding]:
    """The ones that a batch cannot move to. One that is well is enough for a node to work."""
    found = []
    for address in client.addresses.all:
        try:
            await client.verify(address)
        except NealyticsError as error:
            found.append(
                Finding("addresses", "warn", f"an address of clickhouse.url cannot be used: {error}")
            )
    return found
