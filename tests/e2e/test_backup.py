"""`nealytics backup`, `restore` and `backups` with a real node: a directory, a bucket, and a stream.

Each part of a test's chain begins where the last one ended, so that one node serves all.
"""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from nealytics.backup.register import Recorded, record, recorded, remove
from tests.e2e.node import Node, program
from tests.engine import ask_engine, needs_engine
from tests.fakes.s3 import KEY_ID, REGION, SECRET, FakeS3

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]


def run(
    node: Node, *arguments: str, given: bytes = b"", environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [*program(), *arguments, "--config", str(node.config)]
    environ = {**node.environ, **(environ or {})}
    done = subprocess.run(command, capture_output=True, input=given, timeout=120, env=environ)
    assert SECRET.encode() not in done.stdout[:100_000] + done.stderr
    return done


def succeed(node: Node, *arguments: str, given: bytes = b"") -> bytes:
    # Counting must not be limited by the time that a read may take.
    done = run(node, *arguments, given=given, environ={"NEALYTICS_CLICKHOUSE_QUERY_TIMEOUT_S": "0.001"})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def refused(node: Node, *arguments: str) -> str:
    done = run(node, *arguments)
    assert done.returncode == 1, done.stderr.decode()
    return done.stderr.decode()


def send(node: Node, first: int, count: int) -> list[int]:
    events = [
        {"projectId": "shop", "tenantId": "acme", "sessionId": f"s-{number}", "eventType": "view"}
        for number in range(first, first + count)
    ]
    status, _ = node.post("batch", events)
    return list(range(first, first + count)) if status == 202 else []


def stored(node: Node) -> list[int]:
    sql = "SELECT session_id FROM nealytics_core.global_events FINAL FORMAT TabSeparated"
    answer = ask_engine(node.directory / "data", sql)
    assert answer.status == 200, answer.text
    return sorted(int(line.removeprefix("s-")) for line in answer.text.splitlines())


class Load:
    """Events that a thread sends until it ends: `acknowledged`, and numbers that were tried."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self.next = 0

    @contextmanager
    def running(self, node: Node) -> Iterator[None]:
        ended = threading.Event()

        def work() -> None:
            while not ended.is_set():
                self.acknowledged += send(node, self.next, 50)
                self.next += 50
                ended.wait(0.02)

        sender = threading.Thread(target=work)
        enough = len(self.acknowledged) + 500
        sender.start()
        try:
            node.wait_until(lambda: len(self.acknowledged) > enough, "events are accepted")
            yield
        finally:
            ended.set()
            sender.join()


def prove(node: Node, load: Load, back_up: Callable[[], None], restore: Callable[[], None]) -> None:
    """Back up under load, destroy, restore: nothing that was acknowledged before the backup is lost, nothing
    is doubled, and the rest of the logs arrives."""
    with load.running(node):
        before = list(load.acknowledged)
        back_up()
    node.kill()
    shutil.rmtree(node.directory / "data")
    restore()
    node.start()
    node.wait_ready()
    node.wait_drained()
    found = stored(node)
    assert set(before) <= set(found)
    assert max(found) < load.next
    assert len(found) == len(set(found))
    assert json.loads(node.request("GET", "/ready")[1]).get("warnings", []) == []
    load.acknowledged = found


@pytest.fixture(scope="module")
def bucket() -> Iterator[FakeS3]:
    with FakeS3(page_keys_max=50) as fake:
        yield fake


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, bucket: FakeS3) -> Iterator[Node]:
    settings = f"""
        backup.s3_url = "{bucket.url}/node 1"
        backup.s3_region = "{REGION}"
        backup.s3_access_key_id = "{KEY_ID}"
    """.replace("node 1", "node-1")
    secret = {"NEALYTICS_BACKUP_S3_SECRET_ACCESS_KEY": SECRET}
    with Node(tmp_path_factory.mktemp("node"), workers=2, settings=settings, environ=secret) as node:
        node.wait_ready()
        yield node


@pytest.fixture(scope="module")
def load() -> Load:
    return Load()


def test_a_directory_under_load_loses_nothing_up_to_the_beginning_and_doubles_nothing(node: Node, load: Load):
    """With an incremental backup, both moved to another place, a changed bit, and a quarantined log."""
    places = node.directory / "backups"
    quarantined = node.directory / "data/wal/7.damaged.x"

    def back_up() -> None:
        quarantined.mkdir()
        (quarantined / "damage.json").write_text('{"log_id": "x", "unreadable": []}')
        succeed(node, "backup", str(places / "whole"))
        succeed(node, "backup", str(places / "more"), "--base", str(places / "whole"), "--keep-days", "30")
        first, second = recorded(node.directory / "data")
        assert [first.target, second.target] == [str(places / "whole"), str(places / "more")]
        assert first.keep_until_ms is None
        assert second.keep_until_ms == second.began_ms + 30 * 86_400_000
        assert second.based_on == first.id
        listed = succeed(node, "backups", "list").decode()
        assert re.search(rf"{second.id} .* incremental +{first.id} .* until 2", listed)

    def restore() -> None:
        moved = places.rename(node.directory / "moved")
        largest = max(moved.glob("whole/table/data/**/*.bin"), key=lambda path: path.stat().st_size)
        intact = largest.read_bytes()
        largest.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
        assert f"{largest} has changed" in refused(node, "restore", str(moved / "more"))
        largest.write_bytes(intact)
        succeed(node, "restore", str(moved / "more"))
        assert json.loads((quarantined / "damage.json").read_text())["log_id"] == "x"
        shutil.rmtree(quarantined)  # it has no log to send
        assert len(recorded(node.directory / "data")) == 2

    prove(node, load, back_up, restore)


def test_a_bucket_under_load_loses_nothing_up_to_the_beginning_and_doubles_nothing(
    node: Node, load: Load, bucket: FakeS3
):
    def back_up() -> None:
        bucket.failures = 2
        succeed(node, "backup", "s3:nightly/whole")
        succeed(node, "backup", "s3:more", "--base", "s3:nightly/whole")

    def restore() -> None:
        succeed(node, "restore", "s3:more")

    prove(node, load, back_up, restore)
    assert bucket.refused == []
    assert all(key.startswith("node-1/") for key in bucket.objects)
    assert "node-1/more/manifest.json" in bucket.objects
    # The secret is in no file of the node, no object, and no log.
    assert not any(SECRET.encode() in content for content in bucket.objects.values())
    files = (path for path in node.directory.rglob("*") if path.is_file())
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_stream_under_load_loses_nothing_up_to_the_beginning_and_doubles_nothing(node: Node, load: Load):
    archive = b""

    def back_up() -> None:
        nonlocal archive
        archive = succeed(node, "backup", "-", "--keep-days", "1", "--label", "tape 7")
        entry = recorded(node.directory / "data")[-1]
        assert (entry.target, entry.label) == ("standard output", "tape 7")
        assert not list((node.directory / "data").glob("backup-tmp-*"))

    def restore() -> None:
        said = run(node, "backups", "verify", "-", given=archive).stderr.decode()
        assert "standard input is intact: backup " in said
        path = node.directory / "node1.tar"
        path.write_bytes(archive)
        succeed(node, "backups", "verify", str(path))
        succeed(node, "restore", "-", given=archive)
        # The register in the archive was written when the backup began.
        assert recorded(node.directory / "data")[-1].ended_ms is not None

    prove(node, load, back_up, restore)


def test_a_rotation_bases_backups_on_a_whole_one_and_deletes_what_has_expired(node: Node):
    daily = node.directory / "daily"
    rotate = ("backup", str(daily), "--rotate", "--keep-days", "30")
    succeed(node, *rotate)
    succeed(node, *rotate)
    whole, more = recorded(node.directory / "data")[-2:]
    assert more.based_on == whole.id
    assert whole.keep_until_ms == whole.began_ms + 37 * 86_400_000
    # A damaged backup is no base, so this one is whole.
    part = next((daily / whole.id).rglob("*.sql"))
    part.rename(part.with_suffix(".away"))
    succeed(node, *rotate)
    third = recorded(node.directory / "data")[-1]
    assert third.based_on is None
    part.with_suffix(".away").rename(part)
    shutil.rmtree(daily / third.id)
    remove(node.directory / "data", third.id)
    # Names that say that they are years old, of backups that the register still has.
    for path in daily.iterdir():
        path.rename(path.with_name(f"1{path.name[1:]}"))
        remove(node.directory / "data", path.name)
        record(node.directory / "data", Recorded(f"1{path.name[1:]}", str(path), 1))
    # While one manifest cannot be read, nothing is deleted.
    unreadable = daily / f"1{whole.id[1:]}" / "manifest.json"
    unreadable.rename(unreadable.with_suffix(".away"))
    unreadable.mkdir()
    assert f"{unreadable} cannot be read" in refused(node, *rotate)
    assert len(list(daily.iterdir())) == 3
    unreadable.rmdir()
    unreadable.with_suffix(".away").rename(unreadable)
    # A backup elsewhere needs the whole one, which expired.
    needed = unreadable.parent.name
    record(node.directory / "data", Recorded("x", "/elsewhere", 2, based_on=needed))
    succeed(node, *rotate)
    new, last = recorded(node.directory / "data")[-2:]
    assert new.based_on is None
    assert sorted(path.name for path in daily.iterdir()) == [needed, new.id, last.id]
    assert [entry.id for entry in recorded(node.directory / "data") if entry.began_ms == 1] == [needed]
