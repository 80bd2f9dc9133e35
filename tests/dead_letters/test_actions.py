"""Retry and drop: each event counted once, and nothing stored that should not be."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.clickhouse.rowbinary import ROW_FORMAT, decode_row
from nealytics.commit.dead_letter import DeadRow
from nealytics.commit.rejected import Whose
from nealytics.compat.message import paths_of
from nealytics.config import ClickHouseConfig, Config, RetentionRule
from nealytics.dead_letters.actions import _NAMESPACE, Retrying, drop
from nealytics.dead_letters.entries import DeadLetters, Selection, counts
from nealytics.erasure.jobs import Erasure, hash_of
from nealytics.event import Limits, id_of_key
from nealytics.retention import Rules
from nealytics.timestamps import DAY_MS
from tests.fakes import clickhouse as faults
from tests.fakes.clickhouse import FakeClickHouse
from tests.fakes.letters import put, rejected
from tests.fakes.rows import TIMESTAMP_MS, number, row

NOW = TIMESTAMP_MS + 1_000
LOG_ID = "8f2c1b5e-0000-4000-8000-000000000000"
ERROR = ClickHouseError(469, "Constraint `c` is violated. (VIOLATED_CONSTRAINT)", status=400)
WHOLE = b'{"projectId":"shop","tenantId":"acme","sessionId":"s","eventType":"view"}'
ALL = Selection()
TENANTS = paths_of(["context.groupId"])
SEGMENT = b'{"type":"track","event":"paid","userId":"ada","messageId":"m-1"%s}'


class Station:
    """The dead letter beside a ClickHouse that does what it is told."""

    def __init__(self, directory: Path, fake: FakeClickHouse, client: ClickHouseClient) -> None:
        self.directory = directory
        self.letters = DeadLetters(directory)
        self.fake = fake
        self.limits = Limits(256, 2048, age_ms_max=90 * DAY_MS, future_ms_max=DAY_MS)
        self.erasures: dict[str, Erasure] = {}
        self._client = client

    def dead(self, n: int, **changes: Any) -> str:
        dead = DeadRow.of(LOG_ID, n, ROW_FORMAT, row(n, **changes), ERROR, NOW)
        self.letters.rows.put(dead)
        return dead.id

    def rejected(self, payload: bytes, **changes: Any) -> str:
        event = rejected(NOW, payload, **changes)
        put(self.directory, event)
        return event.id

    async def retry(self, **changes: Any) -> Any:
        async def known() -> Mapping[str, Erasure]:
            return self.erasures

        retrying = Retrying(
            self.letters,
            self._client,
            "nealytics_core",
            lambda: self.limits,
            known,
            lambda: NOW,
            TENANTS,
        )
        return await retrying.retry([entry.id for entry in self.letters.entries(ALL)], changes)

    @property
    def left(self) -> int:
        return len(self.letters.entries(ALL))

    @property
    def stored(self) -> list[dict[str, Any]]:
        return [decode_row(row, ROW_FORMAT) for row in self.fake.rows]


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with FakeClickHouse() as fake:
        config = Config(clickhouse=ClickHouseConfig(url=fake.url, retention_days=0))
        async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
            await schema.probe(client, config.clickhouse)
            yield Station(tmp_path, fake, client)


async def test_both_kinds_are_listed_counted_and_retried(station: Station):
    station.dead(7)
    station.rejected(WHOLE)
    station.rejected(b"{oops", project_id="other", code="invalid_json", source="segment")
    entries = station.letters.entries(ALL)
    assert {(entry.source, entry.project, entry.reason) for entry in entries} == {
        ("clickhouse", "shop", "VIOLATED_CONSTRAINT"),
        ("batch", "shop", "invalid_event"),
        ("segment", "other", "invalid_json"),
    }
    assert [count.events for count in counts(entries)] == [1, 1, 1]
    for selection, found in (
        (Selection(project="shop"), 2),
        (Selection(project="shop", source="batch"), 1),
        (Selection(reason="invalid_json"), 1),
        (Selection(ids=frozenset()), 0),
        (Selection(ids=frozenset([entries[0].id, "not-there", "../x"])), 1),
        (Selection(project="other", ids=frozenset([entry.id for entry in entries])), 1),
    ):
        assert len(station.letters.entries(selection)) == found
    outcome = await station.retry()
    assert (outcome.retried, len(outcome.kept)) == (2, 1)
    assert outcome.kept[0].message == "the event is not a JSON object"
    assert (len(station.fake.rows), station.left) == (2, 1)


async def test_the_tenant_of_a_list_is_the_one_that_the_key_fixes_or_else_the_mapped_one(station: Station):
    station.rejected(SEGMENT % b"", source="segment", whose=Whose(tenant="acme"))
    station.rejected(WHOLE, tenant_id="t1", whose=Whose(tenant="forged"))
    assert {entry.tenant for entry in station.letters.entries(ALL)} == {"acme", "t1"}


async def test_a_retry_that_is_repeated_is_the_same_event_and_the_same_insert(station: Station):
    """The answer is lost, or the node is killed before the file is removed."""
    id = station.rejected(WHOLE)
    station.dead(7)
    station.fake.faults += [faults.lost_answer(), faults.lost_answer()]
    for _ in range(3):
        try:
            await station.retry()
        except ClickHouseUnavailable:
            assert station.left > 0
    assert station.left == 0
    assert len(station.fake.rows) == 2
    assert {event["event_id"] for event in station.stored} == {uuid5(_NAMESPACE, id), UUID(int=7)}


async def test_the_id_and_time_of_an_event_count_and_else_those_of_its_rejection(station: Station):
    sent = "0189f7a0-0000-8000-8000-000000000001"
    station.rejected(WHOLE[:-1] + b',"eventId":"%s","timestamp":%d}' % (sent.encode(), NOW - 5))
    own = station.rejected(WHOLE[:-1] + b',"eventId":null}')
    await station.retry()
    assert {(str(event["event_id"]), event["timestamp"]) for event in station.stored} == {
        (sent, NOW - 5),
        (str(uuid5(_NAMESPACE, own)), NOW),
    }


async def test_ids_of_a_public_sender_are_hashed_as_if_it_had_been_accepted(station: Station):
    sent = UUID("0189f7a0-0000-8000-8000-000000000001")
    station.rejected(WHOLE[:-1] + b',"eventId":"%s"}' % str(sent).encode(), digest=b"d" * 32)
    await station.retry()
    assert station.stored[0]["event_id"].int == id_of_key(b"d" * 32, sent.bytes)


async def test_what_is_still_refused_stays_and_spoils_no_other(station: Station):
    for n in (7, 8, 9):
        station.dead(n)
    station.fake.refuse = lambda r: 469 if number(r) == 8 else None
    outcome = await station.retry()
    assert (outcome.retried, [kept.id for kept in outcome.kept]) == (2, [f"{LOG_ID}-8"])
    assert station.left == 1


FORGED: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "another project": (WHOLE.replace(b"shop", b"evil"), {}, "projectId"),
    "another tenant": (WHOLE, {"tenant_id": "t1"}, "tenantId"),
    "another user": (WHOLE[:-1] + b',"userId":"eve"}', {"tenant_id": "acme", "user_id": "ada"}, "userId"),
    "no session": (b'{"eventType":"view"}', {"tenant_id": "acme"}, "sessionId"),
    "too old": (WHOLE[:-1] + b',"timestamp":1}', {}, "timestamp"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_was_wrong_is_wrong_again(station: Station, name: str):
    payload, changes, message = FORGED[name]
    station.rejected(payload, **changes)
    outcome = await station.retry()
    assert outcome.retried == 0
    assert message in outcome.kept[0].message
    assert not station.fake.rows


async def test_a_person_can_add_what_was_missing(station: Station):
    station.rejected(b'{"sessionId":"s","eventType":"view","extra":1}', project_id="shop")
    assert (await station.retry()).kept[0].message == "tenantId is missing or empty"
    assert (await station.retry(tenantId="acme", userId="ada")).retried == 1
    assert [(e["project_id"], e["tenant_id"], e["user_id"]) for e in station.stored] == [
        ("shop", "acme", "ada")
    ]


@pytest.mark.parametrize("user", [None, "ada"])
async def test_an_erasure_that_covers_an_event_removes_it_instead(station: Station, user: str | None):
    station.dead(7, user_id="ada")
    station.rejected(WHOLE[:-1] + b',"userId":"ada"}')
    station.rejected(WHOLE.replace(b"acme", b"other"))
    hashed = None if user is None else hash_of("shop", "acme", user)
    station.erasures["e"] = Erasure(
        id="e",
        project_id="shop",
        tenant_id="acme",
        user_hash=hashed,
        before_ms=NOW + 1,
        requested_at_ms=NOW,
        requested_by="ada",
    )
    outcome = await station.retry()
    assert (outcome.retried, outcome.erased, station.left) == (1, 2, 0)
    assert [event["tenant_id"] for event in station.stored] == ["other"]


async def test_retention_applies(station: Station):
    station.dead(7, timestamp_ms=NOW - 91 * DAY_MS)
    station.dead(8, timestamp_ms=NOW - 10 * DAY_MS)
    station.dead(9)
    station.limits = Limits(
        256,
        2048,
        age_ms_max=90 * DAY_MS,
        future_ms_max=DAY_MS,
        rules=Rules([RetentionRule(project="shop", days=5)]),
    )
    outcome = await station.retry()
    assert (outcome.retried, outcome.expired, station.left) == (1, 2, 0)
    assert [number(r) for r in station.fake.rows] == [9]


async def test_drop_removes_for_good(station: Station):
    ids = [station.dead(7), station.rejected(WHOLE), station.rejected(WHOLE)]
    assert await drop(station.letters, [*ids[:2], "not-there", "../../etc/passwd"]) == 2
    assert [entry.id for entry in station.letters.entries(ALL)] == ids[2:]
    assert not station.fake.inserts


async def test_an_event_of_an_sdk_is_retried_in_its_own_form(station: Station):
    station.rejected(SEGMENT % b"", source="segment")
    outcome = await station.retry()
    assert "the event names no tenant" in outcome.kept[0].message
    assert "cannot be set" in (await station.retry(sessionId="s")).kept[0].message
    assert (await station.retry(tenantId="acme")).retried == 1
    [event] = station.stored
    assert (event["tenant_id"], event["event_type"], event["user_id"]) == ("acme", "paid", "ada")
    assert event["timestamp"] == NOW
    station.rejected(SEGMENT % b',"context":{"groupId":"acme"}', source="segment", tenant_id="")
    assert (await station.retry()).retried == 1


async def test_the_time_of_an_event_of_an_sdk_can_be_set(station: Station):
    late = b',"context":{"groupId":"acme"},"timestamp":"2099-01-01T00:00:00Z"'
    station.rejected(SEGMENT % late, source="segment")
    station.rejected(
        b'{"event":"paid","distinct_id":"eve","timestamp":"2099-01-01T00:00:00Z"}',
        source="posthog",
        tenant_id="acme",
    )
    assert len((await station.retry()).kept) == 2
    assert (await station.retry(timestamp=NOW - 7)).retried == 2
    assert [event["timestamp"] for event in station.stored] == [NOW - 7] * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tenantId": None}, "tenantId cannot be set to null"),
        ({"tenantId": ""}, 'tenantId cannot be set to ""'),
        ({"tenantId": 5}, "tenantId cannot be set to 5"),
        ({"userId": ["ada"]}, 'userId cannot be set to ["ada"]'),
        ({"timestamp": "soon"}, 'timestamp cannot be set to "soon"'),
        ({"timestamp": True}, "timestamp cannot be set to true"),
        ({"metadata": "x"}, 'metadata cannot be set to "x"'),
        ({"nonsense": 1}, "nonsense cannot be set"),
    ],
)
async def test_a_value_of_a_wrong_type_is_not_set(station: Station, changes: dict[str, Any], said: str):
    for payload, source in ((SEGMENT % b"", "segment"), (WHOLE, "batch")):
        station.rejected(payload, source=source)
    assert [kept.message for kept in (await station.retry(**changes)).kept] == [said] * 2
    assert station.fake.rows == []


async def test_a_payload_with_very_many_fields_is_refused_or_read_without_them(station: Station):
    """Decoding it takes up to 75 ms for 1 MiB, during which the worker answers nobody."""
    many = b"".join(b',"f%06d":1' % n for n in range(100_000))
    station.rejected(SEGMENT % many, source="segment", tenant_id="acme")
    native = station.rejected(WHOLE[:-1] + many + b"}")
    assert {entry.payload[:8] for entry in station.letters.entries(ALL, None)} == {'{"type":', '{"projec'}
    outcome = await station.retry()
    assert "bytes of JSON, at most" in outcome.kept[0].message
    assert (outcome.retried, [event["event_id"] for event in station.stored]) == (
        1,
        [uuid5(_NAMESPACE, native)],
    )


@pytest.mark.parametrize("changes", [{}, {"timestamp": NOW - 7}])
async def test_equal_events_of_an_sdk_without_id_and_time_stay_several(
    station: Station, changes: dict[str, Any]
):
    payload = SEGMENT.replace(b',"messageId":"m-1"', b"") % b',"context":{"groupId":"acme"}'
    for _ in range(3):
        station.rejected(payload, source="segment", tenant_id="")
    assert (await station.retry(**changes)).retried == 3
    assert len({event["event_id"] for event in station.stored}) == 3
    assert {event["timestamp"] for event in station.stored} == {changes.get("timestamp", NOW)}
