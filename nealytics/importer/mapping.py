"""From a row to the event that is sent: which column is which field, what joins the metadata, and the id.

A field's value comes from, in this order: a constant (`--set`), the column mapped to it (`--map`), a column
or JSON name that equals the field's, a default (`--default`). What is left over joins the metadata, or is
left out.
"""

import copy
import difflib
import hashlib
import re
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from typing import Any

import msgspec

from nealytics.compat.message import id_of_message
from nealytics.errors import NealyticsError
from nealytics.importer import times
from nealytics.importer.options import Options, Type
from nealytics.importer.rows import Row

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
# What the file of rejected rows says beside the event; ignored, so that the file can be imported as it is.
REJECTED_FIELDS = ("rejectedRow", "rejectedError", "rejectedField", "rejectedText")

_TEXT_FIELDS = frozenset({"projectId", "tenantId", "sessionId", "userId", "eventType", "itemId"})
_UNMAPPED_NAMES_MAX = 100
# A number that every JSON reader returns digit by digit: no leading zero (007), no trailing one (1.10), no
# exponent, and at most 15 digits, which a double always has.
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?", re.ASCII)
_PLAIN_DIGITS_MAX = 15
_PLAIN_STARTS = frozenset("-0123456789")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BOOLEANS = {
    "true": b"true", "t": b"true", "yes": b"true", "1": b"true",
    "false": b"false", "f": b"false", "no": b"false", "0": b"false",
}  # fmt: skip

_NUMBER_STARTS = {bytes([digit]) for digit in b"-0123456789"}

Path = tuple[str, ...]
Value = str | msgspec.Raw
# Names at each level that fields are made of: True for the whole value, else the names in it.
Taken = dict[str, Any]


class MappingError(NealyticsError):
    """The mapping contradicts itself, or does not fit the file."""


class RowError(Exception):
    """This row is not an event."""


class Mapping:
    """Makes events of rows. The same row of the same file is always the same event.

    `columns` are a CSV's, to find a mistyped name before anything is sent; None if each row has its own
    names, which may then be paths: `context.user.id`, where `\\.` is a dot that belongs to a name.
    `default_timestamp` is for rows that have no time themselves.

    It notes which names went nowhere (`unmapped`), and, as long as it `takes_notes`, which mapped names were
    `found`, and the first and the last time.
    """

    def __init__(
        self,
        options: Options,
        *,
        columns: tuple[str, ...] | None,
        head: bytes,
        default_timestamp: str,
        shift_ms: int = 0,
    ) -> None:
        _check(options)
        mapped, constants = options.mapped, options.constants
        paths = {field: _path_of(name, columns, f"--map {field}={name}") for field, name in mapped.items()}
        id_paths = [_path_of(name, columns, f"--id-from {name}") for name in options.id_from]
        types = {_path_of(name, columns, f"--type {name}=")[0]: kind for name, kind in options.types.items()}
        # A field without an option takes the column of its name, unless that is mapped to another field.
        elsewhere = {*mapped, *constants, *(path[0] for path in paths.values() if len(path) == 1)}
        if id_paths:
            elsewhere.add("eventId")
        own_names = [field for field in EVENT_FIELDS if field not in elsewhere]
        if columns is not None:
            known = {*mapped, *constants, *options.defaults, *(name for name in own_names if name in columns)}
            if missing := [field for field in REQUIRED_FIELDS if field not in known]:
                raise MappingError(
                    f"import: no column for {', '.join(missing)};"
                    f" map it (--map {missing[0]}=COLUMN) or set it for all rows (--set {missing[0]}=VALUE);"
                    f" the columns are {', '.join(columns)}"
                )
        # Each field has one place: a name, or a path to the inside of a value.
        self._flat = (
            *((field, path[0]) for field, path in paths.items() if len(path) == 1),
            *((field, field) for field in own_names),
        )
        self._deep = tuple((field, path) for field, path in paths.items() if len(path) > 1)
        self._constants = constants
        self._defaults = options.defaults
        self._taken: Taken = dict.fromkeys((*own_names, *constants, *REJECTED_FIELDS), True)
        for path in paths.values():
            _take(self._taken, path)
        # --id-from says what a column is for; its text still belongs to the metadata.
        self._used: Taken = copy.deepcopy(self._taken)
        for path in id_paths:
            _take(self._used, path)
        self._id_paths = list(zip(options.id_from, id_paths, strict=True))  # one may be named twice
        self._message_ids = options.message_ids and "eventId" not in {*mapped, *constants}
        self._rest_is_metadata = options.rest_is_metadata
        self._default_type = options.default_type
        self._types = types
        self._namespace = hashlib.sha256(head).digest()
        self._default_timestamp = default_timestamp
        self._time_unit = options.time_unit
        self._shift_ms = shift_ms
        self._mapped = mapped
        self.takes_notes = True
        self.found: set[str] = set()  # of `mapped`, the fields whose name some row has
        self.unmapped: dict[str, None] = {}
        self.oldest_ms: int | None = None
        self.newest_ms: int | None = None

    def not_found(self) -> list[tuple[str, str]]:
        """(field, name) of what is mapped and no row so far has."""
        return [(field, name) for field, name in self._mapped.items() if field not in self.found]

    def encode(self, row: Row) -> bytes:
        """The event as JSON. Raises `RowError`."""
        if row.problem is not None:
            raise RowError(row.problem)
        fields = row.fields
        opened: dict[Path, AnyMapping[str, Value]] = {}
        event: dict[str, Any] = {}
        takes_notes = self.takes_notes
        for field, name in self._flat:
            value = fields.get(name)
            if value is None:
                continue
            if takes_notes:
                self.found.add(field)
            if value.__class__ is str:
                if value:
                    event[field] = value
            elif not is_empty(value):
                event[field] = _as_text(value) if field in _TEXT_FIELDS else value
        for field, path in self._deep:
            value = _inside(fields, path, opened)
            if value is None:
                continue
            self.found.add(field)
            if not is_empty(value):
                event[field] = _as_text(value) if field in _TEXT_FIELDS else value
        for field, value in self._defaults.items():
            event.setdefault(field, value)
        event.update(self._constants)
        if self._rest_is_metadata:
            rest = self._rest(fields, self._taken)
            if rest:
                own = "metadata" in event or "metadataJson" in event
                event["metadata"] = {**rest, **_own_metadata(event)} if own else rest
        elif len(self.unmapped) < _UNMAPPED_NAMES_MAX:
            self.unmapped.update(dict.fromkeys(_left_over(fields, self._used)))
        if self._id_paths:
            event["eventId"] = self._hashed_id(fields, opened)
        elif self._message_ids and "eventId" in event:
            event["eventId"] = str(
                id_of_message(written(event.get("projectId")) or "", written(event["eventId"]) or "")
            )
        event_id = event.get("eventId")
        if event_id is None:
            event["eventId"] = event_id_of(self._namespace, row.number, row.raw)
        self._set_time(event, event_id)
        try:
            return msgspec.json.encode(event)
        except UnicodeEncodeError:
            raise RowError("it contains lone surrogates, which are not valid text") from None

    def _set_time(self, event: dict[str, Any], event_id: Value | None) -> None:
        value = event.get("timestamp")
        if value is None:
            moment = _time_of_id(event_id)
            if moment is None:
                event["timestamp"] = self._default_timestamp
                return
            if self._shift_ms:
                event["timestamp"] = moment + self._shift_ms
        else:
            sent = self._normalized(value)
            moment = None
            if (self._shift_ms or self.takes_notes) and isinstance(sent, (str, int)):
                moment = times.moment_ms(sent)
            if self._shift_ms:
                if moment is None:
                    raise RowError(f"timestamp is {_shown(value)}; only ISO 8601 and numbers can be shifted")
                sent = moment + self._shift_ms
            event["timestamp"] = sent
        if self.takes_notes and moment is not None:
            self.oldest_ms = moment if self.oldest_ms is None else min(self.oldest_ms, moment)
            self.newest_ms = moment if self.newest_ms is None else max(self.newest_ms, moment)

    def _normalized(self, value: Value) -> str | int | msgspec.Raw:
        if isinstance(value, str):
            return times.normalized(value, self._time_unit)
        raw = bytes(value)
        text = text_of(raw)
        if text is not None:
            return times.normalized(text, self._time_unit)
        number = times.number_ms(raw.decode("ascii", "replace"), self._time_unit)
        return value if number is None else number

    def _hashed_id(self, fields: AnyMapping[str, Value], opened: dict[Path, Any]) -> str:
        parts = []
        for name, path in self._id_paths:
            value = _inside(fields, path, opened)
            if value is None or is_empty(value):
                raise RowError(f"it has no {name}, from which --id-from derives its id")
            if isinstance(value, msgspec.Raw):
                # The same id in CSV, as a JSON string and as a number.
                value = text_of(bytes(value)) or bytes(value).decode(errors="replace")
            parts.append(value.encode(errors="surrogatepass"))
        return hashed_id(parts)

    def _rest(self, fields: AnyMapping[str, Value], taken: Taken) -> dict[str, Any]:
        """The values that no field was made of."""
        rest: dict[str, Any] = {}
        for name, value in fields.items():
            within = taken.get(name)
            if within is True:
                continue
            if isinstance(within, dict):
                inner = object_of(value)
                if inner is None:
                    rest[name] = value
                elif left := self._rest(inner, within):
                    rest[name] = left
            elif isinstance(value, str):
                # An empty cell is how CSV writes that there is no value.
                if value:
                    rest[name] = _typed(value, self._types.get(name, self._default_type))
            else:
                rest[name] = value
        return rest


def event_id_of(namespace: bytes, number: int, raw: bytes) -> str:
    """A UUID of the file, the row's number and its bytes."""
    return _uuid8(hashlib.sha256(namespace + number.to_bytes(8, "big") + raw).digest())


def hashed_id(parts: list[bytes]) -> str:
    """A UUID of the sender's own id, the same in every file."""
    hashed = hashlib.sha256(b"nealytics import --id-from")
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return _uuid8(hashed.digest())


def _uuid8(digest: bytes) -> str:
    """Version 8: custom."""
    bits = int.from_bytes(digest[:16], "big")
    bits = bits & ~(0xF << 76) | 0x8 << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _typed(text: str, kind: Type) -> Value:
    """The value of a CSV cell. Digits do not change; a cell that is not of the type remains text."""
    match kind:
        case "auto":
            # A point and a sign are not digits. Anything longer is text, and most text ends here.
            if text[0] not in _PLAIN_STARTS or len(text) > _PLAIN_DIGITS_MAX + 2:
                return text
            plain = _PLAIN_NUMBER.fullmatch(text) and sum(map(str.isdecimal, text)) <= _PLAIN_DIGITS_MAX
            return msgspec.Raw(text.encode()) if plain and text != "-0" else text
        case "number":
            return msgspec.Raw(text.encode()) if _JSON_NUMBER.fullmatch(text) else text
        case "boolean":
            value = _BOOLEANS.get(text.lower())
            return text if value is None else msgspec.Raw(value)
        case "json":
            try:
                return msgspec.json.decode(text, type=msgspec.Raw)
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                return text
        case _:
            return text


def _inside(fields: AnyMapping[str, Value], path: Path, opened: dict[Path, Any]) -> Value | None:
    """The value at `path`; None if the row has none. `opened` caches the objects of this row."""
    for depth in range(1, len(path)):
        prefix = path[:depth]
        inner = opened.get(prefix)
        if inner is None:
            value = fields.get(prefix[-1])
            inner = {} if value is None else object_of(value) or {}
            opened[prefix] = inner
        fields = inner
    return fields.get(path[-1])


def object_of(value: Value) -> dict[str, msgspec.Raw] | None:
    if isinstance(value, str):
        return None
    try:
        return msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return None


def _left_over(fields: AnyMapping[str, Value], taken: Taken, prefix: str = "") -> Iterator[str]:
    """The names of the values that no field was made of, as --map takes them."""
    for name, value in fields.items():
        within = taken.get(name)
        if within is True:
            continue
        shown = prefix + name.replace(".", "\\.")
        inner = object_of(value) if within is not None else None
        if inner is None or within is None:
            yield shown
        else:
            yield from _left_over(inner, within, f"{shown}.")


def _take(taken: Any, path: Path) -> None:
    for name in path[:-1]:
        taken = taken.setdefault(name, {})
        if taken is True:
            return
    taken[path[-1]] = True


def path_of(name: str) -> Path:
    """The names in `context.user.id`; `\\.` is a dot that belongs to a name."""
    return tuple(part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", name))


def _path_of(name: str, columns: tuple[str, ...] | None, option: str) -> Path:
    if columns is None:
        return path_of(name)
    for found in (name, name.replace("\\.", ".")):
        if found in columns:
            return (found,)
    near = difflib.get_close_matches(name, columns, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    raise MappingError(f"import: {option}: no such column; {hint}the columns are {', '.join(columns)}")


def _own_metadata(event: dict[str, Any]) -> dict[str, msgspec.Raw]:
    """The row's own metadata, removed from `event` to be merged with the rest."""
    own: str | msgspec.Raw | None = event.pop("metadata", None)
    text: str | msgspec.Raw | None = event.pop("metadataJson", None)
    try:
        if own is None and text is not None:
            own = text if isinstance(text, str) else msgspec.json.decode(text, type=str)
        return {} if own is None else msgspec.json.decode(own, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise RowError(
            f"its metadata is not a JSON object ({error}), so no other column can be added; use --rest ignore"
        ) from None


def _as_text(value: Value) -> Value:
    """An identifier that is a number in the file becomes a text of the same digits."""
    if isinstance(value, str):
        return value
    raw = bytes(value)
    return raw.decode() if raw[:1] in _NUMBER_STARTS else value


def text_of(raw: bytes) -> str | None:
    """The text of a JSON string; None if it is invalid or not a string."""
    try:
        return msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None


def written(value: Value | None) -> str | None:
    """A JSON string's text, or any other value as it is written."""
    if value is None or isinstance(value, str):
        return value
    raw = bytes(value)
    text = text_of(raw)
    return raw.decode(errors="replace") if text is None else text


def is_empty(value: Value) -> bool:
    """As for the server: null and empty strings are absent."""
    return value == "" if isinstance(value, str) else bytes(value) in (b'""', b"null")


def _time_of_id(event_id: Value | None) -> int | None:
    """The time that the server derives from this id, if it is a UUIDv7."""
    if event_id is None:
        return None
    text = event_id if isinstance(event_id, str) else bytes(event_id).decode("ascii", "replace").strip('"')
    digits = text.replace("-", "")
    if digits[12:13] != "7":
        return None
    try:
        return int(digits[:12], 16)
    except ValueError:
        return None


def _shown(value: Value) -> str:
    return (value if isinstance(value, str) else bytes(value).decode(errors="replace"))[:64]


def _check(options: Options) -> None:
    """Raises `MappingError` for options that contradict each other."""
    mapped, constants, defaults = options.mapped, options.constants, options.defaults
    for field in (*mapped, *constants, *defaults):
        if field not in EVENT_FIELDS:
            near = difflib.get_close_matches(field, EVENT_FIELDS, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise MappingError(
                f"import: an event has no field {field}{hint} Its fields are {', '.join(EVENT_FIELDS)}"
            )
    for field in constants:
        if field in mapped:
            raise MappingError(f"import: {field} is both set and mapped; give one of them")
        if field in defaults:
            raise MappingError(
                f"import: {field} is set for all rows, so its default has no effect; give one of them"
            )
    if options.message_ids and "projectId" not in {*mapped, *constants, *defaults}:
        raise MappingError(
            f"import: --from {options.preset} makes the id of an event from the project and the id of the"
            " message, as the route for SDKs does; name the project: --set projectId=PROJECT"
        )
    if options.id_from and ("eventId" in mapped or "eventId" in constants):
        raise MappingError("import: eventId is mapped or set, and --id-from derives one; give one of them")
