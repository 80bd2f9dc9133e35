"""docs/recovery.md: what happened, what is lost, what to type. Each row of its table is a test here."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from nealytics.wal import Range, mark, segment
from tests.e2e.node import Node, program
from tests.engine import ask_engine, needs_engine

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

MONTHS = ("2026-01", "2026-03")


def send(node: Node, first: int, count: int, *, waits: bool = True) -> None:
    """Events `first` … in two months, acknowledged and, if it waits, in the table."""
    events = [
        {
            "projectId": "shop", "tenantId": "acme", "sessionId": f"s-{number}", "eventType": "view",
            "timestamp": f"{MONTHS[number % 2]}-05T10:00:{number % 60:02}Z",
        }
        for number in range(first, first + count)
    ]  # fmt: skip
    status, body = node.post("batch?wait=true" if waits else "batch", events)
    assert status == (200 if waits else 202), body


def numbers(node: Node) -> list[int]:
    """Of all rows in the table, copies included."""
    answer = ask_engine(
        node.directory / "data",
        "SELECT session_id FROM nealytics_core.global_events SETTINGS final = 0 FORMAT TabSeparated",
    )
    assert answer.status == 200, answer.text
    return sorted(int(line.removeprefix("s-")) for line in answer.text.splitlines())


def warnings_of(node: Node) -> str:
    return "\n".join(json.loads(node.request("GET", "/ready")[1]).get("warnings", []))


def waiting(node: Node) -> int:
    return int(json.loads(node.request("GET", "/ready")[1])["waitingEvents"])


def wait_checked(node: Node, expected: list[int]) -> None:
    node.wait_ready()
    node.wait_until(lambda: numbers(node) == expected, "the table has every event")
    node.wait_until(lambda: node.metric("nealytics_table_incomplete") == 0, "the check has ended")


def fill(node: Node, count: int) -> None:
    """Its first events, in a table that the log knows: a copy of the files has what a node has after its
    start."""
    node.wait_ready()
    send(node, 0, count)
    node.wait_until(lambda: (node.directory / "data/wal/0/table").exists(), "the log knows its table")


def command(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program(), *arguments, "--config", str(node.config)], capture_output=True, text=True, timeout=120
    )


def said_in_log(node: Node, text: str) -> bool:
    return text in node.log_path.read_text()


def test_a_deleted_clickhouse_directory_is_filled_again_from_the_log(tmp_path: Path):
    with Node(tmp_path) as node:
        fill(node, 500)
        assert node.stop() == 0
        shutil.rmtree(tmp_path / "data/clickhouse")
        node.start()
        wait_checked(node, list(range(500)))
        assert said_in_log(node, "the table is not the one that received its events")
        assert node.metric("nealytics_events_resent_total") == 500
        assert warnings_of(node) == ""
        send(node, 500, 10)
        assert node.stop() == 0
        node.start()
        wait_checked(node, list(range(510)))
        assert node.metric("nealytics_events_resent_total") == 0


def test_an_older_copy_of_the_table_is_completed_from_the_log(tmp_path: Path):
    with Node(tmp_path) as node:
        fill(node, 300)
        assert node.stop() == 0
        shutil.copytree(tmp_path / "data/clickhouse", tmp_path / "backup", symlinks=True)
        node.start()
        node.wait_ready()
        send(node, 300, 300)
        assert node.stop() == 0
        shutil.rmtree(tmp_path / "data/clickhouse")
        (tmp_path / "backup").rename(tmp_path / "data/clickhouse")
        node.start()
        wait_checked(node, list(range(600)))
        assert said_in_log(node, "300 of its newest 600 events")


def test_the_command_completes_the_table_of_a_stopped_and_of_a_running_node(tmp_path: Path):
    with Node(tmp_path) as node:
        fill(node, 200)
        # As after a loss that nothing announces. DROP PARTITION is not remembered as a deletion.
        drop = f"ALTER TABLE nealytics_core.global_events DROP PARTITION {MONTHS[0].replace('-', '')}"
        assert ask_engine(tmp_path / "data", drop).status == 200
        assert len(numbers(node)) == 100
        checked = command(node, "wal", "reconcile", "--check")
        assert checked.returncode == 1, checked
        assert "200 events compared, 100 missing, 0 sent" in checked.stdout
        done = command(node, "wal", "reconcile")
        assert done.returncode == 0, done
        assert "100 missing, 100 sent" in done.stdout
        assert numbers(node) == list(range(200))
        assert ask_engine(tmp_path / "data", drop).status == 200
        assert node.stop() == 0
        done = command(node, "wal", "reconcile", "--json")
        assert done.returncode == 0, done
        assert json.loads(done.stdout)["sent"] == 100
        done = command(node, "wal", "reconcile", "--json")
        assert (done.returncode, json.loads(done.stdout)["missing"]) == (0, 0)
        node.start()
        wait_checked(node, list(range(200)))


def test_events_that_a_person_deleted_stay_deleted_until_that_is_decided(tmp_path: Path):
    with Node(tmp_path) as node:
        fill(node, 100)
        delete = (
            "ALTER TABLE nealytics_core.global_events DELETE WHERE session_id = 's-99' "
            "SETTINGS mutations_sync = 2"
        )
        assert ask_engine(tmp_path / "data", delete).status == 200
        assert node.stop() == 0
        node.start()
        node.wait_ready()
        node.wait_until(lambda: "--accept" in warnings_of(node), "the node asks")
        assert numbers(node) == list(range(99))
        assert node.metric("nealytics_table_incomplete") == 1
        assert command(node, "wal", "reconcile", "--accept").returncode == 0
        known = mark.load(tmp_path / "data/wal/0")
        assert known is not None
        assert known.accepted == (Range(100, 100),)
        node.wait_until(lambda: not warnings_of(node), "the warning ends")
        assert node.metric("nealytics_table_incomplete") == 0
        assert numbers(node) == list(range(99))
        done = command(node, "wal", "reconcile", "--include-deleted")
        assert done.returncode == 0, done
        assert numbers(node) == list(range(100))


def test_events_of_a_part_that_was_broken_at_the_start_come_back_from_the_log(tmp_path: Path):
    with Node(tmp_path) as node:
        fill(node, 200)
        assert node.stop() == 0
        (part,) = (tmp_path / "data/clickhouse/store").glob(f"*/*/{MONTHS[0].replace('-', '')}_*")
        with (part / "data.bin").open("r+b") as file:
            file.truncate(100)
        node.start()
        wait_checked(node, list(range(200)))
        assert said_in_log(node, "clickhouse detached damaged parts")


def test_without_a_segment_of_its_log_a_node_and_the_command_send_the_rest(tmp_path: Path):
    # All events wait in the log, in several segments.
    settings = "wal.segment_bytes_max = 65536\ncommit.flush_interval_s = 3600"
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    other = Node(tmp_path / "two")
    with Node(tmp_path / "one", settings=settings) as node:
        node.wait_ready()
        for number in range(0, 6_000, 100):
            send(node, number, 100, waits=False)
        node.kill()
        log = node.directory / "data/wal/0"
        files = segments(node)
        first, following = sorted(files)[1:3]
        files[first].unlink()
        # The event of LSN 1 is number 0.
        rest = [*range(first - 1), *range(following - 1, 6_000)]

        salvage = [*program(), "wal", "salvage", str(log), "--to", str(other.directory / "data/wal/9")]
        (other.directory / "data/wal").mkdir(parents=True)
        done = subprocess.run(salvage, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done
        assert f"{following - first} events" in done.stderr, done.stderr
        with other:
            other.wait_ready()
            other.wait_until(lambda: numbers(other) == rest, "the events of the new log arrive")

        node.start()
        node.wait_ready()
        node.wait_until(lambda: numbers(node) == rest, "the events of the other segments arrive")
        lost = f"{following - first} events of this damaged log cannot be read"
        node.wait_until(lambda: lost in command(node, "status").stdout, "the status names what is lost")


def test_events_of_segments_that_were_deleted_for_room_are_in_the_backup(tmp_path: Path):
    settings = """
        wal.segment_bytes_max = 65536
        wal.bytes_max = 400000
        wal.keep_hours = 10
        ingest.body_bytes_max = 65536
    """
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with Node(tmp_path / "one", settings=settings) as node:
        fill(node, 400)
        done = command(node, "backup", str(tmp_path / "backup"))
        assert done.returncode == 0, done
        sent = 400
        while (kept := min(segments(node)) - 1) < 600:  # events of deleted segments
            send(node, sent, 200)
            sent += 200
        assert node.stop() == 0
        shutil.rmtree(tmp_path / "one/data/clickhouse")
        node.start()
        wait_checked(node, list(range(kept, sent)))
        assert f"The log no longer has its first {kept:,} events" in warnings_of(node)
        assert "restore a backup" in warnings_of(node)
        assert node.stop() == 0

        restored = Node(tmp_path / "two")
        done = command(restored, "restore", str(tmp_path / "backup"))
        assert done.returncode == 0, done
        done = command(restored, "wal", "reconcile", str(tmp_path / "one/data/wal"))
        assert f"not compared: its first {kept:,} events" in done.stdout, done
        with restored:
            restored.wait_ready()
            assert numbers(restored) == [*range(400), *range(kept, sent)]


def test_verify_names_the_file_of_a_backup_whose_bytes_changed(tmp_path: Path):
    with Node(tmp_path) as node:
        fill(node, 100)
        for name, base in (("sunday", ()), ("monday", ("--base", str(tmp_path / "sunday")))):
            done = command(node, "backup", str(tmp_path / name), *base)
            assert done.returncode == 0, done
        assert command(node, "backups", "verify", str(tmp_path / "monday")).returncode == 0
        changed = max(
            (tmp_path / "sunday").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
        )
        data = changed.read_bytes()
        changed.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        for name in ("sunday", "monday"):  # also as the base of another one
            done = command(node, "backups", "verify", str(tmp_path / name))
            assert done.returncode == 1, done
            assert f"{changed.relative_to(tmp_path)} has changed" in done.stdout + done.stderr, done
        shutil.rmtree(tmp_path / "sunday")
        assert " DELETED " in command(node, "backups", "list").stdout
        done = command(node, "backups", "verify", str(tmp_path / "monday"))
        assert done.returncode == 1, done


def segments(node: Node) -> dict[int, Path]:
    """The files of the log's segments, by their first LSN."""
    files = (node.directory / "data/wal/0").iterdir()
    return {lsn: path for path in files if (lsn := segment.first_lsn_of(path.name)) is not None}


def test_a_copy_of_a_running_node_is_recognised(tmp_path: Path):
    copied = tmp_path / "copy"
    (tmp_path / "original").mkdir()
    with Node(tmp_path / "original") as node:
        fill(node, 100)
        copied.mkdir()
        twin = Node(copied)
        # The table first, so that the log has rows that the copy of the table lacks.
        (copied / "data").mkdir()
        subprocess.run(["cp", "-a", node.directory / "data/clickhouse", copied / "data/"], check=True)
        send(node, 100, 100)
        # Otherwise the copied log may not know that the table has them, and just sends them.
        node.wait_until(lambda: waiting(node) == 0, "the log knows that the table has its events")
        # Temporary files of the running node may vanish meanwhile, of which cp complains.
        subprocess.run(["cp", "-a", node.directory / "data/wal", copied / "data/"], check=False)
        with twin:
            wait_checked(twin, list(range(200)))
            assert "events that the original accepted after the copy was made" in warnings_of(twin)
        assert numbers(node) == list(range(200))
        # The original is no copy.
        assert warnings_of(node) == ""
