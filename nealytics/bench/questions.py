"""What a dashboard asks: the questions of `bench read`.

A line here is a question of one endpoint. It is asked of some tenants, and, unless
the endpoint shows pages, for the last 24 hours, 7 days and 30 days.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from nealytics.bench.events import END, tenant
from nealytics.clickhouse.sql import TABLE, identifier
from nealytics.queries.endpoint import Route

RANGES = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}

# Of what a page shows as revenue.
_REVENUE = "measure=sum(meta:cart.total)[event_type:eq:purchase]"

_BUYERS = "did(purchase,%3E%3D2,30d)"

_FUNNEL = "&".join(
    f"step={name}"
    for name in ("product_view", "add_to_cart", "cart", "shipping_details", "payment_details", "purchase")
)

# These begin at the newest event, or where the page before ended.
PAGED = frozenset({"timeline"})

# Endpoint, and the query string without the range. `{session}` is a session of the tenant, of 20 days ago.
QUESTIONS = (
    ("timeline", ""),
    ("timeline", "limit=1000"),
    ("timeline", "before=2026-06-08T12:00:00Z"),
    ("timeline", "eventType=purchase"),
    ("timeline", "userId=user-7"),
    ("timeline", "userId=nobody"),
    ("timeline", "sessionId={session}"),
    ("timeline", "filter=meta:plan:eq:pro"),
    ("sessions", ""),
    ("sessions", "filter=meta:plan:eq:pro"),
    ("timeseries", "interval=hour"),
    ("timeseries", "interval=day&groupBy=event_type"),
    ("timeseries", "interval=day&eventType=purchase"),
    ("timeseries", f"interval=day&{_REVENUE}&measure=users"),
    ("timeseries", f"interval=day&{_REVENUE}&groupBy=meta:plan&top=2&other=true"),
    ("timeseries", "interval=day&measure=users&cumulative=true&compare=previous"),
    ("active", "interval=day"),
    ("active", "interval=day&mode=approx"),
    ("active", "interval=day&measure=rate(purchase)"),
    ("top", "dimension=event_type"),
    ("top", "dimension=item_id"),
    ("top", "dimension=item_id&eventType=product_view"),
    ("top", f"dimension=item_id&{_REVENUE}"),
    ("top", "dimension=event_type&measure=p95(meta:cart.total)&measure=session_rate(purchase)"),
    ("summary", ""),
    ("summary", _REVENUE),
    ("summary", "filter=meta:device:eq:mobile"),
    ("summary", f"filter={_BUYERS}"),
    ("summary", f"measure=users[{_BUYERS}]&measure=avg(meta:cart.total)[not_did(payment,30d)]"),
    ("summary", "filter=first_seen(30d)&any=meta:plan:eq:pro&any=item_id:matches:^/p/[0-9]"),
    ("funnel", _FUNNEL),
    ("funnel", f"{_FUNNEL}&by=session"),
    ("funnel", f"{_FUNNEL}&measure=sum(meta:cart.total)&measure=users"),
    ("funnel", f"{_FUNNEL}&breakdown=meta:plan&measure=median(meta:cart.total)"),
    ("funnel", f"{_FUNNEL}&order=any&interval=week"),
    ("funnel", f"{_FUNNEL}&exclude=search"),
    ("heatmap", "tz=Europe/Berlin"),
    ("retention", "interval=week"),
    ("retention", "interval=week&returns=unbounded&returnEvent=purchase"),
    ("paths", "event=product_view&depth=3"),
    ("properties", ""),
    ("properties", "key=plan"),
)

# Routes without an end: there is no moment at which they have answered.
LEFT_OUT = {
    "live": "waits for what has not happened yet",
    "export": "as long as its client takes to read it; memory, not time, is what it promises",
}


class Question(NamedTuple):
    """One question of one tenant."""

    endpoint: str
    query: str  # as in `QUESTIONS`
    range: str  # a key of `RANGES`; empty for an endpoint without
    tenant: str
    url: str  # path and query string


def ranks_asked(tenants: int) -> tuple[int, ...]:
    """Of a large, a median and a small one."""
    return tuple(dict.fromkeys((1, (tenants + 1) // 2, tenants)))


def session_sql(database: str) -> str:
    """Each tenant, and the session that stands for `{session}`."""
    return (
        f"SELECT tenant_id, min(session_id) FROM {identifier(database)}.{TABLE}"
        f" WHERE toDate(timestamp) = '{END - timedelta(days=20):%Y-%m-%d}' GROUP BY tenant_id"
    )


def questions(
    routes: tuple[Route, ...], ranks: Sequence[int], sessions: Mapping[str, str]
) -> Iterator[Question]:
    """All there are for `routes`, in the order of `QUESTIONS`, for the tenants with these ranks; `sessions`
    is what `session_sql` found."""
    route_of = {route.name: route for route in routes}
    for name, query in QUESTIONS:
        route = route_of[name]
        for label, span in (("", None),) if name in PAGED else RANGES.items():
            range_ = urlencode({"from": _iso(END - span), "to": _iso(END)}) if span else ""
            url = f"{route.path}?{'&'.join(filter(None, (query, range_)))}"
            for asked in map(tenant, ranks):
                yield Question(name, query, label, asked, url.replace("{session}", sessions.get(asked, "")))


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
