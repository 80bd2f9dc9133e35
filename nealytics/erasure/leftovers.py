"""Removes erased events from what lies beside the logs: both parts of the dead letter, and the files that a
C# engine left.

All of it is synchronous, and may be repeated.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from nealytics.clickhouse.rowbinary import owner_key
from nealytics.commit import rejected
from nealytics.commit.dead_letter import DeadRow
from nealytics.commit.rejected import RejectedEvent, Removed, Whose
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.store import Jobs
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import ErasuresUnreadable
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


def erase_rejected(directory: Path, erasure: Erasure) -> Removed:
    """Also events of which it is not certain that they are the user's: they were never accepted."""
    try:
        removed, problems = rejected.remove(directory, lambda event: _may_be_covered(event, erasure))
    except OSError as error:
        problem = f"{directory} cannot be read or written and may have the events: {error}; delete its files"
        return Removed(0, [problem])
    return Removed(removed, [f"it may have the events: {problem}" for problem in problems])


def is_erased(jobs: Jobs, event: RejectedEvent) -> bool:
    """Whether an event that arrives now is one of an earlier erasure. Reads files."""
    try:
        erasures = jobs.erasures().values()
    except ErasuresUnreadable:
        return False  # reported by `LogCleaning`
    return any(_may_be_covered(event, erasure) for erasure in erasures)


def _may_be_covered(event: RejectedEvent, erasure: Erasure) -> bool:
    """By what its route understood of the event, by what its key or token says about it, and by what it says
    itself. If the route did not understand it, by the name of the tenant in it."""
    said = event.whose or Whose()
    payload = bytes(event.payload)
    if payload.startswith(b'"'):  # it was no JSON
        payload = msgspec.json.decode(payload, type=str).encode()
    if erasure.tenant_id not in (event.tenant_id, said.tenant):
        # The name may be behind what was kept of a long event, which cannot be retried anyway.
        is_cut = event.code == "body_too_large" and not event.tenant_id
        if said.tenant or not (is_cut or _names_tenant(payload, erasure.tenant_id)):
            return False
    if _is_covered(payload, erasure) is not False:
        return True
    if event.project_id != erasure.project_id:
        return False
    times_ms = (epoch_ms(event.rejected_at), said.at_ms)
    if all(at_ms is None or at_ms >= erasure.before_ms for at_ms in times_ms):
        return False
    known = erasure.covers_user(event.user_id or None) or erasure.covers_user(said.user or None)
    return known or _names_user(payload, erasure)


def _names_tenant(payload: bytes, name: str) -> bool:
    """Also as a number, which the routes of SDKs accept."""
    if _has_name(payload, name):
        return True
    return bool(_NUMBER.fullmatch(name)) and (
        re.search(rb"[\[:,\s]%b[\]},\s]" % re.escape(name.encode()), payload) is not None
    )


def _has_name(payload: bytes, name: str) -> bool:
    return any(json.dumps(name, ensure_ascii=ascii_only).encode() in payload for ascii_only in (True, False))


def _names_user(payload: bytes, erasure: Erasure) -> bool:
    try:
        said = msgspec.json.decode(payload, type=_User)
        inner = msgspec.json.decode(said.properties, type=_Properties)
        ids = (said.user_id, said.anonymous_id, said.distinct_id, inner.distinct_id, inner.anonymous_id)
        return any(erasure.covers_user(_text(raw)) for raw in ids)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True  # nobody can tell


def _text(raw: msgspec.Raw) -> str | None:
    """A number is the text as which it was written."""
    value = msgspec.json.decode(raw, type=str | int | float | None)
    return value if value is None or isinstance(value, str) else bytes(raw).decode()


_NULL = msgspec.Raw(b"null")
_NUMBER = re.compile(r"-?\d[\d.eE+-]*", re.ASCII)


class _User(msgspec.Struct):
    user_id: msgspec.Raw = msgspec.field(name="userId", default=_NULL)
    anonymous_id: msgspec.Raw = msgspec.field(name="anonymousId", default=_NULL)
    distinct_id: msgspec.Raw = _NULL
    properties: msgspec.Raw = msgspec.Raw(b"{}")


class _Properties(msgspec.Struct):
    distinct_id: msgspec.Raw = _NULL
    anonymous_id: msgspec.Raw = msgspec.field(name="$anon_distinct_id", default=_NULL)


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
    if not _has_name(line, erasure.tenant_id):
        return False
    return True if erasure.user_hash is None else None


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
