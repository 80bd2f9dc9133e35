"""The embedded engine as a process, spoken to as any HTTP client would."""

import fcntl
import http.client
import os
import re
import socket
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

from nealytics.clickhouse.embedded import engine_dir
from nealytics.clickhouse.embedded_child import _LIBRARY, STOP_TIMEOUT_S
from nealytics.compression import zstd
from nealytics.config import BackupConfig, WalConfig
from nealytics.process import EXIT_UNUSABLE
from nealytics.supervisor import ENGINE_STOP_TIMEOUT_S
from tests.engine import Reply, RunningEngine, free_port, start_engine
from tests.waiting import until

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


def url(**parameters: Any) -> str:
    # In the database `default` of the library, a table that it does not know is a file.
    return "/?" + urlencode({"database": "tests", **parameters})


def post(
    engine: RunningEngine, sql: str | bytes, *, headers: dict[str, str] | None = None, **parameters: Any
) -> Reply:
    return engine.request("POST", url(**parameters), sql if isinstance(sql, bytes) else sql.encode(), headers)


def run(engine: RunningEngine, sql: str | bytes, **parameters: Any) -> str:
    """The answer to a statement that is expected to work."""
    reply = post(engine, sql, **parameters)
    assert (reply.status, reply.code) == (200, None), reply.text
    return reply.text


def insert(
    engine: RunningEngine, sql: str, data: bytes, headers: dict[str, str] | None = None, **parameters: Any
) -> Reply:
    return engine.request("POST", url(query=sql, **parameters), data, headers)


# Requests and answers


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
    assert not list(engine_dir(engine.config.server.data_dir).glob("tmp/*"))


def test_an_answer_takes_no_disk_space_that_the_log_needs(tmp_path: Path):
    """Small answers are given: a node asks for them to become ready."""
    engine = start_engine(tmp_path)
    engine.config = msgspec.structs.replace(engine.config, wal=WalConfig(free_bytes_min=10**15))
    # In blocks of some MB, since no block may sleep for long; it would be 20 GB.
    sql = "SELECT randomPrintableASCII(10000), sleepEachRow(0.00005) FROM numbers(2000000) FORMAT {}"
    with engine:
        run(engine, "CREATE DATABASE tests", database="system")
        for form in ("Parquet SETTINGS output_format_parquet_compression_method = 'none'", "TSVRaw"):
            reply = post(engine, sql.format(form), wait_end_of_query=1, max_block_size=500)
            assert reply.code == "394", reply.text
            assert "less free than 2 times wal.free_bytes_min, so 1 queries" in engine.log_path.read_text()
        until(lambda: not list(engine_dir(engine.config.server.data_dir).glob("tmp/*")))
        assert post(engine, "SELECT 1 FORMAT TSVRaw", wait_end_of_query=1).text == "1\n"


def test_defaults_are_those_of_a_server(engine: RunningEngine):
    assert post(engine, "1").code == "62"
    assert run(engine, "SELECT getSetting('compile_expressions')") == "false\n"


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


def open_request(engine: RunningEngine, head: str, body: bytes = b"") -> socket.socket:
    """A request of which this is all that has been sent so far."""
    sock = socket.create_connection(("127.0.0.1", engine.access.port), timeout=60)
    user = f"X-ClickHouse-User: {engine.user}\r\nX-ClickHouse-Key: {engine.password}\r\n"
    sock.sendall((f"{head} HTTP/1.1\r\nHost: x\r\n{user}").encode() + body)
    return sock


def test_a_body_that_does_not_arrive_whole_inserts_nothing(engine: RunningEngine, table: str):
    head = f"POST /?{urlencode({'query': f'INSERT INTO {table} (a) FORMAT RowBinary'})}"
    for framing in (b"Content-Length: 80\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n28\r\n"):
        open_request(engine, head, framing + bytes(40)).close()
        with open_request(engine, head, framing + bytes(40)) as sock:
            sock.shutdown(socket.SHUT_WR)
            assert b" 200 " not in sock.recv(100)
    running = f"SELECT count() FROM system.processes WHERE startsWith(query, 'INSERT INTO {table}')"
    until(lambda: run(engine, running) == "0\n")
    assert run(engine, f"SELECT count() FROM {table}") == "0\n"


def test_packed_data_that_is_damaged_inserts_nothing(engine: RunningEngine, table: str):
    packed = zstd.compress(bytes(80_000))
    sql = f"INSERT INTO {table} (a) FORMAT RowBinary"
    assert insert(engine, sql, b"no" + packed, {"Content-Encoding": "zstd"}).status != 200
    assert run(engine, f"SELECT count() FROM {table}") == "0\n"


def test_too_many_partitions_are_an_error_and_not_silence(engine: RunningEngine):
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
    pinned: dict[str, Any] = {
        "async_insert": 0, "max_insert_block_size": 1048449, "min_insert_block_size_rows": 1048449,
        "min_insert_block_size_bytes": 268402944, "input_format_parallel_parsing": 0, "max_insert_threads": 1,
    }  # fmt: skip
    assert (
        insert(engine, f"INSERT INTO {table} (a, s) FORMAT RowBinary", row * 100_000, **pinned).status == 200
    )
    assert (
        run(engine, f"SELECT count(), sum(rows) FROM system.parts WHERE table = '{table}'") == "1\t100000\n"
    )


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


# Many at once, and those who leave


def test_reads_do_not_hold_up_inserts(engine: RunningEngine, table: str):
    """Far more than there are cores, and none of them ends by itself."""
    with endless_reads(engine, 32):
        assert insert(engine, f"INSERT INTO {table} (a) FORMAT CSV", b"1\n").status == 200
        assert engine.request("GET", "/ping").status == 200
    assert run(engine, f"SELECT count() FROM {table}") == "1\n"


@contextmanager
def endless_reads(engine: RunningEngine, count: int) -> Iterator[None]:
    """So many run, of clients who leave at the end."""
    sql = f"SELECT sleepEachRow(0.1), {time.monotonic_ns()} FROM numbers(6000)"
    running = f"SELECT count() FROM system.processes WHERE startsWith(query, '{sql}')"
    target = "POST /?" + urlencode(
        {"query": sql, "max_block_size": 1, "readonly": 2, "cancel_http_readonly_queries_on_client_close": 1}
    )
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(open_request(engine, target, b"Content-Length: 0\r\n\r\n"))
        until(lambda: run(engine, running) == f"{count}\n")
        yield
    until(lambda: run(engine, running) == "0\n")


@pytest.mark.parametrize("parameters", [{}, {"wait_end_of_query": 1}])
def test_a_query_whose_client_left_is_ended(engine: RunningEngine, parameters: dict[str, Any]):
    marked = f"left {time.monotonic_ns()}"
    sql = f"SELECT sleepEachRow(0.1), '{marked}' FROM numbers(6000) SETTINGS max_block_size = 1"
    leave = {"readonly": 2, "cancel_http_readonly_queries_on_client_close": 1}  # as all our reads have it
    target = "POST /?" + urlencode({"query": sql, **leave, **parameters})
    running = (
        f"SELECT count() FROM system.processes WHERE query LIKE '%{marked}%' AND query LIKE '%sleepEach%'"
    )
    with open_request(engine, target, b"Content-Length: 0\r\n\r\n"):
        until(lambda: run(engine, running) == "2\n")  # it, and the query that looks for it
    until(lambda: run(engine, running) == "1\n")


def test_an_insert_whose_client_left_is_finished(engine: RunningEngine, table: str):
    sql = f"INSERT INTO {table} (a) SELECT sleepEachRow(0.1) + 1 FROM numbers(5)"
    with open_request(engine, "POST " + url(), f"Content-Length: {len(sql)}\r\n\r\n{sql}".encode()):
        # It runs, or has ended already.
        begun = (
            f"SELECT (SELECT count() FROM system.processes WHERE startsWith(query, '{sql}'))"
            f" + (SELECT count() FROM {table}) > 0"
        )
        until(lambda: run(engine, begun) == "1\n")
    until(lambda: run(engine, f"SELECT count() FROM {table}") == "5\n")


# The official client


@pytest.fixture
def official(engine: RunningEngine) -> Iterator[Any]:
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=engine.access.port,
        username=engine.user,
        password=engine.password,
        database="tests",
    )
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


# Life and death


def test_an_engine_killed_while_it_inserts_opens_again_with_what_it_confirmed(tmp_path: Path):
    with start_engine(tmp_path) as engine:
        run(engine, "CREATE DATABASE tests", database="system")
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
            until(lambda: len(confirmed) > before)  # noqa: B023
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
        run(first, "CREATE DATABASE tests", database="system")
        run(first, "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a")
        second.start(wait=False)
        until(lambda: "another engine has" in second.log_path.read_text())
        assert run(first, "EXISTS TABLE t") == "1\n"
        first.kill()
        second.wait_until_ready()
    try:
        assert run(second, "EXISTS TABLE t") == "1\n"
    finally:
        second.kill()


def test_sigterm_ends_what_does_not_finish_in_time(tmp_path: Path):
    """Not after `STOP_TIMEOUT_S`, since this test need not last as long."""
    assert STOP_TIMEOUT_S < ENGINE_STOP_TIMEOUT_S - 2
    impatient = "import sys; from nealytics.clickhouse import embedded_child as child; "
    impatient += "child.STOP_TIMEOUT_S = 1.0; sys.exit(child.main())"
    engine = start_engine(tmp_path)
    engine.command = [sys.executable, "-c", impatient]
    with engine, ThreadPoolExecutor() as pool:
        run(engine, "CREATE DATABASE tests", database="system")
        sql = "SELECT count() FROM numbers(1000000000000)"
        stuck = pool.submit(post, engine, sql)
        until(lambda: runs(engine, sql))
        assert engine.stop() == 0
        with pytest.raises((OSError, http.client.HTTPException)):
            stuck.result()
    assert "a statement is still running" in engine.log_path.read_text()


def runs(engine: RunningEngine, sql: str) -> bool:
    asked = f"SELECT count() FROM system.processes WHERE startsWith(query, '{sql}')"
    return run(engine, asked) == "1\n"


def test_sigterm_lets_running_statements_finish(tmp_path: Path):
    with start_engine(tmp_path) as engine, ThreadPoolExecutor() as pool:
        run(engine, "CREATE DATABASE tests", database="system")
        slow = pool.submit(run, engine, "SELECT sleep(3)")
        until(lambda: runs(engine, "SELECT sleep(3)"))
        assert engine.stop() == 0
        assert slow.result() == "0\n"
    assert "engine: stopped" in engine.log_path.read_text(), "as soon as nothing runs any more"


def test_it_says_over_its_channel_that_it_is_ready_and_alive(tmp_path: Path):
    with start_engine(tmp_path) as engine:
        assert engine.parent is not None
        engine.parent.settimeout(60)
        heard = b""
        while b"R" not in heard or b"." not in heard:
            heard += engine.parent.recv(100)


def started_badly(engine: RunningEngine) -> int:
    """The exit status of an engine that is expected to end by itself."""
    engine.start(wait=False)
    assert engine.process is not None
    try:
        return engine.process.wait(60)
    finally:
        engine.kill()


@pytest.mark.parametrize("key", ["embedded_listen", "embedded_native_port"])
def test_an_engine_that_cannot_listen_says_why(tmp_path: Path, key: str):
    ports = {"embedded_listen": free_port(), "embedded_native_port": free_port()}
    engine = start_engine(
        tmp_path,
        embedded_listen=f"127.0.0.1:{ports['embedded_listen']}",
        embedded_native_port=ports["embedded_native_port"],
        embedded_password="x",
    )
    engine.reserved.close()
    with socket.create_server(("127.0.0.1", ports[key])):
        assert started_badly(engine) == EXIT_UNUSABLE
    assert f"clickhouse.{key} makes" in engine.log_path.read_text()


def test_an_engine_does_not_start_beside_a_program_in_its_directory(tmp_path: Path):
    engine = start_engine(tmp_path)
    with engine:
        pass
    with (engine_dir(engine.config.server.data_dir) / "status").open("rb") as status:
        fcntl.flock(status, fcntl.LOCK_EX)
        assert started_badly(engine) == 1
    assert "another program has" in engine.log_path.read_text()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("child.write_access = lambda *_: 1 / 0", "ZeroDivisionError"),
        ("child.FIRST_ANSWER_S = 0; child.EngineProcess._answers = lambda *_: False", "does not answer on"),
    ],
)
def test_an_engine_that_cannot_say_that_it_is_ready_ends(tmp_path: Path, fault: str, message: str):
    engine = start_engine(tmp_path)
    program = f"import sys; from nealytics.clickhouse import embedded_child as child; {fault}; "
    engine.command = [sys.executable, "-c", program + "sys.exit(child.main())"]
    assert started_badly(engine) == 1
    assert message in engine.log_path.read_text()


def test_it_ends_when_its_parent_goes(tmp_path: Path):
    with start_engine(tmp_path) as engine:
        assert engine.parent is not None
        assert engine.process is not None
        engine.parent.close()
        engine.process.wait(60)


def test_pages_of_the_library_that_only_its_start_needs_are_no_memory_of_the_engine(tmp_path: Path):
    """And all of them are there when they are needed."""
    with start_engine(tmp_path) as engine:
        assert engine.process is not None
        smaps = Path(f"/proc/{engine.process.pid}/smaps")

        def library_mib() -> int:
            of_library = re.findall(rf"/{_LIBRARY}\n(?:\w+: .*\n)*?Rss: +(\d+)", smaps.read_text())
            return sum(map(int, of_library)) // 1024

        until(lambda: library_mib() < 120)  # 200 after the start
        assert run(engine, "SELECT sum(sipHash64(number)) > 0 FROM numbers(9)", database="system") == "1\n"
        assert library_mib() > 0


def test_it_loads_neither_pandas_nor_pyarrow(engine: RunningEngine):
    assert engine.process is not None
    maps = Path(f"/proc/{engine.process.pid}/maps").read_text()
    assert "_chdb" in maps
    assert "pandas" not in maps
    assert "pyarrow" not in maps


def test_a_bucket_for_backups_that_is_down_stops_no_engine(tmp_path: Path):
    """Nor does its secret reach a file."""
    engine = start_engine(tmp_path)
    bucket = BackupConfig(
        s3_url=f"http://127.0.0.1:{free_port()}/bucket",
        s3_access_key_id="k",
        s3_secret_access_key="hush-hush",
    )
    engine.config = msgspec.structs.replace(engine.config, backup=bucket)
    with engine:
        assert "backups_s3" in engine.request("POST", "/", "SELECT name FROM system.disks").text
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert [path for path in files if b"hush-hush" in path.read_bytes()] == []
