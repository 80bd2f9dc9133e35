"""Two tenants with the same session and user ids, seen with a token of the whole project."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import DASHBOARD, ZONE, chosen, figures, number, today, wait_for
from tests.e2e.node import token
from tests.waiting import until

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


def alone(site: Site, element: str, project: str = PROJECT) -> str:
    given = token(project, None)
    return site.page(element, script=f'document.querySelector("body > *").getToken = () => "{given}";')


@pytest.mark.parametrize("link", ["Whole session", "All events of this user"])
def test_the_timeline_of_a_session_or_user_is_of_the_tenant_whose_event_was_opened(
    twins: Site, opened: Open, link: str
):
    page = opened(alone(twins, "<nealytics-timeline></nealytics-timeline>"))
    wait_for(page)
    shown = page.locator("nealytics-timeline .event .type")
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
            lambda: (
                page.locator("nealytics-sessions .events .what").all_inner_texts() == ["view", name]  # noqa: B023
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


# The page of the SaaS's owner: all tenants beside each other

CELLS = """(rows) => rows.map((row) => [
  row.querySelector(".name").textContent.trim(),
  ...[...row.querySelectorAll("td")].flatMap((cell) => [cell.querySelector("[title]").title, cell.querySelector(".change").innerText.trim()]),
])"""


def counts(events: Iterable[dict[str, Any]]) -> dict[str, int]:
    events = list(events)
    return {
        "Users": len({event["userId"] for event in events if "userId" in event}),
        "Sessions": len({event["sessionId"] for event in events}),
        "Events": len(events),
    }


def test_the_owner_sees_each_tenants_numbers_and_their_changes_in_one_request(site: Site, opened: Open):
    asked: list[str] = []
    page = opened("about:blank")
    page.on("request", lambda one: asked.append(one.post_data or "") if one.method == "POST" else None)
    page.goto(alone(site, DASHBOARD, demo.PROJECT))
    wait_for(page)
    assert len(asked) == 1
    last = today()
    first = last - timedelta(days=29)
    # Compared up to the minute of the day at which the page asked.
    end = re.search(r'"compare":"[^"]*\.\.([^"]*)"', asked[0])
    assert end
    until_then = datetime.fromisoformat(end[1]).replace(tzinfo=ZONE)
    assert abs(until_then + timedelta(days=30) - datetime.now(ZONE)) < timedelta(minutes=10)
    rows = page.locator("nealytics-tenants tbody tr")
    shown = rows.evaluate_all(CELLS)
    expected = []
    for tenant in demo.TENANTS:
        now = counts(chosen(site, first, last, tenant.tenant_id))
        before = counts(
            [
                event
                for event in chosen(
                    site, first - timedelta(days=30), first - timedelta(days=1), tenant.tenant_id
                )
                if datetime.fromisoformat(event["timestamp"]) < until_then
            ]
        )
        expected.append((tenant.tenant_id, now, before))
    expected.sort(key=lambda one: -one[1]["Events"])
    assert len(shown) == len(expected) == 3
    for row, (name, now, before) in zip(shown, expected, strict=True):
        assert row[0] == name
        for place, measure in enumerate(("Users", "Sessions", "Events")):
            value, change = row[1 + 2 * place], row[2 + 2 * place]
            assert number(value) == now[measure], (name, measure)
            share = now[measure] / before[measure] - 1
            assert change.split()[0] == ("▲" if share > 0 else "▼"), (name, measure)
            assert number(change.split()[1].rstrip("%")) == pytest.approx(abs(share) * 100, abs=0.6)

    # One of them is a click away, and the way back is the picker.
    page.locator("nealytics-tenants .name", has_text="globex").click()
    events = {name: now["Events"] for name, now, _ in expected}
    until(lambda: number(figures(page).get("Events", "0")) == events["globex"])
    assert page.locator("nealytics-tenants").count() == 0
    assert len(asked) == 2
    picker = page.get_by_role("combobox", name="Tenants", exact=True)
    assert picker.input_value() == "globex"
    picker.select_option("")
    until(lambda: rows.count() == 3)


def test_tenants_are_sorted_by_the_node_and_those_that_left_stay_in_sight(site: Site, opened: Open):
    """More of them than are listed: the one with the most users has few events."""
    now = datetime.now(UTC) - timedelta(hours=1)
    events = [
        {
            "eventId": str(uuid4()), "projectId": "fifteen", "tenantId": f"tenant-{tenant:02}", "sessionId": f"s{number_of}",
            "userId": f"u{number_of if tenant == 0 else 0}", "eventType": "view",
            "timestamp": (now - timedelta(days=10 if tenant == 14 else 0)).isoformat(),
        }
        for tenant in range(15)
        for number_of in range(5 + tenant)
    ]  # fmt: skip
    status, body = site.node.post("batch?wait=true", events)
    assert status == 200, body
    page = opened(alone(site, '<nealytics-tenants range="7d"></nealytics-tenants>', "fifteen"))
    wait_for(page)
    names = page.locator("nealytics-tenants .name")
    assert names.all_inner_texts() == [f"tenant-{tenant:02}" for tenant in range(13, 3, -1)]
    rest = page.locator("nealytics-tenants tbody tr.muted td").last
    assert number(rest.inner_text()) == 5 + 6 + 7 + 8
    page.get_by_role("button", name="Users").click()
    until(lambda: names.first.inner_text() == "tenant-00")
    head = page.get_by_role("columnheader", name="Users")
    assert head.get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Show more").click()
    until(lambda: names.count() == 15)
    left = page.locator("nealytics-tenants tbody tr", has_text="tenant-14").locator("td")
    assert [cell.inner_text().split()[:3] for cell in left.all()] == [["0", "▼", "100%"]] * 3


def test_a_token_that_only_the_node_can_read_opens_the_owners_page_too(site: Site, opened: Open):
    """Before the first answer nothing says that it is of the whole project: the tenants are a second request."""
    script = """(() => {
      const { parse } = JSON;
      JSON.parse = (text, ...more) => {
        const found = parse(text, ...more);
        return found?.scope === "project" ? { ...found, scope: undefined } : found;
      };
    })()"""
    page = opened("about:blank")
    page.add_init_script(script)
    page.goto(alone(site, DASHBOARD, demo.PROJECT))
    page.locator("nealytics-tenants .name").first.wait_for()
    wait_for(page)
    assert page.locator("nealytics-tenants .name").count() == 3
