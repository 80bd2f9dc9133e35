"""From a row to the event that is sent: which column is which field, what joins the metadata, and who it is.

A field's value comes from, in this order: a constant (`--set`), the column mapped to it (`--map`), a column
or JSON name that equals the field's. What is left over joins the metadata, or is left out.
"""

import difflib
import hashlib
from typing import Any

import msgspec

from nealytics.errors import NealyticsError
from nealytics.importer.source import Row

EVENT_FIELDS = (
    "eventId",
    "projectId",
    "tenantId",
    "sessionId",
    "userId",
    "eventType",
    "itemId",
    "timestamp",
    "metadata",
    "metadataJson",
)
REQUIRED_FIELDS = ("projectId", "tenantId", "sessionId", "eventType")

# Fewer digits could be a date (20240615) or seconds; 12 are milliseconds since 1970 from 1973 on.
_EPOCH_MS_DIGITS_MIN = 12


class MappingError(NealyticsError):
    """The mapping does not fit itself or the file."""


class RowError(Exception):
    """This row makes no event."""


class Mapping:
    """Makes events of rows. The same row of the same file is always the same event.

    `columns` are a CSV's, to find a mistyped name before anything is sent; None if each row has its own
    names. `default_timestamp` is given to rows that say no time themselves.
    """

    def __init__(
        self,
        *,
        columns: tuple[str, ...] | None,
        mapped: dict[str, str],
        constants: dict[str, str],
        rest_is_metadata: bool,
        head: bytes,
        default_timestamp: str,
    ) -> None:
        for field in (*mapped, *constants):
            _require_known(field)
        for field, column in mapped.items():
            if field in constants:
                raise MappingError(f"import: {field} is both set and mapped; give one of the two")
            if columns is not None and column not in columns:
                raise MappingError(
                    f"import: --map {field}={column}: no such column; the header names {', '.join(columns)}"
                )
        taken = set(mapped.values())
        if columns is not None:
            own = {field: field for field in EVENT_FIELDS if field in columns and field not in taken}
            known = {**own, **mapped, **constants}
            missing = [field for field in REQUIRED_FIELDS if field not in known]
            if missing:
                raise MappingError(
                    f"import: no column is {' and none is '.join(missing)};"
                    f" map it (--map {missing[0]}=COLUMN) or set it for all rows (--set {missing[0]}=VALUE);"
                    f" the header names {', '.join(columns)}"
                )
        own_names = tuple(
            field
            for field in EVENT_FIELDS
            if field not in mapped and field not in constants and field not in taken
        )
        # (field, column) pairs; a field's own name last, so that it counts only if nothing else gave a value.
        self._pairs = (*mapped.items(), *((field, field) for field in own_names))
        self._constants = constants
        self._spoken_for = taken | set(EVENT_FIELDS)
        self._rest_is_metadata = rest_is_metadata
        self._namespace = hashlib.sha256(head).digest()
        self._default_timestamp = default_timestamp

    def encode(self, row: Row) -> bytes:
        """The event as JSON. Raises `RowError`."""
        if row.problem is not None:
            raise RowError(row.problem)
        fields = row.fields
        event: dict[str, Any] = {}
        for field, column in self._pairs:
            value = fields.get(column)
            if value is not None and not _is_empty(value):
                event[field] = value
        event.update(self._constants)
        if self._rest_is_metadata:
            rest = {name: value for name, value in fields.items() if name not in self._spoken_for}
            if rest:
                event["metadata"] = {**rest, **_own_metadata(event)}
        timestamp = event.get("timestamp")
        if isinstance(timestamp, str) and len(timestamp) >= _EPOCH_MS_DIGITS_MIN and timestamp.isdecimal():
            event["timestamp"] = int(timestamp)
        event_id = event.get("eventId")
        if event_id is None:
            event["eventId"] = event_id_of(self._namespace, row.number, row.raw)
        if timestamp is None and not _tells_its_time(event_id):
            event["timestamp"] = self._default_timestamp
        try:
            return msgspec.json.encode(event)
        except UnicodeEncodeError:
            raise RowError("it holds characters that are no text (lone surrogates)") from None


def event_id_of(namespace: bytes, number: int, raw: bytes) -> str:
    """A UUID (version 8: "made by a rule of one's own") of the file, the row's number and its bytes."""
    digest = hashlib.sha256(namespace + number.to_bytes(8, "big") + raw).digest()
    bits = int.from_bytes(digest[:16], "big")
    bits = bits & ~(0xF << 76) | 0x8 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _own_metadata(event: dict[str, Any]) -> dict[str, msgspec.Raw]:
    """What the row itself calls metadata, taken out of `event` to be merged with the rest."""
    own: str | msgspec.Raw | None = event.pop("metadata", None)
    text: str | msgspec.Raw | None = event.pop("metadataJson", None)
    try:
        if own is None and text is not None:
            own = text if isinstance(text, str) else msgspec.json.decode(text, type=str)
        return {} if own is None else msgspec.json.decode(own, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise RowError(
            f"its metadata is not a JSON object ({error}) that the others could join; use --rest ignore"
        ) from None


def _is_empty(value: str | msgspec.Raw) -> bool:
    """As the server sees it: null and empty strings are absent."""
    return value == "" if isinstance(value, str) else bytes(value) in (b'""', b"null")


def _tells_its_time(event_id: str | msgspec.Raw | None) -> bool:
    """Whether the server takes the time out of this id: a UUIDv7 holds its own."""
    if event_id is None:
        return False
    text = event_id if isinstance(event_id, str) else bytes(event_id).decode("ascii", "replace").strip('"')
    return text.replace("-", "")[12:13] == "7"


def _require_known(field: str) -> None:
    if field not in EVENT_FIELDS:
        near = difflib.get_close_matches(field, EVENT_FIELDS, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise MappingError(
            f"import: an event has no field {field}{hint} Its fields are {', '.join(EVENT_FIELDS)}"
        )
