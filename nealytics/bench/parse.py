"""`bench parse`: the processor time from JSON to rows, without sockets and without the log.

A batch of 1,000 events is read by the compiled reader (`ingest/plain.py`) and by Python, alternately, and by
Python's JSON decoder alone, which checks no event and makes no row.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from nealytics.auth.grant import Grant
from nealytics.bench.load import MARK, request_template
from nealytics.bench.machine import Machine, Say
from nealytics.bench.processes import workplace
from nealytics.config import IngestConfig
from nealytics.errors import NealyticsError
from nealytics.event import Limits, decode_events
from nealytics.ingest import plain
from nealytics.ingest.parser import Parsed, parse_array

EVENTS = 1_000
# One measurement is the best of these: another process on the core only adds.
_TRIES = 10
_GRANT = Grant(0, "", "", "server")
_LIMITS = Limits.of(IngestConfig(), 0)


class ParseReport(msgspec.Struct, kw_only=True):
    machine: Machine
    rounds: int
    event_bytes: int
    compiled_us: float  # processor time of one event, in microseconds; medians
    python_us: float
    decoder_us: float
    ratio: float  # python ÷ compiled: median of the pairs


def parse(*, rounds: int, directory: Path | None, say: Say) -> ParseReport:
    now_ms = time.time_ns() // 1_000_000
    if plain.plain_reader(now_ms, _LIMITS, _GRANT) is None:
        raise NealyticsError(
            "bench: the compiled reader was not built; install gcc and python3-dev, then run scripts/test.sh"
        )
    request = request_template("batch", EVENTS, 0).replace(MARK, b"01234567")
    body = request.partition(b"\r\n\r\n")[2]
    measured: list[tuple[float, float, float]] = []
    with workplace(directory, say) as (_, machine):
        for _ in range(rounds):
            compiled = _time_of(lambda: _read(body, now_ms))
            with plain.python_only():
                python = _time_of(lambda: _read(body, now_ms))
            decoder = _time_of(lambda: decode_events(body))
            measured.append((compiled, python, decoder))
            say(f"compiled {compiled:.2f} µs an event, Python {python:.2f}, JSON decoder alone {decoder:.2f}")
    compiled, python, decoder = map(statistics.median, zip(*measured, strict=True))
    return ParseReport(
        machine=machine,
        rounds=rounds,
        event_bytes=len(body) // EVENTS,
        compiled_us=compiled,
        python_us=python,
        decoder_us=decoder,
        ratio=statistics.median(python / compiled for compiled, python, _ in measured),
    )


def _read(body: bytes, now_ms: int) -> None:
    rows = [row for rows in parse_array(body, Parsed(), now_ms, _LIMITS, _GRANT) for row in rows]
    assert len(rows) == EVENTS


def _time_of(work: Callable[[], object]) -> float:
    """Microseconds of an event."""
    best = float("inf")
    for _ in range(_TRIES):
        began = time.process_time()
        for _ in range(10):
            work()
        best = min(best, time.process_time() - began)
    return best / 10 / EVENTS * 1e6
