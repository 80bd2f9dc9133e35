"""`bench page`: the tenant's page, which is one `POST /api/v1/analytics/query`.

    cold    the first request of a new engine and a new read API, the engine's files out of the page cache
    warm    the same request repeated
    first   warm, as lines: the time until the answers for the first chart have arrived
    alone   each of its questions in a separate request, warm

`QUESTIONS` are those that the page sends for thirty days; a test in tests/browser compares them with a
browser's request. tests/bench/first_chart.py measures the time until a browser shows the first chart.
"""

import contextlib
import http.client
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec

from nealytics.auth.minting import mint
from nealytics.bench import events, processes
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError
from nealytics.bench.read import config_of, engine_with_events, request
from nealytics.clickhouse.embedded import engine_dir
from nealytics.config import Config
from nealytics.http.query import NDJSON, PATH

_TIMEOUT_S = 120.0
_TOKEN_S = 86_400

# The last thirty days of the generated events.
RANGE = {"from": "2026-06-01", "to": "2026-06-30", "tz": "Europe/Berlin"}
_BEFORE = {"from": "2026-05-01", "to": "2026-05-31"}  # whole months are compared with whole months
FUNNEL = ("product_view", "add_to_cart", "cart", "purchase")

# In the order in which the page asks them: those of the first chart first.
QUESTIONS: dict[str, dict[str, Any]] = {
    "events": {"endpoint": "timeseries", "interval": "day", "fill": True},
    "events before": {"endpoint": "timeseries", "interval": "day", "fill": True, **_BEFORE},
    "summary": {"endpoint": "summary", "compare": f"{_BEFORE['from']}..{_BEFORE['to']}"},
    "users": {"endpoint": "active", "interval": "day", "by": "user"},
    "sessions": {"endpoint": "active", "interval": "day", "by": "session"},
    "top event_type": {"endpoint": "top", "dimension": "event_type", "limit": 8},
    "top item_id": {"endpoint": "top", "dimension": "item_id", "limit": 8},
    "active in 7 days": {"endpoint": "active", "interval": "day", "by": "user", "rolling": 7},
    "active in 30 days": {"endpoint": "active", "interval": "day", "by": "user", "rolling": 30},
    "heatmap": {"endpoint": "heatmap"},
    "funnel": {"endpoint": "funnel", "step": list(FUNNEL), "window": "7d", "by": "user"},
    "retention": {"endpoint": "retention", "interval": "week", "periods": 8, "from": "2026-05-12"},
    "properties": {"endpoint": "properties", "limit": 60, "values": 8},
}


class Times(msgspec.Struct, kw_only=True):
    """The times of one request."""

    requests: int
    median_ms: float
    least_ms: float
    most_ms: float


class Asked(msgspec.Struct, kw_only=True):
    """The page for one token."""

    whose: str
    events: int  # of its thirty days
    answer_bytes: int
    cold: Times
    warm: Times
    first: Times
    alone: dict[str, Times]


class PageReport(msgspec.Struct, kw_only=True):
    machine: Machine
    events: int
    tenants: int
    questions: int
    pages: list[Asked]


async def page(
    *,
    events_count: int,
    tenants: int,
    rounds: int,
    data: Path | None,
    directory: Path | None,
    say: Say,
) -> PageReport:
    """Generates the events, unless `data` already has them, and measures."""
    with processes.workplace(directory, say, data=data) as (root, machine):
        config = config_of(root)
        tokens = tokens_of(config, tenants)
        cold: dict[str, list[float]] = {whose: [] for whose in tokens}
        for _ in range(rounds):
            for whose, token in tokens.items():
                async with serving(config, root, events_count, tenants, say, cold=True) as port:
                    cold[whose].append(_seconds(port, token, QUESTIONS)[0])
        async with serving(config, root, events_count, tenants, say) as port:
            pages = [_asked(port, whose, token, cold[whose], rounds) for whose, token in tokens.items()]
    report = PageReport(
        machine=machine, events=events_count, tenants=tenants, questions=len(QUESTIONS), pages=pages
    )
    for line in _table(report):
        say(line)
    return report


def tokens_of(config: Config, tenants: int) -> dict[str, str]:
    """For the largest tenant; if there are several, also for a median one and for the whole project."""
    names: list[str | None] = [events.tenant(1)]
    if tenants > 1:
        names += [events.tenant((tenants + 1) // 2), None] if tenants > 2 else [None]
    return {
        name or "all tenants": mint(config.auth.jwt_key, events.PROJECT, name, _TOKEN_S, time.time())
        for name in names
    }


@contextlib.asynccontextmanager
async def serving(
    config: Config, root: Path, events_count: int, tenants: int, say: Say, *, cold: bool = False
) -> AsyncIterator[int]:
    """The port of a new read API over a new engine; `cold`: the page cache has none of the engine's files."""
    if cold and engine_dir(root).exists():
        drop_from_page_cache(engine_dir(root))
    async with engine_with_events(config, root, events_count, tenants, say):
        if cold:
            drop_from_page_cache(engine_dir(root))
        with processes.read_server(config, root) as (port, _):
            yield port


def drop_from_page_cache(directory: Path) -> None:
    """Makes the next read use the disk. Needs no privileges, unlike /proc/sys/vm/drop_caches."""
    for path in _files(directory):
        with contextlib.suppress(OSError):  # removed by a merge
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fdatasync(descriptor)  # the kernel keeps what is not written yet
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _files(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder, name) for name in names)


def _asked(port: int, whose: str, token: str, cold: Sequence[float], rounds: int) -> Asked:
    answer = _seconds(port, token, QUESTIONS)[1]  # warms up
    warm: list[float] = []
    first: list[float] = []
    alone: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    for _ in range(rounds):
        warm.append(_seconds(port, token, QUESTIONS)[0])
        first.append(_seconds_to(port, token, {"events", "events before"}))
        for name, question in QUESTIONS.items():
            alone[name].append(_seconds(port, token, {name: question})[0])
    return Asked(
        whose=whose,
        events=msgspec.json.decode(answer)["results"]["summary"]["events"],
        answer_bytes=len(answer),
        cold=_times(cold),
        warm=_times(warm),
        first=_times(first),
        alone={name: _times(times) for name, times in alone.items()},
    )


def _seconds(port: int, token: str, queries: Mapping[str, object]) -> tuple[float, bytes]:
    """The time until the last byte of the answer, and the answer."""
    body = msgspec.json.encode({**RANGE, "queries": queries})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.connect()
        began = time.perf_counter()
        answer = request(connection, "POST", PATH, body, headers)
        took = time.perf_counter() - began
    for name, result in msgspec.json.decode(answer)["results"].items():
        if "error" in result:
            raise BenchError(f"bench: {name} was answered {result['error']}")
    return took, answer


def _seconds_to(port: int, token: str, names: Set[str]) -> float:
    """The time until the answers of these names have arrived, when all questions are asked."""
    body = msgspec.json.encode({**RANGE, "queries": QUESTIONS})
    headers = {"Authorization": f"Bearer {token}", "Accept": NDJSON}
    missing = set(names)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    with contextlib.closing(connection):
        connection.connect()
        began = took = time.perf_counter()
        connection.request("POST", PATH, body, headers)
        for line in connection.getresponse():
            if missing:
                missing -= set(msgspec.json.decode(line).get("results", ()))
                took = time.perf_counter()
    if missing:
        raise BenchError(f"bench: {PATH} did not answer {', '.join(sorted(missing))}")
    return took - began


def _times(seconds: Sequence[float]) -> Times:
    ms = [each * 1000 for each in seconds]
    return Times(requests=len(ms), median_ms=statistics.median(ms), least_ms=min(ms), most_ms=max(ms))


def _table(report: PageReport) -> Iterator[str]:
    for asked in report.pages:
        yield ""
        yield (
            f"{asked.whose}: {asked.events:,} events in 30 days, {report.questions} questions,"
            f" an answer of {asked.answer_bytes:,} bytes"
        )
        yield f"{'':<20} {'median':>8} {'least':>8} {'most ms':>8}"
        for name, times in _rows(asked).items():
            yield f"{name:<20} {times.median_ms:>8.0f} {times.least_ms:>8.0f} {times.most_ms:>8.0f}"


def _rows(asked: Asked) -> dict[str, Times]:
    page = {"page, cold": asked.cold, "page, warm": asked.warm, "first chart, warm": asked.first}
    return page | asked.alone
