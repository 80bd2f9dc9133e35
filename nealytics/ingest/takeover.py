"""Imports the events that a C# engine left in its write-ahead log.

    telemetry_wal.replay    sealed at a start and not sent yet; older, so it is imported first
    telemetry_wal.log       the file it was writing

Both are NDJSON: one event per line as its JSON serializer writes it (camelCase, nulls left out, everything
but ASCII escaped, fractions of a second of up to seven digits), with `eventId` and `timestamp`. The last line
may be torn.

Promises
  - Every line is stored in the log or, with line number and reason, in `<name>.rejected`. No line is dropped
    silently, including unreadable ones and those outside of the time window, which ClickHouse's TTL would
    delete.
  - The file is renamed to `<name>.imported` after all of its events are durable in the log. After a crash
    before that, it is read again from the start. Its events keep `eventId` and `timestamp` and so their
    identity: an event that is imported twice, or was sent by the C# engine (which also cuts timestamps to
    milliseconds), is counted once.
  - Memory is constant for files of any size.
  - No acknowledged event is lost to a limit that the C# engine did not have: metadata may be larger than
    `ingest.metadata_bytes_max`.

Stop the C# engine first: it does not lock its files.
"""

import asyncio
import base64
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from nealytics.directories import sync_directory
from nealytics.errors import Refused
from nealytics.event import Event, InvalidEvent, decode_event, freeze, has_timestamp, is_utf8
from nealytics.ingest.admission import Admission

log = logging.getLogger("nealytics.takeover")

# In the order in which they were written.
FILES = ("telemetry_wal.replay", "telemetry_wal.log")

_CHUNK_EVENTS = 1_000
_CHUNK_BYTES = 4 * 1024 * 1024
# The C# engine accepted bodies of 1 MiB by default, and its escapes make six bytes of one.
_LINE_BYTES_MAX = 16 * 1024 * 1024
# Interval of retries while the log is full and drains into ClickHouse.
_FULL_RETRY_S = 1.0

# The start of every line of the C# engine. Inside a JSON string its serializer writes quotes as \u0022, so
# this is always the start of a line, even if the previous line was torn and has no end.
_LINE_START = b'{"eventId":"'


class TakenOver(NamedTuple):
    """The result for the lines of one file."""

    imported: int
    rejected: int


class _Line(NamedTuple):
    number: int
    text: bytes
    problem: str = ""  # why it is not decoded


async def take_over(directory: Path, admission: Admission) -> TakenOver:
    """Imports what a C# engine left in `directory`; returns once it is durable and the files are renamed.

    Raises `OSError` if a file cannot be read or renamed, and `Refused` if the log breaks; it is safe to call
    again later.
    """
    total = TakenOver(0, 0)
    for name in FILES:
        path = directory / name
        # After a clean stop the C# engine leaves an empty file.
        if path.is_file() and path.stat().st_size:
            done = await _take_over_file(path, admission)
            total = TakenOver(total.imported + done.imported, total.rejected + done.rejected)
    return total


async def _take_over_file(path: Path, admission: Admission) -> TakenOver:
    log.info("takeover: importing %s (%d bytes) from the C# engine", path, path.stat().st_size)
    imported = 0
    reasons: Counter[str] = Counter()
    rejected_path = path.with_name(path.name + ".rejected.tmp")
    with path.open("rb") as file, os.fdopen(_private(rejected_path), "wb") as rejected:
        lines = _lines(file)
        # Reading and decoding a chunk takes milliseconds; in a thread it does not block requests.
        while chunk := await asyncio.to_thread(_decode_chunk, lines, rejected, reasons, admission):
            await _admit(chunk, admission)
            imported += len(chunk)
        rejected.flush()
        await asyncio.to_thread(os.fsync, rejected.fileno())
    kept_as = await asyncio.to_thread(_file_away, path, rejected_path, keep_rejected=bool(reasons))
    if kept_as:
        log.error(
            "takeover: %d lines of %s were not imported (%s); %s has each with its reason",
            reasons.total(),
            path,
            ", ".join(f"{reason}: {count}" for reason, count in reasons.items()),
            kept_as,
        )
    log.warning("takeover: imported %d events of %s into the log", imported, path)
    return TakenOver(imported, reasons.total())


def _decode_chunk(
    lines: Iterator[_Line], rejected: BinaryIO, reasons: Counter[str], admission: Admission
) -> list[Event]:
    """The next events; lines that are not accepted go to `rejected`. Empty at the end of the file."""
    events: list[Event] = []
    size = 0
    for line in lines:
        event, bad, problem = _read(line, admission)
        if event is not None:
            events.append(event)
        if problem is not None:
            reasons[problem.reason] += 1
            rejected.write(_rejection(bad, problem))
        size += len(line.text)
        if events and (len(events) == _CHUNK_EVENTS or size >= _CHUNK_BYTES):
            break
    return events


def _read(line: _Line, admission: Admission) -> tuple[Event | None, _Line, InvalidEvent | None]:
    """The event of a line; or the line and the reason of its rejection; or both, if a complete line follows a
    torn one.
    """
    try:
        return _event(line, admission), line, None
    except InvalidEvent as error:
        problem = error
    torn, whole = _torn_apart(line)
    if whole is not None:
        try:
            event = _event(whole, admission)
            return (
                event,
                torn,
                InvalidEvent("invalid_json", "the line is incomplete; a complete event follows it"),
            )
        except InvalidEvent:
            pass  # then it is one bad line, not two
    return None, line, problem


def _torn_apart(line: _Line) -> tuple[_Line, _Line | None]:
    """A line without an end, and the line that was written after it.

    The C# engine appends one file to the other at a start; after a torn line, two events are in one line.
    """
    start = line.text.rfind(_LINE_START)
    if start <= 0 or line.problem:
        return line, None
    return _Line(line.number, line.text[:start]), _Line(line.number, line.text[start:])


def _event(line: _Line, admission: Admission) -> Event:
    if line.problem:
        raise InvalidEvent("invalid_json", line.problem)
    if not is_utf8(line.text):
        raise InvalidEvent("invalid_json", "the line is not UTF-8")
    sent = decode_event(line.text)
    for is_there, field in ((sent.event_id is not None, "eventId"), (has_timestamp(sent), "timestamp")):
        # A value that is made here would differ at a second import.
        if not is_there:
            raise InvalidEvent("invalid_event", f"{field} is missing, so the event has no identity", field)
    # It was acknowledged: a limit that the C# engine did not have must not lose it now.
    limits = msgspec.structs.replace(admission.limits, metadata_bytes_max=0)
    return freeze(sent, admission.now_ms(), limits)


def _rejection(line: _Line, error: InvalidEvent) -> bytes:
    entry = {"line": line.number, "code": error.reason, "reason": error.message}
    if is_utf8(line.text):
        entry["text"] = line.text.decode()
    else:
        entry["base64"] = base64.b64encode(line.text).decode()
    return msgspec.json.encode(entry) + b"\n"


async def _admit(events: list[Event], admission: Admission) -> None:
    is_logged = False
    while True:
        try:
            await admission.admit(events, admission.now_ms())
            return
        except Refused as error:
            if error.code != "log_full":
                raise
            if not is_logged:
                log.warning(
                    "takeover: the log is full; the import continues when ClickHouse has accepted some of it"
                )
                is_logged = True
        await asyncio.sleep(_FULL_RETRY_S)


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """The lines that are not empty. A line that is too long is yielded in pieces, each with that problem."""
    number = 0
    while text := file.readline(_LINE_BYTES_MAX):
        number += 1
        if len(text) == _LINE_BYTES_MAX and not text.endswith(b"\n"):
            problem = f"the line has more than {_LINE_BYTES_MAX} bytes"
            yield _Line(number, text, problem)
            while (text := file.readline(_LINE_BYTES_MAX)) and not text.endswith(b"\n"):
                yield _Line(number, text, problem)
            if text:
                yield _Line(number, text.rstrip(b"\r\n"), problem)
            continue
        if text := text.rstrip(b"\r\n"):
            yield _Line(number, text)


def _private(path: Path) -> int:
    """A new file for its owner only, because it has events."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _file_away(path: Path, rejected: Path, *, keep_rejected: bool) -> Path | None:
    """Renames the list of rejected lines, and then the imported file: until the file is renamed, a start
    imports all of it. Returns the path of the list."""
    suffix = ""
    while path.with_name(f"{path.name}.imported{suffix}").exists():
        suffix = f".{int(suffix[1:] or 0) + 1}"
    kept_as: Path | None = None
    if keep_rejected:
        kept_as = path.with_name(f"{path.name}.rejected{suffix}")
        rejected.rename(kept_as)
    else:
        rejected.unlink()
    path.rename(path.with_name(f"{path.name}.imported{suffix}"))
    sync_directory(path.parent)
    return kept_as
