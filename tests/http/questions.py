"""Every endpoint, by questions that reach all of its SQL; and events to which each of them has an answer.

For tests of what holds whatever is asked.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from multidict import MultiDict

from nealytics.event import Event
from nealytics.queries import ENDPOINTS
from nealytics.queries.endpoint import Endpoint
from tests.http.reader import NOW, event

QUESTIONS = [
    ("timeline", ""),
    ("timeline", "filter=event_type:ne:x&after=2024-06-14"),
    ("timeline", "filter=did(view, 30d)&any=session_first_seen(30d)"),
    ("sessions", ""),
    ("sessions", "order=-events"),
    ("timeseries", ""),
    ("timeseries", "groupBy=session_id&interval=day&fill=true&tz=Europe/Berlin"),
    ("timeseries", "groupBy=meta:plan"),
    ("active", ""),
    ("active", "by=session&mode=approx"),
    ("active", "by=session&rolling=7"),
    ("active", "interval=week&stickiness=true"),
    ("top", ""),
    ("top", "dimension=meta:plan"),
    ("top", "dimension=user_id"),
    ("summary", ""),
    ("summary", "filter=not:not_did(buy)"),
    ("funnel", "step=view&step=buy"),
    ("funnel", "step=view&step=buy&by=session&breakdown=meta:plan"),
    ("funnel", "step=view&step=buy&breakdown=meta:plan&interval=day&measure=users[did(buy)]"),
    ("retention", "interval=day"),
    ("retention", "by=session&cohortEvent=view&returnEvent=buy"),
    ("paths", "event=view"),
    ("paths", "event=buy&direction=previous&by=user&depth=5"),
    ("heatmap", "tz=Asia/Kolkata"),
    ("properties", ""),
    ("properties", "key=plan"),
]
BY_NAME: dict[str, Endpoint[Any]] = {endpoint.name: endpoint for endpoint in ENDPOINTS}


def pairs_of(query: str) -> MultiDict[str]:
    return MultiDict(part.partition("=")[::2] for part in query.split("&") if part)


def stories(scopes: Sequence[tuple[str, str]]) -> list[Event]:
    """The same story in every scope, of the last day, and told a little longer in each, so that no two have
    the same figures."""
    return [
        event(
            NOW - timedelta(hours=20 - story, minutes=-minute),
            project_id=project_id,
            tenant_id=tenant_id,
            session_id=f"s{story} of {number}",
            user_id=f"u{story} of {number}" if story % 3 else None,
            event_type=event_type,
            item_id=f"/{number}",
            metadata={"plan": f"plan {number}"},
        )
        for number, (project_id, tenant_id) in enumerate(scopes)
        for story in range(5 + number)
        for minute, event_type in enumerate(["view", "look", "buy", "view", "buy"][: 3 + story % 3])
    ]
