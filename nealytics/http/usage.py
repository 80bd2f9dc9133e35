"""`GET /api/v1/admin/usage`: what each project and tenant used, and what is left of their quotas."""

import asyncio
from pathlib import Path

from aiohttp import web

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import AdminScope
from nealytics.errors import Refused
from nealytics.http.admin import add_admin_route, project_of
from nealytics.usage.counts import day_number, month_days, today
from nealytics.usage.meter import Meter
from nealytics.usage.report import By, Report, Selection, report

NAME = "usage"
DAYS_MAX = 400
_BY: tuple[By, ...] = ("day", "month", "total")


def add_usage_route(app: web.Application, verifier: TokenVerifier, root: Path, meter: Meter) -> None:
    """`root` has the counts of all workers of the node."""

    async def usage(request: web.Request, scope: AdminScope) -> Report:
        query = request.query
        project_id = project_of(scope, query.get("project"))
        days = _days(query.get("from", ""), query.get("to", ""), today(meter.now_ms()))
        by = query.get("by") or "day"
        if by not in _BY:
            raise _invalid("by", by, f"Write one of {', '.join(_BY)}.")
        await meter.store()
        selection = Selection(project_id, query.get("tenant") or None)
        return await asyncio.to_thread(report, root, days, selection, by, meter.quotas.rules, meter.now_ms())

    add_admin_route(app, verifier, "GET", NAME, usage)


def _days(first: str, last: str, now: int) -> range:
    """The days from `first` to `last`, both included; without them this month. Raises `Refused` (400)."""
    end = _day("to", last) if last else now
    start = _day("from", first) if first else month_days(end).start
    if not 0 < end - start + 1 <= DAYS_MAX:
        raise _invalid(
            "from", first or "absent", f"Write 1 to {DAYS_MAX} days that end with to={last or 'today'}."
        )
    return range(start, end + 1)


def _day(name: str, text: str) -> int:
    try:
        return day_number(text)
    except ValueError:
        raise _invalid(name, text, "Write a date such as 2026-11-30.") from None


def _invalid(field: str, value: str, advice: str) -> Refused:
    return Refused(400, "invalid_parameter", f"{field} is {value[:64]!r}", detail=advice, field=field)
