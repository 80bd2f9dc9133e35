"""The three ingest routes.

Every request takes the same steps: key or token, rate limit, checks of the head; then body, events, log,
answer. No byte of a body is read before the head is accepted. A status in the 200s means: on disk.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from nealytics.auth.grant import Grant
from nealytics.auth.jwt import bearer_token
from nealytics.auth.writers import Writers
from nealytics.commit.rejected import RejectedEvents, Whose
from nealytics.config import Config
from nealytics.errors import LogError, Refused
from nealytics.event import InvalidEvent, said_ms, said_name
from nealytics.ingest.body import BodyReader
from nealytics.ingest.intake import Bill, Intake
from nealytics.ingest.parser import (
    SLICE_BYTES,
    Parsed,
    Refusal,
    first_byte,
    parse_batch,
    parse_beacon,
    parse_event,
    parse_event_in_steps,
    starts_array,
)
from nealytics.ingest.tracker_reports import require_owner
from nealytics.observe import otel, request_id
from nealytics.pace import paced
from nealytics.query_string import flag

log = logging.getLogger("nealytics.ingest")

TRACK = "/api/v1/telemetry/track"
BEACON = "/api/v1/telemetry/beacon"
BATCH = "/api/v1/telemetry/batch"

LINES_TYPES = frozenset(
    ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
)
# What pages send with FormData, URLSearchParams or a <form>.
_FORM_TYPES = frozenset(("application/x-www-form-urlencoded", "multipart/form-data"))


class Commits(Protocol):
    """What the handlers need of the committer."""

    def flush_soon(self) -> None: ...
    async def wait_committed(self, first_lsn: int, last_lsn: int, timeout_s: float) -> bool: ...


class BatchAnswer(msgspec.Struct, omit_defaults=True, kw_only=True, rename="camel"):
    # Filled in when nothing was accepted: then it is an error.
    code: str | None = None
    message: str | None = None
    detail: str | None = None
    request_id: str | None = None
    accepted: int
    rejected: int
    errors: list[Refusal]
    committed: bool | None = None


class Ingest:
    """Handlers of `track`, `beacon` and `batch`; they raise `Refused` for events that are not accepted.

    A handler raises `ConnectionError` if the client has disconnected.
    """

    def __init__(
        self,
        config: Config,
        *,
        writers: Writers,
        intake: Intake,
        rejected: RejectedEvents | None,
        committer: Commits,
        accepted: web.StreamResponse,
        no_content: web.StreamResponse,
    ) -> None:
        self._writers = writers
        self._intake = intake
        self._bodies = BodyReader(config.ingest, config.server, intake.slices)
        self._admission = intake.admission
        self._rejected = rejected
        self._committer = committer
        self._wait_timeout_s = config.ingest.wait_timeout_s
        # The empty answers, 202 and 204, which all requests share.
        self._accepted = accepted
        self._no_content = no_content

    async def stop(self, _app: web.Application | None = None) -> None:
        """Refuses the requests that are queued for the rate limit."""
        self._intake.stop()

    def routes(self) -> dict[str, Handler]:
        """Path → handler, all of them POST."""
        handlers = {TRACK: self.track, BEACON: self.beacon, BATCH: self.batch}
        return {path: self._intake.counted(handler) for path, handler in handlers.items()}

    async def track(self, request: web.Request) -> web.StreamResponse:
        grant = await self._grant(request.headers.get("X-Project-Key") or _key_in_query(request), request)
        admission = self._admission
        with self._intake.bill(request, grant) as bill:
            body = await self._body(request, bill)
            received_ms = admission.now_ms()
            try:
                if len(body) <= SLICE_BYTES:
                    rows = [parse_event(body, received_ms, admission.limits, grant)]
                else:
                    steps = parse_event_in_steps(body, received_ms, admission.limits, grant)
                    rows = await self._intake.rows(steps, Parsed(), body, bill)
            except InvalidEvent as error:
                if error.reason != "quota_exceeded":
                    await self._keep([(body, error)], grant, "track")
                if starts_array(body):
                    raise Refused(
                        400,
                        "invalid_event",
                        "the body is an array, and track accepts one event",
                        detail=f"Send arrays to {BATCH}.",
                    ) from error
                raise refused_by(error) from error
        await admission.admit_rows(rows)
        return self._accepted

    async def beacon(self, request: web.Request) -> web.StreamResponse:
        # Of keys only ?k=: sendBeacon cannot set headers.
        grant = await self._grant(_key_in_query(request), request, request.query.get("token", ""))
        parsed = Parsed(keeps=self._rejected is not None)
        with self._intake.bill(request, grant) as bill:
            body = await self._body(request, bill)
            received_ms = self._admission.now_ms()
            try:
                lines = request.content_type in LINES_TYPES
                steps = parse_beacon(body, parsed, received_ms, self._admission.limits, grant, lines=lines)
                rows = await self._intake.rows(steps, parsed, body, bill)
            except InvalidEvent as error:
                raise refused_by(error) from error
        self._intake.count(parsed)
        otel.note("neavents.beacon_events", parsed.accepted)
        # First the accepted ones: if that fails, all are sent again, and the others would be kept twice.
        if rows:
            await self._admission.admit_rows(rows)
        await self._keep(parsed.rejected, grant, "beacon")
        if rows:
            self._intake.count_report(request, received_ms)
        elif parsed.refused.keys() == {"forbidden"}:
            # Otherwise the developer of a page with the wrong key would not notice.
            return _answer(403, _nothing_accepted(parsed))
        elif parsed.refused.keys() == {"invalid_json"}:
            return _answer(400, _nothing_accepted(parsed))
        elif parsed.refused.keys() == {"quota_exceeded"}:
            return _over_quota(parsed)
        return self._no_content

    async def batch(self, request: web.Request) -> web.Response:
        grant = await self._grant(request.headers.get("X-Project-Key") or _key_in_query(request), request)
        wait = flag(request.query, "wait")
        lines = request.content_type in LINES_TYPES
        parsed = Parsed(keeps=self._rejected is not None)
        with self._intake.bill(request, grant) as bill:
            body = await self._body(request, bill)
            received_ms = self._admission.now_ms()
            try:
                steps = parse_batch(body, parsed, received_ms, self._admission.limits, grant, lines=lines)
                rows = await self._intake.rows(steps, parsed, body, bill)
            except InvalidEvent as error:
                raise refused_by(error) from error
        self._intake.count(parsed)
        otel.note("nealytics.batch_events", parsed.accepted)
        if not rows:
            await self._keep(parsed.rejected, grant, "batch")
            (code,) = parsed.refused if len(parsed.refused) == 1 else ("",)
            if code == "quota_exceeded":
                return _over_quota(parsed)
            return _answer(_STATUSES.get(code, 400), _nothing_accepted(parsed))
        lsns = await self._admission.admit_rows(rows)
        await self._keep(parsed.rejected, grant, "batch")
        self._intake.count_report(request, received_ms)
        del body, steps, rows  # megabytes, and the commit may take seconds
        answer = BatchAnswer(accepted=parsed.accepted, rejected=parsed.refused.total(), errors=parsed.errors)
        if not wait:
            return _answer(202, answer)
        self._committer.flush_soon()
        try:
            answer.committed = await self._committer.wait_committed(
                lsns.first, lsns.last, timeout_s=self._wait_timeout_s
            )
        except asyncio.CancelledError:
            uncancel()
            # The worker stops. The events are on disk and are sent after the next start at the latest.
            answer.committed = False
        return _answer(200 if answer.committed else 202, answer)

    async def _grant(self, key: str, request: web.Request, token: str = "") -> Grant:
        token = token or bearer_token(request.headers.get(hdrs.AUTHORIZATION))
        grant = await self._writers.grant(key, token)
        require_owner(request.query, grant)
        return grant

    async def _keep(self, rejected: Sequence[tuple[bytes, InvalidEvent]], grant: Grant, source: str) -> None:
        """Keeps events in the dead letter. Their client learns the reason anyway, so a disk that takes
        nothing is no reason to refuse the others."""
        store = self._rejected
        if store is None or not rejected:
            return
        fixed: dict[str, Any] = {"tenant_id": grant.tenant, "user_id": grant.user, "digest": grant.digest}
        events = []
        async for payload, error in paced(rejected):
            said_project, whose = _whose(payload)
            project = grant.project or said_project
            events.append(store.new(source, project, error, payload, whose=whose, **fixed))
        try:
            await store.keep(events, grant.project)
        except LogError as failure:
            log.error("ingest: %d rejected events are not kept: %s", len(events), failure)
            self._intake.rejected_dropped(len(events))

    async def _body(self, request: web.Request, bill: Bill) -> bytes:
        body = await self._intake.body(request, bill, self._bodies)
        if body[:1] not in (b"{", b"["):
            _require_no_form(request.content_type, body)
        return body


_ABSENT = msgspec.Raw(b"null")


class _Said(msgspec.Struct, rename="camel"):
    project_id: msgspec.Raw = _ABSENT
    tenant_id: msgspec.Raw = _ABSENT
    user_id: msgspec.Raw = _ABSENT
    timestamp: msgspec.Raw = _ABSENT


def _whose(payload: bytes) -> tuple[str, Whose | None]:
    """The project that an event names, and whose it is, if it can be read."""
    try:
        said = msgspec.json.decode(payload, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", None
    tenant, user = _name(said.tenant_id), _name(said.user_id)
    return _name(said.project_id), Whose(tenant=tenant, user=user, at_ms=said_ms(said.timestamp))


def _name(raw: msgspec.Raw) -> str:
    try:
        return said_name(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _require_no_form(content_type: str, body: bytes) -> None:
    """Raises `Refused` (400) for a form instead of JSON; other mistakes are left to the parser.

    JSON with the content type of a form is accepted: curl sends that.
    """
    if content_type in _FORM_TYPES and first_byte(body) not in (b"{", b"["):
        raise Refused(
            400,
            "invalid_json",
            f"the body is a form ({content_type}), and events are JSON",
            detail="Send JSON.stringify(event) as the body, not a FormData or URLSearchParams.",
        )


def _key_in_query(request: web.BaseRequest) -> str:
    """`?k=`, or `?K=`: to the C# engine the names of parameters had no case."""
    query = request.query
    return query.get("k") or query.get("K", "")


def uncancel() -> None:
    """Lets a handler that was cancelled by a stop answer in the remaining time."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def expect(request: web.Request) -> None:
    """Replaces aiohttp's handler, which sends "100 Continue" before anything is checked.

    `BodyReader` sends it when it reads.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="only Expect: 100-continue is supported")


# Errors of an event or a body that are not a 400.
_STATUSES = {"forbidden": 403, "body_too_large": 413, "quota_exceeded": 429}


def refused_by(error: InvalidEvent) -> Refused:
    """The answer to a body that is refused as a whole."""
    return Refused(
        _STATUSES.get(error.reason, 400),
        error.reason,
        error.message,
        detail=error.detail,
        field=error.field,
        headers=_retry_after(error.retry_after_s),
    )


def _retry_after(seconds: int) -> dict[str, str]:
    return {hdrs.RETRY_AFTER: str(seconds)} if seconds else {}


def _none_of(rejected: int) -> str:
    if rejected == 1:
        return "the event is not valid"
    return f"none of the {rejected} events is valid" if rejected else "the body has no events"


def _nothing_accepted(parsed: Parsed) -> BatchAnswer:
    rejected = parsed.refused.total()
    # The most frequent reason.
    code = parsed.refused.most_common(1)[0][0] if rejected else "invalid_event"
    return BatchAnswer(
        code=code,
        message=_none_of(rejected),
        detail="Nothing was stored. See errors for the reason of each event."
        if rejected
        else "Send at least one.",
        request_id=request_id.current(),
        accepted=0,
        rejected=rejected,
        errors=parsed.errors,
    )


def _over_quota(parsed: Parsed) -> web.Response:
    """No event was accepted, and every one only because of a quota."""
    error = parsed.over_quota
    assert error is not None
    answer = _nothing_accepted(parsed)
    answer.message = error.message
    answer.detail = f"Nothing was stored. {error.detail}"
    response = _answer(429, answer)
    response.headers.update(_retry_after(error.retry_after_s))
    return response


def _answer(status: int, answer: BatchAnswer) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(answer), content_type="application/json")
