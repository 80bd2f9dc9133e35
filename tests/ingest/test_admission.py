"""The one door to the log."""

import asyncio
import math

import msgspec
import pytest

from nealytics.config import IngestConfig, QuotaRule, WalConfig
from nealytics.erasure.jobs import Erasure
from nealytics.erasure.tombstones import Tombstones
from nealytics.errors import LogBroken, LogFull
from nealytics.event import Event
from nealytics.ingest import admission as ingest_admission
from nealytics.ingest.admission import Admission, NotAdmitted
from nealytics.observe.metrics import Metrics
from nealytics.quotas import Quotas
from nealytics.wal.log import Log
from tests.fakes.log import RefusingLog


def events(count: int) -> list[Event]:
    return [Event(i + 1, "p", "t", "s", None, "e", None, b"{}", 1) for i in range(count)]


async def test_events_are_durable_with_consecutive_lsns_when_admit_returns(tmp_path):
    metrics = Metrics.private()
    log = await Log.open(tmp_path / "0", WalConfig(allow_any_filesystem=True, free_bytes_min=0))
    admission = Admission(log, metrics, IngestConfig(), 90)
    ranges = await asyncio.gather(*(admission.admit(events(n), 5) for n in (1, 3, 100)))
    assert [last - first + 1 for first, last in ranges] == [1, 3, 100]
    assert sorted(first for first, _ in ranges)[0] == 1
    assert log.durable_lsn == 104
    assert metrics.value("nealytics_events_ingested_total") == 104
    await log.close()


async def test_abandoned_admission_is_stored_all_the_same(tmp_path):
    """A client that hangs up after its event was appended changes nothing."""
    log = await Log.open(tmp_path / "0", WalConfig(allow_any_filesystem=True, free_bytes_min=0))
    admission = Admission(log, Metrics.private(), IngestConfig(), 90)
    task = asyncio.create_task(admission.admit(events(2), 5))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await log.close()
    assert log.durable_lsn == 2


async def test_an_event_that_is_erased_is_accepted_and_not_kept(tmp_path):
    metrics = Metrics.private()
    log = await Log.open(tmp_path / "0", WalConfig(allow_any_filesystem=True, free_bytes_min=0))
    admission = Admission(log, metrics, IngestConfig(), 90)
    erased = Erasure(
        id="e", project_id="p", tenant_id="t", before_ms=2, requested_at_ms=0, requested_by="a test"
    )
    admission.erase(Tombstones([erased]))
    later = [msgspec.structs.replace(event, timestamp_ms=2) for event in events(2)]
    first, last = await admission.admit(events(3), 5)
    assert last < first
    assert await admission.admit([*events(3), *later], 5) == (1, 2)
    assert log.durable_lsn == 2
    assert metrics.value("nealytics_events_ingested_total") == 2
    assert metrics.value("nealytics_events_erased_total") == 6
    await log.close()


async def test_an_erasure_that_is_adopted_while_rows_are_compared_applies_to_them(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_admission, "SLICE_ROWS", 1)
    log = await Log.open(tmp_path / "0", WalConfig(allow_any_filesystem=True, free_bytes_min=0))
    admission = Admission(log, Metrics.private(), IngestConfig(), 90)

    def erased(tenant_id: str) -> Erasure:
        return Erasure(
            id=tenant_id,
            project_id="p",
            tenant_id=tenant_id,
            before_ms=2,
            requested_at_ms=0,
            requested_by="x",
        )

    admission.erase(Tombstones([erased("other")]))
    task = asyncio.create_task(admission.admit(events(3), 5))
    await asyncio.sleep(0)  # the first row is compared
    assert not task.done()
    admission.erase(Tombstones([erased("other"), erased("t")]))
    first, last = await task
    assert last < first
    assert log.durable_lsn == 0
    await log.close()


async def test_events_that_are_erased_use_no_quota(tmp_path):
    log = await Log.open(tmp_path / "0", WalConfig(allow_any_filesystem=True, free_bytes_min=0))
    quotas = Quotas([QuotaRule(project="p", events_per_month=9)])
    admission = Admission(log, Metrics.private(), IngestConfig(), 90, quotas=quotas)
    erased = Erasure(
        id="e", project_id="p", tenant_id="t", before_ms=2, requested_at_ms=0, requested_by="a test"
    )
    admission.erase(Tombstones([erased]))
    for _ in range(5):
        quotas.events.take("p", "t", 5)
    later = [msgspec.structs.replace(event, timestamp_ms=2) for event in events(2)]
    await admission.admit([*events(3), *later], 5)
    assert [share.used for share in quotas.shares()] == [2]
    await log.close()


@pytest.mark.parametrize(
    ("error", "code"), [(LogFull("wal: full"), "log_full"), (LogBroken("wal: EIO"), "log_broken")]
)
async def test_log_that_takes_nothing_is_503_with_retry_after(error, code):
    metrics = Metrics.private()
    admission = Admission(RefusingLog(error), metrics, IngestConfig(), 90)
    with pytest.raises(NotAdmitted) as caught:
        await admission.admit(events(7), 5)
    refused = caught.value
    assert (refused.status, refused.code, refused.events) == (503, code, 7)
    assert int(refused.headers["Retry-After"]) > 0
    assert metrics.value("nealytics_events_ingested_total") == 0


async def test_a_refusal_for_lack_of_room_says_what_is_true_of_every_lack():
    """The disk may have room: what is full may be the queue of events that are not written yet."""
    error = LogFull("wal: 67108864 bytes are queued to be written; retry later")
    admission = Admission(RefusingLog(error), Metrics.private(), IngestConfig(), 90)
    with pytest.raises(NotAdmitted) as caught:
        await admission.admit(events(1), 5)
    assert caught.value.message == ("the log has no room for this request; nothing was stored")


@pytest.mark.parametrize(
    ("kept_days", "oldest_days"), [(30.0, 30.0), (0.5, 0.5), (365.0, 365.0), (math.inf, 400.0), (0.0, 0.0)]
)
def test_the_window_is_what_the_table_keeps_whatever_is_configured(kept_days: float, oldest_days: float):
    day_ms = 86_400_000
    now_ms = 400 * day_ms
    admission = Admission(RefusingLog(LogFull("")), Metrics.private(), IngestConfig(), 90)
    assert admission.limits.oldest_ms(now_ms) == now_ms - 90 * day_ms
    admission.keep(kept_days)
    assert now_ms - admission.limits.oldest_ms(now_ms) == pytest.approx(oldest_days * day_ms, abs=1)
