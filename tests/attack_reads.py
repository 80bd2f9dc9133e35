"""Requests that mean harm, by the thousand, against the read routes over the real engine.

    python -m tests.attack_reads [--requests 10000] [--seed 1]

The table holds the events of many scopes: two tenants of one project, tenants of the same names in another
project, and scopes whose names are themselves an attack. Every text of every event, in every field and in the
metadata, carries its owner's mark; so a mark in an answer says whose row it shows. Two tenants, and from time
to time the scopes with hostile names, ask with hostile values, parameters, claims and headers, and every
answer is held to this:

    no mark of another scope, wherever it is not a mere echo of what was asked
    no count above the number of events that the scope has
    no status above 499, and none that is not expected
    every error is JSON with a code and a message
    what is asked without harm has the same answer afterwards as before

The requests of a seed are always the same. Run by hand it prints how many there were of each status.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from jwt.api_jws import PyJWS
from yarl import URL

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.event import Event
from nealytics.queries import ENDPOINTS, STREAMS, export
from nealytics.queries.endpoint import Route
from nealytics.queries.params import Parameter
from tests.engine import RunningEngine, query_library, start_engine
from tests.http.reader import JWT_KEY, NOW, Reader, event

ROUTES: tuple[Route, ...] = (*ENDPOINTS, *STREAMS)
LIVE = "live"  # its answer has no end
PARQUET = export.CONTENT_TYPES["parquet"]

# What has broken other people's escaping, as the name of a tenant, as a value, as a path.
HOSTILE_NAMES = [
    "'",
    "\\",
    "\\'",
    "acme'",
    "acme\\",
    "' OR 1=1 --",
    "') OR ('1'='1",
    "acme' AND 1=1 /*",
    "\\' OR 1=1 --",
    "a\tb",
    "a\nb\r\n",
    "{tenant_id:String}",
    "{project_id:String}",
    "}",
    "{'nealytics_core.global_events': '1'}",
    "'}, {'x': '",
    "%27",
    "acme%",
    "_cme",
    "`",
    '"',
    "\\N",
    "NULL",
    "[1,2]",
    "\x01\x7f\x1b",
    "acme\u200b",
    "аcme",  # its first letter is Cyrillic
    "ACME",
    " acme",
    "acme ",
    "\u202eemca",
    "ａｃｍｅ",
    "漢字 🙂",
    "0",
    "1e3",
    "null",
    "; DROP TABLE nealytics_core.global_events",
    "' UNION ALL SELECT * FROM nealytics_core.global_events --",
]
VALUES = [
    *HOSTILE_NAMES,
    "",
    " ",
    "\0",
    "view\0",
    "..",
    ".",
    "\\.",
    "a" * 255 + "\\",
    "'" * 256,
    "é" * 256,
    "x" * 10_240,
    "'\\" * 5_120,
    "{p0:String}",
    "{p1:Int64}{token_0:String}",
    "${jndi:ldap://127.0.0.1/a}",
    "<script>alert(1)</script>",
    "-1",
    "0",
    "1.5",
    "1e400",
    "NaN",
    "inf",
    "9" * 40,
    "9" * 5_000,
    "9223372036854775808",
    "-9223372036854775809",
    "0x10",
    "١٢٣",
    "true",
    "0001-01-01",
    "9999-12-31T23:59:59.999999Z",
    "2024-02-30",
    "2024-06-15T12:00:00+99:00",
    "*",
    "a,b,c",
    ",".join(str(n) for n in range(120)),
    "event_type",
    "__proto__",
    "count()",
    "sleep(3)",
    "(SELECT count() FROM nealytics_core.global_events)",
    "file('/etc/passwd')",
    "../../etc/passwd",
    "Europe/../Berlin",
    "\ufeff\u0000\u2028",
]
# As they stand in the URL: broken percent-encoding and bytes that are no UTF-8.
RAW = [
    "%",
    "%2",
    "%zz",
    "%FF%FE",
    "%C0%A7",
    "%ED%A0%80",
    "%F5%80%80%80",
    "%00",
    "+",
    "%2B",
    "a%0d%0aX-A:%20b",
]
PARAMETER_NAMES = [
    "tenant_id", "tenantId", "project_id", "projectId", "param_tenant_id", "additional_table_filters",
    "database", "query", "final", "readonly", "limit[]", "filter'", "' OR 1=1", "p0", "__class__",
    "\0", "%", "{p0:String}", "session_key",
]  # fmt: skip
OPS = ["eq", "ne", "in", "contains", "starts", "gt", "lt", "exists", "eq", "like", "", "'", "EQ"]
FIELDS = ["event_type", "session_id", "user_id", "item_id", "event_id", "tenant_id", "timestamp", "meta:plan"]


class Scope(NamedTuple):
    project_id: str
    tenant_id: str
    mark: str
    count: int  # type: ignore[assignment]  # of its events; a tuple has a method of this name

    def text(self, of: str) -> str:
        """What its events hold: everything of theirs carries the mark."""
        return f"{of} of {self.mark}"


def scopes() -> list[Scope]:
    """Two tenants who attack each other, those of the same names elsewhere, and the hostile names."""
    named = [("shop", "acme", 40), ("shop", "globex", 60), ("blog", "acme", 50), ("blog", "globex", 50)]
    hostile = [("shop", name, 3) for name in HOSTILE_NAMES] + [(name, "acme", 3) for name in HOSTILE_NAMES]
    return [
        Scope(project_id, tenant_id, f"own{number:03}er", count)
        for number, (project_id, tenant_id, count) in enumerate(named + hostile)
    ]


MARK = re.compile(rb"own\d{3}er")


def events_of(scope: Scope) -> list[Event]:
    """A few sessions of the last day, with everything that an endpoint can show."""
    chance = random.Random(scope.mark)
    return [
        event(
            NOW - timedelta(milliseconds=chance.randrange(20 * 3_600_000)),
            project_id=scope.project_id,
            tenant_id=scope.tenant_id,
            session_id=scope.text(f"session {number % 7}"),
            user_id=scope.text(f"user {number % 5}") if number % 4 else None,
            event_type=scope.text(f"type {number % 3}"),
            item_id=scope.text(f"item {number % 6}") if number % 3 else None,
            metadata={
                "plan": scope.text("plan"),
                scope.text("key"): {"inner": scope.text("value")},
                "n": number,
            },
        )
        for number in range(scope.count)
    ]


class Request(NamedTuple):
    route: Route
    scope: Scope
    claims: dict[str, Any]
    tenant_id: str | None  # None: a token of the whole project
    query: str  # as it stands in the URL
    headers: dict[str, str]

    def __str__(self) -> str:
        return f"{self.route.name}?{self.query[:400]} of {self.scope[:2]} with {self.claims} {self.headers}"


class Attacker:
    """Makes requests of one seed."""

    def __init__(self, seed: str, everyone: list[Scope]) -> None:
        self._random = random.Random(seed)
        self._everyone = everyone

    def requests(self, attacker: Scope, count: int) -> Iterator[Request]:
        """`attacker` asks most of the time; one request in eight comes from another scope."""
        for _ in range(count):
            scope = attacker if self._chance(7 / 8) else self._random.choice(self._everyone)
            victim = self._random.choice(self._everyone[:4] if self._chance(0.8) else self._everyone)
            yield self._request(scope, victim)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _request(self, scope: Scope, victim: Scope) -> Request:
        # Live is asked less: every time somebody has to wait for it.
        route = self._random.choice(ROUTES)
        if route.name == LIVE and self._chance(0.6):
            route = self._random.choice(ENDPOINTS)
        pairs = []
        share = self._random.choice([0.02, 0.08, 0.25])  # all at once would find nothing
        for parameter in route.parameters:
            if parameter.required or self._chance(share):
                pairs += [(parameter.name, value) for value in self._values(parameter, victim)]
        if self._chance(0.15):
            pairs.append((self._random.choice(PARAMETER_NAMES), self._value(victim)))
        if pairs and self._chance(0.05):
            pairs.append(self._random.choice(pairs))
        if self._chance(0.1):
            self._random.shuffle(pairs)
        if self._chance(0.05):
            # Names have no case, so these are the same parameters, given twice or in another dress.
            pairs += [(name.swapcase(), value) for name, value in pairs[:2]]
        written = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs]
        if self._chance(0.08):
            name = self._random.choice(route.parameters).name if self._chance(0.8) else "x"
            written.append(f"{name}={self._random.choice(RAW)}")
        headers = {}
        if self._chance(0.05):
            headers["Last-Event-ID"] = self._header(victim)
        elif route.name == LIVE:
            headers["Last-Event-ID"] = self._random.choice(["0", "1", "999999999999999"])
        if self._chance(0.05):
            headers["If-None-Match"] = self._header(victim)
        if self._chance(0.1):
            headers["Accept"] = self._random.choice(["text/csv", PARQUET, "*/*", self._header(victim)])
        if self._chance(0.05):
            headers["Range"] = self._random.choice(["bytes=0-0", "bytes=-1", "items=1-2", "bytes=9-1,,"])
        return Request(
            route,
            scope,
            self._claims(victim) if self._chance(0.15) else {},
            None if self._chance(0.05) else scope.tenant_id,
            "&".join(written)[:60_000],
            headers,
        )

    def _header(self, victim: Scope) -> str:
        text = self._value(victim)[:8_000]
        return re.sub(r"[\0-\x1f\x7f]", "", text).encode("ascii", "replace").decode()

    def _claims(self, victim: Scope) -> dict[str, Any]:
        some = self._random.choice
        return some(
            [
                {"filters": [self._filter(victim) for _ in range(self._random.randint(1, 3))]},
                {"filters": some(VALUES)},
                {"filters": [some([1, None, {}, [], some(VALUES)])]},
                {"filters": [f"tenant_id:eq:{victim.tenant_id}"]},
                {"filters": ["tenant_id:ne:x' OR 1=1 --"]},
                {"endpoints": some([[], "all", ["*"], [some(VALUES)], [route.name for route in ROUTES]])},
                {"scope": some(["project", "project admin", ["project"], 1, some(VALUES)])},
                {"project": victim.project_id, "tenant": victim.tenant_id, "tenantId": victim.tenant_id},
                {"sub": some(VALUES), "jti": some(VALUES)},
                {"rps": some([0, -1, "9", 1e308, None, True, 10**30, {}])},
                {"aud": some(VALUES), "iss": 5, "nbf": "x"},
            ]
        )

    def _values(self, parameter: Parameter, victim: Scope) -> list[str]:
        count = self._random.randint(1, 3) if parameter.repeatable else 1
        good = (parameter.example or "").split("&")
        if parameter.repeatable and parameter.required and self._chance(0.7):
            # Steps of a funnel: as many as it needs, so that the others get past the check.
            return [self._text(victim) if self._chance(0.7) else one for one in good]
        return [self._one(parameter, victim) for _ in range(count)]

    def _one(self, parameter: Parameter, victim: Scope) -> str:
        if self._chance(0.12):
            return self._value(victim)
        if parameter.kind == "filter":
            filter_ = self._filter(victim)
            return f"{self._random.randint(1, 2)}:{filter_}" if "step" in parameter.name.lower() else filter_
        if parameter.kind == "field":
            return self._random.choice([*parameter.choices, self._path(victim)])
        if parameter.kind == "choice":
            return self._random.choice(parameter.choices)
        if parameter.kind == "timestamp":
            moment = NOW - timedelta(hours=self._random.randint(0, 60))
            return moment.isoformat()
        if parameter.kind == "integer":
            return str(self._random.randint(parameter.minimum or 1, parameter.maximum or 50))
        if parameter.kind == "flag":
            return self._random.choice(["true", "false"])
        if parameter.kind == "zone":
            return self._random.choice(["Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
        if parameter.kind == "duration":
            return f"{self._random.randint(1, 99)}{self._random.choice('smhd')}"
        return self._text(victim)

    def _text(self, victim: Scope) -> str:
        """A text that may be asked for: the victim's own, to the letter, or a hostile one."""
        whose = self._random.choice(["session 0", "user 1", "type 0", "type 1", "item 2", "plan", "key"])
        return victim.text(whose) if self._chance(0.6) else self._value(victim)[:256]

    def _value(self, victim: Scope) -> str:
        value = self._random.choice([*VALUES, victim.tenant_id, victim.mark, victim.text("session 0")])
        if self._chance(0.2):
            value = value[: self._random.randint(0, 40)] + self._random.choice(VALUES[:40])
        if self._chance(0.1):
            value = "".join(chr(self._random.choice([*range(128), 0x202E, 0x1F600])) for _ in range(20))
        return value

    def _path(self, victim: Scope) -> str:
        keys = [self._random.choice([self._text(victim), "plan", "n", "inner"]) for _ in range(3)]
        return "meta:" + ".".join(keys[: self._random.randint(1, 3)])

    def _filter(self, victim: Scope) -> str:
        field = self._random.choice(FIELDS) if self._chance(0.6) else self._path(victim)
        value = self._random.choice([self._text(victim), self._text(victim), "true", "5", "2024-06-15"])
        filter_ = f"{field}:{self._random.choice(OPS)}:{value}"
        if self._chance(0.2):
            kind = self._random.choice(["did", "not_did", "session_did", "session_first_seen"])
            name = self._random.choice([self._text(victim), "view", "purchase"])
            filter_ = f"{kind}({name}, {self._random.choice(['>=1', '<2', '1d', '30d'])})[{filter_}]"
        return f"not:{filter_}" if self._chance(0.1) else filter_


class Attack:
    """Sends what an `Attacker` makes and judges the answers."""

    def __init__(self, reader: Reader, everyone: list[Scope]) -> None:
        self._reader = reader
        self.everyone = everyone
        self._by_mark = {scope.mark: scope for scope in everyone}
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.shown: Counter[str] = Counter()  # answers in which the asker's own mark was seen, by route
        self.faults: list[str] = []

    async def run(self, requests: Iterator[Request], parallel: int = 8) -> None:
        # Without this client's own encoding: what is wrong in a URL has to arrive as it is.
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

            async def worker() -> None:
                for request in requests:
                    try:
                        await self._send(session, request)
                    except (aiohttp.ClientError, TimeoutError) as error:
                        self.faults.append(f"{error!r}: {request}")

            await asyncio.gather(*(worker() for _ in range(parallel)))

    async def _send(self, session: aiohttp.ClientSession, request: Request) -> None:
        url = URL(f"{self._reader.url}{request.route.path}?{request.query}", encoded=True)
        headers = {**request.headers, "Authorization": f"Bearer {signed(request)}"}
        async with session.get(url, headers=headers) as response:
            body = await (_beginning(response) if request.route.name == LIVE else response.read())
            if response.content_type == PARQUET:
                body = await self._unpacked(body)
            self.statuses[request.route.name, response.status] += 1
            fault = self.fault(request, response.status, response.content_type, body)
            if fault is not None:
                self.faults.append(f"{fault}: {request}\n  {response.status} {body[:400]!r}")

    async def _unpacked(self, body: bytes) -> bytes:
        """What is in a Parquet file, where no mark could be seen."""
        with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
            file.write(body)
            file.flush()
            rows = await asyncio.to_thread(query_library, f"SELECT * FROM file('{file.name}', 'Parquet')")
        return json.dumps(rows, ensure_ascii=False).encode()

    def fault(self, request: Request, status: int, content_type: str, body: bytes) -> str | None:
        """What is wrong with an answer; None if nothing is."""
        if status not in (200, 304, 400, 401, 403, 422):
            return f"status {status}"
        if status >= 400:
            return _fault_of_error(content_type, body)
        own, count = self._own_of(request)
        if content_type == "application/json" and body:
            answer = json.loads(body)
            body = json.dumps(without_echo(answer), ensure_ascii=False).encode()
            if (highest := highest_count(answer)) > count:
                return f"counts {highest} of {count}"
        marks = {mark.decode() for mark in MARK.findall(body)}
        self.shown[request.route.name] += bool(marks & own)
        foreign = marks - own
        return f"shows rows of {sorted(foreign)}" if foreign else None

    def _own_of(self, request: Request) -> tuple[set[str], int]:
        """The marks that the token's answers may show, and how many events it opens."""
        scope = request.scope
        own = [
            other
            for other in self.everyone
            if other.project_id == scope.project_id and request.tenant_id in (None, other.tenant_id)
        ]
        return {other.mark for other in own}, sum(other.count for other in own)

    async def plain_answers(self) -> dict[str, Any]:
        """What they get who ask for nothing special."""
        found = {}
        for scope in self.everyone:
            for route in ENDPOINTS if scope.count > 10 else ENDPOINTS[:1]:
                found[f"{scope.mark} {route.name}"] = await self.plain_answer(scope, route)
        return found

    async def plain_answer(self, scope: Scope, route: Route) -> dict[str, Any]:
        query = [
            f"{parameter.name}={quote(text)}"
            for parameter in route.parameters
            if parameter.required and parameter.example
            for text in parameter.example.split("&")
        ]
        status, body, _ = await self._reader.get(
            f"{route.path}?{'&'.join(query)}", project_id=scope.project_id, tenant_id=scope.tenant_id
        )
        assert status == 200, body
        return body


def signed(request: Request) -> str:
    """A token with whatever claims; a library for tokens would refuse to write some of them."""
    whose = {"scope": "project"} if request.tenant_id is None else {"tenant_id": request.tenant_id}
    claims = {
        "project_id": request.scope.project_id,
        "exp": int(time.time()) + 3600,
        **request.claims,
        **whose,
    }
    return PyJWS().encode(json.dumps(claims).encode(), JWT_KEY, "HS256")


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """What a stream says first; an error whole."""
    if response.status != 200:
        return await response.read()
    body = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            async for chunk in response.content.iter_any():
                body += chunk
    return body


def _fault_of_error(content_type: str, body: bytes) -> str | None:
    try:
        error = json.loads(body)
    except ValueError:
        return "an error that is not JSON"
    if content_type != "application/json":
        return f"an error as {content_type}"
    return None if error.get("code") and error.get("message") else "an error without code or message"


def without_echo(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what only repeats the question: its own texts, its warnings, a funnel's step names.

    What is in `events`, `items` or `points` is no echo.
    """
    kept = {
        key: value
        for key, value in answer.items()
        if key != "warnings" and (not isinstance(value, str) or key == "nextCursor")
    }
    for group in (kept, *kept.get("groups", []), *kept.get("trend", [])):
        if "steps" in group:
            group["steps"] = [{**step, "eventType": "", "filters": []} for step in group["steps"]]
    return kept


_COUNTS = re.compile(r"(?i)(^|[a-z])(count|events|sessions|users|starts|size|distinctValues)$")


def highest_count(answer: Any) -> int:
    """The greatest number in an answer that counts events, or what there cannot be more of than events."""
    if isinstance(answer, list):
        return max(map(highest_count, answer), default=0)
    if not isinstance(answer, dict):
        return 0
    return max(
        (
            value if isinstance(value, int) and _COUNTS.search(key) else highest_count(value)
            for key, value in answer.items()
        ),
        default=0,
    )


@contextlib.asynccontextmanager
async def attacked(engine: RunningEngine) -> AsyncIterator[Attack]:
    """The read routes over the engine, with everybody's events in the table, each twice."""
    config = Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        # Its own bounds are not what is tested here.
        query=QueryConfig(
            limit_max=1_000,
            exports_max=100,
            exports_per_token=100,
            live_streams_max=100,
            live_streams_per_token=100,
        ),
    )
    everyone = scopes()
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.apply(client, config.clickhouse)
        await client.command("TRUNCATE TABLE nealytics_core.global_events")
        await client.command("SYSTEM STOP MERGES nealytics_core.global_events")
        async with Reader(client, config) as reader:
            await reader.store_twice(*(one for scope in everyone for one in events_of(scope)))
            yield Attack(reader, everyone)


async def main(requests: int, seed: int) -> int:
    with (
        tempfile.TemporaryDirectory() as directory,
        start_engine(Path(directory), retention_days=0) as engine,
    ):
        async with attacked(engine) as attack:
            before = await attack.plain_answers()
            for attacker in attack.everyone[:2]:
                started = time.monotonic()
                attack.statuses.clear()
                attack.shown.clear()
                await attack.run(
                    Attacker(f"{seed} {attacker.tenant_id}", attack.everyone).requests(attacker, requests)
                )
                print(f"{attacker.tenant_id}: {requests} requests in {time.monotonic() - started:.0f} s")
                for (route, status), count in sorted(attack.statuses.items()):
                    shown = f"  {attack.shown[route]} with rows" if status == 200 else ""
                    print(f"  {route:12} {status}  {count:6}{shown}")
            if await attack.plain_answers() != before:
                attack.faults.append("afterwards, what is asked without harm has another answer")
    print(f"{len(attack.faults)} faults", *attack.faults[:20], sep="\n")
    return 1 if attack.faults else 0


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Hostile requests against the read routes.")
    options.add_argument("--requests", type=int, default=10_000, help="of each of the two tenants")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    raise SystemExit(asyncio.run(main(chosen.requests, chosen.seed)))
