"""`nealytics import`: events from a file, through a running server."""

import asyncio
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
import uvloop

from nealytics.cli.options import config_option, first_key, server_url
from nealytics.config import load
from nealytics.errors import NealyticsError
from nealytics.importer import presets, times
from nealytics.importer.convert import Convertible, open_converted
from nealytics.importer.convert import convert as convert_file
from nealytics.importer.options import GIVE_UP_AFTER_S, Options, Type
from nealytics.importer.reshaped import open_reshaped
from nealytics.importer.rows import QUOTED_LINES_MAX, Format
from nealytics.importer.run import Result, import_rows, open_rows
from nealytics.importer.source import RECORD_BYTES_MAX, Source, open_source

_SAID_EVERY_S = 5.0
_ENDINGS: dict[Format | Convertible, tuple[str, ...]] = {
    "csv": (".csv", ".tsv", ".tab"),
    "parquet": (".parquet",),
    "native": (".native",),
}
_DRAWN_EVERY_S = 0.1
_REFUSALS_SHOWN = 10
_BAR_CELLS_MIN, _BAR_CELLS_MAX = 10, 40
_COLUMNS_UNKNOWN = 80
_CLEAR_LINE = "\r\x1b[K"


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


def _types(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = _pairs(context, parameter, values)
    for column, kind in pairs.items():
        if kind not in get_args(Type):
            raise click.BadParameter(f"{column}={kind}: a type is one of {', '.join(get_args(Type))}")
    return pairs


def _goal(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and value != "now" and times.moment_ms(value) is None:
        raise click.BadParameter(f"{value!r} is neither now nor a time such as 2026-01-31T12:00:00Z")
    return value


def _amount(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    try:
        return 0 if value is None else times.parse_shift(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an amount; write 812d, 3h, -90min, 10s or 5ms") from None


def _encoding(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Lines are split before they are decoded, so every ASCII byte must mean itself."""
    ascii_bytes = bytes(range(128))
    try:
        # Some bytes, because Python looks up no codec for none.
        extends_ascii = ascii_bytes.decode(value, "surrogateescape") == ascii_bytes.decode("ascii")
    except LookupError:
        raise click.BadParameter(
            f"{value!r} is not a known encoding; write utf-8, latin-1, cp1252, shift_jis, …"
        ) from None
    except ValueError:  # also of a name with a NUL in it
        extends_ascii = False
    if not extends_ascii:
        raise click.BadParameter(
            f"{value!r} does not extend ASCII; convert the file: iconv -f {value} -t UTF-8 FILE"
        )
    return value


@click.command("import")
@click.argument("file", metavar="FILE")
@click.option(
    "--url",
    help="Address of the server. Default: server.listen of the configuration, else http://127.0.0.1:5000.",
)
@click.option(
    "--key",
    envvar="NEALYTICS_IMPORT_KEY",
    show_envvar=True,
    help="API key. Default: the first one in the configuration.",
)
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv", "json", "parquet", "native"]),
    help="Default: from the file name (.csv, .tsv, .parquet, .native, else NDJSON; .gz or .zst may follow)."
    " json is an array, recognized by its [.",
)
@click.option(
    "--from",
    "preset",
    type=click.Choice(presets.names()),
    help="The product that wrote the file: names, ids and times are mapped as docs/importing.md lists.",
)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="FIELD=COLUMN",
    callback=_pairs,
    help="The column that contains a field.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_pairs,
    help="The value of a field in all rows.",
)
@click.option(
    "--default",
    "defaults",
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_pairs,
    help="The value of a field in rows without one.",
)
@click.option("--sparse", is_flag=True, help="Accept a mapped name that none of the first rows has.")
@click.option(
    "--rest",
    type=click.Choice(["metadata", "ignore"]),
    help="What to do with other columns. Default: metadata for CSV; for JSON, they are dropped and listed.",
)
@click.option("--metadata", "rest", flag_value="metadata", help="Short for --rest metadata.")
@click.option(
    "--types",
    "default_type",
    type=click.Choice(["auto", "text"]),
    default="auto",
    show_default=True,
    help="Types of metadata cells of a CSV. auto: a number that loses no digit becomes a number.",
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="COLUMN=TYPE",
    callback=_types,
    help="The type of one column: text, number, boolean, json or auto.",
)
@click.option(
    "--id-from",
    multiple=True,
    metavar="COLUMN",
    help="Derive the event id from this column, which identifies the event. Repeatable.",
)
@click.option(
    "--timestamp",
    metavar="ISO8601",
    help="Timestamp of rows without one. Default: the time at which the import began.",
)
@click.option(
    "--time-unit",
    type=click.Choice(["s", "ms", "us", "ns"]),
    help="Unit of numeric timestamps, since 1970. Default: ms.",
)
@click.option(
    "--shift-to",
    metavar="now|ISO8601",
    callback=_goal,
    help="Move all timestamps by the same whole days, so that the last one is within the past day.",
)
@click.option(
    "--shift-by",
    "shift_by_ms",
    metavar="AMOUNT",
    callback=_amount,
    help="Move all timestamps by 812d, 3h, -90min, …",
)
@click.option("--delimiter", metavar="CHAR", help="Delimiter of a CSV. Default: a comma, or a tab for .tsv.")
@click.option("--columns", metavar="NAME,…", help="Column names of a CSV without a header line.")
@click.option(
    "--encoding",
    default="utf-8",
    show_default=True,
    callback=_encoding,
    help="Encoding of a CSV; it must extend ASCII (latin-1, cp1252).",
)
@click.option(
    "--quoted-lines",
    "quoted_lines_max",
    type=click.IntRange(1),
    default=QUOTED_LINES_MAX,
    show_default=True,
    help="Maximum lines of a quoted field of a CSV. Beyond that, its quote counts as unclosed.",
)
@click.option(
    "--record-bytes",
    "record_bytes_max",
    type=click.IntRange(1_000),
    default=RECORD_BYTES_MAX,
    show_default=True,
    help="Maximum bytes of a row.",
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
@click.option(
    "--compress",
    "compression",
    type=click.Choice(["zstd", "gzip", "none"]),
    default="zstd",
    show_default=True,
)
@click.option(
    "--give-up-after",
    "give_up_after_s",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=GIVE_UP_AFTER_S,
    show_default=True,
    help="Stop when a request has failed for this long; inf: retry without a limit.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="File for the progress. Default: FILE.import-state; none for standard input.",
)
@click.option("--restart", is_flag=True, help="Send everything again, also what was sent before.")
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="File for rejected rows. Default: FILE.rejected.ndjson; import.rejected.ndjson for standard input.",
)
@click.option(
    "--require-end",
    is_flag=True,
    help="Exit with 1 unless the file ends with an end record (nealytics export --end).",
)
@click.option("--allow-rejected", is_flag=True, help="Exit with 0 even if rows were rejected.")
def import_(file: str, config_path: Path | None, **given: Any) -> None:
    """Send the events of FILE (CSV, NDJSON, a JSON array or Parquet, also with gzip or zstd; - is standard
    input) to a running server. A file of `nealytics export` restores the same events.

    \b
    An event needs projectId, tenantId, sessionId and eventType:
      nealytics import visits.csv.gz \\
        --set projectId=shop --set tenantId=acme \\
        --map sessionId=session_id --map eventType=event --map userId=user_id

    Columns with the name of a field (timestamp, itemId, …) need no --map. Other columns become metadata. In
    JSON, a name may be a path: --map userId=context.user.id (write \\. for a dot in a name).

    You can interrupt an import and run it again: it resumes where everything before is acknowledged. An event
    that is sent twice is counted once. Its id is derived from the first two rows of the file, the row number
    and the bytes of the row, unless a column contains the eventId or --id-from names one. Rows without a
    timestamp are an exception: they get the time at which the import began, which is in the state file. If
    that file is lost, a new run creates new events from these rows. --timestamp avoids this.

    Timestamps are ISO 8601, also with a space (2024-03-13 10:21:14.123456 UTC), or numbers since 1970
    (--time-unit). Without a zone they are UTC. The server refuses timestamps that are older than its
    retention or in the future.

    Every record is accepted, rejected or skipped (a blank line), and the import verifies the sum. It writes
    rejected rows with the reason to FILE.rejected.ndjson; you can correct and import that file. For a CSV row
    that does not match the header, the file has only the text, so write such a row again. An unclosed quote
    ends the import, because it hides where the next row begins.

    \b
    Exit status: 0 all accepted; 130 interrupted; 1 the import could not continue,
    or some rows are rejected, by this run or an earlier one.
    """
    options, source = _prepare(file, config_path, given)
    with closing(source), _Terminal(source, options.give_up_after_s) as progress:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                result = runner.run(import_rows(source, options, progress))
        except KeyboardInterrupt:
            progress.finish()
            hint = "; the same command resumes there" if options.state_path else ""
            click.echo(
                f"import: interrupted; {progress.rows:,} rows were acknowledged in this run{hint}", err=True
            )
            sys.exit(130)
    _report(result, options)
    if result.damage is not None:
        raise NealyticsError(
            f"{result.damage}. Everything before it is imported; correct the file and run the same command"
            " again, which resumes there"
        )
    if (result.rejected or result.rejected_before) and not options.allow_rejected:
        sys.exit(1)


def _prepare(file: str, config_path: Path | None, given: dict[str, Any]) -> tuple[Options, Source]:
    """The options, with what depends on the file and on each other. `given` has the names of `Options`."""
    if given["shift_to"] is not None and given["shift_by_ms"]:
        raise click.UsageError("--shift-to and --shift-by exclude each other; give one of them.")
    plain_name = file.removesuffix(".gz").removesuffix(".zst").lower()
    form: Format | Convertible | None = given.pop("form") or _form_of(file, plain_name)
    delimiter = given.pop("delimiter")
    columns = tuple(map(str.strip, given["columns"].split(","))) if given["columns"] else None
    del given["columns"]
    if form != "csv":
        for option, value in (("--columns", columns), ("--delimiter", delimiter), ("--type", given["types"])):
            if value:
                raise click.UsageError(f"{option} is for CSV; add --format csv if {file} is one.")
    if delimiter is None:
        delimiter = "\t" if plain_name.endswith((".tsv", ".tab")) else ","
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise click.BadParameter("one character, or the word tab", param_hint="--delimiter")
    record_bytes_max = given.pop("record_bytes_max")
    name = given.pop("preset")
    # Before the source is opened, which the caller closes: both may raise.
    url = given.pop("url") or server_url(load(config_path))
    key = given.pop("key") or first_key("import", load(config_path), ", set NEALYTICS_IMPORT_KEY")
    if form == "parquet" or form == "native":
        source = open_converted(file, form, record_bytes_max)
        form = "ndjson"
    else:
        source = open_source(file, record_bytes_max)
        form = form or ("json" if source.begins_with_array() else "ndjson")
    named = None if file == "-" else file
    options = Options(
        url=url,
        key=key,
        form=form,
        delimiter=delimiter,
        columns=columns,
        state_path=given.pop("state") or (Path(f"{named}.import-state") if named else None),
        rejected_path=given.pop("rejected") or Path(f"{named or 'import'}.rejected.ndjson"),
        **given,
    )
    return _reshaped(options, source, name) if name else (options, source)


def _reshaped(options: Options, source: Source, name: str) -> tuple[Options, Source]:
    """The same file as NDJSON of events, and the options for that."""
    preset = presets.load(name)
    events = open_reshaped(source, lambda opened: open_rows(opened, options), preset)
    # Not under the name `options`, with which the file may be opened again.
    reshaped = msgspec.structs.replace(
        options,
        form="ndjson",
        columns=None,
        preset=name,
        message_ids=bool(preset.api),
        time_unit=options.time_unit or preset.time_unit,
    )
    return reshaped, events


def _form_of(file: str, plain_name: str) -> Format | Convertible | None:
    """None: the text itself tells whether it is an array."""
    for form, endings in _ENDINGS.items():
        if plain_name.endswith(endings):
            return form
    if not os.path.isfile(file):
        return None  # a pipe can be opened once
    try:
        with open(file, "rb") as opened:
            return "parquet" if opened.read(4) == b"PAR1" else None
    except OSError:
        return None  # reported when it is opened to be read


@click.command(hidden=True)
@click.argument("form", type=click.Choice(["parquet", "native"]))
@click.argument("path")
def convert(form: Convertible, path: str) -> None:
    """Parquet or Native as NDJSON on standard output; `import` starts it."""
    convert_file(form, path)


def _report(result: Result, options: Options) -> None:
    rejected = result.rejected + result.rejected_before
    if result.resumed_at and not result.rows:
        accepted = result.resumed_at - result.rejected_before
        click.echo(
            f"import: nothing to do: an earlier run read all {result.resumed_at:,} rows: {accepted:,}"
            f" accepted, {result.rejected_before:,} rejected"
        )
    else:
        rate = result.rows / result.seconds if result.seconds else 0.0
        before = f" (after {result.resumed_at:,} of earlier runs)" if result.resumed_at else ""
        click.echo(
            f"import: {result.read:,} record{'s' * (result.read != 1)} read{before}:"
            f" {result.accepted:,} accepted, {result.rejected:,} rejected, {result.skipped:,} skipped;"
            f" {result.seconds:.1f} s, {rate:,.0f} events/s"
        )
    for refusal in result.first_refusals[:_REFUSALS_SHOWN]:
        # Most errors begin with the field.
        named = not refusal.field or refusal.field in refusal.error
        where = "" if named else f"{refusal.field}: "
        click.echo(f"  row {refusal.row:,}: {where}{refusal.error}", err=True)
    if result.rejected > _REFUSALS_SHOWN:
        click.echo(f"  … and {result.rejected - _REFUSALS_SHOWN:,} more", err=True)
    if rejected:
        rows = "1 rejected row is" if rejected == 1 else f"{rejected:,} rejected rows are"
        click.echo(
            f"  The {rows} in {options.rejected_path}, each with its reason."
            "\n  Either correct them there and import that file, or change the data, the options or the"
            "\n  server and import this file again with --restart. Accepted rows are not counted twice.",
            err=True,
        )


class _Terminal:
    """A progress bar on a terminal; elsewhere a line every few seconds, for a log."""

    def __init__(
        self, source: Source, give_up_after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rows = 0
        self._limit = "" if math.isinf(give_up_after_s) else f"; gives up after {give_up_after_s:g} s"
        self._size = source.size
        self._clock = clock
        self._said_at = clock()
        self._retry_at = -_SAID_EVERY_S
        self._drawn_at = -_DRAWN_EVERY_S
        self._bar = ""
        self._is_drawn = False
        self._draws = sys.stderr.isatty() and bool(source.size)

    def __enter__(self) -> "_Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Leaves the last state on the screen."""
        if self._draws and self._bar:
            self._draw()
            click.echo(err=True)
        self._bar = ""

    def resumed(self, row: int) -> None:
        self._say(f"import: resumes after row {row:,}, where an earlier run ended")

    def advanced(self, position: int, result: Result) -> None:
        self.rows = result.rows
        share = position / self._size if self._size else None
        if self._draws and share is not None:
            self._bar = bar(_columns(), share, result.accepted, result.rejected)
            if self._clock() - self._drawn_at >= _DRAWN_EVERY_S:
                self._drawn_at = self._clock()
                self._draw()
        elif self._clock() - self._said_at >= _SAID_EVERY_S:
            self._said_at = self._clock()
            done = "" if share is None else f" ({share:.0%})"
            self._say(f"import: {result.accepted:,} accepted, {result.rejected:,} rejected{done}")

    def retrying(self, why: str, delay_s: float) -> None:
        # Several requests fail at once, again and again; one line every few seconds is enough.
        if self._clock() - self._retry_at >= _SAID_EVERY_S:
            self._retry_at = self._clock()
            self._say(f"import: {why}; retry in {delay_s:.1f} s{self._limit}")

    def note(self, what: str) -> None:
        self._say(what)

    def _say(self, line: str) -> None:
        if self._is_drawn:
            click.echo(_CLEAR_LINE, nl=False, err=True)
            self._is_drawn = False
        click.echo(line, err=True)

    def _draw(self) -> None:
        click.echo(f"{_CLEAR_LINE}{self._bar}", nl=False, err=True)
        self._is_drawn = True


def bar(columns: int, share: float, accepted: int, rejected: int) -> str:
    """One line of `columns`. The last column stays free, because terminals wrap there."""
    share = min(1.0, share)
    # Rounded down: 100 % means all.
    left = f"import {int(share * 100):3d}%"
    right = f"{accepted:,} accepted, {rejected:,} rejected"
    room = columns - 1 - len(left) - len(right) - len(" []  ")
    if room >= _BAR_CELLS_MIN:
        cells = min(room, _BAR_CELLS_MAX)
        done = int(cells * share)
        return f"{left} [{'#' * done}{'.' * (cells - done)}]  {right}"
    return f"{left}  {right}"[: max(0, columns - 1)]


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS_UNKNOWN
    except (OSError, ValueError):
        return _COLUMNS_UNKNOWN
