"""The running API is exactly as strict as /openapi.json: schemathesis asks, the real engine answers.

Each request is judged by what was on the wire, and nothing is counted by share: what the description excludes
is a 400, what it allows is answered. `Excuse` lists every other refusal, with the check that it is right. The
description excludes three things that the server accepts on purpose, and says so in its `info`: unknown query
parameters, blank ones, and other spellings of the same value (` 5`, `+5`, `TRUE`, `1`).

`TEST_SCHEMATHESIS_EXAMPLES` is the number of questions per endpoint and kind of question. A release is tried
with 300, without the limit of time per test (docs/releasing.md has the command).
"""

import asyncio
import contextlib
import json
import os
import random
import re
import threading
from calendar import monthrange
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import date, timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies._internal.lazy import unwrap_strategies
from multidict import CIMultiDict
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from nealytics import timestamps
from nealytics.auth.claims import FILTERS_MAX
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.schema import apply
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.event import Event
from nealytics.http import query
from nealytics.http.openapi import document
from nealytics.http.openapi_schemas import _MORE_LISTED, TIME_ZONE, parameter_schema
from nealytics.queries import (
    ENDPOINTS,
    STREAMS,
    active,
    export,
    funnel,
    live,
    properties,
    retention,
    sessions,
    summary,
    timeline,
    timeseries,
    top,
)
from nealytics.queries.endpoint import Endpoint, Route
from nealytics.queries.filters import PATH_KEYS_MAX, parse_field
from nealytics.queries.params import Parameter, zones
from nealytics.queries.relative import resolved
from nealytics.queries.time_bounds import timestamp_ms
from tests.engine import RunningEngine
from tests.fakes.worker import ANY, BATCH, BEACON, TRACK, serving
from tests.http.reader import JWT_KEY, NOW, Reader, event, ms, on_the_engine, token_of
from tests.test_docs import curl_lines, sections

pytestmark = [*on_the_engine, pytest.mark.slow]

EXAMPLES = int(os.environ.get("TEST_SCHEMATHESIS_EXAMPLES", "10"))
# The same questions every time. A failure is not searched for a smaller one: each costs a query.
ASKED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

# Streams are left faster than the server notices.
CONFIG = Config(query=QueryConfig(limit_max=1_000, live_streams_per_token=150))
DOCUMENT = document(CONFIG)
T = TypeVar("T")

BODY_BYTES_MAX = {
    query.PATH: query.BODY_BYTES_MAX,
    **dict.fromkeys((TRACK, BATCH, BEACON), CONFIG.ingest.body_bytes_max),
}
LINE_BYTES_MAX = 64 * 1024  # of a request line, as the description's `info` says


def asked_quickly() -> dict[str, Any]:
    """The description for questions to be made from, which takes a fifth of the time. Answers are judged by
    the whole one, of which this allows a part: the time zones as a list instead of a pattern of 600
    alternatives, and short lists of `in`.
    """
    described = json.loads(json.dumps(DOCUMENT).replace(_MORE_LISTED, "{0,3}"))
    described["components"]["schemas"][TIME_ZONE] = {"type": "string", "enum": sorted(zones())}
    return described


# What makes sense for the events below, so that most questions have an answer.
SENSIBLE: dict[str, list[Any]] = {
    "from": ["2024-06-01", "-14d", "last_week", "2024-06-13T06:00:00Z", "2024-06-14T23:30:00+02:00"],
    "to": ["2024-06-14T00:00:00.5Z", "-1h", "today", "2024-06-15", "2024-06-16T00:00:00Z"],
    "before": ["2024-06-15", "2024-06-14T00:00:00Z"],
    "after": ["2024-06-01", "2024-06-13"],
    "filter": [
        "event_type:in:view,click",
        "meta:cart.total:gt:10",
        "user_id:exists:",
        "item_id:starts:/",
        "meta:plan:ne:pro",
        "not:item_id:matches:^/s",
        "did(purchase, >=2, 7d)",
        "session_not_did(click, 1d)[meta:plan:eq:pro]",
        "first_seen(30d)",
    ],
    "any": ["event_type:eq:click", "2:meta:plan:exists:", "not_did(view, 1d)"],
    "measure": [
        "count[event_type:eq:click]",
        "users",
        "sum(meta:cart.total)",
        "p95(meta:cart.total)[user_id:exists:true]",
        "distinct(meta:plan)",
        "rate(purchase)",
        "users[not_did(purchase, 7d)[meta:plan:eq:pro]]",
    ],
    "eventType": ["view", "click"],
    "sessionId": ["s1"],
    "userId": ["u1"],
    "itemId": ["/"],
    "metaKey": ["plan"],
    "metaValue": ["pro"],
    "event": ["view"],
    "step": ["view", "click", "purchase"],
    "cohortEvent": ["view"],
    "returnEvent": ["click"],
    "stepFilter": ["1:item_id:exists:true", "2:meta:plan:eq:pro"],
    "stepOrder": ["2:strict", "2:any"],
    "exclude": ["click", "2:view"],
    "under": ["meta:cart", "cart"],
    "key": ["plan", "cart.total"],
    "tz": ["Europe/Berlin", "America/New_York", "Asia/Kathmandu"],
    "window": ["30m", "1d"],
}

READS: dict[str, Route] = {route.path: route for route in (*ENDPOINTS, *STREAMS)}

each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
each_read = pytest.mark.parametrize("route", READS.values(), ids=lambda route: route.name)


def a_fortnight() -> list[Event]:
    chance = random.Random(11)
    return [
        event(
            NOW - timedelta(days=chance.choice((0, 1, 2, 9)), seconds=chance.randrange(20_000)),
            session_id=f"s{chance.randrange(30)}",
            user_id=chance.choice([None, *(f"u{n}" for n in range(12))]),
            event_type=chance.choice(["view", "view", "click", "purchase", "café"]),
            item_id=chance.choice([None, "/", "/shop"]),
            metadata=chance.choice(
                [{}, {"plan": "pro"}, {"plan": "free", "cart": {"total": 12.5, "n": [1]}}]
            ),
        )
        for _ in range(300)
    ]


@contextmanager
def in_a_thread(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `context` gives, with a loop of its own to live in: schemathesis asks from this thread."""
    entered: Future[T] = Future()
    loop = asyncio.new_event_loop()
    leave = asyncio.Event()

    async def live() -> None:
        async with context as entry:
            entered.set_result(entry)
            await leave.wait()

    def run() -> None:
        try:
            loop.run_until_complete(live())
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield entered.result(60)
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
        loop.close()


class Heads(HTTPAdapter):
    """Of a stream that does not end by itself, reads the first piece and closes the connection."""

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        answer = super().send(request, *args, **options | {"stream": True})
        if answer.headers.get("Content-Type", "").startswith(live.CONTENT_TYPE):
            answer._content = next(answer.iter_content(None), b"")
            answer.raw.close()
        return answer


class Served(NamedTuple):
    """An address, and how to ask there."""

    url: str
    headers: dict[str, str]
    session: requests.Session

    def get(self, path: str, query: dict[str, Any]) -> requests.Response:
        return self.session.get(self.url + path, params=query, headers=self.headers)


@asynccontextmanager
async def reading(engine: RunningEngine) -> AsyncIterator[str]:
    """The address of the read API."""
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=CONFIG.query,
    )
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await apply(client, config.clickhouse)
        await client.command("SYSTEM STOP MERGES nealytics_core.global_events")
        async with Reader(client, config) as reader:
            await reader.store_twice(*a_fortnight())
            yield reader.url


@pytest.fixture(autouse=True, scope="module")
def each_pattern_once() -> Iterator[None]:
    """Making strategies from the patterns of the description takes half of the time, and schemathesis makes
    them for each question anew."""
    made: dict[tuple[object, ...], st.SearchStrategy[str]] = {}
    make = st.from_regex

    def from_regex(regex: re.Pattern[str] | str, **options: Any) -> st.SearchStrategy[str]:
        which = (regex, *(f"{name} {value!r}" for name, value in sorted(options.items())))
        if which not in made:
            made[which] = make(regex, **options)
            # A lazy strategy is made anew for each filter on it.
            with contextlib.suppress(InvalidArgument):
                made[which] = unwrap_strategies(made[which])
        return made[which]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(st, "from_regex", from_regex)
        yield


@pytest.fixture(scope="module")
def served(engine: RunningEngine) -> Iterator[Served]:
    headers = {"Authorization": f"Bearer {token_of('shop', 'acme')}"}
    with in_a_thread(reading(engine)) as url, requests.Session() as session:
        session.mount("http://", Heads())
        yield Served(url, headers, session)


@pytest.fixture(scope="module")
def taking() -> Iterator[Served]:
    with in_a_thread(serving()) as worker, requests.Session() as session:
        yield Served(f"http://127.0.0.1:{worker.port}", {"X-Project-Key": ANY}, session)


# What the description excludes, by what was on the wire


@cache
def validator(schema: str) -> Any:
    """Of the schema in JSON."""
    described = {**json.loads(schema), "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(described, validate_formats=True)


def is_valid(schema: dict[str, Any], value: Any) -> bool:
    return bool(validator(json.dumps(schema)).is_valid(value))


def is_excluded(parameter: Parameter, text: str) -> bool:
    """Whether the schema excludes the value that the text says; it says the same with blanks around it where
    it is no text."""
    described = parameter_schema(parameter)
    schema = described.get("items", described)
    value: Any = text
    match parameter.kind:
        case "integer":
            value = int(text) if re.fullmatch(r"[+-]?[0-9]+", text.strip()) else text
        case "flag":
            value = {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower(), text)
        case "timestamp" | "duration":
            value = text.strip()
    if parameter.pattern is not None:
        value = text.strip()
    return not is_valid(schema, value)


class Asked:
    """The query string of a request to a route."""

    def __init__(self, route: Route, url: str) -> None:
        self.route = route
        parts = urlsplit(url)
        self.line_bytes = len(f"GET {parts.path}?{parts.query} HTTP/1.1")
        sent = CIMultiDict(parse_qsl(parts.query, keep_blank_values=True))
        self._texts = {
            parameter.name: [text for text in sent.getall(parameter.name, []) if text.strip()]
            for parameter in route.parameters
        }
        self._sent = sent

    def texts(self, name: str) -> list[str]:
        return self._texts.get(name, [])

    def text(self, name: str) -> str:
        """What was sent, or the default."""
        (declared,) = (parameter for parameter in self.route.parameters if parameter.name == name)
        return next(iter(self.texts(name)), str(declared.default))

    def has(self, name: str) -> bool:
        """Whether a value was sent, or the route has one by default."""
        defaults = [one.default for one in self.route.parameters if one.name == name]
        return bool(self.texts(name)) or any(default is not None for default in defaults)

    def flag(self, name: str) -> bool:
        return self.text(name).strip().lower() in ("true", "1")

    def ms(self, name: Any) -> int | None:
        if not self.texts(name):
            return None
        zone = next(iter(self.texts("tz")), None)
        text = resolved(self.text(name).strip(), name, ms(NOW), zone)
        return timestamp_ms(name, text, name, zone)

    def range_ms(self) -> tuple[int, int]:
        """As far as it was named; else the last day up to now, which no excuse needs exactly."""
        to_ms = self.ms("to")
        end_ms = ms(NOW) if to_ms is None else to_ms
        from_ms = self.ms("from")
        return (min(end_ms, ms(NOW)) - timestamps.DAY_MS if from_ms is None else from_ms), end_ms

    @property
    def excluded(self) -> set[str]:
        """The parameters that the description excludes."""
        return {parameter.name for parameter in self.route.parameters if self._is_excluded(parameter)}

    def _is_excluded(self, parameter: Parameter) -> bool:
        texts = self.texts(parameter.name)
        if parameter.required and not texts:
            return True
        if any(is_excluded(parameter, text) for text in texts):
            return True
        if not parameter.repeatable:
            # A blank one beside another is one too many, too.
            return len(self._sent.getall(parameter.name, [])) > 1
        bounds = {"minItems": 0, "maxItems": len(texts)} | parameter_schema(parameter)
        return bool(texts) and not bounds["minItems"] <= len(texts) <= bounds["maxItems"]


# Why a question that the description allows may be refused: what no schema can say


def names_no_time(text: str) -> bool:
    """Whether the calendar does not have the day, the week or the second that is written there."""
    parts = timestamps._PARTS.fullmatch(text.strip())
    if parts is None:
        return True
    day = parts["date"].replace("-", "")
    year = int(day[:4]) or 400  # the calendar repeats
    if "W" in day:
        is_real = int(day[5:7]) <= date(year, 12, 28).isocalendar().week
    else:
        is_real = int(day[6:8]) <= monthrange(year, int(day[4:6]))[1]
    if not is_real:
        return True
    clock = re.match(r"(\d\d):?(\d\d):?60", parts["time"] or "")
    if clock is None:
        return False
    zone = re.match(r"([+-])(\d\d):?(\d\d)?:?(\d\d)?", parts["zone"] or "")
    offset_s = 0
    if zone is not None:
        hours, minutes, seconds = (int(part or 0) for part in zone.groups()[1:])
        offset_s = (hours * 3600 + minutes * 60 + seconds) * (-1 if zone[1] == "-" else 1)
    return (int(clock[1]) * 3600 + int(clock[2]) * 60 + 60 - offset_s) % 86_400 != 0


def times_in(filters: list[str]) -> list[str]:
    """What they compare times with."""
    # That of a step, that of a measure, or one by itself.
    pattern = r"(?:[0-9]+:|.*\[)?(?:not:)*(?:timestamp|\w+_at):(?:gt|lt):([^]]*)\]?"
    found = (re.fullmatch(pattern, text, re.DOTALL) for text in filters)
    return [parts[1] for parts in found if parts]


def begins_after_its_end(asked: Asked) -> bool:
    from_ms, to_ms = asked.range_ms()
    return from_ms > to_ms


WIDTH_MS = {
    "minute": 60_000,
    "hour": 3_600_000,
    "day": timestamps.DAY_MS,
    "week": 7 * timestamps.DAY_MS,
    "month": 28 * timestamps.DAY_MS,
}


def is_too_long(asked: Asked, interval: str) -> bool:
    """Whether the range may have more intervals than an answer has points; clocks may cut some in two."""
    from_ms, to_ms = asked.range_ms()
    return 2 * ((to_ms - from_ms) // WIDTH_MS[interval] + 2) > CONFIG.query.limit_max


def keys_deep(asked: Asked) -> int:
    paths = (text.removeprefix("meta:") for name in ("under", "key") for text in asked.texts(name))
    return sum(len(parse_field("", f"meta:{path}").path) for path in paths)


def compares_badly(asked: Asked) -> bool:
    begin, _, end = asked.text("compare").partition("..")
    zone = next(iter(asked.texts("tz")), None)
    begin = resolved(begin.strip(), "from", ms(NOW), zone)
    end = resolved(end.strip(), "to", ms(NOW), zone)
    if names_no_time(begin) or names_no_time(end):
        return True
    return timestamp_ms("", begin, "from", zone) > timestamp_ms("", end, "to", zone)


def has_any_order(asked: Asked) -> bool:
    return asked.text("order") == "any" or any(text.endswith(":any") for text in asked.texts("stepOrder"))


class Excuse(NamedTuple):
    field: str
    message: str
    is_right: Callable[..., bool]  # of an `Asked`; what a lambda has by default is its own
    routes: tuple[Route, ...] = tuple(READS.values())  # those of them that have the parameter


EXCUSES = (
    *(
        # The calendar: 53 weeks, leap seconds; and in filters the days of months, too.
        Excuse(name, "not an ISO 8601", lambda asked, name=name: names_no_time(asked.text(name)))
        for name in ("from", "to", "before", "after")
    ),
    *(
        Excuse(
            name,
            "not an ISO 8601",
            lambda asked, name=name: any(map(names_no_time, times_in(asked.texts(name)))),
        )
        for name in ("filter", "any", "stepFilter", "measure")
    ),
    # What no pattern can say of a condition.
    *(
        Excuse(
            name, message, lambda asked, name=name, word=word: any(word in one for one in asked.texts(name))
        )
        for name in ("filter", "any", "stepFilter", "measure")
        for message, word in (("the regular expression", "matches:"), ("regular expressions", "matches:"))
    ),
    *(
        Excuse(
            name, message, lambda asked, name=name, word=word: any(word in one for one in asked.texts(name))
        )
        for name in ("filter", "any", "stepFilter", "measure")
        for message, word in (
            ("which is not saved", "segment("),
            ("more than 5 segments", "("),
            ("a segment over", "("),
            ("has no range", "("),
            ("a live stream has no first_seen", "first_seen("),
        )
    ),
    # Two parameters that contradict each other.
    Excuse(
        "metadata", "has it as text only", lambda asked: asked.text("metadata") != "text", (export.STREAM,)
    ),
    Excuse("from", "is later than to", begins_after_its_end),
    Excuse("key", "keys deep", lambda asked: keys_deep(asked) > PATH_KEYS_MAX, (properties.ENDPOINT,)),
    Excuse(
        "compare",
        "compare",
        compares_badly,
        (summary.ENDPOINT, top.ENDPOINT, timeseries.ENDPOINT, active.ENDPOINT, funnel.ENDPOINT),
    ),
    Excuse(
        "compare",
        "with compare the answer has more",
        lambda asked: True,  # the range, or what it is compared with, is too long
        (timeseries.ENDPOINT, active.ENDPOINT, funnel.ENDPOINT),
    ),
    Excuse(
        "average",
        "average is given with cumulative",
        lambda asked: asked.flag("cumulative") and bool(asked.texts("average")),
        (timeseries.ENDPOINT, active.ENDPOINT, funnel.ENDPOINT),
    ),
    Excuse(
        "measure",
        "measure is given with cumulative",
        lambda asked: asked.flag("cumulative") and bool(asked.texts("measure")),
        (funnel.ENDPOINT,),
    ),
    *(
        Excuse(
            name,
            f"{name} is given without interval",
            lambda asked, name=name: bool(asked.texts(name)) and not asked.texts("interval"),
            (funnel.ENDPOINT,),
        )
        for name in ("cumulative", "average")
    ),
    *(
        Excuse(
            name,
            f"{name} is given with cumulative",
            lambda asked, name=name: asked.flag("cumulative") and bool(asked.texts(name)),
            (active.ENDPOINT,),
        )
        for name in ("rolling", "stickiness")
    ),
    Excuse(
        "average",
        "with average the answer has more",
        lambda asked: bool(asked.texts("groupBy")) or is_too_long(asked, asked.text("interval")),
        (timeseries.ENDPOINT, active.ENDPOINT),
    ),
    Excuse(
        "top",
        "top is given without groupBy",
        lambda asked: bool(asked.texts("top")) and not asked.texts("groupBy"),
        (timeseries.ENDPOINT,),
    ),
    Excuse(
        "other",
        "other is given without top",
        lambda asked: asked.flag("other") and not asked.texts("top"),
        (timeseries.ENDPOINT,),
    ),
    Excuse(
        "order",
        "order is -value without a measure",
        lambda asked: asked.text("order") == "-value" and not asked.texts("measure"),
        (top.ENDPOINT,),
    ),
    Excuse(
        "stepFilter",
        "is for step",
        lambda asked: any(
            int(text.partition(":")[0]) > len(asked.texts("step")) for text in asked.texts("stepFilter")
        ),
        (funnel.ENDPOINT,),
    ),
    *(
        Excuse(
            name,
            "is for step",
            lambda asked, name=name: any(
                int(number) > len(asked.texts("step"))
                for text in asked.texts(name)
                for number in re.findall("^([0-9]+):", text)
            ),
            (funnel.ENDPOINT,),
        )
        for name in ("stepOrder", "exclude")
    ),
    *(
        Excuse(
            "exclude",
            message,
            lambda asked, wrong=wrong: any(re.match(wrong, text) for text in asked.texts("exclude")),
            (funnel.ENDPOINT,),
        )
        for message, wrong in (("with none before it", "0*1?:"), ("names no event type", r"[0-9]+:\s*$"))
    ),
    *(
        Excuse(name, message, has_any_order, (funnel.ENDPOINT,))
        for name, message in (
            ("stepOrder", "is in any order with another one"),
            ("exclude", "is in any order with another one"),
            ("step", "in any order"),
        )
    ),
    Excuse(
        "rolling",
        "rolling needs interval=day",
        lambda asked: asked.text("interval") != "day",
        (active.ENDPOINT,),
    ),
    Excuse(
        "stickiness",
        "stickiness of a day is not defined",
        lambda asked: (
            asked.text("interval") == "day" and asked.flag("stickiness") and not asked.texts("rolling")
        ),
        (active.ENDPOINT,),
    ),
    # A range that has too many intervals, by the calendar.
    Excuse(
        "rolling",
        "with rolling the answer has more",
        lambda asked: is_too_long(asked, "day"),
        (active.ENDPOINT,),
    ),
    Excuse(
        "fill",
        "with fill the answer has more",
        lambda asked: (
            asked.flag("fill")
            and (bool(asked.texts("groupBy")) or is_too_long(asked, asked.text("interval")))
        ),
        (timeseries.ENDPOINT,),
    ),
    Excuse(
        "interval",
        "the range has more than",
        lambda asked: is_too_long(asked, asked.text("interval")),
        (retention.ENDPOINT, funnel.ENDPOINT),
    ),
    # No answer gave it: what a cursor holds is the server's own.
    Excuse(
        "cursor",
        "is not a cursor of",
        lambda asked: bool(asked.texts("cursor")),
        (timeline.ENDPOINT, sessions.ENDPOINT, top.ENDPOINT),
    ),
)


def is_excused(asked: Asked, status: int, error: dict[str, Any]) -> bool:
    if error["code"] == "bad_request":
        return "LineTooLong" in error["detail"] and asked.line_bytes > LINE_BYTES_MAX
    if status == 422:
        # More than the default limit; with a `limit` it is a warning.
        return error["code"] == "result_too_large" and not asked.texts("limit")
    return status == 400 and any(
        asked.route in excuse.routes
        and asked.has(excuse.field)
        and excuse.field == error.get("field")
        and excuse.message in error["message"]
        and excuse.is_right(asked)
        for excuse in EXCUSES
    )


def test_every_excuse_is_for_a_parameter_of_its_routes():
    for excuse in EXCUSES:
        having = [route for route in excuse.routes if excuse.field in {one.name for one in route.parameters}]
        assert having, excuse
        assert excuse.routes == tuple(READS.values()) or having == list(excuse.routes), excuse


class Judge:
    """Asks questions of one operation, and says of each answer whether it is as the description has it."""

    def __init__(self, served: Served, described: dict[str, Any], path: str) -> None:
        self._served = served
        self._path = path
        (method,) = described["paths"][path]
        self._operation = schemathesis.openapi.from_dict(described)[path][method.upper()]
        self.statuses: Counter[int] = Counter()

    def ask(self, mode: GenerationMode) -> Counter[int]:
        @ASKED
        @given(case=self._operation.as_strategy(generation_mode=mode))
        def question(case: Any) -> None:
            served = self._served
            if self._path == BEACON:
                case.query = {**(case.query or {}), "k": ANY}
            answer = case.call(base_url=served.url, headers=served.headers, session=served.session)
            self.statuses[answer.status_code] += 1
            checks = [*CHECKS, *self._more_checks(answer, mode)]
            case.validate_response(answer, checks=checks, headers=served.headers)

        question()
        assert self.statuses
        return self.statuses

    def _more_checks(self, answer: Any, mode: GenerationMode) -> list[Any]:
        """Those of schemathesis that are about this question. Raises `AssertionError` itself for what they
        leave out."""
        url, status = answer.request.url, answer.status_code
        if self._path in READS:
            excluded, is_allowed = judged_read(Asked(READS[self._path], url), answer)
        elif (size_max := BODY_BYTES_MAX.get(self._path, 0)) < len(answer.request.body or b""):
            assert (status, answer.json()["code"]) == (413, "body_too_large"), size_max
            excluded, is_allowed = False, False
        elif self._path == query.PATH:
            excluded = not is_json(answer.request.body) or not is_valid(
                {"$ref": "#/components/schemas/Questions"}, json.loads(answer.request.body)
            )
            is_allowed = not excluded
            if excluded and status == 200:
                assert fails_by_its_conditions_alone(answer), answer.content
                excluded = False
            assert status == 400 if excluded else status == 200, answer.content
        else:
            excluded, is_allowed = judged_events(self._path, answer)
        if mode == GenerationMode.POSITIVE:
            assert not excluded, (url, answer.request.body)
            return [positive_data_acceptance] if is_allowed else []
        return [negative_data_rejection] if excluded else []


def fails_by_its_conditions_alone(answer: Any) -> bool:
    """Whether nothing is excluded but conditions: they are a question's own, and others are answered."""

    def without(arguments: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in arguments.items() if name.lower() != "filter"}

    asked = json.loads(answer.request.body)
    rest = {**without(asked), "queries": {name: without(one) for name, one in asked["queries"].items()}}
    failed = [one for one in answer.json()["results"].values() if "error" in one]
    return bool(failed) and is_valid({"$ref": "#/components/schemas/Questions"}, rest)


def judged_read(asked: Asked, answer: Any) -> tuple[bool, bool]:
    """Whether the description excludes the question; and whether it has to be answered."""
    excluded = asked.excluded
    if answer.status_code == 200:
        assert not excluded, (answer.request.url, excluded)
        return False, True
    error = answer.json()
    assert (answer.status_code == 400 and error.get("field") in excluded) or is_excused(
        asked, answer.status_code, error
    ), f"{answer.request.url}\n{excluded}\n{error}"
    return bool(excluded), False


# Reading


@each_endpoint
def test_sensible_questions_are_answered_as_described(served: Served, endpoint: Endpoint[Any]):
    described = asked_quickly()
    told = described["paths"][endpoint.path]["get"]["parameters"]
    told[:] = [parameter for parameter in told if parameter["name"] != "cursor"]
    for parameter in told:
        values = SENSIBLE.get(parameter["name"])
        if values is not None:
            schema = parameter["schema"]
            narrowed = schema.get("items", schema)
            narrowed.clear()
            narrowed |= {"type": "string", "enum": values}
    assert Judge(served, described, endpoint.path).ask(GenerationMode.POSITIVE)[200]


@each_read
def test_all_that_is_allowed_is_answered_as_described(served: Served, route: Route):
    assert Judge(served, asked_quickly(), route.path).ask(GenerationMode.POSITIVE)[200]


@each_read
def test_all_that_is_not_allowed_is_refused_as_described(served: Served, route: Route):
    described = asked_quickly()
    # Else half of the questions have nothing wrong but the token.
    del described["paths"][route.path]["get"]["security"]
    assert Judge(served, described, route.path).ask(GenerationMode.NEGATIVE)[400]


@each_endpoint
def test_the_curl_line_of_the_documents_works_as_it_is_written(served: Served, endpoint: Endpoint[Any]):
    (url,) = curl_lines(sections()[endpoint.path])
    answer = served.get(url.geturl(), {})
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()


def nonsense(parameter: Parameter) -> st.SearchStrategy[str] | None:
    """Texts that the parameter's schema excludes. None if it takes any text, and for a token."""
    if parameter.kind == "text" and parameter.pattern is None:
        return None
    texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
    written = texts | st.sampled_from(["null", "[]", "1e9999", "-", "true", "view:eq:", "2024-13-01", "٣"])
    return written.filter(lambda text: bool(text.strip()) and is_excluded(parameter, text))


@each_read
def test_what_makes_no_sense_is_refused_by_its_name(served: Served, route: Route):
    refusable = {
        parameter.name: found for parameter in route.parameters if (found := nonsense(parameter)) is not None
    }
    required = {
        parameter.name: ["view", "click"] if parameter.repeatable else "view"
        for parameter in route.parameters
        if parameter.required
    }

    @ASKED
    @given(st.sampled_from(sorted(refusable)).flatmap(lambda name: st.tuples(st.just(name), refusable[name])))
    def question(asked: tuple[str, str]) -> None:
        name, value = asked
        answer = served.get(route.path, {**required, name: value})
        assert answer.status_code == 400, answer.text
        assert (answer.json()["code"], answer.json()["field"]) == ("invalid_parameter", name)

    question()


# Several reads in one request


def sensible_question(endpoint: Endpoint[Any]) -> dict[str, Any]:
    """The schema of a question that has an answer."""
    properties: dict[str, Any] = {"endpoint": {"const": endpoint.name}}
    for parameter in endpoint.parameters:
        values = SENSIBLE.get(parameter.name)
        one = {"enum": values} if values else parameter_schema(parameter)
        if parameter.repeatable:
            bounds = parameter_schema(parameter) | {"maxItems": min(3, parameter.count_max or FILTERS_MAX)}
            one = {**bounds, "items": {"enum": values}}
        properties[parameter.name] = one
    properties.pop("cursor", None)
    return {
        "type": "object",
        "properties": properties,
        "required": [
            "endpoint",
            *(parameter.name for parameter in endpoint.parameters if parameter.required),
        ],
        "additionalProperties": False,
    }


def test_several_sensible_questions_are_all_answered_as_described(served: Served):
    described = asked_quickly()
    schemas = described["components"]["schemas"]
    schemas["Question"] = {"oneOf": [sensible_question(endpoint) for endpoint in ENDPOINTS]}
    schemas["Questions"]["properties"] = {"queries": schemas["Questions"]["properties"]["queries"]}
    schemas["Questions"]["properties"]["queries"]["maxProperties"] = 3
    assert Judge(served, described, query.PATH).ask(GenerationMode.POSITIVE)[200]


def test_all_questions_that_are_allowed_are_answered_as_described(served: Served):
    statuses = Judge(served, asked_quickly(), query.PATH).ask(GenerationMode.POSITIVE)
    assert set(statuses) == {200}


def test_questions_that_are_not_allowed_are_refused_as_described(served: Served):
    described = asked_quickly()
    del described["paths"][query.PATH]["post"]["security"]
    assert Judge(served, described, query.PATH).ask(GenerationMode.NEGATIVE)[400]


# Sending: no engine behind it, a real log


# What a key that fixes neither may not omit. Tokens and bound keys: tests/ingest/test_ingest_tokens.py.
WHOSE = ["projectId", "tenantId"]
EVENT = {"$ref": "#/components/schemas/Event", "required": WHOSE}


def is_json(body: bytes | str | None) -> bool:
    def no_number(text: str) -> None:
        raise ValueError(text)

    try:
        json.loads(body or b"", parse_constant=no_number)
    except ValueError:
        return False
    return True


def depends_on_its_time(event: Any) -> bool:
    """Whether the calendar and the window of times decide about it, of which no schema knows."""
    return isinstance(event, dict) and (
        event.get("timestamp") is not None or event.get("eventId") is not None
    )


def judged_events(path: str, answer: Any) -> tuple[bool, bool]:
    """Whether the description excludes the body or a parameter; and whether it has to be taken."""
    status, body = answer.status_code, answer.request.body
    wait = [
        text
        for name, text in parse_qsl(urlsplit(answer.request.url).query, keep_blank_values=True)
        if name.lower() == "wait"
    ]
    if path == BATCH and (
        len(wait) > 1 or not {*map(str.lower, map(str.strip, wait))} <= {"", "true", "false", "0", "1"}
    ):
        assert status == 400, answer.content
        assert answer.json()["field"] == "wait"
        return True, False
    if not is_json(body):
        assert status == 400, (body, answer.content)
        return True, False
    said = json.loads(body)
    events = said if path != TRACK and isinstance(said, list) else [said]
    good = [is_valid(EVENT, event) for event in events]
    sure = [fine and not depends_on_its_time(event) for event, fine in zip(events, good, strict=True)]
    if path == BEACON:
        # Nobody reads the answer: what is not valid is dropped.
        assert status == 204 if any(sure) else status in (204, 400), answer.content
    elif path == TRACK:
        if status == 202:
            assert all(good), body
        else:
            assert not any(sure), (body, answer.content)
            assert status == 400, answer.content
            if any(good):
                field = answer.json().get("field")
                assert field in ("timestamp", "eventId"), (body, answer.content)
    else:
        told = answer.json()
        if "accepted" not in told:
            assert status == 400, told
            assert not any(good), (body, told)
            return True, False
        assert (status in (200, 202)) == (told["accepted"] > 0), told
        assert status in (200, 202, 400), told
        assert told["accepted"] + told["rejected"] == len(events)
        assert sum(sure) <= told["accepted"] <= sum(good), (body, told)
        refused = {error["index"] for error in told["errors"]}
        assert refused >= {index for index, fine in enumerate(good[:100]) if not fine}, told
        assert not refused & {index for index, is_sure in enumerate(sure) if is_sure}, told
    if not good:  # an empty array
        return path != BEACON, path == BEACON
    # A batch that has a valid event is taken, whatever else is in it.
    return not any(good), all(sure)


@pytest.mark.parametrize("path", [TRACK, BATCH, BEACON])
def test_events_that_the_schema_allows_are_taken(taking: Served, path: str):
    described = without_lines(path)
    # Whether a time is within the window is not for a schema to say.
    event = described["components"]["schemas"]["Event"]
    del event["properties"]["timestamp"]
    event["required"] = event["required"] + WHOSE
    statuses = Judge(taking, described, path).ask(GenerationMode.POSITIVE)
    assert set(statuses) <= {200, 202, 204}


@pytest.mark.parametrize("path", [TRACK, BATCH])
def test_events_that_the_schema_does_not_allow_are_refused(taking: Served, path: str):
    """Of a batch those alone, by their place in it."""
    described = without_lines(path)
    del described["paths"][path]["post"]["security"]
    assert Judge(taking, described, path).ask(GenerationMode.NEGATIVE)[400]


def without_lines(path: str) -> dict[str, Any]:
    """To NDJSON the description is a text."""
    described = asked_quickly()
    content = described["paths"][path]["post"]["requestBody"]["content"]
    for kind in set(content) - {"application/json"}:
        del content[kind]
    return described
