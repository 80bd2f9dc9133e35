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
from nealytics.event import InvalidEvent, Limits
from nealytics.ingest.admission import Admission
from nealytics.ingest.decompression import gunzip_at_once
from nealytics.ingest.handlers import BATCH, BEACON, LINES_TYPES, TRACK, BatchAnswer
from nealytics.ingest.parser import SLICE_BYTES, Parsed, parse_batch, parse_beacon, parse_event
from nealytics.ingest.permits import Permits
from nealytics.ingest.plain import KnownHeads, compiled_reader, read_known
from nealytics.ingest.ratelimit import PERMIT_EVENTS
from nealytics.ingest.tracker_reports import TrackerReport
from nealytics.ingest.tracker_reports import report as tracker_report
from nealytics.observe.metrics import Metrics

# The form in which nobody disagrees about where the type ends.
_PLAIN_TYPE = re.compile(r"([\w.+/-]+)(?:; ?charset=[\w-]+)?", re.ASCII)


# Heads that `AtOnce.single` knows.
_KNOWN_MAX = 1_024
# Longer heads are not remembered, here and in `small_request`. plain_rows.c has the same limit.
REMEMBERED_BYTES_MAX = 1_024


class Head:
    """The head of a small request. Clients repeat theirs, so what was found out about it stays with it."""

    __slots__ = (
        "answer", "headers", "is_repeated", "key", "key_index", "learned_with", "path", "sent_at", "size",
        "start", "token",
    )  # fmt: skip

    def __init__(
        self,
        start: bytes,
        path: str,
        key: str,
        token: str,
        sent_at: str,
        headers: Mapping[str, str],
        size: int,
    ) -> None:
        self.start = start  # its bytes, without the empty line
        self.path = path
        self.key = key  # of the query string, as the next two
        self.token = token
        self.sent_at = sent_at
        self.headers = headers  # by name in lower case
        self.size = size  # of the body, as it is sent
        self.key_index = -1  # of its key, if `AtOnce.single` knows the head
        self.is_repeated = False  # whether `AtOnce.learn` has seen it before
        self.learned_with: object = None  # what `AtOnce.learn` decided with
        self.answer = ""  # the beginning of the answer, for the fast lane


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
    """`prepare`, then `take`, then `learn`; the caller appends the rows.

    What `learn` has seen twice, `single` takes with one call of the compiled reader: a `track` of a server's
    key with a head about which nothing but the event is to be decided, as long as keys and limits are the
    same.
    """

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
        self._known: KnownHeads[Head] = {}
        self._known_with: tuple[object, object] = (None, None)  # keys and limits
        self._limits_without = admission.limits

    def single(self, data: bytes, received_ms: int) -> tuple[Head, bytes] | None:
        """Head and row of what is exactly one request, with its permit taken. None: nothing has changed."""
        admission = self._admission
        limits = admission.limits
        keys, known_limits = self._known_with
        if limits is not known_limits or self._writers.keys.version is not keys:
            self.forget()
        quotas = limits.quotas
        if not self._known or admission.erases or (quotas is not None and quotas.projects):
            return None
        found = read_known(data, self._known, received_ms)
        return found if found is not None and self._permits.take_of_key(found[0].key_index) else None

    def learn(self, head: Head) -> None:
        """Has `single` know this head, if it can be."""
        if head.path != TRACK or head.learned_with is self._known_with:
            return
        if not head.is_repeated:
            # Many clients send another head each time, with the id of a request or trace.
            head.is_repeated = True
            return
        if len(self._known) >= _KNOWN_MAX:
            self.forget()
        head.learned_with = self._known_with
        grant = self._writers.keys.find(head.headers.get("x-project-key") or head.key)
        if grant is None or grant.is_public or "content-encoding" in head.headers:
            return
        reader = compiled_reader(self._admission.limits, grant)
        if reader is not None and head.size <= self._body_bytes_max:
            head.key_index = grant.index
            self._known[head.start] = (reader, head, head.size)

    def forget(self) -> None:
        """Forgets all heads."""
        self._known.clear()
        # Another object each time, so all heads are learned again.
        self._known_with = (self._writers.keys.version, self._admission.limits)

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
