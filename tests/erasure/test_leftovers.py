"""The dead letter, a C# engine's files, and quarantined logs."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.commit.dead_letter import DeadLetter, DeadRow
from nealytics.commit.rejected import RejectedEvent, RejectedEvents, Whose
from nealytics.erasure.jobs import Job
from nealytics.erasure.leftovers import (
    erase_dead_letters,
    erase_imported,
    erase_rejected,
    is_erased,
    may_have,
)
from nealytics.erasure.store import Jobs
from nealytics.erasure.tombstones import Tombstones
from nealytics.event import InvalidEvent
from nealytics.observe.metrics import Metrics
from tests.erasure.erasures import erasure
from tests.fakes.letters import held, put, rejected
from tests.fakes.rows import row
from tests.wal.logs import write

LATE = 1_900_000_000_000


def test_dead_letters_that_are_covered_are_deleted_also_renamed_ones(tmp_path: Path):
    dead_letter = DeadLetter(tmp_path / "dead-letter")
    rows = [row(1, tenant_id="gone"), row(2), row(3, tenant_id="gone")]
    for lsn, one in enumerate(rows, 1):
        dead_letter.put(DeadRow.of("log", lsn, ROW_FORMAT, one, ClickHouseError(27, "no"), 0))
    (tmp_path / "dead-letter" / "log-3.json").rename(tmp_path / "dead-letter" / "log-3.json.ab12")
    tombstones = Tombstones([erasure(tenant_id="gone")])
    assert erase_dead_letters(dead_letter.directory, tombstones) == (2, [])
    assert [path.name for path in dead_letter.directory.iterdir()] == ["log-2.json"]
    assert erase_dead_letters(dead_letter.directory, tombstones) == (0, [])


def test_a_dead_letter_that_cannot_be_read_is_reported(tmp_path: Path):
    (tmp_path / "log-1.json").write_text("{")
    removed = erase_dead_letters(tmp_path, Tombstones([erasure()]))
    assert removed.removed == 0
    assert "log-1.json cannot be read and may have the events" in removed.problems[0]
    assert erase_dead_letters(tmp_path / "missing", Tombstones([erasure()])) == (0, [])


@pytest.mark.parametrize("user", [None, "ada"])
def test_rejected_events_that_may_be_covered_are_deleted(tmp_path: Path, user: str | None):
    """By what they say, or by what their key or token says about them."""

    def one(payload: bytes, at_ms: int = 0, tenant: str = "acme", **more: str) -> RejectedEvent:
        return rejected(at_ms, payload, tenant_id=tenant, **more)

    covered = [
        one(b'{"projectId":"shop","tenantId":"acme","userId":"ada"}', tenant=""),
        one(b'{"projectId":"shop","tenantId":"acme","us', tenant=""),
        one(b'{"userId":"ada"}'),
        one(b'{"projectId":"other","userId":"ada"}'),
        one(b'{"userId":"ada","context":{"groupId":"acme"}}', tenant="", source="segment"),
        one(b'{"distinct_id":"ada"}', source="posthog"),
        one(b"{}", user_id="ada"),
        one(b"\xff"),
    ]
    of_others = [
        one(b'{"projectId":"shop","tenantId":"other","userId":"ada"}', tenant=""),
        one(b'{"userId":"ada"}', project_id="other"),
        one(b'{"userId":"ada"}', at_ms=1_900_000_000_000),
    ]
    of_another_user = [one(b'{"userId":"eve"}')]
    everything = covered + of_others + of_another_user
    put(tmp_path, *everything)
    job = erasure(user_id=user) if user else erasure()
    expected = covered if user else covered + of_another_user
    assert erase_rejected(tmp_path / "rejected", job) == (len(expected), [])
    gone = {event.id for event in expected}
    assert [event.id for event in held(tmp_path)] == [e.id for e in everything if e.id not in gone]
    assert erase_rejected(tmp_path / "missing", job) == (0, [])


@pytest.mark.parametrize("user", [None, "canary"])
@pytest.mark.parametrize(
    ("payload", "more"),
    [
        # Of an earlier release.
        (b'{"event":"x","properties":{"distinct_id":"%s","groups":{"c":"acme"}}}', {}),
        (b'{"event":"x","properties":{"$anon_distinct_id":"%s"}}', {"tenant_id": "acme"}),
        # As it was mapped.
        (b'{"event":"x","n":"%s"}', {"whose": Whose(tenant="acme", user="canary")}),
        (b'{"event":"x","n":"%s"}', {"whose": Whose(tenant="acme", user="canary", at_ms=5), "at_ms": LATE}),
    ],
)
def test_nothing_of_a_person_is_left_in_a_file(
    tmp_path: Path, payload: bytes, more: dict[str, Any], user: str | None
):
    at_ms = more.get("at_ms", 0)
    put(tmp_path, rejected(at_ms, payload % b"canary", **{k: v for k, v in more.items() if k != "at_ms"}))
    put(tmp_path, rejected(at_ms, b'{"event":"y"}', whose=Whose(tenant="other", user="canary", at_ms=5)))
    assert erase_rejected(tmp_path / "rejected", erasure(user_id=user)) == (1, [])
    assert b'"x"' not in b"".join(path.read_bytes() for path in (tmp_path / "rejected").iterdir())
    assert len(held(tmp_path)) == 1


def test_a_line_that_cannot_be_read_is_reported_and_the_others_are_erased(tmp_path: Path):
    put(tmp_path, rejected(0, b'{"event":"x"}', tenant_id="acme"))
    [path] = (tmp_path / "rejected").iterdir()
    path.write_bytes(b"{broken\n" + path.read_bytes())
    removed, problems = erase_rejected(tmp_path / "rejected", erasure())
    assert (removed, len(problems), held(tmp_path)) == (1, 1, [])
    assert f"may have the events: rejected: cannot read line 1 of {path}" in problems[0]


def test_a_tenant_and_a_user_may_be_numbers(tmp_path: Path):
    put(
        tmp_path,
        rejected(0, b'{"event":"x","userId":7,"context":{"groupId":42}}'),
        rejected(0, b'{"event":"y","userId":8,"context":{"groupId": 42}}'),
        rejected(0, b'{"event":"y","userId":7,"context":{"groupId":421,"n":-42,"m":4.42}}'),
        rejected(0, b'{"event":"y","userId":7,"n":42}', whose=Whose(tenant="acme", user="7")),
    )
    assert erase_rejected(tmp_path / "rejected", erasure(tenant_id="42", user_id="7")) == (1, [])
    assert {json.loads(bytes(event.payload))["event"] for event in held(tmp_path)} == {"y"}
    assert erase_rejected(tmp_path / "rejected", erasure(tenant_id="42")) == (1, [])
    assert len(held(tmp_path)) == 2


def test_an_event_of_which_only_the_beginning_was_kept_may_be_anybodys_in_its_project(tmp_path: Path):
    put(
        tmp_path,
        rejected(0, b'{"event":"x', code="body_too_large"),
        rejected(0, b'{"event":"y', code="body_too_large", tenant_id="other"),
        rejected(0, b'{"event":"y', code="body_too_large", project_id="other"),
        rejected(0, b'{"event":"y', code="invalid_json"),
    )
    assert erase_rejected(tmp_path / "rejected", erasure(user_id="ada")) == (1, [])
    assert len(held(tmp_path)) == 3


async def test_an_event_of_an_erasure_that_arrives_later_is_not_kept(tmp_path: Path):
    jobs = Jobs(tmp_path)
    metrics = Metrics.private()
    events = RejectedEvents(
        tmp_path / "rejected", 0, bytes_max=1 << 20, days_max=30, metrics=metrics,
        clock_ms=lambda: LATE, is_erased=partial(is_erased, Jobs(tmp_path)),
    )  # fmt: skip
    error = InvalidEvent("invalid_event", "no")

    def one(user: str, at_ms: int, payload: bytes = b'{"event":"x"}') -> RejectedEvent:
        return events.new(
            "segment", "shop", error, payload, whose=Whose(tenant="acme", user=user, at_ms=at_ms)
        )

    sent = [one("ada", 5), one("ada", LATE), one("eve", 5)]
    native = b'{"projectId":"shop","tenantId":"acme","userId":"ada","timestamp":"2020-01-01T00:00:00Z"}'
    await events.keep([*sent, one("ada", 5, native)])
    assert len(held(tmp_path)) == 4
    jobs.put(Job(erasure=erasure(user_id="ada")))
    await events.keep([*sent, one("ada", 5, native)])
    assert [event.id for event in held(tmp_path)[4:]] == [sent[1].id, sent[2].id]
    assert metrics.value("nealytics_events_erased_total") == 2


def line(user: str | None, tenant: str = "acme", **more: str) -> str:
    event = {"eventId": "e", "projectId": "shop", "tenantId": tenant, "timestamp": "2020-01-01T00:00:00Z"}
    return json.dumps({**event, **({} if user is None else {"userId": user}), **more})


def test_lines_of_imported_and_rejected_files_are_removed(tmp_path: Path):
    imported = tmp_path / "telemetry_wal.log.imported"
    rejected = tmp_path / "telemetry_wal.log.rejected.1"
    waiting = tmp_path / "telemetry_wal.log"
    kept = [line("ada", "other"), line("bob"), line(None), line("ada", projectId="other")]
    kept.append(line("ada", timestamp="2031-01-01T00:00:00Z"))
    # No event of the tenant, whatever else it has of its name.
    kept += [
        '{"projectId":"other","tenantId":"a","userId":"acme","timestamp":1}',
        '{"tenantId":"acme2","us',
        "[]",
    ]
    torn = '{"eventId":"e","tenantId":"acme","us'
    kept.append(torn)
    erased = [line("ada"), line("ada", timestamp="soon")]
    imported.write_text("".join(f"{one}\n" for one in (*kept, *erased)))
    rejected.write_text("".join(json.dumps({"line": 1, "text": one}) + "\n" for one in (*erased, *kept)))
    waiting.write_text(line("ada"))
    removed, problems = erase_imported(tmp_path, erasure(user_id="ada"))
    assert removed == 4
    assert [problem.split(" has ")[0] for problem in problems] == [str(imported), str(rejected)]
    assert imported.read_text().splitlines() == kept
    assert [json.loads(one)["text"] for one in rejected.read_text().splitlines()] == kept
    assert waiting.read_text() == line("ada")
    assert erase_imported(tmp_path, erasure(user_id="ada")).removed == 0
    # Of the tenant, a torn line is removed with the others.
    assert erase_imported(tmp_path, erasure()) == (6, [])
    assert torn not in imported.read_text()
    assert not any(json.loads(one)["text"] == torn for one in rejected.read_text().splitlines())


async def test_a_quarantined_log_is_searched_for_the_tenant(tmp_path: Path):
    directory = tmp_path / "0.damaged.x"
    await write(directory, [[row(1), row(2, tenant_id="gone")]])
    assert may_have(directory, erasure(tenant_id="gone"))
    assert may_have(directory, erasure())
    assert not may_have(directory, erasure(tenant_id="gon"))
    assert not may_have(directory, erasure(tenant_id="gone", project_id="other"))
