"""The counts of a worker survive its end: each row is counted once, whenever it is killed."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.config import QuotaRule
from nealytics.timestamps import DAY_MS
from nealytics.usage import store
from nealytics.usage.counts import Used
from nealytics.usage.meter import Meter
from nealytics.usage.report import Selection, report
from nealytics.wal import Log
from tests.usage.test_counts import NOON, row
from tests.wal.logs import opened

DAY = NOON // DAY_MS


async def metered(directory: Path, log: Log, now_ms: int = NOON) -> Meter:
    """As a worker does at its start."""
    meter = Meter(directory, lambda: now_ms)
    log.on_durable = meter.rows_durable
    await meter.recover(log, log.durable_lsn)
    return meter


def events(root: Path, day: int = DAY) -> int:
    return sum(line.used.events for _, line in store.used(root, range(day, day + 1)))


@pytest.mark.parametrize("stored_after", range(6))
async def test_each_row_is_counted_once_whenever_the_worker_is_killed(tmp_path: Path, stored_after: int):
    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        for number in range(5):
            if number == stored_after:
                await meter.store()
            await log.append([row("p", "t")] * (number + 1), ROW_FORMAT)
    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        await log.append([row("p", "u")], ROW_FORMAT)
        await meter.store()
    assert events(tmp_path / "usage") == 1 + 2 + 3 + 4 + 5 + 1


async def test_rows_that_arrive_while_older_ones_are_counted_are_counted_once(tmp_path: Path):
    async with opened(tmp_path / "log") as log:
        await log.append([row("p", "t")] * 3, ROW_FORMAT)
        meter = Meter(tmp_path / "usage/0", lambda: NOON)
        before = log.durable_lsn
        log.on_durable = meter.rows_durable
        await log.append([row("p", "t")] * 4, ROW_FORMAT)
        await meter.store()
        assert not (tmp_path / "usage/0").exists()
        await meter.recover(log, before)
        await meter.store()
        assert events(tmp_path / "usage") == 7
    async with opened(tmp_path / "log") as log:
        await (await metered(tmp_path / "usage/0", log)).store()
    assert events(tmp_path / "usage") == 7


async def test_rows_that_arrive_while_the_counts_are_stored_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also if the one who stores them is cancelled, as a worker does when it stops."""
    arrived, storing = threading.Event(), store.store

    def wait_and_store(*args: Any) -> None:
        arrived.wait()
        storing(*args)

    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        await log.append([row("p", "t")] * 3, ROW_FORMAT)
        monkeypatch.setattr(store, "store", wait_and_store)
        first = asyncio.create_task(meter.store())
        await asyncio.sleep(0)
        await log.append([row("p", "t")] * 4, ROW_FORMAT)
        first.cancel()
        last = asyncio.create_task(meter.store())
        await log.append([row("p", "t")] * 5, ROW_FORMAT)
        arrived.set()
        assert await last
        assert events(tmp_path / "usage") == 12
    async with opened(tmp_path / "log") as log:
        await (await metered(tmp_path / "usage/0", log)).store()
    assert events(tmp_path / "usage") == 12


async def test_a_group_of_many_tenants_is_counted_once_and_frees_what_it_took(tmp_path: Path):
    rules = [QuotaRule(project="p", events_per_month=10_000)]
    async with opened(tmp_path / "log") as log:
        meter = Meter(tmp_path / "usage/0", lambda: NOON, rules)
        log.on_durable = meter.rows_durable
        await meter.recover(log, log.durable_lsn)
        for tenants in (2_500, 3):
            for number in range(tenants):
                meter.quotas.events.take("p", f"t{number}", NOON)
            await log.append([row("p", f"t{number}") for number in range(tenants)], ROW_FORMAT)
        await meter.refresh()
        (share,) = meter.quotas.shares()
        assert share.used == events(tmp_path / "usage") == 2_503


async def test_a_new_log_is_counted_from_its_first_row(tmp_path: Path):
    for name in ("old", "new"):
        async with opened(tmp_path / name) as log:
            meter = await metered(tmp_path / "usage/0", log)
            await log.append([row("p", "t")] * 2, ROW_FORMAT)
            await meter.store()
    assert events(tmp_path / "usage") == 4


async def test_a_day_that_has_ended_gets_a_file_of_its_own(tmp_path: Path):
    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        await log.append([row("p", "t")], ROW_FORMAT)
        meter.query("p", None, 50)
        await meter.store()
        meter.now_ms = lambda: NOON + DAY_MS
        await log.append([row("p", "t", NOON + DAY_MS)], ROW_FORMAT)
        await meter.store()
        assert list(meter.counts.days) == [DAY + 1]
    (ended,) = (tmp_path / "usage/0").glob("????-??-??.json")
    assert store.load_day(ended.parent, DAY).lines == [
        ("p", "t", Used(1, len(row("p", "t")))),
        ("p", "", Used(0, 0, 1, 50)),
    ]
    assert [events(tmp_path / "usage", day) for day in (DAY, DAY + 1)] == [1, 1]


async def test_while_both_files_have_a_day_it_counts_once(tmp_path: Path):
    """Killed between the two."""
    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        await log.append([row("p", "t")] * 3, ROW_FORMAT)
        await meter.store()
    current = json.loads((tmp_path / "usage/0/current.json").read_bytes())
    ((date, lines),) = current["days"].items()
    ended = {"position": current["position"], "lines": lines}
    (tmp_path / f"usage/0/{date}.json").write_text(json.dumps(ended))
    assert events(tmp_path / "usage") == 3


async def test_a_file_that_cannot_be_read_stops_nothing_and_stays(tmp_path: Path):
    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        await log.append([row("p", "t")] * 3, ROW_FORMAT)
        await meter.store()
    (tmp_path / "usage/0/current.json").write_text("{")
    async with opened(tmp_path / "log") as log:
        await (await metered(tmp_path / "usage/0", log)).store()
    assert events(tmp_path / "usage") == 3
    assert (tmp_path / "usage/0/current.json.unreadable").read_text() == "{"


async def ended_day(tmp_path: Path) -> Path:
    """3 events and a query on a day that has ended, then 2 events on the next. Returns the day's file."""
    async with opened(tmp_path / "log") as log:
        meter = await metered(tmp_path / "usage/0", log)
        await log.append([row("p", "t")] * 3, ROW_FORMAT)
        meter.query("p", "t", 50)
        await meter.store()
        meter.now_ms = lambda: NOON + DAY_MS
        await log.append([row("p", "t", NOON + DAY_MS)] * 2, ROW_FORMAT)
        await meter.store()
    (ended,) = (tmp_path / "usage/0").glob("????-??-??.json")
    return ended


async def test_a_day_that_has_ended_is_completed_when_its_rows_are_counted_again(tmp_path: Path):
    """The file has the position up to which it is complete, so it needs no `current.json`."""
    ended = await ended_day(tmp_path)
    before = store.load_day(ended.parent, DAY).lines
    (ended.parent / store.CURRENT).write_text("{")
    for _ in range(2):
        async with opened(tmp_path / "log") as log:
            await (await metered(ended.parent, log, NOON + DAY_MS)).store()
        assert store.load_day(ended.parent, DAY).lines == before
        assert [events(tmp_path / "usage", day) for day in (DAY, DAY + 1)] == [3, 2]
        (ended.parent / store.CURRENT).unlink()


async def test_a_clock_that_was_set_back_completes_the_day(tmp_path: Path):
    ended = await ended_day(tmp_path)
    async with opened(tmp_path / "log") as log:
        meter = await metered(ended.parent, log)
        await log.append([row("p", "t")], ROW_FORMAT)
        meter.query("p", "t", 7)
        await meter.store()
        meter.now_ms = lambda: NOON + DAY_MS
        meter.query("p", "t", 1)
        await meter.store()
    ((*_, used),) = store.load_day(ended.parent, DAY).lines
    assert (used.events, used.queries, used.rows_read) == (4, 2, 57)
    assert events(tmp_path / "usage", DAY + 1) == 2


async def test_a_day_that_cannot_be_read_is_reported_and_does_not_stop_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    ended = await ended_day(tmp_path)
    ended.write_text("[")
    async with opened(tmp_path / "log") as log:
        meter = await metered(ended.parent, log)
        await log.append([row("p", "t")], ROW_FORMAT)
        await log.append([row("p", "t")], ROW_FORMAT)
        await meter.store()
        assert events(tmp_path / "usage") == 2
    assert ended.with_name(f"{ended.name}.unreadable").read_text() == "["
    assert f"cannot read {ended}" in caplog.text
    assert f"it is now {ended.name}.unreadable" in caplog.text


async def test_a_report_adds_up_workers_and_days(tmp_path: Path):
    for worker, tenant in enumerate(("a", "b", "a")):
        async with opened(tmp_path / f"log{worker}") as log:
            meter = await metered(tmp_path / f"usage/{worker}", log)
            await log.append([row("p", tenant)] * (worker + 1), ROW_FORMAT)
            await log.append([row("q", "a", NOON - DAY_MS)], ROW_FORMAT)
            await meter.store()
    days = range(DAY - 1, DAY + 1)
    found = report(tmp_path / "usage", days, Selection(), "total", (), NOON)
    assert [(one.project_id, one.tenant_id, one.events) for one in found.usage] == [
        ("p", "a", 4), ("q", "a", 3), ("p", "b", 2),
    ]  # fmt: skip
    found = report(tmp_path / "usage", days, Selection("p", "a"), "day", (), NOON)
    assert [(one.period, one.events) for one in found.usage] == [("2026-11-30", 4)]
