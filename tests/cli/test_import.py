"""`nealytics import` against a batch route that misbehaves in every way a network can."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from nealytics.cli import main
from tests.fakes.batch_server import KEY, BatchServer

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
    monkeypatch.setattr("nealytics.importer.sender._RETRY_MIN_S", 0.001)
    monkeypatch.setattr("nealytics.importer.sender._RETRY_MAX_S", 0.01)
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
    assert "2,500 rows: 2,500 accepted, 0 rejected" in result.output
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
def test_bodies_are_compressed_as_told(server: BatchServer, tmp_path: Path, compress: str):
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
    assert min(server.sizes[:-1]) > 4_000


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


def test_it_gives_up_when_told_to(server: BatchServer, tmp_path: Path):
    server.mood = lambda number, events: web.Response(status=500)
    result = run(server, visits(tmp_path / "v.csv", 5), *CSV_OPTIONS, "--give-up-after", "0.2")
    assert result.exit_code == 1
    assert "gave up" in result.output
    assert "HTTP 500" in result.output


def test_refused_rows_are_told_and_kept_and_the_others_arrive(server: BatchServer, tmp_path: Path):
    bad = frozenset({3, 50, 51})
    file = visits(tmp_path / "v.csv", 200, bad=bad)
    file.write_bytes(file.read_bytes() + b"too,few\n")
    result = run(server, file, *CSV_OPTIONS, "--batch-events", "40")
    assert result.exit_code == 1
    assert "201 rows: 197 accepted, 4 rejected" in result.output
    assert "row 3: eventType: eventType is bad" in result.output
    kept = rejected(tmp_path / "v.csv.rejected.ndjson")
    assert [entry["rejectedRow"] for entry in kept] == [3, 50, 51, 201]
    assert kept[0]["rejectedField"] == "eventType"
    assert kept[0]["sessionId"] == "s3"
    assert kept[3]["rejectedText"] == "too,few"
    assert len(server.events) == 197


def test_refused_rows_can_be_allowed(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 10, bad=frozenset({1}))
    assert run(server, file, *CSV_OPTIONS, "--allow-rejected").exit_code == 0


def test_the_rejected_file_can_be_mended_and_imported(server: BatchServer, tmp_path: Path):
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
    assert (entry["rejectedRow"], entry["rejectedError"]) == (37, "no such thing")
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
    assert "did not answer as Nealytics does" in result.output


def test_a_second_run_has_nothing_to_do_and_a_grown_file_goes_on(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv", 100)
    run(server, file, *CSV_OPTIONS)
    result = run(server, file, *CSV_OPTIONS)
    assert result.exit_code == 0
    assert "nothing to do, an earlier run had settled all 100 rows" in result.output
    assert server.requests == 1
    visits(file, 120)
    result = run(server, file, *CSV_OPTIONS)
    assert "20 rows (after 100 of earlier runs): 20 accepted" in result.output
    assert len(server.events) == len(server.order) == 120


def test_a_run_that_failed_goes_on_where_everything_was_acknowledged(server: BatchServer, tmp_path: Path):
    file = visits(tmp_path / "v.csv.gz", 1_000, bad=frozenset({5, 6, 905}))
    server.mood = lambda number, events: web.Response(status=401, text="{}") if number == 8 else None
    options = [*CSV_OPTIONS, "--batch-events", "100", "--requests", "1"]
    assert run(server, file, *options).exit_code == 1
    before = len(server.order)
    server.mood = lambda number, events: None
    result = run(server, file, *options)
    assert "goes on after row 700" in result.output
    assert "300 rows (after 700 of earlier runs): 299 accepted, 1 rejected" in result.output
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
    server.mood = lambda number, events: time.sleep(0.005)  # type: ignore[func-returns-value]
    command = [
        sys.executable, "-m", "nealytics", "import", str(file), "--url", server.url, "--key", KEY,
        "--batch-events", "10", *CSV_OPTIONS,
    ]  # fmt: skip
    for _ in range(5):
        arrived = server.requests + random.randrange(1, 60)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while server.requests < arrived and process.poll() is None:
            time.sleep(0.001)
        time.sleep(0.01 * random.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert last.returncode == 0, last.stderr
    assert len(server.events) == 3_000
    assert {event["metadata"]["plan"] for event in server.events.values()} == {
        f"plan {n}" for n in range(1, 3_001)
    }


def test_a_mistyped_option_is_told_before_anything_is_sent(server: BatchServer, tmp_path: Path):
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
