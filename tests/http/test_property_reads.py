"""Metadata keys and values over the real engine: what is listed is what a filter finds.

Each row is stored twice, and the table is not merged.
"""

import json
import random
from collections import Counter, defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from nealytics.event import Event
from tests.http.reader import NOW, PROPERTIES, TOP, Reader, event, on_the_engine

pytestmark = on_the_engine

KEYS = [
    "plan",
    "a.b",
    "a:b",
    "a\\b",
    "a\\.b",
    ".",
    ":",
    "\\",
    "..",
    "eq:",
    "meta:plan",
    " ",
    "it's",
    'say "hi"',
    "{p0:String}",
    "é漢🙂",
    "tab\tline\n",
    "%2E",
    "+&=#",
    "\x00",
    "x" * 512,
]
# As they are written in JSON, and the text by which they compare.
VALUES = {
    '"pro"': "pro",
    '"caf\\u00e9 \\ud83d\\ude42"': "café 🙂",
    '"café 🙂"': "café 🙂",
    '""': "",
    '" "': " ",
    '"null"': "null",
    '"1.5"': "1.5",
    '"a,b\\\\,c:d"': "a,b\\,c:d",
    '"\\u0000\\t\\n\'"': "\x00\t\n'",
    "1": "1",
    "-0": "0",
    "1.50": "1.5",
    "1.0": "1",
    "1e3": "1000",
    "0.1": "0.1",
    "18446744073709551615": "18446744073709551615",
    "-9223372036854775808": "-9223372036854775808",
    "1180591620717411303424": "1180591620717411303424",
    "true": "true",
    "false": "false",
    "null": None,
    "[ 1, [2 ], null]": "[1,[2],null]",
    '{ "x" : 1.50, "y": { } }': '{"x":1.5,"y":{}}',
    "{}": "{}",
    "[]": "[]",
}


def with_json(text: str, **fields: Any) -> Event:
    return msgspec.structs.replace(event(**fields), metadata_json=text.encode())


def object_of(pairs: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{json.dumps(key)} : {value}" for key, value in pairs) + "}"


def assorted(count: int = 500) -> tuple[list[Event], dict[str, Counter[str]]]:
    """Events with some of those keys, and how often each key has each text."""
    chance = random.Random(3)
    expected: dict[str, Counter[str]] = defaultdict(Counter)
    events = []
    for n in range(count):
        pairs = [(key, chance.choice(list(VALUES))) for key in chance.sample(KEYS, chance.randint(0, 6))]
        for key, written in pairs:
            text = VALUES[written]
            if text is not None:
                expected[key][text] += 1
        # Of a key that is there twice, the first counts.
        repeated = [(key, '"repeated"') for key, _ in pairs[:2]]
        at = NOW - timedelta(seconds=n)
        events.append(with_json(object_of(pairs + repeated), at=at, session_id=f"s{n % 5}"))
    return events, expected


def escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace(".", "\\.").replace(":", "\\:")


def listed(expected: dict[str, Counter[str]], values: int, prefix: str = "meta:") -> list[dict[str, Any]]:
    def most(counts: Counter[str]) -> list[tuple[str, int]]:
        return sorted(counts.items(), key=lambda item: (-item[1], item[0].encode()))

    return [
        {
            "key": prefix + escaped(key),
            "events": events,
            "distinctValues": len(expected[key]),
            "values": [
                {"value": value, "count": count, "share": pytest.approx(count / events)}
                for value, count in most(expected[key])[:values]
            ],
        }
        for key, events in most(Counter({key: counts.total() for key, counts in expected.items()}))
    ]


async def keys_of(reader: Reader, **query: Any) -> list[dict[str, Any]]:
    return (await reader.answer(PROPERTIES, **query))["keys"]


async def test_keys_and_values_are_listed_by_how_often_they_occur(reader: Reader):
    events, expected = assorted()
    await reader.store_twice(*events)
    assert len(expected) == len(KEYS)
    assert await reader.answer(PROPERTIES, limit="1000", values="100") == {
        "projectId": "shop",
        "tenantId": "acme",
        "from": "2024-06-14T12:00:00Z",
        "to": "2024-06-15T12:00:00Z",
        "keys": listed(expected, 100),
    }
    assert await keys_of(reader) == listed(expected, 10)[:20]
    assert await keys_of(reader, limit="3", values="2") == listed(expected, 2)[:3]
    for limit in (len(expected) - 1, len(expected)):
        answer = await reader.answer(PROPERTIES, limit=str(limit))
        codes = [warning["code"] for warning in answer.get("warnings", [])]
        assert codes == (["truncated"] if limit < len(expected) else [])


async def test_a_listed_value_is_what_a_filter_finds(reader: Reader):
    """By each key and value, exactly as many events as were listed, and by each key as many as have it."""
    events, _ = assorted(120)
    await reader.store_twice(*events)

    async def found(filter_: str) -> int:
        (item,) = (await reader.answer(TOP, dimension="tenant_id", filter=filter_))["items"]
        return item["count"]

    checked = 0
    for key in await keys_of(reader, limit="1000", values="100"):
        assert await found(f"{key['key']}:exists") == key["events"]
        for value in key["values"]:
            assert await found(f"{key['key']}:eq:{value['value']}") == value["count"], (key["key"], value)
            checked += 1
    assert checked > 200


async def test_a_listed_key_can_be_asked_for_alone(reader: Reader):
    events, expected = assorted(120)
    await reader.store_twice(*events)
    for key in listed(expected, 7):
        path = key["key"].removeprefix("meta:")
        # A blank argument is none, so a key of a space needs the prefix.
        for asked in (key["key"], path if path.strip() else key["key"]):
            assert await keys_of(reader, key=asked, values="7") == [key]
        top = await reader.answer(TOP, dimension=key["key"], limit="7")
        assert [(item["key"], item["count"]) for item in top["items"]] == [
            (value["value"], value["count"]) for value in key["values"]
        ]
    assert await keys_of(reader, key="nobody has it") == []


async def test_keys_inside_of_an_object_are_listed_by_their_whole_path(reader: Reader):
    inner, expected = assorted(150)
    outer = [
        msgspec.structs.replace(
            one, metadata_json=b'{"cart": {"it.em": ' + one.metadata_json + b'}, "it.em": {"no": 1}}'
        )
        for one in inner
    ]
    await reader.store_twice(
        *outer, with_json('{"cart": [{"it.em": {"no": 1}}]}'), with_json('{"cart": null}')
    )
    expected_keys = listed(expected, 10, prefix="meta:cart.it\\.em.")
    assert await keys_of(reader, under="cart.it\\.em", limit="1000") == expected_keys
    assert await keys_of(reader, under="meta:cart.it\\.em", limit="2") == expected_keys[:2]
    first = expected_keys[0]
    assert await keys_of(reader, key=first["key"]) == [first]
    name = first["key"].removeprefix("meta:cart.it\\.em.")
    assert await keys_of(reader, under="cart.it\\.em", key=name) == [first]
    (cart,) = await keys_of(reader, under="cart")
    assert (cart["key"], cart["events"]) == ("meta:cart.it\\.em", 150)
    assert await keys_of(reader, under="cart.nothing") == []


@pytest.mark.parametrize(
    "text", ["", "null", "[]", '["plan"]', '"plan"', "7", "plan", '{"plan": 1', '{"plan": 1} x', "{}"]
)
async def test_metadata_that_is_no_object_has_no_keys(reader: Reader, text: str):
    await reader.store_twice(with_json(text))
    assert await keys_of(reader) == []
    assert await keys_of(reader, key="plan") == []


async def test_what_no_filter_can_name_is_not_listed(reader: Reader):
    """It counts all the same: `events` is how many have the key."""
    await reader.store_twice(
        event(metadata={"": 1, "k" * 513: 2, "plan": "é" * 1000}),
        event(metadata={"plan": "é" * 1001}),
        event(metadata={"plan": "é" * 1001}),
        event(metadata={"plan": ["é" * 1001]}),
    )
    (plan,) = await keys_of(reader)
    assert (plan["key"], plan["events"], plan["distinctValues"]) == ("meta:plan", 4, 3)
    assert plan["values"] == [{"value": "é" * 1000, "count": 1, "share": 0.25}]
    assert await keys_of(reader, key="plan") == [plan]


async def test_only_events_that_are_asked_for_have_keys(reader: Reader):
    """Range and filters are those of every endpoint, and so is the scope."""
    await reader.store_twice(
        event(metadata={"mine": 1}, event_type="view"),
        event(NOW - timedelta(hours=30), metadata={"old": 1}, event_type="view"),
        event(metadata={"other": 1}, event_type="click"),
        event(metadata={"foreign": 1}, tenant_id="globex", event_type="view"),
        event(metadata={"blog": 1}, project_id="blog", event_type="view"),
    )

    async def names(**query: Any) -> list[str]:
        return [key["key"] for key in await keys_of(reader, **query)]

    assert await names() == ["meta:mine", "meta:other"]
    assert await names(eventType="view") == ["meta:mine"]
    assert await names(filter="meta:mine:exists:false") == ["meta:other"]
    assert await names(**{"from": "2024-06-01"}, eventType="view") == ["meta:mine", "meta:old"]
    assert await names(tenant_id=None, eventType="view") == ["meta:foreign", "meta:mine"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"values": "0"}, "values"),
        ({"values": "101"}, "values"),
        ({"values": "ten"}, "values"),
        ({"limit": "x"}, "limit"),
        ({"under": "a..b"}, "under"),
        ({"under": "."}, "under"),
        ({"key": "a."}, "key"),
        ({"key": "meta:"}, "key"),
        ({"under": "a.b.c.d.e.f.g.h"}, "under"),
        ({"under": "a.b.c.d", "key": "e.f.g.h.i"}, "key"),
        ({"under": "x" * 513}, "under"),
        ({"key": "x" * 1025}, "key"),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(reader: Reader, query: dict[str, str], field: str):
    status, body, _ = await reader.get(PROPERTIES, **query)
    assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)
    assert body["detail"]


async def test_a_path_of_eight_keys_is_the_deepest(reader: Reader):
    metadata: Any = "deep"
    for key in "hgfedcba":
        metadata = {key: metadata}
    await reader.store_twice(event(metadata=metadata))
    (deepest,) = await keys_of(reader, under="a.b.c.d.e.f.g")
    assert deepest["key"] == "meta:a.b.c.d.e.f.g.h"
    (found,) = await reader.timeline(filter=f"{deepest['key']}:eq:deep")
    assert UUID(found["eventId"])


async def test_values_are_counted_one_by_one_and_within_the_memory_of_a_query(reader: Reader):
    """Never an estimate: where every event has a value of its own, it is exact or a 422."""
    await reader.store_twice(*(event(metadata={"id": f"o{n}", "long": f"{n:02000}"}) for n in range(5_000)))
    key, long = await keys_of(reader)
    assert (key["events"], key["distinctValues"]) == (5_000, 5_000)
    assert [value["value"] for value in key["values"]] == sorted(f"o{n}" for n in range(5_000))[:10]
    assert (long["events"], long["distinctValues"], long["values"]) == (5_000, 5_000, [])
    little = msgspec.structs.replace(reader.config.query, memory_bytes_max=1_000_000)
    config = msgspec.structs.replace(reader.config, query=little)
    async with Reader(reader.clickhouse, config) as poor:
        status, body, _ = await poor.get(PROPERTIES)
        assert (status, body["code"]) == (422, "query_too_large")
