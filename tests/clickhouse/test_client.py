import asyncio
import gzip
import logging
import math
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nealytics.clickhouse import transport
from nealytics.clickhouse.client import ClickHouseClient, Endpoint
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.settings import INSERT_SETTINGS
from nealytics.config import ClickHouseConfig

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONFIG = ClickHouseConfig(insert_timeout_s=30.0, query_timeout_s=30.0, connect_timeout_s=30.0)
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Script:
    """An HTTP server that answers as each test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.connections: set[object] = set()
        self.answer: Handler = self.ok
        self.marked = True  # as every answer of a ClickHouse is
        self.endpoint = Endpoint(url="")

    @staticmethod
    async def ok(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.connections.add(request.protocol)
        self.bodies.append(await request.read())
        answer = await self.answer(request)
        if self.marked:
            answer.headers["X-ClickHouse-Query-Id"] = "1"
        return answer

    def client(self, config: ClickHouseConfig = CONFIG, endpoint: Endpoint | None = None) -> ClickHouseClient:
        return ClickHouseClient(endpoint or self.endpoint, config)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    script = Script()
    runner = web.ServerRunner(web.Server(script.handle, auto_decompress=False), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    script.endpoint = Endpoint(url=f"http://{host}:{port}", user="writer", password="pä ss", database="db")
    yield script
    await runner.cleanup()


# Streams


def in_pieces(count: int, *, then_cut: bool = False) -> Handler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-ClickHouse-Query-Id": "1"})
        await response.prepare(request)
        for _ in range(count):
            await response.write(b"x" * 100_000)
        if then_cut and request.transport is not None:
            request.transport.abort()
        return response

    return answer


async def test_a_stream_asks_for_the_whole_answer_and_hands_it_on_in_pieces(script: Script):
    script.answer = in_pieces(20)
    async with script.client() as client, client.stream("SELECT …", {"a": 1}, output_format="CSV") as pieces:
        assert sum([len(piece) async for piece in pieces]) == 2_000_000
    (request,) = script.requests
    asked = {name: request.query[name] for name in ("wait_end_of_query", "readonly", "final", "param_a")}
    assert asked == {"wait_end_of_query": "1", "readonly": "2", "final": "1", "param_a": "1"}
    assert request.query["default_format"] == "CSV"
    assert script.bodies == ["SELECT …".encode()]


async def test_a_stream_that_is_refused_has_no_pieces(script: Script):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        headers = {"X-ClickHouse-Exception-Code": "241"}
        return web.Response(status=500, headers=headers, text="Code: 241. Memory (MEMORY_LIMIT_EXCEEDED)")

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseError) as raised:
            async with client.stream("SELECT …", output_format="CSV"):
                pytest.fail("there is nothing to read")
    assert raised.value.code == 241


async def test_a_stream_that_ends_early_is_no_complete_one(script: Script):
    script.answer = in_pieces(5, then_cut=True)
    async with script.client() as client, client.stream("SELECT …", output_format="CSV") as pieces:
        with pytest.raises(ClickHouseUnavailable):
            _ = [piece async for piece in pieces]


async def test_a_stream_whose_end_looks_like_a_truncation_is_refused(script: Script):
    """As an HTTP/1.0 proxy forwards it: a truncated answer would look complete."""

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.0 200 OK\r\nX-ClickHouse-Query-Id: 1\r\n\r\nhalf")
        request.transport.close()
        return web.Response()

    script.answer = endless
    two = msgspec.structs.replace(script.endpoint, others=("http://127.0.0.1:1",))
    async with script.client(endpoint=two) as client:
        with pytest.raises(ClickHouseUnavailable, match="a truncated one would look complete"):
            async with client.stream("SELECT …", output_format="CSV"):
                pytest.fail("there is nothing to read")
        # The others are behind the same proxy, and would only run the query once more.
        assert client.addresses.cooling() == []
    assert len(script.requests) == 1


async def test_a_slow_reader_of_a_stream_gathers_nothing_and_has_all_the_time(script: Script):
    sent = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"X-ClickHouse-Query-Id": "1"})
        await response.prepare(request)
        for _ in range(300):
            await response.write(b"x" * 100_000)
            sent += 100_000
        return response

    script.answer = answer
    config = msgspec.structs.replace(CONFIG, query_timeout_s=0.1)
    async with script.client(config) as client, client.stream("SELECT …", output_format="CSV") as pieces:
        read = len(await anext(pieces))
        await asyncio.sleep(2.5)  # longer than ClickHouse would have for the query
        assert sent < 20_000_000  # the buffers of both ends and of the kernel
        async for piece in pieces:
            read += len(piece)
    assert read == 30_000_000


async def test_leaving_a_stream_early_costs_its_connection_and_no_other(script: Script):
    script.answer = in_pieces(1_000)
    async with script.client() as client:
        async with client.stream("SELECT …", output_format="CSV") as pieces:
            await anext(pieces)
        script.answer = in_pieces(1)
        async with client.stream("SELECT …", output_format="CSV") as pieces:
            assert sum([len(piece) async for piece in pieces]) == 100_000


# Inserts


async def test_an_insert_sends_the_pinned_settings_the_token_and_a_length(script: Script):
    async with script.client() as client:
        await client.insert("INSERT INTO t FORMAT RowBinary", b"rows", token="log:1-2:abc")
    (request,) = script.requests
    assert dict(request.query) == {
        "query": "INSERT INTO t FORMAT RowBinary",
        "insert_deduplication_token": "log:1-2:abc",
        **{name: str(value) for name, value in INSERT_SETTINGS.items()},
    }
    assert request.query["max_partitions_per_insert_block"] == "0"
    assert request.headers["Content-Length"] == "4"
    assert request.headers["X-ClickHouse-User"] == "writer"
    assert request.headers["X-ClickHouse-Key"].encode("utf-8", "surrogateescape").decode() == "pä ss"
    assert script.bodies == [b"rows"]


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_large_insert_arrives_whole_with_its_length(script: Script, compression: str):
    """It is written in pieces, but never in chunks, whose end a broken connection may imitate."""
    body = random.Random(1).randbytes(3 * transport._PIECE_BYTES + 1)
    async with script.client(msgspec.structs.replace(CONFIG, compression=compression)) as client:
        await client.insert("INSERT …", body, token="t")
    (request,), (received,) = script.requests, script.bodies
    assert request.headers["Content-Length"] == str(len(received))
    assert "Transfer-Encoding" not in request.headers
    assert request.headers.get("Content-Encoding", "none") == compression
    assert (received if compression == "none" else zstd.decompress(received)) == body


async def test_every_try_sends_the_same_bytes_and_the_same_url(script: Script):
    config = msgspec.structs.replace(CONFIG, compression="gzip")
    async with script.client(config) as client:
        for _ in range(3):
            await client.insert("INSERT …", b"rows" * 100_000, token="t")
    assert (
        len(
            {
                request.raw_path if hasattr(request, "raw_path") else request.path_qs
                for request in script.requests
            }
        )
        == 1
    )
    assert len(set(script.bodies)) == 1


async def test_status_200_with_an_exception_header_is_a_failure(script: Script):
    """As servers before 24.6 answered when an error came after the first byte: rows were lost by believing
    it."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(
            headers={"X-ClickHouse-Exception-Code": "209"}, text="Code: 209. Timeout (SOCKET_TIMEOUT)"
        )

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseError) as raised:
            await client.insert("INSERT …", b"", token="t")
    assert raised.value.code == 209
    assert raised.value.retryable


async def test_a_200_that_says_something_about_an_insert_is_a_failure(script: Script):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="Code: 241. DB::Exception: memory (MEMORY_LIMIT_EXCEEDED)")

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseError) as raised:
            await client.insert("INSERT …", b"", token="t")
    assert raised.value.code == 241


async def test_an_empty_200_of_something_else_is_no_success(script: Script):
    """A proxy's maintenance page, for instance: believing it would lose the batch."""
    script.marked = False
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable, match="this is not ClickHouse"):
            await client.insert("INSERT …", b"rows", token="t")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(script: Script, status: int):
    """301 to 303 would drop the body, and any would take the password to wherever it points."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        return web.Response()

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable, match=f"HTTP {status}"):
            await client.insert("INSERT …", b"rows", token="t")
    assert [request.path for request in script.requests] == ["/"]


@pytest.mark.parametrize("how", ["cut", "silent", "refused"])
async def test_an_answer_that_does_not_come_whole_means_unavailable(script: Script, how: str):
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    script.answer = {"cut": cut, "silent": silent, "refused": script.ok}[how]
    endpoint = Endpoint(url="http://127.0.0.1:1") if how == "refused" else script.endpoint
    config = msgspec.structs.replace(CONFIG, insert_timeout_s=0.3)
    async with script.client(config, endpoint) as client:
        with pytest.raises(ClickHouseUnavailable) as raised:
            await client.insert("INSERT …", b"rows", token="t")
    assert raised.value.retryable
    assert not raised.value.bad_content
    assert endpoint.url in str(raised.value)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_an_insert_is_compressed_if_configured(script: Script, compression: str):
    body = b"some rows " * 50_000
    async with script.client(msgspec.structs.replace(CONFIG, compression=compression)) as client:
        await client.insert("INSERT …", body, token="t")
    assert script.requests[0].headers["Content-Encoding"] == compression
    unpack = gzip.decompress if compression == "gzip" else zstd.decompress
    assert unpack(script.bodies[0]) == body
    assert len(script.bodies[0]) < len(body) / 10


async def test_nothing_is_compressed_for_the_embedded_engine(script: Script):
    config = msgspec.structs.replace(CONFIG, compression="zstd")
    endpoint = msgspec.structs.replace(script.endpoint, embedded=True)
    async with script.client(config, endpoint) as client:
        await client.insert("INSERT …", b"rows", token="t")
    assert "Content-Encoding" not in script.requests[0].headers
    assert script.bodies == [b"rows"]


async def test_an_insert_that_broke_off_is_not_sent_again_by_the_client(script: Script):
    """When and whether is the committer's decision; it has stored its intent first."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable):
            await client.insert("INSERT …", b"rows", token="t")
    assert len(script.requests) == 1


# Settings that a server does not know


async def test_a_setting_that_the_server_does_not_know_is_left_out_from_then_on(
    script: Script, caplog: pytest.LogCaptureFixture
):
    unknown = "deduplicate_blocks_in_dependent_materialized_views"

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if unknown in request.query:
            headers = {"X-ClickHouse-Exception-Code": "115"}
            return web.Response(
                status=404, headers=headers, text=f"Code: 115. Unknown setting {unknown} (UNKNOWN_SETTING)"
            )
        if b"system.settings" in script.bodies[-1]:
            known = [name for name in script.bodies[-1].decode().split("'")[1::2] if name != unknown]
            return web.json_response({"data": [[name] for name in known]})
        return web.Response()

    script.answer = answer
    async with script.client() as client:
        with caplog.at_level(logging.WARNING), pytest.raises(ClickHouseError) as raised:
            await client.insert("INSERT …", b"", token="t")
        assert raised.value.retryable
        await client.insert("INSERT …", b"", token="t")
        assert await client.learn_settings() == {unknown}
    assert unknown in caplog.text
    sent = [request.query for request in script.requests if "insert_deduplication_token" in request.query]
    assert len(sent) == 2
    assert unknown not in sent[1]
    assert set(sent[0]) - set(sent[1]) == {unknown}


@pytest.mark.parametrize(
    "text", ["", "<html>", '{"data": []}', '{"data": [[]]}', '{"data": [["some", "more"]]}']
)
async def test_an_answer_that_names_no_setting_leaves_none_out(script: Script, text: str):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="" if "insert_deduplication_token" in request.query else text)

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable, match=r"system\.settings"):
            await client.learn_settings()
        await client.insert("INSERT …", b"rows", token="t")
    assert script.requests[-1].query.keys() >= INSERT_SETTINGS.keys()


# Reads


async def test_a_read_is_tried_again_on_a_connection_that_was_closed_while_idle(script: Script):
    answers = ["ok", "closed", "ok"]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if answers.pop(0) == "closed":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"data": [[1]]})

    script.answer = answer
    async with script.client() as client:
        assert await client.query("SELECT 1") == [[1]]
        assert await client.query("SELECT 1") == [[1]]
    assert len(script.requests) == 3


async def test_a_read_is_tried_again_once_only(script: Script):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable):
            await client.query("SELECT 1")
    assert len(script.requests) == 2


async def test_a_read_that_breaks_off_in_the_middle_is_not_tried_again_at_that_address(script: Script):
    """What arrived is charged already; and the connection was not idle."""
    script.answer = in_pieces(5, then_cut=True)
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable):
            await client.query("SELECT 1")
    assert len(script.requests) == 1


async def test_a_read_shows_no_duplicate_changes_nothing_and_names_the_database(script: Script):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"data": []})

    script.answer = answer
    async with script.client() as client:
        await client.query("SELECT {a:String}", {"a": "1&b=2#%"}, settings={"max_execution_time": 3})
    query = script.requests[0].query
    assert query["readonly"] == "2"
    assert query["final"] == "1"
    assert query["wait_end_of_query"] == "1"
    assert query["do_not_merge_across_partitions_select_final"] == "1"
    assert query["database"] == "db"
    assert query["max_execution_time"] == "3"
    assert query["param_a"] == "1&b=2#%"


async def test_what_is_no_json_means_unavailable(script: Script):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="<html>a captive portal</html>")

    script.answer = answer
    async with script.client() as client:
        with pytest.raises(ClickHouseUnavailable):
            await client.query("SELECT 1")


async def test_connections_are_kept_and_limited(script: Script):
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.json_response({"data": []})

    script.answer = answer
    async with script.client(msgspec.structs.replace(CONFIG, connections_max=3)) as client:
        await asyncio.gather(*(client.query("SELECT 1") for _ in range(20)))
    assert len(script.connections) == 3


# Where it goes


def test_a_repr_shows_where_it_goes_and_no_password():
    client = ClickHouseClient(Endpoint(url="https://a:b@ch:8443", user="u", password="secret"), CONFIG)
    assert repr(client) == "ClickHouseClient(Endpoint(https://ch:8443, user='u', database='nealytics_core'))"


# Parameters


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
NASTY = st.text(st.sampled_from("\\'\"`\t\n\r\0\b\f\v\a\x1bNnt0,[](){} é😀"), max_size=30)
SLOW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.engine
async def test_any_text_reaches_a_query_as_it_is(client: ClickHouseClient, database: str):
    @SLOW
    @given(values=st.lists(ANY_TEXT | NASTY, min_size=40, max_size=40))
    def check(values: list[str]) -> None:
        examples.append(values)

    examples: list[list[str]] = []
    check()
    for values in examples:
        names = [f"p{i}" for i in range(len(values))]
        sql = "SELECT " + ", ".join(f"{{{name}:String}}" for name in names)
        assert await client.query(sql, dict(zip(names, values, strict=True))) == [values]


@pytest.mark.engine
async def test_any_list_of_texts_reaches_a_query_as_it_is(client: ClickHouseClient, database: str):
    examples: list[list[str]] = []

    @SLOW
    @given(values=st.lists(ANY_TEXT | NASTY, max_size=20))
    def check(values: list[str]) -> None:
        examples.append(values)

    check()
    for values in examples:
        assert await client.query("SELECT {a:Array(String)}", {"a": values}) == [[values]]


@pytest.mark.engine
async def test_numbers_come_back_as_numbers(client: ClickHouseClient, database: str):
    sql = "SELECT {i:Int64}, {f:Float64}, {n:Nullable(String)}, toUInt64(18446744073709551615), nan"
    ((i, f, n, big, nan),) = await client.query(sql, {"i": -(2**63), "f": 0.1, "n": "x"})
    assert (i, n, big, nan) == (-(2**63), "x", 2**64 - 1, None)
    assert math.isclose(f, 0.1)


@pytest.mark.engine
async def test_a_parameter_cannot_become_sql(client: ClickHouseClient, database: str):
    evil = "' OR 1=1; DROP TABLE x --"
    assert await client.query("SELECT {a:String} WHERE {a:String} = 'x'", {"a": evil}) == []


# With the real engine


@pytest.mark.engine
async def test_the_engine_knows_all_pinned_settings(client: ClickHouseClient, database: str):
    assert await client.learn_settings() == frozenset()


@pytest.mark.engine
async def test_the_same_token_inserts_once_and_another_token_twice(client: ClickHouseClient, database: str):
    await client.command(
        f"CREATE TABLE {database}.t (a Int64) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100, fsync_after_insert = 1, fsync_part_directory = 1"
    )
    sql = f"INSERT INTO {database}.t (a) FORMAT RowBinary"
    body = b"".join(n.to_bytes(8, "little") for n in range(1000))
    for _ in range(3):
        await client.insert(sql, body, token="log:1-1000:hash")
    assert await client.query("SELECT count() FROM t", settings={"final": 0}) == [[1000]]
    await client.insert(sql, body, token="another")
    assert await client.query("SELECT count() FROM t", settings={"final": 0}) == [[2000]]


@pytest.mark.engine
async def test_a_batch_over_many_months_is_taken(client: ClickHouseClient, database: str):
    await client.command(f"CREATE TABLE {database}.t (a Int64) ENGINE = MergeTree ORDER BY a PARTITION BY a")
    body = b"".join(n.to_bytes(8, "little") for n in range(150))
    await client.insert(f"INSERT INTO {database}.t (a) FORMAT RowBinary", body, token="t")
    assert await client.query("SELECT count() FROM t") == [[150]]


@pytest.mark.engine
async def test_a_row_that_breaks_off_is_bad_content_and_inserts_nothing(
    client: ClickHouseClient, database: str
):
    await client.command(f"CREATE TABLE {database}.t (a Int64, s String) ENGINE = MergeTree ORDER BY a")
    good = (1).to_bytes(8, "little") + b"\x02ab"
    with pytest.raises(ClickHouseError) as raised:
        await client.insert(
            f"INSERT INTO {database}.t (a, s) FORMAT RowBinary", good * 10 + good[:9], token="t"
        )
    assert raised.value.bad_content
    assert await client.query("SELECT count() FROM t") == [[0]]


@pytest.mark.engine
async def test_a_constraint_that_a_row_violates_is_bad_content(client: ClickHouseClient, database: str):
    await client.command(
        f"CREATE TABLE {database}.t (a Int64, CONSTRAINT c CHECK a < 10) ENGINE = MergeTree ORDER BY a"
    )
    with pytest.raises(ClickHouseError) as raised:
        await client.insert(
            f"INSERT INTO {database}.t (a) FORMAT RowBinary", (99).to_bytes(8, "little"), token="t"
        )
    assert (raised.value.code, raised.value.name, raised.value.bad_content) == (
        469,
        "VIOLATED_CONSTRAINT",
        True,
    )


@pytest.mark.engine
async def test_a_row_that_a_view_cannot_parse_is_bad_content(client: ClickHouseClient, database: str):
    """Else one customer's text could stop everybody's events for ever."""
    await client.command(f"CREATE TABLE {database}.t (a String) ENGINE = MergeTree ORDER BY a")
    await client.command(
        f"CREATE MATERIALIZED VIEW {database}.addresses ENGINE = MergeTree ORDER BY ip "
        f"AS SELECT toIPv4(a) AS ip FROM {database}.t"
    )
    with pytest.raises(ClickHouseError) as raised:
        await client.insert(f"INSERT INTO {database}.t (a) FORMAT RowBinary", b"\x01x", token="t")
    assert raised.value.code == 675
    assert raised.value.bad_content


@pytest.mark.engine
async def test_reads_show_a_repeated_row_once_before_any_merge(client: ClickHouseClient, database: str):
    await client.command(f"CREATE TABLE {database}.t (a Int64) ENGINE = ReplacingMergeTree ORDER BY a")
    await client.command(f"SYSTEM STOP MERGES {database}.t")
    for token in ("one", "two"):
        await client.insert(f"INSERT INTO {database}.t (a) FORMAT RowBinary", bytes(8), token=token)
    assert await client.query("SELECT count() FROM t", settings={"final": 0}) == [[2]]
    assert await client.query("SELECT count() FROM t") == [[1]]


@pytest.mark.engine
async def test_a_query_cannot_write(client: ClickHouseClient, database: str):
    with pytest.raises(ClickHouseError) as raised:
        await client.query(f"CREATE TABLE {database}.x (a Int8) ENGINE = Memory")
    assert raised.value.code == 164


@pytest.mark.engine
async def test_a_query_is_ended_when_its_time_is_over(client: ClickHouseClient, database: str):
    with pytest.raises(ClickHouseError) as raised:
        await client.query(
            "SELECT sleepEachRow(0.2) FROM numbers(100) SETTINGS max_block_size = 1",
            settings={"max_execution_time": 1},
        )
    assert (raised.value.code, raised.value.status) == (159, 408)


@pytest.mark.engine
async def test_a_filter_by_settings_holds_with_final(client: ClickHouseClient, database: str):
    await client.command(f"CREATE TABLE {database}.t (a Int64) ENGINE = ReplacingMergeTree ORDER BY a")
    await client.command(f"INSERT INTO {database}.t SELECT number FROM numbers(10)")
    settings_ = {"additional_table_filters": f"{{'{database}.t': 'a < 3'}}"}
    assert await client.query("SELECT count() FROM t", settings=settings_) == [[3]]


@pytest.mark.engine
async def test_a_setting_of_one_request_is_gone_in_the_next(client: ClickHouseClient, database: str):
    assert await client.query("SELECT getSetting('max_threads')", settings={"max_threads": 7}) == [[7]]
    ((after,),) = await client.query("SELECT getSetting('max_threads')")
    assert after != 7
