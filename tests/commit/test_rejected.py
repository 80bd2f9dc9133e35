"""The events that were not accepted: durable, bounded in size and age."""

import asyncio
import json
from pathlib import Path

import pytest

from nealytics.commit import rejected
from nealytics.commit.rejected import RejectedEvents, read
from nealytics.directories import act_as_owner
from nealytics.errors import LogBroken
from nealytics.event import InvalidEvent
from nealytics.observe.metrics import Metrics
from nealytics.timestamps import DAY_MS
from tests.other_user import as_node, in_a_process, needs_root
from tests.waiting import until_async

ERROR = InvalidEvent("invalid_event", "userId is 5", "userId")


class Clock:
    def __init__(self) -> None:
        self.ms = 1_796_040_600_000

    def __call__(self) -> int:
        return self.ms


def store(
    directory: Path,
    clock: Clock,
    *,
    worker: int = 0,
    bytes_max: int = 1 << 20,
    metrics: Metrics | None = None,
) -> RejectedEvents:
    return RejectedEvents(
        directory / "rejected",
        worker,
        bytes_max=bytes_max,
        days_max=30,
        metrics=metrics or Metrics.private(),
        clock_ms=clock,
    )


def payloads(events: RejectedEvents) -> list[object]:
    return [json.loads(bytes(event.payload)) for path in events.files() for event in read(path)]


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"a":\r\n  1}', {"a": 1}),
        (b"7", 7),
        (b"{broken\n", "{broken\n"),
        (b"\xff", "\ufffd"),
        (b'{"a":"\xff"}', '{"a":"\ufffd"}'),
        (b"[" * 5_000 + b"]" * 5_000, "[" * 5_000 + "]" * 5_000),
    ],
)
async def test_an_event_is_kept_as_it_was_sent_with_its_reason(tmp_path, payload, kept):
    events = store(tmp_path, Clock())
    await events.keep([events.new("segment", "shop", ERROR, payload)])
    [path] = events.files()
    [event] = read(path)
    assert json.loads(bytes(event.payload)) == kept
    assert (event.source, event.project_id, event.code) == ("segment", "shop", "invalid_event")
    assert (event.reason, event.field) == ("userId is 5", "userId")
    assert event.rejected_at == "2026-11-30T12:10:00.000+00:00"
    assert path.stat().st_mode & 0o777 == 0o600


@needs_root
async def test_after_root_has_dropped_an_event_the_node_keeps_others_in_its_files(node_directory):
    with as_node():
        events = store(node_directory, Clock())
        await events.keep(
            [events.new("segment", "shop", ERROR, b"1"), events.new("segment", "shop", ERROR, b"2")]
        )

    def drop() -> None:
        act_as_owner("dead-letter", node_directory)
        done = rejected.remove(events.files()[0].parent, lambda event: bytes(event.payload) == b"1")
        assert done.removed == 1

    assert in_a_process(drop) == ""
    with as_node():
        await events.keep([events.new("segment", "shop", ERROR, b"3")])
        assert len(events.files()) == 1
        assert payloads(events) == [2, 3]


async def test_a_file_that_cannot_be_opened_is_left_and_another_is_begun(node_directory):
    metrics = Metrics.private()
    clock = Clock()
    events = store(node_directory, clock, metrics=metrics)
    with as_node():
        await events.keep([events.new("segment", "shop", ERROR, b"1")])
        [first] = events.files()
        first.chmod(0)
        await events.keep([events.new("segment", "shop", ERROR, b"2")])
        [_, second] = events.files()
        assert [bytes(event.payload) for event in read(second)] == [b"2"]
        clock.ms += 40 * DAY_MS
        events.expire()
        assert events.files() == []
    assert metrics.value("nealytics_rejected_events_dropped_total") == 1  # of the one that could be counted


async def test_nothing_is_written_for_no_events_or_without_room_for_any(tmp_path):
    for events in (store(tmp_path, Clock()), store(tmp_path, Clock(), bytes_max=0)):
        await events.keep([])
    await events.keep([events.new("segment", "shop", ERROR, b"1")])
    assert not (tmp_path / "rejected").exists()


async def test_a_line_that_cannot_be_read_is_named_and_stops_nothing(tmp_path):
    events = store(tmp_path, Clock())
    await events.keep([events.new("segment", "shop", ERROR, b"%d" % n) for n in range(3)])
    [path] = events.files()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"id": 1}\n\xff\n' + b"".join(lines[1:]))
    problems: list[str] = []
    assert [bytes(event.payload) for event in read(path, problems)] == [b"0", b"1", b"2"]
    assert len(problems) == 2
    for number, problem in zip((2, 3), problems, strict=True):
        assert f"cannot read line {number} of {path}: " in problem
    removed = rejected.remove(path.parent, lambda event: bytes(event.payload) != b"1")
    assert (removed.removed, removed.problems) == (2, problems)
    assert path.read_bytes() == b'{"id": 1}\n\xff\n' + lines[1]


async def test_a_start_begins_a_file_because_the_last_line_may_be_torn(tmp_path):
    clock = Clock()
    events = store(tmp_path, clock)
    await events.keep([events.new("segment", "shop", ERROR, b"1")])
    await events.keep([events.new("segment", "shop", ERROR, b"2")])
    [path] = events.files()
    path.write_bytes(path.read_bytes() + b'{"id": "torn')
    clock.ms += 1
    again = store(tmp_path, clock)
    await again.keep([again.new("segment", "shop", ERROR, b"3")])
    assert payloads(again) == [1, 2, 3]
    assert len(again.files()) == 2


async def test_the_oldest_are_dropped_for_newer_ones_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(rejected, "FILE_BYTES", 2_000)
    clock, metrics = Clock(), Metrics.private()
    events = store(tmp_path, clock, bytes_max=10_000, metrics=metrics)
    other = store(tmp_path, clock, worker=1, bytes_max=10_000, metrics=metrics)
    await other.keep([other.new("segment", "shop", ERROR, b'"other"')])
    for n in range(100):
        clock.ms += 1
        await events.keep([events.new("segment", "shop", ERROR, str(n).encode())])
    kept = payloads(events)
    assert kept[0] == "other"
    numbers = kept[1:]
    assert numbers == list(range(100 - len(numbers), 100))
    assert 10 < len(numbers) < 100
    assert metrics.value("nealytics_rejected_events_dropped_total") == 100 - len(numbers)
    assert sum(path.stat().st_size for path in events.files()) < 11_000


async def test_the_newest_request_is_kept_however_large_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(rejected, "FILE_BYTES", 100)
    clock = Clock()
    events = store(tmp_path, clock, bytes_max=100)
    for n in range(3):
        clock.ms += 1
        await events.keep([events.new("segment", "shop", ERROR, str(n).encode()) for _ in range(9)])
        assert payloads(events) == [n] * 9


async def test_old_files_are_dropped_also_those_of_workers_that_are_no_more(tmp_path):
    clock, metrics = Clock(), Metrics.private()
    gone = store(tmp_path, clock, worker=7)
    await gone.keep([gone.new("segment", "shop", ERROR, b"1")])
    events = store(tmp_path, clock, metrics=metrics)
    clock.ms += 29 * DAY_MS
    await events.keep([events.new("segment", "shop", ERROR, b"2")])
    assert payloads(events) == [1, 2]
    clock.ms += 2 * DAY_MS
    await events.keep([events.new("segment", "shop", ERROR, b"3")])
    assert payloads(events) == [2, 3]
    assert metrics.value("nealytics_rejected_events_dropped_total") == 1


async def test_few_events_for_a_long_time_are_in_a_file_per_day_and_none_outlives_the_limit(tmp_path):
    clock = Clock()
    events = store(tmp_path, clock)
    for day in range(100):
        await events.keep([events.new("segment", "shop", ERROR, str(day).encode())])
        clock.ms += DAY_MS
    assert payloads(events) == list(range(69, 100))


async def test_events_expire_although_nothing_is_rejected_any_more(tmp_path):
    clock, metrics = Clock(), Metrics.private()
    events = store(tmp_path, clock, metrics=metrics)
    events.expire()  # without a directory
    await events.keep([events.new("segment", "shop", ERROR, b"1")])
    clock.ms += 30 * DAY_MS
    events.expire()
    assert payloads(events) == [1]
    clock.ms += DAY_MS
    task = asyncio.create_task(events.run())
    await until_async(lambda: metrics.value("nealytics_rejected_events_dropped_total") == 1)
    task.cancel()
    assert not events.files()


async def test_a_project_without_end_pushes_out_its_own_events(tmp_path):
    clock = Clock()
    events = store(tmp_path, clock, bytes_max=20_000)
    await events.keep([events.new("segment", "quiet", ERROR, b'"quiet"')], "quiet")
    for n in range(300):
        clock.ms += 1
        await events.keep([events.new("segment", "loud", ERROR, str(n).encode())], "loud")
    kept = payloads(events)
    assert "quiet" in kept
    assert 299 in kept
    assert 10 < len(kept) < 200
    assert sum(path.stat().st_size for path in events.files()) <= 20_000


async def test_a_directory_that_cannot_be_written_is_an_error_of_the_log(tmp_path):
    (tmp_path / "rejected").write_text("not a directory")
    events = store(tmp_path, Clock())
    with pytest.raises(LogBroken, match="rejected: cannot write"):
        await events.keep([events.new("segment", "shop", ERROR, b"1")])


def test_events_are_removed_while_a_worker_writes(tmp_path: Path):
    """Each process holds the lock of the directory, so no event is lost."""
    from concurrent.futures import ThreadPoolExecutor

    from nealytics.commit.rejected import files, read, remove
    from tests.fakes.letters import put, rejected

    events = [rejected(n) for n in range(200)]
    unwanted = {event.id for event in events[::2]}
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(lambda: [*map(put, [tmp_path] * len(events), events)])
        removed = 0
        while removed < len(unwanted):
            removed += remove(tmp_path / "rejected", lambda event: event.id in unwanted).removed
        writing.result()
    removed += remove(tmp_path / "rejected", lambda event: event.id in unwanted).removed
    left = [event.id for path in files(tmp_path / "rejected") for event in read(path)]
    assert removed == len(unwanted)
    assert sorted(left) == sorted(event.id for event in events[1::2])


def test_a_file_without_events_is_deleted(tmp_path: Path):
    from nealytics.commit.rejected import files, remove
    from tests.fakes.letters import put, rejected

    put(tmp_path, rejected(0), rejected(0))
    assert remove(tmp_path / "rejected", lambda _: True) == (2, [])
    assert files(tmp_path / "rejected") == []
    assert remove(tmp_path / "missing", lambda _: True) == (0, [])
