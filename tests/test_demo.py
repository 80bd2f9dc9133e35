"""The example events: always the same, and a story that can be continued."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from nealytics import demo

NOW = datetime(2026, 11, 29, 21, tzinfo=UTC)
FIRST = demo.first_day(NOW)
EVENTS = list(demo.events(FIRST, NOW))


def test_the_same_day_gives_the_same_events():
    assert list(demo.events(FIRST, NOW)) == EVENTS
    assert len({event["eventId"] for event in EVENTS}) == len(EVENTS)


def test_a_later_day_continues_the_story_and_changes_nothing_of_it():
    later = {event["eventId"]: event for event in demo.events(FIRST, NOW + timedelta(days=9))}
    assert all(later[event["eventId"]] == event for event in EVENTS)
    new = [event for event in later.values() if event["timestamp"] > f"{NOW:%Y-%m-%dT%H:%M:%S}"]
    assert len(new) == len(later) - len(EVENTS) > 1_000


def test_days_that_are_left_out_change_no_other_day():
    since = FIRST + timedelta(days=20)
    kept = list(demo.events(FIRST, NOW, since))
    assert kept == [event for event in EVENTS if event["timestamp"] >= since.isoformat()]
    assert 0 < len(kept) < len(EVENTS)
    assert list(demo.events(FIRST, NOW, FIRST - timedelta(days=9))) == EVENTS


def test_each_session_names_the_first_day_and_others_do_not():
    assert {demo.first_day_in(event["sessionId"]) for event in EVENTS} == {FIRST}
    for other in ("", "session-1", "991399-acme-1-2-3", "261001"):
        assert demo.first_day_in(other) is None


@pytest.mark.parametrize("days", [0, 1, 3, 200])
def test_there_are_about_40_000_events_of_sixty_days(days: int):
    now = NOW + timedelta(days=days)
    found = list(demo.events(demo.first_day(now), now))
    assert 38_000 < len(found) < 42_000
    dates = {event["timestamp"][:10] for event in found}
    assert (len(dates), min(dates)) == (60, demo.first_day(now).isoformat())
    assert max(event["timestamp"] for event in found) <= f"{now:%Y-%m-%dT%H:%M:%S.999Z}"


def test_the_tenants_are_of_different_size_and_each_does_everything():
    for tenant in demo.TENANTS:
        types = {event["eventType"] for event in EVENTS if event["tenantId"] == tenant.tenant_id}
        assert types == {"page_view", "search", *demo.FUNNEL, "report_created", "payment"}
    sizes = Counter(event["tenantId"] for event in EVENTS)
    acme, globex, initech = (sizes[tenant.tenant_id] for tenant in demo.TENANTS)
    assert acme > 2 * globex > 4 * initech > 0


def test_workdays_are_busier_than_weekends_and_the_launch_shows():
    days = Counter(event["timestamp"][:10] for event in EVENTS)
    by_weekday: Counter[int] = Counter()
    for day, count in days.items():
        by_weekday[datetime.fromisoformat(day).weekday()] += count
    assert min(by_weekday[day] for day in range(5)) > 1.5 * max(by_weekday[5], by_weekday[6])
    launch = FIRST + timedelta(days=40)
    before = sum(days[f"{launch - timedelta(days=n)}"] for n in range(1, 8))
    after = sum(days[f"{launch + timedelta(days=n)}"] for n in range(7))
    assert after > 1.2 * before
    reports = {event["timestamp"][:10] for event in EVENTS if event["eventType"] == "report_created"}
    assert launch.isoformat() <= min(reports)


def test_payments_have_an_amount_of_two_places():
    payments = [event for event in EVENTS if event["eventType"] == "payment"]
    amounts = [
        json.loads(event["metadataJson"], parse_float=Decimal, parse_int=Decimal)["amount"]
        for event in payments
    ]
    assert {str(amount) for amount in amounts} == {"19.00", "49.00", "149.00"}
    paying = Counter(event["userId"] for event in payments)
    assert max(paying.values()) > 1  # each month


def test_visitors_are_nobodys_user_and_many_leave_at_once():
    sessions = Counter(event["sessionId"] for event in EVENTS)
    share = sum(count == 1 for count in sessions.values()) / len(sessions)
    assert 0.2 < share < 0.5
    assert any("userId" not in event for event in EVENTS)
