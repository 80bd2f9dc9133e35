"""Reads leave out erased events, and never show an older copy instead."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nealytics.erasure.jobs import Erasure, Job, hash_of
from nealytics.errors import ErasuresUnreadable
from tests.http.reader import NOW, SUMMARY, TOP, Reader, event, ms, on_the_engine
from tests.http.test_copies import store_replaced

pytestmark = on_the_engine

# Copies of three events by eve, replaced by ada's; one by bob.
each_scope = pytest.mark.parametrize("tenant_id", ["acme", None], ids=["tenant", "project"])
each_name = pytest.mark.parametrize("is_known", [True, False], ids=["by name", "by hash"])


def erased(user_id: str | None = None, *, tenant_id: str = "acme", before_ms: int = ms(NOW) + 1) -> Job:
    erasure = Erasure(
        id="e",
        project_id="shop",
        tenant_id=tenant_id,
        user_hash=None if user_id is None else hash_of("shop", tenant_id, user_id),
        before_ms=before_ms,
        requested_at_ms=0,
        requested_by="a test",
    )
    return Job(erasure=erasure, user_id=user_id)


async def users(reader: Reader, tenant_id: str | None, **asked: Any) -> dict[str, int]:
    items = (await reader.answer(TOP, dimension="user_id", tenant_id=tenant_id, **asked))["items"]
    found: Counter[str] = Counter()
    for item in items:  # of all tenants, each has its own
        found[item["key"]] += item["count"]
    return dict(found)


@each_scope
@each_name
async def test_a_user_is_hidden_and_no_older_copy_appears(
    reader: Reader, tenant_id: str | None, is_known: bool
):
    await store_replaced(reader)
    job = erased("ada")
    reader.erased = [job if is_known else msgspec.structs.replace(job, user_id=None)]
    assert await users(reader, tenant_id) == {"bob": 1}
    assert (await reader.answer(SUMMARY, tenant_id=tenant_id))["events"] == 1
    for filter_ in ("user_id:eq:eve", "user_id:eq:ada", "session_id:eq:old", "session_id:eq:new"):
        assert await reader.timeline(tenant_id=tenant_id, filter=filter_) == []
        assert await reader.timeline(tenant_id=tenant_id, claims={"filters": [filter_]}) == []


@each_scope
@each_name
async def test_an_event_that_was_replaced_by_another_user_stays(
    reader: Reader, tenant_id: str | None, is_known: bool
):
    await store_replaced(reader)
    job = erased("eve")
    reader.erased = [job if is_known else msgspec.structs.replace(job, user_id=None)]
    assert await users(reader, tenant_id) == {"ada": 3, "bob": 1}


@each_scope
async def test_only_what_is_earlier_in_that_tenant_is_hidden(reader: Reader, tenant_id: str | None):
    await store_replaced(reader)
    await reader.store(event(tenant_id="other", user_id="ada"))
    theirs = {"ada": 3, "bob": 1} if tenant_id else {"ada": 4, "bob": 1}
    for job in (
        erased(before_ms=ms(NOW)),
        erased("bo"),
        erased(tenant_id="acm"),
        erased("ada", tenant_id="third"),
    ):
        reader.erased = [job]
        assert await users(reader, tenant_id) == theirs
    reader.erased = [erased()]
    assert await users(reader, tenant_id) == ({} if tenant_id else {"ada": 1})
    reader.erased = [erased("ada", tenant_id="other"), erased("bob")]
    assert await users(reader, tenant_id) == {"ada": 3}


@pytest.mark.parametrize(
    "name", ["it's", "back\\slash", "{token_0:String}", "tab\tnew\nline", "' OR 1=1 --", "ü€🙂"]
)
@each_name
async def test_any_name_is_a_value_and_never_sql(reader: Reader, name: str, is_known: bool):
    await reader.store(event(tenant_id=name, user_id=name), event(tenant_id=name, user_id="bob"))
    job = erased(name, tenant_id=name)
    reader.erased = [job if is_known else msgspec.structs.replace(job, user_id=None)]
    assert await users(reader, name, filter="event_type:eq:view") == {"bob": 1}
    assert await users(reader, None) == {"bob": 1}


async def test_an_event_without_a_user_is_not_hidden_with_a_user(reader: Reader):
    await reader.store(event(event_id=UUID(int=9)), event(user_id="", event_id=UUID(int=10)))
    reader.erased = [erased("ada")]
    assert (await reader.answer(SUMMARY))["events"] == 2


async def test_reads_answer_while_thousands_of_erasures_wait(reader: Reader):
    await store_replaced(reader)
    reader.erased = [
        *(msgspec.structs.replace(erased(f"user-{n}"), user_id=None) for n in range(5_000)),
        erased("ada", before_ms=ms(NOW)),  # no event is as old
        erased("bob"),
        erased("bob", before_ms=ms(NOW)),
    ]
    for tenant_id in ("acme", None):
        assert await users(reader, tenant_id) == {"ada": 3}
        assert (await reader.answer(SUMMARY, tenant_id=tenant_id))["events"] == 3
    assert len(await reader.timeline()) == 3


async def test_reads_refuse_while_it_is_not_known_what_is_erased(reader: Reader):
    class Unreadable:
        def __iter__(self) -> Iterator[Job]:
            raise ErasuresUnreadable("erasure: cannot read it")

    reader.erased = Unreadable()  # type: ignore[assignment]
    status, body, headers = await reader.get(SUMMARY)
    assert (status, body["code"]) == (503, "scope_not_proven")
    assert "which events are erased" in str(body)
    assert "Retry-After" in headers
