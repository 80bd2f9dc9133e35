import os
import stat
from pathlib import Path

import msgspec
import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import answers, prepare_socket_directory, running_engine, socket_path
from nealytics.config import ClickHouseConfig, Config, ServerConfig
from nealytics.errors import NealyticsError
from tests.engine import RunningEngine, needs_engine


def test_the_socket_is_in_the_data_directory(tmp_path: Path):
    assert socket_path(tmp_path) == tmp_path / "clickhouse.sock"


def test_a_relative_directory_gives_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert socket_path(Path("data")) == tmp_path / "data" / "clickhouse.sock"


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_private_one(tmp_path: Path):
    deep = tmp_path / ("é" * 60)
    path = socket_path(deep)
    assert len(os.fsencode(path)) <= 107
    assert path == socket_path(deep)
    assert path != socket_path(tmp_path / ("è" * 60))
    prepare_socket_directory(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.parent.rmdir()


def test_a_directory_that_another_user_could_have_made_is_refused(tmp_path: Path):
    path = socket_path(tmp_path / ("x" * 100))
    path.parent.mkdir(mode=0o700)
    try:
        path.parent.chmod(0o777)
        with pytest.raises(NealyticsError, match="is not a directory that only user"):
            prepare_socket_directory(path)
    finally:
        path.parent.rmdir()


async def test_nobody_answers_on_a_socket_that_is_not_there(tmp_path: Path):
    assert not await answers(tmp_path / "nothing.sock")


async def test_a_server_needs_no_engine(tmp_path: Path):
    config = Config(
        server=ServerConfig(data_dir=tmp_path), clickhouse=ClickHouseConfig(url="http://127.0.0.1:1")
    )
    async with running_engine(config):
        assert list(tmp_path.iterdir()) == []


@needs_engine
@pytest.mark.engine
async def test_an_engine_is_started_for_the_duration(tmp_path: Path):
    config = Config(server=ServerConfig(data_dir=tmp_path / "data"))
    path = socket_path(config.server.data_dir)
    async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        assert await answers(path)
        assert (await client.command("SELECT 1")).strip() == "1"
        # A second command, meanwhile, uses the same one.
        async with running_engine(config):
            assert await answers(path)
        assert await answers(path)
    assert not await answers(path)
    assert not path.exists()


@needs_engine
@pytest.mark.engine
async def test_a_running_engine_is_used_and_left_running(engine: RunningEngine):
    async with running_engine(engine.config):
        assert await answers(engine.socket_path)
    assert await answers(engine.socket_path)


@needs_engine
@pytest.mark.engine
async def test_an_engine_that_cannot_start_says_so(tmp_path: Path):
    config = Config(server=ServerConfig(data_dir=tmp_path))
    listening = msgspec.structs.replace(
        config, clickhouse=ClickHouseConfig(embedded_listen="256.0.0.1:99", embedded_password="x")
    )
    with pytest.raises(NealyticsError, match="did not start"):
        async with running_engine(listening):
            pass
