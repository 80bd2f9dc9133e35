"""`nealytics import` against a batch route that misbehaves in every way a network can."""

import fcntl
import gzip
import json
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from nealytics.cli import import_ as import_module
from nealytics.cli import main
from nealytics.config import IngestConfig
from nealytics.event import InvalidEvent, Limits, decode_event, freeze
from nealytics.importer.rows import NdjsonRows
from tests.fakes.batch_server import KEY, BatchServer
from tests.fakes.certificates import make_certificate
from tests.ports import free_port
from tests.waiting import until

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CSV_OPTIONS = [
    "--set", "projectId=shop", "--set", "tenantId=acme",
    "--map", "sessionId=session", "--map", "eventType=event",
]  # fmt: skip


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nealytics.client.exchange._BACKOFF_S", 0.001)
    monkeypatch.setattr("nealytics.client.exchange._BACKOFF_MAX_S", 0.01)
    monkeypatch.delenv("NEALYTICS_IMPORT_KEY", raising=False)


def run(
    server: BatchServer, file: Path | str, *options: str, key: str = KEY, stdin: bytes | None = None
) -> Result:
    arguments = ["import", str(file), "--url", server.url, "--key", key, *options]
    return CliRunner().invoke(main, arguments, input=stdin)


def visits(path: Path, count: int, *, bad: frozenset[int] = frozenset(), timestamp: bool = True) -> Path:
    """A CSV of `count` visits; the rows in `bad` are refused by the server."""
    lines = ["session,event,plan" + (",timestamp" if timestamp else "")]
    for n in range(1, count + 1):
        lines.append(
            f"s{n % 7},{'bad' if n in bad else 'view'},plan {n}"
            + (",2024-03-13 10:21:14" if timestamp else "")
        )
    data = "\n".join(lines).encode() + b"\n"
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rejected(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_gzipped_csv_arrives_whole(server: BatchServer, tmp_path: Path):
    result = run(server, visits(tmp_path / "visits.csv.gz", 2_500), *CSV_OPTIONS)
    assert result.exit_code == 0, result.output
    assert "2,500 records read: 2,500 accepted, 0 rejected, 0 skipped" in result.output
    assert len(server.events) == 2_500
    event = next(event for event in server.events.values() if event["metadata"] == {"plan": "plan 1"})
    del event["eventId"]
    assert event == {
        "projectId": "shop",
        "tenantId": "acme",
        "sessionId": "s1",
        "eventType": "view",
        "metadata": {"plan": "plan 1"},
        "timestamp": "2024-03-13 10:21:14",
    }
    assert server.requests == 3
    assert server.encodings == {"zstd"}


@pytest.mark.parametrize("compress", ["gzip", "none"])
def test_bodies_are_compressed_as_configured(server: BatchServer, tmp_path: Path, compress: str):
    assert run(server, visits(tmp_path / "v.csv", 10), *CSV_OPTIONS, "--compress", compress).exit_code == 0
    assert server.encodings == {None if compress == "none" else compress}


def test_ndjson_from_standard_input(server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    event = {"projectId": "p", "tenantId": "t", "sessionId": "s", "eventType": "e", "metadata": {"a": 1}}
    command = [sys.executable, "-m", "nealytics", "import", "-", "--url", server.url]
    done = subprocess.run(
        command,
        input=b"".join(json.dumps({**event, "itemId": str(n)}).encode() + b"\n" for n in range(3)),
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "NEALYTICS_IMPORT_KEY": KEY, "PYTHONPATH": os.getcwd()},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(e["itemId"] for e in server.events.values()) == ["0", "1", "2"]
    assert list(tmp_path.iterdir()) == []


def test_batches_stay_below_the_given_number_of_events_and_bytes(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 300)
    assert run(server, file, *CSV_OPTIONS, "--batch-events", "100", "--batch-bytes", "5000").exit_code == 0
    assert len(server.events) == 300
    assert max(server.sizes) <= 5_000
    assert sorted(server.sizes)[1] > 4_000  # the smallest is the last one, which may arrive earlier


def test_an_answer_that_is_lost_or_says_later_is_asked_for_again(server: BatchServer, tmp_path: Path):
    """Also when the events had been taken: what arrives twice carries the same ids."""

    def mood(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        if number % 5 == 1:
            return web.json_response(
                {"code": "rate_limited", "message": "slow"}, status=429, headers={"Retry-After": "0"}
            )
        if number % 5 == 2:
            return web.json_response(
                {"code": "log_full", "message": "full"}, status=503, headers={"Retry-After": "0"}
            )
        if number % 5 == 3:
            server.take(events)
            return web.Response(status=502, text="<html>Bad gateway</html>")
        return None

    server.mood = mood
    result = run(server, visits(tmp_path / "v.csv", 1_000), *CSV_OPTIONS, "--batch-events", "50")
    assert result.exit_code == 0, result.output
    assert "1,000 accepted" in result.output
    assert len(server.events) == 1_000
    assert len(server.order) > 1_000


def test_retry_after_is_kept_to(server: BatchServer, tmp_path: Path):
    times: list[float] = []

    def mood(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        times.append(time.monotonic())
        return web.Response(status=503, headers={"Retry-After": "1"}) if number == 1 else None

    server.mood = mood
    assert run(server, visits(tmp_path / "v.csv", 5), *CSV_OPTIONS).exit_code == 0
    assert times[1] - times[0] >= 1.0


def test_it_stops_after_the_configured_time(server: BatchServer, tmp_path: Path):
    server.mood = lambda number, events: web.Response(status=500)
    result = run(server, visits(tmp_path / "v.csv", 5), *CSV_OPTIONS, "--give-up-after", "0.2")
    assert result.exit_code == 1
    assert "gave up" in result.output
    assert "answered 500" in result.output


def test_an_address_without_a_server_is_named_with_how_long_it_is_tried(tmp_path: Path):
    url = f"http://127.0.0.1:{free_port()}"
    file = visits(tmp_path / "v.csv", 5)
    command = ["import", str(file), "--url", url, "--key", KEY, *CSV_OPTIONS]
    result = CliRunner().invoke(main, [*command, "--give-up-after", "0.1"])
    assert result.exit_code == 1
    problem = f"{url}: no connection (Connection refused); start the server, or give its address with --url"
    first, *_, last = result.stderr.splitlines()
    assert first == f"import: {problem}; retry in 0.0 s; gives up after 0.1 s"
    assert last == f"import: gave up after 0 s: {problem}"
    # An hour of a wrong address helps nobody; a restart or an upgrade of the node takes less than this.
    assert "[default: 600" in " ".join(CliRunner().invoke(main, ["import", "--help"]).output.split())


def test_an_import_that_cannot_begin_leaves_no_file_open(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "nealytics", "import", str(visits(tmp_path / "v.csv", 5))],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        timeout=60,
        check=False,
    )
    assert "which ingest key" in done.stderr
    assert "ResourceWarning" not in done.stderr


def test_refused_rows_are_listed_and_kept_and_the_others_arrive(server: BatchServer, tmp_path: Path):
    bad = frozenset({3, 50, 51})
    file = visits(tmp_path / "v.csv", 200, bad=bad)
    file.write_bytes(file.read_bytes() + b"too,few\n")
    result = run(server, file, *CSV_OPTIONS, "--batch-events", "40")
    assert result.exit_code == 1
    assert "201 records read: 197 accepted, 4 rejected, 0 skipped" in result.output
    assert "row 3: eventType is bad" in result.output, "the field is named once"
    kept = rejected(tmp_path / "v.csv.rejected.ndjson")
    assert [entry["rejectedRow"] for entry in kept] == [3, 50, 51, 201]
    assert kept[0]["rejectedField"] == "eventType"
    assert kept[0]["sessionId"] == "s3"
    assert kept[3]["rejectedText"] == "too,few"
    assert len(server.events) == 197


def line(n: int) -> bytes:
    return b'{"projectId":"p","tenantId":"t","sessionId":"s%d","eventType":"view"}\n' % n


def end_record(events: int) -> bytes:
    return b'{"nealyticsExport":{"end":true,"events":%d}}\n' % events


LINES = [line(n) for n in range(7)]


def test_the_end_record_of_an_export_is_checked_and_is_no_event(server: BatchServer, tmp_path: Path):
    file = tmp_path / "export.ndjson"
    file.write_bytes(b"".join(LINES) + end_record(7))
    result = run(server, file, "--require-end")
    assert result.exit_code == 0, result.output
    assert len(server.events) == 7
    assert "8 records read: 7 accepted, 0 rejected, 1 skipped" in result.output
    # A run that has nothing to do reads it again.
    assert run(server, file, "--require-end").exit_code == 0


def test_exports_put_together_have_an_end_record_each(server: BatchServer, tmp_path: Path):
    file = tmp_path / "exports.ndjson"
    file.write_bytes(
        b"".join(LINES[:4]) + end_record(4) + b"".join(LINES[4:]) + end_record(3) + end_record(0)
    )
    result = run(server, file, "--require-end")
    assert result.exit_code == 0, result.output
    assert len(server.events) == 7


@pytest.mark.parametrize("lost", [slice(0, 1), slice(3, 5)])
def test_an_export_that_lost_events_in_transit_is_detected_by_its_end_record(
    server: BatchServer, tmp_path: Path, lost: slice
):
    lines = list(LINES)
    del lines[lost]
    file = tmp_path / "export.ndjson"
    file.write_bytes(b"".join(lines) + end_record(7))
    result = run(server, file)
    assert result.exit_code == 1
    assert f"had 7 events, but {len(lines)} are before this line" in result.output
    assert len(server.events) == len(lines), "what is there is imported"


def test_a_truncated_export_is_detected_where_its_end_record_is_required(server: BatchServer, tmp_path: Path):
    file = tmp_path / "export.ndjson"
    file.write_bytes(b"".join(LINES[:5]))
    assert run(server, file).exit_code == 0
    result = run(server, file, "--require-end")
    assert result.exit_code == 1
    assert "does not end with an end record" in result.output
    file.write_bytes(b"".join(LINES) + end_record(7))
    result = run(server, file, "--require-end")
    assert result.exit_code == 0, result.output
    assert len(server.events) == 7


def test_refused_rows_can_be_allowed(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 10, bad=frozenset({1}))
    assert run(server, file, *CSV_OPTIONS, "--allow-rejected").exit_code == 0


def test_the_rejected_file_can_be_corrected_and_imported(server: BatchServer, tmp_path: Path):
    run(server, visits(tmp_path / "v.csv", 10, bad=frozenset({4})), *CSV_OPTIONS)
    file = tmp_path / "v.csv.rejected.ndjson"
    file.write_text(file.read_text().replace('"bad"', '"good"'))
    assert run(server, file).exit_code == 0
    (event,) = [event for event in server.events.values() if event["eventType"] == "good"]
    assert event["metadata"] == {"plan": "plan 4"}
    assert len(server.events) == 10


@pytest.mark.parametrize("count", [150, 400])
def test_every_refused_row_is_named_also_when_the_server_names_only_the_first_hundred(
    server: BatchServer, tmp_path: Path, count: int
):
    file = visits(tmp_path / "v.csv", 400, bad=frozenset(range(1, count + 1)))
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert [entry["rejectedRow"] for entry in rejected(tmp_path / "v.csv.rejected.ndjson")] == list(
        range(1, count + 1)
    )
    assert f"{400 - count:,} accepted, {count} rejected" in result.output


def test_a_batch_refused_as_a_whole_is_halved_down_to_the_row_at_fault(server: BatchServer, tmp_path: Path):
    def mood(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        if any(event["metadata"]["plan"] == "plan 37" for event in events):
            return web.json_response(
                {"code": "invalid_json", "message": "no", "detail": "such thing"}, status=400
            )
        return None

    server.mood = mood
    assert run(server, visits(tmp_path / "v.csv", 100), *CSV_OPTIONS).exit_code == 1
    (entry,) = rejected(tmp_path / "v.csv.rejected.ndjson")
    assert (entry["rejectedRow"], entry["rejectedError"]) == (37, "no. such thing")
    assert len(server.events) == 99


def test_a_body_that_is_too_large_is_halved(server: BatchServer, tmp_path: Path):
    def mood(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        return (
            web.json_response({"code": "body_too_large", "message": "big"}, status=413)
            if len(events) > 10
            else None
        )

    server.mood = mood
    assert run(server, visits(tmp_path / "v.csv", 100), *CSV_OPTIONS).exit_code == 0
    assert len(server.events) == 100


@pytest.mark.parametrize("status", [401, 403, 404, 405, 415, 301])
def test_what_is_wrong_with_all_rows_ends_the_import_and_refuses_none(
    server: BatchServer, tmp_path: Path, status: int
):
    server.mood = lambda number, events: web.json_response(
        {"message": "no"}, status=status, headers={"Location": "/"}
    )
    result = run(server, visits(tmp_path / "v.csv", 100), *CSV_OPTIONS)
    assert result.exit_code == 1
    assert f"answered {status}" in result.output
    assert not (tmp_path / "v.csv.rejected.ndjson").exists()


def test_a_foreign_server_s_202_is_not_taken_for_an_acknowledgement(server: BatchServer, tmp_path: Path):
    server.mood = lambda number, events: web.Response(status=202, text="thanks")
    result = run(server, visits(tmp_path / "v.csv", 10), *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "not like a Nealytics node" in result.output


def test_a_second_run_has_nothing_to_do_and_a_grown_file_goes_on(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 100)
    run(server, file, *CSV_OPTIONS)
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 0
    assert "nothing to do: an earlier run read all 100 rows: 100 accepted, 0 rejected" in result.output
    assert server.requests == 1
    visits(file, 120)
    result = run(server, file, *CSV_OPTIONS)
    assert "20 records read (after 100 of earlier runs): 20 accepted" in result.output
    assert len(server.events) == len(server.order) == 120


def test_a_run_that_failed_goes_on_where_everything_was_acknowledged(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv.gz", 1_000, bad=frozenset({5, 6, 905}))
    server.mood = lambda number, events: web.Response(status=401, text="{}") if number == 8 else None
    options = [*CSV_OPTIONS, "--batch-events", "100", "--requests", "1"]
    assert run(server, file, *options).exit_code == 1
    before = len(server.order)
    server.mood = lambda number, events: None
    result = run(server, file, *options)
    assert "resumes after row 700" in result.output
    assert "300 records read (after 700 of earlier runs): 299 accepted, 1 rejected" in result.output
    assert len(server.order) == 997
    assert before == 698
    assert [entry["rejectedRow"] for entry in rejected(tmp_path / "v.csv.gz.rejected.ndjson")] == [5, 6, 905]


def test_without_its_state_file_everything_is_sent_again_as_the_same_events(
    server: BatchServer, tmp_path: Path
):
    """Also under another name. Only rows without a timestamp are new events then, unless --timestamp names
    one.
    """
    run(server, visits(tmp_path / "v.csv", 100), *CSV_OPTIONS)
    run(server, visits(tmp_path / "renamed.csv", 100), *CSV_OPTIONS)
    assert len(server.order) == 200
    assert len(server.events) == 100


def test_rows_without_timestamp_keep_the_first_run_s_moment(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 10, timestamp=False)
    run(server, file, *CSV_OPTIONS)
    (first,) = {event["timestamp"] for event in server.events.values()}
    time.sleep(0.01)
    run(server, file, *CSV_OPTIONS, "--restart")
    assert {event["timestamp"] for event in server.events.values()} == {first}
    assert len(server.order) == 20
    assert len(server.events) == 10


def test_a_timestamp_can_be_given(server: BatchServer, tmp_path: Path):
    run(
        server,
        visits(tmp_path / "v.csv", 3, timestamp=False),
        *CSV_OPTIONS,
        "--timestamp",
        "2024-01-01T00:00:00Z",
    )
    assert {event["timestamp"] for event in server.events.values()} == {"2024-01-01T00:00:00Z"}


def test_the_state_of_another_import_is_not_used(server: BatchServer, tmp_path: Path):
    """Sending the same file to another tenant or server is no continuation: it would send nothing."""
    file = visits(tmp_path / "v.csv", 10)
    run(server, file, *CSV_OPTIONS)
    options = [*CSV_OPTIONS[:2], "--set", "tenantId=other", *CSV_OPTIONS[4:]]
    result = run(server, file, *options)
    assert result.exit_code == 1
    assert "tenantId=acme" in result.output
    assert "tenantId=other" in result.output
    assert run(server, file, *options, "--restart").exit_code == 0
    assert len(server.events) == 10


def test_an_import_killed_at_any_moment_sends_every_row(server: BatchServer, tmp_path: Path):
    """SIGKILL, again and again: the next run goes on, and no row is missing or is two events."""
    file = visits(tmp_path / "v.csv.gz", 3_000)
    server.mood = lambda number, events: time.sleep(0.005)
    command = [
        sys.executable, "-m", "nealytics", "import", str(file), "--url", server.url, "--key", KEY,
        "--batch-events", "10", *CSV_OPTIONS,
    ]  # fmt: skip
    for _ in range(5):
        arrived = server.requests + random.randrange(1, 60)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(
            lambda: server.requests >= arrived or process.poll() is not None,  # noqa: B023
            pause=lambda: time.sleep(0.001),
        )
        time.sleep(0.01 * random.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert last.returncode == 0, last.stderr
    assert len(server.events) == 3_000
    assert {event["metadata"]["plan"] for event in server.events.values()} == {
        f"plan {n}" for n in range(1, 3_001)
    }


def test_a_mistyped_option_is_reported_before_anything_is_sent(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 10)
    assert "no such column" in run(server, file, *CSV_OPTIONS, "--map", "userId=uid").output
    assert "'sessionId'" in run(server, file, "--map", "sessionId").output
    assert (
        "is not a URL"
        in CliRunner()
        .invoke(main, ["import", str(file), "--key", "k", "--url", "nonsense", *CSV_OPTIONS])
        .output
    )
    assert "cannot open" in run(server, tmp_path / "missing.csv").output
    assert server.requests == 0


def test_the_key_comes_from_the_configuration_if_none_is_given(server: BatchServer, tmp_path: Path):
    config = tmp_path / "nealytics.toml"
    config.write_text(f'[auth]\napi_keys = [{{key = "{KEY}"}}]\njwt_key = "{"x" * 40}"\n')
    file = visits(tmp_path / "v.csv", 10)
    result = CliRunner().invoke(
        main, ["import", str(file), "--url", server.url, "--config", str(config), *CSV_OPTIONS]
    )
    assert result.exit_code == 0, result.output
    assert len(server.events) == 10


def test_rows_before_damage_in_the_file_are_sent(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv.gz", 5_000)
    file.write_bytes(file.read_bytes()[:-500])
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "cannot be read past byte" in result.output
    assert len(server.events) > 1_000
    state = json.loads((tmp_path / "v.csv.gz.import-state").read_text())
    assert state["row"] == len(server.events)


def test_a_quote_that_is_never_closed_swallows_no_row(server: BatchServer, tmp_path: Path):
    """It was read as one row of 11,989 lines, silently."""
    file = visits(tmp_path / "v.csv", 12_000)
    lines = file.read_bytes().split(b"\n")
    lines[12] = lines[12].replace(b"plan 12", b'"broken')
    file.write_bytes(b"\n".join(lines))
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "line 13: a quote opens in column plan, and it is not closed within 1,000 lines" in result.output
    assert "11 records read: 11 accepted, 0 rejected" in result.output
    assert len(server.events) == 11
    visits(file, 12_000)
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 0, result.output
    assert "11,989 records read (after 11 of earlier runs): 11,989 accepted" in result.output
    assert len(server.events) == 12_000


@pytest.mark.parametrize(
    "name", ["v.csv", "v.csv.gz", "v.csv.zst", "v.ndjson", "v.ndjson.gz", "v.json.zst", "v.json"]
)
def test_records_read_are_accepted_rejected_or_skipped(server: BatchServer, tmp_path: Path, name: str):
    file = tmp_path / name
    rows = [
        {"session": f"s{n}", "event": "bad" if n % 100 == 7 else "view", "note": "a,b"} for n in range(2_500)
    ]
    if ".csv" in name:
        text = "session,event,note\n" + "".join(f'{r["session"]},{r["event"]},"two\nlines"\n' for r in rows)
        text += "\n\nx,y\n"
        skipped, rejected_rows = 2, 26
    elif ".ndjson" in name:
        text = "".join(json.dumps(r) + "\n" for r in rows) + "\n \n\n{broken\n"
        skipped, rejected_rows = 3, 26
    else:
        text = json.dumps([*rows, 5], indent=1)
        skipped, rejected_rows = 0, 26
    data = text.encode()
    file.write_bytes(
        gzip.compress(data) if name.endswith("gz") else zstd.compress(data) if name.endswith("zst") else data
    )
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    read = 2_501 + skipped
    assert (
        f"{read:,} records read: 2,475 accepted, {rejected_rows} rejected, {skipped} skipped" in result.output
    )
    assert len(server.events) == 2_475


def test_a_row_that_gets_lost_inside_is_noticed(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The check is worth nothing if it cannot fail."""
    whole = NdjsonRows.__iter__
    monkeypatch.setattr(NdjsonRows, "__iter__", lambda self: (row for row in whole(self) if row.number != 5))
    file = tmp_path / "v.ndjson"
    file.write_text('{"session":"s","event":"e"}\n' * 10)
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "the counts do not add up: 10 lines were read, but 9 became rows or were skipped" in result.output


def test_a_server_that_names_fewer_rows_than_it_refuses_is_asked_in_smaller_pieces(
    server: BatchServer, tmp_path: Path
):
    """A row that was refused without an error must not count as accepted."""
    server.named_max = 0
    result = run(server, visits(tmp_path / "v.csv", 50, bad=frozenset({3, 40})), *CSV_OPTIONS)
    assert "48 accepted, 2 rejected" in result.output
    assert [entry["rejectedRow"] for entry in rejected(tmp_path / "v.csv.rejected.ndjson")] == [3, 40]


NESTED = {
    "session": "s",
    "event": "e",
    "context": {"user": {"id": 42, "mail": "x@y"}, "locale": "de", "a.b": "dotted"},
    "plan": "pro",
}


def nested(path: Path, count: int = 5, **more: Any) -> Path:
    path.write_text("".join(json.dumps({**NESTED, **more, "n": n}) + "\n" for n in range(count)))
    return path


def test_a_path_finds_the_value_inside_of_a_row(server: BatchServer, tmp_path: Path):
    file = nested(tmp_path / "v.ndjson")
    result = run(
        server, file, *CSV_OPTIONS,
        "--map", "userId=context.user.id", "--map", r"itemId=context.a\.b", "--metadata",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    event = min(server.events.values(), key=lambda event: event["metadata"]["n"])
    assert (event["userId"], event["itemId"]) == ("42", "dotted")
    assert event["metadata"] == {
        "context": {"user": {"mail": "x@y"}, "locale": "de"}, "plan": "pro", "n": 0,
    }  # fmt: skip
    assert "not imported" not in result.output


def test_a_mapped_name_that_no_row_has_is_an_error_before_anything_is_sent(
    server: BatchServer, tmp_path: Path
):
    file = nested(tmp_path / "v.ndjson")
    result = run(server, file, *CSV_OPTIONS, "--map", "userId=context.uid")
    assert result.exit_code == 1
    assert "--map userId=context.uid: not found in any of the first 5 rows" in result.output
    assert "context.user, context.locale, context.a\\.b, plan, n" in result.output
    assert server.requests == 0
    result = run(server, file, *CSV_OPTIONS, "--map", "userId=context.uid", "--sparse")
    assert result.exit_code == 0, result.output
    assert "no row has context.uid, which --map names" in result.output


def test_unmapped_names_are_listed_once(server: BatchServer, tmp_path: Path):
    file = nested(tmp_path / "v.ndjson", 2_500)
    with file.open("a") as more:
        more.write(json.dumps({**NESTED, "late": 1, "rejectedRow": 3}) + "\n")
    result = run(server, file, *CSV_OPTIONS)
    assert result.output.count("not imported: context, plan, n;") == 1
    assert result.output.count("not imported: late;") == 1
    assert "use --metadata to put them into the metadata" in result.output
    assert "not imported" not in run(server, file, *CSV_OPTIONS, "--rest", "ignore", "--restart").output


def test_a_repeated_run_fails_as_long_as_rows_are_rejected(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 20, bad=frozenset({3}))
    assert run(server, file, *CSV_OPTIONS).exit_code == 1
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "nothing to do: an earlier run read all 20 rows: 19 accepted, 1 rejected" in result.output
    assert "v.csv.rejected.ndjson" in result.output
    assert "--restart" in result.output
    assert run(server, file, *CSV_OPTIONS, "--allow-rejected").exit_code == 0
    with file.open("a") as more:
        more.write("\n")  # a blank line behind the last row is no news
    assert "nothing to do" in run(server, file, *CSV_OPTIONS).output
    visits(file, 20)
    result = run(server, file, *CSV_OPTIONS, "--restart")
    assert result.exit_code == 0, result.output
    assert run(server, file, *CSV_OPTIONS).exit_code == 0
    assert len(server.events) == 20


def keeps_90_days(server: BatchServer) -> None:
    """Answers as the server's own parser does."""

    def mood(number: int, events: list[dict[str, Any]]) -> web.Response | None:
        errors, good = [], []
        limits = Limits.of(IngestConfig(), 90)
        for index, event in enumerate(events):
            try:
                freeze(decode_event(json.dumps(event).encode()), int(time.time() * 1000), limits)
                good.append(event)
            except InvalidEvent as error:
                errors.append({"index": index, "field": error.field, "error": error.message})
        server.take(good)
        answer = {"accepted": len(good), "rejected": len(errors), "errors": errors[: server.named_max]}
        return web.json_response(answer, status=202 if good else 400)

    server.mood = mood


def test_a_file_that_is_older_than_the_retention_stops_after_the_first_batch(
    server: BatchServer, tmp_path: Path
):
    keeps_90_days(server)
    file = visits(tmp_path / "v.csv", 1_000)
    file.write_text(file.read_text() + "s,view,plan,2019-01-05T00:00:00Z\n")
    result = run(server, file, *CSV_OPTIONS, "--batch-events", "100")
    assert result.exit_code == 1
    assert server.requests == 1
    assert "clickhouse.retention_days = 0" in result.output
    assert "--shift-to now" in result.output
    assert "The file has events from 2019-01-05T00:00:00Z to 2024-03-13T10:21:14Z" in result.output
    assert not (tmp_path / "v.csv.rejected.ndjson").exists()
    server.mood = lambda number, events: None
    assert run(server, file, *CSV_OPTIONS).exit_code == 0  # the server keeps them now: no --restart needed
    assert len(server.events) == 1_001


def test_a_file_of_which_some_rows_are_too_old_goes_on(server: BatchServer, tmp_path: Path):
    keeps_90_days(server)
    file = tmp_path / "v.csv"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = ["s,view,2019-01-01"] * 100 + [f"s,view,{now}"] * 10
    file.write_text("session,event,timestamp\n" + "\n".join(rows))
    result = run(server, file, *CSV_OPTIONS, "--batch-events", "90", "--allow-rejected")
    assert result.exit_code == 0, result.output
    assert "10 accepted, 100 rejected" in result.output


def test_shifted_times_keep_their_distances_and_stay_the_same_events(server: BatchServer, tmp_path: Path):
    keeps_90_days(server)
    file = tmp_path / "v.csv"
    file.write_text(
        "session,event,timestamp\na,view,2019-01-01 10:00:00.250\nb,view,2019-02-01T12:30:00+01:00\n"
    )
    options = [*CSV_OPTIONS, "--shift-to", "now"]
    result = run(server, file, *options)
    assert result.exit_code == 0, result.output
    by_session = {event["sessionId"]: event["timestamp"] for event in server.events.values()}
    assert by_session["b"] - by_session["a"] == 31 * 86_400_000 + 90 * 60_000 - 250
    age_ms = time.time() * 1000 - by_session["b"]
    assert 0 <= age_ms < 86_400_000 + 60_000
    assert by_session["a"] % 86_400_000 == 10 * 3_600_000 + 250  # the time of day is the same
    first = dict(server.events)
    assert run(server, file, *options, "--restart").exit_code == 0
    assert server.events == first
    (amount,) = set(re.findall(r"--shift-by=(\S+)", result.output))
    (tmp_path / "v.csv.import-state").unlink()
    assert run(server, file, *CSV_OPTIONS, f"--shift-by={amount}").exit_code == 0
    assert server.events == first
    assert len(server.order) == 6


def test_the_shift_is_decided_once_also_for_a_run_that_goes_on_on_another_day(
    server: BatchServer, tmp_path: Path
):
    file = visits(tmp_path / "v.csv", 300)
    options = [*CSV_OPTIONS, "--shift-to", "now", "--batch-events", "100", "--requests", "1"]
    server.mood = lambda number, events: web.Response(status=401, text="{}") if number == 2 else None
    assert run(server, file, *options).exit_code == 1
    state_path = tmp_path / "v.csv.import-state"
    state = json.loads(state_path.read_text())
    assert state["row"] == 100
    state["startedAt"] = "2031-01-01T00:00:00.000Z"  # whatever the clock says then
    state_path.write_text(json.dumps(state))
    server.mood = lambda number, events: None
    result = run(server, file, *options)
    assert result.exit_code == 0, result.output
    assert len({event["timestamp"] for event in server.events.values()}) == 1
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "shift was 'now', now ''" in result.output
    result = run(server, file, *options, "--set", "itemId=a")
    assert "--set was 'projectId=shop, tenantId=acme', now 'itemId=a, projectId=shop" in result.output


def test_standard_input_cannot_be_shifted_to_now_but_by_an_amount(server: BatchServer, tmp_path: Path):
    text = b"session,event,timestamp\na,view,2019-01-01\n"
    command = [
        sys.executable, "-m", "nealytics", "import", "-", "--url", server.url, "--key", KEY,
        "--format", "csv", *CSV_OPTIONS,
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*command, "--shift-to", "now"],
        input=text,
        capture_output=True,
        cwd=tmp_path,
        env=env,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert b"the amount with --shift-by" in done.stderr
    done = subprocess.run(
        [*command, "--shift-by", "10d"],
        input=text,
        capture_output=True,
        cwd=tmp_path,
        env=env,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (event,) = server.events.values()
    assert event["timestamp"] == 1_546_300_800_000 + 10 * 86_400_000


@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_seconds_are_not_taken_for_milliseconds_of_1970(server: BatchServer, tmp_path: Path, suffix: str):
    file = tmp_path / f"v.{suffix}"
    if suffix == "csv":
        file.write_text("session,event,timestamp\ns,e,1718447400.5\n")
        options = [*CSV_OPTIONS, "--time-unit", "ms"]
    else:
        file.write_text('{"session":"s","event":"e","timestamp":1718447400}\n')
        options = CSV_OPTIONS
        result = run(server, file, *options)
        assert result.exit_code == 1
        assert (
            "the times of the first row are in January 1970, the latest is 1970-01-20T21:20:47Z"
            in result.output
        )
        assert "--time-unit s" in result.output
        assert server.requests == 0
        options = [*CSV_OPTIONS, "--time-unit", "ms"]
    result = run(server, file, *options)
    assert result.exit_code == 0, result.output
    assert "warning" in result.output
    assert run(server, file, *CSV_OPTIONS, "--time-unit", "s", "--restart").exit_code == 0
    moments = sorted(event["timestamp"] for event in server.events.values())
    assert moments[-1] in (1_718_447_400_000, 1_718_447_400_500)


def test_ids_that_are_no_uuids_stop_the_import_and_can_be_hashed(server: BatchServer, tmp_path: Path):
    keeps_90_days(server)
    now = int(time.time() * 1000)
    file = tmp_path / "v.csv"
    file.write_text(f"session,event,eventId,timestamp\ns,e,order-1,{now}\ns,e,order-2,{now}\n")
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 1
    assert "--id-from eventId" in result.output
    options = [*CSV_OPTIONS, "--id-from", "eventId"]
    assert run(server, file, *options).exit_code == 0
    assert len(server.events) == 2
    assert {event["metadata"]["eventId"] for event in server.events.values()} == {"order-1", "order-2"}
    other = tmp_path / "other.ndjson"
    other.write_text(f'{{"session":"s","event":"e","id":"order-2","timestamp":{now}}}\n')
    assert run(server, other, *CSV_OPTIONS, "--id-from", "id").exit_code == 0
    assert len(server.events) == 2


def test_a_headerless_tsv_and_its_defaults(server: BatchServer, tmp_path: Path):
    file = tmp_path / "v.tsv"
    file.write_text("s1\tview\tada\t3\ns2\t\t\t\n")
    result = run(
        server, file, "--columns", "sessionId,what,who,n", "--set", "projectId=p", "--set", "tenantId=t",
        "--map", "eventType=what", "--map", "userId=who",
        "--default", "eventType=other", "--default", "userId=anonymous",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = {
        event["sessionId"]: (event["eventType"], event["userId"], event.get("metadata"))
        for event in server.events.values()
    }
    assert found == {"s1": ("view", "ada", {"n": 3}), "s2": ("other", "anonymous", None)}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nonsense", "is not a known encoding"),
        ("", "is not a known encoding"),
        ("utf-16", "does not extend ASCII"),
        ("cp037", "does not extend ASCII"),
        ("hex", "is not a known encoding"),
        ("rot13", "is not a known encoding"),
        ("idna", "extend ASCII"),
        ("undefined", "does not extend ASCII"),
        ("latin\0-1", "does not extend ASCII"),
    ],
)
def test_an_unusable_encoding_is_reported_without_a_traceback(
    server: BatchServer, tmp_path: Path, name: str, told: str
):
    result = run(server, visits(tmp_path / "v.csv", 3), *CSV_OPTIONS, "--encoding", name)
    assert result.exit_code == 2
    assert told in " ".join(result.output.replace("│", " ").split())
    assert server.requests == 0


@pytest.mark.parametrize("name", ["latin-1", "cp1252", "shift_jis", "gb18030", "utf-8-sig", "koi8-r"])
def test_encodings_that_extend_ascii_are_taken(server: BatchServer, tmp_path: Path, name: str):
    assert run(server, visits(tmp_path / "v.csv", 3), *CSV_OPTIONS, "--encoding", name).exit_code == 0


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_progress_bar_stays_in_one_line(columns: int):
    for share, accepted, rejected_rows in [
        (0.0, 0, 0),
        (0.5, 12_345_678, 1_234),
        (0.999, 10**9, 10**9),
        (1.0, 5, 0),
    ]:
        line = import_module.bar(columns, share, accepted, rejected_rows)
        assert len(line) < columns
        assert ("100%" in line) == (share == 1.0)
    if columns >= 80:
        assert "[" in import_module.bar(columns, 0.5, 123_456, 0)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_shows_a_bar_that_never_scrolls(server: BatchServer, tmp_path: Path, columns: int):
    """On a pseudo-terminal of that width: what is drawn over one line, and the order of what it says."""
    file = visits(tmp_path / "v.csv.gz", 3_000)
    shown = on_terminal(
        columns,
        [sys.executable, "-m", "nealytics", "import", str(file), "--url", server.url, "--key", KEY,
         "--batch-events", "100", "--requests", "1", *CSV_OPTIONS],
    )  # fmt: skip
    drawn = [piece for piece in re.split(r"\r\x1b\[K|\r?\n", shown) if piece.startswith("import ")]
    assert drawn
    assert max(map(len, drawn)) < columns
    shares = [int(found) for found in re.findall(r"import +(\d+)%", shown)]
    assert shares == sorted(shares)
    assert shares[0] < 20
    assert shares[-1] == 100


def test_without_a_terminal_there_is_no_bar(server: BatchServer, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "nealytics", "import", str(visits(tmp_path / "v.csv", 3_000)),
         "--url", server.url, "--key", KEY, *CSV_OPTIONS],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "%" not in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def on_terminal(columns: int, command: list[str]) -> str:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait(60) == 0, shown
    return shown.decode()


def import_over_tls(
    port: int, tmp_path: Path, host: str = "localhost", **environ: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "nealytics", "import", str(visits(tmp_path / "v.csv", 3)),
         "--url", f"https://{host}:{port}", "--key", KEY, *CSV_OPTIONS],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ},
    )  # fmt: skip


def test_a_certificate_that_is_not_trusted_ends_the_import_and_is_named(tmp_path: Path):
    """It asked for ever whether a server listens there."""
    certificate = make_certificate(tmp_path)
    with BatchServer(tls=certificate) as server:
        done = import_over_tls(server.port, tmp_path)
        assert done.returncode == 1
        assert "its certificate is not trusted: self-signed certificate. It is CN=localhost" in done.stderr
        assert "SSL_CERT_FILE" in done.stderr
        assert server.requests == 0
        done = import_over_tls(server.port, tmp_path, "127.0.0.1", SSL_CERT_FILE=str(certificate))
        assert done.returncode == 1
        assert "certificate is not valid for '127.0.0.1'" in done.stderr
        done = import_over_tls(server.port, tmp_path, SSL_CERT_FILE=str(certificate))
        assert done.returncode == 0, done.stderr
        assert len(server.events) == 3


def test_a_server_without_tls_behind_https_ends_the_import(server: BatchServer, tmp_path: Path):
    done = import_over_tls(server.port, tmp_path, "127.0.0.1")
    assert done.returncode == 1
    assert "no TLS connection" in done.stderr
    assert "is it an http:// address?" in done.stderr


def test_a_named_pipe_is_opened_once(tmp_path: Path):
    """Whoever writes into it gets a broken pipe when the first reader goes."""
    pipe = tmp_path / "rows"
    os.mkfifo(pipe)
    found: list[str | None] = []
    # To open it blocks until somebody writes.
    looking = threading.Thread(
        target=lambda: found.append(import_module._form_of(str(pipe), "rows")), daemon=True
    )
    looking.start()
    looking.join(30)
    assert found == [None]


def test_a_full_disk_tears_no_line_of_the_rejected_file(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 300, bad=frozenset(range(50, 100)))
    command = [
        sys.executable, "-m", "nealytics", "import", str(file), "--url", server.url, "--key", KEY,
        "--batch-events", "60", *CSV_OPTIONS,
    ]  # fmt: skip
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000)),
        timeout=60,
        check=False,
    )
    assert full.returncode == 1
    assert "v.csv.rejected.ndjson: File too large; free some disk space, or choose another" in full.stderr
    assert "Traceback" not in full.stderr
    assert run(server, file, *CSV_OPTIONS).exit_code == 1
    assert [row["rejectedRow"] for row in rejected(tmp_path / "v.csv.rejected.ndjson")] == [*range(50, 100)]
