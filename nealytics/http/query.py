"""`POST /api/v1/analytics/query`: the questions of a whole page in one request, with one answer.

    {"from": "2026-11-01", "to": "2026-11-30", "tz": "Europe/Berlin", "filter": ["event_type:eq:purchase"],
     "queries": {"figures": {"endpoint": "summary"}, "pages": {"endpoint": "top", "dimension": "item_id"}}}

    {"projectId": "my-app", "tenantId": "tenant-1",
     "results": {"figures": {…}, "pages": {"error": {"code": "query_too_large", …}}}}

A question is what its GET route takes: the same parameters by the same names, a list where the route takes
a parameter more than once. What stands beside `queries` is a default for all questions whose route has such
a parameter. Each question has the checks, limits, turn and errors of its route; one that fails has an `error`
in its place, and the others their answers. The request itself counts once for the token's rate.

A request that makes no sense as a whole is a 400 that names the question and the field.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
from aiohttp import hdrs, web
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.errors import Refused
from nealytics.http.reads import Reads, check_route, parsed, while_connected
from nealytics.http.responses import ErrorBody
from nealytics.http.sending import Body
from nealytics.http.unread import Charge
from nealytics.observe import request_id
from nealytics.queries import ENDPOINTS
from nealytics.queries.endpoint import Endpoint
from nealytics.queries.invalid import invalid, shown

PATH = "/api/v1/analytics/query"
QUESTIONS_MAX = 30
NAME_CHARS_MAX = 64
BODY_BYTES_MAX = 64 * 1024

_BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}


class Question(msgspec.Struct, frozen=True):
    name: str
    endpoint: Endpoint[Any]
    arguments: MultiDict[str]


def add_query_route(app: web.Application, reads: Reads) -> None:
    app.router.add_post(PATH, reads.counted(partial(_answer, reads)))


async def _answer(reads: Reads, request: web.Request) -> web.StreamResponse:
    scope = await reads.scope_of(request)
    questions = parse(await _body(request))
    with reads.charge(scope) as charge:
        results = await while_connected(request, _results(reads, scope, questions, charge))
        pieces: deque[bytes] = deque()
        before = _head(scope)
        for question, (body, _) in zip(questions, results, strict=True):
            pieces.append(before + msgspec.json.encode(question.name) + b":")
            pieces.extend(body.pieces)
            before = b","
        pieces.append(b"}}")
        body = Body(pieces, _tag(body for body, _ in results))
        charge.add(body.size - charge.bytes)
        return await reads.respond(request, body, all(closed for _, closed in results), charge)


async def _results(
    reads: Reads, scope: Scope, questions: list[Question], charge: Charge
) -> list[tuple[Body, bool]]:
    # A group, so that the questions end together: when the client leaves, or when one fails by our fault.
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_result(reads, scope, question, charge)) for question in questions]
    return [task.result() for task in running]


async def _result(reads: Reads, scope: Scope, question: Question, charge: Charge) -> tuple[Body, bool]:
    """The answer to one question, or its error; and whether it is about a past that hardly changes."""
    try:
        check_route(scope, question.endpoint)
        arguments = reads.arguments(question.arguments, question.endpoint)
        params = parsed(question.endpoint, arguments)
        body = await reads.body_of(scope, question.endpoint, arguments, params, charge)
        return body, arguments.closed
    except Refused as refused:
        reads.failed(refused.code)
        error = ErrorBody(
            code=refused.code,
            message=refused.message,
            detail=refused.detail,
            request_id=request_id.current(),
            field=refused.field,
        )
        return Body(deque([msgspec.json.encode({"error": error})]), ""), False


def parse(body: bytes) -> list[Question]:
    """Raises `Refused` (400) for a body that makes no sense."""
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise invalid("body", "the body is no JSON object", f"{error}.") from None
    queries = asked.pop("queries", None)
    if not isinstance(queries, dict) or not 1 <= len(queries) <= QUESTIONS_MAX:
        raise invalid(
            "queries",
            "queries is missing or no object of questions",
            f'Write {{"name": {{"endpoint": "summary"}}}}, 1 to {QUESTIONS_MAX} questions.',
        )
    return [_question(name, question, asked) for name, question in queries.items()]


def _question(name: str, question: Any, shared: dict[str, Any]) -> Question:
    field = f"queries.{name[:NAME_CHARS_MAX]}"
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise invalid(
            field, f"the name {shown(name)} has {len(name)} characters", f"Write 1 to {NAME_CHARS_MAX}."
        )
    if not isinstance(question, dict):
        raise invalid(field, f"{field} is no object", 'Write {"endpoint": "summary"}.')
    given = dict(question)
    called = given.pop("endpoint", None)
    endpoint = _BY_NAME.get(called) if isinstance(called, str) else None
    if endpoint is None:
        raise invalid(
            f"{field}.endpoint",
            f"{field}.endpoint is {shown(str(called))}"
            if called is not None
            else f"{field}.endpoint is missing",
            f"Write one of {', '.join(_BY_NAME)}.",
        )
    known = {parameter.name.lower() for parameter in endpoint.parameters}
    own = {key.lower() for key in given}
    arguments: MultiDict[str] = MultiDict()
    for key, value in shared.items():
        if key.lower() in known and key.lower() not in own:
            _add(arguments, key, key, value)
    for key, value in given.items():
        _add(arguments, f"{field}.{key}", key, value)
    return Question(name, endpoint, arguments)


def _add(arguments: MultiDict[str], field: str, key: str, value: Any) -> None:
    """As it would stand in a query string."""
    for one in value if isinstance(value, list) else [value]:
        if one is None:
            continue
        if isinstance(one, bool):
            arguments.add(key, "true" if one else "false")
        elif isinstance(one, str | int | float):
            arguments.add(key, str(one))
        else:
            raise invalid(field, f"{field} is no text, number, true, false or list of these", "Write one.")


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise _too_large()
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _too_large()
    return bytes(body)


def _too_large() -> Refused:
    return Refused(
        413,
        "body_too_large",
        f"the body has more than {BODY_BYTES_MAX} bytes",
        detail="Ask fewer questions at once.",
        headers={hdrs.CONNECTION: "close"},
    )


def _tag(bodies: Iterable[Body]) -> str:
    digest = hashlib.blake2b("".join(body.tag for body in bodies).encode(), digest_size=16)
    return f'"{digest.hexdigest()}"'


def _head(scope: Scope) -> bytes:
    whose = {"projectId": scope.project_id}
    if scope.tenant_id is not None:
        whose["tenantId"] = scope.tenant_id
    return msgspec.json.encode(whose)[:-1] + b',"results":{'
