"""`bench read`: every question through the API, and the same SQL directly to the engine, alternately.

The same SQL is what the API sends for the question: text, parameters and settings. So the ratio is the cost
of our own part: the token, the arguments, the query slot, reading ClickHouse's answer and writing ours. If a
question needs several queries, they are sent to the engine one after the other.
"""

import contextlib
import http.client
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from nealytics.auth.minting import mint
from nealytics.bench import events, processes
from nealytics.bench.load import quantile
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError
from nealytics.bench.questions import Question, questions, ranks_asked, session_sql
from nealytics.bench.read_server import SENT_PATH
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import engine_dir, read_access, running_engine
from nealytics.clickhouse.sql import TABLE, quoted
from nealytics.config import AuthConfig, ClickHouseConfig, Config, ServerConfig
from nealytics.queries import ENDPOINTS

_TIMEOUT_S = 120.0
# One statement of the generator writes a part with up to a sixth of all events.
_GENERATE_TIMEOUT_S = 3_600.0
_MADE = "bench-read.json"


class Timing(msgspec.Struct, kw_only=True):
    """Times through the API, times of the same queries sent directly, and the ratio of their pairs."""

    requests: int
    api_p50_ms: float
    api_p99_ms: float
    straight_p50_ms: float
    straight_p99_ms: float
    ratio: float  # API ÷ straight: median of the pairs


class Measured(msgspec.Struct, kw_only=True):
    """One question of one tenant."""

    endpoint: str
    query: str
    range: str
    tenant: str
    queries: int  # that the API sent for it
    answer_bytes: int
    timing: Timing


class ReadReport(msgspec.Struct, kw_only=True):
    machine: Machine
    events: int
    tenants: int
    rounds: int
    generated_seconds: float | None  # None if the data was there
    questions: list[Measured]
    endpoints: dict[str, Timing]  # each over all its questions
    endpoints_of: dict[str, dict[str, Timing]]  # tenant → endpoint → over its questions of this tenant
    events_of: dict[str, int]  # tenant → its events, each counted once
    disk_bytes: int  # of the table
    engine_rss_kb_max: int
    api_rss_kb_max: int


class _Made(msgspec.Struct):
    """Describes the events in a directory; stored beside the engine's data."""

    events: int
    tenants: int
    fingerprint: str
    complete: bool


class _Pairs:
    """The times of one question, and the means to ask it both ways."""

    def __init__(
        self,
        question: Question,
        api: http.client.HTTPConnection,
        engine: http.client.HTTPConnection,
        credentials: dict[str, str],
        authorization: str,
    ) -> None:
        self.question = question
        self._api = api
        self._engine = engine
        self._headers = {"Authorization": authorization}
        self._credentials = credentials
        self._straight: list[tuple[str, bytes]] = []
        self.api_s: list[float] = []
        self.straight_s: list[float] = []
        self.answer_bytes = 0

    def prepare(self) -> None:
        """Finds the queries that the API sends for the question, and warms up."""
        self._ask_api()
        request(self._api, "GET", SENT_PATH)  # discards the proof of the fence before the first question
        self.answer_bytes = len(self._ask_api())
        sent = json.loads(request(self._api, "GET", SENT_PATH))
        self._straight = [(f"/?{urlencode(parameters)}", sql.encode()) for parameters, sql in sent]
        self._ask_straight()

    def measure(self, *, api_first: bool) -> None:
        for of_api in (api_first, not api_first):
            began = time.perf_counter()
            if of_api:
                self._ask_api()
            else:
                self._ask_straight()
            (self.api_s if of_api else self.straight_s).append(time.perf_counter() - began)

    def measured(self) -> Measured:
        return Measured(
            endpoint=self.question.endpoint,
            query=self.question.query,
            range=self.question.range,
            tenant=self.question.tenant,
            queries=len(self._straight),
            answer_bytes=self.answer_bytes,
            timing=_timing([self]),
        )

    def _ask_api(self) -> bytes:
        return request(self._api, "GET", self.question.url, headers=self._headers)

    def _ask_straight(self) -> None:
        for target, sql in self._straight:
            request(self._engine, "POST", target, sql, self._credentials)


async def read(
    *,
    events_count: int,
    tenants: int,
    ranks: Sequence[int],
    rounds: int,
    only: Sequence[str],
    data: Path | None,
    directory: Path | None,
    say: Say,
) -> ReadReport:
    """Generates the events, unless `data` already has them, and measures.

    `ranks` are those of the tenants that are asked, the largest is 1; if there are none, a large, a median
    and a small one."""
    ranks = ranks or ranks_asked(tenants)
    if max(ranks) > tenants:
        raise BenchError(f"bench: there is no tenant with rank {max(ranks)} among {tenants} tenants")
    with processes.workplace(directory, say, data=data) as (root, machine):
        config = config_of(root)
        async with engine_with_events(config, root, events_count, tenants, say) as generated_s:
            sessions = await _sessions(config)
            events_of, disk_bytes = await _sizes(config, ranks)
            with processes.read_server(config, root) as (port, pid):
                pairs = _pairs(config, port, ranks, sessions, only)
                _measure(pairs, rounds, say)
                _, api_rss_kb = processes.memory_kb(pid)
                (engine,) = set(processes.children(os.getpid())) - {pid}
                _, engine_rss_kb = processes.memory_kb(engine)
    report = ReadReport(
        machine=machine,
        events=events_count,
        tenants=tenants,
        rounds=rounds,
        generated_seconds=generated_s,
        questions=[each.measured() for each in pairs],
        endpoints=_by_endpoint(pairs),
        endpoints_of={
            name: _by_endpoint([each for each in pairs if each.question.tenant == name]) for name in events_of
        },
        events_of=events_of,
        disk_bytes=disk_bytes,
        engine_rss_kb_max=engine_rss_kb,
        api_rss_kb_max=api_rss_kb,
    )
    for line in _table(report):
        say(line)
    return report


@contextlib.asynccontextmanager
async def engine_with_events(
    config: Config, root: Path, events_count: int, tenants: int, say: Say
) -> AsyncIterator[float | None]:
    """The embedded engine with the events of `root`, which are generated if missing; gives the seconds that
    generating took."""
    made = _Made(events_count, tenants, events.fingerprint(events_count, tenants), complete=True)
    is_there = _is_there(root, made)
    async with running_engine(config, operator=True):
        yield await _provide(config, root, made, is_there=is_there, say=say)


def config_of(root: Path) -> Config:
    return Config(
        server=ServerConfig(data_dir=root),
        auth=AuthConfig(jwt_key=os.urandom(32).hex()),
        # The events have fixed times and must not expire. Long timeouts: a busy machine is measured, too.
        clickhouse=ClickHouseConfig(
            retention_days=0, insert_timeout_s=_GENERATE_TIMEOUT_S, query_timeout_s=_TIMEOUT_S
        ),
    )


def _is_there(root: Path, wanted: _Made) -> bool:
    """Whether `root` has the wanted events. Raises `BenchError` if it has other data."""
    path = root / _MADE
    if not path.exists():
        if engine_dir(root).exists():
            raise BenchError(
                f"bench: {root} holds data that `bench read` did not make; name another directory"
            )
        return False
    found = msgspec.json.decode(path.read_bytes(), type=_Made)
    if not found.complete:
        return False
    if found != wanted:
        raise BenchError(
            f"bench: {root} holds {found.events:,} events of {found.tenants} tenants (version"
            f" {found.fingerprint}, wanted is {wanted.fingerprint}); ask for those, or name another directory"
        )
    return True


async def _provide(config: Config, root: Path, made: _Made, *, is_there: bool, say: Say) -> float | None:
    """Ensures that the table has the events; returns the seconds that generating took."""
    database = config.clickhouse.database
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.apply(client, config.clickhouse)
        if is_there:
            await events.freeze(client, database)
            return None
        say(f"generating {made.events:,} events of {made.tenants} tenants")
        path = root / _MADE
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(made, complete=False)))
        began = time.monotonic()
        await events.generate(client, database, made.events, made.tenants)
        took = time.monotonic() - began
        path.write_bytes(msgspec.json.encode(made))
        say(f"generated in {took:.0f} s")
    return took


async def _sessions(config: Config) -> dict[str, str]:
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        return dict(await client.query(session_sql(client.endpoint.database)))


async def _sizes(config: Config, ranks: Sequence[int]) -> tuple[dict[str, int], int]:
    """The events of these tenants, and the bytes of the table."""
    names = [events.tenant(rank) for rank in ranks]
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        asked = ", ".join(map(quoted, names))
        found = await client.query(
            f"SELECT tenant_id, count() FROM {TABLE} WHERE tenant_id IN ({asked}) GROUP BY 1"
        )
        ((disk_bytes,),) = await client.query(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()"
            f" AND table = {quoted(TABLE)}"
        )
    counts = dict(found)
    return {name: int(counts.get(name, 0)) for name in names}, int(disk_bytes)


def _by_endpoint(pairs: Sequence[_Pairs]) -> dict[str, Timing]:
    return {
        name: _timing([each for each in pairs if each.question.endpoint == name])
        for name in dict.fromkeys(each.question.endpoint for each in pairs)
    }


def _pairs(
    config: Config, port: int, ranks: Sequence[int], sessions: Mapping[str, str], only: Sequence[str]
) -> list[_Pairs]:
    api = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    access = read_access(config.server.data_dir)
    if access is None:
        raise BenchError(f"bench: no engine runs in {config.server.data_dir}")
    engine = http.client.HTTPConnection("127.0.0.1", access.port, timeout=_TIMEOUT_S)
    user, password = access.user
    credentials = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    # A day, so that no token expires during a run on a slow machine.
    tokens = {
        name: mint(config.auth.jwt_key, events.PROJECT, name, 86_400, time.time())
        for name in map(events.tenant, ranks)
    }
    return [
        _Pairs(question, api, engine, credentials, f"Bearer {tokens[question.tenant]}")
        for question in questions(ENDPOINTS, ranks, sessions)
        if not only or question.endpoint in only
    ]


def _measure(pairs: list[_Pairs], rounds: int, say: Say) -> None:
    """Each round asks every question once each way, so other load on the machine affects all of them
    equally."""
    for each in pairs:
        each.prepare()
    began = time.monotonic()
    for number in range(rounds):
        for each in pairs:
            each.measure(api_first=number % 2 == 0)
        if number == 0:
            expected_s = (time.monotonic() - began) * rounds
            say(f"{len(pairs)} questions, {rounds} rounds: about {expected_s:.0f} s")


def request(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """The answer's body. Raises `BenchError` if the server does not answer, or answers with an error.

    An `OSError` must not leave this function: Click ends the program without a message on a broken pipe.
    """
    for is_last in (False, True):
        try:
            connection.request(method, target, body, headers or {})
            response = connection.getresponse()
            answer = response.read()
            break
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # A server closes a connection that is idle for some seconds. All requests here only read.
            if is_last or not isinstance(error, BrokenPipeError | ConnectionResetError):
                raise BenchError(
                    f"bench: port {connection.port} did not answer {target[:200]}: {error!r}; if the kernel"
                    " ended the engine or the read API for want of memory (dmesg), ask for fewer --events"
                ) from error
    if response.status != 200:
        raise BenchError(f"bench: {target[:200]} was answered {response.status}: {answer[:500]!r}")
    return answer


def _timing(pairs: Iterable[_Pairs]) -> Timing:
    both = [times for each in pairs for times in zip(each.api_s, each.straight_s, strict=True)]
    api, straight = (sorted(times) for times in zip(*both, strict=True))
    return Timing(
        requests=len(both),
        api_p50_ms=quantile(api, 0.5) * 1000,
        api_p99_ms=quantile(api, 0.99) * 1000,
        straight_p50_ms=quantile(straight, 0.5) * 1000,
        straight_p99_ms=quantile(straight, 0.99) * 1000,
        ratio=statistics.median(a / b for a, b in both),
    )


def _table(report: ReadReport) -> Iterable[str]:
    head = f"{'API p50':>9} {'p99 ms':>8}  {'straight':>8} {'p99 ms':>8}  {'ratio':>5}"
    yield f"{'':<73} {head}  queries"
    for each in report.questions:
        name = f"{each.endpoint} {each.query if len(each.query) <= 40 else each.query[:39] + '…'}"
        yield f"{name:<57} {each.range:<4} {each.tenant:<10} {_figures(each.timing)}  {each.queries:>7}"
    sections = {
        f"{name}, {report.events_of[name]:,} events: each endpoint over its questions": timings
        for name, timings in report.endpoints_of.items()
    }
    for title, timings in {**sections, "each endpoint over all its questions": report.endpoints}.items():
        yield ""
        yield f"{title:<73} {head}"
        for endpoint, timing in timings.items():
            yield f"{endpoint:<73} {_figures(timing)}"
    yield ""
    yield (
        f"table {report.disk_bytes / 1e9:.2f} GB; resident at most: engine"
        f" {report.engine_rss_kb_max / 1024:.0f} MB, read API {report.api_rss_kb_max / 1024:.0f} MB"
    )


def _figures(timing: Timing) -> str:
    return (
        f"{timing.api_p50_ms:>9.1f} {timing.api_p99_ms:>8.1f}  {timing.straight_p50_ms:>8.1f}"
        f" {timing.straight_p99_ms:>8.1f}  {timing.ratio:>5.2f}"
    )
