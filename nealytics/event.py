"""One event: how it is read from JSON, when it is refused, and where its identity is fixed.

A body is decoded into `Sent`, the wire format, and frozen into `Event`, which is stored. `freeze` decides the
identity `(projectId, tenantId, eventType, timestamp, eventId)`, and it never changes afterwards: it is the
sorting key in ClickHouse, so a repeated request counts once if its identity is the same.

    eventId     the client's UUID, or a UUIDv7 generated here. With a browser's key, which is public, a hash
                of the key and the client's UUID (`id_of_key`); the time in a UUIDv7 is read before that
    timestamp   the client's: ISO 8601 (`timestamps`) or, as a number, epoch milliseconds. No zone means UTC;
                finer than milliseconds is cut off (downwards). Without a timestamp: the time inside a
                UUIDv7 `eventId`, else the time this engine received it
    metadata    `metadataJson` as it is, any text; or, when that is absent, the `metadata` object, stored
                byte for byte as it was written. With neither: `{}`

Nothing is clamped or corrected, because that would change the identity: an invalid value is refused, with the
field and the value. Of a repeated key the last value counts. Unknown fields are ignored.

Callers must check that the bytes are UTF-8 (`is_utf8`) before they decode: msgspec checks the strings that it
returns, but neither raw metadata nor the fields that it skips.
"""

import os
import re
from difflib import get_close_matches
from hashlib import sha256
from itertools import islice
from math import floor, inf
from random import Random
from uuid import UUID

import msgspec

from nealytics.config import IngestConfig, RetentionRule
from nealytics.errors import NealyticsError
from nealytics.quotas import Quotas
from nealytics.retention import Rules, described, expired_rule
from nealytics.timestamps import DAY_MS, epoch_ms, iso_utc

_HOUR_MS = 3_600_000
_ABSENT = msgspec.Raw()
_NULL = b"null"
_SHOWN_CHARS_MAX = 64
_KEYS_COMPARED_MAX = 64
_ID_DOMAIN = b"nealytics: eventId of a browser key\0"


Timestamp = str | int | float | None


class Sent(msgspec.Struct, rename="camel", gc=False):
    """An event as the client wrote it. `gc=False`: it holds no containers, so no cycle can run through it."""

    project_id: str = ""
    tenant_id: str = ""
    session_id: str = ""
    event_type: str = ""
    user_id: str | None = None
    item_id: str | None = None
    metadata_json: str | None = None
    metadata: msgspec.Raw = _ABSENT
    event_id: UUID | None = None
    timestamp: msgspec.Raw = _ABSENT  # a `Timestamp`; only the last one of an event is decoded


class _Undecoded(msgspec.Struct, rename="camel", gc=False):
    """The fields of `Sent`, undecoded, the last of each. A body may contain a field many times, and skipping
    a value is always fast, while decoding one may be slow."""

    project_id: msgspec.Raw = _ABSENT
    tenant_id: msgspec.Raw = _ABSENT
    session_id: msgspec.Raw = _ABSENT
    event_type: msgspec.Raw = _ABSENT
    user_id: msgspec.Raw = _ABSENT
    item_id: msgspec.Raw = _ABSENT
    metadata_json: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT
    event_id: msgspec.Raw = _ABSENT
    timestamp: msgspec.Raw = _ABSENT


class Event(msgspec.Struct, gc=False):
    """An accepted event. All its values are final."""

    event_id: int  # the UUID's 128 bits
    project_id: str
    tenant_id: str
    session_id: str
    user_id: str | None
    event_type: str
    item_id: str | None
    metadata_json: bytes  # UTF-8
    timestamp_ms: int


class Limits(msgspec.Struct, frozen=True):
    """The limits of an event. Those of its timestamp are relative to the time of receipt."""

    identifier_chars_max: int
    item_id_chars_max: int
    age_ms_max: int  # 0 = any age since 1970
    future_ms_max: int
    metadata_bytes_max: int = 0  # 0 = any size
    rules: Rules | None = None  # of `[[retention]]`, beside `age_ms_max`
    quotas: Quotas | None = None  # applied after the event is found valid, by the parser

    @classmethod
    def of(
        cls,
        config: IngestConfig,
        retention_days: float,
        rules: Rules | None = None,
        quotas: Quotas | None = None,
    ) -> "Limits":
        """`retention_days` of 0 or infinity allows any age."""
        bounded = 0 < retention_days < inf
        return cls(
            identifier_chars_max=config.identifier_chars_max,
            item_id_chars_max=config.item_id_chars_max,
            age_ms_max=int(retention_days * DAY_MS) if bounded else 0,
            future_ms_max=config.future_hours_max * _HOUR_MS,
            metadata_bytes_max=config.metadata_bytes_max,
            rules=rules or None,
            quotas=quotas,
        )

    def oldest_ms(self, received_ms: int) -> int:
        # ClickHouse's TTL counts seconds since 1970; an older timestamp would wrap, and ClickHouse would
        # delete the event silently.
        return max(0, received_ms - self.age_ms_max) if self.age_ms_max else 0


class InvalidEvent(NealyticsError):
    """An event or a body that is refused. `reason` is one of `metrics.REFUSED_REASONS`."""

    def __init__(
        self,
        reason: str,
        message: str,
        field: str | None = None,
        *,
        detail: str = "",
        retry_after_s: int = 0,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.detail = detail  # what to do about it
        self.retry_after_s = retry_after_s  # 0 = a retry would be refused again


class MissingField(InvalidEvent):
    """A required field is missing or empty."""

    field: str

    def __init__(self, field: str, hint: str = "") -> None:
        super().__init__(
            "invalid_event",
            f"{field} is missing or empty{hint}",
            field,
            detail="projectId, tenantId, sessionId and eventType are required.",
        )


# Ids must be unique, not secret. The kernel seeds this once per process, which is 20 times cheaper than a
# system call for each id. Workers are copies of one process, and each needs numbers of its own.
_random = Random()
os.register_at_fork(after_in_child=_random.seed)
_random_bits = _random.getrandbits

_one = msgspec.json.Decoder(Sent)
_timestamp = msgspec.json.Decoder(Timestamp)
_FAR_MS = 2**53  # beyond any time that is accepted
_many = msgspec.json.Decoder(list[Sent])
_pieces = msgspec.json.Decoder(list[msgspec.Raw])
_anything = msgspec.json.Decoder(msgspec.Raw)
_fields = msgspec.json.Decoder(_Undecoded)

_ATTRIBUTES = {field.encode_name: field.name for field in msgspec.structs.fields(_Undecoded)}
_NAMES_IN_JSON = tuple((attribute, name.encode()) for name, attribute in _ATTRIBUTES.items())

# Raised by decoding: bad JSON or a wrong type; a string that is not UTF-8; nesting that is too deep.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_text(value: str) -> bool:
    """Whether it can be stored. Bytes of a URL that are not UTF-8 arrive as lone surrogates, which cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_json(body: bytes) -> bool:
    """Whether `body` is one JSON value of any type."""
    try:
        _anything.decode(body)
    except _UNREADABLE:
        return False
    return True


def decode_event(body: bytes, *, explain: bool = True) -> Sent:
    """The one event in `body`. Raises `InvalidEvent` with the wrong field, or because this is not JSON;
    without `explain`, only with the reason."""
    try:
        return _one.decode(body)
    except _UNREADABLE as error:
        raise _explained(error, body) if explain else InvalidEvent(_reason_of(error), "") from None


def last_fields(body: bytes) -> bytes:
    """The event in `body` with each field once, and without unknown fields.

    For long bodies: decoding the result takes less time than finding it. Raises `InvalidEvent` if `body` is
    not a JSON object.
    """
    try:
        fields = _fields.decode(body)
    except _UNREADABLE as error:
        raise _explained(error, b"") from None
    values = ((name, getattr(fields, attribute)) for attribute, name in _NAMES_IN_JSON)
    return b"{%b}" % b",".join(b'"%b":%b' % (name, raw) for name, raw in values if raw is not _ABSENT)


def decode_events(body: bytes) -> list[Sent]:
    """All events of a JSON array, in one pass.

    Raises `InvalidEvent` if any event is wrong; `split_array` then separates the good from the bad.
    """
    try:
        return _many.decode(body)
    except _UNREADABLE as error:
        raise _explained(error, b"") from None


def split_array(body: bytes, *, offset: int = 0) -> list[msgspec.Raw]:
    """The elements of a JSON array, undecoded. Raises `InvalidEvent` if `body` is not a well-formed array;
    `offset` is the position of `body` within the client's body."""
    try:
        return _pieces.decode(body)
    except _UNREADABLE as error:
        raise _explained(error, b"", offset) from None


def freeze(sent: Sent, received_ms: int, limits: Limits, *, explain: bool = True) -> Event:
    """The event to store. Raises `InvalidEvent` with field and value if a limit is exceeded; without
    `explain`, possibly only with the reason."""
    project_id = sent.project_id
    tenant_id = sent.tenant_id
    session_id = sent.session_id
    event_type = sent.event_type
    user_id = sent.user_id or None
    item_id = sent.item_id or None
    most = limits.identifier_chars_max
    if not (
        0 < len(project_id) <= most
        and 0 < len(tenant_id) <= most
        and 0 < len(session_id) <= most
        and 0 < len(event_type) <= most
        and (user_id is None or len(user_id) <= most)
        and (item_id is None or len(item_id) <= limits.item_id_chars_max)
    ):
        raise _identifier_problem(sent, limits) if explain else InvalidEvent("invalid_event", "")

    if sent.metadata_json:
        metadata = sent.metadata_json.encode()
    elif (raw := sent.metadata) is _ABSENT or (metadata := bytes(raw)) == _NULL:
        metadata = b"{}"
    elif metadata[0] != 0x7B:  # {
        raise InvalidEvent(
            "invalid_event",
            f"metadata is {_shown(metadata)}, not a JSON object",
            "metadata",
            detail="Send a string as metadataJson; wrap any other value in an object.",
        )
    if 0 < limits.metadata_bytes_max < len(metadata):
        raise _metadata_too_large(sent, len(metadata), limits)

    received_id = sent.event_id
    event_id = received_id.int if received_id is not None else new_event_id(received_ms)
    timestamp = _decode_timestamp(sent.timestamp, explain=explain)
    if timestamp is None:
        timestamp_ms = event_id >> 80 if _is_uuid7(event_id) else received_ms
    elif isinstance(timestamp, str):
        try:
            timestamp_ms = epoch_ms(timestamp)
        except ValueError:
            raise _timestamp_problem(_quoted(timestamp)) from None
    else:
        timestamp_ms = floor(timestamp)
    if not limits.oldest_ms(received_ms) <= timestamp_ms <= received_ms + limits.future_ms_max:
        if not explain:
            raise InvalidEvent("outside_time_window", "")
        raise _window_problem(sent, timestamp_ms, received_ms, limits)
    if limits.rules is not None:
        rule = expired_rule(limits.rules, project_id, tenant_id, event_type, received_ms - timestamp_ms)
        if rule is not None:
            raise _rule_problem(sent, timestamp_ms, received_ms, rule)

    return Event(
        event_id, project_id, tenant_id, session_id, user_id, event_type, item_id, metadata, timestamp_ms
    )


def new_event_id(now_ms: int) -> int:
    """A UUIDv7: 48 bits of time and 74 random bits."""
    return now_ms << 80 | 7 << 76 | _random_bits(12) << 64 | 0b10 << 62 | _random_bits(62)


def id_of_key(key_digest: bytes, sent_id: bytes) -> int:
    """The stored id of an event that a public key sent as `sent_id`: a UUIDv8.

    The same key and id give the same result, so a retry is the same event. Nobody can compute the sent id
    from the stored one, or an id that is stored under the id of another key's event: that would be a preimage
    of 122 bits of SHA-256. So a client that knows the key, and can even read stored events, can only replace
    events whose sent id it knows.
    """
    digest = sha256(_ID_DOMAIN + key_digest + sent_id).digest()
    number = int.from_bytes(digest[:16], "big")
    return number & ~(0xF << 76) & ~(0b11 << 62) | 8 << 76 | 0b10 << 62


def _time(timestamp_ms: int) -> str:
    """For messages; a number outside of the calendar stays a number."""
    try:
        return iso_utc(timestamp_ms)
    except OverflowError:
        return f"{shorten(str(timestamp_ms))} ms"


def shorten(text: str) -> str:
    """`text`, cut to the length that a message may have."""
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"


def _is_uuid7(event_id: int) -> bool:
    return event_id >> 76 & 0xF == 7 and event_id >> 62 & 0b11 == 0b10


def has_timestamp(sent: Sent) -> bool:
    return sent.timestamp is not _ABSENT and bytes(sent.timestamp) != _NULL


def said_ms(raw: msgspec.Raw | None) -> int | None:
    """The time that an event names; None if it names none that can be read."""
    if raw is None:
        return None
    try:
        timestamp: Timestamp = _timestamp.decode(raw)
        found = epoch_ms(timestamp) if isinstance(timestamp, str) else floor(timestamp or 0)
    except (*_UNREADABLE, ValueError, OverflowError):
        return None
    return None if timestamp is None else max(-_FAR_MS, min(found, _FAR_MS))


def said_name(raw: msgspec.Raw) -> str:
    """The name in a field: a text, or a number as the text as which it was written, although events may not
    have one; empty for null. Raises `msgspec.MsgspecError` or `UnicodeDecodeError` for anything else."""
    value = msgspec.json.decode(raw, type=str | int | float | None)
    return bytes(raw).decode() if isinstance(value, int | float) else value or ""


def _decode_timestamp(raw: msgspec.Raw, *, explain: bool) -> Timestamp:
    # A number of many digits takes 9 µs, and an event may repeat the field as often as its size allows, so
    # only the last one is decoded. That adds 0.05 µs to an event.
    if raw is _ABSENT:
        return None
    try:
        timestamp: Timestamp = _timestamp.decode(raw)
        return timestamp
    except _UNREADABLE:
        shown = _shown(bytes(raw)) if explain else ""
    raise _timestamp_problem(shown)


def _timestamp_problem(shown: str) -> InvalidEvent:
    return InvalidEvent(
        "invalid_event",
        f"timestamp is {shown}; it must be an ISO 8601 string or epoch milliseconds",
        "timestamp",
        detail="Write it like 2030-01-31T12:00:00.000Z, or omit it.",
    )


def _identifier_problem(sent: Sent, limits: Limits) -> InvalidEvent:
    values: tuple[tuple[str, str | None, bool, int], ...] = (
        ("projectId", sent.project_id, True, limits.identifier_chars_max),
        ("tenantId", sent.tenant_id, True, limits.identifier_chars_max),
        ("sessionId", sent.session_id, True, limits.identifier_chars_max),
        ("eventType", sent.event_type, True, limits.identifier_chars_max),
        ("userId", sent.user_id, False, limits.identifier_chars_max),
        ("itemId", sent.item_id, False, limits.item_id_chars_max),
    )
    for name, value, required, most in values:
        setting = "item_id_chars_max" if name == "itemId" else "identifier_chars_max"
        if required and not value:
            return MissingField(name)
        if value and len(value) > most:
            return InvalidEvent(
                "invalid_event",
                f"{name} has {len(value)} characters, at most {most} are accepted: {_quoted(value)}",
                name,
                detail=f"Shorten it, or raise ingest.{setting}.",
            )
    raise AssertionError("every identifier is within its limits")


def misspelt(error: InvalidEvent, body: bytes) -> InvalidEvent:
    """`error`; that of a missing field with the key of the event `body` that seems to be meant."""
    if not isinstance(error, MissingField):
        return error
    try:
        keys = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except _UNREADABLE:
        return error
    unknown = [key for key in islice(keys, _KEYS_COMPARED_MAX) if key not in _ATTRIBUTES]
    plain = {key.replace("_", "").replace("-", "").lower()[:_SHOWN_CHARS_MAX]: key for key in unknown}
    near = get_close_matches(error.field.lower(), plain, 1, 0.7)
    if not near:
        return error
    return MissingField(error.field, f'; write "{error.field}" in place of {_quoted(plain[near[0]])}')


def _metadata_too_large(sent: Sent, size: int, limits: Limits) -> InvalidEvent:
    field = "metadataJson" if sent.metadata_json else "metadata"
    return InvalidEvent(
        "invalid_event",
        f"{field} has {size} bytes, at most {limits.metadata_bytes_max} are accepted",
        field,
        detail="Send less data, or store it elsewhere and send its address; or raise "
        "ingest.metadata_bytes_max.",
    )


def _window_problem(sent: Sent, timestamp_ms: int, received_ms: int, limits: Limits) -> InvalidEvent:
    oldest = _time(limits.oldest_ms(received_ms))
    newest = _time(received_ms + limits.future_ms_max)
    field, what = _what_time(sent, timestamp_ms)
    return InvalidEvent(
        "outside_time_window",
        f"{what}; timestamps from {oldest} to {newest} are accepted",
        field,
        detail="Check the client's clock, and that a number is in milliseconds. The accepted window goes "
        "from clickhouse.retention_days ago to ingest.future_hours_max ahead.",
    )


_PATH = re.compile(r" - at `\$(?:\.(\w+))?.*`$", re.DOTALL)
_NAMES = {
    "str": "a string", "int": "a number", "float": "a number", "bool": "true or false", "null": "null",
    "object": "an object", "array": "an array",
}  # fmt: skip


def _reason_of(error: Exception) -> str:
    return "invalid_event" if isinstance(error, msgspec.ValidationError) else "invalid_json"


def _explained(error: Exception, body: bytes, offset: int = 0) -> InvalidEvent:
    """The error of a failed decode in our words. Only a refused event is decoded a second time for it."""
    if isinstance(error, RecursionError):
        return InvalidEvent("invalid_json", "the JSON is nested too deeply", detail="Flatten the metadata.")
    if not isinstance(error, msgspec.ValidationError):
        is_empty = not (offset or body.strip())
        problem = "the body is empty" if is_empty else f"the JSON is malformed: {_reason(error, offset)}"
        return InvalidEvent(
            "invalid_json",
            problem,
            detail="Send one JSON value in UTF-8, without BOM, comments, NaN or single surrogates.",
        )
    text = str(error)
    path = _PATH.search(text)
    field = path and path.group(1)
    if not field:
        got = re.search(r"got `(\w+)`", text)
        kind = _NAMES.get(got[1], got[1]) if got else "something else"
        return InvalidEvent(
            "invalid_event",
            f"the event is {kind}, not a JSON object",
            detail="Send an object with projectId, tenantId, sessionId and eventType.",
        )
    value = "?"
    try:
        value = _shown(bytes(getattr(_fields.decode(body), _ATTRIBUTES[field])))
    except (*_UNREADABLE, KeyError):
        pass  # `decode_events` has no single event to read, and its message is never shown
    wanted = "a UUID" if field == "eventId" else "a string"
    return InvalidEvent(
        "invalid_event",
        f"{field} is {value}; it must be {wanted}",
        field,
        detail="docs/api.md lists the fields of an event and their types.",
    )


def _shown(raw: bytes) -> str:
    return shorten(raw[: 4 * _SHOWN_CHARS_MAX].decode(errors="replace"))


def _quoted(text: str) -> str:
    return f'"{shorten(text)}"'


def _reason(error: Exception, offset: int) -> str:
    text = str(error).removeprefix("JSON is malformed: ")
    if offset:
        text = re.sub(r"\(byte (\d+)\)$", lambda byte: f"(byte {int(byte[1]) + offset})", text)
    return text[:1].lower() + text[1:]


def _rule_problem(sent: Sent, timestamp_ms: int, received_ms: int, rule: RetentionRule) -> InvalidEvent:
    field, what = _what_time(sent, timestamp_ms)
    oldest = _time(received_ms - rule.days * DAY_MS)
    return InvalidEvent(
        "outside_time_window",
        f"{what}; {described(rule)} keeps such events for {rule.days} days, since {oldest}",
        field,
        detail="It would be deleted soon. For the operator: the rule is in the server's configuration.",
    )


def _what_time(sent: Sent, timestamp_ms: int) -> tuple[str, str]:
    """The field that gave an event its time, and a sentence about it."""
    if sent.event_id is not None and not has_timestamp(sent):
        return (
            "eventId",
            f"there is no timestamp, and the time in the UUIDv7 eventId is {_time(timestamp_ms)}",
        )
    return "timestamp", f"timestamp is {_time(timestamp_ms)}"
