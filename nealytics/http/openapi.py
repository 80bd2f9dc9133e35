"""`GET /openapi.json`: the API described for programs (OpenAPI 3.1), generated from the code that runs.

    parameters    the declarations that `queries.params.Arguments` reads by
    answers       the structs that are encoded, with the example of each endpoint
    events        the struct that bodies are decoded into (`event.Sent`)
    description   the `description` of each route, which its module declares

`tests/http/test_openapi.py` checks the rest, routes and error codes, against the code, and
`tests/http/test_contract.py` checks the running API against the whole. The document needs no token: it
describes the API and contains no events.
"""

import hashlib
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import hdrs, web

from nealytics import __version__
from nealytics.auth.claims import FILTERS_MAX
from nealytics.config import Config
from nealytics.http import query
from nealytics.http.health import IngestReadiness, Readiness
from nealytics.http.openapi_errors import error_responses, error_schemas, errors_of
from nealytics.http.openapi_schemas import (
    TIME_ZONE,
    Schema,
    Schemas,
    event_schema,
    parameter_schema,
    ref,
    time_zone_schema,
)
from nealytics.http.responses import names_tag
from nealytics.http.saved import ListAnswer
from nealytics.http.sending import encoder
from nealytics.ingest.handlers import BATCH, BEACON, TRACK, BatchAnswer
from nealytics.queries import ENDPOINTS, STREAMS, export
from nealytics.queries.conditions import DEPTH_MAX, NODES_MAX
from nealytics.queries.endpoint import Endpoint, Route, Stream
from nealytics.queries.params import FILTER, Parameter
from nealytics.queries.saved.catalog import FORMAT, SavedAnswer, SavedQuery
from nealytics.queries.saved.catalog import PATH as QUERIES_PATH
from nealytics.queries.saved.head import NAME
from nealytics.queries.saved.reader import Column

PATH = "/openapi.json"

_ABOUT = """\
Send events and read analytics about them. Sending needs an API key, or a token that only writes. Reading
needs a signed token, which alone decides whose events are read: no parameter reaches another project or
tenant.

An absent or blank query parameter has its default, and an invalid one is a 400. An unknown one is ignored and
named in `warnings` of the answer. Blanks around a number, a flag, a time or a duration are ignored. A number
may have a plus sign, a flag may be 1, 0 or in capitals. A request line may have 64 KiB.

Fields without a value are left out of answers. Later versions may add fields and error codes.
"""

_TAGS = {
    "Sending": "Send events. A 2xx status means that they are on disk.",
    "Reading": "Read the analytics of one tenant.",
    "Health": "For orchestrators, load balancers and Prometheus.",
}

_HEADERS = {
    "ETag": ("string", "The version of the answer, for `If-None-Match`; absent if it must not be cached."),
    "Cache-Control": (
        "string",
        "`private, max-age=…` if the request names an end of the range, or a `cursor`, more than a minute in"
        " the past; else `no-store`.",
    ),
    "Retry-After": ("integer", "Seconds to wait before a retry."),
    "X-Request-Id": (
        "string",
        "The id of the request, as in the server's log; the client's own if it sent a valid one. Every answer"
        " has it.",
    ),
    "Nealytics-Warnings": (
        "string",
        "What other answers have in `warnings`, as JSON; absent without warnings.",
    ),
}


def add_openapi_route(
    app: web.Application, config: Config, saved: Callable[[], Collection[SavedQuery]] = tuple
) -> None:
    """The document is generated at the first request, and again after the saved queries have changed."""

    @lru_cache(maxsize=1)
    def made(_version: object) -> tuple[bytes, str]:
        body = msgspec.json.encode(document(config, public()))
        return body, f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'

    def public() -> tuple[SavedQuery, ...]:
        return tuple(one for one in saved() if one.declared.is_public)

    async def show(request: web.Request) -> web.Response:
        body, tag = made(tuple((one.declared, one.checked) for one in public()))
        # "no-cache": a client may keep it, and must revalidate it each time.
        headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "no-cache"}
        if names_tag(request.headers.get(hdrs.IF_NONE_MATCH, ""), tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    app.router.add_get(PATH, show)


def document(config: Config, saved: Sequence[SavedQuery] = ()) -> Schema:
    """The whole description, with the limits of this configuration and the `saved` queries."""
    answers = [endpoint.answer for endpoint in ENDPOINTS]
    schemas = Schemas([BatchAnswer, Readiness, IngestReadiness, SavedAnswer, ListAnswer, *answers])
    routes: tuple[Route, ...] = (*ENDPOINTS, *STREAMS)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nealytics",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to the address of this document, so that it works behind a proxy's prefix.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {
            **_sending(schemas),
            **{route.path: {"get": _reading(route, config, schemas)} for route in routes},
            query.PATH: _asking(),
            QUERIES_PATH: {"get": _listing(schemas)},
            f"{QUERIES_PATH}/{{name}}": {"get": _saved(config, schemas)},
            **{one.path: {"get": _one_saved(one, config, schemas)} for one in saved},
            **_health(config, schemas),
            PATH: {"get": _own()},
        },
        "components": {
            "securitySchemes": _security(),
            "headers": {
                name: {"description": text, "schema": {"type": kind}}
                for name, (kind, text) in _HEADERS.items()
            },
            "responses": error_responses(),
            "schemas": {
                **error_schemas(),
                **schemas.components,
                **_query_schemas(schemas, [*ENDPOINTS, *saved]),
                "Health": {
                    "title": "Health",
                    "type": "object",
                    "properties": {"status": {"type": "string", "const": "ok"}},
                    "required": ["status"],
                },
                "Event": event_schema(config.ingest),
                TIME_ZONE: time_zone_schema(),
            },
        },
    }


def _security() -> Schema:
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token for one tenant, signed by your own service, with the claims `project_id`,"
            " `tenant_id` and `exp`; or a token of an identity provider that the server is configured for.",
        },
        "key": {"type": "apiKey", "in": "header", "name": "X-Project-Key"},
        "keyInQuery": {
            "type": "apiKey",
            "in": "query",
            "name": "k",
            "description": "The same key, for clients that cannot set headers.",
        },
        "ingestToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token that writes the events of one tenant and reads none. It has the claims"
            ' `project_id`, `tenant_id` and `exp`, the `scope` "ingest", and perhaps `user_id`. Events may'
            " omit what it has.",
        },
        "ingestTokenInQuery": {
            "type": "apiKey",
            "in": "query",
            "name": "token",
            "description": "The same token, for `navigator.sendBeacon`, which cannot set headers.",
        },
    }


def _reading(route: Route, config: Config, schemas: Schemas) -> Schema:
    described: Schema = {
        "operationId": route.name,
        "tags": ["Reading"],
        "summary": route.summary,
        "description": _with_values(inspect.cleandoc(route.description), config),
        "security": [{"token": []}],
        "parameters": [_parameter(parameter, config) for parameter in route.parameters],
    }
    if isinstance(route, Endpoint):
        return {**described, "responses": {**_answer(route, schemas), **errors_of("Reading")}}
    assert isinstance(route, Stream)
    if any(parameter.name == "access_token" for parameter in route.parameters):
        # The parameter carries the token too, so a request without the header may be valid.
        described["security"].append({})
    errors = errors_of("Streaming")
    if not route.must_end:
        del errors["505"]
    return {**described, "responses": {**_stream(route), **errors}}


def _listing(schemas: Schemas) -> Schema:
    return {
        "operationId": "queries",
        "tags": ["Reading"],
        "summary": "The saved queries",
        "description": "Those that the token may use, with their parameters and columns.",
        "security": [{"token": []}],
        "responses": {
            "200": {
                "description": "The saved queries.",
                "headers": _headers("Cache-Control"),
                "content": _json(schemas.ref(ListAnswer)),
            },
            **errors_of("Reading"),
        },
    }


def _saved(config: Config, schemas: Schemas) -> Schema:
    """Any saved query. Those of a node are listed with their own parameters, beside this."""
    name = {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "Its name, as in the list.",
        "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"},
    }
    return {
        "operationId": "savedQuery",
        "tags": ["Reading"],
        "summary": "A saved query",
        "description": "Runs SQL that the operator has saved, over the events of the token's tenant. It has"
        " further parameters, which it declares.",
        "security": [{"token": []}],
        "parameters": [name, _parameter(FORMAT, config)],
        "responses": {**_saved_answer(schemas), **errors_of("Saved")},
    }


def _one_saved(saved: SavedQuery, config: Config, schemas: Schemas) -> Schema:
    return {
        **_reading(saved, config, schemas),
        "operationId": saved.name.replace("/", "_"),
        "responses": {**_saved_answer(schemas, saved.checked.columns), **errors_of("Saved")},
    }


def _saved_answer(schemas: Schemas, columns: Sequence[Column] = ()) -> Schema:
    schema = schemas.ref(SavedAnswer)
    if columns:
        row = {column.name: {"description": column.type} for column in columns}
        rows = {"type": "array", "items": {"type": "object", "properties": row}}
        schema = {"allOf": [schema, {"type": "object", "properties": {"rows": rows}}]}
    content: Schema = _json(schema)
    content |= {kind: {"schema": {"type": "string"}} for kind in export.CONTENT_TYPES.values()}
    return _cacheable("The answer.", content)


def _query_schemas(schemas: Schemas, endpoints: Sequence[Endpoint[Any]]) -> dict[str, Schema]:
    """The schemas of `POST /query`."""
    scalars: list[Schema] = [{"type": kind} for kind in ("string", "number", "boolean", "null")]
    several = {"type": "array", "items": {"anyOf": scalars}, "maxItems": query.VALUES_MAX}
    answers = [schemas.ref(answer) for answer in dict.fromkeys(endpoint.answer for endpoint in endpoints)]
    arguments = {
        parameter.name: ref("Argument") for endpoint in endpoints for parameter in endpoint.parameters
    } | {FILTER.name: ref("Conditions")}
    queries = {
        "description": "The reads, each under a name of your choice.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": query.QUESTIONS_MAX,
        "propertyNames": {"minLength": 1, "maxLength": query.NAME_CHARS_MAX},
        "additionalProperties": ref("Question"),
    }
    results = {
        "description": "Each read's answer or failure, under its name.",
        "type": "object",
        "additionalProperties": {"anyOf": [ref("Failure"), *answers]},
    }
    found = {
        "Argument": {
            "description": "The value of a query parameter; a list where the parameter may be repeated.",
            "anyOf": [*scalars, several],
        },
        **_condition_schemas(),
        "Question": _object(
            {
                "endpoint": {"type": "string", "enum": [endpoint.name for endpoint in endpoints]},
                FILTER.name: ref("Conditions"),
            },
            ["endpoint"],
            description="One read: the name of its endpoint, and its query parameters by name.",
            additionalProperties=ref("Argument"),
        ),
        "Questions": _object(
            {"queries": queries, **arguments},
            ["queries"],
            description="Several reads. A parameter beside `queries` is the default for every read that has"
            " such a parameter.",
            additionalProperties=False,  # a misspelt filter must not be ignored
        ),
        "Failure": _object(
            {"error": ref("Error")}, ["error"], description="In place of an answer: why this read failed."
        ),
        "Answers": _object(
            {"projectId": {"type": "string"}, "tenantId": {"type": "string"}, "results": results},
            ["projectId", "results"],
        ),
    }
    return {name: {"title": name, **schema} for name, schema in found.items()}


def _condition_schemas() -> dict[str, Schema]:
    """What a filter of `POST /query` may be. Only the object is recursive: generators of clients cannot read
    a union that contains itself."""
    one: Schema = {"anyOf": [{"type": "string"}, ref("Combined")]}
    several: Schema = {"type": "array", "items": one, "minItems": 1}
    return {
        "Combined": {
            "description": "Conditions, each as in the parameter `filter` or combined again. Of `and` all"
            " must match, of `or` at least one; `not` keeps the events that do not match. It has one of the"
            " three."
            f" Together at most {NODES_MAX} conditions, nested at most {DEPTH_MAX} deep.",
            **_object({"and": several, "or": several, "not": one}, []),
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
        "Conditions": {
            "description": "One condition, or a list of which all must match.",
            "anyOf": [
                {"type": "string"},
                ref("Combined"),
                {"type": "array", "items": one, "maxItems": FILTERS_MAX},
                {"type": "null"},
            ],
        },
    }


def _object(properties: Schema, required: list[str], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": required, **more}


_LINES = (
    "The same as lines, each sent as soon as it is available: `{projectId, tenantId}`, then"
    " `{results: {<name>: …}}` for each read."
)


def _asking() -> Schema:
    example = {
        "from": "2026-06-01",
        "to": "2026-06-08",
        "queries": {"figures": {"endpoint": "summary"}, "pages": {"endpoint": "top", "dimension": "item_id"}},
    }
    answers = {
        query.JSON: {"schema": ref("Answers")},
        query.NDJSON: {"schema": {"type": "string", "description": _LINES}},
    }
    responses = {
        **_cacheable("The answers, by the names of the reads.", answers),
        **errors_of("Asking"),
    }
    return _post(
        "query",
        "Reading",
        "Several reads in one request",
        {"application/json": {"schema": ref("Questions"), "example": example}},
        responses,
        description="All reads of a page in one request. Each has the parameters, limits and errors of its"
        " GET route. One that fails has an `error` in place of its answer, and the others are answered.",
        security=[{"token": []}],
    )


def _post(name: str, tag: str, summary: str, body: Schema, responses: Schema, **more: Any) -> Schema:
    return {
        "post": {
            "operationId": name,
            "tags": [tag],
            "summary": summary,
            "requestBody": {"required": True, "content": body},
            "responses": responses,
            **more,
        }
    }


def _cacheable(description: str, content: Schema) -> Schema:
    """The answer 200 with an `ETag`, and the 304 for a client that still has it."""
    headers = _headers("ETag", "Cache-Control")
    return {
        "200": {"description": description, "headers": headers, "content": content},
        "304": {
            "description": "Unchanged: the answer still has the version of `If-None-Match`.",
            "headers": headers,
        },
    }


def _answer(endpoint: Endpoint[Any], schemas: Schemas) -> Schema:
    example = msgspec.json.decode(encoder.encode(endpoint.example))
    schema = schemas.ref(endpoint.answer)
    return _cacheable("The answer.", {"application/json": {"schema": schema, "example": example}})


def _stream(stream: Stream) -> Schema:
    content: Schema = {kind: {"schema": {"type": "string"}} for kind in stream.content_types}
    content[stream.content_types[0]]["example"] = stream.example
    headers = _headers("Cache-Control", "Nealytics-Warnings")
    return {"200": {"description": "The stream.", "headers": headers, "content": content}}


def _parameter(parameter: Parameter, config: Config) -> Schema:
    described: Schema = {
        "name": parameter.name,
        "in": "query",
        "description": _with_values(parameter.description, config),
        "schema": parameter_schema(parameter),
    }
    if parameter.required:
        described["required"] = True
    if parameter.repeatable:
        described |= {"style": "form", "explode": True}
    if parameter.example is not None:
        described["example"] = _example(parameter, parameter.example)
    return described


def _example(parameter: Parameter, written: str) -> Any:
    """The JSON value of an example that is written as in a query string."""
    if parameter.repeatable:
        return written.split("&")
    return int(written) if parameter.kind == "integer" else written


def _with_values(text: str, config: Config) -> str:
    """Adds its value to the name of each setting of `[query]`."""
    return re.sub(r"`query\.(\w+)`", lambda found: f"{found[0]} ({getattr(config.query, found[1])})", text)


# What the tracker adds (`ingest.tracker_reports`).
_OF_TRACKERS: list[Schema] = [
    {
        "name": "sentAt",
        "in": "query",
        "description": "The sender's clock, in epoch milliseconds. Counted in a metric.",
        "schema": {"type": "integer", "minimum": 0},
    },
    *(
        {
            "name": name,
            "in": "query",
            "description": f"With a token: the {name} of the events. If the token is bound to another one,"
            " the answer is a 403, and nothing was stored.",
            "schema": {"type": "string"},
        }
        for name in ("tenant", "user")
    ),
]


def _sending(schemas: Schemas) -> Schema:
    one, many = ref("Event"), {"type": "array", "items": ref("Event")}
    lines = {"schema": {"type": "string", "minLength": 1}}
    accepted = _json(schemas.ref(BatchAnswer))
    wait = {
        "name": "wait",
        "in": "query",
        "description": "Answer only after ClickHouse has stored the events.",
        "schema": {"type": "boolean", "default": False},
    }
    keys: list[Schema] = [{"key": []}, {"keyInQuery": []}, {"ingestToken": []}]

    def route(name: str, summary: str, body: Schema, responses: Schema, **more: Any) -> Schema:
        return _post(name, "Sending", summary, body, {**responses, **errors_of("Sending")}, **more)

    return {
        TRACK: route(
            "track",
            "One event",
            _json(one),
            {"202": {"description": "The event is on disk."}},
            security=keys,
        ),
        BATCH: route(
            "batch",
            "Many events",
            {**_json({"anyOf": [{**many, "minItems": 1}, one]}), "application/x-ndjson": lines},
            {
                "200": {
                    "description": "With `wait`: ClickHouse has stored the accepted events.",
                    "content": accepted,
                },
                "202": {"description": "The accepted events are on disk.", "content": accepted},
            },
            description="A JSON array, or NDJSON with one event per line. An invalid event does not affect"
            " the others. If none is valid, the answer is a 400 (or 403) with their number.",
            security=keys,
            parameters=[wait, *_OF_TRACKERS],
        ),
        BEACON: route(
            "beacon",
            "Events from navigator.sendBeacon",
            {**_json({"oneOf": [many, one]}), "text/plain": lines, "application/x-ndjson": lines},
            {"204": {"description": "The valid events are on disk."}},
            description="One event, an array of events, or NDJSON, whatever the content type. Invalid"
            " events are dropped.",
            security=[*keys[1:], {"ingestTokenInQuery": []}],
            parameters=_OF_TRACKERS,
        ),
    }


def _health(config: Config, schemas: Schemas) -> Schema:
    def probe(name: str, summary: str, content: Schema, *, may_fail: bool = True) -> Schema:
        good = {"description": "Yes.", "content": content}
        responses = {"200": good}
        if may_fail:
            responses["503"] = {"description": "No; the parts say why.", "content": content}
        return {"get": {"operationId": name, "tags": ["Health"], "summary": summary, "responses": responses}}

    routes = {
        "/health": probe("health", "Is the process alive?", _json(ref("Health")), may_fail=False),
        "/ready": probe("ready", "Does everything work?", _json(schemas.ref(Readiness))),
        "/ready/ingest": probe("readyIngest", "Are events accepted?", _json(schemas.ref(IngestReadiness))),
    }
    if config.observe.prometheus:
        text = {"text/plain": {"schema": {"type": "string"}}}
        routes["/metrics"] = probe("metrics", "The node's metrics for Prometheus", text, may_fail=False)
    return routes


def _own() -> Schema:
    return {
        "operationId": "openapi",
        "tags": ["Health"],
        "summary": "This description",
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "headers": _headers("ETag", "Cache-Control"),
                "content": _json({"type": "object"}),
            },
            "304": {"description": "Unchanged since the version of `If-None-Match`."},
        },
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
