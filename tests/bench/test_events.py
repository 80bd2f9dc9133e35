"""That the generated events are what the figures claim to be measured on."""

from collections.abc import Iterator

import pytest

from nealytics.bench import events
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from tests.engine import RunningEngine, needs_engine, start_engine

pytestmark = [needs_engine, pytest.mark.engine]

TABLE = "nealytics_core.global_events"
EVENTS = 20_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("bench"), retention_days=0) as engine:
        yield engine


async def generated(engine: RunningEngine, *, again: bool = False) -> ClickHouseClient:
    """Once for all tests here, unless `again`."""
    client = ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse)
    if await schema.apply(client, engine.config.clickhouse) or again:
        await events.generate(client, "nealytics_core", EVENTS, 5)
    return client


async def test_there_are_as_many_events_as_asked_for_some_of_them_twice(engine: RunningEngine):
    async with await generated(engine) as client:
        ((count, ids, sessions),) = await client.query(
            f"SELECT count(), uniqExact(event_id), uniqExact(session_id) FROM {TABLE}"
        )
        assert (count, ids) == (EVENTS, EVENTS)
        assert EVENTS / 10 < sessions < EVENTS / 6
        ((rows,),) = await client.query(f"SELECT count() FROM {TABLE}", settings={"final": 0})
        assert EVENTS * 1.015 < rows < EVENTS * 1.025


async def test_they_are_the_same_ones_every_time(engine: RunningEngine):
    said = set()
    for _ in range(2):
        async with await generated(engine, again=True) as client:
            ((rows,),) = await client.query(f"SELECT sum(sipHash64(*)) FROM {TABLE}")
            parts = await client.query(
                "SELECT partition, rows FROM system.parts WHERE active AND table = 'global_events'"
                " AND level > 0 ORDER BY ALL",
                settings={"final": 0},
            )
            said.add((rows, str(parts)))
    assert len(said) == 1


async def test_they_lie_within_their_months_and_end_before_the_clock(engine: RunningEngine):
    async with await generated(engine) as client:
        ((first_ms, last_ms),) = await client.query(
            "SELECT toUnixTimestamp64Milli(min(timestamp)), toUnixTimestamp64Milli(max(timestamp))"
            f" FROM {TABLE}"
        )
        assert 0 <= first_ms - events.START.timestamp() * 1000 < 4 * 3_600_000
        assert 0 < events.END.timestamp() * 1000 - last_ms < 4 * 3_600_000
        months = await client.query(f"SELECT count() FROM {TABLE} GROUP BY toYYYYMM(timestamp)")
        assert all(EVENTS * 0.3 < count < EVENTS * 0.36 for (count,) in months)


async def test_tenants_have_a_half_a_third_a_quarter_of_the_first(engine: RunningEngine):
    async with await generated(engine) as client:
        rows = await client.query(f"SELECT tenant_id, count() FROM {TABLE} GROUP BY 1 ORDER BY 1")
    assert [name for name, _ in rows] == [events.tenant(rank) for rank in range(1, 6)]
    largest = rows[0][1]
    assert all(0.85 < count * rank / largest < 1.15 for rank, (_, count) in enumerate(rows, 1))


async def test_a_session_is_one_persons_at_one_tenant_within_minutes(engine: RunningEngine):
    async with await generated(engine) as client:
        ((tenants, users, minutes, anonymous),) = await client.query(
            "SELECT max(tenants), max(users), max(minutes), avg(users = 0)"
            " FROM (SELECT uniqExact(tenant_id) AS tenants, uniqExact(user_id) AS users,"
            " dateDiff('minute', min(timestamp), max(timestamp)) AS minutes"
            f" FROM {TABLE} GROUP BY session_id)"
        )
        assert (tenants, users) == (1, 1)
        assert minutes <= 10
        assert 0.25 < anonymous < 0.35
        ((broken,),) = await client.query(f"SELECT count() FROM {TABLE} WHERE NOT isValidJSON(metadata_json)")
        assert broken == 0


def test_pieces_cover_every_event_and_repeat_a_few():
    total = 1_000_000
    once: set[int] = set()
    rows = 0
    for piece in events.pieces(total):
        once.update(range(piece.first, piece.first + piece.rows))
        rows += piece.rows
    assert once == set(range(total))
    assert rows == pytest.approx(total * 1.02, rel=0.001)
    assert events.fingerprint(total, 20) == events.fingerprint(total, 20)
    assert events.fingerprint(total, 20) != events.fingerprint(total, 19)
