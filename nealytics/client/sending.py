"""From events to the batch route, until each is confirmed or rejected by name. Pure: see `exchange`.

A request has at most 1,000 events and 512 KiB, which count once for the rate limit of a key. If the server's
own limit is lower (413), halves are sent. It names the first 100 rejected events of a request; if there are
more, the request is sent again in pieces. Accepted events among them are counted once.
"""

import gzip
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from nealytics.client.errors import RejectedError, Rejection, SendError
from nealytics.client.events import Event
from nealytics.client.exchange import (
    USER_AGENT,
    GaveUp,
    Lost,
    Patience,
    Request,
    Response,
    Steps,
    error_of,
    exchange,
    what_came,
)

ROUTE = "/api/v1/telemetry/batch"
EVENTS_MAX = 1_000
BYTES_MAX = 512 * 1024
_ERRORS_NAMED_MAX = 100
# Below, compressing saves less than one packet.
_COMPRESSED_FROM_BYTES = 1_400
# A server that is asked to wait answers after `ingest.wait_timeout_s`, by default 10.
_WAIT_S = 60.0


class Sent(NamedTuple):
    """The result of `send`: all events are accepted."""

    accepted: int
    committed: bool | None  # whether they can be read; None without `wait`


class Codec(NamedTuple):
    name: str  # of the header Content-Encoding
    compress: Callable[[bytes], bytes]


GZIP = Codec("gzip", lambda body: gzip.compress(body, 6, mtime=0))


class Encoded(NamedTuple):
    event: Event
    body: bytes


def encode(event: Event) -> Encoded:
    """Raises `TypeError` or `ValueError` if its metadata cannot be JSON."""
    return Encoded(event, msgspec.json.encode(event))


class Pending(NamedTuple):
    """One event to be sent, and its place among the given ones."""

    place: int
    event: Event
    body: bytes


class _Error(msgspec.Struct):
    index: int
    error: str = ""
    field: str | None = None


class _Answer(msgspec.Struct):
    accepted: int
    rejected: int
    errors: list[_Error] = []
    committed: bool | None = None


class Sending:
    """The deliveries of one sender."""

    def __init__(
        self, url: str, key: str, patience: Patience, *, codec: Codec | None = GZIP, agent: str = USER_AGENT
    ) -> None:
        self._url = url
        self._patience = patience
        self._codec = codec
        self._headers = {
            "X-Project-Key": key,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": agent,
        }

    def steps(self, events: Sequence[Encoded], *, wait: bool, first_index: int = 0) -> Steps[Sent]:
        """Sends events in as many requests as needed. Raises as `deliver`."""
        pieces = _pieces([Pending(first_index + i, *event) for i, event in enumerate(events)])
        return (yield from self.deliver(pieces, wait=wait))

    def deliver(self, pieces: Sequence[Sequence[Pending]], *, wait: bool = False) -> Steps[Sent]:
        """Sends each piece. Raises `SendError`, or `RejectedError` once all others are accepted."""
        waiting = deque(pieces)
        rejections: list[Rejection] = []
        committed = True
        while waiting:
            piece = waiting.popleft()
            request = self._request(piece, wait)
            try:
                response = yield from exchange(request, self._patience, _is_temporary)
            except GaveUp as gave_up:
                left = [pending.event for pending in (*piece, *(p for later in waiting for p in later))]
                raise self._unsent(
                    gave_up.outcome, left, rejections, gave_up.retry_after_s, gave_up.spent_s
                ) from None
            answer = _answer_of(response, len(piece))
            # Judged by what was sent: another thread may have had a 415 in the meantime.
            if answer is None and response.status == 415 and "Content-Encoding" in request.headers:
                self._codec = None
                waiting.appendleft(piece)
            elif answer is None and response.status in (400, 413, 422) and len(piece) > 1:
                waiting.extendleft(reversed(_parts(piece, -(-len(piece) // 2))))
            elif answer is None and response.status in (400, 413, 422):
                rejections.append(_only(piece[0], response))
            elif answer is None:
                left = [pending.event for pending in (*piece, *(p for later in waiting for p in later))]
                raise self._unsent(response, left, rejections)
            elif answer.rejected == len(named := {e.index: e for e in answer.errors}):
                rejections += [
                    Rejection(piece[i].place, piece[i].event, e.field, e.error)
                    for i, e in sorted(named.items())
                ]
                committed = committed and answer.committed is True
            elif len(piece) > 1:
                size = min(_ERRORS_NAMED_MAX, -(-len(piece) // 2))
                waiting.extendleft(reversed(_parts(piece, size)))
            else:
                rejections.append(_only(piece[0], response))
        accepted = sum(map(len, pieces)) - len(rejections)
        if rejections:
            raise RejectedError(rejections, accepted)
        return Sent(accepted, committed if wait else None)

    def _request(self, piece: Sequence[Pending], wait: bool) -> Request:
        body = b"[" + b",".join(pending.body for pending in piece) + b"]"
        headers, codec = self._headers, self._codec
        if codec is not None and len(body) >= _COMPRESSED_FROM_BYTES:
            body = codec.compress(body)
            headers = {**headers, "Content-Encoding": codec.name}
        timeout_s = self._patience.timeout_s
        if wait:
            return Request("POST", f"{ROUTE}?wait=true", headers, body, timeout_s + _WAIT_S)
        return Request("POST", ROUTE, headers, body, timeout_s)

    def _unsent(
        self,
        outcome: Response | Lost,
        events: Sequence[Event],
        rejections: Sequence[Rejection],
        retry_after_s: float = 0.0,
        spent_s: float = 0.0,
    ) -> SendError:
        if isinstance(outcome, Lost):
            return SendError(what_came(self._url, outcome), events, rejections, spent_s=spent_s)
        problem = what_came(self._url, outcome)
        if outcome.status < 300:
            problem = (
                f"{self._url} answered {outcome.status}, but not like a Nealytics node; check the address"
            )
        return SendError(
            problem,
            events,
            rejections,
            status=outcome.status,
            code=error_of(outcome.body).code,
            retry_after_s=retry_after_s,
            spent_s=spent_s,
        )


class Gathered:
    """The events of a `Batch` that are not yet sent, and the rejections of the others."""

    def __init__(self) -> None:
        self._events: list[Encoded] = []
        self._bytes = 0
        self._flushed = 0
        self._rejections: list[Rejection] = []

    def add(self, event: Event) -> bool:
        """Whether it is time to send the gathered events."""
        encoded = encode(event)
        self._events.append(encoded)
        self._bytes += len(encoded.body) + 1
        return len(self._events) >= EVENTS_MAX or self._bytes >= BYTES_MAX

    def flush(self, sending: Sending) -> Steps[None]:
        """Raises `SendError` with the gathered events."""
        events, first = self._events, self._flushed
        if not events:
            return
        self._events, self._bytes = [], 0
        self._flushed += len(events)
        try:
            yield from sending.steps(events, wait=False, first_index=first)
        except RejectedError as error:
            self._rejections += error.rejections
        except SendError as error:
            error.rejections[:0] = self._rejections
            raise
        except BaseException:
            # Interrupted or cancelled: the next flush sends them again. Each is counted once.
            self._events[:0] = events
            self._bytes += sum(len(encoded.body) + 1 for encoded in events)
            self._flushed = first
            raise

    def finish(self, other: BaseException | None = None) -> None:
        """Raises `RejectedError` if any event was rejected, or adds a note to the `other` error."""
        if not self._rejections:
            return
        rejected = RejectedError(self._rejections, self._flushed - len(self._rejections))
        if other is None:
            raise rejected
        other.add_note(f"nealytics: {rejected}")


def _is_temporary(status: int) -> bool:
    return status in (408, 429) or status >= 500


def _answer_of(response: Response, count: int) -> _Answer | None:
    """The batch route's answer for `count` events; None if it does not cover each of them."""
    if response.status not in (200, 202) and not 400 <= response.status < 500:
        return None
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if min(answer.accepted, answer.rejected) < 0 or answer.accepted + answer.rejected != count:
        return None
    if response.status >= 400 and answer.accepted:
        return None
    return answer if all(0 <= error.index < count for error in answer.errors) else None


def _only(pending: Pending, response: Response) -> Rejection:
    error = error_of(response.body)
    message = ". ".join(filter(None, (error.message, error.detail))) or f"HTTP {response.status}"
    return Rejection(pending.place, pending.event, error.field, message)


def _parts(piece: Sequence[Pending], size: int) -> list[Sequence[Pending]]:
    return [piece[first : first + size] for first in range(0, len(piece), size)]


def _pieces(events: Iterable[Pending]) -> list[Sequence[Pending]]:
    """In order, each within the limits of a request. A larger event is a piece of its own."""
    pieces: list[list[Pending]] = []
    size = 0
    for pending in events:
        size += len(pending.body) + 1
        if not pieces or len(pieces[-1]) == EVENTS_MAX or size > BYTES_MAX:
            pieces.append([])
            size = len(pending.body) + 1
        pieces[-1].append(pending)
    return list(pieces)
