"""`nealytics export`: events out of ClickHouse into a file, of one tenant, one project, or all there are.

It asks ClickHouse itself, the one of the configuration: a server, or the embedded engine, whose node may run
or not. So it needs neither token nor node, and no limit of the read API stands in its way.

What it writes is complete, or is not there: a file gets its name once everything is in it. On standard output
only whole slices are written, and the exit status says whether it was all.
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from nealytics.auth.scope import Scope
from nealytics.cli.options import config_option
from nealytics.cli.times import timestamp
from nealytics.clickhouse import native
from nealytics.clickhouse.client import ClickHouseClient, Setting, endpoint_of
from nealytics.clickhouse.embedded import engine_dir, running_engine
from nealytics.clickhouse.error_codes import Kind
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.failover import Address
from nealytics.compression import Compressor
from nealytics.config import Config, load
from nealytics.erasure.known import jobs_of
from nealytics.errors import NealyticsError
from nealytics.queries import export, export_end
from nealytics.queries.export import Params, Slice
from nealytics.queries.filters import Selection
from nealytics.queries.scoped import Events, limit_settings, projects
from nealytics.queries.time_bounds import TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN
from nealytics.timestamps import iso_utc

log = logging.getLogger("nealytics.export")

FORMATS = ("ndjson", "csv", "parquet", "native")
ENDINGS = {
    ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".parquet": "parquet", ".native": "native",
}  # fmt: skip
PACKINGS = {".gz": "gzip", ".zst": "zstd"}

# A count over a whole project may take a while, and nobody's page waits for it.
_QUERY_TIMEOUT_S = 60.0
_PARQUET_TIMEOUT_S = 6 * 3_600.0
# A slice is received as a whole before any of it is written; beyond this, in a temporary file.
_SLICE_MEMORY_BYTES_MAX = 64 * 1024**2
_COPY_BYTES = 1024**2
# Behind the footer, without which nothing of the file can be read.
_PARQUET_END = b"PAR1"


@click.command("export")
@click.argument("file", metavar="[FILE]", default="-")
@click.option("--project", metavar="ID", help="Export this project only.")
@click.option("--tenant", metavar="ID", help="Export this tenant of --project only.")
@click.option(
    "--from", "from_ms", callback=timestamp, metavar="ISO8601", help="First timestamp. Default: all events."
)
@click.option(
    "--to",
    "to_ms",
    callback=timestamp,
    metavar="ISO8601",
    help="Last timestamp, included; a date without a time includes the whole day.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Default: from the file name (.ndjson, .csv, .parquet, .native; .gz or .zst may follow, except for"
    " Parquet, which is compressed internally).",
)
@click.option(
    "--end",
    is_flag=True,
    help="Add a last record with the number of events, which proves completeness; import verifies it.",
)
@config_option
def export_(
    file: str,
    project: str | None,
    tenant: str | None,
    from_ms: int | None,
    to_ms: int | None,
    form: str | None,
    end: bool,
    config_path: Path | None,
) -> None:
    """Write all events, or those of a project or tenant, to FILE (- or none: standard output).

    \b
      nealytics export events.ndjson.gz
      nealytics export --project shop --tenant acme --from 2026-01-01 acme.csv

    `nealytics import` restores the same events from each format; an event that is imported twice is counted
    once. parquet contains one project. native is for ClickHouse itself and contains every column of the
    table, including the time at which the event was received:

    \b
      nealytics export --format native | curl -fsS -T - \\
        "http://clickhouse:8123/?query=INSERT+INTO+nealytics_core.global_events+FORMAT+Native"

    The command reads from the ClickHouse of the configuration. If the embedded engine does not run, the
    command starts it temporarily. Every event that was committed before the export began is included once; an
    event that is committed while it runs may be included.

    The command writes FILE.part and renames it to FILE when it is complete. On standard output, check the
    exit status (in a pipe: set -o pipefail), or the last record of --end.

    \b
    Exit status: 0 complete; 1 not completed; 130 interrupted.
    """
    if tenant is not None and project is None:
        raise click.UsageError("--tenant needs --project: several projects may have a tenant of that name.")
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise click.UsageError("--from is later than --to; swap the two")
    config = load(config_path)
    form, packing = format_of(file, form)
    if end and form == "native":
        raise click.UsageError("--end is for ndjson and csv; native does not support it.")
    chosen = Chosen(project, tenant, from_ms, to_ms, form, end)
    began = time.monotonic()
    try:
        with _output(file) as write:
            done = asyncio.run(_export(config, chosen, _Output(write, packing)))
    except KeyboardInterrupt:
        click.echo("export: interrupted; the export is not complete", err=True)
        sys.exit(130)
    except OSError as error:
        raise NealyticsError(
            f"export: cannot write {file}: {error.strerror}; free some disk space, or choose another file"
        ) from error
    _report(done, chosen, time.monotonic() - began)


@dataclass(frozen=True)
class Chosen:
    project_id: str | None
    tenant_id: str | None
    from_ms: int | None
    to_ms: int | None
    format: str
    end: bool = False  # with a last record that says so


@dataclass
class Done:
    projects: int = 0
    events: int = 0
    bytes: int = 0  # before they are compressed


def _report(done: Done, chosen: Chosen, seconds: float) -> None:
    click.echo(
        f"export: {done.events:,} events of {done.projects:,} project{'s' * (done.projects != 1)}, "
        f"{done.bytes:,} bytes of {chosen.format}, {seconds:.1f} s",
        err=True,
    )
    if not done.events and (chosen.project_id, chosen.from_ms, chosen.to_ms) != (None, None, None):
        click.echo("no event in the table matches: are project, tenant and range right?", err=True)


Write = Callable[[bytes], object]


async def _export(config: Config, chosen: Chosen, output: "_Output") -> Done:
    if config.clickhouse.url == "embedded" and not engine_dir(config.server.data_dir).is_dir():
        raise NealyticsError(
            f"export: {engine_dir(config.server.data_dir)} does not exist, so the embedded engine has stored "
            "nothing there; set server.data_dir to the node's directory, or clickhouse.url to the server"
        )
    patient = msgspec.structs.replace(
        config.clickhouse, query_timeout_s=max(_QUERY_TIMEOUT_S, config.clickhouse.query_timeout_s)
    )
    # How much there is to read is the operator's own business.
    limits: dict[str, Setting] = {**limit_settings(config.query), "max_rows_to_read": 0}
    done = Done()
    async with running_engine(config), ClickHouseClient(endpoint_of(config), patient) as client:
        database = config.clickhouse.database
        asker = _Asker(client)
        if chosen.project_id is not None:
            named = [chosen.project_id]
        else:
            named = await asker.ask(lambda: projects(client, database))
        if chosen.format == "parquet" and len(named) > 1:
            # One file has one schema and one footer, and is one query's; a query is one project's.
            raise NealyticsError(
                f"export: a Parquet file holds one project, and there are {len(named)}:"
                f" {', '.join(named[:20])}; choose one with --project, or write .ndjson, .csv or .native,"
                " which hold all"
            )
        for project_id in named:
            jobs = await jobs_of(client, config)
            events = Events(
                client,
                database,
                Scope(project_id, chosen.tenant_id),
                limits=limits,
                hidden=jobs.hidden,
            )
            extent = partial(events.rows, export.extent_sql(), export.COUNT_SETTINGS)
            ((first_ms, last_ms, any_at_all),) = await asker.ask(extent)
            from_ms = max(first_ms, TIMESTAMP_MS_MIN if chosen.from_ms is None else chosen.from_ms)
            to_ms = min(last_ms, TIMESTAMP_MS_MAX if chosen.to_ms is None else chosen.to_ms)
            if not any_at_all or from_ms > to_ms:
                continue
            params = Params(format=chosen.format, selection=Selection(from_ms=from_ms, to_ms=to_ms))
            before = done.events
            if chosen.format == "parquet":
                await _export_parquet(events, params, asker, output, done)
                done.projects += 1
                continue
            await _export_project(events, params, asker, output, done)
            done.projects += done.events > before
        if chosen.format == "csv" and not done.events:
            output.write(export.CSV_HEADER)
        if chosen.format == "parquet" and not done.bytes:
            raise NealyticsError("export: there are no events for a Parquet file")
        if chosen.end and chosen.format in export_end.FORMATS:
            output.write(export_end.record(chosen.format, done.events, len(export.FIELDS)))
    output.end()
    return done


async def _export_project(
    events: Events, params: Params, asker: "_Asker", output: "_Output", done: Done
) -> None:
    parts = export.parts(events, params, asker.ask, _too_large)
    async with aclosing(parts):
        async for part, pieces in parts:
            with tempfile.SpooledTemporaryFile(_SLICE_MEMORY_BYTES_MAX) as whole:
                count = await _receive(events, params, part, pieces, asker, whole)
                if params.format == "csv" and not done.events:
                    output.write(export.CSV_HEADER)
                done.events += count
                done.bytes += whole.tell()
                whole.seek(0)
                while piece := whole.read(_COPY_BYTES):
                    output.write(piece)


async def _export_parquet(
    events: Events, params: Params, asker: "_Asker", output: "_Output", done: Done
) -> None:
    """In one query, however long it takes: the file has its contents at its end."""

    async def received() -> int:
        whole.seek(0)
        whole.truncate()
        stream = events.stream(
            export.parquet_sql(params),
            export.OUTPUT_FORMATS["parquet"],
            export.PARQUET_SETTINGS,
            _PARQUET_TIMEOUT_S,
        )
        async with stream as pieces:
            return await _copied(pieces, whole, "parquet")

    with tempfile.SpooledTemporaryFile(_SLICE_MEMORY_BYTES_MAX) as whole:
        await asker.ask(received)
        everything = Slice(params.selection.from_ms, params.selection.to_ms)
        ((count,),) = await asker.ask(lambda: events.rows(export.slice_count_sql(params, everything)))
        done.events += count
        done.bytes += whole.tell()
        whole.seek(0)
        while piece := whole.read(_COPY_BYTES):
            output.write(piece)


async def _receive(
    events: Events,
    params: Params,
    part: Slice,
    pieces: AsyncIterator[bytes],
    asker: "_Asker",
    whole: "IO[bytes] | tempfile.SpooledTemporaryFile[bytes]",
) -> int:
    """Fills `whole` with a slice; how many events it has."""

    async def expected() -> int:
        ((count,),) = await events.rows(export.slice_count_sql(params, part))
        return int(count)

    try:
        count = await _copied(pieces, whole, params.format)
        if asker.is_remote:
            _check_count(count, await asker.ask(expected), part)
    except ClickHouseUnavailable as error:
        # The slice is not complete. Nothing of it is written yet, so it can be fetched again.
        log.warning("export: %s; fetching the slice again", error)

        async def again() -> int:
            whole.seek(0)
            whole.truncate()
            # Counted first: what is committed from here on may be in the slice or not.
            least = await expected()
            stream = events.stream(
                export.slice_sql(params, part), export.OUTPUT_FORMATS[params.format], export.SETTINGS
            )
            async with stream as pieces:
                count = await _copied(pieces, whole, params.format)
            _check_count(count, least, part)
            return count

        count = await asker.ask(again)
    return count


def _check_count(count: int, least: int, part: Slice) -> None:
    """A proxy may end an answer that broke off as if it were whole. Raises `ClickHouseUnavailable`."""
    if count < least:
        raise ClickHouseUnavailable(
            f"{count:,} of {least:,} events from {iso_utc(part.from_ms)} to {iso_utc(part.to_ms)} arrived, "
            "but the answer looked complete: a proxy between this node and ClickHouse truncates answers"
        )


async def _copied(
    pieces: AsyncIterator[bytes], into: "IO[bytes] | tempfile.SpooledTemporaryFile[bytes]", form: str
) -> int:
    """How many events were in the pieces; 0 of Parquet. Raises `ClickHouseUnavailable` if they end too early
    for their format."""
    counter = export_end.Counter(form)
    async for piece in pieces:
        try:
            into.write(piece)
        except OSError as error:
            # Not the output's: a large slice is in a temporary file.
            raise NealyticsError(
                f"export: cannot write a temporary file: {error.strerror}; set TMPDIR to a directory on a "
                "larger disk"
            ) from error
        counter.feed(piece)
    try:
        if form == "native":
            return native.rows_in(into)
        if form == "parquet" and _last_bytes(into, len(_PARQUET_END)) != _PARQUET_END:
            raise EOFError
    except EOFError:
        raise ClickHouseUnavailable(
            f"the {form} answer is incomplete: a proxy between this node and ClickHouse truncates answers"
        ) from None
    return counter.events


def _last_bytes(file: "IO[bytes] | tempfile.SpooledTemporaryFile[bytes]", count: int) -> bytes:
    file.seek(max(0, file.seek(0, os.SEEK_END) - count))
    return file.read()


def _too_large(error: NealyticsError) -> bool:
    return isinstance(error, ClickHouseError) and error.kind is Kind.LIMIT


class _Asker:
    """Asks ClickHouse, of several addresses each; once it has answered at all, again after a failure that may
    pass."""

    def __init__(self, client: ClickHouseClient) -> None:
        self._client = client
        self._begun = False
        # Whether a proxy may be on the way.
        self.is_remote = not client.endpoint.embedded

    async def ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        for delay_s in export.RETRY_DELAYS_S:
            try:
                return await self._ask_each(question)
            except ClickHouseError as error:
                if not (_may_pass(error) and self._begun):
                    raise
                log.warning("export: %s; retrying in %.0f s", error, delay_s)
                await asyncio.sleep(delay_s)
        return await self._ask_each(question)

    async def _ask_each(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """At the best address; if it fails there, at each other one that is not left alone."""
        addresses = self._client.addresses
        tried: list[Address] = []
        while True:
            address = addresses.best()
            tried.append(address)
            try:
                # Another ClickHouse than that of the other addresses has other events, or a part of them.
                await self._client.verify(address)
                self._client.addresses.read_at(address)
                answer = await question()
            except ClickHouseError as error:
                following = addresses.best()
                if not _may_pass(error) or following in tried or addresses.is_cooling(following):
                    raise
            else:
                self._begun = True
                return answer


def _may_pass(error: ClickHouseError) -> bool:
    return error.kind is Kind.LATER


@contextmanager
def _output(file: str) -> Iterator[Write]:
    """Where to write. Within it the file has another name; it is replaced at the end, and only if all went
    well."""
    if file == "-":
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    if Path(file).exists() and not Path(file).is_file():
        # A directory would be found out at the end only, and /dev/null would be replaced.
        raise NealyticsError(
            f"export: {file} is not a regular file; give a file name, or - for standard output"
        )
    unfinished = Path(f"{file}.part")
    try:
        with unfinished.open("wb") as part:
            yield part.write
            part.flush()
            os.fsync(part.fileno())
        unfinished.replace(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def format_of(file: str, form: str | None) -> tuple[str, str | None]:
    """What the file's name, and --format, say: the format, and how it is packed. Raises `UsageError`: a file
    whose name says one thing and whose content another would be found out when it is needed."""
    suffixes = [suffix.lower() for suffix in Path(file).suffixes[-2:]] if file != "-" else []
    packing = PACKINGS.get(suffixes[-1]) if suffixes else None
    if packing:
        suffixes.pop()
    named = ENDINGS.get(suffixes[-1]) if suffixes else None
    if form is None and named is None and suffixes:
        raise click.UsageError(
            f"{file}: {suffixes[-1]} is not a known format; use {', '.join(ENDINGS)} (.gz or .zst may "
            "follow), or add --format"
        )
    if form is not None and named is not None and form != named:
        raise click.UsageError(
            f"{file} has the extension of {named}, but --format is {form}; change one of them"
        )
    form = form or named or "ndjson"
    if form == "parquet" and packing:
        raise click.UsageError(f"{file}: Parquet is compressed internally; remove {Path(file).suffix}")
    return form, packing


class _Output:
    """Writes, compressed if `packing` is gzip or zstd."""

    def __init__(self, write: Write, packing: str | None) -> None:
        self._write = write
        self._compressor = Compressor(packing) if packing else None

    def write(self, data: bytes) -> None:
        self._write(data if self._compressor is None else self._compressor.compress(data))

    def end(self) -> None:
        if self._compressor is not None:
            self._write(self._compressor.end())
