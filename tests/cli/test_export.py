"""What is exported is all of it and comes back as the same events, or it is visibly no export."""

import asyncio
import csv
import gzip
import json
import os
import random
import re
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from nealytics.cli import export as cli_export
from nealytics.cli import main
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient
from nealytics.clickhouse.embedded import read_access
from nealytics.clickhouse.rowbinary import ROW_FORMAT, encode_row, insert_sql
from nealytics.event import Limits, decode_event, freeze
from nealytics.importer.times import moment_ms
from nealytics.queries import export
from tests.e2e.node import KEY, Node, free_port, program
from tests.engine import RunningEngine, ask_engine, needs_engine, start_engine
from tests.fakes.batch_server import KEY as BATCH_KEY
from tests.fakes.batch_server import BatchServer

TIMELINE = "/api/v1/telemetry/timeline?limit=1000"
AWKWARD = ['a "b"', "line\nline\r\n", "tab\t,;", "café 漢字 🙂", "=1+1", "\\N", "NULL", "-", "'", "%20#&"]
SCOPES = [("shop", "acme"), ("shop", "globex"), ('pro"ject\\ 漢', "acme")]


def events(count: int = 300) -> list[dict[str, Any]]:
    """With and without user, item, metadata, eventId and timestamp, over the years."""
    chance = random.Random(5)
    now_ms = int(time.time() * 1000)
    found = []
    for number in range(count):
        project_id, tenant_id = SCOPES[number % len(SCOPES)]
        event: dict[str, Any] = {
            "projectId": project_id,
            "tenantId": tenant_id,
            "sessionId": chance.choice(AWKWARD),
            "eventType": chance.choice(AWKWARD),
            "timestamp": now_ms - chance.randrange(3 * 365 * 86_400_000),
        }
        if chance.random() < 0.5:
            event |= {"userId": chance.choice(AWKWARD), "itemId": chance.choice(AWKWARD)}
        match number % 3:
            case 0:
                event["metadata"] = {
                    "text": chance.choice(AWKWARD),
                    "number": number,
                    "deep": {"a": [1, None]},
                }
            case 1:
                event["metadataJson"] = chance.choice(AWKWARD)  # any text, also such as is no JSON
        if number % 4 == 0:
            del event["timestamp"]
        found.append(event)
    return found


def run(config: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*program(), *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environ}, timeout=120)


def exported(node: Node, *arguments: str, **environ: str) -> bytes:
    done = run(node.config, "export", *arguments, **environ)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def imported(node: Node, file: Path, *arguments: str) -> None:
    done = run(node.config, "import", str(file), "--url", node.url, "--key", KEY, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    node.wait_drained()


def timelines(node: Node) -> list[list[dict[str, Any]]]:
    """What each tenant sees; within a millisecond the order is undefined."""
    return [
        sorted(node.read(TIMELINE, project_id=p, tenant_id=t)["events"], key=lambda event: event["eventId"])
        for p, t in SCOPES
    ]


def started(directory: Path, **settings: str) -> Node:
    directory.mkdir()
    lines = (f"clickhouse.{key} = {json.dumps(value)}" for key, value in settings.items())
    node = Node(directory, settings="\n".join(lines))
    node.start()
    return node


def received(node: Node) -> bytes:
    """Which event the node took when; straight from its engine."""
    sql = b"SELECT event_id, received_at FROM nealytics_core.global_events FINAL ORDER BY ALL"
    return ask_engine(node.directory / "data", sql).body


@pytest.mark.e2e
@pytest.mark.engine
@needs_engine
def test_an_export_comes_back_elsewhere_as_the_same_events_counted_once(tmp_path: Path):
    one = started(tmp_path / "one")
    two = started(tmp_path / "two")
    three = started(tmp_path / "three")
    try:
        one.wait_ready()
        assert one.post("batch", events())[0] == 202
        one.wait_drained()
        expected = timelines(one)
        assert sum(map(len, expected)) == 300

        # As NDJSON, of a node that runs, imported twice.
        assert exported(one, str(one.directory / "all.ndjson")) == b""
        three.wait_ready()
        imported(three, one.directory / "all.ndjson")
        imported(three, one.directory / "all.ndjson", "--restart")
        assert timelines(three) == expected

        # One tenant as CSV, packed, over what is there.
        exported(one, "--project", "shop", "--tenant", "acme", str(one.directory / "acme.csv.gz"))
        with gzip.open(one.directory / "acme.csv.gz", "rt", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        assert {row["eventId"] for row in rows} == {event["eventId"] for event in expected[0]}
        imported(three, one.directory / "acme.csv.gz")
        assert timelines(three) == expected

        # And all of it for ClickHouse itself, of a node that is gone, with the columns that no event has.
        when_received = received(one)
        assert one.stop() == 0
        (one.directory / "data").rename(one.directory / "old")
        native = exported(
            one,
            "--format=native",
            NEALYTICS_CLICKHOUSE_URL="embedded",
            NEALYTICS_SERVER_DATA_DIR=str(one.directory / "old"),
        )
        two.wait_ready()
        for _ in range(2):
            insert = b"INSERT INTO nealytics_core.global_events FORMAT Native\n"
            answer = ask_engine(two.directory / "data", insert + native)
            assert (answer.status, answer.body) == (200, b"")
        assert timelines(two) == expected
        assert received(two) == when_received
    finally:
        for node in (one, two, three):
            node.kill()


SLICES = set(export.OUTPUT_FORMATS.values())


class Proxy:
    """Between the export and its ClickHouse: notes what is asked for, and cuts off what `cut` says."""

    def __init__(self, engine: RunningEngine) -> None:
        self.engine = engine
        self.slices = 0
        self.cut: Callable[[int], bool] = lambda number: False
        self.is_tidy = False  # ends what is cut as if it were whole, as Caddy 2.6 does
        self.is_away = False
        self.identity = b""  # of its table, if it is another than the engine's
        self.url = ""

    async def __aenter__(self) -> "Proxy":
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._handle))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.is_away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        async with self._session.request(
            request.method, self.engine.url + request.raw_path, data=await request.read(), headers=headers
        ) as answer:
            body = await answer.read()
            if self.identity and b"FROM system.tables" in await request.read():
                body = self.identity
            passed = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("content-length", "transfer-encoding", "date", "server")
            }
        response = web.StreamResponse(status=answer.status, headers=passed)
        number, is_slice = self.slices, request.query.get("default_format") in SLICES
        self.slices += is_slice
        if self.is_tidy and is_slice and self.cut(number):
            body = body[: body.rfind(b"\n", 0, len(body) * 2 // 3) + 1]  # between two lines
        response.content_length = len(body)
        await response.prepare(request)
        if not self.is_tidy and is_slice and self.cut(number):
            await response.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(body)
        return response


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    """A ClickHouse with 300 events, by TCP, with a proxy before it."""
    engine = start_engine(tmp_path, retention_days=0)
    with engine:
        config = engine.config
        async with ClickHouseClient(engine.endpoint, config.clickhouse) as client:
            await schema.apply(client, config.clickhouse)
            limits = Limits(256, 2_048, 0, 86_400_000)
            now_ms = int(time.time() * 1000)
            frozen = [freeze(decode_event(json.dumps(sent).encode()), now_ms, limits) for sent in events()]
            body = b"".join(encode_row(event, now_ms) for event in frozen)
            for token in ("first", "again"):  # so that every event is there twice
                sql = insert_sql(config.clickhouse.database, ROW_FORMAT)
                await client.insert(sql, body, token=token)
        async with Proxy(engine) as proxy:
            yield proxy


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "SLICE_EVENTS_MAX", 50)
    monkeypatch.setattr(export, "RETRY_DELAYS_S", (0.01, 0.01))


async def invoke(tmp_path: Path, url: str, *arguments: str) -> Result:
    config = tmp_path / "nealytics.toml"
    config.write_text(f'[server]\ndata_dir = "{tmp_path}/data"\n[clickhouse]\nurl = "{url}"\n')
    command = ["export", "--config", str(config), *arguments]
    environ = {}
    if access := read_access(tmp_path / "data"):
        user, password = access.user
        environ = {"NEALYTICS_CLICKHOUSE_USER": user, "NEALYTICS_CLICKHOUSE_PASSWORD": password}
    return await asyncio.to_thread(CliRunner(env=environ).invoke, main, command)


on_the_engine = [pytest.mark.engine, needs_engine, pytest.mark.usefixtures("small_slices")]


class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_every_event_is_there_once_and_counted_whatever_the_format(self, proxy, tmp_path):
        for form in ("ndjson", "csv", "native"):
            result = await invoke(tmp_path, proxy.url, str(tmp_path / f"all.{form}"))
            assert result.exit_code == 0, result.output
            assert re.match(rf"export: 300 events of 2 projects, [\d,]+ bytes of {form}, ", result.stderr)
        lines = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
        with (tmp_path / "all.csv").open(newline="") as file:
            records = list(csv.DictReader(file, strict=True))
        ids = sorted(line["eventId"] for line in lines)
        assert len(set(ids)) == 300
        assert sorted(record["eventId"] for record in records) == ids
        assert proxy.slices > 6

    @pytest.mark.parametrize("form", ["ndjson", "csv"])
    async def test_an_end_record_is_written_and_import_checks_it(self, proxy, tmp_path, form):
        file = tmp_path / f"all.{form}"
        result = await invoke(tmp_path, proxy.url, str(file), "--end")
        assert result.exit_code == 0, result.output
        whole = file.read_bytes()
        assert b"nealyticsExport" in whole.splitlines()[-1]

        def imported() -> tuple[int, str, int]:
            with BatchServer() as server:
                arguments = ["import", str(file), "--url", server.url, "--key", "a-key", "--require-end"]
                done = CliRunner().invoke(main, [*arguments, "--restart"])
                return done.exit_code, done.output, len(server.events)

        status, output, arrived = await asyncio.to_thread(imported)
        assert (status, arrived) == (0, 300), output
        file.write_bytes(whole[: len(whole) // 2])
        status, output, arrived = await asyncio.to_thread(imported)
        assert status == 1
        assert 0 < arrived < 300

    async def test_an_end_record_has_no_place_in_native(self, proxy, tmp_path):
        result = await invoke(tmp_path, proxy.url, str(tmp_path / "all.native"), "--end")
        assert result.exit_code == 2
        assert "--end" in result.output

    async def test_every_file_that_is_written_is_imported_as_the_same_events(self, proxy, tmp_path):
        """Whatever its name asks for: 300 events, and those of one project as Parquet."""
        whole: dict[str, Any] = {}
        for line in (await invoke(tmp_path, proxy.url)).stdout.splitlines():
            event = json.loads(line)
            whole[event["eventId"]] = event | {"timestamp": moment_ms(event["timestamp"])}
        shop = {key: event for key, event in whole.items() if event["projectId"] == "shop"}
        names = [
            f"all.{form}{packing}" for form in ("ndjson", "csv", "native") for packing in ("", ".gz", ".zst")
        ]
        for name in [*names, "shop.parquet"]:
            file = tmp_path / name
            only = ["--project", "shop"] if name == "shop.parquet" else []
            result = await invoke(tmp_path, proxy.url, str(file), *only)
            assert result.exit_code == 0, result.output
            with BatchServer() as server:
                # On the way a JSON text may be cut from another place, so that every event's bytes count.
                command = ["import", str(file), "--url", server.url, "--key", BATCH_KEY]
                done = await asyncio.to_thread(CliRunner().invoke, main, command)
                assert done.exit_code == 0, done.output
                assert "not imported" not in done.output
                arrived = {
                    key: event | {"timestamp": moment_ms(event["timestamp"])}
                    for key, event in server.events.items()
                }
                assert arrived == (shop if only else whole), name

    async def test_parquet_holds_one_project_and_says_so(self, proxy, tmp_path):
        result = await invoke(tmp_path, proxy.url, str(tmp_path / "all.parquet"))
        assert result.exit_code == 1
        assert "a Parquet file holds one project, and there are 2: " in result.output
        assert not (tmp_path / "all.parquet").exists()
        result = await invoke(tmp_path, proxy.url, str(tmp_path / "none.parquet"), "--project", "nobody")
        assert result.exit_code == 1
        assert "there are no events for a Parquet file" in result.output
        result = await invoke(tmp_path, proxy.url, str(tmp_path / "shop.parquet"), "--project", "shop")
        assert re.match(r"export: \d+ events of 1 project, [\d,]+ bytes of parquet, ", result.stderr)
        assert (tmp_path / "shop.parquet").read_bytes()[:4] == b"PAR1"

    async def test_a_range_and_a_project_leave_out_the_rest(self, proxy, tmp_path):
        result = await invoke(tmp_path, proxy.url)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        first, last = "2025-01-01T00:00:00Z", max(line["timestamp"] for line in lines)
        wanted = [
            line for line in lines if first <= line["timestamp"] <= last and line["projectId"] == "shop"
        ]
        chosen = ("--project", "shop", "--from", "2025-01-01", "--to", last)
        result = await invoke(tmp_path, proxy.url, *chosen)
        assert [json.loads(line) for line in result.stdout.splitlines()] == wanted
        result = await invoke(tmp_path, proxy.url, "--to", "1990-01-01", "--format", "csv")
        assert "export: 0 events of 0 projects" in result.stderr
        assert "no event in the table matches: are project, tenant and range right?" in result.stderr
        assert result.stdout_bytes == export.CSV_HEADER

    async def test_a_slice_that_was_cut_off_is_asked_for_again(self, proxy, tmp_path):
        whole = await invoke(tmp_path, proxy.url)
        proxy.cut = lambda number: number % 2 == 0
        result = await invoke(tmp_path, proxy.url)
        assert result.exit_code == 0, result.output
        assert sorted(result.stdout.splitlines()) == sorted(whole.stdout.splitlines())

    @pytest.mark.parametrize("form", ["ndjson", "csv", "native", "parquet"])
    async def test_a_cut_that_a_proxy_makes_look_whole_is_noticed(self, proxy, tmp_path, caplog, form):
        said = "a proxy between this node and ClickHouse truncates answers"
        whole, file = tmp_path / f"whole.{form}", tmp_path / f"all.{form}"
        await invoke(tmp_path, proxy.url, "--project", "shop", str(whole))
        first = 0 if form == "parquet" else 1  # the first is all of it
        proxy.is_tidy, proxy.slices, proxy.cut = True, 0, lambda number: number == first
        result = await invoke(tmp_path, proxy.url, "--project", "shop", str(file))
        assert result.exit_code == 0, result.output
        assert said in caplog.text
        assert "export: 200 events of 1 project," in result.stderr
        assert form == "parquet" or len(file.read_bytes()) == len(whole.read_bytes())
        file.unlink()
        proxy.slices, proxy.cut = 0, lambda number: number >= first
        result = await invoke(tmp_path, proxy.url, "--project", "shop", str(file))
        assert result.exit_code == 1
        assert said in result.stderr
        assert not list(tmp_path.glob("all.*"))

    async def test_of_several_addresses_any_that_has_the_same_table_will_do(self, proxy, tmp_path):
        whole = await invoke(tmp_path, proxy.url)
        async with Proxy(proxy.engine) as other:
            proxy.is_away = True
            result = await invoke(tmp_path, f"{proxy.url},{other.url}")
            assert result.exit_code == 0, result.output
            assert sorted(result.stdout.splitlines()) == sorted(whole.stdout.splitlines())
            # And when the first one leaves on the way.
            proxy.is_away, proxy.slices, other.slices = False, 0, 0

            def cut(number: int) -> bool:
                proxy.is_away = number == 1
                return proxy.is_away

            proxy.cut = cut
            result = await invoke(tmp_path, f"{proxy.url},{other.url}")
            assert result.exit_code == 0, result.output
            assert sorted(result.stdout.splitlines()) == sorted(whole.stdout.splitlines())
            assert proxy.slices == 2
            assert other.slices > 2

    async def test_nothing_is_read_from_a_stranger_among_the_addresses(self, proxy, tmp_path):
        """It would be half of one table and half of another, and called complete."""

        def cut(number: int) -> bool:
            proxy.is_away = number == 1
            return proxy.is_away

        proxy.cut = cut
        async with Proxy(proxy.engine) as stranger:
            stranger.identity = b"9d2f6a0e-5c0b-4a53-8d0e-2f1f6a1a7c11\n"
            result = await invoke(tmp_path, f"{proxy.url},{stranger.url}")
        assert result.exit_code == 1
        assert (proxy.slices, stranger.slices) == (2, 0)
        assert "events of" not in result.stderr

    async def test_a_slice_that_finds_no_temporary_file_is_not_blamed_on_the_output(
        self, proxy, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(cli_export, "_SLICE_MEMORY_BYTES_MAX", 100)
        monkeypatch.setattr(tempfile, "tempdir", "/no/such/directory")
        result = await invoke(tmp_path, proxy.url, str(tmp_path / "all"))
        assert result.exit_code == 1
        assert "cannot write a temporary file: No such file or directory; set TMPDIR" in result.stderr
        assert not list(tmp_path.glob("all*"))

    async def test_what_cannot_be_completed_leaves_no_file(self, proxy, tmp_path):
        file = tmp_path / "all.ndjson"
        file.write_text("of yesterday")
        proxy.cut = lambda number: number >= 3
        result = await invoke(tmp_path, proxy.url, str(file))
        assert result.exit_code == 1
        assert "events of" not in result.stderr
        assert file.read_text() == "of yesterday"
        assert not list(tmp_path.glob("*.part"))
        # On standard output there are whole slices only.
        proxy.slices = 0
        result = await invoke(tmp_path, proxy.url)
        assert result.exit_code == 1
        assert 0 < len([json.loads(line) for line in result.stdout.splitlines()]) < 300


async def test_without_an_engine_of_its_own_it_makes_none(tmp_path: Path):
    result = await invoke(tmp_path, "embedded")
    assert result.exit_code == 1
    assert f"{tmp_path}/data/clickhouse does not exist" in result.stderr
    assert not (tmp_path / "data").exists()


async def test_a_clickhouse_that_is_down_is_reported_at_once(tmp_path: Path):
    began = time.monotonic()
    result = await invoke(tmp_path, f"http://127.0.0.1:{free_port()}", str(tmp_path / "all"))
    assert result.exit_code == 1
    assert "clickhouse: " in result.stderr
    assert time.monotonic() - began < 10  # and not after the half minute of its patience
    assert [path.name for path in tmp_path.iterdir()] == ["nealytics.toml"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tenant", "acme"], "--tenant needs --project"),
        (["--from", "yesterday"], "--from is 'yesterday', which is not an ISO 8601 date or time"),
        (["--from", "2026-02-01", "--to", "2026-01-31"], "--from is later than --to; swap the two"),
        (["/no/such/directory/x"], "cannot write /no/such/directory/x: No such file or directory"),
    ],
)
async def test_invalid_arguments_are_reported(tmp_path: Path, arguments: list[str], told: str):
    result = await invoke(tmp_path, "http://127.0.0.1:1", *arguments)
    assert result.exit_code != 0
    assert told in result.stderr


async def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path):
    """A directory would be found out after hours; and who may, would lose /dev/null."""
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("directory", "pipe"):
        result = await invoke(tmp_path, "http://127.0.0.1:1", str(tmp_path / name))
        assert result.exit_code == 1
        assert (
            f"export: {tmp_path / name} is not a regular file; give a file name, or - for standard output"
            in result.stderr
        )
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "nealytics.toml", "pipe"]


@pytest.mark.parametrize(
    ("file", "form", "expected"),
    [
        ("-", None, ("ndjson", None)),
        ("-", "parquet", ("parquet", None)),
        ("events", None, ("ndjson", None)),
        ("events.gz", None, ("ndjson", "gzip")),
        ("a/b.c/events.ndjson.zst", None, ("ndjson", "zstd")),
        ("EVENTS.CSV.GZ", None, ("csv", "gzip")),
        ("x.jsonl", None, ("ndjson", None)),
        ("x.native.zst", None, ("native", "zstd")),
        ("x.parquet", None, ("parquet", None)),
        ("x.dat", "csv", ("csv", None)),
        ("x.dat.gz", "csv", ("csv", "gzip")),
    ],
)
def test_the_name_decides_what_is_written(file: str, form: str | None, expected: tuple[str, str | None]):
    assert cli_export.format_of(file, form) == expected


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x.xlsx"], ".xlsx is not a known format"),
        (["x.csv.bz2"], ".bz2 is not a known format"),
        (["x.json"], ".json is not a known format"),
        (["x.parquet.gz"], "Parquet is compressed internally; remove .gz"),
        (["x.parquet", "--format", "csv"], "x.parquet has the extension of parquet, but --format is csv"),
    ],
)
def test_a_name_that_the_content_would_not_match_is_refused(arguments: list[str], told: str):
    """x.parquet was NDJSON."""
    result = CliRunner().invoke(main, ["export", *arguments])
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
