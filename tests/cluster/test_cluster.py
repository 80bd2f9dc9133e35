"""The product on a real ClickHouse cluster: ZooKeeper and four nodes, two shards of two replicas.

    .venv/bin/python -m pytest -s tests/cluster
    TEST_CLUSTER_SECONDS=600 .venv/bin/python -m pytest -s tests/cluster    kills and stops for 10 minutes

All tests are in one file, because the ports of the nodes are fixed: two processes cannot have a cluster each.
Each test has a database of its own. `-s` shows the figures. docs/scaling.md says what is shown here.
"""

import asyncio
import os
import random
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from multidict import MultiDict

from nealytics.auth.scope import Scope
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, Endpoint
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row, insert_sql
from nealytics.commit import delivery
from nealytics.commit.delivery import Delivered, deliver
from nealytics.config import ClickHouseConfig, QueryConfig
from nealytics.erasure.announcements import Announcements
from nealytics.errors import ConfigError
from nealytics.event import Event
from nealytics.queries import ENDPOINTS
from nealytics.queries.params import Arguments
from nealytics.queries.scoped import Events, Fence, Query
from tests.cluster.chaos import Clients, stored, torment
from tests.cluster.on_cluster import on_cluster
from tests.cluster.servers import CLUSTER, NODES, SHARDS, Cluster, why_not
from tests.e2e.node import Node, program
from tests.e2e.test_erasure import erase, wait_state
from tests.erasure.erasures import erasure
from tests.queries.required import required

pytestmark = [pytest.mark.cluster, pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(3600)]

SECONDS = float(os.environ.get("TEST_CLUSTER_SECONDS", "60"))
SHIPPED = Path(__file__).parents[2] / "clickhouse-init-cluster.sql"
TENANTS = [f"t{n}" for n in range(20)]  # of both shards
LOCAL = "global_events_local"
TIMESTAMP_MS = 1_704_000_000_000  # 31 December 2023


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := why_not():
        pytest.skip(reason)
    try:
        running = Cluster(tmp_path_factory.mktemp("cluster")).__enter__()
    except subprocess.CalledProcessError as error:
        pytest.skip(
            f"{' '.join(map(str, error.cmd))[:80]}…: exit status {error.returncode}; ZooKeeper is not here"
        )
    try:
        yield running
    finally:
        running.__exit__()


@pytest.fixture
def database(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the product's tables on all nodes; at the end all nodes run again and it is gone."""
    name = f"d_{uuid.uuid4().hex[:8]}"
    for sql in statements(name):
        cluster.everywhere(sql)
    yield name
    cluster.repair()
    drop(cluster, name)


def sync(cluster: Cluster, database: str) -> None:
    """Every replica has what the others have."""
    cluster.everywhere(f"SYSTEM SYNC REPLICA {database}.{LOCAL}")


def drop(cluster: Cluster, database: str) -> None:
    cluster.everywhere(f"DROP DATABASE IF EXISTS {database} SYNC")


def statements(database: str, days: int = 0, cluster: str = CLUSTER) -> list[str]:
    made = schema.create_statements(database, days, cluster)
    return [sql.replace(f" ON CLUSTER '{cluster}'", "") for sql in made]


def settings_of(nodes: Cluster, database: str, *names: str, **others: Any) -> ClickHouseConfig:
    settings: dict[str, Any] = {
        "cluster": CLUSTER,
        "retention_days": 0,
        "insert_timeout_s": 10.0,
        "compression": "none",
    } | others
    return ClickHouseConfig(url=nodes.urls(*names), database=database, **settings)


def client_of(config: ClickHouseConfig) -> ClickHouseClient:
    first, *others = config.urls
    return ClickHouseClient(Endpoint(url=first, others=tuple(others), database=config.database), config)


def row(n: int, tenant: str) -> bytes:
    event = Event(
        event_id=n, project_id="shop", tenant_id=tenant, session_id=f"s{n % 7}", user_id=f"u{n % 5}",
        event_type=("view", "buy")[n % 2], item_id=None, metadata_json=b'{"n":%d}' % (n % 3),
        timestamp_ms=TIMESTAMP_MS + n * 60_000,
    )  # fmt: skip
    return encode_row(event, TIMESTAMP_MS + n * 60_000)


def batch(*, count: int = 200, tenants: Sequence[str] = TENANTS) -> list[bytes]:
    """Rows of all shards, of one tenant after the other."""
    return [row(n, tenants[n % len(tenants)]) for n in range(1, count + 1)]


async def send(
    client: ClickHouseClient, database: str, rows: list[bytes], *, tried: bool, token: str = "b"
) -> Delivered:
    return await deliver(client, database, b"".join(rows), rows, ROW_FORMAT, token=token, tried=tried)


async def send_until_stored(client: ClickHouseClient, database: str, rows: list[bytes]) -> int:
    """As the committer does: the same again after every failure. Returns how many attempts failed."""
    for failed in range(100):
        try:
            await send(client, database, rows, tried=failed > 0)
            return failed
        except ClickHouseError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.2)
    raise AssertionError("the batch is never stored")


def count(cluster: Cluster, name: str, database: str, table: str = LOCAL, **settings: Any) -> int:
    return int(cluster.ask(name, f"SELECT count() FROM {database}.{table}", **settings))


def parts(cluster: Cluster, name: str, database: str) -> int:
    sql = f"SELECT count() FROM system.parts WHERE database = '{database}' AND table = '{LOCAL}'"
    return int(cluster.ask(name, sql))


def tenant_of_first_shard(cluster: Cluster) -> str:
    sql = (
        "SELECT concat('t', toString(number)) AS tenant_id, 'shop' AS project_id FROM numbers(20) "
        f"WHERE {schema.SHARDING_KEY} % 2 = 0"
    )
    return str(cluster.rows("r1", sql)[0][0])


def once(rows: list[bytes]) -> Counter[str]:
    return Counter(str(uuid.UUID(int=n)) for n in range(1, len(rows) + 1))


# The tables


def test_the_shipped_file_creates_the_tables_that_the_product_wants(cluster: Cluster):
    """With its own macro, which names the first shard as a cluster here; only ON CLUSTER is left out."""
    text = "\n".join(line for line in SHIPPED.read_text().splitlines() if not line.strip().startswith("--"))
    shipped = [sql.strip() for sql in text.split(";") if sql.strip()]
    replicas = SHARDS["01"]
    config = settings_of(cluster, "nealytics_core", *replicas, cluster="{cluster}", retention_days=90)

    async def use() -> None:
        async with client_of(config) as client:
            assert await schema.apply(client, config) == []
            probed = await schema.probe(client, config)
            assert (probed.retention.days, probed.warnings) == (90, [])
            await Fence(client, "nealytics_core", sharded=True).prove()

    try:
        for sql in shipped:
            assert sql.count(" ON CLUSTER '{cluster}'") == 1
            cluster.everywhere(sql.replace(" ON CLUSTER '{cluster}'", ""), replicas)
        asyncio.run(use())
        paths = cluster.rows("r1", "SELECT zookeeper_path, total_replicas FROM system.replicas ORDER BY 1")
        assert paths == [
            ["/clickhouse/tables/nealytics_core/erasures", 2],
            [f"/clickhouse/tables/nealytics_core/{LOCAL}/01", 2],
        ]
    finally:
        drop(cluster, "nealytics_core")


async def test_addresses_of_different_shards_are_refused_without_a_cluster(cluster: Cluster, database: str):
    """The table of each shard is replicated, and their replicas have different events."""
    for name in NODES:
        cluster.ask(name, f"DROP TABLE {database}.global_events")
        cluster.ask(name, f"RENAME TABLE {database}.{LOCAL} TO {database}.global_events")
    two_shards = settings_of(cluster, database, "r1", "r3", cluster="")
    async with client_of(two_shards) as client:
        with pytest.raises(ConfigError, match="not a replica of the one at"):
            await schema.probe(client, two_shards)
    one_shard = settings_of(cluster, database, *SHARDS["01"], cluster="")
    async with client_of(one_shard) as client:
        assert (await schema.probe(client, one_shard)).warnings == []
        await send_until_stored(client, database, batch())
    for name in SHARDS["01"]:
        assert count(cluster, name, database, "global_events") == 200


# Inserts


async def test_a_confirmed_batch_is_on_both_replicas_of_each_shard(cluster: Cluster, database: str):
    config = settings_of(cluster, database)
    rows = batch()
    async with client_of(config) as client:
        await send(client, database, rows, tried=False)
    by_shard = [{count(cluster, name, database) for name in replicas} for replicas in SHARDS.values()]
    assert all(len(counts) == 1 for counts in by_shard), "the quorum is both replicas"
    assert sum(map(sum, by_shard)) == len(rows)
    of_shards = [
        cluster.rows(names[0], f"SELECT DISTINCT tenant_id FROM {database}.{LOCAL}")
        for names in SHARDS.values()
    ]
    assert sum(map(len, of_shards)) == 20, "a tenant is in one shard"


async def test_a_token_is_known_through_every_address(cluster: Cluster, database: str):
    rows = batch()
    for name in NODES:
        config = settings_of(cluster, database, name)
        async with client_of(config) as client:
            await client.insert(insert_sql(database, ROW_FORMAT), b"".join(rows), token="b")
    assert stored(cluster, database) == once(rows)


async def test_a_batch_that_one_shard_confirmed_is_completed_by_its_retry(cluster: Cluster, database: str):
    """The other shard's writer is killed while it waits for its quorum."""
    rows = batch()
    for name in SHARDS["02"]:
        cluster.ask(name, f"SYSTEM STOP FETCHES {database}.{LOCAL}")

    def writing() -> list[str]:
        return [name for name in SHARDS["02"] if parts(cluster, name, database) > 0]

    async with client_of(settings_of(cluster, database, "r1")) as client:
        sending = asyncio.create_task(send(client, database, rows, tried=False))
        await asyncio.to_thread(
            cluster.wait_until,
            lambda: count(cluster, "r2", database) > 0 and bool(writing()),
            "one shard has its part, and a replica of the other waits for its quorum",
        )
        assert not sending.done()
        (writer,) = writing()
        cluster.kill(writer)
        with pytest.raises(ClickHouseError) as failed:
            await sending
        assert failed.value.retryable, failed.value
        assert 0 < count(cluster, "r2", database) < len(rows)
        for name in set(SHARDS["02"]) - {writer}:
            assert count(cluster, name, database) == 0
            cluster.ask(name, f"SYSTEM START FETCHES {database}.{LOCAL}")
        await asyncio.to_thread(cluster.repair)
        await send_until_stored(client, database, rows)
    assert stored(cluster, database) == once(rows)


async def test_a_replica_that_is_down_keeps_a_batch_waiting_and_one_is_enough_if_configured(
    cluster: Cluster, database: str
):
    rows = batch()
    cluster.kill("r2")
    async with client_of(settings_of(cluster, database, "r1")) as client:
        with pytest.raises(ClickHouseError) as failed:
            await send(client, database, rows, tried=False)
        assert failed.value.retryable
    async with client_of(settings_of(cluster, database, "r1", insert_quorum=1)) as client:
        await send(client, database, rows, tried=True)
    cluster.repair()
    assert stored(cluster, database) == once(rows)


async def test_a_quorum_that_is_missing_for_too_long_is_awaited_by_the_retry(cluster: Cluster, database: str):
    """The replica takes part and fetches nothing, so ClickHouse answers "unknown status"; issues 76579 and
    81260 of ClickHouse report rows that were stored twice after that."""
    rows = batch()
    cluster.ask("r2", f"SYSTEM STOP FETCHES {database}.{LOCAL}")
    async with client_of(settings_of(cluster, database, "r1", insert_timeout_s=2.0)) as client:
        for attempt in range(2):
            with pytest.raises(ClickHouseError) as failed:
                await send(client, database, rows, tried=attempt > 0)
            assert failed.value.code in (0, 319), failed.value
        cluster.ask("r2", f"SYSTEM START FETCHES {database}.{LOCAL}")
        await send_until_stored(client, database, rows)
    assert stored(cluster, database) == once(rows)


async def test_a_writer_killed_while_it_waits_for_the_quorum_stores_the_batch_once(
    cluster: Cluster, database: str
):
    rows = batch()
    cluster.ask("r2", f"SYSTEM STOP FETCHES {database}.{LOCAL}")
    async with client_of(settings_of(cluster, database, "r1", "r2")) as client:
        sending = asyncio.create_task(send_until_stored(client, database, rows))
        await asyncio.to_thread(
            cluster.wait_until, lambda: parts(cluster, "r1", database) > 0, "r1 has its part and waits"
        )
        assert not sending.done()
        cluster.kill("r1")
        cluster.ask("r2", f"SYSTEM START FETCHES {database}.{LOCAL}")
        await asyncio.to_thread(cluster.repair)
        await sending
    assert stored(cluster, database) == once(rows)


# The verification of docs/decisions/0011


async def test_rows_that_a_lagging_replica_fetches_late_are_awaited(
    cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
):
    """r2 knows the token, through ZooKeeper, before it has the rows. They are not sent again."""
    found_missing = asyncio.Event()
    ask = delivery._missing

    async def missing(*question: Any) -> list[bytes]:
        rows = await ask(*question)
        if rows:
            found_missing.set()
        return rows

    monkeypatch.setattr(delivery, "_missing", missing)
    rows = batch(tenants=(tenant_of_first_shard(cluster),))
    cluster.ask("r2", f"SYSTEM STOP FETCHES {database}.{LOCAL}")
    async with client_of(settings_of(cluster, database, "r1", insert_quorum=1)) as client:
        await send(client, database, rows, tried=False)
    async with client_of(settings_of(cluster, database, "r2", insert_quorum=1)) as client:
        retry = asyncio.create_task(send(client, database, rows, tried=True))
        await found_missing.wait()
        cluster.ask("r2", f"SYSTEM START FETCHES {database}.{LOCAL}")
        assert (await retry).sent_again == 0, "rows were sent again"
    assert stored(cluster, database) == once(rows)


async def test_rows_that_a_replica_never_fetches_are_sent_again_and_reads_count_them_once(
    cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
):
    """Where the verification is wrong, there are copies, and nothing is lost."""
    monkeypatch.setattr(delivery, "_LAG_S", (0.1,))
    rows = batch(tenants=(tenant_of_first_shard(cluster),))
    cluster.ask("r2", f"SYSTEM STOP FETCHES {database}.{LOCAL}")
    async with client_of(settings_of(cluster, database, "r1", insert_quorum=1)) as client:
        await send(client, database, rows, tried=False)
    async with client_of(settings_of(cluster, database, "r2", insert_quorum=1)) as client:
        assert (await send(client, database, rows, tried=True)).sent_again == len(rows)
    cluster.ask("r2", f"SYSTEM START FETCHES {database}.{LOCAL}")
    assert set(stored(cluster, database)) == set(once(rows))
    for name in NODES:
        assert count(cluster, name, database, "global_events", final=1) == len(rows)


# Reads


async def test_every_endpoint_answers_from_two_shards_as_from_one_table(cluster: Cluster, database: str):
    """For a tenant, and for a project whose tenants are in both shards; every event is stored twice."""
    plain = f"{database}_plain"
    rows = batch(count=2_000)
    events = f"{database}.global_events"
    config = settings_of(cluster, database)
    try:
        for sql in schema.create_statements(plain, 0):
            cluster.ask("r1", sql)
        async with client_of(config) as client:
            for token in ("a", "b"):
                await send(client, database, rows, tried=False, token=token)
            assert count(cluster, "r1", database, "global_events") == 2 * len(rows)
            # With its columns that ClickHouse fills in.
            cluster.ask("r1", f"INSERT INTO {plain}.global_events SELECT * FROM {events}")
            now_ms = TIMESTAMP_MS + len(rows) * 60_000
            differing = []
            for endpoint in ENDPOINTS:
                for scope in (Scope("shop", "t3"), Scope("shop", None)):
                    asked = Arguments(
                        MultiDict(required(endpoint)), QueryConfig(), now_ms, endpoint.parameters
                    )
                    answers = [
                        msgspec.json.encode(
                            await endpoint.run(Events(client, where, scope), endpoint.parse(asked)),
                            enc_hook=repr,
                        )
                        for where in (plain, database)
                    ]
                    if answers[0] != answers[1]:
                        differing.append((endpoint.name, scope, *answers))
            assert differing == []
            total = await Events(client, database, Scope("shop", None)).rows(
                Query("SELECT count(), uniqExact(tenant_id) FROM events", {})
            )
            assert total == [[len(rows), 20]]
    finally:
        cluster.ask("r1", f"DROP DATABASE IF EXISTS {plain} SYNC")


# The product as processes


def node_on(
    cluster: Cluster, database: str, directory: Path, *names: str, url: str = "", settings: str = ""
) -> Node:
    directory.mkdir(exist_ok=True)
    return Node(
        directory,
        workers=2,
        clickhouse=url or cluster.urls(*names),
        settings=f"""
            clickhouse.cluster = "{CLUSTER}"
            clickhouse.database = "{database}"
            clickhouse.insert_timeout_s = 10
            clickhouse.connect_timeout_s = 2
            {settings}
        """,
    )


def events(first: int, count: int = 40) -> list[dict[str, object]]:
    """Of twenty tenants, so of both shards."""
    return [
        {
            "projectId": "shop", "tenantId": f"t{n % 20}", "sessionId": "s", "eventType": "view",
            "eventId": str(uuid.UUID(int=n + 1)), "timestamp": TIMESTAMP_MS + n,
        }
        for n in range(first, first + count)
    ]  # fmt: skip


def of_all_tenants(node: Node) -> int:
    """How many events the API counts."""
    path = "/api/v1/analytics/sessions?from=2023-01-01T00:00:00Z"
    return sum(int(node.read(path, tenant_id=f"t{n}")["totalEventCount"]) for n in range(20))


def test_writes_and_reads_move_to_another_address_when_one_dies(
    cluster: Cluster, database: str, tmp_path: Path
):
    with node_on(cluster, database, tmp_path, settings="clickhouse.insert_quorum = 1") as node:
        node.wait_ready()
        assert node.post("batch?wait=true", events(0))[0] == 200
        sync(cluster, database)
        cluster.kill("r1")
        assert of_all_tenants(node) == 40, "no read fails"
        assert node.post("batch?wait=true", events(40))[0] == 200
        _, answer = node.request("GET", "/ready")
        assert cluster.url("r1") in answer.decode(), answer
        cluster.repair()
        sync(cluster, database)
        # The same for one that keeps its connections and does not answer.
        cluster.stop("r2")
        assert node.post("batch", events(80))[0] == 202
        node.wait_drained()
        node.wait_until(lambda: of_all_tenants(node) == 120, "reads have left r2")
        cluster.repair()
        assert stored(cluster, database) == Counter(event["eventId"] for event in events(0, 120))


def test_events_wait_in_the_log_while_the_quorum_is_missing(cluster: Cluster, database: str, tmp_path: Path):
    """And a node starts while one host of the cluster is down."""
    cluster.kill("r4")
    with node_on(cluster, database, tmp_path, "r4", "r3", "r1") as node:
        node.wait_ready("/ready/ingest")
        assert node.post("batch", events(0))[0] == 202
        node.wait_until(lambda: node.metric("nealytics_insert_retries_total") > 0, "an insert was refused")
        assert node.metric("nealytics_queue_depth_current") == 40
        # A shard whose quorum is missing may hold the rows already: it took them before it noticed.
        node.wait_until(lambda: of_all_tenants(node) <= 40, "reads are answered by the other addresses")
        cluster.repair()
        node.wait_drained()
        node.wait_until(lambda: of_all_tenants(node) == 40, "the replicas have all rows")
    assert stored(cluster, database) == Counter(event["eventId"] for event in events(0))


def test_no_event_is_lost_or_doubled_under_random_kills_and_stops(
    cluster: Cluster, database: str, tmp_path: Path
):
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed} (repeat with TEST_SEED={seed})")
    rng = random.Random(seed)
    first = node_on(cluster, database, tmp_path / "a", *NODES)
    second = node_on(cluster, database, tmp_path / "b", *reversed(NODES))
    with first, second:
        for node in (first, second):
            node.wait_ready()
        clients = Clients([first, second])
        began = time.monotonic()
        with clients.sending():
            done = torment(cluster, [first, second], SECONDS, rng)
        took = time.monotonic() - began
        cluster.repair()
        for node in (first, second):
            node.wait_drained(300)
        expected = Counter(clients.acknowledged)
        counted = stored(cluster, database)
        read = sum(
            int(str(n))
            for _, n in cluster.rows("r1", f"SELECT 1, count() FROM {database}.global_events FINAL")
        )
        lost, copies = expected - counted, counted - expected
        print(
            f"{len(expected)} events acknowledged in {took:.0f} s under {done['kill']} kills and "
            f"{done['stop']} stops of ClickHouse nodes and {done['kill a worker']} kills of workers: "
            f"{lost.total()} lost, "
            f"{read - len(expected)} doubled for readers, {copies.total()} copies in the tables"
        )
        assert lost == Counter()
        assert read == len(expected)
        assert copies == Counter()
        assert done["kill"] > 1
        assert done["stop"] > 1


# Erasures: ALTER … ON CLUSTER is run at every node by the stand-in, too


def restored(cluster: Cluster, database: str) -> None:
    """As from a backup that the copy in `saved` is."""
    cluster.everywhere(f"DROP TABLE {database}.{LOCAL} SYNC")
    for sql in statements(database):
        cluster.everywhere(sql)
    for replicas in SHARDS.values():
        cluster.ask(replicas[0], f"INSERT INTO {database}.{LOCAL} SELECT * FROM {database}.saved")
    sync(cluster, database)


def copies(cluster: Cluster, database: str, tenant: str) -> int:
    """On all replicas."""
    sql = f"SELECT count() FROM {database}.{LOCAL} WHERE tenant_id = '{tenant}'"
    return sum(int(cluster.ask(name, sql)) for name in NODES)


def test_an_erasure_hides_at_the_other_node_and_removes_the_rows_from_all_replicas(
    cluster: Cluster, database: str, tmp_path: Path
):
    """Also of tables that were restored from a backup older than it; what the log has besides comes back."""

    def shown(node: Node, tenant: str) -> int:
        path = "/api/v1/analytics/sessions?from=2023-01-01T00:00:00Z"
        return int(node.read(path, tenant_id=tenant)["totalEventCount"])

    with on_cluster(cluster, "r1") as at_r1, on_cluster(cluster, "r3") as at_r3:
        first = node_on(cluster, database, tmp_path / "a", url=at_r1)
        second = node_on(cluster, database, tmp_path / "b", url=at_r3)
        with first, second:
            for node in (first, second):
                node.wait_ready()
            assert first.post("batch?wait=true", events(0))[0] == 200
            sync(cluster, database)
            local = f"{database}.{LOCAL}"
            saved = f"CREATE TABLE {database}.saved ENGINE = MergeTree ORDER BY () AS SELECT * FROM {local}"
            for names in SHARDS.values():
                cluster.ask(names[0], saved)
            assert shown(second, "t0") == 2

            id = erase(first, tenant="t0", now=True)
            assert [shown(node, "t0") for node in (second, first)] == [0, 0]
            wait_state(first, id, "removing")
            assert copies(cluster, database, "t0") == 0
            # After it, because segments of the log that have erased events are deleted.
            later = [event for event in events(40) if event["tenantId"] != "t0"]
            assert first.post("batch?wait=true", later)[0] == 200

            for node in (first, second):
                assert node.stop() == 0
            restored(cluster, database)
            assert copies(cluster, database, "t0") > 0
            for node in (first, second):
                node.start()
                node.wait_ready()
                assert shown(node, "t0") == 0
            cluster.wait_until(lambda: copies(cluster, database, "t0") == 0, "the rows are deleted again")
            # The log of the first node had what came after the backup.
            cluster.wait_until(lambda: shown(second, "t1") == 4, "the log was compared with the tables")
            assert of_all_tenants(second) == 76


async def test_an_erasure_is_not_answered_before_all_replicas_have_it(
    cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
):
    """A node may read the list of erasures at any of them."""
    monkeypatch.setattr("nealytics.erasure.announcements._FETCH_S", 1.0)
    with on_cluster(cluster) as url:
        config = msgspec.structs.replace(settings_of(cluster, database, "r1"), url=url)
        async with client_of(config) as client:
            shared = Announcements(client, config)
            await shared.announce(erasure("a"))
            cluster.ask("r3", f"SYSTEM STOP FETCHES {database}.erasures")
            with pytest.raises(ClickHouseError, match="1 replicas of cluster two did not fetch"):
                await shared.announce(erasure("b"))
            cluster.ask("r3", f"SYSTEM START FETCHES {database}.erasures")
            await shared.announce(erasure("b"))
    at_r3 = settings_of(cluster, database, "r3")
    async with client_of(at_r3) as client:
        assert {one.id for one in await Announcements(client, at_r3).announced() or ()} == {"a", "b"}


# Schema: what is sent ON CLUSTER is run at every node by a stand-in


def cli(config: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [*program(), *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_schema_apply_creates_repairs_and_shortens_on_all_hosts(cluster: Cluster, tmp_path: Path):
    name = f"d_{uuid.uuid4().hex[:8]}"
    kept = (
        f"SELECT extract(engine_full, 'toIntervalDay.([0-9]+)') FROM system.tables "
        f"WHERE database = '{name}' AND name = '{LOCAL}'"
    )
    try:
        with on_cluster(cluster) as url:
            node = node_on(cluster, name, tmp_path, url=url, settings="clickhouse.retention_days = 4000")
            assert "created" in cli(node.config, "schema", "apply")
            with node:  # its first start finds the tables
                node.wait_ready()
                assert node.post("batch?wait=true", events(0))[0] == 200
                # A replica that lost its disk, or was added.
                cluster.ask("r4", f"DROP DATABASE {name} SYNC")
                cluster.ask("r3", f"ALTER TABLE {name}.{LOCAL} MODIFY SETTING fsync_after_insert = 0")
                said = cli(node.config, "schema", "apply")
                assert "created" in said
                assert "set fsync_after_insert = 1 (was 0)" in said
                assert stored(cluster, name) == Counter(event["eventId"] for event in events(0))
                assert "fail" not in cli(node.config, "doctor")
            shorter = node_on(cluster, name, tmp_path, url=url, settings="clickhouse.retention_days = 100")
            assert "longer than clickhouse.retention_days = 100" in cli(shorter.config, "schema", "apply")
            assert {cluster.ask(host, kept) for host in NODES} == {"4000"}
            said = cli(shorter.config, "schema", "apply", "--shorten-retention", "--yes")
            assert "40 events" in said, said
            assert {cluster.ask(host, kept) for host in NODES} == {"100"}
            cluster.wait_until(
                lambda: not any(count(cluster, host, name) for host in NODES), "expired events are deleted"
            )
    finally:
        cluster.repair()
        drop(cluster, name)
