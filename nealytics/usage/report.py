"""The usage of a range of days, as people and programs read it."""

from pathlib import Path
from typing import Literal

import msgspec

from nealytics.usage.counts import Used, date_of
from nealytics.usage.store import used

By = Literal["day", "month", "total"]


class Row(msgspec.Struct, rename="camel", omit_defaults=True):
    """What one tenant used in one period. Without a tenant: queries about all tenants of the project."""

    period: str  # 2026-11-30, 2026-11, or empty for the whole range
    project_id: str
    tenant_id: str
    events: int = 0
    bytes: int = 0
    queries: int = 0
    rows_read: int = 0


class Report(msgspec.Struct, rename={"first": "from", "last": "to"}):
    first: str
    last: str
    usage: list[Row]


def report(root: Path, days: range, project_id: str | None, tenant_id: str | None, by: By) -> Report:
    """By period, then the most events first. Raises `NealyticsError` for a file that cannot be read."""
    sums: dict[tuple[str, str, str], Used] = {}
    for day, line in used(root, days):
        if project_id in (None, line.project_id) and tenant_id in (None, line.tenant_id):
            period = {"day": date_of(day), "month": date_of(day)[:7], "total": ""}[by]
            sums.setdefault((period, line.project_id, line.tenant_id), Used()).add(line.used)
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], -item[1].events, item[0]))
    rows = [
        Row(*key, counted.events, counted.bytes, counted.queries, counted.rows_read)
        for key, counted in ordered
    ]
    return Report(date_of(days[0]), date_of(days[-1]), rows)
