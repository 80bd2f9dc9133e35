"""The benchmarks: what is measured, in which order, and how it is told."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nealytics.bench import hostile as hostile_bodies
from nealytics.bench import processes
from nealytics.bench.load import Result, Route
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError, Product
from nealytics.config.tables import MIB

WARMUP_S = 1.0
TRACK_REQUESTS_MAX = 2_000_000
BATCH_REQUESTS_MAX = 20_000
_DRAIN_TIMEOUT_S = 300.0


class TrackReport(msgspec.Struct, kw_only=True):
    machine: Machine
    connections: int
    durable: list[Result]
    empty: list[Result]
    durable_per_second: float  # medians of the rounds
    empty_per_second: float
    ratio: float
    ratios: list[float]  # of each pair of rounds


class BatchReport(msgspec.Struct, kw_only=True):
    machine: Machine
    connections: int
    events_per_request: int
    rounds: list[Result]
    events_per_second: float  # median of the rounds
    committed: int  # events in ClickHouse at the end
    drain_seconds: float  # from the end of the load until ClickHouse had all
    committed_per_second: float  # from the first event to the last commit


class CompareReport(msgspec.Struct, kw_only=True):
    machine: Machine
    executable: str
    track: list[float]  # of each pair of rounds: the executable's events per second / this program's
    batch: list[float]
    track_ratio: float  # medians
    batch_ratio: float
    # The same for events per second of the worker's processor time: what the program costs, however
    # busy the machine is.
    track_work: list[float]
    batch_work: list[float]
    track_work_ratio: float
    batch_work_ratio: float


class HostileResult(msgspec.Struct, kw_only=True):
    """What one kind of body costs a client that sends `track` meanwhile."""

    name: str
    bytes_sent: int
    answers: int  # to the hostile requests, in the same time
    client: Result


class HostileReport(msgspec.Struct, kw_only=True):
    machine: Machine
    connections: int  # that send hostile bodies
    body_bytes_max: int
    alone: Result  # the client, without any
    hostile: list[HostileResult]


class MemoryReport(msgspec.Struct, kw_only=True):
    machine: Machine
    waiting: int
    log_bytes: int
    rss_kb: int
    rss_max_kb: int  # highest since the worker started
    draining_rss_max_kb: int  # of the worker that then starts with an engine and drains all of it
    drain_seconds: float
    limit_kb: int
    seconds: float

    @property
    def within_limit(self) -> bool:
        return max(self.rss_max_kb, self.draining_rss_max_kb) < self.limit_kb


def track(
    *,
    rounds: int,
    seconds: float,
    connections: int,
    workers: int,
    clickhouse: bool,
    directory: Path | None,
    say: Say,
) -> TrackReport:
    """Durable `track` and an empty aiohttp handler, in turns."""
    durable: list[Result] = []
    empty: list[Result] = []
    with (
        processes.workplace(directory, say) as (made, machine),
        processes.product(made / "node", clickhouse=clickhouse, workers=workers) as node,
        processes.baseline() as baseline_port,
    ):
        for number in range(rounds):
            for name, port, results in (
                ("empty handler", baseline_port, empty),
                ("durable track", node.port, durable),
            ):
                result = processes.load(
                    "track",
                    port,
                    connections=connections,
                    events=1,
                    warmup_s=WARMUP_S,
                    seconds=seconds,
                    requests_max=TRACK_REQUESTS_MAX,
                    first_number=number * TRACK_REQUESTS_MAX,
                )
                _check(name, result)
                results.append(result)
                say(_line(f"{name} {number + 1}", result))
            # The next baseline round shall not share the cores with what this round left to do.
            if clickhouse:
                _wait_drained(node)
    ratios = [a.events_per_second / b.events_per_second for a, b in zip(durable, empty, strict=True)]
    report = TrackReport(
        machine=machine,
        connections=connections,
        durable=durable,
        empty=empty,
        durable_per_second=_median(durable),
        empty_per_second=_median(empty),
        ratio=statistics.median(ratios),
        ratios=ratios,
    )
    say(
        f"durable track / empty aiohttp handler = {report.ratio:.2f}"
        f" (rounds {min(ratios):.2f} to {max(ratios):.2f}; {connections} connections,"
        f" {report.durable_per_second:,.0f} and {report.empty_per_second:,.0f} events/s)"
    )
    return report


def batch(
    *,
    rounds: int,
    seconds: float,
    connections: int,
    events: int,
    workers: int,
    directory: Path | None,
    say: Say,
) -> BatchReport:
    """Durable `batch`, while the committer drains into the embedded engine."""
    results: list[Result] = []
    with (
        processes.workplace(directory, say) as (made, machine),
        processes.product(made / "node", clickhouse=True, workers=workers) as node,
    ):
        began = time.monotonic()
        for number in range(rounds):
            result = processes.load(
                "batch",
                node.port,
                connections=connections,
                events=events,
                warmup_s=WARMUP_S,
                seconds=seconds,
                requests_max=BATCH_REQUESTS_MAX,
                first_number=number * BATCH_REQUESTS_MAX,
            )
            _check("durable batch", result)
            results.append(result)
            say(_line(f"durable batch {number + 1}", result))
        loaded = time.monotonic()
        _wait_drained(node)
        ended = time.monotonic()
        committed = int(node.metric("nealytics_events_committed_total"))
    report = BatchReport(
        machine=machine,
        connections=connections,
        events_per_request=events,
        rounds=results,
        events_per_second=_median(results),
        committed=committed,
        drain_seconds=ended - loaded,
        committed_per_second=committed / (ended - began),
    )
    say(
        f"durable batch: {report.events_per_second:,.0f} events/s in requests of {events:,}"
        f" ({connections} connections); ClickHouse had all {committed:,} events"
        f" {report.drain_seconds:.1f} s later: {report.committed_per_second:,.0f} events/s in all"
    )
    return report


def compare(
    *, executable: Path, rounds: int, seconds: float, directory: Path | None, say: Say
) -> CompareReport:
    """Another program, such as the compiled one, against this one; both with nothing behind their logs.

    Each pair of rounds follows one another closely, so that a machine which is slower for a while is so for
    both, and every other pair is the other way round. The load comes from this program in either case.
    """
    ratios: dict[Route, list[float]] = {"track": [], "batch": []}
    work: dict[Route, list[float]] = {"track": [], "batch": []}
    with processes.workplace(directory, say) as (made, machine):
        for number in range(rounds):
            # Both start anew: where a process comes to lie makes it faster or slower for as long as it lives.
            with (
                processes.scratch(made) as pair_directory,
                processes.product(pair_directory / "theirs", clickhouse=False, program=executable) as theirs,
                processes.product(pair_directory / "ours", clickhouse=False) as ours,
            ):
                pair = [("executable", theirs), ("this program", ours)]
                if number % 2:
                    pair.reverse()
                for route in ratios:
                    by_clock: dict[str, float] = {}
                    by_work: dict[str, float] = {}
                    for name, node in pair:
                        events_before, work_before = _work_done(node)
                        result = processes.load(
                            route,
                            node.port,
                            connections=64 if route == "track" else 4,
                            events=1 if route == "track" else 1_000,
                            warmup_s=WARMUP_S,
                            seconds=seconds,
                            requests_max=TRACK_REQUESTS_MAX if route == "track" else BATCH_REQUESTS_MAX,
                            first_number=0,
                        )
                        events, worked = _work_done(node)
                        _check(f"{route}, {name}", result)
                        by_clock[name] = result.events_per_second
                        by_work[name] = (events - events_before) / (worked - work_before)
                        cost = f"{1e6 / by_work[name]:5.1f} µs of processor"
                        say(f"{_line(f'{route}, {name}', result)}   {cost}")
                    ratios[route].append(by_clock["executable"] / by_clock["this program"])
                    work[route].append(by_work["executable"] / by_work["this program"])
    report = CompareReport(
        machine=machine,
        executable=str(executable),
        track=ratios["track"],
        batch=ratios["batch"],
        track_ratio=statistics.median(ratios["track"]),
        batch_ratio=statistics.median(ratios["batch"]),
        track_work=work["track"],
        batch_work=work["batch"],
        track_work_ratio=statistics.median(work["track"]),
        batch_work_ratio=statistics.median(work["batch"]),
    )
    for route in ratios:
        for unit, each in (("events/s", ratios[route]), ("events per processor time", work[route])):
            say(
                f"{route}: executable / this program = {statistics.median(each):.2f} in {unit}"
                f" (pairs {min(each):.2f} to {max(each):.2f})"
            )
    return report


def hostile(
    *,
    names: Sequence[str],
    connections: int,
    seconds: float,
    mib: int,
    program: Path | None,
    directory: Path | None,
    say: Say,
) -> HostileReport:
    """A client that sends `track`, alone and beside each kind of hostile body. Without a rate limit, which
    would end it early, and without ClickHouse."""
    results: list[HostileResult] = []

    def client(port: int) -> Result:
        return processes.load(
            "track",
            port,
            connections=2,
            events=1,
            warmup_s=0.3,
            seconds=seconds,
            requests_max=TRACK_REQUESTS_MAX,
            first_number=0,
        )

    with processes.workplace(directory, say) as (made, machine):
        ingest = {"rate_limit_requests": 0, "body_bytes_max": mib * MIB}
        with processes.product(made / "node", clickhouse=False, program=program, ingest=ingest) as node:
            alone = client(node.port)
            _check("track", alone)
            say(_line("alone", alone))
            for name in names:
                sent = hostile_bodies.make(name, mib * MIB)
                with hostile_bodies.attack(sent, node.port, connections) as attack:
                    result = client(node.port)
                if result.errors:
                    raise BenchError(f"bench: track beside {name}: {result.errors}")
                if not result.requests:  # not one answer in all the time
                    result.p50_ms = result.p99_ms = seconds * 1000
                results.append(
                    HostileResult(name=name, bytes_sent=len(sent.body), answers=attack.answers, client=result)
                )
                say(f"{_line(name, result, width=36)}   {attack.answers:>5} answers, {attack.statuses}")
    worst = max(results, key=lambda result: result.client.p99_ms)
    say(
        f"track p99: {alone.p99_ms:.1f} ms alone, at worst {worst.client.p99_ms:.1f} ms"
        f" beside {connections} clients that send {worst.name!r}"
    )
    return HostileReport(
        machine=machine, connections=connections, body_bytes_max=mib * MIB, alone=alone, hostile=results
    )


def _work_done(node: Product) -> tuple[float, float]:
    """Events taken since the node started, and the seconds of processor time its worker had for them."""
    (worker,) = node.worker_pids()
    return node.metric("nealytics_events_ingested_total"), processes.processor_seconds(worker)


def memory(*, events: int, limit_mb: int, directory: Path | None, say: Say) -> MemoryReport:
    """A worker whose log holds many events because there is no ClickHouse; then one that drains them."""
    per_request = 1_000
    began = time.monotonic()
    with processes.workplace(directory, say) as (made, machine):
        with processes.product(made / "node", clickhouse=False) as node:
            (worker,) = node.worker_pids()
            sent = 0
            while (waiting := int(node.metric("nealytics_queue_depth_current"))) < events:
                missing = -(-(events - waiting) // per_request)
                processes.load(
                    "batch",
                    node.port,
                    connections=4,
                    events=per_request,
                    warmup_s=0.0,
                    seconds=5.0,
                    requests_max=missing,
                    first_number=sent,
                )
                sent += missing
                rss_kb, _ = processes.memory_kb(worker)
                waiting = int(node.metric("nealytics_queue_depth_current"))
                say(f"{waiting:>10,} events waiting, worker {rss_kb / 1024:.0f} MB")
                if time.monotonic() - began > 600:
                    raise BenchError(f"bench: only {waiting:,} events after 10 minutes")
            # Now that there is much to do, let it try for a while.
            time.sleep(3)
            waiting = int(node.metric("nealytics_queue_depth_current"))
            log_bytes = int(node.metric("nealytics_wal_bytes"))
            rss_kb, rss_max_kb = processes.memory_kb(worker)
        with processes.product(made / "node", clickhouse=True) as node:
            (worker,) = node.worker_pids()
            started = time.monotonic()
            _wait_drained(node)
            drain_seconds = time.monotonic() - started
            _, draining_rss_max_kb = processes.memory_kb(worker)
    report = MemoryReport(
        machine=machine,
        waiting=waiting,
        log_bytes=log_bytes,
        rss_kb=rss_kb,
        rss_max_kb=rss_max_kb,
        draining_rss_max_kb=draining_rss_max_kb,
        drain_seconds=drain_seconds,
        limit_kb=limit_mb * 1024,
        seconds=time.monotonic() - began,
    )
    verdict = "under" if report.within_limit else "NOT under"
    say(
        f"{report.waiting:,} events waiting ({report.log_bytes / 1e6:,.0f} MB of log): worker"
        f" {report.rss_kb / 1024:.0f} MB, at most {report.rss_max_kb / 1024:.0f} MB;"
        f" draining them in {report.drain_seconds:.0f} s: at most {report.draining_rss_max_kb / 1024:.0f} MB;"
        f" {verdict} {limit_mb} MB"
    )
    return report


def _check(name: str, result: Result) -> None:
    """A number of refused requests per second is not a benchmark."""
    if result.errors or not result.requests:
        raise BenchError(
            f"bench: {name}: {result.requests} requests were answered 202, others: {result.errors}"
        )


def _line(name: str, result: Result, *, width: int = 18) -> str:
    return (
        f"{name:<{width}} {result.events_per_second:>10,.0f} events/s"
        f"   p50 {result.p50_ms:6.2f} ms   p99 {result.p99_ms:6.2f} ms"
    )


def _median(results: list[Result]) -> float:
    return statistics.median(result.events_per_second for result in results)


def _wait_drained(node: Product) -> None:
    deadline = time.monotonic() + _DRAIN_TIMEOUT_S
    while node.metric("nealytics_queue_depth_current") > 0:
        if time.monotonic() > deadline:
            raise BenchError(f"bench: ClickHouse was not given everything within {_DRAIN_TIMEOUT_S:g} s")
        time.sleep(0.1)
