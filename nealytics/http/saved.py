"""The routes of saved queries. `queries.saved` decides what they may contain.

    GET /api/v1/queries          those that the token may use, with their parameters and columns
    GET /api/v1/queries/<name>   the answer, as JSON or as a file

JSON is answered as by every other read. A file is complete in ClickHouse before its first byte is sent.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import msgspec
from aiohttp import hdrs, web

from nealytics.auth.scope import Scope
from nealytics.errors import Refused
from nealytics.http import accept
from nealytics.http.reads import RETRY_AFTER_S, Reads, check_route, while_connected
from nealytics.http.streaming import head_of, require_http_1_1, send_stream
from nealytics.queries import export
from nealytics.queries.params import Arguments
from nealytics.queries.saved.catalog import FORMATS, PATH, Catalog, SavedQuery
from nealytics.queries.saved.head import Input
from nealytics.queries.saved.reader import Column

_TYPES = {"json": "application/json", **export.CONTENT_TYPES}
# Of one file: pieces from ClickHouse, and bytes that the client has not read.
_BUFFER_BYTES = 1024 * 1024


class Listed(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A saved query in the list."""

    name: str
    title: str
    path: str
    description: str = ""
    parameters: tuple[Input, ...] = ()
    columns: tuple[Column, ...] = ()


class ListAnswer(msgspec.Struct, rename="camel", kw_only=True):
    queries: list[Listed]


def add_saved_routes(app: web.Application, reads: Reads, catalog: Catalog) -> None:
    async def listed(request: web.Request) -> web.Response:
        scope = await reads.scope_of(request)
        body = ListAnswer(queries=[_listed(one) for one in catalog.queries.values() if _may_use(scope, one)])
        return web.Response(
            body=msgspec.json.encode(body),
            content_type="application/json",
            headers={hdrs.CACHE_CONTROL: "no-store"},
        )

    async def answer(request: web.Request) -> web.StreamResponse:
        query = catalog.queries.get(request.match_info["name"])
        if query is None:
            scope = await reads.scope_of(request)
            raise _unknown(request.match_info["name"], scope, catalog)
        scope = await reads.scope_of(request, query)
        arguments = reads.arguments_of(request, query)
        chosen = arguments.choice("format") or _preferred(request)
        if chosen == "json":
            vary = f"{hdrs.AUTHORIZATION}, {hdrs.ACCEPT}"
            return await reads.answer(request, query, scope, arguments, vary)
        return await _file(reads, request, query, scope, arguments, chosen)

    app.router.add_get(PATH, reads.counted(listed))
    app.router.add_get(f"{PATH}/{{name}}", reads.counted(answer))


async def _file(
    reads: Reads, request: web.Request, query: SavedQuery, scope: Scope, arguments: Arguments, chosen: str
) -> web.StreamResponse:
    values = query.values(arguments)
    require_http_1_1(request)
    charset = "; charset=utf-8" if chosen == "csv" else ""
    name = f"{query.declared.name}.{chosen}"
    headers: dict[str, str] = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"'}
    response = head_of(request, reads.cors, _TYPES[chosen] + charset, headers, arguments.warnings)
    if request.method == hdrs.METH_HEAD:
        return web.Response(headers=response.headers)
    events = reads.events_of(scope)

    async def pieces() -> AsyncGenerator[bytes]:
        async with AsyncExitStack() as stack:
            async with reads.slot(scope):
                stream = await reads.ask(
                    lambda: stack.enter_async_context(query.stream(events, values, FORMATS[chosen]))
                )
            reads.usage.query(scope.project_id, scope.tenant_id, events.rows_read)
            async for piece in stream:
                yield piece

    with reads.charge(scope) as charge:
        charge.add(_BUFFER_BYTES)
        sending = send_stream(request, response, pieces(), reads.broken_off, query.name)
        return await while_connected(request, sending)


def _preferred(request: web.Request) -> str:
    header = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    found = accept.preferred_type(header, _TYPES.values())
    return next((name for name, kind in _TYPES.items() if kind == found), "json")


def _may_use(scope: Scope, query: SavedQuery) -> bool:
    try:
        check_route(scope, query)
    except Refused:
        return False
    return True


def _listed(query: SavedQuery) -> Listed:
    return Listed(
        name=query.declared.name,
        title=query.declared.title,
        path=query.path,
        description=query.declared.description,
        parameters=query.declared.inputs,
        columns=query.checked.columns,
    )


def _unknown(name: str, scope: Scope, catalog: Catalog) -> Refused:
    if catalog.off is not None or not catalog.is_loaded:
        return Refused(
            503,
            "queries_unavailable",
            "saved queries cannot be run at the moment",
            detail="The server's log has the cause. Retry later.",
            headers={hdrs.RETRY_AFTER: str(RETRY_AFTER_S)},
        )
    usable = [one.declared.name for one in catalog.queries.values() if _may_use(scope, one)]
    return Refused(
        404,
        "unknown_query",
        f"there is no saved query {name[:48]!r}",
        detail=f"There are: {', '.join(usable)}." if usable else "There are none for this token.",
    )
