"""Inspects a log read-only and without its lock, while a server runs or after.

The server may append, begin a segment or delete one at the same time. So the size of each file is read first
and nothing beyond it, and a file that is missing after it was listed was committed.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from nealytics.errors import LogDamaged, LogError
from nealytics.wal import cursor, quarantine, recovery
from nealytics.wal.cursor import InvalidCursor, Range, Stored
from nealytics.wal.files import Files
from nealytics.wal.reader import Reader, SegmentReader
from nealytics.wal.recovery import Scan
from nealytics.wal.segment import Segment, first_lsn_of, load


class Summary(msgspec.Struct, frozen=True):
    """One log at a glance."""

    directory: str
    log_id: str | None
    segments: int
    bytes: int
    first_lsn: int | None  # of the oldest row on disk
    last_lsn: int  # 0 = none yet
    cursor_lsn: int | None  # everything up to here is committed
    next_lsn: int | None  # no batch holds this row yet
    outstanding: tuple[Range, ...]  # batches that may be with ClickHouse
    waiting: int | None
    oldest_waiting_ms: int | None  # epoch
    problems: tuple[str, ...]


class Finding(msgspec.Struct, frozen=True):
    """What `verify` has found at one place."""

    damage: bool  # False: a remark
    message: str


def find_logs(root: Path, *, quarantined: bool = False) -> list[Path]:
    """The log directories under a root such as `wal/`, or `root` itself if it is one. With `quarantined`,
    also damaged logs, each behind the one that took its place."""
    if not root.is_dir():
        raise LogError(
            f"wal: {root} is not a directory; give the directory of a log, or the one that holds them"
        )
    if _is_log(root):
        return [root]
    logs = [(int(path.name), path) for path in root.iterdir() if re.fullmatch(r"\d+", path.name)]
    logs += quarantine.find(root) if quarantined else []
    return [path for _, path in sorted(logs) if path.is_dir() and _is_log(path)]


def inspect(files: Files, directory: Path) -> Summary:
    """Reads headers, the cursor, and the frames of the last segment."""
    problems: list[str] = []
    earlier = _load_cursor(files, directory, [])  # as in `verify`
    segments = _load_all(files, directory, problems)
    stored = _load_cursor(files, directory, problems)
    log_id, state = (str(stored.log_id), stored.state) if stored else (None, None)
    last_lsn = 0
    if segments:
        try:
            last_lsn = _scan(files, segments[-1]).next_lsn - 1
        except (LogDamaged, OSError) as error:
            problems.append(str(error))
            last_lsn = segments[-1].first_lsn - 1
        else:
            problems += filter(None, [recovery.missing_rows(directory, earlier, last_lsn + 1)])
        log_id = log_id or str(segments[-1].header.log_id)
    oldest_ms = None
    if state is not None and segments and state.done_lsn < last_lsn:
        oldest_ms = _appended_ms(files, segments, state.done_lsn + 1, problems)
    return Summary(
        directory=str(directory),
        log_id=log_id,
        segments=len(segments),
        bytes=sum(found.bytes for found in segments),
        first_lsn=segments[0].first_lsn if segments and segments[0].first_lsn <= last_lsn else None,
        last_lsn=last_lsn,
        cursor_lsn=state.done_lsn if state else None,
        next_lsn=state.next_lsn if state else None,
        outstanding=state.outstanding if state else (),
        waiting=max(0, last_lsn - state.next_lsn + 1) + state.uncommitted if state else None,
        oldest_waiting_ms=oldest_ms,
        problems=tuple(problems),
    )


def verify(files: Files, directory: Path) -> Iterator[Finding]:
    """Reads every byte of a log and yields what is wrong, or worth a remark, file by file."""
    problems: list[str] = []
    # The server may move the cursor: rows that the earlier cursor counts as written are in the files that are
    # loaded after it, and rows that the later one does not count as committed were not deleted before.
    earlier = _load_cursor(files, directory, [])
    segments = _load_all(files, directory, problems)
    stored = _load_cursor(files, directory, problems)
    for problem in problems:
        yield Finding(True, problem)
    ids = {str(found.header.log_id) for found in segments} | ({str(stored.log_id)} if stored else set())
    if len(ids) > 1:
        yield Finding(True, f"wal: {directory}: has files of different logs: {', '.join(sorted(ids))}")
    next_lsn = 1
    last_crc: int | None = None
    for found, following in zip(segments, [*segments[1:], None], strict=True):
        if last_crc is not None and found.header.previous_crc != last_crc:
            yield Finding(
                True, f"wal: {found.path}: byte 0: the segment before it is not the one that its header names"
            )
        try:
            scan = _scan(files, found)
        except FileNotFoundError:
            last_crc = None
            continue  # committed and deleted since it was listed
        except (LogDamaged, OSError) as error:
            yield Finding(True, str(error))
            last_crc, next_lsn = None, found.first_lsn
            continue
        last_crc, next_lsn = (
            scan.last_crc if scan.last_crc is not None else found.header.previous_crc,
            scan.next_lsn,
        )
        if following is not None and following.header.previous_first_lsn != found.first_lsn:
            last_crc = None  # one between them is missing; `check_links` decides whether it may be
        elif following is not None and next_lsn != following.first_lsn:
            yield Finding(
                True,
                f"wal: {found.path}: byte {scan.end}: the rows from {next_lsn} to {following.first_lsn - 1} "
                "cannot be read",
            )
            last_crc = None
        elif scan.torn:
            yield Finding(
                False,
                f"wal: {found.path}: {recovery.describe_torn(scan)}. A start removes them and keeps a copy "
                "of the file; if a server is running, it may be writing them now",
            )
    if stored is not None:
        try:
            recovery.check_links(directory, segments, stored.state.done_lsn, next_lsn)
        except LogDamaged as error:
            yield Finding(True, str(error))
    if missing := recovery.missing_rows(directory, earlier, next_lsn):
        yield Finding(True, missing)


def _is_log(directory: Path) -> bool:
    names = [path.name for path in directory.iterdir()]
    return cursor.NAME in names or any(first_lsn_of(name) is not None for name in names)


def _load_all(files: Files, directory: Path, problems: list[str]) -> list[Segment]:
    """Every segment whose header can be read, ascending."""
    segments = []
    names = sorted(name for name in files.names(directory) if first_lsn_of(name) is not None)
    for name in names:
        try:
            found = load(files, directory / name)
        except FileNotFoundError:
            continue
        except (LogDamaged, OSError) as error:
            problems.append(str(error))
            continue
        if found is not None:
            segments.append(found)
        elif name != names[-1]:
            problems.append(f"wal: {directory / name}: byte 0: the segment's header is truncated")
    return segments


def _load_cursor(files: Files, directory: Path, problems: list[str]) -> Stored | None:
    path = directory / cursor.NAME
    try:
        stored = cursor.load(files, directory)
    except InvalidCursor as error:
        problems.append(f"wal: {path}: byte 0: {error}; a start rebuilds it from the segments")
        return None
    except LogDamaged as error:
        problems.append(str(error))
        return None
    if stored is None:
        problems.append(f"wal: {path} is missing; a start rebuilds it from the segments")
        return None
    return stored


def _scan(files: Files, found: Segment) -> Scan:
    reader = SegmentReader(files, found)
    try:
        return recovery.scan(reader, found.bytes)
    finally:
        reader.close()


def _appended_ms(files: Files, segments: Sequence[Segment], lsn: int, problems: list[str]) -> int | None:
    reader = Reader(files)
    try:
        return reader.appended_ms(segments, lsn)
    except (FileNotFoundError, IndexError):
        return None  # committed and deleted since it was listed
    except (LogDamaged, OSError) as error:
        problems.append(str(error))
        return None
    finally:
        reader.close()
