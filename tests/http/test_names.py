"""Every answer has the common names (docs/reading.md, decision 0037).

That they agree with the deprecated ones is checked in every answer that `Reader.get` receives (`names`).
"""

import json
from datetime import timedelta
from typing import Any

import pytest

from nealytics.config import Config
from nealytics.http.openapi import document
from tests.http.names import OLD
from tests.http.questions import QUESTIONS, stories
from tests.http.reader import NOW, TIMELINE, Reader, event, on_the_engine

PATHS = {"timeline": TIMELINE}
LISTS = {
    "timeseries": ("points", {"time", "value", "count"}),
    "active": ("points", {"time", "value", "count"}),
    "top": ("items", {"key", "value", "count", "share"}),
    "heatmap": ("cells", {"value", "count"}),
    "funnel": ("steps", {"value", "count", "share"}),
    "retention": ("cohorts", {"time", "value", "count"}),
    "paths": ("paths", {"value", "count", "share"}),
    "properties": ("keys", {"key", "count"}),
    "sessions": ("sessions", {"count"}),
}


def path_of(name: str) -> str:
    return PATHS.get(name, f"/api/v1/analytics/{name}")


def pairs(text: str) -> dict[str, Any]:
    query: dict[str, Any] = {}
    for part in filter(None, text.split("&")):
        name, value = part.split("=", 1)
        query.setdefault(name, []).append(value)
    return query


@pytest.mark.engine
class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_every_answer_has_the_names_and_its_range(self, reader: Reader):
        await reader.store_twice(*stories([("shop", "acme")]))
        for name, question in QUESTIONS:
            answer = await reader.as_sent(path_of(name), **pairs(question))
            if name == "timeline":
                assert answer["events"][0]["metadata"] == {"plan": "plan 0"}
                continue
            zone = pairs(question).get("tz", ["UTC"])[0]
            assert answer["tz"] == zone, name
            offset = {"UTC": "Z", "Europe/Berlin": "+02:00", "Asia/Kolkata": "+05:30"}[zone]
            assert answer["from"].endswith(offset), name
            assert answer["to"].endswith(offset), name
            if name == "summary":
                assert answer["value"] == answer["count"] == answer["events"] > 0
                continue
            member, names = LISTS[name]
            assert answer[member], (name, question)
            assert all(names <= set(one) for one in answer[member]), (name, question)

    async def test_the_value_is_the_first_measure_and_null_if_that_is(self, reader: Reader):
        await reader.store_twice(event(metadata={"amount": "19.99"}), event(event_type="look"))
        measures = ["max(meta:amount)", "count"]
        answer = await reader.as_sent(path_of("top"), measure=measures)
        assert [(item["key"], item["value"]) for item in answer["items"]] == [("view", 19.99), ("look", None)]
        answer = await reader.as_sent(path_of("timeseries"), measure=measures)
        assert [(point["value"], point["count"]) for point in answer["points"]] == [(19.99, 2)]
        answer = await reader.as_sent(path_of("summary"), measure=measures)
        assert (answer["value"], answer["previous"]["value"]) == (19.99, None)
        answer = await reader.as_sent(path_of("heatmap"), measure=measures)
        assert sum(cell["value"] is not None for cell in answer["cells"]) == 1

    @pytest.mark.parametrize(
        ("name", "tz", "begin"),
        [
            ("retention", "UTC", "2024-04-22T00:00:00Z"),
            ("retention", "America/New_York", "2024-04-22T00:00:00-04:00"),
            ("heatmap", "UTC", "2024-05-19T00:00:00Z"),
            ("heatmap", "Asia/Kolkata", "2024-05-19T00:00:00+05:30"),
            ("summary", "Asia/Kolkata", "2024-06-14T17:30:00+05:30"),
        ],
    )
    async def test_a_range_without_from_is_what_its_route_needs(
        self, reader: Reader, name: str, tz: str, begin: str
    ):
        answer = await reader.as_sent(path_of(name), **({"tz": tz} if tz != "UTC" else {}))
        assert answer["from"] == begin

    async def test_a_range_without_from_is_counted_from_its_end(self, reader: Reader):
        answer = await reader.as_sent(path_of("retention"), to="2024-03-31", interval="month")
        assert (answer["from"], answer["to"]) == ("2023-08-01T00:00:00Z", "2024-03-31T23:59:59.999Z")

    @pytest.mark.parametrize(
        ("text", "metadata"),
        [
            ('{"a": 1.50, "big": 12345678901234567890123}', True),
            ('{ "line":\n"br\\neak"\r}', True),
            ('{"a":{"b":[1,{"c":null}]},"a":2}', True),
            ("{}", True),
            ("[1]", False),
            ("null", False),
            ("7", False),
            ("", False),
            ("{} {}", False),
            ('{"a":NaN}', False),
            ('{"a":"tab\there"}', False),
            ("{'a':1}", False),
        ],
    )
    async def test_metadata_is_an_object_exactly_if_its_text_is(
        self, reader: Reader, text: str, metadata: bool
    ):
        """The answer is parsed as a whole: what is no JSON would break it."""
        one = event(NOW - timedelta(hours=1))
        stored = type(one)(
            **{name: getattr(one, name) for name in one.__struct_fields__} | {"metadata_json": text.encode()}
        )
        await reader.store_twice(stored)
        (found,) = (await reader.as_sent(TIMELINE))["events"]
        assert found["metadataJson"] == text
        assert found.get("metadata") == (json.loads(text) if metadata else None)
        exported = "/api/v1/telemetry/export"
        for path, form in [
            (TIMELINE, "both"),
            (TIMELINE, "text"),
            (TIMELINE, "object"),
            (exported, "object"),
        ]:
            async with reader.open(path, metadata=form) as response:
                body = json.loads(await response.read())
            (found,) = body["events"] if path == TIMELINE else [body]
            names = {name for name in ("metadata", "metadataJson") if name in found}
            both = {"metadata", "metadataJson"} if metadata else {"metadataJson"}
            only = {"metadata"} if metadata else {"metadataJson"}
            assert names == {"both": both, "text": {"metadataJson"}, "object": only}[form]
            assert found.get("metadataJson", text) == text
            if "metadata" in found:
                assert found["metadata"] == json.loads(text)


def test_every_deprecated_name_is_marked_and_no_other():
    schemas = document(Config())["components"]["schemas"]
    marked = {
        (schema["title"], name)
        for schema in schemas.values()
        for name, field in schema.get("properties", {}).items()
        if field.get("deprecated")
    }
    old = {name for names in OLD.values() for name in names} | {"value"}
    assert {name for _, name in marked} == old
    assert [title for title, name in marked if name == "value"] == ["Value"]
