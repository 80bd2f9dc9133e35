"""`/api/v1/admin/dead-letter`: the events that could not be stored, and what becomes of them.

    GET  dead-letter           counts by project, source and reason; the entries, the newest first, in pages
    GET  dead-letter/<id>      one entry with its whole payload
    POST dead-letter/retry     {"ids": ["…"]} or {"filter": {"reason": "…"}}, perhaps "set": {"tenantId": "…"}
                               and "cursor", which is `next` of an answer: behind what that request tried
    POST dead-letter/drop      the same, without "set" and "cursor"

A token of one project sees and changes the entries of this project. Entries whose project is unknown belong
to tokens of all projects.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import AdminScope
from nealytics.dead_letters.actions import Outcome, Retrying, drop, require_settable
from nealytics.dead_letters.entries import Count, DeadLetters, Entry, Listing, Selection, counts, place_of
from nealytics.errors import NealyticsError, Refused
from nealytics.event import InvalidEvent
from nealytics.http.admin import PREFIX, add_admin_route, body_of, project_of
from nealytics.queries.invalid import invalid
from nealytics.queries.time_bounds import timestamp_ms

NAME = "dead-letter"
PAGE_DEFAULT, PAGE_MAX = 100, 1_000
# Of one request, because each entry is inserted alone; the answer says how many are left.
RETRIES_MAX = 500
BODY_BYTES_MAX = 256 * 1024


class Page(msgspec.Struct, omit_defaults=True, kw_only=True):
    events: int
    bytes: int
    counts: list[Count]
    entries: list[Entry]
    next: str = ""  # `cursor` of the next page
    problems: list[str] = []


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    project: str | None = None
    tenant: str | None = None
    reason: str | None = None
    source: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None

    def selection(self, scope: AdminScope, ids: list[str] | None = None) -> Selection:
        return Selection(
            project=project_of(scope, self.project),
            tenant=self.tenant,
            reason=self.reason,
            source=self.source,
            from_ms=None if self.from_ is None else timestamp_ms("from", self.from_, "from"),
            to_ms=None if self.to is None else timestamp_ms("to", self.to, "to"),
            ids=None if ids is None else frozenset(ids),
        )


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str] | None = None
    filter: Filter | None = None
    set: dict[str, Any] = {}
    cursor: str = ""


class Retried(msgspec.Struct, omit_defaults=True, kw_only=True):
    retried: int
    erased: int
    expired: int
    kept: list[Any]
    left: int = 0
    next: str = ""  # `cursor` of the next request, if any are left
    problems: list[str] = []


class Dropped(msgspec.Struct, omit_defaults=True):
    dropped: int
    problems: list[str] = []


class DeadLetterAdmin:
    def __init__(self, letters: DeadLetters, retrying: Retrying) -> None:
        self._letters = letters
        self._retrying = retrying
        self._busy = asyncio.Lock()  # one change at a time

    def add_to(self, app: web.Application, verifier: TokenVerifier) -> None:
        add_admin_route(app, verifier, "GET", NAME, self._list)
        add_admin_route(app, verifier, "GET", f"{NAME}/{{id}}", self._show)
        add_admin_route(app, verifier, "POST", f"{NAME}/retry", self._retry)
        add_admin_route(app, verifier, "POST", f"{NAME}/drop", self._drop)

    async def _list(self, http: web.Request, scope: AdminScope) -> Page:
        query = http.query
        names = ("project", "tenant", "reason", "source", "from", "to")
        asked = msgspec.convert({name: query.get(name) or None for name in names}, Filter)
        selection = asked.selection(scope)
        limit = _limit(query.get("limit", ""))
        # Without payloads, which all together would take much memory.
        entries, problems = await asyncio.to_thread(self._letters.listing, selection, 0)
        cursor = _place(query.get("cursor", ""))
        rest = [entry for entry in entries if cursor is None or place_of(entry) < cursor]
        page = Selection(ids=frozenset(entry.id for entry in rest[:limit]))
        return Page(
            events=len(entries),
            bytes=sum(entry.bytes for entry in entries),
            counts=counts(entries),
            entries=await asyncio.to_thread(self._letters.entries, page),
            next=_cursor(rest[limit - 1]) if len(rest) > limit else "",
            problems=_for(scope, problems),
        )

    async def _show(self, http: web.Request, scope: AdminScope) -> Entry:
        id = http.match_info["id"]
        selection = Selection(ids=frozenset([id]))
        found = await asyncio.to_thread(self._letters.entries, selection, None)
        entry = found[0] if found else None
        # An entry of another project looks like one that does not exist.
        if entry is None or not scope.permits(entry.project):
            raise Refused(404, "not_found", "there is no such entry", detail=f"GET {PREFIX}{NAME} lists all.")
        return entry

    async def _retry(self, http: web.Request, scope: AdminScope) -> Retried:
        asked = await body_of(http, Asked, BODY_BYTES_MAX)
        _require_settable(asked.set, scope)
        after = _place(asked.cursor)
        async with self._busy:
            entries, problems = await self._selected(asked, scope)
            # The oldest first. What was refused again stays, so the next request begins behind it.
            entries = [entry for entry in entries if after is None or place_of(entry) > after]
            now, later = entries[:RETRIES_MAX], entries[RETRIES_MAX:]
            try:
                outcome: Outcome = await self._retrying.retry([entry.id for entry in now], asked.set)
            except NealyticsError as error:
                if isinstance(error, Refused):
                    raise
                raise _unavailable(error) from error
        return Retried(
            retried=outcome.retried,
            erased=outcome.erased,
            expired=outcome.expired,
            kept=outcome.kept,
            left=len(later),
            next=_cursor(now[-1]) if later else "",
            problems=problems,
        )

    async def _drop(self, http: web.Request, scope: AdminScope) -> Dropped:
        asked = await body_of(http, Asked, BODY_BYTES_MAX)
        async with self._busy:
            entries, problems = await self._selected(asked, scope)
            return Dropped(await drop(self._letters, [entry.id for entry in entries]), problems)

    async def _selected(self, asked: Asked, scope: AdminScope) -> Listing:
        """What is meant, the oldest first. Entries of other projects are not among them."""
        if (asked.ids is None) == (asked.filter is None):
            raise invalid(
                "body",
                "the body has neither ids nor filter, or both",
                'Write {"ids": ["…"]} or {"filter": {}}.',
            )
        selection = (asked.filter or Filter()).selection(scope, asked.ids)
        entries, problems = await asyncio.to_thread(self._letters.listing, selection, 0)
        return Listing(entries[::-1], _for(scope, problems))


def _require_settable(changes: Mapping[str, Any], scope: AdminScope) -> None:
    if scope.project_id is not None and "projectId" in changes:
        raise invalid("set", "set has projectId", "Only a token of all projects can change the project.")
    try:
        require_settable(changes)
    except InvalidEvent as error:
        raise invalid(f"set.{error.field}", error.message, error.detail) from None


def _for(scope: AdminScope, problems: list[str]) -> list[str]:
    """They are about files of all projects."""
    return problems if scope.project_id is None else []


def _cursor(entry: Entry) -> str:
    return "{}.{}".format(*place_of(entry))


def _place(cursor: str) -> tuple[int, str] | None:
    at, _, id = cursor.partition(".")
    if not cursor:
        return None
    if not (at.isascii() and at.isdecimal() and len(at) <= 15):
        raise invalid("cursor", f"cursor is {cursor[:64]!r}", "Write what an answer has in next.")
    return int(at), id


def _limit(text: str) -> int:
    if not text:
        return PAGE_DEFAULT
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= PAGE_MAX:
        raise invalid("limit", f"limit is {text[:64]!r}", f"Write 1 to {PAGE_MAX}.")
    return int(text)


def _unavailable(error: NealyticsError) -> Refused:
    return Refused(
        503,
        "clickhouse_unavailable",
        "the events cannot be stored at the moment; those that were stored have left the dead letter",
        detail=f"{error}. Repeat the request later: no event is counted twice.",
        headers={"Retry-After": "10"},
    )
