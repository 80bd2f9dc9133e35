"""A file that is deleted when the disk is full, so that the cursor can still move and a start can finish."""

import logging
from pathlib import Path

from nealytics.wal.files import Files

logger = logging.getLogger("nealytics.wal")

NAME = "reserve"
# Room for cursors and a segment's header.
RESERVE_BYTES = 256 * 1024


def release(files: Files, directory: Path) -> bool:
    """Gives the space back; False if there is no reserve."""
    if not files.exists(directory / NAME):
        return False
    files.unlink(directory / NAME)
    return True


def restore(files: Files, directory: Path) -> None:
    """Makes the reserve unless it exists. Without room there is none until the next call."""
    path = directory / NAME
    if files.exists(path):
        return
    try:
        file = files.create(path)
        try:
            file.preallocate(RESERVE_BYTES)
        finally:
            file.close()
    except OSError as error:
        logger.debug("wal: %s: no room for the reserve yet: %s", directory, error)
        try:
            files.unlink(path)
        except OSError:
            pass  # it is too small; the next start makes it again
