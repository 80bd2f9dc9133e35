"""Exports of other products, a file of each shape, as the events that a server gets."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nealytics.cli import main
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
            "eventId": "018f2f6c-1111-7000-8000-000000000001",
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
            "eventId": "018f2f6c-1111-7000-8000-000000000001",
            "eventType": "page_view",
            "sessionId": "s-1",
            "itemId": "/a",
            "metadata": {"$pathname": "/a", "$session_id": "s-1", "price": 12.5},
        }
    ],
    "segment.ndjson": [
        {
            "eventType": "page_view",
            "userId": "anon-1",
            "sessionId": "1718447400",
            "itemId": "/pricing",
            "metadata": {"title": "Pricing"},
        },
        {
            "eventId": "7e5f7f0e-6d0c-4d7e-9a0a-1f8a2f6b9c01",
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
    fields = presets.msgspec.json.decode(row, type=dict[str, presets.msgspec.Raw])
    (event,) = presets.events_of(presets.load("mixpanel"), fields)
    assert b'"amount":1.10,"big":9007199254740993' in presets.msgspec.json.encode(event)


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
