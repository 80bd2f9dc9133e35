"""Batches without the rows that an erasure covers."""

import pytest

from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.erasure.jobs import Erasure, hash_of
from nealytics.wal import CursorState
from tests.commit.station import Station, refusing
from tests.fakes import clickhouse as faults
from tests.fakes.rows import TIMESTAMP_MS, number, row


def erasure(id: str = "e1", tenant_id: str = "gone", user_id: str | None = None) -> Erasure:
    return Erasure(
        id=id,
        project_id="shop",
        tenant_id=tenant_id,
        user_hash=None if user_id is None else hash_of("shop", tenant_id, user_id),
        before_ms=TIMESTAMP_MS + 1,
        requested_at_ms=1,
        requested_by="a test",
    )


def erase(station: Station, *erasures: Erasure) -> None:
    station.erasures = {one.id: one for one in (*station.erasures.values(), *erasures)}


def mixed(first: int, last: int) -> list[bytes]:
    """Every third row is of the tenant that is erased."""
    return [row(n, tenant_id="gone" if n % 3 == 0 else "acme") for n in range(first, last + 1)]


def kept(first: int, last: int) -> list[int]:
    return [n for n in range(first, last + 1) if n % 3]


async def test_rows_that_wait_are_left_out_and_acknowledged(make, fake):
    station = await make(batch_rows_max=10)
    await station.append(*mixed(1, 25))
    erase(station, erasure())
    station.start()
    await station.drained()
    assert station.stored == kept(1, 25)
    assert station.log.cursor == CursorState(26)
    assert station.metrics.value("nealytics_events_erased_total") == 8
    assert station.metrics.value("nealytics_events_committed_total") == 17


async def test_later_events_of_the_tenant_and_other_users_are_sent(make, fake):
    station = await make()
    erase(station, erasure(tenant_id="acme", user_id="u-1"))
    await station.append(
        row(1, user_id="u-1"),
        row(2, user_id="u-1", timestamp_ms=TIMESTAMP_MS + 1),
        row(3, user_id="u-2"),
        row(4),
        row(5, user_id="u-1", project_id="other"),
        row(6, user_id="u-1", tenant_id="other"),
    )
    station.start()
    await station.drained()
    assert station.stored == [2, 3, 4, 5, 6]


async def test_a_batch_that_is_erased_whole_is_not_sent(make, fake):
    station = await make()
    erase(station, erasure())
    await station.append(*(row(n, tenant_id="gone") for n in range(1, 6)))
    station.start()
    await station.drained()
    assert fake.inserts == []
    assert station.log.cursor == CursorState(6)


@pytest.mark.parametrize(
    "fault", [faults.lost_answer(), faults.killed_after_token()], ids=["stored", "stored in part"]
)
async def test_a_batch_that_was_sent_before_the_erasure_is_sent_without_the_erased_rows(make, fake, fault):
    """After a crash, and in the same process. Whether or not ClickHouse has the first attempt, no row of
    another tenant is lost, and none that is erased arrives later."""
    station = await make(batch_rows_max=10)
    await station.append(*mixed(1, 10))
    fake.faults.append(fault)

    class Retrying(list):
        def append(self, insert):
            super().append(insert)
            erase(station, erasure())  # between the first attempt and the second

    fake.inserts = Retrying()
    station.start()
    await station.drained()
    await station.crash()
    await station.append(*mixed(11, 20))
    station.start()
    await station.drained()
    assert fake.token_conflicts == []
    assert set(station.stored) >= {*kept(1, 10), *kept(11, 20)}
    erased = [insert for insert in fake.inserts[1:] if any(number(row) % 3 == 0 for row in insert.rows)]
    assert erased == []


async def test_a_batch_of_an_earlier_process_is_sent_without_what_was_erased_since(make, fake):
    station = await make(batch_rows_max=10, backoff_max_ms=600_000)
    station.random = lambda: 1.0
    await station.crash()
    await station.append(*mixed(1, 10))
    fake.faults.append(faults.error(241))
    station.start()
    await station.until(lambda: bool(fake.inserts))
    erase(station, erasure())
    await station.crash()
    station.start()
    await station.drained()
    assert station.stored == kept(1, 10)
    assert station.metrics.value("nealytics_events_erased_total") == 3


async def test_nothing_is_sent_while_it_is_not_known_what_is_erased(make, fake):
    """As while a node is cut off from its ClickHouse; then other nodes may have erased these events."""
    station = await make(batch_rows_max=10)
    station.unknown = ClickHouseUnavailable("no answer")
    await station.append(*mixed(1, 10))
    station.start()
    await station.until(lambda: station.committer.problem is not None)
    assert "no answer" in station.committer.problem
    assert fake.inserts == []
    erase(station, erasure())
    station.unknown = None
    await station.drained()
    assert station.stored == kept(1, 10)
    assert station.committer.problem is None


async def test_rows_around_bad_ones_are_found_in_a_filtered_batch(make, fake):
    station = await make(batch_rows_max=10)
    erase(station, erasure())
    fake.refuse = refusing(4, 9, 5)  # 9 is erased
    await station.append(*mixed(1, 10))
    station.start()
    await station.drained()
    assert sorted(station.stored) == [1, 2, 7, 8, 10]
    assert sorted(station.dead) == [4, 5]
    assert station.metrics.value("nealytics_events_erased_total") == 3


async def test_erased_rows_convict_no_other(make, fake):
    """A range of which nothing is sent does not prove that the table accepts rows."""
    station = await make(batch_rows_max=2)
    erase(station, erasure())
    fake.refuse = lambda row: 27
    await station.append(row(1), row(2, tenant_id="gone"), *(row(n, tenant_id="gone") for n in range(3, 9)))
    station.start()
    await station.until(lambda: station.metrics.value("nealytics_events_erased_total") == 7)
    await station.until(lambda: len(fake.inserts) > 10)
    assert station.dead == []


async def test_after_the_cursor_is_lost_no_erased_row_is_sent_again(make, fake):
    station = await make(batch_rows_max=10)
    await station.append(*mixed(1, 10))
    station.start()
    await station.drained()
    erase(station, erasure())
    await station.append(*mixed(11, 12))
    await station.drained()
    await station.stop()
    await station.client.close()
    await station.log.close()
    fake.rows.clear()  # as the mutation does, and more
    (station.log.directory / "cursor").unlink()
    await station.open()
    station.start()
    await station.drained()
    assert sorted(set(station.stored)) == kept(1, 12)
