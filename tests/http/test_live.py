"""Live streams as a page holds them: what is committed appears, once, and nothing is missed in between."""

import asyncio
import contextlib
import json
import logging
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import pytest

from nealytics.auth.jwt import TokenVerifier
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.config import AuthConfig, QueryConfig
from nealytics.event import Event
from nealytics.http import live as http_live
from nealytics.http import live_stream
from nealytics.http.live_hub import Hub
from nealytics.observe import request_id
from nealytics.queries import live
from tests.engine import RunningEngine
from tests.http.reader import JWT_KEY, NOW, TIMELINE, Reader, event, on_the_engine, reader_of, token_of
from tests.waiting import until_async

LIVE = "/api/v1/telemetry/live"
QUICK = QueryConfig(limit_max=1_000, live_poll_s=0.1, live_overlap_s=3, live_heartbeat_s=1)


class Message(msgspec.Struct):
    """What stands between two empty lines."""

    id: str = ""
    event: str = ""
    data: str = ""
    retry: str = ""
    comments: int = 0

    @property
    def shown(self) -> Any:
        return json.loads(self.data)


class Page:
    """An EventSource, as far as the specification goes."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last_id = ""

    async def message(self, timeout_s: float = 120.0) -> Message:
        """The next one. Raises `TimeoutError`, and `EOFError` at the end of the stream."""
        message = Message()
        async with asyncio.timeout(timeout_s):
            while line := await self.answer.content.readline():
                text = line.decode().removesuffix("\n")
                if not text:
                    self.last_id = message.id or self.last_id
                    return message
                name, _, value = text.partition(":")
                if name:
                    setattr(message, name, value.removeprefix(" "))
                else:
                    message.comments += 1
        raise EOFError

    async def events(self, count: int, timeout_s: float = 240.0) -> list[dict[str, Any]]:
        """So many events, whatever comes between them; fewer if they do not come in time."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count and (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                message = await self.message(left_s)
                assert not message.event, message
                if message.data:
                    found.append(message.shown)
        return found

    async def rest(self) -> list[Message]:
        """All messages to the end of the stream, which must be a proper one."""
        found = []
        while True:
            try:
                found.append(await self.message())
            except EOFError:
                return found

    async def quiet(self, seconds: float) -> list[Any]:
        """The events within that time."""
        found = []
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                message = await self.message(left_s)
            except TimeoutError:
                break
            if message.data:
                found.append(message.shown)
        return found


@asynccontextmanager
async def page_of(reader: Reader, **options: Any) -> AsyncIterator[Page]:
    """A page whose stream has begun."""
    async with reader.open(LIVE, **options) as answer:
        assert answer.status == 200, await answer.text()
        page = Page(answer)
        first = await page.message()
        assert 1_000 <= int(first.retry) <= 3_000
        yield page


def ids(events: Iterable[Event | dict[str, Any]]) -> list[str]:
    return [str(UUID(int=one.event_id)) if isinstance(one, Event) else str(one["eventId"]) for one in events]


@pytest.fixture
async def quick(reader: Reader) -> AsyncIterator[Reader]:
    """The reader, impatient."""
    async with Reader(reader.clickhouse, with_query(reader)) as quick:
        yield quick


def with_query(reader: Reader, **settings: Any) -> Any:
    auth = AuthConfig(jwt_key=JWT_KEY, jwt_clock_skew_s=0)
    query = msgspec.structs.replace(QUICK, **settings)
    return msgspec.structs.replace(reader.config, query=query, auth=auth)


async def commit(client: ClickHouseClient, events: list[Event], ago_ms: int) -> None:
    """Makes events visible now that were inserted `ago_ms` ago by their `inserted_at`."""
    rows = ", ".join(
        f"('{UUID(int=one.event_id)}', '{one.project_id}', '{one.tenant_id}', '{one.session_id}',"
        f" '{one.event_type}', '{{}}', fromUnixTimestamp64Milli({one.timestamp_ms}),"
        f" now64(3) - toIntervalMillisecond({ago_ms}))"
        for one in events
    )
    await client.command(
        "INSERT INTO nealytics_core.global_events (event_id, project_id, tenant_id, session_id, event_type,"
        f" metadata_json, timestamp, inserted_at) VALUES {rows}"
    )


class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_what_is_committed_appears_as_the_timeline_has_it(self, quick: Reader):
        await quick.store(event(session_id="before"))
        sent = [
            event(NOW, user_id="ada", item_id="/a\nb", metadata={"text": 'line\r\nline\u2028 "x" \\'}),
            event(NOW - timedelta(days=300), session_id="late and old"),
        ]
        async with page_of(quick) as page:
            began = int(page.last_id)
            await quick.store_twice(*sent)
            await quick.store(event(tenant_id="globex"), event(project_id="blog"))
            found = await page.events(2)
            assert await page.quiet(1.5) == []
        assert 0 <= int(page.last_id) - began < 60_000
        answer = await quick.as_sent(TIMELINE)
        timeline = {shown["eventId"]: shown for shown in answer["events"]}
        assert [timeline[shown["eventId"]] for shown in found] == found
        assert sorted(ids(found)) == sorted(ids(sent))

    async def test_filters_and_scope_hold_as_everywhere(self, quick: Reader):
        async with (
            page_of(quick, eventType="click") as clicks,
            page_of(quick, filter=["meta:plan:eq:pro", "user_id:exists"]) as pro,
            page_of(quick, claims={"filters": ["event_type:eq:click"]}) as narrowed,
            page_of(quick, tenant_id=None) as whole,
        ):
            await quick.store(
                event(session_id="click", event_type="click"),
                event(session_id="pro", user_id="ada", metadata={"plan": "pro"}),
                event(session_id="pro without user", metadata={"plan": "pro"}),
                event(session_id="theirs", tenant_id="globex", event_type="click", user_id="bob"),
                event(session_id="elsewhere", project_id="blog", event_type="click"),
            )
            assert [shown["sessionId"] for shown in await clicks.events(1)] == ["click"]
            assert [shown["sessionId"] for shown in await pro.events(1)] == ["pro"]
            assert [shown["sessionId"] for shown in await narrowed.events(1)] == ["click"]
            everything = await whole.events(4)
            assert {(shown["tenantId"], shown["sessionId"]) for shown in everything} == {
                ("acme", "click"),
                ("acme", "pro"),
                ("acme", "pro without user"),
                ("globex", "theirs"),
            }
            for page in (clicks, pro, narrowed, whole):
                assert await page.quiet(0.4) == []

    async def test_segments_count_each_event_once_and_end_now(self, quick: Reader):
        """Without `final`, which live streams do without, a copy would be a second purchase."""
        now = datetime.now(UTC)
        await quick.store_twice(
            *(event(now - timedelta(minutes=n), user_id="ada", event_type="purchase") for n in (1, 2)),
            *(event(now - timedelta(days=n), user_id="ben", event_type="purchase") for n in (0, 2)),
            event(now, user_id="ada", tenant_id="globex", event_type="purchase"),
        )
        async with (
            page_of(quick, filter="did(purchase, >=2, 1d)", eventType="view") as often,
            page_of(quick, filter="not_did(purchase, >=2, 1d)", eventType="view") as seldom,
            page_of(quick, filter="not_did(purchase, >=2, 1d)", eventType="view", tenant_id=None) as whole,
        ):
            await quick.store(
                event(user_id="ada"), event(user_id="ben"), event(user_id="ada", tenant_id="globex"), event()
            )
            assert [shown["userId"] for shown in await often.events(1)] == ["ada"]
            assert [shown["userId"] for shown in await seldom.events(1)] == ["ben"]
            found = {(shown["tenantId"], shown["userId"]) for shown in await whole.events(2)}
            assert found == {("acme", "ben"), ("globex", "ada")}
            for page in (often, seldom, whole):
                assert await page.quiet(0.4) == []

    async def test_commits_out_of_order_by_two_writers_are_shown_once_and_none_is_missed(self, quick: Reader):
        """A writer may take its time between the moment that `inserted_at` names and the commit."""
        chance = random.Random(3)
        sent: list[Event] = []

        async def write(times: int) -> None:
            for _ in range(times):
                moment = NOW - timedelta(seconds=chance.randrange(10_000_000))
                batch = [event(moment, session_id=f"s{n}") for n in range(chance.choice((1, 1, 3, 40)))]
                sent.extend(batch)
                await commit(quick.clickhouse, batch, chance.choice((0, 0, 500, 1_000, 2_000)))
                if chance.random() < 0.2:  # a retry, after the deduplication has forgotten
                    await commit(quick.clickhouse, batch, 0)
                await asyncio.sleep(chance.random() * 0.1)

        async with page_of(quick) as one, page_of(quick) as two:
            await asyncio.gather(write(40), write(40))
            for page in (one, two):
                found = await page.events(len(sent))
                assert Counter(ids(found)) == Counter(ids(sent))
            assert await one.quiet(1.0) == []

    async def test_a_resumed_stream_shows_what_was_committed_meanwhile(self, quick: Reader):
        """Again and again, in the middle of whatever comes; all that was ever seen is all there is."""
        chance = random.Random(4)
        sent: list[Event] = []
        seen: Counter[str] = Counter()
        done = asyncio.Event()

        async def write() -> None:
            for _ in range(60):
                batch = [event(session_id=f"s{n}") for n in range(chance.choice((1, 2, 30)))]
                sent.extend(batch)
                await commit(quick.clickhouse, batch, chance.choice((0, 0, 700, 1_500)))
                await asyncio.sleep(chance.random() * 0.08)
            done.set()

        last_id = ""
        async with page_of(quick) as page:
            last_id = page.last_id
            writing = asyncio.ensure_future(write())
        connections = 0
        deadline = time.monotonic() + 120
        while not (done.is_set() and len(seen) == len(sent)) and time.monotonic() < deadline:
            connections += 1
            how = chance.choice(("header", "parameter"))
            options: dict[str, Any] = (
                {"headers": {"Last-Event-ID": last_id}} if how == "header" else {"lastEventId": last_id}
            )
            async with page_of(quick, **options) as page:
                page.last_id = last_id
                found = await page.quiet(chance.random() * 0.6)
                assert max(Counter(ids(found)).values(), default=1) == 1
                seen.update(ids(found))
                last_id = page.last_id
            await asyncio.sleep(chance.random() * 0.3)
        await writing
        assert set(seen) == set(ids(sent))
        assert connections > 3

    @pytest.mark.parametrize("by", ["count", "bytes"])
    async def test_a_long_absence_is_caught_up_page_by_page(
        self, quick: Reader, monkeypatch: pytest.MonkeyPatch, by: str
    ):
        """Pages end in the middle of one insert, whose events share `inserted_at`."""
        monkeypatch.setattr(live, *(("PAGE_EVENTS_MAX", 7) if by == "count" else ("PAGE_BYTES_MAX", 1_000)))
        async with page_of(quick) as page:
            last_id = page.last_id
        sent = [event(NOW - timedelta(seconds=n), session_id=f"s{n}") for n in range(200)]
        for start in range(0, 200, 50):
            await quick.store_twice(*sent[start : start + 50])
        async with page_of(quick, lastEventId=last_id) as page:
            found = await page.events(200)
            assert Counter(ids(found)) == Counter(ids(sent))
            more = [event(session_id=f"m{n}") for n in range(30)]
            await quick.store(*more)
            assert Counter(ids(await page.events(30))) == Counter(ids(more))
            assert await page.quiet(0.5) == []

    async def test_a_client_that_was_disconnected_too_long_gets_the_range_of_the_gap(self, quick: Reader):
        old, recent = event(session_id="old"), event(session_id="recent")
        await commit(quick.clickhouse, [old], 25 * 3_600_000)
        await commit(quick.clickhouse, [recent], 23 * 3_600_000)
        async with page_of(quick, lastEventId="1") as page:
            gap = await page.message()
            assert gap.event == "gap"
            assert gap.shown["from"] == "1970-01-01T00:00:00.001Z"
            assert ids(await page.events(1)) == ids([recent])
        # An id from the future is one of another clock: the stream begins now.
        async with page_of(quick, lastEventId="999999999999999") as page:
            await quick.store(event(session_id="new"))
            assert "new" in {shown["sessionId"] for shown in await page.events(1)}

    async def test_an_id_that_there_is_not_is_refused(self, quick: Reader):
        for options in ({"lastEventId": "abc"}, {"headers": {"Last-Event-ID": "-5"}}):
            async with quick.open(LIVE, **options) as answer:
                body = await answer.json()
            assert (answer.status, body["code"], body["field"]) == (400, "invalid_parameter", "lastEventId")

    async def test_a_quiet_stream_says_that_it_is_alive_and_moves_on(self, quick: Reader):
        started = time.monotonic()
        async with page_of(quick) as page:
            first = int(page.last_id)
            comments = 0
            while int(page.last_id) <= first:
                message = await page.message()
                assert not message.data
                comments += message.comments
            assert comments >= 1
            assert time.monotonic() - started > 0.5

    async def test_the_head_is_a_stream_s(self, quick: Reader):
        origin = {"Origin": "https://shop.example", "X-Request-Id": "mine"}
        async with quick.open(LIVE, headers=origin) as answer:
            headers = answer.headers
            assert headers["Content-Type"] == "text/event-stream"
            assert headers["Cache-Control"] == "no-store"
            assert headers["X-Accel-Buffering"] == "no"
            assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers.getall("X-Request-Id") == ["mine"]
        async with aiohttp.ClientSession() as session:
            token = {"Authorization": f"Bearer {token_of('shop', 'acme')}"}
            async with session.head(quick.url + LIVE, headers=token) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Type"] == "text/event-stream"

    async def test_the_token_may_stand_in_the_url_here_and_nowhere_else(
        self, quick: Reader, caplog: pytest.LogCaptureFixture
    ):
        caplog.set_level(logging.DEBUG)
        token = token_of("shop", "acme")
        async with aiohttp.ClientSession(quick.url) as session:
            async with session.get(LIVE, params={"access_token": token}) as answer:
                assert answer.status == 200
                assert "Nealytics-Warnings" not in answer.headers
            async with session.get(LIVE, params={"ACCESS_TOKEN": token}) as answer:
                assert answer.status == 200
            async with session.get(LIVE, params=[("access_token", token), ("access_token", token)]) as answer:
                assert (answer.status, (await answer.json())["field"]) == (400, "access_token")
            async with session.get(LIVE, params={"access_token": token + "x"}) as answer:
                assert answer.status == 401
            # A header goes before it.
            bad = {"Authorization": "Bearer nonsense"}
            async with session.get(LIVE, params={"access_token": token}, headers=bad) as answer:
                assert answer.status == 401
            for path in (TIMELINE, "/api/v1/telemetry/export"):
                async with session.get(path, params={"access_token": token}) as answer:
                    assert answer.status == 401
        assert token not in caplog.text
        async with quick.open(LIVE, claims={"endpoints": ["timeline"]}) as answer:
            assert answer.status == 403

    # Ends

    async def test_a_stream_ends_with_its_token(self, quick: Reader):
        # Long enough to begin on a slow machine; without an end of it, there would be heartbeats for ever.
        async with (
            asyncio.timeout(60),
            page_of(quick, claims={"exp": int(time.time()) + 5}) as page,
        ):
            *rest, message = await page.rest()
            assert not any(message.data for message in rest)
            assert (message.event, message.shown["code"]) == ("end", "token_expired")

    async def test_a_stop_ends_every_stream_at_once_and_properly(self, reader: Reader):
        async with (
            Reader(reader.clickhouse, with_query(reader)) as going,
            page_of(going) as one,
            page_of(going, eventType="x") as two,
        ):
            started = time.monotonic()
            stopping = asyncio.ensure_future(going._server.stop(120))
            for page in (one, two):
                assert not any(message.data for message in await page.rest())
            await stopping
            assert time.monotonic() - started < 60

    async def test_places_are_bounded_per_token_and_per_worker_and_come_free_again(self, reader: Reader):
        config = with_query(reader, live_streams_per_token=2, live_streams_max=3)
        async with Reader(reader.clickhouse, config) as page:

            async def status_of(who: str) -> int:
                async with page.open(LIVE, claims={"sub": who}) as answer:
                    if answer.status != 200:
                        assert int(answer.headers["Retry-After"]) >= 1
                    return int(answer.status)

            ann, bob = {"claims": {"sub": "ann"}}, {"claims": {"sub": "bob"}}
            async with page_of(page, **ann), page_of(page, **ann):
                assert await status_of("ann") == 429
                async with page_of(page, **bob):
                    assert await status_of("bob") == 503
                    assert len(await page.timeline()) == 0

            async def are_served() -> bool:
                return await status_of("ann") == 200 and await status_of("bob") == 200

            await until_async(are_served)

    async def test_a_client_that_does_not_read_is_cut_off_and_resumes_without_loss(
        self, quick: Reader, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(live_stream, "BACKLOG_BYTES_MAX", 500_000)
        host, port = quick.url.removeprefix("http://").split(":")
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (host, int(port)))
        token = token_of("shop", "acme")
        request = f"GET {LIVE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        await loop.sock_sendall(sock, request.encode())
        got = b""
        while b"id: " not in got:
            got += await loop.sock_recv(sock, 4_096)
        last_id = got.rpartition(b"id: ")[2].split()[0].decode()

        sent: list[Event] = []
        async with page_of(quick) as other:
            reading = asyncio.ensure_future(other.events(160, 90))
            for n in range(80):  # 16 MB, more than all buffers on the way
                batch = [event(session_id=f"s{n}", metadata={"x": "x" * 100_000}) for _ in range(2)]
                sent += batch
                await quick.store(*batch)
            # It blocks nobody.
            assert Counter(ids(await reading)) == Counter(ids(sent))

        async def read_on() -> None:
            while await loop.sock_recv(sock, 1 << 20):
                pass

        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(read_on(), 60)
        sock.close()
        async with page_of(quick, lastEventId=last_id) as page:
            assert set(ids(await page.events(160, 90))) == set(ids(sent))

    # Sharing

    async def test_streams_with_the_same_question_ask_together(
        self, quick: Reader, monkeypatch: pytest.MonkeyPatch
    ):
        """What a hub asks does not depend on how many listen to it; so hubs are counted, and not questions,
        whose number depends on the machine."""
        hubs: list[Hub] = []

        class Noted(Hub):
            def __init__(self, *args: Any) -> None:
                hubs.append(self)
                super().__init__(*args)

        asked = 0
        real = quick.clickhouse.stream

        def stream(*args: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            return real(*args, **options)

        monkeypatch.setattr(http_live, "Hub", Noted)
        monkeypatch.setattr(quick.clickhouse, "stream", stream)
        tokens = [{"claims": {"sub": f"user {n}"}} for n in range(4)]
        async with page_of(quick, **tokens[0]):
            async with page_of(quick, **tokens[1]), page_of(quick, **tokens[2]):
                assert len(hubs) == 1
                async with page_of(quick, eventType="x", **tokens[3]):
                    assert len(hubs) == 2
            assert asked > 0
        async with asyncio.timeout(60):
            await asyncio.wait({hub._task for hub in hubs})
        # Nobody listens, nobody asks.
        asked = 0
        await asyncio.sleep(0.5)
        assert asked == 0

    async def test_a_client_with_a_large_backlog_does_not_delay_the_others(
        self, quick: Reader, monkeypatch: pytest.MonkeyPatch
    ):
        """All hubs of a worker ask one after the other: page by page, not question by question."""
        monkeypatch.setattr(live, "PAGE_EVENTS_MAX", 20)
        many = [event(tenant_id="busy", session_id=f"s{n}") for n in range(1_000)]
        async with page_of(quick, tenant_id="busy") as busy, page_of(quick) as other:
            mine = event(session_id="other")
            await quick.store(*many, mine)  # at once, so the other is due while they are caught up with
            first = await busy.events(1)
            catching_up = asyncio.create_task(busy.events(999))
            assert ids(await other.events(1)) == ids([mine])
            assert not catching_up.done()
            assert Counter(ids([*first, *await catching_up])) == Counter(ids(many))
            assert await other.quiet(0.5) == []

    async def test_a_stream_that_gets_no_slot_gets_503_with_retry_after(
        self, reader: Reader, engine: RunningEngine
    ):
        """ClickHouse that hangs takes its time with each question; whoever is behind waits no longer than any
        other query."""
        hasty = with_query(reader, queue_timeout_s=1)
        async with Reader(reader.clickhouse, hasty) as quick, page_of(quick):
            assert engine.process is not None
            engine.process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(0.5)
                started = time.monotonic()
                status, body, headers = await quick.get(LIVE, eventType="x")
                assert (status, body["code"]) == (503, "queries_busy")
                assert int(headers["Retry-After"]) >= 1
                assert time.monotonic() - started < 25
            finally:
                engine.process.send_signal(signal.SIGCONT)

    async def test_the_size_of_an_answer_to_others_is_not_that_of_a_stream(self, reader: Reader):
        """A page that ClickHouse refuses is requested again and again, and the stream makes no progress."""
        tiny = with_query(reader, result_rows_max=2, result_bytes_max=100)
        async with Reader(reader.clickhouse, tiny) as quick, page_of(quick) as page:
            sent = [event(session_id=f"s{n}", metadata={"x": "x" * 1_000}) for n in range(30)]
            await quick.store(*sent)
            assert Counter(ids(await page.events(30))) == Counter(ids(sent))

    # ClickHouse away

    async def test_a_stream_outlives_clickhouse_and_loses_nothing(self, quick: Reader, engine: RunningEngine):
        before = [event(session_id=f"before {n}") for n in range(5)]
        after = [event(session_id=f"after {n}") for n in range(20)]
        async with page_of(quick) as page:
            last_id = page.last_id
            await quick.store(*before)
            engine.kill()
            # Some may have been shown before the kill; the rest, and what comes after, follow.
            quiet = await page.quiet(2.5)
            async with quick.open(LIVE) as answer:
                assert (answer.status, (await answer.json())["code"]) == (503, "clickhouse_unavailable")
            async with page_of_resumed(quick, last_id) as resumed:
                assert await resumed.quiet(0.5) == []
                await asyncio.to_thread(engine.start)
                await quick.store(*after)
                found = [*quiet, *await page.events(25 - len(quiet), 30)]
                assert Counter(ids(found)) == Counter(ids([*before, *after]))
                assert set(ids(await resumed.events(25, 30))) == set(ids([*before, *after]))


@asynccontextmanager
async def page_of_resumed(reader: Reader, last_id: str) -> AsyncIterator[Page]:
    async with reader.open(LIVE, lastEventId=last_id) as answer:
        assert answer.status == 200
        yield Page(answer)


async def test_while_clickhouse_is_down_a_new_stream_gets_503_with_retry_after():
    async with reader_of(ClickHouseUnavailable("connection refused")) as reader:
        status, body, headers = await reader.get(LIVE)
        assert (status, body["code"]) == (503, "clickhouse_unavailable")
        assert int(headers["Retry-After"]) >= 1


async def test_a_hub_serves_many_and_so_has_no_request_s_id():
    seen: list[tuple[str, str]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.name, request_id.current()))

    handler = Noting()
    logging.getLogger("nealytics").addHandler(handler)
    try:
        async with reader_of(ClickHouseUnavailable("connection refused")) as reader:
            _, body, _ = await reader.get(LIVE)
    finally:
        logging.getLogger("nealytics").removeHandler(handler)
    assert ("nealytics.http.live", "") in seen
    assert ("nealytics.http", body["requestId"]) in seen


def test_a_scope_knows_when_its_token_ends():
    verifier = TokenVerifier(AuthConfig(jwt_key=JWT_KEY, jwt_clock_skew_s=7))
    exp = int(time.time()) + 60
    assert verifier.scope_of(f"Bearer {token_of('shop', 'acme', {'exp': exp})}").expires_at_s == exp + 7
