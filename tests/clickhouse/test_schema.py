import asyncio
import math
import re
from pathlib import Path

import msgspec
import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, NotAReplica
from nealytics.clickhouse.failover import Address, Addresses
from nealytics.clickhouse.rowbinary import INSERT_COLUMNS, ROW_FORMAT, insert_sql
from nealytics.clickhouse.schema.definition import create_erasures
from nealytics.config import ClickHouseConfig
from nealytics.errors import ConfigError, NealyticsError

# The table as the C# engine's clickhouse-init.sql makes it, and as its first versions did (without user_id).
CSHARP_TABLE = """
CREATE TABLE {database}.global_events
( event_id UUID, project_id LowCardinality(String), tenant_id String, session_id String, {user_id}
  event_type LowCardinality(String), item_id Nullable(String), metadata_json String CODEC(ZSTD(1)),
  timestamp DateTime64(3, 'UTC') )
ENGINE = ReplacingMergeTree()
ORDER BY (project_id, tenant_id, event_type, timestamp, event_id)
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1
"""
USER_ID = "user_id Nullable(String),"


async def everything_about(client: ClickHouseClient, database: str) -> str:
    """The table's definition and its metadata version, and what ALTER has begun; without the events."""
    return await client.command(
        "SELECT create_table_query, metadata_modification_time, (SELECT count() FROM system.mutations "
        f"WHERE database = '{database}') FROM system.tables WHERE database = '{database}'"
    )


def normalised(sql: str) -> str:
    without_comments = re.sub(r"--[^\n]*", "", sql)
    return re.sub(r"\s+", " ", re.sub(r"\s*([(),])\s*", r"\1", without_comments)).strip()


def test_the_sql_file_is_what_apply_creates():
    text = (Path(__file__).parents[2] / "clickhouse-init.sql").read_text()
    statements = [normalised(part) for part in re.sub(r"--[^\n]*", "", text).split(";") if part.strip()]
    made = [*schema.create_statements("nealytics_core", 90), create_erasures("nealytics_core")]
    assert statements == [normalised(sql) for sql in made]


def test_the_sql_file_of_a_cluster_is_what_apply_creates_there():
    text = (Path(__file__).parents[2] / "clickhouse-init-cluster.sql").read_text()
    statements = [normalised(part) for part in re.sub(r"--[^\n]*", "", text).split(";") if part.strip()]
    made = schema.create_statements("nealytics_core", 90, "{cluster}")
    made.append(create_erasures("nealytics_core", "{cluster}"))
    assert statements == [normalised(sql) for sql in made]


def test_the_sql_file_gives_a_reason_for_every_setting():
    lines = (Path(__file__).parents[2] / "clickhouse-init.sql").read_text().splitlines()
    settings = lines[lines.index("SETTINGS") :]
    names = [match[1] for line in settings if (match := re.match(r"\s+(\w+) = ", line))]
    assert len(names) == 11
    assert sum(line.strip().startswith("--") for line in settings) >= 4


def test_retention_zero_means_no_ttl():
    assert "TTL" not in schema.create_statements("db", 0)[1].replace("ttl_only", "")
    assert "INTERVAL 7 DAY" in schema.create_statements("db", 7)[1]


def test_a_database_name_is_quoted():
    assert schema.create_statements("a`b", 0)[0] == r"CREATE DATABASE IF NOT EXISTS `a\`b`"
    assert insert_sql("my db", ROW_FORMAT).startswith("INSERT INTO `my db`.global_events (")


def test_rows_never_bring_the_time_clickhouse_took_them():
    assert "inserted_at" not in INSERT_COLUMNS[ROW_FORMAT]
    assert {"received_at", "event_id"} <= set(INSERT_COLUMNS[ROW_FORMAT])


@pytest.mark.engine
async def test_apply_creates_the_table_and_a_second_one_has_nothing_to_do(
    client: ClickHouseClient, config: ClickHouseConfig
):
    done = await schema.apply(client, config)
    assert done == [f"created database {config.database}", f"created table {config.database}.global_events"]
    assert await schema.apply(client, config) == []
    await schema.probe(client, config)
    table = await schema.read_table(client, config.database)
    assert table is not None
    assert schema.plan(table, config.database, config.retention_days) == schema.Plan([], [])


@pytest.mark.engine
@pytest.mark.parametrize("user_id", [USER_ID, ""], ids=["with user_id", "without user_id"])
async def test_a_table_of_the_csharp_engine_is_migrated_with_its_rows(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, user_id: str
):
    await client.command(CSHARP_TABLE.format(database=database, user_id=user_id))
    await client.command(
        f"INSERT INTO {database}.global_events (event_id, tenant_id, timestamp) "
        "SELECT generateUUIDv4(), 't', now64(3) FROM numbers(3)"
    )
    with pytest.raises(NealyticsError, match="schema apply"):
        await schema.probe(client, config)

    done = await schema.apply(client, config)

    assert ("added column user_id" in done) == (not user_id)
    assert {"added column received_at", "added column inserted_at"} <= set(done)
    assert "set non_replicated_deduplication_window = 10000 (was not set)" in done
    assert "set fsync_after_insert = 1 (was not set)" in done
    remark = done[-1]
    assert "partitioned by nothing" in remark
    assert "cannot be changed" in remark
    await schema.probe(client, config)
    rows = await client.query("SELECT received_at = timestamp, user_id FROM global_events")
    assert rows == [[1, None]] * 3
    columns = await client.query(
        "SELECT name FROM system.columns WHERE database = currentDatabase() ORDER BY position"
    )
    assert [name for (name,) in columns] == [column.name for column in schema.COLUMNS]
    # Not computed anew at every read, which would make every old event look like one that has just come in.
    assert await client.query("SELECT count() FROM global_events WHERE inserted_at = timestamp") == [[3]]
    await client.command(
        f"INSERT INTO {database}.global_events (event_id, tenant_id, timestamp) "
        "SELECT generateUUIDv4(), 'new', now64(3) - INTERVAL 1 DAY"
    )
    new = "SELECT now64(3) - inserted_at < 60 FROM global_events WHERE tenant_id = 'new'"
    assert await client.query(new) == [[1]]
    # The second time, only what cannot be changed is said again.
    assert await schema.apply(client, config) == [remark]


@pytest.mark.engine
async def test_a_migration_that_was_interrupted_is_finished_and_meanwhile_nothing_is_written(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(CSHARP_TABLE.format(database=database, user_id=USER_ID))
    await client.command(
        f"INSERT INTO {database}.global_events (event_id, timestamp) "
        "SELECT generateUUIDv4(), now64(3) - INTERVAL 1 DAY FROM numbers(3)"
    )
    table = await schema.read_table(client, database)
    assert table is not None
    for what, sql in schema.plan(table, database, 0).steps:
        await client.command(sql)
        if what == "added column inserted_at":
            break
    with pytest.raises(NealyticsError, match="is being migrated: inserted_at"):
        await schema.probe(client, config)

    done = await schema.apply(client, config)

    assert "wrote inserted_at = timestamp for the existing events" in done
    await schema.probe(client, config)
    assert await client.query("SELECT count() FROM global_events WHERE inserted_at = timestamp") == [[3]]


@pytest.mark.engine
async def test_a_migration_that_takes_longer_than_a_request_is_waited_for_and_not_begun_again(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    """Each try wrote all old events again and gave up after the same time: with enough of them for ever."""
    await client.command(CSHARP_TABLE.format(database=database, user_id=USER_ID))
    table = f"{database}.global_events"
    await client.command(
        f"INSERT INTO {table} (event_id, timestamp) SELECT generateUUIDv4(), now64(3) - INTERVAL 1 DAY"
    )
    await client.command(f"SYSTEM STOP MERGES {table}")  # and mutations
    impatient = msgspec.structs.replace(config, insert_timeout_s=1.2)
    async with ClickHouseClient(client.endpoint, impatient) as hasty:
        with pytest.raises(ClickHouseUnavailable, match="within the time limit"):
            await schema.apply(hasty, impatient)
        for _ in range(2):
            with pytest.raises(NealyticsError, match="is being migrated"):
                await schema.apply(hasty, impatient)
    await client.command(f"SYSTEM START MERGES {table}")

    done = await schema.apply(client, config)

    assert "inserted_at of new events is now64(3)" in done
    begun = (
        "SELECT count(), sum(is_done) FROM system.mutations"
        " WHERE database = currentDatabase() AND command LIKE '%MATERIALIZE COLUMN%'"
    )
    assert await client.query(begun) == [[1, 1]]
    assert await client.query("SELECT count() FROM global_events WHERE inserted_at = timestamp") == [[1]]
    await schema.probe(client, config)


@pytest.mark.engine
async def test_a_table_of_an_earlier_release_gets_the_index(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await schema.apply(client, config)
    await client.command(f"ALTER TABLE {database}.global_events DROP INDEX inserted_at_minmax")
    assert await schema.apply(client, config) == [
        "added index inserted_at_minmax",
        "index inserted_at_minmax is being built for the existing events",
    ]
    assert await schema.apply(client, config) == []


@pytest.mark.engine
async def test_apply_makes_the_retention_longer_and_never_shorter(
    client: ClickHouseClient, config: ClickHouseConfig
):
    async def applied(days: int) -> tuple[list[str], str]:
        done = await schema.apply(client, msgspec.structs.replace(config, retention_days=days))
        table = await schema.read_table(client, config.database)
        assert table is not None
        return done, table.ttl

    assert (await applied(30))[1] == "toDateTime(timestamp) + toIntervalDay(30)"
    assert await applied(90) == (
        ["events are kept 90 days (were kept 30 days)"],
        "toDateTime(timestamp) + toIntervalDay(90)",
    )
    (remark,), ttl = await applied(30)
    assert "keeps events 90 days, longer than clickhouse.retention_days = 30" in remark
    assert ttl == "toDateTime(timestamp) + toIntervalDay(90)"
    assert await applied(0) == (["events are kept for ever (were kept 90 days)"], "")
    assert await applied(0) == ([], "")
    (remark,), ttl = await applied(7)
    assert "keeps events for ever, longer than clickhouse.retention_days = 7" in remark
    assert ttl == ""


@pytest.mark.engine
async def test_a_ttl_written_by_hand_stays(client: ClickHouseClient, config: ClickHouseConfig):
    await schema.apply(client, config)
    by_hand = "timestamp + toIntervalYear(1)"
    await client.command(f"ALTER TABLE {config.database}.global_events MODIFY TTL {by_hand}")
    (remark,) = await schema.apply(client, config)
    assert by_hand in remark
    assert "not changed" in remark


@pytest.mark.engine
@pytest.mark.parametrize(
    ("ttl", "days"),
    [
        ("timestamp + INTERVAL 1 YEAR", 365),
        ("timestamp + INTERVAL 1 MONTH", 28),  # February
        ("timestamp + INTERVAL 12 HOUR", 0.5),
        ("toDate(timestamp) + 30", 29 + 0.001 / 86_400),  # an event of the end of a day
        ("toStartOfMonth(timestamp) + INTERVAL 3 MONTH", 59 + 0.001 / 86_400),
        # Those of one tenant are deleted, and no event may be accepted that is.
        ("timestamp + INTERVAL 30 DAY DELETE WHERE tenant_id = 'a, b'", 30),
        ("timestamp + INTERVAL 30 DAY WHERE tenant_id = 'a', timestamp + INTERVAL 20 DAY", 20),
        # From when it came in, however old it was then.
        ("received_at + INTERVAL 30 DAY", math.inf),
        ("toDateTime(inserted_at) + INTERVAL 30 DAY", math.inf),
        ("timestamp + INTERVAL 30 DAY RECOMPRESS CODEC(ZSTD(9))", math.inf),
        # What it keeps depends on the event.
        ("timestamp + if(event_type = 'log', toIntervalDay(7), toIntervalDay(90))", None),
        (
            "timestamp + INTERVAL 9 DAY GROUP BY project_id, tenant_id SET session_id = any(session_id), "
            "item_id = any(item_id)",
            None,
        ),
    ],
)
async def test_what_a_ttl_written_by_hand_keeps_is_what_it_keeps_for_certain(
    client: ClickHouseClient, config: ClickHouseConfig, ttl: str, days: float | None
):
    config = msgspec.structs.replace(config, retention_days=0)
    await schema.apply(client, config)
    await client.command(f"ALTER TABLE {config.database}.global_events MODIFY TTL {ttl}")
    kept = (await schema.probe(client, config)).retention
    assert kept.by_hand
    assert kept.days == (pytest.approx(days, abs=1e-9) if days is not None else None)
    assert await schema.read_retention(client, config) == kept


@pytest.mark.engine
async def test_a_ttl_written_by_hand_keeps_its_way_of_deleting(
    client: ClickHouseClient, config: ClickHouseConfig
):
    """With `ttl_only_drop_parts`, which is ours, one that deletes single events would delete none."""
    await schema.apply(client, config)
    table = f"{config.database}.global_events"
    await client.command(f"ALTER TABLE {table} MODIFY TTL timestamp + toIntervalDay(9) WHERE tenant_id = 'a'")
    await client.command(f"ALTER TABLE {table} MODIFY SETTING ttl_only_drop_parts = 0")
    assert not any("ttl_only_drop_parts" in line for line in await schema.apply(client, config))


@pytest.mark.engine
async def test_a_column_of_our_name_and_another_type_is_not_converted(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    """MODIFY COLUMN would cut its values, and cannot be undone."""
    create = CSHARP_TABLE.format(database=database, user_id=USER_ID)
    own = "inserted_at DateTime64(6, 'UTC') DEFAULT timestamp, timestamp DateTime64(3"
    await client.command(create.replace("timestamp DateTime64(3", own))
    done = await schema.apply(client, config)
    assert "column inserted_at is DateTime64(6, 'UTC'), not DateTime64(3, 'UTC'); not changed" in done
    table = await schema.read_table(client, database)
    assert table is not None
    assert table.columns["inserted_at"] == "DateTime64(6, 'UTC')"


@pytest.mark.engine
async def test_a_table_that_kept_for_ever_loses_nothing_to_a_node_with_the_default_file(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    """5,000 events of 90 years became 2,000, with one line of level info."""
    await client.command(
        CSHARP_TABLE.format(database=database, user_id=USER_ID).replace(
            "TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE", ""
        )
    )
    table = f"{database}.global_events"
    await client.command(
        f"INSERT INTO {table} (event_id, timestamp) "
        "SELECT generateUUIDv4(), now64(3) - toIntervalDay(number) FROM numbers(500)"
    )
    done = await schema.apply(client, msgspec.structs.replace(config, retention_days=90))
    await client.command(f"OPTIMIZE TABLE {table} FINAL")
    assert await client.query("SELECT count() FROM global_events") == [[500]]
    assert sum("--shorten-retention" in line for line in done) == 1
    assert (await schema.probe(client, config)).retention == schema.Retention(math.inf)


@pytest.mark.engine
async def test_many_nodes_may_apply_at_the_same_time(client: ClickHouseClient, config: ClickHouseConfig):
    await asyncio.gather(*(schema.apply(client, config) for _ in range(8)))
    await schema.probe(client, config)


@pytest.mark.engine
async def test_many_nodes_may_migrate_at_the_same_time(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(CSHARP_TABLE.format(database=database, user_id=""))
    await asyncio.gather(*(schema.apply(client, config) for _ in range(8)))
    await schema.probe(client, config)


@pytest.mark.engine
async def test_a_larger_deduplication_window_is_left_alone(
    client: ClickHouseClient, config: ClickHouseConfig
):
    await schema.apply(client, config)
    table = f"{config.database}.global_events"
    await client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 50000")
    assert await schema.apply(client, config) == []


@pytest.mark.engine
async def test_a_table_without_deduplication_window_is_refused_with_the_fix(
    client: ClickHouseClient, config: ClickHouseConfig
):
    await schema.apply(client, config)
    table = f"{config.database}.global_events"
    await client.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0")
    with pytest.raises(
        NealyticsError, match=r"MODIFY SETTING non_replicated_deduplication_window = 10000"
    ) as raised:
        await schema.probe(client, config)
    fix = re.search(r"ALTER TABLE .* = 10000", str(raised.value))
    assert fix is not None
    await client.command(fix[0])
    await schema.probe(client, config)


@pytest.mark.engine
async def test_a_missing_table_is_named_with_the_fix(client: ClickHouseClient, config: ClickHouseConfig):
    with pytest.raises(NealyticsError, match=r"no table .*run `nealytics schema apply`"):
        await schema.probe(client, config)


@pytest.mark.engine
async def test_a_table_that_would_count_twice_is_refused(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await client.command(
        CSHARP_TABLE.format(database=database, user_id=USER_ID).replace("ReplacingMergeTree()", "MergeTree")
    )
    before = await everything_about(client, database)
    for look in (schema.apply, schema.probe):
        with pytest.raises(ConfigError, match=r"is MergeTree .*counted twice.*`nealytics schema migrate`"):
            await look(client, config)
    assert await everything_about(client, database) == before


@pytest.mark.engine
@pytest.mark.parametrize(
    ("key", "partition", "match"),
    [
        (f"{schema.SORTING_KEY}, received_at", schema.PARTITION_KEY, "counted twice"),
        ("event_id", schema.PARTITION_KEY, "replace another"),
        (schema.SORTING_KEY, "toYYYYMMDD(received_at)", "another received_at would be counted twice"),
        (schema.SORTING_KEY, "(toYYYYMM(timestamp), user_id)", "another user_id would be counted twice"),
    ],
)
async def test_a_table_that_takes_other_events_for_copies_is_refused(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, key: str, partition: str, match: str
):
    *before, create = schema.create_statements(database, 0)
    for sql in before:
        await client.command(sql)
    create = create.replace(f"PARTITION BY {schema.PARTITION_KEY}", f"PARTITION BY {partition}")
    create = create.replace(f"ORDER BY ({schema.SORTING_KEY})", f"ORDER BY ({key})")
    await client.command(create.replace("SETTINGS ", "SETTINGS allow_nullable_key = 1, "))
    with pytest.raises(ConfigError, match=match):
        await schema.probe(client, config)


@pytest.mark.engine
@pytest.mark.parametrize(
    "partition", ["toYYYYMMDD(timestamp)", "tuple()", "(tenant_id, toYYYYMM(timestamp))"]
)
async def test_a_table_in_other_parts_is_taken(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, partition: str
):
    *before, create = schema.create_statements(database, 0)
    for sql in before:
        await client.command(sql)
    await client.command(create.replace(f"PARTITION BY {schema.PARTITION_KEY}", f"PARTITION BY {partition}"))
    await schema.probe(client, config)


DURABLE = {
    "fsync_after_insert": (1, 0),
    "fsync_part_directory": (1, 0),
    "min_rows_to_fsync_after_merge": (1, 2),
    "min_compressed_bytes_to_fsync_after_merge": (1, 0),
    "old_parts_lifetime": (480, 479),
    "always_use_copy_instead_of_hardlinks": (0, 1),
}


@pytest.mark.engine
@pytest.mark.parametrize("found", ["unset", "too weak"])
async def test_a_table_that_a_power_loss_could_harm_is_named_and_fixed(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, found: str
):
    """Also where the setting has the right default: a server's configuration changes those."""
    *before, create = schema.create_statements(database, config.retention_days)
    for sql in before:
        await client.command(sql)
    for name, (right, weak) in DURABLE.items():
        assert f"{name} = {right}" in create
        wrong = f", {name} = {weak}" if found == "too weak" else ""
        create = create.replace(f", {name} = {right}", wrong)
    await client.command(create)
    (warning,) = (await schema.probe(client, config)).warnings
    missing = ", ".join(f"{name} = {right}" for name, (right, _) in DURABLE.items())
    assert f"does not set {missing}: a power loss" in warning
    await schema.apply(client, config)
    assert (await schema.probe(client, config)).warnings == []
    assert await schema.apply(client, config) == []


@pytest.mark.engine
@pytest.mark.parametrize("found", ["", ", max_compress_block_size = 0, min_bytes_for_wide_part = 10485760"])
async def test_a_table_whose_damage_is_answered_late_is_named_and_fixed(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, found: str
):
    """A table of an earlier release sets neither; a block size of 0 is the server's own."""
    ours = ", max_compress_block_size = 16384, min_bytes_for_wide_part = 131072"
    *before, create = schema.create_statements(database, config.retention_days)
    for sql in before:
        await client.command(sql)
    assert ours in create
    await client.command(create.replace(ours, found))
    (warning,) = (await schema.probe(client, config)).warnings
    assert f"does not set {ours.removeprefix(', ')}: a read of a damaged part" in warning
    await schema.apply(client, config)
    assert (await schema.probe(client, config)).warnings == []
    assert await schema.apply(client, config) == []


@pytest.mark.engine
async def test_smaller_blocks_than_ours_are_somebodys_choice(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await schema.apply(client, config)
    smaller = "max_compress_block_size = 8192, min_bytes_for_wide_part = 0"
    await client.command(f"ALTER TABLE {database}.global_events MODIFY SETTING {smaller}")
    assert await schema.apply(client, config) == []
    assert (await schema.probe(client, config)).warnings == []


@pytest.mark.engine
async def test_parts_that_are_kept_longer_than_needed_are_somebodys_choice(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    await schema.apply(client, config)
    await client.command(f"ALTER TABLE {database}.global_events MODIFY SETTING old_parts_lifetime = 481")
    assert await schema.apply(client, config) == []
    assert (await schema.probe(client, config)).warnings == []


def test_a_table_syncs_what_it_writes_before_anything_is_written_anew():
    """A column is added to every part, and the parts that this makes replace those that were synced."""
    csharp = schema.Table("ReplacingMergeTree", schema.SORTING_KEY, "", "ReplacingMergeTree", columns={})
    settings: list[int] = []
    others: list[int] = []
    for place, (_, sql) in enumerate(schema.plan(csharp, "db", 0).steps):
        (settings if "MODIFY SETTING" in sql else others).append(place)
    assert max(settings) < min(others)


def test_events_are_kept_longer_before_what_takes_long():
    """Meanwhile ClickHouse deletes by the old TTL; and a node that keeps them for ever may remove it, which
    the statement of this one, decided before that, would take back."""
    table = schema.Table(
        "ReplacingMergeTree",
        schema.SORTING_KEY,
        "",
        "… TTL toDateTime(timestamp) + toIntervalDay(30)",
        columns={},
    )
    steps = [sql for _, sql in schema.plan(table, "db", 90).steps if "MODIFY SETTING" not in sql]
    assert "MODIFY TTL" in steps[0]


def test_a_replica_syncs_what_it_fetches():
    (_, local, _) = schema.create_statements("db", 0, "main")
    assert "min_compressed_bytes_to_fsync_after_fetch = 1" in local
    assert "fetch" not in schema.create_statements("db", 0)[1]
    described = local[local.index("Replicated") :].replace("\n", " ")
    table = schema.Table("ReplicatedReplacingMergeTree", "", "", described, {})
    assert schema.wanted_settings(table) == {}
    lacking = described.replace("min_compressed_bytes_to_fsync_after_fetch = 1", "index_granularity = 1")
    table = schema.Table("ReplicatedReplacingMergeTree", "", "", lacking, {})
    assert schema.wanted_settings(table) == {"min_compressed_bytes_to_fsync_after_fetch": 1}


def test_a_replicated_table_has_its_own_window():
    table = schema.Table(
        "ReplicatedReplacingMergeTree", "", "", "Replicated… SETTINGS fsync_after_insert = 1", {}
    )
    assert "non_replicated_deduplication_window" not in schema.wanted_settings(table)
    small = "Replicated… SETTINGS replicated_deduplication_window = 100, ttl_only_drop_parts = 1"
    wanted = schema.wanted_settings(schema.Table("ReplicatedReplacingMergeTree", "", "", small, {}))
    assert wanted["replicated_deduplication_window"] == 10_000
    assert "ttl_only_drop_parts" not in wanted


@pytest.mark.engine
@pytest.mark.parametrize(("kept", "deleted"), [(0, 90), (91, 90), (90, 30)])
async def test_a_table_that_deletes_what_is_accepted_is_refused_until_apply_has_run(
    client: ClickHouseClient, config: ClickHouseConfig, kept: int, deleted: int
):
    """Also between the starts of two workers: only one of them applies the schema."""
    await schema.apply(client, msgspec.structs.replace(config, retention_days=deleted))
    config = msgspec.structs.replace(config, retention_days=kept)
    with pytest.raises(NealyticsError, match=f"deletes events after {deleted} days"):
        await schema.probe(client, config)
    await schema.apply(client, config)
    await schema.probe(client, config)


@pytest.mark.engine
async def test_a_table_may_keep_more_than_is_configured(client: ClickHouseClient, config: ClickHouseConfig):
    await schema.apply(client, msgspec.structs.replace(config, retention_days=30))
    config = msgspec.structs.replace(config, retention_days=7)
    await schema.apply(client, config)
    assert (await schema.probe(client, config)).retention == schema.Retention(30)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("written", "as_found"),
    [("timestamp DateTime64(3, 'UTC')", "timestamp DateTime64(6, 'UTC')"), (USER_ID, "user_id String,")],
)
async def test_a_column_that_would_be_misread_is_refused(
    client: ClickHouseClient, config: ClickHouseConfig, database: str, written: str, as_found: str
):
    """RowBinary names no types: microseconds would put every event into January 1970, where the TTL deletes
    it."""
    table = CSHARP_TABLE.format(database=database, user_id=USER_ID)
    await client.command(table.replace(written, as_found))
    before = await everything_about(client, database)
    for look in (schema.apply, schema.probe):
        with pytest.raises(ConfigError, match=f"{as_found.split()[0]} is .*misread"):
            await look(client, config)
    assert await everything_about(client, database) == before


@pytest.mark.engine
async def test_types_that_travel_alike_are_taken(
    client: ClickHouseClient, config: ClickHouseConfig, database: str
):
    table = CSHARP_TABLE.format(database=database, user_id="user_id LowCardinality(Nullable(String)),")
    table = table.replace("event_type LowCardinality(String)", "event_type String")
    await client.command(table.replace("DateTime64(3, 'UTC')", "DateTime64(3, 'Europe/Berlin')"))
    await schema.apply(client, config)
    await schema.probe(client, config)


def test_rows_of_a_newer_release_are_named():
    with pytest.raises(NealyticsError, match="format 99 are not known to this release"):
        insert_sql("db", 99)


# On a cluster. There is none here, so a fake answers as one would; what the real engine does with a
# Distributed table is shown by test_cluster_engine.py.

CLUSTER = ClickHouseConfig(url="http://fake", cluster="main", insert_timeout_s=60)


class FakeCluster:
    """Answers what `schema` asks of a cluster of two hosts."""

    def __init__(self) -> None:
        distributed = (
            "Distributed('main', 'nealytics_core', 'global_events_local', cityHash64(project_id, tenant_id))"
        )
        (_, local, _) = schema.create_statements("nealytics_core", 90, "main")
        full = local[local.index("Replicated") :].replace("\n", " ").replace("TTL", " TTL").replace("  ", " ")
        full = full.replace("INTERVAL 90 DAY DELETE", "toIntervalDay(90)")
        described = ["ReplicatedReplacingMergeTree", schema.SORTING_KEY, schema.PARTITION_KEY, full]
        self.hosts: dict[str, list[str]] = {"h1": described, "h2": list(described)}
        self.tables = {
            "global_events": ["Distributed", "", "", distributed],
            "global_events_local": described,
        }
        self.lacking: set[str] = set()  # of the Distributed table
        self.up = 2
        self.missing = 0  # tables, on hosts that were added
        self.said: list[tuple[str, dict[str, object]]] = []
        self.unknown: frozenset[str] = frozenset()
        self.addresses = Addresses(("http://a",))
        self.failing: ClickHouseError | None = None  # what the second address says

    async def verify(self, address: Address) -> None:
        if self.failing and address is self.addresses.all[-1]:
            raise self.failing

    async def command(self, sql: str, params: object = None, *, settings: object = None) -> str:
        values: dict[str, str] = params if isinstance(params, dict) else {}
        if "version()" in sql:
            return "26.9.2.1\n"
        if "clusterAllReplicas('main', system.one)" in sql:
            return f"{self.up}\t{self.up * len(self.tables) - self.missing}\n"
        if "clusterAllReplicas" in sql:
            return "".join(self.line(host, *described) for host, described in self.hosts.items())
        if "FROM system.tables" in sql:
            return self.line(*self.tables[values["table"]]) if values["table"] in self.tables else ""
        if "FROM system.columns" in sql:
            lacking = self.lacking if values["table"] == "global_events" else set()
            return "".join(
                self.line(c.name, c.type, c.definition.partition(" DEFAULT ")[2])
                for c in schema.COLUMNS
                if c.name not in lacking
            )
        if "data_skipping" in sql:
            return "".join(f"{index.name}\n" for index in schema.INDEXES)
        self.said.append((sql, dict(settings) if isinstance(settings, dict) else {}))
        if sql.startswith("CREATE TABLE"):
            self.tables = FakeCluster().tables
        return ""

    async def learn_settings(self) -> frozenset[str]:
        return self.unknown

    @staticmethod
    def line(*values: str) -> str:
        return "\t".join(value.replace("\\", "\\\\").replace("'", "\\'") for value in values) + "\n"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


async def test_a_cluster_that_is_up_to_date_is_left_alone(cluster: FakeCluster):
    assert await schema.apply(cluster, CLUSTER) == []  # type: ignore[arg-type]
    assert (await schema.probe(cluster, CLUSTER)).warnings == []  # type: ignore[arg-type]
    assert cluster.said == []


async def test_a_host_whose_table_a_power_loss_could_harm_is_named_and_fixed(cluster: FakeCluster):
    cluster.hosts["h2"][3] = cluster.hosts["h2"][3].replace("min_rows_to_fsync_after_merge = 1, ", "")
    (warning,) = (await schema.probe(cluster, CLUSTER)).warnings  # type: ignore[arg-type]
    assert "on h2 does not set min_rows_to_fsync_after_merge = 1: a power loss" in warning
    await schema.apply(cluster, CLUSTER)  # type: ignore[arg-type]
    ((sql, settings),) = cluster.said
    assert sql.endswith("MODIFY SETTING min_rows_to_fsync_after_merge = 1")
    assert settings["fsync_metadata"] == 1


async def test_apply_creates_the_tables_on_every_host(cluster: FakeCluster):
    cluster.tables = {}
    assert await schema.apply(cluster, CLUSTER) == [  # type: ignore[arg-type]
        "created nealytics_core.global_events and nealytics_core.global_events_local on the hosts of cluster "
        "main that lacked them"
    ]
    assert [sql for sql, _ in cluster.said] == schema.create_statements("nealytics_core", 90, "main")
    assert {settings["distributed_ddl_task_timeout"] for _, settings in cluster.said} == {55}
    assert await schema.apply(cluster, CLUSTER) == []  # type: ignore[arg-type]


async def test_a_node_that_finds_the_tables_being_made_by_another_finds_nothing_wrong(cluster: FakeCluster):
    """The other one is done between this one's first look and its second."""
    tables, cluster.tables = cluster.tables, {}
    look = cluster.command

    async def made_meanwhile(sql: str, *asked: object, **kwargs: object) -> str:
        answer = await look(sql, *asked, **kwargs)
        cluster.tables = tables
        return answer

    cluster.command = made_meanwhile  # type: ignore[method-assign]
    assert await schema.apply(cluster, CLUSTER) == []  # type: ignore[arg-type]
    assert cluster.said == []


async def test_a_setting_that_one_host_lacks_is_set_on_all(cluster: FakeCluster):
    cluster.hosts["h2"][3] = cluster.hosts["h2"][3].replace("seconds = 604800", "seconds = 3600")
    done = await schema.apply(cluster, CLUSTER)  # type: ignore[arg-type]
    assert done == ["set replicated_deduplication_window_seconds = 604800 (was 3600)"]
    assert cluster.said[0][0] == (
        "ALTER TABLE `nealytics_core`.global_events_local ON CLUSTER 'main' "
        "MODIFY SETTING replicated_deduplication_window_seconds = 604800"
    )


async def test_a_column_is_added_to_the_distributed_table_too_and_last(cluster: FakeCluster):
    cluster.lacking = {"metadata_json", "inserted_at"}
    done = await schema.apply(cluster, CLUSTER)  # type: ignore[arg-type]
    assert len(done) == 2
    assert [sql for sql, _ in cluster.said] == [
        "ALTER TABLE `nealytics_core`.global_events ON CLUSTER 'main' "
        "ADD COLUMN IF NOT EXISTS metadata_json String AFTER item_id",
        "ALTER TABLE `nealytics_core`.global_events ON CLUSTER 'main' "
        "ADD COLUMN IF NOT EXISTS inserted_at DateTime64(3, 'UTC') DEFAULT now64(3) AFTER received_at",
    ]


async def test_a_longer_retention_reaches_every_shard(cluster: FakeCluster):
    kept = msgspec.structs.replace(CLUSTER, retention_days=365)
    assert await schema.apply(cluster, kept) == ["events are kept 365 days (were kept 90 days)"]  # type: ignore[arg-type]
    assert "global_events_local ON CLUSTER 'main' MODIFY TTL" in cluster.said[0][0]


async def test_shortening_a_cluster_waits_for_its_hosts_less_long_than_for_the_answer(cluster: FakeCluster):
    config = msgspec.structs.replace(CLUSTER, insert_timeout_s=60.0)
    asked = schema.Shortening(90, 30, 0, 0, "", "")
    await schema.shorten(cluster, config, asked)  # type: ignore[arg-type]
    ((sql, settings),) = cluster.said
    assert "ON CLUSTER 'main' MODIFY TTL" in sql
    assert settings["distributed_ddl_task_timeout"] == 55


async def test_a_longer_retention_of_one_shard_shortens_no_other(cluster: FakeCluster):
    """One statement changes all of them, so it has to say the longest that any of them keeps."""
    cluster.hosts["h2"][3] = cluster.hosts["h2"][3].replace("toIntervalDay(90)", "toIntervalDay(400)")
    kept = msgspec.structs.replace(CLUSTER, retention_days=365)
    await schema.apply(cluster, kept)  # type: ignore[arg-type]
    assert [sql.partition(" MODIFY ")[2] for sql, _ in cluster.said] == [
        "TTL toDateTime(timestamp) + INTERVAL 400 DAY DELETE"
    ]


async def test_hosts_that_are_added_keep_events_as_long_as_the_others(cluster: FakeCluster):
    """ClickHouse refuses a replica with another TTL, and a shard would delete what the others keep."""
    cluster.hosts = {"h1": cluster.hosts["h1"]}
    cluster.missing = 1
    await schema.apply(cluster, msgspec.structs.replace(CLUSTER, retention_days=7))  # type: ignore[arg-type]
    (create,) = (sql for sql, _ in cluster.said if "ENGINE = Replicated" in sql)
    assert "INTERVAL 90 DAY" in create


async def test_a_host_that_is_unfit_stops_apply_before_its_first_statement(cluster: FakeCluster):
    cluster.hosts["h2"][1] = "project_id, tenant_id"
    with pytest.raises(ConfigError, match="on h2 is ReplicatedReplacingMergeTree ordered by"):
        await schema.apply(cluster, msgspec.structs.replace(CLUSTER, retention_days=365))  # type: ignore[arg-type]
    assert cluster.said == []


@pytest.mark.parametrize(
    ("host", "old", "new", "said"),
    [
        ("h2", "deduplication_window = 10000", "deduplication_window = 0", "on h2 has replicated_dedup"),
        ("h2", "toIntervalDay(90)", "toIntervalDay(30)", "on h2 deletes events after 30 days"),
    ],
)
async def test_a_host_that_would_lose_or_double_events_is_named(
    cluster: FakeCluster, host: str, old: str, new: str, said: str
):
    cluster.hosts[host][3] = cluster.hosts[host][3].replace(old, new)
    with pytest.raises(NealyticsError, match=said):
        await schema.probe(cluster, CLUSTER)  # type: ignore[arg-type]


async def test_a_host_whose_table_is_not_replicated_is_named(cluster: FakeCluster):
    cluster.hosts["h2"][0] = "ReplacingMergeTree"
    with pytest.raises(ConfigError, match="on h2 is ReplacingMergeTree, which is not replicated"):
        await schema.probe(cluster, CLUSTER)  # type: ignore[arg-type]


async def test_a_distributed_table_by_another_key_is_refused(cluster: FakeCluster):
    full = cluster.tables["global_events"]
    full[3] = full[3].replace("cityHash64(project_id, tenant_id)", "rand()")
    for check in (schema.probe, schema.apply):
        with pytest.raises(ConfigError, match="counted twice"):
            await check(cluster, CLUSTER)  # type: ignore[arg-type]


async def test_a_single_table_is_not_taken_for_a_cluster_nor_the_other_way_round(cluster: FakeCluster):
    with pytest.raises(ConfigError, match=r"set clickhouse\.cluster"):
        await schema.probe(cluster, msgspec.structs.replace(CLUSTER, cluster=""))  # type: ignore[arg-type]
    cluster.tables["global_events"] = ["ReplacingMergeTree", schema.SORTING_KEY, "", "ReplacingMergeTree"]
    for check in (schema.probe, schema.apply):
        with pytest.raises(ConfigError, match="must be a Distributed table"):
            await check(cluster, CLUSTER)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["ReplacingMergeTree", "ReplicatedReplacingMergeTree"])
async def test_several_addresses_need_a_replicated_table(cluster: FakeCluster, engine: str):
    cluster.tables["global_events"] = [engine, *cluster.hosts["h1"][1:]]
    if engine == "ReplacingMergeTree":
        window = "SETTINGS non_replicated_deduplication_window = 10000, "
        cluster.tables["global_events"][3] = cluster.hosts["h1"][3].replace("SETTINGS ", window)
    several = ClickHouseConfig(url="http://a,http://b")
    if engine == "ReplacingMergeTree":
        with pytest.raises(ConfigError, match="2 addresses"):
            await schema.probe(cluster, several)  # type: ignore[arg-type]
        await schema.probe(cluster, ClickHouseConfig(url="http://a"))  # type: ignore[arg-type]
    else:
        await schema.probe(cluster, several)  # type: ignore[arg-type]


async def test_a_plain_table_is_not_made_where_there_are_several_addresses(cluster: FakeCluster):
    """It would be in the way of the replicated one, and each address would have its own."""
    cluster.tables = {}
    several = ClickHouseConfig(url="http://a,http://b")
    with pytest.raises(ConfigError, match=r"not created without clickhouse\.cluster"):
        await schema.apply(cluster, several)  # type: ignore[arg-type]
    assert cluster.said == []


async def test_every_address_must_lead_to_a_replica_of_the_same_table(cluster: FakeCluster):
    cluster.tables["global_events"] = list(cluster.hosts["h1"])
    cluster.addresses = Addresses(("http://a", "http://b"))
    several = ClickHouseConfig(url="http://a,http://b")
    await schema.probe(cluster, several)  # type: ignore[arg-type]
    cluster.failing = NotAReplica("http://b is not a replica")
    with pytest.raises(ConfigError, match="http://b is not a replica"):
        await schema.probe(cluster, several)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [60, 242, 516, 999])
async def test_one_address_that_cannot_serve_keeps_no_node_from_starting(cluster: FakeCluster, code: int):
    cluster.tables["global_events"] = list(cluster.hosts["h1"])
    cluster.addresses = Addresses(("http://a", "http://b"))
    cluster.failing = ClickHouseError(code, "scripted fault")
    await schema.probe(cluster, ClickHouseConfig(url="http://a,http://b"))  # type: ignore[arg-type]
    cluster.failing = ClickHouseError(47, "scripted fault")
    with pytest.raises(ClickHouseError, match="code 47"):
        await schema.probe(cluster, ClickHouseConfig(url="http://a,http://b"))  # type: ignore[arg-type]


async def test_a_cluster_that_cannot_wait_for_its_shards_is_refused(cluster: FakeCluster):
    cluster.unknown = frozenset({"distributed_foreground_insert"})
    with pytest.raises(ConfigError, match=r"needs 24\.8 or newer"):
        await schema.probe(cluster, CLUSTER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "is_taken"),
    [("24.8.1.2684", True), ("26.9.2.1", True), ("24.7.6.8", False), ("23.8.16.40.altinitystable", False)],
)
async def test_a_clickhouse_that_is_too_old_is_refused_by_its_version_and_asked_nothing_else(
    cluster: FakeCluster, version: str, is_taken: bool
):
    answers = cluster.command
    asked: list[str] = []

    async def old(sql: str, *params: object, **kwargs: object) -> str:
        asked.append(sql)
        return f"{version}\n" if "version()" in sql else await answers(sql, *params, **kwargs)

    cluster.command = old  # type: ignore[method-assign]
    for look in (schema.apply, schema.probe):
        asked.clear()
        if is_taken:
            await look(cluster, CLUSTER)  # type: ignore[arg-type]
        else:
            with pytest.raises(ConfigError, match=rf"has version {version}, and 24\.8 or newer is needed"):
                await look(cluster, CLUSTER)  # type: ignore[arg-type]
            assert len(asked) == 1
