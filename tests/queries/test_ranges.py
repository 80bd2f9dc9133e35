"""Buckets against a second calculation (`clocks.py`), for instants near what clocks do to a day."""

import os
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import pytest

from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.queries.filters import Bind
from nealytics.queries.ranges import (
    bucket_ms,
    cut_by,
    days_of,
    each_start,
    local_text,
    starts,
)
from nealytics.queries.time_bounds import TIMESTAMP_MS_MAX, TIMESTAMP_MS_MIN
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.queries.clocks import HOUR_MS, TRICKY, midnight, ms_of, shown, start_of

INTERVALS = ["minute", "hour", "day", "week", "month"]


def instants_about(day: str, seed: str) -> list[int]:
    """Instants of the days around a date, more of them close by, many on the second and some beside it."""
    chance = random.Random(seed)
    return [
        midnight(day)
        + chance.choice((20, 40, 400, 2_000)) * HOUR_MS * chance.randrange(-100, 100) // 100
        + chance.choice((0, 0, 60_000, 1_800_000)) * chance.randrange(60)
        + chance.choice((0, 0, -1, 1, chance.randrange(HOUR_MS)))
        for _ in range(200)
    ]


@pytest.mark.parametrize("interval", ["hour", "day", "week", "month"])
@pytest.mark.parametrize(("zone", "day"), TRICKY)
def test_every_bucket_that_a_range_touches_is_listed_once(zone: str, day: str, interval: str):
    chance = random.Random(zone + day)
    for width_h in (1, 30, 70):
        from_ms = midnight(day) + chance.randrange(-40 * HOUR_MS, 40 * HOUR_MS)
        to_ms = from_ms + width_h * HOUR_MS
        every_minute = {*range(from_ms, to_ms, 60_000), to_ms}
        touched = sorted({start_of(interval, ms, zone) for ms in every_minute})
        assert starts(interval, from_ms, to_ms, zone) == touched


@pytest.mark.parametrize(
    ("zone", "change"),
    [
        ("Africa/Monrovia", "1972-01-07T00:44:30+00:00"),
        ("Europe/Dublin", "1916-10-01T02:25:21+00:00"),
        ("Australia/Lord_Howe", "2024-04-06T15:00:00+00:00"),
    ],
)
def test_a_minute_ends_where_the_offset_changes(zone: str, change: str):
    change_ms = ms_of(datetime.fromisoformat(change))
    from_ms, to_ms = change_ms - 150_500, change_ms + 150_500
    touched = sorted({start_of("minute", ms, zone) for ms in (*range(from_ms, to_ms, 500), to_ms)})
    assert change_ms in touched
    assert starts("minute", from_ms, to_ms, zone) == touched


def test_a_long_range_has_all_its_buckets_and_they_come_one_by_one():
    decade = midnight("2015-01-01"), midnight("2025-01-01") - 1
    assert len(starts("day", *decade, "Europe/Berlin")) == 3_654
    assert len(starts("day", *decade)) == 3_653
    assert len(starts("week", *decade, "America/Sao_Paulo")) == 523
    assert len(starts("month", *decade, "Asia/Kathmandu")) in (120, 121)
    assert len(starts("hour", *decade)) == 24 * 3_653
    always = each_start("minute", TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX, "Europe/Berlin")
    assert len(list(islice(always, 1_000))) == 1_000


def test_an_instant_alone_is_in_one_bucket():
    ms = midnight("2024-03-31")
    for interval in INTERVALS:
        for zone in (None, "Europe/Berlin"):
            assert starts(interval, ms, ms, zone) == [start_of(interval, ms, zone)]


def test_a_day_that_never_was_is_no_bucket():
    days = starts("day", midnight("2011-12-29"), midnight("2012-01-01"), "Pacific/Apia")
    assert [local_text(ms, "Pacific/Apia") for ms in days] == [
        "2011-12-28T00:00:00-10:00",
        "2011-12-29T00:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
        "2012-01-01T00:00:00+14:00",
    ]


def test_the_hour_that_is_shown_twice_is_two_buckets():
    hours = starts("hour", midnight("2024-10-27"), midnight("2024-10-27") + 2 * HOUR_MS, "Europe/Berlin")
    assert [local_text(ms, "Europe/Berlin") for ms in hours] == [
        "2024-10-27T02:00:00+02:00",
        "2024-10-27T02:00:00+01:00",
        "2024-10-27T03:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2024-03-30T23:00:00+00:00", None, "2024-03-30T23:00:00Z"),
        ("2024-03-30T23:00:00+00:00", "UTC", "2024-03-30T23:00:00+00:00"),
        ("2024-03-30T23:00:00+00:00", "Europe/Berlin", "2024-03-31T00:00:00+01:00"),
        ("2018-11-04T03:00:00+00:00", "America/Sao_Paulo", "2018-11-04T01:00:00-02:00"),
        ("2024-03-30T18:30:00+00:00", "Asia/Kolkata", "2024-03-31T00:00:00+05:30"),
        ("1971-06-01T00:44:30+00:00", "Africa/Monrovia", "1971-06-01T00:00:00-00:44:30"),
    ],
)
def test_a_bucket_is_written_with_the_offset_of_its_start(text: str, zone: str | None, expected: str):
    ms = ms_of(datetime.fromisoformat(text))
    assert local_text(ms, zone) == expected
    assert ms_of(datetime.fromisoformat(expected)) == ms


@pytest.mark.parametrize(("zone", "day"), TRICKY)
def test_days_are_numbered_one_after_the_other(zone: str, day: str):
    range_ = midnight(day) - 100 * HOUR_MS, midnight(day) + 100 * HOUR_MS
    days = days_of(zone, *range_)
    every = starts("day", *range_, zone)
    first = days.number(every[0])
    for n, ms in enumerate(every):
        assert days.number(ms) == first + n
        assert days.start(first + n) == ms


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize(("zone", "day"), TRICKY)
def test_a_bucket_is_whole_if_the_range_has_its_start_and_its_end(zone: str, day: str, interval: str):
    chance = random.Random(zone + day + interval)
    for width_h in (3, 100, 2_000):
        from_ms = midnight(day) - chance.randrange(width_h * HOUR_MS)
        every = starts(interval, from_ms, from_ms + width_h * HOUR_MS, zone)
        first, before_last, last = every[0], every[-2:][0], every[-1]
        is_cut = cut_by(interval, zone, first, last - 1)
        assert [is_cut(start) for start in every] == [False] * (len(every) - 1) + [True]
        is_cut = cut_by(interval, zone, first + 1, last - 2)
        assert {start for start in every if is_cut(start)} == {first, before_last, last}


def test_a_bucket_that_now_holds_or_that_has_not_begun_is_cut():
    noon = midnight("2024-06-15") + 12 * HOUR_MS
    is_cut = cut_by("day", "Europe/Berlin", noon - 240 * HOUR_MS, noon)
    today = midnight("2024-06-15") - 2 * HOUR_MS
    assert [is_cut(today + days * 24 * HOUR_MS) for days in (-1, 0, 1)] == [False, True, True]


def test_a_machine_without_a_time_zone_database_knows_all_zones():
    """As in a slim image. `zoneinfo` then takes the package tzdata."""
    code = (
        "from zoneinfo import available_timezones\n"
        "from nealytics.queries.ranges import local_text, starts\n"
        "(start,) = starts('day', 1711839600000, 1711839600000, 'Europe/Berlin')\n"
        "print(len(available_timezones()) > 400, local_text(start, 'Europe/Berlin'))"
    )
    environment = {**os.environ, "PYTHONTZPATH": ""}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert printed.stdout == "True 2024-03-31T00:00:00+01:00\n", printed.stderr


def test_every_value_is_bound_and_an_interval_that_is_not_ours_is_no_sql():
    bind = Bind()
    sql = bucket_ms("day", "Europe/Berlin", bind, midnight("2024-01-01"), midnight("2024-12-31"))
    assert "Europe/Berlin" not in sql
    assert set(re.findall(r"\{(\w+):Array\(Int64\)\}", sql)) == set(bind.values)
    with pytest.raises(KeyError):
        bucket_ms("1), sleep(3", None, Bind(), 0, 1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("ranges")) as engine:
        yield engine


@pytest.fixture
async def clickhouse(engine: RunningEngine) -> AsyncIterator[ClickHouseClient]:
    async with ClickHouseClient(endpoint_of(engine.config), engine.config.clickhouse) as client:
        await client.command("CREATE DATABASE IF NOT EXISTS nealytics_core")
        yield client


async def asked(
    clickhouse: ClickHouseClient, instants: list[int], select: str, bind: Bind
) -> list[list[Any]]:
    """`select` for each of the instants as the timestamp of an event, in their order."""
    at = bind(tuple(instants))
    sql = (
        f"SELECT {select} FROM (SELECT fromUnixTimestamp64Milli(at, 'UTC') AS timestamp, nr FROM (SELECT 1)"
        f" ARRAY JOIN {at} AS at, arrayEnumerate({at}) AS nr) ORDER BY nr"
    )
    return await clickhouse.query(sql, bind.values)


@needs_engine
@pytest.mark.engine
class TestOnTheEngine:
    @pytest.mark.parametrize(("zone", "day"), [*TRICKY, (None, "2024-03-31"), (None, "1931-01-01")])
    async def test_an_event_is_counted_in_the_bucket_that_a_clock_shows(
        self, clickhouse: ClickHouseClient, zone: str | None, day: str
    ):
        instants = instants_about(day, f"{zone} {day}")
        bind = Bind()
        range_ = min(instants), max(instants)
        columns = [bucket_ms(interval, zone, bind, *range_) for interval in INTERVALS]
        days = days_of(zone, *range_)
        rows = await asked(clickhouse, instants, f"{', '.join(columns)}, {days.sql(bind)}", bind)
        for ms, row in zip(instants, rows, strict=True):
            expected = [start_of(interval, ms, zone) for interval in INTERVALS]
            assert row[:-1] == expected, shown(ms, zone)
            assert row[-1] == days.number(row[2])
            assert days.start(row[-1]) == row[2]
        for interval, column in zip(INTERVALS[1:], list(zip(*rows, strict=True))[1:-1], strict=True):
            assert set(column) <= set(starts(interval, *range_, zone))

    async def test_one_query_may_reach_over_all_times(self, clickhouse: ClickHouseClient):
        """The offsets of four centuries go with it."""
        chance = random.Random(3)
        instants = [chance.randrange(TIMESTAMP_MS_MIN + 24 * HOUR_MS, TIMESTAMP_MS_MAX) for _ in range(300)]
        for zone in ("Europe/Berlin", "Africa/Casablanca", None):
            bind = Bind()
            columns = [bucket_ms(i, zone, bind, TIMESTAMP_MS_MIN, TIMESTAMP_MS_MAX) for i in INTERVALS]
            rows = await asked(clickhouse, instants, ", ".join(columns), bind)
            for ms, row in zip(instants, rows, strict=True):
                assert row == [start_of(interval, ms, zone) for interval in INTERVALS]

    async def test_an_instant_may_be_computed(self, clickhouse: ClickHouseClient):
        bind = Bind()
        ms = midnight("2024-07-01") - 1
        sql = bucket_ms("month", "Europe/Berlin", bind, ms - HOUR_MS, ms, of=f"({bind(ms)} + 0)")
        ((found,),) = await clickhouse.query(f"SELECT {sql}", bind.values)
        assert found == start_of("month", ms, "Europe/Berlin")
