"""Rows that ClickHouse refuses for their content: kept, with the reason, until a person decides.

One JSON file per row in `<wal.directory>/dead-letter`, named `<log id>-<lsn>.json`, so all workers share the
directory and the same row dead-lettered twice is one file. It holds the row's bytes as they were sent (`row`,
base64), ClickHouse's error, and the event in readable form for people.

A file is durable before the log's cursor moves past its row. After a crash between the two, the row is sent
once more; if ClickHouse accepts it then, it is in both places. That is why `nealytics dead-letter retry`
inserts with the row's own token; identity and `final` do the rest.
"""

import logging
import secrets
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import decode_row
from nealytics.errors import LogBroken, NealyticsError
from nealytics.wal.files import OS_FILES, Files, is_temporary, make_directory, publish

log = logging.getLogger("nealytics.commit")

DIRECTORY = "dead-letter"
_SUFFIX = ".json"


class DeadLetterUnreadable(NealyticsError):
    """A file in the dead letter is not one of ours, or was edited. It is not changed."""


class DeadRow(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One dead-lettered row, with the reason."""

    log_id: str
    lsn: int
    row_format: int
    put_aside_at: str  # ISO 8601, UTC
    code: int  # ClickHouse's
    name: str
    reason: str
    event: dict[str, Any] | None  # for people; `row` is what counts
    row: bytes

    @property
    def id(self) -> str:
        return f"{self.log_id}-{self.lsn}"

    @classmethod
    def of(
        cls, log_id: str, lsn: int, row_format: int, row: bytes, error: ClickHouseError, now_ms: int
    ) -> "DeadRow":
        return cls(
            log_id=log_id,
            lsn=lsn,
            row_format=row_format,
            put_aside_at=datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            code=error.code,
            name=error.name,
            reason=str(error),
            event=_readable(row, row_format),
            row=row,
        )


class DeadLetter:
    """The directory of dead-lettered rows. `put` and `remove` are durable on return; they block, so call
    them in a thread.
    """

    def __init__(self, directory: Path, *, files: Files = OS_FILES) -> None:
        self.directory = directory
        self._files = files

    def put(self, dead: DeadRow) -> Path:
        """Keeps `dead`. Raises `LogFull` without room, `LogBroken` if the disk fails, as the log does."""
        make_directory(self._files, self.directory)
        path = self._path(dead.id)
        self._keep_another(path, dead)
        data = msgspec.json.format(msgspec.json.encode(dead), indent=2) + b"\n"
        publish(self._files, path, data).close()
        return path

    def _keep_another(self, path: Path, dead: DeadRow) -> None:
        """Keeps the file of another row with the same number: a restored log assigns numbers again."""
        if not self._files.exists(path):
            return
        try:
            if self.read(dead.id).row == dead.row:
                return
        except DeadLetterUnreadable:
            pass  # an unreadable file is kept, too
        kept = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            self._files.rename(path, kept)  # durable with the directory, when the new file is
        except OSError as error:
            raise LogBroken(f"dead-letter: cannot rename {path}: {error}; restart to recover") from error
        log.error(
            "dead-letter: a row from before the log was restored already has the ID %s; its file is now %s",
            dead.id,
            kept,
        )

    def ids(self) -> list[str]:
        """Every row's id, in the order of log and LSN."""
        if not self._files.exists(self.directory):
            return []
        names = (n for n in self._files.names(self.directory) if n.endswith(_SUFFIX) and not is_temporary(n))
        return sorted((name.removesuffix(_SUFFIX) for name in names), key=_log_and_lsn)

    def read(self, id: str) -> DeadRow:
        path = self._path(id)
        try:
            file = self._files.open(path)
        except OSError as error:
            raise DeadLetterUnreadable(
                f"dead-letter: cannot open {path}: {error.strerror}; `nealytics dead-letter list` shows all"
            ) from error
        try:
            dead = msgspec.json.decode(file.read(0, file.size()), type=DeadRow)
        except (OSError, msgspec.DecodeError) as error:
            raise DeadLetterUnreadable(
                f"dead-letter: cannot read {path}: {error}; move it out of the directory"
            ) from error
        finally:
            file.close()
        if dead.id != id:
            raise DeadLetterUnreadable(
                f"dead-letter: {path} contains row {dead.id}; rename it, or move it out of the directory"
            )
        return dead

    def remove(self, id: str) -> None:
        self._files.unlink(self._path(id))
        self._files.sync_directory(self.directory)

    def _path(self, id: str) -> Path:
        return self.directory / (id + _SUFFIX)


def _log_and_lsn(id: str) -> tuple[str, int, str]:
    log_id, _, lsn = id.rpartition("-")
    return log_id, int(lsn) if lsn.isdecimal() else 0, id


def _readable(row: bytes, row_format: int) -> dict[str, Any] | None:
    """The event as JSON; None if the bytes are no row, which are kept anyway."""
    try:
        columns = decode_row(row, row_format)
    except (ValueError, LookupError, struct.error):
        return None
    readable: dict[str, Any] = msgspec.to_builtins(columns, enc_hook=str)
    return readable
