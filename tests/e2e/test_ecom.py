"""The main job on real input: somebody else's 31,106 events, imported while everything is being killed.

The data set is not part of the repository; without it the test says so and skips.
"""

import csv
import gzip
import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.node import KEY, Node, program

ECOM = Path(os.environ.get("TEST_ECOM_CSV", Path(__file__).parents[3] / "shared" / "data" / "ecom.csv.gz"))
EVENTS = 31_106
KILLS = 24

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not ECOM.exists(), reason=f"the ecom data set is not at {ECOM}; set TEST_ECOM_CSV to its path"
    ),
]

IMPORT_OPTIONS = [
    "--format", "csv", "--key", KEY, "--set", "projectId=shop", "--set", "tenantId=acme",
    "--map", "userId=user_id", "--map", "sessionId=session_id", "--map", "eventType=event",
    "--map", "timestamp=timestamp",
]  # fmt: skip


def rows() -> Iterator[dict[str, str]]:
    with gzip.open(ECOM, "rt", newline="") as file:
        yield from csv.DictReader(file)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def expected_sessions() -> dict[str, tuple[datetime, datetime, float, int]]:
    """Computed from the CSV in plain Python, with no help from the product: first, last, duration, count."""
    sessions: dict[str, list[datetime]] = {}
    for row in rows():
        sessions.setdefault(row["session_id"], []).append(
            datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        )
    return {
        session_id: (min(times), max(times), (max(times) - min(times)).total_seconds(), len(times))
        for session_id, times in sessions.items()
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_import_survives_kills_of_worker_engine_and_supervisor(tmp_path: Path, workers: int):
    """Every acknowledged event is there once and only once, and the sessions are what Python computes."""
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed} (repeat with TEST_SEED={seed})")
    rng = random.Random(seed)
    # The rate limit paces the import, so that it is still running at the last kill.
    node = Node(
        tmp_path,
        workers=workers,
        settings="""
            ingest.rate_limit_requests = 20
            ingest.rate_limit_window_s = 1
            commit.batch_rows_max = 1000
            query.limit_max = 100000
            query.page_bytes_max = 67108864
        """,
    )
    killed = {"worker": 0, "embedded-child": 0, "supervisor": 0}
    with node:
        node.wait_ready("/ready/ingest")
        importer_log = (tmp_path / "import.log").open("wb")
        importer = subprocess.Popen(
            [
                *program(),
                "import",
                str(ECOM),
                "--url",
                node.url,
                "--batch-events",
                "50",
                "--state",
                str(tmp_path / "state"),
                *IMPORT_OPTIONS,
            ],
            stdout=importer_log,
            stderr=importer_log,
        )
        try:
            while sum(killed.values()) < KILLS or not all(killed.values()):
                time.sleep(rng.uniform(0.3, 2.0))
                if importer.poll() is not None:
                    break
                victim = rng.choices(["worker", "embedded-child", "supervisor"], weights=[5, 3, 2])[0]
                if victim == "supervisor":
                    node.kill()
                    node.start()
                    killed[victim] += 1
                elif node.kill_one(victim, rng.randrange(workers)):
                    killed[victim] += 1
            print(f"killed {killed}")
            assert importer.wait(600) == 0, (tmp_path / "import.log").read_text()[-2000:]
        finally:
            importer.kill()
            importer_log.close()
        assert sum(killed.values()) >= 20, f"the import was over after {killed}"
        assert all(killed.values()), killed

        node.kill()
        node.start()
        node.wait_ready()
        node.wait_drained()

        timeline = node.read("/api/v1/telemetry/timeline?limit=100000")["events"]
        assert len(timeline) == EVENTS
        assert len({event["eventId"] for event in timeline}) == EVENTS
        sessions = node.read(
            "/api/v1/analytics/sessions?limit=100000&from=2024-01-01T00:00:00Z&to=2024-12-31T00:00:00Z"
        )
        expected = expected_sessions()
        assert sessions["totalEventCount"] == EVENTS
        assert sessions["uniqueSessionCount"] == len(expected)
        got = {
            s["sessionId"]: (
                moment(s["firstSeen"]),
                moment(s["lastSeen"]),
                s["durationSeconds"],
                s["eventCount"],
            )
            for s in sessions["sessions"]
        }
        assert got == expected
        assert list((tmp_path / "data" / "wal" / "dead-letter").glob("*")) == []
        # Every event carries all that the CSV says of it.
        assert Counter(map(as_sent, timeline)) == Counter(map(as_in_csv, rows()))
        assert node.stop() == 0


METADATA = ("platform", "acquisition_channel", "user_cohort", "user_lifecycle")


def as_sent(event: dict[str, str]) -> tuple[object, ...]:
    metadata = json.loads(event["metadataJson"])
    return (
        event["userId"],
        event["sessionId"],
        event["eventType"],
        moment(event["timestamp"]),
        *(metadata.get(column, "") for column in METADATA),
    )


def as_in_csv(row: dict[str, str]) -> tuple[object, ...]:
    at = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
    return (row["user_id"], row["session_id"], row["event"], at, *(row[column] for column in METADATA))
