"""`nealytics import`: events from a file, through a running server."""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import uvloop

from nealytics.cli.options import config_option
from nealytics.config import load, split_listen
from nealytics.errors import NealyticsError
from nealytics.importer.run import Options, Result, import_rows
from nealytics.importer.source import Format, Source

_TOLD_EVERY_S = 5.0
_REFUSALS_SHOWN = 10


def _pairs(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        if not equals or not name or not rest:
            raise click.BadParameter(f"{value!r} is not of the form {parameter.metavar}")
        if name in pairs:
            raise click.BadParameter(f"{name} is given twice")
        pairs[name] = rest
    return pairs


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option(
    "--url",
    help="The server. Default: where the configuration says that it listens, else http://127.0.0.1:5000.",
)
@click.option(
    "--key",
    envvar="NEALYTICS_IMPORT_KEY",
    show_envvar=True,
    help="An ingest key of it. Default: the first one in the configuration.",
)
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    help="Default: by the file's name (.csv, .tsv, else NDJSON; .gz may follow).",
)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="FIELD=COLUMN",
    callback=_pairs,
    help="Which column is which field.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_pairs,
    help="A field that is the same in all.",
)
@click.option(
    "--rest",
    type=click.Choice(["metadata", "ignore"]),
    help="What becomes of other columns. Default: metadata for CSV, ignore for NDJSON.",
)
@click.option(
    "--timestamp", metavar="ISO8601", help="Of rows that have none. Default: when the import began."
)
@click.option("--delimiter", metavar="CHAR", help="Of a CSV. Default: a comma, or a tab for .tsv.")
@click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    help="Of a CSV, one that extends ASCII (latin-1, cp1252).",
)
@click.option(
    "--batch-events",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="Events per request.",
)
@click.option(
    "--batch-bytes",
    type=click.IntRange(1_000),
    default=900_000,
    show_default=True,
    help="Bytes per request before compression. The server's ingest.body_bytes_max must allow it.",
)
@click.option(
    "--requests", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests in flight."
)
@click.option("--compress", type=click.Choice(["zstd", "gzip", "none"]), default="zstd", show_default=True)
@click.option(
    "--give-up-after",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="End when a request has failed for so long. Default: try for ever; a later run can go on.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where to keep how far it has come. Default: FILE.import-state; none for standard input.",
)
@click.option("--restart", is_flag=True, help="Send everything again, whatever was sent before.")
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where refused rows go. Default: FILE.rejected.ndjson; import.rejected.ndjson for standard input.",
)
@click.option("--allow-rejected", is_flag=True, help="Exit with 0 although rows were refused.")
def import_(
    file: str,
    url: str | None,
    key: str | None,
    config_path: Path | None,
    form: Format | None,
    mapped: dict[str, str],
    constants: dict[str, str],
    rest: str | None,
    timestamp: str | None,
    delimiter: str | None,
    encoding: str,
    batch_events: int,
    batch_bytes: int,
    requests: int,
    compress: Any,
    give_up_after: float | None,
    state: Path | None,
    restart: bool,
    rejected: Path | None,
    allow_rejected: bool,
) -> None:
    """Send the events of FILE (NDJSON or CSV, also gzipped; - is standard input) to a running server.

    \b
    An event needs projectId, tenantId, sessionId and eventType. Say where they come from:
      nealytics import visits.csv.gz \\
        --set projectId=shop --set tenantId=acme \\
        --map sessionId=session_id --map eventType=event --map userId=user_id
    Columns of a field's own name (timestamp, itemId, …) need no --map. The other columns become the metadata.

    It can be interrupted and started again: it goes on where everything before was acknowledged. Whatever is
    sent twice is counted once, for an event's id is made of the file's first two lines, the row's number and
    its bytes (unless a column is the eventId). The one exception: rows without timestamp get the moment at
    which the import began, which is in the state file; if that is lost, a new run makes new events of them.
    --timestamp avoids it.

    Times may be ISO 8601, also with a space (2024-03-13 10:21:14), no zone meaning UTC, or milliseconds
    since 1970. The server refuses times that are older than its retention or in the future.

    Refused rows are written, with the reason, to FILE.rejected.ndjson, which can be mended and imported in
    turn; of a CSV row that does not fit the header only the text is there, so it has to be written anew.

    \b
    Exit status: 0 all accepted; 1 some were refused, or it could not go on; 130 interrupted.
    """
    plain_name = file.removesuffix(".gz").lower()
    if form is None:
        form = "csv" if plain_name.endswith((".csv", ".tsv")) else "ndjson"
    if delimiter is None:
        delimiter = "\t" if plain_name.endswith(".tsv") else ","
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1:
        raise click.BadParameter("one character, or the word tab", param_hint="--delimiter")
    try:
        b"".decode(encoding)
    except LookupError:
        raise click.BadParameter(f"{encoding!r} is not known", param_hint="--encoding") from None
    beside = None if file == "-" else file
    options = Options(
        url=url or _server_url(config_path),
        key=key or _first_key(config_path),
        form=form,
        delimiter=delimiter,
        encoding=encoding,
        mapped=mapped,
        constants=constants,
        rest_is_metadata=rest == "metadata" if rest else form == "csv",
        timestamp=timestamp,
        batch_events=batch_events,
        batch_bytes=batch_bytes,
        requests=requests,
        compression=compress,
        give_up_after_s=give_up_after,
        state_path=state or (Path(f"{beside}.import-state") if beside else None),
        rejected_path=rejected or Path(f"{beside or 'import'}.rejected.ndjson"),
        restart=restart,
    )
    source = Source.open(file)
    with ExitStack() as stack:
        stack.callback(source.close)
        progress = stack.enter_context(_Terminal(source))
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                result = runner.run(import_rows(source, options, progress))
        except KeyboardInterrupt:
            progress.finish()
            hint = "; the same command goes on from there" if options.state_path else ""
            click.echo(
                f"import: interrupted; {progress.settled:,} rows were settled in this run{hint}", err=True
            )
            sys.exit(130)
    _tell(result, options)
    if result.rejected and not allow_rejected:
        sys.exit(1)


def _server_url(config_path: Path | None) -> str:
    host, port = split_listen(load(config_path).server.listen)
    if host in {"0.0.0.0", "::"}:  # every address of this machine, so also this one
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _first_key(config_path: Path | None) -> str:
    keys = load(config_path).auth.api_keys
    for entry in keys:
        if entry.key:
            return entry.key
    raise NealyticsError(
        "import: which ingest key? Give --key, set NEALYTICS_IMPORT_KEY, or name a configuration that has one"
        + (" in the clear (a key_sha256 cannot be sent)" if keys else "")
    )


def _tell(result: Result, options: Options) -> None:
    rate = result.rows / result.seconds if result.seconds else 0.0
    if result.resumed_at and not result.rows:
        click.echo(f"import: nothing to do, an earlier run had settled all {result.resumed_at:,} rows")
    else:
        before = f" (after {result.resumed_at:,} of earlier runs)" if result.resumed_at else ""
        click.echo(
            f"import: {result.rows:,} rows{before}: {result.accepted:,} accepted,"
            f" {result.rejected:,} rejected, {result.seconds:.1f} s, {rate:,.0f} events/s"
        )
    for refusal in result.first_refusals[:_REFUSALS_SHOWN]:
        where = f"{refusal.field}: " if refusal.field else ""
        click.echo(f"  row {refusal.row}: {where}{refusal.error}", err=True)
    if result.rejected > _REFUSALS_SHOWN:
        click.echo("  …", err=True)
    if result.rejected:
        click.echo(f"  all of them, with their reasons: {options.rejected_path}", err=True)


class _Terminal:
    """A progress bar on a terminal; elsewhere a line now and then, for a log."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self.settled = 0
        self._source = source
        self._clock = clock
        self._told = clock()
        self._told_retry = -_TOLD_EVERY_S
        self._position = 0
        self._bar: Any = None
        if sys.stderr.isatty() and source.size:
            self._bar = click.progressbar(length=source.size, label="import", file=sys.stderr, show_pos=False)

    def __enter__(self) -> "_Terminal":
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def resumed(self, row: int) -> None:
        self._say(f"import: goes on after row {row:,}, where an earlier run ended")

    def advanced(self, position: int, result: Result) -> None:
        self.settled = result.rows
        if self._bar is not None:
            self._bar.label = f"import: {result.accepted:,} accepted, {result.rejected:,} rejected"
            self._bar.update(position - self._position)
            self._position = position
        elif self._clock() - self._told >= _TOLD_EVERY_S:
            self._told = self._clock()
            share = f" ({position / self._source.size:.0%})" if self._source.size else ""
            self._say(f"import: {result.accepted:,} accepted, {result.rejected:,} rejected{share}")

    def retrying(self, why: str, delay_s: float) -> None:
        # Several requests are turned away at once, again and again; one line in a while is enough.
        if self._clock() - self._told_retry >= _TOLD_EVERY_S:
            self._told_retry = self._clock()
            self._say(f"import: {why}; trying again in {delay_s:.1f} s")

    def _say(self, line: str) -> None:
        click.echo(f"\r{line}" if self._bar is not None else line, err=True)
