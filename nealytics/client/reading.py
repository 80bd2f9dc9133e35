"""Queries and their answers. Pure: see `exchange`."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from nealytics.client.errors import IncompleteExport, ReadError
from nealytics.client.events import StoredEvent
from nealytics.client.exchange import (
    USER_AGENT,
    GaveUp,
    Lost,
    Patience,
    Request,
    Response,
    Steps,
    TokenWanted,
    error_of,
    exchange,
    retry_after_of,
    what_came,
)

QUERY = "/api/v1/analytics/query"
EXPORT = "/api/v1/telemetry/export"
_STREAMS = ("export", "live")


Queries = Mapping[str, Mapping[str, Any]]


class Page(NamedTuple):
    answer: dict[str, Any]
    following: Mapping[str, Any] | None  # the parameters of the next page; None for the last one


class Reading:
    """The queries of one reader."""

    def __init__(self, url: str, patience: Patience) -> None:
        self._url = url
        self._patience = patience

    def get(self, endpoint: str, params: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        response = yield from self._ask("GET", f"{path_of(endpoint)}{query_of(params)}")
        return _document(self._url, response)

    def page(self, endpoint: str, params: Mapping[str, Any]) -> Steps[Page]:
        answer = yield from self.get(endpoint, params)
        cursor = answer.get("nextCursor")
        return Page(answer, {**params, "cursor": cursor} if cursor else None)

    def query(
        self, queries: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]
    ) -> Steps[dict[str, Any]]:
        """The `results` of many queries, by name."""
        body = {**_named(shared), "queries": {name: _named(asked) for name, asked in queries.items()}}
        response = yield from self._ask("POST", QUERY, msgspec.json.encode(body))
        results: dict[str, Any] = _document(self._url, response)["results"]
        return results

    def export(self, params: Mapping[str, Any]) -> Steps[Response]:
        """A response with a stream, for an `ExportLines`."""
        asked = {**params, "format": "ndjson", "end": True}
        return (yield from self._ask("GET", f"{EXPORT}{query_of(asked)}", stream=True))

    def _ask(self, method: str, path: str, body: bytes = b"", *, stream: bool = False) -> Steps[Response]:
        fresh = False
        while True:
            token = yield TokenWanted(fresh)
            assert isinstance(token, str)
            headers = {"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT}
            headers |= {"Accept-Encoding": "gzip"} if stream else {}
            headers |= {"Content-Type": "application/json"} if body else {}
            request = Request(method, path, headers, body, self._patience.timeout_s, stream)
            try:
                response = yield from exchange(request, self._patience, _is_temporary)
            except GaveUp as gave_up:
                raise read_error(self._url, gave_up.outcome) from None
            if response.status == 200:
                return response
            if response.status != 401 or fresh:
                raise read_error(self._url, response)
            fresh = True


def _is_temporary(status: int) -> bool:
    # After a 500, a retry does not help.
    return status in (408, 429, 502, 503, 504)


def _document(url: str, response: Response) -> dict[str, Any]:
    try:
        document = json.loads(response.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ReadError(
            f"{url} does not answer like a Nealytics node; check the address", status=response.status
        )
    return document


def read_error(url: str, outcome: Response | Lost) -> ReadError:
    problem = what_came(url, outcome)
    if isinstance(outcome, Lost):
        return ReadError(problem)
    error = error_of(outcome.body)
    return ReadError(
        problem,
        status=outcome.status,
        code=error.code,
        detail=error.detail,
        field=error.field,
        request_id=error.request_id,
        retry_after_s=retry_after_of(outcome),
    )


def path_of(endpoint: str) -> str:
    """`summary` → its path. Raises `ValueError` for a stream."""
    if endpoint in _STREAMS or not endpoint.isalpha():
        raise ValueError(f'endpoint is "{endpoint}"; write the last part of a path, like "summary"')
    return f"/api/v1/{'telemetry' if endpoint == 'timeline' else 'analytics'}/{endpoint}"


def query_of(params: Mapping[str, Any]) -> str:
    """`from_="2026-06-01", group_by="event_type"` → `?from=2026-06-01&groupBy=event_type`."""
    named = _named(params)
    pairs = [(name, one) for name, v in named.items() for one in (v if isinstance(v, list) else [v])]
    texts = [(name, "true" if v is True else "false" if v is False else v) for name, v in pairs]
    return f"?{urlencode(texts, quote_via=quote)}" if texts else ""


def _named(params: Mapping[str, Any]) -> dict[str, Any]:
    """With the API's names, without those that are None."""
    return {_camel(name): _value(name, value) for name, value in params.items() if value is not None}


def _camel(name: str) -> str:
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} is {value.isoformat()} and has no time zone; use datetime.now(UTC)")
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_value(name, one) for one in value]
    return value


class _End(msgspec.Struct):
    end: bool
    events: int


class _EndLine(msgspec.Struct, rename="camel"):
    nealytics_export: _End


class ExportLines:
    """Bytes of an export → events. Raises `IncompleteExport`, also if the end record is missing."""

    def __init__(self) -> None:
        self.events = 0
        self._said: int | None = None
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[StoredEvent]:
        if b"\n" not in piece:
            self._rest += piece
            return
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if self._said is not None:
                raise IncompleteExport("data follows its end record", self.events)
            try:
                if line.startswith(b'{"nealyticsExport":'):
                    self._said = msgspec.json.decode(line, type=_EndLine).nealytics_export.events
                    continue
                event = msgspec.json.decode(line, type=StoredEvent)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise IncompleteExport(
                    f"line {self.events + 1} is not an event: {error}", self.events
                ) from None
            self.events += 1
            yield event

    def broken(self, why: str) -> IncompleteExport:
        return IncompleteExport(f"the connection broke after {self.events} events ({why})", self.events)

    def finish(self) -> None:
        if self._rest or self._said is None:
            raise IncompleteExport(f"it ends after {self.events} events without an end record", self.events)
        if self._said != self.events:
            raise IncompleteExport(
                f"it has {self.events} events, but its end record says {self._said}", self.events
            )
