"""A timeline that is read in time windows equals that of a single query, with the real engine."""

import random
from datetime import timedelta
from typing import Any
from uuid import UUID

from nealytics.event import Event
from tests.http.reader import NOW, Reader, event, on_the_engine
from tests.http.test_timeline_pages import ids, newest_first, pages

pytestmark = on_the_engine

DAY = timedelta(days=1)
MS = timedelta(milliseconds=1)


def history() -> list[Event]:
    """Of 200 days and of one hour to come; many share a millisecond, some of them at the edge of a look."""
    chance = random.Random(5)
    ages = [*(chance.choice((0.01, 2, 40, 200)) * chance.random() * DAY for _ in range(150))]
    ages += [chance.choice((DAY, 31 * DAY)) + chance.choice((-MS, 0 * MS, MS)) for _ in range(50)]
    ages += [-chance.random() * timedelta(hours=1) for _ in range(5)]
    return [
        event(
            NOW - age,
            session_id=f"s{chance.randrange(9)}",
            event_type=chance.choice(["view", "click"]),
            event_id=UUID(int=chance.getrandbits(128)),
        )
        for age in ages
    ]


async def test_pages_of_any_size_are_the_whole_history_in_order(reader: Reader):
    events = history()
    await reader.store_twice(*events)
    for limit in ("1000", "205", "204", "60", "7"):
        assert ids(await pages(reader, limit=limit)) == newest_first(events), limit


async def test_bounds_and_filters_hold_in_every_look(reader: Reader):
    events = history()
    await reader.store_twice(*events)
    looks: tuple[tuple[dict[str, Any], Any], ...] = (
        ({"eventType": "click"}, lambda e: e.event_type == "click"),
        ({"sessionId": "s3"}, lambda e: e.session_id == "s3"),
        ({"after": "2024-06-14T12:00:00Z"}, lambda e: e.timestamp_ms > ms_of(DAY)),
        ({"after": "2024-05-15T12:00:00Z"}, lambda e: e.timestamp_ms > ms_of(31 * DAY)),
        ({"before": "2024-05-15T12:00:00Z"}, lambda e: e.timestamp_ms < ms_of(31 * DAY)),
        ({"before": "2030-01-01"}, lambda e: True),
        ({"before": "1950-01-01"}, lambda e: False),
    )
    for query, holds in looks:
        expected = newest_first([e for e in events if holds(e)])
        assert ids(await pages(reader, limit="50", **query)) == expected, query


def ms_of(age: timedelta) -> int:
    return round((NOW - age).timestamp() * 1000)
