"""The read routes as a tenant's page calls them, over the real engine."""

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import pytest
from aiohttp import web
from yarl import URL

from nealytics.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from nealytics.config import AuthConfig, Config, QueryConfig
from nealytics.event import Event
from nealytics.observe.metrics import READ_FAILURE_REASONS
from nealytics.observe.prometheus import text
from nealytics.queries import ENDPOINTS
from nealytics.queries.filters import Field
from nealytics.timestamps import iso_utc
from tests.http.reader import (
    ACTIVE,
    JWT_KEY,
    NOW,
    PROPERTIES,
    SESSIONS,
    TIMELINE,
    TIMESERIES,
    TOP,
    DyingClient,
    Reader,
    event,
    ms,
    on_the_engine,
    reader_of,
    reader_over,
    token_of,
)
from tests.queries.required import required

# What has broken other people's escaping.
HOSTILE = [
    "'",
    '"',
    "\\",
    "\\'",
    "' OR 1=1 --",
    "a\tb",
    "a\nb\r\n",
    "{project_id:String}",
    "{{}}",
    "%",
    "%27",
    "%61cme",
    "+",
    "a&tenant_id=acme#",
    "\\N",
    "NULL",
    "`",
    "[1,2]",
    "\x01\x7f",
    "café 漢字 🙂",
    "\u202e\ufeff",
    "; DROP TABLE nealytics_core.global_events",
]


def a_quarter() -> list[Event]:
    """400 events of April to June, many in the same minute, some without user and some without item."""
    chance = random.Random(7)
    return [
        event(
            NOW
            - timedelta(days=chance.choice((0, 1, 14, 15, 40, 70)))
            - timedelta(milliseconds=chance.choice((180_000, 20_000_000)) * chance.random()),
            session_id=f"s{chance.randrange(40)}",
            user_id=chance.choice([None, None, *(f"u{n}" for n in range(25))]),
            event_type=chance.choice(["view", "view", "click", "café"]),
            item_id=chance.choice([None, "/", "/shop", "/漢字"]),
        )
        for _ in range(400)
    ]


QUARTER = {"from": "2024-04-01", "to": "2024-07-01T00:00:00Z"}


def going_on(bucket: str, interval: str) -> dict[str, bool]:
    """How a bucket is marked that now holds, or that has not begun."""
    return {"partial": True} if bucket >= start_of(interval, event(NOW)) else {}


def start_of(interval: str, event: Event) -> str:
    """The start of the interval that the event lies in, as an answer shows it."""
    moment = datetime.fromtimestamp(event.timestamp_ms / 1000, UTC).replace(second=0, microsecond=0)
    if interval != "minute":
        moment = moment.replace(minute=0)
    if interval in ("day", "month"):
        moment = moment.replace(hour=0)
    return iso_utc(ms(moment.replace(day=1) if interval == "month" else moment))


class TestOnTheEngine:
    pytestmark = on_the_engine

    async def test_an_event_comes_back_as_it_was_sent(self, reader: Reader):
        sent = event(
            NOW + timedelta(milliseconds=120),
            user_id="ada",
            item_id="/shop?x=1&y=%20",
            metadata={"plan": "pro", "n": [1, 2.5, None]},
        )
        await reader.store(sent)
        status, body, headers = await reader.get(TIMELINE)
        assert status == 200
        assert body == {
            "projectId": "shop",
            "tenantId": "acme",
            "events": [
                {
                    "eventId": str(UUID(int=sent.event_id)),
                    "sessionId": "s1",
                    "userId": "ada",
                    "eventType": "view",
                    "itemId": "/shop?x=1&y=%20",
                    "metadataJson": '{"plan": "pro", "n": [1, 2.5, null]}',
                    "timestamp": "2024-06-15T12:00:00.12Z",
                }
            ],
        }
        assert headers["Content-Type"].startswith("application/json")
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"

    async def test_fields_that_an_event_does_not_have_are_left_out(self, reader: Reader):
        await reader.store(event())
        (found,) = await reader.timeline()
        assert set(found) == {"eventId", "sessionId", "eventType", "metadataJson", "timestamp"}

    async def test_a_timeline_is_newest_first_and_as_long_as_asked_for(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(seconds=n % 50), session_id=f"s{n}") for n in range(150)))
        everything = await reader.timeline(limit="1000")
        assert len(everything) == 150
        assert [e["timestamp"] for e in everything] == sorted(
            (e["timestamp"] for e in everything), reverse=True
        )
        assert await reader.timeline() == everything[:100]
        assert await reader.timeline(limit="7") == everything[:7]
        assert await reader.timeline(limit="0") == everything[:1]
        assert await reader.timeline(limit="-3") == everything[:1]

    async def test_before_is_strict_to_the_millisecond(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(milliseconds=n), session_id=f"s{n}") for n in range(3)))
        assert [e["sessionId"] for e in await reader.timeline(before="2024-06-15T12:00:00.001Z")] == ["s0"]
        assert [e["sessionId"] for e in await reader.timeline(before="2024-06-15T12:00:00.0015Z")] == [
            "s1",
            "s0",
        ]
        assert [e["sessionId"] for e in await reader.timeline(before="2024-06-15T14:00:00.001+02:00")] == [
            "s0"
        ]
        assert await reader.timeline(before="0001-01-01") == []
        assert len(await reader.timeline(before="9999-12-31T23:59:59Z")) == 3

    async def test_pages_follow_each_other_by_the_last_timestamp(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(seconds=n), session_id=f"s{n}") for n in range(25)))
        seen: list[str] = []
        page = await reader.timeline(limit="10")
        while page:
            seen += [e["sessionId"] for e in page]
            page = await reader.timeline(limit="10", before=page[-1]["timestamp"])
        assert seen == [f"s{n}" for n in reversed(range(25))]

    async def test_filters_are_exact_and_hold_together(self, reader: Reader):
        await reader.store(
            event(session_id="a", event_type="view", item_id="/1", metadata={"plan": "pro"}),
            event(session_id="b", event_type="view", item_id="/2", metadata={"plan": "free"}),
            event(session_id="c", event_type="view_all", metadata={"plan": 5}),
        )

        async def found(**query: str) -> set[str]:
            return {e["sessionId"] for e in await reader.timeline(**query)}

        assert await found(eventType="view") == {"a", "b"}
        assert await found(sessionId="c") == {"c"}
        assert await found(itemId="/1") == {"a"}
        assert await found(eventType="view", itemId="/2") == {"b"}
        assert await found(metaKey="plan", metaValue="pro") == {"a"}
        # As the C# engine: half of the pair filters nothing.
        assert await found(metaKey="plan") == {"a", "b", "c"}
        assert await found(metaValue="pro") == {"a", "b", "c"}
        assert await found(eventType="  ") == {"a", "b", "c"}
        assert await found(eventType="nothing") == set()

    async def test_sessions_are_summed_up(self, reader: Reader):
        await reader.store(
            event(NOW - timedelta(hours=2), session_id="long"),
            event(NOW - timedelta(hours=1, milliseconds=500), session_id="long"),
            event(NOW - timedelta(minutes=30), session_id="one"),
            event(NOW - timedelta(hours=24), session_id="edge"),
            event(NOW - timedelta(hours=24, milliseconds=1), session_id="too old"),
            event(NOW + timedelta(milliseconds=1), session_id="too new"),
        )
        assert await reader.sessions() == {
            "projectId": "shop",
            "tenantId": "acme",
            "uniqueSessionCount": 3,
            "totalEventCount": 4,
            "avgDurationSeconds": pytest.approx(3599.5 / 3),
            "totals": {
                "sessions": 3,
                "events": 4,
                "avgDurationSeconds": pytest.approx(3599.5 / 3),
                "medianDurationSeconds": 0.0,
            },
            "sessions": [
                {
                    "sessionId": "one",
                    "firstSeen": "2024-06-15T11:30:00Z",
                    "lastSeen": "2024-06-15T11:30:00Z",
                    "durationSeconds": 0.0,
                    "eventCount": 1,
                },
                {
                    "sessionId": "long",
                    "firstSeen": "2024-06-15T10:00:00Z",
                    "lastSeen": "2024-06-15T10:59:59.5Z",
                    "durationSeconds": 3599.5,
                    "eventCount": 2,
                },
                {
                    "sessionId": "edge",
                    "firstSeen": "2024-06-14T12:00:00Z",
                    "lastSeen": "2024-06-14T12:00:00Z",
                    "durationSeconds": 0.0,
                    "eventCount": 1,
                },
            ],
        }

    async def test_sessions_within_a_range_and_a_limit(self, reader: Reader):
        await reader.store(*(event(NOW + timedelta(days=n), session_id=f"s{n}") for n in range(10)))
        answer = await reader.sessions(**{"from": "2024-06-17T12:00:00Z", "to": "2024-06-20T12:00:00Z"})
        assert [s["sessionId"] for s in answer["sessions"]] == ["s5", "s4", "s3", "s2"]
        answer = await reader.sessions(**{"from": "2024-06-01", "to": "2024-07-01", "limit": "3"})
        assert (answer["uniqueSessionCount"], answer["totalEventCount"]) == (3, 3)
        assert (await reader.sessions(**{"from": "2030-01-01", "to": "2030-01-02"}))["sessions"] == []

    async def test_no_session_is_no_division_by_zero(self, reader: Reader):
        answer = await reader.sessions()
        assert (answer["uniqueSessionCount"], answer["totalEventCount"], answer["avgDurationSeconds"]) == (
            0,
            0,
            0.0,
        )

    @pytest.mark.parametrize("interval", ["minute", "hour", "day"])
    async def test_a_time_series_counts_each_event_once(self, reader: Reader, interval: str):
        events = a_quarter()
        await reader.store_twice(*events)
        counts = Counter(start_of(interval, event) for event in events)
        assert await reader.answer(TIMESERIES, interval=interval, **QUARTER) == {
            "projectId": "shop",
            "tenantId": "acme",
            "interval": interval,
            "from": "2024-04-01T00:00:00Z",
            "to": "2024-07-01T00:00:00Z",
            "totalCount": 400,
            "points": [
                {"bucket": bucket, **going_on(bucket, interval), "count": counts[bucket]}
                for bucket in sorted(counts)
            ],
        }

    @pytest.mark.parametrize("group_by", ["event_type", "item_id", "session_id"])
    async def test_a_time_series_of_each_value(self, reader: Reader, group_by: str):
        """Ordered by the bytes of the value; events without one come last and have no `series`."""
        events = a_quarter()
        await reader.store_twice(*events)
        counts = Counter((start_of("day", event), getattr(event, group_by)) for event in events)
        expected = [
            {
                "bucket": bucket,
                **going_on(bucket, "day"),
                **({} if value is None else {"series": value}),
                "count": count,
            }
            for (bucket, value), count in sorted(
                counts.items(), key=lambda item: (item[0][0], item[0][1] is None, (item[0][1] or "").encode())
            )
        ]
        answer = await reader.answer(TIMESERIES, interval="day", groupBy=group_by, **QUARTER)
        assert answer["points"] == expected
        assert answer["totalCount"] == 400
        # The limit is one of points, whichever bucket they are in, and the total is theirs.
        answer = await reader.answer(TIMESERIES, interval="day", groupBy=group_by, limit="5", **QUARTER)
        assert answer["points"] == expected[:5]
        assert answer["totalCount"] == sum(point["count"] for point in expected[:5])

    async def test_a_time_series_of_one_event_type(self, reader: Reader):
        events = a_quarter()
        await reader.store_twice(*events)
        answer = await reader.answer(TIMESERIES, interval="day", eventType="café", **QUARTER)
        counts = Counter(start_of("day", event) for event in events if event.event_type == "café")
        assert {point["bucket"]: point["count"] for point in answer["points"]} == counts
        assert (await reader.answer(TIMESERIES, eventType="caf", **QUARTER))["points"] == []

    @pytest.mark.parametrize("mode", ["exact", "approx"])
    @pytest.mark.parametrize("by", ["user", "session"])
    @pytest.mark.parametrize("interval", ["day", "month"])
    async def test_who_was_active_is_counted_once(self, reader: Reader, interval: str, by: str, mode: str):
        """`approx` is exact for so few."""
        events = a_quarter()
        await reader.store_twice(*events)
        active: dict[str, set[str]] = defaultdict(set)
        for one in events:
            who = one.user_id if by == "user" else one.session_id
            active[start_of(interval, one)] |= {who} if who is not None else set()
        assert await reader.answer(ACTIVE, interval=interval, by=by, mode=mode, **QUARTER) == {
            "projectId": "shop",
            "tenantId": "acme",
            "interval": interval,
            "by": by,
            "mode": mode,
            "from": "2024-04-01T00:00:00Z",
            "to": "2024-07-01T00:00:00Z",
            "points": [
                {"bucket": bucket, **going_on(bucket, interval), "activeCount": len(active[bucket])}
                for bucket in sorted(active)
            ],
        }
        answer = await reader.answer(ACTIVE, interval=interval, by=by, mode=mode, limit="1", **QUARTER)
        assert [point["bucket"] for point in answer["points"]] == [min(active)]

    async def test_a_day_of_anonymous_events_has_nobody_active(self, reader: Reader):
        await reader.store_twice(event(), event(session_id="s2"))
        answer = await reader.answer(ACTIVE)
        assert answer["points"] == [{"bucket": "2024-06-15T00:00:00Z", "partial": True, "activeCount": 0}]
        assert (await reader.answer(ACTIVE, by="session"))["points"][0]["activeCount"] == 2

    async def test_ids_that_the_c_sharp_engine_stored_empty_count_as_absent(self, reader: Reader):
        await reader.store_twice(event(user_id="", item_id=""), event(), event(user_id="ada", item_id="/"))
        assert (await reader.answer(ACTIVE))["points"][0]["activeCount"] == 1
        assert [item["key"] for item in (await reader.answer(TOP, dimension="item_id"))["items"]] == ["/"]
        bucket = "2024-06-15T12:00:00Z"
        assert (await reader.answer(TIMESERIES, groupBy="item_id"))["points"] == [
            {"bucket": bucket, "partial": True, "series": "/", "count": 1},
            {"bucket": bucket, "partial": True, "count": 2},
        ]

    async def test_both_ends_of_a_range_count(self, reader: Reader):
        """By default the range is the last day, and a bucket that it cuts has only what lies within."""
        await reader.store_twice(
            event(NOW - timedelta(hours=24), user_id="u1"),
            event(NOW - timedelta(hours=24, milliseconds=1), user_id="too old"),
            event(NOW, user_id="u2"),
            event(NOW + timedelta(milliseconds=1), user_id="too new"),
        )
        answer = await reader.answer(TIMESERIES)
        assert (answer["interval"], answer["from"], answer["to"]) == (
            "hour",
            "2024-06-14T12:00:00Z",
            "2024-06-15T12:00:00Z",
        )
        assert answer["points"] == [
            {"bucket": "2024-06-14T12:00:00Z", "count": 1},
            {"bucket": "2024-06-15T12:00:00Z", "partial": True, "count": 1},
        ]
        answer = await reader.answer(ACTIVE, interval="month")
        assert answer["points"] == [{"bucket": "2024-06-01T00:00:00Z", "partial": True, "activeCount": 2}]
        assert [item["count"] for item in (await reader.answer(TOP))["items"]] == [2]

    async def test_where_nothing_happened_there_is_no_point(self, reader: Reader):
        answer = await reader.answer(TIMESERIES)
        assert (answer["totalCount"], answer["points"]) == (0, [])
        assert (await reader.answer(ACTIVE))["points"] == []
        assert (await reader.answer(TOP))["items"] == []

    async def test_an_event_that_is_stored_twice_is_shown_once_before_any_merge(self, reader: Reader):
        """The same rows under two tokens, as when the deduplication window has passed."""
        events = [event(NOW - timedelta(seconds=n), session_id=f"s{n % 3}") for n in range(30)]
        await reader.store(*events, token="first")
        await reader.store(*events, token="second")
        raw = await reader.clickhouse.command("SELECT count() FROM nealytics_core.global_events")
        assert raw.strip() == "60"
        assert len(await reader.timeline(limit="1000")) == 30
        answer = await reader.sessions()
        assert (answer["uniqueSessionCount"], answer["totalEventCount"]) == (3, 30)
        assert [s["eventCount"] for s in answer["sessions"]] == [10, 10, 10]

    async def test_an_event_that_is_stored_twice_across_months_is_shown_once_in_each(self, reader: Reader):
        events = [event(datetime(2024, month, 1, tzinfo=UTC)) for month in range(1, 13)]
        await reader.store(*events)
        await reader.store(*reversed(events))
        assert len(await reader.timeline()) == 12

    async def test_another_tenant_or_project_is_never_seen(self, reader: Reader):
        await reader.store(
            event(session_id="mine"),
            event(session_id="other tenant", tenant_id="globex"),
            event(session_id="other project", project_id="blog"),
        )
        assert [e["sessionId"] for e in await reader.timeline()] == ["mine"]
        assert [s["sessionId"] for s in (await reader.sessions())["sessions"]] == ["mine"]
        assert await reader.timeline(tenant_id="nobody") == []
        answer = await reader.answer(TIMESERIES, groupBy="session_id")
        assert [(p["series"], p["count"]) for p in answer["points"]] == [("mine", 1)]
        assert [p["activeCount"] for p in (await reader.answer(ACTIVE, by="session"))["points"]] == [1]
        assert [item["count"] for item in (await reader.answer(TOP))["items"]] == [1]

    async def test_parameters_cannot_name_another_scope(self, reader: Reader):
        await reader.store(event(tenant_id="globex"))
        for endpoint in ENDPOINTS:
            path = f"{endpoint.path}?{urlencode(required(endpoint))}"
            nothing = await reader.answer(path)
            for name in ("tenant_id", "tenantId", "project_id", "projectId", "param_tenant_id"):
                answer = await reader.answer(f"{path}&{name}=globex")
                assert answer.pop("warnings")[0]["code"] == "unknown_parameter"
                assert answer == nothing

    @pytest.mark.parametrize(
        "value", [*HOSTILE, "x" * 256, "'" * 256, "é" * 256], ids=lambda value: repr(value)[:24]
    )
    async def test_a_hostile_text_is_a_text_everywhere(self, reader: Reader, value: str):
        """As claim and as filter it finds exactly the events that hold it, and no others."""
        mine = event(
            project_id=value,
            tenant_id=value,
            session_id=value,
            user_id=value,
            event_type=value,
            item_id=value,
            metadata={value: value},
        )
        await reader.store(
            mine,
            event(session_id="foreign"),
            event(project_id=value, tenant_id="acme", session_id="foreign"),
            event(project_id="shop", tenant_id=value, session_id="foreign"),
        )
        scope = {"project_id": value, "tenant_id": value}
        meta = str(Field("meta", (value,)))
        for query in (
            {},
            {"eventType": value},
            {"sessionId": value},
            {"itemId": value},
            {"metaKey": value, "metaValue": value},
        ):
            (found,) = await reader.timeline(**scope, **query)
            assert found["sessionId"] == value, query
        answer = await reader.sessions(**scope)
        assert (answer["projectId"], answer["tenantId"]) == (value, value)
        assert [s["sessionId"] for s in answer["sessions"]] == [value]
        for group_by in ("event_type", "item_id", "session_id"):
            answer = await reader.answer(TIMESERIES, eventType=value, groupBy=group_by, **scope)
            assert [(p["series"], p["count"]) for p in answer["points"]] == [(value, 1)]
        for by in ("user", "session"):
            assert (await reader.answer(ACTIVE, by=by, **scope))["points"][0]["activeCount"] == 1
        for dimension in ("event_type", "item_id", "user_id", "session_id", "tenant_id", meta):
            answer = await reader.answer(TOP, dimension=dimension, **scope)
            assert answer["items"] == [{"key": value, "count": 1, "share": 1.0, "users": 1}]
        (listed,) = (await reader.answer(PROPERTIES, **scope))["keys"]
        assert (listed["key"], listed["values"]) == (meta, [{"value": value, "count": 1, "share": 1.0}])
        # In another scope the same text as a filter finds nothing of it.
        for name in ("eventType", "sessionId", "itemId"):
            assert [e["sessionId"] for e in await reader.timeline(**{name: value})] == []

    async def test_a_text_of_ten_kilobytes_is_refused_and_no_fault(self, reader: Reader):
        for name in ("eventType", "sessionId", "itemId", "metaKey", "metaValue", "limit", "before"):
            status, body, _ = await reader.get(TIMELINE, **{name: "x" * 10_240})
            assert (status, body["field"]) == (400, name)
        status, body, _ = await reader.get(TIMELINE, tenant_id="'" * 5_000)
        assert (status, body["field"]) == (400, "tenant_id")
        status, _, _ = await reader.get(TIMELINE, tenant_id="'" * 10_240)
        assert status in (400, 401)

    async def test_a_nul_finds_nothing_and_is_no_fault(self, reader: Reader):
        """No event has one: ingest refuses it."""
        await reader.store(event())
        for name in ("eventType", "sessionId", "itemId"):
            assert await reader.timeline(**{name: "\0"}) == []
            assert await reader.timeline(**{name: "view\0"}) == []
        assert await reader.timeline(metaKey="\0", metaValue="\0") == []
        status, _, _ = await reader.get(TIMELINE, tenant_id="acme\0")
        assert status == 400

    async def test_an_item_id_may_be_as_long_as_a_url(self, reader: Reader):
        url = "https://example.org/" + "🙂" * 2_028
        assert len(url) == 2_048
        await reader.store(event(item_id=url))
        (found,) = await reader.timeline(itemId=url)
        assert found["itemId"] == url
        status, body, _ = await reader.get(TIMELINE, itemId=url + "x")
        assert (status, body["field"]) == (400, "itemId")

    async def test_a_query_above_clickhouse_s_limits_says_what_to_narrow(self, reader: Reader):
        await reader.store(*(event(session_id=f"s{n}") for n in range(100)))
        config = msgspec.structs.replace(reader.config, query=QueryConfig(rows_read_max=10))
        async with Reader(reader.clickhouse, config) as limited:
            status, body, _ = await limited.get(TIMELINE)
        assert (status, body["code"]) == (422, "query_too_large")
        assert "Narrow" in body["detail"]

    async def test_an_answer_too_large_for_a_worker_s_memory_is_refused(self, reader: Reader):
        await reader.store(*(event(metadata={"text": "x" * 10_000}) for _ in range(200)))
        config = msgspec.structs.replace(reader.config, query=QueryConfig(result_bytes_max=1_000_000))
        async with Reader(reader.clickhouse, config) as limited:
            status, body, _ = await limited.get(TIMELINE, limit="200")
            assert (status, body["code"]) == (422, "query_too_large")
            assert (await limited.get(TIMELINE, limit="10"))[0] == 200

    async def test_what_is_asked_is_counted(self, reader: Reader):
        await reader.timeline()
        await reader.sessions()
        await reader.get(TIMELINE, limit="ten")
        assert reader.metrics.value("nealytics_read_queries_total") == 2
        assert b"nealytics_query_read_duration_seconds_count 2.0" in text(reader.metrics)


@pytest.mark.parametrize("path", [endpoint.path for endpoint in ENDPOINTS])
async def test_without_a_good_token_nothing_is_asked(path: str):
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        assert reader._http is not None
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-Project-Key": "key"}):
            async with reader._http.get(path, headers=headers) as response:
                assert response.status == 401
                assert set(await response.json()) >= {"code", "message", "detail"}


async def test_arguments_that_make_no_sense_are_refused_by_name():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        for path, query, field in [
            (TIMELINE, {"limit": "ten"}, "limit"),
            (TIMELINE, {"before": "last_decade"}, "before"),
            (SESSIONS, {"limit": "1.5"}, "limit"),
            (SESSIONS, {"from": "x"}, "from"),
            (SESSIONS, {"to": "2024-02-30"}, "to"),
            (SESSIONS, {"from": "2024-06-02", "to": "2024-06-01"}, "from"),
            (TIMELINE + "?limit=1&limit=2", {}, "limit"),
            (TIMESERIES, {"interval": "quarter"}, "interval"),
            (TIMESERIES, {"groupBy": "timestamp"}, "groupBy"),
            (TIMESERIES, {"from": "2030-01-01", "to": "2020-01-01"}, "from"),
            (ACTIVE, {"interval": "hour"}, "interval"),
            (ACTIVE, {"by": "device"}, "by"),
            (ACTIVE, {"mode": "estimate"}, "mode"),
            (ACTIVE + "?by=user&by=session", {}, "by"),
            (ACTIVE, {"limit": "abc"}, "limit"),
            (TOP, {"dimension": "event_id"}, "dimension"),
            (TOP, {"to": "tomorrow"}, "to"),
        ]:
            status, body, _ = await reader.get(path, **query)
            assert (status, body["code"], body["field"]) == (400, "invalid_parameter", field)
            assert body["message"]
            assert body["detail"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("eventType=%FF%FE&limit=x", "eventType"),
        ("limit=5&filter=event_type:eq:caf%E9", "filter"),
        ("filter=event_type:eq:%ED%A0%80", "filter"),  # half a surrogate pair
        ("unknown=%FF", "unknown"),
        ("%FF=1", "\ufffd"),
    ],
)
async def test_a_query_that_is_no_utf_8_is_refused_by_name(query: str, field: str):
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        assert reader._http is not None
        url = URL(f"{reader.url}{TIMELINE}?{query}", encoded=True)
        headers = {"Authorization": f"Bearer {token_of('shop', 'acme')}"}
        async with reader._http.get(url, headers=headers) as answer:
            body = await answer.json()
        assert (answer.status, body["code"], body["field"]) == (400, "invalid_parameter", field)


@pytest.mark.parametrize(
    "error",
    [
        ClickHouseUnavailable("connection refused"),
        ClickHouseError(202, "too many queries", status=500),
        ClickHouseError(60, "no such table", status=404),
    ],
)
async def test_while_clickhouse_is_down_the_client_gets_503_with_retry_after(error: ClickHouseError):
    async with reader_of(error) as reader:
        status, body, headers = await reader.get(TIMELINE)
        assert (status, body["code"]) == (503, "clickhouse_unavailable")
        assert int(headers["Retry-After"]) >= 1
        assert headers["Content-Type"].startswith("application/json")
        assert reader.metrics.value("nealytics_read_queries_total") == 0


@pytest.mark.parametrize(
    ("error", "down", "asked", "status"),
    [
        (ClickHouseUnavailable("gone"), {"http://a"}, ["http://a", "http://b"], 200),
        (ClickHouseError(242, "read-only"), {"http://a"}, ["http://a", "http://b"], 200),
        (ClickHouseUnavailable("gone"), {"http://a", "http://b"}, ["http://a", "http://b"], 503),
        (ClickHouseError(202, "too many queries"), {"http://a"}, ["http://a"], 503),
        (ClickHouseError(158, "too many rows"), {"http://a"}, ["http://a"], 422),
    ],
)
async def test_a_read_is_asked_once_more_at_another_address_if_the_first_is_down(
    error: ClickHouseError, down: set[str], asked: list[str], status: int
):
    client = DyingClient(error, down)
    async with reader_over(client) as reader:
        assert (await reader.get(TIMELINE))[0] == status
        assert list(dict.fromkeys(client.asked)) == asked


class HalfAnswered(DyingClient):
    """The first answer of each address has 60 KB; then those that are `down` break off."""

    async def query(self, *args: object, received: Any = None, **named: Any) -> list[list[Any]]:
        if received is not None and self.addresses.reading.url not in self.asked:
            received(60_000)
        return await super().query(*args, **named)


async def test_the_bytes_of_an_answer_that_broke_off_do_not_count_for_the_second_attempt():
    client = HalfAnswered(ClickHouseUnavailable("broke off"), {"http://a"})
    config = Config(auth=AuthConfig(jwt_key=JWT_KEY), query=QueryConfig(unread_bytes_max=100_000))
    async with Reader(client, config) as reader:  # type: ignore[arg-type]
        status, body, _ = await reader.get(TIMELINE)
        assert (status, list(dict.fromkeys(client.asked))) == (200, ["http://a", "http://b"]), body
        assert reader.unread.bytes == 0


@pytest.mark.parametrize("code", [128, 158, 159, 160, 241, 243, 307, 396])
async def test_a_limit_of_clickhouse_is_not_an_outage(code: int):
    async with reader_of(ClickHouseError(code, "too much", status=500)) as reader:
        status, body, _ = await reader.get(SESSIONS)
        assert (status, body["code"]) == (422, "query_too_large")


async def test_what_clickhouse_says_of_itself_stays_inside():
    async with reader_of(ClickHouseError(47, "secret_column does not exist", status=400)) as reader:
        status, body, _ = await reader.get(TIMELINE)
        assert status == 500
        assert "secret_column" not in json.dumps(body)


async def test_a_token_for_other_endpoints_is_refused():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        status, body, _ = await reader.get(TOP, claims={"endpoints": ["timeline", "sessions"]})
        assert (status, body["code"], body["field"]) == (403, "forbidden", "endpoints")
        assert "sessions, timeline" in body["detail"]
        assert (await reader.get(TIMELINE, claims={"endpoints": ["timeline"]}))[0] == 503


async def test_a_token_s_filter_that_makes_no_sense_is_the_token_s_fault():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        status, body, _ = await reader.get(TIMELINE, claims={"filters": ["nothing"]})
        assert (status, body["code"], body["field"]) == (400, "invalid_claim", "filters")


async def test_a_refusal_also_names_the_parameter_that_nobody_asked_for():
    """`steps` is what was meant to be `step`; the message about `step` alone would puzzle."""
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        status, body, _ = await reader.get("/api/v1/analytics/funnel", steps="view,purchase")
        assert (status, body["field"]) == (400, "step")
        assert "'steps' is not a parameter" in body["detail"]
        assert body["detail"].endswith("did you mean step?")


async def test_an_unknown_route_lists_those_beside_it():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        status, body, _ = await reader.get("/api/v1/analytics/timeserie")
        assert (status, body["code"]) == (404, "not_found")
        assert body["message"] == "there is nothing at /api/v1/analytics/timeserie"
        assert body["detail"].startswith("/api/v1/analytics/ has active, funnel, heatmap, ")
        assert body["detail"].endswith(", timeseries, top. See /openapi.json for the routes.")
        status, body, _ = await reader.get("/nothing")
        assert (status, body["detail"]) == (404, "See /openapi.json for the routes.")


async def test_each_failure_is_counted_by_its_reason_and_an_answer_is_none():
    def counted(reader: Reader) -> dict[str, float]:
        values = {
            reason: reader.metrics.value("nealytics_read_failures_total", reason)
            for reason in READ_FAILURE_REASONS
        }
        return {reason: value for reason, value in values.items() if value}

    async with reader_of(ClickHouseUnavailable("gone")) as reader:
        await reader.get(TIMELINE)
        await reader.get(SESSIONS)
        await reader.get(TIMELINE, limit="many")
        await reader.get(TIMELINE, tenant_id="")
        assert counted(reader) == {"clickhouse_unavailable": 2, "invalid_parameter": 1, "forbidden": 1}
    async with reader_of(ClickHouseError(47, "unknown identifier")) as reader:
        await reader.get(TOP)
        assert counted(reader) == {"internal_error": 1}
    # aiohttp's own: counted as what the client is told.
    for error, reason in (
        (web.HTTPRequestHeaderFieldsTooLarge(), "bad_request"),
        (web.HTTPBadGateway(), "internal_error"),
    ):
        async with reader_of(error) as reader:
            _, body, _ = await reader.get(TOP)
            assert body["code"] == reason
            assert counted(reader) == {reason: 1}
    async with reader_of(web.HTTPNotModified()) as reader:
        async with reader.open(TOP) as answer:
            assert answer.status == 304
        assert counted(reader) == {}
