"""The timeline's pages over the real engine: nothing skipped, nothing twice.

Thousands of events share a few milliseconds, each row is stored twice, and the table is not merged.
"""

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.event import Event
from tests.http.reader import NOW, TIMELINE, Reader, event, on_the_engine, reader_of


def place(one: Event) -> tuple[int, int, int, bytes, bytes]:
    """The order of a timeline: ClickHouse compares the second half of a UUID first."""
    halves = one.event_id & (1 << 64) - 1, one.event_id >> 64
    return one.timestamp_ms, *halves, one.event_type.encode(), one.tenant_id.encode()


def name_of(one: Event) -> str:
    return str(UUID(int=one.event_id))


def newest_first(events: list[Event]) -> list[str]:
    return [name_of(one) for one in sorted(events, key=place, reverse=True)]


def crowd(count: int, *milliseconds: int, seed: int = 5, at: datetime = NOW, **fields: Any) -> list[Event]:
    """`count` events in those milliseconds, with ids of every kind: high and low halves of any sign."""
    chance = random.Random(seed)
    return [
        event(
            at + timedelta(milliseconds=chance.choice(milliseconds)),
            event_type=chance.choice(["view", "click", "café"]),
            session_id=f"s{n % 7}",
            event_id=UUID(int=chance.getrandbits(128)),
            **fields,
        )
        for n in range(count)
    ]


async def pages(reader: Reader, *, full: bool = True, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page there is, each by the cursor of the one before."""
    found = []
    cursor: dict[str, str] = {}
    seen: set[str] = set()
    while True:
        answer = await reader.as_sent(TIMELINE, **query, **cursor)
        found.append(answer["events"])
        if "nextCursor" not in answer:
            return found
        if full:
            assert len(answer["events"]) == int(query["limit"]), "only the last page is shorter"
        assert answer["events"]
        assert answer["nextCursor"] not in seen, "no cursor leads back"
        seen.add(answer["nextCursor"])
        cursor = {"cursor": answer["nextCursor"]}


def ids(pages: list[list[dict[str, Any]]]) -> list[str]:
    return [one["eventId"] for page in pages for one in page]


class TestOnTheEngine:
    pytestmark = on_the_engine

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7])
    async def test_every_event_of_a_crowded_millisecond_is_met_once(self, reader: Reader, limit: int):
        """Also where a month, and with it a partition, ends among them."""
        events = crowd(150, 0, 1, -1, at=datetime(2024, 6, 1, tzinfo=UTC))
        await reader.store_twice(*events)
        assert ids(await pages(reader, limit=str(limit))) == newest_first(events)

    @pytest.mark.parametrize("page_kib", [1, 8, 30])
    async def test_pages_that_end_by_their_bytes_skip_and_repeat_nothing(self, reader: Reader, page_kib: int):
        """Of events of every size, some larger than a page alone; over months, and so over several looks."""
        chance = random.Random(page_kib)
        events = [
            event(
                NOW - timedelta(hours=chance.randrange(24 * 60)),
                event_id=UUID(int=chance.getrandbits(128)),
                metadata={"k": chance.choice(["", '"' * 900, "x" * 5_000, "\x01" * 9_000])},
            )
            for _ in range(150)
        ]
        await reader.store_twice(*events)
        query = msgspec.structs.replace(reader.config.query, page_bytes_max=page_kib * 1024)
        async with Reader(reader.clickhouse, msgspec.structs.replace(reader.config, query=query)) as small:
            found = await pages(small, full=False, limit="40")
            again = await pages(small, full=False, limit="7")
        assert ids(found) == ids(again) == newest_first(events)
        # The metadata counts once.
        for page in found:
            for one in page:
                assert json.loads(one["metadataJson"]) == one.pop("metadata")
        sizes = [[len(msgspec.json.encode(one)) for one in page] for page in found]
        # All but its last event are below the bound, and together with that one they are beyond it.
        assert all(sum(size[:-1]) < page_kib * 1024 for size in sizes)
        assert all(sum(size) + 256 * len(size) > page_kib * 1024 for size in sizes[:-1] if len(size) < 40)

    async def test_a_page_that_ends_early_says_so_and_one_that_has_all_does_not(self, reader: Reader):
        events = [event(NOW - timedelta(minutes=n), metadata={"k": "x" * 2_000}) for n in range(3)]
        await reader.store(*events)
        query = msgspec.structs.replace(reader.config.query, page_bytes_max=6_000)
        async with Reader(reader.clickhouse, msgspec.structs.replace(reader.config, query=query)) as small:
            answer = await small.answer(TIMELINE)
            assert len(answer["events"]) == 3
            assert {"nextCursor", "warnings"}.isdisjoint(answer), "there is nothing behind the last event"
            await small.store(event(NOW - timedelta(days=40)))
            answer = await small.answer(TIMELINE)
            assert len(answer["events"]) == 3
            assert "query.page_bytes_max" in answer["warnings"][0]["message"]
            rest = await small.answer(TIMELINE, cursor=answer["nextCursor"])
            assert len(rest["events"]) == 1
            assert "nextCursor" not in rest

    async def test_a_page_that_is_too_much_for_one_query_is_asked_for_in_smaller_steps(
        self, reader: Reader, monkeypatch: pytest.MonkeyPatch
    ):
        events = [
            event(NOW - timedelta(seconds=n), metadata={"k": "x" * 30_000 if n > 1_010 else "x"})
            for n in range(1_400)
        ]
        await reader.store(*events)
        memory = msgspec.structs.replace(
            reader.config.query, limit_max=10_000, page_bytes_max=128 * 1024**2, memory_bytes_max=24 * 1024**2
        )
        refused: list[int | None] = []
        real = reader.clickhouse.query

        async def query(*args: Any, **options: Any) -> list[list[Any]]:
            try:
                return await real(*args, **options)
            except ClickHouseError as error:
                refused.append(error.code)
                raise

        monkeypatch.setattr(reader.clickhouse, "query", query)
        async with Reader(reader.clickhouse, msgspec.structs.replace(reader.config, query=memory)) as small:
            answer = await small.answer(TIMELINE, limit="10000")
        assert 241 in refused, "the test asks for too much"
        assert [one["eventId"] for one in answer["events"]] == newest_first(events)

    @pytest.mark.parametrize("limit", [11, 997])
    async def test_thousands_of_events_in_three_milliseconds_are_met_once(self, reader: Reader, limit: int):
        events = crowd(3_000, 0, 1, 2)
        await reader.store_twice(*events)
        assert ids(await pages(reader, limit=str(limit))) == newest_first(events)

    async def test_the_size_of_a_page_may_change_on_the_way(self, reader: Reader):
        events = crowd(1_000, 0, 1)
        await reader.store_twice(*events)
        chance = random.Random(1)
        found: list[str] = []
        answer = await reader.answer(TIMELINE, limit="1")
        while True:
            found += [one["eventId"] for one in answer["events"]]
            if "nextCursor" not in answer:
                break
            size = str(chance.randint(1, 14))
            answer = await reader.answer(TIMELINE, limit=size, cursor=answer["nextCursor"])
        assert found == newest_first(events)

    async def test_one_id_and_moment_in_several_types_and_tenants_are_several_events(self, reader: Reader):
        """The identity of an event is more than what orders a timeline."""
        same = UUID(int=7)
        events = [
            event(tenant_id=tenant_id, event_type=event_type, event_id=same)
            for tenant_id in ("acme", "globex", "initech")
            for event_type in ("view", "click", "café")
        ]
        await reader.store_twice(*events, event(project_id="blog", event_id=same))
        for limit in ("1", "2", "4"):
            walked = await pages(reader, tenant_id=None, limit=limit)
            expected = sorted(events, key=place, reverse=True)
            assert [(one["tenantId"], one["eventType"]) for page in walked for one in page] == [
                (one.tenant_id, one.event_type) for one in expected
            ]
            walked = await pages(reader, limit=limit)
            assert [one["eventType"] for page in walked for one in page] == ["view", "click", "café"]

    async def test_what_arrives_while_paging_makes_nothing_else_be_skipped_or_repeated(self, reader: Reader):
        """Newer, older and amid the page that was just shown."""
        there = crowd(300, 0, 1, 2)
        await reader.store_twice(*there)
        arriving = iter(crowd(300, 0, 1, 2, seed=6) + crowd(60, -5, 5, seed=7))
        found: list[str] = []
        query: dict[str, str] = {"limit": "7"}
        while True:
            answer = await reader.answer(TIMELINE, **query)
            found += [one["eventId"] for one in answer["events"]]
            if "nextCursor" not in answer:
                break
            query["cursor"] = answer["nextCursor"]
            await reader.store_twice(*(one for one, _ in zip(arriving, range(8), strict=False)))
        assert len(found) == len(set(found))
        mine = {name_of(one) for one in there}
        assert [name for name in found if name in mine] == newest_first(there)

    async def test_a_next_page_is_promised_exactly_if_there_is_one(self, reader: Reader):
        await reader.store_twice(*crowd(12, 0, 1))
        for limit, sizes in [("12", [12]), ("13", [12]), ("11", [11, 1]), ("6", [6, 6]), ("5", [5, 5, 2])]:
            assert [len(page) for page in await pages(reader, limit=limit)] == sizes
        assert "nextCursor" not in await reader.answer(TIMELINE)
        assert "nextCursor" not in await reader.answer(TIMELINE, eventType="nothing")

    async def test_before_after_and_filters_hold_on_every_page(self, reader: Reader):
        events = crowd(400, *range(10))
        await reader.store_twice(*events)
        chosen = [
            one
            for one in events
            if 2 < one.timestamp_ms % 1000 < 8 and one.event_type != "view" and one.session_id != "s1"
        ]
        query: dict[str, Any] = {
            "after": "2024-06-15T12:00:00.002Z",
            "before": "2024-06-15T12:00:00.008Z",
            "filter": ["event_type:ne:view", "session_id:ne:s1"],
        }
        for limit in ("3", "50"):
            assert ids(await pages(reader, limit=limit, **query)) == newest_first(chosen)

    async def test_a_cursor_and_a_bound_hold_together(self, reader: Reader):
        """Whichever is narrower."""
        events = crowd(100, 0, 1, 2)
        await reader.store_twice(*events)
        answer = await reader.answer(TIMELINE, limit="50")
        cursor = answer["nextCursor"]
        rest = newest_first(events)[50:]
        last = {name_of(one) for one in events if one.timestamp_ms % 1000 == 0}

        async def found(**query: str) -> list[str]:
            return [one["eventId"] for one in await reader.timeline(cursor=cursor, **query)]

        assert await found() == rest
        assert await found(before="2024-06-15T13:00:00Z") == rest
        assert await found(before="2024-06-15T12:00:00.001Z") == [name for name in rest if name in last]
        assert await found(after="2024-06-15T12:00:00Z") == [name for name in rest if name not in last]
        assert await found(after="2024-06-15T12:00:00.002Z") == []
        assert await found(before="2024-06-15T12:00:00Z") == []

    async def test_after_is_strict_to_the_millisecond(self, reader: Reader):
        await reader.store_twice(
            *(event(NOW + timedelta(milliseconds=n), session_id=f"s{n}") for n in range(3))
        )

        async def found(**query: str) -> list[str]:
            return [one["sessionId"] for one in await reader.timeline(**query)]

        assert await found(after="2024-06-15T12:00:00Z") == ["s2", "s1"]
        assert await found(after="2024-06-15T12:00:00.0005Z") == ["s2", "s1"]
        assert await found(after="2024-06-15T14:00:00.001+02:00") == ["s2"]
        assert await found(after="9999-12-31T23:59:59Z") == []
        assert await found(after="0001-01-01") == ["s2", "s1", "s0"]
        assert await found(after="2024-06-15T12:00:00Z", before="2024-06-15T12:00:00.002Z") == ["s1"]
        assert await found(after="2024-06-15T12:00:00.001Z", before="2024-06-15T12:00:00.001Z") == []

    async def test_in_a_project_s_timeline_each_event_has_its_tenant(self, reader: Reader):
        events = [*crowd(40, 0, 1), *crowd(40, 0, 1, seed=9, tenant_id="globex")]
        await reader.store_twice(*events, event(project_id="blog"))
        walked = await pages(reader, tenant_id=None, limit="7")
        assert ids(walked) == newest_first(events)
        tenants = {name_of(one): one.tenant_id for one in events}
        assert all(one["tenantId"] == tenants[one["eventId"]] for page in walked for one in page)
        assert "tenantId" not in await reader.answer(TIMELINE, tenant_id=None)
        assert not any("tenantId" in one for one in await reader.timeline())

    async def test_a_cursor_opens_nothing_that_the_token_does_not(self, reader: Reader):
        """It is a place in an order and no permission."""
        await reader.store_twice(*crowd(20, 0, tenant_id="globex"), *crowd(20, 0, seed=3))
        cursor = (await reader.answer(TIMELINE, tenant_id="globex", limit="1"))["nextCursor"]
        foreign = newest_first(crowd(20, 0, tenant_id="globex"))
        seen = {one["eventId"] for one in await reader.timeline(cursor=cursor)}
        assert not seen & set(foreign)

    async def test_the_longest_names_still_make_a_cursor(self, reader: Reader):
        long = "🙂" * 256
        await reader.store_twice(*(event(tenant_id=long, event_type=long) for _ in range(3)))
        walked = await pages(reader, tenant_id=long, limit="1")
        assert [len(page) for page in walked] == [1, 1, 1]

    @pytest.mark.parametrize("text", ["'", "\\", "a\tb\n", "{p0:String}", "\x01\x7f", "NULL"])
    async def test_hostile_names_in_a_cursor_are_names(self, reader: Reader, text: str):
        scope: dict[str, Any] = {"project_id": text, "tenant_id": text}
        same = UUID(int=3)
        await reader.store_twice(
            *(event(event_type=text + end, event_id=same, **scope) for end in ("a", "b", "c"))
        )
        walked = await pages(reader, limit="1", **scope)
        assert [one["eventType"] for page in walked for one in page] == [text + end for end in "cba"]


def packed(*values: object) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(values)).rstrip(b"=").decode()


SOME_ID = UUID(int=9).bytes


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "0",
        "null",
        "'; DROP TABLE x --",
        "2024-06-15T12:00:00Z",
        "é",
        "\0",
        "A" * 4_000,
        "=" * 8,
        packed(),
        packed(1, 0, SOME_ID, "view"),
        packed(1, 0, SOME_ID, "view", "acme", "more"),
        packed(2, 0, SOME_ID, "view", "acme"),
        packed(1, "0", SOME_ID, "view", "acme"),
        packed(1, 2**62, SOME_ID, "view", "acme"),
        packed(1, -(2**62), SOME_ID, "view", "acme"),
        packed(1, 1.5, SOME_ID, "view", "acme"),
        packed(1, 0, b"123", "view", "acme"),
        packed(1, 0, SOME_ID, None, "acme"),
        packed(1, 0, SOME_ID, "view", 5),
        packed(1, 0, SOME_ID, "view", "acme") + "\n",
        packed(1, 0, SOME_ID, "view", "acme")[:-3],
        packed({"version": 1}),
    ],
    ids=lambda cursor: cursor[:24].encode().hex(),
)
async def test_what_is_no_cursor_is_refused_by_name(cursor: str):
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        status, body, _ = await reader.get(TIMELINE, cursor=cursor)
        assert (status, body["code"], body["field"]) == (400, "invalid_parameter", "cursor")
        assert "nextCursor" in body["detail"]


async def test_a_cursor_given_twice_or_too_long_is_refused():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        good = packed(1, 0, SOME_ID, "view", "acme")
        for cursor in ([good, good], "A" * 4_097):
            status, body, _ = await reader.get(TIMELINE, cursor=cursor)
            assert (status, body["field"]) == (400, "cursor")
        status, _, _ = await reader.get(TIMELINE, cursor=good)
        assert status == 503, "a good one is asked for"


async def test_a_page_that_ends_at_the_last_timestamp_of_all_has_a_successor(reader: Reader):
    """ClickHouse makes every later time that one, so a table may well have it."""
    columns = "event_id, project_id, tenant_id, session_id, event_type, metadata_json, timestamp"
    await reader.clickhouse.command(
        f"INSERT INTO nealytics_core.global_events ({columns}) SELECT generateUUIDv4(), 'shop', 'acme', 's1',"
        " 'view', '{}', toDateTime64('2299-12-31 23:59:59.999', 3, 'UTC') FROM numbers(2)"
    )
    shown = [one for found in await pages(reader, limit="1") for one in found]
    assert {one["timestamp"] for one in shown} == {"2299-12-31T23:59:59.999Z"}
    assert len({one["eventId"] for one in shown}) == len(shown) == 2


async def test_a_session_of_one_tenant_is_asked_for_with_a_token_of_the_whole_project(reader: Reader):
    """Sessions of two tenants may have the same id."""
    mine, theirs = (event(tenant_id=tenant, session_id="s-1", user_id="ada") for tenant in ("acme", "globex"))
    await reader.store(mine, theirs)
    for ids in ({"sessionId": "s-1"}, {"userId": "ada"}):
        answer = await reader.answer(TIMELINE, tenant_id=None, **ids)
        assert {one["tenantId"] for one in answer["events"]} == {"acme", "globex"}
        answer = await reader.answer(TIMELINE, tenant_id=None, filter="tenant_id:eq:globex", **ids)
        assert [one["tenantId"] for one in answer["events"]] == ["globex"]
