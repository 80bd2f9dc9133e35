"""Exports whole, whatever they hold and however slowly they are read, or visibly cut."""

import asyncio
import csv
import io
import itertools
import json
import random
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import msgspec
import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import Config, QueryConfig, ServerConfig
from nealytics.event import Event
from nealytics.queries import export
from nealytics.queries.export import Counted, Slice, slices
from nealytics.queries.scoped import Query
from nealytics.timestamps import iso_utc
from tests.e2e.node import JWT_KEY, KEY, Node, program, token
from tests.engine import query_library
from tests.http.reader import NOW, Reader, event, ms, on_the_engine, token_of
from tests.waiting import until_async

EXPORT = "/api/v1/telemetry/export"
RANGE = {"from": "2020-01-01", "to": "2030-01-01"}
FORMATS = ("ndjson", "csv", "parquet")

# What has broken other people's escaping, CSV and JSON.
TEXTS = [
    'a "quoted" text',
    "comma, semicolon; tab\t",
    "line\nline\r\nline\r",
    "back\\slash \\n \\N \\",
    "café 漢字 🙂 \u2028\u202e",
    "=1+1",
    "-",
    "NULL",
    "\\N",
    " ",
    "\x00\x01\x1f\x7f",
    "a/b?c=d&e=%20#f",
    "'",
]


def mixed(count: int) -> list[Event]:
    """Events of a year, some in the same millisecond, with and without user, item and metadata."""
    chance = random.Random(11)
    moments = [NOW - timedelta(milliseconds=chance.randrange(365 * 86_400_000)) for _ in range(count // 2)]
    return [
        event(
            chance.choice(moments),
            session_id=chance.choice(TEXTS),
            user_id=chance.choice([None, *TEXTS]),
            event_type=chance.choice(TEXTS),
            item_id=chance.choice([None, *TEXTS]),
            metadata=chance.choice([{}, {"text": chance.choice(TEXTS), "n": chance.randrange(9)}]),
            event_id=UUID(int=chance.getrandbits(128)),
        )
        for _ in range(count)
    ]


def shown(event: Event, **more: str) -> dict[str, str]:
    """The event as an export has it, absent fields left out."""
    fields = {
        "eventId": str(UUID(int=event.event_id)),
        "projectId": event.project_id,
        "tenantId": event.tenant_id,
        "sessionId": event.session_id,
        "userId": event.user_id,
        "eventType": event.event_type,
        "itemId": event.item_id,
        "metadataJson": event.metadata_json.decode(),
        "timestamp": iso_utc(event.timestamp_ms),
    }
    return {name: value for name, value in (fields | more).items() if value is not None}


def by_id(events: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(events, key=lambda event: event["eventId"])


def lines_of(body: bytes) -> list[dict[str, str]]:
    assert not body or body.endswith(b"\n")
    return [json.loads(line) for line in body.split(b"\n")[:-1]]


def records_of(body: bytes) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True)
    assert rows.fieldnames == list(export.FIELDS)
    return [{name: value for name, value in row.items() if value != ""} for row in rows]


async def whole(reader: Reader, **options: Any) -> bytes:
    async with reader.open(EXPORT, **(RANGE | options)) as answer:
        body = await answer.read()
        assert answer.status == 200, body
        return bytes(body)


async def exported(reader: Reader, **options: Any) -> list[dict[str, str]]:
    return lines_of(await whole(reader, **options))


class Tampered:
    """Stands between a reader and its ClickHouse: counts what is taken of streams, and breaks them."""

    def __init__(self, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = 0
        self.streams = 0
        self.before: Callable[[int], None] = lambda number: None  # may raise instead of the n-th stream
        self.during: Callable[[int, int], None] = lambda number, piece: None  # or in the middle of it
        self._real = reader.clickhouse.stream
        monkeypatch.setattr(reader.clickhouse, "stream", self.stream)

    def stream(self, *args: Any, **options: Any) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._stream(*args, **options)

    @asynccontextmanager
    async def _stream(self, *args: Any, **options: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        number, self.streams = self.streams, self.streams + 1
        self.before(number)
        async with self._real(*args, **options) as pieces:
            yield self._counted(pieces, number)

    async def _counted(self, pieces: AsyncIterator[bytes], number: int) -> AsyncIterator[bytes]:
        count = 0
        async for large in pieces:
            self.bytes += len(large)
            for start in range(0, len(large), 10_000):
                self.during(number, count)
                count += 1
                yield large[start : start + 10_000]


@pytest.fixture
def tampered(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Tampered:
    return Tampered(reader, monkeypatch)


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "SLICE_EVENTS_MAX", 50)
    monkeypatch.setattr(export, "RETRY_DELAYS_S", (0.01, 0.01))


# How a range is cut


class Counts:
    """Events at given milliseconds, counted as ClickHouse would."""

    def __init__(self, times: list[int], too_much_ms: int | None = None) -> None:
        self.times = sorted(times)
        self.too_much_ms = too_much_ms

    async def __call__(self, from_ms: int, to_ms: int, width_ms: int) -> Counted | None:
        if self.too_much_ms is not None and to_ms - from_ms > self.too_much_ms:
            return None
        found: dict[int, int] = {}
        for at in self.times:
            if from_ms <= at <= to_ms:
                bucket = (at - from_ms) // width_ms
                found[bucket] = found.get(bucket, 0) + 1
        assert len(found) <= export.BUCKETS_MAX
        return sorted(found.items())


@pytest.mark.parametrize("too_much_ms", [None, 5_000_000])
async def test_slices_follow_each_other_and_hold_every_event_once(
    monkeypatch: pytest.MonkeyPatch, too_much_ms: int | None
):
    monkeypatch.setattr(export, "SLICE_EVENTS_MAX", 20)
    monkeypatch.setattr(export, "BUCKETS_MAX", 10)
    chance = random.Random(5)
    for _ in range(30):
        first, last = sorted(chance.sample(range(0, 50_000_000), 2))
        times = [chance.randint(first, last) for _ in range(chance.randrange(200))]
        times += [chance.randint(first, last)] * chance.randrange(90) + [first, last]
        counts = Counts(times, too_much_ms)
        cut = [part async for part in slices(counts, first, last)]
        spans = list(dict.fromkeys((part.from_ms, part.to_ms) for part in cut))
        assert all(ours[1] < following[0] for ours, following in itertools.pairwise(spans))
        assert all(any(start <= at <= end for start, end in spans) for at in times)
        for part in cut:
            held = sum(part.from_ms <= at <= part.to_ms for at in times)
            assert held <= 20 * part.shares
            shares = [other.share for other in cut if other[:2] == part[:2]]
            assert shares == list(range(part.shares))


def test_the_halves_of_a_slice_are_the_slice():
    assert Slice(10, 21).halves() == (Slice(10, 15), Slice(16, 21))
    assert Slice(10, 11).halves() == (Slice(10, 10), Slice(11, 11))
    assert Slice(10, 10, 1, 3).halves() == (Slice(10, 10, 1, 6), Slice(10, 10, 4, 6))
    for shares in (1, 2, 3, 8):
        for value in range(100):
            part = Slice(10, 10, value % shares, shares)
            assert sum(value % half.shares == half.share for half in part.halves() or ()) == 1
    smallest = Slice(0, 0)
    for _ in range(20):
        halves = smallest.halves()
        if halves is None:
            break
        smallest = halves[1]
    assert smallest.halves() is None


class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_every_format_has_every_event_once_and_as_it_was_sent(self, reader: Reader, tmp_path: Path):
        events = mixed(600)
        await reader.store_twice(*events)
        await reader.store(event(tenant_id="globex"), event(project_id="blog"))
        expected = by_id([shown(event) for event in events])
        in_order = [iso_utc(at) for at in sorted(event.timestamp_ms for event in events)]

        lines = await exported(reader)
        assert by_id(lines) == expected
        assert [line["timestamp"] for line in lines] == in_order
        records = records_of(await whole(reader, format="csv"))
        assert by_id(records) == expected
        assert [record["timestamp"] for record in records] == in_order

        file = tmp_path / "events.parquet"
        file.write_bytes(await whole(reader, format="parquet"))
        path = str(file).replace("'", "\\'")
        types = query_library(f"DESCRIBE file('{path}', Parquet)")
        assert [row[0] for row in types] == list(export.FIELDS)
        absent = ["Nullable(String)", "String", "Nullable(String)", "String"]
        assert [row[1] for row in types] == [*["String"] * 4, *absent, "DateTime64(3, 'UTC')"]
        rows = query_library(
            "SELECT * EXCEPT timestamp, toUnixTimestamp64Milli(assumeNotNull(timestamp))"
            f" FROM file('{path}', Parquet)"
        )
        found = [dict(zip(export.FIELDS, [*row[:-1], iso_utc(int(row[-1]))], strict=True)) for row in rows]
        assert by_id([{k: v for k, v in row.items() if v is not None} for row in found]) == expected

    async def test_a_line_is_the_timeline_s_event_with_its_project_and_tenant(self, reader: Reader):
        await reader.store(*mixed(50))
        timeline = await reader.timeline(limit="1000")
        lines = await exported(reader)
        assert {(line.pop("projectId"), line.pop("tenantId")) for line in lines} == {("shop", "acme")}
        assert by_id(lines) == by_id(timeline)

    async def test_nothing_found_is_an_empty_file(self, reader: Reader):
        assert await whole(reader) == b""
        assert await whole(reader, format="csv") == export.CSV_HEADER
        body = await whole(reader, format="parquet")
        assert (body[:4], body[-4:]) == (b"PAR1", b"PAR1")

    @pytest.mark.usefixtures("small_slices")
    async def test_slices_are_one_file_without_seams(self, reader: Reader, tampered: Tampered):
        """With times that many events share, more than a slice may hold, at both ends of the range too."""
        events = [*mixed(1_200), *(event(NOW, session_id=f"s{n}") for n in range(170))]
        edge = NOW - timedelta(days=365)
        events += [event(edge, session_id=f"e{n}") for n in range(130)]
        await reader.store_twice(*events)
        lines = await exported(reader, **{"from": edge.isoformat(), "to": NOW.isoformat()})
        assert tampered.streams > 20
        assert by_id(lines) == by_id([shown(event) for event in events])
        times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
        assert times == sorted(times)
        records = records_of(await whole(reader, format="csv"))
        assert by_id(records) == by_id(lines)

    async def test_range_filters_and_scope_hold_as_everywhere(self, reader: Reader):
        await reader.store_twice(
            event(NOW, session_id="now", metadata={"plan": "pro"}),
            event(NOW - timedelta(hours=24), session_id="edge", event_type="click"),
            event(NOW - timedelta(hours=24, milliseconds=1), session_id="older"),
            event(NOW, tenant_id="globex", session_id="theirs"),
            event(NOW, project_id="blog", session_id="elsewhere"),
        )

        async def found(**options: Any) -> list[str]:
            async with reader.open(EXPORT, **options) as answer:
                assert answer.status == 200
                return sorted(line["sessionId"] for line in lines_of(await answer.read()))

        assert await found() == ["edge", "now"]
        assert await found(**RANGE) == ["edge", "now", "older"]
        assert await found(eventType="click") == ["edge"]
        assert await found(filter="meta:plan:eq:pro") == ["now"]
        assert await found(filter=["meta:plan:eq:pro", "event_type:ne:view"]) == []
        assert await found(filter="timestamp:lt:2024-06-15", **RANGE) == ["edge", "older"]
        assert await found(claims={"filters": ["event_type:eq:click"]}) == ["edge"]
        assert await found(tenant_id=None) == ["edge", "now", "theirs"]
        assert await found(tenant_id="globex", filter="session_id:eq:now") == []

    async def test_a_client_chooses_the_format_by_parameter_or_by_accept(self, reader: Reader):
        async def type_of(accept: str = "*/*", **query: str) -> str:
            async with reader.open(EXPORT, headers={"Accept": accept}, **query) as answer:
                assert answer.status == 200
                await answer.read()
                return str(answer.headers["Content-Type"])

        assert await type_of() == "application/x-ndjson"
        assert await type_of("text/html, */*;q=0.8") == "application/x-ndjson"
        assert await type_of("text/csv") == "text/csv; charset=utf-8"
        assert await type_of("text/plain, application/vnd.apache.parquet;q=0.5") == (
            "application/vnd.apache.parquet"
        )
        assert await type_of("text/csv", format="ndjson") == "application/x-ndjson"
        assert await type_of("text/csv;q=0.5, application/x-ndjson") == "application/x-ndjson"
        assert await type_of("application/x-ndjson;q=0.1, text/csv;q=0.9") == "text/csv; charset=utf-8"
        assert await type_of("application/x-ndjson;q=0, */*") == "text/csv; charset=utf-8"

    async def test_the_head_says_what_it_is_and_a_head_request_gets_no_more(self, reader: Reader):
        await reader.store(event())
        origin = {"Origin": "https://shop.example", "X-Request-Id": "mine"}
        query = {"from": "2024-06-01T10:00:00.5Z", "to": "2024-06-16"}
        async with reader.open(EXPORT, headers=origin, format="csv", **query) as answer:
            headers = answer.headers
            assert len(await answer.read()) > len(export.CSV_HEADER)
        assert headers["Content-Disposition"] == (
            'attachment; filename="events-20240601T1000005Z-20240616T235959999Z.csv"'
        )
        assert headers["Cache-Control"] == "no-store"
        assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers.getall("X-Request-Id") == ["mine"]
        assert "Nealytics-Warnings" not in headers
        url, token = reader.url + EXPORT, token_of("shop", "acme")
        async with (
            aiohttp.ClientSession() as session,
            session.head(url, params=query, headers={"Authorization": f"Bearer {token}"}) as answer,
        ):
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/x-ndjson"
            assert await answer.read() == b""

    async def test_an_unknown_parameter_is_reported_in_the_head(self, reader: Reader):
        async with reader.open(EXPORT, evenType="clické") as answer:
            (warning,) = json.loads(answer.headers["Nealytics-Warnings"])
        assert warning["code"] == "unknown_parameter"
        assert "evenType" in warning["message"]

    async def test_what_makes_no_sense_is_refused_before_anything_is_sent(self, reader: Reader):
        for query, field in [
            ({"format": "xml"}, "format"),
            ({"from": "x"}, "from"),
            ({"from": "2024-06-02", "to": "2024-06-01"}, "from"),
            ({"filter": "nonsense"}, "filter"),
            ({"metadata": "object", "format": "csv"}, "metadata"),
            ({"metadata": "both", "format": "parquet"}, "metadata"),
        ]:
            status, body, _ = await reader.get(EXPORT, **query)
            assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)
        status, body, _ = await reader.get(EXPORT, claims={"endpoints": ["timeline"]})
        assert (status, body["code"]) == (403, "forbidden")

    @pytest.mark.parametrize("packing", ["gzip", "zstd", "identity", "gzip;q=0, zstd;q=0.0"])
    async def test_text_is_compressed_for_clients_that_accept_it(self, reader: Reader, packing: str):
        events = mixed(300)
        await reader.store(*events)
        expected = None if "=0" in packing or packing == "identity" else packing
        async with reader.open(EXPORT, headers={"Accept-Encoding": packing}, **RANGE) as answer:
            assert answer.headers.get("Content-Encoding") == expected
            body = await answer.read()
        assert by_id(lines_of(body)) == by_id([shown(event) for event in events])
        async with reader.open(
            EXPORT, headers={"Accept-Encoding": packing}, format="parquet", **RANGE
        ) as answer:
            assert "Content-Encoding" not in answer.headers

    # Failures

    @pytest.mark.usefixtures("small_slices")
    @pytest.mark.parametrize(
        ("form", "packing"),
        [("ndjson", "identity"), ("ndjson", "gzip"), ("csv", "identity"), ("parquet", "identity")],
    )
    @pytest.mark.parametrize("how", ["refused", "away", "cut", "fault"])
    async def test_an_export_that_fails_on_the_way_is_visibly_cut(
        self, reader: Reader, tampered: Tampered, form: str, packing: str, how: str
    ):
        events = mixed(6_000 if form == "parquet" else 1_000)
        await reader.store(*events)
        errors: dict[str, Exception] = {
            "refused": ClickHouseError(47, "SECRET of ClickHouse", status=500),
            "away": ClickHouseUnavailable("SECRET of the network"),  # for longer than an export waits
            "cut": ClickHouseUnavailable("SECRET of the connection"),
            "fault": RuntimeError("SECRET of ours"),
        }

        def before(number: int) -> None:
            if how != "cut" and number >= 5:
                raise errors[how]

        def broken_off() -> float:
            return reader.metrics.value("nealytics_read_failures_total", "broken_off")

        assert broken_off() == 0

        def during(number: int, piece: int) -> None:
            if (number == 5 or form == "parquet") and piece == (form == "parquet"):
                raise errors[how]

        if how != "cut" and form != "parquet":
            tampered.before = before
        else:
            tampered.during = during
        async with reader.open(EXPORT, format=form, headers={"Accept-Encoding": packing}, **RANGE) as answer:
            assert answer.status == 200
            got, error = await all_there_is(answer)
        assert isinstance(error, aiohttp.ClientError)
        assert b"SECRET" not in got
        assert b"internal_error" not in got
        if form == "ndjson" and packing == "identity":
            ids = {line["eventId"] for line in lines_of(got[: got.rfind(b"\n") + 1])}
            assert len(ids) < 1_000
        assert broken_off() == 1
        # The next one is whole again: no place is lost.
        tampered.before, tampered.during = (lambda number: None), (lambda number, piece: None)
        again = await whole(reader, format=form)
        assert again.endswith(b"PAR1") if form == "parquet" else again.count(b"2023-") > 100

    @pytest.mark.parametrize("form", FORMATS)
    async def test_a_failure_before_the_first_byte_has_a_status(
        self, reader: Reader, tampered: Tampered, form: str
    ):
        await reader.store(event())
        for error, expected in [
            (ClickHouseUnavailable("gone"), (503, "clickhouse_unavailable")),
            (ClickHouseError(241, "memory", status=500), (422, "query_too_large")),
            # A library's exception: no threads or no disk, say. It may pass.
            (ClickHouseError(1001, "SECRET", status=500), (503, "clickhouse_unavailable")),
            (ClickHouseError(47, "SECRET", status=500), (500, "internal_error")),
        ]:

            def before(number: int, error: Exception = error) -> None:
                raise error

            tampered.before = before
            status, body, _ = await reader.get(EXPORT, format=form, **RANGE)
            assert (status, body["code"]) == expected
            assert "SECRET" not in str(body)

    @pytest.mark.usefixtures("small_slices")
    async def test_a_slice_that_fails_for_the_moment_is_asked_for_again(
        self, reader: Reader, tampered: Tampered
    ):
        events = mixed(1_000)
        await reader.store(*events)
        failed: list[int] = []

        def before(number: int) -> None:
            if number % 3 == 2 and len(failed) < 10:
                failed.append(number)
                raise ClickHouseUnavailable("gone for a moment")

        tampered.before = before
        assert by_id(await exported(reader)) == by_id([shown(event) for event in events])
        assert len(failed) == 10

    async def test_a_slice_that_is_too_much_for_one_query_is_halved(self, reader: Reader, tampered: Tampered):
        """A real limit. What ClickHouse reads at once, 10 MB of a part, and has several times over while it
        works, goes into 60 MB; 60 MB of metadata do not."""
        wide = [
            event(NOW - timedelta(minutes=n // 40), session_id=f"s{n}", metadata={"x": "x" * 100_000})
            for n in range(600)
        ]
        for start in range(0, 600, 100):
            await reader.store(*wide[start : start + 100])
        config = msgspec.structs.replace(reader.config, query=QueryConfig(memory_bytes_max=60_000_000))
        async with Reader(reader.clickhouse, config) as small:
            lines = await exported(small)
        assert by_id(lines) == by_id([shown(event) for event in wide])
        assert tampered.streams > 3

    async def test_wide_events_are_made_into_text_a_few_at_a_time(self, reader: Reader, tampered: Tampered):
        """Made in one piece, the text of 80 MB took more memory than a query may have."""
        await reader.clickhouse.command(
            "INSERT INTO nealytics_core.global_events (event_id, project_id, tenant_id, event_type,"
            " metadata_json, timestamp) SELECT generateUUIDv4(), 'shop', 'acme', 'view',"
            " randomPrintableASCII(4000), fromUnixTimestamp64Milli(1718400000000 + toInt64(number))"
            " FROM numbers(20000)"
        )
        query = QueryConfig(memory_bytes_max=400_000_000)
        async with Reader(reader.clickhouse, msgspec.structs.replace(reader.config, query=query)) as small:
            assert len(await exported(small)) == 20_000
        assert tampered.streams == 1

    @pytest.mark.parametrize("form", FORMATS)
    async def test_the_size_of_an_answer_to_others_is_not_that_of_an_export(
        self, reader: Reader, tampered: Tampered, form: str
    ):
        """Parquet of more than `query.result_bytes_max` was refused, and text asked for in small pieces."""
        events = mixed(2_000)
        await reader.store(*events)
        tiny = QueryConfig(result_rows_max=1_500, result_bytes_max=100_000)
        async with Reader(reader.clickhouse, msgspec.structs.replace(reader.config, query=tiny)) as small:
            body = await whole(small, format=form)
        if form == "parquet":
            assert body.endswith(b"PAR1")
        else:
            assert len(lines_of(body) if form == "ndjson" else records_of(body)) == 2_000
        assert tampered.streams == 1

    async def test_http_1_0_cannot_tell_an_end_from_a_break_and_is_refused(self, reader: Reader):
        await reader.store(event())
        host, _, port = reader.url.removeprefix("http://").partition(":")
        stream, sink = await asyncio.open_connection(host, int(port))
        token = token_of("shop", "acme")
        sink.write(f"GET {EXPORT} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        answer = await stream.read()
        sink.close()
        assert answer.startswith(b"HTTP/1.0 505 ")
        assert b'"code":"http_1_1_needed"' in answer

    # Bounds

    async def test_a_slow_reader_holds_up_no_query_and_gathers_nothing(
        self, reader: Reader, tampered: Tampered
    ):
        """300,000 events, 80 MB. What was taken from ClickHouse and not by the client is in buffers."""
        await fill(reader.clickhouse, 300_000)
        async with reader.open(EXPORT, headers={"Accept-Encoding": "identity"}, **RANGE) as answer:
            read = len(await answer.content.readexactly(100_000))
            # All buffers on the way are full when nothing has moved for a while.
            async with asyncio.timeout(60):
                taken = -1
                while taken != tampered.bytes:
                    taken = tampered.bytes
                    await asyncio.sleep(0.5)
            assert await reader.clickhouse.query("SELECT 1") == [[1]]
            # The kernel's buffers for two connections, ours, and those of the client.
            assert taken < 20_000_000
            ids = set()
            rest = b""
            async for piece in answer.content.iter_chunked(1 << 20):
                read += len(piece)
                rest += piece
                ids.update(re.findall(rb'"eventId":"([^"]+)"', rest))
                rest = rest[-60:]
            assert read > 70_000_000
        assert len(ids) > 299_000  # but for those in the first 100,000 bytes

    async def test_so_many_exports_at_once_and_no_more(self, reader: Reader):
        await fill(reader.clickhouse, 100_000)
        config = msgspec.structs.replace(reader.config, query=QueryConfig(exports_max=2))
        async with Reader(reader.clickhouse, config) as page:
            options: list[dict[str, Any]] = [
                {"claims": {"sub": name}, "headers": {"Accept-Encoding": "identity"}, **RANGE}
                for name in ("ann", "bob", "cyd")
            ]
            one, two, three = options
            async with page.open(EXPORT, **one) as answer:
                await answer.content.readexactly(1_000)
                async with page.open(EXPORT, **one) as another:
                    assert (another.status, (await another.json())["code"]) == (429, "too_many_streams")
                    assert int(another.headers["Retry-After"]) >= 1
                async with page.open(EXPORT, **two) as other:
                    await other.content.readexactly(1_000)
                    async with page.open(EXPORT, **three) as another:
                        assert (another.status, (await another.json())["code"]) == (503, "streams_busy")
                        assert int(another.headers["Retry-After"]) >= 1
                    # Others read meanwhile.
                    assert len(await page.timeline()) == 100
                # `two` left in the middle, `one` reads to its end; both places are free again.
                await answer.read()

            async def status_of(who: dict[str, Any]) -> int:
                async with page.open(EXPORT, **who) as answer:
                    await answer.read()
                    return int(answer.status)

            async def are_served() -> bool:
                return all([await status_of(who) == 200 for who in (one, two, three)])

            await until_async(are_served)

    async def test_a_query_ends_when_its_client_leaves(self, reader: Reader, monkeypatch: pytest.MonkeyPatch):
        endless = Query("SELECT sleepEachRow(1) FROM numbers(1000) SETTINGS max_block_size = 1", {})
        monkeypatch.setattr(export, "parquet_sql", lambda params: endless)
        running = (
            "SELECT count() FROM system.processes"
            " WHERE query LIKE '%FROM numbers(1000)%' AND query NOT LIKE '%system.processes%'"
        )

        async def wait_for(count: int) -> None:
            async def is_so() -> bool:
                return await reader.clickhouse.query(running) == [[count]]

            await until_async(is_so)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2), reader.open(EXPORT, format="parquet"):
                pytest.fail("the query ended")
        await wait_for(0)
        asking = asyncio.ensure_future(reader.get(EXPORT, format="parquet"))
        await wait_for(1)
        asking.cancel()
        await wait_for(0)


async def all_there_is(answer: aiohttp.ClientResponse) -> tuple[bytes, Exception | None]:
    """What can be had of an answer, and what ended it."""
    got = b""
    try:
        async for piece in answer.content.iter_any():
            got += piece
    except aiohttp.ClientError as error:
        return got, error
    return got, None


async def fill(client: ClickHouseClient, count: int) -> None:
    """Events of half a year, 270 bytes each as NDJSON."""
    await client.command(
        "INSERT INTO nealytics_core.global_events (event_id, project_id, tenant_id, session_id,"
        " user_id, event_type, item_id, metadata_json, timestamp)"
        " SELECT generateUUIDv4(number), 'shop', 'acme', concat('session-', toString(intDiv(number, 10))),"
        " concat('user-', toString(number % 999)), 'page_view', '/some/page/or/other',"
        ' \'{"plan":"professional"}\','
        f" fromUnixTimestamp64Milli(toInt64({ms(NOW)} - number * 50000))"
        f" FROM numbers({count})",
        settings={"max_partitions_per_insert_block": 0},
    )


# Whole nodes


@pytest.mark.e2e
@pytest.mark.engine
async def test_an_export_is_taken_in_again_as_the_same_events(tmp_path: Path):
    """From one node to another, and back out of that: the same bytes, whatever the events hold."""
    events = [
        *mixed(400),
        *(msgspec.structs.replace(one, tenant_id="globex") for one in mixed(50)),
        event(NOW, tenant_id="café \n", user_id="=SUM(A1)", metadata={"deep": {"n": [1, 2.5, None]}}),
    ]
    (tmp_path / "first").mkdir()
    with Node(tmp_path / "first") as first:
        first.wait_ready()
        status, answer = first.post("batch", [shown(one) for one in events], query="?wait=true")
        assert status == 200, answer
        original = sorted(take(first, "ndjson").splitlines())
        assert len(original) == len(events)
        for n, form in enumerate(("ndjson", "csv", "ndjson&metadata=object", "ndjson&metadata=both")):
            file = tmp_path / f"export{n}.{form.partition('&')[0]}"
            file.write_bytes(take(first, form))
            (tmp_path / f"second{n}").mkdir()
            # Another node for each format: in the former one everything is there already.
            with Node(tmp_path / f"second{n}") as second:
                second.wait_ready()
                command = [*program(), "import", str(file), "--url", second.url, "--key", KEY]
                done = await asyncio.to_thread(
                    subprocess.run, command, capture_output=True, timeout=60, env=second.environ
                )
                assert done.returncode == 0, done.stderr.decode()
                second.wait_until(
                    lambda: len(take(second, "ndjson").splitlines()) >= len(original),
                    "all are committed",
                )
                assert sorted(take(second, "ndjson").splitlines()) == original, form


@pytest.mark.e2e
@pytest.mark.engine
async def test_the_worker_s_memory_does_not_grow_with_the_export(tmp_path: Path):
    with Node(tmp_path) as node:
        node.wait_ready()

        async def peaks_mib(form: str) -> list[int]:
            """What the worker and the engine grew by, at the most, while a client read slowly."""
            pids = [node.pids("worker")[0], node.pids("embedded-child")[0]]
            before = [memory_mib(pid, "VmRSS") for pid in pids]
            for pid in pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
            await asyncio.to_thread(read_slowly, node, form)
            return [memory_mib(pid, "VmHWM") - was for pid, was in zip(pids, before, strict=True)]

        await fill_node(node, 50_000)
        for form in FORMATS:
            await peaks_mib(form)  # what is loaded once
        small = {form: await peaks_mib(form) for form in FORMATS}
        await fill_node(node, 600_000)
        for form in FORMATS:
            worker, _engine = await peaks_mib(form)
            # 170 MB of NDJSON
            assert worker < small[form][0] + 20, (form, worker, small)


def as_sent(one: Event) -> dict[str, Any]:
    return shown(one)


def take(node: Node, form: str) -> bytes:
    claims = {"project_id": "shop", "scope": "project", "exp": int(time.time()) + 60}
    signed = jwt.encode(claims, JWT_KEY, algorithm="HS256")
    status, body = node.request(
        "GET", f"{EXPORT}?format={form}&from=2000-01-01", headers={"Authorization": f"Bearer {signed}"}
    )
    assert status == 200, body
    return body


async def fill_node(node: Node, count: int) -> None:
    """Fills the table of the node's own engine."""
    config = Config(server=ServerConfig(data_dir=node.directory / "data"))
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await fill(client, count)


def read_slowly(node: Node, form: str) -> None:
    sock = socket.create_connection(("127.0.0.1", node.port))
    signed = token("shop", "acme")
    sock.sendall(
        f"GET {EXPORT}?format={form}&from=2000-01-01 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {signed}\r\n\r\n".encode()
    )
    tail = sock.recv(1_000)
    assert tail.startswith(b"HTTP/1.1 200 "), tail
    started, read = time.monotonic(), 0
    while piece := sock.recv(1 << 20):
        tail = (tail + piece)[-5:]
        read += len(piece)
        # 30 MB a second, less than could be had.
        time.sleep(max(0.0, read / 30e6 - (time.monotonic() - started)))
    sock.close()
    assert tail == b"0\r\n\r\n"


def memory_mib(pid: int, which: str) -> int:
    found = re.search(rf"{which}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024
