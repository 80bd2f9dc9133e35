"""The filter grammar, and that each condition means in ClickHouse what it says."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.errors import Refused
from nealytics.queries.filters import Bind, Field, Filter, parse_field, parse_filter
from tests.engine import RunningEngine, needs_engine, start_engine


def parse(text: str) -> Filter:
    return parse_filter("filter", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event_type:eq:view", Filter(Field("event_type"), "eq", "view")),
        ("event_type:eq:a:b", Filter(Field("event_type"), "eq", "a:b")),
        ("session_id:ne:", Filter(Field("session_id"), "ne", "")),
        ("item_id:starts:/shop?a=1", Filter(Field("item_id"), "starts", "/shop?a=1")),
        ("event_type:in:view", Filter(Field("event_type"), "in", ("view",))),
        (r"event_type:in:a\,b,c\\,", Filter(Field("event_type"), "in", ("a,b", "c\\", ""))),
        ("user_id:exists:", Filter(Field("user_id"), "exists", 1)),
        ("user_id:exists", Filter(Field("user_id"), "exists", 1)),
        ("user_id:exists:false", Filter(Field("user_id"), "exists", 0)),
        ("timestamp:gt:1970-01-01T00:00:01Z", Filter(Field("timestamp"), "gt", 1_000)),
        ("received_at:lt:1970-01-01T00:00:01Z", Filter(Field("received_at"), "lt", 1_000)),
        ("inserted_at:gt:1970-01-01T00:00:01Z", Filter(Field("inserted_at"), "gt", 1_000)),
        # Seven digits, as .NET writes them.
        ("timestamp:lt:1970-01-01T00:00:00.0010001Z", Filter(Field("timestamp"), "lt", 2)),
        ("timestamp:lt:1970-01-01T00:00:00.0010000Z", Filter(Field("timestamp"), "lt", 1)),
        ("timestamp:gt:1970-01-01T00:00:00.0019999Z", Filter(Field("timestamp"), "gt", 1)),
        *(
            (
                f"event_id:{op}:{written}",
                Filter(Field("event_id"), op, "0190163d-8694-739b-aea5-966c26f8ad91"),
            )
            for op in ("eq", "ne")
            for written in ("0190163D-8694-739B-AEA5-966C26F8AD91", "0190163d8694739baea5966c26f8ad91")
        ),
        (
            "event_id:in:0190163D8694739BAEA5966C26F8AD91",
            Filter(Field("event_id"), "in", ("0190163d-8694-739b-aea5-966c26f8ad91",)),
        ),
        ("event_id:starts:0190", Filter(Field("event_id"), "starts", "0190")),
        ("timestamp:gt:1970-01-01T00:00:00.0005Z", Filter(Field("timestamp"), "gt", 0)),
        ("timestamp:lt:1970-01-01T00:00:00.0005Z", Filter(Field("timestamp"), "lt", 1)),
        ("meta:plan:eq:pro", Filter(Field("meta", ("plan",)), "eq", "pro")),
        ("meta:cart.total:gt:9.5", Filter(Field("meta", ("cart", "total")), "gt", 9.5)),
        (r"meta:a\.b\:c\\.d:eq:x:y", Filter(Field("meta", ("a.b:c\\", "d")), "eq", "x:y")),
    ],
)
def test_a_filter_is_a_field_an_operation_and_a_value(text: str, expected: Filter):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "event_type",
        "event_type:eq",
        "event_type:like:%",
        "Event_Type:eq:a",
        "metadata_json:eq:{}",
        "meta:eq:a",
        "meta::eq:a",
        "meta:a..b:eq:x",
        "meta:" + ".".join("abcdefghi") + ":eq:x",
        "user_id:exists:yes",
        "user_id:gt:5",
        "meta:n:gt:ten",
        "meta:n:gt:",
        "meta:n:lt:nan",
        "meta:n:lt:0x10",
        "timestamp:eq:2024-01-01",
        "timestamp:gt:yesterday",
        "received_at:eq:2026-01-01",
        "inserted_at:contains:2026",
        "event_id:eq:nonsense",
        "event_id:in:0190163d-8694-739b-aea5-966c26f8ad91,nonsense",
        "event_type:in:" + "a," * 100,
        "event_type:in:a,b\\",
        "meta:a\\:eq:x\\",
        "meta:a\\",
        "event_type:eq:" + "x" * 5_000,
        "event_type:eq:\udcff",
        ":eq:a",
        ":",
        "1=1 OR event_type:eq:a",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_and_says_what_to_write(text: str):
    with pytest.raises(Refused) as refused:
        parse(text)
    assert (refused.value.status, refused.value.code) == (400, "invalid_parameter")
    assert refused.value.field == "filter"
    assert refused.value.detail
    assert len(refused.value.message) < 200


@pytest.mark.parametrize(
    ("text", "meant"),
    {
        "eventType": "event_type",
        "userid": "user_id",
        "plan": "meta:plan",
        "cart.total": "meta:cart.total",
        "meta.plan": "meta:plan",
        "metadata.plan": "meta:plan",
        "metadata:plan": "meta:<path>",
        "11": None,
        "x" * 4_000: None,
    }.items(),
)
def test_a_field_that_there_is_not_is_answered_with_the_one_that_was_meant(text: str, meant: str | None):
    with pytest.raises(Refused) as refused:
        parse(f"{text}:eq:pro")
    detail = refused.value.detail
    assert detail.startswith(f"Did you mean {meant}? Write one of " if meant else "Write one of ")


@pytest.mark.parametrize("text", ["event_type:in:" + "a" * 4_000 + "\\", "meta:" + "a" * 4_000 + "\\"])
def test_what_ends_in_a_backslash_is_refused_at_once(text: str):
    """An expression that tried all ways to read it took half a second of everyone's time."""
    started = time.process_time()
    with pytest.raises(Refused):
        parse(text)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize("keys", [("a",), ("a.b", "c:d"), ("\\",), ("é", "a\nb", "'")])
def test_a_path_reads_back_as_it_is_written(keys: tuple[str, ...]):
    field = Field("meta", keys)
    assert parse_field("dimension", str(field)) == field
    assert parse(f"{field}:eq:x").field == field


def test_no_value_and_no_key_is_in_the_sql():
    bind = Bind()
    text = "it's {p0:String} \\"
    sql = Filter(Field("meta", (text,)), "eq", text).sql(bind)
    assert text not in sql
    assert bind.values == {"p0": text, "p1": text}
    assert set(re.findall(r"\{(\w+):", sql)) == set(bind.values)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("filters")) as engine:
        yield engine


@pytest.fixture
async def clickhouse(engine: RunningEngine) -> AsyncIterator[ClickHouseClient]:
    async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:
        await schema.apply(client, engine.config.clickhouse)
        yield client


METADATA: list[Any] = [
    {},
    {"k": None},
    {"k": ""},
    {"k": "pro"},
    {"k": "Pro"},
    {"k": "10"},
    {"k": 10},
    {"k": 9.5},
    {"k": -3},
    {"k": 12345678901234567890},
    {"k": True},
    {"k": [1, 2]},
    {"k": {"a": "x"}},
    {"k": "it's \\ \n\t"},
    {"k": "1e2"},
    {"k": "nan"},
    {"k": "inf"},
    {"k": "-Infinity"},
    {"k": "café"},
]


def text_of(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


def number_of(text: str | None) -> float | None:
    try:
        return float(text) if text is not None and re.fullmatch(r"[-+.0-9e]+", text) else None
    except ValueError:
        return None


@needs_engine
@pytest.mark.engine
@pytest.mark.parametrize(
    ("filter_", "matches"),
    [
        ("meta:k:eq:pro", lambda t: t == "pro"),
        ("meta:k:eq:", lambda t: t == ""),
        ("meta:k:eq:10", lambda t: t == "10"),
        ("meta:k:eq:true", lambda t: t == "true"),
        ("meta:k:eq:[1,2]", lambda t: t == "[1,2]"),
        ("meta:k:eq:it's \\ \n\t", lambda t: t == "it's \\ \n\t"),
        ("meta:k:ne:pro", lambda t: t != "pro"),
        ("meta:k:in:pro,10,café", lambda t: t in ("pro", "10", "café")),
        ("meta:k:contains:ro", lambda t: t is not None and "ro" in t),
        ("meta:k:starts:P", lambda t: t is not None and t.startswith("P")),
        ("meta:k:gt:9.5", lambda t: (number_of(t) or 0) > 9.5),
        ("meta:k:lt:10", lambda t: number_of(t) is not None and float(t) < 10),
        ("meta:k:exists:true", lambda t: t is not None),
        ("meta:k:exists:false", lambda t: t is None),
        ("meta:k.a:eq:x", None),
    ],
)
async def test_a_condition_means_in_clickhouse_what_it_says(
    clickhouse: ClickHouseClient, filter_: str, matches: Any
):
    bind = Bind()
    condition = parse(filter_).sql(bind)
    found = []
    for metadata in METADATA:
        metadata_json = json.dumps(metadata)
        ((answer,),) = await clickhouse.query(
            f"SELECT {condition} FROM (SELECT {{json:String}} AS metadata_json)",
            {**bind.values, "json": metadata_json},
        )
        assert answer in (0, 1), "a condition is never NULL"
        if answer:
            found.append(metadata)
    if matches is None:
        assert found == [{"k": {"a": "x"}}]
    else:
        assert found == [metadata for metadata in METADATA if matches(text_of(metadata.get("k")))]


@needs_engine
@pytest.mark.engine
@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ("user_id:eq:u", ["u"]),
        ("user_id:ne:u", [None, ""]),
        ("user_id:exists:false", [None, ""]),
        ("user_id:exists:true", ["u"]),
        ("user_id:eq:", []),
        ("user_id:in:,u", ["u"]),
        ("user_id:in:x,u", ["u"]),
        ("user_id:in:", []),
        ("user_id:starts:", ["u"]),
        ("user_id:contains:", ["u"]),
    ],
)
async def test_an_absent_user_matches_only_ne_and_exists_false(
    clickhouse: ClickHouseClient, filter_: str, found: list[str | None]
):
    bind = Bind()
    condition = parse(filter_).sql(bind)
    rows = await clickhouse.query(
        f"SELECT user_id FROM (SELECT arrayJoin([NULL, '', 'u']) AS user_id) WHERE {condition}", bind.values
    )
    assert [user_id for (user_id,) in rows] == found


def test_an_operation_that_there_is_not_is_named():
    with pytest.raises(Refused, match="'gte' is not an operation"):
        parse("meta:n:gte:5")
