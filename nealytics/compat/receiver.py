"""The handler of a vendor's API: key, permits, body, events, log, answer.

The answer to a request whose body could be read is 200 with JSON, whatever its events are: an SDK would send
the good ones again with the bad ones, or give up. What is not accepted goes to the dead letter.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from nealytics.auth.grant import Grant
from nealytics.auth.writers import Writers
from nealytics.clickhouse.rowbinary import encode_row
from nealytics.commit.rejected import RejectedEvent, RejectedEvents
from nealytics.compat import forms
from nealytics.compat.envelope import MESSAGE_BYTES_MAX, Envelope, Fields, fields_of, read
from nealytics.compat.message import Draft, Paths, add_shared, child, event_of, require_size, text, whose
from nealytics.config import Config
from nealytics.errors import LogError, Refused
from nealytics.event import InvalidEvent
from nealytics.ingest.admission import not_admitted
from nealytics.ingest.body import BodyReader, join
from nealytics.ingest.handlers import refused_by
from nealytics.ingest.intake import Bill, Intake
from nealytics.ingest.parser import SLICE_BYTES, Parsed, Refusal
from nealytics.ingest.permits import NOBODY

_STEP_EVENTS = 32
# What an element costs at least, however short it is: refusing it takes as long as reading so much.
_ELEMENT_BYTES_MIN = 1024
# Fields with the name of a key that are searched for one: finding it must not take long.
_KEYS_MAX = 100
# Of one request: what stands beside a body's events is kept with each of them, and a body may have thousands.
_SHARED_BYTES_MAX = 4 * 1024 * 1024
# Also one whose end is missing: of a long event, only the beginning is there.
_KEY = re.compile(rb'[ \t\r\n]*+:[ \t\r\n]*+"([^"\\]++)')
# The key as a property of an event.
_KEY_PROPERTY = "token"


class Api(NamedTuple):
    """What differs between the vendors."""

    name: str
    routes: Mapping[str, str]  # path → the type of its messages; empty = each says its own
    key_fields: tuple[str, ...]  # of a body, or of its first event
    shared: tuple[str, ...]  # fields beside the events of a body that belong to each of them
    draft: Callable[[msgspec.Raw, Fields, str], Draft]
    answer: Mapping[str, object]  # what the SDK looks for in the answer
    busy_status: int = 429  # beyond a rate limit


class Receiver:
    """`routes`, all of them POST."""

    def __init__(
        self,
        api: Api,
        config: Config,
        *,
        body_bytes_max: int,
        tenants: Paths,
        writers: Writers,
        intake: Intake,
        rejected: RejectedEvents,
    ) -> None:
        self._api = api
        self._tenants = tenants
        self._writers = writers
        self._intake = intake
        self._rejected = rejected
        self._bodies = BodyReader(
            config.ingest,
            config.server,
            intake.slices,
            bytes_max=body_bytes_max,
            setting=f"compat.{api.name}_body_bytes_max",
            finds_gzip=True,
        )

    def routes(self) -> dict[str, Handler]:
        return {path: self._intake.counted(self._handler(kind)) for path, kind in self._api.routes.items()}

    def _handler(self, kind: str) -> Handler:
        async def receive(request: web.Request) -> web.Response:
            key = key_in_head(request.headers)
            grant = await self._grant(key) if key else NOBODY
            try:
                with self._intake.bill(request, grant) as bill:
                    return await self._receive(request, kind, grant, bill)
            except InvalidEvent as error:
                raise refused_by(error) from error
            except Refused as refused:
                if refused.status == 429:
                    refused.status = self._api.busy_status
                raise

        return receive

    async def _receive(self, request: web.Request, kind: str, grant: Grant, bill: Bill) -> web.Response:
        intake = self._intake
        body = await self._json(request, bill)
        envelope = Envelope()
        await intake.work(read(body, envelope), body, bill)
        hidden = self._api.key_fields
        if grant is NOBODY:
            first = _fields_of_first(envelope, (*hidden, _KEY_PROPERTY))
            key = self._key_beside(envelope, first, request)
            if not key and (key := _said(_properties(first), (_KEY_PROPERTY,))):
                hidden = (*hidden, _KEY_PROPERTY)
            try:
                grant = await self._grant(key)
            except Refused:
                bill.charge_address()
                raise
            await bill.charge(grant)
        parsed, rejected = Parsed(), list[RejectedEvent]()
        received_ms = intake.admission.now_ms()
        steps = self._events(envelope, kind, grant, hidden, received_ms, parsed, rejected)
        rows = await intake.rows(steps, parsed, body, bill)
        # First the accepted ones. If one of the two fails, the SDK sends all of them again: the accepted ones
        # have the same identity then, and the rejected ones would be kept once more each time.
        if rows:
            await intake.admission.admit_rows(rows)
        try:
            await self._rejected.keep(rejected, grant.project)
        except LogError as error:
            raise not_admitted(error, len(rejected)) from error
        intake.count(parsed)
        return self._answer(parsed, envelope.ignored)

    async def _json(self, request: web.Request, bill: Bill) -> bytes:
        body = await self._intake.body(request, bill, self._bodies)
        if forms.is_json(body):
            return body
        pieces = list[bytes]()
        await self._intake.work(forms.decode(body, pieces), body, bill)
        return await join(pieces)

    async def _grant(self, key: str) -> Grant:
        """Of an API key, or of an ingest token in its place."""
        try:
            grant = await self._writers.grant(key, key)
        except Refused as refused:
            if refused.status == 401:
                refused.detail = (
                    "Give the SDK an API key of this server, or an ingest token, as its write key."
                )
            raise
        if not grant.project:
            raise Refused(
                403,
                "forbidden",
                "the key is not bound to a project, and the events of an SDK name none",
                detail="For the operator: add project to the key in [[auth.api_keys]].",
            )
        return grant

    def _key_beside(self, envelope: Envelope, first: Fields, request: web.Request) -> str:
        """The key in the body, in its first event or in the query; empty if there is none."""
        names = self._api.key_fields
        query = request.query
        return (
            _said(envelope.shared, names)
            or _said(first, names)
            or query.get("writeKey", "")
            or query.get("k", "")
        )

    def _events(
        self,
        envelope: Envelope,
        kind: str,
        grant: Grant,
        hidden: tuple[str, ...],
        received_ms: int,
        parsed: Parsed,
        rejected: list[RejectedEvent],
    ) -> Iterator[list[bytes]]:
        """The rows of the events, in short steps; the others are added to `parsed` and `rejected`. Nothing
        shows the fields `hidden`, which contain the key."""
        limits = self._intake.admission.limits
        keeping = _Keeping(self._api, self._rejected, self._tenants, grant, kind, envelope.shared, hidden)
        rows: list[bytes] = []
        size = 0
        for index, raw in enumerate(envelope.elements):
            parsed.elements += 1
            size += max(len(raw), _ELEMENT_BYTES_MIN)
            draft = None
            try:
                require_size(envelope.size(index))
                draft = self._api.draft(raw, envelope.shared, kind)
                if _KEY_PROPERTY in hidden:
                    draft.metadata.pop(_KEY_PROPERTY, None)
                event = event_of(raw, draft, grant, self._tenants, received_ms, limits)
                rows.append(encode_row(event, received_ms))
            except InvalidEvent as error:
                parsed.refuse(index, error, raw)
                # A tenant without quota would push out what others may want to have back.
                if error.reason != "quota_exceeded":
                    rejected.append(keeping.event(error, raw, draft))
            if len(rows) >= _STEP_EVENTS or size >= SLICE_BYTES:
                parsed.accepted += len(rows)
                yield rows
                rows, size = [], 0
        parsed.accepted += len(rows)
        yield rows

    def _answer(self, parsed: Parsed, ignored: list[str]) -> web.Response:
        counts = Counts(
            accepted=parsed.accepted, rejected=parsed.refused.total(), errors=parsed.errors, ignored=ignored
        )
        answer = {**self._api.answer, **msgspec.to_builtins(counts)}
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


class _Keeping:
    """Makes the dead letters of one request."""

    def __init__(
        self,
        api: Api,
        store: RejectedEvents,
        tenants: Paths,
        grant: Grant,
        kind: str,
        shared: Fields,
        hidden: tuple[str, ...],
    ) -> None:
        self._api = api
        self._store = store
        self._tenants = tenants
        self._grant = grant
        self._kind = kind
        self._shared = {name: shared[name] for name in api.shared if name in shared}
        self._hidden = hidden
        self._room = _SHARED_BYTES_MAX

    def event(self, error: InvalidEvent, raw: msgspec.Raw, draft: Draft | None) -> RejectedEvent:
        """`draft` is None if the message could not be read so far."""
        grant = self._grant
        return self._store.new(
            self._api.name,
            grant.project,
            error,
            _without_key(self._whole(raw), self._hidden),
            kind=self._kind,
            tenant_id=grant.tenant,
            user_id=grant.user,
            digest=grant.digest,
            whose=None if draft is None else whose(draft, grant, self._tenants),
        )

    def _whole(self, raw: msgspec.Raw) -> msgspec.Raw:
        """With what stood beside it, so that a retry has it."""
        added = sum(map(len, self._shared.values()))
        if not added or added > self._room or len(raw) + added > MESSAGE_BYTES_MAX:
            return raw
        try:
            fields = fields_of(raw)
            add_shared(fields, self._shared, self._api.shared)
        except InvalidEvent:
            return raw
        self._room -= added
        return msgspec.Raw(msgspec.json.encode(fields))


class Counts(msgspec.Struct, omit_defaults=True, kw_only=True):
    accepted: int
    rejected: int
    errors: list[Refusal] = []
    ignored: list[str] = []  # fields beside the events that are not JSON


def key_in_head(headers: Mapping[str, str]) -> str:
    """The user of `Authorization: Basic`, with or without a colon; or `Bearer`; or `X-Write-Key`."""
    scheme, _, value = headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    key = ""
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, ValueError):
            pass  # not a key: another place may have it
    elif scheme.lower() == "bearer":
        key = value.strip()
    return key or headers.get("X-Write-Key", "")


def _said(fields: Fields, names: tuple[str, ...]) -> str:
    try:
        return text(fields, *names)
    except InvalidEvent:
        return ""  # a number or an object is no key


def _fields_of_first(envelope: Envelope, names: tuple[str, ...]) -> Fields:
    """Of the first event; if it is too long to be decoded, what its beginning says about `names`, wherever
    that is."""
    if 0 in envelope.sizes:
        found = _found_in(bytes(envelope.elements[0]), names)
        return {**found, "properties": msgspec.Raw(msgspec.json.encode(found))}
    try:
        return fields_of(envelope.elements[0]) if envelope.elements else {}
    except InvalidEvent:
        return {}  # it is no event, and has no key


def _properties(fields: Fields) -> Fields:
    try:
        return child(fields, "properties")
    except InvalidEvent:
        return {}


def _found_in(beginning: bytes, names: tuple[str, ...]) -> Fields:
    found: Fields = {}
    for name in names:
        # Not the first place with this text, which may be a value.
        if key := re.search(f'"{name}"'.encode() + _KEY.pattern, beginning):
            found[name] = msgspec.Raw(b'"%b"' % key[1])
    return found


def _without_key(raw: msgspec.Raw, names: tuple[str, ...]) -> bytes:
    """The message as it was sent, except the key: who reads the dead letter need not see it."""
    payload = bytes(raw)
    for name in names:
        quoted = f'"{name}"'.encode()
        kept = list[bytes]()
        start = at = 0
        while (at := payload.find(quoted, at)) >= 0 and len(kept) < _KEYS_MAX:
            at += len(quoted)
            key = _KEY.match(payload, at)
            end, rest = key.span(1) if key else (at, at)
            kept.append(payload[start:end])
            start = rest
        if kept:
            payload = b"".join([*kept, payload[start:]])
    return payload
