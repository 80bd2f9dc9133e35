"""What a log knows of the table that received its rows: `table` in its directory, a small JSON file.

It is written when the rows were compared with the table, never for a batch. The next start compares it with
the table and the directory as they are: another table, or a directory that was copied, has another identity.
"""

from pathlib import Path

import msgspec

from nealytics.wal.cursor import Range
from nealytics.wal.files import OS_FILES, Files, publish

NAME = "table"


class Mark(msgspec.Struct, frozen=True, rename="camel"):
    log_id: str
    table: str  # its identity (`clickhouse.table_state`)
    place: str  # of the directory (`place_of`)
    broken: tuple[str, ...] = ()  # parts that ClickHouse had detached when the rows were compared
    accepted: tuple[Range, ...] = ()  # rows that were deleted on purpose; ascending
    suspected: str = ""  # why rows may be missing; until a comparison is complete


def place_of(directory: Path) -> str:
    """Tells a directory from its copies: the inode numbers of the directory and of LOCK, which is never
    replaced. A rename keeps both; `cp`, `rsync` and `tar` keep neither."""
    try:
        return f"{directory.stat().st_ino}-{(directory / 'LOCK').stat().st_ino}"
    except FileNotFoundError:
        return ""


def load(directory: Path) -> Mark | None:
    """None if there is none. One that cannot be read is a mark that knows nothing, with the reason as
    `suspected`: then all rows are compared, which destroys nothing."""
    path = directory / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return Mark(
            "", table="", place="", suspected=f"what it knew of its table cannot be read ({path}: {why})"
        )


def store(directory: Path, mark: Mark, files: Files = OS_FILES) -> None:
    """Durable on return. Raises as `publish` does."""
    publish(files, directory / NAME, msgspec.json.encode(mark) + b"\n").close()
