"""Bytes → events and refusals. Pure: no I/O, no clock.

A good array costs one pass over the bytes. Only when something in it is wrong is it taken apart, so that the
good events are kept and each bad one is named.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from nealytics.auth.api_keys import KeyGrant
from nealytics.event import (
    Event,
    InvalidEvent,
    Limits,
    Sent,
    decode_event,
    decode_events,
    freeze,
    is_json,
    is_utf8,
    shorten,
    split_array,
)

# What an answer names; all are counted.
ERRORS_SHOWN_MAX = 100
# The smallest event that can be accepted is 64 bytes. A body with more elements than that is no list of
# events; naming what is wrong with each of a million of them would hold up everybody else.
_ELEMENT_BYTES_MIN = 32
_ELEMENTS_FREE = 1_000

_BLANK = b" \t\r\n"


class Refusal(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One event that was not taken, as the answer shows it."""

    index: int
    field: str | None = None
    error: str


class Parsed:
    """What a body with several events came to."""

    __slots__ = ("errors", "events", "refused")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.errors: list[Refusal] = []  # the first `ERRORS_SHOWN_MAX`
        self.refused: Counter[str] = Counter()  # reason → events

    def refuse(self, index: int, error: InvalidEvent) -> None:
        self.refused[error.reason] += 1
        if len(self.errors) < ERRORS_SHOWN_MAX:
            self.errors.append(Refusal(index=index, field=error.field, error=error.message))


def parse_event(body: bytes, received_ms: int, limits: Limits, grant: KeyGrant) -> Event:
    """The one event of `body`. Raises `InvalidEvent`."""
    _require_utf8(body)
    event = freeze(decode_event(body), received_ms, limits)
    if not grant.allows(event.project_id, event.tenant_id):
        raise _forbidden(event, grant)
    return event


def parse_array(body: bytes, received_ms: int, limits: Limits, grant: KeyGrant) -> Parsed:
    """The events of a JSON array. Raises `InvalidEvent` if it is not one well-formed array."""
    _require_utf8(body)
    elements: list[Sent] | list[msgspec.Raw]
    try:
        elements = decode_events(body)
    except InvalidEvent:
        elements = split_array(body)
    _require_plausible(len(elements), body)
    return _gather(elements, received_ms, limits, grant)


def parse_lines(body: bytes, received_ms: int, limits: Limits, grant: KeyGrant) -> Parsed:
    """The events of NDJSON. Blank lines do not count; a bad line is one refusal."""
    lines = [line for line in body.split(b"\n") if line.strip(_BLANK)]
    _require_plausible(len(lines), body)
    return _gather(lines, received_ms, limits, grant)


def parse_one_or_array(body: bytes, received_ms: int, limits: Limits, grant: KeyGrant) -> Parsed:
    """An array, or one event as if it were alone in one. Raises `InvalidEvent` for malformed JSON."""
    if starts_array(body):
        return parse_array(body, received_ms, limits, grant)
    parsed = Parsed()
    try:
        parsed.events.append(parse_event(body, received_ms, limits, grant))
    except InvalidEvent as error:
        if error.reason == "invalid_json":
            raise
        parsed.refuse(0, error)
    return parsed


def parse_batch(body: bytes, received_ms: int, limits: Limits, grant: KeyGrant, *, lines: bool) -> Parsed:
    """What `batch` takes: NDJSON if `lines` says so; else what it looks like: an array, one event (which may
    be spread over several lines), or else NDJSON. Raises `InvalidEvent` if an array is malformed."""
    if lines or not (starts_array(body) or is_json(body)):
        return parse_lines(body, received_ms, limits, grant)
    return parse_one_or_array(body, received_ms, limits, grant)


def is_lines(body: bytes) -> bool:
    """Whether `body` can only be NDJSON: several lines, and not one piece of JSON."""
    return not starts_array(body) and b"\n" in body.strip(_BLANK) and not is_json(body)


def starts_array(body: bytes) -> bool:
    return body.lstrip(_BLANK)[:1] == b"["


def _gather(
    elements: Sequence[Sent | msgspec.Raw | bytes], received_ms: int, limits: Limits, grant: KeyGrant
) -> Parsed:
    parsed = Parsed()
    take = parsed.events.append
    bound = bool(grant.project or grant.tenant)
    for index, element in enumerate(elements):
        try:
            if not isinstance(element, Sent):
                if isinstance(element, bytes):
                    _require_utf8(element)
                element = decode_event(element)
            event = freeze(element, received_ms, limits)
            if bound and not grant.allows(event.project_id, event.tenant_id):
                raise _forbidden(event, grant)
            take(event)
        except InvalidEvent as error:
            parsed.refuse(index, error)
    return parsed


def _require_utf8(body: bytes) -> None:
    if not is_utf8(body):
        raise InvalidEvent("invalid_json", "the JSON is not UTF-8", detail="Send JSON in UTF-8.")


def _require_plausible(elements: int, body: bytes) -> None:
    if elements > _ELEMENTS_FREE + len(body) // _ELEMENT_BYTES_MIN:
        raise InvalidEvent(
            "invalid_event",
            f"{elements} elements in {len(body)} bytes are too small to be events",
            detail="Send an array of objects, each with projectId, tenantId, sessionId and eventType.",
        )


def _forbidden(event: Event, grant: KeyGrant) -> InvalidEvent:
    if grant.project and grant.project != event.project_id:
        field, value, bound = "projectId", event.project_id, grant.project
    else:
        field, value, bound = "tenantId", event.tenant_id, grant.tenant
    return InvalidEvent(
        "forbidden",
        f'{field} is "{shorten(value)}", which this key may not write',
        field,
        detail=f'The key is bound to "{bound}".',
    )
