"""Batches without the rows that an erasure covers."""

import msgspec
import pytest

from nealytics.commit.erased import Erased
from nealytics.erasure.jobs import Erasure, hash_of
from nealytics.wal import OS_FILES, CursorState, Range
from nealytics.wal.cut import ERASURES, cut
from tests.commit.station import Station, refusing
from tests.fakes import clickhouse as faults
from tests.fakes.rows import TIMESTAMP_MS, row


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
    "fault", [faults.lost_answer(), faults.killed_after_token()], ids=["stored", "not stored"]
)
async def test_a_batch_that_was_sent_before_the_erasure_keeps_its_bytes(make, fake, fault):
    station = await make(batch_rows_max=10, backoff_max_ms=600_000)
    station.random = lambda: 1.0
    await station.append(*mixed(1, 10))
    fake.faults.append(fault)
    await station.crash()
    station.start()
    await station.until(lambda: bool(fake.inserts))
    erase(station, erasure())
    await station.append(*mixed(11, 20))
    await station.crash()
    station.start()
    await station.drained()
    assert fake.token_conflicts == []
    first = [insert for insert in fake.inserts if ":1-10:" in insert.token and insert.token.count(":") == 2]
    assert len({insert.token for insert in first}) == 1
    assert sorted(set(station.stored)) == [*range(1, 11), *kept(11, 20)]


async def test_a_filtered_batch_has_the_same_bytes_after_a_crash(make, fake):
    station = await make(batch_rows_max=10, backoff_max_ms=600_000)
    station.random = lambda: 1.0
    await station.crash()
    erase(station, erasure())
    await station.append(*mixed(1, 10))
    fake.faults.append(faults.lost_answer())
    station.start()
    await station.until(lambda: bool(fake.inserts))
    # Known later: it applies to later batches only.
    erase(station, erasure("e2", tenant_id="acme"))
    await station.crash()
    await station.append(*mixed(11, 20))
    station.start()
    await station.drained()
    assert fake.token_conflicts == []
    assert station.stored == kept(1, 10)


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


async def test_without_its_file_every_erasure_applies_to_what_is_outstanding(make, fake, caplog):
    station = await make(batch_rows_max=10, backoff_max_ms=600_000)
    station.random = lambda: 1.0
    await station.crash()
    erase(station, erasure())
    await station.append(*mixed(1, 10))
    fake.faults.append(faults.error(241))
    station.start()
    await station.until(lambda: bool(fake.inserts))
    path = station.log.directory / ERASURES
    assert msgspec.json.decode(path.read_bytes()) == {"e1": 1}
    await station.stop()
    path.write_bytes(b"{")
    await station.crash()
    station.start()
    await station.drained()
    assert station.stored == kept(1, 10)
    assert "every erasure applies" in caplog.text


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


async def test_a_copy_of_the_log_sends_an_outstanding_batch_as_it_was(make, fake, tmp_path):
    station = await make()
    await station.append(row(1), row(2, tenant_id="gone"))
    erase(station, erasure())
    await Erased(station.log.directory, lambda: station.erasures).adopt(1)
    await station.log.store_cursor(CursorState(3, (Range(1, 2),)))
    cut(OS_FILES, station.log.directory, tmp_path / "restored" / "0")
    async with Station(tmp_path / "restored", fake) as restored:
        erase(restored, erasure())
        restored.start()
        await restored.drained()
        assert restored.stored == [1]
