"""Time series and actives over the real engine, against plain Python."""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from nealytics.event import Event
from nealytics.timestamps import iso_utc
from tests.http.reader import ACTIVE, NOW, SUMMARY, TIMESERIES, Reader, event, ms, on_the_engine
from tests.queries.clocks import HOUR_MS, LONG_DAYS, SHORT_DAYS, midnight, shown, start_of, start_of_dates

DAY_MS = 24 * HOUR_MS

# Where a clock does something strange, and when.
CLOCKS = [
    (None, "2024-06-15"),
    ("UTC", "2024-02-29"),
    ("Europe/Berlin", "2024-03-31"),
    ("Europe/Berlin", "2023-10-29"),
    ("Europe/Berlin", "2024-10-27"),  # of which nothing has come yet
    ("America/St_Johns", "2009-11-01"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("Asia/Kolkata", "2024-03-31"),
    ("Asia/Kathmandu", "1986-01-01"),
    ("Asia/Beirut", "2024-03-31"),
    ("Africa/Cairo", "2024-04-26"),
    ("Africa/Monrovia", "1972-01-07"),
    ("Australia/Lord_Howe", "2024-04-07"),
    ("Australia/Lord_Howe", "2023-10-01"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Kwajalein", "1993-08-21"),
]

# What is asked about a day: an interval, and how long a range about that day.
QUESTIONS = [("minute", 1), ("hour", 40), ("day", 500), ("week", 1_500), ("month", 4_000)]

GROUPS = {
    "event_type": lambda one: one.event_type,
    "item_id": lambda one: one.item_id or None,
    "user_id": lambda one: one.user_id or None,
    "session_id": lambda one: one.session_id,
    "tenant_id": lambda one: one.tenant_id,
    "meta:plan": lambda one: PLANS[one.metadata_json],
}

# Metadata as it is stored → the text by which it is grouped.
PLANS: dict[bytes, str | None] = {
    b"{}": None,
    b'{"plan": null}': None,
    b'{"plan": ""}': "",
    b'{"plan": "pro"}': "pro",
    b'{"plan": "\\u00e9"}': "é",
    b'{"plan": 7}': "7",
}


def some_events(about_ms: int, seed: str, count: int = 250) -> list[Event]:
    """Of weeks and hours about an instant, many of the same users and sessions; of two tenants."""
    chance = random.Random(seed)
    return [
        Event(
            event_id=UUID(int=chance.getrandbits(128), version=4).int,
            project_id="shop",
            tenant_id=chance.choice(["acme", "acme", "acme", "globex"]),
            session_id=f"s{chance.randrange(12)}",
            user_id=chance.choice([None, "", *(f"u{n}" for n in range(8))]),
            event_type=chance.choice(["view", "view", "click", "café"]),
            item_id=chance.choice([None, "", "/", "/shop", "/漢字"]),
            metadata_json=chance.choice(list(PLANS)),
            timestamp_ms=about_ms
            + chance.choice((1, 20, 200, 1_000)) * HOUR_MS * chance.randrange(-100, 101) // 100
            + chance.choice((0, 0, 1, -1, chance.randrange(HOUR_MS))),
        )
        for _ in range(count)
    ]


def text_of(bucket: int, zone: str | None) -> str:
    return iso_utc(bucket) if zone is None else shown(bucket, zone).isoformat()


def within(events: Iterable[Event], from_ms: int, to_ms: int) -> list[Event]:
    return [one for one in events if from_ms <= one.timestamp_ms <= to_ms]


def every_bucket(interval: str, from_ms: int, to_ms: int, zone: str | None, now: int = ms(NOW)) -> list[int]:
    """Those of the range up to now."""
    to_ms = min(to_ms, now)
    if to_ms < from_ms:
        return []
    step_ms = {"minute": 5_000, "hour": 60_000}.get(interval, HOUR_MS // 2)
    return sorted({start_of(interval, at, zone) for at in (*range(from_ms, to_ms, step_ms), to_ms)})


def marked(bucket: int, interval: str, from_ms: int, to_ms: int, zone: str | None) -> dict[str, bool]:
    """Whether a point is of less than its interval: it also has what comes after the range, or after now."""
    after = start_of(interval, min(to_ms, ms(NOW)) + 1, zone)
    return {"partial": True} if bucket < from_ms or after <= bucket else {}


def points_of(
    events: list[Event],
    interval: str,
    from_ms: int,
    to_ms: int,
    zone: str | None,
    group: str | None,
    fill: bool,
) -> list[dict[str, Any]]:
    counts: dict[tuple[int, str | None], int] = defaultdict(int)
    for one in within(events, from_ms, to_ms):
        value = GROUPS[group](one) if group else None
        counts[start_of(interval, one.timestamp_ms, zone), value] += 1
    if fill:
        values = {value for _, value in counts} if group else {None}
        for bucket in every_bucket(interval, from_ms, to_ms, zone):
            for value in values:
                counts[bucket, value] += 0
    return [
        {
            "bucket": text_of(bucket, zone),
            **marked(bucket, interval, from_ms, to_ms, zone),
            **({} if value is None else {"series": value}),
            "count": counts[bucket, value],
        }
        for bucket, value in sorted(counts, key=lambda key: (key[0], key[1] is None, (key[1] or "").encode()))
    ]


def range_of(from_ms: int, to_ms: int) -> dict[str, str]:
    return {"from": iso_utc(from_ms), "to": iso_utc(to_ms)}


def zoned(zone: str | None) -> dict[str, str]:
    return {"tz": zone} if zone else {}


def who(one: Event, by: str) -> str | None:
    return (one.user_id or None) if by == "user" else one.session_id


def different(events: Iterable[Event], by: str) -> int:
    return len({who(one, by) for one in events} - {None})


class TestTimeSeries:
    pytestmark = on_the_engine

    @pytest.mark.parametrize(("zone", "day"), CLOCKS)
    async def test_every_question_has_the_answer_of_plain_python(
        self, reader: Reader, zone: str | None, day: str
    ):
        chance = random.Random(f"{zone} {day}")
        events = some_events(midnight(day), f"{zone} {day}")
        await reader.store_twice(*events)
        mine = [one for one in events if one.tenant_id == "acme"]
        for interval, hours in QUESTIONS:
            from_ms = midnight(day) - chance.randrange(hours * HOUR_MS)
            to_ms = from_ms + hours * HOUR_MS + chance.randrange(-999, 999)
            for fill in (False, True):
                group = chance.choice([None, *GROUPS])
                expected = points_of(mine, interval, from_ms, to_ms, zone, group, fill)
                answer = await reader.answer(
                    TIMESERIES,
                    interval=interval,
                    fill=str(fill).lower(),
                    **({"groupBy": group} if group else {}),
                    **zoned(zone),
                    **range_of(from_ms, to_ms),
                )
                assert answer["points"] == expected, (interval, group, fill)
                assert answer["totalCount"] == len(within(mine, from_ms, to_ms))
                assert answer.get("tz") == zone
                assert "warnings" not in answer

    @pytest.mark.parametrize("group", GROUPS)
    @pytest.mark.parametrize("fill", [False, True])
    async def test_events_can_be_grouped_by_any_value(self, reader: Reader, group: str, fill: bool):
        events = some_events(ms(NOW), group)
        await reader.store_twice(*events)
        mine = [one for one in events if one.tenant_id == "acme"]
        from_ms, to_ms = ms(NOW) - 20 * DAY_MS, ms(NOW) + 20 * DAY_MS
        answer = await reader.answer(
            TIMESERIES, interval="week", groupBy=group, fill=str(fill), **range_of(from_ms, to_ms)
        )
        assert answer["points"] == points_of(mine, "week", from_ms, to_ms, None, group, fill)

    async def test_a_question_of_the_c_sharp_engine_has_its_answer(self, reader: Reader):
        """No field more, but the common names, and `partial` where a point is of less than its interval."""
        await reader.store_twice(event(NOW - timedelta(days=1)))
        asked = {"interval": "day", "groupBy": "event_type"}
        status, body, _ = await reader.get(TIMESERIES, **asked, **{"from": "2024-06-14", "to": "2024-06-14"})
        assert status == 200
        assert list(body) == ["projectId", "tenantId", "from", "to", "interval", "totalCount", "points"]
        assert [list(point) for point in body["points"]] == [["bucket", "series", "count"]]
        _, body, _ = await reader.get(TIMESERIES, **asked)
        assert [list(point) for point in body["points"]] == [["bucket", "partial", "series", "count"]]

    async def test_without_events_filling_gives_zeros_and_no_series(self, reader: Reader):
        answer = await reader.answer(TIMESERIES, fill="true")
        assert [point["count"] for point in answer["points"]] == [0] * 25
        assert (answer["points"][0], answer["points"][-1]["bucket"]) == (
            {"bucket": "2024-06-14T12:00:00Z", "count": 0},
            "2024-06-15T12:00:00Z",
        )
        assert (await reader.answer(TIMESERIES, fill="true", groupBy="event_type"))["points"] == []

    async def test_nothing_is_filled_after_now_and_what_goes_on_is_partial(self, reader: Reader):
        await reader.store_twice(event(NOW - timedelta(days=1)), event())
        asked = {"interval": "day", "fill": "true", "from": "2024-06-13T06:00", "to": "2024-06-30"}
        answer = await reader.answer(TIMESERIES, **asked)
        assert answer["points"] == [
            {"bucket": "2024-06-13T00:00:00Z", "partial": True, "count": 0},
            {"bucket": "2024-06-14T00:00:00Z", "count": 1},
            {"bucket": "2024-06-15T00:00:00Z", "partial": True, "count": 1},
        ]
        assert answer["to"] == "2024-06-30T23:59:59.999Z"
        month = {"interval": "month", "fill": "true", "from": "2024-05-01", "to": "2024-12-31"}
        assert (await reader.answer(TIMESERIES, **month))["points"] == [
            {"bucket": "2024-05-01T00:00:00Z", "count": 0},
            {"bucket": "2024-06-01T00:00:00Z", "partial": True, "count": 2},
        ]
        assert (await reader.answer(TIMESERIES, fill="true", **{"from": "2024-06-16", "to": "2024-06-17"}))[
            "points"
        ] == []

    async def test_an_event_of_a_clock_that_is_ahead_has_its_point(self, reader: Reader):
        await reader.store_twice(event(), event(NOW + timedelta(days=2), event_type="click"))
        asked = {"interval": "day", "fill": "true", "from": "2024-06-15", "to": "2024-06-20"}
        assert (await reader.answer(TIMESERIES, groupBy="event_type", **asked))["points"] == [
            {"bucket": "2024-06-15T00:00:00Z", "partial": True, "series": "click", "count": 0},
            {"bucket": "2024-06-15T00:00:00Z", "partial": True, "series": "view", "count": 1},
            {"bucket": "2024-06-17T00:00:00Z", "partial": True, "series": "click", "count": 1},
        ]

    @pytest.mark.parametrize(("zone", "day"), [*LONG_DAYS, *SHORT_DAYS])
    async def test_each_local_day_has_its_events_whatever_the_clocks_do(
        self, reader: Reader, zone: str, day: str
    ):
        """The day, asked for by its date, is the bucket of a longer range; and no event is of no day."""
        events = [
            event(datetime.fromtimestamp((midnight(day) + n * 600_000) / 1000, UTC))
            for n in range(-6 * 36, 6 * 60)
        ]
        await reader.store_twice(*events)
        days = [str(date.fromisoformat(day) + timedelta(days=n)) for n in (-1, 0, 1)]
        expected = {d: sum(str(shown(one.timestamp_ms, zone).date()) == d for one in events) for d in days}
        assert 22 * 6 < min(expected.values()) < max(expected.values()) < 26 * 6
        longer = await reader.answer(TIMESERIES, interval="day", tz=zone, **{"from": days[0], "to": days[-1]})
        assert {point["bucket"][:10]: point["count"] for point in longer["points"]} == expected
        for one_day in days:
            asked = {"tz": zone, "from": one_day, "to": one_day}
            assert (await reader.answer(SUMMARY, **asked))["events"] == expected[one_day]
            by_time = {**asked, "from": f"{one_day}T00:00", "to": f"{one_day}T23:59:59.999"}
            assert (await reader.answer(SUMMARY, **by_time))["events"] == expected[one_day]
            (point,) = (await reader.answer(TIMESERIES, interval="day", **asked))["points"]
            assert point["count"] == expected[one_day]

    async def test_sessions_and_users_of_different_tenants_are_different_series(self, reader: Reader):
        await reader.store_twice(
            event(user_id="ada"),
            event(user_id="ada", tenant_id="globex"),
            event(user_id="ada", tenant_id="globex"),
            event(),
            event(tenant_id="globex"),
            event(user_id="ada", project_id="blog"),
        )
        this_hour = {"bucket": "2024-06-15T12:00:00Z", "partial": True}

        async def points(group: str, **query: str) -> list[dict[str, Any]]:
            answer = await reader.answer(TIMESERIES, tenant_id=None, groupBy=group, **query)
            assert "tenantId" not in answer
            assert all({**point, **this_hour} == point for point in answer["points"][-5:])
            return [{k: v for k, v in point.items() if k not in this_hour} for point in answer["points"]]

        by_user = [
            {"series": "ada", "tenantId": "acme", "count": 1},
            {"series": "ada", "tenantId": "globex", "count": 2},
            {"count": 2},
        ]
        assert await points("user_id") == by_user
        hour = {"from": "2024-06-15T12:00:00Z", "to": "2024-06-15T12:59:59Z"}
        assert await points("user_id", fill="true", **hour) == by_user
        assert await points("session_id") == [
            {"series": "s1", "tenantId": "acme", "count": 2},
            {"series": "s1", "tenantId": "globex", "count": 3},
        ]
        assert await points("tenant_id") == [
            {"series": "acme", "count": 2},
            {"series": "globex", "count": 3},
        ]
        assert await points("event_type") == [{"series": "view", "count": 5}]

    async def test_anonymous_events_of_all_tenants_are_one_series_when_filled(self, reader: Reader):
        await reader.store_twice(event(), event(NOW - timedelta(hours=1), tenant_id="globex"))
        answer = await reader.answer(TIMESERIES, tenant_id=None, groupBy="user_id", fill="true")
        assert [point["count"] for point in answer["points"]] == [0] * 23 + [1, 1]

    async def test_a_limit_that_nobody_asked_for_never_cuts(self, reader: Reader):
        """The page of these tests takes 1,000 points."""
        await reader.store_twice(*(event(session_id=f"s{n:04}") for n in range(1_001)))
        status, body, _ = await reader.get(TIMESERIES, groupBy="session_id")
        assert (status, body["code"]) == (422, "result_too_large")
        answer = await reader.answer(TIMESERIES, groupBy="session_id", limit="1000")
        assert answer["totalCount"] == len(answer["points"]) == 1_000
        assert [warning["code"] for warning in answer["warnings"]] == ["truncated"]
        assert answer["points"][-1]["series"] == "s0999"

    async def test_an_asked_for_limit_cuts_what_was_filled_and_says_so(self, reader: Reader):
        await reader.store_twice(event(), event(event_type="click"))
        answer = await reader.answer(TIMESERIES, groupBy="event_type", fill="true", limit="49")
        assert [point["series"] for point in answer["points"]] == ["click", "view"] * 24 + ["click"]
        assert [warning["code"] for warning in answer["warnings"]] == ["truncated"]
        assert answer["totalCount"] == 1
        assert "warnings" not in await reader.answer(
            TIMESERIES, groupBy="event_type", fill="true", limit="50"
        )

    async def test_more_points_than_an_answer_may_have_are_not_filled(self, reader: Reader):
        await reader.store_twice(*(event(session_id=f"s{n}") for n in range(41)))
        for query in (
            {"interval": "minute"},
            {"groupBy": "session_id"},  # 41 series of 25 hours
            {"groupBy": "session_id", "limit": "10"},
            {"from": "1900-01-01", "to": "2299-01-01"},
        ):
            status, body, _ = await reader.get(TIMESERIES, fill="true", **query)
            assert (status, body["code"], body["field"]) == (400, "invalid_parameter", "fill")
        sessions = {"groupBy": "session_id", "filter": "session_id:ne:s0"}
        assert len((await reader.answer(TIMESERIES, fill="true", **sessions))["points"]) == 1_000

    async def test_a_range_of_all_times_is_answered_in_any_zone(self, reader: Reader):
        await reader.store_twice(
            event(datetime.fromisoformat("1931-07-01T00:10:00+00:00")),
            event(datetime.fromisoformat("2200-07-01T00:10:00+00:00")),
        )
        for zone, first, second in (
            ("Europe/Amsterdam", "1931-07-01T01:00:00+01:00", "2200-07-01T02:00:00+02:00"),
            ("America/New_York", "1931-06-30T20:00:00-04:00", "2200-06-30T20:00:00-04:00"),
        ):
            answer = await reader.answer(TIMESERIES, tz=zone, **{"from": "0001-01-01", "to": "9999-12-31"})
            found = [datetime.fromisoformat(point["bucket"]) for point in answer["points"]]
            expected = [start_of("hour", ms(datetime.fromisoformat(text)), zone) for text in (first, second)]
            assert [ms(at) for at in found] == expected


class TestActive:
    pytestmark = on_the_engine

    @pytest.mark.parametrize(("zone", "day"), CLOCKS)
    async def test_days_weeks_and_months_are_those_of_plain_python(
        self, reader: Reader, zone: str | None, day: str
    ):
        chance = random.Random(f"{zone} {day} active")
        events = some_events(midnight(day), f"{zone} {day} active")
        await reader.store_twice(*events)
        mine = [one for one in events if one.tenant_id == "acme"]
        for interval in ("day", "week", "month"):
            for by in ("user", "session"):
                from_ms = midnight(day) - chance.randrange(DAY_MS * 40)
                to_ms = from_ms + chance.randrange(DAY_MS * 60)
                stickiness = interval != "day" and chance.random() < 0.8
                expected = []
                by_bucket = defaultdict(list)
                for one in within(mine, from_ms, to_ms):
                    by_bucket[start_of(interval, one.timestamp_ms, zone)].append(one)
                for bucket in sorted(by_bucket):
                    here = by_bucket[bucket]
                    point: dict[str, Any] = {
                        "bucket": text_of(bucket, zone),
                        **marked(bucket, interval, from_ms, to_ms, zone),
                        "activeCount": different(here, by),
                    }
                    if stickiness:
                        # Days that have not come do not count, but up to whose clock is ahead.
                        now = max(ms(NOW), *(one.timestamp_ms for one in here))
                        days = every_bucket("day", from_ms, to_ms, zone, now)
                        of_bucket = [d for d in days if start_of(interval, max(d, from_ms), zone) == bucket]
                        each = [
                            different((e for e in here if start_of("day", e.timestamp_ms, zone) == d), by)
                            for d in of_bucket
                        ]
                        average = sum(each) / len(each)
                        point["stickiness"] = (
                            pytest.approx(average / point["activeCount"]) if point["activeCount"] else 0
                        )
                    expected.append(point)
                for mode in ("exact", "approx"):
                    answer = await reader.answer(
                        ACTIVE,
                        interval=interval,
                        by=by,
                        mode=mode,
                        **({"stickiness": "true"} if stickiness else {}),
                        **zoned(zone),
                        **range_of(from_ms, to_ms),
                    )
                    assert answer["points"] == expected, (interval, by, mode)

    @pytest.mark.parametrize(("zone", "day"), CLOCKS)
    async def test_rolling_days_are_those_of_plain_python(self, reader: Reader, zone: str | None, day: str):
        """For so few, an estimate is exact."""
        chance = random.Random(f"{zone} {day} rolling")
        events = some_events(midnight(day), f"{zone} {day} rolling", 120)
        await reader.store_twice(*events)
        mine = [one for one in events if one.tenant_id == "acme"]
        for rolling in (1, 2, 7, chance.randrange(8, 90), 90):
            by = chance.choice(["user", "session"])
            from_ms = midnight(day) - chance.randrange(DAY_MS * 40)
            to_ms = from_ms + chance.randrange(DAY_MS * 60)
            expected = []
            coming = {
                start_of("day", one.timestamp_ms, zone)
                for one in within(mine, max(from_ms, ms(NOW)), to_ms)
                if who(one, by) is not None
            }
            for start in sorted({*every_bucket("day", from_ms, to_ms, zone), *coming}):
                this = shown(start, zone).date()
                active = different((e for e in within(mine, from_ms, to_ms) if date_of(e, zone) == this), by)
                looked_at = [e for e in mine if e.timestamp_ms <= to_ms]
                first = days_before(this, rolling - 1, zone)
                count = different((e for e in looked_at if first <= date_of(e, zone) <= this), by)
                expected.append(
                    {
                        "bucket": text_of(start, zone),
                        **marked(start, "day", from_ms, to_ms, zone),
                        "activeCount": active,
                        "rollingCount": count,
                        "stickiness": active / count if count else 0,
                    }
                )
            for mode in ("exact", "approx"):
                answer = await reader.answer(
                    ACTIVE, rolling=str(rolling), by=by, mode=mode, **zoned(zone), **range_of(from_ms, to_ms)
                )
                assert answer["points"] == expected, (rolling, by, mode)
                assert answer["rolling"] == rolling

    async def test_a_question_of_the_c_sharp_engine_has_its_answer(self, reader: Reader):
        """No field more, but the common names, and `partial` where a point is of less than its interval."""
        await reader.store_twice(event(NOW - timedelta(days=1), user_id="ada"))
        _, body, _ = await reader.get(ACTIVE, **{"from": "2024-06-14", "to": "2024-06-14"})
        assert list(body) == ["projectId", "tenantId", "from", "to", "interval", "by", "mode", "points"]
        assert [list(point) for point in body["points"]] == [["bucket", "activeCount"]]
        _, body, _ = await reader.get(ACTIVE)
        assert [list(point) for point in body["points"]] == [["bucket", "partial", "activeCount"]]

    async def test_users_and_sessions_of_different_tenants_are_different_people(self, reader: Reader):
        await reader.store_twice(
            event(user_id="ada"),
            event(user_id="ada", tenant_id="globex"),
            event(NOW - timedelta(days=3), user_id="ada", tenant_id="globex"),
            event(NOW - timedelta(days=3), user_id="ada", project_id="blog"),
        )
        for by in ("user", "session"):
            for mode in ("exact", "approx"):
                asked = {"by": by, "mode": mode, "from": "2024-06-12", "to": "2024-06-15T23:00:00Z"}
                answer = await reader.answer(ACTIVE, tenant_id=None, **asked)
                assert [point["activeCount"] for point in answer["points"]] == [1, 2]
                answer = await reader.answer(ACTIVE, tenant_id=None, rolling="4", **asked)
                assert [point["rollingCount"] for point in answer["points"]] == [1, 1, 1, 2]
                answer = await reader.answer(
                    ACTIVE, tenant_id=None, interval="month", stickiness="true", **asked
                )
                assert answer["points"] == [
                    {
                        "bucket": "2024-06-01T00:00:00Z",
                        "partial": True,
                        "activeCount": 2,
                        "stickiness": 3 / 4 / 2,
                    }
                ]

    async def test_rolling_days_pass_over_a_date_that_never_was(self, reader: Reader):
        """In Apia the 29th was followed by the 31st: two days up to the 31st are these two."""
        await reader.store_twice(
            event(datetime.fromisoformat("2011-12-29T12:00:00-10:00"), user_id="ada"),
            event(datetime.fromisoformat("2011-12-31T12:00:00+14:00"), user_id="bob"),
        )
        for mode in ("exact", "approx"):
            answer = await reader.answer(
                ACTIVE,
                rolling="2",
                mode=mode,
                tz="Pacific/Apia",
                **{"from": "2011-12-29", "to": "2012-01-02"},
            )
            assert [(p["bucket"][:10], p["rollingCount"]) for p in answer["points"]] == [
                ("2011-12-29", 1),
                ("2011-12-31", 2),
                ("2012-01-01", 1),
                ("2012-01-02", 0),
            ]

    async def test_rolling_and_stickiness_end_now(self, reader: Reader):
        await reader.store_twice(event(NOW - timedelta(days=5), user_id="ada"), event(user_id="ada"))
        range_ = {"from": "2024-06-14", "to": "2024-06-30"}
        points = (await reader.answer(ACTIVE, rolling="7", **range_))["points"]
        assert points == [
            {"bucket": "2024-06-14T00:00:00Z", "activeCount": 0, "rollingCount": 1, "stickiness": 0.0},
            {
                "bucket": "2024-06-15T00:00:00Z",
                "partial": True,
                "activeCount": 1,
                "rollingCount": 1,
                "stickiness": 1.0,
            },
        ]
        month = {"interval": "month", "stickiness": "true", "from": "2024-06-01", "to": "2024-06-30"}
        (point,) = (await reader.answer(ACTIVE, **month))["points"]
        assert point["stickiness"] == pytest.approx(2 / 15)

    async def test_somebody_whose_clock_is_ahead_is_active_then(self, reader: Reader):
        await reader.store_twice(event(NOW + timedelta(days=1), user_id="ada"))
        range_ = {"from": "2024-06-15", "to": "2024-06-20"}
        points = (await reader.answer(ACTIVE, rolling="2", **range_))["points"]
        assert [(p["bucket"][:10], p["activeCount"], p["rollingCount"]) for p in points] == [
            ("2024-06-15", 0, 0),
            ("2024-06-16", 1, 1),
        ]
        week = await reader.answer(ACTIVE, interval="week", stickiness="true", **range_)
        (point,) = week["points"]
        assert (point["partial"], point["stickiness"]) == (True, 0.5)

    async def test_filters_hold_for_the_days_before_the_range_too(self, reader: Reader):
        await reader.store_twice(
            event(NOW - timedelta(days=2), user_id="ada", event_type="click"),
            event(NOW - timedelta(days=2), user_id="bob"),
            event(NOW, user_id="eve"),
        )
        answer = await reader.answer(ACTIVE, rolling="7", eventType="view", **{"from": "2024-06-15"})
        assert answer["points"] == [
            {
                "bucket": "2024-06-15T00:00:00Z",
                "partial": True,
                "activeCount": 1,
                "rollingCount": 2,
                "stickiness": 0.5,
            }
        ]

    async def test_days_without_anybody_have_a_point_when_rolling(self, reader: Reader):
        answer = await reader.answer(ACTIVE, rolling="3")
        nobody = {"partial": True, "activeCount": 0, "rollingCount": 0, "stickiness": 0.0}
        assert answer["points"] == [
            {"bucket": "2024-06-14T00:00:00Z", **nobody},
            {"bucket": "2024-06-15T00:00:00Z", **nobody},
        ]
        answer = await reader.answer(ACTIVE, rolling="3", limit="1")
        assert len(answer["points"]) == 1
        assert [warning["code"] for warning in answer["warnings"]] == ["truncated"]

    async def test_what_does_not_go_together_is_refused(self, reader: Reader):
        for query, field in (
            ({"rolling": "7", "interval": "month"}, "rolling"),
            ({"stickiness": "true", "interval": "day"}, "stickiness"),
            ({"rolling": "7", "from": "2000-01-01"}, "rolling"),
        ):
            status, body, _ = await reader.get(ACTIVE, **query)
            assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)


def date_of(one: Event, zone: str | None) -> date:
    return shown(one.timestamp_ms, zone).date()


def days_before(day: date, count: int, zone: str | None) -> date:
    """So many days of the zone's calendar back, where a date that its clocks skipped is no day."""
    while count:
        day -= timedelta(days=1)
        count -= start_of_dates(day, zone) < start_of_dates(day + timedelta(days=1), zone)
    return day
