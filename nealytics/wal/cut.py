"""A consistent copy of a log while its worker writes to it: what a backup contains of it.

The copy is a log that a node can start on. It has every row that was durable and not committed when `cut` was
called, and ends with a whole frame. It has no mark (`wal.mark`), because no table has received its rows yet.
"""

import logging
import time
from pathlib import Path

from nealytics.errors import LogDamaged
from nealytics.wal import cursor
from nealytics.wal.cursor import Stored
from nealytics.wal.files import Files, make_directory, publish_chunks
from nealytics.wal.reader import SegmentReader
from nealytics.wal.recovery import load_segments, scan
from nealytics.wal.retention import committed
from nealytics.wal.segment import Segment

logger = logging.getLogger("nealytics.wal")

_ATTEMPTS = 5
_RETRY_S = 0.2
_COPY_BYTES = 1024 * 1024


def cut(files: Files, directory: Path, target: Path) -> int:
    """Copies the log of `directory` to `target`, durable on return; the number of rows that were waiting.

    Takes no lock. Raises `LogDamaged` if the log cannot be read, `OSError` if the copy cannot be written.
    """
    make_directory(files, target)
    for attempt in range(1, _ATTEMPTS + 1):
        # The cursor first: segments that are read later have at least its rows.
        stored = cursor.load(files, directory)
        segments, _ = load_segments(files, directory, files.names(directory))
        done = stored.state.done_lsn if stored is not None else 0
        needed = segments[len(committed(segments, done)) :]
        try:
            return _copy(files, directory, stored, needed, target)
        except FileNotFoundError as error:
            # The worker needed the room of a segment that it had committed meanwhile: cut again.
            if attempt == _ATTEMPTS:
                raise LogDamaged(f"wal: {directory} changes faster than it can be copied: {error}") from error
            for name in files.names(target):
                files.unlink(target / name)
            time.sleep(_RETRY_S)
    raise AssertionError("unreachable")


def _copy(files: Files, directory: Path, stored: Stored | None, segments: list[Segment], target: Path) -> int:
    next_lsn = 1 if stored is None else stored.state.next_lsn
    for found in segments:
        reader = SegmentReader(files, found)
        try:
            end = scan(reader, found.bytes)
        finally:
            reader.close()
        next_lsn = end.next_lsn
        file = files.open(found.path)
        try:
            pieces = (file.read(at, min(_COPY_BYTES, end.end - at)) for at in range(0, end.end, _COPY_BYTES))
            publish_chunks(files, target / found.path.name, pieces).close()
        finally:
            file.close()
    if stored is None:
        return next_lsn - 1
    cursor.store(files, target, stored)
    waiting_below = stored.state.uncommitted
    return max(0, next_lsn - stored.state.next_lsn) + waiting_below
