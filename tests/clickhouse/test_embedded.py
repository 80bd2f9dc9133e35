import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import (
    Access,
    access_path,
    answers,
    engine_dir,
    read_access,
    reserve_ports,
    running_engine,
    write_access,
)
from nealytics.config import ClickHouseConfig, Config, ServerConfig
from nealytics.errors import ConfigError, NealyticsError
from tests.engine import RunningEngine, free_port, needs_engine, start_engine
from tests.other_user import NODE, needs_root

EMBEDDED = ClickHouseConfig()


def test_a_reserved_port_is_closed_to_others_and_open_to_the_engine():
    reserved, port = reserve_ports(EMBEDDED)
    with reserved, socket.socket() as stranger, socket.socket() as engine:
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        engine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        engine.bind(("127.0.0.1", port))
        engine.listen()
        socket.create_connection(("127.0.0.1", port)).close()


_STRANGER = """
import os, socket, sys
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
for port in map(int, sys.argv[1].split(",")):
    for host in ("127.0.0.1", "0.0.0.0"):
        for options in ((), (2,), (15,), (2, 15)):  # SO_REUSEADDR, SO_REUSEPORT
            with socket.socket() as sock:
                for option in options:
                    sock.setsockopt(socket.SOL_SOCKET, option, 1)
                try:
                    sock.bind((host, port))
                    sock.listen()
                except OSError:
                    continue
                print(host, port, options)
"""


def listened_by_another_user(*ports: int) -> str:
    """Where a program of another user can listen."""
    argument = ",".join(map(str, ports))
    command = [sys.executable, "-c", _STRANGER, argument, "65534"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("host", ["", "127.0.0.1", "0.0.0.0", "127.0.0.2", "localhost"])
def test_no_other_user_listens_on_a_port_of_the_engine(host: str):
    http, native = free_port(), free_port()
    config = EMBEDDED
    if host:
        config = ClickHouseConfig(
            embedded_listen=f"{host}:{http}", embedded_native_port=native, embedded_password="x"
        )
    reserved, port = reserve_ports(config)
    with reserved:
        assert listened_by_another_user(*((http, native) if host else (port,))) == ""
    assert listened_by_another_user(port) != ""


@needs_engine
@pytest.mark.engine
@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_no_other_user_listens_while_the_engine_restarts(tmp_path: Path):
    http, native = free_port(), free_port()
    with start_engine(
        tmp_path, embedded_listen=f"127.0.0.1:{http}", embedded_native_port=native, embedded_password="x"
    ) as engine:
        assert listened_by_another_user(http, native) == ""
        engine.kill()
        assert listened_by_another_user(http, native) == ""
        engine.start()
    engine.reserved.close()


@pytest.mark.parametrize("key", ["embedded_listen", "embedded_native_port"])
def test_a_port_that_a_program_has_is_refused(key: str):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        http, native = (port, free_port()) if key == "embedded_listen" else (free_port(), port)
        config = ClickHouseConfig(embedded_listen=f"0.0.0.0:{http}", embedded_native_port=native)
        with pytest.raises(ConfigError, match=rf"clickhouse.{key} .* on 0.0.0.0 port {port}, .* in use"):
            reserve_ports(config)


def test_two_nodes_do_not_share_ports():
    config = ClickHouseConfig(embedded_listen=f"127.0.0.1:{free_port()}", embedded_password="x")
    with reserve_ports(config)[0], pytest.raises(ConfigError, match="in use"):
        reserve_ports(config)


@pytest.mark.parametrize(
    ("host", "problem"),
    [("192.0.2.1", "Cannot assign requested address"), ("nosuch.invalid", "which has no address")],
)
def test_an_address_that_this_machine_does_not_have_is_refused(host: str, problem: str):
    with pytest.raises(ConfigError, match=problem):
        reserve_ports(ClickHouseConfig(embedded_listen=f"{host}:{free_port()}"))


def test_the_access_is_for_its_user_only_and_shows_no_password(tmp_path: Path):
    assert read_access(tmp_path) is None
    engine_dir(tmp_path).mkdir()
    access = Access.create(8124, operator=True)
    write_access(tmp_path, access)
    assert access_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert read_access(tmp_path) == access
    assert len({*access.secrets, *Access.create(8124).secrets}) == 9
    assert repr(access) == "Access(port=8124)"


async def test_nobody_answers_on_a_port_that_is_closed():
    reserved, port = reserve_ports(EMBEDDED)
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


@needs_root
async def test_root_starts_no_engine_in_the_directory_of_another_user(tmp_path: Path):
    """Who may write there decides what the engine runs."""
    os.chown(tmp_path, NODE, NODE)
    config = Config(server=ServerConfig(data_dir=tmp_path), clickhouse=EMBEDDED)
    with pytest.raises(NealyticsError, match="so root starts no engine there while the node is stopped; run"):
        async with running_engine(config):
            pass
    assert list(tmp_path.iterdir()) == []
