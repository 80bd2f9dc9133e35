"""What a node used is the sum of its workers' files, and no file is read twice."""

import logging
from pathlib import Path

import msgspec
import pytest

from nealytics.config import QuotaRule
from nealytics.quotas import Quotas
from nealytics.usage import store
from nealytics.usage.counts import Line, Used
from nealytics.usage.meter import Meter
from nealytics.usage.node import NodeUsage, by_project, used_of
from nealytics.usage.store import Position
from tests.usage.test_counts import NOON

DAY = NOON // 86_400_000


def put(directory: Path, current: dict[int, list[Line]], ended: dict[int, list[Line]]) -> None:
    days = {day: [msgspec.json.encode(lines)[1:-1]] for day, lines in (current | ended).items()}
    store.store(directory, Position("log", 9), days, list(ended))


def totals(usage: NodeUsage, days: range) -> dict[tuple[str, str], int]:
    return {owner: used.events for owner, used in usage.totals(days).items()}


def test_workers_and_days_are_added_up_however_their_files_change(tmp_path: Path):
    usage = NodeUsage(tmp_path)
    assert usage.totals(range(DAY, DAY + 1)) == {}
    put(tmp_path / "0", {DAY: [Line("p", "a", Used(5))]}, {DAY - 1: [Line("p", "a", Used(7))]})
    put(tmp_path / "1", {DAY: [Line("p", "a", Used(1)), Line("q", "b", Used(2))]}, {})
    month = range(DAY - 20, DAY + 1)
    for _ in range(2):
        assert totals(usage, range(DAY, DAY + 1)) == {("p", "a"): 6, ("q", "b"): 2}
        assert totals(usage, month) == {("p", "a"): 13, ("q", "b"): 2}
    put(tmp_path / "1", {DAY: [Line("p", "a", Used(3))]}, {DAY - 2: [Line("p", "c", Used(9))]})
    assert totals(usage, month) == {("p", "a"): 15, ("p", "c"): 9}
    put(tmp_path / "0", {}, {DAY: [Line("p", "a", Used(6))], DAY - 1: [Line("p", "a", Used(8))]})
    assert totals(usage, month) == {("p", "a"): 17, ("p", "c"): 9}


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put(tmp_path / "0", {DAY: [Line("p", "a", Used(5))]}, {DAY - 1: [Line("p", "a", Used(7))]})
    usage = NodeUsage(tmp_path)
    before = usage.totals(range(DAY - 1, DAY + 1))
    monkeypatch.delattr(store, "load")
    monkeypatch.delattr(store, "load_day")
    assert usage.totals(range(DAY - 1, DAY + 1)) == before


def test_a_file_that_cannot_be_read_is_left_out_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    put(tmp_path / "0", {DAY: [Line("p", "a", Used(5))]}, {})
    put(tmp_path / "1", {DAY: [Line("p", "a", Used(6))]}, {DAY - 1: [Line("p", "a", Used(7))]})
    store.path_of(tmp_path / "1", DAY - 1).write_text("{")
    (tmp_path / "0" / store.CURRENT).write_text("{")
    usage = NodeUsage(tmp_path)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert totals(usage, range(DAY - 1, DAY + 1)) == {("p", "a"): 6}
    assert len(caplog.records) == 2


def test_a_project_has_the_sum_of_its_tenants_and_of_what_has_no_tenant():
    used = {("p", "a"): Used(queries=2), ("p", ""): Used(queries=3), ("q", "a"): Used(queries=4)}
    assert by_project(used, ["p"], "queries") == {"p": {"": 5, "a": 2}}


async def test_a_worker_counts_what_others_used_of_a_quota(tmp_path: Path):
    put(tmp_path / "1", {DAY: [Line("p", "a", Used(4, queries=2))]}, {DAY - 3: [Line("p", "a", Used(3))]})
    rules = [QuotaRule(project="p", events_per_month=10, queries_per_day=3)]
    meter = Meter(tmp_path / "0", lambda: NOON, rules)
    await meter.refresh()
    assert meter.quota_share == 0.7
    taken = [meter.quotas.events.take("p", "b", NOON) is None for _ in range(5)]
    assert taken == [True, True, True, False, False]
    meter.check("p", "b")
    meter.query("p", "b", 0)
    with pytest.raises(Exception, match="has used 3 of its 3 queries"):
        meter.check("p", "b")
    assert used_of(Quotas(rules), NodeUsage(tmp_path), NOON) == (
        {"p": {"": 7, "a": 7}},
        {"p": {"": 2, "a": 2}},
    )
