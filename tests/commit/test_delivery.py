"""`deliver` where there are several addresses; test_committer_with_engine.py has it with the real engine."""

import pytest

from nealytics.clickhouse.client import ClickHouseClient, Endpoint
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.commit import delivery
from nealytics.commit.delivery import Unconfirmed, deliver
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
            assert await deliver(client, *BATCH, token="t", tried=False) == 4
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
            assert await deliver(client, *BATCH, token="t", tried=True) == 0
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
            assert await deliver(client, *BATCH, token="t", tried=False) == 4
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
        assert await deliver(client, *BATCH, token="t", tried=True) == 0
        assert sorted(map(number, server.rows)) == list(range(1, 9))


async def test_a_first_try_asks_nothing():
    async with (
        FakeClickHouse() as server,
        ClickHouseClient(Endpoint(url=server.url), clickhouse_config()) as client,
    ):
        assert await deliver(client, *BATCH, token="t", tried=False) == 0
        assert server.commands == []
