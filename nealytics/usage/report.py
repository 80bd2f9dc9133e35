"""The usage of a range of days, as people and programs read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from nealytics.config import QuotaRule
from nealytics.quotas import Quotas
from nealytics.usage.counts import Used, date_of
from nealytics.usage.node import NodeUsage, used_of
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


class QuotaRow(msgspec.Struct, rename="camel"):
    """What was used of one limit, now. Without a tenant: of all tenants of the project together."""

    project_id: str
    tenant_id: str
    quota: str  # events_per_month or queries_per_day
    limit: int
    used: int
    percent: float
    resets_at: str


class Report(msgspec.Struct, rename={"first": "from", "last": "to"}):
    first: str
    last: str
    usage: list[Row]
    quotas: list[QuotaRow]


class Selection(NamedTuple):
    """None: any."""

    project_id: str | None = None
    tenant_id: str | None = None


def report(root: Path, days: range, of: Selection, by: By, rules: Sequence[QuotaRule], now_ms: int) -> Report:
    """By period, then the most events first; the quotas are those of now, the most used first. Raises
    `NealyticsError` for a file that cannot be read."""
    sums: dict[tuple[str, str, str], Used] = {}
    for day, line in used(root, days):
        if of.project_id in (None, line.project_id) and of.tenant_id in (None, line.tenant_id):
            period = {"day": date_of(day), "month": date_of(day)[:7], "total": ""}[by]
            sums.setdefault((period, line.project_id, line.tenant_id), Used()).add(line.used)
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], -item[1].events, item[0]))
    rows = [
        Row(*key, counted.events, counted.bytes, counted.queries, counted.rows_read)
        for key, counted in ordered
    ]
    return Report(date_of(days[0]), date_of(days[-1]), rows, _quotas(root, of, rules, now_ms))


def _quotas(root: Path, of: Selection, rules: Sequence[QuotaRule], now_ms: int) -> list[QuotaRow]:
    """Those that apply to what is selected."""
    quotas = Quotas([rule for rule in rules if of.project_id in (None, rule.project)])
    if not quotas.rules:
        return []
    quotas.counted(*used_of(quotas, NodeUsage(root), now_ms), now_ms)
    rows = [
        QuotaRow(
            share.project_id,
            share.tenant_id,
            share.kind,
            share.limit,
            share.used,
            round(100 * share.used / share.limit, 1),
            share.period.ends,
        )
        for share in quotas.shares()
        if of.tenant_id is None or share.tenant_id in ("", of.tenant_id)
    ]
    return sorted(rows, key=lambda row: (-row.percent, row.project_id, row.tenant_id, row.quota))
