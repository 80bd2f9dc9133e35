"""The doctor finds what is wrong with a machine before events do."""

import asyncio
import json
import os
import socket
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nealytics.cli import doctor as doctor_module
from nealytics.cli import main
from nealytics.wal import OS_FILES
from tests.engine import needs_engine
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.issuer import Issuer, IssuerKey

KEYS = '[auth]\njwt_key = "a-key-of-the-test-that-has-more-than-32-bytes"\n[[auth.api_keys]]\nkey = "k"\n'

CLICKHOUSE_GONE = '[clickhouse]\nurl = "http://127.0.0.1:1"\n'


def config_of(tmp_path: Path, tables: str = "") -> Path:
    path = tmp_path / "nealytics.toml"
    path.write_text(f'{tables}\n[server]\ndata_dir = "{tmp_path}/data"\nconnections_max = 100\n{KEYS}')
    return path


def examine(path: Path) -> tuple[Result, dict[str, list[dict[str, str]]]]:
    result = CliRunner().invoke(main, ["doctor", "--json", "--config", str(path)])
    found: dict[str, list[dict[str, str]]] = {}
    for line in result.output.splitlines():
        finding = json.loads(line)
        found.setdefault(finding["check"], []).append(finding)
    return result, found


def levels(found: dict[str, list[dict[str, str]]], check: str) -> list[str]:
    return [finding["level"] for finding in found[check]]


@needs_engine
@pytest.mark.engine
def test_a_sound_machine_passes_every_check(tmp_path: Path):
    result, found = examine(config_of(tmp_path))
    assert result.exit_code == 0
    assert {"configuration", "disk", "fsync", "open files", "memory", "clickhouse", "schema"} <= set(found)
    for check in ("open files", "memory", "clickhouse", "settings", "schema"):
        assert levels(found, check) == ["pass"]
    assert not (tmp_path / "data" / "wal").exists(), "it leaves nothing behind"
    assert not list(tmp_path.rglob(".doctor-*"))


def test_a_configuration_that_cannot_be_used_ends_the_examination(tmp_path: Path):
    result, found = examine(config_of(tmp_path, "[nonsense]\nx = 1\n"))
    assert result.exit_code == 1
    assert set(found) == {"configuration"}
    assert "fail" in levels(found, "configuration")


def test_it_says_which_configuration_it_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NEALYTICS_CLICKHOUSE_URL", "http://127.0.0.1:1")
    path = config_of(tmp_path)
    _, found = examine(path)
    (finding,) = (line for line in found["configuration"] if line["level"] == "pass")
    assert finding["text"] == f"valid, read from {path}, NEALYTICS_CLICKHOUSE_URL"


async def test_the_keys_of_every_issuer_are_fetched_and_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with Issuer(IssuerKey("ES256", "k-1")).serving() as good, Issuer().serving() as empty:
        blocks = "".join(
            f'[[auth.issuers]]\nissuer = "https://{name}.example/"\njwks_url = "{url}"\naudience = "us"\n'
            for name, url in (("good", good.url), ("empty", empty.url), ("gone", "http://127.0.0.1:1/jwks"))
        )
        _, found = await asyncio.to_thread(examine, config_of(tmp_path, blocks + CLICKHOUSE_GONE))
    told = {finding["text"].partition(": ")[0]: finding for finding in found["issuer"]}
    assert [(name, finding["level"]) for name, finding in told.items()] == [
        ("https://good.example/", "pass"),
        ("https://empty.example/", "warn"),
        ("https://gone.example/", "fail"),
    ]
    assert told["https://good.example/"]["text"].endswith(f'keys from {good.url}: "k-1" (ES256)')
    assert "cannot fetch keys from http://127.0.0.1:1/jwks" in told["https://gone.example/"]["text"]


def test_a_clickhouse_that_is_not_there_fails(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result, found = examine(config_of(tmp_path, f'[clickhouse]\nurl = "{url}"\n'))
    assert result.exit_code == 1
    assert levels(found, "clickhouse") == ["fail"]
    text = found["clickhouse"][0]["text"]
    assert text.startswith(url)
    assert text.endswith("; start ClickHouse, or correct clickhouse.url")


async def test_an_unusable_address_is_reported_and_one_that_works_is_enough(tmp_path: Path):
    """Otherwise a second replica that was never reachable is found out when the first one dies."""
    async with FakeClickHouse() as fake:
        described = fake.answers["FROM system.tables"]("").replace("Replacing", "ReplicatedReplacing")
        described = described.replace("non_replicated_dedup", "replicated_dedup")
        of_fetches = "min_compressed_bytes_to_fsync_after_fetch = 1, fsync_after_insert"
        described = described.replace("fsync_after_insert", of_fetches)
        fake.answers["FROM system.tables"] = lambda sql: described
        fake.answers["toUnixTimestamp64Milli"] = lambda sql: f"26.9.2.1\t{time.time_ns() // 1_000_000}\n"
        fake.answers = dict(reversed(fake.answers.items()))
        gone = "http://127.0.0.1:1"
        path = config_of(tmp_path, f'[clickhouse]\nurl = ["{gone}", "{fake.url}"]\nretention_days = 0\n')
        result, found = await asyncio.to_thread(examine, path)
    assert result.exit_code == 0
    assert levels(found, "addresses") == ["warn"]
    assert gone in found["addresses"][0]["text"]
    assert levels(found, "schema") == ["pass"]


async def test_a_table_that_a_power_loss_could_harm_is_reported_with_its_missing_settings(tmp_path: Path):
    async with FakeClickHouse() as fake:
        described = fake.answers["FROM system.tables"]("").replace("min_rows_to_fsync_after_merge = 1, ", "")
        fake.answers["FROM system.tables"] = lambda sql: described
        fake.answers["toUnixTimestamp64Milli"] = lambda sql: f"26.9.2.1\t{time.time_ns() // 1_000_000}\n"
        fake.answers = dict(reversed(fake.answers.items()))
        path = config_of(tmp_path, f'[clickhouse]\nurl = "{fake.url}"\nretention_days = 0\n')
        result, found = await asyncio.to_thread(examine, path)
    assert result.exit_code == 0
    assert levels(found, "schema") == ["pass", "warn"]
    text = found["schema"][1]["text"]
    assert "does not set min_rows_to_fsync_after_merge = 1: a power loss" in text
    assert "nealytics schema apply" in text


@pytest.mark.parametrize(
    ("retention_days", "level", "said"),
    [
        (0, "pass", "for clickhouse.retention_days"),
        (90, "warn", "for ever, longer than clickhouse.retention_days = 90"),
    ],
)
async def test_a_table_that_keeps_longer_than_configured_is_reported_with_both_figures(
    tmp_path: Path, retention_days: int, level: str, said: str
):
    async with FakeClickHouse() as fake:
        fake.answers["toUnixTimestamp64Milli"] = lambda sql: f"26.9.2.1\t{time.time_ns() // 1_000_000}\n"
        fake.answers = dict(reversed(fake.answers.items()))
        path = config_of(tmp_path, f'[clickhouse]\nurl = "{fake.url}"\nretention_days = {retention_days}\n')
        _, found = await asyncio.to_thread(examine, path)
    assert levels(found, "retention") == [level]
    assert said in found["retention"][0]["text"]


async def test_a_clickhouse_that_is_too_old_fails_with_its_version(tmp_path: Path):
    async with FakeClickHouse() as fake:
        fake.answers["SELECT version()"] = lambda sql: "23.8.16.40\n"
        fake.answers["toUnixTimestamp64Milli"] = lambda sql: f"23.8.16.40\t{time.time_ns() // 1_000_000}\n"
        fake.answers = dict(reversed(fake.answers.items()))
        path = config_of(tmp_path, f'[clickhouse]\nurl = "{fake.url}"\nretention_days = 0\n')
        result, found = await asyncio.to_thread(examine, path)
    assert result.exit_code == 1
    assert "has version 23.8.16.40, and 24.8 or newer is needed" in found["schema"][-1]["text"]


def test_a_log_in_quarantine_is_damage(tmp_path: Path):
    log = tmp_path / "wal" / "0.damaged.x"
    log.mkdir(parents=True)
    result, found = examine(config_of(tmp_path, f'[wal]\ndirectory = "{tmp_path}/wal"\n' + CLICKHOUSE_GONE))
    assert result.exit_code == 1
    assert found["stored events"] == [
        {
            "check": "stored events",
            "level": "fail",
            "text": f"{log}: this log is damaged, and its readable events are being collected",
        }
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_fails(tmp_path: Path):
    (tmp_path / "data").mkdir(mode=0o500)
    result, found = examine(config_of(tmp_path))
    assert result.exit_code == 1
    assert levels(found, "disk") == ["fail"]


def test_a_log_directory_that_is_a_file_fails(tmp_path: Path):
    (tmp_path / "data").write_text("in the way")
    _, found = examine(config_of(tmp_path, '[clickhouse]\nurl = "http://127.0.0.1:9"\n'))
    assert levels(found, "disk") == ["fail"]
    assert "wal.directory" in found["disk"][0]["text"]


def test_a_disk_below_its_reserve_fails_and_one_that_the_log_would_fill_warns(tmp_path: Path):
    far = 10**15
    unreachable = '[clickhouse]\nurl = "http://127.0.0.1:9"\n'
    _, found = examine(config_of(tmp_path, f"{unreachable}[wal]\nfree_bytes_min = {far}\n"))
    assert levels(found, "disk") == ["fail"]
    _, found = examine(config_of(tmp_path, f"{unreachable}[wal]\nbytes_max = {far}\n"))
    assert levels(found, "disk") == ["warn"]


def test_a_slow_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_module, "FSYNC_SLOW_MS", 0.0)
    _, found = examine(config_of(tmp_path, '[clickhouse]\nurl = "http://127.0.0.1:9"\n'))
    assert levels(found, "fsync") == ["warn"]


def test_a_limit_of_open_files_below_the_connections_is_reported(tmp_path: Path):
    path = config_of(tmp_path, '[clickhouse]\nurl = "http://127.0.0.1:9"\n')
    path.write_text(path.read_text().replace("connections_max = 100", "connections_max = 1000000000"))
    _, found = examine(path)
    assert levels(found, "open files") == ["warn"]
    assert "LimitNOFILE" in found["open files"][0]["text"]


@pytest.mark.skipif(OS_FILES.filesystem(Path("/dev/shm")) != "tmpfs", reason="there is no tmpfs")
def test_a_log_in_memory_fails(tmp_path: Path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        tables = f'[clickhouse]\nurl = "http://127.0.0.1:9"\n[wal]\ndirectory = "{directory}"\n'
        _, found = examine(config_of(tmp_path, tables))
    assert "fail" in levels(found, "disk")
    assert "tmpfs" in found["disk"][0]["text"]
