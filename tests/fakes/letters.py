"""Rejected events for tests, as a worker keeps them."""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nealytics.commit import rejected as store
from nealytics.commit.rejected import RejectedEvent, RejectedEvents
from nealytics.observe.metrics import Metrics


def rejected(at_ms: int, payload: bytes = b'{"eventType":"view"}', **changes: Any) -> RejectedEvent:
    given: dict[str, Any] = {
        "id": secrets.token_hex(8),
        "rejected_at": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "project_id": "shop",
        "source": "batch",
        "code": "invalid_event",
        "reason": "sessionId is missing or empty",
        "payload": store._on_one_line(payload),
    }
    return RejectedEvent(**{**given, **changes})


def put(wal_directory: Path, *events: RejectedEvent) -> None:
    """As worker 0 would."""
    directory = wal_directory / store.DIRECTORY
    directory.parent.mkdir(parents=True, exist_ok=True)
    kept = RejectedEvents(directory, 0, bytes_max=1 << 30, days_max=10**6, metrics=Metrics.private())
    kept._keep(events)


def held(wal_directory: Path) -> list[RejectedEvent]:
    return [event for path in store.files(wal_directory / store.DIRECTORY) for event in store.read(path)]
