"""Sessions, the top and the summary over the real engine, against their definitions in plain Python.

The events are random and crowded: two tenants that use the same names, sessions that cross the ends of the
ranges, users that are absent or empty. Each row is stored twice, and the table is not merged.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from statistics import median
from typing import Any

import pytest

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests.http.reader import NOW, SESSIONS, SUMMARY, TOP, Reader, event, ms, on_the_engine

pytestmark = on_the_engine

# What `meta:plan` is and how it compares.
PLANS = {"pro": "pro", "free": "free", 1.5: "1.5", True: "true", "": "", None: None}


def crowd() -> list[Event]:
    """Of 20 days, a third of them of another tenant."""
    chance = random.Random(11)
    found = []
    for _ in range(900):
        plan = chance.choice(list(PLANS))
        found.append(
            event(
                NOW - timedelta(milliseconds=round(chance.choice((1, 3, 20)) * 86_400_000 * chance.random())),
                tenant_id=chance.choice(["acme", "acme", "globex"]),
                session_id=f"s{int(chance.expovariate(0.02))}",
                user_id=chance.choice([None, "", *(f"u{n}" for n in range(12))]),
                event_type=chance.choice(["view", "view", "click", "café"]),
                item_id=chance.choice([None, "", "/", "/shop", "/漢字"]),
                metadata=chance.choice([{"plan": plan}, {"cart": {"plan": plan}}, {}]),
            )
        )
    # The edges of a range that is asked for below, and a session of one instant.
    found += [event(NOW - timedelta(days=1, milliseconds=n), session_id="edge") for n in (-1, 0, 1)]
    found += [event(NOW - timedelta(hours=3), session_id="at once", event_type="click") for _ in range(3)]
    return found


NOISE = [event(project_id="blog", session_id="foreign", user_id="foreign")]
RANGES = [
    {},
    {"from": iso_utc(ms(NOW - timedelta(days=1))), "to": iso_utc(ms(NOW - timedelta(hours=2)))},
    {"from": iso_utc(ms(NOW - timedelta(days=9))), "to": iso_utc(ms(NOW - timedelta(days=2)))},
    {"from": "2024-01-01", "to": "2025-01-01T00:00:00Z"},
    {"from": "2030-01-01", "to": "2030-01-02T00:00:00Z"},
]
FILTERS: list[tuple[dict[str, Any], Callable[[Event], bool]]] = [
    ({}, lambda e: True),
    (
        {"filter": ["event_type:in:view,café", "user_id:exists"]},
        lambda e: e.event_type != "click" and bool(e.user_id),
    ),
    ({"filter": "meta:plan:eq:1.5"}, lambda e: e.metadata_json == b'{"plan": 1.5}'),
    ({"itemId": "/shop", "userId": "u3"}, lambda e: (e.item_id, e.user_id) == ("/shop", "u3")),
]
SCOPES = ["acme", None]

every_range = pytest.mark.parametrize("within", RANGES, ids=["a day", "hours", "a week", "a year", "nothing"])
every_scope = pytest.mark.parametrize("tenant_id", SCOPES, ids=["tenant", "project"])


def range_of(within: dict[str, str]) -> tuple[int, int]:
    if not within:
        return ms(NOW - timedelta(days=1)), ms(NOW)
    return tuple(ms(NOW.fromisoformat(within[end]).replace(tzinfo=NOW.tzinfo)) for end in ("from", "to"))  # type: ignore[return-value]


def chosen(
    events: list[Event], tenant_id: str | None, span: tuple[int, int], holds: Callable[[Event], bool]
) -> list[Event]:
    first, last = span
    return [
        one
        for one in events
        if first <= one.timestamp_ms <= last and one.tenant_id in (tenant_id or one.tenant_id) and holds(one)
    ]


def visits(events: list[Event]) -> dict[tuple[str, str], list[int]]:
    """The times of each session; those of two tenants are two."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in events:
        found[one.session_id, one.tenant_id].append(one.timestamp_ms)
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def duration_s(times: list[int]) -> float:
    return (max(times) - min(times)) / 1000


@pytest.fixture
async def page(reader: Reader) -> tuple[Reader, list[Event]]:
    events = crowd()
    await reader.store_twice(*events, *NOISE)
    return reader, events


# Sessions

ORDERS: dict[str, Callable[[dict[str, Any]], float]] = {
    "start": lambda session: session["firstSeen"],
    "duration": lambda session: session["durationSeconds"],
    "events": lambda session: session["eventCount"],
}


def sessions_of(events: list[Event], order: str, of_project: bool) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = [
        {
            "sessionId": session_id,
            **({"tenantId": tenant_id} if of_project else {}),
            "firstSeen": min(times),
            "lastSeen": max(times),
            "durationSeconds": duration_s(times),
            "eventCount": len(times),
        }
        for (session_id, tenant_id), times in sorted(visits(events).items())
    ]
    listed.sort(key=ORDERS[order.removeprefix("-")], reverse=order.startswith("-"))  # ties stay as they are
    for session in listed:
        session |= {name: iso_utc(session[name]) for name in ("firstSeen", "lastSeen")}
    return listed


@every_range
@every_scope
async def test_totals_are_of_all_sessions_and_the_summary_is_of_the_page(
    page: tuple[Reader, list[Event]], within: dict[str, str], tenant_id: str | None
):
    reader, events = page
    for query, holds in FILTERS:
        expected = sessions_of(
            chosen(events, tenant_id, range_of(within), holds), "-start", tenant_id is None
        )
        durations = [session["durationSeconds"] for session in expected]
        for limit in (5, 1000):
            shown = expected[:limit]
            answer = await reader.answer(SESSIONS, tenant_id=tenant_id, limit=str(limit), **within, **query)
            assert answer == {
                "projectId": "shop",
                **({"tenantId": tenant_id} if tenant_id else {}),
                "uniqueSessionCount": len(shown),
                "totalEventCount": sum(session["eventCount"] for session in shown),
                "avgDurationSeconds": pytest.approx(mean(durations[:limit])),
                "totals": {
                    "sessions": len(expected),
                    "events": sum(session["eventCount"] for session in expected),
                    "avgDurationSeconds": pytest.approx(mean(durations)),
                    "medianDurationSeconds": pytest.approx(median(durations or [0])),
                },
                "sessions": shown,
            }


@every_scope
@pytest.mark.parametrize("order", ["start", "-start", "duration", "-duration", "events", "-events"])
async def test_sessions_come_in_the_order_asked_for_and_equal_ones_by_name(
    page: tuple[Reader, list[Event]], order: str, tenant_id: str | None
):
    reader, events = page
    within = RANGES[3]
    expected = sessions_of(
        chosen(events, tenant_id, range_of(within), lambda e: True), order, tenant_id is None
    )
    answer = await reader.answer(SESSIONS, tenant_id=tenant_id, order=order, limit="1000", **within)
    assert answer["sessions"] == expected
    answer = await reader.answer(SESSIONS, tenant_id=tenant_id, order=order, limit="7", **within)
    assert answer["sessions"] == expected[:7]


async def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two(reader: Reader):
    for n, seconds in enumerate((1, 10, 20, 100)):
        start, end = event(session_id=f"s{n}"), event(NOW - timedelta(seconds=seconds), session_id=f"s{n}")
        await reader.store_twice(start, end)
    assert (await reader.answer(SESSIONS))["totals"]["medianDurationSeconds"] == 15.0
    assert (await reader.answer(SESSIONS, filter="session_id:ne:s3"))["totals"][
        "medianDurationSeconds"
    ] == 10.0


async def test_a_median_is_exact_where_an_estimate_is_not(reader: Reader):
    """ClickHouse's `median` draws a sample above 8,192 values."""
    sessions = 9_001
    await reader.store_twice(*(event(session_id=f"s{n}") for n in range(sessions)))
    ends = [event(NOW - timedelta(milliseconds=n * n), session_id=f"s{n}") for n in range(sessions)]
    await reader.store_twice(*ends)
    totals = (await reader.answer(SESSIONS, limit="1"))["totals"]
    assert (totals["sessions"], totals["events"]) == (sessions, 2 * sessions)
    assert totals["medianDurationSeconds"] == 4_500 * 4_500 / 1000


# The top

KEYS: dict[str, Callable[[Event], str | None]] = {
    "event_type": lambda e: e.event_type,
    "item_id": lambda e: e.item_id or None,
    "user_id": lambda e: e.user_id or None,
    "session_id": lambda e: e.session_id,
    "tenant_id": lambda e: e.tenant_id,
    "meta:plan": lambda e: next(
        (PLANS[plan] for plan in PLANS if e.metadata_json == _json_of("plan", plan)), None
    ),
}


def _json_of(key: str, value: object) -> bytes:
    return event(metadata={key: value}).metadata_json


Items = dict[tuple[str, str], dict[str, int]]


def items_of(events: list[Event], dimension: str, by_tenant: bool) -> Items:
    """The numbers of each value, and of each tenant where that makes it another one."""
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for one in events:
        key = KEYS[dimension](one)
        if key is not None:
            found[key, one.tenant_id if by_tenant else ""].append(one)
    return {
        item: {
            "count": len(ours),
            "users": len({(one.tenant_id, one.user_id) for one in ours if one.user_id}),
            "sessions": len({(one.tenant_id, one.session_id) for one in ours}),
        }
        for item, ours in found.items()
    }


def top_of(
    events: list[Event],
    dimension: str,
    of_project: bool,
    *,
    order: str = "count",
    sessions: bool = False,
    before: list[Event] | None = None,
) -> list[dict[str, Any]]:
    by_tenant = of_project and dimension in ("user_id", "session_id")
    now, then = items_of(events, dimension, by_tenant), items_of(before or [], dimension, by_tenant)
    total = sum(numbers["count"] for numbers in now.values())
    names = ("count", "users", "sessions") if sessions else ("count", "users")

    def numbers(items: Items, item: tuple[str, str]) -> dict[str, int]:
        return {name: items.get(item, {}).get(name, 0) for name in names}

    def place(item: tuple[str, str]) -> tuple[int, int, bytes, str]:
        of_both = (items.get(item, {}).get(order, 0) for items in (now, then))
        return (*(-number for number in of_both), item[0].encode(), item[1])  # type: ignore[return-value]

    return [
        {
            "key": item[0],
            **({"tenantId": item[1]} if by_tenant else {}),
            **numbers(now, item),
            "share": pytest.approx(numbers(now, item)["count"] / total if total else 0),
            **({"previous": numbers(then, item)} if before is not None else {}),
        }
        for item in sorted({**now, **then}, key=place)
    ]


@every_scope
@pytest.mark.parametrize("dimension", list(KEYS))
async def test_the_top_is_ordered_by_count_and_then_by_key(
    page: tuple[Reader, list[Event]], dimension: str, tenant_id: str | None
):
    reader, events = page
    for within in RANGES:
        for query, holds in FILTERS:
            expected = top_of(
                chosen(events, tenant_id, range_of(within), holds), dimension, tenant_id is None
            )
            answer = await reader.answer(TOP, tenant_id=tenant_id, dimension=dimension, **within, **query)
            first, last = range_of(within)
            assert answer == {
                "projectId": "shop",
                **({"tenantId": tenant_id} if tenant_id else {}),
                "dimension": dimension,
                "from": iso_utc(first),
                "to": iso_utc(last),
                "items": expected[:20],
            }
    answer = await reader.answer(TOP, tenant_id=tenant_id, dimension=dimension, limit="3", **RANGES[3])
    everything = chosen(events, tenant_id, range_of(RANGES[3]), lambda e: True)
    assert answer["items"] == top_of(everything, dimension, tenant_id is None)[:3]


@every_scope
@pytest.mark.parametrize("dimension", ["tenant_id", "event_type", "user_id", "session_id", "meta:plan"])
@pytest.mark.parametrize("order", ["count", "users", "sessions"])
async def test_each_item_is_compared_and_those_of_the_compared_range_alone_are_listed(
    page: tuple[Reader, list[Event]], order: str, dimension: str, tenant_id: str | None
):
    reader, events = page
    now, before = RANGES[1], {"from": "2024-06-01", "to": iso_utc(ms(NOW - timedelta(hours=20)))}  # overlap
    for query, holds in FILTERS[:2]:
        ours, theirs = (chosen(events, tenant_id, range_of(within), holds) for within in (now, before))
        answer = await reader.answer(
            TOP,
            tenant_id=tenant_id,
            dimension=dimension,
            order=f"-{order}",
            sessions="true",
            compare="..".join(before.values()),
            limit="500",
            **now,
            **query,
        )
        assert answer["items"] == top_of(
            ours, dimension, tenant_id is None, order=order, sessions=True, before=theirs
        )
        first, last = range_of(before)
        assert answer["previous"] == {"from": iso_utc(first), "to": iso_utc(last)}


async def test_what_happened_before_only_is_an_item_without_a_share(reader: Reader):
    await reader.store_twice(event(NOW - timedelta(days=3), tenant_id="gone", user_id="u"))
    answer = await reader.answer(
        TOP,
        tenant_id=None,
        dimension="tenant_id",
        compare="previous",
        order="-sessions",
        **{"from": "2024-06-14", "to": "2024-06-16"},
    )
    numbers = {"count": 1, "users": 1, "sessions": 1}
    assert answer["items"] == [
        {"key": "gone", "count": 0, "share": 0.0, "users": 0, "sessions": 0, "previous": numbers}
    ]


async def test_a_share_is_of_all_that_have_a_value_also_of_those_cut_off(reader: Reader):
    await reader.store_twice(
        *(event(item_id="/a") for _ in range(3)), event(item_id="/b"), event(), event(item_id="")
    )
    answer = await reader.answer(TOP, dimension="item_id", limit="1")
    assert answer["items"] == [{"key": "/a", "count": 3, "share": 0.75, "users": 0}]


async def test_a_value_of_the_metadata_may_lie_deep_and_under_any_key(reader: Reader):
    await reader.store_twice(
        event(metadata={"a.b": {"c:d\\": "deep"}}),
        event(metadata={"a": {"b": {"c:d\\": "elsewhere"}}}),
        event(metadata={"a.b": {"c:d\\": None}}),
    )
    dimension = "meta:a\\.b.c\\:d\\\\"
    answer = await reader.answer(TOP, dimension=dimension)
    assert answer["dimension"] == dimension
    assert answer["items"] == [{"key": "deep", "count": 1, "share": 1.0, "users": 0}]


# The summary


def figures_of(events: list[Event], span: tuple[int, int]) -> dict[str, Any]:
    durations = [duration_s(times) for times in visits(events).values()]
    sizes = [len(times) for times in visits(events).values()]
    return {
        "from": iso_utc(span[0]),
        "to": iso_utc(span[1]),
        "events": len(events),
        "sessions": len(sizes),
        "users": len({(one.tenant_id, one.user_id) for one in events if one.user_id}),
        "eventsPerSession": pytest.approx(mean([float(size) for size in sizes])),
        "avgSessionDurationSeconds": pytest.approx(mean(durations)),
        "medianSessionDurationSeconds": pytest.approx(median(durations or [0])),
        "bounceShare": pytest.approx(sizes.count(1) / len(sizes) if sizes else 0),
    }


@every_range
@every_scope
async def test_a_range_and_the_one_before_it_have_the_same_figures_of_their_own(
    page: tuple[Reader, list[Event]], within: dict[str, str], tenant_id: str | None
):
    reader, events = page
    first, last = range_of(within)
    before = (first - (last - first + 1), first - 1)
    for query, holds in FILTERS:
        assert await reader.answer(SUMMARY, tenant_id=tenant_id, **within, **query) == {
            "projectId": "shop",
            **({"tenantId": tenant_id} if tenant_id else {}),
            "compare": "previous",
            **figures_of(chosen(events, tenant_id, (first, last), holds), (first, last)),
            "previous": figures_of(chosen(events, tenant_id, before, holds), before),
        }


async def test_the_range_before_ends_a_millisecond_before_and_shares_nothing(reader: Reader):
    """A session over the border is one of each, with its part; a user of both is one of each."""
    moments = [-120_000, -60_001, -60_000, -1, 0, 59_999, 60_000]
    await reader.store_twice(*(event(NOW + timedelta(milliseconds=at), user_id="ada") for at in moments))
    within = {"from": iso_utc(ms(NOW) - 60_000 + 60_000), "to": iso_utc(ms(NOW) + 59_999)}
    answer = await reader.answer(SUMMARY, **within)
    assert [answer[name] for name in ("events", "sessions", "users")] == [2, 1, 1]
    assert answer["avgSessionDurationSeconds"] == 59.999
    previous = answer["previous"]
    assert (previous["from"], previous["to"]) == ("2024-06-15T11:59:00Z", "2024-06-15T11:59:59.999Z")
    assert [previous[name] for name in ("events", "sessions", "users")] == [2, 1, 1]


async def test_a_range_from_the_beginning_of_time_has_nothing_before_it(reader: Reader):
    await reader.store_twice(event(user_id="ada"))
    answer = await reader.answer(SUMMARY, **{"from": "0001-01-01", "to": "2024-07-01"})
    assert (answer["from"], answer["events"]) == ("1900-01-01T00:00:00Z", 1)
    assert (answer["previous"]["to"], answer["previous"]["events"]) == ("1899-12-31T23:59:59.999Z", 0)
    answer = await reader.answer(SUMMARY, **{"from": "0001-01-01", "to": "9999-01-01"})
    assert (answer["events"], answer["previous"]["sessions"]) == (1, 0)


async def test_the_average_of_a_page_with_all_sessions_is_that_of_all(reader: Reader):
    """To the last bit: 0.1 + 0.2 + 0.3 seconds are 0.6000000000000001."""
    for number in (1, 2, 3):
        await reader.store_twice(
            event(NOW - timedelta(milliseconds=100 * number), session_id=f"s{number}"),
            event(NOW, session_id=f"s{number}"),
        )
    answer = await reader.sessions()
    assert answer["avgDurationSeconds"] == answer["totals"]["avgDurationSeconds"] == 0.2
