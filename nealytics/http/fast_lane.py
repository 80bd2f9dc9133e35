"""The fast lane: small ingest requests, answered without aiohttp.

    bytes ─▶ Lane.received ─▶ Heads.parse ─▶ AtOnce ─▶ one append for each step of the event loop
                  │ anything else, unchanged                         │ durable
                  ▼                                                  ▼
               aiohttp                                one write for each connection

Only requests that are accepted take the lane. A request that is refused, unusual, large, or sampled for a
trace is given to aiohttp, byte for byte, and its handlers begin anew. Only the time differs.

A connection's answers keep the order of its requests: aiohttp gets bytes only when no request of the lane
waits for its answer, and the lane takes bytes only when aiohttp is idle and its parser stands between two
requests (`RequestEnds`). Until then bytes are held; reading is paused, so they are few.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import copy_context
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time

from nealytics.errors import LogBroken, LogError, Refused, stopping
from nealytics.http.request_ends import RequestEnds
from nealytics.http.responses import ANSWER_HEADERS, raw_answer
from nealytics.http.small_request import Heads, Unread
from nealytics.ingest.admission import Admission, not_admitted
from nealytics.ingest.at_once import AtOnce, Head, Ready, SmallRequest
from nealytics.ingest.handlers import BATCH, BEACON, TRACK
from nealytics.observe import request_id
from nealytics.observe.metrics import Metrics
from nealytics.observe.otel import RequestSpan

log = logging.getLogger("nealytics.http")

# How long the rest of a request may take to arrive before aiohttp, which has the limits, gets its beginning.
# Clients that write head and body separately need less than a millisecond.
HOLD_S = 0.02
# Requests of one connection in the log at a time. A client that pipelines more has to wait, so that it cannot
# fill the log's queue and have others refused.
WAITING_MAX = 64
_ID = f"{request_id.HEADER}: "
# Rows that one append of the log has at most, if it has those of several requests.
_GATHERED_BYTES_MAX = 512 * 1024

# By route: the first lines of the answer, and those that tell the length of its body.
_STARTS = {
    path: f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in ANSWER_HEADERS.items())
    for path, status in (
        (TRACK, HTTPStatus.ACCEPTED),
        (BEACON, HTTPStatus.NO_CONTENT),
        (BATCH, HTTPStatus.ACCEPTED),
    )
}
_LENGTHS = {
    TRACK: "Content-Length: 0\r\n",
    BEACON: "",
    BATCH: "Content-Type: application/json\r\nContent-Length: ",
}


class Client(Protocol):
    """What the lane needs of a connection; `connections.Connection` implements it."""

    transport: asyncio.Transport | None
    span: RequestSpan | None  # begun by the lane, for the next request that aiohttp gets

    @property
    def is_free(self) -> bool:
        """Whether aiohttp waits for the first byte of a request."""

    @property
    def is_stopping(self) -> bool: ...
    @property
    def writing_paused(self) -> bool: ...
    @property
    def address(self) -> str: ...

    def feed(self, data: bytes) -> None:
        """Gives the bytes to aiohttp."""

    def request_taken(self) -> None: ...
    def request_answered(self) -> None: ...
    def close_gently(self) -> None: ...


class _Waiting:
    """A request whose events are in the log's queue, until its answer is written."""

    __slots__ = ("answer", "head", "is_done", "lane", "refused", "rows")

    def __init__(self, lane: "Lane", head: Head, rows: list[bytes], answer: bytes) -> None:
        self.lane = lane
        self.head = head
        self.rows = rows
        self.answer = answer
        self.refused: Refused | None = None
        self.is_done = False


class _Step:
    """The requests of one step of the event loop. The log gets their rows together, and they have one time of
    receipt."""

    __slots__ = ("received_ms", "row_bytes", "rows", "shared", "waiting")

    def __init__(self, shared: "FastLane", received_ms: int) -> None:
        self.shared = shared
        self.received_ms = received_ms
        self.rows: list[bytes] = []
        self.waiting: list[_Waiting] = []
        self.row_bytes = 0

    def finish(self, lsn: int, error: LogError | None) -> None:
        waiting = self.waiting
        if self.shared.is_stopping:
            waiting = [each for each in waiting if not each.is_done]  # others were told that the worker stops
        if error is None:
            self.shared.finished(waiting)
        else:
            self.shared.not_appended(waiting, error)


class FastLane:
    """What the connections of a worker share."""

    def __init__(
        self,
        at_once: AtOnce,
        admission: Admission,
        metrics: Metrics,
        *,
        allow_origin: Callable[[str, dict[str, str]], None],
        refuse: Callable[[Head, Refused, str], web.Response],
        begin_span: Callable[[str, Mapping[str, str]], RequestSpan | None] | None = None,
    ) -> None:
        """`allow_origin` adds the CORS headers for an origin. `refuse` makes the answer to a request of this
        peer whose events the log did not take. `begin_span`: as `spans.begin`; None without tracing."""
        self.heads = Heads()
        self._at_once = at_once
        self._admission = admission
        admission.append_gathered = self._append
        self._refused = metrics.refused
        self._allow_origin = allow_origin
        self._refuse = refuse
        self._begin_span = begin_span
        self._step: _Step | None = None
        self._finished: list[_Waiting] = []  # their answers are due
        self.is_stopping = False  # whether requests were given up
        self._tail = ""  # of the answers that are written now

    def forget(self) -> None:
        """Forgets what was found out about heads: who may send, or `allow_origin`, has changed."""
        self.heads.forget()
        self._at_once.forget()

    def single(self, lane: "Lane", data: bytes) -> _Waiting | None:
        """Appends the event of one request in the simplest case, or does nothing."""
        step = self._step
        received_ms = self._admission.now_ms() if step is None else step.received_ms
        found = self._at_once.single(data, received_ms)
        if found is None:
            return None
        head, row = found
        waiting = _Waiting(lane, head, [row], b"")
        self._gather(waiting, len(row), received_ms)
        return waiting

    def submit(self, lane: "Lane", client: Client, request: SmallRequest) -> _Waiting | None:
        """Appends the request's events to the log; None if the request is for aiohttp."""
        step = self._step
        received_ms = self._admission.now_ms() if step is None else step.received_ms
        ready = self._take(client, request, received_ms)
        if ready is None:
            return None
        waiting = _Waiting(lane, request.head, ready.rows, ready.answer)
        self._gather(waiting, sum(map(len, ready.rows)), received_ms)
        return waiting

    def _gather(self, waiting: _Waiting, row_bytes: int, received_ms: int) -> None:
        step = self._step
        if step is None:
            step = self._step = _Step(self, received_ms)
            asyncio.get_running_loop().call_soon(self._append)
        step.waiting.append(waiting)
        step.rows += waiting.rows
        step.row_bytes += row_bytes
        if step.row_bytes > _GATHERED_BYTES_MAX:
            self._append()

    def _take(self, client: Client, request: SmallRequest, received_ms: int) -> Ready | None:
        ready = self._at_once.prepare(request, client.address, received_ms)
        if ready is None:
            return None
        if self._begin_span is not None:
            client.span = self._begin_span(request.head.path, request.head.headers)
            if client.span is not None:
                return None
        if not self._at_once.take(ready):
            return None
        if self._begin_span is None:
            self._at_once.learn(request.head)
        return ready

    def _append(self) -> None:
        step, self._step = self._step, None
        if step is None:
            return
        try:
            self._admission.append_with(step.rows, step.finish)
        except Exception as error:
            # The edge: these requests must not wait for ever. Whether their events are stored is unknown.
            log.exception("http: events could not be appended")
            step.finish(0, LogBroken(f"the append failed: {error!r}"))

    def finished(self, waiting: list[_Waiting]) -> None:
        """The events of these requests are on disk."""
        self._admission.admitted(sum([len(each.rows) for each in waiting]))
        self._answer_soon(waiting)

    def not_appended(self, waiting: list[_Waiting], error: LogError) -> None:
        for each in waiting:
            self._admission.give_back_at_once(each.rows)
            refused = not_admitted(error, len(each.rows))
            refused.__cause__ = error
            self.refuse(each, refused, len(each.rows))

    def give_up(self, waiting: list[_Waiting]) -> None:
        """Answers with 503: the worker stops."""
        self.is_stopping = True
        for each in waiting:
            if not each.is_done:
                self.refuse(each, stopping(), events=1)

    def refuse(self, waiting: _Waiting, refused: Refused, events: int) -> None:
        self._refused.add(events, refused.code)
        waiting.refused = refused
        self._answer_soon([waiting])

    def _answer_soon(self, waiting: list[_Waiting]) -> None:
        """Requests that end at the same time, one after the other, have one write for each connection."""
        for each in waiting:
            each.is_done = True
        if not self._finished:
            asyncio.get_running_loop().call_soon(self._answer)
        self._finished += waiting

    def _answer(self) -> None:
        finished, self._finished = self._finished, []
        self._tail = f"\r\nDate: {rfc822_formatted_time()}\r\n"
        for lane in dict.fromkeys([waiting.lane for waiting in finished]):
            try:
                lane.answer()
            except Exception:
                # The edge: what is wrong with one connection must not cost the others their answers.
                log.exception("http: an answer could not be written")

    def render(self, waiting: _Waiting, client: Client, *, closes: bool) -> bytes:
        """The bytes of an answer. `closes`: it is the last one of its connection."""
        head = waiting.head
        if waiting.refused is not None:
            # In a context of its own, which has the id of the request.
            response = copy_context().run(self._refuse, head, waiting.refused, client.address)
            return raw_answer(response, closes=closes)
        length = f"{len(waiting.answer)}\r\n" if waiting.answer else ""
        number = request_id.chosen(head.headers.get("x-request-id"))
        end = "Connection: close\r\n\r\n" if closes else "\r\n"
        text = f"{head.answer or self._start(head)}{length}{_ID}{number}{self._tail}{end}"
        return text.encode() + waiting.answer

    def _start(self, head: Head) -> str:
        """The beginning of the answer to requests with this head."""
        origin = head.headers.get("origin")
        allowed: dict[str, str] = {}
        if origin is None:
            allowed["Vary"] = "Origin"
        else:
            self._allow_origin(origin, allowed)
        cors = "".join(f"{name}: {value}\r\n" for name, value in allowed.items())
        head.answer = f"{_STARTS[head.path]}{cors}{_LENGTHS[head.path]}"
        return head.answer


class Lane:
    """The lane of one connection."""

    __slots__ = ("_client", "_held", "_is_paused", "_is_unread", "_timer", "_waiting", "ends", "shared")

    def __init__(self, client: Client, shared: FastLane) -> None:
        self.shared = shared
        self.ends = RequestEnds()
        self._client = client
        self._waiting: list[_Waiting] = []
        self._held = b""
        # While it runs, the held bytes are the beginning of a request, and more are expected.
        self._timer: asyncio.TimerHandle | None = None
        self._is_unread = False  # whether the held bytes are for aiohttp, once all are answered
        self._is_paused = False

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting or self._held)

    def received(self, data: bytes) -> bool:
        """Takes the bytes; False if aiohttp must have them."""
        if self._held:
            data = self._held + data
            self._held = b""
            if self._timer is None:
                self._hold(data)
                return True
        elif not data or not (self.ends.is_between and self._client.is_free):
            return False
        elif self._client.writing_paused:
            # aiohttp waits until the client reads.
            if not self._waiting:
                return False
            self._pass_on(data)
            return True
        elif len(self._waiting) < WAITING_MAX and (single := self.shared.single(self, data)) is not None:
            self._client.request_taken()
            self._waiting.append(single)
            return True
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        """Submits the requests at the beginning of `data`; holds the rest, or gives it to aiohttp."""
        client, shared, waiting = self._client, self.shared, self._waiting
        at, size = 0, len(data)
        while at < size:
            if len(waiting) >= WAITING_MAX:
                self._stop_timer()
                self._hold(data[at:])
                return
            request = shared.heads.parse(data, at)
            if isinstance(request, Unread):
                if request is Unread.INCOMPLETE:
                    self._expect_more(data[at:])
                else:
                    self._pass_on(data[at:])
                return
            submitted = shared.submit(self, client, request)
            if submitted is None:
                self._pass_on(data[at:])
                return
            client.request_taken()
            waiting.append(submitted)
            at = request.end
            if at < size and request.head.path != TRACK:
                # A batch takes as long as the longest step of a handler.
                self._stop_timer()
                self._hold(data[at:])
                return
            # A parser skips empty lines before a request; a POST of old clients ends with one.
            while at < size and data.startswith(b"\r\n", at):
                at += 2
        if self._timer is not None:
            self._stop_timer()

    def _expect_more(self, data: bytes) -> None:
        self._held = data
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(HOLD_S, self._expected_in_vain)

    def _expected_in_vain(self) -> None:
        data, self._held = self._held, b""
        self._pass_on(data)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pass_on(self, data: bytes) -> None:
        """Gives aiohttp the bytes, now or after the answers that come first."""
        self._stop_timer()
        if self._waiting:
            self._is_unread = True
            self._hold(data)
        else:
            self._client.feed(data)

    def _hold(self, data: bytes) -> None:
        self._held = data
        transport = self._client.transport
        if not self._is_paused and transport is not None:
            self._is_paused = True
            transport.pause_reading()

    def answer(self) -> None:
        """Writes the answers that are due, in the order of the requests."""
        client, waiting = self._client, self._waiting
        transport = client.transport
        if transport is None or transport.is_closing():
            self.lost()
            return
        due = 0
        while due < len(waiting) and waiting[due].is_done:
            due += 1
        if not due:
            return
        is_last = client.is_stopping and due == len(waiting) and not self._held
        render = self.shared.render
        if len(waiting) == 1:
            transport.write(render(waiting.pop(), client, closes=is_last))
        else:
            answers = [render(each, client, closes=is_last and each is waiting[-1]) for each in waiting[:due]]
            del waiting[:due]
            transport.write(b"".join(answers))
        if is_last:
            client.close_gently()
            return
        client.request_answered()
        if not waiting and self._held and self._timer is None:
            # Later: what many connections hold must not be read in one step.
            asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        """Nothing waits any more: the held bytes are next."""
        transport = self._client.transport
        if transport is None or not self._held:
            return  # the client has disconnected
        data, self._held = self._held, b""
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        if self._is_unread or self._client.writing_paused:
            self._is_unread = False
            self._client.feed(data)
        else:
            self._take(data)

    def give_up(self) -> None:
        """Answers what still waits with 503: the worker stops."""
        self.shared.give_up(self._waiting)

    def lost(self) -> None:
        """The client has disconnected. Events that wait are stored nevertheless."""
        self._stop_timer()
        self._held = b""
        self._waiting.clear()
