"""The definitions of measures in plain Python, and random questions about random events.

The amounts are those that go wrong: decimals that doubles cannot hold, numbers as text, beyond 2^53, negative
zero, absent, and no numbers at all. Each row is stored twice, and the table is not merged.

`NEALYTICS_FUZZ=1000` asks that many questions in each test; so do tests/http/test_funnels.py and
test_conditions.py.
"""

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from decimal import Decimal, localcontext
from math import isclose
from typing import Any

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests.http.reader import NOW, Reader, event, ms

DAY_MS = 86_400_000
QUESTIONS = int(os.environ.get("NEALYTICS_FUZZ", "200"))

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
    "p50(meta:amount)": lambda events: percentile(events, "0.5"),
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
