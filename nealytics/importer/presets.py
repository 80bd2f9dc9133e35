"""Exports of other products as events: one small mapping file each, `presets/*.toml`.

    title                the product's name
    api                  the API whose messages the rows are (`compat`): they become the events that they
                         would be if an SDK sent them, with the same ids. `[fields]`, if there are any, are
                         those of the message
    rows                 the list in a row whose elements are the events; each also has the fields of the row
    time_unit            of timestamps that are numbers
    [fields]             field of the event = the paths that may contain it, the first that has a value;
                         or a text with paths in braces, which all need a value
    [event_types]        the names that other products give to the same events
    [metadata]
      pairs              lists of {key, value}, which become objects; a value is itself, or an object such as
                         {"int_value": "5"}, of which the one that is present counts
      lists              a list of names and the list of their values, beside each other
      content            objects whose content joins the metadata
      keep               values that join it under their own name
      rest               all that no field was made of joins it

A path is as for `--map`: names, separated by dots. Values keep their bytes, so no digit is lost. An id that
is not a UUID becomes one that is always the same (`mapping.hashed_id`).
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec

from nealytics.compat import posthog, segment
from nealytics.event import InvalidEvent
from nealytics.importer.mapping import RowError, hashed_id, is_empty, object_of, path_of, text_of, written
from nealytics.importer.times import Unit, moment_ms
from nealytics.process import data_directory

Fields = dict[str, str | msgspec.Raw]

_IN_BRACES = re.compile(r"\{([^}]+)\}")
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_DRAFTS = {"segment": segment.draft, "posthog": posthog.draft}
_OBJECTS = {"properties", "traits", "context"}
# Of a corrected timestamp: the products round it.
_ROUNDING_MS = 2


class Metadata(msgspec.Struct, forbid_unknown_fields=True):
    pairs: list[str] = []
    lists: list[tuple[str, str]] = []
    content: list[str] = []
    keep: list[str] = []
    rest: bool = False


class Preset(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    api: Literal["", "segment", "posthog"] = ""
    fields: dict[str, list[str]] = {}
    rows: str = ""
    time_unit: Unit | None = None
    event_types: dict[str, str] = {}
    metadata: Metadata = msgspec.field(default_factory=Metadata)


def names() -> list[str]:
    return sorted(path.stem for path in _directory().glob("*.toml"))


def load(name: str) -> Preset:
    return msgspec.convert(tomllib.loads((_directory() / f"{name}.toml").read_text()), Preset)


def _directory() -> Path:
    return data_directory("importer/presets")


def events_of(preset: Preset, row: Mapping[str, str | msgspec.Raw]) -> Iterator[dict[str, Any]]:
    """The events of one row of the other product, with the fields that they have. Raises `RowError`."""
    if preset.api:
        yield _event_of_message(preset, dict(row))
        return
    if not preset.rows:
        yield _event_of(preset, dict(row))
        return
    elements = row.get(preset.rows)
    if isinstance(elements, str) or elements is None or not bytes(elements).startswith(b"["):
        raise RowError(f"it has no list {preset.rows}, whose elements are the events")
    shared = {name: value for name, value in row.items() if name != preset.rows}
    for element in _list_of(elements):
        yield _event_of(preset, {**shared, **(object_of(element) or {})})


def _event_of_message(preset: Preset, fields: Fields) -> dict[str, Any]:
    if preset.fields:
        fields, _ = _found(preset, fields)
    if preset.api == "segment":
        _undo_correction(fields)
    try:
        draft = _DRAFTS[preset.api](msgspec.Raw(msgspec.json.encode(_unpacked(fields))), {}, "")
    except InvalidEvent as error:
        raise RowError(error.message) from None
    event = {
        "eventId": draft.message_id,
        "eventType": draft.event_type,
        "userId": draft.user_id,
        "sessionId": draft.session_id,
        "itemId": draft.item_id,
        "timestamp": draft.timestamp or fields.get("receivedAt"),
        "metadata": draft.metadata,
    }
    return {name: value for name, value in event.items() if value}


def _undo_correction(fields: Fields) -> None:
    """Segment and RudderStack move the timestamp that was sent by `receivedAt - sentAt`, as far as the clock
    of the sender seems to be wrong. The API here does not, so that a retry is the same event."""
    at = [_ms(fields.get(name)) for name in ("timestamp", "originalTimestamp", "receivedAt", "sentAt")]
    if None not in at:
        corrected, sent, received, sent_at = map(int, at)  # type: ignore[arg-type]
        if abs((corrected - sent) - (received - sent_at)) <= _ROUNDING_MS:
            fields["timestamp"] = fields["originalTimestamp"]


def _ms(value: str | msgspec.Raw | None) -> int | None:
    text = written(value)
    return moment_ms(text) if text else None


def _unpacked(fields: Fields) -> Fields:
    """With the objects that CSV and Parquet have as texts."""
    unpacked = dict(fields)
    for name in _OBJECTS & fields.keys():
        text = written(fields[name]) or ""
        if text.startswith("{"):
            unpacked[name] = msgspec.Raw(text.encode(errors="replace"))
    return unpacked


def _found(preset: Preset, fields: Fields) -> tuple[Fields, set[str]]:
    """The fields that the preset names, and the names that they were made of."""
    found: Fields = {}
    used: set[str] = set()
    for field, candidates in preset.fields.items():
        for candidate in candidates:
            value = _value(fields, candidate)
            if value is not None:
                found[field] = value
                used.update(path_of(path)[0] for path in _IN_BRACES.findall(candidate) or [candidate])
                break
    return found, used


def _event_of(preset: Preset, fields: Fields) -> dict[str, Any]:
    kinds = preset.metadata
    for name in kinds.pairs:
        if name in fields:
            fields[name] = _object_of_pairs(fields[name])
    found, used = _found(preset, fields)
    event: dict[str, Any] = dict(found)
    if (event_type := written(event.get("eventType"))) in preset.event_types:
        event["eventType"] = preset.event_types[event_type]
    if (event_id := written(event.get("eventId"))) and not _is_uuid(event_id):
        event["eventId"] = hashed_id([event_id.encode()])
    metadata: Fields = {}
    if kinds.rest:
        listed = {path_of(name)[0] for pair in kinds.lists for name in pair}
        metadata.update({name: value for name, value in fields.items() if name not in used | listed})
    metadata.update({name: fields[name] for name in kinds.keep if name in fields})
    for name in kinds.content:
        metadata.update(_object(fields.get(name)))
    for of_names, of_values in kinds.lists:
        pairs = zip(_list_of(_inside(fields, of_names)), _list_of(_inside(fields, of_values)), strict=False)
        metadata.update({text: value for name, value in pairs if (text := text_of(bytes(name))) is not None})
    event["metadata"] = {name: value for name, value in metadata.items() if not is_empty(value)}
    return event


def _value(fields: Fields, candidate: str) -> str | msgspec.Raw | None:
    if "{" not in candidate:
        return _inside(fields, candidate)
    parts = {path: written(_inside(fields, path)) for path in _IN_BRACES.findall(candidate)}
    if not all(parts.values()):
        return None
    return _IN_BRACES.sub(lambda found: str(parts[found[1]]), candidate)


def _inside(fields: Fields, path: str) -> str | msgspec.Raw | None:
    """The value at a path; None if there is none, or an empty one."""
    *outer, last = path_of(path)
    for name in outer:
        fields = _object(fields.get(name))
    value = fields.get(last)
    return None if value is None or is_empty(value) else value


def _object(value: str | msgspec.Raw | None) -> Fields:
    """Of an object, also of one that is written in a text, as CSV has it."""
    if value is None:
        return {}
    text = value if isinstance(value, str) else text_of(bytes(value))
    return dict(object_of(value if text is None else msgspec.Raw(text.encode(errors="replace"))) or {})


def _list_of(value: str | msgspec.Raw | None) -> list[msgspec.Raw]:
    if value is None or isinstance(value, str):
        return []
    try:
        return _decode_list(value)
    except (msgspec.DecodeError, RecursionError):
        return []


def _object_of_pairs(value: str | msgspec.Raw) -> msgspec.Raw:
    found: dict[str, msgspec.Raw] = {}
    for element in _list_of(value):
        pair = object_of(element) or {}
        name = text_of(bytes(pair.get("key", b"")))
        if name is not None and "value" in pair:
            found[name] = _one_value(pair["value"])
    return msgspec.Raw(msgspec.json.encode(found))


def _one_value(value: msgspec.Raw) -> msgspec.Raw:
    """BigQuery writes whole numbers as texts; the name says what they are."""
    kinds = {name: inner for name, inner in (object_of(value) or {}).items() if name.endswith("_value")}
    for kind, inner in kinds.items():
        if not is_empty(inner):
            text = text_of(bytes(inner))
            is_number = kind in ("int_value", "float_value", "double_value")
            return msgspec.Raw(text.encode()) if is_number and text is not None else inner
    return msgspec.Raw(b'""') if kinds else value


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
