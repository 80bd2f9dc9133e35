"""Rows and clocks for tests that care about rows, not about events."""

from nealytics.clickhouse.rowbinary import encode_row
from nealytics.event import Event

# 2030-01-15, inside a month.
TIMESTAMP_MS = 1_894_708_800_000
MONTH_MS = 31 * 86_400_000


def row(
    n: int,
    *,
    timestamp_ms: int = TIMESTAMP_MS,
    filler: int = 0,
    project_id: str = "shop",
    tenant_id: str = "acme",
    user_id: str | None = None,
) -> bytes:
    """A row that tells by its `event_id` that it is number `n`; `filler` bytes of metadata make it longer."""
    event = Event(
        event_id=n,
        project_id=project_id,
        tenant_id=tenant_id,
        session_id="s-1",
        user_id=user_id,
        event_type="page_view",
        item_id=None,
        metadata_json=b'{"x":"%s"}' % (b"." * filler),
        timestamp_ms=timestamp_ms,
    )
    return encode_row(event, timestamp_ms)


def number(row: bytes) -> int:
    """The `n` that `row` was made with."""
    return int.from_bytes(row[:8], "little") << 64 | int.from_bytes(row[8:16], "little")
