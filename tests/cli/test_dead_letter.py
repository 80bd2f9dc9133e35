import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nealytics.cli import main
from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.embedded import running_engine
from nealytics.clickhouse.errors import ClickHouseError
from nealytics.commit.dead_letter import DeadLetter, DeadRow
from nealytics.commit.delivery import insert_token
from nealytics.config import load
from nealytics.erasure.store import Jobs
from tests.engine import needs_engine
from tests.erasure.erasures import job
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.letters import put as put_events
from tests.fakes.letters import rejected
from tests.fakes.rows import TIMESTAMP_MS, number, row

LOG_ID = "8f2c1b5e-0000-4000-8000-000000000000"


@pytest.fixture
async def fake() -> AsyncIterator[FakeClickHouse]:
    async with FakeClickHouse() as server:
        yield server


@pytest.fixture
def dead_letter(tmp_path: Path) -> DeadLetter:
    return DeadLetter(tmp_path / "data" / "wal" / "dead-letter")


def put(dead_letter: DeadLetter, *numbers: int) -> list[str]:
    ids = []
    for n in numbers:
        error = ClickHouseError(469, "Constraint `c` is violated. (VIOLATED_CONSTRAINT)", status=400)
        dead = DeadRow.of(LOG_ID, n, 1, row(n), error, TIMESTAMP_MS)
        dead_letter.put(dead)
        ids.append(dead.id)
    return ids


async def run(tmp_path: Path, url: str, *arguments: str) -> Result:
    config = tmp_path / "nealytics.toml"
    config.write_text(
        f'[server]\ndata_dir = "{tmp_path}/data"\n[clickhouse]\nurl = "{url}"\nretention_days = 0\n'
    )
    command = ["dead-letter", *arguments, "--config", str(config)]
    return await asyncio.to_thread(CliRunner().invoke, main, command)


async def test_events_are_selected_by_tenant_and_time_and_a_broken_line_is_named(tmp_path, dead_letter):
    put(dead_letter, 7)
    put_events(
        dead_letter.directory.parent, rejected(TIMESTAMP_MS, tenant_id="other"), rejected(1_000, b"{}")
    )
    [path, *_] = (dead_letter.directory.parent / "rejected").iterdir()
    path.write_bytes(b"{broken\n" + path.read_bytes())
    for options, found in (
        (("--tenant", "acme"), 1),
        (("--tenant", "nobody"), 0),
        (("--to", "1970-01-01"), 1),
        (("--from", "1971-01-01"), 2),
    ):
        result = await run(tmp_path, "http://127.0.0.1:1", "list", "--json", *options)
        assert result.stdout.count("\n") == found
        assert result.exit_code == 1
        assert f"cannot read line 1 of {path}" in result.stderr
    result = await run(tmp_path, "http://127.0.0.1:1", "drop", "--to", "1970-01-01")
    assert (result.exit_code, result.stdout) == (0, "1 dropped\n")
    assert f"cannot read line 1 of {path}" in result.stderr
    result = await run(tmp_path, "http://127.0.0.1:1", "retry", "--set", "timestamp=soon")
    assert "Write an ISO 8601 time" in result.output


async def test_list_says_that_there_is_nothing(tmp_path):
    result = await run(tmp_path, "http://127.0.0.1:1", "list")
    assert result.exit_code == 0
    assert "contains no events" in result.output


async def test_list_shows_id_event_and_reason(tmp_path, dead_letter):
    (id,) = put(dead_letter, 7)
    result = await run(tmp_path, "http://127.0.0.1:1", "list")
    assert result.exit_code == 0
    assert id in result.output
    assert "shop/acme/page_view" in result.output
    assert "VIOLATED_CONSTRAINT" in result.output


async def test_list_as_json_has_everything(tmp_path, dead_letter):
    ids = put(dead_letter, 7, 8)
    result = await run(tmp_path, "http://127.0.0.1:1", "list", "--json")
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["id"] for line in lines] == ids
    assert lines[0]["reason"] == "VIOLATED_CONSTRAINT"
    assert lines[0]["source"] == "clickhouse"
    assert lines[0]["payload"]["project_id"] == lines[0]["project"] == "shop"


async def test_a_file_that_is_not_ours_is_named_and_the_rest_is_shown(tmp_path, dead_letter):
    (id,) = put(dead_letter, 7)
    (dead_letter.directory / "notes.json").write_text("{}")
    result = await run(tmp_path, "http://127.0.0.1:1", "list")
    assert result.exit_code == 1
    assert id in result.output
    assert f"cannot read {dead_letter.directory}/notes.json" in result.output


async def test_retry_inserts_all_and_empties_the_dead_letter(tmp_path, dead_letter, fake):
    put(dead_letter, 7, 8)
    result = await run(tmp_path, fake.url, "retry")
    assert result.exit_code == 0, result.output
    assert "2 inserted, 0 still in the dead letter" in result.output
    assert [number(r) for r in fake.rows] == [7, 8]
    assert fake.tokens == [insert_token(LOG_ID, n, n, row(n)) for n in (7, 8)]
    assert dead_letter.ids() == []


async def test_retry_deletes_what_an_erasure_covers_and_counts_it(tmp_path, dead_letter, fake):
    put(dead_letter, 7)
    error = ClickHouseError(469, "violated", status=400)
    dead_letter.put(DeadRow.of(LOG_ID, 8, 1, row(8, tenant_id="other"), error, TIMESTAMP_MS))
    Jobs(tmp_path / "data").put(job("e1"))
    result = await run(tmp_path, fake.url, "retry")
    assert result.exit_code == 0, result.output
    assert "1 inserted, 1 deleted because an erasure covers them, 0 still in the dead letter" in result.output
    assert [number(r) for r in fake.rows] == [8]
    assert dead_letter.ids() == []


async def test_retry_of_one_leaves_the_others(tmp_path, dead_letter, fake):
    ids = put(dead_letter, 7, 8)
    result = await run(tmp_path, fake.url, "retry", ids[1], ids[1])
    assert result.exit_code == 0, result.output
    assert [number(r) for r in fake.rows] == [8]
    assert dead_letter.ids() == ids[:1]


async def test_what_is_still_refused_stays(tmp_path, dead_letter, fake):
    ids = put(dead_letter, 7, 8)
    fake.refuse = lambda r: 469 if number(r) == 7 else None
    result = await run(tmp_path, fake.url, "retry")
    assert result.exit_code == 1
    assert "1 inserted, 1 still" in result.output
    assert dead_letter.ids() == ids[:1]


async def test_an_answer_that_was_lost_is_retried_without_a_second_copy(tmp_path, dead_letter, fake):
    put(dead_letter, 7)
    fake.faults.append(faults.lost_answer())
    first = await run(tmp_path, fake.url, "retry")
    assert first.exit_code == 1
    assert len(dead_letter.ids()) == 1
    second = await run(tmp_path, fake.url, "retry")
    assert second.exit_code == 0, second.output
    assert [number(r) for r in fake.rows] == [7]


async def test_an_id_that_is_not_there_is_said(tmp_path, dead_letter, fake):
    result = await run(tmp_path, fake.url, "retry", f"{LOG_ID}-99")
    assert result.exit_code == 2
    assert f"{LOG_ID}-99 is not in the dead letter" in result.output
    assert fake.inserts == []


async def test_without_clickhouse_retry_keeps_everything(tmp_path, dead_letter):
    ids = put(dead_letter, 7)
    result = await run(tmp_path, "http://127.0.0.1:1", "retry")
    assert result.exit_code == 1
    assert "clickhouse" in result.output
    assert dead_letter.ids() == ids


async def test_help_says_what_it_is_for():
    for arguments in (["dead-letter"], ["dead-letter", "list"], ["dead-letter", "retry"]):
        result = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--help"])
        assert result.exit_code == 0
        assert len(result.output) > 200


@needs_engine
@pytest.mark.engine
async def test_retry_starts_the_embedded_engine_when_none_runs(tmp_path, dead_letter):
    put(dead_letter, 7)
    await run(tmp_path, "embedded", "list")  # writes the configuration
    config = load(tmp_path / "nealytics.toml")

    async def count() -> int:
        async with running_engine(config), ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            await schema.apply(client, config.clickhouse)
            return (await client.query("SELECT count() FROM global_events"))[0][0]

    assert await count() == 0
    result = await run(tmp_path, "embedded", "retry")
    assert result.exit_code == 0, result.output
    assert await count() == 1
    assert dead_letter.ids() == []


def put_rejected(tmp_path: Path, *payloads: bytes, **changes: Any) -> list[str]:
    events = [rejected(int(time.time() * 1000) + n, p, **changes) for n, p in enumerate(payloads)]
    put_events(tmp_path / "data" / "wal", *events)
    return [event.id for event in events]


BARE = b'{"sessionId":"s","eventType":"view"}'


async def test_rejected_events_are_listed_beside_the_others(tmp_path, dead_letter):
    put(dead_letter, 7)
    (id,) = put_rejected(tmp_path, BARE, source="pixel", reason="no tenant")
    result = await run(tmp_path, "http://127.0.0.1:1", "list")
    assert f"{id}  " in result.output
    assert "shop/?/view" in result.output
    assert "pixel invalid_event" in result.output
    assert "no tenant" in result.output
    counted = await run(tmp_path, "http://127.0.0.1:1", "list", "--counts")
    assert sorted(line.split() for line in counted.output.splitlines()) == [
        ["1", "shop", "clickhouse", "VIOLATED_CONSTRAINT"],
        ["1", "shop", "pixel", "invalid_event"],
    ]
    only = await run(tmp_path, "http://127.0.0.1:1", "list", "--source", "clickhouse")
    assert id not in only.output


async def test_events_of_sdks_are_listed_with_their_name_and_user(tmp_path):
    track = b'{"type":"track","event":"Order Completed","userId":"ada","properties":{"total":9}}'
    capture = b'{"event":"$pageview","distinct_id":"bob","properties":{}}'
    put_rejected(tmp_path, track, b'{"traits":{}}', b'"cut', source="segment", kind="identify")
    put_rejected(tmp_path, capture, source="posthog", tenant_id="acme")
    put_rejected(tmp_path, b'{"eventType":["view"],"userId":7}')
    listed = (await run(tmp_path, "http://127.0.0.1:1", "list")).output
    assert "shop/?/Order Completed  user ada  segment" in listed
    assert listed.count("shop/?/identify  segment") == 2
    assert "shop/acme/$pageview  user bob  posthog" in listed
    assert "shop/?/?  batch" in listed


async def test_a_selection_without_events_is_not_an_empty_dead_letter(tmp_path):
    put_rejected(tmp_path, BARE)
    for command in ("list", "retry"):
        result = await run(tmp_path, "http://127.0.0.1:1", command, "--reason", "nosuch")
        assert result.output == "No event of the dead letter matches.\n"


async def test_retry_of_a_selection_with_a_field_that_was_missing(tmp_path, dead_letter, fake):
    put(dead_letter, 7)
    (id,) = put_rejected(tmp_path, BARE)
    failed = await run(tmp_path, fake.url, "retry", "--source", "batch")
    assert failed.exit_code == 1
    assert f"{id}: tenantId is missing or empty" in failed.output
    result = await run(tmp_path, fake.url, "retry", "--source", "batch", "--set", "tenantId=acme")
    assert "1 inserted, 0 still" in result.output
    assert len(fake.rows) == 1
    assert len(dead_letter.ids()) == 1


async def test_drop_needs_to_be_told_what(tmp_path, dead_letter):
    ids = put(dead_letter, 7, 8)
    (other,) = put_rejected(tmp_path, BARE, project_id="other")
    nothing = await run(tmp_path, "http://127.0.0.1:1", "drop")
    assert nothing.exit_code == 2
    assert "--all" in nothing.output
    assert "1 dropped" in (await run(tmp_path, "http://127.0.0.1:1", "drop", ids[0])).output
    assert dead_letter.ids() == ids[1:]
    assert "1 dropped" in (await run(tmp_path, "http://127.0.0.1:1", "drop", "--project", "shop")).output
    wrong = await run(tmp_path, "http://127.0.0.1:1", "drop", "not-there")
    assert wrong.exit_code == 2
    assert "1 dropped" in (await run(tmp_path, "http://127.0.0.1:1", "drop", "--all")).output
    assert other not in (await run(tmp_path, "http://127.0.0.1:1", "list")).output


async def test_a_change_without_a_value_is_refused(tmp_path, dead_letter, fake):
    put_rejected(tmp_path, BARE)
    result = await run(tmp_path, fake.url, "retry", "--set", "tenantId")
    assert result.exit_code == 2
    assert "FIELD=VALUE" in result.output
