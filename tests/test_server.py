"""When events that wait in the log make `/ready` answer 503."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nealytics.config import CommitConfig, Config, ServerConfig, WalConfig
from nealytics.observe.metrics import Metrics
from nealytics.server import DamagedLogs, Logs

NOW_S = 1_718_447_400.0
CONFIG = CommitConfig(age_before_alert_s=60.0, flush_interval_s=3.0)


def logs(*ages_s: float | None, config: CommitConfig = CONFIG) -> Logs:
    """A worker's logs, each with an oldest event of this age, whose committers report no problem."""
    found = Logs(config, clock=lambda: NOW_S)
    found.clickhouse_problem = None
    for age_s in ages_s:
        oldest_ms = None if age_s is None else int((NOW_S - age_s) * 1000)
        log: Any = SimpleNamespace(oldest_waiting_ms=oldest_ms, waiting=0 if age_s is None else 7)
        committer: Any = SimpleNamespace(problem=None)
        found.all.append((log, committer))
    return found


@pytest.mark.parametrize("ages_s", [(None,), (0.0,), (62.9,), (None, 5.0), (-3.0,)])
def test_events_that_wait_for_their_batch_are_no_problem(ages_s: tuple[float | None, ...]):
    assert logs(*ages_s).problem is None


def test_an_insert_that_hangs_is_a_problem_although_nothing_has_failed_yet():
    problem = logs(5.0, 75.0).problem
    assert problem is not None
    assert problem.startswith("commit: the oldest event in the log is 75 s old, and 14 events are queued")
    assert problem.endswith("raise commit.age_before_alert_s = 60")


def test_with_0_events_may_wait_for_ever():
    assert logs(1e6, config=CommitConfig(age_before_alert_s=0)).problem is None


def test_events_may_wait_for_a_long_flush_interval():
    config = CommitConfig(age_before_alert_s=60.0, flush_interval_s=600.0)
    assert logs(650.0, config=config).problem is None
    assert logs(661.0, config=config).problem is not None


def test_damaged_logs_are_shown_until_they_are_deleted_and_counted_by_the_worker_that_drains_them(
    tmp_path: Path,
):
    config = Config(wal=WalConfig(directory=tmp_path), server=ServerConfig(workers=2))
    for name in ("0.damaged.a", "1.damaged.b", "5.damaged.c", "1", "dead-letter"):
        (tmp_path / name).mkdir()
    found, metrics = Logs(config.commit), Metrics.private()
    damaged = DamagedLogs(config, 0, found, metrics)
    assert [path.name for path in damaged.mine()] == ["0.damaged.a", "5.damaged.c"]
    damaged.show()
    assert len(found.damage) == 3
    assert metrics.value("nealytics_wal_damaged_logs") == 2
    (tmp_path / "0.damaged.a" / "damage.json").write_text("{")
    damaged.show()
    assert len(found.damage) == 3
    for path in tmp_path.glob("*.damaged.*"):
        shutil.rmtree(path)
    damaged.show()
    assert found.damage == []
    assert metrics.value("nealytics_wal_damaged_logs") == 0
