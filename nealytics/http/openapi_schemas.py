"""Our structs and declarations as JSON Schema, the way OpenAPI 3.1 wants them.

Pure; `openapi` puts the document together.

    Schemas             structs of answers → named schemas
    parameter_schema    a declared query parameter → its schema
    event_schema        the struct that bodies are decoded into, with what is refused afterwards
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from nealytics import timestamps
from nealytics.auth.claims import FILTERS_MAX
from nealytics.config import IngestConfig
from nealytics.event import Sent, Timestamp
from nealytics.queries.filters import COLUMNS, FILTER_CHARS_MAX, META, OPS
from nealytics.queries.params import Parameter

Schema = dict[str, Any]

_META_FIELD = rf"{META}(?:[^\\.:]|\\.)+(?:\.(?:[^\\.:]|\\.)+)*"
_EXISTS = "exists(?::(?:true|false)?)?"
_COMPARES = f"(?:{'|'.join(op for op in OPS if op != 'exists')}):[\\s\\S]*"
_FILTER = f"(?:{'|'.join(COLUMNS)}|{_META_FIELD}):(?:{_EXISTS}|{_COMPARES})"
_DURATION = "[0-9]{1,9}[smhd]"


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


class Schemas:
    """The structs of answers as named schemas.

    A struct whose name others have too (`Point`) gets that of its module in front (`TimeseriesPoint`). A
    field that may be None is left out of every answer while it is, so null is not among its values.
    """

    def __init__(self, answers: Sequence[type]) -> None:
        refs, components = msgspec.json.schema_components(answers, ref_template="{name}")
        names = dict(zip(components, _short(components), strict=True))
        self._names = {answer: names[found["$ref"]] for answer, found in zip(answers, refs, strict=True)}
        self.components: dict[str, Schema] = {
            names[name]: {**_renamed(_without_null(schema), names), "title": names[name]}
            for name, schema in components.items()
        }

    def ref(self, struct: type) -> Schema:
        return ref(self._names[struct])


def _short(names: Iterable[str]) -> list[str]:
    """msgspec calls a struct by its name or, where others have the same, with its module in front."""
    short = []
    for name in names:
        *modules, own = name.split(".")
        short.append(modules[-1].capitalize() + own if modules else own)
    twice = [name for name, times in Counter(short).items() if times > 1]
    assert not twice, f"structs that cannot be told apart: {twice}"
    return short


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    if isinstance(schema, dict):
        return {
            key: ref(names[value])["$ref"] if key == "$ref" else _renamed(value, names)
            for key, value in schema.items()
        }
    return [_renamed(item, names) for item in schema] if isinstance(schema, list) else schema


def _without_null(struct: Schema) -> Schema:
    for name, field in struct.get("properties", {}).items():
        if "default" in field and field["default"] is None:
            (kept,) = (kind for kind in field["anyOf"] if kind != {"type": "null"})
            struct["properties"][name] = kept
    return struct


def parameter_schema(parameter: Parameter) -> Schema:
    """What a client may write for it. A `limit` has no bounds here: any number is taken and made to fit."""
    schema = _value_schema(parameter)
    default = False if parameter.kind == "flag" else parameter.default
    if default is not None:
        schema["default"] = default
    if not parameter.repeatable:
        return schema
    several: Schema = {"type": "array", "items": schema}
    if parameter.kind == "filter":
        several["maxItems"] = FILTERS_MAX
    return several


def _value_schema(parameter: Parameter) -> Schema:
    match parameter.kind:
        case "choice":
            return {"type": "string", "enum": list(parameter.choices)}
        case "integer":
            bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
            return {"type": "integer", **{name: n for name, n in bounds.items() if n is not None}}
        case "flag":
            return {"type": "boolean"}
        case "instant":
            return {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
        case "comparison":
            ranges = rf"{timestamps.PATTERN}\.\.{timestamps.PATTERN}"
            names = "|".join(parameter.choices)
            return {
                "type": "string",
                "pattern": f"^(?:{names}|{ranges})$",
                "maxLength": parameter.chars_max,
            }
        case "duration":
            return {"type": "string", "pattern": f"^{_DURATION}$"}
        case "field":
            meta = {"type": "string", "pattern": f"^{_META_FIELD}$", "maxLength": parameter.chars_max}
            if not parameter.choices:
                return meta
            return {"anyOf": [{"type": "string", "enum": list(parameter.choices)}, meta]}
        case "filter":
            # A funnel's filters say first which step they are of.
            step = "[1-9][0-9]*:" if parameter.name == "stepFilter" else ""
            chars_max = max(FILTER_CHARS_MAX, parameter.chars_max)
            return {"type": "string", "pattern": f"^{step}{_FILTER}$", "maxLength": chars_max}
        case "zone":
            return {"type": "string", "pattern": "^[A-Za-z]", "maxLength": parameter.chars_max}
        case "cursor":
            return {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": parameter.chars_max}
    return {"type": "string", "maxLength": parameter.chars_max}


# What the struct cannot say: `Sent` takes any JSON of these types, and `event.freeze` refuses.
_FIELDS: dict[str, Schema] = {
    "projectId": {"description": "The application that the event belongs to."},
    "tenantId": {"description": "The customer of the application whose analytics it is part of."},
    "sessionId": {"description": "Events with the same value are one visit."},
    "eventType": {"description": "What happened."},
    "userId": {"description": "Who did it; empty counts as absent."},
    "itemId": {"description": "What it was done to, such as a page's URL; empty counts as absent."},
    "metadataJson": {
        "description": "The metadata as a text, not checked; goes over `metadata`. Without either it is `{}`."
        " The limit is of bytes in UTF-8."
    },
    "metadata": {
        "description": "Whatever else is to be known; stored as it was sent.",
        "type": ["object", "null"],
    },
    "eventId": {"description": "Made by the server if absent. What is sent again with the same counts once."},
    "timestamp": {
        "description": "When it happened: ISO 8601 (without a zone UTC) or, as a number, epoch milliseconds."
        " Absent: the time inside a UUIDv7 `eventId`, else now."
    },
}
_REQUIRED = ["projectId", "tenantId", "sessionId", "eventType"]


def event_schema(limits: IngestConfig) -> Schema:
    """An event as clients send it."""
    properties = {}
    for field in msgspec.structs.fields(Sent):
        name = field.encode_name
        kind = Timestamp if name == "timestamp" else field.type
        schema = {} if kind is msgspec.Raw else msgspec.json.schema(kind)
        if name in _REQUIRED:
            schema |= {"minLength": 1, "maxLength": limits.identifier_chars_max}
        elif name == "userId":
            schema |= {"maxLength": limits.identifier_chars_max}
        elif name == "itemId":
            schema |= {"maxLength": limits.item_id_chars_max}
        elif name == "metadataJson":
            # Of bytes, in truth: text that is longer than this is refused, and some that is shorter.
            schema |= {"maxLength": limits.metadata_bytes_max}
        properties[name] = {**schema, **_FIELDS[name]}
    return {
        "title": "Event",
        "type": "object",
        "description": "Other fields are ignored. A client that may have to send an event again gives it"
        " `eventId` and `timestamp`: then it is counted once.",
        "properties": properties,
        "required": _REQUIRED,
        "example": {
            "projectId": "my-app",
            "tenantId": "tenant-1",
            "sessionId": "abc-123",
            "eventType": "page_view",
            "userId": "ada",
            "itemId": "/home",
            "metadata": {"referrer": "example.com"},
        },
    }
