"""Which backups of this node exist: `<data_dir>/backups.json`.

A backup is recorded before its first byte is written, and removed from the register after its last file is
deleted. So the register lists every place that has events of this node, unless a person copied a backup.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from nealytics.directories import locked, make_private
from nealytics.errors import NealyticsError
from nealytics.wal.files import OS_FILES, publish

NAME = "backups.json"


class Recorded(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One backup. Events that were accepted until `began_ms` are in it, and some that came later may be."""

    id: str  # the time at which it began, "20261130T083122.123Z"
    target: str  # for people, without credentials
    began_ms: int
    keep_until_ms: int | None = None  # None: until a person deletes it
    based_on: str | None = None  # the id of the backup without which this one cannot be restored
    label: str | None = None  # what a person calls it: a stream is known by nothing else
    ended_ms: int | None = None  # when it was complete; events that came later are not in it. None: it is not
    bytes: int | None = None
    manifest_sha256: str | None = None
    verified_ms: int | None = None  # when all of it was last read and found intact

    def may_have(self, oldest_received_ms: int, gone_ms: int) -> bool:
        """Whether it may have events that were received from the first of these times on, and were no longer
        stored at the second."""
        return self.began_ms <= gone_ms and (self.ended_ms is None or self.ended_ms >= oldest_received_ms)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.target}, {self.label}" if self.label else self.target


def recorded(data_dir: Path) -> list[Recorded]:
    """The oldest first. Raises `NealyticsError` if the register cannot be read."""
    path = data_dir / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Recorded])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(f"backup: {path} cannot be read: {error}; correct the file") from error
    return sorted(found, key=lambda entry: entry.began_ms)


def record(data_dir: Path, entry: Recorded) -> None:
    """Adds a backup, or replaces the entry with its id; durable on return."""
    with _locked(data_dir):
        others = [other for other in recorded(data_dir) if other.id != entry.id]
        _write(data_dir, [*others, entry])


def change(data_dir: Path, identity: str, **changes: object) -> None:
    """Changes fields of an entry; nothing if the backup is not one of this node. Durable on return."""
    if not any(entry.id == identity for entry in recorded(data_dir)):
        return
    with _locked(data_dir):
        changed = [
            msgspec.structs.replace(entry, **changes) if entry.id == identity else entry
            for entry in recorded(data_dir)
        ]
        _write(data_dir, changed)


def remove(data_dir: Path, identity: str) -> bool:
    """Removes a backup that is deleted; whether it was in the register. Durable on return."""
    with _locked(data_dir):
        before = recorded(data_dir)
        after = [entry for entry in before if entry.id != identity]
        if after != before:
            _write(data_dir, after)
        return after != before


def _write(data_dir: Path, entries: list[Recorded]) -> None:
    text = msgspec.json.format(msgspec.json.encode(entries)) + b"\n"
    publish(OS_FILES, data_dir / NAME, text).close()


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Two commands that run at the same time keep each other's entries."""
    make_private(data_dir)
    with locked(data_dir):
        yield
