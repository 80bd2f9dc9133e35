"""The options of an import."""

from pathlib import Path
from typing import Literal

import msgspec

from nealytics.importer.rows import QUOTED_LINES_MAX, Format
from nealytics.importer.sender import Compression
from nealytics.importer.times import Unit, shown_shift

# A restart or an upgrade of the node is over by then, and a wrong address is noticed. A run can be resumed.
GIVE_UP_AFTER_S = 600

Type = Literal["auto", "text", "number", "boolean", "json"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    key: str
    form: Format
    preset: str = ""  # the product that wrote the file; then `form` is ndjson
    message_ids: bool = False  # ids are those of messages of an SDK, as `compat` makes them
    delimiter: str = ","
    encoding: str = "utf-8"
    columns: tuple[str, ...] | None = None  # of a CSV without a header line
    quoted_lines_max: int = QUOTED_LINES_MAX
    mapped: dict[str, str] = {}
    constants: dict[str, str] = {}
    defaults: dict[str, str] = {}
    default_type: Type = "auto"  # of a CSV's cells that become metadata
    types: dict[str, Type] = {}
    id_from: tuple[str, ...] = ()  # columns whose values make the event id, in place of the row's bytes
    sparse: bool = False  # mapped names may be absent from the first batch
    rest: str | None = None  # metadata, ignore, or None: metadata for CSV, ignored and listed once for JSON
    timestamp: str | None = None  # of rows without one; None = when the import began
    time_unit: Unit | None = None
    shift_to: str | None = None  # "now" or ISO 8601: move all times by whole days, the last one to there
    shift_by_ms: int = 0
    batch_events: int = 1_000
    batch_bytes: int = 900_000
    requests: int = 4
    compression: Compression = "zstd"
    give_up_after_s: float = GIVE_UP_AFTER_S
    state_path: Path | None = None  # None = not resumable
    rejected_path: Path
    allow_rejected: bool = False
    require_end: bool = False  # an end record must follow the last row
    restart: bool = False

    @property
    def rest_is_metadata(self) -> bool:
        return self.form == "csv" if self.rest is None else self.rest == "metadata"

    def settings(self, head: bytes) -> dict[str, str]:
        """What makes two imports the same one, for the state file."""
        return {
            "url": self.url,
            "format": self.form,
            **({"from": self.preset} if self.preset else {}),
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "columns": ",".join(self.columns or ()),
            "map": _shown(self.mapped),
            "set": _shown(self.constants),
            "default": _shown(self.defaults),
            "types": self.default_type,
            "type": _shown(dict(self.types)),
            "id from": ",".join(self.id_from),
            "rest": "metadata" if self.rest_is_metadata else "ignore",
            "timestamp": self.timestamp or "",
            "time unit": self.time_unit or "",
            "shift": self.shift_to or (shown_shift(self.shift_by_ms) if self.shift_by_ms else ""),
            "first lines": head[:200].decode("utf-8", "replace"),
        }


def _shown(pairs: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(pairs.items()))
