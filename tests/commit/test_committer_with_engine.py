"""The committer against the real engine: what is refused there is refused with the codes we take for bad
content.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row, insert_sql
from nealytics.commit.delivery import deliver, insert_token
from nealytics.event import Event
from tests.commit.station import Station
from tests.engine import needs_engine, start_engine
from tests.fakes.rows import MONTH_MS, TIMESTAMP_MS, row
from tests.strace import needs_strace

pytestmark = [needs_engine, pytest.mark.engine]


class Engine:
    """Stands where a FakeClickHouse stands in `Station`."""

    def __init__(self, directory: Path) -> None:
        self.running = start_engine(directory, retention_days=0)
        self.endpoint = self.running.endpoint
        self.client = ClickHouseClient(self.endpoint, self.running.config.clickhouse)

    async def numbers(self) -> list[int]:
        """Of all rows in the table, copies included."""
        found = await self.client.query("SELECT event_id FROM global_events", settings={"final": 0})
        return sorted(UUID(event_id).int for (event_id,) in found)

    async def alter(self, what: str) -> None:
        await self.client.command(f"ALTER TABLE nealytics_core.global_events {what}")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(tmp_path)
    with engine.running:
        await schema.apply(engine.client, engine.running.config.clickhouse)
        yield engine
        await engine.client.close()


@pytest.fixture
async def station(tmp_path: Path, engine: Any) -> AsyncIterator[Station]:
    async with Station(tmp_path / "wal", engine, batch_rows_max=64) as station:
        yield station


async def test_a_constraint_puts_only_the_rows_that_break_it_aside(engine, station):
    await engine.alter("ADD CONSTRAINT short CHECK length(metadata_json) < 100")
    await station.append(*(row(n, filler=200 if n in (5, 64) else 0) for n in range(1, 101)))
    station.start()
    await station.drained(timeout_s=30)
    assert await engine.numbers() == [n for n in range(1, 101) if n not in (5, 64)]
    assert station.dead == [5, 64]
    assert {station.dead_letter.read(id).code for id in station.dead_letter.ids()} == {469}


async def test_a_table_that_refuses_every_row_is_waited_for(engine, station):
    await engine.alter("ADD CONSTRAINT never CHECK 0")
    await station.append_numbers(1, 100)
    station.start()
    await station.until(lambda: station.committer.problem is not None, timeout_s=30)
    assert "469" in station.committer.problem
    await engine.alter("DROP CONSTRAINT never")
    await station.drained(timeout_s=30)
    assert await engine.numbers() == list(range(1, 101))
    assert station.dead == []


async def test_an_insert_that_a_profile_cuts_off_has_failed(engine):
    client = ClickHouseClient(engine.endpoint, engine.running.config.clickhouse)
    # What a profile sets is below what the client sends.
    client._insert_settings = {
        "max_execution_time": "0.01",
        "timeout_overflow_mode": "break",
        **client._insert_settings,
    }
    body = b"".join(row(n, filler=300) for n in range(1, 50_001))
    with pytest.raises(ClickHouseError) as raised:
        await client.insert(insert_sql("nealytics_core", ROW_FORMAT), body, token="cut off")
    await client.close()
    assert raised.value.code == 159
    assert await engine.numbers() == []


async def test_a_row_that_only_a_view_refuses_is_stored_and_not_dead_lettered(engine, station, caplog):
    """The view has no name for it. ClickHouse stores it in the table before the view fails."""
    await engine.client.command(
        "CREATE MATERIALIZED VIEW nealytics_core.kinds ENGINE = MergeTree ORDER BY tuple() AS"
        " SELECT CAST(if(event_id = '00000000-0000-0000-0000-000000000005', 'new', 'old')"
        " AS Enum8('old' = 1)) AS kind"
        " FROM nealytics_core.global_events"
    )
    await station.append_numbers(1, 20)
    station.start()
    await station.drained(timeout_s=30)
    assert station.dead == []
    assert set(await engine.numbers()) == set(range(1, 21))
    assert "but the table has 1 of its 1 rows from an earlier attempt" in caplog.text
    assert "while pushing to view nealytics_core.kinds" in caplog.text


async def test_a_dropped_table_is_waited_for(engine, station):
    await engine.client.command("DROP TABLE nealytics_core.global_events SYNC")
    await station.append_numbers(1, 100)
    station.start()
    await station.until(lambda: station.committer.problem is not None, timeout_s=30)
    await schema.apply(engine.client, engine.running.config.clickhouse)
    await station.drained(timeout_s=30)
    assert await engine.numbers() == list(range(1, 101))


async def test_a_killed_engine_costs_waiting_and_nothing_else(engine, station):
    station.start()
    for start in range(1, 200, 20):
        if start == 101:
            engine.running.kill()
        await station.append_numbers(start, start + 19)
    await station.until(lambda: station.committer.problem is not None, timeout_s=30)
    engine.running.start()
    await station.drained(timeout_s=60)
    assert await engine.numbers() == list(range(1, 201))


@asynccontextmanager
async def killed_at(pid: int, calls: str, nth: int) -> AsyncIterator[None]:
    """SIGKILL at the nth of these system calls that the process makes, before it has an effect."""
    strace = await asyncio.create_subprocess_exec(
        "strace", "-f", "-p", str(pid), "-o", "/dev/null",
        "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={nth}",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert strace.stderr is not None
    assert b"attached" in await strace.stderr.readline()
    try:
        yield
    finally:
        if strace.returncode is None:
            strace.terminate()
        await strace.communicate()


RENAME = "rename,renameat,renameat2"


@needs_strace
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_rows_whose_token_outlived_them_are_sent_again(engine, station, caplog, nth):
    """A part becomes visible by a rename, after its token was noted: a kill there leaves the token alone."""
    # Three months, so three parts.
    await station.append(*(row(n, timestamp_ms=TIMESTAMP_MS + n % 3 * MONTH_MS) for n in range(1, 61)))
    async with killed_at(engine.running.process.pid, RENAME, nth):
        station.start()
        assert await asyncio.to_thread(engine.running.process.wait, 30) == -9
    engine.running.start()
    await station.drained(timeout_s=60)
    assert await engine.numbers() == list(range(1, 61))
    assert "sending 20 rows again" in caplog.text


@needs_strace
async def test_a_committer_that_starts_looks_for_the_rows_that_the_last_one_sent(engine, station):
    await station.append_numbers(1, 60)
    async with killed_at(engine.running.process.pid, RENAME, 1):
        station.start()
        assert await asyncio.to_thread(engine.running.process.wait, 30) == -9
    await station.crash()
    engine.running.start()
    station.start()
    await station.drained(timeout_s=60)
    assert await engine.numbers() == list(range(1, 61))


@needs_strace
@pytest.mark.parametrize(
    ("calls", "nth"),
    [("write,pwrite64", 60), ("fsync,fdatasync", 9), ("openat", 46), ("mkdir,mkdirat", 5), (RENAME, 8)],
)
async def test_a_kill_of_the_engine_at_any_call_loses_and_doubles_nothing(engine, station, calls, nth):
    """The parts of a batch, the deduplication log, and what is done about old parts meanwhile."""
    async with killed_at(engine.running.process.pid, calls, nth):
        station.start()
        for first in range(1, 20_000, 50):
            rows = (row(n, timestamp_ms=TIMESTAMP_MS + n % 3 * MONTH_MS) for n in range(first, first + 50))
            await station.append(*rows)
            await asyncio.sleep(0.1)
            if engine.running.process.poll() is not None:
                break
        assert engine.running.process.poll() == -9
    engine.running.start()
    await station.drained(timeout_s=60)
    assert await engine.numbers() == list(range(1, first + 50))


SLOW = {
    "max_execution_time": 0,
    "max_block_size": 1,
    "function_sleep_max_microseconds_per_block": 10_000_000_000,
}
HOSTILE = [
    "'",
    "\\",
    "\\'",
    "a\tb\nc\rd",
    "\x01\x7f",
    "a\0b",
    "🦉 {x:String}",
    "--",
    "NULL",
    "%00",
    "ß" * 256,
]


async def test_only_the_rows_that_are_not_there_are_sent_whatever_their_names(engine):
    """More rows than are asked for at once, of every name that SQL could take for something else."""
    rng = random.Random(7)
    rows = [
        encode_row(
            Event(
                event_id=n,
                project_id=rng.choice(HOSTILE),
                tenant_id=rng.choice(HOSTILE),
                session_id="s",
                user_id=None,
                event_type=rng.choice(HOSTILE),
                item_id=None,
                metadata_json=b"{}",
                timestamp_ms=TIMESTAMP_MS + n * 1_000_003,
            ),
            TIMESTAMP_MS,
        )
        for n in range(1, 2_501)
    ]
    sql = insert_sql("nealytics_core", ROW_FORMAT)
    body = b"".join(rows)
    token = insert_token("log", 1, len(rows), body)
    there, gone = rows[:1_200], rows[1_200:]
    await engine.client.insert(sql, b"".join(there), token="of others")
    # The token is known, as after a crash: these rows are then taken out of the table.
    await engine.client.insert(sql, body, token=token)
    await engine.alter("DELETE WHERE 1 SETTINGS mutations_sync = 2")
    assert await engine.numbers() == []
    await engine.client.insert(sql, b"".join(there), token="of others again")

    again = [engine.client, "nealytics_core", body, rows, ROW_FORMAT]
    assert (await deliver(*again, token=token, tried=True)).sent_again == len(gone)
    assert await engine.numbers() == list(range(1, 2_501))
    assert (await deliver(*again, token=token, tried=True)).sent_again == 0
    assert await engine.numbers() == list(range(1, 2_501))


def variant(n: int = 1, **changes: Any) -> bytes:
    event = Event(
        event_id=n, project_id="shop", tenant_id="acme", session_id="s", user_id=None, event_type="view",
        item_id=None, metadata_json=b"{}", timestamp_ms=TIMESTAMP_MS,
    )  # fmt: skip
    return encode_row(msgspec.structs.replace(event, **changes), TIMESTAMP_MS)


async def test_a_row_that_differs_in_any_part_of_its_identity_is_another_row(engine):
    """For each row of the query, the table has one that differs in exactly one column."""
    asked = [
        variant(),
        variant(timestamp_ms=TIMESTAMP_MS + 5),
        variant(event_type="click"),
        variant(tenant_id="globex"),
        variant(project_id="mall"),
        variant(2),
    ]
    there = [
        variant(event_type="click", timestamp_ms=TIMESTAMP_MS + 5),
        variant(event_type="click", tenant_id="globex"),
        variant(tenant_id="globex", project_id="mall"),
        variant(2, project_id="mall"),
        variant(2, timestamp_ms=TIMESTAMP_MS + 5),
    ]
    sql = insert_sql("nealytics_core", ROW_FORMAT)
    await engine.client.insert(sql, b"".join(asked), token="t")
    await engine.alter("DELETE WHERE 1 SETTINGS mutations_sync = 2")
    await engine.client.insert(sql, b"".join(there), token="of others")
    again = [engine.client, "nealytics_core", b"".join(asked), asked, ROW_FORMAT]
    assert (await deliver(*again, token="t", tried=True)).sent_again == len(asked)
    assert (await deliver(*again, token="t", tried=True)).sent_again == 0


async def test_many_events_with_one_id_do_not_make_a_long_answer(engine, monkeypatch):
    """An id is one event's only together with its time: a careless client may send the same id with all."""
    await engine.client.command(
        "INSERT INTO nealytics_core.global_events (event_id, project_id, tenant_id, event_type,"
        " metadata_json, timestamp) SELECT toUUID('00000000-0000-0000-0000-000000000001'), 'shop', 'acme',"
        " 'view', '{}',"
        f" fromUnixTimestamp64Milli({TIMESTAMP_MS} + toInt64(number)) FROM numbers(50000)"
    )
    rows = [variant(), variant(timestamp_ms=TIMESTAMP_MS + 49_999), variant(timestamp_ms=TIMESTAMP_MS - 1)]
    answers = []
    query = engine.client.query

    async def spy(*args: Any, **kwargs: Any) -> Any:
        answers.append(await query(*args, **kwargs))
        return answers[-1]

    sql = insert_sql("nealytics_core", ROW_FORMAT)
    await engine.client.insert(sql, b"".join(rows), token="t")
    await engine.alter(
        f"DELETE WHERE timestamp < fromUnixTimestamp64Milli({TIMESTAMP_MS}) SETTINGS mutations_sync = 2"
    )
    monkeypatch.setattr(engine.client, "query", spy)
    batch = (engine.client, "nealytics_core", b"".join(rows), rows, ROW_FORMAT)
    assert (await deliver(*batch, token="t", tried=True)).sent_again == 1
    assert [len(answer) for answer in answers] == [2]


async def test_the_question_does_not_wait_for_slow_reads(engine):
    """Many reads, each until its client leaves."""
    rows = [row(n) for n in range(1, 11)]
    batch = [engine.client, "nealytics_core", b"".join(rows), rows, ROW_FORMAT]
    slow = [
        asyncio.create_task(engine.client.query("SELECT sleepEachRow(1) FROM numbers(3000)", settings=SLOW))
        for _ in range(10)  # fewer than the client has connections
    ]
    try:
        await asyncio.sleep(1)
        async with asyncio.timeout(60):
            await deliver(*batch, token="t", tried=True)
        assert not any(read.done() for read in slow)
    finally:
        for read in slow:
            read.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
