"""The loop: rows → batches → server, a few batches in flight, finished in order.

Batches are finished in the order of the file, so "everything up to here" is one number. Memory holds the
batches in flight and the one being made, whatever the size of the file.

The first batch of a file is checked before it is sent, and the next one is sent only after its answer:
an error of all rows (a mistyped name, seconds for milliseconds, times outside of the retention) ends
the import there, with nothing recorded. At the end everything must add up: records read = accepted + rejected
+ skipped.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import aiohttp
import msgspec

from nealytics.errors import NealyticsError
from nealytics.importer import times
from nealytics.importer.mapping import Mapping, MappingError, RowError, Type
from nealytics.importer.rows import QUOTED_LINES_MAX, CsvRows, Format, JsonRows, NdjsonRows, Rows
from nealytics.importer.sender import Compression, Event, Refusal, Sender
from nealytics.importer.source import RECORD_BYTES_MAX, Source, SourceError
from nealytics.importer.state import Ledger, State
from nealytics.importer.times import Unit

T = TypeVar("T")

_NAMES_SHOWN = 20
# The server's own words; tests/cli/test_import.py asks nealytics.event for them.
_OUTSIDE_WINDOW = "; timestamps from "
_NOT_A_UUID = "must be a UUID"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    key: str
    form: Format
    delimiter: str = ","
    encoding: str = "utf-8"
    columns: tuple[str, ...] | None = None  # of a CSV without a header line
    quoted_lines_max: int = QUOTED_LINES_MAX
    record_bytes_max: int = RECORD_BYTES_MAX
    mapped: dict[str, str] = {}
    constants: dict[str, str] = {}
    defaults: dict[str, str] = {}
    default_type: Type = "auto"  # of a CSV's cells that become metadata
    types: dict[str, Type] = {}
    id_from: tuple[str, ...] = ()
    sparse: bool = False  # mapped names may be absent from the first batch
    rest: str | None = None  # metadata, ignore, or None: metadata for CSV, ignored and listed once for JSON
    timestamp: str | None = None  # of rows without; None = when the import began
    time_unit: Unit | None = None
    shift_to: str | None = None  # "now" or ISO 8601: all times are moved by whole days, the last one to there
    shift_by_ms: int = 0
    batch_events: int = 1_000
    batch_bytes: int = 900_000
    requests: int = 4
    compression: Compression = "zstd"
    give_up_after_s: float | None = None
    state_path: Path | None = None  # None = not resumable
    rejected_path: Path
    allow_rejected: bool = False
    require_end: bool = False  # an end record behind the last row
    restart: bool = False

    @property
    def rest_is_metadata(self) -> bool:
        return self.form == "csv" if self.rest is None else self.rest == "metadata"

    def settings(self, head: bytes) -> dict[str, str]:
        """What makes two imports the same one, for the state file."""
        return {
            "url": self.url,
            "format": self.form,
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "columns": ",".join(self.columns or ()),
            "map": _shown(self.mapped),
            "set": _shown(self.constants),
            "default": _shown(self.defaults),
            "types": self.default_type,
            "type": _shown({name: str(kind) for name, kind in self.types.items()}),
            "id from": ",".join(self.id_from),
            "rest": "metadata" if self.rest_is_metadata else "ignore",
            "timestamp": self.timestamp or "",
            "time unit": self.time_unit or "",
            "shift": self.shift_to or (times.shown_shift(self.shift_by_ms) if self.shift_by_ms else ""),
            "first lines": head[:200].decode("utf-8", "replace"),
        }


class Progress(Protocol):
    """How the person at the terminal hears of it."""

    def resumed(self, row: int) -> None: ...
    def advanced(self, position: int, result: "Result") -> None: ...
    def retrying(self, why: str, delay_s: float) -> None: ...
    def note(self, what: str) -> None: ...


@dataclass
class Result:
    """Of this run."""

    resumed_at: int = 0  # rows that an earlier run finished
    rejected_before: int = 0  # of them
    read: int = 0  # records, blank lines among them
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0  # blank lines
    seconds: float = 0.0
    shift_ms: int = 0
    first_refusals: list[Refusal] = field(default_factory=list)
    # Why the file was not read to its end. What was read before is acknowledged or rejected.
    damage: SourceError | None = None

    @property
    def rows(self) -> int:
        return self.accepted + self.rejected


@dataclass
class Batch:
    """Consecutive rows: those that are events, and those that make none."""

    events: list[Event] = field(default_factory=list)
    unreadable: list[Refusal] = field(default_factory=list)
    last_row: int = 0
    lines: int = 0
    end: int = 0  # offset behind its last row
    position: int = 0

    @property
    def rows(self) -> int:
        return len(self.events) + len(self.unreadable)


def open_rows(source: Source, options: Options) -> Rows:
    if options.form == "csv":
        return CsvRows(
            source,
            options.delimiter,
            options.encoding,
            columns=options.columns,
            quoted_lines_max=options.quoted_lines_max,
        )
    return JsonRows(source) if options.form == "json" else NdjsonRows(source)


async def import_rows(source: Source, options: Options, progress: Progress) -> Result:
    """Sends every row that no earlier run has finished. Raises `NealyticsError`; finished rows stay so."""
    began = time.monotonic()
    rows = open_rows(source, options)
    ledger = Ledger.open(
        options.state_path, options.rejected_path, options.settings(rows.head), restart=options.restart
    )
    state = ledger.state
    if state.shift_ms is None:
        state.shift_ms = await _in_thread(lambda: _shift_ms(source, options, state.started_at, progress))
    mapping = _mapping(rows, options, state)
    ledger.begin()
    result = Result(resumed_at=state.row, rejected_before=state.rejected, shift_ms=state.shift_ms)
    if result.resumed_at:
        progress.resumed(result.resumed_at)
        await _in_thread(lambda: rows.resume(state.row, state.offset))
    batches = _batches(rows, source, mapping, options)
    in_flight: deque[tuple[Batch, asyncio.Task[list[Refusal]]]] = deque()
    lines = 0

    async def finish_first() -> None:
        nonlocal lines
        batch, task = in_flight[0]
        refusals = sorted([*batch.unreadable, *await task])
        if first and not options.allow_rejected:
            await _in_thread(lambda: _stop_if_all_refused(batch, refusals, source, options))
        in_flight.popleft()
        ledger.record(batch.last_row, batch.end, batch.rows, refusals)
        lines += batch.lines
        result.accepted += batch.rows - len(refusals)
        result.rejected += len(refusals)
        result.first_refusals += refusals[: max(0, 20 - len(result.first_refusals))]
        progress.advanced(batch.position, result)

    connector = aiohttp.TCPConnector(limit=options.requests)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        sender = Sender(
            session,
            options.url,
            options.key,
            compression=options.compression,
            give_up_after_s=options.give_up_after_s,
            on_retry=progress.retrying,
        )
        first = not result.resumed_at
        listed: set[str] = set()
        try:
            while True:
                try:
                    batch = await _in_thread(lambda: next(batches, None))
                except SourceError as error:
                    result.damage = error
                    break
                if batch is None:
                    break
                if first:
                    _check_first(mapping, batch, options, progress)
                    listed = _note_unmapped(mapping, options, progress, listed)
                in_flight.append((batch, asyncio.create_task(sender.send(batch.events))))
                while (
                    len(in_flight) >= options.requests
                    or (in_flight and in_flight[0][1].done())
                    or (first and in_flight)
                ):
                    await finish_first()
                first = first and not batch.events
                # What all rows have in common has been seen; a missing name may still come.
                mapping.takes_notes = first or bool(mapping.not_found())
            while in_flight:
                await finish_first()
        finally:
            for _, task in in_flight:
                task.cancel()
            await asyncio.gather(*(task for _, task in in_flight), return_exceptions=True)
            ledger.close()
    _note_unmapped(mapping, options, progress, listed)
    if result.rows and not result.resumed_at:
        for _, name in mapping.not_found():
            progress.note(f"import: no row has {name}, which --map names; check its spelling")
    result.seconds = time.monotonic() - began
    result.read, result.skipped = rows.counts.records, rows.counts.blank
    if result.damage is None:
        progress.advanced(source.size or source.offset, result)
        _require_all_counted(rows, source, result, lines)
        if options.require_end and not (rows.counts.ends and rows.counts.ended_at == rows.last_number):
            result.damage = SourceError(
                f"import: {source.name} does not end with an end record, so it may be an incomplete export;"
                " export it with end=true (nealytics export --end), or omit --require-end"
            )
    return result


def _mapping(rows: Rows, options: Options, state: State) -> Mapping:
    return Mapping(
        columns=rows.columns,
        mapped=options.mapped,
        constants=options.constants,
        defaults=options.defaults,
        rest_is_metadata=options.rest_is_metadata,
        default_type=options.default_type,
        types=options.types,
        id_from=options.id_from,
        time_unit=options.time_unit,
        shift_ms=state.shift_ms or 0,
        head=rows.head,
        default_timestamp=options.timestamp or state.started_at,
    )


def _require_all_counted(rows: Rows, source: Source, result: Result, acknowledged_lines: int) -> None:
    """Nothing may get lost between the bytes that came in and what the server has answered."""
    wrong = rows.check()
    lines = acknowledged_lines + rows.counts.blank + rows.counts.other_lines
    if wrong is None and lines != source.lines:
        wrong = f"{source.lines:,} lines were read, but {lines:,} became rows or were skipped"
    if wrong is None and result.read != result.rows + result.skipped:
        wrong = (
            f"{result.read:,} records were read, but {result.accepted:,} accepted + {result.rejected:,}"
            f" rejected + {result.skipped:,} skipped are {result.rows + result.skipped:,}"
        )
    if wrong is not None:
        raise NealyticsError(
            f"import: {source.name}: the counts do not add up: {wrong}; this is a bug in Nealytics, please"
            " report it. --restart sends everything again, and no event is counted twice"
        )


def _check_first(mapping: Mapping, batch: Batch, options: Options, progress: Progress) -> None:
    """What is wrong with all rows, reported before the first of them is sent."""
    if not batch.events:
        return
    missing = mapping.not_found()
    if missing and not options.sparse:
        options_missing = " and ".join(f"--map {field}={name}" for field, name in missing)
        names = ", ".join([*mapping.unmapped][:_NAMES_SHOWN])
        dots = any("." in name.replace("\\.", "") for _, name in missing)
        raise MappingError(
            f"import: {options_missing}: not found in {_first(len(batch.events), 'any of')};"
            + (f" names without a mapping are {names};" if names else "")
            + (" escape a dot in a name as \\.;" if dots else "")
            + " nothing was sent. If only later rows have it, add --sparse"
        )
    newest = mapping.newest_ms
    if newest is not None and newest in times.JANUARY_1970_MS:
        problem = (
            f"the times of {_first(len(batch.events))} are in January 1970, the latest is {times.iso(newest)}"
        )
        if options.time_unit is None:
            raise MappingError(
                f"import: {problem}. They look like seconds, but numbers are read as milliseconds; nothing"
                " was sent. Add --time-unit s, or --time-unit ms if the times are correct"
            )
        progress.note(f"import: warning: {problem}; is --time-unit {options.time_unit} right?")


def _first(rows: int, which: str = "all of") -> str:
    return "the first row" if rows == 1 else f"{which} the first {rows:,} rows"


def _note_unmapped(mapping: Mapping, options: Options, progress: Progress, listed: set[str]) -> set[str]:
    """Names that no field is mapped to, each once."""
    names = [name for name in mapping.unmapped if name not in listed]
    if names and options.rest is None and not options.rest_is_metadata:
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        progress.note(
            f"import: not imported: {', '.join(names[:_NAMES_SHOWN])}{more}; use --metadata to put them into"
            " the metadata, --map FIELD=NAME to put one into a field, or --rest ignore to hide this note"
        )
    return listed | set(names)


def _stop_if_all_refused(batch: Batch, refusals: list[Refusal], source: Source, options: Options) -> None:
    """If the first batch was refused whole for one reason that the options can help, nothing is recorded."""
    if not batch.events or len(refusals) < batch.rows:
        return
    refused = f"import: the server refused {_first(batch.rows)}"
    if all(refusal.field == "eventId" and _NOT_A_UUID in refusal.error for refusal in refusals):
        column = options.mapped.get("eventId", "eventId")
        raise NealyticsError(
            f"{refused}, because their ids are not UUIDs: {refusals[0].error}; nothing was imported."
            f" --id-from {column} derives UUIDs from them, the same ones in every import"
        )
    if all(_OUTSIDE_WINDOW in refusal.error for refusal in refusals):
        file, shift = _times_of(source, options), "--shift-to now"
        if file is None:
            file, shift = "", "--shift-by DAYSd"
        raise NealyticsError(
            f"{refused}, because it does not keep events of that time: {refusals[0].error}.{file} Nothing was"
            " imported. Either set clickhouse.retention_days = 0 on the server, which then keeps events for"
            f" ever, or add {shift}, which shifts all timestamps by the same number of days. If only the"
            " first rows are too old, --allow-rejected skips them"
        )


def _times_of(source: Source, options: Options) -> str | None:
    """From when to when the file goes; None if it cannot be read a second time."""
    if source.reopen is None:
        return None
    oldest, newest = _scan_times(source, options, "")
    if oldest is None or newest is None:
        return ""
    return f" The file has events from {times.iso(oldest)} to {times.iso(newest)}."


def _scan_times(source: Source, options: Options, started_at: str) -> tuple[int | None, int | None]:
    """Reads all of the file, beside the import, and sends nothing."""
    assert source.reopen is not None
    again = source.reopen()
    try:
        rows = open_rows(again, options)
        plain = msgspec.structs.replace(options, rest="ignore", timestamp=started_at or "-")
        mapping = _mapping(rows, plain, State(settings={}, started_at=started_at, shift_ms=0))
        try:
            for row in rows:
                try:
                    mapping.encode(row)
                except RowError:
                    pass
        except SourceError:
            pass  # the import itself comes to it, and tells
        return mapping.oldest_ms, mapping.newest_ms
    finally:
        again.close()


def _shift_ms(source: Source, options: Options, started_at: str, progress: Progress) -> int:
    """By how much all times are moved. Asked once; the state file then has the answer."""
    if options.shift_to is None:
        return options.shift_by_ms
    if source.reopen is None:
        raise NealyticsError(
            f"import: --shift-to reads the file twice, but {source.name} can be read only once; give a file,"
            " or the amount with --shift-by"
        )
    goal = times.moment_ms(started_at if options.shift_to == "now" else options.shift_to)
    assert goal is not None  # the command has looked
    progress.note("import: scanning the file for its latest timestamp")
    oldest, newest = _scan_times(source, options, started_at)
    if oldest is None or newest is None:
        raise NealyticsError(
            f"import: no row of {source.name} has a timestamp to shift; omit --shift-to, or name the column:"
            " --map timestamp=COLUMN"
        )
    shift = times.whole_days_to(newest, goal)
    amount = times.shown_shift(shift)
    progress.note(
        f"import: shifting all timestamps by {amount}: {times.iso(oldest)} to {times.iso(newest)} becomes"
        f" {times.iso(oldest + shift)} to {times.iso(newest + shift)}; --shift-by={amount} does the same"
        " without the state file"
    )
    return shift


def _batches(rows: Rows, source: Source, mapping: Mapping, options: Options) -> Iterator[Batch]:
    batch = Batch()
    size = 0

    def full() -> Batch:
        batch.position = source.position(batch.end)
        return batch

    try:
        for row in rows:
            try:
                event = Event(row.number, mapping.encode(row))
            except RowError as error:
                batch.unreadable.append(Refusal(row.number, None, str(error), row.raw))
            else:
                # The brackets and commas around the events are part of the body.
                if batch.events and size + len(event.body) + 2 > options.batch_bytes:
                    yield full()
                    batch, size = Batch(), 0
                batch.events.append(event)
                size += len(event.body) + 1
            batch.last_row, batch.end = row.number, row.end
            batch.lines += row.lines
            if batch.rows >= options.batch_events:
                yield full()
                batch, size = Batch(), 0
    except SourceError:
        # What was read before the damage is as good as any.
        if batch.last_row:
            yield full()
        raise
    if batch.last_row:
        yield full()


async def _in_thread(work: Callable[[], T]) -> T:
    """Runs `work` beside the loop, so that a slow disk or an idle pipe blocks no request.

    A daemon thread, not the loop's pool: Ctrl-C must not wait for input that never comes.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(value: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value: T | None = None
        error: BaseException | None = None
        try:
            value = work()
        except BaseException as raised:  # whatever it was, the loop's task is who can deal with it
            error = raised
        try:
            loop.call_soon_threadsafe(finish, value, error)
        except RuntimeError:
            pass  # the loop has ended: nobody waits any more

    threading.Thread(target=run, daemon=True, name="import-reader").start()
    return await future


def _shown(pairs: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(pairs.items()))
