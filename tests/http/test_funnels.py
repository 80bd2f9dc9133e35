"""Funnels and retention over the real engine, against `tests.oracle`.

Each row is stored twice, and the table is not merged. Many events share a millisecond, with others of the
same user and of the same type.
"""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests import oracle
from tests.http.measured import AMOUNTS, NO_NUMBERS, QUESTIONS, Asked, counts_of, get, left_out, replaced
from tests.http.names import by_old_names
from tests.http.reader import NOW, Reader, event, ms, on_the_engine

pytestmark = on_the_engine

QUERY = "/api/v1/analytics/query"
FUNNEL = "/api/v1/analytics/funnel"
HOUR = timedelta(hours=1)
# The clocks of Berlin change on 31 March 2024.
PLANS = ['"pro"', '"free"', "null"]
CHANGE = datetime(2024, 3, 31, tzinfo=UTC)


def some_events(seed: str) -> list[Event]:
    chance = random.Random(seed)
    found = []
    for begin, hours in ((NOW - 8 * HOUR, 8), (NOW - timedelta(days=6), 144), (CHANGE - 12 * HOUR, 36)):
        moments = [begin + timedelta(minutes=30 * chance.randrange(2 * hours)) for _ in range(40)]
        found += [
            event(
                chance.choice(moments) + timedelta(milliseconds=chance.choice((0, 0, 0, 1))),
                tenant_id=chance.choice(["acme", "acme", "globex"]),
                session_id=f"s{chance.randrange(12)}",
                user_id=chance.choice([None, *(f"u{n}" for n in range(8))]),
                event_type=chance.choice("aabbccdx"),
                item_id=chance.choice([None, "/", "/shop"]),
                metadata=chance.choice([{}, {"plan": "pro"}, {"plan": "free"}]),
            )
            for _ in range(130)
        ]
    return found


def as_known(events: list[Event]) -> list[oracle.Event]:
    return oracle.in_time(
        oracle.Event(
            UUID(int=one.event_id),
            one.tenant_id,
            one.session_id,
            one.user_id or None,
            one.event_type,
            one.item_id or None,
            json.loads(one.metadata_json),
            one.timestamp_ms,
        )
        for one in events
    )


def range_of(chance: random.Random) -> dict[str, str]:
    if chance.random() < 0.3:
        first, last = CHANGE - 12 * HOUR, CHANGE + 24 * HOUR
    else:
        first, last = NOW - chance.choice((1, 8, 24, 144)) * HOUR, NOW + chance.choice((0, 0, 5)) * HOUR
    return {"from": iso_utc(ms(first)), "to": iso_utc(ms(last))}


def funnel_of(chance: random.Random) -> dict[str, Any]:
    count = chance.randint(2, 5)
    steps = [chance.choice("abcd") for _ in range(count)]
    asked: dict[str, Any] = {
        **range_of(chance),
        "by": chance.choice(["user", "session"]),
        "window": chance.choice(["1s", "30m", "2h", "1d", "5d"]),
    }
    kind = chance.choice(["sequence", "strict", "mixed", "exclude", "any", "partly any"])
    if kind in ("any", "partly any"):
        steps = chance.sample("abcdx", count)
    if kind in ("strict", "any"):
        asked["order"] = kind
    if kind == "mixed":
        asked["order"] = chance.choice(["sequence", "strict"])
        asked["stepOrder"] = [
            f"{number}:{chance.choice(['strict', 'sequence'])}" for number in range(2, count + 1)
        ]
    if kind == "partly any":
        free = [number for number in range(2, count + 1) if chance.random() < 0.5]
        asked["stepOrder"] = [f"{number}:any" for number in free]
        alone = [number for number in range(2, count + 1) if not {number, number + 1} & set(free)]
        if alone and chance.random() < 0.5:
            asked["stepOrder"].append(f"{chance.choice(alone)}:strict")
    if kind == "exclude" or (kind == "mixed" and chance.random() < 0.5):
        number = chance.choice(["", f"{chance.randint(2, count)}:"])
        asked["exclude"] = [number + chance.choice("abcdx"), f"{count}:{chance.choice('dx')}"]
    asked["step"] = steps
    if chance.random() < 0.3:
        asked["stepFilter"] = [f"{chance.randint(1, count)}:meta:plan:{chance.choice(['eq:pro', 'ne:pro'])}"]
    if chance.random() < 0.5:
        asked["breakdown"] = chance.choice(["meta:plan", "item_id", "event_type", "user_id", "session_id"])
    if chance.random() < 0.5:
        asked["interval"] = chance.choice(["hour", "day", "week"])
        asked["tz"] = chance.choice(["UTC", "Europe/Berlin", "Asia/Kathmandu"])
    if chance.random() < 0.2:
        asked["filter"] = ["item_id:exists"]
    return asked


@pytest.fixture
async def page(reader: Reader) -> tuple[Reader, list[oracle.Event]]:
    events = some_events("funnels")
    foreign = [
        event(project_id="blog", user_id=f"u{n}", event_type=kind) for n in range(8) for kind in "abcd"
    ]
    await reader.store_twice(*events, *foreign)
    return reader, as_known(events)


async def check(
    page: tuple[Reader, list[oracle.Event]], endpoint: str, questions: list[dict[str, Any]], seed: str
) -> None:
    """Several questions in each request."""
    reader, events = page
    chance = random.Random(seed)
    while questions:
        tenant_id = chance.choice(["acme", "globex", None])
        mine = [one for one in events if one.tenant_id in (tenant_id or one.tenant_id)]
        asked = {str(number): questions.pop() for number in range(min(10, len(questions)))}
        batch = {number: {"endpoint": endpoint, **question} for number, question in asked.items()}
        status, body, _ = await reader.post(QUERY, {"queries": batch}, tenant_id=tenant_id)
        assert status == 200, body
        for number, question in asked.items():
            found = by_old_names(endpoint, body["results"][number], question.get("tz"))
            found = {
                name: value
                for name, value in found.items()
                if name not in ("projectId", "tenantId", "warnings")
            }
            expected = oracle.answer(endpoint, mine, question, project_wide=tenant_id is None, now_ms=ms(NOW))
            assert found == expected, question


async def test_funnels(page: tuple[Reader, list[oracle.Event]]):
    chance = random.Random("of funnels")
    await check(page, "funnel", [funnel_of(chance) for _ in range(QUESTIONS)], "scopes")


def trend_of(chance: random.Random) -> dict[str, Any]:
    return {
        **funnel_of(chance),
        "interval": chance.choice(["hour", "day", "week"]),
        **chance.choice([{"cumulative": "true"}, {"average": chance.choice(["2", "3", "7"])}]),
    }


async def test_trends_are_cumulative_and_averaged(page: tuple[Reader, list[oracle.Event]]):
    chance = random.Random("of trends")
    await check(page, "funnel", [trend_of(chance) for _ in range(QUESTIONS // 2)], "scopes of trends")


async def test_a_compared_funnel_is_that_of_its_range(page: tuple[Reader, list[oracle.Event]]):
    reader, events = page
    mine = [one for one in events if one.tenant_id == "acme"]
    chance = random.Random("compared funnels")
    for _ in range(QUESTIONS // 4):
        asked = chance.choice([funnel_of, trend_of])(chance)
        body = await reader.answer(FUNNEL, compare="previous", tenant_id="acme", **asked)
        plain = await reader.answer(FUNNEL, tenant_id="acme", **asked)
        previous = body.pop("previous")
        assert body == plain
        begin, end = ms(datetime.fromisoformat(asked["from"])), ms(datetime.fromisoformat(asked["to"]))
        asked |= {"from": previous["from"], "to": previous["to"]}
        if end - begin < timedelta(hours=23) / timedelta(milliseconds=1):  # else they may be whole days
            assert (previous["from"], previous["to"]) == (iso_utc(2 * begin - end - 1), iso_utc(begin - 1))
        beside = [point.pop("comparedTo", None) for point in previous.get("trend", [])]
        expected = oracle.answer("funnel", mine, asked, project_wide=False, now_ms=ms(NOW))
        assert previous["steps"] == expected["steps"]
        assert previous.get("trend") == expected.get("trend")
        if asked.get("interval") in ("day", "week"):
            times = [point["time"] for point in body["trend"]]
            assert beside[: len(times)] == times[: len(beside)]
            assert not any(beside[len(times) :])


async def test_measures_of_each_step(reader: Reader):
    """Of one event for each user or session who reached it, also if several could be the step."""
    chance, amounts = random.Random("amounts of steps"), [*AMOUNTS, *NO_NUMBERS]
    kept = [
        replaced(one, f'{{"amount": {chance.choice(amounts)}, "plan": {chance.choice(PLANS)}}}'.encode())
        for one in some_events("measures of steps")
    ]
    await reader.store_twice(*kept)
    by_id = {UUID(int=one.event_id): one for one in kept}
    events = as_known(kept)
    questions = [
        (funnel_of(chance), Asked(chance), chance.choice(["acme", "globex", None])) for _ in range(QUESTIONS)
    ]
    bodies: list[dict[str, Any]] = []
    for first in range(0, QUESTIONS, 10):
        bodies += await asyncio.gather(
            *(
                get(reader, FUNNEL, tenant_id=tenant_id, measure=measures.texts, **asked)
                for asked, measures, tenant_id in questions[first : first + 10]
            )
        )
    for body, (asked, measures, tenant_id) in zip(bodies, questions, strict=True):
        assert body["measures"] == measures.texts
        expected = oracle.answer(
            "funnel",
            [one for one in events if one.tenant_id in (tenant_id or one.tenant_id)],
            asked,
            project_wide=tenant_id is None,
            now_ms=ms(NOW),
            values=lambda found: [by_id[one.event_id] for one in found],
        )
        parts = [(body, expected)]
        for name in ("groups", "trend"):
            parts += zip(body.get(name, []), expected.get(name, []), strict=True)
        for found, wanted in parts:
            for step, of_step in zip(found["steps"], wanted["steps"], strict=True):
                assert (step["count"], step["value"]) == (of_step["count"], step["values"][0])
                measures.assert_same(step["values"], of_step["values"])
        counted = left_out(measures, [one for step in expected["steps"] for one in step["values"]])
        body["warnings"] = [one for one in body.get("warnings", []) if one["code"] != "truncated"]
        assert counts_of(body) == counted or not counted


@pytest.mark.parametrize("further", [{}, {"interval": "month"}])
async def test_a_funnel_compared_with_a_time_before_all_times_is_empty(
    reader: Reader, further: dict[str, str]
):
    await reader.store_twice(event(event_type="a", user_id="ada"), event(event_type="b", user_id="ada"))
    asked = {"step": ["a", "b"], "from": "1900-01-01", "to": "1920-12-31", "compare": "previous", **further}
    previous = (await reader.answer(FUNNEL, **asked))["previous"]
    assert [step["count"] for step in previous["steps"]] == [0, 0]


def retention_of(chance: random.Random) -> dict[str, Any]:
    begin, days = chance.choice([(NOW - timedelta(days=6), 6), (CHANGE - timedelta(days=1), 3)])
    asked: dict[str, Any] = {
        "from": iso_utc(ms(begin + timedelta(days=chance.randrange(2)))),
        "to": iso_utc(ms(begin + timedelta(days=chance.randint(1, days + 1)))),
        "interval": chance.choice(["day", "day", "week", "month"]),
        "by": chance.choice(["user", "session"]),
        "returns": chance.choice(["on", "on_or_after", "on_or_after", "unbounded", "unbounded"]),
        "periods": str(chance.choice([0, 1, 3, 11, 60])),
        "tz": chance.choice(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
    }
    if chance.random() < 0.6:
        asked["cohortEvent"] = chance.choice("abx")
    if chance.random() < 0.6:
        asked["returnEvent"] = chance.choice(["c", "d", "x", "none"])
    if chance.random() < 0.5:
        asked["filter"] = [chance.choice(["meta:plan:exists", "item_id:exists", "not:item_id:eq:/"])]
    return asked


async def test_retention(page: tuple[Reader, list[oracle.Event]]):
    chance = random.Random("of retention")
    await check(page, "retention", [retention_of(chance) for _ in range(QUESTIONS)], "scopes of retention")


async def test_each_group_is_the_funnel_with_that_filter(page: tuple[Reader, list[oracle.Event]]):
    """As the API itself answers it. A user who starts with two values is in both groups."""
    reader, _ = page
    for breakdown in ("meta:plan", "item_id", "user_id"):
        asked = {"step": ["a", "b", "c"], "window": "5d", "from": "2024-03-01", "to": "2024-06-30"}
        whole = await reader.answer(FUNNEL, breakdown=breakdown, **asked)
        assert len(whole["groups"]) > 2
        for group in whole["groups"]:
            only = f"1:{breakdown}:eq:{group['key']}" if "key" in group else f"1:{breakdown}:exists:false"
            assert (await reader.answer(FUNNEL, stepFilter=only, **asked))["steps"] == group["steps"]
        counted = sum(group["steps"][0]["count"] for group in whole["groups"])
        assert (counted > whole["steps"][0]["count"]) == (breakdown != "user_id")


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ({"order": "random"}, "order", "order is 'random'"),
        ({"stepOrder": "1:strict"}, "stepOrder", "stepOrder is '1:strict'"),
        ({"stepOrder": "2:loose"}, "stepOrder", "stepOrder is '2:loose'"),
        ({"stepOrder": "4:strict"}, "stepOrder", "stepOrder is for step 4"),
        ({"exclude": "4:x"}, "exclude", "exclude is for step 4"),
        ({"exclude": "11:x"}, "exclude", "exclude is for step 11"),
        ({"exclude": "1:x"}, "exclude", "is for step 1, with none before it"),
        ({"exclude": "0:x"}, "exclude", "is for step 0, with none before it"),
        ({"exclude": "2: "}, "exclude", "names no event type"),
        ({"exclude": ["x"] * 6}, "exclude", "exclude is given 6 times"),
        ({"stepOrder": ["2:strict"] * 10}, "stepOrder", "stepOrder is given 10 times"),
        ({"order": "any", "exclude": "x"}, "exclude", "step 2 is in any order with another one"),
        ({"order": "strict", "stepOrder": "3:any"}, "stepOrder", "step 2 is in any order with another one"),
        ({"order": "any", "step": ["a", "b", "a"]}, "step", "step is given 'a' more than once, in any order"),
        ({"step": ["a,b,c"]}, "step", "step is given once"),
        ({"interval": "minute"}, "interval", "interval is 'minute'"),
        ({"average": "7"}, "average", "average is given without interval"),
        ({"average": "1", "interval": "day"}, "average", "average is '1'"),
        ({"cumulative": "true"}, "cumulative", "cumulative is given without interval"),
        (
            {"interval": "day", "average": "7", "cumulative": "true"},
            "average",
            "average is given with cumulative",
        ),
        (
            {"interval": "day", "measure": "users", "cumulative": "true"},
            "measure",
            "measure is given with cumulative",
        ),
        ({"compare": "next"}, "compare", "compare is 'next'"),
        (
            {"compare": "2020-01-01..2023-01-01", "interval": "hour"},
            "compare",
            "with compare the answer has more than 1000 points",
        ),
        ({"interval": "hour", "from": "2020-01-01"}, "interval", "the range has more than 1000 hours"),
    ],
)
async def test_misuse_of_a_funnel_is_refused(reader: Reader, query: dict[str, Any], field: str, message: str):
    status, body, _ = await reader.get(FUNNEL, **{"step": ["a", "b", "c"], **query})
    assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)
    assert message in body["message"]
    assert body["detail"]


async def test_what_is_between_two_steps(reader: Reader):
    """Later than the one and earlier than the other, to the millisecond."""
    for user, types in {"at the first": (0, 5), "between": (1, 5), "at the second": (5, 5)}.items():
        between, second = types
        await reader.store_twice(
            event(NOW, user_id=user, event_type="a"),
            event(NOW + timedelta(milliseconds=between), user_id=user, event_type="x"),
            event(NOW + timedelta(milliseconds=second), user_id=user, event_type="b"),
        )
    asked = {"step": ["a", "b"], "breakdown": "user_id", "to": "2024-06-16"}
    for option in ({"order": "strict"}, {"exclude": "x"}, {"stepOrder": "2:strict"}, {"exclude": "2:x"}):
        groups = (await reader.answer(FUNNEL, **asked, **option))["groups"]
        reached = {group["key"] for group in groups if group["steps"][1]["count"]}
        assert reached == {"at the first", "at the second"}, option
