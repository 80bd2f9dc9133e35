"""What ClickHouse syncs of the table, seen by strace at the real engine: every file of every part, before the
part takes the place of those that it replaces.

tests/e2e/test_power_loss.py shows what is lost otherwise. This one names the file.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import engine_dir, sync_metadata
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.strace import needs_strace

pytestmark = [needs_engine, pytest.mark.engine, needs_strace]

TABLE = "nealytics_core.global_events"
CALLS = "openat,fsync,fdatasync,rename,renameat,renameat2"

_OPENED = re.compile(r'openat\([^"]*"([^"]+)", (\S*O_CREAT\S*)')
_SYNCED = re.compile(r"(?:fsync|fdatasync)\(\d+<([^>]+)>")
_RENAMED = re.compile(r'rename(?:at2?)?\([^"]*"([^"]+)", [^"]*"([^"]+)"')
_PART = re.compile(r"/(\d{6}_\d+_\d+_\d+(?:_\d+)?)/?$")
# A mark beside a part's data, which says that a column of the part's own is to be computed anew.
_NO_DATA = frozenset({"invalidated_system_columns.txt"})


@dataclass
class Trace:
    """What a traced engine did to files, call by call."""

    path: Path
    parts: dict[str, list[str]] = field(default_factory=dict)  # name → its files that were not synced
    unsynced_directories: list[str] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)  # files that were put in another's place
    unsynced: list[str] = field(default_factory=list)  # of those

    def read(self) -> "Trace":
        written: set[str] = set()
        synced: set[str] = set()
        awaited: dict[str, str] = {}  # a directory that has to be synced after a rename → the part's name
        for line in self.path.read_text(errors="replace").splitlines():
            if found := _OPENED.search(line):
                written.add(found[1])
                synced.discard(found[1])
            elif found := _SYNCED.search(line):
                synced.add(found[1])
                awaited.pop(found[1], None)
            elif found := _RENAMED.search(line):
                source, target = found[1].rstrip("/"), found[2].rstrip("/")
                files = {path for path in written if path.startswith(f"{source}/")}
                if part := _PART.search(target):
                    missing = files - synced
                    self.parts[part[1]] = sorted(
                        name for path in missing if (name := Path(path).name) not in _NO_DATA
                    )
                    awaited[str(Path(target).parent)] = part[1]
                elif source in written and target.endswith(".sql"):
                    self.replaced.add(Path(target).name)
                    if source not in synced:
                        self.unsynced.append(target)
                written -= files
        self.unsynced_directories = sorted(awaited.values())
        return self


@asynccontextmanager
async def traced(directory: Path) -> AsyncIterator[tuple[ClickHouseClient, Trace]]:
    """A client of a traced engine, and what the trace will say once the engine has stopped."""
    engine = start_engine(directory, retention_days=0)
    trace = Trace(directory / "trace")
    options = ["-f", "-y", "-qq", "-s", "4096", "-e", f"trace={CALLS}", "-e", "signal=none"]
    engine.command = ["strace", *options, "-o", str(trace.path), *engine.command]
    with engine:
        async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:
            await schema.apply(client, engine.config.clickhouse)
            yield client, trace
        _end(engine)


def _end(engine: RunningEngine) -> None:
    """SIGTERM to the engine; strace, its parent, would detach from it."""
    assert engine.process is not None
    children = Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), 15)
    engine.process.wait(60)


async def insert(client: ClickHouseClient, rows: int = 1_000) -> None:
    await client.command(
        f"INSERT INTO {TABLE} (event_id, project_id, tenant_id, session_id, event_type, metadata_json, "
        "timestamp) SELECT generateUUIDv4(), 'p', 't', 's', 'v', hex(rand64()), "
        f"toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + number FROM numbers({rows})"
    )


# Of wide parts, mutations keep files by hard links.
@pytest.mark.parametrize("wide_from_bytes", [1, 10_485_760], ids=["wide", "compact"])
async def test_every_part_is_synced_before_it_replaces_others(tmp_path: Path, wide_from_bytes: int):
    async with traced(tmp_path) as (client, trace):
        await client.command(
            f"ALTER TABLE {TABLE} MODIFY SETTING min_bytes_for_wide_part = {wide_from_bytes}"
        )
        await insert(client)
        await insert(client)
        await client.command(f"OPTIMIZE TABLE {TABLE} FINAL")
        alter, wait = f"ALTER TABLE {TABLE}", "SETTINGS mutations_sync = 2"
        await client.command(f"{alter} UPDATE metadata_json = '' WHERE 1 {wait}")
        await client.command(f"{alter} DELETE WHERE metadata_json != '' {wait}")
        await client.command(f"DELETE FROM {TABLE} WHERE toUnixTimestamp64Milli(timestamp) % 7000 = 0")
        await client.command(f"{alter} ADD INDEX extra item_id TYPE bloom_filter GRANULARITY 1")
        await client.command(f"{alter} MATERIALIZE INDEX extra {wait}")
        await client.command(f"{alter} MODIFY TTL toDateTime(timestamp) + INTERVAL 20 YEAR {wait}")
        await insert(client)
        await client.command(f"OPTIMIZE TABLE {TABLE} FINAL")
        await client.command(f"{alter} DETACH PARTITION 202601")
        await client.command(f"{alter} ATTACH PARTITION 202601")
        await client.command(f"{alter} DROP PARTITION 202601")
    seen = trace.read()
    # 3 inserts, 2 merges, 5 mutations at least, what stands for a detached and for a dropped partition.
    assert len(seen.parts) >= 12, seen.parts
    assert {part: files for part, files in seen.parts.items() if files} == {}
    assert seen.unsynced_directories == []
    assert {"nealytics_core.sql", "global_events.sql"} <= seen.replaced
    assert seen.unsynced == []


async def test_a_merged_part_is_not_synced_without_the_settings(tmp_path: Path):
    """That the test above can fail."""
    async with traced(tmp_path) as (client, trace):
        await client.command(
            f"ALTER TABLE {TABLE} MODIFY SETTING min_rows_to_fsync_after_merge = 0, "
            "min_compressed_bytes_to_fsync_after_merge = 0"
        )
        await insert(client, rows=100)  # so that the merged part is compact
        await insert(client, rows=100)
        await client.command(f"OPTIMIZE TABLE {TABLE} FINAL")
    parts = trace.read().parts
    assert "data.bin" in parts["202601_1_2_2"] or "data.bin" in parts["202601_1_2_1"]
    assert parts["202601_1_1_0" if "202601_1_1_0" in parts else "202601_1_1_1"] == []


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("metadata"), retention_days=0) as engine:
        yield engine


async def test_the_directories_that_describe_the_table_are_synced(engine: RunningEngine, tmp_path: Path):
    """ClickHouse syncs the files in them and not the names of these files."""
    async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:
        await schema.apply(client, engine.config.clickhouse)
    data_dir, trace = engine.config.server.data_dir, tmp_path / "trace"
    code = (
        "from pathlib import Path; from nealytics.clickhouse.embedded import sync_metadata; "
        f"sync_metadata(Path({str(data_dir)!r}))"
    )
    strace = ["strace", "-f", "-y", "-qq", "-e", "trace=fsync", "-o", str(trace)]
    await asyncio.to_thread(subprocess.run, [*strace, sys.executable, "-c", code], check=True)
    synced = {Path(path) for path in _SYNCED.findall(trace.read_text())}
    top = engine_dir(data_dir)
    (description,) = top.glob("store/*/*/global_events.sql")
    (part_of,) = {path.parent for path in top.glob("store/*/*/format_version.txt")}
    wanted = {top, top / "metadata", top / "store"}
    for directory in (description.parent, part_of):
        wanted |= {directory, directory.parent}
    assert wanted <= synced
    sync_metadata(tmp_path)  # where no engine was yet, there is nothing to sync
