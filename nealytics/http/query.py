"""`POST /api/v1/analytics/query`: the questions of a whole page in one request, with one answer.

    {"from": "2026-11-01", "to": "2026-11-30", "tz": "Europe/Berlin", "filter": ["event_type:eq:purchase"],
     "queries": {"figures": {"endpoint": "summary"}, "pages": {"endpoint": "top", "dimension": "item_id"}}}

    {"projectId": "my-app", "tenantId": "tenant-1",
     "results": {"figures": {…}, "pages": {"error": {"code": "query_too_large", …}}}}

A question has the parameters of its GET route, by the same names, as a list where the route accepts a
parameter more than once. A filter may also be a tree (`queries.conditions`). The endpoint of a saved query is
`queries/<name>`. A parameter beside `queries` is the default for every question whose route has it. Each
question has the checks, limits, queue slot and errors of its route. A question that fails has an `error` in
its place, and the others have their answers. The request counts once for the token's rate.

At most `query.concurrency_max` questions of one request run or are queued; the others start in their order
when these end. So thirty questions use no more queue slots than four.

A client that prefers `application/x-ndjson` gets each answer as soon as it is available, on its own line:

    {"projectId": "my-app", "tenantId": "tenant-1"}
    {"results": {"pages": {"error": {…}}}}
    {"results": {"figures": {…}}}

An invalid request is a 400 that names the question and the field.
"""

import asyncio
import difflib
import hashlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

import msgspec
from aiohttp import hdrs, web
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.errors import Refused
from nealytics.http.accept import preferred_type
from nealytics.http.reads import Reads, check_route, keep_s, parsed, while_connected
from nealytics.http.responses import ErrorBody
from nealytics.http.sending import Body, send_pieces
from nealytics.http.streaming import break_off, head_of
from nealytics.http.unread import Charge
from nealytics.observe import otel, request_id
from nealytics.queries import ENDPOINTS
from nealytics.queries.endpoint import Endpoint
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.params import FILTER

log = logging.getLogger("nealytics.http.query")

PATH = "/api/v1/analytics/query"
QUESTIONS_MAX = 30
NAME_CHARS_MAX = 64
VALUES_MAX = 100  # of one parameter; no route accepts as many
BODY_BYTES_MAX = 64 * 1024
_FIELD_CHARS_MAX = 256
SAVED_PREFIX = "queries/"
JSON, NDJSON = "application/json", "application/x-ndjson"


class Question(msgspec.Struct, frozen=True):
    name: str
    endpoint: Endpoint[Any] | None  # None: a saved query that there is not
    called: str
    arguments: MultiDict[Any]


class Result(NamedTuple):
    """The answer to one question, or its error."""

    question: Question
    body: Body | None
    error: bytes
    keep_s: int  # how long a client may keep the answer


def add_query_route(app: web.Application, reads: Reads) -> None:
    app.router.add_post(PATH, reads.counted(partial(_answer, reads)))


async def _answer(reads: Reads, request: web.Request) -> web.StreamResponse:
    scope = await reads.scope_of(request)
    questions = parse(await _body(request), reads.saved())
    accepted = preferred_type(",".join(request.headers.getall(hdrs.ACCEPT, [])), (JSON, NDJSON))
    with reads.charge(scope) as charge:
        results = _results(reads, scope, questions, charge)
        if accepted == NDJSON and request.version >= (1, 1):  # HTTP/1.0 cannot mark the end
            return await while_connected(request, _streamed(reads, request, scope, results, charge))
        by_name = {result.question.name: result for result in await while_connected(request, _all(results))}
        done = [by_name[question.name] for question in questions]
        pieces: deque[bytes] = deque()
        before = _whose(scope)[:-1] + b',"results":{'
        for result in done:
            pieces.append(before + msgspec.json.encode(result.question.name) + b":")
            pieces.extend(result.body.pieces if result.body else [result.error])
            before = b","
        pieces.append(b"}}")
        body = Body(pieces, _tag(result.body.tag if result.body else "" for result in done))
        charge.add(body.size - charge.bytes)
        return await reads.respond(request, body, min(result.keep_s for result in done), charge)


async def _streamed(
    reads: Reads,
    request: web.Request,
    scope: Scope,
    results: AsyncGenerator[Result],
    charge: Charge,
) -> web.StreamResponse:
    response = head_of(request, reads.cors, NDJSON, {hdrs.VARY: hdrs.ACCEPT}, [])
    async with aclosing(results):
        await response.prepare(request)
        try:
            await response.write(_whose(scope) + b"\n")
            async for question, body, error, _ in results:
                head = b'{"results":{' + msgspec.json.encode(question.name) + b":"
                if body is None:
                    await response.write(head + error + b"}}\n")
                else:
                    await response.write(head)
                    await send_pieces(request, response, body.pieces, charge)
                    await response.write(b"}}\n")
            await response.write_eof()
        except BaseException as error:
            # A partial answer must not look complete.
            break_off(request)
            if isinstance(error, ConnectionError):
                return response  # the client disconnected
            if isinstance(error, Exception):
                reads.broken_off(error)
                log.exception("query: aborted")
                return response
            raise
    return response


async def _all(results: AsyncGenerator[Result]) -> list[Result]:
    async with aclosing(results):
        return [result async for result in results]


async def _results(
    reads: Reads, scope: Scope, questions: list[Question], charge: Charge
) -> AsyncGenerator[Result]:
    """Each result as soon as it is available. Closing the generator cancels running reads."""
    places = asyncio.Semaphore(reads.config.concurrency_max)

    async def ask(question: Question) -> Result:
        async with places:
            return await _result(reads, scope, question, charge)

    tasks = [asyncio.create_task(ask(question)) for question in questions]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for running in tasks:
            running.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _result(reads: Reads, scope: Scope, question: Question, charge: Charge) -> Result:
    """The answer to one question, or its error."""
    endpoint = question.endpoint
    try:
        if endpoint is None:
            raise Refused(
                404,
                "unknown_query",
                f"there is no saved query {shown(question.called.removeprefix(SAVED_PREFIX))}",
                detail="GET /api/v1/queries lists them.",
                field="endpoint",
            )
        check_route(scope, endpoint)
        arguments = reads.arguments(question.arguments, endpoint, scope)
        params = parsed(endpoint, arguments)
        body = await reads.body_of(scope, endpoint, arguments, params, charge)
        return Result(question, body, b"", keep_s(endpoint, arguments))
    except Refused as error:
        refused = error
        if refused.status >= 500:
            otel.record(refused.__cause__ or refused)
            # The message contains the code, so that a flood of one reason does not suppress another.
            log.warning(
                f"query: %s failed: {refused.code}, %s",
                question.called,
                refused.message,
                extra={"error": str(refused.__cause__)} if refused.__cause__ else {},
            )
    except Exception as error:
        # An edge: after any error, the other questions still get their answers.
        otel.record(error)
        log.exception("query: %s failed", question.called)
        refused = Refused(
            500,
            "internal_error",
            "the server failed to process the request",
            detail="The server's log has the cause. Retry.",
        )
    reads.failed(refused.code)
    told = ErrorBody(
        code=refused.code,
        message=refused.message,
        detail=refused.detail,
        request_id=request_id.current(),
        field=refused.field,
    )
    return Result(question, None, msgspec.json.encode({"error": told}), 0)


def parse(body: bytes, saved: Collection[Endpoint[Any]] = ()) -> list[Question]:
    """`saved` are endpoints beside those of the API. Raises `Refused` (400) for an invalid body."""
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise invalid("body", "the body is not a JSON object", f"{error}.") from None
    queries = asked.pop("queries", None)
    if not isinstance(queries, dict) or not 1 <= len(queries) <= QUESTIONS_MAX:
        raise invalid(
            "queries",
            "queries is missing or is not an object of queries",
            f'Write {{"name": {{"endpoint": "summary"}}}}, 1 to {QUESTIONS_MAX} queries.',
        )
    endpoints = {endpoint.name: endpoint for endpoint in (*ENDPOINTS, *saved)}
    known = {one.name.lower(): one.name for endpoint in endpoints.values() for one in endpoint.parameters}
    shared = {key: _values(key, value) for key, value in asked.items() if _is_known(key, known)}
    return [_question(name, question, shared, endpoints) for name, question in queries.items()]


def _is_known(key: str, known: dict[str, str]) -> bool:
    """Raises `Refused` if no route has such a parameter: a misspelt filter must not be ignored."""
    if key.lower() in known:
        return True
    close = difflib.get_close_matches(key.lower()[:64], known, 1)
    raise invalid(
        key[:NAME_CHARS_MAX],
        f"{shown(key)} is not a parameter of any endpoint",
        f"Did you mean {known[close[0]]}?" if close else "Remove it.",
    )


def _question(
    name: str, question: Any, shared: dict[str, list[Any]], endpoints: Mapping[str, Endpoint[Any]]
) -> Question:
    field = f"queries.{name[:NAME_CHARS_MAX]}"
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise invalid(
            field, f"the name {shown(name)} has {len(name)} characters", f"Write 1 to {NAME_CHARS_MAX}."
        )
    if not isinstance(question, dict):
        raise invalid(field, f"{field} is not an object", 'Write {"endpoint": "summary"}.')
    given = dict(question)
    called = given.pop("endpoint", None)
    endpoint = endpoints.get(called) if isinstance(called, str) else None
    # A saved query may be gone at any time, and the other questions of the page get their answers.
    if endpoint is None and not str(called).startswith(SAVED_PREFIX):
        raise invalid(
            f"{field}.endpoint",
            f"{field}.endpoint is {shown(str(called))}"
            if called is not None
            else f"{field}.endpoint is missing",
            # Not the names of saved queries: the token may not be permitted to know them.
            f"Write one of {', '.join(one.name for one in ENDPOINTS)}, or {SAVED_PREFIX} and the name of a "
            "saved query, which GET /api/v1/queries lists.",
        )
    known = {parameter.name.lower() for parameter in endpoint.parameters} if endpoint else set()
    own = {key.lower() for key in given}
    arguments: MultiDict[Any] = MultiDict()
    for key, texts in shared.items():
        if key.lower() in known and key.lower() not in own:
            arguments.extend((key, text) for text in texts)
    for key, value in given.items():
        arguments.extend((key, text) for text in _values(f"{field}.{key}"[:_FIELD_CHARS_MAX], value))
    taken = endpoint.parameters if endpoint else (FILTER,)
    if FILTER not in taken and any(isinstance(value, dict) for value in arguments.values()):
        raise invalid(
            f"{field}.{FILTER.name}",
            f"{FILTER.name} is a tree, and {called} has a parameter of its own of this name",
            "Write a string.",
        )
    return Question(name, endpoint, str(called), arguments)


def _values(field: str, value: Any) -> list[Any]:
    """The values as they would be written in a query string; only a filter may also be a tree."""
    values = value if isinstance(value, list) else [value]
    if len(values) > VALUES_MAX:
        raise invalid(field, f"{field} has {len(values)} values", f"Write at most {VALUES_MAX}.")
    if field.rpartition(".")[2].lower() == FILTER.name:
        return [one if isinstance(one, dict) else _text(field, one) for one in values if one is not None]
    return [_text(field, one) for one in values if one is not None]


def _text(field: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))  # some languages write 10 as 10.0
        case str() | int() | float():
            return str(value)
    raise invalid(field, f"{field} is not a string, number, boolean or list of these", "Write one.")


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
        detail="Send fewer queries in one request.",
        headers={hdrs.CONNECTION: "close"},
    )


def _tag(tags: Iterable[str]) -> str:
    digest = hashlib.blake2b("".join(tags).encode(), digest_size=16)
    return f'"{digest.hexdigest()}"'


def _whose(scope: Scope) -> bytes:
    whose = {"projectId": scope.project_id}
    if scope.tenant_id is not None:
        whose["tenantId"] = scope.tenant_id
    return msgspec.json.encode(whose)
