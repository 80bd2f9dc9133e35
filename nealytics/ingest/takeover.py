"""Takes over the events that the C# engine, which this one succeeds, left in its write-ahead log.

    telemetry_wal.replay    what it had sealed at a start and not yet sent; the older one, so it is first
    telemetry_wal.log       what it was writing

Both are NDJSON: one event per line as its JSON serializer writes it (camelCase, nulls left out, everything
but ASCII escaped, fractions of a second of up to seven digits), with `eventId` and `timestamp`. The last line
may be torn.

What is promised
  - Every line ends up in the log or, with line number and reason, in `<name>.rejected`. None is dropped in
    silence: not the unreadable ones, and not those outside of the time window, which ClickHouse's TTL would
    delete.
  - The file is renamed to `<name>.imported` after all of its events are durable in the log, so a crash in
    between means that it is read again from the start. Its events keep `eventId` and `timestamp` and so their
    identity: what is imported twice, or was already sent by the C# engine (which cuts timestamps to
    milliseconds as we do), is counted once.
  - Memory is constant, whatever the file's size.
  - An event that was acknowledged is not lost to a limit that the C# engine did not have: metadata may be
    larger than `ingest.metadata_bytes_max`.

The C# engine must be stopped before. A file is not locked by it in a way that we could see.
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

from nealytics.errors import Refused
from nealytics.event import Event, InvalidEvent, decode_event, freeze, has_timestamp, is_utf8
from nealytics.ingest.admission import Admission

log = logging.getLogger("nealytics.takeover")

# In the order in which they were written.
FILES = ("telemetry_wal.replay", "telemetry_wal.log")

_CHUNK_EVENTS = 1_000
_CHUNK_BYTES = 4 * 1024 * 1024
# The C# engine took bodies of 1 MiB unless configured otherwise, and its escapes make six bytes out of one.
_LINE_BYTES_MAX = 16 * 1024 * 1024
# While the log is full it drains into ClickHouse; so often is asked whether there is room again.
_FULL_RETRY_S = 1.0

# How every line of the C# engine begins. Inside of a JSON string its serializer writes the quotes as \u0022,
# so where this stands, a line begins, even if the one before was torn and has no end.
_LINE_START = b'{"eventId":"'


class TakenOver(NamedTuple):
    """What became of one file's lines."""

    imported: int
    rejected: int


class _Line(NamedTuple):
    number: int
    text: bytes
    problem: str = ""  # why it is not worth decoding


async def take_over(directory: Path, admission: Admission) -> TakenOver:
    """Imports what a C# engine left in `directory`; returns once it is durable and the files are renamed.

    There usually is nothing, and then it costs nothing. Raises `OSError` if a file cannot be read or renamed,
    and `Refused` if the log breaks; calling it again later is safe.
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
    """The next events; those that cannot be taken go to `rejected`. Empty at the end of the file."""
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
    """The event of a line; or the line and why it is none; or both, of a torn line with a whole one behind
    it.
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
    """A line that has no end, and the one that was written behind it.

    At its start the C# engine appends one file to the other; after a torn line, two events share a line.
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
        # One made here would be another one at a second import.
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
    said = False
    while True:
        try:
            await admission.admit(events, admission.now_ms())
            return
        except Refused as error:
            if error.code != "log_full":
                raise
            if not said:
                log.warning(
                    "takeover: the log is full; the import continues when ClickHouse has accepted some of it"
                )
                said = True
        await asyncio.sleep(_FULL_RETRY_S)


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """The lines that are not empty. One that is too long comes in pieces, each with that as its problem."""
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
    """A new file for its owner only: there are events in it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _file_away(path: Path, rejected: Path, *, keep_rejected: bool) -> Path | None:
    """Renames an imported file, and before it the list of what was not: as long as the file has its own name,
    all of it is still to be done. Returns where that list is."""
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
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return kept_as
