"""The files of the counts: a directory for each worker in `usage/`.

    current.json      the days that may still change, and the log's position up to which events are in them
    2026-11-30.json   a day that has ended, and the log's position up to which its events are in it

A day is a list of [project, tenant, [events, bytes, queries, rowsRead]], with a line break after each 2,000
of them: each line of a file is decoded by itself. A file is replaced whole. A day moves from the one to the
other in two steps; while both have it, `current` counts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from nealytics.errors import NealyticsError
from nealytics.usage.counts import Line, Used, date_of, day_number
from nealytics.wal.files import OS_FILES, Files, make_directory, publish_chunks

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
        data, chunks = _split((directory / CURRENT).read_bytes())
        found = msgspec.json.decode(data, type=Current)
        for lines, of_day in zip(found.days.values(), chunks, strict=False):
            _decode(of_day, lines)
        return found
    except FileNotFoundError:
        return Current(Position(), {})
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(f"usage: cannot read {directory / CURRENT}: {error}") from error


def load_day(directory: Path, day: int) -> Ended:
    """A day that has ended; empty if nothing was used. Raises `NealyticsError`."""
    path = path_of(directory, day)
    try:
        data, chunks = _split(path.read_bytes())
        found = msgspec.json.decode(data, type=Ended)
        _decode(chunks[0], found.lines)
        return found
    except FileNotFoundError:
        return Ended(Position(), [])
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(f"usage: cannot read {path}: {error}") from error


def path_of(directory: Path, day: int) -> Path:
    """The file of a day that has ended."""
    return directory / f"{date_of(day)}.json"


def store(
    directory: Path,
    position: Position,
    counts: Mapping[int, Sequence[bytes]],
    ended: Sequence[int],
    files: Files = OS_FILES,
) -> None:
    """Durable on return: `counts` has the pieces of each day (`Counts.encode`). Days in `ended` move to files
    of their own.

    Raises as `publish` does.
    """
    make_directory(files, directory)
    up_to = msgspec.json.encode(position)
    for day in ended:
        chunks = (b'{"position":%s,"lines":' % up_to, *_joined(counts[day]), b"}")
        publish_chunks(files, path_of(directory, day), chunks).close()
    body = [b'{"position":%s,"days":{' % up_to]
    for number, day in enumerate(day for day in counts if day not in ended):
        body += [b'%s"%s":' % (b"," if number else b"", date_of(day).encode()), *_joined(counts[day])]
    publish_chunks(files, directory / CURRENT, [*body, b"}}"]).close()


def _joined(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """A list of JSON: each piece is a line of its own."""
    yield b"[\n"
    for number, piece in enumerate(pieces, 1):
        yield piece
        yield b",\n" if number < len(pieces) else b"\n"
    yield b"]"


def _split(data: bytes) -> tuple[bytes, list[list[bytes]]]:
    """A file without the lines of its lists, and these: those of the first list, of the second, and so on. A
    file without line breaks has all in the first part."""
    frame: list[bytes] = []
    chunks: list[list[bytes]] = []
    for line in data.split(b"\n"):
        if frame and line.startswith(b'["'):
            chunks[-1].append(line)
        else:
            frame.append(line)
            chunks.append([])
    return b"".join(frame), chunks


def _decode(chunks: Iterable[bytes], lines: Lines) -> None:
    for chunk in chunks:
        lines += msgspec.json.decode(b"[%s]" % chunk.rstrip(b","), type=Lines)


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
