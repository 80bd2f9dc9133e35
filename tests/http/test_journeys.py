"""Funnels over the real engine, against a calculation that is written from their definition.

Histories are small and crowded: few event types, ties in one millisecond, times that lie on the edge of the
window, users without a name. Each row is stored twice, and the table is not merged.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

import pytest

from nealytics.event import Event
from tests.http.reader import NOW, Reader, event, on_the_engine

FUNNEL = "/api/v1/analytics/funnel"

pytestmark = on_the_engine

RANGE = {"from": "2024-06-15T00:00:00Z", "to": "2024-06-15T23:59:59.999Z"}


def order_of(event: Event) -> tuple[int, int, int]:
    """The table's order of events: by time, and within a millisecond as ClickHouse compares UUIDs."""
    return (event.timestamp_ms, *uuid_order(UUID(int=event.event_id)))


def uuid_order(uuid: UUID) -> tuple[int, int]:
    return uuid.int & (1 << 64) - 1, uuid.int >> 64


def by_entity(events: Sequence[Event], by: str) -> dict[Any, list[Event]]:
    """Each user's or session's events in order; nobody's events are nobody's."""
    found: dict[Any, list[Event]] = {}
    for one in sorted(events, key=order_of):
        name = one.user_id if by == "user" else one.session_id
        if name:
            found.setdefault((one.tenant_id, name), []).append(one)
    return found


# The funnel, from its definition


def chain_from(
    start: Event, history: Sequence[Event], steps: Sequence[str], window_ms: int, is_step: Callable[..., bool]
) -> list[Event]:
    chain = [start]
    for number in range(2, len(steps) + 1):
        can_be_next = [
            one
            for one in history
            if is_step(number, one)
            and chain[-1].timestamp_ms <= one.timestamp_ms <= start.timestamp_ms + window_ms
            and all(
                one.timestamp_ms > before.timestamp_ms
                for before in chain
                if before.event_type == one.event_type
            )
        ]
        if not can_be_next:
            break
        chain.append(min(can_be_next, key=order_of))
    return chain


def best_chain(
    history: Sequence[Event], steps: Sequence[str], window_ms: int, is_step: Callable[..., bool]
) -> list[Event]:
    """Of the start that gets furthest; of those, the earliest."""
    chains = [chain_from(start, history, steps, window_ms, is_step) for start in history if is_step(1, start)]
    return max(chains, key=len, default=[])


def steps_of(chains: Sequence[Sequence[Event]], steps: Sequence[str]) -> list[dict[str, Any]]:
    counts = [sum(len(chain) > index for chain in chains) for index in range(len(steps))]
    found: list[dict[str, Any]] = []
    for index, event_type in enumerate(steps):
        previous = counts[max(0, index - 1)]
        found.append(
            {
                "step": index + 1,
                "eventType": event_type,
                "count": counts[index],
                "conversion": counts[index] / counts[0] if counts[0] else 0.0,
                "conversionFromPrevious": counts[index] / previous if previous else 0.0,
            }
        )
        if index and counts[index]:
            took_ms = [
                chain[index].timestamp_ms - chain[index - 1].timestamp_ms
                for chain in chains
                if len(chain) > index
            ]
            found[-1]["medianSecondsFromPrevious"] = statistics.median(took_ms) / 1000
    return found


def groups_of(
    chains: Sequence[Sequence[Event]], steps: Sequence[str], key: Callable[[Event], str | None]
) -> list[dict[str, Any]]:
    """Most starts first, then by key; without a key last."""
    parts: dict[str | None, list[Sequence[Event]]] = {}
    for chain in chains:
        if chain:
            parts.setdefault(key(chain[0]) or None, []).append(chain)
    groups = [
        {**({} if value is None else {"key": value}), "steps": steps_of(part, steps)}
        for value, part in parts.items()
    ]
    return sorted(
        groups, key=lambda group: (-group["steps"][0]["count"], "key" not in group, group.get("key", ""))
    )


def crowded(chance: random.Random, users: int) -> list[Event]:
    """Short histories of many users at quarter seconds, often several events in one millisecond."""
    return [
        event(
            NOW + timedelta(milliseconds=250 * chance.randrange(chance.choice((2, 8, 24)))),
            user_id=chance.choice([f"u{user}", f"u{user}", f"u{user}", None, ""]),
            session_id=f"s{chance.randrange(users)}",
            event_type=chance.choice("aaabbccd"),
            item_id=chance.choice([None, "", "/", "/shop"]),
            metadata={"plan": chance.choice(["pro", "free", None, 5])},
            event_id=UUID(int=chance.getrandbits(128)),
        )
        for user in range(users)
        for _ in range(chance.choice((1, 3, 6, 12)))
    ]


@pytest.mark.parametrize("window_s", [1, 2, 90])
@pytest.mark.parametrize(
    "steps",
    ["ab", "aa", "aaa", "abc", "abab", "aba", "abcabd", "abcd", "bacadaa", "aabbccddab"],
)
async def test_a_funnel_is_what_its_definition_says_for_each_user(reader: Reader, steps: str, window_s: int):
    """Broken down by user, each group is one history."""
    chance = random.Random(f"{steps}{window_s}")
    events = crowded(chance, 150)
    await reader.store_twice(*events)
    for by, breakdown in (("user", "user_id"), ("session", "session_id")):
        chains = [
            best_chain(
                history, steps, window_s * 1000, lambda number, one: one.event_type == steps[number - 1]
            )
            for history in by_entity(events, by).values()
        ]
        answer = await reader.answer(
            FUNNEL,
            step=list(steps),
            window=f"{window_s}s",
            by=by,
            breakdown=breakdown,
            limit="1000",
            **RANGE,
        )
        assert answer["steps"] == steps_of(chains, steps)
        assert answer["groups"] == groups_of(chains, steps, attrgetter(breakdown))
