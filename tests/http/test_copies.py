"""Copies of an event that differ: the one that was inserted last is the event, for every question.

Copies have the same identity (project, tenant, type, time and `eventId`), and nothing says that the rest is
the same: an import is repeated with a corrected user, a client sends an event again with the session it has
now.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.http.reader import SUMMARY, TOP, Reader, event, on_the_engine

pytestmark = on_the_engine

REPLACED: dict[str, Any] = {"session_id": "old", "user_id": "eve", "item_id": "i1", "metadata": {"v": "1"}}
LAST: dict[str, Any] = {"session_id": "new", "user_id": "ada", "item_id": "i2", "metadata": {"v": "2"}}


async def store_replaced(reader: Reader) -> None:
    ids = [UUID(int=number) for number in range(1, 4)]
    await reader.store_twice(event(session_id="another", user_id="bob"))
    await reader.store_twice(*(event(event_id=id_, **REPLACED) for id_ in ids))
    await reader.store_twice(*(event(event_id=id_, **LAST) for id_ in ids))


OF_THE_REPLACED: list[str] = [
    "session_id:eq:old",
    "session_id:in:old,other",
    "session_id:starts:ol",
    "user_id:eq:eve",
    "user_id:in:eve,other",
    "item_id:eq:i1",
    "meta:v:eq:1",
]
OF_THE_LAST: list[str] = [
    "session_id:eq:new",
    "session_id:in:new,old",
    "user_id:eq:ada",
    "user_id:in:ada,eve",
    "item_id:eq:i2",
    "meta:v:eq:2",
]


@pytest.mark.parametrize("tenant_id", ["acme", None], ids=["tenant", "project"])
@pytest.mark.parametrize("said_by", ["question", "token"])
async def test_a_copy_that_was_replaced_is_found_by_nobody(
    reader: Reader, said_by: str, tenant_id: str | None
):
    await store_replaced(reader)
    for filters, count in ((OF_THE_REPLACED, 0), (OF_THE_LAST, 3)):
        for filter_ in filters:
            asked: dict[str, Any] = {"filter": filter_}
            if said_by == "token":
                asked = {"claims": {"filters": [filter_]}}
            shown = await reader.timeline(tenant_id=tenant_id, **asked)
            assert [found["sessionId"] for found in shown] == ["new"] * count, filter_
            assert (await reader.answer(SUMMARY, tenant_id=tenant_id, **asked))["events"] == count, filter_


async def test_all_together_count_the_last_copies(reader: Reader):
    await store_replaced(reader)
    for dimension, expected in (("user_id", {"ada": 3, "bob": 1}), ("session_id", {"new": 3, "another": 1})):
        items = (await reader.answer(TOP, dimension=dimension))["items"]
        assert {item["key"]: item["count"] for item in items} == expected


async def test_when_an_event_was_stored_is_when_its_last_copy_was(reader: Reader):
    copy = event(event_id=UUID(int=1), **REPLACED)
    await reader.store(copy)
    await asyncio.sleep(0.02)
    between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    await asyncio.sleep(0.02)
    await reader.store(copy)
    found = {
        asked: (await reader.answer(SUMMARY, filter=asked))["events"]
        for asked in (
            f"inserted_at:lt:{between}",
            f"inserted_at:gt:{between}",
            # It is the event's own time here; see `Reader.store`.
            f"received_at:lt:{between}",
            f"received_at:gt:{between}",
        )
    }
    assert list(found.values()) == [0, 1, 1, 0]


async def test_a_set_of_sessions_finds_no_copy_that_was_replaced(reader: Reader):
    """The sessions with a start, and those of a segment, are sets; an index could search for them."""
    await store_replaced(reader)
    await reader.store_twice(event(session_id="old", event_type="start"))
    paths = await reader.answer("/api/v1/analytics/paths", event="start", direction="previous")
    assert (paths["starts"], paths["paths"]) == (1, [])
    found = await reader.timeline(filter="session_did(start, 1d)")
    assert [one["eventType"] for one in found] == ["start"]
