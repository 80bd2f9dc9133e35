"""`bench drain`: how fast a backlog gets into ClickHouse, and what `track` notices of it.

A node without ClickHouse fills a log. In alternating rounds, a bulk load inserts the rows of that log into an
empty table of the embedded engine, in few large requests; and a node with a copy of the log drains it into an
empty engine of its own. Then clients send events to such a node while it drains, and again after it has
drained.
"""

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from nealytics.bench.load import Load, Result
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import (
    BenchError,
    Product,
    checked_load,
    engine,
    launched,
    memory_kb,
    product,
    workplace,
)
from nealytics.bench.runs import queue
from nealytics.clickhouse.rowbinary import insert_sql
from nealytics.clickhouse.schema import create_statements
from nealytics.config import ClickHouseConfig
from nealytics.wal.files import OS_FILES
from nealytics.wal.reader import Reader
from nealytics.wal.recovery import load_segments

CONNECTIONS = 8
# Of one request of the bulk load: five times the largest batch. In memory these are some 130 MB.
_BULK_ROWS = 500_000
_BULK_BYTES_MAX = 256 * 1024 * 1024 - 1  # one block of ClickHouse
_SAMPLE_S = 0.2
_COMMITTED = "nealytics_events_committed_total"


class Drain(msgspec.Struct, kw_only=True):
    """One log that was drained."""

    events_per_s: float
    rss_kb_first: int  # of the worker, after the first batch
    rss_kb_max: int


class DrainReport(msgspec.Struct, kw_only=True):
    machine: Machine
    events: int
    bulk_per_s: list[float]
    drains: list[Drain]
    ratio: float  # drain ÷ bulk load, median of the pairs
    beside: list[Result]  # `track` while the log drains
    alone: list[Result]  # and afterwards
    track_p99_ratio: float
    beside_rss_kb_max: int


async def drain(
    *, events: int, rounds: int, seconds: float, program: Path | None, directory: Path | None, say: Say
) -> DrainReport:
    with workplace(directory, say) as (root, machine):
        with product(root / "filled", clickhouse=False) as node:
            events = queue(node, events, say)
        bulk_per_s, drains = [], []
        for number in range(1, rounds + 1):
            bulk_per_s.append(await _bulk(root, events))
            say(f"bulk load {number}  {bulk_per_s[-1]:>10,.0f} events/s")
            drains.append(_drain(root, events, program))
            say(_line(f"drain {number}", drains[-1]))
        beside, alone, rss_kb = _track(root, events, seconds, program)
        ratio = statistics.median(
            ours.events_per_s / bulk for ours, bulk in zip(drains, bulk_per_s, strict=True)
        )
        p99 = [statistics.median(result.p99_ms for result in results) for results in (beside, alone)]
        report = DrainReport(
            machine=machine,
            events=events,
            bulk_per_s=bulk_per_s,
            drains=drains,
            ratio=ratio,
            beside=beside,
            alone=alone,
            track_p99_ratio=p99[0] / p99[1],
            beside_rss_kb_max=rss_kb,
        )
        say(
            f"drain / bulk load of the same {events:,} events = {ratio:.2f}; p99 of track, {CONNECTIONS} "
            f"connections, beside a drain {p99[0]:.1f} ms, afterwards {p99[1]:.1f} ms: "
            f"{report.track_p99_ratio:.2f} ({len(beside)} rounds each); worker at most {rss_kb / 1024:.0f} MB"
        )
        return report


async def _bulk(root: Path, last_lsn: int) -> float:
    """Events a second of the insert requests alone."""
    config = ClickHouseConfig()
    wal = root / "filled" / "data" / "wal" / "0"
    segments = load_segments(OS_FILES, wal, OS_FILES.names(wal))[0]
    reader = Reader(OS_FILES)
    took, lsn = 0.0, 1
    try:
        async with engine(root / "bulk") as client:
            for statement in create_statements(config.database, config.retention_days):
                await client.command(statement)
            while lsn <= last_lsn:
                rows = reader.read(segments, last_lsn, lsn, _BULK_ROWS, _BULK_BYTES_MAX)
                sql = insert_sql(config.database, rows.row_format)
                began = time.perf_counter()
                await client.insert(sql, rows.payload, token=f"bulk-{lsn}")
                took += time.perf_counter() - began
                lsn = rows.last_lsn + 1
    finally:
        reader.close()
        shutil.rmtree(root / "bulk")
    return last_lsn / took


def _drain(root: Path, events: int, program: Path | None) -> Drain:
    """Measured from the first batch that is stored, without the start of the engine."""
    with _draining(root, program) as node:
        (worker,) = node.worker_pids()
        samples: list[tuple[float, float]] = []
        rss_kb_first = 0
        while not samples or samples[-1][1] < events:
            if committed := node.metric(_COMMITTED):
                samples.append((time.monotonic(), committed))
                rss_kb_first = rss_kb_first or memory_kb(worker)[0]
            time.sleep(_SAMPLE_S)
        (began, first), (ended, last) = samples[0], samples[-1]
        if first == last:
            raise BenchError("bench: the log drained before it could be measured; use more --events")
        _, rss_kb_max = memory_kb(worker)
    return Drain(
        events_per_s=(last - first) / (ended - began), rss_kb_first=rss_kb_first, rss_kb_max=rss_kb_max
    )


def _track(
    root: Path, events: int, seconds: float, program: Path | None
) -> tuple[list[Result], list[Result], int]:
    """Rounds that ended before the log was drained, but at least one, as many afterwards, and the worker's
    largest size."""
    beside: list[Result] = []
    with _draining(root, program) as node:
        (worker,) = node.worker_pids()
        while not node.metric(_COMMITTED):
            time.sleep(_SAMPLE_S)
        while node.metric(_COMMITTED) < events:
            result = _round(node, len(beside), seconds)
            if not beside or node.metric(_COMMITTED) < events:
                beside.append(result)
        if not beside:
            raise BenchError("bench: the log drained before a round of track began; use more --events")
        _, rss_kb = memory_kb(worker)
        alone = [_round(node, len(beside) + 1 + number, seconds) for number in range(len(beside))]
    return beside, alone, rss_kb


def _round(node: Product, number: int, seconds: float) -> Result:
    wanted = Load.of_round("track", connections=CONNECTIONS, seconds=seconds, number=number, warmup_s=0.2)
    return checked_load("track", node.port, wanted)


@contextmanager
def _draining(root: Path, program: Path | None) -> Iterator[Product]:
    """A node that has just been started with a copy of the log, and an empty engine."""
    copy = root / "node"
    shutil.copytree(root / "filled", copy)
    try:
        with launched(copy, clickhouse=True, program=program) as node:
            node.wait_until_answers("/ready/ingest")  # /ready is 503 while old events wait
            yield node
    finally:
        shutil.rmtree(copy)


def _line(name: str, drained: Drain) -> str:
    return (
        f"{name}      {drained.events_per_s:>10,.0f} events/s   worker {drained.rss_kb_first / 1024:.0f} MB "
        f"after the first batch, at most {drained.rss_kb_max / 1024:.0f} MB"
    )
