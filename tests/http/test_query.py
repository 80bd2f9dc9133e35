"""Many questions in one request: each is answered as by its GET route, and none sees more than that."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from nealytics.config import QueryConfig
from nealytics.errors import Refused
from nealytics.http.query import BODY_BYTES_MAX, PATH, QUESTIONS_MAX, parse
from nealytics.http.reads import Reads
from nealytics.queries import ENDPOINTS
from tests.http.reader import NOW, Reader, event, on_the_engine

pytestmark = on_the_engine

RANGE = {"from": "2024-06-01", "to": "2024-06-20", "tz": "Europe/Berlin"}
# One question for each route, with a parameter that is its own.
QUESTIONS: dict[str, dict[str, Any]] = {
    "timeline": {"limit": 3},
    "sessions": {"order": "-events", "limit": 2},
    "timeseries": {"interval": "day", "groupBy": "event_type", "fill": True},
    "active": {"interval": "day", "by": "session"},
    "top": {"dimension": "item_id", "limit": 2},
    "summary": {},
    "properties": {"values": 2},
    "funnel": {"step": ["view", "buy"], "stepFilter": ["2:meta:plan:eq:pro"], "window": "3d"},
    "retention": {"interval": "week", "periods": 2},
    "paths": {"event": "view", "depth": 1},
    "heatmap": {},
}


async def stored(reader: Reader) -> None:
    await reader.store_twice(
        *(
            event(
                NOW - timedelta(days=number % 11, minutes=number),
                session_id=f"s{number % 7}",
                user_id=f"u{number % 5}",
                event_type=("view", "click", "buy")[number % 3],
                item_id=("/", "/shop", "/about")[number % 3],
                metadata={"plan": ("pro", "free")[number % 2]},
            )
            for number in range(90)
        ),
        event(tenant_id="globex", event_type="secret"),
    )


def as_query(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same in a query string."""
    return {
        name: [str(one) for one in value]
        if isinstance(value, list)
        else (str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in parameters.items()
    }


def test_each_route_has_a_question_here():
    assert set(QUESTIONS) == {endpoint.name for endpoint in ENDPOINTS}


async def test_each_question_is_answered_as_by_its_own_route(reader: Reader):
    await stored(reader)
    queries = {name: {"endpoint": name, **parameters} for name, parameters in QUESTIONS.items()}
    status, body, _ = await reader.post(
        PATH, {**RANGE, "filter": ["event_type:ne:click"], "queries": queries}
    )
    assert status == 200
    assert (body["projectId"], body["tenantId"]) == ("shop", "acme")
    for endpoint in ENDPOINTS:
        known = {parameter.name for parameter in endpoint.parameters}
        shared = {name: value for name, value in RANGE.items() if name in known}
        asked = as_query({**shared, **QUESTIONS[endpoint.name], "filter": "event_type:ne:click"})
        expected = await reader.as_sent(endpoint.path, **asked)
        assert body["results"][endpoint.name] == expected, endpoint.name
    assert list(body["results"]) == list(queries)


async def test_a_questions_own_parameters_go_before_the_shared_ones(reader: Reader):
    await stored(reader)
    status, body, _ = await reader.post(
        PATH,
        {
            **RANGE,
            "filter": ["event_type:eq:view"],
            "queries": {
                "shared": {"endpoint": "summary"},
                "own": {
                    "endpoint": "summary",
                    "From": "2024-06-14",
                    "filter": ["event_type:eq:buy", "item_id:exists:"],
                },
                "none": {"endpoint": "summary", "filter": None},
            },
        },
    )
    assert status == 200
    results = body["results"]
    assert results["shared"]["events"] == 30
    assert results["own"]["from"] == "2024-06-14T00:00:00+02:00"
    assert 0 < results["own"]["events"] < 30
    assert results["none"]["events"] == 90


async def test_one_question_that_fails_leaves_the_others_their_answers(reader: Reader):
    await stored(reader)
    queries = {
        "good": {"endpoint": "summary"},
        "bad": {"endpoint": "timeseries", "interval": "fortnight"},
        "forbidden": {"endpoint": "top"},
        "typo": {"endpoint": "summary", "filters": "x"},
    }
    claims = {"endpoints": ["summary", "timeseries"]}
    status, body, headers = await reader.post(PATH, {**RANGE, "queries": queries}, claims=claims)
    assert status == 200
    results = body["results"]
    assert results["good"]["events"] == 90
    assert results["bad"]["error"]["code"] == "invalid_parameter"
    assert results["bad"]["error"]["field"] == "interval"
    assert results["bad"]["error"]["requestId"] == headers["X-Request-Id"]
    assert results["forbidden"]["error"]["code"] == "forbidden"
    assert results["typo"]["warnings"][0]["code"] == "unknown_parameter"
    assert reader.metrics.value("nealytics_read_failures_total", "invalid_parameter") == 1
    assert headers["Cache-Control"] == "no-store"


async def test_no_question_leads_out_of_the_token(reader: Reader):
    await stored(reader)
    for smuggled in ({"tenant_id": "globex"}, {"tenantId": "globex"}, {"filter": "tenant_id:eq:globex"}):
        queries = {"top": {"endpoint": "top", **smuggled}}
        _, body, _ = await reader.post(PATH, {**RANGE, "queries": queries})
        keys = [item["key"] for item in body["results"]["top"].get("items", [])]
        assert "secret" not in keys
    shared = {**RANGE, "filter": "tenant_id:eq:globex", "queries": {"top": {"endpoint": "top"}}}
    assert (await reader.post(PATH, shared))[1]["results"]["top"].get("items", []) == []
    _, body, _ = await reader.post(PATH, {**RANGE, "queries": {"top": {"endpoint": "top"}}}, tenant_id=None)
    assert "tenantId" not in body
    assert "secret" in [item["key"] for item in body["results"]["top"]["items"]]


async def test_answers_about_the_past_have_a_tag_and_are_not_sent_again(reader: Reader):
    await stored(reader)
    closed = {
        "from": "2024-06-01",
        "to": "2024-06-10",
        "queries": {"a": {"endpoint": "summary"}, "b": {"endpoint": "top"}},
    }
    status, body, headers = await reader.post(PATH, closed)
    assert status == 200
    assert headers["Cache-Control"] == "private, max-age=60"
    again = await reader.post(PATH, closed, headers={"If-None-Match": headers["ETag"]})
    assert again[:2] == (304, None)
    await reader.store(event(NOW - timedelta(days=8), event_type="late"))
    status, changed, _ = await reader.post(PATH, closed, headers={"If-None-Match": headers["ETag"]})
    assert status == 200
    assert changed["results"]["a"]["events"] == body["results"]["a"]["events"] + 1
    open_ = {**closed, "to": "2024-06-20"}
    assert (await reader.post(PATH, open_))[2]["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"[" * 60_000, "body"),
        (b"{}", "queries"),
        (b'{"queries": {}}', "queries"),
        (b'{"queries": []}', "queries"),
        (b'{"queries": {"a": 1}}', "queries.a"),
        # Also where no question has such a parameter.
        (b'{"queries": {"a": {"endpoint": "summary"}}, "x": {"y": 1}}', "x"),
        (b'{"queries": {"a": {"endpoint": "summary", "from": 1}}, "from": [[]]}', "from"),
        (b'{"queries": {"": {"endpoint": "top"}}}', "queries."),
        (b'{"queries": {"a": {}}}', "queries.a.endpoint"),
        (b'{"queries": {"a": {"endpoint": "export"}}}', "queries.a.endpoint"),
        (b'{"queries": {"a": {"endpoint": ["top"]}}}', "queries.a.endpoint"),
        (b'{"queries": {"a": {"endpoint": "top", "limit": {"b": 1}}}}', "queries.a.limit"),
        (b'{"filter": [["x"]], "queries": {"a": {"endpoint": "top"}}}', "filter"),
        (
            json.dumps(
                {"queries": {f"q{n}": {"endpoint": "top"} for n in range(QUESTIONS_MAX + 1)}}
            ).encode(),
            "queries",
        ),
        (b'{"filters": ["x"], "queries": {"a": {"endpoint": "top"}}}', "filters"),
        (b'{"filter": ' + b"[0" + b",0" * 20_000 + b'], "queries": {"a": {"endpoint": "top"}}}', "filter"),
        (b'{"queries": {"a": {"endpoint": "top", "filter": [' + b'"",' * 100 + b'""]}}}', "queries.a.filter"),
        (b'{"queries": {"a": {"endpoint": "top", "limit": ' + b"9" * 5_000 + b"}}}", "body"),
        (b'{"queries": {"a": {"endpoint": "top", "dimension": "\\ud800"}}}', "body"),
        (json.dumps({"queries": {"n" * 65: {"endpoint": "top"}}}).encode(), f"queries.{'n' * 64}"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_request_that_makes_no_sense_is_refused_with_the_place(body: bytes, field: str):
    with pytest.raises(Refused) as refused:
        parse(body)
    assert (refused.value.status, refused.value.code, refused.value.field) == (
        400,
        "invalid_parameter",
        field,
    )
    assert refused.value.detail


async def test_a_parameter_for_all_that_no_route_has_is_refused_with_a_hint(reader: Reader):
    queries = {"a": {"endpoint": "top"}}
    status, body, _ = await reader.post(PATH, {**RANGE, "filters": ["event_type:eq:buy"], "queries": queries})
    assert (status, body["field"], body["detail"]) == (400, "filters", "Did you mean filter?")


async def test_numbers_are_taken_as_other_languages_write_them():
    question, *_ = parse(
        b'{"queries": {"a": {"endpoint": "top", "limit": 10.0, "filter": ["x", 1.5, true]}}}'
    )
    assert question.arguments["limit"] == "10"
    assert question.arguments.getall("filter") == ["x", "1.5", "true"]


async def test_the_tokens_own_filters_hold_for_each_question(reader: Reader):
    await stored(reader)
    queries = {name: {"endpoint": name, **parameters} for name, parameters in QUESTIONS.items()}
    claims = {"filters": ["meta:plan:eq:nobody"]}
    status, body, _ = await reader.post(PATH, {**RANGE, "queries": queries}, claims=claims)
    assert status == 200
    for name, parameters in QUESTIONS.items():
        (endpoint,) = (endpoint for endpoint in ENDPOINTS if endpoint.name == name)
        known = {parameter.name for parameter in endpoint.parameters}
        shared = {key: value for key, value in RANGE.items() if key in known}
        asked = as_query({**shared, **parameters, "filter": "meta:plan:eq:nobody"})
        assert body["results"][name] == await reader.as_sent(endpoint.path, **asked), name


async def test_a_question_that_fails_by_our_fault_leaves_the_others_their_answers(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    await stored(reader)
    ask = Reads.ask

    async def sometimes(self: Reads, question: Any) -> Any:
        if broken_ones.pop(0):
            raise ValueError("unheard of")
        return await ask(self, question)

    broken_ones = [True, False]
    monkeypatch.setattr(Reads, "ask", sometimes)
    queries = {"a": {"endpoint": "summary"}, "b": {"endpoint": "summary"}}
    status, body, headers = await reader.post(PATH, {**RANGE, "queries": queries})
    assert status == 200
    assert sorted(body["results"]) == ["a", "b"]
    (error,) = (result["error"] for result in body["results"].values() if "error" in result)
    assert (error["code"], error["requestId"]) == ("internal_error", headers["X-Request-Id"])
    assert "unheard" not in json.dumps(body)
    assert "query: summary failed" in caplog.text
    assert "unheard of" in caplog.text


async def test_one_request_takes_no_more_places_than_run_at_once(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
):
    running = most = 0

    async def watched(self: Reads, question: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        raise Refused(422, "query_too_large", "as a test wants it")

    class Never:
        async def __aenter__(self) -> None: ...
        async def __aexit__(self, *_: object) -> None: ...

    monkeypatch.setattr(Reads, "ask", watched)
    monkeypatch.setattr(Reads, "slot", lambda *_: Never())
    queries = {f"q{n}": {"endpoint": "top"} for n in range(QUESTIONS_MAX)}
    status, body, _ = await reader.post(PATH, {**RANGE, "queries": queries})
    assert (status, len(body["results"])) == (200, QUESTIONS_MAX)
    assert most == QueryConfig().concurrency_max


def merged(lines: list[dict[str, Any]]) -> dict[str, Any]:
    whole = {**lines[0], "results": {}}
    for line in lines[1:]:
        assert list(line) == ["results"]
        whole["results"] |= line["results"]
    return whole


async def test_lines_say_the_same_as_the_whole_answer(reader: Reader):
    await stored(reader)
    queries = {name: {"endpoint": name, **parameters} for name, parameters in QUESTIONS.items()}
    asked = {**RANGE, "queries": {**queries, "bad": {"endpoint": "top", "limit": "many"}}}
    _, whole, _ = await reader.post(PATH, asked)
    async with reader.sending(PATH, asked, headers={"Accept": "application/x-ndjson"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers
        lines = [json.loads(line) async for line in answer.content]
    assert len(lines) == 1 + len(asked["queries"])
    found = merged(lines)
    whole["results"]["bad"]["error"].pop("requestId")
    found["results"]["bad"]["error"].pop("requestId")
    assert found == whole


async def test_an_answer_is_sent_while_others_are_under_way(reader: Reader, monkeypatch: pytest.MonkeyPatch):
    await stored(reader)
    ask, go_on = Reads.ask, asyncio.Event()
    asked: list[object] = []

    async def one_waits(self: Reads, question: Any) -> Any:
        asked.append(question)
        if len(asked) == 1:
            await go_on.wait()
        return await ask(self, question)

    monkeypatch.setattr(Reads, "ask", one_waits)
    queries = {"slow": {"endpoint": "summary"}, "quick": {"endpoint": "top"}}
    body = {**RANGE, "queries": queries}
    async with reader.sending(PATH, body, headers={"Accept": "application/x-ndjson"}) as answer:
        assert json.loads(await answer.content.readline()) == {"projectId": "shop", "tenantId": "acme"}
        assert list(json.loads(await answer.content.readline())["results"]) == ["quick"]
        go_on.set()
        assert list(json.loads(await answer.content.readline())["results"]) == ["slow"]
        assert await answer.content.readline() == b""


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_the_questions_of_a_client_that_left_are_ended(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, accept: str
):
    begun, ended = asyncio.Event(), asyncio.Semaphore(0)

    async def endless(self: Reads, question: Any) -> Any:
        begun.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.release()

    monkeypatch.setattr(Reads, "ask", endless)
    queries = {f"q{n}": {"endpoint": "top"} for n in range(3)}
    request = asyncio.create_task(reader.post(PATH, {"queries": queries}, headers={"Accept": accept}))
    await begun.wait()
    request.cancel()
    for _ in queries:
        await asyncio.wait_for(ended.acquire(), 30)


async def test_a_body_that_is_too_large_is_refused(reader: Reader):
    status, body, _ = await reader.post(PATH, b" " * (BODY_BYTES_MAX + 1))
    assert (status, body["code"]) == (413, "body_too_large")


async def test_without_a_token_nothing_is_read(reader: Reader):
    status, body, _ = await reader.post(
        PATH, {"queries": {"a": {"endpoint": "top"}}}, headers={"Authorization": ""}
    )
    assert (status, body["code"]) == (401, "unauthorized")
