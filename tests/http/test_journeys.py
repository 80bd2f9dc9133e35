"""Funnels, retention and paths over the real engine, against calculations written from their definitions.

Histories are small and crowded: few event types, ties in one millisecond, times that lie on the edge of the
window, users without a name. Each row is stored twice, and the table is not merged.
"""

import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from nealytics.config import QueryConfig
from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests.http.reader import NOW, Reader, event, ms, on_the_engine

FUNNEL = "/api/v1/analytics/funnel"
RETENTION = "/api/v1/analytics/retention"
PATHS = "/api/v1/analytics/paths"

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
    return in_order([group_of(value, steps_of(part, steps)) for value, part in parts.items()])


def group_of(value: str | None, steps: list[dict[str, Any]]) -> dict[str, Any]:
    return {**({} if value is None else {"key": value}), "steps": steps}


def in_order(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
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


DIMENSIONS: dict[str, Callable[[Event], str | None]] = {
    "event_type": attrgetter("event_type"),
    "item_id": attrgetter("item_id"),
    "tenant_id": attrgetter("tenant_id"),
    "session_id": attrgetter("session_id"),
    "meta:plan": lambda one: None if plan_of(one) is None else str(plan_of(one)),
}
ONES = [f"s{number}" for number in range(1, 200, 2)]


def plan_of(one: Event) -> object:
    return json.loads(one.metadata_json)["plan"]


@pytest.mark.parametrize("breakdown", DIMENSIONS)
@pytest.mark.parametrize("steps", ["aab", "abc"])
async def test_each_group_is_the_funnel_of_the_starts_with_its_value(
    reader: Reader, steps: str, breakdown: str
):
    """So a user may be in several groups."""
    events = crowded(random.Random(f"{breakdown}{steps}"), 200)
    await reader.store_twice(*events)
    for common in (None, "/"):
        history_of = by_entity([one for one in events if common in (None, one.item_id)], "user")

        def is_step(number: int, one: Event) -> bool:
            # The second step has two conditions of its own, the third one.
            return one.event_type == steps[number - 1] and (
                number == 1
                or (number == 2 and plan_of(one) in ("pro", 5) and one.session_id in ONES)
                or (number == 3 and plan_of(one) is not None)
            )

        chains = [best_chain(history, steps, 2000, is_step) for history in history_of.values()]
        asked: dict[str, Any] = {
            "step": list(steps),
            "stepFilter": ["2:meta:plan:in:pro,5", f"2:session_id:in:{','.join(ONES)}", "3:meta:plan:exists"],
            "window": "2s",
            "breakdown": breakdown,
            **({"itemId": common} if common else {}),
            **RANGE,
        }
        everything = await reader.answer(FUNNEL, limit="1000", **asked)
        assert everything["steps"] == steps_of(chains, steps)
        key = DIMENSIONS[breakdown]

        def chains_of(value: str | None, key: Any = key, of: Any = history_of) -> list[Sequence[Event]]:
            def is_met(number: int, one: Event) -> bool:
                return is_step(number, one) and (number > 1 or (key(one) or None) == value)  # noqa: B023

            return [best_chain(history, steps, 2000, is_met) for history in of.values()]

        values = {key(one) or None for history in history_of.values() for one in history if is_step(1, one)}
        expected = in_order([group_of(value, steps_of(chains_of(value), steps)) for value in values])
        assert everything["groups"] == expected
        assert "warnings" not in everything
        first = await reader.answer(FUNNEL, limit="1", **asked)
        assert (first["steps"], first["groups"]) == (everything["steps"], expected[:1])
        assert ("warnings" in first) == (len(expected) > 1)


async def test_in_the_view_of_a_project_everybody_belongs_to_a_tenant(reader: Reader):
    """Ada of one tenant is not Ada of another, in any of the three."""
    for tenant, types in (("acme", "ab"), ("globex", "ba")):
        for second, event_type in enumerate(types):
            await reader.store_twice(
                event(NOW + timedelta(seconds=second), tenant_id=tenant, user_id="ada", event_type=event_type)
            )
    await reader.store_twice(event(project_id="another", tenant_id="acme", user_id="ada", event_type="a"))
    owner: dict[str, Any] = {"tenant_id": None, **RANGE}
    answer = await reader.answer(FUNNEL, step=["a", "b"], breakdown="user_id", **owner)
    assert "tenantId" not in answer
    assert [step["count"] for step in answer["steps"]] == [2, 1]
    assert [
        (group["key"], group["tenantId"], [step["count"] for step in group["steps"]])
        for group in answer["groups"]
    ] == [("ada", "acme", [1, 1]), ("ada", "globex", [1, 0])]
    (cohort,) = (await reader.answer(RETENTION, **owner))["cohorts"]
    assert (cohort["size"], cohort["periods"]) == (
        2,
        [{"period": 0, "partial": True, "count": 2, "share": 1.0}],
    )
    answer = await reader.answer(PATHS, event="a", **owner)
    assert (answer["starts"], answer["paths"]) == (2, [{"events": ["b"], "count": 1, "share": 0.5}])
    # A tenant sees its own.
    answer = await reader.answer(FUNNEL, step=["a", "b"], breakdown="user_id", tenant_id="globex", **RANGE)
    assert [step["count"] for step in answer["steps"]] == [1, 0]
    assert [sorted(group) for group in answer["groups"]] == [["key", "steps"]]
    (cohort,) = (await reader.answer(RETENTION, tenant_id="globex", **RANGE))["cohorts"]
    assert cohort["size"] == 1
    assert (await reader.answer(PATHS, tenant_id="globex", event="b", **RANGE))["starts"] == 1


# Retention, from its definition


class Calendar:
    """The days, weeks or months of a zone: which one an instant lies in, and when each of them starts."""

    def __init__(self, interval: str, zone: str | None, from_: datetime, to: datetime) -> None:
        self.interval, self.zone = interval, ZoneInfo(zone or "UTC")
        self.shows_offset = zone is not None
        # Every quarter of an hour of the range and of the month before it.
        self.starts: dict[date, datetime] = {}
        moment = from_ - timedelta(days=32)
        while moment <= to:
            self.starts.setdefault(self.label(moment), moment)
            moment += timedelta(minutes=15)
        labels = list(self.starts)
        self.shown = labels[labels.index(self.label(from_)) :]

    def label(self, moment: datetime) -> date:
        day = moment.astimezone(self.zone).date()
        if self.interval == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.interval == "month" else day

    def text(self, label: date) -> str:
        start = self.starts[label]
        return start.astimezone(self.zone).isoformat() if self.shows_offset else iso_utc(ms(start))


def moment_of(event: Event) -> datetime:
    return datetime.fromtimestamp(event.timestamp_ms // 1000, UTC)


def cohorts_of(
    events: Sequence[Event],
    calendar: Calendar,
    to: datetime,
    *,
    by: str,
    begins: Callable[[Event], bool],
    returns: Callable[[Event], bool],
    periods: int,
) -> list[dict[str, Any]]:
    members: dict[date, list[set[date]]] = {}  # cohort → of each member, when they came back
    known = [event for event in events if event.timestamp_ms <= ms(to)]
    for history in by_entity(known, by).values():
        first = next((one for one in history if begins(one)), None)
        if first is not None and calendar.label(moment_of(first)) in calendar.shown:
            members.setdefault(calendar.label(moment_of(first)), []).append(
                {
                    calendar.label(moment_of(one))
                    for one in history
                    if returns(one) and one.timestamp_ms >= first.timestamp_ms
                }
            )
    cohorts = []
    cut = calendar.label(to + timedelta(milliseconds=1))  # if it is shown, it goes on after the range
    for cohort in sorted(members):
        intervals = calendar.shown[calendar.shown.index(cohort) :][: periods + 1]
        size = len(members[cohort])
        counts = [sum(interval in came for came in members[cohort]) for interval in intervals]
        cohorts.append(
            {
                "cohort": calendar.text(cohort),
                "size": size,
                "periods": [
                    {
                        "period": period,
                        **({"partial": True} if interval == cut else {}),
                        "count": count,
                        "share": count / size,
                    }
                    for period, (interval, count) in enumerate(zip(intervals, counts, strict=True))
                ],
            }
        )
    return cohorts


def comings(chance: random.Random, from_: datetime, to: datetime, calendar: Calendar) -> list[Event]:
    """Users that come a few times from a month before the range to some days after it, some of them in the
    very millisecond at which an interval starts or ends."""
    edges = list(calendar.starts.values())

    def moment() -> datetime:
        if chance.random() < 0.4:
            return chance.choice(edges) + timedelta(milliseconds=chance.choice((-1, 0, 1)))
        return from_ + chance.uniform(-0.3, 1.1) * (to - from_)

    return [
        event(
            moment(),
            user_id=chance.choice([f"u{user}"] * 4 + [None, ""]),
            session_id=f"s{user % 40}",
            event_type=chance.choice("aaabbc"),
            metadata={"plan": chance.choice(["pro", "pro", "free", None])},
        )
        for user in range(80)
        for _ in range(chance.choice((1, 2, 5, 9)))
    ]


# The last three: clocks change at midnight; a date is left out; clocks are set back across midnight.
SPANS = [
    (None, "2024-02-07T10:00:00Z", "2024-04-20T05:00:00Z"),
    ("Europe/Berlin", "2024-02-20T23:30:00Z", "2024-04-12T21:59:59.999Z"),
    ("America/New_York", "2023-10-10T04:00:00Z", "2023-11-20T04:59:59.999Z"),
    ("Asia/Kathmandu", "2024-01-10T00:00:00Z", "2024-02-10T00:00:00Z"),
    ("America/Sao_Paulo", "2018-10-20T00:00:00Z", "2018-11-20T00:00:00Z"),
    ("Pacific/Apia", "2011-12-10T12:00:00Z", "2012-01-15T12:00:00Z"),
    ("America/St_Johns", "2006-10-10T12:00:00Z", "2006-11-15T12:00:00Z"),
]


@pytest.mark.parametrize("interval", ["day", "week", "month"])
@pytest.mark.parametrize(("zone", "from_text", "to_text"), SPANS)
async def test_retention_is_what_its_definition_says(
    reader: Reader, interval: str, zone: str | None, from_text: str, to_text: str
):
    from_, to = datetime.fromisoformat(from_text), datetime.fromisoformat(to_text)
    calendar = Calendar(interval, zone, from_, to)
    events = comings(random.Random(f"{interval}{zone}"), from_, to, calendar)
    await reader.store_twice(*events)
    query: dict[str, Any] = {"from": from_text, "to": to_text, "interval": interval}
    if zone:
        query["tz"] = zone
    for begin, come, by, plan, periods in [
        (None, None, "user", None, None),
        (None, "b", "session", None, 60),
        ("a", None, "user", "pro", 3),
        ("b", "a", "user", None, 0),
        ("a", "a", "session", "pro", 5),
        ("b", "c", "user", None, 60),
    ]:
        asked = {
            "by": by,
            **({"cohortEvent": begin} if begin else {}),
            **({"returnEvent": come} if come else {}),
            **({"filter": f"meta:plan:eq:{plan}"} if plan else {}),
            **({} if periods is None else {"periods": str(periods)}),
        }
        answer = await reader.answer(RETENTION, **query, **asked)
        expected = cohorts_of(
            [one for one in events if plan is None or json.loads(one.metadata_json)["plan"] == plan],
            calendar,
            to,
            by=by,
            begins=lambda one: begin in (None, one.event_type),  # noqa: B023
            returns=lambda one: come in (None, one.event_type),  # noqa: B023
            periods=11 if periods is None else periods,
        )
        assert expected, "there is something to compare"
        assert answer["cohorts"] == expected, asked


# Paths, from their definition


def paths_of(
    events: Sequence[Event], start: str, *, direction: str, depth: int, by: str, limit: int
) -> dict[str, Any]:
    starts = 0
    counts: Counter[tuple[str, ...]] = Counter()
    for history in by_entity(events, by).values():
        types = [one.event_type for one in history]
        for index, event_type in enumerate(types):
            if event_type == start:
                starts += 1
                around = types[index + 1 :] if direction == "next" else types[:index][::-1]
                counts.update(tuple(around[:length]) for length in range(1, min(depth, len(around)) + 1))
    shown = []
    for length in range(1, depth + 1):
        of_length = [path for path in counts if len(path) == length]
        shown += sorted(of_length, key=lambda path: (-counts[path], [name.encode() for name in path]))[:limit]
    return {
        "starts": starts,
        "paths": [
            {"events": list(path), "count": counts[path], "share": counts[path] / starts} for path in shown
        ],
    }


@pytest.mark.parametrize("direction", ["next", "previous"])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
async def test_paths_are_what_their_definition_says(reader: Reader, direction: str, depth: int):
    """Each seed is as many histories as it has users; ties within a millisecond are everywhere."""
    for seed in range(4):
        events = crowded(random.Random(seed), 60)
        tenant = f"tenant {seed}"
        await reader.store_twice(*(replace(one, tenant_id=tenant) for one in events))
        for by, start, item, limit in [
            ("session", "a", None, None),
            ("user", "a", None, None),
            ("session", "d", "/shop", 1000),
            ("user", "b", "/", 3),
        ]:
            answer = await reader.answer(
                PATHS,
                tenant_id=tenant,
                event=start,
                direction=direction,
                depth=str(depth),
                by=by,
                **({"itemId": item} if item else {}),
                **({"limit": str(limit)} if limit else {}),
                **RANGE,
            )
            expected = paths_of(
                [one for one in events if item in (None, one.item_id)],
                start,
                direction=direction,
                depth=depth,
                by=by,
                limit=limit or 50,
            )
            assert expected["paths"]
            assert {name: answer[name] for name in expected} == expected


async def test_events_of_one_millisecond_are_in_the_order_of_the_table(reader: Reader):
    """ClickHouse compares the second half of a UUID before the first."""
    high, low = UUID("ffffffff-ffff-7fff-8000-000000000001"), UUID("00000000-0000-7000-9000-000000000000")
    await reader.store_twice(
        event(event_type="first", event_id=high), event(event_type="second", event_id=low)
    )
    for one, after in (("first", ["second"]), ("second", [])):
        answer = await reader.answer(PATHS, event=one, **RANGE)
        assert [path["events"] for path in answer["paths"]] == ([after] if after else [])
    stored = await reader.timeline()
    assert [one["eventType"] for one in stored] == ["second", "first"]
    assert uuid_order(high) < uuid_order(low)


async def test_a_session_of_twenty_thousand_events_is_like_any_other(reader: Reader):
    """The work is not repeated for each start, and a query that is too large is refused."""
    await reader.store_twice(
        *(event(NOW + timedelta(seconds=n), event_type="abcd"[n % 4], user_id="ada") for n in range(20_000))
    )
    answer = await reader.answer(FUNNEL, step=list("abcdabcdab"), window="9s", **RANGE)
    assert [step["count"] for step in answer["steps"]] == [1] * 10
    assert {step.get("medianSecondsFromPrevious", 1.0) for step in answer["steps"]} == {1.0}
    answer = await reader.answer(FUNNEL, step=list("aaaa"), window="11s", breakdown="session_id", **RANGE)
    assert [step["count"] for step in answer["steps"]] == [1, 1, 1, 0]
    answer = await reader.answer(PATHS, event="c", depth="5", **RANGE)
    assert answer["starts"] == 5_000
    assert [(path["events"], path["count"]) for path in answer["paths"]] == [
        (["d"], 5_000),
        (["d", "a"], 4_999),
        (["d", "a", "b"], 4_999),
        (["d", "a", "b", "c"], 4_999),
        (["d", "a", "b", "c", "d"], 4_999),
    ]
    config = replace(reader.config, query=QueryConfig(rows_read_max=1_000))
    async with Reader(reader.clickhouse, config) as limited:
        for path, query in ((FUNNEL, {"step": ["a", "b"]}), (PATHS, {"event": "a"}), (RETENTION, {})):
            status, body, _ = await limited.get(path, **query, **RANGE)
            assert (status, body["code"]) == (422, "query_too_large"), path
