"""Admits small requests without waiting: the same steps as `handlers`, for the fast lane.

Only requests that are accepted: what would be refused, or would have to wait for a permit, is left to the
handlers. Until `take` nothing has changed, so they begin anew.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from nealytics.auth.grant import Grant
from nealytics.auth.jwt import bearer_token
from nealytics.auth.token_rate import Permit
from nealytics.auth.writers import Writers
from nealytics.clickhouse.rowbinary import owner_of, split_owner
from nealytics.config import IngestConfig
from nealytics.event import InvalidEvent, Limits, is_utf8
from nealytics.ingest.admission import Admission
from nealytics.ingest.decompression import gunzip_at_once
from nealytics.ingest.handlers import BATCH, BEACON, LINES_TYPES, TRACK, BatchAnswer
from nealytics.ingest.parser import SLICE_BYTES, Parsed, parse_batch, parse_beacon, parse_event
from nealytics.ingest.permits import Permits
from nealytics.ingest.plain import EventReader, event_reader
from nealytics.ingest.ratelimit import PERMIT_EVENTS
from nealytics.ingest.tracker_reports import TrackerReport
from nealytics.ingest.tracker_reports import report as tracker_report
from nealytics.observe.metrics import Metrics

# The form in which nobody disagrees about where the type ends.
_PLAIN_TYPE = re.compile(r"([\w.+/-]+)(?:; ?charset=[\w-]+)?", re.ASCII)


class Head:
    """The head of a small request. Clients repeat theirs, so what was found out about it stays with it."""

    __slots__ = ("answer", "headers", "key", "path", "sender", "sent_at", "size", "token")

    def __init__(
        self, path: str, key: str, token: str, sent_at: str, headers: Mapping[str, str], size: int
    ) -> None:
        self.path = path
        self.key = key  # of the query string, as the next two
        self.token = token
        self.sent_at = sent_at
        self.headers = headers  # by name in lower case
        self.size = size  # of the body, as it is sent
        self.sender: Sender | None = None
        self.answer = ""  # the beginning of the answer, for the fast lane


class Sender(NamedTuple):
    """Of single events, as long as the keys and the limits are these."""

    keys: object
    limits: Limits
    key_index: int = -1
    read: EventReader | None = None  # None: `AtOnce.prepare` decides


class SmallRequest(NamedTuple):
    """A request to one of the ingest routes, whose whole body has arrived, perhaps as gzip."""

    head: Head
    body: bytes
    end: int  # where it ends in the bytes that arrived


class Ready(NamedTuple):
    """A request that would be accepted."""

    rows: list[bytes]
    grant: Grant
    permit: Permit
    received_ms: int
    is_single: bool = False  # of `track`; its tenant may have a quota
    refused: Counter[str] | None = None  # events of it that are not accepted
    answer: bytes = b""  # JSON
    report: TrackerReport | None = None


class AtOnce:
    """`single`, or else `prepare` and then `take`; the caller appends the rows."""

    def __init__(
        self,
        writers: Writers,
        permits: Permits,
        admission: Admission,
        metrics: Metrics,
        config: IngestConfig,
        *,
        keeps_rejected: bool,
    ) -> None:
        self._body_bytes_max = min(SLICE_BYTES, config.body_bytes_max)
        self._decompression = config.decompression
        self._writers = writers
        self._permits = permits
        self._admission = admission
        self._metrics = metrics
        self._keeps_rejected = keeps_rejected
        self._limits_with_quotas: Limits | None = None
        self._limits_without = admission.limits

    def single(self, request: SmallRequest, received_ms: int) -> bytes | None:
        """The row of the event of a `track`, with its permit taken, in the simplest case: a server's key, and
        nothing that depends on the event. None: nothing has changed, and `prepare` decides."""
        head, body, _ = request
        admission = self._admission
        limits = admission.limits
        sender = head.sender
        if sender is None or sender.limits is not limits or sender.keys is not self._writers.keys.version:
            sender = head.sender = self._sender(head)
        read, quotas = sender.read, limits.quotas
        if read is None or admission.erases or (quotas is not None and quotas.projects):
            return None
        if len(body) > self._body_bytes_max or not (body.isascii() or is_utf8(body)):
            return None
        row = read(body, received_ms, True)
        return row if row is not None and self._permits.take_of_key(sender.key_index) else None

    def _sender(self, head: Head) -> Sender:
        keys, limits = self._writers.keys, self._admission.limits
        unknown = Sender(keys.version, limits)
        if head.path != TRACK or "content-encoding" in head.headers:
            return unknown
        grant = keys.find(head.headers.get("x-project-key") or head.key)
        if grant is None or grant.is_public:
            return unknown
        return Sender(keys.version, limits, grant.index, event_reader(limits, grant))

    def prepare(self, request: SmallRequest, peer: str, received_ms: int) -> Ready | None:
        """None: the request is for the handlers. `peer` is the address of the connection."""
        head = request.head
        headers, key, token = head.headers, head.key, head.token
        if head.path != BEACON:
            key, token = headers.get("x-project-key") or key, ""
        # A token that was not verified before is left to the handlers.
        grant = self._writers.known(key, token or bearer_token(headers.get("authorization")))
        if grant is None or len(request.body) > self._body_bytes_max:
            return None
        network = self._permits.network_of(grant, peer, headers.get)
        # Before the work: a key without permits causes none.
        permit = self._permits.at_once(grant, network)
        if permit is None:
            return None
        body = self._plain(request)
        # Other bodies are malformed, or forms; or they begin with blanks.
        if body is None or body[:1] not in (b"{", b"["):
            return None
        ready: Ready | None
        try:
            if head.path == TRACK:
                rows = [parse_event(body, received_ms, self._limits(), grant)]
                ready = Ready(rows, grant, permit, received_ms, is_single=True)
            else:
                ready = self._several(head, body, grant, permit, received_ms)
        except InvalidEvent:
            return None
        if ready is None or self._admission.is_erased(ready.rows):
            return None
        return ready

    def _plain(self, request: SmallRequest) -> bytes | None:
        """The body, decompressed."""
        if "content-encoding" not in request.head.headers:
            return request.body
        return gunzip_at_once(request.body, self._body_bytes_max) if self._decompression else None

    def _several(
        self, head: Head, body: bytes, grant: Grant, permit: Permit, received_ms: int
    ) -> Ready | None:
        content_type = _PLAIN_TYPE.fullmatch(head.headers.get("content-type", "text/plain"))
        if content_type is None:
            return None
        parse = parse_batch if head.path == BATCH else parse_beacon
        parsed = Parsed()
        rows: list[bytes] = []
        lines = content_type[1].lower() in LINES_TYPES
        quotas = self._admission.limits.quotas
        for found in parse(body, parsed, received_ms, self._limits(), grant, lines=lines):
            if quotas is not None and any(_project_of(row) in quotas.projects for row in found):
                return None  # some of them may be refused for it
            rows += found
        if not rows or parsed.elements > PERMIT_EVENTS or (parsed.refused and self._keeps_rejected):
            return None
        answer = b""
        if head.path == BATCH:
            answer = msgspec.json.encode(
                BatchAnswer(accepted=parsed.accepted, rejected=parsed.refused.total(), errors=parsed.errors)
            )
        report = tracker_report(head.sent_at) if head.sent_at else None
        return Ready(rows, grant, permit, received_ms, False, parsed.refused, answer, report)

    def take(self, ready: Ready) -> bool:
        """Takes the permits of a request, and counts what is refused of it; False if there are none."""
        if not self._takes_quota(ready, 0):
            return False
        if not self._permits.take_at_once(ready.grant, ready.permit):
            return False
        self._takes_quota(ready, 1)
        if ready.refused:
            for reason, events in ready.refused.items():
                self._metrics.refused.add(events, reason)
        if ready.report is not None:
            ready.report.note(self._metrics, ready.received_ms)
        return True

    def _takes_quota(self, ready: Ready, number: int) -> bool:
        """Takes so many from the quota of a single event; False if nothing is left of it."""
        quotas = self._admission.limits.quotas
        if quotas is None or not quotas.projects or not ready.is_single:
            return True
        project, tenant = split_owner(owner_of(ready.rows[0]))
        return project not in quotas.projects or (
            quotas.events.take(project, tenant, ready.received_ms, number) is None
        )

    def _limits(self) -> Limits:
        """The limits without quotas, because parsing an event would take from its quota."""
        limits = self._admission.limits
        if limits is not self._limits_with_quotas:
            self._limits_with_quotas = limits
            self._limits_without = msgspec.structs.replace(limits, quotas=None)
        return self._limits_without


def _project_of(row: bytes) -> str:
    return split_owner(owner_of(row))[0]
