"""The steps that every request with events takes, whatever the form of its body: permits, body, rows, counts.

Nothing here knows a route. No byte of a body is read before the request has a permit.
"""

import asyncio
from collections.abc import Iterator
from weakref import WeakValueDictionary

from aiohttp import web
from aiohttp.typedefs import Handler

from nealytics.auth.grant import Grant
from nealytics.errors import Refused
from nealytics.ingest.admission import Admission, NotAdmitted
from nealytics.ingest.body import BodyReader
from nealytics.ingest.connection import when_lost
from nealytics.ingest.parser import SLICE_BYTES, Parsed, Steps
from nealytics.ingest.permits import NOBODY, Permits
from nealytics.ingest.ratelimit import PERMIT_BYTES, PERMIT_EVENTS
from nealytics.ingest.slices import Slices
from nealytics.ingest.tracker_reports import report
from nealytics.observe.metrics import Metrics

# Long or compressed bodies of one key, of the tokens of one tenant or, if the key is in the body, of one
# network that are processed at a time. The others wait as they were sent: 4 KB of gzip become 2 MB of JSON
# and rows, and processing all in slices would hold all of them in memory.
LONG_BODIES_MAX = 4


class Intake:
    """`bill`, then within it `body` and `rows`; `count` what was refused."""

    def __init__(self, permits: Permits, admission: Admission, metrics: Metrics) -> None:
        self.admission = admission
        self.slices = Slices()
        self._permits = permits
        # Weak: a tenant's entry lasts as long as its requests.
        self._long_bodies = WeakValueDictionary[str, asyncio.Semaphore]()
        self._metrics = metrics

    def stop(self) -> None:
        """Refuses the requests that are queued for the rate limit."""
        self._permits.stop()

    def bill(self, request: web.Request, grant: Grant) -> "Bill":
        """With `NOBODY`, the key is in the body, and `charge` follows. Raises `Refused` (429) if the client
        has sent many bodies without a valid one."""
        headers = request.headers
        network = self._permits.network_of(
            grant,
            request.remote or "",
            lambda name: ",".join(headers.getall(name)) if name in headers else None,
        )
        if grant is NOBODY:
            self._permits.require_of_address(network)
        return Bill(self._permits, request, grant, network)

    async def body(self, request: web.Request, bill: "Bill", bodies: BodyReader) -> bytes:
        """The body of a request, decompressed; the bill pays for its size."""
        if (slot := bill.take()) is not None:
            await _wait_for(request, slot)
        said = bodies.check_head(request)
        body = await bodies.receive(request)
        encoding = bodies.encoding_of(body, said)
        if encoding or len(body) > SLICE_BYTES:
            await bill.begin_long(self._long_bodies)
        if encoding:
            body = await bodies.decompress(body, encoding, bill.pay_bytes)
        if len(body) > PERMIT_BYTES:
            await bill.pay_bytes(len(body))
        return body

    async def rows(self, steps: Steps, parsed: Parsed, body: bytes, bill: "Bill") -> list[bytes]:
        """The rows of a body's events. A short body is parsed at once, a long one in slices."""
        rows: list[bytes] = []
        try:
            await self.work(_gather(steps, parsed, rows), body, bill)
        except Exception:
            await self.admission.give_back(rows)
            raise
        return rows

    async def work(self, steps: Iterator[int], body: bytes, bill: "Bill") -> None:
        """Advances work on a body to its end; each step yields the number of events so far."""
        if len(body) > SLICE_BYTES:
            await self.slices.run(steps, bill.pay_events)
        else:
            await bill.pay_events(max(steps, default=0))

    def count(self, parsed: Parsed) -> None:
        """Counts the events of an accepted request that were refused."""
        for reason, events in parsed.refused.items():
            self._metrics.refused.add(events, reason)

    def count_report(self, request: web.Request, received_ms: int) -> None:
        """Counts what a tracker says about itself in a request whose events are on disk."""
        found = report(request.query.get("sentAt", ""))
        if found is not None:
            found.note(self._metrics, received_ms)

    def rejected_dropped(self, events: int) -> None:
        """Counts rejected events that could not be kept."""
        self._metrics.rejected_dropped.add(events)

    def counted(self, handler: Handler) -> Handler:
        """A handler whose refused requests are counted."""

        async def counted(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Refused as refused:
                events = refused.events if isinstance(refused, NotAdmitted) else 1
                self._metrics.refused.add(events, refused.code)
                raise
            except asyncio.CancelledError:
                self._metrics.refused.add(1, "stopping")  # nothing else cancels a handler
                raise

        return counted


class Bill:
    """What one request costs: a permit of its key or token and, if its sender is public, one of its address;
    more of both if it is large.

    Permits are taken while the work is done, so a key without permits causes no more work. As long as the key
    is not known, they are owed. A long body keeps its slot until the end of the `with`.
    """

    __slots__ = ("_grant", "_long_slot", "_network", "_paid", "_permits", "_request")

    def __init__(self, permits: Permits, request: web.Request, grant: Grant, network: str) -> None:
        self._permits = permits
        self._request = request
        self._grant = grant
        self._network = network
        self._paid = 0
        self._long_slot: asyncio.Semaphore | None = None

    def __enter__(self) -> "Bill":
        return self

    def __exit__(self, *_: object) -> None:
        if self._long_slot is not None:
            self._long_slot.release()

    async def begin_long(self, slots: WeakValueDictionary[str, asyncio.Semaphore]) -> None:
        """Takes one of the slots for long bodies, until the end."""
        grant = self._grant
        if grant is NOBODY:
            # Anybody may send such a body, so a client without a key delays only its own network.
            whose = f"address {self._network}"
        elif grant.subject:
            # Of a tenant, not of a subject: a page may get as many tokens as it asks for.
            whose = f"{grant.project}\0{grant.tenant}"
        else:
            whose = str(grant.index)
        slot = slots.get(whose)
        if slot is None:
            slot = slots[whose] = asyncio.Semaphore(LONG_BODIES_MAX)
        await slot.acquire()
        self._long_slot = slot

    def take(self) -> asyncio.Future[None] | None:
        """Takes one more permit: None if there is one, else a future to wait for. Raises `Refused` (429)."""
        self._paid += 1
        if self._grant is NOBODY:
            return None
        return self._permits.take(self._grant, self._network)

    async def pay_bytes(self, size: int) -> None:
        await self._pay(-(-size // PERMIT_BYTES))

    async def pay_events(self, count: int) -> None:
        await self._pay(-(-count // PERMIT_EVENTS))

    async def charge(self, grant: Grant) -> None:
        """Takes what is owed from the key that was found in the body."""
        owed, self._paid = self._paid, 0
        self._grant = grant
        if not grant.is_public:
            self._network = ""
        await self._pay(owed)

    def charge_address(self) -> None:
        """There is no valid key in the body: what is owed counts against the client's address."""
        self._permits.take_of_address(self._network, self._paid)

    async def _pay(self, permits: int) -> None:
        """Returns when the request has taken this many permits in total. Raises `Refused` (429)."""
        while self._paid < permits:
            if (slot := self.take()) is not None:
                await _wait_for(self._request, slot)


def _gather(steps: Steps, parsed: Parsed, rows: list[bytes]) -> Iterator[int]:
    """Appends what the steps find to `rows`; yields the number of elements so far."""
    for found in steps:
        rows += found
        yield parsed.elements


async def _wait_for(request: web.BaseRequest, slot: asyncio.Future[None]) -> None:
    """Waits in the queue of the rate limit, and leaves it when the client disconnects."""

    def leave() -> None:
        if not slot.done():
            slot.set_exception(ConnectionResetError("the client disconnected while it was queued"))

    with when_lost(request, leave):
        await slot
