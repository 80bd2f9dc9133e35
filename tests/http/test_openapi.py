"""The description of the API says what the code does: nothing less, nothing more."""

import ast
import calendar
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urljoin

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from multidict import MultiDict

import nealytics
from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.writers import Writers
from nealytics.config import Config, IngestConfig, ObserveConfig, QueryConfig
from nealytics.errors import Refused
from nealytics.event import InvalidEvent, Limits, Sent, decode_event, freeze
from nealytics.http.app import build_app
from nealytics.http.health import add_health_routes
from nealytics.http.openapi import PATH, add_openapi_route, document
from nealytics.http.openapi_errors import (
    OTHER_CODES,
    QUERY_ERRORS,
    READ_ERRORS,
    SAVED_ERRORS,
    SEND_ERRORS,
    STREAM_ERRORS,
)
from nealytics.http.openapi_schemas import _FIELDS, parameter_schema
from nealytics.http.query import add_query_route
from nealytics.http.reads import Reads, add_read_routes
from nealytics.http.responses import _CODES
from nealytics.http.saved import add_saved_routes
from nealytics.http.streams import add_stream_routes
from nealytics.ingest.handlers import BEACON
from nealytics.observe.metrics import READ_FAILURE_REASONS, REFUSED_REASONS, Metrics
from nealytics.queries import ENDPOINTS, STREAMS, export, funnel, live, sequences
from nealytics.queries.endpoint import Endpoint, Route
from nealytics.queries.params import Arguments, Parameter
from nealytics.shared import NodeMemory

ERRORS = {
    "Reading": READ_ERRORS,
    "Asking": QUERY_ERRORS,
    "Streaming": STREAM_ERRORS,
    "Saved": SAVED_ERRORS,
    "Sending": SEND_ERRORS,
}
OF_READS = (STREAM_ERRORS, QUERY_ERRORS, SAVED_ERRORS)
CONFIG = Config(observe=ObserveConfig(prometheus=True))
DOCUMENT = document(CONFIG)
PACKAGE = Path(nealytics.__file__).parent
ROUTES: list[Route] = [*ENDPOINTS, *STREAMS]
NOW_MS = 1_781_000_000_000  # June 2026, where the examples are

each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
each_route = pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, validate_formats=True
    )


def operation(route: Route) -> dict[str, Any]:
    return cast(dict[str, Any], DOCUMENT["paths"][route.path]["get"])


# The document


def test_it_is_valid_openapi():
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for spoilt in ({**DOCUMENT, "info": {}}, {**DOCUMENT, "paths": {"/x": {"get": {"responses": 7}}}}):
        with pytest.raises(jsonschema_rs.ValidationError):
            schemathesis.openapi.from_dict(spoilt).validate()


@pytest.mark.parametrize("address", ["http://localhost:5000", "https://example.com/shop/analytics"])
def test_the_server_is_where_the_document_is(address: str):
    """Also behind a proxy that takes a prefix away, of which the server never hears."""
    (server,) = DOCUMENT["servers"]
    assert urljoin(address + PATH, server["url"]).removesuffix("/") == address


def test_every_reference_leads_somewhere():
    for found in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)):
        at: Any = DOCUMENT
        for key in found.split("/"):
            at = at[key]


def test_each_operation_has_a_name_of_its_own_and_says_what_it_does():
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert sorted(set(names)) == sorted(names)
    assert all(operation["summary"] for operation in operations)


async def test_the_routes_of_the_product_are_those_of_the_document():
    app = whole_app()
    served = {
        (method, path)
        for route in app.router.routes()
        if (method := route.method) != "HEAD" and (path := cast(web.Resource, route.resource).canonical)
    }
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == served


def test_descriptions_name_no_file_of_the_program():
    assert re.findall(r"\S+\.py\b", json.dumps(DOCUMENT)) == []


def test_metrics_are_described_only_where_they_are_served():
    assert "/metrics" not in document(Config())["paths"]


def whole_app() -> web.Application:
    """All routes, as `server` adds them; nothing behind them."""
    added = set(re.findall(r"\b(add_\w+_routes?)\(", (PACKAGE / "server.py").read_text()))
    # Pages are for people, admin routes for operators (docs/monitor.md), and the APIs of other vendors for
    # their SDKs (decision 0042): the description is for clients of this API.
    added -= {"add_page_routes", "add_usage_route", "add_compat_routes"}
    assert added == {
        "add_read_routes",
        "add_query_route",
        "add_stream_routes",
        "add_saved_routes",
        "add_openapi_route",
        "add_health_routes",
    }
    nothing = cast(Any, None)
    app = build_app(
        CONFIG,
        writers=Writers(ApiKeys(()), TokenVerifier(CONFIG.auth)),
        admission=cast(Any, SimpleNamespace(limits=None)),
        committer=nothing,
        memory=NodeMemory.create(workers=1, keys=0),
        metrics=Metrics.private(),
    )
    reads = Reads(CONFIG, client=nothing, verifier=nothing, metrics=nothing)
    add_read_routes(app, reads)
    add_query_route(app, reads)
    add_stream_routes(app, reads, CONFIG)
    add_saved_routes(app, reads, nothing)
    add_openapi_route(app, CONFIG)
    add_health_routes(app, log=nothing, committer=nothing, client=nothing, metrics=nothing, prometheus=True)
    return app


# Answers


@each_endpoint
def test_the_example_is_an_answer(endpoint: Endpoint[Any]):
    body = msgspec.json.encode(endpoint.example)
    assert msgspec.json.decode(body, type=endpoint.answer) == endpoint.example
    content = operation(endpoint)["responses"]["200"]["content"]["application/json"]
    assert content["example"] == json.loads(body)
    validator(content["schema"]).validate(json.loads(body))


@each_endpoint
def test_an_answer_that_lacks_something_is_none(endpoint: Endpoint[Any]):
    """The schema tells them apart, so the test above can fail."""
    content = operation(endpoint)["responses"]["200"]["content"]["application/json"]
    for name in json.loads(msgspec.json.encode(endpoint.example)):
        found = validator(content["schema"])
        assert not found.is_valid({**content["example"], name: {}}), name
    assert not validator(content["schema"]).is_valid({})


def test_null_is_no_value_of_an_answer_but_of_a_measure():
    sent = ("Event", "Argument", "Conditions")
    answers = {name: told for name, told in DOCUMENT["components"]["schemas"].items() if name not in sent}
    measure = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    text = json.dumps(answers)
    assert text.count(json.dumps(measure)) == text.count('"null"') > 0


def test_every_error_names_its_request_in_head_and_body():
    for response in DOCUMENT["components"]["responses"].values():
        assert "X-Request-Id" in response["headers"]
    error = DOCUMENT["components"]["schemas"]["Error"]
    assert sorted(error["required"]) == ["code", "detail", "message", "requestId"]


def test_every_error_has_the_schema_of_its_codes_by_name():
    """Generators number what has no name: `Code1` to `Code119`."""
    components = DOCUMENT["components"]
    for name, response in components["responses"].items():
        reference = response["content"]["application/json"]["schema"]["$ref"]
        schema = validator({"$ref": reference})
        told = ERRORS[name[:-3]][int(name[-3:])]
        for code in components["schemas"]["ErrorCode"]["enum"]:
            body = {"code": code, "message": "m", "detail": "d", "requestId": "r"}
            assert schema.is_valid(body) == (code in told), (name, code)
        assert not schema.is_valid({"code": told[0], "message": "m"})


def test_no_enum_and_no_object_lacks_a_name():
    """Apart from the values of one parameter or field, which generators name after it."""

    def unnamed(schema: Any) -> Iterator[Any]:
        for value in (
            schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []
        ):
            yield from unnamed(value)
        if isinstance(schema, dict) and ("enum" in schema or "properties" in schema):
            yield schema

    contents = [
        content["schema"]
        for path in DOCUMENT["paths"].values()
        for way in path.values()
        for told in (way.get("requestBody"), *way["responses"].values())
        if told
        for content in told.get("content", {}).values()
    ]
    assert [found for schema in contents for found in unnamed(schema)] == []


def test_the_error_codes_are_those_of_the_code():
    routes = {code for errors in ERRORS.values() for codes in errors.values() for code in codes}
    raised = (
        {
            code
            for _, code in refusals(
                "errors.py", "auth/*.py", "queries/**/*.py", "ingest/*.py", *for_clients()
            )
        }
        | set(_CODES.values())
        | set(raw_codes())
    )
    assert set(DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]) == raised | routes
    assert set(OTHER_CODES) == raised - routes


def for_clients() -> list[str]:
    """The files of `http` without the admin routes, which are described for operators (docs/erasure.md,
    docs/dead-letter.md)."""
    admin = ("admin.py", "dead_letter.py", "erasures.py")
    return [f"http/{path.name}" for path in PACKAGE.glob("http/*.py") if path.name not in admin]


def raw_codes() -> Iterator[str]:
    for path in sorted(PACKAGE.glob("http/*.py")):
        yield from re.findall(r'ErrorBody\(\s*"(\w+)"', path.read_text())


def test_what_a_read_is_refused_for_is_what_its_failures_are_counted_by():
    """And what the code raises is what is told (`test_the_errors_of_reading_…`), so no refusal becomes a 500
    for want of a counter."""
    told = {code for errors in OF_READS for codes in errors.values() for code in codes}
    assert set(READ_FAILURE_REASONS) == told | {"broken_off"}


# Parameters


@each_route
def test_the_parameters_are_the_declared_ones(route: Route):
    told = operation(route)["parameters"]
    assert [parameter["name"] for parameter in told] == [declared.name for declared in route.parameters]
    assert len({declared.name.lower() for declared in route.parameters}) == len(route.parameters)
    assert all(parameter["description"].endswith((".", "`")) for parameter in told)
    assert operation(route)["description"].endswith((".", ":", "`"))


# Streams take what a header says as well. The token is read before anything else.
PARSE_STREAM: dict[str, Callable[[Arguments], Any]] = {
    live.STREAM.path: lambda arguments: live.parse(arguments, ""),
    export.STREAM.path: lambda arguments: export.parse(arguments, None),
}
READ_ELSEWHERE = {"access_token"}


class Recording:
    """A query string that remembers which of its names were read."""

    def __init__(self, query: Any) -> None:
        self._query = query
        self.names: set[str] = set()

    def getall(self, name: str, default: list[str]) -> list[str]:
        self.names.add(name)
        return cast(list[str], self._query.getall(name, default))


def names_read(route: Route, pairs: list[tuple[str, str]]) -> set[str]:
    arguments = Arguments(MultiDict(pairs), QueryConfig(), NOW_MS, route.parameters)
    recording = Recording(arguments._query)
    arguments._query = cast(Any, recording)
    # What makes no sense alone is read all the same.
    with contextlib.suppress(Refused):
        parse = route.parse if isinstance(route, Endpoint) else PARSE_STREAM[route.path]
        parse(arguments)
    return recording.names


def a_value(route: Route, parameter: Parameter) -> str:
    if parameter.example is not None:
        return parameter.example
    if parameter.choices:
        return parameter.choices[0]
    if parameter.default is not None:
        return str(parameter.default)
    by_kind = {
        "text": "x",
        "integer": str(parameter.minimum or 1),
        "timestamp": "2026-06-01",
        "flag": "true",
        "field": "meta:plan",
        "path": "plan",
        "cursor": getattr(getattr(route, "example", None), "next_cursor", ""),
    }
    return by_kind[parameter.kind]


def required(route: Route) -> list[tuple[str, str]]:
    return [
        (parameter.name, a_value(route, parameter))
        for parameter in route.parameters
        for _ in range(2 if parameter.repeatable else 1)
        if parameter.required
    ]


@each_route
def test_every_declared_parameter_is_read_and_no_other(route: Route):
    declared = {parameter.name for parameter in route.parameters}
    read = names_read(route, required(route))
    for parameter in route.parameters:
        if parameter.name not in dict(required(route)):
            read |= names_read(route, [*required(route), (parameter.name, a_value(route, parameter))])
    assert read == declared - READ_ELSEWHERE


@each_route
def test_examples_and_defaults_are_what_the_schema_asks_for(route: Route):
    for declared, told in zip(route.parameters, operation(route)["parameters"], strict=True):
        schema = told["schema"]
        if "example" in told:
            validator(schema).validate(told["example"])
        if declared.default is not None:
            items = schema.get("items", schema)
            validator(items).validate(items["default"])


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (Parameter(name="x", kind="text", description=""), ["", "é" * 256], ["x" * 257, 7]),
        (Parameter(name="x", kind="choice", description="", choices=("a", "b")), ["a"], ["A", "c"]),
        (Parameter(name="x", kind="integer", description="", minimum=1, maximum=5), [1, 5], [0, 6, "x"]),
        (Parameter(name="x", kind="flag", description=""), [True], ["yes"]),
        (
            Parameter(name="x", kind="timestamp", description=""),
            ["2026-06-01", "2026-06-01T00:00:00.5+02:00", "2026-06-01T00:00:00Z", "yesterday", "-7d"],
            ["last_decade", "7d", "2026-06-31"],
        ),
        (Parameter(name="x", kind="duration", description=""), ["90s", "7d"], ["7", "7w", "1.5h"]),
        (
            Parameter(name="x", kind="field", description="", choices=("item_id",)),
            ["item_id", "meta:plan", "meta:cart.total", r"meta:a\.b", "meta:é", "meta:a:b", r"meta:a\\"],
            ["itemId", "meta:", "meta:a..b", "meta:.a", "meta:a\\", "plan"],
        ),
        (
            Parameter(name="x", kind="path", description=""),
            ["plan", "meta:plan", "cart.total", "a:b", "a.b.c.d.e.f.g.h", r"\."],
            ["", ".", "a.", "a..b", "a\\", "a.b.c.d.e.f.g.h.i"],
        ),
        (
            Parameter(name="x", kind="filter", description="", repeatable=True),
            [["item_id:eq:/a:b"], ["meta:cart.total:gt:10", "user_id:exists:"], ["user_id:exists"], []],
            [["item_id"], ["item_id:like:x"], ["user_id:exists:no"], ["plan:eq:x"], ["a"] * 21, ["meta:a"]],
        ),
        (
            Parameter(name="x", kind="text", description="", pattern="[0-9]{1,3}"),
            ["1", "123"],
            ["", "1234", "1a", "a1"],
        ),
        (
            Parameter(name="x", kind="path", description="", maximum=2),
            ["a", "a.b", r"a\.b.c"],
            ["a.b.c"],
        ),
        (
            Parameter(name="lists", kind="filter", description="", repeatable=True),
            [["item_id:in:" + ",".join("a" * 100)], [r"meta:a:in:\,," + "," * 98], ["item_id:in:"]],
            [["item_id:in:" + ",".join("a" * 101)], ["meta:a:in:" + "," * 100], ["meta:a:in:\\"]],
        ),
        (
            Parameter(name="stepFilter", kind="filter", description="", repeatable=True),
            [["1:item_id:eq:/a:b"], ["10:meta:a:eq:b", "2:user_id:exists"]],
            [["item_id:eq:a"], ["0:item_id:eq:a"]],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Parameter) else "",
)
def test_the_schema_of_each_kind_takes_what_parse_takes(
    parameter: Parameter, good: list[object], bad: list[object]
):
    checked = validator(parameter_schema(parameter))
    assert [value for value in good if not checked.is_valid(value)] == []
    assert [value for value in bad if checked.is_valid(value)] == []


@each_route
def test_each_parameter_has_a_type_wherever_a_generator_of_clients_looks(route: Route):
    """Those that find an `anyOf` without types leave the parameter out of the client that they make."""
    for told in operation(route)["parameters"]:
        schema = told["schema"]
        if "$ref" in schema:
            schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for one in filter(None, (schema, schema.get("items"))):
            assert "type" in one or all("type" in choice for choice in one["anyOf"]), told["name"]


@pytest.mark.parametrize("name", ["from", "to"])
def test_a_range_is_a_plain_text_to_generators_of_clients(name: str):
    (told,) = [p for p in operation(ENDPOINTS[2])["parameters"] if p["name"] == name]
    assert told["schema"]["type"] == "string"
    assert "anyOf" not in told["schema"]


@pytest.mark.parametrize("year", [*range(1990, 2013), 1900, 2000, 2100, 2200, 2299])
def test_a_day_is_valid_by_the_schema_if_its_month_has_it(year: int):
    checked = validator(parameter_schema(Parameter(name="x", kind="timestamp", description="")))
    for month in range(1, 13):
        for day in range(27, 32):
            exists = day <= calendar.monthrange(year, month)[1]
            for text in (f"{year}-{month:02}-{day}", f"{year}{month:02}{day}T10:00Z"):
                assert checked.is_valid(text) == exists, text


def test_a_funnel_has_as_many_steps_as_it_takes():
    (step,) = [p["schema"] for p in operation(funnel.ENDPOINT)["parameters"] if p["name"] == "step"]
    assert [validator(step).is_valid(["x"] * n) for n in (0, 1, 2, 10, 11)] == [
        funnel.STEPS_MIN <= n <= sequences.STEPS_MAX for n in (0, 1, 2, 10, 11)
    ]
    assert not validator(step).is_valid(["view", " "])


def test_a_window_is_valid_by_the_schema_up_to_its_longest():
    (window,) = [p["schema"] for p in operation(funnel.ENDPOINT)["parameters"] if p["name"] == "window"]
    checked = validator(window)
    for unit, most in (("d", 90), ("h", 90 * 24), ("m", 90 * 1_440), ("s", 90 * 86_400)):
        for number in (1, 9, 10, 89, most // 10, most - 1, most):
            assert checked.is_valid(f"{number}{unit}") == (number <= most), (number, unit)
        for number in (0, most + 1, most * 2, most * 10):
            assert not checked.is_valid(f"{number}{unit}"), (number, unit)


def test_a_beacon_s_key_is_only_in_the_query():
    ways: list[dict[str, list[str]]] = [{"keyInQuery": []}, {"ingestToken": []}, {"ingestTokenInQuery": []}]
    assert DOCUMENT["paths"][BEACON]["post"]["security"] == ways


def test_a_setting_in_a_description_has_its_value():
    told = json.dumps(document(Config(query=QueryConfig(limit_max=123)))["paths"])
    assert "`query.limit_max` (123)" in told
    assert "`query.limit_max`." not in told


# Events


def test_the_fields_of_an_event_are_those_that_are_read():
    assert set(_FIELDS) == {field.encode_name for field in msgspec.structs.fields(Sent)}
    event = DOCUMENT["components"]["schemas"]["Event"]
    assert set(event["properties"]) == set(_FIELDS)


def taken(event: dict[str, Any]) -> bool:
    try:
        freeze(decode_event(json.dumps(event).encode()), NOW_MS, Limits.of(IngestConfig(), 0))
    except InvalidEvent:
        return False
    return True


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in _FIELDS),
        *({name: ""} for name in _FIELDS),
        *({name: "x" * 257} for name in _FIELDS),
        *({name: 1} for name in _FIELDS),
        {"itemId": "x" * 2_048},
        {"itemId": "x" * 2_049},
        {"metadata": {}},
        {"metadata": []},
        {"timestamp": NOW_MS},
        {"timestamp": "2026-06-01T00:00:00Z"},
        {"eventId": "0190163d-8694-739b-aea5-966c26f8ad91"},
        {"anything": "else"},
    ],
    ids=str,
)
def test_an_event_is_valid_by_the_schema_if_it_is_taken(change: dict[str, Any]):
    event = DOCUMENT["components"]["schemas"]["Event"]
    changed = {**event["example"], **change}
    valid = validator({"$ref": "#/components/schemas/Event"}).is_valid(changed)
    # What a timestamp means is not for a schema to say.
    if isinstance(change.get("timestamp"), str | int):
        assert valid
    else:
        assert valid == taken(changed)


# Errors


def refusals(*parts: str) -> Iterator[tuple[int, str]]:
    """Status and code of each error that is written down in these modules."""
    for part in parts:
        for path in sorted(PACKAGE.glob(part)):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and len(node.args) >= 2:
                    status, code = node.args[:2]
                    if (
                        isinstance(status, ast.Constant)
                        and isinstance(status.value, int)
                        and 400 <= status.value < 600
                        and isinstance(code, ast.Constant)
                    ):
                        yield status.value, cast(str, code.value)


def pairs(errors: dict[int, tuple[str, ...]]) -> set[tuple[int, str]]:
    return {(status, code) for status, codes in errors.items() for code in codes}


def test_the_errors_of_reading_are_those_that_the_code_raises():
    http = [path for path in for_clients() if path not in ("http/app.py", "http/connections.py")]
    raised = set(refusals("errors.py", "auth/*.py", "queries/**/*.py", "usage/meter.py", *http))
    # Any route may get a request that is not valid HTTP, or fail.
    raised |= {(400, "bad_request"), (500, "internal_error")}
    assert set().union(*map(pairs, OF_READS)) == raised


def test_only_files_need_http_1_1():
    paths = document(Config())["paths"]
    needing = [path for path, ways in paths.items() for way in ways.values() if "505" in way["responses"]]
    assert needing == ["/api/v1/telemetry/export", "/api/v1/queries/{name}"]


def test_the_errors_of_sending_are_those_that_the_code_raises():
    assert {code for _, code in pairs(SEND_ERRORS)} == {*REFUSED_REASONS, "internal_error"}
    assert set(refusals("ingest/*.py")) - pairs(SEND_ERRORS) == set()


# The route


@pytest.fixture
async def client() -> Any:
    async with TestClient(TestServer(whole_app())) as client:
        yield client


async def test_it_is_served_without_a_token_and_to_any_page(client: TestClient[Any, Any]):
    async with client.get(PATH, headers={"Origin": "https://docs.example"}) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert answer.headers["Access-Control-Allow-Origin"] == "https://docs.example"
        told = await answer.json()
        assert told == json.loads(json.dumps(DOCUMENT))
        assert told["info"]["version"] == nealytics.__version__


async def test_a_client_with_the_current_version_gets_304(client: TestClient[Any, Any]):
    async with client.get(PATH) as answer:
        tag = answer.headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
        assert answer.headers["Cache-Control"] == "no-cache"
    for known in (tag, f'"other", {tag}', "*"):
        async with client.get(PATH, headers={"If-None-Match": known}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")
            assert answer.headers["ETag"] == tag
    async with client.get(PATH, headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


async def test_another_method_is_refused(client: TestClient[Any, Any]):
    async with client.post(PATH) as answer:
        assert answer.status == 405
