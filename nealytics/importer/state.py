"""How far an import has come, so that the next run resumes there: the state file and the rejected file.

The state is one small JSON file, replaced atomically. It may be lost: everything is then sent again, and
counted once.
"""

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from nealytics.errors import NealyticsError
from nealytics.importer.sender import Refusal

_STORE_EVERY_S = 0.5
# The settings that have the name of an option.
_OPTIONS = frozenset(
    ("url", "format", "from", "encoding", "map", "set", "default", "types", "type", "id from", "rest",
     "timestamp", "time unit")
)  # fmt: skip


class StateError(NealyticsError):
    """The state cannot be used or written."""


class State(msgspec.Struct, rename="camel", kw_only=True):
    """All rows up to `row`, which ends at byte `offset`, are acknowledged or in the rejected file."""

    version: int = 1
    # Where the events come from and went; an import with other settings is another import.
    settings: dict[str, str]
    started_at: str  # the timestamp of rows that have none
    shift_ms: int | None = None  # by which all times are moved; None = not decided yet
    row: int = 0
    offset: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_bytes: int = 0  # size of the rejected file at this point
    running: bool = False  # or killed; then the rejected file may be ahead of this


class Ledger:
    """What is finished: the state file and the rejected file, consistent after every crash."""

    def __init__(self, path: Path | None, state: State, rejected_path: Path) -> None:
        self.state = state
        self._path = path
        self._rejected_path = rejected_path
        self._stored = 0.0

    @classmethod
    def open(
        cls, path: Path | None, rejected_path: Path, settings: dict[str, str], *, restart: bool
    ) -> "Ledger":
        """Resumes after the last finished row of an earlier run with the same `settings`. Raises
        `StateError`."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        state = _load(path) if path is not None else None
        if state is None:
            # Standard input without a state appends to existing rejections; a file's run replaces them.
            state = State(settings=settings, started_at=now, running=path is not None)
        elif restart or not state.row:
            # Keep the time of the start, so that rows without a timestamp remain the same events; and the
            # shift of times, if the same one is requested. Other options may change if no row was finished.
            same = all(settings[name] == state.settings.get(name) for name in ("shift", "first lines"))
            state = State(
                settings=settings,
                started_at=state.started_at,
                running=True,
                shift_ms=state.shift_ms if same else None,
            )
        else:
            assert path is not None
            _require_same(path, state, settings)
        return cls(path, state, rejected_path)

    def begin(self) -> None:
        """Call it before anything is sent: the time of the start must survive a crash."""
        state, path = self.state, self._rejected_path
        # A killed run may have written rejections after its last stored position. They will come again.
        if state.running and path.exists() and path.stat().st_size > state.rejected_bytes:
            os.truncate(path, state.rejected_bytes)
            if not state.rejected_bytes:
                path.unlink()
        state.running = True
        self._store()

    def record(self, last_row: int, end: int, rows: int, refusals: list[Refusal]) -> None:
        """The next `rows` rows are finished, up to `last_row`, which ends at byte `end`."""
        state = self.state
        if refusals:
            self._append(b"".join(map(_rejected_line, refusals)))
        state.row = last_row
        state.offset = end
        state.accepted += rows - len(refusals)
        state.rejected += len(refusals)
        if time.monotonic() - self._stored >= _STORE_EVERY_S:
            self._store()

    def _append(self, lines: bytes) -> None:
        path = self._rejected_path
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            with suppress(OSError):
                os.truncate(path, size)  # remove a partial line
            raise NealyticsError(
                f"import: cannot write {path}: {error.strerror}; free some disk space, or choose another"
                " file with --rejected"
            ) from error
        self.state.rejected_bytes = size + len(lines)

    def close(self) -> None:
        self.state.running = False
        self._store()

    def _store(self) -> None:
        self._stored = time.monotonic()
        if self._path is not None:
            _store(self._path, self.state)


def _load(path: Path) -> State | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"import: cannot read the state file {path}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise StateError(
            f"import: {path} is not a state file ({error}); remove it, or choose another file with --state"
        ) from error


def _require_same(path: Path, state: State, settings: dict[str, str]) -> None:
    # The state of an earlier version lacks newer settings.
    known = {**dict.fromkeys(settings, ""), "types": settings.get("types", ""), **state.settings}
    differing = [name for name in settings if settings[name] != known[name]]
    if differing:
        differences = "; ".join(
            f"{_said(name)} was {known[name]!r}, now {settings[name]!r}" for name in differing
        )
        raise StateError(
            f"import: {path} is the state of another import: {differences};"
            " use --restart to send everything again, or --state FILE for a separate state"
        )


def _said(setting: str) -> str:
    """The option's name, where a setting is one."""
    return f"--{setting.replace(' ', '-')}" if setting in _OPTIONS else setting


def _store(path: Path, state: State) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(msgspec.json.encode(state) + b"\n")
        os.replace(temporary, path)
    except OSError as error:
        raise StateError(
            f"import: cannot write the state file {path}: {error.strerror}; choose another file with --state"
        ) from error


def _rejected_line(refusal: Refusal) -> bytes:
    """The event and its error. The file can be corrected and imported: unknown fields are ignored."""
    line: dict[str, object] = {"rejectedRow": refusal.row, "rejectedError": refusal.error}
    if refusal.field:
        line["rejectedField"] = refusal.field
    try:
        line |= msgspec.json.decode(refusal.body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        line["rejectedText"] = refusal.body.decode("utf-8", "replace")
    return msgspec.json.encode(line) + b"\n"
