"""Reads a log at a start, and makes its last segment trustworthy.

It reads every segment's header, the cursor, and the frames of the last segment only, so ten gigabytes take as
long as one segment. It checks everything first and changes nothing if it refuses the log (`LogDamaged`). All
other changes are made by `Log`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

from nealytics.errors import LogBroken, LogDamaged, LogForeign, LogFull
from nealytics.wal import cursor, segment
from nealytics.wal.cursor import CursorState, InvalidCursor, Stored
from nealytics.wal.files import NO_ROOM, UNREADABLE, File, Files, is_temporary, publish_chunks
from nealytics.wal.reader import SegmentReader
from nealytics.wal.retention import committed
from nealytics.wal.segment import WHAT_TO_DO, Segment

logger = logging.getLogger("nealytics.wal")

# Kept for a person to inspect. Each may have the size of a segment, and a machine that loses power every
# night must not fill its disk with them.
_TORN_FILES_MAX = 3
_COPY_BYTES = 1024 * 1024
# A file that marks a log in which a reader has found damage: a start does not read all of it.
FOUND_DAMAGED = "found-damaged"


class Scan(NamedTuple):
    """The frames of one segment, up to the first that is incomplete."""

    end: int  # of the last complete frame
    size: int  # of the file
    next_lsn: int
    last_crc: int | None  # of the last frame with rows; None if there is none
    proven: bool  # there are no rows, or a marker proves that all of them were synced

    @property
    def torn(self) -> bool:
        return self.end < self.size


class Recovered(NamedTuple):
    log_id: UUID
    segments: list[Segment]  # without a last one that has no rows, which the new active segment replaces
    cursor: CursorState
    next_lsn: int
    previous_first_lsn: int
    previous_crc: int
    torn_tails: int
    rebuilt: bool  # whether the cursor was rebuilt from the segments


def scan(reader: SegmentReader, size: int) -> Scan:
    """Reads all frames of a segment, up to `size`.

    Raises `LogDamaged` if the bytes after the last complete frame cannot be an unfinished write, because a
    later frame proves that they had been synced.
    """
    found = reader.segment
    offset, lsn = segment.HEADER_BYTES, found.first_lsn
    last_crc: int | None = None
    proven = True
    while offset < size:
        header = reader.header(offset, size)
        body = None if header is None else reader.body(offset, header, size)
        if header is None or body is None:
            break
        if header.first_lsn != lsn:
            raise LogDamaged(
                f"wal: {found.path}: byte {offset}: the frame begins with row {header.first_lsn}, "
                f"but row {lsn} was expected; {WHAT_TO_DO}"
            )
        proven = header.is_marker
        if not header.is_marker:
            lsn += header.row_count
            last_crc = header.crc
        offset += header.frame_bytes
    if offset < size and (later := reader.later_header(offset, size)) is not None:
        raise LogDamaged(
            f"wal: {found.path}: byte {offset}: row {lsn} was expected, but there is no valid frame, and the "
            f"frame at byte {later[0]} was written after this place had been synced; {WHAT_TO_DO}"
        )
    return Scan(offset, size, lsn, last_crc, proven)


def describe_torn(found: Scan) -> str:
    """What the end of the last segment shows, and what it cannot show."""
    return (
        f"byte {found.end}: the last {found.size - found.end} bytes are an incomplete frame; rows up to "
        f"{found.next_lsn - 1} are complete. If power or the process failed during a write, these bytes are "
        "that write, which was never acknowledged. Otherwise the file was truncated or damaged, and "
        "acknowledged events may be missing"
    )


def missing_rows(directory: Path, stored: Stored | None, next_lsn: int) -> str:
    """A message if the cursor knows rows beyond the end of the log; empty if not."""
    if stored is None or stored.durable_lsn < next_lsn:
        return ""
    return (
        f"wal: {directory / cursor.NAME}: the log had rows up to {stored.durable_lsn}, but now ends "
        f"with row {next_lsn - 1}"
    )


def recover(files: Files, directory: Path, clock_ms: Callable[[], int]) -> Recovered:
    """Reads the log of a directory that this process has locked, and makes its last segment trustworthy.

    Raises `LogDamaged`, with file and offset, for anything a crash cannot explain.
    """
    with _errors_of_the_disk(directory):
        return _recover(files, directory, clock_ms)


def _recover(files: Files, directory: Path, clock_ms: Callable[[], int]) -> Recovered:
    names = files.names(directory)
    if FOUND_DAMAGED in names:
        raise LogDamaged(f"wal: {directory}: a reader found damage that the start does not look for")
    segments, headless = load_segments(files, directory, names)
    stored, rebuilt_because = _load_cursor(files, directory)
    log_id = common_id(directory, segments, stored)
    last = segments[-1] if segments else None
    found = _scan_file(files, last) if last is not None else None
    next_lsn = _next_lsn(directory, found, headless, stored)
    state = stored.state if stored is not None else rebuilt(segments, next_lsn)
    if missing := missing_rows(directory, stored, next_lsn):
        raise LogDamaged(f"{missing}{f' in {last.path.name}' if last else ''}; {WHAT_TO_DO}")
    check_links(directory, segments, state.done_lsn, next_lsn)

    # Everything is checked; the changes begin here.
    for name in names:
        if is_temporary(name):
            files.unlink(directory / name)
    was_rebuilt = bool(rebuilt_because)
    if rebuilt_because:
        _report_rebuilt(files, directory, names, segments, state, rebuilt_because, clock_ms)
    torn_tails = 0
    for path in headless:
        logger.warning(
            "wal: %s has an incomplete header; a start was interrupted, and the file has no rows", path
        )
        _keep_copy(files, path, clock_ms)
        files.unlink(path)
        torn_tails += 1
    if last is None or found is None:
        return Recovered(log_id, [], state, next_lsn, 0, 0, torn_tails, was_rebuilt)
    if found.torn:
        torn_tails += 1
        kept = _keep_copy(files, last.path, clock_ms)
        logger.warning(
            "wal: %s: %s. They were removed; the original file is kept as %s",
            last.path, describe_torn(found), kept.name,
        )  # fmt: skip
    previous_crc = last.header.previous_crc if found.last_crc is None else found.last_crc
    if found.next_lsn == last.first_lsn:
        # No rows: the new active segment has the same first row and replaces this file.
        previous_first_lsn = last.header.previous_first_lsn
        return Recovered(
            log_id, segments[:-1], state, next_lsn, previous_first_lsn, previous_crc, torn_tails, was_rebuilt
        )
    if found.torn or not found.proven:
        last = _rewrite(files, last, found.end)
    segments[-1] = last
    return Recovered(log_id, segments, state, next_lsn, last.first_lsn, previous_crc, torn_tails, was_rebuilt)


def release_committed(files: Files, directory: Path) -> None:
    """Deletes committed segments that are kept for reconciliation: the disk is full."""
    with _errors_of_the_disk(directory):
        stored, _ = _load_cursor(files, directory)
        segments, _ = load_segments(files, directory, files.names(directory))
        if stored is not None:
            for old in committed(segments, stored.state.done_lsn):
                files.unlink(old.path)


@contextmanager
def _errors_of_the_disk(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise LogFull(f"wal: no room to recover {directory}: {error}; free some disk space") from error
        raise LogBroken(
            f"wal: recovering {directory} failed: {error}; check the disk, then start again"
        ) from error


@contextmanager
def _damaged_if_unreadable(path: Path) -> Iterator[None]:
    """A disk that refuses to read would refuse it at the next start too; what it can read is salvaged."""
    try:
        yield
    except OSError as error:
        if error.errno in UNREADABLE:
            raise LogDamaged(f"wal: {path} cannot be read: {error}; {WHAT_TO_DO}") from error
        raise


def load_segments(files: Files, directory: Path, names: Sequence[str]) -> tuple[list[Segment], list[Path]]:
    """The headers of all segments, ascending; and the last file(s), if too short to hold a header."""
    paths = sorted(directory / name for name in names if segment.first_lsn_of(name) is not None)
    segments: list[Segment] = []
    headless: list[Path] = []
    for path in paths:
        with _damaged_if_unreadable(path):
            loaded = segment.load(files, path)
        if loaded is None:
            headless.append(path)
        elif headless:
            raise LogDamaged(f"wal: {headless[0]}: byte 0: the segment's header is truncated; {WHAT_TO_DO}")
        else:
            segments.append(loaded)
    return segments, headless


def check_links(directory: Path, segments: Sequence[Segment], done_lsn: int, next_lsn: int) -> None:
    """Raises `LogDamaged` if a segment with rows after `done_lsn` is missing."""
    if not segments:
        if done_lsn < next_lsn - 1:
            raise LogDamaged(
                f"wal: {directory}: rows from {done_lsn + 1} on are missing: no segment is left; {WHAT_TO_DO}"
            )
        return
    if segments[0].first_lsn > done_lsn + 1:
        raise LogDamaged(
            f"wal: {segments[0].path}: byte 0: the first segment begins with row {segments[0].first_lsn}, "
            f"but rows from {done_lsn + 1} on are not committed; {WHAT_TO_DO}"
        )
    for before, after in pairwise(segments):
        # Deletions of committed segments may reach the disk in any order, so a gap among them is no damage.
        if after.header.previous_first_lsn != before.first_lsn and after.first_lsn > done_lsn + 1:
            raise LogDamaged(
                f"wal: {after.path}: byte 0: the segment before it, "
                f"{segment.name_of(after.header.previous_first_lsn)}, is missing; {WHAT_TO_DO}"
            )


def _load_cursor(files: Files, directory: Path) -> tuple[Stored | None, str]:
    """What the cursor file holds; and why it must be rebuilt, empty if not."""
    try:
        stored = cursor.load(files, directory)
    except InvalidCursor as problem:
        return None, str(problem)
    except OSError as problem:
        if problem.errno not in UNREADABLE:
            raise
        return None, f"it cannot be read: {problem}"
    return stored, "" if stored is not None else "it is missing"


def common_id(directory: Path, segments: Sequence[Segment], stored: Stored | None) -> UUID:
    ids = {found.header.log_id: found.path for found in reversed(segments)}
    if stored is not None:
        ids.setdefault(stored.log_id, directory / cursor.NAME)
    if len(ids) > 1:
        (one, path), (other, other_path) = list(ids.items())[-1], next(iter(ids.items()))
        raise LogForeign(
            f"wal: {path}: byte 0: it belongs to log {one}, but {other_path.name} belongs to log {other}; "
            "a directory has one log: move the files of the other one away"
        )
    return next(iter(ids), None) or uuid4()


def _scan_file(files: Files, last: Segment) -> Scan:
    with _damaged_if_unreadable(last.path):
        reader = SegmentReader(files, last)
        try:
            return scan(reader, last.bytes)
        finally:
            reader.close()


def _next_lsn(directory: Path, found: Scan | None, headless: Sequence[Path], stored: Stored | None) -> int:
    """The LSN that the next row will get. The name of a file without a header must agree."""
    named = [lsn for path in headless if (lsn := segment.first_lsn_of(path.name)) is not None]
    if found is not None:
        next_lsn = found.next_lsn
    elif named:
        next_lsn = named[0]
    elif stored is not None and stored.durable_lsn > 0:
        raise LogDamaged(
            f"wal: {directory}: the log had rows up to {stored.durable_lsn}, but no segment is left; "
            f"{WHAT_TO_DO}"
        )
    else:
        next_lsn = 1
    for lsn, path in zip(named, headless, strict=True):
        if lsn != next_lsn:
            raise LogDamaged(
                f"wal: {path}: byte 0: the segment's header is truncated, and the rows before it, from "
                f"{next_lsn} on, are missing; {WHAT_TO_DO}"
            )
    return next_lsn


def rebuilt(segments: Sequence[Segment], next_lsn: int) -> CursorState:
    """A cursor that skips no row, and repeats as few as the segments allow."""
    if not segments:
        return CursorState(next_lsn)
    return CursorState(max(segments[0].first_lsn, *(found.header.cursor_lsn + 1 for found in segments)))


def _report_rebuilt(
    files: Files,
    directory: Path,
    names: Sequence[str],
    segments: Sequence[Segment],
    state: CursorState,
    reason: str,
    clock_ms: Callable[[], int],
) -> None:
    if cursor.NAME in names:
        path = directory / cursor.NAME
        copy = _free_name(files, path, "damaged", clock_ms)
        files.link(path, copy)
        reason = f"{reason}; the file is kept as {copy.name}"
    elif not segments:
        return  # a new log has none yet
    logger.critical(
        "wal: %s: the cursor cannot be used (%s). It was rebuilt from the segments: rows from %d on are sent "
        "to ClickHouse again. Through the API each is still counted once; raw SQL and materialized views may "
        "count those twice that had been sent in other batches",
        directory, reason, state.next_lsn,
    )  # fmt: skip


def _keep_copy(files: Files, path: Path, clock_ms: Callable[[], int]) -> Path:
    """Gives a file a second name under which it stays unchanged."""
    copy = _free_name(files, path, "torn", clock_ms)
    files.link(path, copy)
    _remove_old_torn(files, path.parent)
    return copy


def _free_name(files: Files, path: Path, why: str, clock_ms: Callable[[], int]) -> Path:
    stamp = clock_ms()
    while files.exists(free := path.with_name(f"{path.name}.{stamp}.{why}")):
        stamp += 1
    return free


def _rewrite(files: Files, old: Segment, end: int) -> Segment:
    """Replaces a segment by a synced copy of its first `end` bytes.

    The original is not trusted even if it reads well: if its last fdatasync failed, the page cache has bytes
    that the disk does not have, and syncing it again would report success.
    """
    source = files.open(old.path)
    try:
        publish_chunks(files, old.path, _chunks(source, end)).close()
    finally:
        source.close()
    old.bytes = end
    return old


def _chunks(source: File, end: int) -> Iterator[bytes]:
    for offset in range(0, end, _COPY_BYTES):
        yield source.read(offset, min(_COPY_BYTES, end - offset))


def _remove_old_torn(files: Files, directory: Path) -> None:
    torn = sorted((name for name in files.names(directory) if name.endswith(".torn")), key=_stamp)
    for name in torn[:-_TORN_FILES_MAX]:
        files.unlink(directory / name)


def _stamp(name: str) -> int:
    return int(name.split(".")[-2])
