"""The last record of an export, which proves that a file is complete.

    NDJSON   {"nealyticsExport":{"end":true,"events":300000}}
    CSV      "nealyticsExport.end","300000",,,,,,,

It is written on request only, because a program may expect an event in every line. It has the number of
events before it, back to the start or to another such record: files may be concatenated. `nealytics import`
checks it. Parquet has its footer, without which no reader opens the file.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

FORMATS: Final = ("ndjson", "csv")
TRAILER: Final = "Nealytics-Events"

_NDJSON_START = b'{"nealyticsExport":'
_CSV_NAME = "nealyticsExport.end"
_CSV_FIRST = "eventId"

# Bytes that each event has exactly once. The last column of CSV is a time, which ends in Z; a text cannot
# contain these bytes, because quotes in it are doubled.
_ENDS: Final = {"ndjson": b"\n", "csv": b'Z"\r\n'}


class _End(msgspec.Struct):
    end: bool
    events: int


class _Line(msgspec.Struct, rename="camel"):
    nealytics_export: _End


def record(form: str, events: int, columns: int) -> bytes:
    """The record after `events` events, in this format."""
    if form == "csv":
        return f'"{_CSV_NAME}","{events}"{"," * (columns - 2)}\r\n'.encode()
    return msgspec.json.encode(_Line(_End(True, events))) + b"\n"


def events_of_line(raw: bytes) -> int | None:
    """The number of events in an end record of NDJSON; None if the line is no end record."""
    if not raw.startswith(_NDJSON_START):
        return None
    try:
        end = msgspec.json.decode(raw, type=_Line).nealytics_export
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return end.events if end.end else None


def events_of_values(columns: Sequence[str], values: Sequence[str]) -> int | None:
    """The number of events in an end record of CSV; None if the values are no end record."""
    if values[0] != _CSV_NAME or columns[0] != _CSV_FIRST or len(values) < 2 or any(values[2:]):
        return None
    return int(values[1]) if values[1].isascii() and values[1].isdigit() else None


class Counter:
    """Counts the events of an export, in pieces of any size."""

    def __init__(self, form: str) -> None:
        self.events = 0
        self._end = _ENDS.get(form)
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        end = self._end
        if end is None:
            return
        if len(end) == 1:
            self.events += piece.count(end)
            return
        seen = self._rest + piece
        self.events += seen.count(end)
        self._rest = seen[1 - len(end) :]


def asked_for(headers: Mapping[str, str]) -> bool:
    """Whether a request accepts trailers. Few proxies forward that."""
    return "trailers" in (part.split(";")[0].strip().lower() for part in headers.get("TE", "").split(","))
