"""`bench erasure`: what erasing a large tenant costs the others (decision 0031).

A node has a tenant with all of `--events`, and as many of 50 others. Clients send events and one asks for
another tenant's figures, first alone, then from the command until the rows are deleted from the table.
"""

import statistics
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from nealytics.auth.minting import mint
from nealytics.bench.load import Load, Result, quantile
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import BenchError, Product, load, product, workplace
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.embedded import read_access
from nealytics.clickhouse.endpoint import embedded_endpoint
from nealytics.clickhouse.sql import TABLE
from nealytics.config import Config
from nealytics.config import load as load_config
from nealytics.erasure.jobs import Job
from nealytics.erasure.store import Jobs
from nealytics.process import self_command

CONNECTIONS = 4
DAYS = 30
_FILL_ROWS = 1_000_000
_FILL_TIMEOUT_S = 600.0


class Costs(msgspec.Struct, kw_only=True):
    """Of one phase; the quantiles of `track` are medians over its rounds, and the worst round's p99."""

    rounds: int
    track_per_s: float
    track_p50_ms: float
    track_p99_ms: float
    track_worst_p99_ms: float
    reads: int
    read_p50_ms: float
    read_p99_ms: float


class ErasureReport(msgspec.Struct, kw_only=True):
    machine: Machine
    events: int
    before: Costs
    during: Costs
    hidden_s: float  # from the command to its end: counting, and hiding
    erased_s: float  # from there until the table has no such row
    rows_erased: int


async def erasure(
    *, events: int, rounds: int, seconds: float, directory: Path | None, say: Say
) -> ErasureReport:
    """`rounds` are those before the erasure, each of `seconds`."""
    with workplace(directory, say) as (root, machine), product(root / "node", clickhouse=True) as node:
        config = load_config(node.directory / "nealytics.toml")
        await _fill(config, events, say)
        before = _measure(node, config, 0, seconds, lambda done: done < rounds)
        say(_line("before", before))
        began = time.monotonic()
        _erase(node)
        hidden_s = time.monotonic() - began
        during = _measure(
            node, config, rounds, seconds, lambda _: _job(config).state in ("pending", "running")
        )
        say(_line("during", during))
        job = _job(config)
        assert job.erased_at_ms is not None
        report = ErasureReport(
            machine=machine,
            events=events,
            before=before,
            during=during,
            hidden_s=round(hidden_s, 1),
            erased_s=round((job.erased_at_ms - job.erasure.requested_at_ms) / 1000, 1),
            rows_erased=job.rows_erased,
        )
        say(f"hidden after {report.hidden_s:g} s; {job.rows_erased:,} rows deleted in {report.erased_s:g} s")
        return report


async def _fill(config: Config, events: int, say: Say) -> None:
    access = read_access(config.server.data_dir)
    assert access is not None
    endpoint = embedded_endpoint(access, config.clickhouse.database, *access.user)
    patient = msgspec.structs.replace(config.clickhouse, insert_timeout_s=_FILL_TIMEOUT_S)
    now_ms = time.time_ns() // 1_000_000
    async with ClickHouseClient(endpoint, patient) as client:
        for first in range(0, 2 * events, _FILL_ROWS):
            await client.command(
                _rows(config, first, min(_FILL_ROWS, 2 * events - first), 2 * events, now_ms)
            )
    say(f"{2 * events:,} events stored, half of them of one tenant")


def _rows(config: Config, first: int, count: int, of: int, now_ms: int) -> str:
    """The events of all tenants interleave, as they arrive; those of one insert are of a part of the time."""
    step_ms = DAYS * 86_400_000 / of
    return (
        f"INSERT INTO {config.clickhouse.database}.{TABLE} "
        "(event_id, project_id, tenant_id, session_id, user_id, event_type, metadata_json, timestamp) "
        "SELECT reinterpretAsUUID(sipHash128(number)), 'shop', "
        "if(number % 2, 'big', concat('tenant-', toString(sipHash64(number) % 50))), "
        "concat('session-', toString(number % 5000)), concat('user-', toString(number % 900)), 'page_view', "
        "concat('{\"page\":\"/products/', hex(sipHash64(number, 1)), '\"}'), "
        f"fromUnixTimestamp64Milli({now_ms} - toInt64(number * {step_ms}), 'UTC') "
        f"FROM numbers({first}, {count})"
    )


def _erase(node: Product) -> None:
    config = str(node.directory / "nealytics.toml")
    executable, argv = self_command(
        "erase", "--project", "shop", "--tenant", "big", "--now", "--yes", "--config", config
    )
    done = subprocess.run(argv, executable=executable, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"bench: `nealytics erase` failed: {done.stderr}")


def _job(config: Config) -> Job:
    (job,) = Jobs(config.server.data_dir).all().values()
    # Later it waits for ClickHouse to remove the parts that had the rows, which is not measured.
    if job.problem and job.erased_at_ms is None:
        raise BenchError(f"bench: the erasure does not go on: {job.problem}")
    return job


def _measure(
    node: Product, config: Config, number: int, seconds: float, goes_on: Callable[[int], bool]
) -> Costs:
    """Rounds of load, with reads beside them, while `goes_on`; at least one."""
    results: list[Result] = []
    with _reading(node, config) as read_s:
        while not results or goes_on(len(results)):
            wanted = Load.of_round(
                "track", connections=CONNECTIONS, seconds=seconds, number=number + len(results), warmup_s=0.2
            )
            result = load(node.port, wanted)
            if result.errors:
                raise BenchError(f"bench: events were not accepted: {result.errors}")
            results.append(result)
    ordered = sorted(read_s)
    return Costs(
        rounds=len(results),
        track_per_s=round(statistics.median(result.events_per_second for result in results)),
        track_p50_ms=round(statistics.median(result.p50_ms for result in results), 2),
        track_p99_ms=round(statistics.median(result.p99_ms for result in results), 2),
        track_worst_p99_ms=round(max(result.p99_ms for result in results), 2),
        reads=len(ordered),
        read_p50_ms=round(1000 * quantile(ordered, 0.5), 1),
        read_p99_ms=round(1000 * quantile(ordered, 0.99), 1),
    )


@contextmanager
def _reading(node: Product, config: Config) -> Iterator[list[float]]:
    """One client asks for a tenant's summary, again and again; the seconds of each answer."""
    token = mint(config.auth.jwt_key, "shop", "tenant-7", 3600, time.time())
    url = f"http://127.0.0.1:{node.port}/api/v1/analytics/summary"
    took: list[float] = []
    failed: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            began = time.perf_counter()
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    answer.read()
            except OSError as error:
                failed.append(error)
                return
            took.append(time.perf_counter() - began)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield took
    finally:
        ended.set()
        reader.join()
    if failed:
        raise BenchError(f"bench: a read failed: {failed[0]}")


def _line(name: str, costs: Costs) -> str:
    return (
        f"{name}: track {costs.track_per_s:,.0f}/s, p50 {costs.track_p50_ms:g} ms, p99 "
        f"{costs.track_p99_ms:g} (worst of {costs.rounds} rounds {costs.track_worst_p99_ms:g}); a summary of "
        f"another tenant p50 {costs.read_p50_ms:g} ms, p99 {costs.read_p99_ms:g} ({costs.reads} answers)"
    )
