"""Both APIs over HTTP, with the real log behind them."""

import asyncio
import base64
import contextlib
import gzip
import itertools
import json
import tempfile
import time
import uuid
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from click.testing import CliRunner, Result

from nealytics.auth.api_keys import ApiKeys
from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.minting import mint
from nealytics.auth.writers import Writers
from nealytics.cli import main
from nealytics.client_address import ClientAddresses
from nealytics.commit.rejected import RejectedEvent, RejectedEvents, Whose, read
from nealytics.compat.envelope import BEGINNING_BYTES
from nealytics.config import CompatConfig, Config, QuotaRule
from nealytics.erasure.rejects import erase_rejected
from nealytics.errors import LogBroken, LogFull
from nealytics.http.compat import add_compat_routes
from nealytics.ingest.intake import LONG_BODIES_MAX, Bill
from nealytics.ingest.networks import Networks
from nealytics.ingest.permits import NOBODY, Permits
from nealytics.observe.metrics import Metrics
from nealytics.quotas import Quotas
from nealytics.shared import NodeMemory
from tests.erasure.erasures import erasure
from tests.fakes.log import RefusingLog
from tests.fakes.worker import ANY, BOUND, JWT_KEY, KEYS, TENANT, Answer, FakeWorker, ingest_token, serving

BATCH = "/v1/batch"
CAPTURE = "/batch/"
PROJECT = "project-key"  # to project "shop", of a server


class Kept:
    """What a worker rejected."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = RejectedEvents(directory, 0, bytes_max=1 << 30, days_max=30, metrics=Metrics.private())

    @property
    def events(self) -> list[RejectedEvent]:
        return [event for path in self.store.files() for event in read(path)]


@contextlib.asynccontextmanager
async def serving_sdks(
    compat: CompatConfig | None = None, **options: Any
) -> AsyncIterator[tuple[FakeWorker, Kept]]:
    with tempfile.TemporaryDirectory() as directory:
        kept = Kept(Path(directory) / "rejected")

        def add_routes(app: web.Application, config: Config) -> None:
            settings = msgspec.structs.replace(config, compat=compat or CompatConfig())
            writers = Writers(ApiKeys(KEYS), TokenVerifier(settings.auth))
            add_compat_routes(app, settings, writers, kept.store)

        async with serving(add_routes=add_routes, **options) as worker:
            yield worker, kept


def now() -> str:
    return datetime.now(UTC).isoformat()


def track(n: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "paid",
        "userId": "ada",
        "messageId": f"m-{n}",
        "timestamp": now(),
        "properties": {"n": n},
    } | fields


def captured(n: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "event": "paid",
        "distinct_id": "ada",
        "uuid": f"u-{n}",
        "timestamp": now(),
        "properties": {"n": n},
    } | fields


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


async def post(worker: FakeWorker, path: str, body: object, **options: Any) -> Answer:
    options.setdefault("key", None)
    return await worker.post(path, body, **options)


# The answer


@pytest.mark.parametrize(
    ("path", "message", "expected"),
    [(BATCH, track, {"success": True}), (CAPTURE, captured, {"status": 1})],
)
async def test_events_are_stored_and_the_answer_is_exactly_200_with_json(path, message, expected):
    async with serving_sdks() as (worker, kept):
        sent = [message(n) for n in range(100)]
        answer = await post(worker, path, {"batch": sent}, headers=basic(f"{TENANT}:"))
        assert (answer.status, answer.json) == (200, expected | {"accepted": 100, "rejected": 0})
        assert answer.headers["Content-Type"].startswith("application/json")
        rows = await worker.rows()
        assert [json.loads(row["metadata_json"])["n"] for row in rows] == list(range(100))
        assert {(row["project_id"], row["tenant_id"], row["event_type"]) for row in rows} == {
            ("shop", "t1", "paid")
        }
        assert worker.ingested == 100
        assert not kept.events


@pytest.mark.parametrize(("path", "message"), [(BATCH, track), (CAPTURE, captured)])
async def test_a_bad_event_goes_to_the_dead_letter_and_spoils_nothing(path, message):
    async with serving_sdks() as (worker, kept):
        sent: list[Any] = [message(n) for n in range(5)]
        sent[1:1] = [7, None, {"event": "bare"}, message(9, timestamp="2099-01-01T00:00:00Z")]
        answer = await post(worker, path, {"batch": sent}, headers=basic(TENANT))
        assert answer.status == 200
        assert (answer.json["accepted"], answer.json["rejected"]) == (5, 4)
        assert [error["index"] for error in answer.json["errors"]] == [1, 2, 3, 4]
        assert len(await worker.rows()) == 5
        assert [json.loads(bytes(one.payload)) for one in kept.events] == sent[1:5]
        assert [one.code for one in kept.events] == ["invalid_event"] * 3 + ["outside_time_window"]
        assert {(one.project_id, one.source) for one in kept.events} == {
            ("shop", "segment" if path == BATCH else "posthog")
        }
        assert all(one.reason for one in kept.events)
        assert worker.refused("invalid_event") == 3
        assert worker.refused("outside_time_window") == 1


LATE = "2099-01-01T00:00:00Z"


@pytest.mark.parametrize("user", [None, "canary"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CAPTURE, {"batch": [{"event": "x", "timestamp": LATE,
                              "properties": {"distinct_id": "canary", "$groups": {"company": "acme"}}}]}),
        (BATCH, {"batch": [track(userId="canary", timestamp=LATE, context={"groupId": "acme"})]}),
        (BATCH, {"batch": [track(userId="canary", timestamp=LATE)], "context": {"groupId": "acme"}}),
        (BATCH, {"batch": [track(userId="canary", type="no")], "context": {"groupId": "acme"}}),
    ],
)  # fmt: skip
async def test_an_erasure_finds_every_form_of_a_rejected_event(path, body, user):
    async with serving_sdks() as (worker, kept):
        text = json.dumps(body)
        for sent in (text, text.replace('"acme"', "42").replace('"canary"', "4711")):
            answer = await post(worker, path, sent.encode(), headers=basic(BOUND))
            assert (answer.status, answer.json["rejected"]) == (200, 1)
        removed = [
            erase_rejected(kept.directory, erasure(tenant_id=tenant, user_id=user and name, before_ms=2**43))
            for tenant, name in (("acme", "canary"), ("42", "4711"))
        ]
        assert removed == [(1, []), (1, [])]
        assert not kept.events


async def test_a_rejected_event_is_kept_with_what_stood_beside_it_and_whose_it_is():
    async with serving_sdks() as (worker, kept):
        beside = {"context": {"groupId": "acme", "app": "a"}, "sentAt": "2026-11-30T12:00:00Z", "n": 1}
        sent = [track(timestamp=LATE, context={"app": "b"}), track(timestamp=LATE, sentAt="x"), 7]
        await post(worker, BATCH, {"batch": sent, **beside}, headers=basic(BOUND))
        await post(
            worker, CAPTURE, {"batch": [captured(timestamp=LATE)], "sent_at": "y"}, headers=basic(TENANT)
        )
        first, second, number, other = (json.loads(bytes(event.payload)) for event in kept.events)
        assert first["context"] == {"groupId": "acme", "app": "b"}
        assert (first["sentAt"], second["sentAt"]) == (beside["sentAt"], "x")
        assert second["context"] == beside["context"]
        assert "n" not in first
        assert number == 7
        assert other["sent_at"] == "y"
        late_ms = 4_070_908_800_000
        acme, t1 = (
            Whose(tenant="acme", user="ada", at_ms=late_ms),
            Whose(tenant="t1", user="ada", at_ms=late_ms),
        )
        assert [event.whose for event in kept.events] == [acme, acme, None, t1]


async def test_what_stands_beside_thousands_of_events_does_not_fill_the_memory():
    async with serving_sdks() as (worker, kept):
        beside = {"context": {"groupId": "acme", "x": "y" * 60_000}}
        await post(worker, BATCH, {"batch": [{}] * 1_000, **beside}, headers=basic(BOUND))
        sizes = [len(event.payload) for event in kept.events]
        assert len(sizes) == 1_000
        assert 4_000_000 < sum(sizes) < 5_000_000


@pytest.mark.parametrize(("path", "message"), [(BATCH, track), (CAPTURE, captured)])
async def test_not_a_number_costs_its_event_alone(path, message):
    """Python's SDKs write NaN, which is not JSON, and lost all events that were sent with it."""
    async with serving_sdks() as (worker, kept):
        bad = message(1, properties={"rate": float("nan")})
        for body, good in (({"batch": [message(0), bad, message(2)]}, 2), (bad, 0)):
            answer = await post(worker, path, json.dumps(body).encode(), headers=basic(TENANT))
            assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, good, 1)
        assert [event.code for event in kept.events] == ["invalid_json"] * 2
        assert json.loads(bytes(kept.events[0].payload)) == json.dumps(bad)


@pytest.mark.parametrize(("path", "message"), [(BATCH, track), (CAPTURE, captured)])
@pytest.mark.parametrize("padding", [0, 400_000])
async def test_bytes_that_are_not_utf8_cost_their_event_alone(path, message, padding):
    async with serving_sdks() as (worker, kept):
        sent = [message(0), message(1, properties={"name": "?"}), message(2)]
        body = json.dumps({"batch": sent}).encode().replace(b"?", b"\xff") + b" " * padding
        answer = await post(worker, path, body, headers=basic(TENANT))
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, 2, 1)
        assert answer.json["errors"][0]["error"] == "the JSON is not UTF-8"
        assert [json.loads(row["metadata_json"])["n"] for row in await worker.rows()] == [0, 2]
        [event] = kept.events
        assert json.loads(json.loads(bytes(event.payload)))["properties"] == {"name": "\ufffd"}


@pytest.mark.parametrize(("path", "message"), [(BATCH, track), (CAPTURE, captured)])
@pytest.mark.parametrize("padding", [0, 400_000])  # in one piece, and in steps
@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b'"\xff\xfe"', b'{"a":NaN}', b'{"a":"\xff"}'])
async def test_a_field_beside_the_events_that_is_not_json_is_ignored(path, message, padding, value):
    async with serving_sdks() as (worker, kept):
        sent = json.dumps([message(0), message(1, context={"own": 1})]).encode()
        beside = b'"sentAt":%b,"sent_at":%b,"context":%b' % (value, value, value)
        answer = await post(
            worker, path, b'{"batch":%b,%b}' % (sent, beside) + b" " * padding, headers=basic(TENANT)
        )
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, 2, 0)
        assert answer.json["ignored"] == ["sentAt", "sent_at", "context"]
        stored = [json.loads(row["metadata_json"]) for row in await worker.rows()]
        assert ["context" in metadata for metadata in stored] == [False, True]
        assert not any({"sentAt", "sent_at"} & set(metadata) for metadata in stored)
        assert not kept.events


async def test_null_beside_the_events_is_absent_in_a_body_of_any_length():
    async with serving_sdks() as (worker, _):
        for padding in (0, 400_000):
            body = json.dumps({"batch": [track(padding)], "context": None, "sentAt": None}).encode()
            answer = await post(worker, BATCH, body + b" " * padding, headers=basic(TENANT))
            assert (answer.json["accepted"], answer.json["rejected"]) == (1, 0)
        for row in await worker.rows():
            assert not {"context", "sentAt"} & set(json.loads(row["metadata_json"]))


async def test_a_request_of_bad_events_only_is_200_too():
    async with serving_sdks() as (worker, kept):
        bodies: tuple[Any, ...] = ({"batch": [{}]}, {"batch": [1, 2]}, {"type": "track"})
        for body in bodies:
            answer = await post(worker, BATCH, body, headers=basic(TENANT))
            assert (answer.status, answer.json["accepted"]) == (200, 0)
        answer = await post(worker, BATCH, {"batch": []}, headers=basic(TENANT))
        assert (answer.status, answer.json) == (200, {"success": True, "accepted": 0, "rejected": 0})
        assert len(kept.events) == 4
        assert not await worker.rows()


@pytest.mark.parametrize(("path", "message"), [(BATCH, track), (CAPTURE, captured)])
@pytest.mark.parametrize("size", [400_000, 2_200_000, 3_900_000])
async def test_a_long_event_is_rejected_alone(path, message, size):
    async with serving_sdks() as (worker, kept):
        long = message(1, properties={"text": "x" * size})
        answer = await post(worker, path, {"batch": [message(0), long, message(2)]}, headers=basic(TENANT))
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, 2, 1)
        assert f"the event has {len(json.dumps(long))} bytes" in answer.json["errors"][0]["error"]
        assert [json.loads(row["metadata_json"])["n"] for row in await worker.rows()] == [0, 2]
        assert worker.refused("body_too_large") == 1
        [event] = kept.events
        assert event.code == "body_too_large"
        assert json.loads(bytes(event.payload)) == json.dumps(long)[:BEGINNING_BYTES]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/track", {"writeKey": TENANT}),
        ("/v1/track", {"properties": {"token": TENANT, "text": "x" * 2_200_000}}),
        ("/e/", {"api_key": TENANT}),
        ("/i/v0/e/", {"properties": {"token": TENANT, "text": "x" * 2_200_000}}),
    ],
)
async def test_a_long_event_alone_is_200_and_kept_without_its_key(path, fields):
    message = track if path == "/v1/track" else captured
    async with serving_sdks() as (worker, kept):
        long = fields | message() | {"properties": {"text": "x" * 2_200_000}} | fields
        for body in (long, [long]):
            answer = await post(worker, path, body)
            assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, 0, 1)
        assert {event.code for event in kept.events} == {"body_too_large"}
        assert TENANT not in str(kept.events)


@pytest.mark.parametrize("path", ["/v1/track", "/e/"])
async def test_the_key_of_a_long_event_is_found_behind_values_that_read_like_its_name(path):
    async with serving_sdks() as (worker, _):
        like = {"kind": "token", "also": ["writeKey", "api_key", "token"]}
        long = captured(properties={**like, "token": TENANT, "text": "x" * 2_200_000})
        answer = await post(worker, path, [long])
        assert (answer.status, answer.json["rejected"]) == (200, 1)


async def test_many_long_events_of_a_request_take_little_room():
    async with serving_sdks() as (worker, kept):
        long = [captured(n, properties={"text": "x" * 400_000}) for n in range(49)]
        answer = await post(worker, CAPTURE, {"batch": long}, headers=basic(TENANT))
        assert (answer.status, answer.json["rejected"]) == (200, 49)
        assert sum(path.stat().st_size for path in kept.store.files()) < 49 * (BEGINNING_BYTES + 1_000)


async def test_an_event_that_is_sent_again_has_the_same_identity():
    async with serving_sdks() as (worker, _):
        sent = track(1)
        for sent_at in ("2026-11-30T10:00:00Z", "2026-11-30T10:00:09Z"):
            await post(worker, BATCH, {"batch": [sent], "sentAt": sent_at}, headers=basic(TENANT))
        first, second = await worker.rows()
        for column in ("project_id", "tenant_id", "event_type", "timestamp", "event_id"):
            assert first[column] == second[column]
        assert first["received_at"] <= second["received_at"]
        assert json.loads(first["metadata_json"])["sentAt"] == "2026-11-30T10:00:00Z"


@pytest.mark.parametrize(("path", "message"), [(BATCH, track), (CAPTURE, captured)])
@pytest.mark.parametrize(("fields", "counted"), [({}, 3), ({"timestamp": now()}, 1)])
async def test_equal_messages_without_an_id_are_one_event_only_if_they_have_a_time(
    path, message, fields, counted
):
    async with serving_sdks() as (worker, _):
        equal = message() | {"messageId": None, "uuid": None, "timestamp": None} | fields
        answer = await post(worker, path, {"batch": [equal] * 3}, headers=basic(TENANT))
        assert answer.json["accepted"] == 3
        assert len({row["event_id"] for row in await worker.rows()}) == counted


@pytest.mark.parametrize(
    ("path", "event_type"),
    [
        ("/v1/track", "paid"), ("/v1/t", "paid"), ("/v1/identify", "$identify"), ("/v1/i", "$identify"),
        ("/v1/page", "page_view"), ("/v1/p", "page_view"),
        ("/v1/screen", "screen_view"), ("/v1/s", "screen_view"),
        ("/v1/group", "$group"), ("/v1/g", "$group"), ("/v1/alias", "$alias"), ("/v1/a", "$alias"),
        ("/v1/batch", "paid"), ("/v1/b", "paid"), ("/v1/import", "paid"), ("/beacon/v1/batch", "paid"),
        ("/V1/Batch/", "paid"),
    ],
)  # fmt: skip
async def test_every_route_of_segment(path, event_type):
    async with serving_sdks() as (worker, _):
        assert (await post(worker, path, track(), headers=basic(TENANT))).status == 200
        [row] = await worker.rows()
        assert row["event_type"] == event_type


@pytest.mark.parametrize(
    "path", ["/batch/", "/batch", "/e/", "/e/?ip=1&_=3&ver=1.2", "/i/v0/e/", "/capture/"]
)
async def test_every_route_of_posthog(path):
    async with serving_sdks() as (worker, _):
        body = {"api_key": TENANT, **captured()}
        assert (await post(worker, path, body)).status == 200
        assert len(await worker.rows()) == 1
        assert TENANT not in (await worker.rows())[0]["metadata_json"]


# The body


async def test_the_form_of_a_body_is_found_in_its_bytes():
    kinds = (None, "application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense")
    async with serving_sdks() as (worker, _):
        forms = itertools.product(kinds, (None, "gzip", "identity"), (True, False))
        for stored, (kind, encoding, is_gzip) in enumerate(forms):
            body = json.dumps({"batch": [track()]}).encode()
            headers = {
                **basic(TENANT),
                **({"Content-Type": kind} if kind else {}),
                **({"Content-Encoding": encoding} if encoding else {}),
            }
            answer = await post(worker, BATCH, gzip.compress(body) if is_gzip else body, headers=headers)
            assert answer.status == 200, (kind, encoding, is_gzip, answer.body)
            assert len(await worker.rows()) == stored + 1


@pytest.mark.parametrize(
    "data", [json.dumps, lambda value: base64.b64encode(json.dumps(value).encode()).decode()]
)
async def test_forms_of_pages(data):
    async with serving_sdks() as (worker, _):
        for count in (1, 2_000):
            body = {"api_key": TENANT, "batch": [captured(n) for n in range(count)]}
            async with worker.client.post("/e/?compression=base64", data={"data": data(body)}) as answer:
                assert (answer.status, (await answer.json())["accepted"]) == (200, count)
        assert len(await worker.rows()) == 2_001


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        (BATCH, 4 * 1024 * 1024, 200),
        (BATCH, 4 * 1024 * 1024 + 1, 413),
        (CAPTURE, 20 * 1024 * 1024, 200),
        (CAPTURE, 20 * 1024 * 1024 + 1, 413),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
async def test_the_largest_body_is_that_of_its_sdks(path, size, status, packed):
    message = track if path == BATCH else captured
    async with serving_sdks(rate_limit_requests=0) as (worker, _):
        events = [message(n, properties={"text": "x" * 10_000}) for n in range(size // 10_400)]
        body = json.dumps({"batch": events, "fill": ""}).encode()
        body = body[:-2] + b"x" * min(size - len(body), 60_000) + body[-2:]
        body += b" " * (size - len(body))
        answer = await post(worker, path, gzip.compress(body, 1) if packed else body, headers=basic(TENANT))
        assert answer.status == status
        if status == 413:
            assert answer.error == (413, "body_too_large", None)
            setting = "compat.segment_body_bytes_max" if path == BATCH else "compat.posthog_body_bytes_max"
            assert setting in answer.json["detail"]
        else:
            assert answer.json["accepted"] == len(events)


async def test_a_bomb_is_refused():
    async with serving_sdks() as (worker, _):
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(200)]) + packer.flush()
        assert len(bomb) < 250_000
        assert (await post(worker, BATCH, bomb, headers=basic(TENANT))).error[:2] == (413, "body_too_large")
        # Within another bomb it is no JSON.
        assert (await post(worker, BATCH, gzip.compress(bomb), headers=basic(TENANT))).status == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"text", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"batch": [{}', "invalid_json"),
        (b'{"batch": 7}', "invalid_json"),
        (gzip.compress(b"{", mtime=0)[:-3], "bad_request"),
        (b"\x1f\x8b\x08rest", "bad_request"),
        (b"\xff\xfe", "invalid_json"),
    ],
)
@pytest.mark.parametrize("path", [BATCH, CAPTURE])
async def test_a_body_that_cannot_be_read_is_400_with_code_message_and_detail(path, body, code):
    async with serving_sdks() as (worker, _):
        answer = await post(worker, path, body, headers=basic(TENANT))
        assert (answer.status, answer.json["code"]) == (400, code)
        assert answer.json["message"]
        assert answer.json["detail"]
        assert worker.refused(code) == 1


# The key


@pytest.mark.parametrize(
    "where",
    [
        {"headers": basic(TENANT)},
        {"headers": basic(f"{TENANT}:")},
        {"headers": basic(f"{TENANT}:password")},
        {"headers": {"Authorization": f"Bearer {TENANT}"}},
        {"headers": {"X-Write-Key": TENANT}},
        {"headers": {"X-Write-Key": TENANT, "Authorization": "Basic ???"}},
        {"headers": basic("") | {"X-Write-Key": TENANT}},
        {"shared": {"writeKey": TENANT}},
        {"event": {"writeKey": TENANT}},
        {"params": {"writeKey": TENANT}},
        {"params": {"k": TENANT}},
        {"event": {"properties": {"token": TENANT}}},
        # The first place counts.
        {"headers": basic(TENANT) | {"X-Write-Key": "wrong"}, "shared": {"writeKey": "wrong"}},
        {"headers": {"X-Write-Key": TENANT}, "shared": {"writeKey": "wrong"}},
        {"shared": {"writeKey": TENANT}, "params": {"writeKey": "wrong"}},
        {"params": {"k": TENANT}, "event": {"properties": {"token": "wrong"}}},
    ],
)
async def test_where_the_key_is_found(where):
    async with serving_sdks() as (worker, _):
        body = {"batch": [track() | where.pop("event", {})]} | where.pop("shared", {})
        answer = await post(worker, BATCH, body, **where)
        assert answer.status == 200, answer.body
        [row] = await worker.rows()
        assert row["tenant_id"] == "t1"
        assert TENANT not in row["metadata_json"]


@pytest.mark.parametrize(
    "where",
    [
        {"shared": {"api_key": TENANT}},
        {"shared": {"token": TENANT}},
        {"event": {"api_key": TENANT}},
        {"event": {"properties": {"token": TENANT}}},
    ],
)
@pytest.mark.parametrize("is_array", [False, True])
async def test_where_posthog_s_token_is_found(where, is_array):
    async with serving_sdks() as (worker, _):
        event = captured() | where.get("event", {})
        body = {"batch": [event]} | where.get("shared", {}) if "shared" in where or not is_array else [event]
        assert (await post(worker, "/e/", body)).status == 200
        assert TENANT not in (await worker.rows())[0]["metadata_json"]


@pytest.mark.parametrize(
    ("where", "status"),
    [
        ({}, 401),
        ({"headers": basic("wrong")}, 401),
        ({"headers": basic("wrong"), "shared": {"writeKey": TENANT}}, 401),
        ({"shared": {"writeKey": "wrong"}}, 401),
        ({"shared": {"writeKey": {"a": 1}}}, 401),
        ({"params": {"writeKey": "wrong"}}, 401),
        ({"headers": basic(ANY)}, 403),  # bound to no project
    ],
)
async def test_a_wrong_key_is_refused_and_nothing_stored(where, status):
    async with serving_sdks() as (worker, kept):
        answer = await post(worker, BATCH, {"batch": [track()]} | where.pop("shared", {}), **where)
        assert answer.error[0] == status
        assert not await worker.rows()
        assert not kept.events
        assert ANY not in answer.body.decode()


async def test_wrong_keys_in_bodies_use_up_what_their_address_may():
    async with serving_sdks(rate_limit_requests_per_address=5, rate_limit_window_s=3600) as (worker, _):
        wrong = {"api_key": "wrong", "batch": [captured()]}
        statuses = [(await post(worker, "/e/", wrong)).status for _ in range(7)]
        assert statuses == [401] * 5 + [503] * 2
        # A key in the head is not affected.
        assert (await post(worker, "/e/", {"batch": [captured()]}, headers=basic(TENANT))).status == 200


@pytest.mark.parametrize(("path", "message", "status"), [(BATCH, track, 429), (CAPTURE, captured, 503)])
@pytest.mark.parametrize("place", ["head", "body"])
async def test_a_key_in_the_body_pays_as_one_in_the_head_does(path, message, status, place):
    """Each body takes three permits, and PostHog's SDK for browsers would drop its events after a 429."""
    async with serving_sdks(rate_limit_requests=3, rate_limit_window_s=3600, rate_limit_queue_max=0) as (
        worker,
        _,
    ):
        headers = basic(TENANT) if place == "head" else {}
        key = {} if place == "head" else {"writeKey": TENANT, "api_key": TENANT}
        long = {"batch": [message(n, properties={"text": "x" * 100_000}) for n in range(12)], **key}
        assert (await post(worker, path, long, headers=headers)).status == 200
        answer = await post(worker, path, {"batch": [message()], **key}, headers=headers)
        assert answer.error[:2] == (status, "rate_limited")
        assert int(answer.headers["Retry-After"]) > 0


async def test_a_page_never_chooses_its_tenant():
    async with serving_sdks() as (worker, kept):
        forged = track(context={"groupId": "t9"}, groupId="t9")
        answer = await post(worker, "/v1/t", forged, headers=basic(BOUND))
        assert (answer.status, answer.json["rejected"]) == (200, 1)
        assert kept.events[0].code == "forbidden"
        assert not await worker.rows()
        # And a key that has one is not talked out of it.
        assert (await post(worker, "/v1/t", forged, headers=basic(TENANT))).status == 200
        assert (await worker.rows())[0]["tenant_id"] == "t1"


@pytest.mark.parametrize("place", ["basic", "bearer", "body"])
async def test_an_ingest_token_is_a_key_that_has_its_tenant(place):
    async with serving_sdks() as (worker, _):
        token = ingest_token()
        headers = {"basic": basic(token), "bearer": {"Authorization": f"Bearer {token}"}, "body": {}}[place]
        body = {"batch": [track(groupId="t9")], **({"writeKey": token} if place == "body" else {})}
        assert (await post(worker, BATCH, body, headers=headers)).status == 200
        [row] = await worker.rows()
        assert (row["project_id"], row["tenant_id"], row["user_id"]) == ("shop", "t1", "ada")


async def test_the_user_of_an_ingest_token_is_that_of_its_events():
    async with serving_sdks() as (worker, _):
        headers = basic(ingest_token(user_id="grace"))
        assert (await post(worker, CAPTURE, captured(), headers=headers)).json["accepted"] == 1
        assert (await worker.rows())[0]["user_id"] == "grace"


async def test_a_read_token_writes_nothing():
    async with serving_sdks() as (worker, _):
        answer = await post(
            worker, BATCH, track(), headers=basic(mint(JWT_KEY, "shop", "t1", 600, time.time()))
        )
        assert answer.error[:2] == (403, "forbidden")


# Limits and failures


async def test_an_event_beyond_the_quota_is_counted_and_not_kept():
    quotas = Quotas([QuotaRule(project="shop", events_per_month=2)])
    async with serving_sdks(quotas=quotas) as (worker, kept):
        answer = await post(worker, BATCH, {"batch": [track(n) for n in range(5)]}, headers=basic(TENANT))
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (200, 2, 3)
        assert worker.refused("quota_exceeded") == 3
        assert not kept.events


@pytest.mark.parametrize("error", [LogFull("full"), LogBroken("broken")])
async def test_a_log_that_takes_nothing_is_503_and_the_sdk_retries(error):
    async with serving_sdks(log=RefusingLog(error)) as (worker, _):
        answer = await post(worker, BATCH, {"batch": [track()]}, headers=basic(TENANT))
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert not worker.ingested


@pytest.mark.parametrize("error", [LogFull("full"), LogBroken("broken")])
async def test_rejected_events_are_not_kept_again_and_again_while_the_log_takes_nothing(error):
    async with serving_sdks(log=RefusingLog(error)) as (worker, kept):
        for _ in range(3):
            answer = await post(worker, BATCH, {"batch": [track(), {}]}, headers=basic(TENANT))
            assert answer.status == 503
        assert not kept.events


async def test_an_sdk_sends_again_what_the_disk_did_not_keep():
    """The event that was accepted has the same identity then."""
    async with serving_sdks() as (worker, kept):
        kept.directory.write_text("a file in place of the directory")
        sent = {"batch": [track(), {}]}
        answer = await post(worker, BATCH, sent, headers=basic(TENANT))
        assert answer.error[:2] == (503, "log_broken")
        kept.directory.unlink()
        assert (await post(worker, BATCH, sent, headers=basic(TENANT))).status == 200
        assert len({row["event_id"] for row in await worker.rows()}) == 1
        assert len(kept.events) == 1


@pytest.mark.parametrize(
    ("path", "fields", "left"),
    [
        (BATCH, {"writeKey": TENANT, "token": "mine"}, {"writeKey": "", "token": "mine"}),
        (CAPTURE, {"api_key": TENANT, "n": 1}, {"api_key": "", "n": 1}),
        (CAPTURE, {"token": TENANT, "n": {"token": TENANT}}, {"token": "", "n": {"token": ""}}),
        (CAPTURE, {"n": ["token"], "token": TENANT}, {"n": ["token"], "token": ""}),
        (BATCH, {"writeKey": TENANT, "n": "x" * 300_000}, {"writeKey": "", "n": "x" * 300_000}),
        (BATCH, {"properties": {"token": TENANT}}, {"properties": {"token": ""}}),
    ],
)  # fmt: skip
async def test_a_rejected_event_is_kept_without_its_key(path, fields, left):
    async with serving_sdks() as (worker, kept):
        answer = await post(worker, path, {"batch": [fields]})
        assert (answer.status, answer.json["rejected"]) == (200, 1)
        [event] = kept.events
        assert json.loads(bytes(event.payload)) == left


async def test_long_bodies_with_a_key_in_them_delay_only_their_own_network():
    slots = WeakValueDictionary[str, asyncio.Semaphore]()
    permits = Permits(Config().ingest, NodeMemory.create(1, 1), Networks(ClientAddresses()))
    request = make_mocked_request("POST", BATCH)
    held = [Bill(permits, request, NOBODY, "203.0.113.0") for _ in range(LONG_BODIES_MAX)]
    for bill in held:
        await bill.begin_long(slots)
    await Bill(permits, request, NOBODY, "198.51.100.0").begin_long(slots)
    waiting = asyncio.create_task(Bill(permits, request, NOBODY, "203.0.113.0").begin_long(slots))
    await asyncio.sleep(0)
    assert not waiting.done()
    held[0].__exit__()
    await waiting


async def test_many_bad_events_of_a_request_are_all_kept():
    async with serving_sdks() as (worker, kept):
        answer = await post(worker, BATCH, {"batch": [{}] * 900}, headers=basic(TENANT))
        assert (answer.status, answer.json["rejected"]) == (200, 900)
        assert len(kept.events) == 900


async def test_long_bodies_do_not_delay_others():
    async with serving_sdks(rate_limit_requests=0) as (worker, _):
        body = json.dumps(
            {"batch": [captured(n, properties={"text": "x" * 900}) for n in range(15_000)]}
        ).encode()
        long = asyncio.create_task(post(worker, CAPTURE, body, headers=basic(TENANT)))
        others = 0
        while not long.done():
            assert (
                await post(worker, BATCH, {"batch": [track(others)]}, headers=basic(TENANT))
            ).status == 200
            others += 1
        assert (await long).json["accepted"] == 15_000
        assert others > 10


# Pages


@pytest.mark.parametrize(
    "path", ["/v1/t", "/e/", "/i/v0/e/", "/batch/", "/flags/", "/capture/", "/beacon/v1/batch"]
)
async def test_a_preflight_allows_what_the_sdks_send(path):
    asked = "authorization,content-type,x-retry-count,anonymousid"
    async with serving_sdks() as (worker, _):
        headers = {
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        }
        async with worker.client.options(path, headers=headers) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Headers"] == asked
            assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]


async def test_answers_have_cors_headers():
    async with serving_sdks() as (worker, _):
        for key, status in ((TENANT, 200), ("wrong", 401)):
            headers = basic(key) | {"Origin": "https://shop.example"}
            answer = await post(worker, "/v1/t", track(), headers=headers)
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


async def test_pages_of_the_node_are_no_routes_of_these_apis():
    """/embed begins with /e, too."""
    async with serving_sdks() as (worker, _):
        answer = await worker.get("/embed", headers={"Origin": "https://shop.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_settings_and_flags_are_answered_for_every_key():
    async with serving_sdks() as (worker, _):
        origin = {"Origin": "https://shop.example"}
        settings = await worker.get("/v1/projects/some-key/settings", headers=origin)
        assert settings.json["integrations"]["Segment.io"]["apiKey"] == "some-key"
        assert settings.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        remote = await worker.get("/array/some-key/config", headers=origin)
        assert remote.json["supportedCompression"] == ["gzip", "gzip-js"]
        assert remote.json["sessionRecording"] is False
        flags = await post(worker, "/flags/?v=2", b"\x1f\x8b\x08 not read")
        assert (flags.status, flags.json["flags"], flags.json["errorsWhileComputingFlags"]) == (
            200,
            {},
            False,
        )
        assert (await post(worker, "/v1/m", {"series": []})).json == {"success": True}


@pytest.mark.parametrize(
    ("compat", "on", "off"),
    [
        (CompatConfig(segment=False), CAPTURE, (BATCH, "/v1/m", "/v1/track")),
        (CompatConfig(posthog=False), BATCH, (CAPTURE, "/flags/", "/e/")),
    ],
)
async def test_each_api_has_a_switch(compat, on, off):
    async with serving_sdks(compat) as (worker, _):
        assert (await post(worker, on, {"batch": []}, headers=basic(TENANT))).status == 200
        for path in off:
            assert (await post(worker, path, {"batch": []}, headers=basic(TENANT))).error[0] == 404


async def test_no_route_redirects():
    async with serving_sdks() as (worker, _):
        for path in ("/v1/batch/", "/v1", "/v1/", "/e", "/batch", "/v1/projects/x"):
            answer = await post(worker, path, {"batch": []}, headers=basic(TENANT), allow_redirects=False)
            assert answer.status in (200, 404), path


@pytest.mark.parametrize("path", ["/v1/projects/{}/settings", "/array/{}/config"])
async def test_the_log_of_requests_has_no_key_of_a_path(caplog, path):
    with caplog.at_level("DEBUG", "nealytics.http"):
        async with serving_sdks() as (worker, _):
            async with worker.client.get(path.format("secret-key")) as answer:
                assert answer.status == 200
            assert path.format("…") in caplog.text
            assert "secret-key" not in caplog.text


# Beside an import


def imported(file: Path, url: str, *options: str) -> Result:
    ids = ["--set", "projectId=shop", "--set", "tenantId=t1", "--batch-events", "2"]
    own = ["--state", f"{file}.state", "--rejected", f"{file}.rejected"]
    return CliRunner().invoke(main, ["import", str(file), "--url", url, *ids, *own, *options])


SEGMENT_MESSAGES = (
    {"messageId": str(uuid.uuid4())},
    {"userId": None, "anonymousId": "visitor", "groupId": "g", "properties": {"path": "/a"}},
    {"type": "page", "name": "Home", "context": {"page": {"url": "https://shop.example/"}}},
    *({"type": kind, "traits": {"plan": "pro"}} for kind in ("identify", "group", "alias", "screen")),
    {"event": "page"},
    {"timestamp": None, "originalTimestamp": now()},
    {"timestamp": None, "messageId": f"ajs-next-{time.time_ns() // 1_000_000}-b"},
)
POSTHOG_EVENTS = (
    {"uuid": str(uuid.uuid4())},
    {"properties": {"$pathname": "/a", "$session_id": "s", "offset": 1}},
    {"event": "$pageview", "properties": {"$pathname": "/a"}},
    *({"event": name} for name in ("$screen", "$groupidentify", "$create_alias")),
    {"timestamp": None, "properties": {"$time": time.time()}},
    {"uuid": None, "properties": {"$insert_id": "i-1"}},
)


@pytest.mark.parametrize(
    ("path", "message", "fields", "preset"),
    [(BATCH, track, SEGMENT_MESSAGES, "segment"), (CAPTURE, captured, POSTHOG_EVENTS, "posthog")],
)
async def test_what_an_sdk_sent_and_an_import_of_the_same_messages_counts_once(
    path, message, fields, preset, tmp_path
):
    sent = [message(n) | changes for n, changes in enumerate(({}, *fields))]
    file = tmp_path / "export.ndjson"
    file.write_text("".join(json.dumps(one) + "\n" for one in sent))
    async with serving_sdks() as (worker, _):
        answer = await post(worker, path, {"batch": sent}, headers=basic(TENANT))
        assert answer.json["accepted"] == len(sent)
        options = (f"http://127.0.0.1:{worker.port}", "--from", preset, "--key", TENANT)
        done = await asyncio.to_thread(imported, file, *options)
        assert done.exit_code == 0, done.output
        rows = await worker.rows()
        columns = sorted(rows[0].keys() - {"received_at"})
        counted = [str({name: row[name] for name in columns}) for row in rows]
        assert len(counted) == 2 * len(sent)
        assert sorted(counted[: len(sent)]) == sorted(counted[len(sent) :])
        assert len(set(counted)) == len(sent)
