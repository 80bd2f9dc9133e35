"""The loop: rows → batches → server, a few batches in flight, settled in order.

Batches are settled in the order of the file, so "everything up to here" is one number. Memory holds the
batches in flight and the one being made, whatever the size of the file.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import aiohttp
import msgspec

from nealytics.importer import state as states
from nealytics.importer.mapping import Mapping, RowError
from nealytics.importer.sender import Compression, Event, Refusal, Sender
from nealytics.importer.source import CsvRows, Format, NdjsonRows, Source, SourceError
from nealytics.importer.state import State

T = TypeVar("T")

_STORE_EVERY_S = 0.5


class Options(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    key: str
    form: Format
    delimiter: str = ","
    encoding: str = "utf-8"
    mapped: dict[str, str] = {}
    constants: dict[str, str] = {}
    rest_is_metadata: bool = True
    timestamp: str | None = None  # of rows without; None = when the import began
    batch_events: int = 1_000
    batch_bytes: int = 900_000
    requests: int = 4
    compression: Compression = "zstd"
    give_up_after_s: float | None = None
    state_path: Path | None = None  # None = not resumable
    rejected_path: Path
    restart: bool = False

    def settings(self, source: Source) -> dict[str, str]:
        """What makes two imports the same one, for the state file."""
        return {
            "url": self.url,
            "format": self.form,
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "map": _shown(self.mapped),
            "set": _shown(self.constants),
            "rest": "metadata" if self.rest_is_metadata else "ignore",
            "timestamp": self.timestamp or "",
            "first lines": source.head[:200].decode("utf-8", "replace"),
        }


class Progress(Protocol):
    """How the person at the terminal hears of it."""

    def resumed(self, row: int) -> None: ...
    def advanced(self, position: int, result: "Result") -> None: ...
    def retrying(self, why: str, delay_s: float) -> None: ...


@dataclass
class Result:
    """Of this run."""

    resumed_at: int = 0  # rows that an earlier run had settled
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0
    first_refusals: list[Refusal] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return self.accepted + self.rejected


@dataclass
class Batch:
    """Consecutive rows: those that are events, and those that make none."""

    events: list[Event] = field(default_factory=list)
    unreadable: list[Refusal] = field(default_factory=list)
    last_row: int = 0
    end: int = 0  # offset behind its last row
    position: int = 0


async def import_rows(source: Source, options: Options, progress: Progress) -> Result:
    """Sends every row that no earlier run has settled. Raises `NealyticsError`; what was settled stays so."""
    began = time.monotonic()
    rows = (
        CsvRows(source, options.delimiter, options.encoding) if options.form == "csv" else NdjsonRows(source)
    )
    ledger = _Ledger.open(options, options.settings(source))
    mapping = Mapping(
        columns=rows.columns,
        mapped=options.mapped,
        constants=options.constants,
        rest_is_metadata=options.rest_is_metadata,
        head=source.head,
        default_timestamp=options.timestamp or ledger.state.started_at,
    )
    ledger.begin()
    result = Result(resumed_at=ledger.state.row)
    if result.resumed_at:
        progress.resumed(result.resumed_at)
        await _in_thread(lambda: rows.resume(ledger.state.row, ledger.state.offset))
    batches = _batches(rows, source, mapping, options)
    in_flight: deque[tuple[Batch, asyncio.Task[list[Refusal]]]] = deque()

    async def settle_first() -> None:
        batch, task = in_flight[0]
        refusals = sorted([*batch.unreadable, *await task])
        in_flight.popleft()
        ledger.settle(batch, refusals)
        result.accepted += len(batch.events) + len(batch.unreadable) - len(refusals)
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
        damage: SourceError | None = None
        try:
            while True:
                try:
                    batch = await _in_thread(lambda: next(batches, None))
                except SourceError as error:
                    damage = error
                    break
                if batch is None:
                    break
                in_flight.append((batch, asyncio.create_task(sender.send(batch.events))))
                while len(in_flight) >= options.requests or (in_flight and in_flight[0][1].done()):
                    await settle_first()
            while in_flight:
                await settle_first()
        finally:
            for _, task in in_flight:
                task.cancel()
            await asyncio.gather(*(task for _, task in in_flight), return_exceptions=True)
            ledger.close()
    if damage is not None:
        raise damage
    result.seconds = time.monotonic() - began
    return result


class _Ledger:
    """What is settled: the state file and the rejected file, which agree after every crash."""

    def __init__(self, path: Path | None, state: State, rejected_path: Path) -> None:
        self.state = state
        self._path = path
        self._rejected_path = rejected_path
        self._stored = 0.0

    @classmethod
    def open(cls, options: Options, settings: dict[str, str]) -> "_Ledger":
        path = options.state_path
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        state = states.load(path) if path is not None else None
        if state is None:
            # Standard input without a state adds to the refusals that are there, a file's run replaces them.
            state = State(settings=settings, started_at=now, running=path is not None)
        elif options.restart or not state.row:
            # The same moment as before, so that rows without a timestamp stay the events that they were.
            # A run that settled nothing, say for a wrong key, does not bind the next one to its options.
            state = State(settings=settings, started_at=state.started_at, running=True)
        else:
            assert path is not None
            states.require_same(path, state, settings)
        return cls(path, state, options.rejected_path)

    def begin(self) -> None:
        """To be called before anything is sent: a crash must not forget the moment of the start."""
        state, path = self.state, self._rejected_path
        # A killed run may have written refusals of rows behind its last stored position. They come again.
        if state.running and path.exists() and path.stat().st_size > state.rejected_bytes:
            os.truncate(path, state.rejected_bytes)
            if not state.rejected_bytes:
                path.unlink()
        state.running = True
        self._store()

    def settle(self, batch: Batch, refusals: list[Refusal]) -> None:
        state = self.state
        if refusals:
            with self._rejected_path.open("ab") as file:
                file.write(b"".join(map(_rejected_line, refusals)))
                state.rejected_bytes = file.tell()
        state.row = batch.last_row
        state.offset = batch.end
        state.accepted += len(batch.events) + len(batch.unreadable) - len(refusals)
        state.rejected += len(refusals)
        if time.monotonic() - self._stored >= _STORE_EVERY_S:
            self._store()

    def close(self) -> None:
        self.state.running = False
        self._store()

    def _store(self) -> None:
        self._stored = time.monotonic()
        if self._path is not None:
            states.store(self._path, self.state)


def _batches(
    rows: CsvRows | NdjsonRows, source: Source, mapping: Mapping, options: Options
) -> Iterator[Batch]:
    batch = Batch()
    size = 0
    try:
        for row in rows:
            try:
                event = Event(row.number, mapping.encode(row))
            except RowError as error:
                batch.unreadable.append(Refusal(row.number, None, str(error), row.raw))
            else:
                # The brackets and commas around the events are part of the body.
                if batch.events and size + len(event.body) + 2 > options.batch_bytes:
                    yield batch
                    batch, size = Batch(), 0
                batch.events.append(event)
                size += len(event.body) + 1
            batch.last_row, batch.end, batch.position = row.number, row.end, source.position()
            if len(batch.events) + len(batch.unreadable) >= options.batch_events:
                yield batch
                batch, size = Batch(), 0
    except SourceError:
        # What was read before the damage is as good as any.
        if batch.last_row:
            yield batch
        raise
    if batch.last_row:
        yield batch


def _rejected_line(refusal: Refusal) -> bytes:
    """The event and what was wrong with it. Mend it and import the file: unknown fields are ignored."""
    told: dict[str, object] = {"rejectedRow": refusal.row, "rejectedError": refusal.error}
    if refusal.field:
        told["rejectedField"] = refusal.field
    try:
        told |= msgspec.json.decode(refusal.body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        told["rejectedText"] = refusal.body.decode("utf-8", "replace")
    return msgspec.json.encode(told) + b"\n"


async def _in_thread(work: Callable[[], T]) -> T:
    """Runs `work` beside the loop, so that a slow disk or an idle pipe holds up no request.

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
