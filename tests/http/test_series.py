"""Series: cumulative, averaged, compared, and of measures, against plain Python. Each row is stored twice."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import isclose
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nealytics.event import Event
from tests.http.measured import (
    QUESTIONS,
    Asked,
    counts_of,
    get,
    left_out,
    plan_of,
    sessions,
    some_events,
    users,
)
from tests.http.reader import ACTIVE, NOW, TIMESERIES, Reader, event, ms, on_the_engine

pytestmark = on_the_engine

# Clocks were set forward in New York on 10 March, in Berlin on 31 March, and back in Sydney on 7 April.
AROUND = datetime(2024, 4, 10, 12, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney"]
GROUPS: dict[str, Callable[[Event], Any]] = {
    "event_type": lambda one: (one.event_type, None),
    "meta:plan": lambda one: (plan_of(one), None),
    "item_id": lambda one: (one.item_id or None, None),
    "user_id": lambda one: (one.user_id or None, one.tenant_id),
}


def some_events_of_spring(seed: str) -> list[Event]:
    back_ms = ms(NOW) - ms(AROUND)
    return [
        Event(
            **{name: getattr(one, name) for name in one.__struct_fields__}
            | {"timestamp_ms": one.timestamp_ms - back_ms}
        )
        for one in some_events(seed, 400)
    ]


@pytest.fixture
async def page(reader: Reader) -> tuple[Reader, list[Event]]:
    events = some_events_of_spring("series")
    await reader.store_twice(*events, event(project_id="blog", session_id="foreign", user_id="foreign"))
    return reader, events


class Days:
    """A random range of local days, and what is in it."""

    def __init__(self, chance: random.Random, events: list[Event]) -> None:
        self.zone = chance.choice(ZONES)
        self.tenant_id = chance.choice(["acme", None])
        self.last = AROUND.date() - timedelta(days=chance.randrange(12))
        self.first = self.last - timedelta(days=chance.randrange(12))
        self._events = [one for one in events if one.tenant_id in (self.tenant_id or one.tenant_id)]

    @property
    def query(self) -> dict[str, Any]:
        return {
            "from": str(self.first),
            "to": str(self.last),
            "tz": self.zone,
            "tenant_id": self.tenant_id,
        }

    def all(self, back: int = 0) -> list[str]:
        """The times of its intervals, or of those of as many days before."""
        count = (self.last - self.first).days + 1
        days = [self.first + timedelta(days=n - back * count) for n in range(count)]
        zone = ZoneInfo(self.zone)
        return [datetime(day.year, day.month, day.day, tzinfo=zone).isoformat() for day in days]

    def of(self, one: Event) -> str:
        local = datetime.fromtimestamp(one.timestamp_ms / 1000, ZoneInfo(self.zone))
        return datetime(local.year, local.month, local.day, tzinfo=local.tzinfo).isoformat()

    def events(self, back: int = 0) -> list[Event]:
        within = set(self.all(back))
        return [one for one in self._events if self.of(one) in within]


def test_the_days_of_these_tests_have_23_24_and_25_hours():
    days = Days(random.Random(1), [])
    days.first, days.last = AROUND.date() - timedelta(days=40), AROUND.date()
    lengths = set()
    for days.zone in ZONES:
        starts = [datetime.fromisoformat(start).timestamp() for start in days.all()]
        lengths |= {(after - start) / 3600 for start, after in pairwise(starts)}
    assert lengths == {23, 24, 25}


def series_of(events: Iterable[Event], group: str | None, project_wide: bool) -> Callable[[Event], Any]:
    if group is None:
        return lambda one: (None, None)

    def of(one: Event) -> Any:
        key, tenant_id = GROUPS[group](one)
        return key, tenant_id if key is not None and project_wide else None

    return of


async def test_series_are_cumulative_averaged_and_compared(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("series")
    for _ in range(QUESTIONS):
        days, question = Days(chance, events), Asked(chance)
        group = chance.choice([None, *GROUPS])
        how = chance.choice(["cumulative", "average", "plain"])
        length, fill = chance.randint(2, 9), chance.choice(["true", "false"])
        further = {"cumulative": {"cumulative": "true"}, "average": {"average": str(length)}, "plain": {}}[
            how
        ]
        if group is not None:
            further["groupBy"] = group
        body = await get(
            reader,
            TIMESERIES,
            measure=question.texts,
            interval="day",
            fill=fill,
            compare="previous",
            **further,
            **days.query,
        )
        series = series_of(events, group, days.tenant_id is None)
        dense = how == "average" or fill == "true"
        for back, answer in ((0, body), (1, body["previous"])):
            within = days.events(back)
            of_point: dict[Any, list[Event]] = defaultdict(list)
            for each in within:
                of_point[days.of(each), series(each)].append(each)
            every: set[Any] = {series(one) for one in within} if group else {(None, None)}
            wanted = {(day, one) for day in days.all(back) for one in every} if dense else set(of_point)
            found = {(p["time"], (p.get("key"), p.get("tenantId"))): p for p in answer["points"]}
            assert len(found) == len(answer["points"])
            assert set(found) == wanted
            assert answer["totalCount"] == len(within)
            values: dict[Any, list[Any]] = defaultdict(list)
            for day in days.all(back):
                for one in every:
                    point = found.get((day, one))
                    if point is None:
                        continue
                    here = of_point.get((day, one), [])
                    if how == "cumulative":
                        here = [e for d in days.all(back) if d <= day for e in of_point.get((d, one), [])]
                    assert point["count"] == len(here)
                    question.assert_same(point["values"], here)
                    values[one].append(point["value"])
                    if how == "average":
                        assert_average(point.get("average"), values[one][-length:])
                    beside = days.all()[days.all(back).index(day)] if back else None
                    assert point.get("comparedTo") == beside
        assert counts_of(body) == left_out(question, days.events() + days.events(1))


def assert_average(found: Any, values: list[Any]) -> None:
    numbers = [Decimal(value) for value in values if value is not None]
    if not numbers:
        assert found is None
    else:
        assert isclose(found, sum(numbers) / len(numbers), rel_tol=1e-12, abs_tol=1e-9)


async def test_the_greatest_of_the_range_are_those_of_both_ranges(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("greatest")
    for _ in range(QUESTIONS // 4):
        days, group = Days(chance, events), chance.choice(["event_type", "item_id", "meta:plan"])
        query = {"interval": "day", "groupBy": group, "top": "1", "compare": "previous", **days.query}
        body = await get(reader, TIMESERIES, **query)
        counts: dict[str, int] = defaultdict(int)
        for one in days.events():
            if (key := GROUPS[group](one)[0]) is not None:
                counts[key] += 1
        best = {min(counts, key=lambda key: (-counts[key], key))} if counts else set()
        assert {point["key"] for point in body["points"]} == best
        assert {point["key"] for point in body["previous"]["points"]} <= best
        assert body["previous"]["totalCount"] == sum(GROUPS[group](one)[0] in best for one in days.events(1))


async def test_the_greatest_series_keep_their_newest_points(reader: Reader):
    """The greatest is ranked over the whole range: also one whose events are all at its end."""
    late = [event(NOW - timedelta(minutes=n), event_type="late") for n in range(5)]
    early = [event(NOW - timedelta(days=n + 1), event_type=f"early {n % 7}") for n in range(14)]
    await reader.store_twice(*late, *early)
    asked = {"interval": "day", "from": "-20d", "groupBy": "event_type", "top": "1", "other": "true"}
    answer = await reader.as_sent(TIMESERIES, **asked)
    assert [(p["time"][:10], p["value"]) for p in answer["points"] if not p.get("other")] == [
        ("2024-06-15", 5)
    ]
    assert sum(point["value"] for point in answer["points"]) == answer["totalCount"] == 19


async def test_active_users_are_cumulative_averaged_and_compared(page: tuple[Reader, list[Event]]):
    reader, events = page
    chance = random.Random("active")
    for _ in range(QUESTIONS):
        days, question = Days(chance, events), Asked(chance)
        how = chance.choice(
            [{}, {"rolling": "3"}, {"average": "3"}, {"rolling": "2", "average": "3"}, {"cumulative": "true"}]
        )
        by, active = chance.choice([("user", users), ("session", sessions)])
        measures: dict[str, Any] = {"measure": question.texts} if chance.random() < 0.7 else {}
        asked = {"by": by, "compare": "previous", **measures, **how}
        body = await get(reader, ACTIVE, **asked, **days.query)
        for back, answer in ((0, body), (1, body["previous"])):
            of_day: dict[str, list[Event]] = defaultdict(list)
            for one in days.events(back):
                of_day[days.of(one)].append(one)
            found = {point["time"]: point for point in answer["points"]}
            is_dense = "rolling" in how or "average" in how
            assert list(found) == [day for day in days.all(back) if is_dense or day in of_day]
            values = []
            for day, point in found.items():
                here = of_day.get(day, [])
                if "cumulative" in how:
                    here = [one for before in days.all(back) if before <= day for one in of_day[before]]
                assert point["count"] == len(active(here))
                if measures:
                    question.assert_same(point["values"], here)
                assert point["value"] == (point["values"][0] if measures else point["count"])
                values.append(point["value"])
                assert_average(point.get("average"), values[-3:] if "average" in how else [])
                beside = days.all()[days.all(back).index(day)] if back else None
                assert point.get("comparedTo") == beside
        if measures:
            assert counts_of(body) == left_out(question, days.events() + days.events(1))


@pytest.mark.parametrize("mode", ["exact", "approx"])
async def test_a_cumulative_active_user_counts_once(reader: Reader, mode: str):
    days = {0: "ada", 1: "ada", 3: "bob", 5: None, 8: "ada", 9: "cy"}
    await reader.store_twice(*(event(NOW - timedelta(days=n), user_id=who) for n, who in days.items()))
    asked = {"from": "-9d", "cumulative": "true", "mode": mode}
    answer = await reader.as_sent(ACTIVE, **asked)
    assert [point["count"] for point in answer["points"]] == [1, 2, 2, 3, 3, 3]
    weeks = await reader.as_sent(ACTIVE, interval="week", **asked)
    assert [point["count"] for point in weeks["points"]] == [2, 3]
    oldest = await reader.as_sent(ACTIVE, limit="2", **asked)
    assert [point["count"] for point in oldest["points"]] == [1, 2]


async def test_weeks_without_activity_are_averaged_with_a_stickiness_of_0(reader: Reader):
    await reader.store_twice(*(event(NOW - timedelta(days=n), user_id=f"u{n}") for n in (0, 1, 20)))
    asked = {"interval": "week", "from": "-20d", "average": "2", "stickiness": "true"}
    answer = await reader.as_sent(ACTIVE, **asked)
    assert [(p["value"], p["average"], p["stickiness"] > 0) for p in answer["points"]] == [
        (1, 1, True),
        (0, 0.5, False),
        (0, 0, False),
        (2, 1, True),
    ]


async def test_users_over_time_by_any_group(reader: Reader):
    plans = ["pro", "free"]
    events = [
        event(NOW - timedelta(days=n % 3), user_id=f"u{n % 5}", metadata={"plan": plans[n % 2]})
        for n in range(40)
    ]
    await reader.store_twice(*events)
    asked = {"interval": "day", "from": "-5d", "groupBy": "meta:plan", "measure": "users"}
    answer = await reader.as_sent(TIMESERIES, **asked)
    expected: dict[Any, set[Any]] = defaultdict(set)
    for one in events:
        day = datetime.fromtimestamp(one.timestamp_ms / 1000, UTC).strftime("%Y-%m-%dT00:00:00Z")
        expected[day, plan_of(one)].add(one.user_id)
    assert {(p["time"], p["key"]): p["value"] for p in answer["points"]} == {
        key: len(who) for key, who in expected.items()
    }


async def test_a_cumulative_user_counts_once(reader: Reader):
    await reader.store_twice(*(event(NOW - timedelta(days=n), user_id="ada") for n in range(4)))
    asked = {"interval": "day", "from": "-3d", "cumulative": "true", "measure": ["users", "avg(meta:x)"]}
    answer = await reader.as_sent(TIMESERIES, **asked)
    assert [(point["count"], point["values"]) for point in answer["points"]] == [
        (n, [1, None]) for n in range(1, 5)
    ]
    assert answer["totalCount"] == 4


async def test_hours_are_compared_by_the_clock(reader: Reader):
    """On 31 March 2024 the clocks of Berlin skipped the hour from 2 to 3."""
    asked = {"interval": "hour", "fill": "true", "tz": "Europe/Berlin", "compare": "previous"}
    answer = await reader.as_sent(TIMESERIES, **asked, **{"from": "2024-03-31", "to": "2024-03-31"})
    beside = {p["time"][11:16]: p.get("comparedTo") for p in answer["previous"]["points"]}
    assert len(answer["points"]) == 23
    assert len(beside) == 24
    assert beside.pop("02:00") is None
    assert {before: now and now[11:16] for before, now in beside.items()} == {time: time for time in beside}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"average": "1"}, "average"),
        ({"average": "400"}, "average"),
        ({"average": "7", "cumulative": "true"}, "average"),
        ({"cumulative": "maybe"}, "cumulative"),
        ({"compare": "-7d"}, "compare"),
        ({"compare": "today..-7d"}, "compare"),
        ({"average": "7", "interval": "minute", "from": "-9d"}, "average"),
        ({"compare": "previous", "interval": "minute", "from": "-9d"}, "compare"),
    ],
)
async def test_a_misuse_is_refused_with_its_field(reader: Reader, query: dict[str, str], field: str):
    await assert_refused(reader, TIMESERIES, query, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"average": "1"}, "average"),
        ({"average": "367"}, "average"),
        ({"average": "7", "cumulative": "true"}, "average"),
        ({"rolling": "7", "cumulative": "true"}, "rolling"),
        ({"stickiness": "true", "interval": "week", "cumulative": "true"}, "stickiness"),
        ({"cumulative": "maybe"}, "cumulative"),
        ({"average": "7", "from": "1990-01-01"}, "average"),
    ],
)
async def test_a_misuse_of_active_is_refused_with_its_field(
    reader: Reader, query: dict[str, str], field: str
):
    await assert_refused(reader, ACTIVE, query, field)


async def assert_refused(reader: Reader, path: str, query: dict[str, str], field: str) -> None:
    status, body, _ = await reader.get(path, **query)
    assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)
    assert field in body["message"]
    assert body["detail"]


async def test_a_compared_range_may_be_relative(reader: Reader):
    await reader.store_twice(event(NOW - timedelta(days=9)), event(NOW - timedelta(days=1)))
    asked = {"interval": "day", "from": "-6d", "to": "2024-06-14", "compare": "-13d..-7d"}
    answer = await reader.as_sent(TIMESERIES, **asked)
    assert (answer["previous"]["from"], answer["previous"]["to"]) == (
        "2024-06-02T00:00:00Z",
        "2024-06-08T23:59:59.999Z",
    )
    assert [point["comparedTo"] for point in answer["previous"]["points"]] == ["2024-06-13T00:00:00Z"]


@pytest.mark.parametrize("path", [TIMESERIES, ACTIVE])
async def test_a_compared_range_before_all_times_is_empty(reader: Reader, path: str):
    await reader.store_twice(event(user_id="ada"))
    asked = {"interval": "month", "from": "1900-01-01", "to": "1920-12-31", "compare": "previous"}
    answer = await reader.as_sent(path, **asked)
    assert answer["previous"]["points"] == []
