"""`GET /openapi.json`: the API described for programs (OpenAPI 3.1), made from what the engine itself uses.

    parameters    the declarations that `queries.params.Arguments` reads by
    answers       the structs that are encoded, with the example of each endpoint
    events        the struct that bodies are decoded into (`event.Sent`)
    description   the docstring of the endpoint's module

So it cannot say what is not so. The rest, routes and the codes of errors, is held to the code by
`tests/http/test_openapi.py`, and the running API to the whole by `tests/http/test_contract.py`. It needs no
token: it tells what can be asked, and nothing of anybody's events.
"""

import hashlib
import inspect
import re
import sys
from functools import cache
from typing import Any

import msgspec
from aiohttp import hdrs, web

from nealytics import __version__
from nealytics.config import Config
from nealytics.http import query
from nealytics.http.health import IngestReadiness, Readiness
from nealytics.http.openapi_schemas import (
    TIME_ZONE,
    Schema,
    Schemas,
    event_schema,
    parameter_schema,
    ref,
    time_zone_schema,
)
from nealytics.http.responses import ErrorBody, names_tag
from nealytics.ingest.handlers import BATCH, BEACON, TRACK, BatchAnswer
from nealytics.queries import ENDPOINTS, STREAMS
from nealytics.queries.endpoint import Endpoint, Route, Stream
from nealytics.queries.params import Parameter

PATH = "/openapi.json"

_ABOUT = """\
Send events, and read back what they amount to. A key writes. A signed token reads, and it alone decides whose
events are read: no parameter leads out of its project and tenant.

A parameter that is absent or blank has its default; one that cannot be understood is a 400; one that the
route does not have is ignored and named in the answer's `warnings`. Fields without a value are left out of
answers, and later versions may add fields.
"""

_TAGS = {
    "Sending": "Events come in. An answer in the 200s says that they are on disk.",
    "Reading": "What the events of one tenant amount to.",
    "Health": "For orchestrators, load balancers and Prometheus.",
}

# Status → the codes of its errors.
READ_ERRORS = {
    400: ("invalid_parameter", "invalid_claim", "bad_request"),
    401: ("unauthorized",),
    403: ("forbidden",),
    422: ("result_too_large", "query_too_large"),
    429: ("rate_limited",),
    500: ("data_damaged", "internal_error"),
    503: (
        "queries_busy",
        "answers_busy",
        "clickhouse_unavailable",
        "scope_not_proven",
        "keys_unavailable",
        "stopping",
    ),
}
STREAM_ERRORS = {
    **READ_ERRORS,
    429: (*READ_ERRORS[429], "too_many_streams"),
    503: (*READ_ERRORS[503], "streams_busy"),
    505: ("http_1_1_needed",),
}
QUERY_ERRORS = {**READ_ERRORS, 413: ("body_too_large",)}
SEND_ERRORS = {
    400: ("invalid_json", "invalid_event", "outside_time_window", "bad_request", "invalid_parameter"),
    401: ("unauthorized",),
    403: ("forbidden",),
    408: ("request_timeout",),
    413: ("body_too_large",),
    415: ("unsupported_encoding",),
    429: ("rate_limited",),
    500: ("internal_error",),
    503: ("log_full", "log_broken", "stopping"),
}
_MEANING = {
    400: "What was sent cannot be understood; `field` names what is wrong.",
    401: "There is no key or token, or none that is accepted.",
    403: "The key or token is good, but not for this.",
    408: "The request took too long to arrive.",
    413: "The body, or an event in it, is too large.",
    415: "The `Content-Encoding` is not understood.",
    422: "The question is clear, but too large or too expensive to answer; `detail` says what to narrow.",
    429: "Too many requests.",
    500: "The server failed; its log says why.",
    503: "Not now.",
    505: "The answer is a stream, which HTTP/1.0 cannot end reliably.",
}
_LATER = (429, 503)
_ERRORS = {"Reading": READ_ERRORS, "Asking": QUERY_ERRORS, "Streaming": STREAM_ERRORS, "Sending": SEND_ERRORS}

_HEADERS = {
    "ETag": ("string", "The answer's version, for `If-None-Match`; only if it may be kept."),
    "Cache-Control": (
        "string",
        "`private, max-age=…` if the client named an end of the range, or a `cursor`, that is more than a"
        " minute past, else `no-store`.",
    ),
    "Retry-After": ("integer", "After so many seconds it is worth asking again."),
    "X-Request-Id": (
        "string",
        "The name of the request, as in the server's log; the client's own, if that is harmless."
        " Every answer has it.",
    ),
    "Nealytics-Warnings": ("string", "What is `warnings` in other answers, as JSON; only if there are any."),
}


def add_openapi_route(app: web.Application, config: Config) -> None:
    """The document is made when it is first asked for."""

    @cache
    def made() -> tuple[bytes, str]:
        body = msgspec.json.encode(document(config))
        return body, f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'

    async def show(request: web.Request) -> web.Response:
        body, tag = made()
        # "no-cache": keep it, and ask each time whether it is still so.
        headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "no-cache"}
        if names_tag(request.headers.get(hdrs.IF_NONE_MATCH, ""), tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    app.router.add_get(PATH, show)


def document(config: Config) -> Schema:
    """The whole description, with the limits of this configuration."""
    schemas = Schemas(
        [ErrorBody, BatchAnswer, Readiness, IngestReadiness, *(endpoint.answer for endpoint in ENDPOINTS)]
    )
    routes: tuple[Route, ...] = (*ENDPOINTS, *STREAMS)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nealytics",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to the address of this document, so that it holds behind a proxy's prefix.
        "servers": [{"url": "."}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {
            **_sending(schemas),
            **{route.path: {"get": _reading(route, config, schemas)} for route in routes},
            query.PATH: {"post": _asking(schemas)},
            **_health(config, schemas),
            PATH: {"get": _own()},
        },
        "components": {
            "securitySchemes": _security(),
            "headers": {
                name: {"description": text, "schema": {"type": kind}}
                for name, (kind, text) in _HEADERS.items()
            },
            "responses": {
                f"{tag}{status}": _error(status, codes, schemas)
                for tag, errors in _ERRORS.items()
                for status, codes in errors.items()
            },
            "schemas": {
                **schemas.components,
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
            "description": "A token for one tenant, with the claims `project_id`, `tenant_id` and `exp`, that"
            " your own service signs; or one of an identity provider, whose claims the server knows.",
        },
        "key": {"type": "apiKey", "in": "header", "name": "X-Project-Key"},
        "keyInQuery": {
            "type": "apiKey",
            "in": "query",
            "name": "k",
            "description": "The same key, where headers cannot be set.",
        },
    }


def _reading(route: Route, config: Config, schemas: Schemas) -> Schema:
    described: Schema = {
        "operationId": route.name,
        "tags": ["Reading"],
        "summary": route.summary,
        "description": description_of(route),
        "security": [{"token": []}],
        "parameters": [_parameter(parameter, config) for parameter in route.parameters],
    }
    if isinstance(route, Endpoint):
        return {**described, "responses": {**_answer(route, schemas), **_errors("Reading")}}
    assert isinstance(route, Stream)
    if any(parameter.name == "access_token" for parameter in route.parameters):
        # The parameter is a way to send the token, so that a request without the header may be good.
        described["security"].append({})
    errors = _errors("Streaming")
    if not route.must_end:
        del errors["505"]
    return {**described, "responses": {**_stream(route), **errors}}


def _asking(schemas: Schemas) -> Schema:
    scalars: list[Schema] = [{"type": kind} for kind in ("string", "number", "boolean", "null")]
    argument: Schema = {
        "description": "A parameter of the GET route, by its name; a list where that takes several.",
        "anyOf": [*scalars, {"type": "array", "items": {"anyOf": scalars}}],
    }
    question: Schema = {
        "type": "object",
        "required": ["endpoint"],
        "properties": {"endpoint": {"enum": [endpoint.name for endpoint in ENDPOINTS]}},
        "additionalProperties": argument,
    }
    asked: Schema = {
        "type": "object",
        "required": ["queries"],
        "properties": {
            "queries": {
                "description": "The questions, each by a name of yours.",
                "type": "object",
                "minProperties": 1,
                "maxProperties": query.QUESTIONS_MAX,
                "propertyNames": {"minLength": 1, "maxLength": query.NAME_CHARS_MAX},
                "additionalProperties": question,
            }
        },
        "additionalProperties": argument,
    }
    failed: Schema = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": schemas.ref(ErrorBody)},
    }
    answers = [schemas.ref(endpoint.answer) for endpoint in ENDPOINTS]
    answered: Schema = {
        "type": "object",
        "required": ["projectId", "results"],
        "properties": {
            "projectId": {"type": "string"},
            "tenantId": {"type": "string"},
            "results": {"type": "object", "additionalProperties": {"anyOf": [failed, *answers]}},
        },
    }
    example = {
        "from": "2026-06-01",
        "to": "2026-06-08",
        "queries": {"figures": {"endpoint": "summary"}, "pages": {"endpoint": "top", "dimension": "item_id"}},
    }
    headers = _headers("ETag", "Cache-Control")
    return {
        "operationId": "query",
        "tags": ["Reading"],
        "summary": "Many questions at once",
        "description": "The questions of a whole page. What stands beside `queries` holds for every question"
        " whose route has such a parameter. A question that fails has an `error` in its place.",
        "security": [{"token": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": asked, "example": example}},
        },
        "responses": {
            "200": {
                "description": "The answers, by the names of the questions.",
                "headers": headers,
                "content": {"application/json": {"schema": answered}},
            },
            "304": {"description": "The answers are still what `If-None-Match` names.", "headers": headers},
            **_errors("Asking"),
        },
    }


def _answer(endpoint: Endpoint[Any], schemas: Schemas) -> Schema:
    example = msgspec.json.decode(msgspec.json.encode(endpoint.example))
    headers = _headers("ETag", "Cache-Control")
    return {
        "200": {
            "description": "The answer.",
            "headers": headers,
            "content": {"application/json": {"schema": schemas.ref(endpoint.answer), "example": example}},
        },
        "304": {"description": "The answer is still the one that `If-None-Match` names.", "headers": headers},
    }


def _stream(stream: Stream) -> Schema:
    content: Schema = {kind: {"schema": {"type": "string"}} for kind in stream.content_types}
    content[stream.content_types[0]]["example"] = stream.example
    headers = _headers("Cache-Control", "Nealytics-Warnings")
    return {"200": {"description": "It begins.", "headers": headers, "content": content}}


def description_of(route: Route) -> str:
    """The docstring of the module that declares it, without the route in front and the parameters' table."""
    for name, module in list(sys.modules.items()):
        if name.startswith("nealytics.queries.") and any(value is route for value in vars(module).values()):
            text = re.sub(r"\A`GET [^`]*`: ", "", inspect.cleandoc(module.__doc__ or ""))
            names = {parameter.name for parameter in route.parameters}
            parts = [part for part in text.split("\n\n") if not _is_table_of(names, part)]
            text = "\n\n".join(parts)
            return text[:1].upper() + text[1:]
    raise LookupError(f"no module declares {route.path}")


def _is_table_of(names: set[str], paragraph: str) -> bool:
    first = re.match(r"    (\w+)", paragraph)
    return first is not None and first[1] in names


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
    """The value of what stands in a query string, where several are separated as there."""
    if parameter.repeatable:
        return written.split("&")
    return int(written) if parameter.kind == "integer" else written


def _with_values(text: str, config: Config) -> str:
    """Puts what it is here behind the name of each setting of `[query]`."""
    return re.sub(r"`query\.(\w+)`", lambda found: f"{found[0]} ({getattr(config.query, found[1])})", text)


def _sending(schemas: Schemas) -> Schema:
    one, many = ref("Event"), {"type": "array", "items": ref("Event")}
    some = {**many, "minItems": 1}
    wait = {
        "name": "wait",
        "in": "query",
        "description": "Answer once ClickHouse has the events.",
        "schema": {"type": "boolean", "default": False},
    }
    taken = {"application/json": {"schema": schemas.ref(BatchAnswer)}}
    return {
        TRACK: {
            "post": {
                "operationId": "track",
                "tags": ["Sending"],
                "summary": "One event",
                "security": [{"key": []}, {"keyInQuery": []}],
                "requestBody": {"required": True, "content": {"application/json": {"schema": one}}},
                "responses": {"202": {"description": "It is on disk."}, **_errors("Sending")},
            }
        },
        BATCH: {
            "post": {
                "operationId": "batch",
                "tags": ["Sending"],
                "summary": "Many events",
                "description": "A JSON array, or NDJSON with one event a line. A bad event does not spoil the"
                " others; if none is acceptable, the answer is a 400 (or 403) that counts them.",
                "security": [{"key": []}, {"keyInQuery": []}],
                "parameters": [wait],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"anyOf": [some, one]}},
                        "application/x-ndjson": {"schema": {"type": "string", "minLength": 1}},
                    },
                },
                "responses": {
                    "200": {"description": "With `wait`: ClickHouse has them.", "content": taken},
                    "202": {"description": "Those that were accepted are on disk.", "content": taken},
                    **_errors("Sending"),
                },
            }
        },
        BEACON: {
            "post": {
                "operationId": "beacon",
                "tags": ["Sending"],
                "summary": "Events from navigator.sendBeacon",
                "description": "An event, an array of them, or NDJSON, whatever the content type. Those that"
                " cannot be accepted are left out.",
                "security": [{"keyInQuery": []}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"oneOf": [many, one]}},
                        "text/plain": {"schema": {"type": "string", "minLength": 1}},
                        "application/x-ndjson": {"schema": {"type": "string", "minLength": 1}},
                    },
                },
                "responses": {
                    "204": {"description": "They are on disk."},
                    **_errors("Sending"),
                },
            }
        },
    }


def _health(config: Config, schemas: Schemas) -> Schema:
    def probe(name: str, summary: str, content: Schema, *, may_fail: bool = True) -> Schema:
        good = {"description": "Yes.", "content": content}
        responses = {"200": good}
        if may_fail:
            responses["503"] = {"description": "No; the parts say why.", "content": content}
        return {"get": {"operationId": name, "tags": ["Health"], "summary": summary, "responses": responses}}

    def json(schema: Schema) -> Schema:
        return {"application/json": {"schema": schema}}

    alive = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    routes = {
        "/health": probe("health", "Is the process alive?", json(alive), may_fail=False),
        "/ready": probe("ready", "Does everything work?", json(schemas.ref(Readiness))),
        "/ready/ingest": probe("readyIngest", "Are events taken?", json(schemas.ref(IngestReadiness))),
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
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "304": {"description": "It is still the one that `If-None-Match` names."},
        },
    }


def _error(status: int, codes: tuple[str, ...], schemas: Schemas) -> Schema:
    code = {"type": "object", "properties": {"code": {"enum": list(codes)}}}
    return {
        "description": _MEANING[status],
        "headers": _headers("X-Request-Id", *(["Retry-After"] if status in _LATER else [])),
        "content": {"application/json": {"schema": {"allOf": [schemas.ref(ErrorBody), code]}}},
    }


def _errors(tag: str) -> Schema:
    return {str(status): {"$ref": f"#/components/responses/{tag}{status}"} for status in _ERRORS[tag]}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
