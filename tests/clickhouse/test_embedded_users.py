"""What the users of the embedded engine cannot do: statements sent to a real engine as each of them."""

import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from nealytics.clickhouse.schema import create_statements
from tests.engine import Reply, RunningEngine, engine_is_installed, free_port, request, start_engine

pytestmark = pytest.mark.engine

PASSWORD = 'it\'s <a> "password" & more'
TABLE = "nealytics_core.global_events"
EVENT = "(generateUUIDv4(), '{project}', 'acme', 's', 'view', now64(3))"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    """An engine with a table, for tools that may read the project `shop`."""
    if not engine_is_installed():
        pytest.skip("chdb-core is not installed")
    with start_engine(
        tmp_path_factory.mktemp("engine"),
        embedded_listen=f"127.0.0.1:{free_port()}",
        embedded_native_port=free_port(),
        embedded_password=PASSWORD,
        embedded_project="shop",
    ) as engine:
        for sql in create_statements("nealytics_core", 90):
            assert ask(engine, "writer", sql).text == ""
        rows = ", ".join(EVENT.format(project=project) for project in ("shop", "shop", "other"))
        columns = "event_id, project_id, tenant_id, session_id, event_type, timestamp"
        assert ask(engine, "writer", f"INSERT INTO {TABLE} ({columns}) VALUES {rows}").text == ""
        yield engine


def ask(engine: RunningEngine, user: str, sql: str) -> Reply:
    passwords = {"writer": engine.access.writer, "reader": engine.access.reader, "nealytics": PASSWORD}
    connection = http.client.HTTPConnection("127.0.0.1", engine.access.port, timeout=60)
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": passwords[user]}
    return request(connection, "POST", "/", sql.encode(), headers)


USERS = ("writer", "reader", "nealytics")

# ACCESS_DENIED, SETTING_CONSTRAINT_VIOLATION, READONLY, FUNCTION_NOT_ALLOWED, QUERY_IS_PROHIBITED. 1001 is
# for the current directory, which the engine does not have.
_REFUSED = {"497", "452", "164", "446", "392", "1001"}

COMMANDS = [
    "SELECT * FROM executable('touch {file}', 'LineAsString', 'x String')",
    "CREATE DICTIONARY nealytics_core.d (x String) PRIMARY KEY x "
    "SOURCE(EXECUTABLE(COMMAND 'touch {file}' FORMAT 'TSV')) LAYOUT(DIRECT())",
    "CREATE TABLE nealytics_core.x (x String) ENGINE = Executable('touch {file}', 'TSV')",
    "SELECT * FROM python('open')",
    "SELECT * FROM python('open') SETTINGS allow_python_table_function = 1",
    "CREATE FUNCTION f AS (x) -> x",
]
FILES = [
    "SELECT * FROM file('{secret}', 'LineAsString')",
    "SELECT file('{secret}')",
    "SELECT * FROM default.`{secret}`",
    "SELECT * FROM filesystem('{directory}')",
    "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{secret}'",
    "SELECT 1 AS a FORMAT Protobuf SETTINGS format_schema = '{secret}:X'",
    "SELECT 1 AS a FORMAT CapnProto SETTINGS format_schema = '{secret}:X'",
    "INSERT INTO FUNCTION file('{file}', 'TSV') SELECT 1",
    "SELECT 1 INTO OUTFILE '{file}'",
    "CREATE TABLE nealytics_core.x (x String) ENGINE = File(TSV, '{file}')",
    "CREATE TABLE nealytics_core.x (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a "
    "SETTINGS disk = disk(type = local, path = '{directory}/disk/')",
    "ALTER TABLE nealytics_core.global_events FREEZE",
    "ATTACH TABLE nealytics_core.x FROM '{directory}' (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a",
    "BACKUP TABLE nealytics_core.global_events TO File('{file}')",
    "CREATE DATABASE nealytics_core ENGINE = Filesystem('{directory}')",
    "SELECT * FROM sqlite('{file}', 't')",
    "SELECT * FROM icebergLocal('{directory}')",
]
CONNECTIONS = [
    "SELECT * FROM url('{url}', 'LineAsString')",
    "INSERT INTO FUNCTION url('{url}', 'TSV') SELECT 1",
    "SELECT * FROM s3('{url}/bucket/x', 'LineAsString')",
    "SELECT * FROM gcs('{url}/bucket/x', 'LineAsString')",
    "SELECT * FROM remote('127.0.0.1:1', system.one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'x String')",
    "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
    "SELECT * FROM azureBlobStorage('{url}', 'c', 'x')",
    "SELECT * FROM iceberg('{url}/bucket/x')",
    "CREATE TABLE nealytics_core.x (a UInt8) ENGINE = URL('{url}')",
    "CREATE TABLE nealytics_core.x (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a "
    "SETTINGS disk = disk(type = s3, endpoint = '{url}/bucket/', access_key_id = 'a', "
    "secret_access_key = 'b')",
    "CREATE TABLE nealytics_core.x (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a "
    "SETTINGS table_disk = 1, disk = disk(type = web, endpoint = '{url}/')",
    "CREATE NAMED COLLECTION c AS a = 1",
]
STOPS = [
    "SYSTEM SHUTDOWN",
    "SYSTEM KILL",
    "SYSTEM STOP LISTEN HTTP",
    "SYSTEM STOP LISTEN QUERIES ALL",
    "SYSTEM STOP MERGES nealytics_core.global_events",
    "KILL QUERY WHERE user != currentUser() SYNC",
    "DROP DATABASE nealytics_core",
    "DETACH DATABASE nealytics_core",
]
RIGHTS = [
    "CREATE USER u",
    "GRANT ALL ON *.* TO {user}",
    "EXECUTE AS writer SELECT 1",
    "CREATE TABLE default.x (a UInt8) ENGINE = Memory",
]


class _Heard(http.server.BaseHTTPRequestHandler):
    paths: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.paths.append(self.rfile.readline().decode())


@pytest.fixture(scope="module")
def listener() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Heard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("sql", [*COMMANDS, *FILES, *CONNECTIONS, *STOPS, *RIGHTS])
@pytest.mark.parametrize("user", USERS)
def test_no_user_runs_commands_or_reaches_files_and_servers_or_stops_anything(
    served: RunningEngine, listener: str, tmp_path: Path, user: str, sql: str
):
    secret, file = tmp_path / "secret", tmp_path / "file"
    secret.write_text("a secret of the node")
    text = sql.format(user=user, secret=secret, file=file, directory=tmp_path, url=listener)
    reply = ask(served, user, text)
    assert reply.status != 200, reply.text
    known = {
        "36": "Base path for custom local disks",
        "344": "IMPERSONATE feature is disabled",
        "358": "INTO OUTFILE is not allowed",
    }
    code = reply.code or ""
    assert code in _REFUSED or known.get(code, "?") in reply.text, reply.text
    assert "a secret" not in reply.text
    # ClickHouse makes the directory of a disk before it refuses the disk.
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [secret]
    assert _Heard.paths == []
    assert served.process is not None
    assert served.process.poll() is None
    assert ask(served, user, f"SELECT count() > 0 FROM {TABLE}").text == "1\n"


@pytest.mark.parametrize("user", ["reader", "nealytics"])
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO nealytics_core.global_events (event_id) VALUES (generateUUIDv4())",
        "ALTER TABLE nealytics_core.global_events DELETE WHERE 1",
        "DROP TABLE nealytics_core.global_events",
        "CREATE TABLE nealytics_core.x (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a",
        "SELECT * FROM system.processes",
        "SELECT * FROM system.users",
        "SELECT * FROM system.parts",
        "SET readonly = 0",
    ],
)
def test_those_who_read_do_nothing_else(served: RunningEngine, user: str, sql: str):
    assert ask(served, user, sql).code in ("497", "164")


@pytest.mark.parametrize(
    "source",
    [
        TABLE,
        "merge('nealytics_core', '.*')",
        f"view(SELECT * FROM {TABLE})",
        f"(SELECT * FROM {TABLE} WHERE 1 OR project_id = 'other')",
    ],
)
def test_tools_read_their_project_and_no_other(served: RunningEngine, source: str):
    sql = f"SELECT DISTINCT project_id FROM {source} SETTINGS max_threads = 1"
    assert ask(served, "nealytics", sql).text == "shop\n"
    assert ask(served, "reader", f"SELECT uniq(project_id) FROM {source}").text == "2\n"


def test_an_index_does_not_tell_tools_of_other_projects(served: RunningEngine):
    sql = "SELECT * FROM mergeTreeIndex(nealytics_core, global_events)"
    assert ask(served, "nealytics", sql).code == "497"


@pytest.mark.parametrize("user", ["default", "operator", "nobody"])
def test_nobody_else_comes_in(served: RunningEngine, user: str):
    """The library's own session is the user `default`, without a password and with one session."""
    connection = http.client.HTTPConnection("127.0.0.1", served.access.port, timeout=60)
    reply = request(connection, "POST", "/", b"SELECT 1", {"X-ClickHouse-User": user})
    assert reply.code in ("516", "700"), reply.text


def test_the_official_client_reads_with_settings_and_compression(served: RunningEngine):
    for compress in (False, "lz4", "zstd", "gzip"):
        client = clickhouse_connect.get_client(
            host="127.0.0.1",
            port=served.access.port,
            username="nealytics",
            password=PASSWORD,
            compress=compress,
        )
        counted = client.query("SELECT count() FROM global_events", settings={"max_threads": 1})
        assert counted.first_row == (2,)
        assert [row[0] for row in client.query("SHOW TABLES").result_rows] == ["global_events"]
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            client.query("SELECT * FROM nosuch")
        client.close()


def test_the_native_protocol_is_spoken(served: RunningEngine):
    """A client's first packet: name, version, revision of the protocol, database, user, password."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    hello = b"\0" + text("test") + b"\1\1" + b"\x80\xa9\x03" + text("nealytics_core") + text("nealytics")
    with socket.create_connection(("127.0.0.1", served.config.clickhouse.embedded_native_port)) as sock:
        sock.sendall(hello + text(PASSWORD))
        answer = sock.recv(200)
    assert answer[0] == 0, answer
    assert b"ClickHouse" in answer
