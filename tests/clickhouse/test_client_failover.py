"""A client with several addresses of one shard: where its requests go, and that a batch that moves stays the
same batch."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from nealytics.clickhouse import client as client_module
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, Endpoint
from nealytics.clickhouse.error_codes import ADDRESS_CODES
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable, NotAReplica
from nealytics.clickhouse.failover import COOL_DOWN_MAX_S, COOL_DOWN_S
from nealytics.clickhouse.rowbinary import ROW_FORMAT, insert_sql
from nealytics.config import ClickHouseConfig
from tests.commit.station import Station, clickhouse_config
from tests.fakes.clickhouse import FakeClickHouse, error, lost_answer, proxy_error, stall
from tests.fakes.rows import number, row

SQL = insert_sql("nealytics_core", ROW_FORMAT)
# Nothing here waits for the timeouts but what hangs on purpose: that has IMPATIENT.
CONFIG = clickhouse_config(cluster="main", insert_timeout_s=30, connect_timeout_s=30)
IMPATIENT = msgspec.structs.replace(CONFIG, insert_timeout_s=0.5)


class Replicas:
    """Two fakes that know each other's tokens, as replicas do through Keeper, and a clock."""

    def __init__(self) -> None:
        self.a, self.b = FakeClickHouse(), FakeClickHouse()
        self.b._tokens = self.a._tokens
        self.b.rows = self.a.rows
        self.now = 1_000.0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(url=self.a.url, others=(self.b.url,))

    def client(self, config: ClickHouseConfig = CONFIG) -> ClickHouseClient:
        return ClickHouseClient(self.endpoint, config, clock=lambda: self.now)


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    replicas = Replicas()
    async with replicas.a, replicas.b:
        yield replicas


# A batch that moves


async def test_a_batch_whose_answer_was_lost_moves_with_its_token_and_bytes_and_is_stored_once(
    replicas: Replicas,
):
    replicas.a.faults.append(lost_answer())
    async with replicas.client() as client:
        await client.insert(SQL, row(1), token="t")
    (first,), (second,) = replicas.a.inserts, replicas.b.inserts
    assert (first.token, first.body, first.settings) == (second.token, second.body, second.settings)
    assert replicas.a.rows == [row(1)]


@pytest.mark.parametrize(
    "fault",
    [proxy_error(503), stall(20, applied=False), *map(error, sorted(ADDRESS_CODES))],
    ids=["503", "stall", *map(str, sorted(ADDRESS_CODES))],
)
async def test_a_replica_that_cannot_serve_is_left(
    replicas: Replicas, fault: object, request: pytest.FixtureRequest
):
    replicas.a.faults.append(fault)  # type: ignore[arg-type]
    hangs = request.node.callspec.id == "stall"
    async with replicas.client(IMPATIENT if hangs else CONFIG) as client:
        await client.insert(SQL, row(1), token="t1")
        await client.insert(SQL, row(2), token="t2")
    assert (replicas.a.tokens[-1:], replicas.b.tokens) == (replicas.a.tokens[:1], ["t1", "t2"])
    assert replicas.a.rows == [row(1), row(2)]


async def test_a_refusal_is_an_answer_and_moves_nothing(replicas: Replicas):
    replicas.a.faults.append(error(252))
    async with replicas.client() as client:
        with pytest.raises(ClickHouseError) as raised:
            await client.insert(SQL, row(1), token="t")
        assert raised.value.code == 252
        assert client.addresses.cooling() == []
    assert replicas.b.inserts == []


async def test_it_goes_back_to_the_first_after_the_cool_down(replicas: Replicas):
    replicas.a.faults.append(proxy_error(502))
    async with replicas.client() as client:
        for n in range(3):
            await client.insert(SQL, row(n), token=str(n))
            replicas.now += COOL_DOWN_S * 0.6
    assert (replicas.a.tokens[1:], replicas.b.tokens) == (["2"], ["0", "1"])


async def test_with_all_down_the_call_fails_once_each_and_the_first_that_is_back_takes_the_batch(
    replicas: Replicas,
):
    async with replicas.client() as client:
        await client.insert(SQL, row(0), token="0")
        await replicas.a.stop()
        await replicas.b.stop()
        for _ in range(3):
            with pytest.raises(ClickHouseUnavailable):
                await client.insert(SQL, row(1), token="1")
        await replicas.b.start()
        await client.insert(SQL, row(1), token="1")
        assert [address.url for address in client.addresses.cooling()] == [replicas.a.url]
    assert replicas.b.tokens == ["1"]


async def test_what_each_server_knows_is_learnt_before_the_first_insert_there(replicas: Replicas):
    """After an upgrade of one replica the other still refuses what it does not know."""
    known = replicas.b.answers["FROM system.settings"]
    replicas.b.answers["FROM system.settings"] = lambda sql: known(sql.replace("'deduplicate_insert'", ""))
    replicas.a.faults.append(lost_answer())
    async with replicas.client() as client:
        await client.insert(SQL, row(1), token="t")
    assert replicas.a.inserts[0].settings["deduplicate_insert"] == "enable"
    assert "deduplicate_insert" not in replicas.b.inserts[0].settings


# Strangers


def plain_at(fake: FakeClickHouse) -> None:
    """Its table is another one than at the first address."""
    fake.answers["FROM system.tables"] = lambda sql: "9d2f6a0e-5c0b-4a53-8d0e-2f1f6a1a7c11\n"


async def test_an_address_that_answers_only_later_is_not_used_if_its_table_is_another(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
):
    """It was down when it was verified at the start."""
    plain_at(replicas.b)
    await replicas.b.stop()
    async with replicas.client() as client:
        await client.insert(SQL, row(1), token="t1")
        await replicas.b.start()
        replicas.a.faults.append(lost_answer())
        with pytest.raises(NotAReplica, match="not a replica of the one at"):
            await client.insert(SQL, row(2), token="t2")
        assert replicas.b.inserts == []
        await client.insert(SQL, row(2), token="t2")
    assert replicas.a.rows == [row(1), row(2)]


async def test_a_replica_is_asked_once_which_table_it_has_and_again_after_it_failed(replicas: Replicas):
    def asked(fake: FakeClickHouse) -> int:
        return sum("system.tables" in command for command in fake.commands)

    async with replicas.client() as client:
        for n in range(3):
            await client.insert(SQL, row(n), token=str(n))
        assert (asked(replicas.a), asked(replicas.b)) == (1, 0)
        replicas.a.faults.append(error(242))
        for n in range(3, 6):
            await client.insert(SQL, row(n), token=str(n))
        assert (asked(replicas.a), asked(replicas.b)) == (1, 1)
        replicas.now += COOL_DOWN_S
        plain_at(replicas.b)
        for n in range(6, 9):
            await client.insert(SQL, row(n), token=str(n))
        assert (asked(replicas.a), asked(replicas.b)) == (2, 1)
    assert replicas.a.tokens[-3:] == ["6", "7", "8"]


async def test_a_replica_whose_tables_are_made_anew_is_believed_and_the_others_are_asked_again(
    replicas: Replicas,
):
    async with replicas.client() as client:
        await client.insert(SQL, row(1), token="t1")
        a, b = client.addresses.all
        await client.verify(b)
        for fake in (replicas.a, replicas.b):
            plain_at(fake)
        client.addresses.failed(a)
        replicas.now += COOL_DOWN_S
        await client.insert(SQL, row(2), token="t2")
        await client.verify(b)
        assert a.identity == b.identity != ""


async def test_a_replica_without_the_table_is_left_and_says_what_to_do_if_it_is_all_there_is(
    replicas: Replicas,
):
    replicas.a.answers["FROM system.tables"] = lambda sql: ""
    async with replicas.client() as client:
        await client.insert(SQL, row(1), token="t")
        assert (replicas.a.tokens, replicas.b.tokens) == ([], ["t"])
        await replicas.b.stop()
        with pytest.raises(ClickHouseError, match="schema apply"):
            await client.insert(SQL, row(2), token="t2")


async def test_a_node_starts_where_the_first_replica_lacks_the_table(replicas: Replicas):
    """It was added, or lost its disk, and nobody has run `schema apply` yet."""
    described = replicas.b.answers["FROM system.tables"]("")
    described = described.replace("ReplacingMergeTree", "ReplicatedReplacingMergeTree")
    described = described.replace("non_replicated_dedup", "replicated_dedup")
    replicas.a.answers["FROM system.tables"] = lambda sql: ""
    replicas.b.answers["FROM system.tables"] = lambda sql: described
    config = clickhouse_config(
        url=f"{replicas.a.url},{replicas.b.url}", insert_timeout_s=30, retention_days=0
    )
    async with replicas.client(config) as client:
        await schema.probe(client, config)
        await client.insert(SQL, row(1), token="t")
    assert (replicas.a.tokens, replicas.b.tokens) == ([], ["t"])


async def test_a_replica_that_hangs_holds_up_a_batch_for_a_moment_each_time_and_not_for_a_whole_timeout(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    """Frozen, or behind a firewall that swallows: it takes connections and never answers."""
    monkeypatch.setattr(client_module, "VERIFY_TIMEOUT_S", 0.5)
    ends: list[asyncio.StreamWriter] = []

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)

    frozen = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{frozen.sockets[0].getsockname()[1]}"
    endpoint = Endpoint(url=url, others=(replicas.b.url,))
    async with frozen, ClickHouseClient(endpoint, CONFIG, clock=lambda: replicas.now) as client:
        async with asyncio.timeout(25):
            for n in range(3):
                await client.insert(SQL, row(n), token=str(n))
                replicas.now += COOL_DOWN_MAX_S
        for writer in ends:
            writer.close()
    assert len(ends) == 3, "it is given a chance each time"
    assert replicas.b.tokens == ["0", "1", "2"]


@pytest.fixture
async def frozen() -> AsyncIterator[str]:
    """The address of a server that takes connections and never answers."""
    ends: list[asyncio.StreamWriter] = []

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in ends:
            writer.close()


@pytest.mark.parametrize("chosen", [False, True], ids=["the short one", "one that is given"])
async def test_a_command_at_an_address_that_hangs_has_its_own_timeout(
    replicas: Replicas, frozen: str, monkeypatch: pytest.MonkeyPatch, chosen: bool
):
    monkeypatch.setattr(client_module, "VERIFY_TIMEOUT_S", 600.0 if chosen else 0.2)
    config = msgspec.structs.replace(CONFIG, insert_timeout_s=600)
    endpoint = Endpoint(url=frozen, others=(replicas.b.url,))
    async with ClickHouseClient(endpoint, config, clock=lambda: replicas.now) as client:
        with pytest.raises(ClickHouseUnavailable):
            await client.command("SELECT 1", at=client.addresses.all[0], timeout_s=0.2 if chosen else None)
        assert client.addresses.cooling() == []


async def test_a_command_at_an_address_does_not_end_its_cool_down(replicas: Replicas):
    async with replicas.client() as client:
        a, _ = client.addresses.all
        client.addresses.failed(a)
        await client.command("SELECT 1", at=a)
        assert client.addresses.cooling() == [a]
    assert (replicas.a.commands, replicas.b.commands) == (["SELECT 1"], [])


async def test_a_table_that_is_dropped_under_way_moves_the_batch(replicas: Replicas):
    replicas.a.faults += [error(60), error(81)]
    async with replicas.client() as client:
        await client.insert(SQL, row(1), token="t1")
        replicas.now += COOL_DOWN_S
        await client.insert(SQL, row(2), token="t2")
    assert replicas.b.tokens == ["t1", "t2"]


async def test_a_ping_does_not_end_the_cool_down_of_a_replica_that_takes_no_insert(replicas: Replicas):
    async with replicas.client() as client:
        a, b = client.addresses.all
        client.addresses.failed(a)
        client.addresses.failed(b)
        for _ in range(3):
            await client.ping()
        assert client.addresses.cooling() == [a, b]


async def test_reads_stay_where_they_were_put(replicas: Replicas):
    """Whoever moves them proves the fence first."""
    for fake in (replicas.a, replicas.b):
        fake.answers["SELECT 1"] = lambda sql: '{"data": [[1]]}'
    async with replicas.client() as client:
        a, b = client.addresses.all
        client.addresses.read_at(b)
        assert await client.query("SELECT 1") == [[1]]
        await replicas.b.stop()
        with pytest.raises(ClickHouseUnavailable):
            await client.query("SELECT 1")
        assert client.addresses.cooling() == [b]
        assert await client.query("SELECT 1", at=a) == [[1]]
    assert replicas.a.commands == ["SELECT 1"]


async def test_ping_is_content_with_one(replicas: Replicas):
    async with replicas.client() as client:
        await replicas.a.stop()
        await client.ping()
        await replicas.b.stop()
        with pytest.raises(ClickHouseUnavailable):
            await client.ping()


async def test_one_address_is_sent_what_it_always_was():
    async with (
        FakeClickHouse() as fake,
        ClickHouseClient(Endpoint(url=fake.url), clickhouse_config()) as client,
    ):
        await client.insert(SQL, row(1), token="t")
        assert fake.commands == []
    assert not {"insert_quorum", "distributed_foreground_insert"} & fake.inserts[0].settings.keys()


# The whole way


async def test_a_replica_that_dies_in_the_middle_of_a_backlog_loses_and_doubles_nothing(
    tmp_path: Path, replicas: Replicas
):
    station = Station(tmp_path, replicas.a, batch_rows_max=10)
    station.make_client = replicas.client
    async with station:
        await station.append_numbers(1, 200)
        station.start()
        await station.until(lambda: len(replicas.a.inserts) >= 5)
        replicas.a.faults.append(lost_answer())
        await station.until(lambda: len(replicas.b.inserts) >= 3)
        await replicas.b.stop()  # and a is still cooling down
        await asyncio.sleep(0.05)
        await replicas.b.start()
        await station.until(lambda: station.log.cursor_lsn == 200)
    assert sorted(map(number, replicas.a.rows)) == list(range(1, 201))
    assert replicas.a.token_conflicts == replicas.b.token_conflicts == []
