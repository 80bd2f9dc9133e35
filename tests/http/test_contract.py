"""The running API keeps to what /openapi.json says of it: schemathesis asks, the real engine answers.

`TEST_SCHEMATHESIS_EXAMPLES` is the number of questions per endpoint and kind of question; more take longer.
"""

import asyncio
import copy
import os
import random
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.schema import apply
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.event import Event
from nealytics.http import query
from nealytics.http.openapi import document
from nealytics.http.openapi_schemas import parameter_schema
from nealytics.queries import ENDPOINTS, export
from nealytics.queries.endpoint import Endpoint
from nealytics.queries.params import Parameter
from tests.engine import RunningEngine
from tests.fakes.worker import ANY, BATCH, TRACK, serving
from tests.http.reader import JWT_KEY, NOW, Reader, event, on_the_engine, token_of
from tests.test_docs import curl_lines, sections

pytestmark = [*on_the_engine, pytest.mark.slow]

EXAMPLES = int(os.environ.get("TEST_SCHEMATHESIS_EXAMPLES", "15"))
# The same questions every time. A failure is not searched for a smaller one: each costs a query.
ASKED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

CONFIG = Config(query=QueryConfig(limit_max=1_000))
T = TypeVar("T")

# What makes sense for the events below, so that most questions have an answer.
SENSIBLE: dict[str, list[Any]] = {
    "from": ["2024-06-01", "2024-06-13T06:00:00Z", "2024-06-14T23:30:00+02:00"],
    "to": ["2024-06-14T00:00:00.5Z", "2024-06-15", "2024-06-16T00:00:00Z"],
    "before": ["2024-06-15", "2024-06-14T00:00:00Z"],
    "after": ["2024-06-01", "2024-06-13"],
    "filter": [
        "event_type:in:view,click",
        "meta:cart.total:gt:10",
        "user_id:exists:",
        "item_id:starts:/",
        "meta:plan:ne:pro",
    ],
    "eventType": ["view", "click"],
    "sessionId": ["s1"],
    "userId": ["u1"],
    "itemId": ["/"],
    "metaKey": ["plan"],
    "metaValue": ["pro"],
    "event": ["view"],
    "step": ["view", "click", "purchase"],
    "cohortEvent": ["view"],
    "returnEvent": ["click"],
    "stepFilter": ["1:item_id:exists:true", "2:meta:plan:eq:pro"],
    "under": ["meta:cart", "cart"],
    "key": ["plan", "cart.total"],
    "tz": ["Europe/Berlin", "America/New_York", "Asia/Kathmandu"],
    "window": ["30m", "1d"],
}

# `live` never ends, so it is not asked here.
READS = {route.path: route for route in (*ENDPOINTS, export.STREAM)}

each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)


def a_fortnight() -> list[Event]:
    chance = random.Random(11)
    return [
        event(
            NOW - timedelta(days=chance.choice((0, 1, 2, 9)), seconds=chance.randrange(20_000)),
            session_id=f"s{chance.randrange(30)}",
            user_id=chance.choice([None, *(f"u{n}" for n in range(12))]),
            event_type=chance.choice(["view", "view", "click", "purchase", "café"]),
            item_id=chance.choice([None, "/", "/shop"]),
            metadata=chance.choice(
                [{}, {"plan": "pro"}, {"plan": "free", "cart": {"total": 12.5, "n": [1]}}]
            ),
        )
        for _ in range(300)
    ]


@contextmanager
def in_a_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `context` gives, with a loop of its own to live in: schemathesis asks from this thread."""
    entered: Future[T] = Future()
    loop = asyncio.new_event_loop()
    leave = asyncio.Event()

    async def live() -> None:
        async with context as entry:
            entered.set_result(entry)
            await leave.wait()

    def run() -> None:
        try:
            loop.run_until_complete(live())
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield entered.result(60)
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
        loop.close()


class Served(NamedTuple):
    """An address, and how to ask there."""

    url: str
    headers: dict[str, str]
    session: requests.Session

    def get(self, path: str, query: dict[str, Any]) -> requests.Response:
        return self.session.get(self.url + path, params=query, headers=self.headers)


@asynccontextmanager
async def reading(engine: RunningEngine) -> AsyncIterator[str]:
    """The address of the read API."""
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=CONFIG.query,
    )
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await apply(client, config.clickhouse)
        await client.command("SYSTEM STOP MERGES nealytics_core.global_events")
        async with Reader(client, config) as reader:
            await reader.store_twice(*a_fortnight())
            yield reader.url


@pytest.fixture(scope="module")
def served(engine: RunningEngine) -> Iterator[Served]:
    headers = {"Authorization": f"Bearer {token_of('shop', 'acme')}"}
    with in_a_thread(reading(engine)) as url, requests.Session() as session:
        yield Served(url, headers, session)


@pytest.fixture(scope="module")
def taking() -> Iterator[Served]:
    with in_a_thread(serving()) as worker, requests.Session() as session:
        yield Served(f"http://127.0.0.1:{worker.port}", {"X-Project-Key": ANY}, session)


# Why a question that the schema allows may be refused: two parameters that contradict each other, a cursor
# that no answer gave, and days, weeks and seconds that only the calendar knows.
BEYOND_A_SCHEMA = {
    "from": "is later than|ISO 8601",
    "to": "is later than|ISO 8601",
    "before": "is later than|ISO 8601",
    "after": "is later than|ISO 8601",
    "cursor": "cursor",
    "interval": "the range has more than|a day alone has no stickiness",
    "fill": "with fill the answer has more than",
    "stickiness": "a day alone has no stickiness",
    "under": "keys deep",
    "key": "keys deep",
    "stepFilter": "is for step|ISO 8601",
    "filter": "ISO 8601|lists [0-9]+ values",
    "compare": "",
    "rolling": "is of days|with rolling the answer has more than",
    "metaValue": "metaKey",
    "metaKey": "metaValue",
}


def assert_no_schema_could_say_it(error: dict[str, Any]) -> None:
    reason = BEYOND_A_SCHEMA.get(error.get("field", ""))
    assert reason is not None, error
    assert re.search(reason, error["message"]), error


def ask(
    served: Served,
    described: dict[str, Any],
    path: str,
    mode: GenerationMode,
    checks: Sequence[CheckFunction] = CHECKS,
) -> Counter[int]:
    """Asks questions of that kind and checks each answer; the statuses that came."""
    (method,) = described["paths"][path]
    operation = schemathesis.openapi.from_dict(described)[path][method.upper()]
    statuses: Counter[int] = Counter()

    @ASKED
    @given(case=operation.as_strategy(generation_mode=mode))
    def question(case: Any) -> None:
        answer = case.call(base_url=served.url, headers=served.headers, session=served.session)
        case.validate_response(answer, checks=list(checks), headers=served.headers)
        statuses[answer.status_code] += 1
        if mode == GenerationMode.POSITIVE and answer.status_code == 400 and method == "get":
            assert_no_schema_could_say_it(answer.json())
        if mode == GenerationMode.NEGATIVE and answer.status_code == 200 and method == "get":
            assert_only_excused(path, dict(case.query or {}))

    question()
    return statuses


@each_endpoint
def test_answers_to_sensible_questions_are_as_described(served: Served, endpoint: Endpoint[Any]):
    described = copy.deepcopy(document(CONFIG))
    told = described["paths"][endpoint.path]["get"]["parameters"]
    told[:] = [parameter for parameter in told if parameter["name"] != "cursor"]
    for parameter in told:
        values = SENSIBLE.get(parameter["name"])
        if values is not None:
            schema = parameter["schema"]
            narrowed = schema.get("items", schema)
            narrowed.clear()
            narrowed |= {"type": "string", "enum": values}
    statuses = ask(served, described, endpoint.path, GenerationMode.POSITIVE)
    assert statuses[200] > EXAMPLES / 3, statuses


@pytest.mark.parametrize("path", READS)
def test_answers_to_all_that_is_allowed_are_as_described(served: Served, path: str):
    assert ask(served, document(CONFIG), path, GenerationMode.POSITIVE)


@pytest.mark.parametrize("path", [*READS, query.PATH])
def test_answers_to_what_is_not_allowed_are_as_described(served: Served, path: str):
    """And none is an answer to a value that makes no sense: the description is no looser than the server."""
    described = copy.deepcopy(document(CONFIG))
    # Else half of the questions have nothing wrong but the token.
    del described["paths"][path]["post" if path == query.PATH else "get"]["security"]
    assert ask(served, described, path, GenerationMode.NEGATIVE)


@each_endpoint
def test_the_curl_line_of_the_documents_works_as_it_is_written(served: Served, endpoint: Endpoint[Any]):
    (url,) = curl_lines(sections()[endpoint.path])
    answer = served.get(url.geturl(), {})
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()


def is_instant(text: str) -> bool:
    try:
        datetime.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def nonsense(parameter: Parameter) -> st.SearchStrategy[str] | None:
    """Texts that the parameter's schema excludes and the contract does not take anyway.

    None if it takes any text. Not excluded, though the schema knows nothing of it: a blank is an absent
    parameter, dates may be written as in all of ISO 8601, true also 1, and a number with a sign.
    """
    if parameter.kind == "text":
        return None
    texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
    written = texts | st.sampled_from(["null", "[]", "1e9999", "-", "true", "view:eq:", "2024-13-01", "٣"])
    return written.filter(lambda text: is_excluded(parameter, text))


@cache
def validator(parameter: Parameter) -> Any:
    items = parameter_schema(parameter)
    schema = {**items.get("items", items), "components": document(CONFIG)["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def is_excluded(parameter: Parameter, text: str) -> bool:
    """Whether the schema excludes a text that the contract does not take anyway."""
    if not text.strip():
        return False
    match parameter.kind:
        case "integer":
            return not text.strip().lstrip("+-").isdecimal()
        case "flag":
            return text.lower() not in ("true", "false", "1", "0")
        case "instant":
            return not is_instant(text) and not validator(parameter).is_valid(text)
        case "zone":
            return "/" not in text and text not in ("UTC", "GMT")
    return not validator(parameter).is_valid(text)


def assert_only_excused(path: str, asked: dict[str, Any]) -> None:
    """What was answered has nothing wrong but unknown names and the forms that `is_excluded` excuses."""
    for parameter in READS[path].parameters:
        value = asked.get(parameter.name)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                assert not is_excluded(parameter, text), (parameter.name, text)


@each_endpoint
def test_what_makes_no_sense_is_refused_by_its_name(served: Served, endpoint: Endpoint[Any]):
    refusable = {
        parameter.name: found
        for parameter in endpoint.parameters
        if (found := nonsense(parameter)) is not None
    }
    required = {
        parameter.name: ["view", "click"] if parameter.repeatable else "view"
        for parameter in endpoint.parameters
        if parameter.required
    }

    @ASKED
    @given(st.sampled_from(sorted(refusable)).flatmap(lambda name: st.tuples(st.just(name), refusable[name])))
    def question(asked: tuple[str, str]) -> None:
        name, value = asked
        answer = served.get(endpoint.path, {**required, name: value})
        assert answer.status_code == 400, answer.text
        assert (answer.json()["code"], answer.json()["field"]) == ("invalid_parameter", name)

    question()


# Sending: no engine behind it, a real log


@pytest.mark.parametrize("path", [TRACK, BATCH])
def test_events_that_the_schema_allows_are_taken(taking: Served, path: str):
    described = copy.deepcopy(document(CONFIG))
    # Whether a time is within the window is not for a schema to say.
    del described["components"]["schemas"]["Event"]["properties"]["timestamp"]
    bodies = described["paths"][path]["post"]["requestBody"]["content"]
    bodies.pop("application/x-ndjson", None)
    statuses = ask(taking, described, path, GenerationMode.POSITIVE)
    assert set(statuses) <= {202, 200}


def test_an_event_that_the_schema_does_not_allow_is_refused(taking: Served):
    checks = [*CHECKS, negative_data_rejection]
    # The rest has nothing wrong but query parameters that nobody knows: about half of them.
    assert ask(taking, document(CONFIG), TRACK, GenerationMode.NEGATIVE, checks)[400] > EXAMPLES / 4
