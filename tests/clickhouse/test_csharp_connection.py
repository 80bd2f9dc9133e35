"""A ClickHouse that the C# engine wrote to, by its own connection string.

The string names the native port, which is any number where it was moved or mapped: ClickHouse says so, and
which port to write instead. And it may name any database, because the C# engine ignored it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import ClickHouseConfig, Config, load, load_with_notes
from tests.engine import needs_engine
from tests.ports import free_port

# ClickHouse out of the wheel, with the ports that its configuration names.
_SERVER = """
import importlib.util, os, sys
os.chdir(sys.argv[1])
path = importlib.util.find_spec("chdb").submodule_search_locations[0] + "/_chdb.abi3.so"
spec = importlib.util.spec_from_file_location("_chdb", path)
chdb = importlib.util.module_from_spec(spec)
spec.loader.exec_module(chdb)
chdb.query(
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT 1 INTO OUTFILE 'listening' FORMAT Null; "
    "SELECT sleepEachRow(1) FROM numbers(3600) SETTINGS max_block_size = 1, "
    "function_sleep_max_microseconds_per_block = 0 FORMAT Null",
    "TabSeparated",
    path=sys.argv[1] + "/data",
)
"""


@contextmanager
def server(directory: Path) -> Iterator[tuple[int, int]]:
    """A server's native port, and its port for HTTP."""
    port, http_port = free_port(), free_port()
    (directory / "config.xml").write_text(
        f"<clickhouse><listen_host>127.0.0.1</listen_host><tcp_port>{port}</tcp_port>"
        f"<http_port>{http_port}</http_port></clickhouse>"
    )
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(directory)], stdout=log, stderr=log, env={**os.environ}
        )
    try:
        while not (directory / "listening").exists():
            assert process.poll() is None, (directory / "server.log").read_text()
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        yield port, http_port
    finally:
        process.kill()
        process.wait()


async def refusals(config: Config) -> list[ClickHouseError]:
    """What a question, an insert of more than fits into one packet, and a ping come back with."""
    found = []
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        for ask in (
            lambda: client.command("SELECT 1"),
            lambda: client.insert("INSERT INTO t FORMAT RowBinary", b"x" * 3_000_000, token="t"),
            client.ping,
        ):
            with pytest.raises(ClickHouseError) as caught:
                await ask()
            found.append(caught.value)
    return found


@needs_engine
@pytest.mark.engine
async def test_a_native_port_is_named_as_such_with_the_address_to_write(tmp_path: Path):
    with server(tmp_path) as (port, http_port):
        environ = {"TelemetryEngine__ClickHouseConnectionString": f"Host=127.0.0.1;Port={port};Database=x"}
        asked, inserted, pinged = await refusals(load(None, environ))
    said = (
        f"clickhouse: http://127.0.0.1:{port} is ClickHouse's native port, and Nealytics uses HTTP; "
        f'ClickHouse reports {http_port} as its HTTP port: set clickhouse.url = "http://127.0.0.1:{http_port}"'
    )
    assert [str(error) for error in (asked, pinged)] == [said, said]
    # Of a large body the server closes the connection before it has all of it, so its answer may be lost.
    # Either way nothing counts as inserted, and the insert is retried.
    assert isinstance(inserted, ClickHouseUnavailable)


@needs_engine
@pytest.mark.engine
async def test_the_events_of_before_are_there_whatever_database_the_connection_string_names(tmp_path: Path):
    with server(tmp_path) as (_, http_port):
        before = Config(clickhouse=ClickHouseConfig(url=f"http://127.0.0.1:{http_port}"))
        async with ClickHouseClient(endpoint_of(before), before.clickhouse) as client:
            await schema.apply(client, before.clickhouse)
            await client.command(
                "INSERT INTO nealytics_core.global_events (event_id, project_id, timestamp) "
                "SELECT generateUUIDv4(), 'p', now64(3) FROM numbers(1000)"
            )
        text = f"Host=127.0.0.1;Port={http_port};Database=default;ParametersMode=Binary;"
        loaded = load_with_notes(None, {"TelemetryEngine__ClickHouseConnectionString": text})
        config = loaded.config
        async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            # As at a start: nothing is made beside the table that is there.
            assert await schema.apply(client, config.clickhouse) == []
            counted = await client.command(
                f"SELECT database, (SELECT count() FROM {config.clickhouse.database}.global_events) "
                "FROM system.tables WHERE name = 'global_events' FORMAT TabSeparated"
            )
    assert counted == "nealytics_core\t1000\n"
    assert any("Database= is not used" in note for note in loaded.notes)


async def test_a_port_that_does_not_speak_http_at_all_is_unavailable(tmp_path: Path):
    config = Config(clickhouse=ClickHouseConfig(url=f"http://127.0.0.1:{free_port()}"))
    assert all(isinstance(error, ClickHouseUnavailable) for error in await refusals(config))
