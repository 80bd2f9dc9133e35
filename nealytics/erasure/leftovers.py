"""Removes erased events from what lies beside the logs: the dead letter, and the files that a C# engine left.

All of it is synchronous, and may be repeated.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from nealytics.clickhouse.rowbinary import owner_key
from nealytics.commit.dead_letter import DeadRow
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.timestamps import epoch_ms
from nealytics.wal.files import OS_FILES, is_temporary, publish_chunks

_CHUNK_BYTES = 4 * 1024 * 1024


class Removed(NamedTuple):
    files: int
    problems: list[str]  # what a person has to look at


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


class _Line(msgspec.Struct, rename="camel"):
    """An event as the C# engine wrote it, as far as it decides."""

    project_id: str = ""
    tenant_id: str = ""
    user_id: str | None = None
    timestamp: str = ""


class _Rejected(msgspec.Struct):
    text: str = ""


def erase_imported(root: Path, erasure: Erasure) -> int:
    """From `telemetry_wal.*.imported` and `.rejected` (`ingest.takeover`): how many lines were removed."""
    count = 0
    for path in sorted(root.glob("telemetry_wal.*")):
        if ".imported" in path.name:
            count += _without_lines(path, lambda line: _is_covered(line, erasure))
        elif ".rejected" in path.name and not path.name.endswith(".tmp"):
            count += _without_lines(path, lambda line: _is_rejected_covered(line, erasure))
    return count


def _without_lines(path: Path, is_covered: Callable[[bytes], bool]) -> int:
    with path.open("rb") as file:
        count = sum(map(is_covered, file))
    if count:
        publish_chunks(OS_FILES, path, _kept_lines(path, is_covered)).close()
    return count


def _kept_lines(path: Path, is_covered: Callable[[bytes], bool]) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if not is_covered(line))


def _is_covered(line: bytes, erasure: Erasure) -> bool:
    try:
        event = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _names_tenant(line, erasure)
    if event.project_id != erasure.project_id or event.tenant_id != erasure.tenant_id:
        return False
    try:
        is_earlier = epoch_ms(event.timestamp) < erasure.before_ms
    except ValueError:
        is_earlier = True
    return is_earlier and erasure.covers_user(event.user_id)


def _is_rejected_covered(line: bytes, erasure: Erasure) -> bool:
    try:
        return _is_covered(msgspec.json.decode(line, type=_Rejected).text.encode(), erasure)
    except msgspec.MsgspecError:
        return _names_tenant(line, erasure)


def _names_tenant(line: bytes, erasure: Erasure) -> bool:
    """Decides about a torn line, or one that is no event."""
    tenant_id = erasure.tenant_id
    return tenant_id.encode() in line or json.dumps(tenant_id)[1:-1].encode() in line


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
