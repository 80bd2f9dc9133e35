"""A table that cannot keep events once becomes one that can, whatever ends the migration in between."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.schema.migration import KEPT, STAGING, Migration, Slice, expressions, slices
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError
from tests.e2e.node import Node, program
from tests.engine import RunningEngine, needs_engine, start_engine

# As the first C# release made it.
V1_0 = """
CREATE TABLE {database}.global_events
( event_id UUID, project_id LowCardinality(String), tenant_id String, session_id String,
  event_type LowCardinality(String), item_id Nullable(String), metadata_json String CODEC(ZSTD(1)),
  timestamp DateTime64(3, 'UTC') )
ENGINE = MergeTree() ORDER BY (project_id, tenant_id, event_type, timestamp)
SETTINGS index_granularity = 8192
"""
HOUR = 3_600_000
ROWS = 5_000

# Of all of 14 years, older than any retention.
FILL = """
INSERT INTO {database}.global_events
SELECT generateUUIDv4(), 'shop', concat('t', toString(number % 7)), toString(number % 50), 'view',
       if(number % 3 = 0, NULL, toString(number)), concat('{{"n":', toString(number), '}}'),
       toDateTime64('2012-06-15 00:00:00', 3, 'UTC') + toIntervalHour(number * 24)
FROM numbers({rows})
"""
EVENTS = (
    "SELECT count(), uniqExact(event_id), groupBitXor(sipHash64(event_id, project_id, tenant_id, session_id, "
    "event_type, assumeNotNull(item_id), isNull(item_id), metadata_json, timestamp)) "
    "FROM {database}.{table} FORMAT TabSeparated"
)


async def migrate(client: ClickHouseClient, config: ClickHouseConfig, slice_rows: int = 1000) -> list[str]:
    return [line async for line in Migration(client, config, slice_rows=slice_rows).run()]


async def events(client: ClickHouseClient, database: str, table: str = "global_events") -> str:
    return await client.command(EVENTS.format(database=database, table=table), settings={"final": 1})


def test_slices_are_cut_at_hours_and_hold_no_more_rows_than_asked_for():
    assert slices([(0, 5), (1, 5), (2, 1), (400, 30), (401, 2)], 10) == [
        Slice(0, 2 * HOUR, 10),
        Slice(2 * HOUR, 3 * HOUR, 1),
        Slice(400 * HOUR, 401 * HOUR, 30),
        Slice(401 * HOUR, 402 * HOUR, 2),
    ]
    assert slices([], 10) == []


def test_a_table_of_something_else_is_refused():
    with pytest.raises(ConfigError, match="no column project_id"):
        expressions({"event_id": "UUID"}, [])


@pytest.mark.engine
async def test_a_table_of_the_first_csharp_release_is_migrated_with_all_its_rows(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(V1_0.format(database=database))
    await client.command(FILL.format(database=database, rows=ROWS))
    before = await events(client, database)

    said = await migrate(client, config)

    assert f"{database}.global_events (MergeTree) has 5,000 rows" in said
    assert "5,000 rows are 5,000 events; the new table has 5,000 events" in said
    assert f"the old table is kept as {database}.{KEPT}; nothing was deleted from it" in said
    assert await events(client, database) == before
    assert await events(client, database, KEPT) == before
    # Nothing of it is deleted by the default of 90 days: not now, and not at the next start.
    assert (await schema.probe(client, config)).retention == schema.Retention(float("inf"))
    await schema.apply(client, config)
    await client.command(f"OPTIMIZE TABLE {database}.global_events FINAL")
    assert await events(client, database) == before
    rows = "SELECT countIf(received_at = timestamp AND inserted_at = timestamp AND user_id IS NULL)"
    assert await client.query(f"{rows} FROM global_events") == [[ROWS]]
    (again,) = await migrate(client, config)
    assert "nothing to migrate" in again


@pytest.mark.engine
@pytest.mark.parametrize(
    "table",
    [
        "ReplacingMergeTree ORDER BY (project_id, tenant_id, timestamp)",
        "ReplacingMergeTree ORDER BY (project_id, tenant_id, event_type, timestamp, event_id)",
        "MergeTree PARTITION BY toYYYYMMDD(timestamp) ORDER BY (tenant_id, timestamp) "
        "TTL toDateTime(timestamp) + INTERVAL 100000 DAY",
    ],
)
async def test_other_keys_partitions_and_columns_are_migrated(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, table: str
):
    create = V1_0.format(database=database).replace(" DateTime64(3, 'UTC')", " DateTime64(3, 'Asia/Kolkata')")
    create, _, settings = create.partition("ENGINE = MergeTree() ORDER BY")
    columns = "`menu id` Nullable(String) DEFAULT 'x', double UInt8 MATERIALIZED 2, timestamp "
    create = create.replace("timestamp ", columns, 1)
    await client.command(f"{create} ENGINE = {table} SETTINGS {settings.partition('SETTINGS')[2]}")
    # Few, because the last table has a part for each of them, which the engine takes long to change and read.
    fill = FILL.format(database=database, rows=45).replace(
        "global_events", "global_events (event_id, project_id, tenant_id, session_id, event_type, item_id, "
        "metadata_json, timestamp)",
    )  # fmt: skip
    await client.command(fill, settings={"max_partitions_per_insert_block": 0})
    await client.command(
        f"ALTER TABLE {database}.global_events UPDATE `menu id` = tenant_id WHERE tenant_id != 't1' "
        "SETTINGS mutations_sync = 2"
    )
    before = await events(client, database)
    menu = f"SELECT countIf(`menu id` = tenant_id), countIf(`menu id` = 'x') FROM {database}.global_events"
    menus = await client.command(menu)
    said = await migrate(client, config, 15)
    assert await events(client, database) == before
    assert await client.command(menu) == menus
    assert "column double is computed and was not copied; add it to the new table if you need it" in said
    assert ("TTL" in said[-1]) == ("TTL" in table)
    await schema.probe(client, config)


@pytest.mark.engine
async def test_rows_that_repeat_an_event_are_reported_and_events_without_id_are_kept_apart(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(V1_0.format(database=database))
    nil, some = "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"
    for id, session in ((some, "a"), (some, "a"), (some, "b"), (nil, "a"), (nil, "b"), (nil, "b")):
        await client.command(
            f"INSERT INTO {database}.global_events (event_id, tenant_id, session_id, timestamp) "
            f"VALUES ('{id}', 't', '{session}', '2020-01-01 00:00:00')"
        )
    said = await migrate(client, config)
    assert "6 rows are 3 events; the new table has 3 events" in said
    assert any(
        line.startswith("3 rows repeat an event") and "1 of them with different content" in line
        for line in said
    )
    assert await client.query("SELECT count(), uniqExact(event_id) FROM global_events") == [[3, 3]]
    assert await client.command(f"SELECT count() FROM {database}.{KEPT}") == "6\n"


@pytest.mark.engine
async def test_what_comes_into_the_old_table_meanwhile_is_copied_too(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(V1_0.format(database=database))
    await client.command(FILL.format(database=database, rows=100))
    late = 0
    async for line in Migration(client, config, slice_rows=10).run():
        # Also between the exchange and the last comparison, by an insert that began before it.
        table = STAGING if "is the new table now" in line else "global_events"
        if " so far" in line or table == STAGING:
            late += 1
            await client.command(
                f"INSERT INTO {database}.{table} (event_id, tenant_id, timestamp) "
                f"VALUES (generateUUIDv4(), 'late', '2012-06-15 00:{late % 60:02}:00')"
            )
    assert late > 10
    assert await client.query("SELECT count() FROM global_events") == [[100 + late]]
    assert await client.query("SELECT count() FROM global_events WHERE tenant_id = 'late'") == [[late]]


@pytest.mark.engine
@pytest.mark.parametrize("exchanged", [False, True])
async def test_a_migration_that_ended_beside_the_exchange_is_finished(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, exchanged: bool
):
    await client.command(V1_0.format(database=database))
    await client.command(FILL.format(database=database, rows=100))
    before = await events(client, database)
    async for line in Migration(client, config).run():
        if ("is the new table now" if exchanged else "the new table has") in line:
            break
    assert await schema.read_table(client, database, STAGING) is not None
    said = await migrate(client, config)
    assert f"the old table is kept as {database}.{KEPT}; nothing was deleted from it" in said
    assert await events(client, database) == before
    assert await events(client, database, KEPT) == before
    assert await schema.read_table(client, database, STAGING) is None


@pytest.mark.engine
async def test_a_migration_that_was_overtaken_by_another_does_not_exchange_the_tables_back(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(V1_0.format(database=database))
    await client.command(FILL.format(database=database, rows=10))
    slow, fast = Migration(client, config).run(), Migration(client, config).run()
    async for line in slow:
        if "the new table has" in line:
            break  # before its exchange
    async for line in fast:
        if "is the new table now" in line:
            break  # between its exchange and its rename
    await client.command(
        f"INSERT INTO {database}.global_events (event_id, project_id) SELECT generateUUIDv4(), 'new'"
    )
    with pytest.raises(NealyticsError, match="another migration"):
        async for _ in slow:
            pass
    async for _ in fast:
        pass
    assert await client.command(f"SELECT count() FROM {database}.global_events FINAL") == "11\n"
    table = await schema.read_table(client, database)
    assert table is not None
    assert table.engine == "ReplacingMergeTree"


@pytest.mark.engine
async def test_a_second_migration_keeps_the_table_of_the_first(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    for _ in range(2):
        await client.command(f"DROP TABLE IF EXISTS {database}.global_events")
        await client.command(V1_0.format(database=database))
        said = await migrate(client, config)
    assert f"{KEPT}_2" in said[-1]
    assert await schema.read_table(client, database, KEPT) is not None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[RunningEngine, Node]]:
    (tmp_path / "clickhouse").mkdir()
    (tmp_path / "node").mkdir()
    with start_engine(tmp_path / "clickhouse") as engine:
        settings = (
            f'clickhouse.retention_days = 90\nclickhouse.user = "{engine.user}"\n'
            f'clickhouse.password = "{engine.password}"'
        )
        yield engine, Node(tmp_path / "node", clickhouse=engine.url, settings=settings)


def ask(engine: RunningEngine, sql: str) -> str:
    answer = engine.request("POST", "/", sql.encode())
    assert answer.status == 200, answer.text
    return answer.text


@needs_engine
@pytest.mark.engine
@pytest.mark.e2e
@pytest.mark.parametrize("victim", ["the command", "the engine"])
def test_a_migration_that_is_killed_again_and_again_loses_and_doubles_nothing(
    server: tuple[RunningEngine, Node], victim: str
):
    engine, node = server
    ask(engine, "CREATE DATABASE nealytics_core")
    ask(engine, V1_0.format(database="nealytics_core"))
    ask(engine, FILL.format(database="nealytics_core", rows=ROWS))
    before = ask(engine, EVENTS.format(database="nealytics_core", table="global_events"))
    command = [*program(), "schema", "migrate", "--slice-rows", "250", "--config", str(node.config)]
    kills = 0
    # Each run gets a little further than the one before, and dies in the middle of what comes then.
    for lines in [1, 2, 4, 7, 11, 16, 22]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        if victim == "the command":
            kills += process.poll() is None
            process.kill()
        else:
            kills += 1
            engine.kill()
            engine.start()
        process.communicate(timeout=120)
        assert ask(engine, f"EXISTS nealytics_core.{KEPT}") == "0\n" or process.returncode == 0
    assert kills >= 3

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 0, done.stderr
    for table in ("global_events", KEPT):
        sql = EVENTS.format(database="nealytics_core", table=table)
        final = f"{sql.removesuffix('FORMAT TabSeparated')} SETTINGS final = 1 FORMAT TabSeparated"
        assert ask(engine, final if table == "global_events" else sql) == before
    # And a node that was running, or starts now, finds it fit.
    with node:
        node.wait_ready()
        assert "keeps events for ever" in str(node.request("GET", "/ready")[1])
