"""Every read endpoint over somebody else's 31,106 events, held to `tests/oracle.py`.

The oracle is plain Python over the CSV and knows nothing of SQL. Answers are compared whole: every key, every
order, integers exactly. Each batch is in the table twice under two tokens and merges are stopped, as after a
retry that came later than the deduplication window; so an answer that counts a duplicate is wrong here.

Two projects hold the data:

    shop    tenant acme: the events as they are in the CSV
    mall    tenants north and south, by user: names of users and sessions occur in both, and are different
            people; some sessions are anonymous; items, numbers and nested values are there to be filtered by

The data set is not part of the repository; without it the tests say so and skip.
"""

import asyncio
import csv
import gzip
import io
import json
import math
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nealytics.clickhouse import schema
from nealytics.clickhouse.client import ClickHouseClient, endpoint_of
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.event import Event as StoredEvent
from nealytics.queries import ENDPOINTS, STREAMS
from tests import oracle
from tests.engine import RunningEngine, needs_engine, start_engine
from tests.http.reader import JWT_KEY, NOW, Reader, ms, token_of
from tests.oracle import Event, Query

ECOM = Path(os.environ.get("TEST_ECOM_CSV", Path(__file__).parents[3] / "shared" / "data" / "ecom.csv.gz"))

pytestmark = [
    needs_engine,
    pytest.mark.engine,
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not ECOM.exists(), reason=f"the ecom data set is not at {ECOM}; set TEST_ECOM_CSV to its path"
    ),
]

PATHS = {route.name: route.path for route in (*ENDPOINTS, *STREAMS)}
METADATA = ("platform", "acquisition_channel", "user_cohort", "user_lifecycle")

# The clocks of Berlin go forward in the second one, those of Sydney back in the third.
EVERYTHING = {"from": "2024-01-01", "to": "2024-06-30T23:59:59.999Z"}
MARCH = {"from": "2024-03-01", "to": "2024-03-31T21:59:59.999Z"}
ODD = {"from": "2024-04-05T09:30:00.501Z", "to": "2024-04-09T17:03:12+02:00"}
RANGES = {"everything": EVERYTHING, "march": MARCH, "odd": ODD}
FILTERS: dict[str, Query] = {
    "all": {},
    "mobile": {"filter": "meta:platform:eq:mobile"},
    "shoppers": {
        "filter": ["event_type:in:product_view,add_to_cart,cart,purchase,search", "user_id:ne:user_0007"],
        "metaKey": "user_lifecycle",
        "metaValue": "returning",
    },
}
ASKED = [
    pytest.param({**range_, **filters}, id=f"{when}-{which}")
    for when, range_ in RANGES.items()
    for which, filters in FILTERS.items()
]


def of_the_shop(number: int, row: dict[str, str]) -> Event:
    return Event(
        event_id=id_of(number),
        tenant_id="acme",
        session_id=row["session_id"],
        user_id=row["user_id"],
        event_type=row["event"],
        item_id=None,
        metadata={column: row[column] for column in METADATA},
        at=ms(datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)),
    )


def of_the_mall(number: int, row: dict[str, str]) -> Event:
    event = of_the_shop(number, row)
    user, session = int(row["user_id"][5:]), int(row["session_id"][5:])
    return event._replace(
        tenant_id=("north", "south")[user % 2],
        user_id=None if session % 7 == 0 else f"user_{user // 2}",
        session_id=f"sess_{session // 2}",
        item_id=f"/p/{number % 23}" if event.event_type in ("product_view", "add_to_cart", "cart") else None,
        metadata={
            **event.metadata,
            "cart": {"total": number % 500 / 4, "items": number % 5, "tags": ["a", number % 3]},
            "a.b:c\\d": ("1", "2.5", "x", None, 3, True)[number % 6],
        },
        at=event.at + number % 3,
    )


def id_of(number: int) -> UUID:
    """The same for the same row in every run, and in no order that anything else has."""
    return UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))


class Truth:
    """The events of a project as they are in the CSV, for the oracle."""

    def __init__(self) -> None:
        with gzip.open(ECOM, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        self.projects = {
            "shop": oracle.in_time(of_the_shop(number, row) for number, row in enumerate(rows)),
            "mall": oracle.in_time(of_the_mall(number, row) for number, row in enumerate(rows)),
        }

    def events(self, project_id: str, tenant_id: str | None) -> list[Event]:
        return [event for event in self.projects[project_id] if tenant_id in (None, event.tenant_id)]


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, truth: Truth) -> Iterator[RunningEngine]:
    with start_engine(tmp_path_factory.mktemp("ecom"), retention_days=0) as engine:
        asyncio.run(load(config_of(engine), truth))
        yield engine


def config_of(engine: RunningEngine) -> Config:
    return Config(
        server=engine.config.server,
        clickhouse=engine.config.clickhouse,
        auth=AuthConfig(jwt_key=JWT_KEY),
        query=QueryConfig(limit_max=50_000),
    )


async def load(config: Config, truth: Truth) -> None:
    async with ClickHouseClient(endpoint_of(config), config.clickhouse) as client:
        await schema.apply(client, config.clickhouse)
        await client.command("SYSTEM STOP MERGES nealytics_core.global_events")
        page = Reader(client, config)
        for project_id, events in truth.projects.items():
            for first in range(0, len(events), 10_000):
                await page.store_twice(*(stored(project_id, e) for e in events[first : first + 10_000]))
        ((count,),) = await client.query("SELECT count() FROM global_events", settings={"final": 0})
        assert count == 2 * sum(map(len, truth.projects.values()))


def stored(project_id: str, event: Event) -> StoredEvent:
    return StoredEvent(
        event_id=event.event_id.int,
        project_id=project_id,
        tenant_id=event.tenant_id,
        session_id=event.session_id,
        user_id=event.user_id,
        event_type=event.event_type,
        item_id=event.item_id,
        metadata_json=json.dumps(event.metadata).encode(),
        timestamp_ms=event.at,
    )


class Page:
    """A reader of the loaded table that compares what it gets with what the oracle says."""

    def __init__(self, reader: Reader, truth: Truth) -> None:
        self.reader = reader
        self.truth = truth

    async def agrees(self, name: str, query: Query, project_id: str = "shop", tenant_id: Any = "acme") -> Any:
        """Asks, compares, and returns the answer."""
        status, answer, _ = await self.reader.get(
            PATHS[name], project_id=project_id, tenant_id=tenant_id, **query
        )
        assert status == 200, (name, query, answer)
        expected = self.expected(name, query, project_id, tenant_id)
        told = {"projectId": project_id} | ({} if tenant_id is None else {"tenantId": tenant_id})
        got = {key: value for key, value in answer.items() if key != "warnings"}
        if "nextCursor" in got:
            got["nextCursor"] = ...
        found = difference(got, {**told, **expected})
        assert found is None, f"{name} {query} as {tenant_id}: {found}"
        return answer

    def expected(self, name: str, query: Query, project_id: str, tenant_id: str | None) -> dict[str, Any]:
        return oracle.answer(
            name,
            self.truth.events(project_id, tenant_id),
            query,
            project_wide=tenant_id is None,
            now_ms=ms(NOW),
        )

    async def agrees_in_the_mall(self, name: str, query: Query) -> None:
        """As either tenant, and as the owner of both."""
        for tenant_id in ("north", "south", None):
            await self.agrees(name, query, "mall", tenant_id)


def difference(got: Any, expected: Any, path: str = "answer") -> str | None:
    """Where two answers differ first; None where they do not. Only what is no integer may differ by 1e-9."""
    if isinstance(expected, dict) and isinstance(got, dict):
        if got.keys() != expected.keys():
            return f"{path} has {sorted(got)}, expected {sorted(expected)}"
        pairs = ((got[key], expected[key], f"{path}.{key}") for key in expected)
    elif isinstance(expected, list) and isinstance(got, list):
        pairs = ((one, other, f"{path}[{i}]") for i, (one, other) in enumerate(zip(got, expected)))  # noqa: B905
        found = next((found for pair in pairs if (found := difference(*pair))), None)
        return found or (
            None if len(got) == len(expected) else f"{path} has {len(got)} items, expected {len(expected)}"
        )
    elif isinstance(expected, float) and isinstance(got, int | float) and not isinstance(got, bool):
        near = math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-9)
        return None if near else f"{path} is {got!r}, expected {expected!r}"
    else:
        same = got == expected and type(got) is type(expected)
        return None if same else f"{path} is {got!r}, expected {expected!r}"
    return next((found for pair in pairs if (found := difference(*pair))), None)


@pytest.fixture
async def page(engine: RunningEngine, truth: Truth) -> AsyncIterator[Page]:
    config = config_of(engine)
    async with (
        ClickHouseClient(endpoint_of(config), config.clickhouse) as client,
        Reader(client, config) as reader,
    ):
        yield Page(reader, truth)


async def test_two_events_of_one_millisecond_are_ordered_as_clickhouse_orders_ids(page: Page):
    """What the oracle assumes of ClickHouse, asked of ClickHouse."""
    ids = [id_of(number) for number in range(500)] + [UUID(int=n << 60) for n in range(64)]
    answer = await page.reader.clickhouse.query(
        "SELECT toString(id) FROM (SELECT toUUID(arrayJoin({ids:Array(String)})) AS id) ORDER BY id",
        {"ids": [str(one) for one in ids]},
    )
    assert [UUID(text) for (text,) in answer] == sorted(ids, key=oracle.clickhouse_order)


def test_a_difference_is_found():
    expected = {"a": [{"n": 1, "share": 0.5}]}
    assert difference({"a": [{"n": 1, "share": 0.5 + 1e-12}]}, expected) is None
    others: tuple[Any, ...] = (
        {"a": [{"n": 2, "share": 0.5}]},
        {"a": [{"n": 1.0, "share": 0.5}]},
        {"a": [{"n": 1, "share": 0.5001}]},
        {"a": [{"n": 1}]},
        {"a": []},
        {"a": [{"n": 1, "share": 0.5}] * 2},
        {"a": [{"n": 1, "share": 0.5}], "b": None},
        {"a": None},
    )
    for got in others:
        assert difference(got, expected) is not None


class TestTimeline:
    @pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS.keys())
    async def test_pages_by_cursor_are_all_events_in_order_and_each_once(self, page: Page, filters: Query):
        expected = page.expected("timeline", {**filters, "limit": "100000"}, "shop", "acme")["events"]
        query = {**filters, "limit": "1999"}
        found: list[Any] = []
        while True:
            status, answer, _ = await page.reader.get(PATHS["timeline"], **query)
            assert status == 200, answer
            found += answer["events"]
            if "nextCursor" not in answer:
                break
            assert len(answer["events"]) == 1999
            query["cursor"] = answer["nextCursor"]
        assert difference(found, expected) is None

    async def test_a_cursor_neither_skips_nor_repeats_within_a_millisecond(self, page: Page):
        """Many of the mall's events share theirs; pages of three cut through them."""
        query: Query = {"limit": "3", "after": "2024-03-13", "before": "2024-03-15"}
        for tenant_id in ("north", None):
            expected = page.expected("timeline", {**query, "limit": "100000"}, "mall", tenant_id)["events"]
            found: list[Any] = []
            cursor: Query | None = {}
            while cursor is not None:
                _, answer, _ = await page.reader.get(
                    PATHS["timeline"], project_id="mall", tenant_id=tenant_id, **query, **cursor
                )
                found += answer["events"]
                cursor = {"cursor": answer["nextCursor"]} if "nextCursor" in answer else None
            assert len(expected) > 100
            assert difference(found, expected) is None

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"limit": "1"},
            {"limit": "40", "before": "2024-03-31T01:00:00+01:00"},
            {"limit": "5000", "after": "2024-05-31", "before": "2024-06-05T12:00:00.001Z"},
            {"limit": "20000", "after": "2024-03-13 10:21:14"},
            {"userId": "user_0007", "limit": "1000"},
            {"sessionId": "sess_000001"},
            {"eventType": "purchase", "filter": "timestamp:gt:2024-06-01"},
            {"filter": ["event_type:starts:ca", "meta:platform:ne:desktop"], "limit": "300"},
            {"filter": "event_type:contains:_", "metaKey": "user_cohort", "metaValue": "2024-02"},
        ],
        ids=str,
    )
    async def test_what_is_asked_for_comes_newest_first(self, page: Page, query: Query):
        await page.agrees("timeline", query)

    async def test_the_mall_s_filters(self, page: Page):
        for filters in (
            ["user_id:exists:false"],
            ["item_id:eq:/p/7", "user_id:exists"],
            ["item_id:ne:/p/7", "event_type:eq:search"],
            ["meta:cart.total:gt:100", "meta:cart.items:lt:3"],
            ["meta:cart.total:eq:12.5"],
            ["meta:cart.tags:contains:2"],
            ["meta:cart:starts:{"],
            ["meta:a\\.b\\:c\\\\d:gt:1"],
            ["meta:a\\.b\\:c\\\\d:in:1,true,x"],
            ["meta:a\\.b\\:c\\\\d:exists:false"],
            ["meta:nothing:ne:x", "tenant_id:eq:south"],
            ["tenant_id:in:north,east", "timestamp:lt:2024-02-01"],
            ["session_id:in:sess_1,sess_2,sess_3,a\\,b"],
            [f"event_id:eq:{id_of(12)}"],
        ):
            await page.agrees_in_the_mall("timeline", {"filter": filters, "limit": "500"})


class TestTimeSeries:
    @pytest.mark.parametrize("query", ASKED)
    async def test_buckets_hold_what_happened_in_them(self, page: Page, query: Query):
        for interval in ("hour", "day", "week", "month"):
            await page.agrees("timeseries", {**query, "interval": interval})
        await page.agrees("timeseries", {**query, "interval": "minute", "limit": "5000"})

    @pytest.mark.parametrize("query", ASKED)
    @pytest.mark.parametrize("group_by", ["event_type", "meta:platform"])
    async def test_series(self, page: Page, query: Query, group_by: str):
        await page.agrees("timeseries", {**query, "interval": "week", "groupBy": group_by})
        await page.agrees(
            "timeseries",
            {**query, "interval": "day", "groupBy": group_by, "fill": "true", "tz": "Asia/Tokyo"},
        )

    @pytest.mark.parametrize(
        "tz",
        [
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Sydney",
            "UTC",
            "Africa/Cairo",  # on 26 April its clocks skipped midnight
        ],
    )
    @pytest.mark.parametrize("range_", RANGES.values(), ids=RANGES.keys())
    async def test_local_time(self, page: Page, range_: Query, tz: str):
        for interval in ("hour", "day", "week", "month"):
            await page.agrees("timeseries", {**range_, "interval": interval, "tz": tz})
            await page.agrees(
                "timeseries", {**range_, **FILTERS["mobile"], "interval": interval, "tz": tz, "fill": "true"}
            )

    @pytest.mark.parametrize("tz", ["Europe/Berlin", "Africa/Cairo", "Australia/Sydney"])
    async def test_dates_alone_and_ranges_that_are_not_over(self, page: Page, tz: str):
        for range_ in (
            {"from": "2024-04-26", "to": "2024-04-26"},
            {"from": "2024-03-30", "to": "2024-04-07"},
            {"to": "2024-03-31"},
            {"from": "2024-06-01", "to": "2024-12-31"},
            {"from": "2024-07-01", "to": "2024-07-31"},
        ):
            for interval in ("hour", "day", "week", "month"):
                query = {**range_, "tz": tz, "interval": interval}
                await page.agrees("timeseries", query)
                await page.agrees("timeseries", {**query, "fill": "true"})
                await page.agrees("timeseries", {**query, "fill": "true", "groupBy": "event_type"})
            for interval in ("day", "week", "month"):
                query = {**range_, "tz": tz, "interval": interval}
                await page.agrees("active", query)
                await page.agrees("retention", query)
            await page.agrees("active", {**range_, "tz": tz, "rolling": "7"})
            month = {**range_, "tz": tz, "interval": "month", "stickiness": "true"}
            await page.agrees("active", month)

    async def test_by_default_the_last_day_by_the_hour(self, page: Page):
        await page.agrees("timeseries", {})
        await page.agrees("timeseries", {"fill": "true"})
        await page.agrees("timeseries", {"to": "2024-02-01T08:15:00Z"})

    async def test_the_mall(self, page: Page):
        for group_by in (
            "item_id",
            "user_id",
            "session_id",
            "tenant_id",
            "meta:cart.items",
            "meta:cart.tags",
        ):
            await page.agrees_in_the_mall(
                "timeseries", {**ODD, "interval": "day", "groupBy": group_by, "tz": "Europe/Berlin"}
            )


class TestSessions:
    @pytest.mark.parametrize("query", ASKED)
    async def test_every_order(self, page: Page, query: Query):
        for order in ("start", "-start", "duration", "-duration", "events", "-events"):
            await page.agrees("sessions", {**query, "order": order, "limit": "700"})
        await page.agrees("sessions", query)

    async def test_the_mall(self, page: Page):
        for query in (
            {**EVERYTHING, "limit": "20000"},
            {**MARCH, "order": "-events"},
            {**ODD, "order": "start"},
        ):
            await page.agrees_in_the_mall("sessions", query)
            await page.agrees_in_the_mall("sessions", {**query, "filter": "user_id:exists:false"})


class TestActive:
    @pytest.mark.parametrize("query", ASKED)
    @pytest.mark.parametrize("by", ["user", "session"])
    async def test_who_was_active(self, page: Page, query: Query, by: str):
        for interval in ("day", "week", "month"):
            await page.agrees("active", {**query, "interval": interval, "by": by})
            await page.agrees("active", {**query, "interval": interval, "by": by, "tz": "America/New_York"})

    @pytest.mark.parametrize("query", ASKED)
    async def test_rolling(self, page: Page, query: Query):
        await page.agrees("active", {**query, "rolling": "7"})
        await page.agrees("active", {**query, "rolling": "28", "by": "session", "tz": "Europe/Berlin"})
        await page.agrees("active", {**query, "rolling": "1", "tz": "Africa/Cairo"})

    @pytest.mark.parametrize("query", ASKED)
    async def test_stickiness(self, page: Page, query: Query):
        await page.agrees("active", {**query, "interval": "month", "stickiness": "true"})
        await page.agrees(
            "active", {**query, "interval": "week", "stickiness": "true", "tz": "Europe/Berlin"}
        )

    async def test_the_mall(self, page: Page):
        for range_ in RANGES.values():
            await page.agrees_in_the_mall("active", {**range_, "interval": "week", "stickiness": "true"})
            await page.agrees_in_the_mall("active", {**range_, "rolling": "30"})
            await page.agrees_in_the_mall("active", {**range_, "by": "session", "rolling": "90"})


class TestTop:
    @pytest.mark.parametrize("query", ASKED)
    async def test_the_most_frequent(self, page: Page, query: Query):
        for dimension in ("event_type", "user_id", "session_id", "item_id", "meta:acquisition_channel"):
            await page.agrees("top", {**query, "dimension": dimension, "limit": "30"})

    async def test_the_mall(self, page: Page):
        columns = ["item_id", "user_id", "session_id", "tenant_id"]
        for dimension in (*columns, "meta:cart.total", "meta:cart", "meta:a\\.b\\:c\\\\d"):
            await page.agrees_in_the_mall("top", {**MARCH, "dimension": dimension})


class TestSummary:
    @pytest.mark.parametrize("query", ASKED)
    async def test_a_range_and_the_one_before(self, page: Page, query: Query):
        await page.agrees("summary", query)

    async def test_every_month(self, page: Page):
        for month in range(1, 8):
            await page.agrees(
                "summary", {"from": f"2024-{month:02}-01", "to": f"2024-{month:02}-28T23:59:59.999Z"}
            )
        await page.agrees("summary", {})

    @pytest.mark.parametrize("tz", [None, "Europe/Berlin", "Australia/Sydney", "Africa/Cairo"])
    @pytest.mark.parametrize(
        "compare",
        [
            "previous",
            "previous_month",
            "previous_year",
            "2024-02-01..2024-03-31",
            "2024-05-10T10:30..2024-05-12",
        ],
    )
    async def test_any_two_ranges(self, page: Page, compare: str, tz: str | None):
        zone = {"tz": tz} if tz else {}
        for begin, end in (
            ("2024-03-01", "2024-03-31"),
            ("2024-03-31", "2024-03-31"),
            ("2024-02-29", "2024-02-29"),
            ("2024-04-01", "2024-04-30"),
            ("2024-04-20", "2024-05-05"),
            ("2024-04-05T09:30", "2024-05-31T17:03"),
            ("2024-05-30T12:00", "2024-05-31T06:00"),
        ):
            query = {"from": begin, "to": end, "compare": compare, **zone}
            await page.agrees("summary", query)
            await page.agrees("summary", {**query, **FILTERS["mobile"]})

    async def test_the_mall(self, page: Page):
        for range_ in RANGES.values():
            await page.agrees_in_the_mall("summary", range_)
            await page.agrees_in_the_mall("summary", {**range_, "filter": "item_id:exists"})


CHECKOUT = ["product_view", "add_to_cart", "cart", "shipping_details", "payment_details", "purchase"]


class TestFunnel:
    @pytest.mark.parametrize("query", ASKED)
    @pytest.mark.parametrize("by", ["user", "session"])
    async def test_from_view_to_purchase(self, page: Page, query: Query, by: str):
        # The shoppers' filter leaves out two steps: nobody gets past them.
        for window in ("90s", "10m", "1h", "1d", "30d"):
            await page.agrees("funnel", {**query, "step": CHECKOUT, "by": by, "window": window})
        await page.agrees("funnel", {**query, "step": CHECKOUT})

    async def test_of_2868_sessions_with_a_view_15_reach_the_purchase_in_order(self, page: Page):
        """Most purchases of this data skip a step or come before one, so few are at the end of the funnel."""
        for by, counts in (
            ("session", [2868, 944, 477, 194, 72, 15]),
            ("user", [598, 482, 324, 169, 69, 16]),
        ):
            answer = await page.agrees("funnel", {**EVERYTHING, "step": CHECKOUT, "by": by, "window": "1d"})
            assert [step["count"] for step in answer["steps"]] == counts

    @pytest.mark.parametrize("range_", RANGES.values(), ids=RANGES.keys())
    async def test_steps_of_one_event_type_need_as_many_events(self, page: Page, range_: Query):
        for steps in (
            ["product_view"] * 4,
            ["product_view", "search", "product_view"],
            ["search", "search", "product_view", "search"],
            ["catalog", "product_view"] * 5,
        ):
            for by in ("user", "session"):
                await page.agrees("funnel", {**range_, "step": steps, "by": by, "window": "2h"})

    @pytest.mark.parametrize("range_", RANGES.values(), ids=RANGES.keys())
    async def test_breakdown_and_step_filters(self, page: Page, range_: Query):
        query = {**range_, "step": CHECKOUT, "window": "7d"}
        await page.agrees("funnel", {**query, "breakdown": "meta:platform"})
        await page.agrees("funnel", {**query, "breakdown": "user_id", "limit": "5"})
        await page.agrees("funnel", {**query, "breakdown": "item_id", "by": "session"})
        await page.agrees(
            "funnel",
            {
                **query,
                "stepFilter": ["1:meta:platform:eq:mobile", "6:meta:platform:in:desktop,tablet"],
                "breakdown": "meta:acquisition_channel",
            },
        )

    async def test_the_mall(self, page: Page):
        for by in ("user", "session"):
            query = {**EVERYTHING, "step": CHECKOUT[:4], "by": by}
            await page.agrees_in_the_mall("funnel", query)
            await page.agrees_in_the_mall("funnel", {**query, "breakdown": "item_id"})
            await page.agrees_in_the_mall("funnel", {**query, "breakdown": "user_id", "limit": "2000"})
            await page.agrees_in_the_mall("funnel", {**query, "breakdown": "tenant_id", "window": "3d"})
            await page.agrees_in_the_mall(
                "funnel",
                {**query, "stepFilter": ["1:item_id:eq:/p/3", "2:meta:cart.total:gt:20", "2:item_id:exists"]},
            )


class TestRetention:
    @pytest.mark.parametrize("query", ASKED)
    async def test_the_triangle(self, page: Page, query: Query):
        for interval in ("day", "week", "month"):
            await page.agrees("retention", {**query, "interval": interval, "periods": "20"})
        await page.agrees("retention", query)
        await page.agrees("retention", {**query, "by": "session", "interval": "day", "tz": "Asia/Kolkata"})

    @pytest.mark.parametrize("range_", RANGES.values(), ids=RANGES.keys())
    async def test_of_named_events(self, page: Page, range_: Query):
        for tz in ("Europe/Berlin", "Africa/Cairo"):
            for interval in ("day", "week", "month"):
                query = {**range_, "interval": interval, "tz": tz, "periods": "60"}
                await page.agrees(
                    "retention", {**query, "cohortEvent": "add_to_cart", "returnEvent": "purchase"}
                )
                await page.agrees("retention", {**query, "cohortEvent": "purchase"})
                await page.agrees("retention", {**query, "returnEvent": "search"})

    async def test_the_mall(self, page: Page):
        for range_ in RANGES.values():
            for by in ("user", "session"):
                await page.agrees_in_the_mall("retention", {**range_, "by": by})
                await page.agrees_in_the_mall(
                    "retention", {**range_, "by": by, "interval": "day", "filter": "item_id:exists"}
                )


class TestPaths:
    @pytest.mark.parametrize("query", ASKED)
    @pytest.mark.parametrize("direction", ["next", "previous"])
    async def test_what_comes_after_and_before(self, page: Page, query: Query, direction: str):
        query = {**query, "direction": direction}
        await page.agrees("paths", {**query, "event": "product_view"})
        await page.agrees("paths", {**query, "event": "cart", "depth": "5", "limit": "2000", "by": "user"})
        await page.agrees("paths", {**query, "event": "search", "depth": "1"})

    async def test_the_mall(self, page: Page):
        for by in ("user", "session"):
            for range_ in (EVERYTHING, ODD):
                await page.agrees_in_the_mall(
                    "paths", {**range_, "event": "add_to_cart", "by": by, "depth": "4"}
                )


class TestHeatmap:
    @pytest.mark.parametrize("query", ASKED)
    async def test_hours_of_the_week(self, page: Page, query: Query):
        await page.agrees("heatmap", query)

    # March has the hour that Berlin's clocks skip; Kolkata and Lord Howe are off by half an hour.
    @pytest.mark.parametrize("tz", ["Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"])
    async def test_the_mall(self, page: Page, tz: str):
        for range_ in (EVERYTHING, MARCH, ODD):
            await page.agrees_in_the_mall("heatmap", {**range_, "tz": tz})


class TestProperties:
    @pytest.mark.parametrize("query", ASKED)
    async def test_keys_and_values(self, page: Page, query: Query):
        await page.agrees("properties", query)
        await page.agrees("properties", {**query, "values": "2", "limit": "3"})
        await page.agrees("properties", {**query, "key": "user_cohort"})

    async def test_the_mall(self, page: Page):
        for range_ in RANGES.values():
            await page.agrees_in_the_mall("properties", {**range_, "values": "100"})
            await page.agrees_in_the_mall("properties", {**range_, "under": "cart"})
            await page.agrees_in_the_mall("properties", {**range_, "key": "cart.total", "values": "30"})
            await page.agrees_in_the_mall("properties", {**range_, "key": "a\\.b\\:c\\\\d"})
            await page.agrees_in_the_mall("properties", {**range_, "under": "platform"})


class TestExport:
    """Whole files: events in order of time, where the order within a millisecond is nobody's promise."""

    @pytest.mark.parametrize("query", ASKED)
    async def test_lines_of_json(self, page: Page, query: Query):
        assert await exported(page, query, "shop", "acme") == expected_export(page, query, "shop", "acme")

    @pytest.mark.parametrize("query", ASKED)
    async def test_csv(self, page: Page, query: Query):
        text = await downloaded(page, {**query, "format": "csv"}, "shop", "acme")
        found = [
            {name: value for name, value in row.items() if value}
            for row in csv.DictReader(io.StringIO(text, newline=""))
        ]
        assert in_one_order(found) == expected_export(page, query, "shop", "acme")

    async def test_the_mall(self, page: Page):
        for tenant_id in ("north", "south", None):
            for query in (EVERYTHING, {**MARCH, "filter": ["item_id:exists", "meta:cart.total:gt:50"]}):
                found = await exported(page, query, "mall", tenant_id)
                assert found == expected_export(page, query, "mall", tenant_id)


async def downloaded(page: Page, query: Query, project_id: str, tenant_id: str | None) -> str:
    assert page.reader._http is not None
    headers = {"Authorization": f"Bearer {token_of(project_id, tenant_id)}"}
    async with page.reader._http.get(PATHS["export"], params=query, headers=headers) as response:
        assert response.status == 200
        return await response.text()


async def exported(page: Page, query: Query, project_id: str, tenant_id: str | None) -> list[Any]:
    text = await downloaded(page, query, project_id, tenant_id)
    return in_one_order([json.loads(line) for line in text.splitlines()])


def expected_export(page: Page, query: Query, project_id: str, tenant_id: str | None) -> list[Any]:
    events = oracle.export(page.truth.events(project_id, tenant_id), query)
    assert events, "nothing is easily exported"
    return in_one_order([{**event, "projectId": project_id} for event in events])


def in_one_order(events: list[Any]) -> list[Any]:
    moments = [oracle.instant(event["timestamp"]) for event in events]
    assert moments == sorted(moments), "not in order of time"
    return sorted(events, key=lambda event: (oracle.instant(event["timestamp"]), event["eventId"]))
