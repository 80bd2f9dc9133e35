"""Bytes → rows and refusals. Pure: no I/O, no clock.

The client decides how long a body takes to parse, so a body is parsed in slices of `SLICE_BYTES`. Functions
for long bodies are generators: each step is short and yields the rows of the events that it found; counts and
the first refusals are added to the `Parsed` argument.

A valid slice costs one pass over its bytes: of the compiled reader (`plain`) if all of its events are written
plainly, else of the JSON decoder. Only an invalid slice is split into elements, so that its valid events are
accepted and each invalid one is named.

The place of a cut does not change what is accepted: a cut is right if and only if the bytes before it, with a
closing bracket, are a well-formed array. Usually every event begins with the same key, so a cut is tried
there first; otherwise brackets and strings are counted.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec

from nealytics.auth.grant import Grant
from nealytics.clickhouse.rowbinary import encode_row
from nealytics.event import (
    Event,
    InvalidEvent,
    Limits,
    Sent,
    decode_event,
    decode_events,
    freeze,
    id_of_key,
    is_json,
    is_utf8,
    last_fields,
    misspelt,
    shorten,
    split_array,
)
from nealytics.ingest.plain import PlainReader, plain_reader
from nealytics.quotas import Quotas

# Refusals that an answer lists; all are counted.
ERRORS_SHOWN_MAX = 100
# One step decodes this much at once. The slowest JSON (numbers of 20 digits) needs 0.2 ms per KiB.
SLICE_BYTES = 32 * 1024
# An event that is longer is decoded field by field, at 5 ms per MiB and step. With this limit, the longest
# step takes 11 ms.
EVENT_BYTES_MAX = 2 * 1024 * 1024
# Keeps a request's rows, and the work to free them, small. 100,000 of the smallest events take 6.6 MB.
EVENTS_MAX = 100_000
# The smallest valid event has 64 bytes. A body with more elements than that allows is no list of events, and
# is refused as soon as that is known.
_ELEMENT_BYTES_MIN = 32
_ELEMENTS_FREE = 1_000

# Elements between two yields.
_STEP_ELEMENTS = 256
# Far more than the decoder accepts: deeper elements need not be searched to their end.
_DEPTH_MAX = 100_000
# Bytes that are searched for brackets between two yields: at most 2 ms.
_WINDOW_BYTES = 8 * 1024

_BLANK = b" \t\r\n"
_QUOTE, _COMMA = b'",'
_OPENING = b"[{"
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_FIRST_KEY = re.compile(rb'[ \t\r\n]*+(\{[ \t\r\n]*+"[^"\\]{1,64}+"[ \t\r\n]*+:)')
# Marks that decide where an element ends. A string is one mark; group 1 matches if it is complete.
_MARKS = re.compile(rb'"(?:[^"\\]++|\\.)*+(")?+|[\[\]{},]', re.DOTALL)
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+(")?+', re.DOTALL)


class Refusal(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One event that was not accepted, as the answer shows it."""

    index: int
    field: str | None = None
    error: str
    code: str


class Parsed:
    """The result of a body with several events."""

    __slots__ = ("accepted", "elements", "errors", "keeps", "over_quota", "refused", "rejected")

    def __init__(self, *, keeps: bool = False) -> None:
        """`keeps`: also the events that were refused, for the dead letter."""
        self.keeps = keeps
        self.rejected: list[tuple[bytes, InvalidEvent]] = []  # as many as `errors`
        self.elements = 0
        self.accepted = 0
        self.errors: list[Refusal] = []  # the first `ERRORS_SHOWN_MAX`
        self.refused: Counter[str] = Counter()  # reason → events
        self.over_quota: InvalidEvent | None = None  # the first refusal for a quota

    @property
    def explains(self) -> bool:
        """Whether another refusal would be shown. If not, its message is not needed."""
        return len(self.errors) < ERRORS_SHOWN_MAX

    def refuse(
        self,
        index: int,
        error: InvalidEvent,
        element: Sent | msgspec.Raw | bytes,
        shown: InvalidEvent | None = None,
    ) -> None:
        """`shown`: what the answer says in place of `error`."""
        self.refused[error.reason] += 1
        # An event beyond a quota is valid: its client sends it again.
        if self.keeps and self.explains and error.reason != "quota_exceeded":
            self.rejected.append((_json_of(element), error))
        if error.reason == "quota_exceeded" and self.over_quota is None:
            self.over_quota = error
        if self.explains:
            self.errors.append(
                Refusal(index=index, field=error.field, error=(shown or error).message, code=error.reason)
            )


# Each step yields the rows of the events that it found, often none.
Steps = Iterator[list[bytes]]


class _Rows(list[bytes]):
    """The rows of a slice whose events were all accepted."""


# Of a slice: its elements, or the rows of all of them.
_Elements = Sequence[Sent | msgspec.Raw | bytes] | _Rows


def parse_event(body: bytes, received_ms: int, limits: Limits, grant: Grant) -> bytes:
    """The row of the one event of `body`, in one step: for bodies up to `SLICE_BYTES`, or longer ones whose
    fields were found before.

    Raises `InvalidEvent`.
    """
    require_utf8(body)
    plain = plain_reader(received_ms, limits, grant) if len(body) <= SLICE_BYTES else None
    if plain is not None and (rows := plain(body, b",")) is not None and len(rows) == 1:
        return rows[0]
    try:
        return encode_row(accept(decode_event(body), received_ms, limits, grant), received_ms)
    except InvalidEvent as error:
        raise misspelt(error, body) from None


def parse_event_in_steps(body: bytes, received_ms: int, limits: Limits, grant: Grant) -> Steps:
    """The one event of `body`, however long it is. Raises `InvalidEvent`."""
    if len(body) > EVENT_BYTES_MAX:
        raise _event_too_long(len(body))
    if len(body) > SLICE_BYTES:
        require_utf8(body)
        yield []
        body = last_fields(body)
        yield []
    yield [parse_event(body, received_ms, limits, grant)]


def parse_array(body: bytes, parsed: Parsed, received_ms: int, limits: Limits, grant: Grant) -> Steps:
    """The events of a JSON array. Raises `InvalidEvent` if it is not one well-formed array."""
    for elements in _slices_of_array(body, plain_reader(received_ms, limits, grant)):
        yield from _gather(elements, body, parsed, received_ms, limits, grant)


def parse_lines(body: bytes, parsed: Parsed, received_ms: int, limits: Limits, grant: Grant) -> Steps:
    """The events of NDJSON. Blank lines do not count; a bad line is one refusal."""
    for lines in _slices_of_lines(body, plain_reader(received_ms, limits, grant)):
        yield from _gather(lines, body, parsed, received_ms, limits, grant)


def parse_one_or_array(body: bytes, parsed: Parsed, received_ms: int, limits: Limits, grant: Grant) -> Steps:
    """An array, or one event as if it were alone in one. Raises `InvalidEvent` for malformed JSON."""
    if starts_array(body):
        yield from parse_array(body, parsed, received_ms, limits, grant)
        return
    parsed.elements = 1
    try:
        for rows in parse_event_in_steps(body, received_ms, limits, grant):
            parsed.accepted += len(rows)
            yield rows
    except InvalidEvent as error:
        if error.reason in ("invalid_json", "body_too_large"):
            raise
        parsed.refuse(0, error, body)


def parse_batch(
    body: bytes, parsed: Parsed, received_ms: int, limits: Limits, grant: Grant, *, lines: bool
) -> Steps:
    """The body of a `batch`: NDJSON if `lines`; otherwise an array, one event (which may have several lines),
    or NDJSON. Raises `InvalidEvent` if an array is malformed."""
    # A body that is longer than the longest event has several.
    if not lines and (starts_array(body) or (len(body) <= EVENT_BYTES_MAX and is_json(body))):
        yield []
        yield from parse_one_or_array(body, parsed, received_ms, limits, grant)
    else:
        yield from parse_lines(body, parsed, received_ms, limits, grant)


def parse_beacon(
    body: bytes, parsed: Parsed, received_ms: int, limits: Limits, grant: Grant, *, lines: bool
) -> Steps:
    """The body of a `beacon`: NDJSON if `lines` or if it can be nothing else; otherwise an array or one
    event."""
    if lines or is_lines(body):
        return parse_lines(body, parsed, received_ms, limits, grant)
    return parse_one_or_array(body, parsed, received_ms, limits, grant)


def is_lines(body: bytes) -> bool:
    """Whether `body` can only be NDJSON: several lines, and not one piece of JSON."""
    if first_byte(body) == b"[":
        return False
    if len(body) > EVENT_BYTES_MAX:
        return b"\n" in body
    return b"\n" in body.strip(_BLANK) and not is_json(body)


def starts_array(body: bytes) -> bool:
    return first_byte(body) == b"["


def first_byte(body: bytes) -> bytes:
    """The first one that is not blank; empty if there is none."""
    at = _blanks_end(body, 0)
    return body[at : at + 1]


def _gather(
    elements: _Elements, body: bytes, parsed: Parsed, received_ms: int, limits: Limits, grant: Grant
) -> Steps:
    """The rows of the events among `elements`, in steps; counts and explains the others in `parsed`."""
    first = parsed.elements
    parsed.elements += len(elements)
    require_plausible(parsed.elements, body)
    yield []
    if isinstance(elements, _Rows):
        parsed.accepted += len(elements)
        yield elements
        return
    explain = parsed.explains
    for start in range(0, len(elements), _STEP_ELEMENTS):
        rows: list[bytes] = []
        take = rows.append
        for index, sent in enumerate(elements[start : start + _STEP_ELEMENTS], start=first + start):
            element = sent
            try:
                if not isinstance(element, Sent):
                    element = bytes(element)
                    if len(element) > SLICE_BYTES:
                        for found in parse_event_in_steps(element, received_ms, limits, grant):
                            # At once: what is taken of a quota must be known to the caller.
                            rows += found
                            parsed.accepted += len(rows)
                            yield rows
                            rows = []
                            take = rows.append
                        continue
                    require_utf8(element)
                    element = decode_event(element, explain=explain)
                event = accept(element, received_ms, limits, grant, explain=explain)
                take(encode_row(event, received_ms))
            except InvalidEvent as error:
                # The first one tells enough. The dead letter groups events by the error itself.
                shown = None if parsed.errors else _with_meant(error, sent, body, index)
                parsed.refuse(index, error, sent, shown)
                explain = parsed.explains
        parsed.accepted += len(rows)
        yield rows


def _with_meant(
    error: InvalidEvent, sent: Sent | msgspec.Raw | bytes, body: bytes, index: int
) -> InvalidEvent:
    """The error, as `misspelt` has it. A decoded event has no unknown keys any more, so a long array is not
    searched for them."""
    if isinstance(sent, Sent):
        return misspelt(error, split_array(body)[index]) if len(body) <= SLICE_BYTES else error
    return misspelt(error, bytes(sent)) if len(sent) <= SLICE_BYTES else error


def accept(sent: Sent, received_ms: int, limits: Limits, grant: Grant, *, explain: bool = True) -> Event:
    """The event to store; takes it from the quota of its tenant. Raises `InvalidEvent`."""
    bind(sent, grant)
    event = freeze(sent, received_ms, limits, explain=explain)
    quotas = limits.quotas
    if quotas is not None and event.project_id in quotas.projects:
        _take(quotas, event, received_ms)
    if grant.digest and sent.event_id is not None:
        event.event_id = id_of_key(grant.digest, sent.event_id.bytes)
    return event


def _slices_of_lines(body: bytes, plain: PlainReader | None) -> Iterator[_Elements]:
    """The lines that are not blank, in slices. Of a line that is too long, enough to see that it is."""
    at = 0
    end = len(body)
    while at < end:
        cut = end
        if end - at > SLICE_BYTES:
            cut = body.rfind(b"\n", at, at + SLICE_BYTES) + 1 or body.find(b"\n", at) + 1 or end
        lines = body[at : min(cut, at + EVENT_BYTES_MAX + 1)]
        rows = (
            plain(lines, b"\n")
            if plain is not None and len(lines) <= SLICE_BYTES and is_utf8(lines)
            else None
        )
        yield _Rows(rows) if rows else [line for line in lines.split(b"\n") if line.strip(_BLANK)]
        at = cut


def _slices_of_array(body: bytes, plain: PlainReader | None) -> Iterator[_Elements]:
    """The elements of a JSON array, in slices; a slice of none is a pause."""
    at = _blanks_end(body, 0) + 1
    if body[at - 1 : at] != b"[":
        # Something else, or truncated: the decoder finds out.
        require_utf8(body[:SLICE_BYTES])
        split_array(body[:SLICE_BYTES])
        raise InvalidEvent("invalid_json", "the JSON is malformed: it is not an array")
    # Not in the whole body: 32 MiB of blanks take 60 ms.
    first = first_key(body, at)
    start = at
    while len(body) - at > SLICE_BYTES:
        before, cut = before_same_key(body, at, first)
        if before:
            try:
                elements = _decode(before, at, plain)
            except InvalidEvent:
                pass  # perhaps only this cut is wrong
            else:
                if elements:
                    yield elements
                    at = cut
                    continue
            yield ()
        try:
            for cut in find_cut(body, at):
                if cut:
                    break
                yield ()
        except InvalidEvent as error:
            if error.reason == "invalid_json":
                _explain_malformed(body, at)
            raise
        elements = _decode(body[at:cut], at, plain)
        closes = body[cut : cut + 1] == b"]"
        if not (closes or body[cut : cut + 1] == b",") or not (elements or (closes and at == start)):
            raise _malformed("an element is missing", at)
        yield elements
        at = cut + 1
        if closes:
            for after in range(at, len(body), SLICE_BYTES):
                if body[after : after + SLICE_BYTES].strip(_BLANK):
                    raise _malformed("there is data after its end", after)
                yield ()
            return
    rest = body[at:].rstrip(_BLANK)
    if rest.endswith(b"]"):
        elements = _decode(rest[:-1], at, plain)
    else:
        require_utf8(rest)
        elements = split_array(b"[" + rest, offset=at - 1)  # which reports the error in it
    if not elements and at != start:
        raise _malformed("an element is missing after the last comma", at)
    yield elements


def first_key(body: bytes, at: int) -> bytes | None:
    """How an object that begins at this byte begins, with its first key; None if there is none."""
    found = _FIRST_KEY.match(body, at, at + SLICE_BYTES)
    return found[1] if found is not None else None


def before_same_key(body: bytes, at: int, key: bytes | None) -> tuple[bytes, int]:
    """The elements from byte `at` to the last one within `SLICE_BYTES` that begins with this key, and where
    that one begins; empty if there is none. The cut is right only if they can be decoded."""
    cut = body.rfind(key, at + 1, at + SLICE_BYTES) if key is not None else -1
    before = body[at:cut].rstrip(_BLANK) if cut > at else b""
    return (before[:-1], cut) if before.endswith(b",") else (b"", cut)


def _explain_malformed(body: bytes, at: int) -> None:
    """Raises `InvalidEvent`, with the place, if the first bytes from `at` on are malformed."""
    try:
        split_array(b"[" + body[at : at + SLICE_BYTES], offset=at - 1)
    except InvalidEvent as error:
        if "(byte " in error.message:
            raise


def _decode(elements: bytes, at: int, plain: PlainReader | None) -> _Elements:
    """The elements in these bytes, which begin at byte `at` of the body. Raises `InvalidEvent` if they are
    not well-formed JSON."""
    require_utf8(elements)
    if len(elements) <= SLICE_BYTES:
        if plain is not None and (rows := plain(elements, b",")) is not None:
            return _Rows(rows)
        try:
            return decode_events(b"[%b]" % elements)
        except InvalidEvent:
            pass  # perhaps only some of them are wrong
    return split_array(b"[%b]" % elements, offset=at - 1)


def find_cut(
    body: bytes, start: int, slice_bytes: int = SLICE_BYTES, *, event_bytes_max: int = EVENT_BYTES_MAX
) -> Iterator[int]:
    """Where a slice that begins at `start` ends: the last comma between elements within `slice_bytes`, or the
    first one after a longer element; or the array's closing bracket. A 0 is a pause.

    Correct for every well-formed array; a slice of a malformed one cannot be decoded. Raises
    `InvalidEvent` if the array has no end or an element is too long.
    """
    depth = 0
    comma = 0
    in_string = False
    at = start
    end = len(body)
    while at < end:
        window = min(at + _WINDOW_BYTES, end)
        if in_string:
            rest = cast(re.Match[bytes], _STRING_REST.match(body, at, window))
            in_string = rest.lastindex is None
            if in_string and window == end:
                break
            at = rest.end()
        else:
            marks = _MARKS.finditer(body, at, window)
            at = window
            for mark in marks:
                position = mark.start()
                kind = body[position]
                if kind == _QUOTE:
                    if mark.lastindex is None:  # it continues after the window
                        in_string = True
                        at = mark.end()
                        break
                elif kind == _COMMA:
                    if not depth:
                        if position - start > slice_bytes:
                            yield comma or position
                            return
                        comma = position
                elif kind in _OPENING:
                    depth += 1
                    if depth > _DEPTH_MAX:
                        raise _malformed("it is nested too deeply", position)
                elif depth:
                    depth -= 1
                else:
                    yield comma if comma and position - start > slice_bytes else position
                    return
        if comma and at - start > slice_bytes:
            yield comma
            return
        if at - start > event_bytes_max:
            raise _event_too_long(at - start)
        yield 0
    raise _malformed("it ends too early", end)


def _blanks_end(body: bytes, at: int) -> int:
    """The first byte from `at` on that is not blank; of very many blanks, one of them."""
    return cast(re.Match[bytes], _BLANKS.match(body, at, at + SLICE_BYTES)).end()


def _json_of(element: Sent | msgspec.Raw | bytes) -> bytes:
    """An event as it was sent; unknown fields may be missing."""
    if isinstance(element, Sent):
        fields = {
            field.encode_name: getattr(element, field.name)
            for field in msgspec.structs.fields(Sent)
            if getattr(element, field.name) != field.default
        }
        return msgspec.json.encode(fields)
    return bytes(element)


def require_utf8(body: bytes) -> None:
    """Raises `InvalidEvent` if `body` is not UTF-8."""
    if not is_utf8(body):
        raise InvalidEvent("invalid_json", "the JSON is not UTF-8", detail="Send JSON in UTF-8.")


def require_plausible(elements: int, body: bytes) -> None:
    """Raises `InvalidEvent` if a body cannot have so many events."""
    if elements > _ELEMENTS_FREE + len(body) // _ELEMENT_BYTES_MIN:
        raise InvalidEvent(
            "invalid_event",
            f"{elements} elements or more in {len(body)} bytes are too small to be events",
            detail="Send an array of objects, each with projectId, tenantId, sessionId and eventType.",
        )
    if elements > EVENTS_MAX:
        raise InvalidEvent(
            "body_too_large",
            f"the body has more than {EVENTS_MAX} events",
            detail="Send fewer events per request. Nothing was stored.",
        )


def _event_too_long(size: int) -> InvalidEvent:
    return InvalidEvent(
        "body_too_large",
        f"an event has {size} bytes of JSON or more, at most {EVENT_BYTES_MAX} are accepted",
        detail="Send less data per event. Send several events as an array, or one per line.",
    )


def _malformed(what: str, at: int) -> InvalidEvent:
    return InvalidEvent(
        "invalid_json",
        f"the JSON is malformed: {what} (byte {at})",
        detail="Send one well-formed array. Nothing was stored.",
    )


def bind(sent: Sent, grant: Grant) -> None:
    """Adds what the event omits because its key or token fixes it. Raises `InvalidEvent` for other values."""
    if grant.project and sent.project_id != grant.project:
        if sent.project_id:
            raise _forbidden("projectId", sent.project_id, grant.project, grant)
        sent.project_id = grant.project
    if grant.tenant and sent.tenant_id != grant.tenant:
        if sent.tenant_id:
            raise _forbidden("tenantId", sent.tenant_id, grant.tenant, grant)
        sent.tenant_id = grant.tenant
    if grant.user and sent.user_id != grant.user:
        if sent.user_id:
            raise _forbidden("userId", sent.user_id, grant.user, grant)
        sent.user_id = grant.user


def _forbidden(field: str, value: str, bound: str, grant: Grant) -> InvalidEvent:
    what = "token" if grant.kind == "token" else "key"
    return InvalidEvent(
        "forbidden",
        f'{field} is "{shorten(value)}", which this {what} must not write',
        field,
        detail=f'The {what} is bound to "{shorten(bound)}". Omit the field, or send this value.',
    )


def _take(quotas: Quotas, event: Event, received_ms: int) -> None:
    """Counts an event, or raises `InvalidEvent` if its tenant has used its quota."""
    spent = quotas.events.take(event.project_id, event.tenant_id, received_ms)
    if spent is not None:
        raise InvalidEvent(
            "quota_exceeded",
            spent.message,
            detail=spent.detail,
            retry_after_s=spent.retry_after_s(received_ms),
        )
