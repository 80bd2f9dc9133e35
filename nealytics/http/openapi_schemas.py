"""Our structs and declarations as JSON Schema for OpenAPI 3.1. `openapi` assembles the document.

Schemas             structs of answers → named schemas
parameter_schema    a declared query parameter → its schema
event_schema        the struct that bodies are decoded into, with the limits that are checked afterwards
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from nealytics import timestamps
from nealytics.auth.claims import FILTERS_MAX
from nealytics.config import IngestConfig
from nealytics.event import Sent, Timestamp
from nealytics.queries import relative
from nealytics.queries.conditions import DEPTH_MAX, GROUPS_MAX, NOT
from nealytics.queries.dimensions import DIMENSIONS
from nealytics.queries.filters import (
    COLUMNS,
    FILTER_CHARS_MAX,
    LIST_VALUES_MAX,
    META,
    NUMBER,
    OPS,
    OPS_OF_TIMES,
    PATH_KEYS_MAX,
    TIMES,
)
from nealytics.queries.measures import COUNTS, NUMERIC, RATES
from nealytics.queries.params import Parameter, zones
from nealytics.queries.patterns import PATTERN_CHARS_MAX
from nealytics.queries.segments import COUNT_MAX, SESSION, TIME_MS_MAX, UNIT_MS
from nealytics.queries.sequences import STEPS_MAX

Schema = dict[str, Any]

_KEY = r"(?:[^\\.]|\\[\s\S])+"


def _path(keys_max: int) -> str:
    return rf"{_KEY}(?:\.{_KEY}){{0,{keys_max - 1}}}"


_PATH = _path(PATH_KEYS_MAX)
# In a filter, a colon ends the path.
_META_FIELD = META + _PATH.replace(r"[^\\.]", r"[^\\.:]")
_EXISTS = "exists(?::(?:true|false)?)?"
_ORDERS = "|".join(OPS_OF_TIMES)
_TEXT_OPS = "|".join(op for op in OPS if op not in ("exists", "in", "matches", *OPS_OF_TIMES))
# The values of `in`, which contain no unescaped comma.
_LISTED = r"(?:[^\\,]|\\[\s\S])*"
_MORE_LISTED = f"{{0,{LIST_VALUES_MAX - 1}}}"
_MATCHES = rf"matches:[\s\S]{{1,{PATTERN_CHARS_MAX}}}"
_COMPARES = rf"(?:(?:{_TEXT_OPS}):[\s\S]*|{_MATCHES}|in:{_LISTED}(?:,{_LISTED}){_MORE_LISTED})"
_UUID = "[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"
# Times are ordered, columns are strings without an order, and metadata can be either.
_TEXTS = "|".join(name for name in COLUMNS if name not in {*TIMES, "event_id"})
_FILTER = "|".join(
    (
        f"(?:{'|'.join(sorted(TIMES))}):(?:{_EXISTS}|(?:{_ORDERS}):{timestamps.PATTERN})",
        f"(?:{_TEXTS}):(?:{_EXISTS}|{_COMPARES})",
        rf"event_id:(?:{_EXISTS}|(?:contains|starts):[\s\S]*|{_MATCHES}|(?:eq|ne):{_UUID}|in:{_UUID}(?:,{_UUID}){_MORE_LISTED})",
        f"{_META_FIELD}:(?:{_EXISTS}|{_COMPARES}|(?:{_ORDERS}):{NUMBER.pattern})",
    )
)
_NEGATED = rf"(?:{NOT}){{0,{DEPTH_MAX}}}"
# In a measure, a parenthesis ends the path.
_MEASURED_META = META + _PATH.replace(r"[^\\.]", r"[^\\.)]")
_MEASURE = "|".join(
    (
        *COUNTS,
        rf"(?:{'|'.join(NUMERIC)})\({_MEASURED_META}\)",
        rf"distinct\((?:{'|'.join(DIMENSIONS)}|{_MEASURED_META})\)",
        rf"(?:{'|'.join(RATES)})\((?:[^\\)]|\\[\s\S])+\)",
    )
)
_DURATION = "[0-9]{1,9}[smhd]"


def _duration(most_ms: int | None) -> str:
    if most_ms is None:
        return _DURATION
    # One unit is the minimum of every parameter.
    return "|".join(f"{_up_to(most_ms // ms)}{unit}" for unit, ms in UNIT_MS.items()).join(("(?:", ")"))


def _up_to(most: int) -> str:
    """A number from 1 to `most`, without leading zeros."""
    digits = str(most)
    shorter = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    smaller = [
        f"{digits[:at]}[{least}-{int(digit) - 1}][0-9]{{{len(digits) - at - 1}}}"
        for at, digit in enumerate(digits)
        if int(digit) > (least := 0 if at else 1)
    ]
    return f"(?:{'|'.join([*shorter, *smaller, digits])})"


# The arguments of a segment: an event type, how often, and within what time.
_ANY_TIME = "[1-9][0-9]{0,8}[smhd]"
_TYPE = rf"(?=\s*[^\s,)])(?!\s*{_ANY_TIME}\s*[,)])(?:[^\\,)]|\\[\s\S])+"
_OFTEN = _up_to(COUNT_MAX)
_OFTEN = rf",\s*(?:(?:>|=|<=)\s*(?:0|{_OFTEN})|(?:>=|<)\s*{_OFTEN})\s*"
_TIME = rf"\s*{_duration(TIME_MS_MAX)}\s*"
# A comparison that is part of the event type has a backslash before it.
_NO_COMMA = r"(?![^\\,)<>=]*[^\s\\,)<>=]\s*[<>=]+\s*[0-9])"
_DID = rf"{_NO_COMMA}{_TYPE}(?:(?:{_OFTEN})?(?:,{_TIME})?|,{_TIME}{_OFTEN})"
_FIRST_SEEN = rf"(?:\s*|{_TIME}|{_TYPE}(?:,{_TIME})?)"
_SEGMENT = (
    rf"(?:{SESSION})?(?:(?:not_)?did\({_DID}\)|first_seen\({_FIRST_SEEN}\))(?:\[{_NEGATED}(?:{_FILTER})\])?"
    r"|segment\((?:[^\\)]|\\[\s\S])+\)"
)
_CONDITION = rf"{_NEGATED}(?:{_FILTER}|{_SEGMENT})"
# Days that do not exist: the 31st of short months, and 29 February outside of leap years.
_ODD = "(?:[02468][1235679]|[13579][01345789])"  # two digits not divisible by 4
_NO_DAY = f"^[0-9]{{4}}-?(?:02-?3|(?:04|06|09|11)-?31)|^(?:[0-9]{{2}}{_ODD}|{_ODD}00)-?02-?29"


# Some 600 names, so parameters refer to one schema.
TIME_ZONE = "TimeZone"


def time_zone_schema() -> Schema:
    """A name of the IANA database. Not an enum: generated clients could not use names added later."""
    names = "|".join(re.escape(name) for name in sorted(zones()))
    return {"type": "string", "title": TIME_ZONE, "pattern": f"^(?:{names})$"}


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
    """msgspec names a struct by its class, and adds the module if two classes have the same name."""
    short = []
    for name in names:
        *modules, own = name.split(".")
        short.append(modules[-1].capitalize() + own if modules else own)
    twice = [name for name, times in Counter(short).items() if times > 1]
    assert not twice, f"structs of the same name: {twice}"
    return short


_INTEGER, _DECIMAL = {"type": "integer"}, {"type": "string", "format": "decimal"}


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    if schema == _DECIMAL:
        return {"type": "number"}  # as answers are encoded
    if isinstance(schema, dict):
        if _INTEGER in schema.get("anyOf", []) and _DECIMAL in schema["anyOf"]:
            # A number includes the integers.
            schema = schema | {"anyOf": [kind for kind in schema["anyOf"] if kind != _INTEGER]}
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
    """The values that a client may write. A `limit` has no bounds: any number is accepted and clamped."""
    schema = _value_schema(parameter)
    default = False if parameter.kind == "flag" else parameter.default
    if default is not None:
        schema["default"] = default
    if not parameter.repeatable:
        return schema
    count_max = parameter.count_max or (FILTERS_MAX if parameter.kind == "filter" else None)
    bounds = {"minItems": parameter.count_min, "maxItems": count_max}
    return {"type": "array", "items": schema, **{name: n for name, n in bounds.items() if n is not None}}


def _value_schema(parameter: Parameter) -> Schema:
    match parameter.kind:
        case "choice":
            return {"type": "string", "enum": list(parameter.choices)}
        case "integer":
            bounds = {"minimum": parameter.minimum, "maximum": parameter.maximum}
            return {"type": "integer", **{name: n for name, n in bounds.items() if n is not None}}
        case "flag":
            return {"type": "boolean"}
        case "timestamp":
            # Not the format date-time, which requires a zone. Generated clients ignore `anyOf` here.
            pattern = f"^(?:{timestamps.PATTERN}|{relative.PATTERN})$"
            return {"type": "string", "pattern": pattern, "not": {"pattern": _NO_DAY}}
        case "comparison":
            end = f"(?:{timestamps.PATTERN}|{relative.PATTERN})"
            ranges = rf"{end}\.\.{end}"
            names = "|".join(parameter.choices)
            return {
                "type": "string",
                "pattern": f"^(?:{names}|{ranges})$",
                "maxLength": parameter.chars_max,
            }
        case "duration":
            return {"type": "string", "pattern": f"^{_duration(parameter.maximum)}$"}
        case "field":
            meta = {"type": "string", "pattern": f"^{META}{_PATH}$", "maxLength": parameter.chars_max}
            if not parameter.choices:
                return meta
            return {"anyOf": [{"type": "string", "enum": list(parameter.choices)}, meta]}
        case "path":
            path = _path(parameter.maximum or PATH_KEYS_MAX)
            return {"type": "string", "pattern": f"^(?:{META})?{path}$", "maxLength": parameter.chars_max}
        case "filter":
            # A filter of a funnel begins with its step, one of `any` may begin with its group.
            before = {"stepFilter": _numbered(STEPS_MAX), "any": f"(?:{_numbered(GROUPS_MAX)})?"}
            chars_max = max(FILTER_CHARS_MAX, parameter.chars_max)
            pattern = f"^{before.get(parameter.name, '')}(?:{_CONDITION})$"
            return {"type": "string", "pattern": pattern, "maxLength": chars_max}
        case "measure":
            return {
                "type": "string",
                "pattern": rf"^(?:{_MEASURE})(?:\[(?:{_CONDITION})\])?$",
                "maxLength": parameter.chars_max,
            }
        case "zone":
            return ref(TIME_ZONE)
        case "cursor":
            return {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": parameter.chars_max}
    text: Schema = {"type": "string", "maxLength": parameter.chars_max}
    if parameter.pattern is not None:
        return text | {"pattern": f"^{parameter.pattern}$"}
    # A blank counts as absent.
    return text | ({"minLength": 1, "pattern": r"\S"} if parameter.required else {})


def _numbered(most: int) -> str:
    return f"(?:{'|'.join(map(str, range(1, most + 1)))}):"


# Limits that the struct does not have: `Sent` accepts any JSON of these types; `event.freeze` checks them.
_FIELDS: dict[str, Schema] = {
    "projectId": {
        "description": "The application that the event belongs to. Required, unless the key or token has it."
    },
    "tenantId": {
        "description": "The customer of the application whose analytics it is part of. Required, unless the"
        " key or token has it."
    },
    "sessionId": {"description": "Events with the same value are one visit."},
    "eventType": {"description": "What happened."},
    "userId": {"description": "Who did it; empty counts as absent. If the token has a user, it is this one."},
    "itemId": {"description": "What it was done to, such as a page's URL; empty counts as absent."},
    "metadataJson": {
        "description": "The metadata as a text, not validated; overrides `metadata`. Default: `{}`. The limit"
        " counts bytes of UTF-8."
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
_NOT_EMPTY = ("projectId", "tenantId", "sessionId", "eventType")
_REQUIRED = ["sessionId", "eventType"]  # whatever the key


def _one_type(schema: Schema) -> Schema:
    """A string or null as one schema: client generators ignore bounds beside an `anyOf`."""
    if schema.get("anyOf") == [{"type": "string"}, {"type": "null"}]:
        return {"type": ["string", "null"]}
    return schema


def event_schema(limits: IngestConfig) -> Schema:
    """An event as clients send it."""
    properties = {}
    for field in msgspec.structs.fields(Sent):
        name = field.encode_name
        kind = Timestamp if name == "timestamp" else field.type
        schema = {} if kind is msgspec.Raw else _one_type(msgspec.json.schema(kind))
        if name in _NOT_EMPTY:
            schema |= {"minLength": 1, "maxLength": limits.identifier_chars_max}
        elif name == "userId":
            schema |= {"maxLength": limits.identifier_chars_max}
        elif name == "itemId":
            schema |= {"maxLength": limits.item_id_chars_max}
        elif name == "metadataJson":
            # The limit counts bytes, so some shorter texts are refused too.
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
