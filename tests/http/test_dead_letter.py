"""The dead letter over HTTP: who sees and changes what."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import ClickHouseConfig, Config
from nealytics.dead_letters.actions import Retrying
from nealytics.dead_letters.entries import DeadLetters
from nealytics.erasure.jobs import Erasure
from nealytics.event import Limits
from nealytics.http.admin import PREFIX
from nealytics.http.app import Cors, answering
from nealytics.http.dead_letter import DeadLetterAdmin
from nealytics.timestamps import iso_utc
from tests.auth.test_admin import ADMIN
from tests.auth.test_jwt import GOOD, signed, verifier
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.letters import held as all_held
from tests.fakes.letters import put, rejected
from tests.fakes.rows import TIMESTAMP_MS

NOW = TIMESTAMP_MS
PATH = f"{PREFIX}dead-letter"
EVENT = b'{"projectId":"%s","tenantId":"acme","sessionId":"s","eventType":"view"}'


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {signed({**ADMIN, **claims})}"}


MINE = bearer()  # of the project "my-app"
ALL = bearer(project_id="*")


class Held:
    """The application, with five entries: three of "my-app", one of "other", one of an unknown project."""

    def __init__(self, client: TestClient[Any, Any], directory: Path, fake: FakeClickHouse) -> None:
        self.client = client
        self.directory = directory
        self.fake = fake
        several = [
            rejected(NOW + n, EVENT % (project or "?").encode(), project_id=project, code=code)
            for n, (project, code) in enumerate(
                [
                    ("my-app", "invalid_event"),
                    ("other", "invalid_event"),
                    ("my-app", "forbidden"),
                    ("", "invalid_json"),
                    ("my-app", "invalid_event"),
                ]
            )
        ]
        put(directory, *several)
        self.ids = [one.id for one in several]

    async def get(self, query: str = "", headers: dict[str, str] = MINE) -> Any:
        answer = await self.client.get(PATH + query, headers=headers)
        return answer.status, await answer.json()

    async def post(self, what: str, body: object, headers: dict[str, str] = MINE) -> Any:
        answer = await self.client.post(f"{PATH}/{what}", json=body, headers=headers)
        return answer.status, await answer.json()

    @property
    def left(self) -> list[str]:
        return [event.id for event in all_held(self.directory)]


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Held]:
    async def known() -> Mapping[str, Erasure]:
        return {}

    async with FakeClickHouse() as fake:
        config = Config(clickhouse=ClickHouseConfig(url=fake.url, retention_days=0))
        async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            await schema.probe(client, config.clickhouse)
            letters = DeadLetters(directory)
            limits = Limits(256, 2048, age_ms_max=0, future_ms_max=10**9)
            retrying = Retrying(letters, client, "nealytics_core", lambda: limits, known, lambda: NOW)
            app = web.Application(middlewares=[answering(Cors(()))])
            DeadLetterAdmin(letters, retrying).add_to(app, verifier())
            async with TestClient(TestServer(app)) as http:
                yield Held(http, directory, fake)


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    async with serving(tmp_path) as held:
        yield held


async def test_a_token_of_a_project_sees_the_entries_of_this_project(held: Held):
    _, page = await held.get()
    assert page["events"] == 3
    assert page["counts"] == [
        {"events": 2, "project": "my-app", "source": "batch", "reason": "invalid_event"},
        {"events": 1, "project": "my-app", "source": "batch", "reason": "forbidden"},
    ]
    assert [entry["id"] for entry in page["entries"]] == [held.ids[4], held.ids[2], held.ids[0]]
    assert page["entries"][0]["payload"]["tenantId"] == "acme"
    _, everything = await held.get(headers=ALL)
    assert everything["events"] == 5
    _, of_other = await held.get("?project=other", headers=ALL)
    assert [entry["id"] for entry in of_other["entries"]] == [held.ids[1]]


async def test_entries_can_be_filtered_and_come_in_pages(held: Held):
    _, page = await held.get("?reason=invalid_event&source=batch")
    assert [entry["id"] for entry in page["entries"]] == [held.ids[4], held.ids[0]]
    found, cursor = [], ""
    while True:
        _, page = await held.get(f"?limit=2{cursor}", headers=ALL)
        found += [entry["id"] for entry in page["entries"]]
        assert page["events"] == 5
        if not page.get("next"):
            break
        cursor = f"&cursor={page['next']}"
    assert found == held.ids[::-1]


async def test_an_entry_is_shown_whole(held: Held):
    long = rejected(NOW + 9, project_id="my-app", payload=b'{"metadata":"' + b"x" * 5_000 + b'"}')
    put(held.directory, long)
    _, page = await held.get("?limit=1")
    assert page["entries"][0]["isCut"]
    assert len(page["entries"][0]["payload"]) == 2_048
    _, entry = await held.get(f"/{long.id}")
    assert len(entry["payload"]["metadata"]) == 5_000


async def test_an_entry_of_another_project_looks_like_one_that_does_not_exist(held: Held):
    for id in (held.ids[1], held.ids[3], "0189f7a0-0000-7000-8000-000000000001", "x", "..%2f..%2fpasswd"):
        status, error = await held.get(f"/{id}")
        assert (status, error["code"]) == (404, "not_found")
    assert (await held.get(f"/{held.ids[3]}", headers=ALL))[0] == 200


@pytest.mark.parametrize("what", ["retry", "drop"])
async def test_entries_of_another_project_are_never_changed(held: Held, what: str):
    bodies: tuple[dict[str, Any], ...] = ({"ids": held.ids}, {"filter": {}})
    for body in bodies:
        status, answer = await held.post(what, body)
        assert status == 200
        assert answer.get("retried", answer.get("dropped")) in (3, 0)
    assert held.left == [held.ids[1], held.ids[3]]
    assert len(held.fake.rows) == (3 if what == "retry" else 0)
    status, error = await held.post(what, {"filter": {"project": "other"}})
    assert (status, error["code"]) == (403, "forbidden")


async def test_ids_and_filters_select(held: Held):
    assert await held.post("drop", {"ids": [held.ids[0]]}) == (200, {"dropped": 1})
    assert await held.post("drop", {"ids": []}) == (200, {"dropped": 0})
    assert await held.post("drop", {"filter": {"reason": "forbidden"}}) == (200, {"dropped": 1})
    assert await held.post("drop", {"filter": {"source": "segment"}}) == (200, {"dropped": 0})
    assert held.left == [held.ids[1], held.ids[3], held.ids[4]]


async def test_a_retry_goes_on_behind_what_was_refused_again(held: Held, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nealytics.http.dead_letter.RETRIES_MAX", 2)
    poison = [rejected(n, b"{}", project_id="my-app") for n in range(3)]
    put(held.directory, *poison)
    kept, retried, cursor = [], 0, ""
    for left in (4, 2, 0):
        _, answer = await held.post("retry", {"filter": {}, "cursor": cursor})
        kept += [one["id"] for one in answer["kept"]]
        retried += answer["retried"]
        assert answer.get("left", 0) == left
        cursor = answer.get("next", "")
    assert (kept, retried, cursor) == ([one.id for one in poison], 3, "")
    status, error = await held.post("retry", {"filter": {}, "cursor": "soon"})
    assert (status, error["field"]) == (400, "cursor")


async def test_entries_are_selected_by_tenant_and_time(held: Held):
    put(held.directory, rejected(NOW + 60_000, EVENT % b"my-app", project_id="my-app", tenant_id="acme"))
    _, page = await held.get("?tenant=acme")
    assert page["events"] == 1
    _, page = await held.get(f"?from={iso_utc(NOW)}&to={iso_utc(NOW + 2)}")
    assert [entry["id"] for entry in page["entries"]] == [held.ids[2], held.ids[0]]
    dropped = {"filter": {"from": iso_utc(NOW + 3)}}
    assert await held.post("drop", dropped) == (200, {"dropped": 2})
    status, error = await held.post("drop", {"filter": {"to": "soon"}})
    assert (status, error["field"]) == (400, "to")
    assert (await held.get("?from=soon"))[1]["field"] == "from"


async def test_problems_are_those_of_the_request_and_a_line_is_named(held: Held):
    [path] = (held.directory / "rejected").iterdir()
    path.write_bytes(b"{broken\n" + path.read_bytes())
    _, page = await held.get(headers=ALL)
    assert page["events"] == 5
    assert [f"line 1 of {path}" in problem for problem in page["problems"]] == [True]
    assert "problems" not in (await held.get())[1]
    assert await held.post("drop", {"ids": held.ids[:1]}) == (200, {"dropped": 1})
    _, answer = await held.post("retry", {"ids": []}, ALL)
    assert answer["problems"] == page["problems"]
    dropped = {"dropped": 4, "problems": page["problems"]}
    assert await held.post("drop", {"ids": held.ids}, ALL) == (200, dropped)
    assert path.read_bytes() == b"{broken\n"


@pytest.mark.parametrize(("field", "value"), [("tenantId", None), ("tenantId", 5), ("timestamp", "soon")])
async def test_a_value_of_a_wrong_type_is_400_with_what_to_write(held: Held, field: str, value: object):
    status, error = await held.post("retry", {"ids": held.ids, "set": {field: value}})
    assert (status, error["field"]) == (400, f"set.{field}")
    assert json.dumps(value) in error["message"]
    assert error["detail"].startswith("Write ")
    assert len(held.left) == 5


async def test_fields_can_be_set_but_never_the_project_of_another(held: Held):
    bare = rejected(NOW + 9, project_id="my-app", payload=b'{"sessionId":"s","eventType":"view"}')
    put(held.directory, bare)
    _, answer = await held.post("retry", {"ids": [bare.id]})
    assert answer["kept"] == [{"id": bare.id, "message": "tenantId is missing or empty"}]
    for wrong in ({"projectId": "other"}, {"eventId": bare.id}, {"nonsense": 1}):
        status, error = await held.post("retry", {"ids": [bare.id], "set": wrong})
        assert (status, error["field"].split(".")[0]) == (400, "set")
    _, answer = await held.post("retry", {"ids": [bare.id], "set": {"tenantId": "acme"}})
    assert answer["retried"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": ["a"], "filter": {}},
        {"ids": "a"},
        {"ids": [1]},
        {"filter": {"user": "x"}},
        {"id": ["a"]},
        [],
        5,
        {"ids": ["a"], "set": []},
    ],
)
async def test_a_body_that_says_nothing_changes_nothing(held: Held, body: object):
    for what in ("retry", "drop"):
        status, error = await held.post(what, body)
        assert (status, error["field"]) == (400, "body")
        assert error["detail"]
    assert held.left == held.ids


async def test_a_body_that_is_too_large_is_refused(held: Held):
    status, error = await held.post("drop", {"ids": ["x" * 40] * 10_000})
    assert (status, error["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("query", ["?limit=0", "?limit=1001", "?limit=x", "?limit=-1", "?limit=%D9%A3"])
async def test_a_wrong_limit_is_400(held: Held, query: str):
    assert (await held.get(query))[1]["field"] == "limit"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": f"Bearer {signed(GOOD)}"}, 403),
        ({"Authorization": f"Bearer {signed({**GOOD, 'scope': 'ingest'})}"}, 403),
        (bearer(scope="project"), 403),
        (bearer(exp=1), 401),
    ],
)
async def test_other_tokens_neither_see_nor_change_it(held: Held, headers: dict[str, str], status: int):
    assert (await held.get(headers=headers))[0] == status
    for what in ("retry", "drop"):
        assert (await held.post(what, {"filter": {}}, headers))[0] == status
    assert held.left == held.ids


async def test_without_clickhouse_everything_is_kept_and_the_client_learns_to_retry(held: Held):
    held.fake.faults += [faults.proxy_error(503) for _ in range(10)]
    status, error = await held.post("retry", {"filter": {}})
    assert (status, error["code"]) == (503, "clickhouse_unavailable")
    assert held.left == held.ids
