"""Sixty days of a small SaaS that never was: what `nealytics demo` fills a project with.

Deterministic: the same day gives the same events with the same ids, so sending them again counts none twice.
Three tenants of different size share one product. People sign up, come back less and less, and do more on
workdays and in the afternoon. Twenty days before the end the product launches reports, which brings visitors
and a new event.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

DAYS = 60
# People have signed up for as long before the first day that is shown: the product does not begin empty.
_BEFORE = 60
_LAUNCH_DAY = _BEFORE + 40
PROJECT = "demo"


@dataclass(frozen=True)
class Tenant:
    tenant_id: str
    signups_per_day: float  # at the beginning
    growth: float  # of signups, as a factor over all the time


TENANTS = (Tenant("acme", 3.6, 2.1), Tenant("globex", 2.0, 1.3), Tenant("initech", 0.8, 0.8))

_PAGES = ("/", "/dashboard", "/projects", "/projects/new", "/settings", "/docs", "/team", "/billing")
_PAGE_WEIGHTS = (10, 26, 22, 8, 7, 12, 9, 4)
_SOURCES = ("google", "direct", "newsletter", "github", "partner", "linkedin")
_SOURCE_WEIGHTS = (36, 28, 12, 11, 8, 5)
_COUNTRIES = ("DE", "US", "FR", "GB", "NL", "ES", "JP", "BR")
_COUNTRY_WEIGHTS = (30, 24, 12, 11, 8, 6, 5, 4)
_DEVICES = ("desktop", "mobile", "tablet")
_PLANS = {"starter": "19.00", "team": "49.00", "business": "149.00"}
_HOURS = tuple(max(0.4, 10 * math.exp(-(((hour - 14) / 4.2) ** 2))) for hour in range(24))
_WEEKDAYS = (1.0, 1.12, 1.1, 1.05, 0.92, 0.46, 0.38)


def events(now: datetime) -> Iterator[dict[str, Any]]:
    """Events as the ingest routes take them, tenant by tenant, of the sixty days up to `now` (UTC)."""
    first = now.date() - timedelta(days=_BEFORE + DAYS - 1)
    for tenant in TENANTS:
        chance = random.Random(f"{tenant.tenant_id} {DAYS}")
        for number, (user_id, signed_up) in enumerate(_signups(tenant, first, chance)):
            life = _life(tenant, user_id, signed_up, first, random.Random(f"{tenant.tenant_id} {number}"))
            for day, at, event in life:
                if day >= _BEFORE and at <= now:
                    yield event


def _signups(tenant: Tenant, first: date, chance: random.Random) -> Iterator[tuple[str, int]]:
    number = 0
    for day in range(_BEFORE + DAYS):
        rate = tenant.signups_per_day * tenant.growth ** (day / (_BEFORE + DAYS)) * _rhythm(first, day)
        for _ in range(_poisson(rate * _launch(day, 1.7), chance)):
            number += 1
            yield f"{tenant.tenant_id}-user-{number:04}", day


def _life(
    tenant: Tenant, user_id: str, signed_up: int, first: date, chance: random.Random
) -> Iterator[tuple[int, datetime, dict[str, Any]]]:
    """Everything that one person does: the day, the time, the event."""
    traits = {
        "source": chance.choices(_SOURCES, _SOURCE_WEIGHTS)[0],
        "country": chance.choices(_COUNTRIES, _COUNTRY_WEIGHTS)[0],
        "device": chance.choices(_DEVICES, (66, 29, 5))[0],
        "plan": "free",
    }
    keen = chance.betavariate(1.3, 2.4)
    activated = False
    for day in range(signed_up, _BEFORE + DAYS):
        age = day - signed_up
        comes_back = keen * 0.95 / (1 + age / 9) ** 0.55
        if age and chance.random() > comes_back * _rhythm(first, day) * _launch(day, 1.25):
            continue
        for visit in range(1 if age == 0 else _poisson(0.35, chance) + 1):
            session = f"{user_id}-{day}-{visit}"
            hour = chance.choices(range(24), _HOURS)[0]
            at = datetime.combine(first + timedelta(days=day), datetime.min.time(), UTC) + timedelta(
                hours=hour, seconds=chance.uniform(0, 3_600)
            )
            steps: list[tuple[str, str | None]] = [("page_view", "/")] if age == 0 and visit == 0 else []
            if age == 0 and visit == 0:
                steps.append(("signup", None))
            for _ in range(_poisson(2.2 + 3.2 * keen, chance) + 1):
                steps.append(("page_view", chance.choices(_PAGES, _PAGE_WEIGHTS)[0]))
                if chance.random() < 0.16:
                    steps.append(("search", None))
            if not activated and chance.random() < 0.42:
                activated = True
                steps.append(("project_created", "/projects/new"))
            elif activated and chance.random() < 0.18:
                steps.append(("invite_sent", "/team"))
            if day >= _LAUNCH_DAY and activated and chance.random() < 0.3:
                steps.append(("report_created", "/reports"))
            if activated and traits["plan"] == "free" and age >= 2 and chance.random() < 0.06:
                traits["plan"] = chance.choices(tuple(_PLANS), (52, 36, 12))[0]
                steps.append(("upgrade", "/billing"))
            for number, (event_type, item_id) in enumerate(steps):
                yield day, at, _event(tenant, user_id, session, number, event_type, item_id, at, traits)
                at += timedelta(seconds=chance.expovariate(1 / 38) + 1.5)


def _event(
    tenant: Tenant,
    user_id: str,
    session: str,
    number: int,
    event_type: str,
    item_id: str | None,
    at: datetime,
    traits: dict[str, str],
) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(traits)
    text = json.dumps(metadata)
    if event_type == "upgrade":
        text = f'{text[:-1]}, "amount": {_PLANS[traits["plan"]]}}}'  # a decimal as it is, not a float
    event = {
        "eventId": str(uuid5(NAMESPACE_URL, f"nealytics:demo:{at:%Y%m%d}:{session}:{number}")),
        "projectId": PROJECT,
        "tenantId": tenant.tenant_id,
        "sessionId": session,
        "userId": user_id,
        "eventType": event_type,
        "metadataJson": text,
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
    }
    if item_id is not None:
        event["itemId"] = item_id
    return event


def _rhythm(first: date, day: int) -> float:
    return _WEEKDAYS[(first + timedelta(days=day)).weekday()]


def _launch(day: int, factor: float) -> float:
    """The launch's pull: all of it on its day, half of it a week later."""
    return 1.0 if day < _LAUNCH_DAY else 1 + (factor - 1) * 0.5 ** ((day - _LAUNCH_DAY) / 7)


def _poisson(mean: float, chance: random.Random) -> int:
    """Knuth's method; means here are small."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count
