"""That the indexes on session and user are used, and that `final` sees all copies of what they find."""

from collections.abc import AsyncIterator, Iterator

import pytest

from nealytics.bench import events
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.rowbinary import INSERT_COLUMNS, ROW_FORMAT
from nealytics.queries.filters import Bind, parse_filter, where
from tests.engine import RunningEngine, needs_engine, start_engine

pytestmark = [needs_engine, pytest.mark.engine]

# One tenant with some granules in every month; each row lies in two parts at least.
EVENTS = 60_000
TABLE = "nealytics_core.global_events"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("indexes"), retention_days=0) as engine:
        yield engine


@pytest.fixture
async def client(engine: RunningEngine) -> AsyncIterator[ClickHouseClient]:
    async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:
        if await schema.apply(client, engine.config.clickhouse):
            await events.generate(client, "nealytics_core", EVENTS, 1)
            columns = ", ".join(INSERT_COLUMNS[ROW_FORMAT])
            await client.command(f"INSERT INTO {TABLE} ({columns}) SELECT {columns} FROM {TABLE}")
        yield client


async def test_what_the_indexes_find_is_what_a_full_read_finds(client: ClickHouseClient):
    chosen = await client.query(
        f"SELECT session_id, user_id FROM {TABLE}"
        " WHERE user_id IS NOT NULL AND sipHash64(event_id) % 3000 = 0"
    )
    assert len(chosen) > 10
    for session, user in [*chosen, ["nobody", "nobody"]]:
        for filter_ in (f"session_id:eq:{session}", f"user_id:eq:{user}", f"user_id:in:{user},nobody"):
            bind = Bind()
            condition = where(["project_id = 'bench'"], [parse_filter("filter", filter_)], bind, TABLE)
            sql = (
                "SELECT count(), uniqExact(event_id), sum(sipHash64(event_id, metadata_json))"
                f" FROM {TABLE} WHERE {condition}"
            )
            ((found, different, _),) = with_index = await client.query(sql, bind.values)
            assert found == different, "a copy is shown"
            assert with_index == await client.query(sql, bind.values, settings={"use_skip_indexes": 0})


@pytest.mark.parametrize(
    ("filter_", "index"),
    [
        ("session_id:eq:s", "session_id_bloom"),
        ("session_id:in:s,t", "session_id_bloom"),
        ("user_id:eq:u", "user_id_bloom"),
        ("user_id:in:u,v", "user_id_bloom"),
    ],
)
async def test_a_filter_reads_few_granules(client: ClickHouseClient, filter_: str, index: str):
    asked = parse_filter("filter", filter_)
    bind = Bind()
    plan = await plan_of(client, f"project_id = 'bench' AND {asked.indexed_sql(bind)}", bind)
    assert f"Name: {index}" in plan
    assert_few_granules(plan)
    # The question itself reads what lies around those.
    bind = Bind()
    assert_few_granules(await plan_of(client, where(["project_id = 'bench'"], [asked], bind, TABLE), bind))


async def plan_of(client: ClickHouseClient, condition: str, bind: Bind) -> str:
    sql = f"EXPLAIN indexes = 1 SELECT count() FROM {TABLE} WHERE {condition}"
    return "\n".join(text for (text,) in await client.query(sql, bind.values))


def assert_few_granules(plan: str) -> None:
    granules = [line.split("Granules:")[1].strip() for line in plan.splitlines() if "Granules:" in line]
    counts = [int(count) for line in granules for count in line.split("/")]
    assert max(counts) >= 10
    assert counts[-2] * 4 < max(counts), plan
