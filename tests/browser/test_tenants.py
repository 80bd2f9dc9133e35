"""Two tenants with the same session and user ids, seen with a token of the whole project."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from tests.browser.conftest import Open, Site, until
from tests.browser.test_dashboard import wait_for
from tests.e2e.node import JWT_KEY

PROJECT = "twins"  # of its own, so that other tests keep their numbers


@pytest.fixture(scope="module")
def twins(site: Site) -> Site:
    """Each tenant has one session `s-1` of one user `ada`, with an event that only it has."""
    begun = datetime.now(UTC) - timedelta(minutes=5)
    events: list[dict[str, Any]] = [
        {
            "eventId": str(uuid4()), "projectId": PROJECT, "tenantId": tenant, "sessionId": "s-1",
            "userId": "ada", "eventType": name, "timestamp": (begun + timedelta(seconds=place)).isoformat(),
        }
        for place, (tenant, name) in enumerate(
            [("left", "view"), ("right", "view"), ("left", "left only"), ("right", "right only")]
        )
    ]  # fmt: skip
    status, body = site.node.post("batch?wait=true", events)
    assert status == 200, body
    return site


def alone(site: Site, element: str) -> str:
    claims = {"project_id": PROJECT, "scope": "project", "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, JWT_KEY, algorithm="HS256")
    return site.page(element, script=f'document.querySelector("body > *").getToken = () => "{token}";')


@pytest.mark.parametrize("link", ["Whole session", "All of this user"])
def test_the_timeline_of_a_session_or_user_is_of_the_tenant_whose_event_was_opened(
    twins: Site, opened: Open, link: str
):
    page = opened(alone(twins, "<nealytics-timeline></nealytics-timeline>"))
    wait_for(page)
    shown = page.locator("nealytics-timeline .event b")
    assert shown.all_inner_texts() == ["right only", "left only", "view", "view"]
    page.locator("nealytics-timeline .event", has_text="left only").click()
    page.get_by_role("button", name=link).click()
    until(lambda: shown.all_inner_texts() == ["left only", "view"])
    page.get_by_role("button", name="All events").click()
    until(lambda: len(shown.all_inner_texts()) == 4)


def test_a_session_shows_the_events_of_its_tenant(twins: Site, opened: Open):
    page = opened(alone(twins, "<nealytics-sessions></nealytics-sessions>"))
    wait_for(page)
    rows = page.locator("nealytics-sessions .row")
    assert rows.count() == 2
    for place, name in enumerate(["right only", "left only"]):
        rows.nth(place).click()
        until(
            lambda name=name: (
                page.locator("nealytics-sessions .events .what").all_inner_texts() == ["view", name]
            )
        )
        assert page.locator("nealytics-sessions .row[aria-expanded=true]").count() == 1


def test_a_click_on_a_user_filters_by_its_tenant_too(twins: Site, opened: Open):
    element = '<nealytics-dashboard><nealytics-figures></nealytics-figures><nealytics-top dimension="user_id"></nealytics-top></nealytics-dashboard>'
    page = opened(alone(twins, element))
    wait_for(page)
    picker = page.get_by_role("combobox", name="Tenants", exact=True)
    picker.wait_for()
    rows = page.locator("nealytics-top .row")
    until(lambda: rows.count() == 2)
    rows.first.click()
    until(lambda: rows.count() == 1)
    assert picker.input_value() in {"left", "right"}
