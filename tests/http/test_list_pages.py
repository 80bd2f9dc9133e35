"""The pages of `top` and `sessions`, against one page of everything; rows of sessions against plain Python.

Each row is stored twice, and the table is not merged.
"""

import random
from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from nealytics.event import Event
from nealytics.queries.cursors import cursor_of, position_of
from nealytics.queries.pages import Place
from tests.http.measured import QUESTIONS, Asked, asked, some_events
from tests.http.reader import NOW, SESSIONS, TIMELINE, TOP, Reader, event, on_the_engine
from tests.oracle import clickhouse_order

pytestmark = on_the_engine

LISTS = {TOP: "items", SESSIONS: "sessions"}


@pytest.fixture
async def page(reader: Reader) -> tuple[Reader, list[Event]]:
    events = some_events("pages", 400)
    await reader.store_twice(*events, event(project_id="blog", session_id="foreign", user_id="foreign"))
    return reader, events


async def pages(reader: Reader, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    found = []
    cursor: dict[str, str] = {}
    while True:
        answer = await reader.as_sent(path, **query, **cursor)
        found.append(answer[LISTS[path]])
        if "nextCursor" not in answer:
            return found
        assert len(found[-1]) == int(query["limit"]), "only the last page is shorter"
        cursor = {"cursor": answer["nextCursor"]}


async def test_pages_together_are_the_whole_list(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("pages")
    for _ in range(QUESTIONS // 4):
        query, _, _ = asked(chance, events)
        path = chance.choice([TOP, SESSIONS])
        if path == SESSIONS:
            query["order"] = chance.choice(["start", "-start", "duration", "-duration", "events", "-events"])
        else:
            query["dimension"] = chance.choice(
                ["user_id", "session_id", "event_type", "meta:plan", "item_id"]
            )
            query["measure"] = chance.choice([[], Asked(chance).texts])
            query |= chance.choice([{}, {"compare": "previous"}, {"order": "-users"}, {"sessions": "true"}])
        whole = (await reader.as_sent(path, limit="1000", **query))[LISTS[path]]
        limit = str(chance.choice([1, 2, 7, len(whole) or 1]) if len(whole) < 20 else 11)
        found = await pages(reader, path, limit=limit, **query)
        assert [one for page in found for one in page] == whole
        assert len(found) == max(1, -(-len(whole) // int(limit)))


@pytest.mark.parametrize("path", [TOP, SESSIONS])
async def test_a_range_that_ends_now_is_the_same_on_every_page(reader: Reader, path: str):
    await reader.store_twice(*(event(NOW - timedelta(minutes=n + 1), session_id=f"s{n}") for n in range(6)))
    query = {"dimension": "session_id"} if path == TOP else {}
    first = await reader.as_sent(path, limit="2", **query)
    reader.later = timedelta(hours=23, minutes=57)
    second = await reader.as_sent(path, limit="9", cursor=first["nextCursor"], **query)
    assert (second["from"], second["to"]) == (first["from"], first["to"])
    assert len(first[LISTS[path]]) + len(second[LISTS[path]]) == 6


async def test_what_comes_before_the_last_row_repeats_and_skips_nothing(reader: Reader):
    await reader.store_twice(*(event(NOW - timedelta(minutes=n), session_id=f"s{n}") for n in range(6)))
    first = await reader.as_sent(SESSIONS, limit="2")
    late = [event(NOW - timedelta(seconds=n + 1), session_id=f"late {n}") for n in range(2)]
    await reader.store_twice(*late)
    second = await reader.as_sent(SESSIONS, limit="9", cursor=first["nextCursor"])
    listed = [one["sessionId"] for one in first["sessions"] + second["sessions"]]
    assert listed == [f"s{n}" for n in range(6)]
    assert second["totals"]["sessions"] == 8


async def test_a_page_goes_on_at_its_place_if_its_last_row_is_gone(reader: Reader):
    await reader.store_twice(*(event(NOW - timedelta(minutes=n), session_id=f"s{n}") for n in range(4)))
    first = await reader.as_sent(SESSIONS, limit="2")
    place = position_of(first["nextCursor"], Place, "sessions")
    gone = Place(1, "sessions", place.from_ms, place.to_ms, place.rows, "gone", "acme")
    second = await reader.as_sent(SESSIONS, cursor=cursor_of(gone))
    assert [one["sessionId"] for one in second["sessions"]] == ["s2", "s3"]


@pytest.mark.parametrize("path", [TOP, SESSIONS])
async def test_a_cursor_of_something_else_is_refused(reader: Reader, path: str):
    await reader.store_twice(*(event(session_id=f"s{n}", event_type=f"t{n}") for n in range(3)))
    other = {TOP: SESSIONS, SESSIONS: TOP}[path]
    cursors = [(await reader.as_sent(one, limit="1"))["nextCursor"] for one in (other, TIMELINE)]
    for cursor in (*cursors, "x", "AAAA", "!"):
        status, body, _ = await reader.get(path, cursor=cursor)
        assert (status, body["field"]) == (400, "cursor"), cursor
        assert "omit cursor" in body["detail"]


async def test_a_cursor_opens_no_other_tenant(reader: Reader):
    await reader.store_twice(*(event(session_id=f"s{n}") for n in range(3)))
    await reader.store_twice(event(tenant_id="globex", session_id="theirs"))
    cursor = (await reader.as_sent(SESSIONS, limit="1"))["nextCursor"]
    answer = await reader.as_sent(SESSIONS, cursor=cursor, tenant_id="globex")
    assert [one["sessionId"] for one in answer["sessions"]] in ([], ["theirs"])


async def test_a_session_has_its_user_its_items_and_its_event_types(page: tuple[Reader, list[Event]]):
    """Also with events of the same millisecond, whose order is that of the timeline."""
    reader, events = page
    same = [
        event(
            NOW - timedelta(hours=1),
            session_id="same",
            item_id=f"/{n}",
            user_id=f"u{n}",
            event_type=f"t{n:02}",
        )
        for n in range(25)
    ]
    await reader.store_twice(*same)
    chance = random.Random("sessions")
    for _ in range(QUESTIONS // 2):
        query, within, (first, last) = asked(chance, [*events, *same])
        answer = await reader.as_sent(SESSIONS, limit="1000", **query)
        of_session: dict[Any, list[Event]] = defaultdict(list)
        for one in within(first, last):
            of_session[one.session_id, None if query["tenant_id"] else one.tenant_id].append(one)
        found = {(one["sessionId"], one.get("tenantId")): one for one in answer["sessions"]}
        assert set(found) == set(of_session)
        for key, row in found.items():
            in_time = sorted(of_session[key], key=in_order)
            users = [one.user_id for one in in_time if one.user_id]
            items = [one.item_id for one in in_time if one.item_id]
            types = sorted({one.event_type for one in in_time}, key=str.encode)
            assert row.get("userId") == (users[0] if users else None)
            assert row.get("entryItemId") == (items[0] if items else None)
            assert row.get("exitItemId") == (items[-1] if items else None)
            assert row["eventTypes"] == types[:20]


async def test_a_page_of_many_long_names_has_its_details_too(reader: Reader):
    """Parameters are part of the URL, and ClickHouse limits their length."""
    names = [f"{n:04}{'é' * 252}" for n in range(900)]
    await reader.store_twice(*(event(session_id=name, item_id=f"/{name[:4]}") for name in names))
    answer = await reader.as_sent(SESSIONS, limit="800", order="start")
    assert [(one["sessionId"], one["entryItemId"]) for one in answer["sessions"]] == [
        (name, f"/{name[:4]}") for name in names[:800]
    ]
    rest = await reader.as_sent(SESSIONS, limit="800", order="start", cursor=answer["nextCursor"])
    assert [one["entryItemId"] for one in rest["sessions"]] == [f"/{name[:4]}" for name in names[800:]]


def in_order(one: Event) -> Any:
    return one.timestamp_ms, clickhouse_order(UUID(int=one.event_id)), one.event_type
