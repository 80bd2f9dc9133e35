"""How far an import has come, so that the next run goes on there.

One small JSON file, replaced atomically. It may be lost: everything is then sent again, and counted once.
"""

import os
from pathlib import Path

import msgspec

from nealytics.errors import NealyticsError


class StateError(NealyticsError):
    """The state cannot be used or kept."""


class State(msgspec.Struct, rename="camel", kw_only=True):
    """All rows up to `row`, which ends at byte `offset`, are acknowledged or in the rejected file."""

    version: int = 1
    # What the events are made of and where they went: an import with others is another import.
    settings: dict[str, str]
    started_at: str  # the timestamp of rows that have none
    shift_ms: int | None = None  # by which all times are moved; None = not decided yet
    row: int = 0
    offset: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_bytes: int = 0  # size of the rejected file at this point
    running: bool = False  # or killed: then the rejected file may be ahead of this


def load(path: Path) -> State | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"import: cannot read the state file {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise StateError(
            f"import: {path} is not a state file ({error}); remove it or name another with --state"
        ) from error


def require_same(path: Path, state: State, settings: dict[str, str]) -> None:
    # An earlier version's state lacks the settings that it did not have.
    known = {**dict.fromkeys(settings, ""), "types": settings.get("types", ""), **state.settings}
    differing = [name for name in settings if settings[name] != known[name]]
    if differing:
        differences = "; ".join(f"{name} was {known[name]!r}, now {settings[name]!r}" for name in differing)
        raise StateError(
            f"import: {path} is the state of another import: {differences};"
            " --restart sends everything again, --state FILE keeps the two apart"
        )


def store(path: Path, state: State) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(msgspec.json.encode(state) + b"\n")
        os.replace(temporary, path)
    except OSError as error:
        raise StateError(
            f"import: cannot write the state file {path}: {error.strerror}; name another place with --state"
        ) from error
