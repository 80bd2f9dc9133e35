"""What the native routes reject and the dead letter keeps, if `ingest.keep_rejected` says so."""

import asyncio
import json
from typing import Any

import pytest

from nealytics.commit.rejected import RejectedEvent, RejectedEvents, Whose
from nealytics.errors import LogFull
from tests.fakes.letters import held
from tests.fakes.log import RefusingLog
from tests.fakes.worker import ANY, BATCH, BEACON, BOUND, TRACK, event, ingest_token, serving

BAD = event(sessionId="")


def without_empty(payload: Any) -> dict[str, Any]:
    return {name: value for name, value in json.loads(bytes(payload)).items() if value}


@pytest.mark.parametrize("path", [TRACK, BATCH, BEACON])
async def test_with_the_setting_events_of_native_routes_are_kept(path):
    async with serving(keep_rejected=True) as worker:
        body = BAD if path == TRACK else [event(), BAD, event()]
        await worker.post(path, body)
        [found] = held(worker.directory)
        assert without_empty(found.payload) == {name: value for name, value in BAD.items() if value}
        assert found.project_id == "shop"
        assert found.whose is not None
        assert found.whose == Whose(tenant="t1", user=BAD.get("userId", ""), at_ms=found.whose.at_ms)
        assert found.source == path.rpartition("/")[2]
        assert (found.code, found.reason) == ("invalid_event", "sessionId is missing or empty")


@pytest.mark.parametrize("path", [TRACK, BATCH, BEACON])
async def test_by_default_they_are_not(path):
    async with serving() as worker:
        await worker.post(path, BAD)
        assert held(worker.directory) == []


POISON: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{oops", "invalid_json"),
    "not UTF-8": (b'{"projectId":"\xff"}', "invalid_json"),
    "a number": (b"5", "invalid_event"),
    "nothing in it": (b"{}", "invalid_event"),
    "a wrong type": (json.dumps(event(userId=5)).encode(), "invalid_event"),
    "too long": (json.dumps(event(eventType="x" * 300)).encode(), "invalid_event"),
    "too old": (json.dumps(event(timestamp=1)).encode(), "outside_time_window"),
    "in the future": (json.dumps(event(timestamp="2999-01-01")).encode(), "outside_time_window"),
    "a foreign project": (json.dumps(event(projectId="other")).encode(), "forbidden"),
    "a long one": (json.dumps(event(sessionId="", metadata={"t": "x" * 50_000})).encode(), "invalid_event"),
}


@pytest.mark.parametrize("name", POISON)
async def test_a_poison_event_spoils_no_batch_and_is_kept_as_it_was_sent(name):
    poison, code = POISON[name]
    good = json.dumps(event()).encode()
    async with serving(keep_rejected=True) as worker:
        headers = {"Content-Type": "application/x-ndjson"}
        answer = await worker.post(BATCH, b"\n".join([good, poison, good]), key=BOUND, headers=headers)
        assert (answer.json["accepted"], answer.json["rejected"]) == (2, 1)
        assert len(await worker.rows()) == 2
        [found] = held(worker.directory)
        assert (found.code, found.project_id) == (code, "shop")
        assert bytes(found.payload) in (poison, json.dumps(poison.decode(errors="replace")).encode()) or (
            code == "invalid_json"
        )


async def test_the_project_and_tenant_of_a_token_count_and_not_what_the_event_says():
    async with serving(keep_rejected=True) as worker:
        headers = {"Authorization": f"Bearer {ingest_token(user_id='ada')}"}
        forged = {"sessionId": "s", "eventType": "view", "tenantId": "t2", "userId": "eve"}
        assert (await worker.post(TRACK, forged, key=None, headers=headers)).status == 403
        [found] = held(worker.directory)
        assert (found.project_id, found.tenant_id, found.user_id) == ("shop", "t1", "ada")
        assert found.code == "forbidden"
        assert found.digest


@pytest.mark.parametrize("path", [BATCH, BEACON])
async def test_rejected_events_are_not_kept_again_and_again_while_the_log_takes_nothing(path):
    async with serving(keep_rejected=True, log=RefusingLog(LogFull("full"))) as worker:
        for _ in range(3):
            assert (await worker.post(path, [event(), BAD])).status == 503
        assert held(worker.directory) == []


async def test_whose_a_rejected_event_is_can_be_a_number():
    async with serving(keep_rejected=True) as worker:
        await worker.post(TRACK, event(tenantId=42, userId=7, timestamp="2026-11-30T12:00:00Z"))
        [found] = held(worker.directory)
        assert found.whose == Whose(tenant="42", user="7", at_ms=1_796_040_000_000)


async def test_requests_without_a_valid_key_are_not_kept():
    async with serving(keep_rejected=True) as worker:
        assert (await worker.post(TRACK, BAD, key="wrong")).status == 401
        assert held(worker.directory) == []


async def test_of_one_body_a_hundred_are_kept():
    async with serving(keep_rejected=True) as worker:
        await worker.post(BATCH, [BAD] * 150, key=ANY)
        assert len(held(worker.directory)) == 100


async def test_other_requests_run_while_rejected_events_are_made(monkeypatch):
    """Each may have megabytes, so one body takes long."""
    turns, made_at = 0, list[int]()

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def new(self: RejectedEvents, *args: Any, **more: Any) -> RejectedEvent:
        made_at.append(turns)
        return make(self, *args, **more)

    make = RejectedEvents.new
    monkeypatch.setattr(RejectedEvents, "new", new)
    monkeypatch.setattr("nealytics.pace.SLICE_S", 0)  # each step is as long as a slice
    async with serving(keep_rejected=True) as worker, asyncio.TaskGroup() as tasks:
        counting = tasks.create_task(count_turns())
        await worker.post(BATCH, [BAD] * 20)
        counting.cancel()
    assert len(made_at) == len(set(made_at)) == 20


async def test_a_disk_that_takes_none_refuses_nothing_and_is_counted(monkeypatch, caplog):
    def full(*_: object) -> None:
        raise LogFull("rejected: no room")

    monkeypatch.setattr("nealytics.commit.rejected.RejectedEvents._keep", full)
    async with serving(keep_rejected=True) as worker:
        answer = await worker.post(BATCH, [event(), BAD])
        assert (answer.status, answer.json["accepted"]) == (202, 1)
        assert worker.metrics.value("nealytics_rejected_events_dropped_total") == 1
        assert "1 rejected events are not kept" in caplog.text
