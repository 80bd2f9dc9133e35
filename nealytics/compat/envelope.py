"""A body's events, undecoded, and the fields beside them: `{"batch": [event, …], "sentAt": …}`.

An array or a single event, without anything around it, is a body, too. All work is in short steps, because
the client decides how long a body is.

An event of more than `MESSAGE_BYTES_MAX` is never decoded: counting brackets finds its end, and its beginning
is collected with its size. So however long it is, the others of its body are read.
"""

import json
import re
from collections.abc import Generator, Iterator
from typing import cast

import msgspec

from nealytics.event import InvalidEvent, is_utf8, shorten, split_array
from nealytics.ingest.parser import (
    SLICE_BYTES,
    before_same_key,
    find_cut,
    first_byte,
    first_key,
    require_plausible,
    require_utf8,
)

Fields = dict[str, msgspec.Raw]

BATCH = "batch"
# Of one event, with room for the largest metadata that is accepted by default. Finding its fields takes 9 ms
# at worst, when it has 36,000 of them.
MESSAGE_BYTES_MAX = 320 * 1024
# Of a longer one, what is collected.
BEGINNING_BYTES = 16 * 1024
# Of one object.
FIELDS_MAX = 10_000
# Beside the events of a body.
SHARED_FIELDS_MAX = 100
# A field beside the events of a body that is longer than one event. SDKs send less than 1 KiB.
_FIELD_BYTES_MAX = 64 * 1024
# Searched for a word in one step.
_SEARCHED_BYTES = 1024 * 1024
# Of such a field, searched first for its end.
_WINDOW_BYTES = 1024

_fields = msgspec.json.Decoder(Fields)
_pieces = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_value = json.JSONDecoder()
_AFTER_VALUE = (",", "}", " ", "\t", "\r", "\n")
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_NAME = re.compile(rb'("(?:[^"\\]|\\.){0,256}+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Envelope:
    """`read` fills it in."""

    __slots__ = ("elements", "ignored", "shared", "sizes")

    def __init__(self) -> None:
        self.elements: list[msgspec.Raw] = []
        self.sizes: dict[int, int] = {}  # of the elements of which only the beginning is there
        # Beside the array. Of a single event that is too long, its short fields: one may be the key.
        self.shared: Fields = {}
        self.ignored: list[str] = []  # fields beside the array that are not JSON

    def size(self, index: int) -> int:
        return self.sizes.get(index) or len(self.elements[index])

    def add_beginning(self, body: bytes, at: int, end: int) -> None:
        at = _after_blanks(body, at)
        self.sizes[len(self.elements)] = end - at
        self.elements.append(msgspec.Raw(body[at : min(at + BEGINNING_BYTES, end)]))

    def add_shared(self, name: str, value: bytes) -> None:
        """Python's decoder, which has found its end, also accepts NaN and bytes that are not UTF-8."""
        values = _decoded(value)
        if values is None:
            self.ignored.append(shorten(name))
        elif value != b"null":
            self.shared[name] = values[0]


def read(body: bytes, envelope: Envelope) -> Iterator[int]:
    """Yields the number of elements so far. Raises `InvalidEvent` if the body is not well-formed."""
    first = first_byte(body)
    if first == b"[":
        at = yield from _elements(body, body.index(b"["), envelope)
        _require_end(body, at)
    elif first != b"{":
        raise InvalidEvent(
            "invalid_json",
            "the body is neither a JSON object nor an array",
            detail="Send the events as the SDK does: as JSON, or compressed with gzip.",
        )
    elif len(body) <= MESSAGE_BYTES_MAX:
        yield from _read_at_once(body, envelope)
    else:
        yield from _read_in_steps(body, envelope)


def fields_of(raw: msgspec.Raw, field: str | None = None) -> Fields:
    """The fields of a JSON object, without those that are null. Raises `InvalidEvent`. `field` is where it is
    in an event; None is the event itself."""
    name = field or "the event"
    if field is None:
        require_utf8(bytes(raw))
    try:
        fields = _fields.decode(raw)
    except msgspec.ValidationError:
        raise InvalidEvent("invalid_event", f"{name} is not a JSON object", field) from None
    except _BROKEN as error:
        split_array(b"[%b]" % bytes(raw))  # explains
        raise InvalidEvent("invalid_json", f"{name} cannot be read: {error}", field) from None
    if len(fields) > FIELDS_MAX:
        raise InvalidEvent(
            "invalid_event", f"{name} has {len(fields)} fields, at most {FIELDS_MAX} are accepted", field
        )
    return {key: value for key, value in fields.items() if bytes(value) != b"null"}


def _read_at_once(body: bytes, envelope: Envelope) -> Iterator[int]:
    try:
        fields = _fields.decode(body) if is_utf8(body) else None
    except _BROKEN:
        fields = None
    if fields is None:
        # One event may be nested too deeply, or not be UTF-8; in steps, it is rejected alone.
        yield from _read_in_steps(body, envelope)
        return
    yield 0
    events = fields.pop(BATCH, None)
    if events is None:
        envelope.elements.append(msgspec.Raw(body))
        yield 1
        return
    if len(fields) > SHARED_FIELDS_MAX:
        raise _too_many_fields()
    envelope.shared = {key: value for key, value in fields.items() if bytes(value) != b"null"}
    yield from _elements(_require_array(bytes(events)), 0, envelope)


def _require_array(body: bytes, at: int = 0) -> bytes:
    if body[at : at + 1] != b"[":
        raise InvalidEvent("invalid_json", f"{BATCH} is not an array", BATCH, detail="Nothing was stored.")
    return body


def _elements(body: bytes, at: int, envelope: Envelope) -> Generator[int, None, int]:
    """Collects the elements of the array at this byte; returns where it ends."""
    start = at = at + 1
    key = first_key(body, at)
    closes = False
    while not closes:
        before, cut = before_same_key(body, at, key)
        if before and (likely := _decoded(before)):
            envelope.elements += likely
            require_plausible(len(envelope.elements), body)
            at = cut
            yield len(envelope.elements)
            continue
        cut = yield from _cut(body, at, SLICE_BYTES, envelope)
        closes = body[cut : cut + 1] == b"]"
        known = len(envelope.elements)
        if cut - at > MESSAGE_BYTES_MAX:  # more than a slice, so it is one element
            envelope.add_beginning(body, at, cut)
        elif (elements := _decoded(body[at:cut])) is None:
            yield from _one_by_one(body, at, cut, envelope)
        else:
            envelope.elements += elements
        found = len(envelope.elements) > known
        if not (closes or body[cut : cut + 1] == b",") or not (found or (closes and at == start)):
            raise _malformed("an element is missing", at)
        require_plausible(len(envelope.elements), body)
        at = cut + 1
        yield len(envelope.elements)
    return at


def _one_by_one(body: bytes, at: int, end: int, envelope: Envelope) -> Iterator[int]:
    """The same for a slice with an element that the decoder cannot read, because it is nested too deeply,
    malformed (Python writes NaN) or not UTF-8: it is collected as it is, and refused when it is read."""
    while at < end:
        cut = yield from _cut(body, at, 0, envelope)
        element = body[at:cut].strip()
        if not element or cut + 1 == end:  # nothing is before the comma, or behind it
            raise _malformed("an element is missing", at)
        envelope.elements += _decoded(element) or [msgspec.Raw(element)]
        at = cut + 1
        yield len(envelope.elements)


def _cut(body: bytes, at: int, slice_bytes: int, envelope: Envelope) -> Generator[int, None, int]:
    """Where this many bytes of a list end, or its first element, or the list."""
    for cut in find_cut(body, at, slice_bytes, event_bytes_max=len(body)):
        if cut:
            return cut
        yield len(envelope.elements)
    raise _malformed("it ends too early", len(body))


def _decoded(elements: bytes) -> list[msgspec.Raw] | None:
    """The elements; None if the decoder cannot read them."""
    try:
        return _pieces.decode(b"[%b]" % elements) if is_utf8(elements) else None
    except _BROKEN:
        return None


def _read_in_steps(body: bytes, envelope: Envelope) -> Iterator[int]:
    """An object that is too long to be decoded in one step: only its array, or one event, may be long.

    All of this happens before the key is known, so the fields are counted as they are read: the same name
    again is another field.
    """
    fields = 0
    long = ""  # the name of a field that is too long to be beside events
    has_batch = False
    at = _after_blanks(body, body.index(b"{") + 1)
    is_end = body[at : at + 1] == b"}"
    while not is_end:
        name = _NAME.match(body, at, at + _FIELD_BYTES_MAX)
        if name is None:
            raise _malformed("the name of a field is expected", at)
        at = name.end()
        fields += 1
        if fields > SHARED_FIELDS_MAX + 1:
            for start in range(name.start(), len(body), _SEARCHED_BYTES):
                if has_batch or body.find(b'"batch"', start, start + _SEARCHED_BYTES + len(BATCH)) >= 0:
                    raise _too_many_fields()
                yield len(envelope.elements)
            at = yield from _cut(body, at, len(body), envelope)  # the end of one event of many fields
        elif name[1] == b'"batch"':
            has_batch = True
            at = yield from _elements(_require_array(body, at), at, envelope)
        elif (end := _value_end(body, at)) is not None:
            envelope.add_shared(_name_of(name), body[at:end])
            at = end
        else:
            long = _name_of(name)
            end = yield from _cut(body, at, 0, envelope)
            _require_long(body[at : min(end, at + _FIELD_BYTES_MAX + 1)], at)
            at = end
        if long and has_batch:
            raise InvalidEvent(
                "invalid_json",
                f"the field {shorten(long)} beside the events has more than {_FIELD_BYTES_MAX} bytes,"
                " or is nested too deeply",
                shorten(long),
                detail="Send less beside the events. Nothing was stored.",
            )
        at = _after_blanks(body, at)
        is_end = body[at : at + 1] == b"}"
        if not is_end and body[at : at + 1] != b",":
            raise _malformed("a comma or the end is expected", at)
        if not is_end:
            at = _after_blanks(body, at + 1)
        yield len(envelope.elements)
    _require_end(body, at + 1)
    if has_batch:
        return
    envelope.ignored.clear()  # of one event, which is refused as a whole
    if len(body) > MESSAGE_BYTES_MAX:
        envelope.add_beginning(body, 0, len(body))
    else:
        envelope.elements.append(msgspec.Raw(body))
    yield 1


def _name_of(name: re.Match[bytes]) -> str:
    try:
        return _text.decode(name[1])
    except _BROKEN:
        raise _malformed("the name of a field is not a text", name.start()) from None


def _require_end(body: bytes, at: int) -> None:
    if body[at : at + _FIELD_BYTES_MAX].strip():
        raise _malformed("there is data after its end", at)


def _value_end(body: bytes, at: int) -> int | None:
    """Where the JSON value that begins here ends; None if it cannot be read in a short step."""
    for window in (_WINDOW_BYTES, _FIELD_BYTES_MAX):
        # A cut within a character, and what is not UTF-8, keep their lengths.
        text = body[at : at + window].decode("utf-8", "surrogateescape")
        try:
            _, end = _value.raw_decode(text)
        except (ValueError, RecursionError):
            continue
        # Otherwise it may be a number that continues after the window.
        if window == _FIELD_BYTES_MAX or text[end : end + 1] in _AFTER_VALUE:
            return at + len(text[:end].encode("utf-8", "surrogateescape"))
    return None


def _require_long(value: bytes, at: int) -> None:
    """Raises `InvalidEvent` if a value could not be read for another reason than its length or depth."""
    if len(value) <= _FIELD_BYTES_MAX:
        try:
            _value.raw_decode(value.decode("utf-8", "surrogateescape"))
        except RecursionError:
            pass
        except ValueError:
            raise _malformed("a field is not JSON", at) from None


def _after_blanks(body: bytes, at: int) -> int:
    return cast(re.Match[bytes], _BLANKS.match(body, at, at + _FIELD_BYTES_MAX)).end()


def _too_many_fields() -> InvalidEvent:
    return InvalidEvent(
        "invalid_event",
        f"there are more than {SHARED_FIELDS_MAX} fields beside the events",
        detail="Send events in the array batch. Nothing was stored.",
    )


def _malformed(what: str, at: int) -> InvalidEvent:
    return InvalidEvent(
        "invalid_json",
        f"the JSON is malformed: {what} (byte {at})",
        detail="Nothing was stored.",
    )
