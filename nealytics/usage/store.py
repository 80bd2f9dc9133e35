"""The files of the counts: a directory for each worker in `usage/`.

    current.json      the days that may still change, and the log's position up to which events are in them
    2026-11-30.json   a day that has ended, and the log's position up to which its events are in it

A day is a list of [project, tenant, [events, bytes, queries, rowsRead]]. A file is replaced whole. A day
moves from the one to the other in two steps; while both have it, `current` counts.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from nealytics.errors import NealyticsError
from nealytics.usage.counts import Line, Used, date_of, day_number
from nealytics.wal.files import OS_FILES, Files, make_directory, publish

DIRECTORY = "usage"
CURRENT = "current.json"

Lines = list[tuple[str, str, Used]]


class Position(msgspec.Struct, frozen=True, rename="camel"):
    """Rows of this log up to `lsn` are counted."""

    log_id: str = ""
    lsn: int = 0


class Ended(msgspec.Struct):
    position: Position
    lines: Lines


class Current(msgspec.Struct):
    position: Position
    days: dict[str, Lines]


def load(directory: Path) -> Current:
    """Raises `NealyticsError` if the file cannot be read."""
    try:
        return msgspec.json.decode((directory / CURRENT).read_bytes(), type=Current)
    except FileNotFoundError:
        return Current(Position(), {})
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(f"usage: cannot read {directory / CURRENT}: {error}") from error


def load_day(directory: Path, day: int) -> Ended:
    """A day that has ended; empty if nothing was used. Raises `NealyticsError`."""
    path = path_of(directory, day)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ended)
    except FileNotFoundError:
        return Ended(Position(), [])
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(f"usage: cannot read {path}: {error}") from error


def path_of(directory: Path, day: int) -> Path:
    """The file of a day that has ended."""
    return directory / f"{date_of(day)}.json"


def store(
    directory: Path, position: Position, counts: dict[int, bytes], ended: list[int], files: Files = OS_FILES
) -> None:
    """Durable on return: `counts` has the JSON of each day. Days in `ended` move to files of their own.

    Raises as `publish` does.
    """
    make_directory(files, directory)
    up_to = msgspec.json.encode(position)
    for day in ended:
        publish(files, path_of(directory, day), b'{"position":%s,"lines":%s}' % (up_to, counts[day])).close()
    days = b",".join(
        b'"%s":%s' % (date_of(day).encode(), data) for day, data in counts.items() if day not in ended
    )
    body = b'{"position":%s,"days":{%s}}' % (up_to, days)
    publish(files, directory / CURRENT, body).close()


def used(root: Path, days: range) -> Iterator[tuple[int, Line]]:
    """What all workers of the node that uses `root` (`usage/`) counted on these days, as their files are now.

    A tenant is listed once per worker and day. Raises `NealyticsError`.
    """
    for directory in sorted(root.glob("*/")):
        current = {day_number(text): lines for text, lines in load(directory).days.items()}
        for day in days:
            lines = current[day] if day in current else load_day(directory, day).lines
            for project_id, tenant_id, counted in lines:
                yield day, Line(project_id, tenant_id, counted)


def first_day(root: Path, project_id: str, tenant_id: str) -> int | None:
    """The first day on which an event of the tenant was accepted, as far as the files go back; None if none
    was. Raises `NealyticsError`."""
    if lost := sorted(root.glob("*/*.unreadable")):
        raise NealyticsError(f"usage: {lost[0]} cannot be read, so it is not known what was accepted then")
    found = []
    for directory in sorted(root.glob("*/")):
        current = {day_number(text): lines for text, lines in load(directory).days.items()}
        ended = [day_number(path.stem) for path in directory.glob("????-??-??.json")]
        for day in sorted({*current, *ended}):
            lines = current[day] if day in current else load_day(directory, day).lines
            if any(line[:2] == (project_id, tenant_id) and line[2].events for line in lines):
                found.append(day)
                break
    return min(found, default=None)
