import socket
from pathlib import Path

import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import (
    Access,
    access_path,
    answers,
    engine_dir,
    read_access,
    reserve_port,
    running_engine,
    write_access,
)
from nealytics.config import ClickHouseConfig, Config, ServerConfig
from nealytics.errors import NealyticsError
from tests.engine import RunningEngine, needs_engine

EMBEDDED = ClickHouseConfig()


def test_a_reserved_port_is_closed_to_others_and_open_to_the_engine():
    reserved, port = reserve_port(EMBEDDED)
    assert reserved is not None
    with reserved, socket.socket() as stranger, socket.socket() as engine:
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        engine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        engine.bind(("127.0.0.1", port))
        engine.listen()
        socket.create_connection(("127.0.0.1", port)).close()


def test_a_configured_port_is_used_as_it_is():
    config = ClickHouseConfig(embedded_listen="127.0.0.1:8123", embedded_password="x")
    assert reserve_port(config) == (None, 8123)


def test_the_access_is_for_its_user_only_and_shows_no_password(tmp_path: Path):
    assert read_access(tmp_path) is None
    engine_dir(tmp_path).mkdir()
    access = Access.create(8124, operator=True)
    write_access(tmp_path, access)
    assert access_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert read_access(tmp_path) == access
    assert len({*access.secrets, *Access.create(8124).secrets}) == 5
    assert repr(access) == "Access(port=8124)"


async def test_nobody_answers_on_a_port_that_is_closed():
    reserved, port = reserve_port(EMBEDDED)
    assert reserved is not None
    with reserved:
        assert not await answers(Access.create(port))


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
    async with running_engine(config):
        access = read_access(config.server.data_dir)
        assert access is not None
        assert access.operator == ""
        assert await answers(access)
        async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            assert (await client.command("SELECT currentUser()")).strip() == "writer"
        # A second command, meanwhile, uses the same one.
        async with running_engine(config):
            assert read_access(config.server.data_dir) == access
        assert await answers(access)
    assert not await answers(access)


@needs_engine
@pytest.mark.engine
async def test_an_operator_has_an_engine_with_all_rights_while_no_node_runs(tmp_path: Path):
    config = Config(server=ServerConfig(data_dir=tmp_path / "data"))
    async with (
        running_engine(config, operator=True),
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
    ):
        assert (await client.command("SELECT currentUser()")).strip() == "operator"
        await client.command("CREATE DATABASE other")


@needs_engine
@pytest.mark.engine
async def test_a_running_engine_is_used_and_left_running(engine: RunningEngine):
    async with running_engine(engine.config):
        assert await answers(engine.access)
    assert await answers(engine.access)


@needs_engine
@pytest.mark.engine
async def test_an_engine_that_cannot_start_says_so(tmp_path: Path):
    (tmp_path / "data").write_text("not a directory")
    config = Config(server=ServerConfig(data_dir=tmp_path / "data"))
    with pytest.raises(NealyticsError, match="did not start"):
        async with running_engine(config):
            pass
