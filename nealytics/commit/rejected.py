"""Events that were not accepted although their request was: kept, with the reason, until a person decides.

An SDK that gets another answer than 200 sends the whole batch again, or gives up. So the routes of other
vendors' SDKs answer 200, and what they cannot store is here; with `ingest.keep_rejected`, also what the other
ingest routes reject.

Files of JSON lines in `<wal.directory>/rejected`, named `<first ms>-<share>-<worker>.ndjson`. A worker begins
a file at its start, each day (UTC), and after `FILE_BYTES`. Bounded in size and age, and what is deleted is
counted. A file is deleted once all events of its day are too old, also if nothing is rejected any more. When
a worker has too many bytes, the oldest file of the largest share is deleted: projects are in `SHARES` shares,
so one that sends bad events without end pushes out its own share, not everybody's. The files of a worker that
is no more are deleted for their age only. A process that changes a file holds the lock of the directory.
"""

import asyncio
import errno
import logging
import os
import secrets
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from nealytics.directories import locked, make_private, sync_directory
from nealytics.errors import LogBroken, LogFull
from nealytics.event import InvalidEvent, is_utf8
from nealytics.observe.metrics import Metrics
from nealytics.timestamps import DAY_MS
from nealytics.wal.files import NO_ROOM, OS_FILES, publish

log = logging.getLogger("nealytics.commit")

DIRECTORY = "rejected"
FILE_BYTES = 1024 * 1024  # less if few bytes are allowed
SHARES = 16
EXPIRE_INTERVAL_S = 3_600.0
_SUFFIX = ".ndjson"


class Whose(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What a route understood of an event: for lists, and for erasures, which have to find it."""

    tenant: str = ""
    user: str = ""
    at_ms: int | None = None


class RejectedEvent(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One event, as a line of a file."""

    id: str
    rejected_at: str  # ISO 8601, UTC
    source: str  # of which API it came
    project_id: str
    code: str
    reason: str
    field: str | None = None
    # As it was sent, with what stood beside the events of its body; a JSON string if it is no JSON.
    payload: msgspec.Raw
    kind: str = ""  # the type of the message, if its route says it
    # What the key or token fixes, and its `Grant.digest`: a retry is bound as the request was.
    tenant_id: str = ""
    user_id: str = ""
    digest: bytes = b""
    whose: Whose | None = None  # None if the event cannot be read, or is of an earlier release


class RejectedEvents:
    """`keep` is durable on return. One per worker."""

    def __init__(
        self,
        directory: Path,
        worker: int,
        *,
        bytes_max: int,
        days_max: int,
        metrics: Metrics,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        without_erased: Callable[[Sequence[RejectedEvent]], Sequence[RejectedEvent]] = lambda events: events,
    ) -> None:
        """`bytes_max` is the share of this worker. `without_erased`, called in one thread at a
        time, returns those that no erasure covers; the others are not kept."""
        self._directory = directory
        self._worker = worker
        self._bytes_max = bytes_max
        self._days_max = days_max
        self._dropped = metrics.rejected_dropped
        self._clock_ms = clock_ms
        self._erased = metrics.events_erased
        self._without_erased = without_erased
        self._lock = threading.Lock()
        # Of each share; never one of an earlier process, whose last line may be torn.
        self._current: dict[int, Path] = {}

    async def keep(self, events: Sequence[RejectedEvent], project: str = "") -> None:
        """`project` is that of the key, whose share of the room they take. Raises `LogFull` without room,
        `LogBroken` if the disk fails, as the log does."""
        if events and self._bytes_max:
            await asyncio.to_thread(self._keep, events, project)

    async def run(self) -> None:
        """Deletes what is too old; never ends."""
        while True:
            try:
                await asyncio.to_thread(self.expire)
            except OSError as error:
                log.error("rejected: cannot delete old events in %s: %s", self._directory, error.strerror)
            await asyncio.sleep(EXPIRE_INTERVAL_S)

    def expire(self) -> None:
        """Raises `OSError`."""
        if self.files():
            with self._lock, locked(self._directory):
                self._drop_old()

    def new(
        self,
        source: str,
        project_id: str,
        error: InvalidEvent,
        payload: bytes,
        *,
        kind: str = "",
        tenant_id: str = "",
        user_id: str = "",
        digest: bytes = b"",
        whose: Whose | None = None,
    ) -> RejectedEvent:
        now = datetime.fromtimestamp(self._clock_ms() / 1000, UTC)
        return RejectedEvent(
            id=secrets.token_hex(8),
            rejected_at=now.isoformat(timespec="milliseconds"),
            source=source,
            project_id=project_id,
            code=error.reason,
            reason=error.message,
            field=error.field,
            payload=_on_one_line(payload),
            kind=kind,
            tenant_id=tenant_id,
            user_id=user_id,
            digest=digest,
            whose=whose,
        )

    def files(self) -> list[Path]:
        """Those of all workers, the oldest first."""
        return files(self._directory)

    def _keep(self, events: Sequence[RejectedEvent], project: str = "") -> None:
        with self._lock:
            kept = self._without_erased(events)
            self._erased.add(len(events) - len(kept))
            if not kept:
                return
            data = b"".join(msgspec.json.encode(event) + b"\n" for event in kept)
            try:
                make_private(self._directory)
                with locked(self._directory):
                    self._drop_old()
                    self._make_room(kept=self._append(data, zlib.crc32(project.encode()) % SHARES))
            except OSError as error:
                kind = LogFull if error.errno in NO_ROOM else LogBroken
                raise kind(f"rejected: cannot write to {self._directory}: {error.strerror}") from error

    def _append(self, data: bytes, share: int) -> Path:
        # Small enough that a share has several, of which the oldest can go.
        bytes_max = min(FILE_BYTES, self._bytes_max // (2 * SHARES))
        now_ms = self._clock_ms()
        path = self._current.get(share)
        is_new = (
            path is None
            or _begun_ms(path) // DAY_MS != now_ms // DAY_MS
            or not path.exists()
            or path.stat().st_size + len(data) > bytes_max
        )
        if path is None or is_new:
            path = self._directory / f"{now_ms:013}-{share}-{self._worker}{_SUFFIX}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except PermissionError:
            # Another user has rewritten or made it. It is still listed, and deleted when it is too old.
            is_new = True
            path = (
                self._directory / f"{_free_ms(self._directory, now_ms):013}-{share}-{self._worker}{_SUFFIX}"
            )
            file = os.open(path, flags | os.O_EXCL, 0o600)
        try:
            size = os.fstat(file).st_size
            if os.write(file, data) < len(data):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(file)
        finally:
            os.close(file)
        self._current[share] = path
        if is_new:
            sync_directory(self._directory)
        return path

    def _drop_old(self) -> None:
        oldest_day = (self._clock_ms() - self._days_max * DAY_MS) // DAY_MS
        for path in self.files():
            if _begun_ms(path) // DAY_MS < oldest_day:  # and its last event is of the same day
                self._drop(path)

    def _make_room(self, kept: Path) -> None:
        """Deletes other files than `kept`, which has the newest events."""
        sizes = {path: path.stat().st_size for path in self._mine()}
        while sum(sizes.values()) > self._bytes_max and len(sizes) > 1:
            of_share = Counter[str]()
            for path, size in sizes.items():
                of_share[_share(path)] += size
            oldest = min(
                (path for path in sizes if path != kept),
                key=lambda path: (-of_share[_share(path)], _begun_ms(path)),
            )
            self._drop(oldest)
            del sizes[oldest]

    def _drop(self, path: Path) -> None:
        try:
            events = path.read_bytes().count(b"\n")
        except FileNotFoundError:
            return  # another worker was faster
        except OSError as error:
            path.unlink(missing_ok=True)
            log.warning("rejected: dropped %s with the oldest rejected events, uncounted: %s", path, error)
            return
        path.unlink(missing_ok=True)
        self._dropped.add(events)
        log.warning("rejected: dropped %d of the oldest rejected events, with %s", events, path)

    def _mine(self) -> list[Path]:
        return [path for path in self.files() if path.stem.rpartition("-")[2] == str(self._worker)]


def files(directory: Path) -> list[Path]:
    """Those of all workers, the oldest first."""
    return sorted(directory.glob("*" + _SUFFIX), key=_begun_ms) if directory.is_dir() else []


class Removed(NamedTuple):
    removed: int
    problems: list[str]  # what a person has to look at


class _Line(NamedTuple):
    data: bytes
    event: RejectedEvent | None  # None if it cannot be read


def remove(directory: Path, is_unwanted: Callable[[RejectedEvent], bool]) -> Removed:
    """Removes events, durably. What cannot be read is kept, and named. Raises `OSError`, then some files are
    as before."""
    removed, problems = 0, list[str]()
    if not files(directory):
        return Removed(0, [])
    with locked(directory):
        for path in files(directory):
            if (lines := _lines_of(path, problems)) is None:
                continue
            kept = [line for line in lines if line.event is None or not is_unwanted(line.event)]
            removed += len(lines) - len(kept)
            if not kept:
                path.unlink()
            elif len(kept) < len(lines):
                publish(OS_FILES, path, b"".join(line.data + b"\n" for line in kept)).close()
        sync_directory(directory)
    return Removed(removed, problems)


def read(path: Path, problems: list[str] | None = None) -> list[RejectedEvent]:
    """The events of a file. What cannot be read is added to `problems`."""
    lines = _lines_of(path, [] if problems is None else problems) or ()
    return [line.event for line in lines if line.event is not None]


def _lines_of(path: Path, problems: list[str]) -> list[_Line] | None:
    """Without the last one, if a crash left it incomplete: it was never acknowledged. None if the file cannot
    be read. What cannot be read is added to `problems`."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None  # its worker has dropped it
    except OSError as error:
        problems.append(f"rejected: cannot read {path}: {error.strerror}; correct its owner, or delete it")
        return None
    found = []
    for number, line in enumerate(lines, 1):
        event = None
        try:
            event = msgspec.json.decode(line, type=RejectedEvent)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            problems.append(f"rejected: cannot read line {number} of {path}: {error}; delete the line")
        found.append(_Line(line, event))
    return found


def _free_ms(directory: Path, now_ms: int) -> int:
    """From `now_ms` on, the first that no file of any worker begins with."""
    taken = {_begun_ms(path) for path in files(directory)}
    while now_ms in taken:
        now_ms += 1
    return now_ms


def _begun_ms(path: Path) -> int:
    ms = path.name.partition("-")[0]
    return int(ms) if ms.isdecimal() else 0


def _share(path: Path) -> str:
    return path.stem.split("-")[1]


def _on_one_line(payload: bytes) -> msgspec.Raw:
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)
        is_json = is_utf8(payload)  # the decoder does not look into texts
    except (msgspec.DecodeError, RecursionError):
        is_json = False
    if not is_json:
        return msgspec.Raw(msgspec.json.encode(payload.decode(errors="replace")))
    # In JSON, line ends are only between values.
    return msgspec.Raw(payload.replace(b"\n", b" ").replace(b"\r", b" "))
