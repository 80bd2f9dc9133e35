"""Rows of the dead letter, a C# engine's files, and quarantined logs."""

import json
from pathlib import Path

from nealytics.clickhouse.errors import ClickHouseError
from nealytics.clickhouse.rowbinary import ROW_FORMAT
from nealytics.commit.dead_letter import DeadLetter, DeadRow
from nealytics.erasure.leftovers import erase_dead_letters, erase_imported, may_have
from nealytics.erasure.tombstones import Tombstones
from tests.erasure.erasures import erasure
from tests.fakes.rows import row
from tests.wal.logs import write


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
