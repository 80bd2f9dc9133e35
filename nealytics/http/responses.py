"""The form of errors, JSON `{code, message, detail, requestId, field?}`, and the headers of every answer."""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web
from aiohttp.helpers import rfc822_formatted_time

from nealytics.errors import Refused
from nealytics.observe import request_id

ANSWER_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",  # disables a filter that was itself exploitable
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Server": "nealytics",  # aiohttp's own would reveal versions
}


def answer_headers() -> dict[str, str]:
    """The headers of every answer to this request."""
    return {**ANSWER_HEADERS, request_id.HEADER: request_id.current()}


class ReadyAnswer(web.StreamResponse):
    """An empty answer with prepared bytes. It has no state, so one instance serves all requests.

    aiohttp needs 9 µs to build and write an answer, a quarter of its work on a small request; this needs one.
    `suits` says which requests it can serve; the others get `plain`.
    """

    def __init__(self, status: HTTPStatus, headers: dict[str, str]) -> None:
        super().__init__(status=status)
        self._fixed = headers
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        if status != HTTPStatus.NO_CONTENT:
            lines.append("Content-Length: 0")
        self._head = "\r\n".join(lines) + f"\r\n{request_id.HEADER}: "

    @staticmethod
    def suits(request: web.BaseRequest) -> bool:
        """HTTP/1.1, keep-alive, and not from a page, which needs CORS headers."""
        return request.keep_alive and request.version.minor == 1 and hdrs.ORIGIN not in request.headers

    def plain(self) -> web.Response:
        return web.Response(
            status=self.status, headers={**self._fixed, request_id.HEADER: request_id.current()}
        )

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client disconnected")
        text = f"{self._head}{request_id.current()}\r\nDate: {rfc822_formatted_time()}\r\n\r\n"
        transport.write(text.encode())
        if request.protocol.writing_paused:  # the client sends and does not read
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        pass


class ErrorBody(msgspec.Struct, omit_defaults=True, rename="camel"):
    code: str
    message: str
    detail: str
    request_id: str
    field: str | None = None


def error_response(
    status: int,
    code: str,
    message: str,
    detail: str,
    *,
    field: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    response = web.Response(
        status=status,
        body=msgspec.json.encode(ErrorBody(code, message, detail, request_id.current(), field)),
        content_type="application/json",
        headers=headers,
    )
    if headers and headers.get("Connection") == "close":
        response.force_close()
    return response


def refused_response(refused: Refused) -> web.Response:
    return error_response(
        refused.status,
        refused.code,
        refused.message,
        refused.detail,
        field=refused.field,
        headers=refused.headers,
    )


_API = "/api/v1/"
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 417: "expectation_failed"}


def http_exception_response(error: web.HTTPException, path: str, routes: Iterable[str] = ()) -> web.Response:
    """aiohttp's own errors (unknown route, wrong method) in our form; their headers (Allow) stay.

    Of the `routes`, those beside an unknown one of the API are listed.
    """
    headers = {name: value for name, value in error.headers.items() if name.lower() != "content-type"}
    code = _CODES.get(error.status, "bad_request" if error.status < 500 else "internal_error")
    if error.status == 404:
        message, detail = f"there is nothing at {path[:128]}", "See /openapi.json for the routes."
        folder = path.rpartition("/")[0] + "/"
        beside = [route.removeprefix(folder) for route in routes if route.startswith(folder)]
        listed = sorted(name for name in beside if name and not set(name) & {"/", "{"})
        if listed and folder.startswith(_API):
            detail = f"{folder} has {', '.join(listed)}. {detail}"
    elif error.status == 405:
        message = f"{path[:128]} does not support this method"
        detail = f"Use {error.headers.get('Allow', 'another').replace(',', ' or ')}."
    else:
        message, detail = (error.text or error.reason), "See /openapi.json."
    return error_response(error.status, code, message, detail, headers=headers)


def raw_error(status_line: str, error: ErrorBody, headers: dict[str, str] | None = None) -> bytes:
    """A complete answer for a connection without a valid request; close the connection afterwards."""
    body = msgspec.json.encode(error)
    fixed = {**ANSWER_HEADERS, request_id.HEADER: error.request_id}
    lines = [
        f"HTTP/1.1 {status_line}",
        *(f"{name}: {value}" for name, value in {**fixed, **(headers or {})}.items()),
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def raw_answer(response: web.Response, *, closes: bool) -> bytes:
    """The bytes of an answer to HTTP/1.1, as aiohttp would write them."""
    body = response.body
    assert isinstance(body, bytes)
    headers = dict(response.headers) | {
        hdrs.CONTENT_LENGTH: str(len(body)),
        hdrs.DATE: rfc822_formatted_time(),
    }
    if closes:
        headers[hdrs.CONNECTION] = "close"
    lines = [f"HTTP/1.1 {response.status} {response.reason}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def names_tag(header: str, tag: str) -> bool:
    """Whether an `If-None-Match` says that the client has the answer with this ETag."""
    return header.strip() == "*" or tag in (part.strip().removeprefix("W/") for part in header.split(","))
