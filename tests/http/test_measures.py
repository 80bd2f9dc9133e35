"""Measures over the real engine, against their definitions in plain Python.

The amounts are those that go wrong: decimals that doubles cannot hold, numbers as text, beyond 2^53, negative
zero, absent, and no numbers at all. Each row is stored twice, and the table is not merged.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from math import isclose
from typing import Any

import pytest

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests.http.reader import NOW, SUMMARY, TIMESERIES, TOP, Reader, event, ms, on_the_engine

pytestmark = on_the_engine

HEATMAP = "/api/v1/analytics/heatmap"
DAY_MS = 86_400_000
QUESTIONS = 200

# JSON texts of `amount`, and the number in each.
AMOUNTS: dict[str, str | None] = {
    "0.1": "0.1",
    "0.2": "0.2",
    "19.99": "19.99",
    "1.50": "1.5",
    "-3": "-3",
    "-0.0": "0",
    "1e2": "100",
    "1e-7": "0.0000001",
    "9007199254740993": "9007199254740993",
    "18446744073709551615": "18446744073709551615",
    '"7.25"': "7.25",
    '"+5"': "5",
    '".5"': "0.5",
    '"12345678901234.567890123456789"': "12345678901234.567890123456789",
    "null": None,
}
NO_NUMBERS = [
    "true",
    '""',
    '"-"',
    '"."',
    '"1.2.3"',
    '" 5"',
    '"1,000"',
    '"inf"',
    '"nan"',
    "[1]",
    '{"a":1}',
    "1e40",
    '"0x10"',
]


def numbers_of(events: Iterable[Event]) -> list[Decimal]:
    found = (AMOUNTS.get(amount_of(one)) for one in events)
    return [Decimal(text) for text in found if text is not None]


def amount_of(one: Event) -> str:
    found = re.fullmatch(rb'\{"amount": (.*), "plan": .*\}', one.metadata_json)
    return found[1].decode() if found else "null"


def some_events(seed: str, count: int = 700) -> list[Event]:
    chance = random.Random(seed)
    amounts = [*AMOUNTS] * 4 + NO_NUMBERS
    found = []
    for _ in range(count):
        one = event(
            NOW - timedelta(milliseconds=round(chance.choice((1, 3, 20)) * DAY_MS * chance.random())),
            tenant_id=chance.choice(["acme", "acme", "globex"]),
            session_id=f"s{chance.randrange(60)}",
            user_id=chance.choice([None, "", *(f"u{n}" for n in range(15))]),
            event_type=chance.choice(["view", "view", "purchase", "café (new)"]),
            item_id=chance.choice([None, "", "/", "/shop"]),
        )
        metadata = b"{}"
        if chance.random() < 0.9:
            plan = chance.choice(['"pro"', '"free"', "null"])
            metadata = f'{{"amount": {chance.choice(amounts)}, "plan": {plan}}}'.encode()
        found.append(replaced(one, metadata))
    return found


def replaced(one: Event, metadata: bytes) -> Event:
    return Event(**{name: getattr(one, name) for name in one.__struct_fields__} | {"metadata_json": metadata})


def plan_of(one: Event) -> str | None:
    return json.loads(one.metadata_json).get("plan")


# The definitions

CONDITIONS: dict[str, Callable[[Event], bool]] = {
    "": lambda one: True,
    "[event_type:eq:purchase]": lambda one: one.event_type == "purchase",
    "[meta:plan:eq:pro]": lambda one: plan_of(one) == "pro",
    "[user_id:exists:false]": lambda one: not one.user_id,
    "[meta:plan:ne:pro]": lambda one: plan_of(one) != "pro",
    "[item_id:in:/,/shop]": lambda one: one.item_id in ("/", "/shop"),
    "[event_type:eq:nothing]": lambda one: False,
}


def users(events: Iterable[Event]) -> set[Any]:
    return {(one.tenant_id, one.user_id) for one in events if one.user_id}


def sessions(events: Iterable[Event]) -> set[Any]:
    return {(one.tenant_id, one.session_id) for one in events}


def ratio(part: set[Any], whole: set[Any]) -> Decimal | None:
    return Decimal(len(part)) / len(whole) if whole else None


def percentile(events: Sequence[Event], level: str) -> Decimal | None:
    """Interpolated between the two nearest, of doubles as the engine has them."""
    numbers = sorted(map(float, numbers_of(events)))
    if not numbers:
        return None
    at = (len(numbers) - 1) * float(level)
    low = int(at)
    high = min(low + 1, len(numbers) - 1)
    return Decimal(numbers[low] + (at - low) * (numbers[high] - numbers[low]))


def total(numbers: Iterable[Decimal]) -> Decimal:
    with localcontext() as context:
        context.prec = 100
        return sum(numbers, Decimal(0))


def typed(events: Iterable[Event], event_type: str) -> list[Event]:
    return [one for one in events if one.event_type == event_type]


DEFINITIONS: dict[str, Callable[[list[Event]], Decimal | int | None]] = {
    "count": len,
    "users": lambda events: len(users(events)),
    "sessions": lambda events: len(sessions(events)),
    "sum(meta:amount)": lambda events: total(numbers_of(events)),
    "avg(meta:amount)": lambda events: total(found) / len(found) if (found := numbers_of(events)) else None,
    "min(meta:amount)": lambda events: min(numbers_of(events), default=None),
    "max(meta:amount)": lambda events: max(numbers_of(events), default=None),
    "median(meta:amount)": lambda events: percentile(events, "0.5"),
    "p75(meta:amount)": lambda events: percentile(events, "0.75"),
    "p90(meta:amount)": lambda events: percentile(events, "0.9"),
    "p95(meta:amount)": lambda events: percentile(events, "0.95"),
    "p99(meta:amount)": lambda events: percentile(events, "0.99"),
    "distinct(meta:plan)": lambda events: len({plan_of(one) for one in events} - {None}),
    "distinct(item_id)": lambda events: len({one.item_id for one in events if one.item_id}),
    "distinct(user_id)": lambda events: len(users(events)),
    "distinct(session_id)": lambda events: len(sessions(events)),
    r"rate(café \(new\))": lambda events: ratio(users(typed(events, "café (new)")), users(events)),
    "rate(purchase)": lambda events: ratio(users(typed(events, "purchase")), users(events)),
    "session_rate(purchase)": lambda events: ratio(sessions(typed(events, "purchase")), sessions(events)),
}
EXACT = ("count", "users", "sessions", "sum", "min", "max", "distinct")


class Asked:
    """A question's measures, and their values over any events."""

    def __init__(self, chance: random.Random) -> None:
        self.parts = [
            (chance.choice([*DEFINITIONS]), chance.choice([*CONDITIONS])) for _ in range(chance.randint(1, 5))
        ]
        self.texts = [measure + condition for measure, condition in self.parts]

    def values(self, events: Iterable[Event]) -> list[Decimal | int | None]:
        events = list(events)
        return [
            DEFINITIONS[measure]([one for one in events if CONDITIONS[condition](one)])
            for measure, condition in self.parts
        ]

    def assert_same(self, found: list[Any], events: Iterable[Event]) -> None:
        expected = self.values(events)
        assert len(found) == len(expected)
        for text, value, wanted in zip(self.texts, found, expected, strict=True):
            if value is None or wanted is None or text.startswith(EXACT):
                assert value == wanted, text
            else:
                assert isclose(value, wanted, rel_tol=1e-12, abs_tol=1e-12), text


@pytest.fixture
async def page(reader: Reader) -> tuple[Reader, list[Event]]:
    events = some_events("measures")
    await reader.store_twice(*events, event(project_id="blog", session_id="foreign", user_id="foreign"))
    return reader, events


def asked(
    chance: random.Random, events: list[Event]
) -> tuple[dict[str, Any], Callable[[int, int], list[Event]], tuple[int, int]]:
    """A range and a scope, and the events within any range of that scope."""
    first, last = sorted(ms(NOW) - chance.randrange(20 * DAY_MS) for _ in range(2))
    tenant_id = chance.choice(["acme", None])

    def within(from_ms: int, to_ms: int) -> list[Event]:
        return [
            one
            for one in events
            if from_ms <= one.timestamp_ms <= to_ms and one.tenant_id in (tenant_id or one.tenant_id)
        ]

    return {"from": iso_utc(first), "to": iso_utc(last), "tenant_id": tenant_id}, within, (first, last)


async def get(reader: Reader, path: str, **query: Any) -> dict[str, Any]:
    """The answer, its numbers with all their digits."""
    async with reader.open(path, **query) as response:
        body: dict[str, Any] = json.loads(await response.text(), parse_float=Decimal)
        assert response.status == 200, body
        return body


def left_out(asked: Asked, events: Iterable[Event]) -> list[int]:
    """Of each measure of numbers, the number of values that are none."""
    return [
        count
        for measure, condition in asked.parts
        if "meta:amount" in measure
        and (
            count := sum(
                amount_of(one) != "null" and amount_of(one) not in AMOUNTS
                for one in events
                if CONDITIONS[condition](one)
            )
        )
    ]


def counts_of(body: dict[str, Any]) -> list[int]:
    warnings = body.get("warnings", [])
    assert {warning["code"] for warning in warnings} <= {"not_numbers"}
    return [int(warning["message"].split()[0]) for warning in warnings]


async def test_summaries(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("summary")
    for _ in range(QUESTIONS):
        query, within, (first, last) = asked(chance, events)
        question = Asked(chance)
        body = await get(reader, SUMMARY, measure=question.texts, **query)
        assert body["measures"] == question.texts
        question.assert_same(body["values"], within(first, last))
        before = within(2 * first - last - 1, first - 1)
        question.assert_same(body["previous"]["values"], before)
        assert counts_of(body) == left_out(question, before + within(first, last))


async def test_time_series(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("timeseries")
    groups: dict[str, Callable[[Event], str | None]] = {
        "event_type": lambda one: one.event_type,
        "meta:plan": plan_of,
        "item_id": lambda one: one.item_id or None,
    }
    for _ in range(QUESTIONS):
        query, within, (first, last) = asked(chance, events)
        question, group = Asked(chance), chance.choice([None, *groups])
        fill = chance.choice(["true", "false"])
        further = {} if group is None else {"groupBy": group}
        body = await get(
            reader, TIMESERIES, measure=question.texts, interval="day", fill=fill, **further, **query
        )
        of_point: dict[Any, list[Event]] = defaultdict(list)
        for one in within(first, last):
            day = iso_utc(one.timestamp_ms // DAY_MS * DAY_MS)
            of_point[day, groups[group](one) if group else None].append(one)
        found = {(point["bucket"], point.get("series")): point["values"] for point in body["points"]}
        assert set(of_point) <= set(found)
        assert fill == "true" or set(of_point) == set(found)
        for point, values in found.items():
            question.assert_same(values, of_point.get(point, []))
        assert counts_of(body) == left_out(question, within(first, last))


async def test_the_greatest_series_and_all_others(page: tuple[Reader, list[Event]]):
    """Users are counted once in `other`, whatever number of series they have events in."""
    reader, events = page
    chance = random.Random("other")
    groups: dict[str, Callable[[Event], Any]] = {
        "event_type": lambda one: (one.event_type, None),
        "meta:plan": lambda one: (plan_of(one), None),
        "user_id": lambda one: (one.user_id or None, one.tenant_id),
        "item_id": lambda one: (one.item_id or None, None),
    }
    for _ in range(QUESTIONS):
        query, within, (first, last) = asked(chance, events)
        group, top, other = chance.choice([*groups]), chance.randint(1, 4), chance.choice([True, False])
        fill, measures = (
            chance.choice(["true", "false"]),
            chance.choice([[], ["users"], ["sum(meta:amount)"]]),
        )
        body = await get(
            reader,
            TIMESERIES,
            interval="day",
            groupBy=group,
            top=str(top),
            other=str(other).lower(),
            fill=fill,
            measure=measures,
            **query,
        )

        def key_of(
            one: Event, group: str = group, query: dict[str, Any] = query
        ) -> tuple[str | None, str | None]:
            key, tenant_id = groups[group](one)
            return key, tenant_id if key is not None and query["tenant_id"] is None else None

        value = DEFINITIONS[measures[0]] if measures else len
        of_series: dict[Any, list[Event]] = defaultdict(list)
        for one in within(first, last):
            if key_of(one)[0] is not None:
                of_series[key_of(one)].append(one)

        def rank(key: tuple[str, str | None], of: dict[Any, list[Event]] = of_series) -> Any:
            # Users of different tenants are ordered by the length of the tenant's name first.
            tenant_id = key[1] or ""
            return -(value(of[key]) or 0), str(len(tenant_id)), tenant_id, key[0]  # noqa: B023

        greatest = set(sorted(of_series, key=rank)[:top])
        expected: dict[Any, list[Event]] = defaultdict(list)
        for one in within(first, last):
            day = iso_utc(one.timestamp_ms // DAY_MS * DAY_MS)
            if key_of(one) in greatest:
                expected[(day, *key_of(one), False)].append(one)
            elif other:
                expected[day, None, None, True].append(one)
        found = {
            (point["bucket"], point.get("series"), point.get("tenantId"), point.get("other", False)): point
            for point in body["points"]
        }
        assert len(found) == len(body["points"])
        assert set(expected) <= set(found) if fill == "true" else set(expected) == set(found)
        for point in found.items():
            assert point[1]["count"] == len(expected[point[0]])
            if measures:
                assert point[1]["values"] == [value(expected[point[0]])]


async def test_top_values_are_ordered_by_the_first_measure(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("top")
    dimensions: dict[str, Callable[[Event], Any]] = {
        "event_type": lambda one: (one.event_type, None),
        "meta:plan": lambda one: (plan_of(one), None),
        "user_id": lambda one: (one.user_id or None, one.tenant_id),
    }
    for _ in range(QUESTIONS):
        query, within, (first, last) = asked(chance, events)
        question, dimension = Asked(chance), chance.choice([*dimensions])
        compare = chance.choice([True, False])
        further = {"compare": "previous"} if compare else {}
        body = await get(
            reader, TOP, measure=question.texts, dimension=dimension, limit="1000", **further, **query
        )
        sides = [within(first, last), within(2 * first - last - 1, first - 1) if compare else []]
        of_item: list[dict[Any, list[Event]]] = [defaultdict(list), defaultdict(list)]
        for side, found in zip(of_item, sides, strict=True):
            for one in found:
                key, tenant_id = dimensions[dimension](one)
                if key is not None:
                    side[key, None if query["tenant_id"] else tenant_id].append(one)
        items = {(item["key"], item.get("tenantId")): item for item in body["items"]}
        assert set(items) == set(of_item[0]) | set(of_item[1])
        for key, item in items.items():
            question.assert_same(item["values"], of_item[0].get(key, []))
            if compare:
                question.assert_same(item["previous"]["values"], of_item[1].get(key, []))
        firsts = [item["values"][0] for item in body["items"]]
        numbers = [value for value in firsts if value is not None]
        assert numbers == sorted(numbers, reverse=True)
        assert firsts == numbers + [None] * (len(firsts) - len(numbers))


async def test_heat_maps(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("heatmap")
    for _ in range(20):
        query, within, (first, last) = asked(chance, events)
        question = Asked(chance)
        body = await get(reader, HEATMAP, measure=question.texts, **query)
        of_cell: dict[Any, list[Event]] = defaultdict(list)
        for one in within(first, last):
            hour = (one.timestamp_ms // 3_600_000 + 3 * 24) % 168  # 1970 began on a Thursday
            of_cell[hour // 24 + 1, hour % 24].append(one)
        for cell in body["cells"]:
            question.assert_same(cell["values"], of_cell.get((cell["weekday"], cell["hour"]), []))


async def test_money_has_no_float_drift(reader: Reader):
    metadata = [b'{"amount": 0.1}', b'{"amount": 0.2}', b'{"amount": "0.00000000000000000001"}']
    await reader.store_twice(*(replaced(event(), one) for one in metadata))
    async with reader.open(SUMMARY, measure="sum(meta:amount)") as response:
        assert '"values":[0.30000000000000000001]' in await response.text()


async def test_decimals_beyond_the_twentieth_place_are_cut(reader: Reader):
    number = Decimal("0.123456789012345678909")
    await reader.store_twice(replaced(event(), json.dumps({"amount": str(number)}).encode()))
    async with reader.open(SUMMARY, measure="max(meta:amount)") as response:
        body = json.loads(await response.text(), parse_float=Decimal)
    assert body["values"] == [number.quantize(Decimal(10) ** -20, ROUND_DOWN)]


async def test_an_order_by_value_needs_a_measure(reader: Reader):
    status, body, _ = await reader.get(TOP, order="-value")
    assert (status, body["field"]) == (400, "order")


async def test_one_request_of_many_questions_has_measures_too(reader: Reader):
    await reader.store_twice(replaced(event(), b'{"amount": 19.99}'))
    questions = {"revenue": {"endpoint": "summary", "measure": ["sum(meta:amount)", "users"]}}
    status, body, _ = await reader.post("/api/v1/analytics/query", {"queries": questions})
    assert status == 200
    assert body["results"]["revenue"]["values"] == [19.99, 0]
