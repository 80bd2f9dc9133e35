"""Random histories: bad rows, faults, crashes and other configurations, in any order.

Whatever happens, at the end every row is in the table once, or in the dead letter.
"""

import asyncio
import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.commit.station import Station, refusing
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse

FAULTS = st.sampled_from(
    [
        None,
        faults.error(241),
        faults.error(252),
        faults.proxy_error(503),
        faults.lost_answer(),
        faults.killed_after_token(),
        faults.reset_mid_body(),
        faults.late_exception(),
        faults.late_body(),
        faults.stall(0.01, applied=True),
        faults.stall(0.01, applied=False),
    ]
)
REFUSED_ONCE = faults.error(33, status=400)  # the table is changed, and changed back
APPEND = st.tuples(st.just("append"), st.integers(1, 40))
WAIT = st.tuples(st.just("wait"), st.floats(0, 0.02))
CRASH = st.tuples(
    st.just("crash"),
    st.fixed_dictionaries(
        {
            "batch_rows_max": st.sampled_from([1, 3, 16, 100]),
            "catch_up_rows_max": st.sampled_from([0, 24]),
            "batch_bytes_max": st.sampled_from([300, 5_000, 10**6]),
        }
    ),
)
BREAK = st.tuples(st.just("break"), st.booleans())

Steps = list[tuple[str, Any]]


async def history(directory: Path, steps: Steps, script: list[Any], bad: set[int]) -> Station:
    async with FakeClickHouse() as fake:
        fake.faults.extend(script)
        fake.refuse = refusing(*bad)
        async with Station(directory / "wal", fake, batch_rows_max=16) as station:
            numbers = itertools.count(1)
            station.start()
            for step, value in steps:
                if step == "append":
                    first = next(numbers)
                    for _ in range(value - 1):
                        next(numbers)
                    await station.append_numbers(first, first + value - 1)
                elif step == "wait":
                    await asyncio.sleep(value)
                elif step == "crash":
                    await station.crash(**value)
                    station.start()
                else:
                    fake.refuse = (lambda r: 33) if value else refusing(*bad)
            fake.refuse = refusing(*bad)
            # Good rows keep coming, as in life: a suspect that is alone waits for one.
            last = station.log.durable_lsn
            for witness in range(10_001, 11_000):
                await station.append_numbers(witness, witness)
                await asyncio.sleep(0.01)
                if station.log.cursor_lsn >= last:
                    break
            await station.drained()
            assert fake.token_conflicts == []
            # A range has one token, whoever sends it, and whether it was read ahead; ":…" marks missing rows.
            tokens = {token for token in fake.tokens if token.count(":") == 2}
            assert len(tokens) == len({token.rpartition(":")[0] for token in tokens})
            assert fake.most_at_once <= 2, "an abandoned request of a crashed committer may be one more"
            return station


def run(steps: Steps, script: list[Any], bad: set[int]) -> tuple[Counter[int], list[int], set[int]]:
    """What the table has, what is in the dead letter, and what was appended."""
    with tempfile.TemporaryDirectory() as directory:
        station = asyncio.run(history(Path(directory), steps, script, bad))
        appended = set(range(1, 1 + sum(value for step, value in steps if step == "append")))
        table = Counter(n for n in station.stored if n < 10_000)
        return table, [n for n in station.dead if n < 10_000], appended


BAD = st.one_of(
    st.sets(st.integers(1, 120), max_size=6),
    st.builds(lambda first, count: set(range(first, first + count)), st.integers(1, 100), st.integers(1, 60)),
)
few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@few
@given(
    steps=st.lists(st.one_of(APPEND, APPEND, WAIT, CRASH), min_size=1, max_size=12),
    script=st.lists(FAULTS, max_size=30),
    bad=BAD,
)
def test_every_row_is_in_the_table_once_or_in_the_dead_letter(steps, script, bad):
    table, dead, appended = run(steps, script, bad)
    assert dead == sorted(bad & appended)
    assert table == Counter(appended - bad)


@few
@given(
    steps=st.lists(st.one_of(APPEND, WAIT, CRASH, BREAK, BREAK), min_size=1, max_size=12),
    script=st.lists(FAULTS | st.just(REFUSED_ONCE), max_size=10),
    bad=st.sets(st.integers(1, 60), max_size=3),
)
@example(steps=[("append", 1)], script=[faults.killed_after_token(), REFUSED_ONCE], bad=set())
def test_a_table_that_breaks_and_is_fixed_loses_and_doubles_nothing(steps, script, bad):
    """The table may break in the milliseconds between two tries and so put a good row aside; a crash between
    dead letter and cursor retries a row. But none is gone, and none is in the table twice."""
    table, dead, appended = run(steps, script, bad)
    assert set(table) | set(dead) == appended
    assert set(table.values()) <= {1}
    assert not set(table) & bad
