"""The fast lane and aiohttp, given the same bytes, answer, store and count the same.

Each case is sent to both. Those that should take the lane are checked to have taken it, so that this suite
cannot pass because nothing does.
"""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
import pytest

from nealytics.config import ApiKey, AuthConfig, IngestConfig, QuotaRule, RetentionRule, ServerConfig
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import LogBroken, LogFull
from nealytics.http import fast_lane
from nealytics.http.app import RELOAD
from nealytics.http.listener import FAST_LANE
from nealytics.ingest.at_once import REMEMBERED_BYTES_MAX
from nealytics.quotas import Quotas
from tests.fakes.worker import ANY, BATCH, BEACON, BOUND, KEYS, TENANT, TRACK, event, ingest_token
from tests.http.doors import NOW_MS, WHEN_QUIET, Door, Outcome, answers_of
from tests.http.test_spans import FakeSpan

GET = b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def request(
    path: str = TRACK,
    body: object = None,
    *,
    key: str | None = ANY,
    length: object = None,
    first: str | None = None,
    **headers: str,
) -> bytes:
    """The bytes of a request; `X_Request_Id="a"` is a header."""
    data = body if isinstance(body, bytes) else json.dumps(event() if body is None else body).encode()
    lines = [first or f"POST {path} HTTP/1.1", "Host: x"]
    if key is not None:
        lines.append(f"X-Project-Key: {key}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if length != "":
        lines.append(f"Content-Length: {len(data) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def packed(body: object) -> bytes:
    return gzip.compress(body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.fixture(autouse=True)
def short_hold(monkeypatch):
    monkeypatch.setattr(fast_lane, "HOLD_S", 0.002)


@pytest.fixture
async def doors() -> AsyncIterator[tuple[Door, Door]]:
    both = (await Door(lane=True).open(), await Door(lane=False).open())
    yield both
    for door in both:
        await door.close()


class Taken:
    """Counts the requests that take the lane."""

    def __init__(self, door: Door) -> None:
        self.requests = 0
        lane: Any = door.server.lane

        def counting(take: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any) -> Any:
                waiting = take(*args)
                self.requests += waiting is not None
                return waiting

            return counted

        lane.submit, lane.single = counting(lane.submit), counting(lane.single)


async def same(doors: tuple[Door, Door], *chunks: bytes, between: int = 0) -> Outcome:
    fast, slow = [await door.exchange(chunks, between=between) for door in doors]
    assert fast == slow
    return fast


BROWSER = {
    "Origin": "https://shop.example",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "Content-Type": "text/plain;charset=UTF-8",
    "Accept": "*/*",
    "Sec-Fetch-Mode": "no-cors",
    "Accept-Language": "en-US,en;q=0.9",
    "Connection": "keep-alive",
}
LINES = b"\n".join(json.dumps(event(itemId=str(n))).encode() for n in range(3))
MIXED = [event(), event(tenantId=""), event(timestamp="soon")]

FAST = {
    "track": request(),
    "track with everything": request(
        body=event(
            eventId="0189f7a0-0000-8000-8000-000000000001",
            timestamp=NOW_MS,
            userId="u",
            itemId="i",
            metadata={"a": [1, "ü"]},
        )
    ),
    "key in the query": request(f"{TRACK}?k={ANY}", key=None),
    "key in both": request(f"{TRACK}?k=wrong"),
    "a bound key": request(key=TENANT),
    "a browser's key": request(key=BOUND, X_Forwarded_For="198.51.100.7, 10.0.0.1"),
    "own id": request(X_Request_Id="checkout-7f"),
    "id that is not harmless": request(X_Request_Id="a b"),
    "origin": request(Origin="https://shop.example"),
    "foreign origin": request(Origin="https://evil.example"),
    "no blank after the colon": request().replace(b"Host: x", b"Host:x"),
    "blanks around a value": request().replace(b"Host: x", b"Host:   x  "),
    "lower case": request().replace(b"X-Project-Key", b"x-project-key"),
    "a header without value": request(Accept=""),
    "unknown headers": request(X_Something_Else="1", **{"!#$%&'*+.^`|~": "2"}),
    "keep-alive in capitals": request(Connection="Keep-Alive"),
    "leading zeros": request(length=f"{len(json.dumps(event())):05}"),
    "text that is not ASCII": request(body=json.dumps(event(userId="Zoë"), ensure_ascii=False).encode()),
    "batch": request(BATCH, [event(itemId="1"), event(itemId="2")]),
    "batch of one": request(BATCH, event()),
    "batch of lines": request(BATCH, LINES, Content_Type="application/x-ndjson"),
    "batch with refused events": request(BATCH, MIXED, Origin="https://shop.example"),
    "beacon": request(f"{BEACON}?k={ANY}", [event()], key=None, **BROWSER),
    "beacon with refused events": request(f"{BEACON}?k={ANY}", MIXED, key=None),
    "beacon of lines": request(f"{BEACON}?k={ANY}", LINES, key=None),
    "a tracker's batch": request(f"{BATCH}?k={ANY}&sentAt=1781000000000", LINES, key=None, **BROWSER),
    "a tracker's beacon": request(f"{BEACON}?k={ANY}&sentAt=1781000000000", LINES, key=None, **BROWSER),
    "an empty line behind": request() + b"\r\n",
    "gzip": request(body=packed(event()), Content_Encoding="gzip"),
    "gzip of a batch": request(BATCH, packed(MIXED), Content_Encoding="gzip"),
    "gzip of lines": request(
        BATCH, packed(LINES), Content_Encoding="gzip", Content_Type="application/x-ndjson"
    ),
    "gzip of a beacon": request(f"{BEACON}?k={ANY}", packed([event()]), key=None, Content_Encoding="gzip"),
    "gzip up to the limit": request(
        body=packed(event(metadata={"a": "x" * (32 * 1024 - len(json.dumps(event(metadata={"a": ""}))))})),
        Content_Encoding="gzip",
    ),
}

TOKEN = ingest_token(user_id="ada", sub="ada")
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BARE = {"sessionId": "s", "eventType": "view"}

# After the token was verified once.
FAST_WITH_TOKEN = {
    "a tracker's batch": request(f"{BATCH}?&sentAt=1781000000000", [BARE], key=None, **BEARER, **BROWSER),
    "a tracker's beacon": request(
        f"{BEACON}?token={TOKEN}&sentAt=1781000000000", [BARE], key=None, **BROWSER
    ),
    "track": request(body=BARE, key=None, **BEARER),
    "track with all fields": request(body=event(userId="ada"), key=None, **BEARER),
    "own id": request(
        body=BARE | {"eventId": "0189f7a0-0000-8000-8000-000000000001"}, key=None, **BEARER, **BROWSER
    ),
    "lower case": request(body=BARE, key=None, authorization=f"bearer {TOKEN}"),
    "two blanks": request(body=BARE, key=None, authorization=f"Bearer  {TOKEN} "),
    "batch": request(BATCH, [BARE, event(tenantId="t2"), BARE], key=None, **BEARER),
    "beacon": request(BEACON, BARE, key=None, **BEARER),
    "beacon with the token in the query": request(f"{BEACON}?token={TOKEN}", [BARE], key=None, **BROWSER),
    "beacon with another token in a header": request(
        f"{BEACON}?token={TOKEN}", [BARE], key=None, Authorization="Bearer wrong"
    ),
    "a key beside it": request(**BEARER),
}

SLOW = {
    "a forged token": request(body=BARE, key=None, Authorization=f"Bearer {TOKEN[:-4]}AAAA"),
    "no bearer": request(body=BARE, key=None, Authorization=f"Basic {TOKEN}"),
    "a token for track in the query": request(f"{TRACK}?token={TOKEN}", BARE, key=None),
    "a token for batch in the query": request(f"{BATCH}?token={TOKEN}", [BARE], key=None),
    "a token and a key in the query": request(f"{BEACON}?token={TOKEN}&k={ANY}", BARE, key=None),
    "a wrong key beside a token": request(body=BARE, key="wrong", **BEARER),
    "another tenant than the token's": request(body=event(tenantId="t2"), key=None, **BEARER),
    "another user than the token's": request(body=BARE | {"userId": "eve"}, key=None, **BEARER),
    "no key": request(key=None),
    "empty key": request(key=""),
    "wrong key": request(key="wrong"),
    "beacon with the key in a header": request(BEACON),
    "foreign project": request(body=event(projectId="other"), key=BOUND),
    "foreign projects in a batch": request(BATCH, [event(projectId="other")], key=BOUND),
    "not JSON": request(body=b"{"),
    "not UTF-8": request(body=b'{"projectId":"\xff"}'),
    "an array": request(body=[event()]),
    "a form": request(body=b"projectId=shop", Content_Type="application/x-www-form-urlencoded"),
    "a missing field": request(body=event(sessionId="")),
    "too old": request(body=event(timestamp=1)),
    "nothing accepted in a batch": request(BATCH, [event(tenantId="")]),
    "nothing accepted in a beacon": request(f"{BEACON}?k={ANY}", [event(tenantId="")], key=None),
    "an empty batch": request(BATCH, []),
    "no body": request(body=b""),
    "no length": request(body=b"", length=""),
    "a large body": request(body=event(metadataJson="x" * 40_000)),
    "a larger one than is accepted": request(length=99_999_999, body=b""),
    "gzip in capitals": request(body=packed(event()), Content_Encoding="GZIP"),
    "deflate": request(body=zlib.compress(json.dumps(event()).encode()), Content_Encoding="deflate"),
    "two members of gzip": request(
        BATCH, packed(b"[") + packed(b"%b]" % LINES[:20]), Content_Encoding="gzip"
    ),
    "gzip with bytes behind": request(body=packed(event()) + b"x", Content_Encoding="gzip"),
    "gzip cut": request(body=packed(event())[:-1], Content_Encoding="gzip"),
    "gzip with a wrong sum": request(body=packed(event())[:-8] + b"\0" * 8, Content_Encoding="gzip"),
    "no gzip": request(Content_Encoding="gzip"),
    "gzip of much": request(body=packed(event(metadata={"a": "x" * 40_000})), Content_Encoding="gzip"),
    "gzip of a form": request(body=packed(b"a=b"), Content_Encoding="gzip"),
    "gzip of an invalid event": request(body=packed(event(tenantId="")), Content_Encoding="gzip"),
    "identity": request(Content_Encoding="identity"),
    "an unknown encoding": request(Content_Encoding="rot13"),
    "chunked": request(body=b"4\r\n{}  \r\n0\r\n\r\n", length="", Transfer_Encoding="chunked"),
    "chunked with a length": request(body=b"0\r\n\r\n", Transfer_Encoding="chunked"),
    "two lengths": request(content_length="5"),
    "a length with a sign": request(length="+5"),
    "a length that is no number": request(length="5a"),
    "a negative length": request(length="-5"),
    "a list of lengths": request(length="5, 5"),
    "a length of another script": request(length="٣"),
    "blanks before the event": request(body=b"  " + json.dumps(event()).encode()),
    "a blank in a name": request().replace(b"Host: x", b"Host : x"),
    "a folded line": request().replace(b"Host: x", b"Host: x\r\n y"),
    "no colon": request().replace(b"Host: x", b"Host: x\r\nnothing"),
    "no name": request().replace(b"Host: x", b"Host: x\r\n: nothing"),
    "no host": request().replace(b"Host: x\r\n", b""),
    "two hosts": request(host="y"),
    "two ids": request(X_Request_Id="a", x_request_id="b"),
    "two keys": request(x_project_key="wrong"),
    "NUL in a value": request(X_A="a\0b"),
    "a tab in a value": request(X_A="a\tb"),
    "a byte that is not ASCII": request(X_A="ü"),
    "bare LF": request().replace(b"\r\n", b"\n"),
    "bare CR": request().replace(b"Host: x", b"Host: x\rX-A: y"),
    "HTTP/1.0": request(first=f"POST {TRACK} HTTP/1.0"),
    "HTTP/1.0 kept": request(first=f"POST {TRACK} HTTP/1.0", Connection="keep-alive"),
    "HTTP/2.0": request(first=f"POST {TRACK} HTTP/2.0"),
    "no version": request(first=f"POST {TRACK}"),
    "closing": request(Connection="close"),
    "closing in a list": request(Connection="keep-alive, close"),
    "upgrade": request(Connection="upgrade", Upgrade="websocket"),
    "upgrade without connection": request(Upgrade="h2c"),
    "expect": request(Expect="100-continue"),
    "another expectation": request(Expect="200-ok"),
    "trailer": request(Trailer="X-A"),
    "old websocket": request(Sec_WebSocket_Key1="a"),
    "another method": request(first=f"PUT {TRACK} HTTP/1.1"),
    "GET": request(first=f"GET {TRACK} HTTP/1.1"),
    "preflight": request(
        first=f"OPTIONS {TRACK} HTTP/1.1",
        body=b"",
        Origin="https://shop.example",
        Access_Control_Request_Method="POST",
    ),
    "in capitals": request(TRACK.upper()),
    "a slash at the end": request(f"{TRACK}/"),
    "the whole address": request(first=f"POST http://x{TRACK} HTTP/1.1"),
    "percent-encoded": request(TRACK.replace("track", "tr%61ck")),
    "an unknown path": request("/api/v1/telemetry/trace"),
    "a fragment": request(f"{TRACK}#a"),
    "another parameter": request(f"{TRACK}?k={ANY}&a=b", key=None),
    "a report in another form": request(f"{BATCH}?sentAt=1&k={ANY}", LINES, key=None),
    "the key percent-encoded": request(f"{TRACK}?k=any%2Dkey", key=None),
    "K": request(f"{TRACK}?K={ANY}", key=None),
    "an empty query": request(f"{TRACK}?"),
    "wait": request(f"{BATCH}?wait=1", [event()]),
    "two blanks": request(first=f"POST  {TRACK} HTTP/1.1"),
    "a long head": request(X_A="a" * 9_000),
    "a header that is too long": request(X_A="a" * 18_000),
    "many headers": request(**{f"X_{n}": "1" for n in range(70)}),
    "too many headers": request(**{f"X_{n}": "1" for n in range(140)}),
    "an unknown content type": request(BATCH, [event()], Content_Type="what / ever"),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
}


@pytest.mark.parametrize("name", FAST)
async def test_usual_requests_take_the_lane_and_are_answered_as_by_aiohttp(doors, name):
    taken = Taken(doors[0])
    outcome = await same(doors, FAST[name])
    assert [answer.status[9:11] for answer in outcome.answers] == ["20"]
    assert taken.requests == 1
    assert outcome.rows


@pytest.mark.parametrize("name", FAST_WITH_TOKEN)
async def test_requests_with_a_known_token_take_the_lane_and_are_answered_as_by_aiohttp(doors, name):
    taken = Taken(doors[0])
    await same(doors, FAST_WITH_TOKEN["track"])
    assert taken.requests == 0
    outcome = await same(doors, FAST_WITH_TOKEN[name])
    assert [answer.status[9:11] for answer in outcome.answers] == ["20"]
    assert taken.requests == 1
    assert outcome.rows


@pytest.mark.parametrize("name", SLOW)
async def test_other_requests_are_left_to_aiohttp(doors, name):
    taken = Taken(doors[0])
    await same(doors, SLOW[name])
    await same(doors, SLOW[name] + LAST)
    # Apart: of a good and a malformed request in one read, aiohttp answers the malformed one only.
    await same(doors, request(), SLOW[name], request(), between=WHEN_QUIET)
    assert taken.requests <= 2


@pytest.mark.parametrize("name", ["track", "beacon", "batch with refused events"])
async def test_a_request_may_be_cut_anywhere(doors, name):
    data = FAST[name]
    whole = await same(doors, data)
    for at in range(1, len(data)):
        assert await same(doors, data[:at], data[at:], between=at % 4) == whole


async def test_a_request_may_arrive_byte_by_byte(doors):
    data = FAST["track"] + GET + FAST["batch"]
    outcome = await same(doors, *(data[at : at + 1] for at in range(len(data))))
    assert [answer.status[9:12] for answer in outcome.answers] == ["202", "200", "202"]


@pytest.mark.parametrize("between", [0, 1, 5, 20])
async def test_mixed_requests_are_answered_in_their_order(doors, between):
    track, slow = FAST["own id"], request(key="wrong")
    kinds = {"t": track, "g": GET, "s": slow, "b": FAST["batch"]}
    for order in ("tgt", "gtg", "ttgtt", "tst", "tbgb", "ggtt", "tgsbtgsb", "t" * 10 + "g" + "t" * 10):
        pieces = [kinds[kind] for kind in order]
        together = await same(doors, b"".join(pieces))
        apart = await same(doors, *pieces, between=between)
        assert together == apart
        expected = {"t": "202", "g": "200", "s": "401", "b": "202"}
        assert [answer.status[9:12] for answer in apart.answers] == [expected[kind] for kind in order]


async def test_the_lane_continues_after_a_request_of_aiohttp(doors):
    taken = Taken(doors[0])
    large = request(body=event(metadataJson="x" * 40_000))
    pieces = [request(), GET, request(), large[:100], large[100:20_000], large[20_000:], request()]
    await same(doors, *pieces, request(key="wrong"), request(), between=WHEN_QUIET)
    assert taken.requests == 4


async def test_many_pipelined_requests_are_bounded_in_the_log_and_all_answered(doors):
    fast, _ = doors
    many = 3 * fast_lane.WAITING_MAX + 5
    fast.log.is_stalled = True
    transport = fast.connect()
    transport.receive(request() * many)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(fast.log.rows) == fast_lane.WAITING_MAX
    fast.log.is_stalled = False
    fast.log.release()
    await fast.quiet(transport)
    assert transport.sent.count(b"HTTP/1.1 202 ") == len(fast.log.rows) == many


async def test_batches_of_one_read_are_taken_one_by_one(doors):
    """Each may take as long as one step of a handler may."""
    fast, _ = doors
    fast.log.is_stalled = True
    transport = fast.connect()
    transport.receive(FAST["batch"] * 5)
    for _ in range(50):
        await asyncio.sleep(0)
    taken = len(fast.log.rows)
    assert taken > 0
    fast.log.is_stalled = False
    fast.log.release()
    await fast.quiet(transport)
    assert transport.sent.count(b"HTTP/1.1 202 ") == 5
    assert len(fast.log.rows) == 5 * taken


async def test_a_client_that_reads_no_answers_is_not_read(doors):
    for door in doors:
        transport = door.connect()
        transport.receive(request())
        transport.get_protocol().pause_writing()
        stored = 0
        for _ in range(200):
            transport.receive(request())
            await asyncio.sleep(0)
            stored = len(door.log.rows)
        assert transport._is_paused
        assert stored < 100
        transport.get_protocol().resume_writing()
        await door.quiet(transport)
        assert transport.sent.count(b"HTTP/1.1 202 ") == 201


async def test_answers_of_one_group_are_one_write(doors):
    fast, _ = doors
    transport = fast.connect()
    transport.receive(request() * 20)
    await fast.quiet(transport)
    assert transport.sent.count(b"HTTP/1.1 202 ") == 20
    assert transport.writes == 1


@pytest.mark.parametrize("error", [LogFull("wal: full"), LogBroken("wal: broken")])
@pytest.mark.parametrize("headers", [{}, {"Origin": "https://shop.example", "X_Request_Id": "mine"}])
async def test_a_log_that_takes_nothing_is_answered_503(doors, error, headers):
    for door in doors:
        door.log.error = error
    outcome = await same(doors, request(**headers) + request(BATCH, [event(), event()]) + GET)
    assert [answer.status[9:12] for answer in outcome.answers] == ["503", "503", "200"]
    assert outcome.metrics == {"log_full" if isinstance(error, LogFull) else "log_broken": 3}


async def test_the_rate_limit_counts_the_same():
    doors = (
        await Door(lane=True, rate_limit_requests=3, rate_limit_window_s=3600, rate_limit_queue_max=0).open(),
        await Door(
            lane=False, rate_limit_requests=3, rate_limit_window_s=3600, rate_limit_queue_max=0
        ).open(),
    )
    bad = request(body=b"{")
    fast, slow = [
        [answer.status for answer in (await door.exchange([request(), bad, request(), request()])).answers]
        for door in doors
    ]
    assert fast == slow
    assert [status[9:12] for status in fast] == ["202", "400", "202", "429"]


async def test_the_limit_per_address_counts_the_same():
    limits: dict[str, Any] = {"rate_limit_requests_per_address": 2, "rate_limit_window_s": 3600}
    doors = (await Door(lane=True, **limits).open(), await Door(lane=False, **limits).open())
    mine = request(key=BOUND)
    fast, slow = [
        [answer.status for answer in (await door.exchange([mine, mine, mine, request()])).answers]
        for door in doors
    ]
    assert fast == slow
    assert [status[9:12] for status in fast] == ["202", "202", "429", "202"]


@pytest.mark.parametrize("limit", ["rate_limit_requests", "rate_limit_requests_per_address"])
async def test_the_limits_of_a_token_count_the_same(limit):
    limits: dict[str, Any] = {limit: 2, "rate_limit_window_s": 3600}
    doors = (await Door(lane=True, **limits).open(), await Door(lane=False, **limits).open())
    mine = FAST_WITH_TOKEN["track"]
    fast, slow = [
        [answer.status for answer in (await door.exchange([mine, mine, mine, request()])).answers]
        for door in doors
    ]
    assert fast == slow
    assert [status[9:12] for status in fast] == ["202", "202", "429", "202"]


async def test_an_event_of_a_client_that_disconnects_is_stored_and_counted(doors):
    fast, _ = doors
    transport = fast.connect()
    transport.receive(request() + GET)
    transport.lose()
    await fast.quiet(transport)
    assert (len(fast.log.rows), transport.sent) == (1, b"")
    assert fast.metrics.value("nealytics_events_ingested_total") == 1


async def test_a_request_that_waits_at_a_stop_is_answered_and_its_connection_closed(doors):
    for door in doors:
        door.log.is_stalled = True
        transport = door.connect()
        transport.receive(request())
        await door.quiet(transport)
        connection = transport.get_protocol()
        door.server.is_stopping = True
        assert not connection.is_idle
        door.log.is_stalled = False
        door.log.release()
        await door.quiet(transport)
        (answer,) = answers_of(transport.sent)
        assert (answer.status, answer.headers["Connection"]) == ("HTTP/1.1 202 Accepted", "close")
        assert transport.is_half_closed or transport.is_closing()


async def test_a_request_that_a_stop_cannot_wait_for_is_answered_503(doors):
    outcomes = []
    for door in doors:
        door.log.is_stalled = True
        transport = door.connect()
        transport.receive(request(X_Request_Id="mine", Origin="https://shop.example"))
        await door.quiet(transport)
        door.server.is_stopping = True
        transport.get_protocol().give_up()
        await door.quiet(transport)
        door.log.is_stalled = False
        door.log.release()
        await door.quiet(transport)
        outcomes.append((answers_of(transport.sent), door.metrics.value("nealytics_events_ingested_total")))
        assert door.metrics.value("nealytics_events_refused_total", "stopping") == 1
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][0].status == "HTTP/1.1 503 Service Unavailable"


async def test_a_connection_is_kept_after_an_answer_of_the_lane_as_long_as_after_one_of_aiohttp(doors):
    ends = []
    for door in doors:
        transport = door.connect()
        transport.receive(request())
        await door.quiet(transport)
        connection = transport.get_protocol()
        assert connection.is_idle
        assert connection._keepalive_handle is not None
        ends.append(connection._next_keepalive_close_time)
        transport.lose()
    assert abs(ends[0] - ends[1]) < 10


class Sampling:
    """Samples every other request that has no parent."""

    def __init__(self) -> None:
        self.asked = 0
        self.spans: list[FakeSpan] = []

    def begin(self, name: str, headers: Mapping[str, str]) -> FakeSpan | None:
        self.asked += 1
        if "traceparent" not in headers and self.asked % 2:
            return None
        self.spans.append(FakeSpan(name))
        return self.spans[-1]


async def test_each_request_is_sampled_once_and_has_its_span():
    found = []
    for lane in (True, False):
        tracing = Sampling()
        door = await Door(lane=lane, tracing=tracing).open()  # type: ignore[arg-type]
        await door.exchange([request() * 5, request(traceparent="a"), request(key="wrong")])
        found.append(
            (tracing.asked, [(span.name, span.attributes, span.has_ended) for span in tracing.spans])
        )
        for span in tracing.spans:
            span.attributes.pop("nealytics.request_id")
        await door.close()
    assert found[0] == found[1]
    assert found[0][0] == 7


async def test_with_a_log_of_level_debug_every_request_has_its_line(caplog):
    with caplog.at_level("DEBUG", "nealytics.http"):
        door = await Door(lane=True).open()
        await door.exchange([request()])
        await door.close()
    assert "POST /api/v1/telemetry/track: 202 in" in caplog.text


async def test_quotas_count_the_same():
    rules = [
        QuotaRule(project="shop", tenant="*", events_per_month=5),
        QuotaRule(project="shop", events_per_month=9),
    ]
    several = request(BATCH, [event(), event(tenantId="t2"), event(projectId="other")])
    bad = request(body=event(timestamp="soon"))
    outcomes = []
    for lane in (True, False):
        quotas = Quotas(rules)
        door = await Door(lane=lane, quotas=quotas).open()
        pieces = [request() * 2, several, bad, request(), several, request(), request(), several]
        outcomes.append((await door.exchange(pieces, between=WHEN_QUIET), quotas.shares()))
        await door.close()
    assert outcomes[0] == outcomes[1]
    statuses = [answer.status[9:12] for answer in outcomes[0][0].answers]
    assert statuses == ["202", "202", "202", "400", "202", "202", "429", "429", "202"]


@pytest.mark.parametrize("lane", [True, False])
async def test_an_event_that_the_log_does_not_take_uses_no_quota(lane):
    quotas = Quotas([QuotaRule(project="shop", events_per_month=3)])
    door = await Door(lane=lane, quotas=quotas).open()
    door.log.error = LogFull("full")
    outcome = await door.exchange([request()] * 5, between=WHEN_QUIET)
    assert [answer.status[9:12] for answer in outcome.answers] == ["503"] * 5
    assert [share.used for share in quotas.shares()] == [0]
    await door.close()


ERASURE = Erasure(
    id="1",
    project_id="shop",
    tenant_id="t1",
    before_ms=NOW_MS - 1_000,
    requested_at_ms=NOW_MS,
    requested_by="a test",
)


async def test_events_that_an_erasure_covers_are_accepted_and_not_stored(doors):
    for door in doors:
        door.admission.erase(Tombstones([ERASURE]))
    old, new = event(timestamp=NOW_MS - 2_000), event(timestamp=NOW_MS)
    pieces = [request(body=old), request(body=new), request(BATCH, [old, new, new]), request(BATCH, [old])]
    outcome = await same(doors, *pieces, between=WHEN_QUIET)
    assert [answer.status[9:12] for answer in outcome.answers] == ["202"] * 4
    assert [row["timestamp"] for row in outcome.rows] == [NOW_MS] * 3


async def test_what_was_accepted_before_an_erasure_is_in_the_log_when_it_is_adopted(doors):
    """The erasure looks in the log for what it covers, up to what was appended by then."""
    fast, _ = doors
    for _ in range(3):  # the third time, the compiled reader knows the head
        rows = len(fast.log.rows)
        fast.admission.erase(Tombstones([]))
        transport = fast.connect()
        transport.receive(request(body=event(timestamp=NOW_MS - 2_000)))
        assert len(fast.log.rows) == rows
        fast.admission.erase(Tombstones([ERASURE]))
        assert len(fast.log.rows) == rows + 1
        await fast.quiet(transport)
        assert transport.sent.startswith(b"HTTP/1.1 202 ")


async def test_requests_whose_rows_cannot_be_appended_are_answered(doors, monkeypatch):
    fast, _ = doors

    def fail(*_: object) -> None:
        raise ValueError("too long")

    monkeypatch.setattr(fast.log, "append_with", fail)
    transport = fast.connect()
    transport.receive(request() * 2)
    await fast.quiet(transport)
    assert [answer.status[9:12] for answer in answers_of(transport.sent)] == ["503", "503"]


async def test_the_rows_of_one_append_are_bounded_however_well_they_were_compressed(doors, monkeypatch):
    fast, _ = doors
    sizes: list[int] = []
    append = fast.log.append_with

    def measured(rows: list[bytes], *others: Any) -> None:
        sizes.append(sum(map(len, rows)))
        append(rows, *others)

    monkeypatch.setattr(fast.log, "append_with", measured)
    transport = fast.connect()
    transport.receive(FAST["gzip up to the limit"] * 60)
    await fast.quiet(transport)
    assert len(fast.log.rows) == 60
    assert max(sizes) <= fast_lane._GATHERED_BYTES_MAX + 32 * 1024


async def test_only_short_heads_that_are_repeated_are_known_to_the_compiled_reader(doors):
    fast, _ = doors
    long = request(X_A="a" * REMEMBERED_BYTES_MAX)
    once = [request(X_Request_Id=str(number)) for number in range(3)]
    known: Any = fast.app[FAST_LANE]._at_once._known
    await fast.exchange([long, long, long, *once, request()], between=WHEN_QUIET)
    assert not known
    await fast.exchange([request()], between=WHEN_QUIET)
    assert list(known) == [request().split(b"\r\n\r\n")[0]]


def _reloaded(door: Door, **changes: Any) -> None:
    door.app[RELOAD](msgspec.structs.replace(door.settings, **{"auth": AuthConfig(api_keys=KEYS)} | changes))


OLD: dict[str, Any] = {"body": event(timestamp=NOW_MS - 3 * 86_400_000), "Origin": "https://shop.example"}
CHANGES: dict[str, tuple[Callable[[Door], None], str]] = {
    "the key is removed": (lambda door: _reloaded(door, auth=AuthConfig()), "401"),
    "the key is for another project": (
        lambda door: _reloaded(door, auth=AuthConfig(api_keys=(ApiKey(key=ANY, project="other"),))),
        "403",
    ),
    "the rate is limited": (
        lambda door: _reloaded(
            door, ingest=IngestConfig(rate_limit_requests=1, rate_limit_window_s=3600, rate_limit_queue_max=0)
        ),
        "202",
    ),
    "the origin is not allowed": (
        lambda door: _reloaded(door, server=ServerConfig(cors_allowed_origins=("https://other.example",))),
        "202",
    ),
    "the table keeps two days": (lambda door: door.admission.keep(2), "400"),
    "a rule keeps two days": (
        lambda door: door.admission.rule([RetentionRule(project="shop", days=2)]),
        "400",
    ),
    "an erasure covers it": (lambda door: door.admission.erase(Tombstones([ERASURE])), "202"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_a_head_led_to_is_found_again_after_a_change(doors, change):
    taken = Taken(doors[0])
    before = await same(doors, request(**OLD) * 2, request(**OLD), between=WHEN_QUIET)
    assert taken.requests == 3
    apply, status = CHANGES[change]
    for door in doors:
        apply(door)
    after = await same(doors, request(**OLD), between=WHEN_QUIET)
    assert [answer.status[9:12] for answer in before.answers + after.answers] == ["202"] * 3 + [status]
    assert (after.answers, len(after.rows)) != (before.answers[:1], 1) or change == "the rate is limited"
    again = await same(doors, request(**OLD), between=WHEN_QUIET)
    assert (again.answers == after.answers) == (change != "the rate is limited")
