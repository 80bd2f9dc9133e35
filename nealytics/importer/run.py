"""The loop: rows → batches → server, a few batches in flight, finished in the order of the file.

So "everything up to here" is one number. Memory holds the batches in flight and the one being made, whatever
the size of the file. The second batch is sent only after the answer to the first one (`checks`). At the end
everything must add up: records read = accepted + rejected + skipped.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import aiohttp
import msgspec

from nealytics.errors import NealyticsError
from nealytics.importer import checks, times
from nealytics.importer.mapping import Mapping, RowError
from nealytics.importer.options import Options
from nealytics.importer.reshaped import ReshapedRows
from nealytics.importer.rows import CsvRows, JsonRows, NdjsonRows, Rows
from nealytics.importer.sender import Event, Refusal, Sender
from nealytics.importer.source import Source, SourceError
from nealytics.importer.state import Ledger

T = TypeVar("T")

_REFUSALS_KEPT = 20


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
    read: int = 0  # records, including blank lines
    accepted: int = 0
    rejected: int = 0
    skipped: int = 0  # blank lines
    seconds: float = 0.0
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
    end: int = 0  # offset after its last row
    position: int = 0

    @property
    def rows(self) -> int:
        return len(self.events) + len(self.unreadable)


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
    mapping = Mapping(
        options,
        columns=rows.columns,
        head=rows.head,
        default_timestamp=options.timestamp or state.started_at,
        shift_ms=state.shift_ms,
    )
    ledger.begin()
    if state.row:
        progress.resumed(state.row)
        await _in_thread(lambda: rows.resume(state.row, state.offset))
    run = _Run(source, options, progress, rows, mapping, ledger)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=options.requests), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            sender = Sender(
                session,
                options.url,
                options.key,
                compression=options.compression,
                give_up_after_s=options.give_up_after_s,
                on_retry=progress.retrying,
            )
            await run.send_all(sender)
    finally:
        ledger.close()
    run.verify()
    run.result.seconds = time.monotonic() - began
    return run.result


class _Run:
    """The batches of one run, and what became of them."""

    def __init__(
        self,
        source: Source,
        options: Options,
        progress: Progress,
        rows: Rows,
        mapping: Mapping,
        ledger: Ledger,
    ) -> None:
        self._source = source
        self._options = options
        self._progress = progress
        self._rows = rows
        self._mapping = mapping
        self._ledger = ledger
        self._batches = _batches(rows, source, mapping, options)
        self._in_flight: deque[tuple[Batch, asyncio.Task[list[Refusal]]]] = deque()
        self._is_first = not ledger.state.row  # no event has been sent, also by an earlier run
        self._listed: set[str] = set()
        self._lines = 0
        self.result = Result(resumed_at=ledger.state.row, rejected_before=ledger.state.rejected)

    async def send_all(self, sender: Sender) -> None:
        try:
            while (batch := await self._next()) is not None:
                if self._is_first and batch.events:
                    self._note(checks.check_first(self._mapping, len(batch.events), self._options))
                    self._note_unmapped()
                self._in_flight.append((batch, asyncio.create_task(sender.send(batch.events))))
                while self._in_flight and (
                    self._is_first
                    or len(self._in_flight) >= self._options.requests
                    or self._in_flight[0][1].done()
                ):
                    await self._finish_oldest()
                self._is_first = self._is_first and not batch.events
                # Most notes are made by now; a missing name may still come.
                self._mapping.takes_notes = self._is_first or bool(self._mapping.not_found())
            while self._in_flight:
                await self._finish_oldest()
        finally:
            for _, task in self._in_flight:
                task.cancel()
            await asyncio.gather(*(task for _, task in self._in_flight), return_exceptions=True)

    async def _next(self) -> Batch | None:
        try:
            return await _in_thread(lambda: next(self._batches, None))
        except SourceError as error:
            self.result.damage = error
            return None

    async def _finish_oldest(self) -> None:
        batch, task = self._in_flight[0]
        refusals = sorted([*batch.unreadable, *await task])
        if (
            self._is_first
            and batch.events
            and len(refusals) == batch.rows
            and not self._options.allow_rejected
        ):
            await self._stop_if_hopeless(refusals)
        self._in_flight.popleft()
        self._ledger.record(batch.last_row, batch.end, batch.rows, refusals)
        self._lines += batch.lines
        result = self.result
        result.accepted += batch.rows - len(refusals)
        result.rejected += len(refusals)
        result.first_refusals += refusals[: max(0, _REFUSALS_KEPT - len(result.first_refusals))]
        self._progress.advanced(batch.position, result)

    async def _stop_if_hopeless(self, refusals: list[Refusal]) -> None:
        """If the first batch was refused as a whole for one reason, nothing is recorded."""
        reason = checks.same_refusal(refusals)
        if reason is None:
            return
        span, can_reopen = None, self._source.reopen is not None
        if reason == "time" and can_reopen:
            span = await _in_thread(lambda: _span(self._source, self._options))
        raise checks.first_refused(reason, refusals, self._options, span, can_reopen)

    def verify(self) -> None:
        """Everything that was read is accounted for. Raises `NealyticsError`."""
        source, rows, result, counts = self._source, self._rows, self.result, self._rows.counts
        self._note_unmapped()
        if result.rows and not result.resumed_at:
            for _, name in self._mapping.not_found():
                self._note(f"import: no row has {name}, which --map names; check its spelling")
        result.read, result.skipped = counts.records, counts.blank
        if result.damage is not None:
            return
        self._progress.advanced(source.size or source.offset, result)
        if wrong := rows.check():
            raise checks.defect(source.name, wrong)
        error = checks.miscount(
            source.name,
            lines_read=source.lines,
            lines_used=self._lines + counts.blank + counts.other_lines,
            read=result.read,
            accepted=result.accepted,
            rejected=result.rejected,
            skipped=result.skipped,
        )
        if error is not None:
            raise error
        if self._options.require_end and not (counts.ends and counts.ended_at == rows.last_number):
            result.damage = SourceError(
                f"import: {source.name} does not end with an end record, so it may be an incomplete export;"
                " export it with end=true (nealytics export --end), or omit --require-end"
            )

    def _note(self, text: str | None) -> None:
        if text is not None:
            self._progress.note(text)

    def _note_unmapped(self) -> None:
        self._note(checks.unmapped_note(self._mapping, self._options, self._listed))


def open_rows(source: Source, options: Options) -> Rows:
    if options.preset:
        return ReshapedRows(source)
    if options.form == "csv":
        return CsvRows(
            source,
            options.delimiter,
            options.encoding,
            columns=options.columns,
            quoted_lines_max=options.quoted_lines_max,
        )
    return JsonRows(source) if options.form == "json" else NdjsonRows(source)


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
        # What was read before the damage is intact.
        if batch.last_row:
            yield full()
        raise
    if batch.last_row:
        yield full()


def _shift_ms(source: Source, options: Options, started_at: str, progress: Progress) -> int:
    """By how much all times are moved. Decided once and kept in the state file."""
    if options.shift_to is None:
        return options.shift_by_ms
    if source.reopen is None:
        raise NealyticsError(
            f"import: --shift-to reads the file twice, but {source.name} can be read only once; give a file,"
            " or the amount with --shift-by"
        )
    goal = times.moment_ms(started_at if options.shift_to == "now" else options.shift_to)
    assert goal is not None  # the command has checked it
    progress.note("import: scanning the file for its latest timestamp")
    span = _span(source, options, started_at)
    if span is None:
        raise NealyticsError(
            f"import: no row of {source.name} has a timestamp to shift; omit --shift-to, or name the column:"
            " --map timestamp=COLUMN"
        )
    oldest, newest = span
    shift = times.whole_days_to(newest, goal)
    amount = times.shown_shift(shift)
    progress.note(
        f"import: shifting all timestamps by {amount}: {times.iso(oldest)} to {times.iso(newest)} becomes"
        f" {times.iso(oldest + shift)} to {times.iso(newest + shift)}; --shift-by={amount} does the same"
        " without the state file"
    )
    return shift


def _span(source: Source, options: Options, started_at: str = "") -> tuple[int, int] | None:
    """The first and the last time of the whole file, which is read once more for that."""
    assert source.reopen is not None
    with closing(source.reopen()) as again:
        rows = open_rows(again, options)
        mapping = Mapping(
            msgspec.structs.replace(options, rest="ignore"),
            columns=rows.columns,
            head=rows.head,
            default_timestamp=started_at or "-",
        )
        with suppress(SourceError):  # the import itself comes to it, and reports it
            for row in rows:
                try:
                    mapping.encode(row)
                except RowError:
                    pass
    if mapping.oldest_ms is None or mapping.newest_ms is None:
        return None
    return mapping.oldest_ms, mapping.newest_ms


async def _in_thread(work: Callable[[], T]) -> T:
    """Runs `work` beside the loop, so that a slow disk or an idle pipe blocks no request.

    A daemon thread, not the loop's pool: Ctrl-C must not wait for input that never comes.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # the awaiting task handles any error
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="import-reader").start()
    return await asyncio.wrap_future(future)
