"""Measures over the real engine, against their definitions in plain Python (`measured`).

Each row is stored twice, and the table is not merged.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests.http.measured import (
    DAY_MS,
    DEFINITIONS,
    QUESTIONS,
    Asked,
    asked,
    counts_of,
    get,
    left_out,
    plan_of,
    replaced,
    some_events,
)
from tests.http.reader import SUMMARY, TIMESERIES, TOP, Reader, event, on_the_engine

pytestmark = on_the_engine

HEATMAP = "/api/v1/analytics/heatmap"
FUNNEL = "/api/v1/analytics/funnel"


@pytest.fixture
async def page(reader: Reader) -> tuple[Reader, list[Event]]:
    events = some_events("measures")
    await reader.store_twice(*events, event(project_id="blog", session_id="foreign", user_id="foreign"))
    return reader, events


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


ADDITIVE = [
    "count",
    "count[event_type:eq:purchase]",
    "sum(meta:amount)",
    "sum(meta:amount)[meta:plan:exists:]",
]
OTHERS = ["users", "avg(meta:amount)", "median(meta:amount)", "rate(purchase)", "distinct(item_id)"]


@pytest.mark.parametrize("measure", ADDITIVE + OTHERS)
async def test_a_share_is_of_the_first_measure_if_its_values_add_up(
    page: tuple[Reader, list[Event]], measure: str
):
    reader, _ = page
    given = {"dimension": "event_type", "measure": [measure, "users"], "from": "2020-01-01"}
    for further in ({}, {"compare": "previous"}):
        items = (await get(reader, TOP, **given, **further))["items"]
        parts = [item["values"][0] if measure in ADDITIVE else item["count"] for item in items]
        assert len(parts) > 2
        assert sum(parts) != 0
        expected = [float(part) / float(sum(parts)) for part in parts]
        assert [float(item["share"]) for item in items] == pytest.approx(expected)
        cut = await get(reader, TOP, limit="2", **given, **further)
        assert [float(item["share"]) for item in cut["items"]] == pytest.approx(expected[:2])
        again = await get(reader, TOP, limit="2", cursor=cut["nextCursor"], **given, **further)
        assert [float(item["share"]) for item in again["items"]] == pytest.approx(expected[2:4])


async def test_what_adds_up_to_nothing_has_no_share(reader: Reader):
    booked = [event(item_id=item, metadata={"amount": n}) for item, n in (("a", 5), ("b", -5))]
    await reader.store_twice(*booked)
    items = (await get(reader, TOP, dimension="item_id", measure="sum(meta:amount)"))["items"]
    assert [float(item["share"]) for item in items] == [0, 0]


async def test_the_other_values_are_one_more_item_of_the_first_page(page: tuple[Reader, list[Event]]):
    """Users of several of them count once, and a median is that of all their events."""
    reader, events = page
    chance = random.Random("other values")
    dimensions: dict[str, Callable[[Event], Any]] = {
        "event_type": lambda one: (one.event_type, None),
        "item_id": lambda one: (one.item_id or None, None),
        "user_id": lambda one: (one.user_id or None, one.tenant_id),
    }
    for _ in range(QUESTIONS):
        query, within, (first, last) = asked(chance, events)
        question, dimension, limit = Asked(chance), chance.choice([*dimensions]), chance.randint(1, 3)
        compare = chance.choice([True, False])
        given = {"measure": question.texts, "dimension": dimension, "limit": str(limit), "sessions": "true"}
        given |= {"compare": "previous"} if compare else {}
        body = await get(reader, TOP, other="true", **given, **query)
        assert {**body, "items": body["items"][:limit]} | {"warnings": None} == {
            **await get(reader, TOP, **given, **query),
            "warnings": None,
        }
        others = body["items"][limit:]
        assert [item["other"] for item in others] == [True] * ("nextCursor" in body)
        if not others:
            continue
        again = await get(reader, TOP, other="true", cursor=body["nextCursor"], **given, **query)
        assert not any(item.get("other") for item in again["items"])
        listed = {(item["key"], item.get("tenantId")) for item in body["items"][:limit]}

        def is_other(
            one: Event, dimension: str = dimension, listed: Any = listed, query: dict[str, Any] = query
        ) -> bool:
            key, tenant_id = dimensions[dimension](one)
            return key is not None and (key, None if query["tenant_id"] else tenant_id) not in listed

        sides = [within(first, last), within(2 * first - last - 1, first - 1) if compare else []]
        for counts, side in zip((others[0], others[0].get("previous")), sides, strict=True):
            if counts is not None:
                rest = [one for one in side if is_other(one)]
                question.assert_same(counts["values"], rest)
                assert counts["value"] == counts["values"][0]
                assert counts["count"] == len(rest)
                users = {(one.tenant_id, one.user_id) for one in rest if one.user_id}
                assert (counts["users"], counts["sessions"]) == (
                    len(users),
                    len({(one.tenant_id, one.session_id) for one in rest}),
                )
        assert "key" not in others[0]
        assert ("previous" in others[0]) == compare


async def test_all_shares_with_that_of_the_others_are_one(page: tuple[Reader, list[Event]]):
    reader, _ = page
    for measure in ([], ["users"], ["sum(meta:amount)"]):
        given = {"dimension": "item_id", "limit": "1", "other": "true", "measure": measure}
        items = (await get(reader, TOP, **given, **{"from": "2020-01-01"}))["items"]
        assert len(items) == 2
        assert float(sum(item["share"] for item in items)) == pytest.approx(1)


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


async def test_averages_and_percentiles_of_one_number_are_that_number(reader: Reader):
    """As decimals with 20 places, some of these have no nearest double: 1000 became 999.9999999999999."""
    texts = ["1000", "100000", "1e5", "1E+3", '"1e+3"', '"1000.00"', "49.99", '"1234567.89"', "-1000", "1e21"]
    amounts = {f"a{n}": float(json.loads(text)) for n, text in enumerate(texts)}
    await reader.store_twice(
        *(
            replaced(event(event_type=name, session_id=name, user_id=name), f'{{"amount": {text}}}'.encode())
            for name, text in zip(amounts, texts, strict=True)
        ),
        *(event(event_type="end", session_id=name, user_id=name) for name in amounts),
    )
    measures = [f"{name}(meta:amount)" for name in ("avg", "median", "p75", "p95", "p99")]
    body = await get(reader, TOP, measure=measures)
    found = {item["key"]: {float(value) for value in item["values"]} for item in body["items"][:-1]}
    assert found == {name: {amount} for name, amount in amounts.items()}
    for further in ({"cumulative": "true"}, {"fill": "true"}):
        series = {"groupBy": "event_type", "filter": "event_type:ne:end", **further}
        body = await get(reader, TIMESERIES, measure=measures, interval="day", **series)
        for point in body["points"]:
            assert {float(value) for value in point["values"] if value is not None} <= {amounts[point["key"]]}
    for name, amount in amounts.items():
        steps = (await get(reader, FUNNEL, measure=measures, step=[name, "end"]))["steps"]
        assert {float(value) for value in steps[0]["values"]} == {amount}
