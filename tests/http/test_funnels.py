"""Funnels and retention over the real engine, against `tests.oracle`.

Each row is stored twice, and the table is not merged. Many events share a millisecond, with others of the
same user and of the same type.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests import oracle
from tests.http.reader import NOW, Reader, event, ms, on_the_engine

pytestmark = on_the_engine

QUERY = "/api/v1/analytics/query"
FUNNEL = "/api/v1/analytics/funnel"
RETENTION = "/api/v1/analytics/retention"
ASKED = 200
HOUR = timedelta(hours=1)
# The clocks of Berlin change on 31 March 2024.
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
    import json

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
            found = body["results"][number]
            found = {
                name: value
                for name, value in found.items()
                if name not in ("projectId", "tenantId", "warnings")
            }
            expected = oracle.answer(endpoint, mine, question, project_wide=tenant_id is None, now_ms=ms(NOW))
            assert found == expected, question


async def test_funnels(page: tuple[Reader, list[oracle.Event]]):
    chance = random.Random("of funnels")
    await check(page, "funnel", [funnel_of(chance) for _ in range(ASKED)], "scopes")
