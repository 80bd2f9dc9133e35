"""Exports of other products, a file of each shape, as the events that a server gets."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from nealytics.cli import main
from nealytics.compat.message import id_of_message
from nealytics.importer import presets
from tests.fakes.batch_server import KEY, BatchServer

SHAPES = Path(__file__).parent / "shapes"
MORNING = 1_781_519_400_000  # 2026-06-15T10:30:00Z


def run(server: BatchServer, file: Path, tmp_path: Path, *options: str) -> Result:
    own = ["--state", str(tmp_path / "state"), "--rejected", str(tmp_path / "rejected")]
    ids = ["--set", "projectId=shop", "--set", "tenantId=acme"]
    command = ["import", str(file), "--url", server.url, "--key", KEY, *ids, *own, *options]
    return CliRunner().invoke(main, command)


EXPECTED: dict[str, list[dict[str, Any]]] = {
    "posthog.ndjson": [
        {
            "eventId": str(id_of_message("shop", "018f2f6c-1111-7000-8000-000000000001")),
            "eventType": "page_view",
            "userId": "user-1",
            "sessionId": "018f2f6c-0000-7000-8000-00000000abcd",
            "itemId": "/a",
            "timestamp": "2026-06-15T10:30:00.123000Z",
            "metadata": {"$browser": "Firefox", "price": 12.5},
        },
        {
            "eventType": "order paid",
            "sessionId": "user-2",
            "timestamp": "2026-06-15 10:31:00.000000+00:00",
            "metadata": {"total": 99.9, "$groups": {"company": "acme"}},
        },
    ],
    "posthog.csv": [
        {
            "eventId": str(id_of_message("shop", "018f2f6c-1111-7000-8000-000000000001")),
            "eventType": "page_view",
            "sessionId": "s-1",
            "itemId": "/a",
            "metadata": {"$pathname": "/a", "$session_id": "s-1", "price": 12.5},
        }
    ],
    "segment.ndjson": [
        {
            "eventType": "page_view",
            "eventId": str(id_of_message("shop", "ajs-next-1718447400123-abc")),
            "sessionId": "1718447400",
            "itemId": "/pricing",
            "metadata": {"title": "Pricing"},
        },
        {
            "eventId": str(id_of_message("shop", "7e5f7f0e-6d0c-4d7e-9a0a-1f8a2f6b9c01")),
            "eventType": "Order Completed",
            "userId": "u-1",
            "metadata": {"revenue": 99.9, "context": {"library": {"name": "analytics-node"}}},
        },
        {"eventType": "$identify", "userId": "u-1", "metadata": {"plan": "pro"}},
    ],
    "plausible.ndjson": [
        {
            "eventType": "page_view",
            "userId": "11946328147338405000",
            "sessionId": "8213645273",
            "itemId": "/a",
            "timestamp": "2026-06-15 10:30:00",
            "metadata": {"utm_source": "newsletter", "country_code": "DE"},
        },
        {"eventType": "Purchase", "itemId": "/done", "metadata": {"plan": "pro", "seats": "5"}},
    ],
    "ga4.ndjson": [
        {
            "eventType": "page_view",
            "userId": "111.222",
            "sessionId": "111.222.1781519399",
            "itemId": "https://shop.example/a",
            "timestamp": MORNING + 123,
            "metadata": {"engaged": 1, "device": {"category": "mobile"}, "ga_session_id": 1781519399},
        },
        {
            "eventType": "purchase",
            "userId": "u-1",
            "sessionId": "111.222.1781519399",
            "metadata": {
                "value": 99.9,
                "currency": "EUR",
                "user_properties": {"plan": "pro"},
                "items": [{"item_id": "sku-1", "price": 9.9}],
            },
        },
    ],
    "snowplow.ndjson": [
        {
            "eventId": "c6ef3124-b53a-4b13-a233-0088f79dcbcb",
            "eventType": "page_view",
            "userId": "d-1",
            "sessionId": "2b6ef3f0-5a5b-4d8b-8b0f-000000000001",
            "itemId": "/a",
            "metadata": {"page_title": "A", "contexts_org_w3_performance_timing_1": [{"domLoading": 1}]},
        },
        {"eventType": "add_to_cart", "metadata": {"se_category": "cart", "se_value": 9.9}},
    ],
    "matomo.json": [
        {
            "eventType": "page_view",
            "userId": "a1b2c3",
            "sessionId": "77",
            "itemId": "https://shop.example/a",
            "timestamp": MORNING,
            "metadata": {"pageTitle": "A", "countryCode": "de", "browserName": "Firefox"},
        },
        {"eventType": "add_to_cart", "sessionId": "77", "metadata": {"eventValue": 9.9, "countryCode": "de"}},
        {"eventType": "outlink", "userId": "u-1", "sessionId": "78"},
    ],
    "mixpanel.ndjson": [
        {
            "eventId": "5d958f87-542d-4c10-9422-0ed75893dc81",
            "eventType": "page_view",
            "userId": "u-1",
            "itemId": "https://shop.example/a",
            "timestamp": MORNING,
            "metadata": {"mp_lib": "web"},
        },
        {"eventType": "Paid", "sessionId": "$device:x", "metadata": {"amount": 99.9}},
    ],
}


@pytest.mark.parametrize("file", EXPECTED)
def test_each_shape_becomes_events_that_are_counted_once(file: str, tmp_path: Path):
    with BatchServer() as server:
        for _ in range(2):  # again, without the state file of the first time
            done = run(server, SHAPES / file, tmp_path, "--from", file.partition(".")[0])
            assert done.exit_code == 0, done.output
            (tmp_path / "state").unlink()
        events = list(server.events.values())
    for event, expected in zip(events, EXPECTED[file], strict=True):
        assert event["projectId"] == "shop"
        assert expected.pop("metadata", {}).items() <= event["metadata"].items()
        assert expected.items() <= event.items()


def test_each_product_has_a_file_here():
    assert {name.partition(".")[0] for name in EXPECTED} == set(presets.names())
    assert {path.name for path in SHAPES.iterdir()} == set(EXPECTED)


def test_numbers_keep_their_digits(tmp_path: Path):
    row = b'{"event":"Paid","properties":{"time":1,"distinct_id":"u","amount":1.10,"big":9007199254740993}}'
    fields = msgspec.json.decode(row, type=dict[str, msgspec.Raw])
    (event,) = presets.events_of(presets.load("mixpanel"), fields)
    assert b'"amount":1.10,"big":9007199254740993' in msgspec.json.encode(event)


def test_a_row_that_cannot_be_read_is_rejected_with_its_text(tmp_path: Path):
    file = tmp_path / "export.ndjson"
    good = (SHAPES / "mixpanel.ndjson").read_text()
    file.write_text(f"{good}not JSON\n")
    with BatchServer() as server:
        done = run(server, file, tmp_path, "--from", "mixpanel")
        assert done.exit_code == 1
        assert "2 accepted, 1 rejected" in done.output
        assert "not JSON" in (tmp_path / "rejected").read_text()
        assert len(server.events) == 2


def test_an_interrupted_import_goes_on_where_it_was(tmp_path: Path):
    file = tmp_path / "export.ndjson"
    rows = [{"event": "e", "properties": {"time": 1_781_519_400 + n, "distinct_id": "u"}} for n in range(50)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:20]) + "[\n")
    options = ("--from", "mixpanel", "--batch-events", "10")
    with BatchServer() as server:
        run(server, file, tmp_path, *options)
        assert len(server.events) == 20
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = run(server, file, tmp_path, *options)
        assert "resumes after row 21" in done.output
        assert len(server.events) == 49  # row 21 was rejected then
        assert len(server.order) == 49


def test_a_file_that_ends_too_early_is_no_complete_import(tmp_path: Path):
    file = tmp_path / "visits.json"
    file.write_text((SHAPES / "matomo.json").read_text()[:-2])
    with BatchServer() as server:
        done = run(server, file, tmp_path, "--from", "matomo")
    assert done.exit_code == 1
    assert "the array has no end" in done.output


def test_other_options_apply_to_the_events(tmp_path: Path):
    with BatchServer() as server:
        done = run(
            server, SHAPES / "posthog.ndjson", tmp_path, "--from", "posthog",
            "--map", "itemId=metadata.currency", "--default", "itemId=none", "--sparse",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert [event["itemId"] for event in server.events.values()] == ["none", "EUR"]


def events(preset: str, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """What the server gets."""
    made = [
        event
        for row in rows
        for event in presets.events_of(
            presets.load(preset),
            {name: msgspec.Raw(json.dumps(value).encode()) for name, value in row.items()},
        )
    ]
    return json.loads(msgspec.json.encode(made))


GA4_SESSION = {"key": "ga_session_id", "value": {"int_value": "7"}}


@pytest.mark.parametrize(
    ("preset", "row", "expected"),
    [
        (
            "segment",
            {"type": "track", "event": "page", "userId": "u"},
            {"eventType": "page", "sessionId": "u"},
        ),
        (
            "segment",
            {"type": "page", "name": "Home", "anonymousId": "u"},
            {"eventType": "page_view", "itemId": "Home"},
        ),
        ("segment", {"type": "alias", "userId": "u"}, {"eventType": "$alias"}),
        ("posthog", {"event": "$groupidentify", "distinct_id": "u"}, {"eventType": "$group"}),
        ("posthog", {"event": "$create_alias", "distinct_id": "u"}, {"eventType": "$alias"}),
        (
            "posthog",
            {"event": "$screen", "distinct_id": "u", "properties": json.dumps({"$screen_name": "Home"})},
            {"eventType": "screen_view", "itemId": "Home"},
        ),
        ("ga4", {"event_name": "e", "user_id": "u"}, {"sessionId": "u", "userId": "u"}),
        (
            "ga4",
            {"event_name": "e", "user_id": "u", "user_pseudo_id": "p"},
            {"sessionId": "p", "userId": "u"},
        ),
        (
            "ga4",
            {"event_name": "e", "user_id": "u", "event_params": [GA4_SESSION]},
            {"sessionId": "u.7"},
        ),
        ("snowplow", {"event_name": "e", "user_id": "u"}, {"sessionId": "u", "userId": "u"}),
    ],
)
def test_names_items_and_sessions_are_those_that_the_documentation_says(preset, row, expected):
    (event,) = events(preset, row)
    assert {name: event.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("preset", "row"),
    [
        ("segment", {"type": "track", "event": "e", "userId": "u", "properties": {"path": "/a"}}),
        ("posthog", {"event": "e", "distinct_id": "u", "properties": {"$pathname": "/a"}}),
    ],
)
def test_an_event_of_one_s_own_has_no_item_as_if_its_sdk_had_sent_it(preset, row):
    (event,) = events(preset, row)
    assert "itemId" not in event


def test_an_empty_text_of_ga4_is_absent():
    value = {"string_value": "", "int_value": None}
    row = {"event_name": "e", "user_pseudo_id": "p", "event_params": [{"key": "empty", "value": value}]}
    assert events("ga4", row)[0]["metadata"] == {}


def test_a_time_that_the_product_corrected_is_as_it_was_sent():
    sent = {"type": "track", "event": "e", "userId": "u", "originalTimestamp": "2026-06-15T10:30:00.000Z"}
    times = {"sentAt": "2026-06-15T10:30:05.000Z", "receivedAt": "2026-06-15T11:30:06.500Z"}
    for timestamp, expected in (
        ("2026-06-15T11:30:01.500Z", "2026-06-15T10:30:00.000Z"),
        ("2026-06-15T11:30:01.501Z", "2026-06-15T10:30:00.000Z"),
        # The sender's own, of an event of the past.
        ("2020-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z"),
    ):
        assert events("segment", {**sent, **times, "timestamp": timestamp})[0]["timestamp"] == expected
        assert events("segment", {**sent, "timestamp": timestamp})[0]["timestamp"] == timestamp


def test_rows_that_are_no_events_are_rejected_with_the_reason_or_skipped(tmp_path: Path):
    file = tmp_path / "visits.json"
    visit = {"idVisit": "1", "visitorId": "a"}
    action = {"type": "action", "url": "/a", "timestamp": MORNING // 1000}
    rows = [visit, visit | {"actionDetails": [action]}, visit | {"actionDetails": []}, {"other": 1}]
    file.write_text(json.dumps(rows))
    with BatchServer() as server:
        done = run(server, file, tmp_path, "--from", "matomo")
        assert done.exit_code == 1
        assert "4 records read: 1 accepted, 2 rejected, 1 skipped" in done.output
        assert "it has no list actionDetails" in done.output
    file.write_text(json.dumps({"type": "unknown", "userId": "u"}) + "\n")
    with BatchServer() as server:
        done = run(server, file, tmp_path, "--from", "segment", "--restart")
        assert "1 record read: 0 accepted, 1 rejected" in done.output
        assert 'type is "unknown"' in done.output


def test_the_ids_of_messages_need_the_project(tmp_path: Path):
    own = ["--state", str(tmp_path / "state"), "--rejected", str(tmp_path / "rejected")]
    with BatchServer() as server:
        file = str(SHAPES / "segment.ndjson")
        done = CliRunner().invoke(
            main, ["import", file, "--url", server.url, "--key", KEY, "--from", "segment", *own]
        )
        assert done.exit_code == 1
        assert "--set projectId=PROJECT" in done.output


def test_the_tenant_may_be_where_the_message_names_it(tmp_path: Path):
    file = tmp_path / "segment.ndjson"
    row = {"type": "track", "event": "e", "userId": "u", "messageId": "m", "context": {"groupId": "t-9"}}
    file.write_text(json.dumps(row) + "\n")
    own = ["--state", str(tmp_path / "state"), "--rejected", str(tmp_path / "rejected")]
    mapped = ["--set", "projectId=shop", "--map", "tenantId=metadata.context.groupId"]
    with BatchServer() as server:
        command = ["import", str(file), "--url", server.url, "--key", KEY, "--from", "segment", *mapped, *own]
        assert CliRunner().invoke(main, command).exit_code == 0
        assert [event["tenantId"] for event in server.events.values()] == ["t-9"]


def day_of(timestamp: str | int) -> date:
    at = timestamp / 1000 if isinstance(timestamp, int) else datetime.fromisoformat(timestamp).timestamp()
    return datetime.fromtimestamp(at, UTC).date()


@pytest.mark.parametrize("name", ["posthog.csv", "matomo.json", "posthog.ndjson"])
def test_times_are_shifted_in_a_file_of_every_format(name: str, tmp_path: Path):
    """It is read twice, and both times as the product wrote it."""
    product = ("--from", name.partition(".")[0])
    with BatchServer() as server:
        done = run(server, SHAPES / name, tmp_path, *product, "--shift-to", "2030-01-01T12:00:00Z")
        assert done.exit_code == 0, done.output
        assert "shifting all timestamps by 1296d" in done.output
        assert {day_of(event["timestamp"]) for event in server.events.values()} == {date(2030, 1, 1)}


def test_a_row_that_is_too_long_once_its_problem_is_beside_it_is_rejected_alone(tmp_path: Path):
    file = tmp_path / "export.ndjson"
    good = (SHAPES / "mixpanel.ndjson").read_text()
    file.write_text('"' * 900 + "\n" + good)
    with BatchServer() as server:
        done = run(server, file, tmp_path, "--from", "mixpanel", "--record-bytes", "1000")
        assert done.exit_code == 1
        assert "2 accepted, 1 rejected" in done.output
        assert "not a JSON object" in (tmp_path / "rejected").read_text()
        assert len(server.events) == 2
