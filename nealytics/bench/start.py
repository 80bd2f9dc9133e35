"""How soon a node with the embedded engine answers, and what it needs while it has nothing to do.

Each round starts a node twice: in an empty directory, and again with what the first one left. Other programs
are measured in the same rounds, so that a machine that is slower for a while affects all of them.
"""

import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from nealytics.bench import processes
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import Product

# After `/ready`, until the node has no work left from its start.
_SETTLE_S = 3.0


class Start(msgspec.Struct, kw_only=True):
    """One start."""

    empty: bool  # nothing in its directory
    health_s: float  # from the start of the process to the first answer 200
    ready_s: float


class Idle(msgspec.Struct, kw_only=True):
    """A node without requests: all its processes together."""

    rss_mb: float  # pages that two processes share count twice
    pss_mb: float  # shared pages count once in all
    cpu_percent: float  # of one core
    switches_per_second: float  # voluntary context switches, of all threads


class ProgramResult(msgspec.Struct, kw_only=True):
    program: str
    starts: list[Start]
    idle: list[Idle]


class StartReport(msgspec.Struct, kw_only=True):
    machine: Machine
    results: list[ProgramResult]


def start(
    *, others: Sequence[Path], rounds: int, seconds: float, directory: Path | None, say: Say
) -> StartReport:
    """This program and `others`; `seconds` is how long an idle node is observed."""
    programs = [*others, None]
    results = [ProgramResult(program=str(path or "this program"), starts=[], idle=[]) for path in programs]
    with processes.workplace(directory, say) as (made, machine):
        for _ in range(rounds):
            for path, result in zip(programs, results, strict=True):
                with processes.scratch(made) as scratch:
                    _start_twice(scratch, path, seconds, result)
                say(_line(result))
    for result in results:
        _describe(result, say)
    return StartReport(machine=machine, results=results)


def _start_twice(directory: Path, program: Path | None, seconds: float, result: ProgramResult) -> None:
    for empty in (True, False):
        with processes.launched(directory / "node", clickhouse=True, program=program) as node:
            health_s, ready_s = node.wait_until_answers("/health"), node.wait_until_answers("/ready")
            result.starts.append(Start(empty=empty, health_s=health_s, ready_s=ready_s))
            if not empty:
                result.idle.append(_idle(node, seconds))


def _idle(node: Product, seconds: float) -> Idle:
    time.sleep(_SETTLE_S)
    pids = node.all_pids()
    began, cpu, switches = time.monotonic(), _cpu_seconds(pids), _switches(pids)
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    return Idle(
        rss_mb=sum(processes.memory_kb(pid)[0] for pid in pids) / 1024,
        pss_mb=sum(processes.proportional_kb(pid) for pid in pids) / 1024,
        cpu_percent=100 * (_cpu_seconds(pids) - cpu) / elapsed,
        switches_per_second=(_switches(pids) - switches) / elapsed,
    )


def _cpu_seconds(pids: Sequence[int]) -> float:
    return sum(map(processes.processor_seconds, pids))


def _switches(pids: Sequence[int]) -> int:
    return sum(map(processes.voluntary_switches, pids))


def _line(result: ProgramResult) -> str:
    first, again = result.starts[-2:]
    return (
        f"{result.program}: /health {first.health_s:.2f} and {again.health_s:.2f} s,"
        f" /ready {first.ready_s:.2f} and {again.ready_s:.2f} s"
    )


def _describe(result: ProgramResult, say: Say) -> None:
    say(result.program)
    for empty, name in ((True, "empty directory"), (False, "again")):
        starts = [start for start in result.starts if start.empty == empty]
        say(
            f"  {name:<16} /health {_spread([start.health_s for start in starts])} s"
            f"   /ready {_spread([start.ready_s for start in starts])} s"
        )
    idle = result.idle
    say(
        f"  {'idle':<16} RSS {_median(one.rss_mb for one in idle):.0f} MB"
        f"   PSS {_median(one.pss_mb for one in idle):.0f} MB"
        f"   processor {_median(one.cpu_percent for one in idle):.2f} %"
        f"   {_median(one.switches_per_second for one in idle):,.0f} context switches/s"
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
