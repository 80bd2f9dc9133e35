"""What is remembered over restarts: the rules that must all agree before an event is deleted, and the time of
the last run. Two files of the data directory, each replaced as a whole.

Without the first file no rule has been applied, so nothing is deleted. It belongs to this node: on a
ClickHouse with several nodes, each deletes what was applied there.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from nealytics.config import RetentionRule
from nealytics.directories import make_private, sync_directory
from nealytics.errors import NealyticsError
from nealytics.retention import Rules, expired_rule

T = TypeVar("T")

PROMISED = "retention.json"
LAST_RUN = "retention-run.json"


class LastRun(msgspec.Struct, frozen=True, rename="camel"):
    at_ms: int = 0
    events: int = 0  # what it deleted


def read_promised(data_dir: Path) -> list[Rules]:
    """Raises `NealyticsError` if the file is damaged: then it is not known what may be deleted."""
    sets = _read(data_dir / PROMISED, list[list[RetentionRule]])
    # Without rules everything is kept.
    return [Rules()] if sets is None else [Rules(rules) for rules in sets]


def write_promised(data_dir: Path, promised: Sequence[Rules]) -> None:
    _write(data_dir / PROMISED, [rules.all for rules in promised])


def expired_by_rules(data_dir: Path, now_ms: int) -> Callable[[Mapping[str, object]], bool]:
    """Whether the rules in force delete an event, by its columns. If they cannot be read they delete none."""
    try:
        promised = read_promised(data_dir)
    except NealyticsError:
        promised = [Rules()]

    def is_expired(columns: Mapping[str, object]) -> bool:
        project, tenant, event_type, at_ms = (columns[name] for name in _DECIDE)
        return all(
            expired_rule(rules, str(project), str(tenant), str(event_type), now_ms - cast(int, at_ms))
            for rules in promised
        )

    return is_expired


_DECIDE = ("project_id", "tenant_id", "event_type", "timestamp")


def read_last_run(data_dir: Path) -> LastRun:
    return _read(data_dir / LAST_RUN, LastRun) or LastRun()


def write_last_run(data_dir: Path, run: LastRun) -> None:
    _write(data_dir / LAST_RUN, run)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise NealyticsError(
            f"retention: {path} cannot be read ({error}), so nothing is deleted; remove it and run "
            "`nealytics retention apply`"
        ) from error


def _write(path: Path, value: object) -> None:
    # With a name of its own, as a node and a command may write at the same time.
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        make_private(path.parent)
        with unfinished.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise NealyticsError(
            f"retention: {path} cannot be written: {error.strerror}; free some disk space, or correct the "
            "owner of the directory"
        ) from error
