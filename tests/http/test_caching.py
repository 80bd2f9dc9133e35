"""What a client may keep: answers about a past that it named, for a while, for itself alone."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.timestamps import iso_utc
from tests.engine import RunningEngine, needs_engine
from tests.http.questions import BY_NAME, QUESTIONS, pairs_of, stories
from tests.http.reader import JWT_KEY, NOW, SESSIONS, TIMELINE, Reader, event, ms, token_of

pytestmark = [needs_engine, pytest.mark.engine]

CLOSED = {"from": "2024-06-14", "to": "2024-06-14"}
SCOPES = [("shop", "acme"), ("shop", "globex")]


async def ask(
    reader: Reader, path: str, query: dict[str, Any], *, tag: str = "", tenant_id: str = "acme"
) -> tuple[int, bytes, Any]:
    assert reader._http is not None
    headers = {"Authorization": f"Bearer {token_of('shop', tenant_id)}"}
    if tag:
        headers["If-None-Match"] = tag
    async with reader._http.get(path, params=query, headers=headers) as response:
        return response.status, await response.read(), response.headers


def ago(**time: float) -> str:
    return iso_utc(ms(NOW - timedelta(**time)))


async def test_every_endpoint_s_answer_about_a_closed_range_may_be_kept(reader: Reader):
    await reader.store_twice(*stories(SCOPES))
    for name, text in QUESTIONS:
        asked = pairs_of(text)
        query: dict[str, Any] = {key: asked.getall(key) for key in asked}
        query |= {"before": "2024-06-15"} if name == "timeline" else CLOSED
        path = BY_NAME[name].path
        status, body, headers = await ask(reader, path, query)
        assert status == 200, (name, body)
        assert headers["Cache-Control"] == "private, max-age=60"
        # Whoever keeps it must not show it to the bearer of another token, or to a page of another origin.
        assert {part.strip() for part in headers["Vary"].split(",")} == {"Authorization", "Origin"}
        again, nothing, headers_again = await ask(reader, path, query, tag=headers["ETag"])
        assert (again, nothing) == (304, b"")
        for name_of_header in ("Cache-Control", "ETag", "Vary"):
            assert headers_again[name_of_header] == headers[name_of_header]


async def test_an_answer_that_will_soon_be_another_may_not_be_kept(reader: Reader):
    await reader.store_twice(*stories(SCOPES))
    for path, query in [
        (SESSIONS, {}),
        (SESSIONS, {"from": "2024-06-14"}),
        (SESSIONS, {"to": ago(seconds=59)}),
        (SESSIONS, {"to": ago(seconds=-1)}),
        (SESSIONS, {"to": "2030-01-01"}),
        (TIMELINE, {}),
        (TIMELINE, {"before": ago(seconds=59)}),
        (TIMELINE, {"after": "2024-06-14"}),
    ]:
        status, _, headers = await ask(reader, path, query, tag="*")
        assert (status, headers["Cache-Control"]) == (200, "no-store"), query
        assert "ETag" not in headers
    for path, query in [(SESSIONS, {"to": ago(seconds=61)}), (TIMELINE, {"before": ago(seconds=61)})]:
        _, _, headers = await ask(reader, path, query)
        assert headers["Cache-Control"] == "private, max-age=60", query


async def test_while_the_table_may_lack_events_an_answer_says_so_and_may_not_be_kept(reader: Reader):
    await reader.store_twice(*stories(SCOPES))
    reader.metrics.table_incomplete.set(1)
    status, body, headers = await ask(reader, SESSIONS, CLOSED)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert [warning["code"] for warning in json.loads(body)["warnings"]] == ["incomplete"]
    reader.metrics.table_incomplete.set(0)
    status, body, headers = await ask(reader, SESSIONS, CLOSED)
    assert headers["Cache-Control"] == "private, max-age=60"
    assert "warnings" not in json.loads(body)


async def test_a_tag_is_known_in_every_form_that_clients_send_it(reader: Reader):
    await reader.store_twice(*stories(SCOPES))
    _, _, headers = await ask(reader, SESSIONS, CLOSED)
    tag = headers["ETag"]
    assert tag.startswith('"')
    for known in (tag, f"W/{tag}", f'"other", {tag}', f'"other",W/{tag} , "third"', "*"):
        assert (await ask(reader, SESSIONS, CLOSED, tag=known))[0] == 304, known
    for unknown in ('"other"', tag.strip('"'), tag[:-2] + '"', '""', "W/*"):
        assert (await ask(reader, SESSIONS, CLOSED, tag=unknown))[0] == 200, unknown


async def test_a_late_event_gives_the_answer_another_tag(reader: Reader):
    await reader.store_twice(*stories(SCOPES))
    _, body, headers = await ask(reader, SESSIONS, CLOSED)
    await reader.store_twice(event(NOW - timedelta(hours=20), session_id="late"))
    status, changed, changed_headers = await ask(reader, SESSIONS, CLOSED, tag=headers["ETag"])
    assert status == 200
    assert changed != body
    assert changed_headers["ETag"] != headers["ETag"]


async def test_a_tag_of_one_tenant_opens_nothing_of_another(reader: Reader):
    await reader.store_twice(*stories(SCOPES))
    _, body, headers = await ask(reader, SESSIONS, CLOSED)
    status, other, _ = await ask(reader, SESSIONS, CLOSED, tag=headers["ETag"], tenant_id="globex")
    assert status == 200
    assert other != body
    assert b"of 0" not in other
    # Nor does it tell that there is nothing new to one who may not ask.
    assert reader._http is not None
    async with reader._http.get(
        SESSIONS, params=CLOSED, headers={"If-None-Match": headers["ETag"]}
    ) as refused:
        assert refused.status == 401


async def test_errors_are_never_kept(reader: Reader):
    for query in ({**CLOSED, "limit": "ten"}, {**CLOSED, "order": "x"}):
        status, _, headers = await ask(reader, SESSIONS, query)
        assert status == 400
        assert "max-age" not in headers.get("Cache-Control", "")
        assert "ETag" not in headers


@asynccontextmanager
async def keeping(engine: RunningEngine, cache_s: int) -> AsyncIterator[Reader]:
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=QueryConfig(cache_s=cache_s),
    )
    async with (
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
        Reader(client, config) as reader,
    ):
        yield reader


async def test_how_long_is_configured_and_may_be_never(reader: Reader, engine: RunningEngine):
    await reader.store_twice(*stories(SCOPES))
    async with keeping(engine, 3_600) as page:
        _, _, headers = await ask(page, SESSIONS, CLOSED)
        assert headers["Cache-Control"] == "private, max-age=3600"
    async with keeping(engine, 0) as page:
        status, _, headers = await ask(page, SESSIONS, CLOSED, tag="*")
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert "ETag" not in headers
