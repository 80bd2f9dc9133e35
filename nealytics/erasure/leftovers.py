"""Removes erased events from what lies beside the logs: the rows of the dead letter, and the files that a C#
engine left. `rejects` does so with rejected events.

All of it is synchronous, and may be repeated.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from nealytics.clickhouse.rowbinary import owner_key
from nealytics.commit.dead_letter import DeadRow
from nealytics.commit.rejected import Removed
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.timestamps import epoch_ms
from nealytics.wal.files import OS_FILES, is_temporary, publish_chunks

_CHUNK_BYTES = 4 * 1024 * 1024


def erase_dead_letters(directory: Path, tombstones: Tombstones) -> Removed:
    """Also the files that a restored log renamed."""
    count, problems = 0, []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if is_temporary(path.name):
            continue
        try:
            dead = msgspec.json.decode(path.read_bytes(), type=DeadRow)
        except (OSError, msgspec.MsgspecError) as error:
            problems.append(f"{path} cannot be read and may have the events: {error}; delete it")
            continue
        if tombstones.covers(dead.row, dead.row_format):
            path.unlink()
            count += 1
    if count:
        OS_FILES.sync_directory(directory)
    return Removed(count, problems)


class _Rejected(msgspec.Struct):
    text: str = ""


def erase_imported(root: Path, erasure: Erasure) -> Removed:
    """The lines of `telemetry_wal.*.imported` and `.rejected` (`ingest.takeover`)."""
    count, problems = 0, []
    for path in sorted(root.glob("telemetry_wal.*")):
        if ".imported" in path.name:
            removed = _without_lines(path, lambda line: _is_covered(line, erasure))
        elif ".rejected" in path.name and not path.name.endswith(".tmp"):
            removed = _without_lines(path, lambda line: _is_rejected_covered(line, erasure))
        else:
            continue
        count += removed.removed
        problems += removed.problems
    return Removed(count, problems)


def _without_lines(path: Path, is_covered: Callable[[bytes], bool | None]) -> Removed:
    with path.open("rb") as file:
        found = Counter(map(is_covered, file))
    if found[True]:
        publish_chunks(OS_FILES, path, _kept_lines(path, is_covered)).close()
    problems = []
    if found[None]:
        problems.append(f"{path} has {found[None]} lines that may be events of the user; delete these lines")
    return Removed(found[True], problems)


def _kept_lines(path: Path, is_covered: Callable[[bytes], bool | None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if not is_covered(line))


def _is_covered(line: bytes, erasure: Erasure) -> bool | None:
    """None if only a person can decide it."""
    try:
        event = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _is_torn_covered(line, erasure)
    if not isinstance(event, dict):
        return False
    if event.get("projectId") != erasure.project_id or event.get("tenantId") != erasure.tenant_id:
        return False
    try:
        is_earlier = epoch_ms(str(event.get("timestamp"))) < erasure.before_ms
    except ValueError:
        is_earlier = True
    user_id = event.get("userId")
    return is_earlier and erasure.covers_user(None if user_id is None else str(user_id))


def _is_rejected_covered(line: bytes, erasure: Erasure) -> bool | None:
    try:
        return _is_covered(msgspec.json.decode(line, type=_Rejected).text.encode(), erasure)
    except msgspec.MsgspecError:
        return _is_torn_covered(line, erasure)


def _is_torn_covered(line: bytes, erasure: Erasure) -> bool | None:
    """About a line that is no JSON: whether it has the whole name of the tenant. Which user's it is, only a
    person can tell."""
    line = line.replace(b'\\"', b'"')  # as in a rejected line
    if not has_name(line, erasure.tenant_id):
        return False
    return True if erasure.user_hash is None else None


def has_name(text: bytes, name: str) -> bool:
    """Whether it has the name as a text of JSON."""
    return any(json.dumps(name, ensure_ascii=ascii_only).encode() in text for ascii_only in (True, False))


def may_have(directory: Path, erasure: Erasure) -> bool:
    """Whether a file of a quarantined log has rows of the tenant."""
    owner = owner_key(erasure.project_id, erasure.tenant_id)
    return any(_has(path, owner) for path in directory.glob("*.wal*"))


def _has(path: Path, needle: bytes) -> bool:
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if needle in before + chunk:
                return True
            before = chunk[-len(needle) :]
    return False
