"""The benchmarks of ingest: what is measured, in which order, and how it is reported."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nealytics.auth.minting import mint
from nealytics.bench import hostile as hostile_bodies
from nealytics.bench import processes
from nealytics.bench.load import BROWSER_KEY, JWT_KEY, KEY, Load, Result, Route
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError, Product
from nealytics.config.tables import MIB

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
    # The same for events per second of the worker's processor time: the cost of the program, independent of
    # how busy the machine is.
    track_work: list[float]
    batch_work: list[float]
    track_work_ratio: float
    batch_work_ratio: float


class TokensReport(msgspec.Struct, kw_only=True):
    machine: Machine
    connections: int
    rounds: int
    # Medians of the rounds: events per second with a token / with the key; then the same for events per
    # second of the worker's processor time.
    server_key_ratio: float
    browser_key_ratio: float
    server_key_work_ratio: float
    browser_key_work_ratio: float


class WorkersReport(msgspec.Struct, kw_only=True):
    """`track` with one worker and with several."""

    machine: Machine
    connections: int  # of each worker
    workers: int
    one_us: float  # processor time of all workers a request, medians
    several_us: float
    scale: float  # what several workers on as many cores do ÷ one on one core, by processor time
    scales: list[float]  # of the rounds


class HostileResult(msgspec.Struct, kw_only=True):
    """The cost of one kind of body for a client that sends `track` meanwhile."""

    name: str
    bytes_sent: int
    answers: int  # to the hostile requests, in the same time
    client: Result


class HostileReport(msgspec.Struct, kw_only=True):
    machine: Machine
    connections: int  # that send hostile bodies
    body_bytes_max: int
    alone: Result  # the client without hostile bodies
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
    without_clickhouse: bool,
    directory: Path | None,
    say: Say,
) -> TrackReport:
    """Durable `track` and an empty aiohttp handler, alternately."""
    clickhouse = not without_clickhouse
    durable: list[Result] = []
    empty: list[Result] = []
    with (
        processes.workplace(directory, say) as (made, machine),
        processes.product(made / "node", clickhouse=clickhouse, workers=workers) as node,
        processes.baseline() as (baseline_port, _),
    ):
        for number in range(rounds):
            for name, port, results in (
                ("empty handler", baseline_port, empty),
                ("durable track", node.port, durable),
            ):
                load = Load.of_round("track", connections=connections, seconds=seconds, number=number)
                result = processes.checked_load(name, port, load)
                results.append(result)
                say(_line(f"{name} {number + 1}", result))
            # Otherwise the next round of the empty handler shares the cores with the committer.
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
            load = Load.of_round(
                "batch", connections=connections, seconds=seconds, events=events, number=number
            )
            result = processes.checked_load("durable batch", node.port, load)
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
    """Another program, such as the compiled one, against this one; both without ClickHouse.

    The two rounds of a pair follow each other directly, so a machine that is slower for a while affects both,
    and every other pair has the reverse order. The load comes from this program in both cases.
    """
    loads = (
        Load.of_round("track", connections=64, seconds=seconds),
        Load.of_round("batch", connections=4, seconds=seconds, events=1_000),
    )
    ratios: dict[Route, list[float]] = {"track": [], "batch": []}
    work: dict[Route, list[float]] = {"track": [], "batch": []}
    with processes.workplace(directory, say) as (made, machine):
        for number in range(rounds):
            # Both start again: the memory layout of a process makes it faster or slower for its lifetime.
            with (
                processes.scratch(made) as pair_directory,
                processes.product(pair_directory / "theirs", clickhouse=False, program=executable) as theirs,
                processes.product(pair_directory / "ours", clickhouse=False) as ours,
            ):
                pair = [("executable", theirs), ("this program", ours)]
                if number % 2:
                    pair.reverse()
                for load in loads:
                    rates = {name: _rates(name, node, load, say) for name, node in pair}
                    (clock, worked), (our_clock, our_worked) = rates["executable"], rates["this program"]
                    ratios[load.route].append(clock / our_clock)
                    work[load.route].append(worked / our_worked)
    for route in ratios:
        for unit, each in (("events/s", ratios[route]), ("events per processor time", work[route])):
            say(
                f"{route}: executable / this program = {statistics.median(each):.2f} in {unit}"
                f" (pairs {min(each):.2f} to {max(each):.2f})"
            )
    return CompareReport(
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


def tokens(
    *, rounds: int, seconds: float, connections: int, directory: Path | None, say: Say
) -> TokensReport:
    """`track` with an ingest token, with a server's key and with a browser's key, alternately; without
    ClickHouse. All limits apply, and are never reached."""
    token = mint(JWT_KEY, "bench", "tenant-0", 86_400, time.time(), claims={"sub": "ada"}, ingest=True)
    senders = {
        "server key": f"X-Project-Key: {KEY}",
        "browser key": f"X-Project-Key: {BROWSER_KEY}",
        "token": f"Authorization: Bearer {token}",
    }
    unreached = {"rate_limit_requests": 10**9, "rate_limit_requests_per_address": 10**9}
    clock: dict[str, list[float]] = {name: [] for name in senders}
    work: dict[str, list[float]] = {name: [] for name in senders}
    with (
        processes.workplace(directory, say) as (made, machine),
        processes.product(made / "node", clickhouse=False, ingest=unreached) as node,
    ):
        for number in range(rounds):
            for name in senders if number % 2 else reversed(senders):
                load = Load.of_round(
                    "track",
                    connections=connections,
                    seconds=seconds,
                    number=number,
                    credential=senders[name],
                )
                per_second, by_work = _rates(name, node, load, say)
                clock[name].append(per_second)
                work[name].append(by_work)

    def ratio(rates: dict[str, list[float]], key: str) -> float:
        return statistics.median(a / b for a, b in zip(rates["token"], rates[key], strict=True))

    report = TokensReport(
        machine=machine,
        connections=connections,
        rounds=rounds,
        server_key_ratio=ratio(clock, "server key"),
        browser_key_ratio=ratio(clock, "browser key"),
        server_key_work_ratio=ratio(work, "server key"),
        browser_key_work_ratio=ratio(work, "browser key"),
    )
    say(
        f"token / server key = {report.server_key_ratio:.2f} in events/s,"
        f" {report.server_key_work_ratio:.2f} in events per processor time;"
        f" token / browser key = {report.browser_key_ratio:.2f} and {report.browser_key_work_ratio:.2f}"
    )
    return report


def _rates(name: str, node: Product, load: Load, say: Say) -> tuple[float, float]:
    """Events per second, and events per second of the worker's processor time."""
    label = f"{load.route}, {name}"
    events_before, work_before = _work_done(node)
    result = processes.checked_load(label, node.port, load)
    events, worked = _work_done(node)
    by_work = (events - events_before) / (worked - work_before)
    say(f"{_line(label, result)}   {1e6 / by_work:5.1f} µs of processor")
    return result.events_per_second, by_work


def workers(
    *, rounds: int, seconds: float, connections: int, workers: int, directory: Path | None, say: Say
) -> WorkersReport:
    """`track` with one worker and with several, alternately, each with `connections`; without ClickHouse.

    The generator needs a core, too, so events a second cannot show whether workers hinder each other. Their
    processor time a request does: if it stays the same, several do as much more as there are of them.
    """
    took: dict[int, list[float]] = {1: [], workers: []}
    with (
        processes.workplace(directory, say) as (made, machine),
        processes.product(made / "one", clickhouse=False) as one,
        processes.product(made / "several", clickhouse=False, workers=workers) as several,
    ):
        pair = [(1, one), (workers, several)]
        for number in range(rounds):
            for count, node in pair if number % 2 else reversed(pair):
                load = Load.of_round("track", connections=connections * count, seconds=seconds, number=number)
                _, by_work = _rates(f"{count} worker{'s' * (count > 1)}", node, load, say)
                took[count].append(1e6 / by_work)
    scales = [workers * alone / beside for alone, beside in zip(took[1], took[workers], strict=True)]
    report = WorkersReport(
        machine=machine,
        connections=connections,
        workers=workers,
        one_us=statistics.median(took[1]),
        several_us=statistics.median(took[workers]),
        scale=statistics.median(scales),
        scales=scales,
    )
    say(
        f"{workers} workers / 1 = {report.scale:.2f} by processor time (rounds {min(scales):.2f} to"
        f" {max(scales):.2f}): {report.one_us:.1f} and {report.several_us:.1f} us a request"
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
    would refuse the bodies, and without ClickHouse."""
    results: list[HostileResult] = []
    load = Load.of_round("track", connections=2, seconds=seconds, warmup_s=0.3)

    with processes.workplace(directory, say) as (made, machine):
        ingest = {"rate_limit_requests": 0, "body_bytes_max": mib * MIB}
        with processes.product(made / "node", clickhouse=False, program=program, ingest=ingest) as node:
            alone = processes.checked_load("track", node.port, load)
            say(_line("alone", alone))
            for name in names or hostile_bodies.NAMES:
                sent = hostile_bodies.make(name, mib * MIB)
                with hostile_bodies.attack(sent, node.port, connections) as attack:
                    result = processes.load(node.port, load)
                if result.errors:
                    raise BenchError(f"bench: track beside {name}: {result.errors}")
                if not result.requests:  # no answer in all that time
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
    """Events accepted since the node started, and the processor time of its workers in seconds."""
    seconds = sum(map(processes.processor_seconds, node.worker_pids()))
    return node.metric("nealytics_events_ingested_total"), seconds


def queue(node: Product, events: int, say: Say) -> int:
    """Sends events in batches until at least so many are queued; how many are. The node has no ClickHouse."""
    per_request = 1_000
    (worker,) = node.worker_pids()
    began = time.monotonic()
    sent = 0
    while (waiting := int(node.metric("nealytics_queue_depth_current"))) < events:
        missing = -(-(events - waiting) // per_request)
        load = Load(
            route="batch",
            connections=4,
            seconds=5.0,
            events=per_request,
            warmup_s=0.0,
            requests_max=missing,
            first_number=sent,
        )
        processes.load(node.port, load)
        sent += missing
        rss_kb, _ = processes.memory_kb(worker)
        waiting = int(node.metric("nealytics_queue_depth_current"))
        say(f"{waiting:>10,} events waiting, worker {rss_kb / 1024:.0f} MB")
        if time.monotonic() - began > 600:
            raise BenchError(f"bench: only {waiting:,} events after 10 minutes")
    return waiting


def memory(*, events: int, limit_mb: int, directory: Path | None, say: Say) -> MemoryReport:
    """A worker whose log has many events because there is no ClickHouse; then one that drains them."""
    began = time.monotonic()
    with processes.workplace(directory, say) as (made, machine):
        with processes.product(made / "node", clickhouse=False) as node:
            (worker,) = node.worker_pids()
            queue(node, events, say)
            # Let the committer try for a while with the full log.
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
            raise BenchError(f"bench: ClickHouse did not have all events within {_DRAIN_TIMEOUT_S:g} s")
        time.sleep(0.1)
