"""The admin routes, /api/v1/admin/…: an admin token, the project it may administer, one JSON answer.

Each route is of one project: the parameter `project`, or the token's own. A token for all projects must name
it, unless the route says that it lists all of them.

    missing or invalid token            401 (auth.jwt)
    a token that is no admin token      403
    another project than the token's    403
    a project is needed and not given   400
    ClickHouse does not answer          503, as for reads
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from aiohttp import hdrs, web

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import AdminScope
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.errors import Refused
from nealytics.http.reads import refusal
from nealytics.observe import otel
from nealytics.queries.invalid import invalid
from nealytics.query_string import check_utf8

PREFIX = "/api/v1/admin/"

Body = TypeVar("Body", bound=msgspec.Struct)
AdminHandler = Callable[[web.Request, AdminScope], Awaitable[object]]


def add_admin_route(
    app: web.Application, verifier: TokenVerifier, method: str, name: str, handler: AdminHandler
) -> None:
    """Adds `PREFIX + name`. What the handler returns becomes JSON; it may return a response instead."""

    async def answer(request: web.Request) -> web.StreamResponse:
        scope = await verifier.resolve_admin(request.headers.get(hdrs.AUTHORIZATION))
        check_utf8(request.rel_url.raw_query_string)
        otel.note("neavents.project_id", scope.project_id or "*")
        try:
            found = await handler(request, scope)
        except ClickHouseError as error:
            raise refusal(error) from error
        if isinstance(found, web.StreamResponse):
            return found
        return json_response(found)

    app.router.add_route(method, PREFIX + name, answer)


def json_response(answer: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(answer),
        status=status,
        headers={hdrs.CONTENT_TYPE: "application/json", hdrs.CACHE_CONTROL: "no-store"},
    )


async def body_of(
    http: web.Request,
    kind: type[Body],
    bytes_max: int,
    *,
    problem: str = "the body is not valid",
    advice: str = "",
) -> Body:
    """The JSON body. Raises `Refused`: 413 if it is longer, 400 with `problem` if it is something else."""
    body = bytearray()
    async for chunk in http.content.iter_any():
        body += chunk
        if len(body) > bytes_max:
            raise Refused(413, "body_too_large", f"the body has more than {bytes_max} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", problem, f"{error}.{advice}") from None


def project_of(scope: AdminScope, named: str | None) -> str | None:
    """The project that a request is about; None: all that the token administers.

    Raises `Refused` (403) for a project that is not the token's.
    """
    if not named:
        return scope.project_id
    if not scope.permits(named):
        raise Refused(
            403,
            "forbidden",
            f"the token administers project {scope.project_id!r}, not {named!r}",
            detail="Use a token of that project, or one whose project_id is *.",
            field="project",
        )
    return named


def one_project(scope: AdminScope, named: str | None) -> str:
    """As `project_of`, for a route that is about exactly one. Raises `Refused` (400) if none is named."""
    project = project_of(scope, named)
    if project is None:
        raise Refused(
            400,
            "invalid_parameter",
            "project is missing",
            detail="The token administers all projects; name the one that is meant.",
            field="project",
        )
    return project
