"""A newer program takes over what an older one left; an older one refuses what a newer one left.

`data/` holds what each version really wrote (`make_data.py`). Every later version has to read all of it.
"""

import asyncio
import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nealytics.wal import frame, segment
from tests.e2e.node import Node, program
from tests.engine import needs_engine, start_engine
from tests.fakes.clickhouse import FakeClickHouse

DATA = Path(__file__).parent / "data"
VERSIONS = sorted(path.name for path in DATA.iterdir() if path.is_dir())
TABLES = sorted(path.name for path in DATA.glob("table-*.sql"))
# With a column of which this version knows nothing: what is left when a newer one is taken back.
NEWER_TABLE = "table of a newer version"

pytestmark = pytest.mark.e2e


def restored(version: str, directory: Path) -> dict[str, list[dict[str, Any]]]:
    """Puts what that version left where a node in `directory` looks for it; what it says of that."""
    shutil.copytree(DATA / version / "wal", directory / "data" / "wal", dirs_exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = json.loads((DATA / version / "expected.json").read_text())
    return found


def timeline(node: Node, project_id: str, tenant_id: str) -> list[dict[str, Any]]:
    path = "/api/v1/telemetry/timeline?after=2020-01-01&limit=1000"
    events: list[dict[str, Any]] = node.read(path, project_id=project_id, tenant_id=tenant_id)["events"]
    return events


def shown(node: Node, told: list[dict[str, Any]]) -> list[str]:
    """The ids that the tenants of `told` see."""
    scopes = {(event["projectId"], event["tenantId"]) for event in told}
    return sorted(event["eventId"] for scope in scopes for event in timeline(node, *scope))


def ids(*told: list[dict[str, Any]]) -> list[str]:
    return sorted(event["eventId"] for events in told for event in events)


def ddl_of(table: str) -> str:
    if table != NEWER_TABLE:
        return (DATA / table).read_text()
    first, comma, rest = (DATA / TABLES[0]).read_text().partition(",")
    return f"{first}, later LowCardinality(String) DEFAULT 'x'{comma}{rest}"


def prepare_table(directory: Path, ddl: str, there: dict[str, Any]) -> None:
    """A table of an older release, with an event in it whose insert was never confirmed."""
    columns = {
        "event_id": "eventId", "project_id": "projectId", "tenant_id": "tenantId", "session_id": "sessionId",
        "event_type": "eventType", "metadata_json": "metadataJson", "timestamp": "timestamp",
    }  # fmt: skip
    row = {column: there.get(field, "{}") for column, field in columns.items()}
    row["timestamp"] = row["timestamp"] / 1000
    insert = "INSERT INTO nealytics_core.global_events FORMAT JSONEachRow\n" + json.dumps(row)
    with start_engine(directory) as engine:
        for sql in ("CREATE DATABASE nealytics_core", ddl, insert):
            answer = engine.request("POST", "/", sql.encode())
            assert answer.status == 200, answer.text
        assert engine.stop() == 0


@pytest.mark.engine
@needs_engine
@pytest.mark.parametrize("table", [None, *TABLES, NEWER_TABLE])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_older_version_left_is_taken_over_and_every_event_is_counted_once(
    tmp_path: Path, version: str, table: str | None
):
    told = restored(version, tmp_path)
    # Its committed events are in the log as well, and not in this table: they come back.
    waiting, dead, committed = told["waiting"], told["deadLetter"], told["committed"]
    if table is not None:
        prepare_table(tmp_path, ddl_of(table), waiting[0])
    node = Node(tmp_path)
    with node:
        node.wait_ready()
        node.wait_drained()
        node.wait_until(
            lambda: shown(node, waiting) == ids(waiting, committed), "every event is counted once"
        )
        seen = {event["eventId"]: event for event in timeline(node, "shop", "acme")}
        with_metadata = [event for event in waiting if event.get("metadata")]
        assert with_metadata
        for event in with_metadata:
            assert json.loads(seen[event["eventId"]]["metadataJson"]) == event["metadata"]

        # Its dead letters are readable.
        retry = [*program(), "dead-letter", "retry", "--config", str(node.config)]
        done = subprocess.run(retry, capture_output=True, text=True, timeout=100)
        assert done.stdout == f"{len(dead)} inserted, 0 still in the dead letter\n", done.stderr
        assert shown(node, waiting) == ids(waiting, committed, dead)

        # And the log goes on: behind its last row, also after the next start.
        new = {**waiting[0], "eventId": "01972f00-0000-7000-8000-00000000ffff", "sessionId": "new"}
        assert node.post("track", new)[0] == 202
        node.wait_drained()
        assert node.stop() == 0
        node.start()
        node.wait_ready()
        assert shown(node, waiting) == ids(waiting, committed, dead, [new])
        assert node.stop() == 0


# Downgrades


def newer_segment(wal: Path) -> str:
    """The format number of a segment, which stands before its checksum."""
    file = sorted((wal / "0").glob("*.wal"))[-1]
    data = bytearray(file.read_bytes())
    struct.pack_into("<I", data, 8, segment.VERSION + 1)
    header = segment.HEADER_BYTES
    struct.pack_into("<I", data, header - 4, zlib.crc32(data[: header - 4]))
    file.write_bytes(data)
    return f"{file}: byte 8: format version {segment.VERSION + 1} is not known to this release"


def newer_cursor(wal: Path) -> str:
    file = wal / "0" / "cursor"
    data = bytearray(file.read_bytes())
    struct.pack_into("<I", data, 8, 3)
    struct.pack_into("<I", data, len(data) - 4, zlib.crc32(data[:-4]))
    file.write_bytes(data)
    return f"{file}: byte 8: version 3 is not known to this release"


def contents(directory: Path) -> dict[str, bytes]:
    kept = {
        str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }
    return {name: data for name, data in kept.items() if not name.endswith("LOCK")}  # which names its holder


@pytest.mark.parametrize("change", [newer_segment, newer_cursor])
async def test_a_log_of_a_newer_version_is_refused_and_left_as_it_is(
    tmp_path: Path, change: Callable[[Path], str]
):
    restored(VERSIONS[-1], tmp_path)
    told = change(tmp_path / "data" / "wal")
    before = contents(tmp_path / "data" / "wal")
    async with FakeClickHouse() as fake:
        node = Node(tmp_path, clickhouse=fake.url)
        node.start()
        assert node.process is not None
        try:
            assert node.process.wait(90) == 1
        finally:
            node.kill()
        assert f"{told}, which reads" in node.log_path.read_text()
        assert "if a newer release wrote it, start that one" in node.log_path.read_text()
        assert contents(tmp_path / "data" / "wal") == before
        assert fake.rows == []


def newer_rows(file: Path) -> None:
    """As a newer release would write the segment, if its rows had other columns: every frame has a row format
    that this release does not know, and every checksum is right."""
    data = bytearray(file.read_bytes())
    (seed,) = struct.unpack_from("<I", data, segment.HEADER_BYTES - 4)
    at = segment.HEADER_BYTES
    while at < len(data):
        header = frame.parse_header(bytes(data[at:]), seed)
        assert header is not None
        struct.pack_into("<I", data, at + 8, 99)
        end = at + frame.HEADER_BYTES - 4
        struct.pack_into("<I", data, end, zlib.crc32(data[at:end], seed))
        at += header.frame_bytes
    file.write_bytes(data)


async def test_rows_of_a_newer_version_wait_and_the_node_says_so(tmp_path: Path):
    """They are found when their turn comes, so the older rows before them are committed."""
    told = restored(VERSIONS[-1], tmp_path)
    segments = sorted((tmp_path / "data" / "wal" / "0").glob("*.wal"))
    newer_rows(segments[-1])
    newer = segments[-1].read_bytes()
    async with FakeClickHouse() as fake:
        # A stop waits half of this for the rows to be committed, which they never are.
        node = Node(tmp_path, clickhouse=fake.url, settings="server.shutdown_timeout_s = 2")
        node.start()

        def why() -> str:
            status, body = node.request("GET", "/ready")
            return str(json.loads(body)["committer"].get("problem", "")) if status == 503 else ""

        try:
            await asyncio.to_thread(node.wait_until, lambda: "rows of format 99" in why(), "/ready says it")
            assert "a newer one wrote them into the log: start that one" in await asyncio.to_thread(why)
            assert 0 < len(fake.rows) < len(told["waiting"])
            assert await asyncio.to_thread(node.stop) == 0
        finally:
            node.kill()
    assert segments[-1].read_bytes() == newer
