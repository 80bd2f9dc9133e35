"""The example events of `nealytics demo`: sixty days of a small, invented SaaS.

They are deterministic: all events follow from their first day, with the same ids in every run. So sending
them again counts none twice, and a later run continues the same events. The id of each session contains the
first day (`first_day_in`).

Three tenants of different size use one product. Visitors view its public pages; some sign up, return less
and less, and do more on workdays and in the afternoon; some subscribe and pay each month. On the 41st of
the sixty days the product launches reports, which brings visitors and a new event.
"""

import contextlib
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

DAYS = 60
# Days of signups before the first day, so that the product does not begin empty.
_BEFORE = 60
_LAUNCH_DAY = _BEFORE + 40
PROJECT = "demo"
FUNNEL = ("signup", "project_created", "invite_sent", "upgrade")


@dataclass(frozen=True)
class Tenant:
    tenant_id: str
    signups_per_day: float  # on the first day
    growth: float  # factor of signups from the first to the sixtieth day


TENANTS = (Tenant("acme", 3.5, 2.1), Tenant("globex", 1.9, 1.3), Tenant("initech", 0.75, 0.8))

_PAGES = ("/", "/dashboard", "/projects", "/projects/new", "/settings", "/docs", "/team", "/billing")
_PAGE_WEIGHTS = (10, 26, 22, 8, 7, 12, 9, 4)
_PUBLIC = ("/", "/pricing", "/docs", "/blog/launching-reports", "/customers")
_PUBLIC_WEIGHTS = (40, 22, 18, 12, 8)
_VISITORS_PER_SIGNUP = 5
_SOURCES = ("google", "direct", "newsletter", "github", "partner", "linkedin")
_SOURCE_WEIGHTS = (36, 28, 12, 11, 8, 5)
_COUNTRIES = ("DE", "US", "FR", "GB", "NL", "ES", "JP", "BR")
_COUNTRY_WEIGHTS = (30, 24, 12, 11, 8, 6, 5, 4)
_DEVICES = ("desktop", "mobile", "tablet")
_DEVICE_WEIGHTS = (66, 29, 5)
_PLANS = {"starter": "19.00", "team": "49.00", "business": "149.00"}
_PLAN_WEIGHTS = (52, 36, 12)
_BILLED_EACH_DAYS = 30
_HOURS = tuple(max(0.4, 10 * math.exp(-(((hour - 14) / 4.2) ** 2))) for hour in range(24))
_WEEKDAYS = (1.0, 1.12, 1.1, 1.05, 0.92, 0.46, 0.38)
_SESSION = re.compile(r"(\d{6})-[a-z]+-.*")

Step = tuple[str, str | None]  # event type, item


def first_day(now: datetime) -> date:
    """The first day if today is the sixtieth."""
    return now.date() - timedelta(days=DAYS - 1)


def first_day_in(session_id: str) -> date | None:
    """The first day of the events of this session; None if it is not an example session."""
    if found := _SESSION.fullmatch(session_id):
        with contextlib.suppress(ValueError):
            return datetime.strptime(found[1], "%y%m%d").date()
    return None


def events(first: date, now: datetime, since: date = date.min) -> Iterator[dict[str, Any]]:
    """Events for the ingest routes, tenant by tenant, from the day `first` up to `now` (UTC).

    Events before the day `since` are omitted; the others do not depend on it.
    """
    for tenant in TENANTS:
        story = _Story(tenant, first, (now.date() - first).days)
        for at, event in story.tell():
            if at.date() >= max(first, since) and at <= now:
                yield event


class _Story:
    """The events of one tenant. Day 0 has the first signups, `_BEFORE` days before the first day sent."""

    def __init__(self, tenant: Tenant, first: date, days: int) -> None:
        self._tenant = tenant
        self._first = first
        self._last = _BEFORE + days

    def tell(self) -> Iterator[tuple[datetime, dict[str, Any]]]:
        name = self._tenant.tenant_id
        # Draw the random numbers day by day, so that a later end does not change earlier days.
        visitors, signups = random.Random(f"{name} visitors"), random.Random(f"{name} signups")
        user = 0
        for day in range(self._last + 1):
            for number in range(_poisson(_VISITORS_PER_SIGNUP * self._signups_on(day), visitors)):
                yield from self._visit(
                    f"{day}-{number}", day, None, _looks(visitors), _traits(visitors), visitors
                )
            for _ in range(_poisson(self._signups_on(day), signups)):
                user += 1
                yield from self._life(user, day, random.Random(f"{name} {user}"))

    def _signups_on(self, day: int) -> float:
        progress = min(1.0, day / (_BEFORE + DAYS))
        growth: float = self._tenant.growth**progress
        return self._tenant.signups_per_day * growth * self._rhythm(day) * _launch(day, 1.7)

    def _life(
        self, user: int, signed_up: int, chance: random.Random
    ) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """All events of one person."""
        user_id = f"{self._tenant.tenant_id}-user-{user:04}"
        traits = _traits(chance)
        keen = chance.betavariate(1.3, 2.4)
        activated, subscribed_on = False, self._last + 1
        for day in range(signed_up, self._last + 1):
            age = day - signed_up
            if day > subscribed_on and (day - subscribed_on) % _BILLED_EACH_DAYS == 0:
                # Billing runs at night, without a visit.
                yield from self._visit(
                    f"{user}-{day}-b", day, user_id, [("payment", None)], traits, chance, hour=3
                )
            comes_back = keen * 0.95 / (1 + age / 9) ** 0.55
            if age and chance.random() > comes_back * self._rhythm(day) * _launch(day, 1.25):
                continue
            for visit in range(1 if age == 0 else _poisson(0.3, chance) + 1):
                steps: list[Step] = [("page_view", "/"), ("signup", None)] if age == 0 else []
                looks_in = age > 0 and chance.random() < 0.22
                for _ in range(1 if looks_in else _poisson(2.2 + 3.2 * keen, chance) + 1):
                    steps.append(("page_view", chance.choices(_PAGES, _PAGE_WEIGHTS)[0]))
                    if not looks_in and chance.random() < 0.16:
                        steps.append(("search", None))
                if not looks_in:
                    if not activated and chance.random() < 0.42:
                        activated = True
                        steps.append(("project_created", "/projects/new"))
                    elif activated and chance.random() < 0.18:
                        steps.append(("invite_sent", "/team"))
                    if day >= _LAUNCH_DAY and activated and chance.random() < 0.3:
                        steps.append(("report_created", "/reports"))
                    if activated and traits["plan"] == "free" and age >= 2 and chance.random() < 0.06:
                        traits["plan"] = chance.choices(tuple(_PLANS), _PLAN_WEIGHTS)[0]
                        subscribed_on = day
                        steps += [("upgrade", "/billing"), ("payment", None)]
                yield from self._visit(f"{user}-{day}-{visit}", day, user_id, steps, traits, chance)

    def _visit(
        self,
        name: str,
        day: int,
        user_id: str | None,
        steps: list[Step],
        traits: dict[str, str],
        chance: random.Random,
        hour: int | None = None,
    ) -> Iterator[tuple[datetime, dict[str, Any]]]:
        session = f"{self._first:%y%m%d}-{self._tenant.tenant_id}-{'' if user_id else 'visitor-'}{name}"
        if hour is None:
            hour = chance.choices(range(24), _HOURS)[0]
        at = datetime.combine(self._date(day), time(hour), UTC) + timedelta(seconds=chance.uniform(0, 3_600))
        for number, (event_type, item_id) in enumerate(steps):
            event = {
                "eventId": str(uuid5(NAMESPACE_URL, f"nealytics:demo:{session}:{number}")),
                "projectId": PROJECT,
                "tenantId": self._tenant.tenant_id,
                "sessionId": session,
                "eventType": event_type,
                "metadataJson": _metadata(event_type, traits),
                "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
            }
            if user_id is not None:
                event["userId"] = user_id
            if item_id is not None:
                event["itemId"] = item_id
            yield at, event
            at += timedelta(seconds=chance.expovariate(1 / 38) + 1.5)

    def _date(self, day: int) -> date:
        return self._first + timedelta(days=day - _BEFORE)

    def _rhythm(self, day: int) -> float:
        return _WEEKDAYS[self._date(day).weekday()]


def _traits(chance: random.Random) -> dict[str, str]:
    return {
        "source": chance.choices(_SOURCES, _SOURCE_WEIGHTS)[0],
        "country": chance.choices(_COUNTRIES, _COUNTRY_WEIGHTS)[0],
        "device": chance.choices(_DEVICES, _DEVICE_WEIGHTS)[0],
        "plan": "free",
    }


def _looks(chance: random.Random) -> list[Step]:
    """The events of a visitor without an account; half of them leave at once."""
    pages = 1 if chance.random() < 0.55 else 2 + _poisson(1.1, chance)
    return [("page_view", chance.choices(_PUBLIC, _PUBLIC_WEIGHTS)[0]) for _ in range(pages)]


def _metadata(event_type: str, traits: dict[str, str]) -> str:
    text = json.dumps(traits)
    if event_type == "payment":
        # As a string, so that 19.00 keeps two decimal places.
        text = f'{text[:-1]}, "amount": {_PLANS[traits["plan"]]}, "currency": "EUR"}}'
    return text


def _launch(day: int, factor: float) -> float:
    """The effect of the launch: full on its day, half a week later."""
    return 1.0 if day < _LAUNCH_DAY else 1 + (factor - 1) * 0.5 ** ((day - _LAUNCH_DAY) / 7)


def _poisson(mean: float, chance: random.Random) -> int:
    """Knuth's method; means here are small."""
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count
