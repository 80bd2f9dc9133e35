"""The fast lane against aiohttp, with requests that nobody thought of.

`NEALYTICS_FUZZ=100000` runs that many cases.

aiohttp drops good requests that arrive in one read with a malformed one behind them, so what it does depends
on how bytes are cut. A connection with the lane may do what aiohttp does with the same reads, or what it does
with one byte at a time, which is right.
"""

import asyncio
import gzip
import json
import os
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nealytics.http import fast_lane
from tests.fakes.worker import ANY, BATCH, BEACON, BOUND, TRACK, event, ingest_token
from tests.http.doors import WHEN_QUIET, Door

CASES = int(os.environ.get("NEALYTICS_FUZZ", "300"))

TOKEN = ingest_token(expires_s=86_400)

BODIES = st.sampled_from([
    json.dumps(event()).encode(),
    json.dumps(event(eventId="0189f7a0-0000-8000-8000-000000000001", metadata={"a": 1})).encode(),
    json.dumps([event(), event(tenantId="")]).encode(),
    json.dumps(event()).encode() + b"\n" + json.dumps(event(itemId="2")).encode(),
    json.dumps(event(projectId="other")).encode(),
    b'{"sessionId":"s","eventType":"view"}',
    gzip.compress(json.dumps(event()).encode()), gzip.compress(json.dumps([event()]).encode())[:-3],
    b"{}", b"[]", b"[{}]", b"", b"\xff", b" {}", b"k=v", b"GET / HTTP/1.1\r\n\r\n",
])  # fmt: skip
TARGETS = st.sampled_from([
    TRACK, TRACK, BATCH, f"{BEACON}?k={ANY}", f"{TRACK}?k={ANY}", f"{TRACK}?k=", f"{BATCH}?wait=1",
    f"{BEACON}?token={TOKEN}", f"{TRACK}?token={TOKEN}",
    f"{BEACON}?k=%61", TRACK + "/", TRACK.upper(), "/here", "*", "",
])  # fmt: skip
HEADERS = st.sampled_from([
    f"X-Project-Key: {ANY}", f"x-project-key:{ANY}", f"X-PROJECT-KEY:  {BOUND}  ", "X-Project-Key:",
    f"Authorization: Bearer {TOKEN}", "Authorization: Bearer", "Authorization: Basic YTpi",
    "Origin: https://shop.example", "Origin: null", "Connection: keep-alive", "Connection: Keep-Alive",
    "Connection: close", "Connection: ", "Content-Type: application/x-ndjson",
    "Content-Type: text/plain;charset=UTF-8", "Content-Type: ;", "X-Request-Id: mine", "X-Request-Id: <a>",
    "Content-Encoding: gzip", "Content-Encoding:", "Transfer-Encoding: chunked", "Transfer-Encoding: a",
    "Expect: 100-continue", "Upgrade: h2c", "Cookie: a=b", "Accept: */*", "X-Forwarded-For: 192.0.2.7",
    "Trailer: a", "TE: trailers", "a b: c", " a: b", "a", ":", "\ta: b", "a: \x01", "a: \x7f", "a:b:c",
    "Host: y",
       "Proxy-Connection: keep-alive", "Keep-Alive: 5", "Content-Length : 5", "Traceparent: 00-0-0-00",
])  # fmt: skip
FIRST = st.sampled_from(["POST {} HTTP/1.1"] * 8 + [
    "GET {} HTTP/1.1", "POST {} HTTP/1.0", "post {} HTTP/1.1", "POST  {} HTTP/1.1", "POST {} HTTP/1.1 ",
    "OPTIONS {} HTTP/1.1", "POST {}",
])  # fmt: skip
LENGTHS = st.sampled_from(["{}"] * 10 + ["{}0", "0", "00{}", "+{}", "", "{}, {}", "0x1", "-1", "{} "])
ENDS = st.sampled_from(["\r\n"] * 12 + ["\n", "\r", "\r\n\r\n", "\r\r\n"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    body = draw(BODIES)
    end = draw(ENDS)
    lines = [draw(FIRST).format(draw(TARGETS))]
    headers = draw(st.lists(HEADERS, max_size=6))
    if draw(st.integers(0, 9)):
        headers.insert(draw(st.integers(0, len(headers))), "Host: x")
    if draw(st.integers(0, 4)):
        headers.insert(0, f"X-Project-Key: {ANY}")
    if draw(st.integers(0, 9)):
        length = draw(LENGTHS).format(len(body), len(body))
        headers.insert(draw(st.integers(0, len(headers))), f"Content-Length: {length}")
    data = (end.join(lines + headers) + end + end).encode() + body
    for at in (
        draw(st.lists(st.integers(0, len(data) - 1), max_size=1)) if not draw(st.integers(0, 3)) else []
    ):
        byte = bytes([draw(st.integers(0, 255))])
        data = data[:at] + byte + data[at + draw(st.integers(0, 1)) :]
    return data


def well_formed(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


KEY = f"X-Project-Key: {ANY}"
EVENT = json.dumps(event()).encode()
WELL_FORMED = (
    well_formed(TRACK, EVENT, KEY),
    well_formed(TRACK, EVENT, KEY, "X-Request-Id: mine", "Origin: https://shop.example"),
    well_formed(TRACK, EVENT, "X-Project-Key: wrong"),
    well_formed(TRACK, b"{", KEY),
    well_formed(BATCH, b"[%b,%b,{}]" % (EVENT, EVENT), KEY),
    well_formed(BATCH, b"[{}]", KEY),
    well_formed(f"{BEACON}?k={ANY}", EVENT),
    well_formed(TRACK, json.dumps(event(metadataJson="x" * 33_000)).encode(), KEY),
    b"GET /here HTTP/1.1\r\nHost: x\r\n\r\n",
    f"POST {TRACK} HTTP/1.1\r\nHost: x\r\n{KEY}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def doors(runner: asyncio.Runner) -> Iterator[tuple[Door, Door]]:
    async def opened(lane: bool) -> Door:
        return await Door(lane=lane).open()

    both = (runner.run(opened(True)), runner.run(opened(False)))
    yield both
    for door in both:
        runner.run(door.close())


@pytest.fixture(autouse=True)
def short_hold(monkeypatch):
    monkeypatch.setattr(fast_lane, "HOLD_S", 0.0005)


each_case = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PLACES = st.lists(st.integers(0, 100_000), max_size=4)


@each_case
@given(pieces=st.lists(requests(), min_size=1, max_size=3), places=PLACES)
def test_both_doors_do_the_same_with_any_requests(runner, doors, pieces, places):
    # Each begins in a read of its own, because it may be malformed.
    reads = [read for piece in pieces for read in cut(piece, places)]
    fast, slow = (runner.run(door.exchange(reads, between=WHEN_QUIET)) for door in doors)
    if fast != slow:
        single = [bytes([byte]) for byte in b"".join(pieces)]
        assert fast == runner.run(doors[1].exchange(single, between=WHEN_QUIET))


@each_case
@given(
    order=st.lists(st.integers(0, len(WELL_FORMED) - 1), min_size=1, max_size=8),
    places=PLACES,
    between=st.integers(0, 12),
)
def test_both_doors_do_the_same_with_requests_that_follow_each_other_closely(
    runner, doors, order, places, between
):
    reads = cut(b"".join(WELL_FORMED[kind] for kind in order), places)
    fast, slow = (runner.run(door.exchange(reads, between=between)) for door in doors)
    assert fast == slow
