import asyncio
import base64
import json
import logging
import resource
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.rowbinary import decode_row
from nealytics.config import IngestConfig
from nealytics.errors import LogBroken, LogFull, Refused
from nealytics.ingest import takeover
from nealytics.ingest.admission import Admission
from nealytics.ingest.takeover import TakenOver, take_over
from nealytics.observe.metrics import Metrics

NOW_MS = 1_894_708_800_000  # 2030-01-15T12:00:00Z
RETENTION_DAYS = 90


class MemoryLog:
    """What admission needs of a log. `fail` is raised, and forgotten, by the append whose turn it is."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.appends: list[int] = []
        self.fail: dict[int, Exception] = {}

    def append(self, rows, row_format) -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        self.appends.append(len(rows))
        if error := self.fail.pop(len(self.appends), None):
            future.set_exception(error)
        else:
            self.rows.extend(rows)
            future.set_result(len(self.rows))
        return future

    @property
    def events(self) -> list[dict[str, object]]:
        return [decode_row(row, 1) for row in self.rows]


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def admission(log) -> Admission:
    return Admission(log, Metrics.private(), IngestConfig(), RETENTION_DAYS, clock_ms=lambda: NOW_MS)


def line(
    n: int,
    *,
    timestamp: str = "2030-01-15T15:04:05.1234567Z",
    session: str = "session-1",
    metadata: str = "{}",
    user: str | None = None,
    item: str | None = None,
) -> bytes:
    """One line as System.Text.Json writes a GlobalTelemetryPayload: this order, nulls left out, no spaces."""
    parts = [
        f'"eventId":"{n:08x}-0000-4000-8000-000000000000"',
        '"projectId":"my-app"',
        '"tenantId":"acme"',
        f'"sessionId":"{session}"',
    ]
    if user is not None:
        parts.append(f'"userId":"{user}"')
    parts.append('"eventType":"page_view"')
    if item is not None:
        parts.append(f'"itemId":"{item}"')
    parts += [f'"metadataJson":"{metadata}"', f'"timestamp":"{timestamp}"']
    return ("{" + ",".join(parts) + "}\n").encode("ascii")


async def test_metadata_beyond_our_own_limit_was_acknowledged_and_is_taken_over(tmp_path, log, admission):
    large = "x" * (IngestConfig().metadata_bytes_max + 1)
    (tmp_path / "telemetry_wal.log").write_bytes(line(1, metadata=large) + line(2))
    assert await take_over(tmp_path, admission) == TakenOver(2, 0)
    assert [len(event["metadata_json"]) for event in log.events] == [len(large), 2]


def rejections(path: Path) -> list[dict[str, Any]]:
    return [json.loads(entry) for entry in path.read_bytes().splitlines()]


async def test_nothing_there_is_nothing_to_do(tmp_path, log, admission):
    assert await take_over(tmp_path, admission) == TakenOver(0, 0)
    assert list(tmp_path.iterdir()) == []


async def test_the_empty_log_of_a_clean_stop_is_left_alone(tmp_path, log, admission):
    (tmp_path / "telemetry_wal.log").touch()
    assert await take_over(tmp_path, admission) == TakenOver(0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["telemetry_wal.log"]


async def test_events_keep_their_identity_and_their_content(tmp_path, log, admission):
    (tmp_path / "telemetry_wal.log").write_bytes(
        line(1, metadata=r"{\u0022plan\u0022:\u0022caf\u00e9 \u002B 1\u0022}", user="u-1", item="")
    )
    assert await take_over(tmp_path, admission) == TakenOver(1, 0)
    (event,) = log.events
    assert str(event.pop("event_id")) == "00000001-0000-4000-8000-000000000000"
    assert event == {
        "project_id": "my-app",
        "tenant_id": "acme",
        "session_id": "session-1",
        "user_id": "u-1",
        "event_type": "page_view",
        "item_id": None,
        "metadata_json": '{"plan":"café + 1"}',
        "timestamp": NOW_MS + 11_045_123,  # 15:04:05.123; the C# engine's driver cuts the rest off as well
        "received_at": NOW_MS,
    }


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2030-01-15T15:04:05.1234567Z", 1_894_719_845_123),
        ("2030-01-15T15:04:05.9999999Z", 1_894_719_845_999),
        ("2030-01-15T15:04:05.12Z", 1_894_719_845_120),
        ("2030-01-15T15:04:05Z", 1_894_719_845_000),
        ("2030-01-15T15:04:05.1234567", 1_894_719_845_123),  # DateTimeKind.Unspecified
        ("2030-01-15T17:04:05.1234567+02:00", 1_894_719_845_123),  # DateTimeKind.Local
    ],
)
async def test_timestamps_as_dotnet_writes_them(tmp_path, log, admission, written, ms):
    (tmp_path / "telemetry_wal.log").write_bytes(line(1, timestamp=written))
    assert await take_over(tmp_path, admission) == TakenOver(1, 0)
    assert log.events[0]["timestamp"] == ms


async def test_the_sealed_file_comes_first_and_both_are_renamed(tmp_path, log, admission):
    (tmp_path / "telemetry_wal.log").write_bytes(line(3) + line(4))
    (tmp_path / "telemetry_wal.replay").write_bytes(line(1) + line(2))
    assert await take_over(tmp_path, admission) == TakenOver(4, 0)
    assert [event["event_id"].int >> 96 for event in log.events] == [1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "telemetry_wal.log.imported",
        "telemetry_wal.replay.imported",
    ]


async def test_a_second_swap_of_engines_overwrites_nothing(tmp_path, log, admission):
    for _ in range(3):
        (tmp_path / "telemetry_wal.log").write_bytes(line(1) + b"torn\n")
        await take_over(tmp_path, admission)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "telemetry_wal.log.imported",
        "telemetry_wal.log.imported.1",
        "telemetry_wal.log.imported.2",
        "telemetry_wal.log.rejected",
        "telemetry_wal.log.rejected.1",
        "telemetry_wal.log.rejected.2",
    ]


async def test_a_torn_last_line_is_kept_with_its_reason(tmp_path, log, admission, caplog):
    (tmp_path / "telemetry_wal.log").write_bytes(line(1) + line(2)[:70])
    assert await take_over(tmp_path, admission) == TakenOver(1, 1)
    (entry,) = rejections(tmp_path / "telemetry_wal.log.rejected")
    assert entry["line"] == 2
    assert entry["code"] == "invalid_json"
    assert entry["text"] == line(2)[:70].decode()
    assert "1 lines" in caplog.text
    assert "telemetry_wal.log.rejected" in caplog.text


async def test_a_whole_last_line_without_its_newline_is_taken(tmp_path, log, admission):
    (tmp_path / "telemetry_wal.log").write_bytes(line(1) + line(2).rstrip(b"\n"))
    assert await take_over(tmp_path, admission) == TakenOver(2, 0)


async def test_an_event_behind_a_torn_one_on_the_same_line_is_taken(tmp_path, log, admission):
    """At its start the C# engine appends the log to what it had sealed; it then skips both events."""
    (tmp_path / "telemetry_wal.replay").write_bytes(line(1) + line(2)[:70] + line(3) + line(4))
    assert await take_over(tmp_path, admission) == TakenOver(3, 1)
    assert [event["event_id"].int >> 96 for event in log.events] == [1, 3, 4]
    (entry,) = rejections(tmp_path / "telemetry_wal.replay.rejected")
    assert entry["text"] == line(2)[:70].decode()


async def test_zeros_that_a_power_cut_left_hide_nothing_behind_them(tmp_path, log, admission):
    (tmp_path / "telemetry_wal.log").write_bytes(line(1) + b"\0" * 5000 + line(2))
    assert await take_over(tmp_path, admission) == TakenOver(2, 1)


async def test_the_start_of_a_line_inside_of_metadata_does_not_tear_the_event(tmp_path, log, admission):
    text = line(1).replace(b'"metadataJson":"{}"', b'"metadata":{"eventId":"x"}')
    (tmp_path / "telemetry_wal.log").write_bytes(text)
    assert await take_over(tmp_path, admission) == TakenOver(1, 0)


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        (b"not json\n", "invalid_json", "JSON"),
        (b"[]\n", "invalid_event", "object"),
        (line(1).replace(b"acme", b""), "invalid_event", "tenantId"),
        (line(1).replace(b"acme", b"\xff"), "invalid_json", "UTF-8"),
        (line(1).replace(b'"timestamp"', b'"other"'), "invalid_event", "timestamp is missing"),
        (line(1).replace(b'"eventId"', b'"other"'), "invalid_event", "eventId is missing"),
        (line(1, timestamp="0001-01-01T00:00:00"), "outside_time_window", "0001-01-01"),
        (line(1, timestamp="2029-06-01T00:00:00Z"), "outside_time_window", "2029-06-01"),
        (line(1, timestamp="2031-01-01T00:00:00Z"), "outside_time_window", "2031-01-01"),
        (line(1, session="s" * 257), "invalid_event", "257 characters"),
    ],
)
async def test_what_cannot_be_taken_is_kept_with_its_reason(tmp_path, log, admission, text, code, reason):
    (tmp_path / "telemetry_wal.log").write_bytes(line(2) + text + b"\n" + line(3))
    assert await take_over(tmp_path, admission) == TakenOver(2, 1)
    (entry,) = rejections(tmp_path / "telemetry_wal.log.rejected")
    assert (entry["line"], entry["code"]) == (2, code)
    assert reason in str(entry["reason"])
    kept = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"])
    assert kept == text.rstrip(b"\n")
    assert (tmp_path / "telemetry_wal.log.rejected").stat().st_mode & 0o077 == 0


async def test_a_crash_in_the_middle_imports_again_with_the_same_identity(
    tmp_path, log, admission, monkeypatch
):
    """So the events that were imported before the crash are counted once: identity is the sorting key."""
    monkeypatch.setattr(takeover, "_CHUNK_EVENTS", 2)
    (tmp_path / "telemetry_wal.log").write_bytes(b"".join([line(1), b"torn\n", *map(line, range(2, 6))]))
    log.fail[2] = LogBroken("wal: fdatasync failed")
    with pytest.raises(Refused):
        await take_over(tmp_path, admission)
    assert (tmp_path / "telemetry_wal.log").exists()
    assert await take_over(tmp_path, admission) == TakenOver(5, 1)

    def identity(event):
        return tuple(event[c] for c in ("project_id", "tenant_id", "event_type", "timestamp", "event_id"))

    assert len(log.events) == 7
    assert len({identity(event) for event in log.events}) == 5
    assert len(rejections(tmp_path / "telemetry_wal.log.rejected")) == 1


async def test_a_full_log_is_waited_for(tmp_path, log, admission, monkeypatch, caplog):
    monkeypatch.setattr(takeover, "_FULL_RETRY_S", 0.01)
    (tmp_path / "telemetry_wal.log").write_bytes(line(1) + line(2))
    log.fail = {1: LogFull("full"), 2: LogFull("full")}
    assert await take_over(tmp_path, admission) == TakenOver(2, 0)
    assert caplog.text.count("the log is full") == 1


async def test_events_go_in_by_the_thousand(tmp_path, log, admission):
    (tmp_path / "telemetry_wal.log").write_bytes(b"".join(map(line, range(2_500))))
    await take_over(tmp_path, admission)
    assert log.appends == [1_000, 1_000, 500]


async def test_large_events_go_in_by_the_megabyte(tmp_path, log, admission, monkeypatch):
    monkeypatch.setattr(takeover, "_CHUNK_BYTES", 10_000)
    (tmp_path / "telemetry_wal.log").write_bytes(
        b"".join(line(n, metadata="x" * 4_000) for n in range(5)) + b"no event\n" * 2_000 + line(6)
    )
    assert await take_over(tmp_path, admission) == TakenOver(6, 2_000)
    assert log.appends == [3, 2, 1] or log.appends == [3, 3]


async def test_a_line_without_an_end_is_kept_in_pieces(tmp_path, log, admission, monkeypatch):
    monkeypatch.setattr(takeover, "_LINE_BYTES_MAX", 1_000)
    (tmp_path / "telemetry_wal.log").write_bytes(line(1) + b"x" * 2_500 + b"\n" + line(2))
    assert await take_over(tmp_path, admission) == TakenOver(2, 3)
    entries = rejections(tmp_path / "telemetry_wal.log.rejected")
    assert "".join(str(entry["text"]) for entry in entries) == "x" * 2_500


async def test_a_large_file_is_streamed(tmp_path, admission, log, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr(log, "append", lambda rows, row_format: _done(len(rows)))
    padding = "x" * 2_000
    chunk = b"".join(line(n, metadata=padding) for n in range(1_000))
    with (tmp_path / "telemetry_wal.log").open("wb") as file:
        for _ in range(20):
            file.write(chunk)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (await take_over(tmp_path, admission)).imported == 20_000
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 20 * 1024, "the file has 43 MB"


def _done(value: int) -> asyncio.Future[int]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
