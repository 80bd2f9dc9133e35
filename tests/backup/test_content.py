"""The part of a backup that is not the table."""

from pathlib import Path

from nealytics.backup import content, register
from nealytics.config import Config, ServerConfig, WalConfig
from nealytics.erasure.store import DIRECTORY as ERASURES
from nealytics.expiry import promise
from nealytics.usage.store import DIRECTORY as USAGE


def node(directory: Path) -> Config:
    return Config(server=ServerConfig(data_dir=directory), wal=WalConfig(directory=directory / "wal"))


def test_quarantined_logs_dead_letters_files_of_the_c_sharp_engine_and_state_come_back(tmp_path: Path):
    files = (
        "wal/0.damaged.x/1.wal", "wal/0.damaged.x/damage.json", "wal/dead-letter/1.json",
        "wal/telemetry_wal.log", "wal/telemetry_wal.replay", "wal/telemetry_wal.log.rejected",
        f"{ERASURES}/1.json", f"{USAGE}/0/current.json", promise.PROMISED, promise.LAST_RUN, register.NAME,
    )  # fmt: skip
    for name in files:
        path = tmp_path / "old" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "old/clickhouse").mkdir()
    assert content.collect(node(tmp_path / "old"), tmp_path / "backup", lambda _: None) == {}
    assert content.damage(tmp_path / "backup") == []
    content.put_back(node(tmp_path / "new"), tmp_path / "backup")
    for name in files:
        assert (tmp_path / "new" / name).read_text() == name
    assert not (tmp_path / "new/clickhouse").exists()


def test_a_backup_puts_nothing_into_the_data_directory_that_no_backup_has(tmp_path: Path):
    for name in ("state/clickhouse/users.xml", f"state/{promise.PROMISED}"):
        (tmp_path / "backup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "backup" / name).write_text(name)
    content.put_back(node(tmp_path / "new"), tmp_path / "backup")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [promise.PROMISED, "wal"]


def test_what_the_data_directory_still_has_is_newer_and_stays(tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / promise.PROMISED).write_text("old")
    content.collect(node(tmp_path / "old"), tmp_path / "backup", lambda _: None)
    (tmp_path / "old" / promise.PROMISED).write_text("new")
    content.put_back(node(tmp_path / "old"), tmp_path / "backup")
    assert (tmp_path / "old" / promise.PROMISED).read_text() == "new"
