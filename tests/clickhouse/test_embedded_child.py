"""The embedded engine as a process, spoken to as any HTTP client would."""

import base64
import http.client
import json
import os
import re
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from nealytics.clickhouse.embedded import engine_dir
from nealytics.clickhouse.embedded_body import BODY_MEMORY_BYTES_MAX, Body
from nealytics.clickhouse.embedded_child import (
    CLOSE_TIMEOUT_S,
    FREE_SHARE_MIN,
    KILL_TIMEOUT_S,
    READS_MAX,
    SQL_HEAD_BYTES,
    STOP_TIMEOUT_S,
)
from nealytics.clickhouse.encoding import SUPPORTED, compressed
from nealytics.config import WalConfig
from nealytics.supervisor import ENGINE_STOP_TIMEOUT_S
from tests.clickhouse.conftest import PASSWORD
from tests.engine import Reply, RunningEngine, request, start_engine

pytestmark = pytest.mark.engine


@pytest.fixture
def table(engine: RunningEngine) -> Iterator[str]:
    """A table of numbers and texts that forgets no token."""
    name = f"t{time.monotonic_ns()}"
    run(
        engine,
        f"CREATE TABLE {name} (a Int64, s String DEFAULT 'none') ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100",
    )
    yield name
    run(engine, f"DROP TABLE {name}")


def post(
    engine: RunningEngine, sql: str | bytes, *, headers: dict[str, str] | None = None, **parameters: Any
) -> Reply:
    return engine.request(
        "POST", "/?" + urlencode(parameters), sql if isinstance(sql, bytes) else sql.encode(), headers
    )


def run(engine: RunningEngine, sql: str | bytes, **parameters: Any) -> str:
    """The answer to a statement that is expected to work."""
    reply = post(engine, sql, **parameters)
    assert (reply.status, reply.code) == (200, None), reply.text
    return reply.text


def insert(
    engine: RunningEngine, sql: str, data: bytes, headers: dict[str, str] | None = None, **parameters: Any
) -> Reply:
    return engine.request("POST", "/?" + urlencode({"query": sql, **parameters}), data, headers)


def tcp(engine: RunningEngine) -> http.client.HTTPConnection:
    host, port = engine.config.clickhouse.embedded_listen.split(":")
    return http.client.HTTPConnection(host, int(port), timeout=30)


# Requests and answers


def test_ping_is_answered_without_a_query(engine: RunningEngine):
    reply = engine.request("GET", "/ping")
    assert (reply.status, reply.body) == (200, b"Ok.\n")
    assert engine.request("GET", "/").body == b"Ok.\n"
    assert engine.request("GET", "/nothing/here").status == 404


def test_the_query_may_be_in_the_url_in_the_body_or_in_both(engine: RunningEngine):
    assert run(engine, "SELECT 1") == "1\n"
    assert engine.request("GET", "/?query=SELECT%201").text == "1\n"
    assert run(engine, "UNION ALL SELECT 1", query="SELECT 1") == "1\n1\n"


def test_the_format_is_that_of_the_statement_or_else_the_default(engine: RunningEngine):
    assert run(engine, "SELECT 1 AS x", default_format="JSONEachRow") == '{"x":1}\n'
    assert run(engine, "SELECT 1 AS x FORMAT CSVWithNames", default_format="JSONEachRow") == '"x"\n1\n'
    assert post(engine, "SELECT 1 AS x", headers={"X-ClickHouse-Format": "JSONEachRow"}).text == '{"x":1}\n'
    assert post(engine, "SELECT 1 FORMAT CSV").headers["X-ClickHouse-Format"] == "CSV"
    assert post(engine, "SET max_threads = 1").headers["X-ClickHouse-Format"] is None


@pytest.mark.parametrize("form", ["Parquet", "ORC", "Arrow"])
@pytest.mark.parametrize(
    "sql", ["SELECT number FROM numbers(10) FORMAT {}", "SELECT number FROM numbers(10) -- {}\n;"]
)
def test_formats_with_an_index_come_whole(engine: RunningEngine, form: str, sql: str):
    reply = post(engine, sql.format(form), default_format=form)
    assert reply.status == 200, reply.text
    assert reply.body.startswith({"Parquet": b"PAR1", "ORC": b"ORC", "Arrow": b"ARROW1"}[form])
    assert post(engine, "SELECT nothing", default_format=form).status == 404
    assert (
        engine.request("GET", "/?" + urlencode({"query": sql.format(form), "default_format": form})).status
        == 200
    )


def test_a_result_larger_than_memory_should_be_comes_in_pieces(engine: RunningEngine):
    reply = post(engine, "SELECT number FROM numbers(3000000)")
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert reply.body.count(b"\n") == 3_000_000


def test_an_answer_that_is_wanted_whole_waits_on_disk_and_not_in_memory(engine: RunningEngine):
    assert engine.process is not None
    status = Path(f"/proc/{engine.process.pid}/status")

    def most_mib() -> int:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1]) // 1024  # type: ignore[index]

    sql = "SELECT repeat('x', 1000) FROM numbers({}) SETTINGS output_format_parallel_formatting = 0"
    assert len(post(engine, sql.format(100_000), wait_end_of_query=1).body) == 100_100_000
    Path(f"/proc/{engine.process.pid}/clear_refs").write_text("5")  # forget the peak of earlier tests
    before = most_mib()
    reply = post(engine, sql.format(400_000), wait_end_of_query=1)
    assert reply.status == 200
    assert len(reply.body) == 400_400_000
    assert most_mib() - before < 200
    assert not list(engine_dir(engine.config.server.data_dir).glob("tmp/nealytics-*"))


def test_an_answer_takes_no_disk_space_that_the_log_needs(tmp_path: Path):
    free = os.statvfs(tmp_path)
    spare = 300 * 1024**2
    engine = start_engine(tmp_path)
    needed = (free.f_bavail * free.f_frsize - spare) // FREE_SHARE_MIN
    engine.config = msgspec.structs.replace(engine.config, wal=WalConfig(free_bytes_min=needed))
    # 2 GB, in 20 s; in blocks of some MB, since no block may sleep for long
    sql = "SELECT randomPrintableASCII(10000), sleepEachRow(0.00005) FROM numbers(200000) FORMAT {}"
    with engine:
        for form in ("Parquet SETTINGS output_format_parquet_compression_method = 'none'", "TSVRaw"):
            reply = post(engine, sql.format(form), wait_end_of_query=1, max_block_size=500)
            assert reply.code == "243", reply.text
            assert "wal.free_bytes_min" in reply.text
            assert not list(engine_dir(engine.config.server.data_dir).glob("tmp/nealytics-*"))
        assert post(engine, "SELECT 1 FORMAT TSVRaw", wait_end_of_query=1).text == "1\n"


def test_small_answers_need_no_room_beside_what_the_log_leaves(tmp_path: Path):
    """A node asks them to become ready: with less than a gigabyte free it never was."""
    engine = start_engine(tmp_path)
    engine.config = msgspec.structs.replace(engine.config, wal=WalConfig(free_bytes_min=10**15))
    with engine:
        assert post(engine, "SELECT 1 FORMAT TSVRaw", wait_end_of_query=1).text == "1\n"
        reply = post(engine, "SELECT randomPrintableASCII(100) FROM numbers(200000)", wait_end_of_query=1)
        assert reply.code == "243", reply.text
        assert "more than 8 MiB" in reply.text


def test_the_summary_counts_what_was_read_and_written(engine: RunningEngine, table: str):
    reply = insert(engine, f"INSERT INTO {table} (a) FORMAT CSV", b"1\n2\n3\n")
    assert json.loads(reply.headers["X-ClickHouse-Summary"])["written_rows"] == "3"
    reply = post(engine, f"SELECT * FROM {table} FORMAT JSON", query_id="mine")
    assert json.loads(reply.headers["X-ClickHouse-Summary"])["read_rows"] == "3"
    assert reply.headers["X-ClickHouse-Query-Id"] == "mine"


def test_answers_are_packed_if_that_is_asked_for(engine: RunningEngine):
    from nealytics.clickhouse.encoding import decompressed

    for encoding in SUPPORTED:
        headers = {"Accept-Encoding": encoding}
        for sql in (
            "SELECT number FROM numbers(100000)",
            "SELECT number FROM numbers(100000) FORMAT JSONCompact",
        ):
            reply = post(engine, sql, headers=headers, enable_http_compression=1)
            assert reply.headers["Content-Encoding"] == encoding
            assert b"".join(decompressed([reply.body], encoding)).count(b"\n") >= 100_000
    assert post(engine, "SELECT 1", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"] is None


# Parameters and settings


def test_parameters_are_unescaped_as_a_server_does(engine: RunningEngine):
    assert run(engine, "SELECT hex({a:String})", param_a="a\\b") == "6108\n"
    assert run(engine, "SELECT {a:Array(String)}", param_a=r"['x\'y']") == "['x\\'y']\n"
    assert post(engine, "SELECT {a:String}", param_a="a\tb").code == "457"
    assert run(engine, "SELECT {i:Int32} + 1", param_i="41") == "42\n"


def test_a_parameter_works_in_an_insert(engine: RunningEngine, table: str):
    run(engine, f"INSERT INTO {table} (a) SELECT {{n:Int64}}", param_n="7")
    assert run(engine, f"SELECT a FROM {table}") == "7\n"


@pytest.mark.parametrize("name", ["nosuchsetting", "max_threads--", "a b", "x'y"])
def test_an_unknown_setting_is_refused(engine: RunningEngine, name: str):
    reply = post(engine, "SELECT 1", **{name: "1"})
    assert (reply.status, reply.code) == (404, "115")


def test_settings_hold_for_their_request_only(engine: RunningEngine):
    assert run(engine, "SELECT getSetting('max_block_size')", max_block_size=123) == "123\n"
    assert run(engine, "SELECT getSetting('max_block_size')") != "123\n"
    run(engine, "SET max_block_size = 123")
    assert run(engine, "SELECT getSetting('max_block_size')") != "123\n"


def test_a_setting_cannot_break_out_of_its_quotes(engine: RunningEngine):
    evil = "x', readonly = '0"
    assert run(engine, "SELECT getSetting('http_response_headers')", http_response_headers="{}") == "{}\n"
    assert run(
        engine, "SELECT getSetting('insert_deduplication_token')", insert_deduplication_token=evil
    ) == ("x\\', readonly = \\'0\n")


def test_server_defaults_are_those_of_a_server(engine: RunningEngine):
    assert post(engine, "1 + 1").code == "62"


def test_the_database_is_chosen_by_parameter_or_header(engine: RunningEngine):
    assert run(engine, "SELECT currentDatabase()", database="system") == "system\n"
    assert (
        post(engine, "SELECT currentDatabase()", headers={"X-ClickHouse-Database": "system"}).text
        == "system\n"
    )
    reply = post(engine, "SELECT 1", database="no`such")
    assert (reply.status, reply.code) == (404, "81")


def test_readonly_forbids_writing(engine: RunningEngine, table: str):
    assert insert(engine, f"INSERT INTO {table} (a) FORMAT CSV", b"1\n", readonly=2).code == "164"
    assert post(engine, f"DROP TABLE {table}", readonly=2).code == "164"
    assert run(engine, "SELECT 1", readonly=2, final=1, max_execution_time=5) == "1\n"
    reply = engine.request("GET", "/?" + urlencode({"query": f"DROP TABLE {table}"}))
    assert (reply.status, reply.code) == (500, "164")


# Inserts


def test_the_same_token_is_taken_once(engine: RunningEngine, table: str):
    for token in ("x", "x", "y"):
        insert(
            engine,
            f"INSERT INTO {table} (a) FORMAT RowBinary",
            bytes(8),
            insert_deduplication_token=token,
            async_insert=0,
        )
    assert run(engine, f"SELECT count() FROM {table}") == "2\n"


@pytest.mark.parametrize("encoding", ["", *SUPPORTED])
@pytest.mark.parametrize("where", ["url", "body"])
@pytest.mark.parametrize("length", ["known", "chunked"])
def test_an_insert_arrives_however_it_is_sent(
    engine: RunningEngine, table: str, encoding: str, where: str, length: str
):
    sql = f"INSERT INTO {table} (a) FORMAT RowBinary"
    data = b"".join(n.to_bytes(8, "little") for n in range(50_000))
    body = data if where == "url" else sql.encode() + b"\n" + data
    packed = compressed(body, encoding) if encoding else body
    sent: Any = (
        packed
        if length == "known"
        else iter([packed[start : start + 10_007] for start in range(0, len(packed), 10_007)])
    )
    target = "/?" + (urlencode({"query": sql}) if where == "url" else "")
    reply = engine.request("POST", target, sent, {"Content-Encoding": encoding} if encoding else None)
    assert reply.status == 200, reply.text
    assert run(engine, f"SELECT count(), sum(a) FROM {table}") == f"50000\t{sum(range(50_000))}\n"


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO {} FORMAT CSV\n1,x\n2,y",
        b"INSERT INTO {} VALUES (1, 'x;y'), (2, '\xff')",
        b"INSERT INTO {} (a) FORMAT TSV 1\n2",
    ],
)
def test_an_insert_with_its_data_behind_it(engine: RunningEngine, table: str, text: bytes):
    reply = post(engine, text.replace(b"{}", table.encode()))
    assert reply.status == 200, reply.text
    assert run(engine, f"SELECT sum(a) FROM {table}") == "3\n"


def test_data_may_begin_in_the_url(engine: RunningEngine, table: str):
    assert insert(engine, f"INSERT INTO {table} (a) VALUES (1),", b"(2)").status == 200
    assert run(engine, f"SELECT sum(a) FROM {table}") == "3\n"


def test_missing_columns_get_their_default(engine: RunningEngine, table: str):
    insert(engine, f"INSERT INTO {table} (a) FORMAT RowBinary", bytes(8))
    assert run(engine, f"SELECT s FROM {table}") == "none\n"


def test_a_body_that_does_not_arrive_whole_inserts_nothing(engine: RunningEngine, table: str):
    head = (
        f"POST /?{urlencode({'query': f'INSERT INTO {table} (a) FORMAT RowBinary'})} HTTP/1.1\r\nHost: x\r\n"
    )
    for framing in ("Content-Length: 80\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n28\r\n"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(engine.socket_path))
            sock.sendall((head + framing).encode() + bytes(40))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.socket_path))
        sock.sendall((head + "Content-Length: 80\r\n\r\n").encode() + bytes(40))
        sock.shutdown(socket.SHUT_WR)
        assert b" 200 " not in sock.recv(100)
    assert run(engine, f"SELECT count() FROM {table}") == "0\n"


def test_packed_data_that_is_damaged_inserts_nothing(engine: RunningEngine, table: str):
    packed = compressed(bytes(80_000), "zstd")
    for damaged in (packed[:-2], b"no" + packed):
        reply = insert(
            engine, f"INSERT INTO {table} (a) FORMAT RowBinary", damaged, {"Content-Encoding": "zstd"}
        )
        assert (reply.status, reply.code) == (400, "117")
    assert (
        insert(engine, f"INSERT INTO {table} FORMAT CSV", b"", {"Content-Encoding": "snappy"}).status == 501
    )
    assert run(engine, f"SELECT count() FROM {table}") == "0\n"


def test_too_many_partitions_are_an_error_and_not_silence(engine: RunningEngine):
    """chDB's own streaming of inserts answers success here, and keeps nothing."""
    run(engine, "CREATE OR REPLACE TABLE parts (a Int64) ENGINE = MergeTree ORDER BY a PARTITION BY a")
    data = b"".join(n.to_bytes(8, "little") for n in range(150))
    assert insert(engine, "INSERT INTO parts (a) FORMAT RowBinary", data).code == "252"
    assert run(engine, "SELECT count() FROM parts") == "0\n"


def test_a_failing_materialized_view_is_an_error_and_not_silence(engine: RunningEngine, table: str):
    run(engine, f"CREATE TABLE {table}_to (a Int64) ENGINE = MergeTree ORDER BY a")
    run(
        engine,
        f"CREATE MATERIALIZED VIEW {table}_mv TO {table}_to AS SELECT throwIf(a = 5) + a AS a FROM {table}",
    )
    assert insert(engine, f"INSERT INTO {table} (a) FORMAT CSV", b"5\n").code == "395"
    assert insert(engine, f"INSERT INTO {table} (a) FORMAT CSV", b"6\n").code is None
    assert run(engine, f"SELECT a FROM {table}_to") == "6\n"
    run(engine, f"DROP TABLE {table}_mv")


def test_a_batch_of_the_largest_size_is_one_block(engine: RunningEngine, table: str):
    """One block is inserted whole or not at all, and deduplicated as one."""
    row = (1).to_bytes(8, "little") + b"\xac\x02" + b"x" * 300
    pinned = {
        "async_insert": 0, "max_insert_block_size": 1048449, "min_insert_block_size_rows": 1048449,
        "min_insert_block_size_bytes": 268402944, "input_format_parallel_parsing": 0, "max_insert_threads": 1,
    }  # fmt: skip
    assert (
        insert(engine, f"INSERT INTO {table} (a, s) FORMAT RowBinary", row * 100_000, **pinned).status == 200
    )
    assert (
        run(engine, f"SELECT count(), sum(rows) FROM system.parts WHERE table = '{table}'") == "1\t100000\n"
    )


# Errors


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELEC 1", 400, "62", "SYNTAX_ERROR"),
        ("", 400, "62", "Syntax error"),
        ("SELECT 1; SELECT 2", 400, "62", "Multi-statements"),
        ("SELECT * FROM nosuch", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT * FROM nosuch.t", 404, "81", "UNKNOWN_DATABASE"),
        ("SELECT nosuch(1)", 404, "46", "UNKNOWN_FUNCTION"),
        ("SELECT 1 FORMAT Nosuch", 404, "73", "UNKNOWN_FORMAT"),
        ("INSERT INTO nosuch FORMAT CSV 1", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT throwIf(1)", 500, "395", "FUNCTION_THROW_IF"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 500, "358", "INTO OUTFILE"),
    ],
)
def test_an_error_has_the_status_and_the_header_of_a_server(
    engine: RunningEngine, sql: str, status: int, code: str, name: str
):
    reply = post(engine, sql)
    assert (reply.status, reply.code) == (status, code)
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
    assert name in reply.text
    assert "(version 26." in reply.text


def test_an_error_after_the_first_piece_cuts_the_connection(engine: RunningEngine):
    sql = "SELECT throwIf(number = 3000000) FROM numbers(5000000) SETTINGS max_threads = 1"
    with pytest.raises(http.client.IncompleteRead) as raised:
        post(engine, sql)
    assert b"Code: 395" in raised.value.partial
    assert post(engine, sql, wait_end_of_query=1).code == "395"


@pytest.mark.parametrize("parameters", [{"compress": 1}, {"decompress": 1}, {"role": "x"}])
def test_what_is_not_emulated_is_refused(engine: RunningEngine, parameters: dict[str, Any]):
    assert post(engine, "SELECT 1", **parameters).code in ("48", "511")


def test_a_query_over_its_memory_is_refused_and_the_engine_lives(engine: RunningEngine):
    assert (
        post(
            engine, "SELECT groupArray(number) FROM numbers(100000000) FORMAT Null", max_memory_usage=10**7
        ).code
        == "241"
    )
    limit = int(
        run(engine, "SELECT value FROM system.server_settings WHERE name = 'max_server_memory_usage'")
    )
    assert 0 < limit <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


# Sessions


def test_a_session_keeps_what_statements_set_and_forgets_what_parameters_set(engine: RunningEngine):
    get = "SELECT getSetting('max_block_size'), currentDatabase()"
    run(engine, "SET max_block_size = 5", session_id="a")
    run(engine, "USE system", session_id="a")
    assert run(engine, get, session_id="a") == "5\tsystem\n"
    assert run(engine, get, session_id="a", max_block_size=9, database="default") == "9\tdefault\n"
    assert run(engine, get, session_id="a") == "5\tsystem\n"
    assert run(engine, get, session_id="b") == run(engine, get)


def test_a_session_keeps_its_temporary_tables_also_after_read_only_requests(engine: RunningEngine):
    run(engine, "CREATE TEMPORARY TABLE mine (a Int8)", session_id="t")
    run(engine, "INSERT INTO mine VALUES (3)", session_id="t")
    assert run(engine, "SELECT * FROM mine", session_id="t", readonly=2) == "3\n"
    assert post(engine, "INSERT INTO mine VALUES (4)", session_id="t", readonly=2).code == "164"
    assert engine.request("GET", "/?session_id=t&query=SELECT+*+FROM+mine").text == "3\n"
    assert post(engine, "SELECT * FROM mine").code == "60"


def test_a_session_is_for_one_request_at_a_time(engine: RunningEngine):
    with endless_reads(engine, session_id="busy"):
        assert post(engine, "SELECT 1", session_id="busy").code == "373"
    wait_for(lambda: post(engine, "SELECT 1", session_id="busy").text == "1\n")


def test_a_session_that_must_exist_is_looked_for(engine: RunningEngine):
    assert post(engine, "SELECT 1", session_id="new", session_check=1).code == "372"
    run(engine, "SELECT 1", session_id="short", session_timeout=0)
    time.sleep(0.05)
    assert post(engine, "SELECT 1", session_id="short", session_check=1).code == "372"


# Many at once, and those who leave


def test_reads_do_not_hold_up_inserts(engine: RunningEngine, table: str):
    """Twice as many as may run at once, and none of them ends by itself."""
    with endless_reads(engine, 2 * READS_MAX):
        assert insert(engine, f"INSERT INTO {table} (a) FORMAT CSV", b"1\n").status == 200
        assert engine.request("GET", "/ping").status == 200
    assert run(engine, f"SELECT count() FROM {table}") == "1\n"


@contextmanager
def endless_reads(engine: RunningEngine, count: int = 1, **parameters: Any) -> Iterator[None]:
    """So many are asked for by clients who leave at the end; all that may run at once do meanwhile."""
    sql = f"SELECT sleepEachRow(0.1), {time.monotonic_ns()} FROM numbers(6000)"
    running = f"FROM system.processes WHERE startsWith(query, '{sql}')"
    # An insert, since the reads leave no room for another read.
    all_run = (
        "INSERT INTO FUNCTION null('a UInt8') "
        f"SELECT throwIf(count() < {min(count, READS_MAX)}, 'not yet') {running}"
    )
    target = "/?" + urlencode({"query": sql, "max_block_size": 1, **parameters})
    with ExitStack() as clients:
        for _ in range(count):
            sock = clients.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(engine.socket_path))
            sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        wait_for(lambda: post(engine, all_run).status == 200)
        yield
    wait_for(lambda: run(engine, f"SELECT count() {running}") == "0\n")


@pytest.mark.parametrize("parameters", [{}, {"wait_end_of_query": 1}, {"log_comment": "the client's own"}])
def test_a_query_whose_client_left_is_ended(engine: RunningEngine, parameters: dict[str, Any]):
    marked = f"left {time.monotonic_ns()}"
    sql = f"SELECT sleepEachRow(0.1), '{marked}' FROM numbers(6000) SETTINGS max_block_size = 1"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.socket_path))
        target = "/?" + urlencode({"query": sql, **parameters})
        sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        running = (
            f"SELECT count() FROM system.processes WHERE query LIKE '%{marked}%' AND query LIKE '%sleepEach%'"
        )
        wait_for(lambda: run(engine, running) == "2\n")  # it, and the query that looks for it
    wait_for(lambda: run(engine, running) == "1\n")


def test_an_insert_whose_client_left_is_finished(engine: RunningEngine, table: str):
    sql = f"INSERT INTO {table} (a) SELECT sleepEachRow(0.1) + 1 FROM numbers(5)"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.socket_path))
        sock.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(sql)}\r\n\r\n{sql}".encode())
        # It runs, or has ended already.
        begun = (
            f"SELECT (SELECT count() FROM system.processes WHERE startsWith(query, '{sql}'))"
            f" + (SELECT count() FROM {table}) > 0"
        )
        wait_for(lambda: run(engine, begun) == "1\n")
    wait_for(lambda: run(engine, f"SELECT count() FROM {table}") == "5\n")


def wait_for(condition: Any, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Who may come in


def test_the_socket_is_for_its_user_only(engine: RunningEngine):
    assert stat.S_IMODE(engine.socket_path.stat().st_mode) == 0o600
    assert stat.S_IMODE((engine.config.server.data_dir / "clickhouse").stat().st_mode) == 0o700


def test_tcp_needs_the_password(engine: RunningEngine):
    basic = base64.b64encode(f"default:{PASSWORD}".encode()).decode()
    for headers, parameters in [
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}, {}),
        ({"Authorization": f"Basic {basic}"}, {}),
        ({}, {"user": "default", "password": PASSWORD}),
        ({}, {"password": PASSWORD}),
    ]:
        assert request(tcp(engine), "POST", "/?" + urlencode(parameters), b"SELECT 1", headers).text == "1\n"
    for headers, parameters in [
        ({}, {}),
        ({"X-ClickHouse-User": "default"}, {}),
        ({"X-ClickHouse-User": "root", "X-ClickHouse-Key": PASSWORD}, {}),
        ({"Authorization": "Basic ???"}, {}),
        ({"Authorization": "Bearer x"}, {}),
        ({}, {"user": "default", "password": PASSWORD + "x"}),
    ]:
        reply = request(tcp(engine), "POST", "/?" + urlencode(parameters), b"SELECT 1", headers)
        assert (reply.status, reply.code) == (403, "516")
    assert request(tcp(engine), "GET", "/ping").status == 200


# The official client


@pytest.fixture
def official(engine: RunningEngine) -> Iterator[Any]:
    host, port = engine.config.clickhouse.embedded_listen.split(":")
    client = clickhouse_connect.get_client(host=host, port=int(port), username="default", password=PASSWORD)
    yield client
    client.close()


def test_clickhouse_connect_creates_inserts_and_selects(official: Any):
    columns = "id UInt64, name LowCardinality(String), tags Array(String), n Nullable(Float64)"
    official.command(f"CREATE OR REPLACE TABLE cc ({columns}) ENGINE = MergeTree ORDER BY id")
    rows = [[i, f"name{i % 7}", ["a", f"{i}"], None if i % 3 else i / 2] for i in range(20_000)]
    summary = official.insert("cc", rows, column_names=["id", "name", "tags", "n"])
    assert summary.written_rows == 20_000
    result = official.query("SELECT * FROM cc WHERE id < {max:UInt64} ORDER BY id", parameters={"max": 5})
    assert [list(row) for row in result.result_rows] == rows[:5]
    assert official.query("SELECT * FROM cc").row_count == 20_000
    assert official.command("SELECT count() FROM cc") == 20_000
    assert official.command("EXISTS TABLE cc") == 1
    official.command("DROP TABLE cc")


def test_clickhouse_connect_streams_and_passes_settings(official: Any):
    with official.query_rows_stream(
        "SELECT number FROM numbers(200000)", settings={"max_block_size": 1000}
    ) as stream:
        assert sum(row[0] for row in stream) == sum(range(200_000))
    assert official.query(
        "SELECT getSetting('max_block_size')", settings={"max_block_size": 777}
    ).first_row == (777,)
    evil = "it's \\ \t \n \0 {x}"
    assert official.query(
        "SELECT {a:String}, {b:Array(String)}", parameters={"a": evil, "b": [evil]}
    ).first_row == (evil, [evil])


def test_clickhouse_connect_sees_the_errors(official: Any):
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        official.query("SELECT * FROM nosuch")
    with pytest.raises(DatabaseError, match="Multi-statements"):
        official.command("SELECT 1; SELECT 2")


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip", "br"])
def test_clickhouse_connect_with_every_compression(engine: RunningEngine, compress: Any):
    host, port = engine.config.clickhouse.embedded_listen.split(":")
    client = clickhouse_connect.get_client(
        host=host, port=int(port), username="default", password=PASSWORD, compress=compress
    )
    client.command("CREATE OR REPLACE TABLE cz (a Int64, s String) ENGINE = MergeTree ORDER BY a")
    # br: one block only, since that is all that one brotli stream can carry.
    count = 1_000 if compress == "br" else 200_000
    client.insert("cz", [[i, "x" * 20] for i in range(count)], column_names=["a", "s"])
    assert client.query("SELECT sum(a) FROM cz").first_row == (sum(range(count)),)
    assert len(client.query("SELECT * FROM cz").result_rows) == count
    client.close()


def test_clickhouse_connect_sends_long_parameters_as_a_form(engine: RunningEngine):
    host, port = engine.config.clickhouse.embedded_listen.split(":")
    client = clickhouse_connect.get_client(
        host=host, port=int(port), username="default", password=PASSWORD, form_encode_query_params=True
    )
    long = ["y" * 100_000]
    assert client.query("SELECT length({a:Array(String)}[1])", parameters={"a": long}).first_row == (100_000,)
    client.close()


# Life and death


def test_an_engine_killed_while_it_inserts_opens_again_with_what_it_confirmed(tmp_path: Path):
    with start_engine(tmp_path) as engine:
        run(engine, "CREATE TABLE t (a Int64) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1")
        confirmed: list[int] = []

        def insert_on_and_on() -> None:
            number = len(confirmed)
            while True:
                try:
                    reply = insert(
                        engine, "INSERT INTO t (a) FORMAT RowBinary", number.to_bytes(8, "little") * 1000
                    )
                except (OSError, http.client.HTTPException):
                    return
                if reply.status == 200:
                    confirmed.append(number)
                number += 1

        for _ in range(3):
            thread = threading.Thread(target=insert_on_and_on)
            before = len(confirmed)
            thread.start()
            wait_for(lambda before=before: len(confirmed) > before)
            time.sleep(0.1)
            engine.kill()
            thread.join()
            engine.start()
        rows = dict(
            line.split("\t") for line in run(engine, "SELECT a, count() FROM t GROUP BY a").splitlines()
        )
        assert confirmed
        assert {str(number) for number in confirmed} <= set(rows)
        assert all(int(count) % 1000 == 0 for count in rows.values())


def test_a_successor_waits_for_the_directory(tmp_path: Path):
    second = start_engine(tmp_path)
    with start_engine(tmp_path) as first:
        run(first, "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
        second.start(wait=False)
        wait_for(lambda: "another engine has" in second.log_path.read_text())
        assert run(first, "EXISTS TABLE t") == "1\n"
        first.kill()
        second.wait_until_ready()
    try:
        assert run(second, "EXISTS TABLE t") == "1\n"
    finally:
        second.kill()


def test_sigterm_ends_what_does_not_finish_in_time(tmp_path: Path):
    """Not after `STOP_TIMEOUT_S`, since this test need not last as long."""
    assert STOP_TIMEOUT_S + KILL_TIMEOUT_S + CLOSE_TIMEOUT_S < ENGINE_STOP_TIMEOUT_S - 2
    impatient = "import sys; from nealytics.clickhouse import embedded_child as child; "
    impatient += "child.STOP_TIMEOUT_S = 1.0; sys.exit(child.main())"
    engine = start_engine(tmp_path)
    engine.command = [sys.executable, "-c", impatient]
    with engine, ThreadPoolExecutor() as pool:
        sql = "SELECT count() FROM numbers(1000000000000)"
        stuck = pool.submit(post, engine, sql)
        wait_for(lambda: runs(engine, sql))
        assert engine.stop() == 0
        assert stuck.result().code == "394"


def runs(engine: RunningEngine, sql: str) -> bool:
    asked = f"SELECT count() FROM system.processes WHERE startsWith(query, '{sql}')"
    return run(engine, asked) == "1\n"


def test_sigterm_lets_running_statements_finish(tmp_path: Path):
    with start_engine(tmp_path) as engine, ThreadPoolExecutor() as pool:
        slow = pool.submit(run, engine, "SELECT sleep(3)")
        wait_for(lambda: runs(engine, "SELECT sleep(3)"))
        assert engine.stop() == 0
        assert slow.result() == "0\n"
        assert not engine.socket_path.exists()
    assert "engine: stopped" in engine.log_path.read_text(), "as soon as nothing runs any more"


def test_it_says_over_its_channel_that_it_is_ready_and_alive(tmp_path: Path):
    with start_engine(tmp_path) as engine:
        assert engine.parent is not None
        engine.parent.settimeout(60)
        heard = b""
        while b"R" not in heard or b"." not in heard:
            heard += engine.parent.recv(100)


def test_it_ends_when_its_parent_goes(tmp_path: Path):
    with start_engine(tmp_path) as engine:
        assert engine.parent is not None
        assert engine.process is not None
        engine.parent.close()
        engine.process.wait(60)


def test_a_stale_socket_is_replaced_and_another_file_is_not(tmp_path: Path):
    engine = start_engine(tmp_path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(engine.socket_path))
    with engine:
        assert engine.request("GET", "/ping").status == 200
    engine.socket_path.unlink(missing_ok=True)
    engine.socket_path.write_text("precious")
    with pytest.raises(AssertionError, match="is not a socket"):
        engine.start()
    assert engine.socket_path.read_text() == "precious"


def test_listening_without_a_password_is_refused(tmp_path: Path):
    engine = start_engine(tmp_path, embedded_listen="127.0.0.1:0")
    with pytest.raises(AssertionError, match="embedded_password is empty"):
        engine.start()
    assert engine.process is not None
    assert engine.process.returncode == 78


def test_it_loads_neither_pandas_nor_pyarrow(engine: RunningEngine):
    assert engine.process is not None
    maps = Path(f"/proc/{engine.process.pid}/maps").read_text()
    assert "_chdb" in maps
    assert "pandas" not in maps
    assert "pyarrow" not in maps


# Parts


def test_a_large_body_is_kept_in_a_file_and_read_from_the_beginning(tmp_path: Path):
    body = Body(tmp_path)
    chunk = os.urandom(1024 * 1024)
    count = BODY_MEMORY_BYTES_MAX // len(chunk) + 3
    for _ in range(count):
        body.add(chunk)
    assert body.head() == chunk
    assert sum(len(part) for part in body) == count * len(chunk)
    body.close()


def test_a_statement_longer_than_the_head_is_read_whole(engine: RunningEngine):
    assert (
        run(engine, "SELECT length('" + "x" * (SQL_HEAD_BYTES * 3) + "')", max_query_size=10**7)
        == f"{SQL_HEAD_BYTES * 3}\n"
    )
