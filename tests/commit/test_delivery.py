"""`deliver` where there are several addresses; test_committer_with_engine.py has it with the real engine."""

import pytest

from nealytics.clickhouse.client import ClickHouseClient, Endpoint
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.commit import delivery
from nealytics.commit.delivery import Delivered, Refused, Unconfirmed, deliver
from tests.commit.station import clickhouse_config
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.rows import number, row

ROWS = [row(n) for n in range(1, 9)]
BATCH = ("nealytics_core", b"".join(ROWS), ROWS, ROW_FORMAT)


async def test_a_batch_that_moved_within_its_first_try_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    """What the first address noted before it was killed, the second one calls known."""
    monkeypatch.setattr(delivery, "_LAG_S", (0.01,))
    async with FakeClickHouse() as first, FakeClickHouse() as second:
        second._tokens, second.rows = first._tokens, first.rows  # as replicas have through Keeper
        first.faults.append(faults.killed_after_token())
        endpoint = Endpoint(url=first.url, others=(second.url,))
        config = clickhouse_config(cluster="main", insert_timeout_s=30, connect_timeout_s=30)
        async with ClickHouseClient(endpoint, config) as client:
            assert await deliver(client, *BATCH, token="t", tried=False) == Delivered(4)
        assert sorted(map(number, first.rows)) == list(range(1, 9))
        assert [insert.token.split(":")[0] for insert in second.inserts] == ["t", "t"]


async def test_rows_that_a_replica_fetches_late_are_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery, "_LAG_S", (0.01, 0.01, 0.01))
    async with FakeClickHouse() as server:
        known = server.answers["SELECT DISTINCT project_id"]
        asked = 0

        def behind(statement: str) -> str:
            nonlocal asked
            asked += 1
            return known(statement) if asked == 3 else '{"data": []}'

        server.answers["SELECT DISTINCT project_id"] = behind
        async with ClickHouseClient(Endpoint(url=server.url), clickhouse_config(cluster="main")) as client:
            assert await deliver(client, *BATCH, token="t", tried=True) == Delivered()
        assert sorted(map(number, server.rows)) == list(range(1, 9))


async def test_rows_that_are_sent_again_and_move_are_sent_once_more(monkeypatch: pytest.MonkeyPatch):
    """The address that failed may have noted the new token, too."""
    monkeypatch.setattr(delivery, "_LAG_S", ())
    async with FakeClickHouse() as first, FakeClickHouse() as second:
        second._tokens, second.rows = first._tokens, first.rows
        first.faults.append(faults.killed_after_token())
        second.faults += [None, faults.killed_after_token()]
        now = 0.0
        endpoint = Endpoint(url=first.url, others=(second.url,))
        config = clickhouse_config(cluster="main", insert_timeout_s=30, connect_timeout_s=30)
        async with ClickHouseClient(endpoint, config, clock=lambda: now) as client:
            assert await deliver(client, *BATCH, token="t", tried=False) == Delivered(4)
        assert set(map(number, first.rows)) == set(range(1, 9))


@pytest.mark.parametrize("code", [27, 32, 33, 159, 241, 497])
async def test_a_question_that_fails_says_nothing_about_the_rows(code: int):
    """Some of these codes, of an insert, mean bad content."""
    async with (
        FakeClickHouse() as server,
        ClickHouseClient(Endpoint(url=server.url), clickhouse_config()) as client,
    ):
        server.questions.append(code)
        with pytest.raises(Unconfirmed, match=str(code)):
            await deliver(client, *BATCH, token="t", tried=True)
        assert await deliver(client, *BATCH, token="t", tried=True) == Delivered()
        assert sorted(map(number, server.rows)) == list(range(1, 9))


async def test_a_first_try_asks_nothing():
    async with (
        FakeClickHouse() as server,
        ClickHouseClient(Endpoint(url=server.url), clickhouse_config()) as client,
    ):
        assert await deliver(client, *BATCH, token="t", tried=False) == Delivered()
        assert server.commands == []


@pytest.mark.parametrize(
    ("stored", "tried", "lacks"),
    [
        pytest.param(range(1, 9), True, set(), id="all"),
        pytest.param(range(1, 5), True, {5, 6, 7, 8}, id="some"),
        pytest.param([], True, set(range(1, 9)), id="none"),
        pytest.param(range(1, 9), False, None, id="a first attempt is not verified"),
    ],
)
async def test_a_refusal_does_not_prove_that_nothing_is_stored(stored, tried: bool, lacks: set[int] | None):
    """The table may have changed since the attempt that stored the rows."""
    async with (
        FakeClickHouse() as server,
        ClickHouseClient(server.endpoint, clickhouse_config()) as client,
    ):
        server.rows += [row(n) for n in stored]
        server.refuse = lambda r: 33
        if lacks == set():
            assert await deliver(client, *BATCH, token="t", tried=tried) == Delivered(accepted=False)
        else:
            with pytest.raises(ClickHouseError, match="code 33") as refusal:
                await deliver(client, *BATCH, token="t", tried=tried)
            assert refusal.value.bad_content
            assert isinstance(refusal.value, Refused) == (lacks is not None)
            if isinstance(refusal.value, Refused):
                assert set(map(number, refusal.value.missing)) == lacks
        assert len(server.rows) == len(stored)


async def test_a_refusal_after_a_failover_is_verified():
    async with FakeClickHouse() as first, FakeClickHouse() as second:
        second.rows = first.rows  # as replicas have
        first.faults.append(faults.lost_answer())
        second.refuse = lambda r: 33
        endpoint = Endpoint(url=first.url, others=(second.url,))
        config = clickhouse_config(cluster="main", insert_timeout_s=30, connect_timeout_s=30)
        async with ClickHouseClient(endpoint, config) as client:
            assert await deliver(client, *BATCH, token="t", tried=False) == Delivered(accepted=False)
        assert len(second.rows) == 8


async def test_the_address_that_refuses_is_asked_and_no_other():
    """The first one may have another table when its cool-down ends; that is not verified yet."""
    async with FakeClickHouse() as first, FakeClickHouse() as second:
        second.rows = first.rows
        first.faults.append(faults.lost_answer())
        now = 0.0

        def refuse(row: bytes) -> int:
            nonlocal now
            now = 1e6
            return 33

        second.refuse = refuse
        endpoint = Endpoint(url=first.url, others=(second.url,))
        config = clickhouse_config(cluster="main", insert_timeout_s=30, connect_timeout_s=30)
        async with ClickHouseClient(endpoint, config, clock=lambda: now) as client:
            assert await deliver(client, *BATCH, token="t", tried=False) == Delivered(accepted=False)
        questions = [
            [s for s in one.commands if "SELECT DISTINCT project_id" in s] for one in (first, second)
        ]
        assert list(map(len, questions)) == [0, 1]


async def test_a_refusal_of_missing_rows_that_are_sent_again_is_verified():
    async with (
        FakeClickHouse() as server,
        ClickHouseClient(server.endpoint, clickhouse_config()) as client,
    ):
        server.faults.append(faults.killed_after_token())
        with pytest.raises(ClickHouseError):
            await deliver(client, *BATCH, token="t", tried=False)
        # The table breaks between the two inserts of the second call.
        known = server.answers["SELECT DISTINCT project_id"]

        def broken(statement: str) -> str:
            server.refuse = lambda r: 33
            return known(statement)

        server.answers["SELECT DISTINCT project_id"] = broken
        with pytest.raises(Refused) as refusal:
            await deliver(client, *BATCH, token="t", tried=True)
        assert set(map(number, refusal.value.missing)) == {5, 6, 7, 8}
