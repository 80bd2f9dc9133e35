"""The errors of the API as /openapi.json describes them.

    Error                 the body of every error, with any code
    UnauthorizedError …   the body of one status, with the codes that it can have there
    ErrorCode, …Code      the codes; named, so that clients made from the document have good names

A status that has the same codes in every group of routes has one schema; else the group stands in front
(`SendingUnavailableError`).
"""

import msgspec

from nealytics.http.openapi_schemas import Schema, ref
from nealytics.http.responses import ErrorBody

# Status → the codes of its errors.
READ_ERRORS = {
    400: ("invalid_parameter", "invalid_claim", "bad_request"),
    401: ("unauthorized",),
    403: ("forbidden",),
    422: ("result_too_large", "query_too_large"),
    429: ("rate_limited", "quota_exceeded"),
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
SAVED_ERRORS = {
    **READ_ERRORS,
    404: ("unknown_query",),
    500: (*READ_ERRORS[500], "query_failed"),
    503: (*READ_ERRORS[503], "queries_unavailable"),
    505: ("http_1_1_needed",),
}
QUERY_ERRORS = {**READ_ERRORS, 413: ("body_too_large",)}
SEND_ERRORS = {
    400: (
        "invalid_json",
        "invalid_event",
        "outside_time_window",
        "bad_request",
        "invalid_parameter",
        "invalid_claim",
    ),
    401: ("unauthorized",),
    403: ("forbidden",),
    408: ("request_timeout",),
    413: ("body_too_large",),
    415: ("unsupported_encoding",),
    429: ("rate_limited", "quota_exceeded"),
    500: ("internal_error",),
    503: ("log_full", "log_broken", "keys_unavailable", "stopping"),
}
# Errors of requests that reach no route, or that are incomplete.
OTHER_CODES = ("expectation_failed", "method_not_allowed", "not_found", "too_many_connections")
_GROUPS = {
    "Reading": READ_ERRORS,
    "Asking": QUERY_ERRORS,
    "Streaming": STREAM_ERRORS,
    "Saved": SAVED_ERRORS,
    "Sending": SEND_ERRORS,
}

_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    408: "RequestTimeout",
    413: "TooLarge",
    415: "UnsupportedEncoding",
    422: "TooExpensive",
    429: "TooManyRequests",
    500: "Server",
    503: "Unavailable",
    505: "HttpVersion",
}
_MEANING = {
    400: "The request is invalid; `field` names the parameter or field at fault.",
    401: "The key or token is missing or not valid.",
    403: "The key or token is valid but does not permit this.",
    404: "There is no saved query of this name; `detail` lists those that there are.",
    408: "The request took too long to arrive.",
    413: "The body, or an event in it, is too large.",
    415: "The `Content-Encoding` is not supported.",
    422: "The query is valid but too large or too expensive; `detail` says what to narrow.",
    429: "Too many requests, or a quota is used up; retry after `Retry-After` seconds.",
    500: "The server failed; its log has the reason.",
    503: "Temporarily unavailable; retry after `Retry-After` seconds.",
    505: "Streams need HTTP/1.1: HTTP/1.0 cannot mark the end of one reliably.",
}
_RETRIED = (429, 503)


def error_responses() -> dict[str, Schema]:
    """The named responses (`components.responses`)."""
    return {
        f"{group}{status}": {
            "description": _MEANING[status],
            "headers": {
                name: {"$ref": f"#/components/headers/{name}"}
                for name in ("X-Request-Id", *(["Retry-After"] if status in _RETRIED else []))
            },
            "content": {"application/json": {"schema": ref(_name(group, status) + "Error")}},
        }
        for group, errors in _GROUPS.items()
        for status in errors
    }


def errors_of(group: str) -> dict[str, Schema]:
    """The error responses of an operation of the group."""
    return {str(status): {"$ref": f"#/components/responses/{group}{status}"} for status in _GROUPS[group]}


def error_schemas() -> dict[str, Schema]:
    """The named schemas (`components.schemas`)."""
    codes = {code for errors in _GROUPS.values() for codes in errors.values() for code in codes}
    described: dict[str, Schema] = {
        "code": ref("ErrorCode"),
        "message": _text("What is wrong, with the value, in one sentence."),
        "detail": _text("What to do about it."),
        "requestId": _text("The request's id, as in the header `X-Request-Id` and in the server's log."),
        "field": _text("The parameter or JSON field at fault."),
    }
    fields = msgspec.structs.fields(ErrorBody)
    schemas: dict[str, Schema] = {
        "ErrorCode": _codes(
            "ErrorCode",
            sorted(codes.union(OTHER_CODES)),
            "For programs: a code keeps its meaning. Later versions may add codes.",
        ),
        "Error": {
            "title": "Error",
            "type": "object",
            "description": "The body of every error.",
            "properties": {field.encode_name: described[field.encode_name] for field in fields},
            "required": [field.encode_name for field in fields if field.required],
        },
    }
    for group, errors in _GROUPS.items():
        for status, told in errors.items():
            name = _name(group, status)
            schemas[f"{name}Code"] = _codes(f"{name}Code", list(told), f"The codes of status {status}.")
            code = {"type": "object", "properties": {"code": ref(f"{name}Code")}}
            schemas[f"{name}Error"] = {"title": f"{name}Error", "allOf": [ref("Error"), code]}
    return schemas


def _name(group: str, status: int) -> str:
    codes = _GROUPS[group][status]
    same = [name for name, errors in _GROUPS.items() if errors.get(status) == codes]
    alone = all(errors.get(status) in (None, codes) for errors in _GROUPS.values())
    return _NAMES[status] if alone else same[0] + _NAMES[status]


def _codes(title: str, codes: list[str], description: str) -> Schema:
    return {"title": title, "type": "string", "description": description, "enum": codes}


def _text(description: str) -> Schema:
    return {"type": "string", "description": description}
