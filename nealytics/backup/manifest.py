"""What a backup says of itself: counts, sizes and checksums; and what is wrong with one. Pure."""

import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

import msgspec

from nealytics.errors import NealyticsError

NAME = "manifest.json"
VERSION = 2

Counts = dict[str, dict[str, int]]  # project → month → events, each counted once


class Incomplete(NealyticsError):
    """There is no manifest: the backup failed, or is being written."""


class File(msgspec.Struct, frozen=True):
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    version: int = VERSION
    id: str
    made_by: str
    began_ms: int
    ended_ms: int | None = None
    database: str
    base: str | None = None  # the path from this backup to the one that it is based on,
    based_on: str | None = None  # and that one's id
    base_sha256: str | None = None  # and that of its manifest
    at_least: Counts  # events in the table before its backup began,
    at_most: Counts  # and after it ended
    waiting: dict[str, int]  # events in each log that had not reached the table
    files: dict[str, File]  # all but the manifest


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    version: int
    made_by: str


class Written(NamedTuple):
    """A manifest, and the SHA-256 of its bytes: it names those of all files."""

    manifest: Manifest
    sha256: str

    def noted(self, now_ms: int) -> dict[str, object]:
        """What the register notes about a complete backup that was just read and is intact."""
        return {
            "ended_ms": self.manifest.ended_ms,
            "bytes": sum(file.size for file in self.manifest.files.values()),
            "manifest_sha256": self.sha256,
            "verified_ms": now_ms,
        }


def encode(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest)) + b"\n"


def decode(data: bytes, where: str) -> Manifest:
    """Raises `NealyticsError`; `where` names the backup."""
    try:
        written = msgspec.json.decode(data, type=_Version)
        if written.version != VERSION:
            raise NealyticsError(
                f"backup: {where}/{NAME} has version {written.version}, and this Nealytics reads version "
                f"{VERSION}; use Nealytics {written.made_by}, which made the backup"
            )
        found = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise NealyticsError(f"backup: {where}/{NAME} is damaged: {error}; use another backup") from error
    # Who can write to a bucket must not be able to write elsewhere on the machine that restores from it.
    for name in found.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise NealyticsError(
                f'backup: {where}/{NAME} names the file "{name}", outside of the backup; find out who '
                "changed the manifest"
            )
    return found


def identity(began_ms: int) -> str:
    """Sorts by time: "20261130T083122.123Z"."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(began_ms // 1000))}.{began_ms % 1000:03}Z"


def total(counts: Counts) -> int:
    return sum(sum(months.values()) for months in counts.values())


def missing(description: bytes, sizes: Mapping[str, int]) -> list[str]:
    """Files that ClickHouse lists in `.backup` as written, and that are missing or have another size."""
    try:
        tree = ElementTree.fromstring(description)
    except ElementTree.ParseError as error:
        return [f".backup cannot be read: {error}"]
    problems = []
    for entry in tree.iterfind("contents/file"):
        size = int(entry.findtext("size", "0"))
        if entry.findtext("use_base"):
            size -= int(entry.findtext("base_size", str(size)))  # that part of it is in the base
        name = entry.findtext("data_file", entry.findtext("name", ""))
        if size and sizes.get(name) != size:
            problems.append(f"{name} has {sizes.get(name, 'no')} bytes, not {size}")
    return problems


def resized(expected: Mapping[str, File], sizes: Mapping[str, int]) -> list[str]:
    """Files that are missing, or have another size than was written."""
    problems = []
    for name, file in expected.items():
        if (size := sizes.get(name)) is None:
            problems.append(f"{name} is missing")
        elif size != file.size:
            problems.append(f"{name} has {size} bytes, not {file.size}")
    return problems


def changed(expected: Mapping[str, File], found: Mapping[str, File]) -> list[str]:
    """Files that are missing, or are not what was written."""
    return resized(expected, {name: file.size for name, file in found.items()}) + [
        f"{name} has changed: its SHA-256 is not that of the manifest"
        for name, file in expected.items()
        if name in found and found[name].size == file.size and found[name] != file
    ]


def differences(restored: Counts, manifest: Manifest) -> list[str]:
    """Projects and months with fewer events than before the backup, or more than after it."""
    wrong = []
    for project_id in sorted({*restored, *manifest.at_most, *manifest.at_least}):
        found, least, most = (
            counts.get(project_id, {}) for counts in (restored, manifest.at_least, manifest.at_most)
        )
        for month in sorted({*found, *least, *most}):
            low, events, high = least.get(month, 0), found.get(month, 0), most.get(month, 0)
            if not low <= events <= high:
                wrong.append(
                    f"project {project_id}, month {month}: {events} events, expected {low} to {high}"
                )
    return wrong
