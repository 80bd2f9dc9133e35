"""R2 and R5: SIGKILL, or EIO, exactly at the n-th system call of the log; strace does it to a real worker.

ClickHouse is the fake here, since that knows each row it was given: "once" means once in the table, not only
through the API.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest

from nealytics.clickhouse.rowbinary import ROW_FORMAT, decode_row
from tests.e2e.node import KEY, Node, descendants, program
from tests.fakes.clickhouse import FakeClickHouse
from tests.strace import needs_strace
from tests.waiting import until_async

CLIENTS = 4
# Small segments that are not kept: so that a second of load rotates and deletes too.
SETTINGS = """
wal.segment_bytes_max = 65536
wal.bytes_max = 100000000
wal.keep_hours = 0
commit.flush_interval_s = 0.05
"""


# Only ends a test that hangs: under strace, on a busy machine, a start alone may take half a minute.
WITHIN_S = 240

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    needs_strace,
]


class Load:
    """Clients that write down which events they sent and which were acknowledged."""

    def __init__(self) -> None:
        self.sent: set[UUID] = set()
        self.acknowledged: set[UUID] = set()
        self.statuses: set[int] = set()

    @asynccontextmanager
    async def on(self, node: Node) -> AsyncIterator[None]:
        clients = [asyncio.create_task(self._client(node)) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)

    async def _client(self, node: Node) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                ids = [uuid4() for _ in range(3)]
                self.sent.update(ids)
                events = [
                    {
                        "projectId": "shop", "tenantId": "acme", "sessionId": "s", "eventType": "view",
                        "eventId": str(id), "timestamp": 1_700_000_000_000, "metadataJson": "x" * 500,
                    }
                    for id in ids
                ]  # fmt: skip
                url = f"{node.url}/api/v1/telemetry/batch"
                try:
                    async with session.post(url, json=events, headers={"X-Project-Key": KEY}) as answer:
                        await answer.read()
                        self.statuses.add(answer.status)
                        if answer.status == 202:
                            self.acknowledged.update(ids)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    await asyncio.sleep(0.02)


def stored(fake: FakeClickHouse) -> list[UUID]:
    return [UUID(str(decode_row(row, ROW_FORMAT)["event_id"])) for row in fake.rows]


async def every_acknowledged_event_is_there_once(fake: FakeClickHouse, load: Load) -> None:
    await until_async(
        lambda: load.acknowledged <= set(stored(fake)),
        timeout_s=WITHIN_S,
        pause=lambda: asyncio.sleep(0.05),
    )
    found = stored(fake)
    assert len(found) == len(set(found))
    assert set(found) <= load.sent
    assert fake.token_conflicts == []


@pytest.mark.parametrize("nth", [2, 5, 11])
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "rename", "write"])
async def test_a_kill_at_any_call_loses_and_doubles_nothing(tmp_path: Path, call: str, nth: int):
    log = tmp_path / "data" / "wal" / "0"
    names = [
        log / name for name in ("", "00000000000000000001.wal", "00000000000000000001.wal.tmp", "cursor.tmp")
    ]
    paths = [f"--trace-path={path}" for path in names] if call == "write" else []
    async with FakeClickHouse() as fake:
        node, load = Node(tmp_path, clickhouse=fake.url, settings=SETTINGS), Load()
        # Every worker that the supervisor starts is killed again, at its own n-th call.
        inject = [f"--trace={call}", f"--inject={call}:signal=KILL:when={nth}"]
        traced = ["strace", "-f", "-o", str(tmp_path / "strace"), *paths, *inject]
        with node.log_path.open("ab") as output:
            node.process = subprocess.Popen(  # noqa: ASYNC220
                [*traced, *program(), "serve", "--config", str(node.config)], stdout=output, stderr=output
            )
        try:
            async with load.on(node):
                await until_async(
                    lambda: "killed by SIGKILL" in node.log_path.read_text(), timeout_s=WITHIN_S
                )
                await asyncio.sleep(0.5)
        finally:
            # strace ends with the last of them; without it they would live on.
            for pid in descendants(node.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.process.wait(60)
        again = Node(tmp_path, clickhouse=fake.url, settings=SETTINGS + "commit.batch_rows_max = 7")
        with again:
            await asyncio.to_thread(again.wait_ready)
            await every_acknowledged_event_is_there_once(fake, load)
            assert await asyncio.to_thread(again.stop) == 0


async def test_nothing_is_acknowledged_or_synced_after_a_sync_that_failed(tmp_path: Path):
    async with FakeClickHouse() as fake:
        load = Load()
        with Node(tmp_path, clickhouse=fake.url, settings=SETTINGS) as node:
            await asyncio.to_thread(node.wait_ready)
            (worker,) = node.pids("worker")
            trace = tmp_path / "strace"
            inject = ["--trace=fdatasync", "--inject=fdatasync:error=EIO:when=4+"]
            strace = subprocess.Popen(  # noqa: ASYNC220
                ["strace", "-f", "-y", "-p", str(worker), "-o", str(trace), *inject], stderr=subprocess.PIPE
            )
            assert strace.stderr is not None
            assert b"attached" in strace.stderr.readline()
            async with load.on(node):
                await until_async(lambda: "exit status 74" in node.log_path.read_text(), timeout_s=WITHIN_S)
                await asyncio.to_thread(node.wait_ready)
                before = len(load.acknowledged)
                await until_async(lambda: len(load.acknowledged) > before, timeout_s=WITHIN_S)
            strace.wait(60)
            assert trace.read_text().count("(INJECTED)") == 1
            # The cursor is a file of its own, and another thread may be syncing it.
            syncs = [line for line in trace.read_text().splitlines() if "fdatasync" in line]
            failed = next(i for i, line in enumerate(syncs) if "INJECTED" in line)
            assert [line for line in syncs[failed + 1 :] if ".wal>" in line] == []
            assert 503 in load.statuses
            await every_acknowledged_event_is_there_once(fake, load)


async def test_a_last_segment_that_cannot_be_read_at_a_start_is_quarantined(tmp_path: Path):
    """The disk answers EIO. The worker restarted for ever before, and accepted nothing."""
    log = tmp_path / "data" / "wal" / "0"
    async with FakeClickHouse() as fake:
        load = Load()
        with Node(tmp_path, clickhouse=fake.url, settings=SETTINGS) as node:
            await asyncio.to_thread(node.wait_ready)
            async with load.on(node):
                await until_async(
                    lambda: len(list(log.glob("*.wal"))) >= 2 and len(load.acknowledged) >= 300,
                    timeout_s=WITHIN_S,
                )
            node.kill()
        trace = tmp_path / "strace"
        paths = [f"--trace-path={path}" for path in log.glob("*.wal")]
        inject = ["--trace=pread64", "--inject=pread64:error=EIO"]
        traced = ["strace", "-f", "-o", str(trace), *paths, *inject]
        node = Node(tmp_path, clickhouse=fake.url, settings=SETTINGS)
        with node.log_path.open("ab") as output:
            node.process = subprocess.Popen(  # noqa: ASYNC220
                [*traced, *program(), "serve", "--config", str(node.config)], stdout=output, stderr=output
            )
        try:
            await asyncio.to_thread(node.wait_ready)
            assert "(INJECTED)" in trace.read_text()
            assert "exit status" not in node.log_path.read_text()
            assert list(log.parent.glob("0.damaged.*"))
            await every_acknowledged_event_is_there_once(fake, load)
        finally:
            for pid in descendants(node.process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.process.wait(60)
